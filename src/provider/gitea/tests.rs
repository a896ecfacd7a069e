//! What is particular in Gitea's and Forgejo's proofs and payloads.

use serde_json::{Value, json};

use super::*;
use crate::event::{Event, Fact};
use crate::provider::{
    Normalised, Options, Provider, judge as judge_by,
    rules::Context,
    sample as samples,
    tests::{NOW, arrived, delivery, own_terms, signed},
    vectors, verify,
};

fn told(event_type: &str, headers: &Headers, body: &[u8]) -> Normalised {
    let context = Context { provider: Provider::Gitea, source: "desk", options: &Options::NONE };
    normalise(&context, event_type, headers, body)
}

fn event(event_type: &str, mut payload: Value) -> Event {
    if payload["repository"].is_null() {
        payload["repository"] = json!({ "full_name": "acme/api", "html_url": "https://git.example.com/acme/api" });
    }
    payload["sender"] = json!({ "login": "otto" });
    match told(event_type, &Headers::new(), payload.to_string().as_bytes()) {
        Normalised::Events(mut events) => events.remove(0),
        other => panic!("{event_type}: {other:?}"),
    }
}

fn skipped(event_type: &str, payload: Value) -> String {
    match told(event_type, &Headers::new(), payload.to_string().as_bytes()) {
        Normalised::Skipped(why) => why,
        other => panic!("{event_type}: {other:?}"),
    }
}

fn fact(event: &Event, key: &str) -> String {
    event.extra.get(key).map(Fact::to_string).unwrap_or_default()
}

#[test]
fn a_form_s_json_is_signed_and_not_the_form() {
    let terms = own_terms(Provider::Gitea);
    let form = |body: &str| {
        let sample = samples::for_payload(Provider::Gitea, "issues", body.as_bytes().to_vec(), 7);
        arrived(Provider::Gitea, signed(Provider::Gitea, sample))
    };
    let good = form("payload=%7B%22action%22%3A%22opened%22%2C+%22issue%22%3A%7B%22title%22%3A%22J%C3%B6%22%7D%7D&x=1");
    let passes = |request: &Unverified, body: &[u8]| {
        let changed = Unverified { body: body.to_vec(), ..request.clone() };
        judge_by(&terms, &changed, NOW).is_ok()
    };
    assert!(passes(&good, &good.body));
    // Another spelling of the same JSON is the same JSON; another JSON is not.
    assert!(passes(&good, b"payload={%22action%22:%22opened%22,%20%22issue%22:{%22title%22:%22J%c3%b6%22}}"));
    assert!(!passes(&good, b"payload=%7B%22action%22%3A%22closed%22%7D"));
    assert!(!passes(&good, b"x=1") && !passes(&good, b""));
    assert!(!passes(&good, &[&good.body[..], b"&payload=%7B%7D"].concat()));
    match told("issues", &good.headers, &good.body) {
        Normalised::Events(events) | Normalised::Partly { events, .. } => assert_eq!(events[0].title, "Jö"),
        other => panic!("{other:?}"),
    }
    // Bytes that are no UTF-8 stay what they are: U+FFFD in their place is another text.
    let replaced = form("payload=%7B%22a%22%3A%22%EF%BF%BD%22%7D");
    assert!(!passes(&replaced, b"payload=%7B%22a%22%3A%22%FF%22%7D"));
    assert!(matches!(told("issues", &good.headers, b"x=1"), Normalised::Undecodable(_)));
}

#[test]
fn one_json_has_one_fingerprint_however_it_is_sent() {
    for provider in [Provider::Gitea, Provider::Forgejo] {
        let by = |body: &str, content_type: Option<&str>| {
            let sample = samples::for_payload(Provider::Gitea, "issues", body.as_bytes().to_vec(), 7);
            let sample = content_type.into_iter().fold(sample, |sample, value| sample.with("Content-Type", value));
            let verified = verify(&own_terms(provider), arrived(provider, signed(provider, sample)), NOW);
            delivery(verified.expect("signed")).into_parts().fingerprint
        };
        let json = r#"{"action":"opened"}"#;
        let expected = Some(body_sha256(json.as_bytes()));
        for form in [
            "payload=%7B%22action%22%3A%22opened%22%7D",
            "payload={%22action%22:%22opened%22}",
            "x=1&payload=%7b%22action%22%3a%22opened%22%7d&y=2",
        ] {
            assert_eq!(by(form, Some("application/x-www-form-urlencoded")), expected, "{provider}: {form}");
        }
        // The body itself is what is proven.
        assert_eq!(by(json, None), None, "{provider}");
    }
}

