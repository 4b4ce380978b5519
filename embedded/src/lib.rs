//! The index for one machine: the part of OpenSearch's API that MozDef uses, over the search library tantivy.
//!
//! In: requests, by HTTP ([`serve`]) or as plain calls ([`Index::handle`]). Out: replies in OpenSearch's shapes. A write
//! that was answered is on disk. Never: a wrong result for something that is not supported: it is refused by name.
//!
//! | folder | does |
//! |---|---|
//! | `api/` | endpoints: reads requests, writes replies |
//! | `query/` | JSON queries and Lucene's syntax, bound to an index |
//! | `search/` | runs searches: order, hits, points in time |
//! | `aggregation/` | aggregations |
//! | `index/` | one index: schema, documents, writes, commits, write-ahead log |
//! | `mapping/` | fields and their types |
//! | `catalog/` | names, aliases, templates, settings |

#![forbid(unsafe_code)]

mod aggregation;
mod api;
pub mod cases;
mod catalog;
mod dates;
mod engine;
pub mod error;
mod http;
mod index;
mod json;
mod mapping;
mod patterns;
mod query;
mod search;

pub use api::{Reply, Request};
pub use engine::{EmbeddedOptions, Index, open};
pub use http::{BODY_BYTES_MAX, serve};
