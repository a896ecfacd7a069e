//! `cargo run --example package-files -- FOLDER`: what the package has besides the program, made from the program's own
//! parts, so that neither can say something else than the other, and none of it is in the binary. Owns the forms; the
//! commands are `hookbell::cli`'s, the configuration's text is `hookbell::config`'s.
//!
//! - `man/*.1`: a page for each command
//! - `hookbell.bash`, `_hookbell`, `hookbell.fish`: completions
//! - `hookbell.toml`: what `hookbell init` writes, as it is right for a service of systemd's

use std::{error::Error, fs, path::Path, process::ExitCode};

use clap::{Command, CommandFactory};
use clap_complete::{Shell, generate_to};
use hookbell::{cli::Arguments, config};

fn main() -> ExitCode {
    let Some(folder) = std::env::args_os().nth(1) else {
        eprintln!("package-files: name the folder to write into");
        return ExitCode::from(2);
    };
    match write_all(Path::new(&folder)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("package-files: {}: {error}", folder.display());
            ExitCode::FAILURE
        }
    }
}

fn write_all(folder: &Path) -> Result<(), Box<dyn Error>> {
    let pages = folder.join("man");
    fs::create_dir_all(&pages)?;
    clap_mangen::generate_to(command(), &pages)?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        generate_to(shell, &mut command(), "hookbell", folder)?;
    }
    fs::write(folder.join("hookbell.toml"), packaged(config::TEMPLATE)?)?;
    Ok(())
}

/// The program's own definition. Its revision would be that of this program, which makes pages.
fn command() -> Command {
    Arguments::command().version(hookbell::VERSION)
}

/// Lines of the template that are others in the package: how they begin, and what stands there instead.
const CHANGES: [(&str, &str); 6] = [
    (
        "# { env = ",
        "# { credential = \"NAME\" } for the file /etc/hookbell/secrets/NAME, which root alone can read, { env = \"NAME\" }, or\n\
         # { file = \"path beside this file\" }.",
    ),
    (
        "# listen = \"127.0.0.1:5000\"",
        "listen = \"unix:/run/hookbell/door.sock\"   # systemd holds it open; another address is served beside it",
    ),
    (
        "# path = \"hookbell.db\"",
        "path = \"/var/lib/hookbell/hookbell.db\"    # for the service and for commands that you type",
    ),
    (
        "secret = { file = \"github.secret\" }",
        "secret = { credential = \"github\" }   # the same text goes into GitHub's webhook; a list while rotating",
    ),
    (
        "webhook_url = { env = \"SLACK_WEBHOOK_URL\" }",
        "webhook_url = { credential = \"slack\" }   # an incoming webhook. No Slack: take out these three lines",
    ),
    ("to = [\"slack\", \"bell\"]", "# to = [\"slack\", \"bell\"]          # without it: every sink that there is"),
];

/// The configuration that the package installs. An error names the change that finds nothing to change.
fn packaged(template: &str) -> Result<String, String> {
    let mut found = [false; CHANGES.len()];
    let mut text = String::new();
    for line in template.lines() {
        let change = CHANGES.iter().position(|(begin, _)| line.starts_with(begin));
        text.push_str(change.map_or(line, |at| CHANGES[at].1));
        text.push('\n');
        if let Some(at) = change {
            found[at] = true;
        }
    }
    match found.iter().position(|found| !found) {
        Some(at) => Err(format!("hookbell's template has no line any more that begins with {}", CHANGES[at].0)),
        None => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use hookbell::config::{Environment, Listen, load};

    use super::*;

    fn written() -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        write_all(folder.path()).expect("all files");
        folder
    }

    fn text(folder: &Path, name: &str) -> String {
        fs::read_to_string(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    #[test]
    fn every_command_has_a_page_and_a_completion() {
        let folder = written();
        for page in ["hookbell.1", "hookbell-run.1", "hookbell-deliveries-list.1", "hookbell-bell-off.1"] {
            assert!(text(folder.path(), &format!("man/{page}")).contains(".SH SYNOPSIS"), "{page}");
        }
        for file in ["hookbell.bash", "_hookbell", "hookbell.fish"] {
            let completion = text(folder.path(), file);
            for command in command().get_subcommands() {
                assert!(completion.contains(command.get_name()), "{file} lacks {}", command.get_name());
            }
        }
    }

    #[test]
    fn the_packaged_configuration_waits_for_its_secrets_and_loads_with_them() {
        let folder = written();
        let surroundings = |secrets: Option<PathBuf>| {
            let root = folder.path().to_owned();
            Environment::new(root.clone(), root.join("none"), move |name| {
                secrets.clone().filter(|_| name == "CREDENTIALS_DIRECTORY").map(Into::into)
            })
        };
        let file = folder.path().join("hookbell.toml");
        let refused = load(Some(&file), &surroundings(None)).expect_err("secrets are missing");
        assert!(refused.to_string().contains("github"), "{refused}");

        let secrets = folder.path().join("secrets");
        fs::create_dir(&secrets).expect("a folder");
        fs::write(secrets.join("github"), "a secret of GitHub's\n").expect("a secret");
        fs::write(secrets.join("slack"), "https://hooks.slack.com/services/T0/B0/x\n").expect("a secret");
        let settings = load(Some(&file), &surroundings(Some(secrets))).expect("a configuration").settings;
        assert_eq!(settings.door.listen, Listen::Unix("/run/hookbell/door.sock".into()));
        assert_eq!(settings.store.path, Path::new("/var/lib/hookbell/hookbell.db"));
        assert!(settings.sinks.contains_key("slack") && settings.sinks.contains_key("bell"));
    }

    #[test]
    fn a_change_that_finds_nothing_is_named() {
        assert!(packaged("[door]\n").expect_err("an empty template").contains("{ env = "));
    }
}
