//! What has no webhook is watched: what is new comes in, in its order, once, and GitHub is asked as it wishes.

use std::{
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    time::Duration,
};

use serde_json::{Value, json};

use crate::harness::{
    Home,
    github::{Call, GitHub, TOKEN, ago},
    http, signed,
    slack::Slack,
};

const EVENTS: &str = "/events";

/// A GitHub that may be asked again at once.
fn willing() -> GitHub {
    let github = GitHub::start();
    github.with(|state| state.poll_interval_s = 0);
    github
}

/// A home whose source `watched` watches these.
fn home(github: &GitHub, token: bool, poll: &[&str], more: &str) -> Home {
    let (home, slack) = (Home::new(), Slack::start());
    let token = if token { "token = { file = \"token\" }\n" } else { "" };
    let api = &github.url;
    home.configure(
        &slack.url,
        &format!(
            "[github]\napi = \"{api}\"\n{token}[sources.watched]\nprovider = \"github\"\npoll = {poll:?}\n{more}\n\
             [[rules]]\nwhen = {{ kind = \"*\" }}\nto = [\"bell\"]\n"
        ),
    );
    std::fs::write(home.path("token"), TOKEN).expect("written");
    home
}

fn ask(home: &Home, what: &str) -> Value {
    let mut socket = UnixStream::connect(home.path("hookbell.db.sock")).expect("the control socket");
    writeln!(socket, "{{\"do\":\"{what}\"}}").expect("asked");
    let mut answer = String::new();
    BufReader::new(socket).read_line(&mut answer).expect("an answer");
    serde_json::from_str(&answer).expect("JSON")
}

fn report(home: &Home, place: &str) -> Value {
    let all = ask(home, "status")["reconciled"].clone();
    let all = all.as_array().cloned().unwrap_or_default();
    all.into_iter().find(|row| row["place"] == place).unwrap_or_default()
}

/// What is said of a repository as soon as it was asked for again.
fn asked_again(home: &Home, place: &str, before: &Value) -> Value {
    home.wait_for("a look at the events", |home| {
        Some(report(home, place)).filter(|report| report["passes"].as_u64() > before["passes"].as_u64())
    })
}

/// Waits for the first look.
fn looked(home: &Home, place: &str) -> Value {
    asked_again(home, place, &json!({ "passes": 0 }))
}

/// Has everything asked for now, and waits until that one was.
fn look(home: &Home, place: &str) -> Value {
    let before = report(home, place);
    assert_eq!(ask(home, "reconcile"), json!({ "ok": true }));
    asked_again(home, place, &before)
}

/// The stored deliveries, oldest first.
fn held(home: &Home) -> Vec<Value> {
    let mut rows = home.json(&["deliveries", "list", "--json", "--limit", "10000"]);
    rows.reverse();
    rows
}

/// Opens issues one second after the other, the last of them a while ago; their ids.
fn open(github: &GitHub, repository: &str, numbers: std::ops::Range<u64>) -> Vec<String> {
    let last = numbers.end;
    let one = |number: u64| {
        let issue = json!({ "action": "opened", "issue": { "number": number, "title": format!("Issue {number}") } });
        github.push_event(repository, "IssuesEvent", &issue, ago(Duration::from_secs(20 + last - number)))
    };
    numbers.map(one).collect()
}

fn delivery_ids(rows: &[Value]) -> Vec<String> {
    rows.iter().map(|row| row["delivery_id"].as_str().unwrap_or_default().to_owned()).collect()
}

fn named(ids: &[String]) -> Vec<String> {
    ids.iter().map(|id| format!("event-{id}-issues")).collect()
}

fn asked_for(github: &GitHub, part: &str) -> Vec<Call> {
    github.calls().into_iter().filter(|call| call.path.contains(part)).collect()
}

