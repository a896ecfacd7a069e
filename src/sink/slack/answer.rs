//! What Slack's answer means for the parcel. Owns the vocabulary of an incoming webhook's answers; refuses to know HTTP
//! and retries' timing.
//!
//! The body decides before the status: an incoming webhook answers with a short code, and the statuses that come with
//! one code differ between Slack's own changelog (2016-05-17, "Changes to errors for incoming webhooks"), its later
//! documentation and what clients have seen.

use std::{borrow::Cow, time::Duration};

use serde::Deserialize;

use super::mrkdwn::turns_text;
use crate::sink::{Fault, Outcome};

/// The pause after a 429 that does not say how long.
const PAUSE_DEFAULT: Duration = Duration::from_secs(30);
/// A webhook takes one message a second, so a shorter pause is none.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// No answer, however odd, silences the sink for longer.
const PAUSE_MAX: Duration = Duration::from_secs(86_400);

const QUOTE_CHARS_MAX: usize = 200;
const RECEIPT_CHARS_MAX: usize = 100;

/// The webhook itself is at fault, and what repairs it. Every message would fail the same way, so none is given up:
/// they wait until somebody has read the reason.
const CONFIGURATION: &[(&str, &str)] = &[
    ("no_service", "the webhook was revoked; make a new one and set SLACK_WEBHOOK_URL"),
    ("no_service_id", "the webhook's address is incomplete or unknown; copy it again and set SLACK_WEBHOOK_URL"),
    ("no_team", "the workspace in the webhook's address does not exist; copy it again and set SLACK_WEBHOOK_URL"),
    ("team_disabled", "the workspace is disabled; use a webhook of another one and set SLACK_WEBHOOK_URL"),
    (
        "no_active_hooks",
        "the webhook is disabled; enable it in the Slack app or make a new one and set SLACK_WEBHOOK_URL",
    ),
    ("invalid_token", "the token in the webhook's address is wrong; copy it again and set SLACK_WEBHOOK_URL"),
    ("channel_not_found", "the webhook's channel is gone; make a webhook for another one and set SLACK_WEBHOOK_URL"),
    ("channel_is_archived", "the webhook's channel is archived; restore it, or make a webhook for another one"),
    ("action_prohibited", "an administrator of the workspace forbids the webhook to post; ask for permission"),
    (
        "posting_to_general_channel_denied",
        "the webhook may not post in the general channel; ask an administrator, or make a webhook for another channel",
    ),
    ("user_not_found", "whom the webhook posts to is gone; make a webhook for a channel and set SLACK_WEBHOOK_URL"),
];

/// Slack will not take the message in this form.
const FORM: &[&str] = &[
    "invalid_payload",
    "invalid_blocks",
    "invalid_blocks_format",
    "msg_blocks_too_long",
    "msg_too_long",
    "no_text",
    "too_many_attachments",
];

const RATE_LIMITED: &[&str] = &["ratelimited", "rate_limited", "message_limit_exceeded"];

const TRANSIENT: &[&str] = &["rollup_error", "internal_error", "fatal_error", "service_unavailable", "request_timeout"];

