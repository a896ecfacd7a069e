//! How much is written to the card: counted in this process, kept by the day. Owns the count and its rows; refuses to say
//! how much a card bears.
//!
//! The count is the kernel's for the whole process (`/proc/self/io`): the pages that it made dirty, less those that were
//! dropped before they reached the disk. SQLite can only tell the pages of its log: 42 of them for a delivery to two sinks,
//! 173 KB, where the kernel counted 188 KB, because a commit begins and ends within a page and checkpoints write as well.
//! Neither sees the file system's own journal (7 to 14 % more on ext4, measured in `checkpoint`), nor what the card moves
//! about inside.
//!
//! Counting writes next to nothing: what is counted goes along with a commit that is made anyway, every ten minutes at
//! most, and at the end of the process. A crash loses that much of the count.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use rusqlite::{Connection, Row, params, types::Value};

use super::{Store, StoreError, connection::BUSY_TIMEOUT, report::Reader};
use crate::{
    threads::lock,
    time::{Clock, Timestamp, is_plainly_wrong},
};

/// How long what is counted stays in memory while commits are made.
const SETTLE_EVERY: Duration = Duration::from_secs(600);
/// Days that are kept, by number and not by date: a clock that ran ahead must not have swept the table.
const DAYS_KEPT: i64 = 400;
/// Days that the rate is taken from.
const WINDOW_DAYS: i64 = 30;
/// Less than this says nothing about a year.
const WINDOW_MIN: Duration = Duration::from_secs(3600);
/// The row of what was counted while the clock was plainly wrong. It joins a day as soon as one is known.
const UNDATED: i64 = 0;

const DAY_MS: i64 = 86_400_000;

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Bytes written to the disk; `None` where the kernel does not count them.
    pub written_bytes: Option<i64>,
    /// Deliveries stored.
    pub deliveries: i64,
    /// The bytes of their bodies, as they were sent.
    pub payload_bytes: i64,
}

/// What is known about the card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flash {
    /// Since midnight (UTC).
    pub today: Counted,
    /// Within the last thirty days, today included.
    pub lately: Counted,
    /// Since when that was counted.
    pub since: Timestamp,
    /// Until when.
    pub until: Timestamp,
}

impl Flash {
    /// What a year like [`Flash::lately`] comes to; `None` when that is not known, or shorter than an hour.
    pub fn bytes_a_year(&self) -> Option<f64> {
        const YEAR_S: f64 = 365.0 * 86_400.0;
        let counted = self.until.since(self.since);
        let written = self.lately.written_bytes?;
        (counted >= WINDOW_MIN).then(|| written as f64 * YEAR_S / counted.as_secs_f64())
    }
}

#[derive(Default)]
struct State {
    deliveries: i64,
    payload_bytes: i64,
    /// The kernel's count that has been written down.
    written: Option<i64>,
    settled: Option<Instant>,
}

/// What this process has counted and not yet written down.
pub(super) struct Meter {
    clock: Arc<dyn Clock>,
    newest: Timestamp,
    state: Mutex<State>,
}

impl Meter {
    /// Counts from now on. `newest` is a moment that has been.
    pub(super) fn new(clock: Arc<dyn Clock>, newest: Timestamp, written: Option<i64>) -> Meter {
        Meter { clock, newest, state: Mutex::new(State { written, ..State::default() }) }
    }

    /// One more delivery is stored.
    pub(super) fn count(&self, payload_bytes: usize) {
        let mut state = lock(&self.state);
        state.deliveries += 1;
        state.payload_bytes += i64::try_from(payload_bytes).unwrap_or(i64::MAX);
    }

    pub(super) fn unsettled(&self) -> Counted {
        let written = written();
        let state = lock(&self.state);
        Counted {
            written_bytes: written.map(|written| written - state.written.unwrap_or(0)),
            deliveries: state.deliveries,
            payload_bytes: state.payload_bytes,
        }
    }

    /// What is to be written down with the commit that is being made; `None` when it was done not long ago.
    pub(super) fn due(&self) -> Option<Counted> {
        let settled = lock(&self.state).settled;
        settled.is_none_or(|settled| settled.elapsed() >= SETTLE_EVERY).then(|| self.unsettled())
    }

    /// Writes it down inside the caller's transaction, and says whether it could. Only a count: when it cannot be written, that
    /// fails nobody's delivery.
    pub(super) fn write(&self, connection: &Connection, counted: &Counted, now: Timestamp) -> bool {
        let day = if is_plainly_wrong(now, self.newest) { UNDATED } else { day_of(now) };
        let added = add(connection, counted, day, now);
        if let Err(error) = &added {
            log::warn!("cannot keep the count of written bytes: {error}");
        }
        added.is_ok()
    }

