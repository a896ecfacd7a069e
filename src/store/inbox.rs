//! Deliveries on their way in: accepted by the door, claimed and routed by the router. Refuses to know what a payload
//! means.

use std::{
    collections::{HashSet, VecDeque},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use rusqlite::{Connection, OptionalExtension, params};

use super::{
    CRASHES_MAX, Status, Store, StoreError, body, latch,
    outbox::is_behind,
    own, pulled, subject,
    writer::{Class, Durability, Terms},
};
use crate::{
    bell::{Changed, latch::Change},
    event::Event,
    headers::Headers,
    provider::{self, Delivery, DeliveryParts, Provider},
    rule::{Digest, Order, Target},
    threads::lock,
    time::Timestamp,
};

/// The same signed body under other ids is handled this often within [`REPEATS_WINDOW`] (interface.md, `repeats`).
const REPEATS_MAX: i64 = 3;
/// See [`REPEATS_MAX`].
const REPEATS_WINDOW: Duration = Duration::from_secs(3600);

/// The subject of everything that is owed to a sink that wants all in order. No event has it: subjects are not empty.
const ONE_QUEUE: &str = "";

/// The version of our logic, as each delivery that it has handled says.
const HANDLED_BY: &str = env!("CARGO_PKG_VERSION");

/// The very delivery.
pub(super) const SAME: &str = "SELECT id FROM delivery WHERE source = ?1 AND delivery_id = ?2 AND body_hash = ?3";
/// The same where the sender gives no id.
pub(super) const SAME_WITHOUT_ID: &str = "SELECT id FROM delivery INDEXED BY delivery_body
    WHERE received_ms / 3600000 IN (?4 - 1, ?4, ?4 + 1) AND body_hash = ?1
        AND source = ?2 AND delivery_id IS NULL AND received_ms > ?3 LIMIT 1";
/// How often this body came lately. The index is named, because SQLite by itself looks through all of the source's.
pub(super) const EARLIER: &str = "SELECT count(*) FROM (
    SELECT 1 FROM delivery INDEXED BY delivery_body
    WHERE received_ms / 3600000 IN (?5 - 1, ?5, ?5 + 1) AND body_hash = ?1
        AND source = ?2 AND received_ms > ?3 LIMIT ?4)";

/// How long the latest deliveries took to be durable. Known only after the commit that holds them, so it is written along
/// with what the router decides; lost with the process, and unknown to the worker in the split form.
#[derive(Clone, Default)]
pub(super) struct Arrivals(Arc<Mutex<VecDeque<(i64, Duration)>>>);

impl Arrivals {
    /// What is older has been routed long ago, or waits behind an outage.
    const KEPT: usize = 1024;

    fn note(&self, id: i64, took: Duration) {
        let mut kept = lock(&self.0);
        if kept.len() == Self::KEPT {
            kept.pop_front();
        }
        kept.push_back((id, took));
    }

    pub(super) fn durable_us(&self, id: i64) -> Option<i64> {
        let kept = lock(&self.0);
        let (_, took) = kept.iter().rev().find(|(kept, _)| *kept == id)?;
        i64::try_from(took.as_micros()).ok()
    }
}

/// What the door knows about a delivery besides its bytes.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// The configured source's name.
    pub source: String,
    /// Who sent it: an address, or what stands for one.
    pub peer: String,
    /// What to do with a body that came before under another id.
    pub repeats: crate::config::Repeats,
    /// Without any id, equal bytes within this time are a retry; an hour at most.
    pub repeat_window: Duration,
    /// Nobody waits for the outcome after this.
    pub deadline: Instant,
}

/// What became of a delivery. It is on the disk when this is returned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// Stored under this id.
    New {
        /// The stored delivery's id.
        id: i64,
        /// What is unusual about it: `possible_replay`, `same_id_other_body`.
        notes: Vec<String>,
        /// Whether it was stored as skipped, because its body repeats too often.
        is_skipped: bool,
    },
    /// Seen before under this id; nothing is done again.
    Duplicate {
        /// The stored delivery's id.
        id: i64,
    },
}

