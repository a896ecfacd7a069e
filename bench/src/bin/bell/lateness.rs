//! How late edges come, while the door is busy and while it is not. Cues are rung through the control socket; no rule
//! sends a delivery to the bell, so the door, the router and the store are busy with something else.

use std::{
    io,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use hookbell::bell::Edge;
use hookbell_bench::{
    desk::{Desk, LIGHT},
    load::{self, Arrivals, Outcome, percentile},
    push::Pool,
};

/// Signed pushes a second, and the size of each: GitHub's are about as large.
pub(crate) const PER_SECOND: u32 = 1000;
pub(crate) const BODY_BYTES: usize = 13 * 1024;

/// Light and sound at once, out of step: 20 edges each.
const CUE: &str = "many_edges";
const CUE_EDGES: usize = 40;
const CUE_LENGTH: Duration = Duration::from_millis(800);
/// As long as a cue may be.
const PATTERN: &str = "long_pattern";
const PATTERN_EDGES: usize = 100;
const PATTERN_LENGTH: Duration = Duration::from_secs(10);
const PATTERN_STEP_MS: f64 = 100.0;

const CUES: &str = r#"
[cues.many_edges]
led = "light"
blink = { on_ms = 40, off_ms = 40, times = 10 }
tune = "d=16,o=6,b=200:c,e,g,c,e,g,c,e,g,c"
[cues.long_pattern]
led = "light"
blink = { on_ms = 100, off_ms = 100, times = 50 }
tune = ""
"#;

/// The load begins so long before the first cue, and ends with the last one.
const LEAD: Duration = Duration::from_millis(500);
/// Nothing rings so long.
const LOAD_LONGEST: Duration = Duration::from_secs(600);

/// How much is rung.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Amount {
    pub(crate) cues: u32,
    pub(crate) patterns: u32,
}

impl Amount {
    pub(crate) fn edges(self) -> usize {
        self.cues as usize * CUE_EDGES + self.patterns as usize * PATTERN_EDGES
    }
}

/// One turn of one of the two.
#[derive(Debug)]
pub(crate) struct Turn {
    /// Of every edge, sorted.
    pub(crate) late_us: Vec<u64>,
    /// How late a thread of ours came meanwhile that only sleeps, sorted: what the machine does to everybody.
    pub(crate) bare_us: Vec<u64>,
    pub(crate) patterns: Vec<Drift>,
    /// `None` where nobody knocked.
    pub(crate) load: Option<Outcome>,
}

/// What becomes of a long pattern on its way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Drift {
    /// The last quarter's median lateness less the first one's, microseconds, as the program says.
    pub(crate) late_us: f64,
    /// The last quarter's mean distance from where its edges belong less the first one's, milliseconds, by the wall
    /// clock: what the program says does not enter here.
    pub(crate) wall_ms: f64,
}

/// Rings, with or without the load.
///
/// # Errors
/// When anything lied: an edge that is missing, a line that ends lit, a POST that was not answered 200, or was and has no
/// row.
pub(crate) fn take(executable: &Path, data: &Path, amount: Amount, seed: Option<u64>) -> io::Result<Turn> {
    let desk = Desk::start(executable, data, CUES)?;
    let address = desk.service.address;
    let is_over = AtomicBool::new(false);
    let (rung, bare, load) = thread::scope(|scope| {
        let sleeper = scope.spawn(|| sleep_until(&is_over));
        let generator = seed.map(|seed| {
            let mut pool = Pool::new("/webhooks/github", BODY_BYTES, seed);
            let (arrivals, is_over) = (Arrivals::Open { per_second: PER_SECOND }, &is_over);
            scope.spawn(move || load::run_until(address, &mut pool, arrivals, LOAD_LONGEST, is_over))
        });
        let rung = ring(&desk, amount);
        is_over.store(true, Ordering::Relaxed);
        let bare = sleeper.join().map_err(|_| io::Error::other("the sleeper panicked"));
        let load = generator.map(|thread| match thread.join() {
            Ok(outcome) => outcome,
            Err(_) => Err(io::Error::other("the load panicked")),
        });
        (rung, bare, load.transpose())
    });
    let ((), bare_us, load) = (rung?, bare?, load?);
    if let Some(load) = &load {
        must_be_answered(load, &desk)?;
    }
    let trace = desk.end()?;
    trace.must_have(amount.edges())?;
    let mut late_us: Vec<u64> = trace.edges.iter().map(|edge| edge.late_us).collect();
    late_us.sort_unstable();
    let patterns = trace.edges[amount.cues as usize * CUE_EDGES..].chunks(PATTERN_EDGES).map(drift).collect();
    Ok(Turn { late_us, bare_us, patterns, load })
}

