//! Senders on a real store with a sink that does what the test says.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, mpsc},
    thread::JoinHandle,
};

use super::*;
use crate::{
    bell::latch::Change,
    config::{Repeats, Retry},
    event::Event,
    headers::Headers,
    provider::{self, Provider, Signing, Terms, Unverified, Verified, sample::Sample},
    rule::Target,
    secret::Secret,
    sink::Fault,
    store::{Arrival, Decision, Routed, Store, StoreThreads},
    threads::{STACK_BYTES, Stop, lock, spawn},
    time::{Clock, ManualClock, Timestamp},
    work::lane::Parts,
};

const PATIENCE: Duration = Duration::from_secs(30);

/// What was asked of the sink: by which thread, and the titles.
type Asked = (usize, Vec<String>);

/// Answers by script, then well.
struct Scripted {
    thread: usize,
    asked: mpsc::Sender<Asked>,
    script: Arc<Mutex<VecDeque<Outcome>>>,
    /// When the script is over.
    then: Outcome,
    /// So many have to be at it at once before any goes on.
    meeting: Option<Arc<Meeting>>,
}

struct Meeting {
    wanted: usize,
    there: Mutex<usize>,
    came: Condvar,
}

impl Meeting {
    fn wait(&self) {
        let mut there = lock(&self.there);
        *there += 1;
        self.came.notify_all();
        let (_there, timeout) = self.came.wait_timeout_while(there, PATIENCE, |there| *there < self.wanted).unwrap();
        assert!(!timeout.timed_out(), "the others did not come");
    }
}

impl Scripted {
    fn next(&self, titles: Vec<String>) -> Outcome {
        let outcome = lock(&self.script).pop_front().unwrap_or_else(|| self.then.clone());
        self.asked.send((self.thread, titles)).unwrap();
        if let Some(meeting) = &self.meeting {
            meeting.wait();
        }
        assert!(!matches!(&outcome, Outcome::Skipped { note } if note == "panic"), "as asked");
        outcome
    }
}

impl Sink for Scripted {
    fn deliver(&mut self, parcel: &Parcel) -> Outcome {
        self.next(vec![parcel.event.title.clone()])
    }

    fn deliver_bundle(&mut self, bundle: Bundle<'_>) -> Outcome {
        self.next(bundle.parcels.iter().map(|parcel| parcel.event.title.clone()).collect())
    }
}

struct Rig {
    _directory: tempfile::TempDir,
    clock: Arc<ManualClock>,
    store: Store,
    store_threads: Option<StoreThreads>,
    stop: Stop,
    wakes: Vec<Wake>,
    senders: Vec<JoinHandle<()>>,
    asked: mpsc::Receiver<Asked>,
}

const RETRY: Retry = Retry {
    first: Duration::from_secs(5),
    factor: 3.0,
    cap: Duration::from_secs(3600),
    jitter: 0.0,
    give_up_after: Duration::from_secs(3 * 86_400),
};

impl Rig {
    /// A lane of so many threads, which begins once `events` are owed: titles and subjects.
    fn new(
        events: &[(&str, Option<&str>)],
        threads: usize,
        portion: Portion,
        script: Vec<Outcome>,
        then: Outcome,
    ) -> Rig {
        Rig::meeting(events, threads, portion, (script, then), None)
    }

