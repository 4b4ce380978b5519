//! The simulated log: brokers in memory that behave as Kafka's do, and fail
//! as they do, by a seed.
//!
//! In: a seed, rates of faults. Out: a log for each client process, the same
//! behind the same traits as the others. Never: a thread, a clock or a random
//! number of the machine: on a runtime of one thread with paused time the same
//! seed gives the same run.
//!
//! ```text
//! client (one process): Log, Consumer ──requests──▶ broker: groups ── transactions ── shards (partitions)
//!        latency, lost requests and answers            │
//!        freezes, deafness, kill                       └ due: markers, time-outs, late records ◀── alarm
//! ```
//!
//! * A commit is a transaction: records, offsets, end. Its markers reach the
//!   partitions one by one; readers stop at the last stable offset.
//! * A client that is killed leaves its transaction open until the time-out,
//!   and its memberships until the session ends.
//! * A client that hears nothing of its group goes on reading, and learns at
//!   its next commit that it is not a member any more.

mod broker;
mod client;
mod consumer;
pub mod dice;
pub mod faults;
mod group;
mod shard;
mod transactions;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use model::time::Clock;
use model::topic::Topic;
use tokio::sync::Notify;
use tokio::time::Instant;

use self::broker::{Broker, Client, ClientId};
use self::client::SimulatedLog;
use self::faults::Faults;
use crate::log::{Extent, SharedLog};
use crate::record::Record;

/// Silence after which a client loses its memberships.
pub const SESSION: Duration = Duration::from_secs(10);
/// Longest time that a transaction may be open.
pub const TRANSACTION: Duration = Duration::from_secs(10);
/// Longest time that a member may keep what it was asked to give up.
pub const OVERDUE: Duration = Duration::from_secs(20);
/// Longest time after which a produce that was told as failed may still take effect.
pub const LATE: Duration = Duration::from_millis(1500);

/// The brokers, and a handle on their clients. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Cluster(Arc<Shared>);

/// What clients and alarm share.
#[derive(Debug)]
struct Shared {
    broker: Mutex<Broker>,
    /// By topic: there are new records, or old ones are decided. (`Notify` wakes in the order of waiting; `watch` does not.)
    topics: BTreeMap<Topic, Notify>,
    /// An assignment or an offset has changed.
    groups: Notify,
    /// Something was put down as due.
    alarm: Arc<Notify>,
}

impl Shared {
    /// Lets the brokers do something, and tells everybody what is new.
    fn with<R>(&self, work: impl FnOnce(&mut Broker) -> R) -> R {
        let mut broker = self.broker.lock().unwrap_or_else(PoisonError::into_inner);
        let result = work(&mut broker);
        let fresh = std::mem::take(&mut broker.fresh);
        let is_regrouped = std::mem::take(&mut broker.is_regrouped);
        let is_rescheduled = std::mem::take(&mut broker.is_rescheduled);
        drop(broker);
        for topic in fresh {
            if let Some(news) = self.topics.get(&topic) {
                news.notify_waiters();
            }
        }
        if is_regrouped {
            self.groups.notify_waiters();
        }
        if is_rescheduled {
            self.alarm.notify_one();
        }
        result
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.alarm.notify_one();
    }
}

/// Lets what is due happen, as long as the brokers are there.
async fn ring(shared: Weak<Shared>, alarm: Arc<Notify>) {
    loop {
        let Some(next) = shared.upgrade().map(|shared| shared.with(|broker| broker.catch_up(Instant::now())))
        else {
            return;
        };
        match next {
            None => alarm.notified().await,
            Some(at) => tokio::select! {
                biased;
                () = alarm.notified() => {}
                () = tokio::time::sleep_until(at) => {}
            },
        }
    }
}

impl Cluster {
    /// Brokers without faults. Call it within a runtime; `clock` stamps the records.
    pub fn start(seed: u64, partitions: u32, clock: Clock) -> Cluster {
        let counts = Topic::ALL.into_iter().map(|topic| (topic, partitions)).collect();
        let alarm = Arc::new(Notify::new());
        let shared = Arc::new(Shared {
            broker: Mutex::new(Broker::new(seed, counts, clock)),
            topics: Topic::ALL.into_iter().map(|topic| (topic, Notify::new())).collect(),
            groups: Notify::new(),
            alarm: alarm.clone(),
        });
        tokio::spawn(ring(Arc::downgrade(&shared), alarm));
        Cluster(shared)
    }

    /// The log of a new process of this name; two of one name fence each other. `clock`: the process's own.
    pub fn client(&self, name: &str, clock: Clock) -> (SharedLog, Process) {
        let id = self.0.with(|broker| {
            broker.clients.push(Client::new(name));
            broker.clients.len().saturating_sub(1)
        });
        let log = SimulatedLog::new(Arc::clone(&self.0), id, name, clock);
        (Arc::new(log), Process { shared: Arc::clone(&self.0), id })
    }

