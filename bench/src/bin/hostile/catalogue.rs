//! Requests that no honest client sends, one by one, with the answers that are right. Owns the bytes; refuses to know who
//! sends them and when.

use std::{sync::Arc, time::Duration};

use hookbell_bench::request::signed;

use hookbell_bench::wire::{Ended, How, Script, Step};

/// One request and what may come of it.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) script: Script,
    expected: Expected,
    /// Whether a delivery is stored under the case's own id.
    pub(crate) stored: bool,
}

/// What is right.
#[derive(Clone, Copy)]
enum Expected {
    /// Exactly one answer, with one of these statuses.
    Status(&'static [u16]),
    /// That, or a close without a word.
    StatusOrClose(&'static [u16]),
    /// A close without a word: nothing was asked.
    Close,
}

impl Case {
    /// The id under which this case's delivery would be stored.
    pub(crate) fn id(&self) -> String {
        id(&self.name)
    }

    /// What should have come, when something else did.
    pub(crate) fn wrong(&self, ended: &Ended) -> Option<String> {
        let statuses = ended.statuses();
        let closed = statuses.is_empty() && matches!(ended.how, How::Closed | How::Reset);
        let (expected, is_right) = match self.expected {
            Expected::Status(allowed) => (words(allowed), statuses.len() == 1 && allowed.contains(&statuses[0])),
            Expected::StatusOrClose(allowed) => {
                (words(allowed) + " or a close", closed || statuses.len() == 1 && allowed.contains(&statuses[0]))
            }
            Expected::Close => ("a close".to_owned(), closed),
        };
        (!is_right).then_some(expected)
    }
}

fn words(statuses: &[u16]) -> String {
    statuses.iter().map(u16::to_string).collect::<Vec<_>>().join(" or ")
}

/// Letters and digits of a name, as ids are, and what tells those apart that differ in the rest.
fn id(name: &str) -> String {
    let sum = name.bytes().fold(0_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    let words: Vec<&str> = name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    format!("case-{}-{sum:08x}", words.join("-"))
}

struct List {
    cases: Vec<Case>,
    path: &'static str,
    patience: Duration,
}

const BAD: Expected = Expected::Status(&[400]);

/// All of them. `large` is for header lines of full size.
pub(crate) fn catalogue(path: &'static str, patience: Duration, large: bool) -> Vec<Case> {
    let mut list = List { cases: Vec::new(), path, patience };
    lengths(&mut list);
    heads(&mut list, large);
    chunks(&mut list);
    smuggling(&mut list);
    bytes(&mut list);
    halves(&mut list);
    list.cases
}

impl List {
    fn add(&mut self, name: &str, steps: Vec<Step>, expected: Expected, stored: bool) {
        let script = Script::new(steps, self.patience);
        self.cases.push(Case { name: name.to_owned(), script, expected, stored });
    }

    fn raw(&mut self, name: &str, bytes: impl AsRef<[u8]>, expected: Expected) {
        self.add(name, vec![send(bytes.as_ref())], expected, false);
    }

    /// A signed delivery with these lines in place of its `Content-Length`, and this in place of its body.
    fn framed(&mut self, name: &str, lines: impl AsRef<[u8]>, body: impl AsRef<[u8]>, expected: Expected) {
        let request = self.head(name, b"hello", lines.as_ref());
        self.raw(name, [&request, body.as_ref()].concat(), expected);
    }

    /// The head of a delivery that is signed for `body`.
    fn head(&self, name: &str, body: &[u8], lines: &[u8]) -> Vec<u8> {
        let request = signed(self.path, &id(name), body);
        let head = &request[..request.len() - body.len()];
        let line = format!("Content-Length: {}\r\n", body.len());
        replace(head, line.as_bytes(), lines)
    }
}

fn send(bytes: &[u8]) -> Step {
    Step::Send(bytes.into(), 1)
}

fn replace(bytes: &[u8], old: &[u8], new: &[u8]) -> Vec<u8> {
    let at = bytes.windows(old.len()).position(|window| window == old).expect("is in there");
    [&bytes[..at], new, &bytes[at + old.len()..]].concat()
}

fn lengths(list: &mut List) {
    for (value, expected) in [
        ("1099511627776", Expected::Status(&[413])),
        ("18446744073709551615", Expected::Status(&[413])),
        ("18446744073709551616", BAD),
        ("-1", BAD),
        ("+5", BAD),
        ("5, 6", BAD),
        ("5, 5", BAD),
        ("", BAD),
        ("0x5", BAD),
        ("5 ", Expected::Status(&[200])),
        ("5\u{a0}", BAD),
    ] {
        let name = format!("Content-Length: {}", value.escape_default());
        let line = format!("Content-Length: {value}\r\n");
        let head = list.head(&name, b"hello", line.as_bytes());
        let stored = matches!(expected, Expected::Status(&[200]));
        list.add(&name, vec![send(&[&head[..], b"hello"].concat())], expected, stored);
    }
    list.framed("two different Content-Lengths", "Content-Length: 5\r\nContent-Length: 6\r\n", "hello", BAD);
    list.framed("two equal Content-Lengths", "Content-Length: 5\r\nContent-Length: 5\r\n", "hello", BAD);
    for (name, length) in [("8 GB", "8589934592"), ("2^64-1 bytes", "18446744073709551615")] {
        let request = format!("POST /elsewhere HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n");
        list.raw(&format!("a refused body of {name}, announced only"), request, Expected::Status(&[404]));
    }
}

fn heads(list: &mut List, large: bool) {
    let megabyte: Arc<[u8]> = vec![b'x'; 1 << 20].into();
    let begin = |list: &List| format!("POST {} HTTP/1.1\r\nHost: h\r\n", list.path);
    let refused = Expected::StatusOrClose(&[431]);
    for megabytes in if large { [8, 256] } else { [8, 64] } {
        let line = send(format!("{}X-Long: ", begin(list)).as_bytes());
        let steps = vec![line, Step::Send(Arc::clone(&megabyte), megabytes), send(b"\r\n\r\n")];
        list.add(&format!("a header line of {megabytes} MB"), steps, refused, false);
    }
    let steps = vec![send(b"POST /"), Step::Send(megabyte, 8), send(b" HTTP/1.1\r\nHost: h\r\n\r\n")];
    list.add("a target of 8 MB", steps, refused, false);
    let head = begin(list);
    let steps = vec![send(head.as_bytes()), Step::Send(b"X-Y: z\r\n".as_slice().into(), 10_000), send(b"\r\n")];
    list.add("10 000 headers", steps, refused, false);
    list.raw("101 headers", format!("{head}{}\r\n", "X-Y: z\r\n".repeat(100)), Expected::Status(&[431]));
    let steps = vec![Step::Send(b"\r\n".as_slice().into(), 1_000_000)];
    list.add("2 MB of empty lines", steps, refused, false);
}

fn chunks(list: &mut List) {
    let chunked = "Transfer-Encoding: chunked\r\n";
    for (name, body) in [
        ("a chunk size that is no number", "xyz\r\nhello\r\n0\r\n\r\n"),
        ("a negative chunk size", "-5\r\nhello\r\n0\r\n\r\n"),
        ("a chunk size with a plus", "+5\r\nhello\r\n0\r\n\r\n"),
        ("a chunk size with 0x", "0x5\r\nhello\r\n0\r\n\r\n"),
        ("a chunk size of 2^64", "10000000000000000\r\nhello\r\n0\r\n\r\n"),
        ("an empty chunk size", "\r\nhello\r\n0\r\n\r\n"),
        ("a chunk longer than it says", "4\r\nhello\r\n0\r\n\r\n"),
        ("a chunk size ended by a bare LF", "5\nhello\r\n0\r\n\r\n"),
        ("a chunk ended by a bare LF", "5\r\nhello\n0\r\n\r\n"),
        ("a space before a chunk size", " 5\r\nhello\r\n0\r\n\r\n"),
    ] {
        list.framed(name, chunked, body, BAD);
    }
    list.framed("a chunk of 2^60 bytes", chunked, "1000000000000000\r\nhello", Expected::Status(&[413]));
    let digits = vec![b'0'; 1 << 16];
    for (name, begin, again) in [
        ("a chunk size without end", "", digits.as_slice()),
        ("an extension without end", "5;", b"x=y;".repeat(1 << 14).as_slice()),
        ("one-byte chunks with extensions", "", b"1;0123456789abcdef0123456789abcdef\r\nx\r\n".as_slice()),
        ("a trailer without end", "5\r\nhello\r\n0\r\nX: ", digits.as_slice()),
        ("trailers without end", "5\r\nhello\r\n0\r\n", b"X-Y: z\r\n".as_slice()),
    ] {
        let head = list.head(name, b"hello", chunked.as_bytes());
        let steps = vec![send(&head), send(begin.as_bytes()), Step::Send(again.into(), (1 << 24) / again.len() as u64)];
        list.add(name, steps, Expected::StatusOrClose(&[400]), false);
    }
    let head = list.head("a proper chunked body", b"hello", chunked.as_bytes());
    let whole = [&head[..], b"2;a=b\r\nhe\r\n003\r\nllo\r\n0\r\nX: y\r\n\r\n"].concat();
    list.add("a proper chunked body", vec![send(&whole)], Expected::Status(&[200]), true);
}

fn smuggling(list: &mut List) {
    let both = "both Content-Length and Transfer-Encoding";
    let coded = |value: &str| format!("Transfer-Encoding:{value}\r\n");
    list.framed(both, "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n", BAD);
    let reversed = "both, the other way round";
    list.framed(reversed, "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n", BAD);
    for (name, lines) in [
        ("Transfer-Encoding twice", coded(" chunked").repeat(2)),
        ("Transfer-Encoding: chunked, then identity", coded(" chunked") + &coded(" identity")),
        ("Transfer-Encoding: identity", coded(" identity")),
        ("Transfer-Encoding: identity beside a length", coded(" identity") + "Content-Length: 5\r\n"),
        ("Transfer-Encoding: xchunked", coded(" xchunked")),
        ("Transfer-Encoding: chunked in quotes", coded(" \"chunked\"")),
        ("Transfer-Encoding: gzip, chunked", coded(" gzip, chunked")),
        ("Transfer-Encoding with a vertical tab", coded(" \u{b}chunked")),
        ("Transfer-Encoding: identity, chunked on a folded line", coded(" identity,\r\n chunked")),
        ("a folded line", "Content-Length: 5\r\nX-Fold: a\r\n b\r\n".to_owned()),
        ("a folded Content-Length", "Content-Length:\r\n 5\r\n".to_owned()),
        ("a space before the colon", "Content-Length : 5\r\n".to_owned()),
        ("a tab before the colon", "Transfer-Encoding\t: chunked\r\n".to_owned()),
        ("a NUL in a header", "Content-Length: 5\r\nX: a\0b\r\n".to_owned()),
        ("a NUL in a header's name", "Content-Length: 5\r\nX\0Y: a\r\n".to_owned()),
        ("a bare CR in a header", "Content-Length: 5\r\nX: a\rb\r\n".to_owned()),
        ("a bare LF after a header", "Content-Length: 5\nX: a\r\n".to_owned()),
        ("a header without a colon", "Content-Length: 5\r\nnonsense\r\n".to_owned()),
        ("Host twice", "Content-Length: 5\r\nHost: other\r\n".to_owned()),
    ] {
        list.framed(name, lines, "hello", BAD);
    }
    // Leading and trailing white space is no part of a value (RFC 9110 § 5.5).
    for (name, value) in [("a tab before chunked", "\tchunked"), ("spaces around CHUNKED", "   CHUNKED \t")] {
        let head = list.head(name, b"hello", coded(value).as_bytes());
        let whole = [&head[..], b"5\r\nhello\r\n0\r\n\r\n"].concat();
        list.add(name, vec![send(&whole)], Expected::Status(&[200]), true);
    }
    let bare = list.head("bare LF everywhere", b"hello", b"Content-Length: 5\r\n");
    let bare: Vec<u8> = bare.into_iter().filter(|byte| *byte != b'\r').collect();
    list.raw("bare LF everywhere", [&bare[..], b"hello"].concat(), BAD);
    // One answer, and only the first is executed: the second's id must not be found.
    let second = signed(list.path, &id("never this one"), b"second");
    for (name, lines, body) in [
        ("two requests in one connection", "Content-Length: 5\r\n", b"hello".as_slice()),
        ("a second one behind chunks", "Transfer-Encoding: chunked\r\n", b"5\r\nhello\r\n0\r\n\r\n"),
    ] {
        let head = list.head(name, b"hello", lines.as_bytes());
        list.add(name, vec![send(&[&head, body, &second].concat())], Expected::Status(&[200]), true);
    }
    let fifty = signed(list.path, &id("fifty requests in one connection"), b"first");
    let steps = vec![send(&fifty), Step::Send(second.into(), 50)];
    list.add("fifty requests in one connection", steps, Expected::Status(&[200]), true);
}

fn bytes(list: &mut List) {
    let path = list.path;
    let head = |line: &[u8]| [line, b"\r\nHost: h\r\nContent-Length: 0\r\n\r\n"].concat();
    let plain = format!("POST {path} HTTP/1.1");
    list.raw("a method that is not UTF-8", head(&[b"P\xffST ", path.as_bytes(), b" HTTP/1.1"].concat()), BAD);
    list.raw(
        "a target that is not UTF-8",
        head(b"POST /webhooks/\xc3\x28\xff HTTP/1.1"),
        Expected::Status(&[400, 404]),
    );
    list.raw("a target that is UTF-8", head("POST /webhooks/ü HTTP/1.1".as_bytes()), Expected::Status(&[400, 404]));
    list.raw("a version that is not UTF-8", head(&[b"POST ", path.as_bytes(), b" HTTP/\xff.1"].concat()), BAD);
    list.raw("a header name that is not UTF-8", head(&[plain.as_bytes(), b"\r\nX-\xff: y"].concat()), BAD);
    list.raw("a TLS hello", [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".as_slice(), &[7; 512]].concat(), BAD);
    list.raw("HTTP/2 without an upgrade", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", BAD);
    list.raw("64 KB of noise", (0..65_536_u32).map(|at| ((at * 193) >> 3) as u8 | 0x80).collect::<Vec<_>>(), BAD);
    for (name, lines, body) in [
        ("a header value that is not UTF-8", b"X-City: S\xe3o \xff\r\n".as_slice(), b"hello".as_slice()),
        ("cf-ipcity: São Paulo", "cf-ipcity: São Paulo\r\n".as_bytes(), b"hello"),
        ("a signed body that is not UTF-8", b"", b"\xff\xfe\x00\x80{]"),
    ] {
        let lines = [lines, format!("Content-Length: {}\r\n", body.len()).as_bytes()].concat();
        let head = list.head(name, body, &lines);
        list.add(name, vec![send(&[&head, body].concat())], Expected::Status(&[200]), true);
    }
}

fn halves(list: &mut List) {
    let whole =
        |list: &List, name: &str| [list.head(name, b"hello", b"Content-Length: 5\r\n"), b"hello".to_vec()].concat();
    let name = "half-closed after the request";
    let steps = vec![send(&whole(list, name)), Step::HalfClose];
    list.add(name, steps, Expected::Status(&[200]), true);
    for (name, cut) in
        [("half-closed within the body", 2), ("half-closed before the body", 5), ("half-closed within the head", 30)]
    {
        let bytes = whole(list, name);
        let steps = vec![send(&bytes[..bytes.len() - cut]), Step::HalfClose];
        list.add(name, steps, Expected::StatusOrClose(&[400]), false);
    }
    let name = "half-closed within a chunk";
    let head = list.head(name, b"hello", b"Transfer-Encoding: chunked\r\n");
    list.add(
        name,
        vec![send(&[&head[..], b"5\r\nhel"].concat()), Step::HalfClose],
        Expected::StatusOrClose(&[400]),
        false,
    );
    list.add("half-closed before the first byte", vec![Step::HalfClose], Expected::Close, false);
    list.add(
        "half a head, and then silence",
        vec![send(b"POST / HTTP/1.1\r\nHost: h\r\n")],
        Expected::Status(&[408]),
        false,
    );
    list.add("nothing at all", Vec::new(), Expected::Status(&[408]), false);
}
