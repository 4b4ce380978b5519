//! Services of others that tests cannot have: they speak the documented API, with its errors, from a seed.

pub mod papertrail;
pub mod pubsub;