fn ring(desk: &Desk, amount: Amount) -> io::Result<()> {
    thread::sleep(LEAD);
    (0..amount.cues).try_for_each(|_| desk.ring(CUE, CUE_LENGTH))?;
    (0..amount.patterns).try_for_each(|_| desk.ring(PATTERN, PATTERN_LENGTH))
}

/// As often as edges come, and nothing else: no lock, no file, no condition.
fn sleep_until(is_over: &AtomicBool) -> Vec<u64> {
    const STEP: Duration = Duration::from_millis(20);
    let mut late_us = Vec::new();
    let mut due = Instant::now();
    while !is_over.load(Ordering::Relaxed) {
        due += STEP;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        late_us.push(u64::try_from(due.elapsed().as_micros()).unwrap_or(u64::MAX));
    }
    late_us.sort_unstable();
    late_us
}

fn must_be_answered(load: &Outcome, desk: &Desk) -> io::Result<()> {
    if load.refused + load.failed > 0 {
        return Err(io::Error::other(format!(
            "{} POSTs were answered with something else than 200, {} not at all; its log:\n{}",
            load.refused,
            load.failed,
            desk.complaints().join("\n")
        )));
    }
    match desk.deliveries()? {
        rows if rows == load.answers => Ok(()),
        rows => Err(io::Error::other(format!("{} POSTs were answered 200, and {rows} are stored", load.answers))),
    }
}

/// Nobody drifts who is as late at the end as at the beginning.
fn drift(edges: &[Edge]) -> Drift {
    debug_assert!(edges.iter().all(|edge| edge.line == LIGHT), "a pattern of light alone");
    let quarter = edges.len() / 4;
    let median_late = |edges: &[Edge]| {
        let mut late_us: Vec<u64> = edges.iter().map(|edge| edge.late_us).collect();
        late_us.sort_unstable();
        percentile(&late_us, 0.5)
    };
    let off_ms: Vec<f64> = edges
        .iter()
        .enumerate()
        .map(|(place, edge)| (edge.t_ms - edges[0].t_ms) as f64 - place as f64 * PATTERN_STEP_MS)
        .collect();
    let mean = |figures: &[f64]| figures.iter().sum::<f64>() / figures.len() as f64;
    let last = edges.len() - quarter;
    Drift {
        late_us: median_late(&edges[last..]) - median_late(&edges[..quarter]),
        wall_ms: mean(&off_ms[last..]) - mean(&off_ms[..quarter]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_runs_slow_is_a_drift() {
        let edges = |step_us: u64| -> Vec<Edge> {
            let edge = |place: u64| Edge {
                t_ms: 1_700_000_000_000 + (place * (100_000 + step_us) / 1000) as i64,
                line: LIGHT.to_owned(),
                level: u8::from(place.is_multiple_of(2)),
                percent: None,
                hz: None,
                late_us: 60 + place * step_us,
            };
            (0..PATTERN_EDGES as u64).map(edge).collect()
        };
        let steady = drift(&edges(0));
        assert_eq!((steady.late_us, steady.wall_ms), (0.0, 0.0));
        let slow = drift(&edges(1000));
        assert_eq!((slow.late_us, slow.wall_ms), (75_000.0, 75.0));
    }
}
