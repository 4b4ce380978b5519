//! An index in a folder of its own, and calls that read like curl.

use std::path::Path;
use std::sync::Arc;

use embedded::{EmbeddedOptions, Index, Request};
use model::time::{Clock, Timestamp};
use serde_json::Value;
use tempfile::TempDir;

use crate::real::Real;

/// The time in these tests.
pub(crate) const NOW: &str = "2020-03-04T05:06:07Z";

/// An index and its folder, and the real OpenSearch that is asked the same, where there is one.
pub(crate) struct World {
    pub(crate) index: Arc<Index>,
    pub(crate) folder: TempDir,
    pub(crate) real: Option<Real>,
}

/// Opens an index in a folder.
pub(crate) fn open(folder: &Path) -> Arc<Index> {
    let clock = Clock::manual(Timestamp::parse_rfc3339(NOW).unwrap());
    embedded::open(EmbeddedOptions { folder: folder.to_owned(), writer_mib: 32, refresh_ms: 50, clock })
        .unwrap()
}

impl World {
    /// An empty index.
    pub(crate) fn new() -> World {
        let folder = tempfile::tempdir().unwrap();
        World { index: open(folder.path()), folder, real: Real::from_environment() }
    }

    /// An empty index that nothing is compared with: for tests of what only it does.
    pub(crate) fn alone() -> World {
        let folder = tempfile::tempdir().unwrap();
        World { index: open(folder.path()), folder, real: None }
    }

    /// An index with MozDef's template.
    pub(crate) fn mozdef() -> World {
        let world = World::new();
        world.ok("PUT /_index_template/mozdef", &embedded::cases::mozdef_template().to_string());
        world
    }

    /// Closes and opens again.
    pub(crate) fn reopen(mut self) -> World {
        let folder = self.folder;
        drop(self.index);
        self.index = open(folder.path());
        World { index: self.index, folder, real: self.real }
    }

    /// `GET /path?query` with a body: status and reply.
    pub(crate) fn call(&self, line: &str, body: &str) -> (u16, Value) {
        let reply = call(&self.index, line, body);
        if let Some(real) = &self.real {
            real.compare(line, body, &reply);
        }
        reply
    }

    /// The reply of a call that must succeed.
    #[track_caller]
    pub(crate) fn ok(&self, line: &str, body: &str) -> Value {
        let (status, reply) = self.call(line, body);
        assert!((200..300).contains(&status), "{line}: {status} {reply}");
        reply
    }

    /// The reason of a call that must fail with a status.
    #[track_caller]
    pub(crate) fn refused(&self, line: &str, body: &str, expected: u16) -> String {
        let (status, reply) = self.call(line, body);
        assert_eq!(status, expected, "{line}: {reply}");
        let cause =
            reply.pointer("/error/root_cause/0/reason").or(reply.get("error")).unwrap_or(&Value::Null);
        cause.as_str().map_or_else(|| cause.to_string(), str::to_owned)
    }

    /// Puts documents `(id, JSON)` into an index, searchable at once.
    #[track_caller]
    pub(crate) fn put(&self, index: &str, documents: &[(&str, &str)]) {
        let lines: String = documents
            .iter()
            .map(|(id, source)| {
                format!("{{\"index\":{{\"_index\":\"{index}\",\"_id\":\"{id}\"}}}}\n{source}\n")
            })
            .collect();
        let reply = self.ok("POST /_bulk?refresh=true", &lines);
        assert_eq!(reply["errors"], false, "{reply}");
    }

    /// Ids of the hits of a search, in order.
    #[track_caller]
    pub(crate) fn ids(&self, line: &str, body: &str) -> Vec<String> {
        let reply = self.ok(line, body);
        reply["hits"]["hits"]
            .as_array()
            .unwrap()
            .iter()
            .map(|h| h["_id"].as_str().unwrap().to_owned())
            .collect()
    }
}

/// A call on an index.
pub(crate) fn call(index: &Index, line: &str, body: &str) -> (u16, Value) {
    let (method, rest) = line.split_once(' ').unwrap();
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let reply = index.handle(&Request { method, path, query, body: body.as_bytes() });
    let value = serde_json::from_slice(&reply.body)
        .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&reply.body).into_owned()));
    (reply.status, value)
}
