//! The body of a request, decoded from bytes that arrive in any portions. Owns both framings; refuses to know sockets,
//! time and content.
//!
//! Nothing is allocated because a client claims a length: the buffer grows with the bytes that arrived.

use super::request::{Framing, Refusal};

/// Longest line with a chunk's size, its extensions included.
const SIZE_LINE_BYTES_MAX: usize = 256;

/// Most bytes of extensions in one body. Nobody uses them; without a sum, one-byte chunks would carry gigabytes.
const EXTENSIONS_BYTES_MAX: usize = 4 * 1024;

/// Most bytes of trailer fields, which are read and dropped.
const TRAILERS_BYTES_MAX: usize = 8 * 1024;

/// A body that outgrows this moves to a place that it need not leave again.
const SMALL_BYTES_MAX: usize = 64 * 1024;

/// That place: address space, of which only what is written becomes memory. It is larger than anything that glibc keeps
/// for later use (32 MiB), so all of it is given back with the body. Grown by doubling instead, bodies leave their
/// former places behind in the allocator's arenas: twelve of 25 MiB at a time made a process of 300 MB. Only where there is
/// address space without end: on a 32-bit board ninety such bodies would leave none for anything else.
const LARGE_BYTES: usize = 33 * 1024 * 1024;

/// Reads one body. The result does not depend on how the bytes are cut into portions.
#[derive(Debug)]
pub struct BodyReader {
    body: Vec<u8>,
    bytes_max: usize,
    state: State,
    /// Bytes of the present size line.
    line_bytes: usize,
    extensions_bytes: usize,
    trailers_bytes: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// So many bytes and then the end.
    Length(u64),
    /// In the digits of a chunk's size; `None` before the first.
    Size(Option<u64>),
    Extension(u64),
    /// The size line's CR was there.
    SizeEnd(u64),
    /// So many bytes of a chunk.
    Data(u64),
    DataCr,
    DataLf,
    /// At the start of a trailer line, or of the empty one that ends it all.
    TrailerStart,
    Trailer,
    TrailerEnd {
        last: bool,
    },
    Done,
}

impl BodyReader {
    /// For a body of at most `bytes_max` bytes.
    ///
    /// # Errors
    /// 413 when the head already claims more.
    pub fn new(framing: Framing, bytes_max: usize) -> Result<BodyReader, Refusal> {
        let state = match framing {
            Framing::None | Framing::Length(0) => State::Done,
            Framing::Length(bytes) if bytes > bytes_max as u64 => return Err(too_large()),
            Framing::Length(bytes) => State::Length(bytes),
            Framing::Chunked => State::Size(None),
        };
        Ok(BodyReader { body: Vec::new(), bytes_max, state, line_bytes: 0, extensions_bytes: 0, trailers_bytes: 0 })
    }

    /// Takes the next bytes and says how many of them belong to this body: fewer than given only when it is complete.
    /// After a refusal the reader is spent.
    ///
    /// # Errors
    /// 400 for broken chunking, 413 when the chunks together are too large.
    pub fn push(&mut self, bytes: &[u8]) -> Result<usize, Refusal> {
        let mut at = 0;
        while at < bytes.len() && self.state != State::Done {
            match self.state {
                State::Length(left) => {
                    let taken = self.take(&bytes[at..], left);
                    at += taken;
                    let left = left - taken as u64;
                    self.state = if left == 0 { State::Done } else { State::Length(left) };
                }
                State::Data(left) => {
                    let taken = self.take(&bytes[at..], left);
                    at += taken;
                    let left = left - taken as u64;
                    self.state = if left == 0 { State::DataCr } else { State::Data(left) };
                }
                _ => {
                    self.state = self.step(bytes[at])?;
                    at += 1;
                }
            }
        }
        Ok(at)
    }

    /// Whether all of it is there.
    pub fn is_complete(&self) -> bool {
        self.state == State::Done
    }

    /// How many bytes of content have arrived.
    pub fn len(&self) -> usize {
        self.body.len()
    }

    /// Whether no content has arrived.
    pub fn is_empty(&self) -> bool {
        self.body.is_empty()
    }

    /// The content.
    pub fn into_body(self) -> Vec<u8> {
        self.body
    }

