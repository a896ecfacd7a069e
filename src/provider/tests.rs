//! The providers against requests that others recorded, and against what nobody would send.

use std::collections::BTreeMap;

use serde_json::Value;

use super::*;

const NOW: Timestamp = Timestamp::from_ms(1_760_000_000_000);

fn secret(text: &str) -> Secret {
    Secret::new(text.to_owned()).expect("a secret")
}

fn headers(fields: &[(String, String)]) -> Headers {
    fields.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect()
}

/// A signed sample as a request.
fn request(name: &str, key: &Secret) -> Unverified {
    let mut sample = sample::build(Provider::GitHub, name, 7).expect("a sample of that name");
    sample::sign(Provider::GitHub, key, &mut sample.headers, &sample.body);
    Unverified { target: "/webhooks/github".to_owned(), headers: headers(&sample.headers), body: sample.body }
}

fn with_header(request: &Unverified, name: &str, value: Option<&[u8]>) -> Unverified {
    let mut headers = Headers::new();
    for (field, old) in request.headers.iter().filter(|(field, _)| !field.eq_ignore_ascii_case(name)) {
        headers.push(field, old);
    }
    if let Some(value) = value {
        headers.push(name, value);
    }
    Unverified { headers, ..request.clone() }
}

/// What a vector describes.
fn recorded(vector: &Value) -> (Vec<Secret>, Unverified) {
    let texts = vector["secrets"].as_array().cloned().unwrap_or_else(|| vec![vector["secret"].clone()]);
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
    (secrets, Unverified { target: "/webhooks/github".to_owned(), headers: fields.collect(), body })
}

#[test]
fn judges_as_the_official_sdks_do() {
    for provider in Provider::ALL {
        let file = format!("vectors/{}.json", provider.name());
        let cases = vectors::cases(&file, "vectors", provider.name());
        println!("{}: {} vectors", provider.name(), cases.len());
        for vector in &cases {
            let (secrets, request) = recorded(vector);
            let now = Timestamp::from_ms(vector["now"].as_i64().unwrap_or(0) * 1000);
            let verdict = judge(*provider, &secrets, &request, now);
            let (id, expect) = (&vector["id"], vector["expect"].as_str().expect("a verdict"));
            if vector["accept_either"] == true {
                continue;
            }
            assert_eq!(verdict.is_ok(), expect == "valid", "{id}: {verdict:?}, expected {expect}");
            let kind = match (&verdict, expect) {
                (Err(Rejection::SignatureWrong), "invalid:bad_signature") => true,
                (Err(Rejection::SignatureMissing { .. }), "invalid:missing_header") => true,
                (Err(Rejection::SignatureMalformed { .. }), "invalid:malformed_header") => true,
                (Err(Rejection::NoSecret), "invalid:missing_secret") => true,
                // Only a SHA-1 came, and it is wrong too: to us it is missing.
                (Err(Rejection::SignatureMissing { instead: Some(_), .. }), _) => true,
                (verdict, _) => verdict.is_ok(),
            };
            assert!(kind, "{id}: {verdict:?}, expected {expect}");
            let head_alone = admit(*provider, &request.headers);
            if matches!(verdict, Ok(_) | Err(Rejection::SignatureWrong)) {
                assert_eq!(head_alone, Ok(()), "{id}");
            } else if !secrets.is_empty() {
                assert_eq!(head_alone.err(), verdict.err(), "{id}");
            }
        }
    }
}

#[test]
fn identifies_as_recorded() {
    for provider in Provider::ALL {
        let cases = vectors::cases("dedup_expect.json", "cases", provider.name());
        let vectors = vectors::cases(&format!("vectors/{}.json", provider.name()), "vectors", provider.name());
        for case in &cases {
            let vector = vectors.iter().find(|vector| vector["id"] == case["vector"]).expect("the vector");
            let (secrets, request) = recorded(vector);
            let delivery = verify(*provider, &secrets, request, NOW).expect("a valid vector");
            assert_eq!(case["delivery_id"], delivery.id().unwrap_or_default(), "{}", case["vector"]);
            assert_eq!(case["event_type"], delivery.event_type(), "{}", case["vector"]);
        }
    }
}

