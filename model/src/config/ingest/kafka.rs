//! Topics that other programs write, on the log's cluster or on another.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{EventLimits, Mistake};
use crate::config::{KafkaConfig, KafkaSasl, KafkaTls};

/// One consumer of topics that other programs write.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct KafkaSourceConfig {
    /// Topics; one that begins with `^` is a regular expression over the names of topics. Those of MozDef itself are
    /// left out.
    pub topics: Vec<String>,
    /// Brokers to begin with, as `host:port`; those of `log.kafka`, with its `tls` and `sasl`, when empty.
    pub brokers: Vec<String>,
    /// Encryption; none when absent.
    pub tls: Option<KafkaTls>,
    /// Login; none when absent.
    pub sasl: Option<KafkaSasl>,
    /// Name of the consumer group; `mozdef-ingest-` and the name of this source when empty.
    pub group: String,
    /// Where a group that is new to a partition begins.
    pub start: KafkaStart,
    /// What the values are.
    pub format: KafkaFormat,
    /// Endpoint of the events, as of `/custom/<endpoint>` of the gateway; none when empty.
    pub endpoint: String,
    /// Limits of one event.
    pub event: EventLimits,
}

/// Where a group that is new to a partition begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum KafkaStart {
    /// At the oldest record.
    #[default]
    Earliest,
    /// With what comes from now on.
    Latest,
}

/// What values of records are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum KafkaFormat {
    /// JSON: an object, an array of objects, lines, values one after another.
    #[default]
    Json,
    /// Lines of syslog.
    Syslog,
}

impl KafkaSourceConfig {
    /// How its cluster is reached; `None` where neither it nor the log names brokers.
    pub fn cluster(&self, log: Option<&KafkaConfig>) -> Option<KafkaConfig> {
        if self.brokers.is_empty() {
            return log.cloned();
        }
        let (brokers, tls, sasl) = (self.brokers.clone(), self.tls.clone(), self.sasl.clone());
        Some(KafkaConfig { brokers, tls, sasl, ..KafkaConfig::default() })
    }

    /// What is wrong with the values: key below the source's, what, remedy. `log`: the log's Kafka, where it is on one.
    pub(in crate::config) fn mistakes(&self, log: Option<&KafkaConfig>) -> Vec<Mistake> {
        let mut found = Vec::new();
        let mut add = |key: &str, what: String, remedy: &str| {
            found.push((key.to_owned(), what, remedy.to_owned()));
        };
        if self.topics.is_empty() {
            add("topics", "no topic is named".to_owned(), "name one, or give a pattern such as `^audit[.]`");
        }
        let prefix = log.map_or(KafkaConfig::PREFIX, |log| log.prefix.as_str());
        for (index, topic) in self.topics.iter().enumerate() {
            let is_word = topic.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'));
            if !topic.starts_with('^') && (topic.is_empty() || topic.len() > 249 || !is_word) {
                add(
                    &format!("topics[{index}]"),
                    format!("`{topic}` is no name of a topic"),
                    "use letters, digits, `.`, `-` and `_`, or begin a pattern with `^`",
                );
            } else if self.brokers.is_empty() && topic.starts_with(prefix) {
                add(
                    &format!("topics[{index}]"),
                    format!("`{topic}` is a topic of MozDef itself"),
                    "produce to `mozdef.raw` without a source: it is read anyway",
                );
            }
        }
        match self.cluster(log) {
            None => add(
                "brokers",
                "no broker is named, and the log is not on Kafka".to_owned(),
                "give at least one as host:port",
            ),
            // Those of the log are checked there.
            Some(_) if self.brokers.is_empty() => {}
            Some(cluster) => found.extend(cluster.mistakes()),
        }
        found
    }
}
