//! Searches: the request, its run over segments, the hits.
//!
//! In: a search body and the indices it is for. Out: total, hits in order, aggregations. Never: more than the limits
//! say; a part of the request that is not understood is an error.

pub(crate) mod body;
pub(crate) mod points;
pub(crate) mod run;
pub(crate) mod sort;
pub(crate) mod source;
mod top;

use std::sync::Arc;

use tantivy::Searcher;

use crate::mapping::Mapping;

/// An index as one search sees it.
pub(crate) struct Target {
    pub(crate) index: String,
    pub(crate) mapping: Arc<Mapping>,
    pub(crate) searcher: Searcher,
    /// Most hits that `from` + `size` may reach.
    pub(crate) window_max: usize,
}
