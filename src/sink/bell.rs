//! The desk as a sink. Owns which cue an event rings; refuses to wait for it: a ring that the player took is delivered.

use super::{Outcome, Parcel, Sink};
use crate::bell::{Bell, Ring, Taken, latch};

/// Rings the bell for each parcel.
#[derive(Clone)]
pub struct BellSink {
    bell: Bell,
}

impl BellSink {
    /// Over that bell.
    pub fn new(bell: Bell) -> BellSink {
        BellSink { bell }
    }
}

impl Sink for BellSink {
    /// The cue that a rule chose, where there is one of that name, else the one named like the event's kind. Never `Retry`: light and sound minutes
    /// late say something untrue.
    fn deliver(&mut self, parcel: &Parcel) -> Outcome {
        let cue = latch::rung(&self.bell.settings().cues, &parcel.event, parcel.cue.as_deref());
        let ring = Ring {
            name: cue,
            severity: parcel.event.severity,
            received: Some(parcel.sent.unwrap_or(parcel.received)),
            mark: Some(parcel.dispatch),
            by_hand: false,
        };
        match self.bell.ring(ring) {
            Taken::Queued => Outcome::Done { receipt: Some(format!("played {cue}")) },
            Taken::Merged => Outcome::Done { receipt: Some("merged".to_owned()) },
            Taken::Skipped(note) => Outcome::Skipped { note },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        bell::{Parts, Settings, player},
        event::{Event, Severity},
        time::{ManualClock, Timestamp},
    };

    fn parcel(kind: &str, cue: Option<&str>) -> Parcel {
        Parcel { cue: cue.map(str::to_owned), ..Parcel::of(Event { severity: Severity::Success, ..Event::of(kind) }) }
    }

    #[test]
    fn a_parcel_rings_its_cue_or_its_kind() {
        let clock = Arc::new(ManualClock::new(Timestamp::from_ms(0)));
        let parts = Parts { clock, newest: Timestamp::from_ms(0), keeper: None };
        let (bell, player) = player::new(Settings::default(), parts);
        let mut sink = BellSink::new(bell.clone());
        let done = |receipt: &str| Outcome::Done { receipt: Some(receipt.to_owned()) };
        assert_eq!(sink.deliver(&parcel("pr_merged", None)), done("played pr_merged"));
        assert_eq!(sink.deliver(&parcel("pr_merged", None)), done("merged"));
        assert_eq!(sink.deliver(&parcel("pr_merged", Some("ci_failed"))), done("played ci_failed"));
        assert_eq!(bell.state().playing.as_deref(), Some("ci_failed"));
        drop(player);
        assert!(matches!(sink.deliver(&parcel("pr_merged", None)), Outcome::Skipped { .. }));
    }
}
