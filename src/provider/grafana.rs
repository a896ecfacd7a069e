//! Grafana Alerting's webhook contact point: since Grafana 12 it may sign, an HMAC-SHA256 in hexadecimal of the body, or of
//! the time, a colon and the body when a timestamp header is configured there. Else `Authorization` proves the sender, as
//! with Alertmanager, whose payload this is with more in it. A request has no id and calls itself by its `status`.
//!
//! Source of the rules: grafana.com/docs/grafana/latest/alerting, "Configure webhook notifications".

use std::time::Duration;

use crate::{
    headers::{Headers, Single},
    time::Timestamp,
};

use super::{
    Identity, Options, Rejection, Signing, Terms, Unverified, alerts, credentials,
    read::{self, Window},
    rules::Rules,
    sample::Sample,
    signature::{self, Algorithm},
};

/// Grafana's own default; `header` overrides it.
const SIGNATURE: &str = "X-Grafana-Alerting-Signature";

/// Grafana documents none; `tolerance` overrides it.
const TOLERANCE: Duration = Duration::from_secs(300);

pub(super) const RULES: Rules = Rules {
    name: "grafana",
    options: &["tolerance", "header", "timestamp_header"],
    check_options,
    admit: |terms, headers| proof_of(&terms.options, headers).map(|_| ()),
    judge,
    identify: |_, request| Ok(Identity::of(alerts::status(&request.body).as_deref(), None)),
    normalise: |context, _, _, body| alerts::normalise(context, "Grafana", body),
    samples: alerts::SAMPLES,
    build: |name, salt| alerts::sample(name, salt, own),
    sign,
    ..Rules::COMMON
};

/// What Grafana says besides, or in another way, about a group in this state.
fn own(status: &str) -> &'static str {
    match status {
        "firing" => r#""version":"1","orgId":1,"state":"alerting""#,
        _ => r#""version":"1","orgId":1,"state":"ok""#,
    }
}

fn check_options(options: &Options) -> Result<(), String> {
    credentials::check_header("header", options.header.as_deref())?;
    credentials::check_header("timestamp_header", options.timestamp_header.as_deref())?;
    match (options.tolerance, &options.timestamp_header) {
        (Some(_), None) => Err("`tolerance` needs `timestamp_header`: without it no time is signed".to_owned()),
        _ => Ok(()),
    }
}

/// What a request brings as its proof.
enum Proof<'h> {
    Signed { made: Vec<u8>, time: Option<&'h str> },
    Said,
}

/// A signature decides when it is there. Who configures how requests are signed gets no other proof accepted.
fn proof_of<'h>(options: &'h Options, headers: &'h Headers) -> Result<Proof<'h>, Rejection> {
    let header = options.header.as_deref().unwrap_or(SIGNATURE);
    let is_expected = options.header.is_some() || options.timestamp_header.is_some();
    if !is_expected && headers.single(header) == Single::Missing {
        return match headers.single(credentials::AUTHORIZATION) {
            Single::Missing => Err(Rejection::missing(header)),
            _ => credentials::of(headers, credentials::AUTHORIZATION).map(|_| Proof::Said),
        };
    }
    let made = read::hex(read::proof(headers, header)?);
    let made = made.ok_or_else(|| Rejection::malformed(header, "it is not lower-case hexadecimal"))?;
    // Mandatory once configured: who drops it would escape the check of the age.
    let time = options.timestamp_header.as_deref().map(|name| read::proof_text(headers, name)).transpose()?;
    Ok(Proof::Signed { made, time })
}

