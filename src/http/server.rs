//! The listener's threads. Owns who accepts, who serves and how all of it ends; refuses to know what a request means.
//!
//! Leader and followers: at any time one thread holds the front, which is the listeners and those who were accepted and
//! have not spoken yet. With a connection in its hands that speaks it passes the front on, to a thread that waits or
//! to a new one, and serves the connection itself. So there is no queue between accepting and serving, nothing is handed
//! over, and an idle server sleeps in one `poll` without a time-out.

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
    Limits, Listener, Refusal, Service, connection,
    lobby::{Guest, Leaver, Lobby},
    socket::Word,
    table::{Seat, Table},
};
use crate::threads::{lock, spawn};

/// Threads that may wait for their turn as long as it takes.
const IDLE_MAX: usize = 8;

/// Those that a busy moment left over wait this long for the next one: commits release senders in waves.
const SURPLUS_WAIT: Duration = Duration::from_secs(1);

/// The pause when the system is out of descriptors or memory: accepting at once would fail at once.
const BACK_OFF: Duration = Duration::from_millis(100);

/// Who was accepted just before the end may still speak for so long: it could not know.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// The pause when somebody was shed for that: its thread gives the descriptor back at once.
const BACK_OFF_SHED: Duration = Duration::from_millis(2);

/// After so many it is looked again who of those accepted speaks.
const ACCEPTED_AT_ONCE_MAX: usize = 64;

/// So many silent ones go when descriptors have run out: the next newcomers need one each.
const RELIEF: usize = 8;

/// So many go that have spoken when there are no silent ones. One at a time would let a flood fill the kernel's queue.
const RELIEF_SPOKEN: usize = 4;

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
    /// It is time to end, for a leader that pauses.
    pause: Condvar,
    /// A thread has ended.
    ended: Condvar,
    stopped: io::PipeReader,
    /// Whether the present burst of failures to accept, or to start a thread, was logged.
    accept_logged: AtomicBool,
    spawn_logged: AtomicBool,
}

#[derive(Debug, Default)]
struct Crew {
    /// When nobody leads. Who takes it leads.
    front: Option<Front>,
    /// Who waits for it, each by a call of its own. The last one is called first: its stack and caches are warm, and those
    /// that nobody needs are left in peace to end.
    waiting: Vec<Arc<Condvar>>,
    threads: usize,
    /// How many there ever were, for their names.
    started: usize,
    handles: Vec<JoinHandle<()>>,
    stopping: bool,
}

/// What the leader has before it.
#[derive(Debug)]
struct Front {
    listeners: Vec<Listener>,
    lobby: Lobby,
}

/// What the leader sees when it looks up.
struct Seen {
    /// Somebody wants to be accepted.
    newcomer: bool,
    /// Who in the lobby can be read from, by position.
    ready: Vec<bool>,
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
        let running = open(listeners, limits, name)?;
        enlist(&running.shared, &Arc::new(service), &mut lock(&running.shared.crew))?;
        Ok(running)
    }
}

