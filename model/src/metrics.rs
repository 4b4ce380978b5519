//! The one table of metric names, with help, labels and type, and the
//! registry behind `/metrics`.
//!
//! In: counts from all stages. Out: Prometheus text. Never: labels with
//! users, addresses or ids; label values come from closed sets.
//!
//! For each stage `mozdef_records_in_total` = `mozdef_records_out_total` +
//! `mozdef_records_dropped_total` + `mozdef_records_dead_total` once it is at rest.

use std::sync::LazyLock;

use prometheus::{
    CounterVec, Encoder, Gauge, GaugeVec, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, TextEncoder,
};

use crate::error::Reason;

/// A stage, as a metric label and in dead letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// The HTTP gateway.
    Gateway,
    /// Raw records to events.
    Normalizer,
    /// Events to matches.
    Match,
    /// Matches to alerts.
    Window,
    /// Events to the index.
    EventSink,
    /// Alerts to the index.
    AlertSink,
}

impl Stage {
    /// Every stage.
    pub const ALL: [Stage; 6] =
        [Stage::Gateway, Stage::Normalizer, Stage::Match, Stage::Window, Stage::EventSink, Stage::AlertSink];

    /// The word used in labels, headers and messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Stage::Gateway => "gateway",
            Stage::Normalizer => "normalizer",
            Stage::Match => "match",
            Stage::Window => "window",
            Stage::EventSink => "event_sink",
            Stage::AlertSink => "alert_sink",
        }
    }
}

/// Why a record was dropped on purpose. Closed, so that it can be a metric label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drop {
    /// A plugin said so (the plugin is named in the log at debug level).
    Plugin,
    /// Late for its window: kept in `mozdef.late`.
    Late,
    /// A match of a rule that is no longer in force.
    OldGeneration,
    /// Loaded history: takes no part in live rules.
    Backfill,
}

impl Drop {
    /// Every reason.
    pub const ALL: [Drop; 4] = [Drop::Plugin, Drop::Late, Drop::OldGeneration, Drop::Backfill];

    /// The label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Drop::Plugin => "plugin",
            Drop::Late => "late",
            Drop::OldGeneration => "old_generation",
            Drop::Backfill => "backfill",
        }
    }
}

/// One row of the table.
pub struct Metric {
    /// Name as Prometheus sees it.
    pub name: &'static str,
    /// What it counts.
    pub help: &'static str,
    /// Label names.
    pub labels: &'static [&'static str],
}

