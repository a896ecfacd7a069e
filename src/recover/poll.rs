//! What happened in a repository that sends us nothing: GitHub's list of its events, asked as seldom as GitHub wishes, and for
//! nothing where nothing has changed.
//!
//! The list has three hundred entries at most, newest first. Entries may come into it late and out of order, and their ids say
//! nothing about either. So an entry is new that we have not seen and that stands above one that we have; what we have seen is
//! kept with how far we are. What stands below the last that we know was there before, or is what GitHub shows again because it
//! took away another. The first look only learns what is there.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{Ended, Hands, Reached, Stored, caller};
use crate::{
    config::Settings,
    provider::{
        Origin,
        happened::{self, Happened},
    },
    remote::{Pass, github::GitHub},
    secret::Secret,
    store::Pulled,
    time::Timestamp,
};

/// How often is asked when the file says nothing, and where GitHub does not say how often it may be.
pub(super) const EVERY: Duration = Duration::from_secs(60);
/// GitHub would not ask for more patience than that.
const INTERVAL_MAX: Duration = Duration::from_secs(24 * 3600);
/// Entries that GitHub has of one repository.
const LISTED_MAX: usize = 300;
/// Pages of a hundred.
const PAGES_MAX: usize = 3;
/// Entries may come so late: "event latency can be anywhere from 30s to 6h" (docs.github.com, "REST API endpoints for events").
const LATE: Duration = Duration::from_secs(6 * 3600);
/// Where those may stand on a later page than the first, it is looked at so often.
const DEEP_EVERY: Duration = Duration::from_secs(10 * 60);
/// Requests an hour for all repositories that are asked for in one name: of 5000 with a token, and of 60 without one, where
/// every answer counts. Somebody else may ask in that name too, or from that address.
const HOURLY: u32 = 2500;
const HOURLY_NOBODY: u32 = 45;
/// What is remembered of an entry that is no event.
const QUOTE_CHARS_MAX: usize = 200;

/// Watches one repository.
pub(super) struct Poller {
    github: Arc<GitHub>,
    /// What one request that counts costs in time, so that all together stay below the limit.
    rest_per_request: Duration,
    every: Duration,
    /// What GitHub said last: not sooner than this.
    interval: Duration,
    /// When it was asked last.
    asked: Option<Instant>,
    /// When it last was all well.
    looked: Option<Instant>,
    /// When the later pages were looked at for those that come late.
    deep: Option<Instant>,
    /// Of the first page, with which everything on it is ours.
    etag: Option<String>,
}

/// A repository that is watched for a source.
pub(super) struct Watched {
    pub(super) source: String,
    pub(super) repository: String,
    pub(super) poller: Poller,
    /// How long to wait where nothing was asked for it yet: without a token not all of them can be asked for at once.
    pub(super) first_after: Duration,
}

/// Every repository of the configuration, each with who asks: those in one name share its limits.
pub(super) fn watched(settings: &Settings) -> Vec<Watched> {
    let polling = || settings.sources.iter().filter(|(_, source)| !source.poll.is_empty());
    let name_of = |source: &crate::config::Source| {
        let recover = source.recover.as_ref();
        let api = recover.and_then(|recover| recover.api.clone()).unwrap_or_else(|| settings.github.api.clone());
        let token = match recover.map(|recover| &recover.pass) {
            Some(Pass::Token(token)) => Some(token.clone()),
            // What an app proves itself by opens nothing but the app; and what is for one server is shown to no other.
            _ => settings.github.token.clone().filter(|_| api == settings.github.api),
        };
        (api, token)
    };
    let mut names: Vec<((String, Option<Secret>), u32)> = Vec::new();
    for (_, source) in polling() {
        let (name, count) = (name_of(source), u32::try_from(source.poll.len()).unwrap_or(u32::MAX));
        match names.iter_mut().find(|(other, _)| *other == name) {
            Some((_, all)) => *all += count,
            None => names.push((name, count)),
        }
    }
    let mut watched = Vec::new();
    for (name, count) in names {
        let pass = name.1.clone().map_or(Pass::Nobody, Pass::Token);
        let hourly = if name.1.is_some() { HOURLY } else { HOURLY_NOBODY };
        let github = Arc::new(GitHub::new(caller(&name.0), pass));
        let (share, mut before) = (Duration::from_secs(3600) / hourly, 0_u32);
        if github.is_nobody() {
            let every = (share * count).max(EVERY).as_secs();
            log::info!(
                "watching repositories={count} without a token: each every {every} s at most; [github] token makes it a minute"
            );
        }
        for (source_name, source) in polling().filter(|(_, source)| name_of(source) == name) {
            for repository in &source.poll {
                before += PAGES_MAX as u32;
                watched.push(Watched {
                    source: source_name.clone(),
                    repository: repository.clone(),
                    poller: Poller {
                        github: Arc::clone(&github),
                        rest_per_request: share * count,
                        every: source.poll_every.unwrap_or(EVERY),
                        interval: EVERY,
                        asked: None,
                        looked: None,
                        deep: None,
                        etag: None,
                    },
                    first_after: share * before.saturating_sub(hourly),
                });
            }
        }
    }
    watched
}

