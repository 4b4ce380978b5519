//! OpenSearch's JSON queries become a [`Query`].
//!
//! In: the value of `query`. Out: the query; unknown queries and unknown keys are errors that name them.
//! Never: a key that is read over.

use serde_json::{Map, Value};

use super::ast::{Bool, Fields, Minimum, Query, Test};
use super::{dsl_fields, dsl_text};
use crate::error::ApiError;
use crate::json;

/// Deepest nesting of queries.
const DEPTH_MAX: usize = 30;
/// Most clauses of one `bool`, as OpenSearch's `indices.query.bool.max_clause_count`.
pub(crate) const CLAUSES_MAX: usize = 1024;

/// Reads a query; `null` and absence are `match_all`'s business of the caller.
pub(crate) fn read(value: &Value) -> Result<Query, ApiError> {
    read_at(value, 0)
}

fn read_at(value: &Value, depth: usize) -> Result<Query, ApiError> {
    if depth > DEPTH_MAX {
        return Err(ApiError::illegal(format!("the query is nested deeper than {DEPTH_MAX}")));
    }
    let object = json::object(value, "query")?;
    let (name, body) = json::only_entry(object, "query")?;
    match name {
        "match_all" => boosted(json::object(body, name)?, name, Query::All),
        "match_none" => boosted(json::object(body, name)?, name, Query::None),
        "bool" => read_bool(json::object(body, name)?, depth),
        "constant_score" => read_constant(json::object(body, name)?, depth),
        "dis_max" => read_dis_max(json::object(body, name)?, depth),
        "ids" => read_ids(json::object(body, name)?),
        "exists" => read_exists(json::object(body, name)?),
        "term" => dsl_fields::term(body),
        "terms" => dsl_fields::terms(body),
        "range" => dsl_fields::range(body),
        "prefix" => dsl_fields::prefix(body),
        "wildcard" => dsl_fields::wildcard(body),
        "regexp" => dsl_fields::regexp(body),
        "match" => dsl_text::match_words(body),
        "match_phrase" => dsl_text::match_phrase(body),
        "multi_match" => dsl_text::multi_match(body),
        "query_string" => dsl_text::query_string(body),
        "nested"
        | "has_child"
        | "has_parent"
        | "parent_id"
        | "fuzzy"
        | "simple_query_string"
        | "match_phrase_prefix"
        | "match_bool_prefix"
        | "more_like_this"
        | "script"
        | "script_score"
        | "function_score"
        | "percolate"
        | "intervals"
        | "geo_bounding_box"
        | "geo_distance"
        | "geo_polygon"
        | "geo_shape"
        | "boosting"
        | "wrapper"
        | "terms_set"
        | "rank_feature"
        | "distance_feature"
        | "pinned"
        | "span_term"
        | "span_near"
        | "span_or"
        | "span_not"
        | "span_first"
        | "span_multi"
        | "span_containing"
        | "span_within"
        | "field_masking_span"
        | "combined_fields"
        | "knn"
        | "neural"
        | "hybrid"
        | "common"
        | "type" => Err(ApiError::unsupported(format!("query [{name}]"))),
        other => Err(ApiError::parsing(format!("unknown query [{other}]"))),
    }
}

/// Takes `boost` and refuses other keys.
fn boosted(params: &Map<String, Value>, name: &str, query: Query) -> Result<Query, ApiError> {
    let mut query = query;
    for (key, value) in params {
        match key.as_str() {
            "boost" => query = boost(query, value)?,
            other => return Err(json::unknown_key(name, other)),
        }
    }
    Ok(query)
}

/// The query with a weight.
pub(super) fn boost(query: Query, value: &Value) -> Result<Query, ApiError> {
    let factor = json::float(value, "boost")?;
    if factor < 0.0 {
        return Err(ApiError::illegal(format!("negative [boost] are not allowed, found [{factor}]")));
    }
    if factor == 1.0 { Ok(query) } else { Ok(Query::Boost(Box::new(query), factor as f32)) }
}

fn read_bool(params: &Map<String, Value>, depth: usize) -> Result<Query, ApiError> {
    let mut made = Bool::default();
    let mut factor = None;
    for (key, value) in params {
        let list = match key.as_str() {
            "must" => &mut made.must,
            "filter" => &mut made.filter,
            "should" => &mut made.should,
            "must_not" => &mut made.must_not,
            "minimum_should_match" => {
                made.minimum = Some(Minimum::read(value)?);
                continue;
            }
            "boost" => {
                factor = Some(value);
                continue;
            }
            "adjust_pure_negative" => {
                if !json::boolean(value, key)? {
                    return Err(ApiError::unsupported("[adjust_pure_negative] of false"));
                }
                continue;
            }
            other => return Err(json::unknown_key("bool", other)),
        };
        match value {
            Value::Array(items) => {
                for item in items {
                    list.push(read_at(item, depth + 1)?);
                }
            }
            one => list.push(read_at(one, depth + 1)?),
        }
    }
    let clauses = made.must.len() + made.filter.len() + made.should.len() + made.must_not.len();
    if clauses > CLAUSES_MAX {
        return Err(ApiError::new(
            400,
            "too_many_clauses",
            format!("maxClauseCount is set to {CLAUSES_MAX}"),
        ));
    }
    let query = Query::Bool(made);
    factor.map_or(Ok(query.clone()), |value| boost(query, value))
}

