//! SendGrid's Event Webhook: `X-Twilio-Email-Event-Webhook-Signature`, an ECDSA signature (P-256, SHA-256, DER in
//! base64) of the time in `X-Twilio-Email-Event-Webhook-Timestamp` and the body, its last line end included. The secret
//! is the public key that SendGrid shows. A body is a list of events with an id each, and the delivery has none.
//!
//! Source of the rules: the official libraries (sendgrid-nodejs and sendgrid-python, `eventwebhook`), which look at no
//! age; `tolerance` does where it is set.

use std::time::Duration;

use crate::{headers::Headers, secret::Secret, time::Timestamp};

use super::{
    Context, Identity, Normalised, Rejection, Signing, Terms, Unverified,
    draft::Draft,
    json::{self, ITEM, Json},
    read::{self, Window},
    rules::Rules,
    sample::{Sample, Seed, fill},
    signature,
};

const SIGNATURE: &str = "X-Twilio-Email-Event-Webhook-Signature";
const TIME: &str = "X-Twilio-Email-Event-Webhook-Timestamp";

pub(super) const RULES: Rules = Rules {
    name: "sendgrid",
    options: &["tolerance"],
    check_secret: |secret| match key_of(secret) {
        Some(_) => Ok(()),
        None => Err("it is not SendGrid's verification key: the public key that begins with MFkwEwYHKoZIzj0C"),
    },
    admit: |_, headers| proof_of(headers).map(|_| ()),
    judge,
    identify,
    normalise,
    samples: SAMPLES,
    build,
    sign,
    ..Rules::COMMON
};

/// What stands before the point in a P-256 public key (SubjectPublicKeyInfo in DER, RFC 5480): there is one such key
/// type, so there is one such beginning.
const SPKI_PREFIX: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// 4 for "not compressed", and two coordinates.
const POINT_BYTES: usize = 65;

/// The point of a P-256 public key.
fn key_of(secret: &Secret) -> Option<Vec<u8>> {
    let point = der_of(secret)?.strip_prefix(&SPKI_PREFIX)?.to_vec();
    (point.len() == POINT_BYTES && point[0] == 4).then_some(point)
}

/// The bytes of a key in base64, also where it stands in lines with a head and a foot.
fn der_of(secret: &Secret) -> Option<Vec<u8>> {
    let is_key = |line: &&str| !line.trim_start().starts_with("-----");
    let digits: String = secret.expose().lines().filter(is_key).flat_map(str::split_ascii_whitespace).collect();
    read::base64_key(&digits)
}

fn judge(terms: &Terms, request: &Unverified, now: Timestamp) -> Result<usize, Rejection> {
    let (time, seconds, made) = proof_of(&request.headers)?;
    let keys: Vec<_> = terms.secrets.iter().map(key_of).collect();
    let by =
        signature::ecdsa_p256_by(&keys, &[time.as_bytes(), &request.body], &made).ok_or(Rejection::SignatureWrong)?;
    read::within(Timestamp::from_ms(seconds * 1000), now, terms.tolerance(Duration::ZERO), Window::Both)?;
    Ok(by)
}

/// The time as it is signed and as a number, and the signature. The time is held to digits and their number, because
/// nothing separates it from the body.
fn proof_of(headers: &Headers) -> Result<(&str, i64, Vec<u8>), Rejection> {
    let made = read::base64(read::proof(headers, SIGNATURE)?);
    let time = read::proof_text(headers, TIME)?;
    let seconds = read::seconds_before_body(TIME, time)?;
    Ok((time, seconds, made.ok_or(Rejection::malformed(SIGNATURE, "it is not base64"))?))
}

/// Most types that are looked at, and the longest list of them that is shown as one: SendGrid has eleven.
const TYPES_MAX: usize = 16;
const TYPES_BYTES_MAX: usize = 120;

/// The types that are in it, each once: `dropped+delivered`.
fn identify(_: &Terms, request: &Unverified) -> Result<Identity, Rejection> {
    let mut types = Vec::new();
    let read = json::outline(&request.body, &mut |path, value| {
        if let ([ITEM, "event"], Some(event)) = (path, value.text()) {
            add(&mut types, event);
        }
    });
    let types = read.map_or_else(|_| String::new(), |()| types.join("+"));
    let types = if types.len() > TYPES_BYTES_MAX { "events".to_owned() } else { types };
    Ok(Identity::of(Some(&types), None))
}

fn add(types: &mut Vec<String>, event: &str) {
    if types.len() < TYPES_MAX && !types.iter().any(|known| known == event) {
        types.push(event.to_owned());
    }
}

fn normalise(context: &Context<'_>, _: &str, _: &Headers, body: &[u8]) -> Normalised {
    let body = match Json::array(body) {
        Ok(body) => body,
        Err(why) => return Normalised::Undecodable(why),
    };
    let events: Vec<_> = body.items().iter().filter_map(tell).map(|draft| draft.finish(context)).collect();
    Normalised::of_list(events, body.items().len(), body.count(), || {
        let mut types = Vec::new();
        body.items().iter().filter_map(|item| item["event"].text()).for_each(|event| add(&mut types, event));
        let types: Vec<String> = types.iter().map(|event| read::shown(event)).collect();
        match types.is_empty() {
            true => "no event in it".to_owned(),
            false => format!("nothing in it that we tell about, only {}", types.join(", ")),
        }
    })
}

