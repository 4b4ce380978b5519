//! Ways in: one file and one key an input. An input that is not in the configuration does not run, but for the HTTP
//! gateway.

mod amqp;
mod http;
mod kafka;
pub mod networks;
mod papertrail;
mod pubsub;
mod sqs;
mod syslog;
mod tls;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::amqp::{AmqpConfig, AmqpTls, ExchangeKind, QueueKind, WithoutMessageId};
pub use self::http::{
    Auth, ElasticsearchConfig, GithubConfig, HttpConfig, Product, ProxiesConfig, ProxyProtocol, QuotaConfig,
    SourceConfig,
};
pub use self::kafka::{KafkaFormat, KafkaSourceConfig, KafkaStart};
pub use self::papertrail::PapertrailConfig;
pub use self::pubsub::PubSubConfig;
pub use self::sqs::{SqsConfig, SqsTakes};
pub use self::syslog::{SyslogConfig, SyslogTransport};
pub use self::tls::{ClientCertificate, TlsConfig};

use super::KafkaConfig;

/// Ways in.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct IngestConfig {
    /// The HTTP gateway.
    pub http: HttpConfig,
    /// Queues of RabbitMQ, by a name of your own.
    pub amqp: BTreeMap<String, AmqpConfig>,
    /// Queues of Amazon SQS, by a name of your own.
    pub sqs: BTreeMap<String, SqsConfig>,
    /// Topics that other programs write, by a name of your choice.
    pub kafka: BTreeMap<String, KafkaSourceConfig>,
    /// Syslog listeners, by name.
    pub syslog: BTreeMap<String, SyslogConfig>,
    /// Accounts of Papertrail, by name.
    pub papertrail: BTreeMap<String, PapertrailConfig>,
    /// Subscriptions of Google Cloud Pub/Sub, by name.
    pub pubsub: BTreeMap<String, PubSubConfig>,
}

/// What is wrong with a value: its key, what, and the remedy.
pub(super) type Mistake = (String, String, String);

impl IngestConfig {
    /// What is wrong with the values of inputs that have names. `log`: the log's Kafka, where it is on one.
    pub(super) fn mistakes(&self, log: Option<&KafkaConfig>) -> Vec<Mistake> {
        let mut found = Vec::new();
        let mut add = |input: &str, name: &String, mistakes: Vec<Mistake>| {
            let base = format!("ingest.{input}.{name}");
            if name.is_empty() || name.len() > 64 || name.chars().any(|c| c.is_control() || c == '.') {
                let remedy = "use 1 to 64 characters without dots".to_owned();
                found.push((base.clone(), "not a name".to_owned(), remedy));
            }
            for (key, what, remedy) in mistakes {
                found.push((format!("{base}.{key}"), what, remedy));
            }
        };
        self.kafka.iter().for_each(|(name, config)| add("kafka", name, config.mistakes(log)));
        self.syslog.iter().for_each(|(name, config)| add("syslog", name, config.mistakes()));
        self.papertrail.iter().for_each(|(name, config)| add("papertrail", name, config.mistakes()));
        self.pubsub.iter().for_each(|(name, config)| add("pubsub", name, config.mistakes()));
        found
    }
}

/// Whether it is an address that can be asked.
fn is_http(url: &str) -> bool {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    rest.is_some_and(|rest| !rest.is_empty() && !rest.contains(char::is_whitespace))
}

/// Limits of one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EventLimits {
    /// Largest event, in bytes of JSON or text.
    #[schemars(range(min = 1024, max = 134217728))]
    pub bytes_max: usize,
    /// Deepest nesting: objects and arrays around a value. Readers of JSON elsewhere give up at 128.
    #[schemars(range(min = 4, max = 100))]
    pub depth_max: usize,
    /// Most fields, over all levels.
    #[schemars(range(min = 16, max = 1000000))]
    pub fields_max: usize,
}

impl Default for EventLimits {
    fn default() -> Self {
        EventLimits { bytes_max: 1 << 20, depth_max: 64, fields_max: 1000 }
    }
}
