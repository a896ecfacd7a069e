//! What one line does over time. Owns levels and the arithmetic of patterns; pure: refuses I/O, clocks, pins.
//!
//! A wave is asked what it does at an offset and when it changes next, both counted from its own start in whole
//! nanoseconds. Nothing is added up from edge to edge, so a pattern that runs for a week is as exact as its first period.

use std::time::Duration;

/// What a line does at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Dark, or silent.
    Off,
    /// Lit or sounding, as far as the line can.
    On,
    /// Lit for so many hundredths of the time, 1 to 99: only where the pin has PWM.
    Dim(u8),
    /// Sounding at a pitch: only on a passive buzzer.
    Tone {
        /// Of one oscillation.
        period: Duration,
        /// 1 to 100 percent; 100 is on for half of each oscillation, which is as loud as it gets.
        volume: u8,
    },
}

impl Level {
    /// Lit for so many hundredths of the time.
    pub fn percent(percent: u8) -> Level {
        match percent {
            0 => Level::Off,
            1..=99 => Level::Dim(percent),
            _ => Level::On,
        }
    }

    /// How many hundredths of full light where it is dim, and the pitch in hertz where it has one.
    pub fn shades(self) -> (Option<u8>, Option<u32>) {
        match self {
            Level::Off | Level::On => (None, None),
            Level::Dim(percent) => (Some(percent), None),
            // Between 20 and 20 000.
            Level::Tone { period, .. } => (None, Some((1.0 / period.as_secs_f64()).round() as u32)),
        }
    }

    /// Whether anything is to be seen or heard.
    pub fn is_lit(self) -> bool {
        self != Level::Off
    }
}

/// The levels of one line from a start on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wave {
    /// Ascending offsets, the first of them zero, and the level from there on.
    changes: Vec<(Duration, Level)>,
    /// After this it begins again.
    period: Duration,
    /// After this it is off; `None`: it goes on for ever.
    length: Option<Duration>,
}

impl Wave {
    /// One level.
    pub(super) fn solid(level: Level, length: Option<Duration>) -> Wave {
        Wave { changes: vec![(Duration::ZERO, level)], period: Duration::MAX, length }
    }

    /// Levels one after another, each for its time, again and again. Without any time at all it is off.
    pub(super) fn cycle(phases: impl IntoIterator<Item = (Level, Duration)>, length: Option<Duration>) -> Wave {
        let mut changes: Vec<(Duration, Level)> = Vec::new();
        let mut period = Duration::ZERO;
        for (level, time) in phases {
            if time.is_zero() {
                continue;
            }
            // Equal neighbours are one phase: a change is a change.
            if changes.last().is_none_or(|(_, last)| *last != level) {
                changes.push((period, level));
            }
            period = period.saturating_add(time);
        }
        if changes.len() < 2 {
            return Wave::solid(changes.first().map_or(Level::Off, |(_, level)| *level), length);
        }
        Wave { changes, period, length }
    }

    /// Levels one after another, once.
    pub(super) fn once(phases: impl IntoIterator<Item = (Level, Duration)>) -> Wave {
        let phases: Vec<(Level, Duration)> = phases.into_iter().collect();
        let length = phases.iter().fold(Duration::ZERO, |sum, (_, time)| sum.saturating_add(*time));
        Wave::cycle(phases, Some(length))
    }

    /// When it has ended for good; `None`: never.
    pub(super) fn length(&self) -> Option<Duration> {
        self.length
    }

    /// The same, ending after this at the latest.
    pub(super) fn cut(mut self, length: Duration) -> Wave {
        self.length = Some(self.length.map_or(length, |own| own.min(length)));
        self
    }

    /// The level at an offset from the start.
    pub(super) fn at(&self, offset: Duration) -> Level {
        if self.length.is_some_and(|length| offset >= length) {
            return Level::Off;
        }
        let within = remainder(offset, self.period);
        let place = self.changes.partition_point(|(at, _)| *at <= within);
        self.changes[place.saturating_sub(1)].1
    }

