//! Whether the tunnel is connected, as cloudflared says itself at its `/ready` and as a [`canary`] finds out. Owns when it
//! counts as down, and what repairs it; refuses to start or mend it. [`quick`] is the one tunnel that is ours to start.
//!
//! Each of the two can be there without the other. Down is when either says so, and up again when neither does.

pub mod canary;
pub mod quick;

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    http::Client,
    threads::{Stop, Wake, lock},
    time::{Clock, SystemClock},
};

/// How often it is asked.
const EVERY: Duration = Duration::from_secs(15);
/// A reconnection takes seconds; who was not connected for so long is down.
const DOWN_AFTER: Duration = Duration::from_secs(60);
/// Cloudflared is on this machine; who asks at [`ready`] need not be patient.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(5);
const ANSWER_BYTES_MAX: u64 = 16 * 1024;

/// How to get it.
pub const INSTALL: &str =
    "install cloudflared as https://pkg.cloudflare.com says; `hookbell-tunnel` shows the commands";

/// The program, where this machine has it: in PATH, or where packages and people put it.
pub fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/local/bin", "/usr/bin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(usual).map(|folder| folder.join("cloudflared")).find(|file| file.is_file())
}

/// How many connections to Cloudflare the one has whose metrics stand there; at least one.
///
/// # Errors
/// That it has none, or does not answer.
pub fn ready(client: &Client, metrics: SocketAddr) -> Result<u64, String> {
    let answer = client.get(&format!("http://{metrics}/ready"), &[], ANSWER_BYTES_MAX);
    let answer = answer.map_err(|failure| failure.to_string())?;
    let said: Value = serde_json::from_str(&answer.body).unwrap_or_default();
    match answer.status {
        200 => Ok(said["readyConnections"].as_u64().unwrap_or(1)),
        status => Err(format!("cloudflared answers {status}: it has no connection to Cloudflare")),
    }
}

/// What to do about one that is down.
pub fn remedy() -> &'static str {
    match program() {
        Some(_) => {
            "`systemctl status cloudflared` says whether it runs, `systemctl restart cloudflared` starts it anew"
        }
        None => INSTALL,
    }
}

/// What the watchers have seen, for whoever shows it. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Tunnel(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    cloudflared: Seen,
    /// `None`: there is none.
    canary: Option<canary::Seen>,
    /// Who is woken when it comes back.
    back: Vec<Wake>,
}

/// What cloudflared says.
#[derive(Debug, Default)]
enum Seen {
    /// Nobody looks.
    #[default]
    Unwatched,
    /// The watcher has not looked yet.
    Unseen,
    /// With so many connections.
    Connected(u64),
    /// Not connected since, and why.
    Ill { since: Instant, is_down: bool, why: String },
}

/// What is wrong, for [`Tunnel::report`].
struct Ill {
    since: Instant,
    why: String,
    /// `None`: cloudflared's.
    remedy: Option<String>,
}

impl Known {
    fn is_down(&self) -> bool {
        let is_down = matches!(self.cloudflared, Seen::Ill { is_down: true, .. });
        is_down || self.canary.as_ref().is_some_and(|canary| canary.down().is_some())
    }

    /// The state, how many connections there are, what is wrong, and the canary.
    fn describe(&self) -> (&'static str, Option<u64>, Option<Ill>, Option<Value>) {
        let canary = self.canary.as_ref();
        let missing = canary.and_then(canary::Seen::down);
        let connections = if let Seen::Connected(connections) = self.cloudflared { Some(connections) } else { None };
        let (state, ill) = match (&self.cloudflared, missing) {
            // Of two reasons cloudflared's own is the nearer one.
            (Seen::Ill { since, is_down, why }, missing) => {
                let state = if *is_down || missing.is_some() { "down" } else { "not connected" };
                let since = missing.map_or(*since, |missing| missing.since.min(*since));
                (state, Some(Ill { since, why: why.clone(), remedy: None }))
            }
            (_, Some(missing)) => {
                let (why, remedy) = (missing.why.clone(), Some(missing.remedy.clone()));
                ("down", Some(Ill { since: missing.since, why, remedy }))
            }
            (Seen::Connected(_), None) => ("connected", None),
            (Seen::Unwatched, None) if canary.is_none() => ("not watched", None),
            (Seen::Unseen | Seen::Unwatched, None) => match canary.is_some_and(canary::Seen::has_come_back) {
                true => ("connected", None),
                false => ("unknown", None),
            },
        };
        (state, connections, ill, canary.map(canary::Seen::report))
    }
}

impl Tunnel {
    /// Not connected for a minute or longer, or nothing comes through.
    pub fn is_down(&self) -> bool {
        lock(&self.0).is_down()
    }

