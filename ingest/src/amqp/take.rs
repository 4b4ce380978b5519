//! One connection: messages in, records into the log, then the acknowledgement of all of them at once.
//!
//! In: deliveries. Out: durable records, acknowledged messages. Never: an acknowledgement of what the log has not
//! confirmed; more in memory than prefetch and gate allow.

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, Consumer};
use model::config::AmqpConfig;
use model::event::Limits;
use model::metrics::metrics;
use stream::log::LogError;
use stream::record::NewRecord;
use stream::shutdown::Shutdown;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::AMQP;
use super::connect::{ConnectError, connect};
use super::link::Gate;
use super::message::{Message, Reader};
use super::topology;
use crate::intake::{Intake, IntakeError};

/// Most messages, and about the most bytes, of one produce and one acknowledgement.
const BATCH_MESSAGES_MAX: usize = 1000;
const BATCH_BYTES_MAX: usize = 4 << 20;
/// What a message costs in memory beside its body, about.
const MESSAGE_BYTES: usize = 1024;
/// Longest wait for the end of a connection that is closed in good order.
const CLOSE_MAX: Duration = Duration::from_secs(2);

/// Why a connection came to its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum TakeError {
    /// There is none.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// Exchange, queue or binding cannot be had.
    #[error("queue {queue} cannot be had: {source}")]
    Queue { queue: String, source: Box<lapin::Error> },
    /// It was lost.
    #[error("the connection was lost: {0}")]
    Lost(Box<lapin::Error>),
    /// The broker sends nothing more: the queue was deleted, or has moved.
    #[error("the broker has cancelled the consumer of queue {queue}: was it deleted?")]
    Cancelled { queue: String },
    /// The log takes nothing more.
    #[error(transparent)]
    Log(LogError),
}

impl TakeError {
    /// For metrics.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            TakeError::Connect(_) => "connect",
            TakeError::Queue { .. } => "queue",
            TakeError::Lost(_) => "lost",
            TakeError::Cancelled { .. } => "cancelled",
            TakeError::Log(_) => "log",
        }
    }
}

/// Connects and takes, until shutdown (`Ok`) or until something goes.
pub(super) async fn session(
    name: &str,
    config: &AmqpConfig,
    server: &str,
    intake: &Intake,
    shutdown: &mut Shutdown,
) -> Result<(), TakeError> {
    let gate = Gate::new((config.prefetch_mib as usize).saturating_mul(1 << 20));
    let connection = tokio::select! {
        biased;
        () = shutdown.wait() => return Ok(()),
        connection = connect(config, server, gate.clone()) => connection?,
    };
    let (channel, consumer) = tokio::select! {
        biased;
        () = shutdown.wait() => return Ok(()),
        opened = open(&connection, config) => opened?,
    };
    metrics().input_up.with_label_values(&[AMQP, name]).set(1);
    tracing::info!(input = AMQP, source = name, server, queue = config.queue, "taking messages");
    let reader = Reader {
        principal: Bytes::copy_from_slice(config.principal().as_bytes()),
        queue: Bytes::copy_from_slice(config.queue.as_bytes()),
        peer: Bytes::copy_from_slice(server.as_bytes()),
        limits: Limits::from(config.event),
        without_message_id: config.without_message_id,
        deliveries_max: config.deliveries_max,
    };
    let (sender, deliveries) = unbounded_channel();
    let pumping = tokio::spawn(pump(consumer, gate.clone(), sender));
    let mut taker = Taker { queue: &config.queue, reader, channel, deliveries, gate, intake };
    let outcome = taker.run(shutdown).await;
    pumping.abort();
    if outcome.is_ok() {
        close(&connection).await;
    }
    outcome
}

async fn open(connection: &Connection, config: &AmqpConfig) -> Result<(Channel, Consumer), TakeError> {
    let failed = |source| TakeError::Queue { queue: config.queue.clone(), source: Box::new(source) };
    let channel = topology::ensure(connection, config).await.map_err(failed)?;
    channel.basic_qos(config.prefetch, BasicQosOptions::default()).await.map_err(failed)?;
    let (queue, tag) = (config.queue.as_str().into(), "".into());
    let consuming = channel.basic_consume(queue, tag, BasicConsumeOptions::default(), FieldTable::default());
    let consumer = consuming.await.map_err(failed)?;
    Ok((channel, consumer))
}

/// What was acknowledged last is on its way when the connection is closed in good order.
async fn close(connection: &Connection) {
    match tokio::time::timeout(CLOSE_MAX, connection.close(200, "".into())).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "the connection was not closed in good order"),
        Err(_) => tracing::debug!("the broker does not answer to the end of the connection"),
    }
}

/// Takes over what lapin has read, so that the gate knows of it at once. What waits is bounded by prefetch and gate.
async fn pump(mut consumer: Consumer, gate: Gate, sender: UnboundedSender<lapin::Result<Delivery>>) {
    while let Some(delivery) = consumer.next().await {
        if let Ok(delivery) = &delivery {
            gate.hold(weight(delivery));
        }
        if sender.send(delivery).is_err() {
            return;
        }
    }
}

fn weight(delivery: &Delivery) -> usize {
    delivery.data.len().saturating_add(MESSAGE_BYTES)
}

struct Taker<'a> {
    queue: &'a str,
    reader: Reader,
    channel: Channel,
    deliveries: UnboundedReceiver<lapin::Result<Delivery>>,
    gate: Gate,
    intake: &'a Intake,
}

/// Messages that are acknowledged together.
struct Batch {
    records: Vec<NewRecord>,
    messages: usize,
    last_tag: u64,
    weight: usize,
}

impl Taker<'_> {
    async fn run(&mut self, shutdown: &mut Shutdown) -> Result<(), TakeError> {
        loop {
            let first = tokio::select! {
                biased;
                () = shutdown.wait() => return Ok(()),
                first = self.deliveries.recv() => first,
            };
            let Some(first) = first else {
                return Err(TakeError::Cancelled { queue: self.queue.to_owned() });
            };
            let batch = self.batch(first).map_err(|error| TakeError::Lost(Box::new(error)))?;
            match self.intake.put_until(batch.records, shutdown).await {
                Ok(_) => {}
                Err(IntakeError::Stopped) => return Ok(()),
                Err(IntakeError::Log(error)) => return Err(TakeError::Log(error)),
            }
            let acknowledged =
                self.channel.basic_ack(batch.last_tag, BasicAckOptions { multiple: true }).await;
            acknowledged.map_err(|error| TakeError::Lost(Box::new(error)))?;
            self.gate.release(batch.weight);
        }
    }

    /// What is there already goes together. After an error nothing of it is worth keeping: all is delivered again.
    fn batch(&mut self, first: lapin::Result<Delivery>) -> lapin::Result<Batch> {
        let at = self.intake.now();
        let mut batch = Batch { records: Vec::new(), messages: 0, last_tag: 0, weight: 0 };
        let mut next = Some(first);
        while let Some(delivery) = next {
            let delivery = delivery?;
            batch.messages += 1;
            batch.last_tag = delivery.delivery_tag;
            batch.weight = batch.weight.saturating_add(weight(&delivery));
            let message = Message {
                exchange: delivery.exchange.into(),
                routing_key: delivery.routing_key.into(),
                redelivered: delivery.redelivered,
                properties: delivery.properties,
                body: Bytes::from(delivery.data),
            };
            self.reader.read(&message, at, &mut batch.records);
            if batch.messages >= BATCH_MESSAGES_MAX || batch.weight >= BATCH_BYTES_MAX {
                break;
            }
            next = self.deliveries.try_recv().ok();
        }
        Ok(batch)
    }
}
