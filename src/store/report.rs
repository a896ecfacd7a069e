//! Questions about the past, on a connection that can change nothing. Owns the JSON shapes of a stored delivery.

use std::{collections::BTreeMap, path::Path};

use rusqlite::{Connection, OptionalExtension, Row, ToSql, Transaction, types::ValueRef};
use serde::Serialize;
use serde_json::{Map, Value};

use super::{Outage, Status, StoreError, body, connection, outbox::read_event, subject};
use crate::{event::Event, headers::Headers, secret::Secret, sink::Originals, time::Timestamp};

/// For those who want to look themselves. Temporary, because it uses a function of ours: a plain `sqlite3` can still
/// read every table.
pub(super) const WEBHOOK_EVENTS_VIEW: &str = "
CREATE TEMP VIEW webhook_events AS
SELECT delivery.id, source, event_type, delivery_id, hookbell_text(codec, bytes) AS payload_json,
       strftime('%Y-%m-%dT%H:%M:%S', received_ms / 1000, 'unixepoch') || printf('.%03dZ', received_ms % 1000) AS received_at,
       strftime('%Y-%m-%dT%H:%M:%S', processed_ms / 1000, 'unixepoch') || printf('.%03dZ', processed_ms % 1000) AS processed_at,
       status
FROM main.delivery JOIN main.body ON body.delivery = delivery.id";

/// What was routed before versions were noted counts as the very first.
const HANDLED_BY_ONE_OF: &str =
    "stage = 'routed' AND coalesce(handled_by, '0.0.0') IN (SELECT value FROM json_each(:versions))";

/// A reading connection.
pub struct Reader {
    connection: Connection,
}

/// Which deliveries to list. The default lists all.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Any of these; empty means all.
    pub statuses: Vec<Status>,
    /// The configured source's name.
    pub source: Option<String>,
    /// A kind that one of its events has.
    pub kind: Option<String>,
    /// Received at or after.
    pub since: Option<Timestamp>,
    /// Received before.
    pub until: Option<Timestamp>,
    /// Handled by one of these versions of our logic; `None` means any.
    pub handled_by: Option<Vec<String>>,
    /// This many at most.
    pub limit: u32,
}

/// One line of a list.
#[derive(Clone, Debug, Serialize)]
pub struct DeliveryRow {
    /// The stored delivery's id.
    pub id: i64,
    /// The configured source's name.
    pub source: String,
    /// The provider's word for what happened.
    pub event_type: String,
    /// The sender's own id.
    pub delivery_id: Option<String>,
    /// When it was stored.
    pub received_at: Timestamp,
    /// When its last dispatch was settled.
    pub processed_at: Option<Timestamp>,
    /// What it has come to.
    pub status: String,
    /// What is unusual about it, and why it was skipped or is dead.
    pub notes: Value,
    /// The kinds of its events, each once.
    pub kinds: Vec<String>,
    /// The first event's title.
    pub title: Option<String>,
    /// The version of our logic that routed it last.
    pub handled_by: Option<String>,
    /// How it came in: `webhook`, `recovered` or `polled`.
    pub origin: String,
    /// When its sender first sent it, by the sender's clock; known of what did not come by itself.
    pub sent_at: Option<Timestamp>,
}

