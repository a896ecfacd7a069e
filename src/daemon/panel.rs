//! Starts who looks how all is, and the page for people. Owns what these are made of; refuses to run them.

use std::{sync::Arc, time::Instant};

use super::{Daemon, StartError, address::address_text};
use crate::{
    bell::Bell,
    config::Settings,
    door::Counters,
    http::{Listener, Server},
    panel::{self, Address, Live, Panel},
    recover::Reports,
    threads::Wake,
    time::Clock,
    tunnel::Tunnel,
    work::{
        health,
        watch::{Findings, Watch},
    },
};

impl Daemon {
    /// Looks how all is, and tells of what is not well.
    pub(super) fn start_watch(
        &mut self,
        settings: &Settings,
        (bell, tunnel, clock): (&Bell, &Tunnel, &Arc<dyn Clock>),
        findings: &Findings,
        router: &Wake,
        reports: Reports,
    ) -> Result<(), StartError> {
        self.wakes.push(findings.wake());
        let watch = Watch {
            store: self.store.clone(),
            terms: health::Terms::of(settings),
            tunnel: tunnel.clone(),
            bell: bell.clone(),
            clock: clock.clone(),
            findings: findings.clone(),
            router: router.clone(),
            reconciled: Box::new(move || reports.all()),
            started: Instant::now(),
            stop: self.stop.clone(),
        };
        self.spawn("health", move || watch.run())
    }

    /// The page for people is a convenience, too: where its address is not to be had, everything else works on.
    pub(super) fn start_panel(
        &mut self,
        settings: &Settings,
        (bell, tunnel, clock): (Bell, Tunnel, &Arc<dyn Clock>),
        (counters, findings): (Option<Arc<Counters>>, Findings),
        wakes: Vec<Wake>,
    ) -> Result<(), StartError> {
        let Some(listen) = &settings.panel.listen else { return Ok(()) };
        let bound = Listener::bind(listen).and_then(|listener| Ok((listener.local_addr()?, listener)));
        let (address, listener) = match bound {
            Ok(bound) => bound,
            Err(error) => {
                log::warn!("no panel at {}: {error}; `listen` in [panel] says another address", address_text(listen));
                return Ok(());
            }
        };
        let changed = self.new_wake();
        let live = Live::new(panel::process_name(), changed.clone());
        let edges = bell.watch();
        let parts = panel::Parts {
            settings: settings.clone(),
            store: self.store.clone(),
            findings: findings.clone(),
            bell: bell.clone(),
            tunnel,
            meters: self.meters.clone(),
            counters,
            sources: self.sources.clone(),
            public_url: self.public_url.clone(),
            clock: clock.clone(),
            wakes,
            started: Instant::now(),
            stop: self.stop.clone(),
            examine: self.new_wake(),
        };
        let watch = panel::Watch {
            store: self.store.clone(),
            bell,
            findings,
            live: live.clone(),
            wake: changed.clone(),
            stop: self.stop.clone(),
            rest: self.new_wake(),
        };
        self.spawn("panel-watch", move || watch.run())?;
        let told = live.clone();
        self.spawn("panel-edges", move || panel::edges(&edges, &told, &changed))?;
        let panel = Panel::new(&settings.panel, parts, live.clone(), &panel::hostname());
        let examine = panel.examiner();
        self.spawn("doctor", examine)?;
        let server = Server::new(vec![listener], Panel::limits(), panel);
        let running = server.start("panel").map_err(StartError::Thread)?;
        match Address::of(&address) {
            Some(found) => {
                let by_name = found.by_name.as_ref().map(|name| format!(" name={name}")).unwrap_or_default();
                log::info!("panel address={}{by_name}", found.url);
            }
            None => log::info!("panel address={}", address_text(&address)),
        }
        self.panel = Some((running, live));
        self.panel_address = Some(address);
        Ok(())
    }
}
