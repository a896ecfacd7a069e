//! One webhook at GitHub after the other: what there is, what differs, what is done about it, and whether what it sends
//! arrives. Owns the order of these steps and what is told about them; what a webhook is to be is `wanted`'s affair.

use serde_json::{Value, json};

use super::{
    ping::{Pinged, Pinger, Word},
    register::Arguments,
    wanted::{self, Change},
};
use crate::{
    cli::{Failure, print_json, print_line, table::printable},
    remote::{
        Trouble,
        github::{GitHub, Hook, Place, Wanted},
    },
    secret::Secret,
};

/// What is done, and by whom.
pub(super) struct Registrar<'a> {
    pub(super) arguments: &'a Arguments,
    pub(super) pinger: Pinger<'a>,
    pub(super) url: String,
    pub(super) secret: &'a Secret,
    /// While the secret changes: where the new one stands among those of the configuration. Every webhook gets it then,
    /// whatever it has.
    pub(super) rotates_to: Option<usize>,
}

/// What came of one place.
#[derive(Default)]
pub(super) struct Outcome {
    /// `created`, `repaired`, `unchanged`; of a dry run `would create`, `would repair`; `failed` before anything was done.
    action: &'static str,
    pub(super) hook: Option<i64>,
    changes: Vec<Change>,
    events: Vec<&'static str>,
    notes: Vec<String>,
    ping: Option<Pinged>,
    pub(super) error: Option<String>,
}

/// What is there at a place.
pub(super) struct Survey {
    /// The webhook that is ours.
    pub(super) hook: Option<Hook>,
    /// All that hang there.
    pub(super) ids: Vec<i64>,
}

/// Why a place was left.
pub(super) enum Stopped {
    /// This place, and not the others.
    Because(String),
    /// The command.
    Failure(Failure),
}

impl From<Failure> for Stopped {
    fn from(failure: Failure) -> Stopped {
        Stopped::Failure(failure)
    }
}

