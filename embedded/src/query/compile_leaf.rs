//! One test on one field, by the field's type.

use std::net::IpAddr;
use std::ops::{Bound, RangeInclusive};

use jiff::tz::TimeZone;
use tantivy::Term;
use tantivy::query::{AllQuery, BooleanQuery, Occur, PhraseQuery, Query as Compiled, TermQuery};
use tantivy::schema::IndexRecordOption;

use super::ast::{Limit, Minimum, Range, Test};
use super::compile::{Compiler, docs, none};
use super::docs::{AnyTerm, NumberRanges, TermScan};
use crate::dates::{DateFormats, Round};
use crate::error::ApiError;
use crate::index::analyzer;
use crate::index::schema::{Fields as Schema, fields, float_to_ordered, ip_to_text};
use crate::json::cut;
use crate::mapping::{Kind, Leaf};
use crate::patterns::Pattern;

impl Compiler<'_> {
    /// The test on a field.
    pub(super) fn test(
        &self,
        leaf: &Leaf,
        test: &Test,
        scoring: bool,
    ) -> Result<Box<dyn Compiled>, ApiError> {
        match &leaf.kind {
            Kind::Text => self.on_text(leaf, test, scoring),
            Kind::Keyword => self.on_keyword(leaf, test),
            Kind::Ip => self.on_ip(leaf, test),
            Kind::Whole(_) | Kind::Float(_) | Kind::Boolean | Kind::Date(_) => self.on_number(leaf, test),
            Kind::GeoPoint | Kind::Binary => Err(self.refuse(format!(
                "field [{}] of type [{}] can only be tested with [exists]",
                leaf.name,
                leaf.kind.name()
            ))),
        }
    }

    fn on_keyword(&self, leaf: &Leaf, test: &Test) -> Result<Box<dyn Compiled>, ApiError> {
        let exact = |value: &str| -> Box<dyn Compiled> {
            Box::new(TermQuery::new(fields().keyword_term(&leaf.key, value), IndexRecordOption::Basic))
        };
        Ok(match test {
            Test::Term { value, ignore_case: false } => exact(value),
            Test::Match { text, .. } | Test::Phrase { text, .. } => exact(text),
            Test::Terms(values) => {
                let terms = values.iter().map(|value| fields().keyword_term(&leaf.key, value)).collect();
                docs(AnyTerm { field: fields().keywords, terms })
            }
            Test::Range(range) => {
                let bound = |limit: &Option<Limit>| limit.as_ref().map(|l| (l.value.clone(), l.inclusive));
                let (lower, upper) = (bound(&range.lower), bound(&range.upper));
                docs(TermScan::range(
                    &fields().keyword_term(&leaf.key, ""),
                    as_bound(&lower),
                    as_bound(&upper),
                ))
            }
            other => self.on_terms(&fields().keyword_term(&leaf.key, ""), other, false)?,
        })
    }

    /// Patterns over the terms of a path.
    fn on_terms(&self, path: &Term, test: &Test, words: bool) -> Result<Box<dyn Compiled>, ApiError> {
        let refuse = |reason| self.refuse(reason);
        Ok(match test {
            Test::Term { value, .. } => {
                docs(TermScan::pattern(path, Pattern::literal(value, true).map_err(refuse)?))
            }
            Test::Prefix { value, ignore_case: false, normalize } => {
                let value = if words && *normalize { value.to_lowercase() } else { value.clone() };
                docs(TermScan::prefix(path, &value))
            }
            Test::Prefix { value, .. } => {
                docs(TermScan::pattern(path, Pattern::literal_prefix(value, true).map_err(refuse)?))
            }
            Test::Wildcard { pattern, ignore_case, normalize } => {
                let text = if words && *normalize { pattern.to_lowercase() } else { pattern.clone() };
                docs(TermScan::pattern(path, Pattern::wildcard(&text, *ignore_case).map_err(refuse)?))
            }
            Test::Regexp(pattern) => docs(TermScan::pattern(path, pattern.clone())),
            _ => none(),
        })
    }

    fn on_text(&self, leaf: &Leaf, test: &Test, scoring: bool) -> Result<Box<dyn Compiled>, ApiError> {
        let word = |word: &str| fields().word_term(&leaf.key, word);
        let option = if scoring { IndexRecordOption::WithFreqs } else { IndexRecordOption::Basic };
        Ok(match test {
            Test::Term { value, ignore_case: false } => Box::new(TermQuery::new(word(value), option)),
            Test::Terms(values) => {
                let terms = values.iter().map(|value| word(value)).collect();
                docs(AnyTerm { field: fields().text, terms })
            }
            Test::Match { text, all, minimum, empty_matches_all } => {
                let words = analyzer::tokens(text);
                if words.is_empty() && *empty_matches_all {
                    return Ok(Box::new(AllQuery));
                }
                self.count(words.len())?;
                let terms = words.iter().map(|w| word(w)).collect();
                any_or_all(terms, *all, *minimum, option)
            }
            Test::Phrase { text, slop } => {
                let words = analyzer::tokens(text);
                self.count(words.len())?;
                let mut terms: Vec<Term> = words.iter().map(|w| word(w)).collect();
                match (terms.len(), terms.pop()) {
                    (1, Some(only)) => Box::new(TermQuery::new(only, option)),
                    (_, Some(last)) => {
                        terms.push(last);
                        let mut phrase = PhraseQuery::new(terms);
                        phrase.set_slop(*slop);
                        Box::new(phrase)
                    }
                    (_, None) => none(),
                }
            }
            Test::Range(range) => {
                let bound = |limit: &Option<Limit>| limit.as_ref().map(|l| (l.value.clone(), l.inclusive));
                let (lower, upper) = (bound(&range.lower), bound(&range.upper));
                docs(TermScan::range(&word(""), as_bound(&lower), as_bound(&upper)))
            }
            other => self.on_terms(&word(""), other, true)?,
        })
    }

    fn on_ip(&self, leaf: &Leaf, test: &Test) -> Result<Box<dyn Compiled>, ApiError> {
        let path = fields().keyword_term(&leaf.key, "");
        let address = |text: &str| {
            text.parse::<IpAddr>()
                .map(ip_to_text)
                .map_err(|_| self.refuse(format!("'{}' is not an IP string literal.", cut(text, 100))))
        };
        let one = |text: &str| -> Result<Box<dyn Compiled>, ApiError> {
            match text.parse::<ipnet::IpNet>() {
                Ok(net) => {
                    let (first, last) = (ip_to_text(net.network()), ip_to_text(net.broadcast()));
                    Ok(docs(TermScan::range(&path, Bound::Included(&first), Bound::Included(&last))))
                }
                Err(_) => {
                    let term = fields().keyword_term(&leaf.key, &address(text)?);
                    Ok(Box::new(TermQuery::new(term, IndexRecordOption::Basic)))
                }
            }
        };
        match test {
            Test::Term { value: text, .. } | Test::Match { text, .. } | Test::Phrase { text, .. } => {
                one(text)
            }
            Test::Terms(values) => {
                let queries = values.iter().map(|value| one(value)).collect::<Result<Vec<_>, _>>()?;
                self.count(queries.len())?;
                Ok(if queries.is_empty() { none() } else { Box::new(BooleanQuery::union(queries)) })
            }
            Test::Range(range) => {
                let bound = |limit: &Option<Limit>| {
                    limit.as_ref().map(|l| Ok::<_, ApiError>((address(&l.value)?, l.inclusive))).transpose()
                };
                let (lower, upper) = (bound(&range.lower)?, bound(&range.upper)?);
                Ok(docs(TermScan::range(&path, as_bound(&lower), as_bound(&upper))))
            }
            other => Err(self.wrong_type(leaf, other)),
        }
    }

    fn on_number(&self, leaf: &Leaf, test: &Test) -> Result<Box<dyn Compiled>, ApiError> {
        let ranges = match test {
            Test::Term { value: text, .. } | Test::Match { text, .. } | Test::Phrase { text, .. } => {
                vec![self.number(leaf, text)?]
            }
            Test::Terms(values) => {
                values.iter().map(|value| self.number(leaf, value)).collect::<Result<_, _>>()?
            }
            Test::Range(range) => vec![self.number_range(leaf, range)?],
            other => return Err(self.wrong_type(leaf, other)),
        };
        Ok(docs(NumberRanges { column: Schema::number_column(&leaf.key), ranges }))
    }

    /// The numbers that one value stands for: a date without a time is the whole day.
    fn number(&self, leaf: &Leaf, text: &str) -> Result<RangeInclusive<i64>, ApiError> {
        let limit = Some(Limit { value: text.to_owned(), inclusive: true });
        self.number_range(
            leaf,
            &Range { lower: limit.clone(), upper: limit, format: None, zone: TimeZone::UTC },
        )
    }

    fn number_range(&self, leaf: &Leaf, range: &Range) -> Result<RangeInclusive<i64>, ApiError> {
        let side = |limit: &Option<Limit>, lower: bool| match limit {
            None => Ok(if lower { i64::MIN } else { i64::MAX }),
            Some(limit) => self.number_limit(leaf, limit, lower, range),
        };
        Ok(side(&range.lower, true)?..=side(&range.upper, false)?)
    }

    /// The first (`lower`) or last number within a limit.
    fn number_limit(&self, leaf: &Leaf, limit: &Limit, lower: bool, range: &Range) -> Result<i64, ApiError> {
        let text = limit.value.as_str();
        let inward = |number: i64| match (limit.inclusive, lower) {
            (true, _) => number,
            (false, true) => number.saturating_add(1),
            (false, false) => number.saturating_sub(1),
        };
        match &leaf.kind {
            Kind::Date(formats) => {
                let formats: &DateFormats = range.format.as_ref().unwrap_or(formats);
                // gte and lt take the start of what is written, gt and lte its end.
                let round = if limit.inclusive == lower { Round::Down } else { Round::Up };
                let millis = formats.read_math(text, self.binding.now, &range.zone, round);
                Ok(inward(millis.map_err(|reason| {
                    self.refuse(reason).because("parse_exception", format!("field [{}] is a date", leaf.name))
                })?))
            }
            Kind::Boolean => match text {
                "true" => Ok(inward(1)),
                "false" | "" => Ok(inward(0)),
                other => Err(self.refuse(format!(
                    "Can't parse boolean value [{}], expected [true] or [false]",
                    cut(other, 100)
                ))),
            },
            Kind::Float(single) => {
                let number = self.float(leaf, text)?;
                let number = if *single { f64::from(number as f32) } else { number };
                Ok(inward(float_to_ordered(number)))
            }
            _ => match text.parse::<i64>() {
                Ok(number) => Ok(inward(number)),
                Err(_) => {
                    let number = self.float(leaf, text)?;
                    Ok(whole_limit(number, limit.inclusive, lower))
                }
            },
        }
    }

    fn float(&self, leaf: &Leaf, text: &str) -> Result<f64, ApiError> {
        text.parse().ok().filter(|n: &f64| !n.is_nan()).ok_or_else(|| self.not_a_number(leaf, text))
    }

    fn not_a_number(&self, leaf: &Leaf, text: &str) -> ApiError {
        self.refuse(format!(
            "failed to create query: For input string: \"{}\" on field [{}]",
            cut(text, 100),
            leaf.name
        ))
    }

    fn wrong_type(&self, leaf: &Leaf, test: &Test) -> ApiError {
        let name = match test {
            Test::Prefix { .. } => "prefix",
            Test::Wildcard { .. } => "wildcard",
            Test::Regexp(_) => "regexp",
            _ => "such",
        };
        self.refuse(format!(
            "Can only use {name} queries on keyword, text and wildcard fields - not on [{}] which is of type [{}]",
            leaf.name,
            leaf.kind.name()
        ))
    }
}

