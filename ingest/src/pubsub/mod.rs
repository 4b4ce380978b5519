//! Messages of Google Cloud Pub/Sub: pulled over REST, acknowledged once the log has them.
//!
//! In: messages of subscriptions. Out: raw records, one a message, with the message's id as the client's id; what is no
//! base64 goes to `mozdef.dead`. Never: an acknowledgement before the log's; a message that is given up because the log
//! is away: its deadline is moved on for as long.
//!
//! Nothing is kept here: what was not acknowledged comes again, under the same id.

mod api;
mod credentials;
mod message;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use model::config::PubSubConfig;
use model::headers;
use model::metrics::metrics;
use stream::record::Headers;
use stream::shutdown::Shutdown;
use tokio::task::JoinSet;
use tokio::time::timeout;

use self::api::Api;
use self::message::Received;
use crate::backoff::Backoff;
use crate::fetch::FetchError;
use crate::intake::{Intake, IntakeError};
use crate::raw::Source;

pub use self::credentials::KeyError;

/// When the deadline of messages is first moved on, if they are not in the log yet: subscriptions may have only ten seconds.
const FIRST_EXTENSION: Duration = Duration::from_secs(4);
/// Attempts to acknowledge, before the messages are left to come again.
const ACKNOWLEDGE_ATTEMPTS: u32 = 4;
/// Longest time to hand messages back at shutdown.
const HAND_BACK: Duration = Duration::from_secs(1);

/// Why the puller cannot run.
#[derive(Debug, thiserror::Error)]
pub enum PubSubError {
    /// The key of the service account cannot be used.
    #[error("ingest.pubsub.{name}.key_file: {source}")]
    Key {
        /// The subscription's name in the configuration.
        name: String,
        /// Why.
        source: KeyError,
    },
    /// No requests can be made.
    #[error("ingest.pubsub.{name}: {source}")]
    Client {
        /// The subscription's name in the configuration.
        name: String,
        /// Why.
        source: reqwest::Error,
    },
    /// The log takes nothing more.
    #[error(transparent)]
    Intake(#[from] IntakeError),
}

/// Checks what [`run`] would refuse to start with.
///
/// # Errors
/// [`PubSubError::Key`] where a key cannot be used.
pub fn check(config: &BTreeMap<String, PubSubConfig>) -> Result<(), PubSubError> {
    config.iter().try_for_each(|(name, config)| match &config.key_file {
        Some(file) => credentials::Key::read(file)
            .map(|_| ())
            .map_err(|source| PubSubError::Key { name: name.clone(), source }),
        None => Ok(()),
    })
}

/// Pulls every subscription until shutdown.
///
/// # Errors
/// [`PubSubError`] where a key cannot be used, or the log is broken.
pub async fn run(
    config: BTreeMap<String, PubSubConfig>,
    intake: Intake,
    shutdown: Shutdown,
) -> Result<(), PubSubError> {
    let mut tasks = JoinSet::new();
    for (name, config) in config {
        let pulls = config.pulls;
        let subscription = Bytes::from(config.subscription.clone());
        let host = config.emulator.as_ref().unwrap_or(&config.url).split("://").nth(1).unwrap_or_default();
        let source = Source {
            input: headers::INPUT_PUBSUB,
            principal: subscription.clone(),
            peer: Bytes::from(host.split('/').next().unwrap_or_default().to_owned()),
            more: Headers::new().with(headers::QUEUE, subscription),
        };
        let puller = Arc::new(Puller {
            api: Api::new(&name, &config, intake.clock().clone())?,
            deadline: Duration::from_secs(u64::from(config.ack_deadline_s)),
            page: config.page,
            source,
            intake: intake.clone(),
            name,
        });
        for _ in 0..pulls {
            tasks.spawn(Arc::clone(&puller).run(shutdown.clone()));
        }
    }
    while let Some(ended) = tasks.join_next().await {
        match ended.unwrap_or(Err(IntakeError::Stopped)) {
            Err(IntakeError::Stopped) if shutdown.is_set() => {}
            ended => ended?,
        }
    }
    Ok(())
}

struct Puller {
    name: String,
    api: Api,
    source: Source,
    intake: Intake,
    deadline: Duration,
    page: u32,
}

impl Puller {
    async fn run(self: Arc<Puller>, mut shutdown: Shutdown) -> Result<(), IntakeError> {
        let up = metrics().input_up.with_label_values(&[headers::INPUT_PUBSUB, &self.name]);
        let mut backoff = Backoff::default();
        let mut page = self.page;
        while !shutdown.is_set() {
            // A pull that is dropped may have messages on their way: they come again after their deadline.
            let pulled = tokio::select! {
                biased;
                () = shutdown.wait() => break,
                pulled = self.api.pull(page) => pulled,
            };
            match pulled {
                Ok(messages) => {
                    up.set(1);
                    backoff.reset();
                    self.take(messages, &mut shutdown).await?;
                }
                Err(error) => {
                    up.set(0);
                    if matches!(error, FetchError::TooLarge { .. }) {
                        page = (page / 2).max(1);
                    }
                    self.failed(&error);
                    if backoff.wait(error.after(), &mut shutdown).await.is_stopped() {
                        break;
                    }
                }
            }
        }
        up.set(0);
        Ok(())
    }

