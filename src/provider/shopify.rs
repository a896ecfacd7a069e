//! Shopify: `X-Shopify-Hmac-Sha256`, an HMAC-SHA256 of the body in base64, made with the app's client secret, or with the
//! shop's own key for webhooks that are set up in the admin. Deliveries of the newer "events" carry `shopify-hmac-sha256`
//! instead, with the other headers named alike; where both stand, that one decides. A delivery is the webhook id (the same
//! on retries) and the topic, which no signature covers. No time is signed.
//!
//! Source of the rules: shopify.dev/docs/apps/build/webhooks, and the official library (shopify-api for JavaScript), which
//! also refuses requests without topic or shop; those are taken here, since what is signed is right.

use crate::{
    headers::{Headers, Single},
    time::Timestamp,
};

use super::{
    Context, Identity, Normalised, Rejection, Signing, Terms, Unverified,
    draft::Draft,
    json::Json,
    money, read,
    rules::Rules,
    sample::{Sample, Seed, fill},
    signature::{self, Algorithm},
};

const SIGNATURE: &str = "X-Shopify-Hmac-Sha256";
const SIGNATURE_OF_EVENTS: &str = "shopify-hmac-sha256";

pub(super) const RULES: Rules = Rules {
    name: "shopify",
    admit: |_, headers| signature_of(headers).map(|_| ()),
    judge,
    identify: |_, request| {
        let id = either(&request.headers, "Webhook-Id");
        Ok(Identity::of(topic(&request.headers).as_deref(), id.as_deref()))
    },
    normalise,
    samples: SAMPLES,
    build,
    envelope,
    sign,
    ..Rules::COMMON
};

fn judge(terms: &Terms, request: &Unverified, _: Timestamp) -> Result<usize, Rejection> {
    let made = signature_of(&request.headers)?;
    if request.body.is_empty() {
        // The library says `missing_body`, whatever the signature.
        return Err(Rejection::malformed(signature_header(&request.headers), "it came without a body"));
    }
    signature::signed_by(&terms.secrets, Algorithm::Sha256, &[&request.body], &[made]).ok_or(Rejection::SignatureWrong)
}

fn signature_header(headers: &Headers) -> &'static str {
    match headers.single(SIGNATURE_OF_EVENTS) {
        Single::Missing => SIGNATURE,
        _ => SIGNATURE_OF_EVENTS,
    }
}

fn signature_of(headers: &Headers) -> Result<Vec<u8>, Rejection> {
    let name = signature_header(headers);
    read::base64(read::proof(headers, name)?).ok_or_else(|| Rejection::malformed(name, "it is not base64"))
}

/// What a header of the one family says, or of the other. Where both came they say the same, and no signature covers them.
fn either(headers: &Headers, name: &str) -> Option<String> {
    let of = |family: &str| read::optional_identity(headers, &format!("{family}{name}"));
    of("X-Shopify-").or_else(|| of("shopify-"))
}

/// `orders/create`; an event names its resource and what happened to it apart: `Order/create`.
fn topic(headers: &Headers) -> Option<String> {
    let event = || {
        let topic = read::optional_identity(headers, "shopify-topic")?;
        Some(match read::optional_identity(headers, "shopify-action") {
            Some(action) => format!("{topic}/{action}"),
            None => topic,
        })
    };
    read::optional_identity(headers, "X-Shopify-Topic").or_else(event)
}

fn normalise(context: &Context<'_>, event_type: &str, headers: &Headers, body: &[u8]) -> Normalised {
    let body = match Json::object(body) {
        Ok(body) => body,
        Err(why) => return Normalised::Undecodable(why),
    };
    let kind = match event_type {
        "orders/create" | "Order/create" => "order_created",
        "orders/paid" | "Order/paid" => "order_paid",
        "orders/cancelled" | "Order/cancelled" => "order_cancelled",
        "refunds/create" | "Refund/create" => "refund",
        other => return Normalised::Skipped(format!("{} is not a topic we tell about", read::shown(other))),
    };
    Normalised::Events(vec![tell(kind, &body, either(headers, "Shop-Domain").as_deref()).finish(context)])
}

