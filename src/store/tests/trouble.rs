//! What goes wrong: a writer that dies, a disk that does not answer, rows that nobody has written, files that will not do.

use std::{
    fs,
    path::Path,
    sync::{Mutex, atomic::AtomicBool, atomic::Ordering},
};

use super::*;
use crate::{
    bell::{Keeper, Mute},
    store::{
        backup::backup,
        restore::restore,
        writer::{Class, Durability, Terms},
    },
};

const SOON: Duration = Duration::from_secs(10);

/// Holds the writer within a commit until it is let go, and says when it is there.
fn hold(store: &Store, then: impl Fn() + Send + 'static) -> (mpsc::Sender<()>, writer::Ticket<()>) {
    let ((release, held), (begun, begin)) = (mpsc::channel::<()>(), mpsc::channel::<()>());
    let held = Mutex::new(held);
    let stuck = store.submit(inbox::settling(Durability::Full), move |_, _| {
        begun.send(()).unwrap();
        held.lock().unwrap().recv().unwrap();
        then();
        Ok(())
    });
    begin.recv().unwrap();
    (release, stuck.unwrap())
}

fn open(path: &Path) -> Result<(Store, StoreThreads), StoreError> {
    Store::open(path, 0, Arc::new(ManualClock::new(Timestamp::from_ms(NEW_YEAR_MS))))
}

fn why<T>(result: Result<T, StoreError>) -> String {
    result.err().expect("it is refused").to_string()
}

#[test]
fn of_what_is_committed_the_store_hears_before_who_waits() {
    let fixture = Fixture::new();
    let submit = |fails: bool| {
        let (told, heard) = mpsc::channel();
        let job = move |_: &Connection, _: Timestamp| match fails {
            true => Err(rusqlite::Error::InvalidQuery),
            false => Ok(7),
        };
        let committed = move |value: &i32| told.send(*value).unwrap();
        let ticket = fixture.store().shared.submit_then(inbox::settling(Durability::Full), job, committed).unwrap();
        (ticket.wait(SOON).is_ok(), heard.try_recv().ok())
    };
    assert_eq!((submit(false), submit(true)), ((true, Some(7)), (false, None)));
    // So whoever routes it knows how long it took.
    let accepted = fixture.accept("1", "{}");
    let Accepted::New { id, .. } = accepted else { panic!("{accepted:?}") };
    assert!(fixture.store().arrivals.durable_us(id).is_some());
}

#[test]
fn each_error_says_what_to_do() {
    let of_sqlite =
        |code| StoreError::database("commit")(rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None));
    for (error, part) in [
        (of_sqlite(rusqlite::ffi::SQLITE_FULL), "free some space"),
        (of_sqlite(rusqlite::ffi::SQLITE_BUSY), "another program holds the database"),
        (of_sqlite(rusqlite::ffi::SQLITE_READONLY), "must be writable by the user"),
        (of_sqlite(rusqlite::ffi::SQLITE_CORRUPT), "sets it aside"),
        (of_sqlite(rusqlite::ffi::SQLITE_MISMATCH), "cannot commit: "),
        (StoreError::QueueFull, "too much waits"),
        (StoreError::TooSlow { waited: Duration::from_millis(1500) }, "within 1.5 s"),
        (StoreError::Stopped, "is stopping"),
        (StoreError::Corrupt { what: "a body".to_owned() }, "not readable: a body"),
    ] {
        assert!(error.to_string().contains(part), "{error}");
    }
}

#[test]
fn a_writer_that_dies_leaves_nobody_waiting() {
    let mut fixture = Fixture::new();
    let (store, threads) = fixture.store.take().unwrap();
    let has_ended = Arc::new(AtomicBool::new(false));
    let told = has_ended.clone();
    threads.when_ended(move || told.store(true, Ordering::Relaxed));
    let (release, _lost) = hold(&store, || panic!("as asked"));
    let waiting = store.submit(inbox::settling(Durability::Full), |_, _| Ok(())).unwrap();
    release.send(()).unwrap();
    assert!(matches!(waiting.wait(SOON), Err(StoreError::Stopped)));
    assert!(matches!(store.accept(delivery("a", "{}"), arrival(Repeats::Limit)), Err(StoreError::Stopped)));
    threads.stop(SOON);
    assert!(has_ended.load(Ordering::Relaxed), "nobody was told");
    // What nobody waits for is given up without a word to anybody but the log.
    store.note_shown(&[1], Timestamp::from_ms(0));
    store.forget(&[1]);
    store.keep_mute(Some(Mute { until: Timestamp::from_ms(0), asked: SOON }));
    drop(store);
    fixture.open();
    assert!(fixture.statuses().is_empty());
}

