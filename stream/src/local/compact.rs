//! Compaction: only the newest record of each key stays.
//!
//! In: the blocks of a partition. Out: fewer blocks. Never: the loss of the
//! newest record of a key, but for tombstones that are old enough (LG-7).
//!
//! As in Kafka's cleaner, a map of the newest offset of each key is made of
//! what came since the last time, and all that is older is rewritten against
//! it. A record without a key stays.

use std::collections::HashMap;

use bytes::Bytes;
use foldhash::fast::RandomState;
use model::time::Timestamp;
use model::topic::Topic;

use super::block::{self, Damaged, Filled};
use super::shard::Shard;
use super::store::{Batch, Clean, Floor, Store};
use crate::log::LogError;
use crate::record::Record;

/// Least bytes written since the last time that make it worth while.
const DIRTY_BYTES_MIN: u64 = 4 << 20;
/// Most keys of one run; the rest waits for the next. About 40 MB.
const KEYS_MAX: usize = 800_000;
/// Bytes rewritten in one batch.
const BATCH_BYTES: usize = 1 << 20;
/// How long a tombstone stays, so that readers who follow see it. Milliseconds.
const TOMBSTONE_MS: i64 = 60 * 60 * 1000;

/// Newest offset by digest of the key: 128 bits, so that two keys never meet.
type Newest = HashMap<[u8; 16], u64, RandomState>;

fn digest(key: &[u8]) -> [u8; 16] {
    let mut out = [0_u8; 16];
    blake3::Hasher::new().update(key).finalize_xof().fill(&mut out);
    out
}

/// Compacts a partition when as much was written since the last time as was left then.
pub(super) fn compact_if_due(
    store: &Store,
    topic: Topic,
    partition: u32,
    shard: &Shard,
    now: Timestamp,
) -> Result<(), LogError> {
    let broken =
        |error: fjall::Error| LogError::Broken(format!("compaction of {topic}/{partition}: {error}"));
    let clean = store.clean(topic, partition).map_err(broken)?;
    let dirty = shard.bytes().saturating_sub(clean.bytes);
    if dirty < DIRTY_BYTES_MIN.max(clean.left) {
        return Ok(());
    }
    compact(store, topic, partition, shard, now)
}

/// Compacts a partition.
pub(super) fn compact(
    store: &Store,
    topic: Topic,
    partition: u32,
    shard: &Shard,
    now: Timestamp,
) -> Result<(), LogError> {
    let broken =
        |error: fjall::Error| LogError::Broken(format!("compaction of {topic}/{partition}: {error}"));
    let damaged = |error: Damaged| LogError::Broken(format!("{topic}/{partition}: {error}"));
    let clean = store.clean(topic, partition).map_err(broken)?;
    let extent = shard.extent();
    let mut newest = Newest::default();
    let mut until = clean.until.max(extent.start);
    let mut noted = 0_u64;
    let mut outcome = Ok(());
    let visited = store.blocks(topic, partition, until, |block| {
        noted = noted.saturating_add(block.len() as u64);
        outcome = note(&mut newest, &block, topic, partition, clean.until, extent.end, &mut until);
        outcome.is_ok() && newest.len() < KEYS_MAX && until < extent.end
    });
    visited.map_err(broken)?;
    outcome.map_err(damaged)?;
    let mut rewrite = Rewrite {
        store,
        topic,
        partition,
        newest: &newest,
        until,
        tombstones_before: Timestamp::from_millis(now.millis().saturating_sub(TOMBSTONE_MS)),
        batch: store.batch(),
        batched: 0,
        removed: Vec::new(),
        written: Vec::new(),
        open: None,
        left: 0,
    };
    // With the first batch, so that the end is known also when the last record is a tombstone that goes.
    rewrite.batch.put_floor(topic, partition, Floor { start: extent.start, end: extent.end });
    let mut outcome = Ok(true);
    let visited = store.blocks(topic, partition, extent.start, |block| {
        outcome = rewrite.block(&block);
        matches!(outcome, Ok(true))
    });
    visited.map_err(broken)?;
    outcome?;
    rewrite.commit()?;
    let left = rewrite.left;
    let bytes = clean.bytes.saturating_add(noted);
    rewrite.batch.put_clean(topic, partition, Clean { until, bytes, left });
    rewrite.batch.commit_lazily().map_err(broken)?;
    shard.forget_tail_before(until);
    tracing::debug!(%topic, partition, until, left, keys = newest.len(), "compacted");
    Ok(())
}

