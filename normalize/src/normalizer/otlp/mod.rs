//! OTLP's log records in normal form.
//!
//! In: a log record in protobuf or JSON; its resource and scope in the headers. Out: the event, before the plugins. Never:
//! a number of a field that the specification does not have.
//!
//! | OTLP | normal form |
//! |---|---|
//! | `timeUnixNano`, else `observedTimeUnixNano` | `utctimestamp` |
//! | `severityText`, else the name of `severityNumber` | `severity` |
//! | `body` that is text; of an object its `message`, and all of it in `details` | `summary` |
//! | resource `host.name`, `service.name`, `process.executable.name`, `process.pid` | `hostname`, `source`, `processname`, `processid` |
//! | attributes | `details` |
//! | resource, scope, trace and span id, event name | `details.resource`, `.scope`, `.trace_id`, `.span_id`, `.event_name` |

mod json;
mod protobuf;

use model::error::Reason;
use model::headers;
use serde_json::{Map, Value};

use super::{End, Format, Normalizer, Raw};
use crate::dates::Reference;
use crate::key_mapping::Mapping;

/// A log record, read.
#[derive(Debug, Default, PartialEq)]
struct Record {
    time_ns: u64,
    observed_ns: u64,
    severity_number: i64,
    severity_text: String,
    body: Value,
    attributes: Map<String, Value>,
    trace_id: String,
    span_id: String,
    event_name: String,
}

/// Where it comes from.
#[derive(Debug, Default, PartialEq)]
struct Place {
    resource: Map<String, Value>,
    scope: String,
}

impl Normalizer {
    pub(super) fn read_otlp(&mut self, raw: Raw<'_>, reference: Reference) -> Result<(), End> {
        let header = |name| raw.headers.and_then(|headers| headers.get(name)).map_or(&b""[..], |value| value);
        let (resource, scope) = (header(headers::OTLP_RESOURCE), header(headers::OTLP_SCOPE));
        let read = match raw.format {
            Format::OtlpProtobuf => protobuf::read(raw.value, resource, scope),
            _ => json::read(raw.value, resource, scope),
        };
        let (record, place) = read.map_err(|cause| End::Dead(Reason::MalformedRecord, cause))?;
        let document = Value::Object(document(record, place)).to_string();
        let flags = self.input.parse(document.as_bytes(), &self.limits.for_normal_form())?;
        self.settle(flags);
        self.map_input(raw, Mapping::EventTask, reference)
    }
}

/// The record as an event that could have been posted.
fn document(record: Record, mut place: Place) -> Map<String, Value> {
    let mut event = Map::new();
    let mut put = |key: &str, value: Value| {
        if !value.is_null() && value.as_str() != Some("") {
            event.insert(key.to_owned(), value);
        }
    };
    let time = if record.time_ns > 0 { record.time_ns } else { record.observed_ns };
    if time > 0 {
        put("timestamp", time.into());
    }
    let severity = match record.severity_text.as_str() {
        "" => severity(record.severity_number).to_owned(),
        _ => record.severity_text,
    };
    put("severity", severity.into());
    let mut details = record.attributes;
    put("summary", summary(record.body, &mut details));
    let known = |key: &str| place.resource.get(key).cloned().unwrap_or_default();
    put("hostname", known("host.name"));
    put("source", known("service.name"));
    put("processid", known("process.pid"));
    put(
        "processname",
        match known("process.executable.name") {
            Value::Null => known("service.name"),
            name => name,
        },
    );
    let resource = std::mem::take(&mut place.resource);
    let beside = [
        ("trace_id", record.trace_id.into()),
        ("span_id", record.span_id.into()),
        ("event_name", record.event_name.into()),
        ("scope", place.scope.into()),
        ("resource", if resource.is_empty() { Value::Null } else { Value::Object(resource) }),
    ];
    for (key, value) in beside {
        let says_something = !value.is_null() && value.as_str() != Some("");
        if says_something && !details.contains_key(key) {
            details.insert(key.to_owned(), value);
        }
    }
    event.insert("details".to_owned(), Value::Object(details));
    event
}

/// Text; or an object's message, and the object into the details.
fn summary(body: Value, details: &mut Map<String, Value>) -> Value {
    let Value::Object(body) = body else { return body };
    let message = ["message", "msg"].into_iter().find_map(|key| body.get(key).filter(|m| m.is_string()));
    let summary = message.cloned().unwrap_or_else(|| Value::Object(body.clone()).to_string().into());
    for (key, value) in body {
        details.entry(key).or_insert(value);
    }
    summary
}

