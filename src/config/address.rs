//! Addresses: listeners, URLs, networks. Owns their syntax and the rule that nothing leaves this machine in the clear;
//! connects to nothing.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use ipnet::IpNet;

use super::{Listen, problem::Fault, raw::Node};
use crate::http;

/// Longest path of a Unix socket: the kernel's 108 bytes less the final zero.
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// `host:port` or `unix:/path`. A relative socket path stands beneath `directory`.
pub(super) fn listen(node: &Node<'_>, directory: &Path) -> Result<Listen, Fault> {
    let text = node.text()?;
    match text.strip_prefix("unix:") {
        Some("") => Err(Fault::new("the path of the socket is missing").hint("write \"unix:/run/hookbell/door.sock\"")),
        Some(path) => {
            let path = directory.join(path);
            let bytes = path.as_os_str().len();
            if bytes > SOCKET_PATH_BYTES_MAX {
                let what = format!("the socket's path has {bytes} bytes, the kernel takes {SOCKET_PATH_BYTES_MAX}");
                return Err(Fault::new(what));
            }
            Ok(Listen::Unix(path))
        }
        None => socket_address(text).map(Listen::Tcp),
    }
}

/// `host:port`, where the host is an address or `localhost`: a name would have to be looked up before there is a
/// network.
pub(super) fn socket_address(text: &str) -> Result<SocketAddr, Fault> {
    if let Some(port) = text.strip_prefix("localhost:").and_then(|port| port.parse().ok()) {
        return Ok(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port));
    }
    text.parse().map_err(|_| {
        Fault::new(format!("`{text}` is not an address and port"))
            .hint("write \"127.0.0.1:5000\", \"[::1]:5000\" or \"unix:/path\"")
    })
}

/// A network such as `10.0.0.0/8`; a bare address stands for itself alone.
pub(super) fn network(node: &Node<'_>) -> Result<IpNet, Fault> {
    let text = node.text()?;
    let bare = || text.parse::<IpAddr>().map(IpNet::from).ok();
    text.parse().ok().or_else(bare).ok_or_else(|| {
        Fault::new(format!("`{text}` is not a network")).hint(
            "write \"192.0.2.0/24\", \"2001:db8::/32\", an address, or \"github\" for those that GitHub publishes",
        )
    })
}

/// An IP address.
pub(super) fn ip(node: &Node<'_>) -> Result<IpAddr, Fault> {
    let text = node.text()?;
    text.parse().map_err(|_| {
        let fault = Fault::new(format!("`{text}` is not an IP address"));
        if text.contains('/') { fault.hint("networks do not go here, only single addresses") } else { fault }
    })
}

/// Says what is wrong with a URL that we would call, without showing it: an incoming webhook's URL is a secret.
pub(super) fn check_url(url: &str) -> Result<(), Fault> {
    http::check_url(url, http::Reach::Anybody).map_err(Fault::new)
}

/// A path in the file that names data of ours: relative ones stand beneath `directory`, so that what leaves here does
/// not depend on where a process happens to stand.
pub(super) fn data_path(node: &Node<'_>, directory: &Path) -> Result<PathBuf, Fault> {
    match node.text()? {
        "" => Err(Fault::new("the path is empty")),
        path => Ok(directory.join(path)),
    }
}
