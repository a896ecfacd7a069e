//! Every open connection, and who has to give way when there are too many or their bodies too large. Owns both counts;
//! refuses to know what is read or answered.
//!
//! To shed a connection is to mark it and to end its reading. The thread that serves it wakes, sees the mark, answers
//! 503 and closes; nobody else ever writes to its socket.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use super::{
    request::Refusal,
    socket::{Peer, Stream},
};
use crate::threads::lock;

/// A connection younger than this has not had its chance yet and is not shed for a newcomer.
const GRACE: Duration = Duration::from_secs(1);

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
    pub(super) accepted: Instant,
    progress: Mutex<Progress>,
}

#[derive(Debug)]
struct Progress {
    phase: Phase,
    /// Everything that has arrived.
    bytes: u64,
    /// The body's share, as counted in the table's sum.
    body_bytes: usize,
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
            entries: Mutex::new(Entries::default()),
        }
    }

    /// Takes a newcomer in. In a full table somebody is shed for it: first who only lingers, then who has made the
    /// least progress of those older than [`GRACE`]. When nobody may be shed the newcomer is given back.
    pub(super) fn seat(&self, stream: Stream, peer: Peer, now: Instant) -> Result<Seat<'_>, Stream> {
        let mut entries = lock(&self.entries);
        if entries.closed {
            return Err(stream);
        }
        // Those shed already are on their way out and do not count; the number of threads bounds them.
        let full = entries.list.len() >= self.connections_max
            && entries.list.iter().filter(|entry| lock(&entry.progress).shed.is_none()).count() >= self.connections_max;
        if full {
            let victim = entries.list.iter().filter_map(|entry| Some((entry.reluctance(now)?, entry)));
            // Should the victim have completed its request in this very moment, the newcomer is the one to go.
            let shed = victim
                .min_by_key(|(reluctance, _)| *reluctance)
                .is_some_and(|(_, entry)| self.shed(entry, TOO_MANY_CONNECTIONS));
            if !shed {
                return Err(stream);
            }
        }
        let progress = Mutex::new(Progress { phase: Phase::Head, bytes: 0, body_bytes: 0, shed: None });
        let entry = Arc::new(Entry { stream, peer, accepted: now, progress });
        entries.list.push(Arc::clone(&entry));
        Ok(Seat { table: self, entry })
    }

    /// What a newcomer is told that was given back.
    pub(super) fn no_seat() -> Refusal {
        Refusal::new(503, TOO_MANY_CONNECTIONS)
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

    /// Sheds a connection unless its request is complete or it was shed before. Gives its bytes back at once, because
    /// nothing will come of them.
    fn shed(&self, entry: &Entry, why: &'static str) -> bool {
        let mut progress = lock(&entry.progress);
        if progress.shed.is_some() || matches!(progress.phase, Phase::Handling | Phase::Answering) {
            return false;
        }
        progress.shed = Some(why);
        self.give_back(&mut progress);
        entry.stream.end_reading();
        true
    }

    fn give_back(&self, progress: &mut Progress) {
        self.bodies_in_flight_bytes.fetch_sub(std::mem::take(&mut progress.body_bytes), Ordering::Relaxed);
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

impl Entry {
    /// How bad it would be to shed this connection, `None` when it must not be.
    fn reluctance(&self, now: Instant) -> Option<(bool, u64)> {
        let progress = lock(&self.progress);
        match progress.phase {
            _ if progress.shed.is_some() => None,
            Phase::Lingering => Some((false, 0)),
            Phase::Head | Phase::Body if now.saturating_duration_since(self.accepted) > GRACE => {
                Some((true, progress.bytes))
            }
            Phase::Head | Phase::Body | Phase::Handling | Phase::Answering => None,
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
        lock(&self.entry.progress).bytes += bytes as u64;
    }

    /// Counts bytes that the body grew by. Beyond the limit the largest unfinished body is shed, which may be this
    /// one. The limit is overshot by what the threads have in their hands, one read each.
    pub(super) fn body_grew(&self, bytes: usize) -> Result<(), Refusal> {
        let table = self.table;
        {
            let mut progress = lock(&self.entry.progress);
            if progress.shed.is_none() {
                progress.body_bytes += bytes;
                table.bodies_in_flight_bytes.fetch_add(bytes, Ordering::Relaxed);
            }
        }
        while table.bodies_in_flight_bytes() > table.bodies_in_flight_bytes_max && table.shed_largest_body() {}
        self.keep()
    }

    /// The body is gone, and counts no more.
    pub(super) fn body_released(&self) {
        self.table.give_back(&mut lock(&self.entry.progress));
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

    fn seat(table: &Table, now: Instant) -> Result<Seat<'_>, Stream> {
        table.seat(stream(), Peer::Unix, now)
    }

    #[test]
    fn a_full_table_sheds_lingerers_then_the_least_progress_and_never_the_complete() {
        let table = Table::new(4, 1024);
        let start = Instant::now();
        let seats: Vec<_> = (0..4).map(|_| seat(&table, start).unwrap()).collect();
        assert!(seat(&table, start).is_err(), "nobody is old enough");

        let later = start + GRACE * 2;
        seats[0].enter(Phase::Lingering).unwrap();
        seats[1].arrived(10);
        seats[2].arrived(5);
        seats[3].enter(Phase::Handling).unwrap();
        let mut newcomers = Vec::new();
        for (victim, all_shed) in [(0, [true, false, false]), (2, [true, false, true]), (1, [true, true, true])] {
            newcomers.push(seat(&table, later).unwrap());
            assert_eq!([0, 1, 2].map(|index| seats[index].keep().is_err()), all_shed, "victim should be {victim}");
        }
        assert!(seat(&table, later).is_err());
        assert!(seats[3].keep().is_ok());
        assert_eq!(seats[1].enter(Phase::Handling).map_err(|refusal| refusal.status), Err(503));
        drop(seats);
        assert_eq!(lock(&table.entries).list.len(), 3);
        assert!(seat(&table, later).is_ok());
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
