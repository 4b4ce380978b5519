//! OpenSearch's `aggs` become [`Aggregation`]s.
//!
//! In: the value of `aggs`. Out: the list; unknown kinds and keys are errors that name them.

use serde_json::{Map, Value};

use super::read_buckets;
use super::{Aggregation, DEPTH_MAX, Kind, Metric, MetricKind};
use crate::error::ApiError;
use crate::json;
use crate::query::dsl;

/// Most aggregations on one level.
const WIDTH_MAX: usize = 100;

/// Reads the value of `aggs`.
pub(crate) fn read(value: &Value) -> Result<Vec<Aggregation>, ApiError> {
    read_at(value, 0)
}

fn read_at(value: &Value, depth: usize) -> Result<Vec<Aggregation>, ApiError> {
    let entries = json::object(value, "aggs")?;
    if depth > DEPTH_MAX || entries.len() > WIDTH_MAX {
        return Err(ApiError::illegal(format!(
            "aggregations go up to {DEPTH_MAX} levels with up to {WIDTH_MAX} on each"
        )));
    }
    entries.iter().map(|(name, body)| read_one(name, json::object(body, name)?, depth)).collect()
}

fn read_one(name: &str, body: &Map<String, Value>, depth: usize) -> Result<Aggregation, ApiError> {
    if name.is_empty() || name.contains(['[', ']', '>']) {
        return Err(ApiError::parsing(format!(
            "Invalid aggregation name [{name}]. Aggregation names can contain any character except '[', ']', and '>'"
        )));
    }
    let (mut kind, mut subs, mut meta) = (None, Vec::new(), None);
    for (key, value) in body {
        match key.as_str() {
            "aggs" | "aggregations" => subs = read_at(value, depth + 1)?,
            "meta" => meta = Some(value.clone()),
            other if kind.is_some() => {
                return Err(ApiError::parsing(format!(
                    "Found two aggregation type definitions in [{name}]: [{other}] is the second"
                )));
            }
            other => kind = Some(read_kind(name, other, value)?),
        }
    }
    let kind =
        kind.ok_or_else(|| ApiError::parsing(format!("Missing definition for aggregation [{name}]")))?;
    if let (Kind::Metric(metric), false) = (&kind, subs.is_empty()) {
        return Err(ApiError::new(
            400,
            "aggregation_initialization_exception",
            format!("Aggregator [{name}] of type [{}] cannot accept sub-aggregations", metric.kind.name()),
        ));
    }
    read_buckets::check_order(name, &kind, &subs)?;
    Ok(Aggregation { name: name.to_owned(), kind, subs, meta })
}

fn read_kind(name: &str, kind: &str, value: &Value) -> Result<Kind, ApiError> {
    let params = || json::object(value, kind);
    match kind {
        "terms" => read_buckets::terms(params()?),
        "histogram" => read_buckets::histogram(params()?),
        "date_histogram" => read_buckets::date_histogram(params()?),
        "range" => read_buckets::ranges(params()?, false),
        "date_range" => read_buckets::ranges(params()?, true),
        "filter" => Ok(Kind::Filter(dsl::read(value)?)),
        "filters" => read_buckets::filters(params()?),
        "missing" => read_missing(params()?),
        "min" => read_metric(params()?, MetricKind::Min),
        "max" => read_metric(params()?, MetricKind::Max),
        "avg" => read_metric(params()?, MetricKind::Avg),
        "sum" => read_metric(params()?, MetricKind::Sum),
        "stats" => read_metric(params()?, MetricKind::Stats),
        "value_count" => read_metric(params()?, MetricKind::ValueCount),
        "cardinality" => read_metric(params()?, MetricKind::Cardinality),
        "nested"
        | "reverse_nested"
        | "global"
        | "composite"
        | "multi_terms"
        | "rare_terms"
        | "significant_terms"
        | "significant_text"
        | "sampler"
        | "diversified_sampler"
        | "adjacency_matrix"
        | "ip_range"
        | "geo_distance"
        | "geohash_grid"
        | "geotile_grid"
        | "auto_date_histogram"
        | "variable_width_histogram"
        | "extended_stats"
        | "percentiles"
        | "percentile_ranks"
        | "top_hits"
        | "scripted_metric"
        | "median_absolute_deviation"
        | "weighted_avg"
        | "matrix_stats"
        | "geo_bounds"
        | "geo_centroid"
        | "children"
        | "parent"
        | "bucket_sort"
        | "bucket_script"
        | "bucket_selector"
        | "avg_bucket"
        | "max_bucket"
        | "min_bucket"
        | "sum_bucket"
        | "stats_bucket"
        | "cumulative_sum"
        | "derivative"
        | "moving_fn"
        | "moving_avg"
        | "serial_diff" => Err(ApiError::unsupported(format!("aggregation [{kind}]"))),
        other => Err(ApiError::parsing(format!("Unknown aggregation type [{other}] of [{name}]"))),
    }
}

