//! Whether the tunnel is connected, as cloudflared says itself at its `/ready`. Owns when it counts as down; refuses to
//! start or mend it.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use crate::{
    http::Client,
    threads::{Stop, Wake},
};

/// How often it is asked.
const EVERY: Duration = Duration::from_secs(15);
/// A reconnection takes seconds; who was not connected for so long is down.
const DOWN_AFTER: Duration = Duration::from_secs(60);
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
const ANSWER_BYTES_MAX: u64 = 16 * 1024;

/// Whether the tunnel is down, for whoever shows it.
#[derive(Clone, Debug, Default)]
pub struct Tunnel(Arc<AtomicBool>);

impl Tunnel {
    /// Not connected for a minute or longer.
    pub fn is_down(&self) -> bool {
        self.0.load(Ordering::Relaxed)
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
        let client = Client::with_timeout(ANSWER_WITHIN);
        Watcher { metrics, client, tunnel, wake, stop, on_down, every: EVERY, down_after: DOWN_AFTER }
    }

    /// Works until told to stop.
    pub fn run(self) {
        let mut ill_since = None;
        while !self.stop.is_told() {
            match self.ask() {
                Ok(connections) => {
                    ill_since = None;
                    if self.tunnel.0.swap(false, Ordering::Relaxed) {
                        log::info!("tunnel: connected again connections={connections}");
                    }
                }
                Err(why) => {
                    let since = *ill_since.get_or_insert_with(Instant::now);
                    if since.elapsed() >= self.down_after && !self.tunnel.0.swap(true, Ordering::Relaxed) {
                        log::error!(
                            "tunnel: down for {} s: {why}; nothing reaches the door. `systemctl status cloudflared` says \
                             whether it runs, `systemctl restart cloudflared` starts it anew",
                            since.elapsed().as_secs()
                        );
                        (self.on_down)();
                    }
                }
            }
            self.wake.wait(self.every);
        }
    }

    /// How many connections it has; at least one.
    fn ask(&self) -> Result<u64, String> {
        let url = format!("http://{}/ready", self.metrics);
        let answer = self.client.get(&url, &[], ANSWER_BYTES_MAX).map_err(|failure| failure.to_string())?;
        let ready: serde_json::Value = serde_json::from_str(&answer.body).unwrap_or_default();
        let connections = ready["readyConnections"].as_u64();
        match (answer.status, connections) {
            (200, connections) => Ok(connections.unwrap_or(1)),
            (status, _) => Err(format!("cloudflared answers {status}: it has no connection to Cloudflare")),
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
        let mut watcher = Watcher::new(metrics, tunnel.clone(), (wake.clone(), stop.clone()), Box::new(tell));
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
        answer("503 Service Unavailable", "");
        // Once it has asked again, it knows of the answer before.
        answer("200 OK", r#"{"status":200,"readyConnections":1}"#);
        answer("200 OK", r#"{"status":200,"readyConnections":1}"#);
        assert!(!tunnel.is_down());
        assert!(down.try_recv().is_err(), "it is told once");
        stop.tell();
        wake.wake();
        drop(listener);
        thread.join().unwrap();
    }
}
