//! CloudTrail records as AWS writes them, posted by any shipper, become what MozDef's
//! own CloudTrail worker made of them; the plugins registered to `cloudtrail` then follow.
//!
//! In: `details` with `eventversion`, `eventsource`, `eventname` and `awsregion`, also as
//! AWS spells them, and EventBridge's envelope around it. Out:
//! `source`, `type`, `category`, `hostname`, `severity`, `summary`, `details.eventverb`,
//! `details.eventreadonly`. Never: anything for events that MozDef's worker has mapped.

use model::event::{EditError, Event, Object, Path, Value};

use super::details::{detail, detail_path, detail_str, details};
use super::epoch;
use crate::plugin::{Builtin, Context, Outcome, PluginError};

/// The row of the table; before `lower_keys`, which lowers the keys inside.
pub(super) const CLOUDTRAIL_RECORD: Builtin =
    Builtin { name: "cloudtrail_record", registration: &["eventversion"], priority: 3, run };

/// What every record has, after key mapping.
const MAPPED: [&str; 4] = ["eventversion", "eventsource", "eventname", "awsregion"];

/// The same where key mapping has not been: inside of something.
const AS_WRITTEN: [&str; 4] = ["eventVersion", "eventSource", "eventName", "awsRegion"];

fn run(event: &mut Event, _: &mut Context<'_>) -> Result<Outcome, PluginError> {
    if event.member_str("source") == Some("cloudtrail") {
        return Ok(Outcome::Unchanged);
    }
    let Some(details) = details(event) else { return Ok(Outcome::Unchanged) };
    let is_bridged =
        details.get("detail").and_then(Value::as_object).is_some_and(|detail| has_shape(detail, &AS_WRITTEN));
    let is_nested = has_shape(details, &AS_WRITTEN);
    if !is_bridged && !is_nested && !has_shape(details, &MAPPED) {
        return Ok(Outcome::Unchanged);
    }
    if is_bridged {
        lift(event)?;
    }
    if is_bridged || is_nested {
        // Key mapping has not seen the record's own names.
        event.lower_keys();
        map_inner(event)?;
    }
    describe(event)?;
    name_verb(event)?;
    event.set_member("source", "cloudtrail")?;
    event.set_member("type", "cloudtrail")?;
    for (key, default) in [("category", "cloudtrail"), ("severity", "INFO")] {
        if event.member_str(key).is_none() {
            event.set_member(key, default)?;
        }
    }
    Ok(Outcome::Changed)
}

fn has_shape(record: Object<'_>, shape: &[&str]) -> bool {
    shape.iter().all(|key| record.get(key).is_some_and(|value| value.as_str().is_some()))
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

/// The summary and the host, where the shipper gave none.
fn describe(event: &mut Event) -> Result<(), EditError> {
    let text = |key| detail_str(event, key).unwrap_or("unknown");
    let service = text("eventsource").to_owned();
    if event.member_str("summary").is_none() {
        let summary = format!("{} performed {} in {service}", text("sourceipaddress"), text("eventname"));
        event.set_member("summary", &summary)?;
    }
    if event.member_str("hostname").is_none() {
        event.set_member("hostname", &service)?;
    }
    Ok(())
}

/// The event's name with a capital, its first word, and whether that one only reads.
fn name_verb(event: &mut Event) -> Result<(), EditError> {
    let Some(name) = detail_str(event, "eventname") else { return Ok(()) };
    let Some((name, lowered)) = capitalised(name) else { return Ok(()) };
    let verb = verb(&name).map(str::to_owned);
    if lowered {
        event.set_in("details", "eventname", &name)?;
    }
    if let Some(verb) = verb {
        event.set_in("details", "eventverb", &verb)?;
        event.set_in("details", "eventreadonly", matches!(&*verb, "Describe" | "Get" | "List"))?;
    }
    Ok(())
}

/// The name with its first letter in upper case, and whether it was not before.
fn capitalised(name: &str) -> Option<(String, bool)> {
    let first = name.chars().next()?;
    let mut out = String::with_capacity(name.len());
    out.extend(first.to_uppercase());
    out.push_str(name.get(first.len_utf8()..)?);
    let lowered = out != name;
    Some((out, lowered))
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
