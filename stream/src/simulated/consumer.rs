//! A member of a group of the simulated log, with its transactional producer.
//!
//! In: what the group decides, records, commits. Out: the same as from every
//! log. Never: a step that is safe only because nothing is lost on the way.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use model::time::Timestamp;
use model::topic::Topic;
use tokio::time::Instant;

use super::broker::{Broker, GroupKey};
use super::client::{Wire, records, shortened, unavailable};
use super::faults::Broken;
use super::group::{Member, Told};
use super::shard::Transaction as TransactionId;
use super::transactions::Refused;
use crate::log::{
    Consumer, DEAD_RECORD_BYTES_MAX, FetchLimits, LogError, Polled, RECORD_BYTES_MAX, Transaction,
};
use crate::record::NewRecord;

/// Time between two tries while the transaction before is being ended.
const BUSY: Duration = Duration::from_millis(10);
/// What a slow commit takes, in milliseconds.
const SLOW_MS: (u64, u64) = (1_000, 12_000);

/// The member.
pub(super) struct SimulatedConsumer {
    wire: Wire,
    group: GroupKey,
    member: Member,
    /// Transactional id.
    id: String,
    /// Of the producer; none: it must be fetched before the next transaction, which ends whatever is open.
    epoch: Option<u64>,
    /// Next offset to fetch; none: where the group has committed, once that is decided.
    held: BTreeMap<u32, Option<u64>>,
    /// Told to be given up; given up with the next poll.
    leaving: Vec<u32>,
    /// Partitions that bring nothing any more.
    parked: BTreeSet<u32>,
    /// The partition that was served last.
    served: u32,
    /// The transaction whose end was not answered.
    unknown: Option<TransactionId>,
}

/// Why a transaction did not go through.
enum Failure {
    /// Nothing was committed.
    Log(LogError),
    /// Nobody knows.
    Unknown(TransactionId),
}

impl SimulatedConsumer {
    /// Joins.
    pub(super) fn new(wire: Wire, group: GroupKey, id: String) -> SimulatedConsumer {
        let member = wire.ask(|broker| broker.join(group, wire.client));
        SimulatedConsumer {
            wire,
            group,
            member,
            id,
            epoch: None,
            held: BTreeMap::new(),
            leaving: Vec::new(),
            parked: BTreeSet::new(),
            served: 0,
            unknown: None,
        }
    }

    fn give_up_what_was_revoked(&mut self) {
        let leaving = std::mem::take(&mut self.leaving);
        self.held.retain(|partition, _| !leaving.contains(partition));
        if !leaving.is_empty() {
            let (group, member) = (self.group, self.member);
            self.wire.ask(|broker| {
                broker.group(group).release(member, &leaving);
                broker.regrouped(group);
            });
        }
    }

    /// Until when the process hears nothing of its group.
    fn deaf_until(&self) -> Option<Instant> {
        let client = self.wire.client;
        self.wire.ask(|broker| {
            let state = broker.clients.get_mut(client)?;
            let until = state.deaf_until?;
            if until > Instant::now() {
                return Some(until);
            }
            state.deaf_until = None;
            broker.speak(client);
            None
        })
    }

    /// What the group has to tell, if anything.
    fn told(&mut self) -> Option<Polled> {
        let (group, member, client) = (self.group, self.member, self.wire.client);
        if !self.wire.ask(|broker| broker.group(group).is_member(member)) {
            let lost: Vec<u32> = std::mem::take(&mut self.held).into_keys().collect();
            self.leaving.clear();
            if !lost.is_empty() {
                return Some(Polled::Lost(lost));
            }
            self.member = self.wire.ask(|broker| broker.join(group, client));
        }
        let member = self.member;
        let held: Vec<u32> = self.held.keys().copied().collect();
        let told = self.wire.ask(|broker| {
            let told = broker.group(group).next(member, &held);
            if told != Told::Nothing {
                broker.note(|| format!("group {}: member {member} is told {told:?}", group.0));
            }
            told
        });
        match told {
            Told::Nothing => None,
            Told::Lost(partitions) => {
                self.held.retain(|partition, _| !partitions.contains(partition));
                Some(Polled::Lost(partitions))
            }
            Told::Revoked(partitions) => {
                self.leaving.clone_from(&partitions);
                Some(Polled::Revoked(partitions))
            }
            Told::Assigned(partitions) => {
                for partition in &partitions {
                    let position = self.wire.ask(|broker| Self::begin(broker, group, *partition, None));
                    self.held.insert(*partition, position);
                }
                Some(Polled::Assigned(partitions))
            }
        }
    }

