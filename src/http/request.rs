//! The head of a request, read from bytes that arrive in any portions. Owns what counts as an acceptable head; refuses
//! to know sockets, time and the meaning of a target.
//!
//! The parsing itself is `httparse`. What stands here is stricter than it, because a proxy in front and we must never
//! disagree about where a request ends: lines end in CRLF, framing is stated once, and `Host` is unambiguous.

use std::time::Instant;

use super::{Peer, Response};
use crate::headers::{Headers, Single};

/// Most header fields of one request. A webhook behind a tunnel carries about thirty.
const FIELDS_MAX: usize = 100;

/// After this many bytes a first look decides whether this is HTTP at all, so that a TLS hello is told at once instead
/// of at the deadline. The shortest useful request line with a header is about as long.
const PROBE_BYTES: usize = 24;

/// Why a request is answered before any handler saw all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The answer's status.
    pub status: u16,
    /// What was wrong, short, without anything from the request.
    pub reason: &'static str,
}

impl Refusal {
    pub(super) const fn new(status: u16, reason: &'static str) -> Refusal {
        Refusal { status, reason }
    }

    pub(super) const fn bad(reason: &'static str) -> Refusal {
        Refusal::new(400, reason)
    }

    /// The answer that tells it.
    pub(super) fn response(self) -> Response {
        let mut response = Response::error(self.status, self.reason);
        if self.status == 503 {
            response.retry_after = Some(std::time::Duration::from_secs(1));
        }
        response
    }
}

/// How the body is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is none: neither `Content-Length` nor `Transfer-Encoding`.
    None,
    /// `Content-Length`, as claimed.
    Length(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
}

/// Everything before the body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The method as sent.
    pub method: String,
    /// Path and query as sent.
    pub target: String,
    /// The header fields in their order.
    pub headers: Headers,
    /// How the body is delimited.
    pub framing: Framing,
    /// Whether the client waits for `100 Continue` before it sends the body.
    pub expects_continue: bool,
}

/// A complete request, with what the service's own [`admit`](super::Service::admit) found out about it.
#[derive(Debug)]
pub struct Request<A> {
    /// Everything before the body.
    pub head: Head,
    /// The body, byte for byte, chunking removed.
    pub body: Vec<u8>,
    /// Who sent it, as the socket tells.
    pub peer: Peer,
    /// When the connection was accepted; every deadline counts from here.
    pub accepted: Instant,
    /// What `admit` returned.
    pub admitted: A,
}

/// Reads one head. The result does not depend on how the bytes are cut into portions.
#[derive(Debug)]
pub struct HeadReader {
    bytes: Vec<u8>,
    bytes_max: usize,
    /// How far line ends were looked for.
    scanned: usize,
    line_start: usize,
    /// Whether a line with content was seen; empty lines before the request line are skipped (RFC 9112 § 2.2).
    begun: bool,
    probed: bool,
}

impl HeadReader {
    /// For a head of at most `bytes_max` bytes.
    pub fn new(bytes_max: usize) -> HeadReader {
        HeadReader { bytes: Vec::new(), bytes_max, scanned: 0, line_start: 0, begun: false, probed: false }
    }

    /// Takes the next bytes. When the head is complete, also says how many of *these* bytes belong to it; the others
    /// are the body's. After that, or after a refusal, the reader is spent.
    ///
    /// # Errors
    /// 400 for what is not acceptable HTTP, 417 for an unknown expectation, 431 for a head that is too long or has too
    /// many fields.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Option<(Head, usize)>, Refusal> {
        let before = self.bytes.len();
        let room = self.bytes_max.saturating_sub(before);
        let (kept, surplus) = bytes.split_at(room.min(bytes.len()));
        self.bytes.extend_from_slice(kept);

