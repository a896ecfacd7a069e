//! Whether all is well, and if not what to do. Owns what counts as not well and what is said about it; refuses to look for
//! itself: what was seen is an argument, and who looks again and again is [`super::watch`].

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    config::{self, Settings},
    event::Severity,
    store::{Aside, Lately, QueueCount, SinkTally, SourceTally},
    time::Timestamp,
};

/// Fewer failures than this say nothing, as long as none was given up.
const FAILURES_MIN: i64 = 3;
/// What a provider cannot be asked for less than this passes, as a rule.
const UNRECONCILED_AFTER: Duration = Duration::from_secs(60 * 60);
/// A source with fewer deliveries than this has no habits yet.
const HABIT_MIN: i64 = 10;

/// What the configuration says about it.
#[derive(Clone, Debug)]
pub struct Terms {
    /// `[health]`
    pub health: config::Health,
    /// The sources by name: their provider, and their own `silence_after`.
    pub sources: BTreeMap<String, (&'static str, Option<Duration>)>,
    /// The sinks by name.
    pub sinks: Vec<String>,
}

impl Terms {
    /// Of these settings.
    pub fn of(settings: &Settings) -> Terms {
        let source = |(name, source): (&String, &config::Source)| {
            (name.clone(), (source.terms.provider.name(), source.silence_after))
        };
        Terms {
            health: settings.health,
            sources: settings.sources.iter().map(source).collect(),
            sinks: settings.sinks.keys().cloned().collect(),
        }
    }
}

/// What was seen.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// The last day.
    pub lately: Arc<Lately>,
    /// What each sink is owed.
    pub queues: Vec<QueueCount>,
    /// When the oldest delivery was stored that is not done with.
    pub oldest_undelivered: Option<Timestamp>,
    /// When each source spoke last, of those that [`Seen::lately`] does not reach back to.
    pub last_heard: BTreeMap<String, Timestamp>,
    /// For how long somebody has been there to hear; `None`: that is not known.
    pub listening_for: Option<Duration>,
    /// What is wrong with storing.
    pub storage: Option<String>,
    /// What a check of the database has found.
    pub damage: Option<String>,
    /// Damaged databases that lie beside it.
    pub lying_aside: Vec<Aside>,
    /// Free bytes of the database's disk.
    pub free_bytes: Option<u64>,
    /// The clock cannot be right.
    pub clock_is_wrong: bool,
    /// What the tunnel's watcher reports.
    pub tunnel: Value,
    /// What is wrong with the desk.
    pub bell: Option<String>,
    /// How far each place was reconciled whose deliveries can be asked for (`recover`).
    pub reconciled: Vec<Value>,
}

/// Something that is not well.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Problem {
    /// The kind of event that tells of it.
    pub kind: String,
    /// Which source, sink or part.
    pub about: String,
    /// How much it matters.
    pub severity: Severity,
    /// In words.
    pub what: String,
    /// What to do about it.
    pub remedy: String,
    /// Since when.
    pub since: Timestamp,
}

impl Problem {
    /// Whether it is the same one, whatever is said about it now.
    pub fn is(&self, other: &Problem) -> bool {
        self.kind == other.kind && self.about == other.about
    }
}

/// How all is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Nothing to do.
    #[default]
    Ok,
    /// Look at it some time.
    Warning,
    /// Look at it now.
    Failing,
}

/// One source.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SourceHealth {
    /// Its name.
    pub source: String,
    /// Whose rules it follows.
    pub provider: String,
    /// Deliveries of the last day, see [`Lately`].
    pub received: i64,
    /// Of those, done with.
    pub processed: i64,
    /// Of those, given up or waiting after a failure.
    pub failed: i64,
    /// Of those, given up.
    #[serde(skip)]
    pub dead_lately: i64,
    /// Which share failed.
    pub failure_ratio: f64,
    /// From stored to done with.
    pub avg_processing_ms: Option<f64>,
    /// When the last one came.
    pub last_received: Option<Timestamp>,
    /// What the last failure said.
    pub last_error: Option<String>,
    /// It speaks as it usually does, and is handled.
    pub is_healthy: bool,
    /// It is not silent for longer than it usually is.
    pub receiving_events: bool,
    /// Not too large a share of it failed.
    pub processing_successfully: bool,
}

