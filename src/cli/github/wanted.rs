//! What a webhook of ours is to be: which events, which one of those there are, and what would have to change. Pure.

use std::{collections::BTreeSet, fmt};

use serde_json::{Value, json};

use crate::{
    bell::Latches,
    config::{Settings, SinkKind},
    event::{CI_FIXED, CI_PASSED},
    provider::{GITHUB_EVENTS, Offered, Provider, severity_of_kind},
    remote::github::{Hook, Place},
    rule::{Chance, Prospect, chances},
};

/// The events of GitHub's that can become something which a rule sends anywhere for this source, or which puts out a light
/// that such an event has lit; sorted.
pub(super) fn events(settings: &Settings, source: &str, place: &Place) -> Vec<&'static str> {
    let bells = settings.sinks.iter().filter(|(_, sink)| matches!(sink.kind, SinkKind::Bell));
    let latches = Latches::new(settings.bell.cues.clone(), bells.map(|(name, _)| name.clone()));
    let mut kinds = BTreeSet::new();
    for kind in GITHUB_EVENTS.iter().flat_map(|(_, kinds, _)| kinds_of(kinds)) {
        let severity = severity_of_kind(kind);
        let prospect = Prospect { kind, source, provider: Provider::GitHub.name(), severity };
        let rules = chances(&settings.rules, prospect);
        if rules.iter().all(|(rule, _)| rule.to.is_empty()) {
            continue;
        }
        kinds.insert(kind.to_owned());
        let sinks = || rules.iter().flat_map(|(rule, _)| &rule.to).map(|target| target.sink.as_str());
        let named = rules.iter().find(|(rule, chance)| rule.cue.is_some() && *chance == Chance::Will);
        // Where no rule surely names the cue, it may be the kind's own.
        let own = named.is_none().then_some(None);
        for chosen in
            rules.iter().filter(|(rule, _)| rule.cue.is_some()).map(|(rule, _)| rule.cue.as_deref()).chain(own)
        {
            kinds.extend(latches.ends_of(kind, severity, chosen, sinks()).iter().cloned());
        }
    }
    let is_offered = |offered: &Offered| match offered {
        Offered::Everywhere => true,
        Offered::ByOrganisations => matches!(place, Place::Organisation(_)),
        Offered::Doubly => false,
    };
    let rows = GITHUB_EVENTS.iter().filter(|(_, _, offered)| is_offered(offered));
    rows.filter(|(_, row, _)| kinds_of(row).any(|kind| kinds.contains(kind))).map(|(event, ..)| *event).collect()
}

/// What an event's kinds can become on their way.
fn kinds_of(kinds: &'static [&'static str]) -> impl Iterator<Item = &'static str> {
    kinds.iter().copied().chain(kinds.contains(&CI_PASSED).then_some(CI_FIXED))
}

/// Which of the webhooks of a place is ours.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ours<'h> {
    /// It leads to this door.
    pub(super) exact: Option<&'h Hook>,
    /// They lead to this source of a door under another address: an old one of ours, or another's. The newest first.
    pub(super) elsewhere: Vec<&'h Hook>,
    /// They lead here as well: everything comes as often.
    pub(super) doubles: Vec<&'h Hook>,
}

/// Looks for the webhooks that are ours; `url` is where they shall lead. All others are somebody's who is not asked about.
pub(super) fn ours<'h>(hooks: &'h [Hook], url: &str, source: &str) -> Ours<'h> {
    let wanted = Address::of(url);
    let paths = [format!("/webhooks/{source}"), format!("/webhook/{source}")];
    let older = wanted.path.strip_suffix(paths[0].as_str()).map(|before| format!("{before}{}", paths[1]));
    let (mut here, mut elsewhere) = (Vec::new(), Vec::new());
    for hook in hooks {
        let found = Address::of(&hook.url);
        let is_path = found.path == wanted.path || older.as_deref() == Some(found.path);
        if is_path && found.host.eq_ignore_ascii_case(wanted.host) {
            here.push(hook);
        } else if is_path || paths.iter().any(|path| path == found.path) {
            elsewhere.push(hook);
        }
    }
    // The same to the letter comes first, then what delivers, then what has been there for longest.
    here.sort_by_key(|hook| (hook.url != url, !hook.is_active, hook.id));
    elsewhere.sort_by_key(|hook| std::cmp::Reverse(hook.id));
    Ours { exact: here.first().copied(), elsewhere, doubles: here.into_iter().skip(1).collect() }
}