    /// Where a partition is read on; `None` while its offset is pending in a transaction.
    fn begin(broker: &mut Broker, group: GroupKey, partition: u32, position: Option<u64>) -> Option<u64> {
        let start = broker.shards.get(&(group.1, partition)).map_or(0, |shard| shard.extent().start);
        let is_blind = broker.is_broken(Broken::Pending);
        let offsets = broker.group(group);
        match position {
            Some(position) => Some(position.max(start)),
            None if offsets.is_pending(partition) && !is_blind => None,
            None => Some(offsets.committed(partition).unwrap_or(start).max(start)),
        }
    }

    /// Records of the next partition that has some, in turn.
    fn read(&mut self, limits: FetchLimits) -> Option<Polled> {
        let later = self.held.range(self.served.saturating_add(1)..);
        let earlier = self.held.range(..=self.served);
        let turn: Vec<(u32, Option<u64>)> =
            later.chain(earlier).map(|(p, position)| (*p, *position)).collect();
        let (group, topic) = (self.group, self.group.1);
        for (partition, position) in turn {
            if self.leaving.contains(&partition) || self.parked.contains(&partition) {
                continue;
            }
            let read = self.wire.ask(|broker| {
                let from = Self::begin(broker, group, partition, position)?;
                let is_dirty = broker.is_broken(Broken::Isolation);
                let limits = shortened(broker, limits);
                let parks = broker.faults.parked;
                let read = broker.shards.get(&(topic, partition))?.read(from, limits, is_dirty);
                let is_parked = !read.records.is_empty() && broker.dice.chance(parks);
                if is_parked {
                    broker.note(|| format!("group {}: partition {partition} is parked", group.0));
                }
                Some((read, is_parked))
            });
            let Some((read, is_parked)) = read else { continue };
            if is_parked {
                self.parked.insert(partition);
                continue;
            }
            self.held.insert(partition, Some(read.next));
            if !read.records.is_empty() {
                self.served = partition;
                return Some(Polled::Records(partition, records(topic, partition, read)));
            }
        }
        None
    }

    /// Tries until the transaction before is over.
    async fn persist<R>(
        &self,
        mut work: impl FnMut(&mut Broker) -> Result<R, Refused>,
    ) -> Result<R, Refused> {
        loop {
            match self.wire.ask(&mut work) {
                Err(Refused::Busy) => tokio::time::sleep(BUSY).await,
                other => return other,
            }
        }
    }

    /// The producer's epoch. Fetching it ends what a predecessor, or a commit that was given up, has left open.
    async fn fetched_epoch(&mut self) -> Result<u64, Failure> {
        if let Some(epoch) = self.epoch {
            return Ok(epoch);
        }
        self.wire.travel().await;
        let id = self.id.clone();
        let epoch =
            self.persist(move |broker| broker.init(&id)).await.map_err(|refused| self.refused(refused))?;
        self.epoch = Some(epoch);
        Ok(epoch)
    }

    fn refused(&mut self, refused: Refused) -> Failure {
        self.epoch = None;
        Failure::Log(match refused {
            Refused::Busy => unavailable("the transaction before is not over"),
            Refused::Epoch => unavailable("the transaction has timed out, or has another owner"),
            Refused::Member => LogError::Fenced,
        })
    }

