//! How a request is proven: what the options say, or one of the two forms that are taken without any.

use std::time::Duration;

use super::*;
use crate::headers::Single;
use crate::provider::{read::Window, signature::Algorithm};

/// Taken without options, with [`PREFIX`].
const PREFIXED: &str = "X-Webhook-Signature";
const PREFIX: &str = "sha256=";
/// Taken without options, with nothing before the digits.
const PLAIN: &str = "X-Signature";

/// The usual one; `tolerance` overrides it.
const TOLERANCE: Duration = Duration::from_secs(300);

/// What is signed when a time is, unless `signed` says otherwise.
const SIGNED: &str = "{timestamp}.{body}";

/// Where the proof stands and how it is made.
struct Scheme<'o> {
    header: &'o str,
    prefix: &'o str,
    algorithm: Algorithm,
    encoding: Encoding,
    /// The secret itself stands there.
    is_token: bool,
    time: Option<Timed<'o>>,
}

/// Where the signed time stands, and what is signed.
struct Timed<'o> {
    header: &'o str,
    template: &'o str,
}

impl<'o> Scheme<'o> {
    fn new(options: &'o Options, headers: &Headers) -> Scheme<'o> {
        let (header, prefix) = match &options.header {
            Some(header) => (header.as_str(), options.prefix.as_deref().unwrap_or_default()),
            // The prefixed one decides where both stand.
            None if headers.single(PREFIXED) == Single::Missing && headers.single(PLAIN) != Single::Missing => {
                (PLAIN, "")
            }
            None => (PREFIXED, PREFIX),
        };
        let (algorithm, is_token) = match options.algorithm {
            Some(Proof::Hmac(algorithm)) => (algorithm, false),
            Some(Proof::Token) => (Algorithm::Sha256, true),
            None => (Algorithm::Sha256, false),
        };
        let template = options.signed.as_deref().unwrap_or(SIGNED);
        let time = options.timestamp_header.as_deref().map(|header| Timed { header, template });
        Scheme { header, prefix, algorithm, encoding: options.encoding.unwrap_or_default(), is_token, time }
    }

    /// `Authorization` without a prefix has its own schemes.
    fn is_authorization(&self) -> bool {
        self.is_token && self.prefix.is_empty() && self.header.eq_ignore_ascii_case(credentials::AUTHORIZATION)
    }

    /// The token, or the HMAC's bytes.
    fn presented(&self, headers: &Headers) -> Result<Vec<u8>, Rejection> {
        if self.is_authorization() {
            return credentials::of(headers, self.header);
        }
        let malformed = |why| Rejection::malformed(self.header, why);
        let value = read::proof(headers, self.header)?;
        let value = value.strip_prefix(self.prefix.as_bytes()).ok_or(malformed("it does not begin with the prefix"))?;
        match self.encoding {
            _ if value.is_empty() => Err(malformed("nothing follows the prefix")),
            _ if self.is_token => Ok(value.to_vec()),
            Encoding::Hex => read::hex_any_case(value).ok_or(malformed("it is not hexadecimal")),
            Encoding::Base64 => read::base64(value).ok_or(malformed("it is not base64")),
        }
    }

    /// The time as it stands in the request, where one is signed.
    fn time<'h>(&self, headers: &'h Headers) -> Result<Option<&'h str>, Rejection>
    where
        'o: 'h,
    {
        self.time.as_ref().map(|time| read::proof_text(headers, time.header)).transpose()
    }

    fn signed<'a>(&'a self, time: Option<&'a str>, body: &'a [u8]) -> Vec<&'a [u8]> {
        match (&self.time, time) {
            (Some(timed), Some(time)) => parts(timed.template, time, body),
            _ => vec![body],
        }
    }
}

