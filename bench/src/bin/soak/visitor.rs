//! Who looks: pages of the panel, its API, a stream that is opened and closed, and the commands of a person at the shell. Owns
//! what was answered; refuses to know what it says.

use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use hookbell_bench::stage::Stage;

use crate::chance::{Chance, Halt, Windows};

/// From one question to the next.
const EVERY: Duration = Duration::from_millis(700);
/// Questions to one stream, and to one command.
const STREAM_EACH: u64 = 12;
const COMMAND_EACH: u64 = 20;
/// How long a stream is listened to.
const STREAM_LASTS: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(10);
const ANSWER_BYTES_MAX: u64 = 16 << 20;
const SURPRISES_MAX: usize = 10;
const PAGES: &[&str] = &[
    "/",
    "/deliveries",
    "/deliveries?status=dead_letter",
    "/deliveries?source=github",
    "/flow",
    "/setup",
    "/api/health",
    "/api/deliveries?limit=100",
    "/api/events",
    "/api/stats",
    "/api/sources",
    "/api/rules",
    "/api/desk",
    "/metrics",
];

/// What came of it so far.
#[derive(Debug, Default)]
pub(crate) struct Visits {
    /// By what was asked and how it was answered.
    pub(crate) answers: BTreeMap<&'static str, BTreeMap<String, u64>>,
    pub(crate) surprises: Vec<String>,
    pub(crate) surprises_count: u64,
}

/// Everybody who looks.
pub(crate) struct Visitor<'a> {
    pub(crate) panel: SocketAddr,
    pub(crate) stage: &'a Stage,
    pub(crate) seed: u64,
    pub(crate) windows: &'a Windows,
    pub(crate) requests: &'a AtomicU64,
    pub(crate) visits: &'a Mutex<Visits>,
}

impl Visitor<'_> {
    /// Looks until told to stop.
    pub(crate) fn run(&self, halt: &Halt) -> io::Result<()> {
        let mut chance = Chance::new(self.seed, 2);
        let mut number = 0;
        while !halt.wait(EVERY) {
            number += 1;
            let begun = Instant::now();
            if number % COMMAND_EACH == 0 {
                let (what, said) = self.command(&mut chance);
                self.note("commands", &what, begun, said.map(|()| "ok".to_owned()));
            } else if number % STREAM_EACH == 0 {
                self.note("panel, streams", "/api/live", begun, self.stream(halt));
            } else {
                let page = chance.pick(PAGES).copied().unwrap_or("/");
                self.requests.fetch_add(1, Ordering::Relaxed);
                self.note("panel, pages and API", page, begun, self.get(page));
            }
        }
        Ok(())
    }

    fn note(&self, kind: &'static str, what: &str, begun: Instant, said: io::Result<String>) {
        let mut visits = self.visits.lock().unwrap_or_else(PoisonError::into_inner);
        let is_good = said.as_ref().is_ok_and(|said| said == "200" || said == "ok");
        let answer = said.as_ref().map_or_else(|_| "failed".to_owned(), Clone::clone);
        *visits.answers.entry(kind).or_default().entry(answer).or_default() += 1;
        if !is_good && !self.windows.touch(begun, Instant::now()) {
            visits.surprises_count += 1;
            if visits.surprises.len() < SURPRISES_MAX {
                let said = said.unwrap_or_else(|error| error.to_string());
                visits.surprises.push(format!("{what}: {said}"));
            }
        }
    }

    fn ask(&self, path: &str) -> io::Result<TcpStream> {
        let mut stream = TcpStream::connect_timeout(&self.panel, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.panel).as_bytes())?;
        Ok(stream)
    }

    fn get(&self, path: &str) -> io::Result<String> {
        let mut answer = Vec::new();
        self.ask(path)?.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
        status(&answer)
    }

    /// Listens for a while, then goes.
    fn stream(&self, halt: &Halt) -> io::Result<String> {
        let mut stream = self.ask("/api/live")?;
        let mut head = [0; 1024];
        let count = stream.read(&mut head)?;
        let status = status(&head[..count])?;
        halt.wait(STREAM_LASTS);
        Ok(status)
    }

    fn command(&self, chance: &mut Chance) -> (String, io::Result<()>) {
        // Somewhere among what is there; a number that was pruned is as good as none.
        let newest = self.stage.count("SELECT coalesce(max(id), 1) FROM delivery").unwrap_or(1);
        let some = newest.saturating_sub(chance.below(300)).max(1).to_string();
        let choices: &[&[&str]] = &[
            &["status"],
            &["status", "--json"],
            &["deliveries", "list", "--json"],
            &["sql", "SELECT status, count(*) FROM delivery GROUP BY status"],
            &["deliveries", "replay", "--source", "github", "--limit", "3"],
            &["deliveries", "show", &some],
        ];
        let arguments = chance.pick(choices).copied().unwrap_or(&["status"]);
        let what = format!("hookbell {}", arguments.join(" "));
        let output = self.stage.plan.command(arguments).output();
        let said = output.and_then(|output| match output.status.success() {
            true => Ok(()),
            false => Err(io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned())),
        });
        (what, said)
    }
}

fn status(answer: &[u8]) -> io::Result<String> {
    let text = String::from_utf8_lossy(&answer[..answer.len().min(64)]).into_owned();
    let status = text.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3));
    status.map(str::to_owned).ok_or_else(|| io::Error::other(format!("no answer: {text:?}")))
}
