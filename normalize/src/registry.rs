//! Values in Confluent's wire format become JSON, by the schemas of a registry.
//!
//! In: values that name a schema (Avro, Protobuf, JSON Schema). Out: JSON; or why the value can never be read. Never: a
//! value given up because the registry is away: that is an error to wait for.

mod avro;
mod protobuf;

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use apache_avro::util::max_allocation_bytes;
use model::config::RegistryConfig;
use model::error::Reason;
use model::{headers, wire_format};
use prost_reflect::{DynamicMessage, FileDescriptor, SerializeOptions, Value};
use schema_registry_converter::async_impl::avro::AvroDecoder;
use schema_registry_converter::async_impl::proto_decoder::ProtoDecoder;
use schema_registry_converter::async_impl::schema_registry::{
    SrSettings, get_schema_by_guid, get_schema_by_id, post_schema,
};
use schema_registry_converter::error::SRCError;
use schema_registry_converter::schema_registry_common::{RegisteredSchema, SchemaType, SuppliedSchema};
use stream::record::{Headers, Record};
use stream::secret::{self, SecretError};
use tokio::runtime::Handle;
use tokio::time::Instant;

/// Most schemas that are remembered; beyond it all are asked for anew.
const SCHEMAS_MAX: usize = 10_000;
/// How long it is remembered that a schema is not known, or cannot be used.
const REFUSED: Duration = Duration::from_secs(60);
/// Largest piece of memory that one length in a value may ask for.
const ALLOCATION_BYTES_MAX: usize = 64 << 20;
/// What the events of this version look like.
const NORMAL_FORM: &str = include_str!("registry/normal_form.json");

/// Why the registry cannot be used at all.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The login.
    #[error("normalize.registry: {0}")]
    Secret(#[from] SecretError),
    /// The authorities.
    #[error("normalize.registry.ca_file: {0}")]
    Authorities(String),
    /// The client.
    #[error("normalize.registry: {0}")]
    Client(String),
    /// There is nobody to wait for answers.
    #[error("normalize.registry needs a running stage")]
    NoRuntime,
}

/// What a value turned into: JSON, or why it never will be.
pub(crate) type Decoded = Result<Vec<u8>, (Reason, String)>;

/// How a value says which schema it has.
enum Framed<'r> {
    /// Before the payload.
    Number(u32),
    /// In a header: a number or an identifier, as bytes.
    Header(&'r [u8]),
}

/// A schema as far as it is known.
#[derive(Clone)]
enum Schema {
    Avro {
        has_decimals: bool,
    },
    Protobuf,
    /// The same, of a schema that is no text.
    Described(FileDescriptor),
    Json,
    /// It cannot be used; asked for again after a while.
    Refused(Reason, String, Instant),
}

/// A schema registry, with what it has told.
pub struct Registry {
    settings: SrSettings,
    /// Where it is, for messages.
    place: String,
    avro: AvroDecoder,
    protobuf: ProtoDecoder,
    schemas: HashMap<Vec<u8>, Schema>,
    runtime: Handle,
    events_subject: Option<String>,
    events_schema: Option<u32>,
}

impl Registry {
    /// A client of the configured registry; it is asked when the first value needs it.
    ///
    /// # Errors
    /// [`RegistryError`]: a secret or a file cannot be read, or no async runtime is there.
    pub fn new(config: &RegistryConfig) -> Result<Registry, RegistryError> {
        max_allocation_bytes(ALLOCATION_BYTES_MAX);
        let runtime = Handle::try_current().map_err(|_| RegistryError::NoRuntime)?;
        let settings = settings(config)?;
        Ok(Registry {
            place: config.urls.join(", "),
            avro: AvroDecoder::new(settings.clone()),
            protobuf: ProtoDecoder::new(settings.clone()),
            settings,
            schemas: HashMap::new(),
            runtime,
            events_subject: Some(config.events_subject.clone()).filter(|subject| !subject.is_empty()),
            events_schema: None,
        })
    }

