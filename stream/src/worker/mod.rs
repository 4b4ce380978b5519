//! The loop log → log: a pure worker turns records into outputs; the driver
//! commits outputs, changelog and offsets together.
//!
//! In: records of one topic. Out: what the worker makes of them, exactly once.
//! Never: a commit of half a batch, or a batch run again after its commit.

mod driver;
mod hands;
mod restore;
#[cfg(test)]
mod tests;

use model::metrics::Stage;
use model::time::{Clock, Timestamp};
use model::topic::Topic;

use self::driver::Driver;
use crate::health::Health;
use crate::log::{LogError, SharedLog};
use crate::record::{NewRecord, Record};
use crate::shutdown::Shutdown;

/// A stage's deciding code: pure and synchronous. State is kept by partition.
///
/// It runs on a thread of its own kind, so it may use the CPU for as long as a batch needs.
pub trait Worker: Send {
    /// A partition is ours. `restored`: the newest record of each key of the changelog partition, without tombstones, in
    /// order of offset.
    fn assigned(&mut self, partition: u32, restored: Vec<Record>, now: Timestamp);
    /// Gets what these records need from outside before they are processed; called before each [`Worker::process`].
    ///
    /// # Errors
    /// What is not to be had now: the records come again after a while, and the stage says what it waits for.
    fn prepare(&mut self, _partition: u32, _records: &[Record]) -> Result<(), String> {
        Ok(())
    }
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
    /// An output of the last `process` or `tick` is larger than its topic takes: it goes to `mozdef.dead` in its place,
    /// with reason `too_large`. A worker that counts its records counts it as dead instead of finished.
    fn too_large(&mut self, _partition: u32, _output: &NewRecord) {}
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
    /// Told how the loop fares; a fresh one for each loop.
    pub health: Health,
}

/// Runs until shutdown (drains and commits, then returns `Ok`) or until the log is broken.
///
/// What the worker does not know: a commit happens as soon as nothing more is waiting, and under load after at most
/// 50 ms or 4,000 records or 4 MiB of outputs; a commit that had no effect is rewound and run again, after a while; a
/// partition that stands still with lag for 30 s is logged and counted, and its consumer is built anew.
pub async fn run_worker(
    log: SharedLog,
    options: WorkerOptions,
    worker: Box<dyn Worker>,
    clock: Clock,
    shutdown: Shutdown,
) -> Result<(), LogError> {
    let group = options.group;
    let driver = Driver::new(log, options, worker, clock, shutdown.clone());
    shutdown.bound(driver.run()).await.unwrap_or_else(|| {
        tracing::warn!(group, "not drained in time; what is not committed will be run again");
        Ok(())
    })
}
