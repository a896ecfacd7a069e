//! What the last day was like, in figures. Owns percentiles and hours; what was measured others know.

use std::{
    collections::BTreeMap,
    sync::Mutex,
    time::{Duration, Instant},
};

use serde_json::{Map, Value, json};

use super::api::{Api, Problem, to_value};
use crate::{
    store::{Counted, Flash, Lately, QueueCount, SinkTally, Size},
    threads::lock,
    time::Timestamp,
};

/// Whoever looks at the same time looks at the same figures: on a Pi they cost a tenth of a second.
const FRESH: Duration = Duration::from_secs(5);
const HOUR_MS: i64 = 3_600_000;
const HOURS: i64 = 24;

/// The latest answer, and what of it does not change any more.
#[derive(Default)]
pub(super) struct Stats(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    answer: Option<(Instant, Value)>,
    /// Deliveries of each hour; the hours that are over were counted once.
    hours: BTreeMap<i64, i64>,
}

impl Api {
    /// `GET /api/stats`
    pub(super) fn stats(&self) -> Result<Value, Problem> {
        let mut kept = lock(&self.stats.0);
        if let Some((at, answer)) = &kept.answer
            && at.elapsed() < FRESH
        {
            return Ok(answer.clone());
        }
        let answer = self.count(&mut kept.hours)?;
        kept.answer = Some((Instant::now(), answer.clone()));
        Ok(answer)
    }

    fn count(&self, counted: &mut BTreeMap<i64, i64>) -> Result<Value, Problem> {
        let now = self.now();
        let (first, present) = (now.ms() / HOUR_MS - HOURS + 1, now.ms() / HOUR_MS);
        counted.retain(|hour, _| (first..=present).contains(hour));
        // Everything anew, or from before the last hour that was counted: it was not over, and some of the one before may have
        // come in late.
        let from = counted.last_key_value().map_or(first, |(last, _)| (last - 1).clamp(first, present));
        let since = Timestamp::from_ms(first * HOUR_MS);
        let unsettled = self.parts.store.unsettled();
        let (hourly, dead, lately, queues, size, flash) = self.read(|reader| {
            Ok((
                reader.hourly(from)?,
                reader.hourly_dead(since)?,
                reader.lately(now)?,
                reader.queues()?,
                reader.size()?,
                reader.flash(now, unsettled)?,
            ))
        })?;
        counted.extend(hourly);
        // An hour in which nothing came has been counted as well.
        counted.entry(present).or_default();
        let total: i64 = counted.values().sum();
        Ok(json!({
            "window": { "since": since, "until": now },
            "deliveries": lately.statuses,
            "total": total,
            "hours": hours(first..=present, counted, &dead, &lately),
            "latency": latency(&lately),
            "queues": self.queues(queues),
            "store": self.disk(&size),
            "flash": card(&flash),
            "door": self.parts.counters.as_ref().map(|counters| {
                let counts = counters.read();
                json!({
                    "accepted": counts.stored,
                    "duplicate": counts.duplicate,
                    "refused": counts.refused,
                    "limited": counts.limited,
                    "unavailable": counts.unavailable,
                })
            }),
            "commits": self.parts.store.commits(),
        }))
    }

    /// Every sink's, also of one that owes nothing.
    fn queues(&self, mut queues: Vec<QueueCount>) -> Value {
        for sink in self.parts.settings.sinks.keys() {
            if !queues.iter().any(|queue| queue.sink == *sink) {
                queues.push(QueueCount::none(sink));
            }
        }
        queues.sort_by(|one, other| one.sink.cmp(&other.sink));
        to_value(&queues)
    }

    fn disk(&self, size: &Size) -> Value {
        let settings = &self.parts.settings.store;
        json!({
            "database_bytes": size.file_bytes + size.log_bytes,
            "used_bytes": size.used_bytes,
            "size_bytes_max": settings.size_bytes_max,
            "keep": settings.keep.map_or_else(|| "forever".to_owned(), crate::config::show_duration),
            "oldest": size.oldest,
            "free_bytes": crate::store::free_bytes(&settings.path).ok(),
        })
    }
}

fn card(flash: &Flash) -> Value {
    let Counted { written_bytes, deliveries, .. } = flash.lately;
    json!({
        "today_bytes": flash.today.written_bytes,
        "per_delivery_bytes": written_bytes.filter(|_| deliveries > 0).map(|bytes| bytes / deliveries),
        "per_year_bytes": flash.bytes_a_year().map(|bytes| bytes as i64),
    })
}

