//! The events of one object of S3: fetched, made plain, split and put into the log while it comes.
//!
//! In: a bucket and a key. Out: durable records whose ids are those of the object and of the event's number, so that the
//! same object told of twice gives the same events. Never: more than a few MiB of it in memory.

use aws_sdk_s3::Client;
use aws_sdk_s3::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::get_object::{GetObjectError, GetObjectOutput};
use bytes::Bytes;
use model::config::{SqsConfig, SqsTakes};
use model::error::Reason;
use model::event::{Limits, ParseError};
use model::headers;
use stream::log::LogError;
use stream::record::NewRecord;
use stream::shutdown::Shutdown;

use super::decoder::{DecodeError, Decoder, STEP_BYTES};
use super::message::{Message, Reader};
use super::notification::ObjectRef;
use super::records::{Found, Lines, Records, Splitter};
use crate::intake::{Intake, IntakeError};
use crate::raw::{ClientId, Envelope};

/// Most events, and about the most bytes, of one produce.
const BATCH_EVENTS_MAX: usize = 2000;
const BATCH_BYTES_MAX: usize = 4 << 20;

/// Why an object was not taken, or not to its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum ObjectError {
    /// It will never be taken: the reason, and more for people.
    #[error("{1}")]
    Never(Reason, String),
    /// It may be taken later.
    #[error("{0}")]
    Later(String),
    /// The process ends.
    #[error("shutdown")]
    Stopped,
    /// The log takes nothing more.
    #[error(transparent)]
    Log(LogError),
}

impl From<IntakeError> for ObjectError {
    fn from(error: IntakeError) -> ObjectError {
        match error {
            IntakeError::Stopped => ObjectError::Stopped,
            IntakeError::Log(error) => ObjectError::Log(error),
        }
    }
}

/// What objects are taken with.
pub(super) struct Objects<'a> {
    pub(super) client: &'a Client,
    pub(super) config: &'a SqsConfig,
    pub(super) reader: &'a Reader,
    pub(super) intake: &'a Intake,
}

impl Objects<'_> {
    /// Takes one object to its end.
    pub(super) async fn take(
        &self,
        message: &Message,
        object: &ObjectRef,
        shutdown: &mut Shutdown,
    ) -> Result<u64, ObjectError> {
        let mut found = tokio::select! {
            biased;
            () = shutdown.wait() => return Err(ObjectError::Stopped),
            found = self.get(object) => found?,
        };
        let tag = [found.version_id(), found.e_tag()].into_iter().flatten().find(|tag| *tag != "null");
        let mut taking = self.begin(message, object, tag.unwrap_or_default());
        let read = self.read(&mut found, &mut taking, shutdown).await;
        if let Ok(()) | Err(ObjectError::Never(..)) = read {
            // What was found before the end, or before what cannot be read, is an event all the same.
            self.intake.put_until(std::mem::take(&mut taking.records), shutdown).await?;
        }
        read.map(|()| taking.number)
    }

    async fn read(
        &self,
        found: &mut GetObjectOutput,
        taking: &mut Taking<'_>,
        shutdown: &mut Shutdown,
    ) -> Result<(), ObjectError> {
        loop {
            let chunk = tokio::select! {
                biased;
                () = shutdown.wait() => return Err(ObjectError::Stopped),
                chunk = found.body.try_next() => chunk,
            };
            let object = taking.object;
            let chunk = chunk.map_err(|error| ObjectError::Later(format!("{object} breaks off: {error}")))?;
            let Some(chunk) = chunk else { return taking.finish() };
            for step in chunk.chunks(STEP_BYTES) {
                taking.step(step)?;
                self.put_if_full(taking, shutdown).await?;
                // A dense object is much work between two pieces of it.
                tokio::task::consume_budget().await;
            }
        }
    }

    async fn put_if_full(&self, taking: &mut Taking<'_>, shutdown: &mut Shutdown) -> Result<(), ObjectError> {
        if taking.records.len() >= BATCH_EVENTS_MAX || taking.bytes >= BATCH_BYTES_MAX {
            taking.bytes = 0;
            self.intake.put_until(std::mem::take(&mut taking.records), shutdown).await?;
        }
        Ok(())
    }

    async fn get(&self, object: &ObjectRef) -> Result<GetObjectOutput, ObjectError> {
        let request = self.client.get_object().bucket(&object.bucket).key(&object.key);
        let found = request.set_version_id(object.version.clone()).send().await;
        let found = found.map_err(|error| refusal(object, &error))?;
        let limit = u64::from(self.config.object_mib_max) << 20;
        let bytes = found.content_length().and_then(|length| u64::try_from(length).ok()).unwrap_or_default();
        if bytes > limit {
            let detail = format!("{object} has {bytes} bytes, more than {limit} (object_mib_max)");
            return Err(ObjectError::Never(Reason::TooLarge, detail));
        }
        Ok(found)
    }

    fn begin<'o>(&self, message: &Message, object: &'o ObjectRef, tag: &str) -> Taking<'o> {
        let limits: Limits = self.reader.limits;
        let splitter = match self.config.takes {
            SqsTakes::Lines => Splitter::Lines(Lines::new(limits)),
            _ => Splitter::Records(Records::new(limits)),
        };
        let named = [
            (headers::S3_BUCKET, &*object.bucket),
            (headers::S3_KEY, &*object.key),
            (headers::S3_VERSION, tag),
        ];
        Taking {
            object,
            envelope: self.reader.envelope(message, self.intake.now(), &named),
            id: Bytes::from(format!("{}/{}/{tag}", object.bucket, object.key)),
            decoder: Decoder::new(u64::from(self.config.plain_mib_max) << 20),
            splitter,
            plain: Vec::new(),
            found: Vec::new(),
            records: Vec::new(),
            bytes: 0,
            number: 0,
            events_max: u64::from(self.config.object_events_max),
        }
    }
}

