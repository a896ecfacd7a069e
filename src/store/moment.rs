//! What time the rows are stamped with. Wall time, except that a step of it ages nothing: what this boot has written
//! before is shifted in the same transaction in which the new time is first used.

use std::{sync::Arc, time::Duration};

use rusqlite::{Connection, OptionalExtension, params};

use crate::time::{Clock, Timestamp, duration_ms};

/// Wall time may drift this far against the steady clock (NTP slews) before it counts as a step.
const STEP_MS_MIN: i64 = 60_000;

/// A process's idea of now. It follows the wall clock as long as that does not step, and holds on to its own offset
/// until the step has been written into the database.
pub(super) struct Moments {
    clock: Arc<dyn Clock>,
    /// Wall time minus time since boot, as last agreed with the database.
    offset_ms: i64,
}

impl Moments {
    /// Agrees with the database about the present boot.
    pub(super) fn open(connection: &Connection, clock: Arc<dyn Clock>) -> rusqlite::Result<Moments> {
        let offset_ms = offset_ms(&*clock);
        let boot_id = clock.boot_id();
        let same_boot: Option<i64> = connection
            .query_row("SELECT offset_ms FROM boot WHERE id = 1 AND boot_id = ?1", [&boot_id], |row| row.get(0))
            .optional()?;
        if same_boot.is_none() {
            connection.execute(
                "INSERT INTO boot (id, boot_id, offset_ms, first_delivery)
                 VALUES (1, ?1, ?2, (SELECT coalesce(max(id), 0) + 1 FROM delivery))
                 ON CONFLICT (id) DO UPDATE SET boot_id = excluded.boot_id, offset_ms = excluded.offset_ms,
                                                first_delivery = excluded.first_delivery",
                params![boot_id, offset_ms],
            )?;
        }
        Ok(Moments { clock, offset_ms: same_boot.unwrap_or(offset_ms) })
    }

    /// Now, in the time that the rows are in, or are in as soon as the step `stepped` is committed.
    pub(super) fn now(&self, stepped: Option<i64>) -> Timestamp {
        let wall = self.clock.wall();
        let steady = self.clock.since_boot();
        let drift_ms = wall.ms() - duration_ms(steady) - stepped.unwrap_or(self.offset_ms);
        match drift_ms.abs() < STEP_MS_MIN {
            true => wall,
            false => Timestamp::from_ms(wall.ms() - drift_ms),
        }
    }

    /// Whether the wall clock has stepped since the last agreement.
    pub(super) fn has_stepped(&self) -> bool {
        (offset_ms(&*self.clock) - self.offset_ms).abs() >= STEP_MS_MIN
    }

    /// Writes a step into the database, inside the caller's transaction, and returns the offset to adopt once that is
    /// committed. When another process of this boot has written the same step already, only the adoption is left.
    pub(super) fn shift(&self, connection: &Connection) -> rusqlite::Result<i64> {
        let new_ms = offset_ms(&*self.clock);
        let (stored_ms, first): (i64, i64) =
            connection.query_row("SELECT offset_ms, first_delivery FROM boot WHERE id = 1", [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?;
        let by_ms = new_ms - stored_ms;
        if by_ms.abs() < STEP_MS_MIN {
            return Ok(stored_ms);
        }
        connection.execute(
            "UPDATE delivery SET received_ms = received_ms + ?1, processed_ms = processed_ms + ?1 WHERE id >= ?2",
            [by_ms, first],
        )?;
        connection.execute(
            "UPDATE dispatch SET settled_ms = settled_ms + ?1, edge_ms = edge_ms + ?1
             WHERE delivery >= ?2 AND (settled_ms IS NOT NULL OR edge_ms IS NOT NULL)",
            [by_ms, first],
        )?;
        connection.execute(
            "UPDATE attempt SET began_ms = began_ms + ?1
             WHERE dispatch IN (SELECT id FROM dispatch WHERE delivery >= ?2)",
            [by_ms, first],
        )?;
        // What has no delivery to go by: the offset is the wall time at which this boot began.
        for (table, column) in
            [("conversation", "touched_ms"), ("run", "seen_ms"), ("branch", "seen_ms"), ("latch", "since_ms")]
        {
            let sql = format!("UPDATE {table} SET {column} = {column} + ?1 WHERE {column} >= ?2");
            connection.execute(&sql, [by_ms, stored_ms])?;
        }
        // Older boots' waits are included: they were brought into this boot's time when the work began. So is what somebody
        // tries: given back after a crash, it is due as before. Each has its own index.
        for state in ["due", "leased"] {
            connection
                .execute(&format!("UPDATE dispatch SET next_ms = next_ms + ?1 WHERE state = '{state}'"), [by_ms])?;
        }
        connection.execute("UPDATE boot SET offset_ms = ?1 WHERE id = 1", [new_ms])?;
        Ok(new_ms)
    }

    /// Adopts what [`Moments::shift`] returned.
    pub(super) fn adopt(&mut self, offset_ms: i64) {
        let by = Duration::from_millis(offset_ms.abs_diff(self.offset_ms));
        log::warn!("the clock has stepped by={by:?}; stored times of this boot were moved along, nothing aged");
        self.offset_ms = offset_ms;
    }
}

fn offset_ms(clock: &dyn Clock) -> i64 {
    clock.wall().ms() - duration_ms(clock.since_boot())
}
