//! Whether the public URL ends in this very installation: a nonce goes out through the world and has to come in again at
//! our own door. Owns what both sides say, and what it means when something else answers; refuses to know when that is worth
//! asking.
//!
//! Both are proven by a key that only this installation's database has, with a label for each direction, so that nobody can
//! answer with what was asked. The time is judged by one clock: who asks is on the same machine.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::{
    config::Listen,
    http::{Answer, Client, Failure},
    logfmt,
    provider::{is_signed_sha256_hex, sign_sha256_hex},
    secret::Secret,
    time::Timestamp,
};

/// Where the door answers itself.
pub const PATH: &str = "/webhooks/_self";

/// What is asked is much shorter.
pub(super) const BODY_BYTES_MAX: usize = 512;
/// A question is as old as its way is long.
const WINDOW: Duration = Duration::from_secs(5 * 60);

/// Of a page that is not ours.
const QUOTE_CHARS_MAX: usize = 80;

const ASKED: &[u8] = b"hookbell asks itself\n";
const ANSWERED: &[u8] = b"hookbell answers itself\n";

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// We are there.
    Ourselves {
        /// The whole way, there and back.
        took: Duration,
        /// What the other end's clock showed, where it says so.
        date: Option<Timestamp>,
    },
    /// Somebody else is, or something that stands between.
    Another(Answer),
    /// Nobody.
    Nobody(Failure),
}

/// Why the public URL does not lead here, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle {
    /// What is there instead.
    pub what: String,
    /// What to do about it.
    pub remedy: String,
}

impl Found {
    /// Whether a hookbell answers that has no room at this moment. It may be this one, so that nothing follows from it.
    pub fn is_busy(&self) -> bool {
        matches!(self, Found::Another(answer) if answer.status == 503 && is_of_a_hookbell(&answer.body))
    }

    /// How long the whole way took. `listen` is where our door is, and `is_open` whether anybody is at it.
    ///
    /// # Errors
    /// What stands between.
    pub fn way(&self, listen: &Listen, is_open: impl FnOnce() -> bool) -> Result<Duration, Obstacle> {
        match self {
            Found::Ourselves { took, .. } => Ok(*took),
            Found::Another(answer) => Err(obstacle(answer.status, &answer.body, listen, is_open)),
            Found::Nobody(failure) => {
                let text = failure.to_string();
                let (what, remedy) = text.rsplit_once("; ").unwrap_or((&text, "check the network and the name"));
                Err(Obstacle { what: what.to_owned(), remedy: remedy.to_owned() })
            }
        }
    }
}