/// A delivery that a router holds. Consumed by [`Store::route`].
#[derive(Debug)]
pub struct Routable {
    /// The stored delivery's id.
    pub id: i64,
    /// The configured source's name.
    pub source: String,
    /// Whose rules it follows; `None` when this program does not know the stored name.
    pub provider: Option<Provider>,
    /// It is what we have to say about ourselves: its body is the event.
    pub is_own: bool,
    /// The provider's word for what happened.
    pub event_type: String,
    /// When it was stored.
    pub received: Timestamp,
    /// As stored: unpacked one at a time, because many small rows may hold many large bodies.
    packed: Option<(String, String, Vec<u8>)>,
    claims: i64,
}

impl Routable {
    /// Its headers and body.
    ///
    /// # Errors
    /// When the stored row is damaged.
    pub fn content(&self) -> Result<(Headers, Vec<u8>), StoreError> {
        let Some((headers, codec, bytes)) = &self.packed else {
            return Err(StoreError::Corrupt { what: "a delivery without its body".to_owned() });
        };
        Ok((body::headers_from_json(headers)?, body::unpack(codec, bytes)?))
    }
}

/// What the router decided about a delivery.
#[derive(Clone, Debug)]
pub enum Decision {
    /// It means something that somebody wants.
    Routed {
        /// What happened.
        events: Vec<Routed>,
        /// What is unusual about it.
        note: Option<String>,
    },
    /// Looked at, and nobody wants it.
    Skipped {
        /// The events it stands for, none of them wanted.
        events: Vec<Routed>,
        /// Why.
        note: String,
    },
    /// It can never be handled.
    Dead {
        /// Why.
        reason: String,
    },
}

/// What could not be written, and why: still held.
pub type Unrouted = (StoreError, Vec<(Routable, Decision)>);

/// One event with where it goes.
#[derive(Clone, Debug)]
pub struct Routed {
    /// The event.
    pub event: Event,
    /// The sinks that get it; empty when no rule wants it.
    pub to: Vec<Target>,
    /// The cue that a rule chose.
    pub cue: Option<String>,
    /// The names of the rules that matched.
    pub rules: Vec<String>,
    /// What stays lit on the desk from now on, and what no longer does.
    pub latch: Change,
}

impl Store {
    /// Stores a delivery and waits until it is on the disk.
    ///
    /// # Errors
    /// When it is not known to be on the disk. The sender must be told to try again.
    pub fn accept(&self, delivery: Delivery, arrival: Arrival) -> Result<Accepted, StoreError> {
        let begun = Instant::now();
        self.check_room()?;
        let mut parts = delivery.into_parts();
        let sha256 = provider::body_sha256(&parts.body);
        // By what is proven: under one signature there may be many bodies.
        let body_hash = i64::from_be_bytes(parts.fingerprint.unwrap_or(sha256)[..8].try_into().unwrap_or_default());
        let headers = body::headers_to_json(&parts.headers);
        let payload_bytes = parts.body.len();
        let packed = self.packer.pack(std::mem::take(&mut parts.body));
        let terms = Terms {
            class: Class::Accept,
            durability: Durability::Full,
            bytes: packed.bytes.len() + headers.len() + 512,
            deadline: Some(arrival.deadline),
        };
        let timeout = arrival.deadline.saturating_duration_since(Instant::now());
        let arrivals = self.arrivals.clone();
        // By the writer's thread, because a router may have it before this thread has heard of it.
        let committed = move |accepted: &Accepted| {
            if let Accepted::New { id, .. } = accepted {
                arrivals.note(*id, begun.elapsed());
            }
        };
        let job = move |connection: &Connection, now: Timestamp| {
            let id = parts.id.as_deref();
            // Nearly always nobody has the id, and one look into the index says so for all that would look there.
            let is_id_held = pulled::held(connection, &arrival.source, id)?.is_some();
            if (is_id_held || id.is_none())
                && let Some(id) = find_same(connection, &arrival, id, body_hash, now)?
            {
                return Ok(Accepted::Duplicate { id });
            }
            if is_id_held
                && let Some(id) = pulled::replace(connection, &arrival, (&parts, &sha256, &headers, &packed), now)?
            {
                return Ok(Accepted::Duplicate { id });
            }
            // It is another's: the same one has just been looked for.
            let (unusual, is_skipped) = judge_repeat(connection, &arrival, id, is_id_held, body_hash, now)?;
            let notes: Vec<String> = unusual.into_iter().map(str::to_owned).chain(parts.note.clone()).collect();
            let delivery = NewDelivery {
                parts: &parts,
                source: &arrival.source,
                peer: &arrival.peer,
                body_hash,
                sha256: &sha256,
                headers: &headers,
                packed: &packed,
                notes: &notes,
                is_skipped,
                sent: None,
            };
            let id = insert(connection, &delivery, now)?;
            Ok(Accepted::New { id, notes, is_skipped })
        };
        let accepted = self.shared.submit_then(terms, job, committed)?.wait(timeout);
        if let Ok(Accepted::New { .. }) = &accepted {
            self.meter.count(payload_bytes);
        }
        if matches!(accepted, Err(StoreError::TooSlow { .. })) {
            self.shared.drop_expired();
        }
        accepted
    }

