//! Bodies and properties, and the records that they become.

use bytes::Bytes;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, LongString};
use model::config::WithoutMessageId;
use model::event::Limits;
use model::headers;
use model::time::Timestamp;
use model::topic::Topic;
use proptest::prelude::*;
use stream::record::NewRecord;

use super::{HEADERS_MAX, Message, Reader, VALUE_BYTES_MAX};

fn reader() -> Reader {
    Reader {
        principal: Bytes::from_static(b"eventtask"),
        queue: Bytes::from_static(b"eventtask"),
        peer: Bytes::from_static(b"127.0.0.1:5672"),
        limits: Limits { bytes_max: 4096, depth_max: 8, fields_max: 50 },
        without_message_id: WithoutMessageId::Position,
        deliveries_max: 3,
    }
}

fn read(message: &Message) -> Vec<NewRecord> {
    let mut records = Vec::new();
    reader().read(message, Timestamp::from_millis(7), &mut records);
    records
}

fn message(body: &[u8], properties: BasicProperties) -> Message {
    Message { body: Bytes::copy_from_slice(body), properties, ..Message::default() }
}

/// Topic, value, item and reason of each record.
fn shown(records: &[NewRecord]) -> Vec<String> {
    let show = |record: &NewRecord| {
        let value = String::from_utf8_lossy(&record.value);
        let header = |name| record.headers.get_str(name).unwrap_or("-");
        let topic = if record.topic == Topic::Raw { "raw" } else { "dead" };
        format!("{topic} {value} {} {}", header(headers::ITEM), header(headers::REASON))
    };
    records.iter().map(show).collect()
}

#[track_caller]
fn check(body: &[u8], expected: &[&str]) {
    assert_eq!(shown(&read(&message(body, BasicProperties::default()))), expected);
}

