//! GitHub's interface for programs: webhooks, what they have delivered, and what happened in a repository.
//!
//! Source: docs.github.com, "REST API endpoints for repository webhooks", "… organization webhooks", "… GitHub App webhooks",
//! "… events", and GitHub's OpenAPI description.

use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::{Attempt, Attempts, Caller, Pass, Sent, Trouble, bearer, field, fields, json as read, link};
use crate::{
    headers::Headers,
    http::Answer,
    provider::sign_rs256,
    secret::Secret,
    time::{Clock, SystemClock, Timestamp},
};

/// The largest payload that GitHub sends has 25 MB; here it stands with its headers and our answer to it.
const DELIVERY_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Pages of webhooks; GitHub has no more than 20 webhooks for each event of a place.
const HOOK_PAGES_MAX: u32 = 20;
/// Entries of one page, as many as there may be.
const PER_PAGE: u32 = 100;
/// A name of a repository or organisation, by GitHub's own limits (39 and 100 characters).
const NAME_BYTES_MAX: usize = 140;

/// Where a webhook hangs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// `owner/name`
    Repository(String),
    /// An organisation.
    Organisation(String),
    /// The app that [`Pass::App`] is.
    App,
}

impl Place {
    /// `owner/name` or an organisation's name.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Place, String> {
        let is_name = |name: &str| {
            let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
            !name.is_empty() && !matches!(name, "." | "..") && name.chars().all(is_plain)
        };
        match text.split_once('/') {
            _ if text.len() > NAME_BYTES_MAX => Err("longer than any name at GitHub".to_owned()),
            Some((owner, name)) if is_name(owner) && is_name(name) => Ok(Place::Repository(text.to_owned())),
            None if is_name(text) => Ok(Place::Organisation(text.to_owned())),
            _ => Err(format!("`{text}` is neither OWNER/REPOSITORY nor an organisation's name")),
        }
    }

    /// The path of its webhooks.
    fn hooks(&self) -> String {
        match self {
            Place::Repository(name) => format!("/repos/{name}/hooks"),
            Place::Organisation(name) => format!("/orgs/{name}/hooks"),
            Place::App => "/app/hook".to_owned(),
        }
    }

    /// The path of one of them. An app has one, which needs no id.
    fn hook(&self, id: i64) -> String {
        match self {
            Place::App => self.hooks(),
            _ => format!("{}/{id}", self.hooks()),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Repository(name) | Place::Organisation(name) => f.write_str(name),
            Place::App => f.write_str("the app"),
        }
    }
}

/// A webhook as GitHub shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// GitHub's id; 0 for an app's.
    pub id: i64,
    /// Where it delivers to.
    pub url: String,
    /// `json` or `form`.
    pub content_type: String,
    /// Whether it has a secret; which one is not shown.
    pub has_secret: bool,
    /// Whether certificates are looked at.
    pub checks_tls: bool,
    /// What it tells, sorted.
    pub events: Vec<String>,
    /// Whether it delivers at all.
    pub is_active: bool,
}

/// What a webhook shall be.
#[derive(Clone, Debug)]
pub struct Wanted<'a> {
    /// Where it delivers to.
    pub url: &'a str,
    /// What it signs with.
    pub secret: &'a Secret,
    /// What it tells.
    pub events: &'a [&'a str],
}

/// How an attempt was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// GitHub's own words about it: `OK`, `failed to connect to host`.
    pub words: String,
    /// What came back; `None`: nobody answered.
    pub body: Option<String>,
}

/// A page of what happened in a repository, newest first.
#[derive(Clone, Debug)]
pub struct Happened {
    /// GitHub's own entries; `None` where nothing has changed since the page that the `etag` names.
    pub events: Option<Vec<Value>>,
    /// What leads to the next, older one.
    pub next: Option<String>,
    /// By which GitHub knows what we have seen.
    pub etag: Option<String>,
    /// `X-Poll-Interval`, seconds: not to be asked sooner.
    pub interval_s: Option<u64>,
}

/// GitHub's interface, asked by one who may.
#[derive(Debug)]
pub struct GitHub {
    caller: Caller,
    pass: Pass,
}

impl GitHub {
    /// Asks by `caller` as `pass`.
    pub fn new(caller: Caller, pass: Pass) -> GitHub {
        GitHub { caller, pass }
    }

