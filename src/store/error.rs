//! What can go wrong with the database, in words for people. Refuses to hide the cause.

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use rusqlite::ErrorCode;

/// Why the store could not do what was asked. Cheap to clone: every request of a failed batch gets it.
#[derive(Clone, Debug)]
pub enum StoreError {
    /// Opening, or preparing to open.
    Open {
        /// The database file.
        path: PathBuf,
        /// The cause and the remedy.
        why: String,
    },
    /// The database file is damaged, or marked as such.
    Damaged {
        /// The database file.
        path: PathBuf,
        /// The cause and the remedy.
        why: String,
    },
    /// Another process does what we would do.
    Held {
        /// The database file.
        path: PathBuf,
        /// Which process does what.
        who: String,
    },
    /// SQLite said no.
    Database {
        /// What was attempted.
        attempted: &'static str,
        /// SQLite's words.
        cause: Arc<rusqlite::Error>,
    },
    /// The file system has less free space than `[store] free_min`.
    NoRoom {
        /// Bytes that are free.
        free_bytes: u64,
        /// Bytes that must be.
        free_bytes_min: u64,
    },
    /// Too much waits for the disk already.
    QueueFull,
    /// No answer from the disk in time; the write may still happen.
    TooSlow {
        /// How long was waited.
        waited: Duration,
    },
    /// The writer is gone or going.
    Stopped,
    /// A copy of the database could not be made or used.
    Copy {
        /// What was attempted, the cause and the remedy.
        what: String,
    },
    /// A stored row that no version of ours has written.
    Corrupt {
        /// What it is.
        what: String,
    },
}

impl StoreError {
    /// For `map_err`: names what was attempted.
    pub(super) fn database(attempted: &'static str) -> impl Fn(rusqlite::Error) -> StoreError {
        move |cause| StoreError::Database { attempted, cause: Arc::new(cause) }
    }

    /// Whether the cause is the disk or a lock and not the job itself, so that splitting a batch cannot help.
    pub(super) fn is_environmental(&self) -> bool {
        let StoreError::Database { cause, .. } = self else { return true };
        matches!(
            cause.sqlite_error_code(),
            Some(
                ErrorCode::DatabaseBusy
                    | ErrorCode::DatabaseLocked
                    | ErrorCode::SystemIoFailure
                    | ErrorCode::ReadOnly
                    | ErrorCode::CannotOpen
                    | ErrorCode::DatabaseCorrupt
                    | ErrorCode::NotADatabase
                    | ErrorCode::FileLockingProtocolFailed
                    | ErrorCode::PermissionDenied
            )
        )
    }

    /// Whether it says that the database file is damaged.
    pub fn is_damage(&self) -> bool {
        match self {
            StoreError::Damaged { .. } => true,
            StoreError::Database { cause, .. } => {
                matches!(cause.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
            }
            _ => false,
        }
    }

    fn remedy(&self) -> Option<&'static str> {
        let StoreError::Database { cause, .. } = self else { return None };
        match cause.sqlite_error_code()? {
            ErrorCode::DiskFull => Some("free some space; nothing that was answered 200 is affected"),
            ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => {
                Some("another program holds the database; close it, or wait")
            }
            ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen => {
                Some("the file and its directory must be writable by the user that runs hookbell")
            }
            ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => {
                Some("the file is damaged; the service sets it aside and begins a new one")
            }
            _ => None,
        }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreError::Open { path, why } | StoreError::Damaged { path, why } => {
                write!(f, "cannot open the database {}: {why}", path.display())
            }
            StoreError::Held { path, who } => write!(f, "{who} for {}; stop that one first", path.display()),
            StoreError::Database { attempted, cause } => {
                write!(f, "cannot {attempted}: {cause}")?;
                if let Some(remedy) = self.remedy() {
                    write!(f, " ({remedy})")?;
                }
                Ok(())
            }
            StoreError::NoRoom { free_bytes, free_bytes_min } => write!(
                f,
                "only {} MiB are free on the disk and [store] free_min wants {} MiB; free some space",
                free_bytes >> 20,
                free_bytes_min >> 20
            ),
            StoreError::QueueFull => f.write_str("too much waits for the disk already"),
            StoreError::TooSlow { waited } => {
                write!(f, "no answer from the disk within {:.1} s; storage is stalled", waited.as_secs_f64())
            }
            StoreError::Stopped => f.write_str("the store is stopping"),
            StoreError::Copy { what } => f.write_str(what),
            StoreError::Corrupt { what } => write!(f, "a stored row is not readable: {what}"),
        }
    }
}

impl std::error::Error for StoreError {}
