//! Streams for the properties: valid requests together with what they mean, the same with faults, and a soup of what
//! HTTP is made of.

use proptest::{collection::vec, prelude::*, sample::Index};

/// What parts of a request are made of, and what others have been confused by.
pub(crate) const TOKENS: &[&[u8]] = &[
    b"\r\n",
    b"\n",
    b"\r",
    b"\r\n\r\n",
    b"\n\n",
    b" ",
    b"\t",
    b"\0",
    b":",
    b";",
    b",",
    b"\xff",
    b"\x0b",
    b"0",
    b"+",
    b"0x",
    b"-1",
    b"18446744073709551615",
    b"18446744073709551616",
    b"ffffffffffffffff",
    b"10000000000000000",
    b"GET / HTTP/1.1\r\n",
    b"POST / HTTP/1.0\r\n",
    b" HTTP/1.1",
    b"Host: h\r\n",
    b"Host:\r\n",
    b"Content-Length: 4\r\n",
    b"content-length:0\r\n",
    b"Content-Length: +4\r\n",
    b"Content-Length: 4, 4\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: gzip, chunked\r\n",
    b"transfer-encoding : chunked\r\n",
    b"Expect: 100-continue\r\n",
    b"Expect: tea\r\n",
    b" folded\r\n",
    b"4\r\nbody\r\n",
    b"2;a=b\r\nok\r\n",
    b"0\r\n\r\n",
    b"0\r\nT: t\r\n\r\n",
];

/// A valid request, part by part.
#[derive(Clone, Debug)]
pub(crate) struct Valid {
    pub(crate) method: String,
    pub(crate) target: String,
    /// With `Host` and what frames the body.
    pub(crate) fields: Vec<Field>,
    pub(crate) content: Vec<u8>,
    empty_lines: usize,
    /// The body as it is framed.
    framed: Vec<u8>,
    pub(crate) surplus: Vec<u8>,
}

/// A field, with the blanks around its value.
#[derive(Clone, Debug)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) value: Vec<u8>,
    blanks: [&'static str; 2],
}

impl Valid {
    /// From the first byte to the end of the empty line.
    pub(crate) fn head(&self) -> Vec<u8> {
        let mut head = "\r\n".repeat(self.empty_lines).into_bytes();
        head.extend(format!("{} {} HTTP/1.1\r\n", self.method, self.target).bytes());
        for Field { name, value, blanks: [before, after] } in &self.fields {
            head.extend([name.as_bytes(), b":", before.as_bytes(), value, after.as_bytes(), b"\r\n"].concat());
        }
        head.extend(b"\r\n");
        head
    }

    /// The request alone.
    pub(crate) fn request(&self) -> Vec<u8> {
        [self.head(), self.framed.clone()].concat()
    }

    /// The request, and what comes after it.
    pub(crate) fn stream(&self) -> Vec<u8> {
        [self.request(), self.surplus.clone()].concat()
    }
}

/// Sizes of portions, empty ones included.
pub(crate) fn sizes() -> impl Strategy<Value = Vec<usize>> {
    vec(prop_oneof![3 => 0..8usize, 1 => 0..200usize], 0..40)
}

/// Any stream: nothing but bytes, a soup of tokens, a body alone, or a request with faults.
pub(crate) fn streams() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        1 => vec(any::<u8>(), 0..300),
        2 => soup(),
        1 => (contents(), chunks()).prop_map(|(content, chunks)| chunks.frame(&content)),
        6 => (valid(), vec(fault(), 0..4)).prop_map(|(valid, faults)| spoil(valid.stream(), &faults)),
    ]
}

/// Streams of chunks, with faults.
pub(crate) fn chunked() -> impl Strategy<Value = Vec<u8>> {
    (contents(), chunks(), vec(fault(), 0..3))
        .prop_map(|(content, chunks, faults)| spoil(chunks.frame(&content), &faults))
}

fn soup() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => prop::sample::select(TOKENS).prop_map(<[u8]>::to_vec),
        1 => vec(any::<u8>(), 0..6),
        1 => "[ -~]{0,40}".prop_map(String::into_bytes),
    ];
    vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

