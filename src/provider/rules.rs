//! What a provider says about itself, and what a source's configuration adds to that.

use std::time::Duration;

use crate::{headers::Headers, secret::Secret, time::Timestamp};

use super::{Handshake, Identity, Normalised, Provider, Rejection, Unverified, sample::Sample, signature::Algorithm};

/// Everything there is to know about one provider. Each provider has one, in its own file.
pub(super) struct Rules {
    /// The name in the configuration, the database and every output.
    pub(super) name: &'static str,
    /// Keys of `[sources.NAME]` that it reads besides those that every source has.
    pub(super) options: &'static [&'static str],
    /// Whether its signature covers our own address.
    pub(super) needs_public_url: bool,
    /// What is wrong with a configured secret, in words for the one who configures it.
    pub(super) check_secret: fn(&Secret) -> Result<(), &'static str>,
    /// What is wrong with the options together.
    pub(super) check_options: fn(&Options) -> Result<(), String>,
    /// What the head alone decides, before any of the body is read. Passing proves nothing.
    pub(super) admit: fn(&Terms, &Headers) -> Result<(), Rejection>,
    /// The proof, over the raw bytes: the position of the secret that signed.
    pub(super) judge: fn(&Terms, &Unverified, Timestamp) -> Result<usize, Rejection>,
    /// What the request calls itself, after the proof.
    pub(super) identify: fn(&Terms, &Unverified) -> Result<Identity, Rejection>,
    /// The answer to a request that only asks whether we are there, after the proof.
    pub(super) handshake: fn(&Unverified) -> Option<Handshake>,
    /// What a stored delivery means. Takes any bytes without a panic.
    pub(super) normalise: fn(&Context<'_>, &str, &Headers, &[u8]) -> Normalised,
    /// Samples: name and a line about it.
    pub(super) samples: &'static [(&'static str, &'static str)],
    /// The sample of that name, not signed.
    pub(super) build: fn(&str, u64) -> Option<Sample>,
    /// A payload of the user's own in the provider's envelope, not signed.
    pub(super) envelope: fn(&str, Vec<u8>, u64) -> Sample,
    /// Signs, in place of a signature that is there; an error names what the secret lacks.
    pub(super) sign: fn(&Signing<'_>, &mut Sample) -> Result<(), &'static str>,
}

impl Rules {
    /// What most providers have in common; used as `..Rules::COMMON`. What has no common answer stands here as one that
    /// refuses.
    pub(super) const COMMON: Rules = Rules {
        name: "",
        options: &[],
        needs_public_url: false,
        check_secret: |_| Ok(()),
        check_options: |_| Ok(()),
        admit: |_, _| Ok(()),
        judge: |_, _, _| Err(Rejection::NoSecret),
        identify: |_, _| Ok(Identity::default()),
        handshake: |_| None,
        normalise: |_, _, _, _| Normalised::Undecodable("no normaliser".to_owned()),
        samples: &[],
        build: |_, _| None,
        envelope: |event_type, body, _| Sample::json(event_type, body),
        sign: |_, _| Err("this provider cannot be signed for"),
    };
}

/// What a source's configuration says about its requests.
#[derive(Clone, Debug)]
pub struct Terms {
    /// Whose rules they follow.
    pub provider: Provider,
    /// Any of them may have signed; never empty in a running service.
    pub secrets: Vec<Secret>,
    /// Scheme and host under which the sender reaches us, without a trailing slash.
    pub public_url: Option<String>,
    /// What only some providers read.
    pub options: Options,
}

impl Terms {
    /// With nothing but secrets.
    pub fn new(provider: Provider, secrets: Vec<Secret>) -> Terms {
        Terms { provider, secrets, public_url: None, options: Options::default() }
    }

    /// How far a signed time may be from now: the configured, else the provider's own.
    pub(super) fn tolerance(&self, own: Duration) -> Duration {
        self.options.tolerance.unwrap_or(own)
    }

    /// The URL that the sender called, as far as we can know it. A recorded request may tell it itself.
    pub(super) fn url_called(&self, target: &str) -> Option<String> {
        if target.starts_with("https://") || target.starts_with("http://") {
            return Some(target.to_owned());
        }
        self.public_url.as_ref().map(|public_url| format!("{public_url}{target}"))
    }
}

/// Keys of `[sources.NAME]` that only some providers read; each lists its own in its `RULES`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// `allow_sha1`: whether an old server's SHA-1 signature counts where it has no better one.
    pub allow_sha1: bool,
    /// `tolerance`: how far a signed time may be from now; zero looks at no time.
    pub tolerance: Option<Duration>,
    /// `header`: where the signature or the token stands.
    pub header: Option<String>,
    /// `prefix`: what stands before it.
    pub prefix: Option<String>,
    /// `algorithm`
    pub algorithm: Option<Proof>,
    /// `encoding`
    pub encoding: Option<Encoding>,
    /// `timestamp_header`: the signed time; with it `TIMESTAMP.BODY` is signed, or what `signed` says.
    pub timestamp_header: Option<String>,
    /// `signed`: the signed text, `{timestamp}` and `{body}` in it.
    pub signed: Option<String>,
    /// `id`: what identifies a delivery.
    pub id: Option<Place>,
    /// `event`: what happened.
    pub event: Option<Place>,
    /// `title`: text with `{/json/pointers}`.
    pub title: Option<String>,
    /// `actor`: where the event's `actor` stands.
    pub actor: Option<Place>,
    /// `about`: where its `repository` stands.
    pub about: Option<Place>,
    /// `link`: where its `url` stands.
    pub link: Option<Place>,
    /// `subject`: where its `subject` stands.
    pub subject: Option<Place>,
}

