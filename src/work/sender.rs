//! A sender's loop: claim what is due for one sink, try it, settle it. Owns retrying and giving up, and leaves a sink that
//! keeps failing alone; refuses to know what the sink does.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    backoff,
    breaker::{Breaker, Change, Leave},
};
use crate::{
    config::Retry,
    logfmt,
    sink::{Fault, Outcome, Sink},
    store::{Claim, Settlement, Store},
    threads::{Stop, Wake},
    time::Clock,
};

/// Dispatches in one claim. Each is settled by itself as soon as it was tried, so that a crash repeats one at most.
const BATCH: usize = 16;
/// A lost wake-up costs at most this.
const LOOK_AGAIN: Duration = Duration::from_secs(60);
/// After a database error.
const RECOVER: Duration = Duration::from_secs(1);

/// Delivers to one sink. [`Sender::run`] is the thread.
pub struct Sender {
    /// The sink's name.
    pub name: String,
    /// The sink.
    pub sink: Box<dyn Sink>,
    /// How it is tried again.
    pub retry: Retry,
    /// The database.
    pub store: Store,
    /// Woken by the router.
    pub wake: Wake,
    /// Told when to end.
    pub stop: Stop,
    /// A random number from 0 to 1, for the jitter.
    pub random: fn() -> f64,
    /// What time it is, for the breaker.
    pub clock: Arc<dyn Clock>,
    /// Told when the sink is left alone from now on.
    pub on_down: Box<dyn Fn() + Send>,
}

/// What came of one attempt.
struct Tried {
    settlement: Settlement,
    /// The destination's wish to be left alone.
    pause: Option<Duration>,
    health: Health,
}

/// What an attempt says about the destination.
enum Health {
    Well,
    Ill {
        fault: Fault,
        reason: String,
    },
    /// The parcel was at fault, and nothing is known.
    Unknown,
}

impl Sender {
    /// Works until told to stop.
    pub fn run(mut self) {
        let mut breaker = self.restored();
        while !self.stop.is_told() {
            let count = match breaker.leave(self.clock.wall()) {
                Leave::All => BATCH,
                Leave::Probe => 1,
                Leave::Nothing(left) => {
                    self.wake.wait(left.min(LOOK_AGAIN));
                    continue;
                }
            };
            match self.store.claim(&self.name, count) {
                Ok(claimed) if claimed.claims.is_empty() => {
                    self.wake.wait(claimed.next_due.unwrap_or(LOOK_AGAIN).min(LOOK_AGAIN));
                }
                Ok(claimed) => self.deliver_all(claimed.claims, &mut breaker),
                // The store has logged the cause.
                Err(_) => {
                    self.wake.wait(RECOVER);
                }
            }
        }
    }

    /// The breaker as the last process left it.
    fn restored(&self) -> Breaker {
        match self.store.reader().and_then(|reader| reader.outage(&self.name)) {
            Ok(outage) => Breaker::new(self.retry.cap, outage),
            Err(error) => {
                log::warn!("cannot read whether sink={} was left alone: {error}", self.name);
                Breaker::new(self.retry.cap, None)
            }
        }
    }

    fn deliver_all(&mut self, claims: Vec<Claim>, breaker: &mut Breaker) {
        let mut paused_until: Option<Instant> = None;
        for claim in claims {
            if paused_until.is_none() && !matches!(breaker.leave(self.clock.wall()), Leave::Nothing(_)) {
                self.wait_for_turn(&claim);
            }
            let left = paused_until.map(|until| until.saturating_duration_since(Instant::now()));
            let settlement = match left {
                // Not tried: it keeps its place before what comes meanwhile.
                _ if self.stop.is_told() || matches!(breaker.leave(self.clock.wall()), Leave::Nothing(_)) => {
                    Settlement::Released { delay: Duration::ZERO }
                }
                // The destination asked for silence: what was claimed along goes back behind the one it refused.
                Some(delay) => Settlement::Released { delay },
                None => {
                    let Tried { settlement, pause, health } = self.try_once(&claim);
                    paused_until = pause.map(|pause| Instant::now() + pause);
                    self.settle(claim, settlement);
                    self.judge(breaker, &health);
                    continue;
                }
            };
            self.settle(claim, settlement);
        }
        if let Some(until) = paused_until {
            self.rest(until);
        }
    }

    /// Waits until the destination takes another one.
    fn wait_for_turn(&mut self, claim: &Claim) {
        while !self.stop.is_told()
            && let Ok(parcel) = &claim.parcel
            && let Err(left) = self.sink.take_turn(parcel, Instant::now())
        {
            self.rest(Instant::now() + left);
        }
    }

