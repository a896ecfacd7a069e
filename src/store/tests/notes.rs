//! What is kept beside deliveries: who was refused, and texts by name.

use super::*;

#[test]
fn refusals_are_counted_by_address_and_the_oldest_are_added_up() {
    let fixture = Fixture::new();
    let refused = |source: &str, peer: &str, count: u64| Refused {
        source: source.to_owned(),
        peer: peer.to_owned(),
        status: 401,
        why: "the signature does not match".to_owned(),
        count,
    };
    let store = fixture.store();
    store.count_refusals(vec![refused("github", "192.0.2.1", 3), refused("", "192.0.2.1", 1)]).unwrap();
    fixture.clock.pass(Duration::from_secs(60));
    let again = Refused { status: 403, why: "not allowed".to_owned(), ..refused("github", "192.0.2.1", 2) };
    store.count_refusals(vec![again]).unwrap();
    let rows = store.reader().unwrap().refusals(10).unwrap();
    let shown =
        |row: &RefusalCount| (row.source.clone(), row.status, row.count, row.last_at.since(row.first_at).as_secs());
    assert_eq!(
        rows.iter().map(shown).collect::<Vec<_>>(),
        [("github".to_owned(), 403, 5, 60), (String::new(), 401, 1, 0)]
    );
    assert_eq!(rows[0].why, "not allowed");

    for batch in 0..3_u32 {
        fixture.clock.pass(Duration::from_secs(1));
        let many = (0..500_u32).map(|host| refused("github", &format!("198.51.{batch}.{host}"), 1)).collect();
        store.count_refusals(many).unwrap();
    }
    let rows = store.reader().unwrap().refusals(u32::MAX).unwrap();
    let sum: i64 = rows.iter().filter(|row| row.source == "github").map(|row| row.count).sum();
    assert_eq!((rows.len(), sum), (1002, 5 + 1500), "a thousand addresses, and what was added up of each source");
    let others: Vec<_> =
        rows.iter().filter(|row| row.peer == OTHERS).map(|row| (row.source.as_str(), row.count)).collect();
    assert_eq!(others.len(), 2);
    assert!(others.contains(&("github", 505)) && others.contains(&("", 1)), "{others:?}");
    assert_eq!(rows[0].peer.split('.').nth(2), Some("2"), "the newest are there");
}

#[test]
fn a_text_is_remembered_by_its_name() {
    let mut fixture = Fixture::new();
    assert_eq!(fixture.store().reader().unwrap().recall("list").unwrap(), None);
    for text in ["first", "second"] {
        fixture.store().remember("list", text.to_owned()).unwrap();
    }
    fixture.reopen();
    assert_eq!(fixture.store().reader().unwrap().recall("list").unwrap().as_deref(), Some("second"));
}

#[test]
fn an_event_is_told_once_and_one_that_nobody_got_may_come_again() {
    let fixture = Fixture::new();
    // Each request carries these events, by their own ids; says how many dispatches are owed after it.
    let arrive = |id: &str, own_ids: &[&str], sinks: &[&str]| {
        fixture.accept(id, &format!("{{\"id\":\"{id}\"}}"));
        let mut claimed = fixture.store().claim_routable(1).unwrap();
        let events = own_ids.iter().map(|own_id| {
            let mut routed = routed(own_id, sinks);
            routed.event.own_id = Some((*own_id).to_owned());
            routed
        });
        let decision = Decision::Routed { events: events.collect(), note: None };
        fixture.store().route(vec![(claimed.remove(0), decision)]).unwrap();
        let reader = fixture.store().reader().unwrap();
        reader.queues().unwrap().iter().map(|queue| queue.waiting).sum::<i64>()
    };
    assert_eq!(arrive("first", &["a", "b", "a"], &["slack"]), 2, "twice in one request is once");
    assert_eq!(arrive("second", &["b", "c"], &["slack"]), 3);
    assert_eq!(arrive("third", &["d"], &[]), 3, "no rule wants it yet");
    assert_eq!(arrive("fourth", &["d"], &["slack"]), 4, "now one does");
    assert_eq!(arrive("fifth", &["d"], &["slack"]), 4);
}
