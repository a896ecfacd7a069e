//! What a provider lists as sent, against what we hold: the rules that all of them share. Owns which attempts make a delivery
//! that is missing, how far a list is read, and the order in which what is missing is brought in; refuses to know how a
//! page is got, or what a delivery looks like there.
//!
//! A delivery is missing when we do not hold its id: whether the attempt failed, or was answered 200 by one who lost it
//! afterwards. Two things may have been answered well and are not ours: what pruning may have removed, and what a place was
//! sent before the first that we hold of it, when it led to somebody else.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use super::{Ended, Hands, OVERLAP, Reached, SLACK, Stored};
use crate::{
    provider::Origin,
    remote::{Attempt, Attempts, Sent, Trouble},
    store::Pulled,
    time::Timestamp,
};

/// Pages of one pass: a fifth of what GitHub lets one ask in an hour, and 20 000 deliveries where twenty make a page.
const PAGES_MAX: u32 = 1000;
/// Missing deliveries that are remembered while a list is read. Of more, the newest come in the next pass.
const MISSING_MAX: usize = 20_000;
/// What is remembered with them where the list itself has it.
const MISSING_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Deliveries that the provider could not hand out and that are remembered for it.
const STRUCK_MAX: usize = 1000;
/// Looks, each with a list that shows it, in which a delivery has to be gone before it is given up.
const STRIKES_MAX: u32 = 2;
/// Failures in a row that say that the provider is not well, and not the one delivery.
const FAILURES_MAX: u32 = 3;
/// Deliveries that are pulled in before others get their turn.
const PULLED_MAX: usize = 500;

/// Gets a page: what led there, `None` for the newest, and what we saw last time. `None` where nothing has changed since.
pub(super) type GetPage<'f> = &'f mut dyn FnMut(Option<&str>, Option<&str>) -> Result<Option<Attempts>, Trouble>;
/// Gets what was sent; `None` where the provider has it no more.
pub(super) type GetSent<'f> = &'f mut dyn FnMut(&mut Missing) -> Result<Option<Sent>, Trouble>;

/// Reads one list again and again.
pub(super) struct Reading {
    window: Duration,
    /// What we saw last time, where nothing was missing then.
    etag: Option<String>,
    /// In how many looks a delivery could not be had.
    struck: HashMap<String, u32>,
}

/// A delivery that we do not hold.
pub(super) struct Missing {
    /// Its first attempt.
    pub(super) first: Timestamp,
    /// Its latest one.
    pub(super) latest: Attempt,
    /// How often somebody asked for it again.
    pub(super) again: u32,
    /// Whether an attempt went well.
    was_well: bool,
}

/// What a list has shown.
pub(super) struct Listed {
    /// Oldest first.
    pub(super) missing: Vec<Missing>,
    /// The provider's clock when we began to read.
    pub(super) begun: Timestamp,
    /// Until here it was read to the end; where there was too much, or something is on its way, only until then.
    until: Option<Timestamp>,
    etag: Option<String>,
}

impl Reading {
    pub(super) fn new(window: Duration) -> Reading {
        Reading { window, etag: None, struck: HashMap::new() }
    }

