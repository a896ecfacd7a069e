//! Who is measured: how each is started in a folder of its own, what it promises, and how its rows are counted. Knows
//! nothing of how it is measured.

use std::{
    fs, io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::Command,
};

use hookbell_bench::{request::SECRET, service::Service};
use rusqlite::{Connection, OpenFlags};

/// Workers of gunicorn; its documentation and the tutorials say 2 to 4 per core.
const FLASK_WORKERS: &str = "4";

/// A server that takes webhooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Contender {
    Receive,
    Run,
    NoOp,
    BareMinimum,
    Flask,
    Webhook,
}

/// Where the programs are.
#[derive(Clone, Debug, Default)]
pub(crate) struct Programs {
    pub(crate) hookbell: PathBuf,
    pub(crate) peers: PathBuf,
    /// `None` when it could not be installed.
    pub(crate) gunicorn: Option<PathBuf>,
    /// `None` when it could not be installed.
    pub(crate) webhook: Option<PathBuf>,
}

impl Contender {
    pub(crate) const ALL: [Contender; 6] = [
        Contender::Receive,
        Contender::Run,
        Contender::NoOp,
        Contender::BareMinimum,
        Contender::Flask,
        Contender::Webhook,
    ];

    /// For `--only`, and the key in JSON.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Contender::Receive => "hookbell",
            Contender::Run => "hookbell-run",
            Contender::NoOp => "no-op",
            Contender::BareMinimum => "bare-minimum",
            Contender::Flask => "flask",
            Contender::Webhook => "webhook",
        }
    }

    /// What it is and what its 200 promises.
    pub(crate) fn promise(self) -> &'static str {
        match self {
            Contender::Receive => {
                "`hookbell receive`: proven, on disk before the 200, packed, found again when repeated"
            }
            Contender::Run => "`hookbell run`: the same, and routes what came in while it receives; no sinks",
            Contender::NoOp => "tiny_http 0.12, 4 threads: reads the body and answers; proves nothing, stores nothing",
            Contender::BareMinimum => {
                "tiny_http 0.12, HMAC, one SQLite table, group commit with WAL and FULL; as durable"
            }
            Contender::Flask => "Flask, gunicorn with 4 sync workers, HMAC, sqlite3's defaults, one commit per request",
            Contender::Webhook => "adnanh/webhook, HMAC, starts /bin/true and does not wait for it; stores nothing",
        }
    }

    /// The path that it takes webhooks at.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Contender::Webhook => "/hooks/github",
            _ => "/webhooks/github",
        }
    }

    /// Whether it is the program that all of this is about.
    pub(crate) fn is_hookbell(self) -> bool {
        matches!(self, Contender::Receive | Contender::Run)
    }

    /// Whether it is measured with connections that stay, too.
    pub(crate) fn has_keep_alive_row(self) -> bool {
        matches!(self, Contender::NoOp | Contender::BareMinimum)
    }

    /// Why it cannot be measured here, if it cannot.
    pub(crate) fn is_missing(self, programs: &Programs) -> bool {
        match self {
            Contender::Flask => programs.gunicorn.is_none(),
            Contender::Webhook => programs.webhook.is_none(),
            _ => false,
        }
    }

    /// Starts it in `home`, an empty folder. Its log goes to a file there, as it comes: hookbell's has a line for each
    /// delivery, the others' none.
    ///
    /// # Errors
    /// When it does not start.
    pub(crate) fn start(self, programs: &Programs, home: &Path) -> io::Result<Service> {
        let log = home.join("log");
        let peer = |arguments: &[&str]| {
            let mut command = Command::new(&programs.peers);
            command.args(arguments).current_dir(home);
            Service::start_logging(command, &log, |text| address_after(text, "listening address=http://"))
        };
        match self {
            Contender::Receive | Contender::Run => {
                let role = if self == Contender::Run { "run" } else { "receive" };
                let command = Service::hookbell_command(Command::new(&programs.hookbell), home, role, "")?;
                Service::start_logging(command, &log, |text| {
                    address_after(text, "listening address=http://").filter(|_| text.contains("ready version="))
                })
            }
            Contender::NoOp => peer(&["no-op"]),
            Contender::BareMinimum => peer(&["bare-minimum", "deliveries.db"]),
            Contender::Flask => {
                let Some(gunicorn) = &programs.gunicorn else { return Err(missing("gunicorn", "--gunicorn")) };
                fs::write(home.join("flask_receiver.py"), include_str!("../../../flask_receiver.py"))?;
                let mut command = Command::new(gunicorn);
                command
                    .args(["--bind", "127.0.0.1:0", "--workers", FLASK_WORKERS, "flask_receiver:app"])
                    .current_dir(home)
                    .env("DATABASE", home.join("deliveries.db"))
                    .env("SECRET", SECRET);
                Service::start_logging(command, &log, |text| address_after(text, "Listening at: http://"))
            }
            Contender::Webhook => {
                let Some(webhook) = &programs.webhook else { return Err(missing("webhook", "--webhook")) };
                fs::write(home.join("webhook.json"), webhook_configuration(home).to_string())?;
                let address = free_address()?;
                let mut command = Command::new(webhook);
                command
                    .args(["-hooks", "webhook.json", "-ip", "127.0.0.1", "-port", &address.port().to_string()])
                    .current_dir(home);
                // It says nothing; the first answer shows that it listens.
                Service::start_logging(command, &log, |_| Some(address))
            }
        }
    }

    /// How many deliveries its database in `home` holds; `None` when it stores nothing.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub(crate) fn rows(self, home: &Path) -> io::Result<Option<u64>> {
        let file = match self {
            Contender::Receive | Contender::Run => "hookbell.db",
            Contender::BareMinimum | Contender::Flask => "deliveries.db",
            Contender::NoOp | Contender::Webhook => return Ok(None),
        };
        let count = || -> rusqlite::Result<u64> {
            let connection = Connection::open_with_flags(home.join(file), OpenFlags::SQLITE_OPEN_READ_ONLY)?;
            let count: i64 = connection.query_row("SELECT count(*) FROM delivery", [], |row| row.get(0))?;
            Ok(count.unsigned_abs())
        };
        count().map(Some).map_err(|error| io::Error::other(format!("cannot count the rows of {file}: {error}")))
    }

    /// The size of what has to be installed, bytes: one program, or for Flask its packages without Python.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn program_bytes(self, programs: &Programs) -> io::Result<u64> {
        match (self, &programs.gunicorn, &programs.webhook) {
            (Contender::Receive | Contender::Run, _, _) => Ok(fs::metadata(&programs.hookbell)?.len()),
            (Contender::NoOp | Contender::BareMinimum, _, _) => Ok(fs::metadata(&programs.peers)?.len()),
            (Contender::Flask, Some(gunicorn), _) => packages_bytes(&gunicorn.with_file_name("../lib")),
            (Contender::Webhook, _, Some(webhook)) => Ok(fs::metadata(webhook)?.len()),
            (Contender::Flask | Contender::Webhook, _, _) => Err(missing(self.name(), "its option")),
        }
    }
}

