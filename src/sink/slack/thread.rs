//! How a subject stands, as the first message of its thread shows it. Owns the folding of events into a state, the line that
//! says it, and the form in which it is kept; refuses to know HTTP, blocks and time. Pure.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::mrkdwn;
use crate::{
    event::{CI_FAILED, CI_FIXED, CI_PASSED, Event, Fact},
    sink::{Parcel, digest::list},
};

/// Reviewers and workflows that are remembered of one subject. A pull request with more of them is shown by those.
const REVIEWERS_MAX: usize = 20;
const RUNS_MAX: usize = 40;
/// Longest name that is remembered, in characters.
const NAME_CHARS_MAX: usize = 80;

const SUBJECT_UNITS_MAX: usize = 300;
const NAME_UNITS_MAX: usize = 80;
/// Failed workflows that the line names.
const NAMES_MAX: usize = 3;

/// How far an issue or a pull request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    Draft,
    Merged,
    Closed,
    IssueOpen,
    IssueClosed,
}

/// The phase, its stored name, what is shown, and the reaction that the parent gets.
const PHASES: &[(Phase, &str, &str, &str, Option<&str>)] = &[
    (Phase::Open, "open", "🔀", "open", None),
    (Phase::Draft, "draft", "🚧", "draft", None),
    (Phase::Merged, "merged", "✅", "merged", Some("white_check_mark")),
    (Phase::Closed, "closed", "🚫", "closed", Some("no_entry_sign")),
    (Phase::IssueOpen, "issue_open", "🐛", "open", None),
    (Phase::IssueClosed, "issue_closed", "📕", "closed", Some("white_check_mark")),
];

/// What becomes of alerts: the kind of event that says so, which is the stored name, and what is shown.
const ALERTS: &[(&str, &str)] =
    &[("alert_firing", "🔥 firing"), ("incident_acknowledged", "🫡 acknowledged"), ("alert_resolved", "🧯 resolved")];

/// How a subject stands, by its events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    phase: Option<Phase>,
    /// Who approves; who does not, wants changes.
    reviews: BTreeMap<String, bool>,
    /// Workflows: the number of the last run, and whether it failed.
    runs: BTreeMap<String, (i64, bool)>,
    /// Whether the last deployment succeeded.
    deployed: Option<bool>,
    /// One of [`ALERTS`].
    alert: Option<&'static str>,
}

impl State {
    /// Takes in what happened next.
    pub fn apply(&mut self, event: &Event) {
        let draft = match event.extra.get("draft") {
            Some(Fact::Flag(draft)) => Some(*draft),
            _ => None,
        };
        let asks = if draft == Some(true) { Phase::Draft } else { Phase::Open };
        match event.kind.as_str() {
            "pr_opened" | "pr_reopened" => self.phase = Some(asks),
            "pr_ready" => self.phase = Some(Phase::Open),
            "pr_merged" => self.phase = Some(Phase::Merged),
            "pr_closed" => self.phase = Some(Phase::Closed),
            "issue_opened" | "issue_reopened" => self.phase = Some(Phase::IssueOpen),
            "issue_closed" => self.phase = Some(Phase::IssueClosed),
            "pr_approved" => self.review(event, true),
            "pr_changes_requested" => self.review(event, false),
            "deployment_succeeded" => self.deployed = Some(true),
            "deployment_failed" => self.deployed = Some(false),
            CI_FAILED | CI_PASSED | CI_FIXED => self.run(event),
            kind => {
                if let Some((name, _)) = ALERTS.iter().find(|(name, _)| *name == kind) {
                    self.alert = Some(name);
                }
            }
        }
        // That it became a draft again is no event; what comes later says it by the way.
        let may_say = match self.phase {
            Some(Phase::Open | Phase::Draft) => draft.is_some(),
            // A comment may come after the end.
            None => event.kind != "pr_commented",
            _ => false,
        };
        if event.kind.starts_with("pr_") && may_say {
            self.phase = Some(asks);
        }
    }

