//! Single documents: `_doc`, `_create`, `_source`, `_update`, `_mget`.
//!
//! In: an index and an id. Out: the document as it stands now, or what the write did. A reply about a document means
//! that it is on disk.

use model::event::Event;
use serde_json::{Map, Value, json};

use super::Reply;
use super::bulk::{DOCUMENT_LIMITS, Refresh, shard};
use super::bulk_lines::Versions;
use super::route::Call;
use crate::engine::Index;
use crate::error::ApiError;
use crate::index::shard::Current;
use crate::index::write::{Action, Condition, Update, Write, WriteContext, Written};
use crate::search::source::{SourceFilter, write_text};

/// Takes the parameters of versions.
fn condition(call: &mut Call<'_>) -> Result<Condition, ApiError> {
    Versions {
        version: call.params.number("version")?,
        kind: call.params.take("version_type"),
        if_seq_no: call.params.number("if_seq_no")?,
        if_primary_term: call.params.number("if_primary_term")?,
    }
    .condition()
}

/// Takes the parameters that choose parts of a document.
pub(super) fn source_params(call: &mut Call<'_>) -> Result<Option<SourceFilter>, ApiError> {
    let list = |text: String| json!(text.split(',').collect::<Vec<_>>());
    let mut filter = match call.params.take("_source").as_deref() {
        None => None,
        Some("" | "true") => Some(SourceFilter::default()),
        Some("false") => Some(SourceFilter { enabled: false, ..SourceFilter::default() }),
        Some(names) => Some(SourceFilter::read(&list(names.to_owned()))?),
    };
    for (names, is_include) in [("_source_includes", true), ("_source_excludes", false)] {
        if let Some(text) = call.params.take(names) {
            let read = SourceFilter::read(&list(text))?.includes;
            let filter = filter.get_or_insert_with(SourceFilter::default);
            if is_include {
                filter.includes.extend(read);
            } else {
                filter.excludes.extend(read);
            }
        }
    }
    Ok(filter)
}

/// `PUT /index/_doc/id`, `POST /index/_doc`.
pub(super) fn index(call: &mut Call<'_>, name: &str, id: Option<&str>) -> Result<Reply, ApiError> {
    let action = match call.params.take("op_type").as_deref() {
        None | Some("index") => Action::Index(call.body),
        Some("create") => Action::Create(call.body),
        Some(other) => {
            return Err(ApiError::illegal(format!("opType must be 'create' or 'index', found: [{other}]")));
        }
    };
    write(call, name, id, action)
}

/// `PUT /index/_create/id`.
pub(super) fn create(call: &mut Call<'_>, name: &str, id: &str) -> Result<Reply, ApiError> {
    write(call, name, Some(id), Action::Create(call.body))
}

/// `DELETE /index/_doc/id`.
pub(super) fn delete(call: &mut Call<'_>, name: &str, id: &str) -> Result<Reply, ApiError> {
    call.no_body()?;
    write(call, name, Some(id), Action::Delete)
}

/// `POST /index/_update/id`.
pub(super) fn update(call: &mut Call<'_>, name: &str, id: &str) -> Result<Reply, ApiError> {
    call.params.drop(&["retry_on_conflict"]);
    let update = Update::read(call.body)?;
    write(call, name, Some(id), Action::Update(Box::new(update)))
}

fn write(call: &mut Call<'_>, name: &str, id: Option<&str>, action: Action<'_>) -> Result<Reply, ApiError> {
    let refresh = Refresh::take(call)?;
    let condition = condition(call)?;
    let must_be_alias = call.params.flag("require_alias")?.unwrap_or(false);
    call.params.drop(&["timeout", "wait_for_active_shards"]);
    call.finish_params()?;
    if !matches!(action, Action::Delete) && call.body.iter().all(u8::is_ascii_whitespace) {
        return Err(ApiError::parsing("request body is required"));
    }
    let shard = shard(call.index, name, must_be_alias)?;
    let mut event = Event::new();
    let mut context = WriteContext { log: &call.index.log, event: &mut event, limits: DOCUMENT_LIMITS };
    let mut results = shard.write(&mut context, &[Write { action, id, condition }])?;
    call.index.log.sync(call.index.log.position())?;
    let written = results.pop().unwrap_or_else(|| Err(ApiError::storage("the operation was not tried")))?;
    if refresh == Refresh::Now {
        shard.refresh()?;
    }
    Ok(written_reply(&written))
}

fn written_reply(written: &Written) -> Reply {
    let (word, status) = written.outcome.words();
    let body = json!({
        "_index": &*written.index,
        "_id": &*written.id,
        "_version": written.version,
        "result": word,
        "_shards": {"total": 1, "successful": 1, "failed": 0},
        "_seq_no": written.seq_no,
        "_primary_term": 1,
    });
    Reply::json(status, &body)
}

/// The one index that a name stands for, for a read.
fn read_index(index: &Index, name: &str) -> Result<String, ApiError> {
    let mut names = index.catalog().resolve(name, Default::default())?;
    match (names.pop(), names.is_empty()) {
        (Some(only), true) => Ok(only),
        (None, _) => Err(ApiError::index_not_found(name)),
        (Some(_), false) => Err(ApiError::illegal(format!(
            "alias [{name}] has more than one index associated with it, can't execute a single index op"
        ))),
    }
}

