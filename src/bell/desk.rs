//! What the desk does at every moment: which cue plays, which wait, what stays lit, what is muted. Owns arbitration and
//! latches; pure: refuses clocks, pins and threads. Moments are durations from a start of the caller's choice, and every
//! question about one may be asked again.
//!
//! From the bottom up: the status LED and the sign of being muted; what is latched; the one cue that plays. A cue covers
//! the lines that it uses, for as long as it uses them, and what is beneath shows again afterwards: nothing is put back,
//! because nothing was taken away.

use std::{sync::Arc, time::Duration};

use super::{
    Latch, Wires,
    score::{self, Score},
    wave::{Level, Wave},
};

/// Cues that may wait. What comes after eight others is no longer news to anybody at the desk.
pub(super) const QUEUE_MAX: usize = 8;

/// Dark between two cues that follow each other, so that they are seen as two.
pub(super) const REST: Duration = Duration::from_millis(250);

/// Of one ring that stands for many.
const MARKS_MAX: usize = 100;

/// Marks that wait to be told, should nobody ask for them.
const BEGUN_MAX: usize = 1000;

/// Latches that are shown; the store keeps no more either.
pub const LATCHES_MAX: usize = 1000;

/// What became of a ring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is played, at once or after those before it.
    Queued,
    /// The same cue is playing or waiting; it is played once for both.
    Merged,
    /// It is not played, for this reason.
    Skipped(String),
}

/// How hookbell itself is, as far as the desk shows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Vitals {
    /// Deliveries cannot be stored.
    pub storage_fails: bool,
    /// A sink is left alone because it keeps failing.
    pub sink_down: bool,
    /// The tunnel is not connected.
    pub tunnel_down: bool,
}

/// A cue to be played.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) name: String,
    pub(super) priority: u16,
    pub(super) score: Score,
    /// Whether it is news, and not what an outage has left behind.
    pub(super) is_fresh: bool,
    pub(super) even_if_quiet: bool,
    /// Whether it sounds while the buzzer is muted: somebody wants to know whether it can.
    pub(super) even_if_muted: bool,
    /// Whose ring it is.
    pub(super) mark: Option<i64>,
}

/// A cue that plays, was interrupted, or waits.
#[derive(Clone, Debug)]
struct Voice {
    request: Request,
    /// Whose rings it was not told of yet that they are shown, [`MARKS_MAX`] at most.
    marks: Vec<i64>,
    rings: u32,
    began: Duration,
    sounds: bool,
}

impl Voice {
    fn of(request: Request) -> Voice {
        let marks = request.mark.into_iter().collect();
        Voice { request, marks, rings: 1, began: Duration::ZERO, sounds: false }
    }

    fn ends(&self) -> Duration {
        self.began.saturating_add(self.request.score.length())
    }
}

/// A latch on this desk's wires.
#[derive(Clone, Debug)]
struct Lit {
    latch: Latch,
    priority: u16,
    lights: Vec<(usize, Wave)>,
    began: Duration,
    until: Duration,
}

/// The desk. All `now`s must not go back.
pub(super) struct Desk {
    wires: Arc<Wires>,
    playing: Option<Voice>,
    /// Lower ones that were interrupted; the one that was last is last.
    interrupted: Vec<Voice>,
    /// In the order in which they are played, [`QUEUE_MAX`] at most.
    waiting: Vec<Voice>,
    /// When the first that waits begins, while nothing plays.
    rests_until: Option<Duration>,
    /// In the order in which one covers the other.
    latched: Vec<Lit>,
    expired: Vec<i64>,
    /// The newest latch that was ever here.
    newest: i64,
    begun: Vec<i64>,
    muted_until: Option<Duration>,
    vitals: Vitals,
    vitals_since: Duration,
    status: Wave,
    pulse: Wave,
}

impl Desk {
    pub(super) fn new(wires: Arc<Wires>) -> Desk {
        let shows_status = wires.status.or_else(|| first_line(&wires));
        let has_pwm = shows_status.is_some_and(|line| wires.lines[line].pin.pwm);
        Desk {
            wires,
            playing: None,
            interrupted: Vec::new(),
            waiting: Vec::new(),
            rests_until: None,
            latched: Vec::new(),
            expired: Vec::new(),
            newest: 0,
            begun: Vec::new(),
            muted_until: None,
            vitals: Vitals::default(),
            vitals_since: Duration::ZERO,
            status: rhythm_of(Vitals::default()),
            pulse: pulse(has_pwm),
        }
    }

