//! Deliveries of another database come into this one: of one that was set aside because it is damaged, above all. Owns what of
//! it can be read, and which delivery is held already; refuses to change the other file.
//!
//! Each row is read by itself, from one id to the next, because a damaged page takes only what stands on it: what cannot be
//! read is passed over id by id. A body has to be what its SHA-256 says. What was done with there is done with here; all else is
//! routed anew, as what was sent when the other one received it, so that nothing newer is overtaken by it on the desk.

use std::{fmt::Write, os::unix::ffi::OsStrExt, path::Path};

use rusqlite::{
    Connection, OpenFlags, Row, params_from_iter,
    types::{Value, ValueRef},
};

use super::{
    Status, Store, StoreError, beside, body, migrate,
    writer::{Class, Durability, Terms},
};
use crate::provider;

/// Deliveries in one transaction, so that the door never waits long for the writer.
const BATCH_ROWS: usize = 100;
/// And bytes; one delivery alone may be larger.
const BATCH_BYTES: usize = 1024 * 1024;
/// So many ids in a row that cannot be read are the end, where a damaged page says that there are more.
const UNREADABLE_IDS_MAX: i64 = 1_000_000;

/// A column: what it may hold (`t`, `i`, `b`; capital where it may be empty), and what stands for it where an older version does
/// not have it.
type Column = (&'static str, u8, &'static str);

/// Of `delivery`, in the order of [`INSERT`]'s parameters.
const DELIVERY: [Column; 15] = [
    ("source", b't', ""),
    ("delivery_id", b'T', ""),
    ("body_hash", b'i', ""),
    ("received_ms", b'i', ""),
    ("status", b't', ""),
    ("processed_ms", b'I', ""),
    ("origin", b't', "'webhook'"),
    ("sent_ms", b'I', "NULL"),
    ("provider", b't', ""),
    ("event_type", b't', ""),
    ("peer", b't', ""),
    ("verified_by", b'i', ""),
    ("notes", b't', ""),
    ("handled_by", b'T', "NULL"),
    ("durable_us", b'I', "NULL"),
];
/// Where two of them stand there.
const STATUS: usize = 4;
const PROCESSED: usize = 5;

/// Of `body`, in the order of [`INSERT_BODY`]'s parameters, and as they stand in a row: whoever skips a large value asks the
/// pages that say which page follows which, and those may be damaged where the value is not.
const BODY: [Column; 6] = [
    ("sha256", b'b', ""),
    ("headers", b't', ""),
    ("raw_bytes", b'i', ""),
    ("codec", b't', ""),
    ("bytes", b'b', ""),
    ("target", b't', "''"),
];

/// Stores one that is not held: by its identity; where one of the two did not come by itself, by its id alone; without an id, by
/// its body and the moment. ?16: whether it is done with, ?17: what is noted.
const INSERT: &str =
    "INSERT INTO delivery (source, delivery_id, body_hash, received_ms, status, processed_ms, stage, origin, sent_ms, provider,
                           event_type, peer, verified_by, notes, handled_by, durable_us)
     SELECT ?1, ?2, ?3, ?4, iif(?16, ?5, 'unprocessed'), iif(?16, ?6, NULL), iif(?16, 'routed', 'new'), ?7,
            iif(?16, ?8, coalesce(?8, ?4)), ?9, ?10, ?11, ?12,
            iif(json_valid(?13), json_insert(?13, '$[#]', ?17), json_array(?17)), ?14, ?15
     WHERE NOT EXISTS (SELECT 1 FROM delivery WHERE source = ?1 AND delivery_id = ?2
                       AND (body_hash = ?3 OR origin <> 'webhook' OR ?7 <> 'webhook'))
       AND NOT (?2 IS NULL AND EXISTS (
           SELECT 1 FROM delivery INDEXED BY delivery_body
           WHERE received_ms / 3600000 = ?4 / 3600000 AND body_hash = ?3
             AND source = ?1 AND delivery_id IS NULL AND received_ms = ?4))";
/// ?7: the delivery.
const INSERT_BODY: &str = "INSERT INTO body (sha256, headers, raw_bytes, codec, bytes, target, delivery)
                           VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";

/// What came in from another database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Deliveries that could be read there.
    pub read: u64,
    /// Of those, stored now.
    pub stored: u64,
    /// Of those, not done with there: they are routed now.
    pub to_route: u64,
    /// The ids there that cannot be read, from and to; there need not have been a delivery of each.
    pub unreadable: Vec<(i64, i64)>,
}

/// A delivery as it stands in another database.
struct Found {
    delivery: Vec<Value>,
    body: Vec<Value>,
    bytes: usize,
    is_settled: bool,
}