/// A server without threads: its front is there for the first one.
fn open(listeners: Vec<Listener>, limits: Limits, name: &str) -> io::Result<Running> {
    let (stopped, stop) = io::pipe()?;
    let shared = Arc::new(Shared {
        limits,
        table: Table::new(limits.connections_max, limits.bodies_in_flight_bytes_max),
        name: name.to_owned(),
        crew: Mutex::new(Crew { front: Some(Front { listeners, lobby: Lobby::default() }), ..Crew::default() }),
        pause: Condvar::new(),
        ended: Condvar::new(),
        stopped,
        accept_logged: AtomicBool::new(false),
        spawn_logged: AtomicBool::new(false),
    });
    Ok(Running { shared, stop: Some(stop) })
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

/// Starts one more thread that leads and follows.
fn enlist<S: Service>(shared: &Arc<Shared>, service: &Arc<S>, crew: &mut Crew) -> io::Result<()> {
    let (ours, service) = (Arc::clone(shared), Arc::clone(service));
    begin(shared, crew, move || work(&ours, &service))
}

/// Starts a thread of the crew for this.
fn begin(shared: &Arc<Shared>, crew: &mut Crew, body: impl FnOnce() + Send + 'static) -> io::Result<()> {
    crew.handles.retain(|handle| !handle.is_finished());
    crew.started += 1;
    let name = format!("{}-{}", shared.name, crew.started);
    let stack_bytes = shared.limits.stack_bytes;
    let shared = Arc::clone(shared);
    let handle = spawn(&name, stack_bytes, move || {
        let _tally = Tally(&shared);
        body();
    })?;
    crew.threads += 1;
    crew.handles.push(handle);
    Ok(())
}

/// Closes the listeners and empties the lobby: who has spoken, or does so in a moment, is still served.
fn clear<S: Service>(shared: &Arc<Shared>, service: &Arc<S>, front: Front) {
    let Front { listeners, mut lobby } = front;
    drop(listeners);
    let until = Instant::now() + LAST_WORDS;
    while lobby.guests().next().is_some() && Instant::now() < until {
        let ready = readable(&lobby, until);
        if let Some(guest) = lobby.spoken(&ready) {
            serve_apart(shared, service, guest);
        }
    }
    while let Some(leaver) = lobby.oldest() {
        if let Some(guest) = show_out(&**service, Some(leaver), &Table::stopping()) {
            serve_apart(shared, service, guest);
        }
    }
}

/// Serves one of the last in a thread of its own, so that a slow one holds up none of the others.
fn serve_apart<S: Service>(shared: &Arc<Shared>, service: &Arc<S>, guest: Guest) {
    // Whoever comes to it first takes it: where no thread is to be had, that is this one.
    let guest = Arc::new(Mutex::new(Some(guest)));
    let (ours, service) = (Arc::clone(shared), Arc::clone(service));
    let serve = move || {
        let Some(guest) = lock(&guest).take() else { return };
        match ours.table.seat(guest, Instant::now()) {
            Ok(seat) => connection::serve(&*service, &ours.limits, &seat),
            Err(guest) => connection::turn_away(&*service, &guest, &Table::stopping()),
        }
    };
    let begun = begin(shared, &mut lock(&shared.crew), serve.clone());
    if begun.is_err() {
        serve();
    }
}

/// Counts a thread out however it ends.
struct Tally<'a>(&'a Shared);

impl Drop for Tally<'_> {
    fn drop(&mut self) {
        lock(&self.0.crew).threads -= 1;
        self.0.ended.notify_all();
    }
}

/// The life of a thread: wait for the front, find one who speaks, pass the front on, serve.
fn work<S: Service>(shared: &Arc<Shared>, service: &Arc<S>) {
    let call = Arc::new(Condvar::new());
    while let Some(mut front) = shared.follow(&call) {
        let Some(seat) = shared.lead(&**service, &mut front) else {
            clear(shared, service, front);
            return;
        };
        let left = pass_on(shared, service, front, &seat);
        connection::serve(&**service, &shared.limits, &seat);
        drop(seat);
        if let Some(front) = left {
            clear(shared, service, front);
            return;
        }
    }
}

/// Gives the front to a thread that waits, or to a new one, or leaves it for whoever is done first. Gives it back, with
/// its listeners closed, when it is time to end.
fn pass_on<S: Service>(shared: &Arc<Shared>, service: &Arc<S>, mut front: Front, seat: &Seat<'_>) -> Option<Front> {
    let mut crew = lock(&shared.crew);
    if crew.stopping {
        front.listeners.clear();
        return Some(front);
    }
    crew.front = Some(front);
    if let Some(call) = crew.waiting.pop() {
        call.notify_one();
    } else if crew.threads <= shared.limits.connections_max {
        // One more than connections, so that somebody is there to say no, or to shed.
        match enlist(shared, service, &mut crew) {
            Ok(()) => shared.spawn_logged.store(false, Ordering::Relaxed),
            Err(error) => {
                if !shared.spawn_logged.swap(true, Ordering::Relaxed) {
                    let (name, threads) = (&shared.name, crew.threads);
                    log::warn!("cannot start another thread for {name}: {error}; going on with {threads}");
                }
                // All threads serve and nobody leads. One shall be done soon.
                drop(crew);
                shared.table.shed_one(Some(seat), Instant::now());
            }
        }
    }
    None
}

