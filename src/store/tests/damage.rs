//! Damaged files on a real disk: what counts as damage, that the file makes way wherever it ends, and what comes back of it.

use std::{collections::BTreeSet, fs, path::Path};

use super::*;
use crate::store::{
    connection::{self, BUSY_TIMEOUT},
    damage::{Step, set_aside_in_steps},
    import::Imported,
};

const NOW: Timestamp = Timestamp::from_ms(NEW_YEAR_MS);
const PAGE: usize = connection::PAGE_BYTES as usize;

/// Ends what runs, and leaves a file alone: everything is in it.
fn close(fixture: &mut Fixture) {
    fixture.store.take().unwrap().1.stop(Duration::from_secs(10));
}

fn refused(path: &Path) -> StoreError {
    match Store::serve(path, 0, Arc::new(ManualClock::new(NOW))) {
        Ok(_) => panic!("{} is opened", path.display()),
        Err(error) => error,
    }
}

fn aside(path: &Path) -> PathBuf {
    set_aside_in_steps(path, NOW, Duration::ZERO, &mut |_| ()).unwrap()
}

fn serve(fixture: &mut Fixture) {
    fixture.store = Some(Store::serve(&fixture.path, 0, fixture.clock.clone()).unwrap());
}

fn import(fixture: &Fixture, file: &Path) -> Imported {
    fixture.store().import(file, &|| ()).unwrap()
}

/// The page on which a table or an index begins, from 1.
fn root(path: &Path, name: &str) -> usize {
    let database = Connection::open(path).unwrap();
    let sql = "SELECT rootpage FROM sqlite_schema WHERE name = ?1";
    let page: i64 = database.query_row(sql, [name], |row| row.get(0)).unwrap();
    usize::try_from(page).unwrap()
}

fn spoil(path: &Path, page: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[(page - 1) * PAGE..page * PAGE].fill(0xa5);
    fs::write(path, bytes).unwrap();
}

/// `delivery_id` and body of all that is there.
fn held(path: &Path) -> BTreeSet<(Option<String>, Vec<u8>)> {
    let reader = Reader::open(path).unwrap();
    let rows = reader.list(&Filter { limit: 10_000, ..Filter::default() }).unwrap();
    rows.into_iter().map(|row| (row.delivery_id, reader.request(row.id).unwrap().unwrap().body)).collect()
}

#[test]
fn a_damaged_file_makes_way_and_is_kept_byte_for_byte() {
    let mut fixture = Fixture::new();
    fixture.accept("old", "{}");
    let first_name = fixture.store().installation().to_owned();
    close(&mut fixture);
    let whole = fs::read(&fixture.path).unwrap();
    let changed = |from: usize, to: usize| {
        let mut bytes = whole.clone();
        bytes[from..to].fill(0xa5);
        bytes
    };
    let cases = [
        ("the header", changed(0, 100)),
        ("the schema's page", changed(100, PAGE)),
        ("all of it", changed(0, whole.len())),
        ("the second half is missing", whole[..whole.len() / 2 / PAGE * PAGE].to_vec()),
        ("another program's", b"this is no database, and long enough to be seen as none".repeat(100)),
    ];
    let mut names = BTreeSet::from([first_name]);
    for (number, (case, bytes)) in cases.iter().enumerate() {
        fs::write(&fixture.path, bytes).unwrap();
        let error = refused(&fixture.path);
        assert!(error.is_damage(), "{case}: {error}");
        assert!(error.to_string().contains("begins a new one"), "{case}: {error}");
        let aside = aside(&fixture.path);
        assert!(fs::read(&aside).unwrap() == *bytes, "{case}");
        assert!(!fixture.path.exists(), "{case}");
        serve(&mut fixture);
        assert!(matches!(fixture.accept("new", "[1]"), Accepted::New { id: 1, .. }), "{case}");
        assert!(names.insert(fixture.store().installation().to_owned()), "{case}: it is another installation");
        // Several at one moment do not take each other's place.
        let lying = lying_aside(&fixture.path);
        assert_eq!(lying.len(), number + 1, "{case}: {lying:?}");
        assert!(lying.iter().any(|lies| lies.path == aside), "{case}");
        close(&mut fixture);
    }
}

