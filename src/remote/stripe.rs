//! Stripe's interface for programs: what has happened, and which webhook endpoints are told of it.
//!
//! Source: docs.stripe.com/api, "List all events" (30 days, newest first), "Retrieve an event", "List all webhook
//! endpoints", "Errors", and docs.stripe.com/keys, "Restricted API keys".

use serde_json::Value;

use super::{Caller, Pass, Trouble, bearer, entries, field, fields};
use crate::{http::Answer, time::Timestamp};

/// A page of a hundred events, each with the object that it is about, and those may be long.
const PAGE_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// Entries of one page, as many as there may be.
const PER_PAGE: u32 = 100;
/// Stripe lets an account have 16 of its own; those of connected accounts come on top.
const ENDPOINT_PAGES_MAX: u32 = 10;

/// Where Stripe delivers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The address.
    pub url: String,
    /// What it is told of; `*` is everything.
    pub types: Vec<String>,
    /// Since when there is one.
    pub since: Timestamp,
    /// Whether Stripe delivers to it now. It gives one up that has failed for days.
    pub is_enabled: bool,
}

impl Endpoint {
    /// Whether it is told of that sort, and was there then.
    pub fn wants(&self, event: &Event) -> bool {
        self.since <= event.at && self.types.iter().any(|wanted| wanted == "*" || *wanted == event.kind)
    }
}

/// Something that happened, as the list has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// `evt_…`
    pub id: String,
    /// `invoice.paid`
    pub kind: String,
    /// When, in whole seconds.
    pub at: Timestamp,
    /// Endpoints that have not taken it.
    pub pending: u64,
}

/// A page of events, newest first.
#[derive(Clone, Debug)]
pub struct Events {
    /// What is on it.
    pub events: Vec<Event>,
    /// Entries that cannot be read, besides.
    pub unread: usize,
    /// Whether there are older ones.
    pub has_more: bool,
    /// Stripe's clock.
    pub now: Option<Timestamp>,
}

/// Stripe's interface, asked by one who may.
#[derive(Debug)]
pub struct Stripe {
    caller: Caller,
    pass: Pass,
}

impl Stripe {
    /// Asks by `caller` as `pass`, which is a key.
    pub fn new(caller: Caller, pass: Pass) -> Stripe {
        Stripe { caller, pass }
    }

    /// Who asks, and how often it did.
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Every endpoint of the account.
    ///
    /// # Errors
    /// Why they are not to be had.
    pub fn endpoints(&self) -> Result<Vec<Endpoint>, Trouble> {
        let (mut endpoints, mut after) = (Vec::new(), String::new());
        for _ in 0..ENDPOINT_PAGES_MAX {
            let answer = self.get(&format!("/v1/webhook_endpoints?limit={PER_PAGE}{after}"), "Webhook Endpoints")?;
            let page = super::json(&answer, self.caller.host())?;
            let entries = page["data"].as_array().map(Vec::as_slice).unwrap_or_default();
            endpoints.extend(entries.iter().map(endpoint));
            match entries.last().and_then(|last| last["id"].as_str()) {
                Some(last) if page["has_more"] == true => after = format!("&starting_after={last}"),
                _ => break,
            }
        }
        Ok(endpoints)
    }

    /// A page of what has happened, those after `since` alone where that is given. `after` is the last one of the page before.
    ///
    /// # Errors
    /// Why it is not to be had.
    pub fn events(&self, since: Option<Timestamp>, after: Option<&str>) -> Result<Events, Trouble> {
        let since = since.map(|since| format!("&created%5Bgte%5D={}", since.seconds())).unwrap_or_default();
        let after = after.map(|id| format!("&starting_after={id}")).unwrap_or_default();
        let answer = self.get(&format!("/v1/events?limit={PER_PAGE}{since}{after}"), "Events")?;
        let ill = |why: String| Trouble::Ill(format!("{} lists events that we cannot read: {why}", self.caller.host()));
        let page = fields(&answer.body).map_err(ill)?;
        let listed = page.get("data").ok_or_else(|| ill("there is no list".to_owned()))?;
        let listed = entries(listed.get()).map_err(ill)?;
        let (events, unread) = super::readable(listed, |raw| event(raw.get())).map_err(ill)?;
        Ok(Events { events, unread, has_more: field(&page, "has_more") == true, now: answer.date })
    }