    /// What is missing, as far back as it has to be looked for; `None` where nothing has changed since nothing was.
    pub(super) fn list(
        &mut self,
        hands: &Hands<'_>,
        reached: &mut Reached,
        get: GetPage<'_>,
    ) -> Result<Option<Listed>, Ended> {
        let (mut missing, mut by_guid) = (Vec::<Missing>::new(), HashMap::<String, usize>::new());
        let (mut page, mut begun, mut floor, mut etag, mut until) = (None, None, None, None, None::<Timestamp>);
        // The oldest that we hold of what was listed.
        let mut first = None::<Timestamp>;
        for number in 1.. {
            let known = self.etag.take().filter(|_| number == 1);
            let Some(listed) = get(page.as_deref(), known.as_deref())? else {
                self.etag = known;
                return Ok(None);
            };
            if hands.parts.stop.is_told() {
                return Err(Ended::Stopped);
            }
            let newest = listed.attempts.first().map(|attempt| attempt.at);
            // The provider's own clock: ours may be wrong.
            let begun = *begun.get_or_insert(listed.now.or(newest).unwrap_or(Timestamp::from_ms(0)));
            let floor = *floor.get_or_insert_with(|| self.floor(begun, hands, reached));
            etag = etag.or(listed.etag);
            if listed.unread > 0 {
                log::warn!(
                    "source={} place={} lists deliveries={} that cannot be read; they are looked for again",
                    hands.source,
                    hands.place,
                    listed.unread
                );
                until = Some(floor);
            }
            let guids: Vec<&str> = listed.attempts.iter().map(|attempt| attempt.guid.as_str()).collect();
            let not_held = hands.reader.not_held(hands.source, &guids)?;
            let not_held: HashSet<String> = not_held.into_iter().map(str::to_owned).collect();
            let mut oldest = begun;
            for attempt in listed.attempts {
                oldest = oldest.min(attempt.at);
                if !not_held.contains(&attempt.guid) {
                    first = first.into_iter().chain([attempt.at]).min();
                    continue;
                }
                if attempt.at < floor || self.struck.get(&attempt.guid).is_some_and(|strikes| *strikes >= STRIKES_MAX) {
                    continue;
                }
                if attempt.is_trying {
                    until = until.into_iter().chain([attempt.at]).min();
                    continue;
                }
                match by_guid.get(&attempt.guid) {
                    Some(index) => missing[*index].add(&attempt),
                    None => {
                        by_guid.insert(attempt.guid.clone(), missing.len());
                        missing.push(Missing::of(attempt));
                    }
                }
            }
            while missing.len() > MISSING_MAX || (missing.len() > 1 && bytes(&missing) > MISSING_BYTES_MAX) {
                // The oldest first: what is newer comes in the next pass, which begins where this one ends.
                let cut = missing.drain(..missing.len() / 2).map(|missing| missing.first).min();
                until = until.into_iter().chain(cut).min();
                let guids = missing.iter().map(|missing| missing.latest.guid.clone());
                by_guid = guids.enumerate().map(|(index, guid)| (guid, index)).collect();
            }
            page = listed.next;
            if oldest < floor || page.is_none() {
                break;
            }
            if number >= PAGES_MAX {
                // An error would be one for ever, and then nothing at all would come in.
                self.gap(floor, oldest, hands, reached);
                break;
            }
        }
        let begun = begun.unwrap_or(Timestamp::from_ms(0));
        let first = reached.ours_since(first.unwrap_or(begun));
        // Asked last: what was pruned while the list was read is not missing either.
        let pruned = hands.reader.pruned_until()?;
        missing.retain(|missing| missing.is_ours(first, pruned, reached.until()));
        missing.sort_by_key(|missing| (missing.first, missing.latest.id));
        if !missing.is_empty() {
            log::info!("missing deliveries={} source={} place={}", missing.len(), hands.source, hands.place);
        }
        reached.still_missing(missing.len());
        Ok(Some(Listed { missing, begun, until, etag }))
    }

    /// How far back a list has to be looked at.
    fn floor(&self, begun: Timestamp, hands: &Hands<'_>, reached: &mut Reached) -> Timestamp {
        let window = begun.minus(self.window);
        if reached.until().is_some_and(|until| until > begun.plus(SLACK)) {
            log::warn!("source={} place={} was read until a time that is yet to come", hands.source, hands.place);
            reached.begin_anew();
        }
        match reached.until() {
            Some(until) if until < window => {
                self.gap(until, window, hands, reached);
                window
            }
            Some(until) => until.minus(OVERLAP).max(window),
            None => window,
        }
    }

    /// What was sent between these two, and did not come by itself, nobody can tell any more.
    fn gap(&self, from: Timestamp, to: Timestamp, hands: &Hands<'_>, reached: &mut Reached) {
        if !reached.gap(from, to) {
            return;
        }
        log::error!(
            "gap source={} place={} from={from} to={to}: what was sent then and did not arrive is not listed any more",
            hands.source,
            hands.place
        );
    }

