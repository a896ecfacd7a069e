//! `init`: a commented configuration and a generated secret.

use std::{
    fs::OpenOptions,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use super::{Failure, print_line, secret::random_hex};
use crate::config::{SECRET_FILE, TEMPLATE};

#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  hookbell init                     hookbell.toml and github.secret in this directory
  sudo hookbell init /etc/hookbell  where the service looks for them")]
pub(super) struct Arguments {
    /// Where to write
    #[arg(default_value = ".")]
    directory: PathBuf,
}

pub(super) fn init(arguments: &Arguments) -> Result<(), Failure> {
    let directory = &arguments.directory;
    std::fs::create_dir_all(directory)
        .map_err(|error| Failure::Failed(format!("cannot create {}: {error}", directory.display())))?;
    let (file, secret) = (directory.join("hookbell.toml"), directory.join(SECRET_FILE));
    // Both are looked at before either is written: half an init is worse than none.
    for path in [&file, &secret] {
        if path.exists() {
            return Err(Failure::Failed(format!(
                "{} exists already and is left as it is; move it away to start anew",
                path.display()
            )));
        }
    }
    write_new(&secret, 0o600, &format!("{}\n", random_hex()?))?;
    write_new(&file, 0o644, TEMPLATE)?;
    print_line(&format!(
        "wrote {}\nwrote {} (mode 0600): paste its content into GitHub's webhook form as the secret\n\
         next: hookbell check --config {}",
        file.display(),
        secret.display(),
        file.display()
    ))
}

fn write_new(path: &Path, mode: u32, content: &str) -> Result<(), Failure> {
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
        file.write_all(content.as_bytes())?;
        file.sync_all()
    };
    write().map_err(|error| Failure::Failed(format!("cannot write {}: {error}", path.display())))
}
