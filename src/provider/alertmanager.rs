//! Prometheus Alertmanager: it signs nothing; `http_config` of the receiver sets a bearer token, basic auth (then the
//! secret is `user:password`) or a header of one's own (`header`). A request has no id and calls itself by its `status`.
//!
//! Source of the rules: prometheus.io/docs/alerting/latest/configuration (`webhook_config`, `http_config`) and requests of
//! Alertmanager 0.25.

use super::{Identity, Terms, alerts, credentials, rules::Rules};

pub(super) const RULES: Rules = Rules {
    name: "alertmanager",
    options: &["header"],
    check_options: |options| credentials::check_header("header", options.header.as_deref()),
    admit: |terms, headers| credentials::of(headers, header(terms)).map(|_| ()),
    judge: |terms, request, _| credentials::presented(terms, &request.headers, header(terms)),
    identify: |_, request| Ok(Identity::of(alerts::status(&request.body).as_deref(), None)),
    normalise: |context, _, _, body| alerts::normalise(context, "Alertmanager", body),
    samples: alerts::SAMPLES,
    build: |name, salt| alerts::sample(name, salt, |_| r#""version":"4""#),
    sign: |signing, sample| {
        let header = signing.options.header.as_deref().unwrap_or(credentials::AUTHORIZATION);
        credentials::present(signing, sample, header);
        Ok(())
    },
    ..Rules::COMMON
};

fn header(terms: &Terms) -> &str {
    terms.options.header.as_deref().unwrap_or(credentials::AUTHORIZATION)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::{
        event::{Event, Severity},
        headers::Headers,
        provider::{
            Context, Normalised, Options, Provider, admit, normalise,
            tests::{request, terms, with_header},
            vectors,
        },
    };

    fn told(body: &[u8]) -> Vec<Event> {
        let context = Context { provider: Provider::Alertmanager, source: "desk", options: &Options::NONE };
        match normalise(&context, "firing", &Headers::new(), body) {
            Normalised::Events(events) | Normalised::Partly { events, .. } => events,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_alert_is_an_event_with_its_own_state() {
        let alert = |status: &str, labels: Value| {
            json!({ "status": status, "labels": labels, "startsAt": "2026-01-01T00:00:00Z", "fingerprint": "f00",
                "generatorURL": "", "annotations": { "summary": "Too hot" } })
        };
        let firing = alert("firing", json!({ "alertname": "Hot", "job": "lamp", "severity": "warning" }));
        let resolved = alert("resolved", json!({ "alertname": "Hot" }));
        let mixed = json!({ "status": "firing", "externalURL": "http://alerts.local",
            "alerts": [firing, resolved, alert("suppressed", json!({})), 7] });
        let events = told(mixed.to_string().as_bytes());
        let kinds: Vec<&str> = events.iter().map(|event| event.kind.as_str()).collect();
        assert_eq!(kinds, ["alert_firing", "alert_resolved"]);
        assert_eq!((events[0].repository.as_str(), events[0].title.as_str()), ("lamp", "Hot: Too hot"));
        assert_eq!((events[0].severity, events[1].severity), (Severity::Warning, Severity::Success));
        // Resolved clears what fired; the two are not the same event, and each is itself wherever it comes again.
        assert_eq!(events[0].subject.as_deref(), Some("alert f00"));
        assert_eq!(events[0].subject, events[1].subject);
        assert_ne!(events[0].own_id, events[1].own_id);
        assert_eq!(told(mixed.to_string().as_bytes())[0].own_id, events[0].own_id);
        assert_eq!(events[0].url.as_deref(), Some("http://alerts.local"));
    }

    #[test]
    fn without_a_fingerprint_an_alert_is_known_by_its_name_and_place() {
        let subject = |labels: Value| {
            let group = json!({ "alerts": [{ "status": "firing", "labels": labels }] });
            told(group.to_string().as_bytes()).remove(0).subject
        };
        assert_eq!(subject(json!({ "alertname": "Hot" })).as_deref(), Some("alert Hot"));
        assert_eq!(subject(json!({ "alertname": "Hot", "host": "lamp" })).as_deref(), Some("alert Hot/lamp"));
        assert_eq!(subject(json!({ "host": "lamp" })), None);
    }

    #[test]
    fn the_header_is_one_of_one_s_own_or_authorization() {
        let named = |name: &str| Options { header: Some(name.to_owned()), ..Options::default() };
        let rules = Provider::Alertmanager.rules();
        assert_eq!((rules.check_options)(&named("X-Mine")), Ok(()));
        assert!((rules.check_options)(&named("two words")).is_err());
        let mut terms = terms(Provider::Alertmanager, &["key"]);
        let good = request(Provider::Alertmanager, "alert_firing");
        assert_eq!(admit(&terms, &good.headers), Ok(()));
        terms.options = named("X-Mine");
        assert_eq!(admit(&terms, &good.headers).map_err(|refused| refused.status()), Err(401));
        assert_eq!(admit(&terms, &with_header(&good, "X-Mine", Some(b"key")).headers), Ok(()));
    }

    #[test]
    fn what_is_not_read_of_a_huge_group_is_counted() {
        let labels: serde_json::Map<_, _> = (0..150).map(|number| (format!("l{number}"), json!("x"))).collect();
        let alert = json!({ "status": "firing", "labels": labels });
        let group = json!({ "status": "firing", "alerts": vec![alert; 900] }).to_string();
        let context = Context { provider: Provider::Alertmanager, source: "desk", options: &Options::NONE };
        let meant = normalise(&context, "firing", &Headers::new(), group.as_bytes());
        let Normalised::Partly { events, unread } = meant else { panic!("{meant:?}") };
        assert!(unread > 0 && events.len() + unread == 900, "{} and {unread}", events.len());
    }

    #[test]
    fn recorded_groups_are_told_alert_by_alert() {
        if vectors::json("payloads/manifest.json").is_none() {
            return;
        }
        let events = told(&vectors::bytes("payloads/alertmanager/firing.firing_2.json"));
        assert_eq!(events.len(), 2);
        assert_eq!(events[0].title, "HighRequestLatency: High request latency (web-1:9090)");
        assert_eq!((events[0].repository.as_str(), events[0].severity), ("api", Severity::Failure));
        assert_eq!(events[1].extra["host"].to_string(), "web-2:9090");
        assert_ne!(events[0].own_id, events[1].own_id);
    }
}