impl Poller {
    pub(super) fn github(&self) -> &GitHub {
        &self.github
    }

    /// How long to leave it alone after requests of which so many count.
    pub(super) fn rest(&self, counted: u32) -> Duration {
        let least = u32::from(self.github.is_nobody());
        self.every.max(self.interval).max(self.rest_per_request * counted.max(least))
    }

    /// It is not asked before this, whoever wishes it.
    pub(super) fn not_before(&self) -> Option<Instant> {
        self.asked.map(|asked| asked + self.gap())
    }

    /// How long a restart has to wait because it was asked shortly before; `None`: it never was.
    pub(super) fn resume(&mut self, reached: &Reached, now: Timestamp) -> Option<Duration> {
        let ago = now.since(reached.checked_at()?);
        let kept = reached.more["polling"]["interval_s"].as_u64();
        self.interval = kept.map_or(self.interval, Duration::from_secs).min(INTERVAL_MAX);
        Some(self.gap().saturating_sub(ago))
    }

    /// Between two times of asking. Where each answer counts, the limit is more than what GitHub asks for.
    fn gap(&self) -> Duration {
        if self.github.is_nobody() { self.rest(1) } else { self.interval }
    }

    /// What is shown of how it is asked.
    fn note(&self, reached: &mut Reached) {
        let polling = &mut reached.more["polling"];
        polling["interval_s"] = json!(self.interval.as_secs());
        polling["every_s"] = json!(self.rest(0).as_secs());
        polling["anonymous"] = json!(self.github.is_nobody());
    }

    pub(super) fn pass(&mut self, hands: &Hands<'_>, reached: &mut Reached) -> Result<(), Ended> {
        let known = Known::of(&reached.more);
        if self.etag.is_none() {
            self.etag = known.etag.clone();
        }
        let listed = self.list(hands, &known)?;
        self.note(reached);
        let Some(Listed { entries, etag, is_deep }) = listed else {
            // Nothing has happened.
            self.looked = Some(Instant::now());
            return Ok(());
        };
        let fresh = known.fresh(&entries);
        let is_gap = known.is_gap(&entries);
        if known.is_first() {
            log::info!(
                "watching begins source={} repository={} listed={}: what happened before is not told",
                hands.source,
                hands.place,
                entries.len()
            );
            reached.more["polling"]["since"] = json!(hands.parts.clock.wall());
        } else if is_gap {
            log::error!(
                "gap source={} repository={}: all of the {} events that GitHub lists are new, and there may have been more",
                hands.source,
                hands.place,
                entries.len()
            );
            reached.more["polling"]["gap_at"] = json!(hands.parts.clock.wall());
        }
        self.store(fresh, hands, reached)?;
        let seen = known.with(&entries);
        if seen != known.seen || known.is_first() {
            reached.more["seen"] = json!(seen);
            reached.more["etag"] = json!(etag);
        }
        self.etag = etag;
        let now = Instant::now();
        self.looked = Some(now);
        if is_deep {
            self.deep = Some(now);
        }
        Ok(())
    }

