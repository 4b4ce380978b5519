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
        let plan = self.plan(records)?;
        let bytes: usize = plan.lanes.iter().map(|lane| lane.left).sum();
        let wanted = bytes.div_ceil(PERMIT_BYTES).clamp(1, QUEUE_BYTES / PERMIT_BYTES);
        let permits = u32::try_from(wanted).unwrap_or(u32::MAX);
        let closed = |_| LogError::Unavailable("it is closed".to_owned());
        let permit = Arc::clone(&self.room).acquire_many_owned(permits).await.map_err(closed)?;
        let (blocks, places) = fill(records, plan);
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
        let position = |Place { block, index }: Place| {
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

    /// Where each record goes.
    fn plan(&self, records: &[NewRecord]) -> Result<Plan, LogError> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed).checked_rem(self.partitions).unwrap_or(0);
        let mut lanes: Vec<Lane> = Vec::new();
        let mut targets = Vec::with_capacity(records.len());
        for record in records {
            let (topic, partition) = (record.topic, self.check_record(record, turn)?);
            let found = lanes.iter().position(|lane| lane.topic == topic && lane.partition == partition);
            let index = found.unwrap_or_else(|| {
                lanes.push(Lane { topic, partition, left: 0, open: None });
                lanes.len().saturating_sub(1)
            });
            if let Some(lane) = lanes.get_mut(index) {
                lane.left = lane.left.saturating_add(stored_size(record));
            }
            targets.push(index);
        }
        Ok(Plan { lanes, targets })
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

/// The records of one call that go to one partition.
struct Lane {
    topic: Topic,
    partition: u32,
    /// Bytes that are still to come.
    left: usize,
    /// The block that is being filled.
    open: Option<usize>,
}

/// The partitions that a call writes to, and which of them each record goes to.
struct Plan {
    lanes: Vec<Lane>,
    targets: Vec<usize>,
}

/// A record's block, and its place there.
struct Place {
    block: usize,
    index: u64,
}

/// Fills blocks by partition.
fn fill(records: &[NewRecord], plan: Plan) -> (Vec<NewBlock>, Vec<Place>) {
    let mut lanes = plan.lanes;
    let mut blocks: Vec<NewBlock> = Vec::with_capacity(lanes.len());
    let mut places = Vec::with_capacity(records.len());
    for (record, target) in records.iter().zip(plan.targets) {
        let Some(lane) = lanes.get_mut(target) else { continue };
        let size = stored_size(record);
        let open = lane.open.filter(|index| blocks.get(*index).is_some_and(|block| !block.filled.is_full()));
        let index = open.unwrap_or_else(|| {
            let capacity = lane.left.min(block::BLOCK_BYTES.saturating_add(size));
            let filled = Filled::new(capacity);
            blocks.push(NewBlock { topic: lane.topic, partition: lane.partition, filled });
            blocks.len().saturating_sub(1)
        });
        lane.open = Some(index);
        lane.left = lane.left.saturating_sub(size);
        if let Some(block) = blocks.get_mut(index) {
            places.push(Place { block: index, index: u64::from(block.filled.count()) });
            block.filled.push(record);
        }
    }
    (blocks, places)
}

/// About as many bytes as the record takes in a block.
fn stored_size(record: &NewRecord) -> usize {
    let headers: usize = record.headers.iter().map(|(_, value)| value.len().saturating_add(4)).sum();
    record.key.len().saturating_add(record.value.len()).saturating_add(headers).saturating_add(8)
}
