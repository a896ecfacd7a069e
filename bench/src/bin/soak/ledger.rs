//! Which deliveries the database was seen to hold, also those that were pruned since, and what was lost of what was promised.
//! Refuses to know who promised it.

use std::{
    collections::{HashMap, HashSet},
    io,
    path::PathBuf,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use hookbell_bench::{finding, sender};
use rusqlite::{Connection, OpenFlags};

use crate::traffic::Promise;

const PATIENCE: Duration = Duration::from_secs(10);
/// Which rows are read at a time.
const ROWS_MAX: i64 = 5000;

#[derive(Debug, Default)]
struct Seen {
    last: i64,
    lowest: i64,
    /// The source and the hash of each body.
    bodies: HashSet<(String, [u8; 32])>,
    /// The place in the order of acceptance, by the sender's id.
    ranks: HashMap<String, u64>,
}

/// Reads on, again and again.
#[derive(Debug)]
pub(crate) struct Ledger {
    database: PathBuf,
    seen: Mutex<Seen>,
}

impl Ledger {
    pub(crate) fn new(database: PathBuf) -> Ledger {
        Ledger { database, seen: Mutex::default() }
    }

    /// Notes what came since it was read last.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub(crate) fn read_on(&self) -> io::Result<()> {
        self.try_read_on().map_err(io::Error::other)
    }

    fn try_read_on(&self) -> rusqlite::Result<()> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        // One that only reads moves nothing from the log into the file: what a crash has left stays as it is.
        let database = Connection::open_with_flags(&self.database, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        database.busy_timeout(PATIENCE)?;
        let mut rows = database.prepare(
            "SELECT delivery.id, source, coalesce(delivery_id, ''), sha256 FROM delivery \
             JOIN body ON body.delivery = delivery.id WHERE delivery.id > ?1 ORDER BY delivery.id LIMIT ?2",
        )?;
        loop {
            let found: Vec<(i64, String, String, [u8; 32])> = rows
                .query_map((seen.last, ROWS_MAX), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?
                .collect::<rusqlite::Result<_>>()?;
            let count = found.len() as i64;
            for (id, source, delivery_id, sha256) in found {
                seen.last = id;
                seen.bodies.insert((source, sha256));
                // What was sent again under its id is no other delivery.
                seen.ranks.entry(delivery_id).or_insert(id.unsigned_abs());
            }
            if count < ROWS_MAX {
                break;
            }
        }
        seen.lowest = database.query_row("SELECT coalesce(min(id), 0) FROM delivery", [], |row| row.get(0))?;
        Ok(())
    }

    /// How many deliveries were stored, and how many of them are gone by now.
    pub(crate) fn stored_and_pruned(&self) -> (usize, i64) {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        (seen.bodies.len(), seen.lowest.saturating_sub(1).max(0))
    }

    /// What was promised and is in no row that was ever seen, or was not told though it had to be; `told` is every text that
    /// Slack has acknowledged. A marked one that Slack was told is not lost, also when its row was pruned unseen.
    pub(crate) fn lost(&self, promised: &[Promise], told: &[String]) -> Vec<String> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let marks: HashSet<String> = told
            .iter()
            .flat_map(|text| sender::marks(text))
            .map(|(name, number)| sender::mark(&name, number))
            .collect();
        let is_stored = |promise: &Promise| seen.bodies.contains(&(promise.source.to_owned(), promise.sha256));
        let id = |mark: &str| mark.trim_start_matches("mark-").to_owned();
        let why = |promise: &Promise| match &promise.mark {
            Some(mark) if !marks.contains(mark) => Some(format!("{mark} never reached Slack")),
            Some(mark) if !is_stored(promise) && seen.ranks.contains_key(&id(mark)) => {
                Some(format!("{mark} was stored with other bytes"))
            }
            Some(_) => None,
            None if is_stored(promise) => None,
            None => Some(format!("{} of {} was never in the database", hex(&promise.sha256), promise.source)),
        };
        let mut lost: Vec<String> = promised.iter().filter_map(why).collect();
        // What was sent again was promised again.
        lost.sort_unstable();
        lost.dedup();
        lost
    }

    /// How many marked ones were promised whose row was never seen with these bytes: pruned in between, or changed.
    pub(crate) fn unseen(&self, promised: &[Promise]) -> usize {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let is_unseen = |promise: &&Promise| !seen.bodies.contains(&(promise.source.to_owned(), promise.sha256));
        promised.iter().filter(is_unseen).count()
    }

    /// Messages that came later than those of their subject that were accepted after them. `told` in order.
    pub(crate) fn out_of_order(&self, told: &[String]) -> Vec<String> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let marks = told.iter().flat_map(|text| sender::marks(text));
        let ranked = marks.filter_map(|(name, number)| {
            let rank = *seen.ranks.get(&format!("{name}-{number}"))?;
            // Subjects of pull requests behind those of issues.
            let subject = match name.as_str() {
                "soak-p" => sender::SUBJECTS + number / 3 % sender::SUBJECTS,
                _ => number % sender::SUBJECTS,
            };
            Some((subject, rank))
        });
        finding::out_of_order(&ranked.collect::<Vec<_>>())
    }
}

