//! The one thread of this process that changes the database. Owns group commit: it drains its queue into one
//! transaction, commits, and then releases all who wait. Refuses to know what a job does.

use std::{
    collections::VecDeque,
    path::PathBuf,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use rusqlite::{Connection, ErrorCode};

use super::{StoreError, checkpoint, damage, flash::Meter, moment::Moments};
use crate::{
    allowance::{Allowance, Rate},
    threads::{Wake, lock},
    time::Timestamp,
};

/// Jobs in one transaction, and so deliveries in one sync. A quarter of them is kept for settling, so that a flood of accepts cannot starve it.
pub const BATCH_JOBS_MAX: usize = 256;
/// Bytes that one transaction carries; one job alone may be larger.
const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Jobs that wait. Beyond it the answer is 503 at once rather than 503 later.
const QUEUE_JOBS_MAX: usize = 1024;
/// Bytes that wait.
const QUEUE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Over a log of this size the writer itself waits for the checkpoint, so that it cannot grow without limit while commits
/// keep overtaking the checkpoint thread.
const CHECKPOINT_FORCED_BYTES: u64 = 64 * 1024 * 1024;
/// Lines about trouble and its end: on a disk that is just full, what is small still has room, and the two take turns.
const TOLD: Rate = Rate { every: Duration::from_secs(1), burst: 20 };

/// Which half of a batch a job belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// A sender waits for this on the wire.
    Accept,
    /// Everything that happens after the answer.
    Settle,
}

/// Whether the commit must be on the disk when it returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Durability {
    /// Synced: somebody is told that it is done.
    Full,
    /// In the log, and synced with the next full commit. Losing it to a power cut repeats an attempt, nothing more.
    Deferred,
}

/// What a job asks of the writer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    pub(super) class: Class,
    pub(super) durability: Durability,
    /// Roughly what it writes.
    pub(super) bytes: usize,
    /// Dropped unrun when this has passed: nobody waits any more.
    pub(super) deadline: Option<Instant>,
}

type Run = dyn FnMut(&Connection, Timestamp) -> rusqlite::Result<()> + Send;
type Release = dyn FnOnce(Result<(), StoreError>) + Send;

struct Job {
    terms: Terms,
    /// May run more than once: a batch that fails is rolled back and tried again in halves.
    run: Box<Run>,
    release: Box<Release>,
}

#[derive(Default)]
struct Queue {
    accepts: VecDeque<Job>,
    settles: VecDeque<Job>,
    bytes: usize,
    is_stopped: bool,
}

/// What all hold on to: the queue and what is known about the thread.
pub(super) struct Shared {
    queue: Mutex<Queue>,
    filled: Condvar,
    /// Milliseconds of `started` at which the present commit began; -1 while idle.
    busy_since_ms: AtomicI64,
    started: Instant,
    log_bytes: AtomicU64,
    commits: AtomicU64,
    failure: Mutex<Option<String>>,
    disk_has_failed: AtomicBool,
    checkpoint: Wake,
    ended: Wake,
    when_ended: Mutex<Option<Box<dyn FnOnce() + Send>>>,
    changed: Mutex<Option<Wake>>,
}

/// Held by the writer's thread: its end, by a panic or not, is told.
pub(super) struct TellEnd(pub(super) Arc<Shared>);

impl Drop for TellEnd {
    fn drop(&mut self) {
        // After a panic there may be jobs left, and more to come: nobody will do them.
        let left = {
            let mut queue = lock(&self.0.queue);
            queue.is_stopped = true;
            queue.bytes = 0;
            let accepts = std::mem::take(&mut queue.accepts);
            accepts.into_iter().chain(std::mem::take(&mut queue.settles))
        };
        for job in left {
            (job.release)(Err(StoreError::Stopped));
        }
        self.0.ended.wake();
        if let Some(call) = lock(&self.0.when_ended).take() {
            call();
        }
    }
}

impl Shared {
    pub(super) fn new() -> Arc<Shared> {
        Arc::new(Shared {
            queue: Mutex::default(),
            filled: Condvar::new(),
            busy_since_ms: AtomicI64::new(-1),
            started: Instant::now(),
            log_bytes: AtomicU64::new(0),
            commits: AtomicU64::new(0),
            failure: Mutex::default(),
            disk_has_failed: AtomicBool::new(false),
            checkpoint: Wake::new(),
            ended: Wake::new(),
            when_ended: Mutex::default(),
            changed: Mutex::default(),
        })
    }

