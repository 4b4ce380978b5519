//! What CloudTrail's own mapping says about every record, and its event names.

use std::sync::LazyLock;

use model::event::{EditError, Event, New, Object, Path, Value};

use super::convert::text_of;

/// The members that do not depend on one key alone.
pub(super) fn prepare(input: Object<'_>, output: &mut Event, queue: Option<&str>) -> Result<(), EditError> {
    static TAGS: LazyLock<Path> = LazyLock::new(|| Path::new("tags"));
    output.set_member("source", "cloudtrail")?;
    output.set_member("category", "cloudtrail")?;
    output.set_member("severity", "INFO")?;
    if let Some(queue) = queue {
        output.push(&TAGS, queue)?;
    }
    let text = |key| input.get(key).and_then(Value::as_str);
    if let (Some(address), Some(name), Some(source)) =
        (text("sourceIPAddress"), text("eventName"), text("eventSource"))
    {
        output.set_member("summary", &format!("{address} performed {name} in {source}"))?;
    }
    Ok(())
}

/// The name with a capital first letter, its leading capitalised word, and whether that word only reads.
pub(super) fn event_name(
    value: Value<'_>,
    scratch: &mut String,
    output: &mut Event,
) -> Result<(), EditError> {
    let Some(given) = text_of(value, scratch) else { return Ok(()) };
    let mut rest = given.chars();
    let name: String = rest.next().into_iter().flat_map(char::to_uppercase).chain(rest).collect();
    output.set_in("details", "eventname", &name)?;
    let word = match name.char_indices().skip(1).find(|(_, c)| c.is_ascii_uppercase()) {
        Some((end, _)) => name.get(..end).unwrap_or_default(),
        None => &name,
    };
    if name.starts_with(|c: char| c.is_ascii_uppercase()) {
        output.set_in("details", "eventVerb", word)?;
        output.set_in("details", "eventReadOnly", New::Bool(matches!(word, "Describe" | "Get" | "List")))?;
    }
    Ok(())
}