#[test]
fn what_is_new_comes_in_order_and_once() {
    let github = willing();
    open(&github, "acme/api", 1..3);
    let home = home(&github, true, &["acme/api"], "");
    let mut service = home.start(&["run"]);
    service.wait_for_log("watching begins source=watched repository=acme/api listed=2");
    looked(&home, "acme/api");
    assert_eq!(held(&home), [Value::Null; 0], "what happened before is not told");

    let pull = json!({ "action": "merged", "number": 5, "pull_request": { "number": 5,
        "url": format!("{}/repos/acme/api/pulls/5", github.url), "base": { "ref": "main" }, "head": { "ref": "lamp" } } });
    let issue = json!({ "action": "opened", "issue": { "number": 6, "title": "It is dark" } });
    let at = |seconds: u64| ago(Duration::from_secs(seconds));
    let ids = [
        github.push_event("acme/api", "PullRequestEvent", &pull, at(300)),
        github.push_event("acme/api", "IssuesEvent", &issue, at(200)),
        github.push_event("acme/api", "WatchEvent", &json!({ "action": "started" }), at(100)),
    ];
    let said = look(&home, "acme/api");
    assert_eq!((&said["recovered"], &said["delays"], &said["lost"]), (&json!(3), &json!(3), &json!(0)), "{said}");
    let rows = home.wait_for("everything is told", |home| {
        Some(held(home)).filter(|rows| rows.iter().all(|row| row["status"] == "processed"))
    });
    let names = ["pull_request", "issues", "star"];
    let expected: Vec<String> = ids.iter().zip(names).map(|(id, name)| format!("event-{id}-{name}")).collect();
    assert_eq!(delivery_ids(&rows), expected);
    let told: Vec<[&str; 3]> = rows
        .iter()
        .map(|row| [&row["origin"], &row["kinds"][0], &row["title"]].map(|value| value.as_str().unwrap_or_default()))
        .collect();
    assert_eq!(
        told,
        [
            ["polled", "pr_merged", "pull request #5"],
            ["polled", "issue_opened", "It is dark"],
            ["polled", "repo_starred", "acme/api"]
        ]
    );
    assert!(rows[0]["sent_at"].is_string(), "{}", rows[0]);
    let list = String::from_utf8(home.run(&["deliveries", "list"]).stdout).expect("UTF-8");
    assert_eq!(list.matches("polled").count(), 3, "{list}");

    // Nothing has changed: that costs nothing.
    let again = look(&home, "acme/api");
    let last = asked_for(&github, EVENTS).pop().expect("asked");
    assert_eq!((last.status, last.if_none_match.is_some()), (304, true), "{last:?}");
    assert_eq!(again["free"].as_u64(), said["free"].as_u64().map(|free| free + 1), "{again}");
    assert_eq!(held(&home).len(), 3);

    let cost = home.json(&["github", "cost", "--json"]).remove(0);
    let row = &cost["polled"][0];
    assert_eq!((&row["repository"], &row["without_token"]), (&json!("acme/api"), &json!(false)), "{cost}");
    assert_eq!((&row["delay_is_measured"], &row["delay_over"]), (&json!(true), &json!(3)), "{cost}");
    let delay_s = row["delay_s"].as_f64().expect("measured");
    assert!((200.0..260.0).contains(&delay_s), "{cost}");
    assert_eq!((&row["requests_a_day"], &row["requests_are_measured"]), (&json!(1440.0), &json!(false)), "{cost}");
    assert_eq!(cost["webhooks"]["requests_a_day"], 0);
    let shown = String::from_utf8(home.run(&["github", "cost"]).stdout).expect("UTF-8");
    assert!(shown.contains("acme/api (watched)") && shown.contains("the mean of 3"), "{shown}");

    let rechecked = home.json(&["deliveries", "recheck", "--json"]);
    assert!(rechecked.iter().all(|row| row["valid"] == Value::Null), "no secret is wrong: {rechecked:?}");

    // Nobody may call a source that is only watched.
    let body = br#"{"action":"created"}"#;
    let answer = http::post(&service.door, "/webhooks/watched", &signed("star", "g", body), body).expect("an answer");
    assert_eq!(answer.status, 404);
}

#[test]
fn a_restart_misses_nothing_and_repeats_nothing() {
    let github = willing();
    open(&github, "acme/api", 1..3);
    let home = home(&github, true, &["acme/api"], "");
    let service = home.start(&["run"]);
    looked(&home, "acme/api");
    let mut ids = open(&github, "acme/api", 10..13);
    look(&home, "acme/api");
    assert_eq!(delivery_ids(&held(&home)), named(&ids));
    service.kill();

    // Off, and on again without anything new.
    let service = home.start(&["run"]);
    looked(&home, "acme/api");
    let last = asked_for(&github, EVENTS).pop().expect("asked");
    assert_eq!((last.status, last.if_none_match.is_some()), (304, true), "what was seen is known after a restart");
    service.kill();

    ids.extend(open(&github, "acme/api", 20..24));
    let _service = home.start(&["run"]);
    home.wait_for("what happened meanwhile", |home| (held(home).len() == 7).then_some(()));
    look(&home, "acme/api");
    assert_eq!(delivery_ids(&held(&home)), named(&ids));
}

