//! Requests and their answers, through a socket.

use std::io::Write;

use bytes::Bytes;
use model::config::{Auth, EventLimits, HttpConfig};
use model::ids::EventId;
use model::topic::Topic;
use stream::record::NewRecord;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::gateway::Gateway;
use crate::memory_log::Mode;

fn values(records: &[NewRecord]) -> Vec<&str> {
    records.iter().map(|record| std::str::from_utf8(&record.value).unwrap()).collect()
}

fn header<'r>(record: &'r NewRecord, name: &str) -> &'r str {
    record.headers.get_str(name).unwrap_or("-")
}

#[tokio::test]
async fn an_event_is_in_the_log_as_it_came_with_what_is_known_of_it() {
    let gateway = Gateway::start(HttpConfig::default()).await;
    let body = " {\"summary\" : \"caf\u{e9}\", \"n\":1e309}\r\n";
    let answer = gateway.ask("POST", "/cef/", &[("X-MozDef-Backfill", "1")], body).await;
    assert_eq!((answer.status, answer.content_type.as_str(), answer.body.as_str()), (200, "text/html", ""));
    let [record] = &gateway.log.take(Topic::Raw)[..] else { panic!("one record") };
    assert_eq!(record.value, body.trim());
    assert_eq!((record.partition, &record.key), (None, &Bytes::new()));
    let names =
        ["received", "input", "principal", "peer", "endpoint", "customendpoint", "content-type", "backfill"];
    let got: Vec<_> = names.iter().map(|name| header(record, name)).collect();
    assert_eq!(got, ["1718000000000", "http", "anonymous", "127.0.0.1", "cef", "-", "-", "1"]);
}

#[tokio::test]
async fn batches_of_every_form_are_taken_event_by_event() {
    let gateway = Gateway::start(HttpConfig::default()).await;
    for body in ["[{\"a\":1},{\"b\":2}]", "{\"a\":1}\n{\"b\":2}\n", "{\"a\":1}{\"b\":2}"] {
        for path in ["/events", "/nxlog/", "/custom/app", "/_bulk"] {
            let answer = gateway.post(path, body).await;
            assert_eq!((answer.status, answer.body.as_str()), (200, ""), "{path} {body}");
            let records = gateway.log.take(Topic::Raw);
            assert_eq!(values(&records), ["{\"a\":1}", "{\"b\":2}"], "{path} {body}");
        }
    }
    assert_eq!(gateway.post("/events", "[]").await.status, 200);
    assert!(gateway.log.take(Topic::Raw).is_empty());
}

#[tokio::test]
async fn syslog_lines_are_taken_line_by_line() {
    let gateway = Gateway::start(HttpConfig::default()).await;
    let body = b"<13>Oct 27 14:01:12 host a\r\n\n   \nno priority \xff {\"json\":1}\n";
    let answer = gateway.ask("POST", "/events", &[("content-type", "text/x-syslog")], &body[..]).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, ""));
    let records = gateway.log.take(Topic::Raw);
    assert_eq!(records.len(), 2);
    assert_eq!(records[0].value, "<13>Oct 27 14:01:12 host a");
    assert_eq!(records[1].value, &b"no priority \xff {\"json\":1}"[..]);
    assert_eq!(header(&records[0], "content-type"), "text/x-syslog");
}

#[tokio::test]
async fn of_a_batch_with_bad_lines_the_good_ones_are_taken_and_the_bad_ones_kept() {
    let gateway = Gateway::start(HttpConfig::default()).await;
    let body = "{\"a\":1}\n\nbroken line\n{\"b\":2}\n5\n";
    let answer = gateway.ask("POST", "/events", &[("Idempotency-Key", "k")], body).await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.json(),
        serde_json::json!({"accepted": 2, "errors": [
            {"line": 3, "byte": 9, "reason": "malformed_json", "detail": answer.json()["errors"][0]["detail"]},
            {"line": 5, "byte": 29, "reason": "not_an_object", "detail": "the top level is not an object"},
        ]})
    );
    let raw = gateway.log.take(Topic::Raw);
    let dead = gateway.log.take(Topic::Dead);
    assert_eq!((values(&raw), values(&dead)), (vec!["{\"a\":1}", "{\"b\":2}"], vec!["broken line", "5"]));
    let got: Vec<_> = ["stage", "reason", "version", "client-id", "item", "endpoint"]
        .map(|name| header(&dead[0], name))
        .into();
    assert_eq!(got, ["gateway", "malformed_json", env!("CARGO_PKG_VERSION"), "k", "1", "events"]);
    let id = EventId::from_client("anonymous", "http", b"k", 1).to_string();
    assert_eq!((header(&dead[0], "event-id"), &dead[0].key[..]), (id.as_str(), id.as_bytes()));
}

