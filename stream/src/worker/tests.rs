//! Tests that need a hand inside the driver: a partition that is parked.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use model::metrics::{Stage, metrics};
use model::time::{Clock, Timestamp};
use model::topic::Topic;

use super::driver::Driver;
use super::{Worker, WorkerOptions};
use crate::health::Health;
use crate::log::{Consumer, Extent, FetchLimits, Fetched, Log, LogError, Polled, SharedLog, Transaction};
use crate::record::{Headers, NewRecord, Position, Record};
use crate::shutdown::channel;
use crate::watchdog::Watchdog;

/// One partition with one record; its first consumer never brings it.
struct Parked {
    consumers: AtomicU32,
    committed: Arc<AtomicU32>,
}

struct ParkedConsumer {
    is_first: bool,
    polls: u32,
    committed: Arc<AtomicU32>,
}

#[async_trait]
impl Log for Parked {
    fn id(&self) -> &str {
        "parked"
    }
    fn partitions(&self, _: Topic) -> u32 {
        1
    }
    async fn produce(&self, _: Vec<NewRecord>) -> Result<Vec<Position>, LogError> {
        Ok(Vec::new())
    }
    async fn subscribe(&self, _: &'static str, _: Topic) -> Result<Box<dyn Consumer>, LogError> {
        let is_first = self.consumers.fetch_add(1, Ordering::SeqCst) == 0;
        Ok(Box::new(ParkedConsumer { is_first, polls: 0, committed: self.committed.clone() }))
    }
    async fn fetch(&self, _: Topic, _: u32, _: u64, _: FetchLimits) -> Result<Fetched, LogError> {
        Ok(Fetched::default())
    }
    async fn extent(&self, _: Topic, _: u32) -> Result<Extent, LogError> {
        Ok(Extent::decided(0, 1))
    }
    async fn offset_at(&self, _: Topic, _: u32, _: Timestamp) -> Result<u64, LogError> {
        Ok(0)
    }
    async fn committed(&self, _: &str, _: Topic, _: u32) -> Result<u64, LogError> {
        Ok(u64::from(self.committed.load(Ordering::SeqCst)))
    }
}

#[async_trait]
impl Consumer for ParkedConsumer {
    async fn poll(&mut self, wait: Duration, _: FetchLimits) -> Result<Polled, LogError> {
        self.polls += 1;
        match self.polls {
            1 => Ok(Polled::Assigned(vec![0])),
            2 if !self.is_first => {
                // Long enough for the test to see that the stall is told until the record is through.
                tokio::time::sleep(Duration::from_millis(50)).await;
                Ok(Polled::Records(0, vec![record()]))
            }
            _ => {
                tokio::time::sleep(wait).await;
                Ok(Polled::Nothing { at_end: Vec::new() })
            }
        }
    }
    async fn commit(&mut self, transaction: Transaction) -> Result<(), LogError> {
        for (_, next) in transaction.offsets {
            self.committed.store(u32::try_from(next).unwrap(), Ordering::SeqCst);
        }
        Ok(())
    }
    async fn settle(&mut self) -> Result<(), LogError> {
        Ok(())
    }
    async fn rewind(&mut self, _: u32) -> Result<(), LogError> {
        Ok(())
    }
    fn at_end(&mut self) -> Vec<(u32, Timestamp)> {
        Vec::new()
    }
}

fn record() -> Record {
    let (key, value, headers) = (Bytes::new(), Bytes::from("x"), Headers::new());
    Record { topic: Topic::Raw, partition: 0, offset: 0, appended: Timestamp::EPOCH, key, value, headers }
}

struct Still;

impl Worker for Still {
    fn assigned(&mut self, _: u32, _: Vec<Record>, _: Timestamp) {}
    fn process(&mut self, _: u32, _: &[Record], _: Timestamp, _: &mut Vec<NewRecord>) {}
    fn tick(&mut self, _: u32, _: Timestamp, _: Option<Timestamp>, _: &mut Vec<NewRecord>) {}
    fn committed(&mut self, _: u32, _: Timestamp) {}
    fn aborted(&mut self, _: u32) {}
    fn revoked(&mut self, _: u32) {}
}

#[tokio::test]
async fn a_parked_partition_gets_a_new_consumer() {
    let committed = Arc::new(AtomicU32::new(0));
    let log: SharedLog = Arc::new(Parked { consumers: AtomicU32::new(0), committed: committed.clone() });
    let health = Health::default();
    let options = WorkerOptions {
        group: "parked",
        stage: Stage::Match,
        input: Topic::Raw,
        changelog: None,
        health: health.clone(),
    };
    let (trigger, shutdown) = channel();
    let mut driver = Driver::new(log, options, Box::new(Still), Clock::System, shutdown);
    driver.watchdog = Watchdog::new(Duration::from_millis(500));
    let running = tokio::spawn(driver.run());
    let mut told = String::new();
    let moved = async {
        while committed.load(Ordering::SeqCst) == 0 {
            told.extend(health.reasons().into_iter().find(|reason| reason.contains("stands still")));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // It is told until it has moved, and not longer.
        while !health.reasons().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), moved).await.expect("a new consumer");
    assert!(told.starts_with("partition 0 stands still for 0 s, 1 records behind"), "{told}");
    assert_eq!(metrics().stalled.with_label_values(&["parked"]).get(), 1);
    trigger.fire();
    running.await.unwrap().unwrap();
}
