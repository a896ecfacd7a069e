//! Who plays: one thread that owns the board, and the handle by which all others ring. Owns the queue, the timing and a
//! broken board's retries; refuses to know where a ring comes from.
//!
//! The thread sleeps until the next edge, or for ever while there is nothing to play. A board that is missing or breaks
//! stops nothing else: it is logged once, shown in [`State`], tried again every [`RETRY_EVERY`], and until then rings
//! are skipped with its error as the note.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        mpsc::{self, Receiver, SyncSender, TrySendError},
    },
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use super::{
    Cue, Line, Settings,
    board::{self, Board, BoardError},
    cue,
    score::Score,
    tune,
};
use crate::{
    event::Severity,
    threads::lock,
    time::{Clock, SystemClock, Timestamp},
};

#[cfg(test)]
mod tests;

/// Cues that may wait. What comes after eight others is no longer news to anybody at the desk.
pub const QUEUE_MAX: usize = 8;

/// How often a broken board is tried again.
pub const RETRY_EVERY: Duration = Duration::from_secs(30);

/// Edges that a watcher may lag behind before it loses some: several of the longest default cues.
const WATCH_MAX: usize = 256;

/// Dark between two cues that follow each other, so that they are seen as two.
const REST: Duration = Duration::from_millis(250);

/// Of one ring that stands for many.
const MARKS_MAX: usize = 100;

/// What [`Bell::test`] is called while it plays.
const ROLL_CALL: &str = "every line in turn";

/// Makes the two halves of the bell, and opens the board, so that what is wrong with it is known at the start. It never
/// fails: see [`State::error`].
pub fn new(settings: Settings) -> (Bell, Player) {
    with_retry(settings, RETRY_EVERY)
}

fn with_retry(settings: Settings, retry_every: Duration) -> (Bell, Player) {
    for (name, cue) in &settings.cues {
        if let Some(Err(error)) = cue.tune.as_deref().map(tune::parse) {
            log::warn!("bell: cue {name} stays silent: its tune cannot be read: {error}");
        }
    }
    let lines: Arc<[Line]> = settings.lines().into();
    let desk = Desk { board: settings.board.name().to_owned(), lit: vec![false; lines.len()], ..Desk::default() };
    let shared = Arc::new(Shared { desk: Mutex::new(desk), news: Condvar::new() });
    let bell = Bell { shared: Arc::clone(&shared), lines: Arc::clone(&lines), cues: Arc::new(settings.cues.clone()) };
    let mut player =
        Player { shared, lines, settings, board: None, retry_every, retry_at: Instant::now(), complained: None };
    player.open();
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
}

impl Edge {
    pub(super) fn new(at: Timestamp, line: &str, lit: bool) -> Edge {
        Edge { t_ms: at.ms(), line: line.to_owned(), level: u8::from(lit) }
    }
}

/// What became of a ring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is played, at once or after those before it.
    Queued,
    /// The same cue was already waiting; it is played once for both.
    Merged,
    /// It is not played, for this reason.
    Skipped(String),
}

/// The bell, for people and for the panel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct State {
    /// What drives the lines; while it is broken, what the configuration asked for.
    pub board: String,
    /// What is wrong with the board, and the remedy.
    pub error: Option<String>,
    /// The cue that plays.
    pub playing: Option<String>,
    /// How many cues wait.
    pub queued: usize,
    /// Every line, LEDs first.
    pub lines: Vec<LineState>,
}

/// One line of [`State`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LineState {
    /// The LED's name, or `buzzer`.
    pub name: String,
    /// Whether it is lit, or sounds.
    pub lit: bool,
}

/// The handle: cheap to clone, never waits for the player.
#[derive(Clone)]
pub struct Bell {
    shared: Arc<Shared>,
    lines: Arc<[Line]>,
    cues: Arc<BTreeMap<String, Cue>>,
}

impl Bell {
    /// Whether there is a cue of this name.
    pub fn has(&self, name: &str) -> bool {
        self.cues.contains_key(name)
    }

    /// Plays a cue by its name; one of that severity where there is none of that name.
    pub fn ring(&self, name: &str, severity: Severity) -> Taken {
        self.ring_for(name, severity, None)
    }

    /// The same, and says at its first edge whose ring it was: see [`Bell::when_shown`].
    pub fn ring_for(&self, name: &str, severity: Severity, mark: Option<i64>) -> Taken {
        let cue = cue::resolve(&self.cues, name, severity);
        self.take(name, cue.priority, Score::of(&cue, &self.lines), mark)
    }

    /// Calls this with the marks of a ring when its first edge has come, and when that was. It must not wait: the player
    /// does.
    pub fn when_shown(&self, call: impl Fn(&[i64], Timestamp) + Send + 'static) {
        lock(&self.shared.desk).when_shown = Some(Box::new(call));
    }

