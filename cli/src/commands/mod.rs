//! One file a subcommand.

pub mod alerts;
pub mod config;
pub mod demo;
pub mod dlq;
pub mod normalize;
pub mod rules;
pub mod search;
pub mod send;
pub mod up;
