//! What came of it: the table and the judgement. Owns the limits that are judged; refuses to attack anybody.

use std::time::Duration;

use crate::polite::Summary;

/// Of any time of attack, for the polite sender.
const P99_MAX: Duration = Duration::from_millis(100);

/// Resident memory, whatever happens.
const RESIDENT_BYTES_MAX: u64 = 64 << 20;

/// How late this program itself may be before its measurements say nothing about the server.
const OWN_DELAY_MAX: Duration = Duration::from_millis(50);

/// What one case has shown about one server.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cell {
    /// Status, or what happened.
    pub(crate) what: String,
    pub(crate) resident_peak_bytes: Option<u64>,
    pub(crate) polite: Option<Summary>,
}

impl Cell {
    /// Whether the polite sender had to wait for too long, and nothing worse.
    pub(crate) fn is_only_slow(&self) -> bool {
        self.polite.as_ref().is_some_and(|polite| polite.lost.is_empty() && polite.p99 >= P99_MAX)
            && self.resident_peak_bytes.is_none_or(|bytes| bytes <= RESIDENT_BYTES_MAX)
    }

    /// One that has no more to it than this.
    pub(crate) fn said(what: impl Into<String>) -> Cell {
        Cell { what: what.into(), ..Cell::default() }
    }

    fn words(&self) -> String {
        let mut words = vec![self.what.clone()];
        words.extend(self.resident_peak_bytes.map(|bytes| format!("{} MB", bytes >> 20)));
        if let Some(polite) = &self.polite {
            words.push(format!("p99 {} ms", polite.p99.as_millis()));
            words.push(format!("lost {} of {}", polite.lost.len(), polite.sent));
        }
        words.retain(|word| !word.is_empty());
        words.join("; ")
    }
}

/// What is judged of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Judges {
    Everything,
    /// All but latency: where the attackers together want more processors than there are, and where the server lacks
    /// what it would serve with.
    AllButLatency,
}

/// All rows, and all that is wrong.
#[derive(Debug, Default)]
pub(crate) struct Report {
    rows: Vec<(String, Cell, Cell)>,
    faults: Vec<String>,
    /// What could not be told.
    doubts: Vec<String>,
    own_delay_max: Duration,
}

impl Report {
    /// Takes what hookbell did in a case, and judges it.
    pub(crate) fn ours(&mut self, case: &str, cell: Cell) {
        self.ours_by(Judges::Everything, case, cell);
    }

    /// The same, by some of the limits.
    pub(crate) fn ours_by(&mut self, judges: Judges, case: &str, cell: Cell) {
        if let Some(polite) = &cell.polite {
            if let Some(first) = polite.lost.first() {
                let (lost, sent) = (polite.lost.len(), polite.sent);
                self.fault(
                    case,
                    &format!("expected 200 for every polite request, and {lost} of {sent} got none: {first}"),
                );
            }
            self.own_delay_max = self.own_delay_max.max(polite.own_delay_p99);
            if polite.p99 >= P99_MAX && judges == Judges::Everything {
                let (p99, own) = (polite.p99.as_millis(), polite.own_delay_p99.as_millis());
                let max = P99_MAX.as_millis();
                if polite.own_delay_p99 > OWN_DELAY_MAX {
                    let words = format!(
                        "{case}: the p99 was {p99} ms, but this program itself was {own} ms late: \
                         the machine is too busy to tell, try again"
                    );
                    self.doubts.push(words);
                } else {
                    let words = format!("expected a p99 under {max} ms for the polite sender, and it was {p99} ms");
                    self.fault(case, &words);
                }
            }
        }
        if let Some(bytes) = cell.resident_peak_bytes.filter(|bytes| *bytes > RESIDENT_BYTES_MAX) {
            let max = RESIDENT_BYTES_MAX >> 20;
            self.fault(case, &format!("expected at most {max} MB of resident memory, and it was {} MB", bytes >> 20));
        }
        self.rows.push((case.to_owned(), cell, Cell::default()));
    }

    /// Takes what tiny_http did, which nobody judges.
    pub(crate) fn theirs(&mut self, case: &str, cell: Cell) {
        match self.rows.iter_mut().find(|(name, ..)| name == case) {
            Some((.., theirs)) => *theirs = cell,
            None => self.rows.push((case.to_owned(), Cell::said("–"), cell)),
        }
    }

    /// Something is not as it has to be.
    pub(crate) fn fault(&mut self, case: &str, words: &str) {
        self.faults.push(format!("{case}: {words}"));
    }

    /// Prints everything. Says whether all holds.
    pub(crate) fn print(&self) -> bool {
        let header = ("case".to_owned(), "hookbell".to_owned(), "tiny_http 0.12".to_owned());
        let mut lines = vec![header];
        lines.extend(self.rows.iter().map(|(case, ours, theirs)| (case.clone(), ours.words(), theirs.words())));
        let width = |of: fn(&(String, String, String)) -> &String| {
            lines.iter().map(|line| of(line).chars().count()).max().unwrap_or(0)
        };
        let widths = (width(|line| &line.0), width(|line| &line.1), width(|line| &line.2));
        for (index, line) in lines.iter().enumerate() {
            println!("| {:3$} | {:4$} | {:5$} |", line.0, line.1, line.2, widths.0, widths.1, widths.2);
            if index == 0 {
                println!("|-{:-<1$}-|-{2:-<3$}-|-{4:-<5$}-|", "", widths.0, "", widths.1, "", widths.2);
            }
        }
        println!();
        println!("this program itself was late by {} ms at most (p99 of a case)", self.own_delay_max.as_millis());
        for doubt in &self.doubts {
            println!("NOT TOLD {doubt}");
        }
        for fault in &self.faults {
            println!("FAILED {fault}");
        }
        self.faults.is_empty()
    }
}
