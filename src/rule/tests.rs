//! Rules by example.

use super::*;
use crate::{
    event::Extra,
    provider::{KINDS, Provider},
};

/// A Wednesday.
const NOON: LocalTime = LocalTime { weekday: 2, minute: 12 * 60 };

fn event(kind: &str) -> Event {
    Event {
        kind: kind.to_owned(),
        source: "github".to_owned(),
        provider: Provider::GitHub.name().to_owned(),
        actor: "Dependabot[bot]".to_owned(),
        repository: "Acme/API".to_owned(),
        title: "Bump".to_owned(),
        url: None,
        severity: Severity::Info,
        subject: Some("Acme/API#42".to_owned()),
        extra: Extra::from([
            ("branch".to_owned(), Fact::Text("release/1.0".to_owned())),
            ("labels".to_owned(), Fact::Text("WIP,good first issue".to_owned())),
            ("draft".to_owned(), Fact::Flag(true)),
            ("number".to_owned(), Fact::Number(42)),
            ("author".to_owned(), Fact::Text("Otto".to_owned())),
            ("paths".to_owned(), Fact::Text("docs/a, b.md\nsrc/main.rs".to_owned())),
        ]),
        own_id: None,
    }
}

fn rule(when: &[(&str, &[&str])], unless: &[(&str, &[&str])]) -> Rule {
    Rule {
        name: None,
        when: Condition::new(when.iter().map(|(field, texts)| (*field, *texts))),
        unless: (!unless.is_empty()).then(|| Condition::new(unless.iter().map(|(field, texts)| (*field, *texts)))),
        to: vec![Target::of("slack")],
        severity: None,
        mute: None,
        cue: None,
        stop: false,
    }
}

#[test]
fn fields_match_as_people_mean_them() {
    let check = |when: &[(&str, &[&str])], expected: bool| {
        assert_eq!(rule(when, &[]).mismatch(&event("pr_opened")).is_none(), expected, "{when:?}");
    };
    check(&[], true);
    check(&[("kind", &["pr_*", "review_*"])], true);
    check(&[("kind", &["PR_*"])], false);
    check(&[("kind", &["pr_*"]), ("branch", &["main"])], false);
    check(&[("kind", &["pr_*"]), ("branch", &["main", "release/*"])], true);
    check(&[("branch", &["Release/*"])], false);
    check(&[("actor", &["*[bot]"])], true);
    check(&[("actor", &["dependabot[bot]"])], true);
    check(&[("actor", &["dependabot?bot?"])], true);
    check(&[("actor", &["dependabot"])], false);
    check(&[("repository", &["acme/*"])], true);
    check(&[("label", &["wip"])], true);
    check(&[("labels", &["good first *"])], true);
    check(&[("label", &["first"])], false);
    check(&[("author", &["otto"])], true);
    check(&[("path", &["docs/*"])], true);
    check(&[("paths", &["src/*.rs"])], true);
    check(&[("path", &["Src/*"])], false);
    check(&[("path", &["docs/*.rs"])], false);
    check(&[("draft", &["true"])], true);
    check(&[("number", &["42"])], true);
    check(&[("severity", &["failure"])], false);
    check(&[("subject", &["Acme/API#42"])], true);
    check(&[("url", &["*"])], false);
    check(&[("tag", &["*"])], false);
    check(&[("kind", &[])], false);
}

#[test]
fn one_field_of_unless_is_enough() {
    let check = |unless: &[(&str, &[&str])], expected: bool| {
        assert_eq!(rule(&[], unless).mismatch(&event("pr_opened")).is_none(), expected, "{unless:?}");
    };
    check(&[("label", &["wip"]), ("draft", &["false"])], false);
    check(&[("label", &["blocked"]), ("draft", &["true"])], false);
    check(&[("label", &["blocked"]), ("draft", &["false"])], true);
    check(&[("tag", &["*"])], true);
}