/// One sink.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SinkHealth {
    /// Its name.
    pub sink: String,
    /// Dispatches of the last day that were delivered.
    pub delivered: i64,
    /// Those that were given up or wait after a failure.
    pub failed: i64,
    /// Of those, given up.
    #[serde(skip)]
    pub dead_lately: i64,
    /// Which share failed.
    pub failure_ratio: f64,
    /// From stored to delivered.
    pub avg_dispatch_ms: Option<f64>,
    /// Due or leased.
    pub waiting: i64,
    /// Of those, after a failure.
    pub retrying: i64,
    /// Given up, at any time.
    pub dead: i64,
    /// What the last failure said.
    pub last_error: Option<String>,
    /// While it is left alone because it keeps failing.
    pub outage: Option<crate::store::Outage>,
    /// It takes what it gets.
    pub is_healthy: bool,
}

/// Everything about it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// How all is.
    pub status: Status,
    /// The same in a sentence.
    pub sentence: String,
    /// Since when the worst of it.
    pub since: Option<Timestamp>,
    /// What is not well, the worst first.
    pub problems: Vec<Problem>,
    /// What is not well either, and what something of the above explains.
    #[serde(skip)]
    pub explained: Vec<Problem>,
    /// By name.
    pub sources: Vec<SourceHealth>,
    /// By name.
    pub sinks: Vec<SinkHealth>,
    /// Dispatches that are not delivered yet.
    pub queue_size: i64,
    /// When the oldest delivery was stored that is not done with.
    pub oldest_undelivered: Option<Timestamp>,
    /// What `received`, `failed` and so on count: `since`, and how many `deliveries`.
    pub window: Value,
    /// `trouble`, and `free_bytes`.
    pub storage: Value,
    /// `is_plainly_wrong`
    pub clock: Value,
    /// What its watcher reports.
    pub tunnel: Value,
    /// How far each place was reconciled whose deliveries can be asked for.
    pub reconciled: Vec<Value>,
}

