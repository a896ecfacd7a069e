//! Other programs by HTTP: each event is posted as JSON and signed anew by the rules of Standard Webhooks. Owns one
//! parcel's way there and what the answer means; refuses to know when to try again, and how HTTP is spoken.
//!
//! The id is the parcel's reference, the same each time it is tried: by it a receiver knows a repeat. The time is that of
//! the attempt, because receivers refuse old ones.
//!
//! Source of the rules: github.com/standard-webhooks/standard-webhooks, specification. 410 is its word for "no more".

use std::{sync::Arc, time::Duration};

use super::{
    Originals, Outcome, Parcel, Probe, Sink,
    answers::{configuration, judge, no_answer, quote, transient},
    told::{self, Original},
};
use crate::{
    http::{Answer, Client, Failure, Reach},
    provider::sign_message,
    secret::Secret,
    time::{Clock, Timestamp},
};

/// Whom the answers are from, in reasons.
const WHO: &str = "the receiver";

/// Receivers refuse a time that is five minutes off; `Date` is in whole seconds, and an answer takes its time.
const CLOCKS_APART_MAX: Duration = Duration::from_secs(4 * 60);

/// What the configuration says.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where to post.
    pub url: String,
    /// Each of them signs; never empty.
    pub secrets: Vec<Secret>,
    /// Whether addresses that are not public may be called, and in the clear.
    pub allow_private: bool,
    /// Whether the request that the event came in is told as well.
    pub include_body: bool,
}

impl Settings {
    /// Whom the client of such a sink may connect to.
    pub fn reach(&self) -> Reach {
        if self.allow_private { Reach::Private } else { Reach::Public }
    }
}

/// A receiver as a sink.
pub struct Forward {
    settings: Settings,
    /// There where `include_body` asks for it.
    originals: Option<Box<dyn Originals>>,
    client: Client,
    clock: Arc<dyn Clock>,
}

impl Forward {
    /// Posts as `settings` say. `originals` are only asked where they include the body.
    pub fn new(settings: Settings, originals: Option<Box<dyn Originals>>, clock: Arc<dyn Clock>) -> Forward {
        let client = Client::within(settings.reach());
        Forward { settings, originals, client, clock }
    }

    fn body(&self, parcel: &Parcel) -> Result<Vec<u8>, Outcome> {
        let Some(originals) = self.originals.as_ref().filter(|_| self.settings.include_body) else {
            return Ok(told::message(parcel, Original::Unasked));
        };
        let body = originals.body(parcel.delivery).map_err(transient)?;
        Ok(told::message(parcel, Original::Body(body.as_deref())))
    }

    fn post(&self, parcel: &Parcel) -> Result<Outcome, Outcome> {
        let body = self.body(parcel)?;
        let signed = sign_message(&self.settings.secrets, &parcel.reference, self.clock.wall(), &body);
        // The configuration has tried each secret.
        let signed = signed.map_err(|why| configuration(format!("cannot sign: {why}")))?;
        let headers = signed.each_ref().map(|(name, value)| (*name, value.as_str()));
        match self.client.post(&self.settings.url, "application/json", &headers, &body) {
            Ok(answer) => Ok(judged(&answer, self.clock.wall())),
            Err(failure) => Err(self.unanswered(failure)),
        }
    }

    fn unanswered(&self, failure: Failure) -> Outcome {
        match failure {
            Failure::Forbidden { .. } => {
                let remedy =
                    if self.settings.allow_private { "" } else { "; if it should be called, set allow_private = true" };
                configuration(format!("{failure}{remedy}"))
            }
            Failure::Other { cause } => configuration(cause),
            failure => no_answer(WHO, &failure),
        }
    }

    /// Whether the receiver is there. What it makes of a message only a message tells, so nearly any answer will do.
    pub fn probe(&self) -> Probe {
        match self.client.head(&self.settings.url) {
            Ok(Answer { status, date, .. }) => {
                let said = format!("the receiver is there: it answers {status} to a HEAD");
                match status {
                    404 | 410 | 500.. => Probe { outcome: Outcome::Skipped { note: said }, date },
                    _ => Probe::done(said, date),
                }
            }
            Err(failure) => self.unanswered(failure).into(),
        }
    }
}

impl Sink for Forward {
    fn deliver(&mut self, parcel: &Parcel) -> Outcome {
        match self.post(parcel) {
            Ok(outcome) | Err(outcome) => outcome,
        }
    }
}

