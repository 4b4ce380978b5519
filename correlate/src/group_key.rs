//! Group keys: the values of a correlation's group-by fields, as bytes.
//!
//! In: an event and the fields. Out: one key for each combination of values
//! (a list makes one group for each element), and the values again for the
//! alert. Never: guesses; values compare exactly, addresses in canonical form.
//!
//! ```text
//! key     for each field: unsigned kind, bytes
//! kind    0 text | 1 number, as written | 2 boolean | 3 long value: 16 bytes of digest, then its beginning
//! ```

use std::net::IpAddr;

use model::event::{Event, Value};
use model::ids::AlertId;
use serde_json::Value as Json;

use crate::exact_number;
use crate::raw_value;
use crate::rule::GroupField;
use crate::wire::{Reader, WireError, Writer};

/// Most groups that one event may belong to under one rule.
pub const GROUPS_MAX: usize = 256;

/// Longest value, in bytes, that stands in a key as it is.
const VALUE_BYTES_MAX: usize = 512;

/// Bytes of a longer value that are shown.
const SHOWN_BYTES: usize = 128;

const TEXT: u64 = 0;
const NUMBER: u64 = 1;
const BOOLEAN: u64 = 2;
const LONG: u64 = 3;

/// The groups of one event under one rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Groups {
    /// Distinct keys.
    pub keys: Vec<Vec<u8>>,
    /// Combinations left out because there were more than [`GROUPS_MAX`].
    pub left_out: u64,
}

/// The groups of an event. None when a field has no value. A rule without group-by fields has one group.
pub fn groups(event: &Event, fields: &[GroupField]) -> Groups {
    let mut groups = Groups { keys: vec![Vec::new()], left_out: 0 };
    for field in fields {
        let plain = first_value(event, field).map(parts).filter(|parts| !parts.is_empty());
        let parts = plain.or_else(|| raw_value::find(event, &field.paths, parts)).unwrap_or_default();
        let combinations = groups.keys.len().saturating_mul(parts.len());
        groups.left_out = groups.left_out.saturating_add(combinations.saturating_sub(GROUPS_MAX) as u64);
        let longer = |key: &Vec<u8>| parts.iter().map(|part| [key, &part[..]].concat()).collect::<Vec<_>>();
        groups.keys = groups.keys.iter().flat_map(longer).take(GROUPS_MAX).collect();
    }
    groups
}

/// The value at the first path of a field that has one.
pub(crate) fn first_value<'e>(event: &'e Event, field: &GroupField) -> Option<Value<'e>> {
    field.paths.iter().find_map(|path| event.get(path).filter(|value| !value.is_null()))
}

/// The values of a key, by field.
pub fn values(key: &[u8], fields: &[GroupField]) -> Result<serde_json::Map<String, Json>, WireError> {
    let mut reader = Reader::bare(key);
    let mut values = serde_json::Map::new();
    for field in fields {
        let (kind, bytes) = (reader.unsigned()?, reader.bytes()?);
        values.insert(field.name.clone(), shown(kind, bytes)?);
    }
    reader.finish()?;
    Ok(values)
}

fn shown(kind: u64, bytes: &[u8]) -> Result<Json, WireError> {
    let bytes = if kind == LONG { bytes.get(16..).ok_or(WireError::Truncated)? } else { bytes };
    let text = std::str::from_utf8(bytes).map_err(|_| WireError::Text)?;
    Ok(match kind {
        NUMBER => exact_number::json(text),
        BOOLEAN => Json::from(text == "true"),
        LONG => Json::from(format!("{text}…")),
        _ => Json::from(text),
    })
}

/// The key parts of a value: one, or one for each distinct scalar of a list.
fn parts(value: Value<'_>) -> Vec<Vec<u8>> {
    let Value::Array(list) = value else { return part(value).into_iter().collect() };
    let mut parts = Vec::new();
    for element in list.iter() {
        if let Some(part) = part(element)
            && !parts.contains(&part)
        {
            parts.push(part);
        }
        // One more than can be used, so that what is left out shows.
        if parts.len() > GROUPS_MAX {
            break;
        }
    }
    parts
}