    /// Who asks, and how often it did.
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Who we are to it.
    pub fn pass(&self) -> &Pass {
        &self.pass
    }

    /// The webhooks there.
    ///
    /// # Errors
    /// Why they are not to be had.
    pub fn hooks(&self, place: &Place) -> Result<Vec<Hook>, Trouble> {
        // An app's is asked for by what it is set to alone.
        if *place == Place::App {
            let answer = self.need("/app/hook/config", Need::Read)?;
            return Ok(vec![hook(&json!({ "config": read(&answer, self.caller.host())? }))]);
        }
        let (mut hooks, mut path) = (Vec::new(), Some(format!("{}?per_page={PER_PAGE}", place.hooks())));
        for _ in 0..HOOK_PAGES_MAX {
            let Some(page) = path else { break };
            let answer = self.need(&page, Need::Read)?;
            hooks.extend(read(&answer, self.caller.host())?.as_array().into_iter().flatten().map(hook));
            path = link(&answer, "next").map(str::to_owned);
        }
        Ok(hooks)
    }

    /// Makes a webhook.
    ///
    /// # Errors
    /// Why there is none.
    pub fn create(&self, place: &Place, wanted: &Wanted<'_>) -> Result<Hook, Trouble> {
        let mut body = self.body(wanted);
        body["name"] = "web".into();
        let answer = self.post(&place.hooks(), &body, Need::Write)?;
        Ok(hook(&read(&answer, self.caller.host())?))
    }

    /// Makes a webhook what it shall be. GitHub takes a configuration whole: without the secret it would lose it.
    ///
    /// # Errors
    /// Why it stays what it is.
    pub fn update(&self, place: &Place, id: i64, wanted: &Wanted<'_>) -> Result<Hook, Trouble> {
        let body = self.body(wanted);
        let answer = self.ask(Need::Write, |fields| self.caller.patch(&place.hook(id), fields, &body))?;
        Ok(hook(&read(&answer, self.caller.host())?))
    }

    /// Asks for a ping.
    ///
    /// # Errors
    /// Why there will be none.
    pub fn ping(&self, place: &Place, id: i64) -> Result<(), Trouble> {
        let path = format!("{}/pings", place.hook(id));
        self.post(&path, &Value::Null, Need::Read).map(|_| ())
    }

    /// A page of what a webhook has delivered, or `None` where nothing has changed since `etag`. `page` is what led here,
    /// `None` for the newest.
    ///
    /// # Errors
    /// Why it is not to be had.
    pub fn attempts(
        &self,
        place: &Place,
        id: i64,
        page: Option<&str>,
        etag: Option<&str>,
    ) -> Result<Option<Attempts>, Trouble> {
        let first = format!("{}/deliveries?per_page={PER_PAGE}", place.hook(id));
        let Some(answer) = self.get(page.unwrap_or(&first), Need::Read, etag)? else { return Ok(None) };
        let entries = read(&answer, self.caller.host())?;
        let Some(entries) = entries.as_array() else {
            return Err(Trouble::Ill(format!("{} answers no list of deliveries", self.caller.host())));
        };
        let ill = |why| Trouble::Ill(format!("{} lists deliveries that we cannot read: {why}", self.caller.host()));
        let (attempts, unread) = super::readable(entries, attempt).map_err(ill)?;
        Ok(Some(Attempts {
            attempts,
            unread,
            next: link(&answer, "next").filter(|_| !entries.is_empty()).map(str::to_owned),
            etag: answer.headers.text("etag").map(str::to_owned),
            now: answer.date,
        }))
    }

    /// The request of an attempt; `None` where GitHub has let go of it.
    ///
    /// # Errors
    /// Why it is not to be had. 404 is also what GitHub answers to who may not see it.
    pub fn sent(&self, place: &Place, hook: i64, attempt: &Attempt) -> Result<Option<Sent>, Trouble> {
        let path = format!("{}/deliveries/{}", place.hook(hook), attempt.id);
        let got = self.ask(Need::Read, |fields| self.caller.get_within(&path, fields, None, DELIVERY_BYTES_MAX));
        let answer = match got {
            Ok(Some(answer)) => answer,
            Ok(None) => return Ok(None),
            Err(trouble) => return Err(trouble),
        };
        sent(&answer.body, &attempt.guid).map_err(|why| {
            Trouble::Ill(format!(
                "{} hands out delivery {} in a form that we cannot read: {why}",
                self.caller.host(),
                attempt.guid
            ))
        })
    }

