//! Square: `x-square-hmacsha256-signature`, an HMAC-SHA256 in base64 of the notification URL, exactly as the subscription
//! has it, and the body. A delivery is `event_id` and `type` in the body. No time is signed. The older `x-square-signature`
//! (SHA-1) does not count.
//!
//! Source of the rules: developer.squareup.com/docs/webhooks/step3validate and the official libraries.

use crate::{headers::Headers, time::Timestamp};

use super::{
    Context, Identity, Normalised, Rejection, Signing, Terms, Unverified,
    draft::Draft,
    json::{self, Json},
    money, read,
    rules::Rules,
    sample::{Sample, Seed, fill},
    signature::{self, Algorithm},
};

const SIGNATURE: &str = "x-square-hmacsha256-signature";

pub(super) const RULES: Rules = Rules {
    name: "square",
    needs_public_url: true,
    admit: |_, headers| signature_of(headers).map(|_| ()),
    judge,
    identify: |_, request| {
        let [event_type, id] = json::values(&request.body, ["/type", "/event_id"]);
        Ok(Identity::of(event_type.text(), id.text()))
    },
    normalise,
    samples: SAMPLES,
    build,
    sign,
    ..Rules::COMMON
};

fn judge(terms: &Terms, request: &Unverified, _: Timestamp) -> Result<usize, Rejection> {
    let made = signature_of(&request.headers)?;
    let url = terms.url_called(&request.target).ok_or(Rejection::NoPublicUrl)?;
    signature::signed_by(&terms.secrets, Algorithm::Sha256, &[url.as_bytes(), &request.body], &[made])
        .ok_or_else(|| Rejection::SignatureWrongFor { url: url.split('?').next().unwrap_or_default().to_owned() })
}

fn signature_of(headers: &Headers) -> Result<Vec<u8>, Rejection> {
    read::base64(read::proof(headers, SIGNATURE)?).ok_or_else(|| Rejection::malformed(SIGNATURE, "it is not base64"))
}

fn normalise(context: &Context<'_>, event_type: &str, _: &Headers, body: &[u8]) -> Normalised {
    let body = match Json::object(body) {
        Ok(body) => body,
        Err(why) => return Normalised::Undecodable(why),
    };
    let event_type = body["type"].text().unwrap_or(event_type);
    let object = &body["data"]["object"][sort(event_type)];
    match kind_of(event_type, state(object)) {
        Ok(kind) => Normalised::Events(vec![tell(kind, object, &body).finish(context)]),
        Err(why) => Normalised::Skipped(why),
    }
}

/// The name under which stands what an event is about: its type's first word, and for orders the whole of it.
fn sort(event_type: &str) -> &str {
    match event_type {
        "order.created" => "order_created",
        "order.updated" => "order_updated",
        other => other.split('.').next().unwrap_or_default(),
    }
}

fn state<'a>(object: &'a Json<'_>) -> Option<&'a str> {
    object["status"].text().or(object["state"].text())
}

/// Square says that something was updated, and what became of it stands inside.
fn kind_of(event_type: &str, state: Option<&str>) -> Result<&'static str, String> {
    let state = state.unwrap_or_default();
    let still = |what: &str| Err(format!("{what} that is {}", read::shown(state)));
    match event_type {
        "payment.created" | "payment.updated" => match state {
            "COMPLETED" => Ok("payment_succeeded"),
            "FAILED" => Ok("payment_failed"),
            _ => still("a payment"),
        },
        "refund.created" | "refund.updated" => match state {
            "REJECTED" | "FAILED" => Err("a refund that did not happen".to_owned()),
            _ => Ok("refund"),
        },
        "dispute.created" => Ok("dispute_opened"),
        "invoice.payment_made" => Ok("invoice_paid"),
        "invoice.scheduled_charge_failed" => Ok("invoice_failed"),
        "order.created" => Ok("order_created"),
        "order.updated" => match state {
            "COMPLETED" => Ok("order_paid"),
            "CANCELED" => Ok("order_cancelled"),
            _ => still("an order"),
        },
        "subscription.created" => Ok("subscription_started"),
        "subscription.updated" => match state {
            "CANCELED" | "DEACTIVATED" => Ok("subscription_cancelled"),
            _ => still("a subscription"),
        },
        "payout.paid" => Ok("payout_paid"),
        "payout.failed" => Ok("payout_failed"),
        other => Err(format!("{} is not an event we tell about", read::shown(other))),
    }
}

