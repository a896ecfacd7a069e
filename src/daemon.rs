//! The composition root: builds everything, owns every thread, stops them in order. Refuses to do any work itself.
//!
//! Start: store → board → player → senders → router → door → READY; stop in the opposite order, the bell ends dark.
//! Nothing outside has to be up: a dead Slack or a missing LED never stops the door.

mod address;
mod control;
mod damage;
mod panel;
mod recovery;
mod sinks;
mod tunnel;

use std::{
    collections::BTreeMap,
    fmt,
    io::{self, PipeWriter},
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, mpsc},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::Signals,
};

pub use self::address::loopback_address;
use self::address::{address_text, is_same};
use crate::{
    bell::{self, Bell, Latches, Presses, Ring},
    config::{self, Listen, Retry, Settings},
    door::{Counters, Door, PublicUrl, Publisher, Sources, Told},
    event::Severity,
    http::{Client, Limits, Listener, Running, Server},
    meters::Meters,
    panel::Live,
    store::{self, Portion, Role, RoleLock, Store, StoreError, StoreThreads, WaitsMax},
    systemd,
    threads::{self, Stop, Wake},
    time::{Clock, SystemClock},
    tunnel::quick::Quick,
    work::{self, Lane, LaneParts, Pulse, Router, Sender, Upkeep, control::ControlStop, watch::Findings},
};

/// Which roles this process has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Roles {
    /// Both: the normal way on a Pi.
    All,
    /// The door alone.
    Receive,
    /// Everything behind the door.
    Work,
}