/// Notes the keys of a block; `until` moves behind its last record.
fn note(
    newest: &mut Newest,
    block: &Bytes,
    topic: Topic,
    partition: u32,
    from: u64,
    end: u64,
    until: &mut u64,
) -> Result<(), Damaged> {
    for record in block::records(block, topic, partition)? {
        let record = record?;
        if record.offset >= from && record.offset < end {
            if !record.key.is_empty() {
                newest.insert(digest(&record.key), record.offset);
            }
            *until = (*until).max(record.offset.saturating_add(1));
        }
    }
    Ok(())
}

/// The second pass: blocks are read in order, and what stays is written anew.
struct Rewrite<'a> {
    store: &'a Store,
    topic: Topic,
    partition: u32,
    newest: &'a Newest,
    until: u64,
    tombstones_before: Timestamp,
    batch: Batch<'a>,
    batched: usize,
    /// Base offsets of blocks whose records were dropped or moved since the last commit.
    removed: Vec<u64>,
    /// Base offsets of blocks written since the last commit.
    written: Vec<u64>,
    /// The block that is being filled: base offset, base time, records.
    open: Option<(u64, Timestamp, Filled)>,
    left: u64,
}

impl Rewrite<'_> {
    /// Rewrites one block; `false` when it lies behind what is to be compacted.
    fn block(&mut self, block: &Bytes) -> Result<bool, LogError> {
        let (topic, partition) = (self.topic, self.partition);
        let damaged = |error: Damaged| LogError::Broken(format!("{topic}/{partition}: {error}"));
        let base = block::head(block).map_err(damaged)?.base;
        if base >= self.until {
            return Ok(false);
        }
        let all: Result<Vec<Record>, Damaged> =
            block::records(block, topic, partition).map_err(damaged)?.collect();
        let all = all.map_err(damaged)?;
        let stays: Vec<&Record> = all.iter().filter(|record| self.stays(record)).collect();
        let is_whole = stays.len() == all.len() && block.len() >= block::BLOCK_BYTES / 2;
        if is_whole {
            self.close_block()?;
            self.left = self.left.saturating_add(block.len() as u64);
        } else {
            self.removed.push(base);
            for record in stays {
                self.keep(record)?;
            }
        }
        self.batched = self.batched.saturating_add(block.len());
        if self.batched >= BATCH_BYTES {
            self.commit()?;
        }
        Ok(true)
    }

    fn stays(&self, record: &Record) -> bool {
        if record.key.is_empty() || record.offset >= self.until {
            return true;
        }
        match self.newest.get(&digest(&record.key)) {
            Some(newest) if *newest > record.offset => false,
            // Older ones of the same key lie before it, and are gone when this one goes.
            Some(_) | None => !record.value.is_empty() || record.appended >= self.tombstones_before,
        }
    }

    fn keep(&mut self, record: &Record) -> Result<(), LogError> {
        let (base, time, filled) = self
            .open
            .get_or_insert_with(|| (record.offset, record.appended, Filled::new(block::BLOCK_BYTES / 4)));
        filled.push_sparse(*base, *time, record);
        if filled.is_full() { self.close_block() } else { Ok(()) }
    }

    fn close_block(&mut self) -> Result<(), LogError> {
        let Some((base, time, filled)) = self.open.take() else { return Ok(()) };
        self.left = self.left.saturating_add(filled.len() as u64);
        self.written.push(base);
        let block = filled.seal_sparse(base, time);
        let put = self.batch.put_block(self.topic, self.partition, base, block);
        put.map_err(|error| self.broken(&error))
    }

    fn broken(&self, error: &fjall::Error) -> LogError {
        LogError::Broken(format!("compaction of {}/{}: {error}", self.topic, self.partition))
    }

    /// What was removed and what takes its place go together.
    fn commit(&mut self) -> Result<(), LogError> {
        self.close_block()?;
        self.batched = 0;
        let written = std::mem::take(&mut self.written);
        // A batch must not hold two writes of one key: what is overwritten needs no removal.
        for base in self.removed.drain(..).filter(|base| !written.contains(base)) {
            self.batch.remove_block(self.topic, self.partition, base);
        }
        let batch = std::mem::replace(&mut self.batch, self.store.batch());
        batch.commit_lazily().map_err(|error| self.broken(&error))
    }
}