/// The template's pieces, with the time and the body in their places.
fn parts<'a>(template: &'a str, time: &'a str, body: &'a [u8]) -> Vec<&'a [u8]> {
    let (mut parts, mut rest) = (Vec::new(), template);
    while let Some(start) = rest.find('{') {
        let (before, place) = rest.split_at(start);
        parts.push(before.as_bytes());
        rest = if let Some(after) = place.strip_prefix("{timestamp}") {
            parts.push(time.as_bytes());
            after
        } else if let Some(after) = place.strip_prefix("{body}") {
            parts.push(body);
            after
        } else {
            parts.push(b"{");
            &place[1..]
        };
    }
    parts.push(rest.as_bytes());
    parts
}

pub(super) fn admit(terms: &Terms, headers: &Headers) -> Result<(), Rejection> {
    let scheme = Scheme::new(&terms.options, headers);
    scheme.presented(headers)?;
    scheme.time(headers).map(|_| ())
}

pub(super) fn judge(terms: &Terms, request: &Unverified, now: Timestamp) -> Result<usize, Rejection> {
    let scheme = Scheme::new(&terms.options, &request.headers);
    let presented = scheme.presented(&request.headers)?;
    if scheme.is_token {
        return signature::presented(&terms.secrets, &presented).ok_or(Rejection::SignatureWrong);
    }
    let time = scheme.time(&request.headers)?;
    let header = scheme.time.as_ref().map_or("", |time| time.header);
    let signed_at = time.map(|time| read::seconds(header, time)).transpose()?;
    let signed = scheme.signed(time, &request.body);
    let by = signature::signed_by(&terms.secrets, scheme.algorithm, &signed, &[presented]);
    let by = by.ok_or(Rejection::SignatureWrong)?;
    if let Some(signed_at) = signed_at {
        let signed_at = Timestamp::from_ms(signed_at * 1000);
        read::within(signed_at, now, terms.tolerance(TOLERANCE), Window::Both)?;
    }
    Ok(by)
}