    /// What stands before each event, once its schema is registered; blocks.
    ///
    /// # Errors
    /// The registry does not take the schema now.
    pub(crate) fn events_head(&mut self) -> Result<Option<[u8; wire_format::HEAD_BYTES]>, String> {
        let Some(subject) = &self.events_subject else { return Ok(None) };
        if let Some(schema) = self.events_schema {
            return Ok(Some(wire_format::head(schema)));
        }
        let schema = SuppliedSchema::new(None, SchemaType::Json, NORMAL_FORM.to_owned());
        let posted = self.runtime.block_on(post_schema(&self.settings, subject.clone(), schema));
        let registered = posted.map_err(|error| {
            let why = words(&error);
            format!("the schema of events is not taken by the registry at {} as {subject}: {why}", self.place)
        })?;
        self.events_schema = Some(registered.id);
        Ok(Some(wire_format::head(registered.id)))
    }

    /// Reads a record's value; blocks while the schema is fetched. `None`: it names no schema.
    ///
    /// # Errors
    /// The registry does not answer, or not as it should: ask again later.
    pub(crate) fn decode(&mut self, record: &Record) -> Result<Option<Decoded>, String> {
        let Some(framed) = framed(record) else { return Ok(None) };
        let value = &record.value[..];
        let header = framed.header();
        let found = match self.schema(&framed)? {
            Schema::Refused(reason, why, _) => return Ok(Some(Err((reason, why)))),
            Schema::Json => Ok(match header {
                Some(_) => value.to_vec(),
                None => wire_format::payload(value).to_vec(),
            }),
            Schema::Avro { has_decimals } => {
                let reading = self.avro.decode_with_schema_with_header_id(header, Some(value));
                let read = self.guarded(reading);
                read.and_then(|read| read.ok_or_else(|| not_retried("there is no value"))).map(|read| {
                    let schema = has_decimals.then_some(&read.schema.parsed);
                    avro::to_json(&read.value, schema)
                })
            }
            Schema::Protobuf => {
                let reading = self.protobuf.decode_with_header_id(header, Some(value));
                self.guarded(reading).and_then(|value| match value {
                    Value::Message(message) => protobuf_json(&message),
                    _ => Err(not_retried("it is no message")),
                })
            }
            Schema::Described(file) => {
                // Behind the number in the value, or behind the number or identifier in the header.
                let place = header.map(|header| header.get(framed.key().len()..).unwrap_or_default());
                let payload = if place.is_some() { value } else { wire_format::payload(value) };
                protobuf::read(&file, place, payload)
                    .map_err(|why| not_retried(&why))
                    .and_then(|message| protobuf_json(&message))
            }
        };
        match found {
            Ok(json) => Ok(Some(Ok(json))),
            Err(error) => self.judge(&error, &framed, Reason::SchemaMismatch).map(|dead| Some(Err(dead))),
        }
    }

    /// The schema's kind: known, or fetched.
    fn schema(&mut self, framed: &Framed<'_>) -> Result<Schema, String> {
        let key = framed.key();
        match self.schemas.get(key.as_slice()) {
            Some(Schema::Refused(.., since)) if since.elapsed() >= REFUSED => {
                self.avro.remove_errors_from_cache();
                self.protobuf.remove_errors_from_cache();
            }
            Some(schema) => return Ok(schema.clone()),
            None => {}
        }
        let schema = match self.fetch(framed) {
            Ok(registered) => usable(&registered),
            Err(error) => {
                let (reason, why) = self.judge(&error, framed, Reason::UnknownSchema)?;
                Schema::Refused(reason, why, Instant::now())
            }
        };
        if self.schemas.len() >= SCHEMAS_MAX {
            self.schemas.clear();
        }
        self.schemas.insert(key, schema.clone());
        Ok(schema)
    }

