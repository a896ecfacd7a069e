//! What happens to the database itself: held by somebody else, and damaged in its log, in its pages and in its head.

use std::{
    collections::HashSet,
    fs::{self, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use hookbell_bench::{
    finding::Finding,
    scene::{Scenario, Scene, Setting},
    stage::PATIENCE,
};
use rusqlite::Connection;

use crate::disk::expect_answers;

/// In the order of the table.
pub(crate) const SCENARIOS: &[(&str, Scenario)] = &[
    ("locked database", locked),
    ("damaged log", damaged_log),
    ("damaged pages", damaged_pages),
    ("damaged header", damaged_header),
    ("damaged while running", damaged_while_running),
];

/// What SQLite writes at once, as hookbell chooses it.
const PAGE_BYTES: u64 = 1024;

/// Deliveries that a database holds before it is damaged.
const MORE: usize = 60;

/// A small database is in the process's own memory, and nothing of it is read.
const NOTICED_WITHIN: Duration = Duration::from_secs(3);

/// Of the log, before its frames, and before each frame's page.
const LOG_HEADER_BYTES: u64 = 32;
const FRAME_HEADER_BYTES: u64 = 24;
const FRAME_BYTES: u64 = FRAME_HEADER_BYTES + PAGE_BYTES;

fn locked(setting: &Setting) -> io::Result<Finding> {
    let scene = Scene::begin(setting, "locked database", |_, _| {})?;
    let other = Connection::open(scene.stage.plan.database()).map_err(io::Error::other)?;
    other.busy_timeout(Duration::from_secs(10)).map_err(io::Error::other)?;
    other.execute_batch("BEGIN IMMEDIATE").map_err(io::Error::other)?;
    let seconds = setting.pick(5, 30);
    thread::sleep(Duration::from_secs(seconds));
    other.execute_batch("ROLLBACK").map_err(io::Error::other)?;
    drop(other);
    scene.recover()?;
    let mut finding = scene.conclude(&format!("by another process, {seconds} s"))?;
    expect_answers(&mut finding);
    Ok(finding)
}

/// SQLite ends its log at the first frame that does not match its checksum, and says nothing. What was committed behind it
/// was promised and cannot be read: that much is lost by the disk, and not one more may be.
fn damaged_log(setting: &Setting) -> io::Result<Finding> {
    let scene = Scene::begin(setting, "damaged log", |_, _| {})?;
    scene.stage.hold(true);
    scene.stage.kill(None)?;
    wait_for_silence(&scene)?;
    let before = promised(&scene);
    let database = scene.stage.plan.database();
    let log = beside(&database, "-wal");
    let used = used_frames(&log)?;
    if used < 10 {
        return Err(io::Error::other(format!("the log has {used} frames only")));
    }
    // A tenth before what is in use ends; where the log was begun anew, what lies behind its end is of no use.
    let frame = used - used / 10 - 1;
    flip(&log, LOG_HEADER_BYTES + frame * FRAME_BYTES + FRAME_HEADER_BYTES + 100)?;
    let readable = readable_ids(&database, &scene.stage.plan.base.join("damaged"))?;
    scene.stage.hold(false);
    scene.stage.wait_until_ready(PATIENCE)?;
    scene.recover()?;
    let mut finding = scene.conclude(&format!("one bit, frame {frame} of {used}"))?;
    let (unavoidable, others): (Vec<String>, Vec<String>) = std::mem::take(&mut finding.lost)
        .into_iter()
        .partition(|lost| before.contains(id_of(lost)) && !readable.contains(id_of(lost)));
    finding.lost = others;
    finding.did = format!("{}; {} promises lay behind it", finding.did, unavoidable.len());
    Ok(finding)
}

/// How many frames of a log belong to its present round: those with the salt of its header.
fn used_frames(log: &Path) -> io::Result<u64> {
    let bytes = fs::read(log)?;
    let salt = bytes.get(16..24).ok_or_else(|| io::Error::other("the log has no header"))?;
    let frames = bytes.get(32..).unwrap_or_default().chunks_exact(usize::try_from(FRAME_BYTES).unwrap_or(usize::MAX));
    Ok(frames.take_while(|frame| frame.get(8..16) == Some(salt)).count() as u64)
}

fn flip(path: &Path, at: u64) -> io::Result<()> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    let mut byte = [0];
    file.read_exact_at(&mut byte, at)?;
    file.write_all_at(&[byte[0] ^ 0x10], at)
}

/// The deliveries that SQLite still finds, looked at in a copy.
fn readable_ids(database: &Path, copy: &Path) -> io::Result<HashSet<String>> {
    fs::create_dir(copy)?;
    let to = copy.join("hookbell.db");
    fs::copy(database, &to)?;
    fs::copy(beside(database, "-wal"), beside(&to, "-wal"))?;
    let connection = Connection::open(&to).map_err(io::Error::other)?;
    let mut query = connection.prepare("SELECT delivery_id FROM delivery").map_err(io::Error::other)?;
    let ids = query.query_map([], |row| row.get(0)).map_err(io::Error::other)?;
    ids.collect::<Result<_, _>>().map_err(io::Error::other)
}

fn beside(database: &Path, ending: &str) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

fn damaged_pages(setting: &Setting) -> io::Result<Finding> {
    damaged(setting, "damaged pages", "an eighth of them, stopped", |setting, database, pages| {
        damage(setting, database, pages, known_root(database)?)
    })
}

/// Overwrites an eighth of all pages but the first, and one that every start reads, so that it is noticed.
fn damage(setting: &Setting, database: &Path, pages: u64, noticed: u64) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(database)?;
    for page in 1..pages {
        if page == noticed || setting.choose(page, 8) == 0 {
            file.write_all_at(&noise(page), page * PAGE_BYTES)?;
        }
    }
    Ok(())
}

