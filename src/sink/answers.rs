//! What the answers of HTTP destinations have in common: which come again, which never, and how they are quoted. Owns the
//! usual reading of a status; refuses to know any destination's own words.

use std::time::Duration;

use super::{Fault, Outcome, slack::mrkdwn::turns_text};
use crate::http::{Answer, Failure};

/// The pause after a 429 that does not say how long.
const PAUSE_DEFAULT: Duration = Duration::from_secs(30);
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// No answer, however odd, silences the sink for longer.
const PAUSE_MAX: Duration = Duration::from_secs(60 * 60);

const QUOTE_CHARS_MAX: usize = 200;
const RECEIPT_CHARS_MAX: usize = 100;

/// What is shorter tells nothing, and hiding it would garble every text: of a URL and its path, of one segment of the path
/// but the last, and of a token or password.
const URL_BYTES_MIN: usize = 8;
const SEGMENT_BYTES_MIN: usize = 16;
const TOKEN_BYTES_MIN: usize = 4;

/// What the answer means, read as most destinations mean it: 2xx is done, 429 and a 503 with `Retry-After` ask to wait,
/// what else a server fails at may go well the next time, and what it refuses it always will.
pub(super) fn judge(who: &str, answer: &Answer) -> Outcome {
    let Answer { status, retry_after, body, .. } = answer;
    let reason = format!("{who} answered {status}: {}", quote(body));
    match status {
        200..=299 => Outcome::Done { receipt: Some(receipt(*status, body)) },
        429 => busy(who, *status, *retry_after),
        503 if retry_after.is_some() => busy(who, *status, *retry_after),
        300..=399 => {
            transient(format!("{who} answered {status}: redirects are not followed; set `url` to where it leads"))
        }
        408 | 425 | 500..=599 => transient(reason),
        _ => Outcome::Dead { reason },
    }
}

/// It is well and wants to be left alone for a while.
pub(super) fn busy(who: &str, status: u16, wish: Option<Duration>) -> Outcome {
    let pause = wish.unwrap_or(PAUSE_DEFAULT).clamp(PAUSE_MIN, PAUSE_MAX);
    let reason = format!("{who} asks us to slow down (status {status})");
    Outcome::Retry { reason, pause: Some(pause), fault: Fault::Busy }
}

pub(super) fn transient(reason: String) -> Outcome {
    Outcome::Retry { reason, pause: None, fault: Fault::Transient }
}

/// Somebody has to repair something: the breaker opens, and nothing is lost meanwhile.
pub(super) fn configuration(reason: String) -> Outcome {
    Outcome::Retry { reason, pause: None, fault: Fault::Configuration }
}

/// What became of a message that got no answer. The destination may have taken it; its reference tells a repeat.
pub(super) fn no_answer(who: &str, failure: &Failure) -> Outcome {
    let doubt = if failure.may_have_arrived() { " (the message may have arrived)" } else { "" };
    transient(harmless(&format!("{who} could not be reached: {failure}{doubt}"), QUOTE_CHARS_MAX))
}

/// The status, and the first words.
fn receipt(status: u16, body: &str) -> String {
    let words = harmless(body, RECEIPT_CHARS_MAX);
    if words.is_empty() { status.to_string() } else { format!("{status} {words}") }
}

pub(super) fn quote(body: &str) -> String {
    let quote = harmless(body, QUOTE_CHARS_MAX);
    if quote.is_empty() { "(empty)".to_owned() } else { quote }
}

/// Reasons and receipts end in logs and terminals: one line, no control characters, nothing that turns text, and not a
/// proxy's whole page.
pub(super) fn harmless(text: &str, chars_max: usize) -> String {
    let mut shown = String::new();
    let mut chars = 0;
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()) {
        let word: String = word.chars().filter(|c| !turns_text(*c)).collect();
        if word.is_empty() {
            continue;
        }
        if !shown.is_empty() {
            shown.push(' ');
            chars += 1;
        }
        for c in word.chars() {
            if chars >= chars_max {
                shown.truncate(shown.trim_end().len());
                return shown;
            }
            shown.push(c);
            chars += 1;
        }
    }
    shown
}