    fn take(&mut self, bytes: &[u8], left: u64) -> usize {
        let count = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
        let needed = self.body.len() + count;
        if usize::BITS >= 64 && needed > self.body.capacity() && (SMALL_BYTES_MAX..LARGE_BYTES).contains(&needed) {
            // Where address space is scarce the body grows as it can.
            let _ = self.body.try_reserve_exact(LARGE_BYTES - self.body.len());
        }
        self.body.extend_from_slice(&bytes[..count]);
        count
    }

    /// One byte of chunked framing.
    fn step(&mut self, byte: u8) -> Result<State, Refusal> {
        match self.state {
            State::Size(_) | State::Extension(_) => {
                self.line_bytes += 1;
                if self.line_bytes > SIZE_LINE_BYTES_MAX {
                    return Err(Refusal::bad("a chunk's size line is too long"));
                }
            }
            State::TrailerStart | State::Trailer => {
                self.trailers_bytes += 1;
                if self.trailers_bytes > TRAILERS_BYTES_MAX {
                    return Err(Refusal::bad("the trailers are too long"));
                }
            }
            _ => {}
        }
        match (self.state, byte) {
            (State::Size(Some(size)), b'\r') => self.sized(size).map(State::SizeEnd),
            (State::Size(Some(size)), b';') => self.sized(size).map(State::Extension),
            (State::Size(size), digit) => {
                let digit = char::from(digit).to_digit(16).ok_or(Refusal::bad("a chunk's size is not a number"))?;
                let size = size.unwrap_or(0).checked_mul(16).ok_or(Refusal::bad("a chunk's size is too large"))?;
                Ok(State::Size(Some(size | u64::from(digit))))
            }
            (State::Extension(size), b'\r') => Ok(State::SizeEnd(size)),
            (State::Extension(_), b'\n') => Err(Refusal::bad("a chunk's size line ends without a carriage return")),
            (State::Extension(size), _) => {
                self.extensions_bytes += 1;
                if self.extensions_bytes > EXTENSIONS_BYTES_MAX {
                    return Err(Refusal::bad("the chunk extensions are too long"));
                }
                Ok(State::Extension(size))
            }
            (State::SizeEnd(size), b'\n') => {
                self.line_bytes = 0;
                Ok(if size == 0 { State::TrailerStart } else { State::Data(size) })
            }
            (State::DataCr, b'\r') => Ok(State::DataLf),
            (State::DataLf, b'\n') => Ok(State::Size(None)),
            (State::TrailerStart, b'\r') => Ok(State::TrailerEnd { last: true }),
            (State::Trailer, b'\r') => Ok(State::TrailerEnd { last: false }),
            (State::TrailerStart | State::Trailer, b'\n') => {
                Err(Refusal::bad("a trailer line ends without a carriage return"))
            }
            (State::TrailerStart | State::Trailer, _) => Ok(State::Trailer),
            (State::TrailerEnd { last: true }, b'\n') => Ok(State::Done),
            (State::TrailerEnd { last: false }, b'\n') => Ok(State::TrailerStart),
            (State::SizeEnd(_) | State::TrailerEnd { .. }, _) => Err(Refusal::bad("a line does not end in CRLF")),
            (State::DataCr | State::DataLf, _) => Err(Refusal::bad("a chunk is longer than its size")),
            // `push` gives these whole slices, never single bytes.
            (State::Length(_) | State::Data(_) | State::Done, _) => Ok(self.state),
        }
    }

    /// Judges a chunk's size as soon as it is known: what cannot fit is refused before it is sent.
    fn sized(&self, size: u64) -> Result<u64, Refusal> {
        let room = self.bytes_max.saturating_sub(self.body.len()) as u64;
        if size > room { Err(too_large()) } else { Ok(size) }
    }
}

