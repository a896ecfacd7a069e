//! What GitHub knows.

use std::{collections::HashMap, time::Duration};

use hookbell::time::{Clock, SystemClock, Timestamp};
use serde_json::{Value, json};

use super::{
    Act, Call, TOKEN,
    answer::{Answer, Request},
    rights::{Budget, Rights},
};

/// Deliveries are kept for three days, events for thirty.
const DELIVERIES_KEPT: Duration = Duration::from_secs(3 * 24 * 60 * 60);
/// Above 2^53, where a reader that takes numbers for floats loses some.
const FIRST_DELIVERY: i64 = (1 << 53) + 1;
/// GUIDs of recorded deliveries are different in each of a test's GitHubs.
const GUID_TAIL: &str = "b361-11eb-836d";

/// One of them; the stand-in knows its secret.
#[derive(Clone, Debug)]
pub(crate) struct Hook {
    pub(crate) id: i64,
    /// `acme/api`, `acme` or `app`.
    pub(crate) owner: String,
    pub(crate) url: String,
    /// `json` or `form`.
    pub(crate) content_type: String,
    pub(crate) insecure_ssl: String,
    pub(crate) secret: Option<String>,
    pub(crate) events: Vec<String>,
    pub(crate) active: bool,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
}

/// One attempt to deliver an event.
#[derive(Clone, Debug)]
pub(crate) struct Delivery {
    pub(crate) id: i64,
    pub(crate) guid: String,
    pub(crate) hook: i64,
    pub(crate) at: Timestamp,
    pub(crate) redelivery: bool,
    /// The answer's; 502 and 504 are also GitHub's own words for no answer.
    pub(crate) status_code: u16,
    pub(crate) status: String,
    pub(crate) event: String,
    pub(crate) payload: Value,
    /// The bytes that went out, a form where the hook wants forms.
    pub(crate) sent: Vec<u8>,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) url: String,
    /// What was answered.
    pub(crate) answer: Option<String>,
}

#[derive(Debug)]
pub(super) struct Event {
    pub(super) id: String,
    pub(super) kind: String,
    pub(super) payload: Value,
    pub(super) at: Timestamp,
}

/// Everything that GitHub knows, and what a test has told it to do.
#[derive(Debug)]
pub(crate) struct State {
    pub(super) base: String,
    /// Repositories and organisations with their ids.
    pub(super) owners: Vec<(String, i64)>,
    pub(crate) hooks: Vec<Hook>,
    /// Oldest first.
    pub(crate) deliveries: Vec<Delivery>,
    pub(super) events: HashMap<String, Vec<Event>>,
    pub(crate) tokens: HashMap<String, Rights>,
    pub(super) budgets: HashMap<String, Budget>,
    pub(super) acts: Vec<(String, Act)>,
    pub(super) calls: Vec<Call>,
    pub(super) listings: usize,
    /// What to deliver once the answer is out.
    pub(super) pending: Vec<Delivery>,
    pub(super) reach: Option<String>,
    /// What `iss` of a token of the app has to be.
    pub(crate) app_id: String,
    /// What `X-Poll-Interval` says.
    pub(crate) poll_interval_s: u32,
    /// How long deliveries are kept.
    pub(crate) deliveries_kept: Duration,
    last_id: i64,
    last_delivery: i64,
    last_guid: u64,
}

pub(super) fn now() -> Timestamp {
    SystemClock.wall()
}

/// As GitHub writes moments: without fractions of a second.
pub(super) fn moment(at: Timestamp) -> String {
    let text = at.to_string();
    format!("{}Z", text.split('.').next().expect("a split has a first part"))
}

impl State {
    pub(super) fn new(base: &str) -> State {
        State {
            base: base.to_owned(),
            owners: Vec::new(),
            hooks: Vec::new(),
            deliveries: Vec::new(),
            events: HashMap::new(),
            tokens: HashMap::from([(TOKEN.to_owned(), Rights::Full)]),
            budgets: HashMap::new(),
            acts: Vec::new(),
            calls: Vec::new(),
            listings: 0,
            pending: Vec::new(),
            reach: None,
            app_id: "4242".to_owned(),
            poll_interval_s: 60,
            deliveries_kept: DELIVERIES_KEPT,
            last_id: 1_296_268,
            last_delivery: FIRST_DELIVERY,
            last_guid: 0,
        }
    }

