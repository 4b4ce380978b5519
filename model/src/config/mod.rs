//! The configuration file: one YAML document, typed; unknown keys are errors.
//!
//! In: the file's text. Out: [`Config`]. Never: reading files or the
//! environment; `cli/` finds and reads the file.

mod check;
mod error;
mod ingest;
mod kafka;
mod load;
mod plugins;
mod registry;
mod schema;
mod tree;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::error::{ConfigError, Place, Problem};
pub use self::ingest::{
    AmqpConfig, AmqpTls, Auth, ClientCertificate, ElasticsearchConfig, EventLimits, ExchangeKind,
    GithubConfig, HttpConfig, IngestConfig, KafkaFormat, KafkaSourceConfig, KafkaStart, PapertrailConfig,
    Product, ProxiesConfig, ProxyProtocol, PubSubConfig, QueueKind, QuotaConfig, SourceConfig, SqsConfig,
    SqsTakes, SyslogConfig, SyslogTransport, TlsConfig, WithoutMessageId, networks,
};
pub use self::kafka::{
    Compression, GroupProtocol, KafkaConfig, KafkaSasl, KafkaTls, SaslMechanism, TopicOverride,
    TopicSettings, TopicsConfig,
};
pub use self::plugins::{OnPluginError, PluginLimits, PluginsConfig};
pub use self::registry::RegistryConfig;

/// MozDef's configuration. Every key is optional.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The log between the stages.
    pub log: LogConfig,
    /// Ways in.
    pub ingest: IngestConfig,
    /// Raw records to normal form.
    pub normalize: NormalizeConfig,
    /// Rules and windows.
    pub correlate: CorrelateConfig,
    /// Events and alerts to the index.
    pub sink: SinkConfig,
    /// The index for one machine.
    pub embedded: EmbeddedConfig,
    /// Metrics, health and commands.
    pub admin: AdminConfig,
}

/// The log between the stages.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// Folder of the local log and of the embedded index.
    pub data: PathBuf,
    /// Partitions of every topic. May grow, never shrink.
    #[schemars(range(min = 1, max = 64))]
    pub partitions: u32,
    /// Largest age of records in topics cleaned by time, in hours.
    #[schemars(range(min = 1, max = 87600))]
    pub retention_hours: u64,
    /// Largest size of one topic cleaned by time, in MiB.
    #[schemars(range(min = 1))]
    pub retention_mib: u64,
    /// Free disk space, in MiB, below which the log takes no more records.
    pub min_free_mib: u64,
    /// The log on Kafka; when present it is used in the place of the local log, whose settings above are then ignored
    /// (but for `data`, the folder of the embedded index).
    pub kafka: Option<KafkaConfig>,
}

impl Default for LogConfig {
    fn default() -> Self {
        LogConfig {
            data: PathBuf::from("./mozdef-data"),
            partitions: 2,
            retention_hours: 72,
            retention_mib: 4096,
            min_free_mib: 256,
            kafka: None,
        }
    }
}

/// Raw records to normal form.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct NormalizeConfig {
    /// Name written to `mozdefhostname`; the machine's name when empty.
    pub hostname: String,
    /// Limits of one event.
    pub event: EventLimits,
    /// Minutes east of Greenwich of dates and syslog times that name no zone.
    #[schemars(range(min = -840, max = 840))]
    pub zone_minutes: i32,
    /// Plugins that do not run, by name.
    pub disabled_plugins: Vec<String>,
    /// MaxMind city database (`.mmdb`); no geolocation when absent.
    pub geoip_database: Option<PathBuf>,
    /// What the plugin `mozilla_location` knows of sites.
    pub sites: SitesConfig,
    /// Plugins that come as WebAssembly.
    pub plugins: PluginsConfig,
    /// The schema registry that Kafka producers use; values in its wire format are dead without one.
    pub registry: Option<RegistryConfig>,
}

/// Sites whose codes stand in host names.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SitesConfig {
    /// Codes of datacenters.
    pub datacenters: Vec<String>,
    /// Codes of offices.
    pub offices: Vec<String>,
}

