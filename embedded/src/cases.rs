//! Runs a recorded query case: MozDef's mapping, some documents, a body, and what must come out.
//!
//! In: one case as JSON: `now`, `indices`, `size`, `body`, `docs[]{_index, _id, _source}`, `expected{total, hit_ids,
//! aggregations}`. Out: nothing, or what differs. For tests: this crate's and the project's. Never: a case that is
//! known by its name.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use model::time::{Clock, Timestamp};
use serde_json::{Value, json};

use crate::api::{Reply, Request};
use crate::engine::{EmbeddedOptions, Index, open};

/// An index that runs one case after the other.
pub struct Runner {
    index: Arc<Index>,
    clock: Clock,
}

/// MozDef's template: every string, number and binary is a keyword, but for a few fields.
pub fn mozdef_template() -> Value {
    let keyword = |kind: &str| json!({(kind): {"match_mapping_type": kind, "mapping": {"type": "keyword"}}});
    let date = json!({"type": "date", "format": "strict_date_optional_time||epoch_millis"});
    json!({
        "index_patterns": ["events*", "alerts*"],
        "template": {
            "settings": {"index.mapping.total_fields.limit": 1000, "index.number_of_shards": 1, "index.number_of_replicas": 0},
            "mappings": {
                "date_detection": false,
                "dynamic_templates": [keyword("string"), keyword("long"), keyword("double"), keyword("binary")],
                "properties": {
                    "summary": {"type": "text"},
                    "receivedtimestamp": date,
                    "utctimestamp": date,
                    "timestamp": date,
                    "details": {"properties": {
                        "sourceipaddress": {"type": "ip"},
                        "destinationipaddress": {"type": "ip"},
                        "sourceipgeopoint": {"type": "geo_point"},
                        "destinationipgeopoint": {"type": "geo_point"},
                        "success": {"type": "boolean"},
                    }},
                },
            },
        },
    })
}

impl Runner {
    /// Opens an index with MozDef's template in an empty folder.
    ///
    /// # Errors
    /// What went wrong, for people.
    pub fn new(folder: &Path) -> Result<Runner, String> {
        let clock = Clock::manual(Timestamp::EPOCH);
        let options = EmbeddedOptions {
            folder: folder.to_owned(),
            writer_mib: 16,
            refresh_ms: 1000,
            clock: clock.clone(),
        };
        let index = open(options).map_err(|e| e.to_string())?;
        let runner = Runner { index, clock };
        runner.call("PUT", "/_index_template/mozdef", "", mozdef_template().to_string().as_bytes())?;
        Ok(runner)
    }

    /// Runs a case; the indices that it makes are deleted.
    ///
    /// # Errors
    /// What differs from the expectation.
    pub fn run(&self, case: &Value) -> Result<(), String> {
        let outcome = self.run_once(case);
        let cleaned = self.call("DELETE", "/*", "", b"");
        outcome.and(cleaned.map(|_| ()))
    }

    fn run_once(&self, case: &Value) -> Result<(), String> {
        let now = case.get("now").and_then(Value::as_str).unwrap_or_default();
        self.clock.set(Timestamp::parse_rfc3339(now).ok_or_else(|| format!("no time: {now:?}"))?);
        run_on(case, |method, path, query, body| self.call(method, path, query, body))
    }

    fn call(&self, method: &str, path: &str, query: &str, body: &[u8]) -> Result<Value, String> {
        let Reply { status, body, .. } = self.index.handle(&Request { method, path, query, body });
        let value: Value = serde_json::from_slice(&body).map_err(|e| format!("{method} {path}: {e}"))?;
        if (200..300).contains(&status) {
            Ok(value)
        } else {
            Err(format!("{method} {path}: {status} {value}"))
        }
    }
}

/// Runs a case on an index that has [`mozdef_template`] and nothing else: `call` takes method, path, query string and
/// body, and gives the reply of a success.
///
/// # Errors
/// What differs from the expectation, or what `call` says.
pub fn run_on(
    case: &Value,
    call: impl Fn(&str, &str, &str, &[u8]) -> Result<Value, String>,
) -> Result<(), String> {
    let mut lines = String::new();
    for document in case.get("docs").and_then(Value::as_array).into_iter().flatten() {
        let part = |name: &str| document.get(name).unwrap_or(&Value::Null).clone();
        let action = json!({"index": {"_index": part("_index"), "_id": part("_id")}});
        lines.push_str(&format!("{action}\n{}\n", part("_source")));
    }
    if !lines.is_empty() {
        let done = call("POST", "/_bulk", "refresh=true", lines.as_bytes())?;
        if done.get("errors") != Some(&json!(false)) {
            return Err(format!("documents were refused: {done}"));
        }
    }
    let names = case.get("indices").and_then(Value::as_array).into_iter().flatten();
    let names: Vec<&str> = names.filter_map(Value::as_str).collect();
    let size = case.get("size").and_then(Value::as_u64).unwrap_or(10);
    let body = case.get("body").unwrap_or(&Value::Null).to_string();
    let query = format!("ignore_unavailable=true&track_total_hits=true&size={size}");
    let found = call("POST", &format!("/{}/_search", names.join(",")), &query, body.as_bytes())?;
    compare(&found, case.get("expected").unwrap_or(&Value::Null), size)
}

fn compare(found: &Value, expected: &Value, size: u64) -> Result<(), String> {
    let total = found.pointer("/hits/total/value");
    if total != expected.get("total") {
        return Err(format!("total is {total:?}, expected {:?}", expected.get("total")));
    }
    let ids = |list: Option<&Value>, member: Option<&str>| -> BTreeSet<String> {
        let items = list.and_then(Value::as_array).into_iter().flatten();
        items
            .filter_map(|item| member.map_or(Some(item), |name| item.get(name)))
            .filter_map(|id| id.as_str().map(str::to_owned))
            .collect()
    };
    let hits = ids(found.pointer("/hits/hits"), Some("_id"));
    let wanted = ids(expected.get("hit_ids"), None);
    // Where there are more hits than asked for, any of them will do: nothing orders them.
    let cut = total.and_then(Value::as_u64).is_some_and(|total| total > size);
    if (cut && hits.len() != wanted.len()) || (!cut && hits != wanted) {
        return Err(format!("hits are {hits:?}, expected {wanted:?}"));
    }
    for (name, buckets) in expected.get("aggregations").and_then(Value::as_object).into_iter().flatten() {
        let shown = found.get("aggregations").and_then(|a| a.get(name)).and_then(|a| a.get("buckets"));
        let shown: Vec<Value> = shown
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .map(|bucket| json!({"key": bucket.get("key"), "count": bucket.get("doc_count")}))
            .collect();
        if &Value::Array(shown.clone()) != buckets {
            return Err(format!("aggregation [{name}] is {}, expected {buckets}", Value::Array(shown)));
        }
    }
    Ok(())
}
