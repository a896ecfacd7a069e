//! GitLab: a secret token that comes as it is in `X-Gitlab-Token`, or from GitLab 19 on a signing token (`whsec_…`), with
//! which it signs as Standard Webhooks say. Owns the proof and the identity; what a payload means is `normalise`'s affair.
//!
//! A source may have secrets of both sorts while senders are switched over: where `webhook-signature` comes it decides,
//! else the token does. With signing tokens alone, a request without a signature is refused.
//!
//! Source of the rules: gitlab.com/gitlab-org/gitlab, doc/user/project/integrations/{webhooks,webhook_events}.md.

mod normalise;
mod sample;
#[cfg(test)]
mod tests;

use crate::headers::{Headers, Single};
use crate::secret::Secret;
use crate::time::Timestamp;

use super::rules::{Rules, Signing, Terms};
use super::standard::{self, WEBHOOK};
use super::{Identity, Rejection, Unverified, read, sample::Sample, signature};

pub(super) const RULES: Rules = Rules {
    name: "gitlab",
    options: &["tolerance"],
    check_secret,
    admit,
    judge,
    identify,
    normalise: normalise::normalise,
    samples: sample::LIST,
    build: sample::build,
    envelope: sample::envelope,
    sign,
    ..Rules::COMMON
};

/// The secret token itself: it proves who speaks, and nothing about the body.
const TOKEN: &str = "X-Gitlab-Token";
/// What happened: `Push Hook`. Not signed.
const EVENT: &str = "X-Gitlab-Event";
/// The same when GitLab tries again, and the same as `webhook-id`.
const DELIVERY: &str = "Idempotency-Key";
/// What older ones have instead: the event's, whichever hook it goes to.
const EVENT_ID: &str = "X-Gitlab-Event-UUID";

fn check_secret(secret: &Secret) -> Result<(), &'static str> {
    if standard::is_signing_token(secret) {
        return standard::check_secret(secret);
    }
    match secret.expose().trim_ascii() == secret.expose() {
        true => Ok(()),
        false => Err("a token that begins or ends with a blank never arrives as it is: headers lose it"),
    }
}

fn admit(terms: &Terms, headers: &Headers) -> Result<(), Rejection> {
    match is_signed(headers) {
        true => standard::head(WEBHOOK, headers).map(|_| ()),
        false => token(terms, headers).map(|_| ()),
    }
}

/// No falling back from a signature that is wrong to a token that is right.
fn judge(terms: &Terms, request: &Unverified, now: Timestamp) -> Result<usize, Rejection> {
    if is_signed(&request.headers) {
        return standard::judge(WEBHOOK, standard::signing_token, terms, request, now);
    }
    let token = token(terms, &request.headers)?;
    signature::presented(&terms.secrets, token)
        // A signing token is never sent; who sends it read it somewhere.
        .filter(|by| terms.secrets.get(*by).is_some_and(|secret| !standard::is_signing_token(secret)))
        .ok_or(Rejection::SignatureWrong)
}

/// An empty one, or two of them, is no less there.
fn is_signed(headers: &Headers) -> bool {
    headers.single(WEBHOOK.signature) != Single::Missing
}

fn token<'h>(terms: &Terms, headers: &'h Headers) -> Result<&'h [u8], Rejection> {
    match terms.secrets.iter().all(standard::is_signing_token) {
        true => Err(Rejection::missing(WEBHOOK.signature)),
        false => read::proof(headers, TOKEN),
    }
}

/// Both ids are the same, and where a signature decided, the one that it covers counts.
fn identify(_: &Terms, request: &Unverified) -> Result<Identity, Rejection> {
    let event_type = read::identity_text(&request.headers, EVENT)?;
    let ids = match is_signed(&request.headers) {
        true => [WEBHOOK.id, DELIVERY, EVENT_ID],
        false => [DELIVERY, WEBHOOK.id, EVENT_ID],
    };
    let id = ids.into_iter().find_map(|name| read::optional_identity(&request.headers, name));
    Ok(Identity { event_type, id, ..Identity::default() })
}

fn sign(signing: &Signing<'_>, sample: &mut Sample) -> Result<(), &'static str> {
    if standard::is_signing_token(signing.secret) {
        return standard::sign(WEBHOOK, signing, sample);
    }
    sample.set(TOKEN, signing.secret.expose());
    Ok(())
}
