//! Where events go. Owns the contract between the senders and the sinks; refuses to know the store.

pub mod slack;

use std::time::{Duration, Instant};

use crate::{event::Event, time::Timestamp};

pub mod bell;

/// One event that is owed to one sink.
#[derive(Clone, Debug)]
pub struct Parcel {
    /// The stored delivery it came from.
    pub delivery: i64,
    /// When that delivery was stored.
    pub received: Timestamp,
    /// The event.
    pub event: Event,
    /// The cue that a rule chose, where it chose one.
    pub cue: Option<String>,
    /// Deterministic name of this parcel (installation, delivery, event index, replay number), so that a receiver can
    /// recognise a repeat across our crashes.
    pub reference: String,
    /// How often it was tried before, this time not counted.
    pub tried: u32,
}

/// What became of a parcel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Delivered. The receipt is what the destination gave us to remember, such as Slack's `ts`.
    Done {
        /// What the destination answered, short.
        receipt: Option<String>,
    },
    /// Deliberately not delivered, with the reason (a full bell queue).
    Skipped {
        /// Why.
        note: String,
    },
    /// Not now; the reason is kept and it is tried again.
    Retry {
        /// What went wrong.
        reason: String,
        /// The destination's own wish (`Retry-After`); the whole sink pauses this long.
        pause: Option<Duration>,
        /// What it says about the next parcel.
        fault: Fault,
    },
    /// Never: trying again cannot help.
    Dead {
        /// What went wrong, and the remedy where known.
        reason: String,
    },
}

/// What a failure says about the destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is well, and asks to wait.
    Busy,
    /// It may be well again the next time.
    Transient,
    /// Somebody has to repair something first.
    Configuration,
}

/// A place that takes parcels. `deliver` returns within the sink's own time-out, and never panics on any event.
pub trait Sink: Send {
    /// Takes this parcel's turn, or says how long to wait for it: a destination is not asked for more than it takes.
    ///
    /// # Errors
    /// The wait.
    fn take_turn(&mut self, _: &Parcel, _: Instant) -> Result<(), Duration> {
        Ok(())
    }

    /// Tries once.
    fn deliver(&mut self, parcel: &Parcel) -> Outcome;
}
