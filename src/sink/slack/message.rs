//! The message that Slack gets: blocks for people, a text for notifications. Owns its shape and Slack's limits; refuses
//! to know the words and the wire.
//!
//! Limits are from Slack's Block Kit reference: a section's text holds 3 000 characters, a context ten elements, a
//! message fifty blocks. They hold by construction, because every part is bounded where it is made.

use serde_json::{Value, json};

use super::{digest, mrkdwn, wording};
use crate::{
    sink::{Parcel, digest::list},
    time::Timestamp,
};

const SOURCE_UNITS_MAX: usize = 100;
const SOURCES_MAX: usize = 3;
const REFERENCE_UNITS_MAX: usize = 300;

/// What is said, before it has the shape of blocks or of plain text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// A line above all: what the matter has come to.
    head: Option<String>,
    body: String,
    footer: String,
    /// The footer for where Slack's dates are not known.
    footer_plain: String,
}

impl Message {
    /// The sentence of one event, or a digest of many.
    pub fn of(parcels: &[Parcel]) -> Message {
        let body = match parcels {
            [parcel] => wording::sentence(&parcel.event),
            many => digest::digest(&events(many)).join("\n"),
        };
        Message::about(parcels, body)
    }

    /// The sentence of one event, or a line for each of many, where the reader knows by the place what they are about.
    pub fn in_thread(parcels: &[Parcel]) -> Message {
        let body = match parcels {
            [parcel] => wording::sentence(&parcel.event),
            many => digest::each(&events(many)).join("\n"),
        };
        Message::about(parcels, body)
    }

    fn about(parcels: &[Parcel], body: String) -> Message {
        let footer = |when: fn(Timestamp) -> String| footer(parcels, when);
        Message { head: None, body, footer: footer(when_there), footer_plain: footer(|moment| moment.to_string()) }
    }

    /// The first message of a thread: how things stand, and how it began.
    pub fn parent(head: Option<String>, opening: &str, footer: &str) -> Message {
        Message { head, body: opening.to_owned(), footer: footer.to_owned(), footer_plain: footer.to_owned() }
    }

    /// What is said between the head and the footer.
    pub fn body(&self) -> &str {
        &self.body
    }

    /// When it came, from where, and its reference, in mrkdwn.
    pub fn footer(&self) -> &str {
        &self.footer
    }

    /// The message with blocks: the sentence, and small below it when it came, from where, and its reference, by which
    /// people recognise a repeat after a connection that was cut before Slack's answer came.
    pub fn blocks(&self) -> Value {
        let section = |text: &str| json!({ "type": "section", "text": { "type": "mrkdwn", "text": text } });
        let mut blocks: Vec<Value> = self.head.iter().map(|head| section(head)).collect();
        blocks.push(section(&self.body));
        blocks.push(json!({ "type": "context", "elements": [{ "type": "mrkdwn", "text": self.footer }] }));
        // The sentence has said it; a preview of every link would bury the channel.
        json!({ "text": self.text(), "unfurl_links": false, "blocks": blocks })
    }

    /// The same as text alone, for when Slack refuses the blocks: the least that can be said without losing anything.
    pub fn plain(&self) -> Value {
        json!({ "text": format!("{}\n{}", self.text(), self.footer_plain), "unfurl_links": false })
    }

    fn text(&self) -> String {
        match &self.head {
            Some(head) => format!("{head}\n{}", self.body),
            None => self.body.clone(),
        }
    }
}

fn events(parcels: &[Parcel]) -> Vec<&crate::event::Event> {
    parcels.iter().map(|parcel| &parcel.event).collect()
}

/// Slack shows the moment in each reader's own zone; what cannot do that shows the text behind the bar. See "Formatting
/// dates" on the page "Formatting text for app surfaces".
fn when_there(moment: Timestamp) -> String {
    format!("<!date^{}^{{date_short_pretty}} {{time}}|{moment}>", moment.seconds())
}

