//! What Slack's answer means for the parcel. Owns the vocabulary of an incoming webhook's answers and of the web API's;
//! refuses to know HTTP and retries' timing.
//!
//! The body decides before the status. The web API says 200 to nearly everything; an incoming webhook answers with a short
//! code, and the statuses that come with one code differ between Slack's own changelog (2016-05-17, "Changes to errors for
//! incoming webhooks"), its later documentation and what clients have seen.

use std::{borrow::Cow, time::Duration};

use serde::Deserialize;
use serde_json::Value;

use crate::sink::{
    Fault, Outcome,
    answers::{harmless, quote},
};

/// The pause after a 429 that does not say how long.
const PAUSE_DEFAULT: Duration = Duration::from_secs(30);
/// A webhook takes one message a second, so a shorter pause is none.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// No answer, however odd, silences the sink for longer.
const PAUSE_MAX: Duration = Duration::from_secs(86_400);

const RECEIPT_CHARS_MAX: usize = 100;
const ID_CHARS_MAX: usize = 80;

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
    // The web API's words for the same.
    "invalid_arguments",
    "invalid_array_arg",
    "invalid_json",
    "json_not_object",
];

const RATE_LIMITED: &[&str] = &["ratelimited", "rate_limited", "message_limit_exceeded"];

const TRANSIENT: &[&str] = &["rollup_error", "internal_error", "fatal_error", "service_unavailable", "request_timeout"];

/// The token is at fault, or what it may do; beside the scope that is missing, which the answer names.
const TOKEN: &[(&str, &str)] = &[
    ("invalid_auth", "the token is wrong; copy the bot token from the Slack app's page and set SLACK_BOT_TOKEN"),
    ("not_authed", "the token did not arrive; set SLACK_BOT_TOKEN, and look at what stands between"),
    ("account_inactive", "the token's user or workspace is gone; install the Slack app again and set SLACK_BOT_TOKEN"),
    ("token_revoked", "the token was revoked; install the Slack app again and set SLACK_BOT_TOKEN"),
    ("token_expired", "the token has expired; turn off token rotation in the Slack app, and set SLACK_BOT_TOKEN"),
    ("not_allowed_token_type", "it takes a bot token, xoxb-…; set SLACK_BOT_TOKEN"),
    ("no_permission", "the token may not do this; give the Slack app the scope chat:write and install it again"),
    ("missing_scope", "give the Slack app the scope and install it again"),
    ("org_login_required", "the workspace is being moved to another organisation; wait, or ask its administrator"),
    ("ekm_access_denied", "an administrator has suspended posting; ask them"),
    ("team_not_found", "the token's workspace is gone; install the Slack app in another one and set SLACK_BOT_TOKEN"),
    ("team_access_not_granted", "the token has no access to the workspace; ask an administrator"),
    ("access_denied", "an administrator forbids it; ask for permission"),
    ("accesslimited", "this network may not use the workspace; ask an administrator"),
    ("enterprise_is_restricted", "the organisation does not allow it; use a workspace's token"),
    ("two_factor_setup_required", "the token's user has to set up two-factor authentication"),
];

/// The channel is at fault. There are many that begin with the last one.
const CHANNEL: &[(&str, &str)] = &[
    ("not_in_channel", "invite the bot: type /invite @ and its name in the channel"),
    ("channel_not_found", "check the name; into a private channel the bot has to be invited: /invite @ and its name"),
    ("is_archived", "restore the channel, or name another one"),
    ("channel_is_archived", "restore the channel, or name another one"),
    ("is_inactive", "the channel is frozen or gone; name another one"),
    ("method_not_supported_for_channel_type", "the bot cannot post there; name another channel"),
    ("cannot_post_to_channel", "the bot cannot post there; name another channel"),
    ("restricted_action", "a setting of the workspace forbids the bot to post there; ask an administrator"),
];

/// The message that was answered to, or changed, is not there any more, or nobody may answer to it.
const GONE: &[&str] = &[
    "message_not_found",
    "thread_not_found",
    "thread_locked",
    "restricted_action_thread_locked",
    "invalid_thread_ts",
    "cannot_reply_to_message",
];

