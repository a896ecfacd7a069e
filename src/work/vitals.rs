//! How hookbell is, for the status LED. Owns looking again and again; what is wrong, others know.

use std::{sync::Arc, time::Duration};

use super::lane::Lane;
use crate::{
    bell::{Bell, Vitals},
    store::Store,
    threads::{Stop, Wake},
    tunnel::Tunnel,
};

/// A light that is this old is a lie.
const EVERY: Duration = Duration::from_secs(5);

/// Tells the desk. [`Pulse::run`] is the thread; without a status LED there is none.
pub struct Pulse {
    /// The database.
    pub store: Store,
    /// Every sink's.
    pub lanes: Vec<Arc<Lane>>,
    /// How the tunnel is.
    pub tunnel: Tunnel,
    /// The desk.
    pub bell: Bell,
    /// Woken when something has changed.
    pub wake: Wake,
    /// Told when to end.
    pub stop: Stop,
}

impl Pulse {
    /// Works until told to stop.
    pub fn run(self) {
        while !self.stop.is_told() {
            self.bell.feel(Vitals {
                storage_fails: self.store.trouble().is_some(),
                sink_down: self.lanes.iter().any(|lane| lane.is_down()),
                tunnel_down: self.tunnel.is_down(),
            });
            self.wake.wait(EVERY);
        }
    }
}
