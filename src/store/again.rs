//! The operator's verbs that make something happen again. Owns what of a delivery's past is put aside for that; refuses to
//! choose deliveries.

use std::time::Duration;

use rusqlite::{Connection, params};

use super::{
    Store, StoreError, inbox,
    outbox::{is_behind, refresh_status},
    writer::Durability,
};
use crate::time::Timestamp;

/// Deliveries in one transaction, so that the door never waits long for the writer.
pub const BATCH: usize = 200;

impl Store {
    /// Lets the router handle these once more, by today's configuration. What was given up before is put aside: the new
    /// dispatches take its place. Returns the ids of those that it is so for; the others are still under way, or have no
    /// body any more.
    ///
    /// # Errors
    /// When the database cannot be written. Nothing of it has happened then.
    pub fn replay(&self, ids: &[i64]) -> Result<Vec<i64>, StoreError> {
        self.replay_within(ids, Duration::MAX)
    }

    /// The same for who waits for it no longer than this; it may happen all the same.
    ///
    /// # Errors
    /// As [`Store::replay`].
    pub fn replay_within(&self, ids: &[i64], within: Duration) -> Result<Vec<i64>, StoreError> {
        self.again(ids, within, |connection, id, now| {
            let taken = connection
                .prepare_cached(
                    "UPDATE delivery
                     SET stage = 'new', claims = 0, status = 'unprocessed', processed_ms = NULL,
                         notes = json_insert(notes, '$[#]', ?2)
                     WHERE id = ?1 AND stage = 'routed' AND EXISTS (SELECT 1 FROM body WHERE delivery = ?1)
                           AND NOT EXISTS (SELECT 1 FROM dispatch WHERE delivery = ?1 AND state IN ('due', 'leased'))",
                )?
                .execute(params![id, format!("replayed {now}")])?;
            if taken > 0 {
                connection
                    .prepare_cached(
                        "UPDATE dispatch SET state = 'skipped', receipt = 'a replay took its place'
                         WHERE delivery = ?1 AND state = 'dead'",
                    )?
                    .execute([id])?;
            }
            Ok(taken > 0)
        })
    }

    /// Tries what was given up once more, as it was. Returns the ids of the deliveries that had something given up.
    ///
    /// # Errors
    /// When the database cannot be written. Nothing of it has happened then.
    pub fn requeue(&self, ids: &[i64]) -> Result<Vec<i64>, StoreError> {
        self.requeue_within(ids, Duration::MAX)
    }

    /// The same for who waits for it no longer than this; it may happen all the same.
    ///
    /// # Errors
    /// As [`Store::requeue`].
    pub fn requeue_within(&self, ids: &[i64], within: Duration) -> Result<Vec<i64>, StoreError> {
        self.again(ids, within, |connection, id, now| {
            let dead: Vec<(i64, String, Option<String>)> = connection
                .prepare_cached(
                    "SELECT id, sink, subject FROM dispatch WHERE delivery = ?1 AND state = 'dead' ORDER BY id",
                )?
                .query_map([id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
                .collect::<rusqlite::Result<_>>()?;
            let revived = dead.len();
            for (dispatch, sink, subject) in dead {
                // Another of its subject may be under way.
                let behind = is_behind(connection, &sink, subject.as_deref())?;
                connection
                    .prepare_cached(
                        "UPDATE dispatch
                         SET state = 'due', claims = 0, failures = 0, tried_ms = 0, next_ms = ?2, settled_ms = NULL,
                             behind = ?3
                         WHERE id = ?1",
                    )?
                    .execute(params![dispatch, now.ms(), behind])?;
            }
            if revived > 0 {
                connection
                    .prepare_cached("UPDATE delivery SET notes = json_insert(notes, '$[#]', ?2) WHERE id = ?1")?
                    .execute(params![id, format!("requeued {now}")])?;
                refresh_status(connection, id, now)?;
            }
            Ok(revived > 0)
        })
    }

    fn again(
        &self,
        ids: &[i64],
        within: Duration,
        each: impl Fn(&Connection, i64, Timestamp) -> rusqlite::Result<bool> + Send + 'static,
    ) -> Result<Vec<i64>, StoreError> {
        let ids = ids.to_vec();
        let ticket = self.submit(inbox::settling(Durability::Full), move |connection, now| {
            let mut done = Vec::new();
            for id in &ids {
                if each(connection, *id, now)? {
                    done.push(*id);
                }
            }
            Ok(done)
        })?;
        ticket.wait(within)
    }
}
