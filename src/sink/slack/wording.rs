//! The sentence that people read for an event. Owns the words and emoji of every kind; refuses to know blocks and HTTP.
//!
//! The first four are known to readers and to their filters byte for byte; the others follow their manner: an emoji of
//! its own, what happened where, what it is called, who did it. To add a kind: one arm in `line`, one row in the
//! test's table.

use super::mrkdwn;
use crate::event::{Event, Fact, NO_TITLE, SOMEONE, UNKNOWN_REPOSITORY};

/// Longest sentence in UTF-16 units, link included: what a section's text may hold (Slack, Block Kit reference).
pub const UNITS_MAX: usize = 3_000;

// Each name has room of its own, so that none can push another or the link out: with the longest link (2 000) and the
// longest fixed words all of them together stay below `UNITS_MAX`, which a test holds. GitHub's own limits are 256
// characters for a title, 39 for a login and 140 for owner/name.
const TITLE_UNITS_MAX: usize = 450;
pub(super) const REPOSITORY_UNITS_MAX: usize = 160;
pub(super) const ACTOR_UNITS_MAX: usize = 80;
const DETAIL_UNITS_MAX: usize = 100;
const NUMBER_UNITS_MAX: usize = 20;

/// What happened in one line of mrkdwn, and in a second one the link where the event has a good one.
pub fn sentence(event: &Event) -> String {
    let line = line(event);
    match event.url.as_deref().and_then(mrkdwn::link) {
        Some(link) => format!("{line}\n{link}"),
        None => line,
    }
}

/// The emoji of an event's kind.
pub fn emoji(event: &Event) -> String {
    line(event).split(' ').next().unwrap_or_default().to_owned()
}

/// The first line. Every variable in it is harmless by now: see `mrkdwn`.
pub fn line(event: &Event) -> String {
    let r = or(mrkdwn::text(&event.repository, REPOSITORY_UNITS_MAX), UNKNOWN_REPOSITORY);
    let t = or(mrkdwn::text(&event.title, TITLE_UNITS_MAX), NO_TITLE);
    let a = or(mrkdwn::actor(&event.actor, ACTOR_UNITS_MAX), SOMEONE);
    let n = number(event);
    // Optional facts, each with the words that lead to it, or nothing.
    let on = fact(event, &["branch", "head_branch"]).map(|b| format!(" on *{b}*")).unwrap_or_default();
    let to = fact(event, &["branch"]).map(|b| format!(" to *{b}*")).unwrap_or_default();
    let to_whom = person(event, "assignee").map(|p| format!(" to @{p}")).unwrap_or_default();
    let of_whom = person(event, "reviewer").map(|p| format!(" from @{p}")).unwrap_or_default();
    let how = fact(event, &["conclusion"]).map(|c| format!(" ({c})")).unwrap_or_default();
    let tag = fact(event, &["tag"]).filter(|tag| *tag != t).map(|tag| format!(" ({tag})")).unwrap_or_default();
    let reference = fact(event, &["branch", "tag"]).unwrap_or_else(|| t.clone());

    match event.kind.as_str() {
        "issue_opened" => format!("🐛 New issue in *{r}*: {n}*{t}* opened by @{a}"),
        "pr_opened" => format!("🔀 New pull request in *{r}*: {n}*{t}* opened by @{a}"),
        "pr_merged" => format!("✅ Pull request merged in *{r}*: {n}*{t}* merged by @{a}"),
        "repo_starred" => format!("⭐\u{fe0f} Repository *{r}* was starred by @{a}"),

        "issue_closed" => format!("📕 Issue closed in *{r}*: {n}*{t}* closed by @{a}"),
        "issue_reopened" => format!("📖 Issue reopened in *{r}*: {n}*{t}* reopened by @{a}"),
        "issue_assigned" => format!("👉 Issue assigned in *{r}*: {n}*{t}* assigned{to_whom} by @{a}"),
        "issue_commented" => format!("💬 New comment on an issue in *{r}*: {n}*{t}* commented on by @{a}"),

        "pr_ready" => format!("🙋 Pull request ready for review in *{r}*: {n}*{t}* marked ready by @{a}"),
        "pr_closed" => format!("🚫 Pull request closed in *{r}*: {n}*{t}* closed by @{a}"),
        "pr_reopened" => format!("🔁 Pull request reopened in *{r}*: {n}*{t}* reopened by @{a}"),
        "pr_review_requested" => format!("👀 Review requested in *{r}*: {n}*{t}* requested{of_whom} by @{a}"),
        "pr_approved" => format!("👍 Pull request approved in *{r}*: {n}*{t}* approved by @{a}"),
        "pr_changes_requested" => format!("✋ Changes requested in *{r}*: {n}*{t}* changes requested by @{a}"),
        "pr_commented" => format!("📝 New comment on a pull request in *{r}*: {n}*{t}* commented on by @{a}"),

        "repo_forked" => format!("🍴 Repository *{r}* was forked by @{a}"),
        "repo_watched" => format!("🔭 Repository *{r}* is now watched by @{a}"),
        "push" => format!("📤 New push in *{r}*: *{t}* pushed{to} by @{a}"),
        "branch_created" => format!("🌱 Branch created in *{r}*: *{reference}* created by @{a}"),
        "branch_deleted" => format!("🍂 Branch deleted in *{r}*: *{reference}* deleted by @{a}"),
        "release_published" => format!("🚀 Release published in *{r}*: *{t}*{tag} published by @{a}"),

        "ci_failed" => format!("❌ CI failed in *{r}*: *{t}*{how}{on} started by @{a}"),
        "ci_passed" => format!("🟢 CI passed in *{r}*: *{t}*{on} started by @{a}"),
        "ci_fixed" => format!("💚 CI fixed in *{r}*: *{t}*{on} started by @{a}"),
        "deployment_failed" => format!("💥 Deployment failed in *{r}*: *{t}*{on} started by @{a}"),
        "deployment_succeeded" => format!("📦 Deployment succeeded in *{r}*: *{t}*{on} started by @{a}"),

        "discussion_opened" => format!("💡 New discussion in *{r}*: {n}*{t}* opened by @{a}"),
        "security_alert" => format!("🚨 Security alert in *{r}*: {n}*{t}* raised by @{a}"),
        "member_added" => match person(event, "member") {
            Some(member) => format!("👋 New member in *{r}*: @{member} added by @{a}"),
            None => format!("👋 New member in *{r}*: *{t}* added by @{a}"),
        },

        kind => match PLAIN.iter().find(|(name, ..)| *name == kind) {
            Some((_, emoji, what)) => format!("{emoji} {what} in *{r}*: {n}*{t}*{}", by(event)),
            // A kind that a later version brings: better plainly said than not at all.
            None => format!("ℹ\u{fe0f} Activity in *{r}* by @{a}: {t}"),
        },
    }
}

