//! Search: events by a Lucene query and a time range, and the newest alerts.
//!
//! In: what people ask. Out: documents, newest first. Never: a page beyond
//! what the index gives at once: a narrower question is asked for instead.

use model::time::Timestamp;
use opensearch::http::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::document::{ALERTS, EVENTS};
use crate::index::{Index, IndexError};

/// Most documents of one answer, as in OpenSearch (`index.max_result_window`).
pub const SIZE_MAX: u32 = 10_000;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// More than one answer holds.
    #[error("size: {size} is more than {SIZE_MAX}; ask for a shorter time")]
    Size {
        /// What was asked.
        size: u32,
    },
    /// The range is empty.
    #[error("from: {from} is after to: {to}")]
    Range {
        /// Beginning.
        from: Timestamp,
        /// End.
        to: Timestamp,
    },
    /// The index gave none.
    #[error(transparent)]
    Index(#[from] IndexError),
}

/// Documents found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Found {
    /// How many there are in all.
    pub total: u64,
    /// The newest of them, newest first.
    pub hits: Vec<Hit>,
}

/// A document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hit {
    /// Its index.
    #[serde(rename = "_index")]
    pub index: String,
    /// Its id.
    #[serde(rename = "_id")]
    pub id: String,
    /// The document.
    #[serde(rename = "_source")]
    pub source: Value,
}

/// Asks the index. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Searcher {
    index: Index,
}

impl Searcher {
    /// For an index.
    pub fn new(index: Index) -> Searcher {
        Searcher { index }
    }

    /// Events that match a Lucene query (`*` for all), by their own time or the time of their receipt, both ends included.
    pub async fn events(
        &self,
        query: &str,
        from: Option<Timestamp>,
        to: Option<Timestamp>,
        size: u32,
    ) -> Result<Found, SearchError> {
        if let (Some(from), Some(to)) = (from, to)
            && from > to
        {
            return Err(SearchError::Range { from, to });
        }
        self.search(EVENTS, &events_query(query, from, to), size).await
    }

    /// The event with this id, if it is indexed.
    pub async fn event(&self, id: &str) -> Result<Option<Hit>, SearchError> {
        let found = self.search(EVENTS, &json!({"term": {"_id": id}}), 1).await?;
        Ok(found.hits.into_iter().next())
    }

    /// The newest alerts.
    pub async fn alerts(&self, size: u32) -> Result<Found, SearchError> {
        self.search(ALERTS, &json!({"match_all": {}}), size).await
    }

    async fn search(&self, indices: &str, query: &Value, size: u32) -> Result<Found, SearchError> {
        if size > SIZE_MAX {
            return Err(SearchError::Size { size });
        }
        let body = json!({
            "query": query,
            "size": size,
            "track_total_hits": true,
            "sort": [{"utctimestamp": {"order": "desc", "unmapped_type": "date"}}],
        });
        // Before the first document there is no index yet: that is an empty answer.
        let path = format!("/{indices}/_search?ignore_unavailable=true&allow_no_indices=true");
        let reply = self.index.json(Method::Post, &path, Some(&body), &[]).await?;
        read(reply).map_err(|cause| {
            SearchError::Index(IndexError::Garbled { url: self.index.url().to_owned(), cause })
        })
    }
}

fn events_query(query: &str, from: Option<Timestamp>, to: Option<Timestamp>) -> Value {
    let words = json!([{"query_string": {"query": query}}]);
    if from.is_none() && to.is_none() {
        return json!({"bool": {"must": words}});
    }
    let mut range = serde_json::Map::new();
    range.extend(from.map(|from| ("gte".to_owned(), Value::from(from.to_string()))));
    range.extend(to.map(|to| ("lte".to_owned(), Value::from(to.to_string()))));
    let within = json!([{"bool": {
        "should": [{"range": {"utctimestamp": range}}, {"range": {"receivedtimestamp": range}}],
        "minimum_should_match": 1,
    }}]);
    json!({"bool": {"must": words, "filter": within}})
}

fn read(reply: Value) -> Result<Found, String> {
    #[derive(Deserialize)]
    struct Reply {
        hits: Hits,
    }
    #[derive(Deserialize)]
    struct Hits {
        total: Total,
        hits: Vec<Hit>,
    }
    #[derive(Deserialize)]
    struct Total {
        value: u64,
    }
    let reply: Reply = serde_json::from_value(reply).map_err(|error| error.to_string())?;
    Ok(Found { total: reply.hits.total.value, hits: reply.hits.hits })
}

#[cfg(test)]
mod tests {
    use model::time::Timestamp;
    use serde_json::json;

    use super::{Hit, events_query, read};

    #[test]
    fn a_time_range_takes_either_time_of_an_event() {
        let from = Timestamp::parse_rfc3339("2024-06-10T00:00:00Z");
        let query = events_query("summary:x", from, None);
        assert_eq!(
            query,
            json!({"bool": {
                "must": [{"query_string": {"query": "summary:x"}}],
                "filter": [{"bool": {
                    "should": [
                        {"range": {"utctimestamp": {"gte": "2024-06-10T00:00:00+00:00"}}},
                        {"range": {"receivedtimestamp": {"gte": "2024-06-10T00:00:00+00:00"}}},
                    ],
                    "minimum_should_match": 1,
                }}],
            }})
        );
        assert_eq!(
            events_query("*", None, None),
            json!({"bool": {"must": [{"query_string": {"query": "*"}}]}})
        );
    }

    #[test]
    fn a_reply_is_read() {
        let reply = json!({"took": 1, "hits": {
            "total": {"value": 7, "relation": "eq"}, "max_score": null,
            "hits": [{"_index": "i", "_id": "1", "_score": null, "_source": {"a": 1}, "sort": [1]}],
        }});
        let found = read(reply).unwrap();
        assert_eq!(found.total, 7);
        assert_eq!(found.hits, [Hit { index: "i".into(), id: "1".into(), source: json!({"a": 1}) }]);
        assert!(read(json!({"error": "x"})).is_err());
    }
}
