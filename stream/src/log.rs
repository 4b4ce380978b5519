//! The interface of the log, shaped for Kafka's consumer groups and transactions.
//!
//! In: records to append, groups that consume. Out: records in order by
//! partition. Never: a record that is not durable, or half of a commit.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use model::error::{Reason, Verdict};
use model::time::Timestamp;
use model::topic::Topic;

use crate::record::{NewRecord, Position, Record};

/// Largest record of any topic but `mozdef.dead`, in bytes of key, value and headers.
pub const RECORD_BYTES_MAX: usize = 8 << 20;

/// Largest record of `mozdef.dead`: whatever another topic holds fits, with its reason.
pub const DEAD_RECORD_BYTES_MAX: usize = 16 << 20;

/// A log that any stage may use.
pub type SharedLog = Arc<dyn Log>;

/// The log: topics of partitions of records.
///
/// Every future may be dropped at any point; what it had asked for then happens whole or not at all.
#[async_trait]
pub trait Log: Send + Sync + 'static {
    /// Id of this log (Kafka: cluster id); part of event ids.
    fn id(&self) -> &str;

    /// How many partitions a topic has.
    fn partitions(&self, topic: Topic) -> u32;

    /// Whether the log and these topics are there, as far as can be seen without reading or writing.
    ///
    /// # Errors
    /// What is missing, with the remedy.
    async fn reach(&self, topics: &[Topic]) -> Result<(), LogError> {
        for topic in topics {
            self.extent(*topic, 0).await?;
        }
        Ok(())
    }

    /// Largest record that the topic takes, in bytes of key, value and headers.
    fn record_bytes_max(&self, topic: Topic) -> usize {
        match topic {
            Topic::Dead => DEAD_RECORD_BYTES_MAX,
            Topic::Raw
            | Topic::Events
            | Topic::Matches
            | Topic::Windows
            | Topic::Alerts
            | Topic::Late
            | Topic::Control => RECORD_BYTES_MAX,
        }
    }

    /// Appends; `Ok` only when every record is durable. Waits while the log's queue is full.
    ///
    /// On an error: the local log has none of the records; over Kafka some of them may be there, so that the caller, who
    /// sends all of them again, must be idempotent by id (what is too large is found before anything is sent).
    async fn produce(&self, records: Vec<NewRecord>) -> Result<Vec<Position>, LogError>;

    /// Joins a consumer group on one topic.
    async fn subscribe(&self, group: &'static str, topic: Topic) -> Result<Box<dyn Consumer>, LogError>;

    /// Reads outside of any group, in order, from `from` or the first record after it, up to [`Extent::stable`].
    async fn fetch(
        &self,
        topic: Topic,
        partition: u32,
        from: u64,
        limits: FetchLimits,
    ) -> Result<Fetched, LogError>;

    /// First offset that is still there, the last stable offset, and the offset the next record will get.
    async fn extent(&self, topic: Topic, partition: u32) -> Result<Extent, LogError>;

    /// Offset of the first record appended at or after `time`; the end where there is none.
    async fn offset_at(&self, topic: Topic, partition: u32, time: Timestamp) -> Result<u64, LogError>;

    /// Next offset a group will read, by partition; the start of the partition before its first commit. Waits (or answers
    /// [`LogError::Unavailable`]) while a commit of the group is under way, so that the answer is the last word.
    async fn committed(&self, group: &str, topic: Topic, partition: u32) -> Result<u64, LogError>;
}

/// A member of a consumer group. Dropping it leaves the group at once.
#[async_trait]
pub trait Consumer: Send {
    /// Waits up to `wait` for the next thing that happens. Dropping the future loses nothing.
    ///
    /// A call after [`Polled::Revoked`] says that the partitions named there are given up.
    async fn poll(&mut self, wait: Duration, limits: FetchLimits) -> Result<Polled, LogError>;

    /// Outputs and offsets become durable and visible together, or not at all.
    ///
    /// * [`LogError::OutcomeUnknown`]: call [`Consumer::settle`] until it knows, never commit again before.
    /// * [`LogError::Fenced`]: nothing was committed; the next poll says which partitions are lost.
    /// * Any other error: nothing was committed.
    async fn commit(&mut self, transaction: Transaction) -> Result<(), LogError>;

