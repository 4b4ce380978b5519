//! The names that senders use, as one table by mapping. Names are whole:
//! `load` is not `payload`.

use super::Mapping;

/// What a sender's key means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    /// A top-level member, as text.
    Text(&'static str),
    /// A top-level member, as it is.
    Raw(&'static str),
    /// Summary, or a detail where the sender has a summary too.
    Payload,
    /// The event's own time.
    Time,
    /// Source as it is, and facility as text.
    Facility,
    /// Upper-cased text.
    Severity,
    /// Appended to the tags.
    Tags,
    /// The tags, as they are.
    TagsAsGiven,
    /// An object of details.
    Details,
    /// One detail, as it is.
    Detail(&'static str),
    /// `details.x` or `fields.x`: the detail x, converted by x's suffix.
    DetailOfName,
    /// CloudTrail's type: category, and the type is `cloudtrail`.
    CloudTrailCategory,
    /// CloudTrail's event name: also verb and whether it only reads.
    CloudTrailName,
    /// Said by MozDef, never by the sender.
    Ignored,
    /// Into details, as it is.
    Unknown,
}

/// What a cleaned key means to a mapping.
pub(super) fn of(mapping: Mapping, key: &str) -> Field {
    match mapping {
        Mapping::EventTask => match of_event_task(key) {
            Field::Unknown => of_every_mapping(key),
            field => field,
        },
        Mapping::Sqs | Mapping::Papertrail => match of_queue(key) {
            Field::Unknown => of_every_mapping(key),
            field => field,
        },
        Mapping::CloudTrail => of_cloudtrail(key),
    }
}

fn of_every_mapping(key: &str) -> Field {
    match key {
        "message" | "summary" => Field::Text("summary"),
        "payload" => Field::Payload,
        "eventtime" | "timestamp" | "utctimestamp" => Field::Time,
        "hostname" | "source_host" | "host" => Field::Text("hostname"),
        "syslogseverity" | "severity" | "severityvalue" | "level" => Field::Severity,
        "pid" | "processid" => Field::Text("processid"),
        "pname" | "processname" | "sourcename" => Field::Text("processname"),
        "path" | "logger" | "file" => Field::Text("eventsource"),
        "type" | "eventtype" | "category" => Field::Text("category"),
        "fields" | "details" => Field::Details,
        "endpoint" | "customendpoint" | "receivedtimestamp" | "mozdefhostname" => Field::Ignored,
        _ if detail_suffix(key).is_some() => Field::DetailOfName,
        _ => Field::Unknown,
    }
}

fn of_event_task(key: &str) -> Field {
    match key {
        "sourceip" => Field::Detail("eventsourceipaddress"),
        "facility" => Field::Facility,
        "source" => Field::Raw("source"),
        "syslogfacility" => Field::Text("facility"),
        "date" => Field::Time,
        "priority" => Field::Severity,
        "program" => Field::Text("processname"),
        "tags" => Field::Tags,
        _ => Field::Unknown,
    }
}

fn of_queue(key: &str) -> Field {
    match key {
        "facility" | "syslogfacility" | "source" => Field::Raw("source"),
        "tags" => Field::TagsAsGiven,
        _ => Field::Unknown,
    }
}

fn of_cloudtrail(key: &str) -> Field {
    match key {
        "eventtime" => Field::Time,
        "eventsource" => Field::Text("hostname"),
        "type" | "eventtype" => Field::CloudTrailCategory,
        "sourceip" | "sourceipaddress" => Field::Detail("sourceipaddress"),
        "eventname" => Field::CloudTrailName,
        "endpoint" | "customendpoint" | "receivedtimestamp" | "mozdefhostname" => Field::Ignored,
        _ => Field::Unknown,
    }
}

/// The x of `details.x` and `fields.x`.
pub(super) fn detail_suffix(key: &str) -> Option<&str> {
    key.strip_prefix("details.").or_else(|| key.strip_prefix("fields.")).filter(|suffix| !suffix.is_empty())
}
