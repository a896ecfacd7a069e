//! Where a browser finds the panel: the address for this machine and those beyond it, and a name that needs no name server.
//! Owns the guess and the picture of it for a telephone's camera; refuses to promise that a name is heard.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    path::Path,
};

use qrcodegen::{QrCode, QrCodeEcc};

use crate::config::Listen;

/// Where mDNS is answered for this machine, on Debian and Raspberry Pi OS.
const AVAHI: &str = "/run/avahi-daemon/pid";

/// Where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// What to open.
    pub url: String,
    /// The same by a name within the local network, where a daemon answers for it.
    pub by_name: Option<String>,
    /// Whether it can be opened from beyond this machine.
    pub is_beyond: bool,
}

impl Address {
    /// Of a panel that listens there; `None` where no browser gets to.
    pub fn of(listen: &Listen) -> Option<Address> {
        let Listen::Tcp(address) = listen else { return None };
        let port = address.port();
        let is_beyond = !address.ip().is_loopback();
        let ip =
            if address.ip().is_unspecified() { local_ip().unwrap_or(Ipv4Addr::LOCALHOST.into()) } else { address.ip() };
        let name = hostname();
        let short = name.split('.').next().unwrap_or_default();
        let is_heard = is_beyond && !short.is_empty() && Path::new(AVAHI).exists();
        Some(Address {
            url: format!("http://{}/", SocketAddr::new(ip, port)),
            by_name: is_heard.then(|| format!("http://{short}.local:{port}/")),
            is_beyond,
        })
    }

    /// The best address for somebody with a telephone.
    pub fn best(&self) -> &str {
        self.by_name.as_deref().unwrap_or(&self.url)
    }

    /// A QR code of the address, two modules a character, with the quiet zone that scanners need. `None` where nobody could
    /// open it.
    pub fn picture(&self) -> Option<Vec<String>> {
        const QUIET: i32 = 2;
        let code = QrCode::encode_text(&self.url, QrCodeEcc::Low).ok().filter(|_| self.is_beyond)?;
        let range = -QUIET..code.size() + QUIET;
        // Light modules are drawn, because a terminal's ground is dark; inverted it is read as well.
        let (code, range) = (&code, &range);
        let line = |y: i32| {
            range.clone().map(move |x| match (code.get_module(x, y), code.get_module(x, y + 1)) {
                (false, false) => '█',
                (false, true) => '▀',
                (true, false) => '▄',
                (true, true) => ' ',
            })
        };
        Some(range.clone().step_by(2).map(|y| line(y).collect()).collect())
    }
}

/// The machine's name.
pub fn hostname() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    if name == "(none)" { String::new() } else { name }
}

/// The address by which others reach us: that of the way out. Nothing is sent to find it.
fn local_ip() -> Option<IpAddr> {
    let ways: [(IpAddr, IpAddr); 2] = [
        (Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::new(192, 0, 2, 1).into()),
        (Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into()),
    ];
    ways.into_iter().find_map(|(from, to)| {
        let socket = UdpSocket::bind((from, 0)).ok()?;
        socket.connect((to, 9)).ok()?;
        let ip = socket.local_addr().ok()?.ip();
        (!ip.is_unspecified()).then_some(ip)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(listen: &str) -> Address {
        Address::of(&Listen::Tcp(listen.parse().unwrap())).unwrap()
    }

    #[test]
    fn on_this_machine_alone_there_is_nothing_to_scan() {
        let address = of("127.0.0.1:5001");
        assert_eq!((address.url.as_str(), address.by_name.as_ref()), ("http://127.0.0.1:5001/", None));
        assert_eq!(address.picture(), None);
        assert_eq!(Address::of(&Listen::Unix("/run/x".into())), None);
    }

    #[test]
    fn the_picture_is_the_address() {
        let address = of("192.168.1.7:5001");
        assert_eq!(address.url, "http://192.168.1.7:5001/");
        let picture = address.picture().unwrap();
        let width = picture[0].chars().count();
        assert!(picture.iter().all(|line| line.chars().count() == width));
        // Version 2 has 25 modules, and a quiet zone of two at each side.
        assert_eq!((width, picture.len()), (29, 15));
        assert_eq!(picture[0], "█".repeat(29));
        assert_eq!(&picture[1].chars().take(9).collect::<String>(), "██ ▄▄▄▄▄ ");
        assert_eq!(of("[2001:db8::7]:80").url, "http://[2001:db8::7]:80/");
    }
}