    fn fetch(&self, framed: &Framed<'_>) -> Result<RegisteredSchema, SRCError> {
        match framed {
            Framed::Number(id) => self.guarded(get_schema_by_id(*id, &self.settings)),
            Framed::Header([0, a, b, c, d, ..]) => {
                let id = u32::from_be_bytes([*a, *b, *c, *d]);
                self.guarded(get_schema_by_id(id, &self.settings))
            }
            Framed::Header([1, rest @ ..]) if rest.len() >= 16 => {
                let text = guid(rest);
                self.guarded(get_schema_by_guid(&text, &self.settings))
            }
            Framed::Header(_) => Err(not_retried("the header names no schema")),
        }
    }

    /// Waits for an answer. What panics on hostile bytes is a value that cannot be read, no end of the stage.
    fn guarded<T>(&self, answer: impl Future<Output = Result<T, SRCError>>) -> Result<T, SRCError> {
        catch_unwind(AssertUnwindSafe(|| self.runtime.block_on(answer)))
            .unwrap_or_else(|_| Err(not_retried("its decoder has panicked")))
    }

    /// Why a value can never be read; or what is to be waited for, where that is not said.
    fn judge(
        &self,
        error: &SRCError,
        framed: &Framed<'_>,
        otherwise: Reason,
    ) -> Result<(Reason, String), String> {
        let why = words(error);
        let refused = error.error.starts_with(REFUSED_REQUEST);
        if error.retriable || (refused && !error.error.contains(NOT_FOUND)) {
            self.avro.remove_errors_from_cache();
            self.protobuf.remove_errors_from_cache();
            return Err(format!(
                "{} is not to be had from the registry at {}: {why}",
                framed.name(),
                self.place
            ));
        }
        if refused {
            let detail = format!("the registry at {} has no {}", self.place, framed.name());
            return Ok((Reason::UnknownSchema, detail));
        }
        Ok((otherwise, format!("{}: {why}", framed.name())))
    }
}

/// How the client's errors begin where the registry has answered with a failure, and what they hold where it has said
/// that there is no such thing: it has no other word for them.
const REFUSED_REQUEST: &str = "HTTP request to schema registry failed";
const NOT_FOUND: &str = "404";

impl Framed<'_> {
    /// What tells schemas apart.
    fn key(&self) -> Vec<u8> {
        match self {
            Framed::Number(id) => [&[0][..], &id.to_be_bytes()].concat(),
            Framed::Header([1, rest @ ..]) => [&[1][..], rest.get(..16).unwrap_or(rest)].concat(),
            Framed::Header(header) => header.get(..5).unwrap_or(header).to_vec(),
        }
    }

    fn header(&self) -> Option<&[u8]> {
        if let Framed::Header(header) = self { Some(header) } else { None }
    }

    /// For people.
    fn name(&self) -> String {
        match self {
            Framed::Number(id) => format!("schema {id}"),
            Framed::Header([0, a, b, c, d, ..]) => format!("schema {}", u32::from_be_bytes([*a, *b, *c, *d])),
            Framed::Header([1, rest @ ..]) if rest.len() >= 16 => format!("schema {}", guid(rest)),
            Framed::Header(_) => format!("schema of the header {}", headers::VALUE_SCHEMA_ID),
        }
    }
}

/// Which schema a record's value has, where it names one. Only Kafka's producers write so: what came by another input
/// and begins with a zero byte is no event.
fn framed(record: &Record) -> Option<Framed<'_>> {
    if !matches!(record.headers.get_str(headers::INPUT), None | Some(headers::INPUT_KAFKA)) {
        return None;
    }
    if let Some(header) = schema_header(&record.headers) {
        return Some(Framed::Header(header));
    }
    wire_format::split(&record.value).map(|(id, _)| Framed::Number(id))
}

