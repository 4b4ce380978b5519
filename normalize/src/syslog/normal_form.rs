//! A syslog message in normal form, shaped as syslog-ng's JSON is after key
//! mapping, so that the same plugins and rules fit.

use model::event::{EditError, Event, New, Path, Value};

use super::{Message, Payload, Shape, payload, severity};
use crate::key_mapping::{Context, write_time};

/// What the event holds already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filling {
    /// Nothing: every field of the header is written.
    Empty,
    /// A mapped payload: the header gives only what is not there.
    Payload,
}

/// Writes the message into `event`. A report in its payload is written too, JSON is not. An error means that the result
/// is too large.
///
/// # Errors
/// [`EditError`] when the event's limits are reached.
pub fn write(
    message: &Message<'_>,
    filling: Filling,
    context: Context<'_>,
    event: &mut Event,
) -> Result<(), EditError> {
    let mut header = Header { event, only_missing: filling == Filling::Payload };
    if filling == Filling::Empty {
        header.event.set_member("receivedtimestamp", context.received)?;
        header.event.set_member("mozdefhostname", context.hostname)?;
        header.event.set_member("details", New::EmptyObject)?;
    }
    header.set("category", "syslog")?;
    header.set("source", "syslog")?;
    header.set("type", "event")?;
    header.times(message, context)?;
    header.fields(message)?;
    structured_data(message, header.event)?;
    if let Some(count) = repeated(message.text) {
        header.detail("repeated", count)?;
    }
    if let Some(Payload::Report(report)) = &message.payload {
        return payload::write(report, message.before_payload, context.reference, header.event);
    }
    match summary(message) {
        Some(summary) => header.set("summary", summary),
        None => Ok(()),
    }
}

/// Writes fields of the header.
struct Header<'e> {
    event: &'e mut Event,
    only_missing: bool,
}

impl Header<'_> {
    fn set(&mut self, member: &str, value: &str) -> Result<(), EditError> {
        if self.only_missing && self.event.member(member).is_some() {
            return Ok(());
        }
        self.event.set_member(member, value)
    }

    fn detail<'v>(&mut self, key: &str, value: impl Into<New<'v>>) -> Result<(), EditError> {
        let details = self.event.member("details").and_then(Value::as_object);
        if self.only_missing && details.is_some_and(|details| details.get(key).is_some()) {
            return Ok(());
        }
        self.event.set_in("details", key, value)
    }

    /// A payload that has a time of its own has both fields.
    fn times(&mut self, message: &Message<'_>, context: Context<'_>) -> Result<(), EditError> {
        if self.only_missing && self.event.member("timestamp").is_some() {
            return Ok(());
        }
        let Some(time) = message.time else { return self.set("utctimestamp", context.received) };
        let mut text = String::with_capacity(32);
        write_time(time, &mut text);
        self.event.set_member("utctimestamp", &text)?;
        self.event.set_member("timestamp", &text)
    }

    fn fields(&mut self, message: &Message<'_>) -> Result<(), EditError> {
        if let Some(hostname) = message.hostname {
            self.set("hostname", hostname)?;
        }
        if let Some(program) = message.program {
            self.set("processname", program)?;
            // A path names a program by its last part.
            let name = if program.starts_with('/') { program.rsplit('/').next() } else { None };
            self.detail("program", name.filter(|name| !name.is_empty()).unwrap_or(program))?;
        }
        if let Some(process_id) = message.process_id {
            self.set("processid", process_id)?;
        }
        if let Some(priority) = message.priority {
            self.set("facility", severity::facility_of(priority))?;
        }
        if let Some(severity) = message.priority.map(severity::of_priority).or(message.severity_word) {
            self.set("severity", severity)?;
        }
        match message.message_id {
            Some(message_id) => self.detail("msgid", message_id),
            None => Ok(()),
        }
    }
}

/// `last message repeated 3 times`, and `message repeated 3 times: [ … ]` as rsyslog writes it.
fn repeated(text: &str) -> Option<u64> {
    let text = text.trim_start_matches(['-', ' ']);
    let count = text.strip_prefix("last ").unwrap_or(text).strip_prefix("message repeated ")?;
    let (count, rest) = count.split_once(' ')?;
    rest.starts_with("time").then(|| count.parse().ok()).flatten()
}

/// The text; where there is none, the structured data. Spaces in front are relays' and programs' habit, not text.
fn summary<'l>(message: &Message<'l>) -> Option<&'l str> {
    let text = if message.shape == Shape::Text { message.text } else { message.text.trim_start_matches(' ') };
    [text, message.data].into_iter().find(|text| !text.is_empty())
}

/// `details.structureddata.<id>.<name>`; a name that stands twice has a list.
fn structured_data(message: &Message<'_>, event: &mut Event) -> Result<(), EditError> {
    const DATA: [&str; 2] = ["details", "structureddata"];
    for element in &message.elements {
        let path = Path::from_keys(DATA.iter().copied().chain([element.id]));
        if event.get(&path).is_none() {
            event.set(&path, New::EmptyObject)?;
        }
        for (name, value) in &element.parameters {
            let path = Path::from_keys(DATA.iter().copied().chain([element.id, *name]));
            if event.get(&path).is_none() {
                event.set(&path, &**value)?;
            } else {
                event.push(&path, &**value)?;
            }
        }
    }
    Ok(())
}
