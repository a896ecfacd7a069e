//! The database: the one file that must not lie. Owns the schema, the one writer thread, identity, claims, and every
//! question that is asked about the past. Refuses to know any provider's JSON or any sink.
//!
//! What [`Store::accept`] has returned is on the disk. Everything below it may be lost by a power cut and is then done
//! again, never forgotten.

mod again;
mod backup;
mod body;
mod checkpoint;
mod connection;
mod damage;
mod error;
mod flash;
mod import;
mod inbox;
mod installation;
mod latch;
mod lock;
mod look;
mod migrate;
mod moment;
mod outage;
mod outbox;
mod own;
mod proven;
mod prune;
mod pulled;
mod refusal;
mod report;
mod restore;
mod subject;
mod writer;

#[cfg(test)]
mod tests;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use rusqlite::{Connection, OptionalExtension};

pub use self::{
    again::BATCH as AGAIN_BATCH,
    backup::{Contents, backup},
    damage::{Aside, is_marked, lying_aside, mark, set_aside},
    error::StoreError,
    flash::{Counted, Flash, written as written_bytes},
    import::Imported,
    inbox::{Accepted, Arrival, Decision, Routable, Routed, Unrouted},
    lock::{Role, RoleLock},
    look::{Choice, EventRow, Lately, Page, RuleHits, SinkTally, SourceTally},
    outage::Outage,
    outbox::{Claim, Claimed, Portion, Settlement, WaitsMax},
    own::{OWN_PROVIDER, OWN_SOURCE},
    proven::Proven,
    prune::{Pruned, Size},
    pulled::Pulled,
    refusal::{OTHERS, RefusalCount, Refused},
    report::{Attempt, DeliveryRow, Dispatched, Filter, History, QueueCount, Reader, StoredRequest, Story},
    restore::{Restored, restore},
    subject::SinkConversations,
    writer::BATCH_JOBS_MAX,
};
use crate::{
    secret::Secret,
    threads::{self, Wake, lock as locked},
    time::{Clock, Timestamp},
};

/// Claims that were never settled: this many, and what was claimed is taken for the cause.
const CRASHES_MAX: i64 = 5;
/// A commit that runs this long is shown as stalled storage.
const STALLED_AFTER: Duration = Duration::from_secs(5);
/// Under this name the database keeps [`Store::own_key`].
const OWN_KEY: &str = "own_key";
/// Free space is asked for this seldom: it is a system call per delivery otherwise.
const ROOM_LOOK: Duration = Duration::from_millis(500);

/// What a stored delivery has come to (interface.md, "An event").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Not routed yet, or owed to a sink that has not been tried.
    Unprocessed,
    /// A dispatch waits after a failure.
    Retrying,
    /// Every dispatch is done.
    Processed,
    /// Looked at; nobody wanted it.
    Skipped,
    /// A dispatch, or the delivery itself, can never be handled.
    DeadLetter,
}

impl Status {
    /// Every status.
    pub const ALL: [Status; 5] =
        [Status::Unprocessed, Status::Retrying, Status::Processed, Status::Skipped, Status::DeadLetter];

    /// What whoever asks for deliveries may call one of them, or several: `error` or `failed` for what failed, `pending` or
    /// `processing` for what is not done with.
    ///
    /// # Errors
    /// All these words, when it is none of them.
    pub fn called(text: &str) -> Result<Vec<Status>, &'static str> {
        let found: Vec<Status> = match text {
            "error" | "failed" => vec![Status::Retrying, Status::DeadLetter],
            "pending" | "processing" => vec![Status::Unprocessed, Status::Retrying],
            name => Status::ALL.into_iter().filter(|status| status.name() == name).collect(),
        };
        match found.is_empty() {
            true => {
                Err("one of unprocessed, retrying, processed, skipped, dead_letter, error, failed, pending, processing")
            }
            false => Ok(found),
        }
    }

    /// The stored and shown name.
    pub const fn name(self) -> &'static str {
        match self {
            Status::Unprocessed => "unprocessed",
            Status::Retrying => "retrying",
            Status::Processed => "processed",
            Status::Skipped => "skipped",
            Status::DeadLetter => "dead_letter",
        }
    }
}

