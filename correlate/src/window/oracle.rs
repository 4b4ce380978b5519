//! The batch oracle of the tests: what the alerts of one group are, computed
//! slowly from all its entries at once.
//!
//! In: every entry that was not late, in any order. Out: episodes, sorted.
//! Never: anything of the engine.

use std::collections::BTreeSet;

use crate::rule::Condition;
use crate::window::Mark;

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

/// The alerts over the entries of one group.
pub(crate) fn alerts(
    timespan_ms: i64,
    condition: &Condition,
    samples: usize,
    marks: &[Mark],
) -> Vec<Expected> {
    let marks = marks.iter().copied().collect::<BTreeSet<_>>();
    let window =
        |end: i64| marks.iter().filter(move |mark| end - timespan_ms < mark.time && mark.time <= end);
    let measure = |end: i64| window(end).map(|mark| mark.id).collect::<BTreeSet<_>>().len() as u64;
    let times = marks.iter().map(|mark| mark.time).collect::<BTreeSet<_>>();
    let mut runs: Vec<Vec<i64>> = Vec::new();
    for hot in times.into_iter().filter(|&time| condition.holds(measure(time))) {
        match runs.last_mut().filter(|run| run.last().is_some_and(|last| hot - last < timespan_ms)) {
            Some(run) => run.push(hot),
            None => runs.push(vec![hot]),
        }
    }
    let mut alerts = Vec::new();
    for run in runs {
        let events = run.iter().flat_map(|&hot| window(hot)).copied().collect::<BTreeSet<_>>();
        let peak = run.iter().map(|&hot| measure(hot)).max().unwrap_or(0);
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
