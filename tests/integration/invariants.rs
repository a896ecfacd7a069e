//! ARCHITECTURE.md's invariants, held against the sources. A rule that is broken names the file, the line and the rule.

use std::{
    fs,
    path::{Path, PathBuf},
};

struct Source {
    path: String,
    /// Without comments, documentation and the unit tests at its end.
    code: Vec<(usize, String)>,
    lines: usize,
    opens_with_docs: bool,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    assert!(files.len() > 40, "only {} sources found", files.len());
    files
        .into_iter()
        .map(|file| {
            let text = fs::read_to_string(&file).expect("a readable source");
            let path = file.strip_prefix(&root).expect("below src").to_str().expect("a plain name").to_owned();
            let is_test = path.ends_with("tests.rs") || path.contains("/tests/") || path.ends_with("vectors.rs");
            let code = text
                .lines()
                .enumerate()
                .take_while(|(_, line)| line.trim() != "#[cfg(test)]" || line.starts_with(' '))
                .filter(|(_, line)| !is_test && !line.trim_start().starts_with("//"))
                .map(|(number, line)| (number + 1, line.to_owned()))
                .collect();
            let opens_with_docs = text.starts_with("//!");
            Source { path, code, lines: text.lines().count(), opens_with_docs }
        })
        .collect()
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("a readable directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// Fails for every line outside `allowed` (prefixes of paths) that has one of these words.
fn only(allowed: &[&str], words: &[&str], rule: &str) {
    let mut broken = Vec::new();
    let mut used = 0;
    for source in sources() {
        let is_allowed = allowed.iter().any(|prefix| source.path.starts_with(prefix));
        for (number, line) in &source.code {
            if words.iter().any(|word| has_word(line, word)) {
                used += 1;
                if !is_allowed {
                    broken.push(format!("src/{}:{number}: {}", source.path, line.trim()));
                }
            }
        }
    }
    assert!(broken.is_empty(), "{rule}:\n{}", broken.join("\n"));
    assert!(used > 0 || allowed.is_empty(), "nothing names {words:?} any more: the rule is out of date");
}

fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let is_part = |c: char| c.is_alphanumeric() || c == '_';
        let (before, after) = (line[..at].chars().next_back(), line[at + word.len()..].chars().next());
        let is_cut_before = before.is_some_and(is_part) && word.starts_with(is_part);
        let is_cut_after = after.is_some_and(is_part) && word.ends_with(is_part);
        !is_cut_before && !is_cut_after
    })
}

/// Fails for every line below `folder` that names one of these modules.
fn never(folder: &str, modules: &[&str], rule: &str) {
    let mut broken = Vec::new();
    for source in sources().iter().filter(|source| source.path.starts_with(folder)) {
        for (number, line) in &source.code {
            // `use crate::{ …, sink::…, …}` over several lines, `crate::sink::…` in one.
            let names = |module: &&&str| {
                line.contains(&format!("crate::{module}")) || line.trim_start().starts_with(&format!("{module}::"))
            };
            if modules.iter().any(|module| names(&module)) {
                broken.push(format!("src/{}:{number}: {}", source.path, line.trim()));
            }
        }
    }
    assert!(broken.is_empty(), "{rule}:\n{}", broken.join("\n"));
}

#[test]
fn each_outside_crate_has_one_door() {
    only(&["store/"], &["rusqlite"], "only `store` names rusqlite");
    only(&["http/"], &["httparse", "ureq"], "only `http` names httparse and ureq");
    only(&["bell/board/"], &["gpiocdev", "rppal"], "only `bell/board` names gpiocdev and rppal");
    only(&["provider/signature.rs"], &["ring::"], "only `provider/signature.rs` names signature crates");
    only(&["sink/email.rs"], &["lettre"], "only `sink/email.rs` names lettre");
    only(&["store/"], &["zstd"], "only `store` compresses");
}

