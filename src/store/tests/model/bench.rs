//! A store on a real file beside its model. Takes one step at a time and looks at both after it.
//!
//! A kill leaves the database file and all of its log; a power cut leaves the file and that much of the log as was synced,
//! and perhaps some of the rest. So after each commit is noted how long the log is, and what the model held then: what is
//! there after a cut must be what one of these held, the last whose part of the log is whole. Whether `fsync` is really
//! called is not seen here; what is, is which steps may be lost.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
    sync::Mutex,
};

use super::{
    super::*,
    Name, Want,
    shown::{differences, is_settled},
    state::{self, Answer, Arriving, DIGEST_WAIT_MS, Fetched, Goal, Model, Moment, Plan, Planned, RETRY_WAIT_MS},
    steps::{Kind, Outcome, SINKS, SOURCES, Set, Shape, Step, Tail, Told, Way},
};
use crate::{
    provider::Origin,
    rule::{Digest, Order},
    time::Clock,
};

const PATIENT: Duration = Duration::from_secs(60);
const MINUTE: Duration = Duration::from_secs(60);

/// A clock of which also the boots are told apart.
struct Clocks(Mutex<Now>);

#[derive(Clone)]
struct Now {
    wall: Timestamp,
    since_boot: Duration,
    boot: u32,
    /// What the wall clock would show if nobody had set it.
    truth: Timestamp,
}

impl Clocks {
    fn now(&self) -> Now {
        self.0.lock().unwrap().clone()
    }

    fn moment(&self) -> Moment {
        let since_boot = i64::try_from(self.since_boot().as_millis()).unwrap();
        Moment { wall: self.wall().ms(), since_boot, boot_id: self.boot_id() }
    }

    fn pass(&self, by: Duration) {
        let mut now = self.0.lock().unwrap();
        (now.wall, now.truth) = (now.wall.plus(by), now.truth.plus(by));
        now.since_boot += by;
    }

    fn set(&self, to: Set) {
        let mut now = self.0.lock().unwrap();
        now.wall = match to {
            Set::Beside { seconds } => Timestamp::from_ms(now.truth.ms() + seconds * 1000),
            Set::Of1970 => Timestamp::from_ms(i64::try_from(now.since_boot.as_millis()).unwrap()),
        };
    }

    fn boot(&self) {
        let mut now = self.0.lock().unwrap();
        (now.boot, now.since_boot) = (now.boot + 1, MINUTE);
    }
}

impl Clock for Clocks {
    fn wall(&self) -> Timestamp {
        self.now().wall
    }

    fn since_boot(&self) -> Duration {
        self.now().since_boot
    }

    fn boot_id(&self) -> String {
        format!("boot {}", self.now().boot)
    }
}

/// The end of a commit in the log, and what the model has held since the one before, the last of it at this end.
struct Commit {
    log_bytes: usize,
    states: Vec<Model>,
}

/// A claim that a sender holds, with its name.
type Held = (Claim, Name);

pub(super) struct Bench {
    _directory: tempfile::TempDir,
    path: PathBuf,
    opened: u32,
    clocks: Arc<Clocks>,
    open: Option<(Store, StoreThreads, Reader)>,
    model: Model,
    /// From the last that was synced.
    commits: Vec<Commit>,
    /// What the router holds, and the number of the claim.
    routables: Vec<(Routable, u32)>,
    claims: Vec<Held>,
    /// Settled, or taken away from who held it.
    past: Vec<(outbox::Held, Name)>,
    events: u32,
    /// Who was answered that it is stored.
    answered: BTreeSet<i64>,
    /// How often an event was told: by delivery, replay, position, sink and channel.
    told: BTreeMap<(i64, u32, usize, &'static str, Option<&'static str>), u32>,
    cuts: u32,
}

