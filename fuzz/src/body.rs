//! The body of a request under any bytes, in every framing.

use hookbell::http::{Framing, Refusal, body::BodyReader};

use super::portions::{each_byte, halves, portions, uncut};

/// The limit of the server's defaults, and one that short inputs reach.
pub const BYTES_MAX: [usize; 2] = [25 * 1024 * 1024, 64];

/// What a stream becomes.
pub type Outcome = Result<Read, Refusal>;

/// A body, or as much of it as there was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// The content.
    pub body: Vec<u8>,
    /// How many bytes of the stream belong to it.
    pub used: usize,
    /// Whether that is all.
    pub is_complete: bool,
}

/// The input is a stream. It is read in every framing, with lengths around its own.
pub fn check(stream: &[u8]) {
    let bytes = stream.len() as u64;
    let lengths = [0, bytes / 2, bytes, bytes + 1, u64::MAX].map(Framing::Length);
    for bytes_max in BYTES_MAX {
        for framing in lengths.into_iter().chain([Framing::None, Framing::Chunked]) {
            let whole = read(framing, stream, bytes_max, uncut());
            judge(framing, stream, bytes_max, &whole);
            assert_eq!(whole, read(framing, stream, bytes_max, each_byte()), "{framing:?} byte by byte");
            assert_eq!(whole, read(framing, stream, bytes_max, halves(stream)), "{framing:?} in halves");
        }
    }
}

/// Reads the body of a stream that arrives in portions of these sizes.
pub fn read(framing: Framing, stream: &[u8], bytes_max: usize, sizes: impl IntoIterator<Item = usize>) -> Outcome {
    let mut reader = BodyReader::new(framing, bytes_max)?;
    let mut used = 0;
    for portion in portions(stream, sizes) {
        used += push(&mut reader, portion, bytes_max)?;
    }
    Ok(Read { used, is_complete: reader.is_complete(), body: reader.into_body() })
}

/// [`BodyReader::push`], with what holds for every single one.
pub fn push(reader: &mut BodyReader, portion: &[u8], bytes_max: usize) -> Result<usize, Refusal> {
    let (before, was_complete) = (reader.len(), reader.is_complete());
    let used = reader.push(portion);
    assert!(reader.len() <= bytes_max, "{} bytes are held, {bytes_max} allowed", reader.len());
    match used {
        Ok(used) => {
            assert!(used <= portion.len(), "{used} bytes used of {} given", portion.len());
            assert!(used == portion.len() || reader.is_complete(), "{used} bytes used, and yet it is not complete");
            assert!(used == 0 || !was_complete, "bytes used after the end");
            assert!(reader.len() <= before + used, "more content than bytes");
        }
        Err(refusal) => assert!(matches!(refusal.status, 400 | 413), "{refusal:?}"),
    }
    used
}

/// Holds an accepted body against a second reading of its bytes, which is slow and simple.
pub fn judge(framing: Framing, stream: &[u8], bytes_max: usize, outcome: &Outcome) {
    let expected = match framing {
        Framing::Length(length) if length > bytes_max as u64 => {
            assert_eq!(outcome.as_ref().map_err(|refusal| refusal.status), Err(413));
            return;
        }
        // It fits, as it is no more than a limit, which is a `usize`.
        Framing::None => Some((Vec::new(), 0)),
        Framing::Length(length) => stream.get(..length as usize).map(|body| (body.to_vec(), length as usize)),
        Framing::Chunked if outcome.is_err() => return,
        Framing::Chunked => dechunk(stream),
    };
    let read = outcome.as_ref().expect("a stated length is refused for nothing but its size");
    match expected {
        Some((body, used)) => assert_eq!(*read, Read { body, used, is_complete: true }),
        None => assert!(!read.is_complete && read.used == stream.len(), "{read:?}"),
    }
}

/// RFC 9112 § 7.1 for a stream that is not refused: the content and what it took, `None` when more is needed.
fn dechunk(stream: &[u8]) -> Option<(Vec<u8>, usize)> {
    let mut body = Vec::new();
    let mut at = 0;
    loop {
        let line = line(stream, &mut at)?;
        let digits = line.split(|byte| *byte == b';').next().expect("the first piece");
        assert!(digits.iter().all(u8::is_ascii_hexdigit), "the size {} is not a number", digits.escape_ascii());
        let digits = std::str::from_utf8(digits).expect("ASCII");
        let size = usize::from_str_radix(digits, 16).expect("a size within the limit");
        if size == 0 {
            break;
        }
        body.extend(stream.get(at..at + size)?);
        at += size;
        assert_eq!(stream.get(at..at + 2)?, b"\r\n", "a chunk ends with its size");
        at += 2;
    }
    while !line(stream, &mut at)?.is_empty() {}
    Some((body, at))
}

/// The line at `at`, without its end, beyond which `at` is moved.
fn line<'a>(stream: &'a [u8], at: &mut usize) -> Option<&'a [u8]> {
    let rest = &stream[*at..];
    let end = rest.windows(2).position(|pair| pair == b"\r\n")?;
    *at += end + 2;
    Some(&rest[..end])
}