    pub(super) fn when_ended(&self, call: Box<dyn FnOnce() + Send>) {
        *lock(&self.when_ended) = Some(call);
    }

    pub(super) fn when_changed(&self, wake: Option<Wake>) {
        *lock(&self.changed) = wake;
    }

    pub(super) fn wait_for_end(&self, within: Duration) -> bool {
        self.ended.wait(within)
    }

    /// Queues a job. Its value comes by the ticket, after the commit that holds it.
    pub(super) fn submit<T: Send + 'static>(
        &self,
        terms: Terms,
        run: impl FnMut(&Connection, Timestamp) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<Ticket<T>, StoreError> {
        self.submit_then(terms, run, |_| ())
    }

    /// The same; of what is committed `committed` hears before who waits, and before the next transaction begins.
    pub(super) fn submit_then<T: Send + 'static>(
        &self,
        terms: Terms,
        mut run: impl FnMut(&Connection, Timestamp) -> rusqlite::Result<T> + Send + 'static,
        committed: impl FnOnce(&T) + Send + 'static,
    ) -> Result<Ticket<T>, StoreError> {
        let slot = Arc::new((Mutex::new(Slot { value: None, result: None }), Condvar::new()));
        let (filling, releasing) = (slot.clone(), slot.clone());
        let job = Job {
            terms,
            run: Box::new(move |connection, now| {
                let value = run(connection, now)?;
                lock(&filling.0).value = Some(value);
                Ok(())
            }),
            release: Box::new(move |result| {
                let mut slot = lock(&releasing.0);
                if result.is_ok()
                    && let Some(value) = &slot.value
                {
                    committed(value);
                }
                slot.result = Some(result);
                drop(slot);
                releasing.1.notify_one();
            }),
        };
        let mut queue = lock(&self.queue);
        if queue.is_stopped {
            return Err(StoreError::Stopped);
        }
        if queue.is_full_for(&terms) {
            queue.drop_expired();
            if queue.is_full_for(&terms) {
                return Err(StoreError::QueueFull);
            }
        }
        queue.bytes += terms.bytes;
        match terms.class {
            Class::Accept => queue.accepts.push_back(job),
            Class::Settle => queue.settles.push_back(job),
        }
        drop(queue);
        self.filled.notify_one();
        Ok(Ticket { slot })
    }

    /// Frees what jobs hold whose deadline has passed. The writer does so before each batch; whoever gave up on a job does
    /// it while a batch is stuck, so that the queue holds no more than what somebody waits for.
    pub(super) fn drop_expired(&self) {
        lock(&self.queue).drop_expired();
    }

    /// Bytes that wait.
    #[cfg(test)]
    pub(super) fn queued_bytes(&self) -> usize {
        lock(&self.queue).bytes
    }

    /// Lets the thread end once the queue is empty.
    pub(super) fn stop(&self) {
        lock(&self.queue).is_stopped = true;
        self.filled.notify_one();
    }

    /// What is wrong with writing at present, in words; `None` when nothing is known to be.
    pub(super) fn trouble(&self, stalled_after: Duration) -> Option<String> {
        let since_ms = self.busy_since_ms.load(Ordering::Relaxed);
        if let Ok(since_ms) = u64::try_from(since_ms) {
            let busy = self.started.elapsed().saturating_sub(Duration::from_millis(since_ms));
            if busy >= stalled_after {
                return Some(format!("storage stalled: a commit has been running for {:.1} s", busy.as_secs_f64()));
            }
        }
        lock(&self.failure).clone()
    }

    /// Commits so far.
    pub(super) fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    /// Notes an error that may be one of the disk. Linux takes what a failed sync should have written for written, and the next
    /// sync says that all is well: a later commit could stand in the log behind frames that are not on the disk, and a power
    /// cut would take it with them. So nothing is committed until the log was begun anew.
    pub(super) fn note_failure(&self, error: &rusqlite::Error) {
        if error.sqlite_error_code() == Some(ErrorCode::SystemIoFailure) {
            self.disk_has_failed.store(true, Ordering::Release);
        }
    }

    /// Whether it shall end.
    pub(super) fn is_stopped(&self) -> bool {
        lock(&self.queue).is_stopped
    }

    /// The size of the log after this process's last commit.
    pub(super) fn log_bytes(&self) -> u64 {
        self.log_bytes.load(Ordering::Relaxed)
    }

    /// They were moved, and the log cut off. A commit that comes at the same moment sets it right with the next.
    pub(super) fn log_is_empty(&self) {
        self.log_bytes.store(0, Ordering::Relaxed);
    }

    /// Wakes the checkpoint thread, also when it shall end.
    pub(super) fn checkpoint(&self) -> &Wake {
        &self.checkpoint
    }
}

