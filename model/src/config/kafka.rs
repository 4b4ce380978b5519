//! The configuration's section `log.kafka`: brokers, names, groups, security,
//! and what the topics are like.
//!
//! In: the section's text. Out: [`KafkaConfig`], and what is wrong with it.
//! Never: a secret; files and variables that hold one are named.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::topic::Topic;

/// The log on Apache Kafka (4.0 or later; 3.x works with the classic group protocol).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct KafkaConfig {
    /// Brokers to begin with, as `host:port`; the others are learnt from them.
    pub brokers: Vec<String>,
    /// Stands before the names of topics (`mozdef.` gives `mozdef.raw`), and, where it is not the default, of groups and
    /// transactional ids. Two systems on one cluster need two prefixes.
    pub prefix: String,
    /// Name of this instance, distinct among the instances of a stage and the same after a restart;
    /// `$MOZDEF_INSTANCE`, else the machine's name, when empty.
    pub instance: String,
    /// How groups share partitions.
    pub group_protocol: GroupProtocol,
    /// Compression of what is produced.
    pub compression: Compression,
    /// Memory for records on their way to the brokers, in MiB, for each producer.
    #[schemars(range(min = 16, max = 2048))]
    pub produce_buffer_mib: u32,
    /// Memory for records read ahead, in MiB, for each consumer.
    #[schemars(range(min = 16, max = 2048))]
    pub fetch_buffer_mib: u32,
    /// Encryption; none when absent.
    pub tls: Option<KafkaTls>,
    /// Login; none when absent.
    pub sasl: Option<KafkaSasl>,
    /// What `mozdef topics apply` makes of each topic.
    pub topics: TopicsConfig,
}

impl Default for KafkaConfig {
    fn default() -> Self {
        KafkaConfig {
            brokers: Vec::new(),
            prefix: Self::PREFIX.to_owned(),
            instance: String::new(),
            group_protocol: GroupProtocol::Auto,
            compression: Compression::Zstd,
            produce_buffer_mib: 64,
            fetch_buffer_mib: 64,
            tls: None,
            sasl: None,
            topics: TopicsConfig::default(),
        }
    }
}

impl KafkaConfig {
    /// The default of [`KafkaConfig::prefix`].
    pub const PREFIX: &'static str = "mozdef.";

    /// The name of a topic on the cluster.
    pub fn topic_name(&self, topic: Topic) -> String {
        format!("{}{}", self.prefix, short_name(topic))
    }

    /// The topic of a name on the cluster.
    pub fn topic_of(&self, name: &str) -> Option<Topic> {
        let short = name.strip_prefix(self.prefix.as_str())?;
        Topic::ALL.into_iter().find(|topic| short_name(*topic) == short)
    }

    /// The name of a consumer group on the cluster: as it is with the default prefix, else behind the prefix.
    pub fn group_name(&self, group: &str) -> String {
        if self.prefix == Self::PREFIX { group.to_owned() } else { format!("{}{group}", self.prefix) }
    }

    /// What a topic is to be like: its own settings, else those of all topics.
    pub fn topic_settings(&self, topic: Topic) -> TopicSettings {
        let own = self.topics.by_topic.get(short_name(topic)).cloned().unwrap_or_default();
        let all = &self.topics;
        TopicSettings {
            partitions: own.partitions.unwrap_or(all.partitions),
            replication: own.replication.unwrap_or(all.replication),
            retention_hours: own.retention_hours.unwrap_or(all.retention_hours),
            retention_mib: own.retention_mib.or(all.retention_mib),
        }
    }

    /// What is wrong with the values: key below `log.kafka` (empty for the section), what, remedy.
    pub(super) fn mistakes(&self) -> Vec<(String, String, String)> {
        let mut found = Found(Vec::new());
        self.check_names(&mut found);
        self.check_topics(&mut found);
        if let Some(tls) = &self.tls
            && tls.certificate_file.is_some() != tls.key_file.is_some()
        {
            found.add(
                "tls",
                "a certificate needs its key, and a key its certificate",
                "give both or neither",
            );
        }
        if let Some(sasl) = &self.sasl {
            sasl.check(&mut found);
        }
        found.0
    }

