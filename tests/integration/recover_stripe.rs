//! What has happened at Stripe and did not reach us comes in: exactly that, in its order, once.

use hookbell::{
    provider::{Provider, Signing, sample::Sample},
    secret::Secret,
    time::{Clock, SystemClock, Timestamp},
};
use serde_json::{Value, json};

use crate::{
    harness::{Home, SECRET, Service, http, slack::Slack},
    interface::{Asked, DAY, HOUR, Interface, MINUTE, Reply, ago, ask, reconcile, reconciled, report, stored, trouble},
};

const KEY: &str = "rk_test_not_a_key";

/// An account, as far as it is asked about.
#[derive(Default)]
struct Account {
    /// Newest first.
    events: Vec<Value>,
    endpoints: Vec<Value>,
    /// What the key may not.
    forbidden: Option<&'static str>,
    /// The next request is one too many.
    is_limited: bool,
    /// What happens while a list is read.
    meanwhile: Option<Value>,
}

fn answer(account: &mut Account, asked: &Asked) -> Reply {
    let refuse = |status, message: &str| Reply::json(status, &json!({ "error": { "message": message } }));
    if asked.header("authorization") != format!("Bearer {KEY}") {
        return refuse(401, "Invalid API Key provided: rk_test_****");
    }
    if std::mem::take(&mut account.is_limited) {
        return refuse(429, "Too many requests").with("Retry-After", 1);
    }
    if account.forbidden.is_some_and(|path| asked.path.starts_with(path)) {
        return refuse(
            403,
            "The provided key 'rk_test_****' does not have the required permissions for this endpoint on account 'acct_1'.",
        );
    }
    if let Some(id) = asked.path.strip_prefix("/v1/events/") {
        let found = account.events.iter().find(|event| event["id"] == id);
        return found.map_or(refuse(404, "No such event"), |event| Reply::json(200, event));
    }
    let (all, is_events) = match asked.path.as_str() {
        "/v1/events" => (&account.events, true),
        "/v1/webhook_endpoints" => (&account.endpoints, false),
        other => panic!("{other} is not asked for"),
    };
    let number = |name: &str| asked.query.get(name).map(|text| text.parse::<i64>().expect("a number"));
    let limit = usize::try_from(number("limit").unwrap_or(10)).expect("a few");
    assert!(limit <= 100);
    let after = asked.query.get("starting_after");
    let at = after.map_or(0, |id| all.iter().position(|one| one["id"] == id.as_str()).expect("it is there") + 1);
    let is_young = |one: &&Value| one["created"].as_i64() >= number("created[gte]");
    let listed: Vec<&Value> = all.iter().skip(at).filter(is_young).collect();
    let body = json!({ "object": "list", "data": listed.iter().take(limit).collect::<Vec<_>>(),
        "has_more": listed.len() > limit, "url": asked.path });
    if let Some(event) = account.meanwhile.take_if(|_| is_events) {
        account.events.insert(0, event);
    }
    Reply::json(200, &body)
}

/// One that says which it is.
fn event(number: usize, kind: &str, at: Timestamp, pending: u64) -> Value {
    json!({ "id": format!("evt_{number:04}"), "object": "event", "created": at.seconds(), "type": kind,
        "pending_webhooks": pending, "livemode": false, "data": { "object": { "id": format!("pi_{number}"),
        "object": "payment_intent", "amount": 100 * number, "currency": "eur", "description": "Desk lamp" } } })
}

const PAID: &str = "payment_intent.succeeded";

fn endpoint(types: Value, since: Timestamp) -> Value {
    json!({ "id": "we_1", "object": "webhook_endpoint", "url": "https://hooks.example.com/webhooks/stripe",
        "enabled_events": types, "created": since.seconds(), "status": "enabled" })
}

/// An account with our endpoint and one of somebody else.
fn account() -> Interface<Account> {
    let other = json!({ "id": "we_0", "url": "https://elsewhere.example/", "enabled_events": ["charge.succeeded"],
        "created": 0, "status": "enabled" });
    let endpoints = vec![endpoint(json!([PAID, "invoice.paid"]), ago(DAY * 20)), other];
    Interface::start(Account { endpoints, ..Account::default() }, answer)
}

