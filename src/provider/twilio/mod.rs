//! Twilio: `X-Twilio-Signature`, base64 of an HMAC-SHA1 over the URL as Twilio called it and the form's parameters,
//! decoded and sorted. A body that is no form is proven by its SHA-256 in the URL (`bodySHA256`). With
//! `X-Twilio-Webhooks-Signature-Settings` (shared keys, in beta) it is an HMAC-SHA256 with that key. A delivery is
//! `I-Twilio-Idempotency-Token`, else the message or call and its status, which is also the event type: Twilio names
//! none.
//!
//! Source of the rules: twilio.com/docs/usage/webhooks/webhooks-security and webhook-shared-keys, and the official
//! libraries (twilio-node, twilio-python).

mod normalise;
mod sample;

use std::collections::BTreeSet;

use crate::{
    headers::{Headers, Single},
    time::Timestamp,
};

use super::{
    Identity, Rejection, Signing, Terms, Unverified, body_sha256,
    read::{self, FIELDS_MAX, Form},
    rules::Rules,
    sample::Sample,
    signature::{self, Algorithm},
};

use normalise::{About, RECEIVED};

const SIGNATURE: &str = "X-Twilio-Signature";
/// `key=…,algorithm=HMAC_SHA256`. Not signed, and it need not be: whoever drops it still has to know the key.
const SETTINGS: &str = "X-Twilio-Webhooks-Signature-Settings";
const TOKEN: &str = "I-Twilio-Idempotency-Token";
const DIGEST: &str = "bodySHA256";

/// The largest form that is judged. Twilio's take some KiB: a message has 1600 characters at most, and a media file
/// comes as its address. Every byte is decoded and sorted before anything is proven.
const FORM_BYTES_MAX: usize = 4 * 1024 * 1024;

pub(super) const RULES: Rules = Rules {
    name: "twilio",
    needs_public_url: true,
    admit: |_, headers| proof_of(headers).map(|_| ()),
    judge,
    identify,
    normalise: normalise::normalise,
    samples: sample::LIST,
    build: sample::build,
    envelope: |event_type, body, _| Sample::form_or_json(event_type, body),
    sign,
    ..Rules::COMMON
};

/// The parameters of a form are signed. Whatever is not a form has its digest in the signed URL; a body without either
/// is anybody's. A URL that names a digest is held to it also when there are no parameters: else the signature of a
/// JSON request would carry an empty body, too.
fn judge(terms: &Terms, request: &Unverified, _: Timestamp) -> Result<usize, Rejection> {
    let (algorithm, made) = proof_of(&request.headers)?;
    let url = terms.url_called(&request.target).ok_or(Rejection::NoPublicUrl)?;
    let (parameters, digest) = signed_parts(&request.headers, &url, &request.body)?;
    let urls = as_twilio_may_see_it(&url);
    let by = urls.map(|url| {
        let parts: [&[u8]; 2] = [url.as_bytes(), &parameters];
        signature::signed_by(&terms.secrets, algorithm, &parts, std::slice::from_ref(&made))
    });
    let by = by.into_iter().flatten().next().ok_or_else(|| Rejection::SignatureWrongFor { url: shown(&url) })?;
    let is_body =
        |digest: String| signature::is_same(read::to_hex(&body_sha256(&request.body)).as_bytes(), digest.as_bytes());
    match digest.is_none_or(is_body) {
        true => Ok(by),
        false => Err(Rejection::BodyChanged { place: "the URL's bodySHA256" }),
    }
}

/// Which HMAC it is, and the HMAC.
fn proof_of(headers: &Headers) -> Result<(Algorithm, Vec<u8>), Rejection> {
    let signature = read::proof(headers, SIGNATURE)?;
    let algorithm = match headers.single(SETTINGS) {
        Single::Missing | Single::Once(b"") => Algorithm::Sha1,
        Single::Repeated => return Err(Rejection::malformed(SETTINGS, "it came more than once")),
        Single::Once(settings) => algorithm_of(settings)?,
    };
    let digest = read::base64(signature).filter(|digest| digest.len() == algorithm.bytes());
    Ok((algorithm, digest.ok_or(Rejection::malformed(SIGNATURE, "it is not the base64 of such a digest"))?))
}