macro_rules! table {
    ($($const:ident = $name:literal, $help:literal, [$($label:literal),*];)*) => {
        $(#[doc = $help] pub const $const: Metric = Metric { name: $name, help: $help, labels: &[$($label),*] };)*
        /// Every metric that MozDef has.
        pub const TABLE: &[Metric] = &[$($const),*];
    };
}

table! {
    RECORDS_IN = "mozdef_records_in_total", "Records a stage has taken up.", ["stage"];
    RECORDS_OUT = "mozdef_records_out_total", "Records a stage has finished with success.", ["stage"];
    RECORDS_DROPPED = "mozdef_records_dropped_total", "Records a stage has dropped on purpose, by reason.", ["stage", "reason"];
    RECORDS_DEAD = "mozdef_records_dead_total", "Records a stage has sent to mozdef.dead, by reason.", ["stage", "reason"];
    HTTP_REQUESTS = "mozdef_http_requests_total", "Requests the gateway has answered, by status.", ["status"];
    HTTP_BYTES = "mozdef_http_body_bytes_total", "Bytes of request bodies the gateway has read, after decompression.", [];
    INPUT_RECORDS = "mozdef_input_records_total", "Records an input has put into the log, by what they are: accepted events or dead letters.", ["input", "outcome"];
    INPUT_BYTES = "mozdef_input_bytes_total", "Bytes of the values an input has put into the log.", ["input"];
    INPUT_FAILURES = "mozdef_input_failures_total", "Times an input could not reach or understand its source, by kind.", ["input", "kind"];
    INPUT_UP = "mozdef_input_up", "1 while an input is connected to its source, by the source's name in the configuration.", ["input", "source"];
    SYSLOG_UDP_LOST = "mozdef_syslog_udp_lost_total", "Datagrams that the kernel dropped because a syslog listener's buffer was full, by listener.", ["listener"];
    COMMITS = "mozdef_commits_total", "Atomic commits, by consumer group.", ["group"];
    COMMIT_SECONDS = "mozdef_commit_seconds", "Seconds that one durable commit of the local log took.", [];
    LAG = "mozdef_lag_records", "Records between a consumer group and the last stable offset of its topic.", ["group", "topic", "partition"];
    LAG_SECONDS = "mozdef_lag_seconds", "Age of the oldest record that a consumer group has not finished with; 0 when it has all.", ["group", "topic", "partition"];
    STALLED = "mozdef_stalls_total", "Times a partition stood still while it had lag, by consumer group.", ["group"];
    LOG_BYTES = "mozdef_log_bytes", "Bytes of a topic in the local log.", ["topic"];
    LOG_EXPIRED_UNREAD = "mozdef_log_expired_unread_total", "Records that retention removed before a consumer group had read them.", ["group", "topic"];
    KAFKA_BROKERS_UP = "mozdef_kafka_brokers_up", "Kafka brokers that a client is connected to.", ["client"];
    KAFKA_RTT = "mozdef_kafka_broker_rtt_seconds", "Longest of the brokers' 99th percentiles of the time a request took, in the last second.", ["client"];
    KAFKA_QUEUE_BYTES = "mozdef_kafka_queue_bytes", "Bytes of records that wait in a Kafka client, read ahead or on their way out.", ["client"];
    KAFKA_ERRORS = "mozdef_kafka_errors_total", "Requests of a Kafka client that failed or timed out.", ["client"];
    KAFKA_REBALANCES = "mozdef_kafka_rebalances_total", "Changes of a member's partitions, by what happened to them.", ["group", "change"];
    KAFKA_TRANSACTIONS = "mozdef_kafka_transactions_total", "Transactions of a consumer group, by outcome.", ["group", "outcome"];
    PLUGIN_RUNS = "mozdef_plugin_runs_total", "Events a plugin has seen, by outcome.", ["plugin", "outcome"];
    PLUGIN_CALLS = "mozdef_plugin_calls_total", "Calls of a WebAssembly plugin, a batch of events each, by outcome: ok, or how it failed.", ["plugin", "outcome"];
    PLUGIN_SECONDS = "mozdef_plugin_seconds_total", "Seconds that calls of a WebAssembly plugin have taken.", ["plugin"];
    PLUGIN_BYTES = "mozdef_plugin_bytes_total", "Bytes that a WebAssembly plugin was given (in) and has given back (out).", ["plugin", "direction"];
    PLUGIN_LOG_LOST = "mozdef_plugin_log_lines_lost_total", "Log lines of a WebAssembly plugin that were beyond the bound.", ["plugin"];
    PLUGIN_CHANGES = "mozdef_plugin_changes_total", "Changes of the WebAssembly plugins in force: loaded, refused, quarantined, rolled back.", ["change"];
    PLUGINS_LOADED = "mozdef_plugins_loaded", "WebAssembly plugins in force.", [];
    EVENT_ERRORS = "mozdef_event_errors_total", "Events that carry a mark in mozdef.errors, by kind.", ["kind"];
    RULE_MATCHES = "mozdef_rule_matches_total", "Matches of rules, by kind of rule.", ["kind"];
    GROUPS_SKIPPED = "mozdef_rule_groups_skipped_total", "Groups that a match of a windowed rule did not make, by reason.", ["reason"];
    SUMMARY_UNKNOWN = "mozdef_alert_summary_unknown_total", "Values that a summary template named but no event had.", [];
    RULES_LOADED = "mozdef_rules_loaded", "Rules in force.", [];
    RULE_RELOADS = "mozdef_rule_reloads_total", "Changes of the rule set, by outcome.", ["outcome"];
    WINDOW_GROUPS = "mozdef_window_groups", "Groups that the window stage holds.", [];
    CLOCK_SUSPECT = "mozdef_clock_suspect_total", "Events whose own time was too far from their receipt.", [];
    ALERTS = "mozdef_alerts_total", "Alerts fired (first revisions), by severity.", ["severity"];
    ALERT_SECONDS = "mozdef_alert_latency_seconds", "Seconds from an event's receipt to the commit of the alert that it fired.", [];
    BULK_REQUESTS = "mozdef_bulk_requests_total", "Bulk requests to the index, by outcome.", ["outcome"];
    BULK_ITEMS = "mozdef_bulk_items_total", "Documents sent to the index, by outcome.", ["outcome"];
    INDEX_DOCUMENTS = "mozdef_embedded_documents_total", "Documents the embedded index has taken.", [];
    INDEX_IGNORED = "mozdef_embedded_ignored_values_total", "Fields that the embedded index stores but cannot find, because their value is too long or does not fit.", [];
    READY = "mozdef_ready", "1 when the process is ready.", [];
}

/// All metrics of the process.
pub struct Metrics {
    registry: Registry,
    records_in: IntCounterVec,
    records_out: IntCounterVec,
    records_dropped: IntCounterVec,
    records_dead: IntCounterVec,
    /// See [`HTTP_REQUESTS`].
    pub http_requests: IntCounterVec,
    /// See [`HTTP_BYTES`].
    pub http_bytes: IntCounter,
    /// See [`INPUT_RECORDS`].
    pub input_records: IntCounterVec,
    /// See [`INPUT_BYTES`].
    pub input_bytes: IntCounterVec,
    /// See [`INPUT_FAILURES`].
    pub input_failures: IntCounterVec,
    /// See [`INPUT_UP`].
    pub input_up: IntGaugeVec,
    /// See [`SYSLOG_UDP_LOST`].
    pub syslog_udp_lost: IntCounterVec,
    /// See [`COMMITS`].
    pub commits: IntCounterVec,
    /// See [`COMMIT_SECONDS`].
    pub commit_seconds: Histogram,
    /// See [`LAG`].
    pub lag: IntGaugeVec,
    /// See [`LAG_SECONDS`].
    pub lag_seconds: GaugeVec,
    /// See [`STALLED`].
    pub stalled: IntCounterVec,
    /// See [`LOG_BYTES`].
    pub log_bytes: GaugeVec,
    /// See [`LOG_EXPIRED_UNREAD`].
    pub log_expired_unread: IntCounterVec,
    /// See [`KAFKA_BROKERS_UP`].
    pub kafka_brokers_up: IntGaugeVec,
    /// See [`KAFKA_RTT`].
    pub kafka_rtt: GaugeVec,
    /// See [`KAFKA_QUEUE_BYTES`].
    pub kafka_queue_bytes: IntGaugeVec,
    /// See [`KAFKA_ERRORS`].
    pub kafka_errors: IntCounterVec,
    /// See [`KAFKA_REBALANCES`].
    pub kafka_rebalances: IntCounterVec,
    /// See [`KAFKA_TRANSACTIONS`].
    pub kafka_transactions: IntCounterVec,
    /// See [`PLUGIN_RUNS`].
    pub plugin_runs: IntCounterVec,
    /// See [`PLUGIN_CALLS`].
    pub plugin_calls: IntCounterVec,
    /// See [`PLUGIN_SECONDS`].
    pub plugin_seconds: CounterVec,
    /// See [`PLUGIN_BYTES`].
    pub plugin_bytes: IntCounterVec,
    /// See [`PLUGIN_LOG_LOST`].
    pub plugin_log_lost: IntCounterVec,
    /// See [`PLUGIN_CHANGES`].
    pub plugin_changes: IntCounterVec,
    /// See [`PLUGINS_LOADED`].
    pub plugins_loaded: IntGauge,
    /// See [`EVENT_ERRORS`].
    pub event_errors: IntCounterVec,
    /// See [`RULE_MATCHES`].
    pub rule_matches: IntCounterVec,
    /// See [`GROUPS_SKIPPED`].
    pub groups_skipped: IntCounterVec,
    /// See [`SUMMARY_UNKNOWN`].
    pub summary_unknown: IntCounter,
    /// See [`RULES_LOADED`].
    pub rules_loaded: IntGauge,
    /// See [`RULE_RELOADS`].
    pub rule_reloads: IntCounterVec,
    /// See [`WINDOW_GROUPS`].
    pub window_groups: IntGauge,
    /// See [`CLOCK_SUSPECT`].
    pub clock_suspect: IntCounter,
    /// See [`ALERTS`].
    pub alerts: IntCounterVec,
    /// See [`ALERT_SECONDS`].
    pub alert_seconds: Histogram,
    /// See [`BULK_REQUESTS`].
    pub bulk_requests: IntCounterVec,
    /// See [`BULK_ITEMS`].
    pub bulk_items: IntCounterVec,
    /// See [`INDEX_DOCUMENTS`].
    pub index_documents: IntCounter,
    /// See [`INDEX_IGNORED`].
    pub index_ignored: IntCounter,
    /// See [`READY`].
    pub ready: Gauge,
}

static METRICS: LazyLock<Metrics> = LazyLock::new(Metrics::new);

/// The process's metrics.
pub fn metrics() -> &'static Metrics {
    &METRICS
}

