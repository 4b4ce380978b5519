//! How much a source may send: events and bytes a second, in the mean.
//!
//! In: what each request brought, and the time. Out: how long a source must wait. Never: a refusal of what was already
//! read: a large request is taken, and paid off before the next one.

use std::sync::{Mutex, PoisonError};

use model::config::QuotaConfig;
use model::time::Timestamp;

/// Seconds over which the mean is taken.
const SECONDS: i64 = 10;
/// Longest wait that a sender is told.
const WAIT_S_MAX: u64 = 3600;

/// The quota of one source.
#[derive(Debug)]
pub(super) struct Quota {
    events: Option<Bucket>,
    bytes: Option<Bucket>,
}

impl Quota {
    pub(super) fn new(config: &QuotaConfig) -> Quota {
        Quota {
            events: config.events_per_second.map(Bucket::new),
            bytes: config.bytes_per_second.map(Bucket::new),
        }
    }

    /// Seconds that the source must wait, where it has sent too much.
    pub(super) fn wait_s(&self, now: Timestamp) -> Option<u64> {
        let waits = [&self.events, &self.bytes].into_iter().flatten().filter_map(|bucket| bucket.wait_s(now));
        waits.max()
    }

    /// Takes off what a request brought.
    pub(super) fn take(&self, events: usize, bytes: usize, now: Timestamp) {
        for (bucket, amount) in [(&self.events, events), (&self.bytes, bytes)] {
            if let Some(bucket) = bucket {
                bucket.take(amount, now);
            }
        }
    }
}

/// Fills by `per_second`; may be overdrawn.
#[derive(Debug)]
struct Bucket {
    per_second: i64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// In thousandths.
    level: i64,
    at_ms: i64,
}

impl Bucket {
    fn new(per_second: u64) -> Bucket {
        let per_second = i64::try_from(per_second).unwrap_or(i64::MAX);
        let level = per_second.saturating_mul(SECONDS * 1000);
        Bucket { per_second, state: Mutex::new(State { level, at_ms: i64::MIN }) }
    }

    fn wait_s(&self, now: Timestamp) -> Option<u64> {
        let level = self.filled(now, 0);
        if level > 0 {
            return None;
        }
        let seconds = u64::try_from(level.saturating_neg() / 1000 / self.per_second.max(1)).unwrap_or(0);
        Some(seconds.saturating_add(1).min(WAIT_S_MAX))
    }

    fn take(&self, amount: usize, now: Timestamp) {
        self.filled(now, i64::try_from(amount).unwrap_or(i64::MAX).saturating_mul(1000));
    }

    /// The level at a time, after taking off.
    fn filled(&self, now: Timestamp, off: i64) -> i64 {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // A clock that was set back fills nothing.
        let elapsed_ms = now.millis().saturating_sub(state.at_ms).max(0);
        state.at_ms = state.at_ms.max(now.millis());
        let full = self.per_second.saturating_mul(SECONDS * 1000);
        let level = state.level.saturating_add(elapsed_ms.saturating_mul(self.per_second)).min(full);
        state.level = level.saturating_sub(off);
        state.level
    }
}

#[cfg(test)]
mod tests {
    use model::config::QuotaConfig;
    use model::time::Timestamp;

    use super::Quota;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000 + seconds * 1000)
    }

    #[test]
    fn what_goes_over_is_paid_off_before_the_next() {
        let config = QuotaConfig { events_per_second: Some(100), bytes_per_second: None };
        let quota = Quota::new(&config);
        assert_eq!(quota.wait_s(at(0)), None);
        quota.take(999, usize::MAX, at(0));
        assert_eq!(quota.wait_s(at(0)), None);
        quota.take(1001, 0, at(0));
        assert_eq!(quota.wait_s(at(0)), Some(11));
        assert_eq!(quota.wait_s(at(9)), Some(2));
        assert_eq!(quota.wait_s(at(11)), None);
        // Not more than ten seconds are saved up, and a clock set back gives nothing.
        quota.take(1000, 0, at(10_000));
        assert_eq!(quota.wait_s(at(10_000)), Some(1));
        assert_eq!(quota.wait_s(at(5)), Some(1));
        assert_eq!(quota.wait_s(at(10_001)), None);
    }

    #[test]
    fn bytes_and_events_bound_each_for_itself() {
        let config = QuotaConfig { events_per_second: Some(100), bytes_per_second: Some(1000) };
        let quota = Quota::new(&config);
        quota.take(1, 20_000, at(0));
        assert_eq!(quota.wait_s(at(0)), Some(11));
        let open = Quota::new(&QuotaConfig::default());
        open.take(usize::MAX, usize::MAX, at(0));
        assert_eq!(open.wait_s(at(0)), None);
        let least = Quota::new(&QuotaConfig { events_per_second: Some(1), bytes_per_second: Some(u64::MAX) });
        least.take(usize::MAX, usize::MAX, at(0));
        assert_eq!(least.wait_s(at(0)), Some(3600));
    }
}
