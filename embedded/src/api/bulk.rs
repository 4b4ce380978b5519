//! `_bulk`: many operations, a result for each, one wait for the disk.
//!
//! In: NDJSON. Out: results in the order of the actions, after everything is on disk.

use std::sync::Arc;
use std::time::Instant;

use model::event::{Event, Limits};

use super::Reply;
use super::bulk_lines::{Item, Verb, read};
use super::route::Call;
use crate::engine::Index;
use crate::error::ApiError;
use crate::index::shard::Shard;
use crate::index::write::{Action, Update, Write, WriteContext, Written};
use crate::search::source::write_text;

/// Limits of one document.
pub(super) const DOCUMENT_LIMITS: Limits = Limits { bytes_max: 16 << 20, depth_max: 128, fields_max: 20_000 };

/// When the operations must be searchable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refresh {
    Later,
    /// Before the reply: `true` and `wait_for`.
    Now,
}

impl Refresh {
    /// Takes the parameter.
    pub(super) fn take(call: &mut Call<'_>) -> Result<Refresh, ApiError> {
        match call.params.take("refresh").as_deref() {
            None | Some("false") => Ok(Refresh::Later),
            Some("" | "true" | "wait_for") => Ok(Refresh::Now),
            Some(other) => Err(ApiError::illegal(format!("Unknown value for refresh: [{other}]."))),
        }
    }
}

/// `POST /_bulk`, `POST /index/_bulk`.
pub(super) fn bulk(call: &mut Call<'_>, default_index: Option<&str>) -> Result<Reply, ApiError> {
    let started = Instant::now();
    let refresh = Refresh::take(call)?;
    let require_alias = call.params.flag("require_alias")?.unwrap_or(false);
    call.params.drop(&["timeout", "wait_for_active_shards", "_source", "batch_size"]);
    call.finish_params()?;
    let items = read(call.body, default_index)?;
    let mut results: Vec<Option<Result<Written, ApiError>>> = items.iter().map(|_| None).collect();
    let mut touched: Vec<Arc<Shard>> = Vec::new();
    for group in groups(&items) {
        let Some(first) = group.first().and_then(|at| items.get(*at)) else { continue };
        let must_be_alias = require_alias || first.require_alias;
        let done = match shard(call.index, &first.index, must_be_alias) {
            Ok(shard) => {
                let done = write_group(call.index, &shard, &items, &group);
                touched.push(shard);
                done
            }
            Err(error) => Err(error),
        };
        put_results(&mut results, &group, done);
    }
    // Also when nothing was written: a conflict may be with a document that is not yet on disk.
    call.index.log.sync(call.index.log.position())?;
    if refresh == Refresh::Now {
        for shard in &touched {
            shard.refresh()?;
        }
    }
    Ok(reply(started, &items, results))
}

