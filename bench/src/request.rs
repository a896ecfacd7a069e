//! Requests as GitHub would send them.

use hookbell::{
    provider::{Provider, Signing, sample::Sample},
    secret::Secret,
    time::Timestamp,
};

/// The secret of every service that is measured.
pub const SECRET: &str = "It's a Secret to Everybody";

/// A complete signed `POST` of this push to `path`.
pub fn signed(path: &str, delivery: &str, body: &[u8]) -> Vec<u8> {
    signed_event(path, "push", delivery, body)
}

/// The same of another event.
pub fn signed_event(path: &str, event: &str, delivery: &str, body: &[u8]) -> Vec<u8> {
    let mut sample = Sample::json(event, body)
        .with("Host", "localhost")
        .with("User-Agent", "GitHub-Hookshot/0000000")
        .with("X-GitHub-Event", event)
        .with("X-GitHub-Delivery", delivery)
        .with("Content-Length", body.len().to_string());
    if let Some(secret) = Secret::new(SECRET.to_owned()) {
        let signed = sample.sign(Provider::GitHub, &Signing::new(&secret, "", Timestamp::from_ms(0)));
        debug_assert!(signed.is_ok(), "GitHub takes any secret");
    }
    let mut request = format!("POST {path} HTTP/1.1\r\n").into_bytes();
    for (name, value) in &sample.headers {
        request.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    request.extend_from_slice(b"\r\n");
    request.extend_from_slice(body);
    request
}
