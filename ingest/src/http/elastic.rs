//! What clients of Elasticsearch and OpenSearch ask before they send: product and version, health, nodes, licence,
//! templates, life cycles, indices.
//!
//! In: a request's method, path and `User-Agent`. Out: the answer that lets them go on. Never: a template or policy that
//! is kept: how events are indexed is not the shipper's to say.

use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use model::config::{ElasticsearchConfig, Product};
use serde_json::{Value, json};

use super::respond;

/// What is claimed where no version is configured: the newest that shippers of both lines agree to talk to.
const ELASTICSEARCH: &str = "8.17.0";
const OPENSEARCH: &str = "2.19.0";
/// The cluster's id is the same for ever, so that shippers do not think they have been moved.
const CLUSTER: &str = "bW96ZGVmLWdhdGV3YXk";

/// Settings, resolved.
#[derive(Debug)]
pub(super) struct Elastic {
    product: Product,
    version: Option<String>,
}

impl Elastic {
    pub(super) fn new(config: &ElasticsearchConfig) -> Elastic {
        Elastic { product: config.product, version: config.version.clone() }
    }

    /// Whether the client is to think that this is Elasticsearch.
    pub(super) fn is_elasticsearch(&self, head: &HeaderMap) -> bool {
        match self.product {
            Product::Elasticsearch => true,
            Product::Opensearch => false,
            Product::Auto => {
                let agent = head.get(header::USER_AGENT).map(|agent| agent.as_bytes().to_ascii_lowercase());
                let agent = agent.unwrap_or_default();
                let names: [&[u8]; 4] = [b"elastic", b"beat", b"logstash", b"apm-server"];
                names.iter().any(|name| agent.windows(name.len()).any(|part| part == *name))
            }
        }
    }

    /// Marks an answer as Elastic's clients want it.
    pub(super) fn mark(&self, head: &HeaderMap, response: &mut Response) {
        if self.is_elasticsearch(head) {
            response.headers_mut().insert("x-elastic-product", HeaderValue::from_static("Elasticsearch"));
        }
    }

    /// The greeting at `/`. It says what the gateway is, too.
    pub(super) fn greeting(&self, head: &HeaderMap) -> Value {
        let elasticsearch = self.is_elasticsearch(head);
        let number =
            self.version.as_deref().unwrap_or(if elasticsearch { ELASTICSEARCH } else { OPENSEARCH });
        let mut version = json!({
            "number": number, "build_type": "tar", "build_hash": "0", "build_snapshot": false,
            "build_date": "2025-01-01T00:00:00.000Z", "lucene_version": "9.12.0",
            "minimum_wire_compatibility_version": "7.10.0", "minimum_index_compatibility_version": "7.0.0",
        });
        let (key, value, tagline) = match elasticsearch {
            true => ("build_flavor", "default", "You Know, for Search"),
            false => ("distribution", "opensearch", "The OpenSearch Project: https://opensearch.org/"),
        };
        if let Some(version) = version.as_object_mut() {
            version.insert(key.to_owned(), value.into());
        }
        json!({
            "name": "mozdef gateway", "cluster_name": "mozdef", "cluster_uuid": CLUSTER, "version": version,
            "tagline": tagline, "mozdef": env!("CARGO_PKG_VERSION"),
            "paths": [
                "/events", "/nxlog", "/cef", "/custom/<app>", "/_bulk", "/<index>/_bulk", "/<index>/_doc",
                "/services/collector", "/v1/logs", "/status",
            ],
        })
    }

    /// The answer to a question below `/_`, if it is one that shippers ask.
    pub(super) fn answer(&self, method: &Method, path: &str) -> Option<Response> {
        let mut parts = path.trim_matches('/').split('/');
        let first = parts.next().unwrap_or_default();
        let name = parts.next().unwrap_or_default();
        let reads = method == Method::GET || method == Method::HEAD;
        let writes = method == Method::PUT || method == Method::POST;
        let body = match first {
            "_cluster" if reads => match name {
                "health" => health(),
                "settings" => json!({"persistent": {}, "transient": {}, "defaults": {}}),
                _ => return None,
            },
            "_nodes" if reads => self.nodes(),
            "_license" | "_xpack" if reads => json!({
                "license": {"status": "active", "uid": CLUSTER, "type": "basic", "issuer": "mozdef", "start_date_in_millis": -1},
                "features": {"ilm": {"available": true, "enabled": true}, "security": {"available": false, "enabled": false}},
            }),
            "_cat" if reads => json!([]),
            "_ilm" | "_plugins" if reads && name == "status" => json!({"operation_mode": "RUNNING"}),
            // What is asked for is there: shippers then leave it alone.
            "_ilm" if reads => {
                json!({parts.next().unwrap_or("policy"): {"version": 1, "policy": {"phases": {}}}})
            }
            "_template"
            | "_index_template"
            | "_component_template"
            | "_data_stream"
            | "_alias"
            | "_aliases"
            | "_ingest"
            | "_plugins"
                if reads =>
            {
                json!({})
            }
            "_ilm"
            | "_template"
            | "_index_template"
            | "_component_template"
            | "_data_stream"
            | "_alias"
            | "_aliases"
            | "_ingest"
            | "_plugins"
                if writes =>
            {
                json!({"acknowledged": true})
            }
            _ => return None,
        };
        Some(respond::json(StatusCode::OK, &body))
    }

