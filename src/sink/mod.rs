//! Where events go. Owns the contract between the senders and the sinks; refuses to know the store.

mod answers;
mod digest;
mod plain;
#[cfg(test)]
mod server;
mod told;
mod words;

pub mod discord;
pub mod email;
pub mod exec;
pub mod forward;
pub mod ntfy;
pub mod slack;

use std::time::{Duration, Instant};

use crate::{event::Event, time::Timestamp};

pub mod bell;

/// One event that is owed to one sink.
#[derive(Clone, Debug)]
pub struct Parcel {
    /// Names it in the ledger.
    pub dispatch: i64,
    /// The stored delivery it came from.
    pub delivery: i64,
    /// When that delivery was stored.
    pub received: Timestamp,
    /// When it was sent, where it was not received then but pulled in later.
    pub sent: Option<Timestamp>,
    /// The event.
    pub event: Event,
    /// The cue that a rule chose, where it chose one.
    pub cue: Option<String>,
    /// The sink's channel that a rule chose, where it is not the sink's own.
    pub channel: Option<String>,
    /// What it is filed under. Parcels of one subject come in the order of their events, and never two at once.
    pub subject: Option<String>,
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

impl Outcome {
    /// In a word.
    pub const fn name(&self) -> &'static str {
        match self {
            Outcome::Done { .. } => "done",
            Outcome::Skipped { .. } => "skipped",
            Outcome::Retry { .. } => "retry",
            Outcome::Dead { .. } => "dead",
        }
    }
}

/// What a failure says about the destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing is wrong with it: it asks to wait, or what went wrong is not its fault.
    Busy,
    /// It may be well again the next time.
    Transient,
    /// Somebody has to repair something first.
    Configuration,
}

#[cfg(test)]
impl Parcel {
    /// A parcel of delivery 1 for tests.
    pub(crate) fn of(event: Event) -> Parcel {
        Parcel {
            dispatch: 1,
            delivery: 1,
            received: Timestamp::from_ms(0),
            sent: None,
            subject: event.subject.clone(),
            event,
            cue: None,
            channel: None,
            reference: "ref-1".to_owned(),
            tried: 0,
        }
    }
}

/// What a destination says when nothing is sent to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// As of a parcel that was sent: [`Outcome::Skipped`] is an answer that does not tell.
    pub outcome: Outcome,
    /// What the destination's clock showed.
    pub date: Option<Timestamp>,
}

impl Probe {
    fn done(said: String, date: Option<Timestamp>) -> Probe {
        Probe { outcome: Outcome::Done { receipt: Some(said) }, date }
    }
}

impl From<Outcome> for Probe {
    fn from(outcome: Outcome) -> Probe {
        Probe { outcome, date: None }
    }
}

/// A conversation that a sink has begun about a subject, so that what follows joins it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conversation {
    /// The source that tells of it: two may call different things the same.
    pub source: String,
    /// What it is about: [`Parcel::subject`].
    pub subject: String,
    /// Where a rule wanted it: [`Parcel::channel`]; empty for the sink's own.
    pub asked: String,
    /// Where it is, by the destination's own id.
    pub channel: String,
    /// Its first message, by the destination's own id (Slack's `ts`).
    pub ts: String,
    /// The references of what joined it last, in a form of the sink's own, so that a second try does not say them again.
    pub last: String,
    /// What the sink wants to remember about it, in a form of its own.
    pub state: String,
    /// When something joined it last.
    pub touched: Timestamp,
}

/// Remembers conversations. Implemented by the store; what is kept is on the disk.
pub trait Conversations: Send {
    /// The present conversation about a subject.
    ///
    /// # Errors
    /// What went wrong, for the ledger.
    fn find(&self, source: &str, subject: &str, asked: &str) -> Result<Option<Conversation>, String>;

    /// Keeps it in place of the one that was known about this subject.
    ///
    /// # Errors
    /// What went wrong, for the ledger.
    fn keep(&self, conversation: &Conversation) -> Result<(), String>;
}

/// Gives requests back as they came. Implemented by the store.
pub trait Originals: Send {
    /// The body of one delivery, byte for byte; `None` when it is no longer stored.
    ///
    /// # Errors
    /// What went wrong, for the ledger.
    fn body(&self, delivery: i64) -> Result<Option<Vec<u8>>, String>;
}

/// Many parcels in one message: a digest that a rule asked for, or what an outage has left behind.
#[derive(Clone, Copy, Debug)]
pub struct Bundle<'a> {
    /// All of one channel, oldest first; never empty. With conversations, all of one subject.
    pub parcels: &'a [Parcel],
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

    /// Tries once to tell all of them in one message; the outcome is that of each. Only asked of those kinds of sinks that
    /// can ([`SinkKind::bundles`](crate::config::SinkKind::bundles)).
    fn deliver_bundle(&mut self, bundle: Bundle<'_>) -> Outcome {
        let reason = format!("this sink cannot tell {} events in one message", bundle.parcels.len());
        Outcome::Dead { reason }
    }
}