/// The document as it stands, once it is on disk.
fn current(index: &Index, name: &str, id: &str) -> Result<Option<Current>, ApiError> {
    let Some(shard) = index.shard(name) else { return Err(ApiError::index_not_found(name)) };
    let found = shard.get(id)?;
    if found.as_ref().is_none_or(|current| !current.committed) {
        index.log.sync(index.log.position())?;
    }
    Ok(found)
}

/// `GET /index/_doc/id`.
pub(super) fn get(call: &mut Call<'_>, name: &str, id: &str) -> Result<Reply, ApiError> {
    call.params.drop(&["realtime", "refresh", "preference"]);
    let filter = source_params(call)?.unwrap_or_default();
    call.finish_params()?;
    let name = read_index(call.index, name)?;
    let found = current(call.index, &name, id)?;
    let mut body = Vec::new();
    write_document(&name, id, found.as_ref(), &filter, &mut body);
    Ok(Reply::raw(if found.is_some() { 200 } else { 404 }, body))
}

/// `GET /index/_source/id`.
pub(super) fn get_source(call: &mut Call<'_>, name: &str, id: &str) -> Result<Reply, ApiError> {
    call.params.drop(&["realtime", "refresh", "preference"]);
    let filter = source_params(call)?.unwrap_or_default();
    call.finish_params()?;
    let name = read_index(call.index, name)?;
    let found = current(call.index, &name, id)?.ok_or_else(|| {
        ApiError::new(404, "resource_not_found_exception", format!("Document not found [{name}]/[{id}]"))
    })?;
    let mut body = Vec::new();
    filter.write(&found.source, &mut body);
    Ok(Reply::raw(200, body))
}

fn write_document(name: &str, id: &str, found: Option<&Current>, filter: &SourceFilter, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"_index\":");
    write_text(name, out);
    out.extend_from_slice(b",\"_id\":");
    write_text(id, out);
    match found {
        None => out.extend_from_slice(b",\"found\":false}"),
        Some(current) => {
            let head = format!(
                ",\"_version\":{},\"_seq_no\":{},\"_primary_term\":1,\"found\":true",
                current.version, current.seq_no
            );
            out.extend_from_slice(head.as_bytes());
            if filter.enabled {
                out.extend_from_slice(b",\"_source\":");
                filter.write(&current.source, out);
            }
            out.push(b'}');
        }
    }
}

/// `GET /_mget`, `GET /index/_mget`.
pub(super) fn mget(call: &mut Call<'_>, default_index: Option<&str>) -> Result<Reply, ApiError> {
    /// Most documents of one request.
    const DOCUMENTS_MAX: usize = 10_000;
    call.params.drop(&["realtime", "refresh", "preference"]);
    let filter = source_params(call)?.unwrap_or_default();
    call.finish_params()?;
    let body = crate::json::parse_object(call.body)?;
    let wanted = wanted_documents(&body, default_index, &filter)?;
    if wanted.len() > DOCUMENTS_MAX {
        return Err(ApiError::illegal(format!("a multi get takes up to {DOCUMENTS_MAX} documents")));
    }
    let mut out = b"{\"docs\":[".to_vec();
    for (position, wanted) in wanted.iter().enumerate() {
        if position > 0 {
            out.push(b',');
        }
        let found = read_index(call.index, &wanted.index)
            .and_then(|name| current(call.index, &name, &wanted.id).map(|found| (name, found)));
        match found {
            Ok((name, found)) => write_document(&name, &wanted.id, found.as_ref(), &wanted.filter, &mut out),
            Err(error) => {
                let cause = error.cause_json();
                let shown = json!({"_index": wanted.index, "_id": wanted.id, "error": {"root_cause": [cause], "type": error.kind, "reason": error.reason}});
                out.extend_from_slice(shown.to_string().as_bytes());
            }
        }
    }
    out.extend_from_slice(b"]}");
    Ok(Reply::raw(200, out))
}

struct Wanted {
    index: String,
    id: String,
    filter: SourceFilter,
}

fn wanted_documents(
    body: &Map<String, Value>,
    default_index: Option<&str>,
    filter: &SourceFilter,
) -> Result<Vec<Wanted>, ApiError> {
    let mut wanted = Vec::new();
    for (key, value) in body {
        for item in crate::json::array(value, key)? {
            let mut one = Wanted {
                index: default_index.unwrap_or_default().to_owned(),
                id: String::new(),
                filter: filter.clone(),
            };
            match (key.as_str(), item) {
                ("ids", id) => one.id = crate::json::string(id, key)?.to_owned(),
                ("docs", Value::Object(params)) => {
                    for (param, value) in params {
                        match param.as_str() {
                            "_index" => one.index = crate::json::string(value, param)?.to_owned(),
                            "_id" => one.id = crate::json::string(value, param)?.to_owned(),
                            "_source" => one.filter = SourceFilter::read(value)?,
                            other => return Err(crate::json::unknown_key("docs", other)),
                        }
                    }
                }
                _ => return Err(crate::json::unknown_key("multi get", key)),
            }
            if one.index.is_empty() || one.id.is_empty() {
                return Err(ApiError::new(
                    400,
                    "action_request_validation_exception",
                    "Validation Failed: 1: index or id is missing;",
                ));
            }
            wanted.push(one);
        }
    }
    if wanted.is_empty() {
        return Err(ApiError::new(
            400,
            "action_request_validation_exception",
            "Validation Failed: 1: no documents to get;",
        ));
    }
    Ok(wanted)
}
