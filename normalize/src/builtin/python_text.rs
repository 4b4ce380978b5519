//! Values as Python would print them, because MozDef's documents hold such text:
//! `True` in summaries, and JSON with blanks after `,` and `:` in `raw_value`.
//!
//! In: JSON values. Out: text. Never: anything else than appending.

use std::fmt::Write;

use model::event::Value;

/// Appends a value as `str.format` would: text bare, `True`, `None`; of a list the first element.
pub(super) fn push_plain(out: &mut String, value: Value<'_>) {
    match value {
        Value::Null => out.push_str("None"),
        Value::Bool(true) => out.push_str("True"),
        Value::Bool(false) => out.push_str("False"),
        Value::Number(text) | Value::String(text) => out.push_str(text),
        Value::Array(list) => match list.iter().next() {
            // One step only: a summary needs no more, and recursion here would have no bound.
            Some(first @ (Value::Array(_) | Value::Object(_))) => out.push_str(&first.to_json()),
            Some(first) => push_plain(out, first),
            None => {}
        },
        Value::Object(_) => out.push_str(&value.to_json()),
    }
}

/// Appends JSON as `json.dumps` writes it: blanks after separators, all but ASCII escaped.
/// Depth is bounded by the limits of the event that the value comes from.
pub(super) fn push_json(out: &mut String, value: Value<'_>) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Number(text) => out.push_str(text),
        Value::String(text) => push_string(out, text),
        Value::Array(list) => {
            out.push('[');
            for (index, element) in list.iter().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                push_json(out, element);
            }
            out.push(']');
        }
        Value::Object(object) => {
            out.push('{');
            for (index, (key, member)) in object.iter().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                push_string(out, key);
                out.push_str(": ");
                push_json(out, member);
            }
            out.push('}');
        }
    }
}

fn push_string(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            ' '..='~' => out.push(c),
            _ => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    // Writing to a String cannot fail.
                    let _infallible = write!(out, "\\u{unit:04x}");
                }
            }
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use model::event::Event;

    use super::{push_json, push_plain};

    #[track_caller]
    fn check(json: &str, plain: &str, dumped: &str) {
        let event = Event::from_json(&format!(r#"{{"v":{json}}}"#)).unwrap();
        let value = event.member("v").unwrap();
        let (mut a, mut b) = (String::new(), String::new());
        push_plain(&mut a, value);
        push_json(&mut b, value);
        assert_eq!((a.as_str(), b.as_str()), (plain, dumped), "{json}");
    }

    #[test]
    fn values_print_as_in_python() {
        check("true", "True", "true");
        check("null", "None", "null");
        check("1.50", "1.50", "1.50");
        check(r#""é\u0001\n\"""#, "é\u{1}\n\"", r#""\u00e9\u0001\n\"""#);
        check(r#""😀\u007f""#, "😀\u{7f}", r#""\ud83d\ude00\u007f""#);
        check(r#"["a",{"b":[]}]"#, "a", r#"["a", {"b": []}]"#);
        check("[]", "", "[]");
        check(r#"{"a":1,"b":{}}"#, r#"{"a":1,"b":{}}"#, r#"{"a": 1, "b": {}}"#);
    }
}
