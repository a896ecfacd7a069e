//! A parcel as JSON for programs: what `forward` posts and `exec` writes to a program. Owns the field names; refuses to
//! know how it gets there.
//!
//! The text is put together here and in one place, because the event has its own way to JSON, the rest is a few fields, and a
//! request may be large.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Serialize;

use super::Parcel;

/// A larger request is not told, but how large it is: it would never be through a slow line in the time for one try.
const BODY_BYTES_MAX: usize = 1024 * 1024;
/// What an event usually takes.
const EVENT_BYTES: usize = 1024;

/// The request that the event came in, where it is told as well.
#[derive(Clone, Copy, Debug)]
pub(super) enum Original<'a> {
    /// It is not asked for.
    Unasked,
    /// Its body; `None` when it is no longer stored.
    Body(Option<&'a [u8]>),
}

/// `{"type": …, "timestamp": …, "data": …}`: a message as Standard Webhooks want it.
pub(super) fn message(parcel: &Parcel, original: Original<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(room(original));
    field(&mut out, r#"{"type":"#, &parcel.event.kind);
    field(&mut out, r#","timestamp":"#, &parcel.received);
    out.extend_from_slice(br#","data":"#);
    put_data(&mut out, parcel, original);
    out.push(b'}');
    out
}

/// The event's fields, and which delivery it came from.
pub(super) fn data(parcel: &Parcel, original: Original<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(room(original));
    put_data(&mut out, parcel, original);
    out
}

/// Bytes that the text mostly fits into.
fn room(original: Original<'_>) -> usize {
    let body = match original {
        Original::Body(Some(body)) if body.len() <= BODY_BYTES_MAX => body.len() + body.len() / 3,
        _ => 0,
    };
    2 * EVENT_BYTES + body
}

fn put_data(out: &mut Vec<u8>, parcel: &Parcel, original: Original<'_>) {
    field(out, "", &parcel.event);
    // An event is an object, so that it ends in a brace.
    out.pop();
    field(out, r#","delivery":"#, &parcel.delivery);
    field(out, r#","received_at":"#, &parcel.received);
    field(out, r#","reference":"#, &parcel.reference);
    match original {
        Original::Unasked => {}
        Original::Body(None) => out.extend_from_slice(br#","body":null"#),
        Original::Body(Some(body)) if body.len() > BODY_BYTES_MAX => {
            field(out, r#","body":null,"body_bytes":"#, &body.len());
        }
        Original::Body(Some(body)) => match std::str::from_utf8(body) {
            Ok(text) => field(out, r#","body":"#, text),
            Err(_) => field(out, r#","body_base64":"#, &STANDARD.encode(body)),
        },
    }
    out.push(b'}');
}

/// Neither texts nor numbers nor our own types can fail to become JSON: their keys are texts and their writer is memory.
fn field<T: Serialize + ?Sized>(out: &mut Vec<u8>, name: &str, value: &T) {
    out.extend_from_slice(name.as_bytes());
    serde_json::to_writer(out, value).expect("a type of ours has text keys");
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        event::{Event, Extra, Fact},
        time::Timestamp,
    };

    #[test]
    fn the_fields_are_the_contracts() {
        let event = Event {
            title: "a \"quoted\"\nline".to_owned(),
            url: Some("https://x/y".to_owned()),
            subject: Some("acme/api#7".to_owned()),
            extra: Extra::from([
                ("draft".to_owned(), Fact::Flag(false)),
                ("labels".to_owned(), Fact::Text("a,b".to_owned())),
                ("number".to_owned(), Fact::Number(7)),
            ]),
            ..Event::of("issue_opened")
        };
        let received = Timestamp::from_ms(1_763_805_600_042);
        let parcel = Parcel { delivery: 9, received, reference: "3f9c1a-9-0-0".to_owned(), ..Parcel::of(event) };
        let read = |text: Vec<u8>| serde_json::from_slice::<Value>(&text).unwrap();
        let mut data = json!({
            "kind": "issue_opened", "source": "github", "provider": "github", "actor": "octocat",
            "repository": "acme/api", "title": "a \"quoted\"\nline", "url": "https://x/y", "severity": "info",
            "subject": "acme/api#7", "extra": { "draft": false, "labels": "a,b", "number": 7 },
            "delivery": 9, "received_at": "2025-11-22T10:00:00.042Z", "reference": "3f9c1a-9-0-0",
        });
        assert_eq!(read(super::data(&parcel, Original::Unasked)), data);
        let message = read(message(&parcel, Original::Unasked));
        let time = "2025-11-22T10:00:00.042Z";
        assert_eq!(message, json!({ "type": "issue_opened", "timestamp": time, "data": data.clone() }));

        data["body"] = "{\"a\":\"ü\"}".into();
        assert_eq!(read(super::data(&parcel, Original::Body(Some("{\"a\":\"ü\"}".as_bytes())))), data);
        data["body"] = Value::Null;
        assert_eq!(read(super::data(&parcel, Original::Body(None))), data);
        data.as_object_mut().unwrap().remove("body");
        data["body_base64"] = "/wA=".into();
        assert_eq!(read(super::data(&parcel, Original::Body(Some(&[0xff, 0])))), data);

        data.as_object_mut().unwrap().remove("body_base64");
        let huge = vec![b'x'; BODY_BYTES_MAX + 1];
        assert_eq!(
            read(super::data(&parcel, Original::Body(Some(&huge[1..]))))["body"].as_str().unwrap().len(),
            BODY_BYTES_MAX
        );
        data["body"] = Value::Null;
        data["body_bytes"] = (BODY_BYTES_MAX + 1).into();
        let told = super::data(&parcel, Original::Body(Some(&huge)));
        assert!(told.capacity() < 2 * 2 * EVENT_BYTES, "{}", told.capacity());
        assert_eq!(read(told), data);
    }
}