    fn review(&mut self, event: &Event, approves: bool) {
        let who = match event.extra.get("reviewer") {
            Some(Fact::Text(reviewer)) => reviewer,
            _ => &event.actor,
        };
        let who = bounded(who);
        if self.reviews.len() < REVIEWERS_MAX || self.reviews.contains_key(&who) {
            self.reviews.insert(who, approves);
        }
    }

    fn run(&mut self, event: &Event) {
        let Some(run) = event.run() else { return };
        let what = bounded(run.what);
        // An older run that ends late says nothing about now.
        if self.runs.get(&what).is_some_and(|(number, _)| *number > run.number) {
            return;
        }
        if self.runs.len() >= RUNS_MAX && !self.runs.contains_key(&what) {
            // Rather forget what is well.
            let well = self.runs.iter().find(|(_, (_, failed))| !failed).map(|(name, _)| name.clone());
            let Some(well) = well else { return };
            self.runs.remove(&well);
        }
        self.runs.insert(what, (run.number, run.kind == CI_FAILED));
    }

    fn failed_runs(&self) -> impl Iterator<Item = &str> {
        self.runs.iter().filter(|(_, (_, failed))| *failed).map(|(name, _)| name.as_str())
    }

    /// How things stand, in one line of mrkdwn; `None` where events of this subject have no such thing.
    pub fn line(&self, subject: &str) -> Option<String> {
        let mut parts = Vec::new();
        let phase = self.phase.and_then(|phase| PHASES.iter().find(|(known, ..)| *known == phase));
        if self.alert.is_none() {
            let name = subject.strip_suffix(" ci").or(subject.strip_suffix(" deployment")).unwrap_or(subject);
            let emoji = phase.map(|(_, _, emoji, ..)| format!("{emoji} ")).unwrap_or_default();
            parts.push(format!("{emoji}*{}*", mrkdwn::text(name, SUBJECT_UNITS_MAX)));
        }
        let names = parts.len();
        parts.extend(phase.map(|(.., shown, _)| (*shown).to_owned()));
        if self.reviews.values().any(|approves| !approves) {
            parts.push("✋ changes requested".to_owned());
        } else if !self.reviews.is_empty() {
            parts.push("👍 approved".to_owned());
        }
        let failed = self.failed_runs().map(|name| mrkdwn::text(name, NAME_UNITS_MAX));
        match list(failed, NAMES_MAX) {
            failed if !failed.is_empty() => parts.push(format!("❌ CI failed: {failed}")),
            _ if !self.runs.is_empty() => parts.push("🟢 CI passed".to_owned()),
            _ => {}
        }
        parts.extend(self.deployed.map(|deployed| {
            let shown = if deployed { "📦 deployed" } else { "💥 deployment failed" };
            shown.to_owned()
        }));
        let alert = self.alert.and_then(|alert| ALERTS.iter().find(|(known, _)| *known == alert));
        parts.extend(alert.map(|(_, shown)| (*shown).to_owned()));
        (parts.len() > names).then(|| parts.join(" · "))
    }

    /// The reaction that says how it ended.
    pub fn reaction(&self) -> Option<&'static str> {
        PHASES.iter().find(|(phase, ..)| Some(*phase) == self.phase).and_then(|(.., reaction)| *reaction)
    }

    /// Whether all was well and this event begins anew: what failed again is news of its own.
    fn ends_before(&self, subject: &str, next: &Event) -> bool {
        match next.kind.as_str() {
            CI_FAILED => subject.ends_with(" ci") && !self.runs.is_empty() && self.failed_runs().next().is_none(),
            "deployment_failed" | "deployment_succeeded" => {
                subject.ends_with(" deployment") && self.deployed == Some(true)
            }
            "alert_firing" => self.alert == Some("alert_resolved"),
            _ => false,
        }
    }
}