/// The objects share the names of their fields; each has some.
fn tell(kind: &'static str, object: &Json<'_>, body: &Json<'_>) -> Draft {
    let requested = object.at("/payment_requests/0/computed_amount_money");
    let money =
        [&object["total_money"], &object["amount_money"], requested].into_iter().find(|money| money.is_object());
    let currency = money.and_then(|money| money["currency"].text());
    let amount = money.and_then(|money| money::minor(money["amount"].whole()?, currency?));
    let customer = object["buyer_email_address"].text().or(object["customer_id"].text());
    let customer = name_of(&object["primary_recipient"]).or_else(|| customer.map(str::to_owned));
    let id = object["id"].text().or(object["dispute_id"].text()).or(object["order_id"].text());
    let what = match (object["title"].text(), object["invoice_number"].text(), object["note"].text()) {
        (Some(text), _, _) | (None, None, Some(text)) => Some(text.to_owned()),
        (None, Some(number), _) => Some(format!("invoice {number}")),
        (None, None, None) => match (&amount, id) {
            (None, Some(id)) if kind.starts_with("order") => Some(format!("order {id}")),
            (None, id) => id.map(str::to_owned),
            (Some(_), _) => None,
        },
    };
    let title = match (&amount, what) {
        (Some(amount), Some(what)) => format!("{amount}: {what}"),
        (Some(text), None) => text.clone(),
        (None, what) => what.unwrap_or_default(),
    };
    // What follows on a payment belongs to it: refunds and disputes name it.
    let subject = object["payment_id"].text().or(object["disputed_payment"]["payment_id"].text()).or(id);
    // Later updates (fees, receipts) say the same again.
    let own_id = id.filter(|_| matches!(kind, "payment_succeeded" | "payment_failed" | "refund" | "order_paid"));
    Draft::new(kind)
        .actor(customer.as_deref())
        .repository(Some(body["merchant_id"].text().unwrap_or("square")))
        .title(Some(&title))
        .url([object["receipt_url"].text(), object["public_url"].text()])
        .subject(subject.map(|id| format!("square {id}")))
        .own_id(own_id.map(|id| format!("{kind} {id}")).as_deref())
        .text("amount", amount.as_deref())
        .text("currency", currency.map(str::to_uppercase).as_deref())
        .text("customer", customer.as_deref())
        .text("reason", object["reason"].text())
        .text("status", state(object))
}

fn name_of(recipient: &Json<'_>) -> Option<String> {
    let names = ["given_name", "family_name"].into_iter().filter_map(|name| recipient[name].text());
    let names: Vec<&str> = names.filter(|name| !name.trim().is_empty()).collect();
    match names.is_empty() {
        false => Some(names.join(" ")),
        true => recipient["company_name"].text().or(recipient["email_address"].text()).map(str::to_owned),
    }
}

const SAMPLES: &[(&str, &str)] = &[
    ("payment_succeeded", "a payment is completed"),
    ("payment_failed", "a payment fails"),
    ("refund", "money goes back"),
    ("dispute_opened", "a cardholder disputes a payment"),
    ("invoice_paid", "an invoice is paid"),
    ("invoice_failed", "an invoice could not be charged"),
    ("order_created", "somebody orders"),
    ("order_paid", "an order is paid and done"),
    ("order_cancelled", "an order is cancelled"),
];

const BODY: &str = r#"{
    "merchant_id":"MDESKLAMPS","type":"$type","event_id":"$event","created_at":"2026-01-02T03:04:05.678Z",
    "data":{"type":"$sort","id":"$data","object":{"$key":$object}}
}"#;

const PAYMENT: &str = r#"{
    "id":"$payment","amount_money":$money,"status":"$state","order_id":"$order","note":"Desk lamp, brass",
    "total_money":$money,"buyer_email_address":"ada@example.com"
}"#;

const REFUND: &str = r#"{
    "id":"$refund","status":"$state","amount_money":$money,"payment_id":"$payment","reason":"It arrived bent"
}"#;

const DISPUTE: &str = r#"{
    "dispute_id":"$dispute","amount_money":$money,"reason":"NOT_AS_DESCRIBED","state":"$state",
    "disputed_payment":{"payment_id":"$payment"}
}"#;

const INVOICE: &str = r#"{
    "id":"$invoice","primary_recipient":{"given_name":"Ada","family_name":"Lights"},
    "payment_requests":[{"request_type":"BALANCE","computed_amount_money":$money}],"invoice_number":"$number"
}"#;

const ORDER: &str = r#"{"order_id":"$order","version":1,"location_id":"LDESK","state":"$state"}"#;