impl Registrar<'_> {
    pub(super) fn say(&self, line: &str) -> Result<(), Failure> {
        match self.arguments.json {
            true => Ok(()),
            false => print_line(&printable(line)),
        }
    }

    fn github(&self) -> &GitHub {
        self.pinger.github
    }

    /// One place. What went wrong there stands in the outcome.
    pub(super) fn place(&self, place: &Place) -> Result<Outcome, Failure> {
        let mut outcome = Outcome::default();
        let done = self.survey(place, &mut outcome).and_then(|survey| {
            self.show(place, survey.hook.as_ref(), &outcome)?;
            match self.arguments.dry_run {
                true => self.foretell(place, survey.hook.as_ref(), &mut outcome),
                false => self.apply(place, survey.hook.as_ref(), &mut outcome),
            }
        });
        self.settle(place, done, &mut outcome)?;
        Ok(outcome)
    }

    /// Keeps and tells why a place was left.
    pub(super) fn settle(
        &self,
        place: &Place,
        done: Result<(), Stopped>,
        outcome: &mut Outcome,
    ) -> Result<(), Failure> {
        match done {
            Ok(()) => Ok(()),
            Err(Stopped::Failure(failure)) => Err(failure),
            Err(Stopped::Because(why)) => {
                self.say(&format!("{place}: {why}"))?;
                outcome.error = Some(why);
                Ok(())
            }
        }
    }

    /// What there is and what has to change.
    pub(super) fn survey(&self, place: &Place, outcome: &mut Outcome) -> Result<Survey, Stopped> {
        outcome.action = "failed";
        outcome.events = wanted::events(self.pinger.settings, self.pinger.source, place);
        if outcome.events.is_empty() {
            let what = format!(
                "no rule sends anything of GitHub's from source {} anywhere, so no event is wanted; add a rule whose `to` \
                 names a sink (`hookbell check` shows the rules)",
                self.pinger.source
            );
            return Err(Stopped::Because(what));
        }
        let hooks = self.github().hooks(place).map_err(|trouble| refused(place, trouble))?;
        let hook = self.choose(&hooks, outcome)?.cloned();
        outcome.hook = hook.as_ref().map(|hook| hook.id);
        outcome.changes = wanted::changes(hook.as_ref(), &self.url, &outcome.events);
        match hook.as_ref().filter(|hook| hook.has_secret) {
            Some(_) if self.arguments.rotate => outcome.changes.push(wanted::secret("the old one")),
            Some(_) if !outcome.changes.is_empty() => {
                outcome.notes.push("GitHub takes a webhook whole, so the secret is set as well".to_owned());
            }
            _ => {}
        }
        Ok(Survey { hook, ids: hooks.iter().map(|hook| hook.id).collect() })
    }

    /// Does it, and sees that what is sent arrives.
    pub(super) fn apply(&self, place: &Place, hook: Option<&Hook>, outcome: &mut Outcome) -> Result<(), Stopped> {
        let id = match hook {
            None => {
                let made = self.github().create(place, &self.wanted(outcome));
                let made = made.map_err(|trouble| refused(place, trouble))?;
                (outcome.action, outcome.hook) = ("created", Some(made.id));
                made.id
            }
            Some(hook) if outcome.changes.is_empty() => {
                outcome.action = "unchanged";
                hook.id
            }
            Some(hook) => {
                self.update(place, hook.id, outcome)?;
                hook.id
            }
        };
        self.see(place, id, outcome)
    }

    fn wanted<'w>(&'w self, outcome: &'w Outcome) -> Wanted<'w> {
        Wanted { url: &self.url, secret: self.secret, events: &outcome.events }
    }

    fn update(&self, place: &Place, id: i64, outcome: &mut Outcome) -> Result<(), Stopped> {
        self.github().update(place, id, &self.wanted(outcome)).map_err(|trouble| refused(place, trouble))?;
        outcome.action = "repaired";
        Ok(())
    }

    /// The webhook that is ours. One under another address is an old one of ours only where something that it sent is here:
    /// that it is quiet, or that its receiver fails, makes nobody's webhook ours.
    fn choose<'h>(&self, hooks: &'h [Hook], outcome: &mut Outcome) -> Result<Option<&'h Hook>, Stopped> {
        if let Some(hook) = hooks.iter().find(|hook| self.arguments.hook.contains(&hook.id)) {
            return Ok(Some(hook));
        }
        let ours = wanted::ours(hooks, &self.url, self.pinger.source);
        for hook in ours.doubles {
            outcome.notes.push(format!(
                "hook {} leads here as well, so that everything comes twice: remove it at GitHub",
                hook.id
            ));
        }
        if ours.exact.is_some() {
            for hook in ours.elsewhere {
                outcome.notes.push(format!(
                    "hook {} → {} looks like an old one of ours: remove it at GitHub if so",
                    hook.id, hook.url
                ));
            }
            return Ok(ours.exact);
        }
        if self.arguments.new {
            return Ok(None);
        }
        if ours.elsewhere.is_empty() {
            return Ok(None);
        }
        let callers = self.pinger.callers().map_err(|error| Stopped::Because(error.to_string()))?;
        let old = ours.elsewhere.iter().find(|hook| callers.contains_key(&hook.id.to_string()));
        for hook in ours.elsewhere.iter().filter(|hook| old.is_some_and(|old| old.id != hook.id)) {
            outcome.notes.push(format!("hook {} → {} was left as it is", hook.id, hook.url));
        }
        match (old, ours.elsewhere.first()) {
            (None, Some(hook)) => Err(Stopped::Because(format!(
                "hook {} → {} leads to another address, and nothing that it sent is in the database here: it may be somebody \
                 else's hookbell; --hook {} takes it for an old one of ours, --new makes another beside it",
                hook.id, hook.url, hook.id
            ))),
            (old, _) => Ok(old.copied()),
        }
    }

    /// What there is, and the difference.
    pub(super) fn show(&self, place: &Place, hook: Option<&Hook>, outcome: &Outcome) -> Result<(), Failure> {
        self.say(&match hook {
            None => format!("{place}: a new webhook"),
            Some(hook) if outcome.changes.is_empty() => format!("{place}: hook {} is as it shall be", hook.id),
            Some(hook) => format!("{place}: hook {}", hook.id),
        })?;
        outcome.changes.iter().try_for_each(|change| self.say(&format!("  {change}")))?;
        outcome.notes.iter().try_for_each(|note| self.say(&format!("  note: {note}")))
    }

    /// What a dry run can tell of the secret: how GitHub's last delivery was answered.
    fn foretell(&self, place: &Place, hook: Option<&Hook>, outcome: &mut Outcome) -> Result<(), Stopped> {
        let Some(hook) = hook else {
            outcome.action = "would create";
            return Ok(());
        };
        outcome.action = if outcome.changes.is_empty() { "unchanged" } else { "would repair" };
        if !hook.has_secret {
            return Ok(());
        }
        let last = self.pinger.newest(place, hook.id).map_err(|trouble| refused(place, trouble))?;
        let said = match last {
            Some(last) if last.status == 401 => {
                outcome.action = "would repair";
                let change = wanted::secret("another");
                self.say(&format!("  {change}, if a ping is answered 401 as GitHub's last delivery was"))?;
                outcome.changes.push(change);
                return Ok(());
            }
            Some(last) if last.is_well() => {
                format!("GitHub's last delivery was answered {}: the secret is the right one", last.status)
            }
            _ => "whether its secret is the right one shows a ping; answered 401, the secret would be set".to_owned(),
        };
        self.say(&format!("  note: {said}"))?;
        outcome.notes.push(said);
        Ok(())
    }

    /// Whether what it sends arrives. Where it signs with another secret, ours is set: GitHub does not show which it has.
    fn see(&self, place: &Place, id: i64, outcome: &mut Outcome) -> Result<(), Stopped> {
        let ping = |is_new: bool| self.pinger.ping(place, id, is_new).map_err(|trouble| refused(place, trouble));
        let mut word = ping(outcome.action == "created")?;
        // What was set along with the rest is ours already.
        if let (Word::OtherSecret(_), "unchanged") = (&word, outcome.action) {
            let change = wanted::secret("another, which this source does not accept");
            self.say(&format!("  {change}"))?;
            outcome.changes.push(change);
            self.update(place, id, outcome)?;
            word = ping(false)?;
        }
        let why = match word {
            Word::Arrived(pinged) if self.rotates_to.is_some() && pinged.signed_by != self.rotates_to => {
                outcome.ping = Some(pinged);
                "GitHub's ping came, and is still signed with the old secret; the same command goes on".to_owned()
            }
            Word::Arrived(pinged) => {
                self.say(&format!("  {}", pinged.said()))?;
                outcome.ping = Some(pinged);
                return Ok(());
            }
            Word::OtherSecret(pinged) => {
                outcome.ping = Some(pinged);
                "GitHub's ping was answered 401, though the webhook has this configuration's secret now: the hookbell that \
                 answers there has another; restart it, or type this where it runs"
                    .to_owned()
            }
            Word::Lost(pinged, why) => {
                outcome.ping = pinged;
                why
            }
        };
        Err(Stopped::Because(why))
    }

    /// The report, and how the command ends: well, unless a place was left or `why` says otherwise.
    pub(super) fn end(
        &self,
        outcomes: &[(&Place, Outcome)],
        rotation: Option<Value>,
        why: Option<String>,
    ) -> Result<(), Failure> {
        let failed = outcomes.iter().filter(|(_, outcome)| outcome.error.is_some()).count();
        if self.arguments.json {
            let places: Vec<Value> = outcomes.iter().map(|(place, outcome)| outcome.json(place)).collect();
            let mut report = json!({
                "ok": failed == 0 && why.is_none(),
                "dry_run": self.arguments.dry_run,
                "source": self.pinger.source,
                "url": self.url,
                "requests": self.github().caller().requests(),
                "places": places,
            });
            if let Some(rotation) = rotation {
                report["rotation"] = rotation;
            }
            print_json(&report)?;
        }
        match (why, failed) {
            (Some(why), _) => Err(Failure::Failed(why)),
            (None, 0) => Ok(()),
            (None, failed) => Err(Failure::Failed(format!("{failed} of {} could not be set up", outcomes.len()))),
        }
    }
}

