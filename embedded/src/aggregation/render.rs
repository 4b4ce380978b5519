//! Results of aggregations in OpenSearch's shape.
//!
//! In: what was collected. Out: JSON. Never: more buckets than [`super::BUCKETS_SHOWN_MAX`].

use std::cmp::Ordering;

use jiff::tz::TimeZone;
use model::time::Timestamp;
use serde_json::{Map, Value, json};

use super::bind::stored_number;
use super::dates::{DatePattern, in_zone};
use super::partial::{Bucket, Held, Key, Partial, Stats};
use super::values::Form;
use super::{
    Aggregation, BUCKETS_SHOWN_MAX, DateHistogram, Filters, Histogram, Kind, Metric, MetricKind, Names,
    Order, OrderBy, Ranges, Shown, Terms,
};
use crate::dates::{DateFormats, format_millis};
use crate::error::ApiError;
use crate::index::schema::ip_from_text;

/// Writes the results; the partials stand in the order of the aggregations.
pub(crate) fn render(
    aggregations: &[Aggregation],
    partials: Vec<Partial>,
    now: Timestamp,
) -> Result<Map<String, Value>, ApiError> {
    Renderer { now, shown: 0 }.all(aggregations, partials)
}

struct Renderer {
    now: Timestamp,
    shown: usize,
}

/// How keys of buckets are written.
struct KeyStyle<'k> {
    form: Option<Form>,
    zone: &'k TimeZone,
    pattern: Option<&'k DatePattern>,
}

impl Renderer {
    fn all(
        &mut self,
        aggregations: &[Aggregation],
        partials: Vec<Partial>,
    ) -> Result<Map<String, Value>, ApiError> {
        let mut out = Map::new();
        let mut partials = partials.into_iter();
        for aggregation in aggregations {
            let partial =
                partials.next().or_else(|| super::collect::empty(std::slice::from_ref(aggregation)).pop());
            let Some(partial) = partial else { continue };
            let mut value = self.one(aggregation, partial)?;
            if let (Some(object), Some(meta)) = (value.as_object_mut(), &aggregation.meta) {
                object.insert("meta".into(), meta.clone());
            }
            out.insert(aggregation.name.clone(), value);
        }
        Ok(out)
    }

    fn one(&mut self, aggregation: &Aggregation, partial: Partial) -> Result<Value, ApiError> {
        let subs = &aggregation.subs;
        match (&aggregation.kind, partial) {
            (Kind::Metric(metric), partial) => Ok(metric_json(metric, &partial)),
            (Kind::Terms(terms), Partial::Buckets(held)) => self.terms(terms, subs, held),
            (Kind::Histogram(histogram), Partial::Buckets(held)) => self.histogram(histogram, subs, held),
            (Kind::DateHistogram(histogram), Partial::Buckets(held)) => {
                self.date_histogram(histogram, subs, held)
            }
            (Kind::Ranges(ranges), Partial::Buckets(held)) => self.ranges(ranges, subs, held),
            (Kind::Filter(_) | Kind::Missing(_), Partial::Buckets(mut held)) => {
                let bucket = take(&mut held, 0, subs);
                self.bucket(Map::new(), bucket, subs).map(Value::Object)
            }
            (Kind::Filters(filters), Partial::Buckets(held)) => self.filters(filters, subs, held),
            (_, _) => Err(ApiError::storage(format!("aggregation [{}] lost its result", aggregation.name))),
        }
    }

    fn bucket(
        &mut self,
        mut head: Map<String, Value>,
        bucket: Bucket,
        subs: &[Aggregation],
    ) -> Result<Map<String, Value>, ApiError> {
        self.shown = self.shown.saturating_add(1);
        if self.shown > BUCKETS_SHOWN_MAX {
            return Err(too_many());
        }
        head.insert("doc_count".into(), json!(bucket.count));
        head.extend(self.all(subs, bucket.subs)?);
        Ok(head)
    }

    fn terms(&mut self, terms: &Terms, subs: &[Aggregation], held: Held) -> Result<Value, ApiError> {
        let style = KeyStyle { form: held.form, zone: &TimeZone::UTC, pattern: None };
        let mut buckets: Vec<(Key, Bucket)> = held
            .buckets
            .into_iter()
            .filter(|(_, bucket)| bucket.count >= terms.min_doc_count)
            .filter(|(key, _)| {
                let chosen = |names: &Names| chosen(names, &key_text(key, &style));
                terms.include.as_ref().is_none_or(chosen) && !terms.exclude.as_ref().is_some_and(chosen)
            })
            .collect();
        sort(&mut buckets, &terms.order, subs);
        let others: u64 = buckets.iter().skip(terms.size).map(|(_, bucket)| bucket.count).sum();
        buckets.truncate(terms.size);
        let mut shown = Vec::with_capacity(buckets.len());
        for (key, bucket) in buckets {
            shown.push(Value::Object(self.bucket(key_json(&key, &style), bucket, subs)?));
        }
        Ok(json!({"doc_count_error_upper_bound": 0, "sum_other_doc_count": others, "buckets": shown}))
    }