#[test]
fn rules_add_up_until_one_stops() {
    let add = |name: Option<&str>, to: &[&str], cue: Option<&str>, stop| Rule {
        name: name.map(str::to_owned),
        to: to.iter().map(|sink| Target::of(*sink)).collect(),
        cue: cue.map(str::to_owned),
        stop,
        ..rule(&[("kind", &["push"])], &[])
    };
    let rules = [
        add(Some("first"), &["slack", "bell"], None, false),
        rule(&[("kind", &["pr_*"])], &[]),
        add(None, &["bell", "dev"], Some("pr"), false),
        add(Some("last"), &[], Some("other"), true),
        add(None, &["never"], None, false),
    ];
    let route = route(&rules, &event("push"), NOON);
    assert_eq!(route.to, ["slack", "bell", "dev"]);
    assert_eq!(route.cue.as_deref(), Some("pr"));
    assert_eq!(route.matched, ["first", "rule 3", "last"]);
    assert_eq!(super::route(&rules, &event("repo_starred"), NOON), Route::default());
}

#[test]
fn the_default_set_is_the_contracts() {
    let rules = default_rules(vec!["slack".to_owned(), "bell".to_owned()]);
    for kind in KINDS {
        let route = route(&rules, &event(kind), NOON);
        assert_eq!(route.to.len(), if DEFAULT_KINDS.contains(kind) { 2 } else { 0 }, "{kind}");
    }
    assert!(DEFAULT_KINDS.iter().all(|kind| KINDS.contains(kind)));
    assert!(!DEFAULT_KINDS.contains(&"repo_watched"), "one star would be told twice");
    assert_eq!(why_never(&rules[0], KINDS, &["github"]), None);
}

#[test]
fn dead_rules_say_why() {
    let check = |when: &[(&str, &[&str])], unless: &[(&str, &[&str])], expected: Option<&str>| {
        let why = why_never(&rule(when, unless), KINDS, &["github", "ghe"]);
        match expected {
            None => assert_eq!(why, None, "{when:?} {unless:?}"),
            Some(part) => assert!(why.as_ref().is_some_and(|why| why.contains(part)), "{when:?} {unless:?}: {why:?}"),
        }
    };
    check(&[], &[], None);
    check(&[("kind", &["pr_*", "review_*"])], &[("label", &["wip"]), ("draft", &["true"])], None);
    check(&[("source", &["github"]), ("actor", &["*[bot]"])], &[], None);
    check(&[("branch", &["main"])], &[("branch", &["release"])], None);
    check(&[("kind", &["*"])], &[("kind", &["push"])], None);
    check(&[("source", &["*"])], &[("severity", &["info"])], None);
    check(&[("kind", &[])], &[], Some("no pattern"));
    check(&[], &[("label", &[])], Some("unless.label has no pattern"));
    check(&[("kinds", &["push"])], &[], Some("when.kinds is no field"));
    check(&[], &[("lable", &["wip"])], Some("unless.lable is no field"));
    check(&[("kind", &["pull_request"])], &[], Some("when.kind matches none"));
    check(&[("source", &["gitlab"])], &[], Some("when.source matches none"));
    check(&[("provider", &["paypal"])], &[], Some("when.provider matches none"));
    check(&[("severity", &["error"])], &[], Some("when.severity matches none"));
    check(&[("draft", &["yes"])], &[], Some("when.draft matches none"));
    check(&[("kind", &["push"])], &[("kind", &["p*"])], Some("unless.kind excludes"));
    check(&[("branch", &["main"])], &[("branch", &["dev", "main"])], Some("unless.branch excludes"));
    check(&[("kind", &["ci_passed"])], &[("kind", &["ci_passed"])], None);
    check(&[("kind", &["ci_passed"])], &[("kind", &["ci_passed", "ci_fixed"])], Some("unless.kind excludes"));
    check(&[], &[("source", &["g*"])], Some("excludes every event"));
    check(&[], &[("actor", &["*"])], Some("excludes every event"));
}

#[test]
fn who_waits_for_green_gets_the_green_after_red() {
    let check = |when: &[(&str, &[&str])], unless: &[(&str, &[&str])], kind: &str, expected: bool| {
        assert_eq!(rule(when, unless).mismatch(&event(kind)).is_none(), expected, "{when:?} {unless:?} {kind}");
    };
    check(&[("kind", &["ci_passed"])], &[], CI_FIXED, true);
    check(&[("kind", &["ci_pass*"])], &[], CI_FIXED, true);
    check(&[("kind", &["ci_fixed"])], &[], CI_FIXED, true);
    check(&[("kind", &["ci_fixed"])], &[], CI_PASSED, false);
    check(&[("kind", &["ci_failed"])], &[], CI_FIXED, false);
    check(&[], &[("kind", &["ci_passed"])], CI_FIXED, true);
    check(&[], &[("kind", &["ci_passed"])], CI_PASSED, false);
    check(&[("kind", &["ci_passed"])], &[("kind", &["ci_fixed"])], CI_FIXED, false);
}

