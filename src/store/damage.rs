//! A damaged database makes way for a new one. Owns the mark that says so, the order in which the files are renamed, and
//! which ones lie aside; refuses to judge what is damaged, which SQLite says, and who may do this: the caller holds every role.
//!
//! The mark names where the database goes. It is written before anything moves and removed when all has moved, and as long as
//! it is there the database is opened for writing by nobody. So wherever this ends, the next one goes on to the same name: the
//! old log never meets a new file, and no file is renamed over another.

use std::{
    fs::{self, File},
    io::{ErrorKind, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, OptionalExtension};
use rustix::{
    fs::{FlockOperation, fcntl_lock},
    io::Errno,
};

use super::{
    Store, StoreError,
    backup::sync_directory,
    beside,
    connection::BUSY_TIMEOUT,
    directory_of,
    report::Reader,
    restore::{move_beside, stamp},
};
use crate::{
    threads::{Wake, lock},
    time::Timestamp,
};

/// What the mark is called.
const MARK: &str = ".damaged";
/// And the file that is set aside; the time follows.
const ASIDE: &str = ".damaged-";
/// So many that lie aside are told of, the oldest: more are told of when these are gone.
const TOLD_MAX: usize = 8;
/// Who has opened the file a moment before it moved waits for its lock this long, and would take the new log for its own.
const LINGER: Duration = BUSY_TIMEOUT.saturating_add(Duration::from_millis(500));
/// Under this name the database keeps what a check has found.
const FOUND: &str = "damage";

/// Where a test looks at the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Marked,
    Moved,
    MovedBeside,
    Unmarked,
}

/// A damaged database that was set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aside {
    /// Where it lies.
    pub path: PathBuf,
    /// Since when.
    pub since: Timestamp,
}

/// Whether the database is to be set aside.
pub fn is_marked(database: &Path) -> bool {
    beside(&behind_links(database), MARK).exists()
}

/// Marks the database as damaged: who starts the service next sets it aside, under the name that is returned. A mark that is
/// there already stays.
///
/// # Errors
/// When the mark cannot be written.
pub fn mark(database: &Path, now: Timestamp) -> Result<PathBuf, StoreError> {
    marked(database, now)
        .map_err(|why| StoreError::Copy { what: format!("cannot mark {} as damaged: {why}", database.display()) })
}

fn marked(database: &Path, now: Timestamp) -> Result<PathBuf, String> {
    let database = behind_links(database);
    let (mark, aside) = (beside(&database, MARK), |time: &str| beside(&database, &format!("{ASIDE}{time}")));
    // One that cannot be read, or that somebody has made by hand, says no more than that it is there.
    let text = fs::read_to_string(&mark).unwrap_or_default();
    let is_begun = is_time(&text) && !(aside(&text).exists() && database.exists());
    if is_begun {
        return Ok(aside(&text));
    }
    let mut at = now;
    while aside(&stamp(at)).exists() {
        at = at.plus(Duration::from_millis(1));
    }
    let unnamed = beside(&mark, ".new");
    let mut file = File::create(&unnamed).map_err(|error| error.to_string())?;
    let written = file.write_all(stamp(at).as_bytes()).and_then(|()| file.sync_all());
    written.and_then(|()| fs::rename(&unnamed, &mark)).map_err(|error| error.to_string())?;
    sync_directory(directory_of(&mark))?;
    Ok(aside(&stamp(at)))
}

/// Sets the database aside with all that belongs to it, whether it is marked already or not; returns where it is now. The
/// caller holds both roles, so that no service has it open.
///
/// # Errors
/// When another program has it open, or the disk or the user's rights do not suffice. The next one goes on.
pub fn set_aside(database: &Path, now: Timestamp) -> Result<PathBuf, StoreError> {
    set_aside_in_steps(database, now, LINGER, &mut |_| ())
}