impl Shared {
    fn close_listeners(&self) {
        let mut crew = lock(&self.crew);
        crew.stopping = true;
        // When a thread leads it has the front, sees the pipe closed and clears it. Else the next one that starts or is done does
        // that: in the lobby there may be who has spoken.
        if let Some(front) = &mut crew.front {
            front.listeners.clear();
        }
        for call in crew.waiting.drain(..) {
            call.notify_one();
        }
        self.pause.notify_all();
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
        drop(crew);
        self.table.close();
        // One that is joined may have begun others, for the last in the lobby.
        loop {
            let handles = std::mem::take(&mut lock(&self.crew).handles);
            if handles.is_empty() {
                break;
            }
            for handle in handles {
                if handle.join().is_err() {
                    log::error!("a thread of {} panicked", self.name);
                }
            }
        }
    }

    /// Waits until the front is free and takes it. `None` when this thread shall end.
    fn follow(&self, call: &Arc<Condvar>) -> Option<Front> {
        let mut crew = lock(&self.crew);
        let since = Instant::now();
        while crew.front.is_none() && !crew.stopping {
            let place = crew.waiting.iter().position(|waiting| Arc::ptr_eq(waiting, call)).unwrap_or_else(|| {
                // New here, or called too late: somebody else was done in that moment and took the front.
                crew.waiting.push(Arc::clone(call));
                crew.waiting.len() - 1
            });
            let left = SURPLUS_WAIT.saturating_sub(since.elapsed());
            crew = match place >= IDLE_MAX {
                true if left.is_zero() => break,
                true => wait(call, crew, Some(left)),
                false => wait(call, crew, None),
            };
        }
        crew.waiting.retain(|waiting| !Arc::ptr_eq(waiting, call));
        crew.front.take()
    }

