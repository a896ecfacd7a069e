//! Gitea: `X-Gitea-Signature` over the JSON, `X-Gitea-Event` and `X-Gitea-Delivery` in the head; also what Forgejo's
//! requests, which grew out of Gitea's, share with them. Owns the proof and the identity; what a payload means is
//! `normalise`'s affair.
//!
//! Two things are unlike GitHub's: a form's signature covers the JSON in its field `payload` and not the form's bytes,
//! and without a secret the headers come all the same, empty.
//!
//! Source of the rules: github.com/go-gitea/gitea and codeberg.org/forgejo/forgejo, services/webhook/deliver.go.

mod normalise;
mod sample;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use crate::headers::{Headers, Single};

use super::rules::{Rules, Signing, Terms};
use super::signature::{self, Algorithm, body_sha256, sign_sha256_hex};
use super::{Identity, Rejection, Unverified, read, sample::Sample};

pub(super) use normalise::normalise;
pub(super) use sample::{LIST as SAMPLES, payload};

pub(super) const RULES: Rules = Rules {
    name: "gitea",
    admit: |_, headers| signature_of(GITEA, headers).map(|_| ()),
    judge: |terms, request, _| judge(GITEA, terms, request),
    identify: |_, request| identify(GITEA, request),
    normalise,
    samples: SAMPLES,
    build: |name, salt| payload(name, salt).map(|(event_type, body)| sample::envelope(GITEA, event_type, body, salt)),
    envelope: |event_type, body, salt| sample::envelope(GITEA, event_type, body, salt),
    sign: |signing, sample| sign(GITEA, signing, sample),
    ..Rules::COMMON
};

/// The names of the headers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Family {
    /// The JSON's HMAC-SHA256: 64 lower-case hexadecimal digits and nothing before them.
    pub(super) signature: &'static str,
    /// What happened: `pull_request`. Not signed.
    pub(super) event: &'static str,
    /// A GUID, another one when somebody sends again by hand. Not signed.
    pub(super) delivery: &'static str,
}

pub(super) const GITEA: Family =
    Family { signature: "X-Gitea-Signature", event: "X-Gitea-Event", delivery: "X-Gitea-Delivery" };

pub(super) fn judge(family: Family, terms: &Terms, request: &Unverified) -> Result<usize, Rejection> {
    let signature = signature_of(family, &request.headers)?;
    let json = json_of(&request.headers, &request.body).ok_or(Rejection::SignatureWrong)?;
    signature::signed_by(&terms.secrets, Algorithm::Sha256, &[&json], &[signature]).ok_or(Rejection::SignatureWrong)
}

pub(super) fn signature_of(family: Family, headers: &Headers) -> Result<Vec<u8>, Rejection> {
    read::hex(read::proof(headers, family.signature)?)
        .filter(|digest| digest.len() == Algorithm::Sha256.bytes())
        .ok_or_else(|| Rejection::malformed(family.signature, "it is not 64 lower-case hexadecimal digits"))
}

pub(super) fn identify(family: Family, request: &Unverified) -> Result<Identity, Rejection> {
    let event_type = read::identity_text(&request.headers, family.event)?;
    let id = read::identity_text(&request.headers, family.delivery)?;
    // Many forms have one proof. By the JSON in them they are also the same as that JSON sent by itself.
    let form = json_of(&request.headers, &request.body).filter(|json| matches!(json, Cow::Owned(_)));
    let fingerprint = form.map(|json| body_sha256(&json));
    Ok(Identity { event_type, id: Some(id), fingerprint, ..Identity::default() })
}

pub(super) fn sign(family: Family, signing: &Signing<'_>, sample: &mut Sample) -> Result<(), &'static str> {
    let fields = sample.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
    let json = json_of(&fields.collect(), &sample.body).ok_or("a form without the field payload cannot be signed")?;
    let signature = sign_sha256_hex(signing.secret, &[&json]);
    sample.set(family.signature, signature);
    Ok(())
}

/// Whether a header is there at all; an empty one is there and decides.
pub(super) fn is_there(headers: &Headers, name: &str) -> bool {
    headers.single(name) != Single::Missing
}

/// What is signed and what is read, byte for byte the same: the body, or a form's field `payload`. None where that is
/// missing or comes twice.
fn json_of<'b>(headers: &Headers, body: &'b [u8]) -> Option<Cow<'b, [u8]>> {
    if !read::is_form(headers) {
        return Some(Cow::Borrowed(body));
    }
    let mut found = body.split(|byte| *byte == b'&').filter_map(|field| field.strip_prefix(b"payload="));
    let payload = found.next()?;
    found.next().is_none().then(|| Cow::Owned(read::form_bytes(payload)))
}
