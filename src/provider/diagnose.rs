//! Why a signature does not match, found by trying what usually happens on the way. Owns the guesses; what they find is
//! for the operator alone, never for the sender.

use crate::{headers::Single, secret::Secret, time::Timestamp};

use super::{Rejection, Terms, Unverified, judge};

/// The largest body that is guessed about while a sender waits, and anybody may be the sender.
pub const AT_THE_DOOR_BYTES_MAX: usize = 64 * 1024;

/// The same for who asks at the command line.
pub const BY_HAND_BYTES_MAX: usize = 1024 * 1024;

/// What would make the signature match, in words; `None` when none of the usual accidents explains it. Each guess costs
/// as much as the judgement itself, and there is one copy of the body at a time; of a body above `body_bytes_max` there
/// is none, and only what needs no copy is guessed.
pub fn diagnose(terms: &Terms, request: &Unverified, now: Timestamp, body_bytes_max: usize) -> Option<String> {
    if !matches!(
        judge(terms, request, now),
        Err(Rejection::SignatureWrong | Rejection::SignatureWrongFor { .. } | Rejection::BodyChanged { .. })
    ) {
        return None;
    }
    let is_copied = request.body.len() <= body_bytes_max;
    // What a matching signature proves comes before what the body's length suggests: nothing is wrong with an empty
    // body that matches at another address.
    secret_with_blanks(terms, request, now)
        .or_else(|| is_copied.then(|| body_changed(terms, request, now)).flatten())
        .or_else(|| is_copied.then(|| called_by_another_url(terms, request, now)).flatten())
        .or_else(|| emptied(request))
}

fn matches(terms: &Terms, request: &Unverified, now: Timestamp) -> bool {
    matches!(judge(terms, request, now), Ok(_) | Err(Rejection::OutsideWindow { .. }))
}

fn emptied(request: &Unverified) -> Option<String> {
    let announced = match request.headers.single("Content-Length") {
        Single::Once(value) => std::str::from_utf8(value).ok().and_then(|text| text.parse::<u64>().ok()),
        Single::Missing | Single::Repeated => None,
    };
    match (request.body.len(), announced) {
        (0, Some(bytes)) if bytes > 0 => {
            Some(format!("the body is empty although {bytes} bytes were announced: something on the way drops it"))
        }
        (0, _) => Some("the body is empty, which hardly anybody signs: something on the way may drop it".to_owned()),
        (found, Some(bytes)) if bytes != found as u64 => {
            Some(format!("the body has {found} bytes and {bytes} were announced: it was changed on the way"))
        }
        _ => None,
    }
}

fn secret_with_blanks(terms: &Terms, request: &Unverified, now: Timestamp) -> Option<String> {
    let trimmed = |secret: &Secret| {
        let text = secret.expose().trim();
        (text.len() < secret.expose().len()).then(|| Secret::new(text.to_owned())).flatten()
    };
    let secrets: Vec<Secret> = terms.secrets.iter().filter_map(trimmed).collect();
    if secrets.is_empty() {
        return None;
    }
    let terms = Terms { secrets, ..terms.clone() };
    matches(&terms, request, now)
        .then(|| "it matches without the blanks or the newline around the configured secret: take them out".to_owned())
}

