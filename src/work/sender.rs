//! A sender's loop: claim what is due for one sink, try it, settle it. Owns retrying and giving up; refuses to know what
//! the sink does.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, Instant},
};

use super::backoff;
use crate::{
    config::Retry,
    logfmt,
    sink::{Outcome, Sink},
    store::{Claim, Settlement, Store},
    threads::{Stop, Wake},
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
}

impl Sender {
    /// Works until told to stop.
    pub fn run(mut self) {
        while !self.stop.is_told() {
            match self.store.claim(&self.name, BATCH) {
                Ok(claimed) if claimed.claims.is_empty() => {
                    self.wake.wait(claimed.next_due.unwrap_or(LOOK_AGAIN).min(LOOK_AGAIN));
                }
                Ok(claimed) => self.deliver_all(claimed.claims),
                // The store has logged the cause.
                Err(_) => {
                    self.wake.wait(RECOVER);
                }
            }
        }
    }

    fn deliver_all(&mut self, claims: Vec<Claim>) {
        let mut paused_until: Option<Instant> = None;
        for claim in claims {
            let left = paused_until.map(|until| until.saturating_duration_since(Instant::now()));
            let settlement = match left {
                _ if self.stop.is_told() => Settlement::Released { delay: Duration::ZERO },
                // The destination asked for silence: what was claimed along goes back behind the one it refused.
                Some(delay) => Settlement::Released { delay },
                None => {
                    let (settlement, pause) = self.try_once(&claim);
                    paused_until = pause.map(|pause| Instant::now() + pause);
                    settlement
                }
            };
            self.settle(claim, settlement);
        }
        if let Some(until) = paused_until {
            self.rest(until);
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

    fn try_once(&mut self, claim: &Claim) -> (Settlement, Option<Duration>) {
        let parcel = match &claim.parcel {
            Ok(parcel) => parcel,
            Err(error) => return (Settlement::Dead { reason: error.to_string() }, None),
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
                (Settlement::Done { receipt }, None)
            }
            Outcome::Skipped { note } => {
                log::info!("skipped id={id} kind={kind} sink={name} why={}", logfmt::value(&note));
                (Settlement::Skipped { note }, None)
            }
            Outcome::Dead { reason } => {
                log::error!("gave up id={id} kind={kind} sink={name} why={}", logfmt::value(&reason));
                (Settlement::Dead { reason }, None)
            }
            Outcome::Retry { reason, pause } => {
                let backoff = backoff::delay(&self.retry, claim.failures.saturating_add(1), (self.random)());
                let delay = pause.unwrap_or(backoff);
                if claim.tried + took + delay > self.retry.give_up_after {
                    let reason = format!(
                        "gave up after {} attempts over {:.1} h of trying: {reason}",
                        parcel.tried.saturating_add(1),
                        (claim.tried + took).as_secs_f64() / 3600.0
                    );
                    log::error!("gave up id={id} kind={kind} sink={name} why={}", logfmt::value(&reason));
                    return (Settlement::Dead { reason }, pause);
                }
                log::warn!(
                    "retry id={id} kind={kind} sink={name} attempt={} in={:.1}s why={}",
                    parcel.tried.saturating_add(1),
                    delay.as_secs_f64(),
                    logfmt::value(&reason)
                );
                (Settlement::Retry { reason, delay, took }, pause)
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
