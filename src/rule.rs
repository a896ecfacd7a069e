//! Which sinks an event goes to and which cue it plays. Owns matching and the complaint about rules that cannot; pure:
//! refuses I/O, clocks and threads.

use std::time::Duration;

use wildmatch::WildMatch;

use crate::{
    event::{Event, Fact, Severity},
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
    /// `extra` (`branch`, `draft`, `number`, …); `label` looks at each of `extra.labels`.
    pub fields: Vec<(String, Vec<WildMatch>)>,
}

/// The event's own fields, as a rule names them.
pub const OWN_FIELDS: &[&str] =
    &["kind", "source", "provider", "actor", "repository", "title", "url", "severity", "subject", "label"];

/// Fields that name accounts, repositories and labels: GitHub keeps their case and ignores it. Branches, tags and
/// kinds are what they are written.
const CASELESS: &[&str] = &["actor", "repository", "label", "labels", "reviewer", "assignee", "merged_by", "member"];

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

/// The kinds that go to every sink when the configuration has no rules. Of money every event is wanted.
pub const DEFAULT_KINDS: &[&str] = &{
    let lists = [CODE_KINDS, MONEY_KINDS, OVER_KINDS];
    let mut kinds = [""; CODE_KINDS.len() + MONEY_KINDS.len() + OVER_KINDS.len()];
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
    for (index, rule) in rules.iter().enumerate().filter(|(_, rule)| rule.matches(event)) {
        let is_muted = rule.mute.as_ref().is_some_and(|mute| mute.contains(now));
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
        if rule.stop {
            break;
        }
    }
    route
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
            let wanted: Vec<&str> = values.iter().copied().filter(|value| matches_any(patterns, value)).collect();
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

    fn matches(&self, event: &Event) -> bool {
        self.when.fields.iter().all(|(field, patterns)| field_matches(event, field, patterns))
            && !self.unless.as_ref().is_some_and(|unless| {
                unless.fields.iter().any(|(field, patterns)| field_matches(event, field, patterns))
            })
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

/// Whether one of the patterns matches the field. A field that the event lacks matches nothing, not even `*`.
fn field_matches(event: &Event, field: &str, patterns: &[WildMatch]) -> bool {
    match field {
        "kind" => matches_any(patterns, &event.kind),
        "source" => matches_any(patterns, &event.source),
        "provider" => matches_any(patterns, &event.provider),
        "actor" => matches_any(patterns, &event.actor),
        "repository" => matches_any(patterns, &event.repository),
        "title" => matches_any(patterns, &event.title),
        "url" => event.url.as_ref().is_some_and(|url| matches_any(patterns, url)),
        "severity" => matches_any(patterns, event.severity.name()),
        "subject" => event.subject.as_ref().is_some_and(|subject| matches_any(patterns, subject)),
        // Who writes the plural means each of them as well.
        "label" | "labels" => match event.extra.get("labels") {
            Some(Fact::Text(labels)) => labels.split(',').any(|label| matches_any(patterns, label.trim())),
            _ => false,
        },
        _ => match event.extra.get(field) {
            Some(Fact::Text(text)) => matches_any(patterns, text),
            Some(fact) => matches_any(patterns, &fact.to_string()),
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