    fn check_names(&self, found: &mut Found) {
        if self.brokers.is_empty() {
            found.add("brokers", "no broker is named", "give at least one as host:port");
        }
        for (index, broker) in self.brokers.iter().enumerate() {
            let parts = broker.rsplit_once(':');
            let is_sound = parts.is_some_and(|(host, port)| {
                !host.is_empty()
                    && !broker.contains([',', '/', ' '])
                    && port.parse::<u16>().is_ok_and(|p| p > 0)
            });
            if !is_sound {
                let what = format!("`{broker}` is not host:port");
                found.add(&format!("brokers[{index}]"), what, "write it as in `kafka-1.example.org:9092`");
            }
        }
        let is_word =
            |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'));
        if self.prefix.is_empty() || self.prefix.len() > 100 || !is_word(&self.prefix) {
            found.add(
                "prefix",
                format!("`{}` cannot begin the names of topics", self.prefix),
                "use 1 to 100 letters, digits, `.`, `-` and `_`",
            );
        }
        if self.instance.len() > 100 || !is_word(&self.instance) {
            found.add(
                "instance",
                format!("`{}` cannot be the name of an instance", self.instance),
                "use at most 100 letters, digits, `.`, `-` and `_`",
            );
        }
    }

    fn check_topics(&self, found: &mut Found) {
        for name in self.topics.by_topic.keys() {
            if !Topic::ALL.into_iter().any(|topic| short_name(topic) == name) {
                let all: Vec<&str> = Topic::ALL.into_iter().map(short_name).collect();
                let what = format!("there is no topic `{name}`");
                found.add(&format!("topics.by_topic.{name}"), what, format!("use one of {}", all.join(", ")));
            }
        }
        for (one, other) in [(Topic::Raw, Topic::Events), (Topic::Matches, Topic::Windows)] {
            let (a, b) = (self.topic_settings(one).partitions, self.topic_settings(other).partitions);
            if a != b {
                let (one, other) = (short_name(one), short_name(other));
                found.add(
                    "topics.by_topic",
                    format!("`{one}` has {a} partitions and `{other}` has {b}"),
                    "give both the same: partition p of the one belongs to partition p of the other",
                );
            }
        }
    }
}

/// The name without `mozdef.`, as topics are called in the configuration.
fn short_name(topic: Topic) -> &'static str {
    let name = topic.name();
    name.strip_prefix("mozdef.").unwrap_or(name)
}

struct Found(Vec<(String, String, String)>);

impl Found {
    fn add(&mut self, key: &str, what: impl Into<String>, remedy: impl Into<String>) {
        self.0.push((key.to_owned(), what.into(), remedy.into()));
    }
}

/// How groups share partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum GroupProtocol {
    /// `consumer` where the brokers have it, else `classic`.
    Auto,
    /// The protocol of Kafka 4 (KIP-848): the broker assigns, members are not stopped.
    Consumer,
    /// The one before it, with the cooperative-sticky assignor.
    Classic,
}

/// Compression of what is produced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Smallest; the cost of CPU is low.
    Zstd,
    /// Fastest.
    Lz4,
    /// None.
    None,
}

/// Encryption between us and the brokers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct KafkaTls {
    /// Certificates (PEM) of the authorities that are trusted; those of the system when absent.
    pub ca_file: Option<PathBuf>,
    /// Our own certificate (PEM), where the brokers ask for one.
    pub certificate_file: Option<PathBuf>,
    /// Its key (PEM).
    pub key_file: Option<PathBuf>,
}

/// Login to the brokers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct KafkaSasl {
    /// How to log in.
    pub mechanism: SaslMechanism,
    /// User name, for `plain` and `scram_…`.
    pub username: String,
    /// File that holds the password.
    pub password_file: Option<PathBuf>,
    /// Environment variable that holds the password.
    pub password_env: Option<String>,
    /// Address that gives tokens for `oauthbearer` (OAuth 2 client credentials).
    pub token_endpoint: Option<String>,
    /// Client id, for `oauthbearer`.
    pub client_id: String,
    /// File that holds the client's secret.
    pub client_secret_file: Option<PathBuf>,
    /// Environment variable that holds the client's secret.
    pub client_secret_env: Option<String>,
    /// Scope asked for, for `oauthbearer`.
    pub scope: Option<String>,
}

