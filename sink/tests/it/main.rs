//! The sink against the embedded index: what a fake index cannot show.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests are tests")]

mod embedded_index;