    /// Claims the oldest deliveries that nobody has routed, `count` at most. A delivery that was claimed before and never
    /// settled comes alone, so that only the one that brings us down is blamed for it.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn claim_routable(&self, count: usize) -> Result<Vec<Routable>, StoreError> {
        let ticket = self.submit(settling(Durability::Deferred), move |connection, _| {
            let candidates: Vec<(i64, i64)> = connection
                .prepare_cached("SELECT id, claims FROM delivery WHERE stage = 'new' ORDER BY id LIMIT ?1")?
                .query_map([i64::try_from(count).unwrap_or(i64::MAX)], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect::<rusqlite::Result<_>>()?;
            let mut claimed = Vec::new();
            for id in unblamed(&candidates) {
                connection
                    .prepare_cached("UPDATE delivery SET stage = 'routing', claims = claims + 1 WHERE id = ?1")?
                    .execute([id])?;
                claimed.push(read_routable(connection, id)?);
            }
            Ok(claimed)
        })?;
        ticket.wait_for_ever()
    }

    /// Writes what the router decided, all in one transaction. A delivery that somebody else has settled meanwhile is
    /// left alone. Returns what stays lit from now on and what no longer does, in order; losing it with the power loses the
    /// routing, too, and both are done again. On failure the claims come back, because they are still held.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn route(&self, decided: Vec<(Routable, Decision)>) -> Result<Vec<Changed>, Unrouted> {
        // The rows, without the bodies: they are read-only facts of the claim.
        let work: Vec<(i64, i64, Decision)> =
            decided.iter().map(|(claim, decision)| (claim.id, claim.claims, decision.clone())).collect();
        let arrivals = self.arrivals.clone();
        let routed = self
            .submit(settling(Durability::Deferred), move |connection, now| {
                let mut changed = Vec::new();
                for (id, claims, decision) in &work {
                    let durable_us = arrivals.durable_us(*id);
                    route_one(connection, *id, *claims, (decision, durable_us), now, &mut changed)?;
                }
                Ok(changed)
            })
            .and_then(|ticket| ticket.wait_for_ever());
        routed.map_err(|error| (error, decided))
    }
}

/// What is to be stored, its body apart from `parts`, packed.
pub(super) struct NewDelivery<'a> {
    pub(super) parts: &'a DeliveryParts,
    pub(super) source: &'a str,
    pub(super) peer: &'a str,
    pub(super) body_hash: i64,
    pub(super) sha256: &'a [u8; 32],
    pub(super) headers: &'a str,
    pub(super) packed: &'a body::Packed,
    pub(super) notes: &'a [String],
    pub(super) is_skipped: bool,
    pub(super) sent: Option<Timestamp>,
}

/// As it is stored: from 1, and 0 for what did not come signed.
pub(super) fn verified_by(parts: &DeliveryParts) -> i64 {
    parts.verified_by.map_or(0, |index| i64::try_from(index).map_or(i64::MAX, |index| index + 1))
}

/// Stores it for the router; returns its id.
pub(super) fn insert(connection: &Connection, new: &NewDelivery<'_>, now: Timestamp) -> rusqlite::Result<i64> {
    let NewDelivery { parts, source, peer, body_hash, sha256, headers, packed, notes, is_skipped, sent } = *new;
    let verified_by = verified_by(parts);
    connection
        .prepare_cached(
            "INSERT INTO delivery (source, provider, event_type, delivery_id, body_hash, received_ms, processed_ms, stage,
                                   status, peer, verified_by, notes, handled_by, origin, sent_ms)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
        )?
        .execute(params![
            source,
            parts.provider.name(),
            parts.event_type,
            parts.id,
            body_hash,
            now.ms(),
            is_skipped.then_some(now.ms()),
            if is_skipped { "routed" } else { "new" },
            if is_skipped { Status::Skipped } else { Status::Unprocessed }.name(),
            peer,
            verified_by,
            serde_json::Value::from(notes).to_string(),
            is_skipped.then_some(HANDLED_BY),
            parts.origin.name(),
            sent.map(Timestamp::ms),
        ])?;
    let id = connection.last_insert_rowid();
    connection
        .prepare_cached(
            "INSERT INTO body (delivery, sha256, target, headers, raw_bytes, codec, bytes)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            id,
            sha256,
            parts.target,
            headers,
            i64::try_from(packed.raw_bytes).unwrap_or(i64::MAX),
            packed.codec,
            packed.bytes,
        ])?;
    Ok(id)
}