impl Metrics {
    fn new() -> Metrics {
        let registry = Registry::new();
        let r = &registry;
        let metrics = Metrics {
            records_in: counters(r, &RECORDS_IN),
            records_out: counters(r, &RECORDS_OUT),
            records_dropped: counters(r, &RECORDS_DROPPED),
            records_dead: counters(r, &RECORDS_DEAD),
            http_requests: counters(r, &HTTP_REQUESTS),
            http_bytes: counter(r, &HTTP_BYTES),
            input_records: counters(r, &INPUT_RECORDS),
            input_bytes: counters(r, &INPUT_BYTES),
            input_failures: counters(r, &INPUT_FAILURES),
            input_up: gauges(r, &INPUT_UP),
            syslog_udp_lost: counters(r, &SYSLOG_UDP_LOST),
            commits: counters(r, &COMMITS),
            commit_seconds: seconds(r, &COMMIT_SECONDS),
            lag: gauges(r, &LAG),
            lag_seconds: float_gauges(r, &LAG_SECONDS),
            stalled: counters(r, &STALLED),
            log_bytes: float_gauges(r, &LOG_BYTES),
            log_expired_unread: counters(r, &LOG_EXPIRED_UNREAD),
            kafka_brokers_up: gauges(r, &KAFKA_BROKERS_UP),
            kafka_rtt: float_gauges(r, &KAFKA_RTT),
            kafka_queue_bytes: gauges(r, &KAFKA_QUEUE_BYTES),
            kafka_errors: counters(r, &KAFKA_ERRORS),
            kafka_rebalances: counters(r, &KAFKA_REBALANCES),
            kafka_transactions: counters(r, &KAFKA_TRANSACTIONS),
            plugin_runs: counters(r, &PLUGIN_RUNS),
            plugin_calls: counters(r, &PLUGIN_CALLS),
            plugin_seconds: float_counters(r, &PLUGIN_SECONDS),
            plugin_bytes: counters(r, &PLUGIN_BYTES),
            plugin_log_lost: counters(r, &PLUGIN_LOG_LOST),
            plugin_changes: counters(r, &PLUGIN_CHANGES),
            plugins_loaded: gauge(r, &PLUGINS_LOADED),
            event_errors: counters(r, &EVENT_ERRORS),
            rule_matches: counters(r, &RULE_MATCHES),
            groups_skipped: counters(r, &GROUPS_SKIPPED),
            summary_unknown: counter(r, &SUMMARY_UNKNOWN),
            rules_loaded: gauge(r, &RULES_LOADED),
            rule_reloads: counters(r, &RULE_RELOADS),
            window_groups: gauge(r, &WINDOW_GROUPS),
            clock_suspect: counter(r, &CLOCK_SUSPECT),
            alerts: counters(r, &ALERTS),
            alert_seconds: seconds(r, &ALERT_SECONDS),
            bulk_requests: counters(r, &BULK_REQUESTS),
            bulk_items: counters(r, &BULK_ITEMS),
            index_documents: counter(r, &INDEX_DOCUMENTS),
            index_ignored: counter(r, &INDEX_IGNORED),
            ready: float_gauge(r, &READY),
            registry,
        };
        metrics.start_at_zero();
        metrics
    }

