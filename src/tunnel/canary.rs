//! The canary: every so often a question goes out to the public URL and has to come back in at our own door. Owns when it is
//! sent, and how many in a row may be missing before the tunnel counts as down; refuses to know what is asked, and how one
//! that comes back is told from somebody else's answer.
//!
//! It sees what cloudflared cannot: a name that leads elsewhere, a login page in the way, a rule that is missing.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::Tunnel;
use crate::{
    logfmt,
    threads::{self, BUSY_MAX, Stop, Wake},
    time::{self, Clock, SystemClock},
};

/// One may get lost; so many in a row mean that nothing comes through.
const MISSING_MAX: u32 = 2;
/// After a start the tunnel may still be connecting.
const FIRST_AFTER: Duration = Duration::from_secs(10);
/// After one that is missing, so that an outage is told soon.
const AGAIN_AFTER: Duration = Duration::from_secs(30);
/// The same before any has come back: then both watchers give the tunnel a minute to connect.
const AGAIN_AT_START: Duration = Duration::from_secs(60);
/// The longer an outage lasts, the less often it is looked for its end, but at least so often.
const AGAIN_AT_LEAST: Duration = Duration::from_secs(5 * 60);

/// What came of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flight {
    /// It is back, after so long.
    Back(Duration),
    /// It is not.
    Missing {
        /// What came instead.
        why: String,
        /// What to do about it.
        remedy: String,
    },
    /// Nothing can be said: there is no URL yet, or somebody answered who has no time.
    Unknown,
}

/// What is known of them.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// The last that came back: how long it took, and when that was.
    last: Option<(Duration, Instant)>,
    missing: Option<Missing>,
    /// Sends the next one now.
    wake: Wake,
}

/// Those that did not come back since.
#[derive(Debug)]
pub(super) struct Missing {
    count: u32,
    pub(super) since: Instant,
    pub(super) why: String,
    pub(super) remedy: String,
}

impl Seen {
    /// Those that are missing, where they are enough to say that nothing comes through.
    pub(super) fn down(&self) -> Option<&Missing> {
        self.missing.as_ref().filter(|missing| missing.count >= MISSING_MAX)
    }

    pub(super) fn has_come_back(&self) -> bool {
        self.last.is_some()
    }

    /// Somebody has reason to think that the outage is over.
    pub(super) fn hurry(&self) {
        if self.down().is_some() {
            self.wake.wake();
        }
    }

    pub(super) fn report(&self) -> Value {
        let Seen { last, missing, wake: _ } = self;
        json!({
            "round_trip_ms": last.map(|(took, _)| time::duration_ms(took)),
            // Counted back from now: the clock may have been wrong then.
            "at": last.map(|(_, at)| SystemClock.wall().minus(at.elapsed())),
            "missing": missing.as_ref().map_or(0, |missing| missing.count),
            "why": missing.as_ref().map(|missing| &missing.why),
        })
    }

    fn see(&mut self, flight: &Flight) {
        match flight {
            Flight::Back(took) => {
                self.last = Some((*took, Instant::now()));
                self.missing = None;
            }
            Flight::Missing { why, remedy } => {
                let (count, since) =
                    self.missing.as_ref().map_or((0, Instant::now()), |missing| (missing.count, missing.since));
                let (why, remedy) = (why.clone(), remedy.clone());
                self.missing = Some(Missing { count: count.saturating_add(1), since, why, remedy });
            }
            Flight::Unknown => {}
        }
    }

    /// How long to wait for the next one. Nothing here is longer than `every`.
    fn pause(&self, every: Duration) -> Duration {
        let pause = match &self.missing {
            None => every,
            Some(Missing { count: 1, .. }) if self.last.is_none() => AGAIN_AT_START,
            Some(Missing { count, .. }) => {
                let doublings = count.saturating_sub(MISSING_MAX).min(8);
                (AGAIN_AFTER * 2_u32.pow(doublings)).min(AGAIN_AT_LEAST)
            }
        };
        pause.min(every)
    }
}

