//! Which green is the green after red. Owns the comparison of a run with the one before it; that one is remembered by the
//! store, and until a batch is written by this.

use std::collections::BTreeMap;

use crate::{
    event::{CI_FAILED, CI_FIXED, CI_PASSED, Event},
    logfmt,
    store::{Reader, Store, StoreError},
};

/// The source, the run's subject, and which of its checks.
type Key = (String, String, String);

/// How runs ended, as the router needs it.
pub(super) struct Runs {
    store: Store,
    /// Opened when it is first needed, and anew after a failure.
    reader: Option<Reader>,
    /// What this batch has decided and the store does not know yet: kind and number.
    decided: BTreeMap<Key, (String, i64)>,
}

impl Runs {
    pub(super) fn new(store: Store) -> Runs {
        Runs { store, reader: None, decided: BTreeMap::new() }
    }

    /// Makes a [`CI_PASSED`] a [`CI_FIXED`] where the run before it failed. What is handled again keeps the kind that it
    /// was told as: meanwhile other runs have ended.
    pub(super) fn compare(&mut self, delivery: i64, position: usize, event: &mut Event) {
        let Some(run) = event.run() else { return };
        if let Some(first) = self.ask(|reader| reader.first_kind(delivery, position)) {
            if first == CI_FIXED && event.kind == CI_PASSED {
                event.kind = CI_FIXED.to_owned();
            }
            return;
        }
        let key = (event.source.clone(), run.subject.to_owned(), run.what.to_owned());
        let last = match self.decided.get(&key) {
            Some(last) => Some(last.clone()),
            None => self.ask(|reader| reader.last_run(&event.source, &run)),
        };
        let number = run.number;
        if let Some((kind, last)) = last {
            // An older run that ends late says nothing about now.
            if last > number {
                return;
            }
            if kind == CI_FAILED && event.kind == CI_PASSED {
                event.kind = CI_FIXED.to_owned();
            }
        }
        self.decided.insert(key, (event.kind.clone(), number));
    }

    /// The batch is written: the store knows by now.
    pub(super) fn written(&mut self) {
        self.decided.clear();
    }

    /// What cannot be read counts as unknown: a green that is told without "fixed" is better than none.
    fn ask<T>(&mut self, question: impl FnOnce(&Reader) -> Result<Option<T>, StoreError>) -> Option<T> {
        let reader = match self.reader.take() {
            Some(reader) => Ok(reader),
            None => self.store.reader(),
        };
        let answer = reader.and_then(|reader| {
            let answer = question(&reader)?;
            self.reader = Some(reader);
            Ok(answer)
        });
        answer.unwrap_or_else(|error| {
            log::warn!("cannot tell what is fixed why={}", logfmt::value(&error.to_string()));
            None
        })
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use super::*;
    use crate::{event::Fact, time::SystemClock};

    #[test]
    fn the_green_after_red_is_told_once() {
        let directory = tempfile::tempdir().unwrap();
        let (store, threads) = Store::open(&directory.path().join("a.db"), 0, Arc::new(SystemClock)).unwrap();
        let mut runs = Runs::new(store);
        let mut told = |kind: &str, workflow: &str, branch: &str, number: i64| {
            let mut event = Event::of(kind);
            event.subject = Some(format!("acme/api@{branch} ci"));
            event.extra.insert("workflow".to_owned(), Fact::Text(workflow.to_owned()));
            event.extra.insert("run".to_owned(), Fact::Number(number));
            runs.compare(1, 0, &mut event);
            event.kind
        };
        assert_eq!(told(CI_PASSED, "CI", "main", 1), CI_PASSED, "nothing was before");
        assert_eq!(told(CI_FAILED, "CI", "main", 2), CI_FAILED);
        assert_eq!(told(CI_PASSED, "Docs", "main", 3), CI_PASSED, "another workflow");
        assert_eq!(told(CI_PASSED, "CI", "work", 3), CI_PASSED, "another branch");
        assert_eq!(told(CI_PASSED, "CI", "main", 1), CI_PASSED, "an older run that ends late");
        assert_eq!(told(CI_PASSED, "CI", "main", 2), CI_FIXED, "the same run, tried again");
        assert_eq!(told(CI_PASSED, "CI", "main", 4), CI_PASSED, "green after green");
        assert_eq!(told(CI_FAILED, "CI", "main", 3), CI_FAILED, "an older run that fails late");
        assert_eq!(told(CI_PASSED, "CI", "main", 5), CI_PASSED, "has broken nothing");
        // Those who do not number their runs tell them in order.
        assert_eq!(told(CI_FAILED, "Build", "main", 0), CI_FAILED);
        assert_eq!(told(CI_PASSED, "Build", "main", 0), CI_FIXED);
        threads.stop(Duration::from_secs(10));
    }

    #[test]
    fn without_a_database_green_is_green() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.db");
        let (store, threads) = Store::open(&path, 0, Arc::new(SystemClock)).unwrap();
        threads.stop(Duration::from_secs(10));
        std::fs::remove_file(path).unwrap();
        let mut event = Event { subject: Some("acme/api@main ci".to_owned()), ..Event::of(CI_PASSED) };
        Runs::new(store).compare(1, 0, &mut event);
        assert_eq!(event.kind, CI_PASSED);
    }
}