/// What the writer does when SQLite says that the file is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OnDamage {
    /// Whoever asked is told, and the next job is tried.
    Tell,
    /// The file is marked, and the writer ends.
    MarkAndEnd,
}

/// The database of a running process: a handle that all threads share.
#[derive(Clone)]
pub struct Store {
    path: PathBuf,
    shared: Arc<writer::Shared>,
    packer: Arc<body::Packer>,
    installation: Arc<installation::Installation>,
    meter: Arc<flash::Meter>,
    own_key: Secret,
    newest: Timestamp,
    damage: Arc<Mutex<Option<String>>>,
    arrivals: inbox::Arrivals,
    free_bytes_min: u64,
    room: Arc<Mutex<Option<(Instant, u64)>>>,
}

/// The store's threads. They end when [`StoreThreads::stop`] is called, after everything that was queued is written.
pub struct StoreThreads {
    shared: Arc<writer::Shared>,
    writer: JoinHandle<()>,
    checkpoints: JoinHandle<()>,
    checkpoints_ended: Wake,
}

impl Store {
    /// Opens or creates the database, brings its schema up to date and starts the writer.
    ///
    /// # Errors
    /// When the file cannot be opened, is damaged, is from a newer version, or cannot promise durability.
    pub fn open(path: &Path, free_bytes_min: u64, clock: Arc<dyn Clock>) -> Result<(Store, StoreThreads), StoreError> {
        Store::open_at(path, free_bytes_min, clock, checkpoint::Pace::NORMAL, OnDamage::Tell)
    }

