//! Opening: who the cluster is, which topics it has, how large their records may be.
//!
//! In: the configuration. Out: the log, or an error with the remedy. Never: a topic made.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;

use model::config::{GroupProtocol, KafkaConfig};
use model::time::Clock;
use model::topic::Topic;
use rdkafka::admin::{AdminOptions, ResourceSpecifier};
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::types::RDKafkaRespErr;

use tokio::time::Instant;

use super::admin::{Admin, admin};
use super::client::{Threads, Voice};
use super::failure::LOGIN;
use super::look::{self, ANSWER, Client, Looker};
use super::names::Names;
use super::read::Readers;
use super::settings::{self, SettingsError};
use super::token::TokenSource;
use super::{Core, KafkaLog};
use crate::log::{DEAD_RECORD_BYTES_MAX, LogError, RECORD_BYTES_MAX, SharedLog};

/// Bytes of a batch around one record.
const FRAME: usize = 4096;
/// How long the news of a topic may take to spread among brokers.
const SPREAD: Duration = Duration::from_secs(5);
/// Longest session time with which KIP-848 is chosen by itself: a partition may stand still for 30 s at most.
const SESSION_MS_MAX: u64 = 15_000;
/// Time between two rounds of housekeeping.
const ROUND: Duration = Duration::from_millis(500);
/// Rounds between two looks at the number of partitions.
const LOOK_EVERY: u32 = 60;

/// Why the log cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The settings cannot be used.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// No broker answers.
    #[error("no broker of {brokers} answers: {cause}; check log.kafka.brokers and the network")]
    Unreachable {
        /// Those asked.
        brokers: String,
        /// What went wrong last.
        cause: String,
    },
    /// The brokers answer, and refuse.
    #[error("the brokers {brokers} refuse: {cause}")]
    Refused {
        /// Those asked.
        brokers: String,
        /// What they said.
        cause: String,
    },
    /// Topics are missing.
    #[error("the cluster has no {topics}; run `mozdef topics apply`")]
    NoTopics {
        /// Which.
        topics: String,
    },
    /// Two topics whose partitions belong together have different numbers of them.
    #[error("{one} has {one_count} partitions and {other} has {other_count}; run `mozdef topics plan`")]
    Uneven {
        /// The one.
        one: String,
        /// Its partitions.
        one_count: u32,
        /// The other.
        other: String,
        /// Its partitions.
        other_count: u32,
    },
}

impl OpenError {
    /// Whether it may be better a while later without a hand.
    pub fn is_retryable(&self) -> bool {
        matches!(self, OpenError::Unreachable { .. } | OpenError::NoTopics { .. })
    }
}

/// Opens the log.
pub async fn open(config: &KafkaConfig, clock: Clock) -> Result<SharedLog, OpenError> {
    let (config, instance) = (config.clone(), instance(config));
    let base = settings::base(&config, &instance)?;
    let tokens = TokenSource::of(&config).map(Arc::new);
    let brokers = config.brokers.join(",");
    let refused = |cause: String| OpenError::Refused { brokers: brokers.clone(), cause };
    let names = Names::of(&config);
    let group = config.group_name("mozdef-reader");
    let make = |isolation: &str| {
        let config = settings::reader(&base, &group, isolation);
        look::client(&config, Voice::new("look", tokens.clone()))
            .map_err(|error| OpenError::Settings(SettingsError::Client(error.to_string())))
    };
    let looker = Looker::new(names.clone(), make("read_committed")?, make("read_uncommitted")?);
    let (client, asked) = (looker.metadata(), names.clone());
    let found = tokio::task::spawn_blocking(move || cluster(&client, &asked)).await;
    let found = found.map_err(|error| refused(error.to_string()))?;
    let cluster = found.map_err(|(error, cause)| unusable(brokers.clone(), &error, cause))?;
    check(&cluster, &names)?;
    let (limits, session_ms) = ask(&base, tokens.clone(), &names, cluster.broker).await;
    let is_classic = session_ms.is_none_or(|session_ms| session_ms > SESSION_MS_MAX);
    if is_classic && config.group_protocol == GroupProtocol::Auto {
        tracing::info!(
            session_ms,
            "groups are run by the classic protocol: the brokers do not have KIP-848, or would notice the death of a member late (group.consumer.session.timeout.ms)"
        );
    }
    let id = if config.prefix == KafkaConfig::PREFIX {
        cluster.id
    } else {
        format!("{}/{}", cluster.id, config.prefix.trim_end_matches('.'))
    };
    let partitions = cluster.partitions;
    let core = Arc::new(Core {
        id,
        names,
        config,
        instance,
        base,
        tokens,
        clock,
        partitions: std::array::from_fn(|topic| {
            AtomicU32::new(partitions.get(topic).copied().flatten().unwrap_or(0))
        }),
        record_bytes_max: limits,
        looker,
        readers: Readers::default(),
        turn: AtomicU32::new(0),
        slots: Mutex::new(BTreeMap::new()),
        is_classic: AtomicBool::new(is_classic),
        threads: Arc::new(Threads::default()),
    });
    keep_house(Arc::downgrade(&core))?;
    Ok(Arc::new(KafkaLog { core, gateway: OnceLock::new(), making: Mutex::new(()) }))
}