    /// Every series of closed labels exists from the start, so that a rate never misses a first count.
    fn start_at_zero(&self) {
        for stage in Stage::ALL {
            self.records_in.with_label_values(&[stage.as_str()]);
            self.records_out.with_label_values(&[stage.as_str()]);
            for reason in Drop::ALL {
                self.records_dropped.with_label_values(&[stage.as_str(), reason.as_str()]);
            }
            for reason in Reason::ALL {
                self.records_dead.with_label_values(&[stage.as_str(), reason.as_str()]);
            }
        }
    }

    /// Counts records that a stage has taken up.
    pub fn taken(&self, stage: Stage, count: u64) {
        self.records_in.with_label_values(&[stage.as_str()]).inc_by(count);
    }

    /// Counts records that a stage has finished.
    pub fn finished(&self, stage: Stage, count: u64) {
        self.records_out.with_label_values(&[stage.as_str()]).inc_by(count);
    }

    /// Counts records dropped on purpose.
    pub fn dropped(&self, stage: Stage, reason: Drop, count: u64) {
        self.records_dropped.with_label_values(&[stage.as_str(), reason.as_str()]).inc_by(count);
    }

    /// Counts dead letters.
    pub fn dead(&self, stage: Stage, reason: Reason, count: u64) {
        self.records_dead.with_label_values(&[stage.as_str(), reason.as_str()]).inc_by(count);
    }

