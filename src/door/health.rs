//! `GET /health`: whether a delivery that came now would be kept, and nothing more.

use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::{http::Response, store::Store, threads::lock};

/// An answer holds this long, so that asking cannot become work for the disk.
const HOLDS: Duration = Duration::from_secs(1);

pub(super) struct Health {
    store: Store,
    last: Mutex<Option<(Instant, bool)>>,
}

impl Health {
    pub(super) fn new(store: Store) -> Health {
        Health { store, last: Mutex::default() }
    }

    pub(super) fn answer(&self) -> Response {
        match self.is_healthy() {
            true => Response::json(200, &json!({ "status": "healthy" })),
            false => Response::json(503, &json!({ "status": "unhealthy" })).retry_after(Duration::from_secs(10)),
        }
    }

    fn is_healthy(&self) -> bool {
        // Held while asking: all who ask at once share one question, however many they are.
        let mut last = lock(&self.last);
        if let Some((asked, is_healthy)) = *last
            && asked.elapsed() < HOLDS
        {
            return is_healthy;
        }
        let is_healthy = self.store.trouble().is_none();
        *last = Some((Instant::now(), is_healthy));
        is_healthy
    }
}
