//! ntfy: push messages to phones, by ntfy.sh or a server of one's own. Owns the message's shape, ntfy's limits and what its
//! answers mean; refuses to know how HTTP is spoken and when to try again.
//!
//! Source of the rules: docs.ntfy.sh, "Publishing": "Publish as JSON", "Message priority", "Tags & emojis", "Limitations".

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{
    Bundle, Outcome, Parcel, Probe, Sink,
    answers::{configuration, harmless, judge, no_answer, quote, transient, without},
    plain,
};
use crate::{
    allowance::{Allowance, Rate},
    event::Severity,
    http::{Answer, Client},
    secret::Secret,
};

/// Whom the answers are from, in reasons.
const WHO: &str = "ntfy";

/// Messages that may go out at once, after a rest: half of what ntfy grants, for others may use the same address.
const BURST: u32 = 30;

/// Of what it says about its health.
const PROBE_BYTES_MAX: u64 = 16 * 1024;

/// A message over 4096 bytes becomes an attachment, and a request over twice that is refused.
const LIST_BYTES_MAX: usize = 2_500;

/// What the configuration says.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The server.
    pub url: String,
    /// What phones subscribe to. On a server without accounts, who knows it can read along.
    pub topic: String,
    /// An access token, where the topic is not everybody's.
    pub token: Option<Secret>,
    /// Between two messages, after a burst.
    pub interval: Duration,
}

/// A topic as a sink.
pub struct Ntfy {
    settings: Settings,
    client: Client,
    allowance: Allowance,
}

impl Ntfy {
    /// Publishes as `settings` say.
    pub fn new(settings: Settings, client: Client) -> Ntfy {
        Ntfy { settings, client, allowance: Allowance::default() }
    }

    /// Whether the server is well. Whether it lets us publish only publishing tells.
    pub fn probe(&self) -> Probe {
        let url = format!("{}/v1/health", self.settings.url.trim_end_matches('/'));
        let answer = match self.client.get(&url, &[], PROBE_BYTES_MAX) {
            Ok(answer) => answer,
            Err(failure) => return no_answer(WHO, &failure).into(),
        };
        let said: Value = serde_json::from_str(&answer.body).unwrap_or_default();
        let outcome = match (answer.status, said["healthy"].as_bool()) {
            (200, Some(true)) => return Probe::done("the server is healthy".to_owned(), answer.date),
            (_, Some(false)) => transient("the server says that it is not healthy".to_owned()),
            _ => judged(&answer),
        };
        Probe { outcome, date: answer.date }
    }

    fn post(&self, message: &Value) -> Outcome {
        let Settings { url, token, .. } = &self.settings;
        let token = token.as_ref().map(Secret::expose);
        let bearer = token.map(|token| format!("Bearer {token}"));
        let headers: Vec<(&str, &str)> = bearer.iter().map(|bearer| ("Authorization", bearer.as_str())).collect();
        match self.client.post(url, "application/json", &headers, message.to_string().as_bytes()) {
            Ok(answer) => judged(&Answer { body: without(&answer.body, token.unwrap_or_default()), ..answer }),
            Err(failure) => no_answer(WHO, &failure),
        }
    }
}

impl Sink for Ntfy {
    fn take_turn(&mut self, _: &Parcel, now: Instant) -> Result<(), Duration> {
        self.allowance.take(Rate { every: self.settings.interval, burst: BURST }, now)
    }

    fn deliver(&mut self, parcel: &Parcel) -> Outcome {
        self.post(&message(&self.settings.topic, parcel))
    }

    fn deliver_bundle(&mut self, bundle: Bundle<'_>) -> Outcome {
        self.post(&list(&self.settings.topic, bundle))
    }
}

