//! The router's loop: claim what came in, find out what it means and who wants it, write that down. Owns the order of
//! these steps; what things mean is `provider`'s and who wants them is `rule`'s.

use std::{
    collections::{BTreeMap, BTreeSet},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use super::runs::Runs;
use crate::{
    bell::{Bell, Latches},
    event::Event,
    logfmt,
    provider::{self, Context, EVENTS_MAX, Normalised, Options},
    rule::{self, Rule, Target},
    store::{Decision, Routable, Routed, Store},
    threads::{self, Stop, Wake},
    time::{Clock, Zone},
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
    /// Where the clock on the wall stands that rules are muted by.
    pub zone: Zone,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// What stays lit on the desk, and for which events.
    pub latches: Latches,
    /// The desk, to be shown what changes about that.
    pub bell: Bell,
    /// How today's sources are to be read, by name.
    pub options: BTreeMap<String, Options>,
    /// Woken by the door.
    pub wake: Wake,
    /// To wake the senders, by sink name, one for each thread.
    pub senders: BTreeMap<String, Vec<Wake>>,
    /// Told when to end.
    pub stop: Stop,
}

impl Router {
    /// Works until told to stop.
    pub fn run(self) {
        let mut runs = Runs::new(self.store.clone());
        while !self.stop.is_told() {
            match self.store.claim_routable(BATCH) {
                Ok(claimed) if claimed.is_empty() => {
                    self.wake.wait(LOOK_AGAIN);
                }
                Ok(claimed) => self.route(claimed, &mut runs),
                // The store has logged the cause.
                Err(_) => {
                    self.wake.wait(RECOVER);
                }
            }
        }
    }

    fn route(&self, claimed: Vec<Routable>, runs: &mut Runs) {
        let mut decided: Vec<(Routable, Decision)> = claimed
            .into_iter()
            .map(|routable| {
                let decision = self.decide(&routable, runs);
                (routable, decision)
            })
            .collect();
        // The claims are ours until they are settled; losing them would strand the deliveries until the next start.
        let mut is_unsure = false;
        let changed = loop {
            match self.store.route(decided) {
                Ok(changed) => break changed,
                Err((_, held)) if !self.stop.is_told() => decided = held,
                Err(_) => return,
            }
            // It may have been written all the same, and then nothing is left to change.
            is_unsure = true;
            self.wake.wait(RECOVER);
        };
        match is_unsure {
            false => self.bell.show(changed),
            true => match self.store.reader().and_then(|reader| reader.latches()) {
                Ok(latches) => self.bell.show_all(latches),
                Err(error) => log::warn!("the desk may show what is over: {error}"),
            },
        }
        runs.written();
        // All of a sink's: some may be long at it.
        self.senders.values().flatten().for_each(Wake::wake);
    }

    fn decide(&self, routable: &Routable, runs: &mut Runs) -> Decision {
        let _busy = threads::busy(threads::BUSY_MAX);
        let decision =
            catch_unwind(AssertUnwindSafe(|| self.understand(routable, runs))).unwrap_or_else(|panic| Decision::Dead {
                reason: format!(
                    "hookbell failed on it (a bug, please report it): {}",
                    super::sender::panic_text(&*panic)
                ),
            });
        let (id, source, event) = (routable.id, &routable.source, logfmt::value(&routable.event_type));
        match &decision {
            Decision::Routed { events, note } => {
                if let Some(note) = note {
                    log::warn!("shortened id={id} source={source} event={event} why={}", logfmt::value(note));
                }
                for routed in events {
                    let kind = &routed.event.kind;
                    match routed.to.is_empty() {
                        true => log::info!("skipped id={id} kind={kind} why=\"no rule wants it\""),
                        false => log::info!("routed id={id} kind={kind} to={}", sinks(&routed.to)),
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

    fn understand(&self, routable: &Routable, runs: &mut Runs) -> Decision {
        let (headers, body) = match routable.content() {
            Ok(content) => content,
            Err(error) => return Decision::Dead { reason: error.to_string() },
        };
        if routable.is_own {
            return match serde_json::from_slice(&body) {
                Ok(event) => self.direct(routable, runs, vec![event], None),
                Err(error) => Decision::Dead { reason: format!("an event of our own that cannot be read: {error}") },
            };
        }
        let Some(provider) = routable.provider else {
            return Decision::Dead { reason: "its provider is not known to this version".to_owned() };
        };
        let context = Context {
            provider,
            source: &routable.source,
            options: self.options.get(&routable.source).unwrap_or(&Options::NONE),
        };
        let (mut events, unread) = match provider::normalise(&context, &routable.event_type, &headers, &body) {
            Normalised::Events(events) => (events, 0),
            Normalised::Partly { events, unread } => (events, unread),
            Normalised::Skipped(note) => return Decision::Skipped { events: Vec::new(), note },
            Normalised::Undecodable(reason) => return Decision::Dead { reason },
        };
        let note = left_out(events.len(), unread);
        events.truncate(EVENTS_MAX);
        self.direct(routable, runs, events, note)
    }

    /// Who wants these events.
    fn direct(&self, routable: &Routable, runs: &mut Runs, events: Vec<Event>, note: Option<String>) -> Decision {
        let now = self.zone.local(self.clock.wall());
        let routed: Vec<Routed> = events
            .into_iter()
            .enumerate()
            .map(|(position, mut event)| {
                runs.compare(routable.id, position, &mut event);
                let rule::Route { to, severity, cue, matched } = rule::route(&self.rules, &event, now);
                event.severity = severity.map_or(event.severity, |least| event.severity.max(least));
                let sinks = to.iter().map(|target| target.sink.as_str());
                let latch = self.latches.change(&event, cue.as_deref(), sinks);
                Routed { event, to, cue, rules: matched, latch }
            })
            .collect();
        if routed.iter().any(|routed| !routed.to.is_empty()) {
            return Decision::Routed { events: routed, note };
        }
        let kinds: BTreeSet<&str> = routed.iter().map(|routed| routed.event.kind.as_str()).collect();
        let kinds: Vec<&str> = kinds.into_iter().collect();
        let nobody = match kinds.is_empty() {
            true => "no event in what was read".to_owned(),
            false => format!("no rule wants {}", kinds.join(", ")),
        };
        let note = note.map_or_else(|| nobody.clone(), |note| format!("{nobody}; {note}"));
        Decision::Skipped { events: routed, note }
    }
}

/// The sinks' names, with the channels that rules chose.
fn sinks(to: &[Target]) -> String {
    let name = |target: &Target| match &target.channel {
        Some(channel) => format!("{}:{channel}", target.sink),
        None => target.sink.clone(),
    };
    to.iter().map(name).collect::<Vec<_>>().join(",")
}

/// What is not looked at of a request that is larger than any that makes sense. Its bytes are kept.
fn left_out(events: usize, unread: usize) -> Option<String> {
    let more = (events > EVENTS_MAX).then(|| format!("only the first {EVENTS_MAX} of its {events} events count"));
    let unread = (unread > 0).then(|| format!("{unread} entries of its list are not read"));
    let notes: Vec<String> = more.into_iter().chain(unread).collect();
    (!notes.is_empty()).then(|| notes.join("; "))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::{
        bell::{Parts, Settings, player},
        config::Repeats,
        headers::Headers,
        provider::{Provider, Signing, Terms, Unverified, Verified, sample},
        secret::Secret,
        store::{Arrival, StoreThreads},
        time::{ManualClock, Timestamp},
    };

    const NOW: Timestamp = Timestamp::from_ms(1_767_225_600_000);

    /// A router that has no rules, and one delivery of Alertmanager's that it has claimed.
    fn claimed(body: &str) -> (tempfile::TempDir, Router, StoreThreads, Routable) {
        let directory = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::new(NOW));
        let (store, threads) = Store::open(&directory.path().join("hookbell.db"), 0, clock.clone()).unwrap();
        let key = Secret::new("key".to_owned()).unwrap();
        let mut sample = sample::for_payload(Provider::Alertmanager, "firing", body.as_bytes().to_vec(), 7);
        sample.sign(Provider::Alertmanager, &Signing::new(&key, "", NOW)).unwrap();
        let headers: Headers = sample.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        let request = Unverified { target: "/".to_owned(), headers, body: sample.body };
        let verified = provider::verify(&Terms::new(Provider::Alertmanager, vec![key]), request, NOW);
        let Ok(Verified::Delivery(delivery)) = verified else { panic!("{verified:?}") };
        let arrival = Arrival {
            source: "desk".to_owned(),
            peer: "127.0.0.1".to_owned(),
            repeats: Repeats::Process,
            repeat_window: Duration::from_secs(60),
            deadline: Instant::now() + Duration::from_secs(30),
        };
        store.accept(delivery, arrival).unwrap();
        let routable = store.claim_routable(1).unwrap().remove(0);
        let parts = Parts { clock: clock.clone(), newest: NOW, keeper: None };
        let router = Router {
            store,
            rules: Vec::new(),
            zone: Zone::system(),
            clock,
            latches: Latches::default(),
            bell: player::new(Settings::default(), parts).0,
            options: BTreeMap::new(),
            wake: Wake::new(),
            senders: BTreeMap::new(),
            stop: Stop::new(),
        };
        (directory, router, threads, routable)
    }

    fn why(decision: Decision) -> String {
        match decision {
            Decision::Dead { reason } => format!("dead: {reason}"),
            Decision::Skipped { note, .. } => format!("skipped: {note}"),
            Decision::Routed { events, note } => format!("routed: {} {note:?}", events.len()),
        }
    }

    /// Wakes a thread until it has noticed, and done whatever it does then.
    fn goes_round(wake: &Wake) {
        let (until, rest) = (Instant::now() + Duration::from_secs(30), Wake::new());
        loop {
            wake.wake();
            rest.wait(Duration::from_millis(2));
            if !wake.wait(Duration::ZERO) {
                return;
            }
            assert!(Instant::now() < until, "it does not wait for anything");
        }
    }

    #[test]
    fn a_store_that_gives_nothing_out_is_asked_again() {
        let (_directory, router, threads, routable) = claimed("{\"alerts\":[]}");
        threads.stop(Duration::from_secs(10));
        drop(routable);
        let (wake, stop) = (router.wake.clone(), router.stop.clone());
        let running = threads::spawn("router", threads::STACK_BYTES, move || router.run());
        (0..3).for_each(|_| goes_round(&wake));
        stop.tell();
        wake.wake();
        running.unwrap().join().unwrap();
    }

    #[test]
    fn what_is_not_read_of_a_huge_request_is_said() {
        let labels: Vec<String> = (0..150).map(|number| format!("\"l{number}\":\"x\"")).collect();
        let alert = format!("{{\"status\":\"firing\",\"labels\":{{{}}}}}", labels.join(","));
        let (_directory, router, threads, routable) =
            claimed(&format!("{{\"alerts\":[{}]}}", vec![alert; 900].join(",")));
        let said = why(router.decide(&routable, &mut Runs::new(router.store.clone())));
        assert!(said.starts_with("skipped: no rule wants alert_firing; "), "{said}");
        assert!(said.ends_with(" entries of its list are not read"), "{said}");
        threads.stop(Duration::from_secs(10));
    }

    #[test]
    fn what_cannot_be_written_is_held_until_the_end() {
        let (_directory, router, threads, routable) = claimed("{\"alerts\":[]}");
        threads.stop(Duration::from_secs(10));
        let (wake, stop, mut runs) = (router.wake.clone(), router.stop.clone(), Runs::new(router.store.clone()));
        let routing = threads::spawn("router", threads::STACK_BYTES, move || router.route(vec![routable], &mut runs));
        (0..3).for_each(|_| goes_round(&wake));
        stop.tell();
        wake.wake();
        routing.unwrap().join().unwrap();
    }

    #[test]
    fn what_cannot_be_understood_is_a_dead_letter_with_its_reason() {
        let (_directory, router, threads, mut routable) = claimed("{\"alerts\":[]}");
        let decide = |routable: &Routable| why(router.decide(routable, &mut Runs::new(router.store.clone())));
        routable.provider = None;
        assert_eq!(decide(&routable), "dead: its provider is not known to this version");
        routable.is_own = true;
        let said = decide(&routable);
        assert!(said.starts_with("dead: an event of our own that cannot be read: "), "{said}");
        threads.stop(Duration::from_secs(10));
    }
}