    /// `(in, out, dropped, dead)` of a stage.
    pub fn totals(&self, stage: Stage) -> (u64, u64, u64, u64) {
        let dropped = Drop::ALL
            .iter()
            .map(|r| self.records_dropped.with_label_values(&[stage.as_str(), r.as_str()]).get());
        let dead = Reason::ALL
            .iter()
            .map(|r| self.records_dead.with_label_values(&[stage.as_str(), r.as_str()]).get());
        (
            self.records_in.with_label_values(&[stage.as_str()]).get(),
            self.records_out.with_label_values(&[stage.as_str()]).get(),
            dropped.sum(),
            dead.sum(),
        )
    }

    /// All metrics in Prometheus's text format.
    pub fn text(&self) -> String {
        let mut out = Vec::new();
        match TextEncoder::new().encode(&self.registry.gather(), &mut out) {
            Ok(()) => String::from_utf8(out).unwrap_or_default(),
            Err(error) => format!("# cannot write metrics: {error}\n"),
        }
    }
}

/// The table is a constant; a wrong row fails in every test that touches a metric.
const TABLE_IS_VALID: &str = "the table of metrics has valid, distinct names";

#[allow(clippy::expect_used, reason = "rows are constants of this file")]
fn register<C: prometheus::core::Collector + Clone + 'static>(
    registry: &Registry,
    made: prometheus::Result<C>,
) -> C {
    let made = made.expect(TABLE_IS_VALID);
    registry.register(Box::new(made.clone())).expect(TABLE_IS_VALID);
    made
}