fn judged(answer: &Answer) -> Outcome {
    let body: Value = serde_json::from_str(&answer.body).unwrap_or_default();
    match (answer.status, body["id"].as_str()) {
        (200..=299, Some(id)) => Outcome::Done { receipt: Some(format!("message {}", harmless(id, 30))) },
        (401 | 403, _) => configuration(format!(
            "ntfy does not let us publish (status {}): {}; set `token` to one that may write to the topic",
            answer.status,
            quote(body["error"].as_str().unwrap_or(&answer.body))
        )),
        (200..=299, None) => configuration(format!(
            "this does not answer like ntfy (status {}); is `url` right? It says: {}",
            answer.status,
            quote(&answer.body)
        )),
        (404 | 405, _) => configuration(format!(
            "nothing takes messages there (status {}); set `url` to the server alone, as in https://ntfy.sh: {}",
            answer.status,
            quote(&answer.body)
        )),
        _ => judge(WHO, answer),
    }
}

/// Foreign text: ntfy's apps make a link of every address in it, unless it is broken.
fn text(raw: &str, units_max: usize) -> String {
    let before = Cell::new(' ');
    plain::cut(raw, units_max, &|c, out| {
        if c == '/' && before.get() == ':' {
            out.push('\u{200b}');
        }
        before.set(c);
        out.push(c);
    })
}

/// The emoji stands before the title, by ntfy's own short codes.
fn message(topic: &str, parcel: &Parcel) -> Value {
    let event = &parcel.event;
    let (headline, detail, footer) =
        (plain::headline(event, text), plain::detail(event, text), plain::footer(parcel, text));
    let said = if detail.is_empty() { footer } else { format!("{detail}\n{footer}") };
    publish(topic, event.severity, &headline, &said, plain::link(event))
}

fn list(topic: &str, bundle: Bundle<'_>) -> Value {
    let reference = text(&plain::reference(bundle), 200);
    let said = format!("{}\n{reference}", plain::list(bundle, text, LIST_BYTES_MAX));
    publish(topic, plain::severity(bundle), &plain::count(bundle), &said, None)
}

