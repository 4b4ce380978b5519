//! Tests of the chart and of the image: a harness around helm, promtool,
//! hadolint and Kubernetes' own types.
//!
//! In: `helm/mozdef`, value sets, the Dockerfile. Out: test results. Never:
//! part of the product, a cluster.

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "tests say aloud what they skip")]

pub mod manifest;
pub mod query;
pub mod schema;
pub mod tools;

use std::path::PathBuf;

/// A path in the project.
pub fn project(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}