impl Default for KafkaSasl {
    fn default() -> Self {
        KafkaSasl {
            mechanism: SaslMechanism::ScramSha512,
            username: String::new(),
            password_file: None,
            password_env: None,
            token_endpoint: None,
            client_id: String::new(),
            client_secret_file: None,
            client_secret_env: None,
            scope: None,
        }
    }
}

impl KafkaSasl {
    fn check(&self, found: &mut Found) {
        let one_of = |file: &Option<PathBuf>, env: &Option<String>| file.is_some() != env.is_some();
        match self.mechanism {
            SaslMechanism::Plain | SaslMechanism::ScramSha256 | SaslMechanism::ScramSha512 => {
                if self.username.is_empty() {
                    found.add("sasl.username", "no user name is given", "give one, or use `oauthbearer`");
                }
                if !one_of(&self.password_file, &self.password_env) {
                    let remedy = "give either `password_file` or `password_env`";
                    found.add("sasl", "the password has no place, or two", remedy);
                }
            }
            SaslMechanism::Oauthbearer => {
                if self.token_endpoint.is_none() || self.client_id.is_empty() {
                    let remedy = "give `token_endpoint` and `client_id`";
                    found.add("sasl", "it is not said where tokens come from", remedy);
                }
                if !one_of(&self.client_secret_file, &self.client_secret_env) {
                    let remedy = "give either `client_secret_file` or `client_secret_env`";
                    found.add("sasl", "the client's secret has no place, or two", remedy);
                }
            }
        }
    }
}

/// How to log in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SaslMechanism {
    /// User and password as they are: readable on the way unless `tls` is there.
    Plain,
    /// SCRAM-SHA-256.
    #[serde(rename = "scram_sha_256")]
    ScramSha256,
    /// SCRAM-SHA-512.
    #[serde(rename = "scram_sha_512")]
    ScramSha512,
    /// OAuth 2 tokens.
    Oauthbearer,
}

/// What `mozdef topics apply` makes of each topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TopicsConfig {
    /// Partitions. May grow, never shrink; those of `matches` and `windows` never change.
    #[schemars(range(min = 1, max = 1000))]
    pub partitions: u32,
    /// Copies of each partition.
    #[schemars(range(min = 1, max = 15))]
    pub replication: u16,
    /// Largest age of records in topics cleaned by time, in hours.
    #[schemars(range(min = 1, max = 87600))]
    pub retention_hours: u64,
    /// Largest size of one partition in topics cleaned by time, in MiB; no bound when absent.
    #[schemars(range(min = 1))]
    pub retention_mib: Option<u64>,
    /// What differs, by topic: `raw`, `events`, `matches`, `windows`, `alerts`, `late`, `dead`, `control`.
    pub by_topic: BTreeMap<String, TopicOverride>,
}

impl Default for TopicsConfig {
    fn default() -> Self {
        TopicsConfig {
            partitions: 6,
            replication: 3,
            retention_hours: 72,
            retention_mib: None,
            by_topic: BTreeMap::new(),
        }
    }
}

/// What differs for one topic.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TopicOverride {
    /// Partitions.
    #[schemars(range(min = 1, max = 1000))]
    pub partitions: Option<u32>,
    /// Copies of each partition.
    #[schemars(range(min = 1, max = 15))]
    pub replication: Option<u16>,
    /// Largest age of records, in hours.
    #[schemars(range(min = 1, max = 87600))]
    pub retention_hours: Option<u64>,
    /// Largest size of one partition, in MiB.
    #[schemars(range(min = 1))]
    pub retention_mib: Option<u64>,
}

