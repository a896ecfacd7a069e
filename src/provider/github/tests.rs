//! What GitHub's payloads mean, by example.

use serde_json::{Value, json};

use super::*;
use crate::event::{Event, Fact, Severity};
use crate::provider::{
    Context, Normalised, Options, Provider,
    tests::{NOW, delivery, request, secret, with_header},
    vectors, verify,
};

/// As the router asks.
fn normalise(event_type: &str, headers: &Headers, body: &[u8]) -> Normalised {
    super::normalise::normalise(
        &Context { provider: Provider::GitHub, source: "github", options: &Options::NONE },
        event_type,
        headers,
        body,
    )
}

fn normalised(event_type: &str, payload: &Value) -> Normalised {
    let headers: Headers = [("Content-Type", b"application/json".as_slice())].into_iter().collect();
    normalise(event_type, &headers, payload.to_string().as_bytes())
}

fn event(event_type: &str, mut payload: Value) -> Event {
    payload["repository"] = json!({ "full_name": "acme/api", "html_url": "https://github.com/acme/api" });
    payload["sender"] = json!({ "login": "ada" });
    match normalised(event_type, &payload) {
        Normalised::Events(mut events) if events.len() == 1 => events.remove(0),
        other => panic!("{event_type}: {other:?}"),
    }
}

fn skipped(event_type: &str, payload: Value) -> String {
    match normalised(event_type, &payload) {
        Normalised::Skipped(why) => why,
        other => panic!("{event_type}: {other:?}"),
    }
}

fn undecodable(body: &[u8], content_type: &[u8]) -> String {
    let headers: Headers = [("content-type", content_type)].into_iter().collect();
    match normalise("push", &headers, body) {
        Normalised::Undecodable(why) => why,
        other => panic!("{other:?}"),
    }
}

fn text(event: &Event, key: &str) -> String {
    event.extra.get(key).map(Fact::to_string).unwrap_or_default()
}

#[test]
fn a_merged_pull_request() {
    let event = event(
        "pull_request",
        json!({ "action": "closed", "pull_request": { "number": 42, "title": " Add\na lamp ", "merged": true,
            "merged_by": { "login": "otto" }, "html_url": "https://github.com/acme/api/pull/42", "draft": false,
            "labels": [{ "name": "bug" }, 3, { "name": "help wanted" }],
            "base": { "ref": "main" }, "head": { "ref": "lamp", "sha": "abc" } } }),
    );
    assert_eq!((event.kind.as_str(), event.actor.as_str(), event.title.as_str()), ("pr_merged", "otto", "Add a lamp"));
    assert_eq!(event.subject.as_deref(), Some("acme/api#42"));
    assert_eq!(event.url.as_deref(), Some("https://github.com/acme/api/pull/42"));
    assert_eq!((event.severity, event.repository.as_str()), (Severity::Success, "acme/api"));
    assert_eq!(event.extra["number"], Fact::Number(42));
    assert_eq!(event.extra["draft"], Fact::Flag(false));
    let facts = ["branch", "head_branch", "labels", "merged_by"].map(|key| text(&event, key));
    assert_eq!(facts, ["main", "lamp", "bug,help wanted", "otto"]);
}

#[test]
fn a_fork_s_branch_is_not_ours() {
    let head = |head: Value| {
        let pull = json!({ "number": 1, "user": { "login": "eve" }, "base": { "ref": "main" }, "head": head });
        let event = event("pull_request", json!({ "action": "opened", "pull_request": pull }));
        assert_eq!(text(&event, "author"), "eve");
        text(&event, "head_branch")
    };
    let of = |name: Value| json!({ "ref": "main", "label": "eve:main", "repo": name });
    assert_eq!(head(of(json!({ "full_name": "eve/api" }))), "eve:main");
    assert_eq!(head(of(Value::Null)), "eve:main");
    assert_eq!(head(json!({ "ref": "lamp", "label": "acme:lamp", "repo": { "full_name": "acme/api" } })), "lamp");
    assert_eq!(head(json!({ "ref": "lamp", "label": "acme:lamp" })), "lamp");
}

#[test]
fn nothing_known_reads_as_such() {
    let Normalised::Events(events) = normalised("pull_request", &json!({ "action": "opened" })) else { panic!() };
    let event = &events[0];
    let texts = [&event.kind, &event.actor, &event.repository, &event.title];
    assert_eq!(texts, ["pr_opened", "someone", "unknown/unknown", "(no title)"]);
    assert_eq!((&event.url, &event.subject), (&None, &None));
}

