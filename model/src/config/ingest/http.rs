//! The HTTP gateway.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{EventLimits, TlsConfig};
use crate::config::schema;

/// The HTTP gateway.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HttpConfig {
    /// Address to listen on.
    #[schemars(extend("format" = schema::SOCKET_ADDRESS))]
    pub listen: SocketAddr,
    /// Who may send. `none` must be written out for an address beyond loopback without tokens.
    pub auth: Auth,
    /// SHA-256 (hex) of each bearer token, by the name of its owner.
    pub tokens: BTreeMap<String, String>,
    /// TLS; the listener speaks plain HTTP when absent. Certificates of clients, where they are asked for, are as good as
    /// tokens: the sender is called by the name in it.
    pub tls: Option<TlsConfig>,
    /// Largest request body after decompression, in bytes.
    #[schemars(range(min = 1024, max = 536870912))]
    pub body_bytes_max: usize,
    /// Requests that may wait for the log at once; more answer 503.
    #[schemars(range(min = 1, max = 65536))]
    pub requests_in_flight_max: usize,
    /// Longest wait for the log's acknowledgement, in milliseconds; then 503.
    #[schemars(range(min = 100, max = 25000))]
    pub ack_timeout_ms: u64,
    /// Limits of one event.
    pub event: EventLimits,
}

impl Default for HttpConfig {
    fn default() -> Self {
        HttpConfig {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            auth: Auth::Auto,
            tokens: BTreeMap::new(),
            tls: None,
            body_bytes_max: 16 << 20,
            requests_in_flight_max: 1024,
            ack_timeout_ms: 10_000,
            event: EventLimits::default(),
        }
    }
}

/// Who may send to a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Auth {
    /// Tokens where some are configured; anybody on loopback where none are.
    Auto,
    /// A token is always needed.
    Token,
    /// Anybody may send, from anywhere.
    None,
}
