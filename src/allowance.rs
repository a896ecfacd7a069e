//! How often something may happen: so many at once, and one more after each interval (a token bucket). Pure: time is an
//! argument.

use std::time::{Duration, Instant};

/// What is granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// One more after each of these.
    pub every: Duration,
    /// At once, after a rest.
    pub burst: u32,
}

/// The account of one who is granted a [`Rate`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allowance {
    /// When all that was taken will have been earned again.
    even_at: Option<Instant>,
}

impl Allowance {
    /// Takes one.
    ///
    /// # Errors
    /// How long until there is one to take. Nothing is taken then.
    pub fn take(&mut self, rate: Rate, now: Instant) -> Result<(), Duration> {
        let even_at = self.even_at.map_or(now, |even_at| even_at.max(now)) + rate.every;
        let latest = now + rate.every * rate.burst;
        if even_at > latest {
            return Err(even_at - latest);
        }
        self.even_at = Some(even_at);
        Ok(())
    }

    /// When the whole burst is there again; `None` when it never was touched.
    pub fn even_at(&self) -> Option<Instant> {
        self.even_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_one_after_each_interval() {
        let rate = Rate { every: Duration::from_secs(3), burst: 4 };
        let (mut allowance, start) = (Allowance::default(), Instant::now());
        for _ in 0..4 {
            assert_eq!(allowance.take(rate, start), Ok(()));
        }
        assert_eq!(allowance.take(rate, start), Err(Duration::from_secs(3)));
        assert_eq!(allowance.take(rate, start + Duration::from_secs(1)), Err(Duration::from_secs(2)));
        let later = start + Duration::from_secs(3);
        assert_eq!(allowance.take(rate, later), Ok(()));
        assert_eq!(allowance.take(rate, later), Err(Duration::from_secs(3)));
        let rested = allowance.even_at().unwrap();
        assert_eq!(rested, start + Duration::from_secs(15));
        assert!((0..4).all(|_| allowance.take(rate, rested).is_ok()) && allowance.take(rate, rested).is_err());
    }
}
