//! One OpenSearch index: schema, documents, writes, commits, and the write-ahead log in front of them.

pub(crate) mod analyzer;
mod build;
mod document;
pub(crate) mod files;
pub(crate) mod schema;
pub(crate) mod shard;
pub(crate) mod translog;
mod translog_file;
mod update;
pub(crate) mod write;
