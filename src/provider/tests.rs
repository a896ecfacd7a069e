//! All providers against requests that others recorded, and against what nobody would send. What is one provider's own
//! is tested in its file.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{sample::Sample, *};
use crate::secret::Secret;

pub(super) const NOW: Timestamp = Timestamp::from_ms(1_760_000_000_000);

pub(super) const URL: &str = "https://hooks.example.com";

pub(super) fn secret(text: &str) -> Secret {
    Secret::new(text.to_owned()).expect("a secret")
}

pub(super) fn headers(fields: &[(String, String)]) -> Headers {
    fields.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect()
}

/// What signs a provider's samples, and what the receiver has of it.
pub(super) fn keys(provider: Provider) -> (Secret, Secret) {
    match provider.name() {
        // Base64 of 24 bytes, without padding: another last letter is another key.
        "gitlab" | "standardwebhooks" | "svix" => {
            let key = "whsec_YSBrZXkgb2YgMjQgYnl0ZXMgb25seSEh";
            (secret(key), secret(key))
        }
        "sendgrid" => (secret(P256_PRIVATE), secret(P256_PUBLIC)),
        "discord" => (secret(ED25519_SEED), secret(ED25519_PUBLIC)),
        _ => (secret("key"), secret("key")),
    }
}

/// A pair that was made for these tests and opens nothing: PKCS #8, and the public key as SendGrid shows it.
const P256_PRIVATE: &str = "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg4mzqUh9ayNFtbIydn7w9QVtp2cVLfg/ZT7fY1KElqMGhRANC\
                            AATpmdZXGvvQYRDWaM4A8QYmGoXNZkWzh6p9K5Wm/4fRmgSFAtcFbKorRMoZP7K8NamgD0C/J5NRPwpr/1srA9t6";
const P256_PUBLIC: &str = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE6ZnWVxr70GEQ1mjOAPEGJhqFzWZFs4eqfSuVpv+H0ZoEhQLXBWyqK0TKGT+y\
                           vDWpoA9AvyeTUT8Ka/9bKwPbeg==";

/// The first pair of RFC 8032 § 7.1.
const ED25519_SEED: &str = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
const ED25519_PUBLIC: &str = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";

/// Terms that need no more than `secrets`.
pub(super) fn terms(provider: Provider, secrets: &[&str]) -> Terms {
    let secrets = secrets.iter().map(|text| secret(text)).collect();
    Terms { public_url: Some(URL.to_owned()), ..Terms::new(provider, secrets) }
}

/// The receiver of the samples.
pub(super) fn own_terms(provider: Provider) -> Terms {
    terms(provider, &[keys(provider).1.expose()])
}

/// Signs a sample as of [`NOW`].
pub(super) fn signed(provider: Provider, mut sample: Sample) -> Sample {
    let (key, _) = keys(provider);
    let url = format!("{URL}/webhooks/{provider}");
    let signing = Signing::new(&key, &url, NOW);
    sample.sign(provider, &signing).unwrap_or_else(|why| panic!("{provider}: {why}"));
    sample
}

/// A sample as a request.
pub(super) fn arrived(provider: Provider, sample: Sample) -> Unverified {
    let target = format!("/webhooks/{provider}{}", sample.query);
    Unverified { target, headers: headers(&sample.headers), body: sample.body }
}

/// A signed sample as a request.
pub(super) fn request(provider: Provider, name: &str) -> Unverified {
    let sample = sample::build(provider, name, 7).unwrap_or_else(|| panic!("{provider} has no sample {name}"));
    arrived(provider, signed(provider, sample))
}

/// The same request with another value of this header, or without it.
pub(super) fn with_header(request: &Unverified, name: &str, value: Option<&[u8]>) -> Unverified {
    let mut headers = Headers::new();
    for (field, old) in request.headers.iter().filter(|(field, _)| !field.eq_ignore_ascii_case(name)) {
        headers.push(field, old);
    }
    if let Some(value) = value {
        headers.push(name, value);
    }
    Unverified { headers, ..request.clone() }
}

