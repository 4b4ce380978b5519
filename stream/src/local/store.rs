//! The storage engine: what lies where in fjall.
//!
//! In: blocks, offsets of groups, marks. Out: the same, after a crash too.
//! Never: a decision; who may write what is known elsewhere.
//!
//! One keyspace for each partition (`mozdef.raw/0`), made with its first
//! record: base offset (big-endian) → block. One keyspace `meta`:
//!
//! ```text
//! id                              → log id, 32 hex digits
//! parts                           → partitions:u32
//! group/<group>/<topic>/<p>       → next offset:u64
//! floor/<topic>/<p>               → start:u64 end:u64          (written by retention and compaction)
//! mile/<topic>/<p>/<offset:8 BE>  → time:i64, time of the record before it:i64, bytes before it:u64
//! swept                           → nothing
//! clean/<topic>/<p>               → compacted up to:u64 bytes written up to then:u64 bytes left then:u64
//! ```
//!
//! Numbers are little-endian unless said otherwise.

use std::path::Path;
use std::sync::OnceLock;

use bytes::Bytes;
use fjall::compaction::Fifo;
use fjall::config::{BlockSizePolicy, CompressionPolicy, FilterPolicy};
use fjall::{
    AbstractTree, Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode, Readable,
};
use model::time::Timestamp;
use model::topic::{Cleanup, Topic};

use super::slots::Slots;

/// Memory of the block cache; close readers are served from the tails in memory, so it may be small.
const CACHE_BYTES: u64 = 8 << 20;
/// Smallest that the engine allows; also bounds the time of recovery.
const JOURNAL_BYTES: u64 = 64 << 20;
/// Memory of a partition before it is written out, and so the size of what retention can drop.
const MEMTABLE_BYTES: u64 = 4 << 20;
/// The same for topics that are compacted, and for the meta keyspace.
const SMALL_MEMTABLE_BYTES: u64 = 2 << 20;
/// Blocks of ours are larger than this, so each lies in a block of the engine's own.
const DATA_BLOCK_BYTES: u32 = 16 << 10;
/// Open files kept.
const FILES_MAX: usize = 256;

/// The storage engine.
pub(super) struct Store {
    db: Database,
    meta: Keyspace,
    partitions: Slots<OnceLock<Keyspace>>,
    #[cfg(test)]
    pub(super) fault: std::sync::atomic::AtomicBool,
}

/// First and next offset as retention and compaction left them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Floor {
    pub(super) start: u64,
    pub(super) end: u64,
}

/// A place in a partition from which its time and size are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mile {
    /// Offset of the first record after it.
    pub(super) offset: u64,
    /// When that record was taken.
    pub(super) time: Timestamp,
    /// When the record before it was taken.
    pub(super) before: Timestamp,
    /// Bytes ever appended before it.
    pub(super) bytes: u64,
}

/// How far a partition was compacted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Clean {
    /// Offset up to which.
    pub(super) until: u64,
    /// Bytes ever appended before that offset.
    pub(super) bytes: u64,
    /// Bytes that were left of them.
    pub(super) left: u64,
}

impl Store {
    /// Opens the engine's folder, or makes it.
    pub(super) fn open(folder: &Path, partitions: u32) -> fjall::Result<Store> {
        let db = Database::builder(folder)
            .cache_size(CACHE_BYTES)
            .max_journaling_size(JOURNAL_BYTES)
            .max_cached_files(Some(FILES_MAX))
            .worker_threads(2)
            .open()?;
        let meta = db.keyspace("meta", || small_keyspace().max_memtable_size(SMALL_MEMTABLE_BYTES))?;
        let partitions = Slots::try_new(partitions, |topic, partition| {
            let name = keyspace_name(topic, partition);
            let known =
                db.keyspace_exists(&name).then(|| db.keyspace(&name, || keyspace_of(topic))).transpose()?;
            Ok::<_, fjall::Error>(known.map_or_else(OnceLock::new, OnceLock::from))
        })?;
        Ok(Store {
            db,
            meta,
            partitions,
            #[cfg(test)]
            fault: std::sync::atomic::AtomicBool::new(false),
        })
    }

