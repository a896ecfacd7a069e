//! GitLab's interface for programs: a project's webhooks, and what they have delivered.
//!
//! Source: docs.gitlab.com/api/project_webhooks ("Get a list of project webhook events": seven days, newest first, pages of
//! twenty at most), docs.gitlab.com/security/rate_limits, and GitLab's own code for what that leaves open:
//! lib/api/hooks/events.rb, app/models/hooks/web_hook_log.rb, app/services/web_hook_service.rb. Secrets and addresses of email
//! are `[REDACTED]` in what it hands out, and of a payload that was too large for its queue only `{"oversize":true}` is left.

use std::collections::BTreeMap;

use serde_json::{Value, value::RawValue};

use super::{Caller, Pass, Sent, Trouble, entries, field, fields};
use crate::{headers::Headers, http::Answer, time::Timestamp};

/// Of a page of events, payloads and all.
const PAGE_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// Events of one page, as many as there may be.
const PER_PAGE: usize = 20;
/// A project has a hundred webhooks at most, unless its server is told otherwise.
const HOOKS_PER_PAGE: usize = 100;
/// What stands in place of a secret.
const REDACTED: &str = "[REDACTED]";

/// A webhook as GitLab shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// GitLab's id.
    pub id: i64,
    /// Where it delivers to.
    pub url: String,
    /// Whether GitLab delivers to it now. It stops, for minutes up to a day or for good, when one fails again and again;
    /// what happens then is neither sent nor listed.
    pub is_at_work: bool,
}

/// An attempt to deliver.
#[derive(Clone, Debug)]
pub struct Event {
    /// GitLab's id of the attempt.
    pub id: i64,
    /// When.
    pub at: Timestamp,
    /// What it was answered; 0 where nobody did.
    pub status: i64,
    /// The header that was sent, without its secrets.
    pub headers: Headers,
    /// What was sent; `None` where GitLab has not kept it.
    pub payload: Option<Vec<u8>>,
}

impl Event {
    /// What was sent, as far as GitLab has kept it.
    pub fn sent(self) -> Option<Sent> {
        let headers = self.headers;
        self.payload.map(|payload| Sent { headers, payload })
    }
}

/// A page of attempts, newest first.
#[derive(Clone, Debug)]
pub struct Events {
    /// What is on it.
    pub events: Vec<Event>,
    /// Entries that cannot be read, besides.
    pub unread: usize,
    /// Whether there may be older ones.
    pub has_more: bool,
    /// GitLab's clock.
    pub now: Option<Timestamp>,
}

/// GitLab's interface, asked by one who may.
#[derive(Debug)]
pub struct GitLab {
    caller: Caller,
    pass: Pass,
}

impl GitLab {
    /// Asks by `caller` as `pass`, which is a token.
    pub fn new(caller: Caller, pass: Pass) -> GitLab {
        GitLab { caller, pass }
    }

    /// Who asks, and how often it did.
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// The webhooks of a project, `group/name`.
    ///
    /// # Errors
    /// Why they are not to be had.
    pub fn hooks(&self, project: &str) -> Result<Vec<Hook>, Trouble> {
        let answer = self.get(&format!("{}?per_page={HOOKS_PER_PAGE}", path(project)))?;
        let hooks = super::json(&answer, self.caller.host())?;
        Ok(hooks.as_array().into_iter().flatten().map(hook).collect())
    }

    /// A page of what a webhook has delivered, from 1.
    ///
    /// # Errors
    /// Why it is not to be had.
    pub fn events(&self, project: &str, hook: i64, page: u32) -> Result<Events, Trouble> {
        let answer = self.get(&format!("{}/{hook}/events?per_page={PER_PAGE}&page={page}", path(project)))?;
        let ill = |why| Trouble::Ill(format!("{} lists deliveries that we cannot read: {why}", self.caller.host()));
        let listed = entries(&answer.body).map_err(ill)?;
        let has_more = listed.len() >= PER_PAGE;
        let (events, unread) = super::readable(listed, |raw| event(raw.get())).map_err(ill)?;
        Ok(Events {
            // What leads to the next page is the server's own idea of its address, which may not be ours: we count.
            has_more,
            events,
            unread,
            now: answer.date,
        })
    }

    fn get(&self, path: &str) -> Result<Answer, Trouble> {
        let fields: Vec<_> = match &self.pass {
            Pass::Token(token) => vec![("PRIVATE-TOKEN", token.expose().trim())],
            _ => Vec::new(),
        };
        let answer = self.caller.get_within(path, &fields, None, PAGE_BYTES_MAX).map_err(|trouble| match trouble {
            Trouble::Refused { status: status @ (401 | 403 | 404), what, .. } => {
                let remedy =
                    "it needs a token with the scope read_api whose owner, or which itself, is a maintainer of the \
                              project, and a GitLab of version 17.3 or later"
                        .to_owned();
                Trouble::Refused { status, what, remedy }
            }
            trouble => trouble,
        })?;
        answer.ok_or_else(|| Trouble::Ill(format!("{} answers 304 to who has seen nothing", self.caller.host())))
    }
}

