//! The message that Slack gets: blocks for people, a text for notifications. Owns its shape and Slack's limits; refuses
//! to know the words and the wire.
//!
//! Limits are from Slack's Block Kit reference: a section's text holds 3 000 characters, a context ten elements, a
//! message fifty blocks. They hold by construction, because every part is bounded where it is made.

use serde_json::{Value, json};

use super::{mrkdwn, wording};
use crate::sink::Parcel;

const SOURCE_UNITS_MAX: usize = 100;
const REFERENCE_UNITS_MAX: usize = 300;

/// The message with blocks: the sentence, and small below it when it came, from where, and its reference, by which
/// people recognise a repeat after a connection that was cut before Slack's answer came.
pub fn message(parcel: &Parcel) -> Value {
    let sentence = wording::sentence(&parcel.event);
    // Slack shows the moment in each reader's own zone; what cannot do that shows the text behind the bar. See
    // "Formatting dates" on the page "Formatting text for app surfaces".
    let seconds = parcel.received.seconds();
    let when = format!("<!date^{seconds}^{{date_short_pretty}} {{time}}|{}>", parcel.received);
    json!({
        "text": sentence,
        // The sentence has said it; a preview of every link would bury the channel.
        "unfurl_links": false,
        "blocks": [
            { "type": "section", "text": { "type": "mrkdwn", "text": sentence } },
            { "type": "context", "elements": [{ "type": "mrkdwn", "text": footer(parcel, &when) }] },
        ],
    })
}

/// The same as text alone, for when Slack refuses the blocks: the least that can be said without losing anything.
pub fn plain(parcel: &Parcel) -> Value {
    let footer = footer(parcel, &parcel.received.to_string());
    json!({
        "text": format!("{}\n{footer}", wording::sentence(&parcel.event)),
        "unfurl_links": false,
    })
}

fn footer(parcel: &Parcel, when: &str) -> String {
    let source = mrkdwn::text(&parcel.event.source, SOURCE_UNITS_MAX);
    let reference = mrkdwn::text(&parcel.reference, REFERENCE_UNITS_MAX);
    format!("{when} · {source} · {reference}")
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

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
        golden("pr_merged", &message(&parcel("pr_merged", "Retry on 5xx & time-outs", Some(link))));
        golden("no_link", &message(&parcel("repo_forked", "acme/api", None)));
        let hostile = parcel("issue_opened", "<!channel> *free* `money`\n> said @here", Some("javascript:alert(1)"));
        golden("hostile", &message(&hostile));
        golden("plain", &plain(&parcel("pr_merged", "Retry on 5xx & time-outs", Some(link))));
    }

    #[test]
    fn the_largest_message_keeps_slack_s_limits_and_its_link() {
        for filler in ["x", "&", "🎉"] {
            let huge = filler.repeat(100_000);
            let mut parcel = parcel("ci_failed", &huge, Some("https://x/y"));
            parcel.event.source = huge.clone();
            parcel.event.repository = huge.clone();
            parcel.reference = huge;
            let message = message(&parcel);
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
        assert!(message(&parcel)["blocks"][1].to_string().contains("3f9c1a-7-0-0"));
        assert!(plain(&parcel)["text"].as_str().unwrap().ends_with(" · github · 3f9c1a-7-0-0"));
    }
}