/// A thread as it is kept: the state, and what its first message is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Thread {
    /// How the subject stands.
    pub state: State,
    /// What the first message said below its first line, in mrkdwn; empty when that is not known.
    pub opening: String,
    /// Its footer, in mrkdwn.
    pub footer: String,
    /// Its first line as Slack has it.
    pub shown: String,
    /// The last reaction that it got.
    pub reacted: String,
    /// The channel that was meant when it began.
    pub meant: String,
    /// The `ts` of what joined last.
    pub joined: String,
    /// The newest delivery that the state knows.
    newest: i64,
}

impl Thread {
    /// Takes in what happened next. What is only told again later, by a replay, says nothing about now.
    pub fn fold(&mut self, parcels: &[Parcel]) {
        for parcel in parcels.iter() {
            if parcel.delivery >= self.newest {
                self.newest = parcel.delivery;
                self.state.apply(&parcel.event);
            }
        }
    }

    /// Whether the conversation is over and this begins another.
    pub fn ends_before(&self, subject: &str, next: &Parcel) -> bool {
        next.delivery >= self.newest && self.state.ends_before(subject, &next.event)
    }

    /// Compact JSON.
    pub fn write(&self) -> String {
        let Thread { state, opening, footer, shown, reacted, meant, joined, newest } = self;
        let State { phase, reviews, runs, deployed, alert } = state;
        let mut map = Map::new();
        let texts = [
            ("opening", opening.as_str()),
            ("footer", footer),
            ("shown", shown),
            ("reacted", reacted),
            ("meant", meant),
            ("joined", joined),
            ("phase", PHASES.iter().find(|(known, ..)| Some(*known) == *phase).map_or("", |(_, name, ..)| name)),
            ("alert", alert.unwrap_or_default()),
        ];
        for (key, text) in texts.into_iter().filter(|(_, text)| !text.is_empty()) {
            map.insert(key.to_owned(), text.into());
        }
        map.insert("newest".to_owned(), (*newest).into());
        if let Some(deployed) = deployed {
            map.insert("deployed".to_owned(), (*deployed).into());
        }
        let reviews = reviews.iter().map(|(who, approves)| (who.clone(), Value::from(*approves)));
        map.insert("reviews".to_owned(), Value::Object(reviews.collect()));
        let run = |(number, failed): &(i64, bool)| Value::from(vec![Value::from(*number), Value::from(*failed)]);
        let runs = runs.iter().map(|(what, last)| (what.clone(), run(last)));
        map.insert("runs".to_owned(), Value::Object(runs.collect()));
        Value::Object(map).to_string()
    }

    /// What [`Thread::write`] wrote; what cannot be read of it is as if it had never been there.
    pub fn read(text: &str) -> Thread {
        let kept: Value = serde_json::from_str(text).unwrap_or_default();
        let text = |key: &str| kept[key].as_str().unwrap_or_default().to_owned();
        let fields = |key: &str| kept[key].as_object().into_iter().flatten();
        let review = |(who, approves): (&String, &Value)| Some((who.clone(), approves.as_bool()?));
        let run = |(what, last): (&String, &Value)| Some((what.clone(), (last[0].as_i64()?, last[1].as_bool()?)));
        let (phase, alert) = (text("phase"), text("alert"));
        Thread {
            state: State {
                phase: PHASES.iter().find(|(_, name, ..)| *name == phase).map(|(phase, ..)| *phase),
                reviews: fields("reviews").filter_map(review).collect(),
                runs: fields("runs").filter_map(run).collect(),
                deployed: kept["deployed"].as_bool(),
                alert: ALERTS.iter().find(|(name, _)| *name == alert).map(|(name, _)| *name),
            },
            opening: text("opening"),
            footer: text("footer"),
            shown: text("shown"),
            reacted: text("reacted"),
            meant: text("meant"),
            joined: text("joined"),
            newest: kept["newest"].as_i64().unwrap_or_default(),
        }
    }
}

