//! The pieces of one request, and what becomes of them: good ones for `mozdef.raw`,
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

use super::access::Sender;
use super::bulk::Action;
use super::github::Delivery;
use super::hec::{self, Code};
use super::media::Kind;
use super::otlp::Form;
use super::refusal::Refusal;
use super::split::{Piece, line_number};
use crate::raw::{self, ClientId, Source};

/// Most events of one request.
pub(super) const EVENTS_MAX: usize = 100_000;
/// Most problems that a reply lists; the rest is counted.
const PROBLEMS_LISTED_MAX: usize = 1000;
/// What a record takes beside its bytes, at most, in the budget for memory.
pub(super) const RECORD_BYTES: usize = 1024;

/// Where a request was sent.
#[derive(Clone, Debug)]
pub(super) enum Target {
    /// MozDef's own paths, by the endpoint's name.
    Events(&'static str),
    /// `/custom/<app>`.
    Custom(Bytes),
    /// `/_bulk`, or `/<index>/_bulk`, where the index stands for actions that name none.
    Bulk { index: Option<String> },
    /// `/<index>/_doc` and `/<index>/_create`: one document.
    Document(Action),
    /// Splunk's events.
    Hec(hec::Asked),
    /// Splunk's raw lines.
    HecRaw(hec::Asked),
    /// OTLP's log records.
    Otlp(Form),
    /// A webhook of GitHub.
    Github(Delivery),
}

/// What all events of a request have in common.
#[derive(Debug)]
pub(super) struct Envelope {
    pub(super) target: Target,
    pub(super) kind: Kind,
    pub(super) received: Timestamp,
    pub(super) sender: Sender,
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
    /// Bytes of the plain body.
    pub(super) bytes: usize,
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
    /// The event's place in the request, from 0.
    pub(super) number: usize,
    /// From 1.
    pub(super) line: usize,
    /// From 0, in the plain body.
    pub(super) byte: usize,
    pub(super) reason: Reason,
    pub(super) detail: String,
    /// Splunk's word for it.
    pub(super) splunk: Code,
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

impl Envelope {
    /// What every record of this request has in its headers, under the name of an input.
    pub(super) fn source(&self, input: &'static str) -> Source {
        let mut more = Headers::new();
        match &self.target {
            Target::Events(endpoint) => more.push(headers::ENDPOINT, *endpoint),
            Target::Custom(app) => {
                more.push(headers::ENDPOINT, app.clone());
                more.push(headers::CUSTOM_ENDPOINT, "true");
            }
            Target::HecRaw(asked) => more = asked.metadata.clone(),
            Target::Otlp(form) => more.push(headers::CONTENT_TYPE, form.media_type()),
            Target::Github(delivery) => more.push(headers::GITHUB_EVENT, delivery.event.clone()),
            Target::Bulk { .. } | Target::Document(_) | Target::Hec(_) => {}
        }
        if self.kind == Kind::Syslog {
            more.push(headers::CONTENT_TYPE, headers::MEDIA_SYSLOG);
        }
        if self.backfill {
            more.push(headers::BACKFILL, "1");
        }
        Source { input, principal: self.sender.name.clone(), peer: self.peer.clone(), more }
    }

    /// The headers of records under the name of an input.
    pub(super) fn raw(&self, input: &'static str) -> raw::Envelope {
        self.source(input).received(self.received)
    }