/// The parts of a URL that say where it leads.
struct Address<'u> {
    host: &'u str,
    path: &'u str,
}

impl<'u> Address<'u> {
    fn of(url: &'u str) -> Address<'u> {
        let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
        let rest = rest.split(['?', '#']).next().unwrap_or(rest);
        let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        Address { host, path: path.trim_end_matches('/') }
    }
}

/// One thing that changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    what: &'static str,
    from: Option<String>,
    to: Option<String>,
}

/// What of a webhook is another than it shall be; of `None`, which is to be made, everything.
pub(super) fn changes(hook: Option<&Hook>, url: &str, events: &[&str]) -> Vec<Change> {
    let change = |what, from: Option<&str>, to: Option<&str>| Change {
        what,
        from: from.map(str::to_owned),
        to: to.map(str::to_owned),
    };
    let mut changes = Vec::new();
    let mut field = |what: &'static str, from: Option<&str>, to: &str| {
        if from != Some(to) {
            changes.push(change(what, from, Some(to)));
        }
    };
    let on = |is_on: bool| if is_on { "yes" } else { "no" };
    field("url", hook.map(|hook| hook.url.as_str()), url);
    field("content type", hook.map(|hook| hook.content_type.as_str()), "json");
    field("certificates checked", hook.map(|hook| on(hook.checks_tls)), "yes");
    field("active", hook.map(|hook| on(hook.is_active)), "yes");
    let known: Vec<&str> = hook.map(|hook| hook.events.iter().map(String::as_str).collect()).unwrap_or_default();
    changes
        .extend(events.iter().filter(|event| !known.contains(event)).map(|event| change("event", None, Some(event))));
    changes
        .extend(known.iter().filter(|event| !events.contains(event)).map(|event| change("event", Some(event), None)));
    if hook.is_none_or(|hook| !hook.has_secret) {
        changes.push(secret("none"));
    }
    changes
}

/// The secret is set, in place of what there was.
pub(super) fn secret(before: &str) -> Change {
    Change { what: "secret", from: Some(before.to_owned()), to: Some("ours".to_owned()) }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.what, self.from.as_deref(), self.to.as_deref()) {
            ("event", None, Some(event)) => write!(f, "+ event {event}"),
            ("event", Some(event), _) => write!(f, "- event {event}"),
            ("secret", Some("none"), _) => f.write_str("secret: set"),
            ("secret", Some(before), _) => write!(f, "secret: set in place of {before}"),
            (what, Some(from), Some(to)) => write!(f, "{what} {from} → {to}"),
            (what, _, to) => write!(f, "{what}: {}", to.unwrap_or_default()),
        }
    }
}

