//! Gitea's requests, of our own making: the shape of the documentation, the fields that are read here, nothing copied.

use std::fmt::Display;

use crate::provider::sample::{Sample, Seed, fill};

use super::Family;

/// Names and what they show.
pub(in crate::provider) const LIST: &[(&str, &str)] = &[
    ("push", "commits arrive on main"),
    ("branch_created", "a new branch"),
    ("branch_deleted", "a branch is removed"),
    ("issue_opened", "somebody opens an issue"),
    ("issue_closed", "an issue is done"),
    ("issue_labelled", "an issue gets a label, which is not told"),
    ("issue_assigned", "somebody gets an issue"),
    ("issue_commented", "somebody comments on an issue"),
    ("pr_opened", "somebody opens a pull request"),
    ("pr_review_requested", "a review is asked for"),
    ("pr_approved", "a review approves"),
    ("pr_changes_requested", "a review asks for changes"),
    ("pr_commented", "somebody comments on a pull request"),
    ("pr_merged", "a pull request is merged"),
    ("pr_closed", "a pull request is closed without a merge"),
    ("ci_failed", "a workflow fails on main"),
    ("ci_passed", "a workflow passes on main"),
    ("release_published", "a release is out"),
    ("repo_forked", "somebody forks the repository"),
];

const HOME: &str = "https://git.example.com/acme/desk-lamp";

/// Parts of several payloads, with holes of their own.
const PARTS: &[(&str, &dyn Display)] = &[
    (
        "repository",
        &r#"{"id":4815,"name":"desk-lamp","full_name":"acme/desk-lamp","fork":false,"size":$size,"html_url":"$home",
 "default_branch":"main"}"#,
    ),
    (
        "issue",
        &r#""id":$issue_id,"html_url":"$home/$place/$number","number":$number,"title":"$title",
 "labels":[{"id":1,"name":"enhancement"}],"state":"$state","pull_request":null"#,
    ),
    (
        "pull",
        &r#""draft":false,"merged":$is_merged,"merged_by":$merged_by,"base":{"ref":"main","sha":"$base"},
 "head":{"ref":"work/$number","sha":"$sha"}"#,
    ),
    ("commit", &r#"{"id":"$sha","message":"$title"}"#),
];

const PUSH: &str = r#"{"ref":"refs/heads/main","before":"$before","after":"$sha",
"compare_url":"$home/compare/$before...$sha","commits":[$commit],"total_commits":1,"head_commit":$commit,
"repository":$repository,"pusher":$sender,"sender":$sender}"#;

const BRANCH: &str = r#"{"sha":"$sha","ref":"work/$number","ref_type":"branch",
"repository":$repository,"sender":$sender}"#;

const ISSUE: &str = r#"{"action":"$action","number":$number,"issue":{$issue},
"repository":$repository,"sender":$sender}"#;

const ASSIGNMENT: &str = r#"{"action":"$action","number":$number,"issue":{$issue,"assignees":[$assignee]},
"repository":$repository,"sender":$sender}"#;

const COMMENT: &str = r#"{"action":"$action","issue":{$issue},
"comment":{"id":$comment_id,"html_url":"$home/$place/$number#issuecomment-$comment_id","body":"It happens here too."},
"repository":$repository,"sender":$sender,"is_pull":$is_pull}"#;

const PULL_REQUEST: &str = r#"{"action":"$action","number":$number,"pull_request":{$issue,$pull},
"repository":$repository,"sender":$sender}"#;

const REVIEW_REQUEST: &str = r#"{"action":"$action","number":$number,"pull_request":{$issue,$pull},
"requested_reviewer":$reviewer,"repository":$repository,"sender":$sender}"#;

const REVIEW: &str = r#"{"action":"$action","number":$number,"pull_request":{$issue,$pull},
"repository":$repository,"sender":$sender,
"review":{"type":"pull_request_review_$outcome","content":"Works on my desk."}}"#;

/// Always the same run, tried again: samples know no order, and an older run would say nothing about now.
const WORKFLOW_RUN: &str = r#"{"action":"$action","workflow":{"name":"CI"},
"workflow_run":{"id":$run_id,"html_url":"$home/actions/runs/$number","display_title":"$title",
 "path":"ci.yml@refs/heads/main","run_attempt":1,"run_number":271,"head_sha":"$sha","head_branch":"main",
 "status":"completed","actor":$sender,"head_repository":{"full_name":"acme/desk-lamp"},"conclusion":"$outcome"},
"repository":$repository,"sender":$sender}"#;

const RELEASE: &str = r#"{"action":"$action","release":{"id":$release_id,"tag_name":"$tag","name":"Lamp $tag",
 "html_url":"$home/releases/tag/$tag","draft":false,"prerelease":false},
