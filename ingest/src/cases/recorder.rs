//! A log that keeps what is produced, for recorded cases.
//!
//! In: produced records. Out: the raw ones. Never: consumers.

use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use model::time::Timestamp;
use model::topic::Topic;
use stream::log::{Consumer, Extent, FetchLimits, Fetched, Log, LogError};
use stream::record::{NewRecord, Position};

/// The log.
#[derive(Debug, Default)]
pub(super) struct Recorder(Mutex<Vec<NewRecord>>);

impl Recorder {
    /// Records of `mozdef.raw`.
    pub(super) fn raw(&self) -> Vec<NewRecord> {
        let records = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        records.iter().filter(|record| record.topic == Topic::Raw).cloned().collect()
    }
}

fn only_written<T>() -> Result<T, LogError> {
    Err(LogError::Unavailable("this log is only written".to_owned()))
}

#[async_trait]
impl Log for Recorder {
    fn id(&self) -> &str {
        "recorder"
    }

    fn partitions(&self, _topic: Topic) -> u32 {
        1
    }

    async fn produce(&self, records: Vec<NewRecord>) -> Result<Vec<Position>, LogError> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let first = kept.len() as u64;
        let last = first + records.len() as u64;
        kept.extend(records);
        Ok((first..last).map(|offset| Position { partition: 0, offset }).collect())
    }

    async fn subscribe(&self, _group: &'static str, _topic: Topic) -> Result<Box<dyn Consumer>, LogError> {
        only_written()
    }

    async fn fetch(&self, _: Topic, _: u32, _: u64, _: FetchLimits) -> Result<Fetched, LogError> {
        only_written()
    }

    async fn extent(&self, _: Topic, _: u32) -> Result<Extent, LogError> {
        only_written()
    }

    async fn offset_at(&self, _: Topic, _: u32, _: Timestamp) -> Result<u64, LogError> {
        only_written()
    }

    async fn committed(&self, _: &str, _: Topic, _: u32) -> Result<u64, LogError> {
        only_written()
    }
}