    /// Partitions of a folder that may hold no log yet.
    pub(super) fn existing_partitions(&self) -> fjall::Result<Option<u32>> {
        Ok(self
            .meta
            .get("parts")?
            .and_then(|value| Some(u32::from_le_bytes(value.as_ref().try_into().ok()?))))
    }

    /// The log's id, once it was given one.
    pub(super) fn log_id(&self) -> fjall::Result<Option<String>> {
        Ok(self.meta.get("id")?.and_then(|value| String::from_utf8(value.to_vec()).ok()))
    }

    /// A batch: all of it or nothing.
    pub(super) fn batch(&self) -> Batch<'_> {
        Batch { store: self, inner: self.db.batch() }
    }

    /// The keyspace of a partition that has ever had a record.
    fn keyspace(&self, topic: Topic, partition: u32) -> Option<&Keyspace> {
        self.partitions.get(topic, partition)?.get()
    }

    /// The keyspace of a partition, made where it is absent. A keyspace costs some twenty flushes, so those of topics
    /// that are never used are never made.
    fn keyspace_made(&self, topic: Topic, partition: u32) -> fjall::Result<Option<&Keyspace>> {
        let Some(slot) = self.partitions.get(topic, partition) else { return Ok(None) };
        if slot.get().is_none() {
            let made = self.db.keyspace(&keyspace_name(topic, partition), || keyspace_of(topic))?;
            // Whoever was faster has the same keyspace.
            if slot.set(made).is_err() {}
        }
        Ok(slot.get())
    }

    /// Visits the blocks of a partition in order, from the one that may hold `from`, until told to stop.
    pub(super) fn blocks(
        &self,
        topic: Topic,
        partition: u32,
        from: u64,
        mut visit: impl FnMut(Bytes) -> bool,
    ) -> fjall::Result<()> {
        let Some(keyspace) = self.keyspace(topic, partition) else { return Ok(()) };
        let snapshot = self.db.snapshot();
        let at_or_before = snapshot.range(keyspace, ..=from.to_be_bytes()).next_back();
        if let Some(entry) = at_or_before
            && !visit(Bytes::from(entry.value()?))
        {
            return Ok(());
        }
        let Some(after) = from.checked_add(1) else { return Ok(()) };
        for entry in snapshot.range(keyspace, after.to_be_bytes()..) {
            if !visit(Bytes::from(entry.value()?)) {
                break;
            }
        }
        Ok(())
    }

    /// The last block of a partition.
    pub(super) fn last_block(&self, topic: Topic, partition: u32) -> fjall::Result<Option<Bytes>> {
        let Some(keyspace) = self.keyspace(topic, partition) else { return Ok(None) };
        keyspace.last_key_value().map(|entry| Ok(Bytes::from(entry.value()?))).transpose()
    }

    /// Gives back the files that hold only blocks before `offset`.
    pub(super) fn drop_before(&self, topic: Topic, partition: u32, offset: u64) -> fjall::Result<()> {
        let Some(keyspace) = self.keyspace(topic, partition) else { return Ok(()) };
        keyspace.tree.drop_range(..offset.to_be_bytes())?;
        Ok(())
    }

    /// Gives back what [`Store::drop_before`] has let go of: the engine keeps files until their last version is
    /// forgotten, which it does when it writes out a memtable. `everything`: all memtables are written out, so that
    /// the journals go too.
    pub(super) fn reclaim(&self, everything: bool) -> fjall::Result<()> {
        // The version without the files must be older than the newest write.
        self.meta.insert("swept", [])?;
        if everything {
            for (_, _, keyspace) in self.partitions.iter() {
                keyspace.get().map(Keyspace::rotate_memtable).transpose()?;
            }
        }
        self.meta.rotate_memtable()?;
        Ok(())
    }

    /// Bytes of a topic on disk, without what is only in the journal yet.
    pub(super) fn disk_bytes(&self, topic: Topic) -> u64 {
        self.partitions
            .iter()
            .filter(|(t, _, _)| *t == topic)
            .filter_map(|(_, _, keyspace)| keyspace.get())
            .map(|keyspace| keyspace.disk_space())
            .sum()
    }

    /// First and next offset as last written.
    pub(super) fn floor(&self, topic: Topic, partition: u32) -> fjall::Result<Floor> {
        let value = self.meta.get(partition_key("floor", topic, partition))?;
        let [start, end] = value.and_then(|value| numbers(&value)).unwrap_or_default();
        Ok(Floor { start, end })
    }

    /// How far it was compacted.
    pub(super) fn clean(&self, topic: Topic, partition: u32) -> fjall::Result<Clean> {
        let value = self.meta.get(partition_key("clean", topic, partition))?;
        let [until, bytes, left] = value.and_then(|value| numbers(&value)).unwrap_or_default();
        Ok(Clean { until, bytes, left })
    }

    /// The miles of a partition, in order.
    pub(super) fn miles(&self, topic: Topic, partition: u32) -> fjall::Result<Vec<Mile>> {
        let prefix = format!("{}/", partition_key("mile", topic, partition));
        let mut miles = Vec::new();
        for entry in self.meta.prefix(&prefix) {
            let (key, value) = entry.into_inner()?;
            let offset =
                key.get(prefix.len()..).and_then(|rest| Some(u64::from_be_bytes(rest.try_into().ok()?)));
            if let (Some(offset), Some([time, before, bytes])) = (offset, numbers(&value)) {
                let [time, before] =
                    [time, before].map(|micros| Timestamp::from_micros(micros.cast_signed()));
                miles.push(Mile { offset, time, before, bytes });
            }
        }
        Ok(miles)
    }

    /// All offsets of groups: (group, topic, partition, next offset).
    pub(super) fn group_offsets(&self) -> fjall::Result<Vec<(String, Topic, u32, u64)>> {
        let mut all = Vec::new();
        for entry in self.meta.prefix("group/") {
            let (key, value) = entry.into_inner()?;
            let parsed = std::str::from_utf8(&key).ok().and_then(|key| {
                let mut parts = key.strip_prefix("group/")?.rsplitn(3, '/');
                let (partition, topic, group) = (parts.next()?, parts.next()?, parts.next()?);
                Some((group.to_owned(), Topic::from_name(topic)?, partition.parse().ok()?))
            });
            if let (Some((group, topic, partition)), Some([next])) = (parsed, numbers(&value)) {
                all.push((group, topic, partition, next));
            }
        }
        Ok(all)
    }
}

