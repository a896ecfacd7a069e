//! What is owed to the sinks: claimed by a sender, tried outside, settled in one transaction. Refuses to know what a
//! sink is.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{
    CRASHES_MAX, Store, StoreError,
    inbox::{settling, unblamed},
    installation::Installation,
    subject,
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
    /// How long this attempt took, as whoever tried says before it settles.
    pub took: Duration,
    /// What to deliver, or why the stored row cannot be read.
    pub parcel: Result<Parcel, StoreError>,
}

/// What a claim found.
#[derive(Debug)]
pub struct Claimed {
    /// What is to be delivered now, oldest first.
    pub claims: Vec<Claim>,
    /// Whether all of them go in one message.
    pub is_bundle: bool,
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
        /// Not before this much time; with what the attempt took it counts as time spent trying.
        delay: Duration,
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

/// How a sink wants what is due for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Portion {
    /// This many at most, one by one.
    pub count: usize,
    /// When more than this many are due, as many as belong together come in one bundle.
    pub bundle_over: Option<usize>,
    /// Whether only what has one subject belongs together.
    pub by_subject: bool,
    /// One message that decides whether the destination is well: where no wait is over, the oldest that holds others up.
    pub is_probe: bool,
}

impl Portion {
    /// One by one, whatever waits.
    pub fn single(count: usize) -> Portion {
        Portion { count, bundle_over: None, by_subject: false, is_probe: false }
    }
}

/// In one bundle.
const BUNDLE_MAX: usize = 500;
/// What was in a bundle that was never settled may be in one again once, so that it is told in one message again.
const BUNDLE_CLAIMS_MAX: i64 = 1;
/// Of an attempt's answer.
const ANSWER_CHARS_MAX: usize = 500;
/// Attempts that the ledger keeps of one dispatch, the latest.
const ATTEMPTS_KEPT: i64 = 100;

/// What may be tried now. Of each subject one is not behind, and is tried, or waits, while the others stay behind it: so
/// however much waits behind it, nobody looks through that.
pub(super) const READY: &str = "FROM dispatch WHERE sink = ?1 AND state = 'due' AND behind = 0 AND next_ms <= ?2";

/// Those of a subject that are not settled, by its own index.
pub(super) const OPEN: &str = "FROM dispatch INDEXED BY dispatch_subject
    WHERE sink = ?1 AND subject = ?2 AND subject IS NOT NULL AND state IN ('due', 'leased')";

/// A dispatch that may be tried now.
struct Ready {
    id: i64,
    claims: i64,
    channel: String,
    subject: Option<String>,
    digest: Option<String>,
}

impl Store {
    /// Claims what is due for a sink, oldest first, and counts the attempt. What was claimed before and never settled
    /// comes alone, so that only the one that brings us down is blamed for it.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn claim(&self, sink: &str, portion: Portion) -> Result<Claimed, StoreError> {
        let sink = sink.to_owned();
        let installation = self.installation.clone();
        let ticket = self.submit(settling(Durability::Deferred), move |connection, now| {
            let (ids, is_bundle) = chosen(connection, &sink, portion, now)?;
            let mut claims = Vec::new();
            for id in ids {
                connection
                    .prepare_cached(
                        // A probe comes before its wait is over: what is left of that is not time spent trying.
                        "UPDATE dispatch SET state = 'leased', attempts = attempts + 1, claims = claims + 1,
                                tried_ms = max(tried_ms - max(next_ms - ?2, 0), 0)
                         WHERE id = ?1",
                    )?
                    .execute([id, now.ms()])?;
                claims.push(read_claim(connection, id, &installation)?);
            }
            let next_due = match claims.is_empty() {
                true => next_due(connection, &sink, now)?,
                false => None,
            };
            Ok(Claimed { claims, is_bundle, next_due })
        })?;
        ticket.wait_for_ever()
    }

    /// Writes what became of claims, all in one transaction. On failure the claims come back, because they are still
    /// held; settling again after an unknown outcome changes nothing twice.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn settle(&self, settled: Vec<(Claim, Settlement)>) -> Result<(), (StoreError, Vec<(Claim, Settlement)>)> {
        let work: Vec<(Held, Settlement)> =
            settled.iter().map(|(claim, settlement)| (Held::of(claim), settlement.clone())).collect();
        let written = self
            .submit(settling(Durability::Deferred), move |connection, now| {
                for (held, settlement) in &work {
                    settle_one(connection, held, settlement, now)?;
                }
                Ok(())
            })
            .and_then(|ticket| ticket.wait_for_ever());
        written.map_err(|error| (error, settled))
    }
}

