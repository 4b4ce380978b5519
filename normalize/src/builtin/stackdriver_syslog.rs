//! stackdriver_syslog: lines of syslog that Google Cloud's agent sent as text.
//!
//! In: events that `stackdriver` has found to be syslog. Out: `hostname`, `processname`, `summary`, and the entry's
//! time. Never: changes to lines of another form.

use model::event::Event;

use super::details::{detail, detail_str};
use super::rebuilt::{has_tag, iso};
use crate::plugin::{Builtin, Context, Outcome, PluginError};

/// The row of the table.
pub(super) const STACKDRIVER_SYSLOG: Builtin =
    Builtin { name: "stackdriver_syslog", registration: &["stackdriver"], priority: 15, run };

fn run(event: &mut Event, context: &mut Context<'_>) -> Result<Outcome, PluginError> {
    if event.member_str("category") != Some("syslog") || !has_tag(event, "stackdriver") {
        return Ok(Outcome::Unchanged);
    }
    let Some(line) = detail_str(event, "textPayload").map(str::to_owned) else {
        return Ok(Outcome::Unchanged);
    };
    let Some((host, process, summary)) = parse(&line) else { return Ok(Outcome::Unchanged) };
    if let Some(time) = detail(event, "timestamp").and_then(|time| iso(time, context)) {
        event.set_member("timestamp", &time)?;
        event.set_member("utctimestamp", &time)?;
    }
    event.set_member("hostname", host)?;
    event.set_member("processname", process)?;
    event.set_member("summary", summary)?;
    Ok(Outcome::Changed)
}

/// `Mon dd hh:mm:ss host process: text`.
fn parse(line: &str) -> Option<(&str, &str, &str)> {
    let mut rest = line.trim();
    let mut word = || {
        let (word, after) = rest.split_once(char::is_whitespace)?;
        rest = after.trim_start();
        Some(word)
    };
    let (_month, _day, _time) = (word()?, word()?, word()?);
    let (host, process) = (word()?, word()?);
    Some((host, process.trim_end_matches(':'), rest))
}

#[cfg(test)]
mod tests {
    use super::{STACKDRIVER_SYSLOG, parse};
    use crate::builtin::testing::check_unchanged;

    #[test]
    fn a_line_has_host_process_and_text() {
        let line = "Nov  2 00:32:13 vm1 systemd: Started  Session 1.";
        assert_eq!(parse(line), Some(("vm1", "systemd", "Started  Session 1.")));
        for short in ["", "Nov 2 00:32:13 vm1", "Nov 2 00:32:13 vm1 systemd:"] {
            assert_eq!(parse(short), None, "{short}");
        }
        let event = r#"{"category":"syslog","tags":["pubsub"],"details":{"textPayload":"a b c d e f"}}"#;
        check_unchanged(&STACKDRIVER_SYSLOG, event);
    }
}