    /// What the list shows, as far down as there may be anything new; `None` where nothing has changed.
    fn list(&mut self, hands: &Hands<'_>, known: &Known) -> Result<Option<Listed>, Ended> {
        let (mut entries, mut page, mut etag) = (Vec::new(), None, None);
        let is_deep = !self.github.is_nobody() && self.deep.is_none_or(|at| at.elapsed() >= DEEP_EVERY);
        for number in 1..=PAGES_MAX {
            let seen = self.etag.as_deref().filter(|_| number == 1 && !known.is_first());
            self.asked = Some(Instant::now());
            let happened = self.github.events(hands.place, page.as_deref(), seen)?;
            if let Some(seconds) = happened.interval_s {
                self.interval = Duration::from_secs(seconds).min(INTERVAL_MAX);
            }
            if number == 1 {
                etag = happened.etag;
            }
            let Some(events) = happened.events else { return Ok(None) };
            entries.extend(events);
            page = happened.next;
            if hands.parts.stop.is_told() {
                return Err(Ended::Stopped);
            }
            let last = entries.last();
            let is_late_possible = || {
                let at = last.and_then(|last| last["created_at"].as_str()).and_then(Timestamp::parse);
                is_deep && at.is_none_or(|at| hands.parts.clock.wall().since(at) < LATE)
            };
            let goes_on = known.is_first() || last.is_some_and(|last| known.is_new(last)) || is_late_possible();
            if page.is_none() || !goes_on {
                break;
            }
        }
        Ok(Some(Listed { entries, etag, is_deep }))
    }

    /// Stores what is new, oldest first.
    fn store(&mut self, fresh: Vec<&Value>, hands: &Hands<'_>, reached: &mut Reached) -> Result<(), Ended> {
        let mut happened = Vec::new();
        for entry in fresh.into_iter().rev() {
            match happened::as_webhook(entry) {
                Ok(made) => happened.push(made),
                Err(why) => lost(hands, reached, entry, &why),
            }
        }
        happened.sort_by_key(|happened| happened.at);
        let ids: Vec<&str> = happened.iter().map(|happened| happened.delivery.as_str()).collect();
        let missing: HashSet<String> =
            hands.reader.not_held(hands.source, &ids)?.into_iter().map(str::to_owned).collect();
        // What waited because we were off says nothing about polling.
        let is_steady = self.looked.is_some_and(|at| at.elapsed() < self.rest(1) * 2 + EVERY);
        for Happened { headers, body, delivery, at } in happened {
            if !missing.contains(&delivery) {
                continue;
            }
            let peer = self.github.caller().host().to_owned();
            let pulled = Pulled { source: hands.source.to_owned(), peer, sent: at, notes: Vec::new() };
            match hands.store(headers, body, Origin::Polled, pulled) {
                Ok(Some(_)) => {
                    let now = hands.parts.clock.wall();
                    reached.found(now);
                    if is_steady {
                        reached.delayed(now.since(at));
                    }
                }
                Ok(None) => {}
                Err(Stored::Odd(why)) => lost(hands, reached, &json!({ "id": delivery }), &why),
                Err(Stored::Ended(ended)) => return Err(ended),
            }
        }
        Ok(())
    }
}

/// An entry that cannot be told. It counts as seen.
fn lost(hands: &Hands<'_>, reached: &mut Reached, entry: &Value, why: &str) {
    let quote: String = entry.to_string().chars().take(QUOTE_CHARS_MAX).collect();
    log::error!("lost source={} repository={}: an event cannot be read: {why}: {quote}", hands.source, hands.place);
    reached.gave_up();
}

struct Listed {
    /// Newest first. One that came while we read may be there twice.
    entries: Vec<Value>,
    etag: Option<String>,
    /// Whether it was read as far down as those that come late may stand.
    is_deep: bool,
}

/// What we have seen of a list.
#[derive(Debug, Default)]
struct Known {
    /// Ids, newest first; `None`: nothing was looked at yet.
    seen: Option<Vec<String>>,
    ids: HashSet<String>,
    etag: Option<String>,
}

impl Known {
    fn of(kept: &Value) -> Known {
        let seen = kept["seen"].as_array();
        let seen: Option<Vec<String>> =
            seen.map(|ids| ids.iter().filter_map(Value::as_str).map(str::to_owned).collect());
        let ids = seen.iter().flatten().cloned().collect();
        Known { seen, ids, etag: kept["etag"].as_str().map(str::to_owned) }
    }

    fn is_first(&self) -> bool {
        self.seen.is_none()
    }

    /// An entry without an id is told of each time that the list changes.
    fn is_new(&self, entry: &Value) -> bool {
        happened::id(entry).is_none_or(|id| !self.ids.contains(id))
    }

