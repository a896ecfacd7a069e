//! What GitHub has sent to a webhook, against what we hold. Read only, unless `mode = "redeliver"` has it send again.
//!
//! GitHub lists each attempt with the GUID of its delivery, newest first, and keeps them for three days (a server of your own
//! for seven).

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    Asks, Ended, Hands, Reached, caller,
    missing::{Listed, Missing, Reading, leads_to, nowhere},
};
use crate::{
    config::{Mode, Recover},
    remote::{
        Caller, Trouble,
        github::{GitHub, Place},
    },
};

/// After asking GitHub to send again, then three times as long each time.
const ASK_AGAIN: Duration = Duration::from_secs(10 * 60);

/// So long a webhook is taken for the one that leads here, while nothing is missing.
const FOUND_FOR: Duration = Duration::from_secs(60 * 60);

/// Reconciles one webhook.
pub(super) struct Reconciler {
    github: Arc<GitHub>,
    place: Place,
    mode: Mode,
    /// GitHub's id of the webhook, and when it was found.
    hook: Option<(i64, Instant)>,
    reading: Reading,
}

/// One for each place of the configuration.
pub(super) fn reconcilers(recover: &Recover, api: &str) -> Vec<(String, Asks)> {
    let places = match &recover.pass {
        crate::remote::Pass::App { .. } => vec![Place::App],
        _ => recover.hooks.iter().filter_map(|name| Place::parse(name).ok()).collect(),
    };
    let api = recover.api.as_deref().unwrap_or(api);
    // One for all of them: they have one limit.
    let github = Arc::new(GitHub::new(caller(api), recover.pass.clone()));
    let reconciler = |place: Place| {
        let github = github.clone();
        let (mode, reading) = (recover.mode, Reading::new(recover.window));
        let reconciler = Reconciler { github, place: place.clone(), mode, hook: None, reading };
        (place.to_string(), Asks::GitHub(reconciler))
    };
    places.into_iter().map(reconciler).collect()
}

impl Reconciler {
    pub(super) fn caller(&self) -> &Caller {
        self.github.caller()
    }

    pub(super) fn pass(&mut self, hands: &Hands<'_>, reached: &mut Reached) -> Result<(), Ended> {
        let hook = self.find_hook(hands)?;
        let listed = match self.list(hook, hands, reached) {
            Err(Ended::Trouble(Trouble::Refused { status: 404, .. })) if self.hook.take().is_some() => {
                // Somebody has made it anew.
                let hook = self.find_hook(hands)?;
                self.list(hook, hands, reached)?
            }
            listed => listed?,
        };
        let Some(listed) = listed else {
            // Nothing has happened since all was there.
            self.caller().date().into_iter().for_each(|now| reached.advance(now));
            return Ok(());
        };
        if !listed.missing.is_empty() {
            // Perhaps it leads elsewhere by now, and somebody else was sent it.
            self.hook = None;
            self.find_hook(hands)?;
        }
        match self.mode {
            Mode::Read => {
                let (github, place) = (&self.github, &self.place);
                let get = &mut |missing: &mut Missing| github.sent(place, hook, &missing.latest);
                self.reading.pull(listed, ("GitHub", github.caller().host()), hands, reached, get)
            }
            Mode::Redeliver => self.ask_again(hook, listed, hands, reached),
        }
    }

    /// The webhook that leads here, which somebody may change.
    fn find_hook(&mut self, hands: &Hands<'_>) -> Result<i64, Ended> {
        if let Some((hook, found)) = self.hook
            && found.elapsed() < FOUND_FOR
        {
            return Ok(hook);
        }
        let hooks = self.github.hooks(&self.place)?;
        let public_url = (hands.parts.public_url)();
        let ours: Vec<i64> = hooks
            .iter()
            .filter(|hook| leads_to(&hook.url, public_url.as_deref(), hands.source))
            .map(|hook| hook.id)
            .collect();
        match ours.as_slice() {
            [] => Err(nowhere(hands, format!("`hookbell github register {}` makes one", self.place))),
            [hook] => {
                self.hook = Some((*hook, Instant::now()));
                Ok(*hook)
            }
            several => {
                let what = format!("{} has {} webhooks that lead here: {several:?}", self.place, several.len());
                let remedy = "remove all but one, or set public_url in [door] so that ours is known".to_owned();
                Err(Trouble::Refused { status: 0, what, remedy }.into())
            }
        }
    }

    fn list(&mut self, hook: i64, hands: &Hands<'_>, reached: &mut Reached) -> Result<Option<Listed>, Ended> {
        let (github, place) = (&self.github, &self.place);
        self.reading.list(hands, reached, &mut |page, etag| github.attempts(place, hook, page, etag))
    }

    /// Has GitHub send each again, ever more seldom.
    fn ask_again(&mut self, hook: i64, listed: Listed, hands: &Hands<'_>, reached: &mut Reached) -> Result<(), Ended> {
        for missing in &listed.missing {
            if hands.parts.stop.is_told() {
                return Err(Ended::Stopped);
            }
            let rest = ASK_AGAIN * 3_u32.saturating_pow(missing.again.min(6).saturating_sub(1));
            if missing.again > 0 && listed.begun.since(missing.latest.at) < rest {
                continue;
            }
            match self.github.redeliver(&self.place, hook, missing.latest.id) {
                Ok(()) => {}
                Err(Trouble::Refused { status: 404 | 410 | 422, what, .. }) => {
                    // The one delivery; others can still be had.
                    log::warn!("cannot ask for source={} place={} again: {what}", hands.source, hands.place);
                    continue;
                }
                Err(trouble) => return Err(trouble.into()),
            }
            log::info!(
                "asked for again source={} place={} delivery={}",
                hands.source,
                hands.place,
                missing.latest.guid
            );
        }
        if let Some(oldest) = listed.missing.first() {
            reached.advance(oldest.first.minus(Duration::from_millis(1)));
        }
        let left = listed.missing.len();
        self.reading.end(listed, left, reached);
        Ok(())
    }
}
