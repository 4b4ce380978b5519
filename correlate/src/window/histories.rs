//! Random histories of matches and watermarks, from a seed, for the tests.
//!
//! In: a seed. Out: a rule and a log of matches, out of order, with
//! duplicates, lagging and idle partitions, wrong clocks and lateness.

use std::collections::BTreeMap;

use model::ids::EventId;

use crate::measured;
use crate::rule::{Condition, Kind};

/// SplitMix64: small, seeded, good enough for histories.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ 0x9e37_79b9_7f4a_7c15)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number of `low..=high`.
    pub(crate) fn range(&mut self, low: i64, high: i64) -> i64 {
        low + (self.next() % (high - low + 1) as u64) as i64
    }

    /// True so many times in a hundred.
    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.next() % 100 < percent
    }

    pub(crate) fn pick<'l, T>(&mut self, list: &'l [T]) -> &'l T {
        &list[(self.next() % list.len() as u64) as usize]
    }

    pub(crate) fn shuffle<T>(&mut self, list: &mut [T]) {
        for index in (1..list.len()).rev() {
            list.swap(index, self.range(0, index as i64) as usize);
        }
    }
}

/// One match of a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Match {
    pub(crate) group: u8,
    pub(crate) time: i64,
    pub(crate) id: EventId,
    /// Its number, so that late ones can be named.
    pub(crate) number: usize,
}

/// One record of a history.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Step {
    Match(Match),
    Watermarks(BTreeMap<u32, i64>),
}

/// A rule and what happens to it.
#[derive(Clone, Debug)]
pub(crate) struct History {
    pub(crate) timespan_ms: i64,
    pub(crate) kind: Kind,
    pub(crate) limits: Condition<i128>,
    pub(crate) condition: Condition,
    pub(crate) lateness_ms: i64,
    pub(crate) partitions: u32,
    pub(crate) steps: Vec<Step>,
}

pub(crate) fn id(number: i64) -> EventId {
    let mut bytes = [0; 16];
    bytes[14..].copy_from_slice(&(number as u16).to_be_bytes());
    EventId::from_bytes(bytes)
}

/// Any condition: lower bounds half of the time, else one that only the watermark decides.
pub(crate) fn condition(random: &mut Random) -> Condition {
    let n = random.range(1, 4) as u64;
    let none = Condition::default();
    match random.range(0, 9) {
        0..=4 => Condition { gte: Some(n), ..none },
        5 => Condition { gt: Some(n - 1), ..none },
        6 => Condition { eq: Some(n), ..none },
        7 => Condition { lt: Some(n), ..none },
        8 => Condition { neq: Some(n), ..none },
        _ => Condition { gte: Some(n), lte: Some(n + 1), ..none },
    }
}

/// Bounds of numbers such as these histories have.
fn limits(random: &mut Random) -> Condition<i128> {
    let n = Some(measured::units(random.range(-12, 20) as f64 / 8.0));
    let none = Condition::default();
    match random.range(0, 5) {
        0 | 1 => Condition { gt: n, ..none },
        2 => Condition { gte: n, ..none },
        3 => Condition { lt: n, ..none },
        4 => Condition { neq: n, ..none },
        _ => Condition { gte: n, lte: n.map(|n| n + measured::UNITS), ..none },
    }
}

/// The kind of a history: every second counts events.
fn kind(random: &mut Random) -> Kind {
    match random.range(0, 13) {
        0 | 1 => Kind::ValueCount,
        2 | 3 => Kind::Temporal,
        4 | 5 => Kind::TemporalOrdered,
        6 => Kind::Sum,
        7 => Kind::Average,
        8 => Kind::Percentile { per_cent: *random.pick(&[50, 0, 90, 33, 100]) },
        _ => Kind::EventCount,
    }
}

/// One history: every fourth a mere heap of times that joins episodes, the others lively.
pub(crate) fn history(seed: u64) -> History {
    let mut random = Random::new(seed);
    let mut history = if seed.is_multiple_of(4) { joining(&mut random) } else { lively(&mut random) };
    // Drawn last, so that the histories of seeds stay what they were.
    history.kind = kind(&mut random);
    history.limits = limits(&mut random);
    history
}

