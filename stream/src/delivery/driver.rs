//! The driver of a delivery: fill batches, keep several in flight, commit finished prefixes.
//!
//! In: what the consumer brings, and outcomes. Out: commits with dead letters. Never: a retry of a delivery; that is its own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use model::error::Verdict;
use model::headers;
use model::metrics::metrics;
use model::time::Clock;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;

use super::ledger::{Account, Finished, Ledger};
use super::{Delivery, DeliveryOptions, Outcome};
use crate::dead::letter;
use crate::health::Doing;
use crate::log::{Consumer, FetchLimits, LogError, Polled, SharedLog, Transaction};
use crate::partition::{Effect, Input, Partition, Span};
use crate::record::{NewRecord, Record};
use crate::shutdown::Shutdown;
use crate::watchdog::{STALL, Watchdog};

/// Time between two measurements of lag.
const MEASURE: Duration = Duration::from_secs(1);
/// Longest wait for what is in flight, at shutdown.
const GRACE: Duration = Duration::from_secs(6);
/// The same when the group asks for partitions back; below the group's session time.
const REVOKE_GRACE: Duration = Duration::from_secs(5);
/// Time between two questions about a commit whose outcome is unknown.
const SETTLE: Duration = Duration::from_millis(100);
/// Finished spans that may wait for an older one, for each batch that may be in flight.
const AHEAD: usize = 8;

/// Why a consumer is done with.
enum End {
    Drained,
    Rebuild,
}

/// Records on their way out, with the spans they came in.
#[derive(Default)]
struct Batch {
    records: Vec<Record>,
    bytes: usize,
    /// Partition, span, and how many of the records are its own.
    spans: Vec<(u32, Span, usize)>,
}

/// A batch that came back.
type Returned = Result<(Batch, Vec<Outcome>), JoinError>;

pub(super) struct Driver {
    log: SharedLog,
    options: DeliveryOptions,
    delivery: Arc<dyn Delivery>,
    clock: Clock,
    shutdown: Shutdown,
    partitions: BTreeMap<u32, Partition>,
    /// Epoch of the next assignment, so that old work is told from new.
    epoch: u32,
    filling: Batch,
    /// When the batch that is filled must go.
    due: Option<Instant>,
    flying: JoinSet<(Batch, Vec<Outcome>)>,
    ledger: Ledger,
    /// No commit before this, after one had no effect.
    commit_after: Option<Instant>,
    next_measure: Instant,
    pub(super) grace: Duration,
    pub(super) watchdog: Watchdog,
}

impl Driver {
    pub(super) fn new(
        log: SharedLog,
        options: DeliveryOptions,
        delivery: Arc<dyn Delivery>,
        clock: Clock,
        shutdown: Shutdown,
    ) -> Driver {
        Driver {
            log,
            options,
            delivery,
            clock,
            shutdown,
            partitions: BTreeMap::new(),
            epoch: 0,
            filling: Batch::default(),
            due: None,
            flying: JoinSet::new(),
            ledger: Ledger::default(),
            commit_after: None,
            next_measure: Instant::now(),
            grace: GRACE,
            watchdog: Watchdog::new(STALL),
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
            self.launch_if_due();
            let (wait, limits) = (self.wait(), self.limits());
            tokio::select! {
                biased;
                () = shutdown.wait() => return self.drain(consumer).await,
                Some(returned) = self.flying.join_next() => {
                    self.returned(returned)?;
                    self.commit(consumer).await?;
                }
                polled = consumer.poll(wait, limits) => match polled {
                    Ok(polled) => {
                        self.options.health.polled(consumer.is_member());
                        self.polled(consumer, polled).await?;
                    }
                    Err(error) => {
                        self.wait_after(Doing::Read, error).await?;
                        if consumer.is_dead() {
                            let all: Vec<u32> = self.partitions.keys().copied().collect();
                            self.forget(&all, Input::Lost);
                            return Ok(End::Rebuild);
                        }
                    }
                },
            }
            if Instant::now() >= self.next_measure {
                self.commit(consumer).await?;
                if self.measure(consumer).await? {
                    let all: Vec<u32> = self.partitions.keys().copied().collect();
                    self.forget(&all, Input::Lost);
                    return Ok(End::Rebuild);
                }
            }
        }
    }

