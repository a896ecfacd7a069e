//! The random name of this database, part of every id that leaves the house. Owns which delivery has which name: after a
//! restore ids are given out again that later deliveries had before, and a receiver must not take the new ones for those.

use rusqlite::{Connection, OptionalExtension};

use super::keep_text;

/// Names that are remembered: one more with each restore.
const NAMES_MAX: usize = 50;

/// The names, each with the last delivery that has it. Stored as `first@57 second@90 present`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Installation(Vec<(i64, String)>);

impl Installation {
    /// Reads the name, or makes one.
    pub(super) fn open(connection: &Connection) -> rusqlite::Result<Installation> {
        const KEPT: &str = "SELECT value FROM meta WHERE key = 'installation'";
        let found: Option<String> = connection.query_row(KEPT, [], |row| row.get(0)).optional()?;
        let text = match found {
            Some(text) => text,
            None => {
                connection.execute(
                    "INSERT INTO meta (key, value) VALUES ('installation', lower(hex(randomblob(4)))) ON CONFLICT DO NOTHING",
                    [],
                )?;
                connection.query_row(KEPT, [], |row| row.get(0))?
            }
        };
        Ok(Installation::parse(&text))
    }

    fn parse(text: &str) -> Installation {
        let named = |part: &str| match part.split_once('@') {
            Some((name, last)) => (last.parse().unwrap_or(i64::MAX), name.to_owned()),
            None => (i64::MAX, part.to_owned()),
        };
        Installation(text.split(' ').map(named).collect())
    }

    /// The name of deliveries that come from now on.
    pub(super) fn name(&self) -> &str {
        self.0.last().map_or("", |(_, name)| name)
    }

    /// The name that goes with this delivery.
    pub(super) fn of(&self, delivery: i64) -> &str {
        self.0.iter().find(|(last, _)| delivery <= *last).map_or(self.name(), |(_, name)| name)
    }

    /// Gives the deliveries that come from now on another name; those that are there keep theirs, so that what is told of
    /// them once more is known as a repeat.
    pub(super) fn renew(connection: &Connection) -> rusqlite::Result<()> {
        let Installation(mut names) = Installation::open(connection)?;
        let last: i64 = connection.query_row("SELECT coalesce(max(id), 0) FROM delivery", [], |row| row.get(0))?;
        let name: String = connection.query_row("SELECT lower(hex(randomblob(4)))", [], |row| row.get(0))?;
        if let Some(present) = names.last_mut() {
            present.0 = last;
        }
        names.drain(..names.len().saturating_sub(NAMES_MAX - 1));
        let mut text: String = names.iter().map(|(last, name)| format!("{name}@{last} ")).collect();
        text.push_str(&name);
        keep_text(connection, "installation", &text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_delivery_keeps_its_name() {
        let installation = Installation::parse("first@57 second@90 third");
        let of: Vec<&str> = [1, 57, 58, 90, 91].into_iter().map(|id| installation.of(id)).collect();
        assert_eq!(of, ["first", "first", "second", "second", "third"]);
        assert_eq!((installation.name(), Installation::parse("only").of(7)), ("third", "only"));
    }
}