fn too_large() -> Refusal {
    Refusal::new(413, "the body is too large")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a stream becomes: the body and how many bytes it took, `None` when more is needed, or the refusal.
    type Outcome = Result<Option<(Vec<u8>, usize)>, Refusal>;

    fn by_portions(framing: Framing, bytes: &[u8], portions: impl Iterator<Item = usize>) -> Outcome {
        let mut reader = BodyReader::new(framing, 64)?;
        let (mut start, mut used) = (0, 0);
        for end in portions.chain([bytes.len()]) {
            used += reader.push(&bytes[start..end])?;
            start = end;
        }
        assert_eq!(reader.is_empty(), matches!(reader.len(), 0));
        Ok(reader.is_complete().then(|| (reader.into_body(), used)))
    }

    #[track_caller]
    fn check(framing: Framing, bytes: &[u8], expected: Result<Option<(&[u8], usize)>, u16>) {
        let found = by_portions(framing, bytes, [].into_iter());
        let seen = found.as_ref().map(|found| found.as_ref().map(|(body, used)| (body.as_slice(), *used)));
        assert_eq!(seen.map_err(|refusal| refusal.status), expected, "{}", bytes.escape_ascii());
        // Long inputs are repetitions; cutting those at every byte would only be slow.
        for cut in (0..=bytes.len()).step_by(bytes.len() / 256 + 1) {
            assert_eq!(by_portions(framing, bytes, [cut].into_iter()), found, "cut at {cut}");
        }
        assert_eq!(by_portions(framing, bytes, 0..bytes.len()), found, "byte by byte");
    }

    #[test]
    fn a_length_takes_that_much_and_no_more() {
        check(Framing::None, b"more", Ok(Some((b"", 0))));
        check(Framing::Length(0), b"more", Ok(Some((b"", 0))));
        check(Framing::Length(4), b"bodymore", Ok(Some((b"body", 4))));
        check(Framing::Length(5), b"body", Ok(None));
        check(Framing::Length(64), &[b'a'; 64], Ok(Some((&[b'a'; 64], 64))));
        check(Framing::Length(65), b"", Err(413));
        check(Framing::Length(u64::MAX), b"", Err(413));
    }

    #[test]
    fn chunks_are_joined_and_broken_ones_refused() {
        for (bytes, expected) in [
            (b"0\r\n\r\nmore".as_slice(), Ok(Some((b"".as_slice(), 5)))),
            (b"4\r\nbody\r\n0\r\n\r\n", Ok(Some((b"body", 14)))),
            (b"2\r\nbo\r\n002;a=b;c\r\ndy\r\n0;x\r\n\r\n", Ok(Some((b"body", 29)))),
            (b"A\r\n0123456789\r\n0\r\nX: y\r\nZ: w\r\n\r\n", Ok(Some((b"0123456789", 32)))),
            (b"4\r\nbody\r\n0\r\n", Ok(None)),
            (b"4\r\nbody\r\n0\r\n\r", Ok(None)),
            (b"40\r\n", Ok(None)),
            (b"41\r\n", Err(413)),
            (b"3f\r\nbodybodybodybodybodybodybodybodybodybodybodybodybodybodybodybod\r\n2\r\n", Err(413)),
            (b"ffffffffffffffff\r\n", Err(413)),
            (b"10000000000000000\r\n", Err(400)),
            (b"\r\n", Err(400)),
            (b";a\r\n", Err(400)),
            (b"+4\r\nbody\r\n", Err(400)),
            (b"-4\r\nbody\r\n", Err(400)),
            (b"0x4\r\nbody\r\n", Err(400)),
            (b" 4\r\nbody\r\n", Err(400)),
            (b"4 \r\nbody\r\n", Err(400)),
            (b"4\nbody\r\n", Err(400)),
            (b"4;a\nbody\r\n", Err(400)),
            (b"4\rbody\r\n", Err(400)),
            (b"4\r\nbody0\r\n\r\n", Err(400)),
            (b"4\r\nbody\n0\r\n\r\n", Err(400)),
            (b"4\r\nbody\rX", Err(400)),
            (b"0\r\nX: y\n\r\n", Err(400)),
            (b"0\r\n\n", Err(400)),
        ] {
            check(Framing::Chunked, bytes, expected);
        }
    }

    #[test]
    fn what_carries_no_content_is_limited() {
        check(Framing::Chunked, &b"0".repeat(SIZE_LINE_BYTES_MAX + 1), Err(400));
        check(Framing::Chunked, &[b"1;".as_slice(), &b"e".repeat(SIZE_LINE_BYTES_MAX)].concat(), Err(400));
        let chunk = [b"1;".as_slice(), &b"e".repeat(200), b"\r\na\r\n"].concat();
        check(Framing::Chunked, &chunk.repeat(30), Err(400));
        check(Framing::Chunked, &[b"0\r\n".as_slice(), &b"t".repeat(TRAILERS_BYTES_MAX + 1)].concat(), Err(400));
        check(Framing::Chunked, &[b"0\r\n".as_slice(), &b"t: x\r\n".repeat(TRAILERS_BYTES_MAX)].concat(), Err(400));
    }
}