    /// One transaction: records, offsets, end.
    async fn transact(&mut self, transaction: Transaction) -> Result<(), Failure> {
        let epoch = self.fetched_epoch().await?;
        // Until the end is known, a future that is dropped leaves a transaction open.
        self.epoch = None;
        let lanes = by_partition(transaction.outputs);
        let cut = self.wire.ask(|broker| {
            let rate = broker.faults.commit_cut;
            broker.dice.chance(rate).then(|| broker.dice.below(lanes.len().saturating_add(1) as u64))
        });
        let mut running = None;
        for (index, lane) in (0_u64..).zip(lanes) {
            if cut == Some(index) {
                return Err(self.cut(epoch, running).await);
            }
            self.wire.travel().await;
            let id = self.id.clone();
            let append = |broker: &mut Broker| broker.append(&id, epoch, lane.clone());
            running = Some(self.persist(append).await.map_err(|refused| self.refused(refused))?);
        }
        if !transaction.offsets.is_empty() {
            self.wire.travel().await;
            let (id, by, offsets) = (self.id.clone(), (self.group, self.member), transaction.offsets);
            let add = |broker: &mut Broker| broker.add_offsets(&id, epoch, by, &offsets);
            match self.persist(add).await {
                Ok(transaction) => running = Some(transaction),
                Err(refused) => {
                    self.abort(epoch, running).await;
                    return Err(self.refused(refused));
                }
            }
        }
        if cut.is_some() {
            return Err(self.cut(epoch, running).await);
        }
        let Some(running) = running else { return Ok(()) };
        self.finish(epoch, running).await
    }

    /// Says that the transaction is to commit.
    async fn finish(&mut self, epoch: u64, running: TransactionId) -> Result<(), Failure> {
        self.epoch = Some(epoch);
        if self.wire.fails(|faults| faults.commit_lost) {
            return Err(Failure::Unknown(running));
        }
        // The future may be dropped from here on, when nobody will ask what became of it.
        self.epoch = None;
        self.wire.travel().await;
        let ended = self.wire.ask(|broker| broker.end(&self.id, epoch, running, true));
        match ended {
            Ok(true) => {}
            Ok(false) | Err(_) => return Err(self.refused(Refused::Epoch)),
        }
        if self.wire.fails(|faults| faults.commit_unknown) {
            if self.wire.ask(|broker| broker.is_broken(Broken::Outcome)) {
                return Err(Failure::Log(unavailable("a commit has failed, it is said")));
            }
            self.epoch = Some(epoch);
            return Err(Failure::Unknown(running));
        }
        self.wire.travel().await;
        self.epoch = Some(epoch);
        Ok(())
    }

    /// The commit goes no further: the transaction is aborted, or nobody can say so.
    async fn cut(&mut self, epoch: u64, running: Option<TransactionId>) -> Failure {
        if self.wire.ask(|broker| broker.dice.chance(500)) {
            self.abort(epoch, running).await;
        }
        Failure::Log(unavailable("a commit was cut short"))
    }

    async fn abort(&mut self, epoch: u64, running: Option<TransactionId>) {
        self.wire.travel().await;
        if let Some(running) = running {
            // If it is refused, the transaction is over, or its time-out ends it.
            let ended = self.wire.ask(|broker| broker.end(&self.id, epoch, running, false));
            self.epoch = ended.is_ok().then_some(epoch);
        }
    }

    fn check(&self, transaction: &Transaction) -> Result<(), LogError> {
        if self.unknown.is_some() {
            return Err(LogError::Broken("committed again before the outcome was known".to_owned()));
        }
        for record in &transaction.outputs {
            let limit = if record.topic == Topic::Dead { DEAD_RECORD_BYTES_MAX } else { RECORD_BYTES_MAX };
            let bytes = record.size();
            if bytes > limit {
                return Err(LogError::TooLarge { bytes, limit });
            }
        }
        let is_ours = transaction.offsets.iter().all(|(partition, _)| self.held.contains_key(partition));
        if is_ours { Ok(()) } else { Err(LogError::Fenced) }
    }
}

/// Records by partition, in order: each partition has its own request. Those without one stay together.
fn by_partition(outputs: Vec<NewRecord>) -> Vec<Vec<NewRecord>> {
    let mut lanes: Vec<Vec<NewRecord>> = Vec::new();
    for record in outputs {
        let same = |lane: &&mut Vec<NewRecord>| {
            lane.first()
                .is_some_and(|first| first.topic == record.topic && first.partition == record.partition)
        };
        match lanes.iter_mut().find(same) {
            Some(lane) => lane.push(record),
            None => lanes.push(vec![record]),
        }
    }
    lanes
}

