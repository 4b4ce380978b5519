//! Raw records to normal form: key mapping, then the plugin chain.
//!
//! In: `mozdef.raw`. Out: `mozdef.events`, or `mozdef.dead`. Never: state between events.

#![forbid(unsafe_code)]

pub mod builtin;
pub mod case_file;
pub mod cases;
pub mod chain;
pub mod dates;
pub mod geoip_database;
mod inputs;
pub mod key_mapping;
pub mod marks;
pub mod normalizer;
pub mod offline;
pub mod plugin;
pub mod registry;
pub mod schema;
pub mod start;
pub mod syslog;
pub mod worker;