impl Store {
    /// Notes when the desk began to show these. Nobody waits for it, and the ledger can do without.
    pub fn note_shown(&self, dispatches: &[i64], at: Timestamp) {
        let dispatches = dispatches.to_vec();
        let noted = self.submit(settling(Durability::Deferred), move |connection, _| {
            for id in &dispatches {
                connection.prepare_cached("UPDATE dispatch SET edge_ms = ?2 WHERE id = ?1")?.execute([*id, at.ms()])?;
            }
            Ok(())
        });
        if let Err(error) = noted {
            log::debug!("cannot note when the desk showed something: {error}");
        }
    }
}

/// What of a claim is needed to settle it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    id: i64,
    delivery: i64,
    attempts: i64,
    took: Duration,
}

impl Held {
    pub(super) fn of(claim: &Claim) -> Held {
        let Claim { id, delivery, attempts, took, .. } = *claim;
        Held { id, delivery, attempts, took }
    }
}

/// Settles one, where it is still this claim's to settle.
pub(super) fn settle_one(
    connection: &Connection,
    held: &Held,
    settlement: &Settlement,
    now: Timestamp,
) -> rusqlite::Result<()> {
    let update = |sql: &str, values: &[&dyn rusqlite::ToSql]| -> rusqlite::Result<usize> {
        // Conditional on the very claim: its attempt number is its name.
        let sql = format!("UPDATE dispatch SET claims = 0, {sql} WHERE id = ?1 AND attempts = ?2 AND state = 'leased'");
        let mut all: Vec<&dyn rusqlite::ToSql> = vec![&held.id, &held.attempts];
        all.extend_from_slice(values);
        connection.prepare_cached(&sql)?.execute(all.as_slice())
    };
    let now_ms = now.ms();
    let (changed, outcome, answer) = match settlement {
        Settlement::Done { receipt } => {
            let sql = "state = 'done', failures = 0, last_error = NULL, receipt = ?3, settled_ms = ?4";
            (update(sql, &[receipt, &now_ms])?, "done", receipt.as_ref())
        }
        Settlement::Skipped { note } => {
            (update("state = 'skipped', receipt = ?3, settled_ms = ?4", &[note, &now_ms])?, "skipped", Some(note))
        }
        Settlement::Retry { reason, delay } => {
            let sql = "state = 'due', failures = failures + 1, last_error = ?3, next_ms = ?4, tried_ms = tried_ms + ?5";
            let tried_ms = duration_ms(*delay + held.took);
            (update(sql, &[reason, &now.plus(*delay).ms(), &tried_ms])?, "retry", Some(reason))
        }
        Settlement::Dead { reason } => {
            (update("state = 'dead', last_error = ?3, settled_ms = ?4", &[reason, &now_ms])?, "dead", Some(reason))
        }
        Settlement::Released { delay } => {
            update("state = 'due', attempts = attempts - 1, next_ms = ?3", &[&now.plus(*delay).ms()])?;
            return Ok(());
        }
    };
    // Who comes too late changes nothing: the router may have said something else about the delivery since.
    if changed == 0 {
        return Ok(());
    }
    if outcome != "retry" {
        promote(connection, held.id)?;
    }
    refresh_status(connection, held.delivery, now)?;
    note_attempt(connection, held, outcome, answer, now)
}

/// The ledger's line about an attempt.
fn note_attempt(
    connection: &Connection,
    held: &Held,
    outcome: &str,
    answer: Option<&String>,
    now: Timestamp,
) -> rusqlite::Result<()> {
    let answer: Option<String> = answer.map(|answer| answer.chars().take(ANSWER_CHARS_MAX).collect());
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO attempt (dispatch, number, began_ms, took_ms, outcome, answer)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![held.id, held.attempts, now.minus(held.took).ms(), duration_ms(held.took), outcome, answer])?;
    if held.attempts > ATTEMPTS_KEPT {
        connection
            .prepare_cached("DELETE FROM attempt WHERE dispatch = ?1 AND number <= ?2")?
            .execute([held.id, held.attempts - ATTEMPTS_KEPT])?;
    }
    Ok(())
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

