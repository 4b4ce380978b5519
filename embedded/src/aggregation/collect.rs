//! Collects aggregations over the matching documents of one segment.
//!
//! In: documents, one by one. Out: a [`Partial`] for each aggregation. Each aggregation below another is collected
//! for all buckets of its owner at once; a bucket is a number, `owner` names the bucket above.

use jiff::tz::TimeZone;
use model::time::Timestamp;
use tantivy::query::EnableScoring;
use tantivy::{BitSet, Searcher, SegmentReader};

use super::partial::{Bucket, Held, Key, Partial, Stats};
use super::sketch::{Sketch, hash};
use super::values::{FieldColumn, Form, Source, find, wrong_type};
use super::{Aggregation, BUCKETS_HELD_MAX, Kind, MetricKind, OneRange, Ranges, Rounding};
use crate::dates::{DateFormats, Round};
use crate::error::ApiError;
use crate::mapping::Mapping;
use crate::query::ast::{Fields, Query, Test};
use crate::query::compile::{Binding, compile};
use crate::query::docs::to_set;

/// Stands for the `missing` value among ordinals.
const MISSING: u64 = u64::MAX;
/// Most strings of a segment for which the buckets of the top level are a plain list.
const DENSE_MAX: usize = 1 << 20;

/// What aggregations are bound to.
pub(crate) struct Context<'c> {
    pub(crate) index: &'c str,
    pub(crate) mapping: &'c Mapping,
    pub(crate) now: Timestamp,
    pub(crate) searcher: &'c Searcher,
}

/// Aggregations at work on one segment.
pub(crate) struct Collector {
    nodes: Vec<Node>,
    /// One for each level.
    buffers: Vec<Vec<u64>>,
}

struct Node {
    work: Work,
    children: Vec<Node>,
}

enum Work {
    Terms { source: Source, form: Option<Form>, missing: Option<Key>, buckets: Buckets },
    Steps { source: Source, form: Option<Form>, stepper: Stepper, missing: Option<i64>, buckets: Buckets },
    Ranges { source: Source, ranges: Vec<(i128, i128)>, missing: Option<i64>, buckets: Buckets, scratch: Vec<u64> },
    Sets { sets: Vec<BitSet>, other: bool, buckets: Buckets },
    Numbers { source: Source, form: Option<Form>, missing: Option<i64>, stats: Vec<Stats> },
    Count { source: Source, missing: bool, counts: Vec<Stats> },
    Distinct { source: Source, missing: Option<Key>, seen: Vec<Seen> },
}

/// Different values of one owner.
#[derive(Default)]
struct Seen {
    values: foldhash::HashSet<u64>,
}

/// Buckets of all owners.
#[derive(Default)]
struct Buckets {
    index: foldhash::HashMap<(u32, u64), u32>,
    /// Instead of the map, for the top level: by ordinal.
    dense: Vec<u32>,
    keys: Vec<(u32, u64)>,
    counts: Vec<u64>,
}

impl Buckets {
    fn for_ordinals(source: &Source, top: bool) -> Buckets {
        let length = source.dictionary_len();
        let dense = if top && length <= DENSE_MAX { vec![u32::MAX; length] } else { Vec::new() };
        Buckets { dense, ..Buckets::default() }
    }