    /// Rings. `is_hushed` says whether only what is to be heard at any hour sounds now.
    pub(super) fn ring(&mut self, now: Duration, request: Request, is_hushed: &dyn Fn() -> bool) -> Taken {
        self.advance(now, is_hushed);
        if self.merge(&request, is_hushed) {
            return Taken::Merged;
        }
        let priority = request.priority;
        match &self.playing {
            Some(playing) if priority > playing.request.priority => {
                self.interrupted.extend(self.playing.take());
                // Each is louder than the one before it, so there are few; the quietest is missed least.
                if self.interrupted.len() > QUEUE_MAX {
                    self.interrupted.remove(0);
                }
                self.begin(Voice::of(request), now, is_hushed);
                return Taken::Queued;
            }
            None if self.waiting.first().is_none_or(|first| priority > first.request.priority) => {
                self.begin(Voice::of(request), now, is_hushed);
                return Taken::Queued;
            }
            _ => {}
        }
        if self.waiting.len() >= QUEUE_MAX {
            match self.waiting.pop_if(|last| last.request.priority < priority) {
                // The loudest must not be lost to a queue of trifles.
                Some(trifle) => log::info!("bell: gave way cue={} to={}", trifle.request.name, request.name),
                None => return Taken::Skipped(format!("{QUEUE_MAX} other cues are waiting")),
            }
        }
        let place = self.waiting.partition_point(|waiting| waiting.request.priority >= priority);
        self.waiting.insert(place, Voice::of(request));
        Taken::Queued
    }

    /// Counts a ring for the same cue, where there is one that stands for both: it is being shown, will be again, or waits.
    fn merge(&mut self, request: &Request, is_hushed: &dyn Fn() -> bool) -> bool {
        let is_same = |voice: &&mut Voice| voice.request.name == request.name;
        // What has begun in silence does not stand for what is to be heard.
        let stands_for = |begun: &Request| {
            (begun.is_fresh || !request.is_fresh) && (begun.even_if_quiet || !request.even_if_quiet || !is_hushed())
        };
        let busy_until = self.playing.as_ref().map(Voice::ends).unwrap_or_default();
        if let Some(playing) = self.playing.iter_mut().find(is_same).filter(|voice| stands_for(&voice.request)) {
            playing.rings = playing.rings.saturating_add(1);
            let has_room = self.begun.len() < BEGUN_MAX;
            self.begun.extend(request.mark.filter(|_| has_room));
            return true;
        }
        let returns = |voice: &&mut Voice| is_same(voice) && voice.ends() > busy_until && stands_for(&voice.request);
        let behind = match self.interrupted.iter_mut().find(returns) {
            Some(voice) => voice,
            None => match self.waiting.iter_mut().find(is_same) {
                Some(voice) => {
                    voice.request.is_fresh |= request.is_fresh;
                    voice.request.even_if_quiet |= request.even_if_quiet;
                    voice
                }
                None => return false,
            },
        };
        behind.rings = behind.rings.saturating_add(1);
        let mark = request.mark.filter(|_| behind.marks.len() < MARKS_MAX);
        behind.marks.extend(mark);
        true
    }

    /// Lets time pass up to this moment: cues end and begin, latches end.
    pub(super) fn advance(&mut self, to: Duration, is_hushed: &dyn Fn() -> bool) {
        loop {
            if let Some(ends) = self.playing.as_ref().map(Voice::ends).filter(|ends| *ends <= to) {
                self.playing = None;
                self.interrupted.retain(|voice| voice.ends() > ends);
                let waits = self.waiting.first().map(|first| first.request.priority);
                match self.interrupted.pop_if(|voice| waits.is_none_or(|waits| waits <= voice.request.priority)) {
                    // Its light goes on where it would be by now. Half a tune would only be noise.
                    Some(mut back) => {
                        self.begun.append(&mut back.marks);
                        self.playing = Some(Voice { sounds: false, ..back });
                    }
                    None => self.rests_until = waits.map(|_| ends + REST),
                }
            } else if let Some(begins) = self.rests_until.filter(|begins| self.playing.is_none() && *begins <= to)
                && !self.waiting.is_empty()
            {
                let first = self.waiting.remove(0);
                self.begin(first, begins, is_hushed);
            } else {
                break;
            }
        }
        let expired = self.latched.extract_if(.., |lit| lit.until <= to);
        self.expired.extend(expired.map(|lit| lit.latch.id));
        if self.muted_until.is_some_and(|until| until <= to) {
            self.muted_until = None;
        }
    }

