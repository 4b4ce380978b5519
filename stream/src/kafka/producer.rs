//! The transactional producer of one member, on the committer's thread.
//!
//! In: one transaction at a time. Out: committed, aborted, or unknown. Never:
//! a guess. Every transaction writes a token beside its offsets; when the
//! producer is lost in the middle of a commit, the token says whether it took
//! effect (a new producer of the same id first ends what the old one began).
//!
//! ```text
//!        ┌── commit ─▶ fill ── error ─▶ abort ─▶ Aborted
//! Ready ─┤                └─▶ end ── retriable ─▶ Unknown ─ settle ─▶ end again
//!        └── settle              └── fatal ─▶ new producer, token ─▶ Committed | Aborted
//! ```

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use model::topic::Topic;
use rdkafka::TopicPartitionList;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::producer::{BaseProducer, DeliveryResult, Producer, ProducerContext};
use tokio::time::Instant;

use super::Core;
use super::client::{Context, Role};
use super::failure::{code, is_fatal, is_fenced_producer, is_stale_member, unavailable};
use super::look::{self, Client};
use super::poll::offsets;
use super::produce::prepare;
use super::settings;
use crate::log::{LogError, Transaction};

/// Longest time to fill a transaction; below its time-out.
const FILL: Duration = Duration::from_secs(8);
/// Longest time of one step of the protocol.
const STEP: Duration = Duration::from_secs(5);
/// Rest before a fenced producer is built anew, so that two of one id do not spin.
const REST: Duration = Duration::from_millis(100);

/// The producer's context: the first record that was not taken.
#[derive(Default)]
struct Filling {
    failure: Mutex<Option<KafkaError>>,
}

impl Role for Filling {}

impl ProducerContext for Context<Filling> {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = result {
            let mut failure = self.role.failure.lock().unwrap_or_else(PoisonError::into_inner);
            failure.get_or_insert_with(|| error.clone());
        }
    }
}

type Native = BaseProducer<Context<Filling>>;

/// What is to take effect together, and who says so.
pub(super) struct Work {
    pub(super) transaction: Transaction,
    pub(super) metadata: ConsumerGroupMetadata,
}

/// How a transaction ended.
#[derive(Debug)]
pub(super) enum Ended {
    Committed,
    /// It has no effect.
    Aborted(LogError),
    /// Ask again.
    Unknown(String),
}

/// A commit that was asked for and not answered.
struct Open {
    token: String,
    partitions: Vec<u32>,
}

pub(super) struct Transactor {
    core: Arc<Core>,
    group: &'static str,
    topic: Topic,
    id: String,
    producer: Option<Native>,
    open: Option<Open>,
    /// Tells the tokens of this run from those of others.
    run: u64,
    count: u64,
    /// A client that asks for the group's offsets.
    asking: Option<Client>,
}

impl Transactor {
    pub(super) fn new(core: Arc<Core>, group: &'static str, topic: Topic, slot: usize) -> Transactor {
        let mut id = format!("{}{group}-{}", core.config.prefix, core.instance);
        if slot > 0 {
            id = format!("{id}-{slot}");
        }
        let run = RandomState::new().hash_one(0_u8);
        Transactor { core, group, topic, id, producer: None, open: None, run, count: 0, asking: None }
    }

    /// Log lines, statistics and tokens, while nothing is to be done.
    pub(super) fn serve(&self) {
        if let Some(producer) = &self.producer {
            producer.poll(Duration::ZERO);
        }
        if let Some(client) = &self.asking {
            while rdkafka::consumer::BaseConsumer::poll(client, Duration::ZERO).is_some() {}
        }
    }

    /// Makes the producer before it is needed.
    pub(super) fn prepare(&mut self) {
        if let Err(error) = self.ready() {
            tracing::warn!(group = self.group, id = self.id, %error, "the producer is not there yet");
        }
    }

    /// Runs a transaction.
    pub(super) fn commit(&mut self, work: &Work) -> Ended {
        if let Some(ended) = self.end_what_is_open() {
            return ended;
        }
        self.count = self.count.wrapping_add(1);
        let token = format!("{:016x}-{}", self.run, self.count);
        let (core, topic) = (Arc::clone(&self.core), self.topic);
        let producer = match self.ready() {
            Ok(producer) => producer,
            Err(error) => return Ended::Aborted(error),
        };
        let Err(error) = fill(&core, producer, work, &token, topic) else {
            let partitions = work.transaction.offsets.iter().map(|(partition, _)| *partition).collect();
            self.open = Some(Open { token, partitions });
            return self.end();
        };
        self.abort(&error)
    }

    /// The future that waited for an earlier commit was dropped; its outcome must be known before the next.
    fn end_what_is_open(&mut self) -> Option<Ended> {
        self.open.as_ref()?;
        match self.settle() {
            Ended::Unknown(why) => Some(Ended::Aborted(LogError::Unavailable(why))),
            Ended::Committed | Ended::Aborted(_) => None,
        }
    }

    /// What became of the open transaction.
    pub(super) fn settle(&mut self) -> Ended {
        if self.open.is_none() {
            return Ended::Aborted(LogError::Unavailable("no transaction is open".to_owned()));
        }
        if self.producer.is_some() { self.end() } else { self.read_token() }
    }

