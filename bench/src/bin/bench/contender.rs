//! Who is measured: how each is started in a folder of its own, what it promises, and how its rows are counted. Knows
//! nothing of how it is measured.

use std::{
    fs, io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use hookbell_bench::{request::SECRET, service::Service};
use rusqlite::{Connection, OpenFlags};

/// Workers of gunicorn; its documentation and the tutorials say 2 to 4 per core.
const FLASK_WORKERS: &str = "4";

/// A server that still writes then writes for ever.
const COUNTED_WITHIN: Duration = Duration::from_secs(30);

/// A server that takes webhooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Contender {
    Receive,
    Run,
    NoOp,
    BareMinimum,
    Flask,
    Webhook,
    NodeRed,
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
    /// Its `red.js`; `None` when it could not be installed.
    pub(crate) node_red: Option<PathBuf>,
}

impl Contender {
    pub(crate) const ALL: [Contender; 7] = [
        Contender::Receive,
        Contender::Run,
        Contender::NoOp,
        Contender::BareMinimum,
        Contender::Flask,
        Contender::Webhook,
        Contender::NodeRed,
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
            Contender::NodeRed => "node-red",
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
            Contender::NodeRed => {
                "Node-RED: http in, HMAC in a function, sqlite node, one commit per request; as durable as Flask"
            }
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
            Contender::NodeRed => programs.node_red.is_none(),
            _ => false,
        }
    }

    /// Starts it in `home`, an empty folder. Its log goes to the file `log`, as it comes: hookbell's has a line for each
    /// delivery, the others' none.
    ///
    /// # Errors
    /// When it does not start.
    pub(crate) fn start(self, programs: &Programs, home: &Path, log: &Path) -> io::Result<Service> {
        let peer = |arguments: &[&str]| {
            let mut command = Command::new(&programs.peers);
            command.args(arguments).current_dir(home);
            Service::start_logging(command, log, |text| address_after(text, "listening address=http://"))
        };
        match self {
            Contender::Receive | Contender::Run => {
                let role = if self == Contender::Run { "run" } else { "receive" };
                let command = Service::hookbell_command(Command::new(&programs.hookbell), home, role, "")?;
                Service::start_logging(command, log, |text| {
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
                Service::start_logging(command, log, |text| address_after(text, "Listening at: http://"))
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
                Service::start_logging(command, log, |_| Some(address))
            }
            Contender::NodeRed => {
                let Some(red) = &programs.node_red else { return Err(missing("Node-RED", "--node-red")) };
                fs::write(home.join("settings.js"), include_str!("../../../node_red_settings.js"))?;
                fs::write(home.join("flows.json"), include_str!("../../../node_red_flows.json"))?;
                make_table(&home.join("deliveries.db"))?;
                let address = free_address()?;
                // It says everything on standard output. `exec` leaves no shell behind.
                let mut command = Command::new("sh");
                command
                    .args(["-c", "exec node \"$1\" --settings settings.js 1>&2", "sh"])
                    .arg(red)
                    .current_dir(home)
                    .env("PORT", address.port().to_string())
                    .env("SECRET", SECRET);
                Service::start_logging(command, log, |text| text.contains("Started flows").then_some(address))
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
            Contender::BareMinimum | Contender::Flask | Contender::NodeRed => "deliveries.db",
            Contender::NoOp | Contender::Webhook => return Ok(None),
        };
        let count = || -> rusqlite::Result<u64> {
            let connection = Connection::open_with_flags(home.join(file), OpenFlags::SQLITE_OPEN_READ_ONLY)?;
            // Who has no write-ahead log keeps readers out while it writes what came too late.
            connection.busy_timeout(COUNTED_WITHIN)?;
            let count: i64 = connection.query_row("SELECT count(*) FROM delivery", [], |row| row.get(0))?;
            Ok(count.unsigned_abs())
        };
        count().map(Some).map_err(|error| io::Error::other(format!("cannot count the rows of {file}: {error}")))
    }

    /// The size of what has to be installed, bytes: one program, or packages without Python and without Node.js.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn program_bytes(self, programs: &Programs) -> io::Result<u64> {
        let installed = |path: &Option<PathBuf>| path.clone().ok_or_else(|| missing(self.name(), "its option"));
        match self {
            Contender::Receive | Contender::Run => Ok(fs::metadata(&programs.hookbell)?.len()),
            Contender::NoOp | Contender::BareMinimum => Ok(fs::metadata(&programs.peers)?.len()),
            Contender::Flask => packages_bytes(&installed(&programs.gunicorn)?.with_file_name("../lib")),
            Contender::Webhook => Ok(fs::metadata(installed(&programs.webhook)?)?.len()),
            // All that npm has put beside it.
            Contender::NodeRed => packages_bytes(&installed(&programs.node_red)?.with_file_name("..")),
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

/// What Flask's receiver makes for itself at its start.
fn make_table(path: &Path) -> io::Result<()> {
    let make = || {
        Connection::open(path)?.execute_batch(
            "CREATE TABLE delivery (id INTEGER PRIMARY KEY, delivery TEXT NOT NULL, event TEXT NOT NULL, body BLOB NOT NULL)",
        )
    };
    make().map_err(|error| io::Error::other(format!("{}: {error}", path.display())))
}

/// The address behind these words, once its line is complete.
pub(crate) fn address_after(text: &str, words: &str) -> Option<SocketAddr> {
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
