//! The GPIO registers mapped into memory, for those who cannot use the kernel's device: feature `rppal`. It takes pins
//! without asking who holds them, and a killed process leaves them as they are.

pub(super) use registers::open;

#[cfg(all(target_os = "linux", feature = "rppal"))]
mod registers {
    use rppal::gpio::{Error, Gpio, Level, OutputPin};

    use crate::bell::{
        Line,
        board::{Board, BoardError},
    };

    pub(in crate::bell::board) fn open(lines: &[Line]) -> Result<Box<dyn Board>, BoardError> {
        let gpio = Gpio::new().map_err(|error| explain(None, &error))?;
        let mut wires = Vec::with_capacity(lines.len());
        for line in lines {
            let dark = if line.pin.active_low { Level::High } else { Level::Low };
            let no_such_pin = |_| BoardError::NoSuchPin { line: line.name.clone(), bcm: line.pin.bcm };
            let number = u8::try_from(line.pin.bcm).map_err(no_such_pin)?;
            let pin = gpio.get(number).map_err(|error| explain(Some(line), &error))?;
            // The level first, then the direction: no flash at the start.
            let mut pin = match dark {
                Level::High => pin.into_output_high(),
                Level::Low => pin.into_output_low(),
            };
            // By default a dropped pin becomes an input again, and what hangs on it floats.
            pin.set_reset_on_drop(false);
            wires.push(Wire { pin, dark });
        }
        Ok(Box::new(Registers { wires }))
    }

    fn explain(line: Option<&Line>, error: &Error) -> BoardError {
        match (error, line) {
            (Error::UnknownModel, _) => BoardError::NoChip,
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
        wires: Vec<Wire>,
    }

    struct Wire {
        pin: OutputPin,
        dark: Level,
    }

    impl Board for Registers {
        fn set(&mut self, line: usize, lit: bool) -> Result<(), BoardError> {
            let Wire { pin, dark } = &mut self.wires[line];
            pin.write(if lit { !*dark } else { *dark });
            Ok(())
        }

        fn dark(&mut self) -> Result<(), BoardError> {
            (0..self.wires.len()).try_for_each(|line| self.set(line, false))
        }

        fn describe(&self) -> String {
            "pi (rppal)".to_owned()
        }
    }

    impl Drop for Registers {
        fn drop(&mut self) {
            // Registers cannot refuse.
            let _ = self.dark();
        }
    }
}

#[cfg(not(all(target_os = "linux", feature = "rppal")))]
mod registers {
    use crate::bell::{
        Line,
        board::{Board, BoardError},
    };

    pub(in crate::bell::board) fn open(_lines: &[Line]) -> Result<Box<dyn Board>, BoardError> {
        Err(BoardError::NotBuilt {
            board: "pi",
            remedy: "build it on or for Linux with `cargo build --release --features rppal`, or use `board = \"chip\"`",
        })
    }
}
