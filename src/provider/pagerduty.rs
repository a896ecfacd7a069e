//! PagerDuty's v3 webhooks: `X-PagerDuty-Signature: v1=…,v1=…`, HMAC-SHA256 of the body, one for each secret while one is
//! rotated. A delivery is `event.id` and `event.event_type` in the body. No time is signed.
//!
//! Source of the rules: developer.pagerduty.com, "Verifying Webhook Signatures" and "Webhooks Overview".

use crate::{event::Severity, headers::Headers, time::Timestamp};

use super::{
    Context, Identity, Normalised, Rejection, Signing, Terms, Unverified,
    draft::Draft,
    json::{self, Json},
    read,
    rules::Rules,
    sample::{Sample, Seed, fill},
    signature::{self, Algorithm},
};

const SIGNATURE: &str = "X-PagerDuty-Signature";

pub(super) const RULES: Rules = Rules {
    name: "pagerduty",
    admit: |_, headers| signatures_of(headers).map(|_| ()),
    judge,
    identify: |_, request| {
        let [event_type, id] = json::values(&request.body, ["/event/event_type", "/event/id"]);
        Ok(Identity::of(event_type.text(), id.text()))
    },
    normalise,
    samples: SAMPLES,
    build,
    sign,
    ..Rules::COMMON
};

fn judge(terms: &Terms, request: &Unverified, _: Timestamp) -> Result<usize, Rejection> {
    let v1 = signatures_of(&request.headers)?;
    signature::signed_by(&terms.secrets, Algorithm::Sha256, &[&request.body], &v1).ok_or(Rejection::SignatureWrong)
}

/// Every `v1`; whatever else is in the list is passed over.
fn signatures_of(headers: &Headers) -> Result<Vec<Vec<u8>>, Rejection> {
    let malformed = |why| Rejection::malformed(SIGNATURE, why);
    let mut v1 = Vec::new();
    for (index, part) in read::proof_text(headers, SIGNATURE)?.split(',').enumerate() {
        if index >= read::DIGESTS_MAX {
            return Err(malformed("it has too many parts"));
        }
        if let Some(("v1", value)) = part.trim_matches(' ').split_once('=') {
            v1.extend(read::hex(value.as_bytes()));
        }
    }
    match v1.is_empty() {
        true => Err(malformed("it has no signature of version v1")),
        false => Ok(v1),
    }
}

fn normalise(context: &Context<'_>, event_type: &str, _: &Headers, body: &[u8]) -> Normalised {
    let body = match Json::object(body) {
        Ok(body) => body,
        Err(why) => return Normalised::Undecodable(why),
    };
    let event = &body["event"];
    let kind = match event["event_type"].text().unwrap_or(event_type) {
        // What is open again fires again: its end was told.
        "incident.triggered" | "incident.reopened" => "alert_firing",
        "incident.acknowledged" => "incident_acknowledged",
        "incident.resolved" => "alert_resolved",
        "pagey.ping" => return Normalised::Skipped("ping: PagerDuty reached us".to_owned()),
        other => return Normalised::Skipped(format!("{} is not an event we tell about", read::shown(other))),
    };
    Normalised::Events(vec![tell(kind, event).finish(context)])
}

fn tell(kind: &'static str, event: &Json<'_>) -> Draft {
    let incident = &event["data"];
    let (id, number, urgency) = (incident["id"].text(), incident["number"].whole(), incident["urgency"].text());
    let title = match (number, incident["title"].text()) {
        (Some(number), Some(title)) => format!("#{number} {title}"),
        (None, Some(title)) => title.to_owned(),
        (Some(number), None) => format!("incident #{number}"),
        (None, None) => id.unwrap_or_default().to_owned(),
    };
    let draft = match (kind, urgency) {
        ("alert_firing", Some("low")) => Draft::new(kind).severity(Severity::Warning),
        _ => Draft::new(kind),
    };
    draft
        // Nobody is named when PagerDuty itself did it.
        .actor(Some(summary(&event["agent"]).unwrap_or("PagerDuty")))
        .repository(Some(summary(&incident["service"]).unwrap_or("pagerduty")))
        .title(Some(&title))
        .url([incident["html_url"].text()])
        .subject(id.map(|id| format!("pagerduty {id}")))
        .number("number", number)
        .text("alert_severity", summary(&incident["priority"]).or(urgency))
        .text("status", incident["status"].text())
        .text("assignee", summary(incident.at("/assignees/0")))
}

fn summary<'a>(reference: &'a Json<'_>) -> Option<&'a str> {
    reference["summary"].text().filter(|text| !text.trim().is_empty())
}

const SAMPLES: &[(&str, &str)] = &[
    ("alert_firing", "an incident is triggered"),
    ("incident_acknowledged", "somebody takes the incident on"),
    ("alert_resolved", "the incident is over"),
    ("ping", "what PagerDuty sends to try a subscription, which is not told"),
];