struct Cluster {
    id: String,
    /// By topic; `None`: it is not there.
    partitions: Vec<Option<u32>>,
    /// One of the brokers.
    broker: Option<i32>,
}

/// What the cluster says of itself and our topics; blocks. With an error comes what the client last said.
fn cluster(client: &Client, names: &Names) -> Result<Cluster, (KafkaError, String)> {
    let failed = |error: KafkaError| {
        let said = client.context().voice.last_error();
        let cause = if said.is_empty() { error.to_string() } else { said };
        (error, cause)
    };
    let began = Instant::now();
    let partitions = loop {
        let mut partitions = Vec::new();
        for topic in Topic::ALL {
            partitions.push(count(client, names.wire(topic)).map_err(failed)?);
        }
        // A topic that was made just now is not known to every broker yet.
        if partitions.iter().all(Option::is_some) || began.elapsed() >= SPREAD {
            break partitions;
        }
        std::thread::sleep(ROUND);
    };
    // Errors of the connection are events; they are served here, so that the text is there.
    while client.poll(Duration::ZERO).is_some() {}
    let none = || failed(KafkaError::MetadataFetch(Code::OperationTimedOut));
    let id = client.client().fetch_cluster_id(ANSWER).ok_or_else(none)?;
    let metadata = client.fetch_metadata(Some(names.wire(Topic::Raw)), ANSWER).map_err(failed)?;
    let broker = metadata.brokers().first().map(|broker| broker.id());
    Ok(Cluster { id, partitions, broker })
}

fn count(client: &Client, wire: &str) -> Result<Option<u32>, KafkaError> {
    let metadata = match client.fetch_metadata(Some(wire), ANSWER) {
        Ok(metadata) => metadata,
        Err(error) => {
            look::hear(client);
            return Err(error);
        }
    };
    let Some(topic) = metadata.topics().iter().find(|topic| topic.name() == wire) else { return Ok(None) };
    match topic.error() {
        None => Ok(u32::try_from(topic.partitions().len()).ok().filter(|count| *count > 0)),
        Some(RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) => Ok(None),
        Some(RDKafkaRespErr::RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE) => {
            Ok(u32::try_from(topic.partitions().len()).ok().filter(|count| *count > 0))
        }
        Some(other) => Err(KafkaError::MetadataFetch(other.into())),
    }
}

fn check(cluster: &Cluster, names: &Names) -> Result<(), OpenError> {
    let of = |topic: Topic| cluster.partitions.get(topic as usize).copied().flatten();
    let missing: Vec<&str> =
        Topic::ALL.into_iter().filter(|topic| of(*topic).is_none()).map(|topic| names.wire(topic)).collect();
    if !missing.is_empty() {
        return Err(no_topics(&missing));
    }
    for (one, other) in [(Topic::Raw, Topic::Events), (Topic::Matches, Topic::Windows)] {
        let (one_count, other_count) = (of(one).unwrap_or(0), of(other).unwrap_or(0));
        if one_count != other_count {
            let (one, other) = (names.wire(one).to_owned(), names.wire(other).to_owned());
            return Err(OpenError::Uneven { one, one_count, other, other_count });
        }
    }
    Ok(())
}

fn no_topics(missing: &[&str]) -> OpenError {
    OpenError::NoTopics { topics: missing.join(", ") }
}

/// Whether the brokers answer and have these topics.
pub(super) async fn reach(core: &Arc<Core>, topics: &[Topic]) -> Result<(), LogError> {
    let (shared, topics) = (Arc::clone(core), topics.to_vec());
    let look = move || {
        let client = shared.looker.metadata();
        let mut missing = Vec::new();
        for topic in topics {
            let wire = shared.names.wire(topic);
            match count(&client, wire) {
                Ok(Some(_)) => {}
                Ok(None) => missing.push(wire),
                Err(error) => {
                    let said = client.context().voice.last_error();
                    let cause = if said.is_empty() { error.to_string() } else { said };
                    let brokers = shared.config.brokers.join(",");
                    return Err(unusable(brokers, &error, cause));
                }
            }
        }
        if missing.is_empty() { Ok(()) } else { Err(no_topics(&missing)) }
    };
    let looked = tokio::task::spawn_blocking(look).await;
    let looked = looked.map_err(|error| LogError::Unavailable(error.to_string()))?;
    looked.map_err(|error| LogError::Unavailable(error.to_string()))
}

