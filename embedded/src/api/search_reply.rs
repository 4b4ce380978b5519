//! The reply to a search.
//!
//! In: what was found. Out: JSON with the documents' own bytes, so that numbers keep their text.

use std::time::Instant;

use serde_json::{Value, json};
use tantivy::TantivyDocument;
use tantivy::schema::Value as _;

use crate::error::ApiError;
use crate::index::schema::fields;
use crate::search::Target;
use crate::search::body::{Search, Total};
use crate::search::run::{Found, Hit};
use crate::search::sort::SortValue;
use crate::search::source::write_text;

/// Largest reply in bytes.
const REPLY_BYTES_MAX: usize = 256 << 20;

/// How a reply is written.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReplyOptions {
    /// `total` is a number, as it was before version 7.
    pub(super) total_as_number: bool,
}

/// Writes the reply.
pub(super) fn write(
    search: &Search,
    targets: &[Target],
    found: &Found,
    options: ReplyOptions,
    started: Instant,
) -> Result<Vec<u8>, ApiError> {
    let mut out = b"{".to_vec();
    if let Some(point) = &search.point {
        out.extend_from_slice(b"\"pit_id\":");
        write_text(&point.id, &mut out);
        out.push(b',');
    }
    let shards = targets.len();
    let head = format!(
        "\"took\":{},\"timed_out\":{},\"_shards\":{{\"total\":{shards},\"successful\":{shards},\"skipped\":0,\"failed\":0}},\"hits\":{{",
        started.elapsed().as_millis(),
        found.timed_out
    );
    out.extend_from_slice(head.as_bytes());
    if let Some(total) = total(search.total, found, options) {
        out.extend_from_slice(format!("\"total\":{total},").as_bytes());
    }
    let max_score = json!(found.max_score.filter(|_| !found.hits.is_empty()));
    out.extend_from_slice(format!("\"max_score\":{max_score},\"hits\":[").as_bytes());
    for (position, hit) in found.hits.iter().enumerate() {
        if position > 0 {
            out.push(b',');
        }
        write_hit(search, targets, hit, &mut out)?;
        if out.len() > REPLY_BYTES_MAX {
            return Err(ApiError::new(
                429,
                "circuit_breaking_exception",
                format!(
                    "the reply is larger than {REPLY_BYTES_MAX} bytes; ask for fewer hits or a part of [_source]"
                ),
            ));
        }
    }
    out.extend_from_slice(b"]}");
    if let Some(aggregations) = &found.aggregations {
        out.extend_from_slice(b",\"aggregations\":");
        out.extend_from_slice(&serde_json::to_vec(aggregations).map_err(ApiError::storage)?);
    }
    out.push(b'}');
    Ok(out)
}

fn total(total: Total, found: &Found, options: ReplyOptions) -> Option<Value> {
    let (value, relation) = match total {
        Total::Hidden => return None,
        Total::UpTo(limit) if found.total > limit => (limit, "gte"),
        _ if found.timed_out => (found.total, "gte"),
        _ => (found.total, "eq"),
    };
    Some(if options.total_as_number {
        json!(found.total)
    } else {
        json!({"value": value, "relation": relation})
    })
}

fn write_hit(search: &Search, targets: &[Target], hit: &Hit, out: &mut Vec<u8>) -> Result<(), ApiError> {
    let Some(target) = targets.get(hit.target) else { return Ok(()) };
    let document: TantivyDocument = target.searcher.doc(hit.address)?;
    out.extend_from_slice(b"{\"_index\":");
    write_text(&target.index, out);
    out.extend_from_slice(b",\"_id\":");
    write_text(document.get_first(fields().id).and_then(|v| v.as_str()).unwrap_or_default(), out);
    let columns = target.searcher.segment_reader(hit.address.segment_ord).fast_fields();
    if search.show_version {
        let version = columns.u64("_version")?.first(hit.address.doc_id).unwrap_or(1);
        out.extend_from_slice(format!(",\"_version\":{version}").as_bytes());
    }
    if search.show_seq_no {
        let seq_no = columns.u64("_seq_no")?.first(hit.address.doc_id).unwrap_or_default();
        out.extend_from_slice(format!(",\"_seq_no\":{seq_no},\"_primary_term\":1").as_bytes());
    }
    let score = hit.values.iter().find(|value| matches!(value, SortValue::Score(_)));
    let score = score.map_or(Value::Null, SortValue::to_json);
    out.extend_from_slice(format!(",\"_score\":{score}").as_bytes());
    let ignored: Vec<&str> = document.get_all(fields().ignored).filter_map(|v| v.as_str()).collect();
    if !ignored.is_empty() {
        out.extend_from_slice(format!(",\"_ignored\":{}", json!(ignored)).as_bytes());
    }
    if search.source.enabled {
        out.extend_from_slice(b",\"_source\":");
        let source = document.get_first(fields().source).and_then(|v| v.as_bytes()).unwrap_or(b"{}");
        search.source.write(source, out);
    }
    if !search.sort.is_empty() || search.point.is_some() {
        // Keys that only make the order total are shown for points in time, where they let the next page begin.
        let implied = usize::from(search.sort.is_empty());
        let shown =
            search.sort.len().saturating_add(implied).saturating_add(usize::from(search.point.is_some()));
        let values: Vec<Value> = hit.values.iter().take(shown).map(SortValue::to_json).collect();
        out.extend_from_slice(format!(",\"sort\":{}", Value::Array(values)).as_bytes());
    }
    out.push(b'}');
    Ok(())
}