    /// The answer to a question about one index: it is there, and may be made.
    pub(super) fn index(&self, method: &Method, index: &str) -> Option<Response> {
        match *method {
            Method::HEAD => Some(respond::json(StatusCode::OK, &json!({}))),
            Method::PUT => Some(respond::json(
                StatusCode::OK,
                &json!({"acknowledged": true, "shards_acknowledged": true, "index": index}),
            )),
            _ => None,
        }
    }

    /// One node without an address: clients that look for more keep the one they have.
    fn nodes(&self) -> Value {
        let number = self.version.as_deref().unwrap_or(match self.product {
            Product::Elasticsearch => ELASTICSEARCH,
            Product::Auto | Product::Opensearch => OPENSEARCH,
        });
        json!({
            "_nodes": {"total": 1, "successful": 1, "failed": 0}, "cluster_name": "mozdef",
            "nodes": {"gateway": {"name": "mozdef gateway", "version": number, "roles": ["ingest"]}},
        })
    }
}

fn health() -> Value {
    json!({
        "cluster_name": "mozdef", "status": "green", "timed_out": false, "number_of_nodes": 1,
        "number_of_data_nodes": 1, "active_primary_shards": 1, "active_shards": 1, "relocating_shards": 0,
        "initializing_shards": 0, "unassigned_shards": 0, "delayed_unassigned_shards": 0,
        "number_of_pending_tasks": 0, "number_of_in_flight_fetch": 0,
        "task_max_waiting_in_queue_millis": 0, "active_shards_percent_as_number": 100.0,
    })
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, HeaderValue, Method, header};
    use model::config::{ElasticsearchConfig, Product};

    use super::Elastic;

    fn head(agent: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::USER_AGENT, HeaderValue::from_static(agent))])
    }

    fn elastic(product: Product, version: Option<&str>) -> Elastic {
        Elastic::new(&ElasticsearchConfig { product, version: version.map(str::to_owned) })
    }

    #[test]
    fn elastics_own_shippers_meet_elasticsearch_and_others_opensearch() {
        let auto = elastic(Product::Auto, None);
        for agent in [
            "Elastic-filebeat/8.15.0 (linux; amd64; abc; 2024)",
            "Filebeat/7.10.2",
            "Elastic/8.17.0 (Linux; Java 21; logstash)",
            "logstash-output-elasticsearch/11",
        ] {
            let greeting = auto.greeting(&head(agent));
            assert_eq!(greeting["version"]["number"], "8.17.0", "{agent}");
            assert_eq!(greeting["tagline"], "You Know, for Search");
        }
        for agent in ["Fluent-Bit", "Vector/0.40.0", "curl/8", ""] {
            let greeting = auto.greeting(&head(agent));
            assert_eq!(greeting["version"]["distribution"], "opensearch", "{agent}");
            assert!(!auto.is_elasticsearch(&head(agent)));
        }
        let fixed = elastic(Product::Elasticsearch, Some("7.17.1")).greeting(&head("curl"));
        assert_eq!(
            (&fixed["version"]["number"], &fixed["version"]["build_flavor"]),
            (&"7.17.1".into(), &"default".into())
        );
    }

    #[test]
    fn what_shippers_ask_is_answered_and_the_rest_is_not() {
        let elastic = elastic(Product::Auto, None);
        for (method, path) in [
            (Method::GET, "/_cluster/health"),
            (Method::GET, "/_nodes/http"),
            (Method::GET, "/_license"),
            (Method::HEAD, "/_index_template/filebeat-8.15.0"),
            (Method::PUT, "/_template/logstash"),
            (Method::GET, "/_ilm/policy/logstash-policy"),
            (Method::PUT, "/_ingest/pipeline/x"),
        ] {
            assert!(elastic.answer(&method, path).is_some(), "{method} {path}");
        }
        for (method, path) in
            [(Method::GET, "/_search"), (Method::DELETE, "/_template/x"), (Method::POST, "/_cluster/reroute")]
        {
            assert!(elastic.answer(&method, path).is_none(), "{method} {path}");
        }
        assert!(elastic.index(&Method::HEAD, "x").is_some() && elastic.index(&Method::GET, "x").is_none());
    }
}