    /// One event whole, in Stripe's bytes.
    ///
    /// # Errors
    /// Why it is not to be had.
    pub fn event(&self, id: &str) -> Result<Vec<u8>, Trouble> {
        self.get(&format!("/v1/events/{id}"), "Events").map(|answer| answer.body.into_bytes())
    }

    /// Gets what a key with that permission may read.
    fn get(&self, path: &str, permission: &str) -> Result<Answer, Trouble> {
        let authorization = match &self.pass {
            Pass::Token(key) => Some(bearer(key)),
            _ => None,
        };
        let fields: Vec<_> = authorization.as_deref().map(|value| ("Authorization", value)).into_iter().collect();
        let answer = self.caller.get_within(path, &fields, None, PAGE_BYTES_MAX).map_err(|trouble| match trouble {
            Trouble::Refused { status: status @ (401 | 403), what, .. } => {
                let remedy = format!(
                    "it needs a restricted key of this account (rk_…) with the permissions \"Events: Read\" and \"Webhook \
                     Endpoints: Read\"; here it is \"{permission}: Read\""
                );
                Trouble::Refused { status, what, remedy }
            }
            trouble => trouble,
        })?;
        answer.ok_or_else(|| Trouble::Ill(format!("{} answers 304 to who has seen nothing", self.caller.host())))
    }
}

fn endpoint(value: &Value) -> Endpoint {
    let types = value["enabled_events"].as_array().into_iter().flatten().filter_map(Value::as_str);
    Endpoint {
        url: value["url"].as_str().unwrap_or_default().to_owned(),
        types: types.map(str::to_owned).collect(),
        since: seconds(&value["created"]).unwrap_or(Timestamp::from_ms(0)),
        is_enabled: value["status"] != "disabled",
    }
}

/// What an event is about is passed over: a page of it would fill the memory of a small board.
fn event(json: &str) -> Result<Event, String> {
    let fields = fields(json)?;
    let text = |name: &str| field(&fields, name).as_str().map(str::to_owned).ok_or(format!("one has no {name}"));
    let (id, kind) = (text("id")?, text("type")?);
    // It becomes part of a path.
    if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return Err(format!("one is called {}", super::quoted(&id)));
    }
    let at = seconds(&field(&fields, "created")).ok_or(format!("{id} has no time"))?;
    Ok(Event { id, kind, at, pending: field(&fields, "pending_webhooks").as_u64().unwrap_or_default() })
}

fn seconds(value: &Value) -> Option<Timestamp> {
    value.as_i64()?.checked_mul(1000).map(Timestamp::from_ms)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_event_is_read_without_what_it_is_about() {
        let found = event(
            r#"{ "id": "evt_1", "type": "invoice.paid", "created": 1790000000, "data": {"object": {"id": "in_1"}},
                 "pending_webhooks": 2 }"#,
        );
        let at = Timestamp::from_ms(1_790_000_000_000);
        assert_eq!(found, Ok(Event { id: "evt_1".to_owned(), kind: "invoice.paid".to_owned(), at, pending: 2 }));
        for (wrong, why) in [
            (r#"{"id":"evt_1","type":"x"}"#, "no time"),
            (r#"{"id":"evt_1","created":1}"#, "no type"),
            (r#"{"type":"x","created":1}"#, "no id"),
            (r#"{"id":"../x","type":"x","created":1}"#, "called"),
            ("[]", "invalid type"),
        ] {
            assert!(event(wrong).unwrap_err().contains(why), "{wrong}: {:?}", event(wrong));
        }
    }

    #[test]
    fn an_endpoint_wants_what_it_was_there_for() {
        let endpoint = |types: Value| endpoint(&json!({"url": "x", "enabled_events": types, "created": 100}));
        let event = |kind: &str, at_ms| Event {
            id: "evt_1".to_owned(),
            kind: kind.to_owned(),
            at: Timestamp::from_ms(at_ms),
            pending: 0,
        };
        let all = endpoint(json!(["*"]));
        assert!(all.is_enabled && all.wants(&event("a.b", 100_000)) && !all.wants(&event("a.b", 99_000)));
        let some = endpoint(json!(["a.b", "c.d"]));
        assert!(some.wants(&event("c.d", 100_000)) && !some.wants(&event("c.e", 100_000)));
    }
}
