//! Templates: what a new index gets because of its name.
//!
//! In: bodies of `_template` (legacy, merged by order) and `_index_template` (the highest priority wins alone).
//! Out: [`Blueprint`]. Never: a template that cannot be applied: it is checked when it is put.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::settings::Settings;
use super::{Alias, Catalog, read_aliases};
use crate::error::ApiError;
use crate::json;
use crate::mapping::Mapping;
use crate::patterns::star_matches;

/// A legacy template.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LegacyTemplate {
    index_patterns: Vec<String>,
    order: i64,
    version: Option<u64>,
    blueprint: Blueprint,
}

/// A composable template.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct IndexTemplate {
    index_patterns: Vec<String>,
    priority: u64,
    version: Option<u64>,
    meta: Option<Value>,
    blueprint: Blueprint,
}

/// What a new index starts with.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Blueprint {
    pub(crate) settings: Settings,
    /// A mapping body.
    pub(crate) mappings: Value,
    pub(crate) aliases: BTreeMap<String, Alias>,
}

impl Blueprint {
    /// Takes `settings`, `mappings` or `aliases`; false for another key.
    fn take(&mut self, key: &str, value: &Value) -> Result<bool, ApiError> {
        match key {
            "settings" => self.settings = Settings::read(value)?,
            "mappings" => {
                Mapping::read(value)?;
                self.mappings = value.clone();
            }
            "aliases" => self.aliases = read_aliases(value)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Reads a body with these three keys, such as that of `PUT /index`.
    pub(crate) fn read(body: &Map<String, Value>, what: &str) -> Result<Blueprint, ApiError> {
        let mut blueprint = Blueprint::default();
        for (key, value) in body {
            if !blueprint.take(key, value)? {
                return Err(json::unknown_key(what, key));
            }
        }
        Ok(blueprint)
    }

    /// This one with another on top.
    #[must_use]
    pub(crate) fn with(mut self, other: &Blueprint) -> Blueprint {
        self.settings = self.settings.with(&other.settings);
        merge_mappings(&mut self.mappings, &other.mappings);
        self.aliases.extend(other.aliases.iter().map(|(k, v)| (k.clone(), *v)));
        self
    }

    fn to_json(&self) -> Map<String, Value> {
        let mut out = Map::new();
        out.insert("settings".into(), self.settings.to_json());
        out.insert(
            "mappings".into(),
            if self.mappings.is_null() { json!({}) } else { self.mappings.clone() },
        );
        out.insert("aliases".into(), aliases_json(&self.aliases));
        out
    }
}

/// Aliases as bodies show them.
pub(crate) fn aliases_json(aliases: &BTreeMap<String, Alias>) -> Value {
    let shown = aliases.iter().map(|(name, alias)| {
        let body = alias.is_write_index.map_or(json!({}), |flag| json!({"is_write_index": flag}));
        (name.clone(), body)
    });
    Value::Object(shown.collect())
}

/// Lays one mapping body over another: the later one's fields win.
fn merge_mappings(under: &mut Value, over: &Value) {
    let (Some(below), Some(above)) = (under.as_object_mut(), over.as_object()) else {
        if !over.is_null() {
            *under = over.clone();
        }
        return;
    };
    for (key, value) in above {
        match (below.get_mut(key), key.as_str()) {
            (Some(Value::Array(old)), "dynamic_templates") => {
                for template in value.as_array().into_iter().flatten() {
                    let name = template.as_object().and_then(|t| t.keys().next());
                    old.retain(|t| t.as_object().and_then(|t| t.keys().next()) != name);
                    old.push(template.clone());
                }
            }
            (Some(old), _) if is_object_field(old) && is_object_field(value) => merge_mappings(old, value),
            _ => {
                below.insert(key.clone(), value.clone());
            }
        }
    }
}

fn is_object_field(value: &Value) -> bool {
    // `properties` themselves are objects without a type, too.
    value.as_object().is_some_and(|o| o.get("type").and_then(Value::as_str).is_none_or(|t| t == "object"))
}

impl LegacyTemplate {
    /// Reads the body of `PUT /_template/name`.
    pub(crate) fn read(body: &Map<String, Value>) -> Result<LegacyTemplate, ApiError> {
        let mut template = LegacyTemplate {
            index_patterns: Vec::new(),
            order: 0,
            version: None,
            blueprint: Blueprint { mappings: json!({}), ..Blueprint::default() },
        };
        for (key, value) in body {
            match key.as_str() {
                "index_patterns" => template.index_patterns = json::strings(value, key)?,
                "order" => {
                    template.order =
                        value.as_i64().ok_or_else(|| ApiError::parsing("[order] must be a whole number"))?;
                }
                "version" => template.version = Some(json::unsigned(value, key)?),
                other => {
                    if !template.blueprint.take(other, value)? {
                        return Err(json::unknown_key("template", other));
                    }
                }
            }
        }
        patterns_given(&template.index_patterns)?;
        Ok(template)
    }

    /// As `GET /_template` shows it.
    pub(crate) fn to_json(&self) -> Value {
        let mut out = Map::new();
        out.insert("order".into(), json!(self.order));
        if let Some(version) = self.version {
            out.insert("version".into(), json!(version));
        }
        out.insert("index_patterns".into(), json!(self.index_patterns));
        out.extend(self.blueprint.to_json());
        Value::Object(out)
    }
}

impl IndexTemplate {
    /// Reads the body of `PUT /_index_template/name`.
    pub(crate) fn read(body: &Map<String, Value>) -> Result<IndexTemplate, ApiError> {
        let mut template = IndexTemplate {
            index_patterns: Vec::new(),
            priority: 0,
            version: None,
            meta: None,
            blueprint: Blueprint { mappings: json!({}), ..Blueprint::default() },
        };
        for (key, value) in body {
            match key.as_str() {
                "index_patterns" => template.index_patterns = json::strings(value, key)?,
                "priority" => template.priority = json::unsigned(value, key)?,
                "version" => template.version = Some(json::unsigned(value, key)?),
                "_meta" => template.meta = Some(value.clone()),
                "template" => {
                    template.blueprint = Blueprint { mappings: json!({}), ..Blueprint::default() }
                        .with(&Blueprint::read(json::object(value, key)?, "template")?);
                }
                "composed_of" => {
                    if !json::array(value, key)?.is_empty() {
                        return Err(ApiError::unsupported("[composed_of] in an index template"));
                    }
                }
                "data_stream" => return Err(ApiError::unsupported("[data_stream] in an index template")),
                other => return Err(json::unknown_key("index_template", other)),
            }
        }
        patterns_given(&template.index_patterns)?;
        Ok(template)
    }

    /// A pattern by which both would apply to one index with nothing to choose between them.
    pub(crate) fn clashes_with(&self, other: &IndexTemplate) -> Option<String> {
        if self.priority != other.priority {
            return None;
        }
        let overlap = |a: &str, b: &str| star_matches(a, b) || star_matches(b, a);
        let found = other
            .index_patterns
            .iter()
            .find(|theirs| self.index_patterns.iter().any(|ours| overlap(ours, theirs)));
        found.cloned()
    }

    /// As `GET /_index_template` shows it.
    pub(crate) fn to_json(&self) -> Value {
        let mut out = json!({
            "index_patterns": self.index_patterns,
            "template": self.blueprint.to_json(),
            "composed_of": [],
            "priority": self.priority,
        });
        if let Some(object) = out.as_object_mut() {
            if let Some(version) = self.version {
                object.insert("version".into(), json!(version));
            }
            if let Some(meta) = &self.meta {
                object.insert("_meta".into(), meta.clone());
            }
        }
        out
    }
}

fn patterns_given(patterns: &[String]) -> Result<(), ApiError> {
    if patterns.is_empty() {
        return Err(ApiError::new(
            400,
            "action_request_validation_exception",
            "Validation Failed: 1: index patterns are missing;",
        ));
    }
    Ok(())
}

fn covers(patterns: &[String], name: &str) -> bool {
    patterns.iter().any(|pattern| star_matches(pattern, name))
}

impl Catalog {
    /// What a new index of this name gets from the templates.
    pub(crate) fn blueprint(&self, name: &str) -> Blueprint {
        let composable = self
            .index_templates
            .values()
            .filter(|t| covers(&t.index_patterns, name))
            .max_by_key(|t| t.priority);
        if let Some(template) = composable {
            return template.blueprint.clone();
        }
        let mut legacy: Vec<_> =
            self.templates.values().filter(|t| covers(&t.index_patterns, name)).collect();
        legacy.sort_by_key(|t| t.order);
        let empty = Blueprint { mappings: json!({}), ..Blueprint::default() };
        legacy.into_iter().fold(empty, |made, template| made.with(&template.blueprint))
    }
}

#[cfg(test)]
mod tests {
    use super::{IndexTemplate, LegacyTemplate};
    use crate::catalog::Catalog;
    use serde_json::{Value, json};

    fn object(value: Value) -> serde_json::Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    fn legacy(catalog: &mut Catalog, name: &str, body: Value) {
        catalog.templates.insert(name.into(), LegacyTemplate::read(&object(body)).unwrap());
    }

    #[test]
    fn legacy_templates_merge_in_order_and_composable_ones_win_alone() {
        let mut catalog = Catalog::default();
        legacy(
            &mut catalog,
            "b",
            json!({"index_patterns": ["events*"], "order": 1, "aliases": {"all": {}},
            "mappings": {"properties": {"a": {"type": "keyword"}, "d": {"properties": {"x": {"type": "ip"}}}}}}),
        );
        legacy(
            &mut catalog,
            "a",
            json!({"index_patterns": "*", "settings": {"number_of_shards": 1},
            "mappings": {"dynamic": false, "properties": {"a": {"type": "text"}, "d": {"properties": {"y": {"type": "long"}}}}}}),
        );
        let made = catalog.blueprint("events-1");
        assert_eq!(
            made.mappings,
            json!({"dynamic": false, "properties": {
            "a": {"type": "keyword"}, "d": {"properties": {"y": {"type": "long"}, "x": {"type": "ip"}}}}})
        );
        assert!(made.aliases.contains_key("all"));
        assert_eq!(made.settings.get("index.number_of_shards"), Some("1"));

        for (name, priority) in [("low", 1), ("high", 5)] {
            let body = json!({"index_patterns": ["ev*"], "priority": priority,
                "template": {"aliases": {name: {}}}});
            catalog.index_templates.insert(name.into(), IndexTemplate::read(&object(body)).unwrap());
        }
        let made = catalog.blueprint("events-1");
        assert_eq!(made.aliases.keys().collect::<Vec<_>>(), ["high"]);
        assert_eq!(made.mappings, json!({}));
    }

    #[test]
    fn what_cannot_be_applied_is_refused_when_put() {
        for body in [
            json!({"template": {}}),
            json!({"index_patterns": ["x"], "composed_of": ["y"]}),
            json!({"index_patterns": ["x"], "data_stream": {}}),
            json!({"index_patterns": ["x"], "template": {"mappings": {"properties": {"a": {"type": "nested"}}}}}),
            json!({"index_patterns": ["x"], "template": {"settings": {"analysis": {"a": 1}}}}),
            json!({"index_patterns": ["x"], "what": 1}),
        ] {
            assert_eq!(IndexTemplate::read(&object(body.clone())).unwrap_err().status, 400, "{body}");
        }
    }
}
