//! Every open connection, and who has to give way when there are too many or their bodies too large. Owns both counts;
//! refuses to know what is read or answered.
//!
//! To shed a connection is to mark it and to end its reading. The thread that serves it wakes, sees the mark, answers
//! 503 and closes; nobody else ever writes to its socket.

use std::{
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use super::{
    lobby::Guest,
    request::Refusal,
    socket::{Peer, Stream},
};
use crate::threads::lock;

/// A connection younger than this is shed for a newcomer only when nobody else can be: it may not have had its chance yet.
const GRACE: Duration = Duration::from_secs(1);

/// A connection younger than this may be in the middle of being looked at, when there is much to do.
const FRESH: Duration = Duration::from_millis(25);

/// Bodies larger than this wait until those that were shed have given their memory back. What senders sign is smaller,
/// mostly, and waits for nobody.
const PATIENT_BYTES_MIN: usize = 64 * 1024;

/// How long at most. The threads that are waited for have nothing to do but to end.
const ROOM_WAIT_MAX: Duration = Duration::from_secs(1);

const TOO_MANY_CONNECTIONS: &str = "too many connections";
const TOO_MANY_BYTES: &str = "too many bytes in flight";
const STOPPING: &str = "stopping";

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Reading the head.
    Head,
    /// Reading the body.
    Body,
    /// The request is complete: never shed, whatever happens.
    Handling,
    /// The answer is on its way.
    Answering,
    /// Answered before everything was read: what still comes is thrown away.
    Lingering,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) stream: Stream,
    pub(super) peer: Peer,
    /// Its deadlines count from here,
    pub(super) accepted: Instant,
    /// and its chance from here, its first byte.
    seated: Instant,
    /// What could be read then.
    seated_bytes: u64,
    progress: Mutex<Progress>,
}

#[derive(Debug)]
struct Progress {
    phase: Phase,
    /// Everything that has arrived.
    bytes: u64,
    /// It is the peer's turn: all that it has sent was read.
    awaits_peer: bool,
    /// The body's share, as counted in the table's sum.
    body_bytes: usize,
    /// What the body still holds although it counts no more, because this connection was shed.
    leaving_bytes: usize,
    /// Why this connection has to give way.
    shed: Option<&'static str>,
}

/// All connections.
#[derive(Debug)]
pub(super) struct Table {
    connections_max: usize,
    bodies_in_flight_bytes_max: usize,
    /// Changed only by adding to and subtracting from it what an entry's `body_bytes` gains and loses.
    bodies_in_flight_bytes: AtomicUsize,
    /// What bodies hold that were shed and that their threads have not dropped yet.
    leaving_bytes: Mutex<usize>,
    /// That has become less, or somebody was shed.
    left: Condvar,
    /// Locked before any entry's progress, never after.
    entries: Mutex<Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    list: Vec<Arc<Entry>>,
    closed: bool,
}

/// A place in the table; leaving it is dropping this.
#[derive(Debug)]
pub(super) struct Seat<'a> {
    table: &'a Table,
    entry: Arc<Entry>,
}

impl Table {
    pub(super) fn new(connections_max: usize, bodies_in_flight_bytes_max: usize) -> Table {
        Table {
            connections_max,
            bodies_in_flight_bytes_max,
            bodies_in_flight_bytes: AtomicUsize::new(0),
            leaving_bytes: Mutex::default(),
            left: Condvar::new(),
            entries: Mutex::new(Entries::default()),
        }
    }

