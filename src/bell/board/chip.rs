//! The kernel's character device: the board that a Raspberry Pi uses. The kernel arbitrates who owns a pin, and takes
//! it back when the process dies; whether the level then stays is up to the kernel. So the service runs
//! `hookbell bell off` after every end.

#[cfg(target_os = "linux")]
pub(super) use device::{CONSUMER, find, refused};
pub(super) use device::{look, open};

/// What the kernel calls the header's chip: Pi 5, Pi 4, and all before. Its number (`/dev/gpiochipN`) has changed
/// between kernels of one model more than once, so it is never looked at.
pub(super) const LABELS: [&str; 3] = ["pinctrl-rp1", "pinctrl-bcm2711", "pinctrl-bcm2835"];

#[cfg(target_os = "linux")]
mod device {
    use std::{
        fs, io,
        path::{Path, PathBuf},
    };

    use gpiocdev::{Chip, Error, Request, line::Value};

    use super::LABELS;
    use crate::bell::{
        BUTTON, Level, Line, Settings, Wires,
        board::{
            Board, BoardError,
            pulses::{self, Pulses},
            pwm::Patience,
        },
    };

    /// Shown by `gpioinfo` beside our pins.
    pub(in crate::bell::board) const CONSUMER: &str = "hookbell";

    /// The header's chip.
    pub(in crate::bell::board) struct Header {
        pub(in crate::bell::board) chip: Chip,
        pub(in crate::bell::board) label: String,
        pub(in crate::bell::board) pins: u32,
    }

    pub(in crate::bell::board) fn open(settings: &Settings, wires: &Wires) -> Result<Box<dyn Board>, BoardError> {
        let header = find(settings.chip.as_deref())?;
        let taken = wires.lines.iter().map(|_| None).collect();
        let tried = vec![false; wires.lines.len()];
        Ok(Box::new(Device { header, lines: wires.lines.clone(), taken, tried }))
    }

    /// What would be in the way of taking these lines and the button's. Nothing is taken.
    pub(in crate::bell::board) fn look(
        settings: &Settings,
        wires: &Wires,
    ) -> Result<(String, Vec<BoardError>), BoardError> {
        let header = find(settings.chip.as_deref())?;
        let button = settings.button.map(|button| (BUTTON, button.bcm, false));
        let lines = wires.lines.iter().map(|line| (line.name.as_str(), line.pin.bcm, line.pin.pwm)).chain(button);
        let in_the_way = |(line, bcm, by_pwm): (&str, u32, bool)| match by_pwm {
            true => pulses::look(line, bcm).err(),
            false if bcm >= header.pins => Some(BoardError::NoSuchPin { line: line.to_owned(), bcm }),
            false => match header.chip.line_info(bcm) {
                Ok(info) => info.used.then(|| held(line, bcm, &info.consumer)),
                Err(error) => Some(refused(&header, line, bcm, &error)),
            },
        };
        Ok((format!("chip {}", header.label), lines.filter_map(in_the_way).collect()))
    }

