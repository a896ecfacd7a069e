//! A cue written out for the wires of one desk: what each line does from the cue's start on. Owns the patterns of LEDs
//! and how a tune becomes sound; pure: refuses I/O, clocks, pins.

use std::time::Duration;

use super::{
    Blink, BuzzerKind, Colour, Cue, Lamp, Pattern, Wires,
    tune::{self, Note},
    wave::{Level, Wave},
};

/// The longest score. What a configuration asks beyond it is cut, and ends dark.
pub(super) const SCORE_MAX: Duration = Duration::from_secs(30);

/// The shortest phase of a blink. Nobody sees less, and it bounds the number of edges.
const PHASE_MIN: Duration = Duration::from_millis(5);

/// How long [`Score::roll_call`] shows each LED, and how long the buzzer.
const ROLL_CALL_LED: Duration = Duration::from_millis(300);
const ROLL_CALL_BUZZER: Duration = Duration::from_millis(120);
const ROLL_CALL_GAP: Duration = Duration::from_millis(50);
/// How long [`Score::one`] shows a line.
const ONE: Duration = Duration::from_millis(1500);
/// The pitch of what is no tune.
const PLAIN_HZ: f64 = 2000.0;

/// How long a breath takes, and into how many steps it is cut.
const BREATH: Duration = Duration::from_millis(3000);
const BREATH_STEPS: u32 = 100;

/// More than this many beeps nobody counts.
const BEEPS_MAX: usize = 9;

/// What each line does; lines that are not named are left to what is beneath.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Score {
    pub(super) lights: Vec<(usize, Wave)>,
    pub(super) sound: Option<(usize, Wave)>,
}

impl Score {
    /// Writes a cue out. A tune that cannot be read is left out: `config` refuses it long before, and light is better
    /// than nothing. Empty when nothing that the cue needs is wired.
    pub(super) fn of(cue: &Cue, wires: &Wires) -> Score {
        let lamp = cue.led.as_deref().and_then(|name| wires.lamp(name, cue.colour));
        let length = match cue.pattern {
            Pattern::Blink => (cue.blink.on.saturating_add(cue.blink.off)).saturating_mul(cue.blink.times),
            _ => cue.lasts,
        };
        let is_dark = length.is_zero() || (cue.pattern == Pattern::Blink && cue.blink.on.is_zero());
        let lights = match lamp {
            Some((lamp, colour)) if !is_dark => {
                shine(wires, lamp, colour, (cue.pattern, cue.blink), Some(length.min(SCORE_MAX)))
            }
            _ => Vec::new(),
        };
        let notes = cue.tune.as_deref().and_then(|text| tune::parse(text).ok());
        Score { lights, sound: notes.and_then(|notes| sing(wires, &notes)) }
    }

    /// How a cue's LED stays lit.
    pub(super) fn latched(cue: &Cue, wires: &Wires) -> Vec<(usize, Wave)> {
        let Some((lamp, colour)) = cue.led.as_deref().and_then(|name| wires.lamp(name, cue.colour)) else {
            return Vec::new();
        };
        shine(wires, lamp, colour, (cue.latch_pattern.unwrap_or(cue.pattern), cue.blink), None)
    }

    /// Every wire in turn, so that a bad one is found by looking.
    pub(super) fn roll_call(wires: &Wires) -> Score {
        let mut score = Score::default();
        let mut start = Duration::ZERO;
        for line in 0..wires.lines.len() {
            let sound = wires.buzzer.filter(|(buzzer, ..)| *buzzer == line);
            let (level, length) = match sound {
                Some((_, kind, volume)) => (tone(kind, volume, PLAIN_HZ), ROLL_CALL_BUZZER),
                None => (Level::On, ROLL_CALL_LED),
            };
            let wave = Wave::once([(Level::Off, start), (level, length)]);
            match sound {
                Some(_) => score.sound = Some((line, wave)),
                None => score.lights.push((line, wave)),
            }
            start += length + ROLL_CALL_GAP;
        }
        score
    }