fn contents() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![3 => vec(any::<u8>(), 0..64), 1 => vec(any::<u8>(), 0..400)]
}

/// How content is chunked.
#[derive(Clone, Debug)]
struct Chunks {
    /// Sizes, and how each is written: leading zeros, upper case, an extension.
    sizes: Vec<(usize, usize, bool, String)>,
    last: (usize, String),
    trailers: Vec<String>,
}

impl Chunks {
    fn frame(&self, content: &[u8]) -> Vec<u8> {
        let mut framed = Vec::new();
        let mut rest = content;
        for (size, zeros, is_upper, extension) in &self.sizes {
            let (chunk, after) = rest.split_at((*size).min(rest.len()));
            // A chunk of nothing would be the last one.
            if !chunk.is_empty() {
                let size = if *is_upper { format!("{:X}", chunk.len()) } else { format!("{:x}", chunk.len()) };
                framed.extend(format!("{}{size}{extension}\r\n", "0".repeat(*zeros)).bytes());
                framed.extend([chunk, b"\r\n"].concat());
            }
            rest = after;
        }
        if !rest.is_empty() {
            framed.extend(format!("{:x}\r\n", rest.len()).bytes());
            framed.extend([rest, b"\r\n"].concat());
        }
        let (zeros, extension) = &self.last;
        framed.extend(format!("{}0{extension}\r\n{}\r\n", "0".repeat(*zeros), self.trailers.concat()).bytes());
        framed
    }
}

fn chunks() -> impl Strategy<Value = Chunks> {
    let extension = || prop_oneof![3 => Just(String::new()), 1 => ";[ -~\t]{0,20}"];
    (
        vec((1..40usize, 0..4usize, any::<bool>(), extension()), 0..8),
        (0..4usize, extension()),
        vec("[A-Za-z-]{1,8}:[ -~\t]{0,12}\r\n", 0..3),
    )
        .prop_map(|(sizes, last, trailers)| Chunks { sizes, last, trailers })
}

#[derive(Clone, Debug)]
enum Body {
    None,
    Length { zeros: usize },
    Chunked(Chunks),
}

/// A field of this name, in some case.
fn field(name: &'static str, value: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Field> {
    let blank = || prop::sample::select(&["", " ", "\t", "  \t"][..]);
    let name = prop_oneof![Just(name.to_owned()), Just(name.to_lowercase()), Just(name.to_uppercase())];
    (name, value, blank(), blank()).prop_map(|(name, value, before, after)| Field {
        name,
        value,
        blanks: [before, after],
    })
}

/// Fields that mean nothing to a reader. Values neither begin nor end with a blank.
fn others() -> impl Strategy<Value = Vec<Field>> {
    let is_visible = |byte: &u8| *byte > b' ' && *byte != 0x7f;
    let value = prop_oneof![
        "([!-~]([ -~\t]{0,30}[!-~])?)?".prop_map(String::into_bytes),
        vec(any::<u8>().prop_filter("a visible byte", is_visible), 0..20),
    ];
    let other = ("x-[A-Za-z0-9!#$%&'*+.^_`|~-]{0,12}", field("", value));
    vec(other.prop_map(|(name, field)| Field { name, ..field }), 0..6)
}