/// As twilio-python reads it: without a name it is the SHA-1 of auth tokens, and a name that we do not know is refused.
fn algorithm_of(settings: &[u8]) -> Result<Algorithm, Rejection> {
    let malformed = |why| Rejection::malformed(SETTINGS, why);
    let settings = std::str::from_utf8(settings).map_err(|_| malformed("it is not text"))?;
    let named = settings.split(',').filter_map(|part| part.split_once('='));
    let mut named = named.filter(|(key, value)| key.trim() == "algorithm" && !value.trim().is_empty());
    match named.next().map(|(_, name)| name.trim().to_ascii_uppercase()).as_deref() {
        None | Some("HMAC_SHA1") => Ok(Algorithm::Sha1),
        Some("HMAC_SHA256") => Ok(Algorithm::Sha256),
        Some(_) => Err(malformed("it names an algorithm that we do not know")),
    }
}

/// What is signed after the URL, and the digest that the URL demands of the body.
fn signed_parts(headers: &Headers, url: &str, body: &[u8]) -> Result<(Vec<u8>, Option<String>), Rejection> {
    let is_form = read::is_form(headers);
    let parameters = if is_form { parameters(body) } else { Ok(Vec::new()) };
    let parameters = parameters.map_err(|why| Rejection::malformed("the form", why))?;
    if !parameters.is_empty() {
        return Ok((parameters, None));
    }
    let query = url.split_once('?').map_or("", |(_, query)| query);
    // The first of several, as in the libraries.
    let digest = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == DIGEST);
    let digest = digest.map(|(_, value)| value.into_owned());
    if digest.is_none() && !is_form && !body.is_empty() {
        return Err(Rejection::malformed(
            "the URL's bodySHA256",
            "it is missing, and nothing else proves a body that is no form",
        ));
    }
    Ok((parameters, digest))
}

/// Names and values joined, sorted by name and then by value, each pair once. In bytes: decoding to text first would
/// take bytes for others that were never signed. Anybody may send them, as nothing is proven yet: no more are taken
/// than are read afterwards, [`FIELDS_MAX`], and no more than [`FORM_BYTES_MAX`].
fn parameters(body: &[u8]) -> Result<Vec<u8>, &'static str> {
    if body.len() > FORM_BYTES_MAX {
        return Err("it has more than 4 MiB");
    }
    let pairs = || body.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty());
    if pairs().nth(FIELDS_MAX).is_some() {
        return Err("it has more than 1000 parameters");
    }
    let pairs = pairs().map(|pair| {
        let mut sides = pair.splitn(2, |byte| *byte == b'=').map(read::form_bytes);
        (sides.next().unwrap_or_default(), sides.next().unwrap_or_default())
    });
    let sorted: BTreeSet<(Vec<u8>, Vec<u8>)> = pairs.collect();
    Ok(sorted.into_iter().flat_map(|(name, value)| [name, value]).collect::<Vec<_>>().concat())
}

/// Twilio's back ends differ in whether they sign the port: as we know the URL, and with the port taken away or, where
/// there is none, with the scheme's own.
fn as_twilio_may_see_it(url: &str) -> [String; 2] {
    let scheme = url.find("://").map_or(0, |at| at + 3);
    let end = url[scheme..].find(['/', '?', '#']).map_or(url.len(), |at| scheme + at);
    let host = scheme + url[scheme..end].rfind('@').map_or(0, |at| at + 1);
    // The colons within an IPv6 address stand in brackets.
    let address = host + url[host..end].rfind(']').unwrap_or(0);
    let other = match url[address..end].rfind(':') {
        Some(port) => format!("{}{}", &url[..address + port], &url[end..]),
        None => format!("{}:{}{}", &url[..end], if url.starts_with("http://") { "80" } else { "443" }, &url[end..]),
    };
    [url.to_owned(), other]
}

/// For the log: without the query and without a password.
fn shown(url: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let end = rest.find('/').unwrap_or(rest.len());
    let host = rest[..end].rfind('@').map_or(0, |at| at + 1);
    format!("{scheme}://{}", &rest[host..])
}

