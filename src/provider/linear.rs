//! Linear: `Linear-Signature`, a hexadecimal HMAC-SHA256 of the raw body, and then `webhookTimestamp` in that body, which
//! must be now. The `Linear-Timestamp` header is not signed and not read. A delivery is `Linear-Delivery`, `type` and
//! `action`.
//!
//! Source of the rules: linear.app/developers/webhooks, and the official library (@linear/sdk).

use std::time::Duration;

use serde_json::Value;

use crate::{headers::Headers, time::Timestamp};

use super::{
    Context, Identity, Normalised, Rejection, Signing, Terms, Unverified,
    draft::{Draft, clean},
    forge::{Told, first_name, not_told},
    json::{self, Json},
    read::{self, Window},
    rules::Rules,
    sample::{Sample, Seed, fill},
    signature::{self, Algorithm},
};

const SIGNATURE: &str = "Linear-Signature";
const DELIVERY: &str = "Linear-Delivery";
const EVENT: &str = "Linear-Event";
/// Milliseconds since the epoch, when this attempt was sent.
const SENT_AT: &str = "webhookTimestamp";

/// The library's own; `tolerance` overrides it.
const TOLERANCE: Duration = Duration::from_secs(60);

pub(super) const RULES: Rules = Rules {
    name: "linear",
    options: &["tolerance"],
    admit: |_, headers| signature_of(headers).map(|_| ()),
    judge,
    identify,
    normalise,
    samples: SAMPLES,
    build,
    envelope,
    sign,
    ..Rules::COMMON
};

/// The signature first, then the time that it covers; without one nothing tells an old request from a new one.
fn judge(terms: &Terms, request: &Unverified, now: Timestamp) -> Result<usize, Rejection> {
    let signature = signature_of(&request.headers)?;
    let by = signature::signed_by(&terms.secrets, Algorithm::Sha256, &[&request.body], &[signature])
        .ok_or(Rejection::SignatureWrong)?;
    let tolerance = terms.tolerance(TOLERANCE);
    if tolerance.is_zero() {
        return Ok(by);
    }
    let [sent_at] = json::values(&request.body, ["/webhookTimestamp"]);
    let sent_at =
        sent_at.whole().ok_or(Rejection::malformed(SENT_AT, "the body has no such time in whole milliseconds"))?;
    read::within(Timestamp::from_ms(sent_at), now, tolerance, Window::Both)?;
    Ok(by)
}

fn signature_of(headers: &Headers) -> Result<Vec<u8>, Rejection> {
    read::hex(read::proof(headers, SIGNATURE)?)
        .filter(|digest| digest.len() == Algorithm::Sha256.bytes())
        .ok_or_else(|| Rejection::malformed(SIGNATURE, "it is not 64 lower-case hexadecimal digits"))
}

/// `Issue.update`: the type and the action of the signed body; the header has the type alone.
fn identify(_: &Terms, request: &Unverified) -> Result<Identity, Rejection> {
    let [kind, action] = json::values(&request.body, ["/type", "/action"]);
    let kind = kind.text().map(str::to_owned).or_else(|| read::optional_identity(&request.headers, EVENT));
    let event_type = match (kind, action.text()) {
        (Some(kind), Some(action)) => Some(format!("{kind}.{action}")),
        (kind, _) => kind,
    };
    let id = read::optional_identity(&request.headers, DELIVERY);
    Ok(Identity { id, ..Identity::of(event_type.as_deref(), None) })
}

fn normalise(context: &Context<'_>, event_type: &str, _: &Headers, body: &[u8]) -> Normalised {
    let body = match Json::object(body) {
        Ok(body) => body,
        Err(why) => return Normalised::Undecodable(why),
    };
    let action = body["action"].text();
    let kind = body["type"].text().or(event_type.split('.').next()).unwrap_or_default();
    let told = match kind {
        "Issue" => issue(&body),
        "Comment" => comment(&body),
        other => Err(not_told(other, action)),
    };
    match told {
        Ok(draft) => Normalised::Events(vec![
            draft
                .text("action", action)
                .text("type", Some(kind))
                .actor(name(&body["actor"]))
                .actor(name(&body["data"]["user"]))
                .finish(context),
        ]),
        Err(why) => Normalised::Skipped(why),
    }
}

