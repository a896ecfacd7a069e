//! Stripe: `Stripe-Signature: t=…,v1=…`, an HMAC-SHA256 of the time, a dot and the body. A delivery is `id` (`evt_…`) and
//! `type` in the body. The key is the whole text of the secret, `whsec_` included.
//!
//! Source of the rules: docs.stripe.com/webhooks/signature, and the official libraries (stripe-node, stripe-python).

use std::time::Duration;

use crate::{headers::Headers, time::Timestamp};

use super::{
    Context, Identity, Normalised, Rejection, Signing, Terms, Unverified,
    draft::Draft,
    json::{self, Json},
    money,
    read::{self, Window},
    rules::Rules,
    sample::{Sample, Seed, fill},
    signature::{self, Algorithm},
};

const SIGNATURE: &str = "Stripe-Signature";

/// The libraries' own; `tolerance` overrides it.
const TOLERANCE: Duration = Duration::from_secs(300);

pub(super) const RULES: Rules = Rules {
    name: "stripe",
    options: &["tolerance"],
    admit: |_, headers| signatures_of(headers).map(|_| ()),
    judge,
    identify: |_, request| {
        let [event_type, id] = json::values(&request.body, ["/type", "/id"]);
        Ok(Identity::of(event_type.text(), id.text()))
    },
    normalise,
    samples: SAMPLES,
    build,
    sign,
    ..Rules::COMMON
};

struct Signatures<'h> {
    time: &'h str,
    v1: Vec<Vec<u8>>,
}

/// The signature first, then its age; a time ahead of ours is no harm, as in the libraries.
fn judge(terms: &Terms, request: &Unverified, now: Timestamp) -> Result<usize, Rejection> {
    let Signatures { time, v1 } = signatures_of(&request.headers)?;
    let signed_at = read::seconds(SIGNATURE, time)?;
    let by = signature::signed_by(&terms.secrets, Algorithm::Sha256, &[time.as_bytes(), b".", &request.body], &v1)
        .ok_or(Rejection::SignatureWrong)?;
    let signed_at = Timestamp::from_ms(signed_at * 1000);
    read::within(signed_at, now, terms.tolerance(TOLERANCE), Window::Past)?;
    Ok(by)
}

/// One `t`, and every `v1`: two while a secret is rolled. What else is in the list (`v0` of test mode) is passed over.
fn signatures_of(headers: &Headers) -> Result<Signatures<'_>, Rejection> {
    let malformed = |why| Rejection::malformed(SIGNATURE, why);
    let (mut time, mut v1) = (None, Vec::new());
    for (index, part) in read::proof_text(headers, SIGNATURE)?.split(',').enumerate() {
        if index >= read::DIGESTS_MAX {
            return Err(malformed("it has too many parts"));
        }
        match part.split_once('=') {
            // Two times are two truths: the libraries themselves disagree which one counts.
            Some(("t", _)) if time.is_some() => return Err(malformed("it has more than one time")),
            Some(("t", value)) => time = Some(value),
            Some(("v1", value)) => v1.extend(read::hex(value.as_bytes())),
            _ => {}
        }
    }
    let time = time.ok_or(malformed("it has no time"))?;
    match v1.is_empty() {
        true => Err(malformed("it has no signature of scheme v1")),
        false => Ok(Signatures { time, v1 }),
    }
}

