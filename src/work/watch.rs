//! Looks again and again whether all is well, keeps what it found for whoever asks, and tells of what stays wrong by an
//! event, which goes the way of all events: so that the rules say who hears of it. Owns the loop and what was told.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::health::{self, Problem, Report, Seen, Terms};
use crate::{
    bell::Bell,
    event::{Event, Extra, Fact, Severity},
    store::{self, Lately, OWN_PROVIDER, OWN_SOURCE, Reader, Store, StoreError},
    threads::{self, Stop, Wake, lock},
    time::{self, Clock, Timestamp},
    tunnel::Tunnel,
};

/// What is this old is looked at anew.
const EVERY: Duration = Duration::from_secs(10);
/// The last day is looked through less often: on a Pi that may take a third of a second. So many times as long as it took
/// must have passed, and this much.
const LATELY_SHARE: u32 = 100;
const LATELY_EVERY: Duration = Duration::from_millis(500);
/// As time passes less of it is the last day, also where nothing happens.
const LATELY_AT_LEAST: Duration = Duration::from_secs(600);
/// Whoever gets what is older than this has it looked at anew, for the next one who asks.
const FRESH: Duration = Duration::from_secs(1);
/// Under this name the database keeps what was told and is not over.
const TOLD: &str = "health_told";
/// At the most so much is told of and not over.
const TOLD_MAX: usize = 64;

/// When it was found, and what.
type Found = (Instant, Arc<Report>);

/// What the last look has found; for whoever asks.
#[derive(Clone, Default)]
pub struct Findings(Arc<Mutex<Option<Found>>>, Wake);

impl Findings {
    /// The latest; before the first look an empty one.
    pub fn latest(&self) -> Arc<Report> {
        let latest = lock(&self.0).clone();
        match latest {
            Some((at, report)) => {
                if at.elapsed() > FRESH {
                    self.1.wake();
                }
                report
            }
            None => Arc::new(Report { sentence: "Looking how all is…".to_owned(), ..Report::default() }),
        }
    }

    fn put(&self, report: Arc<Report>) {
        *lock(&self.0) = Some((Instant::now(), report));
    }

    /// Wakes who looks.
    pub fn wake(&self) -> Wake {
        self.1.clone()
    }
}

/// Asks the database.
///
/// # Errors
/// When it cannot be read.
pub fn look(reader: &Reader, lately: Arc<Lately>, now: Timestamp) -> Result<Seen, StoreError> {
    Ok(Seen {
        lately,
        queues: reader.queues()?,
        oldest_undelivered: reader.oldest_undelivered(now)?,
        ..Seen::default()
    })
}

/// When each source of these spoke last that the last day does not show.
fn heard_before(reader: &Reader, terms: &Terms, lately: &Lately) -> Result<BTreeMap<String, Timestamp>, StoreError> {
    let unheard = terms.sources.keys().filter(|name| !lately.sources.contains_key(*name));
    let found = unheard.map(|name| Ok(reader.last_of(name)?.map(|last| (name.clone(), last))));
    Ok(found.collect::<Result<Vec<_>, StoreError>>()?.into_iter().flatten().collect())
}

/// How all is as far as the database alone can tell.
///
/// # Errors
/// When it cannot be read.
pub fn from_database(reader: &Reader, terms: &Terms, now: Timestamp) -> Result<Report, StoreError> {
    let lately = Arc::new(reader.lately(now)?);
    let last_heard = heard_before(reader, terms, &lately)?;
    let (damage, lying_aside) = (reader.damage()?, reader.lying_aside());
    let seen = Seen { last_heard, damage, lying_aside, ..look(reader, lately, now)? };
    Ok(health::judge(terms, &seen, &[], now))
}

/// What was told of, and is not over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Told(Vec<Problem>);

/// Since when what is not well has been seen without a break, and since when what was told of has not been seen: what comes
/// and goes is told of once.
#[derive(Default)]
struct Known {
    present: Vec<(Problem, Instant)>,
    gone: Vec<(Problem, Instant)>,
}