/// What became of a message that Slack answered with this status, body and `Retry-After`.
///
/// A message whose form is refused is [`Outcome::Dead`] here; [`refused_form`] tells whether another form may help.
pub fn judge(status: u16, body: &str, retry_after: Option<Duration>) -> Outcome {
    let code = code(body);
    let rate_limited = status == 429 || RATE_LIMITED.contains(&&*code);
    let wish = retry_after.or(rate_limited.then_some(PAUSE_DEFAULT));
    let pause = wish.map(|pause| pause.clamp(PAUSE_MIN, PAUSE_MAX));

    if let Some((code, remedy)) = CONFIGURATION.iter().find(|(known, _)| *known == code) {
        // Slack has said `no_service` of webhooks that were well a minute later; five of those in a row are believed.
        let fault = if *code == "no_service" { Fault::Transient } else { Fault::Configuration };
        return Outcome::Retry { reason: format!("Slack says {code}: {remedy}"), pause, fault };
    }
    if let Some(code) = refused_form(body) {
        let reason = format!("Slack refuses the message: {code} (status {status}); please report it to hookbell");
        return Outcome::Dead { reason };
    }
    if rate_limited {
        return Outcome::Retry {
            reason: format!("Slack asks us to slow down (status {status})"),
            pause,
            fault: Fault::Busy,
        };
    }
    let reason = format!("Slack answered {status}: {}", quote(body));
    match status {
        _ if TRANSIENT.contains(&&*code) => Outcome::Retry { reason, pause, fault: Fault::Transient },
        // The web API's manner: the status is fine and the body is not.
        200..=299 if says_not_ok(body) => Outcome::Retry { reason, pause, fault: Fault::Transient },
        // `ok` is all that Slack says. What else comes with a good status is what compatible servers say (Mattermost,
        // Discord, a stand-in); sending again would only double the message, so we keep what was said.
        200..=299 => Outcome::Done { receipt: receipt(body) },
        408 => Outcome::Retry { reason, pause, fault: Fault::Transient },
        401 | 403 | 404 | 410 => {
            Outcome::Dead { reason: format!("{reason}; is SLACK_WEBHOOK_URL the webhook's address?") }
        }
        400..=499 => Outcome::Dead { reason },
        // 5xx; and redirects, which no webhook needs and a captive portal sends.
        _ => Outcome::Retry { reason, pause, fault: Fault::Transient },
    }
}

/// What became of a message that got no answer. Slack may have taken it; the reference in the message tells a repeat.
pub fn no_answer(failure: &str) -> Outcome {
    Outcome::Retry {
        reason: format!("Slack could not be reached: {}", quote(failure)),
        pause: None,
        fault: Fault::Transient,
    }
}

/// The code by which Slack refuses the message's form, so that a simpler form may still arrive.
pub fn refused_form(body: &str) -> Option<&'static str> {
    let code = code(body);
    FORM.iter().copied().find(|known| *known == code)
}

/// An answer in the manner of the web API, which some proxies and compatible servers use for webhooks as well.
#[derive(Deserialize)]
struct ApiAnswer {
    ok: bool,
    #[serde(default)]
    error: String,
}

fn api_answer(body: &str) -> Option<ApiAnswer> {
    serde_json::from_str(body).ok()
}

fn says_not_ok(body: &str) -> bool {
    api_answer(body).is_some_and(|answer| !answer.ok)
}

/// The code that a body starts with, or that it names in the web API's manner; empty when it is none.
fn code(body: &str) -> Cow<'_, str> {
    if let Some(answer) = api_answer(body) {
        return Cow::Owned(answer.error);
    }
    let body = body.trim_start();
    let end = body.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(body.len());
    Cow::Borrowed(&body[..end])
}

fn receipt(body: &str) -> Option<String> {
    let receipt = harmless(body, RECEIPT_CHARS_MAX);
    (!receipt.is_empty()).then_some(receipt)
}

fn quote(body: &str) -> String {
    let quote = harmless(body, QUOTE_CHARS_MAX);
    if quote.is_empty() { "(empty)".to_owned() } else { quote }
}

