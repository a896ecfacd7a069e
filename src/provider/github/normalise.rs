//! From GitHub's event and action to hookbell's kind. Owns the table of what is told and the reasons for the rest;
//! the tellers (`talk`, `code`, `people`, `security`) fill in the words.

use std::borrow::Cow;

use crate::headers::Headers;
use crate::provider::{
    Normalised,
    forge::{Told, not_told},
    json::Json,
    read,
    rules::Context,
};

use super::common::finish;
use super::{code, people, security, talk};

/// Reads the payload, then decides. Undecodable comes first, whatever the event: a ping that is not JSON is broken too.
pub(super) fn normalise(context: &Context<'_>, event_type: &str, headers: &Headers, body: &[u8]) -> Normalised {
    let Some(json) = decode(headers, body) else {
        return Normalised::Undecodable("the body is a form without the field payload".to_owned());
    };
    let body = match Json::object(&json) {
        Ok(body) => body,
        Err(why) => return Normalised::Undecodable(why),
    };
    match tell(event_type, &body) {
        Ok(draft) => Normalised::Events(vec![finish(draft, context, &body)]),
        Err(why) => Normalised::Skipped(why),
    }
}

fn tell(event_type: &str, body: &Json<'_>) -> Told {
    let action = body["action"].text().unwrap_or_default();
    match (event_type, action) {
        ("ping", _) => Err("ping: GitHub reached us".to_owned()),

        ("issues", "opened") => Ok(talk::issue("issue_opened", body)),
        ("issues", "closed") => Ok(talk::issue("issue_closed", body)),
        ("issues", "reopened") => Ok(talk::issue("issue_reopened", body)),
        ("issues", "assigned") => Ok(talk::issue("issue_assigned", body)),
        ("issue_comment", "created") => Ok(talk::comment(body)),
        ("discussion", "created") => Ok(talk::discussion(body)),

        ("pull_request", "opened") => Ok(talk::pull_request("pr_opened", body)),
        ("pull_request", "ready_for_review") => Ok(talk::pull_request("pr_ready", body)),
        ("pull_request", "closed") => Ok(talk::pull_request_closed(body)),
        ("pull_request", "reopened") => Ok(talk::pull_request("pr_reopened", body)),
        ("pull_request", "review_requested") => Ok(talk::pull_request("pr_review_requested", body)),
        ("pull_request_review", "submitted") => talk::review(body),
        ("pull_request_review_comment", "created") => Ok(talk::review_comment(body)),

        // One star comes as both; `repo_watched` is in no default set.
        ("star", "created") => Ok(people::starred("repo_starred", body)),
        ("watch", "started") => Ok(people::starred("repo_watched", body)),
        ("fork", _) => Ok(people::forked(body)),
        ("member", "added") | ("organization", "member_added") => Ok(people::member_added(body)),

        ("push", _) => code::push(body),
        ("create", _) => code::branch("branch_created", body),
        ("delete", _) => code::branch("branch_deleted", body),
        ("release", "published") => Ok(code::release(body)),
        ("workflow_run", "completed") => code::workflow_run(body),
        ("check_suite", "completed") => code::check_suite(body),
        ("deployment_status", "created") => code::deployment_status(body),
        // A failed run would make one message per job, per check and per commit status on top of the run's own.
        ("workflow_job" | "check_run" | "status", _) => {
            Err(format!("{event_type}: a part of a run, whose workflow_run or check_suite is told"))
        }

        ("dependabot_alert", "created" | "reopened" | "auto_reopened" | "reintroduced") => {
            Ok(security::dependabot(body))
        }
        ("code_scanning_alert", "created" | "reopened" | "reopened_by_user" | "appeared_in_branch") => {
            Ok(security::code_scanning(body))
        }
        ("secret_scanning_alert", "created" | "reopened" | "publicly_leaked") => Ok(security::secret_scanning(body)),
        ("repository_vulnerability_alert", "create" | "reopen") => Ok(security::vulnerability(body)),
        ("repository_advisory", "reported") => Ok(security::advisory(body)),
        ("security_advisory", _) => Err("security_advisory: about all of GitHub, not about a repository".to_owned()),

        _ => Err(not_told(event_type, Some(action))),
    }
}

/// The JSON: the body, or a form's field `payload` (docs.github.com, "Webhook content types").
fn decode<'b>(headers: &Headers, body: &'b [u8]) -> Option<Cow<'b, [u8]>> {
    if !read::is_form(headers) {
        return Some(Cow::Borrowed(body));
    }
    let (_, json) = form_urlencoded::parse(body).find(|(name, _)| name == "payload")?;
    Some(match json {
        Cow::Borrowed(json) => Cow::Borrowed(json.as_bytes()),
        Cow::Owned(json) => Cow::Owned(json.into_bytes()),
    })
}
