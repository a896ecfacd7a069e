//! GitHub: `X-Hub-Signature-256` over the raw body, `X-GitHub-Event` and `X-GitHub-Delivery` in the head. Owns the
//! proof and the identity; what a payload means is `normalise`'s affair.
//!
//! Source of the rules: docs.github.com, "Validating webhook deliveries" and "Webhook events and payloads".

mod code;
mod common;
pub(crate) mod events;
pub mod happened;
mod normalise;
mod people;
mod sample;
mod security;
mod talk;
#[cfg(test)]
mod tests;

use crate::headers::{Headers, Single};
use crate::time::Timestamp;

use super::rules::{Rules, Terms};
use super::signature::{self, Algorithm};
use super::{Identity, Rejection, Unverified, read};

pub(super) const RULES: Rules = Rules {
    name: "github",
    options: &["allow_sha1"],
    admit: |terms, headers| signature_of(terms, headers).map(|_| ()),
    judge,
    identify,
    normalise: normalise::normalise,
    samples: sample::LIST,
    build: sample::build,
    envelope: sample::envelope,
    sign: sample::sign,
    ..Rules::COMMON
};

/// `sha256=` and 64 lower-case hexadecimal digits.
pub(super) const SIGNATURE: &str = "X-Hub-Signature-256";
/// Sent beside it "for legacy purposes". Alone it counts only with `allow_sha1`, for servers older than 2021 that have nothing
/// better, and it never rescues a wrong [`SIGNATURE`].
const SIGNATURE_LEGACY: &str = "X-Hub-Signature";
/// What happened: `pull_request`. Not signed.
pub(super) const EVENT: &str = "X-GitHub-Event";
/// A GUID, the same when GitHub delivers again. Not signed.
pub(super) const DELIVERY: &str = "X-GitHub-Delivery";
/// What stands before the digits of [`SIGNATURE`]. Fixed: reading the algorithm from the header would let the sender
/// choose a weaker one.
pub(super) const SIGNATURE_PREFIX: &str = "sha256=";

/// The body is signed as it came, also when it is a form: `payload=` and the percent-encoding included.
fn judge(terms: &Terms, request: &Unverified, _: Timestamp) -> Result<usize, Rejection> {
    let (algorithm, signature) = signature_of(terms, &request.headers)?;
    signature::signed_by(&terms.secrets, algorithm, &[&request.body], &[signature]).ok_or(Rejection::SignatureWrong)
}

fn identify(_: &Terms, request: &Unverified) -> Result<Identity, Rejection> {
    let event_type = read::identity_text(&request.headers, EVENT)?;
    Ok(Identity { event_type, id: Some(read::identity_text(&request.headers, DELIVERY)?), ..Identity::default() })
}

/// The better signature where it is there; the other only where it is alone and allowed to count.
fn signature_of(terms: &Terms, headers: &Headers) -> Result<(Algorithm, Vec<u8>), Rejection> {
    let (algorithm, header, prefix, why) = match headers.single(SIGNATURE) {
        Single::Missing | Single::Once(b"") => {
            let legacy_came = headers.all(SIGNATURE_LEGACY).any(|value| !value.is_empty());
            if !(legacy_came && terms.options.allow_sha1) {
                let instead = legacy_came.then_some(SIGNATURE_LEGACY);
                return Err(Rejection::SignatureMissing { header: SIGNATURE.to_owned(), instead });
            }
            let why = "it is not sha1= and 40 lower-case hexadecimal digits";
            (Algorithm::Sha1, SIGNATURE_LEGACY, "sha1=", why)
        }
        _ => {
            let why = "it is not sha256= and 64 lower-case hexadecimal digits";
            (Algorithm::Sha256, SIGNATURE, SIGNATURE_PREFIX, why)
        }
    };
    let digest = read::proof(headers, header)?.strip_prefix(prefix.as_bytes()).and_then(read::hex);
    let digest = digest.filter(|digest| digest.len() == algorithm.bytes());
    Ok((algorithm, digest.ok_or(Rejection::malformed(header, why))?))
}