pub(super) fn delivery(verified: Verified) -> Delivery {
    match verified {
        Verified::Delivery(delivery) => delivery,
        Verified::Handshake(handshake) => panic!("{handshake:?}"),
    }
}

/// The file of recorded requests.
fn file(provider: Provider) -> &'static str {
    match provider.name() {
        "forgejo" => "gitea",
        name => name,
    }
}

/// What a vector describes: the receiver and the request.
pub(super) fn recorded(provider: Provider, vector: &Value) -> (Terms, Unverified) {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let config = &vector["config"];
    let mut texts = vector["secrets"].as_array().cloned().unwrap_or_else(|| vec![vector["secret"].clone()]);
    texts.extend([vector["public_key"].clone(), config["gitlab_secret_token"].clone()]);
    let secrets = texts.iter().filter_map(|text| Secret::new(text.as_str()?.to_owned())).collect();
    let body = match (&vector["body"], &vector["body_base64"], &vector["body_gen"]) {
        (Value::String(text), _, _) => text.clone().into_bytes(),
        (_, Value::String(text), _) => vectors::base64(text),
        (_, _, generated) => {
            let part = |key: &str| generated[key].as_str().unwrap_or_default();
            let count = usize::try_from(generated["count"].as_u64().unwrap_or(0)).expect("a count");
            format!("{}{}{}", part("prefix"), part("unit").repeat(count), part("suffix")).into_bytes()
        }
    };
    let fields = vector["headers"].as_object().expect("headers").iter();
    let fields = fields.map(|(name, value)| (name.as_str(), value.as_str().expect("a text").as_bytes()));
    let options = Options {
        allow_sha1: config["allow_sha1"].as_bool().unwrap_or_default(),
        tolerance: vector["tolerance_s"].as_u64().map(std::time::Duration::from_secs),
        header: text(&config["header"]),
        prefix: text(&config["prefix"]),
        algorithm: text(&config["algorithm"]).map(|name| match name.as_str() {
            "sha1" => Proof::Hmac(Algorithm::Sha1),
            "sha256" => Proof::Hmac(Algorithm::Sha256),
            "sha512" => Proof::Hmac(Algorithm::Sha512),
            other => panic!("no algorithm {other}"),
        }),
        encoding: text(&config["encoding"]).map(|name| match name.as_str() {
            "hex" => Encoding::Hex,
            "base64" => Encoding::Base64,
            other => panic!("no encoding {other}"),
        }),
        timestamp_header: text(&config["timestamp_header"]),
        ..Options::default()
    };
    let terms = Terms { options, ..Terms::new(provider, secrets) };
    let target = text(&vector["url"]).unwrap_or_else(|| format!("/webhooks/{provider}"));
    (terms, Unverified { target, headers: fields.collect(), body })
}

/// The recorded requests of a provider.
fn recordings(provider: Provider) -> Vec<Value> {
    // Nobody publishes requests of those that sign nothing; they are tested in their own files.
    if matches!(provider.name(), "alertmanager" | "datadog") {
        return Vec::new();
    }
    vectors::cases(&format!("vectors/{}.json", file(provider)), "vectors", file(provider))
}

#[test]
fn judges_as_the_official_sdks_do() {
    for &provider in Provider::ALL {
        let cases = recordings(provider);
        println!("{provider}: {} vectors", cases.len());
        for vector in &cases {
            let (terms, request) = recorded(provider, vector);
            let now = Timestamp::from_ms(vector["now"].as_i64().unwrap_or(0) * 1000);
            let verdict = judge(&terms, &request, now);
            let (id, expect) = (&vector["id"], vector["expect"].as_str().expect("a verdict"));
            if vector["accept_either"] == true {
                continue;
            }
            assert_eq!(verdict.is_ok(), expect == "valid", "{id}: {verdict:?}, expected {expect}");
            // The head's judgement comes first, and never contradicts the whole's.
            if verdict.is_ok() {
                assert_eq!(admit(&terms, &request.headers), Ok(()), "{id}");
            }
        }
    }
}

