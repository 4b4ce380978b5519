//! The sink against whole indices, the embedded one and a real OpenSearch: what a fake index cannot show.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "helpers of tests are tests"
)]

mod odd_documents;
mod round_trip;
mod world;