fn judge(terms: &Terms, request: &Unverified, now: Timestamp) -> Result<usize, Rejection> {
    let (made, time) = match proof_of(&terms.options, &request.headers)? {
        Proof::Said => return credentials::presented(terms, &request.headers, credentials::AUTHORIZATION),
        Proof::Signed { made, time } => (made, time),
    };
    let header = terms.options.timestamp_header.as_deref().unwrap_or_default();
    let signed_at = time.map(|time| read::seconds(header, time)).transpose()?;
    let by = signature::signed_by(&terms.secrets, Algorithm::Sha256, &signed(time, &request.body), &[made])
        .ok_or(Rejection::SignatureWrong)?;
    if let Some(signed_at) = signed_at {
        let signed_at = Timestamp::from_ms(signed_at * 1000);
        read::within(signed_at, now, terms.tolerance(TOLERANCE), Window::Both)?;
    }
    Ok(by)
}

fn signed<'a>(time: Option<&'a str>, body: &'a [u8]) -> Vec<&'a [u8]> {
    match time {
        Some(time) => vec![time.as_bytes(), b":", body],
        None => vec![body],
    }
}

fn sign(signing: &Signing<'_>, sample: &mut Sample) -> Result<(), &'static str> {
    let time = signing.options.timestamp_header.as_ref().map(|_| signing.now.seconds().to_string());
    let key = signing.secret.expose().as_bytes();
    let made = signature::sign(key, Algorithm::Sha256, &signed(time.as_deref(), &sample.body));
    sample.set(signing.options.header.as_deref().unwrap_or(SIGNATURE), read::to_hex(&made));
    if let Some((header, time)) = signing.options.timestamp_header.as_deref().zip(time) {
        sample.set(header, time);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::{
        Provider, sample,
        tests::{NOW, arrived, request, secret, terms, with_header},
    };

    #[test]
    fn a_signature_decides_and_without_one_authorization_does() {
        let terms = terms(Provider::Grafana, &["key"]);
        let signed = request(Provider::Grafana, "alert_firing");
        let check = |request: &Unverified, expected: bool| {
            let verdict = judge(&terms, request, NOW);
            assert_eq!(verdict.is_ok(), expected, "{verdict:?}");
            assert!(verdict.is_err() || (RULES.admit)(&terms, &request.headers).is_ok());
        };
        check(&signed, true);
        let said = with_header(&with_header(&signed, SIGNATURE, None), "Authorization", Some(b"Bearer key"));
        check(&said, true);
        check(&with_header(&said, "Authorization", Some(b"Bearer kex")), false);
        // No fallback: a signature that is there must be right.
        for wrong in [&b""[..], b"00", b"x"] {
            check(&with_header(&said, SIGNATURE, Some(wrong)), false);
        }
        let mut strict = terms.clone();
        strict.options.header = Some("X-Mine".to_owned());
        assert!(judge(&strict, &said, NOW).is_err());
    }

    #[test]
    fn a_signed_time_is_mandatory_and_near() {
        let mut terms = terms(Provider::Grafana, &["key"]);
        terms.options.timestamp_header = Some("X-Time".to_owned());
        let key = secret("key");
        let mut sample = sample::build(Provider::Grafana, "alert_firing", 7).expect("listed");
        let signing = Signing { options: &terms.options, ..Signing::new(&key, "", NOW) };
        sample.sign(Provider::Grafana, &signing).expect("signed");
        let good = arrived(Provider::Grafana, sample);
        let at = |seconds: i64| judge(&terms, &good, Timestamp::from_ms(NOW.ms() + seconds * 1000)).is_ok();
        assert!(at(0) && at(300) && at(-300) && !at(301) && !at(-301));
        assert!(judge(&terms, &with_header(&good, "X-Time", None), NOW).is_err());
        for wrong in ["1760000001", "1760000000.0", "now", ""] {
            assert!(judge(&terms, &with_header(&good, "X-Time", Some(wrong.as_bytes())), NOW).is_err(), "{wrong}");
        }
        assert!(check_options(&terms.options).is_ok());
        let lonely = Options { tolerance: Some(TOLERANCE), ..Options::default() };
        assert!(check_options(&lonely).unwrap_err().contains("timestamp_header"));
    }
}