#[test]
fn a_stalled_commit_is_told_and_holds_up_neither_the_door_nor_the_end() {
    let mut fixture = Fixture::new();
    let (store, threads) = fixture.store.take().unwrap();
    let (release, stuck) = hold(&store, || ());
    let trouble = store.shared.trouble(Duration::ZERO).expect("it is stuck");
    assert!(trouble.starts_with("storage stalled: a commit has been running for "), "{trouble}");
    let waits = |bytes, deadline| {
        let terms = Terms { class: Class::Accept, durability: Durability::Full, bytes, deadline };
        store.submit(terms, |_, _| Ok(())).map(|_| ())
    };
    const ALL_BYTES: usize = 64 * 1024 * 1024;
    // One that nobody waits for any more makes room.
    waits(ALL_BYTES, Some(Instant::now())).unwrap();
    waits(ALL_BYTES, None).unwrap();
    assert!(matches!(waits(1, None), Err(StoreError::QueueFull)));
    let start = Instant::now();
    threads.stop(Duration::ZERO);
    assert!(start.elapsed() < SOON);
    release.send(()).unwrap();
    stuck.wait(SOON).unwrap();
}

#[test]
fn one_bad_job_fails_none_of_its_neighbours() {
    let fixture = Fixture::new();
    let store = fixture.store();
    let (release, stuck) = hold(store, || ());
    // All in one batch, because the writer is held.
    let jobs: Vec<_> = (0..7)
        .map(|number: i64| {
            let terms = Terms { class: Class::Accept, durability: Durability::Full, bytes: 1, deadline: None };
            let job = move |connection: &Connection, _| match number {
                0 | 1 | 4 => connection.execute("INSERT INTO meta (key, value) VALUES (NULL, NULL)", []),
                _ => connection.execute("INSERT INTO meta (key, value) VALUES (?1, 'x')", [format!("job {number}")]),
            };
            store.submit(terms, job).unwrap()
        })
        .collect();
    release.send(()).unwrap();
    stuck.wait(SOON).unwrap();
    let done: Vec<bool> = jobs.into_iter().map(|job| job.wait(SOON).is_ok()).collect();
    assert_eq!(done, [false, false, true, true, false, true, true]);
    let reader = Connection::open(&fixture.path).unwrap();
    let sql = "SELECT count(*) FROM meta WHERE key LIKE 'job %'";
    assert_eq!(reader.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap(), 4);
}

#[test]
fn a_log_that_grows_too_large_is_moved_at_once() {
    let fixture = Fixture::new();
    // More than the writer lets it grow to, in one commit.
    let large = |connection: &Connection, _| {
        connection.execute("INSERT INTO meta (key, value) VALUES ('large', hex(randomblob(35000000)))", []).map(|_| ())
    };
    fixture.store().submit(inbox::settling(Durability::Full), large).unwrap().wait(SOON * 6).unwrap();
    fixture.accept("a", "{}");
    // By the writer, unless the checkpoint thread is at it.
    let start = Instant::now();
    while fixture.path.metadata().unwrap().len() <= 64 * 1024 * 1024 {
        assert!(start.elapsed() < SOON * 6, "it is not moved");
        std::thread::yield_now();
    }
}

#[test]
fn after_an_error_of_the_disk_nothing_is_committed_before_the_log_is_begun_anew() {
    let fixture = Fixture::new();
    fixture.accept("a", "{}");
    let reader = Connection::open(&fixture.path).unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM delivery").unwrap();
    fixture.accept("b", "[1]");
    let failed = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_IOERR_FSYNC);
    fixture.store().shared.note_failure(&rusqlite::Error::SqliteFailure(failed, None));
    // Who reads holds the log, longer than anybody waits.
    let told = fixture.store().accept(delivery("c", "[2]"), arrival(Repeats::Limit)).unwrap_err().to_string();
    assert!(told.contains("begin the write-ahead log anew"), "{told}");
    reader.execute_batch("COMMIT").unwrap();
    let before = fixture.store().shared.log_bytes();
    fixture.accept("c", "[2]");
    assert!(fixture.store().shared.log_bytes() < before, "it begins anew");
}

