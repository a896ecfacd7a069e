//! Sentry's integration platform: `Sentry-Hook-Signature`, an HMAC-SHA256 of the body in hexadecimal, made with the
//! integration's client secret. A delivery is `Request-ID` and `Sentry-Hook-Resource` with the body's `action`; neither
//! header is signed, nor is `Sentry-Hook-Timestamp`.
//!
//! Source of the rules: docs.sentry.io, "Integration Platform: Webhooks". Its JavaScript sample signs the parsed body
//! written anew; Sentry signs the bytes that it sends.

use crate::{headers::Headers, time::Timestamp};

use super::{
    Context, Identity, Normalised, Rejection, Signing, Terms, Unverified, alerts,
    draft::Draft,
    json::{self, Json},
    read,
    rules::Rules,
    sample::{Sample, Seed, fill},
    signature::{self, Algorithm},
};

const SIGNATURE: &str = "Sentry-Hook-Signature";
const RESOURCE: &str = "Sentry-Hook-Resource";
const REQUEST: &str = "Request-ID";

pub(super) const RULES: Rules = Rules {
    name: "sentry",
    admit: |_, headers| signature_of(headers).map(|_| ()),
    judge,
    identify: |_, request| {
        let [action] = json::values(&request.body, ["/action"]);
        let resource = read::optional_identity(&request.headers, RESOURCE);
        let event_type = resource.map(|resource| match action.text() {
            Some(action) => format!("{resource}.{action}"),
            None => resource,
        });
        let id = read::optional_identity(&request.headers, REQUEST);
        Ok(Identity::of(event_type.as_deref(), id.as_deref()))
    },
    normalise,
    samples: SAMPLES,
    build,
    envelope,
    sign,
    ..Rules::COMMON
};

fn judge(terms: &Terms, request: &Unverified, _: Timestamp) -> Result<usize, Rejection> {
    let made = signature_of(&request.headers)?;
    signature::signed_by(&terms.secrets, Algorithm::Sha256, &[&request.body], &[made]).ok_or(Rejection::SignatureWrong)
}

fn signature_of(headers: &Headers) -> Result<Vec<u8>, Rejection> {
    let made = read::hex(read::proof(headers, SIGNATURE)?);
    made.ok_or_else(|| Rejection::malformed(SIGNATURE, "it is not lower-case hexadecimal"))
}

fn normalise(context: &Context<'_>, event_type: &str, _: &Headers, body: &[u8]) -> Normalised {
    let body = match Json::object(body) {
        Ok(body) => body,
        Err(why) => return Normalised::Undecodable(why),
    };
    let (resource, named) = event_type.split_once('.').unwrap_or((event_type, ""));
    let action = body["action"].text().unwrap_or(named);
    let kind = match (resource, action) {
        ("issue", "created") | ("event_alert", "triggered") | ("metric_alert", "critical" | "warning") => {
            "alert_firing"
        }
        ("issue", "resolved") | ("metric_alert", "resolved") => "alert_resolved",
        _ => {
            let what = read::shown(&format!("{resource}.{action}"));
            return Normalised::Skipped(format!("{what} is not an event we tell about"));
        }
    };
    Normalised::Events(vec![tell(kind, resource, action, &body).finish(context)])
}