/// One delivery with everything that is known about it.
#[derive(Debug, Serialize)]
pub struct Story {
    /// What the list shows.
    #[serde(flatten)]
    pub row: DeliveryRow,
    /// The provider's name.
    pub provider: String,
    /// Who sent it.
    pub peer: String,
    /// Which of the source's secrets it was signed with, from 1; 0 for what did not come signed.
    pub verified_by: i64,
    /// From proven to durable, milliseconds, where it is known.
    pub durable_ms: Option<f64>,
    /// Lower-case hex of the body's SHA-256.
    pub sha256: String,
    /// The header fields by name; repeated ones joined by a comma, bytes that are not UTF-8 replaced.
    pub headers: Map<String, Value>,
    /// The body as JSON where it is JSON, else as text.
    pub payload: Value,
    /// Whether it is longer than what was asked for, and `payload` is only its beginning, as text.
    pub payload_is_cut: bool,
    /// What it means.
    pub events: Vec<History>,
    /// Where it went.
    pub dispatches: Vec<Dispatched>,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub struct StoredRequest {
    /// Path and query.
    pub target: String,
    /// The head's fields.
    pub headers: Headers,
    /// The body, byte for byte.
    pub body: Vec<u8>,
}

/// An event with how it was routed.
#[derive(Debug, Serialize)]
pub struct History {
    /// The event's own fields.
    #[serde(flatten)]
    pub event: Event,
    /// The rules that matched.
    pub rules: Value,
}

/// A dispatch as it stands.
#[derive(Clone, Debug, Serialize)]
pub struct Dispatched {
    /// Which of the delivery's events, from 0.
    pub event: i64,
    /// The sink's name.
    pub sink: String,
    /// The channel there that a rule chose.
    pub channel: Option<String>,
    /// What it was filed under, where the sink keeps that in order.
    pub subject: Option<String>,
    /// The digest that a rule collects it for.
    pub digest: Option<String>,
    /// `due`, `leased`, `done`, `skipped` or `dead`.
    pub status: String,
    /// How often it was claimed.
    pub attempts: i64,
    /// When it is tried next.
    pub next_at: Option<Timestamp>,
    /// Why the last attempt failed.
    pub last_error: Option<String>,
    /// What the destination answered.
    pub receipt: Option<String>,
    /// When it was settled.
    pub settled_at: Option<Timestamp>,
    /// When the desk began to show it.
    pub shown_at: Option<Timestamp>,
    /// What came of each attempt, the latest hundred.
    pub tries: Vec<Attempt>,
}

/// One attempt of a dispatch.
#[derive(Clone, Debug, Serialize)]
pub struct Attempt {
    /// From 1.
    pub number: i64,
    /// When it began.
    pub began_at: Timestamp,
    /// How long it took, milliseconds.
    pub took_ms: i64,
    /// `done`, `skipped`, `retry` or `dead`.
    pub outcome: String,
    /// What the destination answered, or what went wrong.
    pub answer: Option<String>,
}

/// What waits for a sink.
#[derive(Clone, Debug, Serialize)]
pub struct QueueCount {
    /// The sink's name.
    pub sink: String,
    /// Due or leased.
    pub waiting: i64,
    /// Of those, after a failure.
    pub retrying: i64,
    /// Given up.
    pub dead: i64,
    /// When the oldest that waits is tried next.
    pub next_at: Option<Timestamp>,
    /// Why one of them failed.
    pub last_error: Option<String>,
    /// While the sink is left alone because it keeps failing.
    pub outage: Option<Outage>,
}

impl QueueCount {
    /// Nothing.
    pub fn none(sink: &str) -> QueueCount {
        let sink = sink.to_owned();
        QueueCount { sink, waiting: 0, retrying: 0, dead: 0, next_at: None, last_error: None, outage: None }
    }
}

impl Reader {
    /// Opens an existing database for reading.
    ///
    /// # Errors
    /// When the file is missing, unreadable or of another version.
    pub fn open(path: &Path) -> Result<Reader, StoreError> {
        Ok(Reader { connection: connection::reading(path)? })
    }

    /// What [`Store::remember`](super::Store::remember) keeps under this name.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn recall(&self, name: &str) -> Result<Option<String>, StoreError> {
        let found = self.connection.query_row("SELECT value FROM meta WHERE key = ?1", [name], |row| row.get(0));
        found.optional().map_err(StoreError::database("read what was noted"))
    }

