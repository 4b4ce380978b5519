//! The driver's side of a member of a group.
//!
//! In: events, queues of partitions. Out: what a poll brings, commits. Never:
//! a sleep; it is woken by news.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use model::metrics::metrics;
use model::time::Timestamp;
use model::topic::Topic;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};
use tokio::time::Instant;

use super::Core;
use super::batch::Gathering;
use super::client::{Context, Threads};
use super::failure::{code, of_topic, unavailable};
use super::look::{self, blocking};
use super::member::{Event, Member, Native};
use super::read::is_passing;
use super::serve::{look_at_ends, protocol, serve};
use super::settings::{self, Protocol};
use super::transact::Committer;
use crate::log::{Consumer, FetchLimits, LogError, Polled, Transaction};

/// Time between two looks at whether a partition that was assigned is being read.
const START: Duration = Duration::from_millis(10);
/// Longest time that takes.
const STARTED: Duration = Duration::from_millis(300);
/// Longest sleep of a waiting poll, in case a wake-up goes astray.
const NAP: Duration = Duration::from_secs(1);

/// A member of a group.
pub(super) struct KafkaConsumer {
    core: Arc<Core>,
    member: Arc<Member>,
    /// Gone only in the end, so that the thread is the last to hold it.
    native: Option<Arc<Native>>,
    committer: Committer,
    slot: usize,
    /// The partition that was served last.
    served: u32,
    looking: tokio::task::JoinHandle<()>,
}

impl KafkaConsumer {
    /// Joins.
    pub(super) async fn join(
        core: Arc<Core>,
        group: &'static str,
        topic: Topic,
    ) -> Result<KafkaConsumer, LogError> {
        let member = Arc::new(Member::new(group, topic, core.names.wire(topic).to_owned()));
        let protocol = protocol(&core);
        let name = core.config.group_name(group);
        let partitions = core.partitions(topic);
        let config = settings::member(&core.base, &core.config, &name, partitions, protocol);
        let context = Context { voice: core.voice(group), role: Arc::clone(&member) };
        let failed = |error: KafkaError| unavailable(&format!("joining {name}"), &error);
        let native = Arc::new(Native::from_config_and_context(&config, context).map_err(failed)?);
        if member.native.set(Arc::downgrade(&native)).is_err() {
            return Err(LogError::Broken("a member has two clients".to_owned()));
        }
        native.subscribe(&[&member.wire]).map_err(failed)?;
        member.lock().visited = Some(Instant::now());
        let slot = core.take_slot(group);
        let committer = Committer::new(&core, group, topic, slot);
        let looking = tokio::spawn(look_at_ends(Arc::clone(&core), Arc::downgrade(&member)));
        let mut consumer =
            KafkaConsumer { member, native: Some(native), committer, slot, served: 0, looking, core };
        consumer.start_thread(protocol)?;
        consumer.committer.prepare()?;
        Ok(consumer)
    }

    fn start_thread(&self, protocol: Protocol) -> Result<(), LogError> {
        let (core, member, native) = (Arc::clone(&self.core), Arc::clone(&self.member), self.native()?);
        let serve = move || {
            serve(&core, &member, &native, protocol);
            // The last one closes the client and leaves the group; this may take a while.
            drop(core);
            drop(native);
        };
        Threads::start(&self.core.threads, "kafka-group", serve)
            .map_err(|error| LogError::Unavailable(format!("no thread for a consumer: {error}")))
    }

    fn native(&self) -> Result<Arc<Native>, LogError> {
        self.native.clone().ok_or_else(|| LogError::Unavailable("the consumer has ended".to_owned()))
    }

    /// Partitions that were told to go are given up.
    fn give_up_what_was_revoked(&self) {
        let mut state = self.member.lock();
        state.visited = Some(Instant::now());
        let leaving = std::mem::take(&mut state.leaving);
        state.held.retain(|partition, _| !leaving.contains(partition));
        drop(state);
        self.member.changed.notify_all();
    }

    fn told(&self) -> Option<Result<Polled, LogError>> {
        let mut state = self.member.lock();
        state.visited = Some(Instant::now());
        if let Some(event) = state.events.pop_front() {
            return Some(Ok(match event {
                Event::Assigned(partitions) => Polled::Assigned(partitions),
                Event::Revoked(partitions) => {
                    state.leaving.extend(&partitions);
                    Polled::Revoked(partitions)
                }
                Event::Lost(partitions) => Polled::Lost(partitions),
            }));
        }
        state.errors.pop_front().map(Err)
    }