    /// The first offset after this one at which the level may be another; `None`: it stays as it is.
    pub(super) fn next(&self, offset: Duration) -> Option<Duration> {
        let end = self.length.filter(|length| *length > offset);
        if self.length.is_some() && end.is_none() {
            return None;
        }
        let change = (self.changes.len() > 1).then(|| {
            let within = remainder(offset, self.period);
            let begun = offset - within;
            let place = self.changes.partition_point(|(at, _)| *at <= within);
            begun.saturating_add(self.changes.get(place).map_or(self.period, |(at, _)| *at))
        });
        match (change, end) {
            (Some(change), Some(end)) => Some(change.min(end)),
            (change, end) => change.or(end),
        }
    }
}

/// `offset` modulo `period`.
fn remainder(offset: Duration, period: Duration) -> Duration {
    const NANOS: u128 = 1_000_000_000;
    if offset < period {
        return offset;
    }
    let nanos = offset.as_nanos() % period.as_nanos().max(1);
    // Less than `offset`, so its seconds fit.
    Duration::new(u64::try_from(nanos / NANOS).unwrap_or(0), u32::try_from(nanos % NANOS).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// The changes from the start on, as `ms level`, at most eight.
    fn check(wave: &Wave, expected: &str) {
        let level = |at: Duration| match wave.at(at) {
            Level::Off => "off".to_owned(),
            Level::On => "on".to_owned(),
            Level::Dim(percent) => format!("{percent}%"),
            Level::Tone { period, .. } => format!("{}ns", period.as_nanos()),
        };
        let mut shown = vec![format!("0 {}", level(Duration::ZERO))];
        let mut at = Duration::ZERO;
        while let Some(next) = wave.next(at)
            && shown.len() < 8
        {
            assert!(next > at);
            shown.push(format!("{} {}", next.as_millis(), level(next)));
            at = next;
        }
        assert_eq!(shown.join(", "), expected);
    }

    #[test]
    fn waves_written_out() {
        let blink = [(Level::On, ms(200)), (Level::Off, ms(100))];
        check(&Wave::solid(Level::On, None), "0 on");
        check(&Wave::solid(Level::On, Some(ms(50))), "0 on, 50 off");
        check(&Wave::once(blink), "0 on, 200 off, 300 off");
        check(&Wave::cycle(blink, Some(ms(600))), "0 on, 200 off, 300 on, 500 off, 600 off");
        check(&Wave::cycle(blink, Some(ms(250))), "0 on, 200 off, 250 off");
        check(&Wave::cycle(blink, None), "0 on, 200 off, 300 on, 500 off, 600 on, 800 off, 900 on, 1100 off");
        check(&Wave::cycle([(Level::On, ms(5)), (Level::Off, ms(0))], None), "0 on");
        check(
            &Wave::cycle([(Level::On, ms(5)), (Level::On, ms(5)), (Level::Dim(3), ms(5))], Some(ms(15))),
            "0 on, 10 3%, 15 off",
        );
        check(&Wave::cycle([], None), "0 off");
        check(&Wave::once(blink).cut(ms(100)), "0 on, 100 off");
        check(&Wave::once(blink).cut(ms(1000)), "0 on, 200 off, 300 off");
    }

    #[test]
    fn a_week_later_it_is_as_exact() {
        let third = Duration::from_nanos(333_333_333);
        let wave = Wave::cycle([(Level::On, third), (Level::Off, third)], None);
        let periods = 900_000u32;
        let begun = (third + third) * periods;
        assert_eq!(wave.at(begun), Level::On);
        assert_eq!(wave.at(begun - Duration::from_nanos(1)), Level::Off);
        assert_eq!(wave.next(begun), Some(begun + third));
        assert_eq!(wave.next(begun + third), Some(begun + third + third));
    }

    proptest! {
        #[test]
        fn what_it_does_changes_only_where_it_says(
            phases in prop::collection::vec((0u8..4, 0u64..5_000), 0..6),
            length in prop::option::of(0u64..40_000),
            offset in 0u64..50_000,
        ) {
            let phases = phases.into_iter().map(|(level, time)| (Level::percent(level * 33), Duration::from_nanos(time)));
            let wave = Wave::cycle(phases, length.map(Duration::from_nanos));
            let offset = Duration::from_nanos(offset);
            let level = wave.at(offset);
            let next = wave.next(offset);
            let until = next.unwrap_or(offset + Duration::from_nanos(20_000));
            prop_assert!(until > offset);
            let mut at = offset;
            while at < until {
                prop_assert_eq!(wave.at(at), level);
                at += Duration::from_nanos(1);
            }
        }
    }
}
