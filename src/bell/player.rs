//! The thread that plays. Owns the board and the moments at which something changes; refuses to decide what plays: that
//! is the desk's.
//!
//! The desk is asked for the next moment, the thread waits for it or for news, and then makes every line what the desk
//! says of that moment. How late it comes is part of every edge; it delays no other.

use std::{
    collections::BTreeSet,
    sync::{Arc, PoisonError, mpsc::TrySendError},
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use super::{
    Bell, Level, Parts, Settings,
    board::{self, Board},
    handle::Shared,
};
use crate::{threads, time::Timestamp};

#[cfg(test)]
mod tests;

/// How often what is broken is tried again.
pub const RETRY_EVERY: Duration = Duration::from_secs(30);

/// Who is late by more than this does not hurry through what was missed: the machine slept.
const LATE_MAX: Duration = Duration::from_secs(1);

/// Makes the two halves of the bell, and opens the board, so that what is wrong with it is known at the start. It never
/// fails: see [`State::error`](super::State::error).
pub fn new(settings: Settings, parts: Parts) -> (Bell, Player) {
    with_retry(settings, parts, RETRY_EVERY)
}

fn with_retry(settings: Settings, parts: Parts, retry_every: Duration) -> (Bell, Player) {
    let shared = Shared::new(settings, parts);
    let bell = Bell::of(&shared);
    let mut player = Player { shared, board: None, retry_every, retry_at: None, complained: BTreeSet::new() };
    player.repair();
    (bell, player)
}

/// A line changed: what a trace records and a watcher gets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edge {
    /// Wall time, milliseconds since the epoch.
    pub t_ms: i64,
    /// The line's name.
    pub line: String,
    /// 1 lit or sounding, 0 dark or silent; whatever the pin's polarity.
    pub level: u8,
    /// How many hundredths of full light, where it is dim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<u8>,
    /// The pitch in hertz, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hz: Option<u32>,
    /// How long after its due time it was made, microseconds.
    pub late_us: u64,
}

impl Edge {
    pub(super) fn new(at: Timestamp, line: &str, level: Level, late: Duration) -> Edge {
        let (percent, hz) = level.shades();
        let late_us = u64::try_from(late.as_micros()).unwrap_or(u64::MAX);
        Edge { t_ms: at.ms(), line: line.to_owned(), level: level.is_lit().into(), percent, hz, late_us }
    }
}

/// The half that plays. Dropping it, also by a panic, leaves the desk dark and the handle answering that it is over.
pub struct Player {
    shared: Arc<Shared>,
    /// `None` while it is broken.
    board: Option<Box<dyn Board>>,
    retry_every: Duration,
    /// When what is broken is tried again.
    retry_at: Option<Instant>,
    /// The errors that were logged, until all works: what opens and breaks again and again is one fact.
    complained: BTreeSet<String>,
}

/// What the player does next.
enum Turn {
    /// Makes the lines what they are `at` a moment; the first of these changes was `due` then.
    Strike {
        at: Duration,
        due: Duration,
    },
    Repair,
    End,
}

impl Player {
    /// The thread's work: plays until [`Bell::stop`].
    pub fn run(mut self) {
        loop {
            let turn = self.next();
            let _busy = threads::busy(threads::BUSY_MAX);
            match turn {
                Turn::Strike { at, due } => self.strike(at, due),
                Turn::Repair => self.repair(),
                Turn::End => return,
            }
        }
    }

    fn next(&self) -> Turn {
        let mut inner = self.shared.lock();
        loop {
            if inner.ended {
                return Turn::End;
            }
            let now = self.shared.now();
            if let Some((at, due)) = inner.news.take() {
                return Turn::Strike { at, due };
            }
            let retry_in = self.retry_at.map(|at| at.saturating_duration_since(Instant::now()));
            let next = inner.desk.next(inner.cursor);
            match next {
                Some(due) if due <= now => {
                    let at = if now - due > LATE_MAX { now } else { due };
                    return Turn::Strike { at, due };
                }
                _ if retry_in.is_some_and(|left| left.is_zero()) => return Turn::Repair,
                _ => {}
            }
            let left = [next.map(|due| due - now), retry_in].into_iter().flatten().min();
            inner = match left {
                None => self.shared.news.wait(inner).unwrap_or_else(PoisonError::into_inner),
                Some(time) => self.shared.news.wait_timeout(inner, time).unwrap_or_else(PoisonError::into_inner).0,
            };
        }
    }

