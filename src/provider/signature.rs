//! Proofs: HMAC-SHA256 made and checked, and the digest that tells bodies apart. The only place that names `hmac` and
//! `sha2`; refuses to know any provider's header.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use crate::secret::Secret;

/// Bytes of a SHA-256 digest, and so of an HMAC-SHA256.
pub(super) const SHA256_BYTES: usize = 32;

/// The SHA-256 of a body: with the source and the delivery id it is a delivery's identity.
pub fn body_sha256(body: &[u8]) -> [u8; SHA256_BYTES] {
    Sha256::digest(body).into()
}

/// The HMAC-SHA256 of the parts, one after the other, in lower-case hexadecimal.
pub fn sign_sha256_hex(secret: &Secret, parts: &[&[u8]]) -> String {
    hex(&mac(secret, parts).finalize().into_bytes())
}

/// Which of the secrets signed the parts, by position. Every secret is tried, so that the time taken tells neither
/// whether one matched nor which; each comparison is the library's own, in constant time.
pub(super) fn signed_by(secrets: &[Secret], parts: &[&[u8]], signature: &[u8; SHA256_BYTES]) -> Option<usize> {
    secrets.iter().enumerate().fold(None, |found, (index, secret)| {
        let matches = mac(secret, parts).verify_slice(signature).is_ok();
        found.or(matches.then_some(index))
    })
}

/// Reads a digest of exactly 64 lower-case hexadecimal digits. Senders write lower case (and the SDKs compare text), so
/// upper case is a changed header: one signature has one spelling.
pub(super) fn sha256_from_hex(text: &[u8]) -> Option<[u8; SHA256_BYTES]> {
    let (pairs, rest) = text.as_chunks::<2>();
    if pairs.len() != SHA256_BYTES || !rest.is_empty() {
        return None;
    }
    let mut digest = [0; SHA256_BYTES];
    for (byte, [high, low]) in digest.iter_mut().zip(pairs) {
        *byte = nibble(*high)? << 4 | nibble(*low)?;
    }
    Some(digest)
}

fn mac(secret: &Secret, parts: &[&[u8]]) -> Hmac<Sha256> {
    // HMAC takes keys of any length (RFC 2104 § 2: longer ones are hashed first), so this cannot fail.
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()).expect("HMAC takes any key length");
    for part in parts {
        mac.update(part);
    }
    mac
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]])
        .map(char::from)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::new(text.to_owned()).unwrap()
    }

    #[test]
    fn signs_as_github_documents() {
        // docs.github.com, "Validating webhook deliveries": the published test values.
        let signature = sign_sha256_hex(&secret("It's a Secret to Everybody"), &[b"Hello, ", b"World!"]);
        assert_eq!(signature, "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17");
    }

    #[test]
    fn names_the_secret_that_matched() {
        let secrets = [secret("old"), secret("new"), secret("new")];
        let by = |key: &str| {
            let signature = sha256_from_hex(sign_sha256_hex(&secret(key), &[b"body"]).as_bytes()).unwrap();
            signed_by(&secrets, &[b"bo", b"dy"], &signature)
        };
        assert_eq!(by("old"), Some(0));
        assert_eq!(by("new"), Some(1));
        assert_eq!(by("other"), None);
        assert_eq!(signed_by(&[], &[b"body"], &[0; 32]), None);
    }

    #[test]
    fn hexadecimal_has_one_spelling() {
        let digest = body_sha256(b"");
        let text = hex(&digest);
        assert_eq!(text, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        assert_eq!(sha256_from_hex(text.as_bytes()), Some(digest));
        assert_eq!(sha256_from_hex(text.to_uppercase().as_bytes()), None);
        assert_eq!(sha256_from_hex(&text.as_bytes()[1..]), None);
        assert_eq!(sha256_from_hex(format!("{text}0").as_bytes()), None);
        assert_eq!(sha256_from_hex(format!("{text}00").as_bytes()), None);
        assert_eq!(sha256_from_hex(b""), None);
        assert_eq!(sha256_from_hex(text.replace('e', "g").as_bytes()), None);
    }
}
