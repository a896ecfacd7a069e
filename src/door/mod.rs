//! The public side: what the tunnel reaches. Owns the answers of interface.md; refuses to know what happens after them,
//! and nothing that happens there can change one.

mod admit;
pub mod canary;
mod crowd;
pub mod failures;
mod health;
mod published;
mod refusals;
mod sources;
mod webhook;

#[cfg(test)]
mod tests;

use std::{
    net::IpAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use serde::Serialize;

use self::{
    admit::{Refused, Route},
    crowd::Crowd,
    failures::{Failures, Verdict},
    health::Health,
};
pub use self::{
    published::{KEPT_AS, List, Published, Publisher},
    refusals::Refusals,
    sources::Sources,
};
use crate::{
    allowance::Rate,
    config,
    http::{Admitted, Head, Peer, Refusal, Request, Response, Service},
    meters::Meters,
    store::Store,
    threads::{Wake, lock},
    time::Clock,
};

/// The door's service: a request in, an answer out.
pub struct Door {
    sources: Sources,
    trusted_proxies: Vec<IpAddr>,
    request_deadline: Duration,
    store: Store,
    health: Health,
    clock: Arc<dyn Clock>,
    stored: Wake,
    counters: Arc<Counters>,
    meters: Arc<Meters>,
    failures: Failures,
    refusals: Refusals,
    published: Published,
    public_url: PublicUrl,
    /// Held while a refusal is explained.
    guessing: Mutex<()>,
    lines: Crowd,
    overflow: Crowd,
    trouble: Crowd,
}

/// Lines about refusals: enough to see each of a few, and not to fill a card with those of a scan.
const REFUSALS_TOLD: Rate = Rate { every: Duration::from_millis(200), burst: 50 };
/// Lines about requests refused for want of room.
const OVERFLOW_TOLD: Rate = Rate { every: Duration::from_secs(1), burst: 1 };
/// Lines about deliveries that are proven and cannot be taken, because of the disk or the clock. The disk may be the very card
/// that the log is written to, and it is full.
const TROUBLE_TOLD: Rate = Rate { every: Duration::from_secs(1), burst: 20 };

/// What a sender is told to wait when we cannot take it right now.
const RETRY_AFTER: Duration = Duration::from_secs(10);

/// How an answer is counted by source, besides [`webhook`]'s own.
const REFUSED: &str = "refused";
const LIMITED: &str = "limited";
const UNAVAILABLE: &str = "unavailable";

/// What the door has answered since it was opened.
#[derive(Debug, Default)]
pub struct Counters {
    stored: AtomicU64,
    duplicate: AtomicU64,
    refused: AtomicU64,
    limited: AtomicU64,
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
    /// Those of them that were answered 429.
    pub limited: u64,
    /// Answered 503.
    pub unavailable: u64,
}

/// Our address in the world where the configuration does not know it: a quick tunnel's. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct PublicUrl(Arc<Mutex<Option<String>>>);

impl PublicUrl {
    /// It is this one now, without a trailing slash.
    pub fn set(&self, url: &str) {
        *lock(&self.0) = Some(url.to_owned());
    }

    /// What it is now.
    pub fn get(&self) -> Option<String> {
        lock(&self.0).clone()
    }
}

/// What the door shares with those who show or keep it. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// What it has answered.
    pub counters: Arc<Counters>,
    /// Whom it has refused.
    pub refusals: Refusals,
    /// Whom `allow_from = "github"` lets in.
    pub published: Published,
    /// By which name it is called.
    pub public_url: PublicUrl,
    /// The same as the counters, by source.
    pub meters: Arc<Meters>,
}

impl Counters {
    /// The present numbers.
    pub fn read(&self) -> Counts {
        Counts {
            stored: self.stored.load(Ordering::Relaxed),
            duplicate: self.duplicate.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            limited: self.limited.load(Ordering::Relaxed),
            unavailable: self.unavailable.load(Ordering::Relaxed),
        }
    }
}

impl Door {
    /// A door for these sources. `stored` is woken for each new delivery.
    pub fn new(
        settings: &config::Door,
        sources: Sources,
        store: Store,
        clock: Arc<dyn Clock>,
        stored: Wake,
        told: Told,
    ) -> Door {
        Door {
            sources,
            trusted_proxies: settings.trusted_proxies.clone(),
            request_deadline: settings.request_deadline,
            health: Health::new(store.clone()),
            store,
            clock,
            stored,
            counters: told.counters,
            meters: told.meters,
            failures: Failures::default(),
            refusals: told.refusals,
            published: told.published,
            public_url: told.public_url,
            guessing: Mutex::default(),
            lines: Crowd::new(REFUSALS_TOLD),
            overflow: Crowd::new(OVERFLOW_TOLD),
            trouble: Crowd::new(TROUBLE_TOLD),
        }
    }
}

