//! Collects aggregations over the matching documents of one segment.
//!
//! In: documents, one by one. Out: a [`Partial`] for each aggregation. Each aggregation below another is collected
//! for all buckets of its owner at once; a bucket is a number, `owner` names the bucket above.

use jiff::tz::TimeZone;
use tantivy::{BitSet, SegmentReader};

use super::bind::{Context, bind};
use super::buckets::Buckets;
use super::finish;
use super::partial::{Held, Key, Partial, Stats};
use super::sketch::Sketch;
use super::values::{Form, Source};
use super::{Aggregation, BUCKETS_HELD_MAX, DEPTH_MAX, Kind, MetricKind, Rounding};
use crate::error::ApiError;

/// Stands for the `missing` value among ordinals.
pub(super) const MISSING: u64 = u64::MAX;

/// Aggregations at work on one segment.
pub(crate) struct Collector {
    nodes: Vec<Node>,
    /// One for each level.
    buffers: Vec<Vec<u64>>,
}

/// One aggregation and those below it.
pub(super) struct Node {
    pub(super) work: Work,
    pub(super) children: Vec<Node>,
}

/// What an aggregation needs and has collected.
pub(super) enum Work {
    Terms {
        source: Source,
        form: Option<Form>,
        missing: Option<Key>,
        buckets: Buckets,
    },
    Steps {
        source: Source,
        form: Option<Form>,
        stepper: Stepper,
        missing: Option<i64>,
        buckets: Buckets,
    },
    Ranges {
        source: Source,
        ranges: Vec<(i128, i128)>,
        missing: Option<i64>,
        buckets: Buckets,
        scratch: Vec<u64>,
    },
    Sets {
        sets: Vec<BitSet>,
        other: bool,
        buckets: Buckets,
    },
    Numbers {
        source: Source,
        form: Option<Form>,
        missing: Option<i64>,
        stats: Vec<Stats>,
    },
    Count {
        source: Source,
        missing: bool,
        counts: Vec<Stats>,
    },
    Distinct {
        source: Source,
        missing: Option<Key>,
        seen: Vec<Seen>,
    },
}

/// Different values of one owner.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) values: foldhash::HashSet<u64>,
}

/// Rounds values to the keys of steps.
pub(super) enum Stepper {
    Number { interval: f64, offset: f64 },
    Date { rounding: Rounding, zone: TimeZone, last: (i64, i64) },
}

impl Stepper {
    /// The key of the step that holds a stored value.
    fn step(&mut self, stored: i64, form: Form) -> i64 {
        match self {
            Stepper::Number { interval, offset } => {
                ((form.number(stored) - *offset) / *interval).floor() as i64
            }
            Stepper::Date { rounding, zone, last } => {
                if !(last.0..last.1).contains(&stored) {
                    // A date that cannot be rounded is a step of its own.
                    *last = rounding.step(stored, zone).unwrap_or((stored, stored.saturating_add(1)));
                }
                last.0
            }
        }
    }
}

impl Collector {
    /// Opens what the aggregations need of a segment.
    pub(crate) fn open(
        aggregations: &[Aggregation],
        segment: &SegmentReader,
        context: &Context<'_>,
    ) -> Result<Collector, ApiError> {
        let nodes = aggregations.iter().map(|a| bind(a, segment, context, true)).collect::<Result<_, _>>()?;
        Ok(Collector { nodes, buffers: vec![Vec::new(); DEPTH_MAX + 2] })
    }

    /// Takes a document.
    pub(crate) fn collect(&mut self, doc: u32) {
        for node in &mut self.nodes {
            node.collect(doc, 0, &mut self.buffers);
        }
    }

    /// Fails when too much is held.
    pub(crate) fn check(&self) -> Result<(), ApiError> {
        let held: usize = self.nodes.iter().map(Node::held).sum();
        check_held(held)
    }

    /// The results, in the order of the aggregations.
    pub(crate) fn finish(self) -> Result<Vec<Partial>, ApiError> {
        self.check()?;
        let mut partials = Vec::with_capacity(self.nodes.len());
        for node in self.nodes {
            partials.extend(finish::finish(node, 1)?);
        }
        Ok(partials)
    }
}

/// Fails when so much is too much.
pub(crate) fn check_held(held: usize) -> Result<(), ApiError> {
    if held > BUCKETS_HELD_MAX {
        return Err(ApiError::new(
            429,
            "circuit_breaking_exception",
            format!("aggregations hold more than {BUCKETS_HELD_MAX} buckets; narrow the query or nest less"),
        ));
    }
    Ok(())
}

/// The results of aggregations that have seen nothing.
pub(crate) fn empty(aggregations: &[Aggregation]) -> Vec<Partial> {
    aggregations
        .iter()
        .map(|aggregation| match &aggregation.kind {
            Kind::Metric(metric) if metric.kind == MetricKind::Cardinality => {
                Partial::Distinct(Sketch::default())
            }
            Kind::Metric(_) => Partial::Stats(Stats::default()),
            _ => Partial::Buckets(Held::default()),
        })
        .collect()
}

