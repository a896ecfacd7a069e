//! Senders without rules of their own: an HMAC or a token in a header, as the source's options describe it, and fields
//! that stand where the options say. Without options two widespread forms are taken: `X-Webhook-Signature: sha256=…`
//! and `X-Signature: …`, each an HMAC-SHA256 of the body in hexadecimal, with a JSON body of `id`, `type`, `timestamp`
//! and `payload`. A body that is no JSON is told as text.
//!
//! Source of the rules: RFC 2104 for the HMAC; everything else is the user's word.

mod meaning;
mod proof;

use crate::headers::Headers;

use super::{
    Context, Encoding, Identity, Normalised, Options, Place, Proof, Rejection, Signing, Terms, Timestamp, Unverified,
    alerts, credentials,
    draft::{self, Draft},
    json::{self, Json},
    read,
    rules::Rules,
    sample::{Sample, Seed, fill},
    signature,
};

pub(super) const RULES: Rules = Rules {
    name: "generic",
    options: &[
        "tolerance",
        "header",
        "prefix",
        "algorithm",
        "encoding",
        "timestamp_header",
        "signed",
        "id",
        "event",
        "title",
        "actor",
        "about",
        "link",
        "subject",
    ],
    check_options,
    admit: proof::admit,
    judge: proof::judge,
    identify,
    normalise: meaning::normalise,
    samples: SAMPLES,
    build,
    sign: proof::sign,
    ..Rules::COMMON
};

fn identify(terms: &Terms, request: &Unverified) -> Result<Identity, Rejection> {
    let options = &terms.options;
    let says_something = |text: &String| !text.trim().is_empty();
    let (type_at, id_at) = (&options.event, &options.id);
    let pointers = [pointer(type_at, "/type"), pointer(type_at, "/event"), pointer(id_at, "/id")];
    let [kind, event, id] = json::texts(&request.body, pointers).map(|text| text.filter(says_something));
    let said = |place: &Option<Place>, in_body: Option<String>| match place {
        Some(Place::Header(name)) => request.headers.text(name).map(str::to_owned).filter(says_something),
        Some(Place::Pointer(_)) | None => in_body,
    };
    // In a form that we do not know, `id` may be a thing's and not the request's: the same thing twice is no retry.
    let is_id = id_at.is_some() || options.header.is_none();
    let (event_type, id) = (said(type_at, kind.or(event)), said(id_at, id).filter(|_| is_id));
    Ok(Identity::of(event_type.as_deref(), id.as_deref()))
}

fn pointer<'p>(place: &'p Option<Place>, usual: &'p str) -> &'p str {
    match place {
        Some(Place::Pointer(pointer)) => pointer,
        Some(Place::Header(_)) | None => usual,
    }
}

/// Names what does not go together, so that nobody believes in a proof that is none.
fn check_options(options: &Options) -> Result<(), String> {
    proof::check(options)?;
    let places = [
        ("id", &options.id),
        ("event", &options.event),
        ("actor", &options.actor),
        ("about", &options.about),
        ("link", &options.link),
        ("subject", &options.subject),
    ];
    for (key, place) in places {
        if let Some(Place::Header(name)) = place {
            credentials::check_header(key, Some(name))
                .map_err(|why| format!("{why}; a JSON pointer begins with a slash"))?;
        }
    }
    options.title.as_deref().map_or(Ok(()), meaning::check_template)
}

const SAMPLES: &[(&str, &str)] = &[
    ("created", "something is there that was not"),
    ("updated", "something is not as it was"),
    ("deleted", "something is gone"),
    ("payment_received", "money arrives"),
    ("payment_failed", "money does not arrive"),
    ("user_signup", "somebody signs up"),
    ("order_placed", "somebody orders"),
    ("message_received", "somebody writes"),
    ("status_changed", "something is in another state"),
    ("custom", "an event of a type that we do not know"),
];

const BODY: &str = r#"{"id":"evt_$id","type":"$type","timestamp":"2026-01-02T03:04:05Z","payload":{$payload}}"#;

const THING: &str = r#""name":"Lamp $number","actor":"$who""#;

const MONEY: &str = r#""amount":$amount,"currency":"EUR","customer":"$who""#;

fn build(name: &str, salt: u64) -> Option<Sample> {
    let seed = Seed::new(salt);
    let (event_type, payload) = match name {
        "created" | "updated" | "deleted" => (name, THING),
        "payment_received" => ("payment.received", MONEY),
        "payment_failed" => ("payment.failed", MONEY),
        "user_signup" => ("user.signup", r#""name":"$who","email":"user-$number@example.com""#),
        "order_placed" => ("order.placed", r#""title":"Order $number: desk lamp, brass","customer":"$who""#),
        "message_received" => ("message.received", r#""message":"Is the lamp still on?","from":"$who""#),
        "status_changed" => ("status.changed", r#""name":"Lamp $number","status":"dimmed""#),
        "custom" => ("lamp.dimmed", r#""title":"Lamp $number is dimmed","actor":"$who""#),
        _ => return None,
    };
    let payload = fill(
        payload,
        &[
            ("amount", &(5 + seed.below("amount", 200))),
            ("number", &seed.below("number", 10_000)),
            ("who", &seed.pick("who", &["Ada Lights", "Otto Brass", "Mira Cyan"])),
        ],
    );
    let body = fill(BODY, &[("id", &seed.word("event", 24)), ("payload", &payload), ("type", &event_type)]);
    Some(Sample::json(event_type, body))
}
