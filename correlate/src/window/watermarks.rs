//! How far event time has come in one window partition.
//!
//! In: maps of watermarks of the partitions of `mozdef.events`, with repeats
//! and in any order. Out: the lowest over all of them. Never: a step back, be
//! it that a partition is added.

use std::collections::BTreeMap;

use crate::window::BEGINNING;

/// The highest watermark heard of each events partition, and the lowest of those.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watermarks {
    partitions: u32,
    heard: BTreeMap<u32, i64>,
    low: i64,
}

impl Watermarks {
    /// Nothing heard yet; `partitions`: of `mozdef.events`.
    pub fn new(partitions: u32) -> Watermarks {
        Watermarks { partitions, heard: BTreeMap::new(), low: BEGINNING }
    }

    /// As it was stored. `partitions` may have grown since.
    pub fn restore(partitions: u32, heard: BTreeMap<u32, i64>, low: i64) -> Watermarks {
        Watermarks { partitions, heard, low }
    }

    /// Takes a map. Values only rise; partitions that do not exist are ignored. True when something changed.
    pub fn hear(&mut self, map: impl IntoIterator<Item = (u32, i64)>) -> bool {
        let mut changed = false;
        for (partition, watermark) in map {
            if partition >= self.partitions {
                continue;
            }
            let known = self.heard.entry(partition).or_insert(BEGINNING);
            changed |= *known < watermark;
            *known = (*known).max(watermark);
        }
        // A partition never heard of holds time at the beginning; what was reached before it was added stays.
        if self.heard.len() as u64 >= u64::from(self.partitions) {
            let lowest = self.heard.values().min().copied().unwrap_or(BEGINNING);
            self.low = self.low.max(lowest);
        }
        changed
    }

    /// The lowest watermark over all partitions.
    pub fn low(&self) -> i64 {
        self.low
    }

    /// The highest watermark heard of each partition.
    pub fn heard(&self) -> &BTreeMap<u32, i64> {
        &self.heard
    }
}

#[cfg(test)]
mod tests {
    use super::Watermarks;
    use crate::window::BEGINNING;

    #[track_caller]
    fn check(partitions: u32, maps: &[&[(u32, i64)]], expected: i64) {
        let mut watermarks = Watermarks::new(partitions);
        for map in maps {
            watermarks.hear(map.iter().copied());
        }
        assert_eq!(watermarks.low(), expected, "{maps:?}");
    }

    #[test]
    fn the_lowest_counts_and_the_unheard_holds() {
        check(2, &[&[(0, 9)]], BEGINNING);
        check(2, &[&[(0, 9)], &[(1, 5)]], 5);
        check(2, &[&[(0, 9), (1, 5)], &[(1, 20), (0, 7)]], 9);
        check(1, &[&[(0, 9), (5, 1)]], 9);
    }

    #[test]
    fn a_partition_that_is_added_does_not_turn_time_back() {
        let mut old = Watermarks::new(1);
        assert!(old.hear([(0, 50)]));
        assert!(!old.hear([(0, 50)]));
        let mut grown = Watermarks::restore(2, old.heard().clone(), old.low());
        grown.hear([(0, 60)]);
        assert_eq!(grown.low(), 50);
        grown.hear([(1, 40)]);
        assert_eq!(grown.low(), 50);
        grown.hear([(1, 70)]);
        assert_eq!(grown.low(), 60);
    }
}
