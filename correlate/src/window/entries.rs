//! What a group keeps of its matches, and how many ids are in a window.
//!
//! In: entries in any order. Out: measures of windows. Never: episodes.
//!
//! Entries lie in a vector sorted by (time, id): arrival is nearly in
//! order, so an insertion is mostly a push. Beyond the cap entries become
//! [`Row`]s, which keep counts but no ids (`fold`): those below the watermark
//! first, for which that is exact as long as an id is not sent again with
//! another time; then the oldest, which the alert admits as `approximate`.

use foldhash::fast::RandomState;
use model::ids::EventId;

use crate::measured::Fact;
use crate::rule::Kind;
use crate::window::gauge::Gauge;
use crate::window::{Entry, Mark, Spec};

/// Entries that were folded: all of one time, or of neighbouring times where even rows are too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Distinct ids.
    pub count: u64,
    /// First of them by (time, id).
    pub first: Mark,
    /// Last of them by (time, id).
    pub last: Mark,
}

impl Row {
    /// The time by which the row is in a window or not.
    pub(crate) fn time(&self) -> i64 {
        self.last.time
    }

    fn join(&mut self, other: &Row) {
        self.count = self.count.saturating_add(other.count);
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
    }
}

/// Where an entry is, or belongs.
pub(crate) fn position(entries: &[Entry], mark: Mark) -> Result<usize, usize> {
    // In order of arrival it belongs at the end; looking there first saves the search.
    if entries.last().is_none_or(|last| last.mark() < mark) {
        return Err(entries.len());
    }
    entries.binary_search_by(|probe| probe.mark().cmp(&mark))
}

/// Makes room as a list of few entries needs: groups are many and mostly small.
pub(crate) fn reserve_one(entries: &mut Vec<Entry>) {
    if entries.len() == entries.capacity() && entries.len() < 8 {
        entries.reserve_exact(1);
    }
}

/// Fewest entries for which ids are looked up in a filter; fewer are looked through.
const FILTER_FROM: usize = 32;

/// Tells for large groups that an id is new, without looking through all entries. An id is a hash, so four of its
/// bytes tell it from others well enough; what is not new for the filter is looked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    seen: std::collections::HashSet<u32, RandomState>,
}

impl Filter {
    /// Whether an id may be among the entries, to which it is added next.
    pub(crate) fn may_have(&mut self, entries: &[Entry], id: EventId) -> bool {
        if entries.len() < FILTER_FROM {
            return true;
        }
        // Ids of entries that left are swept out when there are as many of them.
        if self.seen.is_empty() || self.seen.len() > entries.len().saturating_mul(2) {
            self.seen.clear();
            self.seen.extend(entries.iter().map(|entry| fingerprint(entry.id)));
        }
        !self.seen.insert(fingerprint(id))
    }
}

fn fingerprint(id: EventId) -> u32 {
    id.as_bytes().first_chunk::<4>().map_or(0, |bytes| u32::from_be_bytes(*bytes))
}

/// How many entries carry the id of an earlier one.
pub(crate) fn count_doubles(entries: &[Entry]) -> u32 {
    let mut seen = std::collections::HashSet::<EventId, RandomState>::default();
    let doubles = entries.iter().filter(|entry| !seen.insert(entry.id)).count();
    u32::try_from(doubles).unwrap_or(u32::MAX)
}

/// Index of the first entry later than `time`.
pub(crate) fn after(entries: &[Entry], time: i64) -> usize {
    match entries.first() {
        Some(first) if first.time > time => 0,
        _ => entries.partition_point(|entry| entry.time <= time),
    }
}

/// The entries with `open < time ≤ end`.
pub(crate) fn between(entries: &[Entry], open: i64, end: i64) -> &[Entry] {
    let from = after(entries, open);
    let to = after(entries, end).max(from);
    entries.get(from..to).unwrap_or_default()
}

/// Measures of windows that end at ascending times.
pub(crate) struct Sweep<'a> {
    entries: &'a [Entry],
    rows: &'a [Row],
    timespan_ms: i64,
    from: usize,
    to: usize,
    rows_from: usize,
    rows_to: usize,
    rows_sum: u64,
    gauge: Gauge,
}

