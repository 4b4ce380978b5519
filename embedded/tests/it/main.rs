//! Tests of the index as its users see it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::type_complexity,
    reason = "a test program: what is not as expected ends it"
)]

mod aggregations;
mod api;
mod differential;
mod durability;
mod harness;
mod http;
mod real;
mod recorded;
mod searches;
