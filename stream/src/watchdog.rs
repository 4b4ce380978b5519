//! The stall watchdog: a partition with lag that does not move.
//!
//! In: what is committed, where the end is, the time. Out: whether it has stood still too long. Never: an action.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

/// How long a partition with lag may stand still.
pub(crate) const STALL: Duration = Duration::from_secs(30);

/// Watches the partitions of one consumer.
#[derive(Debug)]
pub(crate) struct Watchdog {
    patience: Duration,
    seen: HashMap<u32, Seen>,
}

#[derive(Debug)]
struct Seen {
    committed: u64,
    since: Instant,
}

impl Watchdog {
    /// `patience`: how long a partition with lag may stand still.
    pub(crate) fn new(patience: Duration) -> Watchdog {
        Watchdog { patience, seen: HashMap::new() }
    }

    /// Looks at a partition. `true`: it has stood still for too long, since it moved or since this was said last.
    pub(crate) fn look(&mut self, partition: u32, committed: u64, end: u64, now: Instant) -> bool {
        let seen = self.seen.entry(partition).or_insert(Seen { committed, since: now });
        if committed != seen.committed || committed >= end {
            *seen = Seen { committed, since: now };
            return false;
        }
        let is_stalled = now.saturating_duration_since(seen.since) >= self.patience;
        if is_stalled {
            seen.since = now;
        }
        is_stalled
    }

    /// The partition is not ours any more.
    pub(crate) fn forget(&mut self, partition: u32) {
        self.seen.remove(&partition);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::{STALL, Watchdog};

    #[test]
    fn only_lag_that_stands_still_is_a_stall() {
        let start = Instant::now();
        let mut dog = Watchdog::new(STALL);
        let mut check = |seconds: u64, committed: u64, end: u64, expected: bool| {
            let now = start + Duration::from_secs(seconds);
            assert_eq!(dog.look(0, committed, end, now), expected, "at {seconds} s");
        };
        check(0, 5, 9, false);
        check(29, 5, 9, false);
        check(30, 5, 9, true);
        check(31, 5, 9, false);
        check(60, 5, 9, true);
        check(61, 6, 9, false);
        check(90, 6, 9, false);
        check(91, 6, 9, true);
        check(92, 9, 9, false);
        check(200, 9, 9, false);
        check(201, 9, 10, false);
        check(231, 9, 10, true);
    }
}