    /// Accepts until one who speaks has got a seat. `None` when it is time to stop.
    fn lead<S: Service>(&self, service: &S, front: &mut Front) -> Option<Seat<'_>> {
        let mut is_exhausted = false;
        loop {
            let seen = self.look(front, is_exhausted)?;
            let mut spoken = front.lobby.spoken(&seen.ready);
            if spoken.is_none() {
                spoken = self.show_out_expired(service, &mut front.lobby);
            }
            // Looked at before, because accepting without a descriptor fails also when nobody is there.
            if is_exhausted && seen.newcomer && spoken.is_none() {
                spoken = self.relieve(service, &mut front.lobby);
            }
            is_exhausted = false;
            if spoken.is_none() && seen.newcomer {
                (spoken, is_exhausted) = self.accept(service, front);
            }
            if let Some(guest) = spoken {
                match self.table.seat(guest, Instant::now()) {
                    Ok(seat) => return Some(seat),
                    Err(guest) => connection::turn_away(service, &guest, &Table::no_seat()),
                }
            }
        }
    }

    /// Accepts those that wait until one has something to say already, as senders have; the silent go into the lobby. From
    /// a full one the oldest leaves; should that one have spoken in this very moment, it is returned. Also says whether
    /// something has run out.
    fn accept<S: Service>(&self, service: &S, front: &mut Front) -> (Option<Guest>, bool) {
        let Front { listeners, lobby } = front;
        let mut is_exhausted = false;
        for listener in listeners {
            for _ in 0..ACCEPTED_AT_ONCE_MAX {
                match listener.accept() {
                    Ok(Some((stream, peer))) => {
                        self.accept_logged.store(false, Ordering::Relaxed);
                        let guest = Guest { stream, peer, accepted: Instant::now() };
                        let leaver = match guest.stream.first_word() {
                            Word::Some => return (Some(guest), is_exhausted),
                            Word::Never => continue,
                            Word::None if lobby.is_full() => lobby.oldest(),
                            Word::None => None,
                        };
                        lobby.enter(guest);
                        if let Some(spoken) = show_out(service, leaver, &Table::no_seat()) {
                            return (Some(spoken), is_exhausted);
                        }
                    }
                    Ok(None) => break,
                    Err(error) if self.is_exhausted(&error) => {
                        is_exhausted = true;
                        break;
                    }
                    Err(_) => {}
                }
            }
        }
        (None, is_exhausted)
    }

    /// Ends the wait of those whose time is over, up to one that has spoken in this very moment.
    fn show_out_expired<S: Service>(&self, service: &S, lobby: &mut Lobby) -> Option<Guest> {
        let deadline = self.silence_max();
        let now = Instant::now();
        while let Some(leaver) = lobby.expired(deadline, now) {
            let spoken = show_out(service, Some(leaver), &connection::too_slow());
            if spoken.is_some() {
                return spoken;
            }
        }
        None
    }

    fn silence_max(&self) -> Duration {
        self.limits.head_deadline.min(self.limits.request_deadline)
    }

    /// Descriptors or memory have run out, and somebody waits to be accepted. The silent go first; one that has spoken in
    /// this very moment is returned.
    fn relieve<S: Service>(&self, service: &S, lobby: &mut Lobby) -> Option<Guest> {
        for relieved in 0..RELIEF {
            match lobby.oldest() {
                None if relieved == 0 => {
                    let now = Instant::now();
                    let shed = (0..RELIEF_SPOKEN).take_while(|_| self.table.shed_one(None, now)).count();
                    self.back_off(if shed > 0 { BACK_OFF_SHED } else { BACK_OFF });
                    return None;
                }
                None => return None,
                leaver => {
                    let spoken = show_out(service, leaver, &Table::no_seat());
                    if spoken.is_some() {
                        return spoken;
                    }
                }
            }
        }
        None
    }

    /// Pauses, unless it is time to stop.
    fn back_off(&self, pause: Duration) {
        let crew = lock(&self.crew);
        if !crew.stopping {
            drop(wait(&self.pause, crew, Some(pause)));
        }
    }

    /// Sleeps until somebody comes or speaks, or has been silent for too long; or only looks. `None` when it is time to
    /// stop.
    fn look(&self, front: &Front, only_look: bool) -> Option<Seen> {
        let Front { listeners, lobby } = front;
        // Nothing is ever written to the pipe: its other end is closed, and that shows as a hang-up.
        let stopped = PollFd::new(&self.stopped, PollFlags::IN);
        let listening = listeners.iter().map(|listener| PollFd::from_borrowed_fd(listener.as_fd(), PollFlags::IN));
        let waiting = lobby.guests().map(|guest| PollFd::from_borrowed_fd(guest.stream.as_fd(), PollFlags::IN));
        let mut polled: Vec<_> = [stopped].into_iter().chain(listening).chain(waiting).collect();
        let deadline = lobby.next_deadline(self.silence_max());
        let pause = match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
            _ if only_look => Some(Duration::ZERO),
            pause => pause,
        };
        // A time too large for the kernel's type is none at all.
        let timeout = pause.and_then(|pause| Timespec::try_from(pause).ok());
        match poll(&mut polled, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => {
                // Only a kernel without memory gets here.
                log::error!("{} cannot wait for connections: {error}", self.name);
                self.back_off(BACK_OFF);
            }
        }
        let is_ready = |polled: &PollFd<'_>| !polled.revents().is_empty();
        let (listening, waiting) = polled[1..].split_at(listeners.len());
        let seen = Seen { newcomer: listening.iter().any(is_ready), ready: waiting.iter().map(is_ready).collect() };
        (!is_ready(&polled[0])).then_some(seen)
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
            log::warn!("{} cannot accept connections: {error}; making room, and trying again", self.name);
        }
        !lost
    }
}

/// Waits until somebody in the lobby can be read from, or then; says who can be, by position.
fn readable(lobby: &Lobby, until: Instant) -> Vec<bool> {
    let guests = lobby.guests().map(|guest| PollFd::from_borrowed_fd(guest.stream.as_fd(), PollFlags::IN));
    let mut polled: Vec<_> = guests.collect();
    let timeout = Timespec::try_from(until.saturating_duration_since(Instant::now())).ok();
    match poll(&mut polled, timeout.as_ref()) {
        Ok(_) => polled.iter().map(|polled| !polled.revents().is_empty()).collect(),
        // It is asked again, and ends in time.
        Err(_) => vec![false; polled.len()],
    }
}

/// Lets the silent go, with these words. Who has spoken is returned.
fn show_out<S: Service>(service: &S, leaver: Option<Leaver>, refusal: &Refusal) -> Option<Guest> {
    match leaver? {
        Leaver::Spoken(guest) => Some(guest),
        Leaver::Silent(guest) => {
            connection::turn_away(service, &guest, refusal);
            None
        }
    }
}

#[cfg(test)]
mod tests;
