//! How an input becomes a request of some provider's: its first line says whose, then header fields up to an empty line,
//! then the body.

use hookbell::{
    headers::Headers,
    provider::{Algorithm, Encoding, Options, Place, Proof, Provider, Terms, Unverified},
    secret::Secret,
};

use super::keys::keys;

/// An input taken apart.
pub struct Sent<'i> {
    /// Whose rules it follows.
    pub provider: Provider,
    /// What the first line says besides: the event type, or a variant of `generic`.
    pub word: &'i str,
    /// The request.
    pub request: Unverified,
}

impl Sent<'_> {
    /// Reads an input; every input is one.
    pub fn read(input: &[u8]) -> Sent<'_> {
        let (first, mut rest) = split(input);
        let first = std::str::from_utf8(first).unwrap_or_default();
        let (name, word) = first.split_once(' ').unwrap_or((first, ""));
        let by_number = usize::from(input.first().copied().unwrap_or_default()) % Provider::ALL.len();
        let provider = Provider::from_name(name).unwrap_or(Provider::ALL[by_number]);
        let mut fields = Vec::new();
        while !rest.is_empty() {
            let (line, after) = split(rest);
            rest = after;
            if line.is_empty() {
                break;
            }
            let at = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
            let value = line.get(at + 1..).unwrap_or_default().trim_ascii();
            if let Ok(name) = std::str::from_utf8(&line[..at]) {
                fields.push((name, value));
            }
        }
        let headers: Headers = fields.into_iter().collect();
        let request = Unverified { target: "/webhooks/x?a=b".to_owned(), headers, body: rest.to_vec() };
        Sent { provider, word, request }
    }
}

/// A line without its end, and what follows.
fn split(bytes: &[u8]) -> (&[u8], &[u8]) {
    match bytes.iter().position(|byte| *byte == b'\n') {
        Some(at) => (&bytes[..at], &bytes[at + 1..]),
        None => (bytes, b""),
    }
}

/// A secret of ours.
pub fn secret(text: &str) -> Secret {
    Secret::new(text.to_owned()).expect("a secret")
}

/// The receiver's terms. `word` chooses among the ways of `generic`.
pub fn terms(provider: Provider, word: &str) -> Terms {
    let mut terms = Terms::new(provider, vec![secret(keys(provider).1)]);
    terms.public_url = Some("https://hooks.example.com".to_owned());
    if provider == Provider::Generic {
        terms.options = variant(word);
    }
    terms
}

/// The ways of `generic`, by the length of a word.
pub fn variant(word: &str) -> Options {
    let header = Some("X-Mine".to_owned());
    let place = |text: &str| Some(Place::parse(text));
    match word.len() % 5 {
        0 => Options::NONE,
        1 => Options { header, algorithm: Some(Proof::Token), id: place("/id"), ..Options::NONE },
        2 => Options {
            header,
            algorithm: Some(Proof::Hmac(Algorithm::Sha512)),
            encoding: Some(Encoding::Base64),
            prefix: Some("v9=".to_owned()),
            ..Options::NONE
        },
        3 => Options {
            header,
            algorithm: Some(Proof::Hmac(Algorithm::Sha1)),
            timestamp_header: Some("X-Time".to_owned()),
            signed: Some("v0:{timestamp}:{body}".to_owned()),
            event: place("X-Event"),
            ..Options::NONE
        },
        _ => Options {
            header,
            title: Some("{/a} and {/b/0/c}".to_owned()),
            actor: place("/a~1b/~0"),
            about: place("/a"),
            link: place("/url"),
            subject: place("X-Event"),
            ..Options::NONE
        },
    }
}
