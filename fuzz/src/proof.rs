//! The proof of a request under any header fields and any body, for every provider.

use hookbell::{
    headers::Headers,
    provider::{self, IDENTITY_BYTES_MAX, Provider, Rejection, Signing, Terms, Unverified, Verified, sample},
    time::Timestamp,
};

use super::{
    keys::keys,
    sender::{Sent, secret, terms},
};

const NOW: Timestamp = Timestamp::from_ms(1_760_000_000_000);

/// The input is a request; see [`Sent`].
pub fn check(input: &[u8]) {
    let Sent { provider, word, request } = Sent::read(input);
    forged(provider, word, &request);
    signed(provider, word, request.body);
}

/// A request that nobody signed is refused, whatever it says, and the head alone refuses nothing that the proof
/// accepts.
fn forged(provider: Provider, word: &str, request: &Unverified) {
    let terms = terms(provider, word);
    let admitted = provider::admit(&terms, &request.headers);
    let judged = provider::judge(&terms, request, NOW);
    let rejection = judged.expect_err("nobody has signed it");
    // A time outside its window is told only to who has signed.
    assert!(!matches!(rejection, Rejection::OutsideWindow { .. }), "{provider}: {rejection}");
    assert!(matches!(rejection.status(), 400 | 401), "{provider}: {rejection}");
    let why = rejection.to_string();
    assert!(!why.is_empty() && why.len() < 600 && !why.chars().any(char::is_control), "{provider}: {why:?}");
    if let Err(at_the_head) = admitted {
        assert!(matches!(at_the_head.status(), 400 | 401), "{provider}: {at_the_head}");
    }
    let hint = provider::diagnose(&terms, request, NOW, provider::AT_THE_DOOR_BYTES_MAX);
    assert!(hint.is_none_or(|hint| !hint.contains(terms.secrets[0].expose())), "{provider}: the secret is told");
}

/// Any body that is signed is accepted, and refused with another byte in it.
fn signed(provider: Provider, word: &str, body: Vec<u8>) {
    let terms = terms(provider, word);
    let mut sample = sample::for_payload(provider, "event", body, 7);
    let url = "https://hooks.example.com/webhooks/x";
    let key = secret(keys(provider).0);
    let signing = Signing { secret: &key, url, now: NOW, options: &terms.options };
    if let Err(why) = sample.sign(provider, &signing) {
        // Twilio's forms have a limit, and Gitea's a field that is signed.
        let is_its_own = match provider {
            Provider::Twilio => why.starts_with("it has more than"),
            Provider::Gitea | Provider::Forgejo => why.starts_with("a form without"),
            _ => false,
        };
        assert!(is_its_own, "{provider}: {why}");
        return;
    }
    let headers = sample.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    let request = Unverified { target: format!("/webhooks/x{}", sample.query), headers, body: sample.body };
    // Linear's time stands in the body, and a body may have none.
    if provider == Provider::Linear && provider::judge(&terms, &request, NOW).is_err() {
        return;
    }
    if provider == Provider::Shopify && request.body.is_empty() {
        assert!(provider::judge(&terms, &request, NOW).is_err(), "shopify signs no empty body");
        return;
    }
    if let Err(rejection) = provider::admit(&terms, &request.headers) {
        panic!("{provider}: the head of what is signed is refused: {rejection}");
    }
    assert_eq!(provider::judge(&terms, &request, NOW), Ok(0), "{provider}");
    if has_time_before_body(provider) {
        digit_moved(provider, &terms, &request);
    }
    if is_exact(provider, &request.body) && !request.body.is_empty() {
        let mut changed = request.clone();
        let at = changed.body.len() / 3;
        changed.body[at] ^= 1 << (at % 8);
        assert!(provider::judge(&terms, &changed, NOW).is_err(), "{provider}: byte {at} of the body");
    }
    match provider::verify(&terms, request, NOW) {
        Ok(Verified::Delivery(delivery)) => {
            for text in [Some(delivery.event_type()), delivery.id()].into_iter().flatten() {
                assert!(!text.is_empty() && text.len() <= IDENTITY_BYTES_MAX, "{provider}: {text:?}");
                assert!(text.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{provider}: {text:?}");
            }
        }
        Ok(Verified::Handshake(handshake)) => assert!(handshake.body.len() <= 1024, "{provider}: a long answer"),
        Err(rejection) => assert_eq!(rejection.status(), 400, "{provider}: {rejection}"),
    }
}

/// Whether the signed time ends where the body begins.
fn has_time_before_body(provider: Provider) -> bool {
    matches!(provider.name(), "discord" | "sendgrid")
}

/// What is signed stays the same when the time's last digit becomes the body's first, and is refused all the same.
fn digit_moved(provider: Provider, terms: &Terms, request: &Unverified) {
    let (mut headers, mut body) = (Headers::new(), request.body.clone());
    for (name, value) in request.headers.iter() {
        match value.split_last() {
            Some((digit, time)) if value == NOW.seconds().to_string().as_bytes() => {
                headers.push(name, time);
                body.insert(0, *digit);
            }
            _ => headers.push(name, value),
        }
    }
    assert_eq!(body.len(), request.body.len() + 1, "{provider}: no time is signed");
    let moved = Unverified { target: request.target.clone(), headers, body };
    assert!(provider::judge(terms, &moved, NOW).is_err(), "{provider}: a digit of the time is in the body");
}

/// Whether each byte of the body counts: a token proves none of it, and two spellings of a form have one signature.
fn is_exact(provider: Provider, body: &[u8]) -> bool {
    let is_form = body.starts_with(b"payload=") && matches!(provider.name(), "gitea" | "forgejo");
    !is_form && !matches!(provider.name(), "telegram" | "alertmanager" | "datadog" | "grafana" | "twilio" | "generic")
}
