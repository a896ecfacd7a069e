//! What comes to the door: good deliveries of every kind and size, the same once more, forged ones, broken ones, slow ones, and
//! clients that hang up. Owns what was sent and what became of it; refuses to know what is done to the service.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    fmt::Write as _,
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use hookbell::{
    provider::{Provider, Signing, sample},
    secret::Secret,
    time::{Clock, SystemClock},
};
use hookbell_bench::{
    request::{SECRET, signed_event},
    sender::{PATH, PATIENCE, SUBJECTS, mark},
    wire::{Ended, Script, Step, Swarm},
};
use sha2::{Digest, Sha256};

use crate::chance::{Chance, Halt, Windows};

/// From one request to the next, on the average: forty a second.
pub(crate) const EVERY_MS: u64 = 25;
/// Besides GitHub, each as a source of its provider's name.
pub(crate) const OTHERS: &[Provider] = &[Provider::GitLab, Provider::Gitea, Provider::Stripe, Provider::Sentry];
/// GitHub's by hookbell's own samples; those with a mark are built here.
const GITHUB_SAMPLES: &[&str] = &[
    "push",
    "repo_starred",
    "ci_failed",
    "ci_passed",
    "release_published",
    "issue_commented",
    "security_alert",
    "ping",
];
/// Of each body, about; evenly spread over the powers in between, and the small ones more often.
const BODY_BYTES: (f64, f64) = (200.0, 200_000.0);
/// Now and then.
const LARGE_BODY_BYTES: usize = 5_000_000;
/// Requests from which one is chosen to be sent again, and the largest of them.
const REMEMBERED_MAX: usize = 32;
const REMEMBERED_BYTES_MAX: usize = 60_000;
/// Who drips sends the end of a body in about so many bytes, one at a time.
const DRIPPED_BYTES: usize = 60;
const DRIP_EVERY: Duration = Duration::from_millis(50);
/// Unexpected answers that are kept in words.
const SURPRISES_MAX: usize = 20;

/// What kind of request it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    /// From GitHub, with a mark that its message has to say.
    Marked,
    /// Others of GitHub's.
    GitHub,
    /// Of other providers.
    Others,
    /// Marked, and 5 MB.
    Large,
    /// What was sent a moment ago.
    Again,
    Forged,
    Broken,
    /// Good, and sends its end one byte at a time.
    Slow,
    /// Goes in the middle.
    HangsUp,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Marked => "GitHub, marked",
            Kind::GitHub => "GitHub, other kinds",
            Kind::Others => "other providers",
            Kind::Large => "5 MB",
            Kind::Again => "sent again",
            Kind::Forged => "forged",
            Kind::Broken => "broken",
            Kind::Slow => "dripping",
            Kind::HangsUp => "hangs up",
        }
    }

    /// Whether it has to be answered 200 while nothing is done to the service, must never be, or may be.
    fn is_owed_200(self) -> Option<bool> {
        match self {
            Kind::Marked | Kind::GitHub | Kind::Others | Kind::Large | Kind::Again => Some(true),
            Kind::Forged | Kind::Broken => Some(false),
            Kind::Slow | Kind::HangsUp => None,
        }
    }
}

/// What a 200 promises.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Promise {
    pub(crate) source: &'static str,
    pub(crate) sha256: [u8; 32],
    /// What its message has to say, if anything.
    pub(crate) mark: Option<String>,
}

/// What came of it so far.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) promised: Vec<Promise>,
    /// By kind and answer.
    pub(crate) answers: BTreeMap<Kind, BTreeMap<String, u64>>,
    /// What was not answered as it should be, the first in words.
    pub(crate) surprises: Vec<String>,
    pub(crate) surprises_count: u64,
}

struct Request {
    kind: Kind,
    script: Script,
    promise: Option<Promise>,
}

/// Everything that is sent to the door.
pub(crate) struct Traffic<'a> {
    pub(crate) address: SocketAddr,
    pub(crate) seed: u64,
    pub(crate) large_every: Duration,
    pub(crate) windows: &'a Windows,
    /// Of everybody.
    pub(crate) requests: &'a AtomicU64,
    pub(crate) outcome: &'a Mutex<Outcome>,
}

