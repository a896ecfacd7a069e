//! The schema's history, by `user_version`. Append-only: a migration that was released is never edited.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

use super::StoreError;

/// Migration N brings version N to N + 1.
const MIGRATIONS: &[&str] = &[
    include_str!("schema.sql"),
    include_str!("recent_bodies.sql"),
    include_str!("every_provider.sql"),
    include_str!("outage.sql"),
    include_str!("way_out.sql"),
    include_str!("latch.sql"),
    include_str!("flash.sql"),
    include_str!("pulled.sql"),
];

/// The version that this program reads and writes.
pub(super) const VERSION: i64 = MIGRATIONS.len() as i64;

/// Brings the database to [`VERSION`], each step in one transaction with its version number.
pub(super) fn migrate(connection: &mut Connection, path: &Path) -> Result<(), StoreError> {
    let attempt = StoreError::database("migrate the database");
    loop {
        // Taken before looking: two processes that start together must not both migrate.
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(&attempt)?;
        let version: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(&attempt)?;
        if version == VERSION {
            return Ok(());
        }
        let sql = usize::try_from(version)
            .ok()
            .and_then(|version| MIGRATIONS.get(version))
            .ok_or_else(|| newer(version, path))?;
        transaction.execute_batch(sql).map_err(&attempt)?;
        transaction.pragma_update(None, "user_version", version + 1).map_err(&attempt)?;
        transaction.commit().map_err(&attempt)?;
    }
}

/// Refuses a file of another version, for those who only read.
pub(super) fn check_version(version: i64, path: &Path) -> Result<(), StoreError> {
    match version {
        VERSION => Ok(()),
        0..VERSION => Err(StoreError::Open {
            path: path.to_owned(),
            why: format!(
                "its schema is version {version} and this program's is {VERSION}; start `hookbell run` once to migrate it"
            ),
        }),
        _ => Err(newer(version, path)),
    }
}

/// Refuses a file that is not ours, or that a newer program has written.
pub(super) fn check_not_newer(version: i64, path: &Path) -> Result<(), StoreError> {
    match version {
        1..=VERSION => Ok(()),
        0 => Err(StoreError::Open { path: path.to_owned(), why: "it is not a database of hookbell".to_owned() }),
        _ => Err(newer(version, path)),
    }
}

pub(super) fn newer(version: i64, path: &Path) -> StoreError {
    StoreError::Open {
        path: path.to_owned(),
        why: format!(
            "its schema is version {version} and this program knows up to {VERSION}; \
             it was written by a newer hookbell: install that one"
        ),
    }
}
