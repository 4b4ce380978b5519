//! Commits of a member: outputs and offsets in one transaction, or offsets
//! alone.
//!
//! In: what is to take effect together. Out: whether it did. Never: a commit
//! run again; one whose outcome is unknown is asked about, if need be by the
//! token that every transaction leaves beside its offsets.
//!
//! Whatever blocks, blocks on the committer's own thread. A future that is
//! dropped leaves its commit there, to end whole or not at all.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use model::metrics::metrics;
use model::topic::Topic;
use rdkafka::consumer::{CommitMode, Consumer as _, ConsumerGroupMetadata};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::Core;
use super::client::Threads;
use super::failure::{code, is_stale_member, unavailable};
use super::member::{Member, Native};
use super::poll::offsets;
use super::producer::{Ended, Transactor, Work};
use crate::log::{LogError, Transaction};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

/// Longest wait for a plain commit; then its outcome is unknown.
const PLAIN: Duration = Duration::from_secs(10);
/// Longest wait for the next generation of the group.
const BETWEEN: Duration = Duration::from_secs(3);
/// Time between two tries.
const AGAIN: Duration = Duration::from_millis(20);
/// Time between two looks at log lines and tokens while nothing is to be done.
const IDLE: Duration = Duration::from_secs(1);

/// Next offsets that took effect.
pub(super) type Moved = Vec<(u32, u64)>;
type Reply = Result<(), LogError>;

enum Job {
    Transaction(Box<Work>, oneshot::Sender<Reply>),
    Plain(Plain, oneshot::Sender<Reply>),
    Settle(oneshot::Sender<Reply>),
    Prepare,
}

/// Offsets alone, and whose they are.
#[derive(Clone)]
struct Plain {
    native: Arc<Native>,
    member: Arc<Member>,
    moved: Moved,
}

/// The commits of one member.
pub(super) struct Committer {
    core: Arc<Core>,
    group: &'static str,
    topic: Topic,
    slot: usize,
    jobs: Option<Sender<Job>>,
    /// The commit under way, whose outcome is not known.
    open: Option<Open>,
    /// Transactions have been used; from then on they are for everything.
    is_transactional: bool,
}

struct Open {
    offsets: Moved,
    reply: Option<oneshot::Receiver<Reply>>,
    /// A plain commit can be made again as it is.
    plain: Option<Plain>,
}

impl Committer {
    pub(super) fn new(core: &Arc<Core>, group: &'static str, topic: Topic, slot: usize) -> Committer {
        let core = Arc::clone(core);
        Committer { core, group, topic, slot, jobs: None, open: None, is_transactional: false }
    }

    /// Makes the producer, which ends what a predecessor of the same id has left open: nobody could read past it, nor
    /// learn where to begin, until its time is over.
    pub(super) fn prepare(&mut self) -> Result<(), LogError> {
        self.send(Job::Prepare)
    }

    /// Commits. `metadata`: who we are, as it was before our partitions were looked at.
    pub(super) async fn commit(
        &mut self,
        (native, member): (&Arc<Native>, &Arc<Member>),
        metadata: Option<ConsumerGroupMetadata>,
        transaction: Transaction,
    ) -> Result<Moved, LogError> {
        if let Some(open) = &self.open {
            // The future of an earlier commit was dropped: it must end first.
            let open = open.offsets.len();
            tracing::debug!(group = self.group, open, "an earlier commit is still under way");
            if let Err(LogError::OutcomeUnknown(why)) = self.settle().await {
                return Err(LogError::Unavailable(why));
            }
        }
        let offsets = transaction.offsets.clone();
        let (sender, reply) = oneshot::channel();
        self.is_transactional |= !transaction.outputs.is_empty();
        let (job, plain) = match metadata.filter(|_| self.is_transactional) {
            Some(metadata) => (Job::Transaction(Box::new(Work { transaction, metadata }), sender), None),
            None if self.is_transactional => {
                return Err(LogError::Unavailable("the group has not taken us in yet".to_owned()));
            }
            None => {
                let (native, member) = (Arc::clone(native), Arc::clone(member));
                let plain = Plain { native, member, moved: offsets.clone() };
                (Job::Plain(plain.clone(), sender), Some(plain))
            }
        };
        self.send(job)?;
        self.open = Some(Open { offsets, reply: Some(reply), plain });
        self.wait().await
    }

    /// What became of the open commit.
    pub(super) async fn settle(&mut self) -> Result<Moved, LogError> {
        let Some(open) = &self.open else { return Ok(Moved::new()) };
        if open.reply.is_none() {
            let (sender, reply) = oneshot::channel();
            let job = match &open.plain {
                Some(plain) => Job::Plain(plain.clone(), sender),
                None => Job::Settle(sender),
            };
            self.send(job)?;
            if let Some(open) = &mut self.open {
                open.reply = Some(reply);
            }
        }
        self.wait().await
    }

