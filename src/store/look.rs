//! Questions of those who look at a screen: a page of the list, and what the last day was like. Owns how much each looks
//! at, so that it is quick however much is stored; refuses to judge what it finds.

use std::collections::BTreeMap;

use rusqlite::{OptionalExtension, ToSql, named_params};
use serde::Serialize;
use serde_json::Value;

use super::{
    Status, StoreError,
    outbox::read_event,
    report::{DeliveryRow, Reader, json_or_text, read_row},
};
use crate::{event::Event, time::Timestamp};

/// Deliveries that one page of the list looks at. What it does not find among them the next page may.
const LOOKED_AT_MAX: i64 = 20_000;
/// The same where it looks for words.
const SEARCHED_MAX: i64 = 8_000;
/// Deliveries, dispatches and events that say what the last day was like.
const SAMPLE_MAX: i64 = 20_000;
/// Events that say how often each rule matched.
const RULE_SAMPLE: i64 = 5_000;

/// When the oldest delivery was stored that is not done with. The indexes are named, because for a `min` SQLite by itself goes
/// through all that is settled, in the order of the deliveries, until it meets what is due.
pub(super) const OLDEST_UNDELIVERED: &str = "SELECT received_ms FROM delivery WHERE id = (
    SELECT min(id) FROM (
        SELECT min(id) AS id FROM delivery WHERE stage = 'new'
        UNION ALL SELECT min(id) FROM delivery WHERE stage = 'routing'
        UNION ALL SELECT min(delivery) FROM dispatch INDEXED BY dispatch_leased WHERE state = 'leased'
        UNION ALL SELECT min(delivery) FROM dispatch INDEXED BY dispatch_due
            WHERE state = 'due' AND (digest IS NULL OR failures > 0 OR next_ms <= ?1)))";

const DAY_MS: i64 = 86_400_000;
const HOUR_MS: i64 = 3_600_000;

/// Which deliveries a page shows. The default shows the newest, and none of them: `limit` is 0.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    /// Any of these; empty means all.
    pub statuses: Vec<Status>,
    /// The configured source's name.
    pub source: Option<String>,
    /// A kind that one of its events has.
    pub kind: Option<String>,
    /// Words that stand in its ids, or in what one of its events says; capitals do not matter.
    pub words: Option<String>,
    /// Received at or after.
    pub since: Option<Timestamp>,
    /// Received before.
    pub until: Option<Timestamp>,
    /// Only those with a lower id.
    pub before: Option<i64>,
    /// This many at most.
    pub limit: u32,
}

/// What was found.
#[derive(Clone, Debug, Serialize)]
pub struct Page {
    /// The newest first. There may be few although there are more further back.
    pub deliveries: Vec<DeliveryRow>,
    /// [`Choice::before`] of the next page; `None`: there is none.
    pub next: Option<i64>,
    /// How far back this page has looked, where it has not shown all it looked at.
    pub looked_back_to: Option<Timestamp>,
}

/// An event with the delivery that brought it.
#[derive(Clone, Debug, Serialize)]
pub struct EventRow {
    /// The event's number.
    pub id: i64,
    /// The delivery's.
    pub delivery: i64,
    /// When that was stored.
    pub received_at: Timestamp,
    /// What that has come to.
    pub status: String,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
    /// The names of the rules that matched.
    pub rules: Value,
}

/// One source lately.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SourceTally {
    /// Deliveries that were looked at, also those older than a day: they say how it usually speaks.
    pub seen: i64,
    /// Deliveries stored.
    pub received: i64,
    /// Of those, done with: delivered, or looked at and wanted by nobody.
    pub processed: i64,
    /// Of those, given up or waiting after a failure.
    pub failed: i64,
    /// Of those, given up.
    pub dead: i64,
    /// The mean time from stored to settled, milliseconds.
    pub processing_ms: Option<f64>,
    /// When the last one came, and the longest time between two, milliseconds.
    pub last_ms: i64,
    /// See `last_ms`; `None` of fewer than two.
    pub longest_gap_ms: Option<i64>,
}

/// One sink lately.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SinkTally {
    /// Dispatches delivered.
    pub delivered: i64,
    /// Given up, or waiting after a failure.
    pub failed: i64,
    /// Of those, given up.
    pub dead: i64,
    /// Of each that was delivered: the hour it was received, and from then to the delivery, milliseconds.
    pub took: Vec<(i64, i64)>,
    /// What the last failure said.
    pub last_error: Option<String>,
}

