//! The contenders side by side: a column each.

use std::fmt::{self, Formatter};

use super::{
    Report,
    text::{short, size},
};
use crate::{
    contender::Contender,
    turn::{BODIES_BYTES, CONNECTIONS, LARGE_BYTES, RATES, closed, open},
};

const LABEL_COLUMNS: usize = 29;
const FIGURE_COLUMNS: usize = 13;

impl Report {
    fn line(&self, f: &mut Formatter<'_>, label: &str, cell: impl Fn(Contender) -> Option<String>) -> fmt::Result {
        write!(f, "{label:LABEL_COLUMNS$}")?;
        for contender in &self.contenders {
            write!(f, "{:>FIGURE_COLUMNS$}", cell(*contender).unwrap_or_else(|| "-".to_owned()))?;
        }
        writeln!(f)
    }

    fn medians(&self, f: &mut Formatter<'_>, label: &str, name: &str, unit: f64) -> fmt::Result {
        self.line(f, label, |contender| self.median(contender, name).map(|figure| short(figure / unit)))
    }

    fn latencies(&self, f: &mut Formatter<'_>, label: &str, name: impl Fn(&str) -> String) -> fmt::Result {
        self.line(f, label, |contender| {
            let (p50, p99) = (self.median(contender, &name("p50_ms"))?, self.median(contender, &name("p99_ms"))?);
            Some(format!("{} / {}", short(p50), short(p99)))
        })
    }

    pub(super) fn table(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.line(f, "", |contender| Some(contender.name().to_owned()))?;
        writeln!(f, "answers per second, with so many connections busy all the time")?;
        for (connections, body_bytes) in ways() {
            let name = closed(body_bytes, connections, "answers_per_second");
            self.medians(f, &way((connections, body_bytes)), &name, 1.0)?;
        }
        self.medians(f, "  32, 13 KB, connections kept", "kept_alive.answers_per_second", 1.0)?;
        writeln!(f, "how long each of these took, ms: p50 / p99")?;
        for (connections, body_bytes) in ways() {
            self.latencies(f, &way((connections, body_bytes)), |what| closed(body_bytes, connections, what))?;
        }
        writeln!(f, "arrivals by the clock, 13 KB, ms from the scheduled moment: p50 / p99")?;
        for per_second in RATES {
            self.latencies(f, &format!("  {per_second} per second"), |what| open(per_second, what))?;
        }
        self.latencies(f, "  the disk's own sync, then", |what| format!("fsync.{what}"))?;
        writeln!(f, "what it costs")?;
        self.medians(f, "  memory at rest, MB", "memory_at_rest_bytes", 1e6)?;
        self.medians(f, "  memory up to 128 conn., MB", "memory_peak_bytes", 1e6)?;
        self.medians(f, "  program, MB", "program_bytes", 1e6)?;
        self.medians(f, "  start to first answer, ms", "start_ms", 1.0)?;
        self.medians(f, "  wake-ups per second at rest", "wake_ups_per_second", 1.0)?;
        for body_bytes in BODIES_BYTES {
            let name = closed(body_bytes, 32, "written_bytes_per_answer");
            self.medians(f, &format!("  KB to disk, {}, 32 conn.", size(body_bytes)), &name, 1e3)?;
        }
        self.medians(f, "  its CPU per answer, µs", &closed(BODIES_BYTES[1], 32, "cpu_us_per_answer"), 1.0)?;
        let name = closed(BODIES_BYTES[1], 32, "generator_share");
        self.medians(f, "  generator's CPU, % of core", &name, 0.01)?;
        writeln!(f, "whether it is true, all rounds together")?;
        self.line(f, "  answers with 200", |contender| self.sum(contender, "answers").map(|sum| format!("{sum}")))?;
        self.line(f, "  rows found behind them", |contender| self.sum(contender, "rows").map(|sum| format!("{sum}")))?;
        self.line(f, "  requests without a 200", |contender| {
            self.sum(contender, "without_answer").map(|sum| format!("{sum}"))
        })
    }
}

/// The ways with busy connections: how many, and how large the bodies are.
fn ways() -> impl Iterator<Item = (usize, usize)> {
    let all = BODIES_BYTES.into_iter().flat_map(|body_bytes| CONNECTIONS.map(|connections| (connections, body_bytes)));
    all.chain([(32, LARGE_BYTES)])
}

fn way((connections, body_bytes): (usize, usize)) -> String {
    format!("  {connections}, {}", size(body_bytes))
}
