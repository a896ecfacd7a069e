//! What is wrong with a configuration, for people. Owns the shape of a complaint and the list that a pass fills;
//! refuses to know what any key means.

use std::{fmt, path::PathBuf};

use serde::Serialize;

/// One complaint about one key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The path of the key, `door.body_max`; empty when it is about the file as a whole.
    pub key: String,
    /// The line in the file, from 1; `None` when the file does not mention the key.
    pub line: Option<usize>,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// Whether we go on regardless.
    pub level: Level,
}

/// How bad a [`Problem`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// The configuration is not used.
    Error,
    /// The configuration is used, but perhaps not as meant.
    Warning,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        // An unknown key already stands in the sentence.
        if !self.key.is_empty() && !self.what.contains(&self.key) {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.what)?;
        match &self.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

/// Why there are no settings: every problem that one pass found, warnings included.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The file at fault; `None` when there is none and the environment lacks something.
    pub file: Option<PathBuf>,
    /// In the order of the file. At least one is an error.
    pub problems: Vec<Problem>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            Some(file) => write!(f, "the configuration {} cannot be used", file.display())?,
            None => f.write_str("there is no configuration file, and the environment alone is not enough")?,
        }
        for problem in &self.problems {
            let level = match problem.level {
                Level::Error => "error",
                Level::Warning => "warning",
            };
            write!(f, "\n  {level}: {problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

/// Why one value will not do: a [`Problem`] that does not yet know its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) what: String,
    pub(super) hint: Option<String>,
}

impl Fault {
    pub(super) fn new(what: impl Into<String>) -> Fault {
        Fault { what: what.into(), hint: None }
    }

    pub(super) fn hint(self, hint: impl Into<String>) -> Fault {
        Fault { hint: Some(hint.into()), ..self }
    }

    /// The hint names what `name` was probably meant to be, or else every choice.
    pub(super) fn hint_nearest<'n>(self, name: &str, choices: impl IntoIterator<Item = &'n str>) -> Fault {
        let choices: Vec<&str> = choices.into_iter().collect();
        match nearest(name, choices.iter().copied()) {
            Some(meant) => self.hint(format!("did you mean `{meant}`?")),
            None if choices.is_empty() => self,
            None => self.hint(format!("known: {}", choices.join(", "))),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        self.hint.as_ref().map_or(Ok(()), |hint| write!(f, "; {hint}"))
    }
}

/// Where a complaint belongs.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) key: String,
    /// Byte offset in the file.
    pub(super) at: Option<usize>,
}

/// The complaints of one pass.
pub(super) struct Report {
    problems: Vec<Problem>,
    /// Byte offset of each line's start.
    line_starts: Vec<usize>,
}

impl Report {
    /// For complaints about `text`.
    pub(super) fn new(text: &str) -> Report {
        let line_starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Report { problems: Vec::new(), line_starts }
    }

    pub(super) fn error(&mut self, place: &Place, fault: Fault) {
        self.add(place, fault, Level::Error);
    }

    pub(super) fn warn(&mut self, place: &Place, fault: Fault) {
        self.add(place, fault, Level::Warning);
    }

    fn add(&mut self, place: &Place, fault: Fault, level: Level) {
        let line = place.at.map(|at| self.line_starts.partition_point(|start| *start <= at));
        let Fault { what, hint } = fault;
        self.problems.push(Problem { key: place.key.clone(), line, what, hint, level });
    }

    /// How many errors there are so far.
    pub(super) fn errors(&self) -> usize {
        self.problems.iter().filter(|problem| problem.level == Level::Error).count()
    }

    /// In the order of the file; what the file does not mention comes last.
    pub(super) fn into_problems(mut self) -> Vec<Problem> {
        self.problems.sort_by_key(|problem| problem.line.unwrap_or(usize::MAX));
        self.problems
    }
}

/// The choice that differs from `name` by a slip or two of the keyboard.
pub(super) fn nearest<'n>(name: &str, choices: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let slips_max = (name.chars().count() / 3).clamp(1, 3);
    choices
        .into_iter()
        .map(|choice| (distance(&name.to_lowercase(), choice), choice))
        .filter(|(slips, _)| *slips <= slips_max)
        .min_by_key(|(slips, _)| *slips)
        .map(|(_, choice)| choice)
}

/// Edits from one word to the other; swapped neighbours count as one.
fn distance(from: &str, to: &str) -> usize {
    let (from, to): (Vec<char>, Vec<char>) = (from.chars().collect(), to.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=to.len()).collect()];
    for i in 1..=from.len() {
        let mut row = vec![i];
        for j in 1..=to.len() {
            let change = rows[i - 1][j - 1] + usize::from(from[i - 1] != to[j - 1]);
            let mut best = change.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[from.len()][to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_a_slip_away() {
        let choices = ["listen", "public_url", "body_max", "head_max"];
        assert_eq!(nearest("lissten", choices), Some("listen"));
        assert_eq!(nearest("lsiten", choices), Some("listen"));
        assert_eq!(nearest("Listen", choices), Some("listen"));
        assert_eq!(nearest("bodymax", choices), Some("body_max"));
        assert_eq!(nearest("colour", choices), None);
    }

    #[test]
    fn a_problem_reads_as_one_line() {
        let mut report = Report::new("[door]\nlissten = 1\n");
        let place = Place { key: "door.lissten".to_owned(), at: Some(7) };
        report.error(&place, Fault::new("unknown key `door.lissten`").hint_nearest("lissten", ["listen"]));
        let problems = report.into_problems();
        assert_eq!(problems[0].to_string(), "line 2: unknown key `door.lissten`; did you mean `listen`?");
    }
}
