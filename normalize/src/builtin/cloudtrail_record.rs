//! CloudTrail records as AWS writes them, posted by any shipper, become what MozDef's
//! own CloudTrail worker made of them; the plugins registered to `cloudtrail` then follow.
//!
//! In: `details` with `eventversion`, `eventsource`, `eventname` and `awsregion`, also as
//! AWS spells them, and EventBridge's envelope around it. Out:
//! `source`, `type`, `category`, `hostname`, `severity`, `summary`, `details.eventverb`,
//! `details.eventreadonly`. Never: anything for events that MozDef's worker has mapped.

use model::event::{EditError, Event, Object, Path, Value};

use super::details::{detail, detail_path, details};
use super::epoch;
use crate::plugin::{Builtin, Context, Outcome, PluginError};

/// The row of the table; before `lower_keys`, which lowers the keys inside.
pub(super) const CLOUDTRAIL_RECORD: Builtin =
    Builtin { name: "cloudtrail_record", registration: &["eventversion"], priority: 3, run };

fn run(event: &mut Event, _: &mut Context<'_>) -> Result<Outcome, PluginError> {
    if event.member_str("source") == Some("cloudtrail") {
        return Ok(Outcome::Unchanged);
    }
    let Some(details) = details(event) else { return Ok(Outcome::Unchanged) };
    let found = Found::among(details);
    let mapped = found.record.is_some();
    if !mapped && !found.nested && !found.bridged {
        return Ok(Outcome::Unchanged);
    }
    if !mapped {
        if found.bridged {
            lift(event)?;
        }
        // Key mapping has not seen the record's own names.
        event.lower_keys();
        map_inner(event)?;
    }
    describe(event)?;
    event.set_member("source", "cloudtrail")?;
    event.set_member("type", "cloudtrail")?;
    for (key, default) in [("category", "cloudtrail"), ("severity", "INFO")] {
        if event.member_str(key).is_none() {
            event.set_member(key, default)?;
        }
    }
    Ok(Outcome::Changed)
}

/// What makes a record, as text.
#[derive(Clone, Copy)]
struct Record<'e> {
    service: &'e str,
    name: &'e str,
    address: &'e str,
}

/// What `details` holds.
struct Found<'e> {
    /// A record whose names key mapping has lowered.
    record: Option<Record<'e>>,
    /// A record with the names as AWS spells them.
    nested: bool,
    /// Such a record in EventBridge's `detail`.
    bridged: bool,
}

impl<'e> Found<'e> {
    /// One pass over the members, as this is the way of every CloudTrail event.
    fn among(details: Object<'e>) -> Found<'e> {
        let (mut version, mut region, mut service, mut name, mut address) = (None, None, None, None, None);
        let (mut nested, mut bridged) = (false, false);
        for (key, value) in details.iter() {
            match key {
                "eventversion" => version = value.as_str(),
                "awsregion" => region = value.as_str(),
                "eventsource" => service = value.as_str(),
                "eventname" => name = value.as_str(),
                "sourceipaddress" => address = value.as_str(),
                "eventVersion" => nested = is_record(details),
                "detail" => bridged = value.as_object().is_some_and(is_record),
                _ => {}
            }
        }
        let record = match (version, region, service, name) {
            (Some(_), Some(_), Some(service), Some(name)) => {
                Some(Record { service, name, address: address.unwrap_or("unknown") })
            }
            _ => None,
        };
        Found { record, nested, bridged }
    }
}

/// Whether the object has what every record has, as AWS spells it.
fn is_record(object: Object<'_>) -> bool {
    let has_text = |key| object.get(key).is_some_and(|value| value.as_str().is_some());
    ["eventVersion", "eventSource", "eventName", "awsRegion"].into_iter().all(has_text)
}

/// EventBridge has the record under `detail`: its members join those of the envelope, and win.
fn lift(event: &mut Event) -> Result<(), EditError> {
    let path = detail_path("detail");
    let mut record = Event::new();
    match event.get(&path) {
        Some(detail) => record.set_member("detail", detail)?,
        None => return Ok(()),
    }
    event.remove(&path);
    let members = record.member("detail").and_then(Value::as_object);
    for (key, value) in members.into_iter().flat_map(Object::iter) {
        event.set_in("details", key, value)?;
    }
    Ok(())
}

/// What key mapping does with the names of a plain record.
fn map_inner(event: &mut Event) -> Result<(), EditError> {
    if let Some(at) = detail(event, "eventtime").and_then(epoch::instant) {
        epoch::set_times(event, at)?;
        event.remove(&detail_path("eventtime"));
    }
    event.rename(&detail_path("eventtype"), &Path::from_keys(["category"]))?;
    Ok(())
}

/// The summary and the host, where the shipper gave none; the event's name with a
/// capital, its first word, and whether that one only reads.
fn describe(event: &mut Event) -> Result<(), EditError> {
    let Some(record) = details(event).and_then(|details| Found::among(details).record) else { return Ok(()) };
    let summary = format!("{} performed {} in {}", record.address, record.name, record.service);
    let service = record.service.to_owned();
    let (name, lowered) = capitalised(record.name);
    if lowered {
        event.set_in("details", "eventname", &name)?;
    }
    if let Some(verb) = verb(&name) {
        event.set_in("details", "eventverb", verb)?;
        event.set_in("details", "eventreadonly", matches!(verb, "Describe" | "Get" | "List"))?;
    }
    for (key, text) in [("summary", summary), ("hostname", service)] {
        if event.member_str(key).is_none() {
            event.set_member(key, &text)?;
        }
    }
    Ok(())
}

/// The name with its first letter in upper case, and whether it was not before.
fn capitalised(name: &str) -> (String, bool) {
    let mut rest = name.chars();
    let first = rest.next();
    let lowered = first.is_some_and(char::is_lowercase);
    let capital = first.into_iter().flat_map(char::to_uppercase);
    (if lowered { capital.chain(rest).collect() } else { name.to_owned() }, lowered)
}

/// The leading word of `DescribeInstances`: a capital and what is none.
fn verb(name: &str) -> Option<&str> {
    let mut letters = name.char_indices();
    letters.next().filter(|(_, first)| first.is_ascii_uppercase())?;
    let end = letters.find(|(_, c)| c.is_ascii_uppercase()).map_or(name.len(), |(at, _)| at);
    name.get(..end).filter(|verb| verb.len() > 1)
}

#[cfg(test)]
mod tests {
    use super::{CLOUDTRAIL_RECORD, verb};
    use crate::builtin::testing::{check, check_unchanged};

