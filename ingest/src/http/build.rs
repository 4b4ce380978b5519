//! From a plain body to records, for each of the gateway's dialects.
//!
//! In: the body, what the head of the request said. Out: a batch, or why there is none. Never: an event of a body whose
//! signature is wrong.

use bytes::Bytes;
use model::error::Reason;
use model::headers;

use super::batch::{
    Batch, Became, Builder, EVENTS_MAX, Envelope, Item, Problems, RECORD_BYTES, Target, empty,
};
use super::batch::{is_blank, whole};
use super::body::Share;
use super::bulk::{self, Action, Line};
use super::github::Delivery;
use super::hec::{self, Code};
use super::media::{self, Kind};
use super::otlp::{self, Form};
use super::refusal::Refusal;
use super::split::{Piece, split_json, split_lines};
use crate::raw::ClientId;

/// A `_bulk` body up to this size that is no JSON is answered 200, as MozDef's shippers expect.
const SHORT_BODY_BYTES: usize = 10;
/// What an object takes while a document of OTLP is cut, at most.
const OBJECT_BYTES: usize = 64;

/// Input of events whose id, if any, is made from the request's.
pub(super) const HTTP: &str = "http";
/// Input of documents that came with an id of their own. The two never give the same event id.
const BULK: &str = "bulk";

/// Splits a plain body and builds its records. `share` pays for them.
pub(super) fn build(body: Bytes, envelope: &Envelope, share: &mut Share) -> Result<Batch, Refusal> {
    match &envelope.target {
        Target::Events(_) | Target::Custom(_) => {
            let body = formless(body, envelope);
            let pieces = split(&body, envelope, share)?;
            if is_blank(&body) { Err(empty()) } else { plain(&body, pieces, envelope) }
        }
        Target::Bulk { index } => bulk(&formless(body, envelope), index.as_deref(), envelope, share),
        Target::Document(action) => document(&body, action, envelope, share),
        Target::Hec(_) => collector(&body, envelope, share),
        Target::HecRaw(_) => raw_lines(&body, envelope, share),
        Target::Otlp(form) => log_records(&body, *form, envelope, share),
        Target::Github(delivery) => webhook(body, delivery, envelope, share),
    }
}

/// The JSON in a form, where it was posted as one.
fn formless(body: Bytes, envelope: &Envelope) -> Bytes {
    if envelope.kind == Kind::Form { media::form_json(body) } else { body }
}

/// The pieces of a body, and the memory for their records.
fn split(body: &Bytes, envelope: &Envelope, share: &mut Share) -> Result<Vec<Piece>, Refusal> {
    let split = match envelope.kind {
        Kind::Syslog => split_lines(body, &envelope.limits, EVENTS_MAX),
        Kind::Json | Kind::Form => split_json(body, &envelope.limits, EVENTS_MAX),
    };
    let pieces = split.map_err(|_| Refusal::TooManyEvents { limit: EVENTS_MAX })?;
    pay(body, pieces.len(), share)?;
    Ok(pieces)
}

fn pay(body: &Bytes, records: usize, share: &mut Share) -> Result<(), Refusal> {
    share.grow_to(body.len().saturating_add(records.saturating_mul(RECORD_BYTES)))
}

/// A request in MozDef's own way.
fn plain(body: &Bytes, pieces: Vec<Piece>, envelope: &Envelope) -> Result<Batch, Refusal> {
    let with = envelope.raw(HTTP);
    let mut builder = Builder::new(body, pieces.len());
    for (number, piece) in pieces.into_iter().enumerate() {
        builder.piece(&piece, &with, envelope.id_of(number).as_ref());
    }
    let batch = builder.batch;
    let Some(first) = batch.problems.listed.first().filter(|_| batch.accepted == 0) else { return Ok(batch) };
    let tolerated = matches!(envelope.target, Target::Bulk { index: None })
        && body.len() <= SHORT_BODY_BYTES
        && first.reason != Reason::NotAnObject;
    if tolerated {
        Ok(Batch { problems: Problems::default(), ..batch })
    } else {
        Err(Refusal::Body(batch.problems))
    }
}

