//! What may be tried when: order within a subject, bundles, digests; and what is remembered of each attempt.

use super::*;
use crate::{
    event::Fact,
    rule::{Digest, Order},
    sink::{Conversation, Conversations},
};

const SUBJECT: &str = "acme/api#1";

/// One event about a subject, to these targets.
fn about(title: &str, subject: Option<&str>, to: Vec<Target>) -> Routed {
    let mut routed = routed(title, &[]);
    routed.event.subject = subject.map(str::to_owned);
    Routed { to, ..routed }
}

fn slack() -> Target {
    Target::of("slack")
}

impl Fixture {
    /// Stores and routes each as a delivery of its own.
    fn route_each(&self, events: Vec<Routed>) {
        for event in events {
            self.accept(&event.event.title, &format!("{{\"title\":{:?}}}", event.event.title));
            let claimed = self.store().claim_routable(1).unwrap();
            let decided = claimed.into_iter().map(|routable| {
                let decision = Decision::Routed { events: vec![event.clone()], note: None };
                (routable, decision)
            });
            self.store().route(decided.collect()).unwrap();
        }
    }

    fn settle_all(&self, claimed: Claimed, settlement: &Settlement) {
        let settled = claimed.claims.into_iter().map(|claim| (claim, settlement.clone())).collect();
        self.store().settle(settled).unwrap();
    }
}

fn done() -> Settlement {
    Settlement::Done { receipt: Some("ok".to_owned()) }
}

#[test]
fn of_one_subject_nothing_passes_what_is_under_way_or_waits() {
    let fixture = Fixture::new();
    let to = || vec![slack()];
    fixture.route_each(vec![
        about("a1", Some(SUBJECT), to()),
        about("a2", Some(SUBJECT), to()),
        about("b1", Some("acme/api#2"), to()),
        about("x", None, to()),
    ]);
    let first = fixture.store().claim("slack", Portion::single(1)).unwrap();
    assert_eq!(titles(&first), ["a1"]);
    let others = fixture.store().claim("slack", Portion::single(9)).unwrap();
    assert_eq!(titles(&others), ["b1", "x"], "a2 waits for a1, which somebody tries");
    fixture.settle_all(others, &done());

    fixture.settle_all(first, &retry_in(Duration::from_secs(60)));
    let waiting = fixture.store().claim("slack", Portion::single(9)).unwrap();
    assert_eq!(titles(&waiting), [""; 0]);
    assert_eq!(waiting.next_due, Some(Duration::from_secs(60)), "a2 may go now, and waits all the same: no busy loop");
    fixture.clock.pass(Duration::from_secs(60));
    let again = fixture.store().claim("slack", Portion::single(9)).unwrap();
    assert_eq!(titles(&again), ["a1"]);
    // The one before it is given up: nothing holds the next back any more.
    fixture.settle_all(again, &Settlement::Dead { reason: "never".to_owned() });
    let next = fixture.store().claim("slack", Portion::single(9)).unwrap();
    assert_eq!(titles(&next), ["a2"]);
    // Nor does what was given up come back beside it.
    assert_eq!(fixture.store().requeue(&[1]).unwrap(), [1]);
    assert_eq!(titles(&fixture.store().claim("slack", Portion::single(9)).unwrap()), [""; 0]);
    fixture.settle_all(next, &done());
    assert_eq!(titles(&fixture.store().claim("slack", Portion::single(9)).unwrap()), ["a1"]);
}

#[test]
fn a_probe_is_the_oldest_also_while_it_waits_and_holds_others_up_and_its_wait_is_not_counted() {
    let fixture = Fixture::new();
    fixture.route_each(vec![about("a1", Some(SUBJECT), vec![slack()]), about("a2", Some(SUBJECT), vec![slack()])]);
    let claimed = fixture.store().claim("slack", Portion::single(1)).unwrap();
    fixture.settle_all(claimed, &retry_in(Duration::from_secs(3600)));
    fixture.clock.pass(Duration::from_secs(600));
    let probe = Portion { is_probe: true, ..Portion::single(9) };
    let claimed = fixture.store().claim("slack", probe).unwrap();
    assert_eq!(titles(&claimed), ["a1"]);
    assert_eq!(claimed.claims[0].tried, Duration::from_secs(600));
}