    /// One line alone, long enough to look at it.
    pub(super) fn one(wires: &Wires, line: usize) -> Score {
        match wires.buzzer.filter(|(buzzer, ..)| *buzzer == line) {
            Some((_, kind, volume)) => {
                let wave = Wave::solid(tone(kind, volume, PLAIN_HZ), Some(ONE));
                Score { sound: Some((line, wave)), ..Score::default() }
            }
            None => Score { lights: vec![(line, Wave::solid(Level::On, Some(ONE)))], sound: None },
        }
    }

    /// A number as short beeps, on the first LED as well; more than [`BEEPS_MAX`] end with a long one, and none at all is
    /// one long one alone.
    pub(super) fn count(wires: &Wires, number: usize) -> Score {
        const SHORT: Duration = Duration::from_millis(90);
        const LONG: Duration = Duration::from_millis(600);
        const GAP: Duration = Duration::from_millis(160);
        let shorts = std::iter::repeat_n(SHORT, number.min(BEEPS_MAX));
        let longs = std::iter::repeat_n(LONG, usize::from(number == 0 || number > BEEPS_MAX));
        let beeps: Vec<Duration> = shorts.chain(longs).collect();
        let phases = |on: Level| beeps.iter().flat_map(move |beep| [(on, *beep), (Level::Off, GAP)]);
        let lights = match wires.lamps.first() {
            None => Vec::new(),
            Some((_, Lamp::Plain(line))) => vec![(*line, Wave::once(phases(Level::On)))],
            Some((_, Lamp::Rgb(lines))) => lines.iter().map(|line| (*line, Wave::once(phases(Level::On)))).collect(),
        };
        let sound = wires.buzzer.map(|(line, kind, volume)| (line, Wave::once(phases(tone(kind, volume, PLAIN_HZ)))));
        Score { lights, sound }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lights.is_empty() && self.sound.is_none()
    }

    /// When light and sound have ended.
    pub(super) fn length(&self) -> Duration {
        let waves = self.lights.iter().chain(&self.sound);
        waves.filter_map(|(_, wave)| wave.length()).max().unwrap_or_default()
    }
}

/// A lamp in its colour, patterned.
pub(super) fn shine(
    wires: &Wires,
    lamp: Lamp,
    colour: Colour,
    (pattern, blink): (Pattern, Blink),
    length: Option<Duration>,
) -> Vec<(usize, Wave)> {
    let has_pwm = |line: usize| wires.lines[line].pin.pwm;
    let parts: Vec<(usize, u8)> = match lamp {
        Lamp::Plain(line) => vec![(line, 100)],
        Lamp::Rgb(lines) => {
            lines.iter().enumerate().map(|(part, line)| (*line, colour.share(part, has_pwm(*line)))).collect()
        }
    };
    // All parts of one LED do the same, or its colour would change with every breath.
    let breathes = parts.iter().all(|(line, _)| has_pwm(*line));
    parts.into_iter().map(|(line, share)| (line, patterned(pattern, blink, share, breathes, length))).collect()
}

fn patterned(pattern: Pattern, blink: Blink, share: u8, breathes: bool, length: Option<Duration>) -> Wave {
    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }
    let (on, off) = (Level::percent(share), Level::Off);
    match pattern {
        Pattern::Solid => Wave::solid(on, length),
        Pattern::Blink => {
            let dark = if blink.off.is_zero() { Duration::ZERO } else { blink.off.max(PHASE_MIN).min(SCORE_MAX) };
            Wave::cycle([(on, blink.on.max(PHASE_MIN).min(SCORE_MAX)), (off, dark)], length)
        }
        Pattern::Breathe if breathes => Wave::cycle(breath(share), length),
        Pattern::Breathe => Wave::cycle([(on, BREATH / 2), (off, BREATH / 2)], length),
        Pattern::Heartbeat => Wave::cycle([(on, ms(80)), (off, ms(120)), (on, ms(80)), (off, ms(720))], length),
    }
}

/// From dark to `share` percent and back, as the eye sees it.
pub(super) fn breath(share: u8) -> impl Iterator<Item = (Level, Duration)> {
    // The eye answers to about the square of what a lamp gives.
    const GAMMA: f64 = 2.2;
    (0..BREATH_STEPS).map(move |step| {
        let turn = f64::from(step) / f64::from(BREATH_STEPS) * std::f64::consts::TAU;
        let seen = (1.0 - turn.cos()) / 2.0;
        // Between 0 and 100: `share` is no more.
        let percent = (seen.powf(GAMMA) * f64::from(share)).round() as u8;
        // Never quite dark, or it would begin late.
        let percent = percent.max(share.min(1));
        (Level::percent(percent), BREATH / BREATH_STEPS)
    })
}