    pub(crate) fn add_owner(&mut self, owner: &str) {
        if self.owner_id(owner).is_none() {
            let id = self.new_id();
            self.owners.push((owner.to_owned(), id));
        }
    }

    /// Names are the same in any case of letters.
    pub(super) fn owner_id(&self, owner: &str) -> Option<i64> {
        self.owners.iter().find(|(name, _)| name.eq_ignore_ascii_case(owner)).map(|(_, id)| *id)
    }

    pub(crate) fn add_hook(&mut self, owner: &str, url: &str, secret: Option<&str>) -> i64 {
        self.add_owner(owner);
        let id = self.new_id();
        self.hooks.push(Hook {
            id,
            owner: owner.to_owned(),
            url: url.to_owned(),
            content_type: "json".to_owned(),
            insecure_ssl: "0".to_owned(),
            secret: secret.map(str::to_owned),
            events: vec!["*".to_owned()],
            active: true,
            created_at: now(),
            updated_at: now(),
        });
        id
    }

    pub(crate) fn hook(&self, id: i64) -> &Hook {
        self.hooks.iter().find(|hook| hook.id == id).expect("a hook of this GitHub")
    }

    pub(super) fn deliveries_of(&self, hook: i64) -> Vec<Delivery> {
        self.deliveries.iter().filter(|delivery| delivery.hook == hook).cloned().collect()
    }

    pub(crate) fn record(&mut self, hook: i64, event: &str, body: &Value, at: Timestamp, status_code: u16) -> String {
        let guid = self.new_guid();
        let mut delivery = self.prepare(hook, event, body, &guid, false);
        delivery.at = at;
        delivery.answered(status_code, None);
        self.deliveries.push(delivery);
        guid
    }

    pub(crate) fn push_event(&mut self, repository: &str, kind: &str, payload: &Value, at: Timestamp) -> String {
        self.add_owner(repository);
        // Text in this one API, and no more in order than those of deliveries.
        let id = (22_249_084_000 + self.new_id()).to_string();
        let event = Event { id: id.clone(), kind: kind.to_owned(), payload: payload.clone(), at };
        self.events.entry(repository.to_ascii_lowercase()).or_default().push(event);
        id
    }

    pub(super) fn new_id(&mut self) -> i64 {
        self.last_id += 1;
        self.last_id
    }

    pub(super) fn new_delivery_id(&mut self) -> i64 {
        // Odd ones, of which a float has none up there.
        self.last_delivery += 2;
        self.last_delivery
    }

    pub(super) fn new_guid(&mut self) -> String {
        self.last_guid += 1;
        let port = self.base.rsplit(':').next().and_then(|port| port.parse::<u64>().ok()).unwrap_or_default();
        format!("{:08x}-{GUID_TAIL}-{port:012x}", self.last_guid)
    }

    pub(super) fn next_act(&mut self, request: &Request) -> Option<Act> {
        let line = format!("{} {}", request.method, request.path);
        let at = self.acts.iter().position(|(part, _)| line.contains(part))?;
        Some(self.acts.remove(at).1)
    }

    pub(super) fn misfortune(&mut self, request: &Request, act: Act) -> Answer {
        let (status, retry_after_s) = match act {
            Act::TooFast { retry_after_s } => (403, retry_after_s),
            Act::TooMany { retry_after_s } => (429, retry_after_s),
            Act::Fails(status) => return Answer::failing(status),
            Act::Cut | Act::CutShort | Act::Hang => unreachable!("no answer of its own"),
        };
        let body = json!({
            "message": "You have exceeded a secondary rate limit. Please wait a few minutes before you try again. \
                        If you reach out to GitHub Support for help, please include the request ID.",
            "documentation_url": "https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api#about-secondary-rate-limits",
            "status": status.to_string(),
        });
        let mut answer = Answer::json(status, body).with("retry-after", &retry_after_s.to_string());
        answer.headers.extend(self.budget(&request.purse()).headers());
        answer
    }
}
