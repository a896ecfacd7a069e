//! Standard Webhooks, by whoever follows the standard: the signature is `standard`'s; the body is JSON with a `type`
//! and mostly `data`. What a type means stands in a table of names that many senders use; everything else is told as
//! `custom`. Also what Svix's bodies mean, which are the same.
//!
//! Source of the rules: github.com/standard-webhooks/standard-webhooks, specification, "Payload structure".

use crate::headers::Headers;

use super::{
    Context, Identity, Normalised, UNKNOWN_TYPE, Unverified,
    draft::{Draft, clean},
    json::{self, Json},
    money, read,
    rules::Rules,
    sample::{Sample, Seed, fill},
    standard::{self, Family, WEBHOOK},
};

pub(super) const RULES: Rules = Rules {
    name: "standardwebhooks",
    options: &["tolerance"],
    check_secret: standard::check_secret,
    admit: |_, headers| standard::head(WEBHOOK, headers).map(|_| ()),
    judge: |terms, request, now| standard::judge(WEBHOOK, standard::key, terms, request, now),
    identify: |_, request| Ok(identity(WEBHOOK, request)),
    normalise,
    samples: SAMPLES,
    build: |name, salt| sample(name, salt).map(|(event_type, body)| envelope(event_type, body, salt)),
    envelope,
    sign: |signing, sample| standard::sign(WEBHOOK, signing, sample),
    ..Rules::COMMON
};

/// The id is the signed header's; `type` is the standard's word for what happened, and senders who came before it have
/// others.
pub(super) fn identity(family: Family, request: &Unverified) -> Identity {
    let types = json::values(&request.body, TYPES);
    let id = read::optional_identity(&request.headers, family.id);
    Identity { id, ..Identity::of(first(&types), None) }
}

/// Where a type stands.
const TYPES: [&str; 4] = ["/type", "/event_type", "/eventType", "/event"];

/// The kind of a type's name, whatever stands between its words.
fn kind_of(event_type: &str) -> &'static str {
    let name = words(event_type).join(".");
    match name.as_str() {
        "payment.received" => "payment_received",
        "payment.succeeded" | "payment.completed" | "payment.paid" => "payment_succeeded",
        "payment.failed" | "payment.declined" => "payment_failed",
        "payment.refunded" | "refund.created" | "refund.succeeded" | "order.refunded" => "refund",
        "dispute.created" | "dispute.opened" | "payment.disputed" => "dispute_opened",
        "subscription.created" | "subscription.started" => "subscription_started",
        "subscription.canceled" | "subscription.cancelled" => "subscription_cancelled",
        "invoice.paid" => "invoice_paid",
        "invoice.failed" | "invoice.payment.failed" => "invoice_failed",
        "payout.paid" => "payout_paid",
        "payout.failed" => "payout_failed",
        "checkout.completed" | "checkout.session.completed" => "checkout_completed",
        "order.placed" => "order_placed",
        "order.created" => "order_created",
        "order.paid" => "order_paid",
        "order.canceled" | "order.cancelled" => "order_cancelled",
        "user.signup" | "user.signed.up" | "user.sign.up" | "user.registered" => "user_signup",
        "message.received" => "message_received",
        "sms.received" => "sms_received",
        "sms.failed" => "sms_failed",
        "email.delivered" => "email_delivered",
        "email.opened" => "email_opened",
        "email.clicked" => "email_clicked",
        "email.bounced" => "email_bounced",
        "email.failed" | "email.dropped" | "email.suppressed" => "email_dropped",
        "email.complained" => "email_spam",
        "alert.firing" | "alert.triggered" => "alert_firing",
        "alert.resolved" => "alert_resolved",
        _ if name == "status.changed" || name.ends_with(".status.changed") => "status_changed",
        _ => match name.rsplit_once('.').map(|(_, verb)| verb) {
            Some("created") => "created",
            Some("updated") => "updated",
            Some("deleted") => "deleted",
            _ => "custom",
        },
    }
}

/// `invoice.payment_failed`, `invoice:payment-failed` and `invoicePaymentFailed` are the same three words.
fn words(event_type: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut after_small = false;
    for char in event_type.chars() {
        if !char.is_alphanumeric() || (char.is_uppercase() && after_small) {
            words.push(String::new());
        }
        if let (true, Some(word)) = (char.is_alphanumeric(), words.last_mut()) {
            word.extend(char.to_lowercase());
        }
        after_small = char.is_lowercase() || char.is_numeric();
    }
    words.retain(|word| !word.is_empty());
    words
}