/// The terms of what happens after the answer.
pub(super) fn settling(durability: Durability) -> Terms {
    Terms { class: Class::Settle, durability, bytes: 4096, deadline: None }
}

/// The leading candidates that were never claimed before, or the first alone when it was: `(id, claims)`.
pub(super) fn unblamed(candidates: &[(i64, i64)]) -> Vec<i64> {
    match candidates.first() {
        Some((id, claims)) if *claims > 0 => vec![*id],
        _ => candidates.iter().take_while(|(_, claims)| *claims == 0).map(|(id, _)| *id).collect(),
    }
}

fn find_same(
    connection: &Connection,
    arrival: &Arrival,
    id: Option<&str>,
    body_hash: i64,
    now: Timestamp,
) -> rusqlite::Result<Option<i64>> {
    let source = &arrival.source;
    match id {
        Some(id) => {
            connection.prepare_cached(SAME)?.query_row(params![source, id, body_hash], |row| row.get(0)).optional()
        }
        None => connection
            .prepare_cached(SAME_WITHOUT_ID)?
            .query_row(params![body_hash, source, now.minus(arrival.repeat_window).ms(), hour(now)], |row| row.get(0))
            .optional(),
    }
}

/// The hour as the index `delivery_body` has it. Windows of an hour at most, and steps of the clock that are too small to
/// be corrected, stay within the hours beside it.
pub(super) fn hour(now: Timestamp) -> i64 {
    now.ms() / 3_600_000
}

/// What is unusual about a new delivery, and whether it repeats too often to be handled.
fn judge_repeat(
    connection: &Connection,
    arrival: &Arrival,
    id: Option<&str>,
    is_id_held: bool,
    body_hash: i64,
    now: Timestamp,
) -> rusqlite::Result<(Vec<&'static str>, bool)> {
    use crate::config::Repeats;
    let mut notes = Vec::new();
    // Without an id there is nothing that could have been forged: the same bytes later are a new event.
    if id.is_none() {
        return Ok((notes, false));
    }
    if is_id_held {
        notes.push("same_id_other_body");
    }
    let earlier: i64 = connection.prepare_cached(EARLIER)?.query_row(
        params![body_hash, arrival.source, now.minus(REPEATS_WINDOW).ms(), REPEATS_MAX, hour(now)],
        |row| row.get(0),
    )?;
    if earlier > 0 {
        notes.push("possible_replay");
    }
    let is_skipped = match arrival.repeats {
        Repeats::Limit => earlier >= REPEATS_MAX,
        Repeats::Process => false,
        Repeats::Skip => earlier > 0,
    };
    if is_skipped {
        notes.push("repeats too often: not handled");
    }
    Ok((notes, is_skipped))
}

fn read_routable(connection: &Connection, id: i64) -> rusqlite::Result<Routable> {
    connection
        .prepare_cached(
            "SELECT source, provider, event_type, received_ms, claims, headers, codec, bytes
             FROM delivery LEFT JOIN body ON body.delivery = delivery.id WHERE delivery.id = ?1",
        )?
        .query_row([id], |row| {
            let provider: String = row.get("provider")?;
            let (headers, codec, bytes) = (row.get("headers")?, row.get("codec")?, row.get("bytes")?);
            let packed: (Option<String>, Option<String>, Option<Vec<u8>>) = (headers, codec, bytes);
            let packed = match packed {
                (Some(headers), Some(codec), Some(bytes)) => Some((headers, codec, bytes)),
                _ => None,
            };
            Ok(Routable {
                id,
                source: row.get("source")?,
                provider: Provider::from_name(&provider),
                is_own: provider == own::OWN_PROVIDER,
                event_type: row.get("event_type")?,
                received: Timestamp::from_ms(row.get("received_ms")?),
                packed,
                claims: row.get("claims")?,
            })
        })
}

