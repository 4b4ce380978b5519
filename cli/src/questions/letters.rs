//! Dead letters: the newest, or one whole.

use model::headers;
use model::ids::EventId;
use model::time::Timestamp;
use model::topic::Topic;
use serde_json::{Value, json};
use stream::log::SharedLog;
use stream::record::Record;

use super::Failure;
use super::records::{walk, whole};

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
        walk(log, Topic::Dead, partition, from..extent.stable, &mut |record| {
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
        walk(log, Topic::Dead, partition, extent.start..extent.stable, &mut |record| {
            let hit = event_id(log.id(), record) == id;
            if hit {
                found = Some(whole(&event_id(log.id(), record), record));
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