fn bulk(body: &Bytes, index: Option<&str>, envelope: &Envelope, share: &mut Share) -> Result<Batch, Refusal> {
    let pieces = split(body, envelope, share)?;
    if envelope.kind != Kind::Syslog && bulk::is_bulk(body, &pieces) {
        return Ok(opensearch(body, pieces, index, envelope));
    }
    let pieces = pieces.into_iter().filter(|piece| bulk::action(body, piece).is_none()).collect();
    plain(body, pieces, envelope)
}

/// A request in OpenSearch's way. Its reply is 200 whatever became of the items, so bad documents are always kept.
fn opensearch(body: &Bytes, pieces: Vec<Piece>, index: Option<&str>, envelope: &Envelope) -> Batch {
    let lines = bulk::pair(body, pieces);
    let mut builder = Builder::new(body, lines.len());
    let with = [envelope.raw(HTTP), envelope.raw(BULK)];
    let mut items = Vec::with_capacity(lines.len());
    for (number, line) in lines.into_iter().enumerate() {
        let (mut action, piece) = match line {
            Line::Document(action, piece) => (action, piece),
            Line::Refused(action, why) => {
                items.push(Item { action, became: Became::Refused(why.to_owned()) });
                continue;
            }
        };
        if action.index.is_none() {
            action.index = index.map(str::to_owned);
        }
        let became = one(&mut builder, &piece, &action, &with, envelope.id_of(number));
        items.push(Item { action, became });
    }
    Batch { items: Some(items), ..builder.batch }
}

/// A document with its action: its own id goes before the request's.
fn one(
    builder: &mut Builder<'_>,
    piece: &Piece,
    action: &Action,
    [http, bulk]: &[crate::raw::Envelope; 2],
    id_of_request: Option<ClientId>,
) -> Became {
    let became = match &action.id {
        Some(id) => {
            let id = Bytes::from(format!("{}/{id}", action.index.as_deref().unwrap_or_default()));
            builder.piece(piece, bulk, Some(&ClientId { id, item: None }))
        }
        None => builder.piece(piece, http, id_of_request.as_ref()),
    };
    if let (Some(index), Some(record)) = (&action.index, builder.batch.records.last_mut()) {
        record.headers.push(headers::BULK_INDEX, index.clone());
    }
    became
}

/// One document at its own address.
fn document(body: &Bytes, action: &Action, envelope: &Envelope, share: &mut Share) -> Result<Batch, Refusal> {
    if let Some(what) = bulk::misfit(action) {
        return Err(whole(Reason::MalformedRecord, what.to_owned(), Code::InvalidFormat));
    }
    let pieces = split(body, envelope, share)?;
    let piece = match &pieces[..] {
        [] => return Err(empty()),
        [piece] => piece,
        _ => {
            let detail = format!("expected one document, found {}", pieces.len());
            return Err(whole(Reason::MalformedRecord, detail, Code::InvalidFormat));
        }
    };
    let mut builder = Builder::new(body, 1);
    let with = [envelope.raw(HTTP), envelope.raw(BULK)];
    let became = one(&mut builder, piece, action, &with, envelope.id_of(0));
    if builder.batch.accepted == 0 {
        return Err(Refusal::Body(builder.batch.problems));
    }
    Ok(Batch { items: Some(vec![Item { action: action.clone(), became }]), ..builder.batch })
}

