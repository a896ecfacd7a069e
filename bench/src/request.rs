//! Requests as GitHub would send them.

use hookbell::{
    provider::{Provider, sample},
    secret::Secret,
};

/// The secret of every service that is measured.
pub const SECRET: &str = "It's a Secret to Everybody";

/// A complete signed `POST` of this body to `path`.
pub fn signed(path: &str, delivery: &str, body: &[u8]) -> Vec<u8> {
    let mut headers = vec![
        ("Host".to_owned(), "localhost".to_owned()),
        ("Content-Type".to_owned(), "application/json".to_owned()),
        ("User-Agent".to_owned(), "GitHub-Hookshot/0000000".to_owned()),
        ("X-GitHub-Event".to_owned(), "push".to_owned()),
        ("X-GitHub-Delivery".to_owned(), delivery.to_owned()),
        ("Content-Length".to_owned(), body.len().to_string()),
    ];
    if let Some(secret) = Secret::new(SECRET.to_owned()) {
        sample::sign(Provider::GitHub, &secret, &mut headers, body);
    }
    let mut request = format!("POST {path} HTTP/1.1\r\n").into_bytes();
    for (name, value) in headers {
        request.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    request.extend_from_slice(b"\r\n");
    request.extend_from_slice(body);
    request
}