impl Traffic<'_> {
    /// Sends until told to stop, and returns when all that is open is over.
    pub(crate) fn run(&self, halt: &Halt) -> io::Result<()> {
        let mut swarm = Swarm::new(self.address)?;
        let mut open: HashMap<u64, (Kind, Option<Promise>)> = HashMap::new();
        let mut mill = Mill::new(self.seed)?;
        let (mut due, mut large_due, mut tag) = (Instant::now(), Instant::now() + self.large_every / 2, 0);
        loop {
            let is_over = halt.is_told();
            if is_over && open.is_empty() {
                return Ok(());
            }
            let now = Instant::now();
            if !is_over && now >= due {
                let is_large = now >= large_due;
                if is_large {
                    large_due += self.large_every;
                }
                let request = if is_large { mill.large() } else { mill.next()? };
                swarm.begin(tag, &request.script);
                open.insert(tag, (request.kind, request.promise));
                self.requests.fetch_add(1, Ordering::Relaxed);
                tag += 1;
                // Who is late does not send in bursts.
                due = (due + Duration::from_millis(EVERY_MS / 5 + mill.chance.below(EVERY_MS * 8 / 5))).max(now);
            }
            for ended in swarm.turn(if is_over { now + Duration::from_millis(EVERY_MS) } else { due })? {
                let Some((kind, promise)) = open.remove(&ended.tag) else { continue };
                self.note(kind, promise, &ended);
            }
        }
    }

    fn note(&self, kind: Kind, promise: Option<Promise>, ended: &Ended) {
        let statuses = ended.statuses();
        let is_200 = statuses == [200];
        let mut outcome = self.outcome.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = match statuses.first() {
            Some(status) => status.to_string(),
            None if kind == Kind::HangsUp => "left".to_owned(),
            None => "none".to_owned(),
        };
        *outcome.answers.entry(kind).or_default().entry(answer).or_default() += 1;
        let is_expected = match kind.is_owed_200() {
            Some(true) => is_200 || self.windows.touch(ended.begun, ended.at),
            Some(false) => !is_200,
            None => true,
        };
        if !is_expected {
            outcome.surprises_count += 1;
            if outcome.surprises.len() < SURPRISES_MAX {
                let reason = ended.reason().map(|reason| format!(" ({reason})")).unwrap_or_default();
                outcome.surprises.push(format!("{}: {}{reason}", kind.name(), ended.said()));
            }
        }
        if is_200 && let Some(promise) = promise {
            outcome.promised.push(promise);
        }
    }
}

/// Makes requests.
struct Mill {
    chance: Chance,
    secret: Secret,
    number: u64,
    remembered: VecDeque<(Arc<[u8]>, Promise)>,
}

impl Mill {
    fn new(seed: u64) -> io::Result<Mill> {
        let secret = Secret::new(SECRET.to_owned()).ok_or_else(|| io::Error::other("the secret is empty"))?;
        Ok(Mill { chance: Chance::new(seed, 1), secret, number: 0, remembered: VecDeque::new() })
    }

    fn next(&mut self) -> io::Result<Request> {
        self.number += 1;
        let dice = self.chance.below(100);
        Ok(match dice {
            0..40 => {
                let bytes = self.size();
                let (bytes, promise) = self.marked(bytes);
                self.whole(Kind::Marked, bytes, promise)
            }
            40..53 => {
                let (bytes, promise) = self.sample(Provider::GitHub)?;
                self.whole(Kind::GitHub, bytes, promise)
            }
            53..71 => {
                let provider = self.chance.pick(OTHERS).copied().unwrap_or(Provider::GitLab);
                let (bytes, promise) = self.sample(provider)?;
                self.whole(Kind::Others, bytes, promise)
            }
            71..79 => {
                let at = usize::try_from(self.chance.below(self.remembered.len() as u64)).unwrap_or(0);
                match self.remembered.get(at).cloned() {
                    Some((bytes, promise)) => {
                        Request { kind: Kind::Again, script: Script::ask(bytes, PATIENCE), promise: Some(promise) }
                    }
                    None => self.broken(),
                }
            }
            79..86 => {
                let bytes = self.size();
                let (mut bytes, _) = self.marked(bytes);
                // Another digit of the signature.
                if let Some(at) = bytes.windows(7).position(|seven| seven == b"sha256=") {
                    bytes[at + 7] = if bytes[at + 7] == b'0' { b'1' } else { b'0' };
                }
                Request { kind: Kind::Forged, script: Script::ask(bytes, PATIENCE), promise: None }
            }
            86..92 => self.broken(),
            92..95 => {
                let (bytes, promise) = self.marked(600);
                let (most, end) = bytes.split_at(bytes.len() - DRIPPED_BYTES);
                let steps = [Step::Send(Arc::from(most), 1), Step::Drip(Arc::from(end), DRIP_EVERY)];
                Request { kind: Kind::Slow, script: Script::new(steps, PATIENCE), promise: Some(promise) }
            }
            _ => {
                let bytes = self.size();
                let (bytes, _) = self.marked(bytes);
                let part = usize::try_from(self.chance.below(bytes.len() as u64)).unwrap_or(0);
                let steps = [Step::Send(Arc::from(&bytes[..part.max(1)]), 1), Step::Reset];
                Request { kind: Kind::HangsUp, script: Script::new(steps, PATIENCE), promise: None }
            }
        })
    }

    fn large(&mut self) -> Request {
        self.number += 1;
        let (bytes, promise) = self.marked(LARGE_BODY_BYTES);
        Request { kind: Kind::Large, script: Script::ask(bytes, PATIENCE), promise: Some(promise) }
    }

    fn whole(&mut self, kind: Kind, bytes: Vec<u8>, promise: Promise) -> Request {
        let bytes: Arc<[u8]> = Arc::from(bytes);
        if bytes.len() <= REMEMBERED_BYTES_MAX {
            self.remembered.push_back((Arc::clone(&bytes), promise.clone()));
            if self.remembered.len() > REMEMBERED_MAX {
                self.remembered.pop_front();
            }
        }
        Request { kind, script: Script::ask(bytes, PATIENCE), promise: Some(promise) }
    }

