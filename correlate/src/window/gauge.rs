//! What is measured in a window, kept up to date while the window moves.
//!
//! In: entries that enter and leave a window, in order of time. Out: the
//! measure, and whether it makes the window hot. Never: a result that depends
//! on where the window began to move.
//!
//! An id that is sent again with another time counts once in a window; of its
//! numbers the latest counts.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use model::ids::EventId;

use crate::measured::{Fact, units};
use crate::rule::Kind;
use crate::window::{Entry, Spec};

/// Most rules that a correlation with an order may name: chains are told for each length and end.
pub(crate) const ORDERED_MAX: usize = 16;

/// The state of a window, by kind.
#[derive(Debug)]
pub(crate) enum Gauge {
    /// Distinct ids; a map only where ids repeat.
    Events { entries: u64, ids: Option<HashMap<EventId, u32, RandomState>> },
    /// Distinct facts.
    Values(HashMap<Fact, u32, RandomState>),
    /// How often each named rule matched.
    Rules(Box<[u32; 64]>),
    /// Chains of rules in their order.
    Chains(Box<Chains>),
    /// Numbers of distinct ids.
    Numbers(Box<Numbers>),
}

impl Gauge {
    /// Of an empty window. `doubles`: whether ids repeat among the entries.
    pub(crate) fn new(kind: Kind, doubles: bool) -> Gauge {
        match kind {
            Kind::EventCount => Gauge::Events { entries: 0, ids: doubles.then(HashMap::default) },
            Kind::ValueCount => Gauge::Values(HashMap::default()),
            Kind::Temporal => Gauge::Rules(Box::new([0; 64])),
            Kind::TemporalOrdered => Gauge::Chains(Box::default()),
            Kind::Sum | Kind::Average => Gauge::Numbers(Box::default()),
            Kind::Percentile { .. } => {
                Gauge::Numbers(Box::new(Numbers { sorted: Some(Vec::new()), ..Numbers::default() }))
            }
        }
    }

    /// An entry enters at the late end.
    pub(crate) fn enter(&mut self, entry: &Entry) {
        match self {
            Gauge::Events { entries, ids } => {
                *entries += 1;
                if let Some(ids) = ids {
                    *ids.entry(entry.id).or_default() += 1;
                }
            }
            Gauge::Values(counts) => *counts.entry(entry.fact).or_default() += 1,
            Gauge::Rules(counts) => each_rule(entry.fact, counts, |count| *count += 1),
            Gauge::Chains(chains) => chains.take(entry.time, entry.fact),
            Gauge::Numbers(numbers) => numbers.enter(entry),
        }
    }

    /// An entry leaves at the early end.
    pub(crate) fn leave(&mut self, entry: &Entry) {
        match self {
            Gauge::Events { entries, ids } => {
                *entries = entries.saturating_sub(1);
                ids.as_mut().into_iter().for_each(|ids| count_out(ids, &entry.id));
            }
            Gauge::Values(counts) => count_out(counts, &entry.fact),
            Gauge::Rules(counts) => {
                each_rule(entry.fact, counts, |count| *count = count.saturating_sub(1));
            }
            // A chain is judged by its beginning.
            Gauge::Chains(_) => {}
            Gauge::Numbers(numbers) => numbers.leave(entry),
        }
    }

    /// Ids, values or rules in the window that begins after `open`.
    pub(crate) fn measure(&self, open: i64) -> u64 {
        match self {
            Gauge::Events { entries, ids } => ids.as_ref().map_or(*entries, |ids| ids.len() as u64),
            Gauge::Values(counts) => counts.len() as u64,
            Gauge::Rules(counts) => counts.iter().filter(|count| **count > 0).count() as u64,
            Gauge::Chains(chains) => chains.longest(open),
            Gauge::Numbers(numbers) => numbers.ids.len() as u64,
        }
    }

    /// Whether the window is hot; `measure` is what [`Gauge::measure`] says, and folded ids.
    pub(crate) fn is_hot(&self, spec: &Spec, measure: u64) -> bool {
        let Gauge::Numbers(numbers) = self else { return spec.condition.holds(measure) };
        let count = numbers.ids.len() as i128;
        if count == 0 {
            return false;
        }
        match (spec.kind, &numbers.sorted) {
            (Kind::Average, _) => spec.limits.holds_scaled(numbers.sum, |bound| bound.saturating_mul(count)),
            (Kind::Percentile { per_cent }, Some(sorted)) => {
                let value = percentile_of_hundred(sorted, per_cent);
                spec.limits.holds_scaled(value, |bound| bound.saturating_mul(100))
            }
            _ => spec.limits.holds(numbers.sum),
        }
    }
}

fn count_out<K: std::hash::Hash + Eq>(counts: &mut HashMap<K, u32, RandomState>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            counts.remove(key);
        }
    }
}

fn each_rule(bits: Fact, counts: &mut [u32; 64], change: impl Fn(&mut u32)) {
    let mut rest = bits;
    while rest != 0 {
        counts.get_mut(rest.trailing_zeros() as usize).into_iter().for_each(&change);
        rest &= rest - 1;
    }
}

