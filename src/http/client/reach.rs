//! Whom a client may connect to. Owns which addresses are public; refuses to know who asks and why.
//!
//! The judgement falls on the addresses that a name has resolved to, at the moment of connecting and on the very list
//! that is connected to: a name that resolves to another address the second time (DNS rebinding) is judged each time.

use std::{
    error, fmt, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::mpsc::sync_channel,
};

use ureq::{
    config::Config,
    http::Uri,
    unversioned::{
        resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver},
        transport::{NextTimeout, time::Duration::NotHappening},
    },
};

use crate::threads::{self, STACK_BYTES};

/// Whom a client may connect to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Everybody by https, and this machine in the clear as well.
    Anybody,
    /// Public addresses by https.
    Public,
    /// Everybody by https, and in the clear whoever is not public: this machine, the local network.
    Private,
}

impl Reach {
    /// Whether a connection to this address is allowed.
    fn allows(self, address: IpAddr, in_the_clear: bool) -> bool {
        match self {
            // What is in the clear is judged by its name, see `check_url`.
            Reach::Anybody => true,
            Reach::Public => is_public(address),
            Reach::Private => !in_the_clear || !is_public(address),
        }
    }

    /// Judges a host as it is written in a URL, where that says enough.
    ///
    /// # Errors
    /// A text for people.
    pub(super) fn check_host(self, host: &str, in_the_clear: bool) -> Result<(), String> {
        let written = address(host);
        if self == Reach::Anybody && in_the_clear && !written.is_some_and(|address| address.is_loopback()) {
            return Err("plain http is for this machine only; use https".to_owned());
        }
        match written {
            Some(address) if !self.allows(address, in_the_clear) => Err(Forbidden { address }.to_string()),
            _ if self == Reach::Public && in_the_clear => {
                Err("plain http is for private addresses; use https".to_owned())
            }
            _ => Ok(()),
        }
    }
}

/// The address that a URL's host is, where it is one.
fn address(host: &str) -> Option<IpAddr> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    match host.eq_ignore_ascii_case("localhost") {
        true => Some(Ipv4Addr::LOCALHOST.into()),
        false => bare.parse().ok(),
    }
}

/// An address that was not connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Forbidden {
    pub(super) address: IpAddr,
}

impl fmt::Display for Forbidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match is_public(self.address) {
            true => write!(f, "plain http to {}, which is a public address; use https", self.address),
            false => write!(f, "{} is not a public address", self.address),
        }
    }
}

impl error::Error for Forbidden {}

/// Resolves as ureq does, and leaves out whom the client may not connect to.
#[derive(Debug)]
pub(super) struct Guard {
    pub(super) reach: Reach,
}

impl Resolver for Guard {
    fn resolve(&self, uri: &Uri, config: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let found = look_up(uri, config, timeout)?;
        let in_the_clear = uri.scheme_str() != Some("https");
        let mut allowed = self.empty();
        for address in found.iter().filter(|address| self.reach.allows(address.ip(), in_the_clear)) {
            allowed.push(*address);
        }
        match found.iter().next() {
            Some(first) if allowed.is_empty() => Err(ureq::Error::Other(Box::new(Forbidden { address: first.ip() }))),
            _ => Ok(allowed),
        }
    }
}

/// In a thread, as ureq does where there is a time-out. One that the system refuses is a failure to connect: ureq would panic, and
/// what panics is given up for good.
fn look_up(uri: &Uri, config: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
    let (tell, told) = sync_channel(1);
    let (uri, config, reason) = (uri.clone(), config.clone(), timeout.reason);
    let patience = NextTimeout { after: NotHappening, ..timeout };
    // Who asked may have left.
    let ask = move || drop(tell.send(DefaultResolver::default().resolve(&uri, &config, patience)));
    threads::spawn("look-up", STACK_BYTES, ask).map_err(|error| {
        io::Error::new(io::ErrorKind::AddrNotAvailable, format!("no thread to look its name up: {error}"))
    })?;
    told.recv_timeout(*timeout.after).unwrap_or(Err(ureq::Error::Timeout(reason)))
}

/// IPv4 networks that are not of the public internet (IANA's special-purpose registry): network and length of the prefix.
const SPECIAL: &[(Ipv4Addr, u32)] = &[
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    // Between a provider and its customers (CGNAT).
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
    // Multicast, what is reserved, and broadcast.
    (Ipv4Addr::new(224, 0, 0, 0), 3),
];

/// Whether the address is somewhere on the public internet.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    SPECIAL.iter().all(|(network, prefix)| (address.to_bits() ^ network.to_bits()) >> (32 - prefix) != 0)
}

/// What is not known to be public is not: loopback, link-local, unique-local and multicast lie outside 2000::/3.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    let [.., high, low] = segments;
    let embedded = || Ipv4Addr::from_bits((u32::from(high) << 16) | u32::from(low));
    match segments {
        // An IPv4 address by another name: mapped, or behind a translator (NAT64).
        [0, 0, 0, 0, 0, 0xffff, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => is_public_v4(embedded()),
        // Of protocols: Teredo and benchmarks among them.
        [0x2001, second, ..] if second < 0x200 => false,
        // For documentation.
        [0x2001, 0xdb8, ..] => false,
        [0x3fff, second, ..] if second < 0x1000 => false,
        // 6to4, which holds an IPv4 address of anybody's choice.
        [0x2002, ..] => false,
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn only_the_public_internet_is_public() {
        for public in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2606:4700::1111",
            "2a00::1",
            "2001:4860:4860::8888",
            "::ffff:1.1.1.1",
            "64:ff9b::1.1.1.1",
        ] {
            assert!(is_public(ip(public)), "{public}");
        }
        for special in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.255",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.1",
            "239.1.1.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::7f00:1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::10.0.0.1",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:1ff::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "3fff::1",
            "fc00::1",
            "fd12:3456::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!is_public(ip(special)), "{special}");
        }
    }

    #[test]
    fn what_is_written_in_a_url_is_judged_as_far_as_it_says() {
        let refused = |reach: Reach, host: &str, in_the_clear: bool| reach.check_host(host, in_the_clear).is_err();
        for host in ["localhost", "127.0.0.1", "[::1]"] {
            assert!(!refused(Reach::Anybody, host, true) && !refused(Reach::Private, host, true), "{host}");
            assert!(refused(Reach::Public, host, true) && refused(Reach::Public, host, false), "{host}");
        }
        for host in ["10.0.0.1", "[fd00::1]", "printer.lan"] {
            assert!(refused(Reach::Anybody, host, true) && !refused(Reach::Anybody, host, false), "{host}");
            assert!(refused(Reach::Public, host, true) && !refused(Reach::Private, host, true), "{host}");
        }
        // Names are judged when they resolve.
        assert!(!refused(Reach::Public, "printer.lan", false) && refused(Reach::Public, "10.0.0.1", false));
        assert!(refused(Reach::Private, "1.1.1.1", true) && !refused(Reach::Private, "1.1.1.1", false));
        assert!(!refused(Reach::Public, "1.1.1.1", false));
    }
}
