//! One process per role. Owns the lock files beside the database; the kernel gives a lock back when its holder dies.

use std::{
    fmt,
    fs::{File, OpenOptions},
    io::{Read, Seek, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::fs::{FlockOperation, OFlags, flock};

use super::{StoreError, beside};
use crate::threads::Wake;

/// How often, and after which pause, a lock is tried that somebody holds.
const TRIES: u32 = 10;
const TRY_AGAIN: Duration = Duration::from_millis(50);

/// What a process does for a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The door.
    Receive,
    /// Everything behind it.
    Work,
    /// A change of secrets: two at once would each write the one to come.
    Rotate,
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Role::Receive => "receive",
            Role::Work => "work",
            Role::Rotate => "rotate",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A role that this process holds until it ends.
#[derive(Debug)]
pub struct RoleLock {
    _file: File,
}

impl RoleLock {
    /// Takes the role for this database.
    ///
    /// # Errors
    /// When another process holds it (its pid is named), or the lock file cannot be written.
    pub fn take(database: &Path, role: Role) -> Result<RoleLock, StoreError> {
        let path = lock_path(database, role);
        let error = |why: String| StoreError::Open { path: database.to_owned(), why };
        let cannot = |cause: std::io::Error| error(format!("its lock file {} cannot be used: {cause}", path.display()));
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        // The bits are the kernel's, whatever their type. A link here would be somebody's attempt to have another file
        // emptied by us.
        options.custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
        let mut file = options.open(&path).map_err(cannot)?;
        // Somebody who asks who holds it takes it for a moment.
        let mut tries = 0;
        while flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            tries += 1;
            if tries < TRIES {
                Wake::new().wait(TRY_AGAIN);
                continue;
            }
            let mut holder = String::new();
            file.read_to_string(&mut holder).map_err(cannot)?;
            let holder = if holder.trim().is_empty() { "(unknown)" } else { holder.trim() };
            let who = format!("process {holder} already does `{role}`");
            return Err(StoreError::Held { path: database.to_owned(), who });
        }
        file.set_len(0).and_then(|()| file.rewind()).map_err(cannot)?;
        writeln!(file, "{}", std::process::id()).map_err(cannot)?;
        Ok(RoleLock { _file: file })
    }

    /// The pid of the process that holds the role, `None` when nobody does.
    pub fn holder(database: &Path, role: Role) -> Option<u32> {
        let mut file = File::open(lock_path(database, role)).ok()?;
        if flock(&file, FlockOperation::NonBlockingLockShared).is_ok() {
            return None;
        }
        let mut holder = String::new();
        file.read_to_string(&mut holder).ok()?;
        holder.trim().parse().ok()
    }
}

/// Where the lock of a role stands.
pub(super) fn lock_path(database: &Path, role: Role) -> PathBuf {
    beside(database, &format!(".{role}.lock"))
}
