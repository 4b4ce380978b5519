//! JSON queries on exact values: term, terms, range, prefix, wildcard, regexp.

use jiff::tz::TimeZone;
use serde_json::{Map, Value};

use super::ast::{Fields, Limit, Query, Range, Test};
use super::dsl::boost;
use crate::dates::{DateFormats, read_zone};
use crate::error::ApiError;
use crate::json;
use crate::patterns::Pattern;

/// Most values of one `terms`, as OpenSearch's `index.max_terms_count`.
const TERMS_MAX: usize = 65_536;

/// A scalar as the text that fields hold.
pub(super) fn scalar(value: &Value, what: &str) -> Result<String, ApiError> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Bool(_) | Value::Number(_) => Ok(value.to_string()),
        Value::Null => Err(ApiError::illegal("value cannot be null")),
        Value::Array(_) => Err(ApiError::parsing(format!("[{what}] query does not support array of values"))),
        Value::Object(_) => {
            Err(ApiError::parsing(format!("[{what}] query does not support an object as value")))
        }
    }
}

/// `{"field": "value"}` or `{"field": {"value": …, …}}`.
struct OneField<'v> {
    name: &'v str,
    value: Option<&'v Value>,
    factor: Option<&'v Value>,
    others: Vec<(&'v str, &'v Value)>,
}

impl<'v> OneField<'v> {
    /// `value_keys`: names under which the value stands in the long form.
    fn read(body: &'v Value, query: &str, value_keys: &[&str]) -> Result<OneField<'v>, ApiError> {
        let (name, params) = json::only_entry(json::object(body, query)?, query)?;
        let Value::Object(params) = params else {
            return Ok(OneField { name, value: Some(params), factor: None, others: Vec::new() });
        };
        let mut one = OneField { name, value: None, factor: None, others: Vec::new() };
        for (key, value) in params {
            match key.as_str() {
                "boost" => one.factor = Some(value),
                key if value_keys.contains(&key) => one.value = Some(value),
                key => one.others.push((key, value)),
            }
        }
        Ok(one)
    }

    fn text(&self, query: &str) -> Result<String, ApiError> {
        let value = self
            .value
            .ok_or_else(|| ApiError::parsing(format!("[{query}] query on [{}] has no value", self.name)))?;
        scalar(value, query)
    }

    fn finish(&self, test: Test) -> Result<Query, ApiError> {
        let query = Fields::one(self.name, test);
        self.factor.map_or(Ok(query.clone()), |value| boost(query, value))
    }

    /// `case_insensitive`; `rewrite` changes scores only. Others are refused.
    fn ignore_case(&self, query: &str) -> Result<bool, ApiError> {
        let mut ignore_case = false;
        for (key, value) in &self.others {
            match *key {
                "case_insensitive" => ignore_case = json::boolean(value, key)?,
                "rewrite" if query != "term" => {}
                other => return Err(json::unknown_key(query, other)),
            }
        }
        Ok(ignore_case)
    }
}

pub(super) fn term(body: &Value) -> Result<Query, ApiError> {
    let one = OneField::read(body, "term", &["value", "term"])?;
    let ignore_case = one.ignore_case("term")?;
    one.finish(Test::Term { value: one.text("term")?, ignore_case })
}

pub(super) fn terms(body: &Value) -> Result<Query, ApiError> {
    let (mut field, mut factor) = (None, None);
    for (key, value) in json::object(body, "terms")? {
        match (key.as_str(), value) {
            ("boost", _) => factor = Some(value),
            (_, Value::Object(_)) => return Err(ApiError::unsupported("terms lookup")),
            (name, Value::Array(values)) if field.is_none() => field = Some((name, values)),
            (name, _) => {
                return Err(ApiError::parsing(format!(
                    "[terms] query does not support [{name}]; it takes one field with an array"
                )));
            }
        }
    }
    let (name, values) = field.ok_or_else(|| ApiError::parsing("[terms] query requires a field"))?;
    if values.len() > TERMS_MAX {
        return Err(ApiError::illegal(format!(
            "The number of terms [{}] used in the Terms Query request has exceeded the allowed maximum of [{TERMS_MAX}].",
            values.len()
        )));
    }
    let values = values.iter().map(|v| scalar(v, "terms")).collect::<Result<_, _>>()?;
    let query = Fields::one(name, Test::Terms(values));
    factor.map_or(Ok(query.clone()), |value| boost(query, value))
}

pub(super) fn prefix(body: &Value) -> Result<Query, ApiError> {
    let one = OneField::read(body, "prefix", &["value", "prefix"])?;
    let ignore_case = one.ignore_case("prefix")?;
    one.finish(Test::Prefix { value: one.text("prefix")?, ignore_case, normalize: false })
}

pub(super) fn wildcard(body: &Value) -> Result<Query, ApiError> {
    let one = OneField::read(body, "wildcard", &["value", "wildcard"])?;
    let ignore_case = one.ignore_case("wildcard")?;
    one.finish(Test::Wildcard { pattern: one.text("wildcard")?, ignore_case, normalize: false })
}

pub(super) fn regexp(body: &Value) -> Result<Query, ApiError> {
    let mut one = OneField::read(body, "regexp", &["value"])?;
    let mut optional_operators = true;
    for (key, value) in &one.others {
        match *key {
            "flags" => match json::string(value, key)? {
                "ALL" | "" => {}
                "NONE" => optional_operators = false,
                other => return Err(ApiError::unsupported(format!("[flags] of [{other}]"))),
            },
            "flags_value" => return Err(ApiError::unsupported("[flags_value]")),
            _ => {}
        }
    }
    one.others.retain(|(key, _)| !matches!(*key, "flags" | "max_determinized_states"));
    let ignore_case = one.ignore_case("regexp")?;
    let text = one.text("regexp")?;
    let pattern = if optional_operators {
        Pattern::regex(&text, ignore_case)
    } else {
        Pattern::regex(&without_optional_operators(&text), ignore_case)
    };
    one.finish(Test::Regexp(pattern.map_err(ApiError::illegal)?))
}

/// Takes the meaning from `~ & < > @ # "`.
fn without_optional_operators(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                out.push(c);
                out.extend(chars.next());
            }
            '~' | '&' | '<' | '>' | '@' | '#' | '"' => out.extend(['\\', c]),
            other => out.push(other),
        }
    }
    out
}

