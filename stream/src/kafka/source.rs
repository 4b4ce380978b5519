//! A consumer of topics that are not MozDef's: what other programs produce.
//!
//! In: a cluster, a group, topics or patterns. Out: records with their place, and a commit once they are safe elsewhere.
//! Never: a commit of what was not given; whoever takes the records must know them again, for after a crash or a
//! rebalance some come twice.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use model::config::KafkaConfig;
use model::time::Timestamp;
use rdkafka::TopicPartitionList;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{CommitMode, Consumer, StreamConsumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers as _, Message, Timestamp as Stamp};
use rdkafka::{ClientConfig, Offset};

use super::client::{Context, Looking, Voice};
use super::failure::{is_fatal, unavailable};
use super::look::{ANSWER, blocking};
use super::settings::{self, SettingsError};
use super::token::TokenSource;
use crate::log::{FetchLimits, LogError};
use crate::record::Headers;

/// What is consumed, and how.
#[derive(Clone, Debug)]
pub struct SourceOptions {
    /// Addresses and security.
    pub cluster: KafkaConfig,
    /// Name of the consumer group.
    pub group: String,
    /// Topics; patterns begin with `^`.
    pub topics: Vec<String>,
    /// Where a group that is new to a partition begins: the oldest record, else what comes from now on.
    pub from_start: bool,
    /// Topics whose names begin so are left out; empty for none.
    pub except: String,
}

/// A record of another program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceRecord {
    /// Its topic.
    pub topic: Arc<str>,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Its time, as its producer or broker says; `None` where neither does.
    pub time: Option<Timestamp>,
    /// Its key; empty for none.
    pub key: Bytes,
    /// Its value; `None` for a tombstone.
    pub value: Option<Bytes>,
    /// Its headers, in order. Values may be any bytes.
    pub headers: Headers,
}

type Native = StreamConsumer<Context<Looking>>;

/// A member of a group that reads them.
pub struct Source {
    native: Arc<Native>,
    cluster: String,
    topics: BTreeMap<String, Arc<str>>,
    /// Next offsets of what was given and is not committed.
    given: BTreeMap<(Arc<str>, i32), i64>,
    /// What was met behind the records of the last batch.
    trouble: Option<LogError>,
}

impl Source {
    /// Joins the group, once a broker has answered.
    ///
    /// # Errors
    /// [`LogError::Unavailable`] where no broker answers or one refuses, [`LogError::Broken`] where the settings cannot
    /// be used.
    pub async fn join(options: &SourceOptions) -> Result<Source, LogError> {
        let config = settings_of(options).map_err(|error| LogError::Broken(error.to_string()))?;
        let tokens = TokenSource::of(&options.cluster).map(Arc::new);
        let context = Context { voice: Voice::new(options.group.clone(), tokens), role: Looking };
        let native = Native::from_config_and_context(&config, context)
            .map_err(|error| unavailable(&format!("joining {}", options.group), &error))?;
        let topics: Vec<&str> = options.topics.iter().map(String::as_str).collect();
        native.subscribe(&topics).map_err(|error| unavailable("subscribing", &error))?;
        let native = Arc::new(native);
        let mut source = Source {
            native,
            cluster: String::new(),
            topics: BTreeMap::new(),
            given: BTreeMap::new(),
            trouble: None,
        };
        source.cluster = source.ask_for_cluster(&options.cluster.brokers).await?;
        Ok(source)
    }

    async fn ask_for_cluster(&self, brokers: &[String]) -> Result<String, LogError> {
        let native = Arc::clone(&self.native);
        let asked = blocking(move || Ok(native.client().fetch_cluster_id(ANSWER))).await?;
        asked.ok().flatten().ok_or_else(|| {
            let (brokers, cause) = (brokers.join(","), self.native.context().voice.last_error());
            LogError::Unavailable(format!("no broker of {brokers} answers: {cause}"))
        })
    }

    /// Id of the cluster: with topic, partition and offset it names a record for ever.
    pub fn cluster(&self) -> &str {
        &self.cluster
    }

