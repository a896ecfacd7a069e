//! The signature of Standard Webhooks, which Svix, GitLab and many others use: an id, a time and a blank-separated list
//! of `version,base64` in three headers. `v1` is an HMAC-SHA256 of `ID.TIME.BODY` under the bytes that the secret
//! encodes (`whsec_`), `v1a` an Ed25519 signature of the same text (public key `whpk_`, private key `whsk_`). Owns the
//! scheme; refuses to know what a body says.
//!
//! Source of the rules: github.com/standard-webhooks/standard-webhooks (specification and libraries), and the libraries
//! of Svix; for `v1a` Svix's server, as no library checks it.

use std::time::Duration;

use crate::{headers::Headers, headers::Single, secret::Secret, time::Timestamp};

use super::{
    Rejection, Signing, Terms, Unverified,
    read::{self, Window},
    sample::Sample,
    signature::{self, Algorithm, body_sha256},
};

/// The libraries' own, on both sides; `tolerance` overrides it.
const TOLERANCE: Duration = Duration::from_secs(300);

const SECRET: &str = "whsec_";
const PUBLIC: &str = "whpk_";
const PRIVATE: &str = "whsk_";
/// Bytes of an Ed25519 public key, and of the seed of a private one.
const ED25519_BYTES: usize = 32;
/// Bytes of an Ed25519 signature.
const ED25519_SIGNATURE_BYTES: usize = 64;

/// Different `v1a` signatures of one request, for two keys that are rolled and two to spare: each of them hashes the
/// whole body once for every key, and whoever sends them has proven nothing yet. Those of `v1` cost a comparison.
const PUBLIC_SIGNATURES_MAX: usize = 4;

/// The names of the three headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Family {
    /// The message's id, the same when it is sent again.
    pub(super) id: &'static str,
    pub(super) time: &'static str,
    pub(super) signature: &'static str,
}

/// The standard's own.
pub(super) const WEBHOOK: Family =
    Family { id: "webhook-id", time: "webhook-timestamp", signature: "webhook-signature" };

/// Those that Svix had before there was a standard.
pub(super) const SVIX: Family = Family { id: "svix-id", time: "svix-timestamp", signature: "svix-signature" };

impl Family {
    /// Whether all three headers say something.
    pub(super) fn is_complete(self, headers: &Headers) -> bool {
        let says_something = |name| !matches!(headers.single(name), Single::Missing | Single::Once(b""));
        [self.id, self.time, self.signature].into_iter().all(says_something)
    }
}

/// What a secret encodes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Key {
    /// Of `v1`: both sides have it.
    Shared(Vec<u8>),
    /// Of `v1a`: only the sender can sign.
    Public(Vec<u8>),
}

/// The key in a secret; `whsec_` may be left out, as the libraries allow.
pub(super) fn key(secret: &Secret) -> Option<Key> {
    let text = secret.expose();
    if let Some(public) = text.strip_prefix(PUBLIC) {
        return read::base64_key(public).filter(|key| key.len() == ED25519_BYTES).map(Key::Public);
    }
    // An underscore is in no base64, so a private key is no shared one either.
    let key = read::base64_key(text.strip_prefix(SECRET).unwrap_or(text))?;
    (!key.is_empty()).then_some(Key::Shared(key))
}

/// The key of a secret that begins with `whsec_`; every other text is something else.
pub(super) fn signing_token(secret: &Secret) -> Option<Key> {
    is_signing_token(secret).then(|| key(secret)).flatten()
}

pub(super) fn is_signing_token(secret: &Secret) -> bool {
    secret.expose().starts_with(SECRET)
}

pub(super) fn check_secret(secret: &Secret) -> Result<(), &'static str> {
    let text = secret.expose();
    if text.starts_with("v1,whsec_") {
        return Err("leave out the `v1,`: the secret begins with whsec_");
    }
    if text.starts_with(PRIVATE) {
        return Err("whsk_ is the private key, which stays with the sender: a receiver has the public one, whpk_");
    }
    match key(secret) {
        Some(_) => Ok(()),
        None if text.starts_with(PUBLIC) => Err("after whpk_ there must be a public key of 32 bytes in base64"),
        None => Err("the secret must be base64, mostly after whsec_"),
    }
}

/// What the three headers say.
pub(super) struct Head<'h> {
    id: &'h [u8],
    time: &'h str,
    signed_at: Timestamp,
    v1: Vec<Vec<u8>>,
    v1a: Vec<Vec<u8>>,
}