/// What the web API answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// It did what it was asked.
    Done(Posted),
    /// It did not, or there was no answer.
    Refused(Refusal),
}

/// What the web API says about a message that it took. Empty where it says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Posted {
    /// The channel's id.
    pub channel: String,
    /// The message's id within the channel.
    pub ts: String,
    /// The answer shows the message, and it is in no thread. Whoever answers to a message that was deleted gets no error:
    /// the answer stands in the channel (slack-go/slack#1571).
    pub is_alone: bool,
}

/// Why the web API did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Slack's word; empty where there is none.
    pub code: String,
    /// What is at fault.
    pub at_fault: AtFault,
    /// What that means for the message.
    outcome: Outcome,
}

/// What stands in the way of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtFault {
    /// Nothing that lasts.
    Now,
    /// The token.
    Token,
    /// The channel.
    Channel,
    /// The message's form.
    Form,
    /// What the message refers to: it is gone, or closed.
    Gone,
    /// Something else.
    Other,
}

impl Refusal {
    /// What became of the message. A channel that only a rule `asked` for must not keep the others waiting: the message is
    /// given up, and can be requeued once that is repaired.
    pub fn outcome(self, asked: &str) -> Outcome {
        match self.outcome {
            Outcome::Retry { reason, .. } if self.at_fault == AtFault::Channel && !asked.is_empty() => {
                let channel = harmless(asked, RECEIPT_CHARS_MAX);
                Outcome::Dead { reason: format!("{reason} (a rule's channel: {channel}); then requeue it") }
            }
            outcome => outcome,
        }
    }

    /// Slack's word, or what else there is to say.
    pub fn why(&self) -> &str {
        match &self.outcome {
            Outcome::Retry { reason, .. } | Outcome::Dead { reason } => reason,
            Outcome::Done { .. } | Outcome::Skipped { .. } => &self.code,
        }
    }

    /// Whether Slack only asks to slow down.
    pub fn is_rate_limit(&self) -> bool {
        self.at_fault == AtFault::Now && matches!(self.outcome, Outcome::Retry { fault: Fault::Busy, .. })
    }

    /// No answer came. Slack may have taken it; the reference in the message tells a repeat.
    pub fn unanswered(failure: &str) -> Refusal {
        Refusal { code: String::new(), at_fault: AtFault::Now, outcome: no_answer(failure) }
    }
}

