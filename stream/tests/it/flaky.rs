//! A log that fails: commits that have no effect, commits whose outcome is
//! unknown (taken or not), polls that fail. Seeded.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use model::time::Timestamp;
use model::topic::Topic;
use stream::log::{Consumer, Extent, FetchLimits, Fetched, Log, LogError, Polled, SharedLog, Transaction};
use stream::record::{NewRecord, Position};

use crate::kit::Random;

/// Fails about each `one_in`th commit, and now and then a poll.
pub struct Flaky {
    inner: SharedLog,
    dice: Arc<Mutex<Random>>,
    one_in: u64,
}

impl Flaky {
    pub fn over(inner: SharedLog, one_in: u64) -> SharedLog {
        let random = Random::new();
        println!("seed {}", random.seed());
        Arc::new(Flaky { inner, dice: Arc::new(Mutex::new(random)), one_in })
    }
}

#[async_trait]
impl Log for Flaky {
    fn id(&self) -> &str {
        self.inner.id()
    }
    fn partitions(&self, topic: Topic) -> u32 {
        self.inner.partitions(topic)
    }
    async fn produce(&self, records: Vec<NewRecord>) -> Result<Vec<Position>, LogError> {
        self.inner.produce(records).await
    }
    async fn subscribe(&self, group: &'static str, topic: Topic) -> Result<Box<dyn Consumer>, LogError> {
        let inner = self.inner.subscribe(group, topic).await?;
        Ok(Box::new(FlakyConsumer { inner, dice: self.dice.clone(), one_in: self.one_in, unknown: None }))
    }
    async fn fetch(&self, topic: Topic, p: u32, from: u64, limits: FetchLimits) -> Result<Fetched, LogError> {
        self.inner.fetch(topic, p, from, limits).await
    }
    async fn extent(&self, topic: Topic, partition: u32) -> Result<Extent, LogError> {
        self.inner.extent(topic, partition).await
    }
    async fn offset_at(&self, topic: Topic, partition: u32, time: Timestamp) -> Result<u64, LogError> {
        self.inner.offset_at(topic, partition, time).await
    }
    async fn committed(&self, group: &str, topic: Topic, partition: u32) -> Result<u64, LogError> {
        self.inner.committed(group, topic, partition).await
    }
}

struct FlakyConsumer {
    inner: Box<dyn Consumer>,
    dice: Arc<Mutex<Random>>,
    one_in: u64,
    /// What the commit of unknown outcome came to.
    unknown: Option<Result<(), LogError>>,
}

impl FlakyConsumer {
    fn roll(&self, bound: u64) -> u64 {
        self.dice.lock().unwrap().below(bound)
    }
}

#[async_trait]
impl Consumer for FlakyConsumer {
    async fn poll(&mut self, wait: Duration, limits: FetchLimits) -> Result<Polled, LogError> {
        if self.roll(self.one_in * 10) == 0 {
            return Err(LogError::Unavailable("flaky poll".to_owned()));
        }
        self.inner.poll(wait, limits).await
    }

    async fn commit(&mut self, transaction: Transaction) -> Result<(), LogError> {
        assert!(self.unknown.is_none(), "committed again before the outcome was known");
        if self.roll(self.one_in) != 0 {
            return self.inner.commit(transaction).await;
        }
        match self.roll(3) {
            0 => Err(LogError::Unavailable("flaky commit".to_owned())),
            1 => {
                self.unknown = Some(Err(LogError::Unavailable("it was not taken".to_owned())));
                Err(LogError::OutcomeUnknown("not taken".to_owned()))
            }
            _ => {
                self.unknown = Some(self.inner.commit(transaction).await);
                Err(LogError::OutcomeUnknown("taken".to_owned()))
            }
        }
    }

    async fn settle(&mut self) -> Result<(), LogError> {
        if self.roll(2) == 0 {
            return Err(LogError::OutcomeUnknown("still".to_owned()));
        }
        self.unknown.take().expect("asked without need")
    }

    async fn rewind(&mut self, partition: u32) -> Result<(), LogError> {
        self.inner.rewind(partition).await
    }

    fn at_end(&mut self) -> Vec<(u32, Timestamp)> {
        self.inner.at_end()
    }

    fn position(&mut self, partition: u32) -> Option<u64> {
        self.inner.position(partition)
    }
}
