//! What is particular in GitLab's proofs and payloads.

use serde_json::{Value, json};

use super::*;
use crate::event::{Event, Fact};
use crate::provider::{
    Normalised, Options, Provider, judge, normalise,
    rules::Context,
    sample,
    tests::{NOW, URL, arrived, request, secret, signed, terms, with_header},
    vectors,
};

const SIGNING: &str = "whsec_YSBrZXkgb2YgMjQgYnl0ZXMgb25seSEh";

fn told(payload: &Value) -> Normalised {
    let context = Context { provider: Provider::GitLab, source: "desk", options: &Options::NONE };
    normalise(&context, "Some Hook", &Headers::new(), payload.to_string().as_bytes())
}

fn event(mut payload: Value) -> Event {
    payload["project"] = json!({ "path_with_namespace": "acme/api", "web_url": "https://gitlab.com/acme/api" });
    payload["user"] = json!({ "username": "otto", "id": 7 });
    match told(&payload) {
        Normalised::Events(mut events) => events.remove(0),
        other => panic!("{other:?}"),
    }
}

fn skipped(payload: Value) -> String {
    match told(&payload) {
        Normalised::Skipped(why) => why,
        other => panic!("{other:?}"),
    }
}

fn fact(event: &Event, key: &str) -> String {
    event.extra.get(key).map(Fact::to_string).unwrap_or_default()
}

#[test]
fn a_signature_decides_and_a_token_does_where_there_is_none() {
    let by_token = |token: &str| {
        let mut sample = sample::build(Provider::GitLab, "push", 7).expect("a sample");
        sample.sign(Provider::GitLab, &Signing::new(&secret(token), URL, NOW)).expect("a token");
        arrived(Provider::GitLab, sample)
    };
    let by = |secrets: &[&str], request: &Unverified| {
        let terms = terms(Provider::GitLab, secrets);
        let verdict = judge(&terms, request, NOW);
        assert!(verdict.is_err() || admit(&terms, &request.headers).is_ok());
        verdict
    };
    let signed = request(Provider::GitLab, "push");
    assert_eq!(by(&["glt-1", SIGNING], &by_token("glt-1")), Ok(0));
    assert_eq!(by(&["glt-1", SIGNING], &signed), Ok(1));
    let missing = by(&[SIGNING], &by_token("glt-1"));
    assert_eq!(missing, Err(Rejection::missing(WEBHOOK.signature)));
    assert_eq!(by(&["glt-2", SIGNING], &by_token("glt-1")), Err(Rejection::SignatureWrong));
    // A signing token that comes as a token proves nothing.
    let stolen = with_header(&by_token("glt-1"), TOKEN, Some(SIGNING.as_bytes()));
    assert_eq!(by(&["glt-1", SIGNING], &stolen), Err(Rejection::SignatureWrong));
    // A wrong, an empty and a doubled signature is not rescued by a right token.
    for wrong in [&b"v1,AAAA"[..], b""] {
        let both = with_header(&with_header(&signed, WEBHOOK.signature, Some(wrong)), TOKEN, Some(b"glt-1"));
        assert!(by(&["glt-1", SIGNING], &both).is_err());
    }
    // A token's text is no key, though it may be base64.
    let mut sample = sample::build(Provider::GitLab, "push", 7).expect("a sample");
    let as_key = secret("whsec_Z2x0");
    sample.sign(Provider::GitLab, &Signing::new(&as_key, URL, NOW)).expect("a signing token");
    assert_eq!(by(&["Z2x0"], &arrived(Provider::GitLab, sample)), Err(Rejection::SignatureWrong));
}

#[test]
fn secrets_are_checked_by_their_sort() {
    assert!(check_secret(&secret(SIGNING)).is_ok() && check_secret(&secret("glt any text")).is_ok());
    assert!(check_secret(&secret("whsec_no base64")).is_err() && check_secret(&secret("token\n")).is_err());
}

#[test]
fn older_senders_have_other_ids() {
    let good = signed(Provider::GitLab, sample::build(Provider::GitLab, "push", 7).expect("a sample"));
    let good = arrived(Provider::GitLab, good);
    let terms = terms(Provider::GitLab, &[SIGNING]);
    let id = |request: &Unverified| identify(&terms, request).expect("an event").id;
    let without = with_header(&good, DELIVERY, None);
    assert_eq!(id(&without), id(&good));
    let older = with_header(&without, WEBHOOK.id, None);
    assert!(id(&older).is_some() && id(&older) != id(&good));
    assert_eq!(id(&with_header(&older, EVENT_ID, None)), None);
    assert!(identify(&terms, &with_header(&good, EVENT, None)).is_err());
}