/// Of many the first reference comes first: a digest that was told before begins with the same one.
fn footer(parcels: &[Parcel], when: fn(Timestamp) -> String) -> String {
    let (Some(first), Some(last)) = (parcels.first(), parcels.last()) else { return String::new() };
    let reference = |parcel: &Parcel| mrkdwn::text(&parcel.reference, REFERENCE_UNITS_MAX);
    if parcels.len() == 1 {
        let source = mrkdwn::text(&first.event.source, SOURCE_UNITS_MAX);
        // When it was, and for whom it was late that it was not forgotten.
        let when = match first.sent {
            Some(sent) if sent != first.received => format!("{} · pulled in {}", when(sent), when(first.received)),
            _ => when(first.received),
        };
        return format!("{when} · {source} · {}", reference(first));
    }
    let sources = parcels.iter().map(|parcel| mrkdwn::text(&parcel.event.source, SOURCE_UNITS_MAX));
    let sources = list(sources, SOURCES_MAX);
    let (from, to) = (when(first.received), when(last.received.max(first.received)));
    let (first, last, count) = (reference(first), reference(last), parcels.len());
    format!("{from} – {to} · {sources} · {first} … {last} ({count} events)")
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path, slice};

    use super::*;
    use crate::{
        event::{Event, Extra, Fact},
        time::Timestamp,
    };

    fn parcel(kind: &str, title: &str, url: Option<&str>) -> Parcel {
        let event = Event {
            title: title.to_owned(),
            url: url.map(str::to_owned),
            extra: Extra::from([("number".to_owned(), Fact::Number(42))]),
            ..Event::of(kind)
        };
        let received = Timestamp::from_ms(1_763_805_600_042);
        Parcel { delivery: 7, received, reference: "3f9c1a-7-0-0".to_owned(), ..Parcel::of(event) }
    }

    fn blocks(parcel: &Parcel) -> Value {
        Message::of(slice::from_ref(parcel)).blocks()
    }

    fn plain(parcel: &Parcel) -> Value {
        Message::of(slice::from_ref(parcel)).plain()
    }

    /// Compares with the golden file; a difference names the command that accepts it.
    fn golden(name: &str, message: &Value) {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/sink/slack/golden").join(format!("{name}.json"));
        let actual = format!("{message:#}\n");
        if std::env::var_os("HOOKBELL_ACCEPT").is_some() {
            fs::write(&file, &actual).unwrap();
        }
        let expected = fs::read_to_string(&file).unwrap_or_default();
        assert!(
            actual == expected,
            "{} differs\n--- expected\n{expected}\n--- actual\n{actual}\n\
             if the new one is right: HOOKBELL_ACCEPT=1 cargo test --lib slack",
            file.display(),
        );
    }

    #[test]
    fn messages_look_like_the_golden_files() {
        let link = "https://github.com/acme/api/pull/42?a=1&b=2";
        golden("pr_merged", &blocks(&parcel("pr_merged", "Retry on 5xx & time-outs", Some(link))));
        golden("no_link", &blocks(&parcel("repo_forked", "acme/api", None)));
        let hostile = parcel("issue_opened", "<!channel> *free* `money`\n> said @here", Some("javascript:alert(1)"));
        golden("hostile", &blocks(&hostile));
        golden("plain", &plain(&parcel("pr_merged", "Retry on 5xx & time-outs", Some(link))));
    }

    #[test]
    fn a_digest_looks_like_the_golden_file_and_keeps_the_limits() {
        let mut parcels: Vec<Parcel> = ["Retry on 5xx", "Say which pin", "<!channel>"]
            .iter()
            .zip(7..)
            .map(|(title, delivery)| Parcel {
                received: Timestamp::from_ms(1_763_805_600_042 + delivery * 60_000),
                reference: format!("3f9c1a-{delivery}-0-0"),
                ..parcel("pr_opened", title, None)
            })
            .collect();
        parcels.push(Parcel { reference: "3f9c1a-10-0-0".to_owned(), ..parcel("repo_starred", "acme/api", None) });
        golden("digest", &Message::of(&parcels).blocks());
        let huge = Parcel { reference: "🎉".repeat(10_000), ..parcel("ci_failed", &"&".repeat(10_000), None) };
        for (number, parcel) in parcels.iter_mut().enumerate() {
            *parcel = huge.clone();
            parcel.event.source = format!("{number}{}", "🎉".repeat(10_000));
        }
        for message in [Message::of(&parcels), Message::in_thread(&parcels)] {
            assert!(message.body().encode_utf16().count() <= 3_000);
            assert!(message.footer().encode_utf16().count() <= 2_000, "{}", message.footer().encode_utf16().count());
        }
    }

    #[test]
    fn the_largest_message_keeps_slack_s_limits_and_its_link() {
        for filler in ["x", "&", "🎉"] {
            let huge = filler.repeat(100_000);
            let mut parcel = parcel("ci_failed", &huge, Some("https://x/y"));
            parcel.event.source = huge.clone();
            parcel.event.repository = huge.clone();
            parcel.reference = huge;
            let message = blocks(&parcel);
            let text = message["text"].as_str().unwrap();
            assert_eq!(message["blocks"][0]["text"]["text"], message["text"]);
            assert!(text.encode_utf16().count() <= 3_000);
            assert!(text.ends_with("\nhttps://x/y"));
            let footer = message["blocks"][1]["elements"][0]["text"].as_str().unwrap();
            assert!(footer.encode_utf16().count() <= 2_000);
            assert!(plain(&parcel)["text"].as_str().unwrap().encode_utf16().count() <= 4_000);
        }
    }

    #[test]
    fn the_reference_is_visible_in_both_forms() {
        let parcel = parcel("issue_opened", "T", None);
        assert!(blocks(&parcel)["blocks"][1].to_string().contains("3f9c1a-7-0-0"));
        assert!(plain(&parcel)["text"].as_str().unwrap().ends_with(" · github · 3f9c1a-7-0-0"));
    }
}
