//! How a connection to the database is opened: every pragma in one place, with its reason.

use std::{fs::File, path::Path, time::Duration};

use rusqlite::{
    Connection, OpenFlags,
    config::DbConfig,
    functions::FunctionFlags,
    hooks::{AuthAction, AuthContext, Authorization},
};

use super::{StoreError, directory_of, migrate, prune, report};

/// How long a connection waits for another process's lock. Shorter than any deadline above it, so that the answer is
/// "the database is locked" and not silence.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(3);

/// The page of a new database. A commit writes each page whole that it has changed, and a delivery changes a few bytes in
/// many, so small ones are what a card lives longest with (the table in `checkpoint`). That several share a block of the card
/// is what the log relies on anyway: its frames are no blocks. A block that the power cut tears holds what was there or what
/// was to be there, which for the neighbours is the same, and the page itself still stands in the log.
pub(super) const PAGE_BYTES: u32 = 1024;

/// Pages that a connection which reads or moves them keeps in memory, as SQLite wants it: KiB, negated. What is asked again is
/// in the system's memory, and there are as many readers as threads that look: at SQLite's own 2 MiB each, what they had looked
/// at would slowly become half of the process.
const READ_CACHE: i32 = -512;

/// The same for the connection that writes. It is enough for a batch of a hundred and more pushes; of a larger one, what has no
/// room goes to the log before its commit. With SQLite's own 2 MiB the process has 1.5 MB more at 128 connections, and gives no
/// more answers.
const WRITE_CACHE: i32 = -768;

/// Opens for writing, creates and migrates when needed.
pub(super) fn writing(path: &Path) -> Result<Connection, StoreError> {
    // Empty is what a crash at its creation leaves.
    let is_new = path.metadata().map_or(true, |file| file.len() == 0);
    let mut connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )
    .map_err(|cause| open_error(path, &cause))?;
    let prepare = |connection: &Connection| -> rusqlite::Result<(String, i64)> {
        connection.busy_timeout(BUSY_TIMEOUT)?;
        if is_new {
            connection.pragma_update(None, "page_size", PAGE_BYTES)?;
            // Writes the first page, so it comes last: pruning gives pages back without a full VACUUM.
            connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
        }
        // Readers never block the writer, and a commit is one sequential append.
        let journal: String = connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
        // The commit that answers 200 must be on the disk: the log is synced at every commit.
        connection.pragma_update(None, "synchronous", "FULL")?;
        // Checkpoints run in a thread of their own, beside the commits.
        connection.pragma_update(None, "wal_autocheckpoint", 0)?;
        // After a burst the log shrinks back instead of keeping its size for ever.
        connection.pragma_update(None, "journal_size_limit", 32 * 1024 * 1024)?;
        // Sorting must not create files on the card.
        connection.pragma_update(None, "temp_store", "MEMORY")?;
        connection.pragma_update(None, "foreign_keys", true)?;
        // A manipulated file must not run functions from its schema.
        connection.pragma_update(None, "trusted_schema", false)?;
        let synchronous: i64 = connection.pragma_query_value(None, "synchronous", |row| row.get(0))?;
        connection.set_prepared_statement_cache_capacity(64);
        // A statement keeps its plan whatever is bound to it. Otherwise SQLite prepares some anew at each use.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        Ok((journal, synchronous))
    };
    let (journal, synchronous) = prepare(&connection).map_err(|cause| open_error(path, &cause))?;
    // Asserted, not trusted: builds and wrappers differ in their defaults, and the whole promise hangs on these two.
    if !journal.eq_ignore_ascii_case("wal") {
        return Err(StoreError::Open {
            path: path.to_owned(),
            why: format!(
                "it does not take a write-ahead log (journal mode is {journal}); put it on a local file system"
            ),
        });
    }
    if synchronous != 2 {
        return Err(StoreError::Open {
            path: path.to_owned(),
            why: format!("it does not sync at every commit (synchronous is {synchronous}, must be 2)"),
        });
    }
    migrate::migrate(&mut connection, path)?;
    connection.pragma_update(None, "cache_size", WRITE_CACHE).map_err(|cause| open_error(path, &cause))?;
    if !prune::shrinks(&connection).map_err(|cause| open_error(path, &cause))? {
        log::warn!(
            "{} was made by another program and never becomes smaller; `hookbell backup` and `restore` make it anew",
            path.display()
        );
    }
    // A process that died between writing the log and syncing it leaves rows that we can read and a power cut can still
    // take. To them we would answer "duplicate", which is a promise. A synced commit makes everything before it durable.
    connection
        .execute(
            "INSERT INTO meta (key, value) VALUES ('opened', hex(randomblob(8)))
             ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            [],
        )
        .map_err(|cause| open_error(path, &cause))?;
    // Unless one of its syncs had failed: then the log may have a hole that no sync fills. What it holds is written to the file,
    // and the next commit begins it anew.
    connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())).map_err(|cause| open_error(path, &cause))?;
    if is_new {
        // The file's name must survive a power cut too, not only its content.
        sync_directory(path)?;
    }
    Ok(connection)
}

