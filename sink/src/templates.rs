//! What new indices are like: MozDef's mapping, settings from the
//! configuration, and the alias over all days.
//!
//! In: the configuration and a prefix such as `events`. Out: the body of an
//! index template. Never: a change to indices that exist.
//!
//! | field | type |
//! |---|---|
//! | any text, number or binary | `keyword`; text beyond 8,191 characters is kept, but cannot be searched |
//! | `summary` | text |
//! | `receivedtimestamp`, `timestamp`, `utctimestamp` | date |
//! | `details.sourceipaddress`, `details.destinationipaddress` | ip |
//! | `details.sourceipgeopoint`, `details.destinationipgeopoint` | geo_point |
//! | `details.success` | boolean |
//! | `unmapped` | kept, not searched |

use model::config::SinkConfig;
use serde_json::{Value, json};

use crate::bulk::UNMAPPED;

/// Longest text that is searched as a whole: 32,766 bytes are Lucene's limit, and a character takes up to 4.
const KEYWORD_CHARS_MAX: u32 = 8191;

/// Least priority of our templates.
const PRIORITY: usize = 100;

/// Name of the template for the indices of a prefix.
pub(crate) fn name(prefix: &str) -> String {
    format!("mozdef-{prefix}")
}

/// Body of the template for the indices of a prefix.
pub(crate) fn body(prefix: &str, config: &SinkConfig) -> Value {
    json!({
        "index_patterns": [format!("{prefix}-*")],
        // Where two prefixes meet, the longer one counts.
        "priority": PRIORITY.saturating_add(prefix.len()),
        "template": {
            "aliases": {prefix: {}},
            "settings": {
                "index": {
                    "number_of_shards": config.shards,
                    "number_of_replicas": config.replicas,
                    "refresh_interval": "1s",
                    "mapping": {"total_fields": {"limit": config.total_fields_max}},
                },
            },
            "mappings": mappings(),
        },
    })
}

fn mappings() -> Value {
    let keyword = json!({"type": "keyword", "ignore_above": KEYWORD_CHARS_MAX});
    let as_keyword = |kind: &str| json!({(format!("{kind}_as_keyword")): {"match_mapping_type": kind, "mapping": keyword}});
    let dynamic = ["string", "long", "double", "binary"].map(as_keyword);
    let date = json!({"type": "date"});
    json!({
        "date_detection": false,
        "dynamic_templates": dynamic,
        "properties": {
            "category": keyword,
            "hostname": keyword,
            "mozdefhostname": keyword,
            "processid": keyword,
            "processname": keyword,
            "severity": keyword,
            "source": keyword,
            "tags": keyword,
            "type": keyword,
            "summary": {"type": "text"},
            "receivedtimestamp": date,
            "timestamp": date,
            "utctimestamp": date,
            "details": {
                "properties": {
                    "sourceipaddress": {"type": "ip"},
                    "destinationipaddress": {"type": "ip"},
                    "sourceipgeopoint": {"type": "geo_point"},
                    "destinationipgeopoint": {"type": "geo_point"},
                    "success": {"type": "boolean"},
                },
            },
            (UNMAPPED): {"type": "object", "enabled": false},
        },
    })
}

#[cfg(test)]
mod tests {
    use model::config::SinkConfig;

    use super::{body, name};

    #[test]
    fn the_template_is_mozdefs_mapping() {
        let template = body("events", &SinkConfig { total_fields_max: 2000, ..SinkConfig::default() });
        assert_eq!(name("events"), "mozdef-events");
        assert_eq!(template["index_patterns"][0], "events-*");
        assert!(template["template"]["aliases"]["events"].is_object());
        assert_eq!(template["template"]["settings"]["index"]["mapping"]["total_fields"]["limit"], 2000);
        let mappings = &template["template"]["mappings"];
        assert_eq!(mappings["date_detection"], false);
        assert_eq!(mappings["dynamic_templates"][1]["long_as_keyword"]["mapping"]["type"], "keyword");
        for (field, kind) in [("summary", "text"), ("utctimestamp", "date"), ("source", "keyword")] {
            assert_eq!(mappings["properties"][field]["type"], kind, "{field}");
        }
        assert_eq!(mappings["properties"]["details"]["properties"]["sourceipaddress"]["type"], "ip");
        assert_eq!(mappings["properties"]["unmapped"]["enabled"], false);
    }
}
