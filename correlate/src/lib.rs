//! Rules, matching, windows and alerts.
//!
//! In: `mozdef.events`. Out: `mozdef.matches`, `mozdef.alerts`. Never: I/O on
//! the way of an event.

#![forbid(unsafe_code)]

pub mod rule;
pub mod ruleset;
