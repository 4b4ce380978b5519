//! What CEF and LEEF have in common, and its normal form: `details` has the keys as they came, lower-cased and in
//! their short form, dates in ISO form, and each labelled field under its label's name too.
//!
//! In: a report, the event with the header's fields. Out: summary, severity, time and details.
//! Never: an empty value; a key that takes the place of another.

use std::borrow::Cow;

use model::event::{EditError, Event};
use model::time::Timestamp;

use super::java_dates;
use crate::dates::{self, Reference};
use crate::key_mapping::write_time;

/// Most pairs that are read; what follows stays in the last value.
pub(super) const FIELDS_MAX: usize = 1000;

/// Longest name that is made of a label, in characters.
const LABEL_CHARS_MAX: usize = 64;

/// Most labels that are followed; no format has as many.
const LABELS_MAX: usize = 100;

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// ArcSight's.
    Cef,
    /// IBM's.
    Leef,
}

impl Family {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Family::Cef => "CEF",
            Family::Leef => "LEEF",
        }
    }
}

/// A message of CEF or LEEF.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report<'l> {
    /// Which of the two.
    pub family: Family,
    /// The format's version.
    pub version: Cow<'l, str>,
    /// Who made the device.
    pub vendor: Cow<'l, str>,
    /// What the device is.
    pub product: Cow<'l, str>,
    /// Its version.
    pub device_version: Cow<'l, str>,
    /// What kind of event it is: signature, rule or class.
    pub id: Cow<'l, str>,
    /// The event's name for people; LEEF has none.
    pub name: Option<Cow<'l, str>>,
    /// CEF's severity: 0 to 10, or a word.
    pub severity: Option<Cow<'l, str>>,
    /// Keys and values, in order.
    pub fields: Vec<(&'l str, Cow<'l, str>)>,
    /// What stands where pairs should, and is none.
    pub loose: &'l str,
}

/// Long names that some senders write in the place of the short ones, lower case.
const SHORT_NAMES: [(&str, &str); 21] = [
    ("applicationprotocol", "app"),
    ("destinationaddress", "dst"),
    ("destinationhostname", "dhost"),
    ("destinationport", "dpt"),
    ("destinationusername", "duser"),
    ("deviceaction", "act"),
    ("deviceaddress", "dvc"),
    ("deviceeventcategory", "cat"),
    ("devicehostname", "dvchost"),
    ("devicereceipttime", "rt"),
    ("endtime", "end"),
    ("eventoutcome", "outcome"),
    ("filename", "fname"),
    ("message", "msg"),
    ("requesturl", "request"),
    ("sourceaddress", "src"),
    ("sourcehostname", "shost"),
    ("sourceport", "spt"),
    ("sourceusername", "suser"),
    ("starttime", "start"),
    ("transportprotocol", "proto"),
];

/// Fields that are dates, by their lower-case names.
const DATES: [&str; 12] = [
    "rt",
    "start",
    "end",
    "art",
    "mrt",
    "devtime",
    "filecreatetime",
    "filemodificationtime",
    "oldfilecreatetime",
    "oldfilemodificationtime",
    "devicecustomdate1",
    "devicecustomdate2",
];

/// MozDef's own names, which its plugins and rules know, beside those of the formats.
const MOZDEF_NAMES: [(&str, &str); 5] = [
    ("spt", "sourceport"),
    ("dpt", "destinationport"),
    ("srcport", "sourceport"),
    ("dstport", "destinationport"),
    ("usrname", "username"),
];

/// Writes the report over what the header gave.
pub(in super::super) fn write(
    report: &Report<'_>,
    before: &str,
    reference: Reference,
    event: &mut Event,
) -> Result<(), EditError> {
    let mut names = Vec::with_capacity(report.fields.len());
    for (key, _) in &report.fields {
        names.push(name(key));
    }
    let value = |wanted: &str| {
        let at = names.iter().rposition(|name| *name == wanted)?;
        report.fields.get(at).map(|(_, value)| &**value).filter(|value| !value.is_empty())
    };
    event.set_member("summary", &summary(report, value("msg")))?;
    if let Some(word) = report.severity.as_deref().or_else(|| value("sev")).and_then(severity) {
        event.set_member("severity", word)?;
    }
    let device = value("dvchost").or_else(|| value("dvc")).or_else(|| value("identhostname"));
    if let Some(host) = device.filter(|_| event.member("hostname").is_none()) {
        event.set_member("hostname", host)?;
    }
    time(report, value, reference, event)?;
    head(report, before, event)?;
    for (name, (_, text)) in names.iter().zip(&report.fields) {
        field(name, text, reference, event)?;
    }
    // Once all that the sender named is there, so that nothing of it is displaced.
    let labels = names.iter().zip(&report.fields).filter(|(name, _)| name.ends_with("label"));
    labels.take(LABELS_MAX).try_for_each(|(name, (_, text))| label(name, text, value, event))
}

/// The name in `details`.
fn name(key: &str) -> Cow<'_, str> {
    let lower: Cow<'_, str> = if key.bytes().any(|c| c.is_ascii_uppercase()) {
        key.to_ascii_lowercase().into()
    } else {
        key.into()
    };
    match SHORT_NAMES.binary_search_by(|(long, _)| (*long).cmp(&lower)) {
        Ok(at) => SHORT_NAMES.get(at).map_or(lower, |(_, short)| Cow::Borrowed(*short)),
        Err(_) => lower,
    }
}

