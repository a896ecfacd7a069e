//! GitHub's requests, of our own making: the shape of the documentation, the fields that are read here or that people
//! look at, and nothing copied.

use std::fmt::Display;

use crate::provider::rules::Signing;
use crate::provider::sample::{Sample, Seed, fill};
use crate::provider::signature::sign_sha256_hex;

use super::{DELIVERY, EVENT, SIGNATURE, SIGNATURE_PREFIX};

/// Names and what they show.
pub(super) const LIST: &[(&str, &str)] = &[
    ("ping", "what GitHub sends when a webhook is made"),
    ("issue_opened", "somebody opens an issue"),
    ("issue_closed", "an issue is done"),
    ("issue_commented", "somebody comments on an issue"),
    ("pr_opened", "somebody opens a pull request"),
    ("pr_ready", "a draft becomes ready for review"),
    ("pr_review_requested", "a review is asked for"),
    ("pr_approved", "a review approves"),
    ("pr_changes_requested", "a review asks for changes"),
    ("pr_merged", "a pull request is merged"),
    ("pr_closed", "a pull request is closed without a merge"),
    ("repo_starred", "somebody stars the repository"),
    ("repo_unstarred", "somebody takes the star back, which is not told"),
    ("repo_forked", "somebody forks the repository"),
    ("push", "commits arrive on main"),
    ("branch_created", "a new branch"),
    ("release_published", "a release is out"),
    ("ci_failed", "a workflow fails on main"),
    ("ci_passed", "a workflow passes on main"),
    ("deployment_failed", "a deployment to production fails"),
    ("deployment_succeeded", "a deployment to production succeeds"),
    ("discussion_opened", "somebody starts a discussion"),
    ("security_alert", "Dependabot finds a weak dependency"),
    ("member_added", "a collaborator joins"),
];

const PEOPLE: &[&str] = &["ada-lights", "brass-otto", "cyan-mira", "dusk-walker", "renovating-robot[bot]"];
const HOME: &str = "https://github.com/acme/desk-lamp";

/// What stands in every payload, around its own part. The size keeps two samples of one kind apart: an equal body under
/// a new id would look like a replay.
const COMMON: &str = r#"{$own,
"repository":{"id":901234,"name":"desk-lamp","full_name":"acme/desk-lamp","private":false,"owner":{"login":"acme"},
 "html_url":"$home","size":$size,"stargazers_count":$stars,"forks_count":$forks,"default_branch":"main"},
"sender":$actor}"#;

/// Parts of several payloads, with holes of their own.
const PARTS: &[(&str, &dyn Display)] = &[
    (
        "issue",
        &r#"{"html_url":"$home/issues/$number","id":$id,"number":$number,"title":"$title","user":$author,
 "labels":[{"name":"good first issue"}],"state":"$state","comments":$comments,
 "body":"Seen on the second desk from the window."}"#,
    ),
    (
        "pull_request",
        &r#"{"id":$id,"html_url":"$home/pull/$number","number":$number,"state":"$state","title":"$title",
 "user":$author,"labels":[{"name":"enhancement"}],"draft":false,"head":{"ref":"work/$number","sha":"$sha"},
 "base":{"ref":"main"},"merged":$is_merged,"merged_by":$merged_by,
 "additions":$additions,"deletions":$deletions,"changed_files":$files}"#,
    ),
    ("commit", &r#"{"id":"$sha","message":"$title","distinct":true}"#),
];

const PING: &str = r#""zen":"A small light is still a light.","hook_id":$id,
"hook":{"type":"Repository","id":$id,"active":true,"events":["*"],
 "config":{"content_type":"json","insecure_ssl":"0"}}"#;

const ISSUE: &str = r#""action":"$action","issue":$issue"#;

const ISSUE_COMMENT: &str = r#""action":"$action","issue":$issue,
"comment":{"html_url":"$home/issues/$number#issuecomment-$id","id":$id,"body":"It happens here too."}"#;

const PULL_REQUEST: &str = r#""action":"$action","number":$number,"pull_request":$pull_request"#;

const REVIEW_REQUEST: &str = r#""action":"$action","number":$number,"pull_request":$pull_request,
"requested_reviewer":$other"#;

