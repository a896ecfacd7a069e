//! What did not reach us is pulled in: the loop that asks providers what they have sent, and stores what we do not hold.
//! Owns when each is asked, what a pass found, and how far we are; refuses to know any provider's interface (`remote`).
//!
//! A source's deliveries are reconciled by one module for each provider that can be asked: `github`, `stripe`,
//! `gitlab`; what they share is `missing`. `poll` watches what has no webhook.

mod github;
mod gitlab;
mod missing;
mod poll;
mod reached;
mod stripe;

use std::{
    collections::BTreeMap,
    panic::{self, AssertUnwindSafe},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

pub use self::reached::Reached;
use crate::{
    config::{Recover, Settings, Source},
    headers::Headers,
    http::Client,
    provider::{self, Origin, Provider, Unverified},
    remote::{Caller, Trouble},
    store::{Accepted, Pulled, Reader, Store, StoreError},
    threads::{Stop, Wake, lock},
    time::{Clock, Timestamp},
    work::health::long,
};

/// A pass that asked this much is followed by as many minutes: no more than 60 requests an hour while nothing is missing.
const REST_PER_REQUEST: Duration = Duration::from_secs(60);
/// However much a pass asked, the next one comes.
const REST_MAX: Duration = Duration::from_secs(3600);
/// After a failure, then twice as long each time.
const RETRY_FIRST: Duration = Duration::from_secs(60);
const RETRY_MAX: Duration = Duration::from_secs(15 * 60);
/// Entries that are looked at again although they were before: what happened at the same time may be listed late.
const OVERLAP: Duration = Duration::from_secs(15 * 60);
/// After a turn at which much was pulled in; the others have theirs meanwhile.
const TURN: Duration = Duration::from_millis(100);
/// However often somebody wishes it, a place is not asked sooner after it was asked.
const AT_ONCE: Duration = Duration::from_secs(1);
/// Two clocks that differ by less than this are the same.
const SLACK: Duration = Duration::from_secs(60);

/// How it stands with everything that is asked, for those who show it. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Reports(Arc<Mutex<BTreeMap<(String, String), Value>>>);

impl Reports {
    /// One object for each source and place, in their order.
    pub fn all(&self) -> Vec<Value> {
        lock(&self.0).values().cloned().collect()
    }

    fn set(&self, source: &str, place: &str, report: Value) {
        lock(&self.0).insert((source.to_owned(), place.to_owned()), report);
    }
}

/// The same as the database has it, for who looks while nobody asks; an hour older than what was known last.
///
/// # Errors
/// When the database cannot be read.
pub fn kept(reader: &Reader) -> Result<Vec<Value>, StoreError> {
    let report = |(source, place, state): (String, String, String)| {
        let mut report = Reached::parse(&state).report();
        (report["source"], report["place"]) = (source.into(), place.into());
        report
    };
    Ok(reader.all_reached()?.into_iter().map(report).collect())
}

/// How it stands with one place, in a line for people.
pub fn line(report: &Value, now: Timestamp) -> String {
    let text = |key: &str| report[key].as_str().unwrap_or_default();
    let count = |key: &str| report[key].as_u64().unwrap_or_default();
    let ago = |key: &str| report[key].as_str().and_then(Timestamp::parse).map(|at| long(now.since(at)));
    let is_polled = report["origin"] == Origin::Polled.name();
    let mut line = match (count("missing"), ago("checked_at")) {
        (_, Some(ago)) if is_polled => format!("watched, last looked {ago} ago"),
        (0, Some(ago)) => format!("nothing was missed, last looked {ago} ago"),
        (missing, Some(ago)) => format!("{missing} missing, last looked {ago} ago"),
        (_, None) => "not looked at yet".to_owned(),
    };
    if let (Some(from), Some(to)) = (report["gap"]["from"].as_str(), report["gap"]["to"].as_str()) {
        line += &format!("; of what was sent from {from} to {to} nobody can tell any more");
    }
    if let Some(ago) = ago("recovered_at") {
        line += &format!("; {} pulled in, the last {ago} ago", count("recovered"));
    }
    if count("lost") > 0 {
        line += &format!("; {} not to be had any more", count("lost"));
    }
    for key in ["trouble", "remedy"] {
        if let Some(words) = report[key].as_str() {
            line += &format!("; {words}");
        }
    }
    format!("{} {}: {line}", text("source"), text("place"))
}

/// What the loop works with.
pub struct Parts {
    /// Where deliveries go, and how far we are.
    pub store: Store,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Woken when something was stored.
    pub router: Wake,
    /// Wakes the loop: what is reconciled is asked at once.
    pub wake: Wake,
    /// Told when to end.
    pub stop: Stop,
    /// Where it says how it stands.
    pub reports: Reports,
    /// Our address in the world, where it is known.
    pub public_url: Box<dyn Fn() -> Option<String> + Send>,
}

/// Asks, stores, rests. [`Recovery::run`] is the thread.
pub struct Recovery {
    parts: Parts,
    jobs: Vec<Job>,
}

/// One place that is asked for one source.
struct Job {
    source: String,
    settings: Source,
    place: String,
    asks: Asks,
    every: Duration,
    reached: Reached,
    /// The same as it was kept last.
    kept: Reached,
    /// When it was asked last.
    asked: Option<Instant>,
    due: Instant,
    retry: Duration,
    /// What went wrong, as it was logged.
    said: Option<String>,
    /// How often asking it has begun since the start, and how often it has ended.
    begun: u64,
    passes: u64,
    ended: Option<Instant>,
    /// Among how many the requests of an hour are shared.
    share: u32,
}

enum Asks {
    GitHub(github::Reconciler),
    Stripe(stripe::Reconciler),
    GitLab(gitlab::Reconciler),
    Polled(poll::Poller),
}

/// What a pass has at hand.
struct Hands<'a> {
    parts: &'a Parts,
    reader: &'a Reader,
    source: &'a str,
    settings: &'a Source,
    place: &'a str,
}

