//! The stall watchdog: a partition with lag that does not move. It measures lag on the way.
//!
//! In: what is committed, where the end is, the time. Out: whether it moves or has stood still too long. Never: an action.

use std::collections::HashMap;
use std::time::Duration;

use model::metrics::metrics;
use model::time::Timestamp;
use model::topic::Topic;
use tokio::time::Instant;

use crate::health::Health;
use crate::log::{Log, LogError};

/// How long a partition with lag may stand still.
pub(crate) const STALL: Duration = Duration::from_secs(30);

/// Watches the partitions of one consumer.
#[derive(Debug)]
pub(crate) struct Watchdog {
    patience: Duration,
    seen: HashMap<u32, Seen>,
    ages: HashMap<u32, Age>,
}

/// What tells how old the first unread record may be.
#[derive(Clone, Copy, Debug, Default)]
struct Age {
    /// When the newest record taken was appended.
    newest: Option<Timestamp>,
    /// When nothing was left to read, last.
    caught_up: Option<Timestamp>,
}

impl Age {
    /// The age of the first unread record, at most; 0 where nothing is known.
    fn seconds(self, now: Timestamp) -> f64 {
        let since = self.newest.max(self.caught_up).unwrap_or(now);
        now.millis().saturating_sub(since.millis()).max(0) as f64 / 1000.0
    }
}

/// What a look at a partition shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    /// It has moved since the last look, or there is nothing to read.
    Moves,
    /// It stands, but not for long yet; or that it stands was said a short time ago.
    Stands,
    /// It has stood still for too long, since it moved or since this was said last.
    Stalled,
}

#[derive(Debug)]
struct Seen {
    committed: u64,
    since: Instant,
}

impl Watchdog {
    /// `patience`: how long a partition with lag may stand still.
    pub(crate) fn new(patience: Duration) -> Watchdog {
        Watchdog { patience, seen: HashMap::new(), ages: HashMap::new() }
    }

    /// Lag of the partitions that a loop has, as metrics; those that stand still are told and come back.
    ///
    /// `reached`: partition, and the offset up to which everything is committed.
    ///
    /// # Errors
    /// What does not get better; a log that is out of reach only leaves partitions out.
    pub(crate) async fn measure(
        &mut self,
        log: &dyn Log,
        group: &str,
        topic: Topic,
        reached: &[(u32, u64)],
        now: Timestamp,
        health: &Health,
    ) -> Result<Vec<u32>, LogError> {
        let mut stalled = Vec::new();
        let mut outcome = Ok(());
        for (partition, reached) in reached.iter().copied() {
            let stable = match log.extent(topic, partition).await {
                Ok(extent) => extent.stable,
                Err(error) if error.is_retryable() => {
                    // The others are not asked: each would wait for its own time-out.
                    outcome = Err(error);
                    break;
                }
                Err(error) => return Err(error),
            };
            let lag = stable.saturating_sub(reached);
            let labels = [group, topic.name(), &partition.to_string()];
            metrics().lag.with_label_values(&labels).set(i64::try_from(lag).unwrap_or(i64::MAX));
            let age = self.ages.entry(partition).or_default();
            if lag == 0 {
                age.caught_up = Some(now);
            }
            metrics().lag_seconds.with_label_values(&labels).set(if lag == 0 {
                0.0
            } else {
                age.seconds(now)
            });
            match self.look(partition, reached, stable, Instant::now()) {
                Look::Moves => health.moves(partition),
                Look::Stands => {}
                Look::Stalled => {
                    tracing::error!(group, %topic, partition, lag, "the partition stands still");
                    metrics().stalled.with_label_values(&[group]).inc();
                    health.stalled(partition, lag, self.patience);
                    stalled.push(partition);
                }
            }
        }
        health.measured(outcome, |partition| reached.iter().any(|(ours, _)| *ours == partition));
        Ok(stalled)
    }

    /// Records of a partition were taken, the newest of them appended then.
    pub(crate) fn took(&mut self, partition: u32, appended: Timestamp) {
        self.ages.entry(partition).or_default().newest = Some(appended);
    }

    /// Looks at a partition.
    fn look(&mut self, partition: u32, committed: u64, end: u64, now: Instant) -> Look {
        let seen = self.seen.entry(partition).or_insert(Seen { committed, since: now });
        if committed != seen.committed || committed >= end {
            *seen = Seen { committed, since: now };
            return Look::Moves;
        }
        if now.saturating_duration_since(seen.since) < self.patience {
            return Look::Stands;
        }
        seen.since = now;
        Look::Stalled
    }

    /// The partition is not ours any more.
    pub(crate) fn forget(&mut self, group: &str, topic: Topic, partition: u32) {
        self.seen.remove(&partition);
        self.ages.remove(&partition);
        let labels = [group, topic.name(), &partition.to_string()];
        let (records, seconds) = (&metrics().lag, &metrics().lag_seconds);
        for outcome in [records.remove_label_values(&labels), seconds.remove_label_values(&labels)] {
            if let Err(error) = outcome {
                tracing::trace!(group, %topic, partition, %error, "its lag was never measured");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::Look::{Moves, Stalled, Stands};
    use model::time::Timestamp;

    use super::{Age, Look, STALL, Watchdog};

    #[test]
    fn the_age_of_lag_goes_by_the_newest_record_taken_or_by_when_all_was_read() {
        let at = |seconds: i64| Some(Timestamp::from_millis(seconds * 1000));
        let now = Timestamp::from_millis(100_000);
        for (newest, caught_up, expected) in [
            (None, None, 0.0),
            (at(40), None, 60.0),
            (at(40), at(99), 1.0),
            (at(98), at(50), 2.0),
            (at(200), None, 0.0),
        ] {
            assert_eq!(Age { newest, caught_up }.seconds(now), expected);
        }
    }

    #[test]
    fn only_lag_that_stands_still_is_a_stall() {
        let start = Instant::now();
        let mut dog = Watchdog::new(STALL);
        let mut check = |seconds: u64, committed: u64, end: u64, expected: Look| {
            let now = start + Duration::from_secs(seconds);
            assert_eq!(dog.look(0, committed, end, now), expected, "at {seconds} s");
        };
        check(0, 5, 9, Stands);
        check(29, 5, 9, Stands);
        check(30, 5, 9, Stalled);
        check(31, 5, 9, Stands);
        check(60, 5, 9, Stalled);
        check(61, 6, 9, Moves);
        check(90, 6, 9, Stands);
        check(91, 6, 9, Stalled);
        check(92, 9, 9, Moves);
        check(200, 9, 9, Moves);
        check(201, 9, 10, Stands);
        check(231, 9, 10, Stalled);
    }
}
