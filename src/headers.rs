//! The header fields of a request, as bytes. Owns look-up by name; refuses to know what any header means.

use std::ops::Range;

/// Header fields in the order they came. Names compare without regard to case; values are bytes, because a proxy in
/// front may add ones that are not ASCII (Cloudflare's `cf-ipcity: São Paulo`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers {
    /// Names and values back to back: one allocation for all of them.
    bytes: Vec<u8>,
    fields: Vec<(Range<usize>, Range<usize>)>,
}

/// What looking for a header that must be single finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Single<'a> {
    /// Not there.
    Missing,
    /// There once.
    Once(&'a [u8]),
    /// There more than once: two truths, so none.
    Repeated,
}

impl Headers {
    /// No fields yet.
    pub fn new() -> Headers {
        Headers::default()
    }

    /// Appends a field; the value's leading and trailing blanks are not part of it (RFC 9110 § 5.5).
    pub fn push(&mut self, name: &str, value: &[u8]) {
        let value = value.trim_ascii();
        let start = self.bytes.len();
        self.bytes.extend_from_slice(name.as_bytes());
        let middle = self.bytes.len();
        self.bytes.extend_from_slice(value);
        self.fields.push((start..middle, middle..self.bytes.len()));
    }

    /// Every field, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.fields.iter().map(|(name, value)| {
            // `push` takes names as `&str`, so the range is UTF-8.
            (std::str::from_utf8(&self.bytes[name.clone()]).unwrap_or_default(), &self.bytes[value.clone()])
        })
    }

    /// Every value of this name, in order.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.iter().filter(move |(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The value of a header that may come once at most.
    pub fn single<'a>(&'a self, name: &'a str) -> Single<'a> {
        let mut values = self.all(name);
        match (values.next(), values.next()) {
            (None, _) => Single::Missing,
            (Some(value), None) => Single::Once(value),
            (Some(_), Some(_)) => Single::Repeated,
        }
    }

    /// The first value of this name, when it is UTF-8.
    pub fn text<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        self.all(name).next().and_then(|value| std::str::from_utf8(value).ok())
    }

    /// How many fields there are.
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }
}

impl<'a> FromIterator<(&'a str, &'a [u8])> for Headers {
    fn from_iter<I: IntoIterator<Item = (&'a str, &'a [u8])>>(fields: I) -> Headers {
        let mut headers = Headers::new();
        for (name, value) in fields {
            headers.push(name, value);
        }
        headers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_ignore_case_and_values_are_bytes() {
        let headers: Headers = [("X-City", " São Paulo ".as_bytes()), ("X-Raw", b"\xff")].into_iter().collect();
        assert_eq!(headers.text("x-city"), Some("São Paulo"));
        assert_eq!(headers.text("x-raw"), None);
        assert_eq!(headers.single("X-RAW"), Single::Once(b"\xff"));
        assert_eq!(headers.single("x-none"), Single::Missing);
    }

    #[test]
    fn a_repeated_header_is_no_answer() {
        let headers: Headers = [("a", b"1".as_slice()), ("A", b"2")].into_iter().collect();
        assert_eq!(headers.single("a"), Single::Repeated);
        assert_eq!(headers.all("a").count(), 2);
    }
}
