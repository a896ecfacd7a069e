//! When a sink that keeps failing is left alone. Owns the state of one circuit breaker and its arithmetic; refuses to
//! know a clock, what was tried, or where the state is kept.
//!
//! Closed, everything is tried. After [`IN_A_ROW`] failures in a row, or when most of the attempts of the last minutes
//! failed, it opens: nothing is tried for a while. Then it is half open: one attempt, the probe, decides whether it closes
//! or stays open for twice as long. A message that the destination refuses for its own sake is no failure here: it says
//! nothing about the next one.

use std::{collections::VecDeque, time::Duration};

use crate::{sink::Fault, store::Outage, time::Timestamp};

/// Failures in a row that open it.
const IN_A_ROW: u32 = 5;
/// Attempts that are looked at together, and how far back.
const WINDOW: Duration = Duration::from_secs(5 * 60);
const WINDOW_ATTEMPTS_MIN: usize = 10;
/// Attempts that are remembered; a window holds no more of them.
const WINDOW_ATTEMPTS_MAX: usize = 200;
/// Of them so many in a hundred have to fail.
const WINDOW_FAILED_PERCENT: usize = 70;
/// How long it stays open at first, and at most.
const OPEN_FIRST: Duration = Duration::from_secs(30);
const OPEN_MAX: Duration = Duration::from_secs(10 * 60);

/// A breaker. Time is whatever the caller's timestamps say; a step of the clock may make it wait [`OPEN_MAX`] at most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Breaker {
    /// It is never open for longer than one parcel would wait by itself.
    wait_max: Duration,
    /// The latest attempts, oldest first, and whether each failed.
    window: VecDeque<(Timestamp, bool)>,
    in_a_row: u32,
    outage: Option<Outage>,
}

/// What may be tried now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leave {
    /// Everything.
    All,
    /// One, which decides.
    Probe,
    /// Nothing for so long.
    Nothing(Duration),
}

/// What people should hear of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// It was closed.
    Opened,
    /// It is closed again, after so long.
    Closed {
        /// How long nothing but probes went out.
        after: Duration,
    },
}

impl Breaker {
    /// As it was before a restart. `wait_max` is the longest wait that the sink's retries have.
    pub(super) fn new(wait_max: Duration, outage: Option<Outage>) -> Breaker {
        Breaker { wait_max: wait_max.min(OPEN_MAX), window: VecDeque::new(), in_a_row: 0, outage }
    }

    /// What is known while it is not closed.
    pub(super) fn outage(&self) -> Option<&Outage> {
        self.outage.as_ref()
    }

    /// What may be tried now.
    pub(super) fn leave(&mut self, now: Timestamp) -> Leave {
        let Some(outage) = &mut self.outage else { return Leave::All };
        // A clock that was set back must not keep it shut for longer than it ever would be.
        outage.until = outage.until.min(now.plus(self.wait_max));
        match outage.until.since(now) {
            Duration::ZERO => Leave::Probe,
            left => Leave::Nothing(left),
        }
    }

    /// An attempt went well.
    pub(super) fn succeeded(&mut self, now: Timestamp) -> Option<Change> {
        self.in_a_row = 0;
        self.remember(now, false);
        let outage = self.outage.take()?;
        // What happened before is explained; it must not open again for the failures that it opened for.
        self.window.clear();
        Some(Change::Closed { after: now.since(outage.since) })
    }

    /// An attempt failed. One that was only asked to wait says nothing about the destination's health.
    pub(super) fn failed(&mut self, now: Timestamp, fault: Fault, reason: &str) -> Option<Change> {
        if fault == Fault::Busy {
            return None;
        }
        self.in_a_row = self.in_a_row.saturating_add(1);
        self.remember(now, true);
        if let Some(outage) = &mut self.outage {
            // What was under way when it opened is no probe.
            if outage.until > now {
                return None;
            }
            outage.wait = (outage.wait * 2).min(self.wait_max);
            outage.until = now.plus(outage.wait);
            reason.clone_into(&mut outage.reason);
            return None;
        }
        if fault == Fault::Transient && self.in_a_row < IN_A_ROW && !self.mostly_fails() {
            return None;
        }
        let reason = reason.to_owned();
        let wait = OPEN_FIRST.min(self.wait_max);
        self.outage = Some(Outage { since: now, until: now.plus(wait), wait, reason });
        Some(Change::Opened)
    }

    fn remember(&mut self, now: Timestamp, failed: bool) {
        self.window.push_back((now, failed));
        while self.window.len() > WINDOW_ATTEMPTS_MAX
            || self.window.front().is_some_and(|(at, _)| now.since(*at) > WINDOW || *at > now)
        {
            self.window.pop_front();
        }
    }

    fn mostly_fails(&self) -> bool {
        let failed = self.window.iter().filter(|(_, failed)| *failed).count();
        self.window.len() >= WINDOW_ATTEMPTS_MIN && failed * 100 >= self.window.len() * WINDOW_FAILED_PERCENT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_ms(1_760_000_000_000 + seconds * 1000)
    }