    /// Pulls each in, as many as one turn has. `who` is the provider's name for people, `peer` its host.
    pub(super) fn pull(
        &mut self,
        mut listed: Listed,
        (who, peer): (&str, &str),
        hands: &Hands<'_>,
        reached: &mut Reached,
        get: GetSent<'_>,
    ) -> Result<(), Ended> {
        let all = std::mem::take(&mut listed.missing);
        let (mut left, mut failures, mut trouble) = (all.len(), 0, None);
        // The first that stays missing: it is looked for again, and all that is newer with it.
        let mut stays = None;
        for (index, mut missing) in all.into_iter().enumerate() {
            if index >= PULLED_MAX {
                stays = stays.or(Some(missing.first));
                break;
            }
            let guid = missing.latest.guid.clone();
            let mut got = get(&mut missing);
            if let Err(Trouble::Ill(_) | Trouble::Unreachable(_)) = got {
                // Once more, so that one bad moment does not change the order.
                got = get(&mut missing);
            }
            let stored = match got {
                Ok(None) => Err(format!("{who} does not have it any more")),
                Ok(Some(sent)) => {
                    let pulled = Pulled {
                        source: hands.source.to_owned(),
                        peer: peer.to_owned(),
                        sent: missing.first,
                        notes: vec![missing.note(who)],
                    };
                    match hands.store(sent.headers, sent.payload, Origin::Recovered, pulled) {
                        Ok(stored) => Ok(stored),
                        Err(Stored::Odd(why)) => Err(why),
                        Err(Stored::Ended(ended)) => return Err(ended),
                    }
                }
                Err(all @ (Trouble::Limited { .. } | Trouble::Refused { status: 401 | 403, .. })) => {
                    return Err(all.into());
                }
                // It was in the list. When it is so after another look at the list, it is not the token that sees less.
                Err(Trouble::Refused { status: 404 | 410, what, .. }) if self.strike(&guid) => Err(what),
                Err(Trouble::Refused { status: 404 | 410, .. }) => {
                    stays = stays.or(Some(missing.first));
                    continue;
                }
                // The one delivery, as long as others can be had: it must not keep them until they are gone.
                Err(one) => {
                    log::warn!("cannot have source={} place={} delivery={guid}: {one}", hands.source, hands.place);
                    failures += 1;
                    stays = stays.or(Some(missing.first));
                    trouble = Some(one);
                    if failures >= FAILURES_MAX {
                        break;
                    }
                    continue;
                }
            };
            failures = 0;
            left -= 1;
            match stored {
                Ok(Some(_)) => reached.found(hands.parts.clock.wall()),
                // It has come by itself meanwhile.
                Ok(None) => {}
                Err(why) => {
                    log::error!("lost source={} place={} delivery={guid}: {why}", hands.source, hands.place);
                    reached.gave_up();
                    self.struck.insert(guid, STRIKES_MAX);
                }
            }
            // Whatever ends this pass: those before need not be looked at again.
            if stays.is_none() {
                reached.advance(missing.first.minus(Duration::from_millis(1)));
            }
            reached.still_missing(left);
        }
        if let Some(stays) = stays {
            reached.advance(stays.minus(Duration::from_millis(1)));
        }
        self.end(listed, left, reached);
        trouble.map_or(Ok(()), |trouble| Err(trouble.into()))
    }

    /// It could not be had. Says whether that was so often enough.
    fn strike(&mut self, guid: &str) -> bool {
        if self.struck.len() >= STRUCK_MAX && !self.struck.contains_key(guid) {
            return true;
        }
        let strikes = self.struck.entry(guid.to_owned()).or_default();
        *strikes += 1;
        *strikes >= STRIKES_MAX
    }

    /// What was listed is settled but for so many.
    pub(super) fn end(&mut self, listed: Listed, left: usize, reached: &mut Reached) {
        reached.still_missing(left);
        if left == 0 {
            reached.advance(listed.until.unwrap_or(listed.begun));
            self.etag = listed.etag.filter(|_| listed.until.is_none());
        }
    }
}

/// From where on a list is looked at, where it was before.
pub(super) fn since(reached: &Reached) -> Option<Timestamp> {
    reached.until().map(|until| until.minus(OVERLAP))
}

/// Whether this URL of a webhook is ours. Where nobody has told our address, the path has to do.
pub(super) fn leads_to(url: &str, public_url: Option<&str>, source: &str) -> bool {
    let paths = [format!("/webhooks/{source}"), format!("/webhook/{source}")];
    let url = url.trim_end_matches('/');
    paths.iter().any(|path| match public_url {
        Some(public_url) => url.strip_prefix(public_url.trim_end_matches('/')).is_some_and(|rest| rest == path),
        None => url.ends_with(path.as_str()),
    })
}

