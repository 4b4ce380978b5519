//! Buckets of one aggregation in one segment, for all its owners at once.
//!
//! In: owner and value. Out: the bucket's number and its count.

use super::values::Source;

/// Most strings of a segment for which the buckets of the top level are a plain list.
const DENSE_MAX: usize = 1 << 20;

/// Buckets of all owners.
#[derive(Default)]
pub(super) struct Buckets {
    index: foldhash::HashMap<(u32, u64), u32>,
    /// Instead of the map, for the top level: by ordinal.
    dense: Vec<u32>,
    /// Owner and value of each bucket, in order of its number.
    pub(super) keys: Vec<(u32, u64)>,
    pub(super) counts: Vec<u64>,
}

impl Buckets {
    /// Buckets for the strings of a segment; `top`: there is one owner.
    pub(super) fn for_ordinals(source: &Source, top: bool) -> Buckets {
        let length = source.dictionary_len();
        let dense = if top && length <= DENSE_MAX { vec![u32::MAX; length] } else { Vec::new() };
        Buckets { dense, ..Buckets::default() }
    }

    /// Counts a document in a bucket; the result is the bucket's number.
    pub(super) fn count(&mut self, owner: u32, value: u64) -> u32 {
        let next = u32::try_from(self.keys.len()).unwrap_or(u32::MAX);
        let slot = usize::try_from(value).ok().and_then(|at| self.dense.get_mut(at));
        let bucket = match slot {
            Some(slot) => {
                if *slot == u32::MAX {
                    *slot = next;
                }
                *slot
            }
            None => *self.index.entry((owner, value)).or_insert(next),
        };
        if bucket == next {
            self.keys.push((owner, value));
            self.counts.push(0);
        }
        if let Some(count) = self.counts.get_mut(bucket as usize) {
            *count = count.saturating_add(1);
        }
        bucket
    }
}
