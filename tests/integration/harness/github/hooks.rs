//! Hooks: listed, made, changed.

use serde_json::{Value, json};

use super::{
    answer::{Answer, Request, link},
    rights::Need,
    state::{Hook, State, moment, now},
};

/// So many may want the same event.
const HOOKS_PER_EVENT_MAX: usize = 20;

fn not_found() -> Answer {
    Answer::error(404, "Not Found")
}

impl State {
    /// Everything beneath `/repos/{owner}/{repo}/hooks` and `/orgs/{org}/hooks`.
    pub(super) fn of_hooks(&mut self, request: &Request, owner: &str, rest: &[&str]) -> Result<Answer, Answer> {
        // A ping changes nothing at a repository's hook.
        let is_harmless = request.method == "GET" || (owner.contains('/') && rest.last() == Some(&"pings"));
        let rights = self.permit(request, owner, if is_harmless { Need::Read } else { Need::Write })?;
        let answer = self.of_hooks_permitted(request, owner, rest).unwrap_or_else(|refusal| refusal);
        Ok(rights.iter().fold(answer, |answer, (name, value)| answer.with(name, value)))
    }

    fn of_hooks_permitted(&mut self, request: &Request, owner: &str, rest: &[&str]) -> Result<Answer, Answer> {
        self.owner_id(owner).ok_or_else(not_found)?;
        match (request.method.as_str(), rest) {
            ("GET", []) => Ok(self.list_hooks(request, owner)),
            ("POST", []) => self.create_hook(request, owner),
            (_, [id, rest @ ..]) => {
                let is_it = |hook: &&Hook| hook.id.to_string() == *id && hook.owner.eq_ignore_ascii_case(owner);
                let id = self.hooks.iter().find(is_it).map(|hook| hook.id).ok_or_else(not_found)?;
                self.of_hook(request, id, rest)
            }
            _ => Err(not_found()),
        }
    }

    /// Everything about one hook; an app has one and nothing above it.
    pub(super) fn of_hook(&mut self, request: &Request, id: i64, rest: &[&str]) -> Result<Answer, Answer> {
        let is_of_app = self.hook(id).owner == "app";
        match (request.method.as_str(), rest) {
            ("GET", []) if !is_of_app => Ok(Answer::json(200, self.hook_json(self.hook(id)))),
            ("PATCH", []) if !is_of_app => self.change_hook(request, id),
            ("GET", ["config"]) => Ok(Answer::json(200, config_json(self.hook(id)))),
            ("PATCH", ["config"]) => self.change_config(request, id),
            ("POST", ["pings"]) if !is_of_app => {
                self.ping(id);
                Ok(Answer::empty(204))
            }
            ("GET", ["deliveries"]) => self.list_deliveries(request, id),
            ("GET", ["deliveries", delivery]) => self.show_delivery(id, delivery),
            ("POST", ["deliveries", delivery, "attempts"]) => self.deliver_again(id, delivery),
            _ => Err(not_found()),
        }
    }

    fn list_hooks(&self, request: &Request, owner: &str) -> Answer {
        let per_page = request.per_page();
        let page = request.query.get("page").and_then(|text| text.parse().ok()).unwrap_or(1).max(1);
        let hooks: Vec<&Hook> = self.hooks.iter().filter(|hook| hook.owner.eq_ignore_ascii_case(owner)).collect();
        let shown: Vec<Value> =
            hooks.iter().skip((page - 1) * per_page).take(per_page).map(|hook| self.hook_json(hook)).collect();
        let last = hooks.len().div_ceil(per_page).max(1);
        let query = |page: usize| format!("per_page={per_page}&page={page}");
        let relations = [
            ("prev", (page > 1).then(|| query(page - 1))),
            ("next", (page < last).then(|| query(page + 1))),
            ("last", (page < last).then(|| query(last))),
            ("first", (page > 1).then(|| query(1))),
        ];
        let answer = Answer::json(200, shown.into());
        match link(&self.by_id(owner, "hooks"), &relations) {
            Some(link) => answer.with("link", &link),
            None => answer,
        }
    }

    fn create_hook(&mut self, request: &Request, owner: &str) -> Result<Answer, Answer> {
        let wanted = request.json().ok_or_else(|| Answer::error(400, "Problems parsing JSON"))?;
        if wanted["name"].as_str().unwrap_or("web") != "web" {
            return Err(Answer::invalid("Hook", Some("name"), "custom", "name is not web"));
        }
        let mut hook = Hook {
            id: 0,
            owner: owner.to_owned(),
            url: String::new(),
            content_type: "form".to_owned(),
            insecure_ssl: "0".to_owned(),
            secret: None,
            events: strings(&wanted["events"]).unwrap_or_else(|| vec!["push".to_owned()]),
            active: wanted["active"].as_bool().unwrap_or(true),
            created_at: now(),
            updated_at: now(),
        };
        merge_config(&mut hook, &wanted["config"]);
        check_url(&hook)?;
        let others: Vec<&Hook> = self.hooks.iter().filter(|other| other.owner.eq_ignore_ascii_case(owner)).collect();
        if others.iter().any(|other| other.url == hook.url && same_events(&other.events, &hook.events)) {
            let what = if owner.contains('/') { "repository" } else { "organization" };
            let message = format!("Hook already exists on this {what}");
            return Err(Answer::invalid("Hook", None, "custom", &message));
        }
        for event in &hook.events {
            if others.iter().filter(|other| other.events.contains(event)).count() >= HOOKS_PER_EVENT_MAX {
                let message = format!("The \"{event}\" event cannot have more than {HOOKS_PER_EVENT_MAX} hooks");
                return Err(Answer::invalid("Hook", None, "custom", &message));
            }
        }
        hook.id = self.new_id();
        let id = hook.id;
        self.hooks.push(hook);
        self.ping(id);
        let body = self.hook_json(self.hook(id));
        let location = body["url"].as_str().unwrap_or_default().to_owned();
        Ok(Answer::json(201, body).with("location", &location))
    }

