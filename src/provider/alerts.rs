//! Groups of alerts in the shape of Prometheus Alertmanager's webhook, which Grafana's is too: every alert of a request is
//! an event of its own.
//!
//! An alert is told once when it fires and once when it is resolved. Both senders repeat the whole group whenever another
//! alert joins it, after each `repeat_interval` as a reminder, and once for each member of a cluster; a request does not
//! say which of these it is. What fires stays visible where it was told (the message, a cue that latches until it is
//! resolved), and nothing is lost here, so a repetition would only ring for what is known. The own id of an alert, its
//! fingerprint with its start and its state, is what recognises it.

use crate::event::Severity;

use super::{
    Context, Normalised,
    draft::Draft,
    json::{self, Json},
    sample::{Sample, Seed, fill},
};

/// A request calls itself by the state of its group; it has no id.
pub(super) fn status(body: &[u8]) -> Option<String> {
    let [status] = json::values(body, ["/status"]);
    status.text().map(str::to_owned)
}

/// What `program` says in a request.
pub(super) fn normalise(context: &Context<'_>, program: &str, body: &[u8]) -> Normalised {
    let group = match Json::object(body) {
        Ok(group) => group,
        Err(why) => return Normalised::Undecodable(why),
    };
    let alerts = &group["alerts"];
    let drafts =
        alerts.items().iter().filter(|alert| alert.is_object()).filter_map(|alert| tell(program, &group, alert));
    let events: Vec<_> = drafts.map(|draft| draft.finish(context)).collect();
    Normalised::of_list(events, alerts.items().len(), alerts.count(), || {
        "no alert in it fires or is resolved".to_owned()
    })
}

fn tell(program: &str, group: &Json<'_>, alert: &Json<'_>) -> Option<Draft> {
    let (labels, annotations) = (&alert["labels"], &alert["annotations"]);
    // The group fires while any of its alerts does; each alert has its own state.
    let status = alert["status"].text().or(group["status"].text()).unwrap_or_default();
    let rank = one_of(labels, &["severity", "priority", "level"]);
    let draft = match status {
        "firing" => {
            let draft = Draft::new("alert_firing");
            let severity = rank.and_then(severity_of);
            match severity {
                Some(severity) => draft.severity(severity),
                None => draft,
            }
        }
        "resolved" => Draft::new("alert_resolved"),
        _ => return None,
    };
    let (name, place) = (one_of(labels, &["alertname"]), one_of(labels, &["instance", "pod", "host", "node"]));
    let summary = one_of(annotations, &["summary", "description", "message"]);
    let title = match (name, summary, place) {
        // Alerts of one group often differ in where they fire and in nothing else.
        (Some(name), Some(summary), Some(place)) if !summary.contains(place) => format!("{name}: {summary} ({place})"),
        (Some(name), Some(summary), _) => format!("{name}: {summary}"),
        (Some(name), None, Some(place)) => format!("{name} on {place}"),
        (Some(text), None, None) | (None, Some(text), _) | (None, None, Some(text)) => text.to_owned(),
        (None, None, None) => format!("an alert of {program}"),
    };
    let about = ["service", "job", "namespace", "grafana_folder", "cluster", "team"];
    let fingerprint = alert["fingerprint"].text().filter(|text| !text.is_empty());
    let subject = match (fingerprint, name, place) {
        (Some(fingerprint), _, _) => Some(fingerprint.to_owned()),
        (None, Some(name), Some(place)) => Some(format!("{name}/{place}")),
        (None, Some(name), None) => Some(name.to_owned()),
        (None, None, _) => None,
    };
    let own_id = fingerprint.zip(alert["startsAt"].text()).map(|(print, start)| format!("{print} {start} {status}"));
    let pairs = labels.fields().filter_map(|(name, value)| Some(format!("{name}={}", said(value)?)));
    let pairs: Vec<String> = pairs.collect();
    let links = [&alert["panelURL"], &alert["dashboardURL"], &alert["generatorURL"], &group["externalURL"]];
    Some(
        draft
            .actor(Some(program))
            .repository(Some(one_of(labels, &about).unwrap_or(program)))
            .title(Some(&title))
            .url(links.map(Json::text))
            .subject(subject.map(|subject| format!("alert {subject}")))
            .own_id(own_id.as_deref())
            .text("alert_severity", rank)
            .text("environment", one_of(labels, &["environment", "env"]))
            .text("host", place)
            .text("status", Some(status))
            .text("text", one_of(annotations, &["description", "message", "summary"]))
            .list("labels", pairs.iter().map(String::as_str)),
    )
}