#[async_trait]
impl Consumer for SimulatedConsumer {
    async fn poll(&mut self, wait: Duration, limits: FetchLimits) -> Result<Polled, LogError> {
        let deadline = Instant::now().checked_add(wait);
        self.give_up_what_was_revoked();
        if self.wire.fails(|faults| faults.poll_fails) {
            return Err(unavailable("a poll has failed"));
        }
        let shared = Arc::clone(&self.wire.shared);
        loop {
            // Registered before looking, so that news in between wakes us again.
            let group_news = shared.groups.notified();
            let topic_news = shared.topics.get(&self.group.1).unwrap_or(&shared.groups).notified();
            tokio::pin!(group_news, topic_news);
            group_news.as_mut().enable();
            topic_news.as_mut().enable();
            self.wire.travel().await;
            // From here on nothing waits, so that a dropped future loses nothing.
            let deaf_until = self.deaf_until();
            if deaf_until.is_none()
                && let Some(told) = self.told()
            {
                return Ok(told);
            }
            if limits.records_max > 0
                && let Some(records) = self.read(limits)
            {
                return Ok(records);
            }
            let at_end = self.at_end();
            let Some(deadline) = deadline.filter(|deadline| *deadline > Instant::now()) else {
                return Ok(Polled::Nothing { at_end });
            };
            let until = deaf_until.map_or(deadline, |until| until.min(deadline));
            tokio::select! {
                biased;
                () = &mut group_news => {}
                () = &mut topic_news, if limits.records_max > 0 => {}
                () = tokio::time::sleep_until(until) => {}
            }
        }
    }

    async fn commit(&mut self, transaction: Transaction) -> Result<(), LogError> {
        self.check(&transaction)?;
        if transaction.offsets.is_empty() && transaction.outputs.is_empty() {
            return Ok(());
        }
        if self.wire.fails(|faults| faults.commit_refused) {
            return Err(unavailable("a commit was refused"));
        }
        if self.wire.fails(|faults| faults.commit_slow) {
            let millis = self.wire.ask(|broker| broker.dice.between(SLOW_MS.0, SLOW_MS.1));
            tokio::time::sleep(Duration::from_millis(millis)).await;
        }
        match self.transact(transaction).await {
            Ok(()) => Ok(()),
            Err(Failure::Log(error)) => Err(error),
            Err(Failure::Unknown(running)) => {
                self.unknown = Some(running);
                Err(LogError::OutcomeUnknown("simulated: no answer to a commit".to_owned()))
            }
        }
    }

    async fn settle(&mut self) -> Result<(), LogError> {
        let Some(running) = self.unknown else { return Ok(()) };
        self.wire.travel().await;
        if self.wire.fails(|faults| faults.settle_fails) {
            return Err(LogError::OutcomeUnknown("simulated: still no answer".to_owned()));
        }
        let epoch = self.epoch.unwrap_or_default();
        let ended = self.wire.ask(|broker| broker.end(&self.id, epoch, running, true));
        self.unknown = None;
        match ended {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => {
                self.epoch = None;
                Err(unavailable("the transaction has timed out"))
            }
        }
    }

    async fn rewind(&mut self, partition: u32) -> Result<(), LogError> {
        // As over Kafka: the place is asked for by the next poll, and it is there that this may fail.
        if let Some(position) = self.held.get_mut(&partition) {
            *position = None;
        }
        Ok(())
    }

    fn at_end(&mut self) -> Vec<(u32, Timestamp)> {
        // The time first: whatever comes in after it is not said to be done.
        let now = self.wire.clock.now();
        let topic = self.group.1;
        self.wire.ask(|broker| {
            let is_ended = |partition: &u32, position: &Option<u64>| {
                let end = broker.shards.get(&(topic, *partition)).map_or(0, |shard| shard.extent().end);
                position.is_some_and(|position| position >= end)
            };
            let ours = self.held.iter().filter(|(partition, _)| !self.leaving.contains(partition));
            ours.filter(|(partition, position)| is_ended(partition, position))
                .map(|(p, _)| (*p, now))
                .collect()
        })
    }

    fn position(&mut self, partition: u32) -> Option<u64> {
        self.held.get(&partition).copied().flatten()
    }
}

impl Drop for SimulatedConsumer {
    fn drop(&mut self) {
        let (group, member, client) = (self.group, self.member, self.wire.client);
        self.wire.ask(|broker| {
            let is_killed = broker.clients.get(client).is_some_and(|client| client.is_killed);
            if !is_killed {
                broker.leave(group, member);
            }
        });
    }
}
