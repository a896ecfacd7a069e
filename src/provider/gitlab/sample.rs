//! GitLab's requests, of our own making: the shape of the documentation, the fields that are read here, nothing copied.

use crate::provider::sample::{Sample, Seed, fill};

use super::{DELIVERY, EVENT, EVENT_ID};

/// Names and what they show.
pub(super) const LIST: &[(&str, &str)] = &[
    ("push", "commits arrive on main"),
    ("branch_created", "a new branch"),
    ("branch_deleted", "a branch is removed"),
    ("issue_opened", "somebody opens an issue"),
    ("issue_closed", "an issue is done"),
    ("issue_assigned", "somebody gets an issue"),
    ("issue_commented", "somebody comments on an issue"),
    ("pr_opened", "somebody opens a merge request"),
    ("pr_ready", "a draft becomes ready for review"),
    ("pr_review_requested", "a review is asked for"),
    ("pr_approved", "a review approves"),
    ("pr_changes_requested", "a review asks for changes"),
    ("pr_commented", "somebody comments on a merge request"),
    ("pr_merged", "a merge request is merged"),
    ("pr_closed", "a merge request is closed without a merge"),
    ("ci_failed", "a pipeline fails on main"),
    ("ci_passed", "a pipeline passes on main"),
    ("ci_running", "a pipeline starts, which is not told"),
    ("deployment_failed", "a deployment to production fails"),
    ("deployment_succeeded", "a deployment to production succeeds"),
    ("release_published", "a release is out"),
    ("security_alert", "a scanner finds a weakness"),
    ("member_added", "somebody joins the group"),
];

const HOME: &str = "https://gitlab.com/acme/desk-lamp";

/// Parts of several payloads.
const PROJECT: &str = r#"{"id":4815,"name":"desk-lamp","web_url":"$home","visibility_level":20,
 "path_with_namespace":"acme/desk-lamp","default_branch":"main"}"#;
const LABELS: &str = r#"[{"id":1,"title":"enhancement"}]"#;
const ISSUE: &str = r#""id":$issue_id,"iid":$number,"title":"$title","url":"$home/-/issues/$number""#;
const MERGE: &str = r#""id":$merge_id,"iid":$number,"target_branch":"main","source_branch":"work/$number",
 "title":"$title","draft":false,"last_commit":{"id":"$sha"},"url":"$home/-/merge_requests/$number""#;

const PUSH_HOOK: &str = r#"{"object_kind":"push","event_name":"push","before":"$before","after":"$after",
"ref":"refs/heads/$branch","checkout_sha":"$after","user_username":"$login","project_id":4815,"project":$project,
"commits":$commits,"total_commits_count":$count}"#;

const ISSUE_HOOK: &str = r#"{"object_kind":"issue","user":$actor,"project":$project,
"object_attributes":{$issue,"action":"$action"},"labels":$labels,"changes":$changes}"#;

const MERGE_REQUEST_HOOK: &str = r#"{"object_kind":"merge_request","user":$actor,"project":$project,
"object_attributes":{$merge,"action":"$action"},"labels":$labels,"changes":$changes}"#;

const NOTE_ON_ISSUE: &str = r#"{"object_kind":"note","user":$actor,"project":$project,
"object_attributes":{"id":$note_id,"note":"Seen on the second desk from the window.","noteable_type":"Issue",
 "action":"$action","url":"$home/-/issues/$number#note_$note_id"},
"issue":{$issue,"action":"open"}}"#;

const NOTE_ON_MERGE_REQUEST: &str = r#"{"object_kind":"note","user":$actor,"project":$project,
"object_attributes":{"id":$note_id,"note":"Seen on the second desk from the window.","noteable_type":"MergeRequest",
 "action":"$action","url":"$home/-/merge_requests/$number#note_$note_id"},
"merge_request":{$merge,"action":"open"}}"#;

/// Always the same run, tried again: samples know no order, and an older run would say nothing about now.
const PIPELINE_HOOK: &str = r#"{"object_kind":"pipeline",
"object_attributes":{"id":$pipeline_id,"iid":271,"name":"CI","ref":"main","tag":false,"sha":"$sha","source":"push",
 "status":"$action","duration":63,"url":"$home/-/pipelines/$pipeline_id"},
"user":$actor,"project":$project,"commit":{"id":"$sha","message":"$title"}}"#;

const DEPLOYMENT_HOOK: &str = r#"{"object_kind":"deployment","status":"$action","deployment_id":$deployment_id,
"deployable_url":"$home/-/jobs/$deployment_id","environment":"production",
"environment_external_url":"https://lamp.example.com","project":$project,"ref":"main","short_sha":"$short",
"user":$actor,"commit_title":"$title"}"#;

const RELEASE_HOOK: &str = r#"{"id":$release_id,"name":"Lamp $tag","tag":"$tag","object_kind":"release",
"project":$project,"url":"$home/-/releases/$tag","action":"$action","commit":{"id":"$sha"}}"#;

const VULNERABILITY_HOOK: &str = r#"{"object_kind":"vulnerability","project":$project,
"object_attributes":{"url":"$home/-/security/vulnerabilities/$number","title":"old-lantern reads past its wick",
 "state":"detected","severity":"high"}}"#;

const MEMBER_HOOK: &str = r#"{"group_path":"acme","user_username":"$member","user_name":"$member",
"user_id":$member_id,"group_access":"Developer","event_name":"user_add_to_group"}"#;

const ASSIGNED: &str = r#"{"assignees":{"previous":[],"current":[$assignee]}}"#;
const READY: &str = r#"{"draft":{"previous":true,"current":false}}"#;
const REVIEW_REQUESTED: &str = r#"{"reviewers":{"previous":[],
 "current":[{"username":"$reviewer","state":"unreviewed","re_requested":false}]}}"#;
