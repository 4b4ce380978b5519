//! What the local log's threads and handles share: health, extents, groups, the queue, reads.
//!
//! In: records to append, offsets to read from. Out: requests to the committer, records. Never: a write of its own.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use bytes::Bytes;
use model::time::{Clock, Timestamp};
use model::topic::Topic;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{Semaphore, oneshot, watch};

use super::block::{self, Filled};
use super::committer::{Commit, NewBlock, Request};
use super::group::Group;
use super::shard::Shard;
use super::slots::Slots;
use super::space::Space;
use super::store::Store;
use crate::log::{DEAD_RECORD_BYTES_MAX, Extent, FetchLimits, LogError, RECORD_BYTES_MAX};
use crate::record::{NewRecord, Position, Record, partition_of};

/// Bytes that may wait for the committer; more callers wait for room.
const QUEUE_BYTES: usize = 16 << 20;
/// Unit of the queue's bound.
const PERMIT_BYTES: usize = 1024;

/// Whether the log works.
#[derive(Clone, Debug)]
pub(super) enum Health {
    /// It does.
    Open,
    /// It was closed.
    Closed,
    /// A write failed: nothing is acknowledged any more.
    Broken(String),
}

/// Shared by all handles and threads.
pub(super) struct Core {
    pub(super) folder: PathBuf,
    pub(super) id: String,
    pub(super) partitions: u32,
    pub(super) clock: Clock,
    pub(super) shards: Slots<Shard>,
    pub(super) space: Space,
    pub(super) retention: Retention,
    store: RwLock<Option<Arc<Store>>>,
    health: Mutex<Health>,
    full: AtomicBool,
    groups: Mutex<HashMap<(String, Topic), Arc<Group>>>,
    news: Vec<(Topic, watch::Sender<u64>)>,
    queue: Mutex<Option<UnboundedSender<Request>>>,
    room: Arc<Semaphore>,
    turn: AtomicU32,
    /// Freed last.
    lock: Mutex<Option<super::lock::FolderLock>>,
}

/// How much is kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Retention {
    /// Largest age, in milliseconds.
    pub(super) age_ms: i64,
    /// Largest size of a partition, in bytes.
    pub(super) bytes_max: u64,
}

/// What [`Core::new`] is made of.
pub(super) struct Parts {
    pub(super) folder: PathBuf,
    pub(super) id: String,
    pub(super) partitions: u32,
    pub(super) clock: Clock,
    pub(super) shards: Slots<Shard>,
    pub(super) groups: HashMap<(String, Topic), Arc<Group>>,
    pub(super) space: Space,
    pub(super) retention: Retention,
    pub(super) store: Store,
    pub(super) queue: UnboundedSender<Request>,
    pub(super) lock: super::lock::FolderLock,
}

impl Core {
    pub(super) fn new(parts: Parts) -> Core {
        let permits = QUEUE_BYTES.div_ceil(PERMIT_BYTES);
        Core {
            folder: parts.folder,
            id: parts.id,
            partitions: parts.partitions,
            clock: parts.clock,
            shards: parts.shards,
            space: parts.space,
            retention: parts.retention,
            store: RwLock::new(Some(Arc::new(parts.store))),
            health: Mutex::new(Health::Open),
            full: AtomicBool::new(false),
            groups: Mutex::new(parts.groups),
            news: Topic::ALL.into_iter().map(|topic| (topic, watch::Sender::new(0))).collect(),
            queue: Mutex::new(Some(parts.queue)),
            room: Arc::new(Semaphore::new(permits)),
            turn: AtomicU32::new(0),
            lock: Mutex::new(Some(parts.lock)),
        }
    }

    /// The engine, unless it was let go of.
    pub(super) fn store(&self) -> Result<Arc<Store>, LogError> {
        let store = self.store.read().unwrap_or_else(PoisonError::into_inner);
        store.clone().ok_or_else(|| self.why_not())
    }

    pub(super) fn health(&self) -> Health {
        self.health.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// `Err` when the log is closed or broken.
    pub(super) fn check(&self) -> Result<(), LogError> {
        match self.health() {
            Health::Open => Ok(()),
            Health::Closed | Health::Broken(_) => Err(self.why_not()),
        }
    }

    /// Why nothing works.
    pub(super) fn why_not(&self) -> LogError {
        match self.health() {
            Health::Open | Health::Closed => LogError::Unavailable("it is closed".to_owned()),
            Health::Broken(why) => LogError::Broken(why),
        }
    }

    /// No acknowledgement from here on.
    pub(super) fn break_down(&self, why: String) {
        tracing::error!(why, "the log is broken; nothing is acknowledged any more; restart to recover");
        *self.health.lock().unwrap_or_else(PoisonError::into_inner) = Health::Broken(why);
        self.wake_all();
    }

    /// No new calls from here on; what is queued is still written.
    pub(super) fn close(&self) {
        let mut health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*health, Health::Open) {
            *health = Health::Closed;
        }
        drop(health);
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.wake_all();
    }

