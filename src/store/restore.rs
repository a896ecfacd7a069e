//! A copy takes the database's place. Owns the order of steps: at each moment there is a whole database under its name,
//! and the one that was there is never lost.
//!
//! The copy is made ready under another name, on the same disk, before anything else is touched. The present database gets
//! a second name, and then the copy is renamed over its first. Deliveries keep their ids, and ids that are given out from
//! now on may have been given out before: so they go out under another name (`installation`).

use std::{
    fs::{self, File},
    io::{self, ErrorKind},
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    path::{Path, PathBuf},
};

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::{
    OWN_KEY, Role, RoleLock, StoreError,
    backup::{Contents, inspect, make_partial, sync_directory},
    beside,
    connection::BUSY_TIMEOUT,
    damage, directory_of, flash, inbox,
    installation::Installation,
    lock::lock_path,
    migrate, outbox,
};
use crate::time::Timestamp;

/// Files of one database.
const ENDINGS: [&str; 3] = ["-wal", "-shm", "-journal"];

/// What a restore has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// What is there now.
    pub contents: Contents,
    /// Where the database is that was there; `None` when there was none.
    pub set_aside: Option<PathBuf>,
}

/// Where a test looks at the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Copied,
    Prepared,
    Closed,
    SetAside,
    Replaced,
}

/// Puts a backup in the database's place; what was there is kept beside it under a name with the time.
///
/// # Errors
/// When a service holds the database, or another program has it open; when the backup is not one, is damaged, or is of a
/// newer version; when the disk or the user's rights do not suffice. Then nothing has changed.
pub fn restore(database: &Path, backup: &Path, now: Timestamp) -> Result<Restored, StoreError> {
    restore_in_steps(database, backup, now, &mut |_| ())
}

pub(super) fn restore_in_steps(
    database: &Path,
    backup: &Path,
    now: Timestamp,
    after: &mut dyn FnMut(Step),
) -> Result<Restored, StoreError> {
    let failed = |why: String| StoreError::Copy { what: format!("cannot restore {}: {why}", backup.display()) };
    let file = open_backup(backup).map_err(&failed)?;
    become_owner_of(directory_of(database)).map_err(&failed)?;
    let owner = Owner::of(database).map_err(|error| failed(format!("{}: {error}", database.display())))?;
    let mut locks = Vec::new();
    for role in [Role::Receive, Role::Work] {
        locks.push(RoleLock::take(database, role)?);
        // Made by root it would keep the service out.
        owner.give(&lock_path(database, role)).map_err(&failed)?;
    }
    // Behind a symbolic link the file changes, not the link.
    let database = &database.canonicalize().unwrap_or_else(|_| database.to_owned());
    let needed = file.metadata().map_err(|error| failed(error.to_string()))?.len();
    let (partial, copy) = make_partial(database, needed).map_err(&failed)?;
    io::copy(&mut &file, &mut &copy).map_err(|error| failed(error.to_string()))?;
    after(Step::Copied);
    let contents = prepare(&partial, database).map_err(&failed)?;
    owner.give(&partial).map_err(&failed)?;
    let mode = fs::Permissions::from_mode(owner.mode);
    copy.set_permissions(mode).and_then(|()| copy.sync_all()).map_err(|error| failed(error.to_string()))?;
    after(Step::Prepared);

    // What waits to be set aside goes its own way, also where that was begun and not ended.
    let damaged = if damage::is_marked(database) { Some(damage::set_aside(database, now)?) } else { None };
    let present = close_off(database).map_err(&failed)?;
    after(Step::Closed);
    let set_aside = set_aside(database, now, present.is_some()).map_err(&failed)?;
    after(Step::SetAside);
    if let Err(error) = partial.persist(database) {
        // Only a second name of what is still there.
        let second = set_aside.filter(|_| present.is_some());
        return Err(failed(match second.map(fs::remove_file) {
            None | Some(Ok(())) => error.error.to_string(),
            Some(Err(left)) => format!("{}; its second name is left behind: {left}", error.error),
        }));
    }
    sync_directory(directory_of(database)).map_err(&failed)?;
    after(Step::Replaced);
    drop((present, locks));
    Ok(Restored { contents, set_aside: set_aside.or(damaged) })
}

fn open_backup(backup: &Path) -> Result<File, String> {
    let file = File::open(backup).map_err(|error| error.to_string())?;
    if !file.metadata().map_err(|error| error.to_string())?.is_file() {
        return Err("it is not a file".to_owned());
    }
    // What is in a log beside it would be missing, or worse, be taken for the copy's.
    match beside(backup, "-wal").metadata().is_ok_and(|log| log.len() > 0) {
        true => Err("it has a log beside it (-wal), so it is a database in use and no backup".to_owned()),
        false => Ok(file),
    }
}

/// Root becomes the folder's owner, for good as far as this thread goes. In a folder that somebody else can change, root could
/// be led to any file by a link in a name's place.
#[cfg(target_os = "linux")]
fn become_owner_of(folder: &Path) -> Result<(), String> {
    use rustix::{
        process::{Gid, Uid, geteuid},
        thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid},
    };
    if !geteuid().is_root() {
        return Ok(());
    }
    let told = |error: io::Error| format!("the folder {}: {error}", folder.display());
    let found = folder.metadata().map_err(told)?;
    let (user, group) = (Uid::from_raw(found.uid()), Gid::from_raw(found.gid()));
    if user.is_root() {
        return Ok(());
    }
    set_thread_groups(&[group])
        .and_then(|()| set_thread_res_gid(group, group, group))
        .and_then(|()| set_thread_res_uid(user, user, user))
        .map_err(|error| told(error.into()))
}

