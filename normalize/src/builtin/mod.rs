//! The table of native plugins: one file each, one row each.

use crate::plugin::Builtin;

/// Every native plugin. The chain sorts by priority and name.
pub const ALL: &[Builtin] = &[];
