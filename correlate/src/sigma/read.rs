//! Reading of typed values out of YAML maps, with a finding for each that is
//! not what it should be.
//!
//! In: a node and a key. Out: the value, `None` when absent, null or wrong.
//! Never: a wrong value without a finding.

use crate::finding::{Code, Findings, suggestion};
use crate::sigma::yaml::{Kind, Node};

/// The keys of a block.
pub struct Known<'k> {
    /// Its name, for messages.
    pub block: &'k str,
    /// What it may have.
    pub keys: &'k [&'k str],
    /// What the language has, but this version does not.
    pub later: &'k [&'k str],
}

/// Checks that a block is a map of known keys. False when it is no map.
pub fn keys(block: &Node, known: &Known<'_>, findings: &mut Findings) -> bool {
    let Some(entries) = block.entries() else {
        let message = format!("\"{}\" is a map of keys, not {}", known.block, block.describe());
        findings.add(block.place, Code::WrongType, message);
        return false;
    };
    for entry in entries {
        let key = entry.key.as_str();
        if known.later.contains(&key) {
            findings.add(entry.place, Code::NotYet, format!("not supported yet: {}.{key}", known.block));
        } else if !known.keys.contains(&key) {
            let hint = suggestion(key, known.keys.iter().copied());
            let message = format!("\"{}\" has no key \"{key}\"{hint}", known.block);
            findings.add(entry.place, Code::UnknownKey, message);
        }
    }
    true
}

/// A text.
pub fn text(node: &Node, key: &str, findings: &mut Findings) -> Option<String> {
    let value = node.get(key)?;
    if matches!(value.kind, Kind::Null) {
        return None;
    }
    let found = value.text().map(str::to_owned);
    if found.is_none() {
        findings.add(value.place, Code::WrongType, format!("\"{key}\" is a text, not {}", value.describe()));
    }
    found
}

/// A text that must be there and not be empty.
pub fn required_text(node: &Node, key: &str, findings: &mut Findings) -> Option<String> {
    let before = findings.errors();
    let found = text(node, key, findings).filter(|t| !t.is_empty());
    if found.is_none() && findings.errors() == before {
        findings.add(node.place, Code::MissingKey, format!("\"{key}\" is missing"));
    }
    found
}

/// A word out of a list.
pub fn word(node: &Node, key: &str, allowed: &[&str], findings: &mut Findings) -> Option<String> {
    let found = text(node, key, findings)?;
    if allowed.contains(&found.as_str()) {
        return Some(found);
    }
    let hint = suggestion(&found, allowed.iter().copied());
    let message = format!("\"{key}\" is one of {}, not \"{found}\"{hint}", allowed.join(", "));
    findings.add(node.get(key).map_or(node.place, |v| v.place), Code::NotAllowed, message);
    None
}

/// A list of texts; one text is a list of one.
pub fn texts(node: &Node, key: &str, findings: &mut Findings) -> Vec<String> {
    let Some(value) = node.get(key) else { return Vec::new() };
    let items: Vec<&Node> = match &value.kind {
        Kind::Null => return Vec::new(),
        Kind::List(items) => items.iter().collect(),
        _ => vec![value],
    };
    let mut out = Vec::with_capacity(items.len());
    for item in items {
        match item.text() {
            Some(text) => out.push(text.to_owned()),
            None => {
                let message = format!("\"{key}\" is a list of texts; this is {}", item.describe());
                findings.add(item.place, Code::WrongType, message);
            }
        }
    }
    out
}

/// `true` or `false`.
pub fn boolean(node: &Node, key: &str, findings: &mut Findings) -> Option<bool> {
    let value = node.get(key)?;
    let found = value.boolean();
    if found.is_none() && !matches!(value.kind, Kind::Null) {
        findings.add(
            value.place,
            Code::WrongType,
            format!("\"{key}\" is true or false, not {}", value.describe()),
        );
    }
    found
}

/// A whole number within bounds.
pub fn number(
    node: &Node,
    key: &str,
    range: std::ops::RangeInclusive<u64>,
    findings: &mut Findings,
) -> Option<u64> {
    let value = node.get(key)?;
    let found = value.text().and_then(|t| t.parse::<u64>().ok()).filter(|n| range.contains(n));
    if found.is_none() {
        let message = format!(
            "\"{key}\" is a number from {} to {}, not {}",
            range.start(),
            range.end(),
            value.describe()
        );
        findings.add(value.place, Code::Number, message);
    }
    found
}

/// `30s`, `2m`, `1h`, `7d` (and `500ms`, for tests) in milliseconds.
pub fn milliseconds(text: &str) -> Option<i64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let factor = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.parse::<i64>().ok()?.checked_mul(factor)
}
