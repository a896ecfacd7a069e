//! A cue written out for the wires of one desk: which line changes when. Owns the merging of light and sound; pure:
//! refuses I/O, clocks, pins.

use std::time::Duration;

use super::{Blink, Cue, Line, Part, tune};

/// The longest score. What a configuration asks beyond it is cut, and ends dark.
pub(super) const SCORE_MAX: Duration = Duration::from_secs(30);

/// The shortest phase of a blink. Nobody sees less, and it bounds the number of steps.
const PHASE_MIN: Duration = Duration::from_millis(10);

/// How long [`Score::roll_call`] shows each LED, and how long the buzzer.
const ROLL_CALL_LED: Duration = Duration::from_millis(300);
const ROLL_CALL_BUZZER: Duration = Duration::from_millis(120);
const ROLL_CALL_GAP: Duration = Duration::from_millis(50);

/// Timed edges in order. Every line starts dark and ends dark.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Score {
    pub(super) steps: Vec<Step>,
}

/// One line changes. Offsets count from the score's start, so that a late step delays no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) at: Duration,
    pub(super) line: usize,
    pub(super) lit: bool,
}

impl Score {
    /// Writes a cue out. A tune that cannot be read is left out: `config` refuses it long before, and light is better
    /// than nothing. Empty when nothing that the cue needs is wired.
    pub(super) fn of(cue: &Cue, lines: &[Line]) -> Score {
        let mut score = Score::default();
        if let Some(line) = cue.led.as_deref().and_then(|name| led(lines, name)) {
            score.add(line, &blinks(cue.blink));
        }
        let notes = cue.tune.as_deref().and_then(|body| tune::parse(body).ok());
        if let (Some(notes), Some(line)) = (notes, lines.iter().position(|line| line.part == Part::Buzzer)) {
            score.add(line, &tune::rhythm(&notes));
        }
        score.sort();
        score
    }

    /// Every wire in turn, so that a bad one is found by looking.
    pub(super) fn roll_call(lines: &[Line]) -> Score {
        let mut score = Score::default();
        let mut start = Duration::ZERO;
        for (place, line) in lines.iter().enumerate() {
            let length = match line.part {
                Part::Led => ROLL_CALL_LED,
                Part::Buzzer => ROLL_CALL_BUZZER,
            };
            score.add(place, &[(start, start + length)]);
            start += length + ROLL_CALL_GAP;
        }
        score
    }

    fn add(&mut self, line: usize, spans: &[(Duration, Duration)]) {
        for &(start, end) in spans.iter().filter(|(start, _)| *start < SCORE_MAX) {
            self.steps.push(Step { at: start, line, lit: true });
            self.steps.push(Step { at: end.min(SCORE_MAX), line, lit: false });
        }
    }

    /// By time; at one moment LEDs before the buzzer. Stable, so that a line's own edges stay in order.
    fn sort(&mut self) {
        self.steps.sort_by_key(|step| (step.at, step.line));
    }
}

/// The LED of that name, or the first there is: who wired one LED sees everything on it.
fn led(lines: &[Line], name: &str) -> Option<usize> {
    let mut leds = lines.iter().enumerate().filter(|(_, line)| line.part == Part::Led);
    leds.clone().find(|(_, line)| line.name == name).or_else(|| leds.next()).map(|(place, _)| place)
}

