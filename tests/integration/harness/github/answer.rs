//! Requests and answers, and which part of the API answers which.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::{
    rights::Need,
    state::{Event, State, moment, now},
};

/// The events API has this many, and none older than thirty days.
const EVENTS_MAX: usize = 300;
const EVENTS_KEPT_MS: i64 = 30 * 24 * 60 * 60 * 1000;
const PER_PAGE: usize = 30;
const PER_PAGE_MAX: usize = 100;

#[derive(Debug)]
pub(super) struct Request {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) raw_query: String,
    pub(super) query: HashMap<String, String>,
    headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Request {
    pub(super) fn from_head(lines: &[String]) -> Option<Request> {
        let mut words = lines.first()?.split(' ');
        let (method, target) = (words.next()?.to_owned(), words.next()?);
        let (path, raw_query) = target.split_once('?').unwrap_or((target, ""));
        let query = form_urlencoded::parse(raw_query.as_bytes()).into_owned().collect();
        let headers = lines[1..].iter().filter_map(|line| line.split_once(':'));
        Some(Request {
            method,
            path: path.to_owned(),
            raw_query: raw_query.to_owned(),
            query,
            headers: headers.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect(),
            body: Vec::new(),
        })
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// The token, whichever word stands before it; empty when there is none.
    pub(super) fn credential(&self) -> String {
        let value = self.header("authorization").unwrap_or_default();
        value.split_once(' ').map_or(value, |(_, token)| token).trim().to_owned()
    }

    /// Whose limit it uses up; an app is the same with each of its tokens.
    pub(super) fn purse(&self) -> String {
        if self.path.starts_with("/app/") { "app".to_owned() } else { self.credential() }
    }

    pub(super) fn json(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }

    /// The body, also one that is no JSON; null where there is none.
    pub(super) fn logged(&self) -> Value {
        if self.body.is_empty() {
            return Value::Null;
        }
        self.json().unwrap_or_else(|| String::from_utf8_lossy(&self.body).into_owned().into())
    }

    pub(super) fn is_listing(&self) -> bool {
        self.method == "GET" && self.path.ends_with("/deliveries")
    }

    pub(super) fn per_page(&self) -> usize {
        let wanted = self.query.get("per_page").and_then(|text| text.parse().ok());
        wanted.filter(|&count| count > 0).unwrap_or(PER_PAGE).min(PER_PAGE_MAX)
    }
}

#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Option<Value>,
    /// What a proxy says in front of the API.
    page: Option<&'static str>,
}

impl Answer {
    pub(super) fn json(status: u16, body: Value) -> Answer {
        let headers = vec![("content-type".to_owned(), "application/json; charset=utf-8".to_owned())];
        Answer { status, headers, body: Some(body), page: None }
    }

    pub(super) fn empty(status: u16) -> Answer {
        Answer { status, headers: Vec::new(), body: None, page: None }
    }

    pub(super) fn error(status: u16, message: &str) -> Answer {
        let documentation = "https://docs.github.com/rest";
        Answer::json(
            status,
            json!({ "message": message, "documentation_url": documentation, "status": status.to_string() }),
        )
    }

    /// What was asked for cannot be, and why.
    pub(super) fn invalid(resource: &str, field: Option<&str>, code: &str, message: &str) -> Answer {
        let mut error = json!({ "resource": resource, "code": code, "message": message });
        if let Some(field) = field {
            error["field"] = field.into();
        }
        let documentation = "https://docs.github.com/rest/repos/webhooks#create-a-repository-webhook";
        let body = json!({
            "message": "Validation Failed", "errors": [error], "documentation_url": documentation, "status": "422",
        });
        Answer::json(422, body)
    }

    pub(super) fn failing(status: u16) -> Answer {
        if status == 500 {
            return Answer::json(500, json!({ "message": "Server Error" }));
        }
        let headers = vec![("content-type".to_owned(), "text/html".to_owned())];
        Answer { status, headers, body: None, page: Some("<html><title>Unicorn!</title></html>") }
    }

    fn without_a_name() -> Answer {
        let page = "\r\nRequest forbidden by administrative rules. Please make sure your request has a User-Agent header \
                    (https://docs.github.com/en/rest/overview/resources-in-the-rest-api#user-agent-required).\r\n";
        let headers = vec![("content-type".to_owned(), "text/html".to_owned())];
        Answer { status: 403, headers, body: None, page: Some(page) }
    }

    pub(super) fn with(mut self, name: &str, value: &str) -> Answer {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(super) fn is_from_a_proxy(&self) -> bool {
        self.page.is_some()
    }

    pub(super) fn headers_json(&self) -> Value {
        self.headers.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect::<Map<_, _>>().into()
    }

    fn text(&self) -> String {
        self.body.as_ref().map(Value::to_string).or(self.page.map(str::to_owned)).unwrap_or_default()
    }

    pub(super) fn body_bytes(&self) -> usize {
        self.text().len()
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let body = self.text();
        let date = jiff::fmt::rfc2822::to_string(&jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC));
        let date = date.expect("a date of this century").replace("+0000", "GMT");
        let mut text = format!("HTTP/1.1 {} X\r\nConnection: close\r\nDate: {date}\r\n", self.status);
        if !matches!(self.status, 204 | 304) {
            text.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        format!("{text}\r\n{body}").into_bytes()
    }
}

/// `Link` of these relations.
pub(super) fn link(base: &str, relations: &[(&str, Option<String>)]) -> Option<String> {
    let links: Vec<String> = relations
        .iter()
        .filter_map(|(relation, query)| Some(format!("<{base}?{}>; rel=\"{relation}\"", query.as_ref()?)))
        .collect();
    (!links.is_empty()).then(|| links.join(", "))
}

impl State {
    pub(super) fn answer(&mut self, request: &Request) -> Answer {
        if request.header("user-agent").is_none() {
            return Answer::without_a_name();
        }
        self.limited(request, |state| {
            let answer = state.route(request).unwrap_or_else(|refusal| refusal);
            let answer = answer.with("x-github-api-version-selected", "2022-11-28");
            unless_known(request, answer)
        })
        .with("x-github-request-id", "F0AD:2B5C:1:2:3")
    }

