//! What the index says of itself: `/`, `_cluster`, `_nodes`.

use serde_json::json;

use super::Reply;
use super::indices::VERSION;
use super::route::Call;
use crate::catalog::names::Lenient;
use crate::error::ApiError;

/// Name of the cluster of one.
pub(super) const NAME: &str = "mozdef-embedded";

/// `GET /`.
pub(super) fn root(call: &mut Call<'_>, method: &str) -> Result<Option<Reply>, ApiError> {
    if method != "GET" && method != "HEAD" {
        return Ok(None);
    }
    call.finish_params()?;
    Ok(Some(Reply::ok(&json!({
        "name": "mozdef",
        "cluster_name": NAME,
        "cluster_uuid": "mozdef-embedded-index",
        "version": {
            "distribution": "opensearch",
            "number": VERSION,
            "build_type": "mozdef",
            "build_hash": "unknown",
            "build_date": "unknown",
            "build_snapshot": false,
            "lucene_version": "none",
            "minimum_wire_compatibility_version": "7.10.0",
            "minimum_index_compatibility_version": "7.0.0",
        },
        "tagline": "The OpenSearch Project: https://opensearch.org/ (a part of its API, by MozDef's embedded index)",
    }))))
}

/// `GET /_cluster/health`.
pub(super) fn health(call: &mut Call<'_>, names: &str) -> Result<Reply, ApiError> {
    call.params.drop(&[
        "local",
        "level",
        "timeout",
        "wait_for_status",
        "wait_for_active_shards",
        "wait_for_nodes",
        "wait_for_no_initializing_shards",
        "wait_for_no_relocating_shards",
        "wait_for_events",
    ]);
    let lenient: Lenient = call.params.lenient()?;
    call.finish_params()?;
    let shards = call.index.resolve(names, lenient)?.len();
    Ok(Reply::ok(&json!({
        "cluster_name": NAME,
        "status": "green",
        "timed_out": false,
        "number_of_nodes": 1,
        "number_of_data_nodes": 1,
        "discovered_master": true,
        "discovered_cluster_manager": true,
        "active_primary_shards": shards,
        "active_shards": shards,
        "relocating_shards": 0,
        "initializing_shards": 0,
        "unassigned_shards": 0,
        "delayed_unassigned_shards": 0,
        "number_of_pending_tasks": 0,
        "number_of_in_flight_fetch": 0,
        "task_max_waiting_in_queue_millis": 0,
        "active_shards_percent_as_number": 100.0,
    })))
}

/// `GET /_cluster/settings`.
pub(super) fn settings(call: &mut Call<'_>) -> Result<Reply, ApiError> {
    call.params.drop(&["flat_settings", "include_defaults", "timeout"]);
    call.finish_params()?;
    Ok(Reply::ok(&json!({"persistent": {}, "transient": {}})))
}

/// `GET /_nodes`: one node, without addresses to sniff.
pub(super) fn nodes(call: &mut Call<'_>) -> Result<Reply, ApiError> {
    call.params.drop(&["timeout", "flat_settings"]);
    call.finish_params()?;
    Ok(Reply::ok(&json!({
        "_nodes": {"total": 1, "successful": 1, "failed": 0},
        "cluster_name": NAME,
        "nodes": {"mozdef": {"name": "mozdef", "version": VERSION, "roles": ["data", "ingest", "cluster_manager"]}},
    })))
}
