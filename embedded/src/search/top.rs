//! The best documents of one segment by an order.
//!
//! In: documents with scores. Out: the first `limit` of them, with the values that ordered them. A document is ranked by
//! whole numbers that mean something in this segment only (ordinals of strings); values are read for the best alone.

use std::collections::BinaryHeap;

use tantivy::SegmentReader;
use tantivy::columnar::{Column, StrColumn, TermOrdHit};

use super::sort::{Missing, SortBy, SortForm, SortKey, SortValue};
use crate::error::ApiError;
use crate::index::schema::{Fields, float_to_ordered};
use crate::mapping::Mapping;

/// Ranks of the classes of values: missing first, values, missing last.
const FIRST: u128 = 0;
const VALUES: u128 = 1 << 64;
const LAST: u128 = 2 << 64;

/// Chooses the best documents of a segment.
pub(super) struct Top {
    columns: Vec<KeyColumn>,
    after: Option<Vec<u128>>,
    limit: usize,
    heap: BinaryHeap<(Box<[u128]>, u32)>,
    scratch: Vec<u128>,
    base: u64,
}

struct KeyColumn {
    values: Values,
    descending: bool,
    missing: u128,
    /// Stands in for a missing value.
    substitute: Option<u64>,
    largest: bool,
}

enum Values {
    Score,
    Place,
    Numbers(Column<i64>, SortForm),
    Strings(StrColumn, SortForm),
    Nothing,
}

/// A document among the best.
pub(super) struct Ranked {
    pub(super) doc: u32,
    pub(super) values: Vec<SortValue>,
}

/// What the order is about.
pub(super) struct TopOptions<'o> {
    pub(super) keys: &'o [SortKey],
    pub(super) after: Option<&'o [serde_json::Value]>,
    pub(super) limit: usize,
    /// Place of the segment's first document among all.
    pub(super) base: u64,
    pub(super) mapping: &'o Mapping,
    pub(super) index: &'o str,
}

impl Top {
    /// Opens the columns that the order needs.
    pub(super) fn open(options: &TopOptions<'_>, segment: &SegmentReader) -> Result<Top, ApiError> {
        let mut columns = Vec::with_capacity(options.keys.len());
        let mut after = options.after.map(|_| Vec::new());
        for (position, key) in options.keys.iter().enumerate() {
            let form = match &key.by {
                SortBy::Field(name) => key.form(name, options.mapping, options.index)?,
                _ => None,
            };
            let column = KeyColumn::open(key, form, options.mapping, segment)?;
            if let (Some(after), Some(values)) = (&mut after, options.after) {
                let value = values.get(position).unwrap_or(&serde_json::Value::Null);
                after.push(column.rank_value(&key.read_after(value, form)?)?);
            }
            columns.push(column);
        }
        Ok(Top {
            columns,
            after,
            limit: options.limit,
            heap: BinaryHeap::new(),
            scratch: Vec::new(),
            base: options.base,
        })
    }

    /// Takes a document.
    pub(super) fn collect(&mut self, doc: u32, score: f32) {
        self.scratch.clear();
        let place = self.base.saturating_add(u64::from(doc));
        self.scratch.extend(self.columns.iter().map(|column| column.rank(doc, place, score)));
        if self.after.as_ref().is_some_and(|after| self.scratch <= *after) {
            return;
        }
        if self.heap.len() < self.limit {
            self.heap.push((self.scratch.as_slice().into(), doc));
            return;
        }
        // Documents come in order: an equal one is never better than one that is there.
        let better = self.heap.peek().is_some_and(|(worst, _)| self.scratch.as_slice() < &**worst);
        if better {
            self.heap.pop();
            self.heap.push((self.scratch.as_slice().into(), doc));
        }
    }

    /// The best, in order.
    pub(super) fn finish(self) -> Result<Vec<Ranked>, ApiError> {
        let mut ranked = Vec::with_capacity(self.heap.len());
        for (ranks, doc) in self.heap.into_sorted_vec() {
            let place = self.base.saturating_add(u64::from(doc));
            let values =
                self.columns.iter().zip(&*ranks).map(|(column, rank)| column.value(doc, place, *rank));
            ranked.push(Ranked { doc, values: values.collect::<Result<_, _>>()? });
        }
        Ok(ranked)
    }
}

