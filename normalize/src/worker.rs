//! The normalizer stage: raw records to events, partition p to partition p.
//!
//! In: records of `mozdef.raw`. Out: one record each on `mozdef.events`, or on
//! `mozdef.dead` with the original bytes; a heartbeat while a partition has
//! nothing more. Never: counts for what was not committed.

use std::collections::HashMap;

use bytes::Bytes;
use model::config::NormalizeConfig;
use model::error::Reason;
use model::headers;
use model::ids::{EventId, Hex, content_digest};
use model::metrics::Stage;
use model::time::Timestamp;
use model::topic::Topic;
use model::wire_format;
use stream::health::Health;
use stream::log::RECORD_BYTES_MAX;
use stream::record::{Headers, NewRecord, Record};
use stream::worker::{Worker, WorkerOptions};

use crate::chain::tally::Tally;
use crate::normalizer::{Format, Normalized, Normalizer, Raw, Sender};
use crate::registry::{self, Decoded, Registry, RegistryError};
use crate::start::{Settings, StartError};

mod notices;

use self::notices::Notices;

/// How the stage is run.
pub fn options() -> WorkerOptions {
    WorkerOptions {
        group: "mozdef-normalizer",
        stage: Stage::Normalizer,
        input: Topic::Raw,
        changelog: None,
        health: Health::default(),
    }
}

/// Why the stage cannot start.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The configuration names what is not there.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The registry cannot be used.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

/// The stage's worker.
pub struct NormalizerWorker {
    normalizer: Normalizer,
    log_id: String,
    registry: Option<Registry>,
    /// What the values in hand that name a schema turned into, by offset.
    decoded: HashMap<u64, Decoded>,
    /// What stands before each event.
    head: Option<[u8; wire_format::HEAD_BYTES]>,
    /// What happened since the last commit, by partition.
    tallies: HashMap<u32, Tally>,
    /// Plugins that were quarantined.
    notices: Notices,
}

impl NormalizerWorker {
    /// A worker over the log of this id.
    ///
    /// # Errors
    /// [`WorkerError`] when the configuration names what is not there.
    pub fn new(config: &NormalizeConfig, log_id: &str) -> Result<NormalizerWorker, WorkerError> {
        let registry = config.registry.as_ref().map(Registry::new).transpose()?;
        let worker = NormalizerWorker::with_settings(Settings::from_config(config)?, log_id);
        Ok(NormalizerWorker { registry, ..worker })
    }

    /// A worker with settings of one's own.
    pub fn with_settings(settings: Settings, log_id: &str) -> NormalizerWorker {
        NormalizerWorker {
            normalizer: Normalizer::new(settings),
            log_id: log_id.to_owned(),
            registry: None,
            decoded: HashMap::new(),
            head: None,
            tallies: HashMap::new(),
            notices: Notices::default(),
        }
    }
}

impl Worker for NormalizerWorker {
    fn assigned(&mut self, partition: u32, _restored: Vec<Record>, _now: Timestamp) {
        self.tallies.insert(partition, Tally::default());
    }

    fn process(&mut self, partition: u32, records: &[Record], _now: Timestamp, out: &mut Vec<NewRecord>) {
        self.take_up_plugins();
        let tally = self.tallies.entry(partition).or_default();
        let (log_id, head) = (&self.log_id, self.head);
        let mut outputs: Vec<Option<NewRecord>> = Vec::with_capacity(records.len());
        let mut readable: Vec<Raw<'_>> = Vec::with_capacity(records.len());
        let mut places: Vec<usize> = Vec::with_capacity(records.len());
        for (place, record) in records.iter().enumerate() {
            match value(record, self.decoded.get(&record.offset), self.registry.is_some()) {
                Ok(value) => {
                    readable.push(Raw { value, ..raw(record) });
                    places.push(place);
                    outputs.push(None);
                }
                Err((reason, detail)) => {
                    tally.dead(reason);
                    outputs.push(Some(dead(record, event_id(log_id, record), reason, &detail)));
                }
            }
        }
        self.normalizer.normalize_all(&readable, tally, &mut |index, normalized, tally| {
            let Some(place) = places.get(index).copied() else { return };
            if let (Some(record), Some(output)) = (records.get(place), outputs.get_mut(place)) {
                *output = normal_form(log_id, record, normalized, head, tally);
            }
        });
        out.extend(outputs.into_iter().flatten());
    }

    fn prepare(&mut self, _partition: u32, records: &[Record]) -> Result<(), String> {
        self.decoded.clear();
        let Some(registry) = &mut self.registry else { return Ok(()) };
        self.head = registry.events_head()?;
        for record in records {
            if let Some(decoded) = registry.decode(record)? {
                self.decoded.insert(record.offset, decoded);
            }
        }
        Ok(())
    }

    fn tick(&mut self, partition: u32, now: Timestamp, at_end: Option<Timestamp>, out: &mut Vec<NewRecord>) {
        self.tell_quarantined(partition, now, out);
        let Some(time) = at_end else { return };
        let headers = Headers::with_capacity(2)
            .with(headers::KIND, headers::KIND_HEARTBEAT)
            .with(headers::RECEIVED, time.millis().to_string());
        out.push(NewRecord {
            topic: Topic::Events,
            partition: Some(partition),
            key: Bytes::new(),
            value: Bytes::new(),
            headers,
        });
    }

