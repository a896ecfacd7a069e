//! Why an event goes where it goes, rule by rule, in words. Owns the words; what matches is decided where events are routed,
//! by the same code. Pure: refuses I/O and clocks.

use super::{Mismatch, Place, Rule, Verdict, any_value, judge, matches_any};
use crate::{event::Event, schedule::LocalTime};

/// A push may touch hundreds of paths; so many values tell what they are.
const VALUES_SHOWN: usize = 5;

/// What came of one rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explained {
    /// The rule's name, or its place: `rule 3`.
    pub rule: String,
    /// Whether it matches, muted or not.
    pub is_matched: bool,
    /// The first reason why it does not, or why it sends nothing all the same.
    pub why: Option<String>,
}

/// Lays the rules over an event as [`super::route`] does, and says of each what came of it.
pub fn explain(rules: &[Rule], event: &Event, now: LocalTime) -> Vec<Explained> {
    let explained = |(index, (rule, verdict)): (usize, (&Rule, Verdict<'_>))| {
        let (is_matched, why) = match verdict {
            Verdict::Matches { is_muted: false } => (true, None),
            Verdict::Matches { is_muted: true } => (true, Some(muted(rule, now))),
            Verdict::Differs(mismatch) => (false, Some(differs(event, &mismatch))),
            Verdict::NotReached { stopped_by } => {
                let stopper = rules.get(stopped_by).map(|rule| rule.label(stopped_by)).unwrap_or_default();
                (false, Some(format!("not looked at: rule {stopper:?} stopped")))
            }
        };
        Explained { rule: rule.label(index), is_matched, why }
    };
    judge(rules, event, now).enumerate().map(explained).collect()
}

fn muted(rule: &Rule, now: LocalTime) -> String {
    match rule.mute.as_ref().and_then(|mute| mute.ends(now)) {
        Some(end) => format!("muted at {now}, until {end}"),
        None => format!("muted at {now}, and always"),
    }
}

fn differs(event: &Event, mismatch: &Mismatch<'_>) -> String {
    let Mismatch { place, field, patterns } = *mismatch;
    let name = match place {
        Place::When => "when",
        Place::Unless => "unless",
    };
    if place == Place::Unless {
        let mut found = (String::new(), String::new());
        any_value(event, place, field, |value| {
            let pattern = patterns.iter().find(|pattern| pattern.matches(value));
            found = (value.to_owned(), pattern.map(ToString::to_string).unwrap_or_default());
            pattern.is_some()
        });
        let (value, pattern) = found;
        return match value == pattern {
            true => format!("{name}.{field}: it is {value}"),
            false => format!("{name}.{field}: {value} matches {pattern}"),
        };
    }
    let mut values = Vec::new();
    any_value(event, place, field, |value| {
        values.push(value.to_owned());
        matches_any(patterns, value)
    });
    let wanted: Vec<String> = patterns.iter().map(ToString::to_string).collect();
    let wanted =
        if wanted.len() == 1 { format!("not {}", wanted[0]) } else { format!("none of {}", wanted.join(", ")) };
    match values.as_slice() {
        [] => format!("{name}.{field}: the event has none"),
        [value] => format!("{name}.{field}: {value} is {wanted}"),
        values => {
            let more = if values.len() > VALUES_SHOWN { ", …" } else { "" };
            let shown = values[..values.len().min(VALUES_SHOWN)].join(", ");
            format!("{name}.{field}: each of {shown}{more} is {wanted}")
        }
    }
}