/// A limit with a fraction on whole numbers. Casts saturate, which is what a limit beyond all numbers means.
fn whole_limit(number: f64, inclusive: bool, lower: bool) -> i64 {
    let whole = number.fract() == 0.0;
    match (lower, whole && !inclusive) {
        (true, true) => (number as i64).saturating_add(1),
        (true, false) => number.ceil() as i64,
        (false, true) => (number as i64).saturating_sub(1),
        (false, false) => number.floor() as i64,
    }
}

fn as_bound(limit: &Option<(String, bool)>) -> Bound<&str> {
    match limit {
        None => Bound::Unbounded,
        Some((value, true)) => Bound::Included(value),
        Some((value, false)) => Bound::Excluded(value),
    }
}

fn any_or_all(
    terms: Vec<Term>,
    all: bool,
    minimum: Option<Minimum>,
    option: IndexRecordOption,
) -> Box<dyn Compiled> {
    let count = terms.len();
    let occur = if all { Occur::Must } else { Occur::Should };
    let clauses: Vec<(Occur, Box<dyn Compiled>)> = terms
        .into_iter()
        .map(|term| -> (Occur, Box<dyn Compiled>) { (occur, Box::new(TermQuery::new(term, option))) })
        .collect();
    if count == 0 {
        return none();
    }
    let wanted = if all { 0 } else { minimum.map_or(1, |m| m.of(count).max(1)) };
    if wanted > count {
        return none();
    }
    Box::new(BooleanQuery::with_minimum_required_clauses(clauses, wanted))
}