/// Splunk's events.
fn collector(body: &Bytes, envelope: &Envelope, share: &mut Share) -> Result<Batch, Refusal> {
    let pieces = split(body, envelope, share)?;
    if pieces.is_empty() {
        return Err(empty());
    }
    let with = envelope.raw(headers::INPUT_HEC);
    let mut builder = Builder::new(body, pieces.len());
    for (number, piece) in pieces.into_iter().enumerate() {
        let client = envelope.id_of(number);
        let text = body.get(piece.range.clone()).unwrap_or_default();
        let mistake = if piece.problem.is_none() { hec::mistake(text) } else { None };
        match mistake {
            Some(mistake) => builder.misfit(&piece, &with, client.as_ref(), mistake),
            None => builder.piece(&piece, &with, client.as_ref()),
        };
    }
    let batch = builder.batch;
    if batch.accepted == 0 { Err(Refusal::Body(batch.problems)) } else { Ok(batch) }
}

/// Splunk's raw lines.
fn raw_lines(body: &Bytes, envelope: &Envelope, share: &mut Share) -> Result<Batch, Refusal> {
    let pieces = split_lines(body, &envelope.limits, EVENTS_MAX)
        .map_err(|_| Refusal::TooManyEvents { limit: EVENTS_MAX })?;
    pay(body, pieces.len(), share)?;
    if pieces.is_empty() {
        return Err(empty());
    }
    let with = envelope.raw(headers::INPUT_HEC_RAW);
    let mut builder = Builder::new(body, pieces.len());
    for (number, piece) in pieces.into_iter().enumerate() {
        builder.piece(&piece, &with, envelope.id_of(number).as_ref());
    }
    let batch = builder.batch;
    if batch.accepted == 0 { Err(Refusal::Body(batch.problems)) } else { Ok(batch) }
}

/// OTLP's log records. Its reply says how many were not taken; these are always kept.
fn log_records(body: &Bytes, form: Form, envelope: &Envelope, share: &mut Share) -> Result<Batch, Refusal> {
    if form == Form::Json {
        let objects = memchr::memchr_iter(b'{', body).count();
        share.grow_to(body.len().saturating_add(objects.saturating_mul(OBJECT_BYTES)))?;
    }
    let groups = otlp::cut(body, form, EVENTS_MAX)?;
    let count = groups.iter().map(|group| group.records.len()).sum();
    pay(body, count, share)?;
    let mut builder = Builder::new(body, count);
    let mut number = 0_usize;
    for group in &groups {
        let mut source = envelope.source(headers::INPUT_OTLP);
        for (name, value) in [(headers::OTLP_RESOURCE, &group.resource), (headers::OTLP_SCOPE, &group.scope)]
        {
            if !value.is_empty() {
                source.more.push(name, value.clone());
            }
        }
        let with = source.received(envelope.received);
        for record in &group.records {
            let client = envelope.id_of(number);
            number = number.saturating_add(1);
            match otlp::mistake(group, record, form, &envelope.limits) {
                None => builder.event(record.clone(), &with, client.as_ref()),
                Some(mistake) => builder.bad_bytes(record.clone(), &with, client.as_ref(), mistake),
            };
        }
    }
    Ok(builder.batch)
}

/// A webhook of GitHub: the delivery's id is the event's.
fn webhook(
    body: Bytes,
    delivery: &Delivery,
    envelope: &Envelope,
    share: &mut Share,
) -> Result<Batch, Refusal> {
    if !delivery.is_signed(&body) {
        return Err(Refusal::Signature("X-Hub-Signature-256 does not fit the body"));
    }
    let body = formless(body, envelope);
    let pieces = split(&body, envelope, share)?;
    let [piece] = &pieces[..] else {
        let detail = format!("expected one JSON object, found {} values", pieces.len());
        return Err(whole(Reason::MalformedRecord, detail, Code::InvalidFormat));
    };
    let mut builder = Builder::new(&body, 1);
    let client = ClientId { id: delivery.id.clone(), item: None };
    builder.piece(piece, &envelope.raw(headers::INPUT_GITHUB), Some(&client));
    let batch = builder.batch;
    if batch.accepted == 0 { Err(Refusal::Body(batch.problems)) } else { Ok(batch) }
}