    /// From now on this is woken whenever the tunnel has been down and is not any more.
    pub fn when_back(&self, wake: Wake) {
        lock(&self.0).back.push(wake);
    }

    /// Takes down what one watcher has seen. Says whether the tunnel is down by that, and was not before.
    fn learn(&self, seen: impl FnOnce(&mut Known)) -> bool {
        let mut known = lock(&self.0);
        let was_down = known.is_down();
        seen(&mut known);
        let is_down = known.is_down();
        if was_down && !is_down {
            known.back.iter().for_each(Wake::wake);
        }
        is_down && !was_down
    }

    /// For `status`: `state` is `not watched`, `unknown`, `connected`, `not connected` (for less than a minute) or `down`.
    pub fn report(&self) -> Value {
        let (state, connections, ill, canary) = lock(&self.0).describe();
        json!({
            "state": state,
            "connections": connections,
            // Counted back from now: the clock may have been wrong then.
            "since": ill.as_ref().map(|ill| SystemClock.wall().minus(ill.since.elapsed())),
            "remedy": ill.as_ref().map(|ill| ill.remedy.as_deref().unwrap_or_else(|| remedy())),
            "why": ill.map(|ill| ill.why),
            "canary": canary,
            "installed": program().is_some(),
        })
    }
}

/// Asks cloudflared again and again. [`Watcher::run`] is the thread.
pub struct Watcher {
    metrics: SocketAddr,
    client: Client,
    tunnel: Tunnel,
    wake: Wake,
    stop: Stop,
    /// Told when it is down from now on.
    on_down: Box<dyn Fn() + Send>,
    every: Duration,
    down_after: Duration,
}

impl Watcher {
    /// For the cloudflared whose `metrics` stand at this address.
    pub fn new(
        metrics: SocketAddr,
        tunnel: Tunnel,
        (wake, stop): (Wake, Stop),
        on_down: Box<dyn Fn() + Send>,
    ) -> Watcher {
        lock(&tunnel.0).cloudflared = Seen::Unseen;
        let client = Client::with_timeout(ANSWER_WITHIN);
        Watcher { metrics, client, tunnel, wake, stop, on_down, every: EVERY, down_after: DOWN_AFTER }
    }

    /// Works until told to stop.
    pub fn run(self) {
        while !self.stop.is_told() {
            let asked = ready(&self.client, self.metrics);
            self.see(asked);
            self.wake.wait(self.every);
        }
    }

