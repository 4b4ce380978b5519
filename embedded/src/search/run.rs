//! Runs a search over the segments of its indices.
//!
//! In: [`Search`], [`Target`]s. Out: [`Found`]: every match counted, the best in order, aggregations. Never: past the
//! time-out: then what was found so far is said to be incomplete.

use std::cmp::Ordering;
use std::time::Instant;

use model::time::Timestamp;
use tantivy::query::{EnableScoring, Weight};
use tantivy::{DocAddress, DocSet, SegmentReader, TERMINATED};

use super::Target;
use super::body::Search;
use super::sort::{SortBy, SortKey, SortValue};
use super::top::{Top, TopOptions};
use crate::aggregation::bind::Context;
use crate::aggregation::collect::{Collector, check_held, empty};
use crate::aggregation::{Partial, render};
use crate::error::ApiError;
use crate::query::compile::{Binding, compile};

/// Documents between two looks at the clock.
const CHECK_EVERY: u64 = 4096;

/// What a search found.
pub(crate) struct Found {
    pub(crate) total: u64,
    pub(crate) hits: Vec<Hit>,
    pub(crate) max_score: Option<f32>,
    pub(crate) aggregations: Option<serde_json::Map<String, serde_json::Value>>,
    pub(crate) timed_out: bool,
}

/// One hit.
pub(crate) struct Hit {
    /// Position among the targets.
    pub(crate) target: usize,
    pub(crate) address: DocAddress,
    /// What ordered it; the last one is its score or its place.
    pub(crate) values: Vec<SortValue>,
}

struct Run<'r> {
    search: &'r Search,
    keys: Vec<SortKey>,
    now: Timestamp,
    deadline: Option<Instant>,
    scoring: bool,
    hits: Vec<Hit>,
    partials: Vec<Partial>,
    total: u64,
    max_score: f32,
    timed_out: bool,
    /// Documents before the segment at hand.
    base: u64,
}

/// Runs a search. Its hits are in order and cut to `from` and `size`.
pub(crate) fn run(search: &Search, targets: &[Target], now: Timestamp) -> Result<Found, ApiError> {
    let scoring = search.sort.is_empty()
        || search.track_scores
        || search.min_score.is_some()
        || search.sort.iter().any(|key| key.by == SortBy::Score);
    let mut run = Run {
        search,
        keys: keys(search),
        now,
        deadline: search.timeout.and_then(|timeout| Instant::now().checked_add(timeout)),
        scoring,
        hits: Vec::new(),
        partials: empty(&search.aggregations),
        total: 0,
        max_score: f32::NEG_INFINITY,
        timed_out: false,
        base: 0,
    };
    for (position, target) in targets.iter().enumerate() {
        run.target(position, target)?;
    }
    let aggregations = if search.aggregations.is_empty() {
        None
    } else {
        Some(render(&search.aggregations, run.partials, now)?)
    };
    let hits = run.hits.into_iter().skip(search.from).take(search.size).collect();
    let max_score = (scoring && run.max_score.is_finite()).then_some(run.max_score);
    Ok(Found { total: run.total, hits, max_score, aggregations, timed_out: run.timed_out })
}

/// The order, made total by the place.
fn keys(search: &Search) -> Vec<SortKey> {
    let key = |by, descending| SortKey {
        by,
        descending,
        missing: super::sort::Missing::Last,
        unmapped: false,
        largest: descending,
    };
    let mut keys = search.sort.clone();
    if keys.is_empty() {
        keys.push(key(SortBy::Score, true));
    }
    if search.point.is_some() && !keys.iter().any(|k| k.by == SortBy::Place) {
        keys.push(key(SortBy::Place, false));
    }
    // The score of each hit is shown, too, where it is wanted beside other keys.
    if search.track_scores && !keys.iter().any(|k| k.by == SortBy::Score) {
        keys.push(key(SortBy::Score, true));
    }
    keys
}

