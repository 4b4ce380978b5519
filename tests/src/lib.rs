//! Tests of the whole: a harness around the real binary, and the runner of
//! recorded cases.
//!
//! In: the built `mozdef`, recorded data beside the project. Out: test
//! results. Never: part of the product.

#![forbid(unsafe_code)]

pub mod aws;
pub mod cases;
pub mod data;
pub mod fakes;
pub mod groups;
pub mod guests;
pub mod index;
pub mod load;
pub mod oracle;
pub mod process;
pub mod random;
pub mod server;
pub mod servers;
pub mod site;
