//! How a field that a document brings gets its type: dynamic templates, then OpenSearch's defaults.
//!
//! In: path, JSON type and text of the first value. Out: the parameters of the new field.

use jiff::tz::TimeZone;
use serde_json::{Map, Value, json};

use super::Mapping;
use crate::dates::{DateFormats, Round};
use crate::error::ApiError;
use crate::json;
use crate::patterns::{Pattern, star_matches};

/// A path that the mapping did not know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Discovered {
    /// Keys from the root.
    pub(crate) path: Vec<String>,
    /// Type of its first value.
    pub(crate) json_type: JsonType,
    /// The value, when it is a string: it may be a date.
    pub(crate) text: String,
}

/// Types that JSON has, as dynamic templates name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JsonType {
    String,
    Long,
    Double,
    Boolean,
    Object,
}

/// One entry of `dynamic_templates`.
#[derive(Clone, Debug)]
pub(crate) struct DynamicTemplate {
    pub(super) name: String,
    pub(super) body: Value,
    types: Option<Vec<String>>,
    name_is: Vec<Test>,
    path_is: Vec<Test>,
    mapping: Map<String, Value>,
}

/// `match` and its kin; `wanted: false` is the `un` form.
#[derive(Clone, Debug)]
struct Test {
    wanted: bool,
    pattern: NamePattern,
}

#[derive(Clone, Debug)]
enum NamePattern {
    Star(String),
    Regex(Pattern),
}

impl Test {
    fn passes(&self, text: &str) -> bool {
        let matches = match &self.pattern {
            NamePattern::Star(pattern) => star_matches(pattern, text),
            NamePattern::Regex(pattern) => pattern.matches(text),
        };
        matches == self.wanted
    }
}

impl DynamicTemplate {
    pub(super) fn read(name: &str, body: &Value) -> Result<DynamicTemplate, ApiError> {
        let mut template = DynamicTemplate {
            name: name.to_owned(),
            body: body.clone(),
            types: None,
            name_is: Vec::new(),
            path_is: Vec::new(),
            mapping: Map::new(),
        };
        let params = json::object(body, name)?;
        let regex = match params.get("match_pattern").map(|v| json::string(v, "match_pattern")).transpose()? {
            None | Some("simple") => false,
            Some("regex") => true,
            Some(other) => return Err(ApiError::illegal(format!("no matching pattern type [{other}]"))),
        };
        for (key, value) in params {
            match key.as_str() {
                "match_pattern" => {}
                "match_mapping_type" => template.types = Some(json::strings(value, key)?),
                "match" | "unmatch" => template.name_is.extend(tests(key == "match", regex, value, key)?),
                "path_match" | "path_unmatch" => {
                    template.path_is.extend(tests(key == "path_match", regex, value, key)?);
                }
                "mapping" => template.mapping = json::object(value, key)?.clone(),
                other => {
                    return Err(ApiError::unsupported(format!("[{other}] in dynamic template [{name}]")));
                }
            }
        }
        Ok(template)
    }

    fn applies(&self, found: &Discovered, name: &str, path: &str, kind: &str) -> bool {
        let type_fits = match &self.types {
            None => {
                found.json_type != JsonType::Object || !self.path_is.is_empty() || !self.name_is.is_empty()
            }
            Some(types) => types.iter().any(|t| t == "*" || t == kind),
        };
        type_fits
            && self.name_is.iter().all(|t| t.passes(name))
            && self.path_is.iter().all(|t| t.passes(path))
    }
}

fn tests(wanted: bool, regex: bool, value: &Value, key: &str) -> Result<Vec<Test>, ApiError> {
    let patterns = json::strings(value, key)?;
    let made = patterns.into_iter().map(|text| {
        let pattern = if regex {
            NamePattern::Regex(Pattern::regex(&text, false).map_err(ApiError::illegal)?)
        } else {
            NamePattern::Star(text)
        };
        Ok(Test { wanted, pattern })
    });
    made.collect()
}

/// The parameters of a new field.
pub(super) fn body_for(mapping: &Mapping, found: &Discovered) -> Result<Map<String, Value>, ApiError> {
    let path = found.path.join(".");
    let name = found.path.last().map(String::as_str).unwrap_or_default();
    let kind = detected(mapping, found);
    let template = mapping.templates.iter().find(|t| t.applies(found, name, &path, kind));
    let body = match template {
        Some(template) => {
            let mut body = template.mapping.clone();
            for value in body.values_mut() {
                if let Value::String(text) = value {
                    *text = text.replace("{name}", name).replace("{dynamic_type}", kind);
                }
            }
            if !body.contains_key("type") {
                body.insert("type".into(), json!(if kind == "string" { "text" } else { kind }));
            }
            Value::Object(body)
        }
        None => match kind {
            "string" => {
                json!({"type": "text", "fields": {"keyword": {"type": "keyword", "ignore_above": 256}}})
            }
            "double" => json!({"type": "float"}),
            other => json!({"type": other}),
        },
    };
    Ok(json::object(&body, &path)?.clone())
}

/// The type word that templates match: strings may be dates or numbers.
fn detected(mapping: &Mapping, found: &Discovered) -> &'static str {
    match found.json_type {
        JsonType::Long => "long",
        JsonType::Double => "double",
        JsonType::Boolean => "boolean",
        JsonType::Object => "object",
        JsonType::String => {
            let text = found.text.as_str();
            // Bare numbers are too often plain strings: OpenSearch asks for a separator too.
            if mapping.date_detection.unwrap_or(true)
                && text.contains([':', '-', '/'])
                && DateFormats::default().read(text, &TimeZone::UTC, Round::Down).is_some()
            {
                return "date";
            }
            if mapping.numeric_detection.unwrap_or(false) {
                if text.parse::<i64>().is_ok() {
                    return "long";
                }
                if text.parse::<f64>().is_ok_and(f64::is_finite) {
                    return "double";
                }
            }
            "string"
        }
    }
}
