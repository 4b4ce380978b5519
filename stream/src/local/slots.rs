//! A value for each partition of each topic.
//!
//! In: topic and partition. Out: the value, or `None` past the last partition. Never: growth after it was made.

use model::topic::Topic;

/// A value for each partition of each topic.
#[derive(Debug)]
pub(super) struct Slots<T>(Vec<(Topic, Vec<T>)>);

impl<T> Slots<T> {
    /// Makes a value for every partition of every topic.
    pub(super) fn try_new<E>(
        partitions: u32,
        mut make: impl FnMut(Topic, u32) -> Result<T, E>,
    ) -> Result<Slots<T>, E> {
        let mut all = Vec::with_capacity(Topic::ALL.len());
        for topic in Topic::ALL {
            let row: Result<Vec<T>, E> = (0..partitions).map(|partition| make(topic, partition)).collect();
            all.push((topic, row?));
        }
        Ok(Slots(all))
    }

    /// The value of a partition.
    pub(super) fn get(&self, topic: Topic, partition: u32) -> Option<&T> {
        let (_, row) = self.0.iter().find(|(t, _)| *t == topic)?;
        row.get(usize::try_from(partition).ok()?)
    }

    /// All values.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Topic, u32, &T)> {
        self.0
            .iter()
            .flat_map(|(topic, row)| (0_u32..).zip(row).map(|(partition, value)| (*topic, partition, value)))
    }
}
