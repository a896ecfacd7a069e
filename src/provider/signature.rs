//! Proofs: HMACs made and checked, public-key signatures checked, shared tokens compared, and the digest that tells
//! bodies apart. The only place that names `ring`; refuses to know any provider's header.
//!
//! Every comparison takes the same time wherever the difference is, and every key is tried, so that the time taken
//! tells neither whether one matched nor which.

use base64::{Engine, engine::general_purpose::STANDARD};
use ring::{digest, hmac, rand, signature};

use crate::secret::Secret;

use super::read;

/// Bytes of a SHA-256 digest, and so of an HMAC-SHA256.
pub(super) const SHA256_BYTES: usize = 32;

/// Of which hash an HMAC is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// Weak as a hash, and still good in an HMAC (RFC 6151 says so of MD5, which is weaker). Only where nothing else is
    /// sent.
    Sha1,
    /// The usual one.
    Sha256,
    /// Rare.
    Sha512,
}

impl Algorithm {
    fn hmac(self) -> hmac::Algorithm {
        match self {
            Algorithm::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Algorithm::Sha256 => hmac::HMAC_SHA256,
            Algorithm::Sha512 => hmac::HMAC_SHA512,
        }
    }

    /// Bytes of a digest.
    pub(super) fn bytes(self) -> usize {
        match self {
            Algorithm::Sha1 => 20,
            Algorithm::Sha256 => SHA256_BYTES,
            Algorithm::Sha512 => 64,
        }
    }
}

/// The SHA-256 of a body: with the source and the delivery id it is a delivery's identity.
pub fn body_sha256(body: &[u8]) -> [u8; SHA256_BYTES] {
    digest::digest(&digest::SHA256, body).as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// The HMAC of the parts, one after the other.
pub(super) fn sign(key: &[u8], algorithm: Algorithm, parts: &[&[u8]]) -> Vec<u8> {
    context(key, algorithm, parts).sign().as_ref().to_vec()
}

/// The HMAC-SHA256 of the parts, one after the other, in lower-case hexadecimal.
pub fn sign_sha256_hex(secret: &Secret, parts: &[&[u8]]) -> String {
    read::to_hex(&sign(secret.expose().as_bytes(), Algorithm::Sha256, parts))
}

/// What tells secrets apart and gives none of them away: eight digits of an HMAC that each makes of the same words.
pub fn fingerprint(secret: &Secret) -> String {
    let mut digits = sign_sha256_hex(secret, &[b"hookbell: which secret this is"]);
    digits.truncate(8);
    digits
}

/// Whether `given` is [`sign_sha256_hex`] of the parts.
pub fn is_signed_sha256_hex(secret: &Secret, parts: &[&[u8]], given: &str) -> bool {
    is_same(sign_sha256_hex(secret, parts).as_bytes(), given.as_bytes())
}

/// An RSA signature of the message, PKCS #1 1.5 with SHA-256, by a private key in PEM: PKCS #8, or PKCS #1 as GitHub hands
/// it out.
///
/// # Errors
/// What is wrong with the key.
pub fn sign_rs256(key: &Secret, message: &[u8]) -> Result<Vec<u8>, &'static str> {
    let text = key.expose();
    let (label, rest) =
        text.split_once("-----BEGIN ").and_then(|(_, rest)| rest.split_once("-----")).ok_or("no PEM")?;
    let body: String = rest.split("-----END").next().unwrap_or_default().split_whitespace().collect();
    let der = STANDARD.decode(body).map_err(|_| "its PEM is not base64")?;
    let pair = match label {
        "RSA PRIVATE KEY" => signature::RsaKeyPair::from_der(&der),
        "PRIVATE KEY" => signature::RsaKeyPair::from_pkcs8(&der),
        _ => return Err("it is not an unencrypted private key"),
    };
    let pair = pair.map_err(|_| "it is no RSA key of 2048 bits or more")?;
    let mut made = vec![0; pair.public().modulus_len()];
    pair.sign(&signature::RSA_PKCS1_SHA256, &rand::SystemRandom::new(), message, &mut made)
        .map_err(|_| "it does not sign")?;
    Ok(made)
}

