//! Log lines that strangers cause, kept from becoming a flood on the card. Owns how many are written and the count of
//! those that are not.

use std::{sync::Mutex, time::Instant};

use crate::{
    allowance::{Allowance, Rate},
    threads::lock,
};

/// One kind of line.
#[derive(Debug)]
pub(super) struct Crowd {
    rate: Rate,
    state: Mutex<(Allowance, u64)>,
}

impl Crowd {
    pub(super) fn new(rate: Rate) -> Crowd {
        Crowd { rate, state: Mutex::default() }
    }

    /// Counts one occasion. When a line may be written, says how many before it were not.
    pub(super) fn count(&self, now: Instant) -> Option<u64> {
        let (allowance, untold) = &mut *lock(&self.state);
        if allowance.take(self.rate, now).is_err() {
            *untold += 1;
            return None;
        }
        Some(std::mem::take(untold))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_not_told_is_counted_and_told_with_the_next() {
        let crowd = Crowd::new(Rate { every: Duration::from_secs(1), burst: 2 });
        let start = Instant::now();
        let told = |ms| crowd.count(start + Duration::from_millis(ms));
        assert_eq!([told(0), told(0), told(0), told(999)], [Some(0), Some(0), None, None]);
        assert_eq!([told(1000), told(1001)], [Some(2), None]);
    }
}