#[test]
fn a_signature_is_bare_digits() {
    let sample = samples::build(Provider::Gitea, "push", 7).expect("a sample");
    let good = arrived(Provider::Gitea, signed(Provider::Gitea, sample));
    let value = good.headers.text(GITEA.signature).expect("signed").to_owned();
    let verdict = |value: &str| {
        let changed = crate::provider::tests::with_header(&good, GITEA.signature, Some(value.as_bytes()));
        judge_by(&own_terms(Provider::Gitea), &changed, NOW)
    };
    assert_eq!(verdict(&value), Ok(0));
    // Without a secret Gitea sends the header all the same.
    assert_eq!(verdict(""), Err(Rejection::missing(GITEA.signature)));
    for wrong in [format!("sha256={value}"), value.to_uppercase(), value[..40].to_owned()] {
        assert!(matches!(verdict(&wrong), Err(Rejection::SignatureMalformed { .. })), "{wrong}");
    }
}

#[test]
fn pull_requests_and_reviews() {
    let pull = |action: &str, more: Value| {
        let mut pull = json!({ "number": 42, "title": " Add\na lamp ", "labels": [{ "name": "bug" }, 3], "draft": true,
            "base": { "ref": "main" }, "head": { "ref": "lamp", "sha": "abc" }, "merged_by": { "login": "ada" } });
        for (key, value) in more.as_object().into_iter().flatten() {
            pull[key] = value.clone();
        }
        json!({ "action": action, "pull_request": pull })
    };
    let merged = event("pull_request", pull("closed", json!({ "merged": true })));
    assert_eq!(
        (merged.kind.as_str(), merged.actor.as_str(), merged.title.as_str()),
        ("pr_merged", "ada", "Add a lamp")
    );
    assert_eq!(merged.subject.as_deref(), Some("acme/api#42"));
    assert_eq!(merged.url.as_deref(), Some("https://git.example.com/acme/api"));
    let facts = ["number", "branch", "head_branch", "labels", "draft", "sha"].map(|key| fact(&merged, key));
    assert_eq!(facts, ["42", "main", "lamp", "bug", "true", "abc"]);
    assert_eq!(event("pull_request", pull("closed", Value::Null)).kind, "pr_closed");
    let fork = json!({ "user": { "login": "eve" }, "head": { "ref": "main", "repo": { "full_name": "eve/api" } } });
    let fork = event("pull_request", pull("opened", fork));
    assert_eq!([fact(&fork, "author"), fact(&fork, "head_branch")], ["eve", "eve:main"]);
    let review = |header: &str, kind: Value| {
        let mut body = pull("reviewed", Value::Null);
        body["review"] = json!({ "type": kind });
        event(header, body).kind
    };
    assert_eq!(review("pull_request_approved", json!("pull_request_review_approved")), "pr_approved");
    assert_eq!(review("pull_request_rejected", json!("pull_request_review_rejected")), "pr_changes_requested");
    // The header is not signed; the body is.
    assert_eq!(review("pull_request_approved", json!("pull_request_comment")), "pr_commented");
    assert_eq!(review("pull_request_rejected", Value::Null), "pr_changes_requested");
    for action in ["synchronized", "label_updated", "edited", "assigned", "milestoned"] {
        skipped("pull_request", pull(action, Value::Null));
    }
}