    fn committed(&mut self, partition: u32, _now: Timestamp) {
        if let Some(tally) = self.tallies.get_mut(&partition) {
            tally.publish(self.normalizer.plugin_names());
        }
        self.notices.committed(partition);
    }

    fn aborted(&mut self, partition: u32) {
        self.tallies.insert(partition, Tally::default());
        self.notices.aborted(partition);
    }

    fn revoked(&mut self, partition: u32) {
        self.tallies.remove(&partition);
        self.notices.aborted(partition);
    }
}

impl NormalizerWorker {
    /// New WebAssembly plugins take effect here, between two batches.
    fn take_up_plugins(&mut self) {
        if !self.normalizer.has_new_plugins() {
            return;
        }
        for tally in self.tallies.values_mut() {
            tally.settle(self.normalizer.plugin_names());
        }
        self.normalizer.take_up_plugins();
    }

    /// An event for each plugin that was quarantined, so that rules can raise an alert.
    fn tell_quarantined(&mut self, partition: u32, now: Timestamp, out: &mut Vec<NewRecord>) {
        if let Some(guests) = self.normalizer.guests() {
            self.notices.add(guests.take_notices());
        }
        out.extend(self.notices.tell(partition, now, self.normalizer.hostname()));
    }
}

/// A raw record as the normalizer reads it.
fn raw(record: &Record) -> Raw<'_> {
    Raw {
        value: &record.value,
        format: format(&record.headers),
        received: received(record),
        endpoint: record.headers.get_str(headers::ENDPOINT),
        custom_endpoint: record.headers.get_str(headers::CUSTOM_ENDPOINT) == Some("true"),
        queue: record.headers.get_str(headers::QUEUE),
        item: item(&record.headers).try_into().unwrap_or(usize::MAX),
        headers: Some(&record.headers),
        sender: sender(&record.headers),
        digest: Some(digest(record)),
    }
}

/// The bytes to normalise: the record's own, or what they are by their schema; or why there are none.
fn value<'r>(
    record: &'r Record,
    decoded: Option<&'r Decoded>,
    has_registry: bool,
) -> Result<&'r [u8], (Reason, String)> {
    match decoded {
        Some(decoded) => decoded.as_deref().map_err(Clone::clone),
        None if !has_registry && registry::is_framed(record) => Err((
            Reason::UnknownSchema,
            "its value is in Confluent's wire format, and no schema registry is configured: see normalize.registry"
                .to_owned(),
        )),
        None => Ok(&record.value),
    }
}

/// What a raw record leads to; `None` when a plugin dropped it. `head` stands before each event.
fn normal_form(
    log_id: &str,
    record: &Record,
    normalized: Normalized<'_>,
    head: Option<[u8; wire_format::HEAD_BYTES]>,
    tally: &mut Tally,
) -> Option<NewRecord> {
    match normalized {
        Normalized::Event { json, metadata } => {
            let id = event_id(log_id, record);
            let event = NewRecord {
                topic: Topic::Events,
                partition: Some(record.partition),
                key: Bytes::copy_from_slice(id.hex().as_str().as_bytes()),
                value: match head {
                    None => Bytes::copy_from_slice(json),
                    Some(head) => [&head[..], json].concat().into(),
                },
                headers: event_headers(
                    record,
                    received(record),
                    metadata.index.as_deref(),
                    metadata.id.as_deref(),
                ),
            };
            if event.size() <= RECORD_BYTES_MAX {
                return Some(event);
            }
            tally.dead_after_all(Reason::TooLarge);
            let detail =
                format!("its normal form has {} bytes, the topic takes {RECORD_BYTES_MAX}", event.size());
            Some(dead(record, id, Reason::TooLarge, &detail))
        }
        Normalized::Dropped { plugin } => {
            tracing::debug!(plugin, origin = record.origin(), "event dropped");
            None
        }
        Normalized::Dead { reason, detail } => {
            tracing::debug!(%reason, detail, origin = record.origin(), "record cannot be normalised");
            Some(dead(record, event_id(log_id, record), reason, &detail))
        }
    }
}

/// Digest of the original bytes and of the headers that say how they are read; not of when or by what way they came.
fn digest(record: &Record) -> Hex {
    let header = |name| record.headers.get(name).map_or(&b""[..], |value| value);
    let parts = [
        &record.value[..],
        header(headers::CONTENT_TYPE),
        header(headers::ENDPOINT),
        header(headers::CUSTOM_ENDPOINT),
    ];
    let input = record.headers.get_str(headers::INPUT).unwrap_or_default();
    if !matches!(input, headers::INPUT_HEC_RAW | headers::INPUT_OTLP | headers::INPUT_GITHUB) {
        return content_digest(&parts);
    }
    let beside =
        BESIDE.iter().flat_map(|name| record.headers.get(name).map(|value| [name.as_bytes(), value]));
    content_digest(&parts.into_iter().chain(beside.flatten()).collect::<Vec<_>>())
}