fn missing(what: &str, option: &str) -> io::Error {
    io::Error::other(format!("{what} is not installed; scripts/bench installs it and names it with {option}"))
}

fn webhook_configuration(home: &Path) -> serde_json::Value {
    serde_json::json!([{
        "id": "github",
        "execute-command": "/bin/true",
        "command-working-directory": home,
        "trigger-rule": { "match": {
            "type": "payload-hmac-sha256",
            "secret": SECRET,
            "parameter": { "source": "header", "name": "X-Hub-Signature-256" },
        }},
    }])
}

/// The address behind these words, once its line is complete.
fn address_after(text: &str, words: &str) -> Option<SocketAddr> {
    let (rest, _) = text.split_once(words)?.1.split_once(char::is_whitespace)?;
    rest.parse().ok()
}

/// A port that nobody has at this moment, for a program that cannot be told to choose one.
fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

/// All files below `folder` but those of the installer itself.
fn packages_bytes(folder: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let is_installer = ["pip", "setuptools", "pkg_resources", "_distutils_hack", "__pycache__"]
            .iter()
            .any(|prefix| name.to_string_lossy().starts_with(prefix));
        if entry.file_type()?.is_dir() {
            bytes += if is_installer { 0 } else { packages_bytes(&entry.path())? };
        } else if entry.file_type()?.is_file() {
            bytes += entry.metadata()?.len();
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_only_when_its_line_is_complete() {
        let address = Some(([127, 0, 0, 1], 80).into());
        assert_eq!(address_after("x\nListening at: http://127.0.0.1:80 (7)\n", "Listening at: http://"), address);
        assert_eq!(address_after("Listening at: http://127.0.0.1:8", "Listening at: http://"), None);
        assert_eq!(address_after("", "Listening at: http://"), None);
    }
}
