//! A query bound to one index: its mapping says what each test means.
//!
//! In: [`Query`], the mapping, the time of the request. Out: a query of the search library, or OpenSearch's error
//! for a test that a field's type does not take. Never: a match on a field that the mapping does not have.

use std::cell::Cell;

use model::time::Timestamp;
use tantivy::query::{
    AllQuery, BooleanQuery, BoostQuery, ConstScoreQuery, DisjunctionMaxQuery, EmptyQuery, Occur,
    Query as Compiled,
};

use super::ast::{Bool, Fields, Query, Test};
use super::docs::{AnyTerm, AsSet, DocsQuery, Exists};
use crate::error::ApiError;
use crate::index::schema::{Fields as Schema, fields};
use crate::mapping::{Leaf, Mapping};

/// Most leaf queries of one request on one index.
const LEAVES_MAX: usize = 20_000;
/// Most fields that one clause without a field, or with a pattern, looks at.
const EXPANSION_MAX: usize = 1024;

/// What a query is bound to.
pub(crate) struct Binding<'b> {
    pub(crate) index: &'b str,
    pub(crate) mapping: &'b Mapping,
    pub(crate) now: Timestamp,
    /// Scores are wanted.
    pub(crate) scoring: bool,
}

/// Binds a query.
pub(crate) fn compile(query: &Query, binding: &Binding<'_>) -> Result<Box<dyn Compiled>, ApiError> {
    let compiler = Compiler { binding, leaves: Cell::new(0) };
    compiler.query(query, binding.scoring)
}

pub(super) struct Compiler<'b> {
    pub(super) binding: &'b Binding<'b>,
    leaves: Cell<usize>,
}

/// A query that matches nothing.
pub(super) fn none() -> Box<dyn Compiled> {
    Box::new(EmptyQuery)
}

pub(super) fn docs(docs: impl super::docs::Docs) -> Box<dyn Compiled> {
    Box::new(DocsQuery(std::sync::Arc::new(docs)))
}

