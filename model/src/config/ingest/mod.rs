//! Ways in: one file and one key an input. An input that is not in the configuration does not run, but for the HTTP
//! gateway.

mod amqp;
mod http;
mod sqs;
mod tls;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::amqp::{AmqpConfig, AmqpTls, ExchangeKind, QueueKind, WithoutMessageId};
pub use self::http::{
    Auth, ElasticsearchConfig, GithubConfig, HttpConfig, Product, ProxiesConfig, ProxyProtocol, QuotaConfig,
    SourceConfig,
};
pub use self::tls::{ClientCertificate, TlsConfig};

pub use self::sqs::{SqsConfig, SqsTakes};

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
