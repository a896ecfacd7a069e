//! The only concurrency vocabulary: a stop signal, a wake-up, a named thread. Owns spawning; refuses to know what runs.

use std::{
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
    fn a_wake_ends_a_wait() {
        let wake = Wake::new();
        let waiter = wake.clone();
        let thread = spawn("waiter", STACK_BYTES, move || waiter.wait(Duration::from_secs(60))).unwrap();
        wake.wake();
        assert!(thread.join().unwrap());
    }
}