fn tell(kind: &'static str, resource: &str, action: &str, body: &Json<'_>) -> Draft {
    let data = &body["data"];
    // What is wrong: an issue, an event of one, or an incident of a metric alert. They share the names of their fields.
    let thing = match resource {
        "issue" => &data["issue"],
        "event_alert" => &data["event"],
        _ => &data["metric_alert"],
    };
    let is_metric = resource == "metric_alert";
    // A metric alert says it in the action, the others in the event's level.
    let level = if is_metric { Some(action) } else { thing["level"].text() };
    let draft = match (kind, level.and_then(alerts::severity_of)) {
        ("alert_firing", Some(severity)) => Draft::new(kind).severity(severity),
        _ => Draft::new(kind),
    };
    // The descriptions are a metric alert's.
    let title = data["description_title"].text().or(thing["title"].text()).or(thing["shortId"].text());
    let title = title.or(thing["id"].text()).unwrap_or("something in Sentry");
    let project = thing["project"]["slug"].text().or(thing["project"]["name"].text());
    // An event's address in the API names its project; a metric alert lists slugs.
    let project = project.or(thing["url"].text().and_then(project_in));
    let project = project.or_else(|| thing["projects"].items().iter().find_map(Json::text));
    // An event alert is about an issue, whose end clears it.
    let id = thing["issue_id"].text().or(thing["id"].text());
    let subject = if is_metric { "sentry metric" } else { "sentry" };
    let text = data["description_text"].text().or(thing["culprit"].text());
    draft
        .actor(Some(body["actor"]["name"].text().unwrap_or("Sentry")))
        .repository(Some(project.unwrap_or("sentry")))
        .title(Some(title))
        .url([data["web_url"].text(), thing["web_url"].text(), thing["permalink"].text()])
        .subject(id.map(|id| format!("{subject} {id}")))
        .text("alert_severity", level)
        .text("environment", thing["environment"].text())
        .text("reason", data["triggered_rule"].text())
        .text("text", text)
}

/// `…/api/0/projects/acme/lamp/events/…` is about `acme/lamp`.
fn project_in(url: &str) -> Option<&str> {
    let (_, path) = url.split_once("/projects/")?;
    let end = path.match_indices('/').nth(1)?.0;
    (!path[..end].starts_with('/') && !path[..end].ends_with('/')).then(|| &path[..end])
}

const SAMPLES: &[(&str, &str)] = &[
    ("alert_firing", "an error that Sentry has not seen before"),
    ("alert_resolved", "the issue is resolved"),
    ("comment", "somebody comments on an issue, which is not told"),
];

const BODY: &str = r#"{
    "action":"$action","installation":{"uuid":"5d1c6e2e-0000-4000-8000-000000000007"},"data":$data,"actor":$actor
}"#;

const ISSUE: &str = r#"{"issue":{
    "id":"$id","shortId":"DESK-LAMP-$number","title":"$title","culprit":"desk.lamp in glow","level":"error",
    "status":"$status","project":{"id":"7","name":"Desk lamp","slug":"desk-lamp"},
    "web_url":"https://acme.sentry.io/issues/$id/"
}}"#;

const COMMENT: &str = r#"{
    "comment":"Seen again at night","project_slug":"desk-lamp","comment_id":$number,"issue_id":"$id"
}"#;

const PERSON: &str = r#"{"type":"user","id":1,"name":"Ada Lights"}"#;
const SENTRY: &str = r#"{"type":"application","id":"sentry","name":"Sentry"}"#;

fn build(name: &str, salt: u64) -> Option<Sample> {
    let (resource, action, status, data, actor) = match name {
        "alert_firing" => ("issue", "created", "unresolved", ISSUE, SENTRY),
        "alert_resolved" => ("issue", "resolved", "resolved", ISSUE, PERSON),
        "comment" => ("comment", "created", "", COMMENT, SENTRY),
        _ => return None,
    };
    let seed = Seed::new(salt);
    let body = fill(
        &BODY.replace("$data", data),
        &[
            ("action", &action),
            ("actor", &actor),
            ("id", &(1_000_000 + seed.below("id", 8_000_000))),
            ("number", &(1 + seed.below("number", 9000))),
            ("status", &status),
            (
                "title",
                &seed.pick("title", &["TypeError: lamp is not a function", "TimeoutError: the sensor is silent"]),
            ),
        ],
    );
    Some(envelope(&format!("{resource}.{action}"), body.into_bytes(), salt))
}

fn envelope(event_type: &str, body: Vec<u8>, salt: u64) -> Sample {
    let resource = event_type.split('.').next().unwrap_or_default();
    Sample::json(event_type, body)
        .with(REQUEST, Seed::new(salt).guid("request").replace('-', ""))
        .with(RESOURCE, resource)
        .with("Sentry-Hook-Timestamp", "1767322800")
}

