//! Aggregations: read, collected segment by segment, merged, written as OpenSearch writes them.
//!
//! In: the value of `aggs`, matching documents. Out: the value of `aggregations`. Counts are exact (OpenSearch's are
//! per shard); distinct counts are exact up to some thousands, then estimated. Never: more memory than the limits say;
//! what is too much is an error.

pub(crate) mod bind;
mod buckets;
pub(crate) mod collect;
mod dates;
mod finish;
mod partial;
mod read;
mod read_buckets;
mod render;
mod rounding;
mod sketch;
mod values;

use jiff::tz::TimeZone;
use serde_json::Value;

use crate::dates::DateFormats;
use crate::patterns::Pattern;
use crate::query::ast::Query;

pub(crate) use partial::Partial;
pub(crate) use read::read;
pub(crate) use render::render;
pub(crate) use rounding::Rounding;

/// Deepest nesting.
const DEPTH_MAX: usize = 10;
/// Most buckets that wait to be merged, over all aggregations of a request.
const BUCKETS_HELD_MAX: usize = 500_000;
/// Most buckets of an answer, as OpenSearch's `search.max_buckets`.
const BUCKETS_SHOWN_MAX: usize = 65_535;

/// A named aggregation and those below it.
#[derive(Clone, Debug)]
pub(crate) struct Aggregation {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) subs: Vec<Aggregation>,
    pub(crate) meta: Option<Value>,
}

/// What is aggregated.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Terms(Terms),
    Histogram(Histogram),
    DateHistogram(DateHistogram),
    Ranges(Ranges),
    Filter(Query),
    Filters(Filters),
    /// Documents without a value of the field.
    Missing(String),
    Metric(Metric),
}

/// One bucket a value.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    pub(crate) field: String,
    pub(crate) size: usize,
    pub(crate) order: Vec<Order>,
    pub(crate) min_doc_count: u64,
    pub(crate) missing: Option<String>,
    pub(crate) include: Option<Names>,
    pub(crate) exclude: Option<Names>,
}

/// Values by pattern or by list.
#[derive(Clone, Debug)]
pub(crate) enum Names {
    Pattern(Pattern),
    List(Vec<String>),
}

/// One criterion of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Order {
    pub(crate) by: OrderBy,
    pub(crate) ascending: bool,
}

/// What buckets are ordered by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum OrderBy {
    Count,
    Key,
    /// A metric below: its name and, for `stats`, which of its values.
    Metric(String, Option<String>),
}

/// Numbers in steps.
#[derive(Clone, Debug)]
pub(crate) struct Histogram {
    pub(crate) field: String,
    pub(crate) interval: f64,
    pub(crate) offset: f64,
    pub(crate) shown: Shown,
}

/// Dates in steps.
#[derive(Clone, Debug)]
pub(crate) struct DateHistogram {
    pub(crate) field: String,
    pub(crate) rounding: Rounding,
    pub(crate) zone: TimeZone,
    pub(crate) format: Option<dates::DatePattern>,
    pub(crate) shown: Shown,
}

/// Which buckets of a histogram are shown, and how.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    pub(crate) min_doc_count: u64,
    pub(crate) order: Vec<Order>,
    pub(crate) keyed: bool,
    /// First and last value that have a bucket even without documents: a date or a number as text.
    pub(crate) extended: Option<(Option<String>, Option<String>)>,
    pub(crate) missing: Option<String>,
}

/// Stated ranges.
#[derive(Clone, Debug)]
pub(crate) struct Ranges {
    pub(crate) field: String,
    /// Dates instead of numbers.
    pub(crate) dates: bool,
    pub(crate) ranges: Vec<OneRange>,
    pub(crate) keyed: bool,
    pub(crate) missing: Option<String>,
    pub(crate) format: Option<DateFormats>,
    pub(crate) zone: TimeZone,
}

/// From (inclusive) to (exclusive).
#[derive(Clone, Debug)]
pub(crate) struct OneRange {
    pub(crate) key: Option<String>,
    pub(crate) from: Option<String>,
    pub(crate) to: Option<String>,
}

/// Stated queries.
#[derive(Clone, Debug)]
pub(crate) struct Filters {
    /// Keys are given: the answer is an object.
    pub(crate) keyed: bool,
    pub(crate) queries: Vec<(String, Query)>,
    /// Key of the bucket of all other documents.
    pub(crate) other: Option<String>,
}

/// A number from the values of a field.
#[derive(Clone, Debug)]
pub(crate) struct Metric {
    pub(crate) kind: MetricKind,
    pub(crate) field: String,
    pub(crate) missing: Option<String>,
}

/// Which number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MetricKind {
    Min,
    Max,
    Avg,
    Sum,
    Stats,
    ValueCount,
    Cardinality,
}

impl MetricKind {
    /// OpenSearch's name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            MetricKind::Min => "min",
            MetricKind::Max => "max",
            MetricKind::Avg => "avg",
            MetricKind::Sum => "sum",
            MetricKind::Stats => "stats",
            MetricKind::ValueCount => "value_count",
            MetricKind::Cardinality => "cardinality",
        }
    }
}
