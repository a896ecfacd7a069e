//! The GPIO registers mapped into memory, for those who cannot use the kernel's device: feature `rppal`. It takes pins
//! without asking who holds them, and a killed process leaves them as they are.

pub(super) use registers::open;

#[cfg(all(target_os = "linux", feature = "rppal"))]
mod registers {
    use std::time::Duration;

    use rppal::gpio::{self, Error, Gpio, OutputPin};

    use crate::bell::{
        Level, Line, Wires,
        board::{
            Board, BoardError,
            pulses::{self, Pulses},
            pwm::Patience,
        },
    };

    pub(in crate::bell::board) fn open(wires: &Wires) -> Result<Box<dyn Board>, BoardError> {
        let gpio = Gpio::new().map_err(|error| explain(None, &error))?;
        let taken = wires.lines.iter().map(|_| None).collect();
        let tried = vec![false; wires.lines.len()];
        Ok(Box::new(Registers { gpio, lines: wires.lines.clone(), taken, tried }))
    }

    fn explain(line: Option<&Line>, error: &Error) -> BoardError {
        match (error, line) {
            (Error::UnknownModel, _) => BoardError::NoChip { label: None },
            (Error::PermissionDenied(device), _) => BoardError::Forbidden { device: device.clone() },
            (Error::PinUsed(_), Some(line)) => {
                BoardError::Busy { line: line.name.clone(), bcm: line.pin.bcm, owner: "this program".to_owned() }
            }
            (Error::PinNotAvailable(_), Some(line)) => {
                BoardError::NoSuchPin { line: line.name.clone(), bcm: line.pin.bcm }
            }
            (error, line) => BoardError::Refused {
                attempt: line.map_or_else(|| "map the GPIO registers".to_owned(), |line| format!("take {line}")),
                cause: error.to_string(),
            },
        }
    }

    struct Registers {
        gpio: Gpio,
        lines: Vec<Line>,
        taken: Vec<Option<Output>>,
        /// The lines that were tried before.
        tried: Vec<bool>,
    }

    enum Output {
        Pin {
            pin: OutputPin,
            dark: gpio::Level,
        },
        /// The PWM hardware is the kernel's, here as well.
        Pulses(Pulses),
    }

    impl Board for Registers {
        fn take(&mut self, line: usize) -> Result<(), BoardError> {
            self.taken[line] = None;
            let wire = &self.lines[line];
            let patience = Patience::of(std::mem::replace(&mut self.tried[line], true));
            let output = match wire.pin.pwm {
                true => Output::Pulses(pulses::take(wire, patience)?),
                false => output(&self.gpio, wire)?,
            };
            self.taken[line] = Some(output);
            Ok(())
        }

        fn set(&mut self, line: usize, level: Level, _late: Duration) -> Result<(), BoardError> {
            let set = match &mut self.taken[line] {
                Some(Output::Pulses(pulses)) => pulses.set(level).map_err(|error| error.to_string()),
                Some(Output::Pin { pin, dark }) => {
                    pin.write(if level.is_lit() { !*dark } else { *dark });
                    Ok(())
                }
                None => Err("it is not ours".to_owned()),
            };
            set.map_err(|cause| {
                // Letting go of it darkens what still obeys.
                self.taken[line] = None;
                BoardError::Refused { attempt: format!("switch {}", self.lines[line]), cause }
            })
        }

        fn describe(&self) -> String {
            "pi (rppal)".to_owned()
        }
    }

    fn output(gpio: &Gpio, line: &Line) -> Result<Output, BoardError> {
        let dark = if line.pin.active_low { gpio::Level::High } else { gpio::Level::Low };
        let no_such_pin = |_| BoardError::NoSuchPin { line: line.name.clone(), bcm: line.pin.bcm };
        let number = u8::try_from(line.pin.bcm).map_err(no_such_pin)?;
        let pin = gpio.get(number).map_err(|error| explain(Some(line), &error))?;
        // The level first, then the direction: no flash at the start.
        let mut pin = match dark {
            gpio::Level::High => pin.into_output_high(),
            gpio::Level::Low => pin.into_output_low(),
        };
        // By default a dropped pin becomes an input again, and what hangs on it floats.
        pin.set_reset_on_drop(false);
        Ok(Output::Pin { pin, dark })
    }

    impl Drop for Registers {
        fn drop(&mut self) {
            for line in 0..self.lines.len() {
                // Registers cannot refuse, and what is not ours is not touched.
                let _ = self.set(line, Level::Off, Duration::ZERO);
            }
        }
    }
}

#[cfg(not(all(target_os = "linux", feature = "rppal")))]
mod registers {
    use crate::bell::{
        Wires,
        board::{Board, BoardError},
    };

    pub(in crate::bell::board) fn open(_wires: &Wires) -> Result<Box<dyn Board>, BoardError> {
        Err(BoardError::NotBuilt {
            board: "pi",
            remedy: "build it on or for Linux with `cargo build --release --features rppal`, or use `board = \"chip\"`",
        })
    }
}