/// The header with a schema's identifier: of the record, or of the record that it was copied from.
fn schema_header(all: &Headers) -> Option<&[u8]> {
    let own = all.get(headers::VALUE_SCHEMA_ID);
    let copied = all
        .iter()
        .find(|(name, _)| name.strip_prefix(headers::KAFKA_HEADER_PREFIX) == Some(headers::VALUE_SCHEMA_ID));
    own.or(copied.map(|(_, value)| value)).map(|value| &value[..])
}

/// Whether a record's value names a schema.
pub(crate) fn is_framed(record: &Record) -> bool {
    framed(record).is_some()
}

/// A schema that can be read by.
fn usable(registered: &RegisteredSchema) -> Schema {
    match registered.schema_type {
        SchemaType::Avro if avro::is_recursive(&registered.schema) => Schema::Refused(
            Reason::UnknownSchema,
            format!("schema {} holds itself; values of any depth are not read", registered.id),
            Instant::now(),
        ),
        SchemaType::Avro => Schema::Avro { has_decimals: registered.schema.contains("\"decimal\"") },
        SchemaType::Protobuf => match protobuf::described(&registered.schema) {
            None => Schema::Protobuf,
            Some(Ok(file)) => Schema::Described(file),
            Some(Err(why)) => {
                let why = format!("schema {}: {why}", registered.id);
                Schema::Refused(Reason::UnknownSchema, why, Instant::now())
            }
        },
        SchemaType::Json => Schema::Json,
        ref other => Schema::Refused(
            Reason::UnknownSchema,
            format!("schema {} is of kind {other:?}; read are Avro, Protobuf and JSON", registered.id),
            Instant::now(),
        ),
    }
}

fn protobuf_json(message: &DynamicMessage) -> Result<Vec<u8>, SRCError> {
    let options = SerializeOptions::new().stringify_64_bit_integers(false).use_proto_field_name(true);
    let mut writer = serde_json::Serializer::new(Vec::new());
    message
        .serialize_with_options(&mut writer, &options)
        .map_err(|error| not_retried(&format!("it cannot be written as JSON: {error}")))?;
    Ok(writer.into_inner())
}

fn not_retried(why: &str) -> SRCError {
    SRCError::non_retryable_without_cause(why)
}

/// The error in one line, without what is for programs.
fn words(error: &SRCError) -> String {
    match &error.cause {
        Some(cause) => format!("{}: {cause}", error.error),
        None => error.error.clone(),
    }
}

/// An identifier as text: 16 bytes, in hexadecimal groups.
fn guid(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(36);
    for (place, byte) in bytes.iter().take(16).enumerate() {
        if matches!(place, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

fn settings(config: &RegistryConfig) -> Result<SrSettings, RegistryError> {
    let mut urls = config.urls.iter().map(|url| url.trim_end_matches('/').to_owned());
    let mut builder = SrSettings::new_builder(urls.next().unwrap_or_default());
    for url in urls {
        builder.add_url(url);
    }
    builder.set_timeout(Duration::from_millis(config.timeout_ms));
    if let Some(user) = &config.user {
        let (file, variable) = (config.password_file.as_deref(), config.password_env.as_deref());
        let password = secret::read("the registry's password", file, variable)?;
        builder.set_basic_authorization(user, password.as_deref());
    }
    let (file, variable) = (config.token_file.as_deref(), config.token_env.as_deref());
    if let Some(token) = secret::read("the registry's token", file, variable)? {
        builder.set_token_authorization(&token);
    }
    let mut client = reqwest::Client::builder();
    if let Some(file) = &config.ca_file {
        let failed = |cause: String| RegistryError::Authorities(format!("{}: {cause}", file.display()));
        let pem = std::fs::read(file).map_err(|error| failed(error.to_string()))?;
        let authorities =
            reqwest::Certificate::from_pem_bundle(&pem).map_err(|error| failed(error.to_string()))?;
        client = client.tls_certs_only(authorities);
    }
    builder.build_with(client).map_err(|error| RegistryError::Client(words(&error)))
}

#[cfg(test)]
mod tests;
