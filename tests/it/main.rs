//! Tests of the whole, against the real binary.

mod bad_input;
mod cases;
mod end_to_end;
mod imports;
mod kills;
mod project_files;