    fn begin(&mut self, mut voice: Voice, at: Duration, is_hushed: &dyn Fn() -> bool) {
        let request = &voice.request;
        let sounds = request.is_fresh && request.score.sound.is_some() && (request.even_if_quiet || !is_hushed());
        log::debug!("bell: plays cue={:?} rings={} sounds={sounds}", request.name, voice.rings);
        // What stays lit after this one goes on in its step.
        for lit in self.latched.iter_mut().filter(|lit| lit.latch.cue == request.name && lit.began <= at) {
            lit.began = at;
        }
        self.begun.append(&mut voice.marks);
        self.rests_until = None;
        self.playing = Some(Voice { began: at, sounds, ..voice });
    }

    /// The marks of what has begun since this was asked last.
    pub(super) fn take_begun(&mut self) -> Vec<i64> {
        std::mem::take(&mut self.begun)
    }

    /// The latches that have ended by themselves since this was asked last.
    pub(super) fn take_expired(&mut self) -> Vec<i64> {
        std::mem::take(&mut self.expired)
    }

    /// Forgets what plays and what waits.
    pub(super) fn silence(&mut self) {
        self.playing = None;
        self.interrupted.clear();
        self.waiting.clear();
        self.rests_until = None;
    }

    /// Keeps lit, in place of what was lit for the same reason.
    pub(super) fn latch(
        &mut self,
        now: Duration,
        latch: Latch,
        priority: u16,
        lights: Vec<(usize, Wave)>,
        left: Duration,
    ) {
        self.newest = self.newest.max(latch.id);
        self.latched.retain(|lit| !lit.latch.is_about_the_same(&latch));
        if self.latched.len() >= LATCHES_MAX {
            let oldest = (0..self.latched.len()).min_by_key(|place| self.latched[*place].latch.id);
            self.expired.extend(oldest.map(|place| self.latched.remove(place).latch.id));
        }
        let place = self.latched.partition_point(|lit| lit.priority <= priority);
        let until = now.saturating_add(left);
        self.latched.insert(place, Lit { latch, priority, lights, began: now, until });
    }

    /// Ends these latches.
    pub(super) fn clear(&mut self, ids: &[i64]) {
        self.latched.retain(|lit| !ids.contains(&lit.latch.id));
    }

    /// Ends all latches but these.
    pub(super) fn keep_only(&mut self, ids: &[i64]) {
        self.latched.retain(|lit| ids.contains(&lit.latch.id));
    }

    /// The newest latch that was ever here. What is not newer and is not here has been put out.
    pub(super) fn newest(&self) -> i64 {
        self.newest
    }

    /// Ends all latches, and says which there were.
    pub(super) fn acknowledge(&mut self) -> Vec<Latch> {
        self.latched.drain(..).map(|lit| lit.latch).collect()
    }

    /// What stays lit, the newest first.
    pub(super) fn latches(&self) -> Vec<&Latch> {
        let mut latches: Vec<&Latch> = self.latched.iter().map(|lit| &lit.latch).collect();
        latches.sort_by_key(|latch| std::cmp::Reverse(latch.id));
        latches
    }

    /// Silent until then; `None`: no longer.
    pub(super) fn mute(&mut self, until: Option<Duration>) {
        self.muted_until = until;
    }

    pub(super) fn muted_until(&self) -> Option<Duration> {
        self.muted_until
    }

    pub(super) fn set_vitals(&mut self, now: Duration, vitals: Vitals) {
        if vitals != self.vitals {
            (self.vitals, self.vitals_since, self.status) = (vitals, now, rhythm_of(vitals));
        }
    }

