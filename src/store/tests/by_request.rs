//! What did not come by itself: identity by the id alone, the original that comes later, and what pruning has removed.

use super::*;
use crate::{bell::latch, provider::Origin};

const HOUR: Duration = Duration::from_secs(3600);

/// As GitHub's interface would hand it out: without a signature that proves these bytes.
fn handed_out(id: &str, body: &str) -> Delivery {
    let terms = Terms::new(Provider::GitHub, vec![Secret::new("another".to_owned()).unwrap()]);
    let (_, headers, body) = {
        let parts = super::delivery(id, body).into_parts();
        (parts.target, parts.headers, parts.body)
    };
    let request = Unverified { target: "/webhooks/github".to_owned(), headers, body };
    provider::vouched(&terms, request, Origin::Recovered, Timestamp::from_ms(0)).unwrap()
}

fn pulled(sent: Timestamp) -> Pulled {
    let note = "GitHub could not deliver it: 502".to_owned();
    Pulled { source: "github".to_owned(), peer: "api.github.com".to_owned(), sent, notes: vec![note] }
}

impl Fixture {
    fn pull(&self, id: &str, body: &str, ago: Duration) -> Accepted {
        self.store().accept_pulled(handed_out(id, body), pulled(self.clock.wall().minus(ago))).unwrap()
    }

    fn story(&self, id: i64) -> Story {
        self.store().reader().unwrap().show(id).unwrap().unwrap()
    }
}

fn new(id: i64) -> Accepted {
    Accepted::New { id, notes: vec!["GitHub could not deliver it: 502".to_owned()], is_skipped: false }
}

#[test]
fn the_id_alone_is_its_identity() {
    let fixture = Fixture::new();
    fixture.accept("by-itself", "{\"n\":1}");
    assert_eq!(fixture.pull("by-itself", "{\"n\": 1}", HOUR), Accepted::Duplicate { id: 1 });
    assert_eq!(fixture.pull("a", "{}", HOUR), new(2));
    assert_eq!(fixture.pull("a", "{ }", HOUR), Accepted::Duplicate { id: 2 });
    let story = fixture.story(2);
    assert_eq!((story.row.origin.as_str(), story.verified_by, story.peer.as_str()), ("recovered", 0, "api.github.com"));
    assert_eq!(story.row.sent_at, Some(fixture.clock.wall().minus(HOUR)));
    assert_eq!(fixture.story(1).row.origin, "webhook");
    let reader = fixture.store().reader().unwrap();
    assert_eq!(reader.not_held("github", &["a", "b", "by-itself", "c"]).unwrap(), ["b", "c"]);
    assert_eq!(reader.not_held("other", &["a"]).unwrap(), ["a"], "another source's is another");
}

#[test]
fn the_signed_original_takes_its_place_once() {
    let fixture = Fixture::new();
    assert_eq!(fixture.pull("a", "{\"n\":1}", HOUR), new(1));
    let before = fixture.story(1);
    assert_eq!(fixture.accept("a", "{ \"n\": 1 }"), Accepted::Duplicate { id: 1 });
    let after = fixture.story(1);
    assert_eq!((after.verified_by, after.row.origin.as_str()), (1, "recovered"));
    assert_ne!(after.sha256, before.sha256);
    assert!(after.row.notes.to_string().contains("took its place"), "{}", after.row.notes);
    let request = fixture.store().reader().unwrap().request(1).unwrap().unwrap();
    assert_eq!(request.body, b"{ \"n\": 1 }");
    // The same again is the same; other bytes are proven as well, and so another delivery.
    assert_eq!(fixture.accept("a", "{ \"n\": 1 }"), Accepted::Duplicate { id: 1 });
    assert!(matches!(fixture.accept("a", "{\"n\":2}"), Accepted::New { id: 2, .. }));
}

#[test]
fn a_replay_that_calls_itself_so_takes_no_ones_place() {
    let fixture = Fixture::new();
    fixture.accept("known", "{\"n\":1}");
    assert_eq!(fixture.pull("a", "{\"n\":2}", HOUR), new(2));
    let replayed = fixture.accept("a", "{\"n\":1}");
    let notes = vec!["same_id_other_body".to_owned(), "possible_replay".to_owned()];
    assert_eq!(replayed, Accepted::New { id: 3, notes, is_skipped: false });
    assert_eq!((fixture.story(2).verified_by, fixture.story(2).row.notes.to_string().contains("took")), (0, false));
}

