//! The one who asks providers for what did not reach us, put together. Owns what it is given.

use std::sync::Arc;

use super::{Daemon, StartError};
use crate::{
    config::Settings,
    recover::{self, Recovery, Reports},
    threads::Wake,
    time::Clock,
    tunnel::Tunnel,
};

impl Daemon {
    /// Asks providers for what did not reach us. Returns what makes it ask at once, where anything is asked.
    pub(super) fn start_recovery(
        &mut self,
        settings: &Settings,
        clock: &Arc<dyn Clock>,
        router: &Wake,
        tunnel: &Tunnel,
    ) -> Result<(Option<Wake>, Reports), StartError> {
        let reports = Reports::default();
        let (configured, quick) = (settings.door.public_url.clone(), self.public_url.clone());
        let wake = Wake::new();
        let parts = recover::Parts {
            store: self.store.clone(),
            clock: clock.clone(),
            router: router.clone(),
            wake: wake.clone(),
            stop: self.stop.clone(),
            reports: reports.clone(),
            public_url: Box::new(move || configured.clone().or_else(|| quick.get())),
        };
        let Some(recovery) = Recovery::new(settings, parts) else { return Ok((None, reports)) };
        self.wakes.push(wake.clone());
        // What was sent meanwhile is asked for at once.
        tunnel.when_back(wake.clone());
        self.spawn("recover", move || recovery.run())?;
        Ok((Some(wake), reports))
    }
}
