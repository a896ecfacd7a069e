//! Discord by webhook. Owns the message's shape, Discord's limits, its Markdown's escapes and what its answers mean;
//! refuses to know how HTTP is spoken and when to try again.
//!
//! Source of the rules: Discord's developer documentation, "Webhook Resource" (Execute Webhook), "Message Resource" (embed
//! limits), "Rate Limits" and "Opcodes and Status Codes".

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{
    Bundle, Outcome, Parcel, Probe, Sink,
    answers::{busy, configuration, harmless, judge, no_answer, quote, without},
    plain, words,
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

/// Of what a webhook tells about itself.
const PROBE_BYTES_MAX: u64 = 16 * 1024;

/// Of an embed's 4096 units; a list beyond this is cut, and bytes are never fewer than units.
const LIST_BYTES_MAX: usize = 3_500;

/// Of a plain message: 2000 units, and a list leaves room for what stands around it.
const CONTENT_UNITS_MAX: usize = 2_000;
const CONTENT_LIST_BYTES_MAX: usize = 1_500;

/// The `flags` of a message: no link in it brings a preview.
const SUPPRESS_EMBEDS: u32 = 1 << 2;

/// The `code` of an answer.
const UNKNOWN_CHANNEL: i64 = 10_003;
const INVALID_TOKEN: i64 = 50_027;
const ARCHIVED_THREAD: i64 = 50_083;
const LOCKED_THREAD: i64 = 160_005;
/// A forum wants to know the thread; not two of them; and only a forum takes a new one's name.
const FORUM_FIRST: i64 = 220_001;
const FORUM_LAST: i64 = 220_003;

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

    /// Whether the webhook is there: it tells about itself to whoever has its URL.
    pub fn probe(&self) -> Probe {
        let url = self.settings.webhook_url.expose();
        let answer = match self.client.get(url, &[], PROBE_BYTES_MAX) {
            Ok(answer) => Answer { body: without(&answer.body, url), ..answer },
            Err(failure) => return no_answer(WHO, &failure).into(),
        };
        let outcome = match judged(&answer) {
            Outcome::Done { .. } => {
                let said: Value = serde_json::from_str(&answer.body).unwrap_or_default();
                let name = harmless(said["name"].as_str().unwrap_or("(unnamed)"), 80);
                return Probe::done(format!("the webhook is there: {name}"), answer.date);
            }
            outcome => outcome,
        };
        Probe { outcome, date: answer.date }
    }

    fn post(&self, message: &Value) -> Result<Answer, Outcome> {
        let url = self.settings.webhook_url.expose();
        match self.client.post(&awaited(url), "application/json", &[], message.to_string().as_bytes()) {
            Ok(answer) => Ok(Answer { body: without(&answer.body, url), ..answer }),
            Err(failure) => Err(no_answer(WHO, &failure)),
        }
    }

    /// A plain message is better than none, and its receipt tells that the embed needs a look.
    fn try_both_forms(&self, embed: &Value, plain: impl FnOnce() -> Value) -> Result<Outcome, Outcome> {
        let refused = self.post(embed)?;
        let outcome = judged(&refused);
        if refused.status != 400 || !matches!(outcome, Outcome::Dead { .. }) {
            return Ok(outcome);
        }
        Ok(match judged(&self.post(&plain())?) {
            Outcome::Done { receipt } => {
                let receipt = receipt.unwrap_or_default();
                Outcome::Done {
                    receipt: Some(format!("{receipt} (as plain text after 400: {})", quote(&refused.body))),
                }
            }
            other => other,
        })
    }
}

/// The webhook's URL with `wait`: so Discord answers when the message is there, and with its id.
fn awaited(url: &str) -> String {
    let (address, query) = url.split_once('?').unwrap_or((url, ""));
    let mut address = format!("{address}?");
    for pair in query.split('&').filter(|pair| !pair.is_empty() && !pair.starts_with("wait=")) {
        address += pair;
        address.push('&');
    }
    address + "wait=true"
}

