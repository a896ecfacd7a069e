//! The public URL: does what is called there end in this very instance.

use super::{Check, Verdict};
use crate::{
    config::{Listen, Settings},
    door::canary::{self, Found},
    http::{Answer, Client},
    logfmt,
    store::Reader,
    time::Timestamp,
};

const NAME: &str = "public URL";
/// Of a page that is not ours.
const QUOTE_CHARS_MAX: usize = 80;

/// The finding, and what the other end's clock showed.
pub(super) fn look(settings: &Settings, client: &Client, is_running: bool) -> (Check, Option<Timestamp>) {
    let without_date = |check| (check, None);
    let Some(url) = &settings.door.public_url else {
        let remedy = "add to [door] in hookbell.toml: public_url = \"https://YOUR-HOST-NAME\"";
        return without_date(Check::warn(NAME, "not set, so whether it leads here cannot be tried", remedy));
    };
    let key = match Reader::open(&settings.store.path).and_then(|reader| reader.own_key()) {
        Ok(Some(key)) => key,
        Ok(None) | Err(_) => {
            let said = format!("{url} was not tried: the database has nothing to know ourselves by");
            return without_date(Check::warn(NAME, said, "start hookbell, and look again"));
        }
    };
    let mut nonce = [0; 16];
    if let Err(error) = getrandom::fill(&mut nonce) {
        return without_date(Check::fail(NAME, format!("the system has no randomness to give: {error}"), "try again"));
    }
    let found = canary::ask(client, url, &key, nonce, super::now());
    let date = match &found {
        Found::Ourselves { date, .. } => *date,
        Found::Another(answer) => answer.date,
        Found::Nobody(_) => None,
    };
    (judge(url, &settings.door.listen, is_running, found), date)
}

fn judge(url: &str, listen: &Listen, is_running: bool, found: Found) -> Check {
    let answer = match found {
        Found::Ourselves { took, .. } => {
            let ms = took.as_millis();
            let facts = serde_json::json!({ "round_trip_ms": ms });
            return Check { facts, ..Check::ok(NAME, format!("{url} leads here; there and back in {ms} ms")) };
        }
        Found::Nobody(failure) => {
            return Check::told(NAME, Verdict::Fail, &format!("{url}: {failure}"), "check the network and the name");
        }
        Found::Another(answer) => answer,
    };
    let Answer { status, body, .. } = &answer;
    let service = match listen {
        Listen::Tcp(address) => format!("http://{address}"),
        Listen::Unix(path) => format!("unix:{}", path.display()),
    };
    let is_hookbell = body.starts_with(r#"{"error":""#);
    let leads_here = format!("in cloudflared's configuration the rule must be `service: {service}`");
    let (what, remedy) = match status {
        401 if is_hookbell => ("another hookbell answers there, or this one on another database", leads_here),
        404 if is_hookbell => (
            "a hookbell answers there that does not know the question: another one, or an older version of this",
            format!("restart hookbell; {leads_here}"),
        ),
        404 if body.is_empty() => (
            "cloudflared answers by its last rule: no other has this host name and path",
            "in cloudflared's configuration the rule wants `path: ^/(webhooks?/.*|health)$` and the host name of the \
             public URL"
                .to_owned(),
        ),
        429 if is_hookbell => {
            ("hookbell answers 429: too many calls were not authenticated", "look again in a minute".to_owned())
        }
        502..=504 if !is_running => ("the tunnel is there, and hookbell is not", "start hookbell".to_owned()),
        502..=504 => ("the tunnel is there, and does not reach hookbell", leads_here),
        521..=530 => (
            "Cloudflare has no tunnel for this name: it is not connected, or the name leads to another",
            "`systemctl status cloudflared`; `cloudflared tunnel route dns TUNNEL HOST-NAME` makes the name lead to it"
                .to_owned(),
        ),
        301..=308 | 401 | 403 => (
            "something on the way asks who calls, and lets no webhook through",
            "take the path /webhooks/ out of Cloudflare Access and of the firewall's rules".to_owned(),
        ),
        _ => ("something else answers there", leads_here),
    };
    let words: String = body.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(QUOTE_CHARS_MAX).collect();
    Check::fail(NAME, format!("{url}: {what} (status {status}: {})", logfmt::value(&words)), &remedy)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::http::Failure;

    #[test]
    fn who_answers_is_told_apart() {
        let listen = Listen::Unix("/run/hookbell/door.sock".into());
        let said = |is_running: bool, status: u16, body: &str| {
            let found = Found::Another(Answer { status, retry_after: None, date: None, body: body.to_owned() });
            let check = judge("https://x.example", &listen, is_running, found);
            assert_eq!(check.result, Verdict::Fail);
            format!("{}; {}", check.said, check.remedy.unwrap_or_default())
        };
        for (status, body, says) in [
            (401, r#"{"error":"not authenticated"}"#, "another hookbell answers there"),
            (401, "", "something on the way asks who calls"),
            (404, r#"{"error":"not found"}"#, "an older version"),
            (404, "", "path: ^/(webhooks?/.*|health)$"),
            (429, r#"{"error":"too many"}"#, "429"),
            (502, "Bad gateway", "`service: unix:/run/hookbell/door.sock`"),
            (530, "error code: 1033", "cloudflared tunnel route dns"),
            (302, "", "Cloudflare Access"),
            (200, "<html>\u{1b} Welcome to the airport", "something else answers there (status 200: \"<html>"),
        ] {
            let text = said(true, status, body);
            assert!(text.contains(says) && !text.contains('\u{1b}'), "{status} {body}: {text}");
        }
        assert!(said(false, 502, "").contains("start hookbell"));
        let found = Found::Ourselves { took: Duration::from_millis(120), date: None };
        let check = judge("https://x.example", &listen, true, found);
        assert_eq!((check.result, &check.facts["round_trip_ms"]), (Verdict::Ok, &120.into()));
        let found = Found::Nobody(Failure::Dns { host: "x.example".to_owned() });
        let check = judge("https://x.example", &listen, true, found);
        assert_eq!(check.remedy.as_deref(), Some("check the name and this network"));
    }
}
