//! Which sinks an event goes to and which cue it plays. Owns matching and the complaint about rules that cannot; pure:
//! refuses I/O, clocks and threads.

mod explain;
mod outlook;

use std::time::Duration;

use wildmatch::WildMatch;

pub use self::{
    explain::{Explained, explain},
    outlook::{Chance, Prospect, chances},
};
use crate::{
    event::{CI_FIXED, CI_PASSED, Event, Fact, Severity},
    provider::{FACTS, MONEY_KINDS, Provider},
    schedule::{LocalTime, Schedule},
};

/// One `[[rules]]` entry. Every rule that matches adds its sinks; `stop` ends the list.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Shown by `check` and in the ledger.
    pub name: Option<String>,
    /// All of these must hold; an empty condition always holds.
    pub when: Condition,
    /// None of these may hold: the rule does not apply as soon as **one** of the fields matches. People write
    /// `unless = { label = ["wip"], draft = true }` and mean neither.
    pub unless: Option<Condition>,
    /// The sinks that get the event.
    pub to: Vec<Target>,
    /// The least that the event matters, whatever its provider says.
    pub severity: Option<Severity>,
    /// When this rule sends nothing. It matches all the same, and `stop` holds.
    pub mute: Option<Schedule>,
    /// The cue that the bell plays instead of the one named like the event's kind.
    pub cue: Option<String>,
    /// Whether later rules are looked at when this one matches.
    pub stop: bool,
}

/// A place that a rule sends to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The sink's name.
    pub sink: String,
    /// The channel there, where it is not the sink's own.
    pub channel: Option<String>,
    /// When set, its events are collected and told in one message.
    pub digest: Option<Digest>,
    /// What the sink gets in order.
    pub order: Order,
}

/// What a sink gets in the order of the events, one at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// What belongs to one subject. What belongs to others may pass it.
    #[default]
    Subject,
    /// Everything: what cannot be delivered holds up all that follows.
    All,
    /// Nothing.
    None,
}

impl Target {
    /// The sink's own channel, each event at once.
    pub fn of(sink: impl Into<String>) -> Target {
        Target { sink: sink.into(), channel: None, digest: None, order: Order::Subject }
    }
}

/// So that tests can name a sink and nothing else.
#[cfg(test)]
impl PartialEq<&str> for Target {
    fn eq(&self, sink: &&str) -> bool {
        self.sink == *sink && self.channel.is_none() && self.digest.is_none()
    }
}

/// Collects events for one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digest {
    /// What is collected together, per sink and channel: the rule's name.
    pub group: String,
    /// From the first event to the message.
    pub window: Duration,
}

/// Fields and their patterns. In [`Rule::when`] all fields must match, in [`Rule::unless`] one is enough.
#[derive(Clone, Debug, Default)]
pub struct Condition {
    /// Field name and the patterns of which one must match; make them with [`pattern`]. A field is one of the event's
    /// own (`kind`, `source`, `provider`, `actor`, `repository`, `title`, `url`, `severity`, `subject`) or a key of its
    /// `extra` (`branch`, `draft`, `number`, …); `label` looks at each of `extra.labels`, `path` at each of `extra.paths`.
    pub fields: Vec<(String, Vec<WildMatch>)>,
}

/// The event's own fields, as a rule names them.
pub const OWN_FIELDS: &[&str] =
    &["kind", "source", "provider", "actor", "repository", "title", "url", "severity", "subject", "label", "path"];

/// Fields that name accounts, repositories and labels: GitHub keeps their case and ignores it. Branches, tags and
/// kinds are what they are written.
const CASELESS: &[&str] =
    &["actor", "author", "repository", "label", "labels", "reviewer", "assignee", "merged_by", "member"];

/// Of code, the kinds of high signal.
const CODE_KINDS: &[&str] = &[
    "issue_opened",
    "pr_opened",
    "pr_merged",
    "pr_closed",
    "pr_review_requested",
    "repo_starred",
    "repo_forked",
    "release_published",
    "ci_failed",
    "security_alert",
];

