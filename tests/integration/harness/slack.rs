//! A stand-in for Slack that plays a script: each request gets the next answer, and after the last that all is well. It is an
//! incoming webhook, and beneath `/api/` the web API.

use std::{
    collections::VecDeque,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::mpsc::{Receiver, Sender, channel},
    thread,
    time::Instant,
};

use serde_json::Value;

/// What Slack does with one request.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// Answers like this.
    Answer { status: u16, body: &'static str, retry_after_s: Option<u32> },
    /// Reads the request and hangs up without a word.
    Cut,
    /// Reads the request and says nothing for ever.
    Hang,
}

impl Act {
    pub(crate) const OK: Act = Act::Answer { status: 200, body: "ok", retry_after_s: None };

    pub(crate) fn fails(status: u16, body: &'static str) -> Act {
        Act::Answer { status, body, retry_after_s: None }
    }
}

/// A message as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) at: Instant,
    /// What was called: `/api/chat.postMessage`.
    pub(crate) path: String,
    pub(crate) json: Value,
}

impl Message {
    pub(crate) fn text(&self) -> &str {
        self.json["text"].as_str().expect("every message has a text")
    }
}

pub(crate) struct Slack {
    pub(crate) url: String,
    /// Where the web API stands.
    pub(crate) api: String,
    messages: Receiver<Message>,
}

impl Slack {
    pub(crate) fn start() -> Slack {
        Slack::with_script([])
    }

    pub(crate) fn with_script(acts: impl IntoIterator<Item = Act>) -> Slack {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let (url, api) = (format!("http://{address}/services/T000/B000/secret-part"), format!("http://{address}/api"));
        let mut script: VecDeque<Act> = acts.into_iter().collect();
        let (sender, messages) = channel();
        // Ends with the test's process.
        thread::spawn(move || {
            let mut held = Vec::new();
            for (number, stream) in listener.incoming().map_while(Result::ok).enumerate() {
                let act = script.pop_front().unwrap_or(Act::OK);
                if matches!(act, Act::Hang) {
                    held.push(stream.try_clone().expect("a socket"));
                }
                serve(stream, &act, number, &sender);
            }
        });
        Slack { url, api, messages }
    }

    /// The messages that have come and were not asked for yet.
    pub(crate) fn so_far(&self) -> Vec<Message> {
        self.messages.try_iter().collect()
    }

    /// The next message, whatever was answered to it.
    pub(crate) fn next(&self) -> Message {
        self.messages.recv_timeout(super::PATIENCE).expect("a message for Slack")
    }
}

fn serve(stream: TcpStream, act: &Act, number: usize, messages: &Sender<Message>) {
    // Clients keep their connection: answer until they leave.
    let mut reader = BufReader::new(stream.try_clone().expect("a socket"));
    let mut length = 0;
    let mut path = String::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        if path.is_empty() {
            path = line.split(' ').nth(1).unwrap_or_default().to_owned();
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().expect("a length");
        }
        if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; length];
    if reader.read_exact(&mut body).is_err() {
        return;
    }
    let json = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let is_api = path.starts_with("/api/");
    // The test may have ended meanwhile.
    let _ = messages.send(Message { at: Instant::now(), path, json });
    let well = format!(r#"{{"ok":true,"channel":"C0000DEV","ts":"1700000000.{number:06}"}}"#);
    let Act::Answer { status, body, retry_after_s } = act else { return };
    let body = if is_api && *body == "ok" { well.as_str() } else { body };
    let retry_after = retry_after_s.map(|seconds| format!("Retry-After: {seconds}\r\n")).unwrap_or_default();
    let answer = format!(
        "HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n{retry_after}\r\n{body}",
        body.len()
    );
    let _ = (&stream).write_all(answer.as_bytes());
}