impl Service for Door {
    type Admitted = Route;

    fn admit(&self, head: &Head, peer: &Peer) -> Result<Admitted<Route>, Response> {
        match self.route(head, peer) {
            Ok(route) => {
                let body_bytes_max = matches!(route, Route::Own { .. }).then_some(canary::BODY_BYTES_MAX);
                Ok(Admitted { value: route, body_bytes_max })
            }
            Err(refused) => Err(self.refuse(refused, self.client(head, peer), peer)),
        }
    }

    fn handle(&self, request: Request<Route>) -> Response {
        match request.admitted {
            Route::Health => self.health.answer(),
            Route::Webhook { .. } => self.webhook(request),
            Route::Own { client } => self.own(&request, client),
        }
    }

    fn refused(&self, head: Option<&Head>, peer: &Peer, refusal: &Refusal) {
        // Behind a tunnel the socket's peer is the tunnel; the head tells whom it speaks for.
        let client = || head.map_or_else(|| admit::address_of(peer), |head| self.client(head, peer));
        let name = || admit::name_of(client(), peer);
        if refusal.status == 503 {
            self.counters.unavailable.fetch_add(1, Ordering::Relaxed);
            self.meters.answered("", UNAVAILABLE, None);
            if let Some(before) = self.overflow.count(Instant::now()) {
                log::warn!("refused status=503 peer={} requests={} why=\"{}\"", name(), before + 1, refusal.reason);
            }
            return;
        }
        self.counters.refused.fetch_add(1, Ordering::Relaxed);
        self.meters.answered("", REFUSED, None);
        self.refusals.count("", client(), refusal.status, refusal.reason);
        if let Some(before) = may_tell(&self.lines) {
            log::info!("refused status={} peer={} why=\"{}\"{before}", refusal.status, name(), refusal.reason);
        }
    }
}

impl Door {
    /// Answers ourselves. Nothing is stored, and nobody behind the door is told.
    fn own(&self, request: &Request<Route>, client: Option<IpAddr>) -> Response {
        match canary::answer(self.store.own_key(), &request.body, self.clock.wall()) {
            Ok(said) => Response::json(200, &said),
            Err((status, why)) => self.refuse(Refused::own(status, why), client, &request.peer),
        }
    }

    /// Counts and logs a refusal, and gives its answer: 429 in place of 401 to who fails too often.
    fn refuse(&self, refused: Refused, client: Option<IpAddr>, peer: &Peer) -> Response {
        let Refused { status, level, ref source, ref said, ref why, .. } = refused;
        let peer = admit::name_of(client, peer);
        if status == 503 {
            self.counters.unavailable.fetch_add(1, Ordering::Relaxed);
            self.meters.answered(source, UNAVAILABLE, None);
            if let Some(before) = self.overflow.count(Instant::now()) {
                log::warn!("refused status=503 peer={peer} {said} requests={} why=\"{why}\"", before + 1);
            }
            return refused.response().retry_after(RETRY_AFTER);
        }
        self.counters.refused.fetch_add(1, Ordering::Relaxed);
        let verdict = match status {
            401 => self.failures.count(client, Instant::now()),
            _ => Verdict::Tolerated,
        };
        let limited = matches!(verdict, Verdict::TooOften { .. });
        self.meters.answered(source, if limited { LIMITED } else { REFUSED }, None);
        self.refusals.count(source, client, if limited { 429 } else { status }, why);
        if let Verdict::TooOften { retry_after, tell } = verdict {
            self.counters.limited.fetch_add(1, Ordering::Relaxed);
            if let Some(requests) = tell {
                log::warn!(
                    "refused status=429 peer={peer} {said} requests={requests} why=\"fails too often; at last: {why}\""
                );
            }
            return Response::error(429, "too many requests that are not authenticated").retry_after(retry_after);
        }
        if let Some(before) = may_tell(&self.lines) {
            log::log!(level, "refused status={status} peer={peer} {said} why=\"{why}\"{before}");
        }
        refused.response()
    }
}

/// Whether a line of this kind may be written now; what it has to say about those before that were not.
fn may_tell(crowd: &Crowd) -> Option<String> {
    let before = crowd.count(Instant::now())?;
    Some(if before == 0 { String::new() } else { format!(" untold={before}") })
}