/// What fires is wanted when it is over, too; that it fires is a failure.
const OVER_KINDS: &[&str] = &["alert_resolved"];

/// What hookbell has to say about itself.
const OWN_KINDS: &[&str] = &[
    "hookbell_source_failing",
    "hookbell_source_silent",
    "hookbell_sink_down",
    "hookbell_sink_failing",
    "hookbell_undelivered",
    "hookbell_disk_trouble",
    "hookbell_database_damaged",
    "hookbell_clock_wrong",
    "hookbell_tunnel_down",
    "hookbell_not_reconciled",
    "hookbell_bell_broken",
    "hookbell_recovered",
];

/// The kinds that go to every sink when the configuration has no rules. Of money every event is wanted.
pub const DEFAULT_KINDS: &[&str] = &{
    let lists = [CODE_KINDS, MONEY_KINDS, OVER_KINDS, OWN_KINDS];
    let mut kinds = [""; CODE_KINDS.len() + MONEY_KINDS.len() + OVER_KINDS.len() + OWN_KINDS.len()];
    let (mut list, mut index, mut filled) = (0, 0, 0);
    while filled < kinds.len() {
        if index == lists[list].len() {
            (list, index) = (list + 1, 0);
        } else {
            kinds[filled] = lists[list][index];
            (index, filled) = (index + 1, filled + 1);
        }
    }
    kinds
};

/// Where an event goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Route {
    /// The sinks with their channels, each once, in the order of the rules; the first rule that names one decides about
    /// its digest.
    pub to: Vec<Target>,
    /// The least that the event matters by any rule that matched.
    pub severity: Option<Severity>,
    /// The cue of the first rule that names one.
    pub cue: Option<String>,
    /// The rules that matched, by name, or by their place: `rule 3`; those that are muted say so.
    pub matched: Vec<String>,
}

/// A pattern for a field: `*` and `?` are wild, all else is literal, so `*[bot]` means what it says. Accounts,
/// repositories and labels match without regard to case.
pub fn pattern(field: &str, text: &str) -> WildMatch {
    if CASELESS.contains(&field) { WildMatch::new_case_insensitive(text) } else { WildMatch::new(text) }
}

/// Lays the rules over an event, at this moment by the clock on the wall.
pub fn route(rules: &[Rule], event: &Event, now: LocalTime) -> Route {
    let mut route = Route::default();
    for (index, (rule, verdict)) in judge(rules, event, now).enumerate() {
        let Verdict::Matches { is_muted } = verdict else { continue };
        let muted = if is_muted { " (muted)" } else { "" };
        route.matched.push(format!("{}{muted}", rule.label(index)));
        for target in rule.to.iter().filter(|_| !is_muted) {
            let is_same = |other: &Target| (&other.sink, &other.channel) == (&target.sink, &target.channel);
            if !route.to.iter().any(is_same) {
                route.to.push(target.clone());
            }
        }
        route.severity = route.severity.max(rule.severity);
        if route.cue.is_none() {
            route.cue.clone_from(&rule.cue);
        }
    }
    route
}

/// What comes of a rule for one event.
#[derive(Debug)]
enum Verdict<'r> {
    /// It matches; while it is muted it sends nothing.
    Matches {
        is_muted: bool,
    },
    Differs(Mismatch<'r>),
    /// The rule at this place has ended the list.
    NotReached {
        stopped_by: usize,
    },
}

/// The first reason why a rule does not match.
#[derive(Debug)]
struct Mismatch<'r> {
    place: Place,
    field: &'r str,
    patterns: &'r [WildMatch],
}

/// Which of a rule's conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    When,
    Unless,
}

/// Every rule with what comes of it, in order: what routes and what explains the route.
fn judge<'r>(rules: &'r [Rule], event: &Event, now: LocalTime) -> impl Iterator<Item = (&'r Rule, Verdict<'r>)> {
    let mut stopped_by = None;
    rules.iter().enumerate().map(move |(index, rule)| {
        if let Some(stopped_by) = stopped_by {
            return (rule, Verdict::NotReached { stopped_by });
        }
        if let Some(mismatch) = rule.mismatch(event) {
            return (rule, Verdict::Differs(mismatch));
        }
        stopped_by = rule.stop.then_some(index);
        (rule, Verdict::Matches { is_muted: rule.mute.as_ref().is_some_and(|mute| mute.contains(now)) })
    })
}