    /// The same for a service, which does not go on with a database that proves to be damaged: the writer marks it and ends.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn serve(path: &Path, free_bytes_min: u64, clock: Arc<dyn Clock>) -> Result<(Store, StoreThreads), StoreError> {
        Store::open_at(path, free_bytes_min, clock, checkpoint::Pace::NORMAL, OnDamage::MarkAndEnd)
    }

    fn open_at(
        path: &Path,
        free_bytes_min: u64,
        clock: Arc<dyn Clock>,
        pace: checkpoint::Pace,
        on_damage: OnDamage,
    ) -> Result<(Store, StoreThreads), StoreError> {
        let written = flash::written();
        if is_marked(path) {
            return Err(StoreError::Damaged {
                path: path.to_owned(),
                why: "it is marked as damaged; start the service, which sets it aside and begins a new one".to_owned(),
            });
        }
        let connection = connection::writing(path)?;
        let attempt = StoreError::database("prepare the database");
        let installation = installation::Installation::open(&connection).map_err(&attempt)?;
        let own_key = kept_random(&connection, OWN_KEY, 32).map_err(&attempt)?;
        let own_key = Secret::new(own_key).ok_or_else(|| StoreError::Open {
            path: path.to_owned(),
            why: "its own key is empty; remove it: DELETE FROM meta WHERE key = 'own_key'".to_owned(),
        })?;
        let newest = newest(&connection).map_err(&attempt)?;
        let damage = damage::found(&connection).map_err(&attempt)?;
        let meter = Arc::new(flash::Meter::new(clock.clone(), newest, written));
        let moments = moment::Moments::open(&connection, clock).map_err(&attempt)?;
        let shared = writer::Shared::new();
        let marks = (on_damage == OnDamage::MarkAndEnd).then(|| path.to_owned());
        let writer =
            writer::Writer::new(connection, moments, shared.clone(), meter.clone(), marks).map_err(&attempt)?;
        let checkpointing = connection::checkpointing(path)?;
        let no_thread = |error: std::io::Error| StoreError::Open {
            path: path.to_owned(),
            why: format!("its threads cannot be started: {error}"),
        };
        let ended = shared.clone();
        let writer = threads::spawn("writer", threads::STACK_BYTES, move || {
            let _tell = writer::TellEnd(ended);
            writer.run();
        })
        .map_err(no_thread)?;
        let (for_checkpoints, checkpoints_ended) = (shared.clone(), Wake::new());
        let (told, counts, database) = (checkpoints_ended.clone(), meter.clone(), path.to_owned());
        let checkpoints = threads::spawn("checkpoints", threads::STACK_BYTES, move || {
            checkpoint::run(&checkpointing, &for_checkpoints, pace);
            // As the last to close it would do so by itself, but after the count. Where a service goes on, its log does.
            if !is_in_use_by_others(&database) {
                checkpoint::move_pages(&checkpointing, &for_checkpoints);
            }
            counts.settle_at_end(&checkpointing);
            drop(checkpointing);
            told.wake();
        })
        .map_err(no_thread)?;
        let store = Store {
            path: path.to_owned(),
            shared: shared.clone(),
            packer: Arc::default(),
            installation: Arc::new(installation),
            meter,
            own_key,
            newest,
            damage: Arc::new(Mutex::new(damage)),
            arrivals: inbox::Arrivals::default(),
            free_bytes_min,
            room: Arc::default(),
        };
        Ok((store, StoreThreads { shared, writer, checkpoints, checkpoints_ended }))
    }

    /// A reading connection of its own, for one thread.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn reader(&self) -> Result<Reader, StoreError> {
        Reader::open(&self.path)
    }

    /// The database file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The newest moment in the database when it was opened: a clock that is far behind it is wrong.
    pub fn newest(&self) -> Timestamp {
        self.newest
    }

    /// The random name of this database, part of every id that leaves the house.
    pub fn installation(&self) -> &str {
        self.installation.name()
    }

    /// What only this installation knows: it proves by it that a request was answered by itself.
    pub fn own_key(&self) -> &Secret {
        &self.own_key
    }

    /// Begins the work behind the door: gives back what an earlier process held, and says whether that one ended without
    /// [`Store::end_work`]. `waits` are the longest that the configuration knows.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn begin_work(&self, waits: WaitsMax) -> Result<bool, StoreError> {
        let ticket = self.submit(inbox::settling(writer::Durability::Full), move |connection, now| {
            inbox::void_claims(connection, now)?;
            outbox::void_claims(connection, now, waits)?;
            let marked = connection.execute(
                "INSERT INTO meta (key, value) VALUES ('working', ?1) ON CONFLICT DO NOTHING",
                [now.to_string()],
            )?;
            Ok(marked == 0)
        })?;
        ticket.wait_for_ever()
    }

    /// Ends the work in good order. What a thread still holds, because it did not come in time, is given back without
    /// blame: nothing has crashed.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn end_work(&self) -> Result<(), StoreError> {
        let ticket = self.submit(inbox::settling(writer::Durability::Full), |connection, _| {
            inbox::give_back(connection)?;
            outbox::give_back(connection)?;
            connection.execute("DELETE FROM meta WHERE key = 'working'", [])
        })?;
        ticket.wait(Duration::from_secs(1)).map(|_| ())
    }

    /// What is wrong with storing at present, in words for people; `None` when it works as far as is known. When the last
    /// commit failed, a small one is tried now, so that health returns by itself.
    pub fn trouble(&self) -> Option<String> {
        if let Err(error) = self.check_room() {
            return Some(error.to_string());
        }
        let trouble = self.shared.trouble(STALLED_AFTER)?;
        const PROBE_WITHIN: Duration = Duration::from_secs(1);
        let mut terms = inbox::settling(writer::Durability::Full);
        terms.deadline = Some(Instant::now() + PROBE_WITHIN);
        let probe = self
            .submit(terms, |connection, now| keep_text(connection, "probe", &now.to_string()))
            .and_then(|ticket| ticket.wait(PROBE_WITHIN));
        match probe {
            Ok(_) => None,
            Err(_) => Some(trouble),
        }
    }

    /// Keeps a text under a name, in place of the one that was there.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn remember(&self, name: &'static str, text: String) -> Result<(), StoreError> {
        let ticket = self.submit(inbox::settling(writer::Durability::Deferred), move |connection, _| {
            keep_text(connection, name, &text)
        })?;
        ticket.wait_for_ever()
    }

    /// Wakes this after each transaction of this process that has changed something; `None`: nobody any more.
    pub fn when_changed(&self, wake: Option<Wake>) {
        self.shared.when_changed(wake);
    }

    /// Transactions that this process has committed.
    pub fn commits(&self) -> u64 {
        self.shared.commits()
    }

    fn submit<T: Send + 'static>(
        &self,
        terms: writer::Terms,
        run: impl FnMut(&Connection, Timestamp) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<writer::Ticket<T>, StoreError> {
        self.shared.submit(terms, run)
    }

    /// Refuses while the disk has too little free space: what is kept must still be settled there.
    fn check_room(&self) -> Result<(), StoreError> {
        let free_bytes = {
            let mut room = locked(&self.room);
            match *room {
                Some((asked, free_bytes)) if asked.elapsed() < ROOM_LOOK => free_bytes,
                _ => {
                    // A file system that does not answer this will say no at the commit.
                    let free_bytes = free_bytes(&self.path).unwrap_or(u64::MAX);
                    *room = Some((Instant::now(), free_bytes));
                    free_bytes
                }
            }
        };
        if free_bytes < self.free_bytes_min {
            return Err(StoreError::NoRoom { free_bytes, free_bytes_min: self.free_bytes_min });
        }
        Ok(())
    }
}

