//! One record in, one event out: read, map, run the plugins, complete, write.
//!
//! In: the bytes of one event as it came, what its headers say, the time of
//! receipt. Out: JSON in normal form; or dropped, by which plugin; or dead,
//! and why. Never: I/O, a clock, or state from one event to the next.

mod batch;
mod collector;
mod github;
mod lines;
mod otlp;
mod pullers;
mod queues;

use std::sync::Arc;

use model::config::SitesConfig;
use model::error::Reason;
use model::event::{EditError, Event, Flags, Limits, ParseError, Value};
use model::ids::Hex;
use model::time::Timestamp;
use plugins::Watched;
use stream::record::Headers;

use crate::chain::tally::{Run, Tally};
use crate::chain::{Answer, Chain, Verdict, Waiting, apply};
use crate::dates::Reference;
use crate::geoip_database::GeoDatabase;
use crate::key_mapping::{self, Mapper, Mapping, write_time};
use crate::marks::{Kind, Marks};
use crate::plugin::{Context, Metadata, Outcome};
use crate::schema;
use crate::start::Settings;

/// How the bytes of a record are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON object.
    Json,
    /// One syslog message.
    Syslog,
    /// A message's body: one JSON object, or JSON text that holds one, as kombu sends it.
    JsonText,
    /// A message of SQS: one JSON object, or base64 of it.
    Sqs,
    /// A message of SNS in its envelope.
    Sns,
    /// A record of CloudTrail.
    CloudTrail,
    /// A finding of GuardDuty, in SNS's envelope or EventBridge's or alone.
    GuardDuty,
    /// An event of Splunk's collector, in its envelope.
    Collector,
    /// A raw line of Splunk's collector; what stands in an envelope else is in the headers.
    CollectorLine,
    /// A log record of OTLP in protobuf; its resource and scope are in the headers.
    OtlpProtobuf,
    /// The same in JSON.
    OtlpJson,
    /// A webhook of GitHub; the event's kind is in the headers.
    Github,
    /// A message that only tells where events are: none itself.
    Notification,
    /// One event of Papertrail's search API.
    Papertrail,
    /// The data of one Pub/Sub message: a JSON object.
    PubSub,
}

/// The device that sent a syslog message, as its listener knows it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sender<'r> {
    /// Its address, or its relay's: it stands in for a host that the message does not name.
    pub peer: Option<&'r str>,
    /// Minutes east of Greenwich of its times without a zone.
    pub zone_minutes: Option<i32>,
}

/// One event as it came.
#[derive(Clone, Copy, Debug)]
pub struct Raw<'r> {
    /// Its bytes.
    pub value: &'r [u8],
    /// How to read them.
    pub format: Format,
    /// When it was received.
    pub received: Timestamp,
    /// The endpoint that took it, merged into the event.
    pub endpoint: Option<&'r str>,
    /// Whether that is a custom endpoint: key mapping is skipped.
    pub custom_endpoint: bool,
    /// The queue that brought it: a tag of its event, where the original tagged it.
    pub queue: Option<&'r str>,
    /// Which of the events it is that are made of these bytes, from 0.
    pub item: usize,
    /// Everything that its record's headers say, where it has some: a few formats put parts of the event there.
    pub headers: Option<&'r Headers>,
    /// Who sent it, where that is known.
    pub sender: Sender<'r>,
    /// Digest of what it was made of, written to `mozdef.digest`: by it the sink tells a repetition from a conflict.
    pub digest: Option<Hex>,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Normalized<'n> {
    /// It goes on.
    Event {
        /// Normal form.
        json: &'n [u8],
        /// Index and document id, where a plugin chose them.
        metadata: &'n Metadata,
    },
    /// A plugin dropped it.
    Dropped {
        /// The plugin's name.
        plugin: &'n str,
    },
    /// It cannot be normalised.
    Dead {
        /// Why, for metrics.
        reason: Reason,
        /// Why, for people.
        detail: String,
    },
}

/// What one plugin did with a document that was in normal form already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Alone {
    /// There is no plugin of this name.
    UnknownPlugin,
    /// The document is no event.
    Unreadable(String),
    /// The plugin failed.
    Failed(String),
    /// The plugin dropped it.
    Dropped,
    /// The document as the plugin left it, and the metadata.
    Event(String, Metadata),
}