/// `body` is the order or the refund: a resource of the REST API, as it is.
fn tell(kind: &'static str, body: &Json<'_>, shop: Option<&str>) -> Draft {
    let is_refund = kind == "refund";
    let amount = if is_refund { refunded(body) } else { price(&body["total_price"], &body["currency"]) };
    let order = if is_refund { body["order_id"].whole() } else { body["id"].whole() };
    let name = match (body["name"].text(), order) {
        (Some(name), _) => Some(format!("order {name}")),
        (None, Some(id)) => Some(format!("order {id}")),
        (None, None) => None,
    };
    let count = body["line_items"].count();
    let items = match (body.at("/line_items/0/title").text(), count) {
        (Some(title), 1) => Some(title.to_owned()),
        (Some(title), count) => Some(format!("{title} and {} more", count - 1)),
        (None, _) => None,
    };
    let what: Vec<String> = [name, items].into_iter().flatten().collect();
    let title = match (&amount, what.is_empty()) {
        (Some(amount), false) => format!("{amount}: {}", what.join(", ")),
        (Some(amount), true) => amount.clone(),
        (None, _) => what.join(", "),
    };
    let customer = full_name(&body["customer"]).or_else(|| body["email"].text().map(str::to_owned));
    // No signature covers the header, so it makes a link to Shopify only.
    let is_host = |shop: &&str| shop.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'));
    let admin = shop.filter(|shop| shop.ends_with(".myshopify.com")).filter(is_host);
    let page = admin.zip(order).map(|(shop, order)| format!("https://{shop}/admin/orders/{order}"));
    let currency = body["currency"].text().or(body.at("/transactions/0/currency").text());
    Draft::new(kind)
        .actor(customer.as_deref())
        .repository(Some(shop.unwrap_or("shopify")))
        .title(Some(&title))
        .url([page.as_deref()])
        .subject(order.map(|order| format!("shopify order {order}")))
        .text("amount", amount.as_deref())
        .text("currency", currency.map(str::to_uppercase).as_deref())
        .text("customer", customer.as_deref())
        .text("reason", body["cancel_reason"].text().or(body["note"].text().filter(|_| is_refund)))
        .text("status", body["financial_status"].text())
        .number("count", i64::try_from(count).ok().filter(|count| *count > 0))
        .flag("live", body["test"].flag().map(|is_test| !is_test))
}

fn price(amount: &Json<'_>, currency: &Json<'_>) -> Option<String> {
    money::decimal(amount.text()?, currency.text()?)
}

/// What was paid back: mostly one transaction; several are listed, since amounts are not computed with.
fn refunded(refund: &Json<'_>) -> Option<String> {
    let is_done = |transaction: &&Json<'_>| {
        transaction["kind"].text() == Some("refund")
            && !matches!(transaction["status"].text(), Some("failure" | "error"))
    };
    let transactions = refund["transactions"].items().iter().filter(is_done);
    let amounts: Vec<String> = transactions
        .filter_map(|transaction| price(&transaction["amount"], &transaction["currency"]))
        .take(5)
        .collect();
    (!amounts.is_empty()).then(|| amounts.join(" + "))
}

fn full_name(customer: &Json<'_>) -> Option<String> {
    let names = ["first_name", "last_name"].into_iter().filter_map(|name| customer[name].text());
    let names: Vec<&str> = names.filter(|name| !name.trim().is_empty()).collect();
    if names.is_empty() { customer["email"].text().map(str::to_owned) } else { Some(names.join(" ")) }
}

const SAMPLES: &[(&str, &str)] = &[
    ("order_created", "somebody orders"),
    ("order_paid", "an order is paid"),
    ("order_cancelled", "an order is cancelled"),
    ("refund", "money goes back"),
    ("product", "a product is added, which is not told"),
];

const ORDER: &str = r##"{
    "id":$id,"cancel_reason":$reason,"currency":"$currency","financial_status":"$status","name":"#$number",
    "order_number":$number,"test":true,"total_price":"$amount",
    "customer":{"id":7,"email":"ada@example.com","first_name":"$first","last_name":"$last"},
    "line_items":[{"id":1,"price":"$amount","quantity":1,"title":"Desk lamp, brass"}]
}"##;

const REFUND: &str = r#"{
    "id":$refund,"order_id":$id,"note":"It arrived bent","refund_line_items":[],
    "transactions":[
        {"id":$transaction,"amount":"$amount","currency":"$currency","kind":"refund","status":"success"}
    ]
}"#;

const PRODUCT: &str = r#"{"id":$id,"title":"Desk lamp, brass"}"#;

