//! Which part of a document a hit shows.
//!
//! In: the stored document, patterns. Out: JSON. Numbers keep their text.

use model::event::{Event, Limits, Object, Value};
use serde_json::Value as Json;

use crate::error::ApiError;
use crate::json;
use crate::patterns::star_matches;

/// Most patterns of one filter.
const PATTERNS_MAX: usize = 1000;

/// A filter on members by path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SourceFilter {
    pub(crate) enabled: bool,
    pub(crate) includes: Vec<String>,
    pub(crate) excludes: Vec<String>,
}

impl Default for SourceFilter {
    fn default() -> SourceFilter {
        SourceFilter { enabled: true, includes: Vec::new(), excludes: Vec::new() }
    }
}

impl SourceFilter {
    /// Reads `true`, `false`, `"a.*"`, `["a", "b"]` or `{"includes": …, "excludes": …}`.
    pub(crate) fn read(value: &Json) -> Result<SourceFilter, ApiError> {
        let mut filter = SourceFilter::default();
        match value {
            Json::Bool(enabled) => filter.enabled = *enabled,
            Json::String(text) if text == "false" => filter.enabled = false,
            Json::String(text) if text == "true" => {}
            Json::Object(params) => {
                for (key, value) in params {
                    match key.as_str() {
                        "includes" | "include" => filter.includes = json::strings(value, key)?,
                        "excludes" | "exclude" => filter.excludes = json::strings(value, key)?,
                        other => return Err(json::unknown_key("_source", other)),
                    }
                }
            }
            other => filter.includes = json::strings(other, "_source")?,
        }
        if filter.includes.len().saturating_add(filter.excludes.len()) > PATTERNS_MAX {
            return Err(ApiError::illegal(format!("[_source] has more than {PATTERNS_MAX} patterns")));
        }
        Ok(filter)
    }

    /// Appends the part of a document that is shown.
    pub(crate) fn write(&self, source: &[u8], out: &mut Vec<u8>) {
        if self.includes.is_empty() && self.excludes.is_empty() {
            out.extend_from_slice(source);
            return;
        }
        let mut event = Event::new();
        if event.parse(source, &Limits::MAX).is_err() {
            // It was parsed when it was taken: this cannot be. The whole document is better than none.
            out.extend_from_slice(source);
            return;
        }
        self.object(event.root(), "", false, out);
    }

    /// Writes an object; true when something of it was shown.
    fn object(&self, object: Object<'_>, path: &str, inside: bool, out: &mut Vec<u8>) -> bool {
        out.push(b'{');
        let mut any = false;
        for (key, value) in object.iter() {
            let full = if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
            let before = out.len();
            if any {
                out.push(b',');
            }
            write_text(key, out);
            out.push(b':');
            if self.value(value, &full, inside, out) {
                any = true;
            } else {
                out.truncate(before);
            }
        }
        out.push(b'}');
        any
    }

    fn value(&self, value: Value<'_>, path: &str, inside: bool, out: &mut Vec<u8>) -> bool {
        if covers(&self.excludes, path) {
            return false;
        }
        let inside = inside || self.includes.is_empty() || covers(&self.includes, path);
        match value {
            Value::Object(object) => self.object(object, path, inside, out) || inside,
            Value::Array(items) => {
                out.push(b'[');
                let mut any = false;
                for item in items.iter() {
                    let before = out.len();
                    if any {
                        out.push(b',');
                    }
                    if self.value(item, path, inside, out) {
                        any = true;
                    } else {
                        out.truncate(before);
                    }
                }
                out.push(b']');
                any || inside
            }
            scalar if inside => {
                scalar.write_json(out);
                true
            }
            _ => false,
        }
    }
}

fn covers(patterns: &[String], path: &str) -> bool {
    patterns.iter().any(|pattern| star_matches(pattern, path))
}

/// A text as JSON.
pub(crate) fn write_text(text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(Json::from(text).to_string().as_bytes());
}

#[cfg(test)]
mod tests {
    use super::SourceFilter;
    use serde_json::json;

    #[track_caller]
    fn check(filter: serde_json::Value, expected: &str) {
        let source = br#"{"a": 1.50, "d": {"x": "\u00e4", "y": [1, {"z": 2, "w": 3}]}, "e": {}, "n": null}"#;
        let mut out = Vec::new();
        SourceFilter::read(&filter).unwrap().write(source, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), expected, "{filter}");
    }

    #[test]
    fn members_are_chosen_by_path() {
        check(json!(["a"]), r#"{"a":1.50}"#);
        check(json!("d.x"), "{\"d\":{\"x\":\"\u{e4}\"}}");
        check(json!("d"), "{\"d\":{\"x\":\"\u{e4}\",\"y\":[1,{\"z\":2,\"w\":3}]}}");
        check(json!({"includes": "d.*", "excludes": ["*.z", "d.x"]}), r#"{"d":{"y":[1,{"w":3}]}}"#);
        check(json!({"excludes": "d"}), r#"{"a":1.50,"e":{},"n":null}"#);
        check(json!("nothing"), "{}");
        assert!(!SourceFilter::read(&json!(false)).unwrap().enabled);
        assert!(SourceFilter::read(&json!({"only": 1})).is_err());
    }
}