/// A batch of writes: all of it or nothing.
pub(super) struct Batch<'a> {
    store: &'a Store,
    inner: OwnedWriteBatch,
}

impl Batch<'_> {
    /// Writes a block at its base offset, in the place of one that was there.
    pub(super) fn put_block(
        &mut self,
        topic: Topic,
        partition: u32,
        base: u64,
        block: Bytes,
    ) -> fjall::Result<()> {
        if let Some(keyspace) = self.store.keyspace_made(topic, partition)? {
            self.inner.insert(keyspace, base.to_be_bytes(), block);
        }
        Ok(())
    }

    /// Removes a block (compacted topics only).
    pub(super) fn remove_block(&mut self, topic: Topic, partition: u32, base: u64) {
        if let Some(keyspace) = self.store.keyspace(topic, partition) {
            self.inner.remove(keyspace, base.to_be_bytes());
        }
    }

    /// Sets the next offset of a group.
    pub(super) fn put_group(&mut self, group: &str, topic: Topic, partition: u32, next: u64) {
        let key = format!("group/{group}/{}/{partition}", topic.name());
        self.inner.insert(&self.store.meta, key, next.to_le_bytes());
    }

    /// Sets first and next offset.
    pub(super) fn put_floor(&mut self, topic: Topic, partition: u32, floor: Floor) {
        self.put_numbers(partition_key("floor", topic, partition).into_bytes(), &[floor.start, floor.end]);
    }

    /// Sets how far it was compacted.
    pub(super) fn put_clean(&mut self, topic: Topic, partition: u32, clean: Clean) {
        let key = partition_key("clean", topic, partition).into_bytes();
        self.put_numbers(key, &[clean.until, clean.bytes, clean.left]);
    }

    /// Adds a mile.
    pub(super) fn put_mile(&mut self, topic: Topic, partition: u32, mile: &Mile) {
        let key = mile_key(topic, partition, mile.offset);
        let [time, before] = [mile.time, mile.before].map(|time| time.micros().cast_unsigned());
        self.put_numbers(key, &[time, before, mile.bytes]);
    }

    /// Removes a mile.
    pub(super) fn remove_mile(&mut self, topic: Topic, partition: u32, offset: u64) {
        self.inner.remove(&self.store.meta, mile_key(topic, partition, offset));
    }

    /// Sets the log's id and partitions.
    pub(super) fn put_identity(&mut self, id: &str, partitions: u32) {
        self.inner.insert(&self.store.meta, "id", id);
        self.inner.insert(&self.store.meta, "parts", partitions.to_le_bytes());
    }

    fn put_numbers(&mut self, key: Vec<u8>, numbers: &[u64]) {
        let value: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        self.inner.insert(&self.store.meta, key, value);
    }

    /// Writes it all and flushes it to the disk before anybody can read it.
    pub(super) fn commit_durably(self) -> fjall::Result<()> {
        #[cfg(test)]
        if self.store.fault.load(std::sync::atomic::Ordering::SeqCst) {
            return Err(fjall::Error::Io(std::io::Error::other("injected: fsync failed")));
        }
        self.inner.durability(Some(PersistMode::SyncData)).commit()
    }

    /// Writes it all; a crash may undo it whole.
    pub(super) fn commit_lazily(self) -> fjall::Result<()> {
        self.inner.commit()
    }
}

