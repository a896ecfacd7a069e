//! Weaknesses that GitHub found, or that somebody reported. Only what opens an alert is told, not what settles one.

use crate::provider::{draft::Draft, forge::known, json::Json};

use super::common::{repository, repository_url};

pub(super) fn dependabot(body: &Json<'_>) -> Draft {
    let alert = &body["alert"];
    about(body, "dependabot")
        .title(alert["security_advisory"]["summary"].text())
        .text("package", alert["dependency"]["package"]["name"].text())
        .text("alert_severity", alert["security_advisory"]["severity"].text())
}

pub(super) fn code_scanning(body: &Json<'_>) -> Draft {
    let draft = about(body, "code-scanning");
    let rule = &body["alert"]["rule"];
    if !rule.is_object() {
        return draft;
    }
    draft
        .title(rule["description"].text().or(rule["id"].text()))
        .text("branch", body["ref"].text().and_then(|name| name.strip_prefix("refs/heads/")))
        .text("alert_severity", rule["security_severity_level"].text().or(rule["severity"].text()))
}

/// The secret itself is never looked at, let alone shown.
pub(super) fn secret_scanning(body: &Json<'_>) -> Draft {
    let alert = &body["alert"];
    let what = alert["secret_type_display_name"].text().or(alert["secret_type"].text());
    about(body, "secret-scanning").title(what.map(|what| format!("leaked secret: {what}")).as_deref())
}

/// The older form of Dependabot's alerts, still sent by GitHub Enterprise Server.
pub(super) fn vulnerability(body: &Json<'_>) -> Draft {
    let alert = &body["alert"];
    let package = alert["affected_package_name"].text();
    let title = match (package, alert["external_identifier"].text()) {
        (Some(package), Some(id)) => Some(format!("{package}: {id}")),
        (package, id) => package.or(id).map(str::to_owned),
    };
    about(body, "vulnerability")
        .title(title.as_deref())
        .url([alert["html_url"].text(), alert["external_reference"].text(), repository_url(body)])
        .text("package", package)
        .text("alert_severity", alert["severity"].text())
}

/// Somebody told the maintainers about a weakness in private.
pub(super) fn advisory(body: &Json<'_>) -> Draft {
    let draft = Draft::new("security_alert");
    let advisory = &body["repository_advisory"];
    if !advisory.is_object() {
        return draft;
    }
    draft
        .title(advisory["summary"].text())
        .url([advisory["html_url"].text(), repository_url(body)])
        .text("alert_severity", advisory["severity"].text())
}

/// Each scanner counts its alerts by itself, so the subject names it.
fn about(body: &Json<'_>, scanner: &str) -> Draft {
    let number = body["alert"]["number"].whole();
    Draft::new("security_alert")
        .url([body["alert"]["html_url"].text(), repository_url(body)])
        .subject(number.map(|number| format!("{} {scanner}#{number}", known(repository(body)))))
        .number("number", number)
}