fn sign(signing: &Signing<'_>, sample: &mut Sample) -> Result<(), &'static str> {
    sample.set(SIGNATURE, signature::sign_sha256_hex(signing.secret, &[&sample.body]));
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        event::{Event, Severity},
        provider::{Options, Provider, tests::terms, vectors},
    };

    fn normalised(event_type: &str, body: &[u8]) -> Normalised {
        let context = Context { provider: Provider::Sentry, source: "desk", options: &Options::NONE };
        normalise(&context, event_type, &Headers::new(), body)
    }

    fn told(event_type: &str, body: &Value) -> Event {
        match normalised(event_type, body.to_string().as_bytes()) {
            Normalised::Events(mut events) => events.remove(0),
            other => panic!("{event_type}: {other:?}"),
        }
    }

    #[test]
    fn an_event_alert_belongs_to_its_issue() {
        let alert = told(
            "event_alert.triggered",
            &json!({ "action": "triggered", "data": { "triggered_rule": "Every error", "event": {
                "title": "Too hot", "issue_id": "42", "level": "warning", "web_url": "https://sentry.io/issues/42/",
                "project": 7, "url": "https://sentry.io/api/0/projects/acme/lamp/events/e1/" } } }),
        );
        let end = told(
            "issue.resolved",
            &json!({ "action": "resolved", "actor": { "name": "ada" }, "data": {
            "issue": { "id": "42", "title": "Too hot", "project": { "slug": "lamp" } } } }),
        );
        assert_eq!((alert.kind.as_str(), alert.severity), ("alert_firing", Severity::Warning));
        assert_eq!((alert.repository.as_str(), alert.actor.as_str()), ("acme/lamp", "Sentry"));
        assert_eq!((end.kind.as_str(), end.actor.as_str()), ("alert_resolved", "ada"));
        assert_eq!(alert.subject, end.subject);
    }

    #[test]
    fn without_an_action_the_resource_alone_is_the_name() {
        let name = |body: &str| {
            let headers = [(RESOURCE, b"issue".as_slice())].into_iter().collect();
            let request = Unverified { target: String::new(), headers, body: body.as_bytes().to_vec() };
            (RULES.identify)(&terms(Provider::Sentry, &["key"]), &request).expect("never refused").event_type
        };
        assert_eq!(name(r#"{"action":"created"}"#), "issue.created");
        assert_eq!(name("{}"), "issue");
    }

    #[test]
    fn metric_alerts_fire_and_end() {
        let kinds = ["critical", "warning", "resolved"].map(|action| {
            let event = told(
                "metric_alert",
                &json!({ "action": action, "data": { "description_title": "Too many errors",
                "web_url": "https://sentry.io/alerts/1/", "metric_alert": { "id": "7", "projects": ["lamp"] } } }),
            );
            assert_eq!((event.title.as_str(), event.repository.as_str()), ("Too many errors", "lamp"));
            assert_eq!(event.subject.as_deref(), Some("sentry metric 7"));
            (event.kind, event.severity)
        });
        let kinds = kinds.each_ref().map(|(kind, severity)| (kind.as_str(), *severity));
        let expected = [
            ("alert_firing", Severity::Failure),
            ("alert_firing", Severity::Warning),
            ("alert_resolved", Severity::Success),
        ];
        assert_eq!(kinds, expected);
    }

    #[test]
    fn a_project_stands_in_an_event_s_address() {
        assert_eq!(project_in("https://sentry.io/api/0/projects/acme/lamp/events/e/"), Some("acme/lamp"));
        for none in ["", "/projects/", "/projects/a", "/projects/a/b", "/projects//b/", "/projects/a//"] {
            assert_eq!(project_in(none), None, "{none}");
        }
    }

    #[test]
    fn recorded_requests_mean_what_the_documentation_says() {
        if vectors::json("payloads/manifest.json").is_none() {
            return;
        }
        let Normalised::Events(events) =
            normalised("issue.created", &vectors::bytes("payloads/sentry/issue.created.json"))
        else {
            panic!()
        };
        assert_eq!((events[0].kind.as_str(), events[0].repository.as_str()), ("alert_firing", "front-end"));
        assert_eq!(events[0].title, "ReferenceError: blooopy is not defined");
        let comment = normalised("comment.created", &vectors::bytes("payloads/sentry/comment.created.json"));
        assert!(matches!(comment, Normalised::Skipped(_)));
    }
}
