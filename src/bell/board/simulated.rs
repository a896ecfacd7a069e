//! The board without pins. Owns the trace file; a real feature that laptops, demonstrations and tests share.
//!
//! The trace is one JSON line per edge, `{"t_ms":1767225600000,"line":"green","level":1}`: wall time, the line's name,
//! 1 for lit or sounding. Whole lines are appended by one write each, so a reader that follows the file never sees half.

use std::{
    fs::{File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
};

use super::{Board, BoardError};
use crate::{
    bell::{Edge, Line},
    time::{Clock, SystemClock},
};

/// Opens it. Without a trace it cannot fail.
pub(super) fn open(lines: Vec<Line>, trace: Option<&Path>) -> Result<Box<dyn Board>, BoardError> {
    let trace = match trace {
        None => None,
        Some(path) => {
            let opened = OpenOptions::new().append(true).create(true).open(path);
            let file = opened.map_err(|cause| BoardError::Trace { path: path.to_owned(), cause })?;
            Some(Trace { path: path.to_owned(), file })
        }
    };
    let lit = vec![false; lines.len()];
    Ok(Box::new(Simulated { lines, lit, trace }))
}

struct Simulated {
    lines: Vec<Line>,
    lit: Vec<bool>,
    trace: Option<Trace>,
}

struct Trace {
    path: PathBuf,
    file: File,
}

impl Board for Simulated {
    fn set(&mut self, line: usize, lit: bool) -> Result<(), BoardError> {
        if self.lit[line] == lit {
            return Ok(());
        }
        if let Some(trace) = &mut self.trace {
            let edge = Edge::new(SystemClock.wall(), &self.lines[line].name, lit);
            trace.append(&edge)?;
        }
        self.lit[line] = lit;
        Ok(())
    }

    fn dark(&mut self) -> Result<(), BoardError> {
        (0..self.lines.len()).try_for_each(|line| self.set(line, false))
    }

    fn describe(&self) -> String {
        "simulated".to_owned()
    }
}

impl Drop for Simulated {
    fn drop(&mut self) {
        // Nobody is left to tell about a trace that ends early.
        let _ = self.dark();
    }
}

impl Trace {
    fn append(&mut self, edge: &Edge) -> Result<(), BoardError> {
        let failed = |cause| BoardError::Trace { path: self.path.clone(), cause };
        let mut line = serde_json::to_vec(edge).map_err(|error| failed(error.into()))?;
        line.push(b'\n');
        self.file.write_all(&line).map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, fs};

    use super::*;
    use crate::bell::{BoardKind, Settings};

    #[test]
    fn the_trace_has_every_change_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("trace");
        let settings = Settings {
            board: BoardKind::Simulated,
            leds: BTreeMap::new(),
            buzzer: None,
            trace: Some(path.clone()),
            cues: BTreeMap::new(),
        };
        let mut board = open(settings.lines(), Some(&path)).unwrap();
        for (line, lit) in [(1, true), (1, true), (3, true), (0, false), (3, false)] {
            board.set(line, lit).unwrap();
        }
        drop(board);

        let trace = fs::read_to_string(&path).unwrap();
        let edges: Vec<Edge> = trace.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let shown: Vec<String> = edges.iter().map(|edge| format!("{} {}", edge.line, edge.level)).collect();
        assert_eq!(shown, ["green 1", "buzzer 1", "buzzer 0", "green 0"]);
        let first = trace.lines().next().unwrap();
        assert_eq!(first, format!(r#"{{"t_ms":{},"line":"green","level":1}}"#, edges[0].t_ms));
    }
}