/// Reads the headers. Several signatures come while a key is rolled; what is no signature of a version that we know is
/// passed over, as in the libraries.
pub(super) fn head(family: Family, headers: &Headers) -> Result<Head<'_>, Rejection> {
    let malformed = |why| Rejection::malformed(family.signature, why);
    let (mut v1, mut v1a) = (Vec::new(), Vec::<Vec<u8>>::new());
    for (index, entry) in read::proof_text(headers, family.signature)?.split(' ').enumerate() {
        if index >= read::SIGNATURES_MAX {
            return Err(malformed("it has too many signatures"));
        }
        match entry.split_once(',') {
            Some(("v1", made)) => v1.extend(read::base64(made.as_bytes())),
            Some(("v1a", made)) => {
                let made = read::base64(made.as_bytes()).filter(|made| made.len() == ED25519_SIGNATURE_BYTES);
                v1a.extend(made.filter(|made| !v1a.contains(made)));
            }
            Some(_) | None => {}
        }
        if v1a.len() > PUBLIC_SIGNATURES_MAX {
            return Err(malformed("it has too many signatures of version v1a"));
        }
    }
    if v1.is_empty() && v1a.is_empty() {
        return Err(malformed("it has no signature of version v1 or v1a"));
    }
    let id = read::proof(headers, family.id)?;
    let time = read::proof_text(headers, family.time)?;
    let signed_at = Timestamp::from_ms(read::seconds(family.time, time)? * 1000);
    Ok(Head { id, time, signed_at, v1, v1a })
}

/// The signature first, then its age on both sides.
pub(super) fn judge(
    family: Family,
    key: fn(&Secret) -> Option<Key>,
    terms: &Terms,
    request: &Unverified,
    now: Timestamp,
) -> Result<usize, Rejection> {
    let head = head(family, &request.headers)?;
    let (mut shared, mut public) = (Vec::new(), Vec::new());
    for secret in &terms.secrets {
        let (one, other) = match key(secret) {
            Some(Key::Shared(key)) => (Some(key), None),
            Some(Key::Public(key)) => (None, Some(key)),
            None => (None, None),
        };
        shared.push(one);
        public.push(other);
    }
    let parts: &[&[u8]] = &[head.id, b".", head.time.as_bytes(), b".", &request.body];
    let by_shared = signature::signed_by_keys(shared, Algorithm::Sha256, parts, &head.v1);
    let by_public = signature::ed25519_by(&public, parts, &head.v1a);
    let by = by_shared.into_iter().chain(by_public).min().ok_or(Rejection::SignatureWrong)?;
    read::within(head.signed_at, now, terms.tolerance(TOLERANCE), Window::Both)?;
    Ok(by)
}

/// Signs with a shared secret or a private key.
pub(super) fn sign(family: Family, signing: &Signing<'_>, sample: &mut Sample) -> Result<(), &'static str> {
    let time = signing.now.seconds().to_string();
    let own_id = sample.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(family.id));
    // A payload of the user's own without an id still has one when it is sent again.
    let id = own_id.map_or_else(
        || format!("msg_{}", read::to_hex(&body_sha256(&sample.body)[..12])),
        |(_, id)| id.trim().to_owned(),
    );
    let parts: &[&[u8]] = &[id.as_bytes(), b".", time.as_bytes(), b".", &sample.body];
    let signed = signature_of(signing.secret, parts)?;
    sample.set(family.id, id);
    sample.set(family.time, time);
    sample.set(family.signature, signed);
    Ok(())
}

/// The three headers of a message of our own, signed with each of the secrets: while one is rolled, receivers have either.
///
/// # Errors
/// What a secret lacks.
pub fn sign_message(
    secrets: &[Secret],
    id: &str,
    at: Timestamp,
    body: &[u8],
) -> Result<[(&'static str, String); 3], &'static str> {
    let time = at.seconds().to_string();
    let parts: &[&[u8]] = &[id.as_bytes(), b".", time.as_bytes(), b".", body];
    let signed: Vec<String> = secrets.iter().map(|secret| signature_of(secret, parts)).collect::<Result<_, _>>()?;
    Ok([(WEBHOOK.id, id.to_owned()), (WEBHOOK.time, time), (WEBHOOK.signature, signed.join(" "))])
}

/// Whether a secret can sign messages of our own.
///
/// # Errors
/// What it lacks, without the secret itself.
pub fn check_signing_secret(secret: &Secret) -> Result<(), &'static str> {
    signature_of(secret, &[]).map(|_| ())
}

/// `v1,…` with a shared secret, `v1a,…` with a private key.
fn signature_of(secret: &Secret, parts: &[&[u8]]) -> Result<String, &'static str> {
    if let Some(private) = secret.expose().strip_prefix(PRIVATE) {
        let made = read::base64_key(private).and_then(|private| sign_private(&private, parts));
        let made = made.ok_or("after whsk_ there must be a seed and its public key in base64")?;
        return Ok(format!("v1a,{}", read::to_base64(&made)));
    }
    match key(secret) {
        Some(Key::Shared(key)) => {
            Ok(format!("v1,{}", read::to_base64(&signature::sign(&key, Algorithm::Sha256, parts))))
        }
        Some(Key::Public(_)) => Err("a public key cannot sign: give the private one, whsk_"),
        None => Err("the secret must be base64, mostly after whsec_"),
    }
}

