//! Whose rules a request follows: how it is proven, what identifies it, what it means. Owns the one way from untrusted
//! bytes to a [`Delivery`]; refuses I/O and reads no clock.
//!
//! # Adding a provider
//!
//! 1. A file beside `stripe.rs` with one `const RULES: Rules`: how it is proven (`admit`, `judge`; all cryptography
//!    stands in `signature.rs`), what a request calls itself (`identify`), what it means (`normalise`) and samples of our
//!    own that `hookbell send` signs. Foreign JSON is read by `json.rs`, whatever its shape. What most providers share is
//!    `..Rules::COMMON`.
//! 2. Its module and one line in the list below. A new kind of event or a new fact goes to `kinds.rs`.
//! 3. Its recorded requests: `tests.rs` finds them by the provider's name. Outside this folder nothing changes but
//!    `fuzz/src/keys.rs`, where it proves with keys of another kind than text.

mod alerts;
mod credentials;
mod diagnose;
mod draft;
mod forge;
mod json;
mod kinds;
mod money;
mod read;
mod rejection;
mod rules;
pub mod sample;
mod signature;
mod standard;

mod alertmanager;
mod bitbucket;
mod datadog;
mod discord;
mod forgejo;
mod generic;
mod gitea;
mod github;
mod gitlab;
mod grafana;
mod linear;
mod pagerduty;
mod sendgrid;
mod sentry;
mod shopify;
mod slack;
mod square;
mod standardwebhooks;
mod stripe;
mod svix;
mod telegram;
mod twilio;
mod vercel;

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) mod vectors;

use std::fmt;

use crate::{event::Event, headers::Headers, time::Timestamp};

pub use diagnose::{AT_THE_DOOR_BYTES_MAX, BY_HAND_BYTES_MAX, diagnose};
pub(crate) use github::events::{EVENTS as GITHUB_EVENTS, Offered};
pub use github::happened;
pub(crate) use kinds::severity as severity_of_kind;
pub use kinds::{FACTS, KINDS, MONEY_KINDS};
pub use rejection::Rejection;
pub use rules::{Context, Encoding, Flaw, Options, Place, Proof, Signing, Terms};
pub use signature::{Algorithm, body_sha256, fingerprint, is_signed_sha256_hex, sign_rs256, sign_sha256_hex};
pub use standard::{check_signing_secret, sign_message};

use rules::Rules;

/// Lists the providers: the variant, its module, and what it is.
macro_rules! providers {
    ($($variant:ident $module:ident $about:literal)*) => {
        /// A sender whose rules we know.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Provider {
            $(#[doc = $about] $variant,)*
        }

        impl Provider {
            /// Every provider, in the order that lists show.
            pub const ALL: &[Provider] = &[$(Provider::$variant),*];

            /// What it is, in a line.
            pub const fn about(self) -> &'static str {
                match self {
                    $(Provider::$variant => $about,)*
                }
            }

            const fn rules(self) -> &'static Rules {
                match self {
                    $(Provider::$variant => &$module::RULES,)*
                }
            }
        }
    };
}

providers! {
    GitHub github "github.com and GitHub Enterprise Server"
    GitLab gitlab "gitlab.com and GitLab of your own"
    Gitea gitea "Gitea"
    Forgejo forgejo "Forgejo, and so Codeberg"
    Bitbucket bitbucket "Bitbucket Cloud"
    Stripe stripe "Stripe's payments"
    Slack slack "Slack's events, slash commands and buttons"
    Twilio twilio "Twilio's messages and calls"
    SendGrid sendgrid "SendGrid's email events"
    Shopify shopify "Shopify's shops"
    StandardWebhooks standardwebhooks "whoever signs as Standard Webhooks say"
    Svix svix "Svix, which sends webhooks for others"
    Discord discord "Discord's interactions and webhook events"
    Square square "Square's payments and orders"
    Vercel vercel "Vercel's deployments"
    Linear linear "Linear's issues"
    Sentry sentry "Sentry's issues and alerts"
    PagerDuty pagerduty "PagerDuty's incidents"
    Alertmanager alertmanager "Prometheus Alertmanager"
    Grafana grafana "Grafana Alerting"
    Datadog datadog "Datadog's monitors"
    Telegram telegram "Telegram's bots"
    Generic generic "anything that signs with an HMAC or says a token"
}

