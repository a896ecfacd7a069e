//! Conversations with a server, as many as wanted in one thread. Owns sockets that never block and one epoll; refuses to
//! know what a request means and which answer is right.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    io,
    net::{Shutdown, SocketAddr, TcpStream},
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
    time::{Duration, Instant},
};

use rustix::{
    buffer::spare_capacity,
    event::{Timespec, epoll},
    io::Errno,
    net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, connect, recv, send, socket_with, sockopt},
};

/// Of each answer this much is kept.
const KEPT_BYTES_MAX: usize = 4096;

/// Writes in a row before the others have their turn.
const WRITES_MAX: usize = 16;

/// What a client does, in order. Whatever it is, the answer is read meanwhile, unless the script says otherwise.
#[derive(Clone, Debug)]
pub enum Step {
    /// Sends these bytes, so many times.
    Send(Arc<[u8]>, u64),
    /// Sends one of these bytes at each interval, again and again from the first.
    Drip(Arc<[u8]>, Duration),
    /// Ends its own direction.
    HalfClose,
    /// Resets the connection.
    Reset,
}

/// A whole client.
#[derive(Clone, Debug)]
pub struct Script {
    /// In order.
    pub steps: Arc<[Step]>,
    /// Whether it ever reads.
    pub reads: bool,
    /// Its patience.
    pub lasts: Duration,
}

impl Script {
    /// Does this, and reads what is answered meanwhile.
    pub fn new(steps: impl Into<Arc<[Step]>>, lasts: Duration) -> Script {
        Script { steps: steps.into(), reads: true, lasts }
    }

    /// Sends this and waits for the answer.
    pub fn ask(bytes: impl Into<Arc<[u8]>>, lasts: Duration) -> Script {
        Script::new([Step::Send(bytes.into(), 1)], lasts)
    }
}

/// How a conversation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// By the server, orderly.
    Closed,
    /// By the server, with a reset.
    Reset,
    /// By the client, as its script says.
    Own,
    /// The client's patience was over.
    Patience,
    /// It never came to be.
    NotConnected,
}

/// One that is over.
#[derive(Clone, Debug)]
pub struct Ended {
    /// As it was begun with.
    pub tag: u64,
    /// When it began.
    pub begun: Instant,
    /// When it was over.
    pub at: Instant,
    /// How it ended.
    pub how: How,
    /// The beginning of what was answered.
    pub answer: Vec<u8>,
}

impl Ended {
    /// The statuses of all answers, in order; interim ones are none.
    pub fn statuses(&self) -> Vec<u16> {
        let text = String::from_utf8_lossy(&self.answer);
        let parts = text.split("HTTP/1.").skip(1);
        parts.filter_map(|part| part.get(2..5)?.parse().ok()).filter(|status| *status >= 200).collect()
    }

    /// What a hookbell that refused said in its answer, else nothing.
    pub fn reason(&self) -> Option<String> {
        let text = String::from_utf8_lossy(&self.answer);
        let (_, body) = text.rsplit_once("\r\n\r\n")?;
        let body: serde_json::Value = serde_json::from_str(body).ok()?;
        Some(body.get("error")?.as_str()?.to_owned())
    }

    /// In a few words.
    pub fn said(&self) -> String {
        let statuses: Vec<String> = self.statuses().iter().map(u16::to_string).collect();
        match (statuses.is_empty(), self.how) {
            (false, _) => statuses.join(", then "),
            (true, How::Closed) => "closed".to_owned(),
            (true, How::Reset) => "reset".to_owned(),
            (true, How::Own) => "left".to_owned(),
            (true, How::Patience) => format!("nothing for {:.1} s", (self.at - self.begun).as_secs_f64()),
            (true, How::NotConnected) => "no connection".to_owned(),
        }
    }
}

struct Talk {
    tag: u64,
    stream: TcpStream,
    script: Script,
    begun: Instant,
    connected: bool,
    /// The step, how often it was done, and how many of its bytes were sent this time.
    step: usize,
    times: u64,
    offset: usize,
    drip_at: Option<Instant>,
    answer: Vec<u8>,
}

