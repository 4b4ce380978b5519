//! Writes documents by bulk requests until each is in the index or refused
//! for good.
//!
//! In: documents. Out: one outcome for each, in order. Never: a document
//! given up because the index is slow, full, shut or away; never more in
//! memory than the documents given and one request body.
//!
//! | the index says | the document |
//! |---|---|
//! | 2xx | is done |
//! | 409, and the stored document is the same | is done |
//! | 409, and it is another one | is dead: `id_conflict` |
//! | 429, 5xx, no answer, half an answer | goes again, alone with others like it, after a wait |
//! | a value does not fit the mapping | goes again with the value in `unmapped` |
//! | 413 | goes again in a smaller request |
//! | 401, 403, a block, no such index | waits until somebody has changed that |
//! | anything else | is dead: `index_refused` |

mod conflict;
mod midnight;
mod reply;
mod round;
mod unmapped;

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use model::error::Reason;
use model::event::{Event, Limits, Path, Value};
use model::metrics::metrics;
use opensearch::http::Method;
use serde_json::json;
use stream::delivery::Outcome;

use crate::backoff::Backoff;
use crate::document::Document;
use crate::health::Health;
use crate::index::{Index, IndexError};
use crate::indices::Indices;

pub(crate) use self::midnight::Midnight;
use self::round::{Open, Round, Wait, decide};
pub(crate) use self::unmapped::UNMAPPED;

/// Most documents that are compared with stored ones at once.
const COMPARED_MAX: usize = 100;

/// Writes documents. Shared by the requests under way.
#[derive(Debug)]
pub(crate) struct Bulk {
    /// For log lines.
    pub(crate) sink: &'static str,
    pub(crate) index: Index,
    pub(crate) indices: Arc<Indices>,
    pub(crate) backoff: Backoff,
    pub(crate) health: Arc<Health>,
    pub(crate) documents_max: usize,
    pub(crate) bytes_max: usize,
    pub(crate) midnight: Midnight,
}

/// Failures in a row, and the waits after them.
#[derive(Default)]
struct Failures(u32);