#[test]
fn what_is_no_damage_stays() {
    let mut fixture = Fixture::new();
    fixture.accept("old", "{}");
    close(&mut fixture);
    let path = fixture.path.clone();

    let database = Connection::open(&path).unwrap();
    database.pragma_update(None, "user_version", migrate::VERSION + 1).unwrap();
    let error = refused(&path);
    assert!(!error.is_damage() && error.to_string().contains("newer"), "{error}");
    database.pragma_update(None, "user_version", migrate::VERSION).unwrap();

    database.pragma_update(None, "locking_mode", "EXCLUSIVE").unwrap();
    database.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let begun = Instant::now();
    let error = refused(&path);
    assert!(!error.is_damage() && error.to_string().contains("another program"), "{error}");
    assert!(begun.elapsed() >= BUSY_TIMEOUT);
    drop(database);

    let error = refused(path.parent().unwrap());
    assert!(!error.is_damage(), "a folder: {error}");
    let empty = path.with_file_name("empty.db");
    fs::write(&empty, "").unwrap();
    Store::serve(&empty, 0, fixture.clock.clone()).unwrap().1.stop(Duration::from_secs(10));
    assert!(lying_aside(&path).is_empty());
    fixture.open();
    assert!(matches!(fixture.accept("old", "{}"), Accepted::Duplicate { .. }));
}

#[test]
fn wherever_it_ends_the_old_log_never_meets_a_new_file() {
    let mut fixture = Fixture::new();
    fixture.accept("in the file", "{}");
    fixture.reopen();
    fixture.accept("in the log", "[1]");
    // As after a crash: what came last is in the log alone.
    let crashed = tempfile::tempdir().unwrap();
    let copy = |from: &Path, to: &Path| {
        for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    };
    copy(fixture.path.parent().unwrap(), crashed.path());
    close(&mut fixture);
    let database = crashed.path().join("hookbell.db");
    assert!(beside(&database, "-wal").metadata().unwrap().len() > 0);

    let mut ends = Vec::new();
    set_aside_in_steps(&database, NOW, Duration::ZERO, &mut |step| {
        let end = tempfile::tempdir().unwrap();
        copy(crashed.path(), end.path());
        ends.push((step, end));
    })
    .unwrap();
    let steps: Vec<Step> = ends.iter().map(|(step, _)| *step).collect();
    assert_eq!(steps, [Step::Marked, Step::Moved, Step::MovedBeside, Step::Unmarked]);
    for (step, end) in ends {
        let path = end.path().join("hookbell.db");
        if step != Step::Unmarked {
            // No command writes meanwhile, and the service knows what to do.
            let error = refused(&path);
            assert!(error.is_damage() && error.to_string().contains("marked"), "{step:?}: {error}");
            let error = Store::open(&path, 0, fixture.clock.clone()).err().unwrap();
            assert!(error.to_string().contains("start the service"), "{step:?}: {error}");
            set_aside_in_steps(&path, NOW.plus(Duration::from_secs(1)), Duration::ZERO, &mut |_| ()).unwrap();
        }
        let lying = lying_aside(&path);
        assert_eq!(lying.len(), 1, "{step:?}: {lying:?}");
        assert!(lying[0].path.ends_with("hookbell.db.damaged-20260101T000000000Z"), "{step:?}: {lying:?}");
        let (store, threads) = Store::serve(&path, 0, fixture.clock.clone()).unwrap();
        assert!(store.reader().unwrap().quick_check().unwrap().is_empty(), "{step:?}");
        assert!(held(&path).is_empty(), "{step:?}");
        let imported = store.import(&lying[0].path, &|| ()).unwrap();
        assert_eq!((imported.read, imported.stored, &imported.unreadable[..]), (2, 2, &[][..]), "{step:?}");
        assert!(beside(&lying[0].path, "-wal").metadata().unwrap().len() > 0, "{step:?}: its log is left as it is");
        threads.stop(Duration::from_secs(10));
    }
}

