//! The brokers of the simulated log: partitions, groups, transactions, and what is due.
//!
//! In: requests of clients, time. Out: their effects. Never: a wait; what
//! takes time is put down as due.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use model::headers;
use model::time::{Clock, Timestamp};
use model::topic::{Cleanup, Topic};
use tokio::time::Instant;

use super::dice::Dice;
use super::faults::{Broken, Faults};
use super::group::{Group, Member};
use super::shard::{Shard, Stored, Transaction};
use super::transactions::{Producer, Running};
use super::{OVERDUE, SESSION};
use crate::record::{NewRecord, Position, partition_of};

/// Group and topic.
pub(super) type GroupKey = (&'static str, Topic);

/// A client's number.
pub(super) type ClientId = usize;

/// Something that happens at its time, whatever becomes of who has asked for it.
#[derive(Debug)]
pub(super) enum Due {
    /// The marker of a transaction reaches a partition.
    Mark { transaction: Transaction, topic: Topic, partition: u32, commit: bool },
    /// The end of a transaction reaches the offsets of a group.
    Decide { transaction: Transaction, group: GroupKey, commit: bool },
    /// A transaction has been open for too long.
    TimeOut { transaction: Transaction },
    /// A client has not been heard of.
    Expel { client: ClientId, silence: u64 },
    /// A member has not given up what it was asked for.
    Overdue { group: GroupKey, member: Member, partition: u32, since: Instant },
    /// Records of a produce arrive.
    Append { records: Vec<NewRecord> },
}

/// A process that speaks to the brokers.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) name: String,
    /// It has ended without a word.
    pub(super) is_killed: bool,
    /// It stands still until then.
    pub(super) frozen_until: Option<Instant>,
    /// It hears nothing of its groups until then.
    pub(super) deaf_until: Option<Instant>,
    /// Counts the times that it fell silent.
    silence: u64,
    members: BTreeSet<(GroupKey, Member)>,
}

impl Client {
    pub(super) fn new(name: &str) -> Client {
        Client {
            name: name.to_owned(),
            is_killed: false,
            frozen_until: None,
            deaf_until: None,
            silence: 0,
            members: BTreeSet::new(),
        }
    }
}

/// All brokers.
#[derive(Debug)]
pub(super) struct Broker {
    pub(super) dice: Dice,
    pub(super) faults: Faults,
    pub(super) clock: Clock,
    pub(super) shards: BTreeMap<(Topic, u32), Shard>,
    pub(super) groups: BTreeMap<GroupKey, Group>,
    pub(super) producers: BTreeMap<String, Producer>,
    pub(super) running: BTreeMap<Transaction, Running>,
    pub(super) clients: Vec<Client>,
    pub(super) last_transaction: Transaction,
    /// How each transaction ended.
    pub(super) decided: BTreeMap<Transaction, bool>,
    partitions: BTreeMap<Topic, u32>,
    /// Records without a key go in turn.
    turn: u32,
    due: BTreeMap<(Instant, u64), Due>,
    sequence: u64,
    asked: BTreeMap<(GroupKey, u32, Member), Instant>,
    /// Topics with news, and whether there is news of groups, since it was last told.
    pub(super) fresh: BTreeSet<Topic>,
    pub(super) is_regrouped: bool,
    pub(super) is_rescheduled: bool,
    began: Instant,
    pub(super) trace: Option<Vec<String>>,
}

impl Broker {
    pub(super) fn new(seed: u64, partitions: BTreeMap<Topic, u32>, clock: Clock) -> Broker {
        let shards =
            partitions.iter().flat_map(|(topic, count)| (0..*count).map(|p| ((*topic, p), Shard::default())));
        Broker {
            dice: Dice::new(seed),
            faults: Faults::default(),
            clock,
            shards: shards.collect(),
            groups: BTreeMap::new(),
            producers: BTreeMap::new(),
            running: BTreeMap::new(),
            clients: Vec::new(),
            last_transaction: 0,
            decided: BTreeMap::new(),
            partitions,
            turn: 0,
            due: BTreeMap::new(),
            sequence: 0,
            asked: BTreeMap::new(),
            fresh: BTreeSet::new(),
            is_regrouped: false,
            is_rescheduled: false,
            began: Instant::now(),
            trace: None,
        }
    }

