//! What came of a fault, and the table of all. Owns what counts as lost and how a table fits a screen; refuses to do harm.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt::Write as _,
    time::Duration,
};

use crate::sender::Promise;

/// Of the table, with its frame.
pub const COLUMNS_MAX: usize = 120;
const HEADINGS: [&str; 7] = ["fault", "promised", "refused", "lost", "deaf", "desk", "told"];
const WIDTHS: [usize; 7] = [20, 8, 12, 7, 7, 20, 24];

/// One fault, and what came of it.
#[derive(Clone, Debug, Default)]
pub struct Finding {
    /// Its name.
    pub fault: String,
    /// What was done, in short.
    pub did: String,
    /// Deliveries that were answered 200.
    pub promised: usize,
    /// The others: by status, and `none` without an answer.
    pub refused: BTreeMap<String, usize>,
    /// The same by what they were told; shown beneath the table.
    pub reasons: BTreeMap<String, usize>,
    /// What was promised and not kept, with the reason.
    pub lost: Vec<String>,
    /// The longest time without a 200.
    pub deaf: Duration,
    /// What the LEDs and the buzzer showed.
    pub desk: String,
    /// What told the user.
    pub told: String,
    /// How often it had to be started again.
    pub restarts: u32,
    /// Expectations that were missed, in words.
    pub missed: Vec<String>,
    /// Why it was not done at all.
    pub skipped: Option<String>,
}

impl Finding {
    /// This machine does not allow it.
    pub fn skipped(fault: &str, why: impl Into<String>) -> Finding {
        Finding { fault: fault.to_owned(), skipped: Some(why.into()), ..Finding::default() }
    }

    /// Notes an expectation that was missed.
    pub fn expect(&mut self, is_met: bool, words: impl FnOnce() -> String) {
        if !is_met {
            self.missed.push(words());
        }
    }

    /// Whether all holds.
    pub fn is_good(&self) -> bool {
        self.lost.is_empty() && self.missed.is_empty()
    }

    fn cells(&self) -> [String; 7] {
        if let Some(why) = &self.skipped {
            let mut cells = [""; 7].map(str::to_owned);
            (cells[0], cells[6]) = (self.fault.clone(), format!("skipped: {why}"));
            return cells;
        }
        let refused: Vec<String> = self.refused.iter().map(|(status, count)| format!("{count} × {status}")).collect();
        let did = if self.did.is_empty() { String::new() } else { format!(": {}", self.did) };
        let restarts = match self.restarts {
            0 => String::new(),
            1 => "; 1 restart".to_owned(),
            count => format!("; {count} restarts"),
        };
        [
            format!("{}{did}{restarts}", self.fault),
            self.promised.to_string(),
            if refused.is_empty() { "0".to_owned() } else { refused.join(", ") },
            self.lost.len().to_string(),
            format!("{:.2} s", self.deaf.as_secs_f64()),
            self.desk.clone(),
            self.told.clone(),
        ]
    }
}

/// What was promised and is not in the database byte for byte, or did not reach Slack. `rows` has the hash of each stored
/// body by the sender's id, `told` every mark that Slack has acknowledged.
pub fn lost(promised: &[Promise], rows: &HashMap<String, [u8; 32]>, told: &HashSet<String>) -> Vec<String> {
    let why = |promise: &Promise| match rows.get(&promise.id) {
        None => Some("is not in the database"),
        Some(sha256) if *sha256 != promise.sha256 => Some("is stored with other bytes"),
        Some(_) if !told.contains(&promise.mark) => Some("never reached Slack"),
        Some(_) => None,
    };
    promised.iter().filter_map(|promise| Some(format!("{} {}", promise.id, why(promise)?))).collect()
}

/// What was told later than what was accepted after it, within its subject. Each message is its subject and its place in
/// the order of acceptance; only the first time counts, for a message may be repeated.
pub fn out_of_order(told: &[(u64, u64)]) -> Vec<String> {
    let (mut seen, mut highest) = (HashSet::new(), HashMap::new());
    let mut found = Vec::new();
    for (subject, place) in told.iter().filter(|message| seen.insert(**message)) {
        let last = highest.entry(subject).or_insert(*place);
        if place < last {
            found.push(format!("{place} came behind {last}"));
        }
        *last = (*last).max(*place);
    }
    found
}

