//! A destination on loopback for the sinks' tests: gives prepared answers in turn and remembers what it was sent. Owns no
//! judgement.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener},
    thread::JoinHandle,
};

use crate::threads::{STACK_BYTES, spawn};

/// One request.
#[derive(Clone, Debug)]
pub(super) struct Heard {
    /// Its first line.
    pub(super) line: String,
    /// Names in lower case.
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Heard {
    /// What a header says, or nothing.
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(header, _)| header == name).map_or("", |(_, value)| value)
    }

    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// Answers one connection after the other; `None` hangs up without a word.
pub(super) struct Server {
    address: SocketAddr,
    thread: JoinHandle<Vec<Heard>>,
}

impl Server {
    pub(super) fn start(answers: &[Option<&str>]) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let answers: Vec<Option<String>> = answers.iter().map(|answer| answer.map(str::to_owned)).collect();
        let serve = move || answers.iter().map(|answer| serve(&listener, answer.as_deref())).collect();
        Server { address, thread: spawn("destination", STACK_BYTES, serve).unwrap() }
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// What came, once all answers are given.
    pub(super) fn heard(self) -> Vec<Heard> {
        self.thread.join().unwrap()
    }
}

fn serve(listener: &TcpListener, answer: Option<&str>) -> Heard {
    let (stream, _) = listener.accept().unwrap();
    let mut reader = BufReader::new(&stream);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        assert_ne!(reader.read_line(&mut line).unwrap(), 0, "the head ended early");
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let headers: Vec<(String, String)> = lines[1..]
        .iter()
        .map(|line| line.split_once(": ").unwrap())
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let length =
        headers.iter().find(|(name, _)| name == "content-length").map_or(0, |(_, value)| value.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    if let Some(answer) = answer {
        let (head, rest) = answer.split_once("\r\n").unwrap();
        (&stream).write_all(format!("{head}\r\nConnection: close\r\n{rest}").as_bytes()).unwrap();
    }
    Heard { line: lines.remove(0), headers, body }
}