    async fn polled(&mut self, consumer: &mut dyn Consumer, polled: Polled) -> Result<(), LogError> {
        match polled {
            Polled::Assigned(partitions) => self.assigned(&partitions).await,
            Polled::Revoked(partitions) => {
                self.finish(consumer, &partitions, REVOKE_GRACE).await?;
                self.forget(&partitions, Input::Revoke);
                Ok(())
            }
            Polled::Lost(partitions) => {
                tracing::warn!(group = self.options.group, ?partitions, "partitions were lost");
                self.forget(&partitions, Input::Lost);
                Ok(())
            }
            Polled::Records(partition, records) => {
                self.take(partition, records);
                // A span without a record to deliver is finished at once.
                if self.ledger.len() > 0 && self.flying.is_empty() {
                    self.commit(consumer).await
                } else {
                    Ok(())
                }
            }
            Polled::Nothing { .. } => self.commit(consumer).await,
        }
    }

    async fn assigned(&mut self, partitions: &[u32]) -> Result<(), LogError> {
        self.options.health.given(partitions);
        for partition in partitions {
            let committed = loop {
                match self.log.committed(self.options.group, self.options.input, *partition).await {
                    Ok(committed) => break committed,
                    Err(error) => self.wait_after(Doing::Restore, error).await?,
                }
                if self.shutdown.is_set() {
                    return Ok(());
                }
            };
            self.options.health.succeeded(Doing::Restore);
            self.epoch = self.epoch.wrapping_add(1);
            self.partitions.insert(*partition, Partition::with_epoch(committed, self.epoch));
            let (group, topic) = (self.options.group, self.options.input);
            tracing::debug!(group, %topic, partition, committed, "assigned");
        }
        Ok(())
    }

    /// Adds records to the batch that is being filled.
    fn take(&mut self, partition: u32, records: Vec<Record>) {
        let Some(last) = records.last() else { return };
        let next = last.offset.saturating_add(1);
        self.watchdog.took(partition, last.appended);
        let Some(state) = self.partitions.get_mut(&partition) else { return };
        let Some(Effect::Work(span)) = state.step(Input::Fetched { next }) else { return };
        let before = self.filling.records.len();
        for record in records {
            if record.headers.get(headers::KIND).is_none() {
                self.filling.bytes = self.filling.bytes.saturating_add(record.size());
                self.filling.records.push(record);
            }
        }
        let count = self.filling.records.len().saturating_sub(before);
        if count == 0 {
            state.step(Input::Done(span));
            self.ledger.note(partition, span, Finished { to: span.to, ..Finished::default() });
            return;
        }
        self.filling.spans.push((partition, span, count));
        if self.due.is_none() {
            self.due = Instant::now().checked_add(Duration::from_millis(self.options.batch_wait_ms));
        }
    }

    fn is_full(&self) -> bool {
        self.filling.records.len() >= self.options.batch_records_max
            || self.filling.bytes >= self.options.batch_bytes_max
    }

    fn launch_if_due(&mut self) {
        let is_due = self.is_full() || self.due.is_some_and(|due| Instant::now() >= due);
        if is_due && self.flying.len() < self.options.in_flight_max.max(1) {
            self.launch();
        }
    }

    fn launch(&mut self) {
        self.due = None;
        let batch = std::mem::take(&mut self.filling);
        if batch.records.is_empty() {
            return;
        }
        let delivery = Arc::clone(&self.delivery);
        self.flying.spawn(async move {
            let outcomes = delivery.deliver(&batch.records).await;
            (batch, outcomes)
        });
    }

