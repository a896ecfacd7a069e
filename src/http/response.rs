//! What is answered. Owns how an answer is written; refuses to know why it was given.

use std::{fmt, time::Duration};

/// What goes on after an answer's first bytes: each call waits for the next portion and returns it, [`STREAM_WAIT_MAX`] later
/// at the latest; `None` ends it.
pub type More = Box<dyn FnMut() -> Option<Vec<u8>> + Send>;

/// A stream that has nothing to say says so this often, so that who has left is noticed.
pub const STREAM_WAIT_MAX: Duration = Duration::from_secs(15);

/// An answer. The connection is closed after it, and it says so.
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The body, of any size.
    pub body: Vec<u8>,
    /// `Content-Type`.
    pub content_type: &'static str,
    /// `Retry-After`, written in whole seconds, rounded up.
    pub retry_after: Option<Duration>,
    /// `Allow`, which belongs to a 405.
    pub allow: Option<&'static str>,
    /// Further header fields.
    pub fields: Vec<(&'static str, String)>,
    /// What follows the body.
    pub more: Option<Box<Portions>>,
}

/// What comes in portions, for as long as both sides like.
pub struct Portions {
    /// How much there is, where that is known; it is announced.
    pub bytes: Option<u64>,
    /// Gives the next one.
    pub next: More,
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} with {} bytes", self.status, self.content_type, self.body.len())
    }
}

impl Response {
    /// An answer with this body.
    pub fn new(status: u16, content_type: &'static str, body: impl Into<Vec<u8>>) -> Response {
        let (fields, body) = (Vec::new(), body.into());
        Response { status, body, content_type, retry_after: None, allow: None, fields, more: None }
    }

    /// JSON.
    pub fn json(status: u16, value: &serde_json::Value) -> Response {
        Response::new(status, "application/json", value.to_string())
    }

    /// `{"error": what}`: short, for the sender, never an internal error's text.
    pub fn error(status: u16, what: &str) -> Response {
        Response::json(status, &serde_json::json!({ "error": what }))
    }

    /// Plain text.
    pub fn text(status: u16, text: impl Into<String>) -> Response {
        Response::new(status, "text/plain; charset=utf-8", text.into())
    }

    /// With `Retry-After`.
    pub fn retry_after(mut self, wait: Duration) -> Response {
        self.retry_after = Some(wait);
        self
    }

    /// With `Allow`.
    pub fn allow(mut self, methods: &'static str) -> Response {
        self.allow = Some(methods);
        self
    }

    /// With one more field. Control characters in its value, which could begin another field, are left out.
    pub fn field(mut self, name: &'static str, value: &str) -> Response {
        self.fields.push((name, value.chars().filter(|c| !c.is_control()).collect()));
        self
    }

    /// A stream that begins with this body.
    pub fn stream(content_type: &'static str, begin: impl Into<Vec<u8>>, more: More) -> Response {
        let more = Some(Box::new(Portions { bytes: None, next: more }));
        Response { more, ..Response::new(200, content_type, begin) }
    }

    /// A body of this length that comes in portions, so that it need not be there twice.
    pub fn portions(content_type: &'static str, bytes: u64, more: More) -> Response {
        let more = Some(Box::new(Portions { bytes: Some(bytes), next: more }));
        Response { more, ..Response::new(200, content_type, "") }
    }

    /// The whole answer in one piece, so that it leaves in one write and mostly in one packet. An answer to `HEAD`
    /// announces its body and leaves it out. There is no `Date`: a Pi's clock is not to be relied upon at start
    /// (RFC 9110 § 6.6.1 leaves it to those who have one). A 204 and a 304 have no body and so nothing that describes one
    /// (RFC 9110 § 8.6 forbids `Content-Length` in a 204).
    pub(super) fn encode(&self, method: &str) -> Vec<u8> {
        let announced = self.more.as_ref().and_then(|more| more.bytes);
        self.encoded(method, Some(announced.unwrap_or(self.body.len() as u64)))
    }

