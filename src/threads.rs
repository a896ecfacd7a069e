//! The only concurrency vocabulary: a stop signal, a wake-up, a named thread, and how long each has been busy. Owns
//! spawning; refuses to know what runs.

use std::{
    cell::RefCell,
    io,
    sync::{
        Arc, Condvar, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// Locks, and goes on when another thread panicked while holding the lock: what we keep under locks is replaced whole
/// or counted, never left half changed.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Starts a named thread. `stack_bytes` is address space; only what is touched becomes memory.
///
/// # Errors
/// When the system refuses another thread.
pub fn spawn<T: Send + 'static>(
    name: &str,
    stack_bytes: usize,
    body: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    thread::Builder::new().name(name.to_owned()).stack_size(stack_bytes).spawn(body)
}

/// Longest time that a piece of work which waits for nobody outside may take. Who is at it for longer is stuck.
pub const BUSY_MAX: Duration = Duration::from_secs(60);

/// Since when somebody is busy, and until when that is in order; `None` while it waits for work.
#[derive(Debug, Default)]
struct Slot(Mutex<Option<(Instant, Instant)>>);

thread_local! {
    static SLOT: RefCell<Option<Arc<Slot>>> = const { RefCell::new(None) };
}

/// Every thread that was ever busy and lives. There is one process, and one watchdog over all of it.
static SLOTS: Mutex<Vec<(String, Arc<Slot>)>> = Mutex::new(Vec::new());

/// This thread is at a piece of work until this is dropped.
#[derive(Debug)]
#[must_use]
pub struct Busy {
    slot: Arc<Slot>,
    /// The work of which this is a part.
    before: Option<(Instant, Instant)>,
}

/// Begins a piece of work that may take so long. Work within other work counts by itself; the other goes on behind it.
pub fn busy(at_most: Duration) -> Busy {
    let slot = SLOT.with_borrow_mut(|slot| slot.get_or_insert_with(enrol).clone());
    let now = Instant::now();
    let before = lock(&slot.0).replace((now, now + at_most));
    Busy { slot, before }
}

impl Drop for Busy {
    fn drop(&mut self) {
        *lock(&self.slot.0) = self.before;
    }
}

fn enrol() -> Arc<Slot> {
    let slot = Arc::new(Slot::default());
    let name = thread::current().name().unwrap_or("a thread").to_owned();
    let mut slots = lock(&SLOTS);
    // Those of threads that have ended are held by nobody else.
    slots.retain(|(_, slot)| Arc::strong_count(slot) > 1);
    slots.push((name, slot.clone()));
    slot
}

/// The threads that are busy for longer than they may, and for how long each has been.
pub fn stuck(now: Instant) -> Vec<(String, Duration)> {
    let late = |(name, slot): &(String, Arc<Slot>)| {
        let (since, until) = (*lock(&slot.0))?;
        (until < now).then(|| (name.clone(), now.saturating_duration_since(since)))
    };
    lock(&SLOTS).iter().filter_map(late).collect()
}

/// Stack of a thread that calls into SQLite, TLS or JSON.
pub const STACK_BYTES: usize = 1024 * 1024;

/// Told once, seen by all: please end.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Not told yet.
    pub fn new() -> Stop {
        Stop::default()
    }

    /// Asks every holder to end. Waiters must be woken by their own [`Wake`].
    pub fn tell(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether it was told.
    pub fn is_told(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// A wake-up without content: it says "look again", never what. Losing one costs a delay until the time-out, never work.
#[derive(Clone, Debug, Default)]
pub struct Wake(Arc<(Mutex<bool>, Condvar)>);

impl Wake {
    /// Nobody woken yet.
    pub fn new() -> Wake {
        Wake::default()
    }

    /// Wakes the one who waits, or makes its next wait return at once.
    pub fn wake(&self) {
        *lock(&self.0.0) = true;
        self.0.1.notify_one();
    }

    /// Waits for a wake-up, `timeout` at most. Says whether it was woken.
    pub fn wait(&self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        let mut woken = lock(&self.0.0);
        loop {
            if *woken {
                *woken = false;
                return true;
            }
            let Some(left) = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) else {
                return false;
            };
            woken = match self.0.1.wait_timeout(woken, left) {
                Ok((guard, _)) => guard,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wake_before_the_wait_is_not_lost() {
        let wake = Wake::new();
        wake.wake();
        assert!(wake.wait(Duration::from_secs(60)));
        assert!(!wake.wait(Duration::ZERO));
    }

    #[test]
    fn who_is_busy_for_too_long_is_found_and_forgotten() {
        let (wake, begun) = (Wake::new(), Wake::new());
        let (waiter, tell) = (wake.clone(), begun.clone());
        let thread = spawn("stuck-one", STACK_BYTES, move || {
            let work = busy(BUSY_MAX);
            {
                // A part that may take longer, and is done.
                let _part = busy(BUSY_MAX * 10);
            }
            tell.wake();
            waiter.wait(Duration::from_secs(60));
            drop(work);
            tell.wake();
            waiter.wait(Duration::from_secs(60));
        })
        .unwrap();
        // Other tests of this process may be busy, too.
        let is_stuck = |later| stuck(Instant::now() + later).iter().any(|(name, _)| name == "stuck-one");
        assert!(begun.wait(Duration::from_secs(60)));
        assert!(!is_stuck(BUSY_MAX / 2));
        assert!(is_stuck(BUSY_MAX + Duration::from_secs(1)));
        wake.wake();
        assert!(begun.wait(Duration::from_secs(60)));
        assert!(!is_stuck(BUSY_MAX * 100));
        wake.wake();
        thread.join().unwrap();
        // The next one to enrol clears away whoever has ended.
        drop(busy(BUSY_MAX));
        spawn("after-it", STACK_BYTES, || drop(busy(BUSY_MAX))).unwrap().join().unwrap();
        assert!(lock(&SLOTS).iter().all(|(name, _)| name != "stuck-one"));
    }

    #[test]
    fn a_wake_ends_a_wait() {
        let wake = Wake::new();
        let waiter = wake.clone();
        let thread = spawn("waiter", STACK_BYTES, move || waiter.wait(Duration::from_secs(60))).unwrap();
        wake.wake();
        assert!(thread.join().unwrap());
    }
}
