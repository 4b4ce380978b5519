//! Tests of the ways in, over a log in memory.

mod gateway;
mod hostile;
mod memory_log;
mod recorded;
mod requests;
