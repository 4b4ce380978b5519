//! Records of a topic, one after another, and one of them whole.
//!
//! In: a topic. Out: its records, or JSON. Never: more than one fetch in memory.

use std::ops::Range;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use model::topic::Topic;
use serde_json::{Map, Value, json};
use stream::log::{FetchLimits, SharedLog};
use stream::record::Record;

use super::Failure;

const FETCH: FetchLimits = FetchLimits { records_max: 500, bytes_max: 8 << 20 };

/// Shows each record of a range of offsets, until `stop` says so.
pub(super) async fn walk(
    log: &SharedLog,
    topic: Topic,
    partition: u32,
    range: Range<u64>,
    stop: &mut (dyn FnMut(&Record) -> bool + Send),
) -> Result<(), Failure> {
    let mut next = range.start;
    while next < range.end {
        let fetched = log.fetch(topic, partition, next, FETCH).await.map_err(Failure::unavailable)?;
        if fetched.next <= next || fetched.records.iter().any(&mut *stop) {
            return Ok(());
        }
        next = fetched.next;
    }
    Ok(())
}

/// A record with all its headers and its exact bytes.
pub(super) fn whole(id: &str, record: &Record) -> Value {
    let all: Map<String, Value> = record
        .headers
        .iter()
        .map(|(name, value)| (name.to_owned(), Value::String(String::from_utf8_lossy(value).into_owned())))
        .collect();
    json!({
        "id": id, "time": record.appended.to_string(), "position": record.origin(),
        "bytes": record.value.len(), "headers": all,
        "text": String::from_utf8_lossy(&record.value), "text_is_lossy": std::str::from_utf8(&record.value).is_err(),
        "base64": STANDARD.encode(&record.value),
    })
}
