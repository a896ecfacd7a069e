//! The database's place: can it be written, how long does the disk take to promise, is there room.

use std::{
    fs,
    io::Write,
    os::unix::fs::MetadataExt,
    path::Path,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{Check, Verdict};
use crate::{
    config,
    store::{BATCH_JOBS_MAX, Reader, beside, directory_of, free_bytes},
};

const NAME: &str = "database";
/// What a delivery of the usual size adds to the log: two pages or so.
const RECORD_BYTES: usize = 8 * 1024;
/// Enough to see what the disk is like.
const SYNCS: usize = 9;
const SYNCS_WITHIN: Duration = Duration::from_secs(5);
/// Enough for a percentile.
const SYNCS_LONG: usize = 200;
const SYNCS_LONG_WITHIN: Duration = Duration::from_secs(20);
/// A good card takes a few milliseconds, a poor one tens.
const SLOW: Duration = Duration::from_millis(100);
/// GitHub hangs up after ten seconds.
const STALLS: Duration = Duration::from_secs(2);

pub(super) fn look(store: &config::Store, status: &Value) -> Check {
    let path = store.path.display();
    if let Some(trouble) = status["storage"].as_str() {
        return Check::told(
            NAME,
            Verdict::Fail,
            &format!("the running service cannot store: {trouble}"),
            "make room, or look at the card: `dmesg` shows what the kernel says of it",
        );
    }
    let synced = match sync(directory_of(&store.path), SYNCS, SYNCS_WITHIN) {
        Ok(synced) => synced,
        Err(check) => return *check,
    };
    let free = match free_bytes(&store.path) {
        Ok(free) if free < store.free_bytes_min => {
            let said = format!("{} are free, less than free_min ({})", size(free), size(store.free_bytes_min));
            return Check::fail(
                NAME,
                said,
                "make room, or lower `free_min` in [store]; until then the door answers 503",
            );
        }
        Ok(free) => size(free),
        Err(error) => format!("nobody knows how much ({error})"),
    };
    let median = at(&synced, 50);
    let facts = json!({ "fsync_ms": milliseconds(median), "path": store.path });
    if !store.path.exists() {
        let said = format!("{path} is not there yet; its folder can be written");
        return Check { facts, ..Check::warn(NAME, said, "the first `hookbell run` makes it") };
    }
    if let Err(error) = Reader::open(&store.path) {
        return Check::told(NAME, Verdict::Fail, &error.to_string(), "mend it, or restore a backup");
    }
    if let Some(check) = strangers(&store.path) {
        return check;
    }
    let said = format!("{path} can be written; a sync takes {:.1} ms; {free} are free", milliseconds(median));
    let check = match median > SLOW {
        true => {
            Check::warn(NAME, said, "a slow card: `hookbell doctor --fsync-test` measures it; a better one is quicker")
        }
        false => Check::ok(NAME, said),
    };
    Check { facts, ..check }
}

/// The longer measurement.
pub(super) fn measure(store: &config::Store) -> Check {
    const NAME: &str = "fsync";
    match sync(directory_of(&store.path), SYNCS_LONG, SYNCS_LONG_WITHIN) {
        Ok(synced) => Check { name: NAME.to_owned(), ..rate(&synced) },
        Err(check) => Check { name: NAME.to_owned(), ..*check },
    }
}

/// What the card allows. `synced` is sorted and not empty.
fn rate(synced: &[Duration]) -> Check {
    let [p50, p99, max] = [50, 99, 100].map(|percent| at(synced, percent));
    let alone = 1.0 / p50.as_secs_f64().max(1e-6);
    let facts = json!({
        "syncs": synced.len(), "p50_ms": milliseconds(p50), "p99_ms": milliseconds(p99), "max_ms": milliseconds(max),
        "one_at_a_time_per_s": alone.round(), "deliveries_per_sync_max": BATCH_JOBS_MAX,
    });
    let [p50_ms, p99_ms, max_ms] = [p50, p99, max].map(milliseconds);
    let together = alone * BATCH_JOBS_MAX as f64;
    // No Pi proves and packs so many in a second.
    let limit = match together > 10_000.0 {
        true => "so that the processor is the limit and not this card".to_owned(),
        false => format!("so that this card would take some {together:.0}"),
    };
    let said = format!(
        "{} synced writes of 8 KiB: p50 {p50_ms:.1} ms, p99 {p99_ms:.1} ms, max {max_ms:.1} ms. One at a time that is {alone:.0} \
         deliveries a second; of many that come at once up to {BATCH_JOBS_MAX} share a sync, {limit}",
        synced.len()
    );
    let check = match (p50 > SLOW, p99 > STALLS) {
        (false, false) => Check::ok("", said),
        (_, true) => Check::warn("", said, "it stalls for seconds, and senders give up after ten: use a better card"),
        (true, _) => Check::warn("", said, "a slow card: a better one, or a disk by USB, is quicker"),
    };
    Check { facts, ..check }
}

/// Writes and syncs at the end of a file of its own, which is gone afterwards. Sorted, and at least one.
fn sync(folder: &Path, count: usize, within: Duration) -> Result<Vec<Duration>, Box<Check>> {
    let failed = |error: std::io::Error| {
        let said = format!("cannot write in {}: {error}", folder.display());
        let remedy = match error.kind() {
            std::io::ErrorKind::PermissionDenied => "type it as the service's user or as root: sudo hookbell doctor",
            std::io::ErrorKind::NotFound => "make the folder, or mend `path` in [store]",
            _ => "make room, or look at the card: `dmesg` shows what the kernel says of it",
        };
        Box::new(Check::fail(NAME, said, remedy))
    };
    let mut file = tempfile::Builder::new().prefix(".hookbell-doctor-").tempfile_in(folder).map_err(failed)?;
    // Not zeros, which some disks do not write at all.
    let record: Vec<u8> = (0..RECORD_BYTES).map(|at| (at * 31 % 251) as u8).collect();
    let (begun, mut synced) = (Instant::now(), Vec::with_capacity(count));
    while synced.len() < count && (synced.is_empty() || begun.elapsed() < within) {
        let one = Instant::now();
        file.write_all(&record).and_then(|()| file.as_file().sync_data()).map_err(failed)?;
        synced.push(one.elapsed());
    }
    synced.sort_unstable();
    Ok(synced)
}

/// Files of the database that the folder's owner could not write: what a `sudo hookbell run` leaves.
fn strangers(path: &Path) -> Option<Check> {
    let folder = directory_of(path).display();
    let owner = fs::metadata(directory_of(path)).ok()?.uid();
    let is_strange =
        |ending: &&str| fs::metadata(beside(path, ending)).is_ok_and(|file| file.uid() != owner && owner != 0);
    let strange = ["", "-wal", "-shm"].into_iter().find(is_strange)?;
    let path = path.display();
    let said = format!("{path}{strange} does not belong to whom its folder belongs to, so the service cannot write it");
    let remedy = format!("sudo chown --reference={folder} {path}*");
    Some(Check::fail(NAME, said, &remedy))
}

/// The value that so many percent do not exceed.
fn at(sorted: &[Duration], percent: usize) -> Duration {
    let place = (sorted.len() * percent).div_ceil(100).max(1) - 1;
    sorted.get(place).copied().unwrap_or_default()
}

fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 100_000.0).round() / 100.0
}

