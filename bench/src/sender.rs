//! A sender that outlives what it sends to: signed GitHub deliveries on a fixed schedule, each with a mark of its own, and
//! what became of each. Owns what was promised; refuses to know what is done to the service meanwhile.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io,
    net::SocketAddr,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use sha2::{Digest, Sha256};

use crate::{
    request::signed_event,
    wire::{Script, Swarm},
};

/// As long as GitHub waits for an answer.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// Subjects among which the deliveries are spread: within one, order is promised.
pub const SUBJECTS: u64 = 8;
/// Where deliveries go.
pub const PATH: &str = "/webhooks/github";

/// What is sent.
#[derive(Clone, Debug)]
pub struct Load {
    /// The door.
    pub address: SocketAddr,
    /// The deliveries are `NAME-0`, `NAME-1`, and so on, and their marks `mark-NAME-0`, … No digit at its end.
    pub name: String,
    /// From one to the next.
    pub every: Duration,
    /// Of each body, about.
    pub body_bytes: usize,
    /// How long an answer is waited for.
    pub patience: Duration,
}

impl Load {
    /// Fifty a second of about two kilobytes.
    pub fn new(address: SocketAddr, name: &str) -> Load {
        let name = name.to_owned();
        Load { address, name, every: Duration::from_millis(20), body_bytes: 2048, patience: PATIENCE }
    }
}

/// What became of one delivery.
#[derive(Clone, Debug)]
pub struct Sent {
    /// Its place in the order of sending.
    pub number: u64,
    /// When it was to be sent.
    pub scheduled: Instant,
    /// When its answer was there, or it was known that none would come.
    pub over: Instant,
    /// The answer's status; `None` when there was none.
    pub status: Option<u16>,
    /// The same in words, with the reason that was given.
    pub said: String,
    /// Of its body.
    pub sha256: [u8; 32],
}

/// A delivery that was answered 200.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Promise {
    /// The sender's id of it.
    pub id: String,
    /// What its message says somewhere.
    pub mark: String,
    /// Of its body.
    pub sha256: [u8; 32],
}

#[derive(Debug, Default)]
struct State {
    sent: Vec<Sent>,
    stop: bool,
    broken: Option<String>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    news: Condvar,
}

