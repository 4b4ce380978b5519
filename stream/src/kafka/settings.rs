//! The client's settings: addresses, security, and what differs by use.
//!
//! In: the configuration's section. Out: librdkafka's settings. Never: a
//! secret in an error or a log line.

use model::config::{Compression, KafkaConfig, KafkaSasl, SaslMechanism};
use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;

use crate::log::DEAD_RECORD_BYTES_MAX;
use crate::secret::{self, SecretError};

/// Largest request: the largest record with all that goes around it.
const MESSAGE_BYTES_MAX: usize = DEAD_RECORD_BYTES_MAX + (1 << 20);
/// Time between two statistics, in milliseconds.
const STATISTICS_MS: u32 = 1000;
/// How long a member may be silent before its partitions go to others, in milliseconds (classic protocol).
const SESSION_MS: u32 = 10_000;
/// How long a transaction may be open, in milliseconds.
const TRANSACTION_MS: u32 = 10_000;
/// How long the gateway's records may be under way, in milliseconds; below the gateway's own patience.
const MESSAGE_MS: u32 = 8_000;

/// Why the settings cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A secret cannot be read.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// librdkafka refuses them.
    #[error("the Kafka client cannot be made: {0}")]
    Client(String),
}

/// Addresses and security: enough for an admin client.
pub(super) fn base(config: &KafkaConfig, instance: &str) -> Result<ClientConfig, SettingsError> {
    let mut client = ClientConfig::new();
    client
        .set("bootstrap.servers", config.brokers.join(","))
        .set("client.id", format!("mozdef-{instance}"))
        .set("client.software.name", "mozdef")
        .set("socket.keepalive.enable", "true")
        .set("socket.timeout.ms", "10000")
        .set("socket.connection.setup.timeout.ms", "5000")
        .set("reconnect.backoff.ms", "50")
        .set("reconnect.backoff.max.ms", "1000")
        .set("message.max.bytes", MESSAGE_BYTES_MAX.to_string())
        // A topic that was made after we began to look is seen soon.
        .set("topic.metadata.refresh.fast.interval.ms", "250")
        .set_log_level(RDKafkaLogLevel::Info);
    let protocol = match (&config.tls, &config.sasl) {
        (None, None) => "plaintext",
        (Some(_), None) => "ssl",
        (None, Some(_)) => "sasl_plaintext",
        (Some(_), Some(_)) => "sasl_ssl",
    };
    client.set("security.protocol", protocol);
    if let Some(tls) = &config.tls {
        let files = [
            ("ssl.ca.location", &tls.ca_file),
            ("ssl.certificate.location", &tls.certificate_file),
            ("ssl.key.location", &tls.key_file),
        ];
        for (key, file) in files {
            if let Some(file) = file {
                client.set(key, file.display().to_string());
            }
        }
        if tls.ca_file.is_none() {
            client.set("ssl.ca.location", "probe");
        }
    }
    if let Some(sasl) = &config.sasl {
        log_in(&mut client, sasl)?;
    }
    Ok(client)
}

fn log_in(client: &mut ClientConfig, sasl: &KafkaSasl) -> Result<(), SettingsError> {
    let mechanism = match sasl.mechanism {
        SaslMechanism::Plain => "PLAIN",
        SaslMechanism::ScramSha256 => "SCRAM-SHA-256",
        SaslMechanism::ScramSha512 => "SCRAM-SHA-512",
        // The token comes from `token.rs`.
        SaslMechanism::Oauthbearer => {
            client.set("sasl.mechanism", "OAUTHBEARER");
            return Ok(());
        }
    };
    let password =
        secret::needed("the password", sasl.password_file.as_deref(), sasl.password_env.as_deref())?;
    client
        .set("sasl.mechanism", mechanism)
        .set("sasl.username", &sasl.username)
        .set("sasl.password", password);
    Ok(())
}

fn produce(client: &mut ClientConfig, config: &KafkaConfig) {
    let compression = match config.compression {
        Compression::Zstd => "zstd",
        Compression::Lz4 => "lz4",
        Compression::None => "none",
    };
    let buffer_kib = config.produce_buffer_mib.saturating_mul(1024);
    client
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("compression.type", compression)
        .set("queue.buffering.max.kbytes", buffer_kib.to_string())
        .set("queue.buffering.max.messages", "200000")
        .set("batch.size", "1000000")
        .set("statistics.interval.ms", STATISTICS_MS.to_string());
    if config.compression == Compression::Zstd {
        client.set("compression.level", "1");
    }
}