pub(crate) fn part(value: Value<'_>) -> Option<Vec<u8>> {
    match value {
        Value::String(text) => Some(encode(TEXT, canonical_address(text).as_deref().unwrap_or(text))),
        Value::Number(text) => Some(encode(NUMBER, text)),
        Value::Bool(true) => Some(encode(BOOLEAN, "true")),
        Value::Bool(false) => Some(encode(BOOLEAN, "false")),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// IPv6 has many ways to write one address, and some for IPv4 ones.
fn canonical_address(text: &str) -> Option<String> {
    if text.len() > 45 || !text.contains(':') {
        return None;
    }
    text.parse::<IpAddr>().ok().map(|address| address.to_canonical().to_string())
}

fn encode(kind: u64, text: &str) -> Vec<u8> {
    let mut writer = Writer::bare();
    if text.len() <= VALUE_BYTES_MAX {
        writer.unsigned(kind);
        writer.bytes(text.as_bytes());
        return writer.finish();
    }
    writer.unsigned(LONG);
    // Any digest over all of it does; the kind is in it, so that equal text of two kinds differs.
    let digest = AlertId::from_parts(&[b"group value", &[kind as u8], text.as_bytes()]);
    let mut shown = SHOWN_BYTES;
    while !text.is_char_boundary(shown) {
        shown = shown.saturating_sub(1);
    }
    writer.bytes(&[digest.as_bytes(), text.as_bytes().get(..shown).unwrap_or_default()].concat());
    writer.finish()
}

#[cfg(test)]
mod tests {
    use model::event::{Event, Path};

    use super::{GROUPS_MAX, groups, values};
    use crate::rule::GroupField;

    fn fields(names: &[&str]) -> Vec<GroupField> {
        let field = |name: &&str| GroupField { name: (*name).to_owned(), paths: vec![Path::new(name)] };
        names.iter().map(field).collect()
    }

    #[track_caller]
    fn check(json: &str, names: &[&str], expected: &[&str]) {
        let fields = fields(names);
        let groups = groups(&Event::from_json(json).unwrap(), &fields);
        let shown = |key: &Vec<u8>| serde_json::Value::from(values(key, &fields).unwrap()).to_string();
        let got = groups.keys.iter().map(shown).collect::<Vec<_>>();
        assert_eq!(got, expected, "{json}");
    }

    #[test]
    fn values_make_groups() {
        check(r#"{"a":"x"}"#, &["a"], &[r#"{"a":"x"}"#]);
        check(r#"{"a":"x"}"#, &[], &["{}"]);
        check(r#"{"a":{"b":7}}"#, &["a.b"], &[r#"{"a.b":7}"#]);
        check(r#"{"a":18446744073709551616}"#, &["a"], &[r#"{"a":"18446744073709551616"}"#]);
        check(r#"{"a":true,"b":"é"}"#, &["a", "b"], &[r#"{"a":true,"b":"é"}"#]);
    }

    #[test]
    fn lists_make_one_group_for_each_element_and_combine() {
        check(r#"{"a":["x","y","x",null,{}]}"#, &["a"], &[r#"{"a":"x"}"#, r#"{"a":"y"}"#]);
        check(r#"{"a":[1,2],"b":"z"}"#, &["a", "b"], &[r#"{"a":1,"b":"z"}"#, r#"{"a":2,"b":"z"}"#]);
    }

    #[test]
    fn a_missing_field_makes_no_group() {
        for json in [r#"{}"#, r#"{"a":null}"#, r#"{"a":[]}"#, r#"{"a":{"b":1}}"#, r#"{"a":[[1]]}"#] {
            check(json, &["a"], &[]);
        }
        check(r#"{"a":"x"}"#, &["a", "b"], &[]);
    }

    #[test]
    fn the_first_path_with_a_value_counts() {
        let fields = [GroupField { name: "ip".to_owned(), paths: ["x", "y", "z"].map(Path::new).to_vec() }];
        let event = Event::from_json(r#"{"x":null,"y":"1","z":"2"}"#).unwrap();
        let keys = groups(&event, &fields).keys;
        assert_eq!(values(&keys[0], &fields).unwrap()["ip"], "1");
    }

    #[test]
    fn wrapped_values_make_groups_as_plain_ones() {
        let wrapped = r#"{"a":{"raw_value":"{\"b\": [\"x\", 2]}"},"c":{"raw_value":"\"y\""}}"#;
        check(wrapped, &["a.b", "c"], &[r#"{"a.b":"x","c":"y"}"#, r#"{"a.b":2,"c":"y"}"#]);
        check(wrapped, &["c.raw_value"], &[r#"{"c.raw_value":"\"y\""}"#]);
    }

    #[test]
    fn text_and_number_differ_and_addresses_are_canonical() {
        let key = |json: &str| groups(&Event::from_json(json).unwrap(), &fields(&["a"])).keys;
        assert_ne!(key(r#"{"a":"1"}"#), key(r#"{"a":1}"#));
        assert_ne!(key(r#"{"a":"true"}"#), key(r#"{"a":true}"#));
        assert_ne!(key(r#"{"a":"A"}"#), key(r#"{"a":"a"}"#));
        assert_eq!(key(r#"{"a":"2001:DB8:0::1"}"#), key(r#"{"a":"2001:db8::1"}"#));
        assert_eq!(key(r#"{"a":"::ffff:192.0.2.1"}"#), key(r#"{"a":"192.0.2.1"}"#));
        assert_ne!(key(r#"{"a":"not:an:address"}"#), key(r#"{"a":"not::address"}"#));
    }

    #[test]
    fn long_values_and_many_combinations_are_bounded() {
        let long = |tail: &str| format!(r#"{{"a":"{}{tail}"}}"#, "ü".repeat(10_000));
        let key = |json: &str| groups(&Event::from_json(json).unwrap(), &fields(&["a"])).keys;
        assert_ne!(key(&long("1")), key(&long("2")));
        assert_eq!(key(&long("1")), key(&long("1")));
        assert!(key(&long("1"))[0].len() < 200);
        let shown = values(&key(&long("1"))[0], &fields(&["a"])).unwrap();
        assert!(shown["a"].as_str().unwrap().ends_with("ü…"));
        let list = format!("[{}]", (0..100).map(|n| n.to_string()).collect::<Vec<_>>().join(","));
        let event = Event::from_json(&format!(r#"{{"a":{list},"b":{list}}}"#)).unwrap();
        let groups = groups(&event, &fields(&["a", "b"]));
        assert_eq!((groups.keys.len(), groups.left_out), (GROUPS_MAX, 10_000 - GROUPS_MAX as u64));
    }

    #[test]
    fn strange_bytes_are_no_key() {
        for bytes in [&[][..], &[0], &[0, 5, 1], &[3, 2, 1, 1], &[0, 1, 0xff], &[0, 1, b'x', 9]] {
            assert!(values(bytes, &fields(&["a"])).is_err(), "{bytes:?}");
        }
    }
}
