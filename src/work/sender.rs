//! A sender's loop: claim what is due for one sink, try it, settle it. Owns retrying and giving up; refuses to know what
//! the sink does.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    backoff,
    breaker::Leave,
    lane::{Health, Lane},
};
use crate::{
    logfmt,
    sink::{Bundle, Outcome, Parcel, Sink},
    store::{Claim, Portion, Settlement},
    threads::{self, Wake},
};

/// Dispatches in one claim. Each is settled by itself as soon as it was tried, so that a crash repeats one at most.
pub const BATCH: usize = 16;
/// A lost wake-up costs at most this.
const LOOK_AGAIN: Duration = Duration::from_secs(60);
/// Every sink has limits of its own for what it waits for, ten minutes at the most; one that is at it for longer is stuck.
const ATTEMPT_MAX: Duration = Duration::from_secs(15 * 60);
/// After a database error.
const RECOVER: Duration = Duration::from_secs(1);

/// Delivers to one sink, one of as many threads as its lane has. [`Sender::run`] is the thread.
pub struct Sender {
    /// Shared with the other threads.
    pub lane: Arc<Lane>,
    /// Which of the threads, from 0.
    pub thread: usize,
    /// The sink, this thread's own.
    pub sink: Box<dyn Sink>,
}

/// What came of one attempt.
struct Tried {
    settlement: Settlement,
    /// The destination's wish to be left alone.
    pause: Option<Duration>,
    health: Health,
}

impl Sender {
    /// Works until told to stop.
    pub fn run(mut self) {
        while !self.is_told() {
            let portion = match self.lane.leave(self.thread) {
                Leave::All => self.lane.parts.portion,
                Leave::Probe => Portion { is_probe: true, ..self.lane.parts.portion },
                Leave::Nothing(left) => {
                    self.wake().wait(left.min(LOOK_AGAIN));
                    continue;
                }
            };
            if self.rest_while_quiet() {
                continue;
            }
            match self.lane.parts.store.claim(&self.lane.parts.name, portion) {
                Ok(claimed) if claimed.claims.is_empty() => {
                    self.wake().wait(claimed.next_due.unwrap_or(LOOK_AGAIN).min(LOOK_AGAIN));
                }
                Ok(claimed) => {
                    if claimed.claims.len() == portion.count
                        && let Some(next) = self.lane.parts.wakes.get(self.thread + 1)
                    {
                        // There may be more.
                        next.wake();
                    }
                    match claimed.is_bundle {
                        true => self.deliver_bundle(claimed.claims),
                        false => self.deliver_all(claimed.claims),
                    }
                }
                // The store has logged the cause.
                Err(_) => {
                    self.wake().wait(RECOVER);
                }
            }
        }
    }

    fn is_told(&self) -> bool {
        self.lane.parts.stop.is_told()
    }

    fn wake(&self) -> &Wake {
        &self.lane.parts.wakes[self.thread]
    }

    fn deliver_all(&mut self, claims: Vec<Claim>) {
        // What of a batch failed: what is about the same waits behind it.
        let mut waiting: Vec<String> = Vec::new();
        let mut claims = claims.into_iter();
        while let Some(mut claim) = claims.next() {
            let subject = claim.parcel.as_ref().ok().and_then(|parcel| parcel.subject.clone());
            if subject.as_ref().is_some_and(|subject| waiting.contains(subject)) {
                self.release(vec![claim]);
                continue;
            }
            if self.may_try() {
                self.wait_for_turn(&claim);
            }
            if !self.may_try() {
                // All the rest with it: what is about the same must not go when silence ends between the two.
                return self.release([claim].into_iter().chain(claims).collect());
            }
            let tried = self.try_once(&mut claim);
            if matches!(tried.settlement, Settlement::Retry { .. }) {
                waiting.extend(subject);
            }
            self.conclude(vec![(claim, tried.settlement)], tried.pause, &tried.health);
        }
    }

    /// All in one message, all with one outcome. When it is refused for good, each has its own chance.
    fn deliver_bundle(&mut self, claims: Vec<Claim>) {
        if self.may_try()
            && let Some(first) = claims.first()
        {
            self.wait_for_turn(first);
        }
        if !self.may_try() {
            return self.release(claims);
        }
        let (mut claims, broken): (Vec<Claim>, Vec<Claim>) = claims.into_iter().partition(|claim| claim.parcel.is_ok());
        if !broken.is_empty() {
            self.deliver_all(broken);
        }
        let parcels: Vec<Parcel> = claims.iter().filter_map(|claim| claim.parcel.as_ref().ok().cloned()).collect();
        if parcels.is_empty() {
            return;
        }
        let start = Instant::now();
        let sink = &mut self.sink;
        let outcome = guarded(|| sink.deliver_bundle(Bundle { parcels: &parcels }));
        let took = start.elapsed();
        if let Outcome::Dead { reason } = &outcome {
            let (name, count) = (&self.lane.parts.name, claims.len());
            log::warn!("one by one sink={name} count={count} why={}", logfmt::value(reason));
            return self.deliver_all(claims);
        }
        claims.iter_mut().for_each(|claim| claim.took = took);
        // One wait for all, so that they stay together.
        let jitter = (self.lane.parts.random)();
        let failures = claims.iter().map(|claim| claim.failures).min().unwrap_or_default();
        let (mut pause, mut health, mut settled) = (None, Health::Unknown, Vec::new());
        for (claim, parcel) in claims.into_iter().zip(&parcels) {
            let tried = self.judged(&claim, parcel, outcome.clone(), (failures, jitter));
            settled.push((claim, tried.settlement));
            (pause, health) = (tried.pause, tried.health);
        }
        self.conclude(settled, pause, &health);
    }