#[test]
fn a_sink_may_want_all_in_order_or_nothing() {
    let fixture = Fixture::new();
    let to = |order| vec![Target { order, ..Target::of("forward") }];
    for order in [Order::All, Order::None] {
        let name = |number| format!("{order:?} {number}");
        fixture.route_each(vec![
            about(&name(1), Some(SUBJECT), to(order)),
            about(&name(2), Some(SUBJECT), to(order)),
            about(&name(3), None, to(order)),
        ]);
        let first = fixture.store().claim("forward", Portion::single(1)).unwrap();
        let others = fixture.store().claim("forward", Portion::single(9)).unwrap();
        assert_eq!(others.claims.len(), if order == Order::All { 0 } else { 2 }, "{order:?}");
        fixture.settle_all(others, &done());
        fixture.settle_all(first, &done());
        for _ in 0..3 {
            let rest = fixture.store().claim("forward", Portion::single(9)).unwrap();
            fixture.settle_all(rest, &done());
        }
    }
}

#[test]
fn a_backlog_comes_in_one_bundle_and_only_what_belongs_together() {
    let fixture = Fixture::new();
    let dev = || Target { channel: Some("#dev".to_owned()), ..slack() };
    let events = (0..6).map(|number| about(&format!("s{number}"), Some(SUBJECT), vec![slack()]));
    let elsewhere = (0..2).map(|number| about(&format!("d{number}"), Some("acme/api#2"), vec![dev()]));
    fixture.route_each(events.chain(elsewhere).collect());
    let all = Portion { count: 3, bundle_over: Some(8), by_subject: false, is_probe: false };
    let few = fixture.store().claim("slack", all).unwrap();
    assert_eq!((titles(&few), few.is_bundle), (vec!["s0", "d0"], false), "eight are not more than eight");
    fixture.settle_all(few, &Settlement::Released { delay: Duration::ZERO });

    let bundle = fixture.store().claim("slack", Portion { bundle_over: Some(7), ..all }).unwrap();
    assert!(bundle.is_bundle);
    assert_eq!(titles(&bundle), ["s0", "s1", "s2", "s3", "s4", "s5"], "the channel is another message");
    // All wait together, and come together again: also with what came meanwhile.
    fixture.settle_all(bundle, &retry_in(Duration::from_secs(5)));
    fixture.route_each(vec![about("s6", Some("acme/api#3"), vec![slack()])]);
    fixture.clock.pass(Duration::from_secs(5));
    let again = fixture.store().claim("slack", Portion { bundle_over: Some(7), ..all }).unwrap();
    assert_eq!(again.claims.len(), 7);
    fixture.settle_all(again, &Settlement::Released { delay: Duration::ZERO });
    let by_subject = Portion { bundle_over: Some(7), by_subject: true, ..all };
    let about_one = fixture.store().claim("slack", by_subject).unwrap();
    assert_eq!(about_one.claims.len(), 6, "s6 is about something else");
}

#[test]
fn a_bundle_that_was_never_settled_is_told_in_one_message_once_more_and_then_one_by_one() {
    let mut fixture = Fixture::new();
    fixture.route_each((0..4).map(|number| about(&format!("s{number}"), None, vec![slack()])).collect());
    let portion = Portion { count: 2, bundle_over: Some(3), by_subject: false, is_probe: false };
    for (crashes, count) in [(0, 4), (1, 4), (2, 1)] {
        fixture.store().begin_work(waits(Duration::from_secs(3600))).unwrap();
        let claimed = fixture.store().claim("slack", portion).unwrap();
        assert_eq!((claimed.claims.len(), claimed.is_bundle), (count, count > 1), "after {crashes} crashes");
        fixture.reopen();
    }
}

#[test]
fn a_digest_waits_for_its_window_and_collects() {
    let fixture = Fixture::new();
    let window = Duration::from_secs(600);
    let digest = || Target { digest: Some(Digest { group: "stars".to_owned(), window }), ..slack() };
    fixture.route_each(vec![about("star 1", None, vec![digest()])]);
    fixture.clock.pass(Duration::from_secs(400));
    fixture.route_each(vec![about("star 2", None, vec![digest()]), about("issue", Some(SUBJECT), vec![slack()])]);
    let portion = Portion { count: 9, bundle_over: None, by_subject: true, is_probe: false };
    let at_once = fixture.store().claim("slack", portion).unwrap();
    assert_eq!((titles(&at_once), at_once.is_bundle), (vec!["issue"], false));
    fixture.settle_all(at_once, &done());
    assert_eq!(fixture.store().claim("slack", portion).unwrap().next_due, Some(Duration::from_secs(200)));
    fixture.clock.pass(Duration::from_secs(200));
    let together = fixture.store().claim("slack", portion).unwrap();
    assert_eq!((titles(&together), together.is_bundle), (vec!["star 1", "star 2"], true));
    fixture.settle_all(together, &done());
    fixture.route_each(vec![about("star 3", None, vec![digest()])]);
    assert_eq!(fixture.store().claim("slack", portion).unwrap().next_due, Some(window), "a window of its own");
}