impl Bench {
    pub(super) fn new() -> Bench {
        // Syncing is what would take the time, and a cut is our own doing here: where there is memory for files, it holds them.
        let memory = PathBuf::from("/dev/shm");
        let memory = memory.is_dir().then(|| tempfile::tempdir_in(memory).ok()).flatten();
        let directory = memory.unwrap_or_else(|| tempfile::tempdir().unwrap());
        let path = directory.path().join("hookbell.db");
        let wall = Timestamp::from_ms(NEW_YEAR_MS + 40 * 86_400_000);
        let clocks = Arc::new(Clocks(Mutex::new(Now { wall, since_boot: MINUTE, boot: 1, truth: wall })));
        let model = Model::new(&clocks.moment());
        let mut bench = Bench {
            _directory: directory,
            path,
            opened: 0,
            clocks,
            open: None,
            model,
            commits: Vec::new(),
            routables: Vec::new(),
            claims: Vec::new(),
            past: Vec::new(),
            events: 0,
            answered: BTreeSet::new(),
            told: BTreeMap::new(),
            cuts: 0,
        };
        bench.open();
        bench
    }

    fn open(&mut self) {
        let (store, threads) = Store::open(&self.path, 0, self.clocks.clone()).unwrap();
        let reader = store.reader().unwrap();
        self.open = Some((store, threads, reader));
        self.model.open(&self.clocks.moment());
        // Opening is a synced commit, and all of the log is moved into the file.
        self.commits = vec![Commit { log_bytes: 0, states: vec![self.model.clone()] }];
    }

    fn store(&self) -> &Store {
        &self.open.as_ref().unwrap().0
    }

    /// Ends the process. What its threads held is held by nobody any more.
    fn close(&mut self) {
        let (store, threads, reader) = self.open.take().unwrap();
        drop((store, reader));
        threads.stop(PATIENT);
        self.routables.clear();
        self.claims.clear();
        self.past.clear();
    }

    /// What a transaction of this moment is stamped with.
    fn now(&mut self) -> i64 {
        self.model.now(&self.clocks.moment())
    }

    pub(super) fn take(&mut self, step: &Step) {
        let commits = self.store().commits();
        let mut between = Vec::new();
        match step {
            Step::Accept { source, id, body, repeats, window_s } => {
                self.accept(SOURCES[*source], *id, *body, *repeats, *window_s);
            }
            Step::Pull { source, id, body, is_proven, ago_s } => {
                self.pull(SOURCES[*source], *id, *body, *is_proven, *ago_s);
            }
            Step::TakeUp { count } => self.take_up(*count),
            Step::Route { count, decisions } => self.route(*count, decisions),
            Step::Claim { sink, want } => self.claim(SINKS[*sink], *want),
            Step::Settle { from, count, outcomes, took_ms } => self.settle(*from, *count, outcomes, *took_ms),
            Step::SettleAgain { which, outcome } => self.settle_again(*which, outcome),
            Step::Requeue { which } => self.again(which, true),
            Step::Replay { which } => self.again(which, false),
            Step::Begin => self.begin(),
            Step::End { late } => self.end(late),
            Step::Pass { seconds } => self.clocks.pass(Duration::from_secs(*seconds)),
            Step::Set(to) => self.clocks.set(*to),
            Step::Prune { keep_days, is_large } => self.prune(*keep_days, *is_large, &mut between),
            Step::Checkpoint => return self.checkpoint(),
            Step::Kill => return self.kill(),
            Step::Restart => return self.restart(),
            Step::Cut { share, tail, clock } => return self.cut(*share, *tail, *clock),
        }
        let has_written = self.store().commits() != commits;
        let log_bytes = if has_written { self.log_bytes() } else { self.log_end() };
        let is_synced = match step {
            Step::Accept { .. } | Step::Pull { .. } | Step::Requeue { .. } | Step::Replay { .. } => true,
            Step::Begin | Step::End { .. } => true,
            // Losing these repeats an attempt, nothing more.
            _ => false,
        };
        if has_written && is_synced {
            self.commits.clear();
            between.clear();
        }
        between.push(self.model.clone());
        self.commits.push(Commit { log_bytes, states: between });
        self.look();
    }

