//! `check --explain`: where a delivery goes by today's rules, and why. Owns what is shown; the reasons are `rule`'s.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::{Failure, Global, print_json, print_line, source_named, table::printable, verify::Recorded};
use crate::{
    config::{Settings, show_duration},
    event::{CI_FIXED, CI_PASSED, Event},
    headers::Headers,
    provider::{self, Context, Normalised, Options, Provider},
    rule::{self, Explained, Route, Target},
    schedule::LocalTime,
    store::Reader,
    time::{Clock, SystemClock, Timestamp},
};

/// What is explained.
struct Request {
    /// In words: `delivery 17`, or the file.
    what: String,
    source: String,
    provider: Provider,
    event_type: String,
    headers: Headers,
    body: Vec<u8>,
    received: Option<Timestamp>,
    /// As what its events were told, where the store has that.
    first_kinds: Vec<Option<String>>,
}

/// Explains a stored delivery by its number, or a recorded request by its file. Needs no secret, and proves nothing.
pub(super) fn explain(
    global: &Global,
    what: &str,
    source: Option<&str>,
    at: Option<Timestamp>,
    as_json: bool,
) -> Result<(), Failure> {
    let settings = global.load_for_reading()?;
    let request = match what.parse::<i64>() {
        Ok(_) if source.is_some() => {
            let what = "--source is for a recorded request; a stored delivery has its source";
            return Err(Failure::Usage(what.to_owned()));
        }
        Ok(id) => stored(&settings, id)?,
        Err(_) => recorded(&settings, Path::new(what), source)?,
    };
    let at = at.or(request.received).unwrap_or_else(|| SystemClock.wall());
    let local = settings.zone.local(at);
    let options = settings.sources.get(&request.source).map_or(&Options::NONE, |source| &source.terms.options);
    let context = Context { provider: request.provider, source: &request.source, options };
    let (events, note) = match provider::normalise(&context, &request.event_type, &request.headers, &request.body) {
        Normalised::Events(events) | Normalised::Partly { events, .. } => (events, None),
        Normalised::Skipped(why) => (Vec::new(), Some(format!("skipped: {why}"))),
        Normalised::Undecodable(why) => (Vec::new(), Some(format!("cannot be read: {why}"))),
    };
    let events: Vec<Event> = events
        .into_iter()
        .take(provider::EVENTS_MAX)
        .enumerate()
        .map(|(position, mut event)| {
            // What came before it is not known any more; as what it was told is.
            let first = request.first_kinds.get(position).and_then(Option::as_deref);
            if event.kind == CI_PASSED && first == Some(CI_FIXED) {
                event.kind = CI_FIXED.to_owned();
            }
            event
        })
        .collect();
    if as_json {
        return print_json(&json!({
            "source": request.source,
            "event_type": request.event_type,
            "at": at,
            "local": local.to_string(),
            "note": note,
            "events": events.iter().map(|event| event_json(&settings, event, local)).collect::<Result<Vec<_>, _>>()?,
        }));
    }
    let zone = settings.zone.name().map(|name| format!(" in {name}")).unwrap_or_default();
    let (source, event_type) = (printable(&request.source), printable(&request.event_type));
    print_line(&format!("{} · {source} · {event_type} · as of {at}, {local}{zone}", request.what))?;
    if let Some(note) = note {
        return print_line(&printable(&note));
    }
    events.iter().try_for_each(|event| print_event(&settings, event, local))
}

fn stored(settings: &Settings, id: i64) -> Result<Request, Failure> {
    let reader = Reader::open(&settings.store.path)?;
    let (Some(story), Some(request)) = (reader.show(id)?, reader.request(id)?) else {
        let what = format!("there is no delivery {id}; `hookbell deliveries list` shows those there are");
        return Err(Failure::Failed(what));
    };
    let provider = Provider::from_name(&story.provider).ok_or_else(|| {
        Failure::Failed(format!("delivery {id} is {}'s, which this version does not know", printable(&story.provider)))
    })?;
    let first_kinds = (0..story.events.len()).map(|position| reader.first_kind(id, position));
    Ok(Request {
        what: format!("delivery {id}"),
        source: story.row.source,
        provider,
        event_type: story.row.event_type,
        headers: request.headers,
        body: request.body,
        received: Some(story.row.received_at),
        first_kinds: first_kinds.collect::<Result<_, _>>()?,
    })
}