    /// Puts reading where it belongs, before records are taken.
    async fn find_places(&self) -> Result<(), LogError> {
        let astray: Vec<(u32, bool, Option<u64>, u64)> = {
            let state = self.member.lock();
            let lost = state.held.iter().filter(|(_, held)| held.must_seek || held.is_astray);
            lost.map(|(p, held)| (*p, held.is_astray, held.committed, held.next)).collect()
        };
        for (partition, is_astray, committed, next) in astray {
            let mut place = committed.unwrap_or(next);
            if is_astray {
                place = self.ask_for_place(partition, committed, next).await?;
            }
            self.seek(partition, place).await?;
        }
        Ok(())
    }

    /// The brokers do not have the place any more, or never knew it.
    async fn ask_for_place(
        &self,
        partition: u32,
        committed: Option<u64>,
        next: u64,
    ) -> Result<u64, LogError> {
        let (group, topic) = (self.member.group, self.member.topic);
        let extent = self.core.looker.extent(topic, partition).await?;
        let wanted = match committed {
            Some(committed) => Some(next.max(committed)),
            None => {
                let name = self.core.config.group_name(group);
                let found = self.core.looker.committed(&self.core, &name, topic, vec![partition]).await?;
                found.get(&partition).map(|commit| commit.next)
            }
        };
        let Some(wanted) = wanted else { return Ok(extent.start) };
        if wanted < extent.start {
            let (start, missed) = (extent.start, extent.start.saturating_sub(wanted));
            tracing::error!(
                group, %topic, partition, wanted, start,
                "records expired before the group had read them; raise the topic's retention"
            );
            let labels = [group, topic.name()];
            metrics().log_expired_unread.with_label_values(&labels).inc_by(missed);
        } else if wanted > extent.end {
            let end = extent.end;
            tracing::error!(group, %topic, partition, wanted, end, "the topic is shorter than what was read of it: was it made anew?");
            return Ok(extent.start);
        }
        Ok(wanted.max(extent.start))
    }

    async fn seek(&self, partition: u32, place: u64) -> Result<(), LogError> {
        let (native, wire, topic) = (self.native()?, self.member.wire.clone(), self.member.topic);
        let seek = move || {
            let began = Instant::now();
            loop {
                match seek_once(&native, &wire, partition, place) {
                    // Just assigned, it is not being read yet.
                    Err(error) if code(&error) == Some(Code::State) && began.elapsed() < STARTED => {
                        std::thread::sleep(START);
                    }
                    // A place that the brokers do not have has stopped it.
                    Err(error) if code(&error) == Some(Code::State) => {
                        return begin_anew(&native, &wire, partition, place);
                    }
                    other => return other,
                }
            }
        };
        blocking(seek).await?.map_err(|error| of_topic(topic, "going back in", &error))?;
        if let Some(held) = self.member.lock().held.get_mut(&partition) {
            held.committed.get_or_insert(place);
            held.sought(place);
        }
        Ok(())
    }

    /// Records of the next partition that has some, in turn.
    fn read(&mut self, limits: FetchLimits) -> Option<Polled> {
        let mut state = self.member.lock();
        let later = state.held.range(self.served.saturating_add(1)..);
        let earlier = state.held.range(..=self.served);
        let turn: Vec<u32> = later.chain(earlier).map(|(partition, _)| *partition).collect();
        for partition in turn {
            if state.leaving.contains(&partition) {
                continue;
            }
            let Some(held) = state.held.get_mut(&partition).filter(|held| !held.must_seek && !held.is_astray)
            else {
                continue;
            };
            let Some(queue) = held.queue.take() else { continue };
            let mut gathering = Gathering::new(self.member.topic, partition);
            let mut next = held.next;
            let mut trouble = None;
            while gathering.len() < limits.records_max
                && (gathering.len() == 0 || gathering.bytes() < limits.bytes_max)
            {
                match queue.poll(Duration::ZERO) {
                    Some(Ok(message)) => {
                        next = look::offset(message.offset()).saturating_add(1);
                        gathering.take(&message);
                    }
                    Some(Err(error)) => {
                        trouble = Some(error);
                        break;
                    }
                    None => break,
                }
            }
            held.queue = Some(queue);
            if gathering.len() > 0 {
                held.given(next);
            }
            if let Some(error) = trouble {
                if code(&error) == Some(Code::AutoOffsetReset) || code(&error) == Some(Code::OffsetOutOfRange)
                {
                    held.is_astray = true;
                } else if !is_passing(&error) {
                    state.errors.push_back(of_topic(self.member.topic, "reading", &error));
                }
            }
            if gathering.len() > 0 {
                self.served = partition;
                return Some(Polled::Records(partition, gathering.finish()));
            }
        }
        None
    }
}

