//! The whole spine in a simulation: thousands of short histories, each by a
//! seed, with crashes, rebalances, failing commits and a misbehaving index.
//!
//! `MOZDEF_SIMULATION_SEEDS` sets how many seeds; `MOZDEF_SIMULATION_SEED=N`
//! repeats one and prints what happened in it.

#![allow(
    unreachable_pub,
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "all of this binary is tests; their helpers may fail as they do"
)]

mod check;
mod history;
mod index;
mod mutants;
mod oracle;
mod runs;
mod shippers;
mod world;