impl<'a> Sweep<'a> {
    /// Stands before the window that ends at `start`.
    pub(crate) fn new(
        entries: &'a [Entry],
        doubles: u32,
        rows: &'a [Row],
        spec: &Spec,
        start: i64,
    ) -> Sweep<'a> {
        let timespan_ms = spec.timespan_ms;
        let open = start.saturating_sub(timespan_ms);
        let from = after(entries, open);
        // Rows know nothing but how many ids they stand for.
        let rows = if spec.kind == Kind::EventCount { rows } else { &[] };
        let rows_from = rows.partition_point(|row| row.time() <= open);
        let gauge = Gauge::new(spec.kind, doubles > 0);
        Sweep {
            entries,
            rows,
            timespan_ms,
            from,
            to: from,
            rows_from,
            rows_to: rows_from,
            rows_sum: 0,
            gauge,
        }
    }

    /// What is in `(end − T, end]`. `end` never falls from call to call.
    pub(crate) fn measure(&mut self, end: i64) -> u64 {
        let open = end.saturating_sub(self.timespan_ms);
        while let Some(entry) = self.entries.get(self.to).filter(|entry| entry.time <= end) {
            self.gauge.enter(entry);
            self.to += 1;
        }
        while let Some(entry) = self.entries.get(self.from).filter(|entry| entry.time <= open) {
            self.gauge.leave(entry);
            self.from += 1;
        }
        self.gauge.measure(open).saturating_add(self.measure_rows(open, end))
    }

    /// Whether the window that was measured last is hot.
    pub(crate) fn is_hot(&self, spec: &Spec, measure: u64) -> bool {
        self.gauge.is_hot(spec, measure)
    }

    fn measure_rows(&mut self, open: i64, end: i64) -> u64 {
        while let Some(row) = self.rows.get(self.rows_to).filter(|row| row.time() <= end) {
            self.rows_sum = self.rows_sum.saturating_add(row.count);
            self.rows_to += 1;
        }
        while let Some(row) = self.rows.get(self.rows_from).filter(|row| row.time() <= open) {
            self.rows_sum = self.rows_sum.saturating_sub(row.count);
            self.rows_from += 1;
        }
        self.rows_sum
    }
}

/// Takes those entries below `limit` out that no measure of a time from `limit` on needs: a newer one below `limit` has
/// their value, or all their rules. `None` for kinds for which none can go.
pub(crate) fn thin(entries: &mut Vec<Entry>, limit: i64, kind: Kind) -> Option<Vec<Entry>> {
    if !matches!(kind, Kind::ValueCount | Kind::Temporal) {
        return None;
    }
    let below = after(entries, limit.saturating_sub(1));
    let later = entries.split_off(below.min(entries.len()));
    let mut values = std::collections::HashSet::<Fact, RandomState>::default();
    let mut rules: Fact = 0;
    let (mut kept, mut gone) = (Vec::new(), Vec::new());
    for entry in entries.drain(..).rev() {
        let is_needed = if kind == Kind::ValueCount {
            values.insert(entry.fact)
        } else {
            let is_new = entry.fact & !rules != 0;
            rules |= entry.fact;
            is_new
        };
        if is_needed { kept.push(entry) } else { gone.push(entry) }
    }
    kept.reverse();
    gone.reverse();
    *entries = kept;
    entries.extend(later);
    Some(gone)
}

/// Adds entries to the rows. True when rows had to be joined over several times.
pub(crate) fn fold(folded: &[Entry], rows: &mut Vec<Row>, rows_max: usize) -> bool {
    for mark in folded.iter().map(Entry::mark) {
        let row = Row { count: 1, first: mark, last: mark };
        let at = rows.partition_point(|other| other.time() < mark.time);
        match rows.get_mut(at).filter(|other| other.time() == mark.time || other.first.time <= mark.time) {
            Some(same) => same.join(&row),
            None => rows.insert(at, row),
        }
    }
    let joined = rows.len() > rows_max;
    while rows.len() > rows_max && rows.len() > 1 {
        *rows = rows.chunks(2).filter_map(join_pair).collect();
    }
    joined
}

fn join_pair(pair: &[Row]) -> Option<Row> {
    let (first, others) = pair.split_first()?;
    let mut row = *first;
    others.iter().for_each(|other| row.join(other));
    Some(row)
}

#[cfg(test)]
mod tests {
    use model::ids::EventId;

