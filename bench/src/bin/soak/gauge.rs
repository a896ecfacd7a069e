//! What one process uses, second by second, and whether that stays flat. Owns the bounds and how noise is kept out of them;
//! refuses to know what the process does.
//!
//! Judged is the last life of the process: its first quarter is for warming up, and the median of its last quarter is held
//! against that of its second. A median does not see the minute in which Slack hung and a queue stood in memory, and the
//! two are half a life apart: in ten minutes about 7000 requests, in an hour about 40 000. Of descriptors and threads not the
//! median but the value that a tenth does not exceed: how many clients are there at a moment depends on the machine, not on what is
//! left behind. Memory is heap and stacks: of the program itself more is read in as more of it runs, and the kernel takes it back.

use std::{fs, path::Path};

use hookbell_bench::process;

/// What memory may grow by, beside a twentieth of what it was. glibc keeps back some 3 MB more in the course of ten minutes, of
/// bodies from 200 bytes to 5 MB, while what is in use stays at 4.4 MB, SQLite's caches for the most part (heaptrack, 11 000
/// requests); in the last half hour of an hour's soak it is 0.9 MB more for 30 000 requests. A leak of 1 KB per request in ten
/// minutes, or of 150 bytes in an hour, is more.
pub(crate) const MEMORY_BYTES_MAX: f64 = 4_194_304.0;
pub(crate) const MEMORY_SHARE_MAX: f64 = 0.05;
/// Descriptors, and threads: one or two are a connection more that happens to be open.
pub(crate) const COUNT_MAX: f64 = 2.0;
/// In a shorter life SQLite's page caches still fill in its last quarter: memory is shown and not judged.
const WARM_SECONDS: usize = 180;
/// Nobody has to look for a larger leak.
const LEAK_BYTES_MAX: u64 = 1 << 20;
/// Fewer samples than this in a quarter say nothing.
const QUARTER_MIN: usize = 10;

/// One look.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sample {
    /// Which life of the process, from 0.
    pub(crate) life: u32,
    /// Requests that were begun so far, by everybody.
    pub(crate) requests: u64,
    pub(crate) anonymous_bytes: u64,
    pub(crate) descriptors: u64,
    pub(crate) threads: u64,
    pub(crate) cpu_ms: u64,
    pub(crate) wal_bytes: u64,
    pub(crate) log_bytes: u64,
    pub(crate) database_bytes: u64,
}

/// Looks at a process and its files. `None` while there is no such process.
pub(crate) fn look(pid: u32, life: u32, requests: u64, database: &Path, log: &Path) -> Option<Sample> {
    // One that is ending has no memory any more.
    let reading = process::read(pid).ok().filter(|reading| reading.anonymous_bytes > 0)?;
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count() as u64;
    // A file that is not there is empty.
    let length = |path: &Path| fs::metadata(path).map_or(0, |metadata| metadata.len());
    let mut wal = database.as_os_str().to_owned();
    wal.push("-wal");
    Some(Sample {
        life,
        requests,
        anonymous_bytes: reading.anonymous_bytes,
        descriptors,
        threads: reading.threads,
        cpu_ms: reading.cpu_ms,
        wal_bytes: length(Path::new(&wal)),
        log_bytes: length(log),
        database_bytes: length(database),
    })
}

/// The second quarter of a life and its last one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Growth {
    pub(crate) before: f64,
    pub(crate) after: f64,
}

impl Growth {
    /// Of the medians of these values in the order of time; `None` when there are too few.
    pub(crate) fn of(values: &[f64]) -> Option<Growth> {
        Growth::at(0.5, values)
    }

    /// Of what there is when few are connected: the value that a tenth does not exceed.
    pub(crate) fn of_base(values: &[f64]) -> Option<Growth> {
        Growth::at(0.1, values)
    }

    fn at(share: f64, values: &[f64]) -> Option<Growth> {
        let quarter = values.len() / 4;
        if quarter < QUARTER_MIN {
            return None;
        }
        let (second, last) = (&values[quarter..2 * quarter], &values[values.len() - quarter..]);
        Some(Growth { before: rank(second, share), after: rank(last, share) })
    }

    pub(crate) fn by(self) -> f64 {
        self.after - self.before
    }

    /// What memory may grow by from there.
    pub(crate) fn memory_max(self) -> f64 {
        MEMORY_BYTES_MAX + MEMORY_SHARE_MAX * self.before
    }
}

/// The whole judgement of a life.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flatness {
    /// Whether it lasted long enough for memory to be judged.
    pub(crate) is_warm: bool,
    pub(crate) memory: Growth,
    pub(crate) descriptors: Growth,
    pub(crate) threads: Growth,
    /// Requests from the one quarter to the other.
    pub(crate) requests: f64,
}

impl Flatness {
    /// Of one life; `None` when it was too short.
    pub(crate) fn of(life: &[Sample]) -> Option<Flatness> {
        let values = |what: fn(&Sample) -> u64| life.iter().map(|one| what(one) as f64).collect::<Vec<_>>();
        Some(Flatness {
            is_warm: life.len() >= WARM_SECONDS,
            memory: Growth::of(&values(|sample| sample.anonymous_bytes))?,
            descriptors: Growth::of_base(&values(|sample| sample.descriptors))?,
            threads: Growth::of_base(&values(|sample| sample.threads))?,
            requests: Growth::of(&values(|sample| sample.requests))?.by(),
        })
    }

