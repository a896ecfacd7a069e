//! The sentence that people read for an event. Owns its form; refuses to know blocks and HTTP, and what a
//! kind is called.
//!
//! The first four are known to readers and to their filters byte for byte; the others follow their manner: an emoji of
//! its own, what happened where, what it is called, who did it. A kind that wants more than that has an arm in `line` and a
//! row in the test's table.

use super::mrkdwn;
use crate::{
    event::{Event, NO_TITLE, SOMEONE, UNKNOWN_REPOSITORY},
    sink::{
        digest,
        words::{self, Words},
    },
};

/// Longest sentence in UTF-16 units, link included: what a section's text may hold (Slack, Block Kit reference).
pub const UNITS_MAX: usize = 3_000;

// Each name has room of its own, so that none can push another or the link out: with the longest link (2 000) and the
// longest fixed words all of them together stay below `UNITS_MAX`, which a test holds. GitHub's own limits are 256
// characters for a title, 39 for a login and 140 for owner/name.
const TITLE_UNITS_MAX: usize = 450;
const REPOSITORY_UNITS_MAX: usize = 160;
const ACTOR_UNITS_MAX: usize = 80;
const DETAIL_UNITS_MAX: usize = 100;

/// What happened in one line of mrkdwn, and in a second one the link where the event has a good one.
pub fn sentence(event: &Event) -> String {
    let line = line(event);
    match event.url.as_deref().and_then(mrkdwn::link) {
        Some(link) => format!("{line}\n{link}"),
        None => line,
    }
}

/// The first line. Every variable in it is harmless by now: see `mrkdwn`.
pub fn line(event: &Event) -> String {
    let r = or(mrkdwn::text(&event.repository, REPOSITORY_UNITS_MAX), UNKNOWN_REPOSITORY);
    let t = or(mrkdwn::text(&event.title, TITLE_UNITS_MAX), NO_TITLE);
    let a = or(mrkdwn::actor(&event.actor, ACTOR_UNITS_MAX), SOMEONE);
    let n = digest::number(event, mrkdwn::text);
    // Optional facts, each with the words that lead to it, or nothing.
    let on = fact(event, &["branch", "head_branch"]).map(|b| format!(" on *{b}*")).unwrap_or_default();
    let to = fact(event, &["branch"]).map(|b| format!(" to *{b}*")).unwrap_or_default();
    let to_whom = person(event, "assignee").map(|p| format!(" to @{p}")).unwrap_or_default();
    let of_whom = person(event, "reviewer").map(|p| format!(" from @{p}")).unwrap_or_default();
    let how = fact(event, &["conclusion"]).map(|c| format!(" ({c})")).unwrap_or_default();
    let tag = fact(event, &["tag"]).filter(|tag| *tag != t).map(|tag| format!(" ({tag})")).unwrap_or_default();
    let reference = fact(event, &["branch", "tag"]).unwrap_or_else(|| t.clone());

    let Words { emoji, one, many } = words::of(&event.kind);
    let lead = format!("{emoji} {one} in *{r}*:");

    match event.kind.as_str() {
        "issue_opened" | "pr_opened" | "discussion_opened" => format!("{lead} {n}*{t}* opened by @{a}"),
        "pr_merged" => format!("{lead} {n}*{t}* merged by @{a}"),
        "repo_starred" => format!("{emoji} Repository *{r}* was starred by @{a}"),

        "issue_closed" | "pr_closed" => format!("{lead} {n}*{t}* closed by @{a}"),
        "issue_reopened" | "pr_reopened" => format!("{lead} {n}*{t}* reopened by @{a}"),
        "issue_assigned" => format!("{lead} {n}*{t}* assigned{to_whom} by @{a}"),
        "issue_commented" | "pr_commented" => format!("{lead} {n}*{t}* commented on by @{a}"),

        "pr_ready" => format!("{lead} {n}*{t}* marked ready by @{a}"),
        "pr_review_requested" => format!("{lead} {n}*{t}* requested{of_whom} by @{a}"),
        "pr_approved" => format!("{lead} {n}*{t}* approved by @{a}"),
        "pr_changes_requested" => format!("{lead} {n}*{t}* changes requested by @{a}"),

        "repo_forked" => format!("{emoji} Repository *{r}* was forked by @{a}"),
        "repo_watched" => format!("{emoji} Repository *{r}* is now watched by @{a}"),
        "push" => format!("{lead} *{t}* pushed{to} by @{a}"),
        "branch_created" => format!("{lead} *{reference}* created by @{a}"),
        "branch_deleted" => format!("{lead} *{reference}* deleted by @{a}"),
        "release_published" => format!("{lead} *{t}*{tag} published by @{a}"),

        "ci_failed" => format!("{lead} *{t}*{how}{on} started by @{a}"),
        "ci_passed" | "ci_fixed" | "deployment_failed" | "deployment_succeeded" => {
            format!("{lead} *{t}*{on} started by @{a}")
        }

        "security_alert" => format!("{lead} {n}*{t}* raised by @{a}"),
        "member_added" => match person(event, "member") {
            Some(member) => format!("{lead} @{member} added by @{a}"),
            None => format!("{lead} *{t}* added by @{a}"),
        },

        // What happened, where, and what it is called. Who caused it is often a customer and not an account, so that
        // there is no `@`.
        _ if many.is_some() => format!("{lead} {n}*{t}*{}", by(event)),
        // A kind that a later version brings: better plainly said than not at all.
        _ => format!("{emoji} {one} in *{r}* by @{a}: {t}"),
    }
}

/// ` by somebody`, or nothing where that is not known.
fn by(event: &Event) -> String {
    let name = mrkdwn::text(&event.actor, ACTOR_UNITS_MAX);
    if name.is_empty() || name == SOMEONE { String::new() } else { format!(" by {name}") }
}

fn or(text: String, fallback: &str) -> String {
    if text.is_empty() { fallback.to_owned() } else { text }
}

/// The first of these facts that says something.
fn fact(event: &Event, names: &[&str]) -> Option<String> {
    let facts = names.iter().filter_map(|name| event.extra.get(*name));
    facts.map(|fact| mrkdwn::text(&fact.to_string(), DETAIL_UNITS_MAX)).find(|text| !text.is_empty())
}

fn person(event: &Event, name: &str) -> Option<String> {
    let name = mrkdwn::actor(&event.extra.get(name)?.to_string(), ACTOR_UNITS_MAX);
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests;
