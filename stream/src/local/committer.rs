//! The one thread that writes: many calls share one batch and one flush to disk.
//!
//! In: requests of appends and offsets. Out: a reply for each, after the flush
//! (LG-1). Never: a reply of success after a failed flush (LG-6).

use std::sync::Arc;
use std::time::Instant;

use model::metrics::metrics;
use model::time::{Clock, Timestamp};
use model::topic::Topic;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::block::Filled;
use super::group::{Claim, Group};
use super::shard::Appended;
use super::store::{Mile, Store};
use super::{Core, Health};
use crate::invariants::{LG_1, LG_6, hold};
use crate::log::LogError;

/// Most bytes of one batch, unless a single call has more.
const BATCH_BYTES: usize = 4 << 20;
/// Most calls of one batch.
const BATCH_CALLS: usize = 1024;
/// Stamps follow the clock back when it was set back by more than this; smaller steps are smoothed. Milliseconds.
const CLOCK_STEP_MS: i64 = 60_000;

/// One call.
#[derive(Debug)]
pub(super) struct Request {
    /// Blocks to append.
    pub(super) blocks: Vec<NewBlock>,
    /// Offsets to commit with them.
    pub(super) commit: Option<Commit>,
    /// Answered with the base offset of each block.
    pub(super) reply: oneshot::Sender<Result<Vec<u64>, LogError>>,
    /// Its place in the queue, by bytes.
    pub(super) permit: OwnedSemaphorePermit,
}

/// A block to append.
#[derive(Debug)]
pub(super) struct NewBlock {
    /// Its topic.
    pub(super) topic: Topic,
    /// Its partition; known to exist.
    pub(super) partition: u32,
    /// Its records.
    pub(super) filled: Filled,
}

/// Offsets to commit.
#[derive(Debug)]
pub(super) struct Commit {
    /// The group.
    pub(super) group: Arc<Group>,
    /// Who commits.
    pub(super) member: u64,
    /// What.
    pub(super) claims: Vec<Claim>,
}

impl Request {
    fn bytes(&self) -> usize {
        self.blocks.iter().map(|block| block.filled.len()).sum()
    }
}

/// What one call waits for, once its blocks are in the batch.
struct Waiting {
    bases: Vec<u64>,
    commit: Option<Commit>,
    reply: oneshot::Sender<Result<Vec<u64>, LogError>>,
    permit: OwnedSemaphorePermit,
}

/// New blocks of one partition, in order.
struct Growth {
    topic: Topic,
    partition: u32,
    end: u64,
    bytes: u64,
    mile: Option<Mile>,
    appended: Vec<Appended>,
}

/// Runs until every sender is gone or the log is closed.
pub(super) fn run(core: &Core, mut requests: UnboundedReceiver<Request>, clock: &Clock) {
    let mut last_time =
        core.shards.iter().map(|(_, _, shard)| shard.last_time()).max().unwrap_or(Timestamp::MIN);
    while let Some(first) = requests.blocking_recv() {
        let mut bytes = first.bytes();
        let mut calls = vec![first];
        while bytes < BATCH_BYTES && calls.len() < BATCH_CALLS {
            let Ok(next) = requests.try_recv() else { break };
            bytes = bytes.saturating_add(next.bytes());
            calls.push(next);
        }
        last_time = stamp(clock.now(), last_time);
        core.begin_write();
        write(core, calls, bytes, last_time);
        core.end_write();
    }
}

/// Times of a log do not go back, unless the clock was set back for good.
fn stamp(now: Timestamp, last: Timestamp) -> Timestamp {
    if now < last && last.millis().saturating_sub(now.millis()) < CLOCK_STEP_MS { last } else { now }
}

/// Writes one batch, and answers all its calls.
fn write(core: &Core, calls: Vec<Request>, bytes: usize, time: Timestamp) {
    // A closed log still writes what was queued; a broken one writes nothing (LG-6).
    let store = match (core.store(), core.health()) {
        (Ok(store), Health::Open | Health::Closed) => store,
        (Ok(_), Health::Broken(_)) | (Err(_), _) => return answer_all(calls, || core.why_not()),
    };
    let room = core.space.check(bytes as u64);
    core.set_full(room.is_err());
    let mut growths: Vec<Growth> = Vec::new();
    let mut waiting = Vec::with_capacity(calls.len());
    for call in calls {
        // Offsets alone are a few bytes, and let the stages behind a full disk finish.
        if let Err(why) = &room
            && !(call.blocks.is_empty() && core.space.has_reserve())
        {
            answer(call.reply, Err(LogError::NoSpace(why.clone())));
            continue;
        }
        if let Some(commit) = &call.commit
            && !commit.group.begin_commit(commit.member, &commit.claims)
        {
            answer(call.reply, Err(LogError::Fenced));
            continue;
        }
        waiting.push(add(core, call, &mut growths, time));
    }
    if waiting.is_empty() {
        return;
    }
    let began = Instant::now();
    match persist(&store, &growths, &waiting) {
        Ok(()) => {
            metrics().commit_seconds.observe(began.elapsed().as_secs_f64());
            publish(core, growths, waiting, time);
        }
        Err(error) => {
            core.break_down(format!("a write to {} failed: {error}", core.folder.display()));
            hold!(LG_6, matches!(core.health(), Health::Broken(_)));
            for call in waiting {
                if let Some(commit) = &call.commit {
                    commit.group.end_commit(&commit.claims, false);
                }
                answer(call.reply, Err(core.why_not()));
            }
        }
    }
}