    fn size(&mut self) -> usize {
        let share = self.chance.share();
        (BODY_BYTES.0 * (BODY_BYTES.1 / BODY_BYTES.0).powf(share * share)) as usize
    }

    /// An opened issue or pull request, which the default rules send everywhere.
    fn marked(&mut self, body_bytes: usize) -> (Vec<u8>, Promise) {
        const WORDS: &[&str] =
            &["it ", "changes ", "what ", "the ", "others ", "rely ", "on ", "and ", "says ", "so. "];
        let number = self.number;
        let (event, name, subject) = match number % 3 {
            0 => ("pull_request", "soak-p", number / 3 % SUBJECTS + 1),
            _ => ("issues", "soak-i", number % SUBJECTS + 1),
        };
        let mark = mark(name, number);
        let mut text = String::with_capacity(body_bytes + 512);
        let head = match event {
            "issues" => format!(r#"{{"action":"opened","issue":{{"number":{subject},"title":"{mark}","body":""#),
            _ => format!(
                r#"{{"action":"opened","number":{subject},"pull_request":{{"number":{subject},"title":"{mark}","draft":false,"merged":false,"user":{{"login":"otto"}},"base":{{"ref":"main"}},"head":{{"ref":"lamp"}},"body":""#
            ),
        };
        text.push_str(&head);
        while text.len() < body_bytes {
            let bits = self.chance.next();
            // A number among words: no body compresses to nothing.
            let _ =
                write!(text, "{}{}{:04x} ", WORDS[(bits % 10) as usize], WORDS[(bits / 10 % 10) as usize], bits >> 48);
        }
        let _ =
            write!(text, r#"{number}"}},"repository":{{"full_name":"acme/desk-lamp"}},"sender":{{"login":"otto"}}}}"#);
        let sha256 = Sha256::digest(text.as_bytes()).into();
        let request = signed_event(PATH, event, &format!("{name}-{number}"), text.as_bytes());
        (request, Promise { source: "github", sha256, mark: Some(mark) })
    }

    fn sample(&mut self, provider: Provider) -> io::Result<(Vec<u8>, Promise)> {
        let source = provider.name();
        let salt = self.chance.next();
        let names = sample::list(provider);
        let name = match provider {
            Provider::GitHub => self.chance.pick(GITHUB_SAMPLES).copied(),
            _ => self.chance.pick(names).map(|(name, _)| *name),
        };
        let name = name.unwrap_or("ping");
        let missing = || io::Error::other(format!("{source} has no sample {name}"));
        let mut sample = sample::build(provider, name, salt).ok_or_else(missing)?;
        let signing = Signing::new(&self.secret, "", SystemClock.wall());
        sample.sign(provider, &signing).map_err(|why| io::Error::other(format!("{source}: {why}")))?;
        let mut request = format!("POST /webhooks/{source}{} HTTP/1.1\r\nHost: localhost\r\n", sample.query);
        for (name, value) in &sample.headers {
            let _ = write!(request, "{name}: {value}\r\n");
        }
        let _ = write!(request, "Content-Length: {}\r\n\r\n", sample.body.len());
        let sha256 = Sha256::digest(&sample.body).into();
        Ok(([request.as_bytes(), &sample.body].concat(), Promise { source, sha256, mark: None }))
    }

    fn broken(&mut self) -> Request {
        let bytes = match self.chance.below(7) {
            0 => format!("POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: many\r\n\r\n"),
            1 => "good morning\r\n\r\n".to_owned(),
            2 => "POST /webhooks/nobody HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}".to_owned(),
            3 => format!("DELETE {PATH} HTTP/1.1\r\nHost: x\r\n\r\n"),
            4 => format!("POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999\r\n\r\n"),
            5 => format!("POST {PATH} HTTP/1.1\r\nHost: x\r\nX-Long: {}\r\n\r\n", "x".repeat(40_000)),
            _ => format!("POST {PATH} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
        };
        Request { kind: Kind::Broken, script: Script::ask(bytes.into_bytes(), PATIENCE), promise: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_made_and_every_sample_can_be_signed() {
        let mut mill = Mill::new(1).unwrap();
        let mut made: BTreeMap<Kind, u64> = BTreeMap::new();
        let mut hashes = std::collections::HashSet::new();
        for _ in 0..2000 {
            let request = mill.next().unwrap();
            *made.entry(request.kind).or_default() += 1;
            if let (Kind::Marked, Some(promise)) = (request.kind, request.promise) {
                assert!(hashes.insert(promise.sha256));
            }
        }
        assert_eq!(made.len(), 8, "{made:?}");
        assert!(made.values().all(|count| *count > 20), "{made:?}");
        let large = mill.large();
        let Some(Step::Send(bytes, 1)) = large.script.steps.first() else { panic!("it is sent whole") };
        assert!(large.kind == Kind::Large && bytes.len() > LARGE_BODY_BYTES);
    }
}