    fn meeting(
        events: &[(&str, Option<&str>)],
        threads: usize,
        portion: Portion,
        (script, then): (Vec<Outcome>, Outcome),
        meeting: Option<Arc<Meeting>>,
    ) -> Rig {
        let directory = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::new(Timestamp::from_ms(1_767_225_600_000)));
        let (store, store_threads) = Store::open(&directory.path().join("hookbell.db"), 0, clock.clone()).unwrap();
        for (title, subject) in events {
            owe(&store, title, *subject);
        }
        let (stop, wakes): (Stop, Vec<Wake>) = (Stop::new(), (0..threads).map(|_| Wake::new()).collect());
        let lane = Lane::new(Parts {
            meters: Default::default(),
            name: "slack".to_owned(),
            retry: RETRY,
            portion,
            store: store.clone(),
            wakes: wakes.clone(),
            stop: stop.clone(),
            random: || 0.5,
            clock: clock.clone(),
            on_down: Box::new(|| {}),
        });
        let (telling, asked) = mpsc::channel();
        let script = Arc::new(Mutex::new(VecDeque::from(script)));
        let senders = (0..threads)
            .map(|thread| {
                let sink = Scripted {
                    thread,
                    asked: telling.clone(),
                    script: script.clone(),
                    then: then.clone(),
                    meeting: meeting.clone(),
                };
                let sender = Sender { lane: lane.clone(), thread, sink: Box::new(sink) };
                spawn("sender", STACK_BYTES, move || sender.run()).unwrap()
            })
            .collect();
        Rig { _directory: directory, clock, store, store_threads: Some(store_threads), stop, wakes, senders, asked }
    }

    fn next(&self) -> Vec<String> {
        self.asked.recv_timeout(PATIENCE).expect("the sink is asked").1
    }

    /// Waits until something that failed is written down as waiting, and lets that time pass.
    fn wait_passes(&self) {
        let until = Instant::now() + PATIENCE;
        let (reader, rest) = (self.store.reader().unwrap(), Wake::new());
        while reader.queues().unwrap().iter().all(|queue| queue.retrying == 0) {
            assert!(Instant::now() < until, "nothing failed");
            rest.wait(Duration::from_millis(2));
        }
        self.clock.pass(Duration::from_secs(6));
        self.wakes.iter().for_each(Wake::wake);
    }

    /// Wakes the first thread until it has noticed, and done whatever it does then.
    fn goes_round(&self) {
        let (until, rest) = (Instant::now() + PATIENCE, Wake::new());
        loop {
            self.wakes[0].wake();
            rest.wait(Duration::from_millis(2));
            if !self.wakes[0].wait(Duration::ZERO) {
                return;
            }
            assert!(Instant::now() < until, "it does not wait for anything");
        }
    }

    /// The states of all dispatches, once none is due or leased.
    fn settled(&self) -> Vec<(String, i64)> {
        let reader = self.store.reader().unwrap();
        let until = Instant::now() + PATIENCE;
        let rest = Wake::new();
        while reader.queues().unwrap().iter().any(|queue| queue.waiting > 0) {
            assert!(Instant::now() < until, "something is still owed");
            rest.wait(Duration::from_millis(2));
        }
        let filter = crate::store::Filter { limit: 1000, ..Default::default() };
        let rows = reader.list(&filter).unwrap();
        let stories = rows.into_iter().rev().map(|row| reader.show(row.id).unwrap().unwrap());
        stories.map(|story| (story.dispatches[0].status.clone(), story.dispatches[0].attempts)).collect()
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.stop.tell();
        self.wakes.iter().for_each(Wake::wake);
        self.senders.drain(..).for_each(|sender| sender.join().unwrap());
        if let Some(threads) = self.store_threads.take() {
            threads.stop(PATIENCE);
        }
    }
}

fn owe(store: &Store, title: &str, subject: Option<&str>) {
    let secret = Secret::new("secret".to_owned()).unwrap();
    let body = format!("{{\"title\":{title:?}}}");
    let mut sample = Sample::json("issues", body).with("X-GitHub-Event", "issues").with("X-GitHub-Delivery", title);
    sample.sign(Provider::GitHub, &Signing::new(&secret, "", Timestamp::from_ms(0))).unwrap();
    let headers: Headers = sample.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    let request = Unverified { target: "/webhooks/github".to_owned(), headers, body: sample.body };
    let terms = Terms::new(Provider::GitHub, vec![secret]);
    let Ok(Verified::Delivery(delivery)) = provider::verify(&terms, request, Timestamp::from_ms(0)) else {
        panic!("the sample is signed");
    };
    let arrival = Arrival {
        source: "github".to_owned(),
        peer: "127.0.0.1".to_owned(),
        repeats: Repeats::Process,
        repeat_window: Duration::from_secs(60),
        deadline: Instant::now() + PATIENCE,
    };
    store.accept(delivery, arrival).unwrap();
    let event = Event { title: title.to_owned(), subject: subject.map(str::to_owned), ..Event::of("issue_opened") };
    let claimed = store.claim_routable(1).unwrap();
    let decided = claimed.into_iter().map(|routable| {
        let routed = Routed {
            event: event.clone(),
            to: vec![Target::of("slack")],
            cue: None,
            rules: Vec::new(),
            latch: Change::default(),
        };
        (routable, Decision::Routed { events: vec![routed], note: None })
    });
    store.route(decided.collect()).unwrap();
}

