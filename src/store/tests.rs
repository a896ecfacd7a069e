//! The store on a real file: identity, claims, crashes, trouble and time.

mod by_request;
mod callers;
mod card;
mod copies;
mod damage;
mod model;
mod notes;
mod outbox_order;
mod trouble;
mod versions;

use std::{
    path::PathBuf,
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use super::*;
use crate::{
    bell::latch::Change,
    config::Repeats,
    event::{Event, Extra, Severity},
    headers::Headers,
    provider::{self, Delivery, Provider, Signing, Terms, Unverified, Verified, sample::Sample},
    rule::Target,
    secret::Secret,
    time::{ManualClock, Timestamp},
};

/// 2026-01-01T00:00:00Z
const NEW_YEAR_MS: i64 = 1_767_225_600_000;

struct Fixture {
    _directory: tempfile::TempDir,
    path: PathBuf,
    clock: Arc<ManualClock>,
    store: Option<(Store, StoreThreads)>,
}

impl Fixture {
    fn new() -> Fixture {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("hookbell.db");
        let clock = Arc::new(ManualClock::new(Timestamp::from_ms(NEW_YEAR_MS)));
        let mut fixture = Fixture { _directory: directory, path, clock, store: None };
        fixture.open();
        fixture
    }

    fn open(&mut self) {
        self.store = Some(Store::open(&self.path, 0, self.clock.clone()).unwrap());
    }

    /// As after a crash: nothing is told to anybody.
    fn reopen(&mut self) {
        let (_, threads) = self.store.take().unwrap();
        threads.stop(Duration::from_secs(10));
        self.open();
    }

    fn store(&self) -> &Store {
        &self.store.as_ref().unwrap().0
    }

    fn accept(&self, id: &str, body: &str) -> Accepted {
        self.accept_as(id, body, Repeats::Limit)
    }

    fn accept_as(&self, id: &str, body: &str, repeats: Repeats) -> Accepted {
        self.store().accept(delivery(id, body), arrival(repeats)).unwrap()
    }

    /// Stores and routes one event to these sinks.
    fn owe(&self, id: &str, sinks: &[&str]) {
        self.accept(id, &format!("{{\"id\":\"{id}\"}}"));
        let claimed = self.store().claim_routable(100).unwrap();
        let routed = claimed
            .into_iter()
            .map(|routable| (routable, Decision::Routed { events: vec![routed(id, sinks)], note: None }))
            .collect();
        self.store().route(routed).unwrap();
    }

    fn statuses(&self) -> Vec<String> {
        let rows = self.store().reader().unwrap().list(&Filter { limit: 100, ..Filter::default() }).unwrap();
        rows.into_iter().rev().map(|row| row.status).collect()
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        if let Some((_, threads)) = self.store.take() {
            threads.stop(Duration::from_secs(10));
        }
    }
}

fn delivery(id: &str, body: &str) -> Delivery {
    let secret = Secret::new("secret".to_owned()).unwrap();
    let mut sample = Sample::json("issues", body).with("X-GitHub-Event", "issues").with("X-GitHub-Delivery", id);
    sample.sign(Provider::GitHub, &Signing::new(&secret, "", Timestamp::from_ms(0))).unwrap();
    let headers: Headers = sample.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    let unverified = Unverified { target: "/webhooks/github".to_owned(), headers, body: sample.body };
    match provider::verify(&Terms::new(Provider::GitHub, vec![secret]), unverified, Timestamp::from_ms(0)) {
        Ok(Verified::Delivery(delivery)) => delivery,
        other => panic!("{other:?}"),
    }
}

fn waits(longest: Duration) -> WaitsMax {
    WaitsMax { retry: longest, digest: longest }
}

fn arrival(repeats: Repeats) -> Arrival {
    Arrival {
        source: "github".to_owned(),
        peer: "127.0.0.1".to_owned(),
        repeats,
        repeat_window: Duration::from_secs(60),
        deadline: Instant::now() + Duration::from_secs(30),
    }
}

fn routed(title: &str, sinks: &[&str]) -> Routed {
    Routed {
        event: Event {
            kind: "issue_opened".to_owned(),
            source: "github".to_owned(),
            provider: "github".to_owned(),
            actor: "octocat".to_owned(),
            repository: "acme/api".to_owned(),
            title: title.to_owned(),
            url: None,
            severity: Severity::Info,
            subject: Some(format!("acme/api#{title}")),
            extra: Extra::new(),
            own_id: None,
        },
        to: sinks.iter().map(|sink| Target::of(*sink)).collect(),
        cue: None,
        latch: Change::default(),
        rules: vec!["default".to_owned()],
    }
}

fn titles(claimed: &Claimed) -> Vec<&str> {
    claimed.claims.iter().map(|claim| claim.parcel.as_ref().unwrap().event.title.as_str()).collect()
}

fn retry_in(delay: Duration) -> Settlement {
    Settlement::Retry { reason: "503".to_owned(), delay }
}

/// Text that hardly compresses.
fn noise(seed: u64, length: usize) -> String {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(b'a' + (state % 26) as u8)
    };
    (0..length).map(|_| next()).collect()
}

