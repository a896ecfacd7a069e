//! What is owed to the sinks: claimed by a sender, tried outside, settled in one transaction. Refuses to know what a
//! sink is.

use std::time::Duration;

use rusqlite::{Connection, Row, params};

use super::{
    CRASHES_MAX, Store, StoreError,
    inbox::{settling, unblamed},
    writer::Durability,
};
use crate::{
    event::{Event, Extra, Severity},
    sink::Parcel,
    time::{Timestamp, duration_ms},
};

/// A dispatch that a sender holds. Consumed by [`Store::settle`].
#[derive(Debug)]
pub struct Claim {
    id: i64,
    delivery: i64,
    attempts: i64,
    /// Failures in a row before this attempt.
    pub failures: u32,
    /// Time spent trying before this attempt, waits included.
    pub tried: Duration,
    /// What to deliver, or why the stored row cannot be read.
    pub parcel: Result<Parcel, StoreError>,
}

/// What a claim found.
#[derive(Debug)]
pub struct Claimed {
    /// What is to be delivered now, oldest first.
    pub claims: Vec<Claim>,
    /// When nothing was claimed: how long until something is due; `None` when nothing waits.
    pub next_due: Option<Duration>,
}

/// What became of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// Delivered.
    Done {
        /// What the destination answered.
        receipt: Option<String>,
    },
    /// Deliberately not delivered.
    Skipped {
        /// Why.
        note: String,
    },
    /// To be tried again.
    Retry {
        /// What went wrong.
        reason: String,
        /// Not before this much time.
        delay: Duration,
        /// How long this attempt took; with the delay it counts as time spent trying.
        took: Duration,
    },
    /// Never again.
    Dead {
        /// What went wrong.
        reason: String,
    },
    /// Not tried after all, as if it had never been claimed; not before `delay`.
    Released {
        /// Not before this much time.
        delay: Duration,
    },
}

impl Store {
    /// Claims what is due for a sink, oldest first, `count` at most, and counts the attempt. What was claimed before and
    /// never settled comes alone, so that only the one that brings us down is blamed for it.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn claim(&self, sink: &str, count: usize) -> Result<Claimed, StoreError> {
        let sink = sink.to_owned();
        let installation = self.installation.clone();
        let ticket = self.submit(settling(Durability::Deferred), move |connection, now| {
            let due: Vec<(i64, i64)> = connection
                .prepare_cached(
                    "SELECT id, claims FROM dispatch
                     WHERE sink = ?1 AND state = 'due' AND next_ms <= ?2 ORDER BY id LIMIT ?3",
                )?
                .query_map(params![sink, now.ms(), i64::try_from(count).unwrap_or(i64::MAX)], |row| {
                    Ok((row.get(0)?, row.get(1)?))
                })?
                .collect::<rusqlite::Result<_>>()?;
            let mut claims = Vec::new();
            for id in unblamed(&due) {
                connection
                    .prepare_cached(
                        "UPDATE dispatch SET state = 'leased', attempts = attempts + 1, claims = claims + 1 WHERE id = ?1",
                    )?
                    .execute([id])?;
                claims.push(read_claim(connection, id, &installation)?);
            }
            let next_due = match claims.is_empty() {
                true => next_due(connection, &sink, now)?,
                false => None,
            };
            Ok(Claimed { claims, next_due })
        })?;
        ticket.wait_for_ever()
    }

    /// Writes what became of claims, all in one transaction. On failure the claims come back, because they are still
    /// held; settling again after an unknown outcome changes nothing twice.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn settle(&self, settled: Vec<(Claim, Settlement)>) -> Result<(), (StoreError, Vec<(Claim, Settlement)>)> {
        let work: Vec<(i64, i64, i64, Settlement)> = settled
            .iter()
            .map(|(claim, settlement)| (claim.id, claim.delivery, claim.attempts, settlement.clone()))
            .collect();
        let written = self
            .submit(settling(Durability::Deferred), move |connection, now| {
                for (id, delivery, attempts, settlement) in &work {
                    settle_one(connection, *id, *attempts, settlement, now)?;
                    refresh_status(connection, *delivery, now)?;
                }
                Ok(())
            })
            .and_then(|ticket| ticket.wait_for_ever());
        written.map_err(|error| (error, settled))
    }
}