/// `text` with a secret hidden: a URL that is one, with what tells it (its path, the last segment, every long one), or a
/// token or password.
pub(super) fn without(text: &str, secret: &str) -> String {
    let hide = |text: String, part: &str, bytes_min: usize| match part.len() >= bytes_min {
        true => text.replace(part, "(hidden)"),
        false => text,
    };
    let Some((_, bare)) = secret.split_once("://") else { return hide(text.to_owned(), secret, TOKEN_BYTES_MIN) };
    let path = bare.find('/').map_or("", |at| &bare[at..]);
    let path = path.split('?').next().unwrap_or_default();
    let stem = path.trim_end_matches('/');
    // The longest first: a part that is hidden would hide the whole from being found.
    let mut hidden = text.to_owned();
    for part in [secret, bare, path, stem, stem.rsplit('/').next().unwrap_or_default()] {
        hidden = hide(hidden, part, URL_BYTES_MIN);
    }
    stem.split('/').fold(hidden, |hidden, segment| hide(hidden, segment, SEGMENT_BYTES_MIN))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str, retry_after: Option<u64>) -> Answer {
        Answer { retry_after: retry_after.map(Duration::from_secs), ..Answer::of(status, body) }
    }

    #[test]
    fn statuses_mean_what_they_mostly_mean() {
        let judge = |status, seconds| super::judge("it", &answer(status, "", seconds));
        for status in [200, 201, 202, 204, 299] {
            assert!(matches!(judge(status, None), Outcome::Done { .. }), "{status}");
        }
        let busy = |outcome, seconds| {
            let wish = Some(Duration::from_secs(seconds));
            assert!(
                matches!(&outcome, Outcome::Retry { pause, fault: Fault::Busy, .. } if *pause == wish),
                "{outcome:?}"
            );
        };
        busy(judge(429, None), 30);
        busy(judge(429, Some(7)), 7);
        busy(judge(429, Some(0)), 1);
        busy(judge(503, Some(1_000_000)), 3600);
        for status in [301, 302, 307, 308, 408, 425, 500, 502, 503, 504, 599] {
            let transient = matches!(judge(status, None), Outcome::Retry { pause: None, fault: Fault::Transient, .. });
            assert!(transient, "{status}");
        }
        for status in [400, 401, 403, 404, 405, 409, 410, 413, 415, 418, 422] {
            assert!(matches!(judge(status, None), Outcome::Dead { .. }), "{status}");
        }
    }

    #[test]
    fn quotes_are_short_and_harmless() {
        let body = format!("\u{1b}[2J  a\r\nb \u{202e}c {}", "é".repeat(5_000));
        assert!(harmless(&body, 20).starts_with("[2J a b c éé"));
        assert_eq!(harmless(&body, 20).chars().count(), 20);
        assert_eq!(harmless("ab cd", 3), "ab");
        assert_eq!(harmless(" \n\0 ", 3), "");
        let Outcome::Done { receipt } = judge("it", &answer(202, &body, None)) else { panic!() };
        assert!(receipt.unwrap().chars().count() <= 104);
        assert_eq!(judge("it", &answer(204, "", None)), Outcome::Done { receipt: Some("204".to_owned()) });
        let Outcome::Dead { reason } = judge("it", &answer(400, "", None)) else { panic!() };
        assert_eq!(reason, "it answered 400: (empty)");
    }

    #[test]
    fn secrets_are_hidden_whole_and_in_parts() {
        let url = "https://discord.com/api/webhooks/1/SECRETTOKEN?thread_id=7";
        let text = format!("{url}; discord.com/api/webhooks/1/SECRETTOKEN; /api/webhooks/1/SECRETTOKEN; SECRETTOKEN");
        let shown = without(&text, url);
        assert!(!shown.contains("SECRET") && !shown.contains("webhooks/1"), "{shown}");
        assert_eq!(without("Bearer tk_abcdefgh", "tk_abcdefgh"), "Bearer (hidden)");
        assert_eq!(without("a/b", "http://127.0.0.1:9/"), "a/b");
        // Discord's form for senders that speak Slack's, and a slash at the end.
        for url in [
            "https://discord.com/api/webhooks/1/SECRETTOKENTOKEN/slack",
            "https://discord.com/api/webhooks/1/SECRETTOKENTOKEN/",
            "https://x.example/SECRETTOKENTOKEN/SECRETTOO/?a=b",
        ] {
            let shown = without(&format!("{url}, no SECRETTOKENTOKEN here, at {}", url.trim_end_matches('/')), url);
            assert!(!shown.contains("SECRET"), "{shown}");
        }
        assert_eq!(without("no slack: hunter2 is wrong", "hunter2"), "no slack: (hidden) is wrong");
        assert_eq!((without("abcd", "abcd"), without("abc", "abc")), ("(hidden)".to_owned(), "abc".to_owned()));
        assert_eq!(without("text", ""), "text");
    }
}
