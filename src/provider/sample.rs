//! Requests as a provider would send them, of our own making, for `hookbell send` and `demo`. Pure: the salt makes the
//! fresh values, so equal salts make equal bytes.

use crate::secret::Secret;

use super::{Provider, github};

/// A request before it is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The provider's own name for what happened.
    pub event_type: String,
    /// The head's fields, except the signature and what HTTP itself needs.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// What the provider has samples of: name and a line about it.
pub fn list(provider: Provider) -> &'static [(&'static str, &'static str)] {
    match provider {
        Provider::GitHub => github::sample::LIST,
    }
}

/// The sample of that name, with ids, numbers and titles that follow from the salt; `None` when there is none.
pub fn build(provider: Provider, name: &str, salt: u64) -> Option<Sample> {
    match provider {
        Provider::GitHub => github::sample::build(name, salt),
    }
}

/// A payload of the user's own in the provider's envelope.
pub fn for_payload(provider: Provider, event_type: &str, body: Vec<u8>, salt: u64) -> Sample {
    match provider {
        Provider::GitHub => github::sample::envelope(event_type, body, salt),
    }
}

/// Signs the body and puts the signature into the headers, in place of one that is there.
pub fn sign(provider: Provider, secret: &Secret, headers: &mut Vec<(String, String)>, body: &[u8]) {
    match provider {
        Provider::GitHub => github::sample::sign(secret, headers, body),
    }
}

/// Spreads a salt over 64 bits, so that neighbouring salts look unrelated (SplitMix64's finaliser).
pub(super) fn spread(salt: u64) -> u64 {
    let mut bits = salt.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// A GUID in the shape of RFC 4122 version 4 that follows from the salt.
pub(super) fn guid(salt: u64) -> String {
    let bits = u128::from(spread(salt)) << 64 | u128::from(spread(!salt));
    let bits = bits & !(0xf << 76) & !(0x3 << 62) | 0x4 << 76 | 0x2 << 62;
    let digits = format!("{bits:032x}");
    format!("{}-{}-{}-{}-{}", &digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..])
}