/// Judges what was seen. `before` is what was not well the last time, for since when it is.
pub fn judge(terms: &Terms, seen: &Seen, before: &[Problem], now: Timestamp) -> Report {
    let sources: Vec<SourceHealth> = terms
        .sources
        .iter()
        .map(|(name, (provider, silence))| source(terms, seen, (name, provider, *silence), now))
        .collect();
    let sinks: Vec<SinkHealth> = terms.sinks.iter().map(|name| sink(terms, seen, name)).collect();
    let failing_ratio = terms.health.failing_ratio;
    let mut found = Found { before, now, failing_ratio, problems: Vec::new(), explained: Vec::new() };
    if let Some(trouble) = &seen.storage {
        let (what, remedy) = trouble.rsplit_once("; ").unwrap_or((trouble, "make room, or look at the disk"));
        found.add("hookbell_disk_trouble", "disk", Severity::Failure, format!("cannot store: {what}"), remedy, None);
    }
    damage_problems(&mut found, seen);
    for sink in &sinks {
        sink_problem(&mut found, sink);
    }
    let undelivered = seen.oldest_undelivered.filter(|oldest| now.since(*oldest) > terms.health.undelivered_after);
    if let Some(oldest) = undelivered {
        let what = format!("the oldest delivery has waited for {}", long(now.since(oldest)));
        let remedy =
            "`hookbell deliveries list --status pending` shows what waits, `hookbell doctor` looks for the reason";
        found.add("hookbell_undelivered", "queue", Severity::Failure, what, remedy, Some(oldest));
        // A sink that is down explains it.
        if sinks.iter().any(|sink| sink.outage.is_some()) {
            found.set_aside();
        }
    }
    if seen.tunnel["state"] == "down" {
        let text = |key: &str| seen.tunnel[key].as_str().unwrap_or_default();
        let what = format!("the tunnel is down: {}", text("why"));
        let since = Timestamp::parse(text("since"));
        found.add("hookbell_tunnel_down", "tunnel", Severity::Failure, what, text("remedy"), since);
    }
    if seen.clock_is_wrong {
        let remedy = "give this machine the time: `timedatectl` shows whether it is synchronised";
        found.add(
            "hookbell_clock_wrong",
            "clock",
            Severity::Warning,
            "the clock is plainly wrong".to_owned(),
            remedy,
            None,
        );
    }
    if let Some(error) = &seen.bell {
        let (what, remedy) = error.rsplit_once("; ").unwrap_or((error, "`hookbell doctor` looks at every pin"));
        found.add(
            "hookbell_bell_broken",
            "bell",
            Severity::Warning,
            format!("the desk does not work: {what}"),
            remedy,
            None,
        );
    }
    for place in &seen.reconciled {
        reconciled_problem(&mut found, place, now);
    }
    // A sink that fails explains why sources do.
    let is_explained = found.problems.iter().any(|problem| problem.kind.starts_with("hookbell_sink_"));
    for source in &sources {
        source_problems(&mut found, source, is_explained, now);
    }
    let Found { mut problems, explained, .. } = found;
    problems.sort_by_key(|problem| std::cmp::Reverse(problem.severity));
    let worst = problems.first();
    let status = match worst.map(|problem| problem.severity) {
        None => Status::Ok,
        Some(Severity::Failure) => Status::Failing,
        Some(_) => Status::Warning,
    };
    Report {
        status,
        sentence: sentence(&problems, &sources),
        since: worst.map(|problem| problem.since),
        queue_size: seen.queues.iter().map(|queue| queue.waiting).sum(),
        oldest_undelivered: seen.oldest_undelivered,
        window: json!({ "since": seen.lately.since, "deliveries": seen.lately.sampled }),
        storage: json!({ "trouble": seen.storage, "free_bytes": seen.free_bytes }),
        clock: json!({ "is_plainly_wrong": seen.clock_is_wrong }),
        tunnel: seen.tunnel.clone(),
        reconciled: seen.reconciled.clone(),
        problems,
        explained,
        sources,
        sinks,
    }
}

/// What is not well so far.
struct Found<'a> {
    before: &'a [Problem],
    now: Timestamp,
    failing_ratio: f64,
    problems: Vec<Problem>,
    explained: Vec<Problem>,
}

impl Found<'_> {
    fn add(
        &mut self,
        kind: &str,
        about: &str,
        severity: Severity,
        what: String,
        remedy: &str,
        since: Option<Timestamp>,
    ) {
        let known = self.before.iter().find(|problem| problem.kind == kind && problem.about == about);
        let since = since.or(known.map(|problem| problem.since)).unwrap_or(self.now);
        let (kind, about, remedy) = (kind.to_owned(), about.to_owned(), remedy.to_owned());
        self.problems.push(Problem { kind, about, severity, what, remedy, since });
    }

    /// What was added last is explained by something else: it is not told of, and not over.
    fn set_aside(&mut self) {
        self.explained.extend(self.problems.pop());
    }
}

/// The database itself, and those that were and lie beside it.
fn damage_problems(found: &mut Found<'_>, seen: &Seen) {
    const KIND: &str = "hookbell_database_damaged";
    if let Some(damage) = &seen.damage {
        let what = format!("the database is damaged: {damage}");
        let remedy = "`touch hookbell.db.damaged` beside it and a restart set it aside for a new one, whose health says how the \
                      deliveries come back; `hookbell restore` of a backup keeps it, too";
        found.add(KIND, "database", Severity::Failure, what, remedy, None);
    }
    for Aside { path, since } in &seen.lying_aside {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let what = format!("the database was damaged: it is kept as {name}, and a new one was begun");
        let remedy = format!(
            "`hookbell deliveries import {}` brings back what can be read; then move that file away",
            path.display()
        );
        found.add(KIND, &name, Severity::Failure, what, &remedy, Some(*since));
    }
}

