//! Reading what requests have in common: headers that must be single, signed times, digests in text, forms. Refuses to
//! know any provider's names.

use std::{borrow::Cow, time::Duration};

use crate::{
    headers::{Headers, Single},
    time::Timestamp,
};
use base64::{Engine, alphabet, engine::GeneralPurpose, engine::general_purpose};

use super::{IDENTITY_BYTES_MAX, Rejection, draft::clean};

/// Fields of a form that are read: senders have less than a hundred, and a field of two bytes would take fifty.
pub(super) const FIELDS_MAX: usize = 1000;

/// A list of signatures stays short even while secrets are rotated.
pub(super) const SIGNATURES_MAX: usize = 32;

/// The same for senders whose lists may be longer: each costs a comparison alone.
pub(super) const DIGESTS_MAX: usize = 256;

/// So many digits of a time in seconds are still a number of milliseconds; thirteen of them are sent by who confuses
/// the two.
const TIME_DIGITS_MAX: usize = 15;

/// Digits of a time in seconds from 2001 to 2286.
const TIME_DIGITS_MIN: usize = 10;

/// A header that proves something: there once, and not empty.
pub(super) fn proof<'h>(headers: &'h Headers, name: &'h str) -> Result<&'h [u8], Rejection> {
    match headers.single(name) {
        Single::Missing | Single::Once(b"") => Err(Rejection::missing(name)),
        Single::Repeated => Err(Rejection::malformed(name, "it came more than once")),
        Single::Once(value) => Ok(value),
    }
}

/// The same, as text.
pub(super) fn proof_text<'h>(headers: &'h Headers, name: &'h str) -> Result<&'h str, Rejection> {
    std::str::from_utf8(proof(headers, name)?).map_err(|_| Rejection::malformed(name, "it is not text"))
}

/// A header that every request of the provider has, as part of an identity.
pub(super) fn identity_text(headers: &Headers, name: &str) -> Result<String, Rejection> {
    let refused = |why| Rejection::HeaderMissing { header: name.to_owned(), why };
    let value = match headers.single(name) {
        Single::Missing | Single::Once(b"") => return Err(refused("is missing or empty")),
        Single::Repeated => return Err(refused("came more than once")),
        Single::Once(value) => value,
    };
    if value.len() > IDENTITY_BYTES_MAX {
        return Err(refused("is too long"));
    }
    let text = std::str::from_utf8(value).ok().and_then(identity);
    text.ok_or_else(|| refused("is not printable ASCII"))
}

/// A text as part of an identity: printable ASCII of bounded length. Everything else is no identity.
pub(super) fn identity(text: &str) -> Option<String> {
    let is_good =
        !text.is_empty() && text.len() <= IDENTITY_BYTES_MAX && text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    is_good.then(|| text.to_owned())
}

/// A header as part of an identity, where it is there once and can be one.
pub(super) fn optional_identity(headers: &Headers, name: &str) -> Option<String> {
    match headers.single(name) {
        Single::Once(value) => std::str::from_utf8(value).ok().and_then(identity),
        Single::Missing | Single::Repeated => None,
    }
}

/// Seconds since the epoch, as a provider writes them: digits and nothing else. Anything that could be read in two ways
/// (a sign, a fraction, a number that overflows) is refused rather than compared.
pub(super) fn seconds(name: &str, text: &str) -> Result<i64, Rejection> {
    let refused = || Rejection::malformed(name, "its time is not a whole number of seconds");
    if text.is_empty() || text.len() > TIME_DIGITS_MAX || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(refused());
    }
    text.parse().map_err(|_| refused())
}

/// The same where nothing separates the time from the body that is signed behind it: a time that is as long as today's,
/// so that none of its digits can have become the body's first.
pub(super) fn seconds_before_body(name: &str, text: &str) -> Result<i64, Rejection> {
    let seconds = seconds(name, text)?;
    if text.len() < TIME_DIGITS_MIN {
        return Err(Rejection::malformed(name, "its time has fewer than 10 digits, and the body follows it at once"));
    }
    Ok(seconds)
}

