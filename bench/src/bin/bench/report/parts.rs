//! What is no contender: the limits of the machine, and what only hookbell does. A small table each.

use std::fmt::{self, Formatter};

use super::{
    Part, Report,
    text::{middle, short, size, verdict},
};
use crate::{
    contender::Contender,
    limits::limit,
    slow_disk,
    stored::MEASURED,
    turn::{ALL_BODIES_BYTES, Figures, closed},
    way_out,
    written::Bodies,
};

const LABEL_COLUMNS: usize = 57;
const FIGURE_COLUMNS: usize = 15;

/// With that many rows before, nothing may be worse by more.
pub(super) const STORED_COST_MAX: f64 = 1.10;

impl Report {
    /// The figures of a part, one for each of its rounds.
    pub(super) fn of_part<'a>(&'a self, part: Part, name: &'a str) -> impl Iterator<Item = f64> + 'a {
        let parts = self.parts.iter().filter(move |(of, _, _)| *of == part);
        parts.filter_map(move |(_, _, figures): &(Part, usize, Figures)| figures.get(name).copied())
    }

    pub(super) fn part_median(&self, part: Part, name: &str) -> Option<f64> {
        middle(self.of_part(part, name).collect())
    }

    /// How many times as dear each figure is with so many rows before, round by round.
    pub(super) fn stored_costs(&self, rows: u64, name: &str, is_more_better: bool) -> Vec<f64> {
        let without = self.of_part(Part::Stored(0), name);
        let pairs = self.of_part(Part::Stored(rows), name).zip(without);
        pairs.map(|(with, without)| if is_more_better { without / with } else { with / without }).collect()
    }

    /// Bytes written for each of a body, of the same without packing, round by round.
    pub(super) fn written_ratios(&self) -> Vec<f64> {
        let name = "written_bytes_per_payload_byte";
        let noise = self.of_part(Part::Written(Bodies::Noise), name);
        self.of_part(Part::Written(Bodies::Pushes), name).zip(noise).map(|(packed, noise)| packed / noise).collect()
    }

    fn has(&self, part: Part) -> bool {
        self.parts.iter().any(|(of, _, _)| *of == part)
    }

    pub(super) fn limits(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if !self.has(Part::Limits) {
            return Ok(());
        }
        write!(f, "\n{:LABEL_COLUMNS$}", "the limits of this machine, per second, 32 at once")?;
        ALL_BODIES_BYTES.iter().try_for_each(|bytes| write!(f, "{:>FIGURE_COLUMNS$}", size(*bytes)))?;
        writeln!(f)?;
        for (what, label) in [
            ("accept_loop", "  accepting, reading to the end, answering, closing"),
            ("commits", "  committing the rows that hookbell stores, in its schema"),
        ] {
            let cells = ALL_BODIES_BYTES.map(|bytes| self.part_median(Part::Limits, &limit(what, bytes)));
            line(f, label, cells.map(|figure| figure.map(short)))?;
            let shares = ALL_BODIES_BYTES.map(|bytes| {
                let ours = closed(bytes, 32, "answers_per_second");
                let limit = limit(what, bytes);
                let pairs = self.all(Contender::Receive, &ours).zip(self.of_part(Part::Limits, &limit));
                middle(pairs.map(|(ours, limit)| ours / limit).collect())
            });
            line(f, "    hookbell's answers, of that", shares.map(|share| share.map(short)))?;
        }
        Ok(())
    }