    /// How an attempt was answered.
    ///
    /// # Errors
    /// Why it is not to be had.
    pub fn answered(&self, place: &Place, hook: i64, attempt: &Attempt) -> Result<Answered, Trouble> {
        let path = format!("{}/deliveries/{}", place.hook(hook), attempt.id);
        let details = read(&self.need(&path, Need::Read)?, self.caller.host())?;
        Ok(Answered {
            words: details["status"].as_str().unwrap_or_default().to_owned(),
            // Text, and by its description an object.
            body: match &details["response"]["payload"] {
                Value::Null => None,
                Value::String(text) => Some(text.clone()),
                other => Some(other.to_string()),
            },
        })
    }

    /// Asks GitHub to deliver once more.
    ///
    /// # Errors
    /// Why it does not.
    pub fn redeliver(&self, place: &Place, hook: i64, attempt: i64) -> Result<(), Trouble> {
        let path = format!("{}/deliveries/{attempt}/attempts", place.hook(hook));
        self.post(&path, &Value::Null, Need::Write).map(|_| ())
    }

    /// A page of what happened in a repository. `page` is what led here, `None` for the newest.
    ///
    /// # Errors
    /// Why it is not to be had.
    pub fn events(&self, repository: &str, page: Option<&str>, etag: Option<&str>) -> Result<Happened, Trouble> {
        let first = format!("/repos/{repository}/events?per_page={PER_PAGE}");
        let path = page.unwrap_or(&first);
        let answer =
            self.ask(Need::See, |fields| self.caller.get_whatever(path, fields, etag, super::ANSWER_BYTES_MAX))?;
        let events = match answer.status {
            304 => None,
            _ => match read(&answer, self.caller.host())? {
                Value::Array(events) => Some(events),
                _ => return Err(Trouble::Ill(format!("{} answers no list of events", self.caller.host()))),
            },
        };
        Ok(Happened {
            events,
            next: link(&answer, "next").map(str::to_owned),
            etag: answer.headers.text("etag").map(str::to_owned),
            interval_s: super::number(&answer, "x-poll-interval"),
        })
    }

    /// Requests so far, and those of them that cost nothing. For those who do not say who they are none is free.
    pub fn asked(&self) -> (u64, u64) {
        let free = if self.is_nobody() { 0 } else { self.caller.unchanged() };
        (self.caller.requests() + self.caller.unchanged(), free)
    }

    /// Whether it asks without saying who it is: 60 requests an hour are all there is then.
    pub fn is_nobody(&self) -> bool {
        matches!(self.pass, Pass::Nobody)
    }

    fn need(&self, path: &str, need: Need) -> Result<Answer, Trouble> {
        self.get(path, need, None)?
            .ok_or_else(|| Trouble::Ill(format!("{} answers 304 to who has seen nothing", self.caller.host())))
    }

    fn body(&self, wanted: &Wanted<'_>) -> Value {
        let Wanted { url, secret, events } = wanted;
        json!({
            "active": true,
            "events": events,
            "config": { "url": url, "content_type": "json", "insecure_ssl": "0", "secret": secret.expose() },
        })
    }

    fn get(&self, path: &str, need: Need, etag: Option<&str>) -> Result<Option<Answer>, Trouble> {
        self.ask(need, |fields| self.caller.get(path, fields, etag))
    }

    fn post(&self, path: &str, body: &Value, need: Need) -> Result<Answer, Trouble> {
        self.ask(need, |fields| self.caller.post(path, fields, body))
    }

    fn ask<T>(&self, need: Need, ask: impl FnOnce(&[(&str, &str)]) -> Result<T, Trouble>) -> Result<T, Trouble> {
        let authorization = match &self.pass {
            Pass::Nobody => None,
            Pass::Token(token) => Some(bearer(token)),
            Pass::App { id, key } => Some(format!("Bearer {}", app_token(id, key, SystemClock.wall())?)),
        };
        let mut fields = vec![("Accept", "application/vnd.github+json"), ("X-GitHub-Api-Version", API_VERSION)];
        fields.extend(authorization.as_deref().map(|value| ("Authorization", value)));
        ask(&fields).map_err(|trouble| self.explained(trouble, need))
    }