/// No broker has answered, or one refuses. A refused login looks like silence but for what the client said last.
fn unusable(brokers: String, error: &KafkaError, cause: String) -> OpenError {
    let is_silence = matches!(
        error.rdkafka_error_code(),
        Some(Code::BrokerTransportFailure | Code::AllBrokersDown | Code::OperationTimedOut | Code::Resolve,)
            | None
    );
    match is_silence && !cause.ends_with(LOGIN) {
        true => OpenError::Unreachable { brokers, cause },
        false => OpenError::Refused { brokers, cause },
    }
}

/// What the brokers say of their settings: the largest record of each topic (ours, or less where the topic takes less;
/// ours where they do not say), and the session time of groups run by KIP-848.
async fn ask(
    base: &rdkafka::ClientConfig,
    tokens: Option<Arc<TokenSource>>,
    names: &Names,
    broker: Option<i32>,
) -> ([usize; Topic::ALL.len()], Option<u64>) {
    let mut limits = [RECORD_BYTES_MAX; Topic::ALL.len()];
    if let Some(dead) = limits.get_mut(Topic::Dead as usize) {
        *dead = DEAD_RECORD_BYTES_MAX;
    }
    let admin = match admin(base, Voice::new("look", tokens)) {
        Ok(admin) => admin,
        Err(error) => {
            tracing::warn!(%error, "no client to ask for the topics' settings");
            return (limits, None);
        }
    };
    for topic in Topic::ALL {
        let taken = setting(&admin, ResourceSpecifier::Topic(names.wire(topic)), "max.message.bytes").await;
        let (Some(taken), Some(limit)) = (taken, limits.get_mut(topic as usize)) else { continue };
        let allowed = usize::try_from(taken).unwrap_or(usize::MAX).saturating_sub(FRAME);
        if allowed < *limit {
            tracing::warn!(%topic, taken, "the topic takes smaller records than it should; run `mozdef topics plan`");
            *limit = allowed;
        }
    }
    let session_ms = match broker {
        Some(broker) => {
            setting(&admin, ResourceSpecifier::Broker(broker), "group.consumer.session.timeout.ms").await
        }
        None => None,
    };
    (limits, session_ms)
}

/// A number among the settings of a topic or broker; `None` where the brokers do not have it or do not tell us.
async fn setting(admin: &Admin, of: ResourceSpecifier<'_>, name: &str) -> Option<u64> {
    let options = AdminOptions::new().request_timeout(Some(ANSWER));
    let answers = match admin.describe_configs([&of], &options).await {
        Ok(answers) => answers,
        Err(error) => {
            tracing::warn!(%error, ?of, "its settings are not known; ours are assumed");
            return None;
        }
    };
    let config = answers.into_iter().next()?.ok()?;
    config.entries.iter().find(|entry| entry.name == name)?.value.as_ref()?.parse().ok()
}

/// This instance's name: as configured, `$MOZDEF_INSTANCE`, or the machine's.
fn instance(config: &KafkaConfig) -> String {
    let named = Some(config.instance.clone()).filter(|name| !name.is_empty());
    let variable = || std::env::var("MOZDEF_INSTANCE").ok().filter(|name| !name.is_empty());
    let machine = || std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let name = named.or_else(variable).or_else(machine).unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "mozdef".to_owned() } else { name.to_owned() }
}

/// Serves what the looking clients say, lets tired readers go, and sees topics grow.
fn keep_house(core: Weak<Core>) -> Result<(), OpenError> {
    let work = move || {
        let mut round = 0_u32;
        loop {
            std::thread::sleep(ROUND);
            let Some(core) = core.upgrade() else { return };
            core.looker.serve();
            drop(core.readers.tired(false));
            round = round.wrapping_add(1);
            if round.checked_rem(LOOK_EVERY) == Some(0) {
                grow(&core);
            }
        }
    };
    let spawned = std::thread::Builder::new().name("kafka-house".to_owned()).spawn(work);
    spawned.map_err(|error| SettingsError::Client(error.to_string()))?;
    Ok(())
}

fn grow(core: &Core) {
    let client = core.looker.metadata();
    for topic in Topic::ALL {
        if let Ok(Some(count)) = count(&client, core.names.wire(topic))
            && let Some(known) = core.partitions.get(topic as usize)
            && known.fetch_max(count, Ordering::Relaxed) < count
        {
            tracing::info!(%topic, partitions = count, "the topic has grown");
        }
    }
}