/// No two senders have the same fields, so the likely names are tried.
pub(super) fn normalise(context: &Context<'_>, event_type: &str, _: &Headers, body: &[u8]) -> Normalised {
    let body = match Json::object(body) {
        Ok(body) => body,
        Err(why) => return Normalised::Undecodable(why),
    };
    let data = if body["data"].is_object() { &body["data"] } else { &body };
    // A type that is too long or too strange for an identity is still a type.
    let event_type = first(TYPES.map(|pointer| body.at(pointer))).unwrap_or(event_type);
    let kind = kind_of(event_type);
    let amount = amount(data);
    let what =
        text(data, &["title", "subject", "summary", "description", "message", "text", "name", "email", "reason"])
            .and_then(clean)
            .or_else(|| person(data));
    let detail = match (&amount, what) {
        (Some(amount), Some(what)) => Some(format!("{amount}: {what}")),
        (amount, what) => what.or_else(|| amount.clone()),
    };
    // Which thing was created or changed stands in the type alone.
    let is_open =
        event_type != UNKNOWN_TYPE && matches!(kind, "created" | "updated" | "deleted" | "custom" | "status_changed");
    let name = words(event_type).join(" ");
    let title = match detail {
        Some(detail) if is_open => format!("{name}: {detail}"),
        Some(detail) => detail,
        None => name,
    };
    let id = data["id"].plain().filter(|_| data["id"].flag().is_none()).as_deref().and_then(clean);
    // What it is about is the sender's service, and that is what the source is called.
    let account = text(data, &["repository", "project", "store", "account", "workspace", "organization"]);
    let links =
        [data, &body].into_iter().flat_map(|json| ["html_url", "url", "link", "web_url"].map(|name| json[name].text()));
    let event = Draft::new(kind)
        .actor(person(data).as_deref())
        .repository(account.or(Some(context.source)))
        .title(Some(&title))
        .url(links)
        .subject(id.map(|id| format!("{} {id}", context.source)))
        .text("type", Some(event_type))
        .text("amount", amount.as_deref())
        .text("currency", text(data, &["currency"]).map(str::to_uppercase).as_deref())
        .text("email", text(data, &["email"]))
        .text("status", text(data, &["status", "state"]))
        .finish(context);
    Normalised::Events(vec![event])
}

/// The first of these that is a text and says something.
fn first<'j>(values: impl IntoIterator<Item = &'j Json<'j>>) -> Option<&'j str> {
    values.into_iter().filter_map(Json::text).find(|text| !text.trim().is_empty())
}

/// The same of an object's fields.
fn text<'j>(object: &'j Json<'j>, names: &[&str]) -> Option<&'j str> {
    first(names.iter().map(|name| &object[*name]))
}

/// Who: a name, or somebody who has one.
fn person(data: &Json<'_>) -> Option<String> {
    ["actor", "user", "customer", "sender", "author", "from"].into_iter().map(|name| &data[name]).find_map(|person| {
        person.text().or_else(|| text(person, &["name", "full_name", "username", "login", "email"])).and_then(clean)
    })
}

/// Only an amount that is written with its decimals: whether a whole number counts cents is the sender's secret, and
/// a wrong guess would be wrong by a hundred.
fn amount(data: &Json<'_>) -> Option<String> {
    let currency = text(data, &["currency"])?;
    let written = data["amount"].plain().or_else(|| data["total"].plain()).filter(|written| written.contains('.'))?;
    money::decimal(&written, currency)
}

pub(super) const SAMPLES: &[(&str, &str)] = &[
    ("payment_received", "money comes in"),
    ("payment_failed", "a payment is declined"),
    ("user_signup", "somebody signs up"),
    ("order_placed", "somebody orders"),
    ("message_received", "somebody writes"),
    ("status_changed", "something is in another state"),
    ("created", "a thing of the sender's is new"),
    ("updated", "it is changed"),
    ("deleted", "it is gone"),
    ("custom", "a type that is in no table"),
];

const BODY: &str = r#"{"type":"$type","timestamp":"2026-11-22T10:00:00.000000Z","data":{"id":"$id",$data}}"#;

const CONTACT: &str = r#""first_name":"Ada","email":"$email""#;