impl Provider {
    /// The name in the configuration, the database and every output.
    pub const fn name(self) -> &'static str {
        self.rules().name
    }

    /// The provider of that name.
    pub fn from_name(name: &str) -> Option<Provider> {
        Provider::ALL.iter().copied().find(|provider| provider.name() == name)
    }

    /// Keys of `[sources.NAME]` that it reads besides those that every source has.
    pub const fn options(self) -> &'static [&'static str] {
        self.rules().options
    }

    /// Whether its signature covers our own address, so that `public_url` must be set.
    pub const fn needs_public_url(self) -> bool {
        self.rules().needs_public_url
    }

    /// Everything that is wrong with the terms: each secret's flaw, in their order, then that of the options.
    pub fn check(self, terms: &Terms) -> Vec<Flaw> {
        let rules = self.rules();
        let secrets = terms.secrets.iter().enumerate();
        let of_secret = |(index, secret)| (rules.check_secret)(secret).err().map(|what| Flaw::Secret { index, what });
        let of_options = (rules.check_options)(&terms.options).err().map(Flaw::Options);
        secrets.filter_map(of_secret).chain(of_options).collect()
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
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

/// How a delivery came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Its sender called the door.
    Webhook,
    /// It was sent, and we did not have it: the provider's own interface handed it out again.
    Recovered,
    /// Nobody sends it: it was read from the provider's list of what happened.
    Polled,
}

impl Origin {
    /// The stored and shown name.
    pub const fn name(self) -> &'static str {
        match self {
            Origin::Webhook => "webhook",
            Origin::Recovered => "recovered",
            Origin::Polled => "polled",
        }
    }
}

/// A request whose sender is proven: by its signature, then [`verify`] has made it; or by having been asked for it by name
/// over TLS, then [`vouched`] has.
#[derive(Debug)]
pub struct Delivery {
    origin: Origin,
    provider: Provider,
    event_type: String,
    id: Option<String>,
    note: Option<String>,
    verified_by: Option<usize>,
    fingerprint: Option<[u8; 32]>,
    target: String,
    headers: Headers,
    body: Vec<u8>,
}

impl Delivery {
    /// The provider's own name for what happened (`pull_request`): printable ASCII, [`IDENTITY_BYTES_MAX`] at most.
    pub fn event_type(&self) -> &str {
        &self.event_type
    }

    /// The provider's id, where it sends one: printable ASCII, [`IDENTITY_BYTES_MAX`] at most. Most providers do not
    /// sign it, so it is a claim.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// Position of the secret that signed, so that the log may say "verified by secret 2 of 3" during a rotation; `None`
    /// for what did not come with a signature of these bytes.
    pub fn verified_by(&self) -> Option<usize> {
        self.verified_by
    }

    /// Takes it apart without a copy, for storing.
    pub fn into_parts(self) -> DeliveryParts {
        let Delivery { origin, provider, event_type, id, note, verified_by, fingerprint, target, headers, body } = self;
        DeliveryParts { origin, provider, event_type, id, note, verified_by, fingerprint, target, headers, body }
    }
}

/// What [`Delivery::into_parts`] gives; there is no way back.
#[derive(Debug)]
pub struct DeliveryParts {
    /// How it came in.
    pub origin: Origin,
    /// Whose rules it followed.
    pub provider: Provider,
    /// The provider's own name for what happened.
    pub event_type: String,
    /// The provider's id, where it sends one.
    pub id: Option<String>,
    /// What is worth noting about it.
    pub note: Option<String>,
    /// Position of the secret that signed, where these bytes came with a signature.
    pub verified_by: Option<usize>,
    /// SHA-256 of what the proof covers, where that is not the body byte for byte.
    pub fingerprint: Option<[u8; 32]>,
    /// Path and query as sent; some providers sign them.
    pub target: String,
    /// The head's fields.
    pub headers: Headers,
    /// The body, byte for byte.
    pub body: Vec<u8>,
}

/// Longest delivery id and event type. GitHub's take 36 bytes and fewer; a longer one is no id but a payload.
pub const IDENTITY_BYTES_MAX: usize = 200;

/// What a delivery says, once it is read.
#[derive(Clone, Debug, PartialEq)]
pub enum Normalised {
    /// What happened; at least one event.
    Events(Vec<Event>),
    /// The same of a request that lists more than is read of one; there may be no event in what was read.
    Partly {
        /// What happened, as far as it was read.
        events: Vec<Event>,
        /// Entries of its list that were not.
        unread: usize,
    },
    /// Read, and nothing that we tell about; why.
    Skipped(String),
    /// Not what the provider sends; what is wrong. Trying again would not help.
    Undecodable(String),
}

/// A proven request: something to store, or only a question.
#[derive(Debug)]
pub enum Verified {
    /// Something happened.
    Delivery(Delivery),
    /// The provider asks whether we are there.
    Handshake(Handshake),
}

/// The answer that a provider expects to its question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handshake {
    /// The status code.
    pub status: u16,
    /// `Content-Type`.
    pub content_type: &'static str,
    /// The body.
    pub body: String,
}

/// What the head alone decides, before any of the body is read: a signature header that is missing, empty, repeated or
/// malformed. Passing proves nothing.
pub fn admit(terms: &Terms, headers: &Headers) -> Result<(), Rejection> {
    (terms.provider.rules().admit)(terms, headers)
}

/// Judges the proof alone, over the raw bytes, and gives the position of the secret that signed. For
/// `hookbell verify`; the door uses [`verify`].
pub fn judge(terms: &Terms, request: &Unverified, now: Timestamp) -> Result<usize, Rejection> {
    if terms.secrets.is_empty() {
        return Err(Rejection::NoSecret);
    }
    (terms.provider.rules().judge)(terms, request, now)
}