fn bounded(name: &str) -> String {
    name.chars().take(NAME_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `kind`, or `kind fact=value …`.
    fn event(text: &str, subject: &str) -> Event {
        let mut words = text.split(' ');
        let mut event = Event { subject: Some(subject.to_owned()), ..Event::of(words.next().unwrap()) };
        for (key, value) in words.filter_map(|word| word.split_once('=')) {
            let fact = match (value, value.parse()) {
                ("true", _) => Fact::Flag(true),
                ("false", _) => Fact::Flag(false),
                (_, Ok(number)) => Fact::Number(number),
                (text, _) => Fact::Text(text.to_owned()),
            };
            event.extra.insert(key.to_owned(), fact);
        }
        event
    }

    fn after(subject: &str, events: &[&str]) -> State {
        let mut state = State::default();
        events.iter().for_each(|text| state.apply(&event(text, subject)));
        state
    }

    #[test]
    fn a_line_says_how_things_stand() {
        let (pull, issue, ci, deploy) =
            ("acme/api#7", "acme/api#8", "acme/api@main ci", "acme/api@production deployment");
        let at_main = "*acme/api@\u{200b}main*";
        for (subject, events, line) in [
            (pull, &["pr_opened draft=false"][..], Some("🔀 *acme/api#7* · open")),
            (pull, &["pr_opened draft=true"], Some("🚧 *acme/api#7* · draft")),
            (pull, &["pr_opened draft=true", "pr_ready draft=false"], Some("🔀 *acme/api#7* · open")),
            (pull, &["pr_opened draft=false", "pr_review_requested draft=true"], Some("🚧 *acme/api#7* · draft")),
            (pull, &["pr_opened", "pr_approved reviewer=ada"], Some("🔀 *acme/api#7* · open · 👍 approved")),
            (
                pull,
                &["pr_opened", "pr_changes_requested reviewer=bob", "pr_approved reviewer=ada"],
                Some("🔀 *acme/api#7* · open · ✋ changes requested"),
            ),
            (
                pull,
                &["pr_opened", "pr_changes_requested reviewer=bob", "pr_approved reviewer=bob"],
                Some("🔀 *acme/api#7* · open · 👍 approved"),
            ),
            (
                pull,
                &["pr_opened", "ci_failed workflow=test run=3", "ci_passed workflow=lint run=3"],
                Some("🔀 *acme/api#7* · open · ❌ CI failed: test"),
            ),
            (
                pull,
                &["ci_failed workflow=test run=3", "ci_fixed workflow=test run=4", "pr_merged"],
                Some("✅ *acme/api#7* · merged · 🟢 CI passed"),
            ),
            // Seven started after six and ended before it.
            (
                ci,
                &["ci_passed workflow=test run=7", "ci_failed workflow=test run=6"],
                Some(&format!("{at_main} · 🟢 CI passed")),
            ),
            (
                ci,
                &["ci_failed workflow=a", "ci_failed workflow=b", "ci_failed workflow=c", "ci_failed workflow=d"],
                Some(&format!("{at_main} · ❌ CI failed: a, b, c and 1 more")),
            ),
            (pull, &["pr_opened", "pr_closed", "pr_commented"], Some("🚫 *acme/api#7* · closed")),
            (pull, &["pr_opened", "pr_closed", "pr_reopened"], Some("🔀 *acme/api#7* · open")),
            (pull, &["pr_commented draft=false"], None),
            (pull, &["push"], None),
            (pull, &["pr_approved reviewer=ada"], Some("🔀 *acme/api#7* · open · 👍 approved")),
            (issue, &["issue_opened", "issue_commented"], Some("🐛 *acme/api#8* · open")),
            (issue, &["issue_opened", "issue_closed"], Some("📕 *acme/api#8* · closed")),
            (issue, &["issue_closed", "issue_reopened"], Some("🐛 *acme/api#8* · open")),
            (deploy, &["deployment_failed"], Some("*acme/api@\u{200b}production* · 💥 deployment failed")),
            (deploy, &["deployment_succeeded"], Some("*acme/api@\u{200b}production* · 📦 deployed")),
            ("alert 1f", &["alert_firing"], Some("🔥 firing")),
            ("alert 1f", &["alert_firing", "incident_acknowledged"], Some("🫡 acknowledged")),
            ("alert 1f", &["alert_firing", "alert_resolved"], Some("🧯 resolved")),
            ("twilio 1 2", &["sms_received"], None),
        ] {
            assert_eq!(after(subject, events).line(subject).as_deref(), line, "{events:?}");
        }
    }

    #[test]
    fn what_fails_again_begins_another() {
        let (pull, ci) = ("acme/api#7", "acme/api@main ci");
        for (subject, events, next, ends) in [
            (ci, &["ci_failed workflow=a"][..], "ci_failed workflow=b", false),
            (ci, &["ci_failed workflow=a"], "ci_fixed workflow=a", false),
            (ci, &["ci_failed workflow=a", "ci_fixed workflow=a"], "ci_failed workflow=a", true),
            (ci, &["ci_failed workflow=a", "ci_passed workflow=a"], "ci_passed workflow=b", false),
            (ci, &["ci_failed workflow=a", "ci_passed workflow=b"], "ci_failed workflow=b", false),
            (pull, &["ci_failed workflow=a", "ci_passed workflow=a"], "ci_failed workflow=a", false),
            (pull, &["pr_opened", "pr_merged"], "pr_commented", false),
            (pull, &["pr_opened", "pr_closed"], "pr_reopened", false),
            ("alert 1f", &["alert_firing"], "alert_firing", false),
            ("alert 1f", &["alert_firing", "alert_resolved"], "alert_resolved", false),
            ("alert 1f", &["alert_firing", "alert_resolved"], "alert_firing", true),
        ] {
            assert_eq!(after(subject, events).ends_before(subject, &event(next, subject)), ends, "{events:?} {next}");
        }
    }

    #[test]
    fn what_is_kept_reads_the_same_and_anything_reads() {
        let events = ["pr_opened draft=true", "pr_approved reviewer=ada", "ci_failed workflow=t run=2 attempt=1"];
        let mut thread = Thread { state: after("acme/api#7", &events), ..Thread::default() };
        assert_eq!(Thread::read(&thread.write()), thread);
        thread.state.apply(&event("deployment_failed", "x"));
        thread.state.apply(&event("alert_resolved", "x"));
        let full = Thread {
            opening: "a \"b\"\nc".to_owned(),
            footer: "f".to_owned(),
            shown: "s".to_owned(),
            reacted: "r".to_owned(),
            meant: "#dev".to_owned(),
            joined: "1.2".to_owned(),
            newest: 17,
            ..thread
        };
        assert_eq!(Thread::read(&full.write()), full);
        for text in ["", "{", "[]", "null", r#"{"runs":{"x":3},"reviews":[],"phase":7}"#] {
            assert_eq!(Thread::read(text), Thread::default(), "{text}");
        }
    }

    #[test]
    fn a_replay_changes_nothing_and_nothing_grows_for_ever() {
        let parcel = |delivery: i64, text: &str| Parcel { delivery, ..Parcel::of(event(text, "acme/api#7")) };
        let mut thread = Thread::default();
        thread.fold(&[parcel(1, "pr_opened"), parcel(9, "pr_merged"), parcel(1, "pr_opened")]);
        assert_eq!(thread.state.reaction(), Some("white_check_mark"));
        for number in 0..1000 {
            let name = "x".repeat(10_000);
            thread.fold(&[
                parcel(9, &format!("ci_failed workflow={number}{name}")),
                parcel(9, &format!("pr_approved reviewer={number}{name}")),
            ]);
        }
        assert!(thread.write().len() < 20_000);
        assert!(thread.state.line(&"s".repeat(10_000)).unwrap().encode_utf16().count() < 1_000);
    }
}