/// Normalises; its memory is reused from event to event.
pub struct Normalizer {
    hostname: String,
    limits: Limits,
    zone_minutes: i32,
    geoip: Option<GeoDatabase>,
    sites: SitesConfig,
    chain: Chain,
    mapper: Mapper,
    marks: Marks,
    /// Remarks about plugins that failed on the event in hand.
    failures: Vec<String>,
    input: Event,
    /// A document that was taken out of another.
    inner: Event,
    event: Event,
    received: String,
    metadata: Metadata,
    json: Vec<u8>,
    /// WebAssembly plugins, where there are some, and the number of the set that is in the chain.
    guests: Option<Arc<Watched>>,
    generation: u64,
    /// Memory of events that have waited for a plugin.
    spare: Vec<Event>,
}

/// How far an event has come.
enum Step {
    /// Through the chain.
    Done,
    /// To a plugin that failed: it is to be made anew, and the plugin sits out.
    Failed,
    /// To the WebAssembly plugin of this number, which is to be asked.
    Waiting(usize),
}

/// Why an event ends here.
enum End {
    Dropped(usize),
    Dead(Reason, String),
}

impl From<ParseError> for End {
    fn from(error: ParseError) -> End {
        End::Dead(error.reason(), error.to_string())
    }
}

impl From<EditError> for End {
    fn from(error: EditError) -> End {
        let reason = match error {
            EditError::TooDeep => Reason::TooDeep,
            EditError::TooManyFields => Reason::TooManyFields,
            EditError::TooLarge => Reason::TooLarge,
            EditError::NotAnObject => Reason::MalformedRecord,
        };
        End::Dead(reason, format!("its normal form cannot be written: {error}"))
    }
}

impl Normalizer {
    /// A normalizer of these settings.
    pub fn new(settings: Settings) -> Normalizer {
        let mut normalizer = Normalizer {
            hostname: settings.hostname,
            limits: settings.limits,
            zone_minutes: settings.zone_minutes,
            geoip: settings.geoip,
            sites: settings.sites,
            chain: Chain::new(settings.plugins),
            mapper: Mapper::default(),
            marks: Marks::default(),
            failures: Vec::new(),
            input: Event::new(),
            inner: Event::new(),
            event: Event::new(),
            received: String::new(),
            metadata: Metadata::default(),
            json: Vec::new(),
            guests: settings.guests,
            generation: 0,
            spare: Vec::new(),
        };
        normalizer.take_up_plugins();
        normalizer
    }

    /// Whether WebAssembly plugins have changed since they were taken up.
    pub fn has_new_plugins(&self) -> bool {
        self.guests.as_ref().is_some_and(|guests| guests.generation() != self.generation)
    }

    /// Takes up the WebAssembly plugins that are in force now. Between batches: numbers of plugins change.
    pub fn take_up_plugins(&mut self) {
        let Some(guests) = &self.guests else { return };
        let set = guests.set();
        self.generation = set.generation;
        self.chain.set_guests(&set.plugins);
    }

    /// Name of this MozDef instance.
    pub fn hostname(&self) -> &str {
        &self.hostname
    }

    /// The WebAssembly plugins.
    pub fn guests(&self) -> Option<&Arc<Watched>> {
        self.guests.as_ref()
    }

    /// The plugins' names in the order in which they run.
    pub fn plugin_names(&self) -> impl Iterator<Item = &str> {
        self.chain.names()
    }

    /// Normalises one event, and counts it in `tally`. Many at once: [`Normalizer::normalize_all`].
    pub fn normalize(&mut self, raw: Raw<'_>, tally: &mut Tally) -> Normalized<'_> {
        let end = self.work(raw, tally);
        self.ended(end, tally)
    }

    /// Counts what became of an event, and shows it.
    fn ended(&mut self, end: Result<(), End>, tally: &mut Tally) -> Normalized<'_> {
        match end {
            Ok(()) => {
                tally.finished(&self.marks);
                self.json.clear();
                self.event.write_json(&mut self.json);
                Normalized::Event { json: &self.json, metadata: &self.metadata }
            }
            Err(End::Dropped(number)) => {
                tally.dropped();
                Normalized::Dropped { plugin: self.chain.names().nth(number).unwrap_or_default() }
            }
            Err(End::Dead(reason, detail)) => {
                tally.dead(reason);
                Normalized::Dead { reason, detail }
            }
        }
    }

    /// One event the whole way, WebAssembly plugins asked for it alone.
    fn work(&mut self, raw: Raw<'_>, tally: &mut Tally) -> Result<(), End> {
        let mut step = self.begin(raw, tally)?;
        while let Some(number) = self.advance(step, raw, tally)? {
            let document = self.event.to_json();
            let item = crate::chain::item(&document, raw.received.millis(), &self.metadata);
            let answer = self.chain.ask(number, &[item]).pop().unwrap_or(Answer::Unchanged);
            step = self.answered(number, answer, raw, tally)?;
        }
        self.complete(raw)
    }

