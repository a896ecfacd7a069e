//! Deliveries that did not come by themselves: pulled in from the provider's own interface. Owns their identity, which is
//! source and id alone, because their bytes may not be those that were sent; how far each place was read; and what pruning
//! has removed. Refuses to know any provider's interface.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};

use super::{
    Accepted, Arrival, Store, StoreError, body,
    inbox::{self, EARLIER, NewDelivery, hour},
    keep_text,
    report::Reader,
    writer::{Class, Durability, Terms},
};
use crate::{
    event::Event,
    provider::{self, Delivery, DeliveryParts, Origin},
    time::Timestamp,
};

/// Whoever pulls in goes on later when the disk takes longer.
const WITHIN: Duration = Duration::from_secs(20);
/// The newest receipt that pruning has removed, milliseconds.
const PRUNED: &str = "pruned_ms";
/// How far back a body is looked for under other ids.
const REPEATS_WINDOW: Duration = Duration::from_secs(3600);

/// Events among which one is looked for that has overtaken another.
const OVERTAKING_EVENTS_MAX: i64 = 20_000;

/// Whether a delivery of that id is held, whatever its body: the identity's index serves.
pub(super) const HELD: &str = "SELECT id FROM delivery WHERE source = ?1 AND delivery_id = ?2 LIMIT 1";

/// What is known about a delivery that was pulled in besides its bytes.
#[derive(Clone, Debug)]
pub struct Pulled {
    /// The configured source's name.
    pub source: String,
    /// Who handed it out: a host's name.
    pub peer: String,
    /// When it was sent, by the provider's clock.
    pub sent: Timestamp,
    /// What is worth noting about it.
    pub notes: Vec<String>,
}

impl Store {
    /// Stores a delivery that was pulled in, and waits until it is on the disk. One whose id is held already, whatever the
    /// bytes, is a duplicate.
    ///
    /// # Errors
    /// When it is not known to be on the disk.
    pub fn accept_pulled(&self, delivery: Delivery, pulled: Pulled) -> Result<Accepted, StoreError> {
        self.check_room()?;
        let mut parts = delivery.into_parts();
        let sha256 = provider::body_sha256(&parts.body);
        let body_hash = hash(&parts, &sha256);
        let headers = body::headers_to_json(&parts.headers);
        let payload_bytes = parts.body.len();
        let packed = self.packer.pack(std::mem::take(&mut parts.body));
        let bytes = packed.bytes.len() + headers.len() + 512;
        let terms = Terms { class: Class::Settle, durability: Durability::Full, bytes, deadline: None };
        let ticket = self.submit(terms, move |connection, now| {
            if let Some(id) = held(connection, &pulled.source, parts.id.as_deref())? {
                return Ok(Accepted::Duplicate { id });
            }
            let notes: Vec<String> = pulled.notes.iter().cloned().chain(parts.note.clone()).collect();
            let delivery = NewDelivery {
                parts: &parts,
                source: &pulled.source,
                peer: &pulled.peer,
                body_hash,
                sha256: &sha256,
                headers: &headers,
                packed: &packed,
                notes: &notes,
                is_skipped: false,
                sent: Some(pulled.sent),
            };
            let id = inbox::insert(connection, &delivery, now)?;
            Ok(Accepted::New { id, notes, is_skipped: false })
        })?;
        let accepted = ticket.wait(WITHIN);
        if matches!(accepted, Ok(Accepted::New { .. })) {
            self.meter.count(payload_bytes);
        }
        accepted
    }

    /// Keeps how far a place was read, in place of what was kept before. What was stored before it is durable no later than
    /// this.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn keep_reached(&self, source: &str, place: &str, state: String) -> Result<(), StoreError> {
        let (source, place) = (source.to_owned(), place.to_owned());
        let ticket = self.submit(inbox::settling(Durability::Deferred), move |connection, _| {
            let sql = "INSERT INTO reached (source, place, state) VALUES (?1, ?2, ?3)
                       ON CONFLICT (source, place) DO UPDATE SET state = excluded.state WHERE state <> excluded.state";
            connection.prepare_cached(sql)?.execute([&source, &place, &state]).map(|_| ())
        })?;
        ticket.wait(WITHIN)
    }
}

impl Reader {
    /// Which of these ids no delivery of the source has.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn not_held<'a>(&self, source: &str, ids: &[&'a str]) -> Result<Vec<&'a str>, StoreError> {
        let attempt = StoreError::database("look for deliveries");
        let _moment = self.moment()?;
        let mut missing = Vec::new();
        for id in ids {
            if held(self.connection(), source, Some(id)).map_err(&attempt)?.is_none() {
                missing.push(*id);
            }
        }
        Ok(missing)
    }

    /// What [`Store::keep_reached`] keeps.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn reached(&self, source: &str, place: &str) -> Result<Option<String>, StoreError> {
        let sql = "SELECT state FROM reached WHERE source = ?1 AND place = ?2";
        let found = self.connection().query_row(sql, [source, place], |row| row.get(0)).optional();
        found.map_err(StoreError::database("read how far a source was read"))
    }

    /// Everything that [`Store::keep_reached`] keeps: source, place and state.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn all_reached(&self) -> Result<Vec<(String, String, String)>, StoreError> {
        let attempt = StoreError::database("read how far the sources were read");
        let sql = "SELECT source, place, state FROM reached ORDER BY source, place";
        let mut statement = self.connection().prepare(sql).map_err(&attempt)?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).map_err(&attempt)?;
        rows.collect::<rusqlite::Result<_>>().map_err(&attempt)
    }

    /// The newest receipt that pruning has removed: what came before may have been held. `None`: nothing was removed.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn pruned_until(&self) -> Result<Option<Timestamp>, StoreError> {
        let kept = self.recall(PRUNED)?;
        Ok(kept.and_then(|text| text.parse().ok()).map(Timestamp::from_ms))
    }
}

