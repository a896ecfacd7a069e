//! Which sinks an event goes to and which cue it plays. Owns matching and the complaint about rules that cannot; pure:
//! refuses I/O, clocks and threads.

use wildmatch::WildMatch;

use crate::{
    event::{Event, Fact, Severity},
    provider::{FACTS, MONEY_KINDS, Provider},
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
    pub to: Vec<String>,
    /// The cue that the bell plays instead of the one named like the event's kind.
    pub cue: Option<String>,
    /// Whether later rules are looked at when this one matches.
    pub stop: bool,
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
    /// The sinks, each once, in the order of the rules.
    pub sinks: Vec<String>,
    /// The cue of the first rule that names one.
    pub cue: Option<String>,
    /// The rules that matched, by name, or by their place: `rule 3`.
    pub matched: Vec<String>,
}

/// A pattern for a field: `*` and `?` are wild, all else is literal, so `*[bot]` means what it says. Accounts,
/// repositories and labels match without regard to case.
pub fn pattern(field: &str, text: &str) -> WildMatch {
    if CASELESS.contains(&field) { WildMatch::new_case_insensitive(text) } else { WildMatch::new(text) }
}

/// Lays the rules over an event.
pub fn route(rules: &[Rule], event: &Event) -> Route {
    let mut route = Route::default();
    for (index, rule) in rules.iter().enumerate().filter(|(_, rule)| rule.matches(event)) {
        route.matched.push(rule.name.clone().unwrap_or_else(|| format!("rule {}", index + 1)));
        for sink in &rule.to {
            if !route.sinks.contains(sink) {
                route.sinks.push(sink.clone());
            }
        }
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
    let rule = |name: &str, when, unless| Rule {
        name: Some(name.to_owned()),
        when,
        unless,
        to: sinks.clone(),
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
