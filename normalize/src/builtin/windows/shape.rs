//! Which tool wrote a Windows event, and where in it its parts are.
//!
//! In: an event in normal form. Out: its [`Shape`], and its fields by their names. Never: an event taken for one of
//! Windows that has no event id.

use model::event::{Event, Limits, Object, Value};

use super::data::{Fields, number, text_of};
use crate::builtin::details::{detail, detail_str, details};

/// The ways in which events come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// `event: {System, EventData}`, as evtx_dump and other tools write the XML.
    Evtx,
    /// `winlog: {event_id, event_data}`, as winlogbeat writes it since version 7.
    Winlog,
    /// `event_id` and `event_data`, as winlogbeat wrote it before.
    OldWinlog,
    /// Flat, with the XML's data as JSON in a text, as EvtxECmd writes it.
    Payload,
    /// Flat, as nxlog writes it.
    Flat,
}

/// Largest payload that is read, in bytes.
const PAYLOAD_BYTES_MAX: usize = 1 << 20;

impl Shape {
    /// The shape of an event, if it is one of Windows.
    pub(super) fn of(event: &Event) -> Option<Shape> {
        let details = details(event)?;
        let object = |key: &str| details.get(key).and_then(Value::as_object);
        if object("event").and_then(|e| e.get("System")?.as_object()).is_some_and(has_event_id) {
            return Some(Shape::Evtx);
        }
        if object("winlog").is_some_and(|winlog| winlog.get("event_id").is_some()) {
            return Some(Shape::Winlog);
        }
        let has = |key: &str| details.get(key).is_some_and(|value| !value.is_null());
        if has("event_id") && (has("log_name") || object("event_data").is_some()) {
            return Some(Shape::OldWinlog);
        }
        if !has("channel") || details.get("eventid").is_none_or(|id| number(id).is_none()) {
            return None;
        }
        Some(if payload_text(event).is_some() { Shape::Payload } else { Shape::Flat })
    }

    /// Whether the event's own parts are kept apart from what the shipper says, so that they are surer.
    pub(super) fn is_nested(self) -> bool {
        self != Shape::Flat
    }

    /// The shape of an event whose payload is none.
    pub(super) fn without_payload(self) -> Shape {
        if self == Shape::Payload { Shape::Flat } else { self }
    }

    /// The members of `details` that the fields are taken out of.
    pub(super) fn consumed(self) -> &'static [&'static str] {
        match self {
            Shape::Evtx => &["event", "event_attributes"],
            Shape::Winlog => &["winlog"],
            Shape::OldWinlog => {
                &["event_data", "user_data", "event_id", "log_name", "source_name", "computer_name"]
            }
            Shape::Payload => &["payload"],
            Shape::Flat => &["eventid"],
        }
    }

    /// The document inside of a text, for events that have one.
    pub(super) fn payload(self, event: &Event) -> Option<Event> {
        let text = payload_text(event).filter(|_| self == Shape::Payload)?;
        let mut payload = Event::new();
        payload.parse(text.as_bytes(), &Limits::default()).ok()?;
        Some(payload)
    }

    /// All fields of an event.
    pub(super) fn fields<'e>(self, event: &'e Event, payload: Option<&'e Event>) -> Fields<'e> {
        let Some(details) = details(event) else { return Fields::default() };
        match self {
            Shape::Evtx => evtx(details),
            Shape::Winlog => winlog(details),
            Shape::OldWinlog => old_winlog(details),
            Shape::Payload => {
                let mut fields = Fields::beside(Some(details));
                payload.into_iter().for_each(|payload| sections(payload.root(), &mut fields));
                flat(event, &mut fields, Shape::Payload);
                fields
            }
            Shape::Flat => {
                let mut fields = Fields::beside(Some(details));
                flat(event, &mut fields, Shape::Flat);
                fields
            }
        }
    }
}

fn has_event_id(system: Object<'_>) -> bool {
    match system.get("EventID") {
        Some(Value::Object(element)) => text_of(element).is_some_and(|id| number(id).is_some()),
        Some(id) => number(id).is_some(),
        None => false,
    }
}

/// EvtxECmd's payload: a detail, or the summary where there was none.
fn payload_text(event: &Event) -> Option<&str> {
    let is_payload = |text: &&str| {
        let start = text.trim_start();
        text.len() <= PAYLOAD_BYTES_MAX
            && (start.starts_with("{\"EventData\"") || start.starts_with("{\"UserData\""))
    };
    detail_str(event, "payload").filter(is_payload).or_else(|| event.member_str("summary").filter(is_payload))
}

/// The parts with the event's data.
fn sections<'e>(from: Object<'e>, fields: &mut Fields<'e>) {
    for (key, value) in from.iter() {
        match key {
            "EventData" | "event_data" => fields.add_event_data(value),
            "UserData" | "user_data" | "ProcessingErrorData" | "DebugData" => {
                fields.add_nested(key, value, 0)
            }
            _ => {}
        }
    }
}