fn keyspace_name(topic: Topic, partition: u32) -> String {
    format!("{}/{partition}", topic.name())
}

fn partition_key(kind: &str, topic: Topic, partition: u32) -> String {
    format!("{kind}/{}/{partition}", topic.name())
}

fn mile_key(topic: Topic, partition: u32, offset: u64) -> Vec<u8> {
    let mut key = format!("{}/", partition_key("mile", topic, partition)).into_bytes();
    key.extend_from_slice(&offset.to_be_bytes());
    key
}

fn numbers<const N: usize>(value: &[u8]) -> Option<[u64; N]> {
    let mut all = [0_u64; N];
    let chunks = value.chunks_exact(8);
    if chunks.len() != N || !chunks.remainder().is_empty() {
        return None;
    }
    for (number, chunk) in all.iter_mut().zip(chunks) {
        *number = u64::from_le_bytes(chunk.try_into().ok()?);
    }
    Some(all)
}

fn small_keyspace() -> KeyspaceCreateOptions {
    KeyspaceCreateOptions::default()
        .data_block_compression_policy(CompressionPolicy::disabled())
        .max_memtable_size(SMALL_MEMTABLE_BYTES)
}

/// Topics cleaned by time are only ever appended to: their files are never merged, and retention drops the oldest.
fn keyspace_of(topic: Topic) -> KeyspaceCreateOptions {
    let options = small_keyspace()
        .data_block_size_policy(BlockSizePolicy::all(DATA_BLOCK_BYTES))
        .filter_policy(FilterPolicy::disabled());
    match topic.cleanup() {
        Cleanup::Time => options
            .compaction_strategy(std::sync::Arc::new(Fifo::new(u64::MAX, None)))
            .max_memtable_size(MEMTABLE_BYTES),
        Cleanup::Compact | Cleanup::CompactTime => options,
    }
}
