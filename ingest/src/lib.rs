//! Ways in: each input takes events from the outside, puts their original
//! bytes into `mozdef.raw`, and only then says so to the sender.
//!
//! In: requests of shippers. Out: durable records, one an event, with what
//! the input knows in headers. Never: a change to an event's bytes.

#![forbid(unsafe_code)]

pub mod amqp;
mod backoff;
pub mod cases;
mod fetch;
#[cfg(test)]
mod fuzz;
pub mod http;
pub mod intake;
pub mod kafka;
pub mod papertrail;
mod progress;
pub mod pubsub;
pub mod raw;
mod slices;
pub mod sqs;
pub mod syslog;
mod tasks;
pub mod tls;