fn recorded(settings: &Settings, file: &Path, source: Option<&str>) -> Result<Request, Failure> {
    let recorded = Recorded::read(file)?;
    let received = recorded.received_at(file)?;
    let request = recorded.request(file)?;
    let name = match (source, source_called(&request.target)) {
        (Some(name), _) | (None, Some(name)) => name.to_owned(),
        (None, None) => {
            let what = format!("the url of {} names no source; say --source", file.display());
            return Err(Failure::Usage(what));
        }
    };
    let terms = &source_named(settings, &name)?.terms;
    let event_type = provider::event_type(terms, &request)
        .map_err(|why| Failure::Failed(format!("{} does not say what it is: {why}", file.display())))?;
    Ok(Request {
        what: file.display().to_string(),
        source: name,
        provider: terms.provider,
        event_type,
        headers: request.headers,
        body: request.body,
        received,
        first_kinds: Vec::new(),
    })
}

/// The source that a path or a whole URL calls: `/webhooks/NAME`.
fn source_called(url: &str) -> Option<&str> {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    let (_, name) = path.split_once("/webhooks/").or_else(|| path.split_once("/webhook/"))?;
    Some(name.trim_end_matches('/')).filter(|name| !name.is_empty() && !name.contains('/'))
}

fn event_json(settings: &Settings, event: &Event, now: LocalTime) -> Result<Value, Failure> {
    let Route { to, severity, cue, matched: _ } = rule::route(&settings.rules, event, now);
    let rules = rule::explain(&settings.rules, event, now).into_iter().map(|explained| {
        let Explained { rule, is_matched, why } = explained;
        json!({ "rule": rule, "matched": is_matched, "why": why })
    });
    let target = |target: &Target| {
        let digest = target.digest.as_ref().map(|digest| show_duration(digest.window));
        json!({ "sink": target.sink, "channel": target.channel, "digest": digest })
    };
    let raised = severity.map_or(event.severity, |least| event.severity.max(least));
    let value = serde_json::to_value(event).map_err(|error| Failure::Failed(format!("cannot make JSON: {error}")))?;
    let mut map = match value {
        Value::Object(map) => map,
        _ => Map::new(),
    };
    map.insert("severity".to_owned(), raised.name().into());
    map.insert("rules".to_owned(), rules.collect());
    map.insert("to".to_owned(), to.iter().map(target).collect());
    map.insert("cue".to_owned(), cue.into());
    Ok(Value::Object(map))
}

fn print_event(settings: &Settings, event: &Event, now: LocalTime) -> Result<(), Failure> {
    let Event { kind, source: _, provider, actor, repository, title, url, severity, subject, extra, own_id: _ } = event;
    print_line("")?;
    print_line(kind)?;
    let own = [
        ("provider", Some(provider)),
        ("actor", Some(actor)),
        ("repository", Some(repository)),
        ("title", Some(title)),
        ("url", url.as_ref()),
        ("subject", subject.as_ref()),
    ];
    let field = |name: &str, value: &str| print_line(&format!("  {name:<14}{}", printable(value)));
    for (name, value) in own.into_iter().filter_map(|(name, value)| Some((name, value?))) {
        field(name, value)?;
    }
    field("severity", severity.name())?;
    for (name, fact) in extra {
        field(name, &fact.to_string().replace('\n', ", "))?;
    }
    for explained in rule::explain(&settings.rules, event, now) {
        let verdict = match (explained.is_matched, explained.why) {
            (true, None) => "matches".to_owned(),
            (true, Some(why)) => format!("matches, but is {why}"),
            (false, why) => why.unwrap_or_default(),
        };
        print_line(&format!("  {}: {}", printable(&explained.rule), printable(&verdict)))?;
    }
    let route = rule::route(&settings.rules, event, now);
    if route.to.is_empty() {
        return print_line("  → nowhere");
    }
    for target in &route.to {
        let channel = target.channel.as_ref().map(|channel| format!(", channel {channel}")).unwrap_or_default();
        let digest = target.digest.as_ref().map_or_else(String::new, |digest| {
            format!(", collected for {} under {:?}", show_duration(digest.window), digest.group)
        });
        print_line(&printable(&format!("  → {}{channel}{digest}", target.sink)))?;
    }
    if let Some(cue) = &route.cue {
        print_line(&format!("  cue {}", printable(cue)))?;
    }
    match route.severity.filter(|least| least > severity) {
        Some(least) => print_line(&format!("  severity {}, raised by a rule", least.name())),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_its_source() {
        let check = |url: &str, expected: Option<&str>| assert_eq!(source_called(url), expected, "{url}");
        check("/webhooks/github", Some("github"));
        check("https://hooks.example.com/webhooks/shop?x=1", Some("shop"));
        check("/webhook/github/", Some("github"));
        check("/webhooks/", None);
        check("/hooks/github", None);
        check("", None);
    }
}
