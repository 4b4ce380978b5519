//! What a message of AMQP becomes: records of its events, with what the broker said of it in headers.
//!
//! In: a delivery. Out: records for `mozdef.raw`, or for `mozdef.dead` with the reason. Never: I/O; a change to the
//! body; more headers than the bounds here allow.
//!
//! A body is a JSON object, an array or lines of objects, or a JSON string that holds one object, as kombu sends it; with
//! the content type `text/x-syslog`, lines of syslog.

use bytes::Bytes;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, ShortString};
use model::config::WithoutMessageId;
use model::error::Reason;
use model::event::{Limits, ParseError};
use model::headers;
use model::ids::content_digest;
use model::time::Timestamp;
use stream::record::{Headers, NewRecord};

use crate::http::split::{Piece, split_json, split_lines};
use crate::raw::{ClientId, Envelope, Source};

/// Most events of one message.
const EVENTS_MAX: usize = 10_000;
/// Most headers of a message that are kept, and most bytes of one value.
const HEADERS_MAX: usize = 32;
const VALUE_BYTES_MAX: usize = 1024;
/// Most bytes of all of them.
const HEADER_BYTES_MAX: usize = 8192;

/// One delivery.
#[derive(Clone, Debug, Default)]
pub(super) struct Message {
    pub(super) exchange: String,
    pub(super) routing_key: String,
    pub(super) redelivered: bool,
    pub(super) properties: BasicProperties,
    pub(super) body: Bytes,
}

/// What is the same for all messages of a queue.
#[derive(Clone, Debug)]
pub(super) struct Reader {
    pub(super) principal: Bytes,
    pub(super) queue: Bytes,
    pub(super) peer: Bytes,
    pub(super) limits: Limits,
    pub(super) without_message_id: WithoutMessageId,
    pub(super) deliveries_max: u32,
}

impl Reader {
    /// Appends the records of a message.
    pub(super) fn read(&self, message: &Message, at: Timestamp, out: &mut Vec<NewRecord>) {
        let envelope = self.envelope(message, at);
        let id = self.id_of(message);
        let client = |item| id.clone().map(|id| ClientId { id, item });
        let mut whole_is_dead = |reason: Reason, detail: &str| {
            out.push(envelope.dead(message.body.clone(), client(None).as_ref(), reason, detail));
        };
        if let Some(count) =
            deliveries(&message.properties).filter(|count| *count >= self.deliveries_max.into())
        {
            return whole_is_dead(Reason::TooManyAttempts, &format!("delivered again {count} times"));
        }
        let pieces = match self.pieces(message) {
            Ok(pieces) if pieces.is_empty() => {
                return whole_is_dead(Reason::Empty, &ParseError::Empty.to_string());
            }
            Ok(pieces) => pieces,
            Err(TooMany) => {
                return whole_is_dead(
                    Reason::TooLarge,
                    &format!("more than {EVENTS_MAX} events in one message"),
                );
            }
        };
        let is_alone = pieces.len() == 1;
        for (number, piece) in pieces.into_iter().enumerate() {
            let client = client(if is_alone { None } else { u32::try_from(number).ok() });
            let value = message.body.slice(piece.range);
            out.push(match piece.problem {
                None => envelope.event(value, client.as_ref()),
                Some(problem) => {
                    envelope.dead(value, client.as_ref(), problem.reason(), &problem.to_string())
                }
            });
        }
    }

    /// The id that the sender gave, or one of the content.
    fn id_of(&self, message: &Message) -> Option<Bytes> {
        let given = message.properties.message_id().as_ref().map(ShortString::as_str).unwrap_or_default();
        if !given.is_empty() {
            return Some(Bytes::copy_from_slice(given.as_bytes()));
        }
        match self.without_message_id {
            WithoutMessageId::Position => None,
            WithoutMessageId::Content => {
                Some(Bytes::from(format!("content {}", content_digest(&[&message.body]).as_str())))
            }
        }
    }

    fn pieces(&self, message: &Message) -> Result<Vec<Piece>, TooMany> {
        let body = &message.body;
        if is_syslog(&message.properties) {
            return split_lines(body, &self.limits, EVENTS_MAX).map_err(|_| TooMany);
        }
        if body.trim_ascii_start().starts_with(b"\"") {
            return Ok(vec![Piece { range: 0..body.len(), problem: self.text_problem(body) }]);
        }
        split_json(body, &self.limits, EVENTS_MAX).map_err(|_| TooMany)
    }

