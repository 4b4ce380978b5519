//! The changelog of a partition, read when the partition is assigned.
//!
//! In: the newest record of each key. Out: the same by what it says. Never: a
//! stop because one record cannot be read; it is logged, and its group begins
//! anew.

use std::collections::{BTreeMap, HashMap};

use foldhash::fast::RandomState;
use stream::record::Record;

use super::changelog::{Key, StoredWatermarks};
use crate::window::Mark;

/// Rule prefix and group key.
type GroupName<'r> = (&'r [u8], &'r [u8]);

/// What is stored of one group.
#[derive(Default)]
pub(super) struct StoredGroup<'r> {
    pub(super) head: Option<&'r [u8]>,
    pub(super) events: Vec<(Mark, &'r [u8])>,
}

/// The changelog of a partition, sorted by what its records say.
#[derive(Default)]
pub(super) struct Restored<'r> {
    pub(super) watermarks: Option<StoredWatermarks>,
    pub(super) rules: BTreeMap<&'r [u8], &'r [u8]>,
    pub(super) groups: HashMap<GroupName<'r>, StoredGroup<'r>, RandomState>,
}

impl<'r> Restored<'r> {
    pub(super) fn read(records: &'r [Record]) -> Restored<'r> {
        let mut restored = Restored::default();
        for record in records.iter().filter(|record| !record.value.is_empty()) {
            let value = &record.value[..];
            match Key::decode(&record.key) {
                Ok(Key::Watermarks) => match StoredWatermarks::decode(value) {
                    Ok(stored) => restored.watermarks = Some(stored),
                    Err(error) => tracing::error!(%error, "stored watermarks cannot be read"),
                },
                Ok(Key::Group { prefix, group }) => {
                    restored.groups.entry((prefix, group)).or_default().head = Some(value);
                }
                Ok(Key::Event { prefix, group, mark }) => {
                    restored.groups.entry((prefix, group)).or_default().events.push((mark, value));
                }
                Ok(Key::Rule { prefix }) => drop(restored.rules.insert(prefix, value)),
                Err(error) => tracing::error!(%error, "a changelog record cannot be read"),
            }
        }
        restored
    }
}
