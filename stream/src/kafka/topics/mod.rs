//! Topics on the cluster: looked at, made, changed; never shrunk and never deleted.
//!
//! In: the configuration. Out: what is there, what is to be done (`plan.rs`), and that it was done. Never: a change
//! while anything is refused.

mod plan;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use model::config::KafkaConfig;
use model::topic::Topic;
use rdkafka::admin::{
    AdminOptions, AlterConfig, ConfigSource, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::types::RDKafkaRespErr;
use tokio::time::Instant;

pub use self::plan::{
    Actual, Change, Cluster, Desired, PAIRS, Partition, Plan, Refusal, Setting, desired, plan,
};
use super::admin::{Admin, admin};
use super::client::Voice;
use super::look;
use super::names::Names;
use super::settings::{self, SettingsError};
use super::token::TokenSource;

/// Longest wait for an answer.
const ANSWER: Duration = Duration::from_secs(10);
/// Longest wait until all brokers know of a change.
const SPREAD: Duration = Duration::from_secs(20);
/// Time between two looks meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Why topics cannot be looked at or changed.
#[derive(Debug, thiserror::Error)]
pub enum TopicsError {
    /// The settings cannot be used.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// No broker answers.
    #[error("no broker of {brokers} answers: {cause}; check log.kafka.brokers and the network")]
    Unreachable {
        /// Those asked.
        brokers: String,
        /// What went wrong.
        cause: String,
    },
    /// We are not let in.
    #[error("the brokers refuse our login: {0}; check log.kafka.sasl and log.kafka.tls")]
    Login(String),
    /// The access rules do not allow it.
    #[error("not allowed to {doing}; grant our user {acl}")]
    NotAuthorized {
        /// What was tried.
        doing: String,
        /// Operation and resource of the access rule that is missing.
        acl: String,
    },
    /// The brokers refuse.
    #[error("the brokers refuse to {doing}: {cause}")]
    Refused {
        /// What was tried.
        doing: String,
        /// What they said.
        cause: String,
    },
    /// It was done, and is not to be seen.
    #[error("{count} changes were made and are not to be seen after {} s; ask `mozdef topics plan` in a while", SPREAD.as_secs())]
    NotSeen {
        /// How many.
        count: usize,
    },
}

/// Looks at topics and changes them.
pub struct TopicAdmin {
    config: KafkaConfig,
    names: Names,
    client: Admin,
    looker: Arc<look::Client>,
}

impl TopicAdmin {
    /// For a cluster; connections are made with the first question.
    pub fn new(config: &KafkaConfig) -> Result<TopicAdmin, TopicsError> {
        let base = settings::base(config, "topics")?;
        let tokens = TokenSource::of(config).map(Arc::new);
        let failed = |error: KafkaError| SettingsError::Client(error.to_string());
        let looking = settings::reader(&base, &config.group_name("mozdef-topics"), "read_committed");
        let looker = look::client(&looking, Voice::new("topics", tokens.clone())).map_err(failed)?;
        let client = admin(&base, Voice::new("topics", tokens)).map_err(SettingsError::Client)?;
        let (config, names) = (config.clone(), Names::of(config));
        Ok(TopicAdmin { config, names, client, looker: Arc::new(looker) })
    }

    /// The cluster as it is.
    pub async fn cluster(&self) -> Result<Cluster, TopicsError> {
        let (client, names) = (Arc::clone(&self.looker), self.names.clone());
        let looked = tokio::task::spawn_blocking(move || look(&client, &names)).await;
        let looked = looked.map_err(|error| TopicsError::Refused {
            doing: "look at the topics".to_owned(),
            cause: error.to_string(),
        })?;
        let mut cluster =
            looked.map_err(|(topic, error)| self.failed("look at", "Describe", topic, &error))?;
        self.add_settings(&mut cluster).await?;
        Ok(cluster)
    }

    async fn add_settings(&self, cluster: &mut Cluster) -> Result<(), TopicsError> {
        let topics: Vec<Topic> = cluster.topics.keys().copied().collect();
        if topics.is_empty() {
            return Ok(());
        }
        let failed =
            |topic, error: &KafkaError| self.failed("read the settings of", "DescribeConfigs", topic, error);
        let resources: Vec<ResourceSpecifier<'_>> =
            topics.iter().map(|topic| ResourceSpecifier::Topic(self.names.wire(*topic))).collect();
        let answers = self
            .client
            .describe_configs(&resources, &options())
            .await
            .map_err(|error| failed(None, &error))?;
        for (topic, answer) in topics.into_iter().zip(answers) {
            let answer = answer.map_err(|code| failed(Some(topic), &KafkaError::AdminOp(code)))?;
            let Some(actual) = cluster.topics.get_mut(&topic) else { continue };
            for entry in answer.entries {
                let is_own = matches!(entry.source, ConfigSource::DynamicTopic);
                let value = entry.value.unwrap_or_default();
                actual.settings.insert(entry.name, Setting { value, is_own });
            }
        }
        Ok(())
    }

    /// Makes what a plan names, and looks until it is to be seen. `told` hears each step before it is done.
    ///
    /// A plan with refusals is not begun: the caller tells them.
    pub async fn apply(
        &self,
        plan: &Plan,
        cluster: &Cluster,
        told: &mut (dyn FnMut(Topic, &str) + Send),
    ) -> Result<(), TopicsError> {
        let mut is_set: Option<Topic> = None;
        for (topic, change) in &plan.changes {
            match change {
                Change::Create => {
                    told(*topic, "create");
                    self.create(*topic).await?;
                }
                Change::Grow { to, .. } => {
                    told(*topic, "add partitions");
                    self.grow(*topic, *to).await?;
                }
                // All settings of a topic go together.
                Change::Set { .. } if is_set == Some(*topic) => {}
                Change::Set { .. } => {
                    told(*topic, "change settings");
                    self.set(*topic, cluster).await?;
                    is_set = Some(*topic);
                }
            }
        }
        self.until_seen(plan).await
    }

    async fn create(&self, topic: Topic) -> Result<(), TopicsError> {
        let Desired { partitions, replication, settings } = desired(&self.config, topic);
        let (partitions, replication) = (
            i32::try_from(partitions).unwrap_or(i32::MAX),
            i32::from(i16::try_from(replication).unwrap_or(i16::MAX)),
        );
        let mut made =
            NewTopic::new(self.names.wire(topic), partitions, TopicReplication::Fixed(replication));
        for (key, value) in &settings {
            made = made.set(key, value);
        }
        let outcome = self.client.create_topics([&made], &options()).await;
        match first(outcome) {
            // Another `apply` was faster; the look afterwards tells whether it made the same.
            Err(KafkaError::AdminOp(Code::TopicAlreadyExists)) => Ok(()),
            outcome => outcome.map_err(|error| self.failed("create", "Create", Some(topic), &error)),
        }
    }

    async fn grow(&self, topic: Topic, to: u32) -> Result<(), TopicsError> {
        let more = NewPartitions::new(self.names.wire(topic), to as usize);
        let outcome = self.client.create_partitions([&more], &options()).await;
        first(outcome).map_err(|error| self.failed("add partitions to", "Alter", Some(topic), &error))
    }

    async fn set(&self, topic: Topic, cluster: &Cluster) -> Result<(), TopicsError> {
        let desired = desired(&self.config, topic);
        let all = cluster.topics.get(&topic).map(|actual| actual.settings_with(&desired)).unwrap_or_default();
        let mut altered = AlterConfig::new(ResourceSpecifier::Topic(self.names.wire(topic)));
        for (key, value) in &all {
            altered = altered.set(key, value);
        }
        let failed =
            |error: &KafkaError| self.failed("change the settings of", "AlterConfigs", Some(topic), error);
        let outcomes =
            self.client.alter_configs([&altered], &options()).await.map_err(|error| failed(&error))?;
        match outcomes.into_iter().next() {
            Some(Err((_, code))) => Err(failed(&KafkaError::AdminOp(code))),
            Some(Ok(_)) | None => Ok(()),
        }
    }

    async fn until_seen(&self, done: &Plan) -> Result<(), TopicsError> {
        if done.changes.is_empty() {
            return Ok(());
        }
        let deadline = Instant::now().checked_add(SPREAD).unwrap_or_else(Instant::now);
        loop {
            let rest = plan(&self.config, &self.cluster().await?);
            if rest.changes.is_empty() {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(TopicsError::NotSeen { count: rest.changes.len() });
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    fn failed(&self, doing: &str, operation: &str, topic: Option<Topic>, error: &KafkaError) -> TopicsError {
        let said = self.looker.context().voice.last_error();
        let is_login = said.contains("uthentication");
        let cause = if said.is_empty() { error.to_string() } else { said };
        let object = topic.map_or("the topics", |topic| self.names.wire(topic)).to_owned();
        let doing = format!("{doing} {object}");
        match error.rdkafka_error_code() {
            Some(Code::TopicAuthorizationFailed | Code::ClusterAuthorizationFailed) => {
                TopicsError::NotAuthorized {
                    doing,
                    acl: format!("{operation} on topics with the prefix {}", self.config.prefix),
                }
            }
            Some(Code::SaslAuthenticationFailed | Code::Authentication) => TopicsError::Login(cause),
            _ if is_login => TopicsError::Login(cause),
            Some(
                Code::BrokerTransportFailure
                | Code::AllBrokersDown
                | Code::OperationTimedOut
                | Code::Resolve
                | Code::RequestTimedOut,
            ) => TopicsError::Unreachable { brokers: self.config.brokers.join(","), cause },
            _ => TopicsError::Refused { doing, cause: error.to_string() },
        }
    }
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(ANSWER)).operation_timeout(Some(ANSWER))
}

/// The outcome of a request about one topic.
fn first(outcome: Result<Vec<rdkafka::admin::TopicResult>, KafkaError>) -> Result<(), KafkaError> {
    match outcome?.into_iter().next() {
        Some(Err((_, code))) => Err(KafkaError::AdminOp(code)),
        Some(Ok(_)) | None => Ok(()),
    }
}

/// Brokers and partitions; blocks. With an error comes the topic that it is about.
fn look(client: &look::Client, names: &Names) -> Result<Cluster, (Option<Topic>, KafkaError)> {
    let mut cluster = Cluster { brokers: 0, topics: BTreeMap::new() };
    for topic in Topic::ALL {
        let wire = names.wire(topic);
        let metadata = client.fetch_metadata(Some(wire), ANSWER).map_err(|error| {
            look::hear(client);
            (None, error)
        })?;
        cluster.brokers = metadata.brokers().len();
        let Some(found) = metadata.topics().iter().find(|found| found.name() == wire) else { continue };
        match found.error() {
            None | Some(RDKafkaRespErr::RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE) => {}
            Some(RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) => continue,
            Some(error) => return Err((Some(topic), KafkaError::MetadataFetch(error.into()))),
        }
        let mut partitions: Vec<(i32, Partition)> = found
            .partitions()
            .iter()
            .map(|partition| {
                let leader = Some(partition.leader()).filter(|leader| *leader >= 0);
                let (replicas, in_sync) = (partition.replicas().len(), partition.isr().len());
                (partition.id(), Partition { leader, replicas, in_sync })
            })
            .collect();
        if partitions.is_empty() {
            continue;
        }
        partitions.sort_unstable_by_key(|(number, _)| *number);
        let partitions = partitions.into_iter().map(|(_, partition)| partition).collect();
        cluster.topics.insert(topic, Actual { partitions, settings: BTreeMap::new() });
    }
    Ok(cluster)
}
