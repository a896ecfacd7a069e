//! What the providers of tests, checks and benchmarks prove themselves with. Made for that; it opens nothing.

use hookbell::provider::Provider;

/// What signs (PKCS #8 in base64), and what the receiver has of it (SPKI in base64, as SendGrid shows it).
const P256: (&str, &str) = (
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg4mzqUh9ayNFtbIydn7w9QVtp2cVLfg/ZT7fY1KElqMGhRANC\
     AATpmdZXGvvQYRDWaM4A8QYmGoXNZkWzh6p9K5Wm/4fRmgSFAtcFbKorRMoZP7K8NamgD0C/J5NRPwpr/1srA9t6",
    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE6ZnWVxr70GEQ1mjOAPEGJhqFzWZFs4eqfSuVpv+H0ZoEhQLXBWyqK0TKGT+y\
     vDWpoA9AvyeTUT8Ka/9bKwPbeg==",
);

/// The first pair of RFC 8032 § 7.1: the seed, and the public key.
const ED25519: (&str, &str) = (
    "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
    "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
);

/// Base64 of 24 bytes after its mark.
const WHSEC: &str = "whsec_YSBrZXkgb2YgMjQgYnl0ZXMgb25seSEh";

/// Nothing that a fuzzer would guess.
const TEXT: &str = "a1f0c6b2-not-to-be-guessed-9d3e7745";

/// What signs, and what the receiver has of it.
pub fn keys(provider: Provider) -> (&'static str, &'static str) {
    match provider.name() {
        "sendgrid" => P256,
        "discord" => ED25519,
        "gitlab" | "standardwebhooks" | "svix" => (WHSEC, WHSEC),
        _ => (TEXT, TEXT),
    }
}
