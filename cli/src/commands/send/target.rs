//! Where `mozdef send` sends to: a gateway, a queue that a bridge takes from, a topic of Kafka, or a syslog listener.
//!
//! In: an address and batches. Out: how many events are safe there. Never: a password in an address, which every process
//! of the machine can read.

use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, bail};
use ingest::{amqp, sqs};
use model::config::{AmqpConfig, AmqpTls, KafkaConfig, SqsConfig};
use model::ids::EventId;
use model::time::Clock;
use url::Url;

use super::kafka::KafkaSender;
use super::post::{Posted, Poster};
use super::read::{Batch, Kind};
use super::syslog::{self, SyslogSender};

/// Environment variable with the password of a broker.
pub(super) const PASSWORD_VARIABLE: &str = "MOZDEF_PASSWORD";

/// Where batches go.
pub(crate) enum Target {
    /// A gateway, by HTTP.
    Gateway(Poster),
    /// An exchange of RabbitMQ.
    Amqp(Box<Queue<amqp::Publisher>>),
    /// A queue of SQS.
    Sqs(Box<Queue<sqs::Sender>>),
    /// A topic of Kafka.
    Kafka(KafkaSender),
    /// A syslog listener.
    Syslog(SyslogSender),
}

/// A queue, and a number for each message of this run.
pub(crate) struct Queue<S> {
    sender: S,
    run: String,
    next: AtomicU64,
}

impl<S> Queue<S> {
    fn new(sender: S) -> Queue<S> {
        let seed = format!("{}/{}", std::process::id(), Clock::System.now().micros());
        let run = EventId::from_client("send", "run", seed.as_bytes(), 0).to_string();
        Queue { sender, run, next: AtomicU64::new(0) }
    }
}

impl Target {
    /// By the scheme of an address: `http(s)`, `amqp(s)`, `sqs`, `kafka`, `syslog`, `syslog+tls`, `syslog+udp`. `log`: the
    /// log of the configuration, where it is on Kafka.
    pub(crate) async fn new(to: &str, log: Option<&KafkaConfig>, backfill: bool) -> anyhow::Result<Target> {
        let Some((scheme, _)) = to.split_once("://") else {
            return Ok(Target::Gateway(Poster::new(to, backfill)?));
        };
        if matches!(scheme, "amqp" | "amqps" | "sqs" | "kafka") && backfill {
            bail!("--backfill is for gateways: a message of a queue or topic cannot carry it");
        }
        if syslog::is_syslog(to) {
            if backfill {
                bail!("--backfill is for gateways: syslog has no place for the mark");
            }
            return Ok(Target::Syslog(SyslogSender::connect(to).await?));
        }
        match scheme {
            "amqp" | "amqps" => {
                let publisher = amqp::Publisher::connect(amqp_config(to)?).await;
                Ok(Target::Amqp(Box::new(Queue::new(
                    publisher.with_context(|| format!("cannot send to {to}"))?,
                ))))
            }
            "kafka" => Ok(Target::Kafka(KafkaSender::connect(to, log).await?)),
            "sqs" => {
                let sender = sqs::Sender::connect(&sqs_config(to)?).await;
                Ok(Target::Sqs(Box::new(Queue::new(sender.with_context(|| format!("cannot send to {to}"))?))))
            }
            _ => Ok(Target::Gateway(Poster::new(to, backfill)?)),
        }
    }

    /// Sends a batch until it is safe or refused.
    pub(crate) async fn post(&self, batch: &Batch) -> anyhow::Result<Posted> {
        match self {
            Target::Gateway(poster) => return poster.post(batch).await,
            Target::Syslog(sender) => return sender.post(batch).await,
            Target::Kafka(sender) => sender.post(batch).await?,
            Target::Amqp(queue) => {
                let media_type = match batch.kind {
                    Kind::Json => "application/json",
                    Kind::Syslog => model::headers::MEDIA_SYSLOG,
                };
                let message = |line: &[u8]| {
                    let number = queue.next.fetch_add(1, Ordering::Relaxed);
                    (format!("{}-{number}", queue.run), line.to_vec())
                };
                let messages: Vec<(String, Vec<u8>)> = lines(&batch.body).map(message).collect();
                queue.sender.send_as(media_type, &messages).await?;
            }
            Target::Sqs(queue) => {
                if batch.kind == Kind::Syslog {
                    bail!("SQS takes JSON; send lines of syslog to a gateway or to RabbitMQ");
                }
                let text = |line: &[u8]| String::from_utf8(line.to_vec()).context("SQS takes UTF-8 only");
                queue.sender.send(&lines(&batch.body).map(text).collect::<anyhow::Result<Vec<_>>>()?).await?;
            }
        }
        Ok(Posted { accepted: batch.count, errors: Vec::new() })
    }