    use super::{Row, Sweep, between, count_doubles, fold, position, thin};
    use crate::rule::{Condition, Kind};
    use crate::window::{Entry, Mark, Spec};

    fn spec(timespan_ms: i64) -> Spec {
        Spec {
            timespan_ms,
            kind: Kind::EventCount,
            condition: Condition::default(),
            limits: Condition::default(),
            samples: 0,
            revise_ms: 0,
            entries_max: 100,
        }
    }

    fn id(n: u8) -> EventId {
        EventId::from_bytes([n; 16])
    }

    fn entries(list: &[(i64, u8)]) -> Vec<Entry> {
        let mut entries = Vec::new();
        for &(time, n) in list {
            let entry = Entry { time, id: id(n), fact: 0, sample: None };
            if let Err(at) = position(&entries, entry.mark()) {
                entries.insert(at, entry);
            }
        }
        entries
    }

    #[track_caller]
    fn check(list: &[(i64, u8)], timespan_ms: i64, ends: &[i64], expected: &[u64]) {
        let entries = entries(list);
        let doubles = count_doubles(&entries);
        let start = ends.first().copied().unwrap_or(0);
        let mut sweep = Sweep::new(&entries, doubles, &[], &spec(timespan_ms), start);
        let got = ends.iter().map(|&end| sweep.measure(end)).collect::<Vec<_>>();
        assert_eq!(got, expected, "{list:?}");
    }

    #[test]
    fn windows_are_open_below_and_closed_above() {
        check(&[(0, 1), (5, 2), (10, 3)], 10, &[0, 5, 9, 10, 14, 15, 20], &[1, 2, 2, 2, 2, 1, 0]);
    }

    #[test]
    fn an_id_counts_once_in_a_window_and_equal_entries_are_one() {
        check(&[(0, 1), (3, 1), (3, 1), (4, 2)], 4, &[3, 4, 6, 7], &[1, 2, 2, 1]);
    }

    #[test]
    fn entries_between_two_times_exclude_the_lower() {
        let list = entries(&[(9, 3), (1, 1), (5, 2)]);
        let times = |open, end| between(&list, open, end).iter().map(|e| e.time).collect::<Vec<_>>();
        assert_eq!(times(1, 9), [5, 9]);
        assert_eq!(times(0, 4), [1]);
        assert_eq!(times(9, 2), [0_i64; 0]);
    }

    #[test]
    fn folded_entries_count_as_before_until_rows_are_too_many() {
        let mut list = entries(&[(1, 1), (1, 2), (3, 3), (7, 4), (8, 5)]);
        let mut rows = Vec::new();
        let rest = list.split_off(4);
        assert!(!fold(&list, &mut rows, 3));
        let mut sweep = Sweep::new(&rest, 0, &rows, &spec(6), 3);
        assert_eq!([sweep.measure(3), sweep.measure(7), sweep.measure(8)], [3, 2, 3]);
        assert!(fold(&rest, &mut rows, 3));
        let mark = |time, n| Mark { time, id: id(n) };
        let expected = [
            Row { count: 3, first: mark(1, 1), last: mark(3, 3) },
            Row { count: 2, first: mark(7, 4), last: mark(8, 5) },
        ];
        assert_eq!(rows, expected);
    }

    #[test]
    fn only_what_newer_entries_repeat_is_thinned_out() {
        let facts = [(1, 1, 1), (2, 2, 2), (3, 3, 1), (4, 4, 3), (9, 5, 1)];
        let list = || {
            facts
                .iter()
                .map(|&(time, n, fact)| Entry { time, id: id(n), fact, sample: None })
                .collect::<Vec<_>>()
        };
        let check = |kind, expected: Option<&[i64]>| {
            let mut entries = list();
            let gone = thin(&mut entries, 9, kind);
            let gone = gone.map(|gone| gone.iter().map(|entry| entry.time).collect::<Vec<_>>());
            assert_eq!(gone.as_deref(), expected, "{kind:?}");
            assert_eq!(entries.len() + gone.map_or(0, |gone| gone.len()), facts.len());
            assert!(entries.is_sorted_by_key(|entry| entry.time));
        };
        check(Kind::ValueCount, Some(&[1]));
        check(Kind::Temporal, Some(&[1, 2, 3]));
        check(Kind::Sum, None);
    }
}