    /// What the configuration here does not say is as if it had never been said: without a secret there is none afterwards.
    fn change_hook(&mut self, request: &Request, id: i64) -> Result<Answer, Answer> {
        let wanted = request.json().ok_or_else(|| Answer::error(400, "Problems parsing JSON"))?;
        let mut hook = self.hook(id).clone();
        if wanted["config"].is_object() {
            (hook.secret, hook.content_type, hook.insecure_ssl) = (None, "form".to_owned(), "0".to_owned());
            merge_config(&mut hook, &wanted["config"]);
            check_url(&hook)?;
        }
        if let Some(events) = strings(&wanted["events"]) {
            hook.events = events;
        }
        hook.events.extend(strings(&wanted["add_events"]).unwrap_or_default());
        let unwanted = strings(&wanted["remove_events"]).unwrap_or_default();
        hook.events.retain(|event| !unwanted.contains(event));
        hook.active = wanted["active"].as_bool().unwrap_or(hook.active);
        let known = self.keep(hook);
        Ok(Answer::json(200, self.hook_json(self.hook(known))))
    }

    /// What is not said here stays.
    fn change_config(&mut self, request: &Request, id: i64) -> Result<Answer, Answer> {
        let wanted = request.json().ok_or_else(|| Answer::error(400, "Problems parsing JSON"))?;
        let mut hook = self.hook(id).clone();
        merge_config(&mut hook, &wanted);
        check_url(&hook)?;
        self.keep(hook);
        Ok(Answer::json(200, config_json(self.hook(id))))
    }

    fn keep(&mut self, mut hook: Hook) -> i64 {
        hook.updated_at = now();
        let id = hook.id;
        if let Some(old) = self.hooks.iter_mut().find(|old| old.id == id) {
            *old = hook;
        }
        id
    }

    pub(super) fn hook_json(&self, hook: &Hook) -> Value {
        let is_of_repository = hook.owner.contains('/');
        let above = if is_of_repository { "repos" } else { "orgs" };
        let url = format!("{}/{above}/{}/hooks/{}", self.base, hook.owner, hook.id);
        let mut json = json!({
            "type": if is_of_repository { "Repository" } else { "Organization" },
            "id": hook.id, "name": "web", "active": hook.active, "events": hook.events, "config": config_json(hook),
            "updated_at": moment(hook.updated_at), "created_at": moment(hook.created_at),
            "url": url, "ping_url": format!("{url}/pings"), "deliveries_url": format!("{url}/deliveries"),
        });
        if is_of_repository {
            json["test_url"] = format!("{url}/test").into();
            let last = self.deliveries.iter().rev().find(|delivery| delivery.hook == hook.id);
            json["last_response"] = match last {
                None => json!({ "code": null, "status": "unused", "message": null }),
                Some(last) => {
                    let status = if last.is_good() { "active" } else { "unknown" };
                    json!({ "code": last.status_code, "status": status, "message": last.status })
                }
            };
        }
        json
    }
}

fn config_json(hook: &Hook) -> Value {
    let mut config = json!({ "url": hook.url, "content_type": hook.content_type, "insecure_ssl": hook.insecure_ssl });
    if hook.secret.is_some() {
        config["secret"] = "********".into();
    }
    config
}

fn merge_config(hook: &mut Hook, config: &Value) {
    let text = |name: &str| match &config[name] {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    if let Some(url) = text("url") {
        hook.url = url;
    }
    if let Some(content_type) = text("content_type") {
        hook.content_type = content_type;
    }
    if let Some(insecure_ssl) = text("insecure_ssl") {
        hook.insecure_ssl = insecure_ssl;
    }
    if let Some(secret) = text("secret") {
        hook.secret = Some(secret).filter(|secret| !secret.is_empty());
    }
}

fn check_url(hook: &Hook) -> Result<(), Answer> {
    if hook.url.starts_with("https://") || hook.url.starts_with("http://") {
        return Ok(());
    }
    Err(Answer::invalid("Hook", Some("url"), "custom", "url must be a valid URL"))
}

fn strings(list: &Value) -> Option<Vec<String>> {
    Some(list.as_array()?.iter().filter_map(Value::as_str).map(str::to_owned).collect())
}

fn same_events(some: &[String], others: &[String]) -> bool {
    some.len() == others.len() && some.iter().all(|event| others.contains(event))
}
