//! What the values of a configuration must be, alone and to each other.
//!
//! In: a configuration. Out: every mistake, with the remedy. Never: the
//! machine; whether a folder or address exists is found at the start.

use std::net::SocketAddr;

use super::error::{ConfigError, Problem};
use super::schema;
use super::tree::Tree;
use super::{AdminServes, Auth, Config, EventLimits, KafkaConfig, RegistryConfig, SyslogTransport};

/// Largest [`super::CorrelateConfig::lateness_ms_by_source`], as for its default in the schema.
const LATENESS_MS_MAX: u64 = 604_800_000;

/// What to do with a listener that must stay on loopback.
const LOOPBACK: &str =
    "use 127.0.0.1 or [::1], and reach it through an SSH tunnel or a proxy that asks for a password";

/// The same for the admin listener, which may also say less.
const LOOPBACK_OR_HEALTH: &str =
    "use 127.0.0.1 or [::1], or write `admin.serves: health` to answer metrics and probes alone";

impl Config {
    /// Everything that is wrong with the values: ranges as the schema has them, and relations between values.
    /// Empty when the configuration is sound. Errors carry no place in the text; [`Config::from_yaml`] adds it.
    pub fn check(&self) -> Vec<ConfigError> {
        let mut found = Found(Vec::new());
        match serde_json::to_value(self) {
            Ok(json) => found.0.extend(schema::deviations(&Tree::of_json(&json))),
            Err(error) => found.add("", format!("cannot be written as JSON: {error}"), "use UTF-8 paths"),
        }
        self.check_access(&mut found);
        for (key, what, remedy) in self.ingest.mistakes(self.log.kafka.as_ref()) {
            found.add(&key, what, remedy);
        }
        self.check_listeners(&mut found);
        self.check_sizes(&mut found);
        self.check_times(&mut found);
        for (key, what, remedy) in self.log.kafka.iter().flat_map(KafkaConfig::mistakes) {
            found.add(&format!("log.kafka.{key}"), what, remedy);
        }
        self.check_queues(&mut found);
        for (key, what, remedy) in self.normalize.registry.iter().flat_map(RegistryConfig::mistakes) {
            found.add(&format!("normalize.registry.{key}"), what, remedy);
        }
        found.0
    }

    /// Queues of AMQP and SQS, each alone, and that their names are distinct.
    fn check_queues(&self, found: &mut Found) {
        let (amqp, sqs) = (&self.ingest.amqp, &self.ingest.sqs);
        let of_amqp =
            amqp.iter().map(|(name, entry)| ("amqp", name, entry.principal(), entry.mistakes(), entry.event));
        let of_sqs =
            sqs.iter().map(|(name, entry)| ("sqs", name, entry.principal(), entry.mistakes(), entry.event));
        let mut known: Vec<(&str, &str)> = Vec::new();
        for (input, name, principal, mistakes, event) in of_amqp.chain(of_sqs) {
            let key = format!("ingest.{input}.{name}");
            for (below, what, remedy) in mistakes {
                let key = if below.is_empty() { key.clone() } else { format!("{key}.{below}") };
                found.add(&key, what, remedy);
            }
            if known.contains(&(input, principal)) {
                let what = format!("another entry of `ingest.{input}` is known as `{principal}` too");
                found.add(
                    &key,
                    what,
                    "give one of them a `principal` of its own: ids of events are made with it",
                );
            }
            known.push((input, principal));
            self.check_limits(&key, event, found);
        }
    }

    /// What an input has taken must not be dead at the next stage.
    fn check_limits(&self, key: &str, event: EventLimits, found: &mut Found) {
        let EventLimits { bytes_max, depth_max, fields_max } = self.normalize.event;
        for (name, taken, allowed) in [
            ("bytes_max", event.bytes_max, bytes_max),
            ("depth_max", event.depth_max, depth_max),
            ("fields_max", event.fields_max, fields_max),
        ] {
            if taken > allowed {
                let what = format!("{allowed} is less than `{key}` takes");
                let remedy = format!("use at least `{key}.event.{name}` ({taken})");
                found.add(&format!("normalize.event.{name}"), what, remedy);
            }
        }
    }

    fn check_access(&self, found: &mut Found) {
        let http = &self.ingest.http;
        for (key, what, remedy) in http.mistakes() {
            found.add(&format!("ingest.http.{key}"), what, remedy);
        }
        let nobody_is_named = !http.knows_somebody();
        match http.auth {
            Auth::Token if nobody_is_named => found.add(
                "ingest.http.auth",
                "a token is needed, but none is configured",
                "add one to `ingest.http.tokens`, ask for certificates by `tls.client_ca_file`, or use `auth: auto`",
            ),
            Auth::Auto if nobody_is_named && !is_loopback(http.listen) => found.add(
                "ingest.http.listen",
                format!("{} is beyond loopback, and no token is configured", http.listen),
                "add one to `ingest.http.tokens`, or write `auth: none` to let anybody send",
            ),
            Auth::Auto | Auth::Token | Auth::None => {}
        }
    }

