//! What pressing the button means. Owns the gestures and their times; pure: refuses pins and clocks.
//!
//! A long press counts while the button is still down, so that whoever presses knows when to let go. A short one counts
//! when no second one followed: the two mean different things.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Held for so long, a press is long.
pub const LONG: Duration = Duration::from_secs(1);
/// Pressed again within this time after it was let go, it is a double press.
pub const AGAIN_WITHIN: Duration = Duration::from_millis(350);

/// What somebody did with the button.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Gesture {
    /// Pressed once.
    Short,
    /// Held.
    Long,
    /// Pressed twice.
    Double,
}

/// Where a gesture stands. Fed with debounced changes and asked when its time has come.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Finger {
    #[default]
    Away,
    /// Down since then; whether it was so before, a moment ago.
    Down { since: Duration, again: bool },
    /// Up since then, after a short press.
    Up { since: Duration },
    /// Still down, and what it means is already known.
    Held,
}

impl Finger {
    /// The button went down or up.
    pub(super) fn moved(&mut self, at: Duration, is_down: bool) -> Option<Gesture> {
        // Whatever should have been noticed before.
        let before = self.passed(at);
        let (next, now) = match (*self, is_down) {
            (Finger::Away, true) => (Finger::Down { since: at, again: false }, None),
            (Finger::Up { .. }, true) => (Finger::Down { since: at, again: true }, None),
            (Finger::Down { again: true, .. }, false) => (Finger::Away, Some(Gesture::Double)),
            (Finger::Down { again: false, .. }, false) => (Finger::Up { since: at }, None),
            (Finger::Held, false) => (Finger::Away, None),
            // An edge was lost: what is seen now holds.
            (same, _) => (same, None),
        };
        *self = next;
        before.or(now)
    }

    /// Time has passed.
    pub(super) fn passed(&mut self, now: Duration) -> Option<Gesture> {
        self.due().filter(|due| *due <= now)?;
        let (next, gesture) = match *self {
            Finger::Down { .. } => (Finger::Held, Gesture::Long),
            _ => (Finger::Away, Gesture::Short),
        };
        *self = next;
        Some(gesture)
    }

    /// When time alone will tell.
    pub(super) fn due(&self) -> Option<Duration> {
        match *self {
            Finger::Away | Finger::Held => None,
            Finger::Down { since, .. } => Some(since + LONG),
            Finger::Up { since } => Some(since + AGAIN_WITHIN),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Moves as `ms down|up`, and what they mean as `ms gesture`.
    fn check(moves: &[(u64, bool)], expected: &[(u64, Gesture)]) {
        let mut finger = Finger::default();
        let mut seen = Vec::new();
        let mut moves = moves.iter().map(|(at, is_down)| (Duration::from_millis(*at), *is_down)).peekable();
        loop {
            match (finger.due(), moves.peek()) {
                (Some(due), Some((at, _))) if due <= *at => {
                    seen.extend(finger.passed(due).map(|gesture| (due, gesture)));
                }
                (_, Some((at, is_down))) => {
                    seen.extend(finger.moved(*at, *is_down).map(|gesture| (*at, gesture)));
                    moves.next();
                }
                (Some(due), None) => seen.extend(finger.passed(due).map(|gesture| (due, gesture))),
                (None, None) => break,
            }
        }
        let expected: Vec<_> = expected.iter().map(|(at, gesture)| (Duration::from_millis(*at), *gesture)).collect();
        assert_eq!(seen, expected);
    }

    #[test]
    fn gestures() {
        use Gesture::{Double, Long, Short};
        check(&[(0, true), (100, false)], &[(450, Short)]);
        check(&[(0, true), (999, false)], &[(1349, Short)]);
        check(&[(0, true), (1500, false)], &[(1000, Long)]);
        check(&[(0, true)], &[(1000, Long)]);
        check(&[(0, true), (100, false), (300, true), (400, false)], &[(400, Double)]);
        check(&[(0, true), (100, false), (500, true), (600, false)], &[(450, Short), (950, Short)]);
        check(&[(0, true), (100, false), (300, true), (1400, false)], &[(1300, Long)]);
        let four = [(0, true), (50, false), (100, true), (150, false), (200, true), (250, false)];
        check(&four, &[(150, Double), (600, Short)]);
    }

    #[test]
    fn a_lost_edge_confuses_nobody_for_long() {
        check(&[(0, false), (10, true), (20, true), (100, false), (110, false)], &[(450, Gesture::Short)]);
        check(
            &[(0, true), (5000, true), (6000, false), (7000, true), (7100, false)],
            &[(1000, Gesture::Long), (7450, Gesture::Short)],
        );
    }

    #[test]
    fn what_is_noticed_late_is_noticed_all_the_same() {
        let mut finger = Finger::default();
        assert_eq!(finger.moved(Duration::ZERO, true), None);
        assert_eq!(finger.moved(Duration::from_secs(3), false), Some(Gesture::Long));
        assert_eq!(finger.due(), None);
    }
}
