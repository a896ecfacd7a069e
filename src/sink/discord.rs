//! Discord by webhook. Owns the message's shape, Discord's limits, its Markdown's escapes and what its answers mean;
//! refuses to know how HTTP is spoken and when to try again.
//!
//! Source of the rules: Discord's developer documentation, "Webhook Resource" (Execute Webhook), "Message Resource" (embed
//! limits), "Rate Limits" and "Opcodes and Status Codes".

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{
    Bundle, Outcome, Parcel, Sink,
    answers::{busy, configuration, harmless, judge, no_answer, without},
    plain,
};
use crate::{
    allowance::{Allowance, Rate},
    event::Severity,
    http::{Answer, Client},
    secret::Secret,
    time::Timestamp,
};

/// Whom the answers are from, in reasons.
const WHO: &str = "Discord";

/// Messages that may go out at once, after a rest: a webhook takes five in two seconds.
const BURST: u32 = 5;

/// Of an embed's 4096 units; a list beyond this is cut, and bytes are never fewer than units.
const LIST_BYTES_MAX: usize = 3_500;

/// The `code` of an answer: the webhook is gone, or its token is another.
const UNKNOWN_WEBHOOK: i64 = 10_015;
const INVALID_TOKEN: i64 = 50_027;

/// What the configuration says.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The webhook's URL: who has it can post.
    pub webhook_url: Secret,
    /// Between two messages, after a short burst.
    pub interval: Duration,
}

/// A Discord webhook as a sink.
pub struct Discord {
    settings: Settings,
    client: Client,
    allowance: Allowance,
}

impl Discord {
    /// Posts as `settings` say.
    pub fn new(settings: Settings, client: Client) -> Discord {
        Discord { settings, client, allowance: Allowance::default() }
    }

    /// With `wait`, Discord answers when the message is there, and with its id.
    fn post(&self, message: &Value) -> Outcome {
        let url = self.settings.webhook_url.expose();
        let between = if url.contains('?') { '&' } else { '?' };
        let address = format!("{url}{between}wait=true");
        match self.client.post(&address, "application/json", &[], message.to_string().as_bytes()) {
            Ok(answer) => judged(&Answer { body: without(&answer.body, url), ..answer }),
            Err(failure) => no_answer(WHO, &failure),
        }
    }
}

impl Sink for Discord {
    fn take_turn(&mut self, _: &Parcel, now: Instant) -> Result<(), Duration> {
        self.allowance.take(Rate { every: self.settings.interval, burst: BURST }, now)
    }

    fn deliver(&mut self, parcel: &Parcel) -> Outcome {
        self.post(&message(parcel))
    }

    fn deliver_bundle(&mut self, bundle: Bundle<'_>) -> Outcome {
        self.post(&list(bundle))
    }
}

/// The body says more than the status.
fn judged(answer: &Answer) -> Outcome {
    let body: Value = serde_json::from_str(&answer.body).unwrap_or_default();
    let code = body["code"].as_i64().unwrap_or_default();
    match answer.status {
        // More precise than the header, which is in whole seconds.
        429 => {
            let wish = body["retry_after"].as_f64().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
            busy(WHO, 429, wish.or(answer.retry_after))
        }
        404 if code == UNKNOWN_WEBHOOK || code == 0 => {
            configuration("the webhook is gone; make a new one and set DISCORD_WEBHOOK_URL".to_owned())
        }
        401 | 403 => {
            let what = if code == INVALID_TOKEN {
                "the webhook's token is wrong"
            } else {
                "Discord does not let the webhook post"
            };
            configuration(format!("{what} (status {}); copy its URL again and set DISCORD_WEBHOOK_URL", answer.status))
        }
        200..=299 => {
            let id = body["id"].as_str().map(|id| format!("message {}", harmless(id, 30)));
            Outcome::Done { receipt: Some(id.unwrap_or_else(|| answer.status.to_string())) }
        }
        _ => judge(WHO, answer),
    }
}

