//! Transactions: by transactional id, with epochs, markers and time-outs.
//!
//! In: what producers ask for. Out: records that are open, then decided.
//! Never: an append of a producer that was replaced.
//!
//! The end of a transaction is one decision; its markers reach the partitions
//! and the offsets one by one after it, and the producer's next transaction
//! waits for the last of them.

use std::collections::BTreeSet;
use std::time::Duration;

use model::topic::Topic;

use super::TRANSACTION;
use super::broker::{Broker, Due, GroupKey};
use super::faults::Broken;
use super::group::Member;
use super::shard::Transaction;
use crate::invariants::{LG_2, hold};
use crate::record::NewRecord;

/// A transactional id.
#[derive(Debug, Default)]
pub(super) struct Producer {
    /// Grows with each owner, and with each time-out.
    epoch: u64,
    current: Option<Transaction>,
}

/// A transaction that is not over.
#[derive(Debug)]
pub(super) struct Running {
    id: String,
    partitions: BTreeSet<(Topic, u32)>,
    group: Option<GroupKey>,
    /// How it ends, once that is decided.
    decision: Option<bool>,
    /// Markers that are still on their way.
    left: usize,
}

/// Why a producer was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// The transaction before it is still being ended.
    Busy,
    /// Its epoch is an old one: a time-out, or a new owner of its id.
    Epoch,
    /// The member is not in the group any more.
    Member,
}

impl Broker {
    /// A new owner of a transactional id: whatever the old one left open is aborted.
    pub(super) fn init(&mut self, id: &str) -> Result<u64, Refused> {
        let producer = self.producers.entry(id.to_owned()).or_default();
        producer.epoch = producer.epoch.saturating_add(1);
        let (epoch, current) = (producer.epoch, producer.current);
        if let Some(transaction) = current {
            if self.running.get(&transaction).is_some_and(|running| running.decision.is_none()) {
                self.end_running(transaction, false);
            }
            if self.running.contains_key(&transaction) {
                return Err(Refused::Busy);
            }
        }
        Ok(epoch)
    }

    /// The transaction of a producer; begins one where there is none.
    fn transaction(&mut self, id: &str, epoch: u64) -> Result<Transaction, Refused> {
        let producer =
            self.producers.get_mut(id).filter(|producer| producer.epoch == epoch).ok_or(Refused::Epoch)?;
        if let Some(transaction) = producer.current {
            let is_open = self.running.get(&transaction).is_some_and(|running| running.decision.is_none());
            return if is_open { Ok(transaction) } else { Err(Refused::Busy) };
        }
        self.last_transaction = self.last_transaction.saturating_add(1);
        let transaction = self.last_transaction;
        producer.current = Some(transaction);
        let running =
            Running { id: id.to_owned(), partitions: BTreeSet::new(), group: None, decision: None, left: 0 };
        self.running.insert(transaction, running);
        self.schedule(TRANSACTION, Due::TimeOut { transaction });
        Ok(transaction)
    }

    /// Appends records to partitions, within the producer's transaction.
    pub(super) fn append(
        &mut self,
        id: &str,
        epoch: u64,
        records: Vec<NewRecord>,
    ) -> Result<Transaction, Refused> {
        let transaction = self.transaction(id, epoch)?;
        for record in records {
            let (topic, partition) = (record.topic, self.place(&record));
            if let Some(running) = self.running.get_mut(&transaction) {
                running.partitions.insert((topic, partition));
            }
            self.append_one(topic, partition, record, Some(transaction));
        }
        Ok(transaction)
    }

    /// Adds offsets to the producer's transaction, if the member is still in the group.
    pub(super) fn add_offsets(
        &mut self,
        id: &str,
        epoch: u64,
        (group, member): (GroupKey, Member),
        offsets: &[(u32, u64)],
    ) -> Result<Transaction, Refused> {
        let transaction = self.transaction(id, epoch)?;
        if !self.group(group).is_member(member) && !self.is_broken(Broken::Fencing) {
            return Err(Refused::Member);
        }
        if let Some(running) = self.running.get_mut(&transaction) {
            running.group = Some(group);
        }
        let one_more = u64::from(self.is_broken(Broken::Prefix) && self.dice.chance(100));
        let offsets: Vec<(u32, u64)> =
            offsets.iter().map(|(p, next)| (*p, next.saturating_add(one_more))).collect();
        self.group(group).add(transaction, &offsets);
        Ok(transaction)
    }

