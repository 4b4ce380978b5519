//! Which endpoint a method and a path mean.
//!
//! In: the request. Out: the endpoint's reply. Paths that OpenSearch has and this index has not are refused by name.

use super::params::{Params, decode};
use super::{Reply, Request, aliases, bulk, cat, cluster, documents, indices, search, templates};
use crate::engine::Index;
use crate::error::ApiError;

/// What endpoints act on.
pub(super) struct Call<'c> {
    pub(super) index: &'c Index,
    pub(super) path: &'c str,
    pub(super) body: &'c [u8],
    pub(super) params: Params,
}

impl Call<'_> {
    /// Fails when a parameter is left that no endpoint took.
    pub(super) fn finish_params(&mut self) -> Result<(), ApiError> {
        std::mem::take(&mut self.params).finish(self.path)
    }

    /// Fails when there is a body.
    pub(super) fn no_body(&self) -> Result<(), ApiError> {
        if self.body.iter().all(u8::is_ascii_whitespace) {
            return Ok(());
        }
        Err(ApiError::illegal(format!("request [{}] does not support having a body", self.path)))
    }
}

/// Finds the endpoint and calls it.
pub(super) fn dispatch(index: &Index, request: &Request<'_>, params: Params) -> Result<Reply, ApiError> {
    let segments: Vec<String> =
        request.path.split('/').filter(|s| !s.is_empty()).map(decode).collect::<Result<_, _>>()?;
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let mut call = Call { index, path: request.path, body: request.body, params };
    let reply = match segments.as_slice() {
        [] => cluster::root(&mut call, request.method),
        [first, ..] if first.starts_with('_') && *first != "_all" => {
            top_level(&mut call, request.method, &segments)
        }
        [name, rest @ ..] => on_index(&mut call, request.method, name, rest),
    }?;
    let reply = reply.ok_or_else(|| no_handler(request, &segments))?;
    Ok(if request.method == "HEAD" { Reply { body: Vec::new(), ..reply } } else { reply })
}

type Routed = Result<Option<Reply>, ApiError>;

/// Paths that begin with an underscore.
fn top_level(call: &mut Call<'_>, method: &str, segments: &[&str]) -> Routed {
    let reply = match (method, segments) {
        ("POST" | "PUT", ["_bulk"]) => bulk::bulk(call, None),
        ("GET" | "POST", ["_search"]) => search::search(call, "_all"),
        ("GET" | "POST", ["_count"]) => search::count(call, "_all"),
        ("GET" | "POST", ["_msearch"]) => search::msearch(call, None),
        ("DELETE", ["_search", "point_in_time"]) => search::close_points(call),
        ("DELETE", ["_search", "point_in_time", "_all"]) => search::close_all_points(call),
        ("GET" | "POST", ["_mget"]) => documents::mget(call, None),
        ("GET" | "POST", ["_refresh"]) => indices::refresh(call, "_all"),
        ("GET" | "POST", ["_flush"]) => indices::refresh(call, "_all"),
        ("GET", ["_mapping" | "_mappings"]) => indices::get_mapping(call, "_all"),
        ("GET", ["_settings"]) => indices::get_settings(call, "_all"),
        ("GET", ["_stats"]) => indices::stats(call, "_all"),
        ("POST", ["_aliases"]) => aliases::change(call),
        ("GET" | "HEAD", ["_alias" | "_aliases"]) => aliases::get(call, "_all", None),
        ("GET" | "HEAD", ["_alias", name]) => aliases::get(call, "_all", Some(name)),
        ("GET" | "HEAD", ["_template"]) => templates::get_legacy(call, "*"),
        ("GET" | "HEAD", ["_template", name]) => templates::get_legacy(call, name),
        ("PUT" | "POST", ["_template", name]) => templates::put_legacy(call, name),
        ("DELETE", ["_template", name]) => templates::delete_legacy(call, name),
        ("GET" | "HEAD", ["_index_template"]) => templates::get(call, "*"),
        ("GET" | "HEAD", ["_index_template", name]) => templates::get(call, name),
        ("PUT" | "POST", ["_index_template", name]) => templates::put(call, name),
        ("DELETE", ["_index_template", name]) => templates::delete(call, name),
        ("GET", ["_cat", "indices"]) => cat::indices(call, "_all"),
        ("GET", ["_cat", "indices", names]) => cat::indices(call, names),
        ("GET", ["_cat", "aliases"]) => cat::aliases(call, "*"),
        ("GET", ["_cat", "aliases", name]) => cat::aliases(call, name),
        ("GET", ["_cat", "count"]) => cat::count(call, "_all"),
        ("GET", ["_cat", "count", names]) => cat::count(call, names),
        ("GET", ["_cat", "health"]) => cat::health(call),
        ("GET", ["_cluster", "health"]) => cluster::health(call, "_all"),
        ("GET", ["_cluster", "health", names]) => cluster::health(call, names),
        ("GET", ["_cluster", "settings"]) => cluster::settings(call),
        ("GET", ["_nodes", ..]) => cluster::nodes(call),
        _ => return Ok(None),
    };
    reply.map(Some)
}

