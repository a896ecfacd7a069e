//! The pins. Owns the contract of a board, the choice of one, and what can be wrong with it; refuses to know what is
//! played. Only here are the GPIO crates named.
//!
//! To add a board: a file with `open` returning a [`Board`] (and a twin where it cannot be built), a
//! [`BoardKind`], a line in [`open`].

use std::{fmt, io, path::PathBuf, sync::Once};

use super::{BoardKind, Settings};

mod chip;
mod pi;
// Until a passive buzzer can be configured.
#[cfg_attr(not(test), expect(dead_code))]
mod pwm;
mod simulated;

/// Lines that can be lit and darkened. A board opens dark, and dropping it leaves every line dark as far as the
/// hardware still obeys.
pub trait Board: Send {
    /// Makes a line lit or dark. `line` is its place in [`Settings::lines`].
    ///
    /// # Errors
    /// When the hardware refuses; the board is then of no further use.
    fn set(&mut self, line: usize, lit: bool) -> Result<(), BoardError>;

    /// Makes every line dark, whatever it was.
    ///
    /// # Errors
    /// As [`Board::set`].
    fn dark(&mut self) -> Result<(), BoardError>;

    /// What drives the lines, for people: `simulated`, `chip pinctrl-bcm2711`.
    fn describe(&self) -> String;
}

/// Opens the board that the settings name, every line dark.
///
/// `auto` takes the chip of a Raspberry Pi, or simulates where there is none or nothing is wired; it says so once.
///
/// # Errors
/// When there is no such board, it is not ours to use, or a pin is taken.
pub fn open(settings: &Settings) -> Result<Box<dyn Board>, BoardError> {
    let lines = settings.lines();
    let simulated = |lines| simulated::open(lines, settings.trace.as_deref());
    match settings.board {
        BoardKind::Simulated => simulated(lines),
        BoardKind::Chip => chip::open(&lines),
        BoardKind::Pi => pi::open(&lines),
        BoardKind::Auto if settings.wires_nothing() => simulated(lines),
        BoardKind::Auto => match chip::open(&lines) {
            Err(BoardError::NoChip) => {
                static TOLD: Once = Once::new();
                TOLD.call_once(|| log::info!("bell: no Raspberry Pi GPIO chip here, so the pins are simulated"));
                simulated(lines)
            }
            chip => chip,
        },
    }
}

/// What is wrong with a board.
#[derive(Debug)]
pub enum BoardError {
    /// No GPIO chip of a Raspberry Pi.
    NoChip,
    /// A device that this user may not open.
    Forbidden {
        /// The device, or whatever the driver says about it.
        device: String,
    },
    /// A pin that somebody else holds.
    Busy {
        /// The line's name.
        line: String,
        /// Its pin.
        bcm: u32,
        /// Who holds it, where the kernel knows.
        owner: String,
    },
    /// A pin that the chip does not have.
    NoSuchPin {
        /// The line's name.
        line: String,
        /// Its pin.
        bcm: u32,
    },
    /// The driver refused.
    Refused {
        /// What was attempted.
        attempt: String,
        /// What it said.
        cause: String,
    },
    /// The trace file of the simulated board.
    Trace {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        cause: io::Error,
    },
    /// A board that is not in this build.
    NotBuilt {
        /// The board's name.
        board: &'static str,
        /// What to do.
        remedy: &'static str,
    },
}

impl fmt::Display for BoardError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BoardError::NoChip => write!(
                f,
                "no GPIO chip of a Raspberry Pi ({}) found; `gpiodetect` lists what there is, and \
                 `board = \"simulated\"` needs none",
                chip::LABELS.join(", ")
            ),
            BoardError::Forbidden { device } => write!(
                f,
                "may not open {device}; add this user to the group gpio (`sudo usermod -aG gpio USER`) and start again"
            ),
            BoardError::Busy { line, bcm, owner } => write!(
                f,
                "pin {bcm} of {line} is held by {owner}; stop that program or overlay, or choose another pin \
                 (`gpioinfo` shows who holds which)"
            ),
            BoardError::NoSuchPin { line, bcm } => {
                write!(f, "there is no pin {bcm} for {line}; pins are BCM numbers, 0 to 27 on the header (`pinout`)")
            }
            BoardError::Refused { attempt, cause } => write!(f, "cannot {attempt}: {cause}"),
            BoardError::Trace { path, cause } => write!(
                f,
                "cannot write the bell's trace {}: {cause}; its directory must exist and be writable",
                path.display()
            ),
            BoardError::NotBuilt { board, remedy } => write!(f, "the {board} board is not in this build; {remedy}"),
        }
    }
}

impl std::error::Error for BoardError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            BoardError::Trace { cause, .. } => Some(cause),
            _ => None,
        }
    }
}
