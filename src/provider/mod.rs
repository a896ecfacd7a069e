//! Whose rules a request follows: how it is proven, what identifies it, what it means. Owns the one way from untrusted
//! bytes to a [`Delivery`]; refuses I/O and reads no clock.
//!
//! # Adding a provider
//!
//! 1. A variant of [`Provider`] with its name, and a folder or file beside `github/` with five functions: `admit` (what
//!    the head alone decides), `judge` (the proof, over the raw bytes), `identify` (id and type, after the proof),
//!    `normalise` (types of its own for the foreign JSON, which never leave that folder) and `sample`.
//! 2. One line in each `match` of this file and of `sample.rs`. A new kind of event goes to [`KINDS`], a new fact to
//!    [`FACTS`]; a proof of another sort goes to `signature.rs`, the only place that names cryptography.
//! 3. Its recorded requests: `tests.rs` finds them by the provider's name. Nothing outside this folder changes.

mod github;
pub mod sample;
mod signature;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors;

use std::fmt;

use crate::{event::Event, headers::Headers, secret::Secret, time::Timestamp};

pub use signature::{body_sha256, sign_sha256_hex};

/// Every kind of event that a normaliser may tell of, in the order that lists show.
pub const KINDS: &[&str] = &[
    "issue_opened",
    "issue_closed",
    "issue_reopened",
    "issue_assigned",
    "issue_commented",
    "pr_opened",
    "pr_ready",
    "pr_closed",
    "pr_merged",
    "pr_reopened",
    "pr_review_requested",
    "pr_approved",
    "pr_changes_requested",
    "pr_commented",
    "repo_starred",
    "repo_forked",
    "repo_watched",
    "push",
    "branch_created",
    "branch_deleted",
    "release_published",
    "ci_failed",
    "ci_passed",
    "deployment_failed",
    "deployment_succeeded",
    "discussion_opened",
    "security_alert",
    "member_added",
];

/// Every key that a normaliser may put into [`Event::extra`].
pub const FACTS: &[&str] = &[
    "action",
    "alert_severity",
    "app",
    "assignee",
    "attempt",
    "branch",
    "category",
    "commit",
    "commits",
    "conclusion",
    "draft",
    "environment",
    "fork",
    "forced",
    "forks",
    "head_branch",
    "labels",
    "member",
    "merged_by",
    "number",
    "package",
    "prerelease",
    "reviewer",
    "run",
    "sha",
    "stars",
    "tag",
    "workflow",
];

/// A sender whose rules we know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Provider {
    /// github.com and GitHub Enterprise Server.
    GitHub,
}

impl Provider {
    /// Every provider, in the order that lists show.
    pub const ALL: &[Provider] = &[Provider::GitHub];

    /// The name in the configuration, the database and every output.
    pub const fn name(self) -> &'static str {
        match self {
            Provider::GitHub => "github",
        }
    }

    /// The provider of that name.
    pub fn from_name(name: &str) -> Option<Provider> {
        Provider::ALL.iter().copied().find(|provider| provider.name() == name)
    }
}

/// A request as it came, with nothing proven.
#[derive(Clone, Debug)]
pub struct Unverified {
    /// Path and query as sent.
    pub target: String,
    /// The head's fields.
    pub headers: Headers,
    /// The body, byte for byte.
    pub body: Vec<u8>,
}

/// A request whose sender is proven. Only [`verify`] can make one.
#[derive(Debug)]
pub struct Delivery {
    provider: Provider,
    event_type: String,
    id: Option<String>,
    verified_by: usize,
    headers: Headers,
    body: Vec<u8>,
}

impl Delivery {
    /// Whose rules it followed.
    pub fn provider(&self) -> Provider {
        self.provider
    }

    /// The provider's own name for what happened (`pull_request`): printable ASCII, [`IDENTITY_BYTES_MAX`] at most.
    pub fn event_type(&self) -> &str {
        &self.event_type
    }

    /// The provider's id, where it sends one: printable ASCII, [`IDENTITY_BYTES_MAX`] at most. Most providers do not
    /// sign it, so it is a claim.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// Position of the secret that signed, so that the log may say "verified by secret 2 of 3" during a rotation.
    pub fn verified_by(&self) -> usize {
        self.verified_by
    }

    /// The head's fields.
    pub fn headers(&self) -> &Headers {
        &self.headers
    }

    /// The body, byte for byte.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// Takes it apart without a copy, for storing.
    pub fn into_parts(self) -> DeliveryParts {
        let Delivery { provider, event_type, id, verified_by, headers, body } = self;
        DeliveryParts { provider, event_type, id, verified_by, headers, body }
    }
}

