//! Events that a plugin makes anew out of parts of the one it was given.
//!
//! In: the event as it came. Out: an event with its times and marks, to which
//! the plugin adds. Never: values that say nothing: null, or empty text.

use model::event::{EditError, Event, New, Object, Value};

use crate::dates::{self, Reference};
use crate::plugin::Context;

/// Names under `details`, and the dotted path that each value is taken from.
pub(super) type Map = &'static [(&'static str, &'static str)];

/// What every rebuilt event keeps.
const KEPT: [&str; 7] = [
    "receivedtimestamp",
    "utctimestamp",
    "timestamp",
    "mozdefhostname",
    "customendpoint",
    "mozdef",
    "errors",
];

/// Takes the event out, and leaves a new one with empty `details` in its place.
pub(super) fn begin(event: &mut Event) -> Result<Event, EditError> {
    let mut fresh = Event::new();
    fresh.set_limits(&event.limits());
    let old = std::mem::replace(event, fresh);
    for (key, value) in old.root().iter().filter(|(key, _)| KEPT.contains(key)) {
        event.set_member(key, value)?;
    }
    event.set_member("details", New::EmptyObject)?;
    Ok(old)
}

/// Copies values to `details`, each if it says something.
pub(super) fn copy(from: Object<'_>, map: Map, event: &mut Event) -> Result<(), EditError> {
    for (name, path) in map {
        if let Some(value) = at(from, path) {
            event.set_in("details", name, value)?;
        }
    }
    Ok(())
}

/// The value at a dotted path, if it says something.
pub(super) fn at<'v>(from: Object<'v>, dotted: &str) -> Option<Value<'v>> {
    let step = |value: Value<'v>, key: &str| value.as_object()?.get(key);
    let value = dotted.split('.').try_fold(Value::Object(from), step)?;
    (!value.is_null() && value.as_str() != Some("")).then_some(value)
}

/// The text at a dotted path.
pub(super) fn text_at<'v>(from: Object<'v>, dotted: &str) -> Option<&'v str> {
    at(from, dotted)?.as_str()
}

/// Whether a tag is among `tags`, or is all of it.
pub(super) fn has_tag(event: &Event, tag: &str) -> bool {
    match event.member("tags") {
        Some(Value::String(text)) => text == tag,
        Some(Value::Array(tags)) => tags.iter().any(|value| value.as_str() == Some(tag)),
        _ => false,
    }
}

/// A time as the normal form writes it.
pub(super) fn iso(value: Value<'_>, context: &Context<'_>) -> Option<String> {
    dates::to_utc(value, Reference::utc(context.now)).map(|time| time.to_string())
}

#[cfg(test)]
mod tests {
    use model::event::Event;

    use super::{at, begin, copy, has_tag};

    #[test]
    fn a_rebuilt_event_keeps_its_times_and_takes_what_says_something() {
        let mut event = Event::from_json(
            r#"{"utctimestamp":"T","summary":"s","details":{"a":{"b":1,"c":"","d":null,"e":[]},"f":false}}"#,
        )
        .unwrap();
        let old = begin(&mut event).unwrap();
        let details = old.member("details").and_then(|details| details.as_object()).unwrap();
        let map = &[("x", "a.b"), ("y", "a.c"), ("z", "a.d"), ("l", "a.e"), ("f", "f"), ("n", "f.g")];
        copy(details, map, &mut event).unwrap();
        assert_eq!(event.to_json(), r#"{"utctimestamp":"T","details":{"x":1,"l":[],"f":false}}"#);
        assert!(at(details, "a.b").is_some() && at(details, "").is_none());
    }

    #[test]
    fn a_tag_is_alone_or_one_of_several() {
        for (json, expected) in [
            (r#"{"tags":"zoom"}"#, true),
            (r#"{"tags":["a","zoom"]}"#, true),
            (r#"{"tags":"zoomed"}"#, false),
            (r#"{"tags":{"zoom":1}}"#, false),
            (r#"{}"#, false),
        ] {
            assert_eq!(has_tag(&Event::from_json(json).unwrap(), "zoom"), expected, "{json}");
        }
    }
}
