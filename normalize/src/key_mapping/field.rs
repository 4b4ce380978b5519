//! The names that senders use, as one table by mapping. Names are whole:
//! `load` is not `payload`.

use std::collections::HashMap;
use std::sync::LazyLock;

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
    /// The process id without the brackets around it.
    BareProcessId,
    /// The summary without blanks in front.
    BareSummary,
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

/// Names and what they mean to every mapping but CloudTrail's.
const EVERY: &[(&[&str], Field)] = &[
    (&["message", "summary"], Field::Text("summary")),
    (&["payload"], Field::Payload),
    (&["eventtime", "timestamp", "utctimestamp"], Field::Time),
    (&["hostname", "source_host", "host"], Field::Text("hostname")),
    (&["syslogseverity", "severity", "severityvalue", "level"], Field::Severity),
    (&["pid", "processid"], Field::Text("processid")),
    (&["pname", "processname", "sourcename"], Field::Text("processname")),
    (&["path", "logger", "file"], Field::Text("eventsource")),
    (&["type", "eventtype", "category"], Field::Text("category")),
    (&["fields", "details"], Field::Details),
    (OWN, Field::Ignored),
];

/// Said by MozDef about every event, never by its sender.
const OWN: &[&str] = &["endpoint", "customendpoint", "receivedtimestamp", "mozdefhostname"];

/// What HTTP and AMQP know beyond [`EVERY`].
const EVENT_TASK: &[(&[&str], Field)] = &[
    (&["sourceip"], Field::Detail("eventsourceipaddress")),
    (&["facility"], Field::Facility),
    (&["source"], Field::Raw("source")),
    (&["syslogfacility"], Field::Text("facility")),
    (&["date"], Field::Time),
    (&["priority"], Field::Severity),
    (&["program"], Field::Text("processname")),
    (&["tags"], Field::Tags),
];

/// What SQS and Papertrail know beyond [`EVERY`].
const QUEUE: &[(&[&str], Field)] =
    &[(&["facility", "syslogfacility", "source"], Field::Raw("source")), (&["tags"], Field::TagsAsGiven)];

/// All that CloudTrail's mapping knows.
const CLOUDTRAIL: &[(&[&str], Field)] = &[
    (&["eventtime"], Field::Time),
    (&["eventsource"], Field::Text("hostname")),
    (&["type", "eventtype"], Field::CloudTrailCategory),
    (&["sourceip", "sourceipaddress"], Field::Detail("sourceipaddress")),
    (&["eventname"], Field::CloudTrailName),
    (OWN, Field::Ignored),
];

/// All that messages of SNS know. Their names are taken as they are written.
const SNS: &[(&[&str], Field)] = &[
    (&["type", "category"], Field::Raw("category")),
    (&["processid", "pid"], Field::BareProcessId),
    (&["processname", "pname"], Field::Raw("processname")),
    (&["hostname", "host"], Field::Raw("hostname")),
    (&["time", "timestamp"], Field::Time),
    (&["summary", "payload", "message"], Field::BareSummary),
    (&["source"], Field::Raw("source")),
    (&["fields", "details"], Field::Details),
];

/// What is around a finding of GuardDuty.
const GUARD_DUTY: &[(&[&str], Field)] = &[
    (&["category"], Field::Detail("category")),
    (&["tags"], Field::Detail("tags")),
    (&["summary"], Field::Text("summary")),
    (&["hostname"], Field::Text("hostname")),
    (&["timestamp"], Field::Time),
    (&["details"], Field::Details),
    (&["source"], Field::Ignored),
    (OWN, Field::Ignored),
];

type Table = HashMap<&'static str, Field, foldhash::fast::RandomState>;

fn table(parts: &[&[(&'static [&'static str], Field)]]) -> Table {
    let rows = parts.iter().copied().flatten();
    rows.flat_map(|(names, field)| names.iter().map(|name| (*name, *field))).collect()
}

/// What a cleaned key means to a mapping.
pub(super) fn of(mapping: Mapping, key: &str) -> Field {
    static TABLES: LazyLock<[Table; 5]> = LazyLock::new(|| {
        let (event_task, queue) = (table(&[EVERY, EVENT_TASK]), table(&[EVERY, QUEUE]));
        [event_task, queue, table(&[CLOUDTRAIL]), table(&[SNS]), table(&[GUARD_DUTY])]
    });
    let [event_task, queue, cloudtrail, sns, guard_duty] = &*TABLES;
    let table = match mapping {
        Mapping::EventTask => event_task,
        Mapping::Sqs | Mapping::Papertrail => queue,
        Mapping::CloudTrail => cloudtrail,
        Mapping::Sns => sns,
        Mapping::GuardDuty => guard_duty,
    };
    match table.get(key) {
        Some(field) => *field,
        None if mapping.knows_dotted_names() && detail_suffix(key).is_some() => Field::DetailOfName,
        None => Field::Unknown,
    }
}

/// The x of `details.x` and `fields.x`.
pub(super) fn detail_suffix(key: &str) -> Option<&str> {
    key.strip_prefix("details.").or_else(|| key.strip_prefix("fields.")).filter(|suffix| !suffix.is_empty())
}