    fn date_histogram(
        &mut self,
        histogram: &DateHistogram,
        subs: &[Aggregation],
        held: Held,
    ) -> Result<Value, ApiError> {
        let read = |text: &String| {
            let formats = DateFormats::default();
            stored_number(text, Form::Date, &formats, &histogram.zone, self.now)
        };
        let step = |at: i64| histogram.rounding.step(at, &histogram.zone);
        let bounds = bounds(&histogram.shown, read, |at| step(at).map(|(start, _)| start))?;
        let buckets =
            filled(held, &histogram.shown, subs, bounds, |start| step(start).map(|(_, next)| next))?;
        let style =
            KeyStyle { form: Some(Form::Date), zone: &histogram.zone, pattern: histogram.format.as_ref() };
        self.steps(&histogram.shown, subs, buckets, |key| key_json(key, &style))
    }

    fn histogram(
        &mut self,
        histogram: &Histogram,
        subs: &[Aggregation],
        held: Held,
    ) -> Result<Value, ApiError> {
        let read = |text: &String| {
            text.parse::<f64>()
                .ok()
                .filter(|n| n.is_finite())
                .ok_or_else(|| ApiError::illegal(format!("For input string: \"{text}\"")))
        };
        let index = |number: f64| Some(((number - histogram.offset) / histogram.interval).floor() as i64);
        let bounds = bounds(&histogram.shown, read, index)?;
        let buckets = filled(held, &histogram.shown, subs, bounds, |at| at.checked_add(1))?;
        let key = |key: &Key| {
            let number = match key {
                Key::Number(step) => *step as f64 * histogram.interval + histogram.offset,
                Key::Text(_) => 0.0,
            };
            Map::from_iter([("key".to_owned(), json!(number))])
        };
        self.steps(&histogram.shown, subs, buckets, key)
    }

    fn steps(
        &mut self,
        shown: &Shown,
        subs: &[Aggregation],
        mut buckets: Vec<(Key, Bucket)>,
        key: impl Fn(&Key) -> Map<String, Value>,
    ) -> Result<Value, ApiError> {
        sort(&mut buckets, &shown.order, subs);
        let mut named = Vec::with_capacity(buckets.len());
        for (at, bucket) in buckets {
            let head = key(&at);
            let name = match head.get("key_as_string").or(head.get("key")) {
                Some(Value::String(text)) => text.clone(),
                Some(other) => other.to_string(),
                None => String::new(),
            };
            named.push((name, Value::Object(self.bucket(head, bucket, subs)?)));
        }
        Ok(json!({"buckets": listed(named, shown.keyed)}))
    }

    fn ranges(&mut self, ranges: &Ranges, subs: &[Aggregation], mut held: Held) -> Result<Value, ApiError> {
        let mut made = Vec::with_capacity(ranges.ranges.len());
        for (position, range) in ranges.ranges.iter().enumerate() {
            let mut head = Map::new();
            let mut sides = Vec::with_capacity(2);
            let mut ends = [f64::NEG_INFINITY, f64::INFINITY];
            for ((name, text), end) in [("from", &range.from), ("to", &range.to)].into_iter().zip(&mut ends) {
                let Some(text) = text else {
                    sides.push("*".to_owned());
                    continue;
                };
                if ranges.dates {
                    let formats = ranges.format.clone().unwrap_or_default();
                    let millis = stored_number(text, Form::Date, &formats, &ranges.zone, self.now)?;
                    *end = millis as f64;
                    let shown = in_zone(millis, &ranges.zone);
                    head.insert(name.into(), json!(millis as f64));
                    head.insert(format!("{name}_as_string"), json!(shown));
                    sides.push(shown);
                } else {
                    let number: f64 = text
                        .parse()
                        .map_err(|_| ApiError::illegal(format!("For input string: \"{text}\"")))?;
                    *end = number;
                    head.insert(name.into(), json!(number));
                    sides.push(json!(number).to_string());
                }
            }
            let key = range.key.clone().unwrap_or_else(|| sides.join("-"));
            let mut full = Map::from_iter([("key".to_owned(), json!(key))]);
            full.extend(head);
            let bucket = take(&mut held, i64::try_from(position).unwrap_or(i64::MAX), subs);
            made.push((ends, key, self.bucket(full, bucket, subs)?));
        }
        made.sort_by(|(a, ..), (b, ..)| a.partial_cmp(b).unwrap_or(Ordering::Equal));
        let named = made.into_iter().map(|(_, key, mut bucket)| {
            if ranges.keyed {
                bucket.remove("key");
            }
            (key, Value::Object(bucket))
        });
        Ok(json!({"buckets": listed(named.collect(), ranges.keyed)}))
    }