pub(super) fn sign(signing: &Signing<'_>, sample: &mut Sample) -> Result<(), &'static str> {
    let scheme = Scheme::new(signing.options, &Headers::new());
    if scheme.is_authorization() {
        credentials::present(signing, sample, scheme.header);
        return Ok(());
    }
    let secret = signing.secret.expose();
    let time = scheme.time.as_ref().map(|_| signing.now.seconds().to_string());
    let value = match scheme.encoding {
        _ if scheme.is_token => secret.to_owned(),
        encoding => {
            let signed = scheme.signed(time.as_deref(), &sample.body);
            let made = signature::sign(secret.as_bytes(), scheme.algorithm, &signed);
            if encoding == Encoding::Hex { read::to_hex(&made) } else { read::to_base64(&made) }
        }
    };
    sample.set(scheme.header, format!("{}{value}", scheme.prefix));
    if let Some((timed, time)) = scheme.time.as_ref().zip(time) {
        sample.set(timed.header, time);
    }
    Ok(())
}

/// What does not go together.
pub(super) fn check(options: &Options) -> Result<(), String> {
    credentials::check_header("header", options.header.as_deref())?;
    credentials::check_header("timestamp_header", options.timestamp_header.as_deref())?;
    let is_set = [
        ("prefix", options.prefix.is_some()),
        ("algorithm", options.algorithm.is_some()),
        ("encoding", options.encoding.is_some()),
        ("timestamp_header", options.timestamp_header.is_some()),
    ];
    if let (None, Some((key, _))) = (&options.header, is_set.iter().find(|(_, is_set)| *is_set)) {
        return Err(format!("`{key}` needs `header`: without it {PREFIXED} and {PLAIN} are taken as they usually are"));
    }
    let is_token = options.algorithm == Some(Proof::Token);
    if is_token && options.encoding.is_some() {
        return Err("`encoding` goes with a signature, and algorithm = \"token\" makes none".to_owned());
    }
    if is_token && options.timestamp_header.is_some() {
        return Err("`timestamp_header` goes with a signature, and algorithm = \"token\" makes none".to_owned());
    }
    let Some(timestamp_header) = &options.timestamp_header else {
        return match (&options.signed, options.tolerance) {
            (Some(_), _) => Err("`signed` needs `timestamp_header`: without it the body alone is signed".to_owned()),
            (None, Some(_)) => Err("`tolerance` needs `timestamp_header`: without it no time is signed".to_owned()),
            (None, None) => Ok(()),
        };
    };
    if options.header.as_ref().is_some_and(|header| header.eq_ignore_ascii_case(timestamp_header)) {
        return Err("`header` and `timestamp_header` name the same header".to_owned());
    }
    let template = options.signed.as_deref().unwrap_or(SIGNED);
    match ["{body}", "{timestamp}"].iter().find(|place| !template.contains(**place)) {
        Some(place) => Err(format!("`signed` has no {place} in it, so the signature would not cover it")),
        None if !is_separated(template) => {
            Err("`signed` has nothing but digits between {timestamp} and {body}: a digit could move from one to the \
                 other under the same signature, so put a separator there, as in {timestamp}.{body}"
                .to_owned())
        }
        None => Ok(()),
    }
}

/// Whether something that is no digit stands between any two places of a template.
fn is_separated(template: &str) -> bool {
    let places = template.replace("{timestamp}", "{body}");
    match places.split("{body}").collect::<Vec<_>>().as_slice() {
        [_, between @ .., _] => between.iter().all(|text| text.bytes().any(|byte| !byte.is_ascii_digit())),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::{
        Provider, sample,
        tests::{NOW, arrived, request, secret, terms, with_header},
    };

    fn signed(options: &Options) -> Unverified {
        let key = secret("key");
        let mut sample = sample::build(Provider::Generic, "custom", 7).expect("listed");
        let signing = Signing { options, ..Signing::new(&key, "", NOW) };
        sample.sign(Provider::Generic, &signing).expect("signed");
        arrived(Provider::Generic, sample)
    }

    fn judged(options: &Options, request: &Unverified, seconds: i64) -> Result<usize, Rejection> {
        let terms = Terms { options: options.clone(), ..terms(Provider::Generic, &["old", "key"]) };
        judge(&terms, request, Timestamp::from_ms(NOW.ms() + seconds * 1000))
    }

    fn with(change: impl FnOnce(&mut Options)) -> Options {
        let mut options = Options { header: Some("X-Mine".to_owned()), ..Options::default() };
        change(&mut options);
        options
    }

    #[test]
    fn every_way_of_signing_is_accepted_and_no_other_is() {
        let ways = [
            Options::default(),
            with(|_| {}),
            with(|options| options.prefix = Some("hmac=".to_owned())),
            with(|options| options.algorithm = Some(Proof::Hmac(Algorithm::Sha1))),
            with(|options| options.algorithm = Some(Proof::Hmac(Algorithm::Sha512))),
            with(|options| options.encoding = Some(Encoding::Base64)),
            with(|options| options.algorithm = Some(Proof::Token)),
            with(|options| (options.algorithm, options.prefix) = (Some(Proof::Token), Some("Bearer ".to_owned()))),
            with(|options| {
                (options.algorithm, options.header) = (Some(Proof::Token), Some("authorization".to_owned()))
            }),
            with(|options| options.timestamp_header = Some("X-Time".to_owned())),
            with(|options| {
                options.timestamp_header = Some("X-Time".to_owned());
                options.signed = Some("v0:{timestamp}:{body}".to_owned());
            }),
        ];
        for (index, way) in ways.iter().enumerate() {
            assert_eq!(check(way), Ok(()));
            let request = signed(way);
            for (other_index, other) in ways.iter().enumerate() {
                let verdict = judged(other, &request, 0);
                assert_eq!(verdict == Ok(1), index == other_index, "{way:?} for {other:?}: {verdict:?}");
            }
        }
    }

    #[test]
    fn without_options_two_forms_are_taken() {
        let none = Options::default();
        let prefixed = request(Provider::Generic, "created");
        let value = prefixed.headers.text(PREFIXED).expect("signed").to_owned();
        let bare = with_header(&prefixed, PREFIXED, None);
        let check = |header: &str, value: &str, passes: bool| {
            let request = with_header(&bare, header, Some(value.as_bytes()));
            assert_eq!(judged(&none, &request, 0).is_ok(), passes, "{header}: {value}");
        };
        let digits = &value[PREFIX.len()..];
        check(PREFIXED, &value, true);
        check(PLAIN, digits, true);
        check(PREFIXED, digits, false);
        check(PLAIN, &value, false);
        check(PLAIN, "", false);
        // The prefixed one decides.
        let both = with_header(&with_header(&bare, PLAIN, Some(digits.as_bytes())), PREFIXED, Some(b"sha256=00"));
        assert_eq!(judged(&none, &both, 0), Err(Rejection::SignatureWrong));
        assert_eq!(judged(&none, &bare, 0), Err(Rejection::missing(PREFIXED)));
    }

    #[test]
    fn a_signed_time_is_near_and_there() {
        let options = with(|options| options.timestamp_header = Some("X-Time".to_owned()));
        let good = signed(&options);
        let at = |seconds: i64| judged(&options, &good, seconds).is_ok();
        assert!(at(300) && at(-300) && !at(301) && !at(-301));
        assert_eq!(judged(&options, &with_header(&good, "X-Time", None), 0), Err(Rejection::missing("X-Time")));
        for wrong in ["1760000001", "1.76e9", "01760000000"] {
            assert!(judged(&options, &with_header(&good, "X-Time", Some(wrong.as_bytes())), 0).is_err(), "{wrong}");
        }
        let patient = Options { tolerance: Some(Duration::ZERO), ..options.clone() };
        assert!(judged(&patient, &good, 1_000_000).is_ok());
    }

    #[test]
    fn a_template_s_braces_are_text_unless_they_are_places() {
        let text = |template: &str| String::from_utf8(parts(template, "7", b"{timestamp}").concat()).expect("text");
        assert_eq!(text("{timestamp}.{body}"), "7.{timestamp}");
        assert_eq!(text("a{b}{{body}}é{"), "a{b}{{timestamp}}é{");
    }

    #[test]
    fn what_does_not_go_together_is_named() {
        let with_signed = |template: &str| {
            with(|options| {
                (options.timestamp_header, options.signed) = (Some("X-T".to_owned()), Some(template.to_owned()))
            })
        };
        assert_eq!(check_options(&with_signed("{timestamp}\n0{body}.{timestamp}")), Ok(()));
        let wrong = [
            ("`prefix` needs `header`", Options { prefix: Some("x=".to_owned()), ..Options::default() }),
            ("`algorithm` needs", Options { algorithm: Some(Proof::Token), ..Options::default() }),
            ("`timestamp_header` needs", Options { timestamp_header: Some("X-T".to_owned()), ..Options::default() }),
            ("header's name", with(|options| options.header = Some("X Mine".to_owned()))),
            ("`signed` needs", with(|options| options.signed = Some("{timestamp}{body}".to_owned()))),
            ("`tolerance` needs", with(|options| options.tolerance = Some(TOLERANCE))),
            ("same header", with(|options| options.timestamp_header = Some("x-mine".to_owned()))),
            (
                "`encoding` goes",
                with(|options| (options.algorithm, options.encoding) = (Some(Proof::Token), Some(Encoding::Hex))),
            ),
            (
                "`timestamp_header` goes",
                with(|options| {
                    (options.algorithm, options.timestamp_header) = (Some(Proof::Token), Some("X-T".to_owned()))
                }),
            ),
            ("{body}", with_signed("{timestamp}")),
            ("{timestamp}", with_signed("{body}")),
            ("separator", with_signed("{timestamp}{body}")),
            ("separator", with_signed("v0:{body}{timestamp}.")),
            ("separator", with_signed("{timestamp}00{body}")),
            ("`link`", with(|options| options.link = Some(Place::parse("no header")))),
            ("`title`", with(|options| options.title = Some("{name}".to_owned()))),
        ];
        for (what, options) in wrong {
            let why = check_options(&options).expect_err(what);
            assert!(why.contains(what), "{why}");
        }
    }
}