fn size(bytes: u64) -> String {
    match bytes >> 20 {
        mebibytes @ 0..10_240 => format!("{mebibytes} MiB"),
        mebibytes => format!("{} GiB", mebibytes >> 10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(path: std::path::PathBuf) -> config::Store {
        config::Store { path, keep: None, size_bytes_max: 1 << 30, free_bytes_min: 0 }
    }

    #[test]
    fn percentiles_are_of_what_was_measured() {
        let ms = Duration::from_millis;
        let sorted: Vec<Duration> = (1..=200).map(ms).collect();
        assert_eq!([50, 99, 100].map(|percent| at(&sorted, percent)), [ms(100), ms(198), ms(200)]);
        assert_eq!(at(&sorted[..1], 50), ms(1));
        let check = rate(&[ms(4); 200]);
        assert_eq!((check.result, &check.facts["p50_ms"]), (Verdict::Ok, &json!(4.0)));
        assert!(check.said.contains("One at a time that is 250 deliveries a second"), "{}", check.said);
        assert!(check.said.ends_with("up to 256 share a sync, so that the processor is the limit and not this card"));
        assert!(rate(&[ms(64); 9]).said.ends_with("up to 256 share a sync, so that this card would take some 4000"));
        assert_eq!(rate(&[ms(150); 9]).result, Verdict::Warn);
        assert!(rate(&[ms(4), ms(2_500)]).remedy.is_some_and(|remedy| remedy.contains("stalls")));
    }

    #[test]
    fn the_folder_is_tried_and_left_as_it_was() {
        let home = tempfile::tempdir().unwrap();
        let store = settings(home.path().join("hookbell.db"));
        let check = look(&store, &Value::Null);
        assert!(check.result == Verdict::Warn && check.said.contains("not there yet"), "{check:?}");
        assert!(measure(&store).facts["syncs"].as_u64().is_some_and(|syncs| syncs > 0));
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0, "nothing is left behind");

        let full = config::Store { free_bytes_min: u64::MAX, ..store.clone() };
        assert!(look(&full, &Value::Null).said.contains("less than free_min"));
        let check = look(&store, &json!({ "storage": "the disk is full; make room" }));
        assert_eq!((check.result, check.remedy.as_deref()), (Verdict::Fail, Some("make room")));
        let gone = look(&settings(home.path().join("no/hookbell.db")), &Value::Null);
        assert!(gone.result == Verdict::Fail && gone.remedy.is_some_and(|remedy| remedy.contains("make the folder")));
        fs::write(&store.path, "this is no database, and never was one, however long it is looked at").unwrap();
        assert_eq!(look(&store, &Value::Null).result, Verdict::Fail);
    }
}
