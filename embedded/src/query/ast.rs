//! A query, read but not yet bound to an index.
//!
//! In: the readers of the JSON form and of Lucene's syntax. Out: [`Query`], for `compile.rs`.

use jiff::tz::TimeZone;

use crate::dates::DateFormats;
use crate::error::ApiError;
use crate::patterns::Pattern;

/// A query.
#[derive(Clone, Debug)]
pub(crate) enum Query {
    All,
    None,
    Bool(Bool),
    /// The best of several.
    DisMax(Vec<Query>, f32),
    /// Matches count, scores do not.
    Constant(Box<Query>),
    Boost(Box<Query>, f32),
    /// Documents with these ids.
    Ids(Vec<String>),
    Fields(Fields),
}

/// A test on one field or on several, of which the best counts.
#[derive(Clone, Debug)]
pub(crate) struct Fields {
    /// Names or patterns with `*`, each with its weight.
    pub(crate) names: Vec<(String, f32)>,
    pub(crate) test: Test,
    /// A field to whose type the test does not fit matches nothing, instead of an error.
    pub(crate) lenient: bool,
}

impl Fields {
    /// A test on one field.
    pub(crate) fn one(name: &str, test: Test) -> Query {
        Query::Fields(Fields { names: vec![(name.to_owned(), 1.0)], test, lenient: false })
    }
}

/// Clauses put together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bool {
    pub(crate) must: Vec<Query>,
    pub(crate) filter: Vec<Query>,
    pub(crate) should: Vec<Query>,
    pub(crate) must_not: Vec<Query>,
    /// `None`: one when there are only `should` clauses, else none.
    pub(crate) minimum: Option<Minimum>,
}

/// How many optional clauses must match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Minimum {
    Count(i64),
    Percent(i64),
}

impl Minimum {
    /// Reads `2`, `-1`, `75%`, `-25%`.
    pub(crate) fn read(value: &serde_json::Value) -> Result<Minimum, ApiError> {
        let text = match value {
            serde_json::Value::String(text) => text.trim().to_owned(),
            other => other.to_string(),
        };
        let percent = text.strip_suffix('%').map(str::parse);
        match (percent, text.parse()) {
            (Some(Ok(percent)), _) if (-100..=100).contains(&percent) => Ok(Minimum::Percent(percent)),
            (None, Ok(count)) => Ok(Minimum::Count(count)),
            _ => Err(ApiError::unsupported(format!("[minimum_should_match] of [{text}]"))),
        }
    }

    /// Of so many clauses.
    pub(crate) fn of(self, clauses: usize) -> usize {
        let total = i64::try_from(clauses).unwrap_or(i64::MAX);
        let wanted = match self {
            Minimum::Count(count) if count < 0 => total.saturating_add(count),
            Minimum::Count(count) => count,
            Minimum::Percent(percent) if percent < 0 => {
                total.saturating_sub(total.saturating_mul(percent.saturating_neg()) / 100)
            }
            Minimum::Percent(percent) => total.saturating_mul(percent) / 100,
        };
        usize::try_from(wanted.max(0)).unwrap_or(usize::MAX)
    }
}

/// What a field must fulfil.
#[derive(Clone, Debug)]
pub(crate) enum Test {
    /// The exact term.
    Term {
        value: String,
        ignore_case: bool,
    },
    /// One of the exact terms.
    Terms(Vec<String>),
    /// The words of a text: one of them, or all.
    Match {
        text: String,
        all: bool,
        minimum: Option<Minimum>,
        empty_matches_all: bool,
    },
    /// The words of a text in a row.
    Phrase {
        text: String,
        slop: u32,
    },
    Range(Range),
    /// A term that begins so.
    Prefix {
        value: String,
        ignore_case: bool,
        normalize: bool,
    },
    /// A term that fits. `normalize` lower-cases the pattern on text fields, as Lucene's syntax does.
    Wildcard {
        pattern: String,
        ignore_case: bool,
        normalize: bool,
    },
    /// A term that fits; the compiled form is shared by all fields.
    Regexp(Pattern),
    /// There is a value.
    Exists,
}

/// From one bound to another.
#[derive(Clone, Debug)]
pub(crate) struct Range {
    pub(crate) lower: Option<Limit>,
    pub(crate) upper: Option<Limit>,
    pub(crate) format: Option<DateFormats>,
    pub(crate) zone: TimeZone,
}

/// One end of a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Limit {
    pub(crate) value: String,
    pub(crate) inclusive: bool,
}

#[cfg(test)]
mod tests {
    use super::Minimum;
    use serde_json::json;

    #[test]
    fn minimum_counts_as_lucene_does() {
        for (given, clauses, expected) in [
            (json!(2), 3, 2),
            (json!("-1"), 3, 2),
            (json!("75%"), 5, 3),
            (json!("-25%"), 5, 4),
            (json!(-9), 3, 0),
            (json!(9), 3, 9),
        ] {
            assert_eq!(Minimum::read(&given).unwrap().of(clauses), expected, "{given}");
        }
        assert!(Minimum::read(&json!("2<75%")).unwrap_err().reason.contains("not supported"));
    }
}