/// One object under way.
struct Taking<'o> {
    object: &'o ObjectRef,
    envelope: Envelope,
    id: Bytes,
    decoder: Decoder,
    splitter: Splitter,
    plain: Vec<u8>,
    found: Vec<Found>,
    records: Vec<NewRecord>,
    bytes: usize,
    /// Number of the next event.
    number: u64,
    events_max: u64,
}

impl Taking<'_> {
    fn step(&mut self, stored: &[u8]) -> Result<(), ObjectError> {
        let made = self.decoder.push(stored, &mut self.plain);
        made.map_err(|error| self.undecodable(&error))?;
        self.split(false)
    }

    fn finish(&mut self) -> Result<(), ObjectError> {
        let made = self.decoder.finish(&mut self.plain);
        made.map_err(|error| self.undecodable(&error))?;
        self.split(true)
    }

    fn split(&mut self, is_last: bool) -> Result<(), ObjectError> {
        let mut outcome = self.splitter.push(&self.plain, &mut self.found);
        if is_last && outcome.is_ok() {
            outcome = self.splitter.finish(&mut self.found);
        }
        for found in std::mem::take(&mut self.found) {
            if self.number >= self.events_max {
                let detail =
                    format!("{} has more than {} events (object_events_max)", self.object, self.events_max);
                return Err(ObjectError::Never(Reason::TooLarge, detail));
            }
            let client = ClientId { id: self.id.clone(), item: u32::try_from(self.number).ok() };
            self.number = self.number.saturating_add(1);
            let mut record = match found {
                Found::Event(value) => self.envelope.event(value, Some(&client)),
                Found::Bad(value, error) => {
                    self.envelope.dead(value, Some(&client), error.reason(), &error.to_string())
                }
            };
            // An object's events are spread over the partitions.
            if record.topic == model::topic::Topic::Raw {
                record.key = Bytes::new();
            }
            self.bytes = self.bytes.saturating_add(record.size());
            self.records.push(record);
        }
        outcome.map_err(|error| self.unreadable(&error))
    }

    fn unreadable(&self, error: &ParseError) -> ObjectError {
        let detail = format!("{} cannot be read on after {} events: {error}", self.object, self.number);
        let reason = match error {
            ParseError::Empty => Reason::Empty,
            _ => Reason::MalformedJson,
        };
        ObjectError::Never(reason, detail)
    }

    fn undecodable(&self, error: &DecodeError) -> ObjectError {
        let reason = match error {
            DecodeError::TooLarge { .. } => Reason::TooLarge,
            DecodeError::Broken(_) => Reason::MalformedJson,
        };
        ObjectError::Never(
            reason,
            format!("{} cannot be read on after {} events: {error}", self.object, self.number),
        )
    }
}

/// What S3's refusal means: what is not there never comes; what is forbidden may be allowed one day.
fn refusal(object: &ObjectRef, error: &SdkError<GetObjectError>) -> ObjectError {
    let status = error.raw_response().map(|response| response.status().as_u16());
    let code = error.as_service_error().and_then(|error| error.code()).unwrap_or_default().to_owned();
    match (status, code.as_str()) {
        (Some(404), _) | (_, "NoSuchKey" | "NoSuchBucket" | "NoSuchVersion") => {
            let code = if code.is_empty() { "not found" } else { &code };
            ObjectError::Never(Reason::Unreachable, format!("{object} is not there: {code}"))
        }
        _ => ObjectError::Later(format!("{object} cannot be read: {}", DisplayErrorContext(error))),
    }
}
