//! The driver of a worker: poll, process, commit; abort, revoke, drain.
//!
//! In: what the consumer brings. Out: commits. Never: a decision about records.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use model::error::Verdict;
use model::headers;
use model::metrics::metrics;
use model::time::Clock;
use model::topic::Topic;
use tokio::time::Instant;

use super::hands::Hands;
use super::restore::restore;
use super::{Worker, WorkerOptions};
use crate::dead::too_large_letter;
use crate::health::Doing;
use crate::invariants::{DL_2, hold};
use crate::log::{Consumer, FetchLimits, LogError, Polled, SharedLog, Transaction};
use crate::partition::{Effect, Input, Partition};
use crate::record::{NewRecord, Record};
use crate::shutdown::Shutdown;
use crate::watchdog::{STALL, Watchdog};

/// One fetch, and so one call of `process`.
const LIMITS: FetchLimits = FetchLimits { records_max: 1000, bytes_max: 1 << 20 };
/// Longest time between the first uncommitted output and its commit under load.
const COMMIT_AFTER: Duration = Duration::from_millis(50);
/// Most records of one commit.
const COMMIT_RECORDS: usize = 4000;
/// Most bytes of outputs of one commit.
const COMMIT_BYTES: usize = 4 << 20;
/// Time between two ticks.
const TICK: Duration = Duration::from_secs(1);
/// Time between two questions about a commit whose outcome is unknown.
const SETTLE: Duration = Duration::from_millis(100);
/// Longest that a drain at shutdown takes.
const GRACE: Duration = Duration::from_secs(6);

/// Why a consumer is done with.
enum End {
    /// Shutdown.
    Drained,
    /// A new consumer is needed.
    Rebuild,
}

/// What has been put out and is not committed.
#[derive(Default)]
struct Pending {
    outputs: Vec<NewRecord>,
    output_bytes: usize,
    records: usize,
    /// Records that count: no heartbeats, no watermarks.
    taken: u64,
    /// Partitions whose worker state has changed since the last commit.
    touched: BTreeSet<u32>,
    since: Option<Instant>,
}

pub(super) struct Driver {
    log: SharedLog,
    options: WorkerOptions,
    hands: Hands,
    clock: Clock,
    shutdown: Shutdown,
    partitions: BTreeMap<u32, Partition>,
    pending: Pending,
    next_tick: Instant,
    pub(super) watchdog: Watchdog,
    /// The last commit had no effect, and will be tried again.
    held_up: bool,
    /// Partitions whose records need what is not to be had now.
    waiting: BTreeSet<u32>,
}

impl Driver {
    pub(super) fn new(
        log: SharedLog,
        options: WorkerOptions,
        worker: Box<dyn Worker>,
        clock: Clock,
        shutdown: Shutdown,
    ) -> Driver {
        Driver {
            hands: Hands::new(options.group, worker),
            log,
            options,
            clock,
            shutdown,
            partitions: BTreeMap::new(),
            pending: Pending::default(),
            next_tick: Instant::now(),
            watchdog: Watchdog::new(STALL),
            held_up: false,
            waiting: BTreeSet::new(),
        }
    }

    /// Runs consumer after consumer.
    pub(super) async fn run(mut self) -> Result<(), LogError> {
        while !self.shutdown.is_set() {
            self.options.health.joining();
            match self.log.subscribe(self.options.group, self.options.input).await {
                Ok(mut consumer) => {
                    self.options.health.succeeded(Doing::Join);
                    match self.consume(&mut *consumer).await? {
                        End::Drained => return Ok(()),
                        End::Rebuild => {}
                    }
                }
                Err(error) => self.wait_after(Doing::Join, error).await?,
            }
        }
        Ok(())
    }