#[test]
fn a_body_is_an_object_a_list_lines_or_text_that_holds_an_object() {
    check(br#"{"summary":"s"}"#, &[r#"raw {"summary":"s"} - -"#]);
    check(br#"[{"a":1}, {"a":2}]"#, &[r#"raw {"a":1} - -"#, r#"raw {"a":2} - -"#]);
    check(b"{\"a\":1}\n{\"a\":2}", &[r#"raw {"a":1} - -"#, r#"raw {"a":2} - -"#]);
    check(br#""{\"a\":1}""#, &[r#"raw "{\"a\":1}" - -"#]);
    let with_id = BasicProperties::default().with_message_id("m1".into());
    let records = read(&message(br#"[{"a":1},{"a":2}]"#, with_id));
    assert_eq!(shown(&records), [r#"raw {"a":1} 0 -"#, r#"raw {"a":2} 1 -"#]);
    assert_eq!(records[1].headers.get_str(headers::CLIENT_ID), Some("m1"));
}

#[test]
fn what_is_no_event_is_dead_with_its_reason() {
    check(b"", &["dead  - empty"]);
    check(b" \n ", &["dead  \n  - empty"]);
    check(b"caf\xe9", &["dead caf\u{fffd} - malformed_json"]);
    check(b"{\"a\":\"caf\xe9\"}", &["dead {\"a\":\"caf\u{fffd}\"} - invalid_utf8"]);
    check(b"\"caf\xe9\"", &["dead \"caf\u{fffd}\" - invalid_utf8"]);
    check(b"pickled", &["dead pickled - malformed_json"]);
    check(b"17", &["dead 17 - not_an_object"]);
    check(br#""[1]""#, &[r#"dead "[1]" - not_an_object"#]);
    check(br#""{""#, &[r#"dead "{" - malformed_json"#]);
    check(
        br#"{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":1}}}}}}}}}"#,
        &[r#"dead {"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":1}}}}}}}}} - too_deep"#],
    );
    let large = format!("{{\"a\":\"{}\"}}", "x".repeat(5000));
    assert!(shown(&read(&message(large.as_bytes(), BasicProperties::default())))[0].ends_with("too_large"));
}

#[test]
fn one_bad_event_does_not_spoil_its_neighbours() {
    check(
        b"{\"a\":1}\nbad\n{\"a\":2}",
        &[r#"raw {"a":1} - -"#, "dead bad - malformed_json", r#"raw {"a":2} - -"#],
    );
}

#[test]
fn lines_of_syslog_are_told_by_the_content_type() {
    let properties = BasicProperties::default().with_content_type("text/x-syslog".into());
    let records = read(&message(b"<13>a\r\n<13>b\n", properties));
    assert_eq!(shown(&records), ["raw <13>a - -", "raw <13>b - -"]);
    assert_eq!(records[0].headers.get_str(headers::CONTENT_TYPE), Some("text/x-syslog"));
}

#[test]
fn what_the_broker_says_is_kept_within_bounds() {
    let mut table = FieldTable::default();
    for number in 0..200 {
        table.insert(
            format!("h{number:03}").into(),
            AMQPValue::LongString(LongString::from("é".repeat(4000))),
        );
    }
    table.insert("a".into(), AMQPValue::LongInt(-4));
    table.insert("a2".into(), AMQPValue::FieldTable(FieldTable::default()));
    let properties =
        BasicProperties::default().with_headers(table).with_app_id("logstash".into()).with_timestamp(9);
    let mut message = message(b"{}", properties);
    (message.exchange, message.routing_key, message.redelivered) = ("x".to_owned(), "k".to_owned(), true);
    let records = read(&message);
    let header = |name| records[0].headers.get_str(name);
    assert_eq!(header(headers::AMQP_EXCHANGE), Some("x"));
    assert_eq!(header(headers::AMQP_ROUTING_KEY), Some("k"));
    assert_eq!(header(headers::AMQP_APP_ID), Some("logstash"));
    assert_eq!(header(headers::AMQP_TIMESTAMP), Some("9"));
    assert_eq!(header(headers::AMQP_REDELIVERED), Some("1"));
    assert_eq!(header("amqp-header-a"), Some("-4"));
    assert_eq!(header("amqp-header-a2"), None);
    let own = records[0].headers.iter().filter(|(name, _)| name.starts_with(headers::AMQP_HEADER_PREFIX));
    let sizes: Vec<usize> = own.map(|(_, value)| value.len()).collect();
    assert!(sizes.len() <= HEADERS_MAX && sizes.iter().all(|size| *size <= VALUE_BYTES_MAX), "{sizes:?}");
}

#[test]
fn what_comes_too_often_is_dead() {
    let table = |count| {
        let mut table = FieldTable::default();
        table.insert("x-delivery-count".into(), AMQPValue::LongLongInt(count));
        BasicProperties::default().with_headers(table)
    };
    assert_eq!(shown(&read(&message(b"{}", table(2)))), ["raw {} - -"]);
    assert_eq!(shown(&read(&message(b"{}", table(3)))), ["dead {} - too_many_attempts"]);
}

#[test]
fn equal_bodies_have_one_id_where_that_is_asked_for() {
    let by_content = Reader { without_message_id: WithoutMessageId::Content, ..reader() };
    let id = |body: &[u8]| {
        let mut records = Vec::new();
        by_content.read(&message(body, BasicProperties::default()), Timestamp::EPOCH, &mut records);
        records[0].headers.get_str(headers::CLIENT_ID).unwrap().to_owned()
    };
    assert_eq!(id(b"{\"a\":1}"), id(b"{\"a\":1}"));
    assert_ne!(id(b"{\"a\":1}"), id(b"{\"a\":2}"));
}

proptest! {
    /// Every byte of a body is in a record, and only white space and what separates events is not.
    #[test]
    fn no_body_is_lost(body in prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..200),
        "[\\[\\]{}\",:a0-9 \n\\\\]{0,80}".prop_map(String::into_bytes),
    ]) {
        let records = read(&message(&body, BasicProperties::default()));
        let blank = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&body).trim_ascii().is_empty();
        let is_empty_list = body.iter().all(|byte| b" \t\r\n[],\xEF\xBB\xBF".contains(byte));
        prop_assert!(!records.is_empty() || is_empty_list && !blank, "{:?}", String::from_utf8_lossy(&body));
    }
}
