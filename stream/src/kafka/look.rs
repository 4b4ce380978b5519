//! Offsets: extents, times, what groups have committed.
//!
//! In: questions. Out: the brokers' answers. Never: a cached one.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use model::time::Timestamp;
use model::topic::Topic;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use super::Core;
use super::client::{Context, Looking, Voice};
use super::failure::{of_topic, unavailable};
use super::names::Names;
use super::settings;
use crate::log::{Extent, LogError};

/// Longest wait for an answer.
pub(super) const ANSWER: Duration = Duration::from_secs(3);

/// How long a client is listened to after a failure.
pub(super) const HEAR: Duration = Duration::from_millis(200);

/// A client that is never part of a group.
pub(super) type Client = BaseConsumer<Context<Looking>>;

/// Makes a client. Where it logs in by token this waits for the first one: it is fetched by a poll, and questions do not
/// poll.
pub(super) fn client(config: &ClientConfig, voice: Voice) -> KafkaResult<Client> {
    let client: Client = BaseConsumer::from_config_and_context(config, Context { voice, role: Looking })?;
    let began = Instant::now();
    while client.context().voice.lacks_token() && began.elapsed() < ANSWER {
        // Nothing is assigned: what comes is an error, which the voice has taken.
        if client.poll(HEAR).is_some() {}
    }
    Ok(client)
}

/// Serves what a client has to say after a failure, so that its voice knows the cause; blocks for a moment.
pub(super) fn hear(client: &Client) {
    let began = Instant::now();
    // It may have one more of the same to say at any time.
    while began.elapsed() < HEAR && client.poll(HEAR).is_some() {}
}

/// What a group has committed of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Commit {
    /// Next offset to read.
    pub(super) next: u64,
    /// Which commit it was: see `transact.rs`.
    pub(super) token: String,
}

/// The clients that look.
pub(super) struct Looker {
    names: Names,
    stable: Arc<Client>,
    all: Arc<Client>,
    groups: Mutex<HashMap<String, Arc<Client>>>,
}

impl Looker {
    /// `stable` sees what is decided, `all` everything.
    pub(super) fn new(names: Names, stable: Client, all: Client) -> Looker {
        Looker { names, stable: Arc::new(stable), all: Arc::new(all), groups: Mutex::default() }
    }

    /// Serves the clients' log lines and tokens.
    pub(super) fn serve(&self) {
        let groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        let clients: Vec<Arc<Client>> = groups.values().chain([&self.stable, &self.all]).cloned().collect();
        drop(groups);
        for client in clients {
            // Messages and errors are not for us: nothing is assigned, and errors come with the answers.
            while client.poll(Duration::ZERO).is_some() {}
        }
    }

    /// The client that all parts use for metadata.
    pub(super) fn metadata(&self) -> Arc<Client> {
        Arc::clone(&self.stable)
    }

    /// What is there of a partition.
    pub(super) async fn extent(&self, topic: Topic, partition: u32) -> Result<Extent, LogError> {
        let wire = self.names.wire(topic).to_owned();
        let (stable, all) = (Arc::clone(&self.stable), Arc::clone(&self.all));
        let look = move || {
            let number = number(partition);
            // In this order: the end never lies before the last stable offset.
            let (start, decided) = stable.fetch_watermarks(&wire, number, ANSWER)?;
            let ends = answers(&all, &wire, &[partition], Offset::End.to_raw().unwrap_or(-1))?;
            let end = ends.get(&partition).copied().unwrap_or(0);
            Ok(Extent { start: offset(start), stable: offset(decided), end: end.max(offset(decided)) })
        };
        blocking(look).await?.map_err(|error| of_topic(topic, "looking at", &error))
    }

    /// The ends of partitions, open transactions included.
    pub(super) async fn ends(
        &self,
        topic: Topic,
        partitions: Vec<u32>,
    ) -> Result<BTreeMap<u32, u64>, LogError> {
        let (wire, all) = (self.names.wire(topic).to_owned(), Arc::clone(&self.all));
        let look = move || answers(&all, &wire, &partitions, -1);
        blocking(look).await?.map_err(|error| of_topic(topic, "looking at", &error))
    }