impl Sink for Discord {
    fn take_turn(&mut self, _: &Parcel, now: Instant) -> Result<(), Duration> {
        self.allowance.take(Rate { every: self.settings.interval, burst: BURST }, now)
    }

    /// At most two posts, so within twice the time-out of one.
    fn deliver(&mut self, parcel: &Parcel) -> Outcome {
        match self.try_both_forms(&message(parcel), || plain_message(parcel)) {
            Ok(outcome) | Err(outcome) => outcome,
        }
    }

    fn deliver_bundle(&mut self, bundle: Bundle<'_>) -> Outcome {
        match self.try_both_forms(&list(bundle), || plain_list(bundle)) {
            Ok(outcome) | Err(outcome) => outcome,
        }
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
        400..=499 if code == UNKNOWN_CHANNEL => configuration(format!(
            "the webhook's channel or thread is gone (status {}); mend `thread_id` in DISCORD_WEBHOOK_URL, or make a new \
             webhook",
            answer.status
        )),
        400..=499 if matches!(code, ARCHIVED_THREAD | LOCKED_THREAD) => configuration(format!(
            "the thread is archived or locked (status {}, {code}); open it again, or set another `thread_id` in \
             DISCORD_WEBHOOK_URL",
            answer.status
        )),
        400..=499 if (FORUM_FIRST..=FORUM_LAST).contains(&code) => configuration(format!(
            "{} (status {}, {code}); a forum needs a thread: end DISCORD_WEBHOOK_URL in ?thread_id= and its id",
            quote(body["message"].as_str().unwrap_or_default()),
            answer.status
        )),
        404 | 405 => configuration(format!(
            "the webhook is gone (status {}); make a new one and set DISCORD_WEBHOOK_URL",
            answer.status
        )),
        401 | 403 => {
            let what = if code == INVALID_TOKEN {
                "the webhook's token is wrong"
            } else {
                "Discord does not let the webhook post"
            };
            configuration(format!("{what} (status {}); copy its URL again and set DISCORD_WEBHOOK_URL", answer.status))
        }
        200..=299 => match body["id"].as_str() {
            Some(id) => Outcome::Done { receipt: Some(format!("message {}", harmless(id, 30))) },
            None => configuration(format!(
                "this does not answer like Discord (status {}); is DISCORD_WEBHOOK_URL right? It says: {}",
                answer.status,
                quote(&answer.body)
            )),
        },
        _ => judge(WHO, answer),
    }
}

/// An embed: what happened and where, linked; then which and who.
fn message(parcel: &Parcel) -> Value {
    let event = &parcel.event;
    let title = format!("{} {}", words::of(&event.kind).emoji, plain::headline(event, text));
    let footer = plain::footer(parcel, plain::text);
    let (link, detail) = (plain::link(event), plain::detail(event, text));
    // Discord refuses the whole message for the URL of a host that only the local network knows.
    let (url, description) = match link {
        Some(link) if !plain::is_qualified(link) => (None, format!("{detail}\n`{link}`")),
        link => (link, detail),
    };
    embed(event.severity, &title, url, description.trim_start(), &footer, Some(parcel.received))
}

fn list(bundle: Bundle<'_>) -> Value {
    let footer = plain::text(&plain::reference(bundle), 200);
    let list = plain::list(bundle, text, LIST_BYTES_MAX);
    embed(plain::severity(bundle), &plain::count(bundle), None, &list, &footer, None)
}

/// The plainest form: nothing that Discord could find wrong in it.
fn plain_message(parcel: &Parcel) -> Value {
    let event = &parcel.event;
    let (said, footer) = (plain::sentence(event, text), plain::footer(parcel, text));
    // `plain::link` lets neither mark through, so that it ends where it should; a stranger's part of it is no markup.
    let link = plain::link(event)
        .map(|link| if plain::is_qualified(link) { format!("<{link}>") } else { format!("`{link}`") });
    let whole = link.map(|link| format!("{said}\n{link}\n{footer}"));
    let fits = whole.filter(|whole| whole.encode_utf16().count() <= CONTENT_UNITS_MAX);
    content(&fits.unwrap_or_else(|| format!("{said}\n{footer}")))
}

