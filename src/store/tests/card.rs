//! What is written to the card: counted, kept by the day, and not more because of the counting.

use super::*;

fn flash(fixture: &Fixture) -> Flash {
    let now = crate::time::Clock::wall(&*fixture.clock);
    fixture.store().reader().unwrap().flash(now, fixture.store().unsettled()).unwrap()
}

fn rows(fixture: &Fixture) -> Vec<(i64, i64)> {
    let database = Connection::open(&fixture.path).unwrap();
    let mut statement = database.prepare("SELECT day, deliveries FROM flash ORDER BY day").unwrap();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    rows.map(Result::unwrap).collect()
}

#[test]
fn deliveries_are_counted_and_survive_a_stop() {
    let mut fixture = Fixture::new();
    let body = r#"{"id":"a"}"#;
    fixture.accept("a", body);
    fixture.accept("a", body);
    let today = flash(&fixture).today;
    assert_eq!((today.deliveries, today.payload_bytes), (1, body.len() as i64), "a duplicate is not stored");
    fixture.reopen();
    let today = flash(&fixture).today;
    assert_eq!((today.deliveries, today.payload_bytes), (1, body.len() as i64));
    if flash::written().is_some() {
        assert!(today.written_bytes.is_some());
    }
}

#[test]
fn counting_makes_no_commit_of_its_own_and_none_larger_for_ten_minutes() {
    let fixture = Fixture::new();
    fixture.accept("a", "{}");
    fixture.accept("b", "[1]");
    let commits = fixture.store().commits();
    assert_eq!(rows(&fixture).len(), 1, "along with the first");
    let database = Connection::open(&fixture.path).unwrap();
    let version = || database.pragma_query_value(None, "data_version", |row| row.get::<_, i64>(0)).unwrap();
    let before = version();
    // Nothing to claim: a commit that writes nothing stays one.
    assert!(fixture.store().claim_routable(0).unwrap().is_empty());
    assert_eq!((fixture.store().commits(), version()), (commits, before));
    assert_eq!(fixture.store().unsettled().deliveries, 2);
    assert_eq!(flash(&fixture).today.deliveries, 2, "what is not written down yet is seen nevertheless");
}

#[test]
fn a_day_in_1970_does_not_stay() {
    let mut fixture = Fixture::new();
    // The day after this program was built: no clock that is right shows less.
    let day = crate::BUILT.ms() / 86_400_000 + 1;
    let noon = |day: i64| Timestamp::from_ms(day * 86_400_000 + 43_200_000);
    fixture.clock.step_to(noon(day));
    fixture.accept("known", "{}");
    fixture.reopen();
    // Without a battery, and the network is down for longer than the count stays in memory.
    fixture.clock.step_to(Timestamp::from_ms(100_000));
    fixture.accept("a", "[1]");
    fixture.reopen();
    assert_eq!(rows(&fixture), [(0, 1), (day, 1)], "no day is known, and none is made up");
    fixture.clock.step_to(noon(day + 3));
    fixture.accept("b", "[2]");
    fixture.reopen();
    assert_eq!(rows(&fixture), [(day, 1), (day + 3, 2)]);
    let flash = flash(&fixture);
    assert_eq!((flash.today.deliveries, flash.lately.deliveries), (2, 3));
    assert_eq!(flash.since, noon(day));
}

#[test]
fn a_pause_empties_a_large_log_and_leaves_a_small_one_alone() {
    let mut fixture = Fixture::new();
    fixture.store.take().unwrap().1.stop(Duration::from_secs(10));
    let pace = checkpoint::Pace {
        pause: Duration::from_millis(20),
        look_again: Duration::from_millis(20),
        small_log_age_max: Duration::from_secs(86_400),
    };
    fixture.store = Some(Store::open_at(&fixture.path, 0, fixture.clock.clone(), pace, OnDamage::Tell).unwrap());
    fixture.accept("small", "{}");
    let log = || beside(&fixture.path, "-wal").metadata().unwrap().len();
    let log_bytes = fixture.store().shared.log_bytes();
    assert!(log_bytes > 0 && log_bytes < checkpoint::LARGE_BYTES);
    let fill = |from: u64| {
        let mut number = from;
        while fixture.store().shared.log_bytes() < checkpoint::LARGE_BYTES && number < from + 1000 {
            fixture.accept(&format!("large-{number}"), &noise(number, 100_000));
            number += 1;
        }
        number
    };
    // A reader who has not finished holds it, and holds up nobody.
    let reader = Connection::open(&fixture.path).unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM delivery").unwrap();
    let next = fill(0);
    let start = Instant::now();
    fixture.accept("while it is held", "[1]");
    assert!(start.elapsed() < connection::BUSY_TIMEOUT, "{:?}", start.elapsed());
    assert!(log() > 0);
    reader.execute_batch("COMMIT").unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    while log() > 0 {
        assert!(Instant::now() < deadline, "the log keeps {} bytes", log());
        std::thread::yield_now();
    }
    assert_eq!(fixture.statuses().len(), 100.min(next as usize + 2));
    fixture.accept("small again", "[2]");
    assert!(fixture.store().shared.log_bytes() < 200_000, "it begins anew");
}

