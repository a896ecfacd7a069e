//! The words for what happens, shared by all providers. Owns the lists of kinds and facts; refuses to know who uses which.

use crate::event::Severity;
use crate::event::Severity::{Failure, Info, Success, Warning};

/// Every kind that an event may have with what it usually means, in the order that lists show. Normalisers tell of all but
/// [`CI_FIXED`](crate::event::CI_FIXED): what came before is for the router to know.
const MEANINGS: &[(&str, Severity)] = &[
    // Code.
    ("issue_opened", Info),
    ("issue_closed", Info),
    ("issue_reopened", Info),
    ("issue_assigned", Info),
    ("issue_commented", Info),
    ("pr_opened", Info),
    ("pr_ready", Info),
    ("pr_closed", Info),
    ("pr_merged", Success),
    ("pr_reopened", Info),
    ("pr_review_requested", Info),
    ("pr_approved", Success),
    ("pr_changes_requested", Warning),
    ("pr_commented", Info),
    ("repo_starred", Info),
    ("repo_forked", Info),
    ("repo_watched", Info),
    ("push", Info),
    ("branch_created", Info),
    ("branch_deleted", Info),
    ("release_published", Info),
    ("ci_failed", Failure),
    ("ci_passed", Success),
    ("ci_fixed", Success),
    ("deployment_failed", Failure),
    ("deployment_succeeded", Success),
    ("discussion_opened", Info),
    ("security_alert", Failure),
    ("member_added", Info),
    // Money.
    ("payment_succeeded", Success),
    ("payment_failed", Failure),
    ("refund", Warning),
    ("dispute_opened", Failure),
    ("subscription_started", Success),
    ("subscription_cancelled", Warning),
    ("invoice_paid", Success),
    ("invoice_failed", Failure),
    ("payout_paid", Success),
    ("payout_failed", Failure),
    ("checkout_completed", Success),
    ("order_created", Info),
    ("order_paid", Success),
    ("order_cancelled", Warning),
    // Talk.
    ("message", Info),
    ("app_mention", Info),
    ("command", Info),
    ("interaction", Info),
    ("reaction_added", Info),
    ("channel_created", Info),
    ("member_joined", Info),
    ("sms_received", Info),
    ("sms_failed", Failure),
    ("call_completed", Info),
    ("call_missed", Warning),
    ("email_delivered", Info),
    ("email_opened", Info),
    ("email_clicked", Info),
    ("email_bounced", Failure),
    ("email_dropped", Failure),
    ("email_spam", Failure),
    ("email_unsubscribed", Info),
    // Watching.
    ("alert_firing", Failure),
    ("alert_resolved", Success),
    ("incident_acknowledged", Info),
    // hookbell itself: what is not well, and that it is again (work/health).
    ("hookbell_source_failing", Warning),
    ("hookbell_source_silent", Warning),
    ("hookbell_sink_down", Failure),
    ("hookbell_sink_failing", Warning),
    ("hookbell_undelivered", Failure),
    ("hookbell_disk_trouble", Failure),
    ("hookbell_database_damaged", Failure),
    ("hookbell_clock_wrong", Warning),
    ("hookbell_tunnel_down", Failure),
    ("hookbell_not_reconciled", Warning),
    ("hookbell_bell_broken", Warning),
    ("hookbell_recovered", Success),
    // Anything else, by `generic` and the senders of standard webhooks.
    ("created", Info),
    ("updated", Info),
    ("deleted", Info),
    ("payment_received", Success),
    ("user_signup", Info),
    ("order_placed", Info),
    ("message_received", Info),
    ("status_changed", Info),
    ("custom", Info),
];

/// Every kind that an event may have, in the order that lists show.
pub const KINDS: &[&str] = &{
    let mut kinds = [""; MEANINGS.len()];
    let mut index = 0;
    while index < kinds.len() {
        kinds[index] = MEANINGS[index].0;
        index += 1;
    }
    kinds
};

/// The kinds that are about money.
pub const MONEY_KINDS: &[&str] = &[
    "payment_succeeded",
    "payment_failed",
    "payment_received",
    "refund",
    "dispute_opened",
    "subscription_started",
    "subscription_cancelled",
    "invoice_paid",
    "invoice_failed",
    "payout_paid",
    "payout_failed",
    "checkout_completed",
    "order_created",
    "order_placed",
    "order_paid",
    "order_cancelled",
];

/// Every key that a normaliser may put into [`Event::extra`](crate::event::Event::extra).
pub const FACTS: &[&str] = &[
    "action",
    "alert_severity",
    "amount",
    "app",
    "assignee",
    "attempt",
    "author",
    "branch",
    "category",
    "channel",
    "command",
    "commit",
    "commits",
    "conclusion",
    "count",
    "currency",
    "customer",
    "draft",
    "duration_s",
    "email",
    "environment",
    "forced",
    "fork",
    "forks",
    "from",
    "head_branch",
    "host",
    "labels",
    "live",
    "member",
    "merged_by",
    "number",
    "package",
    "paths",
    "prerelease",
    "reaction",
    "reason",
    "reviewer",
    "run",
    "sha",
    "stars",
    "status",
    "tag",
    "text",
    "to",
    "type",
    "workflow",
];

/// What a kind usually means; a normaliser may know better.
pub(crate) fn severity(kind: &str) -> Severity {
    MEANINGS.iter().find(|(name, _)| *name == kind).map_or(Info, |(_, severity)| *severity)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_and_facts_are_words_of_their_own() {
        let is_word = |word: &&str| word.chars().all(|c| c.is_ascii_lowercase() || c == '_') && !word.is_empty();
        for list in [KINDS, FACTS] {
            assert!(list.iter().all(is_word));
            let unique: std::collections::BTreeSet<_> = list.iter().collect();
            assert_eq!(unique.len(), list.len());
        }
        assert!(FACTS.is_sorted());
        assert!(MONEY_KINDS.iter().all(|kind| KINDS.contains(kind)));
    }
}