#[async_trait]
impl Consumer for KafkaConsumer {
    async fn poll(&mut self, wait: Duration, limits: FetchLimits) -> Result<Polled, LogError> {
        let deadline = Instant::now().checked_add(wait);
        self.give_up_what_was_revoked();
        let news = Arc::clone(&self.member.news);
        loop {
            // Seen before looking, so that news in between wakes us again.
            let woken = news.notified();
            tokio::pin!(woken);
            woken.as_mut().enable();
            if let Some(told) = self.told() {
                return told;
            }
            self.find_places().await?;
            if limits.records_max > 0
                && let Some(records) = self.read(limits)
            {
                return Ok(records);
            }
            let Some(deadline) = deadline.filter(|deadline| *deadline > Instant::now()) else {
                return Ok(Polled::Nothing { at_end: self.at_end() });
            };
            let nap = Instant::now().checked_add(NAP).map_or(deadline, |nap| nap.min(deadline));
            tokio::select! {
                () = woken => {}
                () = tokio::time::sleep_until(nap) => {}
            }
        }
    }

    async fn commit(&mut self, transaction: Transaction) -> Result<(), LogError> {
        if transaction.offsets.is_empty() && transaction.outputs.is_empty() {
            return Ok(());
        }
        self.core.check_sizes(&transaction.outputs)?;
        // First who we are, then what is ours: a partition that goes after this makes the former out of date (LG-5).
        let native = self.native()?;
        let metadata = native.group_metadata();
        if !self.member.holds(&transaction.offsets) {
            return Err(LogError::Fenced);
        }
        let outcome = self.committer.commit((&native, &self.member), metadata, transaction).await;
        self.note(outcome)
    }

    async fn settle(&mut self) -> Result<(), LogError> {
        let outcome = self.committer.settle().await;
        self.note(outcome)
    }

    async fn rewind(&mut self, partition: u32) -> Result<(), LogError> {
        if let Some(held) = self.member.lock().held.get_mut(&partition) {
            held.given(held.committed.unwrap_or(held.next));
            held.must_seek = true;
        }
        Ok(())
    }

    fn at_end(&mut self) -> Vec<(u32, Timestamp)> {
        let state = self.member.lock();
        let ours = state.held.iter().filter(|(partition, _)| !state.leaving.contains(partition));
        ours.filter_map(|(partition, held)| Some((*partition, held.end?.1))).collect()
    }

    fn position(&mut self, partition: u32) -> Option<u64> {
        self.member.lock().held.get(&partition).and_then(|held| held.end).map(|(end, _)| end)
    }

    fn is_member(&mut self) -> bool {
        self.member.lock().is_member
    }

    fn is_dead(&mut self) -> bool {
        self.member.lock().is_dead
    }
}

impl KafkaConsumer {
    /// What was committed is where a rewind goes.
    fn note(&mut self, outcome: Result<Vec<(u32, u64)>, LogError>) -> Result<(), LogError> {
        let offsets = outcome?;
        let mut state = self.member.lock();
        for (partition, next) in offsets {
            if let Some(held) = state.held.get_mut(&partition) {
                held.committed = Some(next);
            }
        }
        Ok(())
    }
}

impl Drop for KafkaConsumer {
    fn drop(&mut self) {
        self.looking.abort();
        drop(self.native.take());
        let mut state = self.member.lock();
        state.closing = true;
        // Each of their queues holds the client.
        let held = std::mem::take(&mut state.held);
        drop(state);
        drop(held);
        self.member.changed.notify_all();
        self.core.free_slot(self.member.group, self.slot);
    }
}

/// Reads a partition that has stopped, from a place.
fn begin_anew(native: &Native, wire: &str, partition: u32, place: u64) -> Result<(), KafkaError> {
    let list = one(wire, partition, place)?;
    native.incremental_unassign(&list)?;
    native.incremental_assign(&list)
}

fn one(wire: &str, partition: u32, place: u64) -> Result<TopicPartitionList, KafkaError> {
    let mut list = TopicPartitionList::with_capacity(1);
    let offset = Offset::Offset(i64::try_from(place).unwrap_or(i64::MAX));
    list.add_partition_offset(wire, look::number(partition), offset)?;
    Ok(list)
}

/// Moves the place of one partition; blocks.
fn seek_once(native: &Native, wire: &str, partition: u32, place: u64) -> Result<(), KafkaError> {
    let list = one(wire, partition, place)?;
    for element in native.seek_partitions(list, look::ANSWER)?.elements() {
        element.error()?;
    }
    Ok(())
}

/// Next offsets by partition, as a list.
pub(super) fn offsets(
    wire: &str,
    offsets: &[(u32, u64)],
    token: &str,
) -> Result<TopicPartitionList, KafkaError> {
    let by_partition: BTreeMap<u32, u64> = offsets.iter().copied().collect();
    let mut list = TopicPartitionList::with_capacity(by_partition.len());
    for (partition, next) in by_partition {
        let mut element = list.add_partition(wire, look::number(partition));
        element.set_offset(Offset::Offset(i64::try_from(next).unwrap_or(i64::MAX)))?;
        element.set_metadata(token);
    }
    Ok(list)
}