#[test]
fn comments_and_reviews() {
    let issue =
        |pull: Value| json!({ "action": "created", "issue": { "number": 1, "title": "t", "pull_request": pull } });
    assert_eq!(event("issue_comment", issue(Value::Null)).kind, "issue_commented");
    assert_eq!(event("issue_comment", issue(json!({ "url": "x" }))).kind, "pr_commented");
    let review =
        |state: &str, body: Value| json!({ "action": "submitted", "review": { "state": state, "body": body } });
    assert_eq!(event("pull_request_review", review("approved", Value::Null)).kind, "pr_approved");
    assert_eq!(event("pull_request_review", review("CHANGES_REQUESTED", json!("no"))).kind, "pr_changes_requested");
    assert_eq!(event("pull_request_review", review("commented", json!("hm"))).kind, "pr_commented");
    assert!(skipped("pull_request_review", review("commented", Value::Null)).contains("inline comments"));
    assert!(skipped("pull_request_review", review("commented", json!(" \n"))).contains("inline comments"));
    let team = json!({ "action": "review_requested", "requested_team": { "name": "desk" } });
    assert_eq!(text(&event("pull_request", team), "reviewer"), "desk");
}

#[test]
fn one_run_is_told_once() {
    let run = |conclusion: &str, from: &str| {
        json!({ "action": "completed", "workflow_run": { "name": "CI", "conclusion": conclusion, "head_branch": "main",
            "head_repository": { "full_name": format!("{from}/api"), "owner": { "login": from } },
            "actor": { "login": "otto" }, "html_url": "https://github.com/acme/api/actions/runs/1" } })
    };
    let failed = event("workflow_run", run("failure", "acme"));
    assert_eq!((failed.kind.as_str(), failed.severity), ("ci_failed", Severity::Failure));
    assert_eq!((failed.title.as_str(), failed.actor.as_str()), ("CI", "otto"));
    assert_eq!(failed.subject.as_deref(), Some("acme/api@main ci"));
    let from_fork = event("workflow_run", run("timed_out", "eve"));
    assert_eq!((text(&from_fork, "branch").as_str(), from_fork.kind.as_str()), ("eve:main", "ci_failed"));
    assert_eq!(event("workflow_run", run("startup_failure", "acme")).kind, "ci_failed");
    assert_eq!(event("workflow_run", run("success", "acme")).kind, "ci_passed");
    for conclusion in ["cancelled", "skipped", "neutral", "stale", "action_required", ""] {
        assert!(skipped("workflow_run", run(conclusion, "acme")).contains("neither passed nor failed"));
    }
    let suite = |slug: &str| {
        json!({ "action": "completed", "check_suite": { "conclusion": "failure", "head_branch": "main",
            "head_sha": "c0ffee", "app": { "name": "Other CI", "slug": slug } } })
    };
    let other = event("check_suite", suite("other-ci"));
    assert_eq!((other.kind.as_str(), other.title.as_str()), ("ci_failed", "Other CI"));
    assert_eq!(other.url.as_deref(), Some("https://github.com/acme/api/commit/c0ffee"));
    skipped("check_suite", suite("github-actions"));
    assert_eq!(skipped("check_suite", json!({ "action": "completed" })), "check_suite: no suite in it");
    for part in ["workflow_job", "check_run", "status"] {
        skipped(part, json!({ "action": "completed", "state": "failure" }));
    }
}

#[test]
fn pushes_and_branches() {
    let push = |name: &str, commits: usize| {
        json!({ "ref": name, "commits": vec![json!({}); commits], "pusher": { "name": "otto" },
            "head_commit": { "id": "abc", "message": "First line\n\nMore" } })
    };
    let two = event("push", push("refs/heads/release/1", 2));
    assert_eq!((two.title.as_str(), two.actor.as_str()), ("2 commits: First line", "otto"));
    assert_eq!(text(&two, "branch"), "release/1");
    assert_eq!(event("push", push("refs/heads/main", 1)).title, "1 commit: First line");
    let mut touching = push("refs/heads/main", 0);
    touching["commits"] = json!([{ "added": ["docs/a, b.md"], "removed": ["old"], "modified": 3 },
        { "modified": ["old", "src/main.rs"] }]);
    assert_eq!(text(&event("push", touching), "paths"), "docs/a, b.md\nold\nsrc/main.rs");
    skipped("push", push("refs/heads/main", 0));
    skipped("push", push("refs/tags/v1", 1));
    let branch = |sort: &str| json!({ "ref": "work/1", "ref_type": sort });
    let created = event("create", branch("branch"));
    assert_eq!(created.url.as_deref(), Some("https://github.com/acme/api/tree/work/1"));
    assert_eq!(event("delete", branch("branch")).kind, "branch_deleted");
    skipped("create", branch("tag"));
}

