//! The router's loop: claim what came in, find out what it means and who wants it, write that down. Owns the order of
//! these steps; what things mean is `provider`'s and who wants them is `rule`'s.

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use crate::{
    logfmt,
    provider::{self, Normalised},
    rule::{self, Rule},
    store::{Decision, Routable, Routed, Store},
    threads::{Stop, Wake},
};

/// Deliveries in one claim.
const BATCH: usize = 64;
/// A lost wake-up costs at most this.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// After a database error.
const RECOVER: Duration = Duration::from_secs(1);

/// Routes deliveries. [`Router::run`] is the thread.
pub struct Router {
    /// The database.
    pub store: Store,
    /// Today's rules.
    pub rules: Vec<Rule>,
    /// Woken by the door.
    pub wake: Wake,
    /// To wake the senders, by sink name.
    pub senders: BTreeMap<String, Wake>,
    /// Told when to end.
    pub stop: Stop,
}

impl Router {
    /// Works until told to stop.
    pub fn run(self) {
        while !self.stop.is_told() {
            match self.store.claim_routable(BATCH) {
                Ok(claimed) if claimed.is_empty() => {
                    self.wake.wait(LOOK_AGAIN);
                }
                Ok(claimed) => self.route(claimed),
                // The store has logged the cause.
                Err(_) => {
                    self.wake.wait(RECOVER);
                }
            }
        }
    }

    fn route(&self, claimed: Vec<Routable>) {
        let mut decided: Vec<(Routable, Decision)> = claimed
            .into_iter()
            .map(|routable| {
                let decision = self.decide(&routable);
                (routable, decision)
            })
            .collect();
        // The claims are ours until they are settled; losing them would strand the deliveries until the next start.
        while let Err((_, held)) = self.store.route(decided) {
            if self.stop.is_told() {
                return;
            }
            decided = held;
            self.wake.wait(RECOVER);
        }
        for wake in self.senders.values() {
            wake.wake();
        }
    }

    fn decide(&self, routable: &Routable) -> Decision {
        let decision =
            catch_unwind(AssertUnwindSafe(|| self.understand(routable))).unwrap_or_else(|panic| Decision::Dead {
                reason: format!(
                    "hookbell failed on it (a bug, please report it): {}",
                    super::sender::panic_text(&*panic)
                ),
            });
        let (id, source, event) = (routable.id, &routable.source, logfmt::value(&routable.event_type));
        match &decision {
            Decision::Routed(events) => {
                for routed in events {
                    let kind = &routed.event.kind;
                    match routed.sinks.is_empty() {
                        true => log::info!("skipped id={id} kind={kind} why=\"no rule wants it\""),
                        false => log::info!("routed id={id} kind={kind} to={}", routed.sinks.join(",")),
                    }
                }
            }
            Decision::Skipped { note, .. } => {
                log::info!("skipped id={id} source={source} event={event} why={}", logfmt::value(note));
            }
            Decision::Dead { reason } => {
                log::warn!("gave up id={id} source={source} event={event} why={}", logfmt::value(reason));
            }
        }
        decision
    }

    fn understand(&self, routable: &Routable) -> Decision {
        let Some(provider) = routable.provider else {
            return Decision::Dead { reason: "its provider is not known to this version".to_owned() };
        };
        let (headers, body) = match routable.content() {
            Ok(content) => content,
            Err(error) => return Decision::Dead { reason: error.to_string() },
        };
        let events = match provider::normalise(provider, &routable.source, &routable.event_type, &headers, &body) {
            Normalised::Events(events) => events,
            Normalised::Skipped(note) => return Decision::Skipped { events: Vec::new(), note },
            Normalised::Undecodable(reason) => return Decision::Dead { reason },
        };
        let routed: Vec<Routed> = events
            .into_iter()
            .map(|event| {
                let rule::Route { sinks, cue, matched } = rule::route(&self.rules, &event);
                Routed { event, sinks, cue, rules: matched }
            })
            .collect();
        if routed.iter().any(|routed| !routed.sinks.is_empty()) {
            return Decision::Routed(routed);
        }
        let kinds: Vec<&str> = routed.iter().map(|routed| routed.event.kind.as_str()).collect();
        let note = format!("no rule wants {}", kinds.join(", "));
        Decision::Skipped { events: routed, note }
    }
}