impl Queue {
    fn is_full_for(&self, terms: &Terms) -> bool {
        // Settles have few owners, each waiting for its own; only accepts can pile up.
        terms.class == Class::Accept
            && (self.accepts.len() >= QUEUE_JOBS_MAX || self.bytes.saturating_add(terms.bytes) > QUEUE_BYTES_MAX)
    }

    fn drop_expired(&mut self) {
        let now = Instant::now();
        let mut bytes = 0;
        for queue in [&mut self.accepts, &mut self.settles] {
            queue.retain(|job| {
                let expired = job.terms.deadline.is_some_and(|deadline| deadline <= now);
                bytes += if expired { job.terms.bytes } else { 0 };
                // Nobody waits for an expired job's release: its ticket gave up at the same deadline.
                !expired
            });
        }
        self.bytes -= bytes;
    }

    /// The next batch, accepts first.
    fn drain(&mut self) -> Vec<Job> {
        let mut batch = Vec::new();
        let mut batch_bytes = 0;
        let accepts_max = match self.settles.is_empty() {
            true => BATCH_JOBS_MAX,
            false => BATCH_JOBS_MAX * 3 / 4,
        };
        for (queue, jobs_max) in [(&mut self.accepts, accepts_max), (&mut self.settles, BATCH_JOBS_MAX)] {
            while batch.len() < jobs_max
                && let Some(job) = queue.front()
                && (batch.is_empty() || batch_bytes + job.terms.bytes <= BATCH_BYTES_MAX)
                && let Some(job) = queue.pop_front()
            {
                batch_bytes += job.terms.bytes;
                batch.push(job);
            }
        }
        self.bytes -= batch_bytes;
        batch
    }
}

struct Slot<T> {
    value: Option<T>,
    result: Option<Result<(), StoreError>>,
}

/// A promise of a job's value.
pub(super) struct Ticket<T> {
    slot: Arc<(Mutex<Slot<T>>, Condvar)>,
}

impl<T> Ticket<T> {
    /// Waits for the commit however long it takes. For the work behind the answer: a claim whose outcome is unknown would
    /// be held by nobody. The writer releases every job; when its thread dies, the process ends.
    pub(super) fn wait_for_ever(self) -> Result<T, StoreError> {
        self.wait(Duration::MAX)
    }

