//! Requests as a provider would send them, of our own making, for `hookbell send` and `demo`. Pure: the salt makes the
//! fresh values, so equal salts make equal bytes.

use std::fmt::Display;

use super::{Provider, rules::Signing};

const FORM: &str = "application/x-www-form-urlencoded";

/// A request of ours in a provider's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The provider's own name for what happened.
    pub event_type: String,
    /// What the URL ends with, from the `?` on; mostly nothing.
    pub query: String,
    /// The head's fields, except what HTTP itself needs.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Sample {
    /// JSON, with no header but that.
    pub fn json(event_type: &str, body: impl Into<Vec<u8>>) -> Sample {
        let headers = vec![("Content-Type".to_owned(), "application/json".to_owned())];
        Sample { event_type: event_type.to_owned(), query: String::new(), headers, body: body.into() }
    }

    /// A form.
    pub(super) fn form<'f>(event_type: &str, fields: impl IntoIterator<Item = (&'f str, &'f str)>) -> Sample {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        Sample::json(event_type, body).with("Content-Type", FORM)
    }

    /// A payload that may be either, told apart by how it begins.
    pub(super) fn form_or_json(event_type: &str, body: Vec<u8>) -> Sample {
        let is_json = matches!(body.trim_ascii_start().first(), Some(b'{' | b'['));
        Sample::json(event_type, body).with("Content-Type", if is_json { "application/json" } else { FORM })
    }

    /// Puts a header in place of one of that name.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.headers.retain(|(header, _)| !header.eq_ignore_ascii_case(name));
        self.headers.push((name.to_owned(), value.into()));
    }

    /// The same, while it is made.
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Sample {
        self.set(name, value);
        self
    }

    /// The content type, and the other fields.
    pub fn fields(&self) -> (&str, Vec<(&str, &str)>) {
        let is_type = |name: &str| name.eq_ignore_ascii_case("content-type");
        let content_type =
            self.headers.iter().find(|(name, _)| is_type(name)).map_or("application/json", |(_, value)| value);
        let others = self.headers.iter().filter(|(name, _)| !is_type(name));
        (content_type, others.map(|(name, value)| (name.as_str(), value.as_str())).collect())
    }

    /// Signs as the provider does, in place of a signature that is there.
    ///
    /// # Errors
    /// What the secret lacks.
    pub fn sign(&mut self, provider: Provider, signing: &Signing<'_>) -> Result<(), &'static str> {
        (provider.rules().sign)(signing, self)
    }
}

/// What the provider has samples of: name and a line about it.
pub fn list(provider: Provider) -> &'static [(&'static str, &'static str)] {
    provider.rules().samples
}

/// The sample of that name, with ids, numbers and titles that follow from the salt; `None` when there is none.
pub fn build(provider: Provider, name: &str, salt: u64) -> Option<Sample> {
    (provider.rules().build)(name, salt)
}

/// A payload of the user's own in the provider's envelope.
pub fn for_payload(provider: Provider, event_type: &str, body: Vec<u8>, salt: u64) -> Sample {
    (provider.rules().envelope)(event_type, body, salt)
}

/// JSON with its holes filled: `$name` in the template becomes what stands for that name, as it is written, so that a text's
/// quotation marks stand in the template (`"$title"`) and a number or an object has none (`$number`). Nothing is escaped:
/// all of it is ours. Text with holes takes a tenth of the room that building values does.
pub(super) fn fill(template: &str, holes: &[(&str, &dyn Display)]) -> String {
    let mut filled = String::with_capacity(template.len() + 256);
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('$') {
        let end = after.find(|c: char| !matches!(c, 'a'..='z' | '_' | '0'..='9')).unwrap_or(after.len());
        let (name, following) = after.split_at(end);
        filled.push_str(before);
        match holes.iter().find(|(hole, _)| *hole == name) {
            Some((_, value)) => filled.push_str(&value.to_string()),
            // It is filled later, or it is a mistake that every test of the sample sees.
            None => filled.push_str(&format!("${name}")),
        }
        rest = following;
    }
    filled + rest
}

/// Fresh values that follow from a salt, another one for each name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seed(u64);

impl Seed {
    pub(super) fn new(salt: u64) -> Seed {
        Seed(salt)
    }

    fn of(self, name: &str) -> u64 {
        name.bytes().fold(spread(self.0), |bits, byte| spread(bits ^ u64::from(byte)))
    }

    /// A number below `end`.
    pub(super) fn below(self, name: &str, end: u64) -> u64 {
        self.of(name) % end
    }

    /// One of the list.
    pub(super) fn pick<'a>(self, name: &str, list: &[&'a str]) -> &'a str {
        list[usize::try_from(self.below(name, list.len() as u64)).unwrap_or(0)]
    }

    /// Letters and digits, as in many providers' ids.
    pub(super) fn word(self, name: &str, chars: usize) -> String {
        const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
        let digit = |index: usize| ALPHABET[(spread(self.of(name) ^ index as u64) % ALPHABET.len() as u64) as usize];
        (0..chars).map(|index| char::from(digit(index))).collect()
    }

    /// A GUID in the shape of RFC 4122 version 4.
    pub(super) fn guid(self, name: &str) -> String {
        guid(self.of(name))
    }
}

/// Spreads a salt over 64 bits, so that neighbouring salts look unrelated (SplitMix64's finaliser).
fn spread(salt: u64) -> u64 {
    let mut bits = salt.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// A GUID in the shape of RFC 4122 version 4 that follows from the salt.
fn guid(salt: u64) -> String {
    let bits = u128::from(spread(salt)) << 64 | u128::from(spread(!salt));
    let bits = bits & !(0xf << 76) & !(0x3 << 62) | 0x4 << 76 | 0x2 << 62;
    let digits = format!("{bits:032x}");
    format!("{}-{}-{}-{}-{}", &digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_are_filled_by_name() {
        let template = r#"{"id":"$id","ids":[$number,$number],"nested":$nested}$"#;
        let filled = fill(template, &[("id", &"a-1"), ("number", &7), ("nested", &"{}")]);
        assert_eq!(filled, r#"{"id":"a-1","ids":[7,7],"nested":{}}$"#);
        assert_eq!(fill("$none", &[]), "$none");
    }
}
