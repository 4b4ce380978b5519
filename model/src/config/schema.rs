//! The configuration's JSON schema, and the comparison of a tree with it:
//! unknown keys, types, choices, ranges. What the schema says is what is
//! checked, so that the documentation cannot differ from the check.
//!
//! In: a tree. Out: every deviation. Never: relations between values; those
//! are in `check.rs`.

use serde_json::Value as Json;

use super::Config;
use super::error::{ConfigError, Problem};
use super::tree::{Node, Tree};

/// The format of a string that is an IP address and a port.
pub(super) const SOCKET_ADDRESS: &str = "socket-address";

impl Config {
    /// The JSON schema (2020-12) of the configuration file, for editors and the reference page.
    pub fn json_schema() -> Json {
        schemars::schema_for!(Config).to_value()
    }
}

/// Every deviation of a tree from the configuration's schema, in the tree's order.
pub(super) fn deviations(tree: &Tree) -> Vec<ConfigError> {
    let root = Config::json_schema();
    let mut walk = Walk { root: &root, found: Vec::new() };
    walk.value(&root, tree, "");
    walk.found
}

struct Walk<'s> {
    root: &'s Json,
    found: Vec<ConfigError>,
}

impl<'s> Walk<'s> {
    fn value(&mut self, schema: &'s Json, tree: &Tree, key: &str) {
        let schema = resolve(self.root, schema);
        // A key without a value stands for its default.
        if tree.is_null() {
            return;
        }
        match (&tree.node, expected_type(schema)) {
            (Node::Map(_), "object") => self.map(schema, tree, key),
            (Node::List(elements), "array") => {
                for (index, element) in elements.iter().enumerate() {
                    self.value(
                        schema.get("items").unwrap_or(&Json::Null),
                        element,
                        &format!("{key}[{index}]"),
                    );
                }
            }
            (Node::Scalar(Json::Number(number)), "integer") if number.is_i64() || number.is_u64() => {
                self.range(schema, number, tree, key);
            }
            (Node::Scalar(Json::Bool(_)), "boolean") => {}
            (Node::Scalar(Json::String(text)), "string") => self.string(schema, text, tree, key),
            (_, expected) => {
                let expected = describe(expected, schema);
                self.report(tree, key, Problem::Type { expected, found: found(tree) });
            }
        }
    }

    fn map(&mut self, schema: &'s Json, tree: &Tree, key: &str) {
        let Node::Map(members) = &tree.node else { return };
        let properties = schema.get("properties").and_then(Json::as_object);
        let free = schema.get("additionalProperties").filter(|free| free.is_object());
        for member in members {
            let inner = if key.is_empty() { member.key.clone() } else { format!("{key}.{}", member.key) };
            match properties.and_then(|known| known.get(&member.key)).or(free) {
                Some(schema) => self.value(schema, &member.value, &inner),
                None => {
                    let known: Vec<String> =
                        properties.into_iter().flat_map(|known| known.keys().cloned()).collect();
                    let similar = most_similar(&member.key, &known);
                    let mut elsewhere = Vec::new();
                    if similar.is_none() {
                        keys_named(self.root, self.root, &member.key, "", &mut elsewhere);
                    }
                    let problem = Problem::UnknownKey { similar, elsewhere, known };
                    self.found.push(ConfigError { place: member.place, key: inner, problem });
                }
            }
        }
    }

    fn range(&mut self, schema: &Json, number: &serde_json::Number, tree: &Tree, key: &str) {
        let whole =
            |number: &Json| number.as_u64().map(i128::from).or_else(|| number.as_i64().map(i128::from));
        let bound = |name: &str| schema.get(name).and_then(whole);
        let (low, high) = (bound("minimum").unwrap_or(0), bound("maximum"));
        if whole(&Json::from(number.clone())).is_some_and(|n| n >= low && high.is_none_or(|high| n <= high)) {
            return;
        }
        let expected = match high {
            Some(high) => format!("a whole number from {low} to {high}"),
            None => format!("a whole number from {low}"),
        };
        self.report(tree, key, Problem::Range { expected, found: found(tree) });
    }

    fn string(&mut self, schema: &Json, text: &str, tree: &Tree, key: &str) {
        let choices = choices(schema);
        let is_address = schema.get("format").and_then(Json::as_str) == Some(SOCKET_ADDRESS);
        let wrong_choice = !choices.is_empty() && !choices.contains(&text);
        let wrong_address = is_address && text.parse::<std::net::SocketAddr>().is_err();
        if wrong_choice || wrong_address {
            let expected = describe("string", schema);
            self.report(tree, key, Problem::Type { expected, found: found(tree) });
        }
    }

    fn report(&mut self, tree: &Tree, key: &str, problem: Problem) {
        self.found.push(ConfigError { place: tree.place, key: key.to_owned(), problem });
    }
}

