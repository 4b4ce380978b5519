//! One file a subcommand.

pub(crate) mod alerts;
pub(crate) mod config;
pub(crate) mod demo;
pub(crate) mod dlq;
pub(crate) mod normalize;
pub(crate) mod plugin;
pub(crate) mod raw;
mod record;
pub(crate) mod rules;
pub(crate) mod search;
pub(crate) mod send;
pub(crate) mod stage;
pub(crate) mod topics;
pub(crate) mod up;