fn route_one(
    connection: &Connection,
    id: i64,
    claims: i64,
    (decision, durable_us): (&Decision, Option<i64>),
    now: Timestamp,
    changed: &mut Vec<Changed>,
) -> rusqlite::Result<()> {
    let (events, note, status): (&[Routed], Option<&str>, Status) = match decision {
        Decision::Routed { events, note } => (events, note.as_deref(), Status::Unprocessed),
        Decision::Skipped { events, note } => (events, Some(note), Status::Skipped),
        Decision::Dead { reason } => (&[], Some(reason), Status::DeadLetter),
    };
    let is_settled = status != Status::Unprocessed;
    // Conditional on the claim, so that a settlement repeated after an unknown outcome changes nothing.
    let settled = connection
        .prepare_cached(
            "UPDATE delivery
             SET stage = 'routed', claims = 0, status = ?3, processed_ms = ?4, handled_by = ?6, durable_us = ?7,
                 notes = CASE WHEN ?5 IS NULL THEN notes ELSE json_insert(notes, '$[#]', ?5) END
             WHERE id = ?1 AND stage = 'routing' AND claims = ?2",
        )?
        .execute(params![id, claims, status.name(), is_settled.then_some(now.ms()), note, HANDLED_BY, durable_us])?;
    if settled == 0 {
        return Ok(());
    }
    // Once more than before: what an operator asks for is not held back for having been told.
    let replay: i64 = connection
        .prepare_cached("SELECT coalesce(max(replay) + 1, 0) FROM event WHERE delivery = ?1")?
        .query_row([id], |row| row.get(0))?;
    let sent: Option<i64> =
        connection.prepare_cached("SELECT sent_ms FROM delivery WHERE id = ?1")?.query_row([id], |row| row.get(0))?;
    let sent = sent.map(Timestamp::from_ms);
    let (mut owed, mut repeated) = (0, 0);
    let mut own_ids = HashSet::new();
    for (position, routed) in events.iter().enumerate() {
        let is_second = routed.event.own_id.as_ref().is_some_and(|own_id| !own_ids.insert(own_id));
        let is_repeated = is_second || (replay == 0 && was_told(connection, id, routed)?);
        repeated += usize::from(is_repeated);
        let to: &[Target] = if is_repeated { &[] } else { &routed.to };
        let filed_under = subject::filed_under(connection, &routed.event, replay, now)?;
        let filed_under = filed_under.map(|subject| subject::of(&routed.event.source, &subject));
        insert_event(connection, id, (position, replay), routed, (to, filed_under.as_deref()), now)?;
        // What is handled again is no news.
        if replay == 0 && !is_repeated {
            latch::apply(connection, &routed.event, &routed.latch, (sent, now), changed)?;
        }
        owed += to.len();
    }
    if repeated > 0 {
        // Nothing is owed for what came before, so nothing will ever settle this delivery but this.
        let is_settled = status == Status::Unprocessed && owed == 0;
        connection
            .prepare_cached(
                "UPDATE delivery
                 SET notes = json_insert(notes, '$[#]', ?2),
                     status = CASE WHEN ?3 THEN 'skipped' ELSE status END,
                     processed_ms = CASE WHEN ?3 THEN ?4 ELSE processed_ms END
                 WHERE id = ?1",
            )?
            .execute(params![id, format!("{repeated} of its events came before"), is_settled, now.ms()])?;
    }
    Ok(())
}

/// Whether this very event came in an earlier request and somebody was told, or will be: a request that carries many events
/// may come again in another company. What no rule wanted then, or no sink could get, is a chance anew.
fn was_told(connection: &Connection, delivery: i64, routed: &Routed) -> rusqlite::Result<bool> {
    let Some(own_id) = &routed.event.own_id else { return Ok(false) };
    connection
        .prepare_cached(
            "SELECT EXISTS (
                 SELECT 1 FROM event JOIN delivery ON delivery.id = event.delivery
                 WHERE event.own_id = ?1 AND delivery.source = ?2 AND event.delivery <> ?3
                       AND EXISTS (SELECT 1 FROM dispatch WHERE dispatch.event = event.id AND state <> 'dead'))",
        )?
        .query_row(params![own_id, routed.event.source, delivery], |row| row.get(0))
}

