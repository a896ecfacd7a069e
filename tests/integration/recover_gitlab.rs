//! What GitLab has sent and we do not hold comes in: exactly that, in its order, once.

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

const TOKEN: &str = "glpat-not-a-token";
const HOOKS: &str = "/projects/acme%2Flamps%2Fdesk/hooks";

/// A project, as far as it is asked about.
struct Project {
    /// Newest first.
    log: Vec<Value>,
    url: &'static str,
    alert_status: &'static str,
    is_forbidden: bool,
    is_limited: bool,
    /// What is sent while a list is read.
    meanwhile: Option<Value>,
}

fn answer(project: &mut Project, asked: &Asked) -> Reply {
    if asked.header("private-token") != TOKEN {
        return Reply::json(401, &json!({ "message": "401 Unauthorized" }));
    }
    if std::mem::take(&mut project.is_limited) {
        return Reply { status: 429, fields: Vec::new(), body: "Retry later\n".to_owned() }
            .with("Retry-After", 1)
            .with("RateLimit-Remaining", 0)
            .with("RateLimit-Limit", 2000)
            .with("RateLimit-Reset", SystemClock.wall().seconds() + 60);
    }
    if project.is_forbidden {
        return Reply::json(403, &json!({ "error": "insufficient_scope", "scope": "api read_api" }));
    }
    if asked.path == HOOKS {
        let other = json!({ "id": 6, "url": "https://elsewhere.example/", "alert_status": "executable" });
        return Reply::json(
            200,
            &json!([other, { "id": 7, "url": project.url, "alert_status": project.alert_status }]),
        );
    }
    assert_eq!(asked.path, format!("{HOOKS}/7/events"));
    let number = |name: &str| asked.query[name].parse::<usize>().expect("a number");
    let (page, per_page) = (number("page"), number("per_page"));
    if per_page > 20 {
        return Reply::json(400, &json!({ "error": "per_page does not have a valid value" }));
    }
    let listed: Vec<&Value> = project.log.iter().skip((page - 1) * per_page).take(per_page).collect();
    let reply = Reply::json(200, &json!(listed)).with("RateLimit-Remaining", 1990).with("RateLimit-Limit", 2000);
    if let Some(entry) = project.meanwhile.take() {
        project.log.insert(0, entry);
    }
    reply
}

fn body(number: usize) -> Value {
    json!({ "object_kind": "release", "id": number, "name": format!("Lamp {number}"), "tag": format!("v{number}"),
        "action": "create", "url": "https://gitlab.com/acme/lamps/desk/-/releases/v1", "project": { "id": 1,
        "web_url": "https://gitlab.com/acme/lamps/desk", "path_with_namespace": "acme/lamps/desk" } })
}

fn id(number: usize) -> String {
    format!("3a427872-00df-429c-9bc9-{number:012}")
}

/// An attempt in the log.
fn entry(number: usize, at: Timestamp, status: &str) -> Value {
    json!({ "id": number, "url": "https://hooks.example.com/webhooks/gitlab", "trigger": "releases_hooks",
        "created_at": at.to_string(), "response_status": status, "execution_duration": 1.09,
        "response_headers": {}, "response_body": "", "request_data": body(number),
        "request_headers": { "Content-Type": "application/json", "User-Agent": "GitLab/17.9.0",
            "Idempotency-Key": id(number), "X-Gitlab-Event": "Release Hook", "X-Gitlab-Token": "[REDACTED]",
            "X-Gitlab-Event-UUID": "9cebe914-4827-408f-b014-cfa23a47a35f" } })
}

fn project(log: Vec<Value>) -> Interface<Project> {
    let project = Project {
        log,
        url: "https://hooks.example.com/webhooks/gitlab",
        alert_status: "executable",
        is_forbidden: false,
        is_limited: false,
        meanwhile: None,
    };
    Interface::start(project, answer)
}

fn home(slack: &Slack, gitlab: &Interface<Project>) -> Home {
    let home = Home::new();
    let more = format!(
        "[sources.gitlab]\nsecret = {{ file = \"gitlab.secret\" }}\n\
         [sources.gitlab.recover]\napi = \"{}\"\nhooks = [\"acme/lamps/desk\"]\ntoken = {{ file = \"gitlab.token\" }}\n",
        gitlab.url
    );
    home.configure(&slack.url, &more);
    std::fs::write(home.path("gitlab.secret"), SECRET).expect("written");
    std::fs::write(home.path("gitlab.token"), TOKEN).expect("written");
    home
}

/// GitLab delivers it. What the door says.
fn deliver(service: &Service, number: usize) -> Value {
    let sample = Sample::json("Release Hook", body(number).to_string()).with("X-Gitlab-Event", "Release Hook");
    let mut sample = sample.with("Idempotency-Key", id(number));
    let secret = Secret::new(SECRET.to_owned()).expect("not empty");
    sample.sign(Provider::GitLab, &Signing::new(&secret, "", SystemClock.wall())).expect("any secret will do");
    let answer = http::post(&service.door, "/webhooks/gitlab", &sample.headers, &sample.body).expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.body);
    serde_json::from_str(&answer.body).expect("JSON")
}

