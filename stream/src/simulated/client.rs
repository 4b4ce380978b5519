//! A client process of the simulated log: everything but groups.
//!
//! In: requests of a stage. Out: answers, late or none, as the faults will.
//! Never: an effect that is not the broker's.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use model::time::{Clock, Timestamp};
use model::topic::Topic;
use tokio::time::Instant;

use super::broker::{Broker, ClientId, Due};
use super::consumer::SimulatedConsumer;
use super::faults::{Broken, Faults};
use super::shard::Read;
use super::{LATE, Shared};
use crate::log::{Consumer, Extent, FetchLimits, Fetched, Log, LogError};
use crate::record::{NewRecord, Position, Record};

/// The log, as one process sees it.
#[derive(Debug)]
pub(super) struct SimulatedLog {
    wire: Wire,
    name: String,
}

/// The way from one process to the brokers.
#[derive(Clone, Debug)]
pub(super) struct Wire {
    pub(super) shared: Arc<Shared>,
    pub(super) client: ClientId,
    pub(super) clock: Clock,
}

impl Wire {
    /// Asks the brokers, now.
    pub(super) fn ask<R>(&self, work: impl FnOnce(&mut Broker) -> R) -> R {
        self.shared.with(work)
    }

    /// The time that a request takes; much longer when the process stands still.
    pub(super) async fn travel(&self) {
        loop {
            let now = Instant::now();
            let until = self.ask(|broker| {
                let client = broker.clients.get_mut(self.client)?;
                let until = client.frozen_until.filter(|until| *until > now);
                if until.is_none() && client.frozen_until.take().is_some() {
                    broker.speak(self.client);
                }
                until
            });
            match until {
                Some(until) => tokio::time::sleep_until(until).await,
                None => break,
            }
        }
        let millis = self.ask(|broker| match broker.faults.latency_ms {
            0 => 0,
            most => broker.dice.below(most.saturating_add(1)),
        });
        if millis > 0 {
            tokio::time::sleep(Duration::from_millis(millis)).await;
        }
    }

    /// Whether a fault happens now.
    pub(super) fn fails(&self, rate: impl FnOnce(&Faults) -> u32) -> bool {
        self.ask(|broker| {
            let rate = rate(&broker.faults);
            broker.dice.chance(rate)
        })
    }

    /// A question that may go unanswered.
    pub(super) async fn look<R>(
        &self,
        what: &str,
        work: impl FnOnce(&mut Broker) -> R,
    ) -> Result<R, LogError> {
        self.travel().await;
        if self.fails(|faults| faults.reads_fail) {
            return Err(unavailable(what));
        }
        Ok(self.ask(work))
    }
}

pub(super) fn unavailable(what: &str) -> LogError {
    LogError::Unavailable(format!("simulated: {what}"))
}

/// What was read, as records.
pub(super) fn records(topic: Topic, partition: u32, read: Read) -> Vec<Record> {
    let record = |(offset, appended, stored): (u64, Timestamp, super::shard::Stored)| Record {
        topic,
        partition,
        offset,
        appended,
        key: stored.key,
        value: stored.value,
        headers: stored.headers,
    };
    read.records.into_iter().map(record).collect()
}

/// Refuses what no topic takes.
pub(super) fn check_sizes(log: &dyn Log, records: &[NewRecord]) -> Result<(), LogError> {
    for record in records {
        let (bytes, limit) = (record.size(), log.record_bytes_max(record.topic));
        if bytes > limit {
            return Err(LogError::TooLarge { bytes, limit });
        }
    }
    Ok(())
}

impl SimulatedLog {
    pub(super) fn new(shared: Arc<Shared>, client: ClientId, name: &str, clock: Clock) -> SimulatedLog {
        SimulatedLog { wire: Wire { shared, client, clock }, name: name.to_owned() }
    }
}

#[async_trait]
impl Log for SimulatedLog {
    fn id(&self) -> &str {
        "simulated"
    }

    fn partitions(&self, topic: Topic) -> u32 {
        self.wire.ask(|broker| broker.partitions(topic))
    }

    async fn produce(&self, records: Vec<NewRecord>) -> Result<Vec<Position>, LogError> {
        check_sizes(self, &records)?;
        if records.is_empty() {
            return Ok(Vec::new());
        }
        self.wire.travel().await;
        let done = self.wire.ask(|broker| produce(broker, records));
        self.wire.travel().await;
        done
    }

