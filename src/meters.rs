//! What is counted and timed since the start, for whoever watches over time. Owns the counts; refuses to know how they are
//! shown and what they mean.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::threads::lock;

/// Upper bounds of a histogram's buckets, seconds, rising. The last bucket has none.
pub type Bounds = &'static [f64];

/// From the last byte of a request to its durable answer.
pub const ACK_BOUNDS: Bounds = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];
/// One attempt to deliver.
pub const DISPATCH_BOUNDS: Bounds = &[0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
/// How late an edge of the desk came.
pub const LATE_BOUNDS: Bounds = &[0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05, 0.25];

/// How often a time fell into which range.
#[derive(Debug)]
pub struct Histogram {
    bounds: Bounds,
    counts: Vec<AtomicU64>,
    sum_us: AtomicU64,
}

/// A reading of a [`Histogram`].
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// As it was made with.
    pub bounds: Bounds,
    /// How many fell at or below each bound, and last how many there were at all: cumulative.
    pub cumulative: Vec<u64>,
    /// All of them together, seconds.
    pub sum: f64,
}

impl Histogram {
    /// Nothing yet.
    pub fn new(bounds: Bounds) -> Histogram {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Histogram { bounds, counts, sum_us: AtomicU64::new(0) }
    }

    /// One more.
    pub fn count(&self, time: Duration) {
        let seconds = time.as_secs_f64();
        let bucket = self.bounds.partition_point(|bound| *bound < seconds);
        self.counts[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum_us.fetch_add(u64::try_from(time.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// What it shows now.
    pub fn read(&self) -> Reading {
        let mut total = 0;
        let cumulative = self
            .counts
            .iter()
            .map(|count| {
                total += count.load(Ordering::Relaxed);
                total
            })
            .collect();
        Reading { bounds: self.bounds, cumulative, sum: self.sum_us.load(Ordering::Relaxed) as f64 / 1e6 }
    }
}

/// How often something ended so, and how long it took.
#[derive(Debug, Default)]
struct Family {
    ended: BTreeMap<(String, &'static str), u64>,
    times: BTreeMap<String, Histogram>,
}

impl Family {
    fn count(&mut self, name: &str, ended: &'static str, took: Option<Duration>, bounds: Bounds) {
        // The names are those of the configuration, so there are few.
        *self.ended.entry((name.to_owned(), ended)).or_default() += 1;
        if let Some(took) = took {
            if !self.times.contains_key(name) {
                self.times.insert(name.to_owned(), Histogram::new(bounds));
            }
            if let Some(times) = self.times.get(name) {
                times.count(took);
            }
        }
    }

    fn read(&self) -> Counts {
        Counts {
            ended: self.ended.iter().map(|((name, ended), count)| (name.clone(), *ended, *count)).collect(),
            times: self.times.iter().map(|(name, times)| (name.clone(), times.read())).collect(),
        }
    }
}

/// A reading: how often each ended so, and how long each took.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counts {
    /// Name, how it ended, how often.
    pub ended: Vec<(String, &'static str, u64)>,
    /// By name.
    pub times: Vec<(String, Reading)>,
}

/// All that is counted by the door and the senders.
#[derive(Debug, Default)]
pub struct Meters {
    answers: Mutex<Family>,
    attempts: Mutex<Family>,
}

impl Meters {
    /// The door has answered a request to this source (empty: to none that there is); `took` of one that is durable.
    pub fn answered(&self, source: &str, result: &'static str, took: Option<Duration>) {
        lock(&self.answers).count(source, result, took, ACK_BOUNDS);
    }

    /// A dispatch was tried.
    pub fn tried(&self, sink: &str, outcome: &'static str, took: Duration) {
        lock(&self.attempts).count(sink, outcome, Some(took), DISPATCH_BOUNDS);
    }

    /// The door's answers by source.
    pub fn answers(&self) -> Counts {
        lock(&self.answers).read()
    }

    /// The attempts by sink.
    pub fn attempts(&self) -> Counts {
        lock(&self.attempts).read()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_falls_into_the_first_bucket_that_holds_it() {
        let histogram = Histogram::new(&[0.001, 0.01]);
        for us in [0, 1000, 1001, 10_000, 10_001, 5_000_000] {
            histogram.count(Duration::from_micros(us));
        }
        let reading = histogram.read();
        assert_eq!(reading.cumulative, [2, 4, 6]);
        assert!((reading.sum - 5.022_002).abs() < 1e-9);
    }

    #[test]
    fn names_are_counted_apart() {
        let meters = Meters::default();
        meters.answered("a", "accepted", Some(Duration::from_millis(3)));
        meters.answered("a", "refused", None);
        meters.answered("b", "accepted", Some(Duration::from_millis(3)));
        let counts = meters.answers();
        let ended: Vec<(&str, &str, u64)> =
            counts.ended.iter().map(|(name, ended, count)| (name.as_str(), *ended, *count)).collect();
        assert_eq!(ended, [("a", "accepted", 1), ("a", "refused", 1), ("b", "accepted", 1)]);
        assert_eq!(counts.times.len(), 2);
        assert!([ACK_BOUNDS, DISPATCH_BOUNDS, LATE_BOUNDS].iter().all(|bounds| bounds.is_sorted()));
    }
}
