//! `_search`, `_count`, `_msearch` and points in time.

use std::sync::Arc;
use std::time::Instant;

use serde_json::{Map, Value, json};

use super::Reply;
use super::documents::source_params;
use super::route::Call;
use super::search_reply::{ReplyOptions, write};
use crate::catalog::names::Lenient;
use crate::engine::Index;
use crate::error::ApiError;
use crate::json as read_json;
use crate::query::ast::Query;
use crate::query::{dsl, lucene};
use crate::search::Target;
use crate::search::body::{Search, Total};
use crate::search::run;
use crate::search::sort::SortKey;

/// Most searches of one `_msearch`.
const SEARCHES_MAX: usize = 100;
/// Parameters that tune how OpenSearch spreads a search.
const TUNING: &[&str] = &[
    "preference",
    "request_cache",
    "batched_reduce_size",
    "ccs_minimize_roundtrips",
    "max_concurrent_shard_requests",
    "pre_filter_shard_size",
    "ignore_throttled",
    "cancel_after_time_interval",
    "phase_took",
    "max_concurrent_searches",
];

/// `GET /index/_search`.
pub(super) fn search(call: &mut Call<'_>, names: &str) -> Result<Reply, ApiError> {
    let started = Instant::now();
    let mut search = Search::read(&read_json::parse_object(call.body)?)?;
    let options = search_params(call, &mut search)?;
    let lenient = call.params.lenient()?;
    call.finish_params()?;
    if search.point.is_some() && names != "_all" {
        return Err(ApiError::new(
            400,
            "action_request_validation_exception",
            "Validation Failed: 1: [indices] cannot be used with point in time. Do not specify any index with point in time.;",
        ));
    }
    let body = run_search(call.index, &search, names, lenient, options, started)?;
    Ok(Reply::raw(200, body))
}

fn run_search(
    index: &Index,
    search: &Search,
    names: &str,
    lenient: Lenient,
    options: ReplyOptions,
    started: Instant,
) -> Result<Vec<u8>, ApiError> {
    let targets = match &search.point {
        Some(point) => index.points.get(&point.id, point.keep_alive)?,
        None => Arc::new(index.targets(&index.resolve(names, lenient)?)?),
    };
    search.check(targets.iter().map(|t| t.window_max).min().unwrap_or(10_000))?;
    let found = run::run(search, &targets, index.clock.now())?;
    write(search, &targets, &found, options, started)
}

/// Takes the parameters of a search; they win over the body.
fn search_params(call: &mut Call<'_>, search: &mut Search) -> Result<ReplyOptions, ApiError> {
    if let Some(query) = query_param(call)? {
        search.query = query;
    }
    if let Some(from) = call.params.number("from")? {
        search.from = usize::try_from(from).unwrap_or(usize::MAX);
    }
    if let Some(size) = call.params.number("size")? {
        search.size = usize::try_from(size).unwrap_or(usize::MAX);
    }
    if let Some(sort) = call.params.take("sort") {
        search.sort = SortKey::read_parameter(&sort)?;
    }
    if let Some(total) = call.params.take("track_total_hits") {
        search.total = Total::read(&json!(total))?;
    }
    if let Some(timeout) = call.params.time("timeout")? {
        search.timeout = Some(timeout);
    }
    if let Some(filter) = source_params(call)? {
        search.source = filter;
    }
    for (name, flag) in [
        ("version", &mut search.show_version),
        ("seq_no_primary_term", &mut search.show_seq_no),
        ("track_scores", &mut search.track_scores),
    ] {
        if let Some(given) = call.params.flag(name)? {
            *flag = given;
        }
    }
    match call.params.take("search_type").as_deref() {
        None | Some("query_then_fetch" | "dfs_query_then_fetch") => {}
        Some(other) => return Err(ApiError::illegal(format!("No search type for [{other}]"))),
    }
    let total_as_number = call.params.flag("rest_total_hits_as_int")?.unwrap_or(false);
    if call.params.flag("typed_keys")?.unwrap_or(false) {
        return Err(ApiError::unsupported("[typed_keys]"));
    }
    for name in
        ["scroll", "routing", "explain", "stats", "suggest_field", "terminate_after", "search_pipeline"]
    {
        if call.params.take(name).is_some_and(|value| value != "false") {
            return Err(ApiError::unsupported(format!("parameter [{name}] of a search")));
        }
    }
    call.params.drop(TUNING);
    call.params.drop(&["allow_partial_search_results"]);
    Ok(ReplyOptions { total_as_number })
}

/// Takes `?q=` and what goes with it.
fn query_param(call: &mut Call<'_>) -> Result<Option<Query>, ApiError> {
    let text = call.params.take("q");
    let mut syntax = lucene::Syntax::default();
    if let Some(field) = call.params.take("df") {
        syntax.lenient = field == "*";
        syntax.names = vec![(field, 1.0)];
    }
    match call.params.take("default_operator").as_deref().map(str::to_ascii_lowercase).as_deref() {
        None | Some("or") => {}
        Some("and") => syntax.all = true,
        Some(other) => {
            return Err(ApiError::illegal(format!(
                "Unsupported defaultOperator [{other}], can either be [OR] or [AND]"
            )));
        }
    }
    if let Some(lenient) = call.params.flag("lenient")? {
        syntax.lenient = lenient;
    }
    call.params.drop(&["analyze_wildcard"]);
    match call.params.take("analyzer").as_deref() {
        None | Some("standard" | "default") => {}
        Some(other) => return Err(ApiError::unsupported(format!("analyzer [{other}]"))),
    }
    text.map(|text| lucene::parse(&text, &syntax)).transpose()
}