#[test]
fn what_is_pure_stays_pure() {
    let impure = ["std::fs", "std::net", "std::thread", "std::process", "Instant::now", "SystemTime", "env::var"];
    for pure in [
        "provider/",
        "rule",
        "schedule.rs",
        "event.rs",
        "headers.rs",
        "secret.rs",
        "work/backoff.rs",
        "bell/cue.rs",
        "bell/header",
        "bell/desk.rs",
        "bell/latch.rs",
        "bell/button.rs",
        "bell/score.rs",
        "bell/wave.rs",
        "bell/wires.rs",
        "bell/tune.rs",
    ] {
        let found = sources().iter().any(|source| source.path.starts_with(pure));
        assert!(found, "{pure} is gone: the rule is out of date");
        for source in sources().iter().filter(|source| source.path.starts_with(pure)) {
            for (number, line) in &source.code {
                let broken = impure.iter().any(|word| line.contains(word));
                assert!(!broken, "src/{}:{number} does I/O or reads a clock: {}", source.path, line.trim());
            }
        }
    }
}

#[test]
fn arrows_point_down() {
    never("door/", &["work", "sink", "bell"], "`door` does not know what happens after the answer");
    never("sink/", &["store", "work", "door"], "`sink` does not know the store");
    never("store/", &["work", "door", "http"], "`store` knows neither side");
    never("bell/", &["store", "work", "door", "sink", "http"], "`bell` knows only the desk");
    never("http/", &["store", "work", "door", "sink", "provider", "rule"], "`http` does not know what a request means");
    never(
        "provider/",
        &["store", "work", "door", "sink", "http", "config", "bell"],
        "`provider` knows the vocabulary alone",
    );
    never("rule", &["store", "work", "door", "sink", "http", "config", "bell"], "`rule` knows the vocabulary alone");
    never("work/", &["door", "http", "cli", "daemon"], "`work` does not know how deliveries come in");
    for folder in
        ["http/", "store/", "sink/", "bell/", "config/", "door/", "work/", "provider/", "remote/", "recover/", "tunnel"]
    {
        never(folder, &["cli", "daemon"], "nobody below knows the program around");
    }
}

#[test]
fn only_daemon_and_threads_spawn() {
    only(
        &["threads.rs"],
        &["thread::spawn", "thread::Builder", "thread::scope"],
        "threads are spawned by `threads::spawn` alone",
    );
}

#[test]
fn store_knows_no_provider_s_json() {
    for source in sources().iter().filter(|source| source.path.starts_with("store/")) {
        for (number, line) in &source.code {
            for word in ["pull_request", "\"action\"", "sender", "full_name", "html_url"] {
                assert!(!line.contains(word), "src/{}:{number} knows a payload: {}", source.path, line.trim());
            }
        }
    }
}

#[test]
fn nothing_is_unsafe_and_nothing_exits_from_the_side() {
    only(&[], &["unsafe"], "no unsafe code");
    only(&["cli/"], &["process::exit"], "only the command line may exit");
    only(&[], &["todo!", "unimplemented!", "dbg!"], "nothing is left open");
}

#[test]
fn files_open_with_what_they_own_and_stay_readable() {
    for source in sources() {
        assert!(source.opens_with_docs, "src/{} does not open with `//!`", source.path);
        assert!(source.lines <= 700, "src/{} has {} lines", source.path, source.lines);
    }
    let architecture = include_str!("../../ARCHITECTURE.md");
    assert!(architecture.lines().count() <= 250, "ARCHITECTURE.md has {} lines", architecture.lines().count());
}

#[test]
fn every_dependency_has_its_line_in_the_architecture() {
    let manifest: toml::Table = include_str!("../../Cargo.toml").parse().expect("TOML");
    let bench: toml::Table = include_str!("../../bench/Cargo.toml").parse().expect("TOML");
    let fuzz: toml::Table = include_str!("../../fuzz/Cargo.toml").parse().expect("TOML");
    let architecture = include_str!("../../ARCHITECTURE.md");
    let linux = &manifest["target"]["cfg(target_os = \"linux\")"]["dependencies"];
    let ours = [&manifest["dependencies"], &manifest["dev-dependencies"], linux];
    let linux = &bench["target"]["cfg(target_os = \"linux\")"]["dependencies"];
    let theirs = [&bench["dependencies"], &bench["dev-dependencies"], linux, &fuzz["dependencies"]];
    for table in ours.into_iter().chain(theirs) {
        for name in table.as_table().expect("a table").keys().filter(|name| *name != "hookbell") {
            assert!(architecture.contains(&format!("| `{name}`")), "ARCHITECTURE.md has no line for {name}");
        }
    }
}
