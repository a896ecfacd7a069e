//! What the store ought to hold: lists and maps, each operation written down once more as plainly as it can be. Whoever is
//! first of a subject stands in a map of its own, a status is worked out whenever it is asked for.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::Repeats;

/// Claims that were never settled: this many, and what was claimed is buried.
const CRASHES_MAX: u32 = 5;
const HOUR_MS: i64 = 3_600_000;
/// 2026-01-01: what is dated earlier does not go by age.
const FIRST_MS: i64 = 1_767_225_600_000;
/// The longest waits that a start believes.
pub(super) const RETRY_WAIT_MS: i64 = HOUR_MS;
pub(super) const DIGEST_WAIT_MS: i64 = 24 * HOUR_MS;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    New,
    Held,
    Settled,
}

/// What the router, or what stands for it, said last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Owed,
    Skipped,
    Dead,
}

#[derive(Clone, Debug)]
pub(super) struct Delivery {
    pub(super) source: &'static str,
    pub(super) id: Option<String>,
    pub(super) body: String,
    pub(super) is_proven: bool,
    pub(super) origin: &'static str,
    pub(super) sent: Option<i64>,
    pub(super) received: i64,
    pub(super) processed: Option<i64>,
    pub(super) stage: Stage,
    pub(super) verdict: Verdict,
    /// Claims that were never settled.
    pub(super) crashes: u32,
    pub(super) notes: Vec<String>,
    pub(super) was_handled: bool,
    pub(super) events: Vec<Event>,
}

#[derive(Clone, Debug)]
pub(super) struct Event {
    pub(super) replay: u32,
    pub(super) position: usize,
    pub(super) title: String,
    pub(super) own_id: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Due,
    Leased,
    Done,
    Skipped,
    Dead,
}

#[derive(Clone, Debug)]
pub(super) struct Dispatch {
    pub(super) delivery: i64,
    pub(super) replay: u32,
    pub(super) position: usize,
    pub(super) title: String,
    pub(super) sink: &'static str,
    pub(super) channel: Option<&'static str>,
    /// What it keeps the order of; empty: everything of that sink.
    pub(super) filed: Option<String>,
    pub(super) digest: Option<&'static str>,
    pub(super) state: State,
    pub(super) attempts: i64,
    /// Claims that were never settled.
    pub(super) crashes: u32,
    pub(super) failures: u32,
    pub(super) tried_ms: i64,
    pub(super) next: i64,
    pub(super) last_error: Option<String>,
    pub(super) receipt: Option<String>,
    pub(super) settled: Option<i64>,
    pub(super) tries: Vec<Try>,
}

impl Dispatch {
    pub(super) fn is_open(&self) -> bool {
        matches!(self.state, State::Due | State::Leased)
    }
}

#[derive(Clone, Debug)]
pub(super) struct Try {
    pub(super) number: i64,
    pub(super) began: i64,
    pub(super) took_ms: i64,
    pub(super) outcome: &'static str,
    pub(super) answer: Option<String>,
}

/// What a boot has agreed about its clock.
#[derive(Clone, Debug)]
struct Boot {
    id: String,
    offset_ms: i64,
    first_delivery: i64,
}

/// What the clocks say.
#[derive(Clone, Debug)]
pub(super) struct Moment {
    pub(super) wall: i64,
    pub(super) since_boot: i64,
    pub(super) boot_id: String,
}

/// What the door is to say.
#[derive(Debug)]
pub(super) enum Answer {
    New {
        id: i64,
        notes: Vec<String>,
        is_skipped: bool,
    },
    /// One of these.
    Duplicate(Vec<i64>),
}

pub(super) struct Arriving<'a> {
    pub(super) source: &'static str,
    pub(super) id: Option<&'a str>,
    pub(super) body: &'a str,
    pub(super) repeats: Repeats,
    pub(super) window_ms: i64,
}

pub(super) struct Fetched<'a> {
    pub(super) source: &'static str,
    pub(super) id: &'a str,
    pub(super) body: &'a str,
    pub(super) is_proven: bool,
    pub(super) sent: i64,
    pub(super) note: &'a str,
}