    /// Takes a newcomer in, who has begun to speak. In a full table somebody is shed for it, see [`shed_one`]. When all
    /// have sent their whole requests the newcomer is given back.
    ///
    /// [`shed_one`]: Table::shed_one
    pub(super) fn seat(&self, guest: Guest, now: Instant) -> Result<Seat<'_>, Guest> {
        let mut entries = lock(&self.entries);
        if entries.closed {
            return Err(guest);
        }
        if entries.list.len() >= self.connections_max {
            // Those shed already are on their way out and do not count; the number of threads bounds them.
            let served = entries.list.iter().filter(|entry| lock(&entry.progress).shed.is_none()).count();
            if served >= self.connections_max && !self.shed_least(&entries, None, now) {
                return Err(guest);
            }
        }
        let progress = Mutex::new(Progress {
            phase: Phase::Head,
            bytes: 0,
            awaits_peer: false,
            body_bytes: 0,
            leaving_bytes: 0,
            shed: None,
        });
        let Guest { stream, peer, accepted } = guest;
        // Also while there is room: without threads or descriptors somebody is shed from a table that is far from full.
        let seated_bytes = stream.readable_bytes();
        let entry = Arc::new(Entry { stream, peer, accepted, seated: now, seated_bytes, progress });
        entries.list.push(Arc::clone(&entry));
        Ok(Seat { table: self, entry })
    }

    /// Sheds somebody, because descriptors or threads have run out: first who only lingers, then who has made the least
    /// progress of those older than [`GRACE`], then who has been here longest. Says whether there was anybody.
    pub(super) fn shed_one(&self, but: Option<&Seat<'_>>, now: Instant) -> bool {
        self.shed_least(&lock(&self.entries), but, now)
    }

    fn shed_least(&self, entries: &Entries, but: Option<&Seat<'_>>, now: Instant) -> bool {
        loop {
            let others = entries.list.iter().filter(|entry| but.is_none_or(|seat| !Arc::ptr_eq(entry, &seat.entry)));
            let least =
                others.filter_map(|entry| Some((entry.reluctance(now)?, entry))).min_by_key(|(least, _)| *least);
            match least {
                None => return false,
                // Else it has completed its request in this very moment, and it is the next one's turn.
                Some((_, entry)) if self.shed(entry, TOO_MANY_CONNECTIONS) => return true,
                Some(_) => {}
            }
        }
    }

    /// What those are told that find no place.
    pub(super) fn no_seat() -> Refusal {
        Refusal::new(503, TOO_MANY_CONNECTIONS)
    }

    /// What those are told that are not served any more.
    pub(super) fn stopping() -> Refusal {
        Refusal::new(503, STOPPING)
    }

    /// Bytes of bodies in flight.
    pub(super) fn bodies_in_flight_bytes(&self) -> usize {
        self.bodies_in_flight_bytes.load(Ordering::Relaxed)
    }

    /// Ends all that only linger: their answers are out.
    pub(super) fn end_lingering(&self) {
        for entry in &lock(&self.entries).list {
            if lock(&entry.progress).phase == Phase::Lingering {
                self.shed(entry, STOPPING);
            }
        }
    }

    /// Ends everything that can be ended and lets nobody in any more. A request in its handler is left to finish; its
    /// answer is written only as far as the socket takes it at once.
    pub(super) fn close(&self) {
        let mut entries = lock(&self.entries);
        entries.closed = true;
        for entry in &entries.list {
            if !self.shed(entry, STOPPING) {
                let mut progress = lock(&entry.progress);
                progress.shed.get_or_insert(STOPPING);
                if progress.phase == Phase::Answering {
                    entry.stream.end();
                }
            }
        }
    }

    /// Sheds a connection unless its request is complete or it was shed before. Its bytes count no more at once, because
    /// nothing will come of them.
    fn shed(&self, entry: &Entry, why: &'static str) -> bool {
        let mut progress = lock(&entry.progress);
        if progress.shed.is_some() || matches!(progress.phase, Phase::Handling | Phase::Answering) {
            return false;
        }
        progress.shed = Some(why);
        let bytes = std::mem::take(&mut progress.body_bytes);
        progress.leaving_bytes = bytes;
        // Both under the lock that `wait_for_room` holds while it looks, so that it misses no wake-up.
        let mut leaving_bytes = lock(&self.leaving_bytes);
        self.bodies_in_flight_bytes.fetch_sub(bytes, Ordering::Relaxed);
        *leaving_bytes += bytes;
        drop(leaving_bytes);
        drop(progress);
        self.left.notify_all();
        entry.stream.end_reading();
        true
    }

    /// Waits until what was shed is really gone, for [`ROOM_WAIT_MAX`] at most: else those that go on reading would fill
    /// the memory faster than those that were shed are woken to give theirs back.
    fn wait_for_room(&self, entry: &Entry) {
        let deadline = Instant::now() + ROOM_WAIT_MAX;
        let mut leaving_bytes = lock(&self.leaving_bytes);
        while *leaving_bytes > 0 && self.bodies_in_flight_bytes() + *leaving_bytes > self.bodies_in_flight_bytes_max {
            let left = deadline.saturating_duration_since(Instant::now());
            // An entry's lock may be held by somebody who waits for ours.
            if left.is_zero() || entry.progress.try_lock().is_ok_and(|progress| progress.shed.is_some()) {
                return;
            }
            leaving_bytes = match self.left.wait_timeout(leaving_bytes, left) {
                Ok((guard, _)) => guard,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
    }

    /// Sheds the largest unfinished body. Says whether there was one.
    fn shed_largest_body(&self) -> bool {
        let entries = lock(&self.entries);
        let unfinished = entries.list.iter().filter_map(|entry| {
            let progress = lock(&entry.progress);
            (progress.phase == Phase::Body && progress.shed.is_none()).then_some((progress.body_bytes, entry))
        });
        unfinished.max_by_key(|(bytes, _)| *bytes).is_some_and(|(_, entry)| self.shed(entry, TOO_MANY_BYTES))
    }
}

/// How bad it would be to shed a connection, from the least to the most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Reluctance {
    Lingering,
    /// Had its chance, and made so much of it, bytes.
    Slow(u64),
    /// Seated then. Who came first goes first: a request that comes in one piece needs less than it takes to fill the
    /// table anew.
    Young(Instant),
    /// Seated with so many bytes, and not looked at yet, or only just now, or with something in its thread's hands: that it
    /// is not done is not its fault. On a machine that is short of processors those hands may rest for long.
    Fresh(u64, Instant),
}

