//! Forgejo (and Codeberg): Gitea's requests with headers of its own name beside Gitea's. Where `X-Forgejo-Signature` comes
//! it decides; an old Forgejo sends Gitea's alone.
//!
//! Source of the rules: codeberg.org/forgejo/forgejo, services/webhook/deliver.go and shared/payloader.go.

use crate::headers::Headers;

use super::{
    gitea::{self, Family, GITEA},
    rules::Rules,
    sample::{Sample, Seed},
};

pub(super) const RULES: Rules = Rules {
    name: "forgejo",
    admit: |_, headers| gitea::signature_of(family(headers), headers).map(|_| ()),
    judge: |terms, request, _| gitea::judge(family(&request.headers), terms, request),
    identify: |_, request| gitea::identify(identity_family(&request.headers), request),
    normalise: gitea::normalise,
    samples: gitea::SAMPLES,
    build: |name, salt| gitea::payload(name, salt).map(|(event_type, body)| envelope(event_type, body, salt)),
    envelope,
    sign: |signing, sample| gitea::sign(FORGEJO, signing, sample),
    ..Rules::COMMON
};

const FORGEJO: Family =
    Family { signature: "X-Forgejo-Signature", event: "X-Forgejo-Event", delivery: "X-Forgejo-Delivery" };

fn family(headers: &Headers) -> Family {
    if gitea::is_there(headers, FORGEJO.signature) { FORGEJO } else { GITEA }
}

/// Not signed, so each name falls back by itself.
fn identity_family(headers: &Headers) -> Family {
    let of = |own, other| if gitea::is_there(headers, own) { own } else { other };
    Family {
        signature: FORGEJO.signature,
        event: of(FORGEJO.event, GITEA.event),
        delivery: of(FORGEJO.delivery, GITEA.delivery),
    }
}

fn envelope(event_type: &str, body: Vec<u8>, salt: u64) -> Sample {
    let delivery = Seed::new(salt).guid("delivery");
    Sample::json(event_type, body)
        .with("User-Agent", "Go-http-client/1.1")
        .with(GITEA.event, event_type)
        .with(GITEA.delivery, delivery.as_str())
        .with(FORGEJO.event, event_type)
        .with(FORGEJO.delivery, delivery)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::{
        Provider, judge,
        tests::{NOW, own_terms, request, with_header},
    };

    #[test]
    fn its_own_signature_decides() {
        let terms = own_terms(Provider::Forgejo);
        let good = request(Provider::Forgejo, "push");
        let right = good.headers.text(FORGEJO.signature).expect("signed").to_owned();
        let with_both = |own: &[u8], other: &[u8]| {
            let request = with_header(&with_header(&good, FORGEJO.signature, Some(own)), GITEA.signature, Some(other));
            judge(&terms, &request, NOW).is_ok()
        };
        assert!(with_both(right.as_bytes(), b"00"));
        assert!(!with_both(&[b'0'; 64], right.as_bytes()) && !with_both(b"", right.as_bytes()));
        let by_gitea =
            with_header(&with_header(&good, FORGEJO.signature, None), GITEA.signature, Some(right.as_bytes()));
        assert_eq!(judge(&terms, &by_gitea, NOW), Ok(0));
        let identity = |request| (RULES.identify)(&terms, request).map(|identity| (identity.event_type, identity.id));
        let old = with_header(&with_header(&good, FORGEJO.event, None), FORGEJO.delivery, None);
        assert_eq!(identity(&old).ok(), identity(&good).ok());
    }
}
