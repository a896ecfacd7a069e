//! Svix, which sends webhooks for others: Standard Webhooks under `svix-*` headers, or under the standard's own. A delivery
//! is `svix-id` and `type` in the body.
//!
//! Source of the rules: docs.svix.com, "Verifying webhooks", and the official libraries (svix-webhooks).

use crate::headers::Headers;

use super::{
    rules::Rules,
    sample::Sample,
    standard::{self, Family, SVIX, WEBHOOK},
    standardwebhooks as payload,
};

pub(super) const RULES: Rules = Rules {
    name: "svix",
    options: &["tolerance"],
    check_secret: standard::check_secret,
    admit: |_, headers| standard::head(family(headers), headers).map(|_| ()),
    judge: |terms, request, now| standard::judge(family(&request.headers), standard::key, terms, request, now),
    identify: |_, request| Ok(payload::identity(family(&request.headers), request)),
    normalise: payload::normalise,
    samples: payload::SAMPLES,
    build: |name, salt| payload::sample(name, salt).map(|(event_type, body)| envelope(event_type, body, salt)),
    envelope,
    sign: |signing, sample| standard::sign(SVIX, signing, sample),
    ..Rules::COMMON
};

/// Svix's own headers decide when they are all there, as in the libraries; otherwise the standard's.
fn family(headers: &Headers) -> Family {
    if !SVIX.is_complete(headers) && WEBHOOK.is_complete(headers) { WEBHOOK } else { SVIX }
}

fn envelope(event_type: &str, body: Vec<u8>, salt: u64) -> Sample {
    Sample::json(event_type, body).with(SVIX.id, payload::message_id(salt)).with("User-Agent", "Svix-Webhooks/sample")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::{
        Provider, Signing, judge, sample, standard,
        tests::{NOW, URL, arrived, keys, own_terms, request, with_header},
    };

    #[test]
    fn both_families_and_its_own_first() {
        let terms = own_terms(Provider::Svix);
        let mut sample = sample::build(Provider::Svix, "created", 7).expect("a sample");
        standard::sign(WEBHOOK, &Signing::new(&keys(Provider::Svix).0, URL, NOW), &mut sample).expect("a secret");
        let by_standard = arrived(Provider::Svix, sample);
        assert_eq!(judge(&terms, &by_standard, NOW), Ok(0));
        // One family is taken as a whole: a header of the other is no part of it.
        assert!(judge(&terms, &with_header(&by_standard, WEBHOOK.id, None), NOW).is_err());
        let mut both = request(Provider::Svix, "created");
        for name in [WEBHOOK.id, WEBHOOK.time, WEBHOOK.signature] {
            both.headers.push(name, b"1");
        }
        assert_eq!(judge(&terms, &both, NOW), Ok(0));
        let wrong = with_header(&both, SVIX.signature, Some(b"v1,AAAA"));
        assert!(judge(&terms, &wrong, NOW).is_err());
    }
}