/// `GET /index/_count`.
pub(super) fn count(call: &mut Call<'_>, names: &str) -> Result<Reply, ApiError> {
    let mut query = Query::All;
    for (key, value) in &read_json::parse_object(call.body)? {
        match key.as_str() {
            "query" => query = dsl::read(value)?,
            other => return Err(ApiError::parsing(format!("request does not support [{other}]"))),
        }
    }
    if let Some(given) = query_param(call)? {
        query = given;
    }
    let lenient = call.params.lenient()?;
    call.params.drop(TUNING);
    call.finish_params()?;
    let targets = call.index.targets(&call.index.resolve(names, lenient)?)?;
    let count = run::count(&query, &targets, call.index.clock.now())?;
    let shards = targets.len();
    Ok(Reply::ok(&json!({
        "count": count,
        "_shards": {"total": shards, "successful": shards, "skipped": 0, "failed": 0},
    })))
}

/// `GET /_msearch`: pairs of lines, where to look and what for.
pub(super) fn msearch(call: &mut Call<'_>, names: Option<&str>) -> Result<Reply, ApiError> {
    let started = Instant::now();
    let total_as_number = call.params.flag("rest_total_hits_as_int")?.unwrap_or(false);
    call.params.drop(TUNING);
    call.params.drop(&["search_type"]);
    call.finish_params()?;
    if call.body.last() != Some(&b'\n') {
        return Err(ApiError::illegal("The msearch request must be terminated by a newline [\\n]"));
    }
    let mut lines = call.body.split(|byte| *byte == b'\n');
    let mut out = Vec::new();
    let mut count: usize = 0;
    while let Some(header) = lines.next() {
        let Some(body) = lines.next() else { break };
        count = count.saturating_add(1);
        if count > SEARCHES_MAX {
            return Err(ApiError::illegal(format!("a multi search takes up to {SEARCHES_MAX} searches")));
        }
        if !out.is_empty() {
            out.push(b',');
        }
        let result = header_of(header, names).and_then(|(names, lenient)| {
            let search = Search::read(&read_json::parse_object(body)?)?;
            run_search(call.index, &search, &names, lenient, ReplyOptions { total_as_number }, Instant::now())
        });
        match result {
            Ok(body) => {
                // The closing bracket makes place for the status.
                out.extend_from_slice(body.strip_suffix(b"}").unwrap_or(&body));
                out.extend_from_slice(b",\"status\":200}");
            }
            Err(error) => out.extend_from_slice(error.body_json().to_string().as_bytes()),
        }
    }
    let mut body = format!("{{\"took\":{},\"responses\":[", started.elapsed().as_millis()).into_bytes();
    body.extend_from_slice(&out);
    body.extend_from_slice(b"]}");
    Ok(Reply::raw(200, body))
}

fn header_of(line: &[u8], names: Option<&str>) -> Result<(String, Lenient), ApiError> {
    let mut lenient = Lenient::default();
    let mut expression = names.unwrap_or("_all").to_owned();
    let header: Map<String, Value> = read_json::parse_object(line)?;
    for (key, value) in &header {
        match key.as_str() {
            "index" | "indices" => expression = read_json::strings(value, key)?.join(","),
            "ignore_unavailable" => lenient.ignore_unavailable = read_json::boolean(value, key)?,
            "allow_no_indices" => lenient.allow_no_indices = read_json::boolean(value, key)?,
            "preference" | "search_type" | "request_cache" | "expand_wildcards" => {}
            other => return Err(read_json::unknown_key("search header", other)),
        }
    }
    Ok((expression, lenient))
}

/// `POST /index/_search/point_in_time?keep_alive=1m`.
pub(super) fn open_point(call: &mut Call<'_>, names: &str) -> Result<Reply, ApiError> {
    call.no_body()?;
    let keep = call.params.time("keep_alive")?.ok_or_else(|| {
        ApiError::new(
            400,
            "action_request_validation_exception",
            "Validation Failed: 1: keep alive not specified;",
        )
    })?;
    let lenient = call.params.lenient()?;
    call.params.drop(&["preference", "allow_partial_pit_creation"]);
    call.finish_params()?;
    let targets: Vec<Target> = call.index.targets(&call.index.resolve(names, lenient)?)?;
    let shards = targets.len();
    let id = call.index.points.open(targets, keep)?;
    Ok(Reply::ok(&json!({
        "pit_id": id,
        "_shards": {"total": shards, "successful": shards, "skipped": 0, "failed": 0},
        "creation_time": call.index.clock.now().millis(),
    })))
}

/// `DELETE /_search/point_in_time` with `{"pit_id": [...]}`.
pub(super) fn close_points(call: &mut Call<'_>) -> Result<Reply, ApiError> {
    call.finish_params()?;
    let mut ids = Vec::new();
    for (key, value) in &read_json::parse_object(call.body)? {
        match key.as_str() {
            "pit_id" => ids = read_json::strings(value, key)?,
            other => return Err(read_json::unknown_key("delete pit", other)),
        }
    }
    if ids.is_empty() {
        return Err(ApiError::new(
            400,
            "action_request_validation_exception",
            "Validation Failed: 1: no pit ids specified;",
        ));
    }
    let closed: Vec<Value> =
        ids.iter().map(|id| json!({"pit_id": id, "successful": call.index.points.close(id)})).collect();
    Ok(Reply::ok(&json!({"pits": closed})))
}

/// `DELETE /_search/point_in_time/_all`.
pub(super) fn close_all_points(call: &mut Call<'_>) -> Result<Reply, ApiError> {
    call.finish_params()?;
    let closed: Vec<Value> =
        call.index.points.close_all().iter().map(|id| json!({"pit_id": id, "successful": true})).collect();
    Ok(Reply::ok(&json!({"pits": closed})))
}