/// What went wrong with an email; that one was sent, delivered or opened would be a message per email.
fn tell(item: &Json<'_>) -> Option<Draft> {
    let event = item["event"].text()?;
    let email = item["email"].text();
    let whom = email.unwrap_or("somebody");
    let reason = item["reason"].text().or(item["response"].text()).filter(|reason| !reason.trim().is_empty());
    let because = reason.map_or_else(String::new, |reason| format!(": {reason}"));
    let (kind, title) = match event {
        "bounce" => ("email_bounced", format!("bounce to {whom}{because}")),
        "dropped" => ("email_dropped", format!("dropped to {whom}{because}")),
        "spamreport" => ("email_spam", format!("spam report by {whom}")),
        "unsubscribe" => ("email_unsubscribed", format!("{whom} unsubscribed")),
        "group_unsubscribe" => ("email_unsubscribed", format!("{whom} unsubscribed from a group")),
        _ => return None,
    };
    // What follows the first dot is the recipient's part: one call of the API is one subject.
    let message = item["sg_message_id"].text().and_then(|id| id.split('.').next()).filter(|id| !id.is_empty());
    // A text, or a list of texts.
    let category = &item["category"];
    let categories = || category.text().into_iter().chain(category.items().iter().filter_map(Json::text));
    let about = categories().find(|category| !category.trim().is_empty());
    Some(
        Draft::new(kind)
            .actor(email)
            .repository(about.or(Some("sendgrid")))
            .title(Some(&title))
            .subject(message.map(|id| format!("sendgrid {id}")))
            .own_id(item["sg_event_id"].text())
            .text("email", email)
            .list("category", categories())
            .text("reason", reason)
            .text("status", item["status"].text())
            .text("type", item["type"].text()),
    )
}

const SAMPLES: &[(&str, &str)] = &[
    ("email_bounced", "an address does not exist"),
    ("email_dropped", "SendGrid does not even try"),
    ("email_spam", "a reader calls it spam"),
    ("email_unsubscribed", "a reader wants no more"),
    ("delivered", "an email arrives, which is not told"),
];

/// The line end is SendGrid's, and signed.
const BODY: &str = concat!(
    r#"[{"email":"$email","timestamp":$time,$event,"category":"newsletter","sg_event_id":"$id","#,
    r#""sg_message_id":"$message.filterdrecv-0.0"}]"#,
    "\r\n"
);

