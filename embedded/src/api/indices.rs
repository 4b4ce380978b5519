//! Indices: made, deleted, shown; mappings and settings.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::Reply;
use super::route::Call;
use crate::catalog::names::Lenient;
use crate::catalog::templates::{Blueprint, aliases_json};
use crate::catalog::{Catalog, IndexEntry};
use crate::error::ApiError;
use crate::index::shard::Shard;
use crate::json as read_json;
use crate::mapping::Mapping;

/// The version that the index says it is; clients look at it.
pub(super) const VERSION: &str = "2.19.0";

/// Shards of the expression of a call, after all other parameters were taken.
fn shards(call: &mut Call<'_>, names: &str, dropped: &[&str]) -> Result<Vec<Arc<Shard>>, ApiError> {
    let lenient = call.params.lenient()?;
    call.params.drop(dropped);
    call.finish_params()?;
    call.index.resolve(names, lenient)
}

/// `PUT /index`.
pub(super) fn create(call: &mut Call<'_>, name: &str) -> Result<Reply, ApiError> {
    call.params.drop(&["timeout", "wait_for_active_shards"]);
    call.finish_params()?;
    let blueprint = Blueprint::read(&read_json::parse_object(call.body)?, "create index")?;
    call.index.create(name, &blueprint)?;
    Ok(Reply::ok(&json!({"acknowledged": true, "shards_acknowledged": true, "index": name})))
}

/// `DELETE /index`.
pub(super) fn delete(call: &mut Call<'_>, expression: &str) -> Result<Reply, ApiError> {
    let lenient = call.params.lenient()?;
    call.params.drop(&["timeout"]);
    call.finish_params()?;
    let catalog = call.index.catalog();
    if let Some(alias) = expression.split(',').find(|part| catalog.is_alias(part)) {
        return Err(ApiError::illegal(format!(
            "The provided expression [{alias}] matches an alias, specify the corresponding concrete indices instead."
        )));
    }
    let mut names = catalog.resolve(expression, lenient)?;
    // A pattern that matches an alias' name does not delete what is behind the alias.
    if expression != "_all" {
        names.retain(|name| expression.split(',').any(|part| crate::patterns::star_matches(part, name)));
    }
    call.index.delete(&names)?;
    Ok(Reply::acknowledged())
}

/// `HEAD /index`.
pub(super) fn exists(call: &mut Call<'_>, names: &str) -> Result<Reply, ApiError> {
    call.params.drop(&["local", "flat_settings", "include_defaults"]);
    let lenient = call.params.lenient()?;
    call.finish_params()?;
    match call.index.catalog().resolve(names, lenient) {
        Ok(found) => Ok(Reply::exists(!found.is_empty() || names.contains('*'))),
        Err(error) if error.status == 404 => Ok(Reply::exists(false)),
        Err(error) => Err(error),
    }
}

/// `GET /index`.
pub(super) fn get(call: &mut Call<'_>, names: &str) -> Result<Reply, ApiError> {
    let shards = shards(call, names, &["local", "flat_settings", "include_defaults"])?;
    let catalog = call.index.catalog();
    let shown = by_name(&catalog, &shards, |shard, entry| {
        json!({
            "aliases": aliases_json(&entry.aliases),
            "mappings": shard.mapping().to_json(),
            "settings": settings_json(shard, entry),
        })
    });
    Ok(Reply::ok(&shown))
}

fn by_name(catalog: &Catalog, shards: &[Arc<Shard>], show: impl Fn(&Shard, &IndexEntry) -> Value) -> Value {
    let entries = shards.iter().filter_map(|shard| {
        let entry = catalog.indices.get(&*shard.name)?;
        Some((shard.name.to_string(), show(shard, entry)))
    });
    Value::Object(entries.collect::<Map<_, _>>())
}

fn settings_json(shard: &Shard, entry: &IndexEntry) -> Value {
    let mut settings = entry.settings.to_json();
    let defaults = [("number_of_shards", "1"), ("number_of_replicas", "0")];
    if let Some(root) = settings.as_object_mut()
        && let Some(index) = root.entry("index").or_insert_with(|| json!({})).as_object_mut()
    {
        for (name, value) in defaults {
            index.entry(name).or_insert_with(|| json!(value));
        }
        index.insert("creation_date".into(), json!(entry.created_ms.to_string()));
        index.insert("uuid".into(), json!(entry.uuid));
        index.insert("provided_name".into(), json!(&*shard.name));
        index.insert("version".into(), json!({"created": "136408127"}));
    }
    settings
}

