//! A disk that fails on demand: a file system in user space over a folder, whose faults are switched while it is used.
//!
//! It reads the folder when it is mounted, keeps everything in memory from then on, in two states (what everybody sees, and
//! what has been synced), and writes it back when it is unmounted, or what is left of it after a [power cut](Disk::power_cut).
//! So it is not slowed down by the disk beneath, and what a sync has promised is known exactly. Locks, memory mappings and
//! the page cache are the kernel's, as on every disk; a process that maps a file of it should not be the one that serves it
//! (SQLite in WAL mode does), because the kernel may hold that process's memory while it waits for an answer.
//!
//! Knows nothing of SQLite or of hookbell. Linux, root and `/dev/fuse` only: [`allowed`] says what is missing.

mod chance;
mod content;
mod image;
mod kernel;
#[cfg(test)]
mod tests;

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

pub use fuser::Errno;
use fuser::{BackgroundSession, INodeNo, MountOption, SessionACL};
use rustix::mount::{UnmountFlags, unmount};

use self::{
    chance::Chance,
    content::PAGE_BYTES,
    image::Image,
    kernel::{Passage, State},
};

pub use self::image::Lost;

/// Slow syncs each hold one of them, and somebody has to answer the others meanwhile.
const THREADS: usize = 8;

/// Which operations fail, and how.
#[derive(Clone, Debug)]
pub struct Fault {
    errno: Errno,
    every: u64,
    end: String,
    seen: u64,
}

impl Fault {
    /// Each one fails with this.
    pub fn each(errno: Errno) -> Fault {
        Fault { errno, every: 1, end: String::new(), seen: 0 }
    }

    /// Only every so many fail, the first of them not before so many have gone well.
    #[must_use]
    pub fn every(mut self, every: u64) -> Fault {
        self.every = every.max(1);
        self
    }

    /// Only those of files whose names end like this.
    #[must_use]
    pub fn only(mut self, end: &str) -> Fault {
        end.clone_into(&mut self.end);
        self
    }
}

/// What a full disk answers when it is asked how full it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Says {
    /// That nothing is free.
    Full,
    /// That much is free: a quota, or space that is promised and not there.
    Free,
}

/// What a failed sync does to what it should have written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Failed {
    /// The next one tries again.
    Stays,
    /// As Linux does: it counts as written, and the next sync says that all is well.
    IsForgotten,
}

/// What is switched. As it is by default, nothing fails.
#[derive(Debug)]
struct Faults {
    sync_takes: Duration,
    writes: Option<Fault>,
    syncs: Option<Fault>,
    reads: Option<Fault>,
    failed: Failed,
    read_only: bool,
    room: Option<(u64, Says)>,
    lies: bool,
}

impl Default for Faults {
    fn default() -> Faults {
        Faults {
            sync_takes: Duration::ZERO,
            writes: None,
            syncs: None,
            reads: None,
            failed: Failed::Stays,
            read_only: false,
            room: None,
            lies: false,
        }
    }
}

