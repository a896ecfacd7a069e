//! The control socket: how other processes of the same user reach the running worker. One JSON line in, one JSON line
//! out. Owns the protocol on both sides; refuses to be reachable by anybody else (mode 0600).

use std::{
    fs, io,
    io::{BufRead, BufReader, Read, Write},
    os::unix::{
        fs::PermissionsExt,
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    bell::{Bell, Gesture, Ring, Taken},
    event::Severity,
    store,
    threads::{self, Stop, Wake},
};

/// A request is a line, and not a long one.
const LINE_BYTES_MAX: u64 = 16 * 1024;
/// Neither side waits longer for the other.
const TIMEOUT: Duration = Duration::from_secs(2);

/// What can be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Request {
    /// There may be something to route, or to send.
    Wake,
    /// Play a cue.
    Ring {
        /// The cue's name.
        cue: String,
    },
    /// Play every line in turn.
    Test,
    /// Play one line alone.
    Try {
        /// The line's name.
        line: String,
    },
    /// Dark and silent now; what stays lit is acknowledged.
    Off,
    /// The same, by another name.
    Ack,
    /// Silent for so long; without a time: no longer.
    Mute {
        /// Milliseconds.
        ms: Option<u64>,
    },
    /// As if the button had been pressed.
    Press {
        /// How.
        gesture: Gesture,
    },
    /// How the process is.
    Status,
}

/// The socket's path: beside the database.
pub fn socket_path(database: &Path) -> PathBuf {
    store::beside(database, ".sock")
}

/// Asks the running worker. `None` when nobody listens.
///
/// # Errors
/// When somebody listens and does not answer properly.
pub fn ask(database: &Path, request: &Request) -> io::Result<Option<Value>> {
    let mut stream = match UnixStream::connect(socket_path(database)) {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let mut line = serde_json::to_string(request)?;
    line.push('\n');
    stream.write_all(line.as_bytes())?;
    let mut answer = String::new();
    BufReader::new(stream.take(1024 * 1024)).read_line(&mut answer)?;
    serde_json::from_str(&answer).map(Some).map_err(io::Error::other)
}

/// The listening side. [`Control::run`] is the thread.
pub struct Control {
    listener: UnixListener,
    path: PathBuf,
    wakes: Vec<Wake>,
    bell: Bell,
    status: Box<dyn Fn() -> Value + Send>,
    stop: Stop,
}

/// Ends a [`Control`] from outside.
pub struct ControlStop {
    listener: UnixListener,
    path: PathBuf,
    stop: Stop,
}

impl Control {
    /// Listens beside the database; `wakes` are the router's and the senders'. The caller holds the work role's lock, so
    /// a socket that is there already is stale.
    ///
    /// # Errors
    /// When the socket cannot be made; the path may be longer than a socket's can be.
    pub fn bind(
        database: &Path,
        wakes: Vec<Wake>,
        bell: Bell,
        status: Box<dyn Fn() -> Value + Send>,
    ) -> io::Result<(Control, ControlStop)> {
        let path = socket_path(database);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        let stop = Stop::new();
        let control = Control { listener, path: path.clone(), wakes, bell, status, stop: stop.clone() };
        let ending = ControlStop { listener: control.listener.try_clone()?, path, stop };
        Ok((control, ending))
    }

    /// Answers until told to stop.
    pub fn run(self) {
        for stream in self.listener.incoming() {
            if self.stop.is_told() {
                break;
            }
            let answered = stream.and_then(|stream| self.answer(stream));
            if let Err(error) = answered {
                log::debug!("a control request failed: {error}");
                // Out of descriptors shows here at once and again: give the others a moment.
                if matches!(error.raw_os_error(), Some(code) if code == rustix::io::Errno::MFILE.raw_os_error()) {
                    Wake::new().wait(Duration::from_millis(100));
                }
            }
        }
        if let Err(error) = fs::remove_file(&self.path) {
            log::debug!("cannot remove {}: {error}", self.path.display());
        }
    }

    fn answer(&self, mut stream: UnixStream) -> io::Result<()> {
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        let mut line = String::new();
        BufReader::new((&stream).take(LINE_BYTES_MAX)).read_line(&mut line)?;
        let answer = match serde_json::from_str::<Request>(&line) {
            Ok(request) => self.serve(request),
            Err(error) => json!({ "error": format!("not a request: {error}") }),
        };
        writeln!(stream, "{answer}")
    }

    fn serve(&self, request: Request) -> Value {
        let _busy = threads::busy(threads::BUSY_MAX);
        match request {
            Request::Wake => {
                self.wakes.iter().for_each(Wake::wake);
                json!({ "ok": true })
            }
            Request::Ring { cue } => {
                let mut answer = taken(self.bell.ring(Ring { by_hand: true, ..Ring::now(&cue, Severity::Info) }));
                // Whoever rings wonders why nothing is heard.
                if let Some(until) = self.bell.state().muted_until {
                    answer["muted_until"] = json!(until);
                }
                answer
            }
            Request::Test => taken(self.bell.test()),
            Request::Try { line } => match self.bell.try_line(&line) {
                Some(tried) => taken(tried),
                None => json!({ "error": format!("nothing on the desk is called {line:?}") }),
            },
            Request::Off | Request::Ack => json!({ "ok": true, "acknowledged": self.bell.acknowledge() }),
            Request::Mute { ms } => {
                self.bell.mute(ms.map(Duration::from_millis));
                json!({ "ok": true, "muted_until": self.bell.state().muted_until })
            }
            Request::Press { gesture } => {
                self.bell.press(gesture);
                json!({ "ok": true })
            }
            Request::Status => (self.status)(),
        }
    }
}

fn taken(taken: Taken) -> Value {
    match taken {
        Taken::Queued | Taken::Merged => json!({ "ok": true }),
        Taken::Skipped(note) => json!({ "error": note }),
    }
}

impl ControlStop {
    /// Ends the thread.
    pub fn stop(&self) {
        self.stop.tell();
        // The accept returns for this connection and sees that it shall end. Where somebody has removed the file, shutting
        // the listener down does the same; not every system lets one do that.
        if let Err(gone) = UnixStream::connect(&self.path)
            && let Err(error) = rustix::net::shutdown(&self.listener, rustix::net::Shutdown::Both)
        {
            log::debug!("cannot end the control socket: {gone}, {error}");
        }
    }
}
