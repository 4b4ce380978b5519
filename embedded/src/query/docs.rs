//! Leaf queries that the search library lacks: each gives the set of matching documents of a segment.
//!
//! In: terms, ranges of terms, patterns, ranges of numbers, columns. Out: queries with a constant score. Never: a walk
//! over terms of another field: every walk has both bounds.

use std::fmt;
use std::ops::{Bound, RangeInclusive};
use std::sync::Arc;

use tantivy::columnar::{Column, ColumnIndex};
use tantivy::postings::TermInfo;
use tantivy::query::{BitSetDocSet, ConstScorer, EnableScoring, Explanation, Query, Scorer, Weight};
use tantivy::schema::{Field, IndexRecordOption};
use tantivy::{BitSet, DocId, DocSet, InvertedIndexReader, SegmentReader, TERMINATED, TantivyError, Term};

use crate::patterns::Pattern;

/// Documents of a segment that match.
pub(crate) trait Docs: fmt::Debug + Send + Sync + 'static {
    /// The set; deleted documents may be in it.
    fn docs(&self, segment: &SegmentReader) -> tantivy::Result<BitSet>;
}

/// A query made of [`Docs`].
#[derive(Clone, Debug)]
pub(super) struct DocsQuery(pub(super) Arc<dyn Docs>);

impl Query for DocsQuery {
    fn weight(&self, _: EnableScoring<'_>) -> tantivy::Result<Box<dyn Weight>> {
        Ok(Box::new(DocsWeight(self.0.clone())))
    }
}

struct DocsWeight(Arc<dyn Docs>);

impl Weight for DocsWeight {
    fn scorer(&self, reader: &SegmentReader, boost: f32) -> tantivy::Result<Box<dyn Scorer>> {
        let docs = self.0.docs(reader)?;
        Ok(Box::new(ConstScorer::new(BitSetDocSet::from(docs), boost)))
    }

    fn explain(&self, _: &SegmentReader, _: DocId) -> tantivy::Result<Explanation> {
        Err(TantivyError::InvalidArgument("explain is not supported".to_owned()))
    }
}

/// A query whose documents are put into a set before they are used.
///
/// For what is excluded: the search library asks such queries for documents before the one they stand at, which its
/// phrase scorer does not allow.
#[derive(Debug)]
pub(super) struct AsSet(pub(super) Box<dyn Query>);

impl Clone for AsSet {
    fn clone(&self) -> AsSet {
        AsSet(self.0.box_clone())
    }
}

impl Query for AsSet {
    fn weight(&self, scoring: EnableScoring<'_>) -> tantivy::Result<Box<dyn Weight>> {
        let silent = match scoring {
            EnableScoring::Enabled { searcher, .. } => EnableScoring::disabled_from_searcher(searcher),
            disabled => disabled,
        };
        Ok(Box::new(SetWeight(self.0.weight(silent)?)))
    }
}

struct SetWeight(Box<dyn Weight>);

impl Weight for SetWeight {
    fn scorer(&self, reader: &SegmentReader, boost: f32) -> tantivy::Result<Box<dyn Scorer>> {
        let docs = to_set(&*self.0, reader)?;
        Ok(Box::new(ConstScorer::new(BitSetDocSet::from(docs), boost)))
    }

    fn explain(&self, _: &SegmentReader, _: DocId) -> tantivy::Result<Explanation> {
        Err(TantivyError::InvalidArgument("explain is not supported".to_owned()))
    }
}

/// All documents of a segment that a query matches; deleted ones may be among them.
pub(crate) fn to_set(weight: &dyn Weight, segment: &SegmentReader) -> tantivy::Result<BitSet> {
    let mut set = BitSet::with_max_value(segment.max_doc());
    let mut scorer = weight.scorer(segment, 1.0)?;
    let mut doc = scorer.doc();
    while doc != TERMINATED {
        set.insert(doc);
        doc = scorer.advance();
    }
    Ok(set)
}

/// One of many terms of a field.
#[derive(Debug)]
pub(super) struct AnyTerm {
    pub(super) field: Field,
    pub(super) terms: Vec<Term>,
}

impl Docs for AnyTerm {
    fn docs(&self, segment: &SegmentReader) -> tantivy::Result<BitSet> {
        let mut set = BitSet::with_max_value(segment.max_doc());
        let inverted = segment.inverted_index(self.field)?;
        for term in &self.terms {
            if let Some(info) = inverted.get_term_info(term)? {
                add_postings(&inverted, &info, &mut set)?;
            }
        }
        Ok(set)
    }
}

fn add_postings(inverted: &InvertedIndexReader, info: &TermInfo, set: &mut BitSet) -> tantivy::Result<()> {
    let mut postings = inverted.read_block_postings_from_terminfo(info, IndexRecordOption::Basic)?;
    loop {
        let docs = postings.docs();
        if docs.is_empty() {
            return Ok(());
        }
        for doc in docs {
            set.insert(*doc);
        }
        postings.advance();
    }
}

/// Terms of one path between two bounds, of which a pattern may choose.
#[derive(Debug)]
pub(super) struct TermScan {
    pub(super) field: Field,
    /// What every term of the path begins with.
    pub(super) path: Vec<u8>,
    pub(super) lower: Bound<Vec<u8>>,
    pub(super) upper: Bound<Vec<u8>>,
    pub(super) pattern: Option<Pattern>,
}

impl TermScan {
    /// Terms of a path that fit a pattern; `path` is a term of the path without a value.
    pub(super) fn pattern(path: &Term, pattern: Pattern) -> TermScan {
        let start = [path.serialized_value_bytes(), pattern.prefix().as_bytes()].concat();
        let upper = successor(&start);
        TermScan {
            field: path.field(),
            path: path.serialized_value_bytes().to_vec(),
            lower: Bound::Included(start),
            upper,
            pattern: Some(pattern),
        }
    }