/// The place of a page that every start reads.
fn known_root(database: &Path) -> io::Result<u64> {
    let connection = Connection::open(database).map_err(io::Error::other)?;
    let root = "SELECT rootpage - 1 FROM sqlite_schema WHERE name = 'meta'";
    let place: i64 = connection.query_row(root, [], |row| row.get(0)).map_err(io::Error::other)?;
    u64::try_from(place).map_err(io::Error::other)
}

fn damaged_header(setting: &Setting) -> io::Result<Finding> {
    damaged(setting, "damaged header", "its first page, stopped", |_, database, _| {
        OpenOptions::new().write(true).open(database)?.write_all_at(&noise(0), 0)
    })
}

/// A page that says nothing.
fn noise(seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let step = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..PAGE_BYTES).map(step).collect()
}

/// Damages the file of a service that was killed after its log had been moved into it. What was promised before is in the
/// file that was set aside; everything after has to be kept as ever.
fn damaged(
    setting: &Setting,
    fault: &str,
    did: &str,
    harm: impl FnOnce(&Setting, &Path, u64) -> io::Result<()>,
) -> io::Result<Finding> {
    let scene = Scene::begin(setting, fault, |_, _| {})?;
    // More than a few pages.
    let more = scene.sender.wait_for_200s(MORE, scene.from, PATIENCE)?;
    scene.stage.hold(true);
    scene.stage.kill(None)?;
    wait_for_silence(&scene)?;
    let database = scene.stage.plan.database();
    move_log(&database)?;
    harm(setting, &database, fs::metadata(&database)?.len() / PAGE_BYTES)?;
    let before = promised(&scene);
    scene.stage.hold(false);
    let mut finding = conclude_anew(scene, &before, Log::Moved, did)?;
    finding.expect(more, || "too little was promised before".to_owned());
    Ok(finding)
}

/// Moves the log into the file, and takes both files beside it away.
fn move_log(database: &Path) -> io::Result<()> {
    let connection = Connection::open(database).map_err(io::Error::other)?;
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).map_err(io::Error::other)
}