    /// What became of the commit whose outcome was unknown: as [`Consumer::commit`] would have answered.
    async fn settle(&mut self) -> Result<(), LogError>;

    /// Goes back to the committed offset of a partition, after an abort.
    async fn rewind(&mut self, partition: u32) -> Result<(), LogError>;

    /// Partitions of ours that have nothing more to read now, and when that was looked at.
    ///
    /// A partition with an open transaction in front of its end is not at its end.
    fn at_end(&mut self) -> Vec<(u32, Timestamp)>;

    /// Offset up to which everything of a partition was given, holes included (markers of transactions, aborted and
    /// compacted records); `None` where it is not known. Lag is [`Extent::stable`] less this, once all that was given is
    /// committed.
    fn position(&mut self, _partition: u32) -> Option<u64> {
        None
    }

    /// Whether nothing more can come of this consumer: drop it and subscribe again.
    fn is_dead(&mut self) -> bool {
        false
    }

    /// Whether the group has taken us in: with partitions, or without any, where there are more members than partitions.
    fn is_member(&mut self) -> bool {
        true
    }
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
    Nothing {
        /// Partition, and when it was looked at.
        at_end: Vec<(u32, Timestamp)>,
    },
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
    /// Most records. Zero: a poll brings no records, only changes of the assignment.
    pub records_max: usize,
    /// Most bytes; at least one record is returned where there is one.
    pub bytes_max: usize,
}

impl FetchLimits {
    /// No records: only changes of the assignment.
    pub const PAUSED: FetchLimits = FetchLimits { records_max: 0, bytes_max: 0 };
}

/// What a fetch brings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fetched {
    /// Records in order; none where there are none yet.
    pub records: Vec<Record>,
    /// Where to go on: after the last record, and past holes (markers of transactions, aborted and compacted records).
    /// Never below the offset that was asked for. A reader has seen all when this is [`Extent::end`] as it was asked for
    /// before the fetch; it makes no progress while a transaction is open there.
    pub next: u64,
}

/// Offsets of a partition: `start <= stable <= end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// First offset that is still there.
    pub start: u64,
    /// Last stable offset: everything before it is committed or aborted, and lag is measured to it. Over the local log
    /// equal to `end`.
    pub stable: u64,
    /// Offset that the next record will get.
    pub end: u64,
}

impl Extent {
    /// A partition without open transactions.
    pub const fn decided(start: u64, end: u64) -> Extent {
        Extent { start, stable: end, end }
    }
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
    TooLarge {
        /// Size of the record.
        bytes: usize,
        /// Largest that the topic takes.
        limit: usize,
    },
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

impl LogError {
    /// What happens next: the same again after a while, the record to `mozdef.dead`, or a halt.
    ///
    /// `Fenced` asks for a retry with the partitions owned then; `OutcomeUnknown` for [`Consumer::settle`].
    pub fn verdict(&self) -> Verdict {
        match self {
            LogError::Unavailable(_) => Verdict::Retry { after_ms: 200 },
            LogError::NoSpace(_) => Verdict::Retry { after_ms: 1000 },
            LogError::OutcomeUnknown(_) => Verdict::Retry { after_ms: 100 },
            // Not at once: who has not heard yet that its partitions are gone would be fenced again and again.
            LogError::Fenced => Verdict::Retry { after_ms: 50 },
            LogError::TooLarge { .. } => Verdict::Dead(Reason::TooLarge),
            LogError::Broken(_) => Verdict::Halt,
        }
    }

    /// Whether the same call may succeed later.
    pub fn is_retryable(&self) -> bool {
        matches!(self.verdict(), Verdict::Retry { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::LogError;

    #[test]
    fn only_what_can_get_better_is_retried() {
        assert!(LogError::Unavailable(String::new()).is_retryable());
        assert!(LogError::NoSpace(String::new()).is_retryable());
        assert!(LogError::OutcomeUnknown(String::new()).is_retryable());
        assert!(!LogError::TooLarge { bytes: 2, limit: 1 }.is_retryable());
        assert!(!LogError::Broken(String::new()).is_retryable());
    }
}
