//! What a message of SQS is: events, parts of a finding, names of objects, or nothing.
//!
//! In: a body, and what the queue takes. Out: [`Meaning`]. Never: I/O; a change to a body.

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;
use model::aws::{Finding, document_of_body, sns_message};
use model::config::SqsTakes;
use model::error::Reason;
use model::event::{Event, Limits, ParseError};
use model::headers;
use model::time::Timestamp;
use stream::record::{Headers, NewRecord};

use super::notification::{self, Notice, ObjectRef};
use crate::http::split::{Piece, split_json};
use crate::raw::{ClientId, Envelope, Source};

/// Most events of one message.
const EVENTS_MAX: usize = 10_000;
/// Most events of one finding: each is the whole finding, with another part of it told apart.
const PARTS_MAX: usize = 256;
/// Most attributes of a message that are kept, and most bytes of one value.
const ATTRIBUTES_MAX: usize = 10;
const VALUE_BYTES_MAX: usize = 1024;

/// One message.
#[derive(Clone, Debug, Default)]
pub(super) struct Message {
    pub(super) id: String,
    pub(super) body: Bytes,
    /// How often it was delivered, this time included.
    pub(super) deliveries: u32,
    /// Its group in a FIFO queue.
    pub(super) group: Option<String>,
    /// When it was sent, in milliseconds since 1970.
    pub(super) sent: Option<String>,
    /// What its sender wrote beside the body.
    pub(super) attributes: Vec<(String, String)>,
}

/// What a message is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// Events, and what should have been some: ranges of the body, in order.
    Events(Vec<Piece>),
    /// The whole body is this many events.
    Parts(usize),
    /// Events are in these objects.
    Objects(Vec<ObjectRef>),
    /// Nothing, in good order.
    Nothing(&'static str),
    /// It can be no event.
    Wrong(Reason, String),
}

/// What is the same for all messages of a queue.
#[derive(Clone, Debug)]
pub(super) struct Reader {
    pub(super) takes: SqsTakes,
    pub(super) principal: Bytes,
    pub(super) queue: Bytes,
    pub(super) peer: Bytes,
    pub(super) limits: Limits,
}

/// The input's name: part of ids, and what the normaliser knows the meaning by.
const fn input(takes: SqsTakes) -> &'static str {
    match takes {
        SqsTakes::Events => headers::INPUT_SQS,
        SqsTakes::Sns => headers::INPUT_SNS,
        SqsTakes::Cloudtrail => headers::INPUT_CLOUDTRAIL,
        SqsTakes::Guardduty => headers::INPUT_GUARD_DUTY,
        SqsTakes::Lines => headers::INPUT_S3,
    }
}