fn hex(sha256: &[u8; 32]) -> String {
    sha256.iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger() -> (tempfile::TempDir, Ledger) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("test.db");
        let database = Connection::open(&path).unwrap();
        database
            .execute_batch(
                "PRAGMA journal_mode = wal;
                 CREATE TABLE delivery (id INTEGER PRIMARY KEY, source TEXT, delivery_id TEXT);
                 CREATE TABLE body (delivery INTEGER PRIMARY KEY, sha256 BLOB);",
            )
            .unwrap();
        for number in 1..=3_u8 {
            let id = format!("soak-i-{}", u64::from(number) * sender::SUBJECTS);
            database.execute("INSERT INTO delivery VALUES (?1, 'github', ?2)", (number, id)).unwrap();
            database.execute("INSERT INTO body VALUES (?1, ?2)", (number, [number; 32])).unwrap();
        }
        (folder, Ledger::new(path))
    }

    #[test]
    fn what_was_pruned_is_not_lost_and_what_was_never_there_is() {
        let (_folder, ledger) = ledger();
        ledger.read_on().unwrap();
        Connection::open(&ledger.database).unwrap().execute("DELETE FROM delivery WHERE id = 1", []).unwrap();
        ledger.read_on().unwrap();
        assert_eq!(ledger.stored_and_pruned(), (3, 1));
        let promise = |number: u8, mark: Option<&str>| Promise {
            source: "github",
            sha256: [number; 32],
            mark: mark.map(str::to_owned),
        };
        let told = ["*mark-soak-i-8*".to_owned()];
        let promised = [promise(1, Some("mark-soak-i-8")), promise(2, None), promise(9, None), promise(9, None)];
        let lost = ledger.lost(&promised, &told);
        assert!(lost.len() == 1 && lost[0].contains("never in the database"), "{lost:?}");
        let lost = ledger.lost(&[promise(2, Some("mark-soak-i-16"))], &told);
        assert_eq!(lost, ["mark-soak-i-16 never reached Slack"]);
        let lost = ledger.lost(&[promise(7, Some("mark-soak-i-8"))], &told);
        assert_eq!(lost, ["mark-soak-i-8 was stored with other bytes"]);
        assert_eq!(ledger.unseen(&promised), 2);
    }

    #[test]
    fn order_is_that_of_acceptance() {
        let (_folder, ledger) = ledger();
        ledger.read_on().unwrap();
        let told = |numbers: &[u64]| numbers.iter().map(|number| format!("mark-soak-i-{number}")).collect::<Vec<_>>();
        assert!(ledger.out_of_order(&told(&[8, 16, 8, 24])).is_empty());
        assert_eq!(ledger.out_of_order(&told(&[8, 24, 16])).len(), 1);
    }
}
