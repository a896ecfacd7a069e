//! Slack by incoming webhook. Owns the posting and hides the URL; refuses to know threads, which a webhook cannot have: it
//! answers `ok` and does not say where the message is.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::{BURST, CONTENT_TYPE, answer, message::Message, receipt_of};
use crate::{
    allowance::{Allowance, Rate},
    http::{Answer, Client},
    secret::Secret,
    sink::{Bundle, Outcome, Parcel, Probe, Sink, answers::without},
};

/// A Slack incoming webhook as a sink.
pub struct SlackWebhook {
    url: Secret,
    client: Client,
    rate: Rate,
    allowance: Allowance,
}

impl SlackWebhook {
    /// Posts to `url`, a few at once and then one each `interval`.
    pub fn new(url: Secret, interval: Duration, client: Client) -> SlackWebhook {
        SlackWebhook { url, client, rate: Rate { every: interval, burst: BURST }, allowance: Allowance::default() }
    }

    /// Posts once. Neither a failure nor a body that leaves here contains the URL: who has it can post.
    fn post(&self, message: &Value) -> Result<Answer, Outcome> {
        let url = self.url.expose();
        match self.client.post(url, CONTENT_TYPE, &[], message.to_string().as_bytes()) {
            Ok(answer) => Ok(Answer { body: without(&answer.body, url), ..answer }),
            Err(failure) => {
                // What comes again then carries the same reference.
                let doubt = if failure.may_have_arrived() { " (the message may have arrived)" } else { "" };
                Err(answer::no_answer(&without(&format!("{failure}{doubt}"), url)))
            }
        }
    }

    /// Whether the webhook is alive: it refuses a message without a text, and says so by a word that a dead one does not say.
    pub fn probe(&self) -> Probe {
        let answer = match self.post(&Value::Object(serde_json::Map::new())) {
            Ok(answer) => answer,
            Err(outcome) => return outcome.into(),
        };
        let Answer { status, retry_after, date, ref body, .. } = answer;
        if let Some(code) = answer::refused_form(body) {
            return Probe::done(format!("the webhook is alive: it refuses an empty message ({code})"), date);
        }
        let outcome = match answer::judge(status, body, retry_after) {
            // Servers that speak Slack's have words of their own for an empty message, and so has a wrong address.
            Outcome::Dead { reason } if status == 400 => Outcome::Skipped {
                note: format!("{reason} (right for an empty message, if what stands there only speaks Slack's)"),
            },
            outcome => outcome,
        };
        Probe { outcome, date }
    }

    fn try_both_forms(&self, parcels: &[Parcel]) -> Result<Outcome, Outcome> {
        let message = Message::of(parcels);
        let reply = self.post(&message.blocks())?;
        let (reply, note) = match answer::refused_form(&reply.body) {
            None => (reply, String::new()),
            // A plain message is better than none, and its receipt tells that the blocks need a look.
            Some(code) => (self.post(&message.plain())?, format!(" (as plain text after {code})")),
        };
        Ok(match answer::judge(reply.status, &reply.body, reply.retry_after) {
            Outcome::Done { receipt: Some(receipt) } => {
                Outcome::Done { receipt: Some(receipt_of(receipt + &note, parcels.len())) }
            }
            other => other,
        })
    }
}

impl Sink for SlackWebhook {
    /// A webhook posts to one channel, so there is one account.
    fn take_turn(&mut self, _: &Parcel, now: Instant) -> Result<(), Duration> {
        self.allowance.take(self.rate, now)
    }

    /// At most two posts, so within twice the time-out of one.
    fn deliver(&mut self, parcel: &Parcel) -> Outcome {
        self.deliver_bundle(Bundle { parcels: std::slice::from_ref(parcel) })
    }

    fn deliver_bundle(&mut self, bundle: Bundle<'_>) -> Outcome {
        match self.try_both_forms(bundle.parcels) {
            Ok(outcome) | Err(outcome) => outcome,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead, BufReader, Read, Write},
        net::TcpListener,
    };

    use super::*;
    use crate::{
        event::Event,
        threads::{STACK_BYTES, spawn},
    };

    fn parcel() -> Parcel {
        Parcel::of(Event::of("issue_opened"))
    }

    const PATH: &str = "/services/T000/B000/XXXXXXXXXXXXXXXX";

    /// Delivers one parcel to a Slack on loopback that gives these answers in turn (`None`: it hangs up), with `URL` in a
    /// body standing for its own URL. Returns the outcome and what was posted.
    fn deliver(answers: &[Option<(u16, &str)>]) -> (Outcome, Vec<Value>) {
        deliver_all(&[parcel()], answers)
    }