/// How a pass ends early.
enum Ended {
    /// The provider.
    Trouble(Trouble),
    /// Our own database.
    Store(StoreError),
    /// We are asked to end.
    Stopped,
}

impl From<Trouble> for Ended {
    fn from(trouble: Trouble) -> Ended {
        Ended::Trouble(trouble)
    }
}

impl From<StoreError> for Ended {
    fn from(error: StoreError) -> Ended {
        Ended::Store(error)
    }
}

impl Recovery {
    /// For everything that the settings want asked; `None` where that is nothing.
    pub fn new(settings: &Settings, parts: Parts) -> Option<Recovery> {
        let mut jobs = Vec::new();
        for (name, source) in &settings.sources {
            let Some(recover) = &source.recover else { continue };
            for (place, asks) in asks(source, recover, settings) {
                jobs.push(Job::new(&parts, name, source, place, asks, recover.every));
            }
        }
        let share = u32::try_from(jobs.len()).unwrap_or(u32::MAX);
        jobs.iter_mut().for_each(|job: &mut Job| job.share = share);
        for poll::Watched { source, repository, poller, first_after } in poll::watched(settings) {
            let Some(of) = settings.sources.get(&source) else { continue };
            let mut job = Job::new(&parts, &source, of, repository, Asks::Polled(poller), poll::EVERY);
            if let Asks::Polled(poller) = &mut job.asks {
                job.due += poller.resume(&job.reached, parts.clock.wall()).unwrap_or(first_after);
            }
            jobs.push(job);
        }
        if jobs.is_empty() {
            return None;
        }
        let recovery = Recovery { parts, jobs };
        recovery.jobs.iter().for_each(|job| recovery.report(job));
        Some(recovery)
    }

    /// Asks each place once, now.
    pub fn once(&mut self) {
        let mut reader = None;
        let now = Instant::now();
        let due: Vec<usize> = (0..self.jobs.len()).filter(|index| self.jobs[*index].due <= now).collect();
        due.into_iter().for_each(|index| self.work(index, &mut reader));
    }

    /// Works until told to stop.
    pub fn run(mut self) {
        let mut reader = None;
        while !self.parts.stop.is_told() {
            let now = Instant::now();
            let mut next = now + REST_MAX;
            for index in 0..self.jobs.len() {
                if self.jobs[index].due <= now {
                    self.work(index, &mut reader);
                }
                next = next.min(self.jobs[index].due);
            }
            let is_woken = self.parts.wake.wait(next.saturating_duration_since(Instant::now()));
            if is_woken {
                // Whoever wakes us knows that something may be missing; who wakes us all the time does not.
                let now = Instant::now();
                for job in &mut self.jobs {
                    let rested = job.ended.map_or(now, |ended| ended + AT_ONCE);
                    job.due = job.asks.not_before().map_or(now, |at| at.max(now)).max(rested);
                }
            }
        }
    }