impl Entry {
    /// `None` when this connection must not be shed.
    fn reluctance(&self, now: Instant) -> Option<Reluctance> {
        let progress = lock(&self.progress);
        match progress.phase {
            _ if progress.shed.is_some() => None,
            Phase::Lingering => Some(Reluctance::Lingering),
            Phase::Head | Phase::Body => {
                let age = now.saturating_duration_since(self.seated);
                Some(match progress.awaits_peer {
                    true if age > GRACE => Reluctance::Slow(progress.bytes),
                    true if age > FRESH => Reluctance::Young(self.seated),
                    _ => Reluctance::Fresh(self.seated_bytes, self.seated),
                })
            }
            Phase::Handling | Phase::Answering => None,
        }
    }
}

impl Seat<'_> {
    /// The connection.
    pub(super) fn entry(&self) -> &Entry {
        &self.entry
    }

    /// Goes on to the next phase, unless this connection has been shed.
    pub(super) fn enter(&self, phase: Phase) -> Result<(), Refusal> {
        let mut progress = lock(&self.entry.progress);
        if let Some(why) = progress.shed {
            return Err(Refusal::new(503, why));
        }
        progress.phase = phase;
        Ok(())
    }

    /// Refuses when this connection has been shed.
    pub(super) fn keep(&self) -> Result<(), Refusal> {
        lock(&self.entry.progress).shed.map_or(Ok(()), |why| Err(Refusal::new(503, why)))
    }

    /// Counts bytes that arrived, of whatever kind.
    pub(super) fn arrived(&self, bytes: usize) {
        let mut progress = lock(&self.entry.progress);
        progress.bytes += bytes as u64;
        progress.awaits_peer = false;
    }

    /// All that has arrived was read, and it is not enough.
    pub(super) fn waits(&self) {
        lock(&self.entry.progress).awaits_peer = true;
    }

    /// Counts bytes that the body grew by. Beyond the limit the largest unfinished body is shed, which may be this
    /// one, and a body that is not small goes on only when the others are gone. The limit is overshot by what the threads
    /// have in their hands, one read each.
    pub(super) fn body_grew(&self, bytes: usize) -> Result<(), Refusal> {
        let table = self.table;
        let body_bytes = {
            let mut progress = lock(&self.entry.progress);
            if progress.shed.is_none() {
                progress.body_bytes += bytes;
                table.bodies_in_flight_bytes.fetch_add(bytes, Ordering::Relaxed);
            }
            progress.body_bytes
        };
        while table.bodies_in_flight_bytes() > table.bodies_in_flight_bytes_max && table.shed_largest_body() {}
        if body_bytes > PATIENT_BYTES_MIN {
            table.wait_for_room(&self.entry);
        }
        self.keep()
    }

    /// The body is gone, and counts no more.
    pub(super) fn body_released(&self) {
        let (body_bytes, leaving_bytes) = {
            let mut progress = lock(&self.entry.progress);
            (std::mem::take(&mut progress.body_bytes), std::mem::take(&mut progress.leaving_bytes))
        };
        let table = self.table;
        table.bodies_in_flight_bytes.fetch_sub(body_bytes, Ordering::Relaxed);
        if leaving_bytes > 0 {
            *lock(&table.leaving_bytes) -= leaving_bytes;
            table.left.notify_all();
        }
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        self.body_released();
        let mut entries = lock(&self.table.entries);
        if let Some(index) = entries.list.iter().position(|entry| Arc::ptr_eq(entry, &self.entry)) {
            entries.list.swap_remove(index);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    fn stream() -> Stream {
        Stream::Unix(UnixStream::pair().unwrap().0)
    }

    fn seat(table: &Table, now: Instant) -> Result<Seat<'_>, Guest> {
        table.seat(Guest { stream: stream(), peer: Peer::Unix, accepted: now }, now)
    }

    #[test]
    fn a_full_table_sheds_lingerers_then_the_least_progress_and_never_the_complete() {
        let table = Table::new(4, 1024);
        let start = Instant::now();
        let seats: Vec<_> = (0..4).map(|_| seat(&table, start).unwrap()).collect();
        let later = start + GRACE * 2;
        seats[0].enter(Phase::Lingering).unwrap();
        for (seat, bytes) in [(&seats[1], 10), (&seats[2], 5)] {
            seat.arrived(bytes);
            seat.waits();
        }
        seats[3].enter(Phase::Handling).unwrap();
        let mut newcomers = Vec::new();
        for (victim, all_shed) in [(0, [true, false, false]), (2, [true, false, true]), (1, [true, true, true])] {
            newcomers.push(seat(&table, later).unwrap());
            assert_eq!([0, 1, 2].map(|index| seats[index].keep().is_err()), all_shed, "victim should be {victim}");
        }
        assert!(seats[3].keep().is_ok());
        assert_eq!(seats[1].enter(Phase::Handling).map_err(|refusal| refusal.status), Err(503));
        for newcomer in &newcomers {
            newcomer.enter(Phase::Handling).unwrap();
        }
        assert!(seat(&table, later).is_err(), "all requests are complete");
        drop(seats);
        assert_eq!(lock(&table.entries).list.len(), 3);
        assert!(seat(&table, later).is_ok());
    }

    #[test]
    fn a_flood_of_young_ones_pushes_itself_out_and_not_the_newcomer() {
        let table = Table::new(3, 1024);
        let start = Instant::now();
        let ms = Duration::from_millis;
        let seats: Vec<_> = (0..3).map(|at| seat(&table, start + ms(at)).unwrap()).collect();
        seats[1].arrived(1000);
        seats[1].waits();
        let newcomer = seat(&table, start + ms(3)).unwrap();
        assert_eq!(
            [0, 1, 2].map(|index| seats[index].keep().is_err()),
            [true, false, false],
            "who came first goes first"
        );
        assert!(table.shed_one(Some(&seats[1]), start + ms(30)));
        assert!(seats[1].keep().is_ok() && seats[2].keep().is_err(), "whom it is done for is spared");
        seats[1].enter(Phase::Handling).unwrap();
        assert!(newcomer.keep().is_ok());
        assert!(table.shed_one(None, start + ms(3)) && !table.shed_one(None, start + ms(3)));
    }

    #[test]
    fn whose_thread_has_no_processor_is_spared_for_who_keeps_us_waiting() {
        let table = Table::new(2, 1024);
        let start = Instant::now();
        let [ours, theirs] = [(); 2].map(|()| seat(&table, start).unwrap());
        for seat in [&ours, &theirs] {
            seat.waits();
            seat.arrived(100);
        }
        theirs.arrived(1000);
        theirs.waits();
        let newcomer = seat(&table, start + GRACE * 2).unwrap();
        assert!(ours.keep().is_ok() && theirs.keep().is_err());
        ours.enter(Phase::Handling).unwrap();
        assert!(newcomer.keep().is_ok());
    }

    #[test]
    fn without_threads_a_whole_request_is_spared_for_a_first_byte_also_in_an_empty_table() {
        let table = Table::new(256, 1024);
        let now = Instant::now();
        let mut clients = Vec::new();
        let seats = [&b"POST / HTTP/1.1\r\n\r\n"[..], b"P"].map(|said| {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            std::io::Write::write_all(&mut theirs, said).unwrap();
            clients.push(theirs);
            table.seat(Guest { stream: Stream::Unix(ours), peer: Peer::Unix, accepted: now }, now).unwrap()
        });
        assert!(table.shed_one(None, now));
        assert!(seats[0].keep().is_ok() && seats[1].keep().is_err());
    }

    #[test]
    fn the_largest_unfinished_body_goes_when_there_are_too_many_bytes() {
        let table = Table::new(4, 100);
        let now = Instant::now();
        let [complete, large, small] = [(); 3].map(|()| seat(&table, now).unwrap());
        for (seat, bytes) in [(&complete, 50), (&large, 30), (&small, 20)] {
            seat.enter(Phase::Body).unwrap();
            seat.body_grew(bytes).unwrap();
        }
        complete.enter(Phase::Handling).unwrap();
        small.body_grew(5).unwrap();
        assert!(large.keep().is_err() && complete.keep().is_ok());
        assert_eq!(table.bodies_in_flight_bytes(), 75);
        assert_eq!(large.body_grew(1).map_err(|refusal| refusal.status), Err(503));
        assert_eq!(small.body_grew(60).map_err(|refusal| refusal.status), Err(503));
        assert_eq!(table.bodies_in_flight_bytes(), 50);
        drop((complete, large, small));
        assert_eq!(table.bodies_in_flight_bytes(), 0);
    }

    #[test]
    fn a_large_body_goes_on_only_when_those_that_were_shed_are_gone() {
        let table = Table::new(4, 3 * PATIENT_BYTES_MIN);
        let now = Instant::now();
        let [large, patient] = [(); 2].map(|()| seat(&table, now).unwrap());
        large.enter(Phase::Body).unwrap();
        patient.enter(Phase::Body).unwrap();
        large.body_grew(2 * PATIENT_BYTES_MIN).unwrap();
        std::thread::scope(|scope| {
            let growing = scope.spawn(|| patient.body_grew(PATIENT_BYTES_MIN + 1));
            while large.keep().is_ok() {
                std::thread::yield_now();
            }
            assert_eq!(*lock(&table.leaving_bytes), 2 * PATIENT_BYTES_MIN);
            assert!(!growing.is_finished() || now.elapsed() > ROOM_WAIT_MAX);
            large.body_released();
            assert!(growing.join().unwrap().is_ok());
        });
        assert_eq!(*lock(&table.leaving_bytes), 0);
        assert_eq!(table.bodies_in_flight_bytes(), PATIENT_BYTES_MIN + 1);
    }

    #[test]
    fn a_closed_table_lets_nobody_in() {
        let table = Table::new(4, 100);
        let reading = seat(&table, Instant::now()).unwrap();
        let handling = seat(&table, Instant::now()).unwrap();
        handling.enter(Phase::Handling).unwrap();
        table.close();
        assert!(reading.keep().is_err() && handling.keep().is_err());
        assert!(seat(&table, Instant::now()).is_err());
    }
}
