//! GitHub's own names of what happens, each with what `normalise` can make of it: what a webhook has to tell for a rule to have
//! something to match. Tests hold the table against `normalise`, both ways.

/// `(event, kinds, where)`. Source: docs.github.com, "Webhook events and payloads", each event's "Availability".
pub(crate) const EVENTS: &[(&str, &[&str], Offered)] = &[
    ("check_suite", &["ci_failed", "ci_passed"], Offered::Everywhere),
    ("code_scanning_alert", &["security_alert"], Offered::Everywhere),
    ("create", &["branch_created"], Offered::Everywhere),
    ("delete", &["branch_deleted"], Offered::Everywhere),
    ("dependabot_alert", &["security_alert"], Offered::Everywhere),
    ("deployment_status", &["deployment_failed", "deployment_succeeded"], Offered::Everywhere),
    ("discussion", &["discussion_opened"], Offered::Everywhere),
    ("fork", &["repo_forked"], Offered::Everywhere),
    ("issue_comment", &["issue_commented", "pr_commented"], Offered::Everywhere),
    ("issues", &["issue_opened", "issue_closed", "issue_reopened", "issue_assigned"], Offered::Everywhere),
    ("member", &["member_added"], Offered::Everywhere),
    ("organization", &["member_added"], Offered::ByOrganisations),
    (
        "pull_request",
        &["pr_opened", "pr_ready", "pr_merged", "pr_closed", "pr_reopened", "pr_review_requested"],
        Offered::Everywhere,
    ),
    ("pull_request_review", &["pr_approved", "pr_changes_requested", "pr_commented"], Offered::Everywhere),
    ("pull_request_review_comment", &["pr_commented"], Offered::Everywhere),
    ("push", &["push"], Offered::Everywhere),
    ("release", &["release_published"], Offered::Everywhere),
    ("repository_advisory", &["security_alert"], Offered::Everywhere),
    // With `dependabot_alert` beside it, which tells the same, every alert would come twice.
    ("repository_vulnerability_alert", &["security_alert"], Offered::Doubly),
    ("secret_scanning_alert", &["security_alert"], Offered::Everywhere),
    ("star", &["repo_starred"], Offered::Everywhere),
    ("watch", &["repo_watched"], Offered::Everywhere),
    ("workflow_run", &["ci_failed", "ci_passed"], Offered::Everywhere),
];

