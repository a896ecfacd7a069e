//! The board without pins. Owns the trace file; a real feature that laptops, demonstrations and tests share.
//!
//! The trace is one JSON line per edge, `{"t_ms":1767225600000,"line":"green","level":1,"late_us":62}`: wall time, the
//! line's name, 1 for lit or sounding, and how long after its due time it was made; `percent` where a light is dim, `hz`
//! where a buzzer has a pitch. Whole lines are appended by one write each, so a reader that follows the file never sees
//! half.

use std::{
    fs::{File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{Board, BoardError};
use crate::{
    bell::{Edge, Level, Line, Wires},
    time::{Clock, SystemClock},
};

/// Opens it. Without `trace` it only keeps the levels.
pub(super) fn open(wires: &Wires, trace: Option<&Path>) -> Result<Box<dyn Board>, BoardError> {
    let trace = match trace {
        None => None,
        Some(path) => {
            let opened = OpenOptions::new().append(true).create(true).open(path);
            let file = opened.map_err(|cause| BoardError::Trace { path: path.to_owned(), cause })?;
            Some(Trace { path: path.to_owned(), file })
        }
    };
    Ok(Box::new(Simulated { levels: vec![Level::Off; wires.lines.len()], lines: wires.lines.clone(), trace }))
}

struct Simulated {
    lines: Vec<Line>,
    levels: Vec<Level>,
    trace: Option<Trace>,
}

struct Trace {
    path: PathBuf,
    file: File,
}

impl Board for Simulated {
    fn take(&mut self, line: usize) -> Result<(), BoardError> {
        self.levels[line] = Level::Off;
        Ok(())
    }

    fn set(&mut self, line: usize, level: Level, late: Duration) -> Result<(), BoardError> {
        if self.levels[line] == level {
            return Ok(());
        }
        if let Some(trace) = &mut self.trace {
            trace.append(&Edge::new(SystemClock.wall(), &self.lines[line].name, level, late))?;
        }
        self.levels[line] = level;
        Ok(())
    }

    fn describe(&self) -> String {
        "simulated".to_owned()
    }
}

impl Drop for Simulated {
    fn drop(&mut self) {
        for line in 0..self.lines.len() {
            // Nobody is left to tell about a trace that ends early.
            let _ = self.set(line, Level::Off, Duration::ZERO);
        }
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
    use std::fs;

    use super::*;
    use crate::bell::Settings;

    #[test]
    fn the_trace_has_every_change_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("trace");
        let mut board = open(&Wires::new(&Settings::default()), Some(&path)).unwrap();
        let a4 = Level::Tone { period: Duration::from_nanos(2_272_727), volume: 50 };
        let levels = [(1, Level::On), (1, Level::On), (3, a4), (0, Level::Off), (1, Level::Dim(20)), (3, Level::Off)];
        for (line, level) in levels {
            board.set(line, level, Duration::from_micros(7)).unwrap();
        }
        drop(board);

        let trace = fs::read_to_string(&path).unwrap();
        let edges: Vec<Edge> = trace.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let shown: Vec<String> = edges.iter().map(|edge| format!("{} {}", edge.line, edge.level)).collect();
        assert_eq!(shown, ["green 1", "buzzer 1", "green 1", "buzzer 0", "green 0"]);
        let rest: Vec<&str> = trace.lines().map(|line| line.split_once("\"line\"").unwrap().1).collect();
        assert_eq!(rest[1], r#":"buzzer","level":1,"hz":440,"late_us":7}"#);
        assert_eq!(rest[2], r#":"green","level":1,"percent":20,"late_us":7}"#);
    }
}
