//! Refusals in OpenSearch's own shape, and why an index folder cannot be opened.
//!
//! In: what went wrong, where. Out: [`ApiError`] with a status and a body that OpenSearch's clients
//! read; [`OpenError`] for the program that starts the index. Never: a message without a name.

use std::path::PathBuf;

use serde_json::{Value, json};

/// A request that is refused or that failed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{kind}: {reason}")]
pub struct ApiError {
    /// HTTP status.
    pub status: u16,
    /// OpenSearch's name of the error, such as `parsing_exception`.
    pub kind: &'static str,
    /// What is wrong, and where.
    pub reason: String,
    /// The index it is about.
    pub index: Option<String>,
    /// Name and reason of the cause below.
    pub caused_by: Option<(&'static str, String)>,
    /// It came up while a query was run on an index: OpenSearch wraps such errors.
    pub in_search: bool,
}

impl ApiError {
    /// An error with a status, a name and a reason.
    pub fn new(status: u16, kind: &'static str, reason: impl Into<String>) -> ApiError {
        ApiError { status, kind, reason: reason.into(), index: None, caused_by: None, in_search: false }
    }

    /// 400: the body is not what the endpoint reads.
    pub fn parsing(reason: impl Into<String>) -> ApiError {
        ApiError::new(400, "parsing_exception", reason)
    }

    /// 400: a value is not allowed.
    pub fn illegal(reason: impl Into<String>) -> ApiError {
        ApiError::new(400, "illegal_argument_exception", reason)
    }

    /// 400: OpenSearch has it, this index has not.
    pub fn unsupported(what: impl std::fmt::Display) -> ApiError {
        ApiError::illegal(format!("{what} is not supported by the embedded index"))
    }

    /// 400: a query that does not fit the index's mapping.
    pub fn query_shard(index: &str, reason: impl Into<String>) -> ApiError {
        let mut error = ApiError::new(400, "query_shard_exception", reason);
        error.index = Some(index.to_owned());
        error.in_search = true;
        error
    }

    /// 404: no such index or alias.
    pub fn index_not_found(name: &str) -> ApiError {
        let mut error = ApiError::new(404, "index_not_found_exception", format!("no such index [{name}]"));
        error.index = Some(name.to_owned());
        error
    }

    /// 500: the storage failed.
    pub fn storage(reason: impl std::fmt::Display) -> ApiError {
        ApiError::new(500, "engine_exception", format!("storage failed: {reason}"))
    }

    /// The same error with the name of an index.
    #[must_use]
    pub fn on_index(mut self, index: &str) -> ApiError {
        self.index = Some(index.to_owned());
        self
    }

    /// The same error with a cause.
    #[must_use]
    pub fn because(mut self, kind: &'static str, reason: impl Into<String>) -> ApiError {
        self.caused_by = Some((kind, reason.into()));
        self
    }

    /// The inner object, as it stands for one item of a bulk request.
    pub fn cause_json(&self) -> Value {
        let mut cause = json!({"type": self.kind, "reason": self.reason});
        if let (Some(object), Some(index)) = (cause.as_object_mut(), &self.index) {
            object.insert("index".into(), json!(index));
            if self.kind == "index_not_found_exception" {
                object.insert("resource.id".into(), json!(index));
                object.insert("resource.type".into(), json!("index_or_alias"));
                object.insert("index_uuid".into(), json!("_na_"));
            }
        }
        if let (Some(object), Some((kind, reason))) = (cause.as_object_mut(), &self.caused_by) {
            object.insert("caused_by".into(), json!({"type": kind, "reason": reason}));
        }
        cause
    }

    /// The whole body of the reply.
    pub fn body_json(&self) -> Value {
        let cause = self.cause_json();
        let mut error = if self.in_search {
            json!({
                "type": "search_phase_execution_exception",
                "reason": "all shards failed",
                "phase": "query",
                "grouped": true,
                "failed_shards": [{"shard": 0, "index": self.index, "reason": cause}],
            })
        } else {
            cause.clone()
        };
        if let Some(object) = error.as_object_mut() {
            object.insert("root_cause".into(), json!([cause]));
        }
        json!({"error": error, "status": self.status})
    }
}

impl From<tantivy::TantivyError> for ApiError {
    fn from(error: tantivy::TantivyError) -> ApiError {
        ApiError::storage(error)
    }
}

impl From<std::io::Error> for ApiError {
    fn from(error: std::io::Error) -> ApiError {
        ApiError::storage(error)
    }
}

/// Why an index folder cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file system said no.
    #[error("cannot use {path} for the index: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
    /// A stored file is not what this version wrote.
    #[error("{path} is damaged: {reason}; move the folder away to start with an empty index")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong in it.
        reason: String,
    },
    /// The folder was written by a later version.
    #[error("{path} has format {found}, this version reads {known}; use the version that wrote it")]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u64,
        /// The newest format that is known.
        known: u64,
    },
    /// The search library failed.
    #[error("cannot open the index in {path}: {source}")]
    Engine {
        /// The folder.
        path: PathBuf,
        /// The library's error.
        #[source]
        source: tantivy::TantivyError,
    },
    /// A stored operation cannot be applied again.
    #[error("cannot apply the write-ahead log in {path}: {reason}")]
    Replay {
        /// The folder.
        path: PathBuf,
        /// What failed.
        reason: String,
    },
}

#[cfg(test)]
mod tests {
    use super::ApiError;

    #[test]
    fn errors_have_the_shape_that_clients_read() {
        let plain = ApiError::parsing("unknown query [foo]").body_json();
        assert_eq!(plain["status"], 400);
        assert_eq!(plain["error"]["root_cause"][0]["type"], "parsing_exception");
        assert_eq!(plain["error"]["reason"], "unknown query [foo]");

        let missing = ApiError::index_not_found("events").body_json();
        assert_eq!(missing["error"]["resource.id"], "events");
        assert_eq!(missing["error"]["type"], "index_not_found_exception");

        let search = ApiError::query_shard("events", "no mapping").body_json();
        assert_eq!(search["error"]["type"], "search_phase_execution_exception");
        assert_eq!(search["error"]["root_cause"][0]["index"], "events");
    }
}