#[test]
fn rows_that_nobody_has_written_are_an_error_of_their_own() {
    let fixture = Fixture::new();
    for id in ["a", "b", "c"] {
        fixture.owe(id, &["slack"]);
    }
    fixture.accept("d", "[4]");
    let other = Connection::open(&fixture.path).unwrap();
    other
        .execute_batch(
            "PRAGMA ignore_check_constraints = ON; UPDATE event SET severity = 'purple' WHERE delivery = 1; UPDATE event SET extra = '{' WHERE delivery = 2;
             DELETE FROM body WHERE delivery = 4",
        )
        .unwrap();
    let claimed = fixture.store().claim("slack", Portion::single(10)).unwrap().claims;
    let said: Vec<String> = claimed
        .iter()
        .map(|claim| match &claim.parcel {
            Ok(parcel) => parcel.event.title.clone(),
            Err(error) => error.to_string(),
        })
        .collect();
    assert!(said[0].contains("unknown severity \"purple\""), "{said:?}");
    assert!(said[1].contains("an event's extra facts"), "{said:?}");
    assert_eq!(said[2], "c", "its neighbours are whole");
    let routable = fixture.store().claim_routable(10).unwrap().remove(0);
    assert!(why(routable.content()).contains("a delivery without its body"));
}

#[test]
fn routing_again_after_an_unknown_outcome_changes_nothing() {
    let fixture = Fixture::new();
    fixture.accept("a", "{}");
    let store = fixture.store();
    let stale = store.claim_routable(10).unwrap();
    // The process that claimed it is gone, and the next one has it now.
    store.begin_work(waits(Duration::from_secs(3600))).unwrap();
    let held = store.claim_routable(10).unwrap();
    let dead = |claimed: Vec<Routable>, reason: &str| {
        let decision = Decision::Dead { reason: reason.to_owned() };
        claimed.into_iter().map(|routable| (routable, decision.clone())).collect()
    };
    store.route(dead(stale, "too late")).unwrap();
    assert_eq!(fixture.statuses(), ["unprocessed"]);
    store.route(dead(held, "in time")).unwrap();
    let story = store.reader().unwrap().show(1).unwrap().unwrap();
    assert_eq!((fixture.statuses(), story.row.notes), (vec!["dead_letter".to_owned()], serde_json::json!(["in time"])));
    // What was never sent to any sink says itself why.
    let lately = store.reader().unwrap().lately(Timestamp::from_ms(NEW_YEAR_MS)).unwrap();
    assert_eq!(lately.source_errors.get("github").map(String::as_str), Some("in time"));
}

#[test]
fn a_file_that_cannot_keep_the_promise_is_refused_with_its_remedy() {
    assert!(why(open(Path::new(":memory:"))).contains("does not take a write-ahead log"));
    let directory = tempfile::tempdir().unwrap();
    assert!(why(open(directory.path())).contains("must be writable by this user"));
    assert!(why(Reader::open(directory.path())).contains("cannot open the database"));
    let held = directory.path().join("held.db");
    let other = Connection::open(&held).unwrap();
    other.execute_batch("CREATE TABLE t (x); BEGIN EXCLUSIVE").unwrap();
    assert!(why(open(&held)).contains("another program holds it"));
    drop(other);
    let keyless = Fixture::new();
    Connection::open(&keyless.path).unwrap().execute("UPDATE meta SET value = '' WHERE key = 'own_key'", []).unwrap();
    assert!(why(open(&keyless.path)).contains("its own key is empty"));
}

#[test]
fn who_only_reads_is_told_about_another_version() {
    let directory = tempfile::tempdir().unwrap();
    for (version, part) in [(1, "start `hookbell run` once"), (99, "newer hookbell")] {
        let path = directory.path().join(format!("{version}.db"));
        let database = Connection::open(&path).unwrap();
        database.execute_batch(include_str!("../schema.sql")).unwrap();
        database.pragma_update(None, "user_version", version).unwrap();
        drop(database);
        let refused = why(Reader::open(&path));
        assert!(refused.contains(part), "{refused}");
    }
}