#[test]
fn a_file_that_cannot_shrink_is_pruned_without_asking_it_again_and_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("made-anew.db");
    // As `sqlite3 old.db .recover | sqlite3 new.db` makes it.
    let database = Connection::open(&path).unwrap();
    database.execute_batch("CREATE TABLE stays (x); PRAGMA user_version = 0").unwrap();
    drop(database);
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(Timestamp::from_ms(NEW_YEAR_MS)));
    let (store, threads) = Store::open(&path, 0, clock).unwrap();
    for number in 0..60 {
        store.accept(delivery(&number.to_string(), &noise(number, 30_000)), arrival(Repeats::Limit)).unwrap();
    }
    let claimed = store.claim_routable(1000).unwrap();
    let skipped = |routable| (routable, Decision::Skipped { events: Vec::new(), note: "nobody".to_owned() });
    store.route(claimed.into_iter().map(skipped).collect()).unwrap();
    let rounds = std::cell::Cell::new(0);
    let pruned = store.prune(None, 0, || {
        rounds.set(rounds.get() + 1);
        false
    });
    assert_eq!(pruned.unwrap().deliveries, 59);
    assert!(rounds.get() < 10, "{} rounds", rounds.get());
    let size = store.reader().unwrap().size().unwrap();
    assert!(!size.shrinks && size.used_bytes < 500_000, "{size:?}");
    threads.stop(Duration::from_secs(10));
    // A copy can.
    let copy = directory.path().join("copy.db");
    backup::backup(&path, &copy, false, 0, || false).unwrap();
    let copy = Connection::open(&copy).unwrap();
    assert!(prune::shrinks(&copy).unwrap());
}

/// Bytes that the kernel has counted for this process, and that the whole disk has taken (`DISK_STAT=/sys/block/…/stat`).
fn written() -> [i64; 2] {
    let disk = std::env::var("DISK_STAT").ok().and_then(|path| std::fs::read_to_string(path).ok());
    let sectors = disk.and_then(|disk| disk.split_whitespace().nth(6)?.parse::<i64>().ok());
    [flash::written().unwrap_or(0), sectors.unwrap_or(0) * 512]
}

/// Not a test: what a delivery costs the card, by when the log is emptied. `TMPDIR` on a file system of its own:
/// `DISK_STAT=/sys/block/loop0/stat TMPDIR=/mnt cargo test --lib what_a_delivery_costs -- --ignored --nocapture`
#[test]
#[ignore = "measures, and judges nothing"]
fn what_a_delivery_costs() {
    println!("emptied                       kernel    disk     log, a delivery");
    const KIB: u64 = 1024;
    for (name, every, from_bytes) in [
        ("at 16 MiB alone", u64::MAX, 0),
        ("after each delivery", 1, 0),
        ("after every 60", 60, 0),
        ("in a pause from 2 MiB", 1, 2048 * KIB),
        ("in a pause from 4 MiB", 1, 4096 * KIB),
        ("in a pause from 8 MiB", 1, 8192 * KIB),
    ] {
        let fixture = Fixture::new();
        let emptying = connection::checkpointing(&fixture.path).unwrap();
        let measure = |from: u64, deliveries: u64| {
            let before = written();
            let mut grown_bytes = 0;
            for number in from..from + deliveries {
                let log_before = fixture.store().shared.log_bytes();
                let id = number.to_string();
                fixture.accept(&id, &format!("{{\"id\":\"{id}\",\"pad\":\"{}\"}}", noise(number, 1500)));
                handle_accepted(&fixture, &id);
                let log_bytes = fixture.store().shared.log_bytes();
                grown_bytes += log_bytes.saturating_sub(log_before);
                let shared = &fixture.store().shared;
                if number % every == every - 1 && log_bytes >= from_bytes && checkpoint::empty(&emptying, shared) {
                    shared.log_is_empty();
                }
            }
            let after = written();
            let each = |at: usize| (after[at] - before[at]) / deliveries as i64;
            (each(0), each(1), grown_bytes / deliveries)
        };
        measure(0, 200);
        let (kernel, disk, log) = measure(200, 1000);
        println!("{name:28} {kernel:7} {disk:7} {log:7}");
    }
}

/// What follows an accepted delivery, with every commit: routed, and sent to two sinks.
fn handle_accepted(fixture: &Fixture, id: &str) {
    let claimed = fixture.store().claim_routable(100).unwrap();
    let sinks = ["slack", "bell"];
    let decided = claimed
        .into_iter()
        .map(|routable| (routable, Decision::Routed { events: vec![routed(id, &sinks)], note: None }))
        .collect();
    fixture.store().route(decided).unwrap();
    for sink in sinks {
        for claim in fixture.store().claim(sink, Portion::single(9)).unwrap().claims {
            fixture.store().settle(vec![(claim, Settlement::Done { receipt: Some("ok".to_owned()) })]).unwrap();
        }
    }
}