    async fn subscribe(&self, group: &'static str, topic: Topic) -> Result<Box<dyn Consumer>, LogError> {
        self.wire.travel().await;
        if self.wire.fails(|faults| faults.subscribe_fails) {
            return Err(unavailable("no coordinator"));
        }
        let id = format!("{group}-{}", self.name);
        Ok(Box::new(SimulatedConsumer::new(self.wire.clone(), (group, topic), id)))
    }

    async fn fetch(
        &self,
        topic: Topic,
        partition: u32,
        from: u64,
        limits: FetchLimits,
    ) -> Result<Fetched, LogError> {
        self.wire.look("no answer to a fetch", |broker| fetch(broker, topic, partition, from, limits)).await
    }

    async fn extent(&self, topic: Topic, partition: u32) -> Result<Extent, LogError> {
        self.wire
            .look("no answer about offsets", |broker| {
                let shard = broker.shards.entry((topic, partition)).or_default();
                shard.extent()
            })
            .await
    }

    async fn offset_at(&self, topic: Topic, partition: u32, time: Timestamp) -> Result<u64, LogError> {
        self.wire
            .look("no answer about times", |broker| {
                broker.shards.entry((topic, partition)).or_default().offset_at(time)
            })
            .await
    }

    async fn committed(&self, group: &str, topic: Topic, partition: u32) -> Result<u64, LogError> {
        let answer = self.wire.look("no answer about committed offsets", |broker| {
            let start = broker.shards.get(&(topic, partition)).map_or(0, |shard| shard.extent().start);
            let is_blind = broker.is_broken(Broken::Pending);
            let Some((_, group)) = broker.groups.iter().find(|((name, t), _)| *name == group && *t == topic)
            else {
                return Ok(start);
            };
            if group.is_pending(partition) && !is_blind {
                return Err(unavailable("an offset is pending in a transaction"));
            }
            Ok(group.committed(partition).unwrap_or(start))
        });
        answer.await?
    }
}

fn produce(broker: &mut Broker, records: Vec<NewRecord>) -> Result<Vec<Position>, LogError> {
    let faults = broker.faults.clone();
    if broker.dice.chance(faults.produce_refused) {
        return Err(unavailable("a produce was refused"));
    }
    if broker.dice.chance(faults.produce_cut) {
        let count = usize::try_from(broker.dice.below(records.len() as u64)).unwrap_or(0);
        broker.note(|| format!("a produce of {} records is cut to {count}", records.len()));
        broker.append_plain(records.into_iter().take(count).collect());
        return Err(unavailable("a produce was cut short"));
    }
    if broker.dice.chance(faults.produce_late) {
        let after = broker.dice.between(0, u64::try_from(LATE.as_millis()).unwrap_or(0));
        broker.note(|| format!("a produce of {} records comes {after} ms late", records.len()));
        broker.schedule(Duration::from_millis(after), Due::Append { records });
        return Err(unavailable("a produce was not confirmed"));
    }
    if broker.is_broken(Broken::Acknowledgement) && broker.dice.chance(20) {
        let place = |record: &NewRecord| {
            let partition = broker.place(record);
            Position { partition, offset: 0 }
        };
        return Ok(records.iter().map(place).collect());
    }
    Ok(broker.append_plain(records))
}

fn fetch(broker: &mut Broker, topic: Topic, partition: u32, from: u64, limits: FetchLimits) -> Fetched {
    let faults = broker.faults.clone();
    if broker.dice.chance(faults.empty_fetches) {
        return Fetched { records: Vec::new(), next: from };
    }
    let limits = shortened(broker, limits);
    let shard = broker.shards.entry((topic, partition)).or_default();
    let read = shard.read(from, limits, faults.broken == Some(Broken::Isolation));
    let next = read.next;
    Fetched { records: records(topic, partition, read), next }
}

/// Fewer records than could be read, now and then.
pub(super) fn shortened(broker: &mut Broker, limits: FetchLimits) -> FetchLimits {
    let rate = broker.faults.short_reads;
    if limits.records_max == 0 || !broker.dice.chance(rate) {
        return limits;
    }
    let records_max = usize::try_from(broker.dice.between(1, 4)).unwrap_or(1).min(limits.records_max);
    FetchLimits { records_max, ..limits }
}