#[test]
fn each_attempt_is_in_the_ledger_with_what_it_took() {
    let fixture = Fixture::new();
    fixture.route_each(vec![about("a", None, vec![slack(), Target::of("bell")])]);
    let mut claimed = fixture.store().claim("slack", Portion::single(1)).unwrap();
    claimed.claims[0].took = Duration::from_millis(250);
    fixture.clock.pass(Duration::from_millis(250));
    fixture.settle_all(claimed, &retry_in(Duration::from_secs(5)));
    fixture.clock.pass(Duration::from_secs(5));
    // What is given back was never tried.
    let claimed = fixture.store().claim("slack", Portion::single(1)).unwrap();
    fixture.settle_all(claimed, &Settlement::Released { delay: Duration::ZERO });
    let claimed = fixture.store().claim("slack", Portion::single(1)).unwrap();
    fixture.settle_all(claimed, &done());
    let shown = fixture.clock.wall();
    fixture.store().note_shown(&[2], shown);
    let rung = fixture.store().claim("bell", Portion::single(1)).unwrap();
    fixture.settle_all(rung, &Settlement::Skipped { note: "the queue is full".to_owned() });

    let story = fixture.store().reader().unwrap().show(1).unwrap().unwrap();
    assert_eq!(story.row.handled_by.as_deref(), Some(env!("CARGO_PKG_VERSION")));
    assert!(story.durable_ms.is_some_and(|ms| ms > 0.0), "{:?}", story.durable_ms);
    let tries = |index: usize| -> Vec<(i64, i64, String, Option<String>)> {
        let tries = story.dispatches[index].tries.clone();
        tries.into_iter().map(|one| (one.number, one.took_ms, one.outcome, one.answer)).collect()
    };
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(tries(0), [(1, 250, "retry".to_owned(), some("503")), (2, 0, "done".to_owned(), some("ok"))]);
    assert_eq!(story.dispatches[0].tries[0].began_at, Timestamp::from_ms(NEW_YEAR_MS));
    assert_eq!(tries(1), [(1, 0, "skipped".to_owned(), some("the queue is full"))]);
    assert_eq!(story.dispatches[1].shown_at, Some(shown));
}

#[test]
fn the_ledger_keeps_the_latest_hundred_attempts() {
    let fixture = Fixture::new();
    fixture.route_each(vec![about("a", None, vec![slack()])]);
    for _ in 0..120 {
        let claimed = fixture.store().claim("slack", Portion::single(1)).unwrap();
        fixture.settle_all(claimed, &retry_in(Duration::ZERO));
    }
    let story = fixture.store().reader().unwrap().show(1).unwrap().unwrap();
    let numbers: Vec<i64> = story.dispatches[0].tries.iter().map(|one| one.number).collect();
    assert_eq!(numbers, (21..=120).collect::<Vec<_>>());
}

#[test]
fn what_happens_on_a_branch_is_filed_under_its_open_pull_request() {
    let fixture = Fixture::new();
    let pull = |kind: &str| {
        let mut pull = about(kind, Some(SUBJECT), vec![slack()]);
        pull.event.kind = kind.to_owned();
        pull.event.extra.insert("head_branch".to_owned(), Fact::Text("fix".to_owned()));
        pull
    };
    let run = |title: &str, branch: &str| {
        let mut run = about(title, Some(&format!("acme/api@{branch} ci")), vec![slack()]);
        run.event.kind = "ci_failed".to_owned();
        run.event.extra.insert("branch".to_owned(), Fact::Text(branch.to_owned()));
        run
    };
    fixture.route_each(vec![
        run("too early", "fix"),
        pull("pr_opened"),
        run("its run", "fix"),
        run("another's", "fix-2"),
        pull("pr_merged"),
        pull("pr_commented"),
        run("too late", "fix"),
    ]);
    let mut filed = Vec::new();
    loop {
        let claimed = fixture.store().claim("slack", Portion::single(9)).unwrap();
        if claimed.claims.is_empty() {
            break;
        }
        filed.extend(claimed.claims.iter().map(|claim| {
            let parcel = claim.parcel.as_ref().unwrap();
            (parcel.event.title.clone(), parcel.subject.clone().unwrap())
        }));
        fixture.settle_all(claimed, &done());
    }
    filed.sort();
    let subject_of = |title: &str| filed.iter().find(|(found, _)| found == title).unwrap().1.as_str();
    assert_eq!(subject_of("its run"), SUBJECT);
    assert_eq!(subject_of("pr_merged"), SUBJECT);
    assert_eq!(subject_of("too early"), "acme/api@fix ci");
    assert_eq!(subject_of("another's"), "acme/api@fix-2 ci");
    assert_eq!(subject_of("too late"), "acme/api@fix ci");
}