    /// Ends the producer's transaction. Asked again after the decision, it answers what was decided.
    pub(super) fn end(
        &mut self,
        id: &str,
        epoch: u64,
        transaction: Transaction,
        commit: bool,
    ) -> Result<bool, Refused> {
        if let Some(commit) = self.decided.get(&transaction) {
            return Ok(*commit);
        }
        let producer = self.producers.get(id).ok_or(Refused::Epoch)?;
        if producer.epoch != epoch || producer.current != Some(transaction) {
            return Err(Refused::Epoch);
        }
        self.end_running(transaction, commit);
        Ok(commit)
    }

    /// Decides, and sends the markers on their way.
    fn end_running(&mut self, transaction: Transaction, commit: bool) {
        let Some(running) = self.running.get_mut(&transaction).filter(|running| running.decision.is_none())
        else {
            return;
        };
        running.decision = Some(commit);
        running.left = running.partitions.len().saturating_add(usize::from(running.group.is_some()));
        let (id, left) = (running.id.clone(), running.left);
        let (partitions, group) = (running.partitions.clone(), running.group);
        self.decided.insert(transaction, commit);
        self.note(|| {
            format!("{id}: transaction {transaction} {}", if commit { "commits" } else { "aborts" })
        });
        if left == 0 {
            self.over(transaction);
        }
        let (mut with_outputs, mut with_offsets) = (commit, commit);
        if commit && self.is_broken(Broken::Outputs) && self.dice.chance(100) {
            with_outputs = false;
        }
        if commit && self.is_broken(Broken::Offsets) && self.dice.chance(100) {
            with_offsets = false;
        }
        hold!(LG_2, self.faults.broken.is_some() || with_outputs == with_offsets);
        for (topic, partition) in partitions {
            let after = self.marker_delay();
            self.schedule(after, Due::Mark { transaction, topic, partition, commit: with_outputs });
        }
        if let Some(group) = group {
            let after = self.marker_delay();
            self.schedule(after, Due::Decide { transaction, group, commit: with_offsets });
        }
    }

    fn marker_delay(&mut self) -> Duration {
        let most = self.faults.marker_ms;
        Duration::from_millis(if most == 0 { 0 } else { self.dice.below(most.saturating_add(1)) })
    }

    pub(super) fn mark(&mut self, transaction: Transaction, topic: Topic, partition: u32, commit: bool) {
        let now = self.clock.now();
        if let Some(shard) = self.shards.get_mut(&(topic, partition)) {
            shard.mark(transaction, commit, now);
            self.fresh.insert(topic);
        }
        self.arrived(transaction);
    }

    pub(super) fn decide_offsets(&mut self, transaction: Transaction, group: GroupKey, commit: bool) {
        let honest = self.faults.broken.is_none();
        self.group(group).decide(transaction, commit, honest);
        self.is_regrouped = true;
        self.arrived(transaction);
    }

    fn arrived(&mut self, transaction: Transaction) {
        let Some(running) = self.running.get_mut(&transaction) else { return };
        running.left = running.left.saturating_sub(1);
        if running.left == 0 {
            self.over(transaction);
        }
    }

    fn over(&mut self, transaction: Transaction) {
        let Some(running) = self.running.remove(&transaction) else { return };
        if let Some(producer) = self.producers.get_mut(&running.id) {
            producer.current = producer.current.filter(|current| *current != transaction);
        }
    }

    /// Nobody has ended it: it is aborted, and its producer fenced.
    pub(super) fn time_out(&mut self, transaction: Transaction) {
        let Some(running) = self.running.get(&transaction).filter(|running| running.decision.is_none())
        else {
            return;
        };
        let id = running.id.clone();
        self.note(|| format!("{id}: transaction {transaction} has timed out"));
        if let Some(producer) = self.producers.get_mut(&id) {
            producer.epoch = producer.epoch.saturating_add(1);
        }
        self.end_running(transaction, false);
    }
}
