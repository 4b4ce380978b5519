//! Binds aggregations to one segment: finds fields, opens columns, reads stated values by the field's type.
//!
//! In: [`Aggregation`], mapping, segment. Out: a [`Node`], or OpenSearch's error for a field of the wrong type.

use jiff::tz::TimeZone;
use model::time::Timestamp;
use tantivy::query::EnableScoring;
use tantivy::{Searcher, SegmentReader};

use super::buckets::Buckets;
use super::collect::{Node, Stepper, Work};
use super::partial::Key;
use super::values::{FieldColumn, Form, Source, find, wrong_type};
use super::{Aggregation, Kind, Metric, MetricKind, OneRange, Ranges};
use crate::dates::{DateFormats, Round};
use crate::error::ApiError;
use crate::mapping::Mapping;
use crate::query::ast::{Fields, Query, Test};
use crate::query::compile::{Binding, compile};
use crate::query::docs::to_set;

/// What aggregations are bound to.
pub(crate) struct Context<'c> {
    pub(crate) index: &'c str,
    pub(crate) mapping: &'c Mapping,
    pub(crate) now: Timestamp,
    pub(crate) searcher: &'c Searcher,
}

/// Opens what an aggregation needs of a segment.
pub(super) fn bind(
    aggregation: &Aggregation,
    segment: &SegmentReader,
    context: &Context<'_>,
    top: bool,
) -> Result<Node, ApiError> {
    let children =
        aggregation.subs.iter().map(|a| bind(a, segment, context, false)).collect::<Result<_, _>>()?;
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
            let field =
                numeric(find(&histogram.field, "histogram")?, &histogram.field, "histogram", context)?;
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
        Kind::Ranges(ranges) => bind_ranges(ranges, segment, context)?,
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
        Kind::Metric(metric) => bind_metric(metric, segment, context)?,
    };
    Ok(Node { work, children })
}

fn bind_metric(metric: &Metric, segment: &SegmentReader, context: &Context<'_>) -> Result<Work, ApiError> {
    let name = metric.kind.name();
    let field = find(context.mapping, context.index, &metric.field, name)?;
    Ok(match metric.kind {
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
        _ => {
            let field = numeric(field, &metric.field, name, context)?;
            let form = field.as_ref().map(|f| f.form);
            let missing = missing_number(metric.missing.as_deref(), form, context)?;
            Work::Numbers { source: Source::open(field.as_ref(), segment)?, form, missing, stats: Vec::new() }
        }
    })
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
        return formats
            .read_math(text, now, zone, Round::Down)
            .map_err(|e| ApiError::new(400, "parse_exception", e));
    }
    let number: Option<f64> = match text {
        "true" => Some(1.0),
        "false" => Some(0.0),
        text => text.parse().ok().filter(|n: &f64| n.is_finite()),
    };
    match (number, form, text.parse::<i64>()) {
        (_, Form::Whole, Ok(whole)) => Ok(whole),
        (Some(number), _, _) => Ok(form.stored(number)),
        (None, _, _) => {
            Err(ApiError::illegal(format!("For input string: \"{}\"", crate::json::cut(text, 100))))
        }
    }
}

fn missing_number(
    text: Option<&str>,
    form: Option<Form>,
    context: &Context<'_>,
) -> Result<Option<i64>, ApiError> {
    let Some(text) = text else { return Ok(None) };
    let form = form.unwrap_or(Form::Float);
    stored_number(text, form, &DateFormats::default(), &TimeZone::UTC, context.now).map(Some)
}

fn missing_key(text: &str, form: Option<Form>, context: &Context<'_>) -> Result<Key, ApiError> {
    match form {
        Some(Form::Ip) => {
            let ip = text.parse().map_err(|_| {
                ApiError::illegal(format!("'{}' is not an IP string literal.", crate::json::cut(text, 100)))
            })?;
            Ok(Key::Text(crate::index::schema::ip_to_text(ip).into()))
        }
        Some(form) if form.is_number() => {
            stored_number(text, form, &DateFormats::default(), &TimeZone::UTC, context.now).map(Key::Number)
        }
        _ => Ok(Key::Text(text.into())),
    }
}

fn bind_ranges(ranges: &Ranges, segment: &SegmentReader, context: &Context<'_>) -> Result<Work, ApiError> {
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
fn range_limits(
    range: &OneRange,
    ranges: &Ranges,
    form: Form,
    now: Timestamp,
) -> Result<(i128, i128), ApiError> {
    let formats = ranges.format.clone().unwrap_or_default();
    let limit = |text: &Option<String>, open: i128| match text {
        None => Ok(open),
        Some(text) if form == Form::Whole => {
            // The first whole number that is not below a limit with a fraction.
            let number: f64 = text.parse().map_err(|_| {
                ApiError::illegal(format!("For input string: \"{}\"", crate::json::cut(text, 100)))
            })?;
            Ok(text.parse().unwrap_or(number.ceil() as i128))
        }
        Some(text) => stored_number(text, form, &formats, &ranges.zone, now).map(i128::from),
    };
    Ok((limit(&range.from, i128::MIN)?, limit(&range.to, i128::MAX)?))
}

/// Documents of each query, as sets.
fn sets(
    queries: &[Query],
    other: bool,
    segment: &SegmentReader,
    context: &Context<'_>,
) -> Result<Work, ApiError> {
    let binding =
        Binding { index: context.index, mapping: context.mapping, now: context.now, scoring: false };
    let mut sets = Vec::with_capacity(queries.len());
    for query in queries {
        let weight =
            compile(query, &binding)?.weight(EnableScoring::disabled_from_searcher(context.searcher))?;
        sets.push(to_set(&*weight, segment)?);
    }
    Ok(Work::Sets { sets, other, buckets: Buckets::default() })
}
