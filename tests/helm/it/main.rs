//! The chart and the image: what every value set renders, what is refused, alerts, dashboard, Dockerfile.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stdout,
    reason = "a test program: what is not as expected ends it"
)]

mod image;
mod objects;
mod pods;
mod refused;
mod values;
mod watch;

/// Every value set of `tests/helm/values/`.
const SETS: [&str; 5] = ["default", "minimal", "production", "keda", "off"];

/// Every stage.
const STAGES: [&str; 4] = ["gateway", "normalizer", "correlator", "sink"];