#[test]
fn the_proof_comes_before_the_identity() {
    let key = secret("key");
    let good = request("pr_opened", &key);
    let check = |request: Unverified, expected: Result<(), (u16, &str)>| {
        let verdict = verify(Provider::GitHub, &[secret("old"), key.clone()], request, NOW);
        match (verdict, expected) {
            (Ok(delivery), Ok(())) => assert_eq!((delivery.verified_by(), delivery.event_type()), (1, "pull_request")),
            (Err(rejection), Err((status, reason))) => {
                assert_eq!(rejection.status(), status, "{rejection}");
                assert!(rejection.to_string().contains(reason), "{rejection}");
            }
            (verdict, expected) => panic!("{verdict:?}, expected {expected:?}"),
        }
    };
    check(good.clone(), Ok(()));
    check(with_header(&good, "X-Hub-Signature-256", None), Err((401, "missing or empty")));
    let legacy = with_header(&with_header(&good, "X-Hub-Signature-256", None), "X-Hub-Signature", Some(b"sha1=00"));
    check(legacy, Err((401, "only the legacy SHA-1 header")));
    check(with_header(&good, "X-GitHub-Event", None), Err((400, "X-GitHub-Event is missing")));
    check(with_header(&good, "X-GitHub-Delivery", None), Err((400, "X-GitHub-Delivery is missing")));
    check(with_header(&good, "X-GitHub-Delivery", Some(b"")), Err((400, "is missing")));
    check(with_header(&good, "X-GitHub-Delivery", Some(&[b'a'; 201])), Err((400, "too long")));
    check(with_header(&good, "X-GitHub-Event", Some("push\u{e9}".as_bytes())), Err((400, "printable")));
    check(with_header(&good, "X-GitHub-Event", Some(b"a\nb")), Err((400, "printable")));
    check(Unverified { body: b"{}".to_vec(), ..good.clone() }, Err((401, "does not match")));
    let mut twice = good.clone();
    let value = twice.headers.text("X-Hub-Signature-256").expect("signed").to_owned();
    twice.headers.push("x-hub-signature-256", value.as_bytes());
    check(twice, Err((401, "more than once")));
    // Unproven and unidentified: the sender learns of the proof alone.
    let neither = with_header(&with_header(&good, "X-GitHub-Event", None), "X-Hub-Signature-256", None);
    check(neither, Err((401, "missing or empty")));
    assert_eq!(judge(Provider::GitHub, &[], &good, NOW), Err(Rejection::NoSecret));
}

#[test]
fn no_changed_signature_passes() {
    let key = secret("key");
    let good = request("push", &key);
    let value = good.headers.text("X-Hub-Signature-256").expect("signed").as_bytes().to_vec();
    let refused = |value: &[u8]| {
        let verdict = judge(
            Provider::GitHub,
            std::slice::from_ref(&key),
            &with_header(&good, "X-Hub-Signature-256", Some(value)),
            NOW,
        );
        assert!(verdict.is_err(), "{}", value.escape_ascii());
    };
    for length in 0..value.len() {
        refused(&value[..length]);
        refused(&value[value.len() - length..]);
    }
    for bit in 0..value.len() * 8 {
        let mut flipped = value.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        // A blank at an end is trimmed by the header's own rules; it is still no digit.
        refused(&flipped);
    }
    refused(&[&value[..], b"0"].concat());
    refused(&[&value[..], b",", &value[..]].concat());
    for index in 0..good.body.len() {
        let mut changed = good.clone();
        changed.body[index] ^= 1;
        assert_eq!(judge(Provider::GitHub, std::slice::from_ref(&key), &changed, NOW), Err(Rejection::SignatureWrong));
    }
}

#[test]
fn reads_every_recorded_payload() {
    let mut counts = BTreeMap::<String, usize>::new();
    // GitHub Enterprise Server's are kept apart and follow the same rules.
    let recorded = ["github", "github-ghes"].map(|name| vectors::cases("payloads/manifest.json", "files", name));
    for case in recorded.concat() {
        let file = case["file"].as_str().expect("a file");
        let fields = case["headers"].as_object().expect("headers").iter();
        let fields: Headers =
            fields.map(|(name, value)| (name.as_str(), value.as_str().expect("a text").as_bytes())).collect();
        let event_type = case["event"].as_str().expect("an event");
        let result = normalise(Provider::GitHub, "github", event_type, &fields, &vectors::bytes(file));
        let told = match &result {
            Normalised::Events(events) => {
                for event in events {
                    check_shape(event, file);
                }
                events.iter().map(|event| event.kind.as_str()).collect::<Vec<_>>().join("+")
            }
            Normalised::Skipped(why) => {
                assert!(why.len() > 4, "{file}");
                "skipped".to_owned()
            }
            Normalised::Undecodable(why) => panic!("{file}: {why}"),
        };
        let action = case["action"].as_str().unwrap_or_default();
        if let Some(expected) = well_known(event_type, action, file) {
            assert_eq!(told, expected, "{file}");
        }
        if std::env::var_os("HOOKBELL_SHOW").is_some() {
            println!("{file}: {result:?}");
        }
        *counts.entry(told).or_default() += 1;
    }
    println!("{counts:#?}");
}

