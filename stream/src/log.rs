//! The interface of the log, shaped for Kafka's consumer groups and transactions.
//! (Skeleton; the owner of this room completes it.)

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use model::time::Timestamp;
use model::topic::Topic;

use crate::record::{NewRecord, Position, Record};

/// A log that any stage may use.
pub type SharedLog = Arc<dyn Log>;

/// The log: topics of partitions of records.
#[async_trait]
pub trait Log: Send + Sync + 'static {
    /// Id of this log (Kafka: cluster id); part of event ids.
    fn id(&self) -> &str;
    /// How many partitions a topic has.
    fn partitions(&self, topic: Topic) -> u32;
    /// Appends; `Ok` only when every record is durable. All or none of the records of one call.
    async fn produce(&self, records: Vec<NewRecord>) -> Result<Vec<Position>, LogError>;
    /// Joins a consumer group on one topic.
    async fn subscribe(&self, group: &'static str, topic: Topic) -> Result<Box<dyn Consumer>, LogError>;
    /// Reads outside of any group, in order, from `from` or the first record after it. Empty at the end.
    async fn fetch(&self, topic: Topic, partition: u32, from: u64, limits: FetchLimits) -> Result<Vec<Record>, LogError>;
    /// First offset that is still there, and the offset the next record will get.
    async fn extent(&self, topic: Topic, partition: u32) -> Result<Extent, LogError>;
    /// Offset of the first record appended at or after `time`; the end where there is none.
    async fn offset_at(&self, topic: Topic, partition: u32, time: Timestamp) -> Result<u64, LogError>;
    /// Next offset a group will read, by partition.
    async fn committed(&self, group: &str, topic: Topic, partition: u32) -> Result<u64, LogError>;
}

/// A member of a consumer group.
#[async_trait]
pub trait Consumer: Send {
    /// Waits up to `wait` for the next thing that happens.
    async fn poll(&mut self, wait: Duration, limits: FetchLimits) -> Result<Polled, LogError>;
    /// Outputs and offsets become durable and visible together, or not at all.
    async fn commit(&mut self, transaction: Transaction) -> Result<(), LogError>;
    /// Goes back to the committed offset of a partition, after an abort.
    async fn rewind(&mut self, partition: u32) -> Result<(), LogError>;
}

/// What a poll brings.
#[derive(Debug)]
pub enum Polled {
    /// Partitions are ours from now on.
    Assigned(Vec<u32>),
    /// Partitions are about to go: finish and commit.
    Revoked(Vec<u32>),
    /// Partitions are gone: nothing of theirs can be committed.
    Lost(Vec<u32>),
    /// Records of one partition, in order, never empty.
    Records(u32, Vec<Record>),
    /// The wait is over. `at_end`: partitions of ours that had nothing more when they were looked at, with that time.
    Nothing { at_end: Vec<(u32, Timestamp)> },
}

/// What one commit makes durable together.
#[derive(Debug, Default)]
pub struct Transaction {
    /// Records to append.
    pub outputs: Vec<NewRecord>,
    /// (partition of the subscribed topic, next offset to read).
    pub offsets: Vec<(u32, u64)>,
}

/// Bounds of one fetch.
#[derive(Clone, Copy, Debug)]
pub struct FetchLimits {
    /// Most records.
    pub records_max: usize,
    /// Most bytes; at least one record is returned where there is one.
    pub bytes_max: usize,
}

/// First and next offset of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// First offset that is still there.
    pub start: u64,
    /// Offset that the next record will get.
    pub end: u64,
}

/// Why the log could not do it.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// Out of reach or too slow for now: try again.
    #[error("the log is unavailable: {0}")]
    Unavailable(String),
    /// The disk is full, or below the configured minimum: try again when there is room.
    #[error("no space for the log: {0}")]
    NoSpace(String),
    /// A record larger than the topic takes.
    #[error("record of {bytes} bytes, more than the topic's {limit}")]
    TooLarge { bytes: usize, limit: usize },
    /// The partitions went to somebody else; nothing was committed.
    #[error("fenced: the partition has another owner")]
    Fenced,
    /// Whether the commit took effect is not known: ask again, never re-run.
    #[error("the outcome of the commit is unknown: {0}")]
    OutcomeUnknown(String),
    /// The log is broken (a failed fsync, a corrupt file): stop.
    #[error("the log is broken: {0}")]
    Broken(String),
}
