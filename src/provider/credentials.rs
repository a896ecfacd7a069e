//! Senders that sign nothing and say the secret itself: `Authorization: Bearer SECRET`, `Authorization: Basic …` of a
//! secret `user:password` (RFC 7617), or the secret alone in a header of the user's choice. Such a proof says who speaks
//! and nothing about the body.

use crate::headers::Headers;

use super::{Rejection, Signing, Terms, read, sample::Sample, signature};

pub(super) const AUTHORIZATION: &str = "Authorization";

/// Which of the secrets the request presents.
pub(super) fn presented(terms: &Terms, headers: &Headers, header: &str) -> Result<usize, Rejection> {
    let credentials = of(headers, header)?;
    signature::presented(&terms.secrets, &credentials).ok_or(Rejection::SignatureWrong)
}

/// What a request presents as the secret. `Authorization` has a scheme, every other header is the secret as it is.
pub(super) fn of(headers: &Headers, header: &str) -> Result<Vec<u8>, Rejection> {
    let value = read::proof(headers, header)?;
    if !header.eq_ignore_ascii_case(AUTHORIZATION) {
        return Ok(value.to_vec());
    }
    let malformed = |why| Rejection::malformed(header, why);
    let blank = value.iter().position(|byte| *byte == b' ').ok_or(malformed("it is no scheme with credentials"))?;
    let (scheme, credentials) = (&value[..blank], &value[blank + 1..]);
    // RFC 9110 § 11.1: schemes have no case.
    match scheme {
        scheme if scheme.eq_ignore_ascii_case(b"bearer") => Ok(credentials.to_vec()),
        scheme if scheme.eq_ignore_ascii_case(b"basic") => {
            read::base64(credentials).ok_or(malformed("its credentials are not base64"))
        }
        _ => Err(malformed("its scheme is neither Bearer nor Basic")),
    }
}

/// Presents the secret as a sender would: a `user:password` is Basic's, everything else is a token.
pub(super) fn present(signing: &Signing<'_>, sample: &mut Sample, header: &str) {
    let secret = signing.secret.expose();
    let value = match secret.contains(':') {
        _ if !header.eq_ignore_ascii_case(AUTHORIZATION) => secret.to_owned(),
        true => format!("Basic {}", read::to_base64(secret.as_bytes())),
        false => format!("Bearer {secret}"),
    };
    sample.set(header, value);
}

/// What is wrong with a configured header's name.
pub(super) fn check_header(key: &str, name: Option<&str>) -> Result<(), String> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    match name {
        Some(name) if name.is_empty() || !name.bytes().all(is_token) => {
            Err(format!("`{key}` must be a header's name, and {name:?} is none"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::{
        Provider,
        tests::{NOW, headers, secret, terms},
    };

    fn judged(value: &str, header: &str) -> Result<usize, Rejection> {
        let terms = terms(Provider::Alertmanager, &["ada:lights", "token"]);
        presented(&terms, &[(header, value.as_bytes())].into_iter().collect(), header)
    }

    #[test]
    fn authorization_has_a_scheme_and_other_headers_have_none() {
        let check = |value: &str, expected: Result<usize, bool>| {
            let verdict = judged(value, AUTHORIZATION);
            let is_malformed = |rejection| matches!(rejection, Rejection::SignatureMalformed { .. });
            assert_eq!(verdict.map_err(is_malformed), expected, "{value}");
        };
        check("Bearer token", Ok(1));
        check("bearer token", Ok(1));
        check("Bearer ada:lights", Ok(0));
        // base64 of `ada:lights`, and of what differs in a letter.
        check("Basic YWRhOmxpZ2h0cw==", Ok(0));
        check("BASIC YWRhOmxpZ2h0cw==", Ok(0));
        check("Basic YWRhOmxpZ2h0cg==", Err(false));
        for malformed in ["Basic YWRhOmxpZ2h0cw", "Basic YWRhOmxpZ2h0cx==", "Basic ada:lights", "Digest token", "token"]
        {
            check(malformed, Err(true));
        }
        for wrong in ["Bearer Token", "Bearer  token", "Bearer token,token", "Bearer tokentoken"] {
            check(wrong, Err(false));
        }
        assert_eq!(judged("token", "X-Token"), Ok(1));
        assert_eq!(judged("Bearer token", "X-Token"), Err(Rejection::SignatureWrong));
        assert_eq!(judged("", "X-Token"), Err(Rejection::missing("X-Token")));
    }

    #[test]
    fn what_is_presented_is_accepted() {
        for (text, header) in [("ada:lights", AUTHORIZATION), ("token", AUTHORIZATION), ("ada:lights", "X-Token")] {
            let key = secret(text);
            let mut sample = Sample::json("firing", "{}");
            present(&Signing::new(&key, "", NOW), &mut sample, header);
            assert!(presented(&terms(Provider::Alertmanager, &[text]), &headers(&sample.headers), header).is_ok());
        }
    }

    #[test]
    fn a_header_s_name_is_a_token() {
        assert!(check_header("header", None).is_ok() && check_header("header", Some("X-Token")).is_ok());
        for wrong in ["", "X Token", "X-Token:", "é"] {
            assert!(check_header("header", Some(wrong)).is_err(), "{wrong}");
        }
    }
}
