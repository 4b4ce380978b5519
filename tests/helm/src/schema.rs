//! The chart's schema of `config`: that of MozDef's configuration file, without what the chart owns.
//!
//! In: the configuration's own schema. Out: definitions for `values.schema.json`. Never: a second list of keys.

use anyhow::Context;
use model::config::Config;
use model::topic::Topic;
use serde_json::{Map, Value as Json, json};

/// Keys that the chart sets itself, or that mean nothing on Kafka and OpenSearch.
const OWNED: &[(&str, &[&str])] = &[
    ("Config", &["embedded", "admin"]),
    ("LogConfig", &["data", "partitions", "retention_hours", "retention_mib", "min_free_mib"]),
    ("KafkaConfig", &["instance"]),
    ("KafkaTls", &["ca_file", "certificate_file", "key_file"]),
    ("KafkaSasl", &["password_file", "password_env", "client_secret_file", "client_secret_env"]),
    ("HttpConfig", &["listen"]),
];

/// Keys without which nothing works here.
const NEEDED: &[(&str, &[&str])] = &[
    ("Config", &["log", "sink"]),
    ("LogConfig", &["kafka"]),
    ("KafkaConfig", &["brokers"]),
    ("KafkaSasl", &["mechanism"]),
    ("SinkConfig", &["url"]),
];

/// The definitions that the chart's schema must hold, by name.
///
/// # Errors
/// The configuration's schema has not the shape that is expected here.
pub fn definitions() -> anyhow::Result<Map<String, Json>> {
    let mut root = Config::json_schema();
    let mut all =
        root.get_mut("$defs").and_then(Json::as_object_mut).map(std::mem::take).context("no $defs")?;
    let top = root.as_object_mut().context("the schema is no object")?;
    top.retain(|key, _| !matches!(key.as_str(), "$defs" | "$schema" | "title"));
    all.insert("Config".to_owned(), root);
    all.retain(|name, _| !matches!(name.as_str(), "EmbeddedConfig" | "AdminConfig" | "AdminServes"));
    for (name, keys) in OWNED {
        let properties = properties(&mut all, name)?;
        for key in *keys {
            properties.remove(*key).with_context(|| format!("{name} has no {key}"))?;
        }
    }
    for (name, keys) in NEEDED {
        let definition =
            all.get_mut(*name).and_then(Json::as_object_mut).with_context(|| (*name).to_owned())?;
        definition.insert("required".to_owned(), json!(keys));
    }
    for definition in all.values_mut() {
        tidy(definition);
    }
    narrow(&mut all)?;
    Ok(all)
}

fn properties<'a>(all: &'a mut Map<String, Json>, name: &str) -> anyhow::Result<&'a mut Map<String, Json>> {
    let found = all.get_mut(name).and_then(|definition| definition.get_mut("properties"));
    found.and_then(Json::as_object_mut).with_context(|| format!("no properties of {name}"))
}

/// What the configuration checks in code, where a schema can say it as well: refused before anything is installed.
fn narrow(all: &mut Map<String, Json>) -> anyhow::Result<()> {
    let mut set = |name: &str, key: &str, schema: Json| -> anyhow::Result<()> {
        let property = properties(all, name)?.get_mut(key).and_then(Json::as_object_mut);
        let property = property.with_context(|| format!("{name} has no {key}"))?;
        property.extend(schema.as_object().cloned().unwrap_or_default());
        Ok(())
    };
    let broker = json!({"type": "string", "pattern": "^[^,/ ]+:[1-9][0-9]{0,4}$"});
    set("KafkaConfig", "brokers", json!({"minItems": 1, "items": broker}))?;
    set("KafkaConfig", "prefix", json!({"pattern": "^[-A-Za-z0-9._]{1,100}$"}))?;
    let digest = json!({"type": "string", "pattern": "^[0-9a-fA-F]{64}$"});
    set("HttpConfig", "tokens", json!({"additionalProperties": digest}))?;
    set("SinkConfig", "url", json!({"type": "string", "pattern": "^https?://[^ ]+$"}))?;
    let topics = Topic::ALL.iter().filter_map(|topic| topic.name().strip_prefix("mozdef."));
    let topics: Map<String, Json> =
        topics.map(|name| (name.to_owned(), json!({"$ref": "#/$defs/TopicOverride"}))).collect();
    set("TopicsConfig", "by_topic", json!({"properties": topics, "additionalProperties": false}))
}

/// Defaults of whole sections would tell of keys that are not here; formats are known to MozDef alone; a key
/// that is absent says what a null says, and refusals are shorter without.
fn tidy(schema: &mut Json) {
    match schema {
        Json::Object(members) => {
            if let Some(Json::Array(choices)) = members.get("anyOf")
                && let Some(link) = choices.iter().find_map(|choice| choice.get("$ref").cloned())
            {
                members.remove("anyOf");
                members.insert("$ref".to_owned(), link);
            }
            if let Some(Json::Array(names)) = members.get_mut("type") {
                names.retain(|name| name != "null");
            }
            members.retain(|key, value| key != "default" || !value.is_null());
            if members.get("default").is_some_and(Json::is_object) {
                members.remove("default");
            }
            if members.get("format").is_some_and(Json::is_string) {
                members.remove("format");
            }
            members.values_mut().for_each(tidy);
        }
        Json::Array(elements) => elements.iter_mut().for_each(tidy),
        _ => {}
    }
}
