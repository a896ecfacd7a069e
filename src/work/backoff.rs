//! How long to wait before the next attempt. Owns the arithmetic of `[retry]`; refuses to know a clock, a source of
//! randomness or what is tried.

use std::time::Duration;

use crate::config::Retry;

/// The wait after the `failures`-th failure in a row, 1 being the first: `first` × `factor`^(`failures` − 1), at most
/// `cap`, then spread by ± `jitter`. `random` is drawn evenly from 0 to 1.
///
/// The spread comes after the cap: after a long outage every parcel waits the cap, and those are the ones that must
/// not all come back in the same second. So a wait may exceed `cap` by the share `jitter`. Whatever the numbers, the
/// answer is a duration: a delay that panics would take the sender's thread with it.
pub(super) fn delay(retry: &Retry, failures: u32, random: f64) -> Duration {
    // Zero times an overflowed power would be NaN.
    if retry.first.is_zero() {
        return Duration::ZERO;
    }
    let exponent = i32::try_from(failures.saturating_sub(1)).unwrap_or(i32::MAX);
    // `max` and `min` prefer the number over NaN; an overflowed power is infinite, so the cap wins.
    let grown = retry.first.as_secs_f64() * retry.factor.max(1.0).powi(exponent);
    let capped = grown.min(retry.cap.as_secs_f64());
    let spread = share(random, 0.5).mul_add(2.0, -1.0);
    let jitter = share(retry.jitter, 0.0);
    Duration::try_from_secs_f64(capped * jitter.mul_add(spread, 1.0)).unwrap_or(retry.cap)
}

/// `value` as a share between 0 and 1. `clamp` alone would let NaN through.
fn share(value: f64, if_nan: f64) -> f64 {
    if value.is_nan() { if_nan } else { value.clamp(0.0, 1.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn retry(first_s: u64, factor: f64, cap_s: u64, jitter: f64) -> Retry {
        Retry {
            first: Duration::from_secs(first_s),
            factor,
            cap: Duration::from_secs(cap_s),
            jitter,
            give_up_after: Duration::from_secs(3 * 86_400),
        }
    }

    #[test]
    fn the_defaults_grow_threefold_up_to_an_hour() {
        let defaults = retry(5, 3.0, 3600, 0.0);
        let waits: Vec<u64> = (1..=9).map(|failures| delay(&defaults, failures, 0.9).as_secs()).collect();
        assert_eq!(waits, [5, 15, 45, 135, 405, 1215, 3600, 3600, 3600]);
        assert_eq!(delay(&defaults, 0, 0.5), Duration::from_secs(5), "no failure counts as the first");
    }

    #[test]
    fn jitter_spreads_evenly_around_the_wait() {
        let spread = retry(100, 2.0, 3600, 0.2);
        for (random, wait_s) in [(0.0, 80), (0.5, 100), (1.0, 120), (-7.0, 80), (7.0, 120), (f64::NAN, 100)] {
            let difference = delay(&spread, 1, random).as_secs_f64() - f64::from(wait_s);
            assert!(difference.abs() < 1e-6, "random {random}");
        }
    }

    #[test]
    fn waits_never_shrink_without_jitter_and_stay_in_bounds_with_it() {
        let counts = (1..200).chain([1_000, 65_536, u32::MAX - 1, u32::MAX]);
        for first_s in [0, 1, 5, 7200] {
            for factor in [0.5, 1.0, 1.5, 3.0, 1e300, f64::INFINITY, f64::NAN] {
                for jitter in [0.0, 0.2, 1.0, 5.0, -1.0, f64::NAN] {
                    let retry = retry(first_s, factor, 3600, jitter);
                    let mut last = Duration::ZERO;
                    for failures in counts.clone() {
                        let middle = delay(&retry, failures, 0.5);
                        assert!(middle >= last, "{retry:?} {failures}");
                        assert!(middle <= retry.cap, "{retry:?} {failures}");
                        last = middle;
                        for random in [0.0, 0.25, 0.999, 1.0] {
                            let spread = delay(&retry, failures, random);
                            // Either is rounded to nanoseconds on its own.
                            assert!(spread <= middle * 2 + Duration::from_nanos(2), "{retry:?} {failures} {random}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn the_longest_durations_do_not_overflow() {
        let mut retry = retry(5, 3.0, 3600, 1.0);
        retry.cap = Duration::MAX;
        assert_eq!(delay(&retry, u32::MAX, 1.0), Duration::MAX);
        retry.first = Duration::MAX;
        assert_eq!(delay(&retry, 1, 1.0), Duration::MAX);
    }
}
