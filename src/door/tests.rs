//! The door itself, without its connections.

use std::{path::PathBuf, time::Duration};

use super::*;
use crate::{
    config::Environment,
    headers::Headers,
    http::Framing,
    provider::{Provider, Signing, sample},
    secret::Secret,
    store::StoreThreads,
    time::{ManualClock, Timestamp},
};

struct Fixture {
    _directory: tempfile::TempDir,
    clock: Arc<ManualClock>,
    threads: Option<StoreThreads>,
    door: Door,
}

impl Fixture {
    /// A door with one source, `till`, of Stripe's, whose secret is `key`.
    fn new(now: Timestamp) -> Fixture {
        let directory = tempfile::tempdir().unwrap();
        let config = directory.path().join("hookbell.toml");
        std::fs::write(&config, "[sources.till]\nprovider = \"stripe\"\nsecret = { env = \"KEY\" }").unwrap();
        let lookup = |name: &str| (name == "KEY").then(|| "key".into());
        let environment = Environment::new(directory.path().to_owned(), PathBuf::from("/nowhere"), lookup);
        let settings = config::load(Some(&config), &environment).unwrap_or_else(|failure| panic!("{failure}")).settings;
        let clock = Arc::new(ManualClock::new(now));
        let (store, threads) = Store::open(&directory.path().join("hookbell.db"), 0, clock.clone()).unwrap();
        let sources = Sources::new(settings.sources);
        let door = Door::new(&settings.door, sources, store, clock.clone(), Wake::new(), Told::default());
        Fixture { _directory: directory, clock, threads: Some(threads), door }
    }

    /// The answer's status, and how long it asks to wait.
    fn post(&self, sample: &sample::Sample) -> (u16, Option<Duration>) {
        let headers: Headers = sample.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        let head = Head { headers, ..head("POST", "/webhooks/till") };
        let response = match self.door.admit(&head, &Peer::Unix) {
            Ok(Admitted { value, .. }) => self.door.handle(Request {
                head,
                body: sample.body.clone(),
                peer: Peer::Unix,
                accepted: Instant::now(),
                admitted: value,
            }),
            Err(response) => response,
        };
        (response.status, response.retry_after)
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        if let Some(threads) = self.threads.take() {
            threads.stop(Duration::from_secs(10));
        }
    }
}

fn head(method: &str, target: &str) -> Head {
    Head {
        method: method.to_owned(),
        target: target.to_owned(),
        headers: Headers::new(),
        framing: Framing::None,
        expects_continue: false,
    }
}

fn signed(at: Timestamp) -> sample::Sample {
    let key = Secret::new("key".to_owned()).unwrap();
    let mut sample = sample::build(Provider::Stripe, "payment_succeeded", 7).unwrap();
    sample.sign(Provider::Stripe, &Signing::new(&key, "", at)).unwrap();
    sample
}

/// Later than this was built.
fn later() -> Timestamp {
    crate::BUILT.plus(Duration::from_secs(3600))
}

#[test]
fn with_a_clock_that_cannot_be_right_nobody_is_refused_for_good() {
    let day = Duration::from_secs(86_400);
    let fixture = Fixture::new(crate::BUILT.minus(day));
    let old = signed(crate::BUILT.minus(day * 2));
    let (status, retry_after) = fixture.post(&old);
    assert_eq!((status, retry_after), (503, Some(Duration::from_secs(60))));
    assert_eq!(fixture.door.counters.read().unavailable, 1);
    // What is not ours is refused whatever the time.
    let mut forged = old.clone();
    forged.body.push(b' ');
    assert_eq!(fixture.post(&forged).0, 401);
    // Once the time is known, old is old.
    fixture.clock.step_to(later());
    assert_eq!(fixture.post(&old).0, 401);
    assert_eq!(fixture.post(&signed(later())), (200, None));
}

#[test]
fn a_method_that_does_not_belong_there_is_told_which_does() {
    let fixture = Fixture::new(later());
    for (method, target, allowed) in
        [("BREW", "/health", "GET, HEAD"), ("GET", canary::PATH, "POST"), ("PUT", "/webhooks/till", "POST")]
    {
        let Err(response) = fixture.door.admit(&head(method, target), &Peer::Unix) else { panic!("{method} {target}") };
        assert_eq!((response.status, response.allow), (405, Some(allowed)), "{method} {target}");
    }
    let Err(refused) = fixture.door.route(&head("BREW", "/health"), &Peer::Unix) else { panic!() };
    assert_eq!(refused.said, "method=(unknown)", "what a stranger invents is not repeated");
}

#[test]
fn what_found_no_room_is_no_refusal() {
    let fixture = Fixture::new(later());
    for _ in 0..3 {
        fixture.door.refused(None, &Peer::Unix, &Refusal { status: 503, reason: "too many connections" });
    }
    let counts = fixture.door.counters.read();
    assert_eq!((counts.unavailable, counts.refused), (3, 0));
}

#[test]
fn a_stranger_s_word_about_an_address_is_not_taken() {
    let fixture = Fixture::new(later());
    let mut head = head("POST", "/webhooks/till");
    head.headers.push("CF-Connecting-IP", b"192.0.2.7");
    let by = |peer: &Peer| fixture.door.client(&head, peer).map(|address| address.to_string());
    assert_eq!(by(&Peer::Tcp(([198, 51, 100, 1], 9).into())).as_deref(), Some("198.51.100.1"));
    assert_eq!(by(&Peer::Unix).as_deref(), Some("192.0.2.7"));
}

#[test]
fn while_one_refusal_is_explained_others_are_refused_all_the_same() {
    let fixture = Fixture::new(later());
    let mut forged = signed(later());
    forged.body.push(b' ');
    let held = lock(&fixture.door.guessing);
    assert_eq!(fixture.post(&forged), (401, None));
    drop(held);
    assert_eq!(fixture.post(&forged), (401, None));
}