fn latency(lately: &Lately) -> Value {
    let durable = lately.durable.iter().map(|(_, us)| *us as f64 / 1000.0).collect();
    let shown = lately.shown.iter().map(|(_, ms)| *ms as f64).collect();
    let took = |sink: &SinkTally| percentiles(sink.took.iter().map(|(_, ms)| *ms as f64).collect());
    let sent = lately.sinks.iter().filter(|(_, sink)| !sink.took.is_empty());
    let sinks: Map<String, Value> = sent.map(|(name, sink)| (name.clone(), took(sink))).collect();
    json!({
        "sampled": lately.sampled,
        "durable": percentiles(durable),
        "sinks": sinks,
        "led": percentiles(shown),
    })
}

/// Null of none.
fn percentiles(mut times: Vec<f64>) -> Value {
    times.sort_unstable_by(f64::total_cmp);
    let Some(max) = times.last().copied() else { return Value::Null };
    let at = |share: usize| rank(&times, share);
    json!({ "count": times.len(), "p50_ms": at(50), "p90_ms": at(90), "p99_ms": at(99), "max_ms": max })
}

/// The time that so many hundredths do not exceed, of times that rise: the nearest rank.
fn rank(times: &[f64], share: usize) -> Option<f64> {
    times.get((times.len() * share).div_ceil(100).saturating_sub(1)).copied()
}

fn hours(
    range: std::ops::RangeInclusive<i64>,
    counted: &BTreeMap<i64, i64>,
    dead: &BTreeMap<i64, i64>,
    lately: &Lately,
) -> Vec<Value> {
    let (mut durable, mut shown) = (BTreeMap::<i64, Vec<f64>>::new(), BTreeMap::<i64, Vec<f64>>::new());
    let mut sent = BTreeMap::<i64, BTreeMap<&str, Vec<f64>>>::new();
    for (hour, us) in &lately.durable {
        durable.entry(*hour).or_default().push(*us as f64 / 1000.0);
    }
    for (hour, ms) in &lately.shown {
        shown.entry(*hour).or_default().push(*ms as f64);
    }
    for (name, sink) in &lately.sinks {
        for (hour, ms) in &sink.took {
            sent.entry(*hour).or_default().entry(name).or_default().push(*ms as f64);
        }
    }
    let p99 = |times: Option<Vec<f64>>| {
        let mut times = times?;
        times.sort_unstable_by(f64::total_cmp);
        rank(&times, 99)
    };
    let hour = |hour: i64| {
        let sinks = sent.remove(&hour).unwrap_or_default();
        let sinks: Map<String, Value> =
            sinks.into_iter().map(|(sink, times)| (sink.to_owned(), p99(Some(times)).into())).collect();
        json!({
            "at": Timestamp::from_ms(hour * HOUR_MS),
            "received": counted.get(&hour).copied().unwrap_or(0),
            "failed": dead.get(&hour).copied().unwrap_or(0),
            "durable_p99_ms": p99(durable.remove(&hour)),
            "sinks_p99_ms": sinks,
            "led_p99_ms": p99(shown.remove(&hour)),
        })
    };
    range.map(hour).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_ranks() {
        let times = (1..=200).map(f64::from).collect();
        let found = percentiles(times);
        assert_eq!(found, json!({ "count": 200, "p50_ms": 100.0, "p90_ms": 180.0, "p99_ms": 198.0, "max_ms": 200.0 }));
        assert_eq!(percentiles(vec![7.0])["p50_ms"], 7.0);
        assert_eq!(percentiles(Vec::new()), Value::Null);
    }

    #[test]
    fn hours_without_anything_are_there_and_empty() {
        let lately = Lately {
            durable: vec![(11, 4000), (11, 2000)],
            sinks: BTreeMap::from([("slack".to_owned(), SinkTally { took: vec![(11, 300)], ..SinkTally::default() })]),
            ..Lately::default()
        };
        let found = hours(10..=11, &BTreeMap::from([(11, 2)]), &BTreeMap::new(), &lately);
        assert_eq!(found.len(), 2);
        assert_eq!((&found[0]["received"], &found[0]["durable_p99_ms"]), (&json!(0), &Value::Null));
        assert_eq!(found[1]["durable_p99_ms"], 4.0);
        assert_eq!(found[1]["sinks_p99_ms"], json!({ "slack": 300.0 }));
    }
}