fn build(name: &str, salt: u64) -> Option<Sample> {
    let (event_type, state, object) = match name {
        "payment_succeeded" => ("payment.updated", "COMPLETED", PAYMENT),
        "payment_failed" => ("payment.updated", "FAILED", PAYMENT),
        "refund" => ("refund.created", "PENDING", REFUND),
        "dispute_opened" => ("dispute.created", "EVIDENCE_REQUIRED", DISPUTE),
        "invoice_paid" => ("invoice.payment_made", "", INVOICE),
        "invoice_failed" => ("invoice.scheduled_charge_failed", "", INVOICE),
        "order_created" => ("order.created", "OPEN", ORDER),
        "order_paid" => ("order.updated", "COMPLETED", ORDER),
        "order_cancelled" => ("order.updated", "CANCELED", ORDER),
        _ => return None,
    };
    let seed = Seed::new(salt);
    let id = |what: &str| seed.word(what, 22);
    let amount = 500 + seed.below("amount", 20_000);
    let currency = seed.pick("currency", &["USD", "EUR"]);
    let body = fill(
        &BODY.replace("$object", object),
        &[
            ("type", &event_type),
            ("event", &seed.guid("event")),
            ("sort", &event_type.split('.').next().unwrap_or_default()),
            ("data", &id("data")),
            ("key", &sort(event_type)),
            ("payment", &id("payment")),
            ("refund", &id("refund")),
            ("dispute", &id("dispute")),
            ("invoice", &id("invoice")),
            ("order", &id("order")),
            ("money", &format!(r#"{{"amount":{amount},"currency":"{currency}"}}"#)),
            ("number", &format!("{:06}", seed.below("number", 1_000_000))),
            ("state", &state),
        ],
    );
    Some(Sample::json(event_type, body))
}

fn sign(signing: &Signing<'_>, sample: &mut Sample) -> Result<(), &'static str> {
    let parts = [signing.url.as_bytes(), sample.query.as_bytes(), &sample.body];
    let made = signature::sign(signing.secret.expose().as_bytes(), Algorithm::Sha256, &parts);
    sample.set(SIGNATURE, read::to_base64(&made));
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::provider::{
        Options, Provider,
        tests::{NOW, request, terms},
    };

    #[test]
    fn the_address_is_signed_as_it_was_called() {
        let terms = terms(Provider::Square, &["key"]);
        let good = request(Provider::Square, "payment_succeeded");
        assert_eq!(judge(&terms, &good, NOW), Ok(0));
        for target in ["/webhooks/square/", "/webhooks/square?a=b", "/webhooks/Square", "http://hooks.example.com/x?y"]
        {
            let other = Unverified { target: target.to_owned(), ..good.clone() };
            let Err(Rejection::SignatureWrongFor { url }) = judge(&terms, &other, NOW) else { panic!("{target}") };
            assert!(!url.contains('?'), "{url}");
        }
        let unknown = Terms { public_url: None, ..terms };
        assert_eq!(judge(&unknown, &good, NOW), Err(Rejection::NoPublicUrl));
    }

    #[test]
    fn a_payment_is_told_once_it_is_decided() {
        let context = Context { provider: Provider::Square, source: "desk", options: &Options::NONE };
        let told = |kind: &str, object: Value| {
            let body = json!({ "type": kind, "data": { "object": object } });
            normalise(&context, kind, &Headers::new(), body.to_string().as_bytes())
        };
        let payment = |status: &str| json!({ "payment": { "id": "p1", "status": status } });
        for status in ["APPROVED", "PENDING", "CANCELED", ""] {
            assert!(matches!(told("payment.updated", payment(status)), Normalised::Skipped(_)), "{status}");
        }
        let Normalised::Events(first) = told("payment.created", payment("COMPLETED")) else { panic!() };
        let Normalised::Events(again) = told("payment.updated", payment("COMPLETED")) else { panic!() };
        assert_eq!((first[0].kind.as_str(), &first[0].own_id), ("payment_succeeded", &again[0].own_id));
        let refund = json!({ "refund": { "id": "r1", "payment_id": "p1", "status": "PENDING",
            "amount_money": { "amount": 1250, "currency": "JPY" } } });
        let Normalised::Events(refund) = told("refund.created", refund) else { panic!() };
        assert_eq!((refund[0].title.as_str(), &refund[0].subject), ("1250 JPY", &first[0].subject));
        let rejected = json!({ "refund": { "id": "r1", "status": "REJECTED" } });
        assert!(matches!(told("refund.updated", rejected), Normalised::Skipped(_)));
        assert!(matches!(told("catalog.version.updated", json!({})), Normalised::Skipped(_)));
        let subscription =
            |status: &str| told("subscription.updated", json!({ "subscription": { "id": "s1", "status": status } }));
        let Normalised::Events(ended) = subscription("DEACTIVATED") else { panic!() };
        assert_eq!(ended[0].kind, "subscription_cancelled");
        assert!(matches!(subscription("ACTIVE"), Normalised::Skipped(_)));
    }
}
