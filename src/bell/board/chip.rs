//! The kernel's character device: the board that a Raspberry Pi uses. The kernel arbitrates who owns a pin, and takes
//! it back when the process dies; whether the level then stays is up to the kernel, and a Raspberry Pi's keeps it. So
//! the service runs `hookbell bell off` after every end.

pub(super) use device::open;

/// What the kernel calls the header's chip: Pi 5, Pi 4, and all before. Its number (`/dev/gpiochipN`) has changed
/// between kernels of one model more than once, so it is never looked at.
pub(super) const LABELS: [&str; 3] = ["pinctrl-rp1", "pinctrl-bcm2711", "pinctrl-bcm2835"];

#[cfg(target_os = "linux")]
mod device {
    use std::{fs, io, path::PathBuf};

    use gpiocdev::{Chip, Error, Request, line::Value};

    use super::LABELS;
    use crate::bell::{
        Line,
        board::{Board, BoardError},
    };

    /// Shown by `gpioinfo` beside our pins.
    const CONSUMER: &str = "hookbell";

    pub(in crate::bell::board) fn open(lines: &[Line]) -> Result<Box<dyn Board>, BoardError> {
        let (chip, label, pins) = find()?;
        if let Some(line) = lines.iter().find(|line| line.pin.bcm >= pins) {
            return Err(BoardError::NoSuchPin { line: line.name.clone(), bcm: line.pin.bcm });
        }
        let request = if lines.is_empty() { None } else { Some(request(&chip, lines)?) };
        Ok(Box::new(Device { label, lines: lines.to_vec(), request }))
    }

    /// The header's chip, its label and how many pins it has.
    fn find() -> Result<(Chip, String, u32), BoardError> {
        let mut forbidden = None;
        for path in paths()? {
            match Chip::from_path(&path).and_then(|chip| chip.info().map(|info| (chip, info))) {
                Ok((chip, info)) if LABELS.contains(&info.label.as_str()) => {
                    return Ok((chip, info.label, info.num_lines));
                }
                Ok(_) => {}
                Err(error) if is_forbidden(&error) => forbidden = Some(path),
                Err(error) => log::debug!("bell: {}: {error}", path.display()),
            }
        }
        match forbidden {
            // Elsewhere (a laptop) a chip that only root may open is none of ours.
            Some(path) if is_raspberry_pi() => Err(BoardError::Forbidden { device: path.display().to_string() }),
            _ => Err(BoardError::NoChip),
        }
    }

    fn paths() -> Result<Vec<PathBuf>, BoardError> {
        gpiocdev::chip::chips().map_err(|error| BoardError::Refused {
            attempt: "list the GPIO chips in /dev".to_owned(),
            cause: error.to_string(),
        })
    }

    fn is_forbidden(error: &Error) -> bool {
        let Error::Os(errno) = error else { return false };
        io::Error::from_raw_os_error(errno.0).kind() == io::ErrorKind::PermissionDenied
    }

    /// Readable by everyone, unlike the chip's label.
    fn is_raspberry_pi() -> bool {
        fs::read("/proc/device-tree/model").is_ok_and(|model| model.starts_with(b"Raspberry Pi"))
    }

    /// All lines in one request: either all are ours and dark, or none is touched.
    fn request(chip: &Chip, lines: &[Line]) -> Result<Request, BoardError> {
        let mut builder = Request::builder();
        builder.on_chip(chip.path()).with_consumer(CONSUMER);
        for line in lines {
            builder.with_line(line.pin.bcm).as_output(Value::Inactive);
            if line.pin.active_low {
                builder.as_active_low();
            }
        }
        builder.request().map_err(|error| explain(chip, lines, &error))
    }

    /// The kernel only says "busy". The lines themselves say which, and by whom.
    fn explain(chip: &Chip, lines: &[Line], error: &Error) -> BoardError {
        for line in lines {
            if let Ok(info) = chip.line_info(line.pin.bcm)
                && info.used
            {
                let owner =
                    if info.consumer.is_empty() { "somebody else".to_owned() } else { format!("`{}`", info.consumer) };
                return BoardError::Busy { line: line.name.clone(), bcm: line.pin.bcm, owner };
            }
        }
        let all: Vec<String> = lines.iter().map(Line::to_string).collect();
        BoardError::Refused {
            attempt: format!("take {} on {}", all.join(", "), chip.path().display()),
            cause: error.to_string(),
        }
    }

    struct Device {
        label: String,
        lines: Vec<Line>,
        /// `None` when nothing is wired: the kernel refuses an empty request.
        request: Option<Request>,
    }

    impl Board for Device {
        fn set(&mut self, line: usize, lit: bool) -> Result<(), BoardError> {
            let Some(request) = &self.request else { return Ok(()) };
            let line = &self.lines[line];
            // Logical values: the kernel turns them round for a line that is active low.
            request
                .set_value(line.pin.bcm, Value::from(lit))
                .map(drop)
                .map_err(|error| BoardError::Refused { attempt: format!("switch {line}"), cause: error.to_string() })
        }

        fn dark(&mut self) -> Result<(), BoardError> {
            (0..self.lines.len()).try_for_each(|line| self.set(line, false))
        }

        fn describe(&self) -> String {
            format!("chip {}", self.label)
        }
    }

    impl Drop for Device {
        fn drop(&mut self) {
            // What a released line does depends on the model, so it is released dark. Nobody is left to tell.
            let _ = self.dark();
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;
        use crate::bell::{Part, Pin};

        #[test]
        fn a_machine_without_pins_says_what_to_do() {
            let line = Line { name: "red".to_owned(), pin: Pin { bcm: 17, active_low: false }, part: Part::Led };
            if let Err(error) = open(&[line]) {
                let text = error.to_string();
                assert!(
                    match error {
                        BoardError::NoChip => text.contains("board = \"simulated\"") && text.contains("pinctrl-rp1"),
                        BoardError::Forbidden { .. } => text.contains("group gpio"),
                        _ => text.contains("17"),
                    },
                    "{text}"
                );
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod device {
    use crate::bell::{
        Line,
        board::{Board, BoardError},
    };

    /// Other systems have no such device, which is no different from a Linux without a Pi's chip.
    pub(in crate::bell::board) fn open(_lines: &[Line]) -> Result<Box<dyn Board>, BoardError> {
        Err(BoardError::NoChip)
    }
}