fn fails() -> Outcome {
    Outcome::Retry { reason: "503".to_owned(), pause: None, fault: Fault::Transient }
}

fn done() -> Outcome {
    Outcome::Done { receipt: None }
}

const ONE_BY_ONE: Portion = Portion { count: BATCH, bundle_over: None, by_subject: false, is_probe: false };

#[test]
fn three_days_of_trying_end_in_a_dead_letter_however_often_the_clock_steps() {
    let rig = Rig::new(&[("a", None)], 1, ONE_BY_ONE, Vec::new(), fails());
    let (mut attempts, begun) = (0, rig.clock.since_boot());
    loop {
        match rig.asked.try_recv() {
            Ok(_) => attempts += 1,
            Err(_) => {
                rig.clock.pass(Duration::from_secs(600));
                if attempts == 20 {
                    // Somebody sets the clock a year ahead: no reason to give anything up.
                    rig.clock.step_to(rig.clock.wall().plus(Duration::from_secs(366 * 86_400)));
                }
                rig.wakes[0].wake();
                let reader = rig.store.reader().unwrap();
                if reader.queues().unwrap().iter().any(|queue| queue.dead == 1) {
                    break;
                }
            }
        }
    }
    let days = (rig.clock.since_boot() - begun).as_secs_f64() / 86_400.0;
    assert!(days >= 2.9, "{days} days");
    let [(status, tries)] = rig.settled().try_into().unwrap();
    // Six waits up to the longest, then one an hour.
    assert!(status == "dead" && (70..=80).contains(&tries), "{status} {tries}");
    let story = rig.store.reader().unwrap().show(1).unwrap().unwrap();
    let error = story.dispatches[0].last_error.clone().unwrap();
    assert!(error.starts_with("gave up after ") && error.ends_with("503"), "{error}");
}

#[test]
fn what_failed_is_not_passed_by_what_is_about_the_same() {
    let events = [("a1", Some("s#1")), ("a2", Some("s#1")), ("b1", Some("s#2")), ("a3", Some("s#1")), ("x", None)];
    let rig = Rig::new(&events, 1, ONE_BY_ONE, vec![fails()], done());
    let first: Vec<Vec<String>> = (0..3).map(|_| rig.next()).collect();
    assert_eq!(first, [["a1"], ["b1"], ["x"]]);
    rig.wait_passes();
    let rest: Vec<Vec<String>> = (0..3).map(|_| rig.next()).collect();
    assert_eq!(rest, [["a1"], ["a2"], ["a3"]]);
    assert!(rig.settled().iter().all(|(status, _)| status == "done"));
}

#[test]
fn several_threads_keep_the_order_within_a_subject() {
    let titles: Vec<String> = (0..200).map(|number| format!("{} {number:03}", number % 7)).collect();
    let subjects: Vec<String> = titles.iter().map(|title| format!("s#{}", &title[..1])).collect();
    let events: Vec<(&str, Option<&str>)> =
        titles.iter().zip(&subjects).map(|(title, subject)| (title.as_str(), Some(subject.as_str()))).collect();
    let portion = Portion { count: 3, ..ONE_BY_ONE };
    let rig = Rig::new(&events, 4, portion, vec![fails(), done(), fails()], done());
    let mut seen: Vec<String> = Vec::new();
    while rig.store.reader().unwrap().queues().unwrap().iter().any(|queue| queue.waiting > 0) {
        while let Ok((_, titles)) = rig.asked.recv_timeout(Duration::from_millis(20)) {
            seen.extend(titles);
        }
        rig.clock.pass(Duration::from_secs(6));
        rig.wakes.iter().for_each(Wake::wake);
    }
    seen.extend(rig.asked.try_iter().flat_map(|(_, titles)| titles));
    assert_eq!(seen.len(), 202, "each once, and two once more");
    for subject in 0..7 {
        let of_it: Vec<&String> = seen.iter().filter(|title| title.starts_with(&subject.to_string())).collect();
        assert!(of_it.is_sorted(), "{of_it:?}");
    }
}

