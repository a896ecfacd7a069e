//! Whether what GitHub sends to a webhook arrives: asks for a ping, waits until GitHub tells how it was answered, and looks
//! whether we hold it. Owns what an answer means; changes nothing.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    config::Settings,
    door::canary::{self, Obstacle},
    logfmt,
    provider::{self, Unverified},
    remote::{
        Attempt, Trouble,
        github::{Answered, GitHub, Place},
    },
    store::{Proven, Reader, Role, RoleLock, StoreError, StoredRequest},
    threads::Wake,
    time::{Clock, SystemClock},
};

/// GitHub gives a receiver ten seconds, and takes some to list it.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks at GitHub's list, then twice as long each time.
const PAUSE_FIRST: Duration = Duration::from_millis(300);
const PAUSE_MAX: Duration = Duration::from_secs(4);
/// A webhook under load lists its ping far behind what came since: fifty a second for as long as we wait are fifteen.
const PAGES_MAX: u32 = 20;
/// Of a source's newest deliveries so many tell which webhooks there are.
pub(super) const LOOKED_AT: u32 = 20_000;
/// The webhook that GitHub sent it for.
pub(super) const HOOK: &str = "X-GitHub-Hook-ID";
/// Of an answer that is not ours.
const QUOTE_CHARS_MAX: usize = 80;

/// What a ping has shown.
pub(super) enum Word {
    /// It came.
    Arrived(Pinged),
    /// It came, and what it is signed with is not accepted.
    OtherSecret(Pinged),
    /// It did not, and why, with what to do.
    Lost(Option<Pinged>, String),
}

/// A ping that GitHub has sent.
#[derive(Clone, Debug)]
pub(super) struct Pinged {
    /// GitHub's id of the delivery.
    pub(super) guid: String,
    status: i64,
    took: Duration,
    /// Whether it is in the database; `None`: there is none here.
    held: Option<bool>,
    /// Which of the configured secrets it is signed with, from 0, where it is held.
    pub(super) signed_by: Option<usize>,
}

impl Pinged {
    /// One object.
    pub(super) fn json(&self) -> Value {
        let Pinged { guid, status, took, held, signed_by: _ } = self;
        json!({ "delivery": guid, "status": status, "took_ms": took.as_millis(), "held": held })
    }

    /// A ping that came.
    pub(super) fn said(&self) -> String {
        let took = self.took.as_secs_f64();
        match self.held {
            None => format!("GitHub's ping was answered {} after {took:.1} s, says GitHub", self.status),
            Some(_) => format!("GitHub's ping came through the tunnel after {took:.1} s and is stored"),
        }
    }
}

/// Who pings for one source.
pub(super) struct Pinger<'a> {
    pub(super) github: &'a GitHub,
    pub(super) settings: &'a Settings,
    pub(super) source: &'a str,
    /// What the service stores, where that is on this machine.
    pub(super) reader: Option<&'a Reader>,
}

