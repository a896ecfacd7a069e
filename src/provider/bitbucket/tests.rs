//! What is particular in Bitbucket's payloads.

use serde_json::{Value, json};

use crate::event::{Event, Fact};
use crate::headers::Headers;
use crate::provider::{
    Normalised, Options, Provider, Unverified, normalise, rules::Context, tests::own_terms, vectors,
};

fn told(event_type: &str, body: &[u8]) -> Normalised {
    let context = Context { provider: Provider::Bitbucket, source: "desk", options: &Options::NONE };
    normalise(&context, event_type, &Headers::new(), body)
}

fn events(event_type: &str, mut payload: Value) -> Vec<Event> {
    payload["repository"] =
        json!({ "full_name": "acme/api", "links": { "html": { "href": "https://bitbucket.org/acme/api" } } });
    payload["actor"] = json!({ "nickname": "otto", "display_name": "Otto Brass" });
    match told(event_type, payload.to_string().as_bytes()) {
        Normalised::Events(events) | Normalised::Partly { events, .. } => events,
        other => panic!("{event_type}: {other:?}"),
    }
}

fn event(event_type: &str, payload: Value) -> Event {
    events(event_type, payload).remove(0)
}

fn skipped(event_type: &str, payload: Value) -> String {
    match told(event_type, payload.to_string().as_bytes()) {
        Normalised::Skipped(why) => why,
        other => panic!("{event_type}: {other:?}"),
    }
}

fn fact(event: &Event, key: &str) -> String {
    event.extra.get(key).map(Fact::to_string).unwrap_or_default()
}

#[test]
fn one_push_may_move_several_branches() {
    let branch = |kind: &str, name: &str| json!({ "type": kind, "name": name, "target": { "hash": "abc", "message": "First\n\nMore" } });
    let change = |old: Value, new: Value, commits: usize, cut: bool| json!({ "old": old, "new": new, "commits": vec![json!({}); commits], "truncated": cut, "forced": false });
    let push = |changes: Value| json!({ "push": { "changes": changes } });
    let all = events(
        "repo:push",
        push(json!([
            change(branch("branch", "main"), branch("branch", "main"), 5, true),
            change(Value::Null, branch("tag", "v1"), 0, false),
            change(Value::Null, branch("branch", "work/1"), 1, false),
            change(branch("branch", "work/0"), Value::Null, 0, false),
        ])),
    );
    let kinds: Vec<&str> = all.iter().map(|event| event.kind.as_str()).collect();
    assert_eq!(kinds, ["push", "branch_created", "branch_deleted"]);
    assert_eq!((all[0].title.as_str(), fact(&all[0], "commits").as_str()), ("5+ commits: First", ""));
    assert_eq!((all[1].title.as_str(), all[1].subject.as_deref()), ("work/1", Some("acme/api@work/1")));
    assert_eq!((all[0].actor.as_str(), fact(&all[0], "sha").as_str()), ("otto", "abc"));
    skipped("repo:push", push(json!([change(Value::Null, branch("tag", "v1"), 0, false)])));
    skipped("repo:push", push(json!([])));
    skipped("repo:push", json!({}));
}

#[test]
fn pull_requests_and_issues() {
    let pull = || {
        json!({ "pullrequest": { "id": 42, "title": " Add\na lamp ", "draft": true, "closed_by": { "nickname": "ada" },
            "source": { "branch": { "name": "lamp" }, "commit": { "hash": "abc" } },
            "destination": { "branch": { "name": "main" } },
            "links": { "html": { "href": "https://bitbucket.org/acme/api/pull-requests/42" } } } })
    };
    let merged = event("pullrequest:fulfilled", pull());
    assert_eq!((merged.kind.as_str(), merged.title.as_str()), ("pr_merged", "Add a lamp"));
    assert_eq!((merged.subject.as_deref(), merged.repository.as_str()), (Some("acme/api#42"), "acme/api"));
    assert_eq!(merged.url.as_deref(), Some("https://bitbucket.org/acme/api/pull-requests/42"));
    let facts = ["number", "branch", "head_branch", "merged_by", "draft", "sha"].map(|key| fact(&merged, key));
    assert_eq!(facts, ["42", "main", "lamp", "ada", "true", "abc"]);
    assert_eq!(fact(&event("pullrequest:approved", pull()), "reviewer"), "otto");
    let mut fork = pull();
    fork["pullrequest"]["author"] = json!({ "nickname": "eve" });
    fork["pullrequest"]["source"]["repository"] = json!({ "full_name": "eve/api" });
    let fork = event("pullrequest:created", fork);
    assert_eq!([fact(&fork, "author"), fact(&fork, "head_branch")], ["eve", "eve:lamp"]);
    assert_eq!(event("pullrequest:changes_request_created", pull()).kind, "pr_changes_requested");
    for other in ["updated", "unapproved", "changes_request_removed", "comment_updated", "comment_deleted"] {
        skipped(&format!("pullrequest:{other}"), pull());
    }
    let update = |changes: Value| json!({ "issue": { "id": 7, "title": "t" }, "changes": changes });
    let status = |old: &str, new: &str| update(json!({ "status": { "old": old, "new": new } }));
    assert_eq!(event("issue:updated", status("open", "wontfix")).kind, "issue_closed");
    assert_eq!(event("issue:updated", status("closed", "open")).kind, "issue_reopened");
    skipped("issue:updated", status("new", "on hold"));
    skipped("issue:updated", status("resolved", "closed"));
    let assigned = update(json!({ "assignee": { "old": null, "new": { "nickname": "mira" } } }));
    assert_eq!(event("issue:updated", assigned).kind, "issue_assigned");
}

