//! One delivery: prove it, store it, answer. The answer 200 is made from nothing but the store's word that the delivery
//! is on the disk.

use std::{
    borrow::Cow,
    net::IpAddr,
    sync::{TryLockError, atomic::Ordering},
    time::{Duration, Instant},
};

use super::{
    Door, RETRY_AFTER, UNAVAILABLE,
    admit::{self, Refused, Route},
    may_tell,
};
use crate::{
    config::Source,
    http::{Request, Response},
    logfmt,
    provider::{self, Handshake, Rejection, Terms, Unverified, Verified},
    store::{Accepted, Arrival},
    time::{self, Timestamp},
};

/// GitHub hangs up after 10 s, counted from its own start; an answer after that is heard by nobody.
const ANSWER_AFTER: Duration = Duration::from_secs(7);
/// A body that took long to arrive still gets this much for the disk.
const STORE_AT_LEAST: Duration = Duration::from_secs(1);
/// A time server answers within a minute, or something else is wrong.
const CLOCK_RETRY_AFTER: Duration = Duration::from_secs(60);

impl Door {
    pub(super) fn webhook(&self, request: Request<Route>) -> Response {
        let Request { head, body, peer, accepted, admitted } = request;
        let read = Instant::now();
        let Route::Webhook { name, source, client } = admitted else {
            return Response::error(404, "not found");
        };
        let unverified =
            Unverified { target: admit::path_and_query(&head.target).to_owned(), headers: head.headers, body };
        let now = self.clock.wall();
        let mut hint = None;
        let terms = self.terms(&source);
        let explain = |request: &Unverified| hint = self.explain(&terms, request, client, now);
        let delivery = match provider::verify_or(&terms, unverified, now, explain) {
            Ok(Verified::Delivery(delivery)) => delivery,
            Ok(Verified::Handshake(Handshake { status, content_type, body })) => {
                log::info!("handshake source={name} peer={} status={status}", admit::name_of(client, &peer));
                return Response::new(status, content_type, body);
            }
            Err(rejection @ Rejection::OutsideWindow { .. }) if self.is_plainly_wrong(now) => {
                self.counters.unavailable.fetch_add(1, Ordering::Relaxed);
                self.meters.answered(&name, UNAVAILABLE, None);
                if let Some(before) = may_tell(&self.trouble) {
                    log::error!(
                        "unavailable source={name} why=\"our clock says {now}, which cannot be, so the time of a signature cannot \
                         be judged: {rejection}; is the network up, and does a time server answer?\"{before}"
                    );
                }
                return Response::error(503, "cannot tell the time right now").retry_after(CLOCK_RETRY_AFTER);
            }
            Err(rejection) => {
                let mut refused = Refused::rejected(&name, log::Level::Warn, &rejection);
                if let Some(hint) = hint {
                    refused.why.push_str(&format!("; most likely: {hint}"));
                }
                return self.refuse(refused, client, &peer);
            }
        };
        let peer = admit::name_of(client, &peer);
        // Both come from headers, which no signature covers.
        let (event, id) = (logfmt::value(delivery.event_type()), logfmt::value(delivery.id().unwrap_or("-")));
        let said = format!("event={event} delivery={id}");
        let deadline = self.store_deadline(accepted);
        let arrival = Arrival {
            source: name.clone(),
            peer: peer.clone(),
            repeats: source.repeats,
            repeat_window: source.repeat_window,
            deadline,
        };
        match self.store.accept(delivery, arrival) {
            Ok(Accepted::New { id, notes, is_skipped }) => {
                self.counters.stored.fetch_add(1, Ordering::Relaxed);
                self.meters.answered(&name, "accepted", Some(read.elapsed()));
                let ms = accepted.elapsed().as_millis();
                let notes = if notes.is_empty() { String::new() } else { format!(" notes=\"{}\"", notes.join(", ")) };
                log::info!("stored id={id} source={name} {said} peer={peer} ms={ms}{notes}");
                if !is_skipped {
                    self.stored.wake();
                }
                taken("accepted", id)
            }
            Ok(Accepted::Duplicate { id }) => {
                self.counters.duplicate.fetch_add(1, Ordering::Relaxed);
                self.meters.answered(&name, "duplicate", Some(read.elapsed()));
                log::info!("duplicate id={id} source={name} {said} peer={peer}");
                taken("duplicate", id)
            }
            Err(error) => {
                self.counters.unavailable.fetch_add(1, Ordering::Relaxed);
                self.meters.answered(&name, UNAVAILABLE, None);
                if let Some(before) = may_tell(&self.trouble) {
                    log::error!("unavailable source={name} {said} peer={peer} why=\"{error}\"{before}");
                }
                Response::error(503, "cannot store right now").retry_after(RETRY_AFTER)
            }
        }
    }

    /// The source's terms, with the address that it calls where only the quick tunnel knows it.
    fn terms<'s>(&self, source: &'s Source) -> Cow<'s, Terms> {
        let terms = &source.terms;
        let is_lacking = terms.provider.needs_public_url() && terms.public_url.is_none();
        match is_lacking.then(|| self.public_url.get()).flatten() {
            Some(url) => Cow::Owned(Terms { public_url: Some(url), ..terms.clone() }),
            None => Cow::Borrowed(terms),
        }
    }

    /// What would make the signature match, for the log. Guessing costs as much as judging several times over, so one
    /// request at a time is guessed at, and not those of who fails all the time.
    fn explain(&self, terms: &Terms, request: &Unverified, client: Option<IpAddr>, now: Timestamp) -> Option<String> {
        let _alone = match self.guessing.try_lock() {
            Ok(alone) => alone,
            // Nothing is kept under this lock that a panic could have left half done.
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        match self.failures.is_patient_with(client, Instant::now()) {
            true => provider::diagnose(terms, request, now, provider::AT_THE_DOOR_BYTES_MAX),
            false => None,
        }
    }

    /// Whether our clock cannot be right.
    fn is_plainly_wrong(&self, now: Timestamp) -> bool {
        time::is_plainly_wrong(now, self.store.newest())
    }

    /// Until when the store may take: while the sender still listens, and never past the request's own deadline by more
    /// than the least that a commit needs.
    fn store_deadline(&self, accepted: Instant) -> Instant {
        let heard_until = accepted + ANSWER_AFTER.min(self.request_deadline);
        heard_until.max(Instant::now() + STORE_AT_LEAST)
    }
}

/// The two answers that promise something.
fn taken(status: &str, id: i64) -> Response {
    Response::new(200, "application/json", format!(r#"{{"status":"{status}","event_id":{id}}}"#))
}
