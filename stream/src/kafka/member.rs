//! A member of a group as both sides see it: the thread that polls events,
//! and the async side that takes records.
//!
//! In: changes of the assignment, statistics. Out: events for the driver.
//! Never: a partition given up before the driver has come back for the next
//! poll, unless it is lost or the driver stays away too long.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use model::metrics::metrics;
use model::time::Timestamp;
use model::topic::Topic;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, RebalanceProtocol};
use rdkafka::statistics::Statistics;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::client::{Context, Role};
use super::look::{self, Commit};
use crate::log::LogError;

/// Longest wait for a driver that finishes and commits what it must give up.
const REVOKE: Duration = Duration::from_secs(20);
/// How long after a rewind statistics may still tell of before.
const DUST: Duration = Duration::from_millis(1500);

/// The consumer of a member.
pub(super) type Native = BaseConsumer<Context<Arc<Member>>>;

/// What the driver must hear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Event {
    Assigned(Vec<u32>),
    Revoked(Vec<u32>),
    Lost(Vec<u32>),
}

/// A partition that is ours.
pub(super) struct Held {
    pub(super) queue: Option<PartitionQueue<Context<Arc<Member>>>>,
    /// Next offset to read as we know it committed; `None` where the brokers did not say yet.
    pub(super) committed: Option<u64>,
    /// Next offset after the last record given.
    pub(super) next: u64,
    /// Read again from the committed offset before anything else.
    pub(super) must_seek: bool,
    /// The place was lost (retention has passed it, or it was never known): ask where to begin, loudly.
    pub(super) is_astray: bool,
    /// Since when statistics count.
    since: Instant,
    /// Where the client has said the end to be, all before it given.
    reached: Option<u64>,
    /// The end, seen to be there at that time.
    pub(super) end: Option<(u64, Timestamp)>,
}

impl Held {
    /// A record was given: what was known of the end is old.
    pub(super) fn given(&mut self, next: u64) {
        self.next = next;
        (self.reached, self.end) = (None, None);
    }

    /// Reading began anew.
    pub(super) fn sought(&mut self, next: u64) {
        self.given(next);
        (self.must_seek, self.is_astray) = (false, false);
        self.since = Instant::now();
    }
}

#[derive(Default)]
pub(super) struct State {
    pub(super) events: VecDeque<Event>,
    pub(super) held: BTreeMap<u32, Held>,
    /// Told to be given up; given up with the next poll.
    pub(super) leaving: Vec<u32>,
    pub(super) errors: VecDeque<LogError>,
    /// The client cannot go on; a new one is needed.
    pub(super) is_dead: bool,
    pub(super) closing: bool,
    /// The driver did not come for too long, and the group was left.
    pub(super) is_absent: bool,
    pub(super) is_member: bool,
    pub(super) visited: Option<Instant>,
}

/// A member.
pub(super) struct Member {
    /// Name of the group, as in metrics.
    pub(super) group: &'static str,
    pub(super) topic: Topic,
    /// The topic's name on the cluster.
    pub(super) wire: String,
    state: Mutex<State>,
    /// For the thread: the driver came, or all ends.
    pub(super) changed: Condvar,
    /// For the driver: something happened.
    pub(super) news: Arc<Notify>,
    /// For the looker: partitions may have reached their ends.
    pub(super) look: Notify,
    pub(super) native: OnceLock<Weak<Native>>,
}