fn issue(body: &Json<'_>) -> Told {
    // The fields that an update changed, as they were before; a null means that there was nothing.
    let (issue, before) = (&body["data"], &body["updatedFrom"]);
    let is_closed = matches!(issue["state"]["type"].text(), Some("completed" | "canceled" | "duplicate"));
    let was_closed = ["completedAt", "canceledAt"].into_iter().any(|end| !matches!(before[end], Json::Null));
    let has_changed = |field: &str| before.fields().any(|(name, _)| name == field);
    let is_assigned = has_changed("assigneeId") && issue["assignee"].is_object();
    let kind = match body["action"].text() {
        Some("create") => "issue_opened",
        Some("update") if is_closed && has_changed("stateId") && !was_closed => "issue_closed",
        Some("update") if !is_closed && was_closed => "issue_reopened",
        Some("update") if is_assigned => "issue_assigned",
        action => return Err(not_told("Issue", action)),
    };
    let draft = about(Draft::new(kind), issue, issue["identifier"].text());
    Ok(draft.title(issue["title"].text()).url([body["url"].text(), issue["url"].text()]))
}

fn comment(body: &Json<'_>) -> Told {
    let action = body["action"].text();
    if action != Some("create") {
        return Err(not_told("Comment", action));
    }
    let comment = &body["data"];
    let issue = &comment["issue"];
    if !issue.is_object() && comment["issueId"].text().is_none() {
        return Err("Comment: on something that is no issue".to_owned());
    }
    let page = body["url"].text().or(comment["url"].text());
    // Without the issue itself its page still names it: …/issue/LIN-1778/title#comment-….
    let of_page = page.and_then(|url| url.split_once("/issue/")?.1.split(['/', '#', '?']).next());
    let identifier = issue["identifier"].text().or(of_page).filter(|name| name.contains('-'));
    let title = first_name([issue["title"].text(), identifier, comment["body"].text()]);
    Ok(about(Draft::new("issue_commented"), comment, identifier).title(title).url([page]))
}

/// `LIN-1778` is what everybody calls an issue: the team's key and the number in it. `data` is it or a comment.
fn about(draft: Draft, data: &Json<'_>, identifier: Option<&str>) -> Draft {
    let parts = identifier.and_then(|identifier| identifier.rsplit_once('-'));
    let team = data["team"]["key"].text().or(parts.map(|(team, _)| team));
    let number = data["number"].whole().or_else(|| parts.and_then(|(_, number)| number.parse().ok()));
    draft
        .repository(team.or(name(&data["project"])).or(Some("linear")))
        .subject(identifier.and_then(clean))
        .number("number", number)
        .list("labels", data["labels"].items().iter().filter_map(name))
        .text("assignee", name(&data["assignee"]))
        .text("status", name(&data["state"]))
}

/// A person's, a project's, a label's or a state's.
fn name<'a>(named: &'a Json<'_>) -> Option<&'a str> {
    named["name"].text()
}

const SAMPLES: &[(&str, &str)] = &[
    ("issue_opened", "somebody files an issue"),
    ("issue_closed", "an issue is done"),
    ("issue_reopened", "an issue is taken up again"),
    ("issue_assigned", "somebody gets an issue"),
    ("issue_commented", "somebody comments on an issue"),
    ("project_updated", "a project is changed, which is not told"),
];

const BODY: &str = r#"{
    "action":"$action","actor":{"id":"$actor","name":"$actor_name","type":"user"},"data":$data,
    "updatedFrom":$before,"url":"$page","type":"$type","organizationId":"4815162a-0000-4000-8000-000000000001"
}"#;

const ISSUE: &str = r#"{
    "id":"$issue","number":$number,"title":"$title","priority":2,"identifier":"DESK-$number","url":"$page",
    "assignee":{"name":"$assignee"},"state":$state,"team":{"key":"DESK","name":"Desk"},
    "labels":[{"name":"enhancement"}]
}"#;

const TODO: &str = r#"{"name":"Todo","type":"unstarted"}"#;
const IN_PROGRESS: &str = r#"{"name":"In Progress","type":"started"}"#;
const DONE: &str = r#"{"name":"Done","type":"completed"}"#;

const COMMENT: &str = r#"{
    "id":"$comment","body":"Seen on the second desk.","issueId":"$issue",
    "issue":{"title":"$title","identifier":"DESK-$number"}
}"#;

