//! Who was refused: counts per source and address. Owns their bounds; refuses to know why anybody is refused.

use rusqlite::{Connection, params};
use serde::Serialize;

use super::{Store, StoreError, inbox, report::Reader, writer::Durability};
use crate::time::Timestamp;

/// Rows that are kept; the older ones are added up.
const ROWS_MAX: i64 = 1000;

/// The address of all those that have no row of their own.
pub const OTHERS: &str = "others";

/// Requests of one address to one source that were refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The configured source's name; empty where the request named none.
    pub source: String,
    /// The address; empty where it cannot be known.
    pub peer: String,
    /// The last one's status.
    pub status: u16,
    /// Why, of the last one.
    pub why: String,
    /// How many.
    pub count: u64,
}

/// The same as it stands in the database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RefusalCount {
    /// The configured source's name; empty where the requests named none.
    pub source: String,
    /// The address; `others` for those that are added up.
    pub peer: String,
    /// The last one's status.
    pub status: u16,
    /// Why, of the last one.
    pub why: String,
    /// How many so far.
    pub count: i64,
    /// The first.
    pub first_at: Timestamp,
    /// The last.
    pub last_at: Timestamp,
}

impl Store {
    /// Adds these to what is counted.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn count_refusals(&self, refused: Vec<Refused>) -> Result<(), StoreError> {
        let ticket = self.submit(inbox::settling(Durability::Deferred), move |connection, now| {
            refused.iter().try_for_each(|refused| count(connection, refused, now.ms()))?;
            add_up(connection)
        })?;
        ticket.wait_for_ever()
    }
}

fn count(connection: &Connection, refused: &Refused, now_ms: i64) -> rusqlite::Result<()> {
    let Refused { source, peer, status, why, count } = refused;
    connection
        .prepare_cached(
            "INSERT INTO refusal (source, peer, status, why, count, first_ms, last_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6)
             ON CONFLICT (source, peer) DO UPDATE SET status = excluded.status, why = excluded.why,
                 count = count + excluded.count, last_ms = max(last_ms, excluded.last_ms)",
        )?
        .execute(params![source, peer, status, why, i64::try_from(*count).unwrap_or(i64::MAX), now_ms])
        .map(|_| ())
}

/// Keeps the newest rows and the sums of the others.
fn add_up(connection: &Connection) -> rusqlite::Result<()> {
    const OLD: &str =
        "SELECT source, peer FROM refusal WHERE peer <> 'others' ORDER BY last_ms DESC LIMIT -1 OFFSET ?1";
    connection
        .prepare_cached(&format!(
            "INSERT INTO refusal (source, peer, status, why, count, first_ms, last_ms)
             SELECT source, 'others', max(status), '', sum(count), min(first_ms), max(last_ms)
             FROM refusal WHERE (source, peer) IN ({OLD}) GROUP BY source
             ON CONFLICT (source, peer) DO UPDATE SET count = count + excluded.count,
                 first_ms = min(first_ms, excluded.first_ms), last_ms = max(last_ms, excluded.last_ms)"
        ))?
        .execute([ROWS_MAX])?;
    connection
        .prepare_cached(&format!("DELETE FROM refusal WHERE (source, peer) IN ({OLD})"))?
        .execute([ROWS_MAX])
        .map(|_| ())
}

impl Reader {
    /// Who was refused, the last first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn refusals(&self, limit: u32) -> Result<Vec<RefusalCount>, StoreError> {
        let attempt = StoreError::database("read who was refused");
        let mut statement = self
            .connection()
            .prepare(
                "SELECT source, peer, status, why, count, first_ms, last_ms FROM refusal
                 ORDER BY last_ms DESC, source, peer LIMIT ?1",
            )
            .map_err(&attempt)?;
        let rows = statement.query_map([limit], |row| {
            Ok(RefusalCount {
                source: row.get("source")?,
                peer: row.get("peer")?,
                status: row.get("status")?,
                why: row.get("why")?,
                count: row.get("count")?,
                first_at: Timestamp::from_ms(row.get("first_ms")?),
                last_at: Timestamp::from_ms(row.get("last_ms")?),
            })
        });
        rows.and_then(Iterator::collect).map_err(&attempt)
    }
}