/// Positions of items that belong together, each group in order.
fn groups(items: &[Item<'_>]) -> Vec<Vec<usize>> {
    let mut order: Vec<Vec<usize>> = Vec::new();
    let mut by_index: foldhash::HashMap<(&str, bool), usize> = foldhash::HashMap::default();
    for (position, item) in items.iter().enumerate() {
        let group = *by_index.entry((item.index.as_str(), item.require_alias)).or_insert_with(|| {
            order.push(Vec::new());
            order.len().saturating_sub(1)
        });
        if let Some(group) = order.get_mut(group) {
            group.push(position);
        }
    }
    order
}

/// The shard for a name in a write request.
pub(super) fn shard(index: &Index, name: &str, must_be_alias: bool) -> Result<Arc<Shard>, ApiError> {
    if must_be_alias && !index.catalog().is_alias(name) {
        let mut error = ApiError::index_not_found(name);
        error.reason = format!(
            "no such index [{name}] and [require_alias] request flag is [true] and [{name}] is not an alias"
        );
        return Err(error);
    }
    let shard = index.shard_to_write(name)?;
    index.make_room_for_writer(&shard)?;
    Ok(shard)
}

fn write_group(
    index: &Index,
    shard: &Shard,
    items: &[Item<'_>],
    group: &[usize],
) -> Result<Vec<Result<Written, ApiError>>, ApiError> {
    let mut writes = Vec::with_capacity(group.len());
    let mut broken = Vec::new();
    for item in group.iter().filter_map(|at| items.get(*at)) {
        let action = match item.verb {
            Verb::Index => Action::Index(item.source),
            Verb::Create => Action::Create(item.source),
            Verb::Delete => Action::Delete,
            Verb::Update => match Update::read(item.source) {
                Ok(update) => Action::Update(Box::new(update)),
                Err(error) => {
                    broken.push((writes.len().saturating_add(broken.len()), error));
                    continue;
                }
            },
        };
        writes.push(Write { action, id: item.id.as_deref(), condition: item.condition });
    }
    let mut event = Event::new();
    let mut context = WriteContext { log: &index.log, event: &mut event, limits: DOCUMENT_LIMITS };
    let mut results = shard.write(&mut context, &writes)?;
    for (position, error) in broken {
        results.insert(position.min(results.len()), Err(error));
    }
    let taken = results.iter().filter(|r| r.is_ok()).count() as u64;
    model::metrics::metrics().index_documents.inc_by(taken);
    Ok(results)
}

fn put_results(
    results: &mut [Option<Result<Written, ApiError>>],
    group: &[usize],
    done: Result<Vec<Result<Written, ApiError>>, ApiError>,
) {
    match done {
        Ok(done) => {
            for (position, result) in group.iter().zip(done) {
                if let Some(slot) = results.get_mut(*position) {
                    *slot = Some(result);
                }
            }
        }
        Err(error) => {
            for position in group {
                if let Some(slot) = results.get_mut(*position) {
                    *slot = Some(Err(error.clone()));
                }
            }
        }
    }
}

fn reply(started: Instant, items: &[Item<'_>], results: Vec<Option<Result<Written, ApiError>>>) -> Reply {
    let mut body = Vec::with_capacity(items.len().saturating_mul(160).saturating_add(64));
    let mut failed = false;
    let mut entries = Vec::with_capacity(body.capacity());
    for (item, result) in items.iter().zip(results) {
        if !entries.is_empty() {
            entries.push(b',');
        }
        let result = result.unwrap_or_else(|| Err(ApiError::storage("the operation was not tried")));
        failed |= result.is_err();
        entry(item, &result, &mut entries);
    }
    let head = format!("{{\"took\":{},\"errors\":{failed},\"items\":[", started.elapsed().as_millis());
    body.extend_from_slice(head.as_bytes());
    body.extend_from_slice(&entries);
    body.extend_from_slice(b"]}");
    Reply::raw(200, body)
}

fn entry(item: &Item<'_>, result: &Result<Written, ApiError>, out: &mut Vec<u8>) {
    out.extend_from_slice(format!("{{\"{}\":{{\"_index\":", item.verb.word()).as_bytes());
    match result {
        Ok(written) => {
            write_text(&written.index, out);
            out.extend_from_slice(b",\"_id\":");
            write_text(&written.id, out);
            let (word, status) = written.outcome.words();
            out.extend_from_slice(
                format!(
                    ",\"_version\":{},\"result\":\"{word}\",\"_shards\":{{\"total\":1,\"successful\":1,\"failed\":0}},\"_seq_no\":{},\"_primary_term\":1,\"status\":{status}}}}}",
                    written.version, written.seq_no
                )
                .as_bytes(),
            );
        }
        Err(error) => {
            write_text(error.index.as_deref().unwrap_or(&item.index), out);
            out.extend_from_slice(b",\"_id\":");
            match &item.id {
                Some(id) => write_text(id, out),
                None => out.extend_from_slice(b"null"),
            }
            let cause = error.cause_json().to_string();
            out.extend_from_slice(format!(",\"status\":{},\"error\":{cause}}}}}", error.status).as_bytes());
        }
    }
}