#[test]
fn a_conversation_is_kept_over_a_restart_and_each_sink_and_channel_has_its_own() {
    let mut fixture = Fixture::new();
    let conversation = Conversation {
        source: "github".to_owned(),
        subject: SUBJECT.to_owned(),
        asked: String::new(),
        channel: "C1".to_owned(),
        ts: "1.000100".to_owned(),
        last: "ref-1".to_owned(),
        state: "{}".to_owned(),
        touched: fixture.clock.wall(),
    };
    let there = Conversation { asked: "#ops".to_owned(), ts: "2.000100".to_owned(), ..conversation.clone() };
    let dev = fixture.store().conversations("dev").unwrap();
    assert_eq!(dev.find("github", SUBJECT, "").unwrap(), None);
    dev.keep(&Conversation { ts: "0.000001".to_owned(), ..conversation.clone() }).unwrap();
    dev.keep(&conversation).unwrap();
    dev.keep(&there).unwrap();
    drop(dev);
    fixture.reopen();
    let dev = fixture.store().conversations("dev").unwrap();
    assert_eq!(dev.find("github", SUBJECT, "").unwrap(), Some(conversation));
    assert_eq!(dev.find("github", SUBJECT, "#ops").unwrap(), Some(there));
    assert_eq!(dev.find("mirror", SUBJECT, "").unwrap(), None, "another source's is another");
    assert_eq!(fixture.store().conversations("other").unwrap().find("github", SUBJECT, "").unwrap(), None);
    drop(dev);
    fixture.clock.pass(Duration::from_secs(200 * 86_400));
    fixture.store().prune(None, u64::MAX, || false).unwrap();
    assert_eq!(
        fixture.store().conversations("dev").unwrap().find("github", SUBJECT, "").unwrap(),
        None,
        "nobody speaks of it"
    );
}

#[test]
fn a_daily_digest_survives_a_restart() {
    let mut fixture = Fixture::new();
    let window = Duration::from_secs(86_400);
    let digest = Target { digest: Some(Digest { group: "stars".to_owned(), window }), ..slack() };
    fixture.route_each(vec![about("star", None, vec![digest])]);
    fixture.reopen();
    fixture.store().begin_work(WaitsMax { retry: Duration::from_secs(3600), digest: window }).unwrap();
    let waiting = fixture.store().claim("slack", Portion::single(1)).unwrap();
    assert_eq!(waiting.next_due, Some(window));
}

#[test]
fn a_step_of_the_clock_moves_the_ledger_and_what_is_remembered() {
    let fixture = Fixture::new();
    fixture.route_each(vec![about("a", None, vec![slack()])]);
    let claimed = fixture.store().claim("slack", Portion::single(1)).unwrap();
    fixture.settle_all(claimed, &done());
    let conversation = Conversation {
        source: "github".to_owned(),
        subject: SUBJECT.to_owned(),
        asked: String::new(),
        channel: "C1".to_owned(),
        ts: "1.000100".to_owned(),
        last: String::new(),
        state: String::new(),
        touched: fixture.clock.wall(),
    };
    fixture.store().conversations("dev").unwrap().keep(&conversation).unwrap();
    let stepped = fixture.clock.wall().plus(Duration::from_secs(400 * 86_400));
    fixture.clock.step_to(stepped);
    fixture.store().prune(None, u64::MAX, || false).unwrap();
    let story = fixture.store().reader().unwrap().show(1).unwrap().unwrap();
    assert_eq!((story.row.received_at, story.dispatches[0].tries[0].began_at), (stepped, stepped));
    let kept = fixture.store().conversations("dev").unwrap().find("github", SUBJECT, "").unwrap();
    assert_eq!(kept.map(|kept| kept.touched), Some(stepped), "nobody has forgotten it");
}