/// Whose webhooks can be asked for an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offered {
    /// Those of repositories and of organisations.
    Everywhere,
    /// Those of organisations alone: a repository's is refused for it.
    ByOrganisations,
    /// It is read where it comes, and there is no need to ask for it.
    Doubly,
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use serde_json::{Value, json};

    use super::*;
    use crate::{
        event::CI_FIXED,
        headers::Headers,
        provider::{
            Context, KINDS, MONEY_KINDS, Normalised, Options, Provider,
            github::{normalise, sample},
            vectors,
        },
    };

    fn row(event: &str) -> BTreeSet<&'static str> {
        EVENTS.iter().filter(|row| row.0 == event).flat_map(|row| row.1.iter().copied()).collect()
    }

    /// What comes of a payload.
    fn kinds(event: &str, body: &[u8], is_form: bool) -> Vec<String> {
        let content_type = if is_form { "application/x-www-form-urlencoded" } else { "application/json" };
        let headers: Headers = [("Content-Type", content_type.as_bytes())].into_iter().collect();
        let context = Context { provider: Provider::GitHub, source: "github", options: &Options::NONE };
        match normalise::normalise(&context, event, &headers, body) {
            Normalised::Events(events) | Normalised::Partly { events, .. } => {
                events.into_iter().map(|event| event.kind).collect()
            }
            Normalised::Skipped(_) | Normalised::Undecodable(_) => Vec::new(),
        }
    }

    /// All that decides what an event is, in every combination: what becomes of each event of GitHub's.
    fn all_that_can_come() -> BTreeMap<&'static str, BTreeSet<String>> {
        // GitHub's events that are no row, so that one that is told later is missed here.
        const OTHERS: &[&str] = &[
            "ping",
            "check_run",
            "workflow_job",
            "status",
            "security_advisory",
            "commit_comment",
            "deployment",
            "gollum",
            "label",
            "membership",
            "meta",
            "milestone",
            "public",
            "repository",
            "team",
            "page_build",
            "installation",
            "discussion_comment",
            "merge_group",
            "pull_request_review_thread",
            "workflow_dispatch",
            "sub_issues",
            "deploy_key",
            "package",
            "org_block",
            "secret_scanning_alert_location",
            "branch_protection_rule",
        ];
        const ACTIONS: &[&str] = &[
            "",
            "added",
            "appeared_in_branch",
            "assigned",
            "auto_reopened",
            "closed",
            "completed",
            "create",
            "created",
            "deleted",
            "edited",
            "member_added",
            "opened",
            "published",
            "publicly_leaked",
            "ready_for_review",
            "reintroduced",
            "released",
            "reopen",
            "reopened",
            "reopened_by_user",
            "reported",
            "requested",
            "review_requested",
            "started",
            "submitted",
            "synchronize",
            "fixed",
            "dismissed",
            "resolved",
            "removed",
        ];
        const OUTCOMES: &[&str] = &[
            "success",
            "failure",
            "error",
            "timed_out",
            "startup_failure",
            "neutral",
            "cancelled",
            "approved",
            "changes_requested",
            "commented",
            "pending",
            "in_progress",
        ];
        let mut found: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
        for event in EVENTS.iter().map(|row| row.0).chain(OTHERS.iter().copied()) {
            for action in ACTIONS {
                for outcome in OUTCOMES {
                    for flag in [true, false] {
                        let page = if flag { json!({}) } else { Value::Null };
                        let body = json!({ "action": action, "issue": { "number": 1, "pull_request": page },
                            "pull_request": { "number": 1, "merged": flag }, "review": { "state": outcome, "body": "x" },
                            "ref": "refs/heads/x", "ref_type": "branch", "commits": [{}], "head_commit": {},
                            "workflow_run": { "conclusion": outcome }, "check_suite": { "conclusion": outcome },
                            "deployment_status": { "state": outcome }, "deployment": {}, "alert": { "number": 1 },
                            "release": {}, "discussion": {}, "repository_advisory": {}, "forkee": {}, "comment": {} });
                        let kinds = kinds(event, body.to_string().as_bytes(), false);
                        found.entry(event).or_default().extend(kinds);
                    }
                }
            }
        }
        found
    }

    #[test]
    fn the_table_is_what_normalise_tells() {
        for (event, found) in all_that_can_come() {
            let found: BTreeSet<&str> = found.iter().map(String::as_str).collect();
            assert_eq!(row(event), found, "{event}");
        }
    }

    #[test]
    fn samples_and_recorded_payloads_are_in_their_row() {
        let check = |event: &str, body: &[u8], is_form: bool, what: &str| {
            for kind in kinds(event, body, is_form) {
                assert!(row(event).contains(kind.as_str()), "{what}: {event} became {kind}");
            }
        };
        for (name, _) in sample::LIST {
            let sample = sample::build(name, 1).expect("it is listed");
            check(&sample.event_type, &sample.body, false, name);
        }
        for case in vectors::cases("payloads/manifest.json", "files", "github") {
            let (file, event) = (case["file"].as_str().expect("a file"), case["event"].as_str().expect("an event"));
            let body = vectors::bytes(file);
            check(event, &body, body.starts_with(b"payload="), file);
        }
    }

    #[test]
    fn every_kind_of_code_is_in_a_row_and_each_event_has_one() {
        let told: BTreeSet<&str> = EVENTS.iter().flat_map(|row| row.1.iter().copied()).collect();
        let code = KINDS.iter().copied().take_while(|kind| !MONEY_KINDS.contains(kind));
        // What was red before is for the router to know.
        assert_eq!(told, code.filter(|kind| *kind != CI_FIXED).collect());
        assert!(EVENTS.is_sorted_by(|one, other| one.0 < other.0), "GitHub's own order, to be compared with");
    }
}