/// What the threads that answer the kernel have in common with the handle.
#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Ends the waiting of slow syncs early.
    healed: Condvar,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sleeps as long as a sync takes, or until it takes less again.
    fn wait_for_sync(&self) {
        let start = Instant::now();
        let mut state = self.state();
        loop {
            let left = state.faults.sync_takes.saturating_sub(start.elapsed());
            if left.is_zero() || state.dead {
                return;
            }
            state = self.healed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// How many operations the disk has seen.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Seen {
    /// Writes that went well.
    pub writes: u64,
    /// Syncs of files and folders that answered well.
    pub syncs: u64,
    /// Operations that failed by a fault.
    pub failed: u64,
}

/// The mounted disk, and the handle to its faults. Unmounted when dropped, whoever still uses it.
#[derive(Debug)]
pub struct Disk {
    shared: Arc<Shared>,
    session: Option<BackgroundSession>,
    folder: PathBuf,
    point: PathBuf,
}

/// Whether this machine lets us mount.
///
/// # Errors
/// With what is missing.
pub fn allowed() -> Result<(), String> {
    if !rustix::process::geteuid().is_root() {
        return Err("only root may mount".to_owned());
    }
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let point = tempfile::tempdir().map_err(|error| error.to_string())?;
    let disk = Disk::mount(folder.path(), point.path()).map_err(|error| format!("/dev/fuse: {error}"))?;
    disk.unmount().map_err(|error| error.to_string())
}

impl Disk {
    /// Shows what is in `folder` at `point`, an empty folder elsewhere.
    ///
    /// # Errors
    /// When the folder cannot be read, or the kernel does not mount.
    pub fn mount(folder: &Path, point: &Path) -> io::Result<Disk> {
        let (folder, point) = (folder.canonicalize()?, point.canonicalize()?);
        if folder.starts_with(&point) || point.starts_with(&folder) {
            return Err(io::Error::other("the folder and the point lie in one another"));
        }
        let shared = Arc::new(Shared { state: Mutex::new(State::new(Image::load(&folder)?)), healed: Condvar::new() });
        let mut config = fuser::Config::default();
        config.mount_options = vec![MountOption::FSName("faulty".to_owned()), MountOption::DefaultPermissions];
        config.acl = SessionACL::All;
        config.n_threads = Some(THREADS);
        let session = fuser::spawn_mount(Passage(Arc::clone(&shared)), &point, &config)?;
        Ok(Disk { shared, session: Some(session), folder, point })
    }

    /// Where it is mounted.
    pub fn point(&self) -> &Path {
        &self.point
    }

    /// What it has seen so far.
    pub fn seen(&self) -> Seen {
        self.shared.state().seen
    }

    /// Room that its files take.
    pub fn taken_bytes(&self) -> u64 {
        self.shared.state().image.pages_taken() * PAGE_BYTES as u64
    }

    /// Takes all faults back. The next sync keeps what it was lied about, unless the power has gone before.
    pub fn heal(&self) {
        self.shared.state().faults = Faults::default();
        self.shared.healed.notify_all();
    }

    /// Each sync of a file or a folder takes as long.
    pub fn sync_takes(&self, span: Duration) {
        self.shared.state().faults.sync_takes = span;
        self.shared.healed.notify_all();
    }

    /// Writes fail, and so does whatever changes a length.
    pub fn fail_writes(&self, fault: Fault) {
        self.shared.state().faults.writes = Some(fault);
    }

    /// Syncs fail.
    pub fn fail_syncs(&self, fault: Fault, failed: Failed) {
        let mut state = self.shared.state();
        (state.faults.syncs, state.faults.failed) = (Some(fault), failed);
    }

    /// Reads fail, also of what the kernel has in its memory. A file that is mapped and cannot be read kills who touches
    /// it, so name those that are meant.
    ///
    /// # Errors
    /// When the kernel does not drop what it has.
    pub fn fail_reads(&self, fault: Fault) -> io::Result<()> {
        let named = {
            let mut state = self.shared.state();
            let named = state.image.named(&fault.end);
            state.faults.reads = Some(fault);
            named
        };
        self.forget_cached(&named)
    }

    fn forget_cached(&self, files: &[u64]) -> io::Result<()> {
        let Some(session) = &self.session else { return Ok(()) };
        files.iter().try_for_each(|number| session.notifier().inval_inode(INodeNo(*number), 0, 0))
    }

    /// Whatever writes is told that the file system is read-only, as after an error that made the kernel remount it.
    pub fn read_only(&self) {
        self.shared.state().faults.read_only = true;
    }

    /// Nothing more fits: something else has taken all that was free.
    pub fn full(&self, says: Says) {
        let mut state = self.shared.state();
        state.faults.room = Some((state.image.pages_taken(), says));
    }

    /// Only so much fits altogether.
    pub fn holds(&self, bytes_max: u64) {
        self.shared.state().faults.room = Some((bytes_max / PAGE_BYTES as u64, Says::Full));
    }

    /// Syncs answer well and keep nothing: a disk with a cache that it does not admit to.
    pub fn lie(&self) {
        self.shared.state().faults.lies = true;
    }

    /// Changes bytes as a decaying disk would, behind everybody's back: neither a write nor a sync is seen. `edit` gets
    /// the file as it is and is durable at once.
    ///
    /// # Errors
    /// When there is no such file at the top, or the kernel does not drop what it has.
    pub fn decay(&self, name: &str, edit: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
        let number = {
            let mut state = self.shared.state();
            let missing = |errno: Errno| io::Error::from_raw_os_error(errno.code());
            let number = state.image.find(image::ROOT, name.as_ref()).map_err(missing)?;
            let held = state.image.held_mut(number).map_err(missing)?;
            let mut bytes = held.now.bytes();
            edit(&mut bytes);
            *held = content::Held::found(&bytes);
            number
        };
        self.forget_cached(&[number])
    }

    /// The power goes: what was not synced is lost, or by `seed` some of it survives in any order and torn, and whoever
    /// still has files open gets EIO for everything he tries. What is left is then in the folder: drop this and mount anew.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn power_cut(&self, seed: Option<u64>) -> io::Result<Lost> {
        let mut state = self.shared.state();
        if state.dead {
            return Err(io::Error::other("the power is off already"));
        }
        state.dead = true;
        self.shared.healed.notify_all();
        state.image.store(&self.folder, Some(seed.map_or_else(Chance::none, Chance::from_seed)))
    }

    /// Unmounts, and writes everything back unless the power was cut.
    ///
    /// # Errors
    /// When the kernel does not unmount, or the folder cannot be written.
    pub fn unmount(mut self) -> io::Result<()> {
        self.end()
    }

    fn end(&mut self) -> io::Result<()> {
        let Some(session) = self.session.take() else { return Ok(()) };
        // Nothing may wait for a fault any more.
        self.heal();
        // Without force the kernel writes back what is mapped. Who still has files open must not keep us.
        if unmount(&self.point, UnmountFlags::empty()).is_err() {
            unmount(&self.point, UnmountFlags::FORCE | UnmountFlags::DETACH)?;
        }
        session.join()?;
        let state = self.shared.state();
        if state.dead {
            return Ok(());
        }
        state.image.store(&self.folder, None).map(|_| ())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            eprintln!("{} was not unmounted well: {error}", self.point.display());
        }
    }
}