#[test]
fn deployments_and_alerts() {
    let deployment = |state: &str| {
        json!({ "action": "created", "deployment": { "ref": "main", "sha": "abc" },
            "deployment_status": { "state": state, "environment": "production", "log_url": "https://log",
                "environment_url": "https://site" } })
    };
    let failed = event("deployment_status", deployment("error"));
    assert_eq!((failed.kind.as_str(), failed.title.as_str()), ("deployment_failed", "production"));
    assert_eq!(failed.url.as_deref(), Some("https://log"));
    assert_eq!(event("deployment_status", deployment("success")).url.as_deref(), Some("https://site"));
    skipped("deployment_status", deployment("in_progress"));
    let alert = json!({ "action": "created", "alert": { "number": 3, "secret_type_display_name": "Lamp key",
        "secret": "hunter2" } });
    let alert = event("secret_scanning_alert", alert);
    assert_eq!((alert.title.as_str(), alert.severity), ("leaked secret: Lamp key", Severity::Failure));
    assert_eq!(alert.subject.as_deref(), Some("acme/api secret-scanning#3"));
    assert!(!format!("{alert:?}").contains("hunter2"));
    skipped("dependabot_alert", json!({ "action": "fixed" }));
    skipped("security_advisory", json!({ "action": "published" }));
    let bare = event("repository_advisory", json!({ "action": "reported" }));
    assert_eq!((bare.kind.as_str(), bare.title.as_str()), ("security_alert", crate::event::NO_TITLE));
}

#[test]
fn the_rest_is_skipped_with_a_reason() {
    let check = |event_type: &str, action: Value, expected: &str| {
        assert_eq!(skipped(event_type, json!({ "action": action })), expected);
    };
    check("ping", Value::Null, "ping: GitHub reached us");
    check("issues", json!("labeled"), "issues.labeled is not an event we tell about");
    check("star", json!("deleted"), "star.deleted is not an event we tell about");
    check("gollum", json!(5), "gollum is not an event we tell about");
    check("issues", json!("a\nb=c"), "issues.a b=c is not an event we tell about");
}

#[test]
fn forms_carry_the_same_payload() {
    let form: Headers =
        [("Content-Type", b"Application/X-WWW-Form-Urlencoded; charset=utf-8".as_slice())].into_iter().collect();
    let body = b"x=1&payload=%7B%22action%22%3A%22created%22%2C%22sender%22%3A%7B%22login%22%3A%22J%C3%B6+B%22%7D%7D";
    let Normalised::Events(events) = normalise("star", &form, body) else { panic!() };
    assert_eq!((events[0].kind.as_str(), events[0].actor.as_str()), ("repo_starred", "Jö B"));
}

#[test]
fn what_is_no_payload_is_undecodable() {
    let check = |body: &[u8], part: &str| {
        let why = undecodable(body, b"application/json");
        assert!(why.contains(part), "{}: {why}", body[..body.len().min(80)].escape_ascii());
    };
    check(b"", "empty");
    check(b" \n", "empty");
    check(b"Hello, World!", "not a JSON object");
    check(b"[{}]", "not a JSON object");
    check(b"null", "not a JSON object");
    check(b"{\"ref\":", "not JSON");
    check(b"{} trailing", "not JSON");
    check(b"{\"ref\":\"caf\xe9\"}", "not JSON");
    check(b"payload=%7B%7D", "not a JSON object");
    // What is too deep to be kept is passed over without recursion, so that it does no harm.
    check(format!("{{\"issue\":{}", "[".repeat(1_000_000)).as_bytes(), "not JSON");
    check(format!("{{\"other\":{}", "{\"a\":".repeat(1_000_000)).as_bytes(), "not JSON");
    assert!(undecodable(b"{}", b"application/x-www-form-urlencoded").contains("without the field payload"));
    assert!(undecodable(b"payload=%", b"application/x-www-form-urlencoded").contains("not a JSON object"));
}

