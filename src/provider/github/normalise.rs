//! From GitHub's event and action to hookbell's kind. Owns the table of what is told and the reasons for the rest;
//! the tellers (`talk`, `code`, `people`, `security`) fill in the words.

use crate::headers::Headers;
use crate::provider::Normalised;

use super::draft::{Draft, clean};
use super::payload::Payload;
use super::{code, people, security, talk};

/// What a teller makes of a payload: an event, or the reason why it is not told.
pub(super) type Told = Result<Draft, String>;

/// Reads the payload, then decides. Undecodable comes first, whatever the event: a ping that is not JSON is broken too.
pub(in crate::provider) fn normalise(source: &str, event_type: &str, headers: &Headers, body: &[u8]) -> Normalised {
    let payload = match decode(headers, body) {
        Ok(payload) => payload,
        Err(why) => return Normalised::Undecodable(why),
    };
    match tell(event_type, &payload) {
        Ok(draft) => Normalised::Events(vec![draft.finish(source, &payload)]),
        Err(why) => Normalised::Skipped(why),
    }
}

fn tell(event_type: &str, payload: &Payload) -> Told {
    let action = payload.action.as_deref().unwrap_or_default();
    match (event_type, action) {
        ("ping", _) => Err("ping: GitHub reached us".to_owned()),

        ("issues", "opened") => Ok(talk::issue("issue_opened", payload)),
        ("issues", "closed") => Ok(talk::issue("issue_closed", payload)),
        ("issues", "reopened") => Ok(talk::issue("issue_reopened", payload)),
        ("issues", "assigned") => Ok(talk::issue("issue_assigned", payload)),
        ("issue_comment", "created") => Ok(talk::comment(payload)),
        ("discussion", "created") => Ok(talk::discussion(payload)),

        ("pull_request", "opened") => Ok(talk::pull_request("pr_opened", payload)),
        ("pull_request", "ready_for_review") => Ok(talk::pull_request("pr_ready", payload)),
        ("pull_request", "closed") => Ok(talk::pull_request_closed(payload)),
        ("pull_request", "reopened") => Ok(talk::pull_request("pr_reopened", payload)),
        ("pull_request", "review_requested") => Ok(talk::pull_request("pr_review_requested", payload)),
        ("pull_request_review", "submitted") => talk::review(payload),
        ("pull_request_review_comment", "created") => Ok(talk::review_comment(payload)),

        // One star comes as both; `repo_watched` is in no default set.
        ("star", "created") => Ok(people::starred("repo_starred", payload)),
        ("watch", "started") => Ok(people::starred("repo_watched", payload)),
        ("fork", _) => Ok(people::forked(payload)),
        ("member", "added") | ("organization", "member_added") => Ok(people::member_added(payload)),

        ("push", _) => code::push(payload),
        ("create", _) => code::branch("branch_created", payload),
        ("delete", _) => code::branch("branch_deleted", payload),
        ("release", "published") => Ok(code::release(payload)),
        ("workflow_run", "completed") => code::workflow_run(payload),
        ("check_suite", "completed") => code::check_suite(payload),
        ("deployment_status", "created") => code::deployment_status(payload),
        // A failed run would make one message per job, per check and per commit status on top of the run's own.
        ("workflow_job" | "check_run" | "status", _) => {
            Err(format!("{event_type}: a part of a run, whose workflow_run or check_suite is told"))
        }

        ("dependabot_alert", "created" | "reopened" | "auto_reopened" | "reintroduced") => {
            Ok(security::dependabot(payload))
        }
        ("code_scanning_alert", "created" | "reopened" | "reopened_by_user" | "appeared_in_branch") => {
            Ok(security::code_scanning(payload))
        }
        ("secret_scanning_alert", "created" | "reopened" | "publicly_leaked") => Ok(security::secret_scanning(payload)),
        ("repository_vulnerability_alert", "create" | "reopen") => Ok(security::vulnerability(payload)),
        ("repository_advisory", "reported") => Ok(security::advisory(payload)),
        ("security_advisory", _) => Err("security_advisory: about all of GitHub, not about a repository".to_owned()),

        _ => Err(not_told(event_type, action)),
    }
}

fn not_told(event_type: &str, action: &str) -> String {
    match clean(action) {
        Some(action) => format!("{event_type}.{action} is not an event we tell about"),
        None => format!("{event_type} is not an event we tell about"),
    }
}

/// The payload of a JSON body, or of a form's field `payload` (docs.github.com, "Webhook content types").
fn decode(headers: &Headers, body: &[u8]) -> Result<Payload, String> {
    let content_type = headers.text("content-type").unwrap_or_default();
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    if !media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return decode_json(body);
    }
    let (_, json) = form_urlencoded::parse(body)
        .find(|(name, _)| name == "payload")
        .ok_or_else(|| "the body is a form without the field payload".to_owned())?;
    decode_json(json.as_bytes())
}

fn decode_json(body: &[u8]) -> Result<Payload, String> {
    // An object by its first byte: serde would also fill the fields from an array. serde_json stops at 128 levels, so
    // depth cannot exhaust the stack.
    match body.trim_ascii_start().first() {
        Some(b'{') => {
            serde_json::from_slice(body).map_err(|error| format!("the body is not JSON that we can read: {error}"))
        }
        Some(_) => Err("the body is not a JSON object".to_owned()),
        None => Err("the body is empty".to_owned()),
    }
}
