//! CloudTrail records as AWS writes them, posted by any shipper, become what MozDef's
//! own CloudTrail worker made of them; the plugins registered to `cloudtrail` then follow.
//!
//! In: `details` with `eventsource`, `eventname`, `awsregion`, and `eventversion` or the
//! name of an AWS service, also as AWS spells them, and EventBridge's envelope around it. Out:
//! `source`, `type`, `category`, `hostname`, `severity`, `summary`, `details.eventverb`,
//! `details.eventreadonly`. Never: anything for events that MozDef's worker has mapped.

use model::event::{EditError, Event, Object, Path, Value};

use super::details::{detail, detail_path, details};
use super::epoch;
use crate::plugin::{Builtin, Context, Outcome, PluginError};

/// The row of the table; before `lower_keys`, which lowers the keys inside.
pub(super) const CLOUDTRAIL_RECORD: Builtin =
    Builtin { name: "cloudtrail_record", registration: &["awsregion"], priority: 3, run };

fn run(event: &mut Event, _: &mut Context<'_>) -> Result<Outcome, PluginError> {
    if event.member_str("source") == Some("cloudtrail") {
        return Ok(Outcome::Unchanged);
    }
    let Some(members) = details(event) else { return Ok(Outcome::Unchanged) };
    let found = Found::among(members);
    let said = match found.record.map(Said::by) {
        Some(said) => {
            // Here rather than in `lower_keys`, which then has nothing to do and wakes nobody.
            event.lower_keys();
            said
        }
        None if found.nested || found.bridged => {
            // Key mapping has not seen the record's own names.
            if found.bridged {
                lift(event)?;
            }
            event.lower_keys();
            map_inner(event)?;
            match details(event).and_then(|members| Found::among(members).record) {
                Some(record) => Said::by(record),
                None => return Ok(Outcome::Changed),
            }
        }
        None => return Ok(Outcome::Unchanged),
    };
    said.write_to(event)?;
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
                "awsRegion" => nested = is_record(details),
                "detail" => bridged = value.as_object().is_some_and(is_record),
                _ => {}
            }
        }
        let record = match (version, region, service, name) {
            (version, Some(_), Some(service), Some(name)) if version.is_some() || is_service(service) => {
                Some(Record { service, name, address: address.unwrap_or("unknown") })
            }
            _ => None,
        };
        Found { record, nested, bridged }
    }
}

/// Whether the object has what every record has, as AWS spells it.
fn is_record(object: Object<'_>) -> bool {
    let text = |key| object.get(key).and_then(Value::as_str);
    let known = text("eventVersion").is_some() || text("eventSource").is_some_and(is_service);
    known && ["eventSource", "eventName", "awsRegion"].into_iter().all(|key| text(key).is_some())
}

/// Shippers that cut records down leave the version out, but not this.
fn is_service(source: &str) -> bool {
    source.ends_with(".amazonaws.com")
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

/// What a record says about itself.
struct Said {
    summary: String,
    service: String,
    /// The name with a capital, where it had none.
    name: Option<String>,
    /// Its first word, and whether that one only reads.
    verb: Option<(String, bool)>,
}

impl Said {
    fn by(record: Record<'_>) -> Said {
        let name = capitalised(record.name);
        let verb = verb(name.as_deref().unwrap_or(record.name));
        Said {
            summary: [record.address, " performed ", record.name, " in ", record.service].concat(),
            service: record.service.to_owned(),
            verb: verb.map(|verb| (verb.to_owned(), matches!(verb, "Describe" | "Get" | "List"))),
            name,
        }
    }

    /// Summary, host, category and severity only where the shipper gave none.
    fn write_to(&self, event: &mut Event) -> Result<(), EditError> {
        if let Some(name) = &self.name {
            event.set_in("details", "eventname", name)?;
        }
        if let Some((verb, read_only)) = &self.verb {
            event.set_in("details", "eventverb", verb)?;
            event.set_in("details", "eventreadonly", *read_only)?;
        }
        event.set_member("source", "cloudtrail")?;
        event.set_member("type", "cloudtrail")?;
        let defaults = [
            ("summary", &*self.summary),
            ("hostname", &*self.service),
            ("category", "cloudtrail"),
            ("severity", "INFO"),
        ];
        for (key, text) in defaults {
            if event.member_str(key).is_none() {
                event.set_member(key, text)?;
            }
        }
        Ok(())
    }
}

/// The name with its first letter in upper case; `None` when it is so already.
fn capitalised(name: &str) -> Option<String> {
    let mut rest = name.chars();
    let first = rest.next().filter(|first| first.is_lowercase())?;
    Some(first.to_uppercase().chain(rest).collect())
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
