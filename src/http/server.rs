//! The listener's threads. Owns who accepts, who serves and how all of it ends; refuses to know what a request means.
//!
//! Leader and followers: at any time one thread holds the listeners and accepts. With a connection in its hands it
//! passes the listeners on, to a thread that waits or to a new one, and serves the connection itself. So there is no
//! queue between accepting and serving, nothing is handed over, and an idle server sleeps in one `poll` without a
//! time-out.

use std::{
    io,
    os::fd::AsFd,
    sync::{
        Arc, Condvar, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};

use super::{
    Limits, Listener, Peer, Service, connection,
    socket::Stream,
    table::{Seat, Table},
};
use crate::threads::{lock, spawn};

/// Enough for two read buffers, a parsed head, JSON of an answer and compression of a body, with a debug build's
/// appetite. There may be hundreds of these threads.
const STACK_BYTES: usize = 256 * 1024;

/// Threads that may wait for their turn as long as it takes.
const IDLE_MAX: usize = 8;

/// Those that a busy moment left over wait this long for the next one: commits release senders in waves.
const SURPLUS_WAIT: Duration = Duration::from_secs(10);

/// The pause when the system is out of descriptors or memory: accepting at once would fail at once.
const BACK_OFF: Duration = Duration::from_millis(100);

/// A server that is not started yet.
#[derive(Debug)]
pub struct Server<S> {
    listeners: Vec<Listener>,
    limits: Limits,
    service: S,
}

/// A server at work. Dropped without [`stop`](Running::stop), it stops accepting and waits for nobody.
#[derive(Debug)]
pub struct Running {
    shared: Arc<Shared>,
    /// Closing it wakes the thread that accepts.
    stop: Option<io::PipeWriter>,
}

/// What all threads of a server share, whatever its service.
#[derive(Debug)]
struct Shared {
    limits: Limits,
    table: Table,
    name: String,
    crew: Mutex<Crew>,
    /// The listeners are free, or it is time to end.
    lead: Condvar,
    /// A thread has ended.
    ended: Condvar,
    stopped: io::PipeReader,
    /// Whether the present burst of failures to accept, or to start a thread, was logged.
    accept_logged: AtomicBool,
    spawn_logged: AtomicBool,
}

#[derive(Debug, Default)]
struct Crew {
    /// The listeners, when nobody leads. Who takes them leads.
    listeners: Option<Vec<Listener>>,
    waiting: usize,
    threads: usize,
    /// How many there ever were, for their names.
    started: usize,
    handles: Vec<JoinHandle<()>>,
    stopping: bool,
}

impl<S: Service> Server<S> {
    /// Will answer what comes in at these listeners.
    pub fn new(listeners: Vec<Listener>, limits: Limits, service: S) -> Server<S> {
        Server { listeners, limits, service }
    }

    /// Starts answering, with threads named `name-1`, `name-2`, …
    ///
    /// # Errors
    /// When the system refuses the first thread or a pipe. Later refusals only make the server slower.
    pub fn start(self, name: &str) -> io::Result<Running> {
        let Server { listeners, limits, service } = self;
        let (stopped, stop) = io::pipe()?;
        let shared = Arc::new(Shared {
            limits,
            table: Table::new(limits.connections_max, limits.bodies_in_flight_bytes_max),
            name: name.to_owned(),
            crew: Mutex::new(Crew { listeners: Some(listeners), ..Crew::default() }),
            lead: Condvar::new(),
            ended: Condvar::new(),
            stopped,
            accept_logged: AtomicBool::new(false),
            spawn_logged: AtomicBool::new(false),
        });
        enlist(&shared, &Arc::new(service), &mut lock(&shared.crew))?;
        Ok(Running { shared, stop: Some(stop) })
    }
}

impl Running {
    /// Stops: accepts nothing more and closes the listeners at once, lets requests in progress finish for `grace`,
    /// ends the rest and joins every thread. A handler that is still busy then is waited for.
    pub fn stop(mut self, grace: Duration) {
        let deadline = Instant::now() + grace;
        drop(self.stop.take());
        self.shared.close_listeners();
        self.shared.finish(deadline);
    }

    /// Bytes of bodies in flight at this moment.
    pub fn bodies_in_flight_bytes(&self) -> usize {
        self.shared.table.bodies_in_flight_bytes()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.stop.take().is_some() {
            self.shared.close_listeners();
        }
    }
}

fn wait<'a>(condvar: &Condvar, guard: MutexGuard<'a, Crew>, timeout: Option<Duration>) -> MutexGuard<'a, Crew> {
    match timeout {
        None => condvar.wait(guard).unwrap_or_else(|poisoned| poisoned.into_inner()),
        Some(timeout) => match condvar.wait_timeout(guard, timeout) {
            Ok((guard, _)) => guard,
            Err(poisoned) => poisoned.into_inner().0,
        },
    }
}

/// Starts one more thread.
fn enlist<S: Service>(shared: &Arc<Shared>, service: &Arc<S>, crew: &mut Crew) -> io::Result<()> {
    crew.handles.retain(|handle| !handle.is_finished());
    crew.started += 1;
    let name = format!("{}-{}", shared.name, crew.started);
    let (shared, service) = (Arc::clone(shared), Arc::clone(service));
    let handle = spawn(&name, STACK_BYTES, move || {
        let _tally = Tally(&shared);
        work(&shared, &service);
    })?;
    crew.threads += 1;
    crew.handles.push(handle);
    Ok(())
}

/// Counts a thread out however it ends.
struct Tally<'a>(&'a Shared);

impl Drop for Tally<'_> {
    fn drop(&mut self) {
        lock(&self.0.crew).threads -= 1;
        self.0.ended.notify_all();
    }
}