    /// Everything is settled by whoever comes: nothing that was accepted is left lying, and all is told in its order.
    pub(super) fn finish(mut self) {
        self.restart();
        self.begin();
        for _ in 0..200 {
            self.take(&Step::TakeUp { count: 100 });
            let way = Way { sink: 0, is_elsewhere: false, kind: Kind::BySubject };
            let told = Told { subject: Some(0), own_id: None, to: vec![way] };
            self.take(&Step::Route { count: 100, decisions: vec![Shape::Routed(vec![told])] });
            let want = Want { count: 100, bundle_over: Some(3), by_subject: false, is_probe: false };
            for sink in 0..SINKS.len() {
                self.take(&Step::Claim { sink, want });
            }
            let is_idle = self.claims.is_empty();
            let outcomes = vec![Outcome::Done(None)];
            self.take(&Step::Settle { from: 0, count: 10_000, outcomes, took_ms: 0 });
            if is_idle {
                self.take(&Step::Pass { seconds: 43_200 });
            }
            let is_open = self.model.dispatches.values().any(state::Dispatch::is_open);
            if !is_open && self.model.deliveries.keys().all(|id| is_settled(&self.model, *id)) {
                assert_eq!(self.reader().quick_check().unwrap(), Vec::<String>::new());
                return self.close();
            }
        }
        panic!("something is never done: {:#?}", self.model);
    }

    fn reader(&self) -> &Reader {
        &self.open.as_ref().unwrap().2
    }

    /// The store is what the model says, and holds what somebody was told that it holds.
    fn look(&self) {
        if let Some(differences) = differences(self.reader(), &self.model) {
            panic!("the store and the model differ:{differences}");
        }
        self.look_for_lost();
    }

    fn look_for_lost(&self) {
        for id in &self.answered {
            let is_held = self.model.deliveries.contains_key(id) || self.model.pruned.contains(id);
            assert!(is_held, "delivery {id} was answered and is lost");
        }
    }

    fn accept(&mut self, source: &'static str, id: Option<u8>, body: u8, repeats: usize, window_s: u64) {
        let (id, text) = (id.map(|id| format!("id-{id}")), text(body));
        let repeats = [Repeats::Limit, Repeats::Process, Repeats::Skip][repeats];
        let repeat_window = Duration::from_secs(window_s);
        let arrival = Arrival { source: source.to_owned(), repeat_window, ..arrival(repeats) };
        let delivery = id.as_ref().map_or_else(|| nameless(&text), |id| delivery(id, &text));
        let answer = self.store().accept(delivery, arrival).unwrap();
        let window_ms = i64::try_from(window_s).unwrap() * 1000;
        let now = self.now();
        let arriving = Arriving { source, id: id.as_deref(), body: &text, repeats, window_ms };
        let expected = self.model.accept(now, &arriving);
        self.answered(&answer, &expected);
    }

    fn pull(&mut self, source: &'static str, id: u8, body: u8, is_proven: bool, ago_s: u64) {
        let (id, body, note) = (format!("id-{id}"), text(body), "502");
        let sent = self.clocks.wall().minus(Duration::from_secs(ago_s));
        let terms = |secret: &str| Terms::new(Provider::GitHub, vec![Secret::new(secret.to_owned()).unwrap()]);
        let parts = delivery(&id, &body).into_parts();
        let request = Unverified { target: parts.target, headers: parts.headers, body: parts.body };
        let terms = terms(if is_proven { "secret" } else { "another" });
        let delivery = provider::vouched(&terms, request, Origin::Recovered, Timestamp::from_ms(0)).unwrap();
        let (source_name, peer) = (source.to_owned(), "api.github.com".to_owned());
        let pulled = Pulled { source: source_name, peer, sent, notes: vec![note.to_owned()] };
        let answer = self.store().accept_pulled(delivery, pulled).unwrap();
        let now = self.now();
        let fetched = Fetched { source, id: &id, body: &body, is_proven, sent: sent.ms(), note };
        let expected = self.model.pull(now, &fetched);
        self.answered(&answer, &expected);
    }

    fn answered(&mut self, answer: &Accepted, expected: &Answer) {
        let (id, is_expected) = match (answer, expected) {
            (Accepted::Duplicate { id }, Answer::Duplicate(ids)) => (*id, ids.contains(id)),
            (Accepted::New { id, notes, is_skipped }, Answer::New { id: new, notes: noted, is_skipped: skipped }) => {
                (*id, (id, notes, is_skipped) == (new, noted, skipped))
            }
            (Accepted::New { id, .. } | Accepted::Duplicate { id }, _) => (*id, false),
        };
        assert!(is_expected, "answered {answer:?}, expected {expected:?}");
        self.answered.insert(id);
    }