        // Everything is judged in the order of its position, never in the order of arrival.
        let mut end = self.scan(PROBE_BYTES)?;
        if end.is_none() && !self.probed && self.bytes.len() >= PROBE_BYTES {
            self.probed = true;
            let mut fields = [httparse::EMPTY_HEADER; PROBE_BYTES];
            httparse::Request::new(&mut fields).parse(&self.bytes[..PROBE_BYTES]).map_err(refusal)?;
        }
        if end.is_none() {
            end = self.scan(usize::MAX)?;
        }
        match end {
            Some(end) => Ok(Some((parse(&self.bytes[..end])?, end - before))),
            None if surplus.is_empty() => Ok(None),
            None => Err(Refusal::new(431, "the head is too large")),
        }
    }

    /// How many bytes are held: never more than the limit.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether nothing has arrived yet.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Looks for the empty line among the bytes before `limit` that were not looked at yet.
    fn scan(&mut self, limit: usize) -> Result<Option<usize>, Refusal> {
        let limit = limit.min(self.bytes.len());
        while self.scanned < limit {
            let Some(offset) = self.bytes[self.scanned..limit].iter().position(|byte| *byte == b'\n') else {
                self.scanned = limit;
                break;
            };
            let newline = self.scanned + offset;
            self.scanned = newline + 1;
            if newline == self.line_start || self.bytes[newline - 1] != b'\r' {
                return Err(Refusal::bad("a line ends without a carriage return"));
            }
            let empty = newline - 1 == self.line_start;
            self.line_start = newline + 1;
            match (empty, self.begun) {
                (true, true) => return Ok(Some(newline + 1)),
                (true, false) => {}
                (false, _) => self.begun = true,
            }
        }
        Ok(None)
    }
}

fn refusal(error: httparse::Error) -> Refusal {
    match error {
        httparse::Error::TooManyHeaders => Refusal::new(431, "too many header fields"),
        httparse::Error::HeaderName => Refusal::bad("a header name is not valid"),
        httparse::Error::HeaderValue => Refusal::bad("a header value is not valid"),
        httparse::Error::Version => Refusal::bad("not HTTP/1.0 or HTTP/1.1"),
        httparse::Error::NewLine | httparse::Error::Token | httparse::Error::Status => Refusal::bad("not HTTP"),
    }
}

/// Parses a head that is known to be complete.
fn parse(bytes: &[u8]) -> Result<Head, Refusal> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut request = httparse::Request::new(&mut fields);
    let status = request.parse(bytes).map_err(refusal)?;
    // `httparse` also ends a head at "\n\n"; the scan has excluded that, so anything but the very end is a disagreement.
    if status != httparse::Status::Complete(bytes.len()) {
        return Err(Refusal::bad("not HTTP"));
    }
    let (Some(method), Some(target), Some(minor)) = (request.method, request.path, request.version) else {
        return Err(Refusal::bad("not HTTP"));
    };
    let headers: Headers = request.headers.iter().map(|field| (field.name, field.value)).collect();
    match (headers.single("host"), minor) {
        (Single::Once(_), _) | (Single::Missing, 0) => {}
        (Single::Missing, _) => return Err(Refusal::bad("Host is missing")),
        (Single::Repeated, _) => return Err(Refusal::bad("Host is repeated")),
    }
    let framing = framing(&headers, minor)?;
    let expects_continue = match headers.single("expect") {
        // RFC 9110 § 10.1.1: an expectation in HTTP/1.0 is ignored.
        Single::Missing => false,
        _ if minor == 0 => false,
        Single::Once(value) if value.eq_ignore_ascii_case(b"100-continue") => true,
        Single::Once(_) | Single::Repeated => return Err(Refusal::new(417, "the expectation is not known")),
    };
    Ok(Head { method: method.to_owned(), target: target.to_owned(), headers, framing, expects_continue })
}