    fn failed(&self, error: &FetchError) {
        metrics().input_failures.with_label_values(&[headers::INPUT_PUBSUB, error.kind()]).inc();
        let subscription = self.name.as_str();
        match error {
            FetchError::Denied { .. } => tracing::error!(
                subscription,
                %error,
                "Pub/Sub does not let us in; give the service account the role Pub/Sub Subscriber"
            ),
            FetchError::Refused { .. } => tracing::error!(
                subscription,
                %error,
                "Pub/Sub refuses; is ingest.pubsub.*.subscription right, and does it exist?"
            ),
            FetchError::Later { .. } | FetchError::TooLarge { .. } => {
                tracing::warn!(subscription, %error, "Pub/Sub gave no messages; trying again");
            }
        }
    }

    /// Into the log, then acknowledged.
    async fn take(&self, messages: Vec<Received>, shutdown: &mut Shutdown) -> Result<(), IntakeError> {
        if messages.is_empty() {
            return Ok(());
        }
        let envelope = self.source.received(self.intake.now());
        let records = messages.iter().map(|message| message.record(&envelope)).collect();
        let ids: Vec<String> = messages.into_iter().map(|message| message.ack_id).collect();
        match self.put(records, &ids, shutdown).await {
            Ok(()) => {
                self.acknowledge(&ids).await;
                Ok(())
            }
            Err(error) => {
                // Others can have them at once.
                if timeout(HAND_BACK, self.api.modify_deadline(&ids, Duration::ZERO)).await.is_err() {
                    tracing::debug!(subscription = self.name, "messages come again after their deadline");
                }
                Err(error)
            }
        }
    }

    /// Puts, and moves the messages' deadline on while that takes long.
    async fn put(
        &self,
        records: Vec<stream::record::NewRecord>,
        ids: &[String],
        shutdown: &mut Shutdown,
    ) -> Result<(), IntakeError> {
        let putting = self.intake.put_until(records, shutdown);
        tokio::pin!(putting);
        let mut wait = FIRST_EXTENSION;
        loop {
            tokio::select! {
                biased;
                result = &mut putting => return result.map(|_| ()),
                () = tokio::time::sleep(wait) => {}
            }
            wait = self.deadline / 2;
            tokio::select! {
                biased;
                result = &mut putting => return result.map(|_| ()),
                extended = self.api.modify_deadline(ids, self.deadline) => if let Err(error) = extended {
                    tracing::warn!(subscription = self.name, %error, "messages may come again");
                },
            }
        }
    }

    /// Tried a few times: what stays unacknowledged comes again, and is the same event.
    async fn acknowledge(&self, ids: &[String]) {
        for attempt in 1..=ACKNOWLEDGE_ATTEMPTS {
            match self.api.acknowledge(ids).await {
                Ok(()) => return,
                Err(error) if attempt == ACKNOWLEDGE_ATTEMPTS => self.failed(&error),
                Err(error) => {
                    tracing::debug!(subscription = self.name, %error, "not acknowledged yet");
                    tokio::time::sleep(Duration::from_millis(100 << attempt)).await;
                }
            }
        }
    }
}