/// Stopping takes this long at most, so that the exit comes within 10 s.
const STOP_WITHIN: Duration = Duration::from_secs(6);
/// What is queued for the disk gets at least this much of it.
const LAST_WRITES_WITHIN: Duration = Duration::from_secs(1);
/// Of which requests in progress get this much.
const DOOR_STOP_WITHIN: Duration = Duration::from_secs(4);
/// Whoever looks at the panel can look again.
const PANEL_STOP_WITHIN: Duration = Duration::from_millis(500);
/// Of the watchdog's interval: two words may come late before it bites.
const WATCHDOG_SHARE: u32 = 3;
/// The cue for a sink that is left alone because it keeps failing.
const SINK_DOWN: &str = "sink_down";
/// Why the daemon could not start.
#[derive(Debug)]
pub enum StartError {
    /// The database.
    Store(StoreError),
    /// The public listener.
    Listen(io::Error),
    /// A thread.
    Thread(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Store(error) => error.fmt(f),
            StartError::Listen(error) => error.fmt(f),
            StartError::Thread(error) => write!(f, "cannot start a thread: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

/// Why the daemon is to stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// SIGTERM, SIGINT, or SIGHUP of a terminal that was closed.
    Signal(i32),
    /// A thread that should have lived on has ended.
    Thread(String),
    /// The database is marked as damaged: whoever starts next sets it aside.
    Damaged,
    /// Whoever holds [`Daemon::ender`] has had enough.
    Asked,
}

impl Ending {
    /// Whether it is a good one.
    ///
    /// # Errors
    /// What has happened, in words.
    pub fn judged(self) -> Result<(), String> {
        match self {
            Ending::Signal(_) | Ending::Asked => Ok(()),
            Ending::Damaged => Err("the database is damaged: the next start sets it aside".to_owned()),
            Ending::Thread(name) => Err(format!("the thread {name} has ended unexpectedly")),
        }
    }
}

/// Everything that runs.
pub struct Daemon {
    threads: Vec<(String, JoinHandle<()>)>,
    stop: Stop,
    wakes: Vec<Wake>,
    door: Option<Running>,
    door_address: Option<Listen>,
    control: Option<ControlStop>,
    panel: Option<(Running, Live)>,
    panel_address: Option<Listen>,
    meters: Arc<Meters>,
    /// Where this process has the door.
    sources: Option<Sources>,
    bell: Option<Bell>,
    public_url: PublicUrl,
    /// Dropped, it ends the quick tunnel.
    quick: Option<PipeWriter>,
    store: Store,
    store_threads: StoreThreads,
    is_worker: bool,
    endings: mpsc::Receiver<Ending>,
    ended: mpsc::Sender<Ending>,
    signals: (signal_hook::iterator::Handle, JoinHandle<()>),
    _locks: Vec<RoleLock>,
}

impl Daemon {
    /// Starts the roles. When this returns, the door is open and the service manager knows.
    ///
    /// `passed` are sockets that somebody else has bound for the door; it serves them beside its own.
    ///
    /// # Errors
    /// When something that must be ours is not to be had: the database, the address, a thread.
    pub fn start(settings: &Settings, roles: Roles, passed: Vec<systemd::Passed>) -> Result<Daemon, StartError> {
        let (ended, endings) = mpsc::channel();
        // Before anybody can know that we are there: a signal that comes early must find somebody.
        let signals = catch_signals(ended.clone()).map_err(StartError::Thread)?;
        let path = &settings.store.path;
        let mut locks = Vec::new();
        for (role, is_ours) in [(Role::Receive, roles != Roles::Work), (Role::Work, roles != Roles::Receive)] {
            if is_ours {
                locks.push(RoleLock::take(path, role).map_err(StartError::Store)?);
            }
        }
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let (store, store_threads) = damage::open(settings, roles, &clock).map_err(StartError::Store)?;
        let (tell, database) = (ended.clone(), path.clone());
        store_threads.when_ended(move || {
            let ending = match store::is_marked(&database) {
                true => Ending::Damaged,
                false => Ending::Thread("writer".to_owned()),
            };
            // Nobody listens any more once the daemon itself is stopping.
            let _ = tell.send(ending);
        });
        let mut daemon = Daemon {
            threads: Vec::new(),
            stop: Stop::new(),
            wakes: Vec::new(),
            door: None,
            door_address: None,
            control: None,
            panel: None,
            panel_address: None,
            meters: Arc::default(),
            sources: (roles != Roles::Work).then(|| sources_with_doors(settings)),
            bell: None,
            public_url: PublicUrl::default(),
            quick: None,
            store,
            store_threads,
            is_worker: roles != Roles::Receive,
            endings,
            ended,
            signals,
            _locks: locks,
        };
        let started = daemon.start_roles(settings, roles, clock, passed);
        match started {
            Ok(()) => {
                systemd::notify(systemd::State::Ready);
                Ok(daemon)
            }
            Err(error) => {
                daemon.stop();
                Err(error)
            }
        }
    }

    fn start_roles(
        &mut self,
        settings: &Settings,
        roles: Roles,
        clock: Arc<dyn Clock>,
        passed: Vec<systemd::Passed>,
    ) -> Result<(), StartError> {
        let told = Told { public_url: self.public_url.clone(), meters: self.meters.clone(), ..Told::default() };
        let stored = match roles {
            Roles::Receive => {
                self.start_door_control(settings);
                self.start_teller(settings)?
            }
            Roles::All => self.start_work(settings, Some(told.counters.clone()), &clock)?,
            Roles::Work => self.start_work(settings, None, &clock)?,
        };
        if let Some(sources) = self.sources.clone() {
            self.start_beside_the_door(settings, &told, clock.clone())?;
            let door = Door::new(&settings.door, sources, self.store.clone(), clock, stored, told);
            self.open_door(&settings.door, door, passed)?;
        }
        self.start_watchdog()
    }

    /// Tells the service manager that nobody is stuck, for as long as that is so. A commit that hangs is not: it shows as
    /// stalled storage, and a restart would not mend the disk.
    fn start_watchdog(&mut self) -> Result<(), StartError> {
        let Some(interval) = systemd::watchdog() else { return Ok(()) };
        let (wake, stop) = (self.new_wake(), self.stop.clone());
        self.spawn("watchdog", move || {
            while !stop.is_told() {
                let stuck = threads::stuck(Instant::now());
                match stuck.is_empty() {
                    true => systemd::notify(systemd::State::Alive),
                    false => {
                        let names: Vec<String> =
                            stuck.iter().map(|(name, busy)| format!("{name} ({} s)", busy.as_secs())).collect();
                        log::error!("stuck: {}; the service manager is about to restart us", names.join(", "));
                    }
                }
                wake.wait(interval / WATCHDOG_SHARE);
            }
        })
    }

    /// What the door relies on and does not wait for.
    fn start_beside_the_door(
        &mut self,
        settings: &Settings,
        told: &Told,
        clock: Arc<dyn Clock>,
    ) -> Result<(), StartError> {
        let (refusals, store, stop, rest) =
            (told.refusals.clone(), self.store.clone(), self.stop.clone(), self.new_wake());
        self.wakes.push(refusals.wake());
        self.spawn("refusals", move || refusals.run(&store, &stop, &rest))?;
        if settings.sources.values().any(|source| source.allow_from.published) {
            let publisher = Publisher {
                published: told.published.clone(),
                store: self.store.clone(),
                client: Client::new(),
                api: settings.github.api.clone(),
                clock,
                wake: self.new_wake(),
                stop: self.stop.clone(),
            };
            publisher.load();
            self.spawn("github-addresses", move || publisher.run())?;
        }
        Ok(())
    }

    /// Starts everything behind the door, and returns what wakes it.
    fn start_work(
        &mut self,
        settings: &Settings,
        counters: Option<Arc<Counters>>,
        clock: &Arc<dyn Clock>,
    ) -> Result<Wake, StartError> {
        let after_crash = self.store.begin_work(longest_waits(settings)).map_err(StartError::Store)?;
        self.tell_of_orphans(settings);
        let bell = self.start_bell(settings, clock)?;
        let client = Client::new();
        let findings = Findings::default();
        let tunnel = self.start_tunnel_watchers(settings, (&bell, &client, clock), &findings.wake())?;
        let (vitals_wake, mut lanes) = (self.new_wake(), Vec::new());
        let parts = sinks::Parts { store: self.store.clone(), bell: bell.clone(), client, clock: clock.clone() };
        let mut senders = BTreeMap::new();
        for (name, sink) in &settings.sinks {
            let wakes: Vec<Wake> = (0..sink.concurrency).map(|_| self.new_wake()).collect();
            senders.insert(name.clone(), wakes.clone());
            let (desk, vitals, health) = (bell.clone(), vitals_wake.clone(), findings.wake());
            let lane = Lane::new(LaneParts {
                meters: self.meters.clone(),
                name: name.clone(),
                retry: sink.retry,
                portion: Portion {
                    // Where several can work, none keeps from the others what it will not come to soon.
                    count: if sink.concurrency > 1 { 1 } else { work::BATCH },
                    bundle_over: sink.backlog_digest_at,
                    by_subject: sink.kind.converses(),
                    is_probe: false,
                },
                store: self.store.clone(),
                wakes,
                stop: self.stop.clone(),
                random: random_unit,
                clock: clock.clone(),
                // A full queue has something to say already.
                on_down: Box::new(move || {
                    drop(desk.ring(Ring::now(SINK_DOWN, Severity::Failure)));
                    vitals.wake();
                    health.wake();
                }),
            });
            lanes.push(lane.clone());
            for thread in 0..sink.concurrency {
                let delivering = sinks::build(name, &sink.kind, &parts).map_err(StartError::Store)?;
                let sender = Sender { lane: lane.clone(), thread, sink: delivering };
                let number = if thread == 0 { String::new() } else { format!("-{}", thread + 1) };
                self.spawn(&format!("send-{name}{number}"), move || sender.run())?;
            }
        }
        if bell.settings().status.is_some() {
            let (store, stop) = (self.store.clone(), self.stop.clone());
            let pulse = Pulse { store, lanes, tunnel: tunnel.clone(), bell: bell.clone(), wake: vitals_wake, stop };
            self.spawn("vitals", move || pulse.run())?;
        }
        let router_wake = self.new_wake();
        let wakes: Vec<Wake> = senders.values().flatten().chain([&router_wake]).cloned().collect();
        let router = Router {
            store: self.store.clone(),
            rules: settings.rules.clone(),
            zone: settings.zone.clone(),
            clock: clock.clone(),
            latches: Latches::new(settings.bell.cues.clone(), bells(settings)),
            bell: bell.clone(),
            options: settings
                .sources
                .iter()
                .map(|(name, source)| (name.clone(), source.terms.options.clone()))
                .collect(),
            wake: router_wake.clone(),
            senders,
            stop: self.stop.clone(),
        };
        self.spawn("router", move || router.run())?;
        let (reconciler, reports) = self.start_recovery(settings, clock, &router_wake, &tunnel)?;
        self.start_watch(settings, (&bell, &tunnel, clock), &findings, &router_wake, reports.clone())?;
        let shared = (counters.clone(), findings.clone());
        self.start_panel(settings, (bell.clone(), tunnel.clone(), clock), shared, wakes.clone())?;
        self.start_control(settings, (wakes, reconciler), bell, (counters, findings, reports), tunnel);
        let upkeep = Upkeep {
            store: self.store.clone(),
            settings: settings.store.clone(),
            wake: self.new_wake(),
            stop: self.stop.clone(),
            after_crash,
        };
        self.spawn("upkeep", move || upkeep.run())?;
        Ok(router_wake)
    }

    /// The desk as the last process left it.
    fn start_bell(&mut self, settings: &Settings, clock: &Arc<dyn Clock>) -> Result<Bell, StartError> {
        let keeper: Arc<dyn bell::Keeper> = Arc::new(self.store.clone());
        let parts = bell::Parts { clock: clock.clone(), newest: self.store.newest(), keeper: Some(keeper) };
        let (bell, player) = bell::player::new(settings.bell.clone(), parts);
        let kept = self.store.reader().and_then(|reader| Ok((reader.latches()?, reader.mute()?)));
        match kept {
            Ok((latches, mute)) => {
                bell.show_all(latches);
                bell.restore_mute(mute);
            }
            Err(error) => log::warn!("the desk begins dark: {error}"),
        }
        let ledger = self.store.clone();
        bell.when_shown(move |dispatches, at| ledger.note_shown(dispatches, at));
        let ledger = self.store.clone();
        bell.when_counted(move || waiting(&ledger));
        self.bell = Some(bell.clone());
        self.spawn("player", move || player.run())?;
        match Presses::new(&bell) {
            Ok(Some(presses)) => self.spawn("button", move || presses.run())?,
            Ok(None) => {}
            Err(error) => log::warn!("nobody listens to the button: {error}"),
        }
        Ok(bell)
    }

    /// What is owed to a sink that the configuration no longer has waits until it has it again; that must not be silent.
    fn tell_of_orphans(&self, settings: &Settings) {
        let queues = match self.store.reader().and_then(|reader| reader.queues()) {
            Ok(queues) => queues,
            Err(error) => {
                log::warn!("cannot count what waits: {error}");
                return;
            }
        };
        for queue in queues.iter().filter(|queue| queue.waiting > 0 && !settings.sinks.contains_key(&queue.sink)) {
            log::warn!(
                "nobody delivers to sink={} waiting={}: it is not configured (or its secret is not set)",
                queue.sink,
                queue.waiting
            );
        }
    }

    /// `listen` is served in any case, by our own socket unless one that was passed has that very address.
    fn open_door(
        &mut self,
        settings: &config::Door,
        door: Door,
        passed: Vec<systemd::Passed>,
    ) -> Result<(), StartError> {
        let (mut listeners, mut is_passed) = (Vec::new(), false);
        for passed in passed {
            let listener = Listener::adopt(passed).map_err(StartError::Listen)?;
            let address = listener.local_addr().map_err(StartError::Listen)?;
            log::info!("listening address={} by=systemd", address_text(&address));
            is_passed |= is_same(&address, &settings.listen);
            listeners.push(listener);
        }
        let mut own = settings.listen.clone();
        if !is_passed {
            let listener = Listener::bind(&own).map_err(StartError::Listen)?;
            // A port that was asked for as 0 is another.
            own = listener.local_addr().map_err(StartError::Listen)?;
            log::info!("listening address={}", address_text(&own));
            listeners.push(listener);
        }
        self.door_address = Some(own);
        let server = Server::new(listeners, Limits::from(settings), door);
        self.door = Some(server.start("door").map_err(StartError::Thread)?);
        Ok(())
    }

    fn new_wake(&mut self) -> Wake {
        let wake = Wake::new();
        self.wakes.push(wake.clone());
        wake
    }

    /// Starts a thread whose end, by a panic or not, ends the daemon in good order.
    fn spawn(&mut self, name: &str, body: impl FnOnce() + Send + 'static) -> Result<(), StartError> {
        struct Tell(mpsc::Sender<Ending>, String);
        impl Drop for Tell {
            fn drop(&mut self) {
                // Nobody listens any more once the daemon itself is stopping.
                let _ = self.0.send(Ending::Thread(std::mem::take(&mut self.1)));
            }
        }
        let tell = Tell(self.ended.clone(), name.to_owned());
        let handle = threads::spawn(name, threads::STACK_BYTES, move || {
            let _tell = tell;
            body();
        })
        .map_err(StartError::Thread)?;
        self.threads.push((name.to_owned(), handle));
        Ok(())
    }

    /// Starts a quick tunnel to the door, which must listen on TCP; `metrics` are to be its own. `tell` gets each new URL,
    /// by which the door from then on knows itself.
    ///
    /// # Errors
    /// When there is no thread for it.
    pub fn start_quick_tunnel(
        &mut self,
        program: PathBuf,
        metrics: SocketAddr,
        tell: impl Fn(&str) + Send + 'static,
    ) -> Result<(), StartError> {
        let Some(origin) = self.door_address().and_then(loopback_address) else { return Ok(()) };
        let public_url = self.public_url.clone();
        let tell = Box::new(move |url: &str| {
            public_url.set(url);
            tell(url);
        });
        let ends = (self.new_wake(), self.stop.clone());
        let (quick, halts) = Quick::new(program, (origin, metrics), ends, tell).map_err(StartError::Thread)?;
        self.quick = Some(halts);
        self.spawn("quick-tunnel", move || quick.run())
    }

    /// Where the door listens, the real port included.
    pub fn door_address(&self) -> Option<&Listen> {
        self.door_address.as_ref()
    }

    /// Where the panel is, the real port included.
    pub fn panel_address(&self) -> Option<&Listen> {
        self.panel_address.as_ref()
    }

    /// The desk, where this process has one.
    pub fn bell(&self) -> Option<&Bell> {
        self.bell.as_ref()
    }

    /// Ends [`Daemon::wait`] from another thread.
    pub fn ender(&self) -> mpsc::Sender<Ending> {
        self.ended.clone()
    }

    /// Waits until a signal comes, a thread ends, or somebody asks.
    pub fn wait(&self) -> Ending {
        // The daemon itself holds a sender, so the channel cannot close.
        self.endings.recv().unwrap_or(Ending::Asked)
    }

    /// Stops everything in the opposite order of the start. A thread that does not come in time is left to the process's
    /// end: what it held is given back at the next start.
    pub fn stop(self) {
        let deadline = Instant::now() + STOP_WITHIN;
        systemd::notify(systemd::State::Stopping);
        if let Some(door) = self.door {
            door.stop(DOOR_STOP_WITHIN);
        }
        self.stop.tell();
        if let Some((panel, live)) = self.panel {
            live.close();
            panel.stop(PANEL_STOP_WITHIN);
        }
        drop(self.quick);
        if let Some(control) = &self.control {
            control.stop();
        }
        for wake in &self.wakes {
            wake.wake();
        }
        if let Some(bell) = &self.bell {
            bell.stop();
        }
        let mut late = Vec::new();
        let (mut pending, count) = (self.threads, self.endings);
        while !pending.is_empty() {
            let (finished, unfinished): (Vec<_>, Vec<_>) =
                pending.into_iter().partition(|(_, handle)| handle.is_finished());
            for (name, handle) in finished {
                if handle.join().is_err() {
                    log::error!("the thread {name} has panicked");
                }
            }
            pending = unfinished;
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                late = pending.into_iter().map(|(name, _)| name).collect();
                break;
            }
            // Each thread says so when it ends; the wait is short because it says so just before it has ended.
            let _ = count.recv_timeout(left.min(Duration::from_millis(20)));
        }
        if !late.is_empty() {
            log::warn!("stopping without {}: what they hold is tried again at the next start", late.join(", "));
        }
        if self.is_worker
            && let Err(error) = self.store.end_work()
        {
            log::warn!("cannot note the clean stop: {error}");
        }
        let (handle, listening) = self.signals;
        handle.close();
        if listening.join().is_err() {
            log::error!("the signal thread has panicked");
        }
        self.store_threads.stop(deadline.saturating_duration_since(Instant::now()).max(LAST_WRITES_WITHIN));
    }
}

fn catch_signals(ended: mpsc::Sender<Ending>) -> io::Result<(signal_hook::iterator::Handle, JoinHandle<()>)> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP])?;
    let handle = signals.handle();
    let listening = threads::spawn("signals", threads::STACK_BYTES, move || {
        for signal in signals.forever() {
            // Nobody listens any more once the daemon itself is stopping.
            let _ = ended.send(Ending::Signal(signal));
        }
    })?;
    Ok((handle, listening))
}