#[test]
fn identifies_as_recorded() {
    for &provider in Provider::ALL {
        let cases = vectors::cases("dedup_expect.json", "cases", file(provider));
        let vectors = recordings(provider);
        // Where each event has an id of its own, the delivery has none.
        for case in cases.iter().filter(|case| !case["delivery_id"].is_array()) {
            let vector = vectors.iter().find(|vector| vector["id"] == case["vector"]).expect("the vector");
            let (terms, request) = recorded(provider, vector);
            let now = Timestamp::from_ms(vector["now"].as_i64().unwrap_or(0) * 1000);
            if let Verified::Delivery(delivery) = verify(&terms, request, now).expect("a valid vector") {
                let id = case["delivery_id"].as_str().map_or_else(|| case["delivery_id"].to_string(), str::to_owned);
                assert_eq!(id, delivery.id().unwrap_or_default(), "{}", case["vector"]);
                assert_eq!(case["event_type"], delivery.event_type(), "{}", case["vector"]);
            }
        }
    }
}

#[test]
fn handshakes_are_answered_as_recorded() {
    let Some(file) = vectors::json("handshakes.json") else { return };
    for case in file["cases"].as_array().expect("cases") {
        let found = Provider::ALL.iter().find_map(|&provider| {
            let vector = recordings(provider).into_iter().find(|vector| vector["id"] == case["vector"])?;
            Some((provider, vector))
        });
        let Some((provider, vector)) = found else { continue };
        let (terms, request) = recorded(provider, &vector);
        let now = Timestamp::from_ms(vector["now"].as_i64().unwrap_or(0) * 1000);
        let verdict = verify(&terms, request, now);
        let id = &case["vector"];
        let (status, body) = match &verdict {
            Ok(Verified::Handshake(handshake)) => (handshake.status, handshake.body.as_str()),
            Ok(Verified::Delivery(_)) => (200, ""),
            Err(rejection) => (rejection.status(), ""),
        };
        match &case["expect_status"] {
            Value::Number(expected) => assert_eq!(expected.as_u64(), Some(u64::from(status)), "{id}"),
            Value::String(expected) => assert!(expected.starts_with(&status.to_string()[..1]), "{id}: {status}"),
            other => panic!("{id}: {other}"),
        }
        assert_eq!(case["emit_event"] == false && status < 300, matches!(verdict, Ok(Verified::Handshake(_))), "{id}");
        if let Some(part) = case["expect_body_contains"].as_str() {
            assert!(body.contains(part), "{id}: {body}");
        }
        if case["expect_json"].is_object() {
            assert_eq!(serde_json::from_str::<Value>(body).ok().as_ref(), Some(&case["expect_json"]), "{id}");
        }
    }
}

