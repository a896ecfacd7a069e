//! What goes when the file grows or ages: settled deliveries only, the oldest first, never one that is still owed.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, OptionalExtension, params};

use super::{Store, StoreError, beside, inbox::settling, pulled, report::Reader, subject, writer::Durability};
use crate::time::Timestamp;

/// Deliveries removed in one transaction: the door's commits wait this long at most.
const PRUNE_ROWS_MAX: i64 = 200;
/// Pages given back to the file system in one transaction.
const VACUUM_PAGES_MAX: i64 = 500;
/// Free pages that stay for the next deliveries (1 MiB): giving back what is wanted again at once wears the card.
const FREE_PAGES_KEPT: i64 = 256;
/// Rounds of one call; what is left goes with the next.
const ROUNDS_MAX: u32 = 500;

/// 2026-01-01: nobody has received anything with this program before. What is dated earlier came while the clock was wrong, in a
/// boot that ended before it was set; its age is not known, so it does not go by age.
const FIRST_MS: i64 = 1_767_225_600_000;

const QUIETLY_SETTLED: &str = "'processed', 'skipped'";
const SETTLED: &str = "'processed', 'skipped', 'dead_letter'";

/// What pruning removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Deliveries that are gone.
    pub deliveries: u64,
}

/// How large the database is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// What it holds; `size_max` is held against this.
    pub used_bytes: u64,
    /// The file itself.
    pub file_bytes: u64,
    /// The log beside it, which is not part of `size_max`: it has a limit of its own and is emptied by itself.
    pub log_bytes: u64,
    /// Whether the file becomes smaller when there is less in it. Every file that hookbell has made does.
    pub shrinks: bool,
    /// When the oldest delivery came that is still there.
    pub oldest: Option<Timestamp>,
}

impl Store {
    /// Removes settled deliveries older than `keep`, and the oldest settled ones while the file is larger than
    /// `size_bytes_max`. Ends early when `is_stopping`. The newest delivery stays, so that ids never repeat.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn prune(
        &self,
        keep: Option<Duration>,
        size_bytes_max: u64,
        is_stopping: impl Fn() -> bool,
    ) -> Result<Pruned, StoreError> {
        let mut pruned = Pruned::default();
        let forgetting = self.submit(settling(Durability::Deferred), subject::forget)?;
        forgetting.wait_for_ever()?;
        // Dead letters are settled too, but somebody may still want to look: they go when nothing else is left to go.
        let mut statuses = QUIETLY_SETTLED;
        for _ in 0..ROUNDS_MAX {
            if is_stopping() {
                break;
            }
            let ticket = self.submit(settling(Durability::Deferred), move |connection, now| {
                let is_large = used_bytes(connection)? > size_bytes_max;
                let (before_ms, dated_ms) = match (is_large, keep) {
                    (true, _) => (i64::MAX, i64::MIN),
                    (false, Some(keep)) => (now.minus(keep).ms(), FIRST_MS),
                    // Nothing is older than this.
                    (false, None) => (i64::MIN, i64::MIN),
                };
                let mut removing = connection.prepare_cached(&format!(
                    // The oldest settled ones first, and only then their age: without the inner limit a database
                    // in which nothing is old would be read through each time. A dead letter may still owe something to
                    // another sink; its `processed_ms` says when nothing is owed any more.
                    "DELETE FROM delivery WHERE id IN (
                             SELECT id FROM (
                                 SELECT id, received_ms FROM delivery
                                 WHERE status IN ({statuses}) AND processed_ms IS NOT NULL
                                   AND id < (SELECT max(id) FROM delivery)
                                 ORDER BY id LIMIT ?2)
                             WHERE received_ms < ?1 AND received_ms >= ?3)
                         RETURNING received_ms",
                ))?;
                let removed: Vec<i64> = removing
                    .query_map(params![before_ms, PRUNE_ROWS_MAX, dated_ms], |row| row.get(0))?
                    .collect::<rusqlite::Result<_>>()?;
                if let Some(newest_ms) = removed.iter().max() {
                    pulled::note_pruned(connection, Timestamp::from_ms(*newest_ms))?;
                }
                Ok((removed.len(), give_pages_back(connection)?))
            })?;
            let (removed, is_tight) = ticket.wait_for_ever()?;
            pruned.deliveries += removed as u64;
            match (removed, statuses) {
                (0, QUIETLY_SETTLED) => statuses = SETTLED,
                (0, _) if is_tight => break,
                _ => {}
            }
        }
        Ok(pruned)
    }
}

/// Gives free pages back to the file system, a few at a time; says whether no more than the reserve are left.
fn give_pages_back(connection: &Connection) -> rusqlite::Result<bool> {
    let free = || connection.pragma_query_value(None, "freelist_count", |row| row.get::<_, i64>(0));
    let spare = (free()? - FREE_PAGES_KEPT).min(VACUUM_PAGES_MAX);
    // A file that somebody has made anew by other means may not be able to: then there is no use in asking again and again.
    if spare <= 0 || !shrinks(connection)? {
        return Ok(true);
    }
    // One page goes with each row that this pragma returns, so all of them are asked for.
    let mut statement = connection.prepare(&format!("PRAGMA incremental_vacuum({spare})"))?;
    let mut rows = statement.query([])?;
    while rows.next()?.is_some() {}
    Ok(free()? <= FREE_PAGES_KEPT)
}

pub(super) fn used_bytes(connection: &Connection) -> rusqlite::Result<u64> {
    let pragma = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let used = pragma("page_count")?.saturating_sub(pragma("freelist_count")?).saturating_mul(pragma("page_size")?);
    Ok(u64::try_from(used).unwrap_or(0))
}

/// Whether pages can be given back a few at a time.
pub(super) fn shrinks(connection: &Connection) -> rusqlite::Result<bool> {
    connection.pragma_query_value(None, "auto_vacuum", |row| row.get::<_, i64>(0)).map(|mode| mode != 0)
}

impl Reader {
    /// How large the database is.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn size(&self) -> Result<Size, StoreError> {
        let attempt = StoreError::database("look at the database's size");
        let path = self.connection().path().map(PathBuf::from).unwrap_or_default();
        let length = |path: &Path| path.metadata().map_or(0, |file| file.len());
        let oldest: Option<i64> = self
            .connection()
            .query_row("SELECT received_ms FROM delivery ORDER BY id LIMIT 1", [], |row| row.get(0))
            .optional()
            .map_err(&attempt)?;
        Ok(Size {
            used_bytes: used_bytes(self.connection()).map_err(&attempt)?,
            file_bytes: length(&path),
            log_bytes: length(&beside(&path, "-wal")),
            shrinks: shrinks(self.connection()).map_err(&attempt)?,
            oldest: oldest.map(Timestamp::from_ms),
        })
    }
}
