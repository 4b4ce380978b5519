//! Look-up tables as plugins see them.
//!
//! In: a table's name and a key. Out: the row that fits best, as JSON. Never: writing.

/// Tables that the host keeps.
pub trait Tables: Send + Sync {
    /// The row of `table` that fits `key` best, as JSON.
    fn look_up(&self, table: &str, key: &str) -> Option<String>;
}

/// No table at all.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoTables;

impl Tables for NoTables {
    fn look_up(&self, _: &str, _: &str) -> Option<String> {
        None
    }
}