fn framing(headers: &Headers, minor: u8) -> Result<Framing, Refusal> {
    match (headers.single("content-length"), headers.single("transfer-encoding")) {
        (Single::Missing, Single::Missing) => Ok(Framing::None),
        (Single::Once(value), Single::Missing) => length(value).map(Framing::Length),
        (Single::Repeated, _) => Err(Refusal::bad("Content-Length is repeated")),
        (Single::Once(_), _) => Err(Refusal::bad("both Content-Length and Transfer-Encoding")),
        (Single::Missing, _) if minor == 0 => Err(Refusal::bad("Transfer-Encoding in HTTP/1.0")),
        (Single::Missing, Single::Once(value)) if value.eq_ignore_ascii_case(b"chunked") => Ok(Framing::Chunked),
        (Single::Missing, _) => Err(Refusal::bad("Transfer-Encoding is not chunked")),
    }
}

/// Digits only: `str::parse` alone would also take `+5`.
fn length(value: &[u8]) -> Result<u64, Refusal> {
    let digits = if value.iter().all(u8::is_ascii_digit) { std::str::from_utf8(value).ok() } else { None };
    digits.and_then(|digits| digits.parse().ok()).ok_or(Refusal::bad("Content-Length is not a number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(bytes: &[u8]) -> Result<Option<(Head, usize)>, Refusal> {
        HeadReader::new(1024).push(bytes)
    }

    fn by_portions(bytes: &[u8], portions: impl Iterator<Item = usize>) -> Result<Option<(Head, usize)>, Refusal> {
        let mut reader = HeadReader::new(1024);
        let mut start = 0;
        for end in portions.chain([bytes.len()]) {
            if let Some((head, used)) = reader.push(&bytes[start..end])? {
                return Ok(Some((head, start + used)));
            }
            start = end;
        }
        assert_eq!((reader.len(), reader.is_empty()), (bytes.len(), bytes.is_empty()));
        Ok(None)
    }

    #[track_caller]
    fn check(bytes: &[u8], expected: Result<Framing, u16>) {
        let found = whole(bytes);
        let seen = match &found {
            Ok(Some((head, _))) => Ok(head.framing),
            Ok(None) => panic!("incomplete: {}", bytes.escape_ascii()),
            Err(refusal) => Err(refusal.status),
        };
        assert_eq!(seen, expected, "{}", bytes.escape_ascii());
        for cut in 0..=bytes.len() {
            assert_eq!(by_portions(bytes, [cut].into_iter()), found, "cut at {cut}: {}", bytes.escape_ascii());
        }
        assert_eq!(by_portions(bytes, 0..bytes.len()), found, "byte by byte: {}", bytes.escape_ascii());
    }

    fn fields(fields: &str) -> Vec<u8> {
        format!("POST /x?y HTTP/1.1\r\nHost: h\r\n{fields}\r\nbody").into_bytes()
    }

    #[test]
    fn framing_is_stated_once_or_refused() {
        for (lines, expected) in [
            ("", Ok(Framing::None)),
            ("Content-Length: 4\r\n", Ok(Framing::Length(4))),
            ("content-length:18446744073709551615\r\n", Ok(Framing::Length(u64::MAX))),
            ("Transfer-Encoding: chunked\r\n", Ok(Framing::Chunked)),
            ("transfer-encoding: Chunked\r\n", Ok(Framing::Chunked)),
            ("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", Err(400)),
            ("Content-Length: 4\r\nContent-Length: 4\r\n", Err(400)),
            ("Content-Length: 18446744073709551616\r\n", Err(400)),
            ("Content-Length: +5\r\n", Err(400)),
            ("Content-Length: -1\r\n", Err(400)),
            ("Content-Length: 5, 6\r\n", Err(400)),
            ("Content-Length: 5 6\r\n", Err(400)),
            ("Content-Length: 0x5\r\n", Err(400)),
            ("Content-Length:\r\n", Err(400)),
            ("Transfer-Encoding: identity\r\n", Err(400)),
            ("Transfer-Encoding: gzip, chunked\r\n", Err(400)),
            ("Transfer-Encoding: chunked, chunked\r\n", Err(400)),
            ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", Err(400)),
            ("Transfer-Encoding:\r\n", Err(400)),
        ] {
            check(&fields(lines), expected);
        }
    }

    #[test]
    fn heads_that_are_not_acceptable_http() {
        for (bytes, expected) in [
            (b"GET / HTTP/1.1\r\nHost: h\r\n\r\n".as_slice(), Ok(Framing::None)),
            (b"\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", Ok(Framing::None)),
            (b"GET / HTTP/1.0\r\n\r\n", Ok(Framing::None)),
            (b"GET / HTTP/1.1\r\nHost:\r\n\r\n", Ok(Framing::None)),
            (b"GET / HTTP/1.1\r\nHost: h\r\ncf-ipcity: S\xc3\xa3o Paulo\r\nX: \xff\r\n\r\n", Ok(Framing::None)),
            (b"GET / HTTP/1.1\r\nHost: h\r\nExpect: 100-Continue\r\n\r\n", Ok(Framing::None)),
            (b"GET / HTTP/1.0\r\nExpect: tea\r\n\r\n", Ok(Framing::None)),
            (b"GET / HTTP/1.1\r\nHost: h\r\nExpect: tea\r\n\r\n", Err(417)),
            (b"GET / HTTP/1.1\r\n\r\n", Err(400)),
            (b"GET / HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n", Err(400)),
            (b"GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", Err(400)),
            (b"GET / HTTP/1.1\nHost: h\n\n", Err(400)),
            (b"GET / HTTP/1.1\r\nHost: h\nX: y\r\n\r\n", Err(400)),
            (b"GET / HTTP/1.1\r\nHost: h\r\n continued\r\n\r\n", Err(400)),
            (b"GET / HTTP/1.1\r\nHost : h\r\n\r\n", Err(400)),
            (b"GET / HTTP/1.1\r\nHost: h\r\nX: a\rb\r\n\r\n", Err(400)),
            (b"GET / HTTP/1.1\r\nHost: h\r\nX: a\0b\r\n\r\n", Err(400)),
            (b"GET / HTTP/1.1\r\nHost: h\r\nno colon\r\n\r\n", Err(400)),
            (b"GET  / HTTP/1.1\r\nHost: h\r\n\r\n", Err(400)),
            (b"GET / HTTP/2.0\r\nHost: h\r\n\r\n", Err(400)),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Err(400)),
            (b"GET /\r\n\r\n", Err(400)),
            (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", Err(400)),
        ] {
            check(bytes, expected);
        }
    }

    #[test]
    fn a_tls_hello_is_refused_before_any_line_ends() {
        let hello = [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".as_slice(), &[7; PROBE_BYTES]].concat();
        assert_eq!(whole(&hello).map_err(|refusal| refusal.status), Err(400));
    }

    #[test]
    fn too_long_and_too_many_are_431() {
        let long = format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "a".repeat(1024));
        check(long.as_bytes(), Err(431));
        check(&fields(&"a: b\r\n".repeat(FIELDS_MAX)), Err(431));
        check(&fields(&"a: b\r\n".repeat(FIELDS_MAX - 1)), Ok(Framing::None));
        let head = format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", "h".repeat(1024 - 26));
        assert_eq!(head.len(), 1024);
        check(head.as_bytes(), Ok(Framing::None));
        check(format!("{head}body").as_bytes(), Ok(Framing::None));
        check(format!("{}body", head.replace("Host: ", "Host: h")).as_bytes(), Err(431));
    }

    #[test]
    fn a_head_says_where_the_body_begins() {
        let bytes = fields("X-A: 1\r\n");
        let (head, used) = whole(&bytes).unwrap().unwrap();
        assert_eq!(&bytes[used..], b"body");
        assert_eq!((head.method.as_str(), head.target.as_str()), ("POST", "/x?y"));
        assert_eq!(head.headers.text("x-a"), Some("1"));
    }
}
