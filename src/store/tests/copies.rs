//! Backups and restores on real files: whole or not there, whatever is going on, and wherever it ends.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

use super::*;
use crate::store::{
    backup::backup,
    restore::{Step, restore, restore_in_steps},
};

const NOW: Timestamp = Timestamp::from_ms(NEW_YEAR_MS);

fn never() -> bool {
    false
}

/// Every file beside the database, by name.
fn names(fixture: &Fixture) -> Vec<String> {
    let entries = fs::read_dir(fixture.path.parent().unwrap()).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| !name.ends_with(".lock"));
    names.sort();
    names
}

fn ids(path: &Path) -> Vec<String> {
    let database = Connection::open(path).unwrap();
    let mut statement = database.prepare("SELECT delivery_id FROM delivery ORDER BY id").unwrap();
    let rows = statement.query_map([], |row| row.get(0)).unwrap();
    rows.map(Result::unwrap).collect()
}

/// Ends the service, so that the database may be replaced.
fn close(fixture: &mut Fixture) {
    fixture.store.take().unwrap().1.stop(Duration::from_secs(10));
}

fn at(fixture: &Fixture, name: &str) -> PathBuf {
    fixture.path.with_file_name(name)
}

#[test]
fn a_backup_is_one_file_for_its_owner_alone_and_never_overwrites_by_itself() {
    let fixture = Fixture::new();
    fixture.owe("a", &["slack"]);
    let target = at(&fixture, "copy.db");
    let contents = backup(&fixture.path, &target, false, 0, never).unwrap();
    assert_eq!((contents.deliveries, contents.newest), (1, Some(NOW)));
    assert_eq!(contents.bytes, target.metadata().unwrap().len());
    assert_eq!(target.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(names(&fixture), ["copy.db", "hookbell.db", "hookbell.db-shm", "hookbell.db-wal"]);
    assert_eq!(ids(&target), ["a"]);
    assert_eq!(names(&fixture).len(), 4, "looking into it makes no log");

    fixture.accept("b", "[1]");
    let again = |overwrite| backup(&fixture.path, &target, overwrite, 0, never);
    let refused = again(false).unwrap_err().to_string();
    assert!(refused.contains("exists already") && refused.contains("--force"), "{refused}");
    assert_eq!(ids(&target), ["a"]);
    assert_eq!(again(true).unwrap().deliveries, 2);
    assert_eq!(ids(&target), ["a", "b"]);
}

#[test]
fn a_backup_is_refused_where_it_would_do_harm() {
    let fixture = Fixture::new();
    let refused = |target: &Path| backup(&fixture.path, target, true, 0, never).unwrap_err().to_string();
    let folder = fixture.path.parent().unwrap();
    for own in ["hookbell.db", "hookbell.db-wal", "hookbell.db-journal"] {
        assert!(refused(&folder.join(own)).contains("the database itself"), "{own}: {}", refused(&folder.join(own)));
    }
    std::os::unix::fs::symlink(folder, folder.join("other")).unwrap();
    assert!(refused(&folder.join("other/hookbell.db")).contains("the database itself"));
    assert!(refused(folder).contains("is a directory"));
    assert!(refused(&folder.join("none/copy.db")).contains("its folder"));
    let absent = backup(&folder.join("absent.db"), &folder.join("copy.db"), true, 0, never).unwrap_err();
    assert!(absent.to_string().contains("no such file"), "{absent}");
    fixture.accept("still here", "{}");
}

#[test]
fn a_backup_that_ends_early_leaves_nothing_and_the_next_sweeps_what_a_crash_left() {
    let fixture = Fixture::new();
    for number in 0..20 {
        fixture.accept(&number.to_string(), &noise(number, 20_000));
    }
    let target = at(&fixture, "copy.db");
    let interrupted = backup(&fixture.path, &target, false, 0, || true).unwrap_err();
    assert!(interrupted.to_string().contains("interrupted"), "{interrupted}");
    assert!(names(&fixture).iter().all(|name| name.starts_with("hookbell.db")), "{:?}", names(&fixture));
    fs::write(at(&fixture, ".hookbell-crash.partial"), "half").unwrap();
    fs::write(at(&fixture, ".hookbell-mine.txt"), "not ours").unwrap();
    backup(&fixture.path, &target, false, 0, never).unwrap();
    let left = names(&fixture);
    assert!(!left.iter().any(|name| name.ends_with(".partial")), "{left:?}");
    assert!(left.contains(&".hookbell-mine.txt".to_owned()), "{left:?}");
}

#[test]
fn a_backup_is_one_moment_while_the_service_writes() {
    let fixture = Fixture::new();
    for number in 0..30 {
        fixture.owe(&format!("before-{number}"), &["slack"]);
    }
    let is_done = Arc::new(AtomicBool::new(false));
    let (store, told) = (fixture.store().clone(), is_done.clone());
    let busy = threads::spawn("sender", threads::STACK_BYTES, move || {
        let mut number = 0;
        while !told.load(Ordering::Relaxed) {
            store
                .accept(delivery(&format!("meanwhile-{number}"), &noise(number, 5000)), arrival(Repeats::Limit))
                .unwrap();
            number += 1;
        }
        number
    })
    .unwrap();
    let mut last = 0;
    for round in 0..5 {
        let target = at(&fixture, &format!("copy-{round}.db"));
        let contents = backup(&fixture.path, &target, false, 0, never).unwrap();
        let copied = ids(&target);
        assert_eq!(copied.len() as i64, contents.deliveries);
        let bodies: i64 =
            Connection::open(&target).unwrap().query_row("SELECT count(*) FROM body", [], |row| row.get(0)).unwrap();
        assert_eq!(bodies, contents.deliveries, "each with its body");
        assert!(contents.deliveries >= last);
        last = contents.deliveries;
    }
    is_done.store(true, Ordering::Relaxed);
    assert!(busy.join().unwrap() > 0);
}

#[test]
fn a_restore_brings_back_what_was_and_keeps_what_is() {
    let mut fixture = Fixture::new();
    fixture.owe("kept", &["slack"]);
    let held = fixture.store().claim("slack", Portion::single(1)).unwrap().claims.remove(0);
    let first_name = fixture.store().installation().to_owned();
    let reference = |claimed: Claimed| claimed.claims[0].parcel.as_ref().unwrap().reference.clone();
    let copy = at(&fixture, "copy.db");
    backup(&fixture.path, &copy, false, 0, never).unwrap();
    fixture.store().settle(vec![(held, Settlement::Done { receipt: None })]).unwrap();
    fixture.owe("later", &["slack"]);
    let later = reference(fixture.store().claim("slack", Portion::single(1)).unwrap());
    assert_eq!(later, format!("{first_name}-2-0-0"));
    close(&mut fixture);
    fs::set_permissions(&fixture.path, fs::Permissions::from_mode(0o640)).unwrap();

    let restored = restore(&fixture.path, &copy, NOW).unwrap();
    assert_eq!(restored.contents.deliveries, 1);
    let aside = restored.set_aside.unwrap();
    assert!(aside.ends_with("hookbell.db.before-restore-20260101T000000000Z"), "{}", aside.display());
    assert_eq!(ids(&aside), ["kept", "later"]);
    assert_eq!(fixture.path.metadata().unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(names(&fixture), ["copy.db", "hookbell.db", "hookbell.db.before-restore-20260101T000000000Z"]);

    fixture.open();
    assert!(!fixture.store().begin_work(waits(Duration::from_secs(60))).unwrap(), "nothing has crashed");
    // What is owed still goes out under the id that it had, what comes now under no id that there ever was.
    let owed = reference(fixture.store().claim("slack", Portion::single(1)).unwrap());
    assert_eq!(owed, format!("{first_name}-1-0-0"));
    fixture.owe("other", &["bell"]);
    let other = reference(fixture.store().claim("bell", Portion::single(1)).unwrap());
    assert!(other.ends_with("-2-0-0") && other != later, "{other}");

    // And back.
    close(&mut fixture);
    let back = restore(&fixture.path, &aside, NOW.plus(Duration::from_secs(1))).unwrap();
    assert_eq!(back.contents.deliveries, 2);
    assert_eq!(ids(&fixture.path), ["kept", "later"]);
    assert_eq!(ids(&back.set_aside.unwrap()), ["kept", "other"]);
}

#[test]
fn a_restore_takes_the_count_of_the_card_along() {
    let mut fixture = Fixture::new();
    fixture.accept("a", "{}");
    let copy = at(&fixture, "copy.db");
    backup(&fixture.path, &copy, false, 0, never).unwrap();
    fixture.accept("b", "[1]");
    close(&mut fixture);
    let counted = |path: &Path| -> i64 {
        let sql = "SELECT coalesce(sum(deliveries), 0) FROM flash";
        Connection::open(path).unwrap().query_row(sql, [], |row| row.get(0)).unwrap()
    };
    restore(&fixture.path, &copy, NOW).unwrap();
    assert_eq!(counted(&fixture.path), 2, "the card has been written to, whatever the database forgets");
    let elsewhere = at(&fixture, "elsewhere.db");
    restore(&elsewhere, &copy, NOW).unwrap();
    assert_eq!(counted(&elsewhere), 0, "another card");
}

#[test]
fn a_restore_is_refused_and_changes_nothing() {
    let mut fixture = Fixture::new();
    for number in 0..20 {
        fixture.accept(&number.to_string(), &noise(number, 20_000));
    }
    let copy = at(&fixture, "copy.db");
    backup(&fixture.path, &copy, false, 0, never).unwrap();
    close(&mut fixture);
    let before = (names(&fixture), fs::read(&fixture.path).unwrap());
    let refused = |backup: &Path, part: &str| {
        let refused = restore(&fixture.path, backup, NOW).unwrap_err().to_string();
        assert!(refused.contains(part), "{part}: {refused}");
    };

    let lock = RoleLock::take(&fixture.path, Role::Work).unwrap();
    refused(&copy, &format!("process {} already does `work`", std::process::id()));
    drop(lock);
    refused(&at(&fixture, "absent.db"), "No such file");
    refused(fixture.path.parent().unwrap(), "not a file");

    let damaged = at(&fixture, "damaged.db");
    let whole = fs::read(&copy).unwrap();
    let mut broken = whole.clone();
    // Pages in the middle: trees of the bodies.
    broken[whole.len() / 2..whole.len() / 2 + 16 * 4096].fill(0xa5);
    for (content, part) in [
        (&broken[..], "damaged"),
        (&whole[..whole.len() / 2], "malformed"),
        (b"this is no database, and long enough to be seen as none", "not a database"),
        (b"", "not a database of hookbell"),
    ] {
        fs::write(&damaged, content).unwrap();
        refused(&damaged, part);
    }
    fs::write(&damaged, &whole).unwrap();
    let newer = Connection::open(&damaged).unwrap();
    newer.pragma_update(None, "user_version", migrate::VERSION + 1).unwrap();
    drop(newer);
    refused(&damaged, "newer hookbell");
    fs::remove_file(&damaged).unwrap();
    let in_use = at(&fixture, "copy.db-wal");
    fs::write(&in_use, "a log").unwrap();
    refused(&copy, "has a log beside it");
    fs::remove_file(&in_use).unwrap();

    assert!(before == (names(&fixture), fs::read(&fixture.path).unwrap()));
    let other = Connection::open(&fixture.path).unwrap();
    other.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(())).unwrap();
    other.execute_batch("BEGIN; SELECT count(*) FROM delivery").unwrap();
    refused(&copy, "another program has the database open");
    drop(other);
    restore(&fixture.path, &copy, NOW).unwrap();
}

#[test]
fn a_backup_of_an_older_version_is_brought_up_to_date() {
    let directory = tempfile::tempdir().unwrap();
    let (old, path) = (directory.path().join("old.db"), directory.path().join("hookbell.db"));
    let database = Connection::open(&old).unwrap();
    database.execute_batch(include_str!("../schema.sql")).unwrap();
    database.execute_batch("PRAGMA user_version = 1").unwrap();
    drop(database);
    let restored = restore(&path, &old, NOW).unwrap();
    assert_eq!((restored.contents.deliveries, restored.set_aside), (0, None));
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    Reader::open(&path).unwrap();
}

#[test]
fn a_damaged_database_is_set_aside_with_all_that_belongs_to_it() {
    let mut fixture = Fixture::new();
    fixture.accept("a", "{}");
    let copy = at(&fixture, "copy.db");
    backup(&fixture.path, &copy, false, 0, never).unwrap();
    close(&mut fixture);
    let garbage = vec![0xa5; 8192];
    fs::write(&fixture.path, &garbage).unwrap();
    fs::write(beside(&fixture.path, "-shm"), "the index of its log").unwrap();
    let aside = restore(&fixture.path, &copy, NOW).unwrap().set_aside.unwrap();
    assert!(fs::read(&aside).unwrap() == garbage);
    assert_eq!(fs::read(beside(&aside, "-shm")).unwrap(), b"the index of its log");
    assert!(!beside(&fixture.path, "-shm").exists());
    assert_eq!(ids(&fixture.path), ["a"]);
}

#[test]
fn wherever_a_restore_ends_there_is_a_whole_database_and_nothing_is_lost() {
    let mut fixture = Fixture::new();
    fixture.accept("old", "{}");
    let copy = at(&fixture, "copy.db");
    backup(&fixture.path, &copy, false, 0, never).unwrap();
    fixture.accept("new", "[1]");
    // As after a crash of the service: what came last is in the log alone.
    let crashed = tempfile::tempdir().unwrap();
    let directory = fixture.path.parent().unwrap().to_owned();
    let snapshot = |from: &Path, to: &Path| {
        for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    };
    snapshot(&directory, crashed.path());
    close(&mut fixture);
    let database = crashed.path().join("hookbell.db");
    assert!(beside(&database, "-wal").metadata().unwrap().len() > 0);

    let mut ends = Vec::new();
    restore_in_steps(&database, &copy, NOW, &mut |step| {
        let end = tempfile::tempdir().unwrap();
        snapshot(crashed.path(), end.path());
        ends.push((step, end));
    })
    .unwrap();
    let steps: Vec<Step> = ends.iter().map(|(step, _)| *step).collect();
    assert_eq!(steps, [Step::Copied, Step::Prepared, Step::Closed, Step::SetAside, Step::Replaced]);
    for (step, end) in ends {
        let database = end.path().join("hookbell.db");
        let expected: &[&str] = if step == Step::Replaced { &["old"] } else { &["old", "new"] };
        let (store, threads) = Store::open(&database, 0, fixture.clock.clone()).unwrap();
        assert!(store.reader().unwrap().quick_check().unwrap().is_empty(), "{step:?}");
        threads.stop(Duration::from_secs(10));
        assert_eq!(ids(&database), expected, "{step:?}");
        let aside = end.path().join("hookbell.db.before-restore-20260101T000000000Z");
        if step == Step::Replaced {
            assert_eq!(ids(&aside), ["old", "new"]);
        }
        // And once more goes through.
        restore(&database, &copy, NOW.plus(Duration::from_secs(1))).unwrap();
        assert_eq!(ids(&database), ["old"], "{step:?}");
        let left = fs::read_dir(end.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        assert!(!left.into_iter().any(|name| name.ends_with(".partial")), "{step:?}");
    }
}