/// Headers that are part of the event itself, of inputs that have such.
const BESIDE: [&str; 8] = [
    headers::HEC_HOST,
    headers::HEC_SOURCE,
    headers::HEC_SOURCE_TYPE,
    headers::HEC_INDEX,
    headers::HEC_TIME,
    headers::OTLP_RESOURCE,
    headers::OTLP_SCOPE,
    headers::GITHUB_EVENT,
];

/// When the gateway took it, or else when the log did.
fn received(record: &Record) -> Timestamp {
    let header = record.headers.get_str(headers::RECEIVED).and_then(|text| text.parse().ok());
    header.map_or(record.appended, Timestamp::from_millis)
}

/// By the media type where it says syslog, else by the input.
fn format(headers: &Headers) -> Format {
    let media_type = headers.get_str(headers::CONTENT_TYPE).unwrap_or_default();
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case(headers::MEDIA_SYSLOG) {
        return Format::Syslog;
    }
    if headers.get_str(headers::KIND) == Some(headers::KIND_NOTIFICATION) {
        return Format::Notification;
    }
    match headers.get_str(headers::INPUT).unwrap_or_default() {
        headers::INPUT_AMQP => Format::JsonText,
        headers::INPUT_SQS => Format::Sqs,
        headers::INPUT_SNS => Format::Sns,
        headers::INPUT_CLOUDTRAIL => Format::CloudTrail,
        headers::INPUT_GUARD_DUTY => Format::GuardDuty,
        headers::INPUT_HEC => Format::Collector,
        headers::INPUT_HEC_RAW => Format::CollectorLine,
        headers::INPUT_OTLP if essence.eq_ignore_ascii_case("application/x-protobuf") => Format::OtlpProtobuf,
        headers::INPUT_OTLP => Format::OtlpJson,
        headers::INPUT_GITHUB => Format::Github,
        headers::INPUT_PAPERTRAIL => Format::Papertrail,
        headers::INPUT_PUBSUB => Format::PubSub,
        _ => Format::Json,
    }
}

/// Which event of its message a record is, from 0.
fn item(headers: &Headers) -> u32 {
    headers.get_str(headers::ITEM).and_then(|item| item.parse().ok()).unwrap_or_default()
}

/// Only a syslog listener's peer is the device itself, or its relay; any other is somebody's shipper.
fn sender(headers: &Headers) -> Sender<'_> {
    let is_listener = headers.get_str(headers::INPUT) == Some(headers::INPUT_SYSLOG);
    Sender {
        peer: headers.get_str(headers::PEER).filter(|peer| is_listener && !peer.is_empty()),
        zone_minutes: headers.get_str(headers::ZONE_MINUTES).and_then(|minutes| minutes.parse().ok()),
    }
}

/// The id of a raw record's event: the one it has already; that of the client's id; else that of its place.
pub fn event_id(log_id: &str, record: &Record) -> EventId {
    let text = |name| record.headers.get_str(name);
    if let Some(id) = text(headers::EVENT_ID).and_then(EventId::parse) {
        return id;
    }
    match record.headers.get(headers::CLIENT_ID) {
        Some(client_id) => {
            let principal = text(headers::PRINCIPAL).unwrap_or_default();
            let input = text(headers::INPUT).unwrap_or_default();
            EventId::from_client(principal, input, client_id, item(&record.headers))
        }
        None => EventId::from_position(log_id, record.topic.name(), record.partition, record.offset, 0),
    }
}

fn event_headers(record: &Record, received: Timestamp, index: Option<&str>, id: Option<&str>) -> Headers {
    let mut headers = Headers::with_capacity(6)
        .with(headers::RECEIVED, received.millis().to_string())
        .with(headers::ORIGIN, record.origin());
    if let Some(index) = index {
        headers.push(headers::INDEX, index.to_owned());
    }
    if let Some(id) = id {
        headers.push(headers::DOCUMENT_ID, id.to_owned());
    }
    // The backfill mark; and the client's id, by which the sink knows that the event may come again.
    for name in [headers::BACKFILL, headers::CLIENT_ID] {
        if let Some(value) = record.headers.get(name) {
            headers.push(name, value.clone());
        }
    }
    headers
}

/// The original record with its headers, and why it goes no further.
fn dead(record: &Record, id: EventId, reason: Reason, detail: &str) -> NewRecord {
    let mut headers = record.headers.clone();
    headers.set(headers::EVENT_ID, id.hex().as_str().to_owned());
    headers.set(headers::STAGE, Stage::Normalizer.as_str());
    headers.set(headers::REASON, reason.as_str());
    headers.set(headers::DETAIL, detail.to_owned());
    headers.set(headers::ORIGIN, record.origin());
    headers.set(headers::VERSION, env!("CARGO_PKG_VERSION"));
    NewRecord {
        topic: Topic::Dead,
        partition: None,
        key: Bytes::copy_from_slice(id.hex().as_str().as_bytes()),
        value: record.value.clone(),
        headers,
    }
}

#[cfg(test)]
mod tests;