    fn work(&mut self, index: usize, reader: &mut Option<Reader>) {
        self.jobs[index].begun += 1;
        self.report(&self.jobs[index]);
        let Recovery { parts, jobs } = self;
        let job = &mut jobs[index];
        let (asked, free) = job.asks.asked();
        let (began, recovered) = (Instant::now(), job.reached.counts().0);
        // Whatever an answer does to us: it must not take the door down, at each start anew.
        let ended = panic::catch_unwind(AssertUnwindSafe(|| pass(parts, job, reader))).unwrap_or_else(|_| {
            let what = "asking it has panicked, which is a defect of hookbell".to_owned();
            Err(Ended::Trouble(Trouble::Ill(what)))
        });
        let pulled = job.reached.counts().0 - recovered;
        let (asked, free) = (job.asks.asked().0 - asked, job.asks.asked().1 - free);
        let after = job.asked.replace(began).map_or(Duration::ZERO, |before| began.duration_since(before));
        job.reached.asked(asked, free, after);
        // What was missing is asked for besides.
        let requests = u32::try_from((asked - free).saturating_sub(pulled)).unwrap_or(u32::MAX);
        job.settle(ended, (requests, pulled), parts);
        if job.reached.is_worth_keeping(&job.kept) {
            match parts.store.keep_reached(&job.source, &job.place, job.reached.to_string()) {
                Ok(()) => job.kept = job.reached.clone(),
                Err(error) => {
                    log::warn!("cannot keep how far {} was reconciled: {error}; it is looked at again", job.source);
                }
            }
        }
        let job = &self.jobs[index];
        self.report(job);
    }

    fn report(&self, job: &Job) {
        let mut report = job.reached.report();
        report["source"] = json!(job.source);
        report["place"] = json!(job.place);
        report["provider"] = json!(job.settings.terms.provider.name());
        report["begun"] = json!(job.begun);
        report["passes"] = json!(job.passes);
        report["origin"] = json!(job.asks.origin().name());
        let next_s = job.due.saturating_duration_since(Instant::now()).as_secs();
        report["next_in_s"] = json!(next_s);
        self.parts.reports.set(&job.source, &job.place, report);
    }
}

fn pass(parts: &Parts, job: &mut Job, reader: &mut Option<Reader>) -> Result<(), Ended> {
    let reader = match reader {
        Some(reader) => reader,
        None => reader.insert(parts.store.reader()?),
    };
    let hands = Hands { parts, reader, source: &job.source, settings: &job.settings, place: &job.place };
    match &mut job.asks {
        Asks::GitHub(reconciler) => reconciler.pass(&hands, &mut job.reached),
        Asks::Stripe(reconciler) => reconciler.pass(&hands, &mut job.reached),
        Asks::GitLab(reconciler) => reconciler.pass(&hands, &mut job.reached),
        Asks::Polled(poller) => poller.pass(&hands, &mut job.reached),
    }
}

impl Job {
    /// Goes on where it was left.
    fn new(parts: &Parts, name: &str, source: &Source, place: String, asks: Asks, every: Duration) -> Job {
        let kept = parts.store.reader().and_then(|reader| reader.reached(name, &place));
        let reached = match kept {
            Ok(kept) => kept.as_deref().map(Reached::parse).unwrap_or_default(),
            Err(error) => {
                log::warn!("cannot read how far {name} was reconciled: {error}; all of it is looked at again");
                Reached::default()
            }
        };
        Job {
            source: name.to_owned(),
            settings: source.clone(),
            place,
            asks,
            every,
            kept: reached.clone(),
            reached,
            asked: None,
            due: Instant::now(),
            retry: RETRY_FIRST,
            said: None,
            begun: 0,
            passes: 0,
            ended: None,
            share: 1,
        }
    }