    fn see(&self, asked: Result<u64, String>) {
        let mut told = None;
        let went_down = self.tunnel.learn(|known| {
            let before = match &known.cloudflared {
                Seen::Ill { since, is_down, .. } => Some((*since, *is_down)),
                Seen::Unwatched | Seen::Unseen | Seen::Connected(_) => None,
            };
            match asked {
                Ok(connections) => {
                    known.cloudflared = Seen::Connected(connections);
                    if let (Some(_), Some(canary)) = (before, &known.canary) {
                        canary.hurry();
                    }
                    if let Some((_, true)) = before {
                        log::info!("tunnel: connected again connections={connections}");
                    }
                }
                Err(why) => {
                    let (since, was_down) = before.unwrap_or_else(|| (Instant::now(), false));
                    let is_down = was_down || since.elapsed() >= self.down_after;
                    if is_down && !was_down {
                        told = Some((since.elapsed().as_secs(), why.clone()));
                    }
                    known.cloudflared = Seen::Ill { since, is_down, why };
                }
            }
        });
        if let Some((seconds, why)) = told {
            let absent = if program().is_none() { " (cloudflared is not installed)" } else { "" };
            log::error!("tunnel: down for {seconds} s: {why}{absent}; nothing reaches the door; {}", remedy());
        }
        // Not under the lock: what is told of it may ask how it is.
        if went_down {
            (self.on_down)();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::TcpListener,
        sync::mpsc,
    };

    use super::*;
    use crate::threads;

    #[test]
    fn it_is_down_after_its_time_and_back_at_once() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let metrics = listener.local_addr().unwrap();
        let (tunnel, wake, stop) = (Tunnel::default(), Wake::new(), Stop::new());
        let (downs, down) = mpsc::channel();
        let tell = move || downs.send(()).unwrap();
        assert_eq!(tunnel.report()["state"], "not watched");
        let mut watcher = Watcher::new(metrics, tunnel.clone(), (wake.clone(), stop.clone()), Box::new(tell));
        assert_eq!(tunnel.report()["state"], "unknown");
        (watcher.every, watcher.down_after) = (Duration::from_millis(1), Duration::from_millis(1));
        let thread = threads::spawn("tunnel", threads::STACK_BYTES, move || watcher.run()).unwrap();
        let answer = |status: &str, body: &str| {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = [0; 1024];
            let read = stream.read(&mut head).unwrap();
            assert!(head[..read].starts_with(b"GET /ready "));
            let length = body.len();
            write!(stream, "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}").unwrap();
        };
        answer("200 OK", r#"{"status":200,"readyConnections":4}"#);
        while down.try_recv().is_err() {
            assert!(!tunnel.is_down());
            answer("503 Service Unavailable", r#"{"status":503,"readyConnections":0}"#);
        }
        assert!(tunnel.is_down());
        let report = tunnel.report();
        assert_eq!((&report["state"], &report["connections"]), (&"down".into(), &Value::Null));
        assert!(
            report["since"].is_string() && report["remedy"].as_str().is_some_and(|text| text.contains("cloudflared"))
        );
        assert!(report["why"].as_str().is_some_and(|why| why.contains("503")), "{report}");
        answer("503 Service Unavailable", "");
        // Once it has asked again, it knows of the answer before.
        answer("200 OK", r#"{"status":200,"readyConnections":1}"#);
        answer("200 OK", r#"{"status":200,"readyConnections":1}"#);
        assert!(!tunnel.is_down());
        let report = tunnel.report();
        assert_eq!((&report["state"], &report["connections"]), (&"connected".into(), &1.into()));
        assert!(down.try_recv().is_err(), "it is told once");
        stop.tell();
        wake.wake();
        drop(listener);
        thread.join().unwrap();
    }

    #[test]
    fn down_is_when_either_says_so_and_up_when_neither_does() {
        use super::canary::{Canary, Flight};
        let (tunnel, returned, hurry) = (Tunnel::default(), Wake::new(), Wake::new());
        tunnel.when_back(returned.clone());
        let (downs, down) = mpsc::channel();
        let tell = || -> Box<dyn Fn() + Send> {
            let downs = downs.clone();
            Box::new(move || downs.send(()).unwrap())
        };
        let metrics = ([127, 0, 0, 1], 9).into();
        let mut watcher = Watcher::new(metrics, tunnel.clone(), (Wake::new(), Stop::new()), tell());
        watcher.down_after = Duration::ZERO;
        let fly = Box::new(|| Flight::Unknown);
        let every = Duration::from_secs(60);
        let canary = Canary::new(every, fly, tunnel.clone(), (hurry.clone(), Stop::new()), tell());
        let flies = |is_back: bool| {
            canary.see(&match is_back {
                true => Flight::Back(Duration::from_millis(84)),
                false => Flight::Missing { why: "a page".to_owned(), remedy: "mend it".to_owned() },
            });
        };
        let report = || {
            let report = tunnel.report();
            let text = |key: &str| report[key].as_str().unwrap_or_default().to_owned();
            (text("state"), report["connections"].as_u64(), text("why"))
        };
        let is = |state: &str, connections: Option<u64>, why: &str| (state.to_owned(), connections, why.to_owned());
        assert_eq!(report(), is("unknown", None, ""));
        watcher.see(Ok(4));
        flies(true);
        assert_eq!(report(), is("connected", Some(4), ""));

        // Connected, and yet nothing comes through.
        flies(false);
        flies(false);
        assert_eq!(report(), is("down", Some(4), "a page"));
        assert_eq!(tunnel.report()["remedy"], "mend it");
        assert_eq!(down.try_iter().count(), 1);
        // Then cloudflared says so, too, which is the nearer reason and no further news.
        watcher.see(Err("no connection".to_owned()));
        assert_eq!(report(), is("down", None, "no connection"));
        assert_ne!(tunnel.report()["remedy"], "mend it");
        assert_eq!(down.try_iter().count(), 0);
        assert!(!hurry.wait(Duration::ZERO));
        watcher.see(Ok(1));
        assert!(hurry.wait(Duration::ZERO), "whether it is over is asked at once");
        assert_eq!(report(), is("down", Some(1), "a page"));
        assert!(!returned.wait(Duration::ZERO));
        flies(true);
        assert_eq!(report(), is("connected", Some(1), ""));
        assert!(returned.wait(Duration::ZERO) && !tunnel.is_down());

        // The other way round.
        watcher.see(Err("no connection".to_owned()));
        assert_eq!(down.try_iter().count(), 1);
        flies(false);
        flies(false);
        flies(true);
        assert!(tunnel.is_down() && !returned.wait(Duration::ZERO), "cloudflared still says so");
        watcher.see(Ok(1));
        assert!(!tunnel.is_down() && returned.wait(Duration::ZERO));
        assert_eq!(down.try_iter().count(), 0);

        // For a while only cloudflared waits.
        watcher.down_after = Duration::from_secs(3600);
        watcher.see(Err("no connection".to_owned()));
        assert_eq!(report(), is("not connected", None, "no connection"));
        flies(false);
        flies(false);
        assert_eq!(report(), is("down", None, "no connection"));
        assert_eq!(down.try_iter().count(), 1);
    }
}