/// What holds without any `[[rules]]`: a small set of high signal to every sink, and what fails. A repository's failures
/// are in the first already; the others of GitHub's would tell of one thing several times.
pub fn default_rules(sinks: Vec<String>) -> Vec<Rule> {
    let to: Vec<Target> = sinks.into_iter().map(Target::of).collect();
    let rule = |name: &str, when, unless| Rule {
        name: Some(name.to_owned()),
        when,
        unless,
        to: to.clone(),
        severity: None,
        mute: None,
        cue: None,
        stop: false,
    };
    vec![
        rule("default", Condition::new([("kind", DEFAULT_KINDS)]), None),
        rule(
            "default failures",
            Condition::new([("severity", &[Severity::Failure.name()])]),
            Some(Condition::new([("provider", &[Provider::GitHub.name()])])),
        ),
    ]
}

/// Why a rule can never match, or asks for what no event has; `None` when it is fine. `known_kinds` are
/// [`crate::provider::KINDS`], `sources` the configured names.
///
/// A list of patterns is dead only when all of it is: `kind = ["pr_*", "review_*"]` works by its first half.
pub fn why_never(rule: &Rule, known_kinds: &[&str], sources: &[&str]) -> Option<String> {
    let unless = rule.unless.as_ref();
    for (place, condition) in [("when", Some(&rule.when)), ("unless", unless)] {
        for (field, patterns) in condition.map_or(&[][..], |condition| &condition.fields) {
            if !OWN_FIELDS.contains(&field.as_str()) && !FACTS.contains(&field.as_str()) {
                return Some(format!("{place}.{field} is no field of an event; there are {}", field_names()));
            }
            if patterns.is_empty() {
                return Some(format!("{place}.{field} has no pattern, so nothing matches it"));
            }
        }
    }
    for (field, patterns) in &rule.when.fields {
        let vetoes = unless.map_or(&[][..], |unless| unless.patterns(field));
        if let Some(values) = closed_set(field, known_kinds, sources) {
            let is_wanted = |value: &&str| match field.as_str() {
                "kind" => Place::When.kinds(value).any(|kind| matches_any(patterns, kind)),
                _ => matches_any(patterns, value),
            };
            let wanted: Vec<&str> = values.iter().copied().filter(is_wanted).collect();
            if wanted.is_empty() {
                return Some(format!("when.{field} matches none of {}", values.join(", ")));
            }
            if wanted.iter().all(|value| matches_any(vetoes, value)) {
                return Some(format!("unless.{field} excludes everything that when.{field} asks for"));
            }
        } else if patterns.iter().all(|pattern| vetoes.contains(pattern)) {
            return Some(format!("unless.{field} excludes everything that when.{field} asks for"));
        }
    }
    // Fields that every event has: excluding all their values excludes every event.
    let always = ["kind", "source", "provider", "actor", "repository", "title", "severity"];
    let all = |field: &&str| {
        let vetoes = unless.map_or(&[][..], |unless| unless.patterns(field));
        match closed_set(field, known_kinds, sources) {
            Some(values) => !values.is_empty() && values.iter().all(|value| matches_any(vetoes, value)),
            None => vetoes.iter().any(|pattern| *pattern == "*"),
        }
    };
    always.into_iter().find(all).map(|field| format!("unless.{field} excludes every event"))
}

impl Rule {
    /// Its name, or its place among the rules: `rule 3`.
    pub fn label(&self, index: usize) -> String {
        self.name.clone().unwrap_or_else(|| format!("rule {}", index + 1))
    }

