//! The disk by plain files, and by SQLite in a process of its own that is cut off at moments chosen by chance.

use std::{
    env,
    fs::{self, File, OpenOptions},
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write},
    os::unix::{
        fs::MetadataExt,
        net::{UnixListener, UnixStream},
    },
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rusqlite::Connection;
use rustix::fs::{FlockOperation, flock, statvfs};
use tempfile::TempDir;

use super::{Disk, Errno, Failed, Fault, Says, allowed};

/// A folder and a place to mount it.
struct Place {
    folder: TempDir,
    point: TempDir,
}

impl Place {
    /// Nothing where this machine does not let us mount.
    fn new() -> Option<Place> {
        if let Err(missing) = allowed() {
            eprintln!("not tested, because this machine has no disk that fails: {missing}");
            return None;
        }
        Some(Place { folder: tempfile::tempdir().unwrap(), point: tempfile::tempdir().unwrap() })
    }

    fn mount(&self) -> Disk {
        Disk::mount(self.folder.path(), self.point.path()).unwrap()
    }
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn mounted(point: &Path) -> bool {
    fs::read_to_string("/proc/self/mounts").unwrap().contains(point.to_str().unwrap())
}

fn code<T: std::fmt::Debug>(result: io::Result<T>) -> i32 {
    result.unwrap_err().raw_os_error().unwrap()
}

#[test]
fn plain_files_work_as_anywhere() {
    let Some(place) = Place::new() else { return };
    fs::create_dir(place.folder.path().join("below")).unwrap();
    fs::write(place.folder.path().join("below/was there"), "before").unwrap();
    let disk = place.mount();
    let at = disk.point().to_owned();
    assert_eq!(fs::read_to_string(at.join("below/was there")).unwrap(), "before");
    let mut file = OpenOptions::new().read(true).write(true).create_new(true).open(at.join("new")).unwrap();
    file.write_all(&[1; 10_000]).unwrap();
    file.seek(SeekFrom::Start(20_000)).unwrap();
    file.write_all(b"end").unwrap();
    file.sync_all().unwrap();
    file.sync_data().unwrap();
    File::open(&at).unwrap().sync_all().unwrap();
    let mut read = Vec::new();
    file.rewind().unwrap();
    file.read_to_end(&mut read).unwrap();
    assert_eq!(read, [vec![1; 10_000], vec![0; 10_000], b"end".to_vec()].concat());
    file.set_len(5).unwrap();
    assert_eq!(file.metadata().unwrap().len(), 5);
    fs::hard_link(at.join("new"), at.join("other")).unwrap();
    assert_eq!(fs::metadata(at.join("new")).unwrap().ino(), fs::metadata(at.join("other")).unwrap().ino());
    fs::rename(at.join("other"), at.join("below/other")).unwrap();
    fs::write(at.join("short"), "s").unwrap();
    fs::rename(at.join("short"), at.join("new")).unwrap();
    assert_eq!(fs::read_to_string(at.join("new")).unwrap(), "s");
    assert_eq!(fs::read(at.join("below/other")).unwrap(), [1; 5]);
    fs::remove_file(at.join("below/was there")).unwrap();
    assert_eq!(code(fs::remove_dir(at.join("below"))), 39, "ENOTEMPTY");
    flock(&file, FlockOperation::NonBlockingLockExclusive).unwrap();
    let second = File::open(at.join("below/other")).unwrap();
    assert!(flock(&second, FlockOperation::NonBlockingLockExclusive).is_err(), "another descriptor has it");
    let listener = UnixListener::bind(at.join("socket")).unwrap();
    UnixStream::connect(at.join("socket")).unwrap();
    drop((file, second, listener));
    disk.unmount().unwrap();
    assert!(!mounted(place.point.path()));
    assert_eq!(names(place.folder.path()), ["below", "new"], "sockets are not written back");
    assert_eq!(fs::read(place.folder.path().join("below/other")).unwrap(), [1; 5]);
}

#[test]
fn each_fault_is_seen_and_healed() {
    let Some(place) = Place::new() else { return };
    fs::write(place.folder.path().join("file"), [1; 8192]).unwrap();
    let disk = place.mount();
    let path = disk.point().join("file");
    let mut file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
    fs::read(&path).unwrap();

    disk.fail_writes(Fault::each(Errno::EIO).only("other"));
    file.write_all(b"x").unwrap();
    disk.fail_writes(Fault::each(Errno::EIO).every(2));
    file.write_all(b"x").unwrap();
    assert_eq!(code(file.write_all(b"x")), 5);
    file.write_all(b"x").unwrap();
    disk.heal();

    disk.fail_reads(Fault::each(Errno::EIO)).unwrap();
    assert_eq!(code(fs::read(&path)), 5, "the kernel's memory does not hide it");
    disk.heal();
    assert_eq!(fs::read(&path).unwrap().len(), 8192);

    disk.fail_syncs(Fault::each(Errno::EIO), Failed::Stays);
    assert_eq!(code(file.sync_all()), 5);
    disk.read_only();
    assert_eq!(code(file.write_all(b"x")), 30);
    assert_eq!(code(File::create(disk.point().join("more"))), 30);
    disk.heal();
    file.sync_all().unwrap();

    disk.full(Says::Free);
    file.rewind().unwrap();
    file.write_all(&[2; 8192]).unwrap();
    assert_eq!(code(file.write_all(b"x")), 28, "what is new does not fit, what is there can be changed");
    assert!(statvfs(disk.point()).unwrap().f_bavail > 0);
    disk.full(Says::Full);
    assert_eq!(statvfs(disk.point()).unwrap().f_bavail, 0);
    fs::remove_file(&path).unwrap();
    drop(file);
    let deadline = Instant::now() + Duration::from_secs(10);
    while statvfs(disk.point()).unwrap().f_bavail == 0 {
        assert!(Instant::now() < deadline, "what was removed is still taken");
        std::thread::yield_now();
    }
    disk.heal();

    disk.sync_takes(Duration::from_millis(300));
    let file = File::create(&path).unwrap();
    let start = Instant::now();
    file.sync_all().unwrap();
    assert!(start.elapsed() >= Duration::from_millis(300));
    assert!(disk.seen().failed >= 5);
}

#[test]
fn a_cut_keeps_what_was_synced_and_nothing_else() {
    let Some(place) = Place::new() else { return };
    fs::write(place.folder.path().join("old"), "old").unwrap();
    let disk = place.mount();
    let at = disk.point().to_owned();
    let mut synced = File::create(at.join("synced")).unwrap();
    synced.write_all(b"synced").unwrap();
    synced.sync_all().unwrap();
    fs::rename(at.join("old"), at.join("renamed")).unwrap();
    File::open(&at).unwrap().sync_all().unwrap();
    synced.write_all(b" and more").unwrap();
    let unnamed = File::create(at.join("unnamed")).unwrap();
    unnamed.sync_all().unwrap();
    fs::remove_file(at.join("renamed")).unwrap();
    let lost = disk.power_cut(None).unwrap();
    assert_eq!((lost.pages, lost.names), (1, 2));
    assert_eq!(code(synced.write_all(b"x")), 5);
    assert_eq!(code(synced.sync_all()), 5);
    assert_eq!(code(File::create(at.join("late"))), 5);
    drop(disk);
    assert!(!mounted(place.point.path()), "files that are open keep nobody");
    assert_eq!(names(place.folder.path()), ["renamed", "synced"]);
    let disk = place.mount();
    assert_eq!(fs::read_to_string(at.join("synced")).unwrap(), "synced");
    assert_eq!(fs::read_to_string(at.join("renamed")).unwrap(), "old");
    disk.unmount().unwrap();
}

#[test]
fn a_failed_sync_and_a_lie_lose_what_a_later_sync_confirms() {
    for lie in [false, true] {
        let Some(place) = Place::new() else { return };
        fs::write(place.folder.path().join("file"), "old").unwrap();
        let disk = place.mount();
        let mut file = OpenOptions::new().write(true).open(disk.point().join("file")).unwrap();
        file.write_all(b"new").unwrap();
        if lie {
            disk.lie();
        } else {
            disk.fail_syncs(Fault::each(Errno::EIO), Failed::IsForgotten);
            assert_eq!(code(file.sync_all()), 5);
            disk.heal();
        }
        file.sync_all().unwrap();
        disk.power_cut(None).unwrap();
        drop(disk);
        assert_eq!(fs::read_to_string(place.folder.path().join("file")).unwrap(), "old");
    }
}

#[test]
fn it_unmounts_when_its_owner_panics() {
    let Some(place) = Place::new() else { return };
    let disk = place.mount();
    let open = File::create(disk.point().join("open")).unwrap();
    assert!(mounted(place.point.path()));
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
        let _disk = disk;
        panic!("on purpose");
    }));
    assert!(panicked.is_err());
    assert!(!mounted(place.point.path()));
    drop(open);
    assert_eq!(names(place.folder.path()), ["open"]);
}

