//! Bitbucket's requests, of our own making: the shape of the documentation, the fields that are read here, nothing
//! copied.

use crate::provider::sample::{Sample, Seed, fill};

use super::{DELIVERY, EVENT};

/// Names and what they show.
pub(super) const LIST: &[(&str, &str)] = &[
    ("push", "commits arrive on main"),
    ("branch_created", "a new branch"),
    ("branch_deleted", "a branch is removed"),
    ("issue_opened", "somebody opens an issue"),
    ("issue_closed", "an issue is done"),
    ("issue_commented", "somebody comments on an issue"),
    ("pr_opened", "somebody opens a pull request"),
    ("pr_updated", "commits are added to a pull request, which is not told"),
    ("pr_approved", "a review approves"),
    ("pr_changes_requested", "a review asks for changes"),
    ("pr_commented", "somebody comments on a pull request"),
    ("pr_merged", "a pull request is merged"),
    ("pr_closed", "a pull request is declined"),
    ("ci_failed", "a pipeline fails on main"),
    ("ci_passed", "a pipeline passes on main"),
    ("repo_forked", "somebody forks the repository"),
];

const HOME: &str = "https://bitbucket.org/acme/desk-lamp";

/// What stands in every payload, before its own part. The size keeps two samples of one kind apart.
const COMMON: &str = r#"{"repository":{"type":"repository","full_name":"acme/desk-lamp","name":"desk-lamp",
 "links":{"html":{"href":"$home"}},"size":$size},
"actor":$actor,
$own$more}"#;

const PUSH: &str = r#""push":{"changes":[{"old":$old,"new":$new,"forced":false,"commits":[$commits],"truncated":false,
 "links":{"html":{"href":"$home/branches/compare"}}}]}"#;

const BRANCH: &str = r#"{"type":"branch","name":"$branch","target":{"type":"commit","hash":"$sha","message":"$title\n"},
  "links":{"html":{"href":"$home/branch/$branch"}}}"#;

const COMMIT: &str = r#"{"type":"commit","hash":"$sha","message":"$title\n"}"#;

const ISSUE: &str = r#""issue":{"id":$number,"title":"$title","state":"new",
 "links":{"html":{"href":"$home/issues/$number"}}}"#;

const PULL_REQUEST: &str = r#""pullrequest":{"id":$number,"title":"$title","state":"$state","draft":false,
 "source":{"branch":{"name":"work/$number"},"commit":{"hash":"$head"}},
 "destination":{"branch":{"name":"main"},"commit":{"hash":"$base"}},
 "closed_by":$closed_by,"reason":"","links":{"html":{"href":"$home/pull-requests/$number"}}}"#;

const RESOLVED: &str = r#",
"changes":{"status":{"old":"open","new":"resolved"}}"#;

const COMMENT: &str = r#",
"comment":{"id":$comment_id,"content":{"raw":"Seen on the second desk from the window."},
 "links":{"html":{"href":"$home/$place/$number#comment-$comment_id"}}}"#;

const STATUS: &str = r#""commit_status":{"type":"build","key":"$number","name":"Pipeline #7 for main",
 "refname":"main","commit":{"hash":"$sha","message":"$title"},"url":"$home/pipelines/results/$number",
 "state":"$state"}"#;

const FORK: &str = r#""fork":{"full_name":"$login/desk-lamp","uuid":"$fork_id",
 "links":{"html":{"href":"https://bitbucket.org/$login/desk-lamp"}}}"#;

/// The head that Bitbucket sends, its signature excepted.
pub(super) fn envelope(event_type: &str, body: Vec<u8>, salt: u64) -> Sample {
    Sample::json(event_type, body)
        .with("User-Agent", "Bitbucket-Webhooks/2.0")
        .with(EVENT, event_type)
        .with("X-Hook-UUID", "4815162a-0000-4000-8000-000000000001")
        .with(DELIVERY, Seed::new(salt).guid("delivery"))
        .with("X-Attempt-Number", "1")
}

/// The event's name, the payload's own part, what follows it, and the state.
fn kind(name: &str) -> Option<(&'static str, &'static str, &'static str, &'static str)> {
    Some(match name {
        "push" | "branch_created" | "branch_deleted" => ("repo:push", PUSH, "", ""),
        "issue_opened" => ("issue:created", ISSUE, "", ""),
        "issue_closed" => ("issue:updated", ISSUE, RESOLVED, ""),
        "issue_commented" => ("issue:comment_created", ISSUE, COMMENT, ""),
        "pr_opened" => ("pullrequest:created", PULL_REQUEST, "", "OPEN"),
        "pr_updated" => ("pullrequest:updated", PULL_REQUEST, "", "OPEN"),
        "pr_approved" => ("pullrequest:approved", PULL_REQUEST, "", "OPEN"),
        "pr_changes_requested" => ("pullrequest:changes_request_created", PULL_REQUEST, "", "OPEN"),
        "pr_commented" => ("pullrequest:comment_created", PULL_REQUEST, COMMENT, "OPEN"),
        "pr_merged" => ("pullrequest:fulfilled", PULL_REQUEST, "", "MERGED"),
        "pr_closed" => ("pullrequest:rejected", PULL_REQUEST, "", "DECLINED"),
        "ci_failed" => ("repo:commit_status_updated", STATUS, "", "FAILED"),
        "ci_passed" => ("repo:commit_status_updated", STATUS, "", "SUCCESSFUL"),
        "repo_forked" => ("repo:fork", FORK, "", ""),
        _ => return None,
    })
}

pub(super) fn build(name: &str, salt: u64) -> Option<Sample> {
    let (event_type, own, more, state) = kind(name)?;
    let seed = Seed::new(salt);
    let (number, actor) = (seed.number(), person(seed, "actor"));
    let sha = seed.sha("head");
    // What stays open in a part is filled with the rest.
    let earlier = fill(BRANCH, &[("sha", &seed.sha("before"))]);
    let (branch, old, new, commits) = match name {
        "branch_created" => ("work/$number", "null", BRANCH, ""),
        "branch_deleted" => ("work/$number", BRANCH, "null", ""),
        _ => ("main", earlier.as_str(), BRANCH, COMMIT),
    };
    let template = fill(COMMON, &[("own", &own), ("more", &more)]);
    let template = fill(&template, &[("old", &old), ("new", &new), ("commits", &commits)]);
    let template = fill(&template, &[("branch", &branch)]);
    let body = fill(
        &template,
        &[
            ("state", &state),
            ("home", &HOME),
            ("place", &if name.starts_with("pr_") { "pull-requests" } else { "issues" }),
            ("number", &number),
            ("title", &seed.headline()),
            ("actor", &actor),
            ("login", &seed.person("actor")),
            ("closed_by", if state == "OPEN" { &"null" } else { &actor }),
            ("sha", &sha),
            ("head", &&sha[..12]),
            ("base", &&seed.sha("base")[..12]),
            ("comment_id", &seed.id("comment")),
            ("fork_id", &seed.guid("fork")),
            ("size", &seed.below("size", 1 << 40)),
        ],
    );
    Some(envelope(event_type, body.into_bytes(), salt))
}

fn person(seed: Seed, name: &str) -> String {
    fill(
        r#"{"type":"user","nickname":"$login","display_name":"$login","uuid":"$uuid"}"#,
        &[("login", &seed.person(name)), ("uuid", &seed.guid(name))],
    )
}
