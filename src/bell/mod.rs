//! The desk: LEDs, a buzzer, a button. Owns cues, tunes, arbitration, latches, the player thread's work and the boards;
//! refuses to know the store.
//!
//! A ring goes down this list: a name becomes a [`Cue`], the cue's tune becomes notes, both become a score of waves, the
//! desk lays the scores and what stays lit over each other, the player turns what changes into edges at their time, and a
//! board turns each edge into a level on a pin.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use crate::{
    schedule::Schedule,
    time::{Timestamp, Zone},
};

// Pure.
pub mod button;
pub mod cue;
pub mod header;
pub mod latch;
pub mod tune;

mod desk;
mod score;
mod wave;
mod wires;

// The threads, and what they drive.
mod handle;
pub mod player;
mod presses;

pub mod board;

pub use button::Gesture;
pub use cue::{Blink, Colour, Cue, Pattern};
pub use desk::{LATCHES_MAX, Taken, Vitals};
pub use handle::{Bell, MUTE_FOR, Parts, Ring, State};
pub use latch::{Changed, Latch, Latches};
pub use player::{Edge, Player};
pub use presses::Presses;
pub use wave::Level;
pub use wires::{
    BUTTON, BUZZER, Button, Buzzer, BuzzerKind, DEFAULT_LEDS, Lamp, Led, Line, Part, Pin, Pull, STATUS, Wires,
};

/// `[bell]` and `[cues.*]`, checked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Which board drives the pins.
    pub board: BoardKind,
    /// The label of the GPIO chip, where it is not that of a Raspberry Pi's header.
    pub chip: Option<String>,
    /// LEDs by name.
    pub leds: BTreeMap<String, Led>,
    /// The buzzer, where one is wired.
    pub buzzer: Option<Buzzer>,
    /// The button, where one is wired.
    pub button: Option<Button>,
    /// The LED that shows how hookbell itself is, where one is wired.
    pub status: Option<Pin>,
    /// When the buzzer stays silent.
    pub quiet: Schedule,
    /// Where the clock on the wall stands that `quiet` goes by.
    pub zone: Zone,
    /// What was received longer ago lights and does not sound.
    pub stale_after: Duration,
    /// After so long a latch ends by itself.
    pub latch_max: Duration,
    /// Simulated board: every edge is appended here as a JSON line.
    pub trace: Option<PathBuf>,
    /// What is played, by name: the defaults with the configuration's own laid over them.
    pub cues: BTreeMap<String, Cue>,
}

/// What was received longer ago lights and does not sound, where nothing else is said.
pub const STALE_AFTER: Duration = Duration::from_secs(2 * 60);

impl Default for Settings {
    /// A simulated desk on which nothing is wired, with the default cues.
    fn default() -> Settings {
        Settings {
            board: BoardKind::Simulated,
            chip: None,
            leds: BTreeMap::new(),
            buzzer: None,
            button: None,
            status: None,
            quiet: Schedule::default(),
            zone: Zone::system(),
            stale_after: STALE_AFTER,
            latch_max: cue::LATCH_MAX,
            trace: None,
            cues: cue::default_cues(),
        }
    }
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

/// Remembers what of the desk must survive a restart. Implemented by the store. Neither waits for the disk: a light that
/// went out does not wait for one either, and what was lost with the power is acknowledged once more.
pub trait Keeper: Send + Sync {
    /// Forgets these latches.
    fn forget(&self, latches: &[i64]);

    /// Keeps that the desk is muted; `None`: not any more.
    fn keep_mute(&self, mute: Option<Mute>);
}

/// The buzzer is silent for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mute {
    /// Until then.
    pub until: Timestamp,
    /// For so long at most, whatever the clock says.
    pub asked: Duration,
}