fn build(name: &str, salt: u64) -> Option<Sample> {
    let (topic, status, reason, template) = match name {
        "order_created" => ("orders/create", "pending", "null", ORDER),
        "order_paid" => ("orders/paid", "paid", "null", ORDER),
        "order_cancelled" => ("orders/cancelled", "voided", r#""customer""#, ORDER),
        "refund" => ("refunds/create", "", "", REFUND),
        "product" => ("products/create", "", "", PRODUCT),
        _ => return None,
    };
    let seed = Seed::new(salt);
    let id = 5_000_000_000_u64 + seed.below("id", 1_000_000_000);
    let (first, last) = seed.pick("customer", &["Ada Lights", "Otto Brass", "Mira Cyan"]).split_once(' ')?;
    let body = fill(
        template,
        &[
            ("id", &id),
            ("refund", &(id + 1)),
            ("transaction", &(id + 2)),
            ("number", &(1001 + seed.below("number", 9000))),
            ("status", &status),
            ("reason", &reason),
            ("amount", &format!("{}.{:02}", 5 + seed.below("amount", 200), seed.below("cents", 100))),
            ("currency", &seed.pick("currency", &["EUR", "USD", "GBP"])),
            ("first", &first),
            ("last", &last),
        ],
    );
    Some(envelope(topic, body.into_bytes(), salt))
}

fn envelope(topic: &str, body: Vec<u8>, salt: u64) -> Sample {
    Sample::json(topic, body)
        .with("X-Shopify-Topic", topic)
        .with("X-Shopify-Shop-Domain", "desk-lamps.myshopify.com")
        .with("X-Shopify-API-Version", "2026-07")
        .with("X-Shopify-Webhook-Id", Seed::new(salt).guid("webhook"))
}

fn sign(signing: &Signing<'_>, sample: &mut Sample) -> Result<(), &'static str> {
    let made = signature::sign(signing.secret.expose().as_bytes(), Algorithm::Sha256, &[&sample.body]);
    sample.set(SIGNATURE, read::to_base64(&made));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::{
        Options, Provider, Verified,
        tests::{NOW, delivery, request, terms, with_header},
        vectors, verify,
    };

    #[test]
    fn the_newer_header_decides_when_it_is_there() {
        let terms = terms(Provider::Shopify, &["key"]);
        let good = request(Provider::Shopify, "order_paid");
        let value = good.headers.text(SIGNATURE).expect("signed").as_bytes().to_vec();
        let check = |request: &Unverified, passes: bool| {
            let verdict = judge(&terms, request, NOW);
            assert_eq!(verdict.is_ok(), passes, "{verdict:?}");
        };
        let both = with_header(&good, SIGNATURE_OF_EVENTS, Some(&value));
        check(&both, true);
        check(&with_header(&both, SIGNATURE, None), true);
        check(&with_header(&both, SIGNATURE, Some(b"fake")), true);
        for wrong in [&b"fake"[..], b"", b"B23tXN681gZ0qIWNRrgtzBE9XSDo5yaUu6wfmhu3a7g="] {
            check(&with_header(&good, SIGNATURE_OF_EVENTS, Some(wrong)), false);
        }
    }

    #[test]
    fn a_request_calls_itself_by_either_family_or_by_none() {
        let terms = terms(Provider::Shopify, &["key"]);
        let good = request(Provider::Shopify, "order_paid");
        let identity = |request: Unverified| {
            let verified: Verified = verify(&terms, request, NOW).expect("signed");
            let delivery = delivery(verified);
            (delivery.event_type().to_owned(), delivery.id().map(str::to_owned))
        };
        assert_eq!(identity(good.clone()).0, "orders/paid");
        let bare = ["X-Shopify-Topic", "X-Shopify-Webhook-Id", "X-Shopify-Shop-Domain"];
        let bare = bare.iter().fold(good, |request, name| with_header(&request, name, None));
        assert_eq!(identity(bare.clone()), ("unknown".to_owned(), None));
        let newer = [("shopify-topic", "Order"), ("shopify-action", "create"), ("shopify-webhook-id", "7")];
        let newer =
            newer.iter().fold(bare, |request, (name, value)| with_header(&request, name, Some(value.as_bytes())));
        assert_eq!(identity(newer.clone()), ("Order/create".to_owned(), Some("7".to_owned())));
        assert_eq!(identity(with_header(&newer, "shopify-action", None)).0, "Order");
    }

    #[test]
    fn links_lead_to_shopify_alone() {
        let url = |shop: &str| {
            let order = Json::object(br#"{"id":7}"#).expect("JSON");
            let context = Context { provider: Provider::Shopify, source: "desk", options: &Options::NONE };
            tell("order_created", &order, Some(shop)).finish(&context).url
        };
        assert_eq!(url("acme.myshopify.com").as_deref(), Some("https://acme.myshopify.com/admin/orders/7"));
        assert_eq!(url("evil.example.com"), None);
        assert_eq!(url("evil.example.com/.myshopify.com"), None);
    }

    #[test]
    fn recorded_orders_and_refunds() {
        if vectors::json("payloads/manifest.json").is_none() {
            return;
        }
        let context = Context { provider: Provider::Shopify, source: "desk", options: &Options::NONE };
        let told = |topic: &str, file: &str| {
            let body = vectors::bytes(&format!("payloads/shopify/{file}.json"));
            match normalise(&context, topic, &Headers::new(), &body) {
                Normalised::Events(mut events) => events.remove(0),
                other => panic!("{other:?}"),
            }
        };
        let order = told("orders/create", "orders_create");
        assert_eq!((order.kind.as_str(), order.actor.as_str()), ("order_created", "Bob Norman"));
        assert!(order.title.starts_with("598.94 USD: order #1001, "), "{}", order.title);
        let refund = told("refunds/create", "refunds_create");
        assert_eq!((refund.kind.as_str(), &refund.subject), ("refund", &order.subject));
        assert!(refund.extra["amount"].to_string().ends_with(" USD"), "{refund:?}");
    }
}
