//! Requests as shippers send them: the wire requests that their documentation and sources give.

use std::collections::BTreeMap;
use std::io::Write;

use model::config::{
    Auth, GithubConfig, HttpConfig, ProxiesConfig, ProxyProtocol, QuotaConfig, SourceConfig,
};
use model::ids::EventId;
use model::topic::Topic;
use stream::record::NewRecord;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::gateway::Gateway;

/// SHA-256 of `secret`.
const SECRET: &str = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";

fn values(records: &[NewRecord]) -> Vec<&str> {
    records.iter().map(|record| std::str::from_utf8(&record.value).unwrap()).collect()
}

fn header<'r>(record: &'r NewRecord, name: &str) -> &'r str {
    record.headers.get_str(name).unwrap_or("-")
}

fn with_token() -> HttpConfig {
    let tokens = BTreeMap::from([("web".to_owned(), SECRET.to_owned())]);
    HttpConfig { auth: Auth::Token, tokens, ..HttpConfig::default() }
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn fluent_bit_sends_bulk_requests_and_finds_no_errors() {
    let gateway = Gateway::start(with_token()).await;
    let body = "{\"create\":{\"_index\":\"fluent-bit\",\"_id\":\"78e41c8e-0a5c-a2c2-6b8f-ffffb0cbd1aa\"}}\n\
                {\"@timestamp\":\"2026-11-25T12:00:00.000Z\",\"log\":\"one\"}\n";
    let head = [
        ("user-agent", "Fluent-Bit"),
        ("content-type", "application/x-ndjson"),
        // user mozdef, password secret
        ("authorization", "Basic bW96ZGVmOnNlY3JldA=="),
        ("content-encoding", "gzip"),
    ];
    let answer = gateway.ask("POST", "/_bulk", &head, gzip(body.as_bytes())).await;
    assert_eq!((answer.status, &answer.json()["errors"]), (200, &false.into()));
    assert_eq!(answer.json()["items"][0]["create"]["status"], 201);
    let records = gateway.log.take(Topic::Raw);
    let got = ["principal", "client-id", "bulk-index"].map(|name| header(&records[0], name));
    assert_eq!(got, ["web", "fluent-bit/78e41c8e-0a5c-a2c2-6b8f-ffffb0cbd1aa", "fluent-bit"]);
}

#[tokio::test]
async fn vector_asks_for_health_and_version_with_its_credentials() {
    let gateway = Gateway::start(with_token()).await;
    let good = [("user-agent", "Vector/0.42.0"), ("authorization", "Basic bW96ZGVmOnNlY3JldA==")];
    let bad = [("user-agent", "Vector/0.42.0"), ("authorization", "Basic bW96ZGVmOndyb25n")];
    for path in ["/_cluster/health", "/"] {
        assert_eq!(gateway.ask("GET", path, &good, "").await.status, 200, "{path}");
        assert_eq!(gateway.ask("GET", path, &bad, "").await.status, 401, "{path}");
    }
    assert_eq!(gateway.ask("GET", "/", &good, "").await.json()["version"]["distribution"], "opensearch");
    assert_eq!(gateway.ask("GET", "/_cluster/health", &[], "").await.status, 401);
    let body = "{\"index\":{\"_index\":\"vector-2026.11.25\"}}\n{\"message\":\"m\"}\n";
    let answer = gateway.ask("POST", "/_bulk?timeout=60s", &good, body).await;
    assert_eq!((answer.status, &answer.json()["errors"]), (200, &false.into()));
    assert_eq!(values(&gateway.log.take(Topic::Raw)), ["{\"message\":\"m\"}"]);
}

#[tokio::test]
async fn logstash_and_filebeat_meet_elasticsearch_and_find_their_templates() {
    let gateway = Gateway::start(HttpConfig::default()).await;
    for agent in ["Elastic/8.15.0 (Linux; Java 21; logstash)", "Elastic-filebeat/8.15.0 (linux; amd64; x; y)"]
    {
        let head = [("user-agent", agent)];
        for (method, path, status) in [
            ("GET", "/", 200),
            ("HEAD", "/", 200),
            ("GET", "/_license", 200),
            ("GET", "/_nodes/http", 200),
            ("HEAD", "/_index_template/ecs-logstash", 200),
            ("PUT", "/_index_template/ecs-logstash", 200),
            ("GET", "/_ilm/policy/logstash-policy", 200),
            ("HEAD", "/logstash", 200),
            ("PUT", "/filebeat-8.15.0-2026.11.25-000001", 200),
            ("GET", "/_search", 404),
        ] {
            let url = format!("http://{}{path}", gateway.address);
            let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
            let request = gateway.http.request(method.clone(), url).header("user-agent", agent);
            let response = request.body("").send().await.unwrap();
            assert_eq!(response.status(), status, "{agent} {method} {path}");
            let product = response.headers().get("x-elastic-product").map(|value| value.to_str().unwrap());
            assert_eq!(product, (status == 200).then_some("Elasticsearch"), "{agent} {method} {path}");
        }
        let body = "{\"index\":{\"_index\":\"x\"}}\n{\"message\":\"m\"}\n";
        let path = "/_bulk?filter_path=errors,items.*.error,items.*.status";
        let answer = gateway.ask("POST", path, &head, body).await;
        assert_eq!((answer.status, &answer.json()["errors"]), (200, &false.into()));
    }
}

#[tokio::test]
async fn documents_have_an_index_in_their_path() {
    let gateway = Gateway::start(HttpConfig::default()).await;
    let answer = gateway
        .post("/logs/_bulk", "{\"create\":{}}\n{\"a\":1}\n{\"index\":{\"_index\":\"x\"}}\n{\"b\":2}\n")
        .await;
    let items = answer.json()["items"].clone();
    assert_eq!((&items[0]["create"]["_index"], &items[1]["index"]["_index"]), (&"logs".into(), &"x".into()));
    assert_eq!(gateway.post("/logs/doc/_bulk", "{\"index\":{}}\n{\"c\":3}\n").await.status, 200);
    let answer = gateway.post("/logs/_doc", "{\"d\":4}").await;
    assert_eq!(
        (answer.status, &answer.json()["result"], &answer.json()["_index"]),
        (201, &"created".into(), &"logs".into())
    );
    let answer = gateway.ask("PUT", "/logs/_create/7", &[], "{\"e\":5}").await;
    assert_eq!((answer.status, &answer.json()["_id"]), (201, &"7".into()));
    let records = gateway.log.take(Topic::Raw);
    assert_eq!(values(&records), ["{\"a\":1}", "{\"b\":2}", "{\"c\":3}", "{\"d\":4}", "{\"e\":5}"]);
    assert_eq!((header(&records[4], "client-id"), header(&records[4], "input")), ("logs/7", "bulk"));
    for (path, body, words) in [
        ("/logs/_doc", "{\"a\":1}\n{\"b\":2}", "one document"),
        ("/logs/_doc", "{broken", "malformed"),
        ("/logs/_doc", "", "empty"),
        ("/logs/_bulk", "nonsense that is long", "line 1"),
    ] {
        let answer = gateway.post(path, body).await;
        assert_eq!((answer.status, &answer.json()["status"]), (400, &400.into()), "{path} {body}");
        let reason = answer.json()["error"]["reason"].as_str().unwrap().to_owned();
        assert!(reason.contains(words) || words == "malformed", "{reason}");
    }
    assert!(gateway.log.take(Topic::Raw).is_empty() && gateway.log.take(Topic::Dead).is_empty());
}

const CHANNEL: (&str, &str) = ("x-splunk-request-channel", "FE0ECFAD-13D5-401B-847D-77833BD77131");
const TOKEN: (&str, &str) = ("authorization", "Splunk secret");

#[tokio::test]
async fn splunks_events_are_taken_and_acknowledged() {
    let gateway = Gateway::start(with_token()).await;
    let body = "{\"time\":1,\"host\":\"h\",\"event\":\"a\"}{\"event\":{\"b\":2}}\n";
    let answer = gateway.ask("POST", "/services/collector/event", &[TOKEN], body).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, r#"{"text":"Success","code":0}"#));
    let records = gateway.log.take(Topic::Raw);
    assert_eq!(values(&records), [r#"{"time":1,"host":"h","event":"a"}"#, r#"{"event":{"b":2}}"#]);
    assert_eq!((header(&records[0], "input"), header(&records[0], "principal")), ("hec", "web"));

    // `curl -d` says that this is a form.
    let form = ("content-type", "application/x-www-form-urlencoded");
    let path = "/services/collector/raw?host=web%201&sourcetype=access";
    let answer = gateway.ask("POST", path, &[TOKEN, CHANNEL, form], "one=1&two\n\nthree\n").await;
    let id = answer.json()["ackId"].as_u64().unwrap();
    let records = gateway.log.take(Topic::Raw);
    assert_eq!(values(&records), ["one=1&two", "three"]);
    let got = ["input", "hec-host", "hec-sourcetype"].map(|name| header(&records[1], name));
    assert_eq!(got, ["hec-raw", "web 1", "access"]);
    let ask = format!("{{\"acks\":[{id},{}]}}", id + 4096);
    let answer = gateway.ask("POST", "/services/collector/ack", &[TOKEN, CHANNEL], ask).await;
    assert_eq!(
        answer.json()["acks"],
        serde_json::json!({id.to_string(): true, (id + 4096).to_string(): false})
    );
    let health = gateway.ask("GET", "/services/collector/health", &[], "").await;
    assert_eq!((health.status, &health.json()["code"]), (200, &17.into()));
}

#[tokio::test]
async fn splunks_clients_are_told_in_splunks_numbers() {
    let gateway = Gateway::start(with_token()).await;
    let (event, ack) = ("/services/collector", "/services/collector/ack");
    for (path, head, body, status, code) in [
        (event, vec![], "{\"event\":1}", 401, 2),
        (event, vec![("authorization", "secret")], "{\"event\":1}", 401, 3),
        (event, vec![("authorization", "Splunk wrong")], "{\"event\":1}", 403, 4),
        (event, vec![TOKEN], "", 400, 5),
        (event, vec![TOKEN], "{\"event\":", 400, 6),
        (event, vec![TOKEN], "{\"a\":1}", 400, 12),
        (event, vec![TOKEN], "{\"event\":\"\"}", 400, 13),
        (event, vec![TOKEN], "{\"event\":1,\"fields\":{\"a\":{}}}", 400, 15),
        ("/services/collector?token=secret", vec![], "{\"event\":1}", 400, 16),
        (event, vec![TOKEN, ("x-splunk-request-channel", "me")], "{\"event\":1}", 400, 11),
        (ack, vec![TOKEN], "{\"acks\":[1]}", 400, 10),
        (ack, vec![TOKEN, CHANNEL], "{}", 400, 6),
        (ack, vec![CHANNEL], "{\"acks\":[1]}", 401, 2),
    ] {
        let answer = gateway.ask("POST", path, &head, body).await;
        assert_eq!(
            (answer.status, &answer.json()["code"]),
            (status, &code.into()),
            "{path} {body} {}",
            answer.body
        );
    }
    assert!(gateway.log.take(Topic::Raw).is_empty() && gateway.log.take(Topic::Dead).is_empty());
    let answer = gateway.ask("POST", event, &[TOKEN], "{\"event\":1}\n{\"a\":1}\n{\"event\":2}").await;
    let json = answer.json();
    assert_eq!(
        (answer.status, &json["code"], &json["rejected"], &json["invalid-event-number"]),
        (200, &0.into(), &1.into(), &1.into())
    );
    assert_eq!(gateway.log.take(Topic::Raw).len(), 2);
    assert_eq!(values(&gateway.log.take(Topic::Dead)), ["{\"a\":1}"]);
}

#[tokio::test]
async fn collectors_of_opentelemetry_send_log_records() {
    let gateway = Gateway::start(HttpConfig::default()).await;
    let body = r#"{"resourceLogs":[{"resource":{"attributes":[]},"scopeLogs":[{"scope":{"name":"s"},
        "logRecords":[{"body":{"stringValue":"x"}},{"body":{"stringValue":"y"}}]}]}]}"#;
    let json = ("content-type", "application/json");
    let answer =
        gateway.ask("POST", "/v1/logs", &[json, ("content-encoding", "gzip")], gzip(body.as_bytes())).await;
    assert_eq!(
        (answer.status, answer.body.as_str(), answer.content_type.as_str()),
        (200, "{}", "application/json")
    );
    let records = gateway.log.take(Topic::Raw);
    assert_eq!(values(&records), [r#"{"body":{"stringValue":"x"}}"#, r#"{"body":{"stringValue":"y"}}"#]);
    let got = ["input", "content-type", "otlp-resource", "otlp-scope"].map(|name| header(&records[1], name));
    assert_eq!(got, ["otlp", "application/json", r#"{"attributes":[]}"#, r#"{"name":"s"}"#]);

    let bad = r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"a":1},7]}]}]}"#;
    let answer = gateway.ask("POST", "/v1/logs", &[json], bad).await;
    assert_eq!((answer.status, &answer.json()["partialSuccess"]["rejectedLogRecords"]), (200, &"1".into()));
    assert_eq!(values(&gateway.log.take(Topic::Dead)), ["7"]);
    let answer = gateway.ask("POST", "/v1/logs", &[json], "{").await;
    assert_eq!((answer.status, &answer.json()["code"]), (400, &3.into()));
    assert_eq!(gateway.ask("POST", "/v1/logs", &[("content-type", "text/plain")], "x").await.status, 415);
    gateway.log.take(Topic::Raw);

    let protobuf = ("content-type", "application/x-protobuf");
    let message = |number: u8, inner: &[u8]| [&[number << 3 | 2, inner.len() as u8], inner].concat();
    let record = message(3, b"INFO");
    let body = message(1, &message(2, &[message(2, &record), message(2, b"\xff")].concat()));
    let answer = gateway.ask("POST", "/v1/logs", &[protobuf], body).await;
    assert_eq!((answer.status, answer.content_type.as_str()), (200, "application/x-protobuf"));
    assert!(
        answer.body.starts_with("\u{a}") && answer.body.contains("kept as dead letters"),
        "{:?}",
        answer.body
    );
    assert_eq!(gateway.log.take(Topic::Raw)[0].value, record);
    let answer = gateway.ask("POST", "/v1/logs", &[protobuf], "\u{7f}\u{7f}").await;
    assert_eq!((answer.status, answer.content_type.as_str()), (400, "application/x-protobuf"));
}