#[test]
fn a_mark_by_hand_counts_and_a_restore_takes_it_along() {
    let mut fixture = Fixture::new();
    fixture.accept("old", "{}");
    let copy = fixture.path.with_file_name("copy.db");
    backup(&fixture.path, &copy, false, 0, || false).unwrap();
    close(&mut fixture);
    fs::write(beside(&fixture.path, ".damaged"), "").unwrap();
    assert!(refused(&fixture.path).is_damage());
    let aside = aside(&fixture.path);
    assert!(!is_marked(&fixture.path) && aside.exists());
    fixture.open();
    fixture.accept("new", "[1]");
    close(&mut fixture);

    mark(&fixture.path, NOW).unwrap();
    let restored = restore(&fixture.path, &copy, NOW).unwrap();
    assert!(!is_marked(&fixture.path));
    assert_eq!(lying_aside(&fixture.path).len(), 2);
    assert!(restored.set_aside.unwrap().to_string_lossy().contains(".damaged-"));
    fixture.open();
    assert!(matches!(fixture.accept("old", "{}"), Accepted::Duplicate { .. }));
}

#[test]
fn a_writer_that_meets_damage_marks_it_and_ends() {
    let mut fixture = Fixture::new();
    fixture.accept("old", "{}");
    let first_name = fixture.store().installation().to_owned();
    close(&mut fixture);
    spoil(&fixture.path, root(&fixture.path, "delivery_identity"));

    // A command tells, and nothing more.
    fixture.open();
    let told = fixture.store().accept(delivery("new", "[1]"), arrival(Repeats::Limit)).unwrap_err();
    assert!(told.is_damage(), "{told}");
    assert!(!is_marked(&fixture.path));
    fixture.store().remember("still", "there".to_owned()).unwrap();
    close(&mut fixture);

    serve(&mut fixture);
    let (ended, is_ended) = mpsc::channel();
    fixture.store.as_ref().unwrap().1.when_ended(move || ended.send(()).unwrap());
    let told = fixture.store().accept(delivery("new", "[1]"), arrival(Repeats::Limit)).unwrap_err();
    assert!(told.is_damage(), "{told}");
    is_ended.recv_timeout(Duration::from_secs(30)).unwrap();
    let told = fixture.store().accept(delivery("new", "[1]"), arrival(Repeats::Limit)).unwrap_err();
    assert!(matches!(told, StoreError::Stopped), "{told}");
    assert!(is_marked(&fixture.path));
    close(&mut fixture);

    let aside = aside(&fixture.path);
    serve(&mut fixture);
    assert_ne!(fixture.store().installation(), first_name);
    assert!(matches!(fixture.accept("new", "[1]"), Accepted::New { id: 1, .. }));
    assert_eq!(import(&fixture, &aside).stored, 1, "only an index was damaged");
    assert_eq!(held(&fixture.path).len(), 2);
}

#[test]
fn what_a_check_has_found_is_kept_until_it_is_gone() {
    let mut fixture = Fixture::new();
    assert_eq!(fixture.store().damage(), None);
    fixture.store().note_damage(Some("row 7 is missing".to_owned())).unwrap();
    fixture.reopen();
    assert_eq!(fixture.store().damage().as_deref(), Some("row 7 is missing"));
    let reader = fixture.store().reader().unwrap();
    assert_eq!(reader.damage().unwrap().as_deref(), Some("row 7 is missing"));
    fixture.store().note_damage(None).unwrap();
    assert_eq!((reader.damage().unwrap(), fixture.store().damage()), (None, None));
}

/// Three hundred, a third of them done with, and some with bodies of several pages.
fn filled() -> Fixture {
    let mut fixture = Fixture::new();
    for number in 0..300_u64 {
        let length = if number % 10 == 0 { 9000 } else { 40 };
        fixture.accept(&format!("old-{number}"), &noise(number, length));
    }
    let claimed = fixture.store().claim_routable(100).unwrap();
    let skipped = |routable| (routable, Decision::Skipped { events: Vec::new(), note: "nobody".to_owned() });
    fixture.store().route(claimed.into_iter().map(skipped).collect()).unwrap();
    close(&mut fixture);
    fixture
}

