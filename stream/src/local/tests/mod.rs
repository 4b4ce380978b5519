//! Tests of the local log as a whole.