const INCIDENT: &str = r#"{"event":{
    "id":"$event","event_type":"$type","resource_type":"incident","occurred_at":"2026-01-02T03:04:05.678Z",
    "agent":{"id":"PADA001","type":"user_reference","summary":"$who"},"client":null,
    "data":{
        "id":"$id","type":"incident","html_url":"https://acme.pagerduty.com/incidents/$id","number":$number,
        "status":"$status","title":"$title",
        "service":{"id":"PLAMP01","type":"service_reference","summary":"Desk lamp"},
        "assignees":[],"priority":null,"urgency":"$urgency"
    }
}}"#;

const PING: &str = r#"{"event":{
    "id":"$event","event_type":"$type","resource_type":"pagey","occurred_at":"2026-01-02T03:04:05.678Z",
    "agent":null,"client":null,"data":{"type":"ping","message":"Hello from your friend Pagey!"}
}}"#;

fn build(name: &str, salt: u64) -> Option<Sample> {
    let (event_type, status, template) = match name {
        "alert_firing" => ("incident.triggered", "triggered", INCIDENT),
        "incident_acknowledged" => ("incident.acknowledged", "acknowledged", INCIDENT),
        "alert_resolved" => ("incident.resolved", "resolved", INCIDENT),
        "ping" => ("pagey.ping", "", PING),
        _ => return None,
    };
    let seed = Seed::new(salt);
    let body = fill(
        template,
        &[
            ("event", &seed.word("event", 26).to_ascii_uppercase()),
            ("type", &event_type),
            ("who", &seed.pick("who", &["Ada Lights", "Otto Brass"])),
            ("id", &seed.word("incident", 14).to_ascii_uppercase()),
            ("number", &(1 + seed.below("number", 9000))),
            ("status", &status),
            ("title", &seed.pick("title", &["The desk lamp is too hot", "No word from the sensor"])),
            ("urgency", &seed.pick("urgency", &["high", "low"])),
        ],
    );
    Some(Sample::json(event_type, body))
}

fn sign(signing: &Signing<'_>, sample: &mut Sample) -> Result<(), &'static str> {
    sample.set(SIGNATURE, format!("v1={}", signature::sign_sha256_hex(signing.secret, &[&sample.body])));
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::provider::{
        Options, Provider,
        tests::{NOW, request, terms, with_header},
    };

    #[test]
    fn any_signature_of_version_1_will_do() {
        let terms = terms(Provider::PagerDuty, &["key"]);
        let good = request(Provider::PagerDuty, "alert_firing");
        let value = good.headers.text(SIGNATURE).expect("signed").to_owned();
        let check = |value: &str, passes: bool| {
            let verdict = judge(&terms, &with_header(&good, SIGNATURE, Some(value.as_bytes())), NOW);
            assert_eq!(verdict.is_ok(), passes, "{value}: {verdict:?}");
        };
        check(&format!("v1={}, {value}", "0".repeat(64)), true);
        check(&format!("v2=xyz,{value},v1=xyz"), true);
        check(&value.replace("v1", "v0"), false);
        check(&value.to_uppercase(), false);
        check(&value["v1=".len()..], false);
        check(&format!("{value}{}", ",v0=x".repeat(read::DIGESTS_MAX)), false);
    }

    #[test]
    fn incidents_open_and_end_on_one_subject() {
        let context = Context { provider: Provider::PagerDuty, source: "desk", options: &Options::NONE };
        let told = |event_type: &str, agent: Value| {
            let body = json!({ "event": { "event_type": event_type, "agent": agent, "data": { "id": "P1", "number": 7,
                "title": "Too hot", "urgency": "low", "service": { "summary": "Lamp" } } } });
            normalise(&context, event_type, &Headers::new(), body.to_string().as_bytes())
        };
        let kinds =
            ["incident.triggered", "incident.acknowledged", "incident.resolved", "incident.reopened"].map(|kind| {
                let Normalised::Events(mut events) = told(kind, json!({ "summary": "ada" })) else { panic!("{kind}") };
                let event = events.remove(0);
                assert_eq!((event.subject.as_deref(), event.title.as_str()), (Some("pagerduty P1"), "#7 Too hot"));
                assert_eq!((event.actor.as_str(), event.repository.as_str()), ("ada", "Lamp"));
                (event.kind, event.severity)
            });
        let kinds = kinds.each_ref().map(|(kind, severity)| (kind.as_str(), *severity));
        assert_eq!(
            kinds,
            [
                ("alert_firing", Severity::Warning),
                ("incident_acknowledged", Severity::Info),
                ("alert_resolved", Severity::Success),
                ("alert_firing", Severity::Warning)
            ]
        );
        let Normalised::Events(events) = told("incident.triggered", Value::Null) else { panic!() };
        assert_eq!(events[0].actor, "PagerDuty");
        assert_eq!(told("pagey.ping", Value::Null), Normalised::Skipped("ping: PagerDuty reached us".to_owned()));
        assert!(matches!(told("incident.annotated", Value::Null), Normalised::Skipped(_)));
    }
}
