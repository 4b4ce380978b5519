//! Events of Papertrail's search API.
//!
//! In: one element of a result's `events`. Out: an event whose details are that element. Never: a field that the
//! sender's severity or address is lost behind.

use model::event::{EditError, Event, Path};

/// What comes from nobody's log.
const SEVERITY: &str = "INFO";

/// Whether it is what the search API gives; other objects are mapped as they are.
pub(crate) fn is_record(record: &Event) -> bool {
    let has = |key: &str| record.member(key).is_some();
    has("id") && (has("message") || has("received_at"))
}

/// Writes the event, which is then mapped. `account` is the name of the configured account.
pub(crate) fn wrap(record: &Event, account: Option<&str>, event: &mut Event) -> Result<(), EditError> {
    let tags = Path::from_keys(["tags"]);
    for tag in [Some("papertrail"), account].into_iter().flatten() {
        event.push(&tags, tag)?;
    }
    event.set_member("category", "syslog")?;
    event.set_member("details", model::event::New::EmptyObject)?;
    for (key, value) in record.root().iter() {
        event.set_in("details", key, value)?;
    }
    let first = |keys: [&str; 2]| keys.into_iter().find_map(|key| record.member_str(key));
    if let Some(message) = record.member_str("message") {
        event.set_member("summary", &message.replace('\n', " ").replace('\r', ""))?;
    }
    if let Some(time) = first(["generated_at", "received_at"]) {
        event.set_member("utctimestamp", time)?;
    }
    if let Some(hostname) = first(["hostname", "source_name"]) {
        event.set_member("hostname", hostname)?;
    }
    if let Some(program) = record.member_str("program") {
        event.set_member("processname", program)?;
    }
    event.set_member("severity", record.member_str("severity").unwrap_or(SEVERITY))?;
    match record.member_str("source_ip") {
        Some(address) if record.member("sourceipaddress").is_none() => {
            event.set_in("details", "sourceipaddress", address)
        }
        _ => Ok(()),
    }
}