    /// The request's own id, with an event's number in it.
    pub(super) fn id_of(&self, number: usize) -> Option<ClientId> {
        let item = Some(u32::try_from(number).unwrap_or(u32::MAX));
        self.idempotency_key.as_ref().map(|key| ClientId { id: key.clone(), item })
    }
}

/// Puts the records of a request together.
pub(super) struct Builder<'a> {
    body: &'a Bytes,
    pub(super) batch: Batch,
    /// Events so far.
    number: usize,
    /// Lines are counted only up to the problems.
    counted: (usize, usize),
}

impl Builder<'_> {
    pub(super) fn new(body: &Bytes, capacity: usize) -> Builder<'_> {
        let batch = Batch {
            records: Vec::with_capacity(capacity),
            accepted: 0,
            bytes: body.len(),
            problems: Problems::default(),
            items: None,
        };
        Builder { body, batch, number: 0, counted: (0, 1) }
    }

    /// A piece of the body, good or bad.
    pub(super) fn piece(&mut self, piece: &Piece, with: &raw::Envelope, client: Option<&ClientId>) -> Became {
        let value = self.body.slice(piece.range.clone());
        let Some(error) = &piece.problem else { return self.event(value, with, client) };
        let byte = match error {
            ParseError::InvalidUtf8 { at }
            | ParseError::Syntax { at, .. }
            | ParseError::TooDeep { at, .. }
            | ParseError::TooManyFields { at, .. } => *at,
            ParseError::Empty | ParseError::NotAnObject | ParseError::TooLarge { .. } => piece.range.start,
        };
        let problem = Problem {
            number: self.number,
            line: self.line(piece.range.start),
            byte,
            reason: error.reason(),
            detail: error.to_string(),
            splunk: Code::InvalidFormat,
        };
        self.bad(value, with, client, problem)
    }

    /// An event.
    pub(super) fn event(&mut self, value: Bytes, with: &raw::Envelope, client: Option<&ClientId>) -> Became {
        let record = self.batch.records.len();
        self.number += 1;
        self.batch.accepted += 1;
        self.batch.records.push(with.event(value, client));
        Became::Event(record)
    }

    /// What is no event, though it may be sound JSON: `code` and `detail` say why.
    pub(super) fn misfit(
        &mut self,
        piece: &Piece,
        with: &raw::Envelope,
        client: Option<&ClientId>,
        (splunk, detail): (Code, String),
    ) -> Became {
        let byte = piece.range.start;
        let line = self.line(byte);
        let problem =
            Problem { number: self.number, line, byte, reason: Reason::MalformedRecord, detail, splunk };
        self.bad(self.body.slice(piece.range.clone()), with, client, problem)
    }

    /// The same of bytes whose place is not known.
    pub(super) fn bad_bytes(
        &mut self,
        value: Bytes,
        with: &raw::Envelope,
        client: Option<&ClientId>,
        (reason, detail): (Reason, String),
    ) -> Became {
        let splunk = Code::InvalidFormat;
        let problem = Problem { number: self.number, line: 1, byte: 0, reason, detail, splunk };
        self.bad(value, with, client, problem)
    }

    fn bad(
        &mut self,
        value: Bytes,
        with: &raw::Envelope,
        client: Option<&ClientId>,
        problem: Problem,
    ) -> Became {
        self.number += 1;
        self.batch.records.push(with.dead(value, client, problem.reason, &problem.detail));
        self.batch.problems.count += 1;
        let detail = problem.detail.clone();
        if self.batch.problems.listed.len() < PROBLEMS_LISTED_MAX {
            self.batch.problems.listed.push(problem);
        }
        Became::Refused(detail)
    }

    /// The line of a byte, which is not before the one asked for last.
    fn line(&mut self, byte: usize) -> usize {
        let (from, line) = self.counted;
        let between = self.body.get(from..byte).unwrap_or_default();
        let line = line + line_number(between, between.len()) - 1;
        self.counted = (byte, line);
        line
    }
}

/// A body without anything in it.
pub(super) fn empty() -> Refusal {
    let error = ParseError::Empty;
    whole(error.reason(), error.to_string(), Code::NoData)
}

/// A body that is wrong as a whole.
pub(super) fn whole(reason: Reason, detail: String, splunk: Code) -> Refusal {
    let problem = Problem { number: 0, line: 1, byte: 0, reason, detail, splunk };
    Refusal::Body(Problems { listed: vec![problem], count: 1 })
}

/// Whether there is nothing in a body.
pub(super) fn is_blank(body: &[u8]) -> bool {
    body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body).trim_ascii().is_empty()
}