/// What is signed, as far as it tells requests apart: many forms have one signature, because it covers neither their
/// order nor their spelling. The port is left out, as it may be signed or not. `None` where the URL names the body's
/// digest.
fn fingerprint(terms: &Terms, request: &Unverified) -> Result<Option<[u8; 32]>, Rejection> {
    let url = terms.url_called(&request.target).ok_or(Rejection::NoPublicUrl)?;
    let (parameters, digest) = signed_parts(&request.headers, &url, &request.body)?;
    let url = as_twilio_may_see_it(&url).into_iter().min_by_key(String::len).unwrap_or(url);
    Ok(digest.is_none().then(|| body_sha256(&[url.as_bytes(), &parameters].concat())))
}

/// A message that was received has no other status, so its id alone is enough; of the others every status is a request
/// of its own. The token comes first although nobody signs it, because Twilio gives a retry the same one; what is sent
/// again under another token is known by its fingerprint.
fn identify(terms: &Terms, request: &Unverified) -> Result<Identity, Rejection> {
    let form = Form::of(&request.body);
    let is_form = read::is_form(&request.headers);
    let identity = match About::of(&form).filter(|_| is_form) {
        Some(About::Message { id, status: RECEIVED }) => Identity::of(Some(RECEIVED), Some(id)),
        Some(About::Call { id, status: None }) => Identity::of(Some("voice"), Some(id)),
        Some(
            About::Message { id, status } | About::Call { id, status: Some(status) } | About::Recording { id, status },
        ) => Identity::of(Some(status), Some(&format!("{id} {status}"))),
        None => Identity::of(None, None),
    };
    let token = read::optional_identity(&request.headers, TOKEN);
    Ok(Identity { id: token.or(identity.id), fingerprint: fingerprint(terms, request)?, ..identity })
}

