//! `[[rules]]`: which events go where.

use std::collections::{BTreeMap, BTreeSet};

use toml::de::DeValue;
use wildmatch::WildMatch;

use super::ends::Ends;
use crate::{
    bell::Cue,
    config::{
        Sink,
        problem::{Fault, Report},
        raw::{Node, Section},
    },
    event::Severity,
    provider::{FACTS, KINDS, Provider},
    rule::{self, Condition, OWN_FIELDS, Rule, Target},
};

/// What a rule may name.
pub(super) struct Known<'a> {
    pub(super) sources: &'a BTreeSet<String>,
    pub(super) sinks: &'a Ends<Sink>,
    pub(super) cues: &'a BTreeMap<String, Cue>,
}

/// `[[rules]]`; without any, the events of high signal go to every sink.
pub(super) fn rules(node: Option<Node<'_>>, known: &Known<'_>, report: &mut Report) -> Vec<Rule> {
    let Some(node) = node else { return rule::default_rules(usable(known)) };
    let tables = match node.list() {
        Ok(tables) => tables,
        Err(fault) => {
            report.error(&node.place, fault.hint("rules are written as [[rules]], with two brackets"));
            return Vec::new();
        }
    };
    if tables.is_empty() {
        return rule::default_rules(usable(known));
    }
    let mut rules = Vec::new();
    for table in tables {
        let place = table.place.clone();
        match table.section() {
            Ok(section) => rules.push(rule(section, known, report)),
            Err(fault) => report.error(&place, fault),
        }
    }
    rules
}

fn usable(known: &Known<'_>) -> Vec<String> {
    known.sinks.by_name.keys().cloned().collect()
}

fn rule(mut section: Section<'_>, known: &Known<'_>, report: &mut Report) -> Rule {
    let errors_before = report.errors();
    let name = section.read("name", report, |node| node.text().map(str::to_owned));
    let when = condition(section.section("when", report), known, report);
    let unless = condition(section.section("unless", report), known, report);
    // Excluding nothing is the same as not excluding.
    let unless = (!unless.fields.is_empty()).then_some(unless);
    let to = section.read_list("to", report, |node| {
        let name = node.text()?;
        match known.sinks.names.contains(name) {
            true => Ok(name.to_owned()),
            false => Err(Fault::new(format!("no sink is called `{name}`"))
                .hint_nearest(name, known.sinks.names.iter().map(String::as_str))),
        }
    });
    // A sink that is left out for want of its secret is no reason to change the rules.
    let to: Option<Vec<String>> = to.map(|names| {
        let mut unique = BTreeSet::new();
        let usable = |name: &String| known.sinks.by_name.contains_key(name);
        names.into_iter().filter(|name| usable(name) && unique.insert(name.clone())).collect()
    });
    let cue = section.read("cue", report, |node| node.text().map(str::to_owned));
    if let Some(cue) = &cue
        && !known.cues.contains_key(cue)
    {
        // Only a warning: the event has its own kind's cue to fall back on.
        let fault = Fault::new(format!("no cue is called `{cue}`; the one named like the event's kind plays instead"));
        report.warn(&section.place_of("cue"), fault.hint_nearest(cue, known.cues.keys().map(String::as_str)));
    }
    let stop = section.read("stop", report, Node::flag).unwrap_or(false);
    if stop && to.is_none() {
        let fault = Fault::new("a rule with `stop` and without `to` sends what it matches to every sink");
        report.warn(&section.place, fault.hint("write to = [] to keep it quiet, or name the sinks"));
    }

    let place = section.place.clone();
    section.finish(report);
    let to = to.unwrap_or_else(|| usable(known)).into_iter().map(Target::of).collect();
    let rule = Rule { name, when, unless, to, severity: None, mute: None, cue, stop };
    let sources: Vec<&str> = known.sources.iter().map(String::as_str).collect();
    // A rule with a slip in it has been complained about already, where the slip is.
    if report.errors() == errors_before
        && let Some(why) = rule::why_never(&rule, KINDS, &sources)
    {
        report.error(&place, Fault::new(format!("this rule can never match: {why}")));
    }
    rule
}

/// `when` and `unless`: field = pattern, or a list of patterns of which one must match.
fn condition(section: Section<'_>, known: &Known<'_>, report: &mut Report) -> Condition {
    let mut condition = Condition::default();
    for (field, node) in section.entries() {
        let items = match node.value {
            DeValue::Array(_) => node.list().unwrap_or_default(),
            _ => vec![node.clone()],
        };
        if items.is_empty() {
            report.error(&node.place, Fault::new("an empty list can never match").hint("name what it should match"));
        }
        if !OWN_FIELDS.contains(&field) && !FACTS.contains(&field) {
            let fault = Fault::new(format!("no event has a field `{field}`"));
            report.error(&node.place, fault.hint_nearest(field, OWN_FIELDS.iter().chain(FACTS).copied()));
        }
        let mut patterns = Vec::new();
        for item in items {
            match pattern(field, &item, known) {
                Ok(pattern) => patterns.push(pattern),
                Err(fault) => report.error(&item.place, fault),
            }
        }
        condition.fields.push((field.to_owned(), patterns));
    }
    condition
}

fn pattern(field: &str, node: &Node<'_>, known: &Known<'_>) -> Result<WildMatch, Fault> {
    let text = match node.value {
        DeValue::String(text) if text.is_empty() => {
            return Err(Fault::new("an empty pattern can never match").hint("`*` matches everything"));
        }
        DeValue::String(text) => text.to_string(),
        DeValue::Boolean(flag) => flag.to_string(),
        DeValue::Integer(_) => node.whole()?.to_string(),
        _ => return Err(node.expected("a pattern such as \"pr_*\", a whole number, true or false")),
    };
    let pattern = rule::pattern(field, &text);
    let severities = [Severity::Info, Severity::Success, Severity::Warning, Severity::Failure];
    let choices: Vec<&str> = match field {
        "source" => known.sources.iter().map(String::as_str).collect(),
        "provider" => Provider::ALL.iter().map(|provider| provider.name()).collect(),
        "severity" => severities.iter().map(|severity| severity.name()).collect(),
        _ => return Ok(pattern),
    };
    match choices.iter().any(|choice| pattern.matches(choice)) {
        true => Ok(pattern),
        false => Err(Fault::new(format!("`{text}` can never match a {field}")).hint_nearest(&text, choices)),
    }
}