/// What the receiver means. What it refuses for our clock or our secret it does not refuse for the event's own sake.
fn judged(answer: &Answer, now: Timestamp) -> Outcome {
    let (status, said) = (answer.status, quote(&answer.body));
    let clock = answer.date.and_then(|date| clock_is_off(now, date));
    match (status, judge(WHO, answer), &clock) {
        (401 | 403, ..) => {
            let clock = clock.as_ref().map(|off| format!("; {off}")).unwrap_or_default();
            configuration(format!(
                "the receiver does not believe us (status {status}): {said}; check the secret, and this machine's \
                 clock{clock}"
            ))
        }
        (404 | 405, ..) => {
            configuration(format!("nothing takes messages there (status {status}): {said}; check `url`"))
        }
        (410, ..) => configuration(format!(
            "410 Gone: the receiver does not want any more; remove the sink, or mend it and wait for the next try \
             (it says: {said})"
        )),
        (_, Outcome::Dead { reason }, Some(off)) => transient(format!("{off}; {reason}")),
        (_, outcome, _) => outcome,
    }
}

/// How far the two clocks are apart, where a receiver may refuse the time for it.
fn clock_is_off(ours: Timestamp, theirs: Timestamp) -> Option<String> {
    let apart = ours.since(theirs).max(theirs.since(ours));
    let minutes = apart.as_secs() / 60;
    (apart > CLOCKS_APART_MAX).then(|| format!("our clock is {minutes} min off the receiver's"))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::{
        event::Event,
        headers::Headers,
        provider::{Provider, Terms, Unverified, judge as verify},
        sink::{
            Fault,
            server::{Heard, Server},
        },
        time::{ManualClock, Timestamp},
    };

    const OLD: &str = "whsec_b2xkIG9sZCBvbGQgb2xkIG9sZA==";
    const NEW: &str = "whsec_bmV3IG5ldyBuZXcgbmV3IG5ldw==";
    const NOW: Timestamp = Timestamp::from_ms(1_763_805_600_042);

    struct Kept;

    impl Originals for Kept {
        fn body(&self, delivery: i64) -> Result<Option<Vec<u8>>, String> {
            match delivery {
                1 => Ok(Some(b"{\"as\":\"it came\"}".to_vec())),
                4 => Ok(Some(vec![b'x'; 25 * 1024 * 1024])),
                2 => Ok(None),
                _ => Err("the disk is on fire".to_owned()),
            }
        }
    }

    fn forward(url: String, include_body: bool, allow_private: bool) -> Forward {
        let secrets = [OLD, NEW].map(|secret| Secret::new(secret.to_owned()).unwrap()).to_vec();
        let settings = Settings { url, secrets, allow_private, include_body };
        Forward::new(settings, Some(Box::new(Kept)), Arc::new(ManualClock::new(NOW)))
    }

    fn parcel(delivery: i64) -> Parcel {
        Parcel { delivery, received: NOW, ..Parcel::of(Event::of("issue_opened")) }
    }

    /// What the receiver got, and what its answer meant.
    fn deliver(answer: &str, parcel: &Parcel, include_body: bool) -> (Outcome, Heard) {
        let server = Server::start(&[Some(answer)]);
        let outcome = forward(server.url("/hook?key=1"), include_body, true).deliver(parcel);
        (outcome, server.heard().remove(0))
    }

    const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nthanks";

    /// As a receiver with that secret judges it.
    fn judged(heard: &Heard, secret: &str, now: Timestamp) -> bool {
        let mut headers = Headers::default();
        for (name, value) in &heard.headers {
            headers.push(name, value.as_bytes());
        }
        let request = Unverified { target: "/".to_owned(), headers, body: heard.body.clone() };
        let terms = Terms::new(Provider::StandardWebhooks, vec![Secret::new(secret.to_owned()).unwrap()]);
        verify(&terms, &request, now).is_ok()
    }

    #[test]
    fn a_receiver_with_either_secret_can_prove_it() {
        let (outcome, heard) = deliver(OK, &parcel(1), false);
        assert_eq!(outcome, Outcome::Done { receipt: Some("200 thanks".to_owned()) });
        assert_eq!((heard.line.as_str(), heard.header("webhook-id")), ("POST /hook?key=1 HTTP/1.1", "ref-1"));
        assert_eq!(heard.header("webhook-timestamp"), "1763805600");
        assert_eq!(heard.header("webhook-signature").matches("v1,").count(), 2);
        assert!(judged(&heard, OLD, NOW) && judged(&heard, NEW, NOW));
        assert!(!judged(&heard, "whsec_b3RoZXIgb3RoZXIgb3RoZXI=", NOW));
        assert!(!judged(&heard, OLD, NOW.plus(Duration::from_secs(301))));
        let body: Value = serde_json::from_slice(&heard.body).unwrap();
        assert_eq!((&body["type"], &body["data"]["reference"]), (&"issue_opened".into(), &"ref-1".into()));
        assert_eq!(body["data"].get("body"), None);
    }

    #[test]
    fn the_request_is_told_where_it_is_asked_for() {
        let told = |delivery| {
            let (_, heard) = deliver(OK, &parcel(delivery), true);
            assert!(heard.body.len() < 2_000, "{}", heard.body.len());
            serde_json::from_slice::<Value>(&heard.body).unwrap()["data"]["body"].clone()
        };
        assert_eq!(told(4), Value::Null);
        assert_eq!(told(1), "{\"as\":\"it came\"}");
        assert_eq!(told(2), Value::Null);
        let outcome = forward("https://example.com/".to_owned(), true, false).deliver(&parcel(3));
        assert_eq!(outcome, transient("the disk is on fire".to_owned()));
    }

    #[test]
    fn answers_are_judged_and_nothing_is_lost_to_a_mistake() {
        let answered =
            |status: &str| deliver(&format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\nno"), &parcel(1), false).0;
        let Outcome::Retry { reason, fault: Fault::Configuration, .. } = answered("410 Gone") else { panic!() };
        assert!(reason.starts_with("410 Gone: ") && reason.ends_with("(it says: no)"), "{reason}");
        assert!(matches!(answered("503 X\r\nRetry-After: 9"), Outcome::Retry { fault: Fault::Busy, .. }));
        assert!(matches!(answered("500 X"), Outcome::Retry { fault: Fault::Transient, .. }));
        let Outcome::Retry { reason, .. } = answered("308 X\r\nLocation: http://127.0.0.1:1/") else { panic!() };
        assert!(reason.contains("redirects are not followed; set `url`"), "{reason}");
        for status in ["400", "409", "413", "415", "422"] {
            let reason = format!("the receiver answered {status}: no");
            assert_eq!(answered(&format!("{status} X")), Outcome::Dead { reason });
        }
        for (status, remedy) in [
            ("401 X", "check the secret, and this machine's clock"),
            ("403 X", "check the secret, and this machine's clock"),
            ("404 X", "check `url`"),
            ("405 X", "check `url`"),
        ] {
            let Outcome::Retry { reason, fault: Fault::Configuration, .. } = answered(status) else {
                panic!("{status}")
            };
            assert!(reason.contains(remedy) && reason.contains(": no; "), "{reason}");
        }

        let server = Server::start(&[None]);
        let outcome = forward(server.url("/"), false, true).deliver(&parcel(1));
        let Outcome::Retry { reason, fault: Fault::Transient, .. } = outcome else { panic!("{outcome:?}") };
        assert!(reason.contains("may have arrived"), "{reason}");
    }

    #[test]
    fn nothing_is_lost_to_a_clock_that_is_off() {
        // NOW is 10:00:00.
        let answered = |status: &str, time: &str| {
            let date = format!("Date: Sat, 22 Nov 2025 {time} GMT");
            deliver(&format!("HTTP/1.1 {status} X\r\n{date}\r\nContent-Length: 2\r\n\r\nno"), &parcel(1), false).0
        };
        for (time, minutes) in [("12:00:00", 119), ("09:55:00", 5), ("10:04:30", 4)] {
            for status in ["400", "422"] {
                let reason =
                    format!("our clock is {minutes} min off the receiver's; the receiver answered {status}: no");
                assert_eq!(answered(status, time), transient(reason));
            }
            let Outcome::Retry { reason, fault: Fault::Configuration, .. } = answered("401", time) else { panic!() };
            assert!(reason.ends_with(&format!("clock; our clock is {minutes} min off the receiver's")), "{reason}");
        }
        for time in ["10:04:00", "09:56:01", "10:00:00"] {
            assert!(matches!(answered("400", time), Outcome::Dead { .. }), "{time}");
        }
        assert!(matches!(answered("400", "nonsense"), Outcome::Dead { .. }));
        assert!(matches!(answered("200", "12:00:00"), Outcome::Done { .. }));
    }

    #[test]
    fn a_private_address_is_only_called_where_it_is_allowed() {
        for url in ["https://127.1/", "https://0x7f000001/", "https://[::ffff:127.0.0.1]/"] {
            let outcome = forward(url.to_owned(), false, false).deliver(&parcel(1));
            let Outcome::Retry { reason, fault: Fault::Configuration, .. } = outcome else { panic!("{outcome:?}") };
            assert!(reason.contains("is not a public address"), "{reason}");
        }
        let outcome = forward("https://127.1/".to_owned(), false, false).deliver(&parcel(1));
        assert!(format!("{outcome:?}").contains("set allow_private = true"), "{outcome:?}");
        let outcome = forward("http://1.1.1.1/".to_owned(), false, true).deliver(&parcel(1));
        assert!(format!("{outcome:?}").contains("use https"), "{outcome:?}");
    }
}
