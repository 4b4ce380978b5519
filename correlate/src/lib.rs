//! Rules, matching, windows and alerts.
//!
//! In: `mozdef.events`. Out: `mozdef.matches`, `mozdef.alerts`. Never: I/O on
//! the way of an event.

#![forbid(unsafe_code)]

pub mod alert_document;
mod alert_metrics;
mod chain;
mod correlation_compiler;
pub mod event_time;
mod exact_number;
pub mod explain;
pub mod fields;
pub mod finding;
pub mod fold;
mod generation;
pub mod group_key;
mod hits;
pub mod load;
pub mod logsource;
pub mod match_record;
pub mod match_worker;
mod matcher;
pub mod measured;
pub mod offline;
mod raw_value;
pub mod reload;
pub mod rule;
mod rule_info;
pub mod rule_tests;
pub mod ruleset;
#[cfg(test)]
mod ruleset_tests;
pub mod shipped;
pub mod sigma;
#[cfg(test)]
mod sigma_hq_tests;
pub mod summary;
pub mod window;
pub mod window_worker;
pub mod wire;
pub mod words;

#[cfg(test)]
mod test_rules;