fn publish(topic: &str, severity: Severity, title: &str, message: &str, click: Option<&str>) -> Value {
    let (priority, tag) = match severity {
        Severity::Info => (3, "information_source"),
        Severity::Success => (3, "white_check_mark"),
        Severity::Warning => (4, "warning"),
        Severity::Failure => (5, "rotating_light"),
    };
    let mut said = json!({ "topic": topic, "title": title, "message": message, "priority": priority, "tags": [tag] });
    if let Some(click) = click {
        said["click"] = click.into();
    }
    said
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

    const TOKEN: &str = "tk_AgQdq7mVBoFD37zQVN29RhuMzNIz2";

    fn parcel() -> Parcel {
        let url = Some("https://github.com/acme/api/issues/7".to_owned());
        Parcel::of(Event { url, severity: Severity::Failure, ..Event::of("issue_opened") })
    }

    fn sink(url: String, token: Option<&str>) -> Ntfy {
        let token = token.map(|token| Secret::new(token.to_owned()).unwrap());
        Ntfy::new(Settings { url, topic: "desk".to_owned(), token, interval: Duration::ZERO }, Client::new())
    }

    fn answered(status: &str, body: &str, token: Option<&str>) -> (Outcome, Heard) {
        let length = body.len();
        let server = Server::start(&[Some(&format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}"))]);
        let outcome = sink(server.url("/"), token).deliver(&parcel());
        (outcome, server.heard().remove(0))
    }

    // As recorded from ntfy 2.
    const OK: &str =
        r#"{"id":"sPs71M8A2T","time":1763805600,"expires":1763848800,"event":"message","topic":"desk","message":"m"}"#;

    #[test]
    fn a_message_is_published_with_its_priority_and_link() {
        let (outcome, heard) = answered("200 OK", OK, Some(TOKEN));
        assert_eq!(outcome, Outcome::Done { receipt: Some("message sPs71M8A2T".to_owned()) });
        assert_eq!(
            (heard.line.as_str(), heard.header("authorization")),
            ("POST / HTTP/1.1", &*format!("Bearer {TOKEN}"))
        );
        assert_eq!(
            heard.json(),
            json!({
                "topic": "desk",
                "title": "New issue in acme/api",
                "message": "T by octocat\ngithub · ref-1",
                "priority": 5,
                "tags": ["rotating_light"],
                "click": "https://github.com/acme/api/issues/7",
            })
        );
        let (_, heard) = answered("200 OK", OK, None);
        assert_eq!(heard.header("authorization"), "");
    }

    #[test]
    fn many_are_told_in_one_that_fits() {
        for filler in ["🎉\"", ":/", "日"] {
            let huge = filler.repeat(5_000);
            let parcel = |number: usize| {
                // Each in a place of its own, so that each has a line.
                let repository = format!("{number}{huge}");
                let event = Event { title: huge.clone(), repository, actor: huge.clone(), ..Event::of("push") };
                Parcel { reference: huge.clone(), ..Parcel::of(event) }
            };
            let parcels: Vec<Parcel> = (0..100).map(parcel).collect();
            for said in [list("desk", Bundle { parcels: &parcels }), message("desk", &parcels[0])] {
                assert!(said["message"].as_str().unwrap().len() <= 4096);
                assert!(said.to_string().len() <= 8192, "{}", said.to_string().len());
            }
        }
        let said = list("desk", Bundle { parcels: &[parcel(), parcel()] });
        assert_eq!(said["title"], "2 events");
        assert_eq!(said["message"], "• 🐛 acme/api: 2 issues opened (T)\nref-1+1");
    }

    #[test]
    fn nothing_of_a_strangers_becomes_a_link() {
        let title = "see https://evil.example/a:b, HTTP:\u{202e}//x".to_owned();
        let parcel = Parcel::of(Event { title, repository: "ftp://x".to_owned(), ..Event::of("issue_opened") });
        let broken = "see https:\u{200b}//evil.example/a:b, HTTP:\u{200b}//x by octocat";
        let said = message("desk", &parcel);
        assert_eq!(said["message"], format!("{broken}\ngithub · ref-1"));
        assert_eq!(said["title"], "New issue in ftp:\u{200b}//x");
        let said = list("desk", Bundle { parcels: &[parcel.clone(), parcel] });
        let broken = "• 🐛 ftp:\u{200b}//x: 2 issues opened (see https:\u{200b}//evil.example/a:b, HTTP:\u{200b}//x)";
        assert_eq!(said["message"], format!("{broken}\nref-1+1"));
        assert!(!said.to_string().contains("://"), "{said}");
    }

    #[test]
    fn answers_are_judged_as_ntfy_means_them() {
        for (status, code, error) in [("401 X", 40101, "unauthorized"), ("403 X", 40301, "forbidden")] {
            let body =
                format!(r#"{{"code":{code},"http":1,"error":"{error}","link":"https://ntfy.sh/docs/publish/"}}"#);
            let (outcome, _) = answered(status, &body, Some(TOKEN));
            let Outcome::Retry { reason, fault: Fault::Configuration, .. } = outcome else { panic!("{outcome:?}") };
            assert!(reason.contains(error) && reason.contains("set `token`"), "{reason}");
        }
        let limited = r#"{"code":42901,"http":429,"error":"limit reached: too many requests"}"#;
        assert!(matches!(
            answered("429 X", limited, None).0,
            Outcome::Retry { fault: Fault::Busy, pause: Some(_), .. }
        ));
        assert!(matches!(answered("400 X", r#"{"code":40009}"#, None).0, Outcome::Dead { .. }));
        assert!(matches!(answered("507 X", "", None).0, Outcome::Retry { fault: Fault::Transient, .. }));
        // A page that says yes is no message.
        for (status, body, remedy) in [
            ("200 X", "<html>Log in</html>", "this does not answer like ntfy (status 200); is `url` right?"),
            ("204 X", "", "(status 204); is `url` right?"),
            ("404 X", r#"{"code":40401,"error":"page not found"}"#, "set `url` to the server alone"),
            ("405 X", "", "set `url` to the server alone"),
        ] {
            let (outcome, _) = answered(status, body, None);
            let Outcome::Retry { reason, fault: Fault::Configuration, .. } = outcome else { panic!("{outcome:?}") };
            assert!(reason.contains(remedy), "{reason}");
        }
        for status in ["200 X", "400 X", "401 X", "500 X"] {
            let (outcome, _) = answered(status, &format!("you sent {TOKEN}"), Some(TOKEN));
            assert!(!format!("{outcome:?}").contains("AgQdq7"), "{outcome:?}");
        }
    }
}
