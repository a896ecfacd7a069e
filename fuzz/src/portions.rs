//! A stream cut into portions, as a socket would hand it out. Owns the cutting; refuses to know what is read.

/// Cuts `stream` into portions of these sizes, in order; what is left after the last size is one more portion. A size of
/// zero gives an empty portion.
pub fn portions(stream: &[u8], sizes: impl IntoIterator<Item = usize>) -> impl Iterator<Item = &[u8]> {
    let mut rest = stream;
    let mut sizes = sizes.into_iter();
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let size = sizes.next().unwrap_or(rest.len()).min(rest.len());
        let (portion, after) = rest.split_at(size);
        rest = after;
        Some(portion)
    })
}

/// The sizes of no cut at all.
pub fn uncut() -> std::iter::Empty<usize> {
    std::iter::empty()
}

/// The sizes of a cut after every byte.
pub fn each_byte() -> std::iter::Repeat<usize> {
    std::iter::repeat(1)
}

/// The sizes of one cut in the middle.
pub fn halves(stream: &[u8]) -> std::iter::Once<usize> {
    std::iter::once(stream.len() / 2)
}