/// What the web API means by this status, body and `Retry-After`.
pub fn reply(status: u16, body: &str, retry_after: Option<Duration>) -> Reply {
    let json: Value = serde_json::from_str(body).unwrap_or_default();
    let text = |name: &str| json[name].as_str().unwrap_or_default();
    match json["ok"].as_bool() {
        Some(true) => {
            let message = &json["message"];
            let is_alone = message["ts"].is_string() && message["thread_ts"].is_null();
            return Reply::Done(Posted { channel: id(text("channel")), ts: id(text("ts")), is_alone });
        }
        // Slack repeats the message in its answer, of which we read the beginning: to take a cut one for a failure would
        // mean to send the message for ever.
        None if status == 200 && body.starts_with(r#"{"ok":true,"#) => {
            let field =
                |name: &str| body.split_once(&format!(r#""{name}":""#)).and_then(|(_, rest)| rest.split('"').next());
            let [channel, ts] = ["channel", "ts"].map(|name| id(field(name).unwrap_or_default()));
            return Reply::Done(Posted { channel, ts, is_alone: false });
        }
        _ => {}
    }
    let code = id(text("error"));
    let retry = |reason, pause, fault| Outcome::Retry { reason, pause, fault };
    let rate_limited = status == 429 || RATE_LIMITED.contains(&code.as_str());
    let pause = retry_after.or(rate_limited.then_some(PAUSE_DEFAULT)).map(|pause| pause.clamp(PAUSE_MIN, PAUSE_MAX));
    let known =
        |list: &[(&str, &'static str)]| list.iter().find(|(known, _)| *known == code).map(|(_, remedy)| *remedy);
    let is_gone = GONE.contains(&code.as_str());
    let restricted = (code.starts_with("restricted_action") && !is_gone).then_some("restricted_action");
    let channel = CHANNEL.iter().find(|(known, _)| *known == restricted.unwrap_or(&code)).map(|(_, remedy)| *remedy);

    let (at_fault, outcome) = if let Some(remedy) = known(TOKEN) {
        let scope = match (code.as_str(), id(text("needed"))) {
            ("missing_scope", needed) if !needed.is_empty() => format!(" {needed}"),
            _ => String::new(),
        };
        (AtFault::Token, retry(format!("Slack says {code}{scope}: {remedy}"), pause, Fault::Configuration))
    } else if let Some(remedy) = channel {
        (AtFault::Channel, retry(format!("Slack says {code}: {remedy}"), pause, Fault::Configuration))
    } else if FORM.contains(&code.as_str()) {
        let reason = format!("Slack refuses the message: {code} (status {status}); please report it to hookbell");
        (AtFault::Form, Outcome::Dead { reason })
    } else if rate_limited {
        let reason = format!("Slack asks us to slow down (status {status})");
        (AtFault::Now, retry(reason, pause, Fault::Busy))
    } else {
        let reason = format!("Slack answered {status}: {}", quote(body));
        match status {
            _ if is_gone => (AtFault::Gone, Outcome::Dead { reason }),
            _ if TRANSIENT.contains(&code.as_str()) => (AtFault::Now, retry(reason, pause, Fault::Transient)),
            // What Slack will say one day: the message may be good, and so may all others be.
            _ if !code.is_empty() && status < 500 => (AtFault::Other, retry(reason, pause, Fault::Busy)),
            401 | 403..=405 | 410 => {
                let reason = format!("{reason}; is `api` the address of Slack's web API?");
                (AtFault::Now, retry(reason, pause, Fault::Configuration))
            }
            408 => (AtFault::Now, retry(reason, pause, Fault::Transient)),
            400..=499 => (AtFault::Other, Outcome::Dead { reason }),
            // 5xx; and good statuses without an answer of Slack's, as a captive portal gives.
            _ => (AtFault::Now, retry(reason, pause, Fault::Transient)),
        }
    };
    Reply::Refused(Refusal { code, at_fault, outcome })
}

/// An id or a code of Slack's, which ends in receipts and reasons.
fn id(text: &str) -> String {
    harmless(text, ID_CHARS_MAX)
}

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
            (201, "thank\u{1b}[31m you", Some("thank [31m you")),
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

    fn refusal(status: u16, body: &str, wish: Option<Duration>) -> Refusal {
        match reply(status, body, wish) {
            Reply::Refused(refusal) => refusal,
            Reply::Done(posted) => panic!("{status} {body}: {posted:?}"),
        }
    }

    fn error(code: &str) -> String {
        format!(r#"{{"ok":false,"error":"{code}"}}"#)
    }

    #[test]
    fn the_web_api_s_good_answers_say_where_the_message_is() {
        let posted = |channel: &str, ts: &str, is_alone| {
            Reply::Done(Posted { channel: channel.to_owned(), ts: ts.to_owned(), is_alone })
        };
        for (body, expected) in [
            (r#"{"ok":true,"channel":"C1","ts":"17.1"}"#, posted("C1", "17.1", false)),
            (r#"{"ok":true,"channel":"C1","ts":"17.1","message":{"text":"x"}}"#, posted("C1", "17.1", false)),
            (r#"{"ok":true,"channel":"C1","ts":"1","message":{"ts":"1"}}"#, posted("C1", "1", true)),
            (r#"{"ok":true,"channel":"C1","ts":"2","message":{"ts":"2","thread_ts":"1"}}"#, posted("C1", "2", false)),
            (r#"{"ok":true,"channel":"C1","ts":"17.1","message":{"text":"cut he"#, posted("C1", "17.1", false)),
            (r#"{"ok":true}"#, posted("", "", false)),
        ] {
            assert_eq!(reply(200, body, None), expected, "{body}");
        }
    }

    #[test]
    fn the_web_api_s_dead_configuration_names_its_remedy_whatever_the_status() {
        for (code, at_fault, remedy) in [
            ("invalid_auth", AtFault::Token, "SLACK_BOT_TOKEN"),
            ("not_authed", AtFault::Token, "SLACK_BOT_TOKEN"),
            ("account_inactive", AtFault::Token, "SLACK_BOT_TOKEN"),
            ("token_revoked", AtFault::Token, "SLACK_BOT_TOKEN"),
            ("token_expired", AtFault::Token, "SLACK_BOT_TOKEN"),
            ("team_not_found", AtFault::Token, "SLACK_BOT_TOKEN"),
            ("no_permission", AtFault::Token, "chat:write"),
            ("org_login_required", AtFault::Token, "administrator"),
            ("ekm_access_denied", AtFault::Token, "ask"),
            ("not_in_channel", AtFault::Channel, "/invite @"),
            ("channel_not_found", AtFault::Channel, "/invite @"),
            ("is_archived", AtFault::Channel, "restore"),
            ("is_inactive", AtFault::Channel, "another"),
            ("restricted_action", AtFault::Channel, "administrator"),
            ("restricted_action_read_only_channel", AtFault::Channel, "administrator"),
        ] {
            for status in STATUSES {
                let refusal = refusal(*status, &error(code), None);
                assert_eq!((refusal.code.as_str(), refusal.at_fault), (code, at_fault));
                let Outcome::Retry { reason, fault, .. } = refusal.clone().outcome("") else {
                    panic!("{status} {code}")
                };
                assert_eq!(fault, Fault::Configuration);
                assert!(reason.starts_with(&format!("Slack says {code}: ")) && reason.contains(remedy), "{reason}");
                let is_dead = matches!(refusal.outcome("#ops"), Outcome::Dead { reason } if reason.contains("#ops"));
                assert_eq!(is_dead, at_fault == AtFault::Channel, "{code}");
            }
        }
        let body = r#"{"ok":false,"error":"missing_scope","needed":"chat:write","provided":"x"}"#;
        let why = "Slack says missing_scope chat:write: give the Slack app the scope and install it again";
        assert_eq!(refusal(200, body, None).why(), why);
    }

    #[test]
    fn the_web_api_s_other_refusals() {
        use AtFault::{Form, Gone, Now, Other};
        for (status, body, wish, at_fault, is_dead, pause) in [
            (429, "", None, Now, false, seconds(30)),
            (200, error("ratelimited").as_str(), seconds(7), Now, false, seconds(7)),
            (200, &error("internal_error"), None, Now, false, None),
            (200, &error("new_trouble"), None, Other, false, None),
            (200, &error("message_not_found"), None, Gone, true, None),
            (200, &error("thread_not_found"), None, Gone, true, None),
            (200, &error("thread_locked"), None, Gone, true, None),
            (200, &error("restricted_action_thread_locked"), None, Gone, true, None),
            (200, &error("invalid_blocks"), None, Form, true, None),
            (200, &error("msg_too_long"), None, Form, true, None),
            (200, "<html>log in</html>", None, Now, false, None),
            (302, "", None, Now, false, None),
            (404, "not found", None, Now, false, None),
            (413, "too large", None, Other, true, None),
            (503, "", seconds(5), Now, false, seconds(5)),
        ] {
            let refusal = refusal(status, body, wish);
            assert_eq!(refusal.at_fault, at_fault, "{status} {body}");
            match refusal.outcome("") {
                Outcome::Dead { .. } => assert!(is_dead, "{status} {body}"),
                Outcome::Retry { pause: actual, .. } => {
                    assert_eq!((false, pause), (is_dead, actual), "{status} {body}")
                }
                other => panic!("{other:?}"),
            }
        }
        // What only says something about one message counts against nobody.
        for (status, code, fault, is_rate_limit) in [
            (200, "ratelimited", Fault::Busy, true),
            (429, "new_trouble", Fault::Busy, true),
            (200, "new_trouble", Fault::Busy, false),
            (400, "new_trouble", Fault::Busy, false),
            (503, "new_trouble", Fault::Transient, false),
            (200, "internal_error", Fault::Transient, false),
        ] {
            let refusal = refusal(status, &error(code), None);
            assert_eq!(refusal.is_rate_limit(), is_rate_limit, "{status} {code}");
            let outcome = refusal.outcome("#ops");
            assert!(matches!(outcome, Outcome::Retry { fault: actual, .. } if actual == fault), "{outcome:?}");
        }
        assert!(refusal(404, "", None).why().contains("`api`"));
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
