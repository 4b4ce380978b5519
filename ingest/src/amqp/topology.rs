//! Exchange, queue and bindings, as MozDef's own processes declare them.
//!
//! In: an open connection. Out: a queue that is there. Never: a change to what is there already: a queue of another kind
//! is taken as it is.

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable, LongString};
use lapin::{Channel, Connection, ErrorKind};
use model::config::{AmqpConfig, ExchangeKind, QueueKind};

/// AMQP's codes for "not allowed" and "there already, and otherwise".
const REFUSED: [u16; 2] = [403, 406];

/// Makes sure of the queue, and gives a channel. A refusal closes a channel, so each question has its own.
pub(super) async fn ensure(connection: &Connection, config: &AmqpConfig) -> lapin::Result<Channel> {
    let bound = config.declare && !config.exchange.is_empty();
    if bound {
        exchange(connection, config).await?;
    }
    let channel = queue(connection, config).await?;
    if bound {
        let own = [config.exchange.clone()];
        let keys = if config.routing_keys.is_empty() { &own[..] } else { &config.routing_keys[..] };
        for key in keys {
            let (queue, exchange) = (name(&config.queue), name(&config.exchange));
            let options = QueueBindOptions::default();
            channel.queue_bind(queue, exchange, name(key), options, FieldTable::default()).await?;
        }
    }
    Ok(channel)
}

/// What is there and is of another kind, or may not be made by us, is taken as it is.
async fn queue(connection: &Connection, config: &AmqpConfig) -> lapin::Result<Channel> {
    let channel = connection.create_channel().await?;
    if config.declare {
        let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        match channel.queue_declare(name(&config.queue), durable, arguments(config.queue_kind)).await {
            Ok(_) => return Ok(channel),
            Err(error) if is_refusal(&error) => {}
            Err(error) => return Err(error),
        }
    }
    let channel = if config.declare { connection.create_channel().await? } else { channel };
    waiting(&channel, config).await?;
    Ok(channel)
}

async fn exchange(connection: &Connection, config: &AmqpConfig) -> lapin::Result<()> {
    let kind = match config.exchange_kind {
        ExchangeKind::Direct => lapin::ExchangeKind::Direct,
        ExchangeKind::Topic => lapin::ExchangeKind::Topic,
        ExchangeKind::Fanout => lapin::ExchangeKind::Fanout,
    };
    let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    let passive = ExchangeDeclareOptions { passive: true, ..ExchangeDeclareOptions::default() };
    for options in [durable, passive] {
        let channel = connection.create_channel().await?;
        let exchange = name(&config.exchange);
        match channel.exchange_declare(exchange, kind.clone(), options, FieldTable::default()).await {
            Ok(()) => return channel.close(200, "".into()).await,
            Err(error) if is_refusal(&error) && !options.passive => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Messages that wait in the queue, which must be there.
pub(super) async fn waiting(channel: &Channel, config: &AmqpConfig) -> lapin::Result<u32> {
    let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    Ok(channel.queue_declare(name(&config.queue), passive, FieldTable::default()).await?.message_count())
}

fn name(text: &str) -> lapin::types::ShortString {
    text.into()
}

fn arguments(kind: QueueKind) -> FieldTable {
    let mut arguments = FieldTable::default();
    if kind == QueueKind::Quorum {
        arguments.insert("x-queue-type".into(), AMQPValue::LongString(LongString::from("quorum")));
    }
    arguments
}

fn is_refusal(error: &lapin::Error) -> bool {
    matches!(error.kind(), ErrorKind::ProtocolError(refusal) if REFUSED.contains(&refusal.get_id()))
}
