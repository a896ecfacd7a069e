//! One connected socket, of either kind. Owns reading and writing with a deadline; refuses to know what the bytes mean.
//!
//! A read or write is tried first and only then waited for: under load the data is already there, and a wait costs one
//! `poll` with the time that is left, so no time-out has to be set on the socket before every read.

use std::{
    fmt,
    net::{SocketAddr, TcpStream},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixStream,
    },
    time::Instant,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    net::{RecvFlags, SendFlags, Shutdown, recv, send, shutdown},
};

/// Who is at the other end, as the socket tells. Behind a tunnel that is the tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Over TCP, from here.
    Tcp(SocketAddr),
    /// Over the Unix socket: somebody on this machine whom its permissions let in.
    Unix,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::Tcp(address) => address.fmt(f),
            Peer::Unix => f.write_str("the Unix socket"),
        }
    }
}

/// A connected socket.
#[derive(Debug)]
pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// A peer that is gone is an error of `send`, not a signal, whatever the program does about SIGPIPE.
#[cfg(not(target_vendor = "apple"))]
const SEND: SendFlags = SendFlags::DONTWAIT.union(SendFlags::NOSIGNAL);
/// Apple has no such flag; there Rust's start-up, which ignores SIGPIPE, has to do.
#[cfg(target_vendor = "apple")]
const SEND: SendFlags = SendFlags::DONTWAIT;

/// Why no more bytes can be had or sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// The deadline passed.
    Late,
    /// The connection is gone.
    Lost,
}

/// Whether a connection has said something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// Not yet.
    None,
    /// There is something to read.
    Some,
    /// It is gone, and never will.
    Never,
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Stream::Tcp(stream) => stream.as_fd(),
            Stream::Unix(stream) => stream.as_fd(),
        }
    }
}

impl Stream {
    /// Looks whether there is something to read, without taking it.
    pub(super) fn first_word(&self) -> Word {
        loop {
            match recv(self, &mut [0_u8; 1], RecvFlags::DONTWAIT | RecvFlags::PEEK) {
                Ok((0, _)) => return Word::Never,
                Ok(_) => return Word::Some,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Word::None,
                Err(_) => return Word::Never,
            }
        }
    }

    /// How much could be read at once.
    pub(super) fn readable_bytes(&self) -> u64 {
        // Who cannot be asked has nothing.
        rustix::io::ioctl_fionread(self).unwrap_or(0)
    }

    /// Reads what is there, or waits for it until the deadline. Zero is the end of the stream. What is there already
    /// is read even when the deadline has passed. Calls `before_wait` each time that nothing is there.
    pub(super) fn receive(
        &self,
        buffer: &mut [u8],
        deadline: Instant,
        before_wait: impl Fn(),
    ) -> Result<usize, Broken> {
        loop {
            match recv(self, &mut *buffer, RecvFlags::DONTWAIT) {
                Ok((count, _)) => return Ok(count),
                Err(Errno::INTR) => {}
                // EWOULDBLOCK is the same number on every system we run on.
                Err(Errno::AGAIN) => {
                    before_wait();
                    self.wait(PollFlags::IN, deadline)?;
                }
                Err(_) => return Err(Broken::Lost),
            }
        }
    }

    /// Writes everything, waiting for room until the deadline.
    pub(super) fn send_all(&self, mut bytes: &[u8], deadline: Instant) -> Result<(), Broken> {
        while !bytes.is_empty() {
            match send(self, bytes, SEND) {
                Ok(count) => bytes = &bytes[count.min(bytes.len())..],
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => self.wait(PollFlags::OUT, deadline)?,
                Err(_) => return Err(Broken::Lost),
            }
        }
        Ok(())
    }

    /// Ends reading: whoever waits in `receive` sees the end of the stream at once.
    pub(super) fn end_reading(&self) {
        // It fails only when the peer is gone already, which is what we want.
        let _ = shutdown(self, Shutdown::Read);
    }

    /// Ends writing: the peer sees the end of our answer.
    pub(super) fn end_writing(&self) {
        let _ = shutdown(self, Shutdown::Write);
    }

    /// Ends both.
    pub(super) fn end(&self) {
        let _ = shutdown(self, Shutdown::Both);
    }

    fn wait(&self, what: PollFlags, deadline: Instant) -> Result<(), Broken> {
        let left =
            deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()).ok_or(Broken::Late)?;
        // A time too large for the kernel's type is none at all.
        let timeout = Timespec::try_from(left).ok();
        match poll(&mut [PollFd::new(self, what)], timeout.as_ref()) {
            // On a time-out the caller tries once more and then finds the deadline passed.
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(_) => Err(Broken::Lost),
        }
    }
}