pub(super) fn settle_one(
    connection: &Connection,
    id: i64,
    attempts: i64,
    settlement: &Settlement,
    now: Timestamp,
) -> rusqlite::Result<()> {
    let update = |sql: &str, values: &[&dyn rusqlite::ToSql]| -> rusqlite::Result<()> {
        // Conditional on the very claim: its attempt number is its name.
        let sql = format!("UPDATE dispatch SET claims = 0, {sql} WHERE id = ?1 AND attempts = ?2 AND state = 'leased'");
        let mut all: Vec<&dyn rusqlite::ToSql> = vec![&id, &attempts];
        all.extend_from_slice(values);
        connection.prepare_cached(&sql)?.execute(all.as_slice()).map(|_| ())
    };
    let now_ms = now.ms();
    match settlement {
        Settlement::Done { receipt } => update(
            "state = 'done', failures = 0, last_error = NULL, receipt = ?3, settled_ms = ?4",
            &[receipt, &now_ms],
        ),
        Settlement::Skipped { note } => update("state = 'skipped', receipt = ?3, settled_ms = ?4", &[note, &now_ms]),
        Settlement::Retry { reason, delay, took } => update(
            "state = 'due', failures = failures + 1, last_error = ?3, next_ms = ?4, tried_ms = tried_ms + ?5",
            &[reason, &now.plus(*delay).ms(), &duration_ms(*delay + *took)],
        ),
        Settlement::Dead { reason } => update("state = 'dead', last_error = ?3, settled_ms = ?4", &[reason, &now_ms]),
        Settlement::Released { delay } => {
            update("state = 'due', attempts = attempts - 1, next_ms = ?3", &[&now.plus(*delay).ms()])
        }
    }
}

/// A routed delivery's status is what its worst dispatch says: dead, then waiting after a failure, then due or leased,
/// then done. One that no dispatch delivered, because each was skipped, is skipped.
pub(super) fn refresh_status(connection: &Connection, delivery: i64, now: Timestamp) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "WITH found AS (
                 SELECT count(*) FILTER (WHERE state = 'dead') AS dead,
                        count(*) FILTER (WHERE state IN ('due', 'leased') AND failures > 0) AS retrying,
                        count(*) FILTER (WHERE state IN ('due', 'leased')) AS open,
                        count(*) FILTER (WHERE state = 'done') AS done
                 FROM dispatch WHERE delivery = ?1)
             UPDATE delivery
             SET status = CASE WHEN found.dead > 0 THEN 'dead_letter' WHEN found.retrying > 0 THEN 'retrying'
                               WHEN found.open > 0 THEN 'unprocessed' WHEN found.done > 0 THEN 'processed'
                               ELSE 'skipped' END,
                 processed_ms = CASE WHEN found.open > 0 THEN NULL ELSE coalesce(processed_ms, ?2) END
             FROM found WHERE id = ?1 AND stage = 'routed'",
        )?
        .execute(params![delivery, now.ms()])
        .map(|_| ())
}

fn next_due(connection: &Connection, sink: &str, now: Timestamp) -> rusqlite::Result<Option<Duration>> {
    let next_ms: Option<i64> = connection
        .prepare_cached("SELECT min(next_ms) FROM dispatch WHERE sink = ?1 AND state = 'due'")?
        .query_row([sink], |row| row.get(0))?;
    Ok(next_ms.map(|next_ms| Timestamp::from_ms(next_ms).since(now)))
}

