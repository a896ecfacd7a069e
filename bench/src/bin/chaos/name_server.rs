//! A name server that may be dead. Owns a socket on loopback; knows one answer: every name is this machine.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

const PORT: u16 = 53;
const TYPE_A: u16 = 1;
/// Name, type and class of a question stand behind this.
const HEADER_BYTES: usize = 12;
/// How soon it notices that it is over.
const LOOK_UP: Duration = Duration::from_millis(100);

/// A name server; over when it is dropped.
pub(crate) struct NameServer {
    address: Ipv4Addr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    is_alive: AtomicBool,
    is_over: AtomicBool,
    asked: AtomicU64,
}

impl NameServer {
    /// One that is alive, at an address of its own.
    ///
    /// # Errors
    /// When this user may not listen at the port of name servers, or there is no such loopback.
    pub(crate) fn start() -> io::Result<NameServer> {
        let low = |bits: u32| u8::try_from(bits % 250).unwrap_or(0) + 2;
        let pid = std::process::id();
        let address = Ipv4Addr::new(127, 53, low(pid / 250), low(pid));
        let socket = UdpSocket::bind((address, PORT))?;
        socket.set_read_timeout(Some(LOOK_UP))?;
        let shared = Arc::new(Shared { is_alive: AtomicBool::new(true), ..Shared::default() });
        let for_thread = Arc::clone(&shared);
        let thread = thread::Builder::new().name("names".to_owned()).spawn(move || serve(&socket, &for_thread))?;
        Ok(NameServer { address, shared, thread: Some(thread) })
    }

    pub(crate) fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Whether it answers; when it does not, it takes the questions and says nothing.
    pub(crate) fn live(&self, is_alive: bool) {
        self.shared.is_alive.store(is_alive, Ordering::Release);
    }

    /// How many questions there were, answered or not.
    pub(crate) fn asked(&self) -> u64 {
        self.shared.asked.load(Ordering::Acquire)
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            // A panic there has been printed already.
            let _ = thread.join();
        }
    }
}

fn serve(socket: &UdpSocket, shared: &Shared) {
    let mut question = [0; 512];
    while !shared.is_over.load(Ordering::Acquire) {
        // Nothing came, or who asked has gone.
        let Ok((bytes, from)) = socket.recv_from(&mut question) else { continue };
        shared.asked.fetch_add(1, Ordering::AcqRel);
        if shared.is_alive.load(Ordering::Acquire)
            && let Some(answer) = answer(&question[..bytes])
        {
            tell(socket, &answer, from);
        }
    }
}

fn tell(socket: &UdpSocket, answer: &[u8], to: SocketAddr) {
    // A name server's answers may be lost; who asked asks again.
    let _ = socket.send_to(answer, to);
}

/// To one question; `None` for what is none. See RFC 1035, 4.1.
fn answer(question: &[u8]) -> Option<Vec<u8>> {
    let header = question.get(..HEADER_BYTES)?;
    if header[4..6] != [0, 1] {
        return None;
    }
    let mut end = HEADER_BYTES;
    while *question.get(end)? != 0 {
        end += usize::from(question[end]) + 1;
    }
    let asked = question.get(HEADER_BYTES..end + 5)?;
    let is_a = asked[asked.len() - 4..asked.len() - 2] == TYPE_A.to_be_bytes();
    let mut answer = header[..2].to_vec();
    // An answer, recursion desired and available, no error; one question, one answer or none.
    answer.extend([0x81, 0x80, 0, 1, 0, u8::from(is_a), 0, 0, 0, 0]);
    answer.extend(asked);
    if is_a {
        // The name of the question, type A, class IN, not to be kept, four bytes.
        answer.extend([0xc0, 0x0c, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
        answer.extend(Ipv4Addr::LOCALHOST.octets());
    }
    Some(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(kind: u8) -> Vec<u8> {
        let mut bytes = vec![7, 9, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        bytes.extend(b"\x05hooks\x04test\0");
        bytes.extend([0, kind, 0, 1]);
        bytes
    }

    #[test]
    fn a_name_is_this_machine_and_has_no_other_address() {
        let told = answer(&question(1)).unwrap();
        assert_eq!(told[..8], [7, 9, 0x81, 0x80, 0, 1, 0, 1]);
        assert_eq!(told[told.len() - 4..], [127, 0, 0, 1]);
        let none = answer(&question(28)).unwrap();
        assert_eq!((none[7], none.len()), (0, question(28).len()));
        assert!(answer(&question(1)[..20]).is_none());
        assert!(answer(b"nonsense").is_none());
    }
}
