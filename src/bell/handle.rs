//! The handle of the bell for everybody but the player: rings, acknowledges, mutes, tells the state. Owns what handle,
//! player and button share; refuses to touch a board.

use std::{
    os::unix::net::UnixStream,
    sync::{
        Arc, Condvar, Mutex, MutexGuard,
        mpsc::{self, Receiver, SyncSender},
    },
    time::{Duration, Instant},
};

use serde::Serialize;

use super::{
    Changed, Edge, Gesture, Keeper, Latch, Level, Mute, Settings, Taken, Vitals, Wires, cue,
    desk::{Desk, Request},
    score::Score,
};
use crate::{
    event::Severity,
    meters::{Histogram, LATE_BOUNDS, Reading},
    threads::lock,
    time::{self, Clock, Timestamp},
};

/// How long a long press mutes for.
pub const MUTE_FOR: Duration = Duration::from_secs(3600);

/// Edges that a watcher may lag behind before it loses some: several of the longest default cues.
const WATCH_MAX: usize = 256;

/// What [`Bell::test`] is called while it plays, and what that of a double press.
const ROLL_CALL: &str = "every line in turn";
const COUNT: &str = "how much waits";

/// What somebody at the desk asks for goes before every event.
const BY_HAND: u16 = 256;

/// What a player needs besides the settings.
pub struct Parts {
    /// What time it is, for quiet hours and for what is too old to sound.
    pub clock: Arc<dyn Clock>,
    /// The newest moment that is known to have been: a clock that is far behind it is wrong, and at no known time of the
    /// day anything sounds.
    pub newest: Timestamp,
    /// Remembers what must survive a restart; `None`: nothing does.
    pub keeper: Option<Arc<dyn Keeper>>,
}
/// What is to be rung.
#[derive(Clone, Copy, Debug)]
pub struct Ring<'a> {
    /// The cue's name.
    pub name: &'a str,
    /// Of the event; its cue plays where there is none of that name.
    pub severity: Severity,
    /// When the event came in: too old, it does not sound. `None`: it is from now.
    pub received: Option<Timestamp>,
    /// Whose ring it is: see [`Bell::when_shown`].
    pub mark: Option<i64>,
    /// Somebody asked for it, and wants to hear it at any time of the day.
    pub by_hand: bool,
}

impl<'a> Ring<'a> {
    /// Something that happens now.
    pub fn now(name: &'a str, severity: Severity) -> Ring<'a> {
        Ring { name, severity, received: None, mark: None, by_hand: false }
    }
}

/// The bell, for people and for the panel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct State {
    /// What drives the lines; while it is broken, what the configuration asked for.
    pub board: String,
    /// What is wrong with the board or one of its lines, and the remedy.
    pub error: Option<String>,
    /// The cue that plays.
    pub playing: Option<String>,
    /// For how many rings it plays.
    pub rings: u32,
    /// How many cues wait.
    pub queued: usize,
    /// Every line, LEDs first.
    pub lines: Vec<LineState>,
    /// What stays lit, the newest first.
    pub latched: Vec<Latch>,
    /// Until when the buzzer is muted.
    pub muted_until: Option<Timestamp>,
    /// Whether it is silent for the time of the day, or because the clock is plainly wrong.
    pub is_quiet: bool,
    /// What the status LED shows.
    pub vitals: Vitals,
    /// The button; null where none is wired.
    pub button: Option<ButtonState>,
}

/// One line of [`State`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LineState {
    /// The LED's name, or `buzzer`.
    pub name: String,
    /// Whether it is lit, or sounds.
    pub lit: bool,
    /// How many hundredths of full light, where it is dim.
    pub percent: Option<u8>,
    /// The pitch in hertz, where it has one.
    pub hz: Option<u32>,
    /// What is wrong with it.
    pub error: Option<String>,
}

/// The button in [`State`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ButtonState {
    /// How often it went down since the start.
    pub presses: u64,
    /// What is wrong with it, and the remedy.
    pub error: Option<String>,
}

/// The handle: cheap to clone, never waits for the player.
#[derive(Clone)]
pub struct Bell {
    shared: Arc<Shared>,
}

impl Bell {
    pub(super) fn of(shared: &Arc<Shared>) -> Bell {
        Bell { shared: Arc::clone(shared) }
    }