/// What a request says that happened, without any proof: for explaining by hand what a recorded one would mean.
///
/// # Errors
/// When it does not say so.
pub fn event_type(terms: &Terms, request: &Unverified) -> Result<String, Rejection> {
    (terms.provider.rules().identify)(terms, request).map(|identity| identity.event_type)
}

/// The id that [`verify`] would give a request, without any proof: for comparing what a provider lists with what is held.
/// Of those whose id stands in the header, the body need not be there.
pub fn delivery_id(terms: &Terms, request: &Unverified) -> Option<String> {
    (terms.provider.rules().identify)(terms, request).ok()?.id
}

/// Turns a request into a delivery: the proof first, then who and what, so that an unproven sender learns nothing about
/// the rest.
///
/// # Errors
/// Why it is refused; `explain` is called with the request before it is gone.
pub fn verify_or(
    terms: &Terms,
    request: Unverified,
    now: Timestamp,
    explain: impl FnOnce(&Unverified),
) -> Result<Verified, Rejection> {
    let rules = terms.provider.rules();
    let judged = judge(terms, &request, now).and_then(|verified_by| match (rules.handshake)(&request) {
        Some(handshake) => Ok((verified_by, Err(handshake))),
        None => (rules.identify)(terms, &request).map(|identity| (verified_by, Ok(identity))),
    });
    let (verified_by, Identity { event_type, id, note, fingerprint }) = match judged {
        Ok((verified_by, Ok(identity))) => (verified_by, identity),
        Ok((_, Err(handshake))) => return Ok(Verified::Handshake(handshake)),
        Err(rejection) => {
            explain(&request);
            return Err(rejection);
        }
    };
    let Unverified { target, headers, body } = request;
    let provider = terms.provider;
    let (origin, verified_by) = (Origin::Webhook, Some(verified_by));
    let delivery = Delivery { origin, provider, event_type, id, note, verified_by, fingerprint, target, headers, body };
    Ok(Verified::Delivery(delivery))
}

/// Turns what the provider's own interface has handed out into a delivery. Nothing proves its bytes but the connection
/// over which we asked for them, so nobody else may call this: no request that came in by itself. Where the request that
/// is handed out carries a signature and its bytes are still those that were signed, that is noticed.
///
/// # Errors
/// When it does not say who and what it is.
pub fn vouched(terms: &Terms, request: Unverified, origin: Origin, now: Timestamp) -> Result<Delivery, Rejection> {
    let verified_by = judge(terms, &request, now).ok();
    let Identity { event_type, id, note, fingerprint: _ } = (terms.provider.rules().identify)(terms, &request)?;
    let Unverified { target, headers, body } = request;
    let provider = terms.provider;
    Ok(Delivery { origin, provider, event_type, id, note, verified_by, fingerprint: None, target, headers, body })
}

/// The same without an explanation.
pub fn verify(terms: &Terms, request: Unverified, now: Timestamp) -> Result<Verified, Rejection> {
    verify_or(terms, request, now, |_| {})
}

/// Events of one request that are told. SendGrid's largest requests have fewer than twice as many, of all sorts.
pub const EVENTS_MAX: usize = 1000;

/// What a stored delivery means, in hookbell's own words. Takes any bytes without a panic: old deliveries are read by
/// newer code, and a sender's secret proves who it is, not that it makes sense. There may be more than [`EVENTS_MAX`]
/// events in it; the caller leaves the rest out and says so.
pub fn normalise(context: &Context<'_>, event_type: &str, headers: &Headers, body: &[u8]) -> Normalised {
    (context.provider.rules().normalise)(context, event_type, headers, body)
}

/// What a proven request calls itself.
#[derive(Debug, Default)]
struct Identity {
    event_type: String,
    id: Option<String>,
    note: Option<String>,
    /// SHA-256 of what the proof covers, where that is not the body byte for byte.
    fingerprint: Option<[u8; 32]>,
}

impl Normalised {
    /// Of a list of entries, `all` of them, of which `read` were read.
    fn of_list(events: Vec<Event>, read: usize, all: usize, nothing: impl FnOnce() -> String) -> Normalised {
        match (all.saturating_sub(read), events.is_empty()) {
            (0, false) => Normalised::Events(events),
            (0, true) => Normalised::Skipped(nothing()),
            (unread, _) => Normalised::Partly { events, unread },
        }
    }
}

impl Identity {
    /// By what the body says, which may be anything: what is no identity is left out.
    fn of(event_type: Option<&str>, id: Option<&str>) -> Identity {
        Identity {
            event_type: event_type.and_then(read::identity).unwrap_or_else(|| UNKNOWN_TYPE.to_owned()),
            id: id.and_then(read::identity),
            ..Identity::default()
        }
    }
}

/// The event type of a request that does not say what happened.
const UNKNOWN_TYPE: &str = "unknown";