#[cfg(not(target_os = "linux"))]
fn become_owner_of(_folder: &Path) -> Result<(), String> {
    Ok(())
}

/// Whose the database is, and who may read it.
struct Owner {
    user: u32,
    group: u32,
    mode: u32,
}

impl Owner {
    /// As the file has it; without one, as the folder has it, and for its owner alone.
    fn of(database: &Path) -> io::Result<Owner> {
        let (found, mode) = match database.metadata() {
            Ok(file) => (file.clone(), file.mode() & 0o777),
            Err(error) if error.kind() == ErrorKind::NotFound => (directory_of(database).metadata()?, 0o600),
            Err(error) => return Err(error),
        };
        Ok(Owner { user: found.uid(), group: found.gid(), mode })
    }

    fn give(&self, path: &Path) -> Result<(), String> {
        let told = |error: io::Error| format!("{} cannot be given to its owner: {error}; use sudo", path.display());
        let found = path.metadata().map_err(told)?;
        match (found.uid(), found.gid()) == (self.user, self.group) {
            true => Ok(()),
            false => chown(path, Some(self.user), Some(self.group)).map_err(told),
        }
    }
}

/// Checks the copy, brings it up to date, and takes from it what was only true of the process that wrote it.
fn prepare(partial: &Path, database: &Path) -> Result<Contents, String> {
    let mut copy = open(partial).map_err(|cause| cause.to_string())?;
    // No file beside it: when we die here, it is only a part of nothing.
    let unlogged = copy.pragma_update(None, "journal_mode", "MEMORY");
    unlogged.and_then(|()| copy.pragma_update(None, "trusted_schema", false)).map_err(|cause| cause.to_string())?;
    let contents = inspect(&copy, partial, "PRAGMA integrity_check(10)")?;
    migrate::migrate(&mut copy, partial).map_err(|error| error.to_string())?;
    let change = |copy: &Connection| -> rusqlite::Result<()> {
        // Nothing has crashed: what was held when the backup was made is given back without blame.
        inbox::give_back(copy)?;
        outbox::give_back(copy)?;
        copy.execute("DELETE FROM meta WHERE key = 'working'", [])?;
        // Where it came from may go on running, and is another.
        copy.execute("DELETE FROM meta WHERE key = ?1", [OWN_KEY])?;
        Installation::renew(copy)?;
        flash::carry_over(open(database).ok().as_ref(), copy)
    };
    let transaction = copy.transaction().map_err(|cause| cause.to_string())?;
    change(&transaction).and_then(|()| transaction.commit()).map_err(|cause| cause.to_string())?;
    Ok(contents)
}

fn open(path: &Path) -> rusqlite::Result<Connection> {
    Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)
}

/// Moves the log of the present database into it, and holds it so that nobody else can begin to use it. Whoever has it open
/// would go on to take the files beside it for its own when they are another's. `None` where there is none that can be read.
fn close_off(database: &Path) -> Result<Option<Connection>, String> {
    let held = open(database).and_then(|present| {
        present.busy_timeout(BUSY_TIMEOUT)?;
        present.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
        let mode: String = present.pragma_update_and_check(None, "journal_mode", "DELETE", |row| row.get(0))?;
        present.execute_batch("BEGIN EXCLUSIVE")?;
        Ok(mode.eq_ignore_ascii_case("delete").then_some(present))
    });
    let in_use = || Err("another program has the database open; close it".to_owned());
    match held {
        Ok(Some(present)) => Ok(Some(present)),
        Ok(None) => in_use(),
        Err(cause) => match cause.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => in_use(),
            Some(ErrorCode::CannotOpen) if !database.exists() => Ok(None),
            // That is what a backup is for. It is set aside as it is.
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Ok(None),
            _ => Err(format!("{}: {cause}", database.display())),
        },
    }
}

/// A time as part of a file's name.
pub(super) fn stamp(time: Timestamp) -> String {
    time.to_string().chars().filter(|c| c.is_ascii_alphanumeric()).collect()
}

/// Gives the files beside a database, those that there are, their places beside `aside`.
pub(super) fn move_beside(database: &Path, aside: &Path) -> io::Result<()> {
    for ending in ENDINGS {
        match fs::rename(beside(database, ending), beside(aside, ending)) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Gives what is there a second name; the first stays until the copy takes it. A damaged database loses the files beside
/// it first, which must not meet the copy.
fn set_aside(database: &Path, now: Timestamp, is_whole: bool) -> Result<Option<PathBuf>, String> {
    let aside = beside(database, &format!(".before-restore-{}", stamp(now)));
    let told = |error: io::Error| format!("the present database cannot be set aside as {}: {error}", aside.display());
    let is_there = match fs::hard_link(database, &aside) {
        Ok(()) => true,
        Err(error) if error.kind() == ErrorKind::NotFound => false,
        Err(error) => return Err(told(error)),
    };
    if !is_whole {
        move_beside(database, &aside).map_err(told)?;
    }
    sync_directory(directory_of(database))?;
    Ok(is_there.then_some(aside))
}
