//! Topics that other programs write: `ingest.kafka`.
//!
//! In: records of other programs, on the log's cluster or another. Out: raw records, one an event; the offsets are
//! committed once these are durable. Never: an event lost or doubled: what comes twice has the same id, made of cluster,
//! topic, partition and offset.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use model::config::{KafkaConfig, KafkaFormat, KafkaSourceConfig, KafkaStart};
use model::error::Reason;
use model::event::{Limits, ParseError};
use model::metrics::metrics;
use model::time::Timestamp;
use model::{headers, wire_format};
use stream::kafka::source::{Source, SourceOptions, SourceRecord};
use stream::log::{FetchLimits, LogError};
use stream::record::{Headers, NewRecord};
use stream::shutdown::Shutdown;
use tokio::task::JoinSet;

use crate::backoff::Backoff;
use crate::http::split::{Piece, split_json, split_lines};
use crate::intake::{Intake, IntakeError};
use crate::raw::{self, ClientId, Envelope};
use crate::tasks;

/// Name of this input in headers, ids and metrics.
const KAFKA: &str = headers::INPUT_KAFKA;
/// One batch, and so one produce.
const BATCH: FetchLimits = FetchLimits { records_max: 2000, bytes_max: 4 << 20 };
/// Most events of one record.
const EVENTS_MAX: usize = 10_000;
/// Most headers of a record that are kept, and the longest value and key.
const HEADERS_MAX: usize = 32;
const HEADER_BYTES_MAX: usize = 1024;
/// Longest wait after trouble.
const REST_MAX: Duration = Duration::from_secs(10);

/// Why a source cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum KafkaSourceError {
    /// The log takes nothing more.
    #[error(transparent)]
    Intake(#[from] IntakeError),
    /// No brokers are known.
    #[error("ingest.kafka.{0}: no broker is named, and the log is not on Kafka; give brokers")]
    NoBrokers(String),
}

/// Consumes every source until shutdown.
///
/// # Errors
/// [`KafkaSourceError`]; trouble with brokers is waited for.
pub async fn run(
    sources: BTreeMap<String, KafkaSourceConfig>,
    log: Option<KafkaConfig>,
    intake: Intake,
    shutdown: Shutdown,
) -> Result<(), KafkaSourceError> {
    let mut running = JoinSet::new();
    for (name, config) in sources {
        let reader = Reader::new(name, &config, log.as_ref(), intake.clone())?;
        running.spawn(reader.run(shutdown.clone()));
    }
    tasks::all(running).await
}

/// One source.
struct Reader {
    name: String,
    options: SourceOptions,
    format: KafkaFormat,
    endpoint: String,
    limits: Limits,
    intake: Intake,
}

impl Reader {
    fn new(
        name: String,
        config: &KafkaSourceConfig,
        log: Option<&KafkaConfig>,
        intake: Intake,
    ) -> Result<Reader, KafkaSourceError> {
        let cluster = config.cluster(log).ok_or_else(|| KafkaSourceError::NoBrokers(name.clone()))?;
        let group = match config.group.as_str() {
            "" => cluster.group_name(&format!("mozdef-ingest-{name}")),
            group => group.to_owned(),
        };
        let options = SourceOptions {
            group,
            topics: config.topics.clone(),
            from_start: config.start == KafkaStart::Earliest,
            except: log
                .map(|log| log.prefix.clone())
                .filter(|_| config.brokers.is_empty())
                .unwrap_or_default(),
            cluster,
        };
        let limits = Limits::from(config.event);
        Ok(Reader { name, options, format: config.format, endpoint: config.endpoint.clone(), limits, intake })
    }

    async fn run(self, mut shutdown: Shutdown) -> Result<(), KafkaSourceError> {
        let mut backoff = Backoff::up_to(REST_MAX);
        while !shutdown.is_set() {
            let joined = tokio::select! {
                biased;
                () = shutdown.wait() => break,
                joined = Source::join(&self.options) => joined,
            };
            let trouble = match joined {
                Ok(mut source) => {
                    backoff.reset();
                    tracing::info!(source = self.name, group = self.options.group, "consuming");
                    let consumed = self.consume(&mut source, &mut shutdown).await;
                    self.up(false);
                    match consumed {
                        Ok(()) | Err(Trouble::Intake(IntakeError::Stopped)) => break,
                        Err(Trouble::Intake(error)) => return Err(error.into()),
                        Err(Trouble::Source(error)) => error,
                    }
                }
                Err(error) => error,
            };
            metrics().input_failures.with_label_values(&[KAFKA, "source"]).inc();
            tracing::warn!(source = self.name, error = %trouble, "the source cannot be read; trying again");
            if backoff.wait(None, &mut shutdown).await.is_stopped() {
                break;
            }
        }
        Ok(())
    }

