//! What is done to the service while all the others go on: by a schedule that follows from the seed. Owns the faults and the
//! times in which the door may be deaf because of them; refuses to judge.

use std::{
    collections::BTreeMap,
    fs, io,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use hookbell_bench::{
    slack::{Mode, Slack},
    stage::{PATIENCE, Stage},
};
use rusqlite::Connection;
use rustix::process::{Resource, Signal};

use crate::{
    chance::{Chance, Halt, Windows},
    ledger::Ledger,
};

/// The share of the time in which the process may be ended. What is left is its last and longest life.
pub(crate) const RESTARTS_SHARE: f64 = 0.4;
/// Faults in a soak of ten minutes, about; in a longer one they are no further apart than this.
const FAULTS: u32 = 25;
const APART: (Duration, Duration) = (Duration::from_secs(6), Duration::from_secs(45));
/// Nothing begins so late that its end would not be seen.
const QUIET_AT_THE_END: Duration = Duration::from_secs(20);
/// What a fault leaves behind at the door may still be felt so long.
const GRACE: Duration = Duration::from_secs(5);
/// Longer than the service waits for an answer.
const SLACK_HANGS: Duration = Duration::from_secs(12);
const SLACK_FAILS: Duration = Duration::from_secs(5);
const STOPPED: Duration = Duration::from_secs(1);
const LOCKED: Duration = Duration::from_secs(2);
const WITHOUT_DESCRIPTORS: Duration = Duration::from_secs(2);

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    SlackFails,
    SlackLimits,
    SlackHangs,
    SlackRefuses,
    Stopped,
    Locked,
    Descriptors,
    Terminated,
    Killed,
}

impl Fault {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Fault::SlackFails => "Slack answers 500",
            Fault::SlackLimits => "Slack answers 429",
            Fault::SlackHangs => "Slack hangs",
            Fault::SlackRefuses => "Slack hangs up",
            Fault::Stopped => "SIGSTOP for 1 s",
            Fault::Locked => "database locked for 2 s",
            Fault::Descriptors => "no descriptors for 2 s",
            Fault::Terminated => "SIGTERM and started again",
            Fault::Killed => "kill -9 and started again",
        }
    }
}

/// Those that a process survives.
const SURVIVED: [Fault; 7] = [
    Fault::SlackFails,
    Fault::SlackLimits,
    Fault::SlackHangs,
    Fault::SlackRefuses,
    Fault::Stopped,
    Fault::Locked,
    Fault::Descriptors,
];

/// What is done, in order. Every second one ends the process, as long as that is allowed.
#[derive(Debug)]
pub(crate) struct Deck {
    chance: Chance,
    left: Vec<Fault>,
    dealt: u32,
}

impl Deck {
    pub(crate) fn new(seed: u64) -> Deck {
        Deck { chance: Chance::new(seed, 3), left: Vec::new(), dealt: 0 }
    }

    pub(crate) fn deal(&mut self, may_end: bool) -> Fault {
        self.dealt += 1;
        match (may_end, self.dealt % 4) {
            (true, 1) => return Fault::Killed,
            (true, 3) => return Fault::Terminated,
            _ => {}
        }
        if self.left.is_empty() {
            self.left = SURVIVED.to_vec();
            self.chance.shuffle(&mut self.left);
        }
        self.left.pop().unwrap_or(Fault::Stopped)
    }
}

/// Does them.
pub(crate) struct Faults<'a> {
    pub(crate) stage: &'a Stage,
    pub(crate) slack: &'a Slack,
    pub(crate) ledger: &'a Ledger,
    pub(crate) windows: &'a Windows,
    pub(crate) lasts: Duration,
    pub(crate) seed: u64,
    pub(crate) done: &'a Mutex<BTreeMap<Fault, u32>>,
}