    /// [`Store::own_key`](super::Store::own_key), for another process; `None` before a version that makes one has run.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn own_key(&self) -> Result<Option<Secret>, StoreError> {
        Ok(self.recall(super::OWN_KEY)?.and_then(Secret::new))
    }

    /// Holds the present state while several questions are asked about it: between two, the writer may commit.
    pub(super) fn moment(&self) -> Result<Transaction<'_>, StoreError> {
        self.connection.unchecked_transaction().map_err(StoreError::database("read one moment"))
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Deliveries, newest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn list(&self, filter: &Filter) -> Result<Vec<DeliveryRow>, StoreError> {
        let mut conditions = vec!["1"];
        let mut values: Vec<(&str, &dyn ToSql)> = Vec::new();
        let statuses = Value::from(filter.statuses.iter().map(|status| status.name()).collect::<Vec<_>>()).to_string();
        if !filter.statuses.is_empty() {
            conditions.push("status IN (SELECT value FROM json_each(:statuses))");
            values.push((":statuses", &statuses));
        }
        if let Some(source) = &filter.source {
            conditions.push("source = :source");
            values.push((":source", source));
        }
        if let Some(kind) = &filter.kind {
            conditions.push("id IN (SELECT delivery FROM event WHERE kind = :kind)");
            values.push((":kind", kind));
        }
        let (since, until) = (filter.since.map(Timestamp::ms), filter.until.map(Timestamp::ms));
        if since.is_some() {
            conditions.push("received_ms >= :since");
            values.push((":since", &since));
        }
        if until.is_some() {
            conditions.push("received_ms < :until");
            values.push((":until", &until));
        }
        let versions = filter.handled_by.as_ref().map(|versions| Value::from(versions.clone()).to_string());
        if versions.is_some() {
            conditions.push(HANDLED_BY_ONE_OF);
            values.push((":versions", &versions));
        }
        values.push((":limit", &filter.limit));
        let sql = format!("SELECT * FROM delivery WHERE {} ORDER BY id DESC LIMIT :limit", conditions.join(" AND "));
        let attempt = StoreError::database("list deliveries");
        let _moment = self.moment()?;
        let mut statement = self.connection.prepare(&sql).map_err(&attempt)?;
        let rows: Vec<DeliveryRow> =
            statement.query_map(values.as_slice(), read_row).and_then(Iterator::collect).map_err(&attempt)?;
        rows.into_iter().map(|row| self.with_kinds(row)).collect()
    }

    pub(super) fn with_kinds(&self, mut row: DeliveryRow) -> Result<DeliveryRow, StoreError> {
        let attempt = StoreError::database("read a delivery's events");
        let mut statement = self
            .connection
            .prepare_cached("SELECT kind, title FROM event WHERE delivery = ?1 ORDER BY replay, position")
            .map_err(&attempt)?;
        let found: Vec<(String, String)> = statement
            .query_map([row.id], |row| Ok((row.get(0)?, row.get(1)?)))
            .and_then(Iterator::collect)
            .map_err(&attempt)?;
        row.title = found.first().map(|(_, title)| title.clone());
        for (kind, _) in found {
            if !row.kinds.contains(&kind) {
                row.kinds.push(kind);
            }
        }
        Ok(row)
    }

    /// Everything about one delivery; `None` when there is no such id.
    ///
    /// # Errors
    /// When the database cannot be read, or a row is damaged.
    pub fn show(&self, id: i64) -> Result<Option<Story>, StoreError> {
        self.show_within(id, usize::MAX)
    }

    /// The line of one delivery; `None` when there is no such id.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn show_row(&self, id: i64) -> Result<Option<DeliveryRow>, StoreError> {
        let found = self.connection.query_row("SELECT * FROM delivery WHERE id = ?1", [id], read_row).optional();
        found.map_err(StoreError::database("read a delivery"))?.map(|row| self.with_kinds(row)).transpose()
    }

    /// The same as [`Reader::show`] with so much of the body at most: what is longer is not read as JSON, which would take a
    /// multiple of its bytes.
    ///
    /// # Errors
    /// As [`Reader::show`].
    pub fn show_within(&self, id: i64, payload_bytes_max: usize) -> Result<Option<Story>, StoreError> {
        let attempt = StoreError::database("read a delivery");
        let _moment = self.moment()?;
        let found = self
            .connection
            .query_row(
                "SELECT delivery.*, body.* FROM delivery JOIN body ON body.delivery = delivery.id WHERE delivery.id = ?1",
                [id],
                |row| {
                    let sha256: Vec<u8> = row.get("sha256")?;
                    Ok((
                        read_row(row)?,
                        row.get::<_, String>("provider")?,
                        row.get::<_, String>("peer")?,
                        (row.get::<_, i64>("verified_by")?, row.get::<_, Option<i64>>("durable_us")?),
                        sha256.iter().map(|byte| format!("{byte:02x}")).collect::<String>(),
                        row.get::<_, String>("headers")?,
                        row.get::<_, String>("codec")?,
                        row.get::<_, Vec<u8>>("bytes")?,
                    ))
                },
            )
            .optional()
            .map_err(&attempt)?;
        let Some((row, provider, peer, (verified_by, durable_us), sha256, headers, codec, bytes)) = found else {
            return Ok(None);
        };
        let mut raw = body::unpack_within(&codec, &bytes, payload_bytes_max)?;
        let payload_is_cut = raw.len() > payload_bytes_max;
        raw.truncate(payload_bytes_max);
        let text = || Value::String(String::from_utf8_lossy(&raw).into_owned());
        let payload = match payload_is_cut {
            true => text(),
            false => serde_json::from_slice(&raw).unwrap_or_else(|_| text()),
        };
        Ok(Some(Story {
            row: self.with_kinds(row)?,
            provider,
            peer,
            verified_by,
            durable_ms: durable_us.map(|us| us as f64 / 1000.0),
            sha256,
            headers: readable(&body::headers_from_json(&headers)?),
            payload,
            payload_is_cut,
            events: self.events(id)?,
            dispatches: self.dispatches(id)?,
        }))
    }

    /// How many bytes the body of one delivery has; `None` when there is no such id.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn body_bytes(&self, id: i64) -> Result<Option<i64>, StoreError> {
        let found = self.connection.query_row("SELECT raw_bytes FROM body WHERE delivery = ?1", [id], |row| row.get(0));
        found.optional().map_err(StoreError::database("read a delivery"))
    }

    /// The request of one delivery as it came; `None` when there is no such id.
    ///
    /// # Errors
    /// When the database cannot be read, or a row is damaged.
    pub fn request(&self, id: i64) -> Result<Option<StoredRequest>, StoreError> {
        let found = self
            .connection
            .prepare_cached("SELECT target, headers, codec, bytes FROM body WHERE delivery = ?1")
            .and_then(|mut statement| {
                statement
                    .query_row([id], |row| {
                        let packed: (String, Vec<u8>) = (row.get("codec")?, row.get("bytes")?);
                        Ok((row.get::<_, String>("target")?, row.get::<_, String>("headers")?, packed))
                    })
                    .optional()
            })
            .map_err(StoreError::database("read a delivery"))?;
        let Some((target, headers, (codec, bytes))) = found else { return Ok(None) };
        let (headers, body) = (body::headers_from_json(&headers)?, body::unpack(&codec, &bytes)?);
        Ok(Some(StoredRequest { target, headers, body }))
    }

    fn events(&self, delivery: i64) -> Result<Vec<History>, StoreError> {
        let attempt = StoreError::database("read a delivery's events");
        let mut statement = self
            .connection
            .prepare_cached(
                "SELECT event.*, delivery.source, delivery.provider
                 FROM event JOIN delivery ON delivery.id = event.delivery
                 WHERE event.delivery = ?1 ORDER BY replay, position",
            )
            .map_err(&attempt)?;
        let rows: Vec<(Result<Event, StoreError>, String)> = statement
            .query_map([delivery], |row| Ok((read_event(row)?, row.get("rules")?)))
            .and_then(Iterator::collect)
            .map_err(&attempt)?;
        rows.into_iter().map(|(event, rules)| Ok(History { event: event?, rules: json_or_text(rules) })).collect()
    }

    fn dispatches(&self, delivery: i64) -> Result<Vec<Dispatched>, StoreError> {
        let attempt = StoreError::database("read a delivery's dispatches");
        let mut statement = self
            .connection
            .prepare_cached(
                "SELECT event.position, delivery.source, dispatch.*
                 FROM dispatch JOIN event ON event.id = dispatch.event JOIN delivery ON delivery.id = dispatch.delivery
                 WHERE dispatch.delivery = ?1 ORDER BY dispatch.id",
            )
            .map_err(&attempt)?;
        let found: Vec<(i64, Dispatched)> = statement
            .query_map([delivery], |row| {
                let status: String = row.get("state")?;
                let next_ms: i64 = row.get("next_ms")?;
                let channel: String = row.get("channel")?;
                let (filed, source): (Option<String>, String) = (row.get("subject")?, row.get("source")?);
                let dispatched = Dispatched {
                    event: row.get("position")?,
                    sink: row.get("sink")?,
                    channel: Some(channel).filter(|channel| !channel.is_empty()),
                    subject: filed.and_then(|filed| subject::within(&source, &filed)),
                    digest: row.get("digest")?,
                    next_at: (status == "due").then_some(Timestamp::from_ms(next_ms)),
                    status,
                    attempts: row.get("attempts")?,
                    last_error: row.get("last_error")?,
                    receipt: row.get("receipt")?,
                    settled_at: row.get::<_, Option<i64>>("settled_ms")?.map(Timestamp::from_ms),
                    shown_at: row.get::<_, Option<i64>>("edge_ms")?.map(Timestamp::from_ms),
                    tries: Vec::new(),
                };
                Ok((row.get("id")?, dispatched))
            })
            .and_then(Iterator::collect)
            .map_err(&attempt)?;
        let with_tries = |(id, dispatched)| Ok(Dispatched { tries: self.tries(id)?, ..dispatched });
        found.into_iter().map(with_tries).collect()
    }

    fn tries(&self, dispatch: i64) -> Result<Vec<Attempt>, StoreError> {
        let attempt = StoreError::database("read a dispatch's attempts");
        let mut statement = self
            .connection
            .prepare_cached("SELECT * FROM attempt WHERE dispatch = ?1 ORDER BY number")
            .map_err(&attempt)?;
        statement
            .query_map([dispatch], |row| {
                Ok(Attempt {
                    number: row.get("number")?,
                    began_at: Timestamp::from_ms(row.get("began_ms")?),
                    took_ms: row.get("took_ms")?,
                    outcome: row.get("outcome")?,
                    answer: row.get("answer")?,
                })
            })
            .and_then(Iterator::collect)
            .map_err(&attempt)
    }

    /// The versions of our logic that any delivery was handled by.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn versions(&self) -> Result<Vec<String>, StoreError> {
        let attempt = StoreError::database("read which versions handled what");
        let mut statement = self
            .connection
            .prepare("SELECT DISTINCT coalesce(handled_by, '0.0.0') FROM delivery WHERE stage = 'routed'")
            .map_err(&attempt)?;
        statement.query_map([], |row| row.get(0)).and_then(Iterator::collect).map_err(&attempt)
    }

    /// How many deliveries have come to what.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn status_counts(&self) -> Result<Vec<(String, i64)>, StoreError> {
        let attempt = StoreError::database("count deliveries");
        let mut statement = self
            .connection
            .prepare_cached("SELECT status, count(*) FROM delivery GROUP BY status ORDER BY status")
            .map_err(&attempt)?;
        statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).and_then(Iterator::collect).map_err(&attempt)
    }

    /// What waits for each sink, or will wait for ever; a sink that owes nothing has no row.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn queues(&self) -> Result<Vec<QueueCount>, StoreError> {
        let attempt = StoreError::database("count what waits");
        let mut statement = self
            .connection
            .prepare_cached(
                // Each part by its own partial index: what is settled is never looked at.
                "WITH part AS (
                     SELECT sink, count(*) AS waiting, count(*) FILTER (WHERE failures > 0) AS retrying, 0 AS dead,
                            min(next_ms) AS next_ms, max(last_error) AS last_error
                     FROM dispatch WHERE state = 'due' GROUP BY sink
                     UNION ALL
                     SELECT sink, count(*), 0, 0, NULL, NULL FROM dispatch WHERE state = 'leased' GROUP BY sink
                     UNION ALL
                     SELECT sink, 0, 0, count(*), NULL, NULL FROM dispatch WHERE state = 'dead' GROUP BY sink)
                 SELECT sink, sum(waiting) AS waiting, sum(retrying) AS retrying, sum(dead) AS dead,
                        min(next_ms) AS next_ms, max(last_error) AS last_error
                 FROM part GROUP BY sink ORDER BY sink",
            )
            .map_err(&attempt)?;
        statement
            .query_map([], |row| {
                Ok(QueueCount {
                    sink: row.get("sink")?,
                    waiting: row.get("waiting")?,
                    retrying: row.get("retrying")?,
                    dead: row.get("dead")?,
                    next_at: row.get::<_, Option<i64>>("next_ms")?.map(Timestamp::from_ms),
                    last_error: row.get("last_error")?,
                    outage: None,
                })
            })
            .and_then(Iterator::collect)
            .map_err(&attempt)
            .and_then(|queues: Vec<QueueCount>| queues.into_iter().map(|queue| self.with_outage(queue)).collect())
    }

    /// How many dispatches each sink has that are `due`, `leased` or `dead`.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn queue_depths(&self) -> Result<BTreeMap<(String, String), i64>, StoreError> {
        let attempt = StoreError::database("count what waits");
        let mut statement = self
            .connection
            .prepare_cached(
                "SELECT sink, 'due', count(*) FROM dispatch WHERE state = 'due' GROUP BY sink
                 UNION ALL SELECT sink, 'leased', count(*) FROM dispatch WHERE state = 'leased' GROUP BY sink
                 UNION ALL SELECT sink, 'dead', count(*) FROM dispatch WHERE state = 'dead' GROUP BY sink",
            )
            .map_err(&attempt)?;
        statement
            .query_map([], |row| Ok(((row.get(0)?, row.get(1)?), row.get(2)?)))
            .and_then(Iterator::collect)
            .map_err(&attempt)
    }

    fn with_outage(&self, queue: QueueCount) -> Result<QueueCount, StoreError> {
        Ok(QueueCount { outage: self.outage(&queue.sink)?, ..queue })
    }

    /// Runs somebody's own query: column names, then each row to `each`.
    ///
    /// # Errors
    /// When it is not SQL, or would change something.
    pub fn sql(&self, query: &str, mut each: impl FnMut(&[String], &[Value])) -> Result<(), StoreError> {
        let attempt = StoreError::database("run the query");
        let mut statement = self.connection.prepare(query).map_err(&attempt)?;
        let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
        let mut rows = statement.query([]).map_err(&attempt)?;
        while let Some(row) = rows.next().map_err(&attempt)? {
            let values = (0..names.len())
                .map(|column| row.get_ref(column).map(to_json))
                .collect::<rusqlite::Result<Vec<Value>>>()
                .map_err(&attempt)?;
            each(&names, &values);
        }
        Ok(())
    }

    /// SQLite's own look at the file; empty when it is sound.
    ///
    /// # Errors
    /// When the database cannot be read at all.
    pub fn quick_check(&self) -> Result<Vec<String>, StoreError> {
        problems(&self.connection, "PRAGMA quick_check(10)").map_err(StoreError::database("check the database"))
    }
}

