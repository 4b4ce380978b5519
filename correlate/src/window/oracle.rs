//! The batch oracle of the tests: what the alerts of one group are, computed
//! slowly from all its entries at once.
//!
//! In: every entry that was not late, in any order. Out: episodes, sorted.
//! Never: anything of the engine.

use std::collections::{BTreeMap, BTreeSet};

use crate::measured::{Fact, units};
use crate::rule::Kind;
use crate::window::{Mark, Spec};

/// What the oracle says of one alert.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Expected {
    pub(crate) first: Mark,
    pub(crate) last: Mark,
    pub(crate) count: u64,
    pub(crate) samples: Vec<Mark>,
    pub(crate) peak: u64,
    /// Values with their counts and first events.
    pub(crate) tops: Vec<(String, u64, Mark)>,
}

/// What every event of these histories has in the field that is counted.
pub(crate) fn value(mark: Mark) -> String {
    format!("v{}", mark.id.as_bytes().iter().map(|byte| u32::from(*byte)).sum::<u32>() % 3)
}

fn tops(events: &BTreeSet<Mark>) -> Vec<(String, u64, Mark)> {
    let mut values = events.iter().map(|mark| value(*mark)).collect::<BTreeSet<_>>();
    let mut tops = Vec::new();
    while let Some(one) = values.pop_first() {
        let having = events.iter().filter(|mark| value(**mark) == one).copied().collect::<Vec<_>>();
        tops.push((one, having.len() as u64, having[0]));
    }
    tops.sort_by_key(|(_, count, first)| (std::cmp::Reverse(*count), *first));
    tops
}

/// What an event of these histories adds, by kind: one of few values, some of three rules, a number.
pub(crate) fn fact(kind: Kind, mark: Mark) -> Fact {
    let mix = |sum: u64, byte: &u8| sum.wrapping_mul(31).wrapping_add(u64::from(*byte));
    let mixed = mark.id.as_bytes().iter().fold(mark.time as u64, mix);
    match kind {
        Kind::EventCount => 0,
        Kind::ValueCount => mixed % 4,
        Kind::Temporal | Kind::TemporalOrdered => [0b001, 0b010, 0b100, 0b011, 0b110][(mixed % 5) as usize],
        Kind::Sum | Kind::Average | Kind::Percentile { .. } => (((mixed % 41) as f64 - 20.0) / 8.0).to_bits(),
    }
}

/// Ids, values or rules in a window.
fn measure(kind: Kind, window: &[Mark]) -> u64 {
    let facts = || window.iter().map(|mark| fact(kind, *mark));
    match kind {
        Kind::ValueCount => facts().collect::<BTreeSet<_>>().len() as u64,
        Kind::Temporal => u64::from(facts().fold(0, |all, one| all | one).count_ones()),
        Kind::TemporalOrdered => {
            // Every set of rules in its order, each rule at some time that is not before the last one's.
            let times = |rule: u32| window.iter().filter(move |mark| fact(kind, **mark) >> rule & 1 == 1);
            let fits = |rules: u32| {
                let mut chain = (0..3).filter(|rule| rules >> rule & 1 == 1);
                chain.try_fold(i64::MIN, |since, rule| {
                    times(rule).map(|mark| mark.time).filter(|time| *time >= since).min()
                })
            };
            (0..8_u32).filter(|rules| fits(*rules).is_some()).map(u32::count_ones).max().unwrap_or(0).into()
        }
        _ => window.iter().map(|mark| mark.id).collect::<BTreeSet<_>>().len() as u64,
    }
}

/// Whether a window is hot, from all that is in it.
fn is_hot(spec: &Spec, window: &[Mark]) -> bool {
    if !spec.kind.takes_numbers() {
        return spec.condition.holds(measure(spec.kind, window));
    }
    // Of an id that came twice the later number counts.
    let latest = window.iter().map(|mark| (mark.id, fact(spec.kind, *mark))).collect::<BTreeMap<_, _>>();
    let mut numbers = latest.values().map(|bits| units(f64::from_bits(*bits))).collect::<Vec<_>>();
    numbers.sort_unstable();
    let (count, sum) = (numbers.len() as i128, numbers.iter().sum::<i128>());
    let (value, scale) = match spec.kind {
        Kind::Percentile { per_cent } => {
            let place = (numbers.len() - 1) * usize::from(per_cent);
            let (low, part) = (place / 100, (place % 100) as i128);
            let high = numbers.len().min(low + 2) - 1;
            (numbers[low] * (100 - part) + numbers[high] * part, 100)
        }
        Kind::Average => (sum, count),
        _ => (sum, 1),
    };
    spec.limits.holds_scaled(value, |bound| bound * scale)
}

/// The alerts over the entries of one group.
pub(crate) fn alerts(spec: &Spec, samples: usize, marks: &[Mark]) -> Vec<Expected> {
    let timespan_ms = spec.timespan_ms;
    let marks = marks.iter().copied().collect::<BTreeSet<_>>();
    let window =
        |end: i64| marks.iter().filter(move |mark| end - timespan_ms < mark.time && mark.time <= end);
    let whole = |end: i64| window(end).copied().collect::<Vec<_>>();
    let times = marks.iter().map(|mark| mark.time).collect::<BTreeSet<_>>();
    let mut runs: Vec<Vec<i64>> = Vec::new();
    for hot in times.into_iter().filter(|&time| is_hot(spec, &whole(time))) {
        match runs.last_mut().filter(|run| run.last().is_some_and(|last| hot - last < timespan_ms)) {
            Some(run) => run.push(hot),
            None => runs.push(vec![hot]),
        }
    }
    let mut alerts = Vec::new();
    for run in runs {
        let events = run.iter().flat_map(|&hot| window(hot)).copied().collect::<BTreeSet<_>>();
        let peak = run.iter().map(|&hot| measure(spec.kind, &whole(hot))).max().unwrap_or(0);
        alerts.push(Expected {
            first: *events.first().unwrap(),
            last: *events.last().unwrap(),
            count: events.len() as u64,
            tops: tops(&events),
            samples: events.into_iter().take(samples).collect(),
            peak,
        });
    }
    alerts.sort();
    alerts
}
