//! `scripts/bench --drain` builds and runs this: how quickly what is owed to a sink that answers at once leaves the queue,
//! by four threads on a real file, and whether that depends on how much was settled before. Beside it, in the same
//! rounds, the same queue in a database with a million settled rows.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use hookbell::{
    bell::latch::Change,
    config::{Repeats, Retry},
    event::{Event, Extra, Severity},
    headers::Headers,
    provider::{self, Provider, Signing, Terms, Unverified, Verified, sample},
    rule::Target,
    secret::Secret,
    sink::{Outcome, Parcel, Sink},
    store::{Arrival, Decision, Portion, Routed, Store},
    threads::{STACK_BYTES, Stop, Wake, spawn},
    time::{SystemClock, Timestamp},
    work::{Lane, LaneParts, Sender},
};
use rusqlite::Connection;

const ROUNDS: usize = 5;
const THREADS: usize = 4;
const OWED: usize = 10_000;
/// Events of one subject keep their order; so many have the same one.
const PER_SUBJECT: usize = 5;
const SETTLED: i64 = 1_000_000;
/// What is wanted: so many a second, and so little less with the full database.
const WANTED_PER_S: f64 = 2000.0;
const WANTED_RATIO: f64 = 0.8;

type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("drain: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let directory = PathBuf::from(arguments.next().ok_or("the directory for the databases is missing")?);
    let is_quick = arguments.next().as_deref() == Some("--quick");
    let (rounds, owed, settled) = if is_quick { (1, OWED / 10, SETTLED / 10) } else { (ROUNDS, OWED, SETTLED) };
    let mut rates = [Vec::new(), Vec::new()];
    for round in 0..rounds {
        // Neither is always the first.
        for which in [round % 2, 1 - round % 2] {
            let folder = tempfile::tempdir_in(&directory)?;
            let path = folder.path().join("hookbell.db");
            let before = if which == 1 { settled } else { 0 };
            let rate = drain(&path, owed, before)?;
            eprintln!("drain: round {} of {rounds}: {before} settled before, {rate:.0}/s", round + 1);
            rates[which].push(rate);
        }
    }
    // Side by side in time: what the machine does besides changes within minutes.
    let mut ratios: Vec<f64> = rates[1].iter().zip(&rates[0]).map(|(full, empty)| full / empty).collect();
    ratios.sort_by(f64::total_cmp);
    let [empty, full] = rates.map(|mut rates| {
        rates.sort_by(f64::total_cmp);
        (rates[rates.len() / 2], rates[0], rates[rates.len() - 1])
    });
    println!("{owed} dispatches, {THREADS} threads, {rounds} rounds; dispatches a second: median (range)\n");
    for (name, (median, low, high)) in [("empty database", empty), ("settled before", full)] {
        let mark = if median < WANTED_PER_S { '!' } else { ' ' };
        println!("{name:<16} {median:>8.0}{mark} ({low:.0} to {high:.0})   wanted {WANTED_PER_S:.0}");
    }
    let (ratio, low, high) = (ratios[ratios.len() / 2], ratios[0], ratios[ratios.len() - 1]);
    let mark = if ratio < WANTED_RATIO { '!' } else { ' ' };
    println!("with {settled} settled × without {ratio:>6.2}{mark} ({low:.2} to {high:.2})   wanted {WANTED_RATIO}");
    Ok(())
}

/// Answers at once, and counts.
struct Well(Arc<AtomicUsize>, mpsc::Sender<()>, usize);

impl Sink for Well {
    fn deliver(&mut self, _: &Parcel) -> Outcome {
        if self.0.fetch_add(1, Ordering::Relaxed) + 1 == self.2 {
            // The main thread waits for this, or has failed.
            let _ = self.1.send(());
        }
        Outcome::Done { receipt: Some("ok".to_owned()) }
    }
}

/// Dispatches settled a second.
fn drain(path: &Path, owed: usize, settled: i64) -> Result<f64, Failure> {
    let (store, threads) = Store::open(path, 0, Arc::new(SystemClock))?;
    if settled > 0 {
        fill(path, settled)?;
    }
    owe(&store, owed)?;
    let (stop, wakes): (Stop, Vec<Wake>) = (Stop::new(), (0..THREADS).map(|_| Wake::new()).collect());
    let lane = Lane::new(LaneParts {
        name: "well".to_owned(),
        retry: Retry {
            first: Duration::from_secs(5),
            factor: 3.0,
            cap: Duration::from_secs(3600),
            jitter: 0.2,
            give_up_after: Duration::from_secs(86_400),
        },
        portion: Portion::single(1),
        store: store.clone(),
        wakes: wakes.clone(),
        stop: stop.clone(),
        random: || 0.5,
        clock: Arc::new(SystemClock),
        meters: Arc::default(),
        on_down: Box::new(|| {}),
    });
    let (told, over) = mpsc::channel();
    let count = Arc::new(AtomicUsize::new(0));
    let start = Instant::now();
    let mut senders = Vec::new();
    for thread in 0..THREADS {
        let sink = Box::new(Well(count.clone(), told.clone(), owed));
        let sender = Sender { lane: lane.clone(), thread, sink };
        senders.push(spawn("sender", STACK_BYTES, move || sender.run())?);
    }
    over.recv_timeout(Duration::from_secs(300)).map_err(|_| "the queue does not drain")?;
    stop.tell();
    wakes.iter().for_each(Wake::wake);
    for sender in senders {
        sender.join().map_err(|_| "a sender panicked")?;
    }
    // The last settlements are written when their threads have ended.
    let took = start.elapsed();
    let left: usize = store.reader()?.queues()?.iter().map(|queue| usize::try_from(queue.waiting).unwrap_or(0)).sum();
    threads.stop(Duration::from_secs(30));
    if left > 0 {
        return Err(format!("{left} of {owed} are still owed").into());
    }
    Ok(owed as f64 / took.as_secs_f64())
}