/// What SQLite's own check finds.
pub(super) fn problems(connection: &Connection, check: &str) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare(check)?;
    let found: Vec<String> = statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    Ok(found.into_iter().filter(|line| line != "ok").collect())
}

impl Originals for Reader {
    fn body(&self, delivery: i64) -> Result<Option<Vec<u8>>, String> {
        let request = self.request(delivery).map_err(|error| error.to_string())?;
        Ok(request.map(|request| request.body))
    }
}

pub(super) fn read_row(row: &Row<'_>) -> rusqlite::Result<DeliveryRow> {
    let notes: String = row.get("notes")?;
    Ok(DeliveryRow {
        id: row.get("id")?,
        source: row.get("source")?,
        event_type: row.get("event_type")?,
        delivery_id: row.get("delivery_id")?,
        received_at: Timestamp::from_ms(row.get("received_ms")?),
        processed_at: row.get::<_, Option<i64>>("processed_ms")?.map(Timestamp::from_ms),
        status: row.get("status")?,
        notes: json_or_text(notes),
        kinds: Vec::new(),
        title: None,
        handled_by: row.get("handled_by")?,
        origin: row.get("origin")?,
        sent_at: row.get::<_, Option<i64>>("sent_ms")?.map(Timestamp::from_ms),
    })
}

pub(super) fn json_or_text(text: String) -> Value {
    serde_json::from_str(&text).unwrap_or(Value::String(text))
}

fn readable(headers: &Headers) -> Map<String, Value> {
    let mut fields = Map::new();
    for (name, value) in headers.iter() {
        let value = String::from_utf8_lossy(value);
        let joined = match fields.get(name).and_then(Value::as_str) {
            Some(earlier) => format!("{earlier}, {value}"),
            None => value.into_owned(),
        };
        fields.insert(name.to_owned(), joined.into());
    }
    fields
}

fn to_json(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => number.into(),
        ValueRef::Real(number) => number.into(),
        ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned().into(),
        ValueRef::Blob(bytes) => bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into(),
    }
}