/// The name of a number's range.
const fn severity(number: i64) -> &'static str {
    match number {
        1..=4 => "TRACE",
        5..=8 => "DEBUG",
        9..=12 => "INFO",
        13..=16 => "WARN",
        17..=20 => "ERROR",
        21..=24 => "FATAL",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use model::headers;
    use proptest::prelude::*;
    use prost::Message;
    use stream::record::Headers;

    use super::super::Format;
    use super::super::tests::mapped;
    use super::protobuf::{AnyValue, KeyValue, KeyValueList, Kind, LogRecord, Resource};
    use super::{json, protobuf};

    const RECORD: &str = r#"{"timeUnixNano":"1544712660300000000","observedTimeUnixNano":"1544712660300000001",
        "severityNumber":10,"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174",
        "body":{"stringValue":"Example log record"},"attributes":[
        {"key":"string.attribute","value":{"stringValue":"some string"}},
        {"key":"int.attribute","value":{"intValue":"10"}},
        {"key":"list","value":{"arrayValue":{"values":[{"boolValue":true},{"doubleValue":1.5}]}}}]}"#;
    const RESOURCE: &str = r#"{"attributes":[{"key":"service.name","value":{"stringValue":"my.service"}},
        {"key":"host.name","value":{"stringValue":"web"}},{"key":"process.pid","value":{"intValue":7}}]}"#;

    fn text(key: &str, value: &str) -> KeyValue {
        let value = AnyValue { kind: Some(Kind::Text(value.to_owned())) };
        KeyValue { key: key.to_owned(), value: Some(value) }
    }

    #[test]
    fn a_record_in_json_becomes_an_event() {
        let about = Headers::new()
            .with(headers::OTLP_RESOURCE, RESOURCE)
            .with(headers::OTLP_SCOPE, r#"{"name":"lib"}"#);
        let got = mapped(RECORD.as_bytes(), Format::OtlpJson, &about);
        for part in [
            r#""utctimestamp":"2018-12-13T14:51:00.300000+00:00""#,
            r#""summary":"Example log record""#,
            r#""severity":"INFO""#,
            r#""hostname":"web""#,
            r#""source":"my.service""#,
            r#""processname":"my.service""#,
            r#""processid":"7""#,
            r#""string.attribute":"some string""#,
            r#""int.attribute":10"#,
            r#""list":[true,1.5]"#,
            r#""trace_id":"5b8efff798038103d269b633813fc60c""#,
            r#""scope":"lib""#,
        ] {
            assert!(got.contains(part), "{got} lacks {part}");
        }
    }

    #[test]
    fn a_record_in_protobuf_becomes_the_same() {
        let body = KeyValueList { values: vec![text("message", "hello"), text("user", "root")] };
        let record = LogRecord {
            time_unix_nano: 1_544_712_660_300_000_000,
            severity_text: "notice".to_owned(),
            body: Some(AnyValue { kind: Some(Kind::Map(body)) }),
            attributes: vec![text("a", "b")],
            span_id: vec![0xee, 0x01],
            ..LogRecord::default()
        };
        let resource = Resource { attributes: vec![text("host.name", "web")] };
        let about = Headers::new().with(headers::OTLP_RESOURCE, resource.encode_to_vec());
        let got = mapped(&record.encode_to_vec(), Format::OtlpProtobuf, &about);
        for part in [
            "2018-12-13T14:51:00.300000+00:00",
            r#""severity":"NOTICE""#,
            r#""summary":"hello""#,
            r#""user":"root""#,
            r#""a":"b""#,
            r#""span_id":"ee01""#,
            r#""hostname":"web""#,
        ] {
            assert!(got.contains(part), "{got} lacks {part}");
        }
    }

    #[test]
    fn what_is_no_record_is_dead_with_its_reason() {
        let got = mapped(b"\xff\xff", Format::OtlpProtobuf, &Headers::new());
        assert!(got.starts_with("malformed_record: no log record"), "{got}");
        let got = mapped(b"[]", Format::OtlpJson, &Headers::new());
        assert!(got.starts_with("malformed_record: "), "{got}");
        let nested = (0..500).fold(AnyValue { kind: Some(Kind::Bool(true)) }, |inner, _| AnyValue {
            kind: Some(Kind::List(protobuf::ArrayValue { values: vec![inner] })),
        });
        let deep = LogRecord { body: Some(nested), ..LogRecord::default() };
        let got = mapped(&deep.encode_to_vec(), Format::OtlpProtobuf, &Headers::new());
        assert!(got.starts_with("malformed_record: "), "{got}");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 100_000, ..ProptestConfig::default() })]

        #[test]
        fn no_bytes_break_the_readers(
            bytes in proptest::collection::vec(any::<u8>(), 0..64),
            place in any::<prop::sample::Index>(), byte in any::<u8>(),
        ) {
            prop_assert!(protobuf::read(&bytes, b"", b"").is_ok() || !bytes.is_empty());
            let mut record = RECORD.as_bytes().to_vec();
            let place = place.index(record.len());
            record[place] = byte;
            let parsed = serde_json::from_slice::<serde_json::Value>(&record).is_ok();
            prop_assert!(parsed || json::read(&record, b"", b"").is_err());
        }
    }
}