/// The sources that somebody may call.
fn sources_with_doors(settings: &Settings) -> Sources {
    let sources = settings.sources.iter().filter(|(_, source)| source.has_door());
    Sources::new(sources.map(|(name, source)| (name.clone(), source.clone())).collect())
}

/// The sinks that are the desk.
fn bells(settings: &Settings) -> impl Iterator<Item = String> {
    let is_bell = |(_, sink): &(&String, &config::Sink)| matches!(sink.kind, config::SinkKind::Bell);
    settings.sinks.iter().filter(is_bell).map(|(name, _)| name.clone())
}

/// How many dispatches are still to be delivered.
fn waiting(store: &Store) -> usize {
    let queues = store.reader().and_then(|reader| reader.queues()).unwrap_or_else(|error| {
        log::warn!("cannot count what waits: {error}");
        Vec::new()
    });
    queues.iter().map(|queue| usize::try_from(queue.waiting).unwrap_or(0)).sum()
}

/// The longest wait that any retry can have, its jitter and the destination's own wish included; and any digest.
fn longest_waits(settings: &Settings) -> WaitsMax {
    let longest = |retry: &Retry| retry.cap.mul_f64(1.0 + retry.jitter);
    let retry = settings.sinks.values().map(|sink| longest(&sink.retry)).max().unwrap_or_default();
    let targets = settings.rules.iter().flat_map(|rule| &rule.to);
    let digest = targets.filter_map(|target| target.digest.as_ref()).map(|digest| digest.window).max();
    let retry = retry.max(Duration::from_secs(3600));
    WaitsMax { retry, digest: digest.unwrap_or(retry) }
}

/// From 0 to 1. When the system has no randomness to give, all retries keep step: a cosmetic loss.
fn random_unit() -> f64 {
    getrandom::u32().map_or(0.5, |random| f64::from(random) / f64::from(u32::MAX))
}