/// Reasons end in logs and terminals: no control characters, nothing that turns text, and not a proxy's whole page.
fn harmless(text: &str, chars_max: usize) -> String {
    let shown = text.trim().chars().filter(|c| !c.is_control() && !turns_text(*c));
    shown.take(chars_max).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUSES: &[u16] = &[200, 302, 400, 403, 404, 410, 429, 500, 503];

    fn seconds(seconds: u64) -> Option<Duration> {
        Some(Duration::from_secs(seconds))
    }

    #[test]
    fn a_dead_webhook_keeps_every_message_whatever_the_status() {
        for code in [
            "no_service",
            "no_service_id",
            "no_team",
            "team_disabled",
            "no_active_hooks",
            "invalid_token",
            "channel_not_found",
            "channel_is_archived",
            "action_prohibited",
            "posting_to_general_channel_denied",
            "user_not_found",
        ] {
            for status in STATUSES {
                for body in [code.to_owned(), format!("{code}\n"), format!(r#"{{"ok":false,"error":"{code}"}}"#)] {
                    let Outcome::Retry { reason, .. } = judge(*status, &body, None) else {
                        panic!("{status} {body}");
                    };
                    assert!(reason.starts_with(&format!("Slack says {code}: ")), "{reason}");
                    assert!(reason.contains("; "), "names no remedy: {reason}");
                }
            }
        }
    }

    #[test]
    fn a_refused_form_is_dead_and_recognisable_whatever_the_status() {
        for code in ["invalid_payload", "invalid_blocks", "msg_blocks_too_long", "no_text", "too_many_attachments"] {
            for status in STATUSES {
                assert_eq!(refused_form(code), Some(code));
                let Outcome::Dead { reason } = judge(*status, code, None) else { panic!("{status} {code}") };
                assert!(reason.contains(code), "{reason}");
            }
        }
        for body in ["ok", "", "no_service", "no_texts", "<html>invalid_payload</html>"] {
            assert_eq!(refused_form(body), None, "{body}");
        }
        assert_eq!(refused_form("invalid_blocks: too many"), Some("invalid_blocks"));
    }

    #[test]
    fn good_answers_are_receipts() {
        for (status, body, receipt) in [
            (200, "ok", Some("ok")),
            (200, "ok\n", Some("ok")),
            (204, "", None),
            (200, r#"{"ok":true}"#, Some(r#"{"ok":true}"#)),
            (201, "thank\u{1b}[31m you", Some("thank[31m you")),
        ] {
            assert_eq!(judge(status, body, None), Outcome::Done { receipt: receipt.map(str::to_owned) }, "{body:?}");
        }
        let Outcome::Done { receipt } = judge(200, &"é".repeat(5_000), None) else { panic!() };
        assert_eq!(receipt, Some("é".repeat(100)));
    }

    #[test]
    fn a_pause_is_slack_s_own_wish_within_reason() {
        for (status, body, asked, pause) in [
            (429, "", None, seconds(30)),
            (429, "rate_limited", seconds(7), seconds(7)),
            (429, "", seconds(0), seconds(1)),
            (429, "", seconds(u64::MAX), seconds(86_400)),
            (200, r#"{"ok":false,"error":"ratelimited"}"#, None, seconds(30)),
            (503, "", seconds(5), seconds(5)),
            (503, "", None, None),
            (500, "rollup_error", None, None),
            (400, "rollup_error", None, None),
            (200, r#"{"ok":false,"error":"new_trouble"}"#, None, None),
            (408, "", None, None),
            (302, "", None, None),
        ] {
            let Outcome::Retry { pause: actual, .. } = judge(status, body, asked) else { panic!("{status} {body}") };
            assert_eq!(actual, pause, "{status} {body}");
        }
    }

    #[test]
    fn other_client_errors_are_final() {
        for status in [400, 401, 403, 404, 405, 410, 413, 418, 422] {
            for body in ["", "ok", "something new", "<html>no_service</html>"] {
                assert!(matches!(judge(status, body, None), Outcome::Dead { .. }), "{status} {body}");
            }
        }
    }

    #[test]
    fn reasons_quote_little_and_nothing_that_moves_the_cursor() {
        let body = format!("\u{1b}[2J\r\n\u{202e}{}", "é".repeat(10_000));
        for outcome in [judge(500, &body, None), judge(400, &body, None), no_answer(&body)] {
            let (Outcome::Retry { reason, .. } | Outcome::Dead { reason }) = outcome else { panic!("{outcome:?}") };
            assert!(!reason.chars().any(|c| c.is_control() || c == '\u{202e}'), "{reason}");
            assert!(reason.chars().count() <= 200 + 30, "{reason}");
        }
    }
}