impl KeyColumn {
    fn open(
        key: &SortKey,
        form: Option<SortForm>,
        mapping: &Mapping,
        segment: &SegmentReader,
    ) -> Result<KeyColumn, ApiError> {
        let values = match (&key.by, form) {
            (SortBy::Score, _) => Values::Score,
            (SortBy::Place, _) => Values::Place,
            (SortBy::Field(name), Some(form)) => {
                let path = mapping.leaf(name).map(|leaf| leaf.key.clone()).unwrap_or_default();
                let columns = segment.fast_fields();
                if matches!(form, SortForm::Number | SortForm::Float) {
                    let column = columns.column_opt::<i64>(&Fields::number_column(&path))?;
                    column.map_or(Values::Nothing, |column| Values::Numbers(column, form))
                } else {
                    let column = columns.str(&Fields::keyword_column(&path))?;
                    column.map_or(Values::Nothing, |column| Values::Strings(column, form))
                }
            }
            (SortBy::Field(_), None) => Values::Nothing,
        };
        let (missing, substitute) = match &key.missing {
            Missing::First => (FIRST, None),
            Missing::Last => (LAST, None),
            Missing::Value(text) => match form {
                Some(SortForm::Number) => {
                    let value = serde_json::Value::String(text.clone());
                    let number = key.number(&value).ok_or_else(|| bad_missing(text))?;
                    (LAST, Some(ordered(number)))
                }
                Some(SortForm::Float) => {
                    let number: f64 = text.parse().map_err(|_| bad_missing(text))?;
                    (LAST, Some(ordered(float_to_ordered(number))))
                }
                Some(_) => {
                    return Err(ApiError::unsupported(
                        "[missing] with a value for a field of strings in [sort]",
                    ));
                }
                None => (LAST, None),
            },
        };
        Ok(KeyColumn { values, descending: key.descending, missing, substitute, largest: key.largest })
    }

    fn rank(&self, doc: u32, place: u64, score: f32) -> u128 {
        let found = match &self.values {
            Values::Score => Some(ordered_score(score)),
            Values::Place => Some(place),
            Values::Numbers(column, _) => self.pick(column.values_for_doc(doc).map(ordered)),
            // Odd numbers: `search_after` falls between them with a string that is not there.
            Values::Strings(column, _) => self.pick(column.term_ords(doc)).map(|o| o.saturating_mul(2) | 1),
            Values::Nothing => None,
        };
        self.place(found.or(self.substitute))
    }

    fn pick(&self, values: impl Iterator<Item = u64>) -> Option<u64> {
        if self.largest { values.max() } else { values.min() }
    }

    fn place(&self, found: Option<u64>) -> u128 {
        match found {
            Some(value) => VALUES | u128::from(if self.descending { !value } else { value }),
            None => self.missing,
        }
    }

    /// The rank of a value of `search_after` in this segment.
    fn rank_value(&self, value: &SortValue) -> Result<u128, ApiError> {
        let found = match (value, &self.values) {
            (SortValue::Null, _) => None,
            (SortValue::Number(number) | SortValue::Float(number), Values::Place) => {
                Some(u64::try_from(*number).unwrap_or_default())
            }
            (SortValue::Number(number) | SortValue::Float(number), _) => Some(ordered(*number)),
            (SortValue::Score(score), _) => Some(ordered_score(*score)),
            (SortValue::Text(text) | SortValue::Ip(text), Values::Strings(column, _)) => {
                Some(match column.dictionary().term_ord_or_next(text.as_bytes())? {
                    TermOrdHit::Exact(ordinal) => ordinal.saturating_mul(2) | 1,
                    TermOrdHit::Next(ordinal) => ordinal.min(u64::MAX / 4).saturating_mul(2),
                })
            }
            // The segment has no value at all: every document of it is missing, before or after any value.
            (SortValue::Text(_) | SortValue::Ip(_), _) => Some(1),
        };
        Ok(self.place(found))
    }

    /// The value behind a rank.
    fn value(&self, doc: u32, place: u64, rank: u128) -> Result<SortValue, ApiError> {
        if rank & VALUES == 0 {
            return Ok(SortValue::Null);
        }
        let low = u64::try_from(rank & u128::from(u64::MAX)).unwrap_or_default();
        let value = if self.descending { !low } else { low };
        Ok(match &self.values {
            Values::Score => SortValue::Score(score_of(value)),
            Values::Place => SortValue::Number(i64::try_from(place).unwrap_or(i64::MAX)),
            Values::Numbers(_, SortForm::Float) => SortValue::Float(number_of(value)),
            Values::Numbers(..) => SortValue::Number(number_of(value)),
            Values::Strings(column, form) => {
                let mut text = String::new();
                if !column.ord_to_str(value / 2, &mut text)? {
                    return Err(ApiError::storage(format!(
                        "string {} of document {doc} is not in its column",
                        value / 2
                    )));
                }
                if *form == SortForm::Ip { SortValue::Ip(text) } else { SortValue::Text(text) }
            }
            Values::Nothing => SortValue::Number(number_of(value)),
        })
    }
}

fn bad_missing(text: &str) -> ApiError {
    ApiError::illegal(format!("[missing] of [{text}] in [sort] does not fit the field"))
}

fn ordered(number: i64) -> u64 {
    number.cast_unsigned() ^ (1 << 63)
}

fn number_of(ordered: u64) -> i64 {
    (ordered ^ (1 << 63)).cast_signed()
}

fn ordered_score(score: f32) -> u64 {
    ordered(float_to_ordered(f64::from(score)))
}

fn score_of(value: u64) -> f32 {
    crate::index::schema::ordered_to_float(number_of(value)) as f32
}