const PROJECT: &str = r#"{"id":"$project","name":"Brighter desks"}"#;

const WAS_OPEN: &str = r#"{"stateId":"$state_id","completedAt":null}"#;
const WAS_DONE: &str = r#"{"stateId":"$state_id","completedAt":"2026-11-21T10:00:00.000Z"}"#;

fn build(name: &str, salt: u64) -> Option<Sample> {
    let (kind, action, data, state, before) = match name {
        "issue_opened" => ("Issue", "create", ISSUE, TODO, "null"),
        "issue_closed" => ("Issue", "update", ISSUE, DONE, WAS_OPEN),
        "issue_reopened" => ("Issue", "update", ISSUE, IN_PROGRESS, WAS_DONE),
        "issue_assigned" => ("Issue", "update", ISSUE, TODO, r#"{"assigneeId":null}"#),
        "issue_commented" => ("Comment", "create", COMMENT, "", "null"),
        "project_updated" => ("Project", "update", PROJECT, "", r#"{"name":"Desks"}"#),
        _ => return None,
    };
    let seed = Seed::new(salt);
    let number = seed.number();
    let body = fill(
        &BODY.replace("$data", data).replace("$before", before),
        &[
            ("action", &action),
            ("type", &kind),
            ("page", &format!("https://linear.app/acme/issue/DESK-{number}/")),
            ("actor", &seed.guid("actor")),
            ("actor_name", &seed.person("actor")),
            ("issue", &seed.guid("issue")),
            ("number", &number),
            ("title", &seed.headline()),
            ("assignee", &seed.person("assignee")),
            ("state", &state),
            ("state_id", &seed.guid("state")),
            ("comment", &seed.guid("comment")),
            ("project", &seed.guid("project")),
        ],
    );
    Some(envelope(&format!("{kind}.{action}"), body.into_bytes(), salt))
}

fn envelope(event_type: &str, body: Vec<u8>, salt: u64) -> Sample {
    let kind = event_type.split('.').next().unwrap_or_default();
    Sample::json(event_type, body)
        .with("User-Agent", "Linear-Webhook")
        .with(EVENT, kind)
        .with(DELIVERY, Seed::new(salt).guid("delivery"))
}

/// Every attempt is stamped anew: the time stands in the body.
fn sign(signing: &Signing<'_>, sample: &mut Sample) -> Result<(), &'static str> {
    // What is no JSON object is signed as it is, and refused for want of a time.
    if let Ok(Value::Object(mut body)) = serde_json::from_slice(&sample.body) {
        body.insert(SENT_AT.to_owned(), signing.now.ms().into());
        sample.body = Value::Object(body).to_string().into_bytes();
    }
    let made = signature::sign(signing.secret.expose().as_bytes(), Algorithm::Sha256, &[&sample.body]);
    sample.set(SIGNATURE, read::to_hex(&made));
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::event::Event;
    use crate::provider::{
        Options, Provider,
        tests::{NOW, arrived, request, signed, terms, with_header},
        vectors,
    };

    fn told(event_type: &str, body: &[u8]) -> Normalised {
        let context = Context { provider: Provider::Linear, source: "desk", options: &Options::NONE };
        normalise(&context, event_type, &Headers::new(), body)
    }

    fn event(payload: &Value) -> Event {
        match told("unknown", payload.to_string().as_bytes()) {
            Normalised::Events(mut events) => events.remove(0),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_time_in_the_body_counts_on_both_sides() {
        let mut terms = terms(Provider::Linear, &["key"]);
        let good = request(Provider::Linear, "issue_opened");
        let at =
            |terms: &Terms, seconds: i64| judge(terms, &good, Timestamp::from_ms(NOW.ms() + seconds * 1000)).is_ok();
        assert!(at(&terms, 60) && at(&terms, -60) && !at(&terms, 61) && !at(&terms, -61));
        let stamped = with_header(&good, "Linear-Timestamp", Some(b"1760000061000"));
        assert!(judge(&terms, &stamped, Timestamp::from_ms(NOW.ms() + 61_000)).is_err());
        let without = |body: &str| {
            let mut sample = Sample::json("Issue", body);
            let key = signature::sign(b"key", Algorithm::Sha256, &[body.as_bytes()]);
            sample.set(SIGNATURE, read::to_hex(&key));
            arrived(Provider::Linear, sample)
        };
        let bodies = [
            "{}",
            "",
            "[]",
            "not JSON",
            r#"{"webhookTimestamp":"1760000000000"}"#,
            r#"{"webhookTimestamp":1760000000000.5}"#,
        ];
        for body in bodies {
            let verdict = judge(&terms, &without(body), NOW);
            assert!(matches!(verdict, Err(Rejection::SignatureMalformed { .. })), "{body}: {verdict:?}");
        }
        assert_eq!(judge(&terms, &without(r#"{"webhookTimestamp":1.76e12}"#), NOW), Ok(0), "JavaScript's number");
        terms.options.tolerance = Some(Duration::ZERO);
        assert!(at(&terms, 1_000_000) && judge(&terms, &without("{}"), NOW).is_ok());
    }

    #[test]
    fn what_an_update_means_follows_from_what_was_before() {
        let update = |state: &str, before: Value| {
            json!({ "type": "Issue", "action": "update", "updatedFrom": before, "actor": { "name": "Otto" },
                "data": { "identifier": "LIN-7", "number": 7, "title": "t", "state": { "name": "S", "type": state },
                    "assignee": { "name": "Ada" }, "labels": [{ "name": "bug" }] } })
        };
        let closed = event(&update("completed", json!({ "stateId": "x", "completedAt": null })));
        assert_eq!((closed.kind.as_str(), closed.actor.as_str()), ("issue_closed", "Otto"));
        assert_eq!((closed.subject.as_deref(), closed.repository.as_str()), (Some("LIN-7"), "LIN"));
        assert_eq!(event(&update("canceled", json!({ "stateId": "x" }))).kind, "issue_closed");
        let reopened = update("started", json!({ "stateId": "x", "completedAt": "2026-11-21T10:00:00Z" }));
        assert_eq!(event(&reopened).kind, "issue_reopened");
        assert_eq!(event(&update("started", json!({ "assigneeId": null }))).kind, "issue_assigned");
        for before in [json!({ "stateId": "x" }), json!({ "title": "u" }), Value::Null] {
            assert!(matches!(
                told("Issue.update", update("started", before).to_string().as_bytes()),
                Normalised::Skipped(_)
            ));
        }
        let of_update = json!({ "type": "Comment", "action": "create", "data": { "projectUpdateId": "x" } });
        assert!(matches!(told("Comment.create", of_update.to_string().as_bytes()), Normalised::Skipped(_)));
    }

    #[test]
    fn recorded_payloads_are_told_as_expected() {
        for case in vectors::cases("payloads/manifest.json", "files", "linear") {
            let file = case["file"].as_str().expect("a file");
            if !file.ends_with("/Comment.create.json") {
                continue;
            }
            match told("Comment.create", &vectors::bytes(file)) {
                Normalised::Events(events) | Normalised::Partly { events, .. } => {
                    assert_eq!(
                        (events[0].kind.as_str(), events[0].subject.as_deref()),
                        ("issue_commented", Some("LIN-1778"))
                    );
                }
                other => panic!("{file}: {other:?}"),
            }
        }
    }

    #[test]
    fn without_an_action_the_type_alone_is_the_name() {
        let name = |headers: Headers, body: &str| {
            let request = Unverified { target: String::new(), headers, body: body.as_bytes().to_vec() };
            identify(&terms(Provider::Linear, &["key"]), &request).expect("never refused").event_type
        };
        assert_eq!(name(Headers::new(), r#"{"type":"Issue"}"#), "Issue");
        assert_eq!(name([(EVENT, b"Issue".as_slice())].into_iter().collect(), "{}"), "Issue");
        assert_eq!(name(Headers::new(), r#"{"action":"create"}"#), "unknown");
    }

    #[test]
    fn a_payload_of_one_s_own_is_stamped() {
        let sample = envelope("Issue.create", br#"{"type":"Issue","action":"create"}"#.to_vec(), 7);
        let own = arrived(Provider::Linear, signed(Provider::Linear, sample));
        assert_eq!(judge(&terms(Provider::Linear, &["key"]), &own, NOW), Ok(0));
        assert_eq!(
            identify(&terms(Provider::Linear, &["key"]), &own).map(|own| own.event_type).ok().as_deref(),
            Some("Issue.create")
        );
    }
}
