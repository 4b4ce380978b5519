//! stackdriver: log entries that Google Cloud sends through Pub/Sub are told apart.
//!
//! In: events tagged `pubsub` with a `details.logName`. Out: for audit logs, Compute Engine activities and syslog a
//! new event with `category`, source and tag `stackdriver`, and the entry's time. Never: changes to other logs.

use model::event::{Event, Object, Path};

use super::details::details;
use super::rebuilt::{at, begin, has_tag, iso, text_at};
use crate::plugin::{Builtin, Context, Outcome, PluginError};

/// The row of the table.
pub(super) const STACKDRIVER: Builtin =
    Builtin { name: "stackdriver", registration: &["pubsub"], priority: 5, run };

/// `@type` of the payload of audit logs.
const AUDIT_LOG: &str = "type.googleapis.com/google.cloud.audit.AuditLog";

fn run(event: &mut Event, context: &mut Context<'_>) -> Result<Outcome, PluginError> {
    let category = details(event).filter(|_| has_tag(event, "pubsub")).and_then(category).map(str::to_owned);
    let Some(category) = category else { return Ok(Outcome::Unchanged) };
    let old = begin(event)?;
    event.set_member("category", &category)?;
    event.set_member("source", "stackdriver")?;
    event.set_member("customendpoint", "")?;
    for key in ["tags", "details"] {
        if let Some(value) = old.member(key) {
            event.set_member(key, value)?;
        }
    }
    event.push(&Path::from_keys(["tags"]), "stackdriver")?;
    let time = details(&old).and_then(|entry| at(entry, "timestamp"));
    if let Some(time) = time.and_then(|time| iso(time, context)) {
        event.set_member("timestamp", &time)?;
        event.set_member("utctimestamp", &time)?;
    }
    Ok(Outcome::Changed)
}

/// What kind of log an entry is of.
fn category(entry: Object<'_>) -> Option<&str> {
    let log = text_at(entry, "logName")?;
    let last = log.rsplit("%2F").next().and_then(|part| part.rsplit('/').next()).unwrap_or(log);
    if text_at(entry, "protoPayload.@type") == Some(AUDIT_LOG) {
        Some(last)
    } else if last == "activity_log" && entry.get("jsonPayload").is_some() {
        Some("gceactivity")
    } else if last == "syslog" && entry.get("textPayload").is_some() {
        Some("syslog")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::STACKDRIVER;
    use crate::builtin::testing::{check, check_unchanged};

    #[test]
    fn logs_are_told_apart() {
        for (payload, log, category) in [
            (
                r#""protoPayload":{"@type":"type.googleapis.com/google.cloud.audit.AuditLog"}"#,
                "a%2Factivity",
                "activity",
            ),
            (r#""jsonPayload":{}"#, "p/logs/compute.googleapis.com%2Factivity_log", "gceactivity"),
            (r#""textPayload":"x""#, "projects/p/logs/syslog", "syslog"),
        ] {
            let entry = format!(r#"{{{payload},"logName":"{log}","timestamp":"2019-11-21T22:42:25.759Z"}}"#);
            check(
                &STACKDRIVER,
                &format!(r#"{{"tags":["pubsub"],"summary":"gone","details":{entry}}}"#),
                &format!(
                    r#"{{"tags":["pubsub","stackdriver"],"category":"{category}","source":"stackdriver","customendpoint":"",
                        "timestamp":"2019-11-21T22:42:25.759000+00:00","utctimestamp":"2019-11-21T22:42:25.759000+00:00",
                        "details":{entry}}}"#
                ),
            );
        }
    }

    #[test]
    fn other_logs_stay_as_they_are() {
        for event in [
            r#"{"tags":["pubsub"],"category":"c","details":{"logName":"projects/p/logs/other","textPayload":"x"}}"#,
            r#"{"tags":["pubsub"],"details":{"logName":"projects/p/logs/syslog"}}"#,
            r#"{"tags":["pubsub"],"details":{"textPayload":"x"}}"#,
            r#"{"tags":["other"],"details":{"logName":"projects/p/logs/syslog","textPayload":"x"}}"#,
            r#"{"tags":"pubsub"}"#,
        ] {
            check_unchanged(&STACKDRIVER, event);
        }
    }
}
