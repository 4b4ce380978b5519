//! Messages to a broker, each confirmed: what `mozdef send` does, and what tests send with.
//!
//! In: bodies. Out: confirmed messages. Never: a message called sent that the broker has not confirmed.

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Channel, Confirmation, Connection};
use model::config::AmqpConfig;

use super::connect::{ConnectError, connect};
use super::link::Gate;
use super::topology;

/// The media type of events.
const JSON: &str = "application/json";
/// Messages under way at once.
const UNCONFIRMED_MAX: usize = 1000;

/// Why messages could not be sent.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// There is no connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// No broker is named.
    #[error("no broker is named")]
    NoServer,
    /// The broker refuses, or is gone.
    #[error("the broker takes no messages: {0}")]
    Broker(Box<lapin::Error>),
    /// It could not take a message, or no queue is bound.
    #[error("the broker could not keep a message: is a queue bound to the exchange with this routing key?")]
    NotKept,
}

impl From<lapin::Error> for PublishError {
    fn from(error: lapin::Error) -> PublishError {
        PublishError::Broker(Box::new(error))
    }
}

/// A sender to the exchange of an entry.
pub struct Publisher {
    config: AmqpConfig,
    connection: Connection,
    channel: Channel,
}

impl Publisher {
    /// Connects, and makes exchange and queue where they are absent, so that nothing is sent to nowhere.
    ///
    /// # Errors
    /// The broker cannot be reached, or refuses.
    pub async fn connect(config: AmqpConfig) -> Result<Publisher, PublishError> {
        let server = config.servers.first().ok_or(PublishError::NoServer)?;
        let connection = connect(&config, server, Gate::new(usize::MAX)).await?;
        let channel = topology::ensure(&connection, &config).await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        Ok(Publisher { config, connection, channel })
    }

    /// Sends messages and waits until the broker has all of them. Each comes with its id.
    ///
    /// # Errors
    /// One was not kept; those before it may have been.
    pub async fn send(&self, messages: &[(String, Vec<u8>)]) -> Result<(), PublishError> {
        self.send_as(JSON, messages).await
    }

    /// The same, of a media type.
    ///
    /// # Errors
    /// As [`Publisher::send`].
    pub async fn send_as(
        &self,
        media_type: &str,
        messages: &[(String, Vec<u8>)],
    ) -> Result<(), PublishError> {
        let key = self.config.routing_keys.first().unwrap_or(&self.config.exchange);
        let key = if self.config.exchange.is_empty() { &self.config.queue } else { key };
        for chunk in messages.chunks(UNCONFIRMED_MAX) {
            let mut confirms = Vec::with_capacity(chunk.len());
            for (id, body) in chunk {
                let properties = BasicProperties::default()
                    .with_content_type(media_type.into())
                    // Kept over a restart of the broker.
                    .with_delivery_mode(2)
                    .with_message_id(id.as_str().into());
                let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
                let (exchange, key) = (self.config.exchange.as_str().into(), key.as_str().into());
                confirms.push(self.channel.basic_publish(exchange, key, options, body, properties).await?);
            }
            for confirm in confirms {
                match confirm.await? {
                    Confirmation::Ack(None) | Confirmation::NotRequested => {}
                    Confirmation::Ack(Some(_)) | Confirmation::Nack(_) => return Err(PublishError::NotKept),
                }
            }
        }
        Ok(())
    }

    /// Messages that wait in the queue, those that are handed over but not acknowledged aside.
    ///
    /// # Errors
    /// The broker does not say.
    pub async fn waiting(&self) -> Result<u32, PublishError> {
        Ok(topology::waiting(&self.channel, &self.config).await?)
    }

    /// Ends the connection in good order.
    ///
    /// # Errors
    /// It was lost before.
    pub async fn close(self) -> Result<(), PublishError> {
        Ok(self.connection.close(200, "".into()).await?)
    }
}
