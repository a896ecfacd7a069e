//! The head of a request under any bytes.

use hookbell::http::{Framing, Head, Refusal, request::HeadReader};

use super::portions::{each_byte, halves, portions, uncut};

/// The limit of the server's defaults, and one that short inputs reach.
pub const BYTES_MAX: [usize; 2] = [32 * 1024, 128];

/// What a stream becomes: a head and the bytes it took, `None` when more is needed, or a refusal.
pub type Outcome = Result<Option<(Head, usize)>, Refusal>;

/// The input is a stream.
pub fn check(stream: &[u8]) {
    for bytes_max in BYTES_MAX {
        let whole = read(stream, bytes_max, uncut());
        judge(stream, &whole);
        assert_eq!(whole, read(stream, bytes_max, each_byte()), "byte by byte");
        assert_eq!(whole, read(stream, bytes_max, halves(stream)), "in halves");
    }
}

/// Reads the head of a stream that arrives in portions of these sizes.
pub fn read(stream: &[u8], bytes_max: usize, sizes: impl IntoIterator<Item = usize>) -> Outcome {
    let mut reader = HeadReader::new(bytes_max);
    let mut used = 0;
    for portion in portions(stream, sizes) {
        if let Some((head, count)) = push(&mut reader, portion, bytes_max)? {
            return Ok(Some((head, used + count)));
        }
        used += portion.len();
    }
    Ok(None)
}

/// [`HeadReader::push`], with what holds for every single one.
pub fn push(reader: &mut HeadReader, portion: &[u8], bytes_max: usize) -> Outcome {
    let before = reader.len();
    let outcome = reader.push(portion);
    assert!(reader.len() <= bytes_max, "{} bytes are held, {bytes_max} allowed", reader.len());
    match &outcome {
        Ok(Some((_, used))) => {
            assert!(*used <= portion.len(), "{used} bytes used of {} given", portion.len());
            assert!(before + used <= bytes_max, "a head of {} bytes, {bytes_max} allowed", before + used);
        }
        Ok(None) => assert_eq!(reader.len(), before + portion.len(), "bytes are missing"),
        Err(refusal) => assert!(matches!(refusal.status, 400 | 417 | 431), "{refusal:?}"),
    }
    outcome
}

/// Holds an accepted head against a second reading of its bytes, which is slow and simple.
pub fn judge(stream: &[u8], outcome: &Outcome) {
    let Ok(Some((head, used))) = outcome else { return };
    let text = stream[..*used].strip_suffix(b"\r\n\r\n").expect("a head ends with an empty line");
    let mut lines = split(text, b"\r\n").skip_while(|line| line.is_empty());
    let request_line = lines.next().expect("a head has a request line");
    let mut fields = head.headers.iter();
    for line in lines {
        assert!(!line.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)), "a line has a control character");
        let colon = line.iter().position(|byte| *byte == b':').expect("a field has a colon");
        let (name, value) = fields.next().expect("a field for every line");
        assert_eq!((name.as_bytes(), value), (&line[..colon], trim(&line[colon + 1..])));
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        assert!(!name.is_empty() && name.bytes().all(is_token), "{name:?} is no name of a field");
    }
    assert_eq!(fields.next(), None, "a line for every field");

    let version = request_line.strip_prefix(format!("{} {} ", head.method, head.target).as_bytes());
    let count = |name: &str| head.headers.iter().filter(|(field, _)| field.eq_ignore_ascii_case(name)).count();
    match version {
        Some(b"HTTP/1.1") => assert_eq!(count("host"), 1),
        Some(b"HTTP/1.0") => assert!(count("host") <= 1 && count("transfer-encoding") == 0 && !head.expects_continue),
        _ => panic!("the request line reads differently: {}", request_line.escape_ascii()),
    }
    // Where the body ends is stated once at most, and as it is stated.
    let value = |name: &str| head.headers.text(name).expect("ASCII").to_ascii_lowercase();
    match (head.framing, count("content-length"), count("transfer-encoding")) {
        (Framing::None, 0, 0) => {}
        (Framing::Length(bytes), 1, 0) => {
            let digits = value("content-length");
            let digits = digits.trim_start_matches('0');
            assert_eq!(if digits.is_empty() { "0" } else { digits }, bytes.to_string());
        }
        (Framing::Chunked, 0, 1) => assert_eq!(value("transfer-encoding"), "chunked"),
        stated => panic!("the framing is ambiguous: {stated:?}"),
    }

    // Written again, it reads the same.
    let mut again = request_line.to_vec();
    for (name, value) in head.headers.iter() {
        again.extend([b"\r\n", name.as_bytes(), b":", value].concat());
    }
    again.extend(b"\r\n\r\n");
    assert_eq!(read(&again, again.len(), uncut()), Ok(Some((head.clone(), again.len()))));
}

/// The pieces of `bytes` between separators.
fn split<'a>(bytes: &'a [u8], separator: &'a [u8; 2]) -> impl Iterator<Item = &'a [u8]> {
    let mut rest = Some(bytes);
    std::iter::from_fn(move || {
        let bytes = rest?;
        let end = bytes.windows(2).position(|pair| pair == separator);
        rest = end.map(|end| &bytes[end + 2..]);
        Some(end.map_or(bytes, |end| &bytes[..end]))
    })
}

/// Without blanks around it, which are space and tab (RFC 9110 § 5.6.3).
fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}
