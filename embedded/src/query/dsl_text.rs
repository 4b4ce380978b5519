//! JSON queries on words: match, match_phrase, multi_match, query_string.

use jiff::tz::TimeZone;
use serde_json::Value;

use super::ast::{Bool, Fields, Minimum, Query, Test};
use super::dsl::{CLAUSES_MAX, boost};
use super::dsl_fields::scalar;
use super::lucene::{self, Syntax};
use crate::dates::read_zone;
use crate::error::ApiError;
use crate::json;

pub(super) fn match_words(body: &Value) -> Result<Query, ApiError> {
    let (name, params) = json::only_entry(json::object(body, "match")?, "match")?;
    let mut words = Words::default();
    match params {
        Value::Object(params) => {
            for (key, value) in params {
                words.take("match", key, value)?;
            }
        }
        value => words.text = Some(scalar(value, "match")?),
    }
    words.finish("match", vec![(name.to_owned(), 1.0)], false)
}

/// Parameters that `match` and `multi_match` share.
#[derive(Default)]
struct Words<'v> {
    text: Option<String>,
    all: bool,
    minimum: Option<Minimum>,
    empty_matches_all: bool,
    lenient: bool,
    factor: Option<&'v Value>,
}

impl<'v> Words<'v> {
    fn take(&mut self, query: &str, key: &str, value: &'v Value) -> Result<(), ApiError> {
        match key {
            "query" => self.text = Some(scalar(value, query)?),
            "operator" => self.all = is_and(value, key)?,
            "minimum_should_match" => self.minimum = Some(Minimum::read(value)?),
            "zero_terms_query" => {
                self.empty_matches_all = match json::string(value, key)?.to_ascii_lowercase().as_str() {
                    "none" => false,
                    "all" => true,
                    other => {
                        return Err(ApiError::illegal(format!("unknown [zero_terms_query] of [{other}]")));
                    }
                };
            }
            "lenient" => self.lenient = json::boolean(value, key)?,
            "boost" => self.factor = Some(value),
            "analyzer" => standard(value, key)?,
            "auto_generate_synonyms_phrase_query"
            | "fuzzy_transpositions"
            | "max_expansions"
            | "prefix_length"
            | "fuzzy_rewrite" => {}
            "fuzziness" | "cutoff_frequency" => {
                return Err(ApiError::unsupported(format!("[{key}] in [{query}]")));
            }
            other => return Err(json::unknown_key(query, other)),
        }
        Ok(())
    }

    fn finish(self, query: &str, names: Vec<(String, f32)>, lenient: bool) -> Result<Query, ApiError> {
        let text = self.text.ok_or_else(|| ApiError::parsing(format!("[{query}] requires a [query]")))?;
        let test = Test::Match {
            text,
            all: self.all,
            minimum: self.minimum,
            empty_matches_all: self.empty_matches_all,
        };
        let made = Query::Fields(Fields { names, test, lenient: self.lenient || lenient });
        self.factor.map_or(Ok(made.clone()), |value| boost(made, value))
    }
}

fn is_and(value: &Value, key: &str) -> Result<bool, ApiError> {
    match json::string(value, key)?.to_ascii_lowercase().as_str() {
        "and" => Ok(true),
        "or" => Ok(false),
        other => {
            Err(ApiError::illegal(format!("operator needs to be either [or] or [and], but not [{other}]")))
        }
    }
}

fn standard(value: &Value, key: &str) -> Result<(), ApiError> {
    match json::string(value, key)? {
        "standard" | "default" => Ok(()),
        other => Err(ApiError::unsupported(format!("analyzer [{other}]"))),
    }
}

pub(super) fn match_phrase(body: &Value) -> Result<Query, ApiError> {
    let (name, params) = json::only_entry(json::object(body, "match_phrase")?, "match_phrase")?;
    let (mut text, mut slop, mut factor) = (None, 0, None);
    match params {
        Value::Object(params) => {
            for (key, value) in params {
                match key.as_str() {
                    "query" => text = Some(scalar(value, "match_phrase")?),
                    "slop" => slop = slop_of(value, key)?,
                    "boost" => factor = Some(value),
                    "analyzer" => standard(value, key)?,
                    "zero_terms_query" if value == "none" => {}
                    "zero_terms_query" => {
                        return Err(ApiError::unsupported("[zero_terms_query] in [match_phrase]"));
                    }
                    other => return Err(json::unknown_key("match_phrase", other)),
                }
            }
        }
        value => text = Some(scalar(value, "match_phrase")?),
    }
    let text = text.ok_or_else(|| ApiError::parsing("[match_phrase] requires a [query]"))?;
    let query = Fields::one(name, Test::Phrase { text, slop });
    factor.map_or(Ok(query.clone()), |value| boost(query, value))
}

fn slop_of(value: &Value, key: &str) -> Result<u32, ApiError> {
    let slop = json::unsigned(value, key)?;
    u32::try_from(slop)
        .ok()
        .filter(|s| *s <= 1000)
        .ok_or_else(|| ApiError::illegal(format!("[{key}] must be up to 1000")))
}

