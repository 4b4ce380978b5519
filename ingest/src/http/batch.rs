//! Turns the pieces of one request into records: good ones for `mozdef.raw`,
//! bad ones, where others were good, for `mozdef.dead`.
//!
//! In: a plain body and what is known of its sender. Out: records to produce
//! together, and what to tell the sender. Never: I/O; the same request gives
//! the same records.

use bytes::Bytes;
use model::error::Reason;
use model::event::{Limits, ParseError};
use model::headers;
use model::time::Timestamp;
use stream::record::{Headers, NewRecord};

use super::body::Share;
use super::bulk::{self, Action, Line};
use super::media::{self, Kind};
use super::refusal::Refusal;
use super::split::{Piece, line_number, split_json, split_lines};
use crate::raw::{self, ClientId, Source};

/// Most events of one request.
pub(super) const EVENTS_MAX: usize = 100_000;
/// Most problems that a reply lists; the rest is counted.
const PROBLEMS_LISTED_MAX: usize = 1000;
/// What a record takes beside its bytes, at most, in the budget for memory.
pub(super) const RECORD_BYTES: usize = 1024;
/// A `_bulk` body up to this size that is no JSON is answered 200, as MozDef's shippers expect.
const SHORT_BODY_BYTES: usize = 10;

/// Input of events whose id, if any, is made from the request's.
const HTTP: &str = "http";
/// Input of documents that came with an id of their own. The two never give the same event id.
const BULK: &str = "bulk";

/// Where a request was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// MozDef's own paths, by the endpoint's name.
    Events(&'static str),
    /// `/custom/<app>`.
    Custom(Bytes),
    /// `/_bulk`.
    Bulk,
}

/// What all events of a request have in common.
#[derive(Debug)]
pub(super) struct Envelope {
    pub(super) target: Target,
    pub(super) kind: Kind,
    pub(super) received: Timestamp,
    pub(super) principal: Bytes,
    pub(super) peer: Bytes,
    /// The client's own id of this request.
    pub(super) idempotency_key: Option<Bytes>,
    pub(super) backfill: bool,
    pub(super) limits: Limits,
}

/// What a request becomes.
#[derive(Debug)]
pub(super) struct Batch {
    /// To be produced together.
    pub(super) records: Vec<NewRecord>,
    /// How many of them are events.
    pub(super) accepted: usize,
    pub(super) problems: Problems,
    /// Items of an OpenSearch reply, where the request was one.
    pub(super) items: Option<Vec<Item>>,
}

/// Bad pieces of a request.
#[derive(Debug, Default)]
pub(super) struct Problems {
    /// The first ones.
    pub(super) listed: Vec<Problem>,
    /// All of them.
    pub(super) count: usize,
}

/// A piece that is no event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    /// From 1.
    pub(super) line: usize,
    /// From 0, in the plain body.
    pub(super) byte: usize,
    pub(super) reason: Reason,
    pub(super) detail: String,
}

/// One item of an OpenSearch reply.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) action: Action,
    pub(super) became: Became,
}

/// What a piece, or an action, became.
#[derive(Debug)]
pub(super) enum Became {
    /// The record of this number, an event.
    Event(usize),
    /// No event, for this reason.
    Refused(String),
}

/// Splits a plain body and builds its records. `share` pays for them.
pub(super) fn build(body: Bytes, envelope: &Envelope, share: &mut Share) -> Result<Batch, Refusal> {
    let body = if envelope.kind == Kind::Form { media::form_json(body) } else { body };
    let split = match envelope.kind {
        Kind::Syslog => split_lines(&body, &envelope.limits, EVENTS_MAX),
        Kind::Json | Kind::Form => split_json(&body, &envelope.limits, EVENTS_MAX),
    };
    let pieces = split.map_err(|_| Refusal::TooManyEvents { limit: EVENTS_MAX })?;
    share.grow_to(body.len().saturating_add(pieces.len().saturating_mul(RECORD_BYTES)))?;
    if envelope.target != Target::Bulk {
        if is_blank(&body) {
            return Err(empty());
        }
        return plain(&body, pieces, envelope);
    }
    if envelope.kind != Kind::Syslog && bulk::is_bulk(&body, &pieces) {
        return Ok(opensearch(&body, pieces, envelope));
    }
    let pieces = pieces.into_iter().filter(|piece| bulk::action(&body, piece).is_none()).collect();
    plain(&body, pieces, envelope)
}

/// A request in MozDef's own way.
fn plain(body: &Bytes, pieces: Vec<Piece>, envelope: &Envelope) -> Result<Batch, Refusal> {
    let mut builder = Builder::new(body, envelope, pieces.len());
    for (number, piece) in pieces.into_iter().enumerate() {
        let client = envelope.idempotency_key.as_ref().map(|key| id_of_request(key, number));
        builder.piece(&piece, HTTP, client.as_ref());
    }
    let batch = builder.batch;
    let Some(first) = batch.problems.listed.first().filter(|_| batch.accepted == 0) else { return Ok(batch) };
    let tolerated = envelope.target == Target::Bulk
        && body.len() <= SHORT_BODY_BYTES
        && first.reason != Reason::NotAnObject;
    if tolerated {
        Ok(Batch { problems: Problems::default(), ..batch })
    } else {
        Err(Refusal::Body(batch.problems))
    }
}

