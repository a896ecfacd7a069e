//! The desk as a sink. Owns which cue an event rings; refuses to wait for it: a ring that the player took is delivered.

use super::{Outcome, Parcel, Sink};
use crate::bell::{Bell, Taken};

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
        let chosen = parcel.cue.as_deref().filter(|cue| self.bell.has(cue));
        let cue = chosen.unwrap_or(&parcel.event.kind);
        match self.bell.ring_for(cue, parcel.event.severity, Some(parcel.dispatch)) {
            Taken::Queued => Outcome::Done { receipt: Some(format!("played {cue}")) },
            Taken::Merged => Outcome::Done { receipt: Some("merged".to_owned()) },
            Taken::Skipped(note) => Outcome::Skipped { note },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{
        bell::{BoardKind, Settings, cue, player},
        event::{Event, Severity},
    };

    fn parcel(kind: &str, cue: Option<&str>) -> Parcel {
        Parcel { cue: cue.map(str::to_owned), ..Parcel::of(Event { severity: Severity::Success, ..Event::of(kind) }) }
    }

    #[test]
    fn a_parcel_rings_its_cue_or_its_kind() {
        let (bell, player) = player::new(Settings {
            board: BoardKind::Simulated,
            leds: BTreeMap::new(),
            buzzer: None,
            trace: None,
            cues: cue::default_cues(),
        });
        let mut sink = BellSink::new(bell.clone());
        let done = |receipt: &str| Outcome::Done { receipt: Some(receipt.to_owned()) };
        assert_eq!(sink.deliver(&parcel("pr_merged", None)), done("played pr_merged"));
        assert_eq!(sink.deliver(&parcel("pr_merged", None)), done("merged"));
        assert_eq!(sink.deliver(&parcel("pr_merged", Some("ci_failed"))), done("played ci_failed"));
        assert_eq!(bell.state().queued, 2);
        drop(player);
        assert!(matches!(sink.deliver(&parcel("pr_merged", None)), Outcome::Skipped { .. }));
    }
}