/// For outside → log: acknowledged by all replicas, once.
pub(super) fn gateway(base: &ClientConfig, config: &KafkaConfig) -> ClientConfig {
    let mut client = base.clone();
    produce(&mut client, config);
    client.set("linger.ms", "2").set("message.timeout.ms", MESSAGE_MS.to_string());
    client
}

/// For the commits of one member of a group.
pub(super) fn transactional(base: &ClientConfig, config: &KafkaConfig, id: &str) -> ClientConfig {
    let mut client = base.clone();
    produce(&mut client, config);
    client
        .set("transactional.id", id)
        .set("transaction.timeout.ms", TRANSACTION_MS.to_string())
        // Every commit flushes; until then records gather.
        .set("linger.ms", "5");
    client
}

/// For looking: offsets, and reading outside of any group.
pub(super) fn reader(base: &ClientConfig, group: &str, isolation: &str) -> ClientConfig {
    let mut client = base.clone();
    client
        .set("group.id", group)
        .set("isolation.level", isolation)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("enable.partition.eof", "true")
        .set("auto.offset.reset", "earliest")
        .set("allow.auto.create.topics", "false")
        .set("fetch.wait.max.ms", "10")
        .set("fetch.message.max.bytes", "1048576")
        .set("fetch.max.bytes", MESSAGE_BYTES_MAX.to_string())
        .set("receive.message.max.bytes", (MESSAGE_BYTES_MAX + (1 << 20)).to_string())
        .set("queued.max.messages.kbytes", "4096");
    client
}

/// For a member of a group. `partitions` of the topic share the buffer.
pub(super) fn member(
    base: &ClientConfig,
    config: &KafkaConfig,
    group: &str,
    partitions: u32,
    protocol: Protocol,
) -> ClientConfig {
    let share_kib = config.fetch_buffer_mib.saturating_mul(1024).checked_div(partitions).unwrap_or(1024);
    let mut client = base.clone();
    client
        .set("group.id", group)
        .set("isolation.level", "read_committed")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        // A reset is made by us, loudly.
        .set("auto.offset.reset", "error")
        .set("allow.auto.create.topics", "false")
        .set("max.poll.interval.ms", "300000")
        .set("fetch.wait.max.ms", "200")
        .set("fetch.error.backoff.ms", "100")
        .set("fetch.message.max.bytes", "1048576")
        .set("fetch.max.bytes", MESSAGE_BYTES_MAX.to_string())
        .set("receive.message.max.bytes", (MESSAGE_BYTES_MAX + (1 << 20)).to_string())
        .set("queued.max.messages.kbytes", share_kib.clamp(1024, 2_097_151).to_string())
        .set("statistics.interval.ms", STATISTICS_MS.to_string());
    match protocol {
        Protocol::Consumer => client.set("group.protocol", "consumer"),
        Protocol::Classic => client
            .set("group.protocol", "classic")
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("session.timeout.ms", SESSION_MS.to_string())
            .set("heartbeat.interval.ms", "1000"),
    };
    client
}

/// How a group is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// KIP-848.
    Consumer,
    /// Cooperative-sticky.
    Classic,
}

#[cfg(test)]
mod tests {
    use model::config::{KafkaConfig, KafkaSasl, KafkaTls, SaslMechanism};

    use super::base;

    #[test]
    fn security_follows_the_sections_that_are_there() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        std::fs::write(&file, "s3cret\n").unwrap();
        let tls = KafkaTls { ca_file: Some("/ca".into()), ..KafkaTls::default() };
        let sasl = KafkaSasl {
            mechanism: SaslMechanism::ScramSha256,
            username: "u".into(),
            password_file: Some(file),
            ..KafkaSasl::default()
        };
        let brokers = vec!["a:1".to_owned(), "b:2".to_owned()];
        let plain = KafkaConfig { brokers, ..KafkaConfig::default() };
        let secure = KafkaConfig { tls: Some(tls), sasl: Some(sasl), ..plain.clone() };
        let client = base(&plain, "i").unwrap();
        assert_eq!(
            (client.get("security.protocol"), client.get("bootstrap.servers")),
            (Some("plaintext"), Some("a:1,b:2"))
        );
        let client = base(&secure, "i").unwrap();
        assert_eq!(client.get("security.protocol"), Some("sasl_ssl"));
        assert_eq!(client.get("sasl.mechanism"), Some("SCRAM-SHA-256"));
        assert_eq!(
            (client.get("sasl.password"), client.get("ssl.ca.location")),
            (Some("s3cret"), Some("/ca"))
        );
    }
}