/// Another database.
struct Other {
    connection: Connection,
    next_delivery: String,
    its_body: String,
    /// The last id that was looked at.
    last: i64,
    /// No id is larger.
    end: i64,
    unreadable: Vec<(i64, i64)>,
}

impl Store {
    /// Stores the deliveries of another database that this one does not hold, in several transactions; `each` is called after
    /// each of them. What was stored before an error stays, and the next call goes on with the rest.
    ///
    /// # Errors
    /// When nothing of the other can be read, it is of a newer version, or this one cannot be written.
    pub fn import(&self, file: &Path, each: &dyn Fn()) -> Result<Imported, StoreError> {
        let mut other = Other::open(file)?;
        let note = format!("imported from {}", file.file_name().unwrap_or_default().to_string_lossy());
        let mut imported = Imported::default();
        loop {
            let (batch, bytes) = other.batch();
            if batch.is_empty() {
                break;
            }
            self.check_room()?;
            imported.read += batch.len() as u64;
            let note = note.clone();
            let terms = Terms { class: Class::Settle, durability: Durability::Full, bytes, deadline: None };
            let ticket = self.submit(terms, move |connection, _| {
                let (mut stored, mut to_route) = (0, 0);
                for found in &batch {
                    let is_new = store(connection, found, &note)?;
                    stored += u64::from(is_new);
                    to_route += u64::from(is_new && !found.is_settled);
                }
                Ok((stored, to_route))
            })?;
            let (stored, to_route) = ticket.wait_for_ever()?;
            imported.stored += stored;
            imported.to_route += to_route;
            each();
        }
        imported.unreadable = other.unreadable;
        Ok(imported)
    }
}

/// Says whether it was not held.
fn store(connection: &Connection, found: &Found, note: &str) -> rusqlite::Result<bool> {
    let more = [Value::from(found.is_settled), Value::from(note.to_owned())];
    let is_new = connection.prepare_cached(INSERT)?.execute(params_from_iter(found.delivery.iter().chain(&more)))? > 0;
    if is_new {
        let id = [Value::from(connection.last_insert_rowid())];
        connection.prepare_cached(INSERT_BODY)?.execute(params_from_iter(found.body.iter().chain(&id)))?;
    }
    Ok(is_new)
}

impl Other {
    fn open(file: &Path) -> Result<Other, StoreError> {
        let failed = |why: String| StoreError::Copy { what: format!("cannot read {}: {why}", file.display()) };
        let opened = open(file).map_err(|error| failed(error.to_string()))?;
        let prepare = |connection: &Connection| -> rusqlite::Result<(i64, String, String, i64)> {
            connection.busy_timeout(super::connection::BUSY_TIMEOUT)?;
            connection.pragma_update(None, "trusted_schema", false)?;
            // A page is looked at before it is believed, and what is wrong with one part of the schema, or with the file's
            // length, keeps nobody from the rest.
            connection.pragma_update(None, "cell_size_check", true)?;
            connection.pragma_update(None, "writable_schema", true)?;
            let version = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
            let of_delivery = select(connection, "delivery", &DELIVERY)?;
            let of_body = select(connection, "body", &BODY)?;
            // By either table, in case that the other's last page is damaged.
            let last = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).ok();
            let sql = ["SELECT coalesce(max(id), 0) FROM delivery", "SELECT coalesce(max(delivery), 0) FROM body"];
            let end = sql.into_iter().filter_map(last).max().unwrap_or(i64::MAX);
            Ok((version, of_delivery, of_body, end))
        };
        let (version, of_delivery, of_body, end) = prepare(&opened)
            .map_err(|cause| failed(format!("{cause}; its first pages, which say where all stands, are gone")))?;
        if version > migrate::VERSION {
            return Err(migrate::newer(version, file));
        }
        Ok(Other {
            connection: opened,
            next_delivery: format!("{of_delivery} WHERE id > ?1 ORDER BY id LIMIT 1"),
            its_body: format!("{of_body} WHERE delivery = ?1"),
            last: 0,
            end,
            unreadable: Vec::new(),
        })
    }

    /// The next of those that can be read, and roughly their bytes; empty at the end.
    fn batch(&mut self) -> (Vec<Found>, usize) {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while batch.len() < BATCH_ROWS
            && bytes < BATCH_BYTES
            && let Some(found) = self.next()
        {
            bytes += found.bytes;
            batch.push(found);
        }
        (batch, bytes)
    }

    /// The next that can be read.
    fn next(&mut self) -> Option<Found> {
        // Each round has a larger id than the one before, and there is a largest.
        loop {
            let (id, delivery) = match self.row(&self.next_delivery, self.last, &DELIVERY) {
                Ok(None) => {
                    if self.last < self.end && self.end < i64::MAX {
                        self.pass_over(self.last + 1, self.end);
                    }
                    return None;
                }
                Ok(Some((id, delivery))) if id > self.last && id <= self.end => (id, delivery),
                _ => (self.last.saturating_add(1), None),
            };
            if id > self.end || self.passed_over() > UNREADABLE_IDS_MAX {
                return None;
            }
            self.last = id;
            let found = delivery.and_then(|delivery| {
                let (_, body) = self.row(&self.its_body, id, &BODY).ok()??;
                Found::whole(delivery, body?)
            });
            match found {
                Some(found) => return Some(found),
                None => self.pass_over(id, id),
            }
        }
    }

    /// How many ids in a row, up to the last.
    fn passed_over(&self) -> i64 {
        self.unreadable.last().map_or(0, |(from, to)| if *to == self.last { to - from } else { 0 })
    }

    fn pass_over(&mut self, first: i64, last: i64) {
        match self.unreadable.last_mut() {
            Some((_, to)) if *to + 1 == first => *to = last,
            _ => self.unreadable.push((first, last)),
        }
    }

    /// The row that this finds, by its id; the values only where all are what they have to be.
    fn row(&self, sql: &str, id: i64, columns: &[Column]) -> rusqlite::Result<Option<(i64, Option<Vec<Value>>)>> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query([id])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        Ok(Some((row.get(0)?, values(row, columns))))
    }
}

