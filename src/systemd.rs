//! Talking to the service manager by its datagram protocol (sd_notify(3)). Silent where there is none.

use std::{env, io, os::unix::net::UnixDatagram};

/// What the service manager can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The door is open.
    Ready,
    /// The end has begun.
    Stopping,
}

/// Tells the service manager, when one started us.
pub fn notify(state: State) {
    let Some(socket) = env::var_os("NOTIFY_SOCKET") else { return };
    let message: &[u8] = match state {
        State::Ready => b"READY=1",
        State::Stopping => b"STOPPING=1",
    };
    if let Err(error) = send(&socket, message) {
        log::warn!("cannot tell the service manager: {error}");
    }
}

fn send(socket: &std::ffi::OsStr, message: &[u8]) -> io::Result<()> {
    let sender = UnixDatagram::unbound()?;
    match abstract_name(socket) {
        Some(name) => abstract_socket::send(&sender, name, message),
        None => sender.send_to(message, socket).map(|_| ()),
    }
}

/// `@name` stands for Linux's abstract name space.
fn abstract_name(socket: &std::ffi::OsStr) -> Option<&[u8]> {
    use std::os::unix::ffi::OsStrExt;
    socket.as_bytes().strip_prefix(b"@")
}

#[cfg(target_os = "linux")]
mod abstract_socket {
    use std::{
        io,
        os::{
            linux::net::SocketAddrExt,
            unix::net::{SocketAddr, UnixDatagram},
        },
    };

    pub(super) fn send(sender: &UnixDatagram, name: &[u8], message: &[u8]) -> io::Result<()> {
        sender.send_to_addr(message, &SocketAddr::from_abstract_name(name)?).map(|_| ())
    }
}

#[cfg(not(target_os = "linux"))]
mod abstract_socket {
    use std::{io, os::unix::net::UnixDatagram};

    pub(super) fn send(_: &UnixDatagram, _: &[u8], _: &[u8]) -> io::Result<()> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "abstract sockets exist on Linux only"))
    }
}
