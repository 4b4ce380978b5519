//! Dead letters: the newest, or one whole.

use std::ops::Range;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use model::headers;
use model::ids::EventId;
use model::time::Timestamp;
use model::topic::Topic;
use serde_json::{Map, Value, json};
use stream::log::{FetchLimits, SharedLog};
use stream::record::Record;

use super::Failure;

const FETCH: FetchLimits = FetchLimits { records_max: 500, bytes_max: 8 << 20 };
/// Most letters that one answer lists.
const SIZE_MAX: u64 = 10_000;

/// The newest letters of all partitions, newest first.
///
/// `total` counts offsets where not all are read; over Kafka some of these are no letters (marks of transactions).
pub(super) async fn list(log: &SharedLog, size: u32) -> Result<Value, Failure> {
    let size = u64::from(size).min(SIZE_MAX);
    let mut total = 0;
    let mut rows = Vec::new();
    for partition in 0..log.partitions(Topic::Dead) {
        let (newest, all) = newest(log, partition, size).await?;
        total += all;
        rows.extend(newest);
    }
    rows.sort_by_key(|(appended, _)| std::cmp::Reverse(*appended));
    let letters: Vec<Value> = rows.into_iter().take(size as usize).map(|(_, row)| row).collect();
    Ok(json!({"total": total, "letters": letters}))
}

/// At least `size` of the newest letters of a partition where it has as many, in order; and how many there are.
async fn newest(
    log: &SharedLog,
    partition: u32,
    size: u64,
) -> Result<(Vec<(Timestamp, Value)>, u64), Failure> {
    let extent = log.extent(Topic::Dead, partition).await.map_err(Failure::unavailable)?;
    let mut span = size;
    loop {
        let from = extent.start.max(extent.stable.saturating_sub(span));
        let mut rows = Vec::new();
        walk(log, partition, from..extent.stable, &mut |record| {
            rows.push((record.appended, summary(log.id(), record)));
            false
        })
        .await?;
        if from == extent.start {
            let count = rows.len() as u64;
            return Ok((rows, count));
        }
        if rows.len() as u64 >= size {
            return Ok((rows, extent.stable.saturating_sub(extent.start)));
        }
        span = span.saturating_mul(4).saturating_add(16);
    }
}

/// One letter with its headers and original bytes.
pub(super) async fn show(log: &SharedLog, id: &str) -> Result<Value, Failure> {
    if id.is_empty() {
        return Err(Failure::Bad(
            "id: give the event id of a dead letter, as `mozdef dlq list` shows it".to_owned(),
        ));
    }
    for partition in 0..log.partitions(Topic::Dead) {
        let extent = log.extent(Topic::Dead, partition).await.map_err(Failure::unavailable)?;
        let mut found = None;
        walk(log, partition, extent.start..extent.stable, &mut |record| {
            let hit = event_id(log.id(), record) == id;
            if hit {
                found = Some(whole(log.id(), record));
            }
            hit
        })
        .await?;
        if let Some(letter) = found {
            return Ok(letter);
        }
    }
    Err(Failure::Missing(format!("no dead letter has the id {id}")))
}

/// Shows each record of a range of offsets, until `stop` says so.
async fn walk(
    log: &SharedLog,
    partition: u32,
    range: Range<u64>,
    stop: &mut (dyn FnMut(&Record) -> bool + Send),
) -> Result<(), Failure> {
    let mut next = range.start;
    while next < range.end {
        let fetched = log.fetch(Topic::Dead, partition, next, FETCH).await.map_err(Failure::unavailable)?;
        if fetched.next <= next || fetched.records.iter().any(&mut *stop) {
            return Ok(());
        }
        next = fetched.next;
    }
    Ok(())
}

/// The event's id; a record that the gateway refused, of a client that gave none, is known by its place.
fn event_id(log_id: &str, record: &Record) -> String {
    let given = record.headers.get_str(headers::EVENT_ID).or_else(|| std::str::from_utf8(&record.key).ok());
    let place = || EventId::from_position(log_id, record.topic.name(), record.partition, record.offset, 0);
    given.filter(|id| !id.is_empty()).map_or_else(|| place().to_string(), str::to_owned)
}

fn summary(log_id: &str, record: &Record) -> Value {
    let header = |name: &str| record.headers.get_str(name).unwrap_or("-").to_owned();
    json!({
        "time": record.appended.to_string(), "id": event_id(log_id, record), "stage": header(headers::STAGE),
        "reason": header(headers::REASON), "detail": header(headers::DETAIL),
        "origin": header(headers::ORIGIN), "bytes": record.value.len(),
    })
}

fn whole(log_id: &str, record: &Record) -> Value {
    let all: Map<String, Value> = record
        .headers
        .iter()
        .map(|(name, value)| (name.to_owned(), Value::String(String::from_utf8_lossy(value).into_owned())))
        .collect();
    json!({
        "id": event_id(log_id, record), "time": record.appended.to_string(), "position": record.origin(),
        "bytes": record.value.len(), "headers": all,
        "text": String::from_utf8_lossy(&record.value), "text_is_lossy": std::str::from_utf8(&record.value).is_err(),
        "base64": STANDARD.encode(&record.value),
    })
}
