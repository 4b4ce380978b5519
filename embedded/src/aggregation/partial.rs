//! What is known of an aggregation so far: merged from segment to segment and index to index.
//!
//! In: results of segments. Out: one result. Never: more buckets than [`super::BUCKETS_HELD_MAX`].

use super::sketch::Sketch;
use super::values::Form;
use crate::error::ApiError;

/// A result that others can be merged into.
#[derive(Clone, Debug)]
pub(crate) enum Partial {
    Buckets(Held),
    Stats(Stats),
    Distinct(Sketch),
}

/// Buckets by key.
#[derive(Clone, Debug, Default)]
pub(crate) struct Held {
    /// What the keys are; `None` while no index has had the field.
    pub(crate) form: Option<Form>,
    pub(crate) buckets: foldhash::HashMap<Key, Bucket>,
}

/// Key of a bucket.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Key {
    /// A number as columns hold it, the start of a step, or the position in a stated list.
    Number(i64),
    Text(Box<str>),
}

/// Documents of a bucket.
#[derive(Clone, Debug)]
pub(crate) struct Bucket {
    pub(crate) count: u64,
    pub(crate) subs: Vec<Partial>,
}

/// Numbers about numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stats {
    pub(crate) form: Option<Form>,
    pub(crate) count: u64,
    pub(crate) sum: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Default for Stats {
    fn default() -> Stats {
        Stats { form: None, count: 0, sum: 0.0, min: f64::INFINITY, max: f64::NEG_INFINITY }
    }
}

impl Stats {
    /// Adds a number.
    pub(crate) fn add(&mut self, number: f64) {
        self.count = self.count.saturating_add(1);
        self.sum += number;
        self.min = self.min.min(number);
        self.max = self.max.max(number);
    }
}

impl Partial {
    /// Merges another result of the same aggregation in.
    pub(crate) fn merge(&mut self, other: Partial, name: &str) -> Result<(), ApiError> {
        match (self, other) {
            (Partial::Buckets(held), Partial::Buckets(more)) => held.merge(more, name),
            (Partial::Stats(stats), Partial::Stats(more)) => {
                stats.form = same_form(stats.form, more.form, name)?;
                stats.count = stats.count.saturating_add(more.count);
                stats.sum += more.sum;
                stats.min = stats.min.min(more.min);
                stats.max = stats.max.max(more.max);
                Ok(())
            }
            (Partial::Distinct(sketch), Partial::Distinct(more)) => {
                sketch.merge(more);
                Ok(())
            }
            _ => Err(ApiError::storage(format!("parts of aggregation [{name}] do not fit together"))),
        }
    }

    /// How many buckets it holds, at all depths.
    pub(crate) fn held(&self) -> usize {
        match self {
            Partial::Buckets(held) => held
                .buckets
                .values()
                .map(|bucket| bucket.subs.iter().map(Partial::held).sum::<usize>().saturating_add(1))
                .sum(),
            Partial::Stats(_) => 0,
            Partial::Distinct(Sketch::Exact(set)) => set.len() / 8,
            Partial::Distinct(Sketch::Registers(registers)) => registers.len() / 64,
        }
    }
}

impl Held {
    fn merge(&mut self, more: Held, name: &str) -> Result<(), ApiError> {
        self.form = same_form(self.form, more.form, name)?;
        for (key, bucket) in more.buckets {
            match self.buckets.entry(key) {
                std::collections::hash_map::Entry::Vacant(place) => {
                    place.insert(bucket);
                }
                std::collections::hash_map::Entry::Occupied(mut place) => {
                    let held = place.get_mut();
                    held.count = held.count.saturating_add(bucket.count);
                    for (sub, more) in held.subs.iter_mut().zip(bucket.subs) {
                        sub.merge(more, name)?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// Two indices must agree on what a field is.
fn same_form(ours: Option<Form>, theirs: Option<Form>, name: &str) -> Result<Option<Form>, ApiError> {
    match (ours, theirs) {
        (Some(ours), Some(theirs)) if ours != theirs => Err(ApiError::new(
            400,
            "aggregation_execution_exception",
            format!(
                "Failed trying to format the field of aggregation [{name}] as it has different types in the indices: {ours:?} and {theirs:?}"
            ),
        )),
        (ours, theirs) => Ok(ours.or(theirs)),
    }
}
