//! What the head alone decides: path, method, address, and whether there is a signature at all. Refused here, a body is
//! never read.

use std::{net::IpAddr, sync::Arc};

use super::{Door, canary};
use crate::{
    config::{AllowFrom, Source},
    headers::Single,
    http::{Head, Peer, Response},
    provider::{self, Rejection},
};

/// Where an admitted request goes.
#[derive(Clone, Debug)]
pub enum Route {
    /// `GET /health`
    Health,
    /// `POST /webhooks/<source>`
    Webhook {
        /// The configured source's name.
        name: String,
        /// The source as it was when the request came: its body may take longer than a secret lives.
        source: Arc<Source>,
        /// The sender's address, where it can be known.
        client: Option<IpAddr>,
    },
    /// `POST /webhooks/_self`
    Own {
        /// The address that asks, where it can be known.
        client: Option<IpAddr>,
    },
}

/// An answer with what only the log gets.
pub(super) struct Refused {
    pub(super) status: u16,
    /// What the sender is told: the kind, never the reason.
    told: &'static str,
    /// What a 405 allows.
    allow: Option<&'static str>,
    /// What is not so by a stranger's doing alone is worth a warning.
    pub(super) level: log::Level,
    /// The configured source's name; empty where the request names none that there is.
    pub(super) source: String,
    /// Facts for the log, `key=value`.
    pub(super) said: String,
    pub(super) why: String,
}

impl Refused {
    fn new(head: &Head, status: u16, told: &'static str, why: impl Into<String>) -> Refused {
        let said = format!("method={}", known_method(&head.method));
        Refused { status, told, allow: None, level: log::Level::Info, source: String::new(), said, why: why.into() }
    }

    fn wrong_method(head: &Head, allowed: &'static str) -> Refused {
        let refused = Refused::new(head, 405, "method not allowed", format!("only {allowed} here"));
        Refused { allow: Some(allowed), ..refused }
    }

    /// A request to a source that there is, which is not what its provider sends.
    pub(super) fn rejected(source: &str, level: log::Level, rejection: &Rejection) -> Refused {
        let (status, source, said) = (rejection.status(), source.to_owned(), format!("source={source}"));
        Refused { status, told: told(status), allow: None, level, source, said, why: rejection.to_string() }
    }

    /// What claims to be from ourselves and is not.
    pub(super) fn own(status: u16, why: &'static str) -> Refused {
        let (level, said) = (log::Level::Warn, "source=_self".to_owned());
        Refused { status, told: told(status), allow: None, level, source: String::new(), said, why: why.to_owned() }
    }

    pub(super) fn response(&self) -> Response {
        let response = Response::error(self.status, self.told);
        match self.allow {
            Some(methods) => response.allow(methods),
            None => response,
        }
    }
}

fn told(status: u16) -> &'static str {
    match status {
        400 => "bad request",
        401 => "not authenticated",
        _ => "refused",
    }
}

impl Door {
    pub(super) fn route(&self, head: &Head, peer: &Peer) -> Result<Route, Refused> {
        let path = path_of(&head.target);
        if path == "/health" {
            return match head.method.as_str() {
                "GET" | "HEAD" => Ok(Route::Health),
                _ => Err(Refused::wrong_method(head, "GET, HEAD")),
            };
        }
        if path == canary::PATH {
            return match head.method.as_str() {
                "POST" => Ok(Route::Own { client: self.client(head, peer) }),
                _ => Err(Refused::wrong_method(head, "POST")),
            };
        }
        let name = path.strip_prefix("/webhooks/").or_else(|| path.strip_prefix("/webhook/"));
        let Some((name, held)) = name.and_then(|name| self.sources.get(name)) else {
            return Err(Refused::new(head, 404, "not found", "no such source or path"));
        };
        if head.method != "POST" {
            return Err(Refused::wrong_method(head, "POST"));
        }
        let client = self.client(head, peer);
        self.check_address(&held.as_it_is().allow_from, client).map_err(|(status, why)| {
            let told = if status == 403 { "forbidden" } else { "cannot tell who may call right now" };
            let (source, said) = (name.to_owned(), format!("source={name}"));
            Refused { source, said, ..Refused::new(head, status, told, why) }
        })?;
        let source = held.look(name);
        provider::admit(&source.terms, &head.headers)
            .map_err(|rejection| Refused::rejected(name, log::Level::Info, &rejection))?;
        Ok(Route::Webhook { name: name.to_owned(), source, client })
    }

    /// Whether this address may call; a status and the reason when it may not.
    fn check_address(&self, allowed: &AllowFrom, client: Option<IpAddr>) -> Result<(), (u16, &'static str)> {
        if allowed.is_everybody() {
            return Ok(());
        }
        let client = client.ok_or((403, "it has allow_from, and CF-Connecting-IP does not tell one address"))?;
        if allowed.networks.iter().any(|network| network.contains(&client)) {
            return Ok(());
        }
        if !allowed.published {
            return Err((403, "the address is not in its allow_from"));
        }
        match self.published.contains(client) {
            Some(true) => Ok(()),
            Some(false) => Err((403, "the address is not in the list that GitHub publishes")),
            // Letting everybody in would be wrong, and so would telling GitHub that it may not.
            None => Err((503, "GitHub's list of addresses could not be fetched yet")),
        }
    }

    /// The sender's address. A tunnel tells it in `CF-Connecting-IP`, which is believed from the Unix socket and from
    /// trusted proxies alone: anybody else could write there what they like.
    pub(super) fn client(&self, head: &Head, peer: &Peer) -> Option<IpAddr> {
        let direct = address_of(peer);
        if direct.is_some_and(|ip| !self.trusted_proxies.contains(&ip)) {
            return direct;
        }
        match head.headers.single("CF-Connecting-IP") {
            Single::Missing => direct,
            // The proxy speaks for somebody, and does not say for whom: that is nobody, not the proxy itself.
            Single::Repeated => None,
            Single::Once(value) => {
                let address = std::str::from_utf8(value).ok().and_then(|text| text.parse::<IpAddr>().ok());
                address.map(|ip| ip.to_canonical())
            }
        }
    }
}

/// Path and query of a target. The absolute form, as to a proxy, means the same (RFC 9112 § 3.2.2), and what host it names is
/// the client's word alone.
pub(super) fn path_and_query(target: &str) -> &str {
    let rest = target.strip_prefix("http://").or_else(|| target.strip_prefix("https://"));
    rest.map_or(target, |rest| rest.find('/').map_or("/", |at| &rest[at..]))
}

/// The path alone; a fragment is never sent.
fn path_of(target: &str) -> &str {
    path_and_query(target).split('?').next().unwrap_or_default()
}

/// The other end of the connection, which may speak for somebody else.
pub(super) fn address_of(peer: &Peer) -> Option<IpAddr> {
    match peer {
        Peer::Tcp(address) => Some(address.ip().to_canonical()),
        Peer::Unix => None,
    }
}

/// How the sender is named in logs and in the database.
pub(super) fn name_of(client: Option<IpAddr>, peer: &Peer) -> String {
    client.map_or_else(|| peer.to_string(), |ip| ip.to_string())
}

/// A method for the log: what a stranger invents is not repeated there.
fn known_method(method: &str) -> &str {
    match method {
        "GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS" => method,
        _ => "(unknown)",
    }
}