    /// When it is asked again, and what is said about this time.
    fn settle(&mut self, ended: Result<(), Ended>, (requests, pulled): (u32, u64), parts: &Parts) {
        let now = parts.clock.wall();
        let missing = self.reached.counts().1;
        let (rest, wrong) = match ended {
            Ok(()) => {
                self.retry = RETRY_FIRST;
                self.reached.checked(now);
                let rest = match (missing, pulled) {
                    (0, _) => self.asks.rest(self.every, requests.saturating_mul(self.share)),
                    // There is more, and the others have had their turn.
                    (_, 1..) => TURN,
                    _ => RETRY_FIRST,
                };
                (rest, None)
            }
            Err(Ended::Stopped) => return,
            Err(Ended::Store(error)) => (self.back_off(), Some((error.to_string(), None))),
            Err(Ended::Trouble(Trouble::Refused { what, remedy, .. })) => (self.back_off(), Some((what, Some(remedy)))),
            Err(Ended::Trouble(trouble)) => (self.back_off().max(trouble.wait()), Some((trouble.to_string(), None))),
        };
        let said = wrong.as_ref().map(|(why, remedy)| match remedy {
            Some(remedy) => format!("{why}; {remedy}"),
            None => why.clone(),
        });
        let (infinitive, gerund) = match self.asks.origin() {
            Origin::Polled => ("watch", "watching"),
            _ => ("reconcile", "reconciling"),
        };
        match (&said, &self.said) {
            (Some(why), said) if said.as_ref() != Some(why) => {
                log::warn!("cannot {infinitive} source={} place={}: {why}", self.source, self.place);
            }
            (None, Some(_)) => log::info!("{gerund} again source={} place={}", self.source, self.place),
            _ => {}
        }
        match wrong {
            Some((why, remedy)) => self.reached.goes_wrong(why, remedy, now),
            None => self.reached.well(),
        }
        self.said = said;
        self.passes += 1;
        self.ended = Some(Instant::now());
        let least = self.asks.not_before().unwrap_or(self.due);
        self.due = least.max(Instant::now() + rest);
    }

    fn back_off(&mut self) -> Duration {
        let rest = self.retry;
        self.retry = (self.retry * 2).min(RETRY_MAX);
        rest
    }
}

impl Asks {
    /// Requests so far, and those of them that cost nothing.
    fn asked(&self) -> (u64, u64) {
        let of = |caller: &Caller| (caller.requests() + caller.unchanged(), caller.unchanged());
        match self {
            Asks::GitHub(reconciler) => of(reconciler.caller()),
            Asks::Stripe(reconciler) => of(reconciler.caller()),
            Asks::GitLab(reconciler) => of(reconciler.caller()),
            Asks::Polled(poller) => poller.github().asked(),
        }
    }

    /// How long to rest after so many requests that count.
    fn rest(&self, every: Duration, requests: u32) -> Duration {
        match self {
            Asks::Polled(poller) => poller.rest(requests),
            // Whoever has just brought something in may find more.
            _ => (REST_PER_REQUEST * requests).min(REST_MAX).max(every),
        }
    }

    /// Not even when somebody wishes it.
    fn not_before(&self) -> Option<Instant> {
        match self {
            Asks::Polled(poller) => poller.not_before(),
            _ => None,
        }
    }

    /// What becomes of what it finds.
    fn origin(&self) -> Origin {
        match self {
            Asks::Polled(_) => Origin::Polled,
            _ => Origin::Recovered,
        }
    }
}

/// The places that are asked for a source, each with who asks.
fn asks(source: &Source, recover: &Recover, settings: &Settings) -> Vec<(String, Asks)> {
    match source.terms.provider {
        Provider::GitHub => github::reconcilers(recover, &settings.github.api),
        Provider::Stripe => stripe::reconcilers(recover),
        Provider::GitLab => gitlab::reconcilers(recover),
        // The configuration lets no other have it.
        _ => Vec::new(),
    }
}

impl Hands<'_> {
    /// Stores what the provider handed out; `None` where it was held already.
    fn store(&self, headers: Headers, body: Vec<u8>, origin: Origin, pulled: Pulled) -> Result<Option<i64>, Stored> {
        if self.parts.stop.is_told() {
            return Err(Stored::Ended(Ended::Stopped));
        }
        let target = format!("/webhooks/{}", self.source);
        let request = Unverified { target, headers, body };
        let delivery = provider::vouched(&self.settings.terms, request, origin, self.parts.clock.wall())
            .map_err(|rejection| Stored::Odd(rejection.to_string()))?;
        let name = (delivery.event_type().to_owned(), delivery.id().unwrap_or_default().to_owned());
        match self.parts.store.accept_pulled(delivery, pulled).map_err(|error| Stored::Ended(error.into()))? {
            Accepted::New { id, .. } => {
                let (event, delivery) = name;
                log::info!(
                    "{} id={id} source={} place={} event={} delivery={}",
                    origin.name(),
                    self.source,
                    self.place,
                    crate::logfmt::value(&event),
                    crate::logfmt::value(&delivery)
                );
                self.parts.router.wake();
                Ok(Some(id))
            }
            Accepted::Duplicate { .. } => Ok(None),
        }
    }
}

/// Why something was not stored.
enum Stored {
    /// It is not what it should be: this one alone.
    Odd(String),
    /// Nothing can be stored.
    Ended(Ended),
}

/// One who asks that interface.
fn caller(api: &str) -> Caller {
    Caller::new(Client::patient(), api)
}