    async fn consume(&mut self, consumer: &mut dyn Consumer) -> Result<End, LogError> {
        let mut shutdown = self.shutdown.clone();
        loop {
            // What is pending waits only for what is already there.
            let until_tick = self.next_tick.saturating_duration_since(Instant::now());
            let wait = if self.pending.touched.is_empty() { until_tick } else { Duration::ZERO };
            let polled = tokio::select! {
                biased;
                () = shutdown.wait() => return self.drain(consumer).await,
                polled = consumer.poll(wait, LIMITS) => polled,
            };
            if polled.is_ok() {
                self.options.health.polled(consumer.is_member());
            }
            match polled {
                Ok(Polled::Assigned(partitions)) => self.assigned(&partitions).await?,
                Ok(Polled::Revoked(partitions)) => {
                    self.commit(consumer).await?;
                    self.revoked(&partitions, Input::Revoke).await?;
                }
                Ok(Polled::Lost(partitions)) => {
                    tracing::warn!(group = self.options.group, ?partitions, "partitions were lost");
                    self.abort(consumer).await?;
                    self.revoked(&partitions, Input::Lost).await?;
                }
                Ok(Polled::Records(partition, records)) => {
                    match self.prepare(partition, records).await? {
                        Ok(records) => self.process(partition, records).await?,
                        Err(why) => self.wait_for(consumer, partition, why).await?,
                    }
                    if self.is_commit_due() {
                        self.commit(consumer).await?;
                    }
                }
                Ok(Polled::Nothing { .. }) => self.commit(consumer).await?,
                Err(error) => {
                    self.abort(consumer).await?;
                    self.wait_after(Doing::Read, error).await?;
                    if consumer.is_dead() {
                        return self.rebuild().await;
                    }
                }
            }
            if Instant::now() >= self.next_tick && self.tick(consumer).await? {
                self.abort(consumer).await?;
                return self.rebuild().await;
            }
        }
    }

    /// The consumer is of no use any more: nothing of it can be committed.
    async fn rebuild(&mut self) -> Result<End, LogError> {
        let all: Vec<u32> = self.partitions.keys().copied().collect();
        self.revoked(&all, Input::Lost).await?;
        Ok(End::Rebuild)
    }

