//! The loop log → log: a pure worker turns records into outputs; the driver
//! commits outputs, changelog and offsets together. (Skeleton.)

use model::metrics::Stage;
use model::time::{Clock, Timestamp};
use model::topic::Topic;

use crate::log::{LogError, SharedLog};
use crate::record::{NewRecord, Record};
use crate::shutdown::Shutdown;

/// A stage's deciding code: pure and synchronous. State is kept by partition.
pub trait Worker: Send {
    /// A partition is ours. `restored`: the newest record of each key of the changelog partition.
    fn assigned(&mut self, partition: u32, restored: Vec<Record>, now: Timestamp);
    /// Turns records of one partition, in order, into outputs.
    fn process(&mut self, partition: u32, records: &[Record], now: Timestamp, out: &mut Vec<NewRecord>);
    /// Called about each second for each partition. `at_end`: when the partition was last seen at its end, if it is still there.
    fn tick(&mut self, partition: u32, now: Timestamp, at_end: Option<Timestamp>, out: &mut Vec<NewRecord>);
    /// Everything put out since the last call is durable: before-images may go.
    fn committed(&mut self, partition: u32, now: Timestamp);
    /// Everything put out since the last `committed` did not happen: put the before-images back.
    fn aborted(&mut self, partition: u32);
    /// The partition is gone: drop its state.
    fn revoked(&mut self, partition: u32);
}

/// How a worker is run.
#[derive(Clone, Debug)]
pub struct WorkerOptions {
    /// Consumer group.
    pub group: &'static str,
    /// For metrics and logs.
    pub stage: Stage,
    /// Topic consumed.
    pub input: Topic,
    /// Topic of the same partition number that holds the worker's state.
    pub changelog: Option<Topic>,
}

/// Runs until shutdown (drains and commits, then returns `Ok`) or until the log is broken.
pub async fn run_worker(
    _log: SharedLog,
    _options: WorkerOptions,
    _worker: Box<dyn Worker>,
    _clock: Clock,
    _shutdown: Shutdown,
) -> Result<(), LogError> {
    todo!()
}
