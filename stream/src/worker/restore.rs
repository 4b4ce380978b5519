//! Restores a worker's state from its changelog partition.
//!
//! In: the changelog, from its start to the end that it has now. Out: the newest record of each key. Never: tombstones.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use foldhash::fast::RandomState;
use model::topic::Topic;

use crate::log::{FetchLimits, Log, LogError};
use crate::record::{Headers, Record};

/// Time between two looks at a changelog with an open transaction.
const BLOCKED: Duration = Duration::from_millis(20);
const LIMITS: FetchLimits = FetchLimits { records_max: 2000, bytes_max: 1 << 20 };

/// The newest record of each key, in order of offset.
///
/// `tell` hears how many of how many offsets are read.
pub(super) async fn restore(
    log: &dyn Log,
    topic: Topic,
    partition: u32,
    tell: &(dyn Fn(u64, u64) + Sync),
) -> Result<Vec<Record>, LogError> {
    let extent = log.extent(topic, partition).await?;
    let mut newest: HashMap<Bytes, Record, RandomState> = HashMap::default();
    let mut next = extent.start;
    while next < extent.end {
        tell(next.saturating_sub(extent.start), extent.end.saturating_sub(extent.start));
        let fetched = log.fetch(topic, partition, next, LIMITS).await?;
        if fetched.next <= next {
            // A transaction is open before the end: a predecessor's last words, or its time-out. Neither can be skipped.
            tokio::time::sleep(BLOCKED).await;
        }
        next = fetched.next;
        for record in fetched.records {
            if record.value.is_empty() {
                newest.remove(&record.key);
            } else {
                let record = owned(&record);
                newest.insert(record.key.clone(), record);
            }
        }
    }
    let mut all: Vec<Record> = newest.into_values().collect();
    all.sort_unstable_by_key(|record| record.offset);
    Ok(all)
}

/// A copy that does not keep its neighbours in the log alive.
fn owned(record: &Record) -> Record {
    let mut headers = Headers::with_capacity(record.headers.len());
    for (name, value) in record.headers.iter() {
        headers.push(name.to_owned(), Bytes::copy_from_slice(value));
    }
    Record {
        key: Bytes::copy_from_slice(&record.key),
        value: Bytes::copy_from_slice(&record.value),
        headers,
        ..record.clone()
    }
}