fn home(slack: &Slack, stripe: &Interface<Account>) -> Home {
    let home = Home::new();
    let more = format!(
        "[sources.stripe]\nsecret = {{ file = \"stripe.secret\" }}\n\
         [sources.stripe.recover]\napi = \"{}\"\ntoken = {{ file = \"stripe.key\" }}\n",
        stripe.url
    );
    home.configure(&slack.url, &more);
    std::fs::write(home.path("stripe.secret"), SECRET).expect("written");
    std::fs::write(home.path("stripe.key"), KEY).expect("written");
    home
}

/// Stripe delivers it: signed. What the door says.
fn deliver(service: &Service, event: &Value) -> Value {
    let body = serde_json::to_string(event).expect("JSON");
    let mut sample = Sample::json(event["type"].as_str().expect("a type"), body);
    let secret = Secret::new(SECRET.to_owned()).expect("not empty");
    sample.sign(Provider::Stripe, &Signing::new(&secret, "", SystemClock.wall())).expect("any secret will do");
    let answer = http::post(&service.door, "/webhooks/stripe", &sample.headers, &sample.body).expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.body);
    serde_json::from_str(&answer.body).expect("JSON")
}

fn id(number: usize) -> String {
    format!("evt_{number:04}")
}

#[test]
fn exactly_what_was_not_delivered_comes_in_oldest_first_and_once() {
    let (slack, stripe) = (Slack::start(), account());
    let home = home(&slack, &stripe);
    // Before there was an endpoint; taken by whoever stood here before us; not for us.
    let older = [
        event(1, PAID, ago(DAY * 25), 1),
        event(2, PAID, ago(DAY * 3), 0),
        event(3, "charge.succeeded", ago(DAY * 2), 1),
    ];
    // Nobody took it: nine days of them, over several pages, two in each second of them.
    let mut all: Vec<Value> = older.into();
    let at = |number: usize| ago(DAY).minus(HOUR * u32::try_from((300 - number) / 2).expect("few"));
    all.extend((10..300).map(|number| event(number, PAID, at(number), 1)));
    // Stripe is at it.
    all.push(event(300, PAID, ago(MINUTE), 1));
    all.reverse();
    stripe.with(|account| {
        account.events = all;
        account.meanwhile = Some(event(301, PAID, ago(MINUTE), 1));
    });
    let service = home.start(&["run"]);
    let first = reconciled(&home);
    assert_eq!(stored(&home, "recovered"), (10..300).map(id).collect::<Vec<_>>());
    assert_eq!(
        (&first["recovered"], &first["missing"], &first["place"]),
        (&json!(290), &json!(0), &json!("the account"))
    );
    let until = first["reconciled_until"].as_str().and_then(Timestamp::parse).expect("a moment");
    assert!(until <= ago(MINUTE) && until > ago(MINUTE * 3), "not past what is on its way: {until}");
    assert_eq!((stripe.count("/v1/events/"), stripe.count("/v1/webhook_endpoints")), (290, 1));

    // It was; and of what went well before our first, nothing is ours.
    let young = stripe.with(|account| account.events[1].clone());
    assert_eq!((&young["id"], &deliver(&service, &young)["status"]), (&json!("evt_0300"), &json!("accepted")));
    // Stripe stops trying one, and was told 200 for two that we do not have.
    stripe.with(|account| {
        account.events[0]["created"] = json!(ago(MINUTE * 11).seconds());
        account.events.insert(0, event(302, "invoice.paid", ago(MINUTE * 2), 0));
        account.events.insert(0, event(303, "invoice.paid", SystemClock.wall(), 0));
    });
    let second = reconcile(&home);
    assert_eq!(second["recovered"], 292, "{second}");
    let expected: Vec<String> = (10..300).chain([301, 303]).map(id).collect();
    assert_eq!(stored(&home, "recovered"), expected);
    let asked = stripe.asked();
    assert!(asked.last().expect("the last one").path.ends_with("evt_0303"));
    assert!(asked.iter().rev().any(|asked| asked.query.contains_key("created[gte]")), "only what is new is listed");

    // What Stripe signed comes late: the same, in its own bytes.
    let (status, again) = (deliver(&service, &young), deliver(&service, &event(301, PAID, ago(MINUTE * 11), 1)));
    assert_eq!((&status["status"], &again["status"]), (&json!("duplicate"), &json!("duplicate")));
    assert!(service.terminate().success());
    let requests = asked.len();
    let service = home.start(&["run"]);
    let third = reconcile(&home);
    assert_eq!((stored(&home, "recovered"), &third["recovered"]), (expected, &json!(292)));
    assert!(stripe.asked().iter().skip(requests).all(|asked| !asked.path.starts_with("/v1/events/")));
    // What it means is read as if it had come by itself.
    let row = &home.json(&["deliveries", "show", "1", "--json"])[0];
    assert_eq!((&row["delivery_id"], &row["event_type"]), (&json!("evt_0010"), &json!(PAID)));
    assert!(row["notes"].to_string().contains("Stripe could not deliver it"), "{row}");
    assert!(service.terminate().success());
}

