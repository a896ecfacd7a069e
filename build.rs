//! When this was built, for a program that must know when its clock is plainly wrong; and from what, for its `--version`.

use std::{
    env,
    process::Command,
    time::{SystemTime, UNIX_EPOCH},
};

fn main() {
    // Builds that shall be the same on every machine say the time themselves (reproducible-builds.org).
    println!("cargo:rerun-if-env-changed=SOURCE_DATE_EPOCH");
    println!("cargo:rerun-if-changed=build.rs");
    let seconds = env::var("SOURCE_DATE_EPOCH")
        .ok()
        .and_then(|text| text.parse::<u64>().ok())
        .unwrap_or_else(|| SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()));
    println!("cargo:rustc-env=HOOKBELL_BUILT_S={seconds}");
    println!("cargo:rustc-env=HOOKBELL_REVISION={}", revision());
}

/// The revision, with a `+` when what the program is made from was changed since.
fn revision() -> String {
    // For builds from an archive, or in a container without the repository.
    println!("cargo:rerun-if-env-changed=HOOKBELL_REVISION");
    if let Ok(revision) = env::var("HOOKBELL_REVISION") {
        return revision;
    }
    if env::var("PROFILE").as_deref() != Ok("release") {
        // Otherwise each commit would compile everything anew.
        return "debug build".to_owned();
    }
    let Some(revision) = git(&["rev-parse", "--short=12", "HEAD"]) else {
        return "unknown revision".to_owned();
    };
    // The first changes when another branch is checked out, the second with each commit.
    for file in ["HEAD", "logs/HEAD"] {
        if let Some(path) = git(&["rev-parse", "--git-path", file]) {
            println!("cargo:rerun-if-changed={path}");
        }
    }
    let sources = ["src", "Cargo.toml", "Cargo.lock", ".cargo", "build.rs"];
    for source in sources {
        println!("cargo:rerun-if-changed={source}");
    }
    let mut changed = vec!["status", "--porcelain", "--"];
    changed.extend(sources);
    match git(&changed).is_some_and(|changes| changes.is_empty()) {
        true => revision,
        false => format!("{revision}+"),
    }
}

/// What git says about this repository; `None` where it is none, or not ours.
fn git(arguments: &[&str]) -> Option<String> {
    // A copy of the sources inside somebody else's repository has no revision of its own.
    let home = env::var_os("CARGO_MANIFEST_DIR")?;
    std::path::Path::new(&home).join(".git").exists().then_some(())?;
    let output = Command::new("git").arg("-C").arg(home).args(arguments).output().ok()?;
    output.status.success().then_some(())?;
    String::from_utf8(output.stdout).ok().map(|text| text.trim().to_owned())
}
