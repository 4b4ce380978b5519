//! A log in memory that only takes records, and fails when it is told to.
//!
//! In: produced records. Out: the same, for tests to look at. Never: reading
//! by consumers.

use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use model::time::Timestamp;
use model::topic::Topic;
use stream::log::{Consumer, Extent, FetchLimits, Fetched, Log, LogError};
use stream::record::{NewRecord, Position};

/// How the log behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(dead_code, reason = "tests and benchmark use different ones")]
pub(crate) enum Mode {
    /// It takes records and keeps them.
    Keeps,
    /// It takes records and forgets them.
    Forgets,
    /// It is away.
    Away,
    /// Its disk is full.
    Full,
    /// It never answers.
    Hangs,
}

/// The log.
#[derive(Debug)]
pub(crate) struct MemoryLog {
    mode: Mutex<Mode>,
    records: Mutex<Vec<NewRecord>>,
    offset: Mutex<u64>,
}

impl MemoryLog {
    /// An empty log.
    pub(crate) fn new(mode: Mode) -> MemoryLog {
        MemoryLog { mode: Mutex::new(mode), records: Mutex::default(), offset: Mutex::default() }
    }

    /// Changes its behaviour.
    #[allow(dead_code, reason = "the benchmark includes this file too")]
    pub(crate) fn set(&self, mode: Mode) {
        *self.mode.lock().unwrap_or_else(PoisonError::into_inner) = mode;
    }

    /// What came since the last call, by topic.
    #[allow(dead_code, reason = "the benchmark includes this file too")]
    pub(crate) fn take(&self, topic: Topic) -> Vec<NewRecord> {
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        let (taken, left) = records.drain(..).partition(|record| record.topic == topic);
        *records = left;
        taken
    }
}

#[async_trait]
impl Log for MemoryLog {
    fn id(&self) -> &str {
        "memory"
    }

    fn partitions(&self, _topic: Topic) -> u32 {
        1
    }

    async fn produce(&self, records: Vec<NewRecord>) -> Result<Vec<Position>, LogError> {
        let mode = *self.mode.lock().unwrap_or_else(PoisonError::into_inner);
        match mode {
            Mode::Keeps | Mode::Forgets => {}
            Mode::Away => return Err(LogError::Unavailable("it is being moved".to_owned())),
            Mode::Full => return Err(LogError::NoSpace("the disk is full".to_owned())),
            Mode::Hangs => std::future::pending().await,
        }
        let mut offset = self.offset.lock().unwrap_or_else(PoisonError::into_inner);
        let first = *offset;
        *offset += records.len() as u64;
        let positions = (first..*offset).map(|offset| Position { partition: 0, offset }).collect();
        if mode == Mode::Keeps {
            self.records.lock().unwrap_or_else(PoisonError::into_inner).extend(records);
        }
        Ok(positions)
    }

    async fn subscribe(&self, _group: &'static str, _topic: Topic) -> Result<Box<dyn Consumer>, LogError> {
        Err(LogError::Unavailable("this log is only written".to_owned()))
    }

    async fn fetch(
        &self,
        _topic: Topic,
        _partition: u32,
        _from: u64,
        _limits: FetchLimits,
    ) -> Result<Fetched, LogError> {
        Err(LogError::Unavailable("this log is only written".to_owned()))
    }

    async fn extent(&self, _topic: Topic, _partition: u32) -> Result<Extent, LogError> {
        Err(LogError::Unavailable("this log is only written".to_owned()))
    }

    async fn offset_at(&self, _topic: Topic, _partition: u32, _time: Timestamp) -> Result<u64, LogError> {
        Err(LogError::Unavailable("this log is only written".to_owned()))
    }

    async fn committed(&self, _group: &str, _topic: Topic, _partition: u32) -> Result<u64, LogError> {
        Err(LogError::Unavailable("this log is only written".to_owned()))
    }
}