/// That nothing was missed is not known any more: because somebody has to do something, or for a long time.
fn reconciled_problem(found: &mut Found<'_>, place: &Value, now: Timestamp) {
    let text = |key: &str| place[key].as_str();
    let (Some(why), Some(since)) = (text("trouble"), text("trouble_since").and_then(Timestamp::parse)) else { return };
    if text("remedy").is_none() && now.since(since) < UNRECONCILED_AFTER {
        return;
    }
    let (source, name) = (text("source").unwrap_or_default(), text("place").unwrap_or_default());
    let what = format!("whether {source} has missed something of {name} is not known: {why}");
    let remedy = text("remedy").unwrap_or("look at this network, and at what the provider says about itself");
    found.add("hookbell_not_reconciled", &format!("{source} {name}"), Severity::Warning, what, remedy, Some(since));
}

fn source(
    terms: &Terms,
    seen: &Seen,
    (name, provider, silence_after): (&str, &str, Option<Duration>),
    now: Timestamp,
) -> SourceHealth {
    let none = SourceTally::default();
    let tally = seen.lately.sources.get(name).unwrap_or(&none);
    let SourceTally { seen: seen_ever, received, processed, failed, dead, processing_ms, last_ms, longest_gap_ms } =
        *tally;
    let last_received =
        (last_ms > 0).then(|| Timestamp::from_ms(last_ms)).or_else(|| seen.last_heard.get(name).copied());
    let silence = last_received.map(|last| now.since(last)).unwrap_or_default();
    let silence = seen.listening_for.map_or(silence, |listening| silence.min(listening));
    // Silent is who has been quiet for longer than is allowed, and than it ever was.
    let usual = Duration::from_millis(longest_gap_ms.and_then(|ms| u64::try_from(ms).ok()).unwrap_or(0));
    let has_habit = seen.lately.sources.contains_key(name) && longest_gap_ms.is_some() && seen_ever >= HABIT_MIN;
    let is_silent = has_habit && silence > silence_after.unwrap_or(terms.health.silence_after) && silence > usual;
    let failure_ratio = ratio(failed, received);
    let processing_successfully = failure_ratio <= terms.health.failing_ratio;
    SourceHealth {
        source: name.to_owned(),
        provider: provider.to_owned(),
        received,
        processed,
        failed,
        dead_lately: dead,
        failure_ratio,
        avg_processing_ms: processing_ms,
        last_received,
        last_error: seen.lately.source_errors.get(name).cloned(),
        is_healthy: processing_successfully && !is_silent,
        receiving_events: !is_silent,
        processing_successfully,
    }
}

fn source_problems(found: &mut Found<'_>, source: &SourceHealth, is_explained: bool, now: Timestamp) {
    let name = &source.source;
    if !source.receiving_events
        && let Some(last) = source.last_received
    {
        let what = format!("nothing came from {name} for {}, longer than ever lately", long(now.since(last)));
        let remedy = "look at the sender's list of deliveries, and whether `hookbell doctor` reaches the public URL";
        found.add("hookbell_source_silent", name, Severity::Warning, what, remedy, Some(last));
    }
    let SourceHealth { failed, dead_lately, received, last_error, .. } = source;
    if !source.processing_successfully && matters(*failed, *dead_lately) {
        let why = last_error.as_ref().map(|error| format!("{LAST}{error}")).unwrap_or_default();
        let what = format!("{failed} of {received} deliveries of {name} failed in the last day{why}");
        found.add("hookbell_source_failing", name, Severity::Warning, what, AGAIN, None);
        if is_explained {
            found.set_aside();
        }
    }
}

/// One that is tried again once says nothing; one that was given up does.
fn matters(failed: i64, dead: i64) -> bool {
    failed >= FAILURES_MIN || dead > 0
}

