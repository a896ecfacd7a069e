//! The desk: LEDs and a buzzer. Owns cues, tunes, the player thread's work and the boards; refuses to know the store.
//!
//! A ring goes down this list: a name becomes a [`Cue`], the cue's tune becomes notes, both become a score of timed
//! edges, the player plays the score, and a board turns each edge into a level on a pin.

use std::{collections::BTreeMap, fmt, path::PathBuf};

// Pure.
pub mod cue;
pub mod header;
pub mod tune;

mod score;

// The thread, and what it drives.
pub mod player;

pub mod board;

pub use cue::{Blink, Cue};
pub use player::{Bell, Edge, Player, State, Taken};

/// `[bell]` and `[cues.*]`, checked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Which board drives the pins.
    pub board: BoardKind,
    /// LEDs by name.
    pub leds: BTreeMap<String, Pin>,
    /// The buzzer, where one is wired.
    pub buzzer: Option<Pin>,
    /// Simulated board: every edge is appended here as a JSON line.
    pub trace: Option<PathBuf>,
    /// What is played, by name: the defaults with the configuration's own laid over them.
    pub cues: BTreeMap<String, Cue>,
}

/// `board`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BoardKind {
    /// The chip where there is one, else simulated, and says so.
    Auto,
    /// The kernel's character device.
    Chip,
    /// Memory-mapped registers (feature `rppal`).
    Pi,
    /// No pins: edges go to the trace and to whoever watches.
    Simulated,
}

impl BoardKind {
    /// The name in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            BoardKind::Auto => "auto",
            BoardKind::Chip => "chip",
            BoardKind::Pi => "pi",
            BoardKind::Simulated => "simulated",
        }
    }
}

/// A GPIO line by its BCM number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pin {
    /// BCM number, not the number on the header.
    pub bcm: u32,
    /// Whether a low level lights it, as on most relay boards.
    pub active_low: bool,
}

/// What the buzzer's line is called in traces and states, and therefore no LED's name.
pub const BUZZER: &str = "buzzer";

/// LEDs of the default cues, and of a simulated desk on which nothing else is wired.
pub const DEFAULT_LEDS: [&str; 3] = ["red", "green", "blue"];

/// One wire of the desk. Boards and the player call it by its place in [`Settings::lines`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The LED's name, or [`BUZZER`].
    pub name: String,
    /// Where it is wired.
    pub pin: Pin,
    /// What hangs on it.
    pub part: Part,
}

/// How errors name it: `green (pin 17)`.
impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (pin {})", self.name, self.pin.bcm)
    }
}

/// What hangs on a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Something that lights.
    Led,
    /// Something that sounds.
    Buzzer,
}

impl Settings {
    /// The wires in the order of their numbers: LEDs by name, then the buzzer.
    ///
    /// Where pins are simulated and none is named, the desk is complete: a demonstration or a test needs no wiring, and
    /// no pin is driven by it. See [`board::open`] for when `auto` simulates.
    pub fn lines(&self) -> Vec<Line> {
        let led = |name: &str, pin| Line { name: name.to_owned(), pin, part: Part::Led };
        let buzzer = |pin| Line { name: BUZZER.to_owned(), pin, part: Part::Buzzer };
        if self.wires_nothing() && matches!(self.board, BoardKind::Auto | BoardKind::Simulated) {
            let nowhere = Pin { bcm: 0, active_low: false };
            return DEFAULT_LEDS.iter().map(|name| led(name, nowhere)).chain([buzzer(nowhere)]).collect();
        }
        self.leds.iter().map(|(name, pin)| led(name, *pin)).chain(self.buzzer.map(buzzer)).collect()
    }

    fn wires_nothing(&self) -> bool {
        self.leds.is_empty() && self.buzzer.is_none()
    }
}