fn normalise(context: &Context<'_>, event_type: &str, _: &Headers, body: &[u8]) -> Normalised {
    let body = match Json::object(body) {
        Ok(body) => body,
        Err(why) => return Normalised::Undecodable(why),
    };
    // One payment makes several events: it is told by the one that is about the payment itself.
    let of_intent = body["data"]["object"]["payment_intent"].text().is_some();
    let kind = match body["type"].text().unwrap_or(event_type) {
        "payment_intent.succeeded" => "payment_succeeded",
        "payment_intent.payment_failed" => "payment_failed",
        "charge.succeeded" | "charge.failed" if of_intent => {
            return Normalised::Skipped("a charge of a payment intent, which is told itself".to_owned());
        }
        "charge.succeeded" => "payment_succeeded",
        "charge.failed" => "payment_failed",
        "charge.refunded" => "refund",
        "charge.dispute.created" => "dispute_opened",
        "customer.subscription.created" => "subscription_started",
        "customer.subscription.deleted" => "subscription_cancelled",
        "invoice.paid" => "invoice_paid",
        "invoice.payment_failed" => "invoice_failed",
        "payout.paid" => "payout_paid",
        "payout.failed" => "payout_failed",
        "checkout.session.completed" => "checkout_completed",
        other => return Normalised::Skipped(format!("{} is not an event we tell about", read::shown(other))),
    };
    Normalised::Events(vec![tell(kind, &body).finish(context)])
}

/// What an event is about has as many shapes as there are types. They share the names of their fields; each has some.
fn tell(kind: &'static str, body: &Json<'_>) -> Draft {
    let object = &body["data"]["object"];
    let (id, currency) = (object["id"].text(), object["currency"].text());
    let amount = match kind {
        "refund" => object["amount_refunded"].whole().or(object["amount"].whole()),
        "invoice_paid" => object["amount_paid"].whole().or(object["amount_due"].whole()),
        "invoice_failed" => object["amount_due"].whole(),
        "checkout_completed" => object["amount_total"].whole(),
        _ => object["amount_received"].whole().filter(|amount| *amount > 0).or(object["amount"].whole()),
    };
    let amount = amount.and_then(|amount| money::minor(amount, currency?));
    let customer = (object["customer_name"].text())
        .or(object["customer_email"].text())
        .or(name(&object["billing_details"]))
        .or(name(&object["customer_details"]))
        .or(object["customer"].text());
    let reason = (object["last_payment_error"]["message"].text())
        .or(object["failure_message"].text())
        .or(object["cancellation_details"]["reason"].text())
        .or(object["reason"].text());
    let title = match (object["description"].text(), object["number"].text(), &amount) {
        (Some(description), _, Some(amount)) => format!("{amount}: {description}"),
        (None, Some(number), Some(amount)) => format!("{amount}: invoice {number}"),
        (None, None, Some(amount)) => amount.clone(),
        (Some(text), _, None) | (None, Some(text), None) => text.to_owned(),
        (None, None, None) => id.unwrap_or_default().to_owned(),
    };
    // Test mode has a dashboard of its own; whose payments these are is known to who is signed in.
    let is_test = body["livemode"].flag() == Some(false);
    let mode = if is_test { "test/" } else { "" };
    let page = match kind {
        "payment_succeeded" | "payment_failed" | "refund" => Some("payments"),
        "dispute_opened" => Some("disputes"),
        "subscription_started" | "subscription_cancelled" => Some("subscriptions"),
        "invoice_paid" | "invoice_failed" => Some("invoices"),
        "payout_paid" | "payout_failed" => Some("payouts"),
        _ => None,
    };
    let page = page.zip(id).map(|(page, id)| format!("https://dashboard.stripe.com/{mode}{page}/{id}"));
    // What follows on a payment belongs to it: refunds and disputes name the intent.
    let subject = object["payment_intent"].text().or(object["invoice"].text()).or(id);
    Draft::new(kind)
        .actor(customer)
        .repository(Some(body["account"].text().unwrap_or("stripe")))
        .title(Some(&title))
        .url([object["hosted_invoice_url"].text(), page.as_deref(), object["receipt_url"].text()])
        .subject(subject.map(|id| format!("stripe {id}")))
        .text("amount", amount.as_deref())
        .text("currency", currency.map(str::to_uppercase).as_deref())
        .text("customer", customer)
        .text("reason", reason)
        .text("status", object["status"].text())
        .flag("live", body["livemode"].flag())
}

/// Whose card it is, or whose purchase.
fn name<'a>(details: &'a Json<'_>) -> Option<&'a str> {
    details["name"].text().or(details["email"].text())
}

