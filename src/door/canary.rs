//! Whether the public URL ends in this very installation: a nonce goes out through the world and has to come in again at
//! our own door. Owns what both sides say; refuses to know when that is worth asking.
//!
//! Both are proven by a key that only this installation's database has, with a label for each direction, so that nobody can
//! answer with what was asked. The time is judged by one clock: who asks is on the same machine.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::{
    http::{Answer, Client, Failure},
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
        Answer { status, retry_after: None, date: None, body: body.to_string() }
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
