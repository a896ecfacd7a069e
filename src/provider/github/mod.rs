//! GitHub: `X-Hub-Signature-256` over the raw body, `X-GitHub-Event` and `X-GitHub-Delivery` in the head. Owns the
//! proof and the identity; what a payload means is `normalise`'s affair.
//!
//! Source of the rules: docs.github.com, "Validating webhook deliveries" and "Webhook events and payloads".

mod code;
mod draft;
mod normalise;
mod payload;
mod people;
pub(super) mod sample;
mod security;
mod talk;
#[cfg(test)]
mod tests;

use crate::headers::{Headers, Single};
use crate::secret::Secret;

use super::signature::{self, SHA256_BYTES};
use super::{IDENTITY_BYTES_MAX, Identity, Rejection, Unverified};

pub(super) use normalise::normalise;

/// `sha256=` and 64 lower-case hexadecimal digits.
pub(super) const SIGNATURE: &str = "X-Hub-Signature-256";
/// Sent beside it "for legacy purposes". SHA-1 alone is refused, and it never rescues a wrong [`SIGNATURE`].
const SIGNATURE_LEGACY: &str = "X-Hub-Signature";
/// What happened: `pull_request`. Not signed.
pub(super) const EVENT: &str = "X-GitHub-Event";
/// A GUID, the same when GitHub delivers again. Not signed.
pub(super) const DELIVERY: &str = "X-GitHub-Delivery";
/// What stands before the digits of [`SIGNATURE`]. Fixed: reading the algorithm from the header would let the sender
/// choose a weaker one.
pub(super) const SIGNATURE_PREFIX: &str = "sha256=";

pub(super) fn admit(headers: &Headers) -> Result<(), Rejection> {
    signature_of(headers).map(|_| ())
}

/// The body is signed as it came, also when it is a form: `payload=` and the percent-encoding included.
pub(super) fn judge(secrets: &[Secret], request: &Unverified) -> Result<usize, Rejection> {
    let signature = signature_of(&request.headers)?;
    signature::signed_by(secrets, &[&request.body], &signature).ok_or(Rejection::SignatureWrong)
}

pub(super) fn identify(headers: &Headers) -> Result<Identity, Rejection> {
    Ok(Identity { event_type: identity_text(headers, EVENT)?, id: Some(identity_text(headers, DELIVERY)?) })
}

fn signature_of(headers: &Headers) -> Result<[u8; SHA256_BYTES], Rejection> {
    let malformed = |why| Rejection::SignatureMalformed { header: SIGNATURE, why };
    let value = match headers.single(SIGNATURE) {
        Single::Missing | Single::Once(b"") => {
            let legacy_came = headers.all(SIGNATURE_LEGACY).any(|value| !value.is_empty());
            return Err(Rejection::SignatureMissing {
                header: SIGNATURE,
                instead: legacy_came.then_some(SIGNATURE_LEGACY),
            });
        }
        Single::Repeated => return Err(malformed("it came more than once")),
        Single::Once(value) => value,
    };
    let digits = value.strip_prefix(SIGNATURE_PREFIX.as_bytes()).ok_or(malformed("it does not begin with sha256="))?;
    signature::sha256_from_hex(digits).ok_or(malformed("after sha256= there must be 64 lower-case hexadecimal digits"))
}

fn identity_text(headers: &Headers, header: &'static str) -> Result<String, Rejection> {
    let refused = |why| Rejection::HeaderMissing { header, why };
    let value = match headers.single(header) {
        Single::Missing | Single::Once(b"") => return Err(refused("is missing or empty")),
        Single::Repeated => return Err(refused("came more than once")),
        Single::Once(value) => value,
    };
    if value.len() > IDENTITY_BYTES_MAX {
        return Err(refused("is too long"));
    }
    if !value.iter().all(|byte| matches!(byte, b' '..=b'~')) {
        return Err(refused("is not printable ASCII"));
    }
    // ASCII was just seen, so nothing is replaced.
    Ok(String::from_utf8_lossy(value).into_owned())
}
