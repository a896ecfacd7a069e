//! A copy of the database as one file, made while the service runs. Owns what a copy has to be; refuses to leave half of one
//! under its name.
//!
//! `VACUUM INTO` reads one moment of the database, so that the copy is whole whatever is written meanwhile, and packs it.
//! While it reads, the log keeps what comes in: it grows by that, and when the disk has less than `free_min` left because of
//! it the copy is given up, not the service.

use std::{
    fs::{self, File},
    io::ErrorKind,
    os::unix::fs::MetadataExt,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use rusqlite::{Connection, OpenFlags};
use rustix::fs::{FlockOperation, flock};
use tempfile::NamedTempFile;

use super::{StoreError, beside, connection, directory_of, free_bytes, migrate, prune, report};
use crate::time::Timestamp;

/// What a copy is called before it is whole.
const PARTIAL: (&str, &str) = (".hookbell-", ".partial");
/// SQLite's steps between two looks at the disk.
const LOOK_EVERY_STEPS: i32 = 100;
/// What is left to the service beside `free_min`, for what it writes between two looks.
const SPARE_BYTES: u64 = 64 * 1024 * 1024;
/// A look is a system call; no more often than this.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What a copy holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contents {
    /// The file's length.
    pub bytes: u64,
    /// Deliveries.
    pub deliveries: i64,
    /// When the last of them came.
    pub newest: Option<Timestamp>,
}

/// Copies the database into one file, checks the copy, and only then gives it its name. An earlier file of that name is
/// only replaced when `overwrite` says so. `free_bytes_min` stay free on the database's disk.
///
/// # Errors
/// When there is no room, the target is not to be had, the copy is not sound, or `is_stopping` said so.
pub fn backup(
    database: &Path,
    target: &Path,
    overwrite: bool,
    free_bytes_min: u64,
    is_stopping: impl Fn() -> bool + Send + 'static,
) -> Result<Contents, StoreError> {
    let failed = |why: String| StoreError::Copy { what: format!("cannot back up to {}: {why}", target.display()) };
    check_target(database, target, overwrite).map_err(&failed)?;
    let mut source = connection::copying(database)?;
    let attempt = StoreError::database("copy the database");
    let version = source.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(&attempt)?;
    migrate::check_not_newer(version, database)?;
    let needed = prune::used_bytes(&source).map_err(&attempt)?;
    let spared = free_bytes_min.saturating_add(SPARE_BYTES);
    let is_same_disk = match (directory_of(database).metadata(), directory_of(target).metadata()) {
        (Ok(ours), Ok(theirs)) => ours.dev() == theirs.dev(),
        // Whoever has no folder fails below.
        _ => false,
    };
    let needed = if is_same_disk { needed.saturating_add(spared) } else { needed };
    let (partial, file) = make_partial(target, needed).map_err(&failed)?;

    let (is_full, database_path) = (Arc::new(AtomicBool::new(false)), database.to_owned());
    let (told, mut looked) = (is_full.clone(), Instant::now());
    let look = move || {
        if looked.elapsed() >= LOOK_EVERY {
            looked = Instant::now();
            if free_bytes(&database_path).is_ok_and(|free| free < spared) {
                told.store(true, Ordering::Relaxed);
                return true;
            }
        }
        is_stopping()
    };
    source.progress_handler(LOOK_EVERY_STEPS, Some(look)).map_err(&attempt)?;
    let path = partial.to_str().ok_or_else(|| failed("its path is not valid UTF-8".to_owned()))?;
    let copied = source.execute("VACUUM INTO ?1", [path]);
    drop(source);
    copied.map_err(|cause| match (is_full.load(Ordering::Relaxed), cause.sqlite_error_code()) {
        (true, _) => failed(format!("less than {} MiB would be left on the disk for the service", spared >> 20)),
        (false, Some(rusqlite::ErrorCode::OperationInterrupted)) => failed("interrupted; nothing is left".to_owned()),
        (false, Some(rusqlite::ErrorCode::DiskFull)) => failed("the disk is full".to_owned()),
        (false, _) => failed(cause.to_string()),
    })?;
    file.sync_all().map_err(|cause| failed(format!("it cannot be written out: {cause}")))?;
    forget_cached(&file);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let contents = Connection::open_with_flags(&*partial, flags)
        .map_err(|cause| cause.to_string())
        .and_then(|copy| inspect(&copy, &partial, "PRAGMA quick_check(10)"))
        .map_err(|why| failed(format!("the copy is no good: {why}")))?;
    let named = match overwrite {
        true => partial.persist(target),
        false => partial.persist_noclobber(target),
    };
    named.map_err(|error| failed(error.error.to_string()))?;
    sync_directory(directory_of(target)).map_err(&failed)?;
    Ok(contents)
}

