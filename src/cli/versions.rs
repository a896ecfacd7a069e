//! `--handled-by`: which versions are meant. Owns comparing them; refuses to know what handled anything.

use std::cmp::Ordering;

/// Major, minor, patch.
type Version = [u64; 3];

/// The versions that somebody asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    relation: Relation,
    version: Version,
    /// How many of its numbers were given: `0.3` means any 0.3.x.
    given: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Relation {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// The longer signs first: `<=` begins with `<`.
const RELATIONS: &[(&str, Relation)] = &[
    ("<=", Relation::LessOrEqual),
    (">=", Relation::GreaterOrEqual),
    ("<", Relation::Less),
    (">", Relation::Greater),
    ("=", Relation::Equal),
];

/// Reads `0.3`, `=0.3.1`, `<0.3` and the like.
pub(super) fn wanted(text: &str) -> Result<Wanted, String> {
    let text = text.trim();
    let sign = RELATIONS.iter().find_map(|(sign, relation)| Some((text.strip_prefix(sign)?, *relation)));
    let (rest, relation) = sign.unwrap_or((text, Relation::Equal));
    let (version, given) =
        numbers(rest.trim()).ok_or("a version: 0.3.1, 0.3, <0.3, <=0.2.5, >0.1, >=0.2".to_owned())?;
    Ok(Wanted { relation, version, given })
}

impl Wanted {
    /// Whether that version is meant. One that is no version is never.
    pub(super) fn matches(&self, version: &str) -> bool {
        let Some((version, _)) = numbers(version) else { return false };
        let given = |version: &Version| version[..self.given].to_vec();
        let order = given(&version).cmp(&given(&self.version));
        match self.relation {
            Relation::Equal => order == Ordering::Equal,
            Relation::Less => order == Ordering::Less,
            Relation::LessOrEqual => order != Ordering::Greater,
            Relation::Greater => order == Ordering::Greater,
            Relation::GreaterOrEqual => order != Ordering::Less,
        }
    }
}

/// One to three numbers, and how many there were.
fn numbers(text: &str) -> Option<(Version, usize)> {
    let mut version = [0; 3];
    let mut given = 0;
    for part in text.split('.') {
        *version.get_mut(given)? = part.parse().ok()?;
        given += 1;
    }
    Some((version, given))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_far_as_they_are_given() {
        for (text, meant, others) in [
            ("<0.3", &["0.2.9", "0.1.0"][..], &["0.3.0", "0.3.1", "1.0.0"][..]),
            ("0.3", &["0.3.0", "0.3.7"], &["0.2.9", "0.4.0"]),
            ("=0.3.1", &["0.3.1"], &["0.3.0", "0.3.10"]),
            ("<=0.2.5", &["0.2.5", "0.2.4"], &["0.2.6", "0.10.0"]),
            (">0.9", &["0.10.0", "1.0.0"], &["0.9.9", "0.8.0"]),
            (">= 0.2", &["0.2.0", "0.3.0"], &["0.1.9"]),
        ] {
            let wanted = wanted(text).unwrap();
            assert!(meant.iter().all(|version| wanted.matches(version)), "{text}");
            assert!(!others.iter().any(|version| wanted.matches(version)), "{text}");
        }
        for text in ["", "<", "x", "0.1.2.3", "0.-1", "~0.3", "0..1"] {
            assert!(wanted(text).is_err(), "{text}");
        }
    }
}