impl Reader {
    /// The input's name.
    pub(super) const fn input(&self) -> &'static str {
        input(self.takes)
    }

    /// What a message is.
    pub(super) fn meaning(&self, body: &[u8]) -> Meaning {
        match self.takes {
            SqsTakes::Events => self.events(body),
            SqsTakes::Sns => self.notification(body),
            SqsTakes::Guardduty => self.finding(body),
            SqsTakes::Cloudtrail | SqsTakes::Lines => match notification::read(body) {
                Notice::Objects(objects) => Meaning::Objects(objects),
                Notice::Nothing(why) => Meaning::Nothing(why),
                Notice::Wrong(reason, detail) => Meaning::Wrong(reason, detail),
            },
        }
    }

    fn events(&self, body: &[u8]) -> Meaning {
        let document = document_of_body(body);
        let is_encoded = matches!(document, Cow::Owned(_));
        match split_json(&document, &self.limits, EVENTS_MAX) {
            Err(_) => {
                Meaning::Wrong(Reason::TooLarge, format!("more than {EVENTS_MAX} events in one message"))
            }
            Ok(pieces) if pieces.is_empty() => empty(&document),
            // What is encoded cannot be cut: it is one event, or none.
            Ok(mut pieces) if is_encoded => {
                let only = pieces.pop().filter(|_| pieces.is_empty());
                match only {
                    Some(piece) => {
                        Meaning::Events(vec![Piece { range: 0..body.len(), problem: piece.problem }])
                    }
                    None => Meaning::Wrong(Reason::NotAnObject, "its base64 holds several values".to_owned()),
                }
            }
            Ok(pieces) => Meaning::Events(pieces),
        }
    }

    fn notification(&self, body: &[u8]) -> Meaning {
        match split_json(body, &self.limits, 1) {
            Ok(mut pieces) => match pieces.pop() {
                Some(piece) => Meaning::Events(vec![Piece { range: 0..body.len(), problem: piece.problem }]),
                None => empty(body),
            },
            Err(_) => Meaning::Wrong(Reason::NotAnObject, "it holds several values".to_owned()),
        }
    }

    fn finding(&self, body: &[u8]) -> Meaning {
        match self.parts(body) {
            Ok(Some(parts)) if parts <= PARTS_MAX => Meaning::Parts(parts),
            Ok(Some(parts)) => {
                let detail = format!("a finding of {parts} events, more than {PARTS_MAX}");
                Meaning::Wrong(Reason::TooLarge, detail)
            }
            Ok(None) => Meaning::Wrong(Reason::UnexpectedMessage, "it is no finding of GuardDuty".to_owned()),
            Err(error) => Meaning::Wrong(error.reason(), error.to_string()),
        }
    }

    fn parts(&self, body: &[u8]) -> Result<Option<usize>, ParseError> {
        let mut document = Event::new();
        document.parse(body, &self.limits)?;
        if let Some(text) = sns_message(&document).map(str::to_owned) {
            document.parse(text.as_bytes(), &self.limits)?;
        }
        Ok(Finding::of(document.root()).map(Finding::events))
    }

    /// Appends the records of events; their id is the message's.
    pub(super) fn records(
        &self,
        message: &Message,
        pieces: Vec<Piece>,
        at: Timestamp,
        out: &mut Vec<NewRecord>,
    ) {
        let envelope = self.envelope(message, at, &[]);
        let is_alone = pieces.len() == 1;
        for (number, Piece { range, problem }) in pieces.into_iter().enumerate() {
            let client = client(message, if is_alone { None } else { u32::try_from(number).ok() });
            let value = slice(&message.body, range);
            let record = match problem {
                None => envelope.event(value, Some(&client)),
                Some(problem) => envelope.dead(value, Some(&client), problem.reason(), &problem.to_string()),
            };
            out.push(in_order(record, message));
        }
    }

    /// Appends the records of a body that is several events.
    pub(super) fn parts_of(&self, message: &Message, parts: usize, at: Timestamp, out: &mut Vec<NewRecord>) {
        let envelope = self.envelope(message, at, &[]);
        for number in 0..parts {
            let client = client(message, u32::try_from(number).ok());
            out.push(in_order(envelope.event(message.body.clone(), Some(&client)), message));
        }
    }

    /// A message that is no event: it is kept, and known as what it is.
    pub(super) fn dead(&self, message: &Message, reason: Reason, detail: &str, at: Timestamp) -> NewRecord {
        let mut record = self.envelope(message, at, &[]).dead(
            message.body.clone(),
            Some(&client(message, None)),
            reason,
            detail,
        );
        if matches!(self.takes, SqsTakes::Cloudtrail | SqsTakes::Lines) {
            record.headers.push(headers::KIND, headers::KIND_NOTIFICATION);
        }
        record
    }

    /// What the records of a message have in common, with more headers of what it names.
    pub(super) fn envelope(
        &self,
        message: &Message,
        at: Timestamp,
        named: &[(&'static str, &str)],
    ) -> Envelope {
        let mut more = Headers::with_capacity(6)
            .with(headers::QUEUE, self.queue.clone())
            .with(headers::SQS_MESSAGE_ID, message.id.clone());
        if let Some(sent) = &message.sent {
            more.push(headers::SQS_SENT, sent.clone());
        }
        if let Some(group) = &message.group {
            more.push(headers::SQS_GROUP, group.clone());
        }
        for (name, value) in named {
            more.push(*name, (*value).to_owned());
        }
        for (name, value) in message.attributes.iter().take(ATTRIBUTES_MAX) {
            let value = value.get(..value.floor_char_boundary(VALUE_BYTES_MAX)).unwrap_or_default();
            more.push(format!("{}{name}", headers::SQS_ATTRIBUTE_PREFIX), value.to_owned());
        }
        let source = Source {
            input: input(self.takes),
            principal: self.principal.clone(),
            peer: self.peer.clone(),
            more,
        };
        source.received(at)
    }
}

fn client(message: &Message, item: Option<u32>) -> ClientId {
    ClientId { id: Bytes::copy_from_slice(message.id.as_bytes()), item }
}

/// Events of one group go to one partition, so that they stay in order.
fn in_order(mut record: NewRecord, message: &Message) -> NewRecord {
    if let Some(group) = &message.group {
        record.key = Bytes::copy_from_slice(group.as_bytes());
    }
    record
}

fn empty(document: &[u8]) -> Meaning {
    if document.trim_ascii().is_empty() {
        Meaning::Wrong(Reason::Empty, ParseError::Empty.to_string())
    } else {
        Meaning::Nothing("an empty list")
    }
}

fn slice(body: &Bytes, range: Range<usize>) -> Bytes {
    if range == (0..body.len()) { body.clone() } else { body.slice(range) }
}

#[cfg(test)]
mod tests;
