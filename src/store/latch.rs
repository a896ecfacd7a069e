//! What stays lit on the desk, and until when it is muted. Owns the rows; refuses to know which events light and which put
//! out: that comes with what is routed.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{
    Store, StoreError,
    inbox::settling,
    keep_text, pulled,
    report::Reader,
    writer::{Durability, Ticket},
};
use crate::{
    bell::{Changed, Keeper, LATCHES_MAX, Latch, Mute, latch::Change},
    event::Event,
    time::{Timestamp, duration_ms},
};

/// Until when, and how long that was: milliseconds, with a blank between.
const MUTED: &str = "muted";

/// Does to latches what an event does, and says what changed. `sent` is when it was sent, where it was missed then. A run that is older than one that is known says nothing about
/// now; the caller has noted this one.
pub(super) fn apply(
    connection: &Connection,
    event: &Event,
    change: &Change,
    (sent, now): (Option<Timestamp>, Timestamp),
    changed: &mut Vec<Changed>,
) -> rusqlite::Result<()> {
    let Change { begins, ended_by, ends } = change;
    if begins.is_none() && ends.is_empty() {
        return Ok(());
    }
    let run = event.run();
    if let Some(run) = &run {
        let newest: Option<i64> = connection
            .prepare_cached("SELECT number FROM run WHERE source = ?1 AND subject = ?2 AND what = ?3")?
            .query_row(params![event.source, run.subject, run.what], |row| row.get(0))
            .optional()?;
        if newest.is_some_and(|newest| newest > run.number) {
            return Ok(());
        }
    }
    let subject = event.subject.as_deref().unwrap_or_default();
    let what = run.as_ref().map_or("", |run| run.what);
    for cue in ends {
        let mut delete = connection.prepare_cached(
            "DELETE FROM latch WHERE cue = ?1 AND source = ?2 AND subject = ?3 AND what = ?4 AND since_ms <= ?5
             RETURNING id",
        )?;
        // What comes late ends nothing that began after it was sent.
        let latest = sent.map_or(i64::MAX, Timestamp::ms);
        let ids = delete.query_map(params![cue, event.source, subject, what, latest], |row| row.get(0))?;
        let ids: Vec<i64> = ids.collect::<rusqlite::Result<_>>()?;
        if !ids.is_empty() {
            changed.push(Changed::Ended(ids));
        }
    }
    let overtaken = match (sent, begins, &run) {
        (Some(sent), Some(_), None) => pulled::is_overtaken(connection, event, ended_by, sent)?,
        _ => false,
    };
    let since = sent.unwrap_or(now);
    if let Some(cue) = begins.as_ref().filter(|_| !overtaken) {
        connection
            .prepare_cached(
                "INSERT OR REPLACE INTO latch (cue, source, subject, what, since_ms) VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute(params![cue, event.source, subject, what, since.ms()])?;
        let id = connection.last_insert_rowid();
        changed.push(Changed::Began(Latch {
            id,
            cue: cue.clone(),
            source: event.source.clone(),
            subject: subject.to_owned(),
            what: what.to_owned(),
            since,
        }));
        // The desk keeps the newest, too.
        connection
            .prepare_cached("DELETE FROM latch WHERE id <= (SELECT id FROM latch ORDER BY id DESC LIMIT 1 OFFSET ?1)")?
            .execute([i64::try_from(LATCHES_MAX).unwrap_or(i64::MAX)])?;
    }
    Ok(())
}

impl Store {
    /// Forgets these latches; it is on the disk when this returns.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn forget_latches(&self, latches: &[i64]) -> Result<(), StoreError> {
        self.submit_forgetting(latches)?.wait_for_ever()
    }

    /// Keeps that the desk is muted, or not any more; it is on the disk when this returns.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn remember_mute(&self, mute: Option<Mute>) -> Result<(), StoreError> {
        self.submit_mute(mute)?.wait_for_ever()
    }

    fn submit_forgetting(&self, latches: &[i64]) -> Result<Ticket<()>, StoreError> {
        let latches = latches.to_vec();
        self.submit(settling(Durability::Full), move |connection, _| {
            for id in &latches {
                connection.prepare_cached("DELETE FROM latch WHERE id = ?1")?.execute([id])?;
            }
            Ok(())
        })
    }

    fn submit_mute(&self, mute: Option<Mute>) -> Result<Ticket<()>, StoreError> {
        self.submit(settling(Durability::Full), move |connection, _| match mute {
            Some(Mute { until, asked }) => {
                keep_text(connection, MUTED, &format!("{} {}", until.ms(), duration_ms(asked)))
            }
            None => connection.execute("DELETE FROM meta WHERE key = ?1", [MUTED]).map(|_| ()),
        })
    }
}

impl Keeper for Store {
    fn forget(&self, latches: &[i64]) {
        if let Err(error) = self.submit_forgetting(latches) {
            log::warn!("what was acknowledged may stay lit after the next start: {error}");
        }
    }

    fn keep_mute(&self, mute: Option<Mute>) {
        if let Err(error) = self.submit_mute(mute) {
            log::warn!("the next start will not know that the buzzer is muted, or no longer is: {error}");
        }
    }
}

impl Reader {
    /// What stays lit, the oldest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn latches(&self) -> Result<Vec<Latch>, StoreError> {
        let read = || {
            let mut statement = self.connection().prepare("SELECT * FROM latch ORDER BY id")?;
            let rows = statement.query_map([], read)?;
            rows.collect::<rusqlite::Result<Vec<Latch>>>()
        };
        read().map_err(StoreError::database("read what stays lit"))
    }

    /// How the buzzer is muted.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn mute(&self) -> Result<Option<Mute>, StoreError> {
        let query = "SELECT value FROM meta WHERE key = ?1";
        let found: Option<String> = self
            .connection()
            .query_row(query, [MUTED], |row| row.get(0))
            .optional()
            .map_err(StoreError::database("read whether the buzzer is muted"))?;
        Ok(found.as_deref().and_then(|text| {
            let (until_ms, asked_ms) = text.split_once(' ')?;
            let asked = Duration::from_millis(asked_ms.parse().ok()?);
            Some(Mute { until: Timestamp::from_ms(until_ms.parse().ok()?), asked })
        }))
    }
}

fn read(row: &Row<'_>) -> rusqlite::Result<Latch> {
    Ok(Latch {
        id: row.get("id")?,
        cue: row.get("cue")?,
        source: row.get("source")?,
        subject: row.get("subject")?,
        what: row.get("what")?,
        since: Timestamp::from_ms(row.get("since_ms")?),
    })
}
