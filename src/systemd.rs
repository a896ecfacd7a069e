//! Talking to the service manager: its datagram protocol (sd_notify(3)), its watchdog, the sockets that it listens on
//! for us (sd_listen_fds(3)). Silent where there is none.

use std::{
    env, io,
    net::TcpListener,
    os::unix::net::{UnixDatagram, UnixListener},
    time::Duration,
};

use listenfd::ListenFd;

/// What the service manager can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The door is open.
    Ready,
    /// The end has begun.
    Stopping,
    /// The watchdog shall wait for another interval.
    Alive,
}

/// Tells the service manager, when one started us.
pub fn notify(state: State) {
    let Some(socket) = env::var_os("NOTIFY_SOCKET") else { return };
    let message: &[u8] = match state {
        State::Ready => b"READY=1",
        State::Stopping => b"STOPPING=1",
        State::Alive => b"WATCHDOG=1",
    };
    if let Err(error) = send(&socket, message) {
        log::warn!("cannot tell the service manager: {error}");
    }
}

/// How long the service manager waits for [`State::Alive`] before it ends us (`WatchdogSec=`); `None` where it does not
/// watch this process.
pub fn watchdog() -> Option<Duration> {
    let number = |name: &str| env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let is_ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
    number("WATCHDOG_USEC").filter(|us| *us > 0 && is_ours).map(Duration::from_micros)
}

/// A listening socket that outlives this process: who connects while there is none waits in the kernel for the next one.
#[derive(Debug)]
pub enum Passed {
    /// `ListenStream=` with an address and a port.
    Tcp(TcpListener),
    /// `ListenStream=` with a path.
    Unix(UnixListener),
}

/// Takes the sockets that the service manager has passed to this process; at the second call there are none. No program that
/// is started later inherits them.
///
/// # Errors
/// When one of them is not a stream socket.
pub fn take_sockets() -> io::Result<Vec<Passed>> {
    let mut passed = ListenFd::from_env();
    let mut sockets = Vec::new();
    for position in 0..passed.len() {
        // What is left in its place by one question is there for the next.
        match passed.take_unix_listener(position) {
            Ok(socket) => sockets.extend(socket.map(Passed::Unix)),
            Err(_) => sockets.extend(passed.take_tcp_listener(position)?.map(Passed::Tcp)),
        }
    }
    Ok(sockets)
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