    /// Restores the state of new partitions and begins at their committed offsets.
    async fn assigned(&mut self, partitions: &[u32]) -> Result<(), LogError> {
        self.options.health.given(partitions);
        for partition in partitions {
            self.options.health.restoring(*partition, 0, 0);
        }
        for partition in partitions.iter().copied() {
            loop {
                match restored(&self.log, &self.options, partition).await {
                    Ok((committed, restored)) => {
                        self.options.health.succeeded(Doing::Restore);
                        let (count, now) = (restored.len(), self.clock.now());
                        self.hands.run(move |worker| worker.assigned(partition, restored, now)).await?;
                        self.partitions.insert(partition, Partition::new(committed));
                        self.options.health.restored(partition);
                        let (group, topic) = (self.options.group, self.options.input);
                        tracing::debug!(group, %topic, partition, committed, restored = count, "assigned");
                        break;
                    }
                    Err(error) => self.wait_after(Doing::Restore, error).await?,
                }
                if self.shutdown.is_set() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Lets the worker get what it needs for these records; gives them back, or what it waits for.
    async fn prepare(
        &mut self,
        partition: u32,
        records: Vec<Record>,
    ) -> Result<Result<Vec<Record>, String>, LogError> {
        let prepare = move |worker: &mut dyn Worker| {
            let prepared = worker.prepare(partition, &records);
            prepared.map(|()| records)
        };
        let prepared = self.hands.run(prepare).await?;
        if prepared.is_ok() {
            self.prepared(partition);
        }
        Ok(prepared)
    }

    /// A partition waits no longer for what its records need.
    fn prepared(&mut self, partition: u32) {
        if self.waiting.remove(&partition) && self.waiting.is_empty() {
            self.options.health.succeeded(Doing::Prepare);
        }
    }

    /// Reads a partition again, later; what others have put out is not kept waiting.
    async fn wait_for(
        &mut self,
        consumer: &mut dyn Consumer,
        partition: u32,
        why: String,
    ) -> Result<(), LogError> {
        self.waiting.insert(partition);
        self.commit(consumer).await?;
        consumer.rewind(partition).await?;
        self.wait_after(Doing::Prepare, LogError::Unavailable(why)).await
    }

    async fn process(&mut self, partition: u32, records: Vec<Record>) -> Result<(), LogError> {
        let Some(last) = records.last() else { return Ok(()) };
        let next = last.offset.saturating_add(1);
        self.watchdog.took(partition, last.appended);
        let Some(state) = self.partitions.get_mut(&partition) else { return Ok(()) };
        let Some(Effect::Work(span)) = state.step(Input::Fetched { next }) else { return Ok(()) };
        let now = self.clock.now();
        let taken = records.iter().filter(|record| record.headers.get(headers::KIND).is_none()).count();
        self.pending.records = self.pending.records.saturating_add(records.len());
        self.pending.taken = self.pending.taken.saturating_add(taken as u64);
        self.work(partition, move |worker, out| worker.process(partition, &records, now, out)).await?;
        if let Some(state) = self.partitions.get_mut(&partition) {
            let effect = state.step(Input::Done(span));
            hold!(DL_2, effect.is_none());
        }
        Ok(())
    }

    /// Lets the worker put out; what is too large is exchanged for a dead letter before anything is produced.
    async fn work(
        &mut self,
        partition: u32,
        work: impl FnOnce(&mut dyn Worker, &mut Vec<NewRecord>) + Send + 'static,
    ) -> Result<(), LogError> {
        self.pending.touched.insert(partition);
        self.pending.since.get_or_insert_with(Instant::now);
        let mut outputs = std::mem::take(&mut self.pending.outputs);
        let before = outputs.len();
        let log = SharedLog::clone(&self.log);
        let stage = self.options.stage;
        let run = move |worker: &mut dyn Worker| {
            work(worker, &mut outputs);
            let letter_limit = log.record_bytes_max(Topic::Dead);
            let mut bytes = 0_usize;
            for output in outputs.iter_mut().skip(before) {
                let limit = log.record_bytes_max(output.topic);
                if output.size() > limit {
                    tracing::warn!(stage = stage.as_str(), topic = %output.topic, bytes = output.size(), limit, "output too large");
                    worker.too_large(partition, output);
                    *output = too_large_letter(output, stage, limit, letter_limit);
                }
                bytes = bytes.saturating_add(output.size());
            }
            (outputs, bytes)
        };
        let (outputs, bytes) = self.hands.run(run).await?;
        self.pending.outputs = outputs;
        self.pending.output_bytes = self.pending.output_bytes.saturating_add(bytes);
        Ok(())
    }

    fn is_commit_due(&self) -> bool {
        self.pending.records >= COMMIT_RECORDS
            || self.pending.output_bytes >= COMMIT_BYTES
            || self.pending.since.is_some_and(|since| since.elapsed() >= COMMIT_AFTER)
    }

    /// Ticks every partition, commits, and looks for stalls. `true`: the consumer must be built anew.
    async fn tick(&mut self, consumer: &mut dyn Consumer) -> Result<bool, LogError> {
        self.next_tick = Instant::now().checked_add(TICK).unwrap_or_else(Instant::now);
        let at_end: BTreeMap<u32, _> = consumer.at_end().into_iter().collect();
        let now = self.clock.now();
        let all: Vec<u32> = self.partitions.keys().copied().collect();
        for partition in all {
            let ended = at_end.get(&partition).copied();
            self.work(partition, move |worker, out| worker.tick(partition, now, ended, out)).await?;
        }
        self.commit(consumer).await?;
        self.measure(consumer).await
    }

    /// Lag as metrics; `true` when a partition stands still and a new consumer may help.
    async fn measure(&mut self, consumer: &mut dyn Consumer) -> Result<bool, LogError> {
        let (group, topic) = (self.options.group, self.options.input);
        let reached = |(partition, state): (&u32, &Partition)| {
            (*partition, state.reached(consumer.position(*partition)))
        };
        let reached: Vec<(u32, u64)> = self.partitions.iter().map(reached).collect();
        let stalled = self
            .watchdog
            .measure(&*self.log, group, topic, &reached, self.clock.now(), &self.options.health)
            .await?;
        // A log that refuses commits is not helped by a new consumer, nor what waits for something else.
        Ok(!stalled.is_empty() && !self.held_up && self.waiting.is_empty())
    }

    /// Commits what is pending. What had no effect is rewound, to be run again after a while.
    async fn commit(&mut self, consumer: &mut dyn Consumer) -> Result<(), LogError> {
        if self.pending.touched.is_empty() {
            return Ok(());
        }
        let mut moved = Vec::new();
        let mut offsets = Vec::new();
        for partition in &self.pending.touched {
            let Some(state) = self.partitions.get_mut(partition) else { continue };
            match state.step(Input::CommitDue) {
                Some(Effect::Commit { next }) => {
                    moved.push((*partition, next));
                    offsets.push((*partition, next));
                }
                // The offset stands, but goes along: an owner that was replaced must not put anything out (LG-5).
                Some(_) | None => offsets.push((*partition, state.committed())),
            }
        }
        if !moved.is_empty() || !self.pending.outputs.is_empty() {
            let outputs = std::mem::take(&mut self.pending.outputs);
            let outcome = consumer.commit(Transaction { outputs, offsets }).await;
            if let Err(error) = settled(consumer, &self.options, outcome).await {
                self.abort(consumer).await?;
                self.held_up = true;
                return self.wait_after(Doing::Commit, error).await;
            }
            metrics().commits.with_label_values(&[self.options.group]).inc();
            metrics().taken(self.options.stage, self.pending.taken);
            self.options.health.succeeded(Doing::Commit);
        }
        self.held_up = false;
        for (partition, next) in moved {
            if let Some(state) = self.partitions.get_mut(&partition) {
                state.step(Input::Committed { next });
            }
        }
        let pending = std::mem::take(&mut self.pending);
        let now = self.clock.now();
        self.hands.run(move |worker| pending.touched.iter().for_each(|p| worker.committed(*p, now))).await
    }

    /// All that is pending did not happen: the worker puts its state back, and the records are read again.
    async fn abort(&mut self, consumer: &mut dyn Consumer) -> Result<(), LogError> {
        let pending = std::mem::take(&mut self.pending);
        for partition in &pending.touched {
            let effect = self.partitions.get_mut(partition).and_then(|state| state.step(Input::Abort));
            if let Some(Effect::Rewind { .. }) = effect {
                consumer.rewind(*partition).await?;
            }
        }
        self.hands.run(move |worker| pending.touched.iter().for_each(|p| worker.aborted(*p))).await
    }

    /// Partitions go: in good order after a commit, or lost.
    async fn revoked(&mut self, partitions: &[u32], how: Input) -> Result<(), LogError> {
        let mut gone = Vec::new();
        self.options.health.gone(partitions);
        for partition in partitions {
            self.watchdog.forget(self.options.group, self.options.input, *partition);
            self.prepared(*partition);
            if let Some(mut state) = self.partitions.remove(partition) {
                state.step(how);
                gone.push(*partition);
            }
        }
        self.hands.run(move |worker| gone.iter().for_each(|partition| worker.revoked(*partition))).await
    }

    /// The end: what is pending is committed within the grace time, or will be run again.
    async fn drain(&mut self, consumer: &mut dyn Consumer) -> Result<End, LogError> {
        match tokio::time::timeout(GRACE, self.commit(consumer)).await {
            Ok(outcome) => outcome?,
            Err(_) => {
                tracing::warn!(
                    group = self.options.group,
                    "no commit within the grace time; it will be run again"
                );
                return Ok(End::Drained);
            }
        }
        let all: Vec<u32> = self.partitions.keys().copied().collect();
        self.revoked(&all, Input::Revoke).await?;
        Ok(End::Drained)
    }

    /// Waits as the error asks, unless shutdown comes first. Errors that do not get better come back.
    async fn wait_after(&mut self, doing: Doing, error: LogError) -> Result<(), LogError> {
        self.options.health.failed(doing, &error);
        let Verdict::Retry { after_ms } = error.verdict() else { return Err(error) };
        tracing::warn!(group = self.options.group, %error, after_ms, "trying again");
        tokio::select! {
            () = self.shutdown.wait() => {}
            () = tokio::time::sleep(Duration::from_millis(after_ms)) => {}
        }
        Ok(())
    }
}

/// Committed offset and state of a partition. The offset first: the changelog then holds at least what was committed with it.
async fn restored(
    log: &SharedLog,
    options: &WorkerOptions,
    partition: u32,
) -> Result<(u64, Vec<Record>), LogError> {
    let committed = log.committed(options.group, options.input, partition).await?;
    let tell = |done, of| options.health.restoring(partition, done, of);
    let restored = match options.changelog {
        Some(changelog) => restore(&**log, changelog, partition, &tell).await?,
        None => Vec::new(),
    };
    Ok((committed, restored))
}

/// A commit whose outcome is unknown is asked about until it is known; it is never run again.
async fn settled(
    consumer: &mut dyn Consumer,
    options: &WorkerOptions,
    outcome: Result<(), LogError>,
) -> Result<(), LogError> {
    let mut outcome = outcome;
    while let Err(LogError::OutcomeUnknown(why)) = outcome {
        tracing::warn!(group = options.group, why, "asking again what became of a commit");
        options.health.failed_because(Doing::Commit, why);
        tokio::time::sleep(SETTLE).await;
        outcome = consumer.settle().await;
    }
    outcome
}
