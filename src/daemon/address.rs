//! Addresses of listeners: whether two are one, and how they are told. Pure but for a look at a socket's file.

use std::net::SocketAddr;

use crate::config::Listen;

/// Whether two addresses are one, whichever way the path of a socket is spelt.
pub(super) fn is_same(one: &Listen, other: &Listen) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (one, other) {
        (Listen::Unix(one), Listen::Unix(other)) => {
            let file = |path: &std::path::Path| path.metadata().ok().map(|found| (found.dev(), found.ino()));
            one == other || file(one).is_some_and(|found| Some(found) == file(other))
        }
        _ => one == other,
    }
}

/// As it is written in the log.
pub(super) fn address_text(address: &Listen) -> String {
    match address {
        Listen::Tcp(address) => format!("http://{address}"),
        Listen::Unix(path) => format!("unix:{}", path.display()),
    }
}

/// A door address that a client on this machine can connect to.
pub fn loopback_address(address: &Listen) -> Option<SocketAddr> {
    match address {
        Listen::Tcp(address) if address.ip().is_unspecified() => Some(SocketAddr::new(
            if address.is_ipv4() { std::net::Ipv4Addr::LOCALHOST.into() } else { std::net::Ipv6Addr::LOCALHOST.into() },
            address.port(),
        )),
        Listen::Tcp(address) => Some(*address),
        Listen::Unix(_) => None,
    }
}