const APPROVAL: &str = r#""action":"$action","review":{"id":$id,"user":$actor,"body":"Works on my desk.",
 "state":"approved","html_url":"$home/pull/$number#pullrequestreview-$id"},"pull_request":$pull_request"#;

const REFUSAL: &str = r#""action":"$action","review":{"id":$id,"user":$actor,"body":"The pin is still driven.",
 "state":"changes_requested","html_url":"$home/pull/$number#pullrequestreview-$id"},"pull_request":$pull_request"#;

const FORK: &str = r#""forkee":{"id":$id,"full_name":"$page/desk-lamp","owner":$actor,
 "html_url":"https://github.com/$page/desk-lamp","fork":true}"#;

const PUSH: &str = r#""ref":"refs/heads/main","before":"$before","after":"$sha","pusher":{"name":"$login"},
"created":false,"deleted":false,"forced":false,"compare":"$home/compare/$span",
"commits":[$commit],"head_commit":$commit"#;

const BRANCH: &str = r#""ref":"work/$number","ref_type":"branch","master_branch":"main","pusher_type":"user""#;

const RELEASE: &str = r#""action":"$action","release":{"html_url":"$home/releases/tag/$tag","id":$id,
 "tag_name":"$tag","name":"Lamp $tag","draft":false,"prerelease":false}"#;

/// Always the same run, tried again: samples know no order, and an older run would say nothing about now.
const WORKFLOW_RUN: &str = r#""action":"$action","workflow_run":{"id":$id,"name":"CI","head_branch":"main",
 "head_sha":"$sha","display_title":"$title","run_number":271,"event":"push","status":"completed",
 "conclusion":"$outcome","html_url":"$home/actions/runs/$id","actor":$actor,"run_attempt":1,
 "head_repository":{"full_name":"acme/desk-lamp"}},"workflow":{"name":"CI"}"#;

const DEPLOYMENT: &str = r#""action":"$action","deployment_status":{"id":$id,"state":"$outcome",
 "environment":"production","environment_url":"https://lamp.example.com","log_url":"$home/actions/runs/$id"},
"deployment":{"id":$id,"sha":"$sha","ref":"main","environment":"production"}"#;

const DISCUSSION: &str = r#""action":"$action","discussion":{"html_url":"$home/discussions/$number",
 "category":{"name":"Ideas"},"id":$id,"number":$number,"title":"$title","user":$actor}"#;

const ALERT: &str = r#""action":"$action","alert":{"number":$number,"state":"open",
 "dependency":{"package":{"ecosystem":"rust","name":"old-lantern"}},
 "security_advisory":{"summary":"old-lantern reads past its wick","severity":"high"},
 "html_url":"$home/security/dependabot/$number"}"#;