/// How often each rule matched lately.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RuleHits {
    /// Events that were looked at.
    pub events: i64,
    /// How often, and when last, by the rule's name.
    pub hits: BTreeMap<String, (i64, Timestamp)>,
}

/// What the last day was like, of its newest deliveries and dispatches (20 000 each).
#[derive(Clone, Debug, Default)]
pub struct Lately {
    /// Deliveries that were looked at.
    pub sampled: i64,
    /// The oldest of them.
    pub since: Option<Timestamp>,
    /// How many have come to what.
    pub statuses: BTreeMap<String, i64>,
    /// By source.
    pub sources: BTreeMap<String, SourceTally>,
    /// By sink.
    pub sinks: BTreeMap<String, SinkTally>,
    /// What the last failure of one of a source's deliveries said.
    pub source_errors: BTreeMap<String, String>,
    /// Every delivery's hour and time to durable, microseconds, the newest first.
    pub durable: Vec<(i64, i64)>,
    /// Every one that the desk has shown: the hour, milliseconds.
    pub shown: Vec<(i64, i64)>,
}

impl Reader {
    /// One page of deliveries. It looks at a bounded number of them, so it is as quick in a large database.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn page(&self, choice: &Choice) -> Result<Page, StoreError> {
        let Choice { statuses: _, source, kind, words, since: _, until: _, before: _, limit } = choice;
        let window = match (words, source.is_some() || kind.is_some()) {
            (Some(_), _) => SEARCHED_MAX,
            (None, true) => LOOKED_AT_MAX,
            // Nothing is passed over.
            (None, false) => i64::from(*limit) + 1,
        };
        self.page_within(choice, window)
    }

    fn page_within(&self, choice: &Choice, window: i64) -> Result<Page, StoreError> {
        let attempt = StoreError::database("list deliveries");
        let _moment = self.moment()?;
        let words = choice.words.as_deref().map(like);
        let mut before = choice.before.unwrap_or(i64::MAX);
        if let Some(until) = choice.until {
            before = before.min(self.first_since(until)?);
        }
        let from = choice.since.map_or(Ok(i64::MIN), |since| self.first_since(since))?;
        // Of each status the newest: looking through its own index, however rare it is.
        let candidates = match choice.statuses.is_empty() {
            true => {
                "SELECT id FROM delivery WHERE id >= :from AND id < :before ORDER BY id DESC LIMIT :window".to_owned()
            }
            false => {
                let one = |status: &Status| {
                    format!(
                        "SELECT id FROM (SELECT id FROM delivery WHERE status = '{}' AND id >= :from AND id < :before
                                         ORDER BY id DESC LIMIT :window)",
                        status.name()
                    )
                };
                let all: Vec<String> = choice.statuses.iter().map(one).collect();
                format!("{} ORDER BY id DESC LIMIT :window", all.join(" UNION ALL "))
            }
        };
        // The index of events is named: by itself SQLite looks through all events of a kind, for each delivery.
        let mut conditions = vec!["1"];
        let mut values: Vec<(&str, &dyn ToSql)> = vec![(":from", &from), (":before", &before), (":window", &window)];
        if let Some(source) = &choice.source {
            conditions.push("source = :source");
            values.push((":source", source));
        }
        if let Some(kind) = &choice.kind {
            conditions.push(
                "EXISTS (SELECT 1 FROM event INDEXED BY event_identity WHERE delivery = delivery.id AND kind = :kind)",
            );
            values.push((":kind", kind));
        }
        if let Some(words) = &words {
            conditions.push(
                "(delivery_id LIKE :words ESCAPE '\\' OR event_type LIKE :words ESCAPE '\\' OR EXISTS (
                     SELECT 1 FROM event INDEXED BY event_identity WHERE delivery = delivery.id
                     AND (title LIKE :words ESCAPE '\\' OR repository LIKE :words ESCAPE '\\' OR actor LIKE :words ESCAPE '\\'
                          OR subject LIKE :words ESCAPE '\\' OR kind LIKE :words ESCAPE '\\')))",
            );
            values.push((":words", words));
        }
        let more = i64::from(choice.limit) + 1;
        let looked_at = self
            .connection()
            .query_row(&format!("SELECT count(*), min(id) FROM ({candidates})"), &values[..3], |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, Option<i64>>(1)?))
            })
            .map_err(&attempt)?;
        values.push((":more", &more));
        let sql = format!(
            "SELECT delivery.* FROM ({candidates}) AS candidate CROSS JOIN delivery ON delivery.id = candidate.id
             WHERE {} ORDER BY delivery.id DESC LIMIT :more",
            conditions.join(" AND ")
        );
        let mut statement = self.connection().prepare(&sql).map_err(&attempt)?;
        let mut rows: Vec<DeliveryRow> =
            statement.query_map(values.as_slice(), read_row).and_then(Iterator::collect).map_err(&attempt)?;
        let has_more = rows.len() > choice.limit as usize;
        rows.truncate(choice.limit as usize);
        let (next, looked_back_to) = match (has_more, looked_at) {
            (true, _) => (rows.last().map(|row| row.id), None),
            (false, (count, Some(oldest))) if count == window => (Some(oldest), self.received(oldest)?),
            (false, _) => (None, None),
        };
        let deliveries = rows.into_iter().map(|row| self.with_kinds(row)).collect::<Result<_, _>>()?;
        Ok(Page { deliveries, next, looked_back_to })
    }

    /// The first id that was received at or after this, as ids and times rise together; beyond the last one there is none.
    /// Where a clock was set back they do not, and it may be one of several.
    fn first_since(&self, since: Timestamp) -> Result<i64, StoreError> {
        let attempt = StoreError::database("find a moment");
        let (mut low, mut high): (i64, i64) = self
            .connection()
            .query_row(
                "SELECT coalesce((SELECT min(id) FROM delivery), 0), coalesce((SELECT max(id) FROM delivery), -1) + 1",
                [],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .map_err(&attempt)?;
        while low < high {
            let middle = low + (high - low) / 2;
            let found: Option<(i64, i64)> = self
                .connection()
                .prepare_cached("SELECT id, received_ms FROM delivery WHERE id >= ?1 ORDER BY id LIMIT 1")
                .and_then(|mut statement| {
                    statement.query_row([middle], |row| Ok((row.get(0)?, row.get(1)?))).optional()
                })
                .map_err(&attempt)?;
            match found {
                Some((id, received_ms)) if received_ms < since.ms() => low = id + 1,
                _ => high = middle,
            }
        }
        Ok(low)
    }

    fn received(&self, id: i64) -> Result<Option<Timestamp>, StoreError> {
        self.connection()
            .query_row("SELECT received_ms FROM delivery WHERE id = ?1", [id], |row| row.get(0))
            .optional()
            .map(|ms| ms.map(Timestamp::from_ms))
            .map_err(StoreError::database("read a delivery"))
    }

    /// When the source's last delivery came. For one that has long been silent it looks through all that came since.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn last_of(&self, source: &str) -> Result<Option<Timestamp>, StoreError> {
        self.connection()
            .query_row(
                "SELECT received_ms FROM delivery NOT INDEXED WHERE source = ?1 ORDER BY id DESC LIMIT 1",
                [source],
                |row| row.get(0),
            )
            .optional()
            .map(|ms| ms.map(Timestamp::from_ms))
            .map_err(StoreError::database("read when a source last spoke"))
    }

    /// Events, the newest first: `limit` of those with a lower number than `before`.
    ///
    /// # Errors
    /// When the database cannot be read, or a row is damaged.
    pub fn newest_events(&self, before: Option<i64>, limit: u32) -> Result<Vec<EventRow>, StoreError> {
        let attempt = StoreError::database("list events");
        let mut statement = self
            .connection()
            .prepare_cached(
                "SELECT event.*, delivery.source, delivery.provider, delivery.received_ms, delivery.status
                 FROM event CROSS JOIN delivery ON delivery.id = event.delivery
                 WHERE event.id < ?1 ORDER BY event.id DESC LIMIT ?2",
            )
            .map_err(&attempt)?;
        let found: Vec<_> = statement
            .query_map((before.unwrap_or(i64::MAX), limit), |row| {
                let rules: String = row.get("rules")?;
                let received_at = Timestamp::from_ms(row.get("received_ms")?);
                let (id, delivery, status) = (row.get("id")?, row.get("delivery")?, row.get("status")?);
                Ok((read_event(row)?, move |event| EventRow {
                    id,
                    delivery,
                    received_at,
                    status,
                    event,
                    rules: json_or_text(rules),
                }))
            })
            .and_then(Iterator::collect)
            .map_err(&attempt)?;
        found.into_iter().map(|(event, row)| event.map(row)).collect()
    }

    /// The kinds of the newest events, the most frequent first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn kinds_lately(&self) -> Result<Vec<String>, StoreError> {
        self.strings(
            "SELECT kind FROM (SELECT kind FROM event ORDER BY id DESC LIMIT 2000) GROUP BY kind ORDER BY count(*) DESC",
        )
    }

    /// Every source that any of the newest deliveries is of.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn sources_lately(&self) -> Result<Vec<String>, StoreError> {
        self.strings(
            "SELECT source FROM (SELECT source FROM delivery ORDER BY id DESC LIMIT 20000) GROUP BY source ORDER BY source",
        )
    }

    fn strings(&self, sql: &'static str) -> Result<Vec<String>, StoreError> {
        let attempt = StoreError::database("list what there is");
        let mut statement = self.connection().prepare_cached(sql).map_err(&attempt)?;
        statement.query_map([], |row| row.get(0)).and_then(Iterator::collect).map_err(&attempt)
    }

    /// How often each rule matched, and when last, among the newest 5 000 events; and how many these were.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn rule_hits(&self) -> Result<RuleHits, StoreError> {
        let attempt = StoreError::database("count what matched");
        let mut statement = self
            .connection()
            .prepare_cached(
                "SELECT event.rules, delivery.received_ms FROM event CROSS JOIN delivery ON delivery.id = event.delivery
                 ORDER BY event.id DESC LIMIT ?1",
            )
            .map_err(&attempt)?;
        let mut found = RuleHits::default();
        let mut rows = statement.query([RULE_SAMPLE]).map_err(&attempt)?;
        while let Some(row) = rows.next().map_err(&attempt)? {
            let (rules, received_ms): (String, i64) =
                row.get(0).and_then(|rules| Ok((rules, row.get(1)?))).map_err(&attempt)?;
            found.events += 1;
            let names: Vec<String> = serde_json::from_str(&rules).unwrap_or_default();
            for name in names {
                // The newest comes first.
                found.hits.entry(name).or_insert((0, Timestamp::from_ms(received_ms))).0 += 1;
            }
        }
        Ok(found)
    }

    /// Deliveries of each hour since the epoch, from this one on. Hours without any are left out.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn hourly(&self, from_hour: i64) -> Result<BTreeMap<i64, i64>, StoreError> {
        let attempt = StoreError::database("count deliveries");
        let mut statement = self
            .connection()
            .prepare_cached(
                "SELECT received_ms / 3600000 AS hour, count(*) FROM delivery INDEXED BY delivery_body
                 WHERE received_ms / 3600000 >= ?1 GROUP BY hour",
            )
            .map_err(&attempt)?;
        statement
            .query_map([from_hour], |row| Ok((row.get(0)?, row.get(1)?)))
            .and_then(Iterator::collect)
            .map_err(&attempt)
    }

    /// Deliveries of each hour that were given up.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn hourly_dead(&self, from: Timestamp) -> Result<BTreeMap<i64, i64>, StoreError> {
        let attempt = StoreError::database("count what was given up");
        let from = self.first_since(from)?;
        let mut statement = self
            .connection()
            .prepare_cached(
                "SELECT received_ms / 3600000 AS hour, count(*) FROM (
                     SELECT received_ms FROM delivery WHERE status = 'dead_letter' AND id >= ?1 ORDER BY id DESC LIMIT ?2)
                 GROUP BY hour",
            )
            .map_err(&attempt)?;
        statement
            .query_map([from, SAMPLE_MAX], |row| Ok((row.get(0)?, row.get(1)?)))
            .and_then(Iterator::collect)
            .map_err(&attempt)
    }

    /// What the day before `now` was like.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn lately(&self, now: Timestamp) -> Result<Lately, StoreError> {
        let attempt = StoreError::database("look at the last day");
        let _moment = self.moment()?;
        let day_ms = now.ms() - DAY_MS;
        let mut lately = Lately::default();
        let mut statement = self
            .connection()
            .prepare_cached(
                "SELECT source, received_ms, processed_ms, status, durable_us,
                        CASE WHEN status = 'dead_letter' THEN json_extract(notes, '$[#-1]') END
                 FROM delivery ORDER BY id DESC LIMIT ?1",
            )
            .map_err(&attempt)?;
        let mut rows = statement.query([SAMPLE_MAX]).map_err(&attempt)?;
        let (mut spent, mut notes) = (BTreeMap::<String, (f64, i64)>::new(), BTreeMap::<String, String>::new());
        while let Some(row) = rows.next().map_err(&attempt)? {
            let source = row.get_ref(0).and_then(|source| Ok(source.as_str()?)).map_err(&attempt)?;
            let (received_ms, processed_ms): (i64, Option<i64>) =
                row.get(1).and_then(|received| Ok((received, row.get(2)?))).map_err(&attempt)?;
            if !lately.sources.contains_key(source) {
                lately
                    .sources
                    .insert(source.to_owned(), SourceTally { last_ms: received_ms, ..SourceTally::default() });
            }
            let Some(tally) = lately.sources.get_mut(source) else { continue };
            // What is older than a day still says how this source usually speaks.
            if let Some(newer_ms) = spent.get(source).map(|(_, newer_ms)| *newer_ms) {
                tally.longest_gap_ms = tally.longest_gap_ms.max(Some((newer_ms - received_ms).max(0)));
            }
            tally.seen += 1;
            let spent = spent.entry(source.to_owned()).or_insert((0.0, received_ms));
            spent.1 = received_ms;
            if received_ms < day_ms {
                continue;
            }
            lately.sampled += 1;
            lately.since = Some(Timestamp::from_ms(received_ms));
            tally.received += 1;
            let status = row.get_ref(3).and_then(|status| Ok(status.as_str()?)).map_err(&attempt)?;
            match lately.statuses.get_mut(status) {
                Some(count) => *count += 1,
                None => drop(lately.statuses.insert(status.to_owned(), 1)),
            }
            match status {
                "processed" | "skipped" => tally.processed += 1,
                "dead_letter" | "retrying" => tally.failed += 1,
                _ => {}
            }
            tally.dead += i64::from(status == "dead_letter");
            if let Some(note) = row.get::<_, Option<String>>(5).map_err(&attempt)? {
                notes.entry(source.to_owned()).or_insert(note);
            }
            if let (Some(processed_ms), "processed" | "skipped") = (processed_ms, status) {
                spent.0 += (processed_ms - received_ms).max(0) as f64;
            }
            if let Some(us) = row.get::<_, Option<i64>>(4).map_err(&attempt)? {
                lately.durable.push((received_ms / HOUR_MS, us));
            }
        }
        for (source, tally) in &mut lately.sources {
            let total = spent.get(source).map_or(0.0, |(total, _)| *total);
            tally.processing_ms = (tally.processed > 0).then(|| total / tally.processed as f64);
        }
        self.dispatches_lately(day_ms, &mut lately).map_err(&attempt)?;
        // What is dead and was never sent says so itself.
        for (source, note) in notes {
            lately.source_errors.entry(source).or_insert(note);
        }
        Ok(lately)
    }

    fn dispatches_lately(&self, day_ms: i64, lately: &mut Lately) -> rusqlite::Result<()> {
        let mut statement = self.connection().prepare_cached(
            "SELECT sink, state, failures, settled_ms, edge_ms, last_error, received_ms, source
             FROM dispatch CROSS JOIN delivery ON delivery.id = dispatch.delivery
             ORDER BY dispatch.id DESC LIMIT :most",
        )?;
        let mut rows = statement.query(named_params! { ":most": SAMPLE_MAX })?;
        while let Some(row) = rows.next()? {
            let received_ms: i64 = row.get(6)?;
            if received_ms < day_ms {
                continue;
            }
            let (sink, state) = (row.get_ref(0)?.as_str()?, row.get_ref(1)?.as_str()?);
            if !lately.sinks.contains_key(sink) {
                lately.sinks.insert(sink.to_owned(), SinkTally::default());
            }
            let Some(tally) = lately.sinks.get_mut(sink) else { continue };
            let (failures, settled_ms): (i64, Option<i64>) = (row.get(2)?, row.get(3)?);
            let is_failing = state == "dead" || failures > 0 && matches!(state, "due" | "leased");
            if is_failing {
                tally.failed += 1;
                tally.dead += i64::from(state == "dead");
                if let Some(error) = row.get::<_, Option<String>>(5)? {
                    tally.last_error.get_or_insert_with(|| error.clone());
                    lately.source_errors.entry(row.get(7)?).or_insert(error);
                }
            }
            if let (Some(settled_ms), "done") = (settled_ms, state) {
                tally.delivered += 1;
                tally.took.push((received_ms / HOUR_MS, (settled_ms - received_ms).max(0)));
            }
            if let Some(edge_ms) = row.get::<_, Option<i64>>(4)? {
                lately.shown.push((received_ms / HOUR_MS, (edge_ms - received_ms).max(0)));
            }
        }
        Ok(())
    }

    /// When the oldest delivery was stored that is not done with; `None`: there is none. What was given up is done with, and
    /// what a rule collects is not late.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn oldest_undelivered(&self, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        self.connection()
            .query_row(OLDEST_UNDELIVERED, [now.ms()], |row| row.get(0))
            .optional()
            .map(|ms| ms.map(Timestamp::from_ms))
            .map_err(StoreError::database("find what waits longest"))
    }
}