/// Whether an answer's body is a refusal of a door like ours.
pub fn is_of_a_hookbell(body: &str) -> bool {
    body.starts_with(r#"{"error":""#)
}

/// What an answer from the public URL means that is not what was hoped for. `listen` is where our door is, and `is_open`
/// whether anybody is at it.
pub fn obstacle(status: u16, body: &str, listen: &Listen, is_open: impl FnOnce() -> bool) -> Obstacle {
    let service = match listen {
        Listen::Tcp(address) => format!("http://{address}"),
        Listen::Unix(path) => format!("unix:{}", path.display()),
    };
    let is_hookbell = is_of_a_hookbell(body);
    let leads_here = format!("in cloudflared's configuration the rule must be `service: {service}`");
    let (what, remedy) = match status {
        401 if is_hookbell => ("another hookbell answers there, or this one on another database", leads_here),
        404 if is_hookbell => (
            "a hookbell answers there that does not know the question: another one, or an older version of this",
            format!("restart hookbell; {leads_here}"),
        ),
        404 if body.is_empty() => (
            "cloudflared answers by its last rule: no other has this host name and path",
            "in cloudflared's configuration the rule wants `path: ^/(webhooks?/.*|health)$` and the host name of the \
             public URL"
                .to_owned(),
        ),
        429 if is_hookbell => {
            ("hookbell answers 429: too many calls were not authenticated", "look again in a minute".to_owned())
        }
        503 if is_hookbell => {
            ("hookbell answers 503: it has no room at this moment", "look again in a minute".to_owned())
        }
        502..=504 if !is_open() => ("the tunnel is there, and hookbell is not", "start hookbell".to_owned()),
        502..=504 => ("the tunnel is there, and does not reach hookbell", leads_here),
        521..=530 => (
            "Cloudflare has no tunnel for this name: it is not connected, or the name leads to another",
            "`systemctl status cloudflared`; `cloudflared tunnel route dns TUNNEL HOST-NAME` makes the name lead to it"
                .to_owned(),
        ),
        301..=308 | 401 | 403 => (
            "something on the way asks who calls, and lets no webhook through",
            "take the path /webhooks/ out of Cloudflare Access and of the firewall's rules".to_owned(),
        ),
        _ => ("something else answers there", leads_here),
    };
    let words: String = body.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(QUOTE_CHARS_MAX).collect();
    Obstacle { what: format!("{what} (status {status}: {})", logfmt::value(&words)), remedy }
}

/// Asks at `public_url`. The nonce must never have been used before.
pub fn ask(client: &Client, public_url: &str, key: &Secret, nonce: [u8; 16], now: Timestamp) -> Found {
    let nonce: String = nonce.iter().map(|byte| format!("{byte:02x}")).collect();
    let body = question(key, &nonce, now).to_string();
    let begun = Instant::now();
    match client.post(&format!("{public_url}{PATH}"), "application/json", &[], body.as_bytes()) {
        Ok(answer) if is_ours(key, &nonce, &answer) => Found::Ourselves { took: begun.elapsed(), date: answer.date },
        Ok(answer) => Found::Another(answer),
        Err(failure) => Found::Nobody(failure),
    }
}

fn question(key: &Secret, nonce: &str, now: Timestamp) -> Value {
    let at = now.ms();
    json!({ "nonce": nonce, "at": at, "mac": sign_sha256_hex(key, &[ASKED, nonce.as_bytes(), b"\n", at.to_string().as_bytes()]) })
}

fn is_ours(key: &Secret, nonce: &str, answer: &Answer) -> bool {
    let said: Value = serde_json::from_str(&answer.body).unwrap_or_default();
    let mac = said["mac"].as_str().unwrap_or_default();
    answer.status == 200 && is_signed_sha256_hex(key, &[ANSWERED, nonce.as_bytes()], mac)
}

/// What the door answers; the status and the reason when it does not.
pub(super) fn answer(key: &Secret, body: &[u8], now: Timestamp) -> Result<Value, (u16, &'static str)> {
    // Flat, so that nobody can lead a small stack deep.
    let is_flat = body.iter().filter(|byte| matches!(byte, b'{' | b'[')).count() == 1;
    let said: Value = if is_flat { serde_json::from_slice(body).unwrap_or_default() } else { Value::Null };
    let (Some(nonce), Some(at), Some(mac)) = (said["nonce"].as_str(), said["at"].as_i64(), said["mac"].as_str()) else {
        return Err((400, "a question to ourselves has nonce, at and mac"));
    };
    if !is_signed_sha256_hex(key, &[ASKED, nonce.as_bytes(), b"\n", at.to_string().as_bytes()], mac) {
        return Err((401, "a question to ourselves that is not ours: another installation's, or forged"));
    }
    let at = Timestamp::from_ms(at);
    if now.since(at).max(at.since(now)) > WINDOW {
        return Err((401, "a question to ourselves that is not of now"));
    }
    Ok(json!({ "nonce": nonce, "mac": sign_sha256_hex(key, &[ANSWERED, nonce.as_bytes()]) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_ms(1_763_805_600_042);

    fn key(text: &str) -> Secret {
        Secret::new(text.to_owned()).unwrap()
    }

    fn came(status: u16, body: &Value) -> Answer {
        Answer::of(status, &body.to_string())
    }

    #[test]
    fn we_know_ourselves_and_nobody_else() {
        let (ours, theirs) = (key("ours"), key("theirs"));
        let asked = question(&ours, "00ff", NOW);
        let answered = answer(&ours, asked.to_string().as_bytes(), NOW).unwrap();
        assert!(is_ours(&ours, "00ff", &came(200, &answered)));
        assert!(!is_ours(&ours, "00fe", &came(200, &answered)), "an answer to another question");
        assert!(!is_ours(&theirs, "00ff", &came(200, &answered)));
        assert!(!is_ours(&ours, "00ff", &came(404, &answered)));
        assert!(!is_ours(&ours, "00ff", &came(200, &asked)), "an echo proves nothing");
        for body in [json!({}), json!({ "nonce": "00ff", "mac": "" }), json!("captive")] {
            assert!(!is_ours(&ours, "00ff", &came(200, &body)));
        }
    }

    #[test]
    fn who_answers_is_told_apart() {
        let listen = Listen::Unix("/run/hookbell/door.sock".into());
        let another = |status: u16, body: &str| Found::Another(Answer::of(status, body));
        let said = |is_open: bool, status: u16, body: &str| {
            let Obstacle { what, remedy } = another(status, body).way(&listen, || is_open).unwrap_err();
            format!("{what}; {remedy}")
        };
        for (status, body, says) in [
            (401, r#"{"error":"not authenticated"}"#, "another hookbell answers there"),
            (401, "", "something on the way asks who calls"),
            (404, r#"{"error":"not found"}"#, "an older version"),
            (404, "", "path: ^/(webhooks?/.*|health)$"),
            (429, r#"{"error":"too many"}"#, "429"),
            (502, "Bad gateway", "`service: unix:/run/hookbell/door.sock`"),
            (503, r#"{"error":"too many connections"}"#, "no room at this moment"),
            (503, "Service unavailable", "does not reach hookbell"),
            (530, "error code: 1033", "cloudflared tunnel route dns"),
            (302, "", "Cloudflare Access"),
            (200, "<html>\u{1b} Welcome to the airport", "something else answers there (status 200: \"<html>"),
        ] {
            let text = said(true, status, body);
            assert!(text.contains(says) && !text.contains('\u{1b}'), "{status} {body}: {text}");
        }
        assert!(said(false, 502, "").contains("start hookbell"));
        assert!(another(503, r#"{"error":"too many connections"}"#).is_busy());
        assert!(!another(503, "Service unavailable").is_busy() && !another(401, r#"{"error":"x"}"#).is_busy());

        let ourselves = Found::Ourselves { took: Duration::from_millis(120), date: None };
        assert_eq!(ourselves.way(&listen, || true), Ok(Duration::from_millis(120)));
        let nobody = Found::Nobody(Failure::Dns { host: "x.example".to_owned() });
        let Obstacle { what, remedy } = nobody.way(&listen, || true).unwrap_err();
        assert_eq!(what, "cannot find the address of x.example");
        assert_eq!(remedy, "check the name and this network");
        assert!(!nobody.is_busy());
    }

    #[test]
    fn only_our_own_question_of_now_is_answered() {
        let ours = key("ours");
        let asked = question(&ours, "00ff", NOW);
        let with = |name: &str, value: Value| {
            let mut changed = asked.clone();
            changed[name] = value;
            answer(&ours, changed.to_string().as_bytes(), NOW).map_err(|(status, _)| status)
        };
        assert_eq!(with("nonce", json!("00fe")), Err(401));
        assert_eq!(with("at", json!(NOW.ms() + 1)), Err(401));
        assert_eq!(with("mac", json!("")), Err(401));
        assert_eq!(with("mac", json!(null)), Err(400));
        assert_eq!(with("more", json!([1])), Err(400));
        assert!(with("more", json!(1)).is_ok());
        let of_other = question(&key("theirs"), "00ff", NOW).to_string();
        assert_eq!(answer(&ours, of_other.as_bytes(), NOW).map_err(|(status, _)| status), Err(401));
        for (minutes, expected) in [(4, true), (6, false)] {
            let apart = Duration::from_secs(minutes * 60);
            for now in [NOW.plus(apart), NOW.minus(apart)] {
                assert_eq!(answer(&ours, asked.to_string().as_bytes(), now).is_ok(), expected, "{minutes}");
            }
        }
        for body in ["", "{", "[]", &"[".repeat(BODY_BYTES_MAX), &format!("{{{}", "\"a\":{".repeat(80))] {
            assert_eq!(answer(&ours, body.as_bytes(), NOW).map_err(|(status, _)| status), Err(400));
        }
        assert!(asked.to_string().len() < BODY_BYTES_MAX / 2);
    }
}