    fn filters(
        &mut self,
        filters: &Filters,
        subs: &[Aggregation],
        mut held: Held,
    ) -> Result<Value, ApiError> {
        let names = filters.queries.iter().map(|(name, _)| name).chain(&filters.other);
        let mut made = Vec::new();
        for (position, name) in (0_i64..).zip(names) {
            let bucket = take(&mut held, position, subs);
            made.push((name.clone(), Value::Object(self.bucket(Map::new(), bucket, subs)?)));
        }
        Ok(json!({"buckets": listed(made, filters.keyed)}))
    }
}

fn too_many() -> ApiError {
    ApiError::new(
        503,
        "too_many_buckets_exception",
        format!("Trying to create too many buckets. Must be less than or equal to: [{BUCKETS_SHOWN_MAX}]."),
    )
}

fn listed(named: Vec<(String, Value)>, keyed: bool) -> Value {
    if keyed {
        Value::Object(named.into_iter().collect())
    } else {
        Value::Array(named.into_iter().map(|(_, bucket)| bucket).collect())
    }
}

fn take(held: &mut Held, position: i64, subs: &[Aggregation]) -> Bucket {
    held.buckets
        .remove(&Key::Number(position))
        .unwrap_or_else(|| Bucket { count: 0, subs: super::collect::empty(subs) })
}

fn chosen(names: &Names, key: &str) -> bool {
    match names {
        Names::Pattern(pattern) => pattern.matches(key),
        Names::List(list) => list.iter().any(|name| name == key),
    }
}

/// First and last step that must be shown.
fn bounds<N>(
    shown: &Shown,
    read: impl Fn(&String) -> Result<N, ApiError>,
    step: impl Fn(N) -> Option<i64>,
) -> Result<(Option<i64>, Option<i64>), ApiError> {
    let Some((first, last)) = &shown.extended else { return Ok((None, None)) };
    let side =
        |text: &Option<String>| Ok::<_, ApiError>(text.as_ref().map(&read).transpose()?.and_then(&step));
    Ok((side(first)?, side(last)?))
}

/// Buckets of a histogram with the empty ones between them, where these are wanted.
fn filled(
    held: Held,
    shown: &Shown,
    subs: &[Aggregation],
    bounds: (Option<i64>, Option<i64>),
    next: impl Fn(i64) -> Option<i64>,
) -> Result<Vec<(Key, Bucket)>, ApiError> {
    let mut buckets: Vec<(Key, Bucket)> =
        held.buckets.into_iter().filter(|(_, bucket)| bucket.count >= shown.min_doc_count).collect();
    if shown.min_doc_count > 0 {
        return Ok(buckets);
    }
    buckets.sort_by(|(a, _), (b, _)| a.cmp(b));
    let number = |entry: Option<&(Key, Bucket)>| match entry {
        Some((Key::Number(at), _)) => Some(*at),
        _ => None,
    };
    let first = number(buckets.first()).into_iter().chain(bounds.0).min();
    let last = number(buckets.last()).into_iter().chain(bounds.1).max();
    let (Some(first), Some(last)) = (first, last) else { return Ok(buckets) };
    let mut out = Vec::new();
    let mut there = buckets.into_iter().peekable();
    let mut at = first;
    while at <= last {
        let found = there.next_if(|(key, _)| *key == Key::Number(at));
        out.push(
            found
                .unwrap_or_else(|| (Key::Number(at), Bucket { count: 0, subs: super::collect::empty(subs) })),
        );
        if out.len() > BUCKETS_SHOWN_MAX {
            return Err(too_many());
        }
        match next(at) {
            Some(after) if after > at => at = after,
            _ => break,
        }
    }
    // A step whose start the calendar moved is not met by the walk; it is still shown.
    out.extend(there);
    Ok(out)
}

fn sort(buckets: &mut [(Key, Bucket)], orders: &[Order], subs: &[Aggregation]) {
    buckets.sort_by(|a, b| {
        for order in orders {
            let found = match &order.by {
                OrderBy::Count => a.1.count.cmp(&b.1.count),
                OrderBy::Key => a.0.cmp(&b.0),
                OrderBy::Metric(name, part) => {
                    let value = |bucket: &Bucket| metric_value(bucket, subs, name, part.as_deref());
                    match (value(&a.1), value(&b.1)) {
                        (Some(x), Some(y)) => x.partial_cmp(&y).unwrap_or(Ordering::Equal),
                        // Without a value last, whatever the direction.
                        (None, Some(_)) => return Ordering::Greater,
                        (Some(_), None) => return Ordering::Less,
                        (None, None) => Ordering::Equal,
                    }
                }
            };
            let found = if order.ascending { found } else { found.reverse() };
            if found != Ordering::Equal {
                return found;
            }
        }
        a.0.cmp(&b.0)
    });
}