impl Compiler<'_> {
    fn query(&self, query: &Query, scoring: bool) -> Result<Box<dyn Compiled>, ApiError> {
        Ok(match query {
            Query::All => Box::new(AllQuery),
            Query::None => none(),
            Query::Bool(bool) => self.bool(bool, scoring)?,
            Query::DisMax(queries, tie) => {
                let compiled =
                    queries.iter().map(|q| self.query(q, scoring)).collect::<Result<Vec<_>, _>>()?;
                best_of(compiled, *tie, scoring)
            }
            Query::Constant(inner) => {
                let inner = self.query(inner, false)?;
                if scoring { Box::new(ConstScoreQuery::new(inner, 1.0)) } else { inner }
            }
            Query::Boost(inner, factor) => {
                let inner = self.query(inner, scoring)?;
                if scoring { Box::new(BoostQuery::new(inner, *factor)) } else { inner }
            }
            Query::Ids(ids) => self.ids(ids)?,
            Query::Fields(fields) => self.fields(fields, scoring)?,
        })
    }

    fn bool(&self, bool: &Bool, scoring: bool) -> Result<Box<dyn Compiled>, ApiError> {
        let optional_only = bool.must.is_empty() && bool.filter.is_empty();
        let minimum = match (bool.minimum, optional_only) {
            // Only what must not be: a minimum has nothing to count.
            (_, true) if bool.should.is_empty() => 0,
            // Where nothing else is asked for, one of them must match, even where a minimum of 0 is written.
            (minimum, true) => minimum.map_or(1, |minimum| minimum.of(bool.should.len()).max(1)),
            (minimum, false) => minimum.map_or(0, |minimum| minimum.of(bool.should.len())),
        };
        if minimum > bool.should.len() {
            return Ok(none());
        }
        let mut clauses: Vec<(Occur, Box<dyn Compiled>)> = Vec::new();
        for query in &bool.must {
            clauses.push((Occur::Must, self.query(query, scoring)?));
        }
        for query in &bool.filter {
            let compiled = self.query(query, false)?;
            let silent: Box<dyn Compiled> =
                if scoring { Box::new(ConstScoreQuery::new(compiled, 0.0)) } else { compiled };
            clauses.push((Occur::Must, silent));
        }
        if clauses.is_empty() && minimum == 0 {
            let all: Box<dyn Compiled> = if scoring && !bool.must_not.is_empty() {
                Box::new(ConstScoreQuery::new(Box::new(AllQuery), 0.0))
            } else {
                Box::new(AllQuery)
            };
            clauses.push((Occur::Must, all));
        }
        // Clauses that need not match are only of use for scores.
        if scoring || minimum > 0 {
            for query in &bool.should {
                clauses.push((Occur::Should, self.query(query, scoring)?));
            }
        }
        for query in &bool.must_not {
            clauses.push((Occur::MustNot, Box::new(AsSet(self.query(query, false)?))));
        }
        Ok(Box::new(BooleanQuery::with_minimum_required_clauses(clauses, minimum)))
    }

    fn ids(&self, ids: &[String]) -> Result<Box<dyn Compiled>, ApiError> {
        self.count(1)?;
        let terms = ids.iter().map(|id| fields().id_term(id)).collect();
        Ok(docs(AnyTerm { field: fields().id, terms }))
    }

    fn fields(&self, test: &Fields, scoring: bool) -> Result<Box<dyn Compiled>, ApiError> {
        let mut found: Vec<Box<dyn Compiled>> = Vec::new();
        for (name, weight) in &test.names {
            for query in self.name(name, test, scoring)? {
                found.push(if scoring && *weight != 1.0 {
                    Box::new(BoostQuery::new(query, *weight))
                } else {
                    query
                });
            }
        }
        Ok(best_of(found, 0.0, scoring))
    }

    /// The test on each field that a name stands for.
    fn name(&self, name: &str, test: &Fields, scoring: bool) -> Result<Vec<Box<dyn Compiled>>, ApiError> {
        let mapping = self.binding.mapping;
        if name.contains('*') {
            let leaves: Vec<&Leaf> =
                mapping.leaves_like(name).map(|leaf| &**leaf).filter(|l| l.searchable).collect();
            if leaves.len() > EXPANSION_MAX {
                return Err(self.refuse(format!(
                    "field expansion for [{name}] matches too many fields, limit: {EXPANSION_MAX}, got: {}",
                    leaves.len()
                )));
            }
            if matches!(test.test, Test::Exists) {
                return Ok(vec![self.exists(leaves.into_iter())?]);
            }
            return leaves.into_iter().map(|leaf| self.leaf(leaf, test, scoring)).collect();
        }
        if let Some(leaf) = mapping.leaf(name) {
            return Ok(vec![self.leaf(leaf, test, scoring)?]);
        }
        match (name, &test.test) {
            ("_id", Test::Term { value, ignore_case: false }) => {
                Ok(vec![self.ids(std::slice::from_ref(value))?])
            }
            ("_id", Test::Match { text, .. } | Test::Phrase { text, .. }) => {
                Ok(vec![self.ids(std::slice::from_ref(text))?])
            }
            ("_id", Test::Terms(values)) => Ok(vec![self.ids(values)?]),
            ("_id" | "_index", Test::Exists) => Ok(vec![Box::new(AllQuery)]),
            ("_index", test) => Ok(vec![self.index_name(test)?]),
            (_, Test::Exists) => Ok(vec![self.exists(mapping.leaves_below(name).map(|leaf| &**leaf))?]),
            (meta, _) if meta.starts_with('_') => {
                Err(self.refuse(format!("queries on [{meta}] are not supported by the embedded index")))
            }
            _ => Ok(Vec::new()),
        }
    }

    fn index_name(&self, test: &Test) -> Result<Box<dyn Compiled>, ApiError> {
        let index = self.binding.index;
        let matches = match test {
            Test::Term { value, ignore_case: false } => crate::patterns::star_matches(value, index),
            Test::Match { text, .. } | Test::Phrase { text, .. } => text == index,
            Test::Terms(values) => values.iter().any(|value| value == index),
            Test::Prefix { value, .. } => index.starts_with(value.as_str()),
            Test::Wildcard { pattern, .. } => crate::patterns::star_matches(pattern, index),
            _ => return Err(self.refuse("this query on [_index] is not supported by the embedded index")),
        };
        Ok(if matches { Box::new(AllQuery) } else { none() })
    }

    fn leaf(&self, leaf: &Leaf, test: &Fields, scoring: bool) -> Result<Box<dyn Compiled>, ApiError> {
        self.count(1)?;
        if matches!(test.test, Test::Exists) {
            return self.exists(std::iter::once(leaf));
        }
        if !leaf.searchable {
            if test.lenient {
                return Ok(none());
            }
            return Err(
                self.refuse(format!("Cannot search on field [{}] since it is not indexed.", leaf.name))
            );
        }
        match self.test(leaf, &test.test, scoring) {
            Err(error) if test.lenient && error.status == 400 => Ok(none()),
            other => other,
        }
    }

    fn exists<'l>(&self, leaves: impl Iterator<Item = &'l Leaf>) -> Result<Box<dyn Compiled>, ApiError> {
        let mut exists = Exists {
            string_columns: Vec::new(),
            number_columns: Vec::new(),
            names: AnyTerm { field: fields().names, terms: Vec::new() },
        };
        for leaf in leaves {
            self.count(1)?;
            if leaf.kind.is_string() {
                exists.string_columns.push(Schema::keyword_column(&leaf.key));
            } else if leaf.kind.is_numeric() {
                exists.number_columns.push(Schema::number_column(&leaf.key));
            } else {
                exists.names.terms.push(tantivy::Term::from_field_text(fields().names, &leaf.key));
            }
        }
        Ok(docs(exists))
    }

    /// Counts leaf queries against the limit.
    pub(super) fn count(&self, more: usize) -> Result<(), ApiError> {
        let leaves = self.leaves.get().saturating_add(more);
        self.leaves.set(leaves);
        if leaves > LEAVES_MAX {
            return Err(ApiError::new(
                400,
                "too_many_clauses",
                format!(
                    "the query comes to more than {LEAVES_MAX} tests of fields on index [{}]",
                    self.binding.index
                ),
            ));
        }
        Ok(())
    }

    pub(super) fn refuse(&self, reason: impl Into<String>) -> ApiError {
        ApiError::query_shard(self.binding.index, reason)
    }
}

/// Documents of any of the queries, with the best score.
fn best_of(mut queries: Vec<Box<dyn Compiled>>, tie: f32, scoring: bool) -> Box<dyn Compiled> {
    match queries.len() {
        0 => none(),
        1 => queries.pop().unwrap_or_else(none),
        _ if scoring => Box::new(DisjunctionMaxQuery::with_tie_breaker(queries, tie)),
        _ => Box::new(BooleanQuery::union(queries)),
    }
}
