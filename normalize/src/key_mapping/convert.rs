//! Values as the mapping wants them: text, numbers by suffix, tags.

use std::sync::LazyLock;

use model::event::{EditError, Event, New, Path, Value};

use crate::marks::{Kind, Marks, excerpt};

static TAGS: LazyLock<Path> = LazyLock::new(|| Path::new("tags"));

/// A value as text: truth as Python wrote it, arrays and objects as JSON; null has none.
pub(super) fn text_of<'v>(value: Value<'v>, scratch: &'v mut String) -> Option<&'v str> {
    match value {
        Value::Null => None,
        Value::Bool(true) => Some("True"),
        Value::Bool(false) => Some("False"),
        Value::Number(text) | Value::String(text) => Some(text),
        Value::Array(_) | Value::Object(_) => {
            *scratch = value.to_json();
            Some(scratch)
        }
    }
}

/// A detail whose name may end in `_int` or `_float`; what is no such number is kept as text, with a remark.
pub(super) fn detail_by_suffix(
    name: &str,
    value: Value<'_>,
    scratch: &mut String,
    output: &mut Event,
    marks: &mut Marks,
) -> Result<(), EditError> {
    let (number, wanted) = if name.ends_with("_int") {
        (integer(value), true)
    } else if name.ends_with("_float") {
        (float(value), true)
    } else {
        (None, false)
    };
    if let Some(number) = number {
        return output.set_in("details", name, number);
    }
    let Some(text) = text_of(value, scratch) else { return Ok(()) };
    if wanted {
        let (name, shown) = (excerpt(name), excerpt(text));
        marks.add(Kind::Number, format!("key mapping: details.{name} is no number, kept as text: {shown}"));
    }
    output.set_in("details", name, text)
}

/// As Python's `int`: text of digits, or a number without its fraction.
fn integer(value: Value<'_>) -> Option<New<'_>> {
    match value {
        Value::Bool(truth) => Some(New::I64(i64::from(truth))),
        Value::String(text) => text.trim().parse().ok().map(New::I64),
        Value::Number(text) => match text.parse() {
            Ok(number) => Some(New::I64(number)),
            Err(_) if text.bytes().all(|c| c.is_ascii_digit()) => Some(New::Value(value)),
            Err(_) => {
                let number: f64 = text.parse().ok()?;
                (number.abs() < 9e15).then_some(New::I64(number.trunc() as i64))
            }
        },
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// As Python's `float`, finite.
fn float(value: Value<'_>) -> Option<New<'_>> {
    match value {
        Value::Bool(truth) => Some(New::F64(f64::from(u8::from(truth)))),
        Value::String(text) => {
            text.trim().parse().ok().filter(|number: &f64| number.is_finite()).map(New::F64)
        }
        Value::Number(_) => Some(New::Value(value)),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Appends: each element of a list, or text that is not empty.
pub(super) fn append_tags(
    value: Value<'_>,
    scratch: &mut String,
    output: &mut Event,
    marks: &mut Marks,
) -> Result<(), EditError> {
    match value {
        Value::Null => Ok(()),
        Value::Array(list) => list.iter().try_for_each(|tag| match tag {
            Value::Array(_) | Value::Object(_) => output.push(&TAGS, tag.to_json().as_str()),
            _ => output.push(&TAGS, tag),
        }),
        Value::String("") => Ok(()),
        Value::String(tag) => output.push(&TAGS, tag),
        Value::Object(object) if object.is_empty() => Ok(()),
        Value::Object(_) => output.push(&TAGS, value.to_json().as_str()),
        Value::Bool(_) | Value::Number(_) => odd_tags(value, scratch, output, marks),
    }
}

/// Replaces; text stays text.
pub(super) fn replace_tags(
    value: Value<'_>,
    scratch: &mut String,
    output: &mut Event,
    marks: &mut Marks,
) -> Result<(), EditError> {
    match value {
        Value::Null | Value::String("") => Ok(()),
        Value::Array(list) if list.is_empty() => Ok(()),
        Value::Object(object) if object.is_empty() => Ok(()),
        Value::Array(_) | Value::String(_) => output.set(&TAGS, value),
        Value::Object(_) => output.set(&TAGS, value.to_json().as_str()),
        Value::Bool(_) | Value::Number(_) => odd_tags(value, scratch, output, marks),
    }
}

fn odd_tags(
    value: Value<'_>,
    scratch: &mut String,
    output: &mut Event,
    marks: &mut Marks,
) -> Result<(), EditError> {
    let Some(text) = text_of(value, scratch) else { return Ok(()) };
    marks.add(
        Kind::Tags,
        format!("key mapping: tags is neither text nor a list, kept as text: {}", excerpt(text)),
    );
    output.push(&TAGS, text)
}