"repository":$repository,"sender":$sender}"#;

const FORK: &str = r#"{"forkee":{"full_name":"acme/desk-lamp","fork":false,"html_url":"$home","forks_count":$forks},
"repository":{"id":$fork_id,"full_name":"$login/desk-lamp","fork":true,
 "html_url":"https://git.example.com/$login/desk-lamp"},
"sender":$sender}"#;

/// The head that Gitea sends, its signature excepted. A body that begins as one is a form.
pub(super) fn envelope(family: Family, event_type: &str, body: Vec<u8>, salt: u64) -> Sample {
    let is_form = body.starts_with(b"payload=");
    let content_type = if is_form { "application/x-www-form-urlencoded" } else { "application/json" };
    Sample::json(event_type, body)
        .with("Content-Type", content_type)
        .with("User-Agent", "Go-http-client/1.1")
        .with(family.event, event_type)
        .with(family.delivery, Seed::new(salt).guid("delivery"))
}

/// The event's name, the payload, the action, and what a review or a run came to.
fn kind(name: &str) -> Option<(&'static str, &'static str, &'static str, &'static str)> {
    Some(match name {
        "push" => ("push", PUSH, "", ""),
        "branch_created" => ("create", BRANCH, "", ""),
        "branch_deleted" => ("delete", BRANCH, "", ""),
        "issue_opened" => ("issues", ISSUE, "opened", ""),
        "issue_closed" => ("issues", ISSUE, "closed", ""),
        "issue_labelled" => ("issues", ISSUE, "label_updated", ""),
        "issue_assigned" => ("issues", ASSIGNMENT, "assigned", ""),
        "issue_commented" | "pr_commented" => ("issue_comment", COMMENT, "created", ""),
        "pr_opened" => ("pull_request", PULL_REQUEST, "opened", ""),
        "pr_review_requested" => ("pull_request", REVIEW_REQUEST, "review_requested", ""),
        "pr_approved" => ("pull_request_approved", REVIEW, "reviewed", "approved"),
        "pr_changes_requested" => ("pull_request_rejected", REVIEW, "reviewed", "rejected"),
        "pr_merged" | "pr_closed" => ("pull_request", PULL_REQUEST, "closed", ""),
        "ci_failed" => ("workflow_run", WORKFLOW_RUN, "completed", "failure"),
        "ci_passed" => ("workflow_run", WORKFLOW_RUN, "completed", "success"),
        "release_published" => ("release", RELEASE, "published", ""),
        "repo_forked" => ("fork", FORK, "", ""),
        _ => return None,
    })
}

/// The event's name and the body.
pub(in crate::provider) fn payload(name: &str, salt: u64) -> Option<(&'static str, Vec<u8>)> {
    let (event_type, template, action, outcome) = kind(name)?;
    let seed = Seed::new(salt);
    let (number, sender) = (seed.number(), person(seed, "sender"));
    let (is_pull, is_merged) = (name.starts_with("pr_"), name == "pr_merged");
    // What stays open in a part is filled with the rest.
    let body = fill(
        &fill(template, PARTS),
        &[
            ("action", &action),
            ("state", &if action == "closed" { "closed" } else { "open" }),
            ("outcome", &outcome),
            ("home", &HOME),
            ("place", &if is_pull { "pulls" } else { "issues" }),
            ("number", &number),
            ("title", &seed.headline()),
            ("tag", &format_args!("v1.{}.{}", number / 100, number % 100)),
            ("is_pull", &is_pull),
            ("is_merged", &is_merged),
            ("merged_by", if is_merged { &sender } else { &"null" }),
            ("before", &seed.sha("before")),
            ("base", &seed.sha("base")),
            ("sha", &seed.sha("head")),
            ("issue_id", &seed.id("issue")),
            ("comment_id", &seed.id("comment")),
            ("run_id", &seed.id("run")),
            ("release_id", &seed.id("release")),
            ("fork_id", &seed.id("fork")),
            ("forks", &seed.below("forks", 300)),
            ("size", &seed.below("size", 1 << 40)),
            ("sender", &sender),
            ("login", &seed.person("sender")),
            ("assignee", &person(seed, "assignee")),
            ("reviewer", &person(seed, "reviewer")),
        ],
    );
    Some((event_type, body.into_bytes()))
}

fn person(seed: Seed, name: &str) -> String {
    let login = seed.person(name);
    fill(
        r#"{"id":$id,"login":"$login","full_name":"","username":"$login"}"#,
        &[("id", &(1000 + login.len())), ("login", &login)],
    )
}