    fn take_up(&mut self, count: usize) {
        let claimed = self.store().claim_routable(count).unwrap();
        self.now();
        let expected = self.model.take_up(count);
        let ids: Vec<i64> = claimed.iter().map(|routable| routable.id).collect();
        assert_eq!(ids, expected, "what the router gets");
        for routable in claimed {
            let one = &self.model.deliveries[&routable.id];
            let (_, body) = routable.content().unwrap();
            assert_eq!((routable.source.as_str(), body.as_slice()), (one.source, one.body.as_bytes()));
            assert_eq!(routable.received.ms(), one.received);
            let crashes = one.crashes;
            self.routables.push((routable, crashes));
        }
    }

    fn route(&mut self, count: usize, decisions: &[Shape]) {
        let count = count.min(self.routables.len());
        let (routables, crashes): (Vec<_>, Vec<_>) = self.routables.drain(..count).unzip();
        let mut plans = Vec::new();
        let mut decided = Vec::new();
        for (index, (routable, crashes)) in routables.into_iter().zip(crashes).enumerate() {
            let plan = self.plan(&decisions[index % decisions.len()]);
            plans.push((routable.id, crashes, plan.clone()));
            let decision = decision(&routable.source, plan);
            decided.push((routable, decision));
        }
        if decided.is_empty() {
            return;
        }
        assert_eq!(self.store().route(decided).unwrap(), [], "nothing of it lights anything");
        let now = self.now();
        for (id, crashes, plan) in plans {
            self.model.route(now, id, crashes, &plan);
        }
    }

    fn plan(&mut self, shape: &Shape) -> Plan {
        let mut events = |told: &[Told]| -> Vec<Planned> {
            let mut event = |told: &Told| {
                self.events += 1;
                Planned {
                    title: format!("event {}", self.events),
                    subject: told.subject.map(|subject| format!("acme/api#{subject}")),
                    own_id: told.own_id.map(|own_id| format!("own-{own_id}")),
                    to: goals(&told.to),
                }
            };
            told.iter().map(&mut event).collect()
        };
        match shape {
            Shape::Routed(told) => Plan::Routed(events(told), None),
            Shape::Skipped(told) => Plan::Skipped(events(told), "no rule wants it".to_owned()),
            Shape::Dead => Plan::Dead("cannot be read".to_owned()),
        }
    }

    fn claim(&mut self, sink: &'static str, want: Want) {
        let Want { count, bundle_over, by_subject, is_probe } = want;
        let claimed = self.store().claim(sink, Portion { count, bundle_over, by_subject, is_probe }).unwrap();
        let now = self.now();
        let expected = self.model.claim(now, sink, want);
        let ids: Vec<i64> =
            claimed.claims.iter().map(|claim| claim.parcel.as_ref().expect("readable").dispatch).collect();
        let next_due_ms = claimed.next_due.map(|wait| i64::try_from(wait.as_millis()).unwrap());
        let found = (ids, claimed.is_bundle, next_due_ms);
        assert_eq!(found, (expected.dispatches, expected.is_bundle, expected.next_due_ms), "what {sink} gets");
        for claim in claimed.claims {
            let parcel = claim.parcel.as_ref().expect("readable");
            let one = &self.model.dispatches[&parcel.dispatch];
            let attempt = i64::from(parcel.tried) + 1;
            let tried_ms = i64::try_from(claim.tried.as_millis()).unwrap();
            assert_eq!((attempt, claim.failures, tried_ms), (one.attempts, one.failures, one.tried_ms));
            let installation = self.store().installation();
            let reference = format!("{installation}-{}-{}-{}", one.delivery, one.position, one.replay);
            assert_eq!((&parcel.event.title, &parcel.reference), (&one.title, &reference));
            assert_eq!((parcel.delivery, parcel.channel.as_deref()), (one.delivery, one.channel));
            let name = Name { dispatch: parcel.dispatch, attempt };
            let is_held = |(_, held): &Held| held.dispatch == name.dispatch;
            assert!(!self.claims.iter().any(is_held), "{name:?} is held by two at once");
            self.claims.push((claim, name));
        }
    }