fn blinks(blink: Blink) -> Vec<(Duration, Duration)> {
    let Blink { on, off, times } = blink;
    if on.is_zero() || times == 0 {
        return Vec::new();
    }
    let on = on.max(PHASE_MIN).min(SCORE_MAX);
    if off.is_zero() {
        // Never dark in between is one long light.
        return vec![(Duration::ZERO, on.saturating_mul(times).min(SCORE_MAX))];
    }
    let period = on + off.max(PHASE_MIN).min(SCORE_MAX);
    (0..times)
        .map(|turn| period.saturating_mul(turn))
        .take_while(|start| *start < SCORE_MAX)
        .map(|start| (start, start + on))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::bell::{BoardKind, Pin, Settings, cue};

    fn lines(leds: &[&str], buzzer: bool) -> Vec<Line> {
        let pin = Pin { bcm: 17, active_low: false };
        Settings {
            board: BoardKind::Chip,
            leds: leds.iter().map(|name| ((*name).to_owned(), pin)).collect(),
            buzzer: buzzer.then_some(pin),
            trace: None,
            cues: BTreeMap::new(),
        }
        .lines()
    }

    fn cue(on_ms: u64, off_ms: u64, times: u32, tune: Option<&str>) -> Cue {
        let blink = Blink { on: Duration::from_millis(on_ms), off: Duration::from_millis(off_ms), times };
        Cue { led: Some("green".to_owned()), blink, tune: tune.map(str::to_owned), priority: 1 }
    }

    /// Steps as `ms name level`.
    fn check(cue: &Cue, lines: &[Line], expected: &str) {
        let shown: Vec<String> = Score::of(cue, lines)
            .steps
            .iter()
            .map(|step| format!("{} {} {}", step.at.as_millis(), lines[step.line].name, u8::from(step.lit)))
            .collect();
        assert_eq!(shown.join(", "), expected);
    }

    #[test]
    fn light_and_sound_are_one_list() {
        check(
            &cue(200, 100, 2, Some("d=4,b=240:c,c")),
            &lines(&["blue", "green"], true),
            "0 green 1, 0 buzzer 1, 200 green 0, 218 buzzer 0, 250 buzzer 1, 300 green 1, 468 buzzer 0, 500 green 0",
        );
    }

    #[test]
    fn what_is_not_wired_is_replaced_or_left_out() {
        let blink = cue(100, 100, 1, Some("c"));
        check(&blink, &lines(&["white", "yellow"], false), "0 white 1, 100 white 0");
        check(&blink, &lines(&[], true), "0 buzzer 1, 912 buzzer 0");
        check(&blink, &lines(&[], false), "");
        check(&cue(100, 100, 1, Some("nonsense")), &lines(&["green"], true), "0 green 1, 100 green 0");
        check(&cue(0, 100, 3, None), &lines(&["green"], true), "");
        check(&cue(100, 100, 0, None), &lines(&["green"], true), "");
    }

    #[test]
    fn without_dark_it_is_one_light() {
        check(&cue(100, 0, 3, None), &lines(&["green"], false), "0 green 1, 300 green 0");
    }

    #[test]
    fn no_configuration_makes_an_endless_score() {
        let lines = lines(&["green"], false);
        for (on, off) in [
            (Duration::from_nanos(1), Duration::from_nanos(1)),
            (Duration::MAX, Duration::MAX),
            (Duration::MAX, Duration::ZERO),
        ] {
            let endless = Cue { blink: Blink { on, off, times: u32::MAX }, ..cue(1, 1, 1, None) };
            let score = Score::of(&endless, &lines);
            assert!(score.steps.len() <= 3000, "{}", score.steps.len());
            let last = score.steps.last().unwrap();
            assert!(!last.lit && last.at <= SCORE_MAX);
        }
    }

    #[test]
    fn every_default_starts_at_once_and_ends_dark() {
        let lines = lines(&["red", "green", "blue"], true);
        for (name, cue) in cue::default_cues() {
            let score = Score::of(&cue, &lines);
            let mut lit = vec![false; lines.len()];
            assert_eq!(score.steps[0].at, Duration::ZERO, "{name}");
            for step in &score.steps {
                assert_ne!(lit[step.line], step.lit, "{name}: not an edge: {step:?}");
                lit[step.line] = step.lit;
            }
            assert!(!lit.contains(&true), "{name}");
        }
    }

    #[test]
    fn the_roll_call_shows_one_wire_at_a_time() {
        let lines = lines(&["green", "red"], true);
        let steps = Score::roll_call(&lines).steps;
        assert_eq!(
            steps.iter().map(|step| (step.line, step.lit)).collect::<Vec<_>>(),
            [(0, true), (0, false), (1, true), (1, false), (2, true), (2, false)]
        );
        assert!(steps.is_sorted_by_key(|step| step.at));
    }
}