#[test]
fn a_merge_request_and_what_its_updates_mean() {
    let merge = |action: &str, changes: Value| {
        json!({ "object_kind": "merge_request", "changes": changes, "labels": [{ "title": "bug" }, 3, { "title": "lamp" }],
            "object_attributes": { "iid": 42, "title": " Add\na lamp ", "action": action, "work_in_progress": true,
                "url": "https://gitlab.com/acme/api/-/merge_requests/42", "target_branch": "main",
                "source_branch": "lamp", "last_commit": { "id": "abc" } } })
    };
    let merged = event(merge("merge", Value::Null));
    assert_eq!(
        (merged.kind.as_str(), merged.actor.as_str(), merged.title.as_str()),
        ("pr_merged", "otto", "Add a lamp")
    );
    assert_eq!((merged.subject.as_deref(), merged.repository.as_str()), (Some("acme/api!42"), "acme/api"));
    let facts =
        ["number", "branch", "head_branch", "labels", "merged_by", "draft", "sha"].map(|key| fact(&merged, key));
    assert_eq!(facts, ["42", "main", "lamp", "bug,lamp", "otto", "true", "abc"]);
    let mut fork = merge("open", Value::Null);
    fork["object_attributes"]["author_id"] = json!(7);
    fork["object_attributes"]["source"] = json!({ "path_with_namespace": "group/eve/api" });
    assert_eq!(["author", "head_branch"].map(|key| fact(&event(fork.clone()), key)), ["otto", "group/eve:lamp"]);
    fork["object_attributes"]["author_id"] = json!(8);
    fork["object_attributes"]["source"] = Value::Null;
    fork["object_attributes"]["target_project_id"] = json!(1);
    assert_eq!(["author", "head_branch"].map(|key| fact(&event(fork.clone()), key)), ["", "fork:lamp"]);
    let people = |previous: Value, current: Value| json!({ "reviewers": { "previous": previous, "current": current } });
    let ada = |state: &str| json!([{ "username": "ada", "state": state }]);
    for (action, changes, kind, reviewer) in [
        ("open", Value::Null, "pr_opened", ""),
        ("approval", Value::Null, "pr_approved", "otto"),
        ("approved", Value::Null, "pr_approved", "otto"),
        ("update", json!({ "draft": { "previous": true, "current": false } }), "pr_ready", ""),
        ("update", people(json!([]), ada("unreviewed")), "pr_review_requested", "ada"),
        ("update", people(ada("unreviewed"), ada("requested_changes")), "pr_changes_requested", "ada"),
    ] {
        let event = event(merge(action, changes));
        assert_eq!((event.kind.as_str(), fact(&event, "reviewer").as_str()), (kind, reviewer), "{action}");
    }
    skipped(merge("update", people(ada("requested_changes"), ada("requested_changes"))));
    skipped(merge("update", people(ada("unreviewed"), json!([]))));
    skipped(merge("update", json!({ "draft": { "previous": false, "current": true } })));
    assert_eq!(skipped(merge("unapproved", Value::Null)), "merge_request.unapproved is not an event we tell about");
}

#[test]
fn one_pipeline_is_told_once() {
    let run = |status: &str, source: &str| {
        json!({ "object_kind": "pipeline", "object_attributes": { "id": 31, "iid": 3, "ref": "main", "status": status,
            "source": source } })
    };
    let failed = event(run("failed", "push"));
    assert_eq!((failed.kind.as_str(), failed.title.as_str()), ("ci_failed", "pipeline 3"));
    assert_eq!(failed.subject.as_deref(), Some("acme/api@main ci"));
    assert_eq!(failed.url.as_deref(), Some("https://gitlab.com/acme/api/-/pipelines/31"));
    assert_eq!(event(run("success", "push")).kind, "ci_passed");
    let mut from_fork = run("failed", "merge_request_event");
    from_fork["merge_request"] = json!({ "source_branch": "main", "source_project_id": 2, "target_project_id": 1 });
    assert_eq!(fact(&event(from_fork), "branch"), "fork:main");
    for status in ["running", "pending", "canceled", "skipped", "manual", "created", ""] {
        assert!(skipped(run(status, "push")).contains("neither passed nor failed"), "{status}");
    }
    assert!(skipped(run("failed", "parent_pipeline")).contains("part of another"));
    let bare = event(json!({ "object_kind": "pipeline", "object_attributes": { "status": "failed" } }));
    assert_eq!((bare.title.as_str(), bare.url.as_deref()), ("pipeline", Some("https://gitlab.com/acme/api")));
    assert!(skipped(json!({ "object_kind": "build", "build_status": "failed" })).contains("part of a pipeline"));
}