#[test]
fn pushes_branches_and_forks() {
    let push = |name: &str, before: &str, commits: usize, total: u64| {
        json!({ "ref": name, "before": before, "commits": vec![json!({}); commits], "total_commits": total,
            "head_commit": { "id": "abc", "message": "First line\n\nMore" }, "pusher": { "login": "ada" } })
    };
    let nine = event("push", push("refs/heads/main", "a1", 5, 9));
    assert_eq!((nine.title.as_str(), nine.actor.as_str()), ("9 commits: First line", "ada"));
    let mut touching = push("refs/heads/main", "a1", 0, 1);
    touching["commits"] = json!([{ "added": ["a"], "modified": ["b"], "removed": ["c"] }]);
    assert_eq!(fact(&event("push", touching), "paths"), "a\nb\nc");
    assert!(skipped("push", push("refs/heads/work", "0000", 0, 0)).contains("create event"));
    skipped("push", push("refs/tags/v1", "0000", 1, 1));
    assert_eq!(skipped("push", push("refs/heads/work", "a1", 0, 0)), "push: no commits");
    let branch = |sort: &str| json!({ "ref": "refs/heads/work/1", "ref_type": sort });
    let created = event("create", branch("branch"));
    assert_eq!(created.url.as_deref(), Some("https://git.example.com/acme/api/src/branch/work/1"));
    assert_eq!(created.subject.as_deref(), Some("acme/api@work/1"));
    skipped("delete", branch("tag"));
    let (old, new) =
        (json!({ "full_name": "acme/api", "forks_count": 3 }), json!({ "full_name": "otto/api", "fork": true }));
    for (forkee, repository) in [(&old, &new), (&new, &old)] {
        let event = event("fork", json!({ "forkee": forkee, "repository": repository }));
        assert_eq!(
            (event.repository.as_str(), event.title.as_str(), fact(&event, "forks").as_str()),
            ("acme/api", "otto/api", "3")
        );
    }
    let draft = json!({ "action": "published", "release": { "tag_name": "v1", "draft": true } });
    assert!(skipped("release", draft).contains("draft"));
}

#[test]
fn one_run_is_told_once() {
    let run = |conclusion: &str, from: &str| {
        json!({ "action": "completed", "workflow_run": { "path": "ci.yml@refs/heads/main", "conclusion": conclusion,
            "head_branch": "main", "head_repository": { "full_name": format!("{from}/api") } } })
    };
    let failed = event("workflow_run", run("failure", "acme"));
    assert_eq!((failed.title.as_str(), failed.subject.as_deref()), ("ci.yml", Some("acme/api@main ci")));
    assert_eq!(fact(&event("workflow_run", run("success", "eve")), "branch"), "eve:main");
    assert!(skipped("workflow_run", run("cancelled", "acme")).contains("neither passed nor failed"));
    let action_run = |status: &str| {
        json!({ "action": "failure", "run": { "title": "Add a lamp", "workflow_id": "ci.yml", "prettyref": "main",
            "status": status, "trigger_user": { "login": "ada" }, "html_url": "https://git.example.com/run/1" } })
    };
    let failed = event("action_run_failure", action_run("failure"));
    assert_eq!((failed.kind.as_str(), failed.actor.as_str(), failed.title.as_str()), ("ci_failed", "ada", "ci.yml"));
    assert_eq!(event("action_run_success", action_run("success")).kind, "ci_passed");
    skipped("action_run_failure", action_run("cancelled"));
    assert_eq!(skipped("action_run_failure", json!({ "action": "failure" })), "action_run: no run in it");
    for part in ["workflow_job", "status", "action_run_recover"] {
        skipped(part, json!({ "action": "completed", "state": "failure" }));
    }
}

#[test]
fn recorded_payloads_are_told_as_expected() {
    for case in vectors::cases("payloads/manifest.json", "files", "gitea") {
        let file = case["file"].as_str().expect("a file");
        let expected = match file.rsplit('/').next().expect("a name") {
            "branch_create.json" | "gp-create.json" => "branch_created",
            "branch_delete.json" => "branch_deleted",
            "gp-fork.json" => "repo_forked",
            "gp-issue-assign.json" => "issue_assigned",
            "gp-issue-comment.json" | "issue_comment_created.json" => "issue_commented",
            "gp-pull-request-comment.json" => "pr_commented",
            "gp-pull-request-review.json" => "pr_commented",
            "gp-push.json" => "push",
            "issues_closed.json" => "issue_closed",
            "pull_request_closed.json" => "pr_closed",
            "pull_request_merged.json" => "pr_merged",
            "pull_request_reopened.json" => "pr_reopened",
            "gp-issue-label.json"
            | "gp-issue-milestone.json"
            | "gp-pull-request-assign.json"
            | "tag_delete.json"
            | "gp-pull-request-milestone.json"
            | "gp-repository.json"
            | "issue_comment_edited.json"
            | "pull_request_comment_deleted.json"
            | "pull_request_edited.json" => "skipped",
            _ => continue,
        };
        let event_type = case["event"].as_str().expect("an event");
        let told = match told(event_type, &Headers::new(), &vectors::bytes(file)) {
            Normalised::Events(events) | Normalised::Partly { events, .. } => events[0].kind.clone(),
            Normalised::Skipped(_) => "skipped".to_owned(),
            Normalised::Undecodable(why) => panic!("{file}: {why}"),
        };
        assert_eq!(told, expected, "{file}");
    }
}