    fn settle(&mut self, from: usize, count: usize, outcomes: &[Outcome], took_ms: u64) {
        if self.claims.is_empty() {
            return;
        }
        let from = from % self.claims.len();
        let end = (from + count).min(self.claims.len());
        let chosen: Vec<Held> = self.claims.drain(from..end).collect();
        let names: Vec<Name> = chosen.iter().map(|(_, name)| *name).collect();
        let mut settled = Vec::new();
        for (index, (mut claim, name)) in chosen.into_iter().enumerate() {
            claim.took = Duration::from_millis(took_ms);
            let outcome = &outcomes[index % outcomes.len()];
            // What was given back untried gives its name back, too.
            if !matches!(outcome, Outcome::Released(_)) {
                self.past.push((outbox::Held::of(&claim), name));
            }
            settled.push((claim, settlement(outcome)));
        }
        self.store().settle(settled).unwrap();
        let now = self.now();
        for (index, name) in names.into_iter().enumerate() {
            let outcome = &outcomes[index % outcomes.len()];
            let is_its = self.model.settle(now, name, outcome, i64::try_from(took_ms).unwrap());
            assert!(is_its, "{name:?} was taken away from who held it");
            if let Outcome::Done(_) = outcome {
                let one = &self.model.dispatches[&name.dispatch];
                let what = (one.delivery, one.replay, one.position, one.sink, one.channel);
                let times = self.told.entry(what).or_default();
                *times += 1;
                assert!(*times <= 1 + self.cuts, "{what:?} is told again, and nothing was lost");
            }
        }
    }

    /// Finds the attempt over, or another one under way, and does nothing.
    fn settle_again(&mut self, which: usize, outcome: &Outcome) {
        if self.past.is_empty() {
            return;
        }
        let newest = self.past.len() - 1;
        let (held, name) = self.past[newest - which % (newest + 1)];
        let late = settlement(outcome);
        let ticket = self.store().submit(inbox::settling(writer::Durability::Deferred), move |connection, now| {
            outbox::settle_one(connection, &held, &late, now)
        });
        ticket.unwrap().wait(PATIENT).unwrap();
        self.now();
        let is_held = self.claims.iter().any(|(_, held)| *held == name);
        assert!(!is_held, "an attempt has its own name: {name:?}");
    }

    fn again(&mut self, which: &[usize], as_it_was: bool) {
        let held: Vec<i64> = self.model.deliveries.keys().copied().collect();
        if held.is_empty() {
            return;
        }
        let ids: BTreeSet<i64> = which.iter().map(|which| held[which % held.len()]).collect();
        let ids: Vec<i64> = ids.into_iter().collect();
        let store = self.store();
        let found = if as_it_was { store.requeue(&ids) } else { store.replay(&ids) }.unwrap();
        let now = self.now();
        let moment = Timestamp::from_ms(now).to_string();
        let expected = match as_it_was {
            true => self.model.requeue(now, &moment, &ids),
            false => self.model.replay(&moment, &ids),
        };
        assert_eq!(found, expected, "which of {ids:?} are done again");
    }

    /// The loops begin: nobody holds anything.
    fn begin(&mut self) {
        let waits = WaitsMax {
            retry: Duration::from_millis(RETRY_WAIT_MS as u64),
            digest: Duration::from_millis(DIGEST_WAIT_MS as u64),
        };
        let crashed = self.store().begin_work(waits).unwrap();
        let now = self.now();
        assert_eq!(crashed, self.model.begin_work(now), "whether the last one crashed");
        self.routables.clear();
        self.claims.clear();
        self.past.clear();
    }

