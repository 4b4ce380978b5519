//! The HTTP gateway.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use ipnet::IpNet;
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
    /// SHA-256 (hex) of each bearer token, by the name of its owner. Splunk's clients send the same tokens behind `Splunk`.
    pub tokens: BTreeMap<String, String>,
    /// Sources that need more than one token: passwords, certificates, quotas of their own; by name.
    pub sources: BTreeMap<String, SourceConfig>,
    /// What each source may send that has no quota of its own; also all senders without a name, together.
    pub quota: QuotaConfig,
    /// TLS; the listener speaks plain HTTP when absent. Certificates of clients, where they are asked for, are as good as
    /// tokens: the sender is called by the name in it.
    pub tls: Option<TlsConfig>,
    /// Proxies and load balancers that are believed when they say who the client is; nobody when absent.
    pub proxies: Option<ProxiesConfig>,
    /// What clients of Elasticsearch and OpenSearch are told.
    pub elasticsearch: ElasticsearchConfig,
    /// GitHub's webhooks, by the name of the sender that events get.
    pub github: BTreeMap<String, GithubConfig>,
    /// Connections at once; more wait in the system's queue. Each takes a file descriptor.
    #[schemars(range(min = 1, max = 1000000))]
    pub connections_max: u32,
    /// Longest time for a request's head, counted from the connection's begin or the answer before; so also the longest
    /// time that a connection may be idle; in milliseconds.
    #[schemars(range(min = 1000, max = 600000))]
    pub idle_timeout_ms: u64,
    /// Longest time from a request's head to the end of its body, in milliseconds.
    #[schemars(range(min = 1000, max = 600000))]
    pub body_timeout_ms: u64,
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
            sources: BTreeMap::new(),
            quota: QuotaConfig::default(),
            tls: None,
            proxies: None,
            elasticsearch: ElasticsearchConfig::default(),
            github: BTreeMap::new(),
            connections_max: 4096,
            idle_timeout_ms: 60_000,
            body_timeout_ms: 30_000,
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

/// One source: how it says who it is, and how much it may send.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SourceConfig {
    /// SHA-256 (hex) of its bearer tokens: several while one takes the place of another.
    pub tokens: Vec<String>,
    /// SHA-256 (hex) of the password of each of its users (HTTP's basic authentication), by user.
    pub users: BTreeMap<String, String>,
    /// Names on its clients' certificates, where `tls.client_ca_file` asks for them.
    pub certificates: Vec<String>,
    /// What it may send; as all others when absent.
    pub quota: Option<QuotaConfig>,
}

/// How much a source may send. A request that goes over it is still taken; the next ones are answered 429 until the mean
/// is met again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct QuotaConfig {
    /// Events a second, in the mean over ten seconds; no bound when absent.
    #[schemars(range(min = 1, max = 100000000))]
    pub events_per_second: Option<u64>,
    /// Bytes a second of bodies after decompression, in the mean over ten seconds; no bound when absent.
    #[schemars(range(min = 1, max = 100000000000u64))]
    pub bytes_per_second: Option<u64>,
}

/// Proxies that say who the client is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ProxiesConfig {
    /// Their addresses, single or as networks (`10.1.0.0/16`).
    pub addresses: Vec<String>,
    /// How they say it. What others say in these ways is never believed.
    pub by: ProxyProtocol,
}

impl Default for ProxiesConfig {
    fn default() -> Self {
        ProxiesConfig { addresses: Vec::new(), by: ProxyProtocol::ForwardedFor }
    }
}

impl ProxiesConfig {
    /// The networks, and the entries that are none.
    pub fn networks(&self) -> (Vec<IpNet>, Vec<&str>) {
        let mut bad = Vec::new();
        let mut networks = Vec::new();
        for entry in &self.addresses {
            match entry.parse::<IpNet>().or_else(|_| entry.parse::<std::net::IpAddr>().map(IpNet::from)) {
                Ok(network) => networks.push(network),
                Err(_) => bad.push(entry.as_str()),
            }
        }
        (networks, bad)
    }
}

/// How a proxy says who the client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProxyProtocol {
    /// The header `X-Forwarded-For` of each request.
    ForwardedFor,
    /// The PROXY protocol, version 1 or 2, in front of each connection; without it the connection is refused.
    Proxy,
}

