//! Settings of an index: flat names, values as text, as OpenSearch shows them.
//!
//! In: nested or flat settings bodies. Out: [`Settings`]. Unknown settings are refused; settings that only
//! tune how OpenSearch spreads and stores an index are kept and shown, and change nothing here.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::error::ApiError;

/// Settings that have an effect here.
const FIELDS_MAX: &str = "index.mapping.total_fields.limit";
const RESULT_WINDOW_MAX: &str = "index.max_result_window";
/// Largest value of both.
const CEILING: u64 = 1_000_000;

/// Settings that are kept and shown.
const KEPT: &[&str] = &[
    "index.number_of_shards",
    "index.number_of_replicas",
    "index.refresh_interval",
    "index.codec",
    "index.auto_expand_replicas",
    "index.mapping.depth.limit",
    "index.mapping.nested_fields.limit",
    "index.translog.durability",
    "index.translog.sync_interval",
    "index.translog.flush_threshold_size",
    "index.query.default_field",
    "index.hidden",
    "index.priority",
    "index.requests.cache.enable",
    "index.unassigned.node_left.delayed_timeout",
    "index.max_regex_length",
    "index.max_terms_count",
];
/// Families of settings that are kept and shown.
const KEPT_FAMILIES: &[&str] = &[
    "index.routing.",
    "index.search.slowlog.",
    "index.indexing.slowlog.",
    "index.merge.",
    "index.plugins.index_state_management.",
];

/// Flat settings of one index.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Settings(BTreeMap<String, String>);

impl Settings {
    /// Reads a settings body.
    pub(crate) fn read(body: &Value) -> Result<Settings, ApiError> {
        let mut settings = Settings::default();
        flatten("", crate::json::object(body, "settings")?, &mut settings.0)?;
        for (name, value) in &settings.0 {
            let known = KEPT.contains(&name.as_str()) || KEPT_FAMILIES.iter().any(|f| name.starts_with(f));
            if name == FIELDS_MAX || name == RESULT_WINDOW_MAX {
                if !value.parse().is_ok_and(|n: u64| (1..=CEILING).contains(&n)) {
                    return Err(ApiError::illegal(format!(
                        "Failed to parse value [{value}] for setting [{name}] must be from 1 to {CEILING}"
                    )));
                }
            } else if !known {
                return Err(ApiError::illegal(format!(
                    "unknown setting [{name}] please check that any required plugins are installed, or check the breaking changes documentation for removed settings"
                )));
            }
        }
        Ok(settings)
    }

    /// The settings with others on top.
    #[must_use]
    pub(crate) fn with(mut self, other: &Settings) -> Settings {
        self.0.extend(other.0.iter().map(|(k, v)| (k.clone(), v.clone())));
        self
    }

    /// Most fields of the mapping.
    pub(crate) fn fields_max(&self) -> usize {
        self.number(FIELDS_MAX, 1000)
    }

    /// Most hits that `from` + `size` may reach.
    pub(crate) fn result_window_max(&self) -> usize {
        self.number(RESULT_WINDOW_MAX, 10_000)
    }

    fn number(&self, name: &str, default: usize) -> usize {
        self.0.get(name).and_then(|text| text.parse().ok()).unwrap_or(default)
    }

    /// A value by its flat name.
    #[cfg(test)]
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Nested, as `GET /index/_settings` shows them.
    pub(crate) fn to_json(&self) -> Value {
        let mut root = Map::new();
        for (name, value) in &self.0 {
            nest(&mut root, name, value);
        }
        Value::Object(root)
    }
}

fn nest(object: &mut Map<String, Value>, name: &str, value: &str) {
    match name.split_once('.') {
        None => {
            object.insert(name.to_owned(), json!(value));
        }
        Some((head, rest)) => {
            let inner = object.entry(head).or_insert_with(|| json!({}));
            match inner.as_object_mut() {
                Some(inner) => nest(inner, rest, value),
                // A setting whose name is the beginning of another's is shown flat.
                None => {
                    object.insert(name.to_owned(), json!(value));
                }
            }
        }
    }
}

fn flatten(
    prefix: &str,
    body: &Map<String, Value>,
    out: &mut BTreeMap<String, String>,
) -> Result<(), ApiError> {
    for (key, value) in body {
        let name = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        match value {
            Value::Object(inner) => flatten(&name, inner, out)?,
            Value::Null => {}
            scalar => {
                let full = if name.starts_with("index.") { name } else { format!("index.{name}") };
                let text = match scalar {
                    Value::String(text) => text.clone(),
                    Value::Array(_) => {
                        return Err(ApiError::unsupported(format!("a list for setting [{full}]")));
                    }
                    other => other.to_string(),
                };
                out.insert(full, text);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::Settings;
    use serde_json::json;

    #[test]
    fn nested_and_flat_names_are_the_same() {
        let a = Settings::read(
            &json!({"index": {"mapping": {"total_fields": {"limit": 50}}}, "number_of_shards": 1}),
        );
        let b =
            Settings::read(&json!({"index.mapping.total_fields.limit": "50", "index.number_of_shards": "1"}));
        assert_eq!(a, b);
        let settings = a.unwrap();
        assert_eq!(settings.fields_max(), 50);
        assert_eq!(settings.to_json()["index"]["mapping"]["total_fields"]["limit"], "50");
    }

    #[test]
    fn unknown_or_silly_settings_are_refused() {
        for body in [
            json!({"index.nothing": 1}),
            json!({"index.mapping.total_fields.limit": -1}),
            json!({"analysis": {"analyzer": {"x": {"type": "standard"}}}}),
        ] {
            assert_eq!(Settings::read(&body).unwrap_err().kind, "illegal_argument_exception", "{body}");
        }
    }
}