    /// Ends it, once all was sent.
    pub(crate) async fn close(&self) -> anyhow::Result<()> {
        match self {
            Target::Syslog(sender) => sender.close().await,
            Target::Gateway(_) | Target::Amqp(_) | Target::Sqs(_) | Target::Kafka(_) => Ok(()),
        }
    }
}

/// The lines of a batch that are not empty.
pub(super) fn lines(body: &[u8]) -> impl Iterator<Item = &[u8]> {
    body.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty())
}

/// `amqp://USER@HOST:PORT/VHOST?exchange=E&queue=Q&routing_key=K`; everything but the host has MozDef's default.
fn amqp_config(to: &str) -> anyhow::Result<AmqpConfig> {
    let url = Url::parse(to)
        .with_context(|| format!("{to} is no address such as amqp://rabbit.example.org:5672"))?;
    if url.password().is_some() {
        bail!(
            "a password in an address can be read by everybody on this machine: put it into ${PASSWORD_VARIABLE}"
        );
    }
    let is_secure = url.scheme() == "amqps";
    let host = url.host_str().context("the address has no host")?;
    let port = url.port().unwrap_or(if is_secure { 5671 } else { 5672 });
    let mut config = AmqpConfig { servers: vec![format!("{host}:{port}")], ..AmqpConfig::default() };
    config.password_env = std::env::var_os(PASSWORD_VARIABLE).map(|_| PASSWORD_VARIABLE.to_owned());
    config.tls = is_secure.then(AmqpTls::default);
    if !url.username().is_empty() {
        config.username = url.username().to_owned();
    }
    if let Some(vhost) = url.path().strip_prefix('/').filter(|vhost| !vhost.is_empty()) {
        config.vhost = vhost.replace("%2f", "/").replace("%2F", "/");
    }
    for (key, value) in url.query_pairs() {
        let value = value.into_owned();
        match &*key {
            "exchange" => config.exchange = value,
            "queue" => config.queue = value,
            "routing_key" => config.routing_keys = vec![value],
            "ca_file" => config.tls.get_or_insert_default().ca_file = Some(value.into()),
            _ => bail!("{to}: `{key}` is not known; use exchange, queue, routing_key or ca_file"),
        }
    }
    Ok(config)
}

/// `sqs://HOST/ACCOUNT/QUEUE?region=R&endpoint=URL`, or `sqs://QUEUE` for one of the account of the credentials.
fn sqs_config(to: &str) -> anyhow::Result<SqsConfig> {
    let rest = to.strip_prefix("sqs://").unwrap_or(to);
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    let mut config = SqsConfig::default();
    for (key, value) in url::form_urlencoded::parse(query.as_bytes()) {
        match &*key {
            "region" => config.region = Some(value.into_owned()),
            "endpoint" => config.endpoint = Some(value.into_owned()),
            _ => bail!("{to}: `{key}` is not known; use region or endpoint"),
        }
    }
    let is_plain = config.endpoint.as_ref().is_some_and(|endpoint| endpoint.starts_with("http://"));
    config.queue = match place.contains('/') {
        true => format!("{}://{place}", if is_plain { "http" } else { "https" }),
        false => place.to_owned(),
    };
    if config.queue_name().is_empty() {
        bail!("{to} names no queue; write it as in sqs://sqs.eu-central-1.amazonaws.com/123456789012/events");
    }
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::{amqp_config, sqs_config};

    #[test]
    fn addresses_of_brokers() {
        let config =
            amqp_config("amqps://me@rabbit.example.org/%2Fv?exchange=e&routing_key=k&queue=q").unwrap();
        assert_eq!(config.servers, ["rabbit.example.org:5671"]);
        assert_eq!((&*config.username, &*config.vhost, config.tls.is_some()), ("me", "/v", true));
        assert_eq!(
            (&*config.exchange, &*config.queue, &config.routing_keys[..]),
            ("e", "q", &["k".to_owned()][..])
        );
        let plain = amqp_config("amqp://127.0.0.1").unwrap();
        assert_eq!(
            (&*plain.servers[0], &*plain.vhost, &*plain.exchange),
            ("127.0.0.1:5672", "/", "eventtask")
        );
        assert!(amqp_config("amqp://me:secret@h").unwrap_err().to_string().contains("MOZDEF_PASSWORD"));
        assert!(amqp_config("amqp://h?x=y").unwrap_err().to_string().contains("`x` is not known"));
    }

    #[test]
    fn addresses_of_queues() {
        let config = sqs_config("sqs://sqs.eu-central-1.amazonaws.com/1/events").unwrap();
        assert_eq!(config.queue, "https://sqs.eu-central-1.amazonaws.com/1/events");
        let own = sqs_config("sqs://127.0.0.1:5000/1/q?endpoint=http://127.0.0.1:5000&region=r").unwrap();
        assert_eq!((&*own.queue, own.region.as_deref()), ("http://127.0.0.1:5000/1/q", Some("r")));
        assert_eq!(sqs_config("sqs://events").unwrap().queue, "events");
        assert!(sqs_config("sqs://").is_err());
    }
}