/// Which of the secrets, as text, made one of these HMACs of the parts.
pub(super) fn signed_by(
    secrets: &[Secret],
    algorithm: Algorithm,
    parts: &[&[u8]],
    signatures: &[Vec<u8>],
) -> Option<usize> {
    let keys = secrets.iter().map(|secret| Some(secret.expose().as_bytes().to_vec()));
    signed_by_keys(keys, algorithm, parts, signatures)
}

/// The same for keys that the secrets encode; `None` stands for one that is no key and never matches.
pub(super) fn signed_by_keys(
    keys: impl IntoIterator<Item = Option<Vec<u8>>>,
    algorithm: Algorithm,
    parts: &[&[u8]],
    signatures: &[Vec<u8>],
) -> Option<usize> {
    first(keys.into_iter().map(|key| {
        // An empty key would verify what anybody signs.
        key.filter(|key| !key.is_empty()).is_some_and(|key| {
            let made = context(&key, algorithm, parts).sign();
            signatures.iter().fold(false, |found, signature| found | is_same(made.as_ref(), signature))
        })
    }))
}

/// Which of the secrets was presented as it is.
pub(super) fn presented(secrets: &[Secret], token: &[u8]) -> Option<usize> {
    first(secrets.iter().map(|secret| is_same(secret.expose().as_bytes(), token)))
}

/// Which of these P-256 public keys (uncompressed points) made this signature (DER) of the parts, with SHA-256.
pub(super) fn ecdsa_p256_by(keys: &[Option<Vec<u8>>], parts: &[&[u8]], made: &[u8]) -> Option<usize> {
    public_key_by(&signature::ECDSA_P256_SHA256_ASN1, keys, parts, &[made.to_vec()])
}

/// Which of these Ed25519 public keys made one of these signatures of the parts.
pub(super) fn ed25519_by(keys: &[Option<Vec<u8>>], parts: &[&[u8]], signatures: &[Vec<u8>]) -> Option<usize> {
    public_key_by(&signature::ED25519, keys, parts, signatures)
}

fn public_key_by(
    algorithm: &'static dyn signature::VerificationAlgorithm,
    keys: &[Option<Vec<u8>>],
    parts: &[&[u8]],
    signatures: &[Vec<u8>],
) -> Option<usize> {
    // `ring` wants the message in one piece: a copy of the body, which is not made where there is nothing to check.
    if signatures.is_empty() || keys.iter().all(Option::is_none) {
        return None;
    }
    let message = parts.concat();
    first(keys.iter().map(|key| {
        key.as_ref().is_some_and(|key| {
            let key = signature::UnparsedPublicKey::new(algorithm, key);
            signatures.iter().fold(false, |found, signature| found | key.verify(&message, signature).is_ok())
        })
    }))
}

/// Signs with an Ed25519 seed of 32 bytes; gives the signature and the public key.
pub(super) fn sign_ed25519(seed: &[u8], parts: &[&[u8]]) -> Option<(Vec<u8>, Vec<u8>)> {
    use signature::KeyPair;
    let pair = signature::Ed25519KeyPair::from_seed_unchecked(seed).ok()?;
    Some((pair.sign(&parts.concat()).as_ref().to_vec(), pair.public_key().as_ref().to_vec()))
}

/// Signs with a P-256 private key in PKCS#8; gives the signature in DER.
pub(super) fn sign_ecdsa_p256(pkcs8: &[u8], parts: &[&[u8]]) -> Option<Vec<u8>> {
    let random = ring::rand::SystemRandom::new();
    let algorithm = &signature::ECDSA_P256_SHA256_ASN1_SIGNING;
    let pair = signature::EcdsaKeyPair::from_pkcs8(algorithm, pkcs8, &random).ok()?;
    Some(pair.sign(&random, &parts.concat()).ok()?.as_ref().to_vec())
}

/// The position of the first that holds, after all were looked at.
fn first(matches: impl Iterator<Item = bool>) -> Option<usize> {
    matches.enumerate().fold(None, |found, (index, matches)| found.or(matches.then_some(index)))
}

