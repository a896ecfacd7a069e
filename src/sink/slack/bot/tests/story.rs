//! A pull request from its beginning to its end, by recorded payloads, as the calls that Slack gets.

use std::{fs, path::Path};

use super::*;
use crate::{
    headers::Headers,
    provider::{Context, Normalised, Options, Provider, normalise, vectors},
};

const SUBJECT: &str = "acme/api#42";
const BRANCH: &str = "retry-on-5xx";

/// JSON pointers, and what stands there instead.
type Changes = &'static [(&'static str, &'static str)];

/// File of a recorded payload, GitHub's event, and what has to be otherwise for it to be a part of this story.
const STORY: &[(&str, &str, Changes)] = &[
    ("pull_request.opened", "pull_request", &[]),
    (
        "pull_request.assigned",
        "pull_request",
        &[("/action", r#""review_requested""#), ("/requested_reviewer", r#"{"login":"mona"}"#)],
    ),
    ("workflow_run.completed", "workflow_run", &[("/workflow_run/conclusion", r#""failure""#)]),
    ("push", "push", &[]),
    ("workflow_run.completed", "workflow_run", &[("/workflow_run/run_number", "164")]),
    (
        "pull_request_review.submitted",
        "pull_request_review",
        &[("/review/state", r#""approved""#), ("/review/user/login", r#""mona""#)],
    ),
    ("pull_request.closed", "pull_request", &[]),
];

/// What is the same in all of them, where they have it.
const SAME: Changes = &[
    ("/repository/full_name", "acme/api"),
    ("/sender/login", "octocat"),
    ("/pusher/name", "octocat"),
    ("/pull_request/title", "Retry on 5xx"),
    ("/pull_request/html_url", "https://github.com/acme/api/pull/42"),
    ("/pull_request/head/ref", BRANCH),
    ("/pull_request/head/sha", "5d5ad36c4a7d4e1ebd3f7b5d7c1c1f8a2a9f4b10"),
    ("/pull_request/merged_by/login", "octocat"),
    ("/review/html_url", "https://github.com/acme/api/pull/42#pullrequestreview-1"),
    ("/workflow/name", "tests"),
    ("/workflow_run/head_branch", BRANCH),
    ("/workflow_run/head_repository/full_name", "acme/api"),
    ("/workflow_run/actor/login", "octocat"),
    ("/workflow_run/html_url", "https://github.com/acme/api/actions/runs/1"),
    ("/ref", "refs/heads/retry-on-5xx"),
    ("/compare", "https://github.com/acme/api/compare/a...b"),
];

fn event(file: &str, event_type: &str, changes: Changes) -> Option<Event> {
    let mut body = vectors::json(&format!("payloads/github/{file}.json"))?;
    for (pointer, text) in SAME {
        if let Some(value) = body.pointer_mut(pointer) {
            *value = Value::from(*text);
        }
    }
    if let Some(number) = body.pointer_mut("/pull_request/number") {
        *number = Value::from(42);
    }
    for (pointer, json) in changes {
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        body.pointer_mut(parent).unwrap()[key] = serde_json::from_str(json).unwrap();
    }
    let context = Context { provider: Provider::GitHub, source: "github", options: &Options::NONE };
    match normalise(&context, event_type, &Headers::new(), body.to_string().as_bytes()) {
        Normalised::Events(mut events) => events.pop(),
        other => panic!("{file}: {other:?}"),
    }
}

#[test]
fn a_pull_request_is_one_thread() {
    let mut desk = Desk::new();
    let mut kinds = Vec::new();
    for ((file, event_type, changes), at) in STORY.iter().zip(1..) {
        let Some(event) = event(file, event_type, changes) else { return };
        kinds.push(event.kind.clone());
        // As the store files them: by the branch that the pull request wants merged.
        let branch = event.on_branch();
        let is_its_own = event.subject.as_deref() == Some(SUBJECT);
        assert!(is_its_own || branch == Some(format!("acme/api@{BRANCH}")), "{file}: {event:?}");
        let parcel = Parcel { event, ..pull(at, "") };
        desk.deliver(&Parcel { subject: Some(SUBJECT.to_owned()), ..parcel });
    }
    let story = ["pr_opened", "pr_review_requested", "ci_failed", "push", "ci_passed", "pr_approved", "pr_merged"];
    assert_eq!(kinds, story);

    let calls = std::mem::take(&mut *lock(&desk.api.calls));
    let of = |method: &str| calls.iter().filter(|(called, _)| called == method).collect::<Vec<_>>();
    let (parents, answers): (Vec<_>, Vec<_>) =
        of("chat.postMessage").into_iter().partition(|(_, call)| call["thread_ts"].is_null());
    assert_eq!((parents.len(), answers.len(), of("reactions.add").len()), (1, story.len() - 1, 1));
    assert!(answers.iter().all(|(_, call)| call["thread_ts"] == "1.1" && call["channel"] == "C1"));
    assert!(of("chat.update").iter().all(|(_, call)| call["ts"] == "1.1"));

    let shown: Vec<Value> =
        calls.iter().map(|(method, arguments)| json!({ "method": method, "arguments": arguments })).collect();
    let actual = format!("{:#}\n", Value::from(shown));
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/sink/slack/golden/pr_story.json");
    if std::env::var_os("HOOKBELL_ACCEPT").is_some() {
        fs::write(&file, &actual).unwrap();
    }
    assert!(
        actual == fs::read_to_string(&file).unwrap_or_default(),
        "{} differs\n--- actual\n{actual}\nif it is right: HOOKBELL_ACCEPT=1 cargo test --lib slack",
        file.display(),
    );
}