/// The path of a project's webhooks. Of what a name may have, only the slashes mean something to a URL.
fn path(project: &str) -> String {
    format!("/projects/{}/hooks", project.replace('/', "%2F"))
}

fn hook(value: &Value) -> Hook {
    Hook {
        id: value["id"].as_i64().unwrap_or_default(),
        url: value["url"].as_str().unwrap_or_default().to_owned(),
        is_at_work: value["alert_status"].as_str().is_none_or(|status| status == "executable"),
    }
}

fn event(json: &str) -> Result<Event, String> {
    let fields = fields(json)?;
    let id = field(&fields, "id").as_i64().ok_or("one has no id")?;
    let at = field(&fields, "created_at").as_str().and_then(Timestamp::parse);
    let status = &field(&fields, "response_status");
    let mut headers = Headers::new();
    for (name, value) in field(&fields, "request_headers").as_object().into_iter().flatten() {
        // What was not sent so must not look as if it had been.
        if let Some(value) = value.as_str().filter(|value| *value != REDACTED) {
            headers.push(name, value.as_bytes());
        }
    }
    Ok(Event {
        id,
        at: at.ok_or_else(|| format!("{id} has no time; a later GitLab says when each was sent"))?,
        // `internal error` where nobody answered.
        status: status.as_str().and_then(|status| status.parse().ok()).or(status.as_i64()).unwrap_or_default(),
        headers,
        payload: payload(&fields),
    })
}

/// The payload in GitLab's bytes, whether it stands there as an object or as a text of one.
fn payload(fields: &BTreeMap<String, &RawValue>) -> Option<Vec<u8>> {
    let raw = fields.get("request_data")?.get();
    let text = match raw.starts_with('"') {
        true => serde_json::from_str::<Value>(raw).ok()?.as_str()?.trim().to_owned(),
        false => raw.to_owned(),
    };
    let is_oversize = text.len() < 100 && text.trim_matches(['{', '}']).trim_ascii().starts_with("\"oversize\"");
    (text.starts_with('{') && !is_oversize).then(|| text.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(more: &str) -> String {
        format!(r#"{{"id":7,"created_at":"2026-11-22T10:00:00.123Z","response_status":"200"{more}}}"#)
    }

    #[test]
    fn an_entry_is_what_was_sent_without_its_secrets() {
        let found = event(&entry(
            r#","request_headers":{"X-Gitlab-Event":"Push Hook","X-Gitlab-Token":"[REDACTED]","Idempotency-Key":"i"},
               "request_data":{"id": 9223372036854775807, "f": 1.50}"#,
        ))
        .unwrap();
        assert_eq!((found.id, found.status, found.at.ms() % 1000), (7, 200, 123));
        assert_eq!((found.headers.len(), found.headers.text("idempotency-key")), (2, Some("i")));
        assert_eq!(found.payload.as_deref(), Some(br#"{"id": 9223372036854775807, "f": 1.50}"#.as_slice()));
    }

    #[test]
    fn payloads_come_as_objects_or_texts_or_not_at_all() {
        let check = |data: &str, expected: Option<&str>| {
            let found = event(&entry(&format!(",\"request_data\":{data}"))).unwrap().payload;
            assert_eq!(found.as_deref(), expected.map(str::as_bytes), "{data}");
        };
        check(r#"{"a":1}"#, Some(r#"{"a":1}"#));
        check(r#"" {\"a\":\"\\u00fc\"}""#, Some(r#"{"a":"\u00fc"}"#));
        check("{\n        \"oversize\": true\n      }", None);
        check("null", None);
        check(r#""no object""#, None);
        assert!(event(&entry("")).unwrap().payload.is_none());
    }

    #[test]
    fn what_nobody_answered_has_no_status() {
        let status = |status: &str| {
            event(&entry("").replace("\"200\"", status)).map(|event| (event.status, event.headers.len())).unwrap()
        };
        assert_eq!(
            [status("\"internal error\""), status("502"), status("null"), status("\"404\"")],
            [(0, 0), (502, 0), (0, 0), (404, 0)]
        );
        assert!(event(r#"{"id":7}"#).unwrap_err().contains("no time"));
        assert!(event(r#"{"created_at":"2026-11-22T10:00:00Z"}"#).unwrap_err().contains("no id"));
    }
}