    /// Notes what happened, if somebody wants to know.
    pub(super) fn note(&mut self, line: impl FnOnce() -> String) {
        let at = self.began.elapsed();
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{:>8} ms  {}", at.as_millis(), line()));
        }
    }

    pub(super) fn partitions(&self, topic: Topic) -> u32 {
        self.partitions.get(&topic).copied().unwrap_or(1)
    }

    pub(super) fn is_broken(&self, promise: Broken) -> bool {
        self.faults.broken == Some(promise)
    }

    /// Puts something down for later; what is due now happens at once.
    pub(super) fn schedule(&mut self, after: Duration, what: Due) {
        if after.is_zero() {
            self.happen(what);
            return;
        }
        self.sequence = self.sequence.saturating_add(1);
        let at = Instant::now().checked_add(after).unwrap_or_else(Instant::now);
        self.due.insert((at, self.sequence), what);
        self.is_rescheduled = true;
    }

    /// Lets everything happen whose time has come, and tells when the next thing is due.
    pub(super) fn catch_up(&mut self, now: Instant) -> Option<Instant> {
        while let Some(entry) = self.due.first_entry() {
            let at = entry.key().0;
            if at > now {
                return Some(at);
            }
            let what = entry.remove();
            self.happen(what);
        }
        None
    }

    fn happen(&mut self, what: Due) {
        match what {
            Due::Mark { transaction, topic, partition, commit } => {
                self.mark(transaction, topic, partition, commit)
            }
            Due::Decide { transaction, group, commit } => self.decide_offsets(transaction, group, commit),
            Due::TimeOut { transaction } => self.time_out(transaction),
            Due::Expel { client, silence } => {
                if self.clients.get(client).is_some_and(|client| client.silence == silence) {
                    self.expel(client);
                }
            }
            Due::Overdue { group, member, partition, since } => {
                if self.asked.get(&(group, partition, member)) == Some(&since) {
                    self.note(|| format!("group {}: member {member} did not give up {partition}", group.0));
                    self.leave(group, member);
                }
            }
            Due::Append { records } => drop(self.append_plain(records)),
        }
    }

    /// The partition of each record.
    pub(super) fn place(&mut self, record: &NewRecord) -> u32 {
        let count = self.partitions(record.topic);
        match record.partition {
            Some(partition) => partition,
            None if record.key.is_empty() => {
                self.turn = self.turn.wrapping_add(1);
                self.turn.checked_rem(count).unwrap_or(0)
            }
            None => partition_of(&record.key, count),
        }
    }

    /// Appends records outside of transactions.
    pub(super) fn append_plain(&mut self, records: Vec<NewRecord>) -> Vec<Position> {
        let mut positions = Vec::with_capacity(records.len());
        for record in records {
            let partition = self.place(&record);
            let is_known = record.headers.get(headers::CLIENT_ID).is_some();
            if record.topic == Topic::Raw && is_known && self.dice.chance(self.faults.duplicates) {
                self.note(|| format!("duplicate of a record of {}", record.topic));
                let again = NewRecord { partition: Some(partition), ..record.clone() };
                let after = Duration::from_millis(self.dice.between(1, 500));
                self.schedule(after, Due::Append { records: vec![again] });
            }
            let topic = record.topic;
            let offset = self.append_one(topic, partition, record, None);
            positions.push(Position { partition, offset });
        }
        positions
    }

    pub(super) fn append_one(
        &mut self,
        topic: Topic,
        partition: u32,
        record: NewRecord,
        transaction: Option<Transaction>,
    ) -> u64 {
        let now = self.clock.now();
        let stored = Stored { key: record.key, value: record.value, headers: record.headers };
        let shard = self.shards.entry((topic, partition)).or_default();
        self.fresh.insert(topic);
        shard.append(stored, transaction, now)
    }

    /// A group, made when it is first asked for.
    pub(super) fn group(&mut self, key: GroupKey) -> &mut Group {
        let partitions = self.partitions(key.1);
        self.groups.entry(key).or_insert_with(|| Group::new(partitions))
    }

    pub(super) fn join(&mut self, key: GroupKey, client: ClientId) -> Member {
        let member = self.group(key).join();
        if let Some(client) = self.clients.get_mut(client) {
            client.members.insert((key, member));
        }
        self.note(|| format!("group {}: member {member} joins (client {client})", key.0));
        self.regrouped(key);
        member
    }

    pub(super) fn leave(&mut self, key: GroupKey, member: Member) {
        for client in &mut self.clients {
            client.members.remove(&(key, member));
        }
        if self.group(key).is_member(member) {
            self.note(|| format!("group {}: member {member} leaves", key.0));
            self.group(key).leave(member);
            self.regrouped(key);
        }
    }

    /// The assignment of a group has changed, or may have.
    pub(super) fn regrouped(&mut self, key: GroupKey) {
        self.is_regrouped = true;
        let now = Instant::now();
        let asked = self.group(key).asked();
        self.asked
            .retain(|(group, partition, member), _| *group != key || asked.contains(&(*partition, *member)));
        for (partition, member) in asked {
            if let std::collections::btree_map::Entry::Vacant(slot) =
                self.asked.entry((key, partition, member))
            {
                slot.insert(now);
                self.schedule(OVERDUE, Due::Overdue { group: key, member, partition, since: now });
            }
        }
    }

    /// A client that is not heard of loses its memberships after the session time.
    pub(super) fn fall_silent(&mut self, client: ClientId) {
        let Some(state) = self.clients.get_mut(client) else { return };
        state.silence = state.silence.saturating_add(1);
        let silence = state.silence;
        self.schedule(SESSION, Due::Expel { client, silence });
    }

    /// A client is heard of again.
    pub(super) fn speak(&mut self, client: ClientId) {
        if let Some(state) = self.clients.get_mut(client) {
            state.silence = state.silence.saturating_add(1);
        }
    }

    /// A client loses its memberships.
    pub(super) fn expel(&mut self, client: ClientId) {
        let members = self.clients.get(client).map(|client| client.members.clone()).unwrap_or_default();
        for (key, member) in members {
            self.note(|| format!("group {}: member {member} is expelled", key.0));
            self.leave(key, member);
        }
    }

    /// Compacts one topic; tombstones stay.
    pub(super) fn compact(&mut self, topic: Topic) {
        for (_, shard) in self.shards.iter_mut().filter(|((other, _), _)| *other == topic) {
            shard.compact(Timestamp::EPOCH);
        }
    }

    /// Retention and compaction, as the topics ask for.
    pub(super) fn upkeep(&mut self, age_ms: i64, bytes_max: usize) {
        let before = self.clock.now().plus_millis(-age_ms);
        for ((topic, _), shard) in &mut self.shards {
            match topic.cleanup() {
                Cleanup::Time => shard.expire(before, bytes_max),
                Cleanup::Compact => shard.compact(before),
                Cleanup::CompactTime => {
                    shard.compact(before);
                    shard.expire(before, bytes_max);
                }
            }
        }
    }
}
