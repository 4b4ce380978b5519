//! What every client of librdkafka has: its voice (log lines, errors,
//! statistics), tokens for its login, and its thread's end.
//!
//! In: librdkafka's callbacks. Out: log lines, metrics. Never: a decision.

use std::collections::HashMap;
use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use model::metrics::metrics;
use rdkafka::ClientContext;
use rdkafka::client::OAuthToken;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::statistics::Statistics;

use super::failure;
use super::token::TokenSource;

/// What a client is used for.
pub(super) trait Role: Send + Sync + 'static {
    /// Statistics have come.
    fn statistics(&self, _statistics: &Statistics) {}
}

/// A client that only looks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Looking;

impl Role for Looking {}

/// A client's context.
pub(super) struct Context<R> {
    pub(super) voice: Voice,
    pub(super) role: R,
}

/// What a client says.
pub(super) struct Voice {
    /// Name in metrics and log lines.
    client: String,
    tokens: Option<Arc<TokenSource>>,
    has_token: AtomicBool,
    last_error: Mutex<String>,
    /// Failed requests by broker, as counted.
    failures: Mutex<HashMap<String, u64>>,
}

impl Voice {
    pub(super) fn new(client: impl Into<String>, tokens: Option<Arc<TokenSource>>) -> Voice {
        let client = client.into();
        Voice {
            client,
            tokens,
            has_token: AtomicBool::new(false),
            last_error: Mutex::default(),
            failures: Mutex::default(),
        }
    }

    /// A token, where one is needed; blocks.
    pub(super) fn token(&self) -> Option<Result<OAuthToken, String>> {
        Some(self.tokens.as_ref()?.fetch().map_err(|error| error.to_string()))
    }

    /// Whether a token is needed and none was fetched yet.
    pub(super) fn lacks_token(&self) -> bool {
        self.tokens.is_some() && !self.has_token.load(Ordering::Relaxed)
    }

    /// What went wrong last; empty when nothing has.
    pub(super) fn last_error(&self) -> String {
        self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn measure(&self, statistics: &Statistics) {
        let label = [self.client.as_str()];
        let brokers = || statistics.brokers.values().filter(|broker| broker.nodeid >= 0);
        let up = brokers().filter(|broker| broker.state == "UP").count();
        metrics().kafka_brokers_up.with_label_values(&label).set(i64::try_from(up).unwrap_or(i64::MAX));
        let rtt = brokers().filter_map(|broker| broker.rtt.as_ref()).map(|rtt| rtt.p99).max().unwrap_or(0);
        metrics().kafka_rtt.with_label_values(&label).set(rtt as f64 / 1e6);
        let partitions = statistics.topics.values().flat_map(|topic| topic.partitions.values());
        let ahead: u64 = partitions.map(|partition| partition.fetchq_size).sum();
        let bytes = i64::try_from(ahead.saturating_add(statistics.msg_size)).unwrap_or(i64::MAX);
        metrics().kafka_queue_bytes.with_label_values(&label).set(bytes);
        let mut counted = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, broker) in &statistics.brokers {
            let failures = broker.txerrs.saturating_add(broker.rxerrs).saturating_add(broker.req_timeouts);
            let before = counted.insert(name.clone(), failures).unwrap_or(0);
            metrics().kafka_errors.with_label_values(&label).inc_by(failures.saturating_sub(before));
        }
    }
}

impl<R: Role> ClientContext for Context<R> {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, fac: &str, log_message: &str) {
        let client = self.voice.client.as_str();
        match level {
            RDKafkaLogLevel::Emerg
            | RDKafkaLogLevel::Alert
            | RDKafkaLogLevel::Critical
            | RDKafkaLogLevel::Error => tracing::error!(client, fac, "{log_message}"),
            RDKafkaLogLevel::Warning => tracing::warn!(client, fac, "{log_message}"),
            RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => tracing::info!(client, fac, "{log_message}"),
            RDKafkaLogLevel::Debug => tracing::debug!(client, fac, "{log_message}"),
        }
    }

    fn stats(&self, statistics: Statistics) {
        self.voice.measure(&statistics);
        self.role.statistics(&statistics);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        // A reader that stands at the end of a partition is no trouble.
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::PartitionEOF) {
            return;
        }
        tracing::warn!(client = self.voice.client, %error, reason, "the Kafka client has trouble");
        let mut last = self.voice.last_error.lock().unwrap_or_else(PoisonError::into_inner);
        // That no broker is left is the consequence; what came before is the cause.
        if last.is_empty() || error.rdkafka_error_code() != Some(RDKafkaErrorCode::AllBrokersDown) {
            reason.clone_into(&mut last);
            if failure::is_login(&error) {
                last.push_str(failure::LOGIN);
            }
        }
    }

    fn generate_oauth_token(&self, _: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        match &self.voice.tokens {
            Some(tokens) => {
                let token = tokens.fetch()?;
                self.voice.has_token.store(true, Ordering::Relaxed);
                Ok(token)
            }
            None => Err("no token source is configured".into()),
        }
    }
}

impl ConsumerContext for Context<Looking> {}

/// The threads that belong to a log, counted so that its end can wait for them.
#[derive(Debug, Default)]
pub(super) struct Threads {
    count: Mutex<usize>,
    changed: Condvar,
}

/// One of them; dropped when it ends.
pub(super) struct Alive(Arc<Threads>);

impl Threads {
    /// Starts a thread. Its work may block; nobody waits for it but [`Threads::wait`].
    pub(super) fn start(
        threads: &Arc<Threads>,
        name: &str,
        work: impl FnOnce() + Send + 'static,
    ) -> std::io::Result<()> {
        let alive = Threads::enter(threads);
        // The system cuts names at 15 bytes.
        std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            work();
            drop(alive);
        })?;
        Ok(())
    }

    fn enter(threads: &Arc<Threads>) -> Alive {
        let mut count = threads.count.lock().unwrap_or_else(PoisonError::into_inner);
        *count = count.saturating_add(1);
        Alive(Arc::clone(threads))
    }

    /// Waits until all have ended, no longer than `patience`. `false`: some have not.
    pub(super) fn wait(&self, patience: Duration) -> bool {
        let count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(count, patience, |count| *count > 0);
        let (count, _) = waited.unwrap_or_else(PoisonError::into_inner);
        *count == 0
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        let mut count = self.0.count.lock().unwrap_or_else(PoisonError::into_inner);
        *count = count.saturating_sub(1);
        self.0.changed.notify_all();
    }
}