    /// A refusal with what would help.
    fn explained(&self, trouble: Trouble, need: Need) -> Trouble {
        let Trouble::Refused { status, what, remedy } = trouble else { return trouble };
        let is_anybody = self.is_nobody();
        let remedy = match (status, need) {
            (401, _) if matches!(self.pass, Pass::App { .. }) => {
                "check the app's id, its key, and this machine's clock".to_owned()
            }
            (401 | 403 | 404, Need::Read | Need::Write) if is_anybody => {
                "it needs a token: set [github] token".to_owned()
            }
            (403 | 404, Need::Read) => format!(
                "the token needs the permission \"Webhooks: read\" there (a classic one: read:repo_hook, of an organisation \
                 admin:org_hook), and its owner has to administer it{}",
                named(&remedy)
            ),
            (403 | 404, Need::Write) => format!(
                "the token needs the permission \"Webhooks: read and write\" there (a classic one: admin:repo_hook, of an \
                 organisation admin:org_hook), and its owner has to administer it{}",
                named(&remedy)
            ),
            (403 | 404, Need::See) => {
                "it is not there, or not public: then the token needs the permission \"Metadata: read\" for it"
                    .to_owned()
            }
            _ => remedy,
        };
        Trouble::Refused { status, what, remedy }
    }
}

/// The version of the interface that we were written for.
const API_VERSION: &str = "2022-11-28";

/// What a request needs, for the words of a refusal.
#[derive(Clone, Copy)]
enum Need {
    Read,
    Write,
    /// What anybody may see who sees the repository.
    See,
}

/// What GitHub itself names as missing.
fn named(remedy: &str) -> String {
    remedy.strip_prefix(super::NEEDS).map(|names| format!(" (GitHub calls it {names})")).unwrap_or_default()
}

