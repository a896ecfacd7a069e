//! A tunnel for a first try: cloudflared as a child of ours, under a name that Cloudflare picks anew each time. Owns its
//! life and learning its name; refuses to be what one relies upon.
//!
//! It leads a process group of its own, so that ctrl-C in a terminal is ours to hand on. Where util-linux is there, the
//! kernel ends it when we are killed.

use std::{
    collections::VecDeque,
    env,
    io::{self, PipeReader, PipeWriter, Read},
    net::{SocketAddr, TcpListener},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, ChildStderr, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    process::{Pid, Signal, kill_process_group},
};

use super::{ANSWER_BYTES_MAX, ready};
use crate::{
    http::Client,
    threads::{Stop, Wake},
};

/// It asks Cloudflare for a name, and connects: seconds.
const CONNECTED_WITHIN: Duration = Duration::from_secs(60);
/// How often it is asked meanwhile.
const ASK_EVERY: Duration = Duration::from_millis(250);
const ASK_WITHIN: Duration = Duration::from_secs(2);
/// From SIGTERM to SIGKILL. Its own grace is for requests, which our door has answered by then.
const GRACE: Duration = Duration::from_secs(2);
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Between two starts, doubled each time. Cloudflare limits how many names one address gets.
const PAUSE_FIRST: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(120);
/// Who lived so long has earned a quick start.
const LONG: Duration = Duration::from_secs(300);
/// Of its log, for when it dies.
const LAST_LINES_MAX: usize = 4;
const LINE_BYTES_MAX: usize = 400;
/// What all names end in.
const DOMAIN: &str = ".trycloudflare.com";

/// One such tunnel. [`Quick::run`] is the thread.
pub struct Quick {
    program: PathBuf,
    origin: SocketAddr,
    metrics: SocketAddr,
    client: Client,
    /// At its end, and so readable, when it is time to stop.
    halt: PipeReader,
    wake: Wake,
    stop: Stop,
    /// Told the URL, each time that there is a new one.
    tell: Box<dyn Fn(&str) + Send>,
}

/// An address of this machine that nobody has at this moment.
///
/// # Errors
/// When the system gives none.
pub fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind("127.0.0.1:0")?.local_addr()
}

impl Quick {
    /// From the door at `origin` into the world, by `program`. Drop the writer, then wake, to stop it.
    ///
    /// # Errors
    /// When the system has no pipe.
    pub fn new(
        program: PathBuf,
        (origin, metrics): (SocketAddr, SocketAddr),
        (wake, stop): (Wake, Stop),
        tell: Box<dyn Fn(&str) + Send>,
    ) -> io::Result<(Quick, PipeWriter)> {
        let (halt, halts) = io::pipe()?;
        let client = Client::with_timeout(ASK_WITHIN);
        Ok((Quick { program, origin, metrics, client, halt, wake, stop, tell }, halts))
    }