    /// The cues and wires that it was made with.
    pub fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    /// Plays a cue by its name; one of that severity where there is none of that name.
    pub fn ring(&self, ring: Ring<'_>) -> Taken {
        let settings = &self.shared.settings;
        let name = cue::resolve_name(&settings.cues, ring.name, ring.severity);
        let cue = cue::resolve(&settings.cues, ring.name, ring.severity);
        let is_stale =
            ring.received.is_some_and(|received| self.shared.parts.clock.wall().since(received) > settings.stale_after);
        self.take(Request {
            // Kinds that share a cue are one sound to whoever hears it.
            name: name.to_owned(),
            priority: cue.priority.into(),
            score: Score::of(&cue, &self.shared.wires),
            is_fresh: !is_stale,
            even_if_quiet: cue.even_if_quiet || ring.by_hand,
            even_if_muted: false,
            mark: ring.mark,
        })
    }

    /// Calls this with the marks of a ring when its first edge has come, and when that was. It must not wait: the player
    /// does.
    pub fn when_shown(&self, call: impl Fn(&[i64], Timestamp) + Send + 'static) {
        self.shared.lock().when_shown = Some(Box::new(call));
    }

    /// Says how much is still to be delivered, for who asks by a double press.
    pub fn when_counted(&self, call: impl Fn() -> usize + Send + 'static) {
        *lock(&self.shared.queue_size) = Some(Box::new(call));
    }

    /// Plays every wired line in turn, before anything else.
    pub fn test(&self) -> Taken {
        self.play_by_hand(ROLL_CALL, Score::roll_call(&self.shared.wires), true)
    }

    /// Plays one line alone, by its name; `None` when nothing is called like that.
    pub fn try_line(&self, name: &str) -> Option<Taken> {
        let line = self.shared.wires.lines.iter().position(|line| line.name == name)?;
        Some(self.play_by_hand(&format!("{name} alone"), Score::one(&self.shared.wires, line), true))
    }

    /// What somebody at the desk asked for sounds at any time of the day.
    fn play_by_hand(&self, name: &str, score: Score, even_if_muted: bool) -> Taken {
        let (name, even_if_quiet) = (name.to_owned(), true);
        let (priority, is_fresh, mark) = (BY_HAND, true, None);
        self.take(Request { name, priority, score, is_fresh, even_if_quiet, even_if_muted, mark })
    }

    /// Does what a gesture at the button means.
    pub fn press(&self, gesture: Gesture) {
        match gesture {
            Gesture::Short => drop(self.acknowledge()),
            Gesture::Long => {
                let is_muted = self.shared.lock().desk.muted_until().is_some();
                self.mute((!is_muted).then_some(MUTE_FOR));
            }
            Gesture::Double => {
                let waiting = lock(&self.shared.queue_size).as_ref().map_or(0, |count| count());
                log::info!("bell: {waiting} dispatches are still to be delivered");
                let count = Score::count(&self.shared.wires, waiting);
                if let Taken::Skipped(why) = self.play_by_hand(COUNT, count, false) {
                    log::info!("bell: cannot say how much waits: {why}");
                }
            }
        }
    }

    /// Whoever is at the desk has seen it: what plays and what waits is forgotten, and what stays lit goes out. Says what
    /// that was.
    pub fn acknowledge(&self) -> Vec<Latch> {
        let latches = self.shared.change(|desk, _| {
            desk.silence();
            desk.acknowledge()
        });
        for latch in &latches {
            log::info!("bell: acknowledged cue={} source={} subject={:?}", latch.cue, latch.source, latch.subject);
        }
        self.forget(&latches.iter().map(|latch| latch.id).collect::<Vec<_>>());
        latches
    }

    /// Silent for so long; `None`: no longer. LEDs go on.
    pub fn mute(&self, duration: Option<Duration>) {
        let wall = self.shared.parts.clock.wall();
        self.shared.change(|desk, now| desk.mute(duration.map(|duration| now.saturating_add(duration))));
        let mute = duration.map(|asked| Mute { until: wall.plus(asked), asked });
        match &mute {
            Some(mute) => log::info!("bell: muted until={}", mute.until),
            None => log::info!("bell: not muted any more"),
        }
        if let Some(keeper) = &self.shared.parts.keeper {
            keeper.keep_mute(mute);
        }
    }

    /// Shows these as what stays lit, and no others. What was put out here before stays out: that it is still kept only
    /// means that forgetting it was not written yet.
    pub fn show_all(&self, latches: Vec<Latch>) {
        let ids: Vec<i64> = latches.iter().map(|latch| latch.id).collect();
        let newest = self.shared.change(|desk, _| {
            desk.keep_only(&ids);
            desk.newest()
        });
        self.show(latches.into_iter().filter(|latch| latch.id > newest).map(Changed::Began).collect());
    }

