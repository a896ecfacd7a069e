//! The file as tables that know where they stand. Owns key paths, positions and unknown keys; refuses to know what any
//! key means.
//!
//! It walks the parser's own tree instead of deriving `Deserialize`, because a derive stops at the first problem and
//! whoever edits a file wants all of them. A [`Section`] remembers which keys it was asked for, so the keys that are
//! read and the keys that are known cannot drift apart.

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::problem::{Fault, Place, Report};

/// Parses `text`, with every syntax error reported. What could be read is returned even so, but after a syntax error it
/// is not worth judging.
pub(super) fn parse<'t>(text: &'t str, report: &mut Report) -> Result<Spanned<DeTable<'t>>, ()> {
    let (table, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        return Ok(table);
    }
    for error in errors {
        let place = Place { key: String::new(), at: error.span().map(|span| span.start) };
        report.error(&place, Fault::new(format!("not TOML: {}", error.message().replace('\n', ", "))));
    }
    Err(())
}

/// One value.
#[derive(Clone, Debug)]
pub(super) struct Node<'a> {
    pub(super) place: Place,
    pub(super) value: &'a DeValue<'a>,
}

impl<'a> Node<'a> {
    /// The value as text.
    pub(super) fn text(&self) -> Result<&'a str, Fault> {
        match self.value {
            DeValue::String(text) => Ok(text),
            _ => Err(self.expected("a text in quotes")),
        }
    }

    /// The value as yes or no.
    pub(super) fn flag(&self) -> Result<bool, Fault> {
        match self.value {
            DeValue::Boolean(flag) => Ok(*flag),
            _ => Err(self.expected("true or false")),
        }
    }

    /// The value as a whole number.
    pub(super) fn whole(&self) -> Result<i64, Fault> {
        match self.value {
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
                .map_err(|_| Fault::new(format!("{number} is too large"))),
            _ => Err(self.expected("a whole number")),
        }
    }

    /// The value as a number.
    pub(super) fn number(&self) -> Result<f64, Fault> {
        match self.value {
            DeValue::Float(number) => {
                number.as_str().parse().map_err(|_| Fault::new(format!("{number} is not a number")))
            }
            // Exact below 2^53, far beyond what any key here accepts.
            DeValue::Integer(_) => self.whole().map(|number| number as f64),
            _ => Err(self.expected("a number")),
        }
    }

    /// A complaint about the type. Names the type found, never the value, which may be a secret in the wrong place.
    pub(super) fn expected(&self, what: &str) -> Fault {
        Fault::new(format!("expected {what}, found {}", type_name(self.value)))
    }

    /// The elements of a list.
    pub(super) fn list(&self) -> Result<Vec<Node<'a>>, Fault> {
        let DeValue::Array(array) = self.value else { return Err(self.expected("a list")) };
        let node = |(index, item): (usize, &'a Spanned<DeValue<'a>>)| Node {
            place: Place { key: format!("{}[{index}]", self.place.key), at: Some(item.span().start) },
            value: item.get_ref(),
        };
        Ok(array.iter().enumerate().map(node).collect())
    }

    /// The value as a table.
    pub(super) fn section(self) -> Result<Section<'a>, Fault> {
        match self.value {
            DeValue::Table(table) => Ok(Section { place: self.place, table: Some(table), asked: Vec::new() }),
            _ => Err(self.expected("a table")),
        }
    }
}

fn type_name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// One table. An absent table reads as an empty one, so that defaults and configured values take the same way.
pub(super) struct Section<'a> {
    pub(super) place: Place,
    table: Option<&'a DeTable<'a>>,
    asked: Vec<&'static str>,
}

impl<'a> Section<'a> {
    /// The whole file.
    pub(super) fn root(table: &'a DeTable<'a>) -> Section<'a> {
        Section { place: Place { key: String::new(), at: None }, table: Some(table), asked: Vec::new() }
    }

    /// A table that the file does not have.
    pub(super) fn absent(key: impl Into<String>) -> Section<'a> {
        Section { place: Place { key: key.into(), at: None }, table: None, asked: Vec::new() }
    }

    /// Whether the file has this table.
    pub(super) fn is_present(&self) -> bool {
        self.table.is_some()
    }

    /// The value of a key that is known here from now on.
    pub(super) fn get(&mut self, name: &'static str) -> Option<Node<'a>> {
        if !self.asked.contains(&name) {
            self.asked.push(name);
        }
        let (key, value) = self.table?.get_key_value(name)?;
        Some(Node { place: self.beneath(name, Some(key.span().start)), value: value.get_ref() })
    }

    /// The value of a key, read by `read`; its complaint goes to the report and counts as absent.
    pub(super) fn read<T>(
        &mut self,
        name: &'static str,
        report: &mut Report,
        read: impl FnOnce(&Node<'a>) -> Result<T, Fault>,
    ) -> Option<T> {
        let node = self.get(name)?;
        match read(&node) {
            Ok(value) => Some(value),
            Err(fault) => {
                report.error(&node.place, fault);
                None
            }
        }
    }

    /// A list of which each element is read by `read`; elements with a complaint are left out.
    pub(super) fn read_list<T>(
        &mut self,
        name: &'static str,
        report: &mut Report,
        read: impl Fn(&Node<'a>) -> Result<T, Fault>,
    ) -> Option<Vec<T>> {
        let nodes = self.read(name, report, Node::list)?;
        let mut values = Vec::new();
        for node in nodes {
            match read(&node) {
                Ok(value) => values.push(value),
                Err(fault) => report.error(&node.place, fault),
            }
        }
        Some(values)
    }

    /// The table of that name.
    pub(super) fn section(&mut self, name: &'static str, report: &mut Report) -> Section<'a> {
        let section = self.read(name, report, |node| node.clone().section());
        section.unwrap_or_else(|| Section::absent(self.beneath(name, None).key))
    }

    /// The names of all entries.
    pub(super) fn names(&self) -> Vec<&'a str> {
        self.table.into_iter().flat_map(DeTable::keys).map(|name| &**name.get_ref()).collect()
    }

    /// Every entry, for tables whose keys are names that somebody chose. There is nothing to `finish` then.
    pub(super) fn entries(self) -> Vec<(&'a str, Node<'a>)> {
        let Some(table) = self.table else { return Vec::new() };
        let entry = |(key, value): (&'a Spanned<std::borrow::Cow<'a, str>>, &'a Spanned<DeValue<'a>>)| {
            let name: &'a str = key.get_ref();
            (name, Node { place: self.beneath(name, Some(key.span().start)), value: value.get_ref() })
        };
        table.iter().map(entry).collect()
    }

    /// Where a key stands, or would.
    pub(super) fn place_of(&self, name: &str) -> Place {
        let at = self.table.and_then(|table| table.get_key_value(name)).map(|(key, _)| key.span().start);
        self.beneath(name, at.or(self.place.at))
    }

    /// Complains about every key that nobody asked for.
    pub(super) fn finish(self, report: &mut Report) {
        let known = self.asked.clone();
        for (name, node) in self.entries() {
            if !known.contains(&name) {
                let fault = Fault::new(format!("unknown key `{}`", node.place.key));
                report.error(&node.place, fault.hint_nearest(name, known.iter().copied()));
            }
        }
    }

    fn beneath(&self, name: &str, at: Option<usize>) -> Place {
        let is_bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        let name = match !name.is_empty() && name.chars().all(is_bare) {
            true => name.to_owned(),
            false => format!("{name:?}"),
        };
        let key = match self.place.key.is_empty() {
            true => name,
            false => format!("{}.{name}", self.place.key),
        };
        Place { key, at }
    }
}
