//! A whole request under any bytes: the head and then the body, from one stream.

use hookbell::http::{Head, Refusal, body::BodyReader, request::HeadReader};

use super::{
    body, head,
    portions::{each_byte, portions, uncut},
};

/// How many bytes at the end of an input are sizes of portions.
const SIZES: usize = 4;

/// What a stream becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Answered before all of it was there.
    Refused(Refusal),
    /// The stream ended within the head.
    HeadUnfinished,
    /// The stream ended within the body, of which so much had arrived.
    BodyUnfinished(Head, Vec<u8>),
    /// A request, and how many bytes it took.
    Complete(Head, Vec<u8>, usize),
}

/// The most that is taken.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Largest head.
    pub head_bytes_max: usize,
    /// Largest body.
    pub body_bytes_max: usize,
}

/// The server's defaults, and limits that short inputs reach.
pub fn limits() -> impl Iterator<Item = Limits> {
    let pairs = head::BYTES_MAX.into_iter().zip(body::BYTES_MAX);
    pairs.map(|(head_bytes_max, body_bytes_max)| Limits { head_bytes_max, body_bytes_max })
}

/// The input is a stream and then the sizes of its portions, which repeat.
pub fn check(input: &[u8]) {
    let (stream, sizes) = input.split_at(input.len().saturating_sub(SIZES));
    for limits in limits() {
        check_cut(stream, limits, sizes.iter().map(|size| 1 + usize::from(*size)).cycle());
    }
}

/// However a stream is cut, it becomes the same.
pub fn check_cut(stream: &[u8], limits: Limits, sizes: impl IntoIterator<Item = usize>) {
    let whole = read(stream, limits, uncut());
    assert_eq!(whole, read(stream, limits, each_byte()), "byte by byte");
    assert_eq!(whole, read(stream, limits, sizes), "cut into portions");
    if let Outcome::Complete(head, content, used) = whole {
        let head_used = head::read(stream, limits.head_bytes_max, uncut());
        head::judge(stream, &head_used);
        let (same, head_bytes) = head_used.expect("no refusal, as above").expect("a head, as above");
        assert_eq!(head, same);
        let read = body::Read { body: content, used: used - head_bytes, is_complete: true };
        body::judge(head.framing, &stream[head_bytes..], limits.body_bytes_max, &Ok(read));
        // Nothing after the request can change it, nor is any of it dispensable.
        assert_eq!(read_complete(&stream[..used], limits), Some(used));
        assert_eq!(used.checked_sub(1).and_then(|end| read_complete(&stream[..end], limits)), None);
    }
}

/// Reads a request that arrives in portions of these sizes: what `http::connection` does, without a socket, a service and
/// deadlines.
pub fn read(stream: &[u8], limits: Limits, sizes: impl IntoIterator<Item = usize>) -> Outcome {
    converse(stream, limits, sizes).unwrap_or_else(Outcome::Refused)
}

fn read_complete(stream: &[u8], limits: Limits) -> Option<usize> {
    if let Outcome::Complete(_, _, used) = read(stream, limits, uncut()) { Some(used) } else { None }
}

fn converse(stream: &[u8], limits: Limits, sizes: impl IntoIterator<Item = usize>) -> Result<Outcome, Refusal> {
    let Limits { head_bytes_max, body_bytes_max } = limits;
    let mut portions = portions(stream, sizes);
    let mut used = 0;

    let mut reader = HeadReader::new(head_bytes_max);
    let (head, mut bytes) = loop {
        let Some(portion) = portions.next() else { return Ok(Outcome::HeadUnfinished) };
        if let Some((head, count)) = head::push(&mut reader, portion, head_bytes_max)? {
            used += count;
            break (head, &portion[count..]);
        }
        used += portion.len();
    };
    let mut reader = BodyReader::new(head.framing, body_bytes_max)?;
    loop {
        used += body::push(&mut reader, bytes, body_bytes_max)?;
        if reader.is_complete() {
            return Ok(Outcome::Complete(head, reader.into_body(), used));
        }
        bytes = match portions.next() {
            Some(portion) => portion,
            None => return Ok(Outcome::BodyUnfinished(head, reader.into_body())),
        };
    }
}
