//! A hookbell with one LED, one buzzer and a trace, in a folder of its own on the disk. Owns its start, its end and how
//! one waits for a cue; refuses to know what is measured.

pub mod trace;

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use hookbell::work::control::{self, Request};
use rusqlite::{Connection, OpenFlags};
use tempfile::TempDir;

use self::trace::Trace;
use crate::{disk, service::Service};

/// The LED, as the trace calls it. The buzzer's name is the program's.
pub const LIGHT: &str = "light";

/// A cue that is over is over to the eye; so often the state is asked whether it is.
const ASK_EVERY: Duration = Duration::from_millis(10);
/// A cue lasts seconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running one. Its folder goes with it.
#[derive(Debug)]
pub struct Desk {
    /// The process.
    pub service: Service,
    folder: TempDir,
}

impl Desk {
    /// Starts one below `data` with more TOML: cues, rules.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(executable: &Path, data: &Path, toml: &str) -> io::Result<Desk> {
        let folder = tempfile::tempdir_in(data)?;
        disk::settle(data)?;
        let trace = trace_path(folder.path());
        // At a thousand a second a disk that stands still for a quarter of a second fills the door's own 256, and what it
        // refuses then is neither an edge nor a lie.
        let desk = format!(
            "connections_max = 1024\n[bell]\nboard = \"simulated\"\ntrace = \"{}\"\nleds = {{ {LIGHT} = 17 }}\n\
             buzzer = {{ pin = 18, type = \"active\" }}\n{toml}",
            trace.display()
        );
        let command = Service::hookbell_command(Command::new(executable), folder.path(), "run", &desk)?;
        // A file, so that nobody but the kernel is busy with a line for each delivery.
        let service = Service::start_logging(command, &folder.path().join("log"), |text| {
            let (rest, _) = text.split_once("listening address=http://")?.1.split_once(char::is_whitespace)?;
            rest.parse().ok().filter(|_| text.contains("ready version="))
        })?;
        Ok(Desk { service, folder })
    }

    /// Rings a cue, and returns when nothing plays any more. `length` is how long that takes; nobody is asked before.
    ///
    /// # Errors
    /// When it does not ring, or does not end.
    pub fn ring(&self, cue: &str, length: Duration) -> io::Result<()> {
        let start = Instant::now();
        let answer = self.ask(&Request::Ring { cue: cue.to_owned() })?;
        if answer["ok"] != true {
            return Err(io::Error::other(format!("{cue} does not ring: {answer}")));
        }
        thread::sleep(length);
        while !self.ask(&Request::Status)?["bell"]["playing"].is_null() {
            if start.elapsed() > length + PATIENCE {
                return Err(io::Error::other(format!("{cue} does not end")));
            }
            thread::sleep(ASK_EVERY);
        }
        Ok(())
    }

    fn ask(&self, request: &Request) -> io::Result<serde_json::Value> {
        control::ask(&self.database_path(), request)?.ok_or_else(|| io::Error::other("nobody is at the control socket"))
    }

    fn database_path(&self) -> PathBuf {
        self.folder.path().join("hookbell.db")
    }

    /// Its database, to be read.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn database(&self) -> io::Result<Connection> {
        Connection::open_with_flags(self.database_path(), OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(io::Error::other)
    }

    /// How many deliveries it has stored.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn deliveries(&self) -> io::Result<u64> {
        let count = |database: Connection| {
            database
                .query_row("SELECT count(*) FROM delivery", [], |row| row.get::<_, i64>(0))
                .map_err(io::Error::other)
        };
        self.database().and_then(count).map(i64::unsigned_abs)
    }

    /// The warnings and errors in its log.
    pub fn complaints(&self) -> Vec<String> {
        let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        let complaints = log.lines().filter(|line| line.contains("WARN") || line.contains("ERROR"));
        complaints.map(str::to_owned).collect()
    }

    /// Ends it, and reads what it has left.
    ///
    /// # Errors
    /// When it ends badly, or its trace is no truthful one.
    pub fn end(self) -> io::Result<Trace> {
        let path = trace_path(self.folder.path());
        let status = self.service.end()?;
        match status.success() {
            true => Trace::read(&path),
            false => Err(io::Error::other(format!("it ended with {status}"))),
        }
    }
}

/// Beside the database, as the configuration's own example has it.
fn trace_path(folder: &Path) -> PathBuf {
    folder.join("bell.trace")
}