/// The event's name, the action, the payload's own part, and how a run or a deployment ended.
fn kind(name: &str) -> Option<(&'static str, &'static str, &'static str, &'static str)> {
    Some(match name {
        "ping" => ("ping", "", PING, ""),
        "issue_opened" => ("issues", "opened", ISSUE, ""),
        "issue_closed" => ("issues", "closed", ISSUE, ""),
        "issue_commented" => ("issue_comment", "created", ISSUE_COMMENT, ""),
        "pr_opened" => ("pull_request", "opened", PULL_REQUEST, ""),
        "pr_ready" => ("pull_request", "ready_for_review", PULL_REQUEST, ""),
        "pr_review_requested" => ("pull_request", "review_requested", REVIEW_REQUEST, ""),
        "pr_approved" => ("pull_request_review", "submitted", APPROVAL, ""),
        "pr_changes_requested" => ("pull_request_review", "submitted", REFUSAL, ""),
        "pr_merged" | "pr_closed" => ("pull_request", "closed", PULL_REQUEST, ""),
        "repo_starred" => ("star", "created", r#""action":"$action","starred_at":"2026-11-22T10:00:00Z""#, ""),
        "repo_unstarred" => ("star", "deleted", r#""action":"$action","starred_at":null"#, ""),
        "repo_forked" => ("fork", "", FORK, ""),
        "push" => ("push", "", PUSH, ""),
        "branch_created" => ("create", "", BRANCH, ""),
        "release_published" => ("release", "published", RELEASE, ""),
        "ci_failed" => ("workflow_run", "completed", WORKFLOW_RUN, "failure"),
        "ci_passed" => ("workflow_run", "completed", WORKFLOW_RUN, "success"),
        "deployment_failed" => ("deployment_status", "created", DEPLOYMENT, "failure"),
        "deployment_succeeded" => ("deployment_status", "created", DEPLOYMENT, "success"),
        "discussion_opened" => ("discussion", "created", DISCUSSION, ""),
        "security_alert" => ("dependabot_alert", "created", ALERT, ""),
        "member_added" => ("member", "added", r#""action":"$action","member":$other"#, ""),
        _ => return None,
    })
}

pub(super) fn build(name: &str, salt: u64) -> Option<Sample> {
    let (event_type, action, own, outcome) = kind(name)?;
    let seed = Seed::new(salt);
    let login = seed.pick("actor", PEOPLE);
    let actor = person(login);
    let is_merged = name == "pr_merged";
    let number = seed.number();
    let (before, sha) = (seed.sha("before"), seed.sha("head"));
    // What stays open in a part is filled with the rest.
    let template = fill(&fill(COMMON, &[("own", &own)]), PARTS);
    let body = fill(
        &template,
        &[
            ("action", &action),
            ("state", &if action == "closed" { "closed" } else { "open" }),
            ("outcome", &outcome),
            ("home", &HOME),
            ("id", &seed.id("id")),
            ("number", &number),
            ("title", &seed.headline()),
            ("tag", &format_args!("v1.{}.{}", number / 100, number % 100)),
            ("login", &login),
            ("page", &page(login)),
            ("actor", &actor),
            ("author", &person(seed.pick("author", PEOPLE))),
            ("other", &person(seed.pick("other", PEOPLE))),
            ("is_merged", &is_merged),
            ("merged_by", if is_merged { &actor } else { &"null" }),
            ("before", &before),
            ("sha", &sha),
            ("span", &format_args!("{}...{}", &before[..12], &sha[..12])),
            ("comments", &seed.below("comments", 5)),
            ("additions", &seed.below("additions", 400)),
            ("deletions", &seed.below("deletions", 200)),
            ("files", &(1 + seed.below("files", 9))),
            ("stars", &(1 + seed.below("stars", 5_000))),
            ("forks", &(1 + seed.below("forks", 300))),
            ("size", &seed.below("size", 1 << 40)),
        ],
    );
    Some(envelope(event_type, body.into_bytes(), salt))
}

fn person(login: &str) -> String {
    fill(
        r#"{"login":"$login","id":$id,"html_url":"https://github.com/$page","type":"$type"}"#,
        &[
            ("login", &login),
            ("id", &(1000 + login.len())),
            ("page", &page(login)),
            ("type", &if login.ends_with("[bot]") { "Bot" } else { "User" }),
        ],
    )
}

/// An app's page has its name alone.
fn page(login: &str) -> &str {
    login.trim_end_matches("[bot]")
}

/// The head that GitHub sends, its signature excepted.
pub(super) fn envelope(event_type: &str, body: Vec<u8>, salt: u64) -> Sample {
    let is_form = body.starts_with(b"payload=");
    let content_type = if is_form { "application/x-www-form-urlencoded" } else { "application/json" };
    let headers = [
        ("Accept", "*/*".to_owned()),
        ("Content-Type", content_type.to_owned()),
        ("User-Agent", "GitHub-Hookshot/sample".to_owned()),
        (DELIVERY, Seed::new(salt).guid("delivery")),
        (EVENT, event_type.to_owned()),
        ("X-GitHub-Hook-ID", "4815162".to_owned()),
        ("X-GitHub-Hook-Installation-Target-ID", "901234".to_owned()),
        ("X-GitHub-Hook-Installation-Target-Type", "repository".to_owned()),
    ];
    let headers = headers.map(|(name, value)| (name.to_owned(), value)).to_vec();
    Sample { event_type: event_type.to_owned(), query: String::new(), headers, body }
}

pub(super) fn sign(signing: &Signing<'_>, sample: &mut Sample) -> Result<(), &'static str> {
    let digits = sign_sha256_hex(signing.secret, &[&sample.body]);
    sample.set(SIGNATURE, format!("{SIGNATURE_PREFIX}{digits}"));
    Ok(())
}