    /// Waits for a record; gives it, and those that are there already, in the order of each partition.
    ///
    /// The future may be dropped; what it would have given is given later, or after a commit by another member.
    ///
    /// # Errors
    /// What the client met; nothing that was given before it is lost. Join again.
    pub async fn batch(&mut self, limits: FetchLimits) -> Result<Vec<SourceRecord>, LogError> {
        if let Some(trouble) = self.trouble.take() {
            return Err(trouble);
        }
        let native = Arc::clone(&self.native);
        let first = native.recv().await.map_err(|error| trouble(&error))?;
        let mut bytes = first.payload_len();
        let mut records = vec![self.take(&first)];
        while records.len() < limits.records_max && bytes < limits.bytes_max {
            let more = tokio::select! {
                biased;
                more = native.recv() => more,
                () = std::future::ready(()) => break,
            };
            match more {
                Ok(message) => {
                    bytes = bytes.saturating_add(message.payload_len());
                    records.push(self.take(&message));
                }
                // First what was read before it.
                Err(error) => {
                    self.trouble = Some(trouble(&error));
                    break;
                }
            }
        }
        Ok(records)
    }

    fn take(&mut self, message: &BorrowedMessage<'_>) -> SourceRecord {
        let name = message.topic();
        let topic = match self.topics.get(name) {
            Some(topic) => Arc::clone(topic),
            None => {
                let topic: Arc<str> = Arc::from(name);
                self.topics.insert(name.to_owned(), Arc::clone(&topic));
                topic
            }
        };
        let (partition, offset) = (message.partition(), message.offset());
        self.given.insert((Arc::clone(&topic), partition), offset.saturating_add(1));
        let mut headers = Headers::new();
        for header in message.headers().into_iter().flat_map(|headers| headers.iter()) {
            headers.push(header.key.to_owned(), Bytes::copy_from_slice(header.value.unwrap_or_default()));
        }
        let time = match message.timestamp() {
            Stamp::CreateTime(ms) | Stamp::LogAppendTime(ms) => Some(Timestamp::from_millis(ms)),
            Stamp::NotAvailable => None,
        };
        SourceRecord {
            topic,
            partition,
            offset,
            time,
            key: Bytes::copy_from_slice(message.key().unwrap_or_default()),
            value: message.payload().map(Bytes::copy_from_slice),
            headers,
        }
    }

    /// Commits all that was given. A commit that fails, as after a rebalance, is no loss: its records come again.
    pub async fn commit(&mut self) {
        let mut list = TopicPartitionList::with_capacity(self.given.len());
        for ((topic, partition), next) in std::mem::take(&mut self.given) {
            if let Err(error) = list.add_partition_offset(&topic, partition, Offset::Offset(next)) {
                tracing::warn!(%topic, partition, next, %error, "an offset that cannot be committed");
            }
        }
        let native = Arc::clone(&self.native);
        let committed = blocking(move || native.commit(&list, CommitMode::Sync)).await;
        match committed {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "offsets were not committed; these records come again"),
            Err(error) => tracing::warn!(%error, "offsets were not committed; these records come again"),
        }
    }
}

fn trouble(error: &KafkaError) -> LogError {
    if is_fatal(error) { LogError::Broken(error.to_string()) } else { unavailable("reading", error) }
}

fn settings_of(options: &SourceOptions) -> Result<ClientConfig, SettingsError> {
    let mut client =
        settings::reader(&settings::base(&options.cluster, "ingest")?, &options.group, "read_committed");
    client
        .set("enable.partition.eof", "false")
        .set("auto.offset.reset", if options.from_start { "earliest" } else { "latest" })
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set("session.timeout.ms", "10000")
        // New topics of a pattern are seen within half a minute.
        .set("topic.metadata.refresh.interval.ms", "30000")
        .set("fetch.wait.max.ms", "100")
        .set("queued.max.messages.kbytes", "16384")
        .set("statistics.interval.ms", "1000");
    if !options.except.is_empty() {
        client.set("topic.blacklist", format!("^{}", options.except.replace('.', "[.]")));
    }
    Ok(client)
}
