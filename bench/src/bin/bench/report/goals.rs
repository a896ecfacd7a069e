//! What is wanted of hookbell, each beside what it was here: ratios within one round, never figures of another day.

use std::fmt::{self, Formatter, Write as _};

use super::{
    Part, Report,
    parts::STORED_COST_MAX,
    text::{middle, range, short, verdict},
};
use crate::{
    contender::Contender,
    stored::MEASURED,
    turn::{BODIES_BYTES, closed},
    written::Bodies,
};

/// How many times the other's figure ours must be. Flask and webhook promise less than we do.
const RATIO_GOALS: [(Contender, Option<f64>); 5] = [
    (Contender::Flask, Some(25.0)),
    (Contender::Webhook, Some(4.0)),
    (Contender::BareMinimum, Some(0.70)),
    (Contender::NoOp, None),
    (Contender::NodeRed, None),
];
/// The goal at 500 requests per second: this many of the disk's own slow syncs, and this much for everything else.
const SYNCS_ALLOWED: f64 = 2.0;
const REST_ALLOWED_MS: f64 = 3.0;
const AT_REST_MAX_BYTES: f64 = 12e6;
const PEAK_MAX_BYTES: f64 = 24e6;
/// Of the same, not packed; and for each byte of a body.
const WRITTEN_SHARE_MAX: f64 = 0.60;
const WRITTEN_MAX: f64 = 1.20;

impl Report {
    /// Nothing where nothing was measured that has a goal.
    pub(super) fn goals(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut lines = String::new();
        self.goal_lines(&mut lines)?;
        match lines.is_empty() {
            true => Ok(()),
            false => {
                write!(f, "\n{:57}{:>12}{:>9}{:>20}\n{lines}", "hookbell's goals", "wanted", "here", "from and to")
            }
        }
    }

    fn goal_lines(&self, f: &mut String) -> fmt::Result {
        let ours = Contender::Receive;
        let name = closed(BODIES_BYTES[1], 32, "answers_per_second");
        for (other, goal) in RATIO_GOALS {
            let label = format!("answers/s at 32 connections, 13 KB, of {}'s", other.name());
            let wanted = goal.map(|goal| (format!("{} times", short(goal)), goal));
            goal_line(f, &label, &self.ratios(ours, other, &name), wanted, |here, goal| here >= goal)?;
        }
        self.slow_answers(f)?;
        for (label, name, unit, goal) in [
            ("memory at rest, MB", "memory_at_rest_bytes", 1e6, Some(AT_REST_MAX_BYTES)),
            ("memory up to 128 connections, MB", "memory_peak_bytes", 1e6, Some(PEAK_MAX_BYTES)),
            ("start to first answer, ms", "start_ms", 1.0, None),
            ("wake-ups per second at rest", "wake_ups_per_second", 1.0, None),
        ] {
            let figures: Vec<f64> = self.all(ours, name).map(|figure| figure / unit).collect();
            let wanted = goal.map(|goal| (at_most(goal / unit), goal / unit));
            goal_line(f, label, &figures, wanted, |here, goal| here <= goal)?;
        }
        self.worst_of_stored(f)?;
        let wanted = Some((format!("{} times", at_most(WRITTEN_SHARE_MAX)), WRITTEN_SHARE_MAX));
        let label = "bytes written at 500/s, of the same uncompressed";
        goal_line(f, label, &self.written_ratios(), wanted, |here, goal| here <= goal)?;
        let written: Vec<f64> = self.of_part(Part::Written(Bodies::Pushes), "written_bytes_per_payload_byte").collect();
        let label = "bytes written at 500/s, for each of a body";
        goal_line(f, label, &written, Some((at_most(WRITTEN_MAX), WRITTEN_MAX)), |here, goal| here <= goal)
    }

    /// Each round is judged by its own disk.
    fn slow_answers(&self, f: &mut String) -> fmt::Result {
        let ours = Contender::Receive;
        let p99_ms: Vec<f64> = self.all(ours, "open.500_per_second.p99_ms").collect();
        let bounds_ms: Vec<f64> =
            self.all(ours, "fsync.p99_ms").map(|sync_ms| SYNCS_ALLOWED * sync_ms + REST_ALLOWED_MS).collect();
        let met = p99_ms.iter().zip(&bounds_ms).filter(|(p99_ms, bound_ms)| p99_ms <= bound_ms).count();
        let Some(bound_ms) = middle(bounds_ms.clone()) else { return Ok(()) };
        let label = "p99 at 500 per second, ms: 2 of that run's p99 syncs + 3";
        let rounds = bounds_ms.len();
        let Some(here) = middle(p99_ms.clone()) else { return Ok(()) };
        let (wanted, here, range) = (at_most(bound_ms), short(here), range(&p99_ms));
        writeln!(f, "{label:57}{wanted:>12}{here:>9}{range:>20}  {} ({met} of {rounds})", verdict(2 * met > rounds))
    }

    /// Of all that is measured with the most rows, what suffers most.
    fn worst_of_stored(&self, f: &mut String) -> fmt::Result {
        let [_, rows] = self.stored;
        let costs = MEASURED.into_iter().filter_map(|(name, label, _, is_more_better)| {
            let costs = self.stored_costs(rows, name, is_more_better);
            middle(costs.clone()).map(|cost| (cost, costs, label))
        });
        let Some((_, costs, what)) = costs.max_by(|(one, ..), (other, ..)| one.total_cmp(other)) else {
            return Ok(());
        };
        let wanted = Some((format!("< {} times", short(STORED_COST_MAX)), STORED_COST_MAX));
        goal_line(f, &format!("the most that {rows} stored rows cost"), &costs, wanted, |here, goal| here < goal)?;
        writeln!(f, "  that was: {what}")
    }
}

fn at_most(figure: f64) -> String {
    format!("≤ {}", short(figure))
}

/// One goal, or one figure without; nothing when it was not measured. The median is judged.
fn goal_line(
    f: &mut String,
    label: &str,
    figures: &[f64],
    wanted: Option<(String, f64)>,
    is_met: impl Fn(f64, f64) -> bool,
) -> fmt::Result {
    let Some(median) = middle(figures.to_vec()) else { return Ok(()) };
    let (wanted, mark) = match wanted {
        Some((text, goal)) => (text, format!("  {}", verdict(is_met(median, goal)))),
        None => ("-".to_owned(), String::new()),
    };
    writeln!(f, "{label:57}{wanted:>12}{:>9}{:>20}{mark}", short(median), range(figures))
}
