//! What came in: the raw record of an event, byte for byte.
//!
//! In: an event id, as `mozdef search --json` shows it. Out: the record with its headers. Never: a change.

use model::ids::EventId;
use model::time::Timestamp;
use model::topic::Topic;
use serde_json::Value;
use sink::search::Searcher;
use stream::log::SharedLog;

use super::records::{walk, whole};
use super::{Failure, events};

/// How long before and after its receipt, in milliseconds, an event is looked for, where the index knows when that was:
/// clocks differ, and a log that is away lets requests wait.
const AROUND_MS: i64 = 3_600_000;

/// The raw record of an event. With an index only the hours around the event's receipt are read, else all there is.
pub(super) async fn get(log: &SharedLog, search: Option<&Searcher>, id: &str) -> Result<Value, Failure> {
    let wanted = EventId::parse(id).ok_or_else(|| {
        Failure::Bad(format!(
            "id: {id:?} is no event id; `mozdef search --json` shows them as _id (32 hex digits)"
        ))
    })?;
    let received = match search {
        Some(search) => events::received(search, id).await,
        None => None,
    };
    if let Some(received) = received
        && let Some(record) = find(log, wanted, Some(received)).await?
    {
        return Ok(record);
    }
    find(log, wanted, None).await?.ok_or_else(|| {
        let topic = Topic::Raw;
        Failure::Missing(format!(
            "no record of {topic} is the event {id}: the topic's retention may have passed it, or it was never sent here"
        ))
    })
}

async fn find(log: &SharedLog, wanted: EventId, around: Option<Timestamp>) -> Result<Option<Value>, Failure> {
    for partition in 0..log.partitions(Topic::Raw) {
        let extent = log.extent(Topic::Raw, partition).await.map_err(Failure::unavailable)?;
        let mut range = extent.start..extent.stable;
        if let Some(time) = around {
            let at = |ms| log.offset_at(Topic::Raw, partition, time.plus_millis(ms));
            range.start = at(-AROUND_MS).await.map_err(Failure::unavailable)?.max(extent.start);
            range.end = at(AROUND_MS).await.map_err(Failure::unavailable)?.min(extent.stable);
        }
        let mut found = None;
        walk(log, Topic::Raw, partition, range, &mut |record| {
            let id = normalize::worker::event_id(log.id(), record);
            if id == wanted {
                found = Some(whole(id.hex().as_str(), record));
            }
            found.is_some()
        })
        .await?;
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}