    /// The first step of an event.
    fn begin(&mut self, raw: Raw<'_>, tally: &mut Tally) -> Result<Step, End> {
        self.failures.clear();
        self.chain.begin();
        self.attempt(raw, tally)
    }

    /// Again without the plugin that failed, for as long as one does: at most once for each. The number of the
    /// WebAssembly plugin that comes next, or none at the end of the chain.
    fn advance(&mut self, mut step: Step, raw: Raw<'_>, tally: &mut Tally) -> Result<Option<usize>, End> {
        loop {
            match step {
                Step::Done => return Ok(None),
                Step::Waiting(number) => return Ok(Some(number)),
                Step::Failed => step = self.attempt(raw, tally)?,
            }
        }
    }

    /// Goes on with what a WebAssembly plugin has answered.
    fn answered(
        &mut self,
        number: usize,
        answer: Answer,
        raw: Raw<'_>,
        tally: &mut Tally,
    ) -> Result<Step, End> {
        let run = match answer {
            Answer::Unchanged => Run::Unchanged,
            Answer::Dropped => Run::Dropped,
            Answer::Failed { remark, is_dead } => {
                self.failed(number, remark, is_dead, tally)?;
                Run::Failed
            }
            Answer::Changed { change, metadata } => match apply(&mut self.event, &change) {
                Ok(()) => {
                    self.metadata = metadata;
                    Run::Changed
                }
                Err(error) => {
                    if let Answer::Failed { remark, is_dead } =
                        self.chain.gave_nonsense(number, &error.to_string())
                    {
                        self.failed(number, remark, is_dead, tally)?;
                    }
                    self.chain.leave_out(number);
                    return Ok(Step::Failed);
                }
            },
        };
        let mut context = Context {
            now: raw.received,
            hostname: &self.hostname,
            geoip: self.geoip.as_ref(),
            sites: &self.sites,
            metadata: std::mem::take(&mut self.metadata),
        };
        let verdict = self.chain.resume(Waiting { number, run }, &mut self.event, &mut context, tally)?;
        self.metadata = context.metadata;
        self.step(verdict)
    }

    /// A WebAssembly plugin has failed on the event: it carries a mark, or ends here.
    fn failed(&mut self, number: usize, remark: String, is_dead: bool, tally: &mut Tally) -> Result<(), End> {
        if is_dead {
            tally.ran(number, Run::Failed);
            return Err(End::Dead(Reason::PluginFailed, remark));
        }
        self.failures.push(remark);
        Ok(())
    }

    fn step(&mut self, verdict: Verdict) -> Result<Step, End> {
        match verdict {
            Verdict::Kept => Ok(Step::Done),
            Verdict::Waiting { number } => Ok(Step::Waiting(number)),
            Verdict::Dropped { number } => Err(End::Dropped(number)),
            Verdict::Failed { remark } => {
                self.failures.push(remark);
                Ok(Step::Failed)
            }
        }
    }

    /// What every event has, whatever the plugins did.
    fn complete(&mut self, raw: Raw<'_>) -> Result<(), End> {
        self.tell_receipt(raw.received);
        schema::complete(&mut self.event, &self.received, &self.hostname)?;
        if let Some(digest) = raw.digest {
            // A document of a custom endpoint may hold `mozdef` as something else; then there is no digest.
            match self.event.set_in("mozdef", "digest", digest.as_str()) {
                Ok(()) | Err(EditError::NotAnObject) => {}
                Err(error) => return Err(error.into()),
            }
        }
        for remark in self.failures.drain(..) {
            self.marks.add(Kind::Plugin, remark);
        }
        if !self.marks.is_empty() {
            self.marks.write_to(&mut self.event)?;
        }
        Ok(())
    }

    fn tell_receipt(&mut self, received: Timestamp) {
        self.received.clear();
        write_time(received, &mut self.received);
    }