/// Opens for checkpoints. It waits for nobody: while it waited for a reader it would hold up the writer.
pub(super) fn checkpointing(path: &Path) -> Result<Connection, StoreError> {
    let connection =
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)
            .map_err(|cause| open_error(path, &cause))?;
    connection.busy_timeout(Duration::ZERO).map_err(|cause| open_error(path, &cause))?;
    connection.pragma_update(None, "cache_size", READ_CACHE).map_err(|cause| open_error(path, &cause))?;
    connection.pragma_update(None, "synchronous", "FULL").map_err(|cause| open_error(path, &cause))?;
    Ok(connection)
}

/// Opens for copying the whole.
pub(super) fn copying(path: &Path) -> Result<Connection, StoreError> {
    let connection = existing(path)?;
    let prepare = || -> rusqlite::Result<()> {
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.pragma_update(None, "temp_store", "MEMORY")?;
        connection.pragma_update(None, "trusted_schema", false)?;
        // Of this connection alone: the copy is as a new one would be.
        connection.pragma_update(None, "page_size", PAGE_BYTES)?;
        if !prune::shrinks(&connection)? {
            connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
        }
        Ok(())
    };
    prepare().map_err(|cause| open_error(path, &cause))?;
    Ok(connection)
}

/// Opens for reading, with the view and the functions that people query with.
pub(super) fn reading(path: &Path) -> Result<Connection, StoreError> {
    let mut connection = existing(path)?;
    let prepare = |connection: &Connection| -> rusqlite::Result<i64> {
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.pragma_update(None, "temp_store", "MEMORY")?;
        connection.pragma_update(None, "trusted_schema", false)?;
        connection.pragma_update(None, "cache_size", READ_CACHE)?;
        connection.set_prepared_statement_cache_capacity(32);
        connection.create_scalar_function(
            "hookbell_text",
            2,
            FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC,
            |context| {
                let codec: String = context.get(0)?;
                let bytes = context.get_raw(1).as_blob().map_err(rusqlite::Error::from)?;
                let raw = super::body::unpack(&codec, bytes)
                    .map_err(|error| rusqlite::Error::UserFunctionError(Box::new(error)))?;
                Ok(String::from_utf8_lossy(&raw).into_owned())
            },
        )?;
        let version = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        connection.execute_batch(report::WEBHOOK_EVENTS_VIEW)?;
        connection.pragma_update(None, "query_only", true)?;
        Ok(version)
    };
    let version = prepare(&connection).map_err(|cause| open_error(path, &cause))?;
    migrate::check_version(version, path)?;
    // From here on this connection changes nothing, whatever is typed into it: `query_only` alone still lets a pragma
    // change the journal and VACUUM write a file.
    connection.authorizer(Some(only_looking)).map_err(|cause| open_error(path, &cause))?;
    Ok(connection)
}

/// Opens a file that is there. Reading wants to write, too: the log's index stands beside it.
fn existing(path: &Path) -> Result<Connection, StoreError> {
    if !path.exists() {
        return Err(StoreError::Open {
            path: path.to_owned(),
            why: "there is no such file; has hookbell run yet, and with this configuration?".to_owned(),
        });
    }
    Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)
        .or_else(|_| {
            Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)
        })
        .map_err(|cause| open_error(path, &cause))
}

fn only_looking(context: AuthContext<'_>) -> Authorization {
    match context.action {
        AuthAction::Select | AuthAction::Read { .. } | AuthAction::Function { .. } | AuthAction::Recursive => {
            Authorization::Allow
        }
        // Several questions about one moment.
        AuthAction::Transaction { .. } => Authorization::Allow,
        // With a value they describe what the value names.
        AuthAction::Pragma {
            pragma_name: "table_info" | "table_xinfo" | "index_list" | "index_info" | "quick_check",
            ..
        }
        | AuthAction::Pragma { pragma_value: None, .. } => Authorization::Allow,
        _ => Authorization::Deny,
    }
}

fn open_error(path: &Path, cause: &rusqlite::Error) -> StoreError {
    use rusqlite::ErrorCode;
    let directory = directory_of(path);
    let why = match cause.sqlite_error_code() {
        Some(ErrorCode::CannotOpen) if !directory.is_dir() => {
            format!("the directory {} does not exist; create it", directory.display())
        }
        Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
            format!("{cause}; the file and its directory must be writable by this user")
        }
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
            let why = format!(
                "{cause}; the file is damaged or not ours: the service sets it aside when it starts and begins a new one; bring \
                 back a backup by `hookbell restore FILE`, or move it aside yourself"
            );
            return StoreError::Damaged { path: path.to_owned(), why };
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            format!("{cause}; another program holds it")
        }
        _ => cause.to_string(),
    };
    StoreError::Open { path: path.to_owned(), why }
}

fn sync_directory(path: &Path) -> Result<(), StoreError> {
    let directory = directory_of(path);
    File::open(directory).and_then(|handle| handle.sync_all()).map_err(|cause| StoreError::Open {
        path: path.to_owned(),
        why: format!("its directory {} cannot be synced: {cause}", directory.display()),
    })
}