    const HOUR: Duration = Duration::from_secs(3600);

    fn closed() -> Breaker {
        Breaker::new(HOUR, None)
    }

    fn opened_by_five() -> Breaker {
        let mut breaker = closed();
        for second in 0..4 {
            assert_eq!(breaker.failed(at(second), Fault::Transient, "hangs"), None);
        }
        assert_eq!(breaker.failed(at(4), Fault::Transient, "still hangs"), Some(Change::Opened));
        breaker
    }

    #[test]
    fn five_in_a_row_open_it_and_one_probe_closes_it() {
        let mut breaker = opened_by_five();
        assert_eq!(breaker.leave(at(4)), Leave::Nothing(Duration::from_secs(30)));
        assert_eq!(breaker.leave(at(33)), Leave::Nothing(Duration::from_secs(1)));
        assert_eq!(breaker.leave(at(34)), Leave::Probe);
        assert_eq!(breaker.outage().map(|outage| outage.reason.as_str()), Some("still hangs"));
        assert_eq!(breaker.succeeded(at(35)), Some(Change::Closed { after: Duration::from_secs(31) }));
        assert_eq!((breaker.leave(at(35)), breaker.outage()), (Leave::All, None));
        // Its past is forgotten: it takes five again.
        assert!((0..4).all(|second| breaker.failed(at(40 + second), Fault::Transient, "x").is_none()));
    }

    #[test]
    fn a_success_in_between_starts_the_count_anew() {
        let mut breaker = closed();
        for round in 0..3 {
            assert!((0..4).all(|second| breaker.failed(at(round * 400 + second), Fault::Transient, "x").is_none()));
            assert_eq!(breaker.succeeded(at(round * 400 + 5)), None);
        }
    }

    #[test]
    fn each_probe_that_fails_doubles_the_wait_up_to_ten_minutes() {
        let mut breaker = opened_by_five();
        let mut waits = Vec::new();
        let mut now = at(4);
        for _ in 0..8 {
            let Leave::Nothing(left) = breaker.leave(now) else { panic!("it is open") };
            waits.push(left.as_secs());
            now = now.plus(left);
            assert_eq!(breaker.leave(now), Leave::Probe);
            assert_eq!(breaker.failed(now, Fault::Transient, "x"), None, "nobody hears of it again");
        }
        assert_eq!(waits, [30, 60, 120, 240, 480, 600, 600, 600]);
        assert_eq!(breaker.outage().unwrap().since, at(4));
    }

    #[test]
    fn seven_of_ten_within_five_minutes_open_it() {
        let outcome = |failures: &[i64], successes: &[i64]| {
            let mut breaker = closed();
            let mut all: Vec<(i64, bool)> = failures.iter().map(|second| (*second, true)).collect();
            all.extend(successes.iter().map(|second| (*second, false)));
            all.sort();
            for (second, failed) in all {
                match failed {
                    true => breaker.failed(at(second), Fault::Transient, "x"),
                    false => breaker.succeeded(at(second)),
                };
            }
            breaker.outage().is_some()
        };
        // Never five in a row.
        assert!(outcome(&[0, 1, 2, 3, 10, 11, 12, 20], &[5, 15]), "eight of ten");
        assert!(!outcome(&[0, 1, 2, 10, 11, 12], &[5, 15, 16, 17]), "six of ten");
        assert!(!outcome(&[0, 1, 2, 3, 10, 11, 12], &[5, 15]), "seven of nine");
        assert!(!outcome(&[0, 1, 2, 3, 310, 311, 312, 330], &[5, 315]), "the older half is out of sight");
    }

    #[test]
    fn what_somebody_must_repair_opens_it_at_once() {
        let mut breaker = closed();
        assert!((0..100).all(|second| breaker.failed(at(second), Fault::Busy, "slow down").is_none()));
        assert_eq!(breaker.failed(at(100), Fault::Configuration, "archived"), Some(Change::Opened));
    }

    #[test]
    fn a_clock_that_was_set_back_keeps_it_shut_for_ten_minutes_at_most() {
        let mut breaker = opened_by_five();
        assert_eq!(breaker.leave(at(-1_000_000)), Leave::Nothing(OPEN_MAX));
        let mut restored = Breaker::new(HOUR, breaker.outage().cloned());
        assert_eq!(restored.leave(at(34)), Leave::Probe);
    }

    #[test]
    fn it_is_never_open_for_longer_than_a_parcel_would_wait() {
        let mut breaker = Breaker::new(Duration::from_secs(1), None);
        breaker.failed(at(0), Fault::Configuration, "x");
        assert_eq!(breaker.leave(at(0)), Leave::Nothing(Duration::from_secs(1)));
        breaker.failed(at(1), Fault::Transient, "x");
        assert_eq!(breaker.leave(at(1)), Leave::Nothing(Duration::from_secs(1)));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut breaker = closed();
        for number in 0..10_000 {
            breaker.succeeded(Timestamp::from_ms(number));
        }
        assert_eq!(breaker.window.len(), WINDOW_ATTEMPTS_MAX);
    }
}
