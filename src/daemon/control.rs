//! How this process is reached by others of the same user, and how a door that runs alone reaches the worker. Owns what
//! each control socket answers from; refuses to know the protocol.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{Daemon, Ending, StartError};
use crate::{
    bell::Bell,
    config::Settings,
    door::Counters,
    panel::Address,
    recover::Reports,
    store::{self, Store},
    threads::Wake,
    tunnel::Tunnel,
    work::{
        self,
        control::{self, Control, Request, Serve, Worker},
        watch::Findings,
    },
};

/// A worker that was not told of a delivery looks for itself; telling it again this soon is enough.
const TELL_AGAIN: Duration = Duration::from_secs(30);
/// Before the worker is told again when none was there: asking at each delivery would cost the door more than storing it.
const NOBODY_LISTENS: Duration = Duration::from_secs(1);

impl Daemon {
    /// The worker's socket.
    pub(super) fn start_control(
        &mut self,
        settings: &Settings,
        (wakes, reconciler): (Vec<Wake>, Option<Wake>),
        bell: Bell,
        (counters, findings, reports): (Option<Arc<Counters>>, Findings, Reports),
        tunnel: Tunnel,
    ) {
        let started = Instant::now();
        let (store, state) = (self.store.clone(), bell.clone());
        let panel = self.panel_address.as_ref().and_then(Address::of).map(|address| address.url);
        let status = Box::new(move || {
            let mut status = status(started, &store, &state, counters.as_deref(), &tunnel);
            status["health"] = work::watch::json(&findings.latest());
            status["panel"] = json!(panel);
            status["reconciled"] = json!(reports.all());
            status
        });
        let secrets: Option<control::Secrets> = match self.sources.clone() {
            Some(sources) => Some(Box::new(move |source, accept| sources.asked(source, accept))),
            None => None,
        };
        let worker = Worker { wakes, reconciler, bell, status, secrets };
        let path = control::socket_path(&settings.store.path);
        self.listen_for_control(
            path,
            Box::new(move |request| worker.serve(request)),
            "`hookbell bell` and `hookbell receive` cannot reach this process",
        );
    }

    /// In the split form: the door's own.
    pub(super) fn start_door_control(&mut self, settings: &Settings) {
        let Some(sources) = self.sources.clone() else { return };
        let serve = move |request| match request {
            Request::Secrets { source, accept } => sources.asked(&source, accept),
            _ => json!({ "error": "this process is the door alone: ask `hookbell work`, which does everything else" }),
        };
        let path = control::door_socket_path(&settings.store.path);
        self.listen_for_control(path, Box::new(serve), "credentials cannot change while this process runs");
    }

    /// A control socket is a convenience: without it everything works on, and it says so.
    fn listen_for_control(&mut self, path: PathBuf, serve: Serve, lost: &str) {
        let (ended, database) = (self.ended.clone(), self.store.path().to_owned());
        let serve = Box::new(move |request| {
            // Nobody is ended by a word alone: the mark stands in the database's own folder.
            if request == Request::MakeWay && store::is_marked(&database) {
                // Nobody listens any more once the daemon itself is stopping.
                let _ = ended.send(Ending::Damaged);
            }
            serve(request)
        });
        match Control::bind(path.clone(), serve) {
            Ok((control, control_stop)) => match self.spawn("control", move || control.run()) {
                Ok(()) => self.control = Some(control_stop),
                Err(error) => log::warn!("no control socket: {error}"),
            },
            Err(error) => log::warn!("no control socket at {}: {error}; {lost}", path.display()),
        }
    }

    /// In the split form: tells the worker that there is something to route, beside the door's threads.
    pub(super) fn start_teller(&mut self, settings: &Settings) -> Result<Wake, StartError> {
        let wake = self.new_wake();
        let (told, rest, stop, path) = (wake.clone(), self.new_wake(), self.stop.clone(), settings.store.path.clone());
        self.spawn("tell-worker", move || {
            while !stop.is_told() {
                if !told.wait(TELL_AGAIN) {
                    continue;
                }
                match control::ask(&path, &Request::Wake) {
                    Ok(Some(_)) => continue,
                    // A worker that starts looks for itself.
                    Ok(None) => {}
                    Err(error) => log::debug!("cannot tell the worker, it will look for itself: {error}"),
                }
                rest.wait(NOBODY_LISTENS);
            }
        })?;
        Ok(wake)
    }
}

/// `counters` are those of this process's own door, where it has one.
fn status(started: Instant, store: &Store, bell: &Bell, counters: Option<&Counters>, tunnel: &Tunnel) -> Value {
    let unsettled = store.unsettled();
    json!({
        "version": crate::VERSION,
        "pid": std::process::id(),
        "uptime_s": started.elapsed().as_secs(),
        "storage": store.trouble(),
        "commits": store.commits(),
        "unsettled": {
            "written_bytes": unsettled.written_bytes,
            "deliveries": unsettled.deliveries,
            "payload_bytes": unsettled.payload_bytes,
        },
        "door": counters.map(Counters::read),
        "bell": bell.state(),
        "tunnel": tunnel.report(),
    })
}