fn metric_value(bucket: &Bucket, subs: &[Aggregation], name: &str, part: Option<&str>) -> Option<f64> {
    let at = subs.iter().position(|sub| sub.name == name)?;
    match (bucket.subs.get(at)?, subs.get(at).map(|sub| &sub.kind)?) {
        (Partial::Stats(stats), Kind::Metric(metric)) => {
            let word = part.filter(|p| *p != "value").unwrap_or(metric.kind.name());
            match word {
                "min" => (stats.count > 0).then_some(stats.min),
                "max" => (stats.count > 0).then_some(stats.max),
                "avg" => (stats.count > 0).then(|| stats.sum / stats.count as f64),
                "sum" => Some(stats.sum),
                _ => Some(stats.count as f64),
            }
        }
        (Partial::Distinct(sketch), _) => Some(sketch.count() as f64),
        (Partial::Buckets(held), _) => Some(held.buckets.values().map(|b| b.count).sum::<u64>() as f64),
        (Partial::Stats(_), _) => None,
    }
}

fn key_text(key: &Key, style: &KeyStyle<'_>) -> String {
    let head = key_json(key, style);
    match head.get("key_as_string").or(head.get("key")) {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => String::new(),
    }
}

fn key_json(key: &Key, style: &KeyStyle<'_>) -> Map<String, Value> {
    let mut out = Map::new();
    match (key, style.form) {
        (Key::Text(text), Some(Form::Ip)) => {
            let shown = ip_from_text(text).map_or_else(|| text.to_string(), |ip| ip.to_string());
            out.insert("key".into(), json!(shown));
        }
        (Key::Text(text), _) => {
            out.insert("key".into(), json!(text));
        }
        (Key::Number(number), Some(Form::Date)) => {
            let shown =
                style.pattern.map_or_else(|| in_zone(*number, style.zone), |p| p.write(*number, style.zone));
            out.insert("key_as_string".into(), json!(shown));
            out.insert("key".into(), json!(number));
        }
        (Key::Number(number), Some(Form::Boolean)) => {
            out.insert("key".into(), json!(number));
            out.insert("key_as_string".into(), json!(if *number == 0 { "false" } else { "true" }));
        }
        (Key::Number(number), Some(Form::Float)) => {
            out.insert("key".into(), json!(Form::Float.number(*number)));
        }
        (Key::Number(number), _) => {
            out.insert("key".into(), json!(number));
        }
    }
    out
}

fn metric_json(metric: &Metric, partial: &Partial) -> Value {
    let stats = match partial {
        Partial::Distinct(sketch) => return json!({"value": sketch.count()}),
        Partial::Stats(stats) => stats,
        Partial::Buckets(_) => &Stats::default(),
    };
    let some = |value: f64| (stats.count > 0).then_some(value);
    let avg = some(stats.sum / stats.count as f64);
    match metric.kind {
        MetricKind::ValueCount | MetricKind::Cardinality => json!({"value": stats.count}),
        MetricKind::Min => single(some(stats.min), stats.form),
        MetricKind::Max => single(some(stats.max), stats.form),
        MetricKind::Avg => single(avg, stats.form),
        MetricKind::Sum => single(Some(stats.sum), stats.form),
        MetricKind::Stats => {
            let named =
                [("min", some(stats.min)), ("max", some(stats.max)), ("avg", avg), ("sum", Some(stats.sum))];
            let mut out = Map::from_iter([("count".to_owned(), json!(stats.count))]);
            for (name, value) in named {
                out.insert(name.into(), json!(value));
            }
            for (name, value) in named {
                if let Some(text) = value.and_then(|v| number_text(v, stats.form)).filter(|_| stats.count > 0)
                {
                    out.insert(format!("{name}_as_string"), json!(text));
                }
            }
            Value::Object(out)
        }
    }
}

fn single(value: Option<f64>, form: Option<Form>) -> Value {
    match value.and_then(|v| number_text(v, form)) {
        Some(text) => json!({"value": value, "value_as_string": text}),
        None => json!({"value": value}),
    }
}

/// Dates and booleans are shown as text beside the number.
fn number_text(value: f64, form: Option<Form>) -> Option<String> {
    match form {
        Some(Form::Date) => Some(format_millis(value as i64)),
        Some(Form::Boolean) => Some(if value == 0.0 { "false" } else { "true" }.to_owned()),
        _ => None,
    }
}