/// What any reader of GitHub's documentation would say; `None` where the payload's details decide.
fn well_known(event_type: &str, action: &str, file: &str) -> Option<&'static str> {
    Some(match (event_type, action) {
        ("issues", "opened") => "issue_opened",
        ("issues", "closed") => "issue_closed",
        ("issues", "assigned") => "issue_assigned",
        ("pull_request", "opened") => "pr_opened",
        ("pull_request", "ready_for_review") => "pr_ready",
        ("pull_request", "reopened") => "pr_reopened",
        ("pull_request", "closed") if file.ends_with("github/pull_request.closed.json") => "pr_merged",
        ("pull_request", "closed") if file.ends_with("github/pull_request.closed.2.json") => "pr_closed",
        ("pull_request_review_comment", "created") => "pr_commented",
        ("star", "created") => "repo_starred",
        ("watch", "started") => "repo_watched",
        ("fork", _) => "repo_forked",
        ("release", "published") => "release_published",
        ("discussion", "created") => "discussion_opened",
        ("member", "added") | ("organization", "member_added") => "member_added",
        ("repository_vulnerability_alert", "create") | ("code_scanning_alert", "reopened") => "security_alert",
        ("create", _) if file.ends_with("github/create.6.json") => "branch_created",
        ("push", _) if file.ends_with("github/push.6.json") => "push",
        ("push", _) if file.ends_with("github/push.7.json") => "skipped",
        ("check_suite", "completed") if file.ends_with("github/check_suite.completed.json") => "ci_passed",
        ("check_suite", "completed") if file.ends_with("github/check_suite.completed.2.json") => "skipped",
        ("workflow_run", "completed") if file.ends_with("github/workflow_run.completed.json") => "ci_passed",
        ("workflow_job" | "check_run" | "status" | "ping" | "installation" | "label" | "team", _) => "skipped",
        ("issues", "labeled" | "edited" | "locked") | ("pull_request", "synchronize" | "labeled") => "skipped",
        _ => return None,
    })
}

/// What every event keeps to, whatever it was made from.
fn check_shape(event: &Event, context: &str) {
    assert!(KINDS.contains(&event.kind.as_str()), "{context}: {}", event.kind);
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
    for (name, _) in sample::list(Provider::GitHub) {
        let sample = sample::build(Provider::GitHub, name, 3).expect("listed");
        let whole: Value = serde_json::from_slice(&sample.body).expect("JSON");
        let check = |changed: &Value, path: &str| {
            let body = changed.to_string().into_bytes();
            match normalise(Provider::GitHub, "github", &sample.event_type, &headers(&sample.headers), &body) {
                Normalised::Events(events) => events.iter().for_each(|event| check_shape(event, path)),
                Normalised::Skipped(why) => assert!(!why.is_empty()),
                Normalised::Undecodable(why) => panic!("{name}{path}: {why}"),
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
        check(&serde_json::json!({}), "nothing at all");
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
    let key = secret("key");
    for (name, about) in sample::list(Provider::GitHub) {
        assert!(!about.is_empty());
        let one = sample::build(Provider::GitHub, name, 1).expect("listed");
        let two = sample::build(Provider::GitHub, name, 2).expect("listed");
        assert_eq!(one, sample::build(Provider::GitHub, name, 1).expect("listed"));
        assert_ne!(body_sha256(&one.body), body_sha256(&two.body), "{name}");
        assert_ne!(headers(&one.headers).text("X-GitHub-Delivery"), headers(&two.headers).text("X-GitHub-Delivery"));
        let delivery = verify(Provider::GitHub, std::slice::from_ref(&key), request(name, &key), NOW).expect("signed");
        assert_eq!(delivery.event_type(), one.event_type);
        let parts = delivery.into_parts();
        match normalise(parts.provider, "desk", &parts.event_type, &parts.headers, &parts.body) {
            Normalised::Events(events) => {
                check_shape(&events[0], name);
                assert_eq!((events[0].kind.as_str(), events[0].source.as_str()), (*name, "desk"));
                assert!(events[0].url.is_some() && events[0].title != crate::event::NO_TITLE, "{:?}", events[0]);
            }
            Normalised::Skipped(_) => assert!(["ping", "repo_unstarred"].contains(name), "{name}"),
            Normalised::Undecodable(why) => panic!("{name}: {why}"),
        }
    }
    assert_eq!(sample::build(Provider::GitHub, "pull_requested", 1), None);
    let push = request("push", &key);
    let id = push.headers.text("X-GitHub-Delivery").expect("an id");
    assert_eq!((id.len(), &id[14..15], id[19..20].contains(['8', '9', 'a', 'b'])), (36, "4", true), "{id}");
}
