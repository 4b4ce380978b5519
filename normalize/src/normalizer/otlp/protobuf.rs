//! Log records in protobuf: the messages of `opentelemetry.proto.logs.v1` and `.common.v1`, as far as they are used.
//!
//! In: bytes. Out: records. Never: deeper nesting than prost's limit of 100.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use prost::Message;
use serde_json::{Map, Number, Value};

use super::{Place, Record};

#[derive(Clone, PartialEq, Message)]
pub(super) struct LogRecord {
    #[prost(fixed64, tag = "1")]
    pub(super) time_unix_nano: u64,
    #[prost(int32, tag = "2")]
    pub(super) severity_number: i32,
    #[prost(string, tag = "3")]
    pub(super) severity_text: String,
    #[prost(message, optional, tag = "5")]
    pub(super) body: Option<AnyValue>,
    #[prost(message, repeated, tag = "6")]
    pub(super) attributes: Vec<KeyValue>,
    #[prost(bytes = "vec", tag = "9")]
    pub(super) trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "10")]
    pub(super) span_id: Vec<u8>,
    #[prost(fixed64, tag = "11")]
    pub(super) observed_time_unix_nano: u64,
    #[prost(string, tag = "12")]
    pub(super) event_name: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct KeyValue {
    #[prost(string, tag = "1")]
    pub(super) key: String,
    #[prost(message, optional, tag = "2")]
    pub(super) value: Option<AnyValue>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct AnyValue {
    #[prost(oneof = "Kind", tags = "1, 2, 3, 4, 5, 6, 7")]
    pub(super) kind: Option<Kind>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum Kind {
    #[prost(string, tag = "1")]
    Text(String),
    #[prost(bool, tag = "2")]
    Bool(bool),
    #[prost(int64, tag = "3")]
    Int(i64),
    #[prost(double, tag = "4")]
    Double(f64),
    #[prost(message, tag = "5")]
    List(ArrayValue),
    #[prost(message, tag = "6")]
    Map(KeyValueList),
    #[prost(bytes = "vec", tag = "7")]
    Bytes(Vec<u8>),
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ArrayValue {
    #[prost(message, repeated, tag = "1")]
    pub(super) values: Vec<AnyValue>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct KeyValueList {
    #[prost(message, repeated, tag = "1")]
    pub(super) values: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Resource {
    #[prost(message, repeated, tag = "1")]
    pub(super) attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct Scope {
    #[prost(string, tag = "1")]
    name: String,
}

pub(super) fn read(record: &[u8], resource: &[u8], scope: &[u8]) -> Result<(Record, Place), String> {
    let record = LogRecord::decode(record).map_err(|error| format!("no log record: {error}"))?;
    let resource = Resource::decode(resource).map_err(|error| format!("no resource: {error}"))?;
    let scope = Scope::decode(scope).map_err(|error| format!("no scope: {error}"))?;
    let read = Record {
        time_ns: record.time_unix_nano,
        observed_ns: record.observed_time_unix_nano,
        severity_number: record.severity_number.into(),
        severity_text: record.severity_text,
        body: value(record.body),
        attributes: map(record.attributes),
        trace_id: hex(&record.trace_id),
        span_id: hex(&record.span_id),
        event_name: record.event_name,
    };
    Ok((read, Place { resource: map(resource.attributes), scope: scope.name }))
}

fn map(values: Vec<KeyValue>) -> Map<String, Value> {
    values.into_iter().map(|pair| (pair.key, value(pair.value))).collect()
}

fn value(any: Option<AnyValue>) -> Value {
    match any.and_then(|any| any.kind) {
        None => Value::Null,
        Some(Kind::Text(text)) => text.into(),
        Some(Kind::Bool(truth)) => truth.into(),
        Some(Kind::Int(number)) => number.into(),
        Some(Kind::Double(number)) => {
            Number::from_f64(number).map_or_else(|| number.to_string().into(), Value::Number)
        }
        Some(Kind::List(list)) => list.values.into_iter().map(|each| value(Some(each))).collect(),
        Some(Kind::Map(list)) => Value::Object(map(list.values)),
        Some(Kind::Bytes(bytes)) => STANDARD.encode(bytes).into(),
    }
}

fn hex(bytes: &[u8]) -> String {
    let halves = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    halves.filter_map(|half| char::from_digit(half.into(), 16)).collect()
}
