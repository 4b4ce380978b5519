//! Messages to a queue of SQS: what `mozdef send` does, and what tests send with.
//!
//! In: bodies. Out: messages that SQS has. Never: a message called sent that SQS has not confirmed.

use aws_sdk_sqs::Client;
use aws_sdk_sqs::error::DisplayErrorContext;
use aws_sdk_sqs::types::SendMessageBatchRequestEntry;
use model::config::SqsConfig;

use super::clients;

/// Most messages, and most bytes of all bodies, of one request.
const MESSAGES_MAX: usize = 10;
const BYTES_MAX: usize = 250_000;

/// Why messages could not be sent.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// SQS cannot be asked.
    #[error("SQS takes no messages: {0}")]
    Request(String),
    /// It refused one.
    #[error("SQS refused a message: {0}")]
    Refused(String),
}

/// A sender to the queue of an entry.
pub struct Sender {
    client: Client,
    url: String,
    is_fifo: bool,
}

impl Sender {
    /// Finds the queue.
    ///
    /// # Errors
    /// SQS cannot be asked, or knows no such queue.
    pub async fn connect(config: &SqsConfig) -> Result<Sender, SendError> {
        let client = clients::sqs(config).await;
        let url = if config.queue.contains("://") {
            config.queue.clone()
        } else {
            let answer = client.get_queue_url().queue_name(&config.queue).send().await;
            let answer =
                answer.map_err(|error| SendError::Request(DisplayErrorContext(&error).to_string()))?;
            answer.queue_url.unwrap_or_default()
        };
        Ok(Sender { client, is_fifo: url.ends_with(".fifo"), url })
    }

    /// Sends bodies, and waits until SQS has all of them. Gives the ids that it gave them.
    ///
    /// # Errors
    /// One was refused; those before it are sent.
    pub async fn send(&self, bodies: &[String]) -> Result<Vec<String>, SendError> {
        let (mut ids, mut rest) = (Vec::with_capacity(bodies.len()), bodies);
        while !rest.is_empty() {
            let mut bytes = 0_usize;
            let fits = rest.iter().take(MESSAGES_MAX).take_while(|body| {
                bytes = bytes.saturating_add(body.len());
                bytes <= BYTES_MAX
            });
            let (now, later) = rest.split_at(fits.count().max(1));
            ids.extend(self.send_some(now).await?);
            rest = later;
        }
        Ok(ids)
    }

    async fn send_some(&self, bodies: &[String]) -> Result<Vec<String>, SendError> {
        let entry = |(number, body): (usize, &String)| {
            let entry = SendMessageBatchRequestEntry::builder().id(number.to_string()).message_body(body);
            let entry = match self.is_fifo {
                true => entry
                    .message_group_id("mozdef")
                    .message_deduplication_id(model::ids::content_digest(&[body.as_bytes()]).as_str()),
                false => entry,
            };
            entry.build().ok()
        };
        let entries: Vec<_> = bodies.iter().enumerate().filter_map(entry).collect();
        let request = self.client.send_message_batch().queue_url(&self.url).set_entries(Some(entries));
        let answer = request.send().await;
        let answer = answer.map_err(|error| SendError::Request(DisplayErrorContext(&error).to_string()))?;
        if let Some(refused) = answer.failed().first() {
            let why = refused.message().unwrap_or(refused.code());
            return Err(SendError::Refused(why.to_owned()));
        }
        Ok(answer.successful().iter().map(|sent| sent.message_id().to_owned()).collect())
    }
}
