//! A delivery's whole story, in the order in which it happened. Owns the words; the facts are the store's.

use super::{Failure, deliveries::notes, print_line, table::printable};
use crate::{
    store::{Attempt, Dispatched, History, Story},
    time::Timestamp,
};

/// Prints it: what came, what it means and to whom it went, then every attempt, then where it stands, then the request.
pub(super) fn print(story: &Story) -> Result<(), Failure> {
    told(story).iter().try_for_each(|line| print_line(line))?;
    print_line("")?;
    for (name, value) in &story.headers {
        print_line(&format!("{}: {}", printable(name), printable(value.as_str().unwrap_or_default())))?;
    }
    print_line("")?;
    let pretty = serde_json::to_string_pretty(&story.payload)
        .map_err(|error| Failure::Failed(format!("cannot make JSON: {error}")))?;
    print_line(&pretty)
}

fn told(story: &Story) -> Vec<String> {
    let row = &story.row;
    let mut lines = vec![format!("delivery {} · {} · {}", row.id, row.source, row.status)];
    let durable = story.durable_ms.map(|ms| format!(", durable after {ms:.1} ms")).unwrap_or_default();
    let provider = printable(&story.provider);
    let how = match row.origin.as_str() {
        "webhook" => "received",
        origin => origin,
    };
    lines.push(format!("  {}  {how} from {}{durable}", row.received_at, printable(&story.peer)));
    if let Some(sent_at) = row.sent_at {
        lines.push(format!("  {sent_at}  sent by {provider}, by its own clock"));
    }
    lines.push(match story.verified_by {
        0 => format!("  vouched    for by {provider}'s own interface, not by a signature"),
        secret => format!("  verified   by {provider}, secret {secret} of source {}", row.source),
    });
    let id = row.delivery_id.as_deref().unwrap_or("(no id)");
    lines.push(format!("  event      {} {}", printable(&row.event_type), printable(id)));
    lines.extend(notes(&row.notes).iter().map(|note| format!("  note       {}", printable(note))));
    for (index, history) in story.events.iter().enumerate() {
        lines.extend(meaning(index, history, story.events.len()));
    }
    if let Some(version) = &row.handled_by {
        lines.push(format!("  routed     by hookbell {}", printable(version)));
    }
    let mut happened: Vec<(Timestamp, String)> = Vec::new();
    for dispatch in &story.dispatches {
        happened.extend(dispatch.tries.iter().map(|attempt| (attempt.began_at, tried(dispatch, attempt))));
        happened.extend(dispatch.shown_at.map(|at| (at, format!("{}: the desk shows it", name(dispatch)))));
    }
    // Those of one moment stay in the order of their dispatches.
    happened.sort_by_key(|(at, _)| *at);
    lines.extend(happened.into_iter().map(|(at, what)| format!("  {at}  {what}")));
    if let Some(processed_at) = row.processed_at {
        lines.push(format!("  {processed_at}  nothing is owed any more"));
    }
    lines.extend(story.dispatches.iter().map(stands));
    lines
}

fn meaning(index: usize, history: &History, count: usize) -> Vec<String> {
    let event = &history.event;
    let number = if count > 1 { format!("{index}: ") } else { String::new() };
    let about = event.subject.as_deref().map(|subject| format!(", about {}", printable(subject))).unwrap_or_default();
    let rules: Vec<String> = history
        .rules
        .as_array()
        .into_iter()
        .flatten()
        .map(|rule| printable(rule.as_str().unwrap_or_default()))
        .collect();
    let rules = if rules.is_empty() { "none".to_owned() } else { rules.join(", ") };
    vec![
        format!(
            "  means      {number}{} ({}): {} in {} by {}{about}",
            printable(&event.kind),
            event.severity.name(),
            printable(&event.title),
            printable(&event.repository),
            printable(&event.actor)
        ),
        format!("  rules      {rules}"),
    ]
}

fn name(dispatch: &Dispatched) -> String {
    match &dispatch.channel {
        Some(channel) => format!("{}:{}", dispatch.sink, printable(channel)),
        None => dispatch.sink.clone(),
    }
}

fn tried(dispatch: &Dispatched, attempt: &Attempt) -> String {
    let answer = attempt.answer.as_deref().map(|answer| format!(": {}", printable(answer))).unwrap_or_default();
    let outcome = match attempt.outcome.as_str() {
        "retry" => "failed",
        "dead" => "gave up",
        outcome => outcome,
    };
    format!("{}: attempt {}, {outcome} after {} ms{answer}", name(dispatch), attempt.number, attempt.took_ms)
}

/// Where it stands, for what is not done yet or was never tried.
fn stands(dispatch: &Dispatched) -> String {
    let mut line = format!("  sink       {}: {}, attempts {}", name(dispatch), dispatch.status, dispatch.attempts);
    if let Some(digest) = &dispatch.digest {
        line.push_str(&format!(", in the digest of {}", printable(digest)));
    }
    if let Some(receipt) = &dispatch.receipt {
        line.push_str(&format!(", receipt: {}", printable(receipt)));
    }
    if let Some(error) = &dispatch.last_error {
        line.push_str(&format!(", last error: {}", printable(error)));
    }
    if let Some(next_at) = dispatch.next_at {
        line.push_str(&format!(", next at {next_at}"));
    }
    line
}