/// The words anywhere in a text. The characters that mean something to `LIKE` mean themselves.
fn like(words: &str) -> String {
    let mut pattern = String::from("%");
    for c in words.chars().take(200) {
        if matches!(c, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern.push('%');
    pattern
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rusqlite::Connection;

    use super::*;
    use crate::{
        store::Store,
        time::{Clock, SystemClock},
    };

    /// Forty deliveries a second apart, one in four of `shop`, one in five given up, every event with its number in the title.
    fn filled(folder: &std::path::Path, newest_ms: i64) -> Reader {
        let path = folder.join("hookbell.db");
        let (store, threads) = Store::open(&path, 0, Arc::new(SystemClock)).unwrap();
        threads.stop(std::time::Duration::from_secs(10));
        drop(store);
        let database = Connection::open(&path).unwrap();
        database
            .execute_batch(&format!(
                "CREATE TEMP TABLE n AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40)
                     SELECT i, {newest_ms} - (40 - i) * 1000 AS t FROM n;
                 INSERT INTO delivery (id, source, provider, event_type, delivery_id, body_hash, received_ms, processed_ms,
                                       stage, status, peer, verified_by, durable_us)
                     SELECT i, CASE WHEN i % 4 = 0 THEN 'shop' ELSE 'github' END, 'github', 'issues', 'id-' || i, i, t, t + 50,
                            'routed', CASE WHEN i % 5 = 0 THEN 'dead_letter' ELSE 'processed' END, 'x', 1, 1000 * i FROM n;
                 INSERT INTO event (id, delivery, position, kind, actor, repository, title, severity, extra, rules)
                     SELECT i, i, 0, 'issue_opened', 'ada', 'acme/api', 'Number ' || i || '%', 'info', '{{}}', '[\"all\"]' FROM n;
                 INSERT INTO dispatch (id, event, delivery, sink, state, next_ms, last_error, settled_ms, edge_ms)
                     SELECT i, i, i, 'slack', CASE WHEN i % 5 = 0 THEN 'dead' ELSE 'done' END, t,
                            CASE WHEN i % 5 = 0 THEN 'broke ' || i END, t + 40, t + 5 FROM n;"
            ))
            .unwrap();
        Reader::open(&path).unwrap()
    }

    fn ids(page: &Page) -> Vec<i64> {
        page.deliveries.iter().map(|row| row.id).collect()
    }

    /// All pages in order, each within so many deliveries.
    fn walk(reader: &Reader, choice: &Choice, window: i64) -> Vec<i64> {
        let (mut choice, mut all) = (choice.clone(), Vec::new());
        for _ in 0..100 {
            let page = reader.page_within(&choice, window).unwrap();
            assert!(page.deliveries.len() <= choice.limit as usize);
            all.extend(ids(&page));
            match page.next {
                Some(next) => choice.before = Some(next),
                None => return all,
            }
        }
        panic!("the pages do not end");
    }

    #[test]
    fn however_little_a_page_looks_at_nothing_is_missed_and_nothing_comes_twice() {
        let folder = tempfile::tempdir().unwrap();
        let reader = filled(folder.path(), 1_763_805_600_000);
        let every = |step: i64| (1..=40).rev().filter(|id| id % step == 0).collect::<Vec<i64>>();
        let shop = Some("shop".to_owned());
        let dead = vec![Status::DeadLetter];
        for (choice, expected) in [
            (Choice::default(), every(1)),
            (Choice { source: shop.clone(), ..Choice::default() }, every(4)),
            (Choice { statuses: dead.clone(), ..Choice::default() }, every(5)),
            (Choice { statuses: vec![Status::DeadLetter, Status::Processed], ..Choice::default() }, every(1)),
            (Choice { statuses: dead, source: shop, ..Choice::default() }, every(20)),
            (Choice { kind: Some("issue_opened".to_owned()), ..Choice::default() }, every(1)),
            (Choice { kind: Some("push".to_owned()), ..Choice::default() }, Vec::new()),
            (Choice { words: Some("NUMBER 7%".to_owned()), ..Choice::default() }, vec![7]),
            (Choice { words: Some("_d-4".to_owned()), ..Choice::default() }, Vec::new()),
            (Choice { words: Some("ID-4".to_owned()), ..Choice::default() }, vec![40, 4]),
        ] {
            for (limit, window) in [(1, 1), (3, 7), (50, 7), (7, 40), (50, 1000)] {
                let choice = Choice { limit, ..choice.clone() };
                assert_eq!(walk(&reader, &choice, window), expected, "{choice:?} within {window}");
            }
        }
        let page =
            reader.page_within(&Choice { kind: Some("push".to_owned()), limit: 5, ..Choice::default() }, 10).unwrap();
        assert_eq!((page.next, page.looked_back_to), (Some(31), Some(Timestamp::from_ms(1_763_805_600_000 - 9_000))));
    }

    #[test]
    fn moments_are_found_by_id() {
        let folder = tempfile::tempdir().unwrap();
        let reader = filled(folder.path(), 1_763_805_600_000);
        let at = |id: i64| Some(Timestamp::from_ms(1_763_805_600_000 - (40 - id) * 1000));
        let of = |since, until| ids(&reader.page(&Choice { since, until, limit: 50, ..Choice::default() }).unwrap());
        assert_eq!(of(at(38), None), [40, 39, 38]);
        assert_eq!(of(None, at(3)), [2, 1]);
        assert_eq!(of(at(10), at(12)), [11, 10]);
        assert!(of(at(41), None).is_empty() && of(None, at(1)).is_empty());
    }

    #[test]
    fn the_last_day_is_counted_by_source_and_sink() {
        let folder = tempfile::tempdir().unwrap();
        let now = SystemClock.wall();
        let reader = filled(folder.path(), now.ms());
        let lately = reader.lately(now).unwrap();
        let shop = &lately.sources["shop"];
        assert_eq!((shop.received, shop.processed, shop.failed, shop.longest_gap_ms), (10, 8, 2, Some(4000)));
        assert_eq!((shop.processing_ms, shop.last_ms), (Some(50.0), now.ms()));
        let slack = &lately.sinks["slack"];
        assert_eq!((slack.delivered, slack.failed, slack.last_error.as_deref()), (32, 8, Some("broke 40")));
        assert!(
            slack.took.iter().all(|(_, took_ms)| *took_ms == 40) && slack.took.len() == 32 && lately.shown.len() == 40
        );
        assert_eq!(lately.source_errors["github"], "broke 35");
        assert_eq!(lately.durable.len(), 40);
        let hits = BTreeMap::from([("all".to_owned(), (40, now))]);
        assert_eq!(reader.rule_hits().unwrap(), RuleHits { events: 40, hits });
        assert_eq!(reader.hourly(now.ms() / HOUR_MS - 1).unwrap().values().sum::<i64>(), 40);
        assert_eq!(reader.hourly_dead(Timestamp::from_ms(now.ms() - DAY_MS)).unwrap().values().sum::<i64>(), 8);
        let tomorrow = reader.lately(Timestamp::from_ms(now.ms() + 2 * DAY_MS)).unwrap();
        assert_eq!((tomorrow.sampled, tomorrow.sources["shop"].received, tomorrow.sources["shop"].seen), (0, 0, 10));
        assert_eq!(reader.last_of("shop").unwrap(), Some(now));
        assert_eq!(reader.last_of("nobody").unwrap(), None);
        assert_eq!(reader.oldest_undelivered(now).unwrap(), None);
        let newest = reader.newest_events(Some(40), 2).unwrap();
        assert_eq!(newest.iter().map(|event| event.id).collect::<Vec<_>>(), [39, 38]);
    }
}