    /// Waits for the commit. After `timeout` the outcome is unknown and the answer [`StoreError::TooSlow`].
    pub(super) fn wait(self, timeout: Duration) -> Result<T, StoreError> {
        let start = Instant::now();
        let mut slot = lock(&self.slot.0);
        loop {
            if let Some(result) = slot.result.take() {
                result?;
                // A job that was released as committed has run, and running it fills the value.
                return slot.value.take().ok_or(StoreError::Stopped);
            }
            let waited = start.elapsed();
            if waited >= timeout {
                return Err(StoreError::TooSlow { waited });
            }
            slot = match self.slot.1.wait_timeout(slot, timeout - waited) {
                Ok((slot, _)) => slot,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
    }
}

/// The writer thread's state. [`Writer::run`] is the thread.
pub(super) struct Writer {
    connection: Connection,
    moments: Moments,
    shared: Arc<Shared>,
    meter: Arc<Meter>,
    is_synced: bool,
    /// The database that is marked when it proves to be damaged; then this thread ends. Each job's owner is told where
    /// nobody serves.
    marks: Option<PathBuf>,
    has_marked: bool,
    /// The log's size at which the writer does a checkpoint itself.
    forced_at_bytes: u64,
    /// Of lines about trouble and its end.
    told: Allowance,
}

impl Writer {
    pub(super) fn new(
        mut connection: Connection,
        moments: Moments,
        shared: Arc<Shared>,
        meter: Arc<Meter>,
        marks: Option<PathBuf>,
    ) -> rusqlite::Result<Writer> {
        let hooked = shared.clone();
        let page_bytes: u32 = connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
        connection.wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, pages: std::ffi::c_int| {
            let log_bytes = u64::try_from(pages).unwrap_or(0) * u64::from(page_bytes);
            let before = hooked.log_bytes.swap(log_bytes, Ordering::Relaxed);
            let grows_large = before < checkpoint::LARGE_BYTES && log_bytes >= checkpoint::LARGE_BYTES;
            if grows_large || log_bytes >= checkpoint::DUE_BYTES {
                hooked.checkpoint.wake();
            }
            Ok(())
        }))?;
        let (forced_at_bytes, is_synced, has_marked) = (CHECKPOINT_FORCED_BYTES, true, false);
        let told = Allowance::default();
        Ok(Writer { connection, moments, shared, meter, is_synced, marks, has_marked, forced_at_bytes, told })
    }

    /// Works until told to stop and the queue is empty, or until the database proves to be damaged.
    pub(super) fn run(mut self) {
        while !self.has_marked
            && let Some(batch) = self.next_batch()
        {
            let now_ms = i64::try_from(self.shared.started.elapsed().as_millis()).unwrap_or(i64::MAX);
            self.shared.busy_since_ms.store(now_ms, Ordering::Relaxed);
            self.commit_or_halve(batch);
            self.checkpoint_if_forced();
            self.shared.busy_since_ms.store(-1, Ordering::Relaxed);
        }
    }

    fn next_batch(&mut self) -> Option<Vec<Job>> {
        let mut queue = lock(&self.shared.queue);
        loop {
            queue.drop_expired();
            let batch = queue.drain();
            if !batch.is_empty() {
                return Some(batch);
            }
            if queue.is_stopped {
                return None;
            }
            queue = match self.shared.filled.wait(queue) {
                Ok(queue) => queue,
                Err(poisoned) => poisoned.into_inner(),
            };
        }
    }

    /// Commits a batch. One bad job must not fail its neighbours, so a batch that fails for a reason of its own is tried
    /// again in halves; settles first, because they may free what the accepts lack.
    fn commit_or_halve(&mut self, mut batch: Vec<Job>) {
        let changes_before = self.connection.total_changes();
        let result = self.commit(&mut batch);
        let has_written = self.connection.total_changes() != changes_before;
        match result {
            Ok(()) => self.release(batch, Ok(()), has_written),
            Err(error) if batch.len() == 1 || error.is_environmental() => {
                if error.is_damage() {
                    self.mark(&error);
                }
                self.release(batch, Err(error), has_written);
            }
            Err(_) => {
                batch.sort_by_key(|job| job.terms.class == Class::Accept);
                let second = batch.split_off(batch.len() / 2);
                self.commit_or_halve(batch);
                self.commit_or_halve(second);
            }
        }
    }

    /// Whatever is written to a damaged file may be lost in it: who serves ends here, and the next process begins a new one.
    fn mark(&mut self, error: &StoreError) {
        let Some(database) = self.marks.take() else { return };
        self.has_marked = true;
        match damage::mark(&database, self.moments.now(None)) {
            Ok(aside) => log::error!(
                "{error}: this process ends, and the next one keeps the file as {} and begins a new one",
                aside.display()
            ),
            Err(unmarked) => log::error!("{error}: this process ends; {unmarked}"),
        }
    }

