//! The thread that keeps the log small: retention by age and size, compaction, sizes as metrics.
//!
//! In: the clock and what each partition holds. Out: floors that rise, files given back. Never: the newest record of a key.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use model::metrics::metrics;
use model::time::Timestamp;
use model::topic::{Cleanup, Topic};

use super::Core;
use super::compact;
use super::shard::Shard;
use super::store::Store;
use crate::log::LogError;

/// Time between two passes.
const PAUSE: Duration = Duration::from_secs(2);

/// Runs until the sender is dropped.
pub(super) fn run(core: &Core, stopped: &Receiver<()>) {
    while stopped.recv_timeout(PAUSE) == Err(RecvTimeoutError::Timeout) {
        if let Err(error) = pass(core) {
            match error {
                LogError::Broken(why) => core.break_down(why),
                other => tracing::warn!(error = %other, "upkeep of the log is put off"),
            }
        }
    }
}

/// One pass over all partitions.
pub(super) fn pass(core: &Core) -> Result<(), LogError> {
    core.check()?;
    if !core.space.has_reserve() {
        return Err(LogError::NoSpace(format!("{} has no room for upkeep either", core.folder.display())));
    }
    let store = core.store()?;
    let broken = |error: fjall::Error| LogError::Broken(format!("upkeep failed: {error}"));
    let mut is_any_gone = false;
    for (topic, partition, shard) in core.shards.iter() {
        let bytes_max = match topic.cleanup() {
            Cleanup::Time => Some(core.retention.bytes_max),
            Cleanup::CompactTime => Some(u64::MAX),
            Cleanup::Compact => None,
        };
        if let Some(bytes_max) = bytes_max {
            let older_than =
                Timestamp::from_millis(core.clock.now().millis().saturating_sub(core.retention.age_ms));
            is_any_gone |= retire(&store, topic, partition, shard, older_than, bytes_max).map_err(broken)?;
        }
        if topic.cleanup() != Cleanup::Time {
            compact::compact_if_due(&store, topic, partition, shard, core.clock.now())?;
        }
    }
    let is_full = core.is_full();
    if is_any_gone || is_full {
        store.reclaim(is_full).map_err(broken)?;
    }
    for topic in Topic::ALL {
        metrics().log_bytes.with_label_values(&[topic.name()]).set(store.disk_bytes(topic) as f64);
    }
    Ok(())
}

/// Removes what is too old or too much; `true` when there was something.
fn retire(
    store: &Store,
    topic: Topic,
    partition: u32,
    shard: &Shard,
    older_than: Timestamp,
    bytes_max: u64,
) -> fjall::Result<bool> {
    let Some((floor, gone)) = shard.expired(older_than, bytes_max) else { return Ok(false) };
    let mut batch = store.batch();
    batch.put_floor(topic, partition, floor);
    for mile in gone {
        batch.remove_mile(topic, partition, mile);
    }
    // The floor first, and durably: what is gone never comes back, wherever a crash strikes.
    batch.commit_durably()?;
    shard.raise_start(floor.start);
    store.drop_before(topic, partition, floor.start)?;
    tracing::debug!(%topic, partition, start = floor.start, "old records were removed");
    Ok(true)
}