    fn end(&mut self, late: &Outcome) {
        self.store().end_work().unwrap();
        self.now();
        self.model.end_work();
        let routables: Vec<(Routable, Decision)> = self
            .routables
            .drain(..)
            .map(|(routable, _)| (routable, Decision::Dead { reason: "too late".to_owned() }))
            .collect();
        let claims: Vec<Held> = self.claims.drain(..).collect();
        self.past.extend(claims.iter().map(|(claim, name)| (outbox::Held::of(claim), *name)));
        let settled = claims.into_iter().map(|(claim, _)| (claim, settlement(late))).collect();
        self.store().route(routables).unwrap();
        self.store().settle(settled).unwrap();
    }

    fn prune(&mut self, keep_days: Option<u64>, is_large: bool, between: &mut Vec<Model>) {
        let keep = keep_days.map(|days| Duration::from_secs(days * 86_400));
        let size_bytes_max = if is_large { 0 } else { u64::MAX };
        let pruned = self.store().prune(keep, size_bytes_max, || false).unwrap();
        let now = self.now();
        between.push(self.model.clone());
        let keep_ms = keep.map(|keep| i64::try_from(keep.as_millis()).unwrap());
        let mut expected = self.model.prune(now, keep_ms, is_large, false);
        between.push(self.model.clone());
        expected += self.model.prune(now, keep_ms, is_large, true);
        assert_eq!(pruned.deliveries, expected, "how many are pruned");
        // Whoever settles again does not come this late; its name may be another's by now.
        self.past.retain(|(_, name)| self.model.dispatches.contains_key(&name.dispatch));
    }

    /// All that is in the log is synced and moved into the file, and the log begins anew with the next commit.
    fn checkpoint(&mut self) {
        let connection = connection::checkpointing(&self.path).unwrap();
        checkpoint::move_pages(&connection, &self.store().shared);
        drop(connection);
        self.commits = vec![Commit { log_bytes: 0, states: vec![self.model.clone()] }];
        self.look();
    }

    fn restart(&mut self) {
        self.close();
        self.open();
        self.look();
    }

    fn kill(&mut self) {
        self.leave(None);
        self.open();
        self.look();
    }

    fn cut(&mut self, share: f64, tail: Tail, clock: Set) {
        let saved = self.commits[0].log_bytes;
        let end = self.log_end();
        let cut = saved + (share * end.saturating_sub(saved) as f64) as usize;
        self.leave(Some((cut, tail)));
        self.clocks.boot();
        self.clocks.set(clock);
        self.cuts += 1;
        // The last one whose part is whole; where the next one is several commits, perhaps some of these.
        let whole = self.commits.iter().rposition(|commit| commit.log_bytes <= cut).expect("what was synced is whole");
        let mut found: Vec<Model> = self.commits[whole].states.last().cloned().into_iter().collect();
        if let Some(next) = self.commits.get(whole + 1) {
            found.extend(next.states.iter().cloned());
            found.pop();
        }
        self.open();
        let mut first = None;
        for mut model in found {
            model.open(&self.clocks.moment());
            match differences(self.reader(), &model) {
                None => {
                    self.model = model;
                    self.commits[0].states = vec![self.model.clone()];
                    return self.look_for_lost();
                }
                Some(differences) => drop(first.get_or_insert(differences)),
            }
        }
        panic!(
            "after a cut at {cut} of {saved} to {end} bytes the store is what no commit has left:{}",
            first.unwrap()
        );
    }

    /// Leaves this process's files as they are, and goes on with a copy of them: all of the log, or what a cut leaves of it.
    fn leave(&mut self, cut: Option<(usize, Tail)>) {
        self.opened += 1;
        let next = self.path.with_file_name(format!("hookbell-{}.db", self.opened));
        fs::copy(&self.path, &next).unwrap();
        let mut log = self.log();
        if let Some((cut, tail)) = cut {
            let length = log.len();
            log.truncate(cut);
            match tail {
                Tail::Nothing => {}
                Tail::Zeros => log.resize(length, 0),
                Tail::Noise => log.extend(noise(cut as u64, length.saturating_sub(cut)).bytes()),
            }
        }
        fs::write(beside(&next, "-wal"), log).unwrap();
        self.close();
        fs::remove_file(std::mem::replace(&mut self.path, next)).unwrap();
    }

    fn log(&self) -> Vec<u8> {
        fs::read(beside(&self.path, "-wal")).unwrap_or_default()
    }