    pub(super) fn slow_disk(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let ours = Part::SlowDisk(Contender::Receive);
        let measured: Vec<Contender> =
            slow_disk::DURABLE.into_iter().filter(|contender| self.has(Part::SlowDisk(*contender))).collect();
        if measured.is_empty() {
            return Ok(());
        }
        let title = format!("\na disk whose syncs take {} ms, 32, 13 KB", slow_disk::SYNC_TAKES.as_millis());
        let titles = ["per second", "p50, ms", "p99, ms", "ours, times"].map(|title| Some(title.to_owned()));
        line(f, &title, titles)?;
        for contender in measured {
            let part = Part::SlowDisk(contender);
            let cells = ["answers_per_second", "p50_ms", "p99_ms"].map(|name| self.part_median(part, name).map(short));
            let [answers, p50, p99] = cells;
            let pairs = self.of_part(ours, "answers_per_second").zip(self.of_part(part, "answers_per_second"));
            let times = middle(pairs.map(|(ours, other)| ours / other).collect()).map(short);
            line(f, &format!("  {}", contender.name()), [answers, p50, p99, times])?;
        }
        Ok(())
    }

    pub(super) fn stored(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if !self.has(Part::Stored(0)) {
            return Ok(());
        }
        let [some, many] = self.stored;
        let titles = ["none".to_owned(), some.to_string(), many.to_string(), "cost of most".to_owned()];
        line(f, "\n`hookbell run` with deliveries stored before", titles.map(Some))?;
        for (name, label, unit, is_more_better) in MEASURED {
            let medians = [0, some, many].map(|rows| self.part_median(Part::Stored(rows), name));
            let cost = middle(self.stored_costs(many, name, is_more_better));
            let [none, few, most] = medians.map(|median| median.map(|figure| short(figure / unit)));
            let mark = cost.map(|cost| verdict(cost < STORED_COST_MAX));
            let label = format!("  {label}");
            write_cells(f, &label, [none, few, most, cost.map(|cost| format!("{} times", short(cost)))])?;
            writeln!(f, "  {}", mark.unwrap_or_default())?;
        }
        Ok(())
    }

    pub(super) fn way_out(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if !self.has(Part::WayOut) {
            return Ok(());
        }
        let titles = ["p50, alone", "p99", "p50, 500/s", "p99"].map(|title| Some(title.to_owned()));
        line(f, "\nfrom the first byte of a POST of 13 KB, ms", titles)?;
        for (what, label) in [("light", "  to its light"), ("slack", "  to its message at a Slack on this machine")] {
            let [alone, busy] = way_out::BESIDE.map(|(name, _)| {
                ["p50_ms", "p99_ms"].map(|share| self.part_median(Part::WayOut, &format!("{name}.{what}.{share}")))
            });
            line(f, label, [alone[0], alone[1], busy[0], busy[1]].map(|figure| figure.map(short)))?;
        }
        Ok(())
    }

    pub(super) fn written(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if !self.has(Part::Written(Bodies::Pushes)) {
            return Ok(());
        }
        line(f, "\nbytes written for each of a body, 500 per second, 13 KB", [Some("until the end".to_owned())])?;
        for (bodies, label) in [
            (Bodies::Pushes, "  pushes, as GitHub sends them"),
            (Bodies::Noise, "  random bytes, which are kept as they come"),
        ] {
            let median = self.part_median(Part::Written(bodies), "written_bytes_per_payload_byte");
            line(f, label, [median.map(short)])?;
        }
        Ok(())
    }
}

fn line<const CELLS: usize>(f: &mut Formatter<'_>, label: &str, cells: [Option<String>; CELLS]) -> fmt::Result {
    let label = match label.strip_prefix('\n') {
        Some(label) => {
            writeln!(f)?;
            label
        }
        None => label,
    };
    write_cells(f, label, cells)?;
    writeln!(f)
}

/// A table of more columns than three has a shorter label.
fn write_cells<const CELLS: usize>(f: &mut Formatter<'_>, label: &str, cells: [Option<String>; CELLS]) -> fmt::Result {
    let width = if CELLS > 3 { LABEL_COLUMNS - FIGURE_COLUMNS + 6 } else { LABEL_COLUMNS };
    write!(f, "{label:width$}")?;
    cells.into_iter().try_for_each(|cell| write!(f, "{:>FIGURE_COLUMNS$}", cell.unwrap_or_else(|| "-".to_owned())))
}