/// What a talk wants next.
enum Next {
    Event,
    /// Another turn, without an event.
    Turn,
    /// Another turn then.
    At(Instant),
    End(How),
}

/// Many conversations with one server.
pub struct Swarm {
    address: SocketAddr,
    epoll: OwnedFd,
    talks: Vec<(u32, Option<Talk>)>,
    free: Vec<usize>,
    /// When to look at which one again, with its generation.
    due: BinaryHeap<Reverse<(Instant, usize, u32)>>,
    again: Vec<usize>,
    ended: Vec<Ended>,
    events: Vec<epoll::Event>,
}

impl Swarm {
    /// Nobody yet.
    ///
    /// # Errors
    /// When the kernel has no epoll for us.
    pub fn new(address: SocketAddr) -> io::Result<Swarm> {
        Ok(Swarm {
            address,
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            talks: Vec::new(),
            free: Vec::new(),
            due: BinaryHeap::new(),
            again: Vec::new(),
            ended: Vec::new(),
            events: Vec::with_capacity(256),
        })
    }

    /// How many are open.
    pub fn open(&self) -> usize {
        self.talks.len() - self.free.len()
    }

    /// Begins one more.
    pub fn begin(&mut self, tag: u64, script: &Script) {
        let begun = Instant::now();
        let lost = Ended { tag, begun, at: begun, how: How::NotConnected, answer: Vec::new() };
        let Ok(stream) = begin(self.address, script) else {
            self.ended.push(lost);
            return;
        };
        let index = self.free.pop().unwrap_or_else(|| {
            self.talks.push((0, None));
            self.talks.len() - 1
        });
        let (generation, place) = &mut self.talks[index];
        *generation = generation.wrapping_add(1);
        let data = epoll::EventData::new_u64(u64::from(*generation) << 32 | index as u64);
        let events = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::RDHUP | epoll::EventFlags::ET;
        if epoll::add(&self.epoll, &stream, data, events).is_err() {
            self.free.push(index);
            self.ended.push(lost);
            return;
        }
        self.due.push(Reverse((begun + script.lasts, index, *generation)));
        *place = Some(Talk {
            tag,
            stream,
            script: script.clone(),
            begun,
            connected: false,
            step: 0,
            times: 0,
            offset: 0,
            drip_at: None,
            answer: Vec::new(),
        });
    }

    /// Lets everybody go on who can, after waiting for that until then, and returns those that are over.
    ///
    /// # Errors
    /// When the kernel does not let us wait.
    pub fn turn(&mut self, until: Instant) -> io::Result<Vec<Ended>> {
        let now = Instant::now();
        let mut wait = until.saturating_duration_since(now);
        if let Some(Reverse((due, ..))) = self.due.peek() {
            wait = wait.min(due.saturating_duration_since(now));
        }
        if !self.again.is_empty() || !self.ended.is_empty() {
            wait = Duration::ZERO;
        }
        self.events.clear();
        let timeout = Timespec::try_from(wait).ok();
        match epoll::wait(&self.epoll, spare_capacity(&mut self.events), timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let now = Instant::now();
        for index in std::mem::take(&mut self.again) {
            self.drive(index, epoll::EventFlags::empty(), now);
        }
        for event in std::mem::take(&mut self.events) {
            let (data, flags) = (event.data.u64(), event.flags);
            let (index, generation) = ((data & 0xffff_ffff) as usize, (data >> 32) as u32);
            if self.talks[index].0 == generation {
                self.drive(index, flags, now);
            }
        }
        self.events.reserve(256);
        while let Some(Reverse((due, index, generation))) = self.due.peek().copied() {
            if due > now {
                break;
            }
            self.due.pop();
            if self.talks[index].0 == generation {
                self.drive(index, epoll::EventFlags::empty(), now);
            }
        }
        Ok(std::mem::take(&mut self.ended))
    }

    fn drive(&mut self, index: usize, flags: epoll::EventFlags, now: Instant) {
        let (generation, Some(talk)) = &mut self.talks[index] else { return };
        match talk.go_on(flags, now) {
            Next::Event => {}
            Next::Turn => self.again.push(index),
            Next::At(due) => self.due.push(Reverse((due, index, *generation))),
            Next::End(how) => {
                let Some(talk) = self.talks[index].1.take() else { return };
                self.free.push(index);
                let Talk { tag, begun, answer, stream, .. } = talk;
                if how != How::Closed {
                    // Nothing of what is over shall stay behind in the kernel.
                    let _ = sockopt::set_socket_linger(&stream, Some(Duration::ZERO));
                }
                self.ended.push(Ended { tag, begun, at: now, how, answer });
            }
        }
    }
}

/// Starts connecting.
fn begin(address: SocketAddr, script: &Script) -> io::Result<TcpStream> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    if !script.reads {
        sockopt::set_socket_recv_buffer_size(&socket, 1)?;
    }
    match connect(&socket, &address) {
        Ok(()) | Err(Errno::INPROGRESS) => {}
        Err(error) => return Err(error.into()),
    }
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    Ok(stream)
}