#[tokio::test]
async fn a_body_without_one_good_event_is_refused_and_not_kept() {
    let gateway = Gateway::start(HttpConfig::default()).await;
    for (body, byte, reason) in [
        ("", 0, "empty"),
        (" \n ", 0, "empty"),
        ("{\"summary\": nope}", 12, "malformed_json"),
        ("5", 0, "not_an_object"),
        ("[1, 2]", 1, "not_an_object"),
        ("[{\"a\":1},{\"b\":}]", 14, "malformed_json"),
        ("x\ny", 0, "malformed_json"),
    ] {
        for path in ["/events", "/cef", "/custom/x"] {
            let answer = gateway.post(path, body).await;
            assert_eq!((answer.status, answer.content_type.as_str()), (400, "application/json"), "{body}");
            let json = answer.json();
            assert_eq!(
                (json["byte"].as_u64(), json["reason"].as_str()),
                (Some(byte), Some(reason)),
                "{json}"
            );
            let words = json["error"].as_str().unwrap();
            assert!(words.contains(&format!("byte {byte}")), "{words}");
        }
    }
    assert!(gateway.log.take(Topic::Raw).is_empty() && gateway.log.take(Topic::Dead).is_empty());
}

#[tokio::test]
async fn a_clients_own_id_goes_along() {
    let gateway = Gateway::start(HttpConfig::default()).await;
    gateway.ask("POST", "/events", &[("Idempotency-Key", "k")], "[{\"a\":1},{\"b\":2}]").await;
    let records = gateway.log.take(Topic::Raw);
    let got: Vec<_> =
        records.iter().map(|r| (&r.key[..], header(r, "client-id"), header(r, "item"))).collect();
    assert_eq!(got, [(&b"k"[..], "k", "0"), (&b"k"[..], "k", "1")]);
    let long = "k".repeat(256);
    for (name, value) in
        [("Idempotency-Key", ""), ("Idempotency-Key", long.as_str()), ("X-MozDef-Backfill", "yes")]
    {
        let answer = gateway.ask("POST", "/events", &[(name, value)], "{}").await;
        assert!(answer.status == 400 && answer.body.contains(name), "{name} {value}: {}", answer.body);
    }
}

#[tokio::test]
async fn an_opensearch_client_gets_its_own_reply() {
    let gateway = Gateway::start(HttpConfig::default()).await;
    let body = "{\"index\":{\"_index\":\"logs\",\"_id\":\"7\"}}\n{\"a\":1}\n{\"create\":{}}\n{\"b\":2}\n\
                {\"index\":{}}\nbroken\n{\"delete\":{\"_id\":\"9\"}}\n";
    let answer = gateway.ask("PUT", "/_bulk", &[("content-type", "application/x-ndjson")], body).await;
    assert_eq!((answer.status, answer.content_type.as_str()), (200, "application/json"));
    let reply = answer.json();
    assert_eq!(reply["errors"], true);
    let items = reply["items"].as_array().unwrap();
    assert_eq!(items.len(), 4);
    assert_eq!((&items[0]["index"]["_index"], &items[0]["index"]["_id"]), (&"logs".into(), &"7".into()));
    assert_eq!(
        (&items[0]["index"]["status"], &items[0]["index"]["result"]),
        (&201.into(), &"created".into())
    );
    let id = EventId::from_position("memory", "mozdef.raw", 0, 1, 0).to_string();
    assert_eq!((&items[1]["create"]["_index"], &items[1]["create"]["_id"]), (&"events".into(), &id.into()));
    assert_eq!(items[2]["index"]["status"], 400);
    assert_eq!(items[3]["delete"]["status"], 400);
    let raw = gateway.log.take(Topic::Raw);
    assert_eq!(values(&raw), ["{\"a\":1}", "{\"b\":2}"]);
    let got: Vec<_> =
        raw.iter().map(|r| ["input", "client-id", "item", "endpoint"].map(|n| header(r, n))).collect();
    assert_eq!(got, [["bulk", "logs/7", "-", "-"], ["http", "-", "-", "-"]]);
    assert_eq!(values(&gateway.log.take(Topic::Dead)), ["broken"]);

    let answer = gateway.post("/_bulk", "{\"index\":{}}\nbroken\n").await;
    assert_eq!((answer.status, &answer.json()["errors"]), (200, &true.into()));
    assert_eq!(values(&gateway.log.take(Topic::Dead)), ["broken"]);
}