/// Values become the steps that they lie in, each once.
fn to_steps(values: &mut Vec<u64>, stepper: &mut Stepper, form: Form) {
    for value in values.iter_mut() {
        *value = stepper.step(value.cast_signed(), form).cast_unsigned();
    }
    if values.len() > 1 {
        values.sort_unstable();
        values.dedup();
    }
}

impl Node {
    /// `buffers`: one for this level and one for each below.
    fn collect(&mut self, doc: u32, owner: u32, buffers: &mut [Vec<u64>]) {
        let Some((values, below)) = buffers.split_first_mut() else { return };
        let children = &mut self.children;
        match &mut self.work {
            Work::Terms { source, missing, buckets, .. } => {
                source.read_distinct(doc, values);
                if let (true, Some(missing)) = (values.is_empty(), missing) {
                    values.push(stand_in(missing));
                }
                into_buckets(buckets, children, doc, owner, values, below);
            }
            Work::Steps { source, form, stepper, missing, buckets } => {
                source.read(doc, values);
                or_missing(values, *missing);
                to_steps(values, stepper, form.unwrap_or(Form::Float));
                into_buckets(buckets, children, doc, owner, values, below);
            }
            Work::Ranges { source, ranges, missing, buckets, scratch } => {
                source.read(doc, scratch);
                or_missing(scratch, *missing);
                values.clear();
                for (position, (from, to)) in (0_u64..).zip(ranges.iter()) {
                    if scratch.iter().any(|v| (*from..*to).contains(&i128::from(v.cast_signed()))) {
                        values.push(position);
                    }
                }
                into_buckets(buckets, children, doc, owner, values, below);
            }
            Work::Sets { sets, other, buckets } => {
                values.clear();
                values.extend(
                    (0_u64..).zip(sets.iter()).filter(|(_, set)| set.contains(doc)).map(|(at, _)| at),
                );
                if values.is_empty() && *other {
                    values.push(sets.len() as u64);
                }
                into_buckets(buckets, children, doc, owner, values, below);
            }
            Work::Numbers { source, form, missing, stats } => {
                source.read(doc, values);
                or_missing(values, *missing);
                let form = form.unwrap_or(Form::Float);
                let stats = of_owner(stats, owner);
                for value in values.iter() {
                    stats.add(form.number(value.cast_signed()));
                }
            }
            Work::Count { source, missing, counts } => {
                if matches!(source, Source::Strings(_)) {
                    source.read_distinct(doc, values);
                } else {
                    source.read(doc, values);
                }
                let found = if values.is_empty() && *missing { 1 } else { values.len() as u64 };
                let count = of_owner(counts, owner);
                count.count = count.count.saturating_add(found);
            }
            Work::Distinct { source, missing, seen } => {
                source.read(doc, values);
                if let (true, Some(missing)) = (values.is_empty(), missing) {
                    values.push(stand_in(missing));
                }
                of_owner(seen, owner).values.extend(values.iter());
            }
        }
    }

    fn held(&self) -> usize {
        let own = match &self.work {
            Work::Terms { buckets, .. }
            | Work::Steps { buckets, .. }
            | Work::Ranges { buckets, .. }
            | Work::Sets { buckets, .. } => buckets.keys.len(),
            // Values held one by one are much smaller than buckets.
            Work::Distinct { seen, .. } => seen.iter().map(|s| s.values.len() / 8).sum(),
            Work::Numbers { .. } | Work::Count { .. } => 0,
        };
        self.children.iter().map(Node::held).fold(own, usize::saturating_add)
    }
}

fn into_buckets(
    buckets: &mut Buckets,
    children: &mut [Node],
    doc: u32,
    owner: u32,
    values: &[u64],
    below: &mut [Vec<u64>],
) {
    for value in values {
        let bucket = buckets.count(owner, *value);
        for child in children.iter_mut() {
            child.collect(doc, bucket, below);
        }
    }
}

fn or_missing(values: &mut Vec<u64>, missing: Option<i64>) {
    if let (true, Some(missing)) = (values.is_empty(), missing) {
        values.push(missing.cast_unsigned());
    }
}

/// A `missing` value among the values of a source: numbers as they are, text as an ordinal that no string has.
fn stand_in(missing: &Key) -> u64 {
    match missing {
        Key::Number(number) => number.cast_unsigned(),
        Key::Text(_) => MISSING,
    }
}

fn of_owner<T: Default>(list: &mut Vec<T>, owner: u32) -> &mut T {
    let at = owner as usize;
    if list.len() <= at {
        list.resize_with(at.saturating_add(1), T::default);
    }
    list.get_mut(at).unwrap_or_else(|| unreachable!("the list was made long enough"))
}
