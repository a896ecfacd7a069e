//! What the store shows and what the model holds, line by line in the same words.

use std::collections::BTreeMap;

use super::{
    super::*,
    state::{Dispatch, Model, Stage, State},
};

/// All that differs; nothing where the store is what the model says.
pub(super) fn differences(reader: &Reader, model: &Model) -> Option<String> {
    let (shown, held) = (shown(reader), held(model));
    let only_in = |these: &[String], those: &[String], what: &str| {
        let lines = these.iter().filter(|line| !those.contains(line));
        lines.map(|line| format!("\n{what} {line}")).collect::<String>()
    };
    match shown == held {
        true => None,
        false => Some(only_in(&held, &shown, "expected") + &only_in(&shown, &held, "   shown")),
    }
}

fn ms(moment: Option<Timestamp>) -> Option<i64> {
    moment.map(Timestamp::ms)
}

fn shown(reader: &Reader) -> Vec<String> {
    let mut lines = Vec::new();
    let rows = reader.list(&Filter { limit: 10_000, ..Filter::default() }).unwrap();
    for row in rows.iter().rev() {
        let story = reader.show(row.id).unwrap().unwrap_or_else(|| panic!("{} is listed and not there", row.id));
        let DeliveryRow { id, source, delivery_id, received_at, processed_at, status, notes, origin, .. } = &story.row;
        let body = reader.request(*id).unwrap().map(|request| String::from_utf8(request.body).unwrap());
        let (received, processed, sent) = (received_at.ms(), ms(*processed_at), ms(story.row.sent_at));
        let (title, was_handled) = (&story.row.title, story.row.handled_by.is_some());
        assert_eq!((status, &row.title), (&row.status, title), "the list and the story of {id}");
        lines.push(format!(
            "{id}: {source} {delivery_id:?} {body:?} {status} received={received} processed={processed:?} {origin} \
             sent={sent:?} verified_by={} handled={was_handled} {title:?} {notes}",
            story.verified_by
        ));
        let titles: Vec<&str> = story.events.iter().map(|event| event.event.title.as_str()).collect();
        lines.push(format!("{id}: {titles:?}"));
        for dispatched in &story.dispatches {
            let Dispatched { event, sink, channel, subject, digest, status, attempts, last_error, .. } = dispatched;
            let (next, settled) = (ms(dispatched.next_at), ms(dispatched.settled_at));
            let tries: Vec<_> = dispatched
                .tries
                .iter()
                .map(|Attempt { number, began_at, took_ms, outcome, answer }| {
                    format!("{number} {} {took_ms} {outcome} {answer:?}", began_at.ms())
                })
                .collect();
            lines.push(format!(
                "{id} to {sink}: {event} {channel:?} {subject:?} {digest:?} {status} attempts={attempts} next={next:?} \
                 error={last_error:?} receipt={:?} settled={settled:?} {tries:?}",
                dispatched.receipt
            ));
        }
    }
    let counts = reader.status_counts().unwrap();
    lines.extend(counts.into_iter().map(|(status, count)| format!("{status}: {count}")));
    for ((sink, state), count) in reader.queue_depths().unwrap() {
        lines.push(format!("{sink} has {count} {state}"));
    }
    for QueueCount { sink, waiting, retrying, dead, next_at, last_error, outage } in reader.queues().unwrap() {
        assert!(outage.is_none(), "nobody has noted one");
        let next = ms(next_at);
        lines.push(format!("{sink} owes {waiting}, {retrying} again, {dead} dead, next={next:?} {last_error:?}"));
    }
    let is_working = reader.recall("working").unwrap().is_some();
    lines.push(format!("working={is_working} pruned={:?}", ms(reader.pruned_until().unwrap())));
    lines
}

fn held(model: &Model) -> Vec<String> {
    let mut lines = Vec::new();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for (id, one) in &model.deliveries {
        let status = model.status(*id);
        *counts.entry(status).or_default() += 1;
        let titles: Vec<&str> = one.events.iter().map(|event| event.title.as_str()).collect();
        let notes = serde_json::Value::from(one.notes.clone());
        let was_handled = one.was_handled;
        lines.push(format!(
            "{id}: {} {:?} {:?} {status} received={} processed={:?} {} sent={:?} verified_by={} handled={was_handled} \
             {:?} {notes}",
            one.source,
            one.id,
            Some(&one.body),
            one.received,
            one.processed,
            one.origin,
            one.sent,
            i64::from(one.is_proven),
            titles.first(),
        ));
        lines.push(format!("{id}: {titles:?}"));
        for dispatch in model.dispatches.values().filter(|dispatch| dispatch.delivery == *id) {
            lines.push(told(*id, one.source, dispatch));
        }
    }
    lines.extend(counts.into_iter().map(|(status, count)| format!("{status}: {count}")));
    for (sink, state) in both(&[State::Dead, State::Due, State::Leased]) {
        let count = model.dispatches.values().filter(|one| (one.sink, one.state) == (sink, state)).count();
        if count > 0 {
            lines.push(format!("{sink} has {count} {}", name(state)));
        }
    }
    for sink in ["forward", "slack"] {
        let its: Vec<&Dispatch> = model.dispatches.values().filter(|one| one.sink == sink).collect();
        let count = |is: &dyn Fn(&Dispatch) -> bool| its.iter().filter(|one| is(one)).count();
        let waiting = count(&|one| one.is_open());
        let retrying = count(&|one| one.state == State::Due && one.failures > 0);
        let dead = count(&|one| one.state == State::Dead);
        let due = || its.iter().filter(|one| one.state == State::Due);
        let next = due().map(|one| one.next).min();
        let last_error = due().filter_map(|one| one.last_error.as_ref()).max();
        if waiting + dead > 0 {
            lines.push(format!("{sink} owes {waiting}, {retrying} again, {dead} dead, next={next:?} {last_error:?}"));
        }
    }
    lines.push(format!("working={} pruned={:?}", model.is_working, model.pruned_until));
    lines
}

fn both(states: &[State]) -> impl Iterator<Item = (&'static str, State)> {
    ["forward", "slack"].into_iter().flat_map(|sink| states.iter().map(move |state| (sink, *state)))
}

fn told(id: i64, source: &str, one: &Dispatch) -> String {
    let subject = one.filed.as_ref().and_then(|filed| filed.strip_prefix(source)?.strip_prefix(' '));
    let next = (one.state == State::Due).then_some(one.next);
    let tries: Vec<String> = one
        .tries
        .iter()
        .map(|one| format!("{} {} {} {} {:?}", one.number, one.began, one.took_ms, one.outcome, one.answer))
        .collect();
    format!(
        "{id} to {}: {} {:?} {subject:?} {:?} {} attempts={} next={next:?} error={:?} receipt={:?} settled={:?} {tries:?}",
        one.sink,
        one.position,
        one.channel,
        one.digest,
        name(one.state),
        one.attempts,
        one.last_error,
        one.receipt,
        one.settled,
    )
}

fn name(state: State) -> &'static str {
    match state {
        State::Due => "due",
        State::Leased => "leased",
        State::Done => "done",
        State::Skipped => "skipped",
        State::Dead => "dead",
    }
}

/// Whether anybody could still be asked to handle this.
pub(super) fn is_settled(model: &Model, id: i64) -> bool {
    model.deliveries.get(&id).is_none_or(|one| one.stage == Stage::Settled)
}