    /// Takes up how long it was muted when the last process ended.
    pub fn restore_mute(&self, mute: Option<Mute>) {
        let Some(Mute { until, asked }) = mute else { return };
        // A clock that stands in 1970 must not make an hour of it half a century.
        let left = until.since(self.shared.parts.clock.wall()).min(asked);
        if !left.is_zero() {
            self.shared.change(|desk, now| desk.mute(Some(now.saturating_add(left))));
        }
    }

    /// Shows what a routing transaction has changed about what stays lit.
    pub fn show(&self, changes: Vec<Changed>) {
        let settings = &self.shared.settings;
        let wall = self.shared.parts.clock.wall();
        let mut unknown = Vec::new();
        self.shared.change(|desk, now| {
            for change in changes {
                match change {
                    Changed::Ended(ids) => desk.clear(&ids),
                    Changed::Began(latch) => match settings.cues.get(&latch.cue).filter(|cue| cue.latch) {
                        Some(cue) => {
                            let longest = cue.latch_max.unwrap_or(settings.latch_max);
                            let left = longest.saturating_sub(wall.since(latch.since));
                            let lights = Score::latched(cue, &self.shared.wires);
                            desk.latch(now, latch, cue.priority.into(), lights, left);
                        }
                        // The configuration no longer has it.
                        None => unknown.push(latch.id),
                    },
                }
            }
        });
        self.forget(&unknown);
    }

    /// How hookbell itself is, for the status LED.
    pub fn feel(&self, vitals: Vitals) {
        self.shared.change(|desk, now| desk.set_vitals(now, vitals));
    }

    /// The bell right now.
    pub fn state(&self) -> State {
        let shared = &self.shared;
        let (now, wall) = (shared.now(), shared.parts.clock.wall());
        let inner = shared.lock();
        let lines = shared.wires.lines.iter().zip(&inner.shown).zip(&inner.problems);
        let playing = inner.desk.playing();
        State {
            board: inner.board.clone(),
            error: inner.error.clone().or_else(|| inner.problems.iter().flatten().next().cloned()),
            playing: playing.map(|(name, _)| name.to_owned()),
            rings: playing.map_or(0, |(_, rings)| rings),
            queued: inner.desk.waiting(),
            lines: lines
                .map(|((line, level), error)| {
                    let (percent, hz) = level.shades();
                    LineState { name: line.name.clone(), lit: level.is_lit(), percent, hz, error: error.clone() }
                })
                .collect(),
            latched: inner.desk.latches().into_iter().cloned().collect(),
            muted_until: inner.desk.muted_until().map(|until| wall.plus(until.saturating_sub(now))),
            is_quiet: shared.is_hushed(),
            vitals: inner.desk.vitals(),
            button: shared
                .settings
                .button
                .map(|_| ButtonState { presses: inner.presses, error: inner.button_error.clone() }),
        }
    }

    /// Every edge from now on, on any board. A watcher that lags loses edges, never delays the player; [`Bell::state`]
    /// tells it the truth again. It is forgotten when the receiver is dropped.
    pub fn watch(&self) -> Receiver<Edge> {
        let (sender, receiver) = mpsc::sync_channel(WATCH_MAX);
        self.shared.lock().watchers.push(sender);
        receiver
    }

    /// How late every edge since the start came.
    pub fn lateness(&self) -> Reading {
        self.shared.lateness.read()
    }