const SAMPLES: &[(&str, &str)] = &[
    ("payment_succeeded", "a customer pays"),
    ("payment_failed", "a card is declined"),
    ("refund", "a payment is paid back"),
    ("dispute_opened", "a bank asks for the money back"),
    ("subscription_started", "a customer subscribes"),
    ("subscription_cancelled", "a subscription ends"),
    ("invoice_paid", "an invoice is paid"),
    ("invoice_failed", "an invoice cannot be collected"),
    ("payout_paid", "money arrives at your bank"),
    ("payout_failed", "money does not arrive at your bank"),
    ("checkout_completed", "a customer goes through the checkout"),
];

const BODY: &str = r#"{
    "id":"evt_$event","object":"event","api_version":"2026-09-30","data":{"object":$object},
    "livemode":false,"type":"$type"
}"#;

const PAYMENT: &str = r#"{
    "id":"$id","object":"payment_intent","amount":$amount,"amount_received":$amount,"currency":"$currency",
    "description":"Desk lamp, brass","status":"$status"
}"#;

const DECLINED: &str = r#"{
    "id":"$id","object":"payment_intent","amount":$amount,"amount_received":0,"currency":"$currency",
    "description":"Desk lamp, brass",
    "last_payment_error":{"code":"card_declined","message":"Your card was declined."},"status":"$status"
}"#;

const CHARGE: &str = r#"{
    "id":"$id","object":"charge","amount":$amount,"amount_refunded":$amount,"billing_details":{"name":"$name"},
    "currency":"$currency","payment_intent":"pi_$intent"
}"#;

const DISPUTE: &str = r#"{
    "id":"$id","object":"dispute","amount":$amount,"currency":"$currency","payment_intent":"pi_$intent",
    "reason":"fraudulent","status":"$status"
}"#;

const SUBSCRIPTION: &str = r#"{
    "id":"$id","object":"subscription","currency":"$currency","customer":"cus_$customer",
    "description":"Light of the month","status":"$status"
}"#;

const INVOICE: &str = r#"{
    "id":"$id","object":"invoice","amount_due":$amount,"amount_paid":$paid,"currency":"$currency",
    "customer_name":"$name","number":"DESK-$number","status":"$status"
}"#;

const PAYOUT: &str = r#"{
    "id":"$id","object":"payout","amount":$payout,"currency":"$currency","description":"STRIPE PAYOUT",
    "failure_message":$failure,"status":"$status"
}"#;

const CHECKOUT: &str = r#"{
    "id":"$id","object":"checkout.session","amount_total":$amount,"currency":"$currency",
    "customer_details":{"email":"ada@example.com","name":"$name"},"payment_intent":"pi_$intent","status":"$status"
}"#;

