//! Tests of the index as its users see it.

mod aggregations;
mod api;
mod differential;
mod durability;
mod harness;
mod http;
mod recorded;
mod searches;
