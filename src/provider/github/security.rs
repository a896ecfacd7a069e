//! Weaknesses that GitHub found, or that somebody reported. Only what opens an alert is told, not what settles one.

use super::draft::{Draft, name, repository, repository_url};
use super::payload::{Advisory, Alert, Payload};

pub(super) fn dependabot(payload: &Payload) -> Draft {
    let advisory = alert(payload).and_then(|alert| alert.security_advisory.as_ref());
    let package = alert(payload).and_then(|alert| alert.dependency.as_ref()).map(|dependency| &dependency.package);
    about(payload, "dependabot")
        .title(advisory.and_then(|advisory| advisory.summary.as_deref()))
        .text("package", package.and_then(|package| name(package)))
        .text("alert_severity", advisory.and_then(|advisory| advisory.severity.as_deref()))
}

pub(super) fn code_scanning(payload: &Payload) -> Draft {
    let draft = about(payload, "code-scanning");
    let branch = payload.git_ref.as_deref().and_then(|name| name.strip_prefix("refs/heads/"));
    let Some(rule) = alert(payload).and_then(|alert| alert.rule.as_ref()) else { return draft };
    draft
        .title(rule.description.as_deref().or(rule.id.as_deref()))
        .text("branch", branch)
        .text("alert_severity", rule.security_severity_level.as_deref().or(rule.severity.as_deref()))
}

/// The secret itself is never read, let alone shown.
pub(super) fn secret_scanning(payload: &Payload) -> Draft {
    let draft = about(payload, "secret-scanning");
    let Some(alert) = alert(payload) else { return draft };
    let what = alert.secret_type_display_name.as_deref().or(alert.secret_type.as_deref());
    draft.title(what.map(|what| format!("leaked secret: {what}")).as_deref())
}

/// The older form of Dependabot's alerts, still sent by GitHub Enterprise Server.
pub(super) fn vulnerability(payload: &Payload) -> Draft {
    let draft = about(payload, "vulnerability");
    let Some(alert) = alert(payload) else { return draft };
    let package = alert.affected_package_name.as_deref();
    let title = match (package, alert.external_identifier.as_deref()) {
        (Some(package), Some(id)) => Some(format!("{package}: {id}")),
        (package, id) => package.or(id).map(str::to_owned),
    };
    draft
        .title(title.as_deref())
        .url([alert.html_url.as_deref(), alert.external_reference.as_deref(), repository_url(payload)])
        .text("package", package)
        .text("alert_severity", alert.severity.as_deref())
}

/// Somebody told the maintainers about a weakness in private.
pub(super) fn advisory(payload: &Payload) -> Draft {
    let draft = Draft::new("security_alert");
    let Some(advisory): Option<&Advisory> = payload.repository_advisory.as_ref() else { return draft };
    draft
        .title(advisory.summary.as_deref())
        .url([advisory.html_url.as_deref(), repository_url(payload)])
        .text("alert_severity", advisory.severity.as_deref())
}

/// Each scanner counts its alerts by itself, so the subject names it.
fn about(payload: &Payload, scanner: &str) -> Draft {
    let number = alert(payload).and_then(|alert| *alert.number);
    Draft::new("security_alert")
        .url([alert(payload).and_then(|alert| alert.html_url.as_deref()), repository_url(payload)])
        .subject(number.map(|number| format!("{} {scanner}#{number}", repository(payload))))
        .number("number", number)
}

fn alert(payload: &Payload) -> Option<&Alert> {
    payload.alert.as_ref()
}