fn check_target(database: &Path, target: &Path, overwrite: bool) -> Result<(), String> {
    match target.symlink_metadata() {
        Ok(found) if found.is_dir() => return Err("it is a directory; name a file in it".to_owned()),
        Ok(found) if !found.is_file() => return Err("it is not a regular file".to_owned()),
        Ok(_) if !overwrite => {
            return Err("it exists already; choose another name, or --force to replace it".to_owned());
        }
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error.to_string()),
    }
    let folder = directory_of(target).canonicalize().map_err(|error| format!("its folder: {error}"))?;
    let name = target.file_name().ok_or("it is not the name of a file")?;
    let database = database.canonicalize().unwrap_or_else(|_| database.to_owned());
    match ["", "-wal", "-shm", "-journal"].iter().any(|ending| beside(&database, ending) == folder.join(name)) {
        true => Err("that is the database itself".to_owned()),
        false => Ok(()),
    }
}

/// An empty file in the target's folder that only its owner can read, gone again unless it gets its name, with room for
/// `needed` bytes. Removes those that an earlier process has left behind.
pub(super) fn make_partial(target: &Path, needed: u64) -> Result<(tempfile::TempPath, File), String> {
    let folder = directory_of(target);
    let of_folder = |error: std::io::Error| format!("the folder {}: {error}", folder.display());
    let (begin, end) = PARTIAL;
    for entry in fs::read_dir(folder).map_err(of_folder)?.map_while(Result::ok) {
        let name = entry.file_name();
        let is_partial = name.to_str().is_some_and(|name| name.starts_with(begin) && name.ends_with(end));
        // Whoever is at work holds it.
        let is_left = |file: File| flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok();
        if is_partial
            && entry.file_type().is_ok_and(|kind| kind.is_file())
            && File::open(entry.path()).is_ok_and(is_left)
        {
            fs::remove_file(entry.path()).map_err(of_folder)?;
        }
    }
    let free = free_bytes(target).map_err(of_folder)?;
    if free < needed {
        let (needed, free) = ((needed >> 20) + 1, free >> 20);
        return Err(format!("{needed} MiB are needed in {} and only {free} MiB are free", folder.display()));
    }
    let made = tempfile::Builder::new().prefix(begin).suffix(end).tempfile_in(folder).map(NamedTempFile::into_parts);
    let (file, path) = made.map_err(of_folder)?;
    flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|error| error.to_string())?;
    Ok((path, file))
}

/// Whether it is a database of ours, and sound, and what it holds.
pub(super) fn inspect(copy: &Connection, path: &Path, check: &str) -> Result<Contents, String> {
    let version = copy.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(|cause| cause.to_string())?;
    migrate::check_not_newer(version, path).map_err(|error| error.to_string())?;
    let read = || -> rusqlite::Result<(Vec<String>, i64, Option<i64>)> {
        let problems = report::problems(copy, check)?;
        let sql = "SELECT count(*), max(received_ms) FROM delivery";
        let (deliveries, newest) = copy.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok((problems, deliveries, newest))
    };
    let (problems, deliveries, newest) = read().map_err(|cause| cause.to_string())?;
    if !problems.is_empty() {
        return Err(format!("it is damaged: {}", problems.join("; ")));
    }
    let bytes = path.metadata().map_err(|error| error.to_string())?.len();
    Ok(Contents { bytes, deliveries, newest: newest.map(Timestamp::from_ms) })
}

/// So that the check reads what the disk has and not what memory still has of it.
#[cfg(target_os = "linux")]
fn forget_cached(file: &File) {
    if let Err(error) = rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed) {
        log::debug!("the copy is checked from memory: {error}");
    }
}

#[cfg(not(target_os = "linux"))]
fn forget_cached(_file: &File) {}

pub(super) fn sync_directory(directory: &Path) -> Result<(), String> {
    let synced = File::open(directory).and_then(|handle| handle.sync_all());
    synced.map_err(|cause| format!("the folder {} cannot be synced: {cause}", directory.display()))
}