#[test]
fn it_is_not_asked_sooner_than_github_wishes() {
    let github = GitHub::start();
    github.with(|state| state.poll_interval_s = 3600);
    github.add_owner("acme/web");
    github.add_hook("acme/api", "https://hooks.example.com/webhooks/github", None);
    let recover = "[sources.github.recover]\nhooks = [\"acme/api\"]";
    let home = home(&github, true, &["acme/web"], recover);
    let _service = home.start(&["run"]);
    looked(&home, "acme/web");
    looked(&home, "acme/api");
    // What is reconciled is asked for each time, and before what is watched.
    for _ in 0..3 {
        look(&home, "acme/api");
    }
    assert_eq!(github.count(EVENTS), 1);
    let said = report(&home, "acme/web");
    assert!(said["next_in_s"].as_u64().is_some_and(|seconds| (3000..=3600).contains(&seconds)), "{said}");
    assert_eq!((&said["polling"]["interval_s"], &said["polling"]["every_s"]), (&json!(3600), &json!(3600)), "{said}");
}

#[test]
fn many_at_once_are_all_there_and_more_than_github_lists_is_said_aloud() {
    let github = willing();
    open(&github, "acme/api", 1..3);
    let home = home(&github, true, &["acme/api"], "");
    let mut service = home.start(&["run"]);
    looked(&home, "acme/api");
    let mut ids = open(&github, "acme/api", 100..250);
    let said = look(&home, "acme/api");
    assert_eq!((&said["recovered"], &said["polling"]["gap_at"]), (&json!(150), &Value::Null), "{said}");
    assert_eq!(delivery_ids(&held(&home)), named(&ids));

    let more = open(&github, "acme/api", 1000..1310);
    ids.extend(more[10..].iter().cloned());
    let said = look(&home, "acme/api");
    service.wait_for_log("gap source=watched repository=acme/api: all of the 300 events");
    assert!(said["polling"]["gap_at"].is_string(), "{said}");
    assert_eq!(delivery_ids(&held(&home)), named(&ids));
    let shown = String::from_utf8(home.run(&["github", "cost"]).stdout).expect("UTF-8");
    assert!(shown.contains("there was more than GitHub lists"), "{shown}");
}

#[test]
fn a_repository_that_is_gone_keeps_no_other_from_coming() {
    let github = willing();
    github.add_owner("acme/api");
    let home = home(&github, true, &["acme/gone", "acme/api"], "");
    let mut service = home.start(&["run"]);
    let why = service.wait_for_log("cannot watch source=watched place=acme/gone");
    assert!(why.contains("answers 404") && why.contains("it is not there, or not public"), "{why}");
    looked(&home, "acme/api");
    // It had nothing to show at first, so everything is new.
    let ids = open(&github, "acme/api", 1..3);
    look(&home, "acme/api");
    assert_eq!(delivery_ids(&held(&home)), named(&ids));
    let gone = report(&home, "acme/gone");
    assert!(gone["trouble"].as_str().is_some_and(|why| why.contains("404")), "{gone}");
    assert_eq!(report(&home, "acme/api")["trouble"], Value::Null);
}

#[test]
fn without_a_token_it_is_asked_more_seldom() {
    let github = willing();
    for repository in ["acme/api", "acme/web", "acme/doc"] {
        github.add_owner(repository);
    }
    github.add_hook("acme/hooked", "https://hooks.example.com/webhooks/github", None);
    let recover = "[sources.github.recover]\nhooks = [\"acme/hooked\"]\ntoken = { file = \"token\" }";
    let home = home(&github, false, &["acme/api", "acme/web", "acme/doc"], recover);
    let mut service = home.start(&["run"]);
    service.wait_for_log("watching repositories=3 without a token: each every 240 s");
    for repository in ["acme/api", "acme/web", "acme/doc", "acme/hooked"] {
        looked(&home, repository);
    }
    for _ in 0..2 {
        look(&home, "acme/hooked");
    }
    let calls = asked_for(&github, EVENTS);
    assert_eq!(calls.len(), 3, "not even by hand: each answer counts");
    assert!(calls.iter().all(|call| call.authorization.is_none()), "{calls:?}");
    let said = report(&home, "acme/doc");
    assert_eq!((&said["polling"]["anonymous"], &said["polling"]["every_s"]), (&json!(true), &json!(240)), "{said}");
    let shown = String::from_utf8(home.run(&["github", "cost"]).stdout).expect("UTF-8");
    assert!(shown.contains("Without a token GitHub allows 60 requests an hour in all"), "{shown}");
}
