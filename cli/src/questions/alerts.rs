//! Alerts: the newest from the index, or revisions after a place, straight from the topic.

use std::time::Duration;

use model::topic::Topic;
use serde_json::{Value, json};
use sink::search::Searcher;
use stream::log::{FetchLimits, SharedLog};

use super::Failure;

const FETCH: FetchLimits = FetchLimits { records_max: 200, bytes_max: 8 << 20 };
/// How often the topic is looked at while somebody waits.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Longest wait of one request.
const WAIT_MAX: Duration = Duration::from_secs(25);

/// The newest alerts, newest first.
pub(super) async fn list(search: &Searcher, size: u32) -> Result<Value, Failure> {
    let alerts = search.alerts(size).await.map_err(Failure::unavailable)?;
    let documents: Vec<Value> =
        alerts.hits.into_iter().map(|hit| with_id(hit.source, hit.id.as_bytes())).collect();
    Ok(json!({"total": alerts.total, "alerts": documents}))
}

/// Revisions after `after` (a cursor, `end` or `start`), waiting up to 25 s for the first.
pub(super) async fn after(log: &SharedLog, after: &str) -> Result<Value, Failure> {
    let mut offsets = cursor(log, after).await?;
    let deadline = tokio::time::Instant::now() + WAIT_MAX;
    let mut alerts = Vec::new();
    loop {
        for (partition, offset) in offsets.iter_mut().enumerate() {
            let partition = u32::try_from(partition).unwrap_or(u32::MAX);
            let fetched =
                log.fetch(Topic::Alerts, partition, *offset, FETCH).await.map_err(Failure::unavailable)?;
            *offset = fetched.next;
            for record in fetched.records {
                let alert = serde_json::from_slice::<Value>(&record.value).ok();
                alerts.extend(alert.map(|alert| (record.appended, with_id(alert, &record.key))));
            }
        }
        if !alerts.is_empty() || tokio::time::Instant::now() >= deadline {
            break;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    alerts.sort_by_key(|(appended, _)| *appended);
    let alerts: Vec<Value> = alerts.into_iter().map(|(_, alert)| alert).collect();
    let cursor: Vec<String> = offsets.iter().map(u64::to_string).collect();
    Ok(json!({"cursor": cursor.join(","), "alerts": alerts}))
}

/// The alert with its id, which is not part of the document.
fn with_id(mut alert: Value, id: &[u8]) -> Value {
    if let Some(fields) = alert.as_object_mut() {
        fields.insert("id".to_owned(), Value::String(String::from_utf8_lossy(id).into_owned()));
    }
    alert
}

/// Next offset of each partition.
async fn cursor(log: &SharedLog, after: &str) -> Result<Vec<u64>, Failure> {
    let partitions = log.partitions(Topic::Alerts);
    let mut offsets = Vec::new();
    for partition in 0..partitions {
        let extent = log.extent(Topic::Alerts, partition).await.map_err(Failure::unavailable)?;
        offsets.push(match after {
            "end" => extent.end,
            _ => extent.start,
        });
    }
    if after == "end" || after == "start" {
        return Ok(offsets);
    }
    let given: Result<Vec<u64>, _> = after.split(',').map(str::parse).collect();
    match given {
        Ok(given) if given.len() == offsets.len() => Ok(given),
        _ => {
            Err(Failure::Bad(format!("after: {after} is no cursor of this log; begin with `end` or `start`")))
        }
    }
}
