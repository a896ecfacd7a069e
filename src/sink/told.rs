//! A parcel as JSON for programs: what `forward` posts and `exec` writes to a program. Owns the field names; refuses to
//! know how it gets there.
//!
//! Texts are put together here, because the event has its own way to JSON and the rest is a few fields.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Serialize;

use super::Parcel;

/// The request that the event came in, where it is told as well.
#[derive(Clone, Copy, Debug)]
pub(super) enum Original<'a> {
    /// It is not asked for.
    Unasked,
    /// Its body; `None` when it is no longer stored.
    Body(Option<&'a [u8]>),
}

/// `{"type": …, "timestamp": …, "data": …}`: a message as Standard Webhooks want it.
pub(super) fn message(parcel: &Parcel, original: Original<'_>) -> String {
    let (kind, received) = (json(&parcel.event.kind), json(&parcel.received));
    format!(r#"{{"type":{kind},"timestamp":{received},"data":{}}}"#, data(parcel, original))
}

/// The event's fields, and which delivery it came from.
pub(super) fn data(parcel: &Parcel, original: Original<'_>) -> String {
    let mut data = json(&parcel.event);
    // An event is an object, so that it ends in a brace.
    data.pop();
    data += &format!(
        r#","delivery":{},"received_at":{},"reference":{}"#,
        parcel.delivery,
        json(&parcel.received),
        json(&parcel.reference)
    );
    match original {
        Original::Unasked => {}
        Original::Body(None) => data += r#","body":null"#,
        Original::Body(Some(body)) => match std::str::from_utf8(body) {
            Ok(text) => data += &format!(r#","body":{}"#, json(text)),
            Err(_) => data += &format!(r#","body_base64":"{}""#, STANDARD.encode(body)),
        },
    }
    data.push('}');
    data
}

/// Neither texts nor our own types can fail to become JSON: their keys are texts and their writer is memory.
fn json<T: Serialize + ?Sized>(value: &T) -> String {
    serde_json::to_string(value).expect("a type of ours has text keys")
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
        let read = |text: String| serde_json::from_str::<Value>(&text).unwrap();
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
    }
}