    /// From now on these faults, and no others.
    pub fn set_faults(&self, faults: Faults) {
        self.0.with(|broker| broker.faults = faults);
    }

    /// Collects what happens from now on, for people.
    pub fn trace(&self) {
        self.0.with(|broker| broker.trace = Some(Vec::new()));
    }

    /// Adds a line of somebody else to what is collected.
    pub fn note(&self, line: impl FnOnce() -> String) {
        self.0.with(|broker| broker.note(line));
    }

    /// What was collected.
    pub fn traced(&self) -> Vec<String> {
        self.0.with(|broker| broker.trace.clone().unwrap_or_default())
    }

    /// Every record of a topic that counts, by partition and offset. Not a client's view: nothing fails or is held back.
    pub fn records(&self, topic: Topic) -> Vec<Record> {
        self.0.with(|broker| {
            let shards = broker.shards.iter().filter(|((t, _), _)| *t == topic);
            let records = shards.flat_map(|((_, partition), shard)| {
                shard.committed().map(|(offset, appended, stored)| Record {
                    topic,
                    partition: *partition,
                    offset,
                    appended,
                    key: stored.key.clone(),
                    value: stored.value.clone(),
                    headers: stored.headers.clone(),
                })
            });
            records.collect()
        })
    }

    /// Offsets of a partition; not a client's view.
    pub fn extent(&self, topic: Topic, partition: u32) -> Extent {
        let nothing = Extent::decided(0, 0);
        self.0.with(|broker| broker.shards.get(&(topic, partition)).map_or(nothing, shard::Shard::extent))
    }

    /// Next offset that a group will read; 0 before its first commit. Not a client's view.
    pub fn committed(&self, group: &str, topic: Topic, partition: u32) -> u64 {
        self.0.with(|broker| {
            let found = broker.groups.iter().find(|((name, t), _)| *name == group && *t == topic);
            found.and_then(|(_, group)| group.committed(partition)).unwrap_or(0)
        })
    }

    /// Whether no transaction is open or half-decided.
    pub fn is_settled(&self) -> bool {
        self.0.with(|broker| broker.running.is_empty())
    }

    /// The coordinator of a group moves a partition to another member, for reasons of its own.
    pub fn move_partition(&self, group: &str, topic: Topic, partition: u32) {
        self.0.with(|broker| {
            let Some(key) = broker.groups.keys().copied().find(|(name, t)| *name == group && *t == topic)
            else {
                return;
            };
            let choice = broker.dice.roll();
            if broker.group(key).move_partition(partition, choice) {
                broker.note(|| format!("group {group}: partition {partition} is to move"));
                broker.regrouped(key);
            }
        });
    }

    /// Compacts one topic, now; tombstones stay.
    pub fn compact(&self, topic: Topic) {
        self.0.with(|broker| broker.compact(topic));
    }

    /// Retention and compaction, now.
    pub fn upkeep(&self, age_ms: i64, bytes_max: usize) {
        self.0.with(|broker| broker.upkeep(age_ms, bytes_max));
    }
}

/// A client process, seen from outside.
#[derive(Debug)]
pub struct Process {
    shared: Arc<Shared>,
    id: ClientId,
}

impl Process {
    /// It ends without a word. Its tasks are the caller's to abort, after this.
    pub fn kill(&self) {
        self.shared.with(|broker| {
            if let Some(client) = broker.clients.get_mut(self.id) {
                client.is_killed = true;
                let name = client.name.clone();
                broker.note(|| format!("{name} is killed"));
            }
            broker.fall_silent(self.id);
        });
    }

    /// It stands still: nothing that it asks for is sent before the time is over.
    pub fn freeze(&self, time: Duration) {
        self.silence("stands still", time, |client, until| client.frozen_until = Some(until));
    }

    /// It hears nothing of its groups, nor they of it; it goes on reading and writing.
    pub fn deafen(&self, time: Duration) {
        self.silence("hears nothing of its groups", time, |client, until| client.deaf_until = Some(until));
    }

    fn silence(&self, what: &str, time: Duration, set: impl FnOnce(&mut Client, Instant)) {
        self.shared.with(|broker| {
            let until = Instant::now().checked_add(time).unwrap_or_else(Instant::now);
            let Some(client) = broker.clients.get_mut(self.id) else { return };
            set(client, until);
            let name = client.name.clone();
            broker.note(|| format!("{name} {what} for {} ms", time.as_millis()));
            broker.fall_silent(self.id);
        });
    }

    /// Its group takes it for dead, although it is not.
    pub fn expel(&self) {
        self.shared.with(|broker| broker.expel(self.id));
    }
}