pub(super) fn range(body: &Value) -> Result<Query, ApiError> {
    let (name, params) = json::only_entry(json::object(body, "range")?, "range")?;
    let (range, factor) = read_range(json::object(params, "range")?)?;
    let query = Fields::one(name, Test::Range(range));
    factor.map_or(Ok(query.clone()), |value| boost(query, value))
}

fn read_range(params: &Map<String, Value>) -> Result<(Range, Option<&Value>), ApiError> {
    let mut range = Range { lower: None, upper: None, format: None, zone: TimeZone::UTC };
    let (mut factor, mut from, mut to) = (None, None, None);
    let (mut include_lower, mut include_upper) = (true, true);
    let limit = |value: &Value, inclusive| match value {
        Value::Null => Ok(None),
        value => Ok::<_, ApiError>(Some(Limit { value: scalar(value, "range")?, inclusive })),
    };
    for (key, value) in params {
        match key.as_str() {
            "gte" => range.lower = limit(value, true)?,
            "gt" => range.lower = limit(value, false)?,
            "lte" => range.upper = limit(value, true)?,
            "lt" => range.upper = limit(value, false)?,
            "from" => from = Some(value),
            "to" => to = Some(value),
            "include_lower" => include_lower = json::boolean(value, key)?,
            "include_upper" => include_upper = json::boolean(value, key)?,
            "boost" => factor = Some(value),
            "format" => {
                let formats = DateFormats::parse(json::string(value, key)?)
                    .map_err(|part| ApiError::unsupported(format!("date format [{part}] in [range]")))?;
                range.format = Some(formats);
            }
            "time_zone" => {
                let text = json::string(value, key)?;
                range.zone = read_zone(text)
                    .ok_or_else(|| ApiError::illegal(format!("unknown time-zone [{text}]")))?;
            }
            "relation" => return Err(ApiError::unsupported("[relation] in [range]")),
            other => return Err(ApiError::parsing(format!("[range] query does not support [{other}]"))),
        }
    }
    if let Some(value) = from {
        range.lower = limit(value, include_lower)?;
    }
    if let Some(value) = to {
        range.upper = limit(value, include_upper)?;
    }
    Ok((range, factor))
}
