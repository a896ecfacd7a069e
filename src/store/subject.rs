//! What is remembered about subjects beyond single events: which branch belongs to which pull request, how its last run
//! ended, and the conversations about it. Refuses to know what any of them looks like outside.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{Store, StoreError, inbox::settling, report::Reader, writer::Durability};
use crate::{
    event::{Event, Run},
    sink::{Conversation, Conversations},
    time::Timestamp,
};

/// What nobody has spoken of for so long is forgotten.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(180 * 24 * 60 * 60);

/// A subject as dispatches are filed under it: two sources may call different things the same.
pub(super) fn of(source: &str, subject: &str) -> String {
    format!("{source} {subject}")
}

/// What [`of`] was made of. `None` for what all is filed under together.
pub(super) fn within(source: &str, filed: &str) -> Option<String> {
    filed.strip_prefix(source)?.strip_prefix(' ').map(str::to_owned)
}

/// What an event is filed under: the pull request that its branch belongs to, else its own subject. Notes what the event
/// says about branches and runs; what is only handled again is no news.
pub(super) fn filed_under(
    connection: &Connection,
    event: &Event,
    replay: i64,
    now: Timestamp,
) -> rusqlite::Result<Option<String>> {
    if replay == 0
        && let Some(run) = event.run()
    {
        note_run(connection, &event.source, &run, now)?;
    }
    if let Some(head) = event.head() {
        match head.asks {
            _ if replay > 0 => 0,
            None => 0,
            Some(true) => connection
                .prepare_cached(
                    "INSERT INTO branch (source, name, subject, seen_ms) VALUES (?1, ?2, ?3, ?4)
                     ON CONFLICT (source, name) DO UPDATE SET subject = excluded.subject, seen_ms = excluded.seen_ms",
                )?
                .execute(params![event.source, head.branch, head.subject, now.ms()])?,
            Some(false) => connection
                .prepare_cached("DELETE FROM branch WHERE source = ?1 AND name = ?2 AND subject = ?3")?
                .execute(params![event.source, head.branch, head.subject])?,
        };
        return Ok(Some(head.subject.to_owned()));
    }
    let owner = match event.on_branch() {
        Some(name) => connection
            .prepare_cached("SELECT subject FROM branch WHERE source = ?1 AND name = ?2")?
            .query_row(params![event.source, name], |row| row.get(0))
            .optional()?,
        None => None,
    };
    Ok(owner.or_else(|| event.subject.clone()))
}

fn note_run(connection: &Connection, source: &str, run: &Run<'_>, now: Timestamp) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO run (source, subject, what, number, kind, seen_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (source, subject, what) DO UPDATE
             SET number = excluded.number, kind = excluded.kind, seen_ms = excluded.seen_ms
             -- An older run that ends late says nothing about now.
             WHERE excluded.number >= run.number",
        )?
        .execute(params![source, run.subject, run.what, run.number, run.kind, now.ms()])
        .map(|_| ())
}

/// Forgets what nobody has spoken of for long.
pub(super) fn forget(connection: &Connection, now: Timestamp) -> rusqlite::Result<()> {
    let before = now.minus(FORGOTTEN_AFTER).ms();
    for sql in [
        "DELETE FROM conversation WHERE touched_ms < ?1",
        "DELETE FROM run WHERE seen_ms < ?1",
        "DELETE FROM branch WHERE seen_ms < ?1",
    ] {
        connection.execute(sql, [before])?;
    }
    Ok(())
}

impl Reader {
    /// The kind that an event of a delivery had when it was handled first; `None` when it has not been.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn first_kind(&self, delivery: i64, position: usize) -> Result<Option<String>, StoreError> {
        self.connection()
            .prepare_cached("SELECT kind FROM event WHERE delivery = ?1 AND position = ?2 AND replay = 0")
            .and_then(|mut statement| {
                let position = i64::try_from(position).unwrap_or(i64::MAX);
                statement.query_row([delivery, position], |row| row.get(0)).optional()
            })
            .map_err(StoreError::database("read what an event was told as"))
    }

    /// The kind and number of the last run that was noted, where one was.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn last_run(&self, source: &str, run: &Run<'_>) -> Result<Option<(String, i64)>, StoreError> {
        self.connection()
            .prepare_cached("SELECT kind, number FROM run WHERE source = ?1 AND subject = ?2 AND what = ?3")
            .and_then(|mut statement| {
                statement
                    .query_row(params![source, run.subject, run.what], |row| Ok((row.get(0)?, row.get(1)?)))
                    .optional()
            })
            .map_err(StoreError::database("read how the last run ended"))
    }
}

/// A sink's conversations in the store.
pub struct SinkConversations {
    store: Store,
    reader: Reader,
    sink: String,
}

impl Store {
    /// The conversations of a sink.
    ///
    /// # Errors
    /// When the database cannot be opened.
    pub fn conversations(&self, sink: &str) -> Result<SinkConversations, StoreError> {
        Ok(SinkConversations { store: self.clone(), reader: self.reader()?, sink: sink.to_owned() })
    }
}

impl Conversations for SinkConversations {
    fn find(&self, source: &str, subject: &str, asked: &str) -> Result<Option<Conversation>, String> {
        let query = "SELECT * FROM conversation WHERE sink = ?1 AND source = ?2 AND subject = ?3 AND asked = ?4";
        let found = self
            .reader
            .connection()
            .prepare_cached(query)
            .and_then(|mut statement| statement.query_row([&self.sink, source, subject, asked], read).optional());
        found.map_err(StoreError::database("read a conversation")).map_err(|error| error.to_string())
    }

    /// By a synced commit: a power cut that took it would split the conversation.
    fn keep(&self, conversation: &Conversation) -> Result<(), String> {
        let (sink, kept) = (self.sink.clone(), conversation.clone());
        let written = self.store.submit(settling(Durability::Full), move |connection, _| {
            let Conversation { source, subject, asked, channel, ts, last, state, touched } = &kept;
            connection
                .prepare_cached(
                    "INSERT OR REPLACE INTO conversation (sink, source, subject, asked, channel, ts, last, state, touched_ms)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
                )?
                .execute(params![sink, source, subject, asked, channel, ts, last, state, touched.ms()])
        });
        written.and_then(|ticket| ticket.wait_for_ever()).map(|_| ()).map_err(|error| error.to_string())
    }
}

fn read(row: &Row<'_>) -> rusqlite::Result<Conversation> {
    Ok(Conversation {
        source: row.get("source")?,
        subject: row.get("subject")?,
        asked: row.get("asked")?,
        channel: row.get("channel")?,
        ts: row.get("ts")?,
        last: row.get("last")?,
        state: row.get("state")?,
        touched: Timestamp::from_ms(row.get("touched_ms")?),
    })
}