#[tokio::test]
async fn what_is_too_short_for_bulk_is_answered_as_ever_but_kept() {
    let gateway = Gateway::start(HttpConfig::default()).await;
    for (body, dead) in [("", vec![]), ("short", vec!["short"])] {
        let answer = gateway.post("/_bulk", body).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, ""), "{body}");
        assert_eq!(values(&gateway.log.take(Topic::Dead)), dead);
    }
    assert_eq!(gateway.post("/_bulk", "5").await.status, 400);
    assert_eq!(gateway.post("/_bulk", "not so short").await.status, 400);
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn bodies_may_be_compressed_within_the_limit() {
    let gateway = Gateway::start(HttpConfig { body_bytes_max: 100_000, ..HttpConfig::default() }).await;
    let plain = "{\"a\":1}\n".repeat(1000);
    let zstd = zstd::stream::encode_all(plain.as_bytes(), 3).unwrap();
    for (encoding, body) in [("gzip", gzip(plain.as_bytes())), ("zstd", zstd)] {
        let answer = gateway.ask("POST", "/events", &[("content-encoding", encoding)], body).await;
        assert_eq!(answer.status, 200, "{encoding} {}", answer.body);
        assert_eq!(gateway.log.take(Topic::Raw).len(), 1000);
    }
    let bomb = gzip(&b" ".repeat(50_000_000));
    assert!(bomb.len() < 300_000);
    let answer = gateway.ask("POST", "/events", &[("content-encoding", "gzip")], bomb).await;
    assert_eq!(answer.status, 413, "{}", answer.body);
    let answer = gateway.ask("POST", "/events", &[("content-encoding", "gzip")], "{}").await;
    assert!(answer.status == 400 && answer.body.contains("gzip"), "{}", answer.body);
    let answer = gateway.ask("POST", "/events", &[("content-encoding", "br")], "{}").await;
    assert!(answer.status == 415 && answer.body.contains("zstd"), "{}", answer.body);
}

#[tokio::test]
async fn types_without_text_are_refused_others_are_looked_at() {
    let gateway = Gateway::start(HttpConfig::default()).await;
    for (content_type, status) in [
        ("application/json; charset=utf-8", 200),
        ("text/plain", 200),
        ("application/octet-stream", 200),
        ("multipart/form-data; boundary=x", 415),
        ("image/png", 415),
    ] {
        let answer = gateway.ask("POST", "/events", &[("content-type", content_type)], "{\"a\":1}").await;
        assert_eq!(answer.status, status, "{content_type} {}", answer.body);
    }
    gateway.log.take(Topic::Raw);
    let form = ("content-type", "application/x-www-form-urlencoded");
    assert_eq!(gateway.ask("POST", "/events", &[form], "payload=%7B%22a%22%3A1%7D").await.status, 200);
    assert_eq!(values(&gateway.log.take(Topic::Raw)), ["{\"a\":1}"]);
}

#[tokio::test]
async fn a_body_over_the_limit_is_answered_while_it_is_sent() {
    let gateway = Gateway::start(HttpConfig { body_bytes_max: 10_000, ..HttpConfig::default() }).await;
    let answer = gateway.post("/events", vec![b' '; 50_000_000]).await;
    assert!(answer.status == 413 && answer.body.contains("10000 bytes"), "{}", answer.body);
    let many = "{}".repeat(100_001);
    let wide = Gateway::start(HttpConfig::default()).await;
    let answer = wide.post("/events", many).await;
    assert!(answer.status == 413 && answer.body.contains("100000 events"), "{}", answer.body);
    assert!(wide.log.take(Topic::Raw).is_empty());
}

#[tokio::test]
async fn without_the_log_senders_are_told_to_come_back() {
    let config = HttpConfig { ack_timeout_ms: 100, requests_in_flight_max: 1, ..HttpConfig::default() };
    let gateway = Gateway::start(config).await;
    for mode in [Mode::Away, Mode::Full, Mode::Hangs] {
        gateway.log.set(mode);
        let answer = gateway.post("/events", "{\"a\":1}").await;
        assert_eq!((answer.status, answer.retry_after.as_deref()), (503, Some("5")), "{mode:?}");
        assert!(answer.json()["error"].as_str().unwrap().ends_with("try again"), "{}", answer.body);
    }
    gateway.log.set(Mode::Keeps);
    assert_eq!(gateway.post("/events", "{\"a\":1}").await.status, 200);
    assert_eq!(gateway.log.take(Topic::Raw).len(), 1);
}

