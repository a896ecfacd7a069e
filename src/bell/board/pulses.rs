//! A line that is driven by the PWM hardware: dim light and tones as periods and shares of them. Refuses to know where the
//! hardware is.

use std::{io, path::Path, time::Duration};

use super::{
    BoardError,
    pwm::{Channel, Patience},
};
use crate::bell::{Level, Line, Part};

/// Of a light: too fast for the eye, slow enough for any hardware.
const LIGHT_PERIOD: Duration = Duration::from_millis(1);
/// Of a buzzer that is asked to sound and not at which pitch.
const PLAIN_PERIOD: Duration = Duration::from_micros(500);

/// One line's pulses.
pub(super) struct Pulses {
    channel: Channel,
    part: Part,
}

/// Takes the PWM channel of a line, silent.
pub(super) fn take(line: &Line, patience: Patience) -> Result<Pulses, BoardError> {
    let channel = Channel::open(Path::new("/"), line.pin.bcm, line.pin.active_low, patience)
        .map_err(|error| BoardError::Pwm { line: line.name.clone(), bcm: line.pin.bcm, cause: error.to_string() })?;
    Ok(Pulses { channel, part: line.part })
}

/// Whether there is such a channel to take. None is.
pub(super) fn look(line: &str, bcm: u32) -> Result<(), BoardError> {
    let found = Channel::look(Path::new("/"), bcm);
    found.map_err(|error| BoardError::Pwm { line: line.to_owned(), bcm, cause: error.to_string() })
}

impl Pulses {
    pub(super) fn set(&mut self, level: Level) -> io::Result<()> {
        let (period, duty) = pulse(self.part, level);
        self.channel.set(nanos(period), nanos(duty))
    }
}

fn pulse(part: Part, level: Level) -> (Duration, Duration) {
    match (level, part) {
        (Level::Off, _) => (LIGHT_PERIOD, Duration::ZERO),
        (Level::On, Part::Led) => (LIGHT_PERIOD, LIGHT_PERIOD),
        (Level::On, Part::Buzzer(_)) => (PLAIN_PERIOD, PLAIN_PERIOD / 2),
        (Level::Dim(percent), _) => (LIGHT_PERIOD, LIGHT_PERIOD * u32::from(percent) / 100),
        (Level::Tone { period, volume }, _) => (period, period / 2 * u32::from(volume) / 100),
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bell::BuzzerKind;

    #[test]
    fn levels_as_pulses() {
        let of = |part, level| {
            let (period, duty) = pulse(part, level);
            (nanos(period), nanos(duty))
        };
        let buzzer = Part::Buzzer(BuzzerKind::Passive);
        assert_eq!(of(Part::Led, Level::On), (1_000_000, 1_000_000));
        assert_eq!(of(Part::Led, Level::Dim(12)), (1_000_000, 120_000));
        assert_eq!(of(buzzer, Level::On), (500_000, 250_000));
        assert_eq!(of(buzzer, Level::Off).1, 0);
        let a4 = Level::Tone { period: Duration::from_nanos(2_272_727), volume: 50 };
        assert_eq!(of(buzzer, a4), (2_272_727, 568_181));
    }
}
