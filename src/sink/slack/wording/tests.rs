//! The table below is the documentation of what people read.

use super::*;
use crate::event::{Extra, Fact, Severity};

const URL: &str = "https://github.com/acme/api/issues/7";

/// An event with every fact that any sentence may show.
fn full(kind: &str) -> Event {
    let text = |text: &str| Fact::Text(text.to_owned());
    Event {
        kind: kind.to_owned(),
        source: "github".to_owned(),
        provider: "github".to_owned(),
        actor: "octocat".to_owned(),
        repository: "acme/api".to_owned(),
        title: "Crash at start".to_owned(),
        url: Some(URL.to_owned()),
        severity: Severity::Info,
        subject: None,
        extra: Extra::from([
            ("number".to_owned(), Fact::Number(7)),
            ("branch".to_owned(), text("main")),
            ("assignee".to_owned(), text("hubot")),
            ("reviewer".to_owned(), text("mona")),
            ("member".to_owned(), text("newbie")),
            ("conclusion".to_owned(), text("timed_out")),
            ("tag".to_owned(), text("v1.2.0")),
        ]),
        own_id: None,
    }
}

/// Kind, with every fact, with no further fact at all.
const SENTENCES: &[(&str, &str, &str)] = &[
    (
        "issue_opened",
        "🐛 New issue in *acme/api*: #7 *Crash at start* opened by @octocat",
        "🐛 New issue in *acme/api*: *Crash at start* opened by @octocat",
    ),
    (
        "pr_opened",
        "🔀 New pull request in *acme/api*: #7 *Crash at start* opened by @octocat",
        "🔀 New pull request in *acme/api*: *Crash at start* opened by @octocat",
    ),
    (
        "pr_merged",
        "✅ Pull request merged in *acme/api*: #7 *Crash at start* merged by @octocat",
        "✅ Pull request merged in *acme/api*: *Crash at start* merged by @octocat",
    ),
    (
        "repo_starred",
        "⭐️ Repository *acme/api* was starred by @octocat",
        "⭐️ Repository *acme/api* was starred by @octocat",
    ),
    (
        "issue_closed",
        "📕 Issue closed in *acme/api*: #7 *Crash at start* closed by @octocat",
        "📕 Issue closed in *acme/api*: *Crash at start* closed by @octocat",
    ),
    (
        "issue_reopened",
        "📖 Issue reopened in *acme/api*: #7 *Crash at start* reopened by @octocat",
        "📖 Issue reopened in *acme/api*: *Crash at start* reopened by @octocat",
    ),
    (
        "issue_assigned",
        "👉 Issue assigned in *acme/api*: #7 *Crash at start* assigned to @hubot by @octocat",
        "👉 Issue assigned in *acme/api*: *Crash at start* assigned by @octocat",
    ),
    (
        "issue_commented",
        "💬 New comment on an issue in *acme/api*: #7 *Crash at start* commented on by @octocat",
        "💬 New comment on an issue in *acme/api*: *Crash at start* commented on by @octocat",
    ),
    (
        "pr_ready",
        "🙋 Pull request ready for review in *acme/api*: #7 *Crash at start* marked ready by @octocat",
        "🙋 Pull request ready for review in *acme/api*: *Crash at start* marked ready by @octocat",
    ),
    (
        "pr_closed",
        "🚫 Pull request closed in *acme/api*: #7 *Crash at start* closed by @octocat",
        "🚫 Pull request closed in *acme/api*: *Crash at start* closed by @octocat",
    ),
    (
        "pr_reopened",
        "🔁 Pull request reopened in *acme/api*: #7 *Crash at start* reopened by @octocat",
        "🔁 Pull request reopened in *acme/api*: *Crash at start* reopened by @octocat",
    ),
    (
        "pr_review_requested",
        "👀 Review requested in *acme/api*: #7 *Crash at start* requested from @mona by @octocat",
        "👀 Review requested in *acme/api*: *Crash at start* requested by @octocat",
    ),
    (
        "pr_approved",
        "👍 Pull request approved in *acme/api*: #7 *Crash at start* approved by @octocat",
        "👍 Pull request approved in *acme/api*: *Crash at start* approved by @octocat",
    ),
    (
        "pr_changes_requested",
        "✋ Changes requested in *acme/api*: #7 *Crash at start* changes requested by @octocat",
        "✋ Changes requested in *acme/api*: *Crash at start* changes requested by @octocat",
    ),
    (
        "pr_commented",
        "📝 New comment on a pull request in *acme/api*: #7 *Crash at start* commented on by @octocat",
        "📝 New comment on a pull request in *acme/api*: *Crash at start* commented on by @octocat",
    ),
    (
        "repo_forked",
        "🍴 Repository *acme/api* was forked by @octocat",
        "🍴 Repository *acme/api* was forked by @octocat",
    ),
    (
        "repo_watched",
        "🔭 Repository *acme/api* is now watched by @octocat",
        "🔭 Repository *acme/api* is now watched by @octocat",
    ),
    (
        "push",
        "📤 New push in *acme/api*: *Crash at start* pushed to *main* by @octocat",
        "📤 New push in *acme/api*: *Crash at start* pushed by @octocat",
    ),
    (
        "branch_created",
        "🌱 Branch created in *acme/api*: *main* created by @octocat",
        "🌱 Branch created in *acme/api*: *Crash at start* created by @octocat",
    ),
    (
        "branch_deleted",
        "🍂 Branch deleted in *acme/api*: *main* deleted by @octocat",
        "🍂 Branch deleted in *acme/api*: *Crash at start* deleted by @octocat",
    ),
    (
        "release_published",
        "🚀 Release published in *acme/api*: *Crash at start* (v1.2.0) published by @octocat",
        "🚀 Release published in *acme/api*: *Crash at start* published by @octocat",
    ),
    (
        "ci_failed",
        "❌ CI failed in *acme/api*: *Crash at start* (timed_out) on *main* started by @octocat",
        "❌ CI failed in *acme/api*: *Crash at start* started by @octocat",
    ),
    (
        "ci_passed",
        "🟢 CI passed in *acme/api*: *Crash at start* on *main* started by @octocat",
        "🟢 CI passed in *acme/api*: *Crash at start* started by @octocat",
    ),
    (
        "ci_fixed",
        "💚 CI fixed in *acme/api*: *Crash at start* on *main* started by @octocat",
        "💚 CI fixed in *acme/api*: *Crash at start* started by @octocat",
    ),
    (
        "deployment_failed",
        "💥 Deployment failed in *acme/api*: *Crash at start* on *main* started by @octocat",
        "💥 Deployment failed in *acme/api*: *Crash at start* started by @octocat",
    ),
    (
        "deployment_succeeded",
        "📦 Deployment succeeded in *acme/api*: *Crash at start* on *main* started by @octocat",
        "📦 Deployment succeeded in *acme/api*: *Crash at start* started by @octocat",
    ),
    (
        "discussion_opened",
        "💡 New discussion in *acme/api*: #7 *Crash at start* opened by @octocat",
        "💡 New discussion in *acme/api*: *Crash at start* opened by @octocat",
    ),
    (
        "security_alert",
        "🚨 Security alert in *acme/api*: #7 *Crash at start* raised by @octocat",
        "🚨 Security alert in *acme/api*: *Crash at start* raised by @octocat",
    ),
    (
        "member_added",
        "👋 New member in *acme/api*: @newbie added by @octocat",
        "👋 New member in *acme/api*: *Crash at start* added by @octocat",
    ),
    (
        "anything_unforeseen",
        "ℹ️ Activity in *acme/api* by @octocat: Crash at start",
        "ℹ️ Activity in *acme/api* by @octocat: Crash at start",
    ),
];

