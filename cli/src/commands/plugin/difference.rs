//! What differs between two documents, field by field.

use owo_colors::OwoColorize;
use serde_json::Value;

use crate::output;

/// A field that is not as it should be.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Field {
    /// Its path.
    pub(super) path: String,
    /// What should be there.
    pub(super) expected: Option<Value>,
    /// What is there.
    pub(super) got: Option<Value>,
}

/// Every field that differs, in the order of the expected document, then of the other.
pub(super) fn fields(expected: Option<&Value>, got: Option<&Value>) -> Vec<Field> {
    let mut found = Vec::new();
    collect(String::new(), expected, got, &mut found);
    found
}

fn collect(path: String, expected: Option<&Value>, got: Option<&Value>, found: &mut Vec<Field>) {
    if let (Some(Value::Object(wanted)), Some(Value::Object(given))) = (expected, got) {
        let others = given.keys().filter(|key| !wanted.contains_key(*key));
        for key in wanted.keys().chain(others) {
            let inner = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            collect(inner, wanted.get(key), given.get(key), found);
        }
        return;
    }
    if expected != got {
        found.push(Field { path, expected: expected.cloned(), got: got.cloned() });
    }
}

/// Lines for a person: `-` what should be there, `+` what is.
pub(super) fn lines(fields: &[Field]) -> Vec<String> {
    let colours = output::colours();
    let mut lines = Vec::new();
    for Field { path, expected, got } in fields {
        let path = if path.is_empty() { "(the event)" } else { path };
        for (sign, value) in [('-', expected), ('+', got)] {
            let Some(value) = value else { continue };
            let line = output::printable(&format!("{sign} {path}: {value}"));
            lines.push(match sign {
                _ if !colours => line,
                '-' => line.red().to_string(),
                _ => line.green().to_string(),
            });
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{fields, lines};

    #[test]
    fn only_what_differs_is_shown() {
        let expected = json!({"a": 1, "d": {"user": "ann", "same": []}, "gone": null});
        let got = json!({"a": 1, "d": {"user": "bob", "same": [], "more": 7}});
        let fields = fields(Some(&expected), Some(&got));
        assert_eq!(lines(&fields), ["- d.user: \"ann\"", "+ d.user: \"bob\"", "+ d.more: 7", "- gone: null"]);
        assert!(super::fields(Some(&got), Some(&got)).is_empty());
        assert_eq!(lines(&super::fields(None, Some(&json!({})))), ["+ (the event): {}"]);
    }
}