fn plain_list(bundle: Bundle<'_>) -> Value {
    let list = plain::list(bundle, text, CONTENT_LIST_BYTES_MAX);
    content(&format!("{}\n{list}\n{}", plain::count(bundle), text(&plain::reference(bundle), 200)))
}

fn content(content: &str) -> Value {
    json!({ "allowed_mentions": { "parse": [] }, "content": content, "flags": SUPPRESS_EMBEDS })
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

    // As recorded: an answer to a message that was waited for.
    const OK: &str = r#"{"id":"1401234567890123456","type":0,"content":""}"#;

    const PATH: &str = "/api/webhooks/123456789/TOKENTOKENTOKEN";

    fn sink(url: String) -> Discord {
        Discord::new(Settings { webhook_url: Secret::new(url).unwrap(), interval: Duration::ZERO }, Client::new())
    }

    fn parcel() -> Parcel {
        let url = Some("https://github.com/acme/api/issues/7".to_owned());
        let title = "**bold** @everyone <@1> [x](https://evil.example) `c`".to_owned();
        Parcel::of(Event { url, title, severity: Severity::Failure, ..Event::of("issue_opened") })
    }

    fn http(status: &str, body: &str) -> String {
        format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    }

    fn answered(status: &str, body: &str) -> (Outcome, Heard) {
        let server = Server::start(&[Some(&http(status, body))]);
        let outcome = sink(server.url(PATH)).deliver(&parcel());
        (outcome, server.heard().remove(0))
    }

    /// What Discord hears and what becomes of it, when it refuses the first form so.
    fn refused(body: &str, then: (&str, &str), deliver: impl FnOnce(&mut Discord) -> Outcome) -> (Outcome, Vec<Value>) {
        let server = Server::start(&[Some(&http("400 X", body)), Some(&http(then.0, then.1))]);
        let outcome = deliver(&mut sink(server.url(PATH)));
        (outcome, server.heard().iter().map(Heard::json).collect())
    }

    #[test]
    fn an_embed_says_it_and_calls_nobody() {
        let (outcome, heard) = answered("200 OK", OK);
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
            let linked = |bytes: usize| {
                let url = Some(format!("http://alertmanager:9093/{}", "x".repeat(bytes)));
                Parcel { event: Event { url, ..parcel.event.clone() }, ..parcel.clone() }
            };
            for said in
                [plain_message(&linked(900)), plain_message(&linked(0)), plain_list(Bundle { parcels: &parcels })]
            {
                let units = said["content"].as_str().unwrap().encode_utf16().count();
                assert!(units <= CONTENT_UNITS_MAX, "{units}");
            }
            for said in [message(&parcel), message(&linked(900)), list(Bundle { parcels: &parcels })] {
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
        let server = Server::start(&[Some(&http("200 OK", OK))]);
        let parcels = [parcel(), Parcel { reference: "ref-2".to_owned(), ..Parcel::of(Event::of("pr_merged")) }];
        let outcome = sink(server.url(&format!("{PATH}?thread_id=5"))).deliver_bundle(Bundle { parcels: &parcels });
        assert_eq!(outcome, Outcome::Done { receipt: Some("message 1401234567890123456".to_owned()) });
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
            ("404 X", r#"{"message": "Unknown Channel", "code": 10003}"#, "mend `thread_id`"),
            ("404 X", "<html>", "make a new one"),
            ("405 X", "", "make a new one"),
            ("400 X", r#"{"message": "Thread is archived", "code": 50083}"#, "open it again"),
            ("400 X", r#"{"message": "Webhooks posted to forum channels must", "code": 220001}"#, "?thread_id="),
            ("200 X", "<html>Log in</html>", "It says: <html>Log in</html>"),
            ("200 X", r#"{"id":7}"#, "does not answer like Discord"),
            ("204 X", "", "is DISCORD_WEBHOOK_URL right?"),
        ] {
            let (outcome, _) = answered(status, body);
            let Outcome::Retry { reason, fault: Fault::Configuration, .. } = outcome else { panic!("{outcome:?}") };
            assert!(reason.contains(remedy), "{reason}");
        }
        let empty = r#"{"message": "Cannot send an empty message", "code": 50006}"#;
        let (outcome, _) = refused(empty, ("400 X", empty), |sink| sink.deliver(&parcel()));
        assert!(matches!(&outcome, Outcome::Dead { reason } if reason.contains("50006")), "{outcome:?}");
        assert!(matches!(answered("502 X", "").0, Outcome::Retry { fault: Fault::Transient, .. }));
    }

    #[test]
    fn the_local_networks_links_do_not_lose_the_message() {
        let event = |url: &str| Event { url: Some(url.to_owned()), ..Event::of("alert_firing") };
        let said = message(&Parcel::of(event("http://alertmanager:9093/#/alerts")));
        assert_eq!(said["embeds"][0]["url"], Value::Null);
        assert_eq!(said["embeds"][0]["description"], "T by octocat\n`http://alertmanager:9093/#/alerts`");
        let said = message(&Parcel::of(event("http://localhost/x.y")));
        assert_eq!(said["embeds"][0]["url"], Value::Null);
    }

    #[test]
    fn what_discord_refuses_is_said_once_more_in_plain_words() {
        let (outcome, heard) = refused(r#"{"embeds":["0"]}"#, ("200 OK", OK), |sink| sink.deliver(&parcel()));
        let receipt = r#"message 1401234567890123456 (as plain text after 400: {"embeds":["0"]})"#.to_owned();
        assert_eq!(outcome, Outcome::Done { receipt: Some(receipt) });
        assert_eq!(heard.len(), 2);
        assert!(heard[0].get("embeds").is_some());
        let content = "🐛 New issue in acme/api: \\*\\*bold\\*\\* @\u{200b}everyone \\<@\u{200b}1\\> \
                       \\[x\\]\\(https:\u{200b}//evil.example\\) \\`c\\` by octocat\n\
                       <https://github.com/acme/api/issues/7>\ngithub · ref\\-1";
        assert_eq!(heard[1], json!({ "allowed_mentions": { "parse": [] }, "content": content, "flags": 4 }));

        let parcels = [parcel(), parcel()];
        let bundle = Bundle { parcels: &parcels };
        let (outcome, heard) = refused("{}", ("200 OK", OK), |sink| sink.deliver_bundle(bundle));
        assert!(matches!(outcome, Outcome::Done { .. }), "{outcome:?}");
        let content = heard[1]["content"].as_str().unwrap();
        assert!(
            content.starts_with("2 events\n• 🐛 acme/api: 2 issues opened (\\*\\*bold\\*\\*")
                && content.ends_with("\nref\\-1+1"),
            "{content}"
        );

        let (outcome, _) = refused("{}", ("502 X", ""), |sink| sink.deliver(&parcel()));
        assert!(matches!(outcome, Outcome::Retry { fault: Fault::Transient, .. }), "{outcome:?}");
    }

    #[test]
    fn the_answer_is_waited_for_whatever_the_url_says() {
        assert_eq!(awaited("https://x/1/T"), "https://x/1/T?wait=true");
        assert_eq!(awaited("https://x/1/T?wait=false&thread_id=5"), "https://x/1/T?thread_id=5&wait=true");
    }

    #[test]
    fn no_reason_and_no_receipt_contains_the_token() {
        let said = format!("see {PATH} or TOKENTOKENTOKEN");
        for status in ["200 X", "404 X", "500 X"] {
            let (outcome, _) = answered(status, &said);
            assert!(!format!("{outcome:?}").contains("TOKENTOKEN"), "{outcome:?}");
        }
        for then in [("200 X", OK), ("400 X", &*said)] {
            let (outcome, _) = refused(&said, then, |sink| sink.deliver(&parcel()));
            assert!(!format!("{outcome:?}").contains("TOKENTOKEN"), "{outcome:?}");
        }
        let server = Server::start(&[None]);
        let outcome = sink(server.url(PATH)).deliver(&parcel());
        assert!(!format!("{outcome:?}").contains("TOKENTOKEN"), "{outcome:?}");
    }
}