/// What clients of Elasticsearch and OpenSearch are told when they ask what they are talking to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ElasticsearchConfig {
    /// The product that the gateway passes for.
    pub product: Product,
    /// The version that it claims; one of the product's when absent (8.17.0 or 2.19.0).
    pub version: Option<String>,
}

/// The product that the gateway passes for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Product {
    /// Elasticsearch to Elastic's own shippers (Beats, Logstash, Elastic Agent), by their `User-Agent`; OpenSearch to others.
    #[default]
    Auto,
    /// Elasticsearch, with the header `X-Elastic-Product`.
    Elasticsearch,
    /// OpenSearch.
    Opensearch,
}

/// A webhook of GitHub.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct GithubConfig {
    /// Path of the webhook's address, as `/github`.
    pub path: String,
    /// File that holds the webhook's secret.
    pub secret_file: Option<PathBuf>,
    /// Environment variable that holds the webhook's secret.
    pub secret_env: Option<String>,
}

/// First parts of paths that the gateway has itself: no webhook may take them.
const TAKEN: [&str; 10] =
    ["", "events", "nxlog", "cef", "custom", "status", "test", "services", "v1", "opentelemetry"];

impl HttpConfig {
    /// Whether anybody could say who they are: a token, a password, or a certificate that is asked for.
    pub fn knows_somebody(&self) -> bool {
        let source = |source: &SourceConfig| !source.tokens.is_empty() || !source.users.is_empty();
        !self.tokens.is_empty()
            || self.sources.values().any(source)
            || self.tls.as_ref().is_some_and(TlsConfig::names_all_clients)
    }

    /// What is wrong with the values: key below `ingest.http`, what, remedy.
    pub(in crate::config) fn mistakes(&self) -> Vec<(String, String, String)> {
        let mut found = Found(Vec::new());
        self.check_sources(&mut found);
        for (key, what, remedy) in self.tls.iter().flat_map(TlsConfig::mistakes) {
            found.add(&format!("tls.{key}"), what, remedy);
        }
        if let Some(proxies) = &self.proxies {
            let (networks, bad) = proxies.networks();
            for entry in &bad {
                let remedy = "write an address or a network, as 10.1.2.3 or 10.1.0.0/16";
                found.add("proxies.addresses", format!("`{entry}` is no address"), remedy);
            }
            if networks.is_empty() && bad.is_empty() {
                found.add("proxies.addresses", "no proxy is named", "name them, or leave `proxies` out");
            }
        }
        if let Some(version) = &self.elasticsearch.version {
            let parts: Vec<&str> = version.split('.').collect();
            if parts.len() != 3 || !parts.iter().all(|part| part.parse::<u16>().is_ok()) {
                let what = format!("`{version}` is no version");
                found.add("elasticsearch.version", what, "write three numbers, as 8.17.0");
            }
        }
        self.check_github(&mut found);
        found.0
    }

    fn check_sources(&self, found: &mut Found) {
        let digest = |found: &mut Found, key: &str, digest: &str| {
            if digest.len() != 64 || !digest.bytes().all(|b| b.is_ascii_hexdigit()) {
                found.add(
                    key,
                    "not a SHA-256 digest in 64 hex digits",
                    "write what `printf %s TOKEN | sha256sum` prints, never the token itself",
                );
            }
        };
        for (name, token) in &self.tokens {
            digest(found, &format!("tokens.{name}"), token);
        }
        for (name, source) in &self.sources {
            let all = source.tokens.iter().map(|token| ("tokens", token));
            let all = all.chain(source.users.values().map(|password| ("users", password)));
            for (kind, token) in all {
                digest(found, &format!("sources.{name}.{kind}"), token);
            }
            if self.tls.as_ref().is_none_or(|tls| tls.client_ca_file.is_none())
                && !source.certificates.is_empty()
            {
                found.add(
                    &format!("sources.{name}.certificates"),
                    "clients are not asked for certificates",
                    "set `ingest.http.tls.client_ca_file`",
                );
            }
        }
        let names = self.tokens.keys().map(|name| ("tokens", name));
        let names = names.chain(self.sources.keys().map(|name| ("sources", name)));
        for (kind, name) in names.chain(self.github.keys().map(|name| ("github", name))) {
            if name.is_empty() || name.len() > 64 || name == "anonymous" || name.chars().any(char::is_control)
            {
                let remedy = "use 1 to 64 characters other than `anonymous`";
                found.add(&format!("{kind}.{name}"), "not a name for an owner", remedy);
            }
        }
        let users: Vec<&String> = self.sources.values().flat_map(|source| source.users.keys()).collect();
        for (number, user) in users.iter().enumerate() {
            if users.iter().take(number).any(|other| other == user) {
                found.add("sources", format!("user `{user}` belongs to two sources"), "name it in one");
            }
        }
    }