/// Nothing leads here, in the words of those who know how to change it.
pub(super) fn nowhere(hands: &Hands<'_>, remedy: String) -> Ended {
    let what = format!("{} has no webhook that leads to /webhooks/{} here", hands.place, hands.source);
    Trouble::Refused { status: 404, what, remedy }.into()
}

fn bytes(all: &[Missing]) -> usize {
    all.iter().filter_map(|missing| missing.latest.sent.as_ref()).map(|sent| sent.payload.len()).sum()
}

impl Missing {
    fn of(attempt: Attempt) -> Missing {
        let (again, was_well) = (u32::from(attempt.is_again), attempt.is_well());
        Missing { first: attempt.at, latest: attempt, again, was_well }
    }

    /// An attempt, from the newest to the oldest.
    fn add(&mut self, attempt: &Attempt) {
        self.first = self.first.min(attempt.at);
        self.again += u32::from(attempt.is_again);
        self.was_well |= attempt.is_well();
    }

    /// What is as old as what pruning has removed may have been held: then it is missing only where the provider knows
    /// that it never came, and it was not looked at before. And what was taken before the `first` of the place that is ours
    /// was taken by somebody else.
    fn is_ours(&self, first: Timestamp, pruned: Option<Timestamp>, until: Option<Timestamp>) -> bool {
        let is_younger = pruned.is_none_or(|pruned| self.first > pruned.plus(SLACK));
        match self.was_well {
            true => is_younger && self.first.plus(SLACK) >= first,
            false => is_younger || until.is_none_or(|until| self.first > until),
        }
    }

    /// How it came to be missing.
    fn note(&self, who: &str) -> String {
        match (self.was_well, self.latest.status) {
            (true, 0) => format!("{who} has delivered it once and it was not here"),
            (true, status) => format!("{who} was told {status} and it was not here"),
            (false, 0) => format!("{who} could not deliver it"),
            (false, status) => format!("{who} could not deliver it: {status}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minutes: i64) -> Timestamp {
        Timestamp::from_ms(minutes * 60_000)
    }

    fn missing(minutes: i64, status: i64) -> Missing {
        Missing::of(Attempt {
            id: 1,
            guid: "g".to_owned(),
            event: String::new(),
            at: at(minutes),
            status,
            is_again: false,
            is_trying: false,
            sent: None,
        })
    }

    #[test]
    fn what_was_taken_before_our_first_is_not_ours() {
        let is_ours = |minutes, status| missing(minutes, status).is_ours(at(20), None, None);
        // Another receiver's, and ours that was lost afterwards.
        assert!(!is_ours(10, 200) && is_ours(30, 200));
        // Two clocks differ a little.
        assert!(is_ours(19, 200) && !is_ours(18, 200));
        // What failed is nobody's.
        assert!(is_ours(10, 502) && is_ours(10, 0));
    }

    #[test]
    fn what_may_have_been_pruned_is_not_missing() {
        let is_ours =
            |minutes, status, until: Option<i64>| missing(minutes, status).is_ours(at(0), Some(at(20)), until.map(at));
        assert!(!is_ours(21, 200, None) && is_ours(22, 200, None));
        assert!(is_ours(10, 500, None) && is_ours(10, 500, Some(5)) && !is_ours(10, 500, Some(10)));
        assert!(is_ours(30, 500, Some(40)));
    }

    #[test]
    fn one_good_attempt_is_enough() {
        let mut delivery = missing(10, 500);
        delivery.add(&missing(5, 200).latest);
        assert!(delivery.was_well && delivery.first == at(5) && delivery.latest.at == at(10));
        assert!(delivery.note("GitHub").contains("was told 500"));
    }

    #[test]
    fn a_url_leads_here_by_its_whole() {
        let check = |url: &str, public_url: Option<&str>, expected: bool| {
            assert_eq!(leads_to(url, public_url, "pay"), expected, "{url} {public_url:?}");
        };
        check("https://a.example/webhooks/pay", Some("https://a.example"), true);
        check("https://a.example/webhook/pay/", Some("https://a.example/"), true);
        check("https://b.example/webhooks/pay", Some("https://a.example"), false);
        check("https://b.example/webhooks/pay", None, true);
        check("https://b.example/webhooks/payments", None, false);
    }
}
