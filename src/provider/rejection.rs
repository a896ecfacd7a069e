//! The reasons for which a request is refused. Owns their words for the log and the status that goes with each.

use std::{fmt, time::Duration};

/// Why a request is refused. `Display` is the reason for the log; the sender learns the status alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// The header that proves the sender is not there, or empty.
    SignatureMissing {
        /// The header that we looked for.
        header: String,
        /// A weaker header that came in its place and does not count.
        instead: Option<&'static str>,
    },
    /// The header is there, but it is not what the provider sends.
    SignatureMalformed {
        /// The header at fault.
        header: String,
        /// What is wrong with it, without showing it.
        why: &'static str,
    },
    /// The signature is well-formed and none of our secrets makes it.
    SignatureWrong,
    /// The same, where the signature also covers the URL that we took for ours.
    SignatureWrongFor {
        /// The URL, without its query.
        url: String,
    },
    /// The signature is right and the body is not the one that it speaks of.
    BodyChanged {
        /// Where the body's digest stands.
        place: &'static str,
    },
    /// The signature is right and its time is not now.
    OutsideWindow {
        /// How far the signed time is from our clock.
        by: Duration,
        /// Whether it lies ahead of our clock.
        is_ahead: bool,
        /// How far it may be.
        tolerance: Duration,
    },
    /// A header that the provider always sends is missing or unreadable.
    HeaderMissing {
        /// The header that we looked for.
        header: String,
        /// What is wrong with it, without showing it.
        why: &'static str,
    },
    /// No secret is configured, so nothing can be proven.
    NoSecret,
    /// The signature covers our own address, and `public_url` does not tell it.
    NoPublicUrl,
}

impl Rejection {
    pub(super) fn missing(header: &str) -> Rejection {
        Rejection::SignatureMissing { header: header.to_owned(), instead: None }
    }

    pub(super) fn malformed(header: &str, why: &'static str) -> Rejection {
        Rejection::SignatureMalformed { header: header.to_owned(), why }
    }

    /// The answer's status: 401 where the sender is not proven, 400 where it is and the request still makes no sense.
    pub const fn status(&self) -> u16 {
        match self {
            Rejection::HeaderMissing { .. } => 400,
            Rejection::SignatureMissing { .. }
            | Rejection::SignatureMalformed { .. }
            | Rejection::SignatureWrong
            | Rejection::SignatureWrongFor { .. }
            | Rejection::BodyChanged { .. }
            | Rejection::OutsideWindow { .. }
            | Rejection::NoSecret
            | Rejection::NoPublicUrl => 401,
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
            Rejection::SignatureWrongFor { url } => write!(
                f,
                "the signature does not match: another secret, the body was changed on the way, or the sender calls \
                 another URL than {url}, which it signs; `public_url` must be the address as the sender has it"
            ),
            Rejection::BodyChanged { place } => {
                write!(f, "the signature is right, but the body's digest is not the one in {place}")
            }
            Rejection::OutsideWindow { by, is_ahead, tolerance } => {
                let (by, tolerance) = (by.as_secs(), tolerance.as_secs());
                let side = if *is_ahead { "ahead of" } else { "behind" };
                write!(
                    f,
                    "the signature is right, but its time is {by} s {side} our clock and {tolerance} s are allowed: an \
                     old request sent again, or a clock that is wrong"
                )
            }
            Rejection::HeaderMissing { header, why } => {
                write!(f, "{header} {why}: the signature is right, but this is not how the provider calls")
            }
            Rejection::NoSecret => f.write_str("no secret is configured for this source: set one, and at the provider"),
            Rejection::NoPublicUrl => f.write_str(
                "the signature covers our public address, which is not known: set `public_url` in [door], as the \
                 sender has it",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_says_what_to_look_at() {
        let window = |is_ahead| Rejection::OutsideWindow {
            by: Duration::from_secs(400),
            is_ahead,
            tolerance: Duration::from_secs(300),
        };
        for (rejection, part) in [
            (Rejection::BodyChanged { place: "the URL's bodySHA256" }, "not the one in the URL's bodySHA256"),
            (window(true), "400 s ahead of our clock and 300 s are allowed"),
            (window(false), "400 s behind our clock and 300 s are allowed"),
            (Rejection::NoPublicUrl, "set `public_url` in [door]"),
        ] {
            assert!(rejection.to_string().contains(part), "{rejection}");
            assert_eq!(rejection.status(), 401);
        }
    }
}