fn read_constant(params: &Map<String, Value>, depth: usize) -> Result<Query, ApiError> {
    let (mut inner, mut factor) = (None, None);
    for (key, value) in params {
        match key.as_str() {
            "filter" => inner = Some(read_at(value, depth + 1)?),
            "boost" => factor = Some(value),
            other => return Err(json::unknown_key("constant_score", other)),
        }
    }
    let inner = inner.ok_or_else(|| ApiError::parsing("[constant_score] requires a 'filter' element"))?;
    let query = Query::Constant(Box::new(inner));
    factor.map_or(Ok(query.clone()), |value| boost(query, value))
}

fn read_dis_max(params: &Map<String, Value>, depth: usize) -> Result<Query, ApiError> {
    let (mut queries, mut tie, mut factor) = (Vec::new(), 0.0, None);
    for (key, value) in params {
        match key.as_str() {
            "queries" => {
                for item in json::array(value, key)? {
                    queries.push(read_at(item, depth + 1)?);
                }
            }
            "tie_breaker" => tie = json::float(value, key)? as f32,
            "boost" => factor = Some(value),
            other => return Err(json::unknown_key("dis_max", other)),
        }
    }
    if queries.is_empty() || queries.len() > CLAUSES_MAX {
        return Err(ApiError::parsing(format!("[dis_max] requires 1 to {CLAUSES_MAX} 'queries'")));
    }
    let query = Query::DisMax(queries, tie);
    factor.map_or(Ok(query.clone()), |value| boost(query, value))
}

fn read_ids(params: &Map<String, Value>) -> Result<Query, ApiError> {
    let (mut ids, mut factor) = (Vec::new(), None);
    for (key, value) in params {
        match key.as_str() {
            "values" => ids = json::strings(value, key)?,
            "boost" => factor = Some(value),
            other => return Err(json::unknown_key("ids", other)),
        }
    }
    let query = Query::Ids(ids);
    factor.map_or(Ok(query.clone()), |value| boost(query, value))
}

fn read_exists(params: &Map<String, Value>) -> Result<Query, ApiError> {
    let (mut field, mut factor) = (None, None);
    for (key, value) in params {
        match key.as_str() {
            "field" => field = Some(json::string(value, key)?),
            "boost" => factor = Some(value),
            other => return Err(json::unknown_key("exists", other)),
        }
    }
    let field = field.ok_or_else(|| ApiError::parsing("[exists] must be provided with a [field]"))?;
    let query = Fields::one(field, Test::Exists);
    factor.map_or(Ok(query.clone()), |value| boost(query, value))
}

#[cfg(test)]
mod tests {
    use super::read;
    use serde_json::json;

    #[track_caller]
    fn refused(query: serde_json::Value, words: &str) {
        let reason = read(&query).unwrap_err().reason;
        assert!(reason.contains(words), "{query}: {reason}");
    }

    #[test]
    fn unknown_things_are_named() {
        refused(json!({"foo": {}}), "unknown query [foo]");
        refused(json!({"nested": {}}), "query [nested] is not supported");
        refused(json!({"bool": {"musst": []}}), "unknown key [musst] in [bool]");
        refused(json!({"term": {"a": {"value": 1, "x": 1}}}), "unknown key [x] in [term]");
        refused(json!({"term": {"a": [1]}}), "[term]");
        refused(json!({"term": {"a": 1, "b": 2}}), "expected [END_OBJECT]");
        refused(json!({"match": {"a": {"query": "x", "fuzziness": "AUTO"}}}), "[fuzziness]");
        refused(json!({"range": {"a": {"from": 1, "gtt": 2}}}), "[gtt]");
        refused(json!({}), "is empty");
        refused(json!([]), "must be an object");
        refused(json!({"match_all": {"_name": "x"}}), "unknown key [_name]");
    }

    #[test]
    fn depth_and_clauses_are_bounded() {
        let mut deep = json!({"match_all": {}});
        for _ in 0..40 {
            deep = json!({"bool": {"must": [deep]}});
        }
        refused(deep, "nested deeper");
        let many: Vec<_> = (0..1100).map(|n| json!({"term": {"a": n}})).collect();
        refused(json!({"bool": {"should": many}}), "maxClauseCount");
    }
}