impl StoreThreads {
    /// Calls this when the writer ends, by a panic or not.
    pub fn when_ended(&self, call: impl FnOnce() + Send + 'static) {
        self.shared.when_ended(Box::new(call));
    }

    /// Writes what is queued and ends the threads, within this time. A disk that does not answer cannot hold the process
    /// longer: nothing that waits for it was answered 200.
    pub fn stop(self, within: Duration) {
        self.shared.stop();
        if !self.shared.wait_for_end(within) {
            log::error!("stopping without the disk's last answer: storage is stalled");
            return;
        }
        if self.writer.join().is_err() {
            log::error!("the writer thread has panicked");
        }
        // The whole log is moved into the file, which may take longer than we have. What is in the log is as safe there.
        self.shared.checkpoint().wake();
        if self.checkpoints_ended.wait(within) && self.checkpoints.join().is_err() {
            log::error!("the checkpoint thread has panicked");
        }
    }
}

/// Whether another process has a role for this database.
fn is_in_use_by_others(database: &Path) -> bool {
    let mut holders = [Role::Receive, Role::Work].into_iter().filter_map(|role| RoleLock::holder(database, role));
    holders.any(|pid| pid != std::process::id())
}

/// The path of what stands beside a database: its log, its locks.
pub fn beside(database: &Path, ending: &str) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push(ending);
    PathBuf::from(path)
}

/// The directory that holds `path`.
pub fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Free bytes of the file system that holds `path`, for users that are not root.
///
/// # Errors
/// When the system does not tell.
pub fn free_bytes(path: &Path) -> std::io::Result<u64> {
    let found = rustix::fs::statvfs(directory_of(path))?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

/// Keeps a text under a name, in place of the one that was there.
fn keep_text(connection: &Connection, name: &str, text: &str) -> rusqlite::Result<()> {
    let sql = "INSERT INTO meta (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = excluded.value";
    connection.execute(sql, [name, text]).map(|_| ())
}

fn newest(connection: &Connection) -> rusqlite::Result<Timestamp> {
    let newest_ms: Option<i64> = connection
        .query_row("SELECT received_ms FROM delivery ORDER BY id DESC LIMIT 1", [], |row| row.get(0))
        .optional()?;
    Ok(Timestamp::from_ms(newest_ms.unwrap_or(0)))
}

/// Random bytes in hexadecimal that were made when they were asked for first.
fn kept_random(connection: &Connection, name: &str, bytes: u32) -> rusqlite::Result<String> {
    // Opening is no reason to write: only what is missing is made.
    let find = || connection.query_row("SELECT value FROM meta WHERE key = ?1", [name], |row| row.get(0)).optional();
    if let Some(found) = find()? {
        return Ok(found);
    }
    let sql = "INSERT INTO meta (key, value) VALUES (?1, lower(hex(randomblob(?2)))) ON CONFLICT DO NOTHING";
    connection.execute(sql, (name, bytes))?;
    find()?.ok_or(rusqlite::Error::QueryReturnedNoRows)
}