/// Tones on a buzzer that can, the rhythm on one that cannot.
fn sing(wires: &Wires, notes: &[Note]) -> Option<(usize, Wave)> {
    let (line, kind, volume) = wires.buzzer?;
    let mut phases = Vec::new();
    let mut at = Duration::ZERO;
    for (note, (start, end)) in notes.iter().filter(|note| note.frequency_hz.is_some()).zip(tune::rhythm(notes)) {
        let level = note.frequency_hz.map_or(Level::Off, |hz| tone(kind, volume, hz));
        phases.extend([(Level::Off, start - at), (level, end - start)]);
        at = end;
    }
    (!phases.is_empty()).then(|| (line, Wave::once(phases).cut(SCORE_MAX)))
}

fn tone(kind: BuzzerKind, volume: u8, hz: f64) -> Level {
    match kind {
        BuzzerKind::Active => Level::On,
        BuzzerKind::Passive => Level::Tone { period: Duration::from_secs_f64(1.0 / hz.clamp(20.0, 20_000.0)), volume },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::bell::{Buzzer, Led, Pin, Settings, cue};

    fn wires(leds: &[&str], buzzer: Option<BuzzerKind>) -> Wires {
        let plain = |name: &&str| ((*name).to_owned(), Led::Plain(Pin::plain(17)));
        Wires::new(&Settings {
            board: crate::bell::BoardKind::Chip,
            leds: leds.iter().map(plain).collect(),
            buzzer: buzzer.map(|kind| Buzzer { pin: Pin::plain(18), kind, volume: 40 }),
            ..Settings::default()
        })
    }

    fn cue(on_ms: u64, off_ms: u64, times: u32, tune: Option<&str>) -> Cue {
        let blink = Blink::ms(on_ms, off_ms, times);
        Cue { led: Some("green".to_owned()), blink, tune: tune.map(str::to_owned), ..cue::plain() }
    }

    /// Every change of every line, in order: `(ms, line, level)`.
    fn edges(score: &Score) -> Vec<(Duration, usize, Level)> {
        let mut edges = Vec::new();
        for (line, wave) in score.lights.iter().chain(&score.sound) {
            let (mut at, mut last) = (Some(Duration::ZERO), Level::Off);
            while let Some(moment) = at {
                let level = wave.at(moment);
                if level != last {
                    edges.push((moment, *line, level));
                }
                (at, last) = (wave.next(moment), level);
            }
            assert_eq!(last, Level::Off, "it ends dark");
        }
        edges.sort_by_key(|(at, line, _)| (*at, *line));
        edges
    }

    fn check(cue: &Cue, wires: &Wires, expected: &str) {
        let shown: Vec<String> = edges(&Score::of(cue, wires))
            .iter()
            .map(|(at, line, level)| {
                format!("{} {} {}", at.as_millis(), wires.lines[*line].name, u8::from(level.is_lit()))
            })
            .collect();
        assert_eq!(shown.join(", "), expected);
    }

    #[test]
    fn light_and_sound_are_one_score() {
        check(
            &cue(200, 100, 2, Some("d=4,b=240:c,c")),
            &wires(&["blue", "green"], Some(BuzzerKind::Active)),
            "0 green 1, 0 buzzer 1, 200 green 0, 218 buzzer 0, 250 buzzer 1, 300 green 1, 468 buzzer 0, 500 green 0",
        );
    }

    #[test]
    fn what_is_not_wired_is_replaced_or_left_out() {
        let blink = cue(100, 100, 1, Some("c"));
        check(&blink, &wires(&["white", "yellow"], None), "0 white 1, 100 white 0");
        check(&blink, &wires(&[], Some(BuzzerKind::Active)), "0 buzzer 1, 912 buzzer 0");
        check(&blink, &wires(&[], None), "");
        check(&cue(100, 100, 1, Some("nonsense")), &wires(&["green"], None), "0 green 1, 100 green 0");
        check(&cue(0, 100, 3, None), &wires(&["green"], None), "");
        check(&cue(100, 100, 0, None), &wires(&["green"], None), "");
        check(&cue(100, 0, 3, None), &wires(&["green"], None), "0 green 1, 300 green 0");
    }

    #[test]
    fn patterns() {
        let wires = wires(&["green"], None);
        let of = |pattern| Cue { pattern, lasts: Duration::from_millis(1500), ..cue(1, 1, 1, None) };
        check(&of(Pattern::Solid), &wires, "0 green 1, 1500 green 0");
        check(&of(Pattern::Breathe), &wires, "0 green 1, 1500 green 0");
        let heart = "0 green 1, 80 green 0, 200 green 1, 280 green 0";
        check(
            &of(Pattern::Heartbeat),
            &wires,
            &format!("{heart}, 1000 green 1, 1080 green 0, 1200 green 1, 1280 green 0"),
        );
    }

    #[test]
    fn a_passive_buzzer_has_pitches_and_a_volume() {
        let wires = wires(&[], Some(BuzzerKind::Passive));
        let score = Score::of(&cue(0, 0, 0, Some("b=60,o=4:a,p,a5")), &wires);
        let tones: Vec<(u128, u8)> = edges(&score)
            .iter()
            .filter_map(|(_, _, level)| match level {
                Level::Tone { period, volume } => Some((period.as_nanos(), *volume)),
                _ => None,
            })
            .collect();
        assert_eq!(tones, [(2_272_727, 40), (1_136_364, 40)]);
    }

    #[test]
    fn no_configuration_makes_an_endless_score() {
        let wires = wires(&["green"], None);
        for (on, off) in [
            (Duration::from_nanos(1), Duration::from_nanos(1)),
            (Duration::MAX, Duration::MAX),
            (Duration::MAX, Duration::ZERO),
        ] {
            let endless = Cue { blink: Blink { on, off, times: u32::MAX }, ..cue(1, 1, 1, None) };
            let score = Score::of(&endless, &wires);
            assert!(score.length() <= SCORE_MAX);
            assert!(edges(&score).len() <= 6001, "{}", edges(&score).len());
        }
    }

    #[test]
    fn every_default_starts_at_once_and_ends_dark() {
        let wires = wires(&["red", "green", "blue"], Some(BuzzerKind::Active));
        for (name, cue) in cue::default_cues() {
            assert_eq!(edges(&Score::of(&cue, &wires))[0].0, Duration::ZERO, "{name}");
        }
    }

    #[test]
    fn the_roll_call_shows_one_wire_at_a_time() {
        let wires = wires(&["green", "red"], Some(BuzzerKind::Passive));
        let edges = edges(&Score::roll_call(&wires));
        let lit: Vec<(usize, bool)> = edges.iter().map(|(_, line, level)| (*line, level.is_lit())).collect();
        assert_eq!(lit, [(0, true), (0, false), (1, true), (1, false), (2, true), (2, false)]);
    }

    #[test]
    fn a_number_is_beeped() {
        let wires = wires(&["green"], Some(BuzzerKind::Active));
        let beeps = |number| {
            let edges = edges(&Score::count(&wires, number));
            edges.iter().filter(|(_, line, level)| *line == 1 && level.is_lit()).count()
        };
        assert_eq!([0, 1, 3, 9, 10, 5000].map(beeps), [1, 1, 3, 9, 10, 10]);
        let length = |number| Score::count(&wires, number).length();
        assert!(length(0) > length(1), "nothing is one long one");
    }

    proptest! {
        #[test]
        fn any_tune_ends_dark_and_in_time(text in "(d=(1|4|32),b=(25|63|900):)?([a-hp]#?\\.?[1-8]?,){0,40}[a-h]") {
            let wires = wires(&["green"], Some(BuzzerKind::Passive));
            if let Ok(notes) = tune::parse(&text) {
                let total: Duration = notes.iter().map(|note| note.duration).sum();
                prop_assert!(total <= tune::TUNE_MAX);
                let score = Score::of(&cue(0, 0, 0, Some(&text)), &wires);
                prop_assert!(score.length() <= total);
                let edges = edges(&score);
                prop_assert!(edges.len() >= 2 * usize::from(notes.iter().any(|note| note.frequency_hz.is_some())));
                prop_assert!(edges.iter().all(|(at, _, _)| *at <= total));
            }
        }
    }
}