    #[test]
    fn verbs() {
        for (name, expected) in [
            ("DescribeInstances", Some("Describe")),
            ("GetX", Some("Get")),
            ("Decrypt", Some("Decrypt")),
            ("AWSLogin", None),
            ("", None),
            ("x", None),
            ("Ünder", None),
        ] {
            assert_eq!(verb(name), expected, "{name}");
        }
    }

    #[test]
    fn a_plain_record_is_recognised() {
        check(
            &CLOUDTRAIL_RECORD,
            r#"{"category":"AwsApiCall","details":{"eventversion":"1.08","eventsource":"s3.amazonaws.com","eventname":"listThings","awsregion":"us-east-1","sourceipaddress":"1.2.3.4"}}"#,
            r#"{"category":"AwsApiCall","details":{"eventversion":"1.08","eventsource":"s3.amazonaws.com","eventname":"ListThings","awsregion":"us-east-1","sourceipaddress":"1.2.3.4","eventverb":"List","eventreadonly":true},
                "summary":"1.2.3.4 performed listThings in s3.amazonaws.com","hostname":"s3.amazonaws.com","source":"cloudtrail","type":"cloudtrail","severity":"INFO"}"#,
        );
    }

    #[test]
    fn a_record_under_details_is_recognised() {
        check(
            &CLOUDTRAIL_RECORD,
            r#"{"summary":"s","hostname":"h","details":{"eventVersion":"1.08","eventSource":"ec2.amazonaws.com","eventName":"RunInstances","awsRegion":"us-east-1"}}"#,
            r#"{"summary":"s","hostname":"h","details":{"eventversion":"1.08","eventsource":"ec2.amazonaws.com","eventname":"RunInstances","awsregion":"us-east-1","eventverb":"Run","eventreadonly":false},
                "source":"cloudtrail","type":"cloudtrail","category":"cloudtrail","severity":"INFO"}"#,
        );
    }

    #[test]
    fn others_are_left_alone() {
        for event in [
            r#"{}"#,
            r#"{"details":[]}"#,
            r#"{"details":{"eventversion":"2.1","eventsource":"aws:s3","eventname":"ObjectCreated:Put"}}"#,
            r#"{"source":"cloudtrail","details":{"eventversion":"1","eventsource":"a","eventname":"B","awsregion":"c"}}"#,
            r#"{"details":{"eventversion":1,"eventsource":"a","eventname":"B","awsregion":"c"}}"#,
        ] {
            check_unchanged(&CLOUDTRAIL_RECORD, event);
        }
    }
}