/// What to claim, and whether it goes in one message: those of a digest that a rule has asked for; those that belong
/// together, when more are due than anybody reads one by one; else the next few.
fn chosen(connection: &Connection, sink: &str, portion: Portion, now: Timestamp) -> rusqlite::Result<(Vec<i64>, bool)> {
    let heads = |count: usize| -> rusqlite::Result<Vec<Ready>> {
        connection
            .prepare_cached(&format!("SELECT id, claims, channel, subject, digest {READY} ORDER BY id LIMIT ?3"))?
            .query_map(params![sink, now.ms(), i64::try_from(count).unwrap_or(i64::MAX)], read_ready)?
            .collect()
    };
    let ready = heads(if portion.is_probe { 1 } else { portion.count })?;
    let Some(first) = ready.first() else {
        let held_up = if portion.is_probe { holding_up(connection, sink)? } else { None };
        return Ok((held_up.into_iter().collect(), false));
    };
    let is_backlog = match portion.bundle_over {
        Some(over) => {
            let heads = heads(over.saturating_add(1))?;
            let mut count = heads.len();
            for head in &heads {
                if count > over {
                    break;
                }
                count += followers(connection, sink, head, over + 1 - count)?.len();
            }
            count > over
        }
        None => false,
    };
    if first.claims <= BUNDLE_CLAIMS_MAX && (is_backlog || first.digest.is_some()) {
        let belongs = |other: &Ready| {
            let is_same = (&other.channel, &other.digest) == (&first.channel, &first.digest);
            is_same && (!portion.by_subject || other.subject == first.subject) && other.claims <= BUNDLE_CLAIMS_MAX
        };
        let mut ids: Vec<i64> = Vec::new();
        for head in heads(BUNDLE_MAX)?.into_iter().filter(belongs) {
            if ids.len() == BUNDLE_MAX {
                break;
            }
            // As far as they belong: what is left out holds up what comes after it.
            let next = followers(connection, sink, &head, BUNDLE_MAX - ids.len() - 1)?;
            ids.push(head.id);
            ids.extend(next.iter().take_while(|follower| belongs(follower)).map(|follower| follower.id));
        }
        ids.sort_unstable();
        let is_bundle = ids.len() > 1;
        return Ok((ids, is_bundle));
    }
    let singles = ready.iter().take_while(|ready| ready.digest.is_none());
    let candidates: Vec<(i64, i64)> = singles.map(|ready| (ready.id, ready.claims)).collect();
    // A digest of which too much went wrong is told one by one.
    let candidates = if candidates.is_empty() { vec![(first.id, first.claims)] } else { candidates };
    Ok((unblamed(&candidates), false))
}

/// What a probe tries where no wait is over, but others are held up: the oldest of all. It is the destination that is
/// asked.
fn holding_up(connection: &Connection, sink: &str) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached(
            "SELECT id FROM dispatch
             WHERE sink = ?1 AND state = 'due' AND behind = 0 AND digest IS NULL
               AND EXISTS (SELECT 1 FROM dispatch AS held WHERE held.sink = ?1 AND held.state = 'due' AND held.behind = 1)
             ORDER BY id LIMIT 1",
        )?
        .query_row([sink], |row| row.get(0))
        .optional()
}

/// What is due behind one of a subject, oldest first. What somebody still holds of a bundle is not.
fn followers(connection: &Connection, sink: &str, head: &Ready, count: usize) -> rusqlite::Result<Vec<Ready>> {
    let Some(subject) = &head.subject else { return Ok(Vec::new()) };
    connection
        .prepare_cached(&format!(
            "SELECT id, claims, channel, subject, digest {OPEN} AND behind = 1 AND state = 'due' ORDER BY id LIMIT ?3"
        ))?
        .query_map(params![sink, subject, i64::try_from(count).unwrap_or(i64::MAX)], read_ready)?
        .collect()
}

fn read_ready(row: &Row<'_>) -> rusqlite::Result<Ready> {
    Ok(Ready { id: row.get(0)?, claims: row.get(1)?, channel: row.get(2)?, subject: row.get(3)?, digest: row.get(4)? })
}

/// Whether something of this subject is owed already, so that what comes now stays behind it.
pub(super) fn is_behind(connection: &Connection, sink: &str, subject: Option<&str>) -> rusqlite::Result<bool> {
    let Some(subject) = subject else { return Ok(false) };
    connection.prepare_cached(&format!("SELECT EXISTS (SELECT 1 {OPEN})"))?.query_row([sink, subject], |row| row.get(0))
}