    fn route(&mut self, request: &Request) -> Result<Answer, Answer> {
        let segments: Vec<&str> = request.path.trim_start_matches('/').split('/').collect();
        let by_id = self.owner_of_path(&segments);
        match segments[..] {
            ["repositories", _, "events"] if request.method == "GET" => self.list_events(request, &by_id?),
            ["repositories" | "organizations", _, "hooks", ref rest @ ..] => self.of_hooks(request, &by_id?, rest),
            ["repos", owner, name, "events"] if request.method == "GET" => {
                self.list_events(request, &format!("{owner}/{name}"))
            }
            ["repos", owner, name, "hooks", ref rest @ ..] => self.of_hooks(request, &format!("{owner}/{name}"), rest),
            ["orgs", owner, "hooks", ref rest @ ..] => self.of_hooks(request, owner, rest),
            ["app", "hook", ref rest @ ..] => {
                self.permit(request, "app", Need::Write)?;
                let hook = self.hooks.iter().find(|hook| hook.owner == "app").map(|hook| hook.id);
                self.of_hook(request, hook.ok_or_else(|| Answer::error(404, "Not Found"))?, rest)
            }
            _ => Err(Answer::error(404, "Not Found")),
        }
    }

    /// Links name repositories and organisations by their ids.
    fn owner_of_path(&self, segments: &[&str]) -> Result<String, Answer> {
        let id = segments.get(1).and_then(|id| id.parse().ok());
        let found = self.owners.iter().find(|(_, other)| Some(*other) == id);
        found.map(|(name, _)| name.clone()).ok_or_else(|| Answer::error(404, "Not Found"))
    }

    /// Where links to more of this owner lead.
    pub(super) fn by_id(&self, owner: &str, rest: &str) -> String {
        let id = self.owner_id(owner).unwrap_or_default();
        match owner {
            "app" => format!("{}/app/hook/{rest}", self.base),
            _ if owner.contains('/') => format!("{}/repositories/{id}/{rest}", self.base),
            _ => format!("{}/organizations/{id}/{rest}", self.base),
        }
    }

    /// What happened there, newest first. Everybody may ask; the permission for the events of a private one is not ours.
    fn list_events(&self, request: &Request, repository: &str) -> Result<Answer, Answer> {
        let credential = request.credential();
        if !credential.is_empty() && !self.tokens.contains_key(&credential) {
            return Err(Answer::error(401, "Bad credentials"));
        }
        let id = self.owner_id(repository).ok_or_else(|| Answer::error(404, "Not Found"))?;
        let per_page = request.per_page();
        let page = request.query.get("page").and_then(|text| text.parse().ok()).unwrap_or(1).max(1);
        let oldest = now().ms() - EVENTS_KEPT_MS;
        let known = self.events.get(&repository.to_ascii_lowercase()).map_or(&[][..], |events| events);
        let events: Vec<&Event> = known.iter().rev().filter(|event| event.at.ms() >= oldest).take(EVENTS_MAX).collect();
        if (page - 1) * per_page >= EVENTS_MAX {
            let message = "In order to keep the API fast for everyone, pagination is limited for this resource.";
            return Err(Answer::error(422, message));
        }
        let shown: Vec<Value> = events
            .iter()
            .skip((page - 1) * per_page)
            .take(per_page)
            .map(|event| self.event(event, repository, id))
            .collect();
        let last = events.len().div_ceil(per_page).max(1);
        let query = |page: usize| format!("per_page={per_page}&page={page}");
        let relations = [
            ("prev", (page > 1).then(|| query(page - 1))),
            ("next", (page < last).then(|| query(page + 1))),
            ("last", (page < last).then(|| query(last))),
            ("first", (page > 1).then(|| query(1))),
        ];
        let mut answer = Answer::json(200, shown.into()).with("x-poll-interval", &self.poll_interval_s.to_string());
        if let Some(link) = link(&self.by_id(repository, "events"), &relations) {
            answer = answer.with("link", &link);
        }
        Ok(answer)
    }

    fn event(&self, event: &Event, repository: &str, repository_id: i64) -> Value {
        json!({
            "id": event.id, "type": event.kind, "public": true, "created_at": moment(event.at), "payload": event.payload,
            "actor": {
                "id": 583_231, "login": "octocat", "display_login": "octocat", "gravatar_id": "",
                "url": format!("{}/users/octocat", self.base),
                "avatar_url": "https://avatars.githubusercontent.com/u/583231?",
            },
            "repo": {
                "id": repository_id, "name": repository, "url": format!("{}/repos/{repository}", self.base),
            },
        })
    }
}

/// Gives a good answer to GET its name, and says nothing more to whoever has it.
fn unless_known(request: &Request, mut answer: Answer) -> Answer {
    if request.method != "GET" || answer.status != 200 {
        return answer;
    }
    let etag = format!("W/\"{}\"", fingerprint(&answer.text()));
    if request.header("if-none-match").is_some_and(|known| known.split(',').any(|one| one.trim() == etag)) {
        answer.headers.retain(|(name, _)| name != "content-type" && name != "link");
        (answer.status, answer.body) = (304, None);
    }
    answer.with("etag", &etag).with("cache-control", "private, max-age=60, s-maxage=60")
}

fn fingerprint(text: &str) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
