//! The trace of the simulated board, read back. Owns what makes it a truthful one: every line dark, lit, dark, and dark in
//! the end.

use std::{collections::BTreeMap, fs, io, path::Path};

use hookbell::bell::Edge;

/// All edges of a trace, in the order in which they were made.
#[derive(Debug)]
pub struct Trace {
    /// As the file has them.
    pub edges: Vec<Edge>,
}

impl Trace {
    /// Reads what has been written so far.
    ///
    /// # Errors
    /// When a line is none of a trace, or a light was lit that was lit already.
    pub fn read(path: &Path) -> io::Result<Trace> {
        let text =
            fs::read_to_string(path).map_err(|error| io::Error::other(format!("{}: {error}", path.display())))?;
        Trace::of(&text)
    }

    fn of(text: &str) -> io::Result<Trace> {
        let lines = text.lines().enumerate();
        let edges: Vec<Edge> = lines
            .map(|(number, line)| {
                serde_json::from_str(line)
                    .map_err(|error| io::Error::other(format!("line {} of the trace: {error}: {line}", number + 1)))
            })
            .collect::<io::Result<_>>()?;
        let mut levels = BTreeMap::new();
        for (number, edge) in edges.iter().enumerate() {
            if levels.insert(&edge.line, edge.level).unwrap_or(0) == edge.level {
                let (line, level, number) = (&edge.line, edge.level, number + 1);
                return Err(io::Error::other(format!("edge {number} of the trace leaves {line} at {level}")));
            }
        }
        Ok(Trace { edges })
    }

    /// Fails unless there are so many edges, and all is dark behind the last.
    ///
    /// # Errors
    /// When it is another number, or a line ends lit.
    pub fn must_have(&self, count: usize) -> io::Result<()> {
        if self.edges.len() != count {
            return Err(io::Error::other(format!("the trace has {} edges, and {count} were due", self.edges.len())));
        }
        self.must_end_dark()
    }

    /// Fails unless all is dark behind the last edge.
    ///
    /// # Errors
    /// When a line ends lit.
    pub fn must_end_dark(&self) -> io::Result<()> {
        let levels: BTreeMap<&String, u8> = self.edges.iter().map(|edge| (&edge.line, edge.level)).collect();
        match levels.into_iter().find(|(_, level)| *level != 0) {
            Some((line, _)) => Err(io::Error::other(format!("the trace ends with {line} lit"))),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edge(level: u8) -> String {
        format!("{{\"t_ms\":1,\"line\":\"light\",\"level\":{level},\"late_us\":7}}\n")
    }

    #[test]
    fn a_truthful_trace_alternates_and_ends_dark() {
        let whole = Trace::of(&[edge(1), edge(0)].concat()).unwrap();
        assert!(whole.must_have(2).is_ok());
        assert!(whole.must_have(4).is_err());
        let lit = Trace::of(&[edge(1), edge(0), edge(1)].concat()).unwrap();
        assert!(lit.must_have(3).is_err());
        assert!(Trace::of(&[edge(1), edge(1)].concat()).is_err());
        assert!(Trace::of(&edge(0)).is_err());
        assert!(Trace::of("{\"t_ms\":1,").is_err());
    }
}