    pub(super) fn vitals(&self) -> Vitals {
        self.vitals
    }

    /// The cue that plays, and for how many rings.
    pub(super) fn playing(&self) -> Option<(&str, u32)> {
        self.playing.as_ref().map(|voice| (voice.request.name.as_str(), voice.rings))
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// The lines that show or sound something at a moment up to which time has passed, each with its wave and the wave's
    /// start. What comes later covers what came before.
    fn layers(&self) -> impl Iterator<Item = (usize, &Wave, Duration)> {
        let is_ill = self.vitals != Vitals::default();
        let beneath = match (self.wires.status, self.muted_until) {
            (Some(line), None) => Some((line, &self.status, self.vitals_since)),
            (Some(line), Some(_)) if is_ill => Some((line, &self.status, self.vitals_since)),
            (Some(line), Some(_)) => Some((line, &self.pulse, Duration::ZERO)),
            (None, Some(_)) => first_line(&self.wires).map(|line| (line, &self.pulse, Duration::ZERO)),
            (None, None) => None,
        };
        let latched =
            self.latched.iter().flat_map(|lit| lit.lights.iter().map(|(line, wave)| (*line, wave, lit.began)));
        let playing = self.playing.iter().flat_map(|voice| {
            let sound = voice
                .request
                .score
                .sound
                .iter()
                .filter(|_| voice.sounds && (voice.request.even_if_muted || self.muted_until.is_none()));
            voice.request.score.lights.iter().chain(sound).map(|(line, wave)| (*line, wave, voice.began))
        });
        beneath.into_iter().chain(latched).chain(playing)
    }

    /// What every line does at a moment up to which time has passed.
    pub(super) fn levels(&self, at: Duration) -> Vec<Level> {
        let mut levels = vec![Level::Off; self.wires.lines.len()];
        for (line, wave, began) in self.layers() {
            let offset = at.saturating_sub(began);
            if wave.length().is_none_or(|length| offset < length) {
                levels[line] = wave.at(offset);
            }
        }
        levels
    }

    /// The first moment after this one at which anything may change, unless somebody rings.
    pub(super) fn next(&self, after: Duration) -> Option<Duration> {
        let edges = self.layers().filter_map(|(_, wave, began)| match after.checked_sub(began) {
            Some(offset) => wave.next(offset).map(|next| began.saturating_add(next)),
            None => Some(began),
        });
        let voices = self.playing.as_ref().map(Voice::ends);
        let rest = self.rests_until.filter(|_| self.playing.is_none());
        let latches = self.latched.iter().map(|lit| lit.until);
        edges.chain(latches).chain(voices).chain(rest).chain(self.muted_until).filter(|moment| *moment > after).min()
    }
}

/// Where being muted shows when there is no status LED.
fn first_line(wires: &Wires) -> Option<usize> {
    wires.lamps.first().map(|(_, lamp)| match lamp {
        super::Lamp::Plain(line) => *line,
        super::Lamp::Rgb([_, _, blue]) => *blue,
    })
}

/// How the status LED shows it; the worst counts.
fn rhythm_of(vitals: Vitals) -> Wave {
    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }
    let blinks = |count: usize| {
        let blinks = std::iter::repeat_n([(Level::On, ms(150)), (Level::Off, ms(200))], count).flatten();
        Wave::cycle(blinks.chain([(Level::Off, ms(1400))]), None)
    };
    match vitals {
        Vitals { storage_fails: true, .. } => Wave::cycle([(Level::On, ms(100)), (Level::Off, ms(100))], None),
        Vitals { sink_down: true, .. } => blinks(2),
        Vitals { tunnel_down: true, .. } => blinks(3),
        Vitals { .. } => Wave::cycle([(Level::On, ms(60)), (Level::Off, ms(4940))], None),
    }
}

/// The sign of being muted: slow and dim; where the pin is only on or off, so short that it looks dim.
fn pulse(has_pwm: bool) -> Wave {
    match has_pwm {
        true => Wave::cycle(score::breath(12).chain([(Level::Off, Duration::from_secs(1))]), None),
        false => Wave::cycle([(Level::On, Duration::from_millis(15)), (Level::Off, Duration::from_millis(3985))], None),
    }
}

#[cfg(test)]
mod tests;
