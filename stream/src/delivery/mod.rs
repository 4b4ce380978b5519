//! The loop log → outside: work is in flight in parallel and ends in any
//! order; only the contiguous finished prefix of a partition is committed.
//!
//! In: records of one topic. Out: effects outside, at least once and idempotent
//! by id; dead letters exactly once. Never: an offset past unfinished work (DL-2).

mod driver;
mod ledger;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_trait::async_trait;
use model::error::Reason;
use model::metrics::Stage;
use model::time::Clock;
use model::topic::Topic;

use self::driver::Driver;
use crate::health::Health;
use crate::log::{LogError, SharedLog};
use crate::record::Record;
use crate::shutdown::Shutdown;

/// Outside effect of a stage; idempotent by id.
#[async_trait]
pub trait Delivery: Send + Sync + 'static {
    /// Delivers a batch and returns one outcome for each record, in order. Retries inside, for as long as it takes;
    /// the driver drops the future at shutdown, after the grace time, and the records are delivered again later.
    ///
    /// Records of the log itself (header `kind`: heartbeats, watermarks) are left out.
    async fn deliver(&self, records: &[Record]) -> Vec<Outcome>;
}

/// What became of one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Done.
    Done,
    /// Refused for good: the driver writes it to `mozdef.dead`.
    Dead {
        /// Why.
        reason: Reason,
        /// More about it, for people.
        detail: String,
    },
}

/// How a delivery is run.
#[derive(Clone, Debug)]
pub struct DeliveryOptions {
    /// Consumer group.
    pub group: &'static str,
    /// For metrics and dead letters.
    pub stage: Stage,
    /// Topic consumed.
    pub input: Topic,
    /// Most records of one batch.
    pub batch_records_max: usize,
    /// Most bytes of one batch.
    pub batch_bytes_max: usize,
    /// Longest wait for a batch to fill, in milliseconds.
    pub batch_wait_ms: u64,
    /// Batches under way at once.
    pub in_flight_max: usize,
    /// Told how the loop fares; a fresh one for each loop.
    pub health: Health,
}

/// Runs until shutdown (waits for what is in flight up to the grace time, commits, returns `Ok`) or until the log is broken.
pub async fn run_delivery(
    log: SharedLog,
    options: DeliveryOptions,
    delivery: Arc<dyn Delivery>,
    clock: Clock,
    shutdown: Shutdown,
) -> Result<(), LogError> {
    let group = options.group;
    let driver = Driver::new(log, options, delivery, clock, shutdown.clone());
    shutdown.bound(driver.run()).await.unwrap_or_else(|| {
        tracing::warn!(group, "not drained in time; what is not committed will be run again");
        Ok(())
    })
}