/// What one topic is to be like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicSettings {
    /// Partitions.
    pub partitions: u32,
    /// Copies of each partition.
    pub replication: u16,
    /// Largest age of records in hours, where the topic is cleaned by time.
    pub retention_hours: u64,
    /// Largest size of one partition in MiB, where the topic is cleaned by time.
    pub retention_mib: Option<u64>,
}

#[cfg(test)]
mod tests {
    use crate::config::Config;
    use crate::topic::Topic;

    #[track_caller]
    fn check(section: &str, expected: &[&str]) {
        let yaml = format!("log:\n  kafka: {section}\n");
        let got: Vec<String> = match Config::from_yaml(&yaml) {
            Ok(_) => Vec::new(),
            Err(errors) => errors.iter().map(ToString::to_string).collect(),
        };
        assert_eq!(got, expected, "{yaml}");
    }

    #[test]
    fn sound_sections_have_no_mistakes() {
        check("{brokers: ['a:9092', '[::1]:9092']}", &[]);
        check("{brokers: ['a:1'], tls: {ca_file: /ca}, sasl: {username: u, password_env: P}}", &[]);
        check("{brokers: ['a:1'], group_protocol: classic, compression: lz4, tls: {}}", &[]);
        check(
            "{brokers: ['a:1'], topics: {replication: 1, by_topic: {raw: {partitions: 9}, events: {partitions: 9}}}}",
            &[],
        );
        check(
            "{brokers: ['a:1'], sasl: {mechanism: oauthbearer, token_endpoint: 'http://x', client_id: c, client_secret_file: /s}}",
            &[],
        );
    }

    #[test]
    fn mistakes_are_told_with_the_remedy() {
        check("{}", &["2:3: log.kafka.brokers: no broker is named; give at least one as host:port"]);
        check(
            "{brokers: [a], prefix: 'x y'}",
            &[
                "2:11: log.kafka.brokers[0]: `a` is not host:port; write it as in `kafka-1.example.org:9092`",
                "2:25: log.kafka.prefix: `x y` cannot begin the names of topics; use 1 to 100 letters, digits, `.`, `-` \
                 and `_`",
            ],
        );
        check(
            "{brokers: ['a:1'], sasl: {password_env: P, password_file: /p}}",
            &[
                "2:29: log.kafka.sasl.username: no user name is given; give one, or use `oauthbearer`",
                "2:29: log.kafka.sasl: the password has no place, or two; give either `password_file` or `password_env`",
            ],
        );
        check(
            "{brokers: ['a:1'], topics: {by_topic: {raw: {partitions: 9}, rwa: {}}}}",
            &[
                "2:71: log.kafka.topics.by_topic.rwa: there is no topic `rwa`; use one of raw, events, matches, windows, \
                 alerts, late, dead, control",
                "2:38: log.kafka.topics.by_topic: `raw` has 9 partitions and `events` has 6; give both the same: partition \
                 p of the one belongs to partition p of the other",
            ],
        );
        check(
            "{brokers: ['a:1'], group_protocol: new, tls: {ca: /x}}",
            &[
                "2:45: log.kafka.group_protocol: expected one of `auto`, `consumer`, `classic`, found `new`",
                "2:56: log.kafka.tls.ca: unknown key; known here: ca_file, certificate_file, key_file",
            ],
        );
    }

    #[test]
    fn names_carry_the_prefix() {
        let yaml = "log: {kafka: {brokers: ['a:1'], prefix: 'blue.', topics: {by_topic: {dead: {retention_hours: 9}}}}}";
        let config = Config::from_yaml(yaml).unwrap().log.kafka.unwrap();
        assert_eq!(
            (config.topic_name(Topic::Raw), config.group_name("g")),
            ("blue.raw".into(), "blue.g".into())
        );
        assert_eq!(config.topic_of("blue.dead"), Some(Topic::Dead));
        assert_eq!((config.topic_of("mozdef.dead"), config.topic_of("blue.other")), (None, None));
        assert_eq!(config.topic_settings(Topic::Dead).retention_hours, 9);
        let plain = super::KafkaConfig::default();
        assert_eq!((plain.topic_name(Topic::Raw), plain.group_name("g")), ("mozdef.raw".into(), "g".into()));
    }
}
