//! Syslog listeners.

use std::net::SocketAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Mistake, TlsConfig, networks};
use crate::config::schema;

/// A syslog listener. Its name in the configuration is who sends, unless a client certificate says so.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SyslogConfig {
    /// Address to listen on.
    #[schemars(extend("format" = schema::SOCKET_ADDRESS))]
    pub listen: SocketAddr,
    /// How messages come.
    pub transport: SyslogTransport,
    /// Certificate and key, for `transport: tls`; with `client_ca_file` the client's certificate says who sends.
    pub tls: Option<TlsConfig>,
    /// Networks (`10.0.0.0/8`, `2001:db8::/32`, or single addresses) that may send. Needed for an address beyond loopback,
    /// except for `tls` with a `client_ca_file`; `0.0.0.0/0` and `::/0` let anybody send.
    pub allow: Vec<String>,
    /// Largest message, in bytes. Of a longer one this much is kept, in `mozdef.dead`, and the next message goes through.
    #[schemars(range(min = 480, max = 4194304))]
    pub message_bytes_max: usize,
    /// Connections at once; one more is closed at once, so that its sender knows.
    #[schemars(range(min = 1, max = 65536))]
    pub connections_max: u32,
    /// Connections at once from one address.
    #[schemars(range(min = 1, max = 65536))]
    pub connections_per_address_max: u32,
    /// Longest silence of a connection, in seconds; then it is closed. Most senders lose the first message that they write
    /// into a connection that was closed in the meantime, so it is long. Dead peers are noticed within minutes anyway.
    #[schemars(range(min = 1, max = 31536000))]
    pub idle_timeout_s: u64,
    /// Memory for messages that were read and are not in the log yet, in bytes. When it is used up, TCP is read no further,
    /// and datagrams wait in the kernel.
    #[schemars(range(min = 1048576, max = 1073741824))]
    pub memory_bytes_max: usize,
    /// Kernel's buffer for datagrams, in bytes, as far as `net.core.rmem_max` allows. What does not fit is lost, and counted
    /// in `mozdef_syslog_udp_lost_total`.
    #[schemars(range(min = 4096, max = 1073741824))]
    pub receive_buffer_bytes: usize,
    /// Minutes east of Greenwich of times that name no zone; `normalize.zone_minutes` when absent.
    #[schemars(range(min = -840, max = 840))]
    pub zone_minutes: Option<i32>,
}

impl Default for SyslogConfig {
    fn default() -> Self {
        SyslogConfig {
            listen: SocketAddr::from(([127, 0, 0, 1], 5514)),
            transport: SyslogTransport::Tcp,
            tls: None,
            allow: Vec::new(),
            message_bytes_max: 64 << 10,
            connections_max: 1000,
            connections_per_address_max: 100,
            idle_timeout_s: 86_400,
            memory_bytes_max: 64 << 20,
            receive_buffer_bytes: 8 << 20,
            zone_minutes: None,
        }
    }
}

/// How messages come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SyslogTransport {
    /// One message a datagram (RFC 5426).
    Udp,
    /// A stream: each message with its length in front, or ended by a line feed (RFC 6587).
    Tcp,
    /// The same inside TLS (RFC 5425).
    Tls,
}

impl SyslogConfig {
    /// What is wrong with the values: key, what, remedy.
    pub(in crate::config) fn mistakes(&self) -> Vec<Mistake> {
        let mut found = Vec::new();
        let mut add =
            |key: &str, what: String, remedy: &str| found.push((key.to_owned(), what, remedy.to_owned()));
        for network in &self.allow {
            if networks::parse(network).is_none() {
                let remedy = "write networks such as 10.0.0.0/8, 2001:db8::/32 or 192.0.2.7";
                add("allow", format!("{network:?} is no network"), remedy);
            }
        }
        if self.allow.is_empty() && !self.listen.ip().is_loopback() && !self.knows_its_clients() {
            let what = format!("{} is beyond loopback, and nothing says who may send", self.listen);
            add("listen", what, "add networks to `allow`; 0.0.0.0/0 and ::/0 let anybody send");
        }
        match (&self.tls, self.transport) {
            (None, SyslogTransport::Tls) => {
                let remedy = "add a section `tls` with `certificate_file` and `key_file`";
                add("tls", "there is no certificate".to_owned(), remedy);
            }
            (Some(_), SyslogTransport::Udp | SyslogTransport::Tcp) => {
                let remedy = "write `transport: tls`, or leave the section out";
                add("tls", "the transport is not TLS".to_owned(), remedy);
            }
            (tls, _) => {
                for (key, what, remedy) in tls.iter().flat_map(TlsConfig::mistakes) {
                    add(&format!("tls.{key}"), what.to_owned(), remedy);
                }
            }
        }
        found
    }

    fn knows_its_clients(&self) -> bool {
        self.transport == SyslogTransport::Tls && self.tls.as_ref().is_some_and(TlsConfig::names_all_clients)
    }
}