fn insert_event(
    connection: &Connection,
    delivery: i64,
    (position, replay): (usize, i64),
    routed: &Routed,
    (to, filed_under): (&[Target], Option<&str>),
    now: Timestamp,
) -> rusqlite::Result<()> {
    // Every field named: a new one forces a decision here.
    let Event { kind, source: _, provider: _, actor, repository, title, url, severity, subject, extra, own_id } =
        &routed.event;
    let extra = serde_json::to_string(extra).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
    let rules = serde_json::Value::from(routed.rules.clone()).to_string();
    connection
        .prepare_cached(
            "INSERT INTO event (delivery, position, replay, kind, actor, repository, title, url, severity, subject, extra,
                                rules, own_id)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
        )?
        .execute(params![
            delivery,
            i64::try_from(position).unwrap_or(i64::MAX),
            replay,
            kind,
            actor,
            repository,
            title,
            url,
            severity.name(),
            subject,
            extra,
            rules,
            own_id,
        ])?;
    let event = connection.last_insert_rowid();
    for Target { sink, channel, digest, order } in to {
        let channel = channel.as_deref().unwrap_or_default();
        let subject = match (digest, order) {
            // What is collected keeps no order, and holds nothing up.
            (Some(_), _) | (None, Order::None) => None,
            (None, Order::Subject) => filed_under,
            (None, Order::All) => Some(ONE_QUEUE),
        };
        let next_ms = match digest {
            Some(digest) => digest_due(connection, (sink, channel), digest, now)?.ms(),
            None => now.ms(),
        };
        connection
            .prepare_cached(
                "INSERT INTO dispatch (event, delivery, sink, state, next_ms, cue, channel, subject, digest, behind)
                 VALUES (?1, ?2, ?3, 'due', ?4, ?5, ?6, ?7, ?8, ?9)",
            )?
            .execute(params![
                event,
                delivery,
                sink,
                next_ms,
                routed.cue,
                channel,
                subject,
                digest.as_ref().map(|digest| &digest.group),
                is_behind(connection, sink, subject)?,
            ])?;
    }
    Ok(())
}

/// When the message goes that collects this event: with those that wait for it already, else after the whole window.
fn digest_due(
    connection: &Connection,
    (sink, channel): (&str, &str),
    digest: &Digest,
    now: Timestamp,
) -> rusqlite::Result<Timestamp> {
    let latest = now.plus(digest.window);
    let open_ms: Option<i64> = connection
        .prepare_cached(
            "SELECT min(next_ms) FROM dispatch
             WHERE state = 'due' AND digest IS NOT NULL AND sink = ?1 AND digest = ?2 AND channel = ?3 AND failures = 0
                   AND next_ms BETWEEN ?4 AND ?5",
        )?
        .query_row(params![sink, digest.group, channel, now.ms(), latest.ms()], |row| row.get(0))?;
    Ok(open_ms.map_or(latest, Timestamp::from_ms))
}

/// Gives back what a stopped or crashed router held, and buries what was held when we crashed too often.
pub(super) fn void_claims(connection: &Connection, now: Timestamp) -> rusqlite::Result<()> {
    connection.execute(
        "UPDATE delivery
         SET stage = 'routed', status = 'dead_letter', processed_ms = ?2,
             notes = json_insert(notes, '$[#]', 'crashed the process ' || claims || ' times while it was routed')
         WHERE stage = 'routing' AND claims >= ?1",
        params![CRASHES_MAX, now.ms()],
    )?;
    connection.execute("UPDATE delivery SET stage = 'new' WHERE stage = 'routing'", [])?;
    Ok(())
}

/// Gives back what a router holds that was stopped and did not crash.
pub(super) fn give_back(connection: &Connection) -> rusqlite::Result<()> {
    connection
        .execute("UPDATE delivery SET stage = 'new', claims = max(claims - 1, 0) WHERE stage = 'routing'", [])
        .map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_latest_arrivals_are_known() {
        let arrivals = Arrivals::default();
        for id in 0..=1024 {
            arrivals.note(id, Duration::from_micros(7));
        }
        assert_eq!([0, 1, 1024, 1025].map(|id| arrivals.durable_us(id)), [None, Some(7), Some(7), None]);
    }
}
