//! One thread that keeps a server busy: sockets that never wait, and one `epoll`. Owns when a request leaves and how
//! long its answer took; refuses to know who answers.

use std::{
    io,
    net::SocketAddr,
    os::fd::OwnedFd,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use rustix::{
    buffer::spare_capacity,
    event::epoll,
    io::Errno,
    net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, connect, recv, send, socket_with},
    process::{Resource, Rlimit, getrlimit, setrlimit},
    time::{
        ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime, timerfd_create,
        timerfd_settime,
    },
};

use crate::{
    answer::{Progress, progress},
    push::Pool,
};

/// Connections at once when requests come by the clock. What is due beyond it waits, and its latency grows meanwhile.
const OPEN_CONNECTIONS_MAX: usize = 900;
/// What is on its way when the time is up may still take this long.
const GRACE: Duration = Duration::from_secs(5);
/// So many connections that fail are no accident: the server has gone.
const FAILED_MAX: u64 = 1000;
/// Read at a time; no answer here comes near it.
const READ_BYTES: usize = 4096;
/// The timer's place among the connections.
const TIMER: u64 = u64::MAX;

/// When requests leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrivals {
    /// So many connections, each sending its next request as soon as it has its answer.
    Closed {
        /// At once.
        connections: usize,
        /// Whether the next request goes out on the same connection.
        is_kept_alive: bool,
    },
    /// By the clock, whether or not there are answers.
    Open {
        /// At even distances.
        per_second: u32,
    },
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Sorted. Closed: from before the connection to the end of a complete 200, of those that came in time. Open: from
    /// the scheduled moment, of all that were scheduled; one without an answer counts for as long as it was waited for.
    pub latencies_us: Vec<u64>,
    /// Complete 200s within the span.
    pub answers_in_span: u64,
    /// Complete 200s, those that came after it included.
    pub answers: u64,
    /// Complete answers with another status.
    pub refused: u64,
    /// Connections that ended before a complete answer, and requests that had none within the grace.
    pub failed: u64,
    /// How long it was.
    pub span: Duration,
    /// The processor time of this process in that span, as a share of one core.
    pub own_share: f64,
}

impl Outcome {
    /// The latency that this share of the answers did not exceed, milliseconds.
    pub fn percentile_ms(&self, share: f64) -> f64 {
        percentile(&self.latencies_us, share) / 1000.0
    }

    /// Complete 200s per second.
    pub fn per_second(&self) -> f64 {
        self.answers_in_span as f64 / self.span.as_secs_f64()
    }
}

/// Of sorted numbers; 0 of none.
pub fn percentile(sorted: &[u64], share: f64) -> f64 {
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(rank.max(1) - 1).map_or(0.0, |value| *value as f64)
}

/// Lets this process have as many connections as the system allows without asking.
///
/// # Errors
/// When the system refuses what it said that it allows.
pub fn raise_descriptor_limit() -> io::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    Ok(setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })?)
}

/// Loads the server at `address` for `span`.
///
/// # Errors
/// When it takes no connections any more, or the system has none left to give.
pub fn run(address: SocketAddr, pool: &mut Pool, arrivals: Arrivals, span: Duration) -> io::Result<Outcome> {
    run_until(address, pool, arrivals, span, &AtomicBool::new(false))
}

