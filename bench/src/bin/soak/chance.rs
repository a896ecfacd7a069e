//! What all threads of a soak share: chance that follows from a seed, the order to end, and the times in which the door may
//! be deaf. Refuses to know what they do with it.

use std::{
    sync::{Condvar, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Equal seeds, equal numbers (SplitMix64).
#[derive(Debug)]
pub(crate) struct Chance(u64);

impl Chance {
    /// Another stream for each `use`.
    pub(crate) fn new(seed: u64, purpose: u64) -> Chance {
        Chance(seed.wrapping_mul(0xd134_2543_de82_ef95).wrapping_add(purpose))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    /// From 0 to 1.
    pub(crate) fn share(&mut self) -> f64 {
        self.below(1 << 32) as f64 / (1_u64 << 32) as f64
    }

    pub(crate) fn pick<'a, T>(&mut self, list: &'a [T]) -> Option<&'a T> {
        list.get(usize::try_from(self.below(list.len() as u64)).unwrap_or(0))
    }

    pub(crate) fn shuffle<T>(&mut self, list: &mut [T]) {
        for last in (1..list.len()).rev() {
            list.swap(last, usize::try_from(self.below(last as u64 + 1)).unwrap_or(0));
        }
    }
}

/// The order to end.
#[derive(Debug, Default)]
pub(crate) struct Halt {
    is_told: Mutex<bool>,
    changed: Condvar,
}

impl Halt {
    pub(crate) fn tell(&self) {
        *self.is_told.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
    }

    pub(crate) fn is_told(&self) -> bool {
        *self.is_told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits so long at most, and says whether it is told.
    pub(crate) fn wait(&self, longest: Duration) -> bool {
        let is_told = self.is_told.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(is_told, longest, |is_told| !*is_told);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// Times in which the door, the panel and the command line may fail, because of a fault.
#[derive(Debug, Default)]
pub(crate) struct Windows(Mutex<Vec<(Instant, Option<Instant>)>>);

impl Windows {
    /// One that lasts until it is closed.
    pub(crate) fn open(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((Instant::now(), None));
    }

    /// Ends it so much later than now.
    pub(crate) fn close(&self, grace: Duration) {
        if let Some((_, end)) = self.0.lock().unwrap_or_else(PoisonError::into_inner).last_mut() {
            *end = Some(Instant::now() + grace);
        }
    }

    /// Whether one has a moment in common with this span.
    pub(crate) fn touch(&self, from: Instant, to: Instant) -> bool {
        let windows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        windows.iter().any(|(begin, end)| *begin <= to && end.is_none_or(|end| from <= end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_seeds_choose_equally_and_others_do_not() {
        let numbers = |seed, purpose| {
            let mut chance = Chance::new(seed, purpose);
            [chance.below(1000), chance.below(1000), chance.below(1000)]
        };
        assert_eq!(numbers(1, 1), numbers(1, 1));
        assert_ne!(numbers(1, 1), numbers(2, 1));
        assert_ne!(numbers(1, 1), numbers(1, 2));
        let (mut list, mut chance) = ([1, 2, 3, 4, 5], Chance::new(1, 1));
        chance.shuffle(&mut list);
        list.sort_unstable();
        assert_eq!(list, [1, 2, 3, 4, 5]);
    }

    #[test]
    fn a_window_is_touched_by_what_overlaps_it() {
        let windows = Windows::default();
        let before = Instant::now();
        windows.open();
        let within = Instant::now();
        assert!(windows.touch(within, within + Duration::from_secs(9)));
        windows.close(Duration::from_secs(1));
        let after = Instant::now() + Duration::from_secs(2);
        assert!(windows.touch(before, within) && windows.touch(within, after));
        assert!(
            !windows.touch(after, after)
                && !windows.touch(before - Duration::from_secs(2), before - Duration::from_secs(1))
        );
    }
}