    /// Terms of a path that begin with a text.
    pub(super) fn prefix(path: &Term, prefix: &str) -> TermScan {
        let start = [path.serialized_value_bytes(), prefix.as_bytes()].concat();
        let upper = successor(&start);
        TermScan {
            field: path.field(),
            path: path.serialized_value_bytes().to_vec(),
            lower: Bound::Included(start),
            upper,
            pattern: None,
        }
    }

    /// Terms of a path between two values.
    pub(super) fn range(path: &Term, lower: Bound<&str>, upper: Bound<&str>) -> TermScan {
        let prefix = path.serialized_value_bytes();
        let full = |value: &str| [prefix, value.as_bytes()].concat();
        TermScan {
            field: path.field(),
            path: prefix.to_vec(),
            lower: match lower {
                Bound::Unbounded => Bound::Included(prefix.to_vec()),
                bound => bound.map(full),
            },
            upper: match upper {
                Bound::Unbounded => successor(prefix),
                bound => bound.map(full),
            },
            pattern: None,
        }
    }

    fn is_empty(&self) -> bool {
        match (&self.lower, &self.upper) {
            (Bound::Included(lower), Bound::Included(upper)) => lower > upper,
            (
                Bound::Included(lower) | Bound::Excluded(lower),
                Bound::Included(upper) | Bound::Excluded(upper),
            ) => lower >= upper,
            _ => false,
        }
    }
}

/// The first key after all that begin with `prefix`.
fn successor(prefix: &[u8]) -> Bound<Vec<u8>> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last.saturating_add(1));
            return Bound::Excluded(end);
        }
    }
    Bound::Unbounded
}

impl Docs for TermScan {
    fn docs(&self, segment: &SegmentReader) -> tantivy::Result<BitSet> {
        let mut set = BitSet::with_max_value(segment.max_doc());
        if self.is_empty() {
            return Ok(set);
        }
        let inverted = segment.inverted_index(self.field)?;
        let mut builder = inverted.terms().range();
        builder = match &self.lower {
            Bound::Included(key) => builder.ge(key),
            Bound::Excluded(key) => builder.gt(key),
            Bound::Unbounded => builder,
        };
        builder = match &self.upper {
            Bound::Included(key) => builder.le(key),
            Bound::Excluded(key) => builder.lt(key),
            Bound::Unbounded => builder,
        };
        let mut stream = builder.into_stream()?;
        while stream.advance() {
            let fits = match &self.pattern {
                None => true,
                Some(pattern) => stream
                    .key()
                    .strip_prefix(self.path.as_slice())
                    .and_then(|value| std::str::from_utf8(value).ok())
                    .is_some_and(|value| pattern.matches(value)),
            };
            if fits {
                add_postings(&inverted, stream.value(), &mut set)?;
            }
        }
        Ok(set)
    }
}

/// Numbers of a column within one of some ranges.
#[derive(Debug)]
pub(super) struct NumberRanges {
    pub(super) column: String,
    pub(super) ranges: Vec<RangeInclusive<i64>>,
}

impl Docs for NumberRanges {
    fn docs(&self, segment: &SegmentReader) -> tantivy::Result<BitSet> {
        /// Documents that are looked at in one go.
        const BLOCK: u32 = 1 << 16;
        let mut set = BitSet::with_max_value(segment.max_doc());
        let column: Option<Column<i64>> = segment.fast_fields().column_opt(&self.column)?;
        let Some(column) = column else { return Ok(set) };
        let (least, most) = (column.min_value(), column.max_value());
        let mut found = Vec::new();
        for range in &self.ranges {
            // The column takes bounds that its values reach: others wrap around in it.
            let range = *range.start().max(&least)..=*range.end().min(&most);
            if range.is_empty() {
                continue;
            }
            let mut start = 0;
            while start < segment.max_doc() {
                let end = start.saturating_add(BLOCK).min(segment.max_doc());
                found.clear();
                column.get_docids_for_value_range(range.clone(), start..end, &mut found);
                for doc in &found {
                    set.insert(*doc);
                }
                start = end;
            }
        }
        Ok(set)
    }
}

/// Documents that have a value in one of some columns, or one of some names.
#[derive(Debug)]
pub(super) struct Exists {
    pub(super) string_columns: Vec<String>,
    pub(super) number_columns: Vec<String>,
    pub(super) names: AnyTerm,
}

impl Docs for Exists {
    fn docs(&self, segment: &SegmentReader) -> tantivy::Result<BitSet> {
        let mut set = self.names.docs(segment)?;
        for name in &self.string_columns {
            if let Some(column) = segment.fast_fields().str(name)? {
                add_present(&column.ords().index, segment.max_doc(), &mut set);
            }
        }
        for name in &self.number_columns {
            if let Some(column) = segment.fast_fields().column_opt::<i64>(name)? {
                add_present(&column.index, segment.max_doc(), &mut set);
            }
        }
        Ok(set)
    }
}

fn add_present(index: &ColumnIndex, max_doc: DocId, set: &mut BitSet) {
    match index {
        ColumnIndex::Empty { .. } => {}
        ColumnIndex::Full => *set = BitSet::with_max_value_and_full(max_doc),
        ColumnIndex::Optional(optional) => {
            for doc in optional.iter_non_null_docs() {
                set.insert(doc);
            }
        }
        ColumnIndex::Multivalued(_) => {
            for doc in (0..max_doc).filter(|doc| index.has_value(*doc)) {
                set.insert(doc);
            }
        }
    }
}