    fn check_github(&self, found: &mut Found) {
        for (name, hook) in &self.github {
            let key = format!("github.{name}");
            let first = hook.path.trim_start_matches('/').split('/').next().unwrap_or_default();
            let sound = hook.path.starts_with('/')
                && hook.path.len() <= 200
                && hook
                    .path
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'-' | b'_' | b'.'));
            if !sound || TAKEN.contains(&first) || first.starts_with('_') {
                found.add(
                    &format!("{key}.path"),
                    format!("`{}` cannot be the path of a webhook", hook.path),
                    "use one as `/github/my-organisation`, of letters, digits, `-`, `.` and `_`",
                );
            }
            if hook.secret_file.is_some() == hook.secret_env.is_some() {
                let remedy = "give either `secret_file` or `secret_env`";
                found.add(&key, "the secret has no place, or two", remedy);
            }
        }
    }
}

struct Found(Vec<(String, String, String)>);

impl Found {
    fn add(&mut self, key: &str, what: impl Into<String>, remedy: impl Into<String>) {
        self.0.push((key.to_owned(), what.into(), remedy.into()));
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    #[track_caller]
    fn check(section: &str, expected: &[&str]) {
        let yaml = format!("ingest:\n  http: {section}\n");
        let got: Vec<String> = match Config::from_yaml(&yaml) {
            Ok(_) => Vec::new(),
            Err(errors) => errors.iter().map(ToString::to_string).collect(),
        };
        assert_eq!(got.len(), expected.len(), "{got:?}");
        for (got, expected) in got.iter().zip(expected) {
            assert!(got.contains(expected), "{got} lacks {expected}");
        }
    }

    #[test]
    fn sound_sections_have_no_mistakes() {
        let digest = "0".repeat(64);
        check(
            &format!(
                "{{sources: {{web: {{tokens: ['{digest}'], users: {{me: '{digest}'}}, quota: {{events_per_second: 5}}}}}}}}"
            ),
            &[],
        );
        check("{proxies: {addresses: [10.0.0.0/8, '::1'], by: proxy}}", &[]);
        check("{github: {acme: {path: /github/acme, secret_env: X}}}", &[]);
        check("{elasticsearch: {product: elasticsearch, version: 7.10.2}}", &[]);
    }

    #[test]
    fn mistakes_are_told_with_their_place() {
        check("{sources: {web: {tokens: [secret]}}}", &["ingest.http.sources.web.tokens: not a SHA-256"]);
        check("{sources: {anonymous: {}}}", &["ingest.http.sources.anonymous: not a name"]);
        check("{sources: {web: {certificates: [a]}}}", &["certificates: clients are not asked"]);
        check("{proxies: {addresses: [host]}}", &["`host` is no address"]);
        check("{proxies: {}}", &["no proxy is named"]);
        check("{elasticsearch: {version: '8'}}", &["`8` is no version"]);
        for path in ["github", "/", "/events/x", "/_bulk", "/services/x", "/a b"] {
            check(
                &format!("{{github: {{acme: {{path: '{path}', secret_env: X}}}}}}"),
                &["cannot be the path of a webhook"],
            );
        }
        check("{github: {acme: {path: /github}}}", &["the secret has no place"]);
        let digest = "0".repeat(64);
        check(
            &format!("{{sources: {{a: {{users: {{me: '{digest}'}}}}, b: {{users: {{me: '{digest}'}}}}}}}}"),
            &["user `me` belongs to two sources"],
        );
    }
}
