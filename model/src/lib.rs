//! What every room of MozDef speaks: the event document, ids, time, topics,
//! record headers, configuration, errors with a verdict, and metric names.
//!
//! In: nothing. Out: plain types. Never: I/O beyond reading the clock and a
//! config file's text that the caller has read.

#![forbid(unsafe_code)]

pub mod alert;
pub mod aws;
pub mod config;
pub mod error;
pub mod event;
pub mod headers;
pub mod ids;
pub mod metrics;
pub mod time;
pub mod topic;
pub mod wire_format;
