//! How long to wait before the next attempt: exponential, with jitter.
//!
//! In: a seed and the number of the attempt. Out: milliseconds. Never: a
//! random source of its own; the same seed waits the same.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Longest wait before the second attempt.
const FIRST_MS: u64 = 100;
/// Longest wait of all: short enough that the full rate is back soon after an outage.
const LONGEST_MS: u64 = 10_000;

/// Waits of one sink.
#[derive(Debug)]
pub(crate) struct Backoff {
    state: AtomicU64,
    first_ms: u64,
    longest_ms: u64,
}

impl Backoff {
    pub(crate) fn new(seed: u64) -> Backoff {
        Backoff { state: AtomicU64::new(seed), first_ms: FIRST_MS, longest_ms: LONGEST_MS }
    }

    /// Waits too short to be felt.
    #[cfg(test)]
    pub(crate) fn short(seed: u64) -> Backoff {
        Backoff { state: AtomicU64::new(seed), first_ms: 1, longest_ms: 4 }
    }

    /// The wait after the `failures`-th failure in a row (from 1): half of the longest to all of it.
    pub(crate) fn wait(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(16);
        let longest = (self.first_ms << doublings).min(self.longest_ms);
        let half = longest / 2;
        Duration::from_millis(half + self.next() % (half + 1))
    }

    /// SplitMix64 (Steele, Lea, Flood: "Fast Splittable Pseudorandom Number Generators").
    fn next(&self) -> u64 {
        const STEP: u64 = 0x9E37_79B9_7F4A_7C15;
        let mut z = self.state.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::Backoff;

    #[test]
    fn waits_grow_are_bounded_and_differ() {
        let backoff = Backoff::new(1);
        for failures in 1..100 {
            let most = (100_u64 << (failures - 1).min(16)).min(10_000);
            let wait = backoff.wait(failures).as_millis() as u64;
            assert!((most / 2..=most).contains(&wait), "{failures}: {wait}");
        }
        let waits = |seed| {
            let backoff = Backoff::new(seed);
            (0..20).map(|_| backoff.wait(9)).collect::<Vec<_>>()
        };
        assert_eq!(waits(7), waits(7));
        assert_ne!(waits(7), waits(8));
        let distinct: std::collections::BTreeSet<_> = waits(7).into_iter().collect();
        assert!(distinct.len() > 15);
    }
}
