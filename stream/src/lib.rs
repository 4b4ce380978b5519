//! The log between the stages: one interface, and the two loops that run over it.
//!
//! In: records to append, groups that consume. Out: records in order by
//! partition; outputs and offsets committed together. Never: what a record means.

#![deny(unsafe_code)]

pub mod dead;
pub mod delivery;
pub mod health;
pub mod invariants;
pub mod kafka;
pub mod local;
pub mod log;
pub mod partition;
pub mod record;
pub mod secret;
pub mod shutdown;
pub mod simulated;
mod watchdog;
pub mod watched;
pub mod worker;