#[test]
fn all_that_can_be_read_comes_back_and_a_second_time_nothing() {
    let fixture = filled();
    let whole = fs::read(&fixture.path).unwrap();
    let pages = whole.len() / PAGE;
    let expected = held(&fixture.path);
    let (delivery_root, body_root) = (root(&fixture.path, "delivery"), root(&fixture.path, "body"));
    let (mut lost, mut described) = (0, 0);
    // Each ninth page; and those from which everything hangs.
    for page in (2..=pages).step_by(9).chain([delivery_root, body_root]) {
        let old = fixture.path.with_file_name(format!("old-{page}.db"));
        fs::write(&old, &whole).unwrap();
        spoil(&old, page);
        let spoiled = fs::read(&old).unwrap();
        // What SQLite itself can find by one id, all of its bytes.
        let readable: BTreeSet<i64> = {
            let database = Connection::open(&old).unwrap();
            let find = "SELECT length(hex(bytes)) + length(source) + length(notes) + length(headers) + length(sha256) + length(target)
                        FROM delivery CROSS JOIN body ON body.delivery = delivery.id WHERE delivery.id = ?1";
            let is_readable = |id: &i64| database.query_row(find, [id], |row| row.get::<_, i64>(0)).is_ok();
            (1..=300).filter(is_readable).collect()
        };
        fs::write(&old, &spoiled).unwrap();
        for ending in ["-wal", "-shm"] {
            drop(fs::remove_file(beside(&old, ending)));
        }
        let mut new = Fixture::new();
        let imported = match new.store().import(&old, &|| ()) {
            Ok(imported) => imported,
            Err(error) => {
                // One of those that say where everything stands: twenty kilobytes of text, of a few hundred pages.
                assert!(readable.is_empty() && error.to_string().contains("first pages"), "{error}");
                described += 1;
                continue;
            }
        };
        let passed_over: BTreeSet<i64> = imported.unreadable.iter().flat_map(|(from, to)| *from..=*to).collect();
        let brought: BTreeSet<i64> = (1..=300).filter(|id| !passed_over.contains(id)).collect();
        assert_eq!(imported.stored, imported.read, "page {page}");
        assert_eq!(imported.stored, brought.len() as u64, "page {page}: {:?}", imported.unreadable);
        // A body whose bytes are not what was proven is found by the check of its hash alone. Where the words for another table
        // are damaged SQLite itself reads nothing.
        assert!(
            readable.is_empty() || brought.is_subset(&readable),
            "page {page}: {:?}",
            brought.difference(&readable)
        );
        let missing = readable.difference(&brought).count();
        assert!(missing <= 1, "page {page}: {missing} that can be read are not there: {:?}", imported.unreadable);
        let now_held = held(&new.path);
        assert!(now_held.is_subset(&expected), "page {page}: byte for byte");
        assert_eq!(now_held.len(), brought.len(), "page {page}");
        lost += passed_over.len();

        let again = import(&new, &old);
        assert_eq!((again.stored, again.to_route, again.read), (0, 0, imported.read), "page {page}");
        new.reopen();
        assert_eq!(import(&new, &old).stored, 0, "page {page}");
        assert!(fs::read(&old).unwrap() == spoiled, "page {page}: it was changed");
        assert!(!beside(&old, "-wal").exists() && !beside(&old, "-shm").exists(), "page {page}");
    }
    assert!(lost > 0, "no damage did any harm");
    assert!(described <= 3, "{described} of {pages} pages take everything along");

    // A header takes all of it along, which is said with what helps.
    let old = fixture.path.with_file_name("headless.db");
    fs::write(&old, &whole).unwrap();
    spoil(&old, 1);
    let new = Fixture::new();
    let error = new.store().import(&old, &|| ()).unwrap_err().to_string();
    assert!(error.contains("first pages"), "{error}");
    // What is cut off is read as far as it goes.
    fs::write(&old, &whole[..pages / 2 * PAGE]).unwrap();
    let imported = import(&new, &old);
    assert!(imported.stored > 0 && !imported.unreadable.is_empty(), "{imported:?}");
}

