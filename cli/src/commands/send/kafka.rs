//! Sends batches to a topic of Kafka, one record a line.
//!
//! In: a batch. Out: nothing but that all of it is in the topic. Never: a password in an address.

use anyhow::{Context, bail};
use bytes::Bytes;
use model::config::{KafkaConfig, KafkaSasl, KafkaTls, SaslMechanism};
use model::headers;
use stream::kafka::sender::Sender;

use super::read::{Batch, Kind};
use super::target::{PASSWORD_VARIABLE, lines};

/// A topic.
pub(crate) struct KafkaSender(Sender);

impl KafkaSender {
    /// Connects. `log`: the log of the configuration, where it is on Kafka.
    pub(crate) async fn connect(to: &str, log: Option<&KafkaConfig>) -> anyhow::Result<KafkaSender> {
        let (cluster, topic) = address(to, log)?;
        let sender = Sender::connect(&cluster, &topic).await;
        Ok(KafkaSender(sender.with_context(|| format!("cannot send to {to}"))?))
    }

    /// Sends a batch; back when all of it is acknowledged.
    pub(crate) async fn post(&self, batch: &Batch) -> anyhow::Result<()> {
        let values: Vec<Bytes> = lines(&batch.body).map(Bytes::copy_from_slice).collect();
        let media_type = match batch.kind {
            Kind::Json => "application/json",
            Kind::Syslog => headers::MEDIA_SYSLOG,
        };
        Ok(self.0.send(&values, &[(headers::CONTENT_TYPE, media_type)]).await?)
    }
}

/// Cluster and topic of `kafka://[USER@]HOST:PORT[,HOST:PORT…]/TOPIC?tls=true&ca_file=FILE&mechanism=scram-sha-512`.
/// Without hosts they are those of `log.kafka`, with its security; without a topic it is where raw events go.
fn address(to: &str, log: Option<&KafkaConfig>) -> anyhow::Result<(KafkaConfig, String)> {
    let rest = to.strip_prefix("kafka://").unwrap_or(to);
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (hosts, topic) = place.split_once('/').unwrap_or((place, ""));
    let mut cluster = match (hosts, log) {
        ("", Some(log)) => log.clone(),
        ("", None) => {
            bail!(
                "{to} names no broker, and the configuration has no log.kafka; write kafka://HOST:PORT/TOPIC"
            )
        }
        _ => KafkaConfig::default(),
    };
    if !hosts.is_empty() {
        let (user, hosts) = hosts.rsplit_once('@').map_or((None, hosts), |(user, hosts)| (Some(user), hosts));
        cluster.brokers = hosts.split(',').map(str::to_owned).collect();
        if let Some(user) = user {
            if user.contains(':') {
                bail!(
                    "a password in an address can be read by everybody on this machine: put it into ${PASSWORD_VARIABLE}"
                );
            }
            cluster.sasl = Some(KafkaSasl {
                username: user.to_owned(),
                password_env: Some(PASSWORD_VARIABLE.to_owned()),
                ..KafkaSasl::default()
            });
        }
    }
    for (key, value) in url::form_urlencoded::parse(query.as_bytes()) {
        match (&*key, &*value) {
            ("tls", "true") => drop(cluster.tls.get_or_insert_with(KafkaTls::default)),
            ("tls", "false") => cluster.tls = None,
            ("ca_file", file) => cluster.tls.get_or_insert_default().ca_file = Some(file.into()),
            ("mechanism", name) => {
                let sasl = cluster.sasl.as_mut();
                sasl.context("a mechanism needs a user: kafka://USER@HOST:PORT/TOPIC")?.mechanism =
                    mechanism(name)?;
            }
            _ => bail!("{to}: `{key}={value}` is not known; use tls=true, ca_file=FILE or mechanism=NAME"),
        }
    }
    let topic = match topic {
        "" => cluster.topic_name(model::topic::Topic::Raw),
        topic => topic.to_owned(),
    };
    Ok((cluster, topic))
}

fn mechanism(name: &str) -> anyhow::Result<SaslMechanism> {
    Ok(match name.to_ascii_lowercase().as_str() {
        "plain" => SaslMechanism::Plain,
        "scram-sha-256" => SaslMechanism::ScramSha256,
        "scram-sha-512" => SaslMechanism::ScramSha512,
        _ => bail!("mechanism {name} is not known here; use plain, scram-sha-256 or scram-sha-512"),
    })
}

#[cfg(test)]
mod tests {
    use model::config::{KafkaConfig, SaslMechanism};

    use super::address;

    #[test]
    fn addresses_of_clusters() {
        let (cluster, topic) =
            address("kafka://me@a:1,b:2/apps?ca_file=/ca.pem&mechanism=SCRAM-SHA-256", None).unwrap();
        assert_eq!((&cluster.brokers[..], &*topic), (&["a:1".to_owned(), "b:2".to_owned()][..], "apps"));
        let sasl = cluster.sasl.unwrap();
        assert_eq!((&*sasl.username, sasl.mechanism), ("me", SaslMechanism::ScramSha256));
        assert!(cluster.tls.is_some_and(|tls| tls.ca_file.is_some()));
        let log = KafkaConfig {
            brokers: vec!["k:9".to_owned()],
            prefix: "x.".to_owned(),
            ..KafkaConfig::default()
        };
        let (own, topic) = address("kafka://", Some(&log)).unwrap();
        assert_eq!((&own.brokers[..], &*topic), (&["k:9".to_owned()][..], "x.raw"));
        assert_eq!(address("kafka://a:1", Some(&log)).unwrap().1, "mozdef.raw");
        for (wrong, told) in [
            ("kafka:///t", "log.kafka"),
            ("kafka://me:secret@a:1/t", "MOZDEF_PASSWORD"),
            ("kafka://a:1/t?mechanism=plain", "needs a user"),
            ("kafka://me@a:1/t?mechanism=x", "not known here"),
            ("kafka://a:1/t?x=y", "`x=y` is not known"),
        ] {
            let error = address(wrong, None).unwrap_err().to_string();
            assert!(error.contains(told), "{wrong}: {error}");
        }
    }
}