/// The sender at work.
#[derive(Debug)]
pub struct Sender {
    name: String,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sender {
    /// Starts sending.
    ///
    /// # Errors
    /// When there is no thread for it.
    pub fn start(load: Load) -> io::Result<Sender> {
        let shared = Arc::new(Shared { state: Mutex::default(), news: Condvar::new() });
        let (for_thread, name) = (Arc::clone(&shared), load.name.clone());
        let thread = thread::Builder::new().name("sender".to_owned()).spawn(move || {
            if let Err(error) = post(&load, &for_thread) {
                for_thread.lock().broken = Some(format!("the sender cannot go on: {error}"));
            }
            for_thread.news.notify_all();
        })?;
        Ok(Sender { name, shared, thread: Some(thread) })
    }

    /// Waits until so many have got their 200 that were sent after this, and says whether they have.
    ///
    /// # Errors
    /// When the sender itself cannot go on.
    pub fn wait_for_200s(&self, count: usize, after: Instant, patience: Duration) -> io::Result<bool> {
        let deadline = Instant::now() + patience;
        let mut state = self.shared.lock();
        loop {
            if let Some(broken) = &state.broken {
                return Err(io::Error::other(broken.clone()));
            }
            let is_good = |sent: &&Sent| sent.status == Some(200) && sent.scheduled >= after;
            if state.sent.iter().rev().filter(is_good).count() >= count {
                return Ok(true);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            state = self.shared.news.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// What became of all that is over, in the order in which it was.
    pub fn sent(&self) -> Vec<Sent> {
        self.shared.lock().sent.clone()
    }

    /// What was answered 200.
    pub fn promised(&self) -> Vec<Promise> {
        let state = self.shared.lock();
        let promised = state.sent.iter().filter(|sent| sent.status == Some(200));
        promised
            .map(|sent| Promise {
                id: format!("{}-{}", self.name, sent.number),
                mark: mark(&self.name, sent.number),
                sha256: sent.sha256,
            })
            .collect()
    }

    /// What was not answered 200 and is over between these times, by status; what got no answer is `none`.
    pub fn refused(&self, from: Instant, to: Instant) -> BTreeMap<String, usize> {
        let mut refused = BTreeMap::new();
        for sent in &self.shared.lock().sent {
            if sent.status != Some(200) && (from..=to).contains(&sent.over) {
                let status = sent.status.map_or_else(|| "none".to_owned(), |status| status.to_string());
                *refused.entry(status).or_default() += 1;
            }
        }
        refused
    }

    /// The same by all that was said, and how it ended where nothing was.
    pub fn reasons(&self, from: Instant, to: Instant) -> BTreeMap<String, usize> {
        let mut reasons = BTreeMap::new();
        for sent in &self.shared.lock().sent {
            if sent.status != Some(200) && (from..=to).contains(&sent.over) {
                let words = if sent.said.starts_with("nothing for") { "nothing in time" } else { &sent.said };
                *reasons.entry(words.to_owned()).or_default() += 1;
            }
        }
        reasons
    }

    /// The longest time without a 200 between these.
    pub fn deaf(&self, from: Instant, to: Instant) -> Duration {
        let state = self.shared.lock();
        let heard: Vec<Instant> =
            state.sent.iter().filter(|sent| sent.status == Some(200)).map(|sent| sent.over).collect();
        longest_gap(from, to, &heard)
    }

    /// Sends nothing more, and returns when all that is open is over.
    ///
    /// # Errors
    /// When the sender itself could not go on.
    pub fn stop(&mut self) -> io::Result<()> {
        self.shared.lock().stop = true;
        if let Some(thread) = self.thread.take() {
            // A panic there has been printed already.
            let _ = thread.join();
        }
        match &self.shared.lock().broken {
            Some(broken) => Err(io::Error::other(broken.clone())),
            None => Ok(()),
        }
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.shared.lock().stop = true;
    }
}

/// What a delivery's message says somewhere.
pub fn mark(name: &str, number: u64) -> String {
    format!("mark-{name}-{number}")
}

/// The marks that a text says, with their names and numbers, in order.
pub fn marks(text: &str) -> Vec<(String, u64)> {
    let said = text.split("mark-").skip(1);
    said.filter_map(|rest| {
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '-').unwrap_or(rest.len());
        let (name, number) = rest[..end].rsplit_once('-')?;
        Some((name.to_owned(), number.parse().ok()?))
    })
    .collect()
}

/// The longest span between `from` and `to` without any of these moments, which may be in any order.
pub fn longest_gap(from: Instant, to: Instant, moments: &[Instant]) -> Duration {
    let mut within: Vec<Instant> = moments.iter().copied().filter(|moment| (from..=to).contains(moment)).collect();
    within.extend([from, to]);
    within.sort_unstable();
    within.windows(2).map(|pair| pair[1].saturating_duration_since(pair[0])).max().unwrap_or_default()
}

fn post(load: &Load, shared: &Shared) -> io::Result<()> {
    let mut swarm = Swarm::new(load.address)?;
    let start = Instant::now();
    let mut open: Vec<(u64, Instant, [u8; 32])> = Vec::new();
    let mut number = 0;
    let (mut due, mut next) = (start, delivery(load, 0));
    loop {
        let stop = shared.lock().stop;
        if stop && open.is_empty() {
            return Ok(());
        }
        if !stop && Instant::now() >= due {
            open.push((number, due, next.1));
            swarm.begin(number, &Script::ask(next.0, load.patience));
            number += 1;
            // Built before its time has come. Who is late does not send in bursts: the schedule moves.
            next = delivery(load, number);
            due = (due + load.every).max(Instant::now());
        }
        let ended = swarm.turn(if stop { Instant::now() + load.every } else { due })?;
        if ended.is_empty() {
            continue;
        }
        let mut state = shared.lock();
        for ended in ended {
            let Some(place) = open.iter().position(|(number, ..)| *number == ended.tag) else { continue };
            let (number, scheduled, sha256) = open.swap_remove(place);
            let statuses = ended.statuses();
            let status = if statuses.len() == 1 { statuses.first().copied() } else { None };
            let reason = ended.reason().map(|reason| format!(" ({reason})")).unwrap_or_default();
            let said = ended.said() + &reason;
            state.sent.push(Sent { number, scheduled, over: ended.at, status, said, sha256 });
        }
        shared.news.notify_all();
    }
}

/// An opened issue, which the default rules send everywhere. Bodies differ in length and in what they say.
fn delivery(load: &Load, number: u64) -> (Vec<u8>, [u8; 32]) {
    const LINE: &str = "It changes what the others rely on, and says so. ";
    let mut text = String::with_capacity(load.body_bytes + 256);
    let (mark, issue) = (mark(&load.name, number), number % SUBJECTS + 1);
    // Writing to a string cannot fail.
    let _ = write!(
        text,
        r#"{{"action":"opened","issue":{{"number":{issue},"title":"{mark}","html_url":"https://github.com/acme/desk-lamp/issues/{issue}","body":""#
    );
    let bytes = load.body_bytes + usize::try_from(number % 97).unwrap_or(0);
    while text.len() < bytes {
        text.push_str(LINE);
    }
    let _ = write!(text, r#"{number}"}},"repository":{{"full_name":"acme/desk-lamp"}},"sender":{{"login":"otto"}}}}"#);
    let id = format!("{}-{number}", load.name);
    (signed_event(PATH, "issues", &id, text.as_bytes()), Sha256::digest(text.as_bytes()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_gap_counts_from_the_beginning_and_to_the_end() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let gap = |moments: &[u64]| {
            let moments: Vec<Instant> = moments.iter().map(|ms| at(*ms)).collect();
            longest_gap(at(100), at(1000), &moments).as_millis()
        };
        assert_eq!(gap(&[]), 900);
        assert_eq!(gap(&[600, 200]), 400);
        assert_eq!(gap(&[300]), 700);
        assert_eq!(gap(&[150, 900]), 750);
        // What was before or after is no help.
        assert_eq!(gap(&[50, 1100]), 900);
        assert_eq!(gap(&[100, 400, 700, 1000]), 300);
    }

    #[test]
    fn marks_are_read_where_they_stand() {
        assert_eq!(
            marks("🐛 *mark-kill-17* and mark-two-words-3, mark-x"),
            [("kill".to_owned(), 17), ("two-words".to_owned(), 3)]
        );
        assert!(marks("nothing").is_empty());
        assert_eq!(marks(&mark("a", 0)), [("a".to_owned(), 0)]);
    }

    #[test]
    fn a_delivery_is_json_and_its_hash_is_that_of_its_body() {
        let load = Load::new(([127, 0, 0, 1], 1).into(), "unit");
        let (request, sha256) = delivery(&load, 5);
        let text = String::from_utf8(request).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains("X-GitHub-Event: issues") && head.contains("X-GitHub-Delivery: unit-5"), "{head}");
        let json: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(json["issue"]["title"], "mark-unit-5");
        assert_eq!(<[u8; 32]>::from(Sha256::digest(body)), sha256);
        assert_ne!(delivery(&load, 6).1, sha256);
    }

    #[test]
    fn a_closed_door_is_no_answer_and_no_end() {
        // Nobody listens there any more.
        let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut sender = Sender::start(Load::new(address, "unit")).unwrap();
        let start = Instant::now();
        assert!(!sender.wait_for_200s(1, start, Duration::from_millis(200)).unwrap());
        sender.stop().unwrap();
        assert!(sender.promised().is_empty());
        assert!(sender.refused(start, Instant::now()).contains_key("none"));
    }
}