    /// It is committed.
    pub(super) fn settle(&self, counted: &Counted) {
        let mut state = lock(&self.state);
        state.deliveries -= counted.deliveries;
        state.payload_bytes -= counted.payload_bytes;
        state.written = counted.written_bytes.map(|written| state.written.unwrap_or(0) + written);
        state.settled = Some(Instant::now());
    }

    /// The last that this process writes down, in a commit of its own.
    pub(super) fn settle_at_end(&self, connection: &Connection) {
        let counted = self.unsettled();
        if let Err(error) = connection.busy_timeout(BUSY_TIMEOUT) {
            log::debug!("what was counted last is lost when somebody writes just now: {error}");
        }
        self.write(connection, &counted, self.clock.wall());
    }
}

/// What the kernel has counted for this process.
#[cfg(target_os = "linux")]
pub fn written() -> Option<i64> {
    let text = std::fs::read_to_string("/proc/self/io").ok()?;
    let field = |name: &str| -> Option<i64> {
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")?.parse().ok())
    };
    // Pages that another process had made dirty may be dropped by us: then this is negative, and the sum of both is right.
    Some(field("write_bytes")? - field("cancelled_write_bytes")?)
}

/// Elsewhere nobody counts.
#[cfg(not(target_os = "linux"))]
pub fn written() -> Option<i64> {
    None
}

fn day_of(moment: Timestamp) -> i64 {
    moment.ms().div_euclid(DAY_MS)
}

/// Adds to a day. A step of the clock moves no rows: what was counted while it was wrong by less than plainly stays with
/// the day that it showed. What has no date joins this day, and so does what a clock that ran ahead has put into the
/// future.
fn add(connection: &Connection, counted: &Counted, day: i64, now: Timestamp) -> rusqlite::Result<()> {
    const SUM: &str = "ON CONFLICT (day) DO UPDATE SET
        from_ms = min(from_ms, excluded.from_ms), deliveries = deliveries + excluded.deliveries,
        payload_bytes = payload_bytes + excluded.payload_bytes,
        written_bytes = coalesce(written_bytes + excluded.written_bytes, written_bytes, excluded.written_bytes)";
    let Counted { written_bytes, deliveries, payload_bytes } = counted;
    connection.prepare_cached(&format!("INSERT INTO flash VALUES (?1, ?2, ?3, ?4, ?5) {SUM}"))?.execute(params![
        day,
        now.ms(),
        written_bytes,
        deliveries,
        payload_bytes
    ])?;
    if day == UNDATED {
        return Ok(());
    }
    const ASTRAY: &str = "day = 0 OR day > ?1 + 1";
    connection
        .prepare_cached(&format!(
            "INSERT INTO flash SELECT ?1, ?2, sum(written_bytes), sum(deliveries), sum(payload_bytes) FROM flash
             WHERE {ASTRAY} HAVING count(*) > 0 {SUM}"
        ))?
        .execute([day, now.ms()])?;
    connection
        .prepare_cached(&format!(
            "DELETE FROM flash
             WHERE {ASTRAY} OR day <= (SELECT day FROM flash ORDER BY day DESC LIMIT 1 OFFSET {DAYS_KEPT})"
        ))?
        .execute([day])
        .map(|_| ())
}

/// Takes the count along into another file on the same card; what that one says is of the card it comes from. Nothing is
/// taken from a file that has no count, or cannot be read.
pub(super) fn carry_over(from: Option<&Connection>, to: &Connection) -> rusqlite::Result<()> {
    let rows = |from: &Connection| -> rusqlite::Result<Vec<[Value; 5]>> {
        let mut statement = from.prepare("SELECT day, from_ms, written_bytes, deliveries, payload_bytes FROM flash")?;
        let value = |row: &Row<'_>| Ok([row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?]);
        statement.query_map([], value)?.collect()
    };
    let kept = from.and_then(|from| rows(from).ok()).unwrap_or_default();
    to.execute("DELETE FROM flash", [])?;
    for row in kept {
        to.execute("INSERT INTO flash VALUES (?1, ?2, ?3, ?4, ?5)", row)?;
    }
    Ok(())
}

impl Store {
    /// What this process has counted and not yet written down.
    pub fn unsettled(&self) -> Counted {
        self.meter.unsettled()
    }
}

