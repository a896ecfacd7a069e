//! Who fails verification, and when that is too often. Owns a small table of addresses; refuses to keep anybody out: a
//! request that verifies never comes here.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::Mutex,
    time::{Duration, Instant},
};

use crate::{
    allowance::{Allowance, Rate},
    threads::lock,
};

/// The failures that one address has in hand, so that a wrong secret at the provider is seen there as what it is, and how
/// soon one is forgiven.
const TOLERATED: Rate = Rate { every: Duration::from_secs(3), burst: 20 };
/// Addresses remembered at once. The one nearest to being forgiven makes room for a new one.
const ADDRESSES_MAX: usize = 1024;
/// An address that goes on failing is named in the log this often.
const TOLD_EVERY: Duration = Duration::from_secs(60);

/// The addresses that have failed and are not forgiven yet.
#[derive(Debug, Default)]
pub struct Failures(Mutex<HashMap<Neighbourhood, Record>>);

/// What is counted as one sender. IPv6 gives every home a network of 2^64 addresses or more, so the network counts.
/// Nobody knows who is behind a proxy that does not say for whom it speaks, so those are one.
type Neighbourhood = Option<IpAddr>;

#[derive(Debug, Default)]
struct Record {
    allowance: Allowance,
    /// When the log last named this address for failing too often.
    told: Option<Instant>,
    /// Failures since then.
    untold: u64,
}

/// What to answer to a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// 401, and a line in the log.
    Tolerated,
    /// 429.
    TooOften {
        /// After this the next failure is tolerated.
        retry_after: Duration,
        /// How many there were since the log was told, when it is time to tell it again.
        tell: Option<u64>,
    },
}

impl Failures {
    /// Whether a failure would still be tolerated.
    pub fn is_patient_with(&self, client: Option<IpAddr>, now: Instant) -> bool {
        let records = lock(&self.0);
        records.get(&client.map(neighbourhood)).is_none_or(|record| {
            let mut allowance = record.allowance;
            allowance.take(TOLERATED, now).is_ok()
        })
    }

    /// Counts a failure.
    pub fn count(&self, client: Option<IpAddr>, now: Instant) -> Verdict {
        let mut records = lock(&self.0);
        let neighbourhood = client.map(neighbourhood);
        if records.len() >= ADDRESSES_MAX && !records.contains_key(&neighbourhood) {
            make_room(&mut records, now);
        }
        let record = records.entry(neighbourhood).or_default();
        let Err(retry_after) = record.allowance.take(TOLERATED, now) else { return Verdict::Tolerated };
        record.untold += 1;
        let is_due = record.told.is_none_or(|told| now.saturating_duration_since(told) >= TOLD_EVERY);
        let tell = is_due.then(|| std::mem::take(&mut record.untold));
        if is_due {
            record.told = Some(now);
        }
        Verdict::TooOften { retry_after, tell }
    }
}

/// Forgets who is forgiven, or when nobody is, who would be next.
fn make_room(records: &mut HashMap<Neighbourhood, Record>, now: Instant) {
    records.retain(|_, record| record.allowance.even_at() > Some(now));
    if records.len() < ADDRESSES_MAX {
        return;
    }
    let next =
        records.iter().min_by_key(|(_, record)| record.allowance.even_at()).map(|(neighbourhood, _)| *neighbourhood);
    if let Some(next) = next {
        records.remove(&next);
    }
}

/// The address that stands for all that are counted with this one.
pub(super) fn neighbourhood(client: IpAddr) -> IpAddr {
    match client {
        IpAddr::V4(_) => client,
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    fn is_tolerated(failures: &Failures, client: Option<IpAddr>, now: Instant) -> bool {
        failures.count(client, now) == Verdict::Tolerated
    }

    #[test]
    fn a_few_failures_are_tolerated_and_time_forgives() {
        let (failures, start) = (Failures::default(), Instant::now());
        let client = address("192.0.2.1");
        assert!((0..TOLERATED.burst).all(|_| is_tolerated(&failures, client, start)));
        let Verdict::TooOften { retry_after, tell: Some(1) } = failures.count(client, start) else { panic!() };
        assert_eq!(retry_after, TOLERATED.every);
        assert!(is_tolerated(&failures, address("192.0.2.2"), start), "another address has its own account");
        let later = start + retry_after;
        assert!(is_tolerated(&failures, client, later));
        assert!(!is_tolerated(&failures, client, later));
        let clean = later + TOLERATED.every * TOLERATED.burst;
        assert!((0..TOLERATED.burst).all(|_| is_tolerated(&failures, client, clean)));
    }

    #[test]
    fn who_never_stops_is_told_of_once_a_minute_with_the_count() {
        let (failures, start) = (Failures::default(), Instant::now());
        let mut told = Vec::new();
        // A hundred failures a second for two and a half minutes.
        for number in 0..15_000 {
            let now = start + Duration::from_millis(10) * number;
            if let Verdict::TooOften { tell: Some(count), .. } = failures.count(None, now) {
                told.push(count);
            }
        }
        assert_eq!(told.len(), 3, "{told:?}");
        assert!(told[0] == 1 && told[1] > 5_900 && told[2] > 5_900, "{told:?}");
    }

    #[test]
    fn a_network_of_ipv6_is_one_sender_and_the_table_is_bounded() {
        let (failures, start) = (Failures::default(), Instant::now());
        for number in 0..TOLERATED.burst {
            assert!(is_tolerated(&failures, address(&format!("2001:db8:1:2::{number}")), start));
        }
        assert!(!is_tolerated(&failures, address("2001:db8:1:2:ffff::1"), start));
        assert!(is_tolerated(&failures, address("2001:db8:1:3::1"), start));

        for number in 0..3 * ADDRESSES_MAX as u32 {
            assert!(is_tolerated(&failures, Some(IpAddr::V4(number.into())), start));
        }
        assert_eq!(lock(&failures.0).len(), ADDRESSES_MAX);
        assert!(!is_tolerated(&failures, address("2001:db8:1:2::1"), start), "the worst is not forgotten for the many");
        assert!(is_tolerated(&failures, None, start + TOLERATED.every));
        assert_eq!(lock(&failures.0).len(), 2, "who is forgiven is forgotten");
    }
}