    /// Asks for the commit; may be called again after `Unknown`.
    fn end(&mut self) -> Ended {
        let Some(producer) = &self.producer else { return self.read_token() };
        let error = match producer.commit_transaction(STEP) {
            Ok(()) => {
                self.open = None;
                return Ended::Committed;
            }
            Err(error) => error,
        };
        match &error {
            // Nothing was asked for yet: the records are not even there.
            KafkaError::Flush(_) => {
                self.open = None;
                self.abort(&error)
            }
            KafkaError::Transaction(inner) if inner.is_retriable() => Ended::Unknown(error.to_string()),
            KafkaError::Transaction(inner) if inner.txn_requires_abort() && !is_fenced_producer(&error) => {
                self.open = None;
                self.abort(&error)
            }
            _ => {
                tracing::warn!(group = self.group, id = self.id, %error, "a commit broke off; asking what became of it");
                self.drop_producer();
                self.read_token()
            }
        }
    }

    /// A new producer ends what the old one began; then the token beside the offsets says which way.
    fn read_token(&mut self) -> Ended {
        let Some(open) = &self.open else {
            return Ended::Aborted(LogError::Unavailable("no transaction is open".to_owned()));
        };
        let (token, partitions) = (open.token.clone(), open.partitions.clone());
        if let Err(error) = self.ready() {
            return Ended::Unknown(error.to_string());
        }
        let found = match self.tokens(&partitions) {
            Ok(found) => found,
            Err(error) => return Ended::Unknown(error.to_string()),
        };
        self.open = None;
        if found.contains(&token) { Ended::Committed } else { Ended::Aborted(LogError::Fenced) }
    }

    fn tokens(&mut self, partitions: &[u32]) -> Result<Vec<String>, LogError> {
        let failed = |error: KafkaError| unavailable("asking for the group's offsets", &error);
        let client = match self.asking.take() {
            Some(client) => client,
            None => {
                let group = self.core.config.group_name(self.group);
                let config = settings::reader(&self.core.base, &group, "read_committed");
                look::client(&config, self.core.voice("look")).map_err(failed)?
            }
        };
        let found = look::committed(&client, self.core.names.wire(self.topic), partitions).map_err(failed);
        self.asking = Some(client);
        Ok(found?.into_values().map(|commit| commit.token).collect())
    }

    /// Ends a transaction without effect; `why` decides what the driver hears.
    fn abort(&mut self, why: &KafkaError) -> Ended {
        tracing::warn!(group = self.group, id = self.id, error = %why, "a transaction is aborted");
        let told = if is_stale_member(why) || is_fenced_producer(why) {
            LogError::Fenced
        } else {
            unavailable("committing", why)
        };
        if is_fenced_producer(why) {
            tracing::error!(
                id = self.id,
                "another producer has our transactional id: does each instance have its own log.kafka.instance?"
            );
            std::thread::sleep(REST);
        }
        let Some(producer) = &self.producer else { return Ended::Aborted(told) };
        if is_fatal(why) || is_fenced_producer(why) {
            self.drop_producer();
        } else if let Err(error) = producer.abort_transaction(STEP) {
            // Dropped in the middle, it has no effect; the next producer of this id ends it.
            tracing::warn!(id = self.id, %error, "the abort is left to the next producer");
            self.drop_producer();
        }
        Ended::Aborted(told)
    }

    fn drop_producer(&mut self) {
        self.producer = None;
    }

    /// The producer, made and registered when it is not there.
    fn ready(&mut self) -> Result<&Native, LogError> {
        if self.producer.is_none() {
            let config = settings::transactional(&self.core.base, &self.core.config, &self.id);
            let context = Context { voice: self.core.voice(self.group), role: Filling::default() };
            let failed = |error: KafkaError| unavailable(&format!("making the producer {}", self.id), &error);
            let made = Native::from_config_and_context(&config, context).map_err(failed)?;
            let began = Instant::now();
            // A token is fetched by a poll, and the next call does not poll.
            while made.context().voice.lacks_token() && began.elapsed() < FILL {
                made.poll(look::HEAR);
            }
            made.init_transactions(FILL).map_err(failed)?;
            self.producer = Some(made);
        }
        self.producer.as_ref().ok_or_else(|| LogError::Unavailable("no producer".to_owned()))
    }
}

/// Everything of a transaction but its end.
fn fill(core: &Core, producer: &Native, work: &Work, token: &str, topic: Topic) -> KafkaResult<()> {
    let deadline = Instant::now().checked_add(FILL).unwrap_or_else(Instant::now);
    let left = || deadline.saturating_duration_since(Instant::now());
    producer.context().role.failure.lock().unwrap_or_else(PoisonError::into_inner).take();
    producer.begin_transaction()?;
    for record in &work.transaction.outputs {
        let mut prepared = prepare(core, record, ());
        while let Err((error, back)) = producer.send(prepared) {
            if code(&error) != Some(Code::QueueFull) || left().is_zero() {
                return Err(error);
            }
            producer.poll(Duration::from_millis(5));
            prepared = back;
        }
    }
    producer.flush(left())?;
    if let Some(error) = producer.context().role.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    {
        return Err(error);
    }
    if work.transaction.offsets.is_empty() {
        return Ok(());
    }
    let list: TopicPartitionList = offsets(core.names.wire(topic), &work.transaction.offsets, token)?;
    loop {
        match producer.send_offsets_to_transaction(&list, &work.metadata, left().min(STEP)) {
            Err(KafkaError::Transaction(error)) if error.is_retriable() && !left().is_zero() => {
                tracing::debug!(%error, "offsets again");
            }
            other => return other,
        }
    }
}