/// Valid requests of at most a few hundred bytes.
pub(crate) fn valid() -> impl Strategy<Value = Valid> {
    let body = prop_oneof![
        1 => Just(Body::None),
        2 => (0..3usize).prop_map(|zeros| Body::Length { zeros }),
        3 => chunks().prop_map(Body::Chunked),
    ];
    let framed = (body, contents()).prop_flat_map(|(body, content)| {
        let (content, framed, name, value) = match body {
            Body::None => (Vec::new(), Vec::new(), "", String::new()),
            Body::Length { zeros } => {
                let value = format!("{}{}", "0".repeat(zeros), content.len());
                (content.clone(), content, "Content-Length", value)
            }
            Body::Chunked(chunks) => {
                let framed = chunks.frame(&content);
                (content, framed, "Transfer-Encoding", "Chunked".to_owned())
            }
        };
        (Just(content), Just(framed), field(name, Just(value.into_bytes())))
    });
    let host = field("Host", "[a-z.]{0,12}".prop_map(String::into_bytes));
    let expect = prop::option::weighted(0.2, field("Expect", Just(b"100-Continue".to_vec())));
    let method = prop_oneof![3 => Just("POST".to_owned()), 1 => "[A-Z]{1,10}", 1 => "[A-Za-z!#$%&'*+.^_`|~-]{1,8}"];
    let surplus = prop_oneof![vec(any::<u8>(), 0..20), Just(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n".to_vec())];
    let target = prop_oneof![2 => "/[a-z/?=&%0-9]{0,30}", 1 => "[!-~]{1,20}"];
    let parts = (method, target, framed, others(), host, expect, vec(any::<Index>(), 3), 0..3usize, surplus);
    parts.prop_map(|(method, target, framed, mut fields, host, expect, places, empty_lines, surplus)| {
        let (content, framed, framing) = framed;
        let framing = (!framing.name.is_empty()).then_some(framing);
        for (field, place) in [Some(host), expect, framing].into_iter().flatten().zip(places) {
            fields.insert(place.index(fields.len() + 1), field);
        }
        Valid { method, target, fields, content, empty_lines, framed, surplus }
    })
}

/// Something done to a stream at a place.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    Insert(Index, Vec<u8>),
    Replace(Index, u8),
    Remove(Index, usize),
    /// So many bytes, once more.
    Repeat(Index, usize),
    /// The first line end from here on loses its CR.
    BareNewline(Index),
    End(Index),
}

fn fault() -> impl Strategy<Value = Fault> {
    let place = any::<Index>;
    prop_oneof![
        4 => (place(), prop::sample::select(TOKENS)).prop_map(|(at, token)| Fault::Insert(at, token.to_vec())),
        // Past the limits on lines, extensions and trailers.
        1 => (place(), stretch()).prop_map(|(at, run)| Fault::Insert(at, run)),
        2 => (place(), any::<u8>()).prop_map(|(at, byte)| Fault::Replace(at, byte)),
        1 => (place(), prop::sample::select(&b"\r\n \t:;0aF\0"[..])).prop_map(|(at, byte)| Fault::Replace(at, byte)),
        2 => (place(), 1..30usize).prop_map(|(at, count)| Fault::Remove(at, count)),
        2 => (place(), 1..60usize).prop_map(|(at, count)| Fault::Repeat(at, count)),
        1 => place().prop_map(Fault::BareNewline),
        1 => place().prop_map(Fault::End),
    ]
}

/// One token over and over.
fn stretch() -> impl Strategy<Value = Vec<u8>> {
    let count = prop_oneof![6 => 250..260usize, 1 => 1..10_000usize];
    let tokens: &[&[u8]] = &[b"0", b"e", b"a: b\r\n", b"1;e\r\na\r\n"];
    (prop::sample::select(tokens), count).prop_map(|(token, count)| token.repeat(count))
}

fn spoil(mut stream: Vec<u8>, faults: &[Fault]) -> Vec<u8> {
    for fault in faults {
        let place = |at: &Index| at.index(stream.len() + 1);
        match fault {
            Fault::Insert(at, token) => drop(stream.splice(place(at)..place(at), token.iter().copied())),
            Fault::Replace(at, byte) => {
                let at = place(at);
                stream.splice(at..(at + 1).min(stream.len()), [*byte]);
            }
            Fault::Remove(at, count) => {
                let at = place(at);
                stream.drain(at..(at + count).min(stream.len()));
            }
            Fault::Repeat(at, count) => {
                let at = place(at);
                let again = stream[at..(at + count).min(stream.len())].to_vec();
                stream.splice(at..at, again);
            }
            Fault::BareNewline(at) => {
                let at = place(at);
                if let Some(offset) = stream[at..].windows(2).position(|pair| pair == b"\r\n") {
                    stream.remove(at + offset);
                }
            }
            Fault::End(at) => stream.truncate(place(at)),
        }
    }
    stream
}