#[test]
fn every_kind_reads_like_this() {
    for (kind, with_facts, without) in SENTENCES {
        let mut event = full(kind);
        assert_eq!(sentence(&event), format!("{with_facts}\n{URL}"), "{kind}");
        event.extra.clear();
        event.url = None;
        assert_eq!(sentence(&event), *without, "{kind}");
    }
}

#[test]
fn customers_are_no_accounts() {
    let mut event = full("payment_succeeded");
    event.extra.clear();
    (event.actor, event.title) = ("Ada *Lights*".to_owned(), "12.50 EUR: Desk lamp".to_owned());
    assert_eq!(
        sentence(&event).lines().next(),
        Some("💶 Payment succeeded in *acme/api*: *12.50 EUR: Desk lamp* by Ada ∗Lights∗")
    );
    event.actor = SOMEONE.to_owned();
    assert_eq!(sentence(&event).lines().next(), Some("💶 Payment succeeded in *acme/api*: *12.50 EUR: Desk lamp*"));
}

#[test]
fn the_four_known_sentences_are_exact_to_the_byte() {
    for (kind, expected) in [
        ("issue_opened", "\u{1F41B} New issue in *acme/api*: #7 *Crash at start* opened by @octocat\n"),
        ("pr_opened", "\u{1F500} New pull request in *acme/api*: #7 *Crash at start* opened by @octocat\n"),
        ("pr_merged", "\u{2705} Pull request merged in *acme/api*: #7 *Crash at start* merged by @octocat\n"),
        ("repo_starred", "\u{2B50}\u{FE0F} Repository *acme/api* was starred by @octocat\n"),
    ] {
        assert_eq!(sentence(&full(kind)), format!("{expected}{URL}"));
    }
}

