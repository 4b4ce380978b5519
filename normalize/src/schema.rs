//! The fields that every event has: what is absent after the plugins gets
//! its default.
//!
//! In: an event after the chain. Out: the same with all required fields.
//! Never: a field that is there, whatever its value.

use std::sync::LazyLock;

use model::event::{EditError, Event, New, Path, Value};

const UNKNOWN: &str = "UNKNOWN";

/// Where a required field's default comes from.
#[derive(Clone, Copy)]
enum Required {
    Received,
    Hostname,
    Event,
    Unknown,
    EmptyArray,
    EmptyObject,
}

/// Name and default of each required field but `mozdef`.
const REQUIRED: [(&str, Required); 14] = [
    ("receivedtimestamp", Required::Received),
    ("utctimestamp", Required::Received),
    ("timestamp", Required::Received),
    ("mozdefhostname", Required::Hostname),
    ("type", Required::Event),
    ("tags", Required::EmptyArray),
    ("category", Required::Unknown),
    ("hostname", Required::Unknown),
    ("processid", Required::Unknown),
    ("processname", Required::Unknown),
    ("severity", Required::Unknown),
    ("source", Required::Unknown),
    ("summary", Required::Unknown),
    ("details", Required::EmptyObject),
];

/// Adds the required fields that are absent. `received` is the time of receipt as text.
pub fn complete(event: &mut Event, received: &str, hostname: &str) -> Result<(), EditError> {
    let mut present = 0_u32;
    for (key, _) in event.root().iter() {
        if let Some(index) = REQUIRED.iter().position(|(name, _)| *name == key) {
            present |= 1 << index;
        }
    }
    for (index, (name, default)) in REQUIRED.into_iter().enumerate() {
        if present & (1 << index) != 0 {
            continue;
        }
        let value = match default {
            Required::Received => New::Str(received),
            Required::Hostname => New::Str(hostname),
            Required::Event => New::Str("event"),
            Required::Unknown => New::Str(UNKNOWN),
            Required::EmptyArray => New::EmptyArray,
            Required::EmptyObject => New::EmptyObject,
        };
        event.set_member(name, value)?;
    }
    complete_mozdef(event)
}

/// `mozdef.plugins` is there; a `mozdef` that is no object moves into details, for nothing may be lost.
fn complete_mozdef(event: &mut Event) -> Result<(), EditError> {
    static PLUGINS: LazyLock<Path> = LazyLock::new(|| Path::new("mozdef.plugins"));
    static MOZDEF: LazyLock<Path> = LazyLock::new(|| Path::new("mozdef"));
    static ASIDE: LazyLock<Path> = LazyLock::new(|| Path::new("details.mozdef"));
    match event.member("mozdef") {
        Some(Value::Object(mozdef)) if mozdef.get("plugins").is_some() => return Ok(()),
        Some(Value::Object(_)) | None => {}
        Some(_) => {
            event.rename(&MOZDEF, &ASIDE)?;
        }
    }
    event.set(&PLUGINS, New::EmptyArray)
}

/// Whether a dotted path leads to a value, as the original's helper of this name.
pub fn key_exists(event: &Event, dotted: &str) -> bool {
    event.get(&Path::new(dotted)).is_some()
}

#[cfg(test)]
mod tests {
    use model::event::Event;

    use super::{complete, key_exists};

    #[track_caller]
    fn check(input: &str, expected: &str) {
        let mut event = Event::from_json(input).unwrap();
        complete(&mut event, "T", "h").unwrap();
        assert_eq!(event.to_json(), expected);
    }

    #[test]
    fn what_is_absent_is_added_and_what_is_there_stays() {
        check(
            r#"{"type":null,"foo":1,"mozdef":{"x":1}}"#,
            concat!(
                r#"{"type":null,"foo":1,"mozdef":{"x":1,"plugins":[]},"receivedtimestamp":"T","utctimestamp":"T","#,
                r#""timestamp":"T","mozdefhostname":"h","tags":[],"category":"UNKNOWN","hostname":"UNKNOWN","#,
                r#""processid":"UNKNOWN","processname":"UNKNOWN","severity":"UNKNOWN","source":"UNKNOWN","#,
                r#""summary":"UNKNOWN","details":{}}"#
            ),
        );
    }

    #[test]
    fn a_mozdef_that_is_no_object_moves_into_details() {
        let mut event = Event::from_json(r#"{"mozdef":"x"}"#).unwrap();
        complete(&mut event, "T", "h").unwrap();
        assert!(key_exists(&event, "mozdef.plugins") && key_exists(&event, "details.mozdef"));
        assert!(!key_exists(&event, "details.other") && !key_exists(&event, "mozdef.plugins.x"));
    }
}