    fn strike(&mut self, at: Duration, due: Duration) {
        let shared = Arc::clone(&self.shared);
        let (changes, begun, expired) = {
            let mut inner = shared.lock();
            // News may be older than what was made meanwhile.
            let at = at.max(inner.cursor);
            inner.cursor = at;
            inner.desk.advance(at, &|| shared.is_hushed());
            let levels = inner.desk.levels(at);
            let changed = |line: &usize| levels[*line] != inner.shown[*line] && inner.problems[*line].is_none();
            let changes: Vec<(usize, Level)> =
                (0..levels.len()).filter(changed).map(|line| (line, levels[line])).collect();
            (changes, inner.desk.take_begun(), inner.desk.take_expired())
        };
        for (line, level) in changes {
            self.set(line, level, due);
        }
        if !begun.is_empty()
            && let Some(when_shown) = &shared.lock().when_shown
        {
            when_shown(&begun, shared.parts.clock.wall());
        }
        if let Some(keeper) = shared.parts.keeper.as_ref().filter(|_| !expired.is_empty()) {
            keeper.forget(&expired);
        }
    }

    fn set(&mut self, line: usize, level: Level, due: Duration) {
        let Some(board) = &mut self.board else { return };
        let late = self.shared.now().saturating_sub(due);
        match board.set(line, level, late) {
            Ok(()) => self.show(line, level, late),
            Err(error) => {
                self.show(line, Level::Off, late);
                self.note_problem(line, Some(error.to_string()));
            }
        }
    }

    /// Opens the board where there is none, and takes the lines that are not ours yet.
    fn repair(&mut self) {
        self.retry_at = None;
        if self.board.is_none() {
            match board::open(&self.shared.settings, &self.shared.wires) {
                Ok(board) => {
                    let mut inner = self.shared.lock();
                    inner.board = board.describe();
                    inner.error = None;
                    drop(inner);
                    self.board = Some(board);
                    (0..self.shared.wires.lines.len()).for_each(|line| self.take(line));
                }
                Err(error) => {
                    let error = error.to_string();
                    self.complain(&error);
                    self.shared.lock().error = Some(error);
                    return;
                }
            }
        } else {
            let broken: Vec<usize> = {
                let inner = self.shared.lock();
                (0..inner.problems.len()).filter(|line| inner.problems[*line].is_some()).collect()
            };
            broken.into_iter().for_each(|line| self.take(line));
        }
        if self.shared.lock().problems.iter().any(Option::is_some) {
            return;
        }
        match std::mem::take(&mut self.complained).is_empty() {
            false => log::info!("bell: everything works again"),
            true => {
                let inner = self.shared.lock();
                log::info!("bell: ready board={:?} lines={}", inner.board, inner.shown.len());
            }
        }
    }

    fn take(&mut self, line: usize) {
        let Some(board) = &mut self.board else { return };
        let taken = board.take(line).map_err(|error| error.to_string());
        self.note_problem(line, taken.err());
        // What it should show by now.
        let now = self.shared.now();
        self.shared.lock().news = Some((now, now));
    }

    fn note_problem(&mut self, line: usize, problem: Option<String>) {
        if let Some(problem) = &problem {
            self.complain(problem);
        }
        self.shared.lock().problems[line] = problem;
    }

    fn complain(&mut self, error: &str) {
        self.retry_at.get_or_insert(Instant::now() + self.retry_every);
        // Each line has a few; whoever makes up new ones is told of no more.
        const COMPLAINTS_MAX: usize = 100;
        if self.complained.len() < COMPLAINTS_MAX && self.complained.insert(error.to_owned()) {
            log::warn!("bell: {error}; trying again every {} s", self.retry_every.as_secs());
        }
    }

    /// Tells state and watchers what a line now is.
    fn show(&self, line: usize, level: Level, late: Duration) {
        let mut inner = self.shared.lock();
        if inner.shown[line] == level {
            return;
        }
        inner.shown[line] = level;
        self.shared.lateness.count(late);
        let edge = Edge::new(self.shared.parts.clock.wall(), &self.shared.wires.lines[line].name, level, late);
        inner.watchers.retain(|watcher| !matches!(watcher.try_send(edge.clone()), Err(TrySendError::Disconnected(_))));
    }

    fn darken(&mut self) {
        let lit: Vec<usize> = {
            let inner = self.shared.lock();
            (0..inner.shown.len()).filter(|line| inner.shown[*line].is_lit()).collect()
        };
        let now = self.shared.now();
        lit.into_iter().for_each(|line| self.set(line, Level::Off, now));
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        self.darken();
        // There will be no more edges: who waits for them need not.
        self.shared.lock().watchers.clear();
        let mut inner = self.shared.lock();
        inner.ended = true;
        inner.desk.silence();
        // Watchers see the end instead of waiting for an edge that cannot come.
        inner.watchers.clear();
        drop(inner);
        self.shared.end_button();
    }
}