#[test]
fn a_copy_that_cannot_be_made_is_refused_with_the_reason() {
    let mut fixture = Fixture::new();
    for number in 0..20 {
        fixture.accept(&number.to_string(), &noise(number, 20_000));
    }
    let beside = |name: &str| fixture.path.with_file_name(name);
    let refused = |target: &Path, spare| why(backup(&fixture.path, target, false, spare, || false));
    let roomless = refused(&beside("copy.db"), u64::MAX);
    assert!(roomless.contains("MiB are needed") && roomless.contains("are free"), "{roomless}");
    fs::write(beside("file"), "").unwrap();
    assert!(refused(&beside("file").join("copy.db"), 0).contains("Not a directory"));
    let copy = beside("copy.db");
    backup(&fixture.path, &copy, false, 0, || false).unwrap();
    let elsewhere = beside("file").join("hookbell.db");
    assert!(why(restore(&elsewhere, &copy, Timestamp::from_ms(NEW_YEAR_MS))).contains("Not a directory"));

    fixture.store.take().unwrap().1.stop(SOON);
    let mut broken = fs::read(&fixture.path).unwrap();
    let middle = broken.len() / 2;
    broken[middle..middle + 16 * 4096].fill(0xa5);
    fs::write(&fixture.path, broken).unwrap();
    let malformed = refused(&beside("second.db"), 0);
    assert!(malformed.contains("malformed"), "{malformed}");
    assert!(!beside("second.db").exists());
}

#[test]
fn a_step_of_the_clock_that_another_process_has_written_is_not_written_again() {
    let fixture = Fixture::new();
    let (other, threads) = Store::open(&fixture.path, 0, fixture.clock.clone()).unwrap();
    fixture.accept("a", "{}");
    let day = Duration::from_secs(86_400);
    fixture.clock.step_to(Timestamp::from_ms(NEW_YEAR_MS).plus(day));
    fixture.accept("b", "[1]");
    other.accept(delivery("c", "[2]"), arrival(Repeats::Limit)).unwrap();
    threads.stop(SOON);
    let rows = fixture.store().reader().unwrap().list(&Filter { limit: 10, ..Filter::default() }).unwrap();
    let came: Vec<Timestamp> = rows.iter().map(|row| row.received_at).collect();
    assert_eq!(came, [Timestamp::from_ms(NEW_YEAR_MS).plus(day); 3]);
}

#[test]
fn an_event_of_our_own_is_noted_once() {
    let fixture = Fixture::new();
    let event = Event::of("storage_failing");
    assert_eq!(fixture.store().note_own(&event, "one".to_owned()).unwrap(), Some(1));
    assert_eq!(fixture.store().note_own(&event, "one".to_owned()).unwrap(), None);
    assert_eq!(fixture.store().note_own(&event, "two".to_owned()).unwrap(), Some(2));
}

#[test]
fn whatever_a_question_finds_is_shown() {
    let fixture = Fixture::new();
    fixture.accept("a", "{}");
    fixture.clock.pass(Duration::from_secs(60));
    fixture.accept("b", "[1]");
    let reader = fixture.store().reader().unwrap();
    let until = Some(Timestamp::from_ms(NEW_YEAR_MS + 1));
    let earlier = reader.list(&Filter { limit: 10, until, ..Filter::default() }).unwrap();
    assert_eq!(earlier.iter().map(|row| row.id).collect::<Vec<_>>(), [1]);
    let original = |delivery| crate::sink::Originals::body(&reader, delivery).unwrap();
    assert_eq!((original(2).as_deref(), original(3)), (Some(&b"[1]"[..]), None));
    let mut shown = Vec::new();
    reader
        .sql("SELECT NULL AS n, 1.5, x'00ff', 'x', 7", |names, row| shown.push((names[0].clone(), row.to_vec())))
        .unwrap();
    let row = [serde_json::json!(null), serde_json::json!(1.5), "00ff".into(), "x".into(), 7.into()];
    assert_eq!(shown, [("n".to_owned(), row.to_vec())]);
}
