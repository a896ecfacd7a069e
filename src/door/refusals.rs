//! Who was refused, on its way into the database. Owns the counts that are not written yet; refuses to let strangers
//! decide how often the card is written.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use super::failures::neighbourhood;
use crate::{
    store::{OTHERS, Refused, Store},
    threads::{Stop, Wake, lock},
};

/// Pairs of source and address that wait to be written; further addresses are counted together.
const PAIRS_MAX: usize = 256;
/// Between two writes.
const EVERY: Duration = Duration::from_secs(60);
/// After the first refusal for a while, so that who looks at once sees it.
const SOON: Duration = Duration::from_secs(1);

/// The counts. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Refusals {
    pending: Arc<Mutex<BTreeMap<(String, String), Refused>>>,
    wake: Wake,
}

impl Refusals {
    /// Nobody yet.
    pub fn new() -> Refusals {
        Refusals::default()
    }

    /// Counts one. `source` is empty where the request named none that there is.
    pub(super) fn count(&self, source: &str, client: Option<IpAddr>, status: u16, why: &str) {
        let mut pending = lock(&self.pending);
        let peer = client.map(shown).unwrap_or_default();
        let mut key = (source.to_owned(), peer);
        if pending.len() >= PAIRS_MAX && !pending.contains_key(&key) {
            // One of these per source, so the table stays bounded.
            OTHERS.clone_into(&mut key.1);
        }
        let refused = pending.entry(key).or_insert_with_key(|(source, peer)| Refused {
            source: source.clone(),
            peer: peer.clone(),
            status,
            why: String::new(),
            count: 0,
        });
        refused.count += 1;
        refused.status = status;
        why.clone_into(&mut refused.why);
        drop(pending);
        self.wake.wake();
    }

    /// What wakes [`Refusals::run`], also when it shall end.
    pub fn wake(&self) -> Wake {
        self.wake.clone()
    }

    /// Writes what was counted until told to stop, and the rest then. `rest` is woken with `stop`.
    pub fn run(&self, store: &Store, stop: &Stop, rest: &Wake) {
        const FOR_EVER: Duration = Duration::from_secs(24 * 3600);
        while !stop.is_told() {
            if !self.wake.wait(FOR_EVER) || rest.wait(SOON) {
                continue;
            }
            self.write(store);
            rest.wait(EVERY);
        }
        self.write(store);
    }

    fn write(&self, store: &Store) {
        let pending = std::mem::take(&mut *lock(&self.pending));
        if pending.is_empty() {
            return;
        }
        if let Err(error) = store.count_refusals(pending.values().cloned().collect()) {
            log::warn!("cannot note who was refused: {error}; it is tried again with the next");
            self.put_back(pending);
        }
    }

    /// What came meanwhile is newer, and says what the last one was.
    fn put_back(&self, unwritten: BTreeMap<(String, String), Refused>) {
        let mut pending = lock(&self.pending);
        for (key, refused) in unwritten {
            match pending.get_mut(&key) {
                Some(newer) => newer.count += refused.count,
                // Twice the limit at most: what is put back was within it.
                None => drop(pending.insert(key, refused)),
            }
        }
    }
}

/// IPv6 by its network, as failures are counted.
fn shown(client: IpAddr) -> String {
    match client {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(_) => format!("{}/64", neighbourhood(client)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_kept_by_source_and_network_and_bounded() {
        let refusals = Refusals::new();
        let client = |text: &str| Some(text.parse().unwrap());
        refusals.count("github", client("192.0.2.1"), 401, "wrong");
        refusals.count("github", client("192.0.2.1"), 429, "wrong again");
        refusals.count("github", client("2001:db8::1"), 401, "wrong");
        refusals.count("github", client("2001:db8::ffff"), 401, "wrong");
        refusals.count("", None, 404, "no such source or path");
        let seen: Vec<String> = lock(&refusals.pending)
            .values()
            .map(|one| format!("{}|{}|{}|{}|{}", one.source, one.peer, one.status, one.count, one.why))
            .collect();
        assert_eq!(
            seen,
            [
                "||404|1|no such source or path",
                "github|192.0.2.1|429|2|wrong again",
                "github|2001:db8::/64|401|2|wrong",
            ]
        );
        for host in 0..10_000_u32 {
            refusals.count("github", Some(IpAddr::V4(host.into())), 401, "wrong");
        }
        let taken = std::mem::take(&mut *lock(&refusals.pending));
        assert_eq!(taken.len(), PAIRS_MAX + 1);
        refusals.count("github", client("192.0.2.1"), 403, "newer");
        refusals.put_back(taken);
        let pending = lock(&refusals.pending);
        assert_eq!(pending.values().map(|one| one.count).sum::<u64>(), 5 + 10_001);
        let one = &pending[&("github".to_owned(), "192.0.2.1".to_owned())];
        assert_eq!((one.count, one.status, one.why.as_str()), (3, 403, "newer"));
    }

    #[test]
    fn what_cannot_be_noted_is_kept_for_the_next_time() {
        let clock = Arc::new(crate::time::ManualClock::new(crate::time::Timestamp::from_ms(0)));
        let directory = tempfile::tempdir().unwrap();
        let open = || Store::open(&directory.path().join("hookbell.db"), 0, clock.clone()).unwrap();
        let refusals = Refusals::new();
        refusals.count("github", None, 401, "wrong");
        let (ended, threads) = open();
        threads.stop(Duration::from_secs(10));
        refusals.write(&ended);
        let (store, threads) = open();
        refusals.write(&store);
        assert_eq!(store.reader().unwrap().refusals(10).unwrap()[0].count, 1);
        threads.stop(Duration::from_secs(10));
    }
}
