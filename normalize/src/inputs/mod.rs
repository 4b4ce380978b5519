//! What the events of an input look like before key mapping, where an input has a shape of its own: one file an input.
//!
//! In: an event as its source gave it. Out: the event that MozDef made of it. Never: I/O.

pub(crate) mod papertrail;
pub(crate) mod pubsub;
