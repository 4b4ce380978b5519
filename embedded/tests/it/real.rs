//! A real OpenSearch beside the embedded index: every call of the tests goes to both, and both must say the same.
//!
//! In: `MOZDEF_TEST_OPENSEARCH`, as `tests/servers/with opensearch` sets it. Out: what differs, as a failure.
//! Never: a comparison of words for people, or of what is each server's own.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

/// Parts of calls whose answers are each server's own: its clock, its handles, its numbering, the order of its shards.
const OWN_TO_EACH: [&str; 5] = ["now", "\"pit", "point_in_time", "if_seq_no", "\"_doc\""];

/// Parts of calls that are answered otherwise, and why; the page of deviations lists them.
const KNOWN: [(&str, &str); 9] = [
    ("/_reindex", "refused by name, whatever the method"),
    (r#""date_histogram":{"field":"n""#, "a date histogram of a number is refused by name"),
    (r#""include":"[ab]","exclude":["b"]"#, "a pattern and a list may be mixed"),
    (r#""filter": {}"#, "aliases with a filter are refused by name"),
    (r#""_id":"long""#, "a text beyond Lucene's limit is kept, but not searched"),
    (r#""values": ["long"]"#, "a text beyond Lucene's limit is kept, but not searched"),
    ("scroll=1m", "scrolling is refused by name"),
    (r#""type": "nested""#, "nested fields are refused by name"),
    (r#""unmapped_type": "long""#, "the sort value of what is missing is null"),
];

/// One test at a time has the server.
static TURN: Mutex<()> = Mutex::new(());

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// The server, emptied, for one test.
pub(crate) struct Real {
    address: String,
    _turn: MutexGuard<'static, ()>,
}

impl Real {
    /// The server that the environment names, emptied; `None`, said loudly, where it names none.
    ///
    /// Panics where there is none and `MOZDEF_TEST_REQUIRE` names `opensearch`.
    pub(crate) fn from_environment() -> Option<Real> {
        let Ok(url) = std::env::var("MOZDEF_TEST_OPENSEARCH") else {
            let required = std::env::var("MOZDEF_TEST_REQUIRE").unwrap_or_default();
            assert!(
                !required.split(',').any(|name| name == "opensearch"),
                "MOZDEF_TEST_REQUIRE names opensearch"
            );
            eprintln!("SKIPPED (needs opensearch)");
            return None;
        };
        let address = url.trim_start_matches("http://").trim_end_matches('/').to_owned();
        // A test that failed has ended its turn; the server is emptied anyhow.
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let real = Real { address, _turn: turn };
        for path in ["/_index_template/*", "/*"] {
            let (status, reply) = real.call("DELETE", path, "");
            assert!(status == 200 || status == 404, "{path}: {status} {reply}");
        }
        Some(real)
    }

    /// Status and reply of a request.
    pub(crate) fn call(&self, method: &str, target: &str, body: &str) -> (u16, Value) {
        let target = encoded(target);
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let head = format!(
            "{method} {target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: {}\r\ncontent-length: {}\r\n\r\n",
            if target.contains("_bulk") || target.contains("_msearch") {
                "application/x-ndjson"
            } else {
                "application/json"
            },
            body.len()
        );
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let answer = String::from_utf8_lossy(&answer);
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split_whitespace().nth(1).unwrap().parse().unwrap();
        (status, serde_json::from_str(body).unwrap_or_else(|_| Value::String(body.to_owned())))
    }

    /// Asks the same, and compares.
    #[track_caller]
    pub(crate) fn compare(&self, line: &str, body: &str, embedded: &(u16, Value)) {
        if embedded.0 == 503 {
            // Larger than we take. The server takes it, and works on it for minutes.
            return;
        }
        let (method, target) = line.split_once(' ').unwrap();
        let real = self.call(method, target, body);
        let text = format!("{line} {body}");
        if OWN_TO_EACH.iter().any(|part| text.contains(part))
            || KNOWN.iter().any(|(part, _)| text.contains(part))
        {
            return;
        }
        let ordered = text.contains("sort");
        let (real, embedded) = (view(line, ordered, &real), view(line, ordered, embedded));
        assert_eq!(embedded, real, "embedded (left) against OpenSearch (right): {text:.2000}");
    }
}

/// Characters that a URL cannot hold as they are.
fn encoded(target: &str) -> String {
    let mut out = String::new();
    for byte in target.bytes() {
        if byte.is_ascii_graphic() && !b"\"<>\\^`{|}[]#".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// The part of a reply that must be the same.
fn view(line: &str, ordered: bool, (status, reply): &(u16, Value)) -> Value {
    if *status >= 300 {
        return json!({"status": status});
    }
    let path = line.split_whitespace().nth(1).unwrap_or_default().split('?').next().unwrap_or_default();
    if path.ends_with("_count") {
        return json!({"status": status, "count": reply["count"]});
    }
    if path.ends_with("_bulk") {
        let items = reply["items"].as_array().into_iter().flatten();
        let items: Vec<Value> = items.map(item_view).collect();
        return json!({"status": status, "errors": reply["errors"], "items": items});
    }
    if !path.ends_with("_search") {
        return json!({"status": status});
    }
    let hits = reply.pointer("/hits/hits").and_then(Value::as_array).cloned().unwrap_or_default();
    let mut hits: Vec<Value> = hits
        .into_iter()
        .map(|hit| {
            let keep = |name: &str| hit.get(name).cloned().unwrap_or_default();
            let fields = ["_index", "_id", "_source", "sort", "fields", "_version"];
            fields.iter().map(|name| ((*name).to_owned(), keep(name))).collect()
        })
        .collect();
    if ordered {
        let keys: Vec<Value> = hits.iter().map(|hit| hit["sort"].clone()).collect();
        let inner = |key: &Value| Some(key) != keys.first() && Some(key) != keys.last();
        // Equal ones come in any order; a page may begin or end among them.
        hits.retain(|hit| inner(&hit["sort"]));
        hits.sort_by_key(|hit| (keys.iter().position(|key| *key == hit["sort"]), hit["_id"].to_string()));
        hits.push(Value::Array(keys));
    } else {
        hits.sort_by_key(Value::to_string);
    }
    json!({"status": status, "total": reply["hits"]["total"], "hits": hits, "aggregations": reply["aggregations"]})
}

fn item_view(item: &Value) -> Value {
    let parts = item.as_object().into_iter().flatten();
    parts
        .map(|(action, body)| json!({"action": action, "status": body["status"], "result": body["result"], "error": body.pointer("/error/type")}))
        .collect()
}