fn evtx(details: Object<'_>) -> Fields<'_> {
    let mut fields = Fields::default();
    let Some(event) = details.get("event").and_then(Value::as_object) else { return fields };
    sections(event, &mut fields);
    if let Some(system) = event.get("System").and_then(Value::as_object) {
        fields.add_system_part(system);
    }
    let rendered = event.get("RenderingInfo").and_then(Value::as_object).and_then(|info| info.get("Message"));
    if let Some(message) = rendered {
        fields.add_system("Message", message);
    }
    fields
}

/// Winlogbeat's names and the XML's.
const WINLOG: [(&str, &str); 10] = [
    ("channel", "channel"),
    ("event_id", "eventid"),
    ("provider_name", "provider_name"),
    ("provider_guid", "provider_guid"),
    ("computer_name", "computer"),
    ("record_id", "eventrecordid"),
    ("activity_id", "correlation_activityid"),
    ("keywords", "keywords"),
    ("opcode", "opcode"),
    ("task", "task"),
];

fn winlog(details: Object<'_>) -> Fields<'_> {
    let mut fields = Fields::default();
    let Some(winlog) = details.get("winlog").and_then(Value::as_object) else { return fields };
    sections(winlog, &mut fields);
    for (key, value) in winlog.iter() {
        match (WINLOG.iter().find(|(name, _)| *name == key), value) {
            (Some((_, name)), value) => fields.add_system(name, value),
            (None, _) if matches!(key, "event_data" | "user_data") => {}
            (None, Value::Object(part)) => part.iter().for_each(|(inner, value)| match (key, inner) {
                ("process", "pid") => fields.add_system("execution_processid", value),
                ("user", "identifier") => fields.add_system("security_userid", value),
                _ => fields.add_system(&format!("winlog_{key}_{inner}"), value),
            }),
            (None, value) => fields.add_system(&format!("winlog_{key}"), value),
        }
    }
    fields
}

fn old_winlog(details: Object<'_>) -> Fields<'_> {
    let mut fields = Fields::default();
    sections(details, &mut fields);
    let names = [
        ("event_id", "eventid"),
        ("log_name", "channel"),
        ("source_name", "provider_name"),
        ("computer_name", "computer"),
    ];
    for (key, name) in names {
        if let Some(value) = details.get(key) {
            fields.add_system(name, value);
        }
    }
    fields
}

/// Names that the key mapping has put elsewhere; those of the event's data come back under `details`.
fn flat<'e>(event: &'e Event, fields: &mut Fields<'e>, shape: Shape) {
    if shape == Shape::Flat
        && let Some(id) = detail(event, "eventid")
    {
        fields.add_system("eventid", id);
    }
    for of in ["sourcename", "provider", "eventsourcename"] {
        fields.add_alias("provider_name", of);
    }
    let top = |member: &str| event.member_str(member).filter(|text| !text.is_empty()).map(str::to_owned);
    let mut back = vec![("provider_name", "processname"), ("computer", "hostname")];
    if shape == Shape::Flat {
        back.extend([("processid", "processid"), ("path", "eventsource")]);
    }
    for (name, member) in back {
        if let Some(text) = top(member) {
            fields.add_made(name, text);
        }
    }
    fields.add_alias("sourceip", "eventsourceipaddress");
    let sysmon = fields.text("channel").is_some_and(|channel| channel.contains("Sysmon/"));
    match fields.text("eventid").as_deref() {
        Some("12" | "13" | "14" | "17" | "18" | "19" | "20" | "21") if sysmon => {
            let kind = top("category").filter(|word| is_kind(word)).or_else(|| line(event, "EventType"));
            kind.into_iter().for_each(|kind| fields.add_made("eventtype", kind));
            fields.add_alias("details", "message");
        }
        Some("25") if sysmon => {
            top("category").into_iter().for_each(|kind| fields.add_made("type", kind));
        }
        Some("4103") => top("summary").into_iter().for_each(|text| fields.add_made("payload", text)),
        _ => {}
    }
}

/// Whether a word is one of Sysmon's types of event, not a shipper's.
fn is_kind(word: &str) -> bool {
    ["SetValue", "CreateKey", "DeleteKey", "DeleteValue", "RenameKey", "CreatePipe", "ConnectPipe"]
        .contains(&word)
        || word.starts_with("Wmi")
}

/// The value of a line `name: value` of the event's text, where two values of one name met.
fn line(event: &Event, name: &str) -> Option<String> {
    let text = event.member_str("summary")?;
    let found = text.lines().take(64).find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    Some(found.trim().to_owned()).filter(|value| !value.is_empty())
}
