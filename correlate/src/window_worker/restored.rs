//! The changelog of a partition, read when the partition is assigned.
//!
//! In: the newest record of each key. Out: the same by what it says. Never: a
//! stop because one record cannot be read; it is logged, and its group begins
//! anew.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use foldhash::fast::RandomState;
use stream::record::Record;

use super::changelog::{Key, StoredWatermarks};
use crate::window::state::decode_sample;
use crate::window::{Mark, Sample};

/// Rule prefix, group key, time and id.
type BodyKey<'r> = (&'r [u8], &'r [u8], Mark);

/// The changelog of a partition, sorted by what its records say.
#[derive(Default)]
pub(super) struct Restored<'r> {
    pub(super) watermarks: Option<StoredWatermarks>,
    pub(super) rules: BTreeMap<&'r [u8], &'r [u8]>,
    pub(super) groups: BTreeMap<(&'r [u8], &'r [u8]), &'r [u8]>,
    bodies: HashMap<BodyKey<'r>, &'r [u8], RandomState>,
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
                Ok(Key::Group { prefix, group }) => drop(restored.groups.insert((prefix, group), value)),
                Ok(Key::Body { prefix, group, mark }) => {
                    restored.bodies.insert((prefix, group, mark), value);
                }
                Ok(Key::Rule { prefix }) => drop(restored.rules.insert(prefix, value)),
                Err(error) => tracing::error!(%error, "a changelog record cannot be read"),
            }
        }
        restored
    }

    pub(super) fn body(&self, prefix: &[u8], group: &[u8], mark: Mark) -> Option<Arc<Sample>> {
        let bytes = self.bodies.get(&(prefix, group, mark));
        if bytes.is_none() {
            tracing::error!("a stored group has lost the body of an event");
        }
        match decode_sample(bytes?) {
            Ok(sample) => Some(Arc::new(sample)),
            Err(error) => {
                tracing::error!(%error, "a stored event cannot be read");
                None
            }
        }
    }
}