    async fn consume(&self, source: &mut Source, shutdown: &mut Shutdown) -> Result<(), Trouble> {
        self.up(true);
        loop {
            let batch = tokio::select! {
                biased;
                () = shutdown.wait() => return Ok(()),
                batch = source.batch(BATCH) => batch.map_err(Trouble::Source)?,
            };
            let (now, cluster) = (self.intake.now(), source.cluster().to_owned());
            let mut records = Vec::with_capacity(batch.len());
            for record in &batch {
                self.convert(record, &cluster, now, &mut records);
            }
            // What is not in the log when shutdown comes is not committed, and comes again.
            self.intake.put_until(records, shutdown).await.map_err(Trouble::Intake)?;
            tokio::select! {
                biased;
                () = source.commit() => {}
                // Brokers that are away must not keep the process; these records come again.
                () = shutdown.wait() => return Ok(()),
            }
        }
    }

    fn up(&self, is_up: bool) {
        metrics().input_up.with_label_values(&[KAFKA, &self.name]).set(i64::from(is_up));
    }

    /// The raw records of a record: its events, and what is none.
    fn convert(&self, record: &SourceRecord, cluster: &str, now: Timestamp, out: &mut Vec<NewRecord>) {
        let envelope = self.envelope(record, now);
        let id = Bytes::from(format!("{cluster}/{}/{}", record.partition, record.offset));
        let client = |item: Option<u32>| ClientId { id: id.clone(), item };
        let Some(value) = &record.value else {
            let why = "a record without a value (a tombstone) is no event";
            out.push(envelope.dead(Bytes::new(), Some(&client(None)), Reason::Empty, why));
            return;
        };
        if wire_format::split(value).is_some() || record.headers.get(headers::VALUE_SCHEMA_ID).is_some() {
            // The normalizer reads it, by its schema: the original stays as it is.
            out.push(envelope.event(value.clone(), Some(&client(None))));
            return;
        }
        let pieces = match self.format {
            KafkaFormat::Json => split_json(value, &self.limits, EVENTS_MAX),
            KafkaFormat::Syslog => split_lines(value, &self.limits, EVENTS_MAX),
        };
        match pieces {
            Err(_) => {
                let why = format!("more than {EVENTS_MAX} events in one record");
                out.push(envelope.dead(value.clone(), Some(&client(None)), Reason::TooLarge, &why));
            }
            Ok(pieces) if pieces.is_empty() => {
                let why = ParseError::Empty.to_string();
                out.push(envelope.dead(value.clone(), Some(&client(None)), Reason::Empty, &why));
            }
            Ok(pieces) => {
                for (number, Piece { range, problem }) in pieces.into_iter().enumerate() {
                    let client = client(Some(u32::try_from(number).unwrap_or(u32::MAX)));
                    let slice = value.slice(range);
                    out.push(match problem {
                        None => envelope.event(slice, Some(&client)),
                        Some(error) => {
                            envelope.dead(slice, Some(&client), error.reason(), &error.to_string())
                        }
                    });
                }
            }
        }
    }

    fn envelope(&self, record: &SourceRecord, now: Timestamp) -> Envelope {
        let mut more = Headers::new()
            .with(headers::KAFKA_TOPIC, record.topic.to_string())
            .with(headers::KAFKA_PARTITION, record.partition.to_string())
            .with(headers::KAFKA_OFFSET, record.offset.to_string());
        if let Some(time) = record.time {
            more.push(headers::KAFKA_TIME, time.millis().to_string());
        }
        if !record.key.is_empty() {
            more.push(headers::KAFKA_KEY, cut(&record.key));
        }
        if self.format == KafkaFormat::Syslog {
            more.push(headers::CONTENT_TYPE, headers::MEDIA_SYSLOG);
        }
        if !self.endpoint.is_empty() {
            more.push(headers::ENDPOINT, self.endpoint.clone());
            more.push(headers::CUSTOM_ENDPOINT, "true");
        }
        for (name, value) in record.headers.iter().take(HEADERS_MAX) {
            let name: String = name.chars().take(HEADER_BYTES_MAX / 4).collect();
            more.push(format!("{}{name}", headers::KAFKA_HEADER_PREFIX), cut(value));
        }
        let principal = Bytes::copy_from_slice(record.topic.as_bytes());
        let source = raw::Source { input: KAFKA, principal, peer: Bytes::new(), more };
        source.received(now)
    }
}

/// What ends the reading of a source.
enum Trouble {
    Source(LogError),
    Intake(IntakeError),
}

