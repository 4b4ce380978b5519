//! A producer to any topic, as other programs have one.
//!
//! In: values. Out: nothing but that all are acknowledged by every replica in sync. Never: a value that may be there or
//! not without a word.

use std::sync::Arc;

use bytes::Bytes;
use model::config::KafkaConfig;
use rdkafka::ClientConfig;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::Consumer as _;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::util::Timeout;

use super::client::{Context, Looking, Voice};
use super::failure::unavailable;
use super::look::{self, ANSWER};
use super::settings;
use super::token::TokenSource;
use crate::log::LogError;

/// Sends to one topic.
pub struct Sender {
    producer: FutureProducer<Context<Looking>>,
    topic: String,
}

impl Sender {
    /// Connects, and looks whether the topic is there.
    ///
    /// # Errors
    /// [`LogError::Broken`] where the settings cannot be used, [`LogError::Unavailable`] where no broker answers or the
    /// topic is not there.
    pub async fn connect(cluster: &KafkaConfig, topic: &str) -> Result<Sender, LogError> {
        let broken = |error: settings::SettingsError| LogError::Broken(error.to_string());
        let base = settings::base(cluster, "send").map_err(broken)?;
        let tokens = TokenSource::of(cluster).map(Arc::new);
        reach(cluster, &base, topic, tokens.clone()).await?;
        let config = settings::gateway(&base, cluster);
        let context = Context { voice: Voice::new("send", tokens), role: Looking };
        let producer = FutureProducer::from_config_and_context(&config, context)
            .map_err(|error| unavailable("making a producer", &error))?;
        Ok(Sender { producer, topic: topic.to_owned() })
    }

    /// Appends values, each with these headers; returns when all are acknowledged.
    ///
    /// # Errors
    /// [`LogError::Unavailable`]: at least one was refused or is not acknowledged in time; others may be there.
    pub async fn send(&self, values: &[Bytes], headers: &[(&str, &str)]) -> Result<(), LogError> {
        let mut under_way = Vec::with_capacity(values.len());
        for value in values {
            let mut all = OwnedHeaders::new_with_capacity(headers.len());
            for (key, value) in headers {
                all = all.insert(Header { key, value: Some(*value) });
            }
            let record: FutureRecord<'_, [u8], [u8]> =
                FutureRecord::to(&self.topic).payload(&value[..]).headers(all);
            under_way.push(self.producer.send(record, Timeout::Never));
        }
        for delivery in under_way {
            delivery
                .await
                .map_err(|(error, _)| unavailable(&format!("appending to {}", self.topic), &error))?;
        }
        Ok(())
    }
}

/// Looks for the topic. A producer would not say why no broker answers.
async fn reach(
    cluster: &KafkaConfig,
    base: &ClientConfig,
    topic: &str,
    tokens: Option<Arc<TokenSource>>,
) -> Result<(), LogError> {
    let config = settings::reader(base, "mozdef-send", "read_committed");
    let client = look::client(&config, Voice::new("send", tokens))
        .map_err(|error| unavailable("making a client", &error))?;
    let (name, brokers) = (topic.to_owned(), cluster.brokers.join(","));
    let found = tokio::task::spawn_blocking(move || {
        let found = client.fetch_metadata(Some(&name), ANSWER);
        if found.is_err() {
            look::hear(&client);
        }
        (found, client.context().voice.last_error())
    });
    match found.await.map_err(|error| LogError::Broken(error.to_string()))? {
        (Ok(found), _) if found.topics().iter().any(|topic| !topic.partitions().is_empty()) => Ok(()),
        (Ok(_), _) => Err(LogError::Unavailable(format!("{brokers} has no topic {topic}; make it first"))),
        (Err(error), cause) => {
            let cause = if cause.is_empty() { error.to_string() } else { cause };
            Err(LogError::Unavailable(format!("no broker of {brokers} answers: {cause}")))
        }
    }
}