#[tokio::test]
async fn github_is_believed_by_its_signature() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "It's a Secret to Everybody").unwrap();
    let hook = GithubConfig {
        path: "/github/acme".to_owned(),
        secret_file: Some(secret),
        ..GithubConfig::default()
    };
    let github = BTreeMap::from([("acme".to_owned(), hook)]);
    let gateway = Gateway::start(HttpConfig { github, ..with_token() }).await;
    // HMAC-SHA256 of {"zen":"x"}, and of a form that holds it.
    let signed = [
        ("x-github-event", "ping"),
        ("x-github-delivery", "72d3162e"),
        ("content-type", "application/json"),
        ("x-hub-signature-256", "sha256=eb1372a523dc74783f89c0f177a5ab15fc608b4720b33e697cee863f8b0d0d51"),
    ];
    let answer = gateway.ask("POST", "/github/acme", &signed, "{\"zen\":\"x\"}").await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let records = gateway.log.take(Topic::Raw);
    let got = ["input", "principal", "client-id", "github-event"].map(|name| header(&records[0], name));
    assert_eq!(got, ["github", "acme", "72d3162e", "ping"]);
    let id = EventId::from_client("acme", "github", b"72d3162e", 0);
    assert_eq!((&records[0].key[..], id.hex().as_str().len()), (&b"72d3162e"[..], 32));
    let answer = gateway.ask("POST", "/github/acme", &signed, "{\"zen\":\"y\"}").await;
    assert!(answer.status == 401 && answer.body.contains("does not fit"), "{}", answer.body);
    assert_eq!(gateway.ask("POST", "/github/acme", &signed[..3], "{\"zen\":\"x\"}").await.status, 401);
    let form = [
        signed[0],
        signed[1],
        ("content-type", "application/x-www-form-urlencoded"),
        ("x-hub-signature-256", "sha256=9e518bab52dd49be0a3cab84bf12fed8157f4905144554e29e99e7d137ca8e5c"),
    ];
    assert_eq!(
        gateway.ask("POST", "/github/acme", &form, "payload=%7B%22zen%22%3A%22x%22%7D").await.status,
        200
    );
    assert_eq!(values(&gateway.log.take(Topic::Raw)), ["{\"zen\":\"x\"}"]);
}

