//! What the original's workers of queues said about every event: the queue's name as a tag; and findings of GuardDuty.
//!
//! In: an event of a queue. Out: more of its normal form. Never: a tag lost.

use std::sync::LazyLock;

use model::aws::Finding;
use model::event::{EditError, Event, Object, Path, Value};

use super::convert::text_of;

static TAGS: LazyLock<Path> = LazyLock::new(|| Path::new("tags"));

/// The severity and the tag of every message.
pub(super) fn prepare(output: &mut Event, queue: Option<&str>) -> Result<(), EditError> {
    output.set_member("severity", "INFO")?;
    tag(output, queue)
}

/// The queue's name after the tags that the sender gave.
pub(crate) fn tag(output: &mut Event, queue: Option<&str>) -> Result<(), EditError> {
    queue.map_or(Ok(()), |queue| output.push(&TAGS, queue))
}

/// A finding as AWS writes it, in the form in which MozDef's users send it. An error means that it is too large.
pub(crate) fn native_finding(
    document: Object<'_>,
    finding: Object<'_>,
    out: &mut Event,
) -> Result<(), EditError> {
    for (key, value) in finding.iter() {
        let name = match key {
            "service" => "finding",
            "type" => "category",
            _ => key,
        };
        out.set_in("details", name, value)?;
    }
    let mut scratch = String::new();
    if let Some(title) = finding.get("title").and_then(|title| text_of(title, &mut scratch)) {
        out.set_member("summary", title)?;
    }
    let time =
        [finding.get("updatedAt"), document.get("time")].into_iter().flatten().find(|time| !time.is_null());
    time.map_or(Ok(()), |time| out.set_member("timestamp", time))
}

/// The probe or call of which this event is made, where the finding has several.
pub(crate) fn part_of_finding(input: Object<'_>, number: usize, output: &mut Event) -> Result<(), EditError> {
    let part = Finding::of(input).and_then(Finding::parts);
    let Some((name, Some(value))) = part.map(|(name, parts)| (name, parts.get(number))) else {
        return Ok(());
    };
    if matches!(value, Value::Null) {
        return Ok(());
    }
    output.set(&Path::from_keys(["details", "finding", name]), value)
}
