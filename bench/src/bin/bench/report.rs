//! What is printed: medians side by side, ratios, goals. Refuses to judge the program: a goal that is missed is a fact.

mod goals;
mod parts;
mod table;
mod text;

use std::fmt::{self, Display, Formatter};

use hookbell_bench::machine::Machine;
use serde_json::{Map, Value, json};

use self::text::{middle, wrapped};
use crate::{
    contender::Contender,
    turn::{Figures, Spans},
    written::Bodies,
};

/// What is measured besides contenders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// What no receiver on this machine can exceed.
    Limits,
    /// Who is durable, on a disk whose syncs are slow.
    SlowDisk(Contender),
    /// hookbell with so many deliveries stored before.
    Stored(u64),
    /// How soon somebody hears of it.
    WayOut,
    /// What reaches the storage.
    Written(Bodies),
}

impl Part {
    /// The key in JSON.
    fn name(self) -> String {
        match self {
            Part::Limits => "limits".to_owned(),
            Part::SlowDisk(contender) => format!("slow-disk-{}", contender.name()),
            Part::Stored(rows) => format!("stored-{rows}"),
            Part::WayOut => "way-out".to_owned(),
            Part::Written(Bodies::Pushes) => "written-pushes".to_owned(),
            Part::Written(Bodies::Noise) => "written-noise".to_owned(),
        }
    }
}