    /// Plays every wired line in turn, before anything that waits.
    pub fn test(&self) -> Taken {
        self.take(ROLL_CALL, u8::MAX, Score::roll_call(&self.lines), None)
    }

    /// Forgets what waits, ends what plays, and goes dark at once.
    pub fn off(&self) {
        let mut desk = lock(&self.shared.desk);
        desk.queue.clear();
        desk.silenced += 1;
        self.shared.news.notify_one();
    }

    /// The bell right now.
    pub fn state(&self) -> State {
        let desk = lock(&self.shared.desk);
        let lines = self.lines.iter().zip(&desk.lit);
        State {
            board: desk.board.clone(),
            error: desk.error.clone(),
            playing: desk.playing.clone(),
            queued: desk.queue.len(),
            lines: lines.map(|(line, lit)| LineState { name: line.name.clone(), lit: *lit }).collect(),
        }
    }

    /// Every edge from now on, on any board. A watcher that lags loses edges, never delays the player; [`Bell::state`]
    /// tells it the truth again. It is forgotten when the receiver is dropped.
    pub fn watch(&self) -> Receiver<Edge> {
        let (sender, receiver) = mpsc::sync_channel(WATCH_MAX);
        lock(&self.shared.desk).watchers.push(sender);
        receiver
    }

    /// Asks the player to end. It is dark and gone within 50 ms; later rings are skipped.
    pub fn stop(&self) {
        lock(&self.shared.desk).ended = true;
        self.shared.news.notify_one();
    }

    fn take(&self, name: &str, priority: u8, score: Score, mark: Option<i64>) -> Taken {
        let mut desk = lock(&self.shared.desk);
        if desk.ended {
            return Taken::Skipped("the bell has stopped".to_owned());
        }
        if let Some(error) = &desk.error {
            return Taken::Skipped(format!("the bell cannot play: {error}"));
        }
        if score.steps.is_empty() {
            return Taken::Skipped(format!("nothing is wired that could play {name}"));
        }
        if let Some(waiting) = desk.queue.iter_mut().find(|waiting| waiting.name == name) {
            waiting.rings += 1;
            waiting.marks.extend(mark.filter(|_| waiting.marks.len() < MARKS_MAX));
            return Taken::Merged;
        }
        if desk.queue.len() >= QUEUE_MAX {
            match desk.queue.pop_if(|last| last.priority < priority) {
                // The loudest must not be lost to a queue of trifles.
                Some(trifle) => log::info!("bell: gave way cue={} to={name}", trifle.name),
                None => return Taken::Skipped(format!("{QUEUE_MAX} other cues are waiting")),
            }
        }
        let place = desk.queue.partition_point(|waiting| waiting.priority >= priority);
        desk.queue.insert(
            place,
            Waiting { name: name.to_owned(), priority, score, rings: 1, marks: mark.into_iter().collect() },
        );
        self.shared.news.notify_one();
        Taken::Queued
    }
}

/// What handle and player share. Only the player waits for `news`.
struct Shared {
    desk: Mutex<Desk>,
    news: Condvar,
}

#[derive(Default)]
struct Desk {
    /// In the order in which they are played, [`QUEUE_MAX`] at most.
    queue: Vec<Waiting>,
    playing: Option<String>,
    /// Counts [`Bell::off`]: what was begun under another number ends.
    silenced: u64,
    /// No player, or none soon.
    ended: bool,
    board: String,
    error: Option<String>,
    lit: Vec<bool>,
    watchers: Vec<SyncSender<Edge>>,
    when_shown: Option<Box<WhenShown>>,
}

type WhenShown = dyn Fn(&[i64], Timestamp) + Send;

struct Waiting {
    name: String,
    priority: u8,
    score: Score,
    rings: u32,
    /// Whose rings these are, as far as they said, [`MARKS_MAX`] at most.
    marks: Vec<i64>,
}

/// The half that plays. Dropping it, also by a panic, leaves the desk dark and the handle answering that it is over.
pub struct Player {
    shared: Arc<Shared>,
    lines: Arc<[Line]>,
    settings: Settings,
    /// `None` while it is broken.
    board: Option<Box<dyn Board>>,
    retry_every: Duration,
    retry_at: Instant,
    /// The last error that was logged, until a cue was played through: a board that opens and breaks again and again
    /// is one fact.
    complained: Option<String>,
}

/// What the player does next.
enum Turn {
    Play { cue: Waiting, silenced: u64 },
    Retry,
    End,
}

impl Player {
    /// The thread's work: plays until [`Bell::stop`].
    pub fn run(mut self) {
        loop {
            match self.next() {
                Turn::Play { cue, silenced } => self.play(&cue, silenced),
                Turn::Retry => self.open(),
                Turn::End => return,
            }
        }
    }