    /// The beginning of what comes in portions: so many bytes in all, where that is known.
    pub(super) fn encode_beginning(&self, bytes: Option<u64>) -> Vec<u8> {
        self.encoded("GET", bytes)
    }

    fn encoded(&self, method: &str, length: Option<u64>) -> Vec<u8> {
        let Response { status, body, content_type, retry_after, allow, fields, more: _ } = self;
        let has_body = !matches!(status, 204 | 304);
        let mut head = format!("HTTP/1.1 {status} {}\r\n", reason(*status));
        if has_body {
            // What is echoed of a request is nothing but what its type says.
            head.push_str(&format!("Content-Type: {content_type}\r\nX-Content-Type-Options: nosniff\r\n"));
            if let Some(length) = length {
                head.push_str(&format!("Content-Length: {length}\r\n"));
            }
        }
        head.push_str("Connection: close\r\n");
        if let Some(wait) = retry_after {
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            head.push_str(&format!("Retry-After: {seconds}\r\n"));
        }
        if let Some(methods) = allow {
            head.push_str(&format!("Allow: {methods}\r\n"));
        }
        for (name, value) in fields {
            for part in [name, ": ", value, "\r\n"] {
                head.push_str(part);
            }
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        if has_body && method != "HEAD" {
            bytes.extend_from_slice(body);
        }
        bytes
    }
}

/// The reason phrase, which nobody but people reads.
fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        413 => "Content Too Large",
        415 => "Unsupported Media Type",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        _ => "Unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_one_piece() {
        let response = Response::error(503, "later").retry_after(Duration::from_millis(1200));
        assert_eq!(
            String::from_utf8(response.encode("POST")).unwrap(),
            "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nX-Content-Type-Options: nosniff\r\nContent-Length: 17\r\n\
             Connection: close\r\nRetry-After: 2\r\n\r\n{\"error\":\"later\"}"
        );
    }

    #[test]
    fn a_status_has_its_phrase() {
        for (status, phrase) in [
            (201, "Created"),
            (202, "Accepted"),
            (302, "Found"),
            (415, "Unsupported Media Type"),
            (501, "Not Implemented"),
            (599, "Unknown"),
        ] {
            let response = Response::text(status, "words");
            let text = String::from_utf8(response.encode("GET")).unwrap();
            assert!(text.starts_with(&format!("HTTP/1.1 {status} {phrase}\r\n")), "{text}");
            assert_eq!(format!("{response:?}"), format!("{status} text/plain; charset=utf-8 with 5 bytes"));
        }
    }

    #[test]
    fn further_fields_cannot_begin_others() {
        let response = Response::text(303, "").field("Location", "/a\r\nSet-Cookie: x=1\u{0}");
        let text = String::from_utf8(response.encode("POST")).unwrap();
        assert!(text.ends_with("\r\nLocation: /aSet-Cookie: x=1\r\n\r\n"), "{text:?}");
    }

    #[test]
    fn a_stream_announces_no_length() {
        let text =
            String::from_utf8(Response::stream("text/event-stream", "a", Box::new(|| None)).encode_beginning(None))
                .unwrap();
        assert!(!text.contains("Content-Length") && text.ends_with("Connection: close\r\n\r\na"), "{text:?}");
    }

    #[test]
    fn no_content_has_no_body_and_describes_none() {
        for body in ["", "lost"] {
            let text = String::from_utf8(Response::text(204, body).encode("POST")).unwrap();
            assert_eq!(text, "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
        }
    }

    #[test]
    fn head_is_answered_without_the_body() {
        let bytes = Response::text(405, "no").allow("POST").encode("HEAD");
        let text = String::from_utf8(bytes).unwrap();
        assert!(text.contains("Content-Length: 2\r\n") && text.ends_with("Allow: POST\r\n\r\n"), "{text}");
    }
}