#[test]
fn what_was_done_with_is_done_with_and_the_rest_is_routed() {
    let fixture = filled();
    let mut new = Fixture::new();
    new.clock.pass(Duration::from_secs(3600));
    // Held already, in the one way and in the other.
    new.accept("old-3", &noise(3, 40));
    new.accept("new", "[1]");
    let imported = import(&new, &fixture.path);
    assert_eq!((imported.read, imported.stored, imported.to_route), (300, 299, 200));
    let database = Connection::open(&new.path).unwrap();
    let count = |sql: &str| -> i64 { database.query_row(sql, [], |row| row.get(0)).unwrap() };
    assert_eq!(count("SELECT count(*) FROM delivery WHERE status = 'skipped' AND stage = 'routed'"), 99);
    assert_eq!(count("SELECT count(*) FROM delivery WHERE stage = 'new'"), 202);
    let imported = format!("notes LIKE '%imported from hookbell.db%' AND received_ms = {NEW_YEAR_MS}");
    assert_eq!(count(&format!("SELECT count(*) FROM delivery WHERE {imported}")), 299, "received when it was");
    assert_eq!(count("SELECT count(*) FROM delivery WHERE sent_ms = received_ms"), 200, "it can be overtaken");
    assert_eq!(count("SELECT count(*) FROM delivery WHERE origin = 'webhook' AND verified_by = 1"), 301);
    let mut routable = new.store().claim_routable(1000).unwrap();
    routable.retain(|routable| routable.id > 2);
    assert_eq!(routable.len(), 200);
    let (headers, body) = routable[0].content().unwrap();
    assert_eq!(headers.text("X-GitHub-Delivery"), Some("old-100"));
    assert_eq!(body, noise(100, 9000).as_bytes());
    new.reopen();
    assert_eq!(import(&new, &fixture.path).stored, 0);
}

#[test]
fn an_older_version_s_and_what_has_no_id_come_in_once() {
    let directory = tempfile::tempdir().unwrap();
    let old = directory.path().join("a name with ?#% and ü.db");
    let database = Connection::open(&old).unwrap();
    database.execute_batch(include_str!("../schema.sql")).unwrap();
    database.execute_batch("PRAGMA user_version = 1").unwrap();
    for id in 1..=3_i64 {
        let (body, received) = (b"{}", NEW_YEAR_MS + id / 2);
        database
            .execute(
                "INSERT INTO delivery (id, source, provider, event_type, delivery_id, body_hash, received_ms, stage, status,
                                       peer, verified_by, notes)
                 VALUES (?1, 'shop', 'generic', 'x', NULL, 7, ?2, 'new', 'unprocessed', '', 1, '[]')",
                [id, received],
            )
            .unwrap();
        database
            .execute(
                "INSERT INTO body (delivery, sha256, headers, raw_bytes, codec, bytes) VALUES (?1, ?2, '[]', 2, 'raw', ?3)",
                rusqlite::params![id, provider::body_sha256(body), body],
            )
            .unwrap();
    }
    drop(database);
    let new = Fixture::new();
    let imported = import(&new, &old);
    // The second and the third are one: the same bytes at the same moment.
    assert_eq!((imported.read, imported.stored, imported.to_route), (3, 2, 2));
    assert_eq!(import(&new, &old).stored, 0);
    assert_eq!(held(&new.path).len(), 1, "equal bytes at two moments");

    let error = new.store().import(&directory.path().join("absent.db"), &|| ()).unwrap_err().to_string();
    assert!(error.contains("No such file"), "{error}");
    let other = directory.path().join("other.db");
    Connection::open(&other).unwrap().execute_batch("CREATE TABLE delivery (id INTEGER PRIMARY KEY)").unwrap();
    let error = new.store().import(&other, &|| ()).unwrap_err().to_string();
    assert!(error.contains("no such column"), "{error}");
    let newer = Connection::open(&old).unwrap();
    newer.pragma_update(None, "user_version", migrate::VERSION + 1).unwrap();
    drop(newer);
    assert!(new.store().import(&old, &|| ()).unwrap_err().to_string().contains("newer hookbell"));
}