    /// The chip of that label; without one, that of a Raspberry Pi's header.
    pub(in crate::bell::board) fn find(label: Option<&str>) -> Result<Header, BoardError> {
        let is_it = |found: &str| label.map_or(LABELS.contains(&found), |label| label == found);
        let mut forbidden = None;
        for path in paths()? {
            match Chip::from_path(&path).and_then(|chip| chip.info().map(|info| (chip, info))) {
                Ok((chip, info)) if is_it(&info.label) || (label.is_none() && is_header(&path)) => {
                    return Ok(Header { chip, label: info.label, pins: info.num_lines });
                }
                Ok(_) => {}
                Err(error) if is_forbidden(&error) => forbidden = Some(path),
                Err(error) => log::debug!("bell: {}: {error}", path.display()),
            }
        }
        match forbidden {
            // Elsewhere (a laptop) a chip that only root may open is none of ours.
            Some(path) if label.is_some() || is_raspberry_pi() => {
                Err(BoardError::Forbidden { device: path.display().to_string() })
            }
            _ => Err(BoardError::NoChip { label: label.map(str::to_owned) }),
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

    /// By the device tree, for a kernel that calls the chip something else.
    fn is_header(path: &Path) -> bool {
        const COMPATIBLE: [&[u8]; 3] = [b"raspberrypi,rp1-gpio", b"brcm,bcm2711-gpio", b"brcm,bcm2835-gpio"];
        let Some(name) = path.file_name() else { return false };
        let node = Path::new("/sys/bus/gpio/devices").join(name).join("of_node/compatible");
        let Ok(compatible) = fs::read(node) else { return false };
        compatible.split(|byte| *byte == 0).any(|name| COMPATIBLE.contains(&name))
    }

    /// Readable by everyone, unlike the chip's label.
    fn is_raspberry_pi() -> bool {
        fs::read("/proc/device-tree/model").is_ok_and(|model| model.starts_with(b"Raspberry Pi"))
    }

    /// The kernel only says "busy". The line itself says by whom.
    pub(in crate::bell::board) fn refused(header: &Header, line: &str, bcm: u32, error: &Error) -> BoardError {
        if let Ok(info) = header.chip.line_info(bcm)
            && info.used
        {
            return held(line, bcm, &info.consumer);
        }
        BoardError::Refused {
            attempt: format!("take {line} (pin {bcm}) on {}", header.chip.path().display()),
            cause: error.to_string(),
        }
    }

    fn held(line: &str, bcm: u32, consumer: &str) -> BoardError {
        let owner = if consumer.is_empty() { "somebody else".to_owned() } else { format!("`{consumer}`") };
        BoardError::Busy { line: line.to_owned(), bcm, owner }
    }

    struct Device {
        header: Header,
        lines: Vec<Line>,
        /// What is ours. Each line by itself: one that somebody else holds takes no other with it.
        taken: Vec<Option<Output>>,
        /// The lines that were tried before.
        tried: Vec<bool>,
    }

    enum Output {
        Request(Request),
        Pulses(Pulses),
    }

    impl Board for Device {
        fn take(&mut self, line: usize) -> Result<(), BoardError> {
            // What was ours and failed goes first, or it would be in its own way.
            self.taken[line] = None;
            let wire = &self.lines[line];
            let patience = Patience::of(std::mem::replace(&mut self.tried[line], true));
            let output = match wire.pin.pwm {
                true => Output::Pulses(pulses::take(wire, patience)?),
                false => Output::Request(request(&self.header, wire)?),
            };
            self.taken[line] = Some(output);
            Ok(())
        }

        fn set(&mut self, line: usize, level: Level, _late: std::time::Duration) -> Result<(), BoardError> {
            let wire = &self.lines[line];
            let set = match &mut self.taken[line] {
                Some(Output::Pulses(pulses)) => pulses.set(level).map_err(|error| error.to_string()),
                // Logical values: the kernel turns them round for a line that is active low.
                Some(Output::Request(request)) => request
                    .set_value(wire.pin.bcm, Value::from(level.is_lit()))
                    .map(drop)
                    .map_err(|error| error.to_string()),
                None => Err("it is not ours".to_owned()),
            };
            set.map_err(|cause| {
                // Letting go of it darkens what still obeys.
                self.taken[line] = None;
                BoardError::Refused { attempt: format!("switch {wire}"), cause }
            })
        }

        fn describe(&self) -> String {
            format!("chip {}", self.header.label)
        }
    }

    fn request(header: &Header, line: &Line) -> Result<Request, BoardError> {
        let bcm = line.pin.bcm;
        if bcm >= header.pins {
            return Err(BoardError::NoSuchPin { line: line.name.clone(), bcm });
        }
        let mut builder = Request::builder();
        builder.on_chip(header.chip.path()).with_consumer(CONSUMER).with_line(bcm).as_output(Value::Inactive);
        if line.pin.active_low {
            builder.as_active_low();
        }
        builder.request().map_err(|error| refused(header, &line.name, bcm, &error))
    }

    impl Drop for Device {
        fn drop(&mut self) {
            // What a released line does depends on the model, so it is released dark. Nobody is left to tell.
            for line in 0..self.lines.len() {
                let _ = self.set(line, Level::Off, std::time::Duration::ZERO);
            }
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_machine_without_pins_says_what_to_do() {
            if let Err(error) = find(None) {
                let text = error.to_string();
                assert!(
                    match error {
                        BoardError::NoChip { .. } =>
                            text.contains("board = \"simulated\"") && text.contains("pinctrl-rp1"),
                        BoardError::Forbidden { .. } => text.contains("group gpio"),
                        _ => !text.is_empty(),
                    },
                    "{text}"
                );
            }
            let Err(error) = find(Some("no such chip")) else { panic!("there is one") };
            assert!(error.to_string().contains("no such chip"), "{error}");
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod device {
    use crate::bell::{
        Settings, Wires,
        board::{Board, BoardError},
    };

    /// Other systems have no such device, which is no different from a Linux without a Pi's chip.
    pub(in crate::bell::board) fn open(settings: &Settings, _wires: &Wires) -> Result<Box<dyn Board>, BoardError> {
        Err(BoardError::NoChip { label: settings.chip.clone() })
    }

    pub(in crate::bell::board) fn look(
        settings: &Settings,
        _wires: &Wires,
    ) -> Result<(String, Vec<BoardError>), BoardError> {
        Err(BoardError::NoChip { label: settings.chip.clone() })
    }
}
