//! Integration tests of the log: the contract that every log keeps, the local
//! log's own promises, and the two loops over it.

#![allow(unreachable_pub, reason = "a test binary exports nothing")]

mod contract;
mod delivery_loop;
mod flaky;
mod kill9;
mod kit;
mod local_contract;
mod worker_loop;