#[test]
fn how_far_a_place_was_read_is_kept_by_its_name() {
    let mut fixture = Fixture::new();
    let reached = |fixture: &Fixture, place: &str| fixture.store().reader().unwrap().reached("github", place).unwrap();
    assert_eq!(reached(&fixture, "acme/api"), None);
    for state in ["1", "2"] {
        fixture.store().keep_reached("github", "acme/api", state.to_owned()).unwrap();
    }
    fixture.store().keep_reached("github", "acme", "3".to_owned()).unwrap();
    fixture.reopen();
    assert_eq!(
        (reached(&fixture, "acme/api"), reached(&fixture, "acme")),
        (Some("2".to_owned()), Some("3".to_owned()))
    );
    let all = fixture.store().reader().unwrap().all_reached().unwrap();
    assert_eq!(all.iter().map(|(_, place, _)| place.as_str()).collect::<Vec<_>>(), ["acme", "acme/api"]);
}

#[test]
fn pruning_says_how_far_it_went() {
    let fixture = Fixture::new();
    let until = || fixture.store().reader().unwrap().pruned_until().unwrap();
    let settle = |id: &str| {
        fixture.accept(id, &format!("{{\"id\":\"{id}\"}}"));
        let claimed = fixture.store().claim_routable(100).unwrap();
        let note = || Decision::Skipped { events: vec![], note: "nobody wants it".to_owned() };
        fixture.store().route(claimed.into_iter().map(|claim| (claim, note())).collect()).unwrap();
    };
    let first = fixture.clock.wall();
    settle("a");
    fixture.clock.pass(HOUR);
    settle("b");
    fixture.clock.pass(HOUR);
    settle("c");
    assert_eq!(until(), None);
    fixture.store().prune(Some(HOUR + HOUR / 2), u64::MAX, || false).unwrap();
    assert_eq!(until(), Some(first));
    fixture.store().prune(Some(HOUR / 2), u64::MAX, || false).unwrap();
    assert_eq!(until(), Some(first.plus(HOUR)), "the newest stays");
    fixture.store().prune(Some(HOUR / 2), u64::MAX, || false).unwrap();
    assert_eq!(until(), Some(first.plus(HOUR)));
}

#[test]
fn what_was_overtaken_lights_no_lamp_and_puts_none_out() {
    let lights = |ended_by: &str| latch::Change {
        begins: Some("deployment_failed".to_owned()),
        ended_by: vec![ended_by.to_owned()],
        ends: vec![],
    };
    let ends = || latch::Change { ends: vec!["deployment_failed".to_owned()], ..latch::Change::default() };
    let fixture = Fixture::new();
    let route = |title: &str, latch: latch::Change| -> usize {
        let claimed = fixture.store().claim_routable(100).unwrap();
        let routed = Routed { latch, ..routed(title, &[]) };
        let decide = |claim| (claim, Decision::Skipped { events: vec![routed.clone()], note: String::new() });
        fixture.store().route(claimed.into_iter().map(decide).collect()).unwrap().len()
    };
    // It was missed, and meanwhile all is well: an event of a kind that ends it is here.
    fixture.accept("good", "{}");
    assert_eq!(route("1", latch::Change::default()), 0);
    fixture.pull("bad", "{\"n\":1}", HOUR);
    assert_eq!(route("1", lights("issue_opened")), 0);
    // What came since says nothing about it, or is about something else.
    fixture.pull("worse", "{\"n\":2}", HOUR);
    assert_eq!(route("1", lights("deployment_succeeded")), 1);
    fixture.pull("other", "{\"n\":3}", HOUR);
    assert_eq!(route("2", lights("issue_opened")), 1);
    // It is lit since it was sent: what was sent before that ends nothing, what was sent afterwards does.
    fixture.pull("early", "{\"n\":4}", 2 * HOUR);
    assert_eq!(route("1", ends()), 0);
    fixture.pull("late", "{\"n\":5}", HOUR / 2);
    assert_eq!(route("1", ends()), 1);
    // What comes by itself is about now.
    fixture.accept("end", "{\"n\":6}");
    assert_eq!(route("2", ends()), 1);
}