/// Which sides of now are limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Window {
    /// Neither too old nor too new.
    Both,
    /// Not too old; a future time is the sender's affair.
    Past,
}

/// Refuses a signed time that is too far from now. A tolerance of zero looks at no time.
pub(super) fn within(signed: Timestamp, now: Timestamp, tolerance: Duration, window: Window) -> Result<(), Rejection> {
    let is_ahead = signed > now;
    let by = if is_ahead { signed.since(now) } else { now.since(signed) };
    if tolerance.is_zero() || by <= tolerance || (is_ahead && window == Window::Past) {
        return Ok(());
    }
    Err(Rejection::OutsideWindow { by, is_ahead, tolerance })
}

/// Reads hexadecimal digits. Lower case alone: senders write it and their SDKs compare text, so one signature has one
/// spelling.
pub(super) fn hex(text: &[u8]) -> Option<Vec<u8>> {
    digits(text, |digit| nibble(digit).filter(|_| !digit.is_ascii_uppercase()))
}

/// The same in either case, for senders that document both.
pub(super) fn hex_any_case(text: &[u8]) -> Option<Vec<u8>> {
    digits(text, nibble)
}

fn digits(text: &[u8], nibble: impl Fn(u8) -> Option<u8>) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_chunks::<2>();
    if !rest.is_empty() || pairs.is_empty() {
        return None;
    }
    pairs.iter().map(|[high, low]| Some(nibble(*high)? << 4 | nibble(*low)?)).collect()
}

/// The value of a hexadecimal digit in either case.
fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// Decodes a name or a value of a form: `+` is a blank, `%` and two hexadecimal digits are a byte, and everything else
/// is what it is. Keeps every byte: what replaces bytes that are no UTF-8 would prove a body that nobody signed.
/// Nothing is proven yet where this is called, so a byte costs no allocation.
pub(super) fn form_bytes(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, after @ ..] = rest {
        rest = after;
        bytes.push(match (first, after) {
            (b'%', [high, low, beyond @ ..]) => match (nibble(*high), nibble(*low)) {
                (Some(high), Some(low)) => {
                    rest = beyond;
                    high << 4 | low
                }
                _ => b'%',
            },
            (b'+', _) => b' ',
            (other, _) => *other,
        });
    }
    bytes
}

/// Reads base64 with its padding.
pub(super) fn base64(text: &[u8]) -> Option<Vec<u8>> {
    general_purpose::STANDARD.decode(text).ok()
}

/// Reads a key in base64, with or without padding: people lose the `=`.
pub(super) fn base64_key(text: &str) -> Option<Vec<u8>> {
    const RELAXED: GeneralPurpose = GeneralPurpose::new(
        &alphabet::STANDARD,
        general_purpose::GeneralPurposeConfig::new()
            .with_decode_padding_mode(base64::engine::DecodePaddingMode::Indifferent),
    );
    RELAXED.decode(text).ok()
}

/// Writes hexadecimal digits.
pub(super) fn to_hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]])
        .map(char::from)
        .collect()
}

/// Writes base64 with padding.
pub(super) fn to_base64(bytes: &[u8]) -> String {
    general_purpose::STANDARD.encode(bytes)
}

/// A foreign word in a reason of our own.
pub(super) fn shown(word: &str) -> String {
    clean(word).unwrap_or_else(|| "what has no name".to_owned())
}

