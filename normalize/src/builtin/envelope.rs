//! Envelopes of syslog-ng: events posted to a custom endpoint whose `MESSAGE` is the
//! real record. The plugins of Zeek, Suricata and Squid open them and make a new event.
//!
//! In: an event without key mapping. Out: the same event with few members. Never: a
//! failure on a record that is no JSON; it stays, whole, in `rawdetails`.

use model::event::{EditError, Event, New, Object, Path, Value};

use crate::plugin::Context;

/// Members that survive whatever a plugin rebuilds: what the chain itself notes.
const ALWAYS: [&str; 3] = ["errors", "mozdef", "tags"];

/// What a rebuilt event always says.
pub(super) struct Header<'h> {
    /// `type`.
    pub(super) kind: &'h str,
    /// `category`.
    pub(super) category: &'h str,
    /// `eventsource`.
    pub(super) eventsource: &'h str,
    /// `source`.
    pub(super) source: &'h str,
}

/// Whether the event came through a custom endpoint under this category.
pub(super) fn is_custom(event: &Event, category: &str) -> bool {
    event.member("customendpoint").is_some() && event.member_str("category") == Some(category)
}

/// Makes `details` of the JSON object, or the text of one, in `message`; without one,
/// `details` is empty and the whole event is kept in `rawdetails`.
pub(super) fn open(event: &mut Event, message: &str) -> Result<(), EditError> {
    let mut record = Event::new();
    let opened = match event.member(message) {
        Some(Value::String(text)) => record.parse(text.as_bytes(), &event.limits()).is_ok(),
        Some(Value::Object(object)) => record.set_member("v", Value::Object(object)).is_ok(),
        _ => false,
    };
    if opened {
        let inner =
            record.member("v").and_then(Value::as_object).filter(|_| event.member_str(message).is_none());
        return event.set_member("details", Value::Object(inner.unwrap_or_else(|| record.root())));
    }
    let original = event.clone();
    event.set_member("rawdetails", Value::Object(original.root()))?;
    event.set_member("details", New::EmptyObject)
}

/// Drops all members but those named, and writes the header.
pub(super) fn rebuild(
    event: &mut Event,
    keep: &[&str],
    header: &Header<'_>,
    context: &Context<'_>,
) -> Result<(), EditError> {
    retain(event, keep);
    event.set_member("type", header.kind)?;
    event.set_member("category", header.category)?;
    event.set_member("eventsource", header.eventsource)?;
    event.set_member("source", header.source)?;
    event.set_member("severity", "INFO")?;
    event.set_member("mozdefhostname", context.hostname)?;
    event.set_member("receivedtimestamp", &context.now.to_string())
}

fn retain(event: &mut Event, keep: &[&str]) {
    fn others(root: Object<'_>, keep: &[&str]) -> Vec<Path> {
        let keys = root.iter().map(|(key, _)| key);
        keys.filter(|key| !keep.contains(key) && !ALWAYS.contains(key))
            .map(|key| Path::from_keys([key]))
            .collect()
    }
    for path in others(event.root(), keep) {
        event.remove(&path);
    }
}