/// What to do about what was given up.
const AGAIN: &str = "`hookbell deliveries list --status error` shows which; once the cause is gone, \
                     `hookbell deliveries requeue --status dead_letter` tries them again";

fn sink(terms: &Terms, seen: &Seen, name: &str) -> SinkHealth {
    let none = SinkTally::default();
    let tally = seen.lately.sinks.get(name).unwrap_or(&none);
    let queue = seen.queues.iter().find(|queue| queue.sink == name);
    let total_ms: i64 = tally.took.iter().map(|(_, ms)| ms).sum();
    let mean = (!tally.took.is_empty()).then(|| total_ms as f64 / tally.took.len() as f64);
    let failure_ratio = ratio(tally.failed, tally.delivered + tally.failed);
    let outage = queue.and_then(|queue| queue.outage.clone());
    SinkHealth {
        sink: name.to_owned(),
        delivered: tally.delivered,
        failed: tally.failed,
        dead_lately: tally.dead,
        failure_ratio,
        avg_dispatch_ms: mean,
        waiting: queue.map_or(0, |queue| queue.waiting),
        retrying: queue.map_or(0, |queue| queue.retrying),
        dead: queue.map_or(0, |queue| queue.dead),
        last_error: tally.last_error.clone(),
        is_healthy: outage.is_none() && failure_ratio <= terms.health.failing_ratio,
        outage,
    }
}

fn sink_problem(found: &mut Found<'_>, sink: &SinkHealth) {
    let SinkHealth { sink: name, delivered, failed, dead_lately, failure_ratio, last_error, outage, .. } = sink;
    if *failure_ratio > found.failing_ratio && matters(*failed, *dead_lately) {
        let why = last_error.as_ref().map(|error| format!("{LAST}{error}")).unwrap_or_default();
        let what = format!("{failed} of {} dispatches to {name} failed in the last day{why}", delivered + failed);
        found.add("hookbell_sink_failing", name, Severity::Warning, what, AGAIN, None);
        if outage.is_some() {
            found.set_aside();
        }
    }
    if let Some(outage) = outage {
        let (why, remedy) = outage
            .reason
            .rsplit_once("; ")
            .unwrap_or((&outage.reason, "`hookbell doctor` tells what is wrong with it"));
        let what = format!("{name} is left alone because it keeps failing: {why}");
        let remedy = format!("{remedy}; nothing is lost, what it is owed waits");
        found.add("hookbell_sink_down", name, Severity::Failure, what, &remedy, Some(outage.since));
    }
}

fn sentence(problems: &[Problem], sources: &[SourceHealth]) -> String {
    match problems {
        [] if sources.iter().all(|source| source.last_received.is_none()) => {
            "All is well, and nothing has come in yet.".to_owned()
        }
        [] => "All is well.".to_owned(),
        [problem] => format!("{}.", brief(&problem.what)),
        [problem, others @ ..] => format!("{}. And {} more.", brief(&problem.what), others.len()),
    }
}

/// Without what the last failure said: that stands beside it.
fn brief(what: &str) -> String {
    capital(what.split_once(LAST).map_or(what, |(brief, _)| brief))
}

/// Between what fails and what the last failure said.
const LAST: &str = ", the last: ";

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

fn ratio(part: i64, whole: i64) -> f64 {
    if whole > 0 { part as f64 / whole as f64 } else { 0.0 }
}

