//! Tests of the ways in, over a log in memory.

mod gateway;
mod memory_log;
mod requests;