const CHANGES_REQUESTED: &str = r#"{"reviewers":{
 "previous":[{"username":"$reviewer","state":"unreviewed","re_requested":false}],
 "current":[{"username":"$reviewer","state":"requested_changes","re_requested":false}]}}"#;

/// The head that GitLab sends, its proof excepted.
pub(super) fn envelope(event_type: &str, body: Vec<u8>, salt: u64) -> Sample {
    let seed = Seed::new(salt);
    let delivery = seed.guid("delivery");
    Sample::json(event_type, body)
        .with("User-Agent", "GitLab/sample")
        .with(EVENT, event_type)
        .with("X-Gitlab-Instance", "https://gitlab.com")
        .with("X-Gitlab-Webhook-UUID", "4815162a-0000-4000-8000-000000000001")
        .with(EVENT_ID, seed.guid("event"))
        .with("webhook-id", delivery.as_str())
        .with(DELIVERY, delivery)
}

/// The event's name, the payload, the action or the status in it, and what has changed.
fn kind(name: &str) -> Option<(&'static str, &'static str, &'static str, &'static str)> {
    Some(match name {
        "push" | "branch_created" | "branch_deleted" => ("Push Hook", PUSH_HOOK, "", ""),
        "issue_opened" => ("Issue Hook", ISSUE_HOOK, "open", "{}"),
        "issue_closed" => ("Issue Hook", ISSUE_HOOK, "close", "{}"),
        "issue_assigned" => ("Issue Hook", ISSUE_HOOK, "update", ASSIGNED),
        "issue_commented" => ("Note Hook", NOTE_ON_ISSUE, "create", ""),
        "pr_opened" => ("Merge Request Hook", MERGE_REQUEST_HOOK, "open", "{}"),
        "pr_ready" => ("Merge Request Hook", MERGE_REQUEST_HOOK, "update", READY),
        "pr_review_requested" => ("Merge Request Hook", MERGE_REQUEST_HOOK, "update", REVIEW_REQUESTED),
        "pr_changes_requested" => ("Merge Request Hook", MERGE_REQUEST_HOOK, "update", CHANGES_REQUESTED),
        "pr_approved" => ("Merge Request Hook", MERGE_REQUEST_HOOK, "approved", "{}"),
        "pr_merged" => ("Merge Request Hook", MERGE_REQUEST_HOOK, "merge", "{}"),
        "pr_closed" => ("Merge Request Hook", MERGE_REQUEST_HOOK, "close", "{}"),
        "pr_commented" => ("Note Hook", NOTE_ON_MERGE_REQUEST, "create", ""),
        "ci_failed" => ("Pipeline Hook", PIPELINE_HOOK, "failed", ""),
        "ci_passed" => ("Pipeline Hook", PIPELINE_HOOK, "success", ""),
        "ci_running" => ("Pipeline Hook", PIPELINE_HOOK, "running", ""),
        "deployment_failed" => ("Deployment Hook", DEPLOYMENT_HOOK, "failed", ""),
        "deployment_succeeded" => ("Deployment Hook", DEPLOYMENT_HOOK, "success", ""),
        "release_published" => ("Release Hook", RELEASE_HOOK, "create", ""),
        "security_alert" => ("Vulnerability Hook", VULNERABILITY_HOOK, "", ""),
        "member_added" => ("Member Hook", MEMBER_HOOK, "", ""),
        _ => return None,
    })
}

pub(super) fn build(name: &str, salt: u64) -> Option<Sample> {
    let (event_type, template, action, changes) = kind(name)?;
    let seed = Seed::new(salt);
    let (number, before, sha, nothing) = (seed.number(), seed.sha("before"), seed.sha("head"), "0".repeat(40));
    let (branch, commits, count) = match name {
        "push" => ("main", r#"[{"id":"$sha","message":"$title"}]"#, 1),
        _ => ("work/$number", "[]", 0),
    };
    // What stays open in a part is filled with the rest.
    let template = fill(
        template,
        &[
            ("project", &PROJECT),
            ("labels", &LABELS),
            ("issue", &ISSUE),
            ("merge", &MERGE),
            ("changes", &changes),
            ("branch", &branch),
            ("commits", &commits),
        ],
    );
    let body = fill(
        &template,
        &[
            ("action", &action),
            ("home", &HOME),
            ("number", &number),
            ("title", &seed.headline()),
            ("tag", &format_args!("v1.{}.{}", number / 100, number % 100)),
            ("before", if name == "branch_created" { &nothing } else { &before }),
            ("after", if name == "branch_deleted" { &nothing } else { &sha }),
            ("count", &count),
            ("sha", &sha),
            ("short", &&sha[..8]),
            ("issue_id", &seed.id("issue")),
            ("merge_id", &seed.id("merge")),
            ("note_id", &seed.id("note")),
            ("pipeline_id", &seed.id("pipeline")),
            ("deployment_id", &seed.id("deployment")),
            ("release_id", &seed.id("release")),
            ("actor", &user(seed, "actor")),
            ("login", &seed.person("actor")),
            ("assignee", &user(seed, "assignee")),
            ("reviewer", &seed.person("reviewer")),
            ("member", &seed.person("member")),
            ("member_id", &seed.id("user")),
        ],
    );
    Some(envelope(event_type, body.into_bytes(), salt))
}

fn user(seed: Seed, name: &str) -> String {
    fill(
        r#"{"id":$id,"name":"$login","username":"$login"}"#,
        &[("id", &seed.below(name, 9_000)), ("login", &seed.person(name))],
    )
}