    /// What is not flat, in words.
    pub(crate) fn missed(&self) -> Vec<String> {
        let mut missed = Vec::new();
        let (memory, most) = (self.memory, self.memory.memory_max());
        if self.is_warm && memory.by() > most {
            missed.push(format!(
                "memory grew by {:.2} MB, from {:.2} to {:.2}, and {:.2} are allowed: {:.0} bytes per request",
                mb(memory.by()),
                mb(memory.before),
                mb(memory.after),
                mb(most),
                memory.by() / self.requests.max(1.0)
            ));
        }
        for (name, growth) in [("descriptors", self.descriptors), ("threads", self.threads)] {
            if growth.by() > COUNT_MAX {
                missed.push(format!(
                    "{name} grew from {} to {}, and {COUNT_MAX} more are allowed",
                    growth.before, growth.after
                ));
            }
        }
        missed
    }
}

/// The smallest leak that this life would have shown, bytes per request; `None` when it would have shown none of a reasonable
/// size.
pub(crate) fn leak_noticed_bytes(life: &[Sample]) -> Option<u64> {
    let is_noticed = |bytes: u64| Flatness::of(&leaking(life, bytes)).is_some_and(|found| !found.missed().is_empty());
    let (mut below, mut noticed) = (0, LEAK_BYTES_MAX);
    if is_noticed(below) || !is_noticed(noticed) {
        return is_noticed(below).then_some(0);
    }
    while noticed - below > 1 {
        let middle = below.midpoint(noticed);
        if is_noticed(middle) { noticed = middle } else { below = middle }
    }
    Some(noticed)
}

/// The same life, had each request leaked so much.
pub(crate) fn leaking(life: &[Sample], bytes_per_request: u64) -> Vec<Sample> {
    let first = life.first().map_or(0, |sample| sample.requests);
    let leaked = |sample: &Sample| Sample {
        anonymous_bytes: sample.anonymous_bytes + (sample.requests - first) * bytes_per_request,
        ..*sample
    };
    life.iter().map(leaked).collect()
}

/// Decimal megabytes.
pub(crate) fn mb(bytes: f64) -> f64 {
    bytes / 1e6
}

/// The value that this share of them does not exceed; 0 of none.
fn rank(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted.get((sorted.len() as f64 * share) as usize).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A life of so many seconds at 45 requests a second, as real ones look: it warms up, it wavers by what an allocator
    /// keeps, and now and then a queue or a large body stands in memory for a while.
    fn life(seconds: u64) -> Vec<Sample> {
        let second = |at: u64| Sample {
            requests: at * 45,
            anonymous_bytes: 18_000_000
                + 4_000_000 * at.min(20) / 20
                + (at * 7919 % 13) * 40_000
                + if at % 60 > 45 { 12_000_000 } else { 0 },
            descriptors: 30 + at * 31 % 7,
            threads: 14 + at * 17 % 5,
            ..Sample::default()
        };
        (0..seconds).map(second).collect()
    }

    #[test]
    fn a_life_that_only_wavers_is_flat() {
        for seconds in [108, 360, 2160] {
            let flatness = Flatness::of(&life(seconds)).unwrap();
            assert!(flatness.missed().is_empty(), "{seconds}: {flatness:?}");
        }
    }

    #[test]
    fn a_leak_per_request_is_not() {
        // Three fifths of ten minutes, and of an hour.
        for (seconds, bytes_per_request) in [(360, 1024), (2160, 150)] {
            let missed = Flatness::of(&leaking(&life(seconds), bytes_per_request)).unwrap().missed();
            assert!(missed.len() == 1 && missed[0].starts_with("memory grew"), "{seconds}: {missed:?}");
        }
    }

    #[test]
    fn a_descriptor_and_a_thread_left_behind_each_minute_are_not() {
        let mut life = life(360);
        for (at, sample) in life.iter_mut().enumerate() {
            sample.descriptors += at as u64 / 60;
            sample.threads += at as u64 / 60;
        }
        let missed = Flatness::of(&life).unwrap().missed();
        assert!(missed.len() == 2 && missed[0].contains("descriptors") && missed[1].contains("threads"), "{missed:?}");
    }

    #[test]
    fn a_leak_as_small_as_is_said_is_just_noticed() {
        let life = life(360);
        let bytes = leak_noticed_bytes(&life).unwrap();
        assert!(bytes > 0 && bytes < 1024, "{bytes}");
        assert!(!Flatness::of(&leaking(&life, bytes)).unwrap().missed().is_empty());
        assert!(Flatness::of(&leaking(&life, bytes - 1)).unwrap().missed().is_empty());
        assert_eq!(leak_noticed_bytes(&leaking(&life, 5000)), Some(0));
        assert_eq!(leak_noticed_bytes(&life[..100]), None);
    }

    #[test]
    fn a_short_life_is_not_judged() {
        assert!(Flatness::of(&life(39)).is_none() && Flatness::of(&life(40)).is_some());
    }
}