impl Bulk {
    /// Writes until every document is settled. Outcomes are in the order of the documents.
    pub(crate) async fn write(&self, documents: Vec<Document>) -> Vec<Outcome> {
        let mut outcomes: Vec<Option<Outcome>> = documents.iter().map(|_| None).collect();
        let open = documents.into_iter().enumerate().map(|(slot, document)| Open::new(slot, document));
        let (repeated, open): (Vec<Open>, Vec<Open>) = open.partition(midnight::may_be_before);
        let held = self.midnight.hold(&open).await;
        self.write_open(open, &mut outcomes).await;
        drop(held);
        let repeated = self.not_before(repeated, &mut outcomes).await;
        self.write_open(repeated, &mut outcomes).await;
        let unsettled = || Outcome::Dead { reason: Reason::IndexRefused, detail: "never settled".to_owned() };
        debug_assert!(outcomes.iter().all(Option::is_some), "every document is settled");
        outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(unsettled)).collect()
    }

    /// Writes until each of these is settled.
    async fn write_open(&self, open: Vec<Open>, outcomes: &mut [Option<Outcome>]) {
        let open = self.with_indices(open, outcomes).await;
        let mut requests = self.requests(open);
        let mut failures = Failures::default();
        while let Some(request) = requests.pop_front() {
            let answer = self.index.bulk(body(&request)).await;
            let mut round = decide(request, answer);
            count(&round);
            settle(outcomes, std::mem::take(&mut round.settled));
            let exists = std::mem::take(&mut round.exists);
            if !exists.is_empty() {
                let gone = self.compare(exists, own_index, outcomes).await;
                round.again.extend(gone);
            }
            if let Some((first, second)) = round.halves.take() {
                tracing::warn!(
                    sink = self.sink,
                    documents = first.len() + second.len(),
                    "the index refused a request as a whole; sending it in halves"
                );
                requests.push_front(second);
                requests.push_front(first);
            }
            for name in &round.missing {
                self.indices.forget(name);
            }
            let again = std::mem::take(&mut round.again);
            match &round.wait {
                Some(wait) => failures.pause(self, wait).await,
                None => {
                    failures = Failures::default();
                    self.health.good(self.sink);
                }
            }
            let again =
                if round.missing.is_empty() { again } else { self.with_indices(again, outcomes).await };
            if !again.is_empty() {
                requests.push_front(again);
            }
        }
    }

    /// Makes the indices that the documents go to. Documents whose index cannot be are settled.
    async fn with_indices(&self, open: Vec<Open>, outcomes: &mut [Option<Outcome>]) -> Vec<Open> {
        let mut impossible: Vec<(String, String)> = Vec::new();
        let mut last = String::new();
        for entry in &open {
            let name = &entry.document.index;
            if *name == last {
                continue;
            }
            last.clone_from(name);
            if !self.indices.is_known(name)
                && !impossible.iter().any(|(index, _)| index == name)
                && let Err(why) = self.make_index(name).await
            {
                impossible.push((name.clone(), why));
            }
        }
        if impossible.is_empty() {
            return open;
        }
        let (good, bad): (Vec<Open>, Vec<Open>) = open
            .into_iter()
            .partition(|open| !impossible.iter().any(|(index, _)| *index == open.document.index));
        for open in bad {
            let why = impossible
                .iter()
                .find(|(index, _)| *index == open.document.index)
                .map(|(_, why)| why.clone());
            let detail = why.unwrap_or_default();
            settle(outcomes, vec![(open.slot, Outcome::Dead { reason: Reason::IndexRefused, detail })]);
        }
        good
    }

    /// Tries until the index is there; an error where its name or template will never be taken.
    async fn make_index(&self, name: &str) -> Result<(), String> {
        let mut failures = Failures::default();
        loop {
            let error = match self.indices.prepare(name).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            match &error {
                IndexError::Refused { status: 400, .. } => return Err(format!("index {name}: {error}")),
                IndexError::Refused { status: 401 | 403, .. } => {
                    failures.pause(self, &Wait::Shut(error.to_string())).await;
                }
                IndexError::Refused { .. }
                | IndexError::Address { .. }
                | IndexError::Unreachable { .. }
                | IndexError::TimedOut { .. }
                | IndexError::Garbled { .. } => failures.pause(self, &Wait::Busy(error.to_string())).await,
            }
        }
    }

    /// Cuts documents into requests of the configured size.
    fn requests(&self, open: Vec<Open>) -> VecDeque<Vec<Open>> {
        let mut requests = VecDeque::new();
        let mut request = Vec::new();
        let mut bytes = 0_usize;
        for entry in open {
            let more = entry.document.bulk_bytes();
            let full = request.len() >= self.documents_max || bytes.saturating_add(more) > self.bytes_max;
            if full && !request.is_empty() {
                requests.push_back(std::mem::take(&mut request));
                bytes = 0;
            }
            bytes = bytes.saturating_add(more);
            request.push(entry);
        }
        if !request.is_empty() {
            requests.push_back(request);
        }
        requests
    }

    /// Settles documents whose id is taken in the index that `index_of` names. The others are given back.
    async fn compare(
        &self,
        open: Vec<Open>,
        index_of: fn(&Document) -> &str,
        outcomes: &mut [Option<Outcome>],
    ) -> Vec<Open> {
        let mut gone = Vec::new();
        let mut left = open;
        while !left.is_empty() {
            let rest = left.split_off(left.len().min(COMPARED_MAX));
            let stored = self.stored(&left, index_of).await;
            for (open, stored) in left.into_iter().zip(stored) {
                match stored {
                    None => gone.push(open),
                    Some(true) => settle(outcomes, vec![(open.slot, Outcome::Done)]),
                    Some(false) => {
                        let detail = format!(
                            "{}/{} holds another document",
                            index_of(&open.document),
                            open.document.id
                        );
                        settle(
                            outcomes,
                            vec![(open.slot, Outcome::Dead { reason: Reason::IdConflict, detail })],
                        );
                    }
                }
            }
            left = rest;
        }
        gone
    }

    /// For each document, whether the stored one of its id is the same; `None` where there is none. Tries until it is known.
    async fn stored(&self, open: &[Open], index_of: fn(&Document) -> &str) -> Vec<Option<bool>> {
        let docs: Vec<_> = open
            .iter()
            .map(|open| json!({"_index": index_of(&open.document), "_id": open.document.id}))
            .collect();
        let request = Bytes::from(json!({"docs": docs}).to_string());
        let mut failures = Failures::default();
        loop {
            let sent =
                self.index.send(Method::Post, "/_mget", Some(request.clone()), Some("application/json"));
            let why = match sent.await {
                Ok(answer) if (200..300).contains(&answer.status) => match compared(&answer.body, open) {
                    Some(found) => return found,
                    None => "the stored documents cannot be read".to_owned(),
                },
                Ok(answer) => format!("status {}: {}", answer.status, crate::index::reason(&answer.body)),
                Err(error) => error.to_string(),
            };
            failures.pause(self, &Wait::Busy(why)).await;
        }
    }
}

