//! Many events in one message. Owns the plurals, the grouping and what is left out; refuses to know blocks and HTTP.
//! Pure. To add a kind: one row in `MANY`.

use super::{mrkdwn, wording};
use crate::event::{Event, NO_TITLE, SOMEONE, UNKNOWN_REPOSITORY};

/// Names that a group shows; the rest are counted.
const NAMES_MAX: usize = 5;
const TITLE_UNITS_MAX: usize = 80;
/// Room for what says that more has happened.
const MORE_UNITS: usize = 40;

/// What tells the events of a group apart.
#[derive(Clone, Copy)]
enum By {
    Actor,
    Title,
}

/// Kinds, what many of them are called behind their number, and by what they are told apart.
const MANY: &[(&str, &str, By)] = &[
    ("issue_opened", "issues opened", By::Title),
    ("issue_closed", "issues closed", By::Title),
    ("issue_reopened", "issues reopened", By::Title),
    ("issue_assigned", "issues assigned", By::Title),
    ("issue_commented", "comments on issues", By::Title),
    ("pr_opened", "pull requests opened", By::Title),
    ("pr_ready", "pull requests ready for review", By::Title),
    ("pr_closed", "pull requests closed", By::Title),
    ("pr_merged", "pull requests merged", By::Title),
    ("pr_reopened", "pull requests reopened", By::Title),
    ("pr_review_requested", "review requests", By::Title),
    ("pr_approved", "approvals", By::Title),
    ("pr_changes_requested", "requests for changes", By::Title),
    ("pr_commented", "comments on pull requests", By::Title),
    ("repo_starred", "stars", By::Actor),
    ("repo_forked", "forks", By::Actor),
    ("repo_watched", "watchers", By::Actor),
    ("push", "pushes", By::Actor),
    ("branch_created", "branches created", By::Title),
    ("branch_deleted", "branches deleted", By::Title),
    ("release_published", "releases published", By::Title),
    ("ci_failed", "failed runs", By::Title),
    ("ci_passed", "passed runs", By::Title),
    ("ci_fixed", "repaired runs", By::Title),
    ("deployment_failed", "failed deployments", By::Title),
    ("deployment_succeeded", "deployments", By::Title),
    ("discussion_opened", "discussions opened", By::Title),
    ("security_alert", "security alerts", By::Title),
    ("member_added", "members added", By::Title),
    ("payment_succeeded", "payments succeeded", By::Title),
    ("payment_received", "payments received", By::Title),
    ("payment_failed", "payments failed", By::Title),
    ("refund", "refunds", By::Title),
    ("dispute_opened", "disputes opened", By::Title),
    ("subscription_started", "subscriptions started", By::Title),
    ("subscription_cancelled", "subscriptions cancelled", By::Title),
    ("invoice_paid", "invoices paid", By::Title),
    ("invoice_failed", "invoices not collected", By::Title),
    ("payout_paid", "payouts arrived", By::Title),
    ("payout_failed", "payouts failed", By::Title),
    ("checkout_completed", "checkouts completed", By::Title),
    ("order_created", "new orders", By::Title),
    ("order_placed", "orders placed", By::Title),
    ("order_paid", "orders paid", By::Title),
    ("order_cancelled", "orders cancelled", By::Title),
    ("message", "messages", By::Actor),
    ("message_received", "messages received", By::Actor),
    ("app_mention", "mentions", By::Actor),
    ("command", "commands", By::Title),
    ("interaction", "interactions", By::Actor),
    ("reaction_added", "reactions", By::Actor),
    ("channel_created", "channels created", By::Title),
    ("member_joined", "members joined", By::Actor),
    ("sms_received", "text messages received", By::Actor),
    ("sms_failed", "text messages failed", By::Title),
    ("call_completed", "calls completed", By::Title),
    ("call_missed", "calls missed", By::Title),
    ("email_delivered", "emails delivered", By::Title),
    ("email_opened", "emails opened", By::Title),
    ("email_clicked", "links in emails clicked", By::Title),
    ("email_bounced", "emails bounced", By::Title),
    ("email_dropped", "emails dropped", By::Title),
    ("email_spam", "emails reported as spam", By::Title),
    ("email_unsubscribed", "people unsubscribed", By::Title),
    ("alert_firing", "alerts firing", By::Title),
    ("alert_resolved", "alerts resolved", By::Title),
    ("incident_acknowledged", "incidents acknowledged", By::Title),
    ("created", "things created", By::Title),
    ("updated", "things updated", By::Title),
    ("deleted", "things deleted", By::Title),
    ("user_signup", "new users", By::Title),
    ("status_changed", "changes of status", By::Title),
    ("custom", "events", By::Title),
];

/// Events of one kind in one place.
struct Group<'e> {
    first: &'e Event,
    events: Vec<&'e Event>,
}

/// How many there are, and a line for each kind in each repository, in the order of first appearance. Together they fit
/// into one section ([`wording::UNITS_MAX`]); what does not is counted.
pub fn digest(events: &[&Event]) -> Vec<String> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for event in events {
        let is_same =
            |group: &&mut Group<'_>| (&group.first.kind, &group.first.repository) == (&event.kind, &event.repository);
        match groups.iter_mut().find(is_same) {
            Some(group) => group.events.push(event),
            None => groups.push(Group { first: event, events: vec![event] }),
        }
    }
    let heading = format!("*{} events*", events.len());
    fit(vec![heading], groups.iter().map(|group| (group.line(), group.events.len())), events.len())
}

/// A line for each, as far as they fit.
pub fn each(events: &[&Event]) -> Vec<String> {
    fit(Vec::new(), events.iter().map(|event| (wording::line(event), 1)), events.len())
}