fn resolve<'s>(root: &'s Json, schema: &'s Json) -> &'s Json {
    // What may be absent is "one of it and null".
    let choices = schema.get("anyOf").and_then(Json::as_array).into_iter().flatten();
    let schema = choices.into_iter().find(|choice| choice.get("$ref").is_some()).unwrap_or(schema);
    let target = schema.get("$ref").and_then(Json::as_str).and_then(|link| link.strip_prefix('#'));
    target.and_then(|pointer| root.pointer(pointer)).unwrap_or(schema)
}

/// The type of a schema; for one that may be null, the other one.
fn expected_type(schema: &Json) -> &str {
    match schema.get("type") {
        Some(Json::String(name)) => name,
        Some(Json::Array(names)) => {
            names.iter().filter_map(Json::as_str).find(|name| *name != "null").unwrap_or("null")
        }
        _ if !choices(schema).is_empty() => "string",
        _ => "any",
    }
}

/// The words that a string is chosen from; none where it is free.
fn choices(schema: &Json) -> Vec<&str> {
    let plain = schema.get("enum").and_then(Json::as_array).into_iter().flatten();
    let documented = schema.get("oneOf").and_then(Json::as_array).into_iter().flatten();
    let documented = documented.flat_map(|choice| {
        choice
            .get("const")
            .into_iter()
            .chain(choice.get("enum").and_then(Json::as_array).into_iter().flatten())
    });
    plain.chain(documented).filter_map(Json::as_str).collect()
}

fn describe(expected: &str, schema: &Json) -> String {
    let choices = choices(schema);
    match expected {
        "object" => "keys with values".to_owned(),
        "array" => "a list".to_owned(),
        "integer" => "a whole number".to_owned(),
        "boolean" => "`true` or `false`".to_owned(),
        "string" if !choices.is_empty() => format!("one of `{}`", choices.join("`, `")),
        "string" if schema.get("format").is_some_and(|format| format == SOCKET_ADDRESS) => {
            "an IP address and a port, such as 127.0.0.1:8080 or [::1]:8080".to_owned()
        }
        "string" => "a text (in quotes where it looks like a number or a word such as `true`)".to_owned(),
        other => other.to_owned(),
    }
}

fn found(tree: &Tree) -> String {
    match &tree.node {
        Node::Scalar(Json::String(text)) => format!("`{}`", text.chars().take(100).collect::<String>()),
        Node::Scalar(scalar) => format!("`{scalar}`"),
        Node::List(_) => "a list".to_owned(),
        Node::Map(_) => "keys with values".to_owned(),
    }
}

/// Full keys that end in `name`, at most three.
fn keys_named(root: &Json, schema: &Json, name: &str, key: &str, out: &mut Vec<String>) {
    let properties = resolve(root, schema).get("properties").and_then(Json::as_object);
    for (inner, schema) in properties.into_iter().flatten() {
        let full = if key.is_empty() { inner.clone() } else { format!("{key}.{inner}") };
        if inner == name && out.len() < 3 {
            out.push(full.clone());
        }
        keys_named(root, schema, name, &full, out);
    }
}

/// The known key that a typing error would turn into this one.
fn most_similar(key: &str, known: &[String]) -> Option<String> {
    let allowed = 1 + key.chars().count() / 4;
    let near = known.iter().map(|other| (distance(&key.to_lowercase(), other), other));
    near.filter(|(distance, _)| *distance <= allowed).min().map(|(_, other)| other.clone())
}

/// Insertions, removals, replacements, and swaps of neighbours (optimal string alignment). Long keys are cut.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().take(64).collect();
    let b: Vec<char> = b.chars().take(64).collect();
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, to) in b.iter().enumerate() {
            let at = |row: &[usize], index: usize| row.get(index).copied().unwrap_or(usize::MAX / 2);
            let mut least =
                (at(&last, j) + usize::from(from != to)).min(at(&last, j + 1) + 1).min(at(&row, j) + 1);
            let swapped = i > 0 && j > 0 && a.get(i - 1) == Some(to) && b.get(j - 1) == Some(from);
            if swapped {
                least = least.min(at(&before_last, j - 1) + 1);
            }
            row.push(least);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{distance, most_similar};

    #[test]
    fn distances_count_typing_errors() {
        for (a, b, expected) in [
            ("", "", 0),
            ("listen", "lisen", 1),
            ("listen", "litsen", 1),
            ("abc", "", 3),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!((distance(a, b), distance(b, a)), (expected, expected), "{a} {b}");
        }
    }

    #[test]
    fn only_what_looks_alike_is_suggested() {
        let known = ["listen", "auth", "tokens", "body_bytes_max"].map(str::to_owned);
        assert_eq!(most_similar("Listn", &known).as_deref(), Some("listen"));
        assert_eq!(most_similar("body_bytes", &known), None);
        assert_eq!(most_similar("body_byte_max", &known).as_deref(), Some("body_bytes_max"));
        assert_eq!(most_similar("port", &known), None);
    }
}