fn summary(report: &Report<'_>, message: Option<&str>) -> String {
    let name = match &report.name {
        Some(name) if !name.is_empty() => name.clone().into_owned(),
        _ => {
            let parts = [&*report.vendor, &*report.product, &*report.id];
            parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
        }
    };
    match message.filter(|message| *message != name) {
        Some(message) => format!("{name}: {message}"),
        None => name,
    }
}

/// 0 to 3 is informational, 4 to 6 a warning, 7 and 8 an error, 9 and 10 critical.
fn severity(text: &str) -> Option<&'static str> {
    let by_number = |number: u32| match number {
        0..=3 => Some("INFO"),
        4..=6 => Some("WARNING"),
        7..=8 => Some("ERROR"),
        9..=10 => Some("CRITICAL"),
        _ => None,
    };
    if let Ok(number) = text.parse() {
        return by_number(number);
    }
    match text.to_ascii_lowercase().as_str() {
        "low" => Some("INFO"),
        "medium" => Some("WARNING"),
        "high" => Some("ERROR"),
        "very-high" | "very high" | "critical" => Some("CRITICAL"),
        _ => None,
    }
}

/// The device's time of the event beats the header's; begin and end of it serve where there is no other.
fn time<'r>(
    report: &Report<'_>,
    value: impl Fn(&str) -> Option<&'r str>,
    reference: Reference,
    event: &mut Event,
) -> Result<(), EditError> {
    let read = |name: &str| value(name).and_then(|text| dates::from_text(text, reference));
    let own = match report.family {
        Family::Cef => read("rt"),
        Family::Leef => {
            let by_pattern = value("devtime").zip(value("devtimeformat"));
            by_pattern
                .and_then(|(date, pattern)| java_dates::read(date, pattern, reference))
                .or_else(|| read("devtime"))
        }
    };
    let has_time = event.member("timestamp").is_some();
    let Some(time) = own.or_else(|| if has_time { None } else { read("end").or_else(|| read("start")) })
    else {
        return Ok(());
    };
    let text = iso(time);
    event.set_member("utctimestamp", &text)?;
    event.set_member("timestamp", &text)
}

fn iso(time: Timestamp) -> String {
    let mut text = String::with_capacity(32);
    write_time(time, &mut text);
    text
}

/// The header's fields.
fn head(report: &Report<'_>, before: &str, event: &mut Event) -> Result<(), EditError> {
    let format = match report.family {
        Family::Cef => ["cefversion", "signatureid"],
        Family::Leef => ["leefversion", "eventid"],
    };
    let [version, id] = format;
    let rows = [
        (version, &*report.version),
        ("devicevendor", &*report.vendor),
        ("deviceproduct", &*report.product),
        ("deviceversion", &*report.device_version),
        (id, &*report.id),
        ("name", report.name.as_deref().unwrap_or_default()),
        ("severity", report.severity.as_deref().unwrap_or_default()),
        ("prefix", before),
        ("unparsed", report.loose),
    ];
    rows.into_iter()
        .filter(|(_, text)| !text.is_empty())
        .try_for_each(|(name, text)| event.set_in("details", name, text))
}

fn field(name: &str, text: &str, reference: Reference, event: &mut Event) -> Result<(), EditError> {
    if text.is_empty() {
        return Ok(());
    }
    let date = if DATES.contains(&name) { dates::from_text(text, reference) } else { None };
    if let Some(time) = date {
        return event.set_in("details", name, &iso(time));
    }
    event.set_in("details", name, text)?;
    match MOZDEF_NAMES.iter().find(|(known, _)| *known == name) {
        Some((_, own)) => set_if_free(own, text, event),
        None => Ok(()),
    }
}

/// `cs1Label=Policy cs1=strict`: the detail `policy` is `strict`.
fn label<'r>(
    name: &str,
    text: &str,
    value: impl Fn(&str) -> Option<&'r str>,
    event: &mut Event,
) -> Result<(), EditError> {
    let Some(labelled) = name.strip_suffix("label").filter(|labelled| !labelled.is_empty()) else {
        return Ok(());
    };
    let Some(value) = value(labelled) else { return Ok(()) };
    let own = label_name(text);
    if own.is_empty() { Ok(()) } else { set_if_free(&own, value, event) }
}

fn set_if_free(name: &str, text: &str, event: &mut Event) -> Result<(), EditError> {
    let details = event.member("details").and_then(model::event::Value::as_object);
    if details.is_some_and(|details| details.get(name).is_some()) {
        return Ok(());
    }
    event.set_in("details", name, text)
}

/// Lower case; whatever is neither letter nor digit becomes one `_`.
fn label_name(label: &str) -> String {
    let mut name = String::with_capacity(label.len().min(LABEL_CHARS_MAX));
    for c in label.chars().take(LABEL_CHARS_MAX) {
        if c.is_alphanumeric() {
            name.extend(c.to_lowercase());
        } else if !name.is_empty() && !name.ends_with('_') {
            name.push('_');
        }
    }
    name.truncate(name.trim_end_matches('_').len());
    name
}

#[cfg(test)]
mod tests {
    use super::SHORT_NAMES;

    #[test]
    fn long_names_are_sorted() {
        assert!(SHORT_NAMES.is_sorted());
    }
}