#[test]
fn a_key_that_may_not_is_told_what_it_lacks_and_nothing_else_breaks() {
    let (slack, stripe) = (Slack::start(), account());
    let home = home(&slack, &stripe);
    stripe.with(|account| {
        account.events = vec![event(1, PAID, ago(HOUR), 1)];
        account.forbidden = Some("/v1/webhook_endpoints");
    });
    let service = home.start(&["run"]);
    let said = trouble(&home, "403");
    assert!(said.contains("does not have the required permissions"), "{said}");
    assert!(said.contains("\"Webhook Endpoints: Read\"") && !said.contains(KEY), "{said}");
    stripe.with(|account| account.forbidden = Some("/v1/events"));
    ask(&home);
    trouble(&home, "here it is \"Events: Read\"");
    assert_eq!(deliver(&service, &event(2, PAID, ago(MINUTE), 0))["status"], "accepted");
    assert_eq!(service.post_sample("push", 1).0, 200);

    // An endpoint that leads elsewhere is not ours.
    stripe.with(|account| {
        account.forbidden = None;
        account.endpoints.remove(0);
    });
    ask(&home);
    trouble(&home, "no webhook that leads to /webhooks/stripe");
    stripe.with(|account| account.endpoints.push(endpoint(json!(["*"]), ago(DAY))));
    let after = reconcile(&home);
    assert!(after["trouble"].is_null() && after["recovered"] == 1, "{after}");
    assert_eq!(stored(&home, "recovered"), [id(1)]);
    // The right key, but of another account.
    std::fs::write(home.path("stripe.key"), "rk_test_other").expect("written");
    assert!(service.terminate().success());
    let service = home.start(&["run"]);
    let said = trouble(&home, "401");
    assert!(said.contains("restricted key"), "{said}");
    assert!(service.terminate().success());
}

#[test]
fn who_asks_too_often_waits_as_long_as_stripe_says() {
    let (slack, stripe) = (Slack::start(), account());
    let home = home(&slack, &stripe);
    stripe.with(|account| {
        account.events = vec![event(1, PAID, ago(HOUR), 1)];
        account.is_limited = true;
    });
    let service = home.start(&["run"]);
    trouble(&home, "asked too often");
    let report = home.wait_for("the second to pass", |home| {
        ask(home);
        let report = report(home);
        report["trouble"].is_null().then_some(report)
    });
    assert_eq!((&report["recovered"], stored(&home, "recovered")), (&json!(1), vec![id(1)]));
    // One that was too many, then the endpoints, the list and the event; asking meanwhile sent nothing.
    assert!(stripe.count("/v1/events/") == 1 && stripe.asked().len() <= 8, "{:#?}", stripe.asked());
    assert!(service.terminate().success());
}
