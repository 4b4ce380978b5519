//! stackdriver_audit and stackdriver_gceactivity: who did what to which resource in Google Cloud.
//!
//! In: events that `stackdriver` has found to be of these logs. Out: the payload under another name, its main fields
//! directly under `details`, and a summary. Never: changes to other events.

use model::event::{Event, Path};

use super::details::{detail_path, detail_str, details};
use super::rebuilt::{Map, at, has_tag};
use crate::plugin::{Builtin, Context, Outcome, PluginError};

/// The row of the audit logs.
pub(super) const STACKDRIVER_AUDIT: Builtin =
    Builtin { name: "stackdriver_audit", registration: &["stackdriver"], priority: 15, run: audit };

/// The row of Compute Engine's activities.
pub(super) const STACKDRIVER_GCE_ACTIVITY: Builtin = Builtin {
    name: "stackdriver_gceactivity",
    registration: &["stackdriver"],
    priority: 16,
    run: gce_activity,
};

const UNKNOWN: &str = "UNKNOWN";

/// What makes the summary, and is `UNKNOWN` where it is missing.
const NAMED: [&str; 3] = ["username", "action", "resourcename"];

/// Of audit logs.
const AUDIT: Map = &[
    ("username", "gaudit.authenticationInfo.principalEmail"),
    ("action", "gaudit.methodName"),
    ("service", "gaudit.serviceName"),
    ("serviceData", "gaudit.serviceData"),
    ("resourcename", "gaudit.resourceName"),
    ("resourcetype", "resource.type"),
    ("projectid", "resource.labels.project_id"),
    ("logname", "logName"),
    ("sdreceivetimestamp", "receiveTimestamp"),
    ("sourceipaddress", "gaudit.requestMetadata.callerIp"),
];

/// Of Compute Engine's activities.
const GCE_ACTIVITY: Map = &[
    ("username", "gceactivity.actor.user"),
    ("action", "gceactivity.event_subtype"),
    ("actiongroup", "gceactivity.event_type"),
    ("resourcename", "gceactivity.resource.name"),
    ("resourcetype", "gceactivity.resource.type"),
    ("resourceid", "gceactivity.resource.id"),
    ("projectid", "resource.labels.project_id"),
    ("logname", "logName"),
    ("sdreceivetimestamp", "receiveTimestamp"),
];

fn audit(event: &mut Event, _: &mut Context<'_>) -> Result<Outcome, PluginError> {
    if !matches!(event.member_str("category"), Some("activity" | "data_access")) {
        return Ok(Outcome::Unchanged);
    }
    unfold(event, "protoPayload", "gaudit", AUDIT)
}

fn gce_activity(event: &mut Event, _: &mut Context<'_>) -> Result<Outcome, PluginError> {
    if event.member_str("category") != Some("gceactivity") {
        return Ok(Outcome::Unchanged);
    }
    let outcome = unfold(event, "jsonPayload", "gceactivity", GCE_ACTIVITY)?;
    if outcome == Outcome::Changed {
        event.set_in("details", "service", "compute.googleapis.com")?;
    }
    Ok(outcome)
}

/// Moves the payload, copies its fields and writes the summary.
fn unfold(event: &mut Event, payload: &str, name: &str, map: Map) -> Result<Outcome, PluginError> {
    if !has_tag(event, "stackdriver") || !event.rename(&detail_path(payload), &detail_path(name))? {
        return Ok(Outcome::Unchanged);
    }
    for (to, from) in map {
        let from = Path::from_keys(std::iter::once("details").chain(from.split('.')));
        event.copy(&from, &detail_path(to))?;
    }
    for key in NAMED {
        if details(event).is_some_and(|details| at(details, key).is_none()) {
            event.set_in("details", key, UNKNOWN)?;
        }
    }
    let [username, action, resource] = NAMED.map(|key| detail_str(event, key).unwrap_or(UNKNOWN));
    let summary = format!("{username} executed {action} on {resource}");
    event.set_member("summary", &summary)?;
    Ok(Outcome::Changed)
}

#[cfg(test)]
mod tests {
    use super::{STACKDRIVER_AUDIT, STACKDRIVER_GCE_ACTIVITY};
    use crate::builtin::testing::{check, check_unchanged};

    #[test]
    fn who_did_what_to_which_resource() {
        check(
            &STACKDRIVER_AUDIT,
            r#"{"category":"activity","tags":["stackdriver"],"details":{"logName":"l","protoPayload":{"methodName":"m","requestMetadata":{"callerIp":"192.0.2.1"}}}}"#,
            r#"{"category":"activity","tags":["stackdriver"],"summary":"UNKNOWN executed m on UNKNOWN","details":{"logName":"l","logname":"l",
                "gaudit":{"methodName":"m","requestMetadata":{"callerIp":"192.0.2.1"}},"sourceipaddress":"192.0.2.1",
                "action":"m","username":"UNKNOWN","resourcename":"UNKNOWN"}}"#,
        );
        check(
            &STACKDRIVER_GCE_ACTIVITY,
            r#"{"category":"gceactivity","tags":["stackdriver"],"details":{"jsonPayload":{"actor":{"user":"u"},"resource":{"name":"r"}}}}"#,
            r#"{"category":"gceactivity","tags":["stackdriver"],"summary":"u executed UNKNOWN on r","details":{
                "gceactivity":{"actor":{"user":"u"},"resource":{"name":"r"}},"service":"compute.googleapis.com",
                "action":"UNKNOWN","username":"u","resourcename":"r"}}"#,
        );
    }

    #[test]
    fn other_events_stay_as_they_are() {
        for event in [
            r#"{"category":"activity","tags":["x"],"details":{"protoPayload":{}}}"#,
            r#"{"category":"other","tags":["stackdriver"],"details":{"protoPayload":{}}}"#,
            r#"{"category":"activity","tags":["stackdriver"],"details":{"jsonPayload":{}}}"#,
            r#"{"category":"gceactivity","tags":["stackdriver"],"details":7}"#,
        ] {
            check_unchanged(&STACKDRIVER_AUDIT, event);
            if !event.contains("jsonPayload") {
                check_unchanged(&STACKDRIVER_GCE_ACTIVITY, event);
            }
        }
    }
}
