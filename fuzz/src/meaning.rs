//! What a delivery means under any body, for every provider.

use hookbell::{
    event::{CI_FIXED, Event},
    provider::{Context, FACTS, KINDS, Normalised, normalise},
};

use super::sender::{Sent, variant};

/// Longest texts of an event: titles and names, and links.
const TEXT_CHARS_MAX: usize = 300;
const URL_BYTES_MAX: usize = 2000;

/// The input is a request; see [`Sent`]. The word is the event type.
pub fn check(input: &[u8]) {
    let Sent { provider, word, request } = Sent::read(input);
    let options = variant(word);
    let context = Context { provider, source: "door", options: &options };
    let meant = normalise(&context, word, &request.headers, &request.body);
    assert_eq!(meant, normalise(&context, word, &request.headers, &request.body), "{provider}: not the same again");
    match meant {
        Normalised::Partly { events, unread } => {
            assert!(unread > 0, "{provider}: all of it was read");
            events.iter().for_each(|event| judge(provider.name(), event));
        }
        Normalised::Events(events) => {
            assert!(!events.is_empty(), "{provider}: no event is no meaning");
            events.iter().for_each(|event| judge(provider.name(), event));
        }
        Normalised::Skipped(why) | Normalised::Undecodable(why) => {
            assert!(is_line(&why, 1000), "{provider}: {why:?}");
        }
    }
}

/// What sinks rely on.
fn judge(provider: &str, event: &Event) {
    assert!(KINDS.contains(&event.kind.as_str()) && event.kind != CI_FIXED, "{event:?}");
    assert_eq!((event.provider.as_str(), event.source.as_str()), (provider, "door"));
    let texts = [
        Some(&event.actor),
        Some(&event.repository),
        Some(&event.title),
        event.subject.as_ref(),
        event.own_id.as_ref(),
    ];
    for text in texts.into_iter().flatten() {
        assert!(is_line(text, TEXT_CHARS_MAX), "{text:?} in {event:?}");
    }
    if let Some(url) = &event.url {
        assert!(url.starts_with("https://") || url.starts_with("http://"), "{event:?}");
        assert!(url.len() <= URL_BYTES_MAX && is_line(url, URL_BYTES_MAX), "{event:?}");
    }
    for (name, fact) in &event.extra {
        assert!(FACTS.contains(&name.as_str()), "{event:?}");
        // Lists of labels are as long as they are: a rule must see the last one too.
        let fact = fact.to_string();
        let is_good = match name.as_str() {
            "paths" => fact.split('\n').all(|path| is_line(path, TEXT_CHARS_MAX)),
            _ => is_line(&fact, usize::MAX),
        };
        assert!(is_good, "{name} in {event:?}");
    }
}

/// Whether it is one line that says something.
fn is_line(text: &str, chars_max: usize) -> bool {
    !text.trim().is_empty() && text.chars().count() <= chars_max && !text.chars().any(char::is_control)
}
