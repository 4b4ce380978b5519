//! Tests of the local log as a whole, with a hand inside: trouble with the
//! disk and the folder, and random histories against a naive model.

mod folder;
mod history;
mod trouble;

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use model::time::{Clock, Timestamp};
use model::topic::Topic;

use super::space::Probe;
use super::{LocalLog, LocalOptions, open_with};
use crate::log::{FetchLimits, Log};
use crate::record::{Headers, NewRecord, Record};

const PLENTY: FetchLimits = FetchLimits { records_max: usize::MAX, bytes_max: usize::MAX };

fn options(folder: &Path) -> LocalOptions {
    LocalOptions {
        folder: folder.to_owned(),
        partitions: 2,
        retention_hours: 1,
        retention_mib: 8,
        min_free_mib: 0,
        clock: Clock::manual(Timestamp::from_millis(1_700_000_000_000)),
    }
}

async fn open(options: LocalOptions) -> Arc<LocalLog> {
    open_probed(options, |_| Ok(u64::MAX)).await
}

async fn open_probed(options: LocalOptions, probe: Probe) -> Arc<LocalLog> {
    let (_, log) = open_with(options, probe).await.unwrap();
    log
}

fn record(topic: Topic, partition: u32, key: &str, value: impl Into<Bytes>) -> NewRecord {
    let key = Bytes::from(key.to_owned());
    NewRecord { topic, partition: Some(partition), key, value: value.into(), headers: Headers::new() }
}

async fn all(log: &LocalLog, topic: Topic, partition: u32) -> Vec<Record> {
    log.fetch(topic, partition, 0, PLENTY).await.unwrap().records
}