/// One is settled: when it was not behind, the oldest of its subject's others is not any more.
fn promote(connection: &Connection, id: i64) -> rusqlite::Result<()> {
    let settled: Option<(String, String)> = connection
        .prepare_cached("SELECT sink, subject FROM dispatch WHERE id = ?1 AND subject IS NOT NULL AND behind = 0")?
        .query_row([id], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((sink, subject)) = settled else { return Ok(()) };
    connection
        .prepare_cached(&format!("UPDATE dispatch SET behind = 0 WHERE id = (SELECT min(id) {OPEN})"))?
        .execute([sink, subject])
        .map(|_| ())
}

/// How long until something more may be tried. What waits for another of its subject is due when that is settled.
fn next_due(connection: &Connection, sink: &str, now: Timestamp) -> rusqlite::Result<Option<Duration>> {
    let next_ms: Option<i64> = connection
        .prepare_cached(
            "SELECT min(next_ms) FROM dispatch WHERE sink = ?1 AND state = 'due' AND behind = 0 AND next_ms > ?2",
        )?
        .query_row(params![sink, now.ms()], |row| row.get(0))?;
    Ok(next_ms.map(|next_ms| Timestamp::from_ms(next_ms).since(now)))
}

fn read_claim(connection: &Connection, id: i64, installation: &Installation) -> rusqlite::Result<Claim> {
    connection
        .prepare_cached(
            "SELECT dispatch.delivery, dispatch.attempts, dispatch.failures, dispatch.tried_ms, dispatch.cue,
                    dispatch.channel, dispatch.subject AS filed_under,
                    event.position, event.replay, event.kind, event.actor, event.repository, event.title, event.url,
                    event.severity, event.subject, event.extra,
                    delivery.source, delivery.provider, delivery.received_ms, delivery.sent_ms
             FROM dispatch JOIN event ON event.id = dispatch.event JOIN delivery ON delivery.id = dispatch.delivery
             WHERE dispatch.id = ?1",
        )?
        .query_row([id], |row| {
            let delivery: i64 = row.get("delivery")?;
            let attempts: i64 = row.get("attempts")?;
            let (position, replay): (i64, i64) = (row.get("position")?, row.get("replay")?);
            let received = Timestamp::from_ms(row.get("received_ms")?);
            let sent: Option<i64> = row.get("sent_ms")?;
            let cue: Option<String> = row.get("cue")?;
            let channel: String = row.get("channel")?;
            let filed: Option<String> = row.get("filed_under")?;
            let source: String = row.get("source")?;
            let subject = filed.and_then(|filed| subject::within(&source, &filed));
            let parcel = read_event(row)?.map(|event| Parcel {
                dispatch: id,
                delivery,
                received,
                sent: sent.map(Timestamp::from_ms),
                event,
                cue,
                channel: Some(channel).filter(|channel| !channel.is_empty()),
                subject,
                reference: format!("{}-{delivery}-{position}-{replay}", installation.of(delivery)),
                tried: u32::try_from(attempts - 1).unwrap_or(u32::MAX),
            });
            let tried_ms: i64 = row.get("tried_ms")?;
            Ok(Claim {
                id,
                delivery,
                attempts,
                failures: row.get("failures")?,
                tried: Duration::from_millis(u64::try_from(tried_ms).unwrap_or(0)),
                took: Duration::ZERO,
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
pub(super) fn void_claims(connection: &Connection, now: Timestamp, waits: WaitsMax) -> rusqlite::Result<()> {
    let buried: Vec<(i64, i64)> = connection
        .prepare(
            "UPDATE dispatch
             SET state = 'dead', settled_ms = ?2,
                 last_error = 'crashed the process ' || claims || ' times while it was delivered'
             WHERE state = 'leased' AND claims >= ?1 RETURNING id, delivery",
        )?
        .query_map(params![CRASHES_MAX, now.ms()], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    for (id, delivery) in buried {
        promote(connection, id)?;
        refresh_status(connection, delivery, now)?;
    }
    connection.execute("UPDATE dispatch SET state = 'due' WHERE state = 'leased'", [])?;
    for (wait, which) in [(waits.retry, "digest IS NULL OR failures > 0"), (waits.digest, "digest IS NOT NULL")] {
        connection.execute(
            &format!("UPDATE dispatch SET next_ms = ?1 WHERE state = 'due' AND next_ms > ?1 AND ({which})"),
            [now.plus(wait).ms()],
        )?;
    }
    Ok(())
}

/// The longest waits that the configuration knows.
#[derive(Clone, Copy, Debug)]
pub struct WaitsMax {
    /// After a failure.
    pub retry: Duration,
    /// For a digest.
    pub digest: Duration,
}

/// Gives back what senders hold that were stopped and did not crash.
pub(super) fn give_back(connection: &Connection) -> rusqlite::Result<()> {
    connection
        .execute("UPDATE dispatch SET state = 'due', claims = max(claims - 1, 0) WHERE state = 'leased'", [])
        .map(|_| ())
}
