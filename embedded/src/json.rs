//! Small readers of request bodies: a value of the wrong type is an error that names its key.
//!
//! In: `serde_json` values. Out: plain values or [`ApiError`]. Never: a silent default.

use serde_json::{Map, Value};

use crate::error::ApiError;

/// Parses a body; an empty one is an empty object. Depth is bounded by `serde_json` (128).
pub(crate) fn parse_object(body: &[u8]) -> Result<Map<String, Value>, ApiError> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(Map::new());
    }
    match serde_json::from_slice(body) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(ApiError::parsing("Expected [START_OBJECT] at the start of the body")),
        Err(error) => {
            Err(ApiError::new(400, "json_parse_exception", format!("body is not valid JSON: {error}")))
        }
    }
}

/// An object, or an error that names `key`.
pub(crate) fn object<'v>(value: &'v Value, key: &str) -> Result<&'v Map<String, Value>, ApiError> {
    value.as_object().ok_or_else(|| wrong(key, "an object", value))
}

/// An array, or an error that names `key`.
pub(crate) fn array<'v>(value: &'v Value, key: &str) -> Result<&'v [Value], ApiError> {
    value.as_array().map(Vec::as_slice).ok_or_else(|| wrong(key, "an array", value))
}

/// A string, or an error that names `key`.
pub(crate) fn string<'v>(value: &'v Value, key: &str) -> Result<&'v str, ApiError> {
    value.as_str().ok_or_else(|| wrong(key, "a string", value))
}

/// A boolean; also written as a string.
pub(crate) fn boolean(value: &Value, key: &str) -> Result<bool, ApiError> {
    match value {
        Value::Bool(flag) => Ok(*flag),
        Value::String(text) if text == "true" => Ok(true),
        Value::String(text) if text == "false" => Ok(false),
        _ => Err(wrong(key, "true or false", value)),
    }
}

/// A whole number that is not negative; also written as a string.
pub(crate) fn unsigned(value: &Value, key: &str) -> Result<u64, ApiError> {
    let number = match value {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    };
    number.ok_or_else(|| wrong(key, "a whole number from 0", value))
}

/// A finite number; also written as a string.
pub(crate) fn float(value: &Value, key: &str) -> Result<f64, ApiError> {
    let number = match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    };
    number.filter(|n: &f64| n.is_finite()).ok_or_else(|| wrong(key, "a number", value))
}

/// Strings of an array, or the one string.
pub(crate) fn strings(value: &Value, key: &str) -> Result<Vec<String>, ApiError> {
    match value {
        Value::String(text) => Ok(vec![text.clone()]),
        Value::Array(items) => items.iter().map(|item| string(item, key).map(str::to_owned)).collect(),
        _ => Err(wrong(key, "a string or an array of strings", value)),
    }
}

/// The one entry of an object such as `{"term": {…}}`.
pub(crate) fn only_entry<'v>(
    map: &'v Map<String, Value>,
    what: &str,
) -> Result<(&'v str, &'v Value), ApiError> {
    let mut entries = map.iter();
    match (entries.next(), entries.next()) {
        (Some((key, value)), None) => Ok((key, value)),
        (None, _) => Err(ApiError::parsing(format!("[{what}] is empty; it needs one entry"))),
        (Some((first, _)), Some((second, _))) => Err(ApiError::parsing(format!(
            "[{what}] malformed query, expected [END_OBJECT] but found [FIELD_NAME]: [{first}] is followed by [{second}]"
        ))),
    }
}

/// The error for a key that the endpoint does not know.
pub(crate) fn unknown_key(what: &str, key: &str) -> ApiError {
    ApiError::parsing(format!("unknown key [{key}] in [{what}]"))
}

fn wrong(key: &str, expected: &str, found: &Value) -> ApiError {
    ApiError::parsing(format!("[{key}] must be {expected}, found {}", preview(found)))
}

/// A value as text in a message, cut after some characters.
pub(crate) fn preview(value: &Value) -> String {
    cut(&value.to_string(), 100)
}

/// Text for a message, cut after `limit` characters.
pub(crate) fn cut(text: &str, limit: usize) -> String {
    let mut out: String = text.chars().take(limit).collect();
    if out.len() < text.len() {
        out.push_str("...");
    }
    out
}