/// The table of all, at most [`COLUMNS_MAX`] columns wide.
pub fn table(findings: &[Finding]) -> String {
    let mut text = String::new();
    row(&mut text, &HEADINGS.map(str::to_owned));
    rule(&mut text);
    for finding in findings {
        row(&mut text, &finding.cells());
        rule(&mut text);
    }
    text
}

fn rule(text: &mut String) {
    let dashes: Vec<String> = WIDTHS.iter().map(|width| "-".repeat(width + 2)).collect();
    // Writing to a string cannot fail.
    let _ = writeln!(text, "|{}|", dashes.join("|"));
}

fn row(text: &mut String, cells: &[String; 7]) {
    let cells: Vec<Vec<String>> = cells.iter().zip(WIDTHS).map(|(cell, width)| wrap(cell, width)).collect();
    let height = cells.iter().map(Vec::len).max().unwrap_or(0);
    for line in 0..height {
        for (cell, width) in cells.iter().zip(WIDTHS) {
            let part = cell.get(line).map_or("", String::as_str);
            let _ = write!(text, "| {part}{} ", " ".repeat(width.saturating_sub(part.chars().count())));
        }
        text.push_str("|\n");
    }
}

/// Lines of at most so many characters; a longer word is cut.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut used = 0;
    for word in text.split_whitespace() {
        let mut left: Vec<char> = word.chars().collect();
        while !left.is_empty() {
            let gap = usize::from(used > 0);
            if used > 0 && used + gap + left.len() > width {
                lines.push(String::new());
                used = 0;
                continue;
            }
            let part: String = left.drain(..left.len().min(width)).collect();
            let Some(line) = lines.last_mut() else { break };
            if gap > 0 {
                line.push(' ');
            }
            used += gap + part.chars().count();
            line.push_str(&part);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn promise(number: u8) -> Promise {
        Promise { id: format!("unit-{number}"), mark: format!("mark-unit-{number}"), sha256: [number; 32] }
    }

    #[test]
    fn lost_is_what_is_missing_changed_or_untold() {
        let promised = [promise(0), promise(1), promise(2), promise(3)];
        let mut rows: HashMap<String, [u8; 32]> = promised.iter().map(|one| (one.id.clone(), one.sha256)).collect();
        let mut told: HashSet<String> = promised.iter().map(|one| one.mark.clone()).collect();
        assert!(lost(&promised, &rows, &told).is_empty());
        rows.remove("unit-0");
        rows.insert("unit-1".to_owned(), [9; 32]);
        told.remove("mark-unit-3");
        assert_eq!(
            lost(&promised, &rows, &told),
            ["unit-0 is not in the database", "unit-1 is stored with other bytes", "unit-3 never reached Slack"]
        );
    }

    #[test]
    fn order_holds_within_a_subject_and_for_the_first_time() {
        // Subject 0 has the even ones; 2 is repeated.
        let told = [(1, 1), (0, 0), (0, 2), (1, 3), (0, 4), (0, 2)];
        assert!(out_of_order(&told).is_empty());
        assert_eq!(out_of_order(&[(0, 0), (0, 4), (0, 2)]), ["2 came behind 4"]);
    }

    #[test]
    fn a_table_is_no_wider_than_a_screen() {
        let finding = Finding {
            fault: "a fault with a name that is longer than its column and averyveryveryverylongwordbesides".to_owned(),
            refused: BTreeMap::from([("503".to_owned(), 1_000_000), ("none".to_owned(), 12)]),
            told: "much ".repeat(40),
            restarts: 3,
            ..Finding::default()
        };
        let text = table(&[finding, Finding::skipped("another", "no such thing here")]);
        let widths: HashSet<usize> = text.lines().map(|line| line.chars().count()).collect();
        assert_eq!(widths, HashSet::from([COLUMNS_MAX]), "{text}");
        assert!(text.contains("1000000 ×"), "{text}");
    }

    #[test]
    fn what_is_lost_or_missed_is_no_good() {
        let mut finding = Finding::default();
        finding.expect(true, || unreachable!());
        assert!(finding.is_good() && Finding::skipped("a", "b").is_good());
        finding.expect(false, || "something".to_owned());
        assert!(!finding.is_good());
        assert!(!Finding { lost: vec!["one".to_owned()], ..Finding::default() }.is_good());
    }
}
