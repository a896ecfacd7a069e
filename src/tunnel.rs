//! Whether the tunnel is connected, as cloudflared says itself at its `/ready`. Owns when it counts as down, and what
//! repairs it; refuses to start or mend it. [`quick`] is the one tunnel that is ours to start.

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

/// What the watcher has seen, for whoever shows it. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Tunnel(Arc<Mutex<Seen>>);

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

impl Tunnel {
    /// Not connected for a minute or longer.
    pub fn is_down(&self) -> bool {
        matches!(*lock(&self.0), Seen::Ill { is_down: true, .. })
    }

    /// For `status`: `state` is `not watched`, `unknown`, `connected`, `not connected` (for less than a minute) or `down`.
    pub fn report(&self) -> Value {
        let (state, connections, ill) = match &*lock(&self.0) {
            Seen::Unwatched => ("not watched", None, None),
            Seen::Unseen => ("unknown", None, None),
            Seen::Connected(connections) => ("connected", Some(*connections), None),
            Seen::Ill { since, is_down, why } => {
                let state = if *is_down { "down" } else { "not connected" };
                // Counted back from now: the clock may have been wrong then.
                (state, None, Some((SystemClock.wall().minus(since.elapsed()), why.clone())))
            }
        };
        json!({
            "state": state,
            "connections": connections,
            "since": ill.as_ref().map(|(since, _)| since),
            "remedy": ill.as_ref().map(|_| remedy()),
            "why": ill.map(|(_, why)| why),
            "installed": program().is_some(),
        })
    }
}

/// Asks again and again. [`Watcher::run`] is the thread.
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
        *lock(&tunnel.0) = Seen::Unseen;
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
        let mut seen = lock(&self.tunnel.0);
        let was_down = matches!(*seen, Seen::Ill { is_down: true, .. });
        match asked {
            Ok(connections) => {
                *seen = Seen::Connected(connections);
                if was_down {
                    log::info!("tunnel: connected again connections={connections}");
                }
            }
            Err(why) => {
                let since = if let Seen::Ill { since, .. } = *seen { since } else { Instant::now() };
                let is_down = was_down || since.elapsed() >= self.down_after;
                *seen = Seen::Ill { since, is_down, why: why.clone() };
                // What is told of it may ask how it is.
                drop(seen);
                if is_down && !was_down {
                    let seconds = since.elapsed().as_secs();
                    let absent = if program().is_none() { " (cloudflared is not installed)" } else { "" };
                    log::error!("tunnel: down for {seconds} s: {why}{absent}; nothing reaches the door; {}", remedy());
                    (self.on_down)();
                }
            }
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
}