    fn deliver_all(parcels: &[Parcel], answers: &[Option<(u16, &str)>]) -> (Outcome, Vec<Value>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}{PATH}", listener.local_addr().unwrap());
        let answers: Vec<Option<(u16, String)>> =
            answers.iter().map(|answer| answer.map(|(status, body)| (status, body.replace("URL", &url)))).collect();
        let slack = spawn("slack", STACK_BYTES, move || {
            answers.iter().map(|answer| serve(&listener, answer.as_ref())).collect::<Vec<Value>>()
        })
        .unwrap();
        let mut sink = SlackWebhook::new(Secret::new(url).unwrap(), Duration::ZERO, Client::new());
        let outcome = match parcels {
            [parcel] => sink.deliver(parcel),
            parcels => sink.deliver_bundle(Bundle { parcels }),
        };
        (outcome, slack.join().unwrap())
    }

    fn serve(listener: &TcpListener, answer: Option<&(u16, String)>) -> Value {
        let (stream, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(&stream);
        let mut head = Vec::new();
        while !head.ends_with("\r\n\r\n".as_bytes()) {
            assert_ne!(reader.read_until(b'\n', &mut head).unwrap(), 0, "the head ended early");
        }
        let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
        assert!(head.starts_with(&format!("post {}", PATH.to_ascii_lowercase())), "{head}");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        let mut body = vec![0; length.parse().unwrap()];
        reader.read_exact(&mut body).unwrap();
        if let Some((status, text)) = answer {
            let length = text.len();
            write!(&stream, "HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{text}")
                .unwrap();
        }
        serde_json::from_slice(&body).unwrap()
    }

    #[test]
    fn one_post_is_enough_when_slack_takes_it() {
        let (outcome, posted) = deliver(&[Some((200, "ok"))]);
        assert_eq!(outcome, Outcome::Done { receipt: Some("ok".to_owned()) });
        assert_eq!(posted, [Message::of(&[parcel()]).blocks()]);
    }

    #[test]
    fn refused_blocks_are_said_plainly_once() {
        let (outcome, posted) = deliver(&[Some((400, "invalid_blocks")), Some((200, "ok"))]);
        assert_eq!(outcome, Outcome::Done { receipt: Some("ok (as plain text after invalid_blocks)".to_owned()) });
        assert_eq!(posted, [Message::of(&[parcel()]).blocks(), Message::of(&[parcel()]).plain()]);

        let (outcome, posted) = deliver(&[Some((400, "invalid_payload")), Some((400, "no_text"))]);
        assert!(matches!(&outcome, Outcome::Dead { reason } if reason.contains("no_text")), "{outcome:?}");
        assert_eq!(posted.len(), 2);

        let (outcome, _) = deliver(&[Some((400, "invalid_payload")), None]);
        assert!(matches!(outcome, Outcome::Retry { .. }), "{outcome:?}");
    }

    #[test]
    fn a_bundle_is_one_message_in_the_form_that_slack_takes() {
        let three = [parcel(), parcel(), parcel()];
        let (outcome, posted) = deliver_all(&three, &[Some((200, "ok"))]);
        assert_eq!(outcome, Outcome::Done { receipt: Some("ok in a digest of 3".to_owned()) });
        assert_eq!(posted, [Message::of(&three).blocks()]);

        let (outcome, posted) = deliver_all(&three, &[Some((400, "msg_blocks_too_long")), Some((200, "ok"))]);
        let receipt = "ok (as plain text after msg_blocks_too_long) in a digest of 3";
        assert_eq!(outcome, Outcome::Done { receipt: Some(receipt.to_owned()) });
        assert_eq!(posted[1], Message::of(&three).plain());
    }

    #[test]
    fn no_reason_and_no_receipt_contains_the_url() {
        let echo = format!("see URL, path {PATH}, token XXXXXXXXXXXXXXXX");
        // The later ones so that the cut of a receipt, or of a reason, falls into the URL.
        for body in [echo, format!("{}URL", "x".repeat(90)), format!("{}URL", "x".repeat(190))] {
            for answer in [Some((500, body.as_str())), Some((404, &body)), Some((200, &body)), None] {
                let (outcome, _) = deliver(&[answer]);
                let shown = format!("{outcome:?}");
                assert!(!shown.contains("T000") && !shown.contains("services") && !shown.contains("XXXX"), "{shown}");
            }
        }
    }

    #[test]
    fn a_short_path_garbles_no_text() {
        assert_eq!(without("a/b: refused", "http://127.0.0.1:9/"), "a/b: refused");
        assert_eq!(without("http://127.0.0.1:9/: refused", "http://127.0.0.1:9/"), "(hidden): refused");
    }
}
