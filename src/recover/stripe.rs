//! What has happened at Stripe and our endpoint wants, against what we hold. Read only.
//!
//! Stripe keeps no list of what it has sent, but one of what has happened, for thirty days; what an endpoint is sent is
//! the event itself. It tries again by itself for three days, ever more seldom: what it is young enough to be at is left to
//! it, and everything else comes in at once. The signed one that arrives later is a duplicate.

use std::time::Duration;

use super::{
    Asks, Ended, Hands, Reached, caller,
    missing::{Reading, leads_to, nowhere, since},
};
use crate::{
    config::Recover,
    headers::Headers,
    remote::{
        Attempt, Attempts, Caller, Sent,
        stripe::{Endpoint, Event, Stripe},
    },
    time::Timestamp,
};

const API: &str = "https://api.stripe.com";
/// Stripe's first tries lie within this; pulled in before, most of what it sends a second time would come twice.
const TRYING: Duration = Duration::from_secs(10 * 60);
// What is on its way must be looked at again.
const _: () = assert!(TRYING.as_secs() < super::OVERLAP.as_secs());

/// Reconciles an account's endpoint.
pub(super) struct Reconciler {
    stripe: Stripe,
    reading: Reading,
}

pub(super) fn reconcilers(recover: &Recover) -> Vec<(String, Asks)> {
    let stripe = Stripe::new(caller(recover.api.as_deref().unwrap_or(API)), recover.pass.clone());
    vec![("the account".to_owned(), Asks::Stripe(Reconciler { stripe, reading: Reading::new(recover.window) }))]
}

impl Reconciler {
    pub(super) fn caller(&self) -> &Caller {
        self.stripe.caller()
    }

    pub(super) fn pass(&mut self, hands: &Hands<'_>, reached: &mut Reached) -> Result<(), Ended> {
        let stripe = &self.stripe;
        let public_url = (hands.parts.public_url)();
        let leads_here = |endpoint: &Endpoint| leads_to(&endpoint.url, public_url.as_deref(), hands.source);
        // Asked each time: what an endpoint is told may be changed.
        let (ours, others): (Vec<_>, Vec<_>) = stripe.endpoints()?.into_iter().partition(leads_here);
        if ours.is_empty() {
            return Err(nowhere(
                hands,
                "add it where Stripe has its webhooks: dashboard.stripe.com/webhooks".to_owned(),
            ));
        }
        let (since, mut number) = (since(reached), 0);
        let listed = self.reading.list(hands, reached, &mut |after, _| {
            let page = stripe.events(since, after)?;
            let next = page.events.last().filter(|_| page.has_more).map(|event| event.id.clone());
            let now = page.now.unwrap_or_else(|| hands.parts.clock.wall());
            let mut attempts = Vec::new();
            for event in page.events.into_iter().filter(|event| ours.iter().any(|endpoint| endpoint.wants(event))) {
                number -= 1;
                attempts.push(attempt(event, number, &others, now));
            }
            Ok(Some(Attempts { attempts, unread: page.unread, next, etag: None, now: Some(now) }))
        })?;
        let Some(listed) = listed else { return Ok(()) };
        // A list of them all, each whole, is too much to keep: what is missing is asked for alone.
        self.reading.pull(listed, ("Stripe", stripe.caller().host()), hands, reached, &mut |missing| {
            let mut headers = Headers::new();
            headers.push("Content-Type", b"application/json");
            Ok(Some(Sent { headers, payload: stripe.event(&missing.latest.guid)? }))
        })
    }
}

/// Stripe says how many endpoints have not taken an event, not which: where others want it, too, one of those may be it.
fn attempt(event: Event, number: i64, others: &[Endpoint], now: Timestamp) -> Attempt {
    let others = others.iter().filter(|endpoint| endpoint.is_enabled && endpoint.wants(&event)).count();
    Attempt {
        id: number,
        at: event.at,
        status: if event.pending <= others as u64 { 200 } else { 0 },
        is_again: false,
        is_trying: event.pending > 0 && now.since(event.at) < TRYING,
        guid: event.id,
        event: String::new(),
        sent: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_has_not_taken_may_be_another_s() {
        let at = Timestamp::from_ms(1_000_000);
        let other = |is_enabled| Endpoint {
            url: "https://elsewhere.example/".to_owned(),
            types: vec!["a.b".to_owned()],
            since: Timestamp::from_ms(0),
            is_enabled,
        };
        let check = |pending, others: &[Endpoint], minutes: u64, expected: (bool, bool)| {
            let event = Event { id: "evt_1".to_owned(), kind: "a.b".to_owned(), at, pending };
            let attempt = attempt(event, -1, others, at.plus(Duration::from_secs(60 * minutes)));
            assert_eq!((attempt.is_well(), attempt.is_trying), expected, "{pending} of {others:?}");
        };
        check(0, &[], 1, (true, false));
        check(1, &[], 1, (false, true));
        check(1, &[], 10, (false, false));
        check(1, &[other(true)], 10, (true, false));
        check(2, &[other(true)], 10, (false, false));
        check(1, &[other(false)], 10, (false, false));
    }
}