impl Faults<'_> {
    /// Does one after the other until it is time to leave the service alone, or told to stop.
    ///
    /// # Errors
    /// When one could not be done, or the service does not come back.
    pub(crate) fn run(&self, halt: &Halt) -> io::Result<()> {
        let begun = Instant::now();
        let mut deck = Deck::new(self.seed);
        let mut chance = Chance::new(self.seed, 4);
        let apart = (self.lasts / FAULTS).clamp(APART.0, APART.1);
        loop {
            if halt.wait(apart.mul_f64(0.6 + 0.8 * chance.share())) {
                return Ok(());
            }
            if begun.elapsed() + QUIET_AT_THE_END > self.lasts {
                return Ok(());
            }
            let fault = deck.deal(begun.elapsed() < self.lasts.mul_f64(RESTARTS_SHARE));
            eprintln!("soak: {:>4} s: {}", begun.elapsed().as_secs(), fault.name());
            let harmed = self.harm(fault, halt);
            self.windows.close(GRACE);
            harmed.map_err(|error| io::Error::other(format!("{}: {error}", fault.name())))?;
            *self.done.lock().unwrap_or_else(PoisonError::into_inner).entry(fault).or_default() += 1;
        }
    }

    fn harm(&self, fault: Fault, halt: &Halt) -> io::Result<()> {
        match fault {
            Fault::SlackFails => self.slack_is(Mode::Status(500), SLACK_FAILS, halt),
            Fault::SlackLimits => self.slack_is(Mode::Status(429), SLACK_FAILS, halt),
            Fault::SlackHangs => self.slack_is(Mode::Hang, SLACK_HANGS, halt),
            Fault::SlackRefuses => self.slack_is(Mode::Refuse, SLACK_FAILS, halt),
            Fault::Stopped => {
                self.windows.open();
                self.stage.signal(None, Signal::STOP)?;
                halt.wait(STOPPED);
                self.stage.signal(None, Signal::CONT)?;
            }
            Fault::Locked => {
                self.windows.open();
                let database = Connection::open(self.stage.plan.database()).map_err(io::Error::other)?;
                database.busy_timeout(PATIENCE).map_err(io::Error::other)?;
                // Rolled back when it is closed.
                database.execute_batch("BEGIN IMMEDIATE").map_err(io::Error::other)?;
                halt.wait(LOCKED);
            }
            Fault::Descriptors => {
                self.windows.open();
                let Some(pid) = self.stage.pids().first().copied() else {
                    return Err(io::Error::other("it does not run"));
                };
                let open = fs::read_dir(format!("/proc/{}/fd", pid.as_raw_nonzero()))?.count() as u64;
                self.stage.limit(Resource::Nofile, Some(open))?;
                halt.wait(WITHOUT_DESCRIPTORS);
                self.stage.limit(Resource::Nofile, None)?;
            }
            Fault::Terminated => self.end(Signal::TERM)?,
            Fault::Killed => self.end(Signal::KILL)?,
        }
        Ok(())
    }

    /// Not a matter of the door: it is owed its answers meanwhile.
    fn slack_is(&self, mode: Mode, lasts: Duration, halt: &Halt) {
        self.slack.answer(mode);
        halt.wait(lasts);
        self.slack.answer(Mode::Ok);
    }

    /// Ends it, writes down what is stored before the next life may prune it, and waits for that.
    fn end(&self, signal: Signal) -> io::Result<()> {
        self.windows.open();
        self.stage.hold(true);
        self.stage.signal(None, signal)?;
        self.stage.wait_until("its end", PATIENCE, || Ok(self.stage.pids().is_empty()))?;
        let noted = self.ledger.read_on();
        self.stage.hold(false);
        noted?;
        self.stage.wait_until_ready(PATIENCE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_come_early_and_none_comes_late() {
        let mut deck = Deck::new(1);
        let early: Vec<Fault> = (0..4).map(|_| deck.deal(true)).collect();
        assert!(early.contains(&Fault::Killed) && early.contains(&Fault::Terminated), "{early:?}");
        let mut late: Vec<Fault> = (0..14).map(|_| deck.deal(false)).collect();
        assert!(late.iter().all(|fault| SURVIVED.contains(fault)), "{late:?}");
        late.sort_unstable();
        late.dedup();
        assert_eq!(late.len(), SURVIVED.len());
    }
}