#[test]
fn the_proof_comes_before_the_identity() {
    let good = request(Provider::GitHub, "pr_opened");
    let terms = Terms::new(Provider::GitHub, vec![secret("old"), secret("key")]);
    let check = |request: Unverified, expected: Result<(), (u16, &str)>| {
        let verdict = verify(&terms, request, NOW).map(delivery);
        match (verdict, expected) {
            (Ok(delivery), Ok(())) => {
                assert_eq!((delivery.verified_by(), delivery.event_type()), (Some(1), "pull_request"))
            }
            (Err(rejection), Err((status, reason))) => {
                assert_eq!(rejection.status(), status, "{rejection}");
                assert!(rejection.to_string().contains(reason), "{rejection}");
            }
            (verdict, expected) => panic!("{verdict:?}, expected {expected:?}"),
        }
    };
    check(good.clone(), Ok(()));
    check(with_header(&good, "X-Hub-Signature-256", None), Err((401, "missing or empty")));
    let legacy = with_header(&with_header(&good, "X-Hub-Signature-256", None), "X-Hub-Signature", Some(b"sha1=00"));
    check(legacy, Err((401, "only the legacy SHA-1 header")));
    check(with_header(&good, "X-GitHub-Event", None), Err((400, "X-GitHub-Event is missing")));
    check(with_header(&good, "X-GitHub-Delivery", None), Err((400, "X-GitHub-Delivery is missing")));
    check(with_header(&good, "X-GitHub-Delivery", Some(b"")), Err((400, "is missing")));
    check(with_header(&good, "X-GitHub-Delivery", Some(&[b'a'; 201])), Err((400, "too long")));
    check(with_header(&good, "X-GitHub-Event", Some("push\u{e9}".as_bytes())), Err((400, "printable")));
    check(with_header(&good, "X-GitHub-Event", Some(b"a\nb")), Err((400, "printable")));
    check(Unverified { body: b"{}".to_vec(), ..good.clone() }, Err((401, "does not match")));
    let mut twice = good.clone();
    let value = twice.headers.text("X-Hub-Signature-256").expect("signed").to_owned();
    twice.headers.push("x-hub-signature-256", value.as_bytes());
    check(twice, Err((401, "more than once")));
    // Unproven and unidentified: the sender learns of the proof alone.
    let neither = with_header(&with_header(&good, "X-GitHub-Event", None), "X-Hub-Signature-256", None);
    check(neither, Err((401, "missing or empty")));
}

#[test]
fn recorded_payloads_are_told_as_expected() {
    for case in vectors::cases("payloads/manifest.json", "files", "github") {
        let file = case["file"].as_str().expect("a file");
        let (event_type, action) =
            (case["event"].as_str().expect("an event"), case["action"].as_str().unwrap_or_default());
        let Some(expected) = well_known(event_type, action, file) else { continue };
        let fields = case["headers"].as_object().expect("headers").iter();
        let fields: Headers =
            fields.map(|(name, value)| (name.as_str(), value.as_str().expect("a text").as_bytes())).collect();
        let told = match normalise(event_type, &fields, &vectors::bytes(file)) {
            Normalised::Events(events) | Normalised::Partly { events, .. } => {
                events.iter().map(|event| event.kind.as_str()).collect::<Vec<_>>().join("+")
            }
            Normalised::Skipped(_) => "skipped".to_owned(),
            Normalised::Undecodable(why) => panic!("{file}: {why}"),
        };
        assert_eq!(told, expected, "{file}");
    }
}

/// What any reader of GitHub's documentation would say; `None` where the payload's details decide.
fn well_known(event_type: &str, action: &str, file: &str) -> Option<&'static str> {
    Some(match (event_type, action) {
        ("issues", "opened") => "issue_opened",
        ("issues", "closed") => "issue_closed",
        ("issues", "assigned") => "issue_assigned",
        ("pull_request", "opened") => "pr_opened",
        ("pull_request", "ready_for_review") => "pr_ready",
        ("pull_request", "reopened") => "pr_reopened",
        ("pull_request", "closed") if file.ends_with("github/pull_request.closed.json") => "pr_merged",
        ("pull_request", "closed") if file.ends_with("github/pull_request.closed.2.json") => "pr_closed",
        ("pull_request_review_comment", "created") => "pr_commented",
        ("star", "created") => "repo_starred",
        ("watch", "started") => "repo_watched",
        ("fork", _) => "repo_forked",
        ("release", "published") => "release_published",
        ("discussion", "created") => "discussion_opened",
        ("member", "added") | ("organization", "member_added") => "member_added",
        ("repository_vulnerability_alert", "create") | ("code_scanning_alert", "reopened") => "security_alert",
        ("create", _) if file.ends_with("github/create.6.json") => "branch_created",
        ("push", _) if file.ends_with("github/push.6.json") => "push",
        ("push", _) if file.ends_with("github/push.7.json") => "skipped",
        ("check_suite", "completed") if file.ends_with("github/check_suite.completed.json") => "ci_passed",
        ("check_suite", "completed") if file.ends_with("github/check_suite.completed.2.json") => "skipped",
        ("workflow_run", "completed") if file.ends_with("github/workflow_run.completed.json") => "ci_passed",
        ("workflow_job" | "check_run" | "status" | "ping" | "installation" | "label" | "team", _) => "skipped",
        ("issues", "labeled" | "edited" | "locked") | ("pull_request", "synchronize" | "labeled") => "skipped",
        _ => return None,
    })
}
