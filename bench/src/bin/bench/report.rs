//! What is printed: medians side by side, ratios, goals. Refuses to judge the program: a goal that is missed is a fact.

use std::fmt::{self, Display, Formatter};

use hookbell_bench::machine::Machine;
use serde_json::{Map, Value, json};

use crate::{
    contender::Contender,
    turn::{BODIES_BYTES, CONNECTIONS, Figures, RATES, Spans, closed, open},
};

/// One contender, measured once.
#[derive(Debug)]
pub(crate) struct Turn {
    pub(crate) round: usize,
    pub(crate) contender: Contender,
    pub(crate) figures: Figures,
}

/// All of a run. Displayed as text of at most 120 columns.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    pub(crate) versions: String,
    pub(crate) spans: Spans,
    /// In the order of columns.
    pub(crate) contenders: Vec<Contender>,
    pub(crate) turns: Vec<Turn>,
}

/// How many times the other's figure ours must be.
const RATIO_GOALS: [(Contender, Option<f64>); 4] = [
    (Contender::Flask, Some(20.0)),
    (Contender::Webhook, Some(2.5)),
    (Contender::NoOp, Some(0.45)),
    (Contender::BareMinimum, None),
];
/// The goal at 500 requests per second: this many of the disk's own slow syncs, and this much for everything else.
const SYNCS_ALLOWED: f64 = 2.0;
const REST_ALLOWED_MS: f64 = 5.0;

const LABEL_COLUMNS: usize = 30;
const FIGURE_COLUMNS: usize = 15;

impl Report {
    /// Everything, unrounded.
    pub(crate) fn to_json(&self) -> Value {
        let machine: Map<String, Value> =
            self.machine.iter().map(|(name, value)| ((*name).into(), json!(value))).collect();
        let medians: Map<String, Value> = self
            .contenders
            .iter()
            .map(|contender| {
                let names =
                    self.turns.iter().filter(|turn| turn.contender == *contender).flat_map(|turn| turn.figures.keys());
                let figures: Map<String, Value> =
                    names.map(|name| (name.clone(), json!(self.median(*contender, name)))).collect();
                (contender.name().to_owned(), Value::Object(figures))
            })
            .collect();
        let turns: Vec<Value> = self
            .turns
            .iter()
            .map(|turn| json!({ "round": turn.round + 1, "contender": turn.contender.name(), "figures": turn.figures }))
            .collect();
        json!({ "machine": machine, "versions": self.versions, "medians": medians, "turns": turns })
    }

    fn all<'a>(&'a self, contender: Contender, name: &'a str) -> impl Iterator<Item = f64> + 'a {
        let turns = self.turns.iter().filter(move |turn| turn.contender == contender);
        turns.filter_map(move |turn| turn.figures.get(name).copied())
    }

    fn median(&self, contender: Contender, name: &str) -> Option<f64> {
        middle(self.all(contender, name).collect())
    }

    fn sum(&self, contender: Contender, name: &str) -> Option<f64> {
        self.all(contender, name).reduce(|sum, figure| sum + figure)
    }

    /// One ratio for each round: what was measured minutes apart is not compared.
    fn ratios(&self, ours: Contender, other: Contender, name: &str) -> Vec<f64> {
        self.all(ours, name).zip(self.all(other, name)).map(|(ours, other)| ours / other).collect()
    }

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