/// Loads it until `is_over`, for `longest` at most. Requests by the clock see it at once, others with the next answer.
///
/// # Errors
/// As [`run`].
pub fn run_until(
    address: SocketAddr,
    pool: &mut Pool,
    arrivals: Arrivals,
    longest: Duration,
    is_over: &AtomicBool,
) -> io::Result<Outcome> {
    let (places, is_kept_alive) = match arrivals {
        Arrivals::Closed { connections, is_kept_alive } => (connections, is_kept_alive),
        Arrivals::Open { .. } => (OPEN_CONNECTIONS_MAX, false),
    };
    pool.keep_alive(is_kept_alive);
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
    epoll::add(&epoll, &timer, epoll::EventData::new_u64(TIMER), epoll::EventFlags::IN)?;
    let places: Vec<Place> = (0..places).map(|_| Place::default()).collect();
    let free = (0..places.len()).rev().collect();
    let cpu_before = clock_gettime(ClockId::ProcessCPUTime);
    let start = Instant::now();
    let schedule = Schedule { arrivals, start, end: start + longest, begun: 0 };
    let mut load = Load { epoll, address, pool, schedule, places, free, outcome: Outcome::default() };
    let mut events = Vec::with_capacity(256);
    let mut cpu_after = None;
    let mut timer_at = None;
    loop {
        if is_over.load(Ordering::Relaxed) {
            load.schedule.end = load.schedule.end.min(Instant::now());
        }
        load.begin_what_is_due()?;
        let now = Instant::now();
        if now >= load.schedule.end {
            cpu_after.get_or_insert_with(|| clock_gettime(ClockId::ProcessCPUTime));
            let is_done = load.schedule.next().is_none() && load.free.len() == load.places.len();
            if is_done || now >= load.schedule.end + GRACE {
                break;
            }
        }
        let wake_at = load.wake_at(now);
        if timer_at != Some(wake_at) {
            // Zero would disarm it.
            let wait = wake_at.saturating_duration_since(now).max(Duration::from_nanos(1));
            timerfd_settime(&timer, TimerfdTimerFlags::empty(), &after(wait)?)?;
            timer_at = Some(wake_at);
        }
        match epoll::wait(&load.epoll, spare_capacity(&mut events), None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in events.drain(..) {
            match event.data.u64() {
                TIMER => {
                    // Its count of expiries says nothing that the clock does not.
                    let _ = rustix::io::read(&timer, &mut [0_u8; 8]);
                    timer_at = None;
                }
                place => load.go_on(place as usize)?,
            }
        }
        if load.outcome.failed > FAILED_MAX {
            return Err(io::Error::other(format!("more than {FAILED_MAX} connections to {address} have failed")));
        }
    }
    let cpu_after = cpu_after.unwrap_or(cpu_before);
    let spent = Duration::try_from(cpu_after - cpu_before).unwrap_or_default();
    let span = load.schedule.end - start;
    load.outcome.span = span;
    load.outcome.own_share = spent.as_secs_f64() / span.as_secs_f64();
    Ok(load.give_up())
}

/// A timer that expires once.
fn after(wait: Duration) -> io::Result<Itimerspec> {
    let it_value = Timespec::try_from(wait).map_err(|_| io::Error::other("a span of centuries"))?;
    Ok(Itimerspec { it_interval: Timespec::default(), it_value })
}

/// When requests are due.
struct Schedule {
    arrivals: Arrivals,
    start: Instant,
    end: Instant,
    begun: u32,
}

impl Schedule {
    /// The moment for the next one; `None` when there is none any more. A closed loop's is any time.
    fn next(&self) -> Option<Instant> {
        let next = match self.arrivals {
            Arrivals::Closed { .. } => Instant::now(),
            Arrivals::Open { per_second } => self.start + Duration::from_secs(1) * self.begun / per_second,
        };
        (next < self.end).then_some(next)
    }
}

/// One connection and what is on its way there.
#[derive(Default)]
struct Place {
    socket: Option<OwnedFd>,
    /// Since when an answer is waited for.
    waiting_since: Option<Instant>,
    /// Whether `epoll` also watches for room to send.
    is_watching_room: bool,
    request: Vec<u8>,
    sent_bytes: usize,
    answer: Vec<u8>,
}

struct Load<'a> {
    epoll: OwnedFd,
    address: SocketAddr,
    pool: &'a mut Pool,
    schedule: Schedule,
    places: Vec<Place>,
    free: Vec<usize>,
    outcome: Outcome,
}

