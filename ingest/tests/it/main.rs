//! Tests of the ways in, over a log in memory.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "helpers of tests are tests"
)]

mod authority;
mod clients;
mod gateway;
mod hostile;
mod memory_log;
mod recorded;
mod requests;
mod shippers;
mod syslog;
mod tls;
