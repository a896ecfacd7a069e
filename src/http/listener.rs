//! A socket that listens. Owns binding with its remedies and the life of a Unix socket's file, unless somebody else has
//! bound it; refuses to know who is served.

use std::{
    fs, io,
    net::TcpListener,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::{
            fs::{FileTypeExt, MetadataExt, PermissionsExt},
            net::{UnixListener, UnixStream},
        },
    },
    path::{Path, PathBuf},
};

use super::socket::{Peer, Stream};
use crate::{config::Listen, systemd::Passed};

/// A listening socket. Dropping it closes it and removes the file of a Unix socket that it has bound.
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener, SocketFile),
    /// Bound by somebody else, whose file it is.
    Adopted(UnixListener),
}

/// The file of a Unix socket, by identity: when somebody has put another one in its place, that one is not ours to
/// remove.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

/// Connections that wait in the kernel to be accepted: a burst shall wait there and not in a lost SYN's back-off of a
/// second. The lobby takes tens of thousands a second, so that they do not wait long. The standard library asks for 128;
/// the system's own limit (`net.core.somaxconn`) caps this.
const BACKLOG: i32 = 4096;

impl Listener {
    /// Binds and listens.
    ///
    /// # Errors
    /// Names the address and the remedy.
    pub fn bind(listen: &Listen) -> io::Result<Listener> {
        let socket = match listen {
            Listen::Tcp(address) => {
                let listener = TcpListener::bind(address).map_err(|error| {
                    let remedy = match error.kind() {
                        io::ErrorKind::AddrInUse => "; stop the process that listens there or choose another port",
                        io::ErrorKind::PermissionDenied => "; ports below 1024 need a privilege, choose a higher one",
                        io::ErrorKind::AddrNotAvailable => "; this machine has no such address",
                        _ => "",
                    };
                    io::Error::new(error.kind(), format!("cannot listen on {address}: {error}{remedy}"))
                })?;
                rustix::net::listen(&listener, BACKLOG)?;
                listener.set_nonblocking(true)?;
                Socket::Tcp(listener)
            }
            Listen::Unix(path) => {
                let (listener, file) = bind_unix(path).map_err(|error| {
                    io::Error::new(error.kind(), format!("cannot listen on unix:{}: {error}", path.display()))
                })?;
                Socket::Unix(listener, file)
            }
        };
        Ok(Listener { socket })
    }

    /// Takes over a socket that somebody else has bound, and who goes on listening when this one is closed.
    ///
    /// # Errors
    /// When the system does not let it be used like one of ours.
    pub fn adopt(passed: Passed) -> io::Result<Listener> {
        let socket = match passed {
            Passed::Tcp(listener) => {
                listener.set_nonblocking(true)?;
                Socket::Tcp(listener)
            }
            Passed::Unix(listener) => {
                listener.set_nonblocking(true)?;
                Socket::Adopted(listener)
            }
        };
        // Whatever backlog it was bound with.
        rustix::net::listen(&socket, BACKLOG)?;
        Ok(Listener { socket })
    }

    /// Where it listens; a port that was asked for as 0 is the one that was given.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn local_addr(&self) -> io::Result<Listen> {
        match &self.socket {
            Socket::Tcp(listener) => listener.local_addr().map(Listen::Tcp),
            Socket::Unix(_, file) => Ok(Listen::Unix(file.path.clone())),
            // One in Linux's abstract name space has no path.
            Socket::Adopted(listener) => {
                let address = listener.local_addr()?;
                Ok(Listen::Unix(address.as_pathname().unwrap_or(Path::new("")).to_owned()))
            }
        }
    }

    /// The next connection, `None` when none waits.
    pub(super) fn accept(&self) -> io::Result<Option<(Stream, Peer)>> {
        let accepted = match &self.socket {
            Socket::Tcp(listener) => listener.accept().map(|(stream, peer)| (Stream::Tcp(stream), Peer::Tcp(peer))),
            Socket::Unix(listener, _) | Socket::Adopted(listener) => {
                listener.accept().map(|(stream, _)| (Stream::Unix(stream), Peer::Unix))
            }
        };
        match accepted {
            Ok(connection) => Ok(Some(connection)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Socket::Tcp(listener) => listener.as_fd(),
            Socket::Unix(listener, _) | Socket::Adopted(listener) => listener.as_fd(),
        }
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let ours =
            fs::symlink_metadata(&self.path).is_ok_and(|found| (found.dev(), found.ino()) == (self.device, self.inode));
        if ours && let Err(error) = fs::remove_file(&self.path) {
            log::warn!("cannot remove the socket {}: {error}", self.path.display());
        }
    }
}