impl Change {
    /// One object.
    pub(super) fn json(&self) -> Value {
        let Change { what, from, to } = self;
        json!({ "what": what, "from": from, "to": to })
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::config::{Environment, load};

    const URL: &str = "https://hooks.example.com/webhooks/github";

    fn settings(text: &str) -> Settings {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("hookbell.toml");
        std::fs::write(&file, text).unwrap();
        let environment = Environment::new(home.path().to_owned(), PathBuf::from("/nowhere"), |name| match name {
            "GITHUB_WEBHOOK_SECRET" => Some("secret".into()),
            "URL" => Some("https://hooks.slack.com/services/T/B/x".into()),
            _ => None,
        });
        load(Some(&file), &environment).unwrap_or_else(|failure| panic!("{failure}")).settings
    }

    fn check(more: &str, expected: &str) {
        check_of(Place::Repository("acme/api".to_owned()), more, expected);
    }

    fn check_of(place: Place, more: &str, expected: &str) {
        let text = "[sources.github]\n[sources.other]\nprovider = \"github\"\nsecret = { env = \"GITHUB_WEBHOOK_SECRET\" }\n\
                    [sinks.slack]\nkind = \"slack\"\nwebhook_url = { env = \"URL\" }\n[sinks.bell]\nkind = \"bell\"\n\
                    [bell]\nboard = \"simulated\"\n";
        let settings = settings(&format!("{text}{more}"));
        assert_eq!(events(&settings, "github", &place).join(" "), expected, "{more}");
    }

    #[test]
    fn events_are_those_that_rules_can_use() {
        let rule = |text: &str| format!("[[rules]]\n{text}\n");
        check(
            &rule("when = { kind = \"pr_*\" }\nto = [\"slack\"]"),
            "issue_comment pull_request pull_request_review pull_request_review_comment",
        );
        check(&rule("when = { kind = \"pr_merged\", branch = \"main\" }\nto = [\"slack\"]"), "pull_request");
        check(&rule("when = { kind = \"push\", source = \"other\" }\nto = [\"slack\"]"), "");
        check(&rule("when = { kind = \"push\", provider = \"stripe\" }\nto = [\"slack\"]"), "");
        check(&rule("when = { kind = \"push\" }\nto = []\nstop = true"), "");
        check(
            &rule("when = { severity = \"failure\" }\nunless = { kind = \"security_alert\" }\nto = [\"slack\"]"),
            "check_suite deployment_status workflow_run",
        );
        check(&rule("when = { kind = \"ci_fixed\" }\nto = [\"slack\"]"), "check_suite workflow_run");
        let both = [
            rule("when = { kind = \"push\" }\nto = []\nstop = true"),
            rule("when = { kind = [\"push\", \"repo_forked\"] }\nto = [\"slack\"]"),
        ];
        check(&both.concat(), "fork");
        check(&rule("when = { kind = \"member_added\" }\nto = [\"slack\"]"), "member");
        let organisation = Place::Organisation("acme".to_owned());
        check_of(organisation, &rule("when = { kind = \"member_added\" }\nto = [\"slack\"]"), "member organization");
        // The older form of Dependabot's alerts would double the newer.
        check(
            &rule("when = { kind = \"security_alert\" }\nto = [\"slack\"]"),
            "code_scanning_alert dependabot_alert repository_advisory secret_scanning_alert",
        );
    }

    #[test]
    fn without_rules_it_is_the_default_set() {
        check(
            "",
            "check_suite code_scanning_alert dependabot_alert fork issues pull_request release repository_advisory \
                   secret_scanning_alert star workflow_run",
        );
    }

    #[test]
    fn what_puts_a_light_out_comes_as_well() {
        let rule = |to: &str, cue: &str| {
            format!(
                "[[rules]]\nwhen = {{ kind = \"issue_opened\" }}\nto = [{to:?}]\n{cue}\n\
                     [cues.alarm]\nled = \"red\"\nlatch = true\nclears_on = [\"push\", \"release_published\"]\n"
            )
        };
        check(&rule("bell", "cue = \"alarm\""), "issues push release");
        // What does not go to the desk lights nothing there, and the kind's own cue does not stay lit.
        check(&rule("slack", "cue = \"alarm\""), "issues");
        check(&rule("bell", ""), "issues");
        let failed = "[[rules]]\nwhen = { kind = \"deployment_failed\" }\nto = [\"bell\"]\n";
        check(failed, "deployment_status");
        let own =
            format!("{failed}[cues.deployment_failed]\nled = \"red\"\nlatch = true\nclears_on = [\"pr_merged\"]\n");
        check(&own, "deployment_status pull_request");
    }

    fn hook(id: i64, url: &str) -> Hook {
        Hook {
            id,
            url: url.to_owned(),
            content_type: "json".to_owned(),
            has_secret: true,
            checks_tls: true,
            events: vec!["push".to_owned()],
            is_active: true,
        }
    }

    #[test]
    fn ours_is_found_and_nobody_else_s_is() {
        let check = |urls: &[&str], exact: Option<i64>, elsewhere: &[i64], doubles: &[i64]| {
            let hooks: Vec<Hook> = (1..).zip(urls).map(|(id, url)| hook(id, url)).collect();
            let found = ours(&hooks, URL, "github");
            let ids = |hooks: &[&Hook]| hooks.iter().map(|hook| hook.id).collect::<Vec<_>>();
            let found = (found.exact.map(|hook| hook.id), ids(&found.elsewhere), ids(&found.doubles));
            assert_eq!(found, (exact, elsewhere.to_vec(), doubles.to_vec()), "{urls:?}");
        };
        let (old, ci) = ("https://old.example.com/webhook/github", "https://ci.example.com/webhooks/jenkins");
        check(&[], None, &[], &[]);
        check(&[ci, "https://hooks.example.com/webhooks/github2", "https://hooks.example.com/"], None, &[], &[]);
        check(&[ci, URL], Some(2), &[], &[]);
        check(&[old, URL, &format!("{URL}/")], Some(2), &[1], &[3]);
        check(&["http://HOOKS.example.com/webhook/github/?x=1", ci], Some(1), &[], &[]);
        check(&[old, "https://older.example.com/webhooks/github/"], None, &[2, 1], &[]);
        check(&["https://evil.example.com/?https://hooks.example.com/webhooks/github"], None, &[], &[]);
        let mut sleeping = hook(1, URL);
        sleeping.is_active = false;
        assert_eq!(ours(&[sleeping, hook(2, URL)], URL, "github").exact.map(|hook| hook.id), Some(2));
        let beneath =
            ours(&[hook(1, "https://x.example/hb/webhook/github")], "https://x.example/hb/webhooks/github", "github")
                .exact
                .map(|hook| hook.id);
        assert_eq!(beneath, Some(1));
    }

    #[test]
    fn every_field_that_differs_is_a_line() {
        let check = |hook: Option<Hook>, expected: &[&str]| {
            let lines: Vec<String> =
                changes(hook.as_ref(), URL, &["fork", "push"]).iter().map(Change::to_string).collect();
            assert_eq!(lines, expected);
        };
        let good = Hook { events: vec!["fork".to_owned(), "push".to_owned()], ..hook(1, URL) };
        check(Some(good.clone()), &[]);
        check(
            Some(Hook { url: "http://old/webhook/github".to_owned(), ..good.clone() }),
            &["url http://old/webhook/github → https://hooks.example.com/webhooks/github"],
        );
        check(Some(Hook { content_type: "form".to_owned(), ..good.clone() }), &["content type form → json"]);
        check(Some(Hook { checks_tls: false, ..good.clone() }), &["certificates checked no → yes"]);
        check(Some(Hook { is_active: false, ..good.clone() }), &["active no → yes"]);
        check(Some(Hook { has_secret: false, ..good.clone() }), &["secret: set"]);
        check(Some(Hook { events: vec!["*".to_owned(), "push".to_owned()], ..good }), &["+ event fork", "- event *"]);
        check(
            None,
            &[
                "url: https://hooks.example.com/webhooks/github",
                "content type: json",
                "certificates checked: yes",
                "active: yes",
                "+ event fork",
                "+ event push",
                "secret: set",
            ],
        );
        assert_eq!(secret("another").to_string(), "secret: set in place of another");
        assert_eq!(secret("another").json(), json!({ "what": "secret", "from": "another", "to": "ours" }));
    }
}