/// For each length and last rule of a chain, the latest time at which such a chain may have begun. Time only goes on, so
/// that nothing has to be taken back: a chain is in a window when it began in it.
#[derive(Debug)]
pub(crate) struct Chains {
    /// By length less one, then by last rule.
    begun: [[i64; ORDERED_MAX]; ORDERED_MAX],
    time: i64,
    /// Rules that matched at that time.
    rules: Fact,
}

impl Default for Chains {
    fn default() -> Chains {
        Chains { begun: [[i64::MIN; ORDERED_MAX]; ORDERED_MAX], time: i64::MIN, rules: 0 }
    }
}

impl Chains {
    /// What matched at one time satisfies either order, so that all of it is taken in the order of the rules.
    fn take(&mut self, time: i64, rules: Fact) {
        if time != self.time {
            (self.time, self.rules) = (time, 0);
        }
        self.rules |= rules;
        for last in (0..ORDERED_MAX).filter(|last| self.rules >> last & 1 == 1) {
            for longer in 0..ORDERED_MAX {
                let before = longer.checked_sub(1).and_then(|shorter| self.begun.get(shorter));
                let begun = match (longer, before) {
                    (0, _) => time,
                    (_, Some(ends)) => ends.iter().take(last).copied().max().unwrap_or(i64::MIN),
                    (_, None) => i64::MIN,
                };
                if let Some(known) = self.begun.get_mut(longer).and_then(|ends| ends.get_mut(last)) {
                    *known = begun.max(*known);
                }
            }
        }
    }

    fn longest(&self, open: i64) -> u64 {
        let is_inside =
            |ends: &&[i64; ORDERED_MAX]| ends.iter().any(|begun| *begun > open && *begun != i64::MIN);
        self.begun.iter().take_while(is_inside).count() as u64
    }
}

/// Numbers in a window.
#[derive(Debug, Default)]
pub(crate) struct Numbers {
    /// How often an id is in the window, and its latest number.
    ids: HashMap<EventId, (u32, i128), RandomState>,
    /// In units.
    sum: i128,
    /// All numbers in order, where a percentile is asked for.
    sorted: Option<Vec<i128>>,
}

impl Numbers {
    fn enter(&mut self, entry: &Entry) {
        let number = units(f64::from_bits(entry.fact));
        let old = self.ids.get(&entry.id).copied();
        if let Some((_, old)) = old {
            self.take_out(old);
        }
        self.ids.insert(entry.id, (old.map_or(0, |(count, _)| count).saturating_add(1), number));
        self.sum = self.sum.saturating_add(number);
        if let Some(sorted) = &mut self.sorted {
            sorted.insert(sorted.partition_point(|other| *other < number), number);
        }
    }

    fn leave(&mut self, entry: &Entry) {
        let Some((count, number)) = self.ids.get_mut(&entry.id) else { return };
        *count = count.saturating_sub(1);
        if *count == 0 {
            let number = *number;
            self.ids.remove(&entry.id);
            self.take_out(number);
        }
    }

    fn take_out(&mut self, number: i128) {
        self.sum = self.sum.saturating_sub(number);
        if let Some(sorted) = &mut self.sorted
            && let Ok(at) = sorted.binary_search(&number)
        {
            sorted.remove(at);
        }
    }
}

/// A hundred times the percentile, by the line between its neighbours.
pub(crate) fn percentile_of_hundred(sorted: &[i128], per_cent: u8) -> i128 {
    let steps = sorted.len().saturating_sub(1).saturating_mul(usize::from(per_cent.min(100)));
    let (at, part) = (steps / 100, (steps % 100) as i128);
    let number = |at: usize| sorted.get(at).copied();
    let low = number(at).unwrap_or(0);
    let high = number(at.saturating_add(1)).unwrap_or(low);
    low.saturating_mul(100).saturating_add(high.saturating_sub(low).saturating_mul(part))
}

#[cfg(test)]
mod tests {
    use super::{Chains, percentile_of_hundred};

    #[test]
    fn percentiles_lie_between_neighbours() {
        assert_eq!(percentile_of_hundred(&[1, 2, 3, 4], 50), 250);
        assert_eq!(percentile_of_hundred(&[1, 2, 3], 50), 200);
        assert_eq!(percentile_of_hundred(&[5], 99), 500);
        assert_eq!(percentile_of_hundred(&[0, 100], 99), 9900);
        assert_eq!(percentile_of_hundred(&[0, 100], 100), 10_000);
        assert_eq!(percentile_of_hundred(&[], 50), 0);
    }

    #[test]
    fn chains_need_their_order_but_not_within_one_time() {
        let longest = |list: &[(i64, u64)], open: i64| {
            let mut chains = Chains::default();
            list.iter().for_each(|(time, rules)| chains.take(*time, *rules));
            chains.longest(open)
        };
        assert_eq!(longest(&[(1, 0b001), (2, 0b010), (3, 0b100)], 0), 3);
        assert_eq!(longest(&[(1, 0b001), (2, 0b010), (3, 0b100)], 1), 2);
        assert_eq!(longest(&[(1, 0b010), (2, 0b001), (3, 0b100)], 0), 2);
        assert_eq!(longest(&[(1, 0b010), (1, 0b001), (1, 0b100)], 0), 3);
        assert_eq!(longest(&[(1, 0b111)], 0), 3);
        assert_eq!(longest(&[], 0), 0);
    }
}