    /// Why it does not match, if it does not.
    fn mismatch(&self, event: &Event) -> Option<Mismatch<'_>> {
        let unless = self.unless.iter().flat_map(|unless| Place::Unless.fields(unless));
        Place::When.fields(&self.when).chain(unless).find(|field| field.decides_against(event))
    }
}

impl Mismatch<'_> {
    fn decides_against(&self, event: &Event) -> bool {
        let is_met = any_value(event, self.place, self.field, |value| matches_any(self.patterns, value));
        is_met == (self.place == Place::Unless)
    }
}

impl Place {
    /// What each field of the condition would be a mismatch of.
    fn fields(self, condition: &Condition) -> impl Iterator<Item = Mismatch<'_>> {
        condition.fields.iter().map(move |(field, patterns)| Mismatch { place: self, field, patterns })
    }

    /// The kinds that an event of this kind passes for. Who waits for green must not miss the green after red, so `when`
    /// takes what is fixed for what has passed as well; who keeps the green away by `unless` does not mean that one.
    fn kinds(self, kind: &str) -> impl Iterator<Item = &str> {
        let also = (self == Place::When && kind == CI_FIXED).then_some(CI_PASSED);
        std::iter::once(kind).chain(also)
    }
}

impl Condition {
    /// A condition from field names and patterns as they are written in the configuration.
    pub fn new<F, P>(fields: impl IntoIterator<Item = (F, P)>) -> Condition
    where
        F: Into<String>,
        P: IntoIterator<Item: AsRef<str>>,
    {
        let compile = |(field, texts): (F, P)| {
            let field = field.into();
            let patterns = texts.into_iter().map(|text| pattern(&field, text.as_ref())).collect();
            (field, patterns)
        };
        Condition { fields: fields.into_iter().map(compile).collect() }
    }

    fn patterns(&self, field: &str) -> &[WildMatch] {
        self.fields.iter().find(|(name, _)| name == field).map_or(&[], |(_, patterns)| patterns)
    }
}

/// Whether one of the values that the field has is so. A field that the event lacks has none, so nothing matches it, not
/// even `*`.
fn any_value(event: &Event, place: Place, field: &str, mut is_so: impl FnMut(&str) -> bool) -> bool {
    match field {
        "kind" => place.kinds(&event.kind).any(is_so),
        "source" => is_so(&event.source),
        "provider" => is_so(&event.provider),
        "actor" => is_so(&event.actor),
        "repository" => is_so(&event.repository),
        "title" => is_so(&event.title),
        "url" => event.url.as_deref().is_some_and(is_so),
        "severity" => is_so(event.severity.name()),
        "subject" => event.subject.as_deref().is_some_and(is_so),
        // Who writes the plural means each of them as well.
        "label" | "labels" => match event.extra.get("labels") {
            Some(Fact::Text(labels)) => labels.split(',').any(|label| is_so(label.trim())),
            _ => false,
        },
        "path" | "paths" => match event.extra.get("paths") {
            Some(Fact::Text(paths)) => paths.lines().any(is_so),
            _ => false,
        },
        _ => match event.extra.get(field) {
            Some(Fact::Text(text)) => is_so(text),
            Some(fact) => is_so(&fact.to_string()),
            None => false,
        },
    }
}

fn matches_any(patterns: &[WildMatch], value: &str) -> bool {
    patterns.iter().any(|pattern| pattern.matches(value))
}

/// All values that a field can have, where that is known.
fn closed_set<'a>(field: &str, known_kinds: &[&'a str], sources: &[&'a str]) -> Option<Vec<&'a str>> {
    match field {
        "kind" => Some(known_kinds.to_vec()),
        "source" => Some(sources.to_vec()),
        "provider" => Some(Provider::ALL.iter().map(|provider| provider.name()).collect()),
        "severity" => {
            Some([Severity::Info, Severity::Success, Severity::Warning, Severity::Failure].map(Severity::name).to_vec())
        }
        "draft" | "forced" | "prerelease" => Some(vec!["true", "false"]),
        _ => None,
    }
}

fn field_names() -> String {
    [OWN_FIELDS, FACTS].concat().join(", ")
}

#[cfg(test)]
mod tests;