impl Known {
    fn see(&mut self, report: &Report, told: &[Problem], now: Instant) {
        let Report { problems, explained, .. } = report;
        let since = |before: &[(Problem, Instant)], problem: &Problem| {
            before.iter().find(|(known, _)| known.is(problem)).map_or(now, |(_, since)| *since)
        };
        // What something worse explains is not over.
        let is_there = |told: &&Problem| problems.iter().chain(explained).any(|problem| problem.is(told));
        let gone = told.iter().filter(|told| !is_there(told));
        self.gone = gone.map(|problem| (problem.clone(), since(&self.gone, problem))).collect();
        self.present = problems.iter().map(|problem| (problem.clone(), since(&self.present, problem))).collect();
    }
}

/// What was seen of the last day, when, after how many commits; and when each source spoke last.
struct Kept {
    at: Instant,
    /// How long the look took.
    cost: Duration,
    commits: u64,
    lately: Arc<Lately>,
    heard: BTreeMap<String, Timestamp>,
}

/// The thread is [`Watch::run`].
pub struct Watch {
    /// The database.
    pub store: Store,
    /// What counts as not well.
    pub terms: Terms,
    /// How the tunnel is.
    pub tunnel: Tunnel,
    /// The desk.
    pub bell: Bell,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Where the findings are left.
    pub findings: Findings,
    /// How far each place was reconciled.
    pub reconciled: Box<dyn Fn() -> Vec<Value> + Send>,
    /// To wake who routes what is told.
    pub router: Wake,
    /// When the process began: nobody can be silent for longer than we listen.
    pub started: Instant,
    /// Told when to end.
    pub stop: Stop,
}

impl Watch {
    /// Works until told to stop.
    pub fn run(self) {
        let mut told = self.told();
        let mut known = Known::default();
        let mut kept = None;
        let mut reader = None;
        while !self.stop.is_told() {
            let report = {
                let _busy = threads::busy(threads::BUSY_MAX);
                self.judge(&mut reader, &mut kept, (&known, &told)).unwrap_or_else(|error| {
                    log::warn!("cannot look how all is: {error}");
                    reader = None;
                    // What the database is not needed for is known all the same.
                    let seen = Seen { storage: Some(error.to_string()), ..self.around(self.clock.wall()) };
                    self.concluded(&seen, (&known, &told), self.clock.wall())
                })
            };
            let report = Arc::new(report);
            self.findings.put(report.clone());
            // Not as a part of the work that must not take long: it waits for the disk.
            self.tell(&report, &mut known, &mut told);
            // What is about to be told of is looked at again when its time has come.
            let is_pending = known.present.len() + known.gone.len() > 0;
            let soon = self.terms.health.tell_after.filter(|_| is_pending).unwrap_or(EVERY);
            self.findings.wake().wait(EVERY.min(soon));
        }
    }

    fn judge(
        &self,
        reader: &mut Option<Reader>,
        kept: &mut Option<Kept>,
        (known, told): (&Known, &Told),
    ) -> Result<Report, StoreError> {
        let now = self.clock.wall();
        let reader = match reader {
            Some(reader) => reader,
            None => reader.insert(self.store.reader()?),
        };
        let commits = self.store.commits();
        let is_old = |kept: &Kept| {
            let age = kept.at.elapsed();
            age > LATELY_EVERY.max(kept.cost * LATELY_SHARE) && kept.commits != commits || age > LATELY_AT_LEAST
        };
        if kept.as_ref().is_none_or(is_old) {
            let begun = Instant::now();
            let lately = Arc::new(reader.lately(now)?);
            let cost = begun.elapsed();
            // What is too far back to be seen now was seen before.
            let mut heard = match kept.take() {
                Some(kept) => kept.heard,
                None => heard_before(reader, &self.terms, &lately)?,
            };
            heard.extend(lately.sources.iter().map(|(name, tally)| (name.clone(), Timestamp::from_ms(tally.last_ms))));
            *kept = Some(Kept { at: Instant::now(), cost, commits, lately, heard });
        }
        let (lately, last_heard) =
            kept.as_ref().map(|kept| (kept.lately.clone(), kept.heard.clone())).unwrap_or_default();
        let Seen { queues, oldest_undelivered, lately, .. } = look(reader, lately, now)?;
        let seen = Seen { last_heard, queues, oldest_undelivered, lately, ..self.around(now) };
        Ok(self.concluded(&seen, (known, told), now))
    }