fn hook(value: &Value) -> Hook {
    let config = &value["config"];
    let text = |field: &Value| field.as_str().unwrap_or_default().to_owned();
    let events = value["events"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let mut events: Vec<String> = events.map(str::to_owned).collect();
    events.sort();
    Hook {
        id: value["id"].as_i64().unwrap_or_default(),
        url: text(&config["url"]),
        // What GitHub means where it says nothing.
        content_type: config["content_type"].as_str().unwrap_or("form").to_owned(),
        has_secret: config["secret"].as_str().is_some_and(|secret| !secret.is_empty()),
        checks_tls: !matches!(&config["insecure_ssl"], Value::String(flag) if flag == "1")
            && config["insecure_ssl"].as_i64() != Some(1),
        events,
        is_active: value["active"].as_bool().unwrap_or(true),
    }
}

fn attempt(entry: &Value) -> Result<Attempt, String> {
    let strange = || super::quoted(&entry.to_string());
    let at = entry["delivered_at"].as_str().and_then(Timestamp::parse).ok_or_else(strange)?;
    Ok(Attempt {
        id: entry["id"].as_i64().ok_or_else(strange)?,
        guid: entry["guid"].as_str().ok_or_else(strange)?.to_owned(),
        event: entry["event"].as_str().unwrap_or_default().to_owned(),
        at,
        status: entry["status_code"].as_i64().unwrap_or_default(),
        is_again: entry["redelivery"].as_bool().unwrap_or_default(),
        is_trying: false,
        sent: None,
    })
}

/// The request that a delivery's details hold; `None` where GitHub has let go of it.
fn sent(details: &str, guid: &str) -> Result<Option<Sent>, String> {
    let details = fields(details)?;
    let request = fields(details.get("request").ok_or("there is no request")?.get())?;
    let Value::Object(sent) = field(&request, "headers") else { return Ok(None) };
    let Some(payload) = request.get("payload").filter(|payload| payload.get() != "null") else { return Ok(None) };
    let payload = match payload.get().trim_start().starts_with('{') {
        true => without_blanks(payload.get()),
        false => return Err("its payload is no object".to_owned()),
    };
    let mut headers = Headers::new();
    for (name, value) in &sent {
        let text = value.as_str().map(str::to_owned).unwrap_or_else(|| value.to_string());
        // Whatever it was sent as: this is JSON.
        match name.eq_ignore_ascii_case("content-type") {
            true => headers.push(name, b"application/json"),
            false => headers.push(name, text.as_bytes()),
        }
    }
    match headers.text("X-GitHub-Delivery") {
        Some(found) if found == guid => Ok(Some(Sent { headers, payload })),
        found => Err(format!("it calls itself {}", found.unwrap_or("nothing"))),
    }
}

/// JSON as GitHub's webhooks write it, which its interface may not: without blanks between the values. The bytes are those
/// that were signed then, as a rule.
fn without_blanks(json: &str) -> Vec<u8> {
    let (mut bytes, mut is_text, mut is_escaped) = (Vec::with_capacity(json.len()), false, false);
    for byte in json.bytes() {
        if is_text || !byte.is_ascii_whitespace() {
            bytes.push(byte);
        }
        (is_text, is_escaped) = match byte {
            _ if is_escaped => (is_text, false),
            b'\\' => (is_text, is_text),
            b'"' => (!is_text, false),
            _ => (is_text, false),
        };
    }
    bytes
}

/// What an app proves itself by for nine minutes, of the ten that GitHub allows. It begins a minute ago, for clocks that
/// differ (docs.github.com, "Generating a JSON Web Token (JWT) for a GitHub App").
fn app_token(id: &str, key: &Secret, now: Timestamp) -> Result<String, Trouble> {
    let text = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let head = text(json!({ "alg": "RS256", "typ": "JWT" }));
    let claims = text(json!({ "iat": now.seconds() - 60, "exp": now.seconds() + 9 * 60, "iss": id }));
    let said = format!("{head}.{claims}");
    let made = sign_rs256(key, said.as_bytes()).map_err(|why| Trouble::Refused {
        status: 0,
        what: format!("the app's key cannot be used: {why}"),
        remedy: "app_key is the private key that GitHub made for the app, a PEM file".to_owned(),
    })?;
    Ok(format!("{said}.{}", URL_SAFE_NO_PAD.encode(made)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_names_and_nothing_else() {
        assert_eq!(Place::parse("acme/api"), Ok(Place::Repository("acme/api".to_owned())));
        assert_eq!(Place::parse("acme"), Ok(Place::Organisation("acme".to_owned())));
        for wrong in ["", "/", "acme/", "a/b/c", "acme/..", "a b", "acme/api?x", "https://github.com/acme/api", "é/x"]
        {
            assert!(Place::parse(wrong).is_err(), "{wrong}");
        }
        assert!(Place::parse(&"a".repeat(200)).is_err());
    }

    #[test]
    fn blanks_between_values_go_and_those_in_texts_stay() {
        let check = |json: &str, expected: &str| assert_eq!(without_blanks(json), expected.as_bytes(), "{json}");
        check("{ \"a b\" : [ 1 ,\n\t2 ] }", r#"{"a b":[1,2]}"#);
        check(
            r#"{"q": "a \" b", "s": "\\" , "n": 9007199254740993}"#,
            r#"{"q":"a \" b","s":"\\","n":9007199254740993}"#,
        );
        check(r#"{"u": "\u003c ü"}"#, r#"{"u":"\u003c ü"}"#);
    }

    #[test]
    fn a_delivery_is_handed_out_whole_or_not_at_all() {
        let details = |headers: &str, payload: &str| {
            format!(r#"{{"id":1,"request":{{"headers":{headers},"payload":{payload}}}}}"#)
        };
        let headers = r#"{"X-GitHub-Delivery":"g","X-GitHub-Event":"push","content-type":"application/x-www-form-urlencoded","X-Number":42}"#;
        let found = sent(&details(headers, r#"{ "id": 9223372036854775807, "f": 1.50 }"#), "g").unwrap().unwrap();
        assert_eq!(found.payload, br#"{"id":9223372036854775807,"f":1.50}"#);
        assert_eq!(found.headers.text("content-type"), Some("application/json"));
        assert_eq!(found.headers.text("x-number"), Some("42"));
        assert!(sent(&details(headers, "null"), "g").unwrap().is_none());
        assert!(sent(&details("null", "{}"), "g").unwrap().is_none());
        for (wrong, why) in [
            (details(headers, "[]"), "no object"),
            (details(r#"{"X-GitHub-Delivery":"other"}"#, "{}"), "calls itself other"),
            (details("{}", "{}"), "calls itself nothing"),
            ("{}".to_owned(), "no request"),
        ] {
            let said = sent(&wrong, "g").unwrap_err();
            assert!(said.contains(why), "{wrong}: {said}");
        }
    }
}
