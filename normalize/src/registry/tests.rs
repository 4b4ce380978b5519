//! A registry of a few lines, that answers as it is told to.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use model::config::RegistryConfig;
use model::error::Reason;
use model::headers;
use model::time::Timestamp;
use model::topic::Topic;
use stream::record::{Headers, Record};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::{Registry, guid, is_framed};

/// Answers by path: status and body. What is not there is 404.
type Answers = Arc<Mutex<HashMap<String, (u16, String)>>>;

async fn serve(answers: Answers) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = Vec::new();
            while !request.windows(4).any(|four| four == b"\r\n\r\n") {
                if stream.read_buf(&mut request).await.unwrap_or(0) == 0 {
                    break;
                }
            }
            let text = String::from_utf8_lossy(&request).into_owned();
            let path =
                text.split(' ').nth(1).unwrap_or_default().split('?').next().unwrap_or_default().to_owned();
            let missing = || (404, r#"{"error_code":40403,"message":"Schema not found"}"#.to_owned());
            let (status, body) = answers.lock().unwrap().get(&path).cloned().unwrap_or_else(missing);
            let length = body.len();
            let reply = format!(
                "HTTP/1.1 {status} x\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
            );
            if stream.write_all(reply.as_bytes()).await.is_err() {}
        }
    });
    format!("http://{address}")
}

fn schema(kind: &str, text: &str) -> (u16, String) {
    (200, serde_json::json!({"schemaType": kind, "schema": text}).to_string())
}

fn record(value: &[u8], all: Headers) -> Record {
    Record {
        topic: Topic::Raw,
        partition: 0,
        offset: 7,
        appended: Timestamp::EPOCH,
        key: Bytes::new(),
        value: Bytes::copy_from_slice(value),
        headers: all,
    }
}

/// What becomes of values, one after another; on a thread that may block.
async fn decoded(url: &str, records: Vec<Record>) -> Vec<Result<Result<String, Reason>, String>> {
    let config = RegistryConfig { urls: vec![url.to_owned()], timeout_ms: 1000, ..RegistryConfig::default() };
    let mut registry = Registry::new(&config).unwrap();
    let read = move |record: &Record| {
        let found = registry.decode(record)?.expect("it names a schema");
        Ok(found.map(|json| String::from_utf8(json).unwrap()).map_err(|(reason, _)| reason))
    };
    tokio::task::spawn_blocking(move || records.iter().map(read).collect()).await.unwrap()
}

const LOGIN: &str = r#"{"type": "record", "name": "L", "fields": [{"name": "summary", "type": "string"}]}"#;
const PROTO: &str = "syntax = \"proto3\"; message A { string x = 1; } message B { message C { string summary = 1; int64 n = 2; } }";

