//! Who may look and who may act. Owns the judgement of a request's head: the name that it calls us by, the token, where it
//! was made; refuses to know what is asked for.
//!
//! On this machine nobody has to log in, unless `hosts` says that others come through it. Beyond it whoever knows the token may do everything. A page of somebody else in
//! the same browser may do nothing: it is not let in under another name (DNS rebinding), its forms are told by their origin,
//! and the cookie does not go along with what it sends.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use crate::{
    config,
    door::failures::{Failures, Verdict},
    headers::Single,
    http::{Head, Peer},
    provider::{is_signed_sha256_hex, sign_sha256_hex},
    secret::Secret,
    time::Timestamp,
};

/// How long one stays logged in.
const SESSION: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// The cookie.
const COOKIE: &str = "hookbell_session";
const LABEL: &[u8] = b"hookbell panel session\n";
const COMPARED: &[u8] = b"hookbell panel token\n";
/// What a proxy says for whom it speaks: then it is not somebody on this machine.
const SPEAKS_FOR: [&str; 8] = [
    "Forwarded",
    "Via",
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Forwarded-Proto",
    "X-Real-IP",
    "CF-Connecting-IP",
    "Cf-Ray",
];

/// What is decided by the head alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Somebody on this machine.
    Here,
    /// Somebody who knows the token, or has logged in.
    LoggedIn,
    /// Nobody yet.
    Stranger,
}

/// Why a request is not even looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Denied {
    pub(super) status: u16,
    pub(super) error: &'static str,
    pub(super) hint: String,
    pub(super) retry_after: Option<Duration>,
}

/// The keeper of the door.
pub(super) struct Keeper {
    token: Option<Secret>,
    /// What sessions are signed with.
    key: Secret,
    /// Names that we answer to, in lower case, besides addresses.
    names: Vec<String>,
    /// Somebody may pass requests on without a word: then nobody is known to be on this machine.
    has_proxy: bool,
    failures: Failures,
}

impl Keeper {
    pub(super) fn new(panel: &config::Panel, key: Secret, hostname: &str) -> Keeper {
        let mut names = vec!["localhost".to_owned()];
        let hostname = hostname.to_ascii_lowercase();
        let short = hostname.split('.').next().unwrap_or_default();
        if !short.is_empty() {
            names.extend([hostname.clone(), short.to_owned(), format!("{short}.local")]);
        }
        names.extend(panel.hosts.iter().cloned());
        let has_proxy = !panel.hosts.is_empty();
        Keeper { token: panel.token.clone(), key, names, has_proxy, failures: Failures::default() }
    }

    /// Whether there is any way to log in.
    pub(super) fn has_token(&self) -> bool {
        self.token.is_some()
    }

    /// Judges a request, before anything of it but the head is read.
    ///
    /// # Errors
    /// When it is refused, whoever it is.
    pub(super) fn judge(&self, head: &Head, peer: &Peer, now: Timestamp) -> Result<Access, Denied> {
        self.check_host(head, peer)?;
        if !matches!(head.method.as_str(), "GET" | "HEAD") {
            self.check_origin(head)?;
        }
        if is_here(head, peer) && !self.has_proxy {
            return Ok(Access::Here);
        }
        match presented(head) {
            Some(token) => self.check_token(&token, peer).map(|()| Access::LoggedIn),
            None => Ok(match cookie(head).is_some_and(|cookie| self.is_session(&cookie, now)) {
                true => Access::LoggedIn,
                false => Access::Stranger,
            }),
        }
    }

    /// A name that we do not have is somebody else's page that was led here. A number cannot be: no name is looked up for it.
    fn check_host(&self, head: &Head, peer: &Peer) -> Result<(), Denied> {
        let host = match head.headers.single("Host") {
            Single::Once(value) => String::from_utf8_lossy(value).to_ascii_lowercase(),
            _ => String::new(),
        };
        let name = host_of(&host);
        let is_number = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok();
        // Whom the socket's permissions let in is no browser that was led here.
        if is_number || matches!(peer, Peer::Unix) || self.names.iter().any(|own| own == name) {
            return Ok(());
        }
        Err(Denied {
            status: 421,
            error: "the panel is not called so",
            hint: "use its address, or list the name under hosts in [panel]".to_owned(),
            retry_after: None,
        })
    }

