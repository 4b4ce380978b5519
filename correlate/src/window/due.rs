//! Times at which groups are due, in rough order until they come near.
//!
//! In: (time, slot). Out: slots in order of time, up to a watermark. Never:
//! the truth about a slot's time; its owner has that, and what was pushed
//! with another time is stale and passed over.
//!
//! Far times lie unsorted in buckets of 4 bytes a slot; only the bucket that
//! the watermark has reached is put in order.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

/// Buckets within one timespan, about.
const BUCKETS: i64 = 64;

/// A queue of due times.
#[derive(Debug)]
pub(crate) struct Due {
    width_ms: i64,
    later: BTreeMap<i64, Vec<u32>>,
    /// The last bucket that was put in order.
    opened: i64,
    near: BinaryHeap<Reverse<(i64, u32)>>,
}

impl Due {
    /// An empty queue for times that lie about `timespan_ms` ahead.
    pub(crate) fn new(timespan_ms: i64) -> Due {
        let width_ms = (timespan_ms / BUCKETS).max(16);
        Due { width_ms, later: BTreeMap::new(), opened: i64::MIN, near: BinaryHeap::new() }
    }

    /// A slot is due at a time.
    pub(crate) fn push(&mut self, due: i64, at: u32) {
        let bucket = due.div_euclid(self.width_ms);
        if bucket <= self.opened {
            self.near.push(Reverse((due, at)));
        } else {
            self.later.entry(bucket).or_default().push(at);
        }
    }

    /// The next slot that is due at or before `watermark`. `due_of`: the time that counts for a slot.
    pub(crate) fn pop(&mut self, watermark: i64, due_of: impl Fn(u32) -> i64) -> Option<u32> {
        let reached = watermark.div_euclid(self.width_ms);
        while let Some(first) = self.later.first_entry().filter(|first| *first.key() <= reached) {
            let (bucket, slots) = first.remove_entry();
            self.opened = bucket;
            let due = slots.into_iter().map(|at| (due_of(at), at));
            let still = due.filter(|(due, _)| due.div_euclid(self.width_ms) == bucket);
            self.near.extend(still.map(Reverse));
        }
        self.opened = self.opened.max(reached);
        while let Some(&Reverse((due, at))) = self.near.peek() {
            if due > watermark {
                return None;
            }
            self.near.pop();
            if due_of(at) == due {
                return Some(at);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::Due;
    use crate::window::histories::Random;

    #[test]
    fn slots_come_in_order_and_stale_times_do_not_count() {
        for seed in 0..300 {
            let mut random = Random::new(seed);
            let mut due = Due::new(random.range(1, 5_000));
            let mut truth = vec![i64::MAX; 40];
            let mut watermark = -100;
            for _ in 0..400 {
                if random.chance(60) {
                    let (at, time) = (random.range(0, 39) as u32, watermark + random.range(1, 3_000));
                    truth[at as usize] = time;
                    due.push(time, at);
                    continue;
                }
                watermark += random.range(0, 500);
                let mut last = i64::MIN;
                while let Some(at) = due.pop(watermark, |at| truth[at as usize]) {
                    let time = std::mem::replace(&mut truth[at as usize], i64::MAX);
                    assert!(last <= time && time <= watermark, "seed {seed}");
                    last = time;
                }
                assert!(truth.iter().all(|time| *time > watermark), "seed {seed}: {truth:?} {watermark}");
            }
        }
    }
}