impl Talk {
    fn go_on(&mut self, flags: epoll::EventFlags, now: Instant) -> Next {
        use epoll::EventFlags as Flags;
        if !self.connected {
            if flags.intersects(Flags::ERR | Flags::HUP) {
                return Next::End(How::NotConnected);
            }
            self.connected = flags.contains(Flags::OUT);
        }
        if now >= self.begun + self.script.lasts {
            self.read();
            return Next::End(if self.connected { How::Patience } else { How::NotConnected });
        }
        if !self.connected {
            return Next::Event;
        }
        let next = self.write(now);
        if self.script.reads {
            if let Some(how) = self.read() {
                return Next::End(how);
            }
        } else if flags.intersects(Flags::ERR | Flags::HUP | Flags::RDHUP) {
            return Next::End(if flags.contains(Flags::ERR) { How::Reset } else { How::Closed });
        }
        next
    }

    fn write(&mut self, now: Instant) -> Next {
        for _ in 0..WRITES_MAX {
            let Some(step) = self.script.steps.get(self.step) else { return Next::Event };
            let (bytes, times) = match step {
                Step::Send(bytes, times) => (&bytes[self.offset..], *times),
                Step::Drip(bytes, every) => match self.drip_at {
                    Some(due) if due > now => return Next::Event,
                    _ => {
                        self.drip_at = Some(now + *every);
                        (&bytes[self.offset..=self.offset], u64::MAX)
                    }
                },
                Step::HalfClose => {
                    // Gone already is as good.
                    let _ = self.stream.shutdown(Shutdown::Write);
                    self.step += 1;
                    continue;
                }
                Step::Reset => return Next::End(How::Own),
            };
            match send(&self.stream, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Ok(count) => self.offset += count,
                Err(Errno::AGAIN | Errno::INTR) => return Next::Event,
                Err(_) => {
                    // The server will hear nothing more; what it has said may still be there.
                    self.step = self.script.steps.len();
                    return Next::Event;
                }
            }
            let length = match step {
                Step::Send(bytes, _) | Step::Drip(bytes, _) => bytes.len(),
                Step::HalfClose | Step::Reset => 0,
            };
            if self.offset == length {
                self.offset = 0;
                self.times += 1;
                if self.times >= times {
                    self.times = 0;
                    self.step += 1;
                }
            }
            if let Some(due) = self.drip_at.filter(|_| matches!(step, Step::Drip(..))) {
                return Next::At(due);
            }
        }
        Next::Turn
    }

    /// Reads what is there. Says how it ended, when it did.
    fn read(&mut self) -> Option<How> {
        let mut buffer = [0; 16 * 1024];
        loop {
            match recv(self.stream.as_fd(), &mut buffer, RecvFlags::DONTWAIT) {
                Ok((0, _)) => return Some(How::Closed),
                Ok((count, _)) => {
                    let room = KEPT_BYTES_MAX.saturating_sub(self.answer.len());
                    self.answer.extend_from_slice(&buffer[..count.min(room)]);
                }
                Err(Errno::AGAIN | Errno::INTR) => return None,
                Err(_) => return Some(How::Reset),
            }
        }
    }
}