pub(super) fn set_aside_in_steps(
    database: &Path,
    now: Timestamp,
    linger: Duration,
    after: &mut dyn FnMut(Step),
) -> Result<PathBuf, StoreError> {
    let mut steps = || -> Result<PathBuf, String> {
        // Behind a symbolic link the file moves, not the link.
        let database = &behind_links(database);
        let held = hold(database)?;
        let aside = marked(database, now)?;
        after(Step::Marked);
        if held.is_some() {
            fs::rename(database, &aside).map_err(|error| error.to_string())?;
        }
        // The file first: one without its log can be mistaken for a whole one, a log without its file cannot.
        sync_directory(directory_of(database))?;
        after(Step::Moved);
        move_beside(database, &aside).map_err(|error| error.to_string())?;
        sync_directory(directory_of(database))?;
        after(Step::MovedBeside);
        fs::remove_file(beside(database, MARK)).map_err(|error| error.to_string())?;
        sync_directory(directory_of(database))?;
        after(Step::Unmarked);
        if held.is_some() {
            Wake::new().wait(linger);
        }
        Ok(aside)
    };
    steps().map_err(|why| StoreError::Copy {
        what: format!("the damaged database {} cannot be set aside: {why}", database.display()),
    })
}

/// Holds the file so that nobody begins to use it, by the lock that SQLite itself asks for, because SQLite may not be able to
/// open it any more. `None` where it has gone already.
fn hold(database: &Path) -> Result<Option<File>, String> {
    let file = match File::options().read(true).write(true).open(database) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    match fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(Errno::AGAIN | Errno::ACCESS) => Err("another program has it open; close that one".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// The damaged databases that lie beside this one, the oldest first.
pub fn lying_aside(database: &Path) -> Vec<Aside> {
    let database = behind_links(database);
    let begin = beside(&database, ASIDE);
    let begin = begin.file_name().unwrap_or_default().to_string_lossy();
    // A folder that cannot be read shows elsewhere: nothing can be opened in it.
    let entries = fs::read_dir(directory_of(&database)).into_iter().flatten().map_while(Result::ok);
    let mut found: Vec<Aside> = entries
        .filter(|entry| entry.file_name().to_str().and_then(|name| name.strip_prefix(&*begin)).is_some_and(is_time))
        .map(|entry| {
            // Renaming it was the last change.
            let seconds = entry.metadata().map_or(0, |file| file.ctime());
            Aside { path: entry.path(), since: Timestamp::from_ms(seconds.saturating_mul(1000)) }
        })
        .collect();
    found.sort_by(|one, other| one.path.cmp(&other.path));
    found.truncate(TOLD_MAX);
    found
}

/// Whether it is what [`stamp`] writes.
fn is_time(text: &str) -> bool {
    text.ends_with('Z') && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// The file itself, also where it is gone and only the link to it is there.
fn behind_links(database: &Path) -> PathBuf {
    let target = || database.read_link().map(|target| directory_of(database).join(target));
    database.canonicalize().or_else(|_| target()).unwrap_or_else(|_| database.to_owned())
}

/// What [`Store::note_damage`] has kept.
pub(super) fn found(connection: &Connection) -> rusqlite::Result<Option<String>> {
    let sql = "SELECT value FROM meta WHERE key = ?1 AND value <> ''";
    connection.query_row(sql, [FOUND], |row| row.get(0)).optional()
}

impl Store {
    /// What a check of the database has found that was not over at the last one.
    pub fn damage(&self) -> Option<String> {
        lock(&self.damage).clone()
    }

    /// Keeps what a check has found; `None`: the database is sound.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn note_damage(&self, found: Option<String>) -> Result<(), StoreError> {
        let before = std::mem::replace(&mut *lock(&self.damage), found.clone());
        match before == found {
            true => Ok(()),
            false => self.remember(FOUND, found.unwrap_or_default()),
        }
    }
}

impl Reader {
    /// What [`Store::note_damage`] keeps.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn damage(&self) -> Result<Option<String>, StoreError> {
        found(self.connection()).map_err(StoreError::database("read what a check has found"))
    }

    /// The damaged databases that lie beside it.
    pub fn lying_aside(&self) -> Vec<Aside> {
        lying_aside(Path::new(self.connection().path().unwrap_or_default()))
    }
}
