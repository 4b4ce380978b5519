//! A member of a consumer group of the local log.
//!
//! In: what the group decides and what becomes durable. Out: changes of the
//! assignment, records, commits. Never: a sleep; it is woken by news.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use model::metrics::metrics;
use model::time::Timestamp;
use tokio::sync::watch;
use tokio::time::Instant;

use super::Core;
use super::committer::Commit;
use super::group::{Claim, Grant, Group, Told};
use crate::log::{Consumer, FetchLimits, Fetched, LogError, Polled, Transaction};

/// A member of a group.
pub(super) struct LocalConsumer {
    core: Arc<Core>,
    group: Arc<Group>,
    member: u64,
    held: BTreeMap<u32, Held>,
    /// Told to be given up; given up with the next poll.
    leaving: Vec<u32>,
    /// The partition that was served last.
    served: u32,
    group_news: watch::Receiver<u64>,
    topic_news: watch::Receiver<u64>,
}

/// A partition that is ours.
#[derive(Clone, Copy, Debug)]
struct Held {
    epoch: u64,
    /// Next offset to fetch.
    position: u64,
}

impl LocalConsumer {
    /// Joins.
    pub(super) fn new(core: Arc<Core>, group: Arc<Group>) -> LocalConsumer {
        let group_news = group.changes();
        let topic_news = core.news(group.topic);
        let member = group.join(Instant::now());
        let held = BTreeMap::new();
        LocalConsumer { core, group, member, held, leaving: Vec::new(), served: 0, group_news, topic_news }
    }

    fn give_up_what_was_revoked(&mut self) {
        if self.leaving.is_empty() {
            return;
        }
        let leaving = std::mem::take(&mut self.leaving);
        for partition in &leaving {
            self.held.remove(partition);
        }
        self.group.release(self.member, &leaving, Instant::now());
    }

    /// What the group has to tell, if anything.
    fn told(&mut self) -> Option<Polled> {
        let held: Vec<(u32, u64)> =
            self.held.iter().map(|(partition, held)| (*partition, held.epoch)).collect();
        match self.group.next(self.member, &held, Instant::now()) {
            Told::Nothing => None,
            Told::Lost(partitions) => {
                self.held.retain(|partition, _| !partitions.contains(partition));
                Some(Polled::Lost(partitions))
            }
            Told::Revoked(partitions) => {
                self.leaving.clone_from(&partitions);
                Some(Polled::Revoked(partitions))
            }
            Told::Assigned(grants) => {
                for Grant { partition, epoch, committed } in &grants {
                    let position = self.beginning(*partition, *committed);
                    self.held.insert(*partition, Held { epoch: *epoch, position });
                }
                Some(Polled::Assigned(grants.iter().map(|grant| grant.partition).collect()))
            }
        }
    }

    /// Where reading begins: at the committed offset, unless retention has passed it, which is told loudly.
    fn beginning(&self, partition: u32, committed: Option<u64>) -> u64 {
        let start = self.core.extent(self.group.topic, partition).start;
        let Some(committed) = committed else { return start };
        let missed = start.saturating_sub(committed);
        if missed > 0 && self.group.topic.cleanup() == model::topic::Cleanup::Time {
            tracing::error!(
                group = self.group.name, topic = %self.group.topic, partition, committed, start,
                "records expired before the group had read them; raise log.retention_mib or log.retention_hours"
            );
            let labels = [self.group.name.as_str(), self.group.topic.name()];
            metrics().log_expired_unread.with_label_values(&labels).inc_by(missed);
        }
        committed.max(start)
    }