/// Matches in no order over a short time, and the end: joins of two and three episodes.
fn joining(random: &mut Random) -> History {
    let mut steps = Vec::new();
    let timespan_ms = random.range(8, 10);
    let condition = Condition { gte: Some(random.range(2, 4) as u64), ..Condition::default() };
    for number in 0..random.range(6, 14) as usize {
        let (time, id) = (random.range(-14, 24), id(random.range(0, 999)));
        steps.push(Step::Match(Match { group: 0, time, id, number }));
    }
    steps.push(Step::Watermarks(BTreeMap::from([(0, 999)])));
    let (kind, limits) = (Kind::EventCount, Condition::default());
    History { timespan_ms, kind, limits, condition, lateness_ms: 0, partitions: 1, steps }
}

/// Three partitions with clocks, stalls, duplicates and re-sent events, and watermarks in between.
fn lively(random: &mut Random) -> History {
    const PARTITIONS: usize = 3;
    let (timespan_ms, lateness_ms) = (random.range(3, 10), random.range(0, 5));
    let (disorder, skew, groups) = (random.range(0, 3), random.range(0, 5), random.range(1, 2));
    let pace = *random.pick(&[1, 2, 3, 5]);
    let (mut clock, mut stalled) = (0, None);
    let mut highest = [None::<i64>; PARTITIONS];
    let mut seen: Vec<(u8, i64, i64, EventId)> = Vec::new();
    let mut steps = Vec::new();
    let mut number = 0;
    for _ in 0..random.range(10, 50) {
        clock += random.range(0, pace);
        if random.chance(7) {
            stalled = *random.pick(&[None, Some(0), Some(1), Some(2)]);
        }
        let partition = random.range(0, 2) as usize;
        let recent = seen.get(seen.len().saturating_sub(8)..).unwrap_or_default().to_vec();
        let (group, mut received, own, id) = if random.chance(15) && !recent.is_empty() {
            *random.pick(&recent)
        } else {
            let received =
                clock - random.range(0, disorder) - if random.chance(3) { random.range(1, 12) } else { 0 };
            let off =
                if random.chance(90) { random.range(-lateness_ms, skew) } else { *random.pick(&[-50, 50]) };
            (random.range(1, groups) as u8, received, received + off, id(random.range(0, 999)))
        };
        if random.chance(8) {
            received = clock - random.range(0, disorder);
        }
        seen.push((group, received, own, id));
        if stalled != Some(partition) {
            highest[partition] = Some(highest[partition].map_or(received, |old| old.max(received)));
        }
        let near = received - lateness_ms <= own && own <= received + skew;
        let time = if near { own } else { received };
        for _ in 0..if random.chance(10) { 2 } else { 1 } {
            steps.push(Step::Match(Match { group, time, id, number }));
            number += 1;
        }
        for (other, high) in highest.iter_mut().enumerate() {
            if stalled != Some(other) && other != partition {
                *high = Some(high.map_or(clock, |old| old.max(clock)));
            }
        }
        if random.chance(60) {
            for part in [&[0, 1][..], &[2][..]] {
                let map = part.iter().filter_map(|&p| Some((p as u32, highest[p]? - disorder))).collect();
                steps.push(Step::Watermarks(map));
            }
        }
    }
    let condition = condition(random);
    steps.push(Step::Watermarks((0..PARTITIONS as u32).map(|p| (p, clock + 999)).collect()));
    let (kind, limits) = (Kind::EventCount, Condition::default());
    History { timespan_ms, kind, limits, condition, lateness_ms, partitions: PARTITIONS as u32, steps }
}

/// Numbers of the matches that are late, computed without the engine.
pub(crate) fn late(history: &History) -> Vec<usize> {
    let mut heard = BTreeMap::<u32, i64>::new();
    let mut late = Vec::new();
    for step in &history.steps {
        match step {
            Step::Watermarks(map) => {
                for (&partition, &watermark) in map {
                    let known = heard.entry(partition).or_insert(watermark);
                    *known = watermark.max(*known);
                }
            }
            Step::Match(entry) => {
                let low = heard.values().min().filter(|_| heard.len() == history.partitions as usize);
                if low.is_some_and(|low| entry.time < low - history.lateness_ms) {
                    late.push(entry.number);
                }
            }
        }
    }
    late
}