    /// Reads, maps and runs the chain, as far as it goes.
    fn attempt(&mut self, raw: Raw<'_>, tally: &mut Tally) -> Result<Step, End> {
        self.tell_receipt(raw.received);
        self.metadata = Metadata::default();
        let zone_minutes = raw.sender.zone_minutes.unwrap_or(self.zone_minutes);
        let reference = Reference { received: raw.received, zone_minutes };
        self.marks.clear();
        self.event.clear();
        self.event.set_limits(&self.limits.for_normal_form());
        match raw.format {
            Format::Json => self.read_json(raw, reference)?,
            Format::JsonText => self.read_json_text(raw, reference)?,
            Format::Sqs => self.read_sqs(raw, reference)?,
            Format::Sns => self.read_sns(raw, reference)?,
            Format::CloudTrail => self.read_mapped(raw, Mapping::CloudTrail, reference)?,
            Format::GuardDuty => self.read_finding(raw, reference)?,
            Format::Collector => self.read_collector(raw, reference)?,
            Format::CollectorLine => self.read_collector_line(raw, reference)?,
            Format::OtlpProtobuf | Format::OtlpJson => self.read_otlp(raw, reference)?,
            Format::Github => self.read_github(raw, reference)?,
            Format::Notification => {
                let detail = "it tells where events are, and is none: send it to its queue again".to_owned();
                return Err(End::Dead(Reason::UnexpectedMessage, detail));
            }
            Format::Syslog => self.read_message(raw, reference)?,
            Format::Papertrail => self.read_papertrail(raw, reference)?,
            Format::PubSub => self.read_pubsub(raw)?,
        }
        let mut context = Context {
            now: raw.received,
            hostname: &self.hostname,
            geoip: self.geoip.as_ref(),
            sites: &self.sites,
            metadata: Metadata::default(),
        };
        let verdict = self.chain.run(&mut self.event, &mut context, tally)?;
        self.metadata = context.metadata;
        self.step(verdict)
    }

    fn read_json(&mut self, raw: Raw<'_>, reference: Reference) -> Result<(), End> {
        let flags = self.input.parse(raw.value, &self.limits)?;
        self.settle(flags);
        let custom = raw.custom_endpoint || self.input.member("customendpoint").is_some_and(is_truthy);
        if custom {
            return self.take_as_it_is(raw).map_err(End::from);
        }
        // The endpoint's name is in no mapping's result, so that it need not be merged for it.
        self.map_input(raw, Mapping::EventTask, reference)
    }

    /// The document in hand through a mapping.
    fn map_input(&mut self, raw: Raw<'_>, mapping: Mapping, reference: Reference) -> Result<(), End> {
        let context = key_mapping::Context {
            reference,
            received: &self.received,
            hostname: &self.hostname,
            queue: raw.queue,
        };
        self.mapper.map(mapping, &self.input, &mut self.event, context, &mut self.marks)?;
        Ok(())
    }

    /// What is odd about an input is settled and told.
    fn settle(&mut self, flags: Flags) {
        if flags.duplicate_keys > 0 {
            let count = self.input.drop_duplicates();
            self.marks
                .add(Kind::DuplicateKeys, format!("input: {count} duplicate keys, the last of each stands"));
        }
        if flags.lone_surrogates > 0 {
            let count = flags.lone_surrogates;
            self.marks.add(Kind::Encoding, format!("input: {count} lone surrogates became U+FFFD"));
        }
    }

    /// A custom endpoint's document: only the endpoint is merged in.
    fn take_as_it_is(&mut self, raw: Raw<'_>) -> Result<(), EditError> {
        std::mem::swap(&mut self.input, &mut self.event);
        self.event.set_limits(&self.limits.for_normal_form());
        if let Some(endpoint) = raw.endpoint {
            self.event.set_member("endpoint", endpoint)?;
        }
        if raw.custom_endpoint {
            self.event.set_member("customendpoint", true)?;
        }
        Ok(())
    }

    /// Runs one plugin alone, whatever its registration, on a document in normal form.
    pub fn run_plugin(&mut self, name: &str, document: &[u8], metadata: Metadata, now: Timestamp) -> Alone {
        if let Err(error) = self.event.parse(document, &self.limits.for_normal_form()) {
            return Alone::Unreadable(error.to_string());
        }
        let mut context = Context {
            now,
            hostname: &self.hostname,
            geoip: self.geoip.as_ref(),
            sites: &self.sites,
            metadata,
        };
        match self.chain.run_alone(name, &mut self.event, &mut context) {
            None => Alone::UnknownPlugin,
            Some(Ok(Outcome::Dropped)) => Alone::Dropped,
            Some(Err(cause)) => Alone::Failed(cause),
            Some(Ok(Outcome::Changed | Outcome::Unchanged)) => {
                Alone::Event(self.event.to_json(), context.metadata)
            }
        }
    }
}

/// As Python sees it.
fn is_truthy(value: Value<'_>) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(truth) => truth,
        Value::Number(text) => text.parse::<f64>().is_ok_and(|number| number != 0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(object) => !object.is_empty(),
    }
}

#[cfg(test)]
mod tests;