    /// What is wrong with a JSON string that should hold an object.
    fn text_problem(&self, body: &[u8]) -> Option<ParseError> {
        let bytes = body.len();
        if bytes > self.limits.bytes_max {
            return Some(ParseError::TooLarge { bytes, limit: self.limits.bytes_max });
        }
        let text: String = match serde_json::from_slice(body) {
            Ok(text) => text,
            Err(_) if std::str::from_utf8(body).is_err() => return Some(ParseError::InvalidUtf8 { at: 0 }),
            Err(_) => return Some(ParseError::Syntax { at: 0, what: "a string that does not end" }),
        };
        match split_json(text.as_bytes(), &self.limits, 2).as_deref() {
            Ok([piece]) => piece.problem.clone(),
            Ok([]) => Some(ParseError::Empty),
            Ok(_) | Err(_) => Some(ParseError::NotAnObject),
        }
    }

    fn envelope(&self, message: &Message, at: Timestamp) -> Envelope {
        let properties = &message.properties;
        let mut more = Headers::with_capacity(8).with(headers::QUEUE, self.queue.clone());
        let content_type = properties.content_type().as_ref().map(ShortString::as_str);
        let named = [
            (headers::CONTENT_TYPE, content_type),
            (headers::AMQP_EXCHANGE, Some(message.exchange.as_str())),
            (headers::AMQP_ROUTING_KEY, Some(message.routing_key.as_str())),
            (headers::AMQP_CONTENT_ENCODING, properties.content_encoding().as_ref().map(ShortString::as_str)),
            (headers::AMQP_TYPE, properties.kind().as_ref().map(ShortString::as_str)),
            (headers::AMQP_APP_ID, properties.app_id().as_ref().map(ShortString::as_str)),
            (headers::AMQP_USER_ID, properties.user_id().as_ref().map(ShortString::as_str)),
            (headers::AMQP_CORRELATION_ID, properties.correlation_id().as_ref().map(ShortString::as_str)),
        ];
        for (name, value) in named {
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                more.push(name, value.to_owned());
            }
        }
        if let Some(seconds) = properties.timestamp() {
            more.push(headers::AMQP_TIMESTAMP, seconds.to_string());
        }
        if message.redelivered {
            more.push(headers::AMQP_REDELIVERED, "1");
        }
        own_headers(properties, &mut more);
        let source = Source {
            input: headers::INPUT_AMQP,
            principal: self.principal.clone(),
            peer: self.peer.clone(),
            more,
        };
        source.received(at)
    }
}

struct TooMany;

/// The sender's headers, behind a prefix, as far as the bounds allow.
fn own_headers(properties: &BasicProperties, more: &mut Headers) {
    let mut room = HEADER_BYTES_MAX;
    let all = properties.headers().as_ref().into_iter().flat_map(|table| table.inner().iter());
    for (name, value) in all.take(HEADERS_MAX) {
        let Some(mut text) = text_of(value) else { continue };
        text.truncate(text.floor_char_boundary(VALUE_BYTES_MAX));
        let bytes = name.as_str().len().saturating_add(text.len());
        let Some(left) = room.checked_sub(bytes) else { return };
        room = left;
        more.push(format!("{}{}", headers::AMQP_HEADER_PREFIX, name.as_str()), text);
    }
}

/// A scalar as text; arrays and tables are the broker's own accounts, and are left out.
fn text_of(value: &AMQPValue) -> Option<String> {
    match value {
        AMQPValue::LongString(text) => Some(String::from_utf8_lossy(text.as_bytes()).into_owned()),
        AMQPValue::ShortString(text) => Some(text.as_str().to_owned()),
        AMQPValue::Boolean(truth) => Some(truth.to_string()),
        AMQPValue::Float(number) => Some(number.to_string()),
        AMQPValue::Double(number) => Some(number.to_string()),
        AMQPValue::Timestamp(seconds) => Some(seconds.to_string()),
        other => integer(other).map(|number| number.to_string()),
    }
}

fn integer(value: &AMQPValue) -> Option<i64> {
    match value {
        AMQPValue::ShortShortInt(number) => Some(i64::from(*number)),
        AMQPValue::ShortShortUInt(number) => Some(i64::from(*number)),
        AMQPValue::ShortInt(number) => Some(i64::from(*number)),
        AMQPValue::ShortUInt(number) => Some(i64::from(*number)),
        AMQPValue::LongInt(number) => Some(i64::from(*number)),
        AMQPValue::LongUInt(number) => Some(i64::from(*number)),
        AMQPValue::LongLongInt(number) => Some(*number),
        _ => None,
    }
}

/// How often a quorum queue has delivered a message before.
fn deliveries(properties: &BasicProperties) -> Option<u64> {
    let count = properties.headers().as_ref()?.inner().get("x-delivery-count")?;
    integer(count).and_then(|count| u64::try_from(count).ok())
}

fn is_syslog(properties: &BasicProperties) -> bool {
    let media_type = properties.content_type().as_ref().map(ShortString::as_str).unwrap_or_default();
    media_type.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(headers::MEDIA_SYSLOG)
}

#[cfg(test)]
mod tests;