/// Compares in a time that does not depend on where they differ: HMACs of both under one key are equal when they are,
/// and `ring` compares those in constant time.
pub(super) fn is_same(expected: &[u8], given: &[u8]) -> bool {
    let key = hmac::Key::new(hmac::HMAC_SHA256, expected);
    hmac::verify(&key, given, hmac::sign(&key, expected).as_ref()).is_ok()
}

fn context(key: &[u8], algorithm: Algorithm, parts: &[&[u8]]) -> hmac::Context {
    let mut context = hmac::Context::with_key(&hmac::Key::new(algorithm.hmac(), key));
    for part in parts {
        context.update(part);
    }
    context
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
    fn a_fingerprint_is_short_and_always_the_same() {
        // printf 'hookbell: which secret this is' | openssl dgst -sha256 -hmac old
        assert_eq!(fingerprint(&secret("old")), "93c1956a");
        assert_ne!(fingerprint(&secret("old")), fingerprint(&secret("old ")));
    }

    #[test]
    fn names_the_secret_that_matched() {
        let secrets = [secret("old"), secret("new"), secret("new")];
        for algorithm in [Algorithm::Sha1, Algorithm::Sha256, Algorithm::Sha512] {
            let by = |key: &str| {
                let made = sign(key.as_bytes(), algorithm, &[b"body"]);
                assert_eq!(made.len(), algorithm.bytes());
                signed_by(&secrets, algorithm, &[b"bo", b"dy"], &[vec![0; made.len()], made])
            };
            assert_eq!(by("old"), Some(0));
            assert_eq!(by("new"), Some(1));
            assert_eq!(by("other"), None);
        }
        assert_eq!(signed_by(&[], Algorithm::Sha256, &[b"body"], &[vec![0; 32]]), None);
        assert_eq!(signed_by(&secrets, Algorithm::Sha256, &[b"body"], &[]), None);
        assert_eq!(signed_by(&secrets, Algorithm::Sha256, &[b"body"], &[Vec::new()]), None);
    }

    #[test]
    fn no_key_and_an_empty_key_never_match() {
        let made = sign(b"", Algorithm::Sha256, &[b"body"]);
        assert_eq!(signed_by_keys([None, Some(Vec::new())], Algorithm::Sha256, &[b"body"], &[made]), None);
    }

    #[test]
    fn what_is_no_private_key_signs_nothing() {
        for (text, why) in [
            ("key", "no PEM"),
            ("-----BEGIN PRIVATE KEY-----\n!\n-----END PRIVATE KEY-----", "its PEM is not base64"),
            ("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END", "it is not an unencrypted private key"),
            ("-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END", "it is no RSA key of 2048 bits or more"),
        ] {
            assert_eq!(sign_rs256(&secret(text), b"message"), Err(why), "{text}");
        }
    }

    #[test]
    fn tokens_are_the_same_or_not() {
        let secrets = [secret("one"), secret("two")];
        assert_eq!(presented(&secrets, b"two"), Some(1));
        for wrong in ["", "tw", "two ", "Two", "three"] {
            assert_eq!(presented(&secrets, wrong.as_bytes()), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_public_key_checks_what_its_private_key_made() {
        let (made, public) = sign_ed25519(&[7; 32], &[b"1", b"body"]).unwrap();
        let other = sign_ed25519(&[8; 32], &[b""]).unwrap().1;
        let keys = [None, Some(other), Some(public), Some(vec![1, 2, 3])];
        assert_eq!(ed25519_by(&keys, &[b"1body"], &[vec![0; 64], made.clone()]), Some(2));
        assert_eq!(ed25519_by(&keys, &[b"2body"], std::slice::from_ref(&made)), None);
        assert_eq!(ed25519_by(&keys, &[b"1body"], &[]), None);
        assert_eq!(ed25519_by(&[None], &[b"1body"], &[made]), None);
        assert_eq!(sign_ed25519(&[7; 31], &[b""]), None);
        assert_eq!(sign_ecdsa_p256(b"no key", &[b""]), None);
    }
}