/// What [`Delivery::into_parts`] gives; there is no way back.
#[derive(Debug)]
pub struct DeliveryParts {
    /// Whose rules it followed.
    pub provider: Provider,
    /// The provider's own name for what happened.
    pub event_type: String,
    /// The provider's id, where it sends one.
    pub id: Option<String>,
    /// Position of the secret that signed.
    pub verified_by: usize,
    /// The head's fields.
    pub headers: Headers,
    /// The body, byte for byte.
    pub body: Vec<u8>,
}

/// Longest delivery id and event type. GitHub's take 36 bytes and fewer; a longer one is no id but a payload.
pub const IDENTITY_BYTES_MAX: usize = 200;

/// Why a request is refused. `Display` is the reason for the log; the sender learns the status alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// The header that proves the sender is not there, or empty.
    SignatureMissing {
        /// The header that we looked for.
        header: &'static str,
        /// A weaker header that came in its place and does not count.
        instead: Option<&'static str>,
    },
    /// The header is there, but it is not what the provider sends.
    SignatureMalformed {
        /// The header at fault.
        header: &'static str,
        /// What is wrong with it, without showing it.
        why: &'static str,
    },
    /// The signature is well-formed and none of our secrets makes it.
    SignatureWrong,
    /// A header that the provider always sends is missing or unreadable.
    HeaderMissing {
        /// The header that we looked for.
        header: &'static str,
        /// What is wrong with it, without showing it.
        why: &'static str,
    },
    /// No secret is configured, so nothing can be proven.
    NoSecret,
}

impl Rejection {
    /// The answer's status: 401 where the sender is not proven, 400 where it is and the request still makes no sense.
    pub const fn status(&self) -> u16 {
        match self {
            Rejection::HeaderMissing { .. } => 400,
            Rejection::SignatureMissing { .. }
            | Rejection::SignatureMalformed { .. }
            | Rejection::SignatureWrong
            | Rejection::NoSecret => 401,
        }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rejection::SignatureMissing { header, instead: None } => {
                write!(f, "{header} is missing or empty: set the same secret at the provider as here")
            }
            Rejection::SignatureMissing { header, instead: Some(legacy) } => write!(
                f,
                "{header} is missing or empty and only the legacy SHA-1 header {legacy} came, which proves too little: \
                 update the sender, or look for a proxy that drops headers"
            ),
            Rejection::SignatureMalformed { header, why } => write!(f, "{header} is malformed: {why}"),
            Rejection::SignatureWrong => {
                f.write_str("the signature does not match: another secret, or the body was changed on the way")
            }
            Rejection::HeaderMissing { header, why } => {
                write!(f, "{header} {why}: the signature is right, but this is not how the provider calls")
            }
            Rejection::NoSecret => f.write_str("no secret is configured for this source: set one, and at the provider"),
        }
    }
}

/// What a delivery says, once it is read.
#[derive(Clone, Debug, PartialEq)]
pub enum Normalised {
    /// What happened; at least one event.
    Events(Vec<Event>),
    /// Read, and nothing that we tell about; why.
    Skipped(String),
    /// Not what the provider sends; what is wrong. Trying again would not help.
    Undecodable(String),
}

/// What the head alone decides, before any of the body is read: a signature header that is missing, empty, repeated or
/// malformed. Passing proves nothing.
pub fn admit(provider: Provider, headers: &Headers) -> Result<(), Rejection> {
    match provider {
        Provider::GitHub => github::admit(headers),
    }
}

/// Judges the proof alone, over the raw bytes, and gives the position of the secret that signed. For
/// `hookbell verify`; the door uses [`verify`].
///
/// `now` is for providers that sign a time; GitHub does not.
pub fn judge(
    provider: Provider,
    secrets: &[Secret],
    request: &Unverified,
    _now: Timestamp,
) -> Result<usize, Rejection> {
    if secrets.is_empty() {
        return Err(Rejection::NoSecret);
    }
    match provider {
        Provider::GitHub => github::judge(secrets, request),
    }
}

/// Turns a request into a delivery: the proof first, then who and what, so that an unproven sender learns nothing about
/// the rest.
pub fn verify(
    provider: Provider,
    secrets: &[Secret],
    request: Unverified,
    now: Timestamp,
) -> Result<Delivery, Rejection> {
    let verified_by = judge(provider, secrets, &request, now)?;
    let Identity { event_type, id } = match provider {
        Provider::GitHub => github::identify(&request.headers)?,
    };
    let Unverified { target: _, headers, body } = request;
    Ok(Delivery { provider, event_type, id, verified_by, headers, body })
}

/// What a stored delivery means, in hookbell's own words. Takes any bytes without a panic: old deliveries are read by
/// newer code, and a sender's secret proves who it is, not that it makes sense.
pub fn normalise(provider: Provider, source: &str, event_type: &str, headers: &Headers, body: &[u8]) -> Normalised {
    match provider {
        Provider::GitHub => github::normalise(source, event_type, headers, body),
    }
}

/// What a proven request calls itself.
struct Identity {
    event_type: String,
    id: Option<String>,
}