impl Reader {
    /// What was written to the card. `unsettled` is what a running process has not yet written down.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn flash(&self, now: Timestamp, unsettled: Counted) -> Result<Flash, StoreError> {
        let attempt = StoreError::database("read what was written to the card");
        let today = day_of(now);
        let sum = |from: i64| {
            self.connection().query_row(
                "SELECT sum(written_bytes), coalesce(sum(deliveries), 0), coalesce(sum(payload_bytes), 0) FROM flash
                 WHERE day = 0 OR day >= ?1",
                [from],
                |row| {
                    let written: Option<i64> = row.get(0)?;
                    Ok(Counted {
                        written_bytes: match (written, unsettled.written_bytes) {
                            (None, None) => None,
                            (kept, more) => Some(kept.unwrap_or(0).saturating_add(more.unwrap_or(0)).max(0)),
                        },
                        deliveries: row.get::<_, i64>(1)? + unsettled.deliveries,
                        payload_bytes: row.get::<_, i64>(2)? + unsettled.payload_bytes,
                    })
                },
            )
        };
        let begin = today - WINDOW_DAYS + 1;
        // Days without a row count, too: nothing was written then. Only before the first row nobody counted.
        let first_ms: Option<i64> = self
            .connection()
            .query_row("SELECT min(from_ms) FROM flash WHERE day > 0", [], |row| row.get(0))
            .map_err(&attempt)?;
        Ok(Flash {
            today: sum(today).map_err(&attempt)?,
            lately: sum(begin).map_err(&attempt)?,
            since: Timestamp::from_ms(first_ms.unwrap_or(now.ms()).max(begin * DAY_MS)),
            until: now,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(written_bytes: Option<i64>, deliveries: i64) -> Counted {
        Counted { written_bytes, deliveries, payload_bytes: deliveries * 1000 }
    }

    #[test]
    fn a_year_is_taken_from_what_was_counted_and_from_no_less_than_an_hour() {
        let day = |hours: i64| Flash {
            today: Counted::default(),
            lately: counted(Some(24_000), 1),
            since: Timestamp::from_ms(0),
            until: Timestamp::from_ms(hours * 3_600_000),
        };
        assert_eq!(day(24).bytes_a_year(), Some(24_000.0 * 365.0));
        assert_eq!(day(0).bytes_a_year(), None);
        assert_eq!(Flash { lately: counted(None, 1), ..day(24) }.bytes_a_year(), None);
    }

    #[test]
    fn days_add_up_and_none_is_left_in_1970_or_in_the_future() {
        let database = Connection::open_in_memory().unwrap();
        database.execute_batch(include_str!("flash.sql")).unwrap();
        let add = |written, day: i64| {
            add(&database, &counted(written, 1), day, Timestamp::from_ms(day * DAY_MS + 5)).unwrap();
        };
        let rows = || -> Vec<(i64, Option<i64>, i64)> {
            let mut statement =
                database.prepare("SELECT day, written_bytes, deliveries FROM flash ORDER BY day").unwrap();
            let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
            rows.map(Result::unwrap).collect()
        };
        add(Some(10), UNDATED);
        add(None, 20_000);
        add(Some(1), 20_000);
        assert_eq!(rows(), [(20_000, Some(11), 3)]);
        // Somebody sets the clock to another century, and back.
        add(Some(100), 60_000);
        add(Some(5), UNDATED);
        assert_eq!(rows(), [(UNDATED, Some(5), 1), (20_000, Some(11), 3), (60_000, Some(100), 1)]);
        add(Some(1), 20_001);
        assert_eq!(rows(), [(20_000, Some(11), 3), (20_001, Some(106), 3)]);
        add(Some(1), 20_002);
        add(Some(1), 20_001);
        assert_eq!(
            rows()[1..],
            [(20_001, Some(107), 4), (20_002, Some(1), 1)],
            "midnight, and a clock a little behind"
        );
        (20_003..20_500).for_each(|day| add(None, day));
        let left = rows();
        assert_eq!((left.len() as i64, left[0].0), (DAYS_KEPT, 20_500 - DAYS_KEPT));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_kernel_counts_what_is_written() {
        let directory = tempfile::tempdir().unwrap();
        let Some(before) = written() else {
            println!("skipped: this kernel does not count what a process writes");
            return;
        };
        let file = directory.path().join("file");
        std::fs::write(&file, vec![1; 1 << 20]).unwrap();
        std::fs::File::open(&file).unwrap().sync_all().unwrap();
        let counted = written().unwrap() - before;
        if counted == 0 {
            println!("skipped: temporary files are in memory here");
            return;
        }
        assert!(counted >= 1 << 20, "{counted}");
    }
}