    /// How long the log is, as noted with the last commit: after a checkpoint it begins anew.
    fn log_end(&self) -> usize {
        self.commits.last().map_or(0, |commit| commit.log_bytes)
    }

    fn log_bytes(&self) -> usize {
        valid_bytes(&self.log())
    }
}

/// How much of a log is its present content, as its header names it; the rest is of an earlier round.
fn valid_bytes(log: &[u8]) -> usize {
    const HEADER: usize = 32;
    if log.len() < HEADER {
        return 0;
    }
    let (header, frames) = log.split_at(HEADER);
    let page_bytes = u32::from_be_bytes(header[8..12].try_into().unwrap());
    let frame_bytes = 24 + page_bytes as usize;
    let is_present = |frame: &&[u8]| frame.len() == frame_bytes && frame[8..16] == header[16..24];
    HEADER + frame_bytes * frames.chunks(frame_bytes).take_while(is_present).count()
}

fn text(body: u8) -> String {
    format!("{{\"n\":{body}}}")
}

/// Of a provider that gives no id.
fn nameless(body: &str) -> Delivery {
    let secret = Secret::new("secret".to_owned()).unwrap();
    let mut sample = Sample::json("issues", body);
    sample.sign(Provider::Generic, &Signing::new(&secret, "", Timestamp::from_ms(0))).unwrap();
    let headers: Headers = sample.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    let unverified = Unverified { target: "/webhooks/generic".to_owned(), headers, body: sample.body };
    match provider::verify(&Terms::new(Provider::Generic, vec![secret]), unverified, Timestamp::from_ms(0)) {
        Ok(Verified::Delivery(delivery)) => delivery,
        other => panic!("{other:?}"),
    }
}

/// Each place once, as rules give them.
fn goals(ways: &[Way]) -> Vec<Goal> {
    let mut goals: Vec<Goal> = Vec::new();
    for Way { sink, is_elsewhere, kind } in ways {
        let (order, digest) = match kind {
            Kind::BySubject => (Order::Subject, None),
            Kind::AllInOrder => (Order::All, None),
            Kind::NoOrder => (Order::None, None),
            Kind::Digest { window_s } => (Order::Subject, Some(("stars", window_s * 1000))),
        };
        let goal = Goal { sink: SINKS[*sink], channel: is_elsewhere.then_some("#ops"), order, digest };
        if !goals.iter().any(|other| (other.sink, other.channel) == (goal.sink, goal.channel)) {
            goals.push(goal);
        }
    }
    goals
}

fn decision(source: &str, plan: Plan) -> Decision {
    let events = |planned: Vec<Planned>| -> Vec<Routed> {
        let each = |Planned { title, subject, own_id, to }: Planned| {
            let mut routed = routed(&title, &[]);
            routed.event.source = source.to_owned();
            (routed.event.subject, routed.event.own_id) = (subject, own_id);
            routed.to = to.into_iter().map(target).collect();
            routed
        };
        planned.into_iter().map(each).collect()
    };
    match plan {
        Plan::Routed(planned, note) => Decision::Routed { events: events(planned), note },
        Plan::Skipped(planned, note) => Decision::Skipped { events: events(planned), note },
        Plan::Dead(reason) => Decision::Dead { reason },
    }
}

fn target(Goal { sink, channel, order, digest }: Goal) -> Target {
    let digest = digest.map(|(group, window_ms)| Digest {
        group: group.to_owned(),
        window: Duration::from_millis(u64::try_from(window_ms).unwrap()),
    });
    Target { sink: sink.to_owned(), channel: channel.map(str::to_owned), digest, order }
}

fn settlement(outcome: &Outcome) -> Settlement {
    let delay = |ms: i64| Duration::from_millis(u64::try_from(ms).unwrap());
    match outcome.clone() {
        Outcome::Done(receipt) => Settlement::Done { receipt },
        Outcome::Skipped(note) => Settlement::Skipped { note },
        Outcome::Retry(reason, ms) => Settlement::Retry { reason, delay: delay(ms) },
        Outcome::Dead(reason) => Settlement::Dead { reason },
        Outcome::Released(ms) => Settlement::Released { delay: delay(ms) },
    }
}