#[test]
fn a_run_is_told_by_its_end() {
    let status = |state: &str| json!({ "commit_status": { "name": "CI", "state": state, "refname": "main" } });
    let failed = event("repo:commit_status_updated", status("FAILED"));
    assert_eq!((failed.kind.as_str(), failed.subject.as_deref()), ("ci_failed", Some("acme/api@main ci")));
    assert_eq!(fact(&failed, "conclusion"), "failed");
    let pipeline = json!({ "commit_status": { "name": "Pipeline #4 for main", "state": "FAILED", "refname": "main" } });
    let pipeline = event("repo:commit_status_updated", pipeline);
    assert_eq!((pipeline.run().unwrap().what, pipeline.run().unwrap().number), ("Pipeline", 4000));
    assert_eq!(event("repo:commit_status_created", status("SUCCESSFUL")).kind, "ci_passed");
    for state in ["INPROGRESS", "STOPPED", ""] {
        assert!(skipped("repo:commit_status_created", status(state)).contains("neither passed nor failed"));
    }
}

#[test]
fn jira_calls_itself_in_its_body() {
    let fields = [("X-Atlassian-Webhook-Identifier", b"7".as_slice())];
    let identity = |headers: Headers, body: &str| {
        let request = Unverified { target: String::new(), headers, body: body.as_bytes().to_vec() };
        super::identify(&own_terms(Provider::Bitbucket), &request).map(|identity| (identity.event_type, identity.id))
    };
    let is = |event_type: &str| Ok((event_type.to_owned(), Some("7".to_owned())));
    assert_eq!(
        identity(fields.into_iter().collect(), r#"{"webhookEvent":"jira:issue_created"}"#),
        is("jira:issue_created")
    );
    assert_eq!(identity(fields.into_iter().collect(), "{}"), is("unknown"));
    // Bitbucket's own name for it counts where it is there.
    let both = fields.into_iter().chain([("X-Event-Key", b"repo:push".as_slice()), ("X-Request-UUID", b"7")]);
    assert_eq!(identity(both.collect(), r#"{"webhookEvent":"jira:issue_created"}"#), is("repo:push"));
    assert!(identity(Headers::new(), r#"{"webhookEvent":"jira:issue_created"}"#).is_err());
}

#[test]
fn recorded_payloads_are_told_as_expected() {
    for case in vectors::cases("payloads/manifest.json", "files", "bitbucket") {
        let file = case["file"].as_str().expect("a file");
        let expected = match file.rsplit('/').next().expect("a name") {
            "gs-pr_created.json" => "pr_opened",
            "gs-pr_declined.json" => "pr_closed",
            "gs-push.json" => "push",
            "gs-push_branch_create.json" => "branch_created",
            "gs-push_branch_delete.json" => "branch_deleted",
            "issue-comment-created.json" => "issue_commented",
            "pull-request-comment-created.json" => "pr_commented",
            "pull-request-merged.json" => "pr_merged",
            "repo-fork.json" => "repo_forked",
            "gs-pipeline_hook_created.json"
            | "gs-pr_comment_deleted.json"
            | "gs-pr_updated.json"
            | "gs-push_tag_create.json" => "skipped",
            _ => continue,
        };
        let told = match told(case["event"].as_str().expect("an event"), &vectors::bytes(file)) {
            Normalised::Events(events) | Normalised::Partly { events, .. } => events[0].kind.clone(),
            Normalised::Skipped(_) => "skipped".to_owned(),
            Normalised::Undecodable(why) => panic!("{file}: {why}"),
        };
        assert_eq!(told, expected, "{file}");
    }
}