#[test]
fn a_rule_says_why_it_does_not_match() {
    let check = |when: &[(&str, &[&str])], unless: &[(&str, &[&str])], expected: Option<&str>| {
        let explained = explain(&[rule(when, unless)], &event("push"), NOON);
        assert_eq!(explained[0].why.as_deref(), expected, "{when:?} {unless:?}");
        assert_eq!(explained[0].is_matched, expected.is_none());
    };
    check(&[], &[], None);
    check(&[("kind", &["push"])], &[("label", &["blocked"])], None);
    check(&[("kind", &["pr_*", "review_*"])], &[], Some("when.kind: push is none of pr_*, review_*"));
    check(&[("source", &["github"]), ("kind", &["pr_*"])], &[], Some("when.kind: push is not pr_*"));
    check(&[("tag", &["*"])], &[], Some("when.tag: the event has none"));
    check(&[("number", &["7"])], &[], Some("when.number: 42 is not 7"));
    check(&[("label", &["bug", "docs"])], &[], Some("when.label: each of WIP, good first issue is none of bug, docs"));
    check(&[], &[("actor", &["x", "*[bot]"])], Some("unless.actor: Dependabot[bot] matches *[bot]"));
    check(&[], &[("label", &["good*"])], Some("unless.label: good first issue matches good*"));
    check(&[], &[("draft", &["true"])], Some("unless.draft: it is true"));

    let stopping = Rule { name: Some("quiet".to_owned()), stop: true, ..rule(&[], &[]) };
    let muted = |spans: &[&str]| Rule { mute: Schedule::parse(spans.iter().copied()).ok(), ..rule(&[], &[]) };
    let rules = [muted(&["11:00-13:30"]), muted(&["mon-sun"]), muted(&["sat"]), stopping, rule(&[], &[])];
    let explained = explain(&rules, &event("push"), NOON);
    let whys: Vec<Option<&str>> = explained.iter().map(|explained| explained.why.as_deref()).collect();
    let expected = [
        Some("muted at wed 12:00, until wed 13:30"),
        Some("muted at wed 12:00, and always"),
        None,
        None,
        Some("not looked at: rule \"quiet\" stopped"),
    ];
    assert_eq!(whys, expected);
}

/// Every sort of rule against every kind of event: what is explained is what is routed.
#[test]
fn what_is_explained_is_what_is_routed() {
    let conditions: &[&[(&str, &[&str])]] = &[
        &[],
        &[("kind", &["ci_passed"])],
        &[("kind", &["pr_*", "issue_*"]), ("branch", &["release/*"])],
        &[("label", &["wip"])],
        &[("draft", &["true"]), ("tag", &["*"])],
        &[("path", &["*.rs"])],
        &[("severity", &["failure"])],
    ];
    let night = Schedule::parse(["22:00-07:30", "sun"]).ok();
    let mut rules = Vec::new();
    for when in conditions {
        for unless in conditions {
            for (mute, stop) in [(None, false), (night.clone(), false), (None, !when.is_empty() && !unless.is_empty())]
            {
                rules.push(Rule { mute, stop, ..rule(when, unless) });
            }
        }
    }
    let mut matched = 0;
    // Each rule once the first, so that what stands before it does not always stop.
    for first in 0..rules.len() {
        for kind in KINDS.iter().copied().filter(|kind| kind.contains('_')) {
            for now in [NOON, LocalTime { weekday: 6, minute: 30 }] {
                let (rules, event) = (&rules[first..], event(kind));
                let route = route(rules, &event, now);
                let explained = explain(rules, &event, now).into_iter().filter(|explained| explained.is_matched);
                let told: Vec<String> = explained
                    .map(|explained| match explained.why {
                        Some(_) => format!("{} (muted)", explained.rule),
                        None => explained.rule,
                    })
                    .collect();
                assert_eq!(told, route.matched, "{kind} from rule {first}");
                let is_owed = route.matched.iter().any(|rule| !rule.ends_with("(muted)"));
                assert_eq!(!route.to.is_empty(), is_owed, "{kind} from rule {first}");
                matched += told.len();
            }
        }
    }
    assert!(matched > 10_000, "{matched}");
}