fn read_claim(connection: &Connection, id: i64, installation: &str) -> rusqlite::Result<Claim> {
    connection
        .prepare_cached(
            "SELECT dispatch.delivery, dispatch.attempts, dispatch.failures, dispatch.tried_ms, dispatch.cue,
                    event.position, event.replay, event.kind, event.actor, event.repository, event.title, event.url,
                    event.severity, event.subject, event.extra,
                    delivery.source, delivery.provider, delivery.received_ms
             FROM dispatch JOIN event ON event.id = dispatch.event JOIN delivery ON delivery.id = dispatch.delivery
             WHERE dispatch.id = ?1",
        )?
        .query_row([id], |row| {
            let delivery: i64 = row.get("delivery")?;
            let attempts: i64 = row.get("attempts")?;
            let (position, replay): (i64, i64) = (row.get("position")?, row.get("replay")?);
            let received = Timestamp::from_ms(row.get("received_ms")?);
            let cue: Option<String> = row.get("cue")?;
            let parcel = read_event(row)?.map(|event| Parcel {
                delivery,
                received,
                event,
                cue,
                reference: format!("{installation}-{delivery}-{position}-{replay}"),
                tried: u32::try_from(attempts - 1).unwrap_or(u32::MAX),
            });
            let tried_ms: i64 = row.get("tried_ms")?;
            Ok(Claim {
                id,
                delivery,
                attempts,
                failures: row.get("failures")?,
                tried: Duration::from_millis(u64::try_from(tried_ms).unwrap_or(0)),
                parcel,
            })
        })
}

/// Reads the event's columns of a row that also has its delivery's `source` and `provider`.
pub(super) fn read_event(row: &Row<'_>) -> rusqlite::Result<Result<Event, StoreError>> {
    let severity: String = row.get("severity")?;
    let extra: String = row.get("extra")?;
    let Some(severity) = Severity::from_name(&severity) else {
        return Ok(Err(StoreError::Corrupt { what: format!("an event of the unknown severity {severity:?}") }));
    };
    let extra: Extra = match serde_json::from_str(&extra) {
        Ok(extra) => extra,
        Err(error) => return Ok(Err(StoreError::Corrupt { what: format!("an event's extra facts: {error}") })),
    };
    Ok(Ok(Event {
        kind: row.get("kind")?,
        source: row.get("source")?,
        provider: row.get("provider")?,
        actor: row.get("actor")?,
        repository: row.get("repository")?,
        title: row.get("title")?,
        url: row.get("url")?,
        severity,
        subject: row.get("subject")?,
        extra,
        own_id: None,
    }))
}

/// Gives back what stopped or crashed senders held, buries what was held when we crashed too often, and brings waits of
/// an earlier boot into this boot's time: none is longer than the longest that a retry can be.
pub(super) fn void_claims(connection: &Connection, now: Timestamp, wait_max: Duration) -> rusqlite::Result<()> {
    let buried: Vec<i64> = connection
        .prepare(
            "UPDATE dispatch
             SET state = 'dead', settled_ms = ?2,
                 last_error = 'crashed the process ' || claims || ' times while it was delivered'
             WHERE state = 'leased' AND claims >= ?1 RETURNING delivery",
        )?
        .query_map(params![CRASHES_MAX, now.ms()], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    for delivery in buried {
        refresh_status(connection, delivery, now)?;
    }
    connection.execute("UPDATE dispatch SET state = 'due' WHERE state = 'leased'", [])?;
    connection
        .execute("UPDATE dispatch SET next_ms = ?1 WHERE state = 'due' AND next_ms > ?1", [now.plus(wait_max).ms()])?;
    Ok(())
}

/// Gives back what senders hold that were stopped and did not crash.
pub(super) fn give_back(connection: &Connection) -> rusqlite::Result<()> {
    connection
        .execute("UPDATE dispatch SET state = 'due', claims = max(claims - 1, 0) WHERE state = 'leased'", [])
        .map(|_| ())
}