impl Found {
    /// Where it is what was proven, and can be read by the router.
    fn whole(delivery: Vec<Value>, body: Vec<Value>) -> Option<Found> {
        let [Value::Blob(sha256), Value::Text(headers), _, Value::Text(codec), Value::Blob(bytes), _] = &body[..]
        else {
            return None;
        };
        let raw = body::unpack(codec, bytes).ok()?;
        body::headers_from_json(headers).ok()?;
        let length = bytes.len() + headers.len() + 512;
        let is_whole = provider::body_sha256(&raw)[..] == sha256[..];
        let settled = [Status::Processed, Status::Skipped, Status::DeadLetter];
        // One that was given up may be owed to another sink: when it was done with says that it is not.
        let is_settled = matches!(&delivery[STATUS], Value::Text(name) if settled.iter().any(|status| status.name() == name))
            && delivery[PROCESSED] != Value::Null;
        is_whole.then_some(Found { delivery, body, bytes: length, is_settled })
    }
}

fn values(row: &Row<'_>, columns: &[Column]) -> Option<Vec<Value>> {
    let mut values = Vec::with_capacity(columns.len());
    for (index, (_, holds, _)) in columns.iter().enumerate() {
        values.push(match (row.get_ref(index + 1).ok()?, holds) {
            (ValueRef::Null, b'T' | b'I') => Value::Null,
            (ValueRef::Integer(number), b'i' | b'I') => Value::Integer(number),
            (ValueRef::Text(text), b't' | b'T') => Value::Text(std::str::from_utf8(text).ok()?.to_owned()),
            (ValueRef::Blob(bytes), b'b') => Value::Blob(bytes.to_owned()),
            _ => return None,
        });
    }
    Some(values)
}

/// Selects a row's id and these columns.
fn select(connection: &Connection, table: &str, columns: &[Column]) -> rusqlite::Result<String> {
    let sql = "SELECT name FROM pragma_table_info(?1)";
    let there: Vec<String> =
        connection.prepare(sql)?.query_map([table], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    let mut sql = "SELECT rowid".to_owned();
    for (name, _, absent) in columns {
        sql.push_str(", ");
        let is_there = absent.is_empty() || there.iter().any(|there| there == name);
        sql.push_str(if is_there { name } else { absent });
    }
    sql.push_str(" FROM ");
    sql.push_str(table);
    // What is no table of ours says so here.
    connection.prepare(&sql)?;
    Ok(sql)
}

/// For reading alone: also a log beside it stays as it is. Without one nobody has the file open, and no file is made beside it.
fn open(file: &Path) -> Result<Connection, Box<dyn std::error::Error>> {
    let file = file.canonicalize()?;
    let mut uri = "file:".to_owned();
    for byte in file.as_os_str().as_bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' => uri.push(char::from(*byte)),
            byte if byte.is_ascii_alphanumeric() => uri.push(char::from(*byte)),
            byte => write!(uri, "%{byte:02x}")?,
        }
    }
    if !beside(&file, "-wal").metadata().is_ok_and(|log| log.len() > 0) {
        uri.push_str("?immutable=1");
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    Ok(Connection::open_with_flags(uri, flags)?)
}
