//! One delivery: prove it, store it, answer. The answer 200 is made from nothing but the store's word that the delivery
//! is on the disk.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use super::{
    Door,
    admit::{self, Refused, Route},
};
use crate::{
    http::{Request, Response},
    logfmt,
    provider::{self, Unverified},
    store::{Accepted, Arrival},
};

/// GitHub hangs up after 10 s, counted from its own start; an answer after that is heard by nobody.
const ANSWER_AFTER: Duration = Duration::from_secs(7);
/// A body that took long to arrive still gets this much for the disk.
const STORE_AT_LEAST: Duration = Duration::from_secs(1);
/// What a sender is told to wait when we cannot store.
const RETRY_AFTER: Duration = Duration::from_secs(10);

impl Door {
    pub(super) fn webhook(&self, request: Request<Route>) -> Response {
        let Request { head, body, peer, accepted, admitted } = request;
        let Route::Webhook { source: name, client } = admitted else {
            return Response::error(404, "not found");
        };
        let Some(source) = self.sources.get(&name) else {
            return Response::error(404, "not found");
        };
        let unverified = Unverified { target: head.target, headers: head.headers, body };
        let delivery = match provider::verify(source.provider, &source.secrets, unverified, self.clock.wall()) {
            Ok(delivery) => delivery,
            Err(rejection) => {
                return self.refuse(Refused::rejected(&name, log::Level::Warn, &rejection), client, &peer);
            }
        };
        let peer = admit::name_of(client, &peer);
        // Both come from headers, which no signature covers.
        let (event, id) = (logfmt::value(delivery.event_type()), logfmt::value(delivery.id().unwrap_or("-")));
        let said = format!("event={event} delivery={id}");
        let deadline = self.store_deadline(accepted);
        let arrival = Arrival { source: name.clone(), peer: peer.clone(), repeats: source.repeats, deadline };
        match self.store.accept(delivery, arrival) {
            Ok(Accepted::New { id, notes, is_skipped }) => {
                self.counters.stored.fetch_add(1, Ordering::Relaxed);
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
                log::info!("duplicate id={id} source={name} {said} peer={peer}");
                taken("duplicate", id)
            }
            Err(error) => {
                self.counters.unavailable.fetch_add(1, Ordering::Relaxed);
                log::error!("unavailable source={name} {said} peer={peer} why=\"{error}\"");
                Response::error(503, "cannot store right now").retry_after(RETRY_AFTER)
            }
        }
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
