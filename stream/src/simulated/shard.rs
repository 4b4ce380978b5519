//! One partition: records, markers of transactions, what is decided and what is not.
//!
//! In: records with the transaction that they belong to, decisions. Out: what
//! a `read_committed` reader may see. Never: an offset that is given twice.
//!
//! As in Kafka, aborted records and markers keep their offsets, so that a
//! reader meets holes; a reader stops at the first record of the oldest
//! transaction that is open (last stable offset).

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use model::time::Timestamp;

use crate::invariants::{LG_3, LG_4, hold};
use crate::log::{Extent, FetchLimits};
use crate::record::Headers;

/// The transaction of a producer.
pub(super) type Transaction = u64;

/// A record without its place.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) key: Bytes,
    pub(super) value: Bytes,
    pub(super) headers: Headers,
}

impl Stored {
    fn size(&self) -> usize {
        let headers: usize =
            self.headers.iter().map(|(name, value)| name.len().saturating_add(value.len())).sum();
        self.key.len().saturating_add(self.value.len()).saturating_add(headers)
    }
}

/// What became of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Committed,
    Open(Transaction),
    Aborted,
    /// A marker: the end of a transaction.
    Marker,
}

#[derive(Clone, Debug)]
struct Entry {
    offset: u64,
    appended: Timestamp,
    fate: Fate,
    stored: Stored,
}

/// What a read gives.
#[derive(Debug, Default)]
pub(super) struct Read {
    pub(super) records: Vec<(u64, Timestamp, Stored)>,
    /// Where to go on.
    pub(super) next: u64,
}

/// One partition.
#[derive(Clone, Debug, Default)]
pub(super) struct Shard {
    start: u64,
    end: u64,
    entries: Vec<Entry>,
    /// First offset of each open transaction.
    open: BTreeMap<Transaction, u64>,
}

impl Shard {
    /// First offset, last stable offset, end.
    pub(super) fn extent(&self) -> Extent {
        Extent { start: self.start, stable: self.stable(), end: self.end }
    }

    fn stable(&self) -> u64 {
        self.open.values().copied().min().unwrap_or(self.end)
    }

    /// Appends a record and returns its offset.
    pub(super) fn append(&mut self, stored: Stored, transaction: Option<Transaction>, now: Timestamp) -> u64 {
        let fate = transaction.map_or(Fate::Committed, Fate::Open);
        if let Some(transaction) = transaction {
            self.open.entry(transaction).or_insert(self.end);
        }
        self.push(stored, fate, now)
    }

    fn push(&mut self, stored: Stored, fate: Fate, now: Timestamp) -> u64 {
        let offset = self.end;
        hold!(LG_3, self.entries.last().is_none_or(|last| last.offset < offset));
        let appended = self.entries.last().map_or(now, |last| last.appended.max(now));
        self.entries.push(Entry { offset, appended, fate, stored });
        self.end = self.end.saturating_add(1);
        offset
    }

    /// Ends a transaction: its records count, or never will.
    pub(super) fn mark(&mut self, transaction: Transaction, commit: bool, now: Timestamp) {
        if self.open.remove(&transaction).is_none() {
            return;
        }
        let fate = if commit { Fate::Committed } else { Fate::Aborted };
        for entry in self.entries.iter_mut().filter(|entry| entry.fate == Fate::Open(transaction)) {
            entry.fate = fate;
        }
        let nothing = Stored { key: Bytes::new(), value: Bytes::new(), headers: Headers::new() };
        self.push(nothing, Fate::Marker, now);
    }

    fn after(&self, from: u64) -> usize {
        self.entries.partition_point(|entry| entry.offset < from)
    }

    /// What a reader may see from an offset on. `dirty`: undecided and aborted records too, against the contract.
    pub(super) fn read(&self, from: u64, limits: FetchLimits, dirty: bool) -> Read {
        let stable = if dirty { self.end } else { self.stable() };
        let mut read = Read { records: Vec::new(), next: from };
        let mut bytes = 0_usize;
        for entry in self.entries.get(self.after(from)..).unwrap_or_default() {
            if entry.offset >= stable {
                break;
            }
            let is_shown = entry.fate == Fate::Committed || (dirty && entry.fate != Fate::Marker);
            if is_shown {
                hold!(LG_4, dirty || entry.fate == Fate::Committed);
                bytes = bytes.saturating_add(entry.stored.size());
                let is_full = read.records.len() >= limits.records_max || bytes > limits.bytes_max;
                if is_full && (limits.records_max == 0 || !read.records.is_empty()) {
                    return read;
                }
                read.records.push((entry.offset, entry.appended, entry.stored.clone()));
            }
            read.next = entry.offset.saturating_add(1);
        }
        // Holes of compaction and retention, up to where it is decided.
        read.next = read.next.max(stable.min(self.end)).max(from);
        read
    }