#[test]
fn exactly_what_is_missing_comes_in_oldest_first_and_once() {
    let (slack, gitlab) = (Slack::start(), project(Vec::new()));
    let home = home(&slack, &gitlab);
    let at = |number: usize| ago(HOUR).minus(HOUR * u32::try_from(110 - number).expect("few"));
    // Taken by whoever stood here before us; then nobody took them; then we were there.
    let mut log: Vec<Value> = (1..10).map(|number| entry(number, at(number), "200")).collect();
    log.extend((10..100).map(|number| {
        let status = if number % 2 == 0 { "internal error" } else { "503" };
        entry(number, at(number), status)
    }));
    // One that its header does not name cannot be compared, and of another GitLab has not kept the payload.
    log[40]["request_headers"] = json!({ "X-Gitlab-Event": "Release Hook" });
    log[50]["request_data"] = json!({ "oversize": true });
    // A text, as another version may have it; and one that was sent again by hand, to somebody who took it.
    log[60]["request_data"] = json!(log[60]["request_data"].to_string());
    let mut again = entry(100, at(100), "201");
    again["request_headers"] = log[70]["request_headers"].clone();
    log.push(again);
    log.reverse();
    gitlab.with(|project| {
        project.log = log;
        project.meanwhile = Some(entry(200, SystemClock.wall(), "503"));
    });
    let service = home.start(&["run"]);
    let first = reconciled(&home);
    let mut expected: Vec<String> = (10..100).filter(|number| ![41, 51, 71].contains(number)).map(id).collect();
    assert_eq!(stored(&home, "recovered"), expected);
    let told = |report: &Value| ["recovered", "lost", "missing"].map(|name| report[name].as_i64().unwrap_or(-1));
    assert_eq!((told(&first), &first["place"]), ([87, 1, 0], &json!("acme/lamps/desk")));
    assert_eq!((gitlab.count(&format!("{HOOKS}/7/")), gitlab.count(HOOKS)), (6, 7));

    // We hold these, and one that we took is gone.
    for number in [201, 202, 204] {
        assert_eq!(deliver(&service, number)["status"], "accepted");
    }
    gitlab.with(|project| {
        (201..205).for_each(|number| project.log.insert(0, entry(number, SystemClock.wall(), "200")));
    });
    let second = reconcile(&home);
    expected.extend([200, 203].map(id));
    assert_eq!((stored(&home, "recovered"), told(&second)), (expected.clone(), [89, 1, 0]));
    assert_eq!(gitlab.count(&format!("{HOOKS}/7/")), 6 + 1, "only what is new is read");

    // GitLab sends one again by hand: that is the same.
    assert_eq!(deliver(&service, 203)["status"], "duplicate");
    assert!(service.terminate().success());
    let service = home.start(&["run"]);
    assert_eq!(told(&reconcile(&home))[0], 89);
    assert_eq!(stored(&home, "recovered"), expected);
    let row = &home.json(&["deliveries", "show", "1", "--json"])[0];
    assert_eq!((&row["delivery_id"], &row["event_type"]), (&json!(id(10)), &json!("Release Hook")));
    assert!(row["notes"].to_string().contains("GitLab could not deliver it"), "{row}");
    assert!(!row.to_string().contains("REDACTED"), "{row}");
    assert!(service.terminate().success());
}

#[test]
fn payloads_that_are_kept_while_a_list_is_read_are_bounded() {
    let log = (1..=45).rev().map(|number| {
        let mut entry = entry(number, ago(MINUTE * (100 - u32::try_from(number).expect("few"))), "500");
        entry["request_data"]["description"] = json!("x".repeat(1024 * 1024));
        entry
    });
    let (slack, gitlab) = (Slack::start(), project(log.collect()));
    let home = home(&slack, &gitlab);
    let service = home.start(&["run"]);
    reconciled(&home);
    let first = stored(&home, "recovered");
    assert!(!first.is_empty() && first.len() <= 16, "{}", first.len());
    let all: Vec<String> = (1..=45).map(id).collect();
    let found = home.wait_for("the others in the next passes", |home| {
        reconcile(home);
        let found = stored(home, "recovered");
        assert_eq!(found, all[..found.len()], "oldest first");
        (found.len() == all.len()).then_some(found)
    });
    assert_eq!(found, all);
    assert!(service.terminate().success());
}

#[test]
fn a_token_that_may_not_is_told_so_and_nothing_else_breaks() {
    let (slack, gitlab) = (Slack::start(), project(vec![entry(1, ago(HOUR), "503")]));
    let home = home(&slack, &gitlab);
    gitlab.with(|project| project.is_forbidden = true);
    let service = home.start(&["run"]);
    let said = trouble(&home, "403: insufficient_scope");
    assert!(said.contains("read_api"), "{said}");
    assert!(said.contains("maintainer") && !said.contains(TOKEN), "{said}");
    assert_eq!(deliver(&service, 2)["status"], "accepted");
    assert_eq!(service.post_sample("push", 1).0, 200);

    gitlab.with(|project| (project.is_forbidden, project.url) = (false, "https://elsewhere.example/webhooks/other"));
    ask(&home);
    trouble(&home, "acme/lamps/desk has no webhook that leads to");
    // GitLab has given the webhook up: what is listed comes in, and what happens now will be missing for ever.
    gitlab.with(|project| {
        project.url = "https://hooks.example.com/webhooks/gitlab";
        project.alert_status = "temporarily_disabled";
    });
    ask(&home);
    trouble(&home, "GitLab has stopped sending");
    assert_eq!(stored(&home, "recovered"), [id(1)]);
    gitlab.with(|project| project.alert_status = "executable");
    assert!(reconcile(&home)["trouble"].is_null());
    assert!(service.terminate().success());
}

#[test]
fn who_asks_too_often_waits_as_long_as_gitlab_says() {
    let (slack, gitlab) = (Slack::start(), project(vec![entry(1, ago(DAY), "503")]));
    let home = home(&slack, &gitlab);
    gitlab.with(|project| project.is_limited = true);
    let service = home.start(&["run"]);
    trouble(&home, "asked too often");
    let report = home.wait_for("the second to pass", |home| {
        ask(home);
        let report = report(home);
        report["trouble"].is_null().then_some(report)
    });
    assert_eq!((&report["recovered"], stored(&home, "recovered")), (&json!(1), vec![id(1)]));
    assert!(service.terminate().success());
}
