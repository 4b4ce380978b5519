//! A search body becomes a [`Search`].
//!
//! In: the body of `_search`. Out: the search; keys that are not known or not supported are errors that name them.

use std::time::Duration;

use serde_json::{Map, Value};

use super::sort::SortKey;
use super::source::SourceFilter;
use crate::aggregation::{self, Aggregation};
use crate::error::ApiError;
use crate::json;
use crate::query::ast::Query;
use crate::query::dsl;

/// Hits that are counted exactly where the request does not say.
const TOTAL_DEFAULT: u64 = 10_000;

/// A search.
#[derive(Clone, Debug)]
pub(crate) struct Search {
    pub(crate) query: Query,
    pub(crate) from: usize,
    pub(crate) size: usize,
    /// Empty: by score.
    pub(crate) sort: Vec<SortKey>,
    pub(crate) after: Option<Vec<Value>>,
    pub(crate) total: Total,
    pub(crate) source: SourceFilter,
    pub(crate) aggregations: Vec<Aggregation>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) point: Option<Point>,
    pub(crate) show_version: bool,
    pub(crate) show_seq_no: bool,
    pub(crate) track_scores: bool,
    pub(crate) min_score: Option<f32>,
}

/// How the total is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Total {
    Exact,
    /// Exact up to here, then "at least".
    UpTo(u64),
    Hidden,
}

/// A point in time that the search is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Point {
    pub(crate) id: String,
    pub(crate) keep_alive: Option<Duration>,
}

impl Default for Search {
    fn default() -> Search {
        Search {
            query: Query::All,
            from: 0,
            size: 10,
            sort: Vec::new(),
            after: None,
            total: Total::UpTo(TOTAL_DEFAULT),
            source: SourceFilter::default(),
            aggregations: Vec::new(),
            timeout: None,
            point: None,
            show_version: false,
            show_seq_no: false,
            track_scores: false,
            min_score: None,
        }
    }
}

impl Search {
    /// Reads a body.
    pub(crate) fn read(body: &Map<String, Value>) -> Result<Search, ApiError> {
        let mut search = Search::default();
        for (key, value) in body {
            search.take(key, value)?;
        }
        Ok(search)
    }

    fn take(&mut self, key: &str, value: &Value) -> Result<(), ApiError> {
        match key {
            "query" if value.is_null() => {}
            "query" => self.query = dsl::read(value)?,
            "from" => self.from = count(value, key)?,
            "size" => self.size = count(value, key)?,
            "sort" => self.sort = SortKey::read_all(value)?,
            "search_after" => self.after = Some(json::array(value, key)?.to_vec()),
            "track_total_hits" => self.total = Total::read(value)?,
            "_source" => self.source = SourceFilter::read(value)?,
            "aggs" | "aggregations" => self.aggregations = aggregation::read(value)?,
            "timeout" => self.timeout = Some(duration(json::string(value, key)?, key)?),
            "pit" => self.point = Some(Point::read(value)?),
            "version" => self.show_version = json::boolean(value, key)?,
            "seq_no_primary_term" => self.show_seq_no = json::boolean(value, key)?,
            "track_scores" => self.track_scores = json::boolean(value, key)?,
            "min_score" => self.min_score = Some(json::float(value, key)? as f32),
            "explain" | "profile" if value == &Value::Bool(false) => {}
            "stored_fields" if value == "_none_" => self.source.enabled = false,
            "highlight" | "fields" | "docvalue_fields" | "stored_fields" | "script_fields"
            | "post_filter" | "collapse" | "rescore" | "suggest" | "slice" | "indices_boost" | "explain"
            | "profile" | "terminate_after" | "stats" | "runtime_mappings" | "derived" | "ext"
            | "search_pipeline" => {
                return Err(ApiError::unsupported(format!("[{key}] in a search")));
            }
            other => return Err(ApiError::parsing(format!("Unknown key for a value in [{other}]."))),
        }
        Ok(())
    }

    /// Checks what the parts mean together; `window_max` is the smallest of the indices.
    pub(crate) fn check(&self, window_max: usize) -> Result<(), ApiError> {
        if self.from.saturating_add(self.size) > window_max {
            return Err(ApiError::illegal(format!(
                "Result window is too large, from + size must be less than or equal to: [{window_max}] but was [{}]. See the scroll api for a more efficient way to request large data sets. This limit can be set by changing the [index.max_result_window] index level setting.",
                self.from.saturating_add(self.size)
            )));
        }
        let Some(after) = &self.after else { return Ok(()) };
        if self.from > 0 {
            return Err(ApiError::illegal("`from` parameter must be set to 0 when `search_after` is used."));
        }
        if self.sort.is_empty() {
            return Err(ApiError::illegal("Sort must contain at least one field."));
        }
        // Hits of a point in time carry their place as a last value.
        if after.len() != self.keys_shown() && after.len() != self.sort.len() {
            return Err(ApiError::illegal(format!(
                "search_after has {} value(s) but sort has {}.",
                after.len(),
                self.sort.len()
            )));
        }
        Ok(())
    }