#[test]
fn a_bundle_that_is_refused_for_good_is_told_one_by_one() {
    let events = [("a", None), ("b", None), ("c", None)];
    let portion = Portion { bundle_over: Some(2), ..ONE_BY_ONE };
    let refused = Outcome::Dead { reason: "msg_too_long".to_owned() };
    let rig = Rig::new(&events, 1, portion, vec![refused.clone(), done(), refused], done());
    assert_eq!(rig.next(), ["a", "b", "c"]);
    assert_eq!([rig.next(), rig.next(), rig.next()], [["a"], ["b"], ["c"]]);
    let statuses: Vec<String> = rig.settled().into_iter().map(|(status, _)| status).collect();
    assert_eq!(statuses, ["done", "dead", "done"]);
}

#[test]
fn a_sink_that_panics_costs_one_parcel() {
    let panics = Outcome::Skipped { note: "panic".to_owned() };
    let rig = Rig::new(&[("a", None), ("b", None)], 1, ONE_BY_ONE, vec![panics], done());
    assert_eq!([rig.next(), rig.next()], [["a"], ["b"]]);
    assert_eq!(rig.settled(), [("dead".to_owned(), 1), ("done".to_owned(), 1)]);
    let story = rig.store.reader().unwrap().show(1).unwrap().unwrap();
    assert_eq!(
        story.dispatches[0].last_error.as_deref(),
        Some("hookbell failed on it (a bug, please report it): as asked")
    );
    let said: [&(dyn Any + Send); 3] = [&"words", &"a text".to_owned(), &7];
    assert_eq!(said.map(panic_text), ["words", "a text", "a panic without words"]);
}

#[test]
fn without_a_database_a_lane_knows_what_it_has_seen_itself() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("hookbell.db");
    let clock = Arc::new(ManualClock::new(Timestamp::from_ms(1_767_225_600_000)));
    let (store, threads) = Store::open(&path, 0, clock.clone()).unwrap();
    threads.stop(PATIENCE);
    std::fs::remove_file(path).unwrap();
    let lane = Lane::new(Parts {
        meters: Default::default(),
        name: "slack".to_owned(),
        retry: RETRY,
        portion: ONE_BY_ONE,
        store,
        wakes: Vec::new(),
        stop: Stop::new(),
        random: || 0.5,
        clock,
        on_down: Box::new(|| {}),
    });
    assert!(!lane.is_down());
    lane.judge(&Health::Ill { fault: Fault::Configuration, reason: "no_team".to_owned() });
    assert!(lane.is_down());
}

#[test]
fn what_cannot_be_written_is_held_and_not_sent_again() {
    let meeting = Arc::new(Meeting { wanted: 2, there: Mutex::new(0), came: Condvar::new() });
    let mut rig = Rig::meeting(&[("a", None)], 1, ONE_BY_ONE, (Vec::new(), done()), Some(meeting.clone()));
    assert_eq!(rig.next(), ["a"]);
    // While the sink is at it the store ends.
    rig.store_threads.take().unwrap().stop(PATIENCE);
    meeting.wait();
    (0..3).for_each(|_| rig.goes_round());
    assert!(rig.asked.try_recv().is_err());
    let story = rig.store.reader().unwrap().show(1).unwrap().unwrap();
    assert_eq!(story.dispatches[0].status, "leased", "the next process gives it back");
}

#[test]
fn a_store_that_gives_nothing_out_is_asked_again() {
    let mut rig = Rig::new(&[], 1, ONE_BY_ONE, Vec::new(), done());
    rig.store_threads.take().unwrap().stop(PATIENCE);
    (0..3).for_each(|_| rig.goes_round());
    assert!(rig.store.claim("slack", ONE_BY_ONE).is_err());
}