#[test]
fn pushes_make_and_remove_branches() {
    let push = |name: &str, before: &str, after: &str, count: usize| {
        json!({ "object_kind": "push", "ref": name, "before": before, "after": after, "user_username": "ada",
            "commits": vec![json!({ "id": after, "message": "First line\n\nMore" }); count.min(2)],
            "total_commits_count": count })
    };
    let three = event(push("refs/heads/main", "a1", "b2", 3));
    assert_eq!((three.title.as_str(), three.actor.as_str()), ("3 commits: First line", "ada"));
    assert_eq!(three.url.as_deref(), Some("https://gitlab.com/acme/api/-/compare/a1...b2"));
    let created = event(push("refs/heads/work/1", "0000", "b2", 1));
    assert_eq!((created.kind.as_str(), created.title.as_str()), ("branch_created", "work/1"));
    assert_eq!(created.url.as_deref(), Some("https://gitlab.com/acme/api/-/tree/work/1"));
    assert_eq!(event(push("refs/heads/work/1", "a1", "0000", 0)).kind, "branch_deleted");
    skipped(push("refs/heads/main", "a1", "b2", 0));
    skipped(push("refs/tags/v1", "0000", "b2", 1));
}

#[test]
fn issues_comments_and_the_rest() {
    let issue = |kind: &str, action: &str, changes: Value| json!({ "object_kind": kind, "changes": changes, "object_attributes": { "iid": 7, "title": "t", "action": action } });
    assert_eq!(event(issue("work_item", "open", Value::Null)).subject.as_deref(), Some("acme/api#7"));
    let assigned = json!({ "assignees": { "previous": [{ "username": "ada" }], "current": [{ "username": "ada" }, { "username": "mira" }] } });
    let assigned = event(issue("issue", "update", assigned));
    assert_eq!((assigned.kind.as_str(), fact(&assigned, "assignee").as_str()), ("issue_assigned", "mira"));
    skipped(issue("issue", "update", Value::Null));
    let note = |on: &str, action: Value, system: bool| {
        json!({ "object_kind": "note", "issue": { "iid": 7, "title": "t" }, "merge_request": { "iid": 8, "title": "m" },
            "object_attributes": { "noteable_type": on, "action": action, "system": system, "url": "https://note" } })
    };
    assert_eq!(event(note("Issue", json!("create"), false)).kind, "issue_commented");
    let on_merge = event(note("MergeRequest", Value::Null, false));
    assert_eq!((on_merge.kind.as_str(), on_merge.subject.as_deref()), ("pr_commented", Some("acme/api!8")));
    for other in [
        note("Snippet", json!("create"), false),
        note("Issue", json!("update"), false),
        note("Issue", json!("create"), true),
    ] {
        skipped(other);
    }
    let weakness = json!({ "object_kind": "vulnerability", "object_attributes": { "title": "t", "state": "detected",
        "url": "https://gitlab.com/acme/api/-/security/vulnerabilities/1" } });
    match told(&weakness) {
        Normalised::Events(events) | Normalised::Partly { events, .. } => assert_eq!(events[0].repository, "acme/api"),
        other => panic!("{other:?}"),
    }
    assert!(skipped(json!({})).contains("Some Hook"));
}

#[test]
fn recorded_payloads_are_told_as_expected() {
    for case in vectors::cases("payloads/manifest.json", "files", "gitlab") {
        let file = case["file"].as_str().expect("a file");
        let expected = match file.rsplit('/').next().expect("a name") {
            "branch_create.json" => "branch_created",
            "branch_delete.json" => "branch_deleted",
            "deployment.json" => "deployment_succeeded",
            "issue.json" | "issue_create.json" => "issue_opened",
            "issue_reopen.json" => "issue_reopened",
            "member.json" => "member_added",
            "merge_request.json" | "pull_request_create.json" => "pr_opened",
            "note_merge_request.json" => "pr_commented",
            "pipeline.json" => "ci_passed",
            "pull_request_close.json" => "pr_closed",
            "pull_request_merge.json" => "pr_merged",
            "push.json" | "push_subgroup.json" => "push",
            "release.json" => "release_published",
            "build.json" | "job.json" | "note_snippet.json" | "service_merge_request.json" | "subgroup.json" => {
                "skipped"
            }
            _ => continue,
        };
        let context = Context { provider: Provider::GitLab, source: "desk", options: &Options::NONE };
        let event_type = case["event"].as_str().expect("an event");
        let told = match normalise(&context, event_type, &Headers::new(), &vectors::bytes(file)) {
            Normalised::Events(events) | Normalised::Partly { events, .. } => events[0].kind.clone(),
            Normalised::Skipped(_) => "skipped".to_owned(),
            Normalised::Undecodable(why) => panic!("{file}: {why}"),
        };
        assert_eq!(told, expected, "{file}");
    }
}
