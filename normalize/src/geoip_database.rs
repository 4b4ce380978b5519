//! A MaxMind city database. (Skeleton.)

/// An open city database.
pub struct GeoDatabase {}
