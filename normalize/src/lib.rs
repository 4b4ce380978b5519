//! Raw records to normal form: key mapping, then the plugin chain.
//!
//! In: `mozdef.raw`. Out: `mozdef.events`, or `mozdef.dead`. Never: state between events.

#![forbid(unsafe_code)]

pub mod builtin;
pub mod geoip_database;
pub mod plugin;