    fn table(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.line(f, "", |contender| Some(contender.name().to_owned()))?;
        writeln!(f, "answers per second, with so many connections busy all the time")?;
        for body_bytes in BODIES_BYTES {
            for connections in CONNECTIONS {
                let name = closed(body_bytes, connections, "answers_per_second");
                self.medians(f, &way(connections, body_bytes), &name, 1.0)?;
            }
        }
        self.medians(f, "  32, 13 KB, connections kept", "kept_alive.answers_per_second", 1.0)?;
        writeln!(f, "how long each of these took, ms: p50 / p99")?;
        for body_bytes in BODIES_BYTES {
            for connections in CONNECTIONS {
                self.latencies(f, &way(connections, body_bytes), |what| closed(body_bytes, connections, what))?;
            }
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
        self.medians(f, "  generator's CPU, % of a core", &name, 0.01)?;
        writeln!(f, "whether it is true, all rounds together")?;
        self.line(f, "  answers with 200", |contender| self.sum(contender, "answers").map(|sum| format!("{sum}")))?;
        self.line(f, "  rows found behind them", |contender| self.sum(contender, "rows").map(|sum| format!("{sum}")))?;
        self.line(f, "  requests without a 200", |contender| {
            self.sum(contender, "without_answer").map(|sum| format!("{sum}"))
        })
    }

    fn goals(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let ours = Contender::Receive;
        if !self.contenders.contains(&ours) {
            return Ok(());
        }
        writeln!(f, "\n{:57}{:>11}{:>9}{:>20}", "hookbell's goals", "wanted", "here", "from and to")?;
        let name = closed(BODIES_BYTES[1], 32, "answers_per_second");
        for (other, goal) in RATIO_GOALS {
            let ratios = self.ratios(ours, other, &name);
            let Some(median) = middle(ratios.clone()) else { continue };
            let (lowest, highest) = bounds(&ratios);
            writeln!(
                f,
                "{:57}{:>11}{:>9}{:>20}{}",
                format!("answers/s at 32 connections, 13 KB, of {}'s", other.name()),
                goal.map_or("-".to_owned(), |goal| format!("{} times", short(goal))),
                short(median),
                format!("{} to {}", short(lowest), short(highest)),
                goal.map_or(String::new(), |goal| format!("  {}", verdict(median >= goal))),
            )?;
        }
        let p99 = |contender| self.all(contender, "open.500_per_second.p99_ms").collect::<Vec<_>>();
        let bounds_ms: Vec<f64> =
            self.all(ours, "fsync.p99_ms").map(|sync_ms| SYNCS_ALLOWED * sync_ms + REST_ALLOWED_MS).collect();
        let met = p99(ours).iter().zip(&bounds_ms).filter(|(p99_ms, bound_ms)| p99_ms <= bound_ms).count();
        if let (Some(p99_ms), Some(bound_ms)) = (middle(p99(ours)), middle(bounds_ms.clone())) {
            let (lowest, highest) = bounds(&p99(ours));
            writeln!(
                f,
                "{:57}{:>11}{:>9}{:>20}  {} ({met} of {})",
                "p99 at 500 per second, ms: 2 of that run's p99 syncs + 5",
                short(bound_ms),
                short(p99_ms),
                format!("{} to {}", short(lowest), short(highest)),
                verdict(2 * met > bounds_ms.len()),
                bounds_ms.len(),
            )?;
        }
        for (label, name, unit) in [
            ("memory at rest, MB", "memory_at_rest_bytes", 1e6),
            ("memory up to 128 connections, MB", "memory_peak_bytes", 1e6),
            ("start to first answer, ms", "start_ms", 1.0),
            ("wake-ups per second at rest", "wake_ups_per_second", 1.0),
        ] {
            let figures: Vec<f64> = self.all(ours, name).map(|figure| figure / unit).collect();
            let Some(median) = middle(figures.clone()) else { continue };
            let (lowest, highest) = bounds(&figures);
            let range = format!("{} to {}", short(lowest), short(highest));
            writeln!(f, "{label:57}{:>11}{:>9}{range:>20}", "-", short(median))?;
        }
        Ok(())
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let rounds = self.turns.iter().map(|turn| turn.round + 1).max().unwrap_or(0);
        writeln!(
            f,
            "hookbell beside others, {}",
            match rounds {
                1 => "one round".to_owned(),
                _ => format!("medians of {rounds} interleaved rounds"),
            }
        )?;
        for (name, value) in &self.machine {
            writeln!(f, "{name:14}{value}")?;
        }
        writeln!(f, "{:14}{}\n", "others", self.versions)?;
        for contender in &self.contenders {
            writeln!(f, "{:14}{}", contender.name(), contender.promise())?;
        }
        writeln!(
            f,
            "\n\
             Every request is a connection of its own, has a body, a delivery id and a signature of its own, and counts when\n\
             its 200 is complete. Only `connections kept` sends the next request on the same one, where the server offers it;\n\
             hookbell does not (ARCHITECTURE.md). {:.1} s for each way with busy connections, {:.1} s for each clock. The load\n\
             generator is one thread on the same cores. Each log goes to a file: hookbell's has a line for each delivery, the\n\
             others' have none. Memory, CPU, wake-ups and bytes are those of all of a server's processes; what gunicorn's\n\
             workers share is counted for each. webhook's commands are counted nowhere. Flask's size is without Python; the\n\
             two of tiny_http are one program.\n",
            self.spans.closed.as_secs_f64(),
            self.spans.open.as_secs_f64(),
        )?;
        self.table(f)?;
        self.goals(f)
    }
}

fn verdict(is_met: bool) -> &'static str {
    if is_met { "met" } else { "missed" }
}