    /// Records of the next partition that has some, in turn.
    async fn read(&mut self, limits: FetchLimits) -> Result<Option<Polled>, LogError> {
        let later = self.held.range(self.served.saturating_add(1)..);
        let earlier = self.held.range(..=self.served);
        let turn: Vec<(u32, u64)> = later.chain(earlier).map(|(p, held)| (*p, held.position)).collect();
        for (partition, position) in turn {
            let extent = self.core.extent(self.group.topic, partition);
            if self.leaving.contains(&partition) || position >= extent.end {
                continue;
            }
            let from =
                if position < extent.start { self.beginning(partition, Some(position)) } else { position };
            let Fetched { records, next } = self.core.read(self.group.topic, partition, from, limits).await?;
            // From here on nothing waits, so that a dropped future loses no records.
            if let Some(held) = self.held.get_mut(&partition) {
                held.position = next;
            }
            if !records.is_empty() {
                self.served = partition;
                return Ok(Some(Polled::Records(partition, records)));
            }
        }
        Ok(None)
    }

    fn claims(&self, offsets: &[(u32, u64)]) -> Result<Vec<Claim>, LogError> {
        let claim = |(partition, next): &(u32, u64)| {
            let held = self.held.get(partition)?;
            Some(Claim { partition: *partition, epoch: held.epoch, next: *next })
        };
        offsets.iter().map(|offset| claim(offset).ok_or(LogError::Fenced)).collect()
    }
}

#[async_trait]
impl Consumer for LocalConsumer {
    async fn poll(&mut self, wait: Duration, limits: FetchLimits) -> Result<Polled, LogError> {
        let deadline = Instant::now().checked_add(wait);
        self.give_up_what_was_revoked();
        loop {
            // Seen before looking, so that news in between wakes us again.
            self.group_news.mark_unchanged();
            self.topic_news.mark_unchanged();
            self.core.check()?;
            if let Some(told) = self.told() {
                return Ok(told);
            }
            if limits.records_max > 0
                && let Some(records) = self.read(limits).await?
            {
                return Ok(records);
            }
            let at_end = self.at_end();
            let Some(deadline) = deadline.filter(|deadline| *deadline > Instant::now()) else {
                return Ok(Polled::Nothing { at_end });
            };
            let group_news = self.group_news.changed();
            let topic_news = self.topic_news.changed();
            // The senders live as long as the group and the core that we hold.
            tokio::select! {
                _ = group_news => {}
                _ = topic_news, if limits.records_max > 0 => {}
                () = tokio::time::sleep_until(deadline) => {}
            }
        }
    }

    async fn commit(&mut self, transaction: Transaction) -> Result<(), LogError> {
        let claims = self.claims(&transaction.offsets)?;
        if claims.is_empty() && transaction.outputs.is_empty() {
            return Ok(());
        }
        let commit = Commit { group: Arc::clone(&self.group), member: self.member, claims };
        let commit = (!commit.claims.is_empty()).then_some(commit);
        self.core.append(&transaction.outputs, commit).await?;
        Ok(())
    }

    async fn settle(&mut self) -> Result<(), LogError> {
        // The outcome is always known: the committer answers, or the log is broken.
        self.core.check()
    }

    async fn rewind(&mut self, partition: u32) -> Result<(), LogError> {
        let committed = self.group.committed(partition);
        let position = self.beginning(partition, committed);
        if let Some(held) = self.held.get_mut(&partition) {
            held.position = position;
        }
        Ok(())
    }

    fn at_end(&mut self) -> Vec<(u32, Timestamp)> {
        // The time first: whatever comes in after it is not said to be done.
        let now = self.core.clock.now();
        let topic = self.group.topic;
        let ended = |(p, held): (&u32, &Held)| {
            (held.position >= self.core.extent(topic, *p).end).then_some((*p, now))
        };
        self.held.iter().filter(|(p, _)| !self.leaving.contains(p)).filter_map(ended).collect()
    }

    fn position(&mut self, partition: u32) -> Option<u64> {
        self.held.get(&partition).map(|held| held.position)
    }
}

impl Drop for LocalConsumer {
    fn drop(&mut self) {
        self.group.leave(self.member, Instant::now());
    }
}
