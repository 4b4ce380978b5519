//! Ways in: each input takes events from the outside, puts their original
//! bytes into `mozdef.raw`, and only then says so to the sender.
//!
//! In: requests of shippers. Out: durable records, one an event, with what
//! the input knows in headers. Never: a change to an event's bytes.

#![forbid(unsafe_code)]

pub mod amqp;
pub mod cases;
#[cfg(test)]
mod fuzz;
pub mod http;
pub mod intake;
pub mod raw;
mod secret;
pub mod sqs;
pub mod tls;