#[test]
fn a_bundle_that_fails_waits_and_comes_again_as_one() {
    let events = [("a", Some("s#1")), ("b", Some("s#2")), ("c", None)];
    let portion = Portion { bundle_over: Some(2), ..ONE_BY_ONE };
    let rig = Rig::new(&events, 1, portion, vec![fails()], done());
    assert_eq!(rig.next(), ["a", "b", "c"]);
    rig.wait_passes();
    assert_eq!(rig.next(), ["a", "b", "c"]);
    assert!(rig.settled().iter().all(|settled| *settled == ("done".to_owned(), 2)));
}

#[test]
fn one_thread_makes_the_probe_while_the_others_wait() {
    let titles: Vec<String> = (0..40).map(|number| format!("{number}")).collect();
    let events: Vec<(&str, Option<&str>)> = titles.iter().map(|title| (title.as_str(), None)).collect();
    let dead = || Outcome::Retry { reason: "no_team".to_owned(), pause: None, fault: Fault::Configuration };
    let portion = Portion { count: 1, ..ONE_BY_ONE };
    let rig = Rig::new(&events, 4, portion, (0..8).map(|_| dead()).collect(), done());
    // At most one of each thread was under way when it opened.
    let reader = rig.store.reader().unwrap();
    let mut before = vec![rig.asked.recv_timeout(PATIENCE).unwrap()];
    while let Ok(asked) = rig.asked.recv_timeout(Duration::from_millis(100)) {
        before.push(asked);
    }
    assert!(before.len() <= 4, "{before:?}");
    assert!(reader.outage("slack").unwrap().is_some());
    let mut probes = Vec::new();
    while reader.outage("slack").unwrap().is_some() {
        // It may still be written down that the last one failed: then time has to pass once more.
        rig.clock.pass(Duration::from_secs(700));
        rig.wakes.iter().for_each(Wake::wake);
        probes.extend(rig.asked.recv_timeout(Duration::from_millis(50)).map(|(thread, _)| thread));
    }
    // The probe that succeeded may be followed by others before its success is written down.
    let failed = 8 - before.len();
    assert!(probes.len() >= failed && probes[..failed].iter().all(|thread| *thread == 0), "{probes:?}");
}

#[test]
fn a_thread_that_is_long_at_it_keeps_nothing_from_the_others() {
    let events = [("a", Some("s#1")), ("b", Some("s#2")), ("c", Some("s#3"))];
    let meeting = Arc::new(Meeting { wanted: 3, there: Mutex::new(0), came: Condvar::new() });
    let rig = Rig::meeting(&events, 3, Portion::single(1), (Vec::new(), done()), Some(meeting));
    assert!(rig.settled().iter().all(|settled| *settled == ("done".to_owned(), 1)));
}

#[test]
fn what_was_under_way_when_the_breaker_opened_is_no_probe() {
    let events: Vec<(String, String)> = (0..4).map(|number| (format!("{number}"), format!("s#{number}"))).collect();
    let events: Vec<(&str, Option<&str>)> =
        events.iter().map(|(title, subject)| (title.as_str(), Some(subject.as_str()))).collect();
    let dead = Outcome::Retry { reason: "no_team".to_owned(), pause: None, fault: Fault::Configuration };
    let meeting = Arc::new(Meeting { wanted: 4, there: Mutex::new(0), came: Condvar::new() });
    let rig = Rig::meeting(&events, 4, Portion::single(1), (vec![dead; 4], done()), Some(meeting));
    (0..4).for_each(|_| drop(rig.next()));
    let (reader, until, rest) = (rig.store.reader().unwrap(), Instant::now() + PATIENCE, Wake::new());
    // Settled first and judged then.
    let is_known = || reader.outage("slack").unwrap().is_some();
    while reader.queues().unwrap().iter().any(|queue| queue.retrying < 4) || !is_known() {
        assert!(Instant::now() < until, "they all fail");
        rest.wait(Duration::from_millis(2));
    }
    let outage = reader.outage("slack").unwrap().unwrap();
    assert_eq!(outage.until.since(outage.since), Duration::from_secs(30), "four at once are one failure");
}