/// The first bytes of a value that may be long.
fn cut(value: &Bytes) -> Bytes {
    value.slice(..value.len().min(HEADER_BYTES_MAX))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use model::config::{KafkaConfig, KafkaFormat, KafkaSourceConfig};
    use model::headers;
    use model::time::{Clock, Timestamp};
    use model::topic::Topic;
    use stream::kafka::source::SourceRecord;
    use stream::local::{self, LocalOptions};
    use stream::record::{Headers, NewRecord};

    use super::Reader;
    use crate::intake::Intake;

    async fn converted(config: &KafkaSourceConfig, value: Option<&[u8]>) -> Vec<NewRecord> {
        let folder = tempfile::tempdir().unwrap();
        let options = LocalOptions {
            folder: folder.path().to_owned(),
            partitions: 1,
            retention_hours: 1,
            retention_mib: 256,
            min_free_mib: 0,
            clock: Clock::System,
        };
        let log = local::open(options).await.unwrap().0;
        let cluster = KafkaConfig { brokers: vec!["a:1".to_owned()], ..KafkaConfig::default() };
        let intake = Intake::new(log, Clock::System, "kafka");
        let reader = Reader::new("apps".to_owned(), config, Some(&cluster), intake).unwrap();
        assert_eq!(
            (reader.options.group.as_str(), reader.options.except.as_str()),
            ("mozdef-ingest-apps", "mozdef.")
        );
        let record = SourceRecord {
            topic: Arc::from("app.logs"),
            partition: 3,
            offset: 41,
            time: Some(Timestamp::from_millis(5)),
            key: Bytes::from_static(b"k"),
            value: value.map(Bytes::copy_from_slice),
            headers: Headers::new().with("trace", "t1"),
        };
        let mut out = Vec::new();
        reader.convert(&record, "cluster", Timestamp::from_millis(9), &mut out);
        out
    }

    #[track_caller]
    fn check(records: &[NewRecord], expected: &[(Topic, &str, &str)]) {
        let got: Vec<(Topic, &str, &str)> = records
            .iter()
            .map(|record| {
                let what = record.headers.get_str(headers::REASON);
                let what = what.or_else(|| record.headers.get_str(headers::ITEM)).unwrap_or_default();
                (record.topic, std::str::from_utf8(&record.value).unwrap(), what)
            })
            .collect();
        assert_eq!(got, expected);
    }

    #[tokio::test]
    async fn a_record_is_split_into_its_events_with_ids_of_its_place() {
        let config = KafkaSourceConfig { endpoint: "shop".to_owned(), ..KafkaSourceConfig::default() };
        let records = converted(&config, Some(b"{\"a\":1}\n{\"b\":2}\nno\n")).await;
        check(
            &records,
            &[
                (Topic::Raw, "{\"a\":1}", "0"),
                (Topic::Raw, "{\"b\":2}", "1"),
                (Topic::Dead, "no", "malformed_json"),
            ],
        );
        let text = |name| records[0].headers.get_str(name).unwrap();
        assert_eq!((text(headers::PRINCIPAL), text(headers::CLIENT_ID)), ("app.logs", "cluster/3/41"));
        assert_eq!((text("kafka-header-trace"), text(headers::KAFKA_KEY)), ("t1", "k"));
        assert_eq!((text(headers::KAFKA_TIME), text(headers::ENDPOINT)), ("5", "shop"));
    }

    #[tokio::test]
    async fn what_is_no_event_is_dead_with_its_reason() {
        let json = KafkaSourceConfig::default();
        check(&converted(&json, None).await, &[(Topic::Dead, "", "empty")]);
        check(&converted(&json, Some(b" ")).await, &[(Topic::Dead, " ", "empty")]);
        check(&converted(&json, Some(b"7")).await, &[(Topic::Dead, "7", "not_an_object")]);
        let wire = converted(&json, Some(b"\0\0\0\0\x07abc")).await;
        // With its schema's number in front: whole, for the normalizer.
        assert_eq!((wire.len(), wire[0].topic, &wire[0].value[..]), (1, Topic::Raw, &b"\0\0\0\0\x07abc"[..]));
        let syslog = KafkaSourceConfig { format: KafkaFormat::Syslog, ..KafkaSourceConfig::default() };
        let lines = converted(&syslog, Some(b"<13>a\n\n<14>b")).await;
        check(&lines, &[(Topic::Raw, "<13>a", "0"), (Topic::Raw, "<14>b", "1")]);
        assert_eq!(lines[0].headers.get_str(headers::CONTENT_TYPE), Some("text/x-syslog"));
    }
}