    /// Counts a document in a bucket; the result is the bucket's number.
    fn count(&mut self, owner: u32, value: u64) -> u32 {
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

enum Stepper {
    Number { interval: f64, offset: f64 },
    Date { rounding: Rounding, zone: TimeZone, last: (i64, i64) },
}

impl Stepper {
    /// The key of the step that holds a stored value.
    fn step(&mut self, stored: i64, form: Form) -> i64 {
        match self {
            Stepper::Number { interval, offset } => ((form.number(stored) - *offset) / *interval).floor() as i64,
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
        let nodes = aggregations.iter().map(|a| open(a, segment, context, true)).collect::<Result<_, _>>()?;
        Ok(Collector { nodes, buffers: vec![Vec::new(); super::DEPTH_MAX + 2] })
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
            partials.extend(node.finish(1)?);
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
            Kind::Metric(metric) if metric.kind == MetricKind::Cardinality => Partial::Distinct(Sketch::default()),
            Kind::Metric(_) => Partial::Stats(Stats::default()),
            _ => Partial::Buckets(Held::default()),
        })
        .collect()
}

fn open(
    aggregation: &Aggregation,
    segment: &SegmentReader,
    context: &Context<'_>,
    top: bool,
) -> Result<Node, ApiError> {
    let children = aggregation.subs.iter().map(|a| open(a, segment, context, false)).collect::<Result<_, _>>()?;
    let find = |field: &str, what: &str| find(context.mapping, context.index, field, what);
    let work = match &aggregation.kind {
        Kind::Terms(terms) => {
            let field = find(&terms.field, "terms")?;
            let source = Source::open(field.as_ref(), segment)?;
            let form = field.as_ref().map(|f| f.form);
            let missing = terms.missing.as_ref().map(|text| missing_key(text, form, context)).transpose()?;
            let buckets = Buckets::for_ordinals(&source, top);
            Work::Terms { source, form, missing, buckets }
        }
        Kind::Histogram(histogram) => {
            let field = numeric(find(&histogram.field, "histogram")?, &histogram.field, "histogram", context)?;
            let stepper = Stepper::Number { interval: histogram.interval, offset: histogram.offset };
            steps(field, stepper, histogram.shown.missing.as_deref(), segment, context)?
        }
        Kind::DateHistogram(histogram) => {
            let field = find(&histogram.field, "date_histogram")?;
            if let Some(other) = field.as_ref().filter(|f| f.form != Form::Date) {
                let kind = format!("{:?}", other.form).to_lowercase();
                return Err(wrong_type(context.index, &histogram.field, &kind, "date_histogram"));
            }
            let stepper =
                Stepper::Date { rounding: histogram.rounding, zone: histogram.zone.clone(), last: (0, 0) };
            steps(field, stepper, histogram.shown.missing.as_deref(), segment, context)?
        }
        Kind::Ranges(ranges) => open_ranges(ranges, segment, context)?,
        Kind::Filter(query) => sets(std::slice::from_ref(query), false, segment, context)?,
        Kind::Filters(filters) => {
            let queries: Vec<Query> = filters.queries.iter().map(|(_, query)| query.clone()).collect();
            sets(&queries, filters.other.is_some(), segment, context)?
        }
        Kind::Missing(field) => {
            let exists = Fields::one(field, Test::Exists);
            let query = Query::Bool(crate::query::ast::Bool { must_not: vec![exists], ..Default::default() });
            sets(&[query], false, segment, context)?
        }
        Kind::Metric(metric) => {
            let field = find(&metric.field, metric.kind.name())?;
            match metric.kind {
                MetricKind::Cardinality => {
                    let form = field.as_ref().map(|f| f.form);
                    let missing = metric.missing.as_ref().map(|text| missing_key(text, form, context)).transpose()?;
                    Work::Distinct { source: Source::open(field.as_ref(), segment)?, missing, seen: Vec::new() }
                }
                MetricKind::ValueCount => Work::Count {
                    source: Source::open(field.as_ref(), segment)?,
                    missing: metric.missing.is_some(),
                    counts: Vec::new(),
                },
                kind => {
                    let field = numeric(field, &metric.field, kind.name(), context)?;
                    let form = field.as_ref().map(|f| f.form);
                    let missing = missing_number(metric.missing.as_deref(), form, context)?;
                    Work::Numbers { source: Source::open(field.as_ref(), segment)?, form, missing, stats: Vec::new() }
                }
            }
        }
    };
    Ok(Node { work, children })
}

fn steps(
    field: Option<FieldColumn>,
    stepper: Stepper,
    missing: Option<&str>,
    segment: &SegmentReader,
    context: &Context<'_>,
) -> Result<Work, ApiError> {
    let form = field.as_ref().map(|f| f.form);
    let missing = missing_number(missing, form, context)?;
    let source = Source::open(field.as_ref(), segment)?;
    Ok(Work::Steps { source, form, stepper, missing, buckets: Buckets::default() })
}

fn numeric(
    field: Option<FieldColumn>,
    name: &str,
    aggregation: &str,
    context: &Context<'_>,
) -> Result<Option<FieldColumn>, ApiError> {
    match &field {
        Some(f) if !f.form.is_number() => {
            let kind = if f.form == Form::Ip { "ip" } else { "keyword" };
            Err(wrong_type(context.index, name, kind, aggregation))
        }
        _ => Ok(field),
    }
}

/// A number or date, given as text, as a column holds it.
pub(super) fn stored_number(
    text: &str,
    form: Form,
    formats: &DateFormats,
    zone: &TimeZone,
    now: Timestamp,
) -> Result<i64, ApiError> {
    if form == Form::Date {
        return formats.read_math(text, now, zone, Round::Down).map_err(|e| ApiError::new(400, "parse_exception", e));
    }
    let number: Option<f64> = match text {
        "true" => Some(1.0),
        "false" => Some(0.0),
        text => text.parse().ok().filter(|n: &f64| n.is_finite()),
    };
    match (number, form, text.parse::<i64>()) {
        (_, Form::Whole, Ok(whole)) => Ok(whole),
        (Some(number), _, _) => Ok(form.stored(number)),
        (None, _, _) => Err(ApiError::illegal(format!("For input string: \"{}\"", crate::json::cut(text, 100)))),
    }
}

fn missing_number(text: Option<&str>, form: Option<Form>, context: &Context<'_>) -> Result<Option<i64>, ApiError> {
    let Some(text) = text else { return Ok(None) };
    let form = form.unwrap_or(Form::Float);
    stored_number(text, form, &DateFormats::default(), &TimeZone::UTC, context.now).map(Some)
}

fn missing_key(text: &str, form: Option<Form>, context: &Context<'_>) -> Result<Key, ApiError> {
    match form {
        Some(Form::Ip) => {
            let ip = text
                .parse()
                .map_err(|_| ApiError::illegal(format!("'{}' is not an IP string literal.", crate::json::cut(text, 100))))?;
            Ok(Key::Text(crate::index::schema::ip_to_text(ip).into()))
        }
        Some(form) if form.is_number() => {
            stored_number(text, form, &DateFormats::default(), &TimeZone::UTC, context.now).map(Key::Number)
        }
        _ => Ok(Key::Text(text.into())),
    }
}

fn open_ranges(ranges: &Ranges, segment: &SegmentReader, context: &Context<'_>) -> Result<Work, ApiError> {
    let what = if ranges.dates { "date_range" } else { "range" };
    let field = find(context.mapping, context.index, &ranges.field, what)?;
    let field = numeric(field, &ranges.field, what, context)?;
    if let Some(f) = field.as_ref().filter(|f| ranges.dates != (f.form == Form::Date)) {
        return Err(wrong_type(context.index, &ranges.field, &format!("{:?}", f.form).to_lowercase(), what));
    }
    let form = field.as_ref().map_or(if ranges.dates { Form::Date } else { Form::Float }, |f| f.form);
    let limits = ranges.ranges.iter().map(|range| range_limits(range, ranges, form, context.now));
    Ok(Work::Ranges {
        source: Source::open(field.as_ref(), segment)?,
        ranges: limits.collect::<Result<_, _>>()?,
        missing: missing_number(ranges.missing.as_deref(), Some(form), context)?,
        buckets: Buckets::default(),
        scratch: Vec::new(),
    })
}

/// First stored value of a range and first one behind it.
fn range_limits(range: &OneRange, ranges: &Ranges, form: Form, now: Timestamp) -> Result<(i128, i128), ApiError> {
    let formats = ranges.format.clone().unwrap_or_default();
    let limit = |text: &Option<String>, open: i128| match text {
        None => Ok(open),
        Some(text) if form == Form::Whole => {
            // The first whole number that is not below a limit with a fraction.
            let number: f64 = text
                .parse()
                .map_err(|_| ApiError::illegal(format!("For input string: \"{}\"", crate::json::cut(text, 100))))?;
            Ok(text.parse().unwrap_or(number.ceil() as i128))
        }
        Some(text) => stored_number(text, form, &formats, &ranges.zone, now).map(i128::from),
    };
    Ok((limit(&range.from, i128::MIN)?, limit(&range.to, i128::MAX)?))
}

/// Documents of each query, as sets.
fn sets(queries: &[Query], other: bool, segment: &SegmentReader, context: &Context<'_>) -> Result<Work, ApiError> {
    let binding =
        Binding { index: context.index, mapping: context.mapping, now: context.now, scoring: false };
    let mut sets = Vec::with_capacity(queries.len());
    for query in queries {
        let weight = compile(query, &binding)?.weight(EnableScoring::disabled_from_searcher(context.searcher))?;
        sets.push(to_set(&*weight, segment)?);
    }
    Ok(Work::Sets { sets, other, buckets: Buckets::default() })
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
                let form = form.unwrap_or(Form::Float);
                for value in values.iter_mut() {
                    *value = stepper.step(value.cast_signed(), form).cast_unsigned();
                }
                if values.len() > 1 {
                    values.sort_unstable();
                    values.dedup();
                }
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
                values.extend((0_u64..).zip(sets.iter()).filter(|(_, set)| set.contains(doc)).map(|(at, _)| at));
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

    /// One result for each of so many owners.
    fn finish(self, owners: usize) -> Result<Vec<Partial>, ApiError> {
        let children = self.children;
        match self.work {
            Work::Terms { source, form, missing, buckets } => {
                let keys = term_keys(&source, &buckets, missing)?;
                by_owner(owners, form, keys, buckets, children)
            }
            Work::Steps { form, buckets, .. } => by_owner(owners, form, number_keys(&buckets), buckets, children),
            Work::Ranges { buckets, .. } | Work::Sets { buckets, .. } => {
                by_owner(owners, None, number_keys(&buckets), buckets, children)
            }
            Work::Numbers { stats, form, .. } => {
                let with_form = stats.into_iter().map(move |s| Partial::Stats(Stats { form, ..s }));
                Ok(padded(with_form, owners, || Partial::Stats(Stats::default())))
            }
            Work::Count { counts, .. } => {
                Ok(padded(counts.into_iter().map(Partial::Stats), owners, || Partial::Stats(Stats::default())))
            }
            Work::Distinct { source, missing, seen } => {
                let mut out = Vec::with_capacity(owners);
                for seen in seen {
                    out.push(Partial::Distinct(sketch(&source, seen, missing.as_ref())?));
                }
                Ok(padded(out.into_iter(), owners, || Partial::Distinct(Sketch::default())))
            }
        }
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

fn padded(made: impl Iterator<Item = Partial>, owners: usize, empty: impl Fn() -> Partial) -> Vec<Partial> {
    let mut out: Vec<Partial> = made.collect();
    out.resize_with(owners, empty);
    out
}

fn number_keys(buckets: &Buckets) -> Vec<Key> {
    buckets.keys.iter().map(|(_, value)| Key::Number(value.cast_signed())).collect()
}

fn term_keys(source: &Source, buckets: &Buckets, missing: Option<Key>) -> Result<Vec<Key>, ApiError> {
    let missing = missing.filter(|key| matches!(key, Key::Text(_)));
    let mut ordinals: Vec<u64> = Vec::new();
    if matches!(source, Source::Strings(_)) {
        ordinals.extend(buckets.keys.iter().map(|(_, value)| *value).filter(|v| *v != MISSING));
        ordinals.sort_unstable();
        ordinals.dedup();
    }
    let texts = source.texts(&ordinals)?;
    let keys = buckets.keys.iter().map(|(_, value)| match &missing {
        Some(missing) if *value == MISSING => missing.clone(),
        _ => ordinals
            .binary_search(value)
            .ok()
            .and_then(|at| texts.get(at))
            .map_or(Key::Number(value.cast_signed()), |text| Key::Text(text.clone())),
    });
    Ok(keys.collect())
}

fn by_owner(
    owners: usize,
    form: Option<Form>,
    keys: Vec<Key>,
    buckets: Buckets,
    children: Vec<Node>,
) -> Result<Vec<Partial>, ApiError> {
    let mut below = Vec::with_capacity(children.len());
    for child in children {
        below.push(child.finish(buckets.keys.len())?.into_iter());
    }
    let mut out: Vec<Held> = Vec::new();
    out.resize_with(owners, || Held { form, ..Held::default() });
    for ((key, (owner, _)), count) in keys.into_iter().zip(buckets.keys).zip(buckets.counts) {
        let subs: Vec<Partial> = below.iter_mut().filter_map(Iterator::next).collect();
        if let Some(held) = out.get_mut(owner as usize) {
            held.buckets.insert(key, Bucket { count, subs });
        }
    }
    Ok(out.into_iter().map(Partial::Buckets).collect())
}

fn sketch(source: &Source, seen: Seen, missing: Option<&Key>) -> Result<Sketch, ApiError> {
    let mut sketch = Sketch::default();
    let mut values: Vec<u64> = seen.values.into_iter().collect();
    values.sort_unstable();
    if let (Some(&MISSING), Some(Key::Text(text))) = (values.last(), missing) {
        values.pop();
        sketch.add(hash(text.as_bytes()));
    }
    if matches!(source, Source::Strings(_)) {
        for text in source.texts(&values)? {
            sketch.add(hash(text.as_bytes()));
        }
    } else {
        for value in values {
            sketch.add(hash(&value.to_le_bytes()));
        }
    }
    Ok(sketch)
}
