//! Slack's requests, of our own making.

use std::fmt::Display;

use super::{
    super::{
        Signing, read,
        sample::{Sample, Seed, fill},
        signature::{self, Algorithm},
    },
    SIGNATURE, TIME, VERSION, normalise,
};

pub(super) const LIST: &[(&str, &str)] = &[
    ("message", "somebody writes in a channel"),
    ("app_mention", "somebody mentions your app"),
    ("reaction_added", "somebody reacts to a message"),
    ("channel_created", "a new channel"),
    ("member_joined", "somebody joins a channel"),
    ("command", "somebody uses your slash command"),
    ("interaction", "somebody presses a button of yours"),
    (normalise::URL_VERIFICATION, "what Slack asks when the address is set"),
];

const TEXTS: &[&str] = &[
    "The lamp blinks twice, is that right?",
    "Deploy is done, all green",
    "Who has the second sensor?",
    "Lunch at noon, bring a soldering iron",
];

/// What Slack wraps around an event.
const CALLBACK: &str = r#"{"token":"sample","team_id":"$team","api_app_id":"$app","event":$event,
    "type":"event_callback","event_id":"$event_id","event_time":1760000000}"#;

/// What Slack sends when a button is pressed, in a form's field.
const PRESSED: &str = r#"{"type":"block_actions",
    "user":{"id":"$user","username":"ada.lights","name":"ada.lights"},
    "container":{"type":"message","message_ts":"$ts","channel_id":"$channel"},
    "trigger_id":"$trigger","team":{"id":"$team","domain":"acme"},"channel":{"id":"$channel","name":"desk"},
    "actions":[{"action_id":"lamp_on","text":{"type":"plain_text","text":"Lamp on"},"value":"on","type":"button"}]}"#;

pub(super) fn build(name: &str, salt: u64) -> Option<Sample> {
    let seed = Seed::new(salt);
    let id = |prefix: &str| format!("{prefix}{}", seed.word(prefix, 10).to_uppercase());
    let (user, channel, team) = (id("U"), id("C"), id("T"));
    let trigger = format!("{}.{}.{}", seed.below("a", 1 << 40), seed.below("b", 1 << 30), seed.word("trigger", 32));
    let filled = |template: &str, event: &str| {
        let ts = format!("17600{:05}.{:06}", seed.below("ts", 100_000), seed.below("fraction", 1_000_000));
        let holes: &[(&str, &dyn Display)] = &[
            ("app", &id("A")),
            ("bot", &id("B")),
            ("challenge", &seed.word("challenge", 52)),
            ("channel", &channel),
            ("event", &event),
            ("event_id", &id("Ev")),
            ("name", &seed.pick("name", &["lamps", "sensors", "buzzers"])),
            ("reaction", &seed.pick("reaction", &["tada", "eyes", "bulb"])),
            ("team", &team),
            ("text", &seed.pick("text", TEXTS)),
            ("trigger", &trigger),
            ("ts", &ts),
            ("user", &user),
            ("writer", &id("W")),
        ];
        fill(template, holes)
    };
    let (event_type, event) = match name {
        "message" => (
            name,
            r#"{"type":"message","user":"$user","ts":"$ts","text":"$text","channel":"$channel",
                "channel_type":"channel"}"#,
        ),
        "app_mention" => {
            (name, r#"{"type":"app_mention","user":"$user","ts":"$ts","text":"<@$bot> $text","channel":"$channel"}"#)
        }
        "reaction_added" => (
            name,
            r#"{"type":"reaction_added","user":"$user","reaction":"$reaction",
                "item":{"type":"message","channel":"$channel","ts":"$ts"},"item_user":"$writer"}"#,
        ),
        "channel_created" => {
            (name, r#"{"type":"channel_created","channel":{"id":"$channel","name":"$name","creator":"$user"}}"#)
        }
        "member_joined" => (
            "member_joined_channel",
            r#"{"type":"member_joined_channel","user":"$user","channel":"$channel","team":"$team"}"#,
        ),
        normalise::URL_VERIFICATION => {
            let body = r#"{"token":"sample","challenge":"$challenge","type":"url_verification"}"#;
            return Some(Sample::json(name, filled(body, "")));
        }
        "command" => {
            let fields = [
                ("token", "sample"),
                ("team_id", &team),
                ("team_domain", "acme"),
                ("channel_id", &channel),
                ("channel_name", "desk"),
                ("user_id", &user),
                ("user_name", "ada.lights"),
                ("command", "/lamp"),
                ("text", seed.pick("command", &["on", "off", "blink twice"])),
                ("trigger_id", &trigger),
            ];
            return Some(Sample::form(normalise::SLASH_COMMAND, fields));
        }
        "interaction" => return Some(Sample::form("block_actions", [("payload", filled(PRESSED, "").as_str())])),
        _ => return None,
    };
    Some(Sample::json(event_type, filled(CALLBACK, &filled(event, ""))))
}

pub(super) fn sign(signing: &Signing<'_>, sample: &mut Sample) -> Result<(), &'static str> {
    let time = signing.now.seconds().to_string();
    let key = signing.secret.expose().as_bytes();
    let parts = [VERSION.as_bytes(), b":", time.as_bytes(), b":", &sample.body];
    let made = signature::sign(key, Algorithm::Sha256, &parts);
    sample.set(TIME, time);
    sample.set(SIGNATURE, format!("{VERSION}={}", read::to_hex(&made)));
    Ok(())
}
