//! Starts who watches the tunnel. Owns what the canary asks, and which answer means what; refuses to know when it flies, and
//! when the tunnel counts as down.

use std::sync::Arc;

use super::{Daemon, StartError};
use crate::{
    bell::{Bell, Ring},
    config::{Listen, Settings},
    door::{
        PublicUrl,
        canary::{self, Obstacle},
    },
    event::Severity,
    http::Client,
    store::{Role, RoleLock, Store},
    threads::Wake,
    time::Clock,
    tunnel::{
        Tunnel, Watcher,
        canary::{Canary, Flight},
    },
};

/// The cue for a tunnel that is not connected.
const TUNNEL_DOWN: &str = "tunnel_down";

impl Daemon {
    /// Of the two there may be none, either or both. `health` is woken at each end of an outage.
    pub(super) fn start_tunnel_watchers(
        &mut self,
        settings: &Settings,
        (bell, client, clock): (&Bell, &Client, &Arc<dyn Clock>),
        health: &Wake,
    ) -> Result<Tunnel, StartError> {
        let tunnel = Tunnel::default();
        tunnel.when_back(health.clone());
        let on_down = || -> Box<dyn Fn() + Send> {
            let (desk, health) = (bell.clone(), health.clone());
            Box::new(move || {
                // A full queue has something to say already.
                drop(desk.ring(Ring::now(TUNNEL_DOWN, Severity::Failure)));
                health.wake();
            })
        };
        if let Some(metrics) = settings.tunnel.metrics {
            let ends = (self.new_wake(), self.stop.clone());
            let watcher = Watcher::new(metrics, tunnel.clone(), ends, on_down());
            self.spawn("tunnel", move || watcher.run())?;
        }
        if let Some(canary) = &settings.tunnel.canary {
            let asker = Asker {
                client: client.clone(),
                store: self.store.clone(),
                clock: clock.clone(),
                configured: canary.public_url.clone(),
                quick: self.public_url.clone(),
                listen: settings.door.listen.clone(),
            };
            let ends = (self.new_wake(), self.stop.clone());
            let canary = Canary::new(canary.every, Box::new(move || asker.ask()), tunnel.clone(), ends, on_down());
            self.spawn("canary", move || canary.run())?;
        }
        Ok(tunnel)
    }
}

/// Asks the public URL whether we are there.
struct Asker {
    client: Client,
    store: Store,
    clock: Arc<dyn Clock>,
    /// `None`: the quick tunnel's.
    configured: Option<String>,
    quick: PublicUrl,
    listen: Listen,
}

impl Asker {
    fn ask(&self) -> Flight {
        let Some(url) = self.configured.clone().or_else(|| self.quick.get()) else { return Flight::Unknown };
        let mut nonce = [0; 16];
        if let Err(error) = getrandom::fill(&mut nonce) {
            log::warn!("canary: not sent: the system has no randomness to give: {error}");
            return Flight::Unknown;
        }
        let found = canary::ask(&self.client, &url, self.store.own_key(), nonce, self.clock.wall());
        // In the split form the door is another process.
        let is_open = || RoleLock::holder(self.store.path(), Role::Receive).is_some();
        match found.way(&self.listen, is_open) {
            Ok(took) => Flight::Back(took),
            Err(Obstacle { what, .. }) if found.is_busy() => {
                log::info!("canary: {url}: {what}");
                Flight::Unknown
            }
            Err(Obstacle { what, remedy }) => {
                Flight::Missing { why: format!("{url} does not lead here: {what}"), remedy }
            }
        }
    }
}