#[test]
fn an_event_that_says_nothing_still_makes_a_sentence() {
    for (kind, ..) in SENTENCES {
        let mut event = full(kind);
        for nothing in ["", " \n\u{202e}"] {
            event.actor = nothing.to_owned();
            event.repository = nothing.to_owned();
            event.title = nothing.to_owned();
            event.url = Some(nothing.to_owned());
            for fact in event.extra.values_mut() {
                *fact = Fact::Text(nothing.to_owned());
            }
            let said = sentence(&event);
            assert!(said.contains("*unknown/unknown*") && said.contains("@someone"), "{said}");
            assert!(!said.contains("**") && !said.contains("#") && !said.contains('\n'), "{said}");
        }
    }
    let mut event = full("issue_opened");
    event.title.clear();
    assert_eq!(sentence(&event), format!("🐛 New issue in *acme/api*: #7 *(no title)* opened by @octocat\n{URL}"));
}

#[test]
fn no_field_can_say_more_than_itself() {
    let hostile = "<!channel> <@U1> *b* ~s~ `c` _i_ a\n> q\r\n• l \u{202e}@here & _";
    for (kind, ..) in SENTENCES {
        let honest = sentence(&full(kind));
        let mut event = full(kind);
        event.actor = hostile.to_owned();
        event.repository = hostile.to_owned();
        event.title = hostile.to_owned();
        event.url = Some(format!("https://x/{hostile}"));
        for fact in event.extra.values_mut() {
            *fact = Fact::Text(hostile.to_owned());
        }
        let said = sentence(&event);
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(!said.contains(['<', '>', '~', '`', '_', '\u{202e}']), "{said}");
        assert!(!said.contains("@here") && !said.contains("@U1"), "{said}");
        assert_eq!(said.replace("&lt;", "").replace("&gt;", "").matches('&').count(), said.matches("&amp;").count());
        assert_eq!(said.matches('*').count(), honest.matches('*').count(), "only our own bold: {said}");
    }
}

#[test]
fn a_name_that_calls_everybody_does_not() {
    let mut event = full("issue_assigned");
    event.actor = "channel".to_owned();
    event.extra.insert("assignee".to_owned(), Fact::Text("Here".to_owned()));
    event.url = None;
    assert_eq!(
        sentence(&event),
        "👉 Issue assigned in *acme/api*: #7 *Crash at start* assigned to @\u{200b}Here by @\u{200b}channel"
    );
}

#[test]
fn the_longest_of_everything_keeps_the_link_and_the_limit() {
    let link = format!("https://x/{}", "y".repeat(1_990));
    for filler in ["x", "&", "🎉", "_", "@"] {
        for (kind, ..) in SENTENCES {
            let huge = filler.repeat(100_000);
            let mut event = full(kind);
            event.actor = huge.clone();
            event.repository = huge.clone();
            event.title = huge.clone();
            event.url = Some(link.clone());
            for fact in event.extra.values_mut() {
                *fact = Fact::Text(huge.clone());
            }
            let said = sentence(&event);
            assert!(said.ends_with(&format!("\n{link}")), "{kind}");
            assert!(said.encode_utf16().count() <= UNITS_MAX, "{kind}: {}", said.encode_utf16().count());
        }
    }
}

#[test]
fn numbers_come_in_every_form() {
    for (fact, shown) in [
        (Fact::Number(12), "#12 "),
        (Fact::Text("#12".to_owned()), "#12 "),
        (Fact::Text("A-12".to_owned()), "#A-12 "),
        (Fact::Flag(true), ""),
    ] {
        let mut event = full("pr_opened");
        event.extra.insert("number".to_owned(), fact);
        let expected = format!("🔀 New pull request in *acme/api*: {shown}*Crash at start* opened by @octocat\n{URL}");
        assert_eq!(sentence(&event), expected);
    }
}
