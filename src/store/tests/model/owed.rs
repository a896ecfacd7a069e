//! What the model owes to sinks: who is claimed, and what comes of it.

use super::{
    Name, Outcome, Want,
    state::{Dispatch, Model, Portion, State, Try, alone_or_unblamed},
};

impl Model {
    fn is_first(&self, id: i64) -> bool {
        let one = &self.dispatches[&id];
        one.filed.as_ref().is_none_or(|filed| self.first.get(&(one.sink, filed.clone())) == Some(&id))
    }

    /// Due and behind another of its subject.
    fn behind(&self, first: i64) -> Vec<i64> {
        let head = &self.dispatches[&first];
        let is_behind = |(id, one): &(&i64, &Dispatch)| {
            head.filed.is_some() && (one.sink, &one.filed) == (head.sink, &head.filed) && **id != first
        };
        let due = self.dispatches.iter().filter(|(_, one)| one.state == State::Due);
        due.filter(is_behind).map(|(id, _)| *id).collect()
    }

    /// What a sender gets.
    pub(super) fn claim(&mut self, now: i64, sink: &str, want: Want) -> Portion {
        let due: Vec<i64> = self
            .dispatches
            .iter()
            .filter(|(_, one)| one.sink == sink && one.state == State::Due)
            .map(|(id, _)| *id)
            .collect();
        let heads: Vec<i64> = due.iter().copied().filter(|id| self.is_first(*id)).collect();
        let ready: Vec<i64> = heads.iter().copied().filter(|id| self.dispatches[id].next <= now).collect();
        let mut portion = Portion::default();
        if let Some(first) = ready.first() {
            let first = &self.dispatches[first];
            let waiting: usize = ready.iter().map(|id| 1 + self.behind(*id).len()).sum();
            let is_backlog = want.bundle_over.is_some_and(|over| waiting > over);
            if first.crashes <= 1 && (is_backlog || first.digest.is_some()) {
                let belongs = |id: &i64| {
                    let one = &self.dispatches[id];
                    (one.channel, one.digest) == (first.channel, first.digest)
                        && (!want.by_subject || one.filed == first.filed)
                        && one.crashes <= 1
                };
                for head in ready.iter().filter(|head| belongs(head)) {
                    portion.dispatches.push(*head);
                    portion.dispatches.extend(self.behind(*head).into_iter().take_while(belongs));
                }
                portion.dispatches.sort_unstable();
                portion.is_bundle = portion.dispatches.len() > 1;
            } else {
                let count = if want.is_probe { 1 } else { want.count };
                let no_digest = ready.iter().take(count).take_while(|id| self.dispatches[id].digest.is_none());
                let found: Vec<(i64, u32)> = no_digest.map(|id| (*id, self.dispatches[id].crashes)).collect();
                portion.dispatches = alone_or_unblamed(&found);
                if found.is_empty() {
                    portion.dispatches.push(ready[0]);
                }
            }
        } else if want.is_probe && heads.len() < due.len() {
            // Somebody is held up: then the oldest is tried before its time.
            portion.dispatches.extend(heads.iter().copied().find(|id| self.dispatches[id].digest.is_none()));
        }
        if portion.dispatches.is_empty() {
            let next = heads.iter().map(|id| self.dispatches[id].next).filter(|next| *next > now).min();
            portion.next_due_ms = next.map(|next| next - now);
        }
        for id in &portion.dispatches {
            let one = self.dispatches.get_mut(id).expect("found above");
            one.state = State::Leased;
            one.attempts += 1;
            one.crashes += 1;
            one.tried_ms = (one.tried_ms - (one.next - now).max(0)).max(0);
        }
        portion
    }

    /// Says whether it was that claim's to settle.
    pub(super) fn settle(&mut self, now: i64, name: Name, outcome: &Outcome, took_ms: i64) -> bool {
        let Some(one) = self.dispatches.get_mut(&name.dispatch) else { return false };
        if one.state != State::Leased || one.attempts != name.attempt {
            return false;
        }
        one.crashes = 0;
        let (said, answer) = match outcome.clone() {
            Outcome::Done(receipt) => {
                (one.state, one.failures, one.last_error) = (State::Done, 0, None);
                one.receipt.clone_from(&receipt);
                ("done", receipt)
            }
            Outcome::Skipped(note) => {
                (one.state, one.receipt) = (State::Skipped, Some(note.clone()));
                ("skipped", Some(note))
            }
            Outcome::Retry(reason, delay_ms) => {
                (one.state, one.next, one.last_error) = (State::Due, now + delay_ms, Some(reason.clone()));
                one.failures += 1;
                one.tried_ms += delay_ms + took_ms;
                ("retry", Some(reason))
            }
            Outcome::Dead(reason) => {
                (one.state, one.last_error) = (State::Dead, Some(reason.clone()));
                ("dead", Some(reason))
            }
            Outcome::Released(delay_ms) => {
                (one.state, one.next) = (State::Due, now + delay_ms);
                one.attempts -= 1;
                return true;
            }
        };
        let number = one.attempts;
        one.tries.push(Try { number, began: now - took_ms, took_ms, outcome: said, answer });
        if !one.is_open() {
            one.settled = Some(now);
            self.next_of_its_subject(name.dispatch);
        }
        self.note_end(self.dispatches[&name.dispatch].delivery, now);
        true
    }

    /// One is settled: where it was first, the oldest of the others is now.
    pub(super) fn next_of_its_subject(&mut self, settled: i64) {
        let one = &self.dispatches[&settled];
        let Some(filed) = one.filed.clone() else { return };
        let (sink, key) = (one.sink, (one.sink, filed.clone()));
        if self.first.get(&key) != Some(&settled) {
            return;
        }
        let is_next = |other: &Dispatch| other.is_open() && other.sink == sink && other.filed.as_ref() == Some(&filed);
        match self.dispatches.iter().find(|(_, other)| is_next(other)) {
            Some((next, _)) => drop(self.first.insert(key, *next)),
            None => drop(self.first.remove(&key)),
        }
    }

    pub(super) fn note_end(&mut self, number: i64, now: i64) {
        let is_open = self.dispatches.values().any(|one| one.delivery == number && one.is_open());
        let delivery = self.deliveries.get_mut(&number).expect("a dispatch has a delivery");
        delivery.processed = match is_open {
            true => None,
            false => delivery.processed.or(Some(now)),
        };
    }
}