fn read_missing(params: &Map<String, Value>) -> Result<Kind, ApiError> {
    let mut field = None;
    for (key, value) in params {
        match key.as_str() {
            "field" => field = Some(json::string(value, key)?.to_owned()),
            other => return Err(json::unknown_key("missing", other)),
        }
    }
    Ok(Kind::Missing(required(field, "missing")?))
}

fn read_metric(params: &Map<String, Value>, kind: MetricKind) -> Result<Kind, ApiError> {
    let mut metric = Metric { kind, field: String::new(), missing: None };
    for (key, value) in params {
        match key.as_str() {
            "field" => metric.field = json::string(value, key)?.to_owned(),
            "missing" => metric.missing = Some(text(value, key)?),
            "precision_threshold" | "execution_hint" if kind == MetricKind::Cardinality => {}
            "script" | "format" | "value_type" => {
                return Err(ApiError::unsupported(format!("[{key}] in aggregation [{}]", kind.name())));
            }
            other => return Err(json::unknown_key(kind.name(), other)),
        }
    }
    metric.field = required(Some(metric.field).filter(|f| !f.is_empty()), kind.name())?;
    Ok(Kind::Metric(metric))
}

/// A field's name that must be there.
pub(super) fn required(field: Option<String>, what: &str) -> Result<String, ApiError> {
    field.ok_or_else(|| {
        ApiError::parsing(format!(
            "Required one of fields [field, script], but none were specified in [{what}]"
        ))
    })
}

/// A scalar as text.
pub(super) fn text(value: &Value, key: &str) -> Result<String, ApiError> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(_) | Value::Bool(_) => Ok(value.to_string()),
        _ => Err(ApiError::parsing(format!("[{key}] must be a scalar, found {}", json::preview(value)))),
    }
}

#[cfg(test)]
mod tests {
    use super::read;
    use serde_json::json;

    #[test]
    fn unknown_things_are_named() {
        for (body, words) in [
            (json!({"a": {"percentiles": {"field": "x"}}}), "[percentiles] is not supported"),
            (json!({"a": {"foo": {}}}), "Unknown aggregation type [foo]"),
            (json!({"a": {}}), "Missing definition"),
            (json!({"a": {"terms": {"field": "x", "siize": 1}}}), "unknown key [siize]"),
            (json!({"a": {"terms": {}}}), "Required one of fields"),
            (json!({"a": {"terms": {"field": "x"}, "min": {"field": "y"}}}), "two aggregation type"),
            (
                json!({"a": {"min": {"field": "x"}, "aggs": {"b": {"max": {"field": "x"}}}}}),
                "cannot accept sub",
            ),
            (
                json!({"a": {"terms": {"field": "x", "order": {"b": "asc"}}}}),
                "Invalid aggregation order path [b]",
            ),
            (json!({"a": {"terms": {"field": "x", "min_doc_count": 0}}}), "[min_doc_count] of 0"),
            (json!({"a": {"date_histogram": {"field": "x"}}}), "interval"),
            (json!({"a": {"date_histogram": {"field": "x", "calendar_interval": "2d"}}}), "[2d]"),
            (json!({"a": {"date_histogram": {"field": "x", "fixed_interval": "0s"}}}), "[0s]"),
            (json!({"a[": {"min": {"field": "x"}}}), "Invalid aggregation name"),
        ] {
            let reason = read(&body).unwrap_err().reason;
            assert!(reason.contains(words), "{body}: {reason}");
        }
        let good = json!({"a": {"terms": {"field": "x", "order": [{"b.avg": "desc"}, {"_key": "asc"}]},
            "aggs": {"b": {"stats": {"field": "y"}}}}});
        assert_eq!(read(&good).unwrap()[0].subs.len(), 1);
    }
}