/// Notes what pruning has removed, in its transaction.
pub(super) fn note_pruned(connection: &Connection, newest: Timestamp) -> rusqlite::Result<()> {
    let kept: Option<String> = connection
        .prepare_cached("SELECT value FROM meta WHERE key = ?1")?
        .query_row([PRUNED], |row| row.get(0))
        .optional()?;
    let before = kept.and_then(|text| text.parse().ok()).unwrap_or(i64::MIN);
    match newest.ms() > before {
        true => keep_text(connection, PRUNED, &newest.ms().to_string()),
        false => Ok(()),
    }
}

/// The delivery that has this id, if any.
pub(super) fn held(connection: &Connection, source: &str, id: Option<&str>) -> rusqlite::Result<Option<i64>> {
    let Some(id) = id else { return Ok(None) };
    connection.prepare_cached(HELD)?.query_row([source, id], |row| row.get(0)).optional()
}

fn hash(parts: &DeliveryParts, sha256: &[u8; 32]) -> i64 {
    i64::from_be_bytes(parts.fingerprint.unwrap_or(*sha256)[..8].try_into().unwrap_or_default())
}

/// Whether an event of these kinds, which would have put out what this one lights, was sent later and is here already.
pub(super) fn is_overtaken(
    connection: &Connection,
    event: &Event,
    ended_by: &[String],
    sent: Timestamp,
) -> rusqlite::Result<bool> {
    let Some(subject) = &event.subject else { return Ok(false) };
    // No index has subjects. What overtook it came lately, so the newest events have to do.
    let sql = "SELECT EXISTS (
                   SELECT 1 FROM (SELECT delivery, subject, kind FROM event ORDER BY id DESC LIMIT ?5) AS newest
                   JOIN delivery ON delivery.id = newest.delivery
                   WHERE newest.subject = ?1 AND delivery.source = ?2
                         AND newest.kind IN (SELECT value FROM json_each(?3))
                         AND coalesce(delivery.sent_ms, delivery.received_ms) > ?4)";
    let kinds = serde_json::Value::from(ended_by).to_string();
    connection
        .prepare_cached(sql)?
        .query_row(params![subject, event.source, kinds, sent.ms(), OVERTAKING_EVENTS_MAX], |row| row.get(0))
}

/// Where a delivery of this id and kind was pulled in and its bytes were not proven, this one, which is, takes their place:
/// then the id of that delivery. Not where the same body came under another id lately: such a one may be a replay that calls
/// itself by an id of its choice, and is judged as one.
pub(super) fn replace(
    connection: &Connection,
    arrival: &Arrival,
    (parts, sha256, headers, packed): (&DeliveryParts, &[u8; 32], &str, &body::Packed),
    now: Timestamp,
) -> rusqlite::Result<Option<i64>> {
    let Some(id) = &parts.id else { return Ok(None) };
    let sql = "SELECT id FROM delivery WHERE source = ?1 AND delivery_id = ?2 AND origin = ?3 AND verified_by = 0
               AND event_type = ?4 LIMIT 1";
    let found: Option<i64> = connection
        .prepare_cached(sql)?
        .query_row([&arrival.source, id, Origin::Recovered.name(), &parts.event_type], |row| row.get(0))
        .optional()?;
    let Some(delivery) = found else { return Ok(None) };
    let body_hash = hash(parts, sha256);
    let came_before: i64 = connection
        .prepare_cached(EARLIER)?
        .query_row(params![body_hash, arrival.source, now.minus(REPEATS_WINDOW).ms(), 1, hour(now)], |row| {
            row.get(0)
        })?;
    if came_before > 0 {
        return Ok(None);
    }
    connection
        .prepare_cached(
            "UPDATE delivery SET body_hash = ?2, verified_by = ?3,
                 notes = json_insert(notes, '$[#]', 'the signed original came later and took its place')
             WHERE id = ?1",
        )?
        .execute(params![delivery, body_hash, inbox::verified_by(parts)])?;
    connection
        .prepare_cached(
            "UPDATE body SET sha256 = ?2, target = ?3, headers = ?4, raw_bytes = ?5, codec = ?6, bytes = ?7
             WHERE delivery = ?1",
        )?
        .execute(params![
            delivery,
            sha256,
            parts.target,
            headers,
            i64::try_from(packed.raw_bytes).unwrap_or(i64::MAX),
            packed.codec,
            packed.bytes,
        ])?;
    // What could not be read in the form in which it was handed out can be now, perhaps.
    connection
        .prepare_cached(
            "UPDATE delivery SET stage = 'new', claims = 0, status = 'unprocessed', processed_ms = NULL
             WHERE id = ?1 AND status = 'dead_letter' AND NOT EXISTS (SELECT 1 FROM event WHERE delivery = ?1)",
        )?
        .execute([delivery])?;
    Ok(Some(delivery))
}