    /// What is seen without the database.
    fn around(&self, now: Timestamp) -> Seen {
        Seen {
            storage: self.store.trouble(),
            damage: self.store.damage(),
            lying_aside: store::lying_aside(self.store.path()),
            free_bytes: store::free_bytes(self.store.path()).ok(),
            clock_is_wrong: time::is_plainly_wrong(now, self.store.newest()),
            tunnel: self.tunnel.report(),
            bell: self.bell.state().error,
            reconciled: (self.reconciled)(),
            listening_for: Some(self.started.elapsed()),
            ..Seen::default()
        }
    }

    fn concluded(&self, seen: &Seen, (known, told): (&Known, &Told), now: Timestamp) -> Report {
        let before: Vec<Problem> = known.present.iter().map(|(problem, _)| problem).chain(&told.0).cloned().collect();
        health::judge(&self.terms, seen, &before, now)
    }

    fn told(&self) -> Told {
        let text = self.store.reader().and_then(|reader| reader.recall(TOLD));
        let text = text.unwrap_or_else(|error| {
            log::warn!("cannot read what was told about ourselves: {error}");
            None
        });
        text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or(Told(Vec::new()))
    }

    /// Tells of what has not been well for long enough, and of what is well again. What cannot be written, because that is
    /// what is not well, is told later.
    fn tell(&self, report: &Report, known: &mut Known, told: &mut Told) {
        let now = Instant::now();
        known.see(report, &told.0, now);
        let Some(tell_after) = self.terms.health.tell_after else { return };
        let is_due = |since: &Instant| now.saturating_duration_since(*since) >= tell_after;
        let mut changed = false;
        for (problem, _) in known.present.iter().filter(|(_, since)| is_due(since)) {
            let is_told = told.0.iter().any(|before| before.is(problem));
            if !is_told && told.0.len() < TOLD_MAX && self.note(problem, None) {
                told.0.push(problem.clone());
                changed = true;
            }
        }
        for (problem, _) in known.gone.iter().filter(|(_, since)| is_due(since)) {
            if self.note(problem, Some(self.clock.wall())) {
                told.0.retain(|before| !before.is(problem));
                changed = true;
            }
        }
        if changed {
            let text = serde_json::to_string(told).unwrap_or_default();
            if let Err(error) = self.store.remember(TOLD, text) {
                log::warn!("cannot note what was told about ourselves: {error}");
            }
        }
    }

    /// Stores the event. Says whether it is stored.
    fn note(&self, problem: &Problem, over: Option<Timestamp>) -> bool {
        let Problem { kind, about, severity, what, remedy, since } = problem;
        let (kind, severity, title) = match over {
            None => (kind.as_str(), *severity, format!("{what}. What to do: {remedy}")),
            Some(now) => (
                "hookbell_recovered",
                Severity::Success,
                format!("well again after {}: {what}", health::long(now.since(*since))),
            ),
        };
        match severity {
            Severity::Success => log::info!("health: {title}"),
            _ => log::warn!("health: {title}"),
        }
        let extra = Extra::from([
            ("about".to_owned(), Fact::Text(about.clone())),
            ("remedy".to_owned(), Fact::Text(remedy.clone())),
        ]);
        let event = Event {
            kind: kind.to_owned(),
            source: OWN_SOURCE.to_owned(),
            provider: OWN_PROVIDER.to_owned(),
            actor: OWN_PROVIDER.to_owned(),
            repository: about.clone(),
            title,
            url: None,
            severity,
            subject: Some(format!("{OWN_PROVIDER} {about} {}", problem.kind)),
            extra,
            own_id: None,
        };
        let id = format!("{kind}-{about}-{}", since.ms());
        match self.store.note_own(&event, id) {
            Ok(_) => {
                self.router.wake();
                true
            }
            Err(error) => {
                log::debug!("cannot tell of {kind}: {error}");
                false
            }
        }
    }
}

/// The report as the API and `status` show it.
pub fn json(report: &Report) -> Value {
    serde_json::to_value(report).unwrap_or_default()
}