/// Where the process that commits finds its database.
const DATABASE: &str = "HOOKBELL_FAULTY_DATABASE";

/// Not a test: the process that commits, and says after each commit which row is there.
#[test]
fn commits_in_a_process_of_its_own() {
    let Some(path) = env::var_os(DATABASE) else { return };
    let database = Connection::open(path).unwrap();
    database
        .execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 30;
             CREATE TABLE IF NOT EXISTS row (id INTEGER PRIMARY KEY, body BLOB NOT NULL);",
        )
        .unwrap();
    loop {
        let Ok(1) = database.execute("INSERT INTO row (body) VALUES (randomblob(abs(random()) % 9000))", ()) else {
            return;
        };
        let mut out = io::stdout().lock();
        writeln!(out, "committed {}", database.last_insert_rowid()).unwrap();
        out.flush().unwrap();
    }
}

struct Committer {
    child: Child,
    said: BufReader<std::process::ChildStdout>,
}

impl Committer {
    fn start(disk: &Disk) -> Committer {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "faulty::tests::commits_in_a_process_of_its_own", "--nocapture"])
            .env(DATABASE, disk.point().join("rows.db"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let said = BufReader::new(child.stdout.take().unwrap());
        Committer { child, said }
    }

    /// The next row that it has promised, or nothing at its end.
    fn next(&mut self) -> Option<i64> {
        let mut line = String::new();
        while self.said.read_line(&mut line).unwrap() > 0 {
            if let Some(row) = line.trim().rsplit("committed ").next().and_then(|row| row.parse().ok()) {
                return Some(row);
            }
            line.clear();
        }
        None
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Commits so many rows, cuts, and returns the last row promised and those that are there.
fn cut(place: &Place, rows: i64, seed: Option<u64>, prepare: impl FnOnce(&Disk)) -> (i64, i64) {
    let disk = place.mount();
    let mut committer = Committer::start(&disk);
    let first = committer.next().expect("it commits");
    prepare(&disk);
    let syncs = disk.seen().syncs;
    let mut last = first;
    // What it has said may be older than what was prepared: that some was done since, the disk knows.
    while last < first + rows || disk.seen().syncs < syncs + rows.unsigned_abs() {
        last = committer.next().expect("it goes on committing");
    }
    disk.power_cut(seed).unwrap();
    while let Some(row) = committer.next() {
        last = row;
    }
    drop(committer);
    drop(disk);
    let database = Connection::open(place.folder.path().join("rows.db")).unwrap();
    let sound: String = database.query_row("PRAGMA integrity_check", (), |row| row.get(0)).unwrap();
    assert_eq!(sound, "ok", "after {rows} rows and seed {seed:?}");
    let there = database.query_row("SELECT count(*) FROM row", (), |row| row.get(0)).unwrap();
    let newest: i64 = database.query_row("SELECT coalesce(max(id), 0) FROM row", (), |row| row.get(0)).unwrap();
    assert_eq!(there, newest, "there is a hole");
    (last, there)
}

#[test]
fn sqlite_keeps_what_it_has_committed() {
    let Some(place) = Place::new() else { return };
    for seed in 0..12_u64 {
        let (promised, there) = cut(&place, 7 + i64::try_from(seed * 5 % 23).unwrap(), seed.checked_sub(1), |_| {});
        assert!(there >= promised, "of {promised} rows {there} are there, after the cut with seed {seed}");
    }
}

#[test]
fn a_lying_disk_loses_what_sqlite_has_committed() {
    let Some(place) = Place::new() else { return };
    let (promised, there) = cut(&place, 10, None, Disk::lie);
    assert!(there < promised, "all of {promised} rows are there: the cut is none");
}