    /// Lets go of the files, then of the folder's lock.
    pub(super) fn let_go(&self) {
        let store = self.store.write().unwrap_or_else(PoisonError::into_inner).take();
        drop(store);
        self.lock.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Says once when the disk becomes too full, and once when there is room again.
    pub(super) fn set_full(&self, full: bool) {
        if self.full.swap(full, Ordering::Relaxed) != full {
            if full {
                tracing::error!(folder = %self.folder.display(), "the disk is too full: the log takes nothing until there is room");
            } else {
                tracing::info!(folder = %self.folder.display(), "there is room on the disk again");
            }
        }
    }

    /// Hears of new records of a topic.
    pub(super) fn news(&self, topic: Topic) -> watch::Receiver<u64> {
        match self.news.iter().find(|(t, _)| *t == topic) {
            Some((_, sender)) => sender.subscribe(),
            None => watch::Sender::new(0).subscribe(),
        }
    }

    /// Wakes those who wait for records of a topic.
    pub(super) fn wake(&self, topic: Topic) {
        for (_, sender) in self.news.iter().filter(|(t, _)| *t == topic) {
            sender.send_modify(|version| *version = version.wrapping_add(1));
        }
    }

    fn wake_all(&self) {
        Topic::ALL.into_iter().for_each(|topic| self.wake(topic));
    }

    /// First and next offset.
    pub(super) fn extent(&self, topic: Topic, partition: u32) -> Extent {
        self.shards.get(topic, partition).map_or(Extent { start: 0, end: 0 }, Shard::extent)
    }

    /// The group of this name on this topic.
    pub(super) fn group(&self, name: &str, topic: Topic) -> Arc<Group> {
        let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        let group = groups.entry((name.to_owned(), topic)).or_insert_with(|| {
            let committed = (0..self.partitions).map(|_| None).collect();
            Arc::new(Group::new(name.to_owned(), topic, committed))
        });
        Arc::clone(group)
    }

    /// Next offset of a group, where it has committed one.
    pub(super) fn group_committed(&self, name: &str, topic: Topic, partition: u32) -> Option<u64> {
        let groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        groups.get(&(name.to_owned(), topic))?.committed(partition)
    }

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
        let gone = || LogError::Broken("its writer has stopped; restart to recover".to_owned());
        let bases = answer.await.map_err(|_| gone())??;
        let position = |(block, index): (usize, u64)| {
            let (base, partition) = bases.get(block).zip(partitions.get(block)).ok_or_else(gone)?;
            Ok(Position { partition: *partition, offset: base.saturating_add(index) })
        };
        places.into_iter().map(position).collect()
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

    /// Records from `from` on, or the first after it.
    pub(super) async fn read(
        &self,
        topic: Topic,
        partition: u32,
        from: u64,
        limits: FetchLimits,
    ) -> Result<Vec<Record>, LogError> {
        let Some(shard) = self.shards.get(topic, partition) else { return Ok(Vec::new()) };
        let extent = shard.extent();
        let from = from.max(extent.start);
        if from >= extent.end || limits.records_max == 0 {
            return Ok(Vec::new());
        }
        let mut reading =
            Reading { topic, partition, from, end: extent.end, limits, bytes: 0, records: Vec::new() };
        if let Some(blocks) = shard.tail(from, limits.bytes_max) {
            for block in blocks {
                if !reading.take(&block)? {
                    break;
                }
            }
            return Ok(reading.records);
        }
        let store = self.store()?;
        let read = tokio::task::spawn_blocking(move || {
            let mut outcome = Ok(true);
            let visited = store.blocks(topic, partition, from, |block| {
                outcome = reading.take(&block);
                matches!(outcome, Ok(true))
            });
            visited.map_err(|error| LogError::Broken(error.to_string()))?;
            outcome.map(|_| reading.records)
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

/// About as many bytes as the record takes in a block.
fn stored_size(record: &NewRecord) -> usize {
    let headers: usize = record.headers.iter().map(|(_, value)| value.len().saturating_add(4)).sum();
    record.key.len().saturating_add(record.value.len()).saturating_add(headers).saturating_add(8)
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
