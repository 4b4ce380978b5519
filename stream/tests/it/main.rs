//! Integration tests of the log: the contract that every log keeps, the local
//! log's own promises, and the two loops over it.

#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stdout,
    reason = "all of this binary is tests; their helpers may fail as they do"
)]

mod contract;
mod delivery_loop;
mod flaky;
mod health;
mod kafka_cleaning;
mod kafka_contract;
mod kafka_faults;
mod kafka_kit;
mod kafka_loops;
mod kafka_topics;
mod kill9;
mod kit;
mod local_contract;
mod simulated_contract;
mod waiting;
mod worker_loop;
