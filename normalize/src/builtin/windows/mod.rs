//! windows_event: events of the Windows event log, whichever tool took them, in one form.
//!
//! In: evtx_dump's `Event`, winlogbeat's `winlog` and its older names, EvtxECmd's payload, and flat events (nxlog).
//! Out: every field of the event under `details`, its name in lower case and without spaces; `channel`, `eventid`,
//! `provider_name`, `computer` and the like beside them; the names that Sysmon would give to audit events
//! (`audit.rs`); time, host, provider, severity and a summary at the top where the sender gave none. Never: a value
//! lost: what the sender calls the same as a field of the event goes to `details.ecs`.

mod audit;
mod data;
mod shape;
#[cfg(test)]
mod tests;

use model::event::{EditError, Event, Value};

use self::shape::Shape;
use super::details::{detail, detail_str};
use super::rebuilt::iso;
use crate::plugin::{Builtin, Context, Outcome, PluginError};

/// The row of the table. It runs before the plugins that look at addresses under `details`.
pub(super) const WINDOWS_EVENT: Builtin = Builtin {
    name: "windows_event",
    registration: &["EventRecordID", "EventData", "UserData", "event_data", "winlog", "Channel", "log_name"],
    priority: 4,
    run,
};

fn run(event: &mut Event, context: &mut Context<'_>) -> Result<Outcome, PluginError> {
    let Some(shape) = Shape::of(event) else { return Ok(Outcome::Unchanged) };
    let payload = shape.payload(event);
    // A text that only begins like a payload is one field of a flat event.
    let shape = if payload.is_none() { shape.without_payload() } else { shape };
    let mut fields = shape.fields(event, payload.as_ref());
    audit::add_names(&mut fields);
    let json = fields.render(event, shape.consumed());
    let limits = event.limits();
    event.parse(&json, &limits).map_err(|error| PluginError::Input(error.to_string()))?;
    top(event, shape, context)?;
    Ok(Outcome::Changed)
}

/// What stands at the top of an event that its sender left bare.
fn top(event: &mut Event, shape: Shape, context: &Context<'_>) -> Result<(), EditError> {
    let time = detail(event, "systemtime").or_else(|| detail(event, "timecreated"));
    if let Some(time) = time.and_then(|time| iso(time, context))
        && (shape.is_nested() || event.member("timestamp").is_none())
    {
        event.set_member("utctimestamp", &time)?;
        event.set_member("timestamp", &time)?;
    }
    let names =
        [("hostname", "computer"), ("processname", "provider_name"), ("processid", "execution_processid")];
    for (member, name) in names {
        let is_missing = shape.is_nested() || event.member_str(member).is_none_or(str::is_empty);
        if let Some(text) = detail(event, name).and_then(scalar).filter(|_| is_missing) {
            event.set_member(member, &text)?;
        }
    }
    let level = detail(event, "level").and_then(scalar);
    let is_linux = detail_str(event, "channel").is_some_and(|channel| channel.starts_with("Linux-"));
    let system = if is_linux { "linux" } else { "windows" };
    let defaults = [
        ("severity", level.as_deref().and_then(severity)),
        ("category", Some(system)),
        ("source", Some(system)),
    ];
    for (member, value) in defaults {
        if let Some(value) = value.filter(|_| event.member(member).is_none()) {
            event.set_member(member, value)?;
        }
    }
    let is_payload = |text: &str| shape == Shape::Payload && text.starts_with('{');
    let is_text = |text: &str| !text.is_empty() && !is_payload(text);
    if event.member_str("summary").is_some_and(is_text) {
        return Ok(());
    }
    match summary(event, shape) {
        Some(summary) => event.set_member("summary", &summary),
        None => Ok(()),
    }
}

/// A scalar as text.
fn scalar(value: Value<'_>) -> Option<String> {
    match value {
        Value::String(text) | Value::Number(text) if !text.is_empty() => Some(text.to_owned()),
        _ => None,
    }
}

/// The words of Windows' levels; 0 is that of audit events.
fn severity(level: &str) -> Option<&'static str> {
    Some(match level.to_ascii_lowercase().as_str() {
        "1" | "critical" => "CRITICAL",
        "2" | "error" => "ERROR",
        "3" | "warning" => "WARNING",
        "0" | "4" | "information" | "info" => "INFO",
        "5" | "verbose" => "DEBUG",
        _ => return None,
    })
}

/// Most characters of a value that the summary shows.
const SHOWN_MAX: usize = 200;

/// The fields that say most about an event; the first that is there is shown.
const TELLING: [&str; 12] = [
    "commandline",
    "targetobject",
    "targetfilename",
    "imageloaded",
    "queryname",
    "destinationip",
    "scriptblocktext",
    "servicename",
    "taskname",
    "threatname",
    "targetusername",
    "image",
];

/// The event's own text where there is one, else `Microsoft-Windows-Sysmon 1: cmd.exe /c whoami`.
fn summary(event: &Event, shape: Shape) -> Option<String> {
    let own = ["mapdescription", "message"].into_iter().find_map(|key| detail_str(event, key));
    if let Some(text) = own.filter(|_| shape.is_nested()) {
        return Some(text.to_owned());
    }
    let name = detail_str(event, "provider_name").or_else(|| detail_str(event, "channel"))?;
    let id = detail(event, "eventid").and_then(scalar)?;
    let mut text = format!("{name} {id}");
    if let Some(shown) = TELLING.into_iter().find_map(|key| detail_str(event, key)) {
        text.push_str(": ");
        text.extend(shown.chars().take(SHOWN_MAX));
    }
    Some(text)
}
