//! Which rules can match an event that has not come: of which only the kind, and who tells it, are known. Pure.

use super::{Condition, Place, Rule, matches_any};
use crate::event::Severity;

/// What is known of an event before it comes.
#[derive(Clone, Copy, Debug)]
pub struct Prospect<'a> {
    /// Its kind.
    pub kind: &'a str,
    /// The source's name.
    pub source: &'a str,
    /// Its provider's.
    pub provider: &'a str,
    /// What its kind means.
    pub severity: Severity,
}

/// Whether a rule will match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chance {
    /// What is not known yet decides.
    May,
    /// Whatever else it is.
    Will,
}

/// The rules that can match it, in order, to the one that surely ends the list.
pub fn chances<'r>(rules: &'r [Rule], prospect: Prospect<'_>) -> Vec<(&'r Rule, Chance)> {
    let mut found = Vec::new();
    for rule in rules {
        let Some(chance) = chance(rule, prospect) else { continue };
        found.push((rule, chance));
        if rule.stop && chance == Chance::Will {
            break;
        }
    }
    found
}

/// `None`: it never does.
fn chance(rule: &Rule, prospect: Prospect<'_>) -> Option<Chance> {
    let when = [(Place::When, &rule.when)];
    let unless = rule.unless.iter().map(|unless| (Place::Unless, unless));
    let mut chance = Chance::Will;
    for (place, Condition { fields }) in when.into_iter().chain(unless) {
        for (field, patterns) in fields {
            let is_met = match field.as_str() {
                "kind" => place.kinds(prospect.kind).any(|kind| matches_any(patterns, kind)),
                "source" => matches_any(patterns, prospect.source),
                "provider" => matches_any(patterns, prospect.provider),
                "severity" => matches_any(patterns, prospect.severity.name()),
                _ => {
                    chance = Chance::May;
                    continue;
                }
            };
            if is_met == (place == Place::Unless) {
                return None;
            }
        }
    }
    Some(chance)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::{Target, default_rules};

    fn rule(when: &[(&str, &[&str])], unless: &[(&str, &[&str])], stop: bool) -> Rule {
        let condition = |fields: &[(&str, &[&str])]| {
            Condition::new(fields.iter().map(|(field, patterns)| ((*field).to_owned(), patterns.to_vec())))
        };
        Rule {
            name: None,
            when: condition(when),
            unless: (!unless.is_empty()).then(|| condition(unless)),
            to: vec![Target::of("slack")],
            severity: None,
            mute: None,
            cue: None,
            stop,
        }
    }

    fn prospect(kind: &str) -> Prospect<'_> {
        let severity = crate::provider::severity_of_kind(kind);
        Prospect { kind, source: "work", provider: "github", severity }
    }

    #[test]
    fn what_is_known_decides_and_what_is_not_may() {
        let check = |when: &[(&str, &[&str])], unless: &[(&str, &[&str])], kind: &str, expected: Option<Chance>| {
            assert_eq!(chance(&rule(when, unless, false), prospect(kind)), expected, "{when:?} {unless:?} {kind}");
        };
        check(&[], &[], "push", Some(Chance::Will));
        check(&[("kind", &["pr_*"])], &[], "pr_opened", Some(Chance::Will));
        check(&[("kind", &["pr_*"])], &[], "push", None);
        check(&[("source", &["home"])], &[], "push", None);
        check(&[("source", &["home", "w?rk"]), ("provider", &["github"])], &[], "push", Some(Chance::Will));
        check(&[("provider", &["stripe"])], &[], "push", None);
        check(&[("severity", &["failure"])], &[], "ci_failed", Some(Chance::Will));
        check(&[("severity", &["failure"])], &[], "ci_passed", None);
        check(&[("branch", &["main"])], &[], "push", Some(Chance::May));
        check(&[("branch", &["main"]), ("kind", &["push"])], &[], "fork", None);
        check(&[], &[("actor", &["*[bot]"])], "push", Some(Chance::May));
        check(&[], &[("kind", &["push"])], "push", None);
        check(&[], &[("actor", &["x"]), ("severity", &["info"])], "push", None);
        // Who waits for green takes the green after red as well; who keeps the green away does not mean that one.
        check(&[("kind", &["ci_passed"])], &[], "ci_fixed", Some(Chance::Will));
        check(&[], &[("kind", &["ci_passed"])], "ci_fixed", Some(Chance::Will));
    }

    #[test]
    fn a_rule_that_surely_stops_hides_the_others() {
        let rules = [
            rule(&[("kind", &["push"]), ("branch", &["x"])], &[], true),
            rule(&[("kind", &["push"])], &[], true),
            rule(&[], &[], false),
        ];
        let found = |kind: &str| chances(&rules, prospect(kind)).len();
        assert_eq!((found("push"), found("fork")), (2, 1));
    }

    #[test]
    fn the_default_rules_want_what_they_say() {
        let rules = default_rules(vec!["slack".to_owned()]);
        let is_wanted = |kind: &str| !chances(&rules, prospect(kind)).is_empty();
        assert!(
            is_wanted("ci_failed") && is_wanted("pr_merged") && !is_wanted("push") && !is_wanted("deployment_failed")
        );
    }
}
