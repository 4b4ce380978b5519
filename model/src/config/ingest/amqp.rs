//! Queues of RabbitMQ, or of another broker that speaks AMQP 0-9-1.
//!
//! In: the text of one entry of `ingest.amqp`. Out: [`AmqpConfig`], and what is wrong with it. Never: a password; the
//! file or variable that holds it is named.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::EventLimits;

/// One queue. The defaults are those of MozDef's event task: queue, exchange and routing key `eventtask`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AmqpConfig {
    /// Brokers as `host:port`; the next is tried when one does not answer.
    pub servers: Vec<String>,
    /// Virtual host.
    pub vhost: String,
    /// User name.
    pub username: String,
    /// File that holds the password; `guest` where neither this nor `password_env` is there.
    pub password_file: Option<PathBuf>,
    /// Environment variable that holds the password.
    pub password_env: Option<String>,
    /// Encryption (AMQPS); none when absent.
    pub tls: Option<AmqpTls>,
    /// Queue that events are taken from.
    pub queue: String,
    /// Exchange that the queue is bound to; empty: none is declared, and nothing is bound.
    pub exchange: String,
    /// Kind of the exchange.
    pub exchange_kind: ExchangeKind,
    /// Routing keys under which the queue is bound; the exchange's name when empty.
    pub routing_keys: Vec<String>,
    /// Whether exchange, queue and bindings are made where they are absent. Without it they must be there.
    pub declare: bool,
    /// Kind of the queue that is made where it is absent.
    pub queue_kind: QueueKind,
    /// Most messages that the broker hands over before they are acknowledged.
    #[schemars(range(min = 1, max = 65535))]
    pub prefetch: u16,
    /// Most bytes of messages that are held at once, in MiB; one message may go beyond it. Reading stops there.
    #[schemars(range(min = 1, max = 4096))]
    pub prefetch_mib: u32,
    /// Id of a message that has no `message-id`: by its place in the log, so that one that is delivered again is another
    /// event; or by its content, so that messages of equal bytes are one event.
    pub without_message_id: WithoutMessageId,
    /// Most deliveries of one message, where the broker counts them (quorum queues); what comes more often is dead.
    #[schemars(range(min = 1, max = 1000000))]
    pub deliveries_max: u32,
    /// Name under which events are known to come from here, part of their ids; the queue's name when empty.
    pub principal: String,
    /// Limits of one event.
    pub event: EventLimits,
}

impl Default for AmqpConfig {
    fn default() -> Self {
        AmqpConfig {
            servers: vec!["127.0.0.1:5672".to_owned()],
            vhost: "/".to_owned(),
            username: "guest".to_owned(),
            password_file: None,
            password_env: None,
            tls: None,
            queue: "eventtask".to_owned(),
            exchange: "eventtask".to_owned(),
            exchange_kind: ExchangeKind::Direct,
            routing_keys: Vec::new(),
            declare: true,
            queue_kind: QueueKind::Classic,
            prefetch: 500,
            prefetch_mib: 64,
            without_message_id: WithoutMessageId::Position,
            deliveries_max: 1000,
            principal: String::new(),
            event: EventLimits::default(),
        }
    }
}

impl AmqpConfig {
    /// The name under which events come from here.
    pub fn principal(&self) -> &str {
        if self.principal.is_empty() { &self.queue } else { &self.principal }
    }

    /// What is wrong with the values: key below the entry (empty for the entry itself), what, remedy.
    pub(in crate::config) fn mistakes(&self) -> Vec<(String, String, String)> {
        let mut found = Vec::new();
        let mut add =
            |key: &str, what: String, remedy: &str| found.push((key.to_owned(), what, remedy.to_owned()));
        if self.servers.is_empty() {
            add("servers", "no broker is named".to_owned(), "give at least one as host:port");
        }
        for (index, server) in self.servers.iter().enumerate() {
            let parts = server.rsplit_once(':');
            let is_sound = parts.is_some_and(|(host, port)| {
                !host.is_empty()
                    && !server.contains(['/', '@', ' ', ','])
                    && port.parse::<u16>().is_ok_and(|p| p > 0)
            });
            if !is_sound {
                let what = format!("`{}` is not host:port", server.rsplit('@').next().unwrap_or_default());
                add(
                    &format!("servers[{index}]"),
                    what,
                    "write it as in `rabbit.example.org:5672`, without user and password",
                );
            }
        }
        if self.password_file.is_some() && self.password_env.is_some() {
            add(
                "",
                "the password has two places".to_owned(),
                "give either `password_file` or `password_env`",
            );
        }
        for (key, name, least) in [
            ("queue", &self.queue, 1),
            ("exchange", &self.exchange, 0),
            ("principal", &self.principal, 0),
            ("username", &self.username, 1),
        ] {
            if name.len() < least || name.len() > 255 || name.chars().any(char::is_control) {
                add(key, format!("`{name}` cannot be a name"), "use at most 255 bytes of text");
            }
        }
        if let Some(tls) = &self.tls
            && tls.certificate_file.is_some() != tls.key_file.is_some()
        {
            add(
                "tls",
                "a certificate needs its key, and a key its certificate".to_owned(),
                "give both or neither",
            );
        }
        found
    }
}

/// Encryption between us and the broker.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AmqpTls {
    /// Certificates (PEM) of the authorities that are trusted; those of the system when absent.
    pub ca_file: Option<PathBuf>,
    /// Our own certificate (PEM), where the broker asks for one.
    pub certificate_file: Option<PathBuf>,
    /// Its key (PEM).
    pub key_file: Option<PathBuf>,
    /// Name that the broker's certificate must have; the host's when absent.
    pub server_name: Option<String>,
}

/// Kind of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ExchangeKind {
    /// Messages whose routing key is the binding's.
    Direct,
    /// Messages whose routing key fits the binding's pattern.
    Topic,
    /// All messages.
    Fanout,
}

/// Kind of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum QueueKind {
    /// Durable, on one node, as MozDef's own.
    Classic,
    /// Copied over the nodes of a cluster; deliveries are counted.
    Quorum,
}

/// Id of a message that has no `message-id`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum WithoutMessageId {
    /// By its place in the log: what is delivered again after a crash is another event.
    Position,
    /// By its content: messages of equal bytes are one event.
    Content,
}