    /// Gives back what was not tried: it keeps its place before what comes meanwhile.
    fn release(&self, claims: Vec<Claim>) {
        let delay = self.lane.quiet().unwrap_or_default();
        self.settle(claims.into_iter().map(|claim| (claim, Settlement::Released { delay })).collect());
    }

    /// Whether the destination may be asked now.
    fn may_try(&self) -> bool {
        !self.is_told() && self.lane.quiet().is_none() && !matches!(self.lane.leave(self.thread), Leave::Nothing(_))
    }

    /// Waits until the destination takes another one.
    fn wait_for_turn(&mut self, claim: &Claim) {
        while !self.is_told()
            && let Ok(parcel) = &claim.parcel
            && let Err(left) = self.sink.take_turn(parcel, Instant::now())
        {
            let until = Instant::now() + left;
            while !self.is_told()
                && let Some(left) = until.checked_duration_since(Instant::now())
                && !left.is_zero()
            {
                self.wake().wait(left);
            }
        }
    }

    /// Nothing goes to a destination that asked for silence, whatever comes in meanwhile. Says whether it did.
    fn rest_while_quiet(&self) -> bool {
        let Some(left) = self.lane.quiet() else { return false };
        self.wake().wait(left);
        true
    }

    fn conclude(&self, settled: Vec<(Claim, Settlement)>, pause: Option<Duration>, health: &Health) {
        if let Some(pause) = pause {
            self.lane.be_quiet(pause);
        }
        self.settle(settled);
        self.lane.judge(health);
    }

    fn try_once(&mut self, claim: &mut Claim) -> Tried {
        let tried = |settlement, pause, health| Tried { settlement, pause, health };
        let parcel = match &claim.parcel {
            Ok(parcel) => parcel,
            Err(error) => return tried(Settlement::Dead { reason: error.to_string() }, None, Health::Unknown),
        };
        let sink = &mut self.sink;
        let start = Instant::now();
        let outcome = guarded(|| sink.deliver(parcel));
        claim.took = start.elapsed();
        self.judged(claim, parcel, outcome, (claim.failures, (self.lane.parts.random)()))
    }

    /// What an outcome means for one parcel.
    fn judged(&self, claim: &Claim, parcel: &Parcel, outcome: Outcome, (failures, jitter): (u32, f64)) -> Tried {
        let tried = |settlement, pause, health| Tried { settlement, pause, health };
        let (name, retry, took) = (&self.lane.parts.name, &self.lane.parts.retry, claim.took);
        let (id, kind) = (parcel.delivery, &parcel.event.kind);
        self.lane.parts.meters.tried(name, outcome.name(), took);
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
                let backoff = backoff::delay(retry, failures.saturating_add(1), jitter);
                let delay = pause.unwrap_or(backoff);
                if claim.tried + took + delay > retry.give_up_after {
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
                tried(Settlement::Retry { reason, delay }, pause, health)
            }
        }
    }

    /// Settles, and keeps at it: the claims are ours until it is written, and going on without would send them twice.
    fn settle(&self, mut settled: Vec<(Claim, Settlement)>) {
        while let Err((_, held)) = self.lane.parts.store.settle(settled) {
            if self.is_told() {
                return;
            }
            settled = held;
            self.wake().wait(RECOVER);
        }
    }
}

/// A sink that panics on a parcel has a bug, and the next parcel does not pay for it.
fn guarded(deliver: impl FnOnce() -> Outcome) -> Outcome {
    let _busy = threads::busy(ATTEMPT_MAX);
    catch_unwind(AssertUnwindSafe(deliver)).unwrap_or_else(|panic| Outcome::Dead {
        reason: format!("hookbell failed on it (a bug, please report it): {}", panic_text(&*panic)),
    })
}

/// What a panic said.
pub(super) fn panic_text(panic: &(dyn Any + Send)) -> &str {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => text,
        (None, Some(text)) => text,
        (None, None) => "a panic without words",
    }
}

#[cfg(test)]
mod tests;
