//! Dead letters: `/api/dead` lists the newest, `/api/dead/show?id=` gives one whole.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use model::headers;
use model::ids::EventId;
use model::topic::Topic;
use serde_json::{Map, Value, json};
use stream::log::{FetchLimits, SharedLog};
use stream::record::Record;

use super::{Admin, Failure, answer, size};

const FETCH: FetchLimits = FetchLimits { records_max: 500, bytes_max: 8 << 20 };
/// Most letters that one answer lists.
const SIZE_MAX: u64 = 10_000;

/// The newest letters of all partitions, newest first.
pub(crate) async fn list(
    State(admin): State<Arc<Admin>>,
    Query(parameters): Query<HashMap<String, String>>,
) -> Result<Response, Failure> {
    let size = u64::from(size(&parameters)?).min(SIZE_MAX);
    let mut total = 0;
    let mut rows = Vec::new();
    for partition in 0..admin.log.partitions(Topic::Dead) {
        let extent = admin.log.extent(Topic::Dead, partition).await.map_err(Failure::unavailable)?;
        total += extent.end.saturating_sub(extent.start);
        let from = extent.start.max(extent.end.saturating_sub(size));
        walk(&admin.log, partition, from, &mut |record| {
            rows.push((record.appended, summary(admin.log.id(), record)));
            false
        })
        .await?;
    }
    rows.sort_by_key(|(appended, _)| std::cmp::Reverse(*appended));
    let letters: Vec<Value> = rows.into_iter().take(size as usize).map(|(_, row)| row).collect();
    Ok(answer(StatusCode::OK, &json!({"total": total, "letters": letters})))
}

/// One letter with its headers and original bytes.
pub(crate) async fn show(
    State(admin): State<Arc<Admin>>,
    Query(parameters): Query<HashMap<String, String>>,
) -> Result<Response, Failure> {
    let id = parameters.get("id").map(String::as_str).unwrap_or_default();
    if id.is_empty() {
        return Err(Failure::bad("id: give the event id of a dead letter, as `mozdef dlq list` shows it"));
    }
    for partition in 0..admin.log.partitions(Topic::Dead) {
        let mut found = None;
        walk(&admin.log, partition, 0, &mut |record| {
            let hit = event_id(admin.log.id(), record) == id;
            if hit {
                found = Some(whole(admin.log.id(), record));
            }
            hit
        })
        .await?;
        if let Some(letter) = found {
            return Ok(answer(StatusCode::OK, &letter));
        }
    }
    Err(Failure::missing(format!("no dead letter has the id {id}")))
}

/// Shows each record from an offset on, until the end or until `stop` says so.
async fn walk(
    log: &SharedLog,
    partition: u32,
    from: u64,
    stop: &mut (dyn FnMut(&Record) -> bool + Send),
) -> Result<(), Failure> {
    let mut next = from;
    loop {
        let fetched = log.fetch(Topic::Dead, partition, next, FETCH).await.map_err(Failure::unavailable)?;
        let is_end = fetched.next <= next;
        if is_end || fetched.records.iter().any(&mut *stop) {
            return Ok(());
        }
        next = fetched.next;
    }
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
