//! What all threads know of one partition: its extent, its newest blocks, and
//! the miles by which retention and time look-ups go.
//!
//! In: what the committer has made durable. Out: extents, blocks of the tail.
//! Never: anything that is not durable (LG-4).

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use model::time::Timestamp;

use super::store::{Floor, Mile};
use crate::invariants::{LG_3, hold};
use crate::log::Extent;

/// Bytes of newest blocks kept for stages that follow closely.
const TAIL_BYTES: usize = 2 << 20;
/// Most blocks of the tail, so that tiny ones stay bounded too.
const TAIL_BLOCKS: usize = 4096;
/// A mile is set after this many bytes …
const MILE_BYTES: u64 = 4 << 20;
/// … or after this time, in milliseconds, so that age is known in quiet partitions too.
const MILE_MS: i64 = 5 * 60 * 1000;

/// One partition.
#[derive(Debug)]
pub(super) struct Shard(Mutex<State>);

#[derive(Debug)]
struct State {
    extent: Extent,
    /// Bytes ever appended.
    bytes: u64,
    /// When the newest record was taken.
    last_time: Timestamp,
    /// In order; the first is at or before the start.
    miles: VecDeque<Mile>,
    tail: VecDeque<(u64, Bytes)>,
    tail_bytes: usize,
}

/// A block that became durable.
#[derive(Debug)]
pub(super) struct Appended {
    /// Offset of its first record.
    pub(super) base: u64,
    /// Offset after its last record.
    pub(super) end: u64,
    /// The block.
    pub(super) block: Bytes,
}

