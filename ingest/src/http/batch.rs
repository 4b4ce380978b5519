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
use model::ids::EventId;
use model::metrics::Stage;
use model::topic::Topic;
use stream::record::{Headers, NewRecord};

use super::body::Share;
use super::bulk::{self, Action, Line};
use super::media::{self, Kind};
use super::refusal::Refusal;
use super::split::{Piece, line_number, split_json, split_lines};

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
    pub(super) received_ms: i64,
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
    /// Bad pieces that are among the records as dead letters, by reason.
    pub(super) dead: Vec<(Reason, u64)>,
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
        let client = envelope.idempotency_key.as_ref().map(|key| ClientId::of_request(key, number));
        builder.piece(&piece, client.as_ref());
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
        let client = match &action.id {
            Some(id) => Some(ClientId::of_document(action.index.as_deref(), id)),
            None => envelope.idempotency_key.as_ref().map(|key| ClientId::of_request(key, number)),
        };
        let became = builder.piece(&piece, client.as_ref());
        items.push(Item { action, became });
    }
    Batch { items: Some(items), ..builder.batch }
}

/// The client's id of one event.
struct ClientId {
    input: &'static str,
    id: Bytes,
    item: Option<u32>,
}

impl ClientId {
    fn of_request(key: &Bytes, number: usize) -> ClientId {
        ClientId { input: HTTP, id: key.clone(), item: Some(u32::try_from(number).unwrap_or(u32::MAX)) }
    }

    fn of_document(index: Option<&str>, id: &str) -> ClientId {
        let id = Bytes::from(format!("{}/{id}", index.unwrap_or_default()));
        ClientId { input: BULK, id, item: None }
    }
}

struct Builder<'a> {
    body: &'a Bytes,
    envelope: &'a Envelope,
    base: Headers,
    /// The same where the client gave the document an id.
    base_of_document: Headers,
    batch: Batch,
    /// Lines are counted only up to the problems.
    counted: (usize, usize),
}

impl Builder<'_> {
    fn new<'a>(body: &'a Bytes, envelope: &'a Envelope, capacity: usize) -> Builder<'a> {
        let batch = Batch {
            records: Vec::with_capacity(capacity),
            accepted: 0,
            dead: Vec::new(),
            problems: Problems::default(),
            items: None,
        };
        let (base, base_of_document) = (base(envelope, HTTP), base(envelope, BULK));
        Builder { body, envelope, base, base_of_document, batch, counted: (0, 1) }
    }

    fn piece(&mut self, piece: &Piece, client: Option<&ClientId>) -> Became {
        let value = self.body.slice(piece.range.clone());
        let of_document = client.is_some_and(|client| client.input == BULK);
        let mut headers = if of_document { self.base_of_document.clone() } else { self.base.clone() };
        if let Some(client) = client {
            headers.push(headers::CLIENT_ID, client.id.clone());
            if let Some(item) = client.item {
                headers.push(headers::ITEM, item.to_string());
            }
        }
        let key = client.map(|client| client.id.clone()).unwrap_or_default();
        let record = self.batch.records.len();
        match &piece.problem {
            None => {
                self.batch.accepted += 1;
                self.batch.records.push(NewRecord {
                    topic: Topic::Raw,
                    partition: None,
                    key,
                    value,
                    headers,
                });
                Became::Event(record)
            }
            Some(error) => {
                let problem = self.problem(piece, error);
                self.bury(&problem, value, headers, client);
                Became::Refused(problem.detail)
            }
        }
    }

    fn bury(&mut self, problem: &Problem, value: Bytes, mut headers: Headers, client: Option<&ClientId>) {
        let mut key = Bytes::new();
        if let Some(client) = client {
            // The id that the event would have had: it keeps it when it is replayed.
            let principal = std::str::from_utf8(&self.envelope.principal).unwrap_or_default();
            let id = EventId::from_client(principal, client.input, &client.id, client.item.unwrap_or(0));
            key = Bytes::copy_from_slice(id.hex().as_str().as_bytes());
            headers.push(headers::EVENT_ID, key.clone());
        }
        headers.push(headers::STAGE, Stage::Gateway.as_str());
        headers.push(headers::REASON, problem.reason.as_str());
        headers.push(headers::DETAIL, problem.detail.clone());
        headers.push(headers::VERSION, env!("CARGO_PKG_VERSION"));
        self.batch.records.push(NewRecord { topic: Topic::Dead, partition: None, key, value, headers });
        match self.batch.dead.iter_mut().find(|(reason, _)| *reason == problem.reason) {
            Some((_, count)) => *count += 1,
            None => self.batch.dead.push((problem.reason, 1)),
        }
        self.batch.problems.count += 1;
        if self.batch.problems.listed.len() < PROBLEMS_LISTED_MAX {
            self.batch.problems.listed.push(problem.clone());
        }
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

/// Headers of every record of a request.
fn base(envelope: &Envelope, input: &'static str) -> Headers {
    let mut base = Headers::new()
        .with(headers::RECEIVED, envelope.received_ms.to_string())
        .with(headers::INPUT, input)
        .with(headers::PRINCIPAL, envelope.principal.clone())
        .with(headers::PEER, envelope.peer.clone());
    match &envelope.target {
        Target::Events(endpoint) => base.push(headers::ENDPOINT, *endpoint),
        Target::Custom(app) => {
            base.push(headers::ENDPOINT, app.clone());
            base.push(headers::CUSTOM_ENDPOINT, "true");
        }
        Target::Bulk => {}
    }
    if envelope.kind == Kind::Syslog {
        base.push(headers::CONTENT_TYPE, media::SYSLOG);
    }
    if envelope.backfill {
        base.push(headers::BACKFILL, "1");
    }
    base
}

fn is_blank(body: &[u8]) -> bool {
    body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body).trim_ascii().is_empty()
}

fn empty() -> Refusal {
    let error = ParseError::Empty;
    let problem = Problem { line: 1, byte: 0, reason: error.reason(), detail: error.to_string() };
    Refusal::Body(Problems { listed: vec![problem], count: 1 })
}
