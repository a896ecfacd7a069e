//! Which of a source's secrets has proven what came, and with which header: for whoever changes a secret and has to know
//! who still signs with the old one. Refuses to know what a header means.

use std::collections::BTreeMap;

use rusqlite::{OptionalExtension, params};

use super::{Reader, StoreError, body};
use crate::{headers::Headers, provider::Origin, time::Timestamp};

/// Read at once.
const BATCH: u32 = 1000;

/// A delivery that came by itself.
#[derive(Clone, Debug)]
pub struct Proven {
    /// Its number here; what came later has a higher one.
    pub id: i64,
    /// Which of the source's secrets, from 1, in the order of that time.
    pub verified_by: i64,
    /// When it came.
    pub received_at: Timestamp,
    /// With what.
    pub headers: Headers,
    /// The repository that it tells of, where it does.
    pub repository: Option<String>,
}

impl Reader {
    /// The number of the newest delivery; 0 where there is none.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn newest_id(&self) -> Result<i64, StoreError> {
        let found = self.connection().query_row("SELECT coalesce(max(id), 0) FROM delivery", [], |row| row.get(0));
        found.map_err(StoreError::database("look for the newest delivery"))
    }

    /// The delivery that the sender calls by this id: its number, and which secret has proven it, 0 where none has.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn held_as(&self, source: &str, delivery_id: &str) -> Result<Option<(i64, i64)>, StoreError> {
        let sql =
            "SELECT id, verified_by FROM delivery WHERE source = ?1 AND delivery_id = ?2 ORDER BY id DESC LIMIT 1";
        let found = self.connection().query_row(sql, [source, delivery_id], |row| Ok((row.get(0)?, row.get(1)?)));
        found.optional().map_err(StoreError::database("look for a delivery"))
    }

    /// Who has delivered to this source, told apart by this header, with the last delivery of each. The newest `limit` of the
    /// source are looked at, however many others have.
    ///
    /// # Errors
    /// When the database cannot be read, or a row is damaged.
    pub fn callers(&self, source: &str, header: &str, limit: u32) -> Result<BTreeMap<String, Proven>, StoreError> {
        // The plus keeps SQLite from sorting all that the source has: it walks back from the newest.
        let sql = "SELECT id FROM delivery WHERE +source = ?1 AND origin = ?2 ORDER BY id DESC LIMIT 1 OFFSET ?3";
        let first = self.connection().query_row(sql, params![source, Origin::Webhook.name(), limit], |row| row.get(0));
        let first = first.optional().map_err(StoreError::database("look who delivers"))?;
        let (mut after, mut callers): (i64, BTreeMap<String, Proven>) = (first.unwrap_or(0), BTreeMap::new());
        loop {
            let found = self.proven_after(source, after, BATCH)?;
            let Some(last) = found.last() else { return Ok(callers) };
            after = last.id;
            for mut row in found {
                let Some(caller) = row.headers.text(header).map(str::to_owned) else { continue };
                let before = callers.remove(&caller).and_then(|before| before.repository);
                row.repository = row.repository.or(before);
                callers.insert(caller, row);
            }
        }
    }

    /// What has come by itself after the delivery of this number, oldest first.
    ///
    /// # Errors
    /// When the database cannot be read, or a row is damaged.
    pub fn proven_after(&self, source: &str, after: i64, limit: u32) -> Result<Vec<Proven>, StoreError> {
        let attempt = StoreError::database("look who signs with which secret");
        let sql = "SELECT delivery.id, verified_by, received_ms, headers,
                       (SELECT repository FROM event WHERE event.delivery = delivery.id AND repository <> '' LIMIT 1)
                   FROM delivery JOIN body ON body.delivery = delivery.id
                   WHERE delivery.id > ?1 AND source = ?2 AND origin = ?3 ORDER BY delivery.id LIMIT ?4";
        let mut statement = self.connection().prepare_cached(sql).map_err(&attempt)?;
        let rows = statement
            .query_map(params![after, source, Origin::Webhook.name(), limit], |row| {
                let headers: String = row.get(3)?;
                Ok((row.get(0)?, row.get(1)?, Timestamp::from_ms(row.get(2)?), headers, row.get(4)?))
            })
            .map_err(&attempt)?;
        rows.map(|row| {
            let (id, verified_by, received_at, headers, repository) = row.map_err(&attempt)?;
            Ok(Proven { id, verified_by, received_at, headers: body::headers_from_json(&headers)?, repository })
        })
        .collect()
    }
}
