//! Appends to the local log: records become blocks, and wait for the committer.
//!
//! In: records, offsets. Out: their positions, when they are durable. Never: a queue without bound.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use model::topic::Topic;
use tokio::sync::oneshot;

use super::block::{self, Filled};
use super::committer::{Commit, NewBlock, Request};
use super::shared::{Core, Health};
use crate::log::{DEAD_RECORD_BYTES_MAX, LogError, RECORD_BYTES_MAX};
use crate::record::{NewRecord, Position, partition_of};

/// Bytes that may wait for the committer; more callers wait for room.
pub(super) const QUEUE_BYTES: usize = 16 << 20;
/// Unit of the queue's bound.
pub(super) const PERMIT_BYTES: usize = 1024;
/// Longest that one batch may take, before the disk counts as broken.
pub(super) const WRITE_MAX: Duration = Duration::from_secs(60);

impl Core {
    /// Appends records and commits offsets, together; positions in the order of the records.
    pub(super) async fn append(
        &self,
        records: &[NewRecord],
        commit: Option<Commit>,
    ) -> Result<Vec<Position>, LogError> {
        self.check()?;
        if records.is_empty() && commit.is_none() {
            return Ok(Vec::new());
        }
        let (blocks, places) = self.fill(records)?;
        let bytes: usize = blocks.iter().map(|block| block.filled.len()).sum();
        let wanted = bytes.div_ceil(PERMIT_BYTES).clamp(1, QUEUE_BYTES / PERMIT_BYTES);
        let permits = u32::try_from(wanted).unwrap_or(u32::MAX);
        let closed = |_| LogError::Unavailable("it is closed".to_owned());
        let permit = Arc::clone(&self.room).acquire_many_owned(permits).await.map_err(closed)?;
        let partitions: Vec<u32> = blocks.iter().map(|block| block.partition).collect();
        let (reply, answer) = oneshot::channel();
        let request = Request { blocks, commit, reply, permit };
        let sent = match &*self.queue.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(queue) => queue.send(request).is_ok(),
            None => false,
        };
        if !sent {
            return Err(self.why_not());
        }
        let bases = self.answer(answer).await?;
        let position = |(block, index): (usize, u64)| {
            let place = bases.get(block).zip(partitions.get(block));
            let (base, partition) = place.ok_or_else(|| LogError::Broken("it has lost count".to_owned()))?;
            Ok(Position { partition: *partition, offset: base.saturating_add(index) })
        };
        places.into_iter().map(position).collect()
    }

    /// Waits for the committer's answer, but not for a committer that hangs.
    async fn answer(
        &self,
        mut answer: oneshot::Receiver<Result<Vec<u64>, LogError>>,
    ) -> Result<Vec<u64>, LogError> {
        let mut health = self.health.subscribe();
        loop {
            tokio::select! {
                biased;
                answer = &mut answer => {
                    return answer.unwrap_or_else(|_| {
                        Err(LogError::Broken("its writer has stopped; restart to recover".to_owned()))
                    });
                }
                _ = health.wait_for(|health| matches!(health, Health::Broken(_))) => return Err(self.why_not()),
                () = tokio::time::sleep(WRITE_MAX) => {
                    if self.is_stuck() {
                        self.break_down(format!("a write to {} does not come back", self.folder.display()));
                    }
                }
            }
        }
    }

    /// Fills blocks by partition; for each record its block and its place there.
    fn fill(&self, records: &[NewRecord]) -> Result<(Vec<NewBlock>, Vec<(usize, u64)>), LogError> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed).checked_rem(self.partitions).unwrap_or(0);
        // For each partition met: bytes still to come, and the block that is open.
        let mut open: Vec<(Topic, u32, usize, Option<usize>)> = Vec::new();
        let mut targets = Vec::with_capacity(records.len());
        for record in records {
            let partition = self.check_record(record, turn)?;
            let found = open.iter().position(|(t, p, _, _)| *t == record.topic && *p == partition);
            let index = found.unwrap_or_else(|| {
                open.push((record.topic, partition, 0, None));
                open.len().saturating_sub(1)
            });
            if let Some((_, _, bytes, _)) = open.get_mut(index) {
                *bytes = bytes.saturating_add(stored_size(record));
            }
            targets.push(index);
        }
        let mut blocks: Vec<NewBlock> = Vec::with_capacity(open.len());
        let mut places = Vec::with_capacity(records.len());
        for (record, target) in records.iter().zip(targets) {
            let Some((topic, partition, left, current)) = open.get_mut(target) else { continue };
            let size = stored_size(record);
            let is_full =
                current.and_then(|index| blocks.get(index)).is_none_or(|block| block.filled.is_full());
            if is_full {
                let capacity = (*left).min(block::BLOCK_BYTES.saturating_add(size));
                *current = Some(blocks.len());
                blocks.push(NewBlock { topic: *topic, partition: *partition, filled: Filled::new(capacity) });
            }
            *left = left.saturating_sub(size);
            let index = current.unwrap_or(0);
            if let Some(block) = blocks.get_mut(index) {
                places.push((index, u64::from(block.filled.count())));
                block.filled.push(record);
            }
        }
        Ok((blocks, places))
    }

    /// The partition that a record goes to.
    fn check_record(&self, record: &NewRecord, turn: u32) -> Result<u32, LogError> {
        let limit = if record.topic == Topic::Dead { DEAD_RECORD_BYTES_MAX } else { RECORD_BYTES_MAX };
        let bytes = record.size();
        if bytes > limit {
            return Err(LogError::TooLarge { bytes, limit });
        }
        let partition = match record.partition {
            Some(partition) => partition,
            None if record.key.is_empty() => turn,
            None => partition_of(&record.key, self.partitions),
        };
        if partition >= self.partitions {
            let (topic, partitions) = (record.topic, self.partitions);
            return Err(LogError::Broken(format!(
                "{topic} has {partitions} partitions, none with number {partition}"
            )));
        }
        Ok(partition)
    }
}

/// About as many bytes as the record takes in a block.
fn stored_size(record: &NewRecord) -> usize {
    let headers: usize = record.headers.iter().map(|(_, value)| value.len().saturating_add(4)).sum();
    record.key.len().saturating_add(record.value.len()).saturating_add(headers).saturating_add(8)
}