    /// Every record that counts, with its offset.
    pub(super) fn committed(&self) -> impl Iterator<Item = (u64, Timestamp, &Stored)> {
        let committed = self.entries.iter().filter(|entry| entry.fate == Fate::Committed);
        committed.map(|entry| (entry.offset, entry.appended, &entry.stored))
    }

    /// Offset of the first record appended at or after a time.
    pub(super) fn offset_at(&self, time: Timestamp) -> u64 {
        let found = self.entries.iter().find(|entry| entry.fate != Fate::Marker && entry.appended >= time);
        found.map_or(self.end, |entry| entry.offset)
    }

    /// Removes from the beginning what is older than `before`, and what is beyond `bytes_max`. Never an open transaction.
    pub(super) fn expire(&mut self, before: Timestamp, bytes_max: usize) {
        let stable = self.stable();
        let mut bytes: usize = self.entries.iter().map(|entry| entry.stored.size()).sum();
        let is_gone = |entry: &&Entry| {
            let gone = entry.offset < stable && (entry.appended < before || bytes > bytes_max);
            bytes = bytes.saturating_sub(entry.stored.size());
            gone
        };
        let count = self.entries.iter().take_while(is_gone).count();
        self.entries.drain(..count);
        if count > 0 {
            self.start = self.entries.first().map_or(self.end, |entry| entry.offset);
        }
    }

    /// Keeps the newest record of each key, and tombstones that are younger than `before`.
    pub(super) fn compact(&mut self, before: Timestamp) {
        let stable = self.stable();
        let mut seen = BTreeSet::new();
        let mut keep = Vec::with_capacity(self.entries.len());
        for entry in self.entries.iter().rev() {
            let is_newest = entry.fate == Fate::Committed
                && (entry.stored.key.is_empty() || seen.insert(entry.stored.key.clone()));
            let is_old_tombstone = entry.stored.value.is_empty() && entry.appended <= before;
            keep.push(entry.offset >= stable || (is_newest && !is_old_tombstone));
        }
        let mut keep = keep.into_iter().rev();
        self.entries.retain(|_| keep.next().unwrap_or(true));
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use model::time::Timestamp;

    use super::{Shard, Stored};
    use crate::log::{Extent, FetchLimits};
    use crate::record::Headers;

    const NOW: Timestamp = Timestamp::EPOCH;
    const ALL: FetchLimits = FetchLimits { records_max: 100, bytes_max: 1 << 20 };

    fn record(value: &'static str) -> Stored {
        Stored { key: Bytes::new(), value: Bytes::from(value), headers: Headers::new() }
    }

    #[track_caller]
    fn check(shard: &Shard, from: u64, expected: &[&str], next: u64) {
        let read = shard.read(from, ALL, false);
        let values: Vec<&[u8]> = read.records.iter().map(|(_, _, stored)| &stored.value[..]).collect();
        assert_eq!(values, expected.iter().map(|value| value.as_bytes()).collect::<Vec<_>>());
        assert_eq!(read.next, next);
    }

    #[test]
    fn a_reader_stops_at_the_oldest_open_transaction_and_passes_holes() {
        let mut shard = Shard::default();
        shard.append(record("a"), None, NOW);
        shard.append(record("b1"), Some(1), NOW);
        shard.append(record("c2"), Some(2), NOW);
        shard.append(record("d"), None, NOW);
        assert_eq!(shard.extent(), Extent { start: 0, stable: 1, end: 4 });
        check(&shard, 0, &["a"], 1);
        shard.mark(2, true, NOW);
        check(&shard, 1, &[], 1);
        shard.mark(1, false, NOW);
        check(&shard, 1, &["c2", "d"], 6);
        assert_eq!(shard.extent(), Extent::decided(0, 6));
        shard.mark(1, true, NOW);
        assert_eq!(shard.extent().end, 6);
        check(&shard, 9, &[], 9);
    }

    #[test]
    fn what_is_open_neither_expires_nor_is_compacted() {
        let mut shard = Shard::default();
        shard.append(record("a"), None, NOW);
        shard.append(record("b"), Some(1), NOW);
        shard.append(record("c"), None, NOW);
        shard.expire(Timestamp::MAX, 0);
        shard.compact(Timestamp::MAX);
        assert_eq!(shard.extent(), Extent { start: 1, stable: 1, end: 3 });
        shard.mark(1, false, NOW);
        shard.compact(NOW);
        check(&shard, 0, &["c"], 4);
    }
}