#[test]
fn stored_names_are_pinned() {
    let names: Vec<&str> = Status::ALL.iter().map(|status| status.name()).collect();
    assert_eq!(names, ["unprocessed", "retrying", "processed", "skipped", "dead_letter"]);
    let fixture = Fixture::new();
    let reader = fixture.store().reader().unwrap();
    let mut schema = String::new();
    reader
        .sql("SELECT sql FROM sqlite_schema WHERE name = 'delivery'", |_, values| schema = values[0].to_string())
        .unwrap();
    for name in names {
        assert!(schema.contains(&format!("'{name}'")), "{name} is not in the schema");
    }
}

#[test]
fn identity_is_source_id_and_body() {
    let fixture = Fixture::new();
    assert_eq!(fixture.accept("a", "{}"), Accepted::New { id: 1, notes: vec![], is_skipped: false });
    assert_eq!(fixture.accept("a", "{}"), Accepted::Duplicate { id: 1 });
    let other = Accepted::New { id: 2, notes: vec!["same_id_other_body".to_owned()], is_skipped: false };
    assert_eq!(fixture.accept("a", "{\"b\":1}"), other);
    assert_eq!(
        fixture.accept("b", "{}"),
        Accepted::New { id: 3, notes: vec!["possible_replay".to_owned()], is_skipped: false }
    );
}

#[test]
fn repeats_are_limited_within_an_hour_as_the_source_says() {
    let fixture = Fixture::new();
    let skipped = |accepted: Accepted| matches!(accepted, Accepted::New { is_skipped: true, .. });
    let answers: Vec<bool> = (0..5).map(|number| skipped(fixture.accept(&format!("limit-{number}"), "{}"))).collect();
    assert_eq!(answers, [false, false, false, true, true]);
    fixture.clock.pass(Duration::from_secs(3601));
    assert!(!skipped(fixture.accept("an hour later", "{}")));
    assert!(!skipped(fixture.accept_as("process-0", "[1]", Repeats::Process)));
    assert!((1..9).all(|number| !skipped(fixture.accept_as(&format!("process-{number}"), "[1]", Repeats::Process))));
    assert!(!skipped(fixture.accept_as("skip-0", "[2]", Repeats::Skip)));
    assert!(skipped(fixture.accept_as("skip-1", "[2]", Repeats::Skip)));
}

#[test]
fn a_delivery_comes_back_as_it_came() {
    let fixture = Fixture::new();
    let body = format!("{{\"pad\":\"{}\"}}", "ü".repeat(5000));
    fixture.accept("a", &body);
    let claimed = fixture.store().claim_routable(10).unwrap().remove(0);
    let (headers, bytes) = claimed.content().unwrap();
    assert_eq!(bytes, body.as_bytes());
    assert_eq!(headers.text("x-github-delivery"), Some("a"));
    let story = fixture.store().reader().unwrap().show(1).unwrap().unwrap();
    assert_eq!(story.payload["pad"].as_str().unwrap().chars().count(), 5000);
    let mut seen = Vec::new();
    let query = "SELECT id, event_type, delivery_id, length(payload_json), received_at, status FROM webhook_events";
    fixture.store().reader().unwrap().sql(query, |_, values| seen = values.to_vec()).unwrap();
    let expected = serde_json::json!([1, "issues", "a", 5010, "2026-01-01T00:00:00.000Z", "unprocessed"]);
    assert_eq!(serde_json::Value::Array(seen), expected);
}