impl Outcome {
    fn json(&self, place: &Place) -> Value {
        let Outcome { action, hook, changes, events, notes, ping, error } = self;
        json!({
            "place": place.to_string(),
            "action": action,
            "hook": hook,
            "changes": changes.iter().map(Change::json).collect::<Vec<_>>(),
            "events": events,
            "notes": notes,
            "ping": ping.as_ref().map(Pinged::json),
            "error": error,
        })
    }
}

/// What GitHub refuses, with the permission that it takes. Whoever may only look would be refused at the next step.
fn refused(place: &Place, trouble: Trouble) -> Stopped {
    let Trouble::Refused { status, what, remedy } = &trouble else { return Stopped::Because(trouble.to_string()) };
    let permission = match place {
        Place::Organisation(_) => {
            "the token needs the organisation permission \"Webhooks: read and write\" of it (a classic one: admin:org_hook), and \
             its owner has to be an owner there"
        }
        Place::Repository(_) | Place::App => {
            "the token needs the repository permission \"Webhooks: read and write\" for it (a classic one: admin:repo_hook), and \
             its owner has to administer it"
        }
    };
    Stopped::Because(match status {
        403 => format!("{what}; {permission}"),
        404 => format!("{what}: it is not there, or the token may not see it; {permission}"),
        _ => format!("{what}; {remedy}"),
    })
}