    /// What may be read now: what the batch has room for, unless too much waits for an old one.
    fn limits(&self) -> FetchLimits {
        let ahead_max = self.options.in_flight_max.max(1).saturating_mul(AHEAD);
        if self.is_full() || self.ledger.len() >= ahead_max {
            return FetchLimits::PAUSED;
        }
        FetchLimits {
            records_max: self.options.batch_records_max.saturating_sub(self.filling.records.len()).max(1),
            bytes_max: self.options.batch_bytes_max.saturating_sub(self.filling.bytes).max(1),
        }
    }

    fn wait(&self) -> Duration {
        let next = match self.due.filter(|_| self.flying.len() < self.options.in_flight_max.max(1)) {
            Some(due) => due.min(self.next_measure),
            None => self.next_measure,
        };
        next.saturating_duration_since(Instant::now())
    }

    /// Notes the outcomes of a batch.
    fn returned(&mut self, returned: Returned) -> Result<(), LogError> {
        let (batch, outcomes) = returned
            .map_err(|error| LogError::Broken(format!("the delivery of {}: {error}", self.options.group)))?;
        let (wanted, got) = (batch.records.len(), outcomes.len());
        if wanted != got {
            let group = self.options.group;
            return Err(LogError::Broken(format!(
                "the delivery of {group} has {got} outcomes for {wanted} records"
            )));
        }
        let mut pairs = batch.records.iter().zip(outcomes);
        for (partition, span, count) in batch.spans {
            let mut finished = Finished { to: span.to, ..Finished::default() };
            for (record, outcome) in pairs.by_ref().take(count) {
                match outcome {
                    Outcome::Done => finished.done = finished.done.saturating_add(1),
                    Outcome::Dead { reason, detail } => {
                        finished.dead.push(reason);
                        finished.letters.push(letter(record, self.options.stage, reason, &detail));
                    }
                }
            }
            if let Some(state) = self.partitions.get_mut(&partition).filter(|state| state.awaits(span)) {
                state.step(Input::Done(span));
                self.ledger.note(partition, span, finished);
            }
        }
        Ok(())
    }

    /// Commits the finished prefixes with the letters that belong to them.
    async fn commit(&mut self, consumer: &mut dyn Consumer) -> Result<(), LogError> {
        if self.commit_after.is_some_and(|after| Instant::now() < after) {
            return Ok(());
        }
        self.commit_after = None;
        let mut offsets = Vec::new();
        for (partition, state) in &mut self.partitions {
            if let Some(Effect::Commit { next }) = state.step(Input::CommitDue) {
                offsets.push((*partition, next));
            }
        }
        if offsets.is_empty() {
            return Ok(());
        }
        let letters = offsets.iter().flat_map(|(partition, next)| self.ledger.letters(*partition, *next));
        let outputs: Vec<NewRecord> = letters.cloned().collect();
        let mut outcome = consumer.commit(Transaction { outputs, offsets: offsets.clone() }).await;
        while let Err(LogError::OutcomeUnknown(why)) = outcome {
            tracing::warn!(group = self.options.group, why, "asking again");
            self.options.health.failed_because(Doing::Commit, why);
            tokio::time::sleep(SETTLE).await;
            outcome = consumer.settle().await;
        }
        match outcome {
            Ok(()) => {
                metrics().commits.with_label_values(&[self.options.group]).inc();
                self.options.health.succeeded(Doing::Commit);
                let mut account = Account::default();
                for (partition, next) in offsets {
                    if let Some(state) = self.partitions.get_mut(&partition) {
                        state.step(Input::Committed { next });
                    }
                    self.ledger.settle(partition, next, &mut account);
                }
                account.count(self.options.stage);
                Ok(())
            }
            Err(error) => {
                let Verdict::Retry { after_ms } = error.verdict() else { return Err(error) };
                tracing::warn!(group = self.options.group, %error, after_ms, "committing again later");
                self.options.health.failed(Doing::Commit, &error);
                for (partition, _) in offsets {
                    if let Some(state) = self.partitions.get_mut(&partition) {
                        state.step(Input::CommitFailed);
                    }
                }
                self.commit_after = Instant::now().checked_add(Duration::from_millis(after_ms));
                Ok(())
            }
        }
    }

