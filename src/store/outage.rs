//! Sinks that are left alone because they keep failing. Owns what of that survives a restart; refuses to know when a sink
//! is left alone, and why.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::Serialize;

use super::{Store, StoreError, inbox, report::Reader, writer::Durability};
use crate::time::{Timestamp, duration_ms};

/// A sink that is left alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Outage {
    /// Since when; attempts that failed meanwhile do not begin it anew.
    pub since: Timestamp,
    /// When the next attempt is due, one that decides.
    pub until: Timestamp,
    /// How long it is left alone this time.
    #[serde(skip)]
    pub wait: Duration,
    /// Why the last attempt failed, with the remedy where there is one.
    pub reason: String,
}

impl Store {
    /// Keeps a sink's outage in place of the one that was known, or that there is none.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn keep_outage(&self, sink: &str, outage: Option<Outage>) -> Result<(), StoreError> {
        let sink = sink.to_owned();
        let ticket = self.submit(inbox::settling(Durability::Deferred), move |connection, _| match &outage {
            Some(outage) => keep(connection, &sink, outage),
            None => connection.execute("DELETE FROM outage WHERE sink = ?1", [&sink]).map(|_| ()),
        })?;
        ticket.wait_for_ever()
    }
}

fn keep(connection: &Connection, sink: &str, outage: &Outage) -> rusqlite::Result<()> {
    let Outage { since, until, wait, reason } = outage;
    connection
        .execute(
            "INSERT OR REPLACE INTO outage (sink, since_ms, until_ms, wait_ms, reason) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![sink, since.ms(), until.ms(), duration_ms(*wait), reason],
        )
        .map(|_| ())
}

impl Reader {
    /// A sink's outage, while there is one.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn outage(&self, sink: &str) -> Result<Option<Outage>, StoreError> {
        let query = "SELECT since_ms, until_ms, wait_ms, reason FROM outage WHERE sink = ?1";
        let found = self.connection().query_row(query, [sink], read).optional();
        found.map_err(StoreError::database("read whether a sink is left alone"))
    }
}

fn read(row: &Row<'_>) -> rusqlite::Result<Outage> {
    let wait_ms: i64 = row.get("wait_ms")?;
    Ok(Outage {
        since: Timestamp::from_ms(row.get("since_ms")?),
        until: Timestamp::from_ms(row.get("until_ms")?),
        wait: Duration::from_millis(u64::try_from(wait_ms).unwrap_or(0)),
        reason: row.get("reason")?,
    })
}