/// Rows as they are left behind by what was delivered long ago.
fn fill(path: &Path, rows: i64) -> Result<(), Failure> {
    let database = Connection::open(path)?;
    database.busy_timeout(Duration::from_secs(60))?;
    database.execute_batch(&format!(
        "BEGIN;
         CREATE TEMP TABLE n AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows}) SELECT i FROM n;
         INSERT INTO delivery (id, source, provider, event_type, delivery_id, body_hash, received_ms, processed_ms, stage,
                               status, peer, verified_by, handled_by, durable_us)
             SELECT i, 'github', 'github', 'issues', 'old-' || i, i * 7919, 1700000000000 + i, 1700000000000 + i, 'routed',
                    'processed', '127.0.0.1', 1, '0.1.0', 900 FROM n;
         INSERT INTO event (id, delivery, position, kind, actor, repository, title, severity, subject, extra, rules)
             SELECT i, i, 0, 'issue_opened', 'ada', 'acme/api', 'Title ' || i, 'info', 'acme/api#' || i, '{{}}', '[]' FROM n;
         INSERT INTO dispatch (id, event, delivery, sink, state, attempts, next_ms, receipt, settled_ms, subject)
             SELECT i, i, i, 'well', 'done', 1, 1700000000000 + i, 'ok', 1700000000000 + i, 'acme/api#' || (i % 1000) FROM n;
         INSERT INTO attempt (dispatch, number, began_ms, took_ms, outcome, answer)
             SELECT i, 1, 1700000000000 + i, 20, 'done', 'ok' FROM n;
         COMMIT;"
    ))?;
    // What filling it has left in the log is not the queue's to move.
    database.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    Ok(())
}

/// Stores and routes so many deliveries of one event each, the way they come in.
fn owe(store: &Store, owed: usize) -> Result<(), Failure> {
    const DOORS: usize = 16;
    let doors: Vec<_> = (0..DOORS)
        .map(|door| {
            let store = store.clone();
            spawn("door", STACK_BYTES, move || {
                (door..owed)
                    .step_by(DOORS)
                    .try_for_each(|number| accept(&store, number).map_err(|error| error.to_string()))
            })
        })
        .collect::<Result<_, _>>()?;
    for door in doors {
        door.join().map_err(|_| "a door panicked")??;
    }
    let mut number = 0;
    loop {
        let claimed = store.claim_routable(64)?;
        if claimed.is_empty() {
            return if number == owed { Ok(()) } else { Err(format!("{number} of {owed} were routed").into()) };
        }
        let decided = claimed.into_iter().map(|routable| {
            number += 1;
            (routable, Decision::Routed { events: vec![routed(number / PER_SUBJECT)], note: None })
        });
        store.route(decided.collect()).map_err(|(error, _)| error)?;
    }
}

fn routed(subject: usize) -> Routed {
    let event = Event {
        kind: "issue_opened".to_owned(),
        source: "github".to_owned(),
        provider: "github".to_owned(),
        actor: "ada".to_owned(),
        repository: "acme/api".to_owned(),
        title: "Retry on 5xx and time-outs".to_owned(),
        url: Some("https://github.com/acme/api/issues/42".to_owned()),
        severity: Severity::Info,
        subject: Some(format!("acme/web#{subject}")),
        extra: Extra::new(),
        own_id: None,
    };
    Routed {
        event,
        to: vec![Target::of("well")],
        cue: None,
        rules: vec!["default".to_owned()],
        latch: Change::default(),
    }
}

fn accept(store: &Store, number: usize) -> Result<(), Failure> {
    let secret = Secret::new("secret".to_owned()).ok_or("an empty secret")?;
    let mut sample = sample::build(Provider::GitHub, "issue_opened", number as u64).ok_or("no such sample")?;
    sample.sign(Provider::GitHub, &Signing::new(&secret, "", Timestamp::from_ms(0)))?;
    let headers: Headers = sample.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    let request = Unverified { target: "/webhooks/github".to_owned(), headers, body: sample.body };
    let terms = Terms::new(Provider::GitHub, vec![secret]);
    let Ok(Verified::Delivery(delivery)) = provider::verify(&terms, request, Timestamp::from_ms(0)) else {
        return Err("the sample is not verified".into());
    };
    let arrival = Arrival {
        source: "github".to_owned(),
        peer: "127.0.0.1".to_owned(),
        repeats: Repeats::Process,
        repeat_window: Duration::from_secs(60),
        deadline: Instant::now() + Duration::from_secs(60),
    };
    store.accept(delivery, arrival)?;
    Ok(())
}
