//! What GitLab has sent to a project's webhook, against what we hold. Read only.
//!
//! GitLab lists each attempt of seven days with its header and payload, newest first. What the header calls the delivery is
//! the same for each attempt, and what the door would call it. An entry whose header names none cannot be compared with
//! anything: it counts as held, for pulled in it would come in anew each time. There is no request for one payload, so those
//! of what is missing are kept while the list is read.

use super::{
    Asks, Ended, Hands, Reached, caller,
    missing::{Reading, leads_to, nowhere},
};
use crate::{
    config::Recover,
    provider::{self, Unverified},
    remote::{
        Attempt, Attempts, Caller, Trouble,
        gitlab::{Event, GitLab},
    },
};

const API: &str = "https://gitlab.com/api/v4";

/// Reconciles the webhook of one project.
pub(super) struct Reconciler {
    gitlab: GitLab,
    project: String,
    reading: Reading,
}

/// One for each project of the configuration.
pub(super) fn reconcilers(recover: &Recover) -> Vec<(String, Asks)> {
    let reconciler = |project: &String| {
        let gitlab = GitLab::new(caller(recover.api.as_deref().unwrap_or(API)), recover.pass.clone());
        let reconciler = Reconciler { gitlab, project: project.clone(), reading: Reading::new(recover.window) };
        (project.clone(), Asks::GitLab(reconciler))
    };
    recover.hooks.iter().map(reconciler).collect()
}

impl Reconciler {
    pub(super) fn caller(&self) -> &Caller {
        self.gitlab.caller()
    }

    pub(super) fn pass(&mut self, hands: &Hands<'_>, reached: &mut Reached) -> Result<(), Ended> {
        let (gitlab, project) = (&self.gitlab, self.project.as_str());
        let public_url = (hands.parts.public_url)();
        let hooks = gitlab.hooks(project)?;
        let Some(hook) = hooks.iter().find(|hook| leads_to(&hook.url, public_url.as_deref(), hands.source)) else {
            return Err(nowhere(hands, "add it in GitLab: the project's Settings, Webhooks".to_owned()));
        };
        let listed = self.reading.list(hands, reached, &mut |page, _| {
            let number = page.and_then(|page| page.parse().ok()).unwrap_or(1);
            let page = gitlab.events(project, hook.id, number)?;
            let attempts = page.events.into_iter().filter_map(|event| attempt(event, hands)).collect();
            let next = page.has_more.then(|| (number + 1).to_string());
            Ok(Some(Attempts { attempts, unread: page.unread, next, etag: None, now: page.now }))
        })?;
        if let Some(listed) = listed {
            let peer = gitlab.caller().host();
            self.reading
                .pull(listed, ("GitLab", peer), hands, reached, &mut |missing| Ok(missing.latest.sent.take()))?;
        }
        match hook.is_at_work {
            true => Ok(()),
            // What it does not send now it does not list either: nobody will ever know.
            false => Err(Trouble::Refused {
                status: 0,
                what:
                    "GitLab has stopped sending to the webhook because it failed too often, and keeps nothing meanwhile"
                        .to_owned(),
                remedy: "have GitLab test it: the project's Settings, Webhooks; then it goes on".to_owned(),
            }
            .into()),
        }
    }
}

fn attempt(event: Event, hands: &Hands<'_>) -> Option<Attempt> {
    let request = Unverified { target: String::new(), headers: event.headers.clone(), body: Vec::new() };
    let guid = provider::delivery_id(&hands.settings.terms, &request)?;
    let (id, at, status) = (event.id, event.at, event.status);
    Some(Attempt { id, guid, event: String::new(), at, status, is_again: false, is_trying: false, sent: event.sent() })
}