#[test]
fn reading_changes_nothing() {
    let mut fixture = Fixture::new();
    fixture.accept("a", "{}");
    let reader = fixture.store().reader().unwrap();
    for query in ["DELETE FROM delivery", "PRAGMA user_version = 9", "CREATE TABLE t (x)"] {
        let refused = reader.sql(query, |_, _| {});
        assert!(refused.is_err() || fixture.statuses().len() == 1, "{query}");
    }
    assert_eq!(fixture.statuses(), ["unprocessed"]);
    fixture.reopen();
}

#[test]
fn oldest_first_and_each_only_once() {
    let fixture = Fixture::new();
    for id in ["a", "b", "c"] {
        fixture.owe(id, &["slack", "bell"]);
    }
    let first = fixture.store().claim("slack", Portion::single(2)).unwrap();
    assert_eq!(titles(&first), ["a", "b"]);
    let second = fixture.store().claim("slack", Portion::single(2)).unwrap();
    assert_eq!(titles(&second), ["c"]);
    assert_eq!(
        titles(&fixture.store().claim("bell", Portion::single(9)).unwrap()),
        ["a", "b", "c"],
        "a queue of its own"
    );
    let parcel = first.claims[1].parcel.as_ref().unwrap();
    assert_eq!(parcel.reference, format!("{}-2-0-0", fixture.store().installation()));
}

#[test]
fn a_status_is_what_the_worst_dispatch_says() {
    let fixture = Fixture::new();
    fixture.owe("a", &["slack", "bell"]);
    let store = fixture.store();
    let settle = |sink: &str, settlement: Settlement| {
        let claim = store.claim(sink, Portion::single(1)).unwrap().claims.remove(0);
        store.settle(vec![(claim, settlement)]).unwrap();
        fixture.statuses().remove(0)
    };
    assert_eq!(settle("bell", Settlement::Skipped { note: "full".to_owned() }), "unprocessed");
    assert_eq!(settle("slack", retry_in(Duration::ZERO)), "retrying");
    assert_eq!(settle("slack", Settlement::Released { delay: Duration::ZERO }), "retrying");
    assert_eq!(settle("slack", Settlement::Done { receipt: Some("ok".to_owned()) }), "processed");
    fixture.owe("b", &["slack", "bell"]);
    settle("bell", Settlement::Done { receipt: None });
    settle("slack", Settlement::Dead { reason: "no".to_owned() });
    assert_eq!(fixture.statuses(), ["processed", "dead_letter"]);
}

#[test]
fn a_retry_waits_and_counts_its_time() {
    let fixture = Fixture::new();
    fixture.owe("a", &["slack"]);
    let claim = fixture.store().claim("slack", Portion::single(1)).unwrap().claims.remove(0);
    fixture.store().settle(vec![(claim, retry_in(Duration::from_secs(60)))]).unwrap();
    let waiting = fixture.store().claim("slack", Portion::single(1)).unwrap();
    assert!(waiting.claims.is_empty());
    assert_eq!(waiting.next_due, Some(Duration::from_secs(60)));
    fixture.clock.pass(Duration::from_secs(60));
    let claim = fixture.store().claim("slack", Portion::single(1)).unwrap().claims.remove(0);
    assert_eq!((claim.failures, claim.tried), (1, Duration::from_secs(60)));
    assert_eq!(claim.parcel.as_ref().unwrap().tried, 1);
}