impl Pinger<'_> {
    /// Asks for a ping and waits for it. A webhook that has just been made is pinged without being asked.
    pub(super) fn ping(&self, place: &Place, hook: i64, is_new: bool) -> Result<Word, Trouble> {
        let begun = Instant::now();
        let before = match is_new {
            true => 0,
            false => self.newest(place, hook)?.map_or(0, |attempt| attempt.id),
        };
        if !is_new {
            self.github.ping(place, hook)?;
        }
        let (mut etag, mut pause, pauses) = (None, PAUSE_FIRST, Wake::new());
        let mut unanswered = None;
        while begun.elapsed() < PATIENCE {
            pauses.wait(pause);
            pause = (pause * 2).min(PAUSE_MAX);
            let Some(mut listed) = self.github.attempts(place, hook, None, etag.as_deref())? else { continue };
            etag = listed.etag.take();
            let is_it = |attempt: &&Attempt| attempt.event == "ping" && attempt.id > before;
            for _ in 0..PAGES_MAX {
                match listed.attempts.iter().find(is_it) {
                    // It may be under way.
                    Some(attempt) if attempt.status == 0 => unanswered = Some(attempt.clone()),
                    Some(attempt) => return self.judge(place, hook, attempt, begun.elapsed()),
                    None => {}
                }
                let Some(next) = listed.next.filter(|_| listed.attempts.iter().all(|attempt| attempt.id > before))
                else {
                    break;
                };
                let Some(page) = self.github.attempts(place, hook, Some(&next), None)? else { break };
                listed = page;
            }
        }
        match unanswered {
            Some(attempt) => self.judge(place, hook, &attempt, begun.elapsed()),
            None => {
                let why = format!("GitHub shows no ping within {} s; try again in a minute", PATIENCE.as_secs());
                Ok(Word::Lost(None, why))
            }
        }
    }

    /// The last that GitHub has tried to deliver.
    pub(super) fn newest(&self, place: &Place, hook: i64) -> Result<Option<Attempt>, Trouble> {
        let listed = self.github.attempts(place, hook, None, None)?;
        Ok(listed.and_then(|listed| listed.attempts.into_iter().next()))
    }

    /// Whether the database has it; `None`: there is none here.
    pub(super) fn holds(&self, guid: &str) -> Option<bool> {
        let missing = self.reader?.not_held(self.source, &[guid]);
        missing.map(|missing| missing.is_empty()).ok()
    }

    /// The webhooks that have delivered here by their ids, with the last delivery of each.
    pub(super) fn callers(&self) -> Result<BTreeMap<String, Proven>, StoreError> {
        self.reader.map_or_else(|| Ok(BTreeMap::new()), |reader| reader.callers(self.source, HOOK, LOOKED_AT))
    }

    /// Which of the configured secrets it is signed with, as far as the database can tell.
    fn signed_by(&self, guid: &str) -> Option<usize> {
        let (reader, source) = (self.reader?, self.settings.sources.get(self.source)?);
        let (id, _) = reader.held_as(self.source, guid).ok()??;
        let StoredRequest { target, headers, body } = reader.request(id).ok()??;
        provider::judge(&source.terms, &Unverified { target, headers, body }, SystemClock.wall()).ok()
    }

    fn judge(&self, place: &Place, hook: i64, attempt: &Attempt, took: Duration) -> Result<Word, Trouble> {
        let held = self.holds(&attempt.guid);
        let signed_by = self.signed_by(&attempt.guid);
        let pinged = Pinged { guid: attempt.guid.clone(), status: attempt.status, took, held, signed_by };
        if attempt.is_well() && held == Some(true) && signed_by.is_none() {
            // Setting ours would have the service refuse what comes.
            let why = "GitHub's ping came, signed with what the running service accepts and this configuration does not: \
                       restart hookbell, so that it reads the secret, and type this again";
            return Ok(Word::Lost(Some(pinged), why.to_owned()));
        }
        if attempt.is_well() && held != Some(false) {
            return Ok(Word::Arrived(pinged));
        }
        let answered = self.github.answered(place, hook, attempt)?;
        let is_ours = answered.body.as_deref().is_some_and(canary::is_of_a_hookbell);
        if attempt.status == 401 && is_ours {
            return Ok(Word::OtherSecret(pinged));
        }
        Ok(Word::Lost(Some(pinged), self.explained(attempt, &answered)))
    }

    /// Why a ping did not come, and what to do.
    fn explained(&self, attempt: &Attempt, answered: &Answered) -> String {
        let (door, store) = (&self.settings.door, &self.settings.store);
        let status = attempt.status;
        let Some(body) = &answered.body else {
            let words = logfmt::value(&answered.words).to_string();
            return format!(
                "GitHub cannot deliver its ping: {words}; `hookbell doctor` tries the public URL from here"
            );
        };
        let words: String =
            body.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(QUOTE_CHARS_MAX).collect();
        let (what, remedy) = match status {
            _ if attempt.is_well() => (
                "its answer is good, and this machine's database does not hold it: somebody else answers there"
                    .to_owned(),
                "type this where hookbell runs, with its configuration; `hookbell doctor` tries the public URL"
                    .to_owned(),
            ),
            403 if canary::is_of_a_hookbell(body) => (
                format!("the address that it comes from is not in `allow_from` of source {}", self.source),
                "allow_from = \"github\" takes those that GitHub publishes".to_owned(),
            ),
            404 if canary::is_of_a_hookbell(body) => (
                format!("the hookbell that answers there has no source {}", self.source),
                "restart hookbell, so that it reads this configuration".to_owned(),
            ),
            _ if canary::is_of_a_hookbell(body) => {
                ("hookbell does not take it".to_owned(), "`hookbell status` says how it is".to_owned())
            }
            _ => {
                // Without its database here it is another machine's, and nothing is known of it.
                let is_open = || self.reader.is_none() || RoleLock::holder(&store.path, Role::Receive).is_some();
                let status = u16::try_from(status).unwrap_or_default();
                let Obstacle { what, remedy } = canary::obstacle(status, body, &door.listen, is_open);
                return format!("GitHub's ping did not come: {what}; {remedy}");
            }
        };
        format!("GitHub's ping was answered {status} ({}): {what}; {remedy}", logfmt::value(&words))
    }
}