#[tokio::test]
async fn more_requests_than_may_wait_are_turned_away() {
    let config = HttpConfig { ack_timeout_ms: 25_000, requests_in_flight_max: 1, ..HttpConfig::default() };
    let gateway = std::sync::Arc::new(Gateway::start(config).await);
    gateway.log.set(Mode::Hangs);
    let first = tokio::spawn({
        let gateway = gateway.clone();
        async move { gateway.post("/events", "{\"a\":1}").await.status }
    });
    loop {
        gateway.log.set(Mode::Hangs);
        let second =
            tokio::time::timeout(std::time::Duration::from_millis(50), gateway.post("/events", "{}")).await;
        // Until the first one waits, the second does, and is given up here.
        if let Ok(answer) = second {
            assert_eq!((answer.status, answer.retry_after.as_deref()), (503, Some("1")));
            break;
        }
    }
    first.abort();
}

#[tokio::test]
async fn a_token_opens_the_gateway_and_names_the_sender() {
    const DIGEST: &str = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";
    let tokens = std::collections::BTreeMap::from([("web".to_owned(), DIGEST.to_owned())]);
    let gateway = Gateway::start(HttpConfig { auth: Auth::Token, tokens, ..HttpConfig::default() }).await;
    let answer = gateway.post("/events", "{}").await;
    assert!(answer.status == 401 && answer.body.contains("Bearer"), "{}", answer.body);
    assert_eq!(gateway.ask("POST", "/events", &[("authorization", "Bearer wrong")], "{}").await.status, 401);
    assert_eq!(gateway.ask("POST", "/events", &[("authorization", "Bearer secret")], "{}").await.status, 200);
    assert_eq!(header(&gateway.log.take(Topic::Raw)[0], "principal"), "web");
    assert_eq!(gateway.ask("GET", "/status", &[], "").await.status, 200);
}

#[tokio::test]
async fn events_keep_to_their_own_limits() {
    let event = EventLimits { bytes_max: 1024, depth_max: 5, fields_max: 20 };
    let gateway = Gateway::start(HttpConfig { event, ..HttpConfig::default() }).await;
    let long = format!("{{\"a\":\"{}\"}}", "x".repeat(1024));
    let deep = format!("{}1{}", "{\"a\":".repeat(10_000), "}".repeat(10_000));
    let wide = format!("{{{}}}", (0..21).map(|n| format!("\"k{n}\":0")).collect::<Vec<_>>().join(","));
    for (body, reason) in [(&long, "too_large"), (&deep, "too_deep"), (&wide, "too_many_fields")] {
        let answer = gateway.post("/events", body.clone()).await;
        assert_eq!((answer.status, answer.json()["reason"].as_str()), (400, Some(reason)));
        let answer = gateway.post("/events", format!("{body}\n{{\"ok\":1}}")).await;
        assert_eq!((answer.status, &answer.json()["accepted"]), (200, &1.into()), "{reason}");
        assert_eq!(values(&gateway.log.take(Topic::Dead)), [body.as_str()]);
    }
}

#[tokio::test]
async fn requests_that_have_begun_are_finished_at_shutdown() {
    let gateway = Gateway::start(HttpConfig::default()).await;
    let mut stream = tokio::net::TcpStream::connect(gateway.address).await.unwrap();
    stream
        .write_all(b"POST /events HTTP/1.1\r\nHost: x\r\nContent-Length: 7\r\nExpect: 100-continue\r\n\r\n")
        .await
        .unwrap();
    let mut go_on = [0_u8; 25];
    stream.read_exact(&mut go_on).await.unwrap();
    assert!(go_on.starts_with(b"HTTP/1.1 100 Continue"));
    gateway.trigger.fire();
    stream.write_all(b"{\"a\":1}").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    gateway.running.await.unwrap();
    assert_eq!(gateway.log.take(Topic::Raw).len(), 1);
    assert!(tokio::net::TcpStream::connect(gateway.address).await.is_err());
}

#[test]
fn an_open_gateway_is_refused_with_the_setting() {
    let open = HttpConfig { listen: "0.0.0.0:1".parse().unwrap(), ..HttpConfig::default() };
    assert!(ingest::http::check(&open).unwrap_err().to_string().contains("auth: none"));
}
