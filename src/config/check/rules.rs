//! `[[rules]]`: which events go where. And `[schedule]`: by whose clock.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use toml::de::DeValue;
use wildmatch::WildMatch;

use super::{ends::Ends, sinks};
use crate::{
    bell::Cue,
    config::{
        Secrets, Sink, SinkKind,
        problem::{Fault, Place, Report},
        raw::{Node, Section},
        value::{self, DAY},
    },
    event::Severity,
    provider::{FACTS, KINDS, Provider},
    rule::{self, Condition, Digest, OWN_FIELDS, Rule, Target},
    time::Zone,
};

/// Shorter, and each event might as well come by itself.
const DIGEST_MIN: Duration = Duration::from_secs(10);

const SEVERITIES: &[(&str, Severity)] = &[
    ("info", Severity::Info),
    ("success", Severity::Success),
    ("warning", Severity::Warning),
    ("failure", Severity::Failure),
];

/// What a rule may name.
pub(super) struct Known<'a> {
    pub(super) sources: &'a BTreeSet<String>,
    pub(super) sinks: &'a Ends<Sink>,
    pub(super) cues: &'a BTreeMap<String, Cue>,
    pub(super) secrets: Secrets,
}

/// `[schedule]`
pub(super) fn zone(mut section: Section<'_>, report: &mut Report) -> Zone {
    let zone = section.read("time_zone", report, |node| {
        let name = node.text()?;
        let fault = || Fault::new(format!("no time zone of this machine is called `{name}`"));
        let hint =
            "write it as `timedatectl list-timezones` does, \"Europe/Berlin\"; they come with the package tzdata";
        Zone::named(name).ok_or_else(|| fault().hint(hint))
    });
    section.finish(report);
    zone.unwrap_or_else(Zone::system)
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
    name_groups(&mut rules);
    rules
}

/// What is collected together is called like its rule; of rules that share a name, each with its place.
fn name_groups(rules: &mut [Rule]) {
    let labels: Vec<String> = rules.iter().enumerate().map(|(index, rule)| rule.label(index)).collect();
    for (index, (rule, label)) in rules.iter_mut().zip(&labels).enumerate() {
        let is_shared = labels.iter().filter(|other| *other == label).count() > 1;
        for digest in rule.to.iter_mut().filter_map(|target| target.digest.as_mut()) {
            digest.group = if is_shared { format!("{label} ({})", index + 1) } else { label.clone() };
        }
    }
}

/// A sink that is left out for want of its secret gets nothing, unless no secret was asked for.
fn is_usable(known: &Known<'_>, name: &str) -> bool {
    known.secrets == Secrets::Unneeded || known.sinks.by_name.contains_key(name)
}

fn usable(known: &Known<'_>) -> Vec<String> {
    known.sinks.names.iter().filter(|name| is_usable(known, name)).cloned().collect()
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
    let to: Option<Vec<String>> = to.map(|names| {
        let mut unique = BTreeSet::new();
        names.into_iter().filter(|name| unique.insert(name.clone())).collect()
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
    let severity = section.read("severity", report, |node| value::choice(node, SEVERITIES));
    let mute = section.get("mute").and_then(|node| value::schedule(node, report));
    let is_sound = report.errors() == errors_before;
    let to = targets(to, is_sound, &mut section, known, report);

    let place = section.place.clone();
    section.finish(report);
    let rule = Rule { name, when, unless, to, severity, mute, cue, stop };
    let sources: Vec<&str> = known.sources.iter().map(String::as_str).collect();
    // A rule with a slip in it has been complained about already, where the slip is.
    if report.errors() == errors_before
        && let Some(why) = rule::why_never(&rule, KINDS, &sources)
    {
        report.error(&place, Fault::new(format!("this rule can never match: {why}")));
    }
    rule
}

/// `to`, with the `channel` and the `digest` that the rule asks its sinks for. Whether they can is for a rule that has no
/// other problem, such as a sink's name that is a slip.
fn targets(
    to: Option<Vec<String>>,
    is_sound: bool,
    section: &mut Section<'_>,
    known: &Known<'_>,
    report: &mut Report,
) -> Vec<Target> {
    let channel = section.read("channel", report, sinks::channel);
    let window = section.read("digest", report, |node| value::duration(node, DIGEST_MIN..=DAY));
    let named = to.unwrap_or_else(|| known.sinks.names.iter().cloned().collect());
    // A sink that is left out, for want of its secret or with a problem of its own, is no reason to change the rules: it is
    // taken to be able to do what they ask.
    let kind = |name: &String| known.sinks.by_name.get(name).map(|sink| &sink.kind);
    let can = |name: &String, can: fn(&SinkKind) -> bool| kind(name).is_none_or(can);
    let mut demand = |place: Place, is_asked: bool, able: fn(&SinkKind) -> bool, what: &str, hint: &str| {
        if is_sound && is_asked && !named.iter().any(|name| can(name, able)) {
            report.error(&place, Fault::new(what).hint(hint));
        }
    };
    let place = section.place_of("channel");
    let hint = "Slack by bot token has them; remove `channel`, or name such a sink in `to`";
    demand(place, channel.is_some(), SinkKind::has_channels, "no sink of this rule has channels", hint);
    let place = section.place_of("digest");
    let what = "no sink of this rule tells several events in one message";
    let hint = "Slack does; remove `digest`, or name such a sink in `to`";
    demand(place, window.is_some(), SinkKind::bundles, what, hint);

    let target = |sink: String| {
        let is_own = |channel: &String| kind(&sink).and_then(SinkKind::channel) == Some(channel);
        let channel = channel.clone().filter(|_| can(&sink, SinkKind::has_channels)).filter(|channel| !is_own(channel));
        // The group gets its name when all rules are known.
        let digest = window.filter(|_| can(&sink, SinkKind::bundles));
        Target { channel, digest: digest.map(|window| Digest { group: String::new(), window }), ..Target::of(sink) }
    };
    named.into_iter().filter(|name| is_usable(known, name)).map(target).collect()
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