fn own_index(document: &Document) -> &str {
    &document.index
}

impl Failures {
    async fn pause(&mut self, bulk: &Bulk, wait: &Wait) {
        self.0 = self.0.saturating_add(1);
        match wait {
            Wait::Busy(why) => bulk.health.trouble(bulk.sink, why, false),
            Wait::Shut(why) => bulk.health.trouble(bulk.sink, why, true),
        }
        tokio::time::sleep(bulk.backoff.wait(self.0)).await;
    }
}

/// Reads the reply to `_mget`. `None` where it does not fit what was asked.
fn compared(body: &[u8], open: &[Open]) -> Option<Vec<Option<bool>>> {
    let mut reply = Event::new();
    reply.parse(body, &Limits::MAX).ok()?;
    let docs = reply.get(&Path::new("docs")).and_then(Value::as_array)?;
    if docs.len() != open.len() {
        return None;
    }
    let compare = |doc: Value<'_>, open: &Open| {
        let doc = doc.as_object()?;
        if doc.get("found").and_then(Value::as_bool) != Some(true) {
            let error = doc.get("error").and_then(Value::as_object);
            let gone = error
                .is_none_or(|e| e.get("type").and_then(Value::as_str) == Some("index_not_found_exception"));
            return gone.then_some(None);
        }
        let stored = doc.get("_source").and_then(Value::as_object)?;
        Some(Some(conflict::is_same(&open.document.source, stored)))
    };
    docs.iter().zip(open).map(|(doc, open)| compare(doc, open)).collect()
}

fn body(request: &[Open]) -> Bytes {
    let bytes = request.iter().map(|open| open.document.bulk_bytes()).sum();
    let mut body = Vec::with_capacity(bytes);
    for open in request {
        open.document.write_bulk(&mut body);
    }
    Bytes::from(body)
}

fn settle(outcomes: &mut [Option<Outcome>], settled: Vec<(usize, Outcome)>) {
    for (slot, outcome) in settled {
        if let Some(place) = outcomes.get_mut(slot) {
            debug_assert!(place.is_none(), "a document is settled once");
            *place = Some(outcome);
        }
    }
}

fn count(round: &Round) {
    let outcome = match (&round.wait, &round.halves) {
        (Some(Wait::Shut(_)), _) => "paused",
        (Some(Wait::Busy(_)), _) => "retried",
        (None, Some(_)) => "split",
        (None, None) => "done",
    };
    let metrics = metrics();
    metrics.bulk_requests.with_label_values(&[outcome]).inc();
    let dead =
        round.settled.iter().filter(|(_, outcome)| matches!(outcome, Outcome::Dead { .. })).count() as u64;
    let items = |outcome, count| metrics.bulk_items.with_label_values(&[outcome]).inc_by(count);
    items("done", round.settled.len() as u64 - dead);
    items("refused", dead);
    items("exists", round.exists.len() as u64);
    items("unmapped", round.unmapped);
    items("retried", round.again.len() as u64 - round.unmapped);
}

#[cfg(test)]
mod tests;