/// One event of a decision, with where it goes.
#[derive(Clone, Debug)]
pub(super) struct Planned {
    pub(super) title: String,
    pub(super) subject: Option<String>,
    pub(super) own_id: Option<String>,
    pub(super) to: Vec<Goal>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Goal {
    pub(super) sink: &'static str,
    pub(super) channel: Option<&'static str>,
    pub(super) order: crate::rule::Order,
    /// The group and its window.
    pub(super) digest: Option<(&'static str, i64)>,
}

#[derive(Clone, Debug)]
pub(super) enum Plan {
    Routed(Vec<Planned>, Option<String>),
    Skipped(Vec<Planned>, String),
    Dead(String),
}

#[derive(Debug, Default)]
pub(super) struct Portion {
    pub(super) dispatches: Vec<i64>,
    pub(super) is_bundle: bool,
    pub(super) next_due_ms: Option<i64>,
}

#[derive(Clone, Debug)]
pub(super) struct Model {
    pub(super) deliveries: BTreeMap<i64, Delivery>,
    pub(super) dispatches: BTreeMap<i64, Dispatch>,
    /// Of each sink and what it keeps the order of: who is first. All others that are open stay behind.
    pub(super) first: BTreeMap<(&'static str, String), i64>,
    boot: Boot,
    pub(super) is_working: bool,
    pub(super) pruned: BTreeSet<i64>,
    pub(super) pruned_until: Option<i64>,
}

impl Model {
    pub(super) fn new(moment: &Moment) -> Model {
        Model {
            deliveries: BTreeMap::new(),
            dispatches: BTreeMap::new(),
            first: BTreeMap::new(),
            boot: Boot { id: moment.boot_id.clone(), offset_ms: moment.wall - moment.since_boot, first_delivery: 1 },
            is_working: false,
            pruned: BTreeSet::new(),
            pruned_until: None,
        }
    }

    /// Another process, or another boot.
    pub(super) fn open(&mut self, moment: &Moment) {
        if moment.boot_id != self.boot.id {
            self.boot = Boot {
                id: moment.boot_id.clone(),
                offset_ms: moment.wall - moment.since_boot,
                first_delivery: self.next_delivery(),
            };
        }
    }

    /// What time it is, after a step of the clock has moved what this boot has written.
    pub(super) fn now(&mut self, moment: &Moment) -> i64 {
        let offset_ms = moment.wall - moment.since_boot;
        let by_ms = offset_ms - self.boot.offset_ms;
        if by_ms.abs() < 60_000 {
            return moment.wall;
        }
        let first = self.boot.first_delivery;
        for (_, delivery) in self.deliveries.range_mut(first..) {
            delivery.received += by_ms;
            delivery.processed = delivery.processed.map(|at| at + by_ms);
        }
        for dispatch in self.dispatches.values_mut() {
            if dispatch.is_open() {
                dispatch.next += by_ms;
            }
            if dispatch.delivery >= first {
                dispatch.settled = dispatch.settled.map(|at| at + by_ms);
                dispatch.tries.iter_mut().for_each(|one| one.began += by_ms);
            }
        }
        self.boot.offset_ms = offset_ms;
        moment.wall
    }

    fn next_delivery(&self) -> i64 {
        self.deliveries.last_key_value().map_or(1, |(id, _)| id + 1)
    }

    fn has_body_within(
        &self,
        now: i64,
        window_ms: i64,
        source: &str,
        body: &str,
    ) -> impl Iterator<Item = (&i64, &Delivery)> {
        // What is dated hours ahead came while the clock was wrong.
        let is_near = move |at: i64| at > now - window_ms && at / HOUR_MS <= now / HOUR_MS + 1;
        let same = self.deliveries.iter().filter(move |(_, one)| one.source == source && one.body == body);
        same.filter(move |(_, one)| is_near(one.received))
    }

    pub(super) fn accept(&mut self, now: i64, arriving: &Arriving<'_>) -> Answer {
        let Arriving { source, id, body, repeats, window_ms } = *arriving;
        let same: Vec<i64> = match id {
            Some(_) => {
                let is_same = |one: &Delivery| one.source == source && one.id.as_deref() == id && one.body == body;
                self.deliveries.iter().filter(|(_, one)| is_same(one)).map(|(number, _)| *number).collect()
            }
            None => {
                let near = self.has_body_within(now, window_ms, source, body);
                near.filter(|(_, one)| one.id.is_none()).map(|(number, _)| *number).collect()
            }
        };
        if !same.is_empty() {
            return Answer::Duplicate(same);
        }
        let earlier = self.has_body_within(now, HOUR_MS, source, body).count();
        let has_id = |one: &Delivery| id.is_some() && one.source == source && one.id.as_deref() == id;
        let pulled = |one: &Delivery| has_id(one) && one.origin == "recovered" && !one.is_proven;
        if earlier == 0
            && let Some((number, one)) = self.deliveries.iter_mut().find(|(_, one)| pulled(one))
        {
            one.body = body.to_owned();
            one.is_proven = true;
            one.notes.push("the signed original came later and took its place".to_owned());
            if one.stage == Stage::Settled && one.verdict == Verdict::Dead && one.events.is_empty() {
                (one.stage, one.crashes, one.processed) = (Stage::New, 0, None);
            }
            return Answer::Duplicate(vec![*number]);
        }
        let mut notes: Vec<String> = Vec::new();
        let mut is_skipped = false;
        if id.is_some() {
            if self.deliveries.values().any(has_id) {
                notes.push("same_id_other_body".to_owned());
            }
            if earlier > 0 {
                notes.push("possible_replay".to_owned());
            }
            is_skipped = match repeats {
                Repeats::Limit => earlier >= 3,
                Repeats::Process => false,
                Repeats::Skip => earlier > 0,
            };
            if is_skipped {
                notes.push("repeats too often: not handled".to_owned());
            }
        }
        let number = self.next_delivery();
        self.deliveries.insert(
            number,
            Delivery {
                source,
                id: id.map(str::to_owned),
                body: body.to_owned(),
                is_proven: true,
                origin: "webhook",
                sent: None,
                received: now,
                processed: is_skipped.then_some(now),
                stage: if is_skipped { Stage::Settled } else { Stage::New },
                verdict: if is_skipped { Verdict::Skipped } else { Verdict::Owed },
                crashes: 0,
                notes: notes.clone(),
                was_handled: is_skipped,
                events: Vec::new(),
            },
        );
        Answer::New { id: number, notes, is_skipped }
    }

    pub(super) fn pull(&mut self, now: i64, fetched: &Fetched<'_>) -> Answer {
        let Fetched { source, id, body, is_proven, sent, note } = *fetched;
        let has_id = |one: &Delivery| one.source == source && one.id.as_deref() == Some(id);
        let held: Vec<i64> = self.deliveries.iter().filter(|(_, one)| has_id(one)).map(|(number, _)| *number).collect();
        if !held.is_empty() {
            return Answer::Duplicate(held);
        }
        let number = self.next_delivery();
        let notes = vec![note.to_owned()];
        self.deliveries.insert(
            number,
            Delivery {
                source,
                id: Some(id.to_owned()),
                body: body.to_owned(),
                is_proven,
                origin: "recovered",
                sent: Some(sent),
                received: now,
                processed: None,
                stage: Stage::New,
                verdict: Verdict::Owed,
                crashes: 0,
                notes: notes.clone(),
                was_handled: false,
                events: Vec::new(),
            },
        );
        Answer::New { id: number, notes, is_skipped: false }
    }

    /// The oldest that are new; one that has crashed us comes alone.
    pub(super) fn take_up(&mut self, count: usize) -> Vec<i64> {
        let new = self.deliveries.iter().filter(|(_, one)| one.stage == Stage::New).take(count);
        let found: Vec<(i64, u32)> = new.map(|(number, one)| (*number, one.crashes)).collect();
        let taken = alone_or_unblamed(&found);
        for number in &taken {
            let one = self.deliveries.get_mut(number).expect("found above");
            one.stage = Stage::Held;
            one.crashes += 1;
        }
        taken
    }

    pub(super) fn route(&mut self, now: i64, number: i64, crashes: u32, plan: &Plan) {
        let Some(one) = self.deliveries.get_mut(&number) else { return };
        if one.stage != Stage::Held || one.crashes != crashes {
            return;
        }
        let (events, note, verdict) = match plan {
            Plan::Routed(events, note) => (events.as_slice(), note.clone(), Verdict::Owed),
            Plan::Skipped(events, note) => (events.as_slice(), Some(note.clone()), Verdict::Skipped),
            Plan::Dead(reason) => (&[][..], Some(reason.clone()), Verdict::Dead),
        };
        (one.stage, one.crashes, one.verdict, one.was_handled) = (Stage::Settled, 0, verdict, true);
        one.processed = (verdict != Verdict::Owed).then_some(now);
        one.notes.extend(note);
        let source = one.source;
        let replay = one.events.iter().map(|event| event.replay + 1).max().unwrap_or(0);
        let (mut repeated, mut owed) = (0, 0);
        for (position, event) in events.iter().enumerate() {
            let own_id = event.own_id.as_ref();
            let is_second =
                own_id.is_some() && events[..position].iter().any(|earlier| earlier.own_id.as_ref() == own_id);
            let is_repeated =
                is_second || replay == 0 && own_id.is_some_and(|own_id| self.was_told(number, source, own_id));
            self.deliveries.get_mut(&number).expect("found above").events.push(Event {
                replay,
                position,
                title: event.title.clone(),
                own_id: event.own_id.clone(),
            });
            if is_repeated {
                repeated += 1;
                continue;
            }
            owed += event.to.len();
            for goal in &event.to {
                self.owe(now, (number, replay, position), source, event, goal);
            }
        }
        if repeated > 0 {
            let one = self.deliveries.get_mut(&number).expect("found above");
            one.notes.push(format!("{repeated} of its events came before"));
            if verdict == Verdict::Owed && owed == 0 {
                (one.verdict, one.processed) = (Verdict::Skipped, Some(now));
            }
        }
    }

    fn was_told(&self, number: i64, source: &str, own_id: &str) -> bool {
        self.dispatches.values().any(|dispatch| {
            let other = &self.deliveries[&dispatch.delivery];
            let is_its = |event: &Event| {
                (event.replay, event.position) == (dispatch.replay, dispatch.position)
                    && event.own_id.as_deref() == Some(own_id)
            };
            dispatch.delivery != number
                && dispatch.state != State::Dead
                && other.source == source
                && other.events.iter().any(is_its)
        })
    }

    fn owe(&mut self, now: i64, of: (i64, u32, usize), source: &str, event: &Planned, goal: &Goal) {
        use crate::rule::Order;
        let Goal { sink, channel, order, digest } = *goal;
        let filed = match (digest, order) {
            (Some(_), _) | (None, Order::None) => None,
            (None, Order::All) => Some(String::new()),
            (None, Order::Subject) => event.subject.as_ref().map(|subject| format!("{source} {subject}")),
        };
        let next = match digest {
            None => now,
            Some((group, window_ms)) => {
                let is_open = |one: &&Dispatch| {
                    let is_its = (one.sink, one.channel, one.digest) == (sink, channel, Some(group));
                    is_its
                        && one.state == State::Due
                        && one.failures == 0
                        && (now..=now + window_ms).contains(&one.next)
                };
                let open = self.dispatches.values().filter(is_open).map(|one| one.next).min();
                open.unwrap_or(now + window_ms)
            }
        };
        let id = self.dispatches.last_key_value().map_or(1, |(id, _)| id + 1);
        if let Some(filed) = &filed {
            self.first.entry((sink, filed.clone())).or_insert(id);
        }
        let (delivery, replay, position) = of;
        self.dispatches.insert(
            id,
            Dispatch {
                delivery,
                replay,
                position,
                title: event.title.clone(),
                sink,
                channel,
                filed,
                digest: digest.map(|(group, _)| group),
                state: State::Due,
                attempts: 0,
                crashes: 0,
                failures: 0,
                tried_ms: 0,
                next,
                last_error: None,
                receipt: None,
                settled: None,
                tries: Vec::new(),
            },
        );
    }

    pub(super) fn status(&self, number: i64) -> &'static str {
        let delivery = &self.deliveries[&number];
        let its = || self.dispatches.values().filter(|one| one.delivery == number);
        match (delivery.stage, delivery.verdict) {
            (Stage::New | Stage::Held, _) => "unprocessed",
            (Stage::Settled, Verdict::Skipped) => "skipped",
            (Stage::Settled, Verdict::Dead) => "dead_letter",
            _ if its().any(|one| one.state == State::Dead) => "dead_letter",
            _ if its().any(|one| one.is_open() && one.failures > 0) => "retrying",
            _ if its().any(Dispatch::is_open) => "unprocessed",
            _ if its().any(|one| one.state == State::Done) => "processed",
            _ => "skipped",
        }
    }

    /// Tries what was given up once more; whose there was any.
    pub(super) fn requeue(&mut self, now: i64, moment: &str, numbers: &[i64]) -> Vec<i64> {
        let mut done = Vec::new();
        for number in numbers {
            let is_its = |one: &Dispatch| one.delivery == *number && one.state == State::Dead;
            let dead: Vec<i64> = self.dispatches.iter().filter(|(_, one)| is_its(one)).map(|(id, _)| *id).collect();
            for id in &dead {
                let one = self.dispatches.get_mut(id).expect("found above");
                (one.state, one.crashes, one.failures, one.tried_ms) = (State::Due, 0, 0, 0);
                (one.next, one.settled) = (now, None);
                if let Some(filed) = &one.filed {
                    self.first.entry((one.sink, filed.clone())).or_insert(*id);
                }
            }
            if !dead.is_empty() {
                self.note_end(*number, now);
                self.deliveries.get_mut(number).expect("it has dispatches").notes.push(format!("requeued {moment}"));
                done.push(*number);
            }
        }
        done
    }

    /// Lets the router handle these again; which it is so for.
    pub(super) fn replay(&mut self, moment: &str, numbers: &[i64]) -> Vec<i64> {
        let mut done = Vec::new();
        for number in numbers {
            let is_open = self.dispatches.values().any(|one| one.delivery == *number && one.is_open());
            let Some(one) = self.deliveries.get_mut(number) else { continue };
            if one.stage != Stage::Settled || is_open {
                continue;
            }
            (one.stage, one.crashes, one.processed) = (Stage::New, 0, None);
            one.notes.push(format!("replayed {moment}"));
            for dispatch in self.dispatches.values_mut().filter(|one| one.delivery == *number) {
                if dispatch.state == State::Dead {
                    dispatch.state = State::Skipped;
                    dispatch.receipt = Some("a replay took its place".to_owned());
                }
            }
            done.push(*number);
        }
        done
    }

    /// Says whether the last one did not end in good order.
    pub(super) fn begin_work(&mut self, now: i64) -> bool {
        for one in self.deliveries.values_mut().filter(|one| one.stage == Stage::Held) {
            match one.crashes {
                crashes if crashes >= CRASHES_MAX => {
                    (one.stage, one.verdict, one.processed) = (Stage::Settled, Verdict::Dead, Some(now));
                    one.notes.push(format!("crashed the process {crashes} times while it was routed"));
                }
                _ => one.stage = Stage::New,
            }
        }
        let held = self.dispatches.iter().filter(|(_, one)| one.state == State::Leased);
        let held: Vec<i64> = held.map(|(id, _)| *id).collect();
        for id in &held {
            let one = self.dispatches.get_mut(id).expect("found above");
            one.state = State::Due;
            if one.crashes >= CRASHES_MAX {
                one.last_error = Some(format!("crashed the process {} times while it was delivered", one.crashes));
                (one.state, one.settled) = (State::Dead, Some(now));
            }
        }
        for id in held {
            if self.dispatches[&id].state == State::Dead {
                self.next_of_its_subject(id);
                self.note_end(self.dispatches[&id].delivery, now);
            }
        }
        for one in self.dispatches.values_mut().filter(|one| one.state == State::Due) {
            if one.digest.is_none() || one.failures > 0 {
                one.next = one.next.min(now + RETRY_WAIT_MS);
            }
            if one.digest.is_some() {
                one.next = one.next.min(now + DIGEST_WAIT_MS);
            }
        }
        std::mem::replace(&mut self.is_working, true)
    }

    pub(super) fn end_work(&mut self) {
        for one in self.deliveries.values_mut().filter(|one| one.stage == Stage::Held) {
            one.stage = Stage::New;
            one.crashes = one.crashes.saturating_sub(1);
        }
        for one in self.dispatches.values_mut().filter(|one| one.state == State::Leased) {
            one.state = State::Due;
            one.crashes = one.crashes.saturating_sub(1);
        }
        self.is_working = false;
    }

    /// Removes what is settled and old enough, or all of it; dead letters in a second pass. The newest stays.
    pub(super) fn prune(&mut self, now: i64, keep_ms: Option<i64>, is_large: bool, dead_letters: bool) -> u64 {
        let newest = self.deliveries.last_key_value().map_or(0, |(number, _)| *number);
        let going = self.deliveries.iter().filter(|(number, one)| {
            let is_old = keep_ms.is_some_and(|keep_ms| (FIRST_MS..now - keep_ms).contains(&one.received));
            let is_settled = one.stage == Stage::Settled && one.processed.is_some();
            let is_its_turn = dead_letters || self.status(**number) != "dead_letter";
            **number < newest && is_settled && is_its_turn && (is_large || is_old)
        });
        let going: Vec<(i64, i64)> = going.map(|(number, one)| (*number, one.received)).collect();
        for (number, received) in &going {
            self.deliveries.remove(number);
            self.dispatches.retain(|_, one| one.delivery != *number);
            self.pruned.insert(*number);
            self.pruned_until = self.pruned_until.max(Some(*received));
        }
        going.len() as u64
    }
}

/// One that was claimed before and never settled is tried alone; else those before the first such one.
pub(super) fn alone_or_unblamed(found: &[(i64, u32)]) -> Vec<i64> {
    match found {
        [(first, 1..), ..] => vec![*first],
        _ => found.iter().take_while(|(_, crashes)| *crashes == 0).map(|(id, _)| *id).collect(),
    }
}