fn build(name: &str, salt: u64) -> Option<Sample> {
    let seed = Seed::new(salt);
    let (event_type, event) = match name {
        "email_bounced" => (
            "bounce",
            r#""event":"bounce","type":"bounce","status":"5.1.1",
                "reason":"550 5.1.1 The email account that you tried to reach does not exist""#,
        ),
        "email_dropped" => ("dropped", r#""event":"dropped","reason":"Bounced Address""#),
        "email_spam" => ("spamreport", r#""event":"spamreport""#),
        "email_unsubscribed" => ("unsubscribe", r#""event":"unsubscribe""#),
        "delivered" => ("delivered", r#""event":"delivered","response":"250 OK""#),
        _ => return None,
    };
    let body = fill(
        BODY,
        &[
            ("email", &seed.pick("email", &["ada@example.com", "otto@example.com", "mira@example.com"])),
            ("event", &event),
            ("id", &seed.word("event", 22)),
            ("message", &seed.word("message", 22)),
            ("time", &(1_760_000_000 + seed.below("time", 1_000_000))),
        ],
    );
    Some(Sample::json(event_type, body))
}

fn sign(signing: &Signing<'_>, sample: &mut Sample) -> Result<(), &'static str> {
    let time = signing.now.seconds().to_string();
    let key = der_of(signing.secret).ok_or("signing for sendgrid needs a private key in base64 (PKCS #8)")?;
    let made = signature::sign_ecdsa_p256(&key, &[time.as_bytes(), &sample.body])
        .ok_or("signing for sendgrid needs a private key for P-256 (PKCS #8), whose public key the receiver has")?;
    sample.set(TIME, time);
    sample.set(SIGNATURE, read::to_base64(&made));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::{
        Options, Provider,
        tests::{NOW, delivery, keys, own_terms, request, secret, with_header},
        verify,
    };

    #[test]
    fn a_key_is_p256_and_may_stand_in_lines() {
        let (private, public) = keys(Provider::SendGrid);
        let public = public.expose();
        let check = |text: &str, is_key: bool| {
            assert_eq!((RULES.check_secret)(&secret(text)).is_ok(), is_key, "{text}");
            assert_eq!(key_of(&secret(text)).is_some(), is_key, "{text}");
        };
        check(public, true);
        check(public.trim_end_matches('='), true);
        check(
            &format!("-----BEGIN PUBLIC KEY-----\n{}\r\n{}\n-----END PUBLIC KEY-----\n", &public[..64], &public[64..]),
            true,
        );
        check(private.expose(), false);
        check("MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=", false);
        check(&public[..120], false);
        check("key", false);
    }

    #[test]
    fn age_counts_only_where_it_is_configured() {
        let mut terms = own_terms(Provider::SendGrid);
        let good = request(Provider::SendGrid, "email_bounced");
        let at =
            |terms: &Terms, seconds: i64| judge(terms, &good, Timestamp::from_ms(NOW.ms() + seconds * 1000)).is_ok();
        assert!(at(&terms, 10_000_000) && at(&terms, -10_000_000));
        terms.options.tolerance = Some(Duration::from_secs(600));
        assert!(at(&terms, 600) && at(&terms, -600) && !at(&terms, 601) && !at(&terms, -601));
    }

    #[test]
    fn no_digit_of_the_time_becomes_the_body_s_first() {
        let good = request(Provider::SendGrid, "email_bounced");
        let (time, digit) = good.headers.text(TIME).expect("signed").split_at(9);
        let shorter = with_header(&good, TIME, Some(time.as_bytes()));
        let moved = Unverified { body: [digit.as_bytes(), &good.body].concat(), ..shorter };
        let verdict = judge(&own_terms(Provider::SendGrid), &moved, NOW);
        assert!(matches!(verdict, Err(Rejection::SignatureMalformed { .. })), "{verdict:?}");
    }

    #[test]
    fn signatures_with_a_high_s_are_good() {
        // s and n - s are both signatures of the same text, and SendGrid sends either; of several one has the high
        // half.
        let terms = own_terms(Provider::SendGrid);
        let made = (0..32).map(|salt| {
            let sample = super::super::tests::signed(Provider::SendGrid, build("email_spam", salt).expect("listed"));
            let request = super::super::tests::arrived(Provider::SendGrid, sample);
            assert_eq!(judge(&terms, &request, NOW), Ok(0));
            // r and s stand in DER with a length each; a leading zero says that the first bit is set.
            let der = proof_of(&request.headers).expect("signed").2;
            let s = &der[4 + usize::from(der[3])..];
            s[1] == 33
        });
        let high: Vec<bool> = made.collect();
        assert!(high.contains(&true) && high.contains(&false));
    }

    #[test]
    fn every_event_is_told_by_its_own_id_and_the_common_ones_are_not() {
        let context = Context { provider: Provider::SendGrid, source: "desk", options: &Options::NONE };
        let told = |body: &str| match normalise(&context, "", &Headers::new(), body.as_bytes()) {
            Normalised::Events(events) | Normalised::Partly { events, .. } => {
                let lines = events
                    .iter()
                    .map(|event| format!("{} {}: {}", event.own_id.as_deref().unwrap_or("-"), event.kind, event.title));
                lines.collect::<Vec<_>>().join("; ")
            }
            Normalised::Skipped(why) | Normalised::Undecodable(why) => why,
        };
        let check = |body: &str, expected: &str| assert_eq!(told(body), expected, "{body}");
        check(
            r#"[{"event":"delivered","sg_event_id":"1"},
                {"event":"bounce","sg_event_id":"2","email":"a@b.c","reason":"550 no"},7,["bounce"],
                {"event":"group_unsubscribe","email":"a@b.c","category":["x","y"]},
                {"event":"spamreport","sg_event_id":"3"}]"#,
            "2 email_bounced: bounce to a@b.c: 550 no; - email_unsubscribed: a@b.c unsubscribed from a group; \
             3 email_spam: spam report by somebody",
        );
        check(r#"[{"event":"open"},{"event":"click"}]"#, "nothing in it that we tell about, only open, click");
        check("[]", "no event in it");
        check(r#"{"event":"bounce"}"#, "the body is not a JSON array");
        assert!(told("[{").starts_with("the body is not JSON"));
    }

    #[test]
    fn a_delivery_is_named_after_what_is_in_it() {
        let named = |body: String| {
            let request = Unverified { target: String::new(), headers: Headers::new(), body: body.into_bytes() };
            let identity = identify(&own_terms(Provider::SendGrid), &request).expect("never refused");
            assert_eq!(identity.id, None);
            identity.event_type
        };
        assert_eq!(
            named(r#"[{"event":"dropped"},{"event":"delivered"},{"event":"dropped"}]"#.to_owned()),
            "dropped+delivered"
        );
        assert_eq!(named(format!(r#"[{{"event":"a"}},{{"event":"{}"}}]"#, "b".repeat(200))), "events");
        assert_eq!(named("[{}]".to_owned()), "unknown");
        assert_eq!(named("no JSON".to_owned()), "unknown");
        let verified = verify(&own_terms(Provider::SendGrid), request(Provider::SendGrid, "email_dropped"), NOW);
        assert_eq!(delivery(verified.expect("signed")).event_type(), "dropped");
    }
}