/// A sample's type and body.
pub(super) fn sample(name: &str, salt: u64) -> Option<(&'static str, Vec<u8>)> {
    let seed = Seed::new(salt);
    let (event_type, data) = match name {
        "payment_received" => (
            "payment.received",
            r#""amount":"$amount","currency":"EUR","description":"Desk lamp, brass","customer":{"name":"$customer"}"#,
        ),
        "payment_failed" => (
            "payment.failed",
            r#""amount":"$amount","currency":"EUR","customer":{"name":"$customer"},"reason":"The card was declined.""#,
        ),
        "user_signup" => ("user.signup", r#""user":{"name":"$customer"},"email":"$email""#),
        "order_placed" => (
            "order.placed",
            r##""name":"#$number","total":"$amount","currency":"USD","customer":{"name":"$customer"}"##,
        ),
        "message_received" => ("message.received", r#""from":{"name":"$customer"},"text":"Is the lamp still there?""#),
        "status_changed" => ("order.status_changed", r##""name":"#$number","status":"shipped""##),
        "created" => ("contact.created", CONTACT),
        "updated" => ("contact.updated", CONTACT),
        "deleted" => ("contact.deleted", CONTACT),
        "custom" => ("lamp.dimmed", r#""name":"Desk lamp, brass","level":$level"#),
        _ => return None,
    };
    let data = fill(
        data,
        &[
            ("amount", &format!("{}.{:02}", 5 + seed.below("amount", 200), seed.below("cents", 100))),
            ("customer", &seed.pick("customer", &["Ada Lights", "Otto Brass", "Mira Cyan"])),
            ("email", &format!("ada{}@example.com", seed.below("email", 10_000))),
            ("level", &seed.below("level", 100)),
            ("number", &seed.number()),
        ],
    );
    let body = fill(BODY, &[("data", &data), ("id", &seed.word("id", 20)), ("type", &event_type)]);
    Some((event_type, body.into_bytes()))
}

/// `msg_…`, as most senders write it.
pub(super) fn message_id(salt: u64) -> String {
    format!("msg_{}", Seed::new(salt).word("message", 27))
}

fn envelope(event_type: &str, body: Vec<u8>, salt: u64) -> Sample {
    Sample::json(event_type, body).with(WEBHOOK.id, message_id(salt))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::event::Event;
    use crate::provider::{
        Options, Provider,
        tests::{NOW, arrived, delivery, own_terms, signed},
        verify,
    };

    fn told(event_type: &str, body: Value) -> Event {
        let context = Context { provider: Provider::StandardWebhooks, source: "shop", options: &Options::NONE };
        match normalise(&context, event_type, &Headers::new(), body.to_string().as_bytes()) {
            Normalised::Events(mut events) => events.remove(0),
            other => panic!("{event_type}: {other:?}"),
        }
    }

    #[test]
    fn types_become_kinds() {
        for (event_type, kind) in [
            ("payment.received", "payment_received"),
            ("Payment_Received", "payment_received"),
            ("user.signup", "user_signup"),
            ("userSignup", "user_signup"),
            ("order.placed", "order_placed"),
            ("invoice.payment_failed", "invoice_failed"),
            ("status.changed", "status_changed"),
            ("device.status_changed", "status_changed"),
            ("contact.created", "created"),
            ("contact/updated", "updated"),
            ("contact.list.deleted", "deleted"),
            ("created", "custom"),
            ("lamp.dimmed", "custom"),
            ("unknown", "custom"),
            ("…", "custom"),
        ] {
            assert_eq!(kind_of(event_type), kind, "{event_type}");
        }
    }

    #[test]
    fn titles_and_facts_come_from_common_fields() {
        let paid = json!({ "data": { "id": 7, "amount": 12.5, "currency": "eur", "description": "Lamp",
            "customer": { "email": "ada@example.com" } } });
        let event = told("payment.received", paid);
        assert_eq!((event.title.as_str(), event.actor.as_str()), ("12.50 EUR: Lamp", "ada@example.com"));
        assert_eq!((event.subject.as_deref(), event.repository.as_str()), (Some("shop 7"), "shop"));
        let cents = json!({ "data": { "amount": 1250, "currency": "eur", "customer": "Ada" } });
        assert_eq!(told("payment.received", cents).title, "Ada");
        let contact = json!({ "email": "ada@example.com", "url": "https://shop.example.com/7" });
        let event = told("contact.created", contact);
        assert_eq!(event.title, "contact created: ada@example.com");
        assert_eq!(event.url.as_deref(), Some("https://shop.example.com/7"));
        assert_eq!(told("lamp.dimmed", json!({ "test": 1 })).title, "lamp dimmed");
        assert_eq!(told("…", json!({})).title, crate::event::NO_TITLE);
        // No identity, and still a type.
        assert_eq!(told("unknown", json!({ "type": "gerät.created" })).title, "gerät created");
        assert_eq!(told("unknown", json!({ "text": "Dusk" })).title, "Dusk");
    }

    #[test]
    fn what_is_proven_is_stored_whatever_it_says() {
        let terms = own_terms(Provider::StandardWebhooks);
        for body in ["", "not JSON", "[]", "{}", r#"{"type":7}"#] {
            let sample = signed(Provider::StandardWebhooks, envelope("any", body.into(), 7));
            let verdict = verify(&terms, arrived(Provider::StandardWebhooks, sample), NOW);
            let delivery = delivery(verdict.expect("signed"));
            assert_eq!((delivery.event_type(), delivery.id()), ("unknown", Some(message_id(7).as_str())), "{body}");
        }
    }
}