/// All blocks, miles and offsets in one batch of the engine, flushed to the disk (LG-2).
fn persist(store: &Store, growths: &[Growth], waiting: &[Waiting]) -> fjall::Result<()> {
    let mut batch = store.batch();
    for growth in growths {
        for appended in &growth.appended {
            batch.put_block(growth.topic, growth.partition, appended.base, appended.block.clone())?;
        }
        if let Some(mile) = &growth.mile {
            batch.put_mile(growth.topic, growth.partition, mile);
        }
    }
    for (group, partition, next) in latest_offsets(waiting) {
        batch.put_group(&group.name, group.topic, partition, next);
    }
    batch.commit_durably()
}

/// Offsets of the batch, each partition of a group once: an engine's batch must not hold two writes of one key.
fn latest_offsets(waiting: &[Waiting]) -> Vec<(&Group, u32, u64)> {
    let mut all: Vec<(&Group, u32, u64)> = Vec::new();
    for commit in waiting.iter().filter_map(|call| call.commit.as_ref()) {
        for claim in &commit.claims {
            let same = |(group, partition, _): &&mut (&Group, u32, u64)| {
                std::ptr::eq(*group, Arc::as_ptr(&commit.group)) && *partition == claim.partition
            };
            match all.iter_mut().find(same) {
                Some((_, _, next)) => *next = claim.next,
                None => all.push((&commit.group, claim.partition, claim.next)),
            }
        }
    }
    all
}

/// Gives one call's blocks their places.
fn add(core: &Core, call: Request, growths: &mut Vec<Growth>, time: Timestamp) -> Waiting {
    let mut bases = Vec::with_capacity(call.blocks.len());
    for NewBlock { topic, partition, filled } in call.blocks {
        let found = growths.iter().position(|g| g.topic == topic && g.partition == partition);
        let index = found.unwrap_or_else(|| {
            let extent_and_bytes =
                core.shards.get(topic, partition).map(|shard| (shard.extent().end, shard.bytes()));
            let (end, bytes) = extent_and_bytes.unwrap_or_default();
            let mile = core.shards.get(topic, partition).and_then(|shard| shard.mile_due(end, bytes, time));
            growths.push(Growth { topic, partition, end, bytes, mile, appended: Vec::new() });
            growths.len().saturating_sub(1)
        });
        let Some(growth) = growths.get_mut(index) else { continue };
        let base = growth.end;
        let end = base.saturating_add(u64::from(filled.count()));
        let block = filled.seal(base, time);
        growth.end = end;
        growth.bytes = growth.bytes.saturating_add(block.len() as u64);
        growth.appended.push(Appended { base, end, block });
        bases.push(base);
    }
    Waiting { bases, commit: call.commit, reply: call.reply, permit: call.permit }
}

/// Shows what is durable, then answers.
fn publish(core: &Core, growths: Vec<Growth>, waiting: Vec<Waiting>, time: Timestamp) {
    let mut topics: Vec<Topic> = Vec::new();
    for growth in growths {
        if !topics.contains(&growth.topic) {
            topics.push(growth.topic);
        }
        if let Some(shard) = core.shards.get(growth.topic, growth.partition) {
            shard.publish(growth.appended, time, growth.mile);
            hold!(LG_1, shard.extent().end == growth.end);
        }
    }
    for call in waiting {
        if let Some(commit) = &call.commit {
            commit.group.end_commit(&commit.claims, true);
        }
        answer(call.reply, Ok(call.bases));
        drop(call.permit);
    }
    for topic in topics {
        core.wake(topic);
    }
}

fn answer_all(calls: Vec<Request>, why: impl Fn() -> LogError) {
    for call in calls {
        answer(call.reply, Err(why()));
    }
}

fn answer(to: oneshot::Sender<Result<Vec<u64>, LogError>>, with: Result<Vec<u64>, LogError>) {
    // The caller may have stopped waiting; what was written stays written.
    if to.send(with).is_err() {
        tracing::debug!("a caller of the log went away before its answer");
    }
}

#[cfg(test)]
mod tests {
    use super::{Timestamp, stamp};

    #[test]
    fn stamps_stand_still_over_small_steps_back_and_follow_large_ones() {
        let at = Timestamp::from_millis;
        assert_eq!(stamp(at(100_000), at(50_000)), at(100_000));
        assert_eq!(stamp(at(99_000), at(100_000)), at(100_000));
        assert_eq!(stamp(at(20_000), at(100_000)), at(20_000));
    }
}
