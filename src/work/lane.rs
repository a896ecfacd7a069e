//! What the threads of one sink have in common: how it is tried, and whether it is left alone. Owns the breaker and the
//! destination's own wish for silence; refuses to know parcels.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use super::breaker::{Breaker, Change, Leave};
use crate::{
    config::Retry,
    logfmt,
    meters::Meters,
    sink::Fault,
    store::{Portion, Store},
    threads::{Stop, Wake, lock},
    time::Clock,
};

/// What a lane is made of.
pub struct Parts {
    /// The sink's name.
    pub name: String,
    /// How it is tried again.
    pub retry: Retry,
    /// How it wants what is due; each thread asks for as much.
    pub portion: Portion,
    /// The database.
    pub store: Store,
    /// One for each thread: woken by the router.
    pub wakes: Vec<Wake>,
    /// Told when to end.
    pub stop: Stop,
    /// A random number from 0 to 1, for the jitter.
    pub random: fn() -> f64,
    /// What time it is, for the breaker.
    pub clock: Arc<dyn Clock>,
    /// Counts the attempts.
    pub meters: Arc<Meters>,
    /// Told when the sink is left alone from now on.
    pub on_down: Box<dyn Fn() + Send + Sync>,
}

/// The way to one sink, for all its threads.
pub struct Lane {
    pub(super) parts: Parts,
    state: Mutex<State>,
}

struct State {
    breaker: Breaker,
    /// The destination's own wish: until then nothing goes there.
    quiet_until: Option<Instant>,
}

/// What an attempt says about the destination.
pub(super) enum Health {
    Well,
    Ill {
        fault: Fault,
        reason: String,
    },
    /// The parcel was at fault, and nothing is known.
    Unknown,
}

impl Lane {
    /// The lane as the last process left it.
    pub fn new(parts: Parts) -> Arc<Lane> {
        let outage = parts.store.reader().and_then(|reader| reader.outage(&parts.name)).unwrap_or_else(|error| {
            log::warn!("cannot read whether sink={} was left alone: {error}", parts.name);
            None
        });
        let breaker = Breaker::new(parts.retry.cap, outage);
        Arc::new(Lane { parts, state: Mutex::new(State { breaker, quiet_until: None }) })
    }

    /// What may be tried now. Of several threads one makes the probe.
    pub(super) fn leave(&self, thread: usize) -> Leave {
        match lock(&self.state).breaker.leave(self.parts.clock.wall()) {
            Leave::Probe if thread > 0 => Leave::Nothing(Duration::MAX),
            leave => leave,
        }
    }

    /// How long the destination wants silence, whatever comes in meanwhile.
    pub(super) fn quiet(&self) -> Option<Duration> {
        let until = lock(&self.state).quiet_until?;
        until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
    }

    /// The destination wants silence.
    pub(super) fn be_quiet(&self, pause: Duration) {
        let until = Instant::now() + pause;
        let mut state = lock(&self.state);
        state.quiet_until = state.quiet_until.max(Some(until));
    }

    /// Whether the sink is left alone because it keeps failing.
    pub(super) fn is_down(&self) -> bool {
        lock(&self.state).breaker.outage().is_some()
    }

    /// Draws the breaker's conclusion, keeps it and tells of it.
    pub(super) fn judge(&self, health: &Health) {
        let Parts { name, store, clock, wakes, on_down, .. } = &self.parts;
        let (change, outage) = {
            let mut state = lock(&self.state);
            let (now, before) = (clock.wall(), state.breaker.outage().cloned());
            let change = match health {
                Health::Unknown => None,
                Health::Well => state.breaker.succeeded(now),
                Health::Ill { fault, reason } => state.breaker.failed(now, *fault, reason),
            };
            let outage = state.breaker.outage().cloned();
            // Under the lock, so that what is kept last is what holds.
            if outage != before
                && let Err(error) = store.keep_outage(name, outage.clone())
            {
                log::warn!("cannot note whether sink={name} is left alone: {error}");
            }
            (change, outage)
        };
        match (change, &outage) {
            (Some(Change::Opened), Some(outage)) => {
                log::error!("left alone sink={name} next={} why={}", outage.until, logfmt::value(&outage.reason));
                on_down();
            }
            (Some(Change::Closed { after }), _) => {
                log::info!("back sink={name} after={:.0}s", after.as_secs_f64());
                wakes.iter().for_each(Wake::wake);
            }
            _ => {}
        }
    }
}