fn sign(signing: &Signing<'_>, sample: &mut Sample) -> Result<(), &'static str> {
    let is_form = sample.fields().0 == "application/x-www-form-urlencoded";
    if !is_form {
        sample.query = format!("?{DIGEST}={}", read::to_hex(&body_sha256(&sample.body)));
    }
    let parameters = if is_form { parameters(&sample.body)? } else { Vec::new() };
    let url = format!("{}{}", signing.url, sample.query);
    let key = signing.secret.expose().as_bytes();
    let made = signature::sign(key, Algorithm::Sha1, &[url.as_bytes(), &parameters]);
    sample.set(SIGNATURE, read::to_base64(&made));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::{
        Context, Normalised, Options, Provider,
        tests::{NOW, URL, arrived, delivery, request, secret, signed, terms, with_header},
        verify,
    };

    const KEY: &str = "key";

    /// A request that is signed over this text.
    fn signed_over(algorithm: Algorithm, text: &str, target: &str, content_type: &str, body: &str) -> Unverified {
        let made = read::to_base64(&signature::sign(KEY.as_bytes(), algorithm, &[text.as_bytes()]));
        let fields = [(SIGNATURE, made.as_bytes()), ("Content-Type", content_type.as_bytes())];
        Unverified { target: target.to_owned(), headers: fields.into_iter().collect(), body: body.as_bytes().to_vec() }
    }

    const FORM: &str = "application/x-www-form-urlencoded";
    const JSON: &str = "application/json";

    #[test]
    fn parameters_are_decoded_sorted_and_each_once() {
        let check = |body: &[u8], expected: &[u8]| {
            let parameters = parameters(body).expect("few");
            assert_eq!(parameters.escape_ascii().to_string(), expected.escape_ascii().to_string());
        };
        check(b"b=2&a=1", b"a1b2");
        check(b"a=2&a=1&a=2", b"a1a2");
        check(b"To=1&ToC=2&B=&=&&c", b"BTo1ToC2c");
        check(b"a=b+c%2Bd%2b%zz%4", b"ab c+d+%zz%4");
        // Not text: U+FFFD in its place would be a signature over what was never sent.
        check(b"a=%ff%FE\xfd", b"a\xff\xfe\xfd");
        check(b"", b"");
    }

    #[test]
    fn settings_come_once_and_name_an_algorithm() {
        let good = signed_over(Algorithm::Sha256, &format!("{URL}/hooka1"), "/hook", FORM, "a=1");
        let mut request = with_header(&good, SETTINGS, Some(b"algorithm=hmac_sha256"));
        let terms = terms(Provider::Twilio, &[KEY]);
        assert_eq!(judge(&terms, &request, NOW), Ok(0));
        for (settings, why) in [(&b"algorithm=MD5"[..], "algorithm"), (b"\xff", "it is not text")] {
            let refused = judge(&terms, &with_header(&good, SETTINGS, Some(settings)), NOW).unwrap_err().to_string();
            assert!(refused.contains(SETTINGS) && refused.contains(why), "{refused}");
        }
        request.headers.push(SETTINGS, b"algorithm=HMAC_SHA256");
        assert_eq!(judge(&terms, &request, NOW), Err(Rejection::malformed(SETTINGS, "it came more than once")));
    }

    #[test]
    fn a_payload_of_one_s_own_is_a_form_or_json() {
        for (body, content_type) in [("From=%2B1&Body=a", FORM), ("{\"a\":1}", JSON)] {
            let sample = crate::provider::sample::for_payload(Provider::Twilio, "message", body.as_bytes().to_vec(), 7);
            let own = arrived(Provider::Twilio, signed(Provider::Twilio, sample));
            assert_eq!(judge(&terms(Provider::Twilio, &[KEY]), &own, NOW), Ok(0), "{body}");
            assert!(own.headers.text("Content-Type").is_some_and(|found| found.starts_with(content_type)), "{body}");
        }
    }

    #[test]
    fn a_form_has_no_more_parameters_than_are_read() {
        let terms = terms(Provider::Twilio, &[KEY]);
        let judged = |count: usize| {
            let (text, body) = (format!("{URL}/hooka1"), "a=1&".repeat(count));
            judge(&terms, &signed_over(Algorithm::Sha1, &text, "/hook", FORM, &body), NOW)
        };
        assert_eq!(judged(FIELDS_MAX), Ok(0));
        let refused = judged(FIELDS_MAX + 1).map_err(|why| (why.status(), why.to_string()));
        let why = format!("the form is malformed: it has more than {FIELDS_MAX} parameters");
        assert_eq!(refused, Err((401, why)));
    }

    #[test]
    fn a_form_has_no_more_bytes_than_twilio_s() {
        let terms = terms(Provider::Twilio, &[KEY]);
        let judged = |content_type: &str, bytes: usize| {
            let body = format!("a={}", "x".repeat(bytes - 2));
            let text = format!("{URL}/hooka{}", &body[2..]);
            judge(&terms, &signed_over(Algorithm::Sha1, &text, "/hook", content_type, &body), NOW)
        };
        assert_eq!(judged(FORM, FORM_BYTES_MAX), Ok(0));
        assert_eq!(judged(FORM, FORM_BYTES_MAX + 1), Err(Rejection::malformed("the form", "it has more than 4 MiB")));
    }

    #[test]
    fn one_signature_has_one_fingerprint() {
        let by = |target: &str, content_type: &str, body: &str, text: &str| {
            let request = signed_over(Algorithm::Sha1, text, target, content_type, body);
            let verified = verify(&terms(Provider::Twilio, &[KEY]), request, NOW).expect("signed");
            delivery(verified).into_parts().fingerprint
        };
        let signed = format!("{URL}/hookBodya bFrom+1");
        let expected = Some(body_sha256(signed.as_bytes()));
        // Another order, another spelling, a pair twice.
        for body in ["Body=a+b&From=%2B1", "From=%2b1&Body=a%20b", "From=%2B1&&Body=a+b&From=%2B1"] {
            assert_eq!(by("/hook", FORM, body, &signed), expected, "{body}");
            // Whether the port was signed makes no difference.
            let with_port = signed.replace("example.com/", "example.com:443/");
            assert_eq!(by("/hook", FORM, body, &with_port), expected, "{body}");
        }
        assert_ne!(by("/hook", FORM, "Body=a+b", &format!("{URL}/hookBodya b")), expected);
        // Nothing separates the URL from the parameters.
        let text = format!("{URL}/hook?a=1bc2");
        assert_eq!(by("/hook?a=1b", FORM, "c=2", &text), by("/hook?a=1", FORM, "b=c2", &text));
        // A body whose digest is signed is proven byte for byte; an empty one is proven by its URL.
        let target = format!("/hook?bodySHA256={}", read::to_hex(&body_sha256(b"{}")));
        assert_eq!(by(&target, JSON, "{}", &format!("{URL}{target}")), None);
        let bare = format!("{URL}/hook");
        assert_eq!(by("/hook", JSON, "", &bare), by("/hook", FORM, "&&", &bare));
    }

    #[test]
    fn ports_are_tried_with_and_without() {
        let check = |url: &str, other: &str| assert_eq!(as_twilio_may_see_it(url), [url, other]);
        check("https://a.example/x?y=http://z:1", "https://a.example:443/x?y=http://z:1");
        check("http://a.example", "http://a.example:80");
        check("https://a.example:8443/x", "https://a.example/x");
        check("https://u:p@a.example?x", "https://u:p@a.example:443?x");
        check("https://u:p@a.example:443/", "https://u:p@a.example/");
        check("https://[::1]/x", "https://[::1]:443/x");
        check("https://[::1]:1/x", "https://[::1]/x");
    }

    #[test]
    fn a_wrong_signature_names_the_url_without_what_is_secret_in_it() {
        let request = signed_over(Algorithm::Sha1, "else", "/hook?key=1", FORM, "a=1");
        let mut terms = terms(Provider::Twilio, &[KEY]);
        terms.public_url = Some("https://user:pass@a.example".to_owned());
        let url = "https://a.example/hook".to_owned();
        assert_eq!(judge(&terms, &request, NOW), Err(Rejection::SignatureWrongFor { url }));
        terms.public_url = None;
        assert_eq!(judge(&terms, &request, NOW), Err(Rejection::NoPublicUrl));
    }

    #[test]
    fn what_is_no_form_needs_its_digest_in_the_url() {
        let terms = terms(Provider::Twilio, &[KEY]);
        let digest = read::to_hex(&body_sha256(b"{}"));
        let with = format!("/hook?bodySHA256={digest}");
        let check = |target: &str, content_type: &str, body: &str, passes: bool| {
            let request = signed_over(Algorithm::Sha1, &format!("{URL}{target}"), target, content_type, body);
            let verdict = judge(&terms, &request, NOW);
            assert_eq!(verdict.is_ok(), passes, "{target} {content_type} {body}: {verdict:?}");
        };
        check(&with, JSON, "{}", true);
        check(&with, JSON, "{ }", false);
        check("/hook", JSON, "{}", false);
        check("/hook", "", "a=1", false);
        check("/hook", JSON, "", true);
        check("/hook", FORM, "", true);
        // The same signature must not carry less than was signed.
        check(&with, JSON, "", false);
        for less in ["", "&&", "="] {
            check(&with, FORM, less, false);
        }
        let changed = signed_over(Algorithm::Sha1, &format!("{URL}{with}"), &with, JSON, "[]");
        assert_eq!(judge(&terms, &changed, NOW), Err(Rejection::BodyChanged { place: "the URL's bodySHA256" }));
    }

    #[test]
    fn the_settings_name_the_algorithm() {
        let terms = terms(Provider::Twilio, &["other", KEY]);
        let check = |algorithm, settings: Option<&str>, passes: bool| {
            let request = signed_over(algorithm, &format!("{URL}/hooka1"), "/hook", FORM, "a=1");
            let request = with_header(&request, SETTINGS, settings.map(str::as_bytes));
            let verdict = judge(&terms, &request, NOW);
            assert_eq!(verdict.is_ok(), passes, "{algorithm:?} {settings:?}: {verdict:?}");
        };
        check(Algorithm::Sha1, None, true);
        check(Algorithm::Sha256, None, false);
        check(Algorithm::Sha256, Some("key=webhooks_sharedkey_1,algorithm=HMAC_SHA256"), true);
        check(Algorithm::Sha256, Some("algorithm = hmac_sha256"), true);
        check(Algorithm::Sha1, Some("key=k,algorithm=HMAC_SHA256"), false);
        check(Algorithm::Sha1, Some("key=k,algorithm=HMAC_SHA1"), true);
        check(Algorithm::Sha1, Some("key=k"), true);
        check(Algorithm::Sha256, Some("key=k"), false);
        check(Algorithm::Sha256, Some("algorithm=HMAC_SHA512"), false);
        check(Algorithm::Sha1, Some("algorithm=HMAC_SHA512"), false);
    }

    #[test]
    fn our_own_json_is_signed_with_its_digest() {
        let mut sample = Sample::json("studio", "{\"a\":1}");
        let (key, url) = (secret(KEY), format!("{URL}/webhooks/twilio"));
        sign(&Signing::new(&key, &url, NOW), &mut sample).expect("signed");
        let request = arrived(Provider::Twilio, sample);
        assert_eq!(judge(&terms(Provider::Twilio, &[KEY]), &request, NOW), Ok(0));
    }

    #[test]
    fn every_status_of_a_message_is_a_delivery_of_its_own() {
        let id_and_type = |body: &str, token: Option<&str>| {
            let headers: Headers = [("Content-Type", FORM.as_bytes())].into_iter().collect();
            let request = Unverified { target: String::new(), headers, body: body.as_bytes().to_vec() };
            let request = with_header(&request, TOKEN, token.map(str::as_bytes));
            let identity = identify(&terms(Provider::Twilio, &[KEY]), &request).expect("proven");
            format!("{} {:?}", identity.event_type, identity.id.unwrap_or_default())
        };
        let check = |body: &str, expected: &str| assert_eq!(id_and_type(body, None), expected, "{body}");
        check("MessageSid=SM1&SmsStatus=received&Body=hi", "received \"SM1\"");
        check("MessageSid=SM1&Body=hi", "received \"SM1\"");
        check("MessageSid=SM1&MessageStatus=sent", "sent \"SM1 sent\"");
        check("SmsSid=SM1&SmsStatus=failed", "failed \"SM1 failed\"");
        check("CallSid=CA1&CallStatus=completed", "completed \"CA1 completed\"");
        check("CallSid=CA1&Digits=1", "voice \"CA1\"");
        check("CallSid=CA1&RecordingSid=RE1&RecordingStatus=completed", "completed \"RE1 completed\"");
        check("a=1", "unknown \"\"");
        assert_eq!(id_and_type("MessageSid=SM1&MessageStatus=sent", Some("token-1")), "sent \"token-1\"");
        let verified = delivery(
            verify(&terms(Provider::Twilio, &[KEY]), request(Provider::Twilio, "sms_failed"), NOW).expect("signed"),
        );
        assert_eq!(verified.event_type(), "undelivered");
    }

    #[test]
    fn each_becomes_what_a_reader_of_the_documentation_expects() {
        let told = |body: &str| {
            let headers: Headers = [("Content-Type", FORM.as_bytes())].into_iter().collect();
            let context = Context { provider: Provider::Twilio, source: "desk", options: &Options::NONE };
            match normalise::normalise(&context, "unknown", &headers, body.as_bytes()) {
                Normalised::Events(events) | Normalised::Partly { events, .. } => {
                    let event = &events[0];
                    format!("{} {} {}: {}", event.kind, event.actor, event.repository, event.title)
                }
                Normalised::Skipped(why) | Normalised::Undecodable(why) => why,
            }
        };
        let check = |body: &str, expected: &str| assert_eq!(told(body), expected, "{body}");
        check("MessageSid=SM1&SmsStatus=received&From=%2B1&To=%2B2&Body=a+b", "sms_received +1 +2: a b");
        check(
            "MessageSid=SM1&SmsStatus=received&From=%2B1&NumMedia=2&Body=",
            "sms_received +1 twilio: 2 pictures or files",
        );
        check(
            "MessageSid=SM1&MessageStatus=undelivered&From=%2B2&To=%2B1&ErrorCode=30003",
            "sms_failed +2 +2: SMS to +1 undelivered: error 30003",
        );
        check("MessageSid=SM1&MessageStatus=sent", "a message that is sent: told are those received or failed");
        check(
            "CallSid=CA1&CallStatus=completed&From=%2B1&To=%2B2&CallDuration=42",
            "call_completed +1 +2: call from +1 to +2, 42 s",
        );
        check(
            "CallSid=CA1&CallStatus=busy&From=%2B2&To=%2B1&Direction=outbound-api",
            "call_missed +2 +2: call from +2 to +1: busy",
        );
        check("CallSid=CA1&CallStatus=ringing", "a call that is ringing: told are those that ended");
        check("CallSid=CA1&Digits=1", "a step of a call, without its status");
        check("CallSid=CA1&RecordingSid=RE1&RecordingStatus=completed", "a recording of a call");
        check("", "about neither a message nor a call");
    }
}