/// What a process has in its own memory it does not read again: it may notice at once, or when it begins anew.
fn damaged_while_running(setting: &Setting) -> io::Result<Finding> {
    let scene = Scene::begin(setting, "damaged while running", |_, _| {})?;
    let more = scene.sender.wait_for_200s(MORE, scene.from, PATIENCE)?;
    let database = scene.stage.plan.database();
    let noticed = known_root(&database)?;
    damage(setting, &database, fs::metadata(&database)?.len() / PAGE_BYTES, noticed)?;
    let is_noticed = || Ok(scene.stage.restarts() > 0);
    let noticed =
        scene.stage.wait_until("an end by itself", setting.pick(NOTICED_WITHIN, PATIENCE), is_noticed).is_ok();
    if !noticed {
        scene.stage.kill(None)?;
    }
    // The next process needs longer to begin than this look takes.
    let before = promised(&scene);
    let how = if noticed { "noticed at once" } else { "noticed at the next start" };
    let mut finding = conclude_anew(scene, &before, Log::MayMend, &format!("an eighth of all pages, {how}"))?;
    finding.expect(more, || "too little was promised before".to_owned());
    Ok(finding)
}

/// Until the sender has noticed that nobody is there: then it has noted all that was answered before.
fn wait_for_silence(scene: &Scene) -> io::Result<()> {
    let from = Instant::now();
    scene.stage.wait_until("silence", PATIENCE, || {
        Ok(scene.sender.sent().iter().rev().any(|sent| sent.scheduled >= from && sent.status.is_none()))
    })
}

fn promised(scene: &Scene) -> HashSet<String> {
    scene.sender.promised().into_iter().map(|promise| promise.id).collect()
}

/// Whether the log of a database may hold what was damaged in the file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Log {
    Moved,
    MayMend,
}

/// A new database has to be begun and the damaged one kept, unless its log mends it: what was promised `before` is in that one,
/// and comes back by `hookbell deliveries import` as far as it can be read. Everything after has to be kept as ever.
fn conclude_anew(mut scene: Scene, before: &HashSet<String>, log: Log, did: &str) -> io::Result<Finding> {
    scene.recover()?;
    let aside = aside(&scene.stage.plan.home)?;
    let said = match aside.as_deref().and_then(Path::to_str) {
        Some(path) => {
            let output = scene.stage.plan.command(&["deliveries", "import", path]).output()?;
            let said = if output.status.success() { output.stdout } else { output.stderr };
            String::from_utf8_lossy(&said).lines().next().unwrap_or_default().to_owned()
        }
        None => String::new(),
    };
    // What was told before has another place in the new file.
    scene.keeps_order = false;
    let mut finding = scene.conclude(did)?;
    if aside.is_none() && log == Log::MayMend {
        // Its log has mended it: nothing is excused then, and it has to be sound.
        finding.did = format!("{did}; the log mended it");
        return Ok(finding);
    }
    let (gone, lost): (Vec<String>, Vec<String>) = std::mem::take(&mut finding.lost)
        .into_iter()
        .partition(|lost| before.contains(id_of(lost)) && lost.ends_with("is not in the database"));
    finding.lost = lost;
    finding.expect(aside.is_some(), || "expected the damaged file to be set aside".to_owned());
    finding.expect(!finding.told.is_empty(), || "expected that somebody is told".to_owned());
    let back = before.len() - gone.len();
    finding.did = format!("{did}; {back} of {} promises came back by import", before.len());
    if back < before.len() {
        finding.told = format!("{}; import: {said}", finding.told);
    }
    Ok(finding)
}

/// Of what a finding says about it.
fn id_of(lost: &str) -> &str {
    lost.split(' ').next().unwrap_or_default()
}

fn aside(home: &Path) -> io::Result<Option<PathBuf>> {
    for entry in fs::read_dir(home)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("hookbell.db.damaged-") && !name.ends_with("-wal") && !name.ends_with("-shm") {
            return Ok(Some(entry.path()));
        }
    }
    Ok(None)
}
