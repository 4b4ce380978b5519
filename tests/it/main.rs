//! Tests of the whole, against the real binary.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stdout,
    reason = "a test program: what is not as expected ends it"
)]

mod bad_input;
mod bridges;
mod cases;
mod end_to_end;
mod imports;
mod kafka;
mod kills;
mod plugins;
mod project_files;
mod pullers;
mod shippers;
mod sigma;