    /// Waits until nothing of these partitions is in flight, and commits; no longer than `grace`.
    async fn finish(
        &mut self,
        consumer: &mut dyn Consumer,
        partitions: &[u32],
        grace: Duration,
    ) -> Result<(), LogError> {
        let deadline = Instant::now().checked_add(grace).unwrap_or_else(Instant::now);
        self.give_back_unsent(partitions);
        while self.is_working(partitions) {
            match tokio::time::timeout_at(deadline, self.flying.join_next()).await {
                Ok(Some(returned)) => self.returned(returned)?,
                Ok(None) => break,
                Err(_) => {
                    tracing::warn!(group = self.options.group, "not all was delivered within the grace time");
                    break;
                }
            }
            self.commit(consumer).await?;
        }
        loop {
            self.commit(consumer).await?;
            let Some(after) = self.commit_after.filter(|after| *after < deadline) else { return Ok(()) };
            tokio::time::sleep_until(after).await;
        }
    }

    /// What waits in the batch and was not sent is left for the next owner.
    fn give_back_unsent(&mut self, partitions: &[u32]) {
        let batch = std::mem::take(&mut self.filling);
        let mut records = batch.records.into_iter();
        for (partition, span, count) in batch.spans {
            let own = records.by_ref().take(count);
            if partitions.contains(&partition) {
                own.for_each(drop);
                continue;
            }
            for record in own {
                self.filling.bytes = self.filling.bytes.saturating_add(record.size());
                self.filling.records.push(record);
            }
            self.filling.spans.push((partition, span, count));
        }
        if self.filling.records.is_empty() {
            self.due = None;
        }
    }

    fn is_working(&self, partitions: &[u32]) -> bool {
        let working = |partition| self.partitions.get(partition).is_some_and(Partition::is_working);
        !self.flying.is_empty() && partitions.iter().any(working)
    }

    fn forget(&mut self, partitions: &[u32], how: Input) {
        self.give_back_unsent(partitions);
        self.options.health.gone(partitions);
        for partition in partitions {
            if let Some(mut state) = self.partitions.remove(partition) {
                state.step(how);
            }
            self.ledger.forget(*partition);
            self.watchdog.forget(self.options.group, self.options.input, *partition);
        }
    }

    /// Lag as metrics; `true` when a partition stands still although nothing of it is under way.
    async fn measure(&mut self, consumer: &mut dyn Consumer) -> Result<bool, LogError> {
        self.next_measure = Instant::now().checked_add(MEASURE).unwrap_or_else(Instant::now);
        let (group, topic) = (self.options.group, self.options.input);
        let reached = |(partition, state): (&u32, &Partition)| {
            (*partition, state.reached(consumer.position(*partition)))
        };
        let reached: Vec<(u32, u64)> = self.partitions.iter().map(reached).collect();
        let stalled = self
            .watchdog
            .measure(&*self.log, group, topic, &reached, self.clock.now(), &self.options.health)
            .await?;
        // What is in flight waits for the outside, and a log that refuses commits for itself: a new consumer helps neither.
        let is_idle = |partition| self.partitions.get(partition).is_some_and(|state| !state.is_working());
        Ok(self.commit_after.is_none() && stalled.iter().any(is_idle))
    }

    /// The end: what is in flight is waited for within the grace time; the rest is delivered again later.
    async fn drain(&mut self, consumer: &mut dyn Consumer) -> Result<End, LogError> {
        let all: Vec<u32> = self.partitions.keys().copied().collect();
        self.finish(consumer, &all, self.grace).await?;
        self.flying.shutdown().await;
        self.forget(&all, Input::Revoke);
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
