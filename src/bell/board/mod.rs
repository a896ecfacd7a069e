//! The pins. Owns the contract of a board, the choice of one, and what can be wrong with it; refuses to know what is
//! played. Only here are the GPIO crates named.
//!
//! To add a board: a file with `open` returning a [`Board`] (and a twin where it cannot be built), a [`BoardKind`], a line
//! in [`open`]. `input` is the button, beside all boards.

use std::{fmt, io, path::PathBuf, sync::Once, time::Duration};

use super::{BoardKind, Level, Settings, Wires};

mod chip;
mod pi;
mod pulses;
mod pwm;
mod simulated;

pub(super) mod input;

/// Lines that can be lit and darkened. Dropping it leaves every line that it has taken dark, as far as the hardware still
/// obeys.
pub trait Board: Send {
    /// Takes a line, dark; again, when it was lost. `line` is its place in [`Wires::lines`].
    ///
    /// # Errors
    /// When somebody else holds it, or it is not to be had; no other line is worse off.
    fn take(&mut self, line: usize) -> Result<(), BoardError>;

    /// Makes a line that is taken what `level` says. `late` is how long after its due time this comes, for boards that
    /// keep a record.
    ///
    /// # Errors
    /// When the hardware refuses; the line has to be taken again.
    fn set(&mut self, line: usize, level: Level, late: Duration) -> Result<(), BoardError>;

    /// What drives the lines, for people: `simulated`, `chip pinctrl-bcm2711`.
    fn describe(&self) -> String;
}

/// Opens the board that the settings name; no line is taken yet.
///
/// `auto` takes the chip of a Raspberry Pi, or simulates where there is none or nothing is wired; it says so once.
///
/// # Errors
/// When there is no such board, or it is not ours to use.
pub fn open(settings: &Settings, wires: &Wires) -> Result<Box<dyn Board>, BoardError> {
    let simulated = || simulated::open(wires, settings.trace.as_deref());
    match settings.board {
        BoardKind::Simulated => simulated(),
        BoardKind::Chip => chip::open(settings, wires),
        BoardKind::Pi => pi::open(wires),
        BoardKind::Auto if settings.wires_nothing() => simulated(),
        BoardKind::Auto => match chip::open(settings, wires) {
            Err(BoardError::NoChip { .. }) => {
                static TOLD: Once = Once::new();
                TOLD.call_once(|| log::info!("bell: no Raspberry Pi GPIO chip here, so the pins are simulated"));
                simulated()
            }
            chip => chip,
        },
    }
}

/// Looks at what [`open`] would open and at the lines it would take, without taking or driving any: what would drive them,
/// and everything that is in the way.
pub fn look(settings: &Settings) -> (String, Vec<BoardError>) {
    let wires = Wires::new(settings);
    let simulated = || ("simulated".to_owned(), Vec::new());
    let looked = match settings.board {
        BoardKind::Simulated => return simulated(),
        BoardKind::Auto if settings.wires_nothing() => return simulated(),
        BoardKind::Auto | BoardKind::Chip => chip::look(settings, &wires),
        BoardKind::Pi => pi::open(&wires).map(|board| (board.describe(), Vec::new())),
    };
    match looked {
        Ok(found) => found,
        Err(BoardError::NoChip { .. }) if settings.board == BoardKind::Auto => simulated(),
        Err(error) => (settings.board.name().to_owned(), vec![error]),
    }
}

/// Whether the board that [`open`] takes has real inputs.
pub(super) fn has_inputs(settings: &Settings) -> bool {
    match settings.board {
        BoardKind::Simulated => false,
        BoardKind::Chip | BoardKind::Pi => true,
        BoardKind::Auto => !matches!(chip::open(settings, &Wires::new(settings)), Err(BoardError::NoChip { .. })),
    }
}

/// What is wrong with a board.
#[derive(Debug)]
pub enum BoardError {
    /// No GPIO chip of a Raspberry Pi, or none of that label.
    NoChip {
        /// The label that was asked for.
        label: Option<String>,
    },
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
    /// A line of the PWM hardware.
    Pwm {
        /// The line's name.
        line: String,
        /// Its pin.
        bcm: u32,
        /// What is wrong, and the remedy.
        cause: String,
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
            BoardError::NoChip { label: Some(label) } => {
                write!(f, "no GPIO chip is called {label:?}; `gpiodetect` lists what there is")
            }
            BoardError::NoChip { label: None } => write!(
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
            BoardError::Pwm { line, bcm, cause } => write!(f, "cannot drive {line} (pin {bcm}) by PWM: {cause}"),
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
