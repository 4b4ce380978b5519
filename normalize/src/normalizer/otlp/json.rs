//! Log records in JSON, as protobuf's JSON form is read: 64-bit numbers may be text, names may be those of the `.proto`
//! files.
//!
//! In: JSON. Out: records. Never: an error for a member that has an unexpected type: it counts as absent.

use serde_json::{Map, Value};

use super::{Place, Record};

pub(super) fn read(record: &[u8], resource: &[u8], scope: &[u8]) -> Result<(Record, Place), String> {
    let object = |what: &str, bytes: &[u8]| match bytes {
        [] => Ok(Map::new()),
        bytes => serde_json::from_slice::<Map<String, Value>>(bytes)
            .map_err(|error| format!("no {what} in JSON: {error}")),
    };
    let mut record = object("log record", record)?;
    let mut resource = object("resource", resource)?;
    let mut scope = object("scope", scope)?;
    let read = Record {
        time_ns: number(&take(&mut record, "timeUnixNano", "time_unix_nano")),
        observed_ns: number(&take(&mut record, "observedTimeUnixNano", "observed_time_unix_nano")),
        severity_number: severity(&take(&mut record, "severityNumber", "severity_number")),
        severity_text: text(take(&mut record, "severityText", "severity_text")),
        body: value(take(&mut record, "body", "body")),
        attributes: map(take(&mut record, "attributes", "attributes")),
        trace_id: text(take(&mut record, "traceId", "trace_id")),
        span_id: text(take(&mut record, "spanId", "span_id")),
        event_name: text(take(&mut record, "eventName", "event_name")),
    };
    let resource = map(take(&mut resource, "attributes", "attributes"));
    Ok((read, Place { resource, scope: text(take(&mut scope, "name", "name")) }))
}

fn take(object: &mut Map<String, Value>, name: &str, other: &str) -> Value {
    object.remove(name).or_else(|| object.remove(other)).unwrap_or_default()
}

fn number(value: &Value) -> u64 {
    value.as_u64().or_else(|| value.as_str()?.parse().ok()).unwrap_or_default()
}

/// A number, or the name of one, as `SEVERITY_NUMBER_INFO2`.
fn severity(value: &Value) -> i64 {
    const NAMES: [&str; 6] = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"];
    if let Some(number) = value.as_i64() {
        return number;
    }
    let name = value.as_str().unwrap_or_default().trim_start_matches("SEVERITY_NUMBER_");
    let place = NAMES.iter().zip(0_i64..).find(|(known, _)| name.starts_with(**known));
    place.map_or(0, |(_, place)| place * 4 + 1)
}

fn text(value: Value) -> String {
    if let Value::String(text) = value { text } else { String::new() }
}

fn map(list: Value) -> Map<String, Value> {
    let Value::Array(list) = list else { return Map::new() };
    let pair = |each: Value| {
        let Value::Object(mut each) = each else { return None };
        let key = text(take(&mut each, "key", "key"));
        Some((key, value(take(&mut each, "value", "value"))))
    };
    list.into_iter().filter_map(pair).collect()
}

/// Recursion is bounded by serde_json's, which has read the value.
fn value(any: Value) -> Value {
    let Value::Object(any) = any else { return Value::Null };
    let Some((kind, inner)) = any.into_iter().next() else { return Value::Null };
    match kind.as_str() {
        "stringValue" | "string_value" | "bytesValue" | "bytes_value" | "boolValue" | "bool_value" => inner,
        "doubleValue" | "double_value" => inner,
        "intValue" | "int_value" => match inner.as_str().map(str::parse::<i64>) {
            Some(Ok(number)) => number.into(),
            _ => inner,
        },
        "arrayValue" | "array_value" => match inner {
            Value::Object(mut list) => match take(&mut list, "values", "values") {
                Value::Array(list) => list.into_iter().map(value).collect(),
                _ => Value::Array(Vec::new()),
            },
            _ => Value::Null,
        },
        "kvlistValue" | "kvlist_value" => match inner {
            Value::Object(mut list) => Value::Object(map(take(&mut list, "values", "values"))),
            _ => Value::Null,
        },
        _ => Value::Null,
    }
}