/// Whether this is a form and not JSON.
pub(super) fn is_form(headers: &Headers) -> bool {
    let content_type = headers.text("content-type").unwrap_or_default();
    content_type.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

/// A form's fields as text, for reading what is proven; what is not UTF-8 in it becomes U+FFFD, so nothing may be
/// proven over it. More than [`FIELDS_MAX`] fields are not read.
pub(super) struct Form<'b>(Vec<(Cow<'b, str>, Cow<'b, str>)>);

impl<'b> Form<'b> {
    pub(super) fn of(body: &'b [u8]) -> Form<'b> {
        Form(form_urlencoded::parse(body).take(FIELDS_MAX).collect())
    }

    /// The first field of that name that is not empty.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(field, value)| field == name && !value.is_empty()).map(|(_, value)| value.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_has_one_spelling() {
        assert_eq!(hex(b"00ff7a"), Some(vec![0, 255, 0x7a]));
        for wrong in ["", "0", "0g", "FF", "ff ", "0xff"] {
            assert_eq!(hex(wrong.as_bytes()), None, "{wrong:?}");
        }
        assert_eq!(hex_any_case(b"Ff"), Some(vec![255]));
        assert_eq!(to_hex(&[0, 255, 0x7a]), "00ff7a");
    }

    #[test]
    fn a_time_is_digits_and_nothing_else() {
        assert_eq!(seconds("T", "1760000000").unwrap(), 1_760_000_000);
        assert_eq!(seconds("T", "1760000000000").unwrap(), 1_760_000_000_000);
        for wrong in ["", "abc", "-1", "+1", "1.5", "1e9", " 1", "0x1", "9999999999999999", "NaN", "١"] {
            assert!(seconds("T", wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_time_before_the_body_keeps_its_digits() {
        assert_eq!(seconds_before_body("T", "1760000000").unwrap(), 1_760_000_000);
        assert_eq!(seconds_before_body("T", "1760000000000").unwrap(), 1_760_000_000_000);
        for wrong in ["", "176000000", "17600000x0", "1760000000[", "1"] {
            assert!(seconds_before_body("T", wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn who_calls_itself_twice_has_no_name() {
        let headers: Headers =
            [("A", b"1".as_slice()), ("B", b"1"), ("B", b"1"), ("C", b"\xff"), ("D", b"")].into_iter().collect();
        let refused = |name: &str| match identity_text(&headers, name) {
            Ok(text) => text,
            Err(rejection) => rejection.to_string(),
        };
        assert_eq!(refused("a"), "1");
        for (name, why) in [("B", "more than once"), ("C", "printable"), ("D", "empty"), ("E", "missing")] {
            assert!(refused(name).contains(why), "{name}: {}", refused(name));
            assert_eq!(optional_identity(&headers, name), None, "{name}");
        }
    }

    #[test]
    fn a_form_is_decoded_byte_for_byte() {
        assert_eq!(form_bytes(b"a+%2b%2B%zz%4"), b"a ++%zz%4");
        assert_eq!(form_bytes(b"%%41%4%+%%"), b"%A%4% %%");
        assert_eq!(form_bytes(b"%ff%FE\xfd%00"), b"\xff\xfe\xfd\0");
        assert_eq!(form_bytes(b""), b"");
        // As the URL Standard has it, whatever follows a percent sign.
        for high in 0..=u8::MAX {
            for low in 0..=u8::MAX {
                let text = [b'%', high, low, b'x'];
                let expected = form_urlencoded::parse(&text).next().map(|(name, _)| name.into_owned());
                let is_plain = ![high, low].iter().any(|byte| matches!(byte, b'&' | b'='));
                if let Some(expected) = expected.filter(|_| is_plain) {
                    assert_eq!(String::from_utf8_lossy(&form_bytes(&text)), expected, "{}", text.escape_ascii());
                }
            }
        }
    }

    #[test]
    fn a_window_has_two_sides_or_one() {
        let at = |seconds: i64| Timestamp::from_ms(seconds * 1000);
        let (now, tolerance) = (at(1000), Duration::from_secs(300));
        let ok = |signed: i64, window| within(at(signed), now, tolerance, window).is_ok();
        assert!(ok(700, Window::Both) && ok(1300, Window::Both) && ok(9999, Window::Past));
        assert!(!ok(699, Window::Both) && !ok(1301, Window::Both) && !ok(699, Window::Past));
        assert!(within(at(0), now, Duration::ZERO, Window::Both).is_ok());
    }

    #[test]
    fn base64_of_a_signature_is_strict_and_of_a_key_is_not() {
        assert_eq!(base64(b"AQI="), Some(vec![1, 2]));
        assert_eq!(base64(b"AQI"), None);
        assert_eq!(base64_key("AQI"), Some(vec![1, 2]));
        assert_eq!(base64_key("AQI="), Some(vec![1, 2]));
        assert_eq!(base64_key("A Q"), None);
    }
}
