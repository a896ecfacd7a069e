//! A stand-in for an incoming webhook of Slack that can be told to be ill, and to be well again. Owns what it has
//! acknowledged; refuses to know what a message means.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

use rustix::net::{Shutdown, shutdown};

/// What a caller may take for its request. Longer than it waits for an answer.
const CALLER_MAX: Duration = Duration::from_secs(15);
/// Conversations at once; what comes besides is cut.
const CALLERS_MAX: usize = 64;
/// Of a request's body. Slack's own messages are smaller.
const BODY_BYTES_MAX: usize = 1 << 20;

/// What it does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Answers 200, `ok`, and keeps the text.
    Ok,
    /// Reads it and never answers. What hangs is cut when the mode is another.
    Hang,
    /// Answers with this status.
    Status(u16),
    /// Closes at once.
    Refuse,
}

#[derive(Debug)]
struct State {
    mode: Mode,
    acknowledged: Vec<String>,
    requests: u64,
    callers: usize,
    is_over: bool,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

/// The stand-in at work, on loopback.
#[derive(Debug)]
pub struct Slack {
    address: SocketAddr,
    listener: TcpListener,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slack {
    /// Starts one that is well, at a port that the kernel chooses.
    ///
    /// # Errors
    /// When it cannot listen.
    pub fn start() -> io::Result<Slack> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let state = State { mode: Mode::Ok, acknowledged: Vec::new(), requests: 0, callers: 0, is_over: false };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        let (address, accepting, for_thread) = (listener.local_addr()?, listener.try_clone()?, Arc::clone(&shared));
        let thread = thread::Builder::new().name("slack".to_owned()).spawn(move || accept(&accepting, &for_thread))?;
        Ok(Slack { address, listener, shared, thread: Some(thread) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its webhook, by its address.
    pub fn url(&self) -> String {
        self.url_at(&self.address.ip().to_string())
    }

    /// The same by another name of this machine.
    pub fn url_at(&self, host: &str) -> String {
        format!("http://{host}:{}/services/T0/B0/chaos", self.address.port())
    }

    /// From now on does this.
    pub fn answer(&self, mode: Mode) {
        self.shared.lock().mode = mode;
        self.shared.changed.notify_all();
    }

    /// Every text that was acknowledged, in order.
    pub fn texts(&self) -> Vec<String> {
        self.shared.lock().acknowledged.clone()
    }

    /// How many requests there were, whatever became of them.
    pub fn requests(&self) -> u64 {
        self.shared.lock().requests
    }
}

impl Drop for Slack {
    fn drop(&mut self) {
        self.shared.lock().is_over = true;
        self.shared.changed.notify_all();
        // Wakes who accepts; where that is not possible the thread ends with the process.
        if shutdown(&self.listener, Shutdown::Both).is_ok()
            && let Some(thread) = self.thread.take()
        {
            // A panic there has been printed already.
            let _ = thread.join();
        }
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    loop {
        let accepted = listener.accept();
        if shared.lock().is_over {
            return;
        }
        let Ok((stream, _)) = accepted else {
            // Somebody else has taken all descriptors.
            thread::sleep(Duration::from_millis(10));
            continue;
        };
        if shared.lock().mode == Mode::Refuse || shared.lock().callers >= CALLERS_MAX {
            continue;
        }
        shared.lock().callers += 1;
        let for_thread = Arc::clone(shared);
        let begun = thread::Builder::new().spawn(move || {
            // A caller that breaks off is its own affair: nothing was acknowledged.
            let _ = serve(&stream, &for_thread);
            for_thread.lock().callers -= 1;
        });
        if begun.is_err() {
            shared.lock().callers -= 1;
        }
    }
}

/// One request. What was answered whole is kept *before* the answer goes out: a caller that has read its `ok` must find
/// the text here, and one that was killed before it read it sends again.
fn serve(stream: &TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_read_timeout(Some(CALLER_MAX))?;
    stream.set_write_timeout(Some(CALLER_MAX))?;
    let mut reader = BufReader::new(stream);
    let (mut line, mut length) = (String::new(), 0);
    loop {
        line.clear();
        if reader.by_ref().take(16 * 1024).read_line(&mut line)? == 0 {
            return Ok(());
        }
        if line.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().map_err(io::Error::other)?;
        }
    }
    if length > BODY_BYTES_MAX {
        return Ok(());
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;

    let status = {
        let mut state = shared.lock();
        state.requests += 1;
        if state.mode == Mode::Hang {
            while state.mode == Mode::Hang && !state.is_over {
                state = shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            return Ok(());
        }
        match state.mode {
            Mode::Ok => {
                state.acknowledged.push(text_of(&body));
                200
            }
            Mode::Status(status) => status,
            Mode::Hang | Mode::Refuse => return Ok(()),
        }
    };
    let words = if status == 200 { "ok" } else { "no" };
    let mut stream = stream;
    write!(
        stream,
        "HTTP/1.1 {status} Said\r\nContent-Type: text/plain\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{words}"
    )
}

/// What a message says; the whole of it when it is none of ours.
fn text_of(body: &[u8]) -> String {
    let json: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    json["text"].as_str().map_or_else(|| String::from_utf8_lossy(body).into_owned(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn post(slack: &Slack, text: &str) -> String {
        let mut stream = TcpStream::connect(slack.address()).unwrap();
        stream.set_read_timeout(Some(CALLER_MAX)).unwrap();
        let body = format!("{{\"text\":\"{text}\"}}");
        // Who closes at once may do so before all is written.
        let _ = write!(stream, "POST /x HTTP/1.1\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let mut answer = String::new();
        // Cut is an answer here, too.
        let _ = stream.read_to_string(&mut answer);
        answer
    }

    #[test]
    fn only_what_it_has_acknowledged_is_kept() {
        let slack = Slack::start().unwrap();
        assert!(post(&slack, "one").ends_with("ok"));
        slack.answer(Mode::Status(500));
        assert!(post(&slack, "two").starts_with("HTTP/1.1 500"));
        slack.answer(Mode::Refuse);
        assert_eq!(post(&slack, "three"), "");
        slack.answer(Mode::Ok);
        assert!(post(&slack, "four").ends_with("ok"));
        assert_eq!(slack.texts(), ["one", "four"]);
    }

    #[test]
    fn who_hangs_is_cut_when_it_is_well_again() {
        let slack = Slack::start().unwrap();
        slack.answer(Mode::Hang);
        thread::scope(|scope| {
            let hanging = scope.spawn(|| post(&slack, "one"));
            while slack.requests() == 0 {
                thread::yield_now();
            }
            slack.answer(Mode::Ok);
            assert_eq!(hanging.join().unwrap(), "");
        });
        assert!(slack.texts().is_empty());
    }
}
