//! The public side: what the tunnel reaches. Owns the answers of interface.md; refuses to know what happens after them,
//! and nothing that happens there can change one.

mod admit;
mod health;
mod webhook;

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use serde::Serialize;

use self::{admit::Route, health::Health};
use crate::{
    config::{self, Source},
    http::{Admitted, Head, Peer, Refusal, Request, Response, Service},
    store::Store,
    threads::{Wake, lock},
    time::Clock,
};

/// The door's service: a request in, an answer out.
pub struct Door {
    sources: BTreeMap<String, Source>,
    trusted_proxies: Vec<IpAddr>,
    request_deadline: Duration,
    store: Store,
    health: Health,
    clock: Arc<dyn Clock>,
    stored: Wake,
    counters: Arc<Counters>,
    crowd: Crowd,
}

/// Refusals for want of room, told once a second at most.
#[derive(Debug, Default)]
struct Crowd(Mutex<(Option<Instant>, u64)>);

impl Crowd {
    /// Counts one; says how many since the last time, when it is time to say so.
    fn count(&self) -> Option<u64> {
        let mut crowd = lock(&self.0);
        crowd.1 += 1;
        if crowd.0.is_some_and(|told| told.elapsed() < Duration::from_secs(1)) {
            return None;
        }
        crowd.0 = Some(Instant::now());
        Some(std::mem::take(&mut crowd.1))
    }
}

/// What the door has answered since it was opened.
#[derive(Debug, Default)]
pub struct Counters {
    stored: AtomicU64,
    duplicate: AtomicU64,
    refused: AtomicU64,
    unavailable: AtomicU64,
}

/// A reading of [`Counters`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Answered 200, new.
    pub stored: u64,
    /// Answered 200, seen before.
    pub duplicate: u64,
    /// Answered 4xx.
    pub refused: u64,
    /// Answered 503.
    pub unavailable: u64,
}

impl Counters {
    /// The present numbers.
    pub fn read(&self) -> Counts {
        Counts {
            stored: self.stored.load(Ordering::Relaxed),
            duplicate: self.duplicate.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            unavailable: self.unavailable.load(Ordering::Relaxed),
        }
    }
}

impl Door {
    /// A door for these sources. `stored` is woken for each new delivery.
    pub fn new(
        settings: &config::Door,
        sources: BTreeMap<String, Source>,
        store: Store,
        clock: Arc<dyn Clock>,
        stored: Wake,
        counters: Arc<Counters>,
    ) -> Door {
        Door {
            sources,
            trusted_proxies: settings.trusted_proxies.clone(),
            request_deadline: settings.request_deadline,
            health: Health::new(store.clone()),
            store,
            clock,
            stored,
            counters,
            crowd: Crowd::default(),
        }
    }
}

impl Service for Door {
    type Admitted = Route;

    fn admit(&self, head: &Head, peer: &Peer) -> Result<Admitted<Route>, Response> {
        match self.route(head, peer) {
            Ok(route) => Ok(Admitted::new(route)),
            Err(refused) => {
                self.count_refusal(refused.response.status);
                log::info!(
                    "refused status={} peer={} method={} why=\"{}\"",
                    refused.response.status,
                    admit::name_of(self.client(head, peer), peer),
                    known_method(&head.method),
                    refused.why
                );
                Err(refused.response)
            }
        }
    }

    fn handle(&self, request: Request<Route>) -> Response {
        match request.admitted {
            Route::Health => self.health.answer(),
            Route::Webhook { .. } => self.webhook(request),
        }
    }

    fn refused(&self, head: Option<&Head>, peer: &Peer, refusal: &Refusal) {
        self.count_refusal(refusal.status);
        if refusal.status == 503 {
            // A flood must not become a flood of lines on the card.
            if let Some(since) = self.crowd.count() {
                log::warn!("refused status=503 requests={since} last_peer={peer} why=\"{}\"", refusal.reason);
            }
            return;
        }
        // Behind a tunnel the socket's peer is the tunnel; the head tells whom it speaks for.
        let peer = head.map_or_else(|| peer.to_string(), |head| admit::name_of(self.client(head, peer), peer));
        log::info!("refused status={} peer={peer} why=\"{}\"", refusal.status, refusal.reason);
    }
}

impl Door {
    fn count_refusal(&self, status: u16) {
        let counter = if status == 503 { &self.counters.unavailable } else { &self.counters.refused };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// A method for the log: what a stranger invents is not repeated there.
fn known_method(method: &str) -> &str {
    match method {
        "GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS" => method,
        _ => "(unknown)",
    }
}