/// Rules and windows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CorrelateConfig {
    /// Folders of rules. The shipped rules are used when empty.
    pub rules: Vec<PathBuf>,
    /// How long after the highest receipt time a partition may still bring older ones, in milliseconds.
    #[schemars(range(max = 3600000))]
    pub disorder_ms: u64,
    /// How much older than its receipt an event's own time may be and still count, in milliseconds.
    #[schemars(range(max = 604800000))]
    pub lateness_ms: u64,
    /// How far ahead of its receipt an event's own time may be and still count, in milliseconds.
    #[schemars(range(max = 604800000))]
    pub skew_ms: u64,
    /// [`CorrelateConfig::lateness_ms`] by event `source`, where it differs.
    pub lateness_ms_by_source: BTreeMap<String, u64>,
    /// Least time between two revisions of an alert, in milliseconds.
    #[schemars(range(max = 3600000))]
    pub revise_ms: u64,
    /// Most entries that one group may hold exactly.
    #[schemars(range(min = 100, max = 1000000))]
    pub group_entries_max: usize,
}

impl Default for CorrelateConfig {
    fn default() -> Self {
        CorrelateConfig {
            rules: Vec::new(),
            disorder_ms: 30_000,
            lateness_ms: 120_000,
            skew_ms: 300_000,
            lateness_ms_by_source: BTreeMap::from([("cloudtrail".to_owned(), 1_200_000)]),
            revise_ms: 5_000,
            group_entries_max: 10_000,
        }
    }
}

/// Events and alerts to the index.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SinkConfig {
    /// OpenSearch's address; the embedded index when absent.
    pub url: Option<String>,
    /// User name for OpenSearch; its password comes from `$MOZDEF_OPENSEARCH_PASSWORD`.
    pub user: Option<String>,
    /// Most documents in one bulk request.
    #[schemars(range(min = 1, max = 10000))]
    pub bulk_documents_max: usize,
    /// Most bytes in one bulk request.
    #[schemars(range(min = 1024, max = 1073741824))]
    pub bulk_bytes_max: usize,
    /// Longest wait for a bulk request to fill, in milliseconds.
    #[schemars(range(max = 60000))]
    pub bulk_wait_ms: u64,
    /// Bulk requests under way at once.
    #[schemars(range(min = 1, max = 64))]
    pub bulk_in_flight_max: usize,
    /// Primary shards of a new index.
    #[schemars(range(min = 1, max = 1024))]
    pub shards: u32,
    /// Replicas of a new index.
    #[schemars(range(max = 64))]
    pub replicas: u32,
    /// `index.mapping.total_fields.limit` of new indices.
    #[schemars(range(min = 100, max = 1000000))]
    pub total_fields_max: u32,
}

impl Default for SinkConfig {
    fn default() -> Self {
        SinkConfig {
            url: None,
            user: None,
            bulk_documents_max: 1000,
            bulk_bytes_max: 8 << 20,
            bulk_wait_ms: 200,
            bulk_in_flight_max: 4,
            shards: 1,
            replicas: 0,
            total_fields_max: 4000,
        }
    }
}

/// The index for one machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EmbeddedConfig {
    /// Address to listen on.
    #[schemars(extend("format" = schema::SOCKET_ADDRESS))]
    pub listen: SocketAddr,
    /// Memory for documents that are not yet written, in MiB, for all indices together.
    #[schemars(range(min = 16, max = 65536))]
    pub writer_mib: usize,
    /// Longest time from a document's acknowledgement to its first appearance in a search, in milliseconds.
    #[schemars(range(min = 50, max = 600000))]
    pub refresh_ms: u64,
}

impl Default for EmbeddedConfig {
    fn default() -> Self {
        EmbeddedConfig { listen: SocketAddr::from(([127, 0, 0, 1], 9200)), writer_mib: 32, refresh_ms: 1000 }
    }
}

/// Metrics, health and commands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AdminConfig {
    /// Address to listen on.
    #[schemars(extend("format" = schema::SOCKET_ADDRESS))]
    pub listen: SocketAddr,
    /// What the listener answers. `health` must be written out for an address beyond loopback.
    pub serves: AdminServes,
}

impl Default for AdminConfig {
    fn default() -> Self {
        AdminConfig { listen: SocketAddr::from(([127, 0, 0, 1], 9600)), serves: AdminServes::Everything }
    }
}

/// What the admin listener answers. It asks nobody for a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AdminServes {
    /// Metrics, health, and events, alerts and dead letters to whoever asks: on loopback only.
    Everything,
    /// Metrics, health and readiness alone: for probes and Prometheus.
    Health,
}