impl Shard {
    /// A partition as it was found on disk. `bytes`: ever appended; `last_time`: of the newest record.
    pub(super) fn new(extent: Extent, bytes: u64, last_time: Timestamp, miles: Vec<Mile>) -> Shard {
        let state =
            State { extent, bytes, last_time, miles: miles.into(), tail: VecDeque::new(), tail_bytes: 0 };
        Shard(Mutex::new(state))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// First and next offset.
    pub(super) fn extent(&self) -> Extent {
        self.lock().extent
    }

    /// Bytes ever appended.
    pub(super) fn bytes(&self) -> u64 {
        self.lock().bytes
    }

    /// When the newest record was taken.
    pub(super) fn last_time(&self) -> Timestamp {
        self.lock().last_time
    }

    /// The mile that is due when a block is appended now.
    pub(super) fn mile_due(&self, offset: u64, bytes: u64, time: Timestamp) -> Option<Mile> {
        let state = self.lock();
        let due = state.miles.back().is_none_or(|last| {
            bytes.saturating_sub(last.bytes) >= MILE_BYTES
                || time.millis().saturating_sub(last.time.millis()) >= MILE_MS
        });
        due.then_some(Mile { offset, time, before: state.last_time, bytes })
    }

    /// Shows what became durable to everybody.
    pub(super) fn publish(&self, appended: Vec<Appended>, time: Timestamp, mile: Option<Mile>) {
        let mut state = self.lock();
        state.last_time = time;
        state.miles.extend(mile);
        for Appended { base, end, block } in appended {
            hold!(LG_3, base == state.extent.end && end > base);
            state.extent = Extent::decided(state.extent.start, end);
            state.bytes = state.bytes.saturating_add(block.len() as u64);
            state.tail_bytes = state.tail_bytes.saturating_add(block.len());
            state.tail.push_back((base, block));
        }
        while state.tail.len() > 1 && (state.tail_bytes > TAIL_BYTES || state.tail.len() > TAIL_BLOCKS) {
            if let Some((_, block)) = state.tail.pop_front() {
                state.tail_bytes = state.tail_bytes.saturating_sub(block.len());
            }
        }
    }

    /// Blocks of the tail from the one that holds `from`, up to `bytes_max` (at least one). `None`: older than the tail.
    pub(super) fn tail(&self, from: u64, bytes_max: usize) -> Option<Vec<Bytes>> {
        let state = self.lock();
        if from >= state.extent.end {
            return Some(Vec::new());
        }
        let first = state.tail.partition_point(|(base, _)| *base <= from).checked_sub(1)?;
        let mut bytes = 0_usize;
        let wanted = state.tail.iter().skip(first).take_while(|(_, block)| {
            let more = bytes == 0 || bytes.saturating_add(block.len()) <= bytes_max;
            bytes = bytes.saturating_add(block.len());
            more
        });
        Some(wanted.map(|(_, block)| block.clone()).collect())
    }

    /// Where a search for the first record at or after `time` begins.
    pub(super) fn mile_before(&self, time: Timestamp) -> u64 {
        let state = self.lock();
        let before = state.miles.iter().take_while(|mile| mile.time < time).last();
        before.map_or(state.extent.start, |mile| mile.offset.max(state.extent.start))
    }

    /// The floor that time and size ask for, with the miles that go; `None` where nothing is to go.
    ///
    /// Records go in stretches from mile to mile: one that is wholly older than `older_than`, or the oldest while
    /// there are more than `bytes_max`. The last stretch goes by age alone.
    pub(super) fn expired(&self, older_than: Timestamp, bytes_max: u64) -> Option<(Floor, Vec<u64>)> {
        let state = self.lock();
        let mut start = state.extent.start;
        let mut gone = Vec::new();
        let ends = state.miles.iter().skip(1).map(|next| (next.offset, next.before, true));
        let last = (state.extent.end, state.last_time, false);
        for (mile, (end, newest, has_next)) in state.miles.iter().zip(ends.chain([last])) {
            let surplus = has_next && state.bytes.saturating_sub(mile.bytes) > bytes_max;
            if newest >= older_than && !surplus {
                break;
            }
            start = start.max(end);
            gone.push(mile.offset);
        }
        (start > state.extent.start).then_some((Floor { start, end: state.extent.end }, gone))
    }

    /// Moves the start; older blocks and miles are forgotten.
    pub(super) fn raise_start(&self, start: u64) {
        let mut state = self.lock();
        state.extent.start = start.max(state.extent.start).min(state.extent.end);
        let start = state.extent.start;
        while state.miles.get(1).is_some_and(|next| next.offset <= start) {
            state.miles.pop_front();
        }
        if start == state.extent.end {
            // Nothing is left, so the next append sets a new mile.
            state.miles.clear();
        }
        while state.tail.get(1).is_some_and(|(next, _)| *next <= start) {
            if let Some((_, block)) = state.tail.pop_front() {
                state.tail_bytes = state.tail_bytes.saturating_sub(block.len());
            }
        }
    }

    /// Forgets blocks of the tail that were rewritten on disk.
    pub(super) fn forget_tail_before(&self, offset: u64) {
        let mut state = self.lock();
        while state.tail.front().is_some_and(|(base, _)| *base < offset) {
            if let Some((_, block)) = state.tail.pop_front() {
                state.tail_bytes = state.tail_bytes.saturating_sub(block.len());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use model::time::Timestamp;

    use super::{Appended, Shard};
    use crate::local::store::Floor;
    use crate::log::Extent;

    const MB: u64 = 1 << 20;

    /// Ten blocks of 1 MB with ten records each, one a minute.
    fn filled() -> Shard {
        let shard = Shard::new(Extent::decided(0, 0), 0, Timestamp::MIN, Vec::new());
        for i in 0..10_u64 {
            let (base, time) = (i * 10, at(i));
            let mile = shard.mile_due(base, shard.bytes(), time);
            let block = Bytes::from(vec![0; MB as usize]);
            shard.publish(vec![Appended { base, end: base + 10, block }], time, mile);
        }
        shard
    }

    fn at(minute: u64) -> Timestamp {
        Timestamp::from_millis(minute as i64 * 60_000)
    }

    /// Miles lie at 0, 40 (4 MB) and 80 (8 MB).
    #[track_caller]
    fn check(older_than: Timestamp, bytes_max: u64, expected: Option<(u64, &[u64])>) {
        let found = filled().expired(older_than, bytes_max);
        let expected = expected.map(|(start, gone)| (Floor { start, end: 100 }, gone.to_vec()));
        assert_eq!(found, expected);
    }

    #[test]
    fn stretches_expire_by_the_age_of_their_newest_record() {
        check(at(0), u64::MAX, None);
        check(at(3), u64::MAX, None);
        check(at(4), u64::MAX, Some((40, &[0])));
        check(at(8), u64::MAX, Some((80, &[0, 40])));
        check(at(9), u64::MAX, Some((80, &[0, 40])));
        check(at(10), u64::MAX, Some((100, &[0, 40, 80])));
    }

    #[test]
    fn stretches_expire_while_there_is_too_much() {
        check(at(0), 10 * MB, None);
        check(at(0), 10 * MB - 1, Some((40, &[0])));
        check(at(0), 6 * MB - 1, Some((80, &[0, 40])));
        check(at(0), 0, Some((80, &[0, 40])));
    }

    #[test]
    fn the_tail_serves_who_follows_closely() {
        let shard = filled();
        // 2 MB are kept: the last two blocks.
        assert_eq!(shard.tail(79, 1).map(|blocks| blocks.len()), None);
        assert_eq!(shard.tail(80, usize::MAX).map(|blocks| blocks.len()), Some(2));
        assert_eq!(shard.tail(99, usize::MAX).map(|blocks| blocks.len()), Some(1));
        assert_eq!(shard.tail(80, 1).map(|blocks| blocks.len()), Some(1));
        assert_eq!(shard.tail(100, usize::MAX).map(|blocks| blocks.len()), Some(0));
        shard.forget_tail_before(100);
        assert_eq!(shard.tail(99, usize::MAX), None);
    }

    #[test]
    fn a_search_by_time_begins_at_the_mile_before() {
        let shard = filled();
        for (minute, expected) in [(0, 0), (4, 0), (5, 40), (8, 40), (9, 80), (60, 80)] {
            assert_eq!(shard.mile_before(at(minute)), expected, "{minute}");
        }
        shard.raise_start(60);
        assert_eq!(shard.mile_before(at(0)), 60);
    }
}
