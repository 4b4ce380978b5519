//! Outside → log: one idempotent producer for the process.
//!
//! In: records. Out: their places, when all replicas in sync have them. Never:
//! more memory than configured; who finds the queue full waits.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::config::FromClientConfigAndContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::{Header, Message, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::Core;
use super::client::{Context, Role, Threads};
use super::failure::{code, of_topic, unavailable};
use super::settings;
use crate::log::LogError;
use crate::record::{NewRecord, Position};

/// Longest wait for room in the queue.
const ROOM: Duration = Duration::from_secs(5);
/// Time between two tries.
const TRY: Duration = Duration::from_millis(5);
/// Longest time to send what is queued, at the end.
const FLUSH: Duration = Duration::from_secs(3);

/// The producer of [`Gateway`].
struct Producing;

impl Role for Producing {}

/// What became of the records of one call.
#[derive(Default)]
struct Batch {
    state: Mutex<State>,
    done: Notify,
}

#[derive(Default)]
struct State {
    positions: Vec<Option<Position>>,
    open: usize,
    error: Option<(usize, KafkaError)>,
}

/// One record of a batch.
struct Ticket {
    batch: Arc<Batch>,
    index: usize,
}

impl ProducerContext for Context<Producing> {
    type DeliveryOpaque = Box<Ticket>;

    fn delivery(&self, result: &DeliveryResult<'_>, ticket: Box<Ticket>) {
        let outcome = match result {
            Ok(message) => match (u32::try_from(message.partition()), u64::try_from(message.offset())) {
                (Ok(partition), Ok(offset)) => Ok(Position { partition, offset }),
                // Acknowledged without a place: a duplicate that the broker had already.
                _ => Ok(Position { partition: 0, offset: 0 }),
            },
            Err((error, _)) => Err(error.clone()),
        };
        ticket.batch.settle(ticket.index, outcome);
    }
}

impl Batch {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn settle(&self, index: usize, outcome: Result<Position, KafkaError>) {
        let mut state = self.lock();
        match outcome {
            Ok(position) => {
                if let Some(place) = state.positions.get_mut(index) {
                    *place = Some(position);
                }
            }
            Err(error) => {
                state.error.get_or_insert((index, error));
            }
        }
        state.open = state.open.saturating_sub(1);
        if state.open == 0 {
            self.done.notify_one();
        }
    }
}

/// The producer. Dropping it sends what is queued, on a thread of its own.
pub(super) struct Gateway {
    producer: Option<Arc<ThreadedProducer<Context<Producing>>>>,
    threads: Arc<Threads>,
}

impl Gateway {
    pub(super) fn new(core: &Core) -> Result<Gateway, LogError> {
        let config = settings::gateway(&core.base, &core.config);
        let context = Context { voice: core.voice("gateway"), role: Producing };
        let producer = ThreadedProducer::from_config_and_context(&config, context)
            .map_err(|error| unavailable("making a producer", &error))?;
        Ok(Gateway { producer: Some(Arc::new(producer)), threads: Arc::clone(&core.threads) })
    }

    /// Appends; returns when every record is acknowledged.
    pub(super) async fn produce(
        &self,
        core: &Core,
        records: &[NewRecord],
    ) -> Result<Vec<Position>, LogError> {
        core.check_sizes(records)?;
        let Some(producer) = self.producer.as_ref().filter(|_| !records.is_empty()) else {
            return Ok(Vec::new());
        };
        let state = State { positions: vec![None; records.len()], open: records.len(), error: None };
        let batch = Arc::new(Batch { state: Mutex::new(state), done: Notify::new() });
        let deadline = Instant::now().checked_add(ROOM).unwrap_or_else(Instant::now);
        for (index, record) in records.iter().enumerate() {
            let ticket = Box::new(Ticket { batch: Arc::clone(&batch), index });
            let mut prepared = prepare(core, record, ticket);
            while let Err((error, back)) = producer.send(prepared) {
                if code(&error) != Some(Code::QueueFull) || Instant::now() >= deadline {
                    return Err(of_topic(record.topic, "appending to", &error));
                }
                tokio::time::sleep(TRY).await;
                prepared = back;
            }
        }
        batch.done.notified().await;
        let state = batch.lock();
        if let Some((index, error)) = &state.error {
            let topic = records.get(*index).map_or(model::topic::Topic::Raw, |record| record.topic);
            return Err(of_topic(topic, "appending to", error));
        }
        Ok(state.positions.iter().flatten().copied().collect())
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let Some(producer) = self.producer.take() else { return };
        let end = move || {
            if let Err(error) = producer.flush(FLUSH) {
                tracing::warn!(%error, "not everything was sent; nobody was told that it was");
            }
        };
        if let Err(error) = Threads::start(&self.threads, "kafka-flush", end) {
            tracing::warn!(%error, "no thread to end the producer");
        }
    }
}

/// A record as librdkafka takes it. An empty value is a tombstone, as Kafka's compaction knows it.
pub(super) fn prepare<'a, T: rdkafka::util::IntoOpaque>(
    core: &'a Core,
    record: &'a NewRecord,
    opaque: T,
) -> BaseRecord<'a, [u8], [u8], T> {
    let topic = core.names.wire(record.topic);
    let mut prepared = BaseRecord::with_opaque_to(topic, opaque).partition(core.partition_of(record));
    if !record.key.is_empty() {
        prepared = prepared.key(&record.key[..]);
    }
    if !record.value.is_empty() {
        prepared = prepared.payload(&record.value[..]);
    }
    if !record.headers.is_empty() {
        let mut headers = OwnedHeaders::new_with_capacity(record.headers.len());
        for (key, value) in record.headers.iter() {
            headers = headers.insert(Header { key, value: Some(&value[..]) });
        }
        prepared = prepared.headers(headers);
    }
    prepared
}