    fn commit(&mut self, batch: &mut [Job]) -> Result<(), StoreError> {
        let durability = match batch.iter().any(|job| job.terms.durability == Durability::Full) {
            true => Durability::Full,
            false => Durability::Deferred,
        };
        self.set_durability(durability).map_err(StoreError::database("set how commits are synced"))?;
        // Before the jobs run, not after: one that is committed and told otherwise would be held by nobody.
        if self.shared.disk_has_failed.swap(false, Ordering::AcqRel)
            && let Err(error) = checkpoint::begin_anew(&self.connection)
        {
            self.shared.disk_has_failed.store(true, Ordering::Release);
            return Err(StoreError::database("begin the write-ahead log anew")(error));
        }
        self.connection.execute_batch("BEGIN IMMEDIATE").map_err(StoreError::database("begin a transaction"))?;
        let committed = self.run_and_commit(batch);
        if let Err(StoreError::Database { cause, .. }) = &committed {
            self.shared.note_failure(cause);
        }
        if committed.is_err() && !self.connection.is_autocommit() {
            // SQLite rolls back by itself after some errors; where it has not, it must not stay half open.
            if let Err(error) = self.connection.execute_batch("ROLLBACK") {
                log::error!("cannot roll back: {error}");
            }
        }
        committed
    }

    fn run_and_commit(&mut self, batch: &mut [Job]) -> Result<(), StoreError> {
        let attempt = StoreError::database("write to the database");
        // A step of the clock is written in the same transaction in which the new time is first used.
        let stepped = match self.moments.has_stepped() {
            true => Some(self.moments.shift(&self.connection).map_err(&attempt)?),
            false => None,
        };
        let now = self.moments.now(stepped);
        let changes_before = self.connection.total_changes();
        for job in batch {
            (job.run)(&self.connection, now).map_err(&attempt)?;
        }
        // Only beside a change: a commit that would write nothing must not begin to.
        let counted = (self.connection.total_changes() != changes_before).then(|| self.meter.due()).flatten();
        let counted = counted.filter(|counted| self.meter.write(&self.connection, counted, now));
        self.connection.execute_batch("COMMIT").map_err(StoreError::database("commit"))?;
        if let Some(counted) = &counted {
            self.meter.settle(counted);
        }
        if let Some(offset_ms) = stepped {
            self.moments.adopt(offset_ms);
        }
        Ok(())
    }

    fn set_durability(&mut self, durability: Durability) -> rusqlite::Result<()> {
        let is_synced = durability == Durability::Full;
        if is_synced != self.is_synced {
            self.connection.pragma_update(None, "synchronous", if is_synced { "FULL" } else { "NORMAL" })?;
            self.is_synced = is_synced;
        }
        Ok(())
    }

    /// Tells all who wait. A commit that wrote nothing says nothing about the disk.
    fn release(&mut self, batch: Vec<Job>, result: Result<(), StoreError>, has_written: bool) {
        {
            let mut failure = lock(&self.shared.failure);
            match (&result, failure.is_some()) {
                (Ok(()), true) if has_written => {
                    if self.told.take(TOLD, Instant::now()).is_ok() {
                        log::info!("the database takes writes again");
                    }
                    *failure = None;
                }
                (Ok(()), _) => {}
                // Once per spell of trouble: each job's owner says what it means for that job.
                (Err(error), false) => {
                    if self.told.take(TOLD, Instant::now()).is_ok() {
                        log::error!("{error}");
                    }
                    *failure = Some(error.to_string());
                }
                (Err(error), true) => *failure = Some(error.to_string()),
            }
        }
        if result.is_ok() && has_written {
            self.shared.commits.fetch_add(1, Ordering::Relaxed);
        }
        for job in batch {
            (job.release)(result.clone());
        }
        // After those who wait for an answer.
        if has_written && let Some(wake) = &*lock(&self.shared.changed) {
            wake.wake();
        }
    }

    /// When the log grows although the checkpoint thread does what it can, commits overtake it: then the writer does one,
    /// with nobody to overtake. It waits for no reader; while one holds the log, each further step costs one attempt.
    fn checkpoint_if_forced(&mut self) {
        let log_bytes = self.shared.log_bytes();
        if log_bytes < CHECKPOINT_FORCED_BYTES {
            self.forced_at_bytes = CHECKPOINT_FORCED_BYTES;
        } else if log_bytes >= self.forced_at_bytes {
            checkpoint::move_pages(&self.connection, &self.shared);
            self.forced_at_bytes = log_bytes.saturating_add(CHECKPOINT_FORCED_BYTES);
        }
    }
}
