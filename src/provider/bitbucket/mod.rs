//! Bitbucket Cloud: `X-Hub-Signature: sha256=…` over the raw body (GitHub's old header, with the better hash in it),
//! `X-Event-Key` and `X-Request-UUID` in the head. Owns the proof and the identity; what a payload means is `normalise`'s
//! affair.
//!
//! Source of the rules: support.atlassian.com/bitbucket-cloud/docs, "Manage webhooks" and "Event payloads".

mod normalise;
mod sample;
#[cfg(test)]
mod tests;

use crate::headers::Headers;
use crate::time::Timestamp;

use super::rules::{Rules, Signing, Terms};
use super::signature::{self, Algorithm, sign_sha256_hex};
use super::{Identity, Rejection, Unverified, json, read, sample::Sample};

pub(super) const RULES: Rules = Rules {
    name: "bitbucket",
    admit: |_, headers| signature_of(headers).map(|_| ()),
    judge,
    identify,
    normalise: normalise::normalise,
    samples: sample::LIST,
    build: sample::build,
    envelope: sample::envelope,
    sign,
    ..Rules::COMMON
};

const SIGNATURE: &str = "X-Hub-Signature";
/// Fixed: reading the algorithm from the header would let the sender choose a weaker one, and GitHub's `sha1=` stands in a
/// header of the same name.
const SIGNATURE_PREFIX: &str = "sha256=";
/// What happened: `pullrequest:created`. Not signed.
const EVENT: &str = "X-Event-Key";
/// The same when Bitbucket tries again, while `X-Attempt-Number` rises. Not signed.
const DELIVERY: &str = "X-Request-UUID";

fn judge(terms: &Terms, request: &Unverified, _: Timestamp) -> Result<usize, Rejection> {
    let signature = signature_of(&request.headers)?;
    signature::signed_by(&terms.secrets, Algorithm::Sha256, &[&request.body], &[signature])
        .ok_or(Rejection::SignatureWrong)
}

fn signature_of(headers: &Headers) -> Result<Vec<u8>, Rejection> {
    let malformed = |why| Rejection::malformed(SIGNATURE, why);
    let digits = read::proof(headers, SIGNATURE)?.strip_prefix(SIGNATURE_PREFIX.as_bytes());
    read::hex(digits.ok_or(malformed("it does not begin with sha256="))?)
        .filter(|digest| digest.len() == Algorithm::Sha256.bytes())
        .ok_or(malformed("after sha256= there must be 64 lower-case hexadecimal digits"))
}

/// Jira Cloud signs alike and has an id header of its own; what happened stands in its body.
fn identify(_: &Terms, request: &Unverified) -> Result<Identity, Rejection> {
    if let (None, Some(id)) =
        (request.headers.text(EVENT), read::optional_identity(&request.headers, "X-Atlassian-Webhook-Identifier"))
    {
        let [event_type] = json::values(&request.body, ["/webhookEvent"]);
        return Ok(Identity::of(event_type.text(), Some(&id)));
    }
    let event_type = read::identity_text(&request.headers, EVENT)?;
    Ok(Identity { event_type, id: Some(read::identity_text(&request.headers, DELIVERY)?), ..Identity::default() })
}

fn sign(signing: &Signing<'_>, sample: &mut Sample) -> Result<(), &'static str> {
    let digits = sign_sha256_hex(signing.secret, &[&sample.body]);
    sample.set(SIGNATURE, format!("{SIGNATURE_PREFIX}{digits}"));
    Ok(())
}
