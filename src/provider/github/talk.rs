//! What people write to each other: issues, pull requests, reviews, comments, discussions.

use super::draft::{Draft, login, name, repository};
use super::normalise::Told;
use super::payload::{Account, Issue, Maybe, Payload, PullRequest};

pub(super) fn issue(kind: &'static str, payload: &Payload) -> Draft {
    about_issue(Draft::new(kind), payload, &payload.issue).text("assignee", login(&payload.assignee))
}

/// GitHub calls a comment on a pull request's conversation an issue comment too.
pub(super) fn comment(payload: &Payload) -> Draft {
    let on_pull_request = payload.issue.as_ref().is_some_and(|issue| issue.pull_request.is_some());
    let kind = if on_pull_request { "pr_commented" } else { "issue_commented" };
    let draft = about_issue(Draft::new(kind), payload, &payload.issue);
    let issue_url = payload.issue.as_ref().and_then(|issue| issue.html_url.as_deref());
    draft.url([comment_url(payload), issue_url])
}

pub(super) fn discussion(payload: &Payload) -> Draft {
    let category = payload.discussion.as_ref().and_then(|discussion| name(&discussion.category));
    about_issue(Draft::new("discussion_opened"), payload, &payload.discussion).text("category", category)
}

pub(super) fn pull_request(kind: &'static str, payload: &Payload) -> Draft {
    let reviewer = login(&payload.requested_reviewer).or_else(|| name(&payload.requested_team));
    about_pull_request(Draft::new(kind), payload).text("reviewer", reviewer)
}

/// Closing a pull request is one event of GitHub's and two of ours.
pub(super) fn pull_request_closed(payload: &Payload) -> Draft {
    let merged_by = pull(payload).map(|pull| &pull.merged_by).and_then(|account| login(account));
    let merged = pull(payload).is_some_and(|pull| *pull.merged == Some(true));
    if merged { pull_request("pr_merged", payload).actor(merged_by) } else { pull_request("pr_closed", payload) }
}

/// A review has one state. A bare "commented" is told only when it says something itself: GitHub wraps every inline
/// comment into a review without a body, and those comments come as `pull_request_review_comment` of their own.
pub(super) fn review(payload: &Payload) -> Told {
    let review = payload.review.as_ref();
    let state = review.and_then(|review| review.state.as_deref()).unwrap_or_default();
    let says_something = review.and_then(|review| review.body.as_deref()).is_some_and(|body| !body.trim().is_empty());
    // The REST API writes states in upper case; a hand-made replay from there should mean the same.
    let kind = match state.to_ascii_lowercase().as_str() {
        "approved" => "pr_approved",
        "changes_requested" => "pr_changes_requested",
        "commented" if says_something => "pr_commented",
        "commented" => {
            return Err("pull_request_review: it only wraps inline comments, which come by themselves".into());
        }
        _ => return Err("pull_request_review: a review that neither approves, objects nor comments".into()),
    };
    let reviewer = review.and_then(|review| login(&review.user));
    let url = review.and_then(|review| review.html_url.as_deref());
    let draft = about_pull_request(Draft::new(kind), payload);
    Ok(draft.text("reviewer", reviewer).url([url, pull(payload).and_then(|pull| pull.html_url.as_deref())]))
}

pub(super) fn review_comment(payload: &Payload) -> Draft {
    let pull_url = pull(payload).and_then(|pull| pull.html_url.as_deref());
    about_pull_request(Draft::new("pr_commented"), payload).url([comment_url(payload), pull_url])
}

fn about_issue(draft: Draft, payload: &Payload, issue: &Maybe<Issue>) -> Draft {
    let Some(issue) = issue.as_ref() else { return draft };
    draft
        .title(issue.title.as_deref())
        .url([issue.html_url.as_deref()])
        .subject(numbered(payload, *issue.number))
        .number("number", *issue.number)
        .flag("draft", *issue.draft)
        .labels(&issue.labels)
}

/// `branch` is where the change goes, which is what a rule about `main` means; `head_branch` where it comes from.
fn about_pull_request(draft: Draft, payload: &Payload) -> Draft {
    let Some(pull) = pull(payload) else { return draft };
    let (base, head) = (pull.base.as_ref(), pull.head.as_ref());
    draft
        .title(pull.title.as_deref())
        .url([pull.html_url.as_deref()])
        .subject(numbered(payload, *pull.number))
        .number("number", *pull.number)
        .flag("draft", *pull.draft)
        .labels(&pull.labels)
        .text("branch", base.and_then(|base| base.git_ref.as_deref()))
        .text("head_branch", head.and_then(|head| head.git_ref.as_deref()))
        .text("sha", head.and_then(|head| head.sha.as_deref()))
        .text("merged_by", pull.merged_by.as_ref().and_then(|account: &Account| account.login.as_deref()))
}

fn pull(payload: &Payload) -> Option<&PullRequest> {
    payload.pull_request.as_ref()
}

fn comment_url(payload: &Payload) -> Option<&str> {
    payload.comment.as_ref().and_then(|comment| comment.html_url.as_deref())
}

fn numbered(payload: &Payload, number: Option<i64>) -> Option<String> {
    number.map(|number| format!("{}#{number}", repository(payload)))
}