/// What the body may have been: the accident in words, and the body without it; `None` where that changes nothing.
type Guess = (&'static str, fn(&[u8]) -> Option<Vec<u8>>);

const GUESSES: [Guess; 6] = [
    ("without the newline at the body's end: something adds one", |body| {
        let trimmed = body.trim_ascii_end();
        (trimmed.len() < body.len()).then(|| trimmed.to_vec())
    }),
    ("with a newline at the body's end: something takes it away", |body| Some([body, b"\n"].concat())),
    ("with CRLF at the body's end: something takes it away", |body| Some([body, b"\r\n"].concat())),
    ("with CRLF line ends in the body: something changes them to LF", crlf),
    ("with LF line ends in the body: something changes them to CRLF", lf),
    ("with the body as compact JSON: something writes it anew", compact),
];

/// One guess after the other, each in the place of the one before.
fn body_changed(terms: &Terms, request: &Unverified, now: Timestamp) -> Option<String> {
    let mut tried = Unverified { target: request.target.clone(), headers: request.headers.clone(), body: Vec::new() };
    GUESSES.into_iter().find_map(|(words, guess)| {
        tried.body = Vec::new();
        tried.body = guess(&request.body)?;
        matches(terms, &tried, now).then(|| format!("it matches {words}"))
    })
}

fn crlf(body: &[u8]) -> Option<Vec<u8>> {
    let bare = || (0..body.len()).filter(|&at| body[at] == b'\n' && !body[..at].ends_with(b"\r"));
    bare().next()?;
    let mut changed = Vec::with_capacity(body.len() + bare().count());
    let mut copied = 0;
    for at in bare() {
        changed.extend_from_slice(&body[copied..at]);
        changed.push(b'\r');
        copied = at;
    }
    changed.extend_from_slice(&body[copied..]);
    Some(changed)
}

fn lf(body: &[u8]) -> Option<Vec<u8>> {
    let is_kept = |at: usize| !body[at..].starts_with(b"\r\n");
    let changed: Vec<u8> = (0..body.len()).filter(|&at| is_kept(at)).map(|at| body[at]).collect();
    (changed.len() < body.len()).then_some(changed)
}

/// JSON without the blanks between its parts.
fn compact(json: &[u8]) -> Option<Vec<u8>> {
    let (mut is_text, mut is_escaped) = (false, false);
    let is_kept = |byte: &u8| {
        let is_kept = is_text || !byte.is_ascii_whitespace();
        is_text ^= *byte == b'"' && !is_escaped;
        is_escaped = is_text && *byte == b'\\' && !is_escaped;
        is_kept
    };
    let changed: Vec<u8> = json.iter().copied().filter(is_kept).collect();
    (changed.len() < json.len()).then_some(changed)
}

fn called_by_another_url(terms: &Terms, request: &Unverified, now: Timestamp) -> Option<String> {
    if !terms.provider.needs_public_url() {
        return None;
    }
    let url = terms.url_called(&request.target)?;
    let (scheme, rest) = url.split_once("://")?;
    let other = if scheme == "https" { "http" } else { "https" };
    let (place, query) = rest.split_once('?').map_or((rest, ""), |(place, query)| (place, query));
    let query = if query.is_empty() { String::new() } else { format!("?{query}") };
    let toggled = place.strip_suffix('/').map_or_else(|| format!("{place}/"), str::to_owned);
    let swapped = match place.contains("/webhooks/") {
        true => place.replacen("/webhooks/", "/webhook/", 1),
        false => place.replacen("/webhook/", "/webhooks/", 1),
    };
    let guesses = [
        format!("{other}://{rest}"),
        format!("{scheme}://{toggled}{query}"),
        format!("{scheme}://{swapped}{query}"),
        format!("{scheme}://{place}"),
        format!("{other}://{toggled}{query}"),
    ];
    let mut tried = request.clone();
    guesses.into_iter().find_map(|guess| {
        tried.target = guess;
        let shown = tried.target.split('?').next().unwrap_or_default();
        matches(terms, &tried, now).then(|| {
            format!("it matches for {shown}: that is what the sender calls; set `public_url`, or the URL there")
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::{
        Provider, Signing, sample,
        tests::{self, NOW, URL, arrived, own_terms, request, secret, signed, terms},
    };

    #[test]
    fn compact_json_has_its_blanks_in_texts_alone() {
        let json = b" {\n  \"a b\" : [ 1 , \"\\\\\" , \"\\\" c\" ]\r\n}\t";
        let changed = compact(json).expect("changed");
        assert_eq!(String::from_utf8_lossy(&changed), r#"{"a b":[1,"\\","\" c"]}"#);
        assert_eq!(compact(&changed), None);
    }

    #[test]
    fn line_ends_are_changed_and_nothing_else() {
        assert_eq!(crlf(b"\na\r\n\xff\n\rb").as_deref(), Some(&b"\r\na\r\n\xff\r\n\rb"[..]));
        assert_eq!(lf(b"\r\na\n\r\r\n\xff\r").as_deref(), Some(&b"\na\n\r\n\xff\r"[..]));
        assert_eq!((crlf(b"a\r\n"), crlf(b""), lf(b"a\n\r"), lf(b"")), (None, None, None, None));
    }

    #[test]
    fn accidents_are_named() {
        // As GitHub writes it: compact.
        let body = br#"{"forced":false,"ref":"refs/heads/main"}"#.to_vec();
        let good =
            arrived(Provider::GitHub, signed(Provider::GitHub, sample::for_payload(Provider::GitHub, "push", body, 7)));
        let check = |terms: &Terms, body: &[u8], part: Option<&str>| {
            let request = Unverified { body: body.to_vec(), ..good.clone() };
            let found = diagnose(terms, &request, NOW, BY_HAND_BYTES_MAX);
            match part {
                Some(part) => assert!(found.as_ref().is_some_and(|found| found.contains(part)), "{part}: {found:?}"),
                None => assert_eq!(found, None),
            }
        };
        let right = terms(Provider::GitHub, &["key"]);
        let pretty = serde_json::from_slice::<serde_json::Value>(&good.body).map(|json| format!("{json:#}")).unwrap();
        check(&right, &good.body, None);
        check(&right, b"", Some("the body is empty"));
        check(&right, &[&good.body[..], b"\n"].concat(), Some("without the newline"));
        check(&right, pretty.as_bytes(), Some("as compact JSON"));
        check(&right, b"{}", None);
        check(&terms(Provider::GitHub, &["key\n"]), &good.body, Some("around the configured secret"));
        check(&terms(Provider::GitHub, &["other"]), &good.body, None);
        let mut cut = good.clone();
        cut.headers.push("Content-Length", b"99999");
        let found = diagnose(&terms(Provider::GitHub, &["other"]), &cut, NOW, BY_HAND_BYTES_MAX);
        assert!(found.unwrap().contains("99999 were announced"));
        cut.body.clear();
        let found = diagnose(&right, &cut, NOW, BY_HAND_BYTES_MAX);
        assert!(found.unwrap().contains("the body is empty although 99999 bytes were announced"));
    }

    #[test]
    fn an_empty_body_is_blamed_last() {
        let (url, key) = (format!("{URL}/webhooks/twilio"), secret("key"));
        let mut sample = sample::Sample::form("received", []);
        sample.sign(Provider::Twilio, &Signing::new(&key, &url, NOW)).unwrap();
        let called = |public_url: &str, headers: &[(String, String)]| {
            let terms = Terms { public_url: Some(public_url.to_owned()), ..terms(Provider::Twilio, &["key"]) };
            let target = "/webhooks/twilio".to_owned();
            let request = Unverified { target, headers: tests::headers(headers), body: Vec::new() };
            diagnose(&terms, &request, NOW, AT_THE_DOOR_BYTES_MAX)
        };
        assert_eq!(called(URL, &sample.headers), None);
        let elsewhere = called(&URL.replace("https", "http"), &sample.headers).unwrap();
        assert!(elsewhere.contains("that is what the sender calls"), "{elsewhere}");
        let unknown = called("https://other.example", &sample.headers).unwrap();
        assert!(unknown.contains("the body is empty"), "{unknown}");
    }

    #[test]
    fn of_a_large_body_nothing_is_copied() {
        let body = vec![b'7'; 100];
        let good =
            arrived(Provider::GitHub, signed(Provider::GitHub, sample::for_payload(Provider::GitHub, "push", body, 7)));
        let longer = Unverified { body: [&good.body[..], b"\n"].concat(), ..good.clone() };
        let found = |key: &str, request, max| diagnose(&terms(Provider::GitHub, &[key]), request, NOW, max);
        assert!(found("key", &longer, 101).unwrap().contains("without the newline"));
        assert_eq!(found("key", &longer, 100), None);
        assert!(found("key ", &good, 0).unwrap().contains("around the configured secret"));
        let called = |target: &str, max| {
            let request = Unverified { target: target.to_owned(), ..request(Provider::Twilio, "sms_received") };
            diagnose(&own_terms(Provider::Twilio), &request, NOW, max)
        };
        assert!(called("/webhook/twilio", 1000).unwrap().contains("that is what the sender calls"));
        assert_eq!(called("/webhook/twilio", 10), None);
    }
}