impl Run<'_> {
    fn target(&mut self, position: usize, target: &Target) -> Result<(), ApiError> {
        let binding =
            Binding { index: &target.index, mapping: &target.mapping, now: self.now, scoring: self.scoring };
        let compiled = compile(&self.search.query, &binding)?;
        let scoring = if self.scoring {
            EnableScoring::enabled_from_searcher(&target.searcher)
        } else {
            EnableScoring::disabled_from_searcher(&target.searcher)
        };
        let weight = compiled.weight(scoring)?;
        if target.searcher.segment_readers().is_empty() {
            self.check_unused(target)?;
        }
        for (ordinal, segment) in target.searcher.segment_readers().iter().enumerate() {
            if self.timed_out {
                return Ok(());
            }
            self.segment(position, target, u32::try_from(ordinal).unwrap_or(u32::MAX), segment, &*weight)?;
            self.base = self.base.saturating_add(u64::from(segment.max_doc()));
        }
        Ok(())
    }

    /// An index without documents still refuses an order that does not fit it.
    fn check_unused(&self, target: &Target) -> Result<(), ApiError> {
        for key in &self.keys {
            if let SortBy::Field(name) = &key.by {
                key.form(name, &target.mapping, &target.index)?;
            }
        }
        Ok(())
    }

    fn segment(
        &mut self,
        position: usize,
        target: &Target,
        ordinal: u32,
        segment: &SegmentReader,
        weight: &dyn Weight,
    ) -> Result<(), ApiError> {
        let limit = self.search.from.saturating_add(self.search.size);
        let options = TopOptions {
            keys: &self.keys,
            after: self.search.after.as_deref(),
            limit,
            base: self.base,
            mapping: &target.mapping,
            index: &target.index,
        };
        let mut top = Top::open(&options, segment)?;
        let context = Context {
            index: &target.index,
            mapping: &target.mapping,
            now: self.now,
            searcher: &target.searcher,
        };
        if limit == 0 && self.search.aggregations.is_empty() && self.search.min_score.is_none() {
            self.total = self.total.saturating_add(u64::from(weight.count(segment)?));
            return Ok(());
        }
        let mut collector = Collector::open(&self.search.aggregations, segment, &context)?;
        self.walk(segment, weight, &mut top, &mut collector, limit > 0)?;
        self.merge(position, ordinal, top, collector)
    }

    fn walk(
        &mut self,
        segment: &SegmentReader,
        weight: &dyn Weight,
        top: &mut Top,
        collector: &mut Collector,
        wanted: bool,
    ) -> Result<(), ApiError> {
        let mut scorer = weight.scorer(segment, 1.0)?;
        let alive = segment.alive_bitset();
        let mut seen: u64 = 0;
        let mut doc = scorer.doc();
        while doc != TERMINATED {
            if alive.is_none_or(|alive| alive.is_alive(doc)) {
                let score = if self.scoring { scorer.score() } else { 0.0 };
                if self.search.min_score.is_none_or(|least| score >= least) {
                    self.total = self.total.saturating_add(1);
                    self.max_score = self.max_score.max(score);
                    if wanted {
                        top.collect(doc, score);
                    }
                    collector.collect(doc);
                }
            }
            seen = seen.saturating_add(1);
            if seen.is_multiple_of(CHECK_EVERY) {
                collector.check()?;
                if self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                    self.timed_out = true;
                    return Ok(());
                }
            }
            doc = scorer.advance();
        }
        Ok(())
    }

    fn merge(&mut self, target: usize, ordinal: u32, top: Top, collector: Collector) -> Result<(), ApiError> {
        let ranked = top.finish()?;
        if !ranked.is_empty() {
            let address = |doc| DocAddress::new(ordinal, doc);
            self.hits.extend(ranked.into_iter().map(|r| Hit {
                target,
                address: address(r.doc),
                values: r.values,
            }));
            let keys = &self.keys;
            // The sort is stable: equal hits stay in the order of indices, segments, documents.
            self.hits.sort_by(|a, b| compare(keys, a, b));
            self.hits.truncate(self.search.from.saturating_add(self.search.size));
        }
        for ((partial, more), aggregation) in
            self.partials.iter_mut().zip(collector.finish()?).zip(&self.search.aggregations)
        {
            partial.merge(more, &aggregation.name)?;
        }
        check_held(self.partials.iter().map(Partial::held).sum())
    }
}

fn compare(keys: &[SortKey], a: &Hit, b: &Hit) -> Ordering {
    let pairs = a.values.iter().zip(&b.values);
    keys.iter()
        .zip(pairs)
        .map(|(key, (a, b))| key.compare(a, b))
        .find(|o| *o != Ordering::Equal)
        .unwrap_or(Ordering::Equal)
}

/// How many documents match.
pub(crate) fn count(
    query: &crate::query::ast::Query,
    targets: &[Target],
    now: Timestamp,
) -> Result<u64, ApiError> {
    let search = Search { query: query.clone(), size: 0, sort: vec![place_key()], ..Search::default() };
    Ok(run(&search, targets, now)?.total)
}

fn place_key() -> SortKey {
    SortKey {
        by: SortBy::Place,
        descending: false,
        missing: super::sort::Missing::Last,
        unmapped: false,
        largest: false,
    }
}