/// Kinds whose sentence is what happened, where, and what it is called. Who caused it is often a customer and not an
/// account, so that there is no `@`.
pub(in crate::sink) const PLAIN: &[(&str, &str, &str)] = &[
    ("payment_succeeded", "💶", "Payment succeeded"),
    ("payment_received", "🪙", "Payment received"),
    ("payment_failed", "💳", "Payment failed"),
    ("refund", "↩\u{fe0f}", "Refund"),
    ("dispute_opened", "🏛\u{fe0f}", "Dispute opened"),
    ("subscription_started", "🎟\u{fe0f}", "Subscription started"),
    ("subscription_cancelled", "🥀", "Subscription cancelled"),
    ("invoice_paid", "🧾", "Invoice paid"),
    ("invoice_failed", "📉", "Invoice not collected"),
    ("payout_paid", "🏦", "Payout arrived"),
    ("payout_failed", "🕳\u{fe0f}", "Payout failed"),
    ("checkout_completed", "🛒", "Checkout completed"),
    ("order_created", "🛍\u{fe0f}", "New order"),
    ("order_placed", "🧺", "Order placed"),
    ("order_paid", "💵", "Order paid"),
    ("order_cancelled", "🗑\u{fe0f}", "Order cancelled"),
    ("message", "🗨\u{fe0f}", "New message"),
    ("message_received", "📩", "Message received"),
    ("app_mention", "📣", "Mention"),
    ("command", "⌨\u{fe0f}", "Command"),
    ("interaction", "🖱\u{fe0f}", "Interaction"),
    ("reaction_added", "😀", "Reaction"),
    ("channel_created", "📺", "Channel created"),
    ("member_joined", "🚪", "Member joined"),
    ("sms_received", "📱", "Text message received"),
    ("sms_failed", "📵", "Text message failed"),
    ("call_completed", "📞", "Call completed"),
    ("call_missed", "☎\u{fe0f}", "Call missed"),
    ("email_delivered", "📬", "Email delivered"),
    ("email_opened", "📭", "Email opened"),
    ("email_clicked", "👆", "Link in an email clicked"),
    ("email_bounced", "📪", "Email bounced"),
    ("email_dropped", "✉\u{fe0f}", "Email dropped"),
    ("email_spam", "🥫", "Email reported as spam"),
    ("email_unsubscribed", "🔕", "Unsubscribed"),
    ("alert_firing", "🔥", "Alert firing"),
    ("alert_resolved", "🧯", "Alert resolved"),
    ("incident_acknowledged", "🫡", "Incident acknowledged"),
    ("created", "🆕", "Created"),
    ("updated", "🔄", "Updated"),
    ("deleted", "❎", "Deleted"),
    ("user_signup", "🙌", "New user"),
    ("status_changed", "🚦", "Status changed"),
    ("custom", "📌", "Event"),
];

/// ` by somebody`, or nothing where that is not known.
fn by(event: &Event) -> String {
    let name = mrkdwn::text(&event.actor, ACTOR_UNITS_MAX);
    if name.is_empty() || name == SOMEONE { String::new() } else { format!(" by {name}") }
}

fn or(text: String, fallback: &str) -> String {
    if text.is_empty() { fallback.to_owned() } else { text }
}

/// `#7 `, or nothing where the event has no number.
pub(super) fn number(event: &Event) -> String {
    let number = match event.extra.get("number") {
        Some(Fact::Number(number)) => number.to_string(),
        Some(Fact::Text(text)) => mrkdwn::text(text.trim_start_matches('#'), NUMBER_UNITS_MAX),
        Some(Fact::Flag(_)) | None => String::new(),
    };
    if number.is_empty() { number } else { format!("#{number} ") }
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