/// Sends one again and again. [`Canary::run`] is the thread.
pub struct Canary {
    every: Duration,
    fly: Box<dyn Fn() -> Flight + Send>,
    tunnel: Tunnel,
    wake: Wake,
    stop: Stop,
    /// Told when the tunnel is down from now on.
    on_down: Box<dyn Fn() + Send>,
}

impl Canary {
    /// `fly` sends one and waits for it, for a minute at most.
    pub fn new(
        every: Duration,
        fly: Box<dyn Fn() -> Flight + Send>,
        tunnel: Tunnel,
        (wake, stop): (Wake, Stop),
        on_down: Box<dyn Fn() + Send>,
    ) -> Canary {
        tunnel.learn(|known| known.canary = Some(Seen { wake: wake.clone(), ..Seen::default() }));
        Canary { every, fly, tunnel, wake, stop, on_down }
    }

    /// Works until told to stop.
    pub fn run(self) {
        self.wake.wait(FIRST_AFTER.min(self.every));
        while !self.stop.is_told() {
            let flight = {
                let _busy = threads::busy(BUSY_MAX);
                (self.fly)()
            };
            let pause = self.see(&flight);
            self.wake.wait(pause);
        }
    }

    /// Takes it down, and says how long to wait for the next.
    pub(super) fn see(&self, flight: &Flight) -> Duration {
        let (mut before, mut count, mut had_any, mut pause) = (0, 0, false, AGAIN_AFTER.min(self.every));
        let went_down = self.tunnel.learn(|known| {
            let Some(seen) = &mut known.canary else { return };
            let missing = |seen: &Seen| seen.missing.as_ref().map_or(0, |missing| missing.count);
            (before, had_any) = (missing(seen), seen.has_come_back());
            seen.see(flight);
            count = missing(seen);
            if *flight != Flight::Unknown {
                pause = seen.pause(self.every);
            }
        });
        match flight {
            Flight::Back(took) => {
                let level = if before > 0 || !had_any { log::Level::Info } else { log::Level::Debug };
                log::log!(level, "canary: back round_trip_ms={} missing_before={before}", took.as_millis());
            }
            Flight::Missing { why, remedy } if count == MISSING_MAX => {
                log::error!("tunnel: down: {why}; nothing reaches the door; {remedy}");
            }
            Flight::Missing { why, .. } => {
                let level = if count < MISSING_MAX { log::Level::Warn } else { log::Level::Debug };
                log::log!(level, "canary: missing={count} next_s={} why={}", pause.as_secs(), logfmt::value(why));
            }
            Flight::Unknown => {}
        }
        if went_down {
            (self.on_down)();
        }
        pause
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const EVERY: Duration = Duration::from_secs(3600);

    fn back(ms: u64) -> Flight {
        Flight::Back(Duration::from_millis(ms))
    }

    fn missing(why: &str) -> Flight {
        Flight::Missing { why: why.to_owned(), remedy: format!("mend {why}") }
    }

    /// One that nobody runs, its tunnel, and how often it was told that this is down.
    fn canary(every: Duration) -> (Canary, Tunnel, mpsc::Receiver<()>) {
        let (tunnel, (downs, down)) = (Tunnel::default(), mpsc::channel());
        let fly = Box::new(|| Flight::Unknown);
        let tell = Box::new(move || downs.send(()).unwrap());
        (Canary::new(every, fly, tunnel.clone(), (Wake::new(), Stop::new()), tell), tunnel, down)
    }

    fn state(tunnel: &Tunnel) -> (String, Value) {
        let report = tunnel.report();
        (report["state"].as_str().unwrap_or_default().to_owned(), report["canary"]["missing"].clone())
    }

    #[test]
    fn two_in_a_row_are_down_and_the_first_that_returns_ends_it() {
        let (canary, tunnel, down) = canary(EVERY);
        let returned = Wake::new();
        tunnel.when_back(returned.clone());
        assert_eq!(state(&tunnel), ("unknown".to_owned(), 0.into()));
        assert!(tunnel.report()["canary"]["round_trip_ms"].is_null());
        assert_eq!(canary.see(&Flight::Unknown), AGAIN_AFTER);
        assert_eq!(state(&tunnel), ("unknown".to_owned(), 0.into()));

        assert_eq!(canary.see(&back(84)), EVERY);
        let report = tunnel.report();
        assert_eq!((&report["state"], &report["connections"]), (&"connected".into(), &Value::Null));
        assert_eq!((&report["canary"]["round_trip_ms"], &report["canary"]["why"]), (&84.into(), &Value::Null));
        assert!(report["canary"]["at"].is_string() && report["why"].is_null(), "{report}");

        // One may get lost, and one that says nothing changes nothing.
        assert_eq!(canary.see(&missing("fog")), AGAIN_AFTER);
        assert_eq!(state(&tunnel), ("connected".to_owned(), 1.into()));
        assert_eq!(canary.see(&Flight::Unknown), AGAIN_AFTER);
        assert_eq!(canary.see(&back(90)), EVERY);
        assert_eq!(canary.see(&missing("fog")), AGAIN_AFTER);
        assert!(!tunnel.is_down() && down.try_recv().is_err());

        assert_eq!(canary.see(&missing("a page")), AGAIN_AFTER);
        assert!(tunnel.is_down() && down.try_recv().is_ok());
        let report = tunnel.report();
        assert_eq!((&report["state"], &report["canary"]["missing"]), (&"down".into(), &2.into()));
        assert_eq!((&report["why"], &report["remedy"]), (&"a page".into(), &"mend a page".into()));
        assert!(report["since"].is_string() && report["canary"]["round_trip_ms"] == 90, "{report}");

        let pauses: Vec<u64> = (0..5).map(|_| canary.see(&missing("a page")).as_secs()).collect();
        assert_eq!(pauses, [60, 120, 240, 300, 300], "the longer it lasts, the less often");
        assert_eq!(canary.see(&Flight::Unknown), AGAIN_AFTER);
        assert!(tunnel.is_down() && down.try_recv().is_err(), "it is told once");
        assert!(!returned.wait(Duration::ZERO));

        assert_eq!(canary.see(&back(70)), EVERY);
        assert_eq!(state(&tunnel), ("connected".to_owned(), 0.into()));
        assert!(!tunnel.is_down() && returned.wait(Duration::ZERO));
        canary.see(&back(70));
        assert!(!returned.wait(Duration::ZERO), "it was not down");
    }

    #[test]
    fn at_the_start_it_has_a_minute_and_nothing_is_rarer_than_asked_for() {
        let (canary, tunnel, down) = canary(EVERY);
        assert_eq!(canary.see(&missing("nobody")), AGAIN_AT_START);
        assert_eq!(state(&tunnel), ("unknown".to_owned(), 1.into()));
        assert!(FIRST_AFTER + AGAIN_AT_START >= super::super::DOWN_AFTER);
        canary.see(&missing("nobody"));
        assert!(tunnel.is_down() && down.try_recv().is_ok());

        let every = Duration::from_millis(1);
        let (canary, _tunnel, _down) = self::canary(every);
        for flight in [Flight::Unknown, missing("x"), missing("x"), missing("x"), back(1), missing("x")] {
            assert_eq!(canary.see(&flight), every);
        }
    }

    #[test]
    fn the_thread_flies_until_it_is_told_to_stop() {
        let (tunnel, wake, stop) = (Tunnel::default(), Wake::new(), Stop::new());
        let ((asks, asked), (flights, flight)) = (mpsc::channel(), mpsc::channel());
        let fly = Box::new(move || {
            asks.send(()).unwrap();
            flight.recv().unwrap_or(Flight::Unknown)
        });
        let ends = (wake.clone(), stop.clone());
        let canary = Canary::new(Duration::from_millis(1), fly, tunnel.clone(), ends, Box::new(|| {}));
        let thread = threads::spawn("canary", threads::STACK_BYTES, move || canary.run()).unwrap();
        for (flight, is_down) in [(back(1), false), (missing("x"), false), (missing("x"), true), (back(1), false)] {
            asked.recv().unwrap();
            flights.send(flight).unwrap();
            // Once it asks again, it has taken down what came before.
            asked.recv().unwrap();
            assert_eq!(tunnel.is_down(), is_down);
            flights.send(Flight::Unknown).unwrap();
        }
        stop.tell();
        drop(flights);
        wake.wake();
        thread.join().unwrap();
    }
}
