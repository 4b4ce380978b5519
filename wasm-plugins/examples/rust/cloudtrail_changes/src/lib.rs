//! cloudtrail_changes: calls that change something in AWS are told apart from those that only read.
//!
//! In: events of CloudTrail. Out: `details.changes`, and the tag-like `details.action_class` of calls that open something
//! to the world. Never: a second look at what it has marked.

use mozdef_plugin::{Event, Outcome, Plugin};

/// The plugin.
#[derive(Default)]
pub struct CloudTrailChanges;

impl Plugin for CloudTrailChanges {
    const NAME: &'static str = "cloudtrail_changes";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const REGISTRATION: &'static [&'static str] = &["cloudtrail"];
    const PRIORITY: i32 = 30;

    fn on_event(&mut self, event: &mut Event<'_>) -> Result<Outcome, String> {
        let Some(name) = event.str("details.eventname").map(|name| name.into_owned()) else {
            return Ok(Outcome::Keep);
        };
        let reads = ["Get", "List", "Describe", "Head", "Lookup", "BatchGet"];
        event.set("details.changes", !reads.iter().any(|word| name.starts_with(word)));
        if let Some(class) = class(&name) {
            event.set("details.action_class", class);
        }
        Ok(Outcome::Keep)
    }
}

mozdef_plugin::export!(CloudTrailChanges);

fn class(name: &str) -> Option<&'static str> {
    match name {
        "AuthorizeSecurityGroupIngress" | "PutBucketPolicy" | "PutBucketAcl" | "ModifyImageAttribute" => {
            Some("exposure")
        }
        "CreateAccessKey" | "CreateLoginProfile" | "AttachUserPolicy" => Some("access"),
        "StopLogging" | "DeleteTrail" | "DeleteFlowLogs" => Some("evasion"),
        _ => None,
    }
}