/// An embed: what happened and where, linked; then which and who.
fn message(parcel: &Parcel) -> Value {
    let event = &parcel.event;
    let title = format!("{} {}", plain::words(&event.kind).0, plain::headline(event, text));
    let footer = plain::footer(parcel, plain::text);
    embed(event.severity, &title, plain::link(event), &plain::detail(event, text), &footer, Some(parcel.received))
}

fn list(bundle: Bundle<'_>) -> Value {
    let footer = plain::text(&plain::reference(bundle), 200);
    let list = plain::list(bundle, text, LIST_BYTES_MAX);
    embed(plain::severity(bundle), &plain::count(bundle), None, &list, &footer, None)
}

/// Title, description and footer keep Discord's limits of 256, 4096 and 2048 where they are made.
fn embed(
    severity: Severity,
    title: &str,
    url: Option<&str>,
    description: &str,
    footer: &str,
    when: Option<Timestamp>,
) -> Value {
    json!({
        // Whatever somebody has written calls nobody.
        "allowed_mentions": { "parse": [] },
        "embeds": [{
            "title": title,
            "url": url,
            "description": description,
            "color": colour(severity),
            "footer": { "text": footer },
            "timestamp": when,
        }],
    })
}

fn colour(severity: Severity) -> u32 {
    match severity {
        Severity::Info => 0x0034_98db,
        Severity::Success => 0x002e_cc71,
        Severity::Warning => 0x00f1_c40f,
        Severity::Failure => 0x00e7_4c3c,
    }
}