    fn next(&self) -> Turn {
        let mut desk = lock(&self.shared.desk);
        loop {
            if desk.ended {
                return Turn::End;
            }
            if self.board.is_none() {
                let left = self.retry_at.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Turn::Retry;
                }
                desk = self.wait(desk, Some(left));
            } else if desk.queue.is_empty() {
                desk = self.wait(desk, None);
            } else {
                let cue = desk.queue.remove(0);
                desk.playing = Some(cue.name.clone());
                return Turn::Play { cue, silenced: desk.silenced };
            }
        }
    }

    fn play(&mut self, cue: &Waiting, silenced: u64) {
        log::debug!("bell: plays cue={:?} rings={}", cue.name, cue.rings);
        let start = Instant::now();
        for (index, step) in cue.score.steps.iter().enumerate() {
            if !self.wait_until(start + step.at, silenced) || !self.set(step.line, step.lit) {
                break;
            }
            if index == 0
                && !cue.marks.is_empty()
                && let Some(when_shown) = &lock(&self.shared.desk).when_shown
            {
                when_shown(&cue.marks, SystemClock.wall());
            }
        }
        self.darken();
        if self.board.is_some() && self.complained.take().is_some() {
            log::info!("bell: the board works again");
        }
        let more = {
            let mut desk = lock(&self.shared.desk);
            desk.playing = None;
            !desk.queue.is_empty()
        };
        if more {
            self.wait_until(Instant::now() + REST, silenced);
        }
    }

    /// Waits for that moment. False when the cue ends before it: somebody called for silence, or for the end.
    fn wait_until(&self, moment: Instant, silenced: u64) -> bool {
        let mut desk = lock(&self.shared.desk);
        loop {
            if desk.ended || desk.silenced != silenced {
                return false;
            }
            let left = moment.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            desk = self.wait(desk, Some(left));
        }
    }

    fn wait<'a>(&self, desk: MutexGuard<'a, Desk>, at_most: Option<Duration>) -> MutexGuard<'a, Desk> {
        match at_most {
            None => self.shared.news.wait(desk).unwrap_or_else(PoisonError::into_inner),
            Some(time) => self.shared.news.wait_timeout(desk, time).unwrap_or_else(PoisonError::into_inner).0,
        }
    }

    /// False when the board broke.
    fn set(&mut self, line: usize, lit: bool) -> bool {
        let Some(board) = &mut self.board else { return false };
        match board.set(line, lit) {
            Ok(()) => {
                self.show(line, lit);
                true
            }
            Err(error) => {
                self.broke(&error);
                false
            }
        }
    }

    fn darken(&mut self) {
        if !lock(&self.shared.desk).lit.contains(&true) {
            return;
        }
        if let Some(Err(error)) = self.board.as_mut().map(|board| board.dark()) {
            self.broke(&error);
        }
        self.show_dark();
    }

    fn open(&mut self) {
        match board::open(&self.settings) {
            Ok(board) => {
                let board = self.board.insert(board).describe();
                if self.complained.is_none() {
                    log::info!("bell: ready board={board:?} lines={}", self.lines.len());
                }
                let mut desk = lock(&self.shared.desk);
                desk.board = board;
                desk.error = None;
            }
            Err(error) => self.broke(&error),
        }
    }

    /// Lets go of the board, which darkens what still obeys, and forgets what waits: minutes later it is no news.
    fn broke(&mut self, error: &BoardError) {
        self.board = None;
        self.retry_at = Instant::now() + self.retry_every;
        self.show_dark();
        let error = error.to_string();
        if self.complained.as_ref() != Some(&error) {
            log::warn!("bell: {error}; trying again every {} s", self.retry_every.as_secs());
            self.complained = Some(error.clone());
        }
        let mut desk = lock(&self.shared.desk);
        if !desk.queue.is_empty() {
            log::warn!("bell: {} waiting cues are dropped", desk.queue.len());
        }
        desk.queue.clear();
        self.settings.board.name().clone_into(&mut desk.board);
        desk.error = Some(error);
    }

    fn show_dark(&self) {
        for line in 0..self.lines.len() {
            self.show(line, false);
        }
    }

    /// Tells state and watchers what a line now is.
    fn show(&self, line: usize, lit: bool) {
        let mut desk = lock(&self.shared.desk);
        if desk.lit[line] == lit {
            return;
        }
        desk.lit[line] = lit;
        let edge = Edge::new(SystemClock.wall(), &self.lines[line].name, lit);
        desk.watchers.retain(|watcher| !matches!(watcher.try_send(edge.clone()), Err(TrySendError::Disconnected(_))));
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        self.darken();
        let mut desk = lock(&self.shared.desk);
        desk.ended = true;
        desk.playing = None;
        desk.queue.clear();
        // Watchers see the end instead of waiting for an edge that cannot come.
        desk.watchers.clear();
    }
}
