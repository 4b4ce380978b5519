//! What a segment collected becomes [`Partial`]s: ordinals become texts, buckets go to their owners.
//!
//! In: a [`Node`] that has seen all documents. Out: one result for each owner.

use super::buckets::Buckets;
use super::collect::{MISSING, Node, Seen, Work};
use super::partial::{Bucket, Held, Key, Partial, Stats};
use super::sketch::{Sketch, hash};
use super::values::{Form, Source};
use crate::error::ApiError;

/// One result for each of so many owners.
pub(super) fn finish(node: Node, owners: usize) -> Result<Vec<Partial>, ApiError> {
    let children = node.children;
    match node.work {
        Work::Terms { source, form, missing, buckets } => {
            let keys = term_keys(&source, &buckets, missing)?;
            by_owner(owners, form, keys, buckets, children)
        }
        Work::Steps { form, buckets, .. } => by_owner(owners, form, number_keys(&buckets), buckets, children),
        Work::Ranges { buckets, .. } | Work::Sets { buckets, .. } => {
            by_owner(owners, None, number_keys(&buckets), buckets, children)
        }
        Work::Numbers { stats, form, .. } => {
            let with_form = stats.into_iter().map(move |s| Partial::Stats(Stats { form, ..s }));
            Ok(padded(with_form, owners, || Partial::Stats(Stats::default())))
        }
        Work::Count { counts, .. } => {
            Ok(padded(counts.into_iter().map(Partial::Stats), owners, || Partial::Stats(Stats::default())))
        }
        Work::Distinct { source, missing, seen } => {
            let mut out = Vec::with_capacity(owners);
            for seen in seen {
                out.push(Partial::Distinct(sketch(&source, seen, missing.as_ref())?));
            }
            Ok(padded(out.into_iter(), owners, || Partial::Distinct(Sketch::default())))
        }
    }
}

fn padded(made: impl Iterator<Item = Partial>, owners: usize, empty: impl Fn() -> Partial) -> Vec<Partial> {
    let mut out: Vec<Partial> = made.collect();
    out.resize_with(owners, empty);
    out
}

fn number_keys(buckets: &Buckets) -> Vec<Key> {
    buckets.keys.iter().map(|(_, value)| Key::Number(value.cast_signed())).collect()
}

fn term_keys(source: &Source, buckets: &Buckets, missing: Option<Key>) -> Result<Vec<Key>, ApiError> {
    let missing = missing.filter(|key| matches!(key, Key::Text(_)));
    let mut ordinals: Vec<u64> = Vec::new();
    if matches!(source, Source::Strings(_)) {
        ordinals.extend(buckets.keys.iter().map(|(_, value)| *value).filter(|v| *v != MISSING));
        ordinals.sort_unstable();
        ordinals.dedup();
    }
    let texts = source.texts(&ordinals)?;
    let keys = buckets.keys.iter().map(|(_, value)| match &missing {
        Some(missing) if *value == MISSING => missing.clone(),
        _ => ordinals
            .binary_search(value)
            .ok()
            .and_then(|at| texts.get(at))
            .map_or(Key::Number(value.cast_signed()), |text| Key::Text(text.clone())),
    });
    Ok(keys.collect())
}

fn by_owner(
    owners: usize,
    form: Option<Form>,
    keys: Vec<Key>,
    buckets: Buckets,
    children: Vec<Node>,
) -> Result<Vec<Partial>, ApiError> {
    let mut below = Vec::with_capacity(children.len());
    for child in children {
        below.push(finish(child, buckets.keys.len())?.into_iter());
    }
    let mut out: Vec<Held> = Vec::new();
    out.resize_with(owners, || Held { form, ..Held::default() });
    for ((key, (owner, _)), count) in keys.into_iter().zip(buckets.keys).zip(buckets.counts) {
        let subs: Vec<Partial> = below.iter_mut().filter_map(Iterator::next).collect();
        if let Some(held) = out.get_mut(owner as usize) {
            held.buckets.insert(key, Bucket { count, subs });
        }
    }
    Ok(out.into_iter().map(Partial::Buckets).collect())
}

fn sketch(source: &Source, seen: Seen, missing: Option<&Key>) -> Result<Sketch, ApiError> {
    let mut sketch = Sketch::default();
    let mut values: Vec<u64> = seen.values.into_iter().collect();
    values.sort_unstable();
    if let (Some(&MISSING), Some(Key::Text(text))) = (values.last(), missing) {
        values.pop();
        sketch.add(hash(text.as_bytes()));
    }
    if matches!(source, Source::Strings(_)) {
        for text in source.texts(&values)? {
            sketch.add(hash(text.as_bytes()));
        }
    } else {
        for value in values {
            sketch.add(hash(&value.to_le_bytes()));
        }
    }
    Ok(sketch)
}