    async fn wait(&mut self) -> Result<Moved, LogError> {
        let Some(reply) = self.open.as_mut().and_then(|open| open.reply.as_mut()) else {
            return Ok(Moved::new());
        };
        // A transaction has its own bounds; a plain commit may wait for its coordinator for long.
        let answered = match tokio::time::timeout(PLAIN.saturating_mul(4), reply).await {
            Ok(answered) => answered,
            Err(_) => return Err(LogError::OutcomeUnknown("the brokers do not answer".to_owned())),
        };
        let outcome =
            answered.unwrap_or_else(|_| Err(LogError::Broken("the committer has panicked".to_owned())));
        let open = self.open.take();
        match outcome {
            Ok(()) => Ok(open.map(|open| open.offsets).unwrap_or_default()),
            Err(LogError::OutcomeUnknown(why)) => {
                self.open = open.map(|open| Open { reply: None, ..open });
                Err(LogError::OutcomeUnknown(why))
            }
            Err(error) => Err(error),
        }
    }

    fn send(&mut self, job: Job) -> Result<(), LogError> {
        let gone = || LogError::Broken("the committer has ended".to_owned());
        if let Some(jobs) = &self.jobs {
            return jobs.send(job).map_err(|_| gone());
        }
        let (sender, jobs) = channel();
        let transactor = Transactor::new(Arc::clone(&self.core), self.group, self.topic, self.slot);
        let (wire, group) = (self.core.names.wire(self.topic).to_owned(), self.group);
        Threads::start(&self.core.threads, "kafka-commit", move || run(transactor, &wire, group, &jobs))
            .map_err(|error| LogError::Unavailable(format!("no thread for commits: {error}")))?;
        sender.send(job).map_err(|_| gone())?;
        self.jobs = Some(sender);
        Ok(())
    }
}

/// The committer's thread, until its member is dropped.
fn run(mut transactor: Transactor, wire: &str, group: &'static str, jobs: &Receiver<Job>) {
    loop {
        match jobs.recv_timeout(IDLE) {
            Ok(Job::Transaction(work, reply)) => answer(reply, report(group, transactor.commit(&work))),
            Ok(Job::Prepare) => transactor.prepare(),
            Ok(Job::Settle(reply)) => answer(reply, report(group, transactor.settle())),
            Ok(Job::Plain(job, reply)) => answer(reply, plain(&job, wire)),
            Err(RecvTimeoutError::Timeout) => transactor.serve(),
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// Nobody may be there to hear it; the outcome stands all the same.
fn answer(reply: oneshot::Sender<Reply>, outcome: Reply) {
    if reply.send(outcome).is_err() {
        tracing::debug!("nobody waits for the outcome of a commit");
    }
}

/// Counts an outcome.
fn report(group: &'static str, ended: Ended) -> Reply {
    let (label, reply) = match ended {
        Ended::Committed => ("committed", Ok(())),
        Ended::Aborted(error) => {
            let label = if matches!(error, LogError::Fenced) { "fenced" } else { "aborted" };
            (label, Err(error))
        }
        Ended::Unknown(why) => ("unknown", Err(LogError::OutcomeUnknown(why))),
    };
    metrics().kafka_transactions.with_label_values(&[group, label]).inc();
    reply
}

/// Offsets alone. Making it again changes nothing, so that what is unknown can be asked by doing it.
fn plain(job: &Plain, wire: &str) -> Reply {
    let began = Instant::now();
    let list = offsets(wire, &job.moved, "").map_err(|error| unavailable("committing", &error))?;
    let error = loop {
        // The group may be between two generations; what is ours in both can be committed in the next.
        if !job.member.holds(&job.moved) {
            return Err(LogError::Fenced);
        }
        match job.native.commit(&list, CommitMode::Sync) {
            Ok(()) => return Ok(()),
            Err(error) => {
                let is_between = is_stale_member(&error) || code(&error) == Some(Code::RebalanceInProgress);
                if !is_between {
                    break error;
                }
                if began.elapsed() >= BETWEEN {
                    return Err(LogError::Fenced);
                }
                std::thread::sleep(AGAIN);
            }
        }
    };
    let refused = matches!(
        code(&error),
        Some(
            Code::GroupAuthorizationFailed
                | Code::TopicAuthorizationFailed
                | Code::UnknownTopicOrPartition
                | Code::OffsetMetadataTooLarge
                | Code::InvalidCommitOffsetSize
        )
    );
    let told = unavailable(&format!("committing, after {} ms", began.elapsed().as_millis()), &error);
    if refused { Err(told) } else { Err(LogError::OutcomeUnknown(text(&error))) }
}

fn text(error: &KafkaError) -> String {
    error.to_string()
}