#[test]
fn settling_again_after_an_unknown_outcome_changes_nothing() {
    let fixture = Fixture::new();
    fixture.owe("a", &["slack"]);
    let claim = fixture.store().claim("slack", Portion::single(1)).unwrap().claims.remove(0);
    let first = outbox::Held::of(&claim);
    fixture.store().settle(vec![(claim, retry_in(Duration::ZERO))]).unwrap();
    // A claim is consumed by settling, so the first attempt's second settlement is written past that: as it would come from
    // a sender that was told "unknown" although it was written. It finds the attempt over, and then another one running.
    let again = || {
        let late = Settlement::Dead { reason: "late".to_owned() };
        let settling = move |connection: &Connection, now| outbox::settle_one(connection, &first, &late, now);
        let ticket = fixture.store().submit(inbox::settling(writer::Durability::Full), settling).unwrap();
        ticket.wait(Duration::from_secs(10)).unwrap();
    };
    again();
    let second = fixture.store().claim("slack", Portion::single(1)).unwrap().claims.remove(0);
    assert_eq!(second.parcel.as_ref().unwrap().tried, 1);
    again();
    fixture.store().settle(vec![(second, Settlement::Done { receipt: None })]).unwrap();
    again();
    assert_eq!(fixture.statuses(), ["processed"]);
}

#[test]
fn what_crashes_us_is_buried_and_its_neighbours_are_not() {
    let mut fixture = Fixture::new();
    fixture.owe("poison", &["slack"]);
    fixture.owe("fine", &["slack"]);
    assert_eq!(titles(&fixture.store().claim("slack", Portion::single(10)).unwrap()), ["poison", "fine"]);
    for crash in 1..5 {
        fixture.reopen();
        assert_eq!(fixture.store().begin_work(waits(Duration::from_secs(3600))).unwrap(), crash > 1);
        assert_eq!(
            titles(&fixture.store().claim("slack", Portion::single(10)).unwrap()),
            ["poison"],
            "alone after crash {crash}"
        );
    }
    fixture.reopen();
    fixture.store().begin_work(waits(Duration::from_secs(3600))).unwrap();
    assert_eq!(titles(&fixture.store().claim("slack", Portion::single(10)).unwrap()), ["fine"]);
    assert_eq!(fixture.statuses(), ["dead_letter", "unprocessed"]);
    let story = fixture.store().reader().unwrap().show(1).unwrap().unwrap();
    let reason = story.dispatches[0].last_error.clone().unwrap();
    assert!(reason.starts_with("crashed the process 5 times"), "{reason}");
}

#[test]
fn a_delivery_that_crashes_the_router_is_buried_too() {
    let mut fixture = Fixture::new();
    fixture.accept("a", "{}");
    for _ in 0..5 {
        assert_eq!(fixture.store().claim_routable(10).unwrap().len(), 1);
        fixture.reopen();
        fixture.store().begin_work(waits(Duration::ZERO)).unwrap();
    }
    assert!(fixture.store().claim_routable(10).unwrap().is_empty());
    assert_eq!(fixture.statuses(), ["dead_letter"]);
}

#[test]
fn what_a_stopped_thread_held_is_given_back_without_blame() {
    let mut fixture = Fixture::new();
    fixture.owe("a", &["slack"]);
    fixture.accept("b", "[1]");
    // As with a Slack that hangs: each stop leaves its sender, and here also its router, in the middle.
    for _ in 0..7 {
        fixture.store().begin_work(waits(Duration::from_secs(3600))).unwrap();
        assert_eq!(titles(&fixture.store().claim("slack", Portion::single(10)).unwrap()), ["a"]);
        assert_eq!(fixture.store().claim_routable(10).unwrap().len(), 1);
        fixture.store().end_work().unwrap();
        fixture.reopen();
    }
    assert_eq!(fixture.statuses(), ["unprocessed", "unprocessed"]);
}

#[test]
fn opening_makes_what_a_crash_left_in_the_log_durable() {
    let mut fixture = Fixture::new();
    let mark = |fixture: &Fixture| -> String {
        let database = Connection::open(&fixture.path).unwrap();
        database.query_row("SELECT value FROM meta WHERE key = 'opened'", [], |row| row.get(0)).unwrap()
    };
    let first = mark(&fixture);
    fixture.reopen();
    // A commit that changes nothing would not be synced, so it is the change that is looked for.
    assert_ne!(first, mark(&fixture));
}

