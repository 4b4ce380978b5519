//! Reads of the local log: from the tail in memory, else from disk.
//!
//! In: an offset or a time. Out: records in order, or an offset. Never: what lies beyond the end that was shown.

use bytes::Bytes;
use model::time::Timestamp;
use model::topic::Topic;

use super::block;
use super::shared::Core;
use crate::log::{Extent, FetchLimits, Fetched, LogError};
use crate::record::Record;

impl Core {
    /// Records from `from` on, or the first after it.
    pub(super) async fn read(
        &self,
        topic: Topic,
        partition: u32,
        from: u64,
        limits: FetchLimits,
    ) -> Result<Fetched, LogError> {
        let nothing = Fetched { records: Vec::new(), next: from };
        let Some(shard) = self.shards.get(topic, partition) else { return Ok(nothing) };
        let extent = shard.extent();
        if from >= extent.end || limits.records_max == 0 {
            return Ok(nothing);
        }
        let from = from.max(extent.start);
        let mut reading =
            Reading { topic, partition, from, end: extent.end, limits, bytes: 0, records: Vec::new() };
        if let Some(blocks) = shard.tail(from, limits.bytes_max) {
            for block in blocks {
                if !reading.take(&block)? {
                    break;
                }
            }
            return Ok(reading.fetched());
        }
        let store = self.store()?;
        let read = tokio::task::spawn_blocking(move || {
            let mut outcome = Ok(true);
            let visited = store.blocks(topic, partition, from, |block| {
                outcome = reading.take(&block);
                matches!(outcome, Ok(true))
            });
            visited.map_err(|error| LogError::Broken(error.to_string()))?;
            outcome.map(|_| reading.fetched())
        });
        read.await.map_err(|error| LogError::Unavailable(error.to_string()))?
    }

    /// Offset of the first record taken at or after `time`.
    pub(super) async fn offset_at(
        &self,
        topic: Topic,
        partition: u32,
        time: Timestamp,
    ) -> Result<u64, LogError> {
        let Some(shard) = self.shards.get(topic, partition) else { return Ok(0) };
        let (extent, from) = (shard.extent(), shard.mile_before(time));
        let store = self.store()?;
        let search = move || {
            let mut found = Ok(None);
            let visited = store.blocks(topic, partition, from, |block| {
                found = first_at(&block, topic, partition, extent, time);
                matches!(found, Ok(None))
            });
            visited.map_err(|error| LogError::Broken(error.to_string()))?;
            found.map(|offset| offset.unwrap_or(extent.end))
        };
        tokio::task::spawn_blocking(search).await.map_err(|error| LogError::Unavailable(error.to_string()))?
    }
}

fn first_at(
    block: &Bytes,
    topic: Topic,
    partition: u32,
    extent: Extent,
    time: Timestamp,
) -> Result<Option<u64>, LogError> {
    let damaged = |error: block::Damaged| LogError::Broken(format!("{topic}/{partition}: {error}"));
    for record in block::records(block, topic, partition).map_err(damaged)? {
        let record = record.map_err(damaged)?;
        if record.appended >= time && record.offset >= extent.start && record.offset < extent.end {
            return Ok(Some(record.offset));
        }
    }
    Ok(None)
}

/// One read, block by block.
struct Reading {
    topic: Topic,
    partition: u32,
    from: u64,
    end: u64,
    limits: FetchLimits,
    bytes: usize,
    records: Vec<Record>,
}

impl Reading {
    /// What was read. Where there was nothing, compaction has taken everything up to the end.
    fn fetched(self) -> Fetched {
        let next = self.records.last().map_or(self.end, |record| record.offset.saturating_add(1));
        Fetched { records: self.records, next }
    }

    /// Takes what is wanted of a block; `false` when it is enough.
    fn take(&mut self, block: &Bytes) -> Result<bool, LogError> {
        let (topic, partition) = (self.topic, self.partition);
        let damaged = |error: block::Damaged| LogError::Broken(format!("{topic}/{partition}: {error}"));
        for record in block::records(block, topic, partition).map_err(damaged)? {
            let record = record.map_err(damaged)?;
            if record.offset < self.from {
                continue;
            }
            let bytes = self.bytes.saturating_add(record.size());
            let is_enough = self.records.len() >= self.limits.records_max
                || (bytes > self.limits.bytes_max && !self.records.is_empty());
            if is_enough || record.offset >= self.end {
                return Ok(false);
            }
            self.bytes = bytes;
            self.records.push(record);
        }
        Ok(self.records.len() < self.limits.records_max && self.bytes < self.limits.bytes_max)
    }
}
