//! What stays lit: for which cue, about what, and which events begin and end it. Owns that decision; pure. The store keeps
//! latches, and changes them in the transaction that routes the event, so that their order is that of the events.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{Cue, cue};
use crate::{
    event::{Event, Severity},
    time::Timestamp,
};

/// Something that stays lit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Latch {
    /// The store's name for it. One that begins anew has a new one.
    pub id: i64,
    /// The cue that stays lit.
    pub cue: String,
    /// The source that tells of it: two may call different things the same.
    pub source: String,
    /// What it is about; empty where the event does not say.
    pub subject: String,
    /// Which of the subject's checks, where it has several: the workflow.
    pub what: String,
    /// Since when.
    pub since: Timestamp,
}

impl Latch {
    /// Whether one takes the place of the other.
    pub(super) fn is_about_the_same(&self, other: &Latch) -> bool {
        (&self.cue, &self.source, &self.subject, &self.what) == (&other.cue, &other.source, &other.subject, &other.what)
    }
}

/// What one event does to latches, as the router decides it. All are about the event's own source, subject and check.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// The cue that stays lit from now on.
    pub begins: Option<String>,
    /// The kinds of event that end it: one of them may be here already, where this one was missed and comes late.
    pub ended_by: Vec<String>,
    /// The cues that no longer do.
    pub ends: Vec<String>,
}

/// What a routing transaction did to latches, in the order of the events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changed {
    /// This one stays lit.
    Began(Latch),
    /// These no longer do.
    Ended(Vec<i64>),
}

/// Which events begin and end latches.
#[derive(Clone, Debug, Default)]
pub struct Latches {
    cues: BTreeMap<String, Cue>,
    sinks: BTreeSet<String>,
}

impl Latches {
    /// By these cues, for what goes to these sinks: the bells.
    pub fn new(cues: BTreeMap<String, Cue>, sinks: impl IntoIterator<Item = String>) -> Latches {
        Latches { cues, sinks: sinks.into_iter().collect() }
    }

    /// What an event does that goes to `sinks` with the cue that a rule chose. It ends latches wherever it goes: who sends
    /// only failures to the bell wants the light out all the same when they are over.
    pub fn change<'a>(&self, event: &Event, chosen: Option<&str>, mut sinks: impl Iterator<Item = &'a str>) -> Change {
        if self.sinks.is_empty() {
            return Change::default();
        }
        let ends = self.cues.iter().filter(|(_, cue)| cue.latch && cue.clears_on.contains(&event.kind));
        let ends = ends.map(|(name, _)| name.clone()).collect();
        let begins = match sinks.any(|sink| self.sinks.contains(sink)) {
            true => self.lit(rung(&self.cues, event, chosen), event.severity),
            false => None,
        };
        let ended_by = begins.map(|(_, cue)| cue.clears_on.clone()).unwrap_or_default();
        Change { begins: begins.map(|(name, _)| name.to_owned()), ended_by, ends }
    }

    /// The kinds that end what an event of this kind and severity begins, should it go to one of these sinks with the cue
    /// that a rule chose. Empty where it begins nothing.
    pub fn ends_of<'a>(
        &'a self,
        kind: &'a str,
        severity: Severity,
        chosen: Option<&'a str>,
        mut sinks: impl Iterator<Item = &'a str>,
    ) -> &'a [String] {
        let name = chosen.filter(|chosen| self.cues.contains_key(*chosen)).unwrap_or(kind);
        match sinks.any(|sink| self.sinks.contains(sink)) {
            true => self.lit(name, severity).map_or(&[], |(_, cue)| &cue.clears_on),
            false => &[],
        }
    }

    /// The cue that stays lit for what rings by this name.
    fn lit<'a>(&'a self, rung: &'a str, severity: Severity) -> Option<(&'a str, &'a Cue)> {
        let name = cue::resolve_name(&self.cues, rung, severity);
        self.cues.get(name).filter(|cue| cue.latch).map(|cue| (name, cue))
    }
}

/// The name that an event rings by: the cue that a rule chose, where there is one of that name, else its kind.
pub fn rung<'a>(cues: &BTreeMap<String, Cue>, event: &'a Event, chosen: Option<&'a str>) -> &'a str {
    chosen.filter(|chosen| cues.contains_key(*chosen)).unwrap_or(&event.kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(kind: &str, chosen: Option<&str>, to: &[&str], expected: (Option<&str>, &[&str])) {
        let mut cues = cue::default_cues();
        let of = |clears_on: &str| Cue { latch: true, clears_on: vec![clears_on.to_owned()], ..cue::plain() };
        cues.insert("alarm".to_owned(), of("pr_merged"));
        cues.insert("failure".to_owned(), of("success"));
        let latches = Latches::new(cues, ["bell".to_owned()]);
        let event = Event { severity: Severity::Failure, ..Event::of(kind) };
        let change = latches.change(&event, chosen, to.iter().copied());
        let ends: Vec<&str> = change.ends.iter().map(String::as_str).collect();
        assert_eq!((change.begins.as_deref(), ends.as_slice()), expected, "{kind}");
    }

    #[test]
    fn what_begins_and_what_ends() {
        check("ci_failed", None, &["slack", "bell"], (Some("ci_failed"), &[]));
        check("ci_failed", None, &["slack"], (None, &[]));
        check("ci_fixed", None, &[], (None, &["ci_failed"]));
        check("ci_passed", None, &["bell"], (None, &["ci_failed"]));
        check("pr_merged", Some("alarm"), &["bell"], (Some("alarm"), &["alarm"]));
        check("pr_merged", Some("not there"), &["bell"], (None, &["alarm"]));
        check("something_new", None, &["bell"], (Some("failure"), &[]));
    }

    #[test]
    fn without_a_bell_nothing_stays_lit() {
        let latches = Latches::new(cue::default_cues(), []);
        assert_eq!(latches.change(&Event::of("ci_failed"), None, ["slack"].into_iter()), Change::default());
    }
}