fn build(name: &str, salt: u64) -> Option<Sample> {
    let (event_type, prefix, status, object) = match name {
        "payment_succeeded" => ("payment_intent.succeeded", "pi", "succeeded", PAYMENT),
        "payment_failed" => ("payment_intent.payment_failed", "pi", "requires_payment_method", DECLINED),
        "refund" => ("charge.refunded", "ch", "", CHARGE),
        "dispute_opened" => ("charge.dispute.created", "dp", "needs_response", DISPUTE),
        "subscription_started" => ("customer.subscription.created", "sub", "active", SUBSCRIPTION),
        "subscription_cancelled" => ("customer.subscription.deleted", "sub", "canceled", SUBSCRIPTION),
        "invoice_paid" => ("invoice.paid", "in", "paid", INVOICE),
        "invoice_failed" => ("invoice.payment_failed", "in", "open", INVOICE),
        "payout_paid" => ("payout.paid", "po", "paid", PAYOUT),
        "payout_failed" => ("payout.failed", "po", "failed", PAYOUT),
        "checkout_completed" => ("checkout.session.completed", "cs", "complete", CHECKOUT),
        _ => return None,
    };
    let seed = Seed::new(salt);
    let amount = 500 + seed.below("amount", 20_000);
    let body = fill(
        &BODY.replace("$object", object),
        &[
            ("event", &seed.word("evt", 24)),
            ("type", &event_type),
            ("id", &format!("{prefix}_{}", seed.word(prefix, 24))),
            ("intent", &seed.word("pi", 24)),
            ("customer", &seed.word("cus", 24)),
            ("name", &seed.pick("customer", &["Ada Lights", "Otto Brass", "Mira Cyan"])),
            ("number", &format!("{:04}", seed.below("number", 10_000))),
            ("amount", &amount),
            ("paid", if status == "paid" { &amount } else { &0 }),
            ("payout", &(amount * 10)),
            ("currency", &seed.pick("currency", &["eur", "usd", "jpy", "gbp"])),
            ("status", &status),
            ("failure", if status == "failed" { &r#""The bank account has been closed.""# } else { &"null" }),
        ],
    );
    Some(Sample::json(event_type, body))
}

fn sign(signing: &Signing<'_>, sample: &mut Sample) -> Result<(), &'static str> {
    let time = signing.now.seconds().to_string();
    let key = signing.secret.expose().as_bytes();
    let made = signature::sign(key, Algorithm::Sha256, &[time.as_bytes(), b".", &sample.body]);
    sample.set(SIGNATURE, format!("t={time},v1={}", read::to_hex(&made)));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::{
        Options, Provider,
        tests::{NOW, request, terms, with_header},
    };

    #[test]
    fn several_signatures_and_one_time() {
        let terms = terms(Provider::Stripe, &["key"]);
        let good = request(Provider::Stripe, "payment_succeeded");
        let value = good.headers.text(SIGNATURE).expect("signed").to_owned();
        let check = |value: &str, passes: bool| {
            let verdict = judge(&terms, &with_header(&good, SIGNATURE, Some(value.as_bytes())), NOW);
            assert_eq!(verdict.is_ok(), passes, "{value}: {verdict:?}");
        };
        check(&value, true);
        check(&format!("{value},v1={},v0=xyz,other=", "0".repeat(64)), true);
        check(&value.replace(",v1=", ",v1=00,v1="), true);
        check(&format!("{value},t=1"), false);
        check(&value.replace("v1", "v0"), false);
        check(&format!("{value}{}", ",x=".repeat(read::DIGESTS_MAX)), false);
        check(&value.to_uppercase(), false);
    }

    #[test]
    fn old_ones_are_refused_and_future_ones_are_not() {
        let mut terms = terms(Provider::Stripe, &["key"]);
        let good = request(Provider::Stripe, "payment_succeeded");
        let at =
            |terms: &Terms, seconds: i64| judge(terms, &good, Timestamp::from_ms(NOW.ms() + seconds * 1000)).is_ok();
        assert!(at(&terms, 300) && at(&terms, -100_000));
        assert!(!at(&terms, 301));
        terms.options.tolerance = Some(Duration::ZERO);
        assert!(at(&terms, 1_000_000));
    }

    #[test]
    fn a_charge_is_told_where_nothing_else_tells_it() {
        let context = Context { provider: Provider::Stripe, source: "desk", options: &Options::NONE };
        let told = |kind: &str, object: &str| {
            let body = format!(r#"{{"type":"{kind}","data":{{"object":{object}}}}}"#);
            match normalise(&context, kind, &Headers::new(), body.as_bytes()) {
                Normalised::Events(events) => events[0].kind.clone(),
                Normalised::Skipped(why) => why,
                other => panic!("{other:?}"),
            }
        };
        let alone = r#"{"id":"ch_1","amount":500,"currency":"eur"}"#;
        assert_eq!(told("charge.succeeded", alone), "payment_succeeded");
        assert_eq!(told("charge.failed", alone), "payment_failed");
        let of_intent = r#"{"id":"ch_1","payment_intent":"pi_1"}"#;
        assert!(told("charge.failed", of_intent).contains("which is told itself"));
    }
}
