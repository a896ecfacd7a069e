//! Slack: `X-Slack-Signature: v0=…`, an HMAC-SHA256 of `v0:`, the time in `X-Slack-Request-Timestamp`, a colon and the
//! body. A delivery is `event_id` and `event.type`, or `trigger_id` and what was used; events are JSON, slash commands
//! are forms, and buttons are JSON in a form. Owns the proof, the identity and the two questions whether we are there.
//!
//! Source of the rules: docs.slack.dev, "Verifying requests from Slack" and "Using the Events API", and slack_sdk,
//! whose window has two sides (bolt-js and events-api let any future time pass).

mod normalise;
mod sample;

use std::{borrow::Cow, time::Duration};

use crate::{headers::Headers, time::Timestamp};

use super::{
    Handshake, Identity, Rejection, Terms, Unverified, json,
    read::{self, Form, Window},
    rules::Rules,
    sample::Sample,
    signature::{self, Algorithm},
};

const SIGNATURE: &str = "X-Slack-Signature";
const TIME: &str = "X-Slack-Request-Timestamp";

/// The only version there is. Fixed: a version that is read from the header lets the sender choose what is signed.
const VERSION: &str = "v0";

/// The longest challenge that is sent back. Slack's have about 52 letters and digits; whatever else a sender would have
/// us say in our name is an ordinary delivery.
const CHALLENGE_BYTES_MAX: usize = 1024;

/// Slack's own; `tolerance` overrides it.
const TOLERANCE: Duration = Duration::from_secs(300);

pub(super) const RULES: Rules = Rules {
    name: "slack",
    options: &["tolerance"],
    admit: |_, headers| proof_of(headers).map(|_| ()),
    judge,
    identify,
    handshake,
    normalise: normalise::normalise,
    samples: sample::LIST,
    build: sample::build,
    envelope: |event_type, body, _| Sample::form_or_json(event_type, body),
    sign: sample::sign,
    ..Rules::COMMON
};

/// The signature first, then its age, which is the header's: a retry carries an old `event_time` and a fresh header.
fn judge(terms: &Terms, request: &Unverified, now: Timestamp) -> Result<usize, Rejection> {
    let (time, seconds, digest) = proof_of(&request.headers)?;
    let parts = [VERSION.as_bytes(), b":", time.as_bytes(), b":", &request.body];
    let by =
        signature::signed_by(&terms.secrets, Algorithm::Sha256, &parts, &[digest]).ok_or(Rejection::SignatureWrong)?;
    read::within(Timestamp::from_ms(seconds * 1000), now, terms.tolerance(TOLERANCE), Window::Both)?;
    Ok(by)
}

/// The time as it is signed and as a number, and the digest.
fn proof_of(headers: &Headers) -> Result<(&str, i64, Vec<u8>), Rejection> {
    let malformed = |why| Rejection::malformed(SIGNATURE, why);
    let signature = read::proof_text(headers, SIGNATURE)?;
    let time = read::proof_text(headers, TIME)?;
    let seconds = read::seconds(TIME, time)?;
    let (version, digits) = signature.split_once('=').ok_or(malformed("it does not begin with v0="))?;
    if version != VERSION {
        return Err(malformed("it is of another version than v0"));
    }
    let digest = read::hex(digits.as_bytes()).filter(|digest| digest.len() == Algorithm::Sha256.bytes());
    Ok((time, seconds, digest.ok_or(malformed("after v0= there must be 64 lower-case hexadecimal digits"))?))
}