    fn keys_shown(&self) -> usize {
        self.sort.len().saturating_add(usize::from(self.point.is_some()))
    }
}

impl Total {
    /// Reads `track_total_hits`.
    pub(crate) fn read(value: &Value) -> Result<Total, ApiError> {
        match value {
            Value::Bool(true) => Ok(Total::Exact),
            Value::Bool(false) => Ok(Total::Hidden),
            Value::String(text) if text == "true" => Ok(Total::Exact),
            Value::String(text) if text == "false" => Ok(Total::Hidden),
            other => Ok(Total::UpTo(json::unsigned(other, "track_total_hits")?)),
        }
    }
}

impl Point {
    fn read(value: &Value) -> Result<Point, ApiError> {
        let mut point = Point { id: String::new(), keep_alive: None };
        for (key, value) in json::object(value, "pit")? {
            match key.as_str() {
                "id" => point.id = json::string(value, key)?.to_owned(),
                "keep_alive" => point.keep_alive = Some(duration(json::string(value, key)?, key)?),
                other => return Err(json::unknown_key("pit", other)),
            }
        }
        Ok(point)
    }
}

fn count(value: &Value, key: &str) -> Result<usize, ApiError> {
    Ok(usize::try_from(json::unsigned(value, key)?).unwrap_or(usize::MAX))
}

/// `100ms`, `30s`, `5m`, `1h`, `1d`.
pub(crate) fn duration(text: &str, key: &str) -> Result<Duration, ApiError> {
    let bad = || {
        ApiError::illegal(format!(
            "failed to parse setting [{key}] with value [{text}] as a time value: unit is missing or unrecognized"
        ))
    };
    let at = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?;
    let (digits, unit) = text.split_at_checked(at).ok_or_else(bad)?;
    let number: u64 = digits.parse().map_err(|_| bad())?;
    let millis = match unit {
        "ms" => Some(number),
        "s" => number.checked_mul(1000),
        "m" => number.checked_mul(60_000),
        "h" => number.checked_mul(3_600_000),
        "d" => number.checked_mul(86_400_000),
        _ => None,
    };
    millis.map(Duration::from_millis).ok_or_else(bad)
}

#[cfg(test)]
mod tests {
    use super::{Search, Total, duration};
    use serde_json::{Value, json};
    use std::time::Duration;

    fn read(body: Value) -> Result<Search, String> {
        Search::read(body.as_object().unwrap()).map_err(|e| e.reason)
    }

    #[test]
    fn keys_are_read_or_named() {
        let search =
            read(json!({"size": 5, "track_total_hits": 3, "sort": ["a", {"b": "desc"}], "timeout": "2s"}))
                .unwrap();
        assert_eq!((search.size, search.total, search.sort.len()), (5, Total::UpTo(3), 2));
        assert_eq!(search.timeout, Some(Duration::from_secs(2)));
        for (body, words) in [
            (json!({"highlight": {}}), "[highlight] in a search is not supported"),
            (json!({"foo": 1}), "Unknown key for a value in [foo]"),
            (json!({"size": -1}), "[size]"),
            (json!({"sort": {"a": {"mode": "avg"}}}), "[avg]"),
            (json!({"sort": {"_script": {}}}), "[_script]"),
            (json!({"pit": {"id": "x", "y": 1}}), "unknown key [y]"),
        ] {
            let reason = read(body.clone()).unwrap_err();
            assert!(reason.contains(words), "{body}: {reason}");
        }
    }

    #[test]
    fn windows_are_bounded() {
        let search = read(json!({"from": 9999, "size": 2})).unwrap();
        assert!(search.check(10_000).unwrap_err().reason.starts_with("Result window is too large"));
        let search = read(json!({"from": u64::MAX, "size": u64::MAX})).unwrap();
        assert!(search.check(10_000).is_err());
        let search = read(json!({"sort": "a", "search_after": [1, 2]})).unwrap();
        assert!(search.check(10_000).unwrap_err().reason.contains("search_after has 2 value(s)"));
    }

    #[test]
    fn durations_have_units() {
        assert_eq!(duration("5m", "x").unwrap(), Duration::from_secs(300));
        for bad in ["5", "m", "", "5y", "-1s", "99999999999999999999d"] {
            assert!(duration(bad, "x").is_err(), "{bad}");
        }
    }
}