    /// What is not a page is not for other sites' pages, not even to read: they could have it work hard.
    ///
    /// # Errors
    /// When another site's page asks for it.
    pub(super) fn check_site(head: &Head) -> Result<(), Denied> {
        match head.headers.single("Sec-Fetch-Site") {
            Single::Once(b"cross-site") => Err(other_site()),
            _ => Ok(()),
        }
    }

    /// What changes something has to come from a page of ours, or from no page at all.
    fn check_origin(&self, head: &Head) -> Result<(), Denied> {
        let text = |name: &'static str| match head.headers.single(name) {
            Single::Missing => Ok(None),
            Single::Once(value) => Ok(std::str::from_utf8(value).ok()),
            Single::Repeated => Err(()),
        };
        let (Ok(site), Ok(origin), Ok(host)) = (text("Sec-Fetch-Site"), text("Origin"), text("Host")) else {
            return Err(other_site());
        };
        // Browsers say at least one of them with every POST. `none` is what somebody typed.
        let is_own_site = site.is_none_or(|site| matches!(site, "same-origin" | "none"));
        let is_own_origin = origin.is_none_or(|origin| {
            let named = origin.split_once("://").map(|(_, rest)| rest);
            named.zip(host).is_some_and(|(named, host)| named.eq_ignore_ascii_case(host))
        });
        if is_own_site && is_own_origin { Ok(()) } else { Err(other_site()) }
    }

    /// Whether this is the token. Wrong ones are limited by the address; the right one always passes.
    ///
    /// # Errors
    /// 401, or 429 for who guesses.
    pub(super) fn check_token(&self, presented: &str, peer: &Peer) -> Result<(), Denied> {
        // By HMACs, whose comparison takes as long wherever they differ.
        let is_right = self.token.as_ref().is_some_and(|token| {
            let mac = sign_sha256_hex(&self.key, &[COMPARED, presented.as_bytes()]);
            is_signed_sha256_hex(&self.key, &[COMPARED, token.expose().as_bytes()], &mac)
        });
        if is_right {
            return Ok(());
        }
        let address = match peer {
            Peer::Tcp(address) => Some(address.ip().to_canonical()),
            Peer::Unix => None,
        };
        let verdict = self.failures.count(address, Instant::now());
        Err(match verdict {
            Verdict::TooOften { retry_after, tell } => {
                if let Some(requests) = tell {
                    log::warn!("panel: wrong token peer={peer} requests={requests}");
                }
                let hint = "wait a moment, then type it again".to_owned();
                Denied { status: 429, error: "too many wrong tokens", hint, retry_after: Some(retry_after) }
            }
            Verdict::Tolerated => {
                log::info!("panel: wrong token peer={peer}");
                let hint = "it is what `token` in [panel] says; `hookbell secret` makes one".to_owned();
                Denied { status: 401, error: "that is not the token", hint, retry_after: None }
            }
        })
    }

    /// `Set-Cookie` of who has just logged in.
    pub(super) fn session(&self, now: Timestamp) -> String {
        let until = now.plus(SESSION).seconds().to_string();
        let mac = self.mac(&until);
        format!("{COOKIE}={until}.{mac}; Max-Age={}; Path=/; HttpOnly; SameSite=Strict", SESSION.as_secs())
    }

    /// `Set-Cookie` of who logs out.
    pub(super) fn no_session() -> String {
        format!("{COOKIE}=; Max-Age=0; Path=/; HttpOnly; SameSite=Strict")
    }

    fn mac(&self, until: &str) -> String {
        let token = self.token.as_ref().map(Secret::expose).unwrap_or_default();
        sign_sha256_hex(&self.key, &[LABEL, until.as_bytes(), b"\n", token.as_bytes()])
    }

    /// A new token ends every session: it is part of what is signed.
    fn is_session(&self, cookie: &str, now: Timestamp) -> bool {
        let Some(token) = &self.token else { return false };
        let Some((until, mac)) = cookie.split_once('.') else { return false };
        let parts: [&[u8]; 4] = [LABEL, until.as_bytes(), b"\n", token.expose().as_bytes()];
        let is_current = until.parse::<i64>().is_ok_and(|until| now.seconds() < until);
        is_signed_sha256_hex(&self.key, &parts, mac) && is_current
    }
}

fn other_site() -> Denied {
    Denied {
        status: 403,
        error: "another site's page asked for this",
        hint: "open the panel itself and try there".to_owned(),
        retry_after: None,
    }
}