    /// Offset of the first record of a time or later, among what is stable; the last stable offset where there is none.
    pub(super) async fn offset_at(
        &self,
        topic: Topic,
        partition: u32,
        time: Timestamp,
    ) -> Result<u64, LogError> {
        let (wire, stable) = (self.names.wire(topic).to_owned(), Arc::clone(&self.stable));
        let look = move || {
            // Kafka counts in milliseconds; negative times mean something else to it.
            let millis = time.micros().saturating_add(999).div_euclid(1000).max(0);
            let found = answers(&stable, &wire, &[partition], millis)?;
            match found.get(&partition) {
                Some(offset) => Ok(*offset),
                None => Ok(offset(stable.fetch_watermarks(&wire, number(partition), ANSWER)?.1)),
            }
        };
        blocking(look).await?.map_err(|error| of_topic(topic, "looking for a time in", &error))
    }

    /// What a group (its name on the cluster) has committed; partitions without a commit are absent. Waits for
    /// transactions that are under way.
    pub(super) async fn committed(
        &self,
        core: &Core,
        group: &str,
        topic: Topic,
        partitions: Vec<u32>,
    ) -> Result<BTreeMap<u32, Commit>, LogError> {
        let client = self.of_group(core, group)?;
        let wire = self.names.wire(topic).to_owned();
        let look = move || committed(&client, &wire, &partitions);
        blocking(look)
            .await?
            .map_err(|error| unavailable(&format!("asking what {group} has committed of {topic}"), &error))
    }

    fn of_group(&self, core: &Core, group: &str) -> Result<Arc<Client>, LogError> {
        let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = groups.get(group) {
            return Ok(Arc::clone(client));
        }
        let config = settings::reader(&core.base, group, "read_committed");
        let made =
            client(&config, core.voice("look")).map_err(|error| unavailable("making a client", &error))?;
        let made = Arc::new(made);
        groups.insert(group.to_owned(), Arc::clone(&made));
        Ok(made)
    }
}

/// What a group has committed; blocks. `client`: any client of that group.
pub(super) fn committed<C: rdkafka::consumer::ConsumerContext>(
    client: &BaseConsumer<C>,
    wire: &str,
    partitions: &[u32],
) -> KafkaResult<BTreeMap<u32, Commit>> {
    let mut wanted = TopicPartitionList::with_capacity(partitions.len());
    for partition in partitions {
        wanted.add_partition(wire, number(*partition));
    }
    let found = client.committed_offsets(wanted, ANSWER)?;
    let mut commits = BTreeMap::new();
    for element in found.elements() {
        element.error()?;
        if let (Ok(partition), Offset::Offset(next)) = (u32::try_from(element.partition()), element.offset())
        {
            commits.insert(partition, Commit { next: offset(next), token: element.metadata().to_owned() });
        }
    }
    Ok(commits)
}

/// Answers to one question about several partitions: a time in milliseconds, −1 for the end. Absent: no such offset.
fn answers(client: &Client, wire: &str, partitions: &[u32], time: i64) -> KafkaResult<BTreeMap<u32, u64>> {
    let mut wanted = TopicPartitionList::with_capacity(partitions.len());
    for partition in partitions {
        wanted.add_partition_offset(wire, number(*partition), Offset::from_raw(time))?;
    }
    let mut found = BTreeMap::new();
    for element in client.offsets_for_times(wanted, ANSWER)?.elements() {
        element.error()?;
        if let (Ok(partition), Offset::Offset(at)) = (u32::try_from(element.partition()), element.offset()) {
            found.insert(partition, offset(at));
        }
    }
    Ok(found)
}

/// Runs what blocks beside the async threads.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, KafkaError> + Send + 'static,
) -> Result<Result<T, KafkaError>, LogError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| LogError::Unavailable(error.to_string()))
}

/// A partition's number as librdkafka takes it.
pub(super) fn number(partition: u32) -> i32 {
    i32::try_from(partition).unwrap_or(i32::MAX)
}

/// An offset as we take it.
pub(super) fn offset(offset: i64) -> u64 {
    u64::try_from(offset).unwrap_or(0)
}