/// A request in OpenSearch's way. Its reply is 200 whatever became of the items, so bad documents are always kept.
fn opensearch(body: &Bytes, pieces: Vec<Piece>, envelope: &Envelope) -> Batch {
    let lines = bulk::pair(body, pieces);
    let mut builder = Builder::new(body, envelope, lines.len());
    let mut items = Vec::with_capacity(lines.len());
    for (number, line) in lines.into_iter().enumerate() {
        let (action, piece) = match line {
            Line::Document(action, piece) => (action, piece),
            Line::Refused(action, why) => {
                items.push(Item { action, became: Became::Refused(why.to_owned()) });
                continue;
            }
        };
        let became = match &action.id {
            Some(id) => builder.piece(&piece, BULK, Some(&id_of_document(action.index.as_deref(), id))),
            None => {
                let client = envelope.idempotency_key.as_ref().map(|key| id_of_request(key, number));
                builder.piece(&piece, HTTP, client.as_ref())
            }
        };
        items.push(Item { action, became });
    }
    Batch { items: Some(items), ..builder.batch }
}

/// The request's own id, with the event's number in it.
fn id_of_request(key: &Bytes, number: usize) -> ClientId {
    ClientId { id: key.clone(), item: Some(u32::try_from(number).unwrap_or(u32::MAX)) }
}

/// The id of a document, in its index.
fn id_of_document(index: Option<&str>, id: &str) -> ClientId {
    ClientId { id: Bytes::from(format!("{}/{id}", index.unwrap_or_default())), item: None }
}

struct Builder<'a> {
    body: &'a Bytes,
    /// For events whose id is made from the request's, and for documents with an id of their own.
    envelopes: [raw::Envelope; 2],
    batch: Batch,
    /// Lines are counted only up to the problems.
    counted: (usize, usize),
}

impl Builder<'_> {
    fn new<'a>(body: &'a Bytes, envelope: &Envelope, capacity: usize) -> Builder<'a> {
        let batch = Batch {
            records: Vec::with_capacity(capacity),
            accepted: 0,
            problems: Problems::default(),
            items: None,
        };
        let envelopes = [HTTP, BULK].map(|input| source(envelope, input).received(envelope.received));
        Builder { body, envelopes, batch, counted: (0, 1) }
    }

    fn piece(&mut self, piece: &Piece, input: &'static str, client: Option<&ClientId>) -> Became {
        let value = self.body.slice(piece.range.clone());
        let [http, bulk] = &self.envelopes;
        let envelope = if input == BULK { bulk } else { http };
        let record = self.batch.records.len();
        let Some(error) = &piece.problem else {
            self.batch.accepted += 1;
            self.batch.records.push(envelope.event(value, client));
            return Became::Event(record);
        };
        let envelope = envelope.clone();
        let problem = self.problem(piece, error);
        self.batch.records.push(envelope.dead(value, client, problem.reason, &problem.detail));
        self.batch.problems.count += 1;
        if self.batch.problems.listed.len() < PROBLEMS_LISTED_MAX {
            self.batch.problems.listed.push(problem.clone());
        }
        Became::Refused(problem.detail)
    }

    fn problem(&mut self, piece: &Piece, error: &ParseError) -> Problem {
        let (from, line) = self.counted;
        let between = self.body.get(from..piece.range.start).unwrap_or_default();
        let line = line + line_number(between, between.len()) - 1;
        self.counted = (piece.range.start, line);
        let byte = match error {
            ParseError::InvalidUtf8 { at }
            | ParseError::Syntax { at, .. }
            | ParseError::TooDeep { at, .. }
            | ParseError::TooManyFields { at, .. } => *at,
            ParseError::Empty | ParseError::NotAnObject | ParseError::TooLarge { .. } => piece.range.start,
        };
        Problem { line, byte, reason: error.reason(), detail: error.to_string() }
    }
}

/// What every record of a request has in its headers.
fn source(envelope: &Envelope, input: &'static str) -> Source {
    let mut more = Headers::new();
    match &envelope.target {
        Target::Events(endpoint) => more.push(headers::ENDPOINT, *endpoint),
        Target::Custom(app) => {
            more.push(headers::ENDPOINT, app.clone());
            more.push(headers::CUSTOM_ENDPOINT, "true");
        }
        Target::Bulk => {}
    }
    if envelope.kind == Kind::Syslog {
        more.push(headers::CONTENT_TYPE, media::SYSLOG);
    }
    if envelope.backfill {
        more.push(headers::BACKFILL, "1");
    }
    Source { input, principal: envelope.principal.clone(), peer: envelope.peer.clone(), more }
}

fn is_blank(body: &[u8]) -> bool {
    body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body).trim_ascii().is_empty()
}

fn empty() -> Refusal {
    let error = ParseError::Empty;
    let problem = Problem { line: 1, byte: 0, reason: error.reason(), detail: error.to_string() };
    Refusal::Body(Problems { listed: vec![problem], count: 1 })
}
