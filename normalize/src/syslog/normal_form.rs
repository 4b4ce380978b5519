//! A syslog message in normal form, shaped as syslog-ng's JSON is after key
//! mapping, so that the same plugins and rules fit.

use model::event::{EditError, Event, New, Path};

use super::{Message, Shape, severity};
use crate::key_mapping::{Context, write_time};

/// Writes the message into `event`, which is empty. An error means that the result is too large.
///
/// # Errors
/// [`EditError`] when the event's limits are reached.
pub fn write(message: &Message<'_>, context: Context<'_>, event: &mut Event) -> Result<(), EditError> {
    event.set_member("receivedtimestamp", context.received)?;
    event.set_member("mozdefhostname", context.hostname)?;
    event.set_member("details", New::EmptyObject)?;
    event.set_member("category", "syslog")?;
    event.set_member("source", "syslog")?;
    event.set_member("type", "event")?;
    if let Some(summary) = summary(message) {
        event.set_member("summary", summary)?;
    }
    match message.time {
        Some(time) => {
            let mut text = String::with_capacity(32);
            write_time(time, &mut text);
            event.set_member("utctimestamp", &text)?;
            event.set_member("timestamp", &text)?;
        }
        None => event.set_member("utctimestamp", context.received)?,
    }
    if let Some(hostname) = message.hostname {
        event.set_member("hostname", hostname)?;
    }
    if let Some(program) = message.program {
        event.set_member("processname", program)?;
        // A path names a program by its last part.
        let name = if program.starts_with('/') { program.rsplit('/').next() } else { None };
        event.set_in("details", "program", name.filter(|name| !name.is_empty()).unwrap_or(program))?;
    }
    if let Some(process_id) = message.process_id {
        event.set_member("processid", process_id)?;
    }
    if let Some(priority) = message.priority {
        event.set_member("facility", severity::facility_of(priority))?;
    }
    if let Some(severity) = message.priority.map(severity::of_priority).or(message.severity_word) {
        event.set_member("severity", severity)?;
    }
    if let Some(message_id) = message.message_id {
        event.set_in("details", "msgid", message_id)?;
    }
    structured_data(message, event)
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