/// `GET /index/_mapping`.
pub(super) fn get_mapping(call: &mut Call<'_>, names: &str) -> Result<Reply, ApiError> {
    let shards = shards(call, names, &["local"])?;
    let catalog = call.index.catalog();
    Ok(Reply::ok(&by_name(&catalog, &shards, |shard, _| json!({"mappings": shard.mapping().to_json()}))))
}

/// `PUT /index/_mapping`.
pub(super) fn put_mapping(call: &mut Call<'_>, names: &str) -> Result<Reply, ApiError> {
    let body = Value::Object(read_json::parse_object(call.body)?);
    let mapping = Mapping::read(&body)?;
    let shards = shards(call, names, &["timeout", "write_index_only"])?;
    for shard in shards {
        shard.put_mapping(&mapping)?;
    }
    Ok(Reply::acknowledged())
}

/// `GET /index/_settings`.
pub(super) fn get_settings(call: &mut Call<'_>, names: &str) -> Result<Reply, ApiError> {
    let shards = shards(call, names, &["local", "include_defaults"])?;
    let catalog = call.index.catalog();
    Ok(Reply::ok(&by_name(
        &catalog,
        &shards,
        |shard, entry| json!({"settings": settings_json(shard, entry)}),
    )))
}

/// `POST /index/_refresh`; `_flush` does the same: a commit is both.
pub(super) fn refresh(call: &mut Call<'_>, names: &str) -> Result<Reply, ApiError> {
    let shards = shards(call, names, &["force", "wait_if_ongoing"])?;
    for shard in &shards {
        shard.refresh()?;
    }
    let count = shards.len();
    Ok(Reply::ok(&json!({"_shards": {"total": count, "successful": count, "failed": 0}})))
}

/// Numbers of one index.
pub(super) struct Numbers {
    pub(super) documents: u64,
    pub(super) deleted: u64,
    pub(super) bytes: u64,
}

/// Counts of an index, fresh enough.
pub(super) fn numbers(call: &Call<'_>, shard: &Shard) -> Result<Numbers, ApiError> {
    let searcher = shard.searcher(call.index.refresh)?;
    let deleted = searcher.segment_readers().iter().map(|s| u64::from(s.num_deleted_docs())).sum();
    Ok(Numbers { documents: searcher.num_docs(), deleted, bytes: folder_bytes(shard)? })
}

fn folder_bytes(shard: &Shard) -> Result<u64, ApiError> {
    let mut bytes: u64 = 0;
    for entry in std::fs::read_dir(shard.folder())? {
        // A file that a merge removed meanwhile does not count.
        if let Ok(data) = entry?.metadata() {
            bytes = bytes.saturating_add(data.len());
        }
    }
    Ok(bytes)
}

/// `GET /index/_stats`: documents and sizes only.
pub(super) fn stats(call: &mut Call<'_>, names: &str) -> Result<Reply, ApiError> {
    let shards = shards(call, names, &["level"])?;
    let mut indices = Map::new();
    let (mut documents, mut deleted, mut bytes) = (0_u64, 0_u64, 0_u64);
    for shard in &shards {
        let numbers = numbers(call, shard)?;
        documents = documents.saturating_add(numbers.documents);
        deleted = deleted.saturating_add(numbers.deleted);
        bytes = bytes.saturating_add(numbers.bytes);
        let part = stats_json(numbers.documents, numbers.deleted, numbers.bytes);
        indices.insert(shard.name.to_string(), json!({"primaries": part, "total": part}));
    }
    let all = stats_json(documents, deleted, bytes);
    let count = shards.len();
    Ok(Reply::ok(&json!({
        "_shards": {"total": count, "successful": count, "failed": 0},
        "_all": {"primaries": all, "total": all},
        "indices": indices,
    })))
}

fn stats_json(documents: u64, deleted: u64, bytes: u64) -> Value {
    json!({"docs": {"count": documents, "deleted": deleted}, "store": {"size_in_bytes": bytes}})
}

/// How names are read where the request does not say.
pub(super) const STRICT: Lenient = Lenient { ignore_unavailable: false, allow_no_indices: true };
