//! What kinds of events are called by people, one and many. Owns the words and the emoji; refuses to know markup and who
//! reads them. To add a kind: one row.

/// What tells many events of a kind apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    Actor,
    Title,
}

/// A kind in people's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Words {
    pub(super) emoji: &'static str,
    /// One of them: `New issue`.
    pub(super) one: &'static str,
    /// Several, behind their number: `issues opened`. `None` for a kind that a later version brings.
    pub(super) many: Option<(&'static str, By)>,
}

/// Kind, emoji, one of it, many of it, and by what many are told apart.
const KINDS: &[(&str, &str, &str, &str, By)] = &[
    ("issue_opened", "🐛", "New issue", "issues opened", By::Title),
    ("issue_closed", "📕", "Issue closed", "issues closed", By::Title),
    ("issue_reopened", "📖", "Issue reopened", "issues reopened", By::Title),
    ("issue_assigned", "👉", "Issue assigned", "issues assigned", By::Title),
    ("issue_commented", "💬", "New comment on an issue", "comments on issues", By::Title),
    ("pr_opened", "🔀", "New pull request", "pull requests opened", By::Title),
    ("pr_ready", "🙋", "Pull request ready for review", "pull requests ready for review", By::Title),
    ("pr_closed", "🚫", "Pull request closed", "pull requests closed", By::Title),
    ("pr_merged", "✅", "Pull request merged", "pull requests merged", By::Title),
    ("pr_reopened", "🔁", "Pull request reopened", "pull requests reopened", By::Title),
    ("pr_review_requested", "👀", "Review requested", "review requests", By::Title),
    ("pr_approved", "👍", "Pull request approved", "approvals", By::Title),
    ("pr_changes_requested", "✋", "Changes requested", "requests for changes", By::Title),
    ("pr_commented", "📝", "New comment on a pull request", "comments on pull requests", By::Title),
    ("repo_starred", "⭐\u{fe0f}", "New star", "stars", By::Actor),
    ("repo_forked", "🍴", "New fork", "forks", By::Actor),
    ("repo_watched", "🔭", "New watcher", "watchers", By::Actor),
    ("push", "📤", "New push", "pushes", By::Actor),
    ("branch_created", "🌱", "Branch created", "branches created", By::Title),
    ("branch_deleted", "🍂", "Branch deleted", "branches deleted", By::Title),
    ("release_published", "🚀", "Release published", "releases published", By::Title),
    ("ci_failed", "❌", "CI failed", "failed runs", By::Title),
    ("ci_passed", "🟢", "CI passed", "passed runs", By::Title),
    ("ci_fixed", "💚", "CI fixed", "repaired runs", By::Title),
    ("deployment_failed", "💥", "Deployment failed", "failed deployments", By::Title),
    ("deployment_succeeded", "📦", "Deployment succeeded", "deployments", By::Title),
    ("discussion_opened", "💡", "New discussion", "discussions opened", By::Title),
    ("security_alert", "🚨", "Security alert", "security alerts", By::Title),
    ("member_added", "👋", "New member", "members added", By::Title),
    ("payment_succeeded", "💶", "Payment succeeded", "payments succeeded", By::Title),
    ("payment_received", "🪙", "Payment received", "payments received", By::Title),
    ("payment_failed", "💳", "Payment failed", "payments failed", By::Title),
    ("refund", "↩\u{fe0f}", "Refund", "refunds", By::Title),
    ("dispute_opened", "🏛\u{fe0f}", "Dispute opened", "disputes opened", By::Title),
    ("subscription_started", "🎟\u{fe0f}", "Subscription started", "subscriptions started", By::Title),
    ("subscription_cancelled", "🥀", "Subscription cancelled", "subscriptions cancelled", By::Title),
    ("invoice_paid", "🧾", "Invoice paid", "invoices paid", By::Title),
    ("invoice_failed", "📉", "Invoice not collected", "invoices not collected", By::Title),
    ("payout_paid", "🏦", "Payout arrived", "payouts arrived", By::Title),
    ("payout_failed", "🕳\u{fe0f}", "Payout failed", "payouts failed", By::Title),
    ("checkout_completed", "🛒", "Checkout completed", "checkouts completed", By::Title),
    ("order_created", "🛍\u{fe0f}", "New order", "new orders", By::Title),
    ("order_placed", "🧺", "Order placed", "orders placed", By::Title),
    ("order_paid", "💵", "Order paid", "orders paid", By::Title),
    ("order_cancelled", "🗑\u{fe0f}", "Order cancelled", "orders cancelled", By::Title),
    ("message", "🗨\u{fe0f}", "New message", "messages", By::Actor),
    ("message_received", "📩", "Message received", "messages received", By::Actor),
    ("app_mention", "📣", "Mention", "mentions", By::Actor),
    ("command", "⌨\u{fe0f}", "Command", "commands", By::Title),
    ("interaction", "🖱\u{fe0f}", "Interaction", "interactions", By::Actor),
    ("reaction_added", "😀", "Reaction", "reactions", By::Actor),
    ("channel_created", "📺", "Channel created", "channels created", By::Title),
    ("member_joined", "🚪", "Member joined", "members joined", By::Actor),
    ("sms_received", "📱", "Text message received", "text messages received", By::Actor),
    ("sms_failed", "📵", "Text message failed", "text messages failed", By::Title),
    ("call_completed", "📞", "Call completed", "calls completed", By::Title),
    ("call_missed", "☎\u{fe0f}", "Call missed", "calls missed", By::Title),
    ("email_delivered", "📬", "Email delivered", "emails delivered", By::Title),
    ("email_opened", "📭", "Email opened", "emails opened", By::Title),
    ("email_clicked", "👆", "Link in an email clicked", "links in emails clicked", By::Title),
    ("email_bounced", "📪", "Email bounced", "emails bounced", By::Title),
    ("email_dropped", "✉\u{fe0f}", "Email dropped", "emails dropped", By::Title),
    ("email_spam", "🥫", "Email reported as spam", "emails reported as spam", By::Title),
    ("email_unsubscribed", "🔕", "Unsubscribed", "people unsubscribed", By::Title),
    ("alert_firing", "🔥", "Alert firing", "alerts firing", By::Title),
    ("alert_resolved", "🧯", "Alert resolved", "alerts resolved", By::Title),
    ("incident_acknowledged", "🫡", "Incident acknowledged", "incidents acknowledged", By::Title),
    ("hookbell_source_failing", "🩺", "A source keeps failing", "sources failing", By::Title),
    ("hookbell_source_silent", "🤫", "A source is silent", "silent sources", By::Title),
    ("hookbell_sink_down", "🔌", "A sink is down", "sinks down", By::Title),
    ("hookbell_sink_failing", "🩹", "A sink keeps failing", "sinks failing", By::Title),
    ("hookbell_undelivered", "🐌", "Deliveries are late", "times deliveries were late", By::Title),
    ("hookbell_disk_trouble", "💾", "It cannot be stored", "troubles with the disk", By::Title),
    ("hookbell_database_damaged", "🏚\u{fe0f}", "The database is damaged", "damaged databases", By::Title),
    ("hookbell_clock_wrong", "⏰", "The clock is wrong", "times the clock was wrong", By::Title),
    ("hookbell_tunnel_down", "🚇", "The tunnel is down", "times the tunnel was down", By::Title),
    ("hookbell_not_reconciled", "🔎", "Something may be missing", "times something might be missing", By::Title),
    ("hookbell_bell_broken", "🛎\u{fe0f}", "The desk does not work", "troubles with the desk", By::Title),
    ("hookbell_recovered", "🌤\u{fe0f}", "Well again", "recoveries", By::Title),
    ("created", "🆕", "Created", "things created", By::Title),
    ("updated", "🔄", "Updated", "things updated", By::Title),
    ("deleted", "❎", "Deleted", "things deleted", By::Title),
    ("user_signup", "🙌", "New user", "new users", By::Title),
    ("status_changed", "🚦", "Status changed", "changes of status", By::Title),
    ("custom", "📌", "Event", "events", By::Title),
];

/// What a kind is called; of one that a later version brings, that something happened.
pub(super) fn of(kind: &str) -> Words {
    let found = KINDS.iter().find(|(name, ..)| *name == kind);
    let words = |(_, emoji, one, many, by): &(&str, &'static str, &'static str, &'static str, By)| Words {
        emoji,
        one,
        many: Some((many, *by)),
    };
    found.map_or(Words { emoji: "ℹ\u{fe0f}", one: "Activity", many: None }, words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_words_of_its_own() {
        for kind in crate::provider::KINDS {
            assert_eq!(KINDS.iter().filter(|(name, ..)| name == kind).count(), 1, "{kind}");
        }
        assert_eq!(KINDS.len(), crate::provider::KINDS.len());
        let emoji: std::collections::BTreeSet<&str> = KINDS.iter().map(|(_, emoji, ..)| *emoji).collect();
        assert_eq!(emoji.len(), KINDS.len(), "each kind is known by its emoji");
    }
}