#[test]
fn no_changed_signature_passes() {
    for &provider in Provider::ALL {
        let Some((name, _)) = sample::list(provider).first() else { panic!("{provider} has no samples") };
        let bare = sample::build(provider, name, 7).expect("listed");
        let sample = signed(provider, bare.clone());
        let good = arrived(provider, sample.clone());
        let terms = own_terms(provider);
        assert_eq!(judge(&terms, &good, NOW), Ok(0), "{provider}");
        assert_eq!(judge(&Terms { secrets: Vec::new(), ..terms.clone() }, &good, NOW), Err(Rejection::NoSecret));
        let proofs: Vec<_> = sample.headers.iter().filter(|field| !bare.headers.contains(field)).collect();
        assert!(!proofs.is_empty(), "{provider}");
        for (header, value) in proofs {
            let refused = |changed: &[u8]| {
                let request = with_header(&good, header, Some(changed));
                let verdict = judge(&terms, &request, NOW);
                assert!(verdict.is_err(), "{provider} {header}: {}", changed.escape_ascii());
            };
            let value = value.as_bytes();
            for length in 0..value.len() {
                refused(&value[..length]);
                refused(&value[value.len() - length..]);
            }
            for bit in 0..value.len() * 8 {
                let mut flipped = value.to_vec();
                flipped[bit / 8] ^= 1 << (bit % 8);
                // Some senders document digits of either case.
                if !flipped.eq_ignore_ascii_case(value) {
                    refused(&flipped);
                }
            }
            refused(&[value, b"0"].concat());
            assert!(judge(&terms, &with_header(&good, header, None), NOW).is_err(), "{provider}: without {header}");
            let mut twice = good.clone();
            twice.headers.push(header, value);
            assert!(judge(&terms, &twice, NOW).is_err(), "{provider}: {header} twice");
        }
        if is_body_proven(provider) {
            for index in 0..good.body.len() {
                let mut changed = good.clone();
                changed.body[index] ^= 1;
                assert!(judge(&terms, &changed, NOW).is_err(), "{provider}: byte {index} of the body");
            }
        }
    }
}

/// Whether the proof covers the body; a shared token proves who speaks and not what is said.
fn is_body_proven(provider: Provider) -> bool {
    !matches!(provider.name(), "telegram" | "alertmanager" | "datadog")
}

#[test]
fn a_rotation_names_the_secret_that_signed() {
    for &provider in Provider::ALL {
        let (_, own) = keys(provider);
        let Some((name, _)) = sample::list(provider).first() else { panic!("{provider} has no samples") };
        let mut other = own.expose().to_owned();
        // Still a key where keys have a form.
        let last = other.pop().map_or('b', |last| if last == 'B' { 'C' } else { 'B' });
        other.push(last);
        let mut terms = own_terms(provider);
        terms.secrets = vec![secret(&other), own];
        assert_eq!(judge(&terms, &request(provider, name), NOW).ok(), Some(1), "{provider}");
    }
}

#[test]
fn reads_every_recorded_payload() {
    let mut counts = BTreeMap::<String, usize>::new();
    for &provider in Provider::ALL {
        let folder = format!("payloads/{provider}/");
        let cases = vectors::json("payloads/manifest.json").map(|mut file| file["files"].take());
        for case in cases.as_ref().and_then(Value::as_array).into_iter().flatten() {
            let file = case["file"].as_str().expect("a file");
            // GitHub Enterprise Server's are kept apart and follow the same rules.
            if !file.replace("github-ghes/", "github/").starts_with(&folder) {
                continue;
            }
            let fields = case["headers"].as_object().expect("headers").iter();
            let fields: Headers =
                fields.map(|(name, value)| (name.as_str(), value.as_str().expect("a text").as_bytes())).collect();
            let event_type = case["event"].as_str().unwrap_or("unknown");
            let context = Context { provider, source: "desk", options: &Options::NONE };
            let result = normalise(&context, event_type, &fields, &vectors::bytes(file));
            let told = match &result {
                Normalised::Events(events) | Normalised::Partly { events, .. } => {
                    assert!(!events.is_empty(), "{file}");
                    events.iter().for_each(|event| check_shape(event, file));
                    events.iter().map(|event| event.kind.as_str()).collect::<Vec<_>>().join("+")
                }
                Normalised::Skipped(why) => {
                    assert!(why.len() > 4, "{file}");
                    "skipped".to_owned()
                }
                Normalised::Undecodable(why) => panic!("{file}: {why}"),
            };
            if std::env::var_os("HOOKBELL_SHOW").is_some() {
                println!("{file}: {result:?}");
            }
            *counts.entry(format!("{provider} {told}")).or_default() += 1;
        }
    }
    println!("{counts:#?}");
}