/// Foreign text as it stands in Discord's Markdown: its marks escaped, its mentions and links broken.
fn text(raw: &str, units_max: usize) -> String {
    plain::cut(raw, units_max, &|c, out| match c {
        '\\' | '*' | '_' | '~' | '`' | '|' | '>' | '#' | '[' | ']' | '(' | ')' | '-' | '<' => out.extend(['\\', c]),
        // Neither a mention nor an address, nor an emoji, nor a link.
        '@' | ':' => out.extend([c, '\u{200b}']),
        c => out.push(c),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        event::Event,
        sink::{
            Fault,
            server::{Heard, Server},
        },
    };

    const PATH: &str = "/api/webhooks/123456789/TOKENTOKENTOKEN";

    fn sink(url: String) -> Discord {
        Discord::new(Settings { webhook_url: Secret::new(url).unwrap(), interval: Duration::ZERO }, Client::new())
    }

    fn parcel() -> Parcel {
        let url = Some("https://github.com/acme/api/issues/7".to_owned());
        let title = "**bold** @everyone <@1> [x](https://evil.example) `c`".to_owned();
        Parcel::of(Event { url, title, severity: Severity::Failure, ..Event::of("issue_opened") })
    }

    fn answered(status: &str, body: &str) -> (Outcome, Heard) {
        let length = body.len();
        let server = Server::start(&[Some(&format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}"))]);
        let outcome = sink(server.url(PATH)).deliver(&parcel());
        (outcome, server.heard().remove(0))
    }

    #[test]
    fn an_embed_says_it_and_calls_nobody() {
        // As recorded: an answer to a message that was waited for.
        let (outcome, heard) = answered("200 OK", r#"{"id":"1401234567890123456","type":0,"content":""}"#);
        assert_eq!(outcome, Outcome::Done { receipt: Some("message 1401234567890123456".to_owned()) });
        assert_eq!(heard.line, format!("POST {PATH}?wait=true HTTP/1.1"));
        let said = heard.json();
        assert_eq!(said["allowed_mentions"], json!({ "parse": [] }));
        let embed = &said["embeds"][0];
        assert_eq!(embed["title"], "🐛 New issue in acme/api");
        assert_eq!(embed["url"], "https://github.com/acme/api/issues/7");
        assert_eq!(embed["color"], 0x00e7_4c3c);
        assert_eq!(embed["footer"]["text"], "github · ref-1");
        assert_eq!(embed["timestamp"], "1970-01-01T00:00:00.000Z");
        assert_eq!(
            embed["description"],
            "\\*\\*bold\\*\\* @\u{200b}everyone \\<@\u{200b}1\\> \\[x\\]\\(https:\u{200b}//evil.example\\) \\`c\\` by octocat"
        );
    }

    #[test]
    fn the_largest_embed_keeps_the_limits() {
        for filler in ["x", "*", "🎉", "@"] {
            let huge = filler.repeat(50_000);
            let event =
                Event { title: huge.clone(), repository: huge.clone(), actor: huge.clone(), ..Event::of("push") };
            let parcel = Parcel { reference: huge, ..Parcel::of(event) };
            let parcels = vec![parcel.clone(); 200];
            for said in [message(&parcel), list(Bundle { parcels: &parcels })] {
                let embed = &said["embeds"][0];
                for (name, units_max) in [("title", 256), ("description", 4096)] {
                    let units = embed[name].as_str().unwrap().encode_utf16().count();
                    assert!(units <= units_max, "{name}: {units}");
                }
                assert!(embed["footer"]["text"].as_str().unwrap().encode_utf16().count() <= 2048);
            }
        }
    }

    #[test]
    fn many_are_told_in_one() {
        let server = Server::start(&[Some("HTTP/1.1 204 No Content\r\n\r\n")]);
        let parcels = [parcel(), Parcel { reference: "ref-2".to_owned(), ..Parcel::of(Event::of("pr_merged")) }];
        let outcome = sink(server.url(&format!("{PATH}?thread_id=5"))).deliver_bundle(Bundle { parcels: &parcels });
        assert_eq!(outcome, Outcome::Done { receipt: Some("204".to_owned()) });
        let heard = server.heard().remove(0);
        assert_eq!(heard.line, format!("POST {PATH}?thread_id=5&wait=true HTTP/1.1"));
        let embed = &heard.json()["embeds"][0];
        assert_eq!((&embed["title"], &embed["footer"]["text"]), (&"2 events".into(), &"ref-1+1".into()));
        assert!(
            embed["description"].as_str().unwrap().ends_with("\n• ✅ Pull request merged in acme/api: T by octocat")
        );
    }

    #[test]
    fn answers_are_judged_as_discord_means_them() {
        let limited = r#"{"message": "You are being rate limited.", "retry_after": 64.57, "global": false}"#;
        let (outcome, _) = answered("429 X\r\nRetry-After: 65", limited);
        let wish = Some(Duration::from_secs_f64(64.57));
        assert!(matches!(&outcome, Outcome::Retry { pause, fault: Fault::Busy, .. } if *pause == wish), "{outcome:?}");
        for (status, body, remedy) in [
            ("404 X", r#"{"message": "Unknown Webhook", "code": 10015}"#, "make a new one"),
            ("401 X", r#"{"message": "Invalid Webhook Token", "code": 50027}"#, "token is wrong"),
            ("403 X", "error code: 1010", "copy its URL again"),
        ] {
            let (outcome, _) = answered(status, body);
            let Outcome::Retry { reason, fault: Fault::Configuration, .. } = outcome else { panic!("{outcome:?}") };
            assert!(reason.contains(remedy), "{reason}");
        }
        let (outcome, _) = answered("400 X", r#"{"message": "Cannot send an empty message", "code": 50006}"#);
        assert!(matches!(&outcome, Outcome::Dead { reason } if reason.contains("50006")), "{outcome:?}");
        assert!(matches!(answered("502 X", "").0, Outcome::Retry { fault: Fault::Transient, .. }));
    }

    #[test]
    fn no_reason_and_no_receipt_contains_the_token() {
        for status in ["200 X", "400 X", "404 X", "500 X"] {
            let (outcome, _) = answered(status, &format!("see {PATH} or TOKENTOKENTOKEN"));
            assert!(!format!("{outcome:?}").contains("TOKENTOKEN"), "{outcome:?}");
        }
        let server = Server::start(&[None]);
        let outcome = sink(server.url(PATH)).deliver(&parcel());
        assert!(!format!("{outcome:?}").contains("TOKENTOKEN"), "{outcome:?}");
    }
}
