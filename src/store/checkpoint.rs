//! Moves the log's pages into the database file, in a thread of its own beside the commits. Owns when; never in a commit's
//! way.
//!
//! A page in the log is written a second time by the checkpoint, once however often it was changed: the later, the fewer
//! bytes. A log that was cut off grows again, which costs the file system an entry in its own journal at each commit. A
//! delivery to two sinks, with a body of 1.5 KB that hardly packs, costs (`what_a_delivery_costs`, ext4 on a loop device):
//!
//! | the log is emptied | bytes by the kernel's count | bytes that the disk took | the same with pages of 4 KiB |
//! |---|---|---|---|
//! | at 16 MiB alone | 60 000 | 75 000 | 192 000, 214 000 |
//! | after each delivery | 138 000 | 225 000 | 269 000, 345 000 |
//! | in a pause, from 2 MiB | 60 000 | 83 000 | 193 000, 223 000 |
//! | in a pause, from 4 MiB | 57 000 | 81 000 | 188 000, 216 000 |
//! | in a pause, from 8 MiB | 56 000 | 80 000 | 186 000, 212 000 |
//!
//! So whoever sends one delivery a minute makes a pause each time and pays 8 % for a log of 4 MiB at most, and not three times
//! as much for none at all. What a small log holds is as safe there, and read in no time after a crash.

use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::writer::Shared;

/// A log of this size is due for a checkpoint. A page that many commits change is then written to the database once; a
/// larger log would only take longer to read after a crash.
pub(super) const DUE_BYTES: u64 = 16 * 1024 * 1024;
/// A log of this size is emptied in a pause: see the table above.
pub(super) const LARGE_BYTES: u64 = 4 * 1024 * 1024;

/// When the log is looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// So long without a commit is a pause.
    pub(super) pause: Duration,
    /// A small log is left alone; a wake-up this rare costs nothing, and covers a lost one.
    pub(super) look_again: Duration,
    /// A small log is emptied in a pause when it has not been for so long.
    pub(super) small_log_age_max: Duration,
}

impl Pace {
    pub(super) const NORMAL: Pace = Pace {
        pause: Duration::from_secs(60),
        look_again: Duration::from_secs(600),
        small_log_age_max: Duration::from_secs(86_400),
    };
}

/// Works until the store is stopped.
pub(super) fn run(connection: &Connection, shared: &Shared, pace: Pace) {
    let mut emptied = Instant::now();
    while !shared.is_stopped() {
        let commits = shared.commits();
        let is_large = shared.log_bytes() >= LARGE_BYTES;
        let is_woken = shared.checkpoint().wait(if is_large { pace.pause } else { pace.look_again });
        let log_bytes = shared.log_bytes();
        if is_woken && log_bytes >= DUE_BYTES {
            move_pages(connection, shared);
            continue;
        }
        let is_pause = !is_woken && shared.commits() == commits;
        let is_old = log_bytes > 0 && emptied.elapsed() >= pace.small_log_age_max;
        if is_pause && (log_bytes >= LARGE_BYTES || is_old) && empty(connection, shared) {
            shared.log_is_empty();
            emptied = Instant::now();
        }
    }
}

/// Moves what no reader needs, and waits for nobody.
pub(super) fn move_pages(connection: &Connection, shared: &Shared) {
    if let Err(error) = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())) {
        shared.note_failure(&error);
        log::warn!("cannot move the write-ahead log into the database: {error}");
    }
}

/// Moves everything and cuts the log off. Only the cut needs the writer's lock, for an instant: the pages are moved before,
/// and on this connection nothing waits for a lock. Says whether it was possible.
pub(super) fn empty(connection: &Connection, shared: &Shared) -> bool {
    move_pages(connection, shared);
    let is_busy = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, bool>(0));
    is_busy.inspect_err(|error| shared.note_failure(error)).is_ok_and(|is_busy| !is_busy)
}

/// Moves everything by new writes and a new sync, and lets the next commit begin the log anew. For the writer: it waits for
/// readers as long as for any lock.
pub(super) fn begin_anew(connection: &Connection) -> rusqlite::Result<()> {
    match connection.query_row("PRAGMA wal_checkpoint(RESTART)", [], |row| row.get::<_, bool>(0))? {
        false => Ok(()),
        true => Err(rusqlite::Error::SqliteFailure(
            rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY),
            Some("a reader holds the write-ahead log".to_owned()),
        )),
    }
}
