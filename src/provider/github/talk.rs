//! What people write to each other: issues, pull requests, reviews, comments, discussions.

use crate::provider::{
    draft::Draft,
    forge::{Told, head_branch, numbered},
    json::Json,
};

use super::common::repository;

pub(super) fn issue(kind: &'static str, body: &Json<'_>) -> Draft {
    about(kind, body, &body["issue"]).text("assignee", body["assignee"]["login"].text())
}

/// GitHub calls a comment on a pull request's conversation an issue comment too.
pub(super) fn comment(body: &Json<'_>) -> Draft {
    let issue = &body["issue"];
    let kind = if issue["pull_request"].is_object() { "pr_commented" } else { "issue_commented" };
    about(kind, body, issue).url([body["comment"]["html_url"].text(), issue["html_url"].text()])
}

pub(super) fn discussion(body: &Json<'_>) -> Draft {
    let discussion = &body["discussion"];
    about("discussion_opened", body, discussion).text("category", discussion["category"]["name"].text())
}

pub(super) fn pull_request(kind: &'static str, body: &Json<'_>) -> Draft {
    let reviewer = body["requested_reviewer"]["login"].text().or(body["requested_team"]["name"].text());
    about_pull_request(kind, body).text("reviewer", reviewer)
}

/// Closing a pull request is one event of GitHub's and two of ours.
pub(super) fn pull_request_closed(body: &Json<'_>) -> Draft {
    let pull = &body["pull_request"];
    match pull["merged"].is_true() {
        true => pull_request("pr_merged", body).actor(pull["merged_by"]["login"].text()),
        false => pull_request("pr_closed", body),
    }
}

/// A review has one state. A bare "commented" is told only when it says something itself: GitHub wraps every inline
/// comment into a review without a body, and those comments come as `pull_request_review_comment` of their own.
pub(super) fn review(body: &Json<'_>) -> Told {
    let review = &body["review"];
    let says_something = review["body"].text().is_some_and(|text| !text.trim().is_empty());
    // The REST API writes states in upper case; a hand-made replay from there should mean the same.
    let kind = match review["state"].text().unwrap_or_default().to_ascii_lowercase().as_str() {
        "approved" => "pr_approved",
        "changes_requested" => "pr_changes_requested",
        "commented" if says_something => "pr_commented",
        "commented" => {
            return Err("pull_request_review: it only wraps inline comments, which come by themselves".into());
        }
        _ => return Err("pull_request_review: a review that neither approves, objects nor comments".into()),
    };
    Ok(about_pull_request(kind, body)
        .text("reviewer", review["user"]["login"].text())
        .url([review["html_url"].text(), body["pull_request"]["html_url"].text()]))
}

pub(super) fn review_comment(body: &Json<'_>) -> Draft {
    let links = [body["comment"]["html_url"].text(), body["pull_request"]["html_url"].text()];
    about_pull_request("pr_commented", body).url(links)
}

/// `branch` is where the change goes, which is what a rule about `main` means; `head_branch` where it comes from,
/// `owner:branch` where that is a fork.
fn about_pull_request(kind: &'static str, body: &Json<'_>) -> Draft {
    let pull = &body["pull_request"];
    let (base, head) = (&pull["base"], &pull["head"]);
    let ours = base["repo"]["full_name"].text().or(body["repository"]["full_name"].text());
    // Of a fork that is gone, the label still says whose it was: `owner:branch`.
    let is_theirs =
        |label: &&str| label.split_once(':').map(|(owner, _)| owner) != ours.and_then(|it| it.split('/').next());
    let gone = head["label"].text().filter(|label| !head["repo"].is_object() && is_theirs(label));
    let from = head_branch(head["ref"].text(), head["repo"]["full_name"].text(), ours);
    about(kind, body, pull)
        .text("branch", base["ref"].text())
        .text("head_branch", gone.or(from.as_deref()))
        .text("sha", pull["head"]["sha"].text())
        .text("merged_by", pull["merged_by"]["login"].text())
}

/// An issue; a pull request or a discussion has the same bones.
fn about(kind: &'static str, body: &Json<'_>, issue: &Json<'_>) -> Draft {
    let number = issue["number"].whole();
    Draft::new(kind)
        .title(issue["title"].text())
        .url([issue["html_url"].text()])
        .subject(numbered(repository(body), '#', number))
        .number("number", number)
        .text("author", issue["user"]["login"].text())
        .flag("draft", issue["draft"].flag())
        .list("labels", issue["labels"].items().iter().filter_map(|label| label["name"].text()))
}