    /// Nothing goes to a destination that asked for silence, whatever comes in meanwhile.
    fn rest(&self, until: Instant) {
        while !self.stop.is_told()
            && let Some(left) = until.checked_duration_since(Instant::now())
            && !left.is_zero()
        {
            self.wake.wait(left);
        }
    }

    /// Draws the breaker's conclusion, keeps it and tells of it.
    fn judge(&self, breaker: &mut Breaker, health: &Health) {
        let (name, now, before) = (&self.name, self.clock.wall(), breaker.outage().cloned());
        let change = match health {
            Health::Unknown => None,
            Health::Well => breaker.succeeded(now),
            Health::Ill { fault, reason } => breaker.failed(now, *fault, reason),
        };
        let outage = breaker.outage().cloned();
        match (change, &outage) {
            (Some(Change::Opened), Some(outage)) => {
                log::error!("left alone sink={name} next={} why={}", outage.until, logfmt::value(&outage.reason));
                (self.on_down)();
            }
            (Some(Change::Closed { after }), _) => log::info!("back sink={name} after={:.0}s", after.as_secs_f64()),
            _ => {}
        }
        if outage != before
            && let Err(error) = self.store.keep_outage(name, outage)
        {
            log::warn!("cannot note whether sink={name} is left alone: {error}");
        }
    }

    fn try_once(&mut self, claim: &Claim) -> Tried {
        let tried = |settlement, pause, health| Tried { settlement, pause, health };
        let parcel = match &claim.parcel {
            Ok(parcel) => parcel,
            Err(error) => return tried(Settlement::Dead { reason: error.to_string() }, None, Health::Unknown),
        };
        let (name, id, kind) = (&self.name, parcel.delivery, &parcel.event.kind);
        let start = Instant::now();
        let sink = &mut self.sink;
        let outcome = catch_unwind(AssertUnwindSafe(|| sink.deliver(parcel))).unwrap_or_else(|panic| Outcome::Dead {
            reason: format!("hookbell failed on it (a bug, please report it): {}", panic_text(&*panic)),
        });
        let took = start.elapsed();
        match outcome {
            Outcome::Done { receipt } => {
                log::info!("sent id={id} kind={kind} sink={name} ms={}", took.as_millis());
                tried(Settlement::Done { receipt }, None, Health::Well)
            }
            Outcome::Skipped { note } => {
                log::info!("skipped id={id} kind={kind} sink={name} why={}", logfmt::value(&note));
                tried(Settlement::Skipped { note }, None, Health::Well)
            }
            Outcome::Dead { reason } => {
                log::error!("gave up id={id} kind={kind} sink={name} why={}", logfmt::value(&reason));
                tried(Settlement::Dead { reason }, None, Health::Unknown)
            }
            Outcome::Retry { reason, pause, fault } => {
                let health = Health::Ill { fault, reason: reason.clone() };
                let backoff = backoff::delay(&self.retry, claim.failures.saturating_add(1), (self.random)());
                let delay = pause.unwrap_or(backoff);
                if claim.tried + took + delay > self.retry.give_up_after {
                    let reason = format!(
                        "gave up after {} attempts over {:.1} h of trying: {reason}",
                        parcel.tried.saturating_add(1),
                        (claim.tried + took).as_secs_f64() / 3600.0
                    );
                    log::error!("gave up id={id} kind={kind} sink={name} why={}", logfmt::value(&reason));
                    return tried(Settlement::Dead { reason }, pause, health);
                }
                log::warn!(
                    "retry id={id} kind={kind} sink={name} attempt={} in={:.1}s why={}",
                    parcel.tried.saturating_add(1),
                    delay.as_secs_f64(),
                    logfmt::value(&reason)
                );
                tried(Settlement::Retry { reason, delay, took }, pause, health)
            }
        }
    }

    /// Settles, and keeps at it: the claim is ours until it is written, and going on without would send it twice.
    fn settle(&self, claim: Claim, settlement: Settlement) {
        let mut settled = vec![(claim, settlement)];
        while let Err((_, held)) = self.store.settle(settled) {
            if self.stop.is_told() {
                return;
            }
            settled = held;
            self.wake.wait(RECOVER);
        }
    }
}

/// What a panic said.
pub(super) fn panic_text(panic: &(dyn Any + Send)) -> &str {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => text,
        (None, Some(text)) => text,
        (None, None) => "a panic without words",
    }
}
