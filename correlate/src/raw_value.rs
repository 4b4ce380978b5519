//! Reads inside `{"raw_value": "<JSON>"}`, as plugins wrap values whose type
//! changes from event to event (CloudTrail's `additionalEventData`).
//!
//! In: a value of an event. Out: the value that was wrapped, where it is JSON.
//! Never: a wrapped value inside a wrapped one, or work for values that are
//! not wrapped.

use model::event::{Event, Limits, Path, Value};

/// The only key of an object that wraps a value.
const KEY: &str = "raw_value";

/// Memory for opened values, used again for the next one.
#[derive(Debug, Default)]
pub(crate) struct Opener {
    json: String,
    event: Event,
}

impl Opener {
    /// The value whose JSON this is.
    pub(crate) fn open(&mut self, text: &str) -> Option<Value<'_>> {
        self.json.clear();
        self.json.extend(["{\"", KEY, "\":", text, "}"]);
        self.event.parse(self.json.as_bytes(), &Limits::MAX).ok()?;
        // Text that brings further members of its own is no JSON value.
        wrapped(Value::Object(self.event.root()))
    }
}

/// The JSON text that a value wraps, if it wraps one.
pub(crate) fn text(value: Value<'_>) -> Option<&str> {
    wrapped(value)?.as_str()
}

fn wrapped(value: Value<'_>) -> Option<Value<'_>> {
    let Value::Object(object) = value else { return None };
    if object.len() == 1 { object.get(KEY) } else { None }
}

/// What `read` makes of the first path that leads into a wrapped value and is not null there. For paths that
/// lead nowhere else.
pub(crate) fn find<T>(event: &Event, paths: &[Path], read: impl Fn(Value<'_>) -> T) -> Option<T> {
    paths.iter().find_map(|path| {
        let mut keys = path.keys();
        let mut at = Value::Object(event.root());
        loop {
            if let Some(text) = text(at) {
                let mut opener = Opener::default();
                let inside = opener.open(text)?;
                return follow(inside, keys).filter(|value| !value.is_null()).map(&read);
            }
            at = member(at, keys.next()?)?;
        }
    })
}

fn follow<'v, 'k>(from: Value<'v>, keys: impl Iterator<Item = &'k str>) -> Option<Value<'v>> {
    keys.into_iter().try_fold(from, member)
}

fn member<'v>(value: Value<'v>, key: &str) -> Option<Value<'v>> {
    if let Value::Object(object) = value { object.get(key) } else { None }
}

#[cfg(test)]
mod tests {
    use model::event::{Event, Path, Value};

    use super::{Opener, find, text};

    #[track_caller]
    fn check(json: &str, expected: Option<&str>) {
        let event = Event::from_json(json).unwrap();
        let mut opener = Opener::default();
        let opened = text(Value::Object(event.root())).and_then(|text| opener.open(text));
        assert_eq!(opened.map(Value::to_json).as_deref(), expected, "{json}");
    }

    #[test]
    fn what_was_wrapped_comes_out() {
        check(r#"{"raw_value":"{\"a\": [1, null]}"}"#, Some(r#"{"a":[1,null]}"#));
        check(r#"{"raw_value":"\"2012-10-17\""}"#, Some(r#""2012-10-17""#));
        check(r#"{"raw_value":"1e400"}"#, Some("1e400"));
        check(r#"{"raw_value":" null "}"#, Some("null"));
    }

    #[test]
    fn what_wraps_nothing_stays_closed() {
        for json in [
            r#"{}"#,
            r#"{"raw_value":1}"#,
            r#"{"raw_value":""}"#,
            r#"{"raw_value":"no JSON"}"#,
            r#"{"raw_value":"1,\"raw_value\":2"}"#,
            r#"{"raw_value":"1}"}"#,
            r#"{"raw_value":"1","b":2}"#,
        ] {
            check(json, None);
        }
        check(&format!(r#"{{"raw_value":"{}"}}"#, "[".repeat(100_000)), None);
    }

    #[test]
    fn paths_lead_into_wrapped_values() {
        let event =
            Event::from_json(r#"{"a":{"b":{"raw_value":"{\"c\":\"x\",\"d\":null}"}},"e":{"raw_value":"7"}}"#);
        let event = event.unwrap();
        let found = |paths: &[&str]| {
            find(&event, &paths.iter().map(|p| Path::new(p)).collect::<Vec<_>>(), |value| value.to_json())
        };
        assert_eq!(found(&["a.b.c"]).as_deref(), Some("\"x\""));
        assert_eq!(found(&["a.b.d", "a.b.none", "a", "e"]).as_deref(), Some("7"));
        assert_eq!(found(&["a.b.d", "z", "a.b.c.d"]), None);
    }
}
