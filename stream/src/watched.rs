//! The log as a gateway sees it: whether it takes records is watched, so that readiness can tell.
//!
//! In: a log. Out: the same log, and what its appends meet, in a [`Health`]. Never: a change to what is appended.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use model::time::Timestamp;
use model::topic::Topic;
use tokio::time::Instant;

use crate::health::{Doing, Health};
use crate::log::{Consumer, Extent, FetchLimits, Fetched, Log, LogError, SharedLog};
use crate::record::{NewRecord, Position};
use crate::shutdown::Shutdown;

/// Time between two looks at the topic.
const PROBE_EVERY: Duration = Duration::from_secs(2);
/// How long an append may go on before giving it up counts as the log's fault.
const SLOW: Duration = Duration::from_secs(3);
/// When a failed append is forgotten while the topic can be reached: who is not ready gets no more requests to learn from.
const FORGIVE: Duration = Duration::from_secs(10);

/// The same log; its appends are told to `health`.
pub fn watched(log: SharedLog, health: Health) -> SharedLog {
    Arc::new(Watched { log, health })
}

/// Looks, until shutdown, every two seconds whether the log and these topics are there.
pub async fn probe(log: SharedLog, topics: &'static [Topic], health: Health, mut shutdown: Shutdown) {
    let mut was_there = true;
    while !shutdown.is_set() {
        let there = log.reach(topics).await;
        match &there {
            Ok(()) => {
                health.succeeded(Doing::Reach);
                health.forgive(Doing::Produce, FORGIVE);
                if !was_there {
                    tracing::info!("the log and its topics are there again");
                }
            }
            Err(error) => {
                health.failed(Doing::Reach, error);
                if was_there {
                    tracing::error!(%error, "the log cannot be used; looking again every {} s", PROBE_EVERY.as_secs());
                }
            }
        }
        was_there = there.is_ok();
        tokio::select! {
            () = shutdown.wait() => {}
            () = tokio::time::sleep(PROBE_EVERY) => {}
        }
    }
}

struct Watched {
    log: SharedLog,
    health: Health,
}

/// An append under way. Who waits for it may give it up.
struct Append<'a> {
    health: &'a Health,
    since: Instant,
    is_over: bool,
}

impl Drop for Append<'_> {
    fn drop(&mut self) {
        if !self.is_over && self.since.elapsed() >= SLOW {
            let seconds = self.since.elapsed().as_secs();
            self.health.failed_because(Doing::Produce, format!("no acknowledgement after {seconds} s"));
        }
    }
}

#[async_trait]
impl Log for Watched {
    fn id(&self) -> &str {
        self.log.id()
    }

    fn partitions(&self, topic: Topic) -> u32 {
        self.log.partitions(topic)
    }

    fn record_bytes_max(&self, topic: Topic) -> usize {
        self.log.record_bytes_max(topic)
    }

    async fn reach(&self, topics: &[Topic]) -> Result<(), LogError> {
        self.log.reach(topics).await
    }

    async fn produce(&self, records: Vec<NewRecord>) -> Result<Vec<Position>, LogError> {
        let mut append = Append { health: &self.health, since: Instant::now(), is_over: false };
        let outcome = self.log.produce(records).await;
        append.is_over = true;
        match &outcome {
            Ok(_) => self.health.succeeded(Doing::Produce),
            // The record's fault, not the log's.
            Err(LogError::TooLarge { .. }) => {}
            Err(error) => self.health.failed(Doing::Produce, error),
        }
        outcome
    }

    async fn subscribe(&self, group: &'static str, topic: Topic) -> Result<Box<dyn Consumer>, LogError> {
        self.log.subscribe(group, topic).await
    }

    async fn fetch(
        &self,
        topic: Topic,
        partition: u32,
        from: u64,
        limits: FetchLimits,
    ) -> Result<Fetched, LogError> {
        self.log.fetch(topic, partition, from, limits).await
    }

    async fn extent(&self, topic: Topic, partition: u32) -> Result<Extent, LogError> {
        self.log.extent(topic, partition).await
    }

    async fn offset_at(&self, topic: Topic, partition: u32, time: Timestamp) -> Result<u64, LogError> {
        self.log.offset_at(topic, partition, time).await
    }

    async fn committed(&self, group: &str, topic: Topic, partition: u32) -> Result<u64, LogError> {
        self.log.committed(group, topic, partition).await
    }
}
