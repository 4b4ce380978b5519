//! Tests of the index as its users see it.

mod api;
mod aggregations;
mod differential;
mod durability;
mod harness;
mod http;
mod recorded;
mod searches;