impl Load<'_> {
    fn begin_what_is_due(&mut self) -> io::Result<()> {
        while let Some(due) = self.schedule.next().filter(|due| *due <= Instant::now())
            && let Some(place) = self.free.pop()
        {
            self.schedule.begun += 1;
            self.begin(place, due)?;
        }
        Ok(())
    }

    /// When to look at the clock, if nothing happens before.
    fn wake_at(&self, now: Instant) -> Instant {
        let end = self.schedule.end;
        match self.schedule.arrivals {
            _ if now >= end => end + GRACE,
            Arrivals::Open { .. } if !self.free.is_empty() => self.schedule.next().unwrap_or(end),
            _ => end,
        }
    }

    fn begin(&mut self, place: usize, due: Instant) -> io::Result<()> {
        let Place { socket, waiting_since, is_watching_room, request, sent_bytes, answer } = &mut self.places[place];
        self.pool.write(request);
        answer.clear();
        *sent_bytes = 0;
        *waiting_since = Some(match self.schedule.arrivals {
            // Making the request is not the server's time.
            Arrivals::Closed { .. } => Instant::now(),
            Arrivals::Open { .. } => due,
        });
        if socket.is_none() {
            let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
            let fresh = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
            match connect(&fresh, &self.address) {
                Ok(()) | Err(Errno::INPROGRESS) => {}
                Err(Errno::ADDRNOTAVAIL) => {
                    return Err(io::Error::other(
                        "the system has no port left for another connection; shorten the spans with --seconds",
                    ));
                }
                Err(_) => {
                    self.fail(place);
                    return Ok(());
                }
            }
            // On loopback the first try to send usually takes all, so only the answer is left to watch for.
            *is_watching_room = false;
            epoll::add(&self.epoll, &fresh, epoll::EventData::new_u64(place as u64), epoll::EventFlags::IN)?;
            *socket = Some(fresh);
        }
        self.send(place)
    }

    fn go_on(&mut self, place: usize) -> io::Result<()> {
        if self.places[place].sent_bytes < self.places[place].request.len() {
            self.send(place)?;
        }
        self.receive(place);
        Ok(())
    }

    fn send(&mut self, place: usize) -> io::Result<()> {
        let Place { socket, is_watching_room, request, sent_bytes, .. } = &mut self.places[place];
        let Some(socket) = socket else { return Ok(()) };
        let mut watches = epoll::EventFlags::IN;
        while *sent_bytes < request.len() {
            match send(&*socket, &request[*sent_bytes..], SendFlags::NOSIGNAL) {
                Ok(bytes) => *sent_bytes += bytes,
                Err(Errno::AGAIN) => {
                    watches |= epoll::EventFlags::OUT;
                    break;
                }
                Err(Errno::INTR) => {}
                Err(_) => {
                    self.fail(place);
                    return Ok(());
                }
            }
        }
        let wants_room = watches.contains(epoll::EventFlags::OUT);
        if wants_room != *is_watching_room {
            *is_watching_room = wants_room;
            epoll::modify(&self.epoll, &*socket, epoll::EventData::new_u64(place as u64), watches)?;
        }
        Ok(())
    }

    fn receive(&mut self, place: usize) {
        let mut buffer = [0_u8; READ_BYTES];
        loop {
            let Place { socket: Some(socket), answer, .. } = &mut self.places[place] else { return };
            let is_ended = match recv(&*socket, &mut buffer, RecvFlags::empty()) {
                Ok((_, bytes)) => {
                    answer.extend_from_slice(&buffer[..bytes]);
                    bytes == 0
                }
                Err(Errno::AGAIN) => return,
                Err(Errno::INTR) => continue,
                Err(_) => return self.fail(place),
            };
            match progress(answer, is_ended) {
                Progress::Partial => {}
                Progress::Whole { status, is_kept_alive } => return self.finish(place, status, is_kept_alive),
                Progress::Broken => return self.fail(place),
            }
        }
    }

    fn finish(&mut self, place: usize, status: u16, is_kept_alive: bool) {
        let now = Instant::now();
        let is_in_span = now <= self.schedule.end;
        let since = self.places[place].waiting_since.take();
        if status == 200 {
            self.outcome.answers += 1;
            self.outcome.answers_in_span += u64::from(is_in_span);
            if is_in_span || matches!(self.schedule.arrivals, Arrivals::Open { .. }) {
                self.outcome.latencies_us.extend(since.map(|since| micros(now - since)));
            }
        } else {
            self.outcome.refused += 1;
        }
        if !(is_kept_alive && self.keeps_alive()) {
            self.places[place].socket = None;
        }
        self.free.push(place);
    }

    fn keeps_alive(&self) -> bool {
        matches!(self.schedule.arrivals, Arrivals::Closed { is_kept_alive: true, .. })
    }

    fn fail(&mut self, place: usize) {
        self.outcome.failed += 1;
        self.places[place].socket = None;
        self.places[place].waiting_since = None;
        self.free.push(place);
    }

    /// Counts what has no answer: what is on its way, and what found no connection free.
    fn give_up(mut self) -> Outcome {
        let now = Instant::now();
        let mut without: Vec<Instant> = self.places.iter().filter_map(|place| place.waiting_since).collect();
        while matches!(self.schedule.arrivals, Arrivals::Open { .. })
            && let Some(due) = self.schedule.next()
        {
            without.push(due);
            self.schedule.begun += 1;
        }
        self.outcome.failed += without.len() as u64;
        if matches!(self.schedule.arrivals, Arrivals::Open { .. }) {
            self.outcome.latencies_us.extend(without.into_iter().map(|since| micros(now - since)));
        }
        self.outcome.latencies_us.sort_unstable();
        self.outcome
    }
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let numbers: Vec<u64> = (1..=100).collect();
        assert_eq!(percentile(&numbers, 0.5), 50.0);
        assert_eq!(percentile(&numbers, 0.99), 99.0);
        assert_eq!(percentile(&[7], 0.99), 7.0);
        assert_eq!(percentile(&[], 0.99), 0.0);
    }
}