/// A text that says something.
fn said<'j>(value: &'j Json<'_>) -> Option<&'j str> {
    value.text().filter(|text| !text.trim().is_empty())
}

/// The first of these that is there.
fn one_of<'j>(all: &'j Json<'_>, names: &[&str]) -> Option<&'j str> {
    names.iter().find_map(|name| said(&all[*name]))
}

/// How bad a monitoring system's word for it is; the words are a custom and no standard.
pub(super) fn severity_of(word: &str) -> Option<Severity> {
    Some(match word.trim().to_ascii_lowercase().as_str() {
        "critical" | "crit" | "page" | "fatal" | "emergency" | "error" | "high" | "major" | "p1" | "p2" => {
            Severity::Failure
        }
        "warning" | "warn" | "medium" | "minor" | "p3" => Severity::Warning,
        "info" | "informational" | "notice" | "low" | "none" | "debug" | "sample" | "p4" | "p5" => Severity::Info,
        _ => return None,
    })
}

/// What both programs have samples of.
pub(super) const SAMPLES: &[(&str, &str)] =
    &[("alert_firing", "an alert fires"), ("alert_resolved", "an alert is resolved")];

const LABELS: &str = r#"{"alertname":"$alert","instance":"$instance","job":"desk","severity":"$severity"}"#;

const GROUP: &str = r#"{"receiver":"hookbell","status":"$status","alerts":[{"status":"$status","labels":$labels,
    "annotations":{"summary":"$summary"},"startsAt":"$starts_at","endsAt":"$ends_at",
    "generatorURL":"https://prometheus.example.com/graph?g0.expr=up","fingerprint":"$fingerprint"}],
    "groupLabels":{"alertname":"$alert"},"commonLabels":$labels,"commonAnnotations":{"summary":"$summary"},
    "externalURL":"https://alerts.example.com",$own,"groupKey":"{}:{alertname=\"$alert\"}","truncatedAlerts":0}"#;

/// A group of one alert. `own` are the fields that differ between the programs, by the state of the group.
pub(super) fn sample(name: &str, salt: u64, own: fn(&str) -> &'static str) -> Option<Sample> {
    let seed = Seed::new(salt);
    let (status, ends_at) = match name {
        "alert_firing" => ("firing", "0001-01-01T00:00:00Z"),
        "alert_resolved" => ("resolved", "2026-01-03T00:00:00Z"),
        _ => return None,
    };
    let (alert, summary) = match seed.below("alert", 3) {
        0 => ("LampTooHot", "The desk lamp is hotter than 60 °C"),
        1 => ("InstanceDown", "The sensor has not answered for 5 minutes"),
        _ => ("DiskAlmostFull", "Less than a tenth of the disk is free"),
    };
    let instance = format!("desk-{}:9100", seed.below("instance", 1000));
    let severity = seed.pick("severity", &["critical", "warning"]);
    let labels = fill(LABELS, &[("alert", &alert), ("instance", &instance), ("severity", &severity)]);
    let starts_at = format!("2026-01-02T{:02}:{:02}:00Z", seed.below("hour", 24), seed.below("minute", 60));
    let body = fill(
        GROUP,
        &[
            ("alert", &alert),
            ("ends_at", &ends_at),
            ("fingerprint", &seed.word("fingerprint", 16).to_ascii_lowercase()),
            ("labels", &labels),
            ("own", &own(status)),
            ("starts_at", &starts_at),
            ("status", &status),
            ("summary", &summary),
        ],
    );
    Some(Sample::json(status, body))
}
