//! What Zeek's log lines become under `details`, whichever way they came: MozDef's names
//! for both ends, defaults for what a line lacks, and a summary by log type.
//!
//! In: an event whose `details` is a line of a Zeek log, and the log's name. Out: the
//! same, described. Never: a failure on a line that lacks fields.

mod logs;
mod shapes;

use std::sync::LazyLock;

use model::event::{EditError, Event};
use model::time::Timestamp;

use self::logs::{Fill, LOGS, Log};
use super::details::{Move, detail, detail_path, has_detail};
use super::epoch;
use super::python_text::push_plain;

static ENDS: LazyLock<[Move; 8]> = LazyLock::new(|| {
    [
        ("id.orig_h", "sourceipaddress"),
        ("id.orig_p", "sourceport"),
        ("id.resp_h", "destinationipaddress"),
        ("id.resp_p", "destinationport"),
        // Where a collector does not like dots in keys.
        ("id_orig_h", "sourceipaddress"),
        ("id_orig_p", "sourceport"),
        ("id_resp_h", "destinationipaddress"),
        ("id_resp_p", "destinationport"),
    ]
    .map(|(from, to)| Move::new(from, to))
});

/// Names both ends of the connection.
pub(super) fn name_ends(event: &mut Event) -> Result<(), EditError> {
    for end in &*ENDS {
        end.apply(event)?;
    }
    Ok(())
}

/// When the line was written, by its own stamp.
pub(super) fn written(event: &Event) -> Option<Timestamp> {
    epoch::instant(detail(event, "ts")?)
}

/// Reshapes a line of the log and writes defaults and, where the event has none, the summary.
/// False when the log is not one of the known.
pub(super) fn describe(event: &mut Event, log: &str) -> Result<bool, EditError> {
    let Some(log) = LOGS.iter().find(|known| known.name == log) else { return Ok(false) };
    (log.reshape)(event)?;
    for &(key, fill) in log.defaults {
        if detail(event, key).is_some() {
            continue;
        }
        match fill {
            Fill::Text(text) => event.set_in("details", key, text)?,
            Fill::Number(number) => event.set_in("details", key, number)?,
            Fill::CopyOf(other) => {
                event.copy(&detail_path(other), &detail_path(key))?;
            }
        }
    }
    let summary = render(event, log);
    event.set_member("summary", &summary)?;
    Ok(true)
}

/// `{key}` is `details.key`, or `unknown`; `{a|b}` the first there is; `{ends}` is the usual pair; `[…{key}…]` only where the key is.
fn render(event: &Event, log: &Log) -> String {
    let mut out = String::with_capacity(96);
    let mut rest = log.summary;
    while let Some(at) = rest.find(['{', '[']) {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        let closing = if from.starts_with('{') { '}' } else { ']' };
        let Some((inside, after)) = from.get(1..).and_then(|inside| inside.split_once(closing)) else {
            break;
        };
        rest = after;
        if closing == '}' {
            push_field(&mut out, event, inside);
        } else if let Some((text, key)) = inside.split_once('{') {
            let key = key.trim_end_matches('}');
            if has_detail(event, key) {
                out.push_str(text);
                push_field(&mut out, event, key);
            }
        }
    }
    out.push_str(rest);
    out
}

fn push_field(out: &mut String, event: &Event, key: &str) {
    if key == "ends" {
        for (end, after) in
            [("sourceipaddress", " -> "), ("destinationipaddress", ":"), ("destinationport", "")]
        {
            push_field(out, event, end);
            out.push_str(after);
        }
        return;
    }
    match key.split('|').find_map(|key| detail(event, key).filter(|value| !value.is_null())) {
        Some(value) => push_plain(out, value),
        None => out.push_str("unknown"),
    }
}

#[cfg(test)]
mod tests {
    use model::event::Event;

    use super::logs::LOGS;
    use super::{describe, name_ends};

    #[track_caller]
    fn check(log: &str, line: &str, summary: &str) {
        let mut event = Event::from_json(&format!(r#"{{"details":{line}}}"#)).unwrap();
        name_ends(&mut event).unwrap();
        assert!(describe(&mut event, log).unwrap());
        assert_eq!(event.member_str("summary"), Some(summary), "{line}");
    }

    #[test]
    fn every_log_takes_an_empty_line_and_one_of_nulls() {
        assert_eq!(LOGS.len(), 28);
        for log in LOGS {
            for line in [
                r#"{}"#,
                r#"{"id.orig_h":null,"id.resp_p":[],"service":null,"src":7,"sub":null,"uri":null,"times.created":"x","rx_hosts":{}}"#,
            ] {
                let mut event = Event::from_json(&format!(r#"{{"details":{line}}}"#)).unwrap();
                name_ends(&mut event).unwrap();
                assert!(describe(&mut event, log.name).unwrap());
                assert!(
                    event.member_str("summary").is_some_and(|summary| !summary.contains(['{', '['])),
                    "{}",
                    log.name
                );
            }
        }
    }

    #[test]
    fn what_made_the_original_raise_has_defaults() {
        check(
            "conn",
            r#"{"id.orig_h":"10.0.0.1","id.orig_p":1,"id.resp_h":"10.0.0.2","id.resp_p":2}"#,
            "10.0.0.1:1 -> 10.0.0.2:2  0 bytes / 0 bytes",
        );
        check("software", r#"{"software_type":"A"}"#, "Found A software on unknown");
        check("intel", r#"{"seen.indicator":"x"}"#, "Bro intel match of unknown in unknown");
    }

    #[test]
    fn summaries_of_collectors_without_dots() {
        check(
            "ssh",
            r#"{"id_orig_h":"10.0.0.1","id_resp_h":"10.0.0.2","id_resp_p":22,"auth_success":false}"#,
            "SSH: 10.0.0.1 -> 10.0.0.2:22 success False",
        );
    }
}