    /// Asks the player and the button to end. The desk is dark within 50 ms; later rings are skipped.
    pub fn stop(&self) {
        self.shared.lock().ended = true;
        self.shared.news.notify_all();
        self.shared.end_button();
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    fn forget(&self, latches: &[i64]) {
        if let Some(keeper) = self.shared.parts.keeper.as_ref().filter(|_| !latches.is_empty()) {
            keeper.forget(latches);
        }
    }

    fn take(&self, request: Request) -> Taken {
        let shared = &self.shared;
        let mut inner = shared.lock();
        // Under the lock: moments must not go back.
        let now = shared.now();
        if inner.ended {
            return Taken::Skipped("the bell has stopped".to_owned());
        }
        if let Some(error) = &inner.error {
            return Taken::Skipped(format!("the bell cannot play: {error}"));
        }
        if request.score.is_empty() {
            return Taken::Skipped(format!("nothing is wired that could play {}", request.name));
        }
        let lines = request.score.lights.iter().chain(&request.score.sound);
        let problems: Vec<&Option<String>> = lines.map(|(line, _)| &inner.problems[*line]).collect();
        if let Some(Some(error)) = problems.first().filter(|_| problems.iter().all(|problem| problem.is_some())) {
            return Taken::Skipped(format!("the bell cannot play: {error}"));
        }
        inner.note_news(now);
        let taken = inner.desk.ring(now, request, &|| shared.is_hushed());
        drop(inner);
        shared.news.notify_one();
        taken
    }
}

/// What handle, player and button share. Only the player waits for `news`.
pub(super) struct Shared {
    inner: Mutex<Inner>,
    pub(super) news: Condvar,
    /// The desk's moments count from here.
    epoch: Instant,
    pub(super) wires: Arc<Wires>,
    pub(super) settings: Settings,
    pub(super) parts: Parts,
    queue_size: Mutex<Option<Box<Count>>>,
    /// How late the edges came.
    pub(super) lateness: Histogram,
    /// Closed to end the thread that listens to the button.
    stopper: Mutex<Option<UnixStream>>,
}

type Count = dyn Fn() -> usize + Send;
type WhenShown = dyn Fn(&[i64], Timestamp) + Send;

pub(super) struct Inner {
    pub(super) desk: Desk,
    /// Up to here the lines are what the desk says.
    pub(super) cursor: Duration,
    /// Something has changed then, and the player has not seen it; and when the first edge was due that it covers.
    pub(super) news: Option<(Duration, Duration)>,
    /// No player, or none soon.
    pub(super) ended: bool,
    pub(super) board: String,
    pub(super) error: Option<String>,
    button_error: Option<String>,
    presses: u64,
    /// What is wrong with each line.
    pub(super) problems: Vec<Option<String>>,
    /// What each line does.
    pub(super) shown: Vec<Level>,
    pub(super) watchers: Vec<SyncSender<Edge>>,
    pub(super) when_shown: Option<Box<WhenShown>>,
}

impl Inner {
    /// Called before a change: what was due before it and is not made yet, is as late as it is.
    fn note_news(&mut self, now: Duration) {
        let pending = self.desk.next(self.cursor).filter(|due| *due < now).unwrap_or(now);
        self.news = Some((now, self.news.map_or(pending, |(_, due)| due.min(pending))));
    }
}

impl Shared {
    pub(super) fn new(settings: Settings, parts: Parts) -> Arc<Shared> {
        let wires = Arc::new(Wires::new(&settings));
        let count = wires.lines.len();
        let inner = Inner {
            desk: Desk::new(Arc::clone(&wires)),
            cursor: Duration::ZERO,
            news: None,
            ended: false,
            board: settings.board.name().to_owned(),
            error: None,
            button_error: None,
            presses: 0,
            problems: vec![None; count],
            shown: vec![Level::Off; count],
            watchers: Vec::new(),
            when_shown: None,
        };
        Arc::new(Shared {
            inner: Mutex::new(inner),
            news: Condvar::new(),
            epoch: Instant::now(),
            wires,
            settings,
            parts,
            queue_size: Mutex::new(None),
            lateness: Histogram::new(LATE_BOUNDS),
            stopper: Mutex::new(None),
        })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        lock(&self.inner)
    }

    pub(super) fn now(&self) -> Duration {
        self.epoch.elapsed()
    }

    /// Whether the buzzer is to be silent for the time of the day, or for not knowing it.
    pub(super) fn is_hushed(&self) -> bool {
        let now = self.parts.clock.wall();
        time::is_plainly_wrong(now, self.parts.newest) || self.settings.quiet.contains(self.settings.zone.local(now))
    }

    fn change<T>(&self, change: impl FnOnce(&mut Desk, Duration) -> T) -> T {
        let mut inner = self.lock();
        let now = self.now();
        inner.note_news(now);
        inner.desk.advance(now, &|| self.is_hushed());
        let changed = change(&mut inner.desk, now);
        drop(inner);
        self.news.notify_one();
        changed
    }

    pub(super) fn is_ended(&self) -> bool {
        self.lock().ended
    }

    /// Closes this when the bell is stopped.
    pub(super) fn end_with(&self, stopper: UnixStream) {
        *lock(&self.stopper) = Some(stopper);
    }

    /// Ends the thread that listens to the button.
    pub(super) fn end_button(&self) {
        drop(lock(&self.stopper).take());
    }

    pub(super) fn note_button(&self, error: Option<String>) {
        self.lock().button_error = error;
    }

    pub(super) fn note_press(&self) {
        self.lock().presses += 1;
    }
}
