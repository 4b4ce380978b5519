//! The order of hits.
//!
//! In: the value of `sort`, values of `search_after`. Out: [`SortKey`]s and comparable [`SortValue`]s.

use std::cmp::Ordering;

use serde_json::{Value, json};

use crate::error::ApiError;
use crate::index::schema::{float_to_ordered, ip_from_text, ip_to_text, ordered_to_float};
use crate::json;
use crate::mapping::{Kind, Mapping};

/// Most keys of one order.
const KEYS_MAX: usize = 16;

/// One key of the order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SortKey {
    pub(crate) by: SortBy,
    pub(crate) descending: bool,
    pub(crate) missing: Missing,
    /// An index that lacks the field sorts as if it had no values.
    pub(crate) unmapped: bool,
    /// Of several values the largest counts, else the smallest.
    pub(crate) largest: bool,
}

/// What a key looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SortBy {
    Score,
    /// The place in the index; stands still within a point in time.
    Place,
    Field(String),
}

/// Where documents without a value go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    First,
    Last,
    /// They count as this value.
    Value(String),
}

/// A value that orders a hit.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum SortValue {
    Null,
    Number(i64),
    /// As ordered bits.
    Float(i64),
    Text(String),
    /// As text of 32 hex digits.
    Ip(String),
    Score(f32),
}

impl SortValue {
    /// As hits show it.
    pub(crate) fn to_json(&self) -> Value {
        match self {
            SortValue::Null => Value::Null,
            SortValue::Number(number) => json!(number),
            SortValue::Float(ordered) => json!(ordered_to_float(*ordered)),
            SortValue::Text(text) => json!(text),
            SortValue::Ip(text) => json!(ip_from_text(text).map(|ip| ip.to_string())),
            SortValue::Score(score) => json!(score),
        }
    }
}

/// Type of a sorted field in one index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SortForm {
    Number,
    Float,
    Text,
    Ip,
}

impl SortKey {
    fn new(by: SortBy) -> SortKey {
        let descending = by == SortBy::Score;
        SortKey { by, descending, missing: Missing::Last, unmapped: false, largest: descending }
    }

    /// Reads the value of `sort`.
    pub(crate) fn read_all(value: &Value) -> Result<Vec<SortKey>, ApiError> {
        let keys = match value {
            Value::Array(items) => items.iter().map(SortKey::read).collect::<Result<Vec<_>, _>>()?,
            one => vec![SortKey::read(one)?],
        };
        if keys.len() > KEYS_MAX {
            return Err(ApiError::illegal(format!("[sort] has more than {KEYS_MAX} keys")));
        }
        Ok(keys)
    }

    /// Reads `?sort=a:desc,b`.
    pub(crate) fn read_parameter(text: &str) -> Result<Vec<SortKey>, ApiError> {
        let keys = text.split(',').map(|part| match part.rsplit_once(':') {
            Some((name, direction)) => SortKey::read(&json!({name: direction})),
            None => SortKey::read(&json!(part)),
        });
        keys.collect()
    }

    fn read(value: &Value) -> Result<SortKey, ApiError> {
        if let Value::String(name) = value {
            return named(name);
        }
        let (name, params) = json::only_entry(json::object(value, "sort")?, "sort")?;
        let mut key = named(name)?;
        let mut mode = None;
        if let Value::String(direction) = params {
            key.descending = descends(direction)?;
        } else {
            for (param, value) in json::object(params, "sort")? {
                match param.as_str() {
                    "order" => key.descending = descends(json::string(value, param)?)?,
                    "missing" => {
                        key.missing = match value {
                            Value::String(text) if text == "_first" => Missing::First,
                            Value::String(text) if text == "_last" => Missing::Last,
                            Value::String(text) => Missing::Value(text.clone()),
                            Value::Number(_) | Value::Bool(_) => Missing::Value(value.to_string()),
                            _ => return Err(ApiError::parsing("[missing] in [sort] must be a scalar")),
                        };
                    }
                    "unmapped_type" => key.unmapped = true,
                    "mode" => {
                        mode = Some(match json::string(value, param)? {
                            "min" => false,
                            "max" => true,
                            other => {
                                return Err(ApiError::unsupported(format!("[mode] of [{other}] in [sort]")));
                            }
                        });
                    }
                    "numeric_type" | "nested" | "nested_path" | "nested_filter" | "format" => {
                        return Err(ApiError::unsupported(format!("[{param}] in [sort]")));
                    }
                    other => return Err(json::unknown_key("sort", other)),
                }
            }
        }
        key.largest = mode.unwrap_or(key.descending);
        Ok(key)
    }