/// `field^2` is a field with a weight.
fn weighted(text: &str) -> Result<(String, f32), ApiError> {
    match text.rsplit_once('^') {
        Some((name, factor)) => match factor.parse::<f32>() {
            Ok(factor) if factor.is_finite() && factor >= 0.0 => Ok((name.to_owned(), factor)),
            _ => Err(ApiError::illegal(format!("bad weight in field [{text}]"))),
        },
        None => Ok((text.to_owned(), 1.0)),
    }
}

fn weighted_all(value: &Value, key: &str) -> Result<Vec<(String, f32)>, ApiError> {
    let names = json::strings(value, key)?;
    if names.len() > CLAUSES_MAX {
        return Err(ApiError::illegal(format!("[{key}] has more than {CLAUSES_MAX} entries")));
    }
    names.iter().map(|name| weighted(name)).collect()
}

pub(super) fn multi_match(body: &Value) -> Result<Query, ApiError> {
    let mut words = Words::default();
    let mut names = Vec::new();
    let (mut phrase, mut slop) = (false, 0);
    for (key, value) in json::object(body, "multi_match")? {
        match key.as_str() {
            "fields" => names = weighted_all(value, key)?,
            "type" => match json::string(value, key)? {
                "best_fields" => phrase = false,
                "phrase" => phrase = true,
                other => return Err(ApiError::unsupported(format!("[type] of [{other}] in [multi_match]"))),
            },
            "slop" => slop = slop_of(value, key)?,
            "tie_breaker" => {
                if json::float(value, key)? != 0.0 {
                    return Err(ApiError::unsupported("[tie_breaker] in [multi_match]"));
                }
            }
            other => words.take("multi_match", other, value)?,
        }
    }
    let lenient = names.is_empty();
    if names.is_empty() {
        names.push(("*".to_owned(), 1.0));
    }
    let mut query = words.finish("multi_match", names, lenient)?;
    if phrase {
        phrase_instead(&mut query, slop);
    }
    Ok(query)
}

fn phrase_instead(query: &mut Query, slop: u32) {
    match query {
        Query::Boost(inner, _) => phrase_instead(inner, slop),
        Query::Fields(fields) => {
            if let Test::Match { text, .. } = &fields.test {
                fields.test = Test::Phrase { text: text.clone(), slop };
            }
        }
        _ => {}
    }
}

pub(super) fn query_string(body: &Value) -> Result<Query, ApiError> {
    let mut syntax = Syntax::default();
    let (mut text, mut factor, mut minimum, mut lenient) = (None, None, None, None);
    for (key, value) in json::object(body, "query_string")? {
        match key.as_str() {
            "query" => text = Some(scalar(value, "query_string")?),
            "default_field" => syntax.names = vec![weighted(json::string(value, key)?)?],
            "fields" => syntax.names = weighted_all(value, key)?,
            "default_operator" => syntax.all = is_and(value, key)?,
            "lenient" => lenient = Some(json::boolean(value, key)?),
            "allow_leading_wildcard" => syntax.leading_wildcard = json::boolean(value, key)?,
            "phrase_slop" => syntax.slop = slop_of(value, key)?,
            "minimum_should_match" => minimum = Some(Minimum::read(value)?),
            "boost" => factor = Some(value),
            "time_zone" => {
                let zone = json::string(value, key)?;
                syntax.zone = read_zone(zone)
                    .ok_or_else(|| ApiError::illegal(format!("unknown time-zone [{zone}]")))?;
            }
            "analyzer" | "quote_analyzer" => standard(value, key)?,
            "type" => {
                let kind = json::string(value, key)?;
                if kind != "best_fields" {
                    return Err(ApiError::unsupported(format!("[type] of [{kind}] in [query_string]")));
                }
            }
            // These change nothing here: words have one analyzer, and fuzzy terms are refused.
            "analyze_wildcard"
            | "enable_position_increments"
            | "max_determinized_states"
            | "rewrite"
            | "auto_generate_synonyms_phrase_query"
            | "fuzzy_transpositions"
            | "fuzzy_max_expansions"
            | "fuzzy_prefix_length"
            | "fuzzy_rewrite"
            | "tie_breaker" => {}
            "fuzziness" | "escape" | "quote_field_suffix" => {
                return Err(ApiError::unsupported(format!("[{key}] in [query_string]")));
            }
            other => return Err(json::unknown_key("query_string", other)),
        }
    }
    let text = text.ok_or_else(|| ApiError::parsing("query_string must be provided with a [query]"))?;
    syntax.lenient = lenient.unwrap_or_else(|| syntax.names.iter().any(|(name, _)| name == "*"));
    let mut query = lucene::parse(&text, &syntax)?;
    if let (Query::Bool(Bool { minimum: slot, .. }), Some(minimum)) = (&mut query, minimum) {
        *slot = Some(minimum);
    }
    factor.map_or(Ok(query.clone()), |value| boost(query, value))
}

impl Default for Syntax {
    fn default() -> Syntax {
        Syntax {
            names: vec![("*".to_owned(), 1.0)],
            all: false,
            lenient: true,
            leading_wildcard: true,
            slop: 0,
            zone: TimeZone::UTC,
        }
    }
}