    /// Of a list, newest first, what is new: in its order, each once.
    fn fresh<'e>(&self, entries: &'e [Value]) -> Vec<&'e Value> {
        if self.is_first() {
            return Vec::new();
        }
        let mut met = HashSet::new();
        let end = entries.iter().rposition(|entry| !self.is_new(entry)).unwrap_or(entries.len());
        let is_first_met = |entry: &&Value| happened::id(entry).is_none_or(|id| met.insert(id.to_owned()));
        entries[..end].iter().filter(|entry| self.is_new(entry)).filter(is_first_met).collect()
    }

    /// Whether there may have been more than the list holds.
    fn is_gap(&self, entries: &[Value]) -> bool {
        !self.is_first() && entries.len() >= LISTED_MAX && entries.iter().all(|entry| self.is_new(entry))
    }

    /// What we have seen then: as many as GitHub ever lists.
    fn with(&self, entries: &[Value]) -> Option<Vec<String>> {
        let mut met = HashSet::new();
        let listed = entries.iter().filter_map(happened::id);
        let all = listed.chain(self.seen.iter().flatten().map(String::as_str));
        Some(all.filter(|id| met.insert(*id)).take(LISTED_MAX).map(str::to_owned).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(ids: &[&str]) -> Known {
        Known::of(&json!({ "seen": ids }))
    }

    fn list(ids: &[&str]) -> Vec<Value> {
        ids.iter().map(|id| json!({ "id": id })).collect()
    }

    fn fresh(known: &Known, listed: &[&str]) -> Vec<String> {
        known.fresh(&list(listed)).iter().filter_map(|entry| happened::id(entry)).map(str::to_owned).collect()
    }

    #[test]
    fn what_is_new_stands_above_what_we_have_seen() {
        for (seen, listed, expected) in [
            // One after the other, late, in between, and nothing.
            (&["3", "2", "1"][..], &["5", "4", "3", "2", "1"][..], &["5", "4"][..]),
            (&["5", "3", "1"], &["5", "4", "3", "2", "1"], &["4", "2"]),
            (&["3", "2", "1"], &["3", "2", "1"], &[]),
            // Ids do not grow.
            (&["7800", "6000"], &["6001", "7800", "6000"], &["6001"]),
            // GitHub took one away and shows what it did not before.
            (&["4", "3", "2"], &["4", "2", "1", "0"], &[]),
            // Read while it grew.
            (&["1"], &["3", "2", "2", "1"], &["3", "2"]),
            // Nothing of what we know is left: it was long ago.
            (&["2", "1"], &["5", "4"], &["5", "4"]),
            // There was nothing at the first look.
            (&[], &["2", "1"], &["2", "1"]),
            (&["1"], &[], &[]),
        ] {
            assert_eq!(fresh(&known(seen), listed), expected, "{seen:?} {listed:?}");
        }
        assert_eq!(fresh(&Known::default(), &["2", "1"]), [""; 0], "the first look tells nothing");
    }

    #[test]
    fn as_much_is_remembered_as_github_lists() {
        assert_eq!(known(&["3", "2", "1"]).with(&list(&["4", "3", "3"])).unwrap(), ["4", "3", "2", "1"]);
        assert_eq!(known(&["2", "1"]).with(&[]).unwrap(), ["2", "1"], "what has expired may come back");
        let many: Vec<String> = (0..290).map(|number| number.to_string()).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let new: Vec<String> = (1000..1020).map(|number| number.to_string()).collect();
        let new: Vec<&str> = new.iter().map(String::as_str).collect();
        let both = known(&many).with(&list(&new)).unwrap();
        assert_eq!((both.len(), both[0].as_str(), both[299].as_str()), (300, "1000", "279"));
        assert_eq!(Known::default().with(&[]), Some(Vec::new()), "an empty list was looked at, too");
    }

    #[test]
    fn a_gap_is_a_full_list_of_strangers() {
        let ids: Vec<String> = (0..300).map(|number| number.to_string()).collect();
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        assert!(known(&["old"]).is_gap(&list(&ids)));
        assert!(known(&[]).is_gap(&list(&ids)));
        assert!(!known(&["299"]).is_gap(&list(&ids)));
        assert!(!known(&["old"]).is_gap(&list(&ids[..299])));
        assert!(!Known::default().is_gap(&list(&ids)));
    }
}