/// `message A { string summary = 1; }` as a file's descriptor in base64.
fn descriptor() -> String {
    STANDARD.encode(
        b"\x0a\x07a.proto\x22\x14\x0a\x01A\x12\x0f\x0a\x07summary\x18\x01\x20\x01\x28\x09\x62\x06proto3",
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn values_are_read_by_the_schema_that_they_name() {
    let answers = Answers::default();
    let identifier = [0xab_u8; 16];
    {
        let mut all = answers.lock().unwrap();
        all.insert("/schemas/ids/1".to_owned(), schema("AVRO", LOGIN));
        all.insert("/schemas/ids/2".to_owned(), schema("PROTOBUF", PROTO));
        all.insert("/schemas/ids/3".to_owned(), schema("JSON", "{}"));
        all.insert("/schemas/ids/4".to_owned(), schema("XML", "<a/>"));
        let list = r#"{"type": "record", "name": "L", "fields": [{"name": "next", "type": ["null", "L"]}]}"#;
        all.insert("/schemas/ids/5".to_owned(), schema("AVRO", list));
        all.insert("/schemas/ids/6".to_owned(), schema("PROTOBUF", &descriptor()));
        all.insert(format!("/schemas/guids/{}", guid(&identifier)), schema("AVRO", LOGIN));
    }
    let url = serve(answers).await;
    let plain = |value: &[u8]| record(value, Headers::new());
    let with_header = |name: &str, header: &[u8]| {
        let name = name.to_owned();
        record(b"\x06abc", Headers::new().with(name, Bytes::copy_from_slice(header)))
    };
    let by_guid = [&[1][..], &identifier].concat();
    let found = decoded(
        &url,
        vec![
            plain(b"\0\0\0\0\x01\x06abc"),
            // The message's place in the file: the second, and in it the first.
            plain(b"\0\0\0\0\x02\x04\x02\0\x0a\x03abc\x10\x07"),
            plain(b"\0\0\0\0\x03{\"summary\": 1}"),
            with_header(headers::VALUE_SCHEMA_ID, b"\0\0\0\0\x01"),
            with_header("kafka-header-__value_schema_id", &by_guid),
            plain(b"\0\0\0\0\x01\x80"),
            plain(b"\0\0\0\0\x02\x02\x09\x09"),
            plain(b"\0\0\0\0\x04x"),
            plain(b"\0\0\0\0\x05\x02\x00"),
            plain(b"\0\0\0\0\x09x"),
            with_header(headers::VALUE_SCHEMA_ID, b"\x07"),
            plain(b"\0\0\0\0\x06\0\x0a\x03abc"),
            plain(b"\0\0\0\0\x06\x02\x02\x0a\x03abc"),
        ],
    )
    .await;
    let good = |text: &str| Ok(Ok(text.to_owned()));
    let bad = |reason| Ok(Err(reason));
    assert_eq!(
        found,
        [
            good(r#"{"summary":"abc"}"#),
            good(r#"{"summary":"abc","n":7}"#),
            good(r#"{"summary": 1}"#),
            good(r#"{"summary":"abc"}"#),
            good(r#"{"summary":"abc"}"#),
            bad(Reason::SchemaMismatch),
            bad(Reason::SchemaMismatch),
            bad(Reason::UnknownSchema),
            bad(Reason::UnknownSchema),
            bad(Reason::UnknownSchema),
            bad(Reason::UnknownSchema),
            good(r#"{"summary":"abc"}"#),
            bad(Reason::SchemaMismatch),
        ]
    );
}

/// Random and mutated values behind real schemas: each is read or refused, none ends the stage. As many as
/// `MOZDEF_FUZZ_CASES` says.
#[tokio::test(flavor = "multi_thread")]
async fn hostile_values_are_read_or_refused() {
    let answers = Answers::default();
    {
        let mut all = answers.lock().unwrap();
        let wide = r#"{"type": "record", "name": "W", "fields": [
            {"name": "a", "type": ["null", {"type": "array", "items": {"type": "map", "values": "bytes"}}]},
            {"name": "b", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}},
            {"name": "c", "type": {"type": "enum", "name": "E", "symbols": ["X", "Y"]}},
            {"name": "d", "type": {"type": "fixed", "name": "F", "size": 12, "logicalType": "duration"}}]}"#;
        all.insert("/schemas/ids/1".to_owned(), schema("AVRO", wide));
        all.insert("/schemas/ids/2".to_owned(), schema("PROTOBUF", PROTO));
        all.insert("/schemas/ids/3".to_owned(), schema("PROTOBUF", &descriptor()));
    }
    let url = serve(answers).await;
    let config = RegistryConfig { urls: vec![url], ..RegistryConfig::default() };
    let mut registry = Registry::new(&config).unwrap();
    let cases =
        std::env::var("MOZDEF_FUZZ_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(100_000_u64);
    let seeds: [&[u8]; 3] = [
        b"\x02\x02\x02\x02a\x04xy\0\0\x04\x01\x02\0abcdefghijkl",
        b"\x04\x02\0\x0a\x03abc\x10\x07",
        b"\0\x0a\x03abc",
    ];
    let counts = tokio::task::spawn_blocking(move || {
        let (mut state, mut counts) = (0x9e37_79b9_7f4a_7c15_u64, [0_u64; 2]);
        let mut random = move |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state % below as u64) as usize
        };
        for _ in 0..cases {
            let kind = random(3);
            let mut value = vec![0, 0, 0, 0, kind as u8 + 1];
            value.extend_from_slice(seeds[kind]);
            for _ in 0..random(6) {
                let place = 5 + random(value.len() - 4);
                match random(3) {
                    0 if place < value.len() => value[place] = random(256) as u8,
                    1 => value.insert(place, random(256) as u8),
                    _ => value.truncate(place.max(5)),
                }
            }
            let read = registry.decode(&record(&value, Headers::new())).unwrap().unwrap();
            if let Ok(json) = &read {
                assert!(serde_json::from_slice::<serde_json::Value>(json).is_ok(), "{value:?}");
            }
            counts[usize::from(read.is_ok())] += 1;
        }
        counts
    })
    .await
    .unwrap();
    assert!(counts.iter().all(|count| *count > cases / 20), "{counts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_fails_is_waited_for_and_never_costs_a_value() {
    let answers = Answers::default();
    let url = serve(answers.clone()).await;
    let value = || vec![record(b"\0\0\0\0\x01\x06abc", Headers::new())];
    for status in [500, 503, 401, 403, 429] {
        let body = r#"{"error_code": 1, "message": "not now"}"#.to_owned();
        answers.lock().unwrap().insert("/schemas/ids/1".to_owned(), (status, body));
        let found = decoded(&url, value()).await;
        let why = found[0].as_ref().unwrap_err();
        assert!(why.contains(&url) && why.contains(&status.to_string()), "{why}");
    }
    let gone = decoded("http://127.0.0.1:1", value()).await;
    assert!(gone[0].as_ref().unwrap_err().contains("127.0.0.1:1"), "{gone:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_failed_once_is_asked_for_again() {
    let answers = Answers::default();
    let url = serve(answers.clone()).await;
    let config = RegistryConfig { urls: vec![url], timeout_ms: 1000, ..RegistryConfig::default() };
    let mut registry = Registry::new(&config).unwrap();
    let body = r#"{"error_code": 1, "message": "not now"}"#.to_owned();
    answers.lock().unwrap().insert("/schemas/ids/1".to_owned(), (500, body));
    let value = record(b"\0\0\0\0\x01\x06abc", Headers::new());
    let (mut registry, value, first) = tokio::task::spawn_blocking(move || {
        let first = registry.decode(&value);
        (registry, value, first)
    })
    .await
    .unwrap();
    assert!(first.is_err(), "{first:?}");
    answers.lock().unwrap().insert("/schemas/ids/1".to_owned(), schema("AVRO", LOGIN));
    let second = tokio::task::spawn_blocking(move || registry.decode(&value)).await.unwrap();
    assert_eq!(second.unwrap().unwrap().unwrap(), br#"{"summary":"abc"}"#);
}

#[test]
fn only_values_of_kafkas_producers_name_schemas() {
    let framed = |value: &[u8], input: Option<&'static str>| {
        let all = input.map_or_else(Headers::new, |input| Headers::new().with(headers::INPUT, input));
        is_framed(&record(value, all))
    };
    assert!(framed(b"\0\0\0\0\x01x", None) && framed(b"\0\0\0\0\x01x", Some("kafka")));
    assert!(!framed(b"\0\0\0\0\x01x", Some("http")) && !framed(b"{}", None));
}