    fn check_listeners(&self, found: &mut Found) {
        let mut open = vec![("ingest.http.listen".to_owned(), self.ingest.http.listen)];
        let inner = self.inner_listeners().map(|(key, address, beyond)| (key.to_owned(), address, beyond));
        for (key, address, beyond) in inner.chain(self.stream_listeners()) {
            if let Some(remedy) = beyond.filter(|_| !is_loopback(address)) {
                let what = format!("{address} is beyond loopback, and this listener has no authentication");
                found.add(&key, what, remedy);
            }
            if let Some((other, _)) = open.iter().find(|(_, taken)| collide(*taken, address)) {
                found.add(&key, format!("{address} is taken by `{other}`"), "use another port");
            }
            open.push((key, address));
        }
    }

    /// Syslog listeners that no other listener may stand in the way of; datagrams have ports of their own.
    fn stream_listeners(&self) -> impl Iterator<Item = (String, SocketAddr, Option<&'static str>)> {
        let streams =
            self.ingest.syslog.iter().filter(|(_, syslog)| syslog.transport != SyslogTransport::Udp);
        streams.map(|(name, syslog)| (format!("ingest.syslog.{name}.listen"), syslog.listen, None))
    }

    /// Listeners that trust whoever reaches them, with what to do where they must not be beyond loopback. The embedded
    /// index listens only where it is used.
    fn inner_listeners(&self) -> impl Iterator<Item = (&'static str, SocketAddr, Option<&'static str>)> {
        let embedded = ("embedded.listen", self.embedded.listen, Some(LOOPBACK));
        let admin = match self.admin.serves {
            AdminServes::Everything => Some(LOOPBACK_OR_HEALTH),
            AdminServes::Health => None,
        };
        let embedded = self.sink.url.is_none().then_some(embedded);
        embedded.into_iter().chain([("admin.listen", self.admin.listen, admin)])
    }

    fn check_sizes(&self, found: &mut Found) {
        let http = &self.ingest.http;
        if http.event.bytes_max > http.body_bytes_max {
            found.add(
                "ingest.http.event.bytes_max",
                format!("{} is more than a request may bring", http.event.bytes_max),
                format!("raise `ingest.http.body_bytes_max` ({}) or lower this", http.body_bytes_max),
            );
        }
        // What the gateway has taken must not be dead at the next stage.
        let EventLimits { bytes_max, depth_max, fields_max } = self.normalize.event;
        for (name, taken, allowed) in [
            ("bytes_max", http.event.bytes_max, bytes_max),
            ("depth_max", http.event.depth_max, depth_max),
            ("fields_max", http.event.fields_max, fields_max),
        ] {
            if taken > allowed {
                found.add(
                    &format!("normalize.event.{name}"),
                    format!("{allowed} is less than the gateway takes"),
                    format!("use at least `ingest.http.event.{name}` ({taken})"),
                );
            }
        }
    }

    fn check_times(&self, found: &mut Found) {
        let (ack, disorder) = (self.ingest.http.ack_timeout_ms, self.correlate.disorder_ms);
        if ack >= disorder {
            found.add(
                "ingest.http.ack_timeout_ms",
                format!("{ack} is not below `correlate.disorder_ms` ({disorder}), so records could come too late for it"),
                "lower this or raise `correlate.disorder_ms`",
            );
        }
        for (source, lateness) in &self.correlate.lateness_ms_by_source {
            if *lateness > LATENESS_MS_MAX {
                found.add(
                    &format!("correlate.lateness_ms_by_source.{source}"),
                    format!("{lateness} is more than {LATENESS_MS_MAX} (7 days)"),
                    "use less: windows must be held as long",
                );
            }
        }
    }
}

struct Found(Vec<ConfigError>);

impl Found {
    fn add(&mut self, key: &str, what: impl Into<String>, remedy: impl Into<String>) {
        let problem = Problem::Value { what: what.into(), remedy: remedy.into() };
        self.0.push(ConfigError { place: None, key: key.to_owned(), problem });
    }
}

fn is_loopback(address: SocketAddr) -> bool {
    // `::ffff:127.0.0.1` is loopback too.
    address.ip().to_canonical().is_loopback()
}

/// Whether two listeners cannot both have their address. Port 0 is any free port.
fn collide(a: SocketAddr, b: SocketAddr) -> bool {
    let (one, other) = (a.ip().to_canonical(), b.ip().to_canonical());
    a.port() == b.port() && a.port() != 0 && (one == other || one.is_unspecified() || other.is_unspecified())
}
