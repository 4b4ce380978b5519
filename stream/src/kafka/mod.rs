//! The log on Kafka.
//!
//! In: topics that `mozdef topics apply` has made. Out: the log's promises,
//! by idempotent producers, transactions and consumer groups. Never: a commit
//! of partitions that are not ours.
//!
//! ```text
//! produce ─▶ gateway's producer (idempotent, acks=all)            produce.rs
//! subscribe ─▶ member of a group: a thread that polls events,     member.rs, serve.rs
//!              a queue for each partition, read when wanted       batch.rs
//!              commit ─▶ transactional producer on a thread       transact.rs
//! fetch, extent, offset_at, committed ─▶ clients that look        look.rs, read.rs
//! ```

mod admin;
mod batch;
mod client;
mod failure;
mod look;
mod member;
mod names;
mod open;
mod poll;
mod produce;
mod producer;
mod read;
pub mod sender;
mod serve;
mod settings;
pub mod source;
mod token;
pub mod topics;
mod transact;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use model::config::KafkaConfig;
use model::time::{Clock, Timestamp};
use model::topic::Topic;
use rdkafka::ClientConfig;

use self::client::{Threads, Voice};
use self::look::Looker;
use self::names::Names;
pub use self::open::{OpenError, open};
use self::poll::KafkaConsumer;
use self::produce::Gateway;
use self::read::Readers;
pub use self::settings::SettingsError;
use self::token::TokenSource;
use crate::log::{Consumer, Extent, FetchLimits, Fetched, Log, LogError};
use crate::record::{NewRecord, Position, partition_of};

/// Longest wait for the threads of the log at its end: groups are left, what is queued is sent.
const END: Duration = Duration::from_secs(2);

/// What all parts of the log share.
struct Core {
    id: String,
    names: Names,
    config: KafkaConfig,
    instance: String,
    base: ClientConfig,
    tokens: Option<Arc<TokenSource>>,
    clock: Clock,
    /// By topic, as the cluster had them when last looked at.
    partitions: [AtomicU32; Topic::ALL.len()],
    /// Largest record by topic, in bytes.
    record_bytes_max: [usize; Topic::ALL.len()],
    looker: Looker,
    readers: Readers,
    /// Partition of the next record without a key.
    turn: AtomicU32,
    /// Numbers of the members of each group in this process, part of their transactional ids.
    slots: Mutex<BTreeMap<&'static str, Vec<bool>>>,
    /// Groups are run by the classic protocol, as the brokers do not have the other.
    is_classic: std::sync::atomic::AtomicBool,
    threads: Arc<Threads>,
}

impl Core {
    fn partitions(&self, topic: Topic) -> u32 {
        self.partitions.get(topic as usize).map_or(0, |count| count.load(Ordering::Relaxed))
    }

    fn record_bytes_max(&self, topic: Topic) -> usize {
        self.record_bytes_max.get(topic as usize).copied().unwrap_or(0)
    }

    fn voice(&self, client: impl Into<String>) -> Voice {
        Voice::new(client, self.tokens.clone())
    }

    /// Nothing of what is to be produced is larger than its topic takes.
    fn check_sizes(&self, records: &[NewRecord]) -> Result<(), LogError> {
        for record in records {
            let (bytes, limit) = (record.size(), self.record_bytes_max(record.topic));
            if bytes > limit {
                return Err(LogError::TooLarge { bytes, limit });
            }
        }
        Ok(())
    }

    /// The partition of a record: as it says, by hash of its key, or in turn.
    fn partition_of(&self, record: &NewRecord) -> i32 {
        let count = self.partitions(record.topic);
        let partition = match record.partition {
            Some(partition) => partition,
            None if record.key.is_empty() => {
                self.turn.fetch_add(1, Ordering::Relaxed).checked_rem(count).unwrap_or(0)
            }
            None => partition_of(&record.key, count),
        };
        i32::try_from(partition).unwrap_or(i32::MAX)
    }

    /// The smallest free number of a member of a group in this process.
    fn take_slot(&self, group: &'static str) -> usize {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let slots = slots.entry(group).or_default();
        match slots.iter_mut().enumerate().find(|(_, taken)| !**taken) {
            Some((slot, taken)) => {
                *taken = true;
                slot
            }
            None => {
                slots.push(true);
                slots.len().saturating_sub(1)
            }
        }
    }

    fn free_slot(&self, group: &'static str, slot: usize) {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(taken) = slots.get_mut(group).and_then(|slots| slots.get_mut(slot)) {
            *taken = false;
        }
    }
}

/// The log on Kafka. Dropping it waits (up to 2 s) until groups are left and what is queued is sent.
struct KafkaLog {
    core: Arc<Core>,
    gateway: OnceLock<Gateway>,
    making: Mutex<()>,
}

impl KafkaLog {
    /// The gateway's producer; made when it is first needed.
    fn gateway(&self) -> Result<&Gateway, LogError> {
        if let Some(gateway) = self.gateway.get() {
            return Ok(gateway);
        }
        let _making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(gateway) = self.gateway.get() {
            return Ok(gateway);
        }
        let made = Gateway::new(&self.core)?;
        Ok(self.gateway.get_or_init(|| made))
    }
}

impl Drop for KafkaLog {
    fn drop(&mut self) {
        drop(self.gateway.take());
        if !self.core.threads.wait(END) {
            tracing::warn!("the brokers did not let us leave in good order");
        }
    }
}

#[async_trait]
impl Log for KafkaLog {
    fn id(&self) -> &str {
        &self.core.id
    }

    fn partitions(&self, topic: Topic) -> u32 {
        self.core.partitions(topic)
    }

    fn record_bytes_max(&self, topic: Topic) -> usize {
        self.core.record_bytes_max(topic)
    }

    async fn reach(&self, topics: &[Topic]) -> Result<(), LogError> {
        open::reach(&self.core, topics).await
    }

    async fn produce(&self, records: Vec<NewRecord>) -> Result<Vec<Position>, LogError> {
        self.gateway()?.produce(&self.core, &records).await
    }

    async fn subscribe(&self, group: &'static str, topic: Topic) -> Result<Box<dyn Consumer>, LogError> {
        Ok(Box::new(KafkaConsumer::join(Arc::clone(&self.core), group, topic).await?))
    }

    async fn fetch(
        &self,
        topic: Topic,
        partition: u32,
        from: u64,
        limits: FetchLimits,
    ) -> Result<Fetched, LogError> {
        read::fetch(&self.core, topic, partition, from, limits).await
    }

    async fn extent(&self, topic: Topic, partition: u32) -> Result<Extent, LogError> {
        self.core.looker.extent(topic, partition).await
    }

    async fn offset_at(&self, topic: Topic, partition: u32, time: Timestamp) -> Result<u64, LogError> {
        self.core.looker.offset_at(topic, partition, time).await
    }

    async fn committed(&self, group: &str, topic: Topic, partition: u32) -> Result<u64, LogError> {
        let start = self.core.looker.extent(topic, partition).await?.start;
        let group = self.core.config.group_name(group);
        let committed = self.core.looker.committed(&self.core, &group, topic, vec![partition]).await?;
        Ok(committed.get(&partition).map_or(start, |commit| commit.next.max(start)))
    }
}