/// `seed‖public`; both halves must belong together.
fn sign_private(private: &[u8], parts: &[&[u8]]) -> Option<Vec<u8>> {
    let (seed, expected) = private.split_at_checked(ED25519_BYTES)?;
    let (made, public) = signature::sign_ed25519(seed, parts)?;
    (public == expected).then_some(made)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::{
        Provider, judge as judge_by, sample,
        tests::{NOW, arrived, keys, own_terms, request, secret, terms, with_header},
    };

    const NAME: &str = "payment_received";

    fn ed25519() -> (String, String) {
        let seed = [7; ED25519_BYTES];
        let (_, public) = signature::sign_ed25519(&seed, &[]).expect("a seed");
        let private = read::to_base64(&[&seed[..], &public].concat());
        (format!("{PRIVATE}{private}"), format!("{PUBLIC}{}", read::to_base64(&public)))
    }

    #[test]
    fn a_private_key_signs_and_its_public_key_checks() {
        let (private, public) = ed25519();
        for provider in [Provider::StandardWebhooks, Provider::Svix] {
            let mut sample = sample::build(provider, NAME, 7).expect("a sample");
            let shared = keys(provider).0;
            sample.sign(provider, &Signing::new(&secret(&private), "", NOW)).expect("a private key");
            let good = arrived(provider, sample.clone());
            let by = |keys: &[&str]| judge_by(&terms(provider, keys), &good, NOW);
            assert_eq!(by(&[shared.expose(), "whpk_AAAA", &public]), Ok(2));
            assert_eq!(by(&[shared.expose()]), Err(Rejection::SignatureWrong));
            // A public key is known to all, so nobody may sign with it.
            assert_eq!(by(&[&private, &public.replace(PUBLIC, SECRET)]), Err(Rejection::SignatureWrong));
            assert!(sample.sign(provider, &Signing::new(&secret(&public), "", NOW)).is_err());
            assert!(sample.sign(provider, &Signing::new(&secret("whsk_AAAA"), "", NOW)).is_err());
        }
    }

    #[test]
    fn one_right_signature_of_a_known_version_is_enough() {
        let good = request(Provider::StandardWebhooks, NAME);
        let right = good.headers.text(WEBHOOK.signature).expect("signed").to_owned();
        let wrong = format!("v1,{}", read::to_base64(&[0; 32]));
        let check = |value: &str, passes: bool| {
            let changed = with_header(&good, WEBHOOK.signature, Some(value.as_bytes()));
            let verdict = judge_by(&own_terms(Provider::StandardWebhooks), &changed, NOW);
            assert_eq!(verdict.is_ok(), passes, "{value}: {verdict:?}");
        };
        check(&format!("v1,short {wrong} v2,x {right} junk"), true);
        check(&format!("{wrong},{right}"), false);
        check(&right.replace("v1,", "v1a,"), false);
        check(&right.replace("v1,", "v2,"), false);
        check(&right.replace("v1,", "V1,"), false);
        check(&format!("{}{right}", "v1, ".repeat(32)), false);
    }

    #[test]
    fn few_public_key_signatures_are_checked() {
        let good = request(Provider::StandardWebhooks, NAME);
        let entry = |byte: u8, bytes: usize| format!("v1a,{}", read::to_base64(&vec![byte; bytes]));
        let list = |entries: &[String]| {
            let changed = with_header(&good, WEBHOOK.signature, Some(entries.join(" ").as_bytes()));
            head(WEBHOOK, &changed.headers).map(|head| head.v1a.len())
        };
        let distinct = |count: u8| (0..count).map(|byte| entry(byte, 64)).collect::<Vec<_>>();
        assert_eq!(list(&distinct(4)), Ok(4));
        let refused = Err(Rejection::malformed(WEBHOOK.signature, "it has too many signatures of version v1a"));
        assert_eq!(list(&distinct(5)), refused);
        assert_eq!(list(&vec![entry(7, 64); 32]), Ok(1));
        // What has another length is no signature.
        let lengths = [63, 64, 65, 32, 1].map(|bytes| entry(7, bytes));
        assert_eq!(list(&lengths), Ok(1));
        assert!(list(&[entry(7, 63)]).is_err());
    }

    #[test]
    fn the_window_has_two_sides() {
        let good = request(Provider::Svix, NAME);
        let mut terms = own_terms(Provider::Svix);
        let at =
            |terms: &Terms, seconds: i64| judge_by(terms, &good, Timestamp::from_ms(NOW.ms() + seconds * 1000)).is_ok();
        assert!(at(&terms, 300) && at(&terms, -300) && !at(&terms, 301) && !at(&terms, -301));
        terms.options.tolerance = Some(Duration::from_secs(900));
        assert!(at(&terms, 900) && !at(&terms, -901));
    }

    #[test]
    fn what_a_secret_may_be() {
        let check = |text: &str, part: Option<&str>| match (check_secret(&secret(text)), part) {
            (Ok(()), None) => {}
            (Err(why), Some(part)) => assert!(why.contains(part), "{text}: {why}"),
            other => panic!("{text}: {other:?}"),
        };
        let (private, public) = ed25519();
        check("whsec_AQIDBAUGBwgJCgsMDQ4PEA==", None);
        check("AQIDBAUGBwgJCgsMDQ4PEA", None);
        check(&public, None);
        check(&private, Some("private key"));
        check("whpk_AQID", Some("32 bytes"));
        check("v1,whsec_AQID", Some("leave out"));
        check("whsec_", Some("base64"));
        check("not base64", Some("base64"));
    }
}
