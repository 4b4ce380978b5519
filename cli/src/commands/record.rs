//! A record whole, for people: its place, its headers, its text.

use serde_json::Value;

use crate::output;

/// Prints a record as a question about one answers.
pub(super) fn print(record: &Value) {
    for key in ["time", "position", "bytes"] {
        if let Some(value) = record.get(key) {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            output::line(&format!("{key:12} {}", output::printable(&text)));
        }
    }
    for (name, value) in record.get("headers").and_then(Value::as_object).into_iter().flatten() {
        output::line(&format!("{name:12} {}", output::printable(value.as_str().unwrap_or_default())));
    }
    output::line("");
    let original = record.get("text").and_then(Value::as_str).unwrap_or_default();
    output::line(
        &original.chars().map(|c| if c.is_control() && c != '\n' { '·' } else { c }).collect::<String>(),
    );
    if record.get("text_is_lossy").and_then(Value::as_bool).unwrap_or(false) {
        output::line("(not UTF-8; --json gives the exact bytes as base64)");
    }
}