/// What every event keeps to, whatever it was made from.
pub(super) fn check_shape(event: &Event, context: &str) {
    assert!(KINDS.contains(&event.kind.as_str()), "{context}: {}", event.kind);
    assert_ne!(event.kind, crate::event::CI_FIXED, "{context}: what came before is for the router to know");
    for text in [&event.actor, &event.repository, &event.title] {
        assert!(!text.trim().is_empty() && text.chars().count() <= 300, "{context}: {event:?}");
        assert!(!text.contains(char::is_control), "{context}: {event:?}");
    }
    assert!(event.url.as_ref().is_none_or(|url| url.starts_with("http")), "{context}: {event:?}");
    for key in event.extra.keys() {
        assert!(FACTS.contains(&key.as_str()), "{context}: {key} is not in FACTS");
    }
}

#[test]
fn a_malformed_field_costs_no_delivery() {
    let junk = ["null", "-1.5e300", "18446744073709551615", "\"\"", "\"a\\u0000b\"", "[]", "[[1]]", "{}", "true"];
    let junk = junk.map(|text| serde_json::from_str::<Value>(text).expect("JSON"));
    for &provider in Provider::ALL {
        let context = Context { provider, source: "desk", options: &Options::NONE };
        for (name, _) in sample::list(provider) {
            let sample = sample::build(provider, name, 3).expect("listed");
            // Forms have no fields of the wrong type.
            let Ok(whole) = serde_json::from_slice::<Value>(&sample.body) else { continue };
            let check = |changed: &Value, path: &str| {
                let body = changed.to_string().into_bytes();
                match normalise(&context, &sample.event_type, &headers(&sample.headers), &body) {
                    Normalised::Events(events) | Normalised::Partly { events, .. } => {
                        events.iter().for_each(|event| check_shape(event, path));
                    }
                    Normalised::Skipped(why) => assert!(!why.is_empty()),
                    Normalised::Undecodable(why) => panic!("{provider} {name}{path}: {why}"),
                }
            };
            for path in paths(&whole) {
                for value in &junk {
                    let mut changed = whole.clone();
                    *changed.pointer_mut(&path).expect("the path is from this value") = value.clone();
                    check(&changed, &path);
                }
                let (parent, key) = path.rsplit_once('/').expect("below the top");
                let mut changed = whole.clone();
                if let Some(Value::Object(parent)) = changed.pointer_mut(parent) {
                    parent.remove(key);
                }
                check(&changed, &path);
            }
            let nothing = if whole.is_array() { Value::Array(Vec::new()) } else { serde_json::json!({}) };
            check(&nothing, "nothing at all");
        }
        // Whatever a proven sender sends is answered in words, never by a panic.
        for body in [&b""[..], b"\xff\xfe", b"null", b"[]", b"{", b"a=b&c", b"[[[[", b"{}\r\n", b"\"text\"", b"0"] {
            for content_type in ["application/json", "application/x-www-form-urlencoded", ""] {
                let headers: Headers = [("Content-Type", content_type.as_bytes())].into_iter().collect();
                normalise(&context, "unknown", &headers, body);
            }
        }
    }
}

/// The JSON pointers of everything below the top.
fn paths(value: &Value) -> Vec<String> {
    let children: Vec<(String, &Value)> = match value {
        Value::Object(fields) => fields.iter().map(|(key, value)| (key.clone(), value)).collect(),
        Value::Array(values) => values.iter().enumerate().map(|(index, value)| (index.to_string(), value)).collect(),
        _ => Vec::new(),
    };
    let below = |(key, value): (String, &Value)| {
        let own = format!("/{key}");
        let deeper: Vec<String> = paths(value).into_iter().map(|path| format!("{own}{path}")).collect();
        [vec![own], deeper].concat()
    };
    children.into_iter().flat_map(below).collect()
}