/// A long time in words.
pub fn long(time: Duration) -> String {
    let minutes = time.as_secs() / 60;
    match minutes {
        0 => "less than a minute".to_owned(),
        1 => "a minute".to_owned(),
        2..=119 => format!("{minutes} minutes"),
        120..=2879 => format!("{} hours", minutes / 60),
        _ => format!("{} days", minutes / 1440),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Outage;

    const NOW: Timestamp = Timestamp::from_ms(1_763_805_600_000);
    const MINUTE: Duration = Duration::from_secs(60);

    fn terms() -> Terms {
        Terms {
            health: config::Health::DEFAULT,
            sources: BTreeMap::from([("github".to_owned(), ("github", None)), ("shop".to_owned(), ("shopify", None))]),
            sinks: vec!["slack".to_owned()],
        }
    }

    /// `github` with so many deliveries, the last so long ago, the longest gap between two, and so many that failed.
    fn seen(count: i64, silence: Duration, gap: Duration, failed: i64) -> Seen {
        let tally = SourceTally {
            seen: count,
            received: count,
            processed: count - failed,
            failed,
            last_ms: NOW.minus(silence).ms(),
            longest_gap_ms: Some(crate::time::duration_ms(gap)),
            ..SourceTally::default()
        };
        let sources = BTreeMap::from([("github".to_owned(), tally)]);
        Seen { lately: Arc::new(Lately { sources, ..Lately::default() }), ..Seen::default() }
    }

    fn kinds(report: &Report) -> Vec<&str> {
        report.problems.iter().map(|problem| problem.kind.as_str()).collect()
    }

    #[test]
    fn what_a_check_of_the_database_has_found_is_told_with_its_remedy() {
        let report = judged(&Seen { damage: Some("row 7 is missing".to_owned()), ..Seen::default() });
        let problem = report.problems.iter().find(|problem| problem.kind == "hookbell_database_damaged").unwrap();
        assert!(problem.what.contains("row 7 is missing") && problem.remedy.contains("restore"), "{problem:?}");
    }

    fn judged(seen: &Seen) -> Report {
        judge(&terms(), seen, &[], NOW)
    }

    #[test]
    fn nothing_seen_is_nothing_wrong() {
        let report = judged(&Seen::default());
        assert_eq!(
            (report.status, report.sentence.as_str()),
            (Status::Ok, "All is well, and nothing has come in yet.")
        );
        assert!(report.sources.iter().all(|source| source.is_healthy && source.last_received.is_none()));
        assert!(report.sinks[0].is_healthy);
    }

    #[test]
    fn silent_is_who_was_never_quiet_for_so_long() {
        let check = |count, silence: u32, gap: u32, expected: bool| {
            let report = judged(&seen(count, MINUTE * silence, MINUTE * gap, 0));
            let source = &report.sources[0];
            assert_eq!(!source.receiving_events, expected, "{count} deliveries, silent {silence} min, gap {gap} min");
            assert_eq!(kinds(&report), if expected { vec!["hookbell_source_silent"] } else { vec![] });
        };
        check(100, 61, 10, true);
        check(100, 59, 10, false);
        check(100, 300, 8 * 60, false); // A night.
        check(100, 9 * 60, 8 * 60, true);
        check(9, 600, 10, false); // No habit yet.
        let mut terms = terms();
        terms.sources.insert("github".to_owned(), ("github", Some(MINUTE * 5)));
        let report = judge(&terms, &seen(100, MINUTE * 6, MINUTE, 0), &[], NOW);
        assert_eq!(kinds(&report), ["hookbell_source_silent"], "its own limit");
        assert_eq!(report.problems[0].since, NOW.minus(MINUTE * 6));
        let mut quiet = seen(0, MINUTE, MINUTE, 0);
        quiet.lately = Arc::default();
        quiet.last_heard.insert("github".to_owned(), NOW.minus(MINUTE * 60 * 24 * 30));
        assert_eq!(judged(&quiet).sources[0].last_received, Some(NOW.minus(MINUTE * 60 * 24 * 30)));
    }

    #[test]
    fn failing_is_more_than_a_tenth() {
        for (count, failed, is_successful, problems) in
            [(10, 1, true, 0), (10, 2, false, 0), (20, 3, false, 1), (100, 10, true, 0), (100, 11, false, 1)]
        {
            let report = judged(&seen(count, MINUTE, MINUTE, failed));
            assert_eq!(report.sources[0].processing_successfully, is_successful, "{failed} of {count}");
            assert_eq!(report.problems.len(), problems, "{failed} of {count}");
        }
        let mut given_up = seen(1, MINUTE, MINUTE, 1);
        Arc::make_mut(&mut given_up.lately).sources.values_mut().for_each(|tally| tally.dead = 1);
        assert_eq!(kinds(&judged(&given_up)), ["hookbell_source_failing"], "one that was given up is enough");
        let tally = SinkTally { delivered: 9, failed: 3, dead: 1, ..SinkTally::default() };
        Arc::make_mut(&mut given_up.lately).sinks.insert("slack".to_owned(), tally);
        let report = judged(&given_up);
        assert_eq!(kinds(&report), ["hookbell_sink_failing"], "the sink explains it");
        assert_eq!(report.explained[0].kind, "hookbell_source_failing");
    }

    #[test]
    fn nobody_is_silent_for_longer_than_we_listen() {
        let mut seen = seen(100, MINUTE * 600, MINUTE, 0);
        seen.listening_for = Some(MINUTE * 59);
        assert!(judged(&seen).sources[0].receiving_events);
        seen.listening_for = Some(MINUTE * 61);
        assert!(!judged(&seen).sources[0].receiving_events);
    }

    #[test]
    fn the_worst_comes_first_and_keeps_its_beginning() {
        let mut seen = seen(100, MINUTE * 61, MINUTE, 0);
        let outage = Outage {
            since: NOW.minus(MINUTE * 3),
            until: NOW,
            wait: MINUTE,
            reason: "Slack said no_service; make a new webhook".to_owned(),
        };
        seen.queues.push(QueueCount {
            sink: "slack".to_owned(),
            waiting: 7,
            retrying: 7,
            dead: 0,
            next_at: None,
            last_error: None,
            outage: Some(outage),
        });
        // Explained by the outage.
        seen.oldest_undelivered = Some(NOW.minus(MINUTE * 120));
        let report = judged(&seen);
        assert_eq!(kinds(&report), ["hookbell_sink_down", "hookbell_source_silent"]);
        assert_eq!(report.explained[0].kind, "hookbell_undelivered");
        assert_eq!((report.status, report.queue_size, report.since), (Status::Failing, 7, Some(NOW.minus(MINUTE * 3))));
        assert_eq!(report.sentence, "Slack is left alone because it keeps failing: Slack said no_service. And 1 more.");
        assert!(report.problems[0].remedy.starts_with("make a new webhook"), "{}", report.problems[0].remedy);

        let mut seen = Seen { oldest_undelivered: Some(NOW.minus(MINUTE * 16)), ..Seen::default() };
        assert_eq!(kinds(&judged(&seen)), ["hookbell_undelivered"]);
        seen.oldest_undelivered = Some(NOW.minus(MINUTE * 15));
        assert!(judged(&seen).problems.is_empty());

        let broken = Seen {
            storage: Some("the disk is full; make room".to_owned()),
            clock_is_wrong: true,
            bell: Some("green (pin 27) is taken".to_owned()),
            tunnel: json!({ "state": "down", "why": "no answer", "remedy": "start it", "since": NOW.minus(MINUTE) }),
            ..Seen::default()
        };
        let first = judged(&broken);
        let expected =
            ["hookbell_disk_trouble", "hookbell_tunnel_down", "hookbell_clock_wrong", "hookbell_bell_broken"];
        assert_eq!(kinds(&first), expected);
        assert!(first.problems.iter().all(|problem| crate::provider::KINDS.contains(&&*problem.kind)));
        let later = judge(&terms(), &broken, &first.problems, NOW.plus(MINUTE));
        assert_eq!(later.problems[0].since, NOW, "it is the same one");
        assert_eq!(later.problems[1].since, NOW.minus(MINUTE), "whoever watches the tunnel knows better");
    }

    #[test]
    fn times_in_words() {
        let words = [0, 59, 60, 7199, 7200, 172_799, 172_800].map(|seconds| long(Duration::from_secs(seconds)));
        let expected =
            ["less than a minute", "less than a minute", "a minute", "119 minutes", "2 hours", "47 hours", "2 days"];
        assert_eq!(words, expected);
    }
}