fn size(body_bytes: usize) -> String {
    if body_bytes < 1024 { format!("{body_bytes} B") } else { format!("{} KB", body_bytes / 1024) }
}

fn way(connections: usize, body_bytes: usize) -> String {
    format!("  {connections}, {}", size(body_bytes))
}

/// Three digits, more only before the point.
fn short(figure: f64) -> String {
    match figure.abs() {
        0.0 => "0".to_owned(),
        size if size >= 99.95 => format!("{figure:.0}"),
        size if size >= 9.995 => format!("{figure:.1}"),
        _ => format!("{figure:.2}"),
    }
}

fn middle(mut figures: Vec<f64>) -> Option<f64> {
    figures.sort_by(f64::total_cmp);
    let upper = *figures.get(figures.len() / 2)?;
    let lower = figures[(figures.len() - 1) / 2];
    Some(f64::midpoint(lower, upper))
}

fn bounds(figures: &[f64]) -> (f64, f64) {
    let lowest = figures.iter().copied().fold(f64::INFINITY, f64::min);
    (lowest, figures.iter().copied().fold(f64::NEG_INFINITY, f64::max))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(middle(vec![]), None);
        assert_eq!(middle(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(middle(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }

    #[test]
    fn figures_are_short() {
        let shown: Vec<_> = [0.0, 0.123, 9.994, 9.996, 99.94, 99.96, 12345.6].into_iter().map(short).collect();
        assert_eq!(shown, ["0", "0.12", "9.99", "10.0", "99.9", "100", "12346"]);
    }

    #[test]
    fn it_fits_into_120_columns_and_judges_round_by_round() {
        let figures = |factor: f64| -> Figures {
            let mut figures = Figures::new();
            for body_bytes in BODIES_BYTES {
                for connections in CONNECTIONS {
                    for what in
                        ["answers_per_second", "p50_ms", "p99_ms", "written_bytes_per_answer", "generator_share"]
                    {
                        figures.insert(closed(body_bytes, connections, what), 123_456.0 * factor);
                    }
                }
            }
            for (name, figure) in
                [("open.500_per_second.p50_ms", 1.0), ("open.500_per_second.p99_ms", 8.0), ("fsync.p99_ms", 1.5)]
            {
                figures.insert(name.to_owned(), figure);
            }
            figures
        };
        let turns = (0..2)
            .flat_map(|round| Contender::ALL.map(|contender| (round, contender)))
            .map(|(round, contender)| Turn {
                round,
                contender,
                figures: figures(if contender == Contender::Flask { 0.01 } else { 1.0 }),
            })
            .collect();
        let second = std::time::Duration::from_secs(1);
        let spans = Spans { warm_up: second, closed: second, open: second, rest: second, sync: second };
        let report =
            Report { machine: Vec::new(), versions: String::new(), spans, contenders: Contender::ALL.to_vec(), turns };
        let text = report.to_string();
        let widest = text.lines().map(|line| line.chars().count()).max();
        assert!(widest <= Some(120), "{widest:?} columns:\n{text}");
        let has = |start: &str, end: &str| text.lines().any(|line| line.starts_with(start) && line.ends_with(end));
        assert!(has("answers/s at 32 connections, 13 KB, of flask's", "met"), "{text}");
        assert!(has("answers/s at 32 connections, 13 KB, of webhook's", "missed"), "{text}");
        assert!(has("p99 at 500", "met (2 of 2)"), "{text}");
    }
}