/// Whether somebody on this machine asks, for nobody else.
fn is_here(head: &Head, peer: &Peer) -> bool {
    let is_local = match peer {
        Peer::Tcp(address) => address.ip().to_canonical().is_loopback(),
        Peer::Unix => true,
    };
    is_local && SPEAKS_FOR.iter().all(|name| head.headers.single(name) == Single::Missing)
}

/// The token in a header, as scripts send it.
fn presented(head: &Head) -> Option<String> {
    let text = |name: &'static str| head.headers.text(name).map(str::trim);
    let bearer = text("Authorization").and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("Bearer").then(|| token.trim().to_owned())
    });
    bearer.or_else(|| text("X-Hookbell-Token").map(str::to_owned))
}

fn cookie(head: &Head) -> Option<String> {
    let all = head.headers.all("Cookie").filter_map(|value| std::str::from_utf8(value).ok());
    all.flat_map(|line| line.split(';')).find_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        (name == COOKIE).then(|| value.to_owned())
    })
}

/// A host without its port.
fn host_of(host: &str) -> &str {
    match host.strip_prefix('[').and_then(|rest| rest.find(']')) {
        Some(end) => &host[..end + 2],
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    }
    .trim_end_matches('.')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{headers::Headers, http::Framing};

    const NOW: Timestamp = Timestamp::from_ms(1_763_805_600_042);
    const TOKEN: &str = "0123456789abcdef0123";

    fn keeper(token: Option<&str>) -> Keeper {
        let token = token.and_then(|token| Secret::new(token.to_owned()));
        let panel = config::Panel { listen: None, token, hosts: Vec::new() };
        Keeper::new(&panel, Secret::new("key".to_owned()).unwrap(), "Desk.fritz.box")
    }

    fn head(method: &str, fields: &[(&str, &str)]) -> Head {
        let mut headers = Headers::new();
        for (name, value) in fields {
            headers.push(name, value.as_bytes());
        }
        let (method, target) = (method.to_owned(), "/".to_owned());
        Head { method, target, headers, framing: Framing::None, expects_continue: false }
    }

    fn peer(address: &str) -> Peer {
        Peer::Tcp(address.parse().unwrap())
    }

    fn judge(method: &str, from: &str, fields: &[(&str, &str)]) -> Result<Access, u16> {
        let host = [("Host", "192.168.1.7:5001")];
        let has_host = fields.iter().any(|(name, _)| *name == "Host");
        let fields = [if has_host { &[] } else { &host[..] }, fields].concat();
        keeper(Some(TOKEN)).judge(&head(method, &fields), &peer(from), NOW).map_err(|denied| denied.status)
    }

    const HERE: &str = "127.0.0.1:4000";
    const THERE: &str = "192.168.1.20:4000";

    #[test]
    fn only_our_own_names_and_numbers_are_answered() {
        for host in [
            "localhost:5001",
            "LOCALHOST",
            "127.0.0.1:5001",
            "[::1]:5001",
            "192.168.1.7",
            "desk:5001",
            "desk.local",
            "desk.fritz.box:5001",
            "desk.local.:5001",
        ] {
            assert_eq!(judge("GET", HERE, &[("Host", host)]), Ok(Access::Here), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "127.0.0.1.evil.example",
            "localhost.evil.example:5001",
            "evil@localhost",
            "a,localhost",
        ] {
            assert_eq!(judge("GET", HERE, &[("Host", host)]), Err(421), "{host}");
        }
        assert_eq!(judge("GET", HERE, &[("Host", "localhost"), ("Host", "localhost")]), Err(421));
    }

    #[test]
    fn who_changes_something_comes_from_our_own_page_or_from_none() {
        let own = "http://192.168.1.7:5001";
        for (fields, expected) in [
            (vec![], Ok(Access::Here)),
            (vec![("Origin", own), ("Sec-Fetch-Site", "same-origin")], Ok(Access::Here)),
            (vec![("Origin", own)], Ok(Access::Here)),
            (vec![("Sec-Fetch-Site", "none")], Ok(Access::Here)),
            (vec![("Origin", "null")], Err(403)),
            (vec![("Origin", "http://evil.example")], Err(403)),
            (vec![("Origin", "http://192.168.1.7:5002")], Err(403)),
            (vec![("Origin", own), ("Sec-Fetch-Site", "cross-site")], Err(403)),
            (vec![("Origin", own), ("Sec-Fetch-Site", "same-site")], Err(403)),
            (vec![("Origin", own), ("Origin", own)], Err(403)),
        ] {
            assert_eq!(judge("POST", HERE, &fields), expected, "{fields:?}");
            assert_eq!(judge("GET", HERE, &fields), Ok(Access::Here), "{fields:?}");
        }
    }

    #[test]
    fn other_sites_may_not_even_read() {
        let asked = |site: &str| Keeper::check_site(&head("GET", &[("Sec-Fetch-Site", site)])).is_ok();
        assert!(!asked("cross-site") && asked("same-origin") && asked("none") && asked("same-site"));
        assert!(Keeper::check_site(&head("GET", &[])).is_ok());
    }

    #[test]
    fn beyond_this_machine_the_token_lets_in() {
        let bearer = format!("Bearer {TOKEN}");
        assert_eq!(judge("GET", THERE, &[]), Ok(Access::Stranger));
        assert_eq!(judge("GET", THERE, &[("Authorization", &bearer)]), Ok(Access::LoggedIn));
        assert_eq!(judge("GET", THERE, &[("X-Hookbell-Token", TOKEN)]), Ok(Access::LoggedIn));
        for wrong in ["", "0123456789abcdef012", "0123456789abcdef01234", "0123456789ABCDEF0123"] {
            assert_eq!(judge("GET", THERE, &[("X-Hookbell-Token", wrong)]), Err(401), "{wrong}");
        }
        for field in SPEAKS_FOR {
            assert_eq!(judge("GET", HERE, &[(field, "203.0.113.9")]), Ok(Access::Stranger), "a proxy speaks: {field}");
        }
        assert_eq!(judge("GET", "[::ffff:127.0.0.1]:4000", &[]), Ok(Access::Here));
        let token = Secret::new(TOKEN.to_owned());
        let panel = config::Panel { listen: None, token, hosts: vec!["bell.example".to_owned()] };
        let proxied = Keeper::new(&panel, Secret::new("key".to_owned()).unwrap(), "desk");
        for host in ["bell.example", "127.0.0.1:5001"] {
            assert_eq!(
                proxied.judge(&head("GET", &[("Host", host)]), &peer(HERE), NOW),
                Ok(Access::Stranger),
                "{host}"
            );
        }
        let without = keeper(None);
        let asked = head("GET", &[("Host", "10.0.0.1"), ("X-Hookbell-Token", "")]);
        assert_eq!(without.judge(&asked, &peer(THERE), NOW).map_err(|denied| denied.status), Err(401));
    }

    #[test]
    fn a_session_holds_until_its_end_and_with_its_token() {
        let keeper = keeper(Some(TOKEN));
        let set = keeper.session(NOW);
        assert!(set.contains("HttpOnly") && set.contains("SameSite=Strict") && !set.contains(TOKEN), "{set}");
        let pair = set.split(';').next().unwrap();
        let access = |keeper: &Keeper, pair: &str, now| {
            let asked = head("GET", &[("Host", "10.0.0.1"), ("Cookie", &format!("a=b; {pair}"))]);
            keeper.judge(&asked, &peer(THERE), now)
        };
        assert_eq!(access(&keeper, pair, NOW), Ok(Access::LoggedIn));
        assert_eq!(access(&keeper, pair, NOW.plus(SESSION)), Ok(Access::Stranger));
        assert_eq!(access(&keeper, &pair.replace("session=1", "session=2"), NOW), Ok(Access::Stranger));
        assert_eq!(access(&self::keeper(Some("another token of length")), pair, NOW), Ok(Access::Stranger));
        assert_eq!(access(&self::keeper(None), pair, NOW), Ok(Access::Stranger));
        for forged in
            ["hookbell_session=9999999999.", "hookbell_session=", "hookbell_session=.", "hookbell_session=x.y"]
        {
            assert_eq!(access(&keeper, forged, NOW), Ok(Access::Stranger), "{forged}");
        }
    }

    #[test]
    fn who_guesses_is_slowed_down_and_the_right_token_passes() {
        let keeper = keeper(Some(TOKEN));
        let statuses: Vec<u16> = (0..40)
            .map(|number| keeper.check_token(&format!("guess-{number}-0123456"), &peer(THERE)).unwrap_err().status)
            .collect();
        assert!(statuses.starts_with(&[401]) && statuses.ends_with(&[429]), "{statuses:?}");
        let slowed = keeper.check_token("x", &peer(THERE)).unwrap_err();
        assert!(slowed.retry_after.is_some());
        assert!(keeper.check_token(TOKEN, &peer(THERE)).is_ok());
        assert_eq!(keeper.check_token("x", &peer("192.168.1.21:1")).unwrap_err().status, 401, "another address");
    }
}