#[tokio::test]
async fn a_source_over_its_quota_is_told_when_to_come_back() {
    let quota = Some(QuotaConfig { events_per_second: Some(1), bytes_per_second: None });
    let source = SourceConfig { tokens: vec![SECRET.to_owned()], quota, ..SourceConfig::default() };
    let sources = BTreeMap::from([("web".to_owned(), source)]);
    let gateway = Gateway::start(HttpConfig { sources, auth: Auth::None, ..HttpConfig::default() }).await;
    let bearer = ("authorization", "Bearer secret");
    assert_eq!(gateway.ask("POST", "/events", &[bearer], "{}".repeat(15)).await.status, 200);
    let answer = gateway.ask("POST", "/events", &[bearer], "{}").await;
    assert_eq!((answer.status, answer.retry_after.as_deref()), (429, Some("6")), "{}", answer.body);
    let answer = gateway.ask("POST", "/services/collector", &[TOKEN], "{\"event\":1}").await;
    assert_eq!((answer.status, &answer.json()["code"]), (429, &9.into()));
    assert_eq!(gateway.post("/events", "{}").await.status, 200);
    assert_eq!(gateway.log.take(Topic::Raw).len(), 16);
}

#[tokio::test]
async fn proxies_say_who_the_client_is() {
    let addresses = vec!["127.0.0.1".to_owned()];
    let proxies = ProxiesConfig { addresses: addresses.clone(), by: ProxyProtocol::ForwardedFor };
    let gateway = Gateway::start(HttpConfig { proxies: Some(proxies), ..HttpConfig::default() }).await;
    gateway.ask("POST", "/events", &[("x-forwarded-for", "6.6.6.6, 192.0.2.7")], "{}").await;
    assert_eq!(header(&gateway.log.take(Topic::Raw)[0], "peer"), "192.0.2.7");

    let proxies = ProxiesConfig { addresses, by: ProxyProtocol::Proxy };
    let gateway = Gateway::start(HttpConfig { proxies: Some(proxies), ..HttpConfig::default() }).await;
    let request = b"POST /events HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Forwarded-For: 6.6.6.6\r\nContent-Length: 2\r\n\r\n{}";
    for (head, client) in [
        (&b"PROXY TCP4 192.0.2.8 198.51.100.1 1 2\r\n"[..], Some("192.0.2.8")),
        (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x09\x01\x02\x03\x04\0\x01\0\x02", Some("192.0.2.9")),
        (b"", None),
    ] {
        let mut stream = tokio::net::TcpStream::connect(gateway.address).await.unwrap();
        stream.write_all(&[head, request].concat()).await.unwrap();
        let mut answer = Vec::new();
        let ended = stream.read_to_end(&mut answer).await;
        let records = gateway.log.take(Topic::Raw);
        assert_eq!(records.first().map(|record| header(record, "peer")), client);
        assert_eq!(
            answer.starts_with(b"HTTP/1.1 200"),
            client.is_some(),
            "{ended:?} {}",
            String::from_utf8_lossy(&answer)
        );
    }
}