impl Options {
    /// The keys, in the order of the fields.
    pub const KEYS: &[&str] = &[
        "allow_sha1",
        "tolerance",
        "header",
        "prefix",
        "algorithm",
        "encoding",
        "timestamp_header",
        "signed",
        "id",
        "event",
        "title",
        "actor",
        "about",
        "link",
        "subject",
    ];

    /// No option.
    pub const NONE: Options = Options {
        allow_sha1: false,
        tolerance: None,
        header: None,
        prefix: None,
        algorithm: None,
        encoding: None,
        timestamp_header: None,
        signed: None,
        id: None,
        event: None,
        title: None,
        actor: None,
        about: None,
        link: None,
        subject: None,
    };
}

/// `algorithm`: how `generic` is proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// An HMAC of the body.
    Hmac(Algorithm),
    /// The secret itself.
    Token,
}

/// `encoding`: how a digest is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// Hexadecimal digits, in either case.
    #[default]
    Hex,
    /// Base64 with padding.
    Base64,
}

/// Where a value stands in a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A header's name.
    Header(String),
    /// A JSON pointer (RFC 6901) into the body.
    Pointer(String),
}

impl Place {
    /// `/data/id` is a pointer, everything else a header's name.
    pub fn parse(text: &str) -> Place {
        match text.starts_with('/') {
            true => Place::Pointer(text.to_owned()),
            false => Place::Header(text.to_owned()),
        }
    }
}

/// What is wrong with a source's [`Terms`], in words for the one who configures them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// A secret that cannot be one of this provider's.
    Secret {
        /// Its position in [`Terms::secrets`].
        index: usize,
        /// What it is not.
        what: &'static str,
    },
    /// Options that do not go together.
    Options(String),
}

impl Provider {
    /// Why a sender that people ask for is not among ours, where there is more to say than that it is not.
    pub fn why_unsupported(name: &str) -> Option<&'static str> {
        name.eq_ignore_ascii_case("paypal").then_some(
            "PayPal is not supported: it proves with certificates that have to be fetched and checked at each key \
             change, and its signature covers only a checksum of the body",
        )
    }
}

/// What a normaliser knows besides the request.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// Whose rules the delivery followed.
    pub provider: Provider,
    /// The configured source's name.
    pub source: &'a str,
    /// As the source is configured today.
    pub options: &'a Options,
}

/// What signing a sample needs.
#[derive(Clone, Copy, Debug)]
pub struct Signing<'a> {
    /// The secret, or the private key where the receiver has the public one.
    pub secret: &'a Secret,
    /// The URL that is called, without the sample's query.
    pub url: &'a str,
    /// The time that is signed.
    pub now: Timestamp,
    /// The receiver's options.
    pub options: &'a Options,
}

impl<'a> Signing<'a> {
    /// For a receiver without options.
    pub fn new(secret: &'a Secret, url: &'a str, now: Timestamp) -> Signing<'a> {
        Signing { secret, url, now, options: &Options::NONE }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::tests::{own_terms, secret};

    #[test]
    fn the_keys_are_those_that_some_provider_reads() {
        let read: Vec<&str> = Provider::ALL.iter().flat_map(|provider| provider.options()).copied().collect();
        assert!(read.iter().all(|key| Options::KEYS.contains(key)), "{read:?}");
        assert!(Options::KEYS.iter().all(|key| read.contains(key)), "{read:?}");
    }

    #[test]
    fn every_flaw_is_told() {
        let mut terms = own_terms(Provider::Svix);
        assert_eq!(Provider::Svix.check(&terms), []);
        terms.secrets = vec![secret("no"), terms.secrets.remove(0), secret("neither")];
        let flaws = Provider::Svix.check(&terms);
        assert!(matches!(flaws[..], [Flaw::Secret { index: 0, .. }, Flaw::Secret { index: 2, .. }]), "{flaws:?}");
        let header = Some("not a header".to_owned());
        let terms = Terms { options: Options { header, ..Options::NONE }, ..own_terms(Provider::Datadog) };
        assert!(matches!(Provider::Datadog.check(&terms)[..], [Flaw::Options(_)]));
    }

    #[test]
    fn the_readme_gives_the_same_reason() {
        let readme: Vec<&str> = include_str!("../../README.md").split_whitespace().collect();
        let why = Provider::why_unsupported("PayPal").expect("people ask for it");
        assert!(readme.join(" ").contains(why), "{why}");
        assert_eq!(Provider::why_unsupported("github"), None);
    }
}