/// The life of a thread: wait for the listeners, accept one connection, pass the listeners on, serve.
fn work<S: Service>(shared: &Arc<Shared>, service: &Arc<S>) {
    while let Some(listeners) = shared.follow() {
        let Some(seat) = shared.lead(&**service, &listeners) else { return };
        pass_on(shared, service, listeners);
        connection::serve(&**service, &shared.limits, &seat);
    }
}

/// Gives the listeners to a thread that waits, or to a new one, or leaves them for whoever is done first.
fn pass_on<S: Service>(shared: &Arc<Shared>, service: &Arc<S>, listeners: Vec<Listener>) {
    let mut crew = lock(&shared.crew);
    if crew.stopping {
        return;
    }
    crew.listeners = Some(listeners);
    if crew.waiting > 0 {
        shared.lead.notify_one();
    } else if crew.threads <= shared.limits.connections_max {
        // One more than connections, so that somebody is there to say no, or to shed.
        match enlist(shared, service, &mut crew) {
            Ok(()) => shared.spawn_logged.store(false, Ordering::Relaxed),
            Err(error) if !shared.spawn_logged.swap(true, Ordering::Relaxed) => {
                log::warn!("cannot start another thread for {}: {error}; going on with {}", shared.name, crew.threads);
            }
            Err(_) => {}
        }
    }
}

impl Shared {
    fn close_listeners(&self) {
        let mut crew = lock(&self.crew);
        crew.stopping = true;
        // When a thread leads it has them, sees the pipe closed and drops them.
        crew.listeners = None;
        self.lead.notify_all();
    }

    /// Waits for the threads, ends what is left at the deadline, and joins them.
    fn finish(&self, deadline: Instant) {
        self.table.end_lingering();
        let mut crew = lock(&self.crew);
        while crew.threads > 0 {
            let Some(left) = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) else {
                break;
            };
            crew = wait(&self.ended, crew, Some(left));
        }
        let handles = std::mem::take(&mut crew.handles);
        drop(crew);
        self.table.close();
        for handle in handles {
            if handle.join().is_err() {
                log::error!("a thread of {} panicked", self.name);
            }
        }
    }

    /// Waits until the listeners are free and takes them. `None` when this thread shall end.
    fn follow(&self) -> Option<Vec<Listener>> {
        let mut crew = lock(&self.crew);
        crew.waiting += 1;
        let since = Instant::now();
        while crew.listeners.is_none() && !crew.stopping {
            let left = SURPLUS_WAIT.saturating_sub(since.elapsed());
            crew = match crew.waiting > IDLE_MAX {
                true if left.is_zero() => break,
                true => wait(&self.lead, crew, Some(left)),
                false => wait(&self.lead, crew, None),
            };
        }
        crew.waiting -= 1;
        crew.listeners.take()
    }

    /// Accepts until a connection has got a seat. `None` when it is time to stop.
    fn lead<S: Service>(&self, service: &S, listeners: &[Listener]) -> Option<Seat<'_>> {
        loop {
            let (stream, peer) = self.accept(listeners)?;
            match self.table.seat(stream, peer, Instant::now()) {
                Ok(seat) => return Some(seat),
                Err(stream) => connection::turn_away(service, &stream, &peer),
            }
            if lock(&self.crew).stopping {
                return None;
            }
        }
    }

    fn accept(&self, listeners: &[Listener]) -> Option<(Stream, Peer)> {
        loop {
            let mut exhausted = false;
            for listener in listeners {
                match listener.accept() {
                    Ok(Some(connection)) => {
                        self.accept_logged.store(false, Ordering::Relaxed);
                        return Some(connection);
                    }
                    Ok(None) => {}
                    Err(error) => exhausted |= self.is_exhausted(&error),
                }
            }
            if exhausted {
                self.back_off();
            }
            if self.is_stopped(listeners, exhausted) {
                return None;
            }
        }
    }

    /// Pauses, unless it is time to stop. Nobody else is woken by this condition while we have the listeners.
    fn back_off(&self) {
        let crew = lock(&self.crew);
        if !crew.stopping {
            drop(wait(&self.lead, crew, Some(BACK_OFF)));
        }
    }

    /// Sleeps until a listener or the pipe has something to say, or only looks at them. Says whether it is the pipe.
    fn is_stopped(&self, listeners: &[Listener], only_look: bool) -> bool {
        // Nothing is ever written to the pipe: its other end is closed, and that shows as a hang-up.
        let mut polled = vec![PollFd::new(&self.stopped, PollFlags::IN)];
        polled.extend(listeners.iter().map(|listener| PollFd::from_borrowed_fd(listener.as_fd(), PollFlags::IN)));
        match poll(&mut polled, only_look.then_some(&Timespec::default())) {
            Ok(_) => !polled[0].revents().is_empty(),
            Err(Errno::INTR) => false,
            Err(error) => {
                // Only a kernel without memory gets here.
                log::error!("{} cannot wait for connections: {error}", self.name);
                self.back_off();
                false
            }
        }
    }

    /// Whether accepting failed because something has run out, so that trying again at once is of no use. Everything
    /// else that accept(2) reports is about one connection that was lost before we had it.
    fn is_exhausted(&self, error: &io::Error) -> bool {
        let lost = matches!(
            Errno::from_io_error(error),
            Some(
                Errno::INTR
                    | Errno::CONNABORTED
                    | Errno::PROTO
                    | Errno::NETDOWN
                    | Errno::NETUNREACH
                    | Errno::HOSTUNREACH
                    | Errno::TIMEDOUT
            )
        );
        if !lost && !self.accept_logged.swap(true, Ordering::Relaxed) {
            log::warn!("{} cannot accept connections: {error}; trying again ten times a second", self.name);
        }
        !lost
    }
}

#[cfg(test)]
mod tests;
