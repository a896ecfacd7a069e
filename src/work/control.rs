//! The control socket: how other processes of the same user reach the running service. One JSON line in, one JSON line
//! out. Owns the protocol on both sides; refuses to be reachable by anybody else (mode 0600).
//!
//! It is the worker's; a door that runs alone has one of its own, for what only a door can be asked ([`Request::Secrets`]).

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
    secret::Secret,
    store,
    threads::{self, Stop, Wake},
};

/// A request is a line, and not a long one.
const LINE_BYTES_MAX: u64 = 16 * 1024;
/// Neither side waits longer for the other.
const TIMEOUT: Duration = Duration::from_secs(2);

/// What is answered where only the door can.
const NO_DOOR: &str = "this process has no door (`hookbell work`): `hookbell receive` has, with a socket of its own; where it does not \
                       run, start it, and it reads what is there";

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
    /// Ask the providers now what is missing.
    Reconcile,
    /// How the process is.
    Status,
    /// The database is marked as damaged: end, so that the other half of the split form can set it aside.
    MakeWay,
    /// Which secrets a source accepts at the moment; before that is told, its files are looked at. The answer has
    /// `source`, `secrets` (their fingerprints, in their order) and `faults` (what of its files will not do).
    Secrets {
        /// The source's name.
        source: String,
        /// Accepted from now on, in place of all others, until one of its files changes or the process ends. For
        /// credentials, whose files never change under systemd.
        #[serde(default, skip_serializing_if = "Option::is_none", with = "exposed")]
        accept: Option<Vec<Secret>>,
    },
}

/// Secrets as they are: nowhere else do they leave the process. `Debug` still hides them.
mod exposed {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    use crate::secret::Secret;

    pub(super) fn serialize<S: Serializer>(secrets: &Option<Vec<Secret>>, to: S) -> Result<S::Ok, S::Error> {
        let values: Option<Vec<&str>> = secrets.as_ref().map(|secrets| secrets.iter().map(Secret::expose).collect());
        values.serialize(to)
    }

    pub(super) fn deserialize<'d, D: Deserializer<'d>>(from: D) -> Result<Option<Vec<Secret>>, D::Error> {
        let Some(values) = Option::<Vec<String>>::deserialize(from)? else { return Ok(None) };
        let secrets: Option<Vec<Secret>> = values.into_iter().map(Secret::new).collect();
        secrets.map(Some).ok_or_else(|| D::Error::custom("an empty secret"))
    }
}

/// The worker's socket: beside the database.
pub fn socket_path(database: &Path) -> PathBuf {
    store::beside(database, ".sock")
}

/// That of a door which runs alone.
pub fn door_socket_path(database: &Path) -> PathBuf {
    store::beside(database, ".door.sock")
}

/// Asks the running worker. `None` when nobody listens.
///
/// # Errors
/// When somebody listens and does not answer properly.
pub fn ask(database: &Path, request: &Request) -> io::Result<Option<Value>> {
    ask_at(&socket_path(database), request)
}

/// Asks the process that has the door: the one that has nothing else, where there is one. `None` when nobody listens.
///
/// # Errors
/// When somebody listens and does not answer properly.
pub fn ask_door(database: &Path, request: &Request) -> io::Result<Option<Value>> {
    match ask_at(&door_socket_path(database), request)? {
        Some(answer) => Ok(Some(answer)),
        None => ask(database, request),
    }
}

fn ask_at(socket: &Path, request: &Request) -> io::Result<Option<Value>> {
    let mut stream = match UnixStream::connect(socket) {
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

/// What answers a request.
pub type Serve = Box<dyn Fn(Request) -> Value + Send>;

/// The listening side. [`Control::run`] is the thread.
pub struct Control {
    listener: UnixListener,
    path: PathBuf,
    serve: Serve,
    stop: Stop,
}

/// What a worker answers from.
pub struct Worker {
    /// The router's and the senders'.
    pub wakes: Vec<Wake>,
    /// Whoever asks the providers what they have sent, where anybody does.
    pub reconciler: Option<Wake>,
    /// The desk.
    pub bell: Bell,
    /// How the process is.
    pub status: Box<dyn Fn() -> Value + Send>,
    /// What its door answers about a source's secrets; `None`: the door is another process.
    pub secrets: Option<Secrets>,
}

/// Looks at a source's secrets, or takes these.
pub type Secrets = Box<dyn Fn(&str, Option<Vec<Secret>>) -> Value + Send>;

/// Ends a [`Control`] from outside.
pub struct ControlStop {
    listener: UnixListener,
    path: PathBuf,
    stop: Stop,
}

impl Control {
    /// Listens at this path. The caller holds its role's lock, so a socket that is there already is stale.
    ///
    /// # Errors
    /// When the socket cannot be made; the path may be longer than a socket's can be.
    pub fn bind(path: PathBuf, serve: Serve) -> io::Result<(Control, ControlStop)> {
        // Nobody else can connect at any moment: it has its name only once it has its mode.
        let unnamed = store::beside(&path, ".new");
        match fs::remove_file(&unnamed) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&unnamed)?;
        fs::set_permissions(&unnamed, fs::Permissions::from_mode(0o600))?;
        fs::rename(&unnamed, &path)?;
        let stop = Stop::new();
        let control = Control { listener, path: path.clone(), serve, stop: stop.clone() };
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
            Ok(request) => {
                let _busy = threads::busy(threads::BUSY_MAX);
                (self.serve)(request)
            }
            Err(error) => json!({ "error": format!("not a request: {error}") }),
        };
        writeln!(stream, "{answer}")
    }
}

impl Worker {
    /// Answers.
    pub fn serve(&self, request: Request) -> Value {
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
            Request::Reconcile => match &self.reconciler {
                Some(wake) => {
                    wake.wake();
                    json!({ "ok": true })
                }
                None => {
                    json!({ "error": "no source has `poll` or a section [sources.NAME.recover]: nothing is asked for" })
                }
            },
            Request::Status => (self.status)(),
            // Whoever runs the process answers before it comes here.
            Request::MakeWay => json!({ "ok": true }),
            Request::Secrets { source, accept } => match &self.secrets {
                Some(secrets) => secrets(&source, accept),
                None => json!({ "error": NO_DOOR }),
            },
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