#[test]
fn an_empty_commit_does_not_pass_for_a_healthy_disk() {
    let fixture = Fixture::new();
    let other = Connection::open(&fixture.path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    fixture.store().accept(delivery("a", "{}"), arrival(Repeats::Limit)).unwrap_err();
    other.execute_batch("ROLLBACK").unwrap();
    let commits = fixture.store().commits();
    assert!(fixture.store().claim_routable(10).unwrap().is_empty());
    assert_eq!(fixture.store().commits(), commits, "nothing was written");
    assert_eq!(fixture.store().trouble(), None, "asking writes, and finds it healed");
    assert_eq!(fixture.store().commits(), commits + 1);
}

#[test]
fn a_clean_end_is_remembered() {
    let mut fixture = Fixture::new();
    assert!(!fixture.store().begin_work(waits(Duration::ZERO)).unwrap());
    fixture.store().end_work().unwrap();
    fixture.reopen();
    assert!(!fixture.store().begin_work(waits(Duration::ZERO)).unwrap());
    fixture.reopen();
    assert!(fixture.store().begin_work(waits(Duration::ZERO)).unwrap(), "the last one did not end");
}

#[test]
fn a_step_of_the_clock_ages_nothing() {
    let fixture = Fixture::new();
    // A Pi without a battery: it is 1970, and NTP has not answered yet.
    fixture.clock.step_to(Timestamp::from_ms(100_000));
    fixture.owe("a", &["slack"]);
    let claim = fixture.store().claim("slack", Portion::single(1)).unwrap().claims.remove(0);
    fixture.store().settle(vec![(claim, retry_in(Duration::from_secs(600)))]).unwrap();
    fixture.clock.pass(Duration::from_secs(60));
    fixture.clock.step_to(Timestamp::from_ms(NEW_YEAR_MS));
    let waiting = fixture.store().claim("slack", Portion::single(1)).unwrap();
    assert_eq!(waiting.next_due, Some(Duration::from_secs(540)), "neither due at once nor in 56 years");
    let row = fixture.store().reader().unwrap().list(&Filter { limit: 1, ..Filter::default() }).unwrap().remove(0);
    assert_eq!(row.received_at, Timestamp::from_ms(NEW_YEAR_MS - 60_000), "it came a minute before the step");
    assert_eq!(fixture.store().prune(Some(Duration::from_secs(3600)), u64::MAX, || false).unwrap().deliveries, 0);
}

#[test]
fn pruning_spares_what_is_owed_and_the_newest() {
    let fixture = Fixture::new();
    for id in ["old and done", "old and owed", "new"] {
        fixture.owe(id, &["slack"]);
    }
    for claim in fixture.store().claim("slack", Portion::single(10)).unwrap().claims {
        let settlement = match claim.parcel.as_ref().unwrap().event.title.as_str() {
            "old and owed" => retry_in(Duration::from_secs(1)),
            _ => Settlement::Done { receipt: None },
        };
        fixture.store().settle(vec![(claim, settlement)]).unwrap();
    }
    fixture.clock.pass(Duration::from_secs(86_400 * 91));
    let pruned = fixture.store().prune(Some(Duration::from_secs(86_400 * 90)), u64::MAX, || false).unwrap();
    assert_eq!(pruned.deliveries, 1);
    assert_eq!(fixture.statuses(), ["retrying", "processed"]);
    assert_eq!(fixture.accept("next", "[9]"), Accepted::New { id: 4, notes: vec![], is_skipped: false });
    // Size counts the same way: only settled ones go, and the newest of all stays.
    assert_eq!(fixture.store().prune(None, 0, || false).unwrap().deliveries, 1);
    assert_eq!(fixture.statuses(), ["retrying", "unprocessed"]);
}

#[test]
fn what_a_boot_without_the_time_has_left_goes_by_size_and_not_by_age() {
    let fixture = Fixture::new();
    ["of 1970", "new"].into_iter().for_each(|id| fixture.owe(id, &["slack"]));
    for claim in fixture.store().claim("slack", Portion::single(10)).unwrap().claims {
        fixture.store().settle(vec![(claim, Settlement::Done { receipt: None })]).unwrap();
    }
    // The power was cut before the clock was set, so that nothing has shifted it.
    let database = Connection::open(&fixture.path).unwrap();
    assert_eq!(database.execute("UPDATE delivery SET received_ms = 100000 WHERE id = 1", []).unwrap(), 1);
    let pruned = |keep, size| fixture.store().prune(keep, size, || false).unwrap().deliveries;
    assert_eq!(pruned(Some(Duration::from_secs(86_400 * 90)), u64::MAX), 0);
    assert_eq!(pruned(None, 0), 1);
}

#[test]
fn a_dead_letter_goes_last_and_not_while_it_owes_another_sink() {
    let fixture = Fixture::new();
    fixture.owe("dead, and owed to the bell", &["slack", "bell"]);
    fixture.owe("dead", &["slack"]);
    fixture.owe("newest", &["bell"]);
    for claim in fixture.store().claim("slack", Portion::single(10)).unwrap().claims {
        fixture.store().settle(vec![(claim, Settlement::Dead { reason: "no".to_owned() })]).unwrap();
    }
    assert_eq!(fixture.statuses(), ["dead_letter", "dead_letter", "unprocessed"]);
    assert_eq!(fixture.store().prune(None, 0, || false).unwrap().deliveries, 1);
    let left = fixture.store().claim("bell", Portion::single(10)).unwrap();
    assert_eq!(titles(&left), ["dead, and owed to the bell", "newest"]);
}

#[test]
fn pruning_gives_space_back() {
    let fixture = Fixture::new();
    for number in 0..200_u64 {
        let noise = noise(number, 30_000);
        fixture.accept(&format!("large-{number}"), &noise);
    }
    let claimed = fixture.store().claim_routable(1000).unwrap();
    let skipped = |routable| (routable, Decision::Skipped { events: Vec::new(), note: "nobody wants it".to_owned() });
    fixture.store().route(claimed.into_iter().map(skipped).collect()).unwrap();
    let pages = |fixture: &Fixture| -> i64 {
        let database = Connection::open(&fixture.path).unwrap();
        database.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap()
    };
    let before = pages(&fixture);
    assert!(fixture.store().prune(None, 0, || false).unwrap().deliveries > 150);
    assert!(pages(&fixture) * 2 < before, "{} of {before} pages are left", pages(&fixture));
}

#[test]
fn no_loop_reads_what_is_settled() {
    let fixture = Fixture::new();
    fixture.owe("a", &["slack"]);
    let database = Connection::open(&fixture.path).unwrap();
    for query in [
        "SELECT id, claims FROM delivery WHERE stage = 'new' ORDER BY id LIMIT 64",
        "UPDATE delivery SET stage = 'new' WHERE stage = 'routing'",
        &format!("SELECT id, claims, channel, subject, digest {} ORDER BY id LIMIT ?3", outbox::READY),
        "SELECT min(next_ms) FROM dispatch WHERE sink = 'slack' AND state = 'due' AND next_ms > 9",
        "UPDATE dispatch SET state = 'due' WHERE state = 'leased'",
        "SELECT sink, count(*) FROM dispatch WHERE state = 'dead' GROUP BY sink",
        "SELECT status, count(*) FROM delivery GROUP BY status",
    ] {
        let mut statement = database.prepare(&format!("EXPLAIN QUERY PLAN {query}")).unwrap();
        let plan: Vec<String> = statement.raw_query().mapped(|row| row.get(3)).map(Result::unwrap).collect();
        let searched = |step: &String| step.contains("INDEX") || step.contains("CORRELATED");
        assert!(plan.iter().all(searched), "{query}: {plan:?}");
        assert!(!plan.iter().any(|step| step.contains("TEMP B-TREE")), "{query} sorts: {plan:?}");
    }
    let mut statement = database.prepare(&format!("EXPLAIN QUERY PLAN {}", look::OLDEST_UNDELIVERED)).unwrap();
    let plan: Vec<String> = statement.raw_query().mapped(|row| row.get(3)).map(Result::unwrap).collect();
    let served = |index: &str| plan.iter().any(|step| step.contains(index));
    assert!(
        ["delivery_new", "delivery_routing", "dispatch_leased", "dispatch_due"].into_iter().all(served),
        "{plan:?}"
    );
}

#[test]
fn what_each_delivery_is_compared_with_is_found_by_all_that_is_known_of_it() {
    let fixture = Fixture::new();
    fixture.accept("a", "{}");
    let database = Connection::open(&fixture.path).unwrap();
    for (query, expected) in [
        (inbox::SAME, "delivery_identity (source=? AND delivery_id=? AND body_hash=?)"),
        (pulled::HELD, "delivery_identity (source=? AND delivery_id=?)"),
        (inbox::SAME_WITHOUT_ID, "delivery_body (<expr>=? AND body_hash=?)"),
        (inbox::EARLIER, "delivery_body (<expr>=? AND body_hash=?)"),
    ] {
        let mut statement = database.prepare(&format!("EXPLAIN QUERY PLAN {query}")).unwrap();
        let plan: Vec<String> = statement.raw_query().mapped(|row| row.get(3)).map(Result::unwrap).collect();
        assert!(plan.iter().any(|step| step.ends_with(expected)), "{query}: {plan:?}");
        assert!(!plan.iter().any(|step| step.starts_with("SCAN delivery")), "{query}: {plan:?}");
    }
}

#[test]
fn many_at_once_share_commits_and_each_gets_its_own_id() {
    let fixture = Fixture::new();
    let (ids, received) = mpsc::channel();
    let threads: Vec<_> = (0..16)
        .map(|thread| {
            let (store, ids) = (fixture.store().clone(), ids.clone());
            threads::spawn("sender", threads::STACK_BYTES, move || {
                for number in 0..25 {
                    let body = format!("{{\"n\":\"{thread}-{number}\"}}");
                    match store.accept(delivery(&format!("{thread}-{number}"), &body), arrival(Repeats::Limit)) {
                        Ok(Accepted::New { id, .. }) => ids.send(id).unwrap(),
                        other => panic!("{other:?}"),
                    }
                }
            })
            .unwrap()
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    drop(ids);
    let mut all: Vec<i64> = received.into_iter().collect();
    all.sort_unstable();
    assert_eq!(all, (1..=400).collect::<Vec<i64>>());
    assert!(fixture.store().commits() < 400, "{} commits for 400 deliveries", fixture.store().commits());
}

#[test]
fn racing_claims_never_share() {
    let fixture = Fixture::new();
    for number in 0..50 {
        fixture.owe(&number.to_string(), &["slack"]);
    }
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let store = fixture.store().clone();
            threads::spawn("claimer", threads::STACK_BYTES, move || {
                let mut seen = Vec::new();
                loop {
                    let claimed = store.claim("slack", Portion::single(3)).unwrap();
                    if claimed.claims.is_empty() {
                        return seen;
                    }
                    seen.extend(titles(&claimed).iter().map(|title| (*title).to_owned()));
                }
            })
            .unwrap()
        })
        .collect();
    let mut all: Vec<String> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
    all.sort_by_key(|title| title.parse::<u32>().unwrap());
    assert_eq!(all, (0..50).map(|number| number.to_string()).collect::<Vec<_>>());
}

#[test]
fn a_locked_database_is_an_answer_in_time_and_heals_by_itself() {
    let fixture = Fixture::new();
    let other = Connection::open(&fixture.path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut arriving = arrival(Repeats::Limit);
    arriving.deadline = Instant::now() + Duration::from_secs(8);
    let start = Instant::now();
    let refused = fixture.store().accept(delivery("a", "{}"), arriving).unwrap_err();
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
    assert!(refused.to_string().contains("locked"), "{refused}");
    assert!(fixture.store().trouble().is_some());
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(fixture.accept("a", "{}"), Accepted::New { id: 1, notes: vec![], is_skipped: false });
    assert_eq!(fixture.store().trouble(), None);
}

#[test]
fn a_full_database_refuses_the_one_and_takes_the_other() {
    let fixture = Fixture::new();
    fixture.accept("first", "{}");
    let writer = Connection::open(&fixture.path).unwrap();
    let pages: i64 = writer.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
    drop(writer);
    // SQLite's own limit stands in for the disk's end; it holds for the writer's connection.
    let ticket = fixture
        .store()
        .submit(inbox::settling(writer::Durability::Full), move |connection, _| {
            connection.pragma_update_and_check(None, "max_page_count", pages + 2, |_| Ok(()))
        })
        .unwrap();
    ticket.wait(Duration::from_secs(10)).unwrap();
    let large = noise(1, 60_000);
    let refused = fixture.store().accept(delivery("large", &large), arrival(Repeats::Limit)).unwrap_err();
    assert!(refused.to_string().contains("full"), "{refused}");
    let lift =
        |connection: &Connection, _| connection.pragma_update_and_check(None, "max_page_count", 1 << 30, |_| Ok(()));
    let ticket = fixture.store().submit(inbox::settling(writer::Durability::Full), lift).unwrap();
    ticket.wait(Duration::from_secs(10)).unwrap();
    assert!(matches!(fixture.accept("large", &large), Accepted::New { .. }));
}

#[test]
fn a_stalled_disk_is_an_answer_in_time() {
    let fixture = Fixture::new();
    let (release, held) = mpsc::channel::<()>();
    let (begun, begin) = mpsc::channel::<()>();
    let held = std::sync::Mutex::new(held);
    // A commit that hangs: the writer is stuck inside a job until we let it go.
    let stuck = fixture
        .store()
        .submit(inbox::settling(writer::Durability::Full), move |_, _| {
            begun.send(()).unwrap();
            held.lock().unwrap().recv().unwrap();
            Ok(())
        })
        .unwrap();
    begin.recv().unwrap();
    let mut arriving = arrival(Repeats::Limit);
    arriving.deadline = Instant::now() + Duration::from_millis(300);
    let refused = fixture.store().accept(delivery("a", "{}"), arriving).unwrap_err();
    assert!(matches!(refused, StoreError::TooSlow { .. }), "{refused}");
    assert_eq!(fixture.store().shared.queued_bytes(), 0, "nobody waits for it, so it holds no memory");
    release.send(()).unwrap();
    stuck.wait(Duration::from_secs(10)).unwrap();
    // Its deadline had passed, so it was never run: the retry is the first.
    assert_eq!(fixture.accept("a", "{}"), Accepted::New { id: 1, notes: vec![], is_skipped: false });
}

#[test]
fn too_little_room_is_refused_before_anything_is_written() {
    let fixture = Fixture::new();
    let (store, threads) = Store::open(&fixture.path, u64::MAX, fixture.clock.clone()).unwrap();
    let refused = store.accept(delivery("a", "{}"), arrival(Repeats::Limit)).unwrap_err();
    assert!(matches!(refused, StoreError::NoRoom { .. }), "{refused}");
    assert!(refused.to_string().contains("free_min"), "{refused}");
    assert!(fixture.statuses().is_empty());
    threads.stop(Duration::from_secs(10));
}

#[test]
fn a_role_is_held_once_and_its_holder_is_named() {
    let fixture = Fixture::new();
    let lock = RoleLock::take(&fixture.path, Role::Work).unwrap();
    assert_eq!(RoleLock::holder(&fixture.path, Role::Work), Some(std::process::id()));
    assert_eq!(RoleLock::holder(&fixture.path, Role::Receive), None);
    let refused = RoleLock::take(&fixture.path, Role::Work).unwrap_err().to_string();
    assert!(refused.contains(&format!("process {} already does `work`", std::process::id())), "{refused}");
    drop(lock);
    RoleLock::take(&fixture.path, Role::Work).unwrap();
}