/// `ada, bob and 3 more`: each name once, at most `names_max` of them.
pub(super) fn list(names: impl Iterator<Item = String>, names_max: usize) -> String {
    let mut unique: Vec<String> = Vec::new();
    let mut seen = std::collections::BTreeSet::new();
    for name in names {
        if seen.insert(name.clone()) && !name.is_empty() {
            unique.push(name);
        }
    }
    let more = unique.len().saturating_sub(names_max);
    unique.truncate(names_max);
    match more {
        0 => unique.join(", "),
        more => format!("{} and {more} more", unique.join(", ")),
    }
}

/// Adds lines, each of so many events, as long as they fit.
fn fit(mut lines: Vec<String>, more: impl Iterator<Item = (String, usize)>, mut left: usize) -> Vec<String> {
    let units = |line: &String| line.encode_utf16().count() + 1;
    let mut used: usize = lines.iter().map(units).sum();
    for (line, count) in more {
        used += units(&line);
        if used + MORE_UNITS > wording::UNITS_MAX {
            break;
        }
        left -= count;
        lines.push(line);
    }
    match left {
        0 => {}
        1 => lines.push("and 1 more event".to_owned()),
        left => lines.push(format!("and {left} more events")),
    }
    lines
}

impl Group<'_> {
    fn line(&self) -> String {
        // One of a kind is said as if it were alone.
        let count = self.events.len();
        if count == 1 {
            return wording::line(self.first);
        }
        let Event { kind, repository, .. } = self.first;
        let repository = mrkdwn::text(repository, wording::REPOSITORY_UNITS_MAX);
        let repository = if repository.is_empty() { UNKNOWN_REPOSITORY.to_owned() } else { repository };
        let emoji = wording::emoji(self.first);
        let Some((_, many, by)) = MANY.iter().find(|(name, ..)| name == kind) else {
            return format!("{emoji} {repository}: {count} × {}", mrkdwn::text(kind, wording::ACTOR_UNITS_MAX));
        };
        match list(self.events.iter().map(|event| by.name(event)), NAMES_MAX) {
            names if names.is_empty() => format!("{emoji} {repository}: {count} {many}"),
            names => format!("{emoji} {repository}: {count} {many} ({names})"),
        }
    }
}

impl By {
    /// Empty where nobody knows.
    fn name(self, event: &Event) -> String {
        match self {
            By::Actor if event.actor == SOMEONE => String::new(),
            By::Actor => mrkdwn::text(&event.actor, wording::ACTOR_UNITS_MAX),
            By::Title if event.title == NO_TITLE => wording::number(event).trim_end().to_owned(),
            By::Title => wording::number(event) + &mrkdwn::text(&event.title, TITLE_UNITS_MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{event::Fact, provider::KINDS};

    fn star(actor: &str) -> Event {
        Event { actor: actor.to_owned(), ..Event::of("repo_starred") }
    }

    fn pull(number: i64, title: &str) -> Event {
        let mut event = Event { title: title.to_owned(), ..Event::of("pr_opened") };
        event.extra.insert("number".to_owned(), Fact::Number(number));
        event
    }

    fn lines(events: &[Event]) -> Vec<String> {
        digest(&events.iter().collect::<Vec<_>>())
    }

    #[test]
    fn events_are_grouped_in_the_order_of_first_appearance() {
        let mut events = vec![star("ada"), pull(1, "One"), star("bob"), pull(2, "Two"), pull(3, "*Three*")];
        events.extend(["ada", "carol", "dora", "emil", "fritz", "gert", "hugo"].map(star));
        events.push(Event { repository: "acme/web".to_owned(), ..star("ada") });
        events.extend([Event::of("brand_new"), Event::of("brand_new"), star(SOMEONE)]);
        assert_eq!(
            lines(&events),
            [
                "*16 events*",
                "⭐\u{fe0f} acme/api: 10 stars (ada, bob, carol, dora, emil and 3 more)",
                "🔀 acme/api: 3 pull requests opened (#1 One, #2 Two, #3 ∗Three∗)",
                "⭐\u{fe0f} Repository *acme/web* was starred by @ada",
                "ℹ\u{fe0f} acme/api: 2 × brandˍnew".replace('ˍ', "_").as_str(),
            ]
        );
        let nameless = Event { title: NO_TITLE.to_owned(), ..Event::of("order_paid") };
        assert_eq!(lines(&[nameless.clone(), nameless])[1], "💵 acme/api: 2 orders paid");
    }

    #[test]
    fn every_kind_has_its_plural_once() {
        for kind in KINDS {
            let named = MANY.iter().filter(|(name, ..)| name == kind).count();
            assert_eq!(named, 1, "{kind}");
            let two = [Event::of(kind), Event::of(kind)];
            assert!(!lines(&two)[1].contains('×'), "{kind}");
        }
    }

    #[test]
    fn what_does_not_fit_is_counted() {
        for filler in ["x", "&", "🎉"] {
            let event =
                |number: i64| Event { repository: format!("acme/{number}"), ..pull(number, &filler.repeat(100_000)) };
            let events: Vec<Event> = (0..200).flat_map(|number| [event(number), event(number)]).collect();
            for said in [digest(&events.iter().collect::<Vec<_>>()), each(&events.iter().collect::<Vec<_>>())] {
                let units = said.join("\n").encode_utf16().count();
                assert!((2_000..=wording::UNITS_MAX).contains(&units), "{units}");
                assert!(said.last().unwrap().ends_with(" more events"), "{said:?}");
            }
            let said = digest(&events.iter().collect::<Vec<_>>());
            let told = 2 * (said.len() - 2);
            assert_eq!(said.last(), Some(&format!("and {} more events", 400 - told)));
        }
        let few = [pull(1, "One"), pull(2, "Two")];
        assert_eq!(each(&few.iter().collect::<Vec<_>>()).len(), 2);
    }
}