/// One part, measured once: which, in which round, and what came of it.
pub(crate) type Measured = (Part, usize, Figures);

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
    /// Deliveries stored before, in [`Part::Stored`], besides none.
    pub(crate) stored: [u64; 2],
    /// In the order of columns.
    pub(crate) contenders: Vec<Contender>,
    pub(crate) turns: Vec<Turn>,
    pub(crate) parts: Vec<Measured>,
}

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
        let parts: Vec<Value> = self
            .parts
            .iter()
            .map(|(part, round, figures)| json!({ "round": round + 1, "part": part.name(), "figures": figures }))
            .collect();
        json!({ "parts": parts, "machine": machine, "versions": self.versions, "medians": medians, "turns": turns })
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
        self.all(ours, name)
            .zip(self.all(other, name))
            .filter(|(_, other)| *other > 0.0)
            .map(|(ours, other)| ours / other)
            .collect()
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let rounds = self.turns.iter().map(|turn| turn.round + 1).max();
        let rounds = rounds.or_else(|| self.parts.iter().map(|(_, round, _)| round + 1).max()).unwrap_or(0);
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
        writeln!(f, "{:14}{}\n", "others", wrapped(&self.versions, 14, 120))?;
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
             workers share is counted for each. webhook's commands are counted nowhere. hookbell has the\n\
             variables of its unit (MALLOC_ARENA_MAX=2), the others have none. Flask's size is without Python, and Node-RED's\n\
             without Node.js; the two of tiny_http are one program. Who cannot take 2000 per second leaves requests without\n\
             a 200: they stay in its queue until it is too late for them.\n",
            self.spans.closed.as_secs_f64(),
            self.spans.open.as_secs_f64(),
        )?;
        if !self.parts.is_empty() {
            writeln!(
                f,
                "The rows of the limits are those that hookbell itself has made of such requests, under other names, with its\n\
                 indexes, in commits of all that wait. The slow disk is one in the generator's memory, behind FUSE: what stands\n\
                 there compares with nothing elsewhere. What is stored before has small bodies, is settled, and is a day for\n\
                 each hundred thousand. Bytes are counted by the kernel when the process has ended and its log is moved.\n"
            )?;
        }
        if !self.contenders.is_empty() {
            self.table(f)?;
        }
        self.limits(f)?;
        self.slow_disk(f)?;
        self.stored(f)?;
        self.way_out(f)?;
        self.written(f)?;
        self.goals(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        limits::limit,
        stored::MEASURED,
        turn::{ALL_BODIES_BYTES, CONNECTIONS, closed},
    };

    /// Twice as much as hookbell takes, a quarter less with many rows, and half of what bytes would be unpacked.
    fn parts() -> Vec<Measured> {
        let limits = ["accept_loop", "commits"]
            .into_iter()
            .flat_map(|what| ALL_BODIES_BYTES.map(|bytes| (limit(what, bytes), 24_690.0)))
            .collect();
        let stored = |factor: f64, cost: f64| -> Figures {
            let figure = |is_more_better| if is_more_better { 5000.0 * factor } else { 5000.0 * cost };
            MEASURED.into_iter().map(|(name, _, _, is_more_better)| (name.to_owned(), figure(is_more_better))).collect()
        };
        let way_out = ["quiet", "busy"]
            .into_iter()
            .flat_map(|name| ["light", "slack"].map(|what| format!("{name}.{what}")))
            .flat_map(|name| [(format!("{name}.p50_ms"), 4.0), (format!("{name}.p99_ms"), 40.0)])
            .collect();
        let slow = |answers: f64| {
            Figures::from(
                [("answers_per_second", answers), ("p50_ms", 9.0), ("p99_ms", 9.5)]
                    .map(|(name, figure)| (name.to_owned(), figure)),
            )
        };
        let written = |figure| Figures::from([("written_bytes_per_payload_byte".to_owned(), figure)]);
        vec![
            (Part::Limits, 0, limits),
            (Part::SlowDisk(Contender::Receive), 0, slow(2000.0)),
            (Part::SlowDisk(Contender::Flask), 0, slow(100.0)),
            (Part::Stored(0), 0, stored(1.0, 1.0)),
            (Part::Stored(100_000), 0, stored(1.0, 1.0)),
            (Part::Stored(1_000_000), 0, stored(0.8, 1.05)),
            (Part::WayOut, 0, way_out),
            (Part::Written(Bodies::Pushes), 0, written(1.25)),
            (Part::Written(Bodies::Noise), 0, written(2.5)),
        ]
    }

    #[test]
    fn it_fits_into_120_columns_and_judges_round_by_round() {
        let figures = |factor: f64, sync_ms: f64| -> Figures {
            let mut figures = Figures::new();
            for body_bytes in ALL_BODIES_BYTES {
                for connections in CONNECTIONS {
                    for what in
                        ["answers_per_second", "p50_ms", "p99_ms", "written_bytes_per_answer", "generator_share"]
                    {
                        figures.insert(closed(body_bytes, connections, what), 12_345.0 * factor);
                    }
                }
            }
            for (name, figure) in
                [("open.500_per_second.p50_ms", 1.0), ("open.500_per_second.p99_ms", 8.0), ("fsync.p99_ms", sync_ms)]
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
                // The disk of the second round is quicker, and no excuse.
                figures: figures(if contender == Contender::Flask { 0.01 } else { 1.0 }, 3.0 - round as f64),
            })
            .collect();
        let second = std::time::Duration::from_secs(1);
        let spans = Spans { warm_up: second, closed: second, open: second, rest: second, sync: second, alone: second };
        let report = Report {
            machine: Vec::new(),
            versions: ["a program of some version 1.2.3"; 9].join(", "),
            spans,
            stored: [100_000, 1_000_000],
            contenders: Contender::ALL.to_vec(),
            turns,
            parts: parts(),
        };
        let text = report.to_string();
        let widest = text.lines().map(|line| line.chars().count()).max();
        assert!(widest <= Some(120), "{widest:?} columns:\n{text}");
        let has = |start: &str, end: &str| text.lines().any(|line| line.starts_with(start) && line.ends_with(end));
        assert!(has("answers/s at 32 connections, 13 KB, of flask's", "met"), "{text}");
        assert!(has("answers/s at 32 connections, 13 KB, of webhook's", "missed"), "{text}");
        assert!(has("answers/s at 32 connections, 13 KB, of bare-minimum's", "met"), "{text}");
        assert!(has("p99 at 500", "missed (1 of 2)"), "{text}");
        assert!(has("  accepting, reading to the end, answering, closing", "24690"), "{text}");
        assert!(has("    hookbell's answers, of that", "0.50"), "{text}");
        assert!(has("  hookbell", "1.00") && has("  flask", "20.0"), "{text}");
        assert!(has("  answers per second at 32 connections, 13 KB", "1.25 times  missed"), "{text}");
        assert!(has("  memory at rest, MB", "1.05 times  met"), "{text}");
        assert!(has("the most that 1000000 stored rows cost", "missed"), "{text}");
        assert!(has("  that was", "answers per second at 32 connections, 13 KB"), "{text}");
        assert!(has("  to its message at a Slack on this machine", "40.0"), "{text}");
        assert!(has("bytes written at 500/s, of the same uncompressed", "met"), "{text}");
        assert!(has("bytes written at 500/s, for each of a body", "missed"), "{text}");
        assert!(report.to_json()["parts"].as_array().is_some_and(|parts| parts.len() == 9));
    }
}