impl Member {
    pub(super) fn new(group: &'static str, topic: Topic, wire: String) -> Member {
        Member {
            group,
            topic,
            wire,
            state: Mutex::default(),
            changed: Condvar::new(),
            news: Arc::default(),
            look: Notify::new(),
            native: OnceLock::new(),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether all these partitions are ours.
    pub(super) fn holds(&self, offsets: &[(u32, u64)]) -> bool {
        let state = self.lock();
        offsets.iter().all(|(partition, _)| state.held.contains_key(partition))
    }

    /// An error that the driver is to hear of.
    pub(super) fn complain(&self, error: LogError, is_dead: bool) {
        let mut state = self.lock();
        state.is_dead |= is_dead;
        // One is enough; the others are in the log.
        if state.errors.is_empty() {
            state.errors.push_back(error);
        }
        drop(state);
        self.news.notify_one();
    }

    fn count(&self, change: &str) {
        metrics().kafka_rebalances.with_label_values(&[self.group, change]).inc();
    }

    fn take_on(&self, native: &Native, partitions: &[u32]) {
        let begins = look::committed(native, &self.wire, partitions);
        if let Err(error) = &begins {
            tracing::warn!(group = self.group, %error, "where to begin is not known yet");
        }
        let begins: Option<BTreeMap<u32, Commit>> = begins.ok();
        let mut assignment = TopicPartitionList::with_capacity(partitions.len());
        let owner = self.native.get().and_then(Weak::upgrade);
        let mut state = self.lock();
        for partition in partitions {
            let committed = begins.as_ref().and_then(|all| all.get(partition)).map(|commit| commit.next);
            let begin = committed.and_then(|next| i64::try_from(next).ok());
            let offset = begin.map_or(Offset::Beginning, Offset::Offset);
            if let Err(error) = assignment.add_partition_offset(&self.wire, look::number(*partition), offset)
            {
                tracing::error!(group = self.group, partition, %error, "cannot be assigned");
            }
            // Before the assignment, so that no record takes the other way.
            let queue = owner.as_ref().and_then(|owner| {
                let mut queue = owner.split_partition_queue(&self.wire, look::number(*partition))?;
                let news = Arc::clone(&self.news);
                queue.set_nonempty_callback(move || news.notify_one());
                Some(queue)
            });
            let held = Held {
                queue,
                committed,
                next: committed.unwrap_or(0),
                must_seek: false,
                is_astray: committed.is_none(),
                since: Instant::now(),
                reached: None,
                end: None,
            };
            state.held.insert(*partition, held);
        }
        state.is_member = true;
        if !partitions.is_empty() {
            state.events.push_back(Event::Assigned(partitions.to_vec()));
        }
        drop(state);
        let assigned = match native.rebalance_protocol() {
            RebalanceProtocol::Eager => native.assign(&assignment),
            RebalanceProtocol::Cooperative | RebalanceProtocol::None => {
                native.incremental_assign(&assignment)
            }
        };
        if let Err(error) = assigned {
            self.complain(LogError::Unavailable(format!("taking partitions on: {error}")), true);
        }
        self.count("assigned");
        self.news.notify_one();
    }

    /// Waits until the driver has finished with partitions that must go.
    fn hand_back(&self, native: &Native, list: &TopicPartitionList, partitions: &[u32]) {
        let mut state = self.lock();
        let is_lost = native.assignment_lost() || state.closing || state.is_absent || state.is_dead;
        // Who was never told of an assignment needs not hear of its end.
        let mut told = partitions.to_vec();
        for event in &mut state.events {
            if let Event::Assigned(new) = event {
                told.retain(|partition| !new.contains(partition));
                new.retain(|partition| !partitions.contains(partition));
            }
        }
        state.events.retain(|event| !matches!(event, Event::Assigned(new) if new.is_empty()));
        told.retain(|partition| state.held.contains_key(partition));
        state.held.retain(|partition, _| told.contains(partition) || !partitions.contains(partition));
        if is_lost {
            self.count("lost");
            state = self.lose(state, &told);
        } else if !told.is_empty() {
            self.count("revoked");
            state.events.push_back(Event::Revoked(told.clone()));
            self.news.notify_one();
            let waits = |state: &mut State| {
                !state.closing && told.iter().any(|partition| state.held.contains_key(partition))
            };
            let waited = self.changed.wait_timeout_while(state, REVOKE, waits);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            if told.iter().any(|partition| state.held.contains_key(partition)) && !state.closing {
                tracing::error!(group = self.group, ?told, "the driver does not finish; its partitions go");
                state.events.retain(|event| *event != Event::Revoked(told.clone()));
                state = self.lose(state, &told);
            }
        }
        drop(state);
        let gone = match native.rebalance_protocol() {
            RebalanceProtocol::Eager => native.unassign(),
            RebalanceProtocol::Cooperative | RebalanceProtocol::None => native.incremental_unassign(list),
        };
        if let Err(error) = gone {
            tracing::warn!(group = self.group, %error, "partitions do not go");
        }
    }

    fn lose<'s>(&self, mut state: MutexGuard<'s, State>, partitions: &[u32]) -> MutexGuard<'s, State> {
        state.held.retain(|partition, _| !partitions.contains(partition));
        state.leaving.retain(|partition| !partitions.contains(partition));
        if !partitions.is_empty() {
            state.events.push_back(Event::Lost(partitions.to_vec()));
        }
        self.news.notify_one();
        state
    }

    /// Partitions that seem to have reached their ends, and where.
    pub(super) fn reached(&self) -> Vec<u32> {
        self.lock().held.iter().filter(|(_, held)| held.reached.is_some()).map(|(p, _)| *p).collect()
    }

    /// The ends as they were at `time`: those that were reached are at their ends.
    pub(super) fn ended(&self, ends: &BTreeMap<u32, u64>, time: Timestamp) {
        for (partition, held) in &mut self.lock().held {
            if let (Some(end), Some(reached)) = (ends.get(partition), held.reached)
                && *end == reached
                && held.next <= reached
            {
                held.end = Some((reached, time));
            }
        }
    }
}

impl Role for Arc<Member> {
    fn statistics(&self, statistics: &Statistics) {
        let mut state = self.lock();
        if let Some(group) = &statistics.cgrp {
            state.is_member = group.join_state == "steady";
        }
        let Some(topic) = statistics.topics.get(&self.wire) else { return };
        for (partition, held) in &mut state.held {
            let Some(seen) = topic.partitions.get(&look::number(*partition)) else { continue };
            let is_dust = held.must_seek || held.is_astray || held.since.elapsed() < DUST;
            let end = look::offset(seen.eof_offset);
            // What is left in the queue may be no record; while nothing is read it stays there.
            let is_given = seen.fetchq_cnt == 0 || held.next >= end;
            if seen.eof_offset >= 0 && is_given && !is_dust {
                held.reached = Some(end);
            }
        }
        drop(state);
        self.look.notify_one();
    }
}

impl ConsumerContext for Context<Arc<Member>> {
    fn rebalance(&self, native: &BaseConsumer<Self>, err: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let member = &self.role;
        let partitions: Vec<u32> =
            list.elements().iter().filter_map(|element| u32::try_from(element.partition()).ok()).collect();
        tracing::debug!(group = member.group, ?err, ?partitions, "the group changes");
        match err {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => member.take_on(native, &partitions),
            _ => member.hand_back(native, list, &partitions),
        }
    }
}