/// Paths that begin with names of indices.
fn on_index(call: &mut Call<'_>, method: &str, names: &str, rest: &[&str]) -> Routed {
    let reply = match (method, rest) {
        ("PUT", []) => indices::create(call, names),
        ("DELETE", []) => indices::delete(call, names),
        ("GET", []) => indices::get(call, names),
        ("HEAD", []) => indices::exists(call, names),
        ("POST" | "PUT", ["_bulk"]) => bulk::bulk(call, Some(names)),
        ("GET" | "POST", ["_search"]) => search::search(call, names),
        ("GET" | "POST", ["_count"]) => search::count(call, names),
        ("GET" | "POST", ["_msearch"]) => search::msearch(call, Some(names)),
        ("POST", ["_search", "point_in_time"]) => search::open_point(call, names),
        ("GET" | "POST", ["_mget"]) => documents::mget(call, Some(names)),
        ("GET" | "HEAD", ["_doc", id]) => documents::get(call, names, id),
        ("PUT" | "POST", ["_doc", id]) => documents::index(call, names, Some(id)),
        ("POST", ["_doc"]) => documents::index(call, names, None),
        ("DELETE", ["_doc", id]) => documents::delete(call, names, id),
        ("PUT" | "POST", ["_create", id]) => documents::create(call, names, id),
        ("GET" | "HEAD", ["_source", id]) => documents::get_source(call, names, id),
        ("POST", ["_update", id]) => documents::update(call, names, id),
        ("GET" | "POST", ["_refresh"]) => indices::refresh(call, names),
        ("GET" | "POST", ["_flush"]) => indices::refresh(call, names),
        ("GET", ["_mapping" | "_mappings"]) => indices::get_mapping(call, names),
        ("PUT" | "POST", ["_mapping" | "_mappings"]) => indices::put_mapping(call, names),
        ("GET", ["_settings"]) => indices::get_settings(call, names),
        ("GET", ["_stats"]) => indices::stats(call, names),
        ("GET" | "HEAD", ["_alias" | "_aliases"]) => aliases::get(call, names, None),
        ("GET" | "HEAD", ["_alias", alias]) => aliases::get(call, names, Some(alias)),
        ("PUT" | "POST", ["_alias" | "_aliases", alias]) => aliases::put(call, names, alias),
        ("DELETE", ["_alias" | "_aliases", alias]) => aliases::delete(call, names, alias),
        _ => return Ok(None),
    };
    reply.map(Some)
}

fn no_handler(request: &Request<'_>, segments: &[&str]) -> ApiError {
    let api = segments.iter().find(|s| s.starts_with('_') && **s != "_all");
    let known = [
        "_doc", "_search", "_bulk", "_count", "_mapping", "_alias", "_refresh", "_create", "_update",
        "_source",
    ];
    match api {
        Some(api) if !known.contains(api) => {
            ApiError::unsupported(format!("[{} {}] ({api})", request.method, request.path))
        }
        _ => ApiError::new(
            405,
            "method_not_allowed_exception",
            format!("Incorrect HTTP method for uri [{}] and method [{}]", request.path, request.method),
        ),
    }
}