    /// Keeps one running until told to stop.
    pub fn run(self) {
        let mut pause = PAUSE_FIRST;
        while !self.stop.is_told() {
            let begun = Instant::now();
            let why = match self.start().and_then(|running| self.watch(running)) {
                Ok(None) => break,
                Ok(Some(why)) => why,
                Err(error) => format!("{} cannot be run: {error}", self.program.display()),
            };
            if begun.elapsed() >= LONG {
                pause = PAUSE_FIRST;
            }
            log::error!("quick tunnel: {why}; it is started again in {} s, under another name", pause.as_secs());
            self.wake.wait(pause);
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    fn start(&self) -> io::Result<Running> {
        let mut command = match wrapper() {
            Some(wrapper) => {
                let mut command = Command::new(wrapper);
                command.args(["--pdeathsig", "TERM"]).arg(&self.program);
                command
            }
            None => {
                log::warn!("quick tunnel: no setpriv here, so cloudflared goes on if hookbell is killed (SIGKILL)");
                Command::new(&self.program)
            }
        };
        command
            // Who has a configuration for another tunnel gets this one all the same.
            .args(["tunnel", "--no-autoupdate", "--config", "/dev/null", "--protocol", "http2"])
            .args(["--metrics", &self.metrics.to_string(), "--url", &format!("http://{}", self.origin)])
            // Our secrets are none of its business, and variables could make another tunnel of it.
            .env_clear()
            .envs(["PATH", "HOME"].into_iter().filter_map(|name| env::var_os(name).map(|value| (name, value))))
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let log = child.stderr.take();
        let mut running = Running { child, words: Words::default() };
        match log {
            Some(log) => {
                running.words.log = Some(log);
                Ok(running)
            }
            None => Err(io::Error::other("its log cannot be read")),
        }
    }

    /// Until it ends, which is told in words, or until it is time to stop.
    fn watch(&self, mut running: Running) -> io::Result<Option<String>> {
        let deadline = Instant::now() + CONNECTED_WITHIN;
        let mut asked = Instant::now();
        let mut is_told = false;
        loop {
            let pause = if is_told { None } else { Timespec::try_from(ASK_EVERY).ok() };
            let Some(log) = &running.words.log else { break };
            let mut polled = [PollFd::new(log, PollFlags::IN), PollFd::new(&self.halt, PollFlags::IN)];
            match poll(&mut polled, pause.as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            let [said, halt] = polled.each_ref().map(|polled| !polled.revents().is_empty());
            if halt || self.stop.is_told() {
                return Ok(None);
            }
            if said {
                running.words.listen()?;
            }
            if is_told || asked.elapsed() < ASK_EVERY {
                continue;
            }
            asked = Instant::now();
            if let Some(name) = self.name(&running.words) {
                (self.tell)(&format!("https://{name}"));
                is_told = true;
            } else if asked >= deadline {
                let seconds = CONNECTED_WITHIN.as_secs();
                return Ok(Some(format!("not connected after {seconds} s{}", running.words.last())));
            }
        }
        let status = running.end();
        Ok(Some(format!("cloudflared has ended ({status}){}", running.words.last())))
    }

    /// Its name, once it is connected.
    fn name(&self, words: &Words) -> Option<String> {
        let answer = self.client.get(&format!("http://{}/quicktunnel", self.metrics), &[], ANSWER_BYTES_MAX).ok()?;
        let said: serde_json::Value = serde_json::from_str(&answer.body).unwrap_or_default();
        let name = said["hostname"].as_str().filter(|name| is_name(name)).map(str::to_owned);
        let name = name.or_else(|| words.name.clone())?;
        ready(&self.client, self.metrics).ok().map(|_| name)
    }
}

/// util-linux' setpriv, by which a child asks the kernel to die with us. Busybox has one of that name that cannot.
fn wrapper() -> Option<&'static Path> {
    let wrapper = Path::new("/usr/bin/setpriv");
    let is_it = wrapper.canonicalize().is_ok_and(|file| file.ends_with("setpriv"));
    (cfg!(target_os = "linux") && is_it).then_some(wrapper)
}

/// A host name of a quick tunnel, and nothing else.
fn is_name(text: &str) -> bool {
    let label = text.strip_suffix(DOMAIN).unwrap_or_default();
    !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// The child, which does not outlive this.
struct Running {
    child: Child,
    words: Words,
}

impl Running {
    /// Ends it and all that it has started, and says how it ended.
    fn end(&mut self) -> String {
        let group = Pid::from_child(&self.child);
        let deadline = Instant::now() + GRACE;
        let mut signal = Some(Signal::TERM);
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => {
                    // Whom it has started; mostly nobody, and then there is no such group.
                    let _ = kill_process_group(group, Signal::KILL);
                    return status.to_string();
                }
                Ok(None) if Instant::now() >= deadline => {
                    let _ = kill_process_group(group, Signal::KILL);
                    return self.child.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
                }
                Ok(None) => {
                    if let Some(signal) = signal.take() {
                        // Who has just ended by itself is found out next.
                        let _ = kill_process_group(group, signal);
                    }
                    Wake::new().wait(LOOK_EVERY);
                }
                Err(error) => return error.to_string(),
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

/// What it says: its log goes to ours for those who look closely, and the last of it is kept.
#[derive(Default)]
struct Words {
    /// `None` at its end.
    log: Option<ChildStderr>,
    line: Vec<u8>,
    lines: VecDeque<String>,
    /// As the log shows it, for a cloudflared whose metrics do not.
    name: Option<String>,
}

impl Words {
    /// Reads what there is.
    fn listen(&mut self) -> io::Result<()> {
        let Some(log) = &mut self.log else { return Ok(()) };
        let mut bytes = [0; 4096];
        let count = match log.read(&mut bytes) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            read => read?,
        };
        if count == 0 {
            self.log = None;
        }
        self.hear(&bytes[..count]);
        Ok(())
    }

    fn hear(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if *byte != b'\n' {
                if self.line.len() < LINE_BYTES_MAX {
                    self.line.push(*byte);
                }
                continue;
            }
            let line = String::from_utf8_lossy(&self.line).trim().to_owned();
            self.line.clear();
            if line.is_empty() {
                continue;
            }
            log::debug!("cloudflared: {line}");
            let named = line.split_whitespace().filter_map(|word| word.strip_prefix("https://"));
            self.name = named.map(str::to_owned).find(|name| is_name(name)).or(self.name.take());
            self.lines.push_back(line);
            if self.lines.len() > LAST_LINES_MAX {
                self.lines.pop_front();
            }
        }
    }

    /// For the end of a sentence.
    fn last(&self) -> String {
        match self.lines.is_empty() {
            true => ", without a word".to_owned(),
            false => format!("; its last words: {}", Vec::from(self.lines.clone()).join(" / ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_name_is_found_in_its_log_and_its_last_words_are_kept() {
        let mut words = Words::default();
        words.hear(b"2026-11-22T10:00:00Z INF Requesting new quick Tunnel on trycloudflare.com...\n");
        words.hear(b"INF See https://developers.cloudflare.com/ for more, or https://.trycloudflare.com\n");
        assert_eq!(words.name, None);
        words.hear(b"2026-11-22T10:00:01Z INF |  https://two-words-");
        words.hear(b"here.trycloudflare.com   |\nnothing more");
        assert_eq!(words.name.as_deref(), Some("two-words-here.trycloudflare.com"));
        for number in 0..10 {
            words.hear(format!("\nline {number} {}\n\n", "x".repeat(2 * LINE_BYTES_MAX)).as_bytes());
        }
        let last = words.last();
        assert!(last.starts_with("; its last words: line 6 xxx") && last.len() < 5 * LINE_BYTES_MAX, "{last}");
        assert_eq!(words.name.as_deref(), Some("two-words-here.trycloudflare.com"));
        assert_eq!(Words::default().last(), ", without a word");
    }

    #[test]
    fn only_names_of_quick_tunnels_are_names() {
        assert!(is_name("a-1.trycloudflare.com"));
        for text in ["", ".trycloudflare.com", "a.b.trycloudflare.com", "a.example.com", "a/trycloudflare.com"] {
            assert!(!is_name(text), "{text}");
        }
    }
}