    /// Type of the key's field in an index; `None` when the index lacks it and may.
    pub(crate) fn form(
        &self,
        name: &str,
        mapping: &Mapping,
        index: &str,
    ) -> Result<Option<SortForm>, ApiError> {
        let refuse = |reason: String| {
            let mut error = ApiError::illegal(reason).on_index(index);
            error.in_search = true;
            error
        };
        let Some(leaf) = mapping.leaf(name) else {
            return if self.unmapped {
                Ok(None)
            } else {
                Err(ApiError::query_shard(
                    index,
                    format!("No mapping found for [{name}] in order to sort on"),
                ))
            };
        };
        match leaf.kind {
            Kind::Keyword => Ok(Some(SortForm::Text)),
            Kind::Ip => Ok(Some(SortForm::Ip)),
            Kind::Float(_) => Ok(Some(SortForm::Float)),
            Kind::Whole(_) | Kind::Boolean | Kind::Date(_) => Ok(Some(SortForm::Number)),
            Kind::Text => Err(refuse(format!(
                "Text fields are not optimised for operations that require per-document field data like aggregations and sorting, so these operations are disabled by default. Please use a keyword field instead: [{name}]"
            ))),
            Kind::GeoPoint | Kind::Binary => {
                Err(refuse(format!("can't sort on field [{name}] of type [{}]", leaf.kind.name())))
            }
        }
    }

    /// Order of two values.
    pub(crate) fn compare(&self, a: &SortValue, b: &SortValue) -> Ordering {
        let nulls_first = self.missing == Missing::First;
        let found = match (a, b) {
            (SortValue::Null, SortValue::Null) => return Ordering::Equal,
            (SortValue::Null, _) => return if nulls_first { Ordering::Less } else { Ordering::Greater },
            (_, SortValue::Null) => return if nulls_first { Ordering::Greater } else { Ordering::Less },
            (SortValue::Number(a), SortValue::Number(b)) | (SortValue::Float(a), SortValue::Float(b)) => {
                a.cmp(b)
            }
            (SortValue::Number(a), SortValue::Float(b)) => float_to_ordered(*a as f64).cmp(b),
            (SortValue::Float(a), SortValue::Number(b)) => a.cmp(&float_to_ordered(*b as f64)),
            (SortValue::Text(a), SortValue::Text(b)) | (SortValue::Ip(a), SortValue::Ip(b)) => a.cmp(b),
            (SortValue::Score(a), SortValue::Score(b)) => a.total_cmp(b),
            // A field with different types in the indices: an order of the types keeps the result stable.
            (a, b) => kind_rank(a).cmp(&kind_rank(b)),
        };
        if self.descending { found.reverse() } else { found }
    }

    /// A value of `search_after` for this key.
    pub(crate) fn read_after(&self, value: &Value, form: Option<SortForm>) -> Result<SortValue, ApiError> {
        let bad = || {
            ApiError::illegal(format!(
                "Failed to parse search_after value for the sort key: {}",
                json::preview(value)
            ))
        };
        let text = || value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        Ok(match (&self.by, form) {
            (_, _) if value.is_null() => SortValue::Null,
            (SortBy::Score, _) => SortValue::Score(value.as_f64().ok_or_else(bad)? as f32),
            (SortBy::Place, _) => SortValue::Number(value.as_i64().ok_or_else(bad)?),
            (SortBy::Field(_), Some(SortForm::Number)) => {
                SortValue::Number(self.number(value).ok_or_else(bad)?)
            }
            (SortBy::Field(_), Some(SortForm::Float)) => {
                SortValue::Float(float_to_ordered(text().parse().map_err(|_| bad())?))
            }
            (SortBy::Field(_), Some(SortForm::Ip)) => {
                SortValue::Ip(ip_to_text(text().parse().map_err(|_| bad())?))
            }
            (SortBy::Field(_), _) => SortValue::Text(text()),
        })
    }

    /// A whole number, a boolean or a date.
    pub(crate) fn number(&self, value: &Value) -> Option<i64> {
        match value {
            Value::Bool(flag) => Some(i64::from(*flag)),
            Value::Number(number) => number.as_i64(),
            Value::String(text) => text.parse().ok().or_else(|| {
                let formats = crate::dates::DateFormats::default();
                formats.read(text, &jiff::tz::TimeZone::UTC, crate::dates::Round::Down)
            }),
            _ => None,
        }
    }
}

fn kind_rank(value: &SortValue) -> u8 {
    match value {
        SortValue::Null => 0,
        SortValue::Number(_) | SortValue::Float(_) => 1,
        SortValue::Ip(_) => 2,
        SortValue::Text(_) => 3,
        SortValue::Score(_) => 4,
    }
}

fn named(name: &str) -> Result<SortKey, ApiError> {
    match name {
        "_score" => Ok(SortKey::new(SortBy::Score)),
        "_doc" | "_shard_doc" => Ok(SortKey::new(SortBy::Place)),
        "_script" | "_geo_distance" | "_id" | "_index" | "_source" | "_version" | "_seq_no" => {
            Err(ApiError::unsupported(format!("[sort] by [{name}]")))
        }
        field => Ok(SortKey::new(SortBy::Field(field.to_owned()))),
    }
}

fn descends(direction: &str) -> Result<bool, ApiError> {
    match direction.to_ascii_lowercase().as_str() {
        "asc" => Ok(false),
        "desc" => Ok(true),
        other => Err(ApiError::illegal(format!("Unknown SortOrder [{other}]"))),
    }
}