#[test]
fn samples_are_accepted_told_and_fresh() {
    for &provider in Provider::ALL {
        for (name, about) in sample::list(provider) {
            assert!(!about.is_empty());
            let one = sample::build(provider, name, 1).expect("listed");
            let two = sample::build(provider, name, 2).expect("listed");
            assert_eq!(one, sample::build(provider, name, 1).expect("listed"));
            assert_ne!(body_sha256(&one.body), body_sha256(&two.body), "{provider} {name}");
            let first = verify(&own_terms(provider), arrived(provider, signed(provider, one)), NOW);
            let second = verify(&own_terms(provider), arrived(provider, signed(provider, two)), NOW);
            let (first, second) = match (first, second) {
                (Ok(Verified::Delivery(first)), Ok(Verified::Delivery(second))) => (first, second),
                (Ok(Verified::Handshake(_)), Ok(Verified::Handshake(_))) => continue,
                other => panic!("{provider} {name}: {other:?}"),
            };
            assert!(first.id().is_none() || first.id() != second.id(), "{provider} {name}");
            let parts = first.into_parts();
            let context = Context { provider, source: "desk", options: &Options::NONE };
            match normalise(&context, &parts.event_type, &parts.headers, &parts.body) {
                Normalised::Events(events) | Normalised::Partly { events, .. } => {
                    check_shape(&events[0], name);
                    // Samples are named after what they are told as.
                    assert_eq!((events[0].kind.as_str(), events[0].source.as_str()), (*name, "desk"), "{provider}");
                    assert_ne!(events[0].title, crate::event::NO_TITLE, "{provider} {:?}", events[0]);
                }
                Normalised::Skipped(why) => assert!(!KINDS.contains(name), "{provider} {name}: {why}"),
                Normalised::Undecodable(why) => panic!("{provider} {name}: {why}"),
            }
        }
        assert_eq!(sample::build(provider, "no such thing", 1), None);
    }
}

/// Whoever tries a red light wants to see it go out: the next sample that passes is of the same checks, and no older.
#[test]
fn a_sample_that_passes_ends_one_that_failed() {
    for &provider in Provider::ALL.iter().filter(|provider| provider.name() != "generic") {
        let context = Context { provider, source: "desk", options: &Options::NONE };
        let told = |name: &str, salt: u64| {
            let sample = sample::build(provider, name, salt)?;
            match normalise(&context, &sample.event_type, &headers(&sample.headers), &sample.body) {
                Normalised::Events(events) => events.into_iter().next(),
                other => panic!("{provider} {name}: {other:?}"),
            }
        };
        for salt in 0..20 {
            let (Some(failed), Some(passed)) = (told("ci_failed", salt), told("ci_passed", salt + 1)) else { continue };
            let (failed, passed) = (failed.run().expect("a run"), passed.run().expect("a run"));
            assert_eq!((failed.subject, failed.what), (passed.subject, passed.what), "{provider}");
            assert!(failed.number <= passed.number, "{provider}: {failed:?}, {passed:?}");
        }
    }
}

/// The door's threads have small stacks, and there may be hundreds: what they do with a request must not need much.
#[test]
fn the_door_s_part_needs_little_stack() {
    for &provider in Provider::ALL {
        for (name, _) in sample::list(provider) {
            let (terms, request) = (own_terms(provider), request(provider, name));
            let verified = crate::threads::spawn("small", 96 * 1024, move || verify(&terms, request, NOW).is_ok());
            assert!(verified.expect("a thread").join().expect("no panic"), "{provider} {name}");
        }
    }
}

#[test]
fn names_are_those_of_the_contract_and_each_once() {
    let names: std::collections::BTreeSet<_> = Provider::ALL.iter().map(|provider| provider.name()).collect();
    assert_eq!(names.len(), Provider::ALL.len());
    for &provider in Provider::ALL {
        assert_eq!(Provider::from_name(provider.name()), Some(provider));
        assert!(!provider.about().is_empty());
    }
    assert_eq!(Provider::from_name("paypal"), None);
}