fn bind_unix(path: &Path) -> io::Result<(UnixListener, SocketFile)> {
    remove_stale(path)?;
    let listener = UnixListener::bind(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => io::Error::new(error.kind(), format!("{error}; create its directory first")),
        _ => error,
    })?;
    // Until here the umask has decided. Where it lets others in, they could have connected for this moment, and would have
    // had to prove themselves like anybody.
    fs::set_permissions(path, fs::Permissions::from_mode(0o660))?;
    rustix::net::listen(&listener, BACKLOG)?;
    listener.set_nonblocking(true)?;
    let found = fs::symlink_metadata(path)?;
    Ok((listener, SocketFile { path: path.to_owned(), device: found.dev(), inode: found.ino() }))
}

/// Removes a socket that nobody listens on any more, as a killed process leaves it.
fn remove_stale(path: &Path) -> io::Result<()> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !found.file_type().is_socket() {
        let text = "there is a file that is not a socket; remove it or choose another path";
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            "another process is listening on it; stop that one or choose another path",
        )),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unix(path: &Path) -> Listen {
        Listen::Unix(path.to_owned())
    }

    #[test]
    fn a_socket_file_lives_as_long_as_its_listener() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("door.sock");
        let listener = Listener::bind(&unix(&path)).unwrap();
        assert_eq!(listener.local_addr().unwrap(), unix(&path));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
        drop(listener);
        assert!(!path.exists());
    }

    #[test]
    fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("door.sock");
        // std leaves the file behind, as a killed process does.
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let listener = Listener::bind(&unix(&path)).unwrap();
        let error = Listener::bind(&unix(&path)).unwrap_err().to_string();
        assert!(error.contains("another process is listening"), "{error}");
        drop(listener);
    }

    #[test]
    fn what_is_not_ours_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("door.sock");
        fs::write(&path, "precious").unwrap();
        let error = Listener::bind(&unix(&path)).unwrap_err().to_string();
        assert!(error.contains("not a socket"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
        fs::remove_file(&path).unwrap();

        let listener = Listener::bind(&unix(&path)).unwrap();
        fs::remove_file(&path).unwrap();
        let other = UnixListener::bind(&path).unwrap();
        drop(listener);
        assert!(path.exists(), "another process's socket was removed");
        drop(other);
    }

    #[test]
    fn an_adopted_socket_stays_where_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("door.sock");
        // What the service manager keeps.
        let manager = UnixListener::bind(&path).unwrap();
        let adopted = Listener::adopt(Passed::Unix(manager.try_clone().unwrap())).unwrap();
        assert_eq!(adopted.local_addr().unwrap(), unix(&path));
        drop(adopted);
        let waiting = UnixStream::connect(&path).unwrap();
        let next = Listener::adopt(Passed::Unix(manager.try_clone().unwrap())).unwrap();
        assert!(matches!(next.accept(), Ok(Some((_, Peer::Unix)))), "who came in between was lost");
        assert!(matches!(next.accept(), Ok(None)), "it would block");
        drop(waiting);
    }

    #[test]
    fn a_taken_port_is_named() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let error = Listener::bind(&Listen::Tcp(address)).unwrap_err().to_string();
        assert!(error.contains(&address.to_string()) && error.contains("another port"), "{error}");
    }

    #[test]
    fn what_cannot_be_listened_on_is_said() {
        let directory = tempfile::tempdir().unwrap();
        let at = |path: &str| directory.path().join(path);
        fs::write(at("file"), "").unwrap();
        let datagrams = std::os::unix::net::UnixDatagram::bind(at("datagrams")).unwrap();
        for (listen, part) in [
            // Of those that are for documentation.
            (Listen::Tcp(([192, 0, 2, 1], 0).into()), "this machine has no such address"),
            (unix(&at("none/door.sock")), "create its directory first"),
            (unix(&at(&"long".repeat(50))), "cannot listen on unix:"),
            (unix(&at("file/door.sock")), "cannot listen on unix:"),
            (unix(&at("datagrams")), "cannot listen on unix:"),
        ] {
            let error = Listener::bind(&listen).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
        assert!(at("datagrams").exists(), "another program's socket was removed");
        drop(datagrams);
    }

    #[test]
    fn an_adopted_port_is_used_like_one_of_ours() {
        let manager = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = manager.local_addr().unwrap();
        let adopted = Listener::adopt(Passed::Tcp(manager.try_clone().unwrap())).unwrap();
        assert_eq!(adopted.local_addr().unwrap(), Listen::Tcp(address));
        assert!(matches!(adopted.accept(), Ok(None)), "it would block");
        let client = std::net::TcpStream::connect(address).unwrap();
        assert!(
            matches!(adopted.accept(), Ok(Some((_, Peer::Tcp(peer)))) if Ok(peer) == client.local_addr().map_err(|_| ()))
        );
    }
}