fn counters(registry: &Registry, metric: &Metric) -> IntCounterVec {
    register(registry, IntCounterVec::new(Opts::new(metric.name, metric.help), metric.labels))
}

fn float_counters(registry: &Registry, metric: &Metric) -> CounterVec {
    register(registry, CounterVec::new(Opts::new(metric.name, metric.help), metric.labels))
}

fn counter(registry: &Registry, metric: &Metric) -> IntCounter {
    register(registry, IntCounter::new(metric.name, metric.help))
}

fn gauges(registry: &Registry, metric: &Metric) -> IntGaugeVec {
    register(registry, IntGaugeVec::new(Opts::new(metric.name, metric.help), metric.labels))
}

fn float_gauges(registry: &Registry, metric: &Metric) -> GaugeVec {
    register(registry, GaugeVec::new(Opts::new(metric.name, metric.help), metric.labels))
}

fn gauge(registry: &Registry, metric: &Metric) -> IntGauge {
    register(registry, IntGauge::new(metric.name, metric.help))
}

fn float_gauge(registry: &Registry, metric: &Metric) -> Gauge {
    register(registry, Gauge::new(metric.name, metric.help))
}

fn seconds(registry: &Registry, metric: &Metric) -> Histogram {
    let buckets = vec![0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0];
    register(registry, Histogram::with_opts(HistogramOpts::new(metric.name, metric.help).buckets(buckets)))
}

#[cfg(test)]
mod tests {
    use super::{Drop, Stage, TABLE, metrics};
    use crate::error::Reason;

    #[test]
    fn counters_add_up_and_appear_in_the_text() {
        let m = metrics();
        let before = m.totals(Stage::Match);
        m.taken(Stage::Match, 6);
        m.finished(Stage::Match, 3);
        m.dropped(Stage::Match, Drop::Late, 2);
        m.dead(Stage::Match, Reason::MalformedRecord, 1);
        let after = m.totals(Stage::Match);
        assert_eq!(
            (after.0 - before.0, after.1 - before.1, after.2 - before.2, after.3 - before.3),
            (6, 3, 2, 1)
        );
        assert!(m.text().contains("mozdef_records_dropped_total{reason=\"late\",stage=\"match\"}"));
    }

    #[test]
    fn names_follow_prometheus_and_are_distinct() {
        for (index, metric) in TABLE.iter().enumerate() {
            assert!(metric.name.starts_with("mozdef_") && metric.help.ends_with('.'), "{}", metric.name);
            assert!(TABLE.iter().skip(index + 1).all(|other| other.name != metric.name), "{}", metric.name);
        }
    }

    #[test]
    fn every_row_of_the_table_is_registered_and_nothing_else() {
        let m = metrics();
        for family in m.registry.gather() {
            let name = family.name();
            assert!(TABLE.iter().any(|row| row.name == name), "{name} is not in the table");
        }
        for row in TABLE {
            // A second registration of a name is refused; so is nothing else here.
            let again = prometheus::IntCounterVec::new(prometheus::Opts::new(row.name, row.help), row.labels)
                .unwrap();
            assert!(m.registry.register(Box::new(again)).is_err(), "{} is not registered", row.name);
        }
    }

    #[test]
    fn closed_labels_start_at_zero() {
        let text = metrics().text();
        for stage in Stage::ALL {
            assert!(text.contains(&format!("mozdef_records_in_total{{stage=\"{}\"}}", stage.as_str())));
            for reason in Reason::ALL {
                let line =
                    format!("mozdef_records_dead_total{{reason=\"{reason}\",stage=\"{}\"}}", stage.as_str());
                assert!(text.contains(&line), "{line}");
            }
        }
    }
}