/// The two shapes of a body.
enum Body<'b> {
    /// JSON, by itself or as a form's field `payload`.
    Json(Cow<'b, [u8]>),
    /// The fields of a slash command.
    Form(Form<'b>),
}

impl<'b> Body<'b> {
    fn of(headers: &Headers, body: &'b [u8]) -> Body<'b> {
        if !read::is_form(headers) {
            return Body::Json(Cow::Borrowed(body));
        }
        let form = Form::of(body);
        match form.get("payload") {
            Some(json) => Body::Json(Cow::Owned(json.as_bytes().to_vec())),
            None => Body::Form(form),
        }
    }
}

fn identify(_: &Terms, request: &Unverified) -> Result<Identity, Rejection> {
    let identity = match Body::of(&request.headers, &request.body) {
        Body::Json(json) => {
            let [event, kind, id, trigger] = json::values(&json, ["/event/type", "/type", "/event_id", "/trigger_id"]);
            Identity::of(event.text().or(kind.text()), id.text().or(trigger.text()))
        }
        Body::Form(form) => Identity::of(form.get("command").map(|_| normalise::SLASH_COMMAND), form.get("trigger_id")),
    };
    Ok(Identity { note: retry(&request.headers), ..identity })
}

/// What Slack says about why it calls again. Not signed, so nothing is decided by it.
fn retry(headers: &Headers) -> Option<String> {
    let number = headers.text("X-Slack-Retry-Num")?;
    let is_number = (1..=3).contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_digit());
    let is_word = |word: &&str| {
        (1..=40).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
    };
    let reason = headers.text("X-Slack-Retry-Reason").filter(is_word).map(|word| format!(" ({word})"));
    is_number.then(|| format!("Slack's retry {number}{}", reason.unwrap_or_default()))
}

/// `url_verification` when the address is set, and the probe that slash commands get now and then.
fn handshake(request: &Unverified) -> Option<Handshake> {
    let answer = |body| Some(Handshake { status: 200, content_type: "text/plain; charset=utf-8", body });
    match Body::of(&request.headers, &request.body) {
        Body::Json(json) => {
            let [kind, challenge] = json::values(&json, ["/type", "/challenge"]);
            let is_question = kind.text() == Some(normalise::URL_VERIFICATION);
            answer(challenge.text().filter(|text| is_question && is_challenge(text))?.to_owned())
        }
        Body::Form(form) => form.get("ssl_check").filter(|value| *value == "1").and_then(|_| answer(String::new())),
    }
}

fn is_challenge(text: &str) -> bool {
    (1..=CHALLENGE_BYTES_MAX).contains(&text.len()) && text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::{
        Context, Normalised, Options, Provider, Verified, sample as samples,
        tests::{NOW, arrived, delivery, own_terms, request, signed, terms, with_header},
        verify,
    };

    #[test]
    fn the_window_has_two_sides() {
        let mut terms = terms(Provider::Slack, &["key"]);
        let good = request(Provider::Slack, "message");
        let at =
            |terms: &Terms, seconds: i64| judge(terms, &good, Timestamp::from_ms(NOW.ms() + seconds * 1000)).is_ok();
        assert!(at(&terms, 300) && at(&terms, -300));
        assert!(!at(&terms, 301) && !at(&terms, -301));
        terms.options.tolerance = Some(Duration::ZERO);
        assert!(at(&terms, 1_000_000));
    }

    #[test]
    fn one_version_and_one_signature() {
        let terms = terms(Provider::Slack, &["key"]);
        let good = request(Provider::Slack, "command");
        let value = good.headers.text(SIGNATURE).expect("signed").to_owned();
        let check = |value: &str, passes: bool| {
            let verdict = judge(&terms, &with_header(&good, SIGNATURE, Some(value.as_bytes())), NOW);
            assert_eq!(verdict.is_ok(), passes, "{value}: {verdict:?}");
        };
        check(&value, true);
        check(&value.replace("v0", "v1"), false);
        check(&value[3..], false);
        check(&value.to_uppercase(), false);
        check(&format!("v0=00,{value}"), false);
        check(&format!("{value},{value}"), false);
    }

    #[test]
    fn retries_are_noted_and_change_nothing_else() {
        let terms = terms(Provider::Slack, &["key"]);
        let good = request(Provider::Slack, "app_mention");
        let check = |number: &str, reason: &str, expected: Option<&str>| {
            let retried = with_header(&good, "X-Slack-Retry-Num", Some(number.as_bytes()));
            let retried = with_header(&retried, "X-Slack-Retry-Reason", Some(reason.as_bytes()));
            let parts = delivery(verify(&terms, retried, NOW).expect("signed")).into_parts();
            assert_eq!(parts.note.as_deref(), expected, "{number} {reason}");
            assert_eq!(parts.event_type, "app_mention");
        };
        check("1", "http_timeout", Some("Slack's retry 1 (http_timeout)"));
        check("3", "<script>", Some("Slack's retry 3"));
        check("x", "http_timeout", None);
        check("", "", None);
    }

    #[test]
    fn questions_are_answered_and_never_stored() {
        let bare = |content_type: &str, body: &str| Unverified {
            target: "/".to_owned(),
            headers: [("Content-Type", content_type.as_bytes())].into_iter().collect(),
            body: body.as_bytes().to_vec(),
        };
        let (json, form) = ("application/json", "application/x-www-form-urlencoded");
        let check = |content_type: &str, body: &str, expected: Option<&str>| {
            assert_eq!(handshake(&bare(content_type, body)).map(|answer| answer.body).as_deref(), expected, "{body}");
        };
        check(json, r#"{"type":"url_verification","challenge":"abc"}"#, Some("abc"));
        check(form, "ssl_check=1&token=x", Some(""));
        check(form, "ssl_check=0&command=%2Flamp", None);
        check(json, r#"{"type":"event_callback","challenge":"abc"}"#, None);
        check(json, r#"{"type":"url_verification","challenge":7}"#, None);
        check(json, "[]", None);
        let asked = |challenge: &str| format!(r#"{{"type":"url_verification","challenge":"{challenge}"}}"#);
        let longest = "x".repeat(CHALLENGE_BYTES_MAX);
        check(json, &asked(&longest), Some(&longest));
        for wrong in ["", &format!("{longest}x"), "a\\nb", "é", "a\\u0000"] {
            check(json, &asked(wrong), None);
        }
        let long = samples::for_payload(Provider::Slack, "x", asked(&format!("{longest}x")).into_bytes(), 7);
        let verified =
            verify(&own_terms(Provider::Slack), arrived(Provider::Slack, signed(Provider::Slack, long)), NOW);
        assert_eq!(delivery(verified.expect("signed")).event_type(), "url_verification");
        let verified = verify(&terms(Provider::Slack, &["key"]), request(Provider::Slack, "url_verification"), NOW);
        assert!(matches!(verified, Ok(Verified::Handshake(_))), "{verified:?}");
    }

    /// What a body is told as: the kind, the actor, the repository and the title; or why it is not.
    fn told(content_type: &str, body: &str) -> String {
        let headers: Headers = [("Content-Type", content_type.as_bytes())].into_iter().collect();
        let context = Context { provider: Provider::Slack, source: "desk", options: &Options::NONE };
        match normalise::normalise(&context, "unknown", &headers, body.as_bytes()) {
            Normalised::Events(events) | Normalised::Partly { events, .. } => {
                let event = &events[0];
                format!("{} {} {}: {}", event.kind, event.actor, event.repository, event.title)
            }
            Normalised::Skipped(why) | Normalised::Undecodable(why) => why,
        }
    }

    #[test]
    fn each_becomes_what_a_reader_of_the_documentation_expects() {
        let event =
            |fields: &str| told("application/json", &format!(r#"{{"type":"event_callback","event":{{{fields}}}}}"#));
        let check = |fields: &str, expected: &str| assert_eq!(event(fields), expected, "{fields}");
        check(r#""type":"message","user":"U1","channel":"C1","text":"a &lt; b &amp;lt;""#, "message U1 C1: a < b &lt;");
        check(r#""type":"message","bot_id":"B1","channel":"C1","text":"a""#, "a message that an app wrote");
        check(
            r#""type":"message","subtype":"message_changed","channel":"C1""#,
            "message.message_changed is not a message that somebody wrote",
        );
        check(r#""type":"message","user":"U1","channel":"C1","text":" ""#, "a message without words or files");
        check(
            r#""type":"message","subtype":"file_share","user":"U1","channel":"C1","text":"",
                "files":[{"name":"a.png"}]"#,
            "message U1 C1: a.png",
        );
        check(r#""type":"app_mention","user":"U1","channel":"C1","text":"<@U2> hi""#, "app_mention U1 C1: <@U2> hi");
        check(
            r#""type":"reaction_added","user":"U1","reaction":"tada",
                "item":{"type":"message","channel":"C1","ts":"1.2"}"#,
            "reaction_added U1 C1: :tada: on a message",
        );
        check(
            r#""type":"channel_created","channel":{"id":"C1","name":"lamps","creator":"U1"}"#,
            "channel_created U1 lamps: lamps",
        );
        check(r#""type":"member_joined_channel","user":"U1","channel":"C1""#, "member_joined U1 C1: U1 joined C1");
        check(
            r#""type":"team_join","user":{"id":"U1","name":"ada"}"#,
            "member_joined ada slack: ada joined the workspace",
        );
        check(r#""type":"tokens_revoked""#, "tokens_revoked is not an event we tell about");

        let form = |body: &str| told("application/x-www-form-urlencoded", body);
        assert_eq!(form("command=%2Flamp&text=on&user_name=ada&channel_name=desk"), "command ada desk: /lamp on");
        assert_eq!(form("token=x"), "the body is a form with neither a command nor a payload");
        let button = r#"payload={"type":"block_actions","user":{"username":"ada"},"channel":{"name":"desk"},
            "actions":[{"type":"button","text":{"text":"On"}}]}"#;
        assert_eq!(form(button), "interaction ada desk: pressed On");
        assert_eq!(form(r#"payload={"type":"view_closed"}"#), "view_closed is not an event we tell about");
        assert_eq!(form("payload=%"), "the body is not a JSON object");
    }
}
