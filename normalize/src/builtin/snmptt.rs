//! snmptt: traps that the SNMP trap translator wrote to syslog.
//!
//! In: lines of the program `snmptt`: `<name> <severity> "Status Events" <host> - <text>`.
//! Out: `details.trap*`, `hostname`, the tag `alert`. Never: changes to other lines.

use model::event::Event;

use super::details::{Fields, line_of};
use crate::plugin::{Builtin, Context, Outcome, PluginError};

/// The row of the table.
pub(super) const SNMPTT: Builtin = Builtin { name: "snmptt", registration: &["snmptt"], priority: 5, run };

fn run(event: &mut Event, _: &mut Context<'_>) -> Result<Outcome, PluginError> {
    let line = line_of(event, &["snmptt"]);
    let Some((fields, host)) = line.as_deref().and_then(parse) else { return Ok(Outcome::Unchanged) };
    fields.write_as_alert_of(event, host)?;
    Ok(Outcome::Changed)
}

fn parse(line: &str) -> Option<(Fields<'_>, &str)> {
    let (head, tail) = line.split_once(" \"Status Events\" ")?;
    let (name, severity) = head.rsplit_once(' ')?;
    let (host, payload) = tail.split_once(" - ")?;
    let fields = Fields::new().text("trapname", name).text("trapseverity", severity);
    Some((fields.text("trappayload", payload), host))
}

#[cfg(test)]
mod tests {
    use super::SNMPTT;
    use crate::builtin::testing::{check, check_unchanged};

    #[test]
    fn a_trap_is_read() {
        check(
            &SNMPTT,
            r#"{"summary":"linkDown Normal \"Status Events\" switch1 - Link down on interface 5","details":{"program":"snmptt"},"tags":["x"]}"#,
            r#"{"summary":"linkDown Normal \"Status Events\" switch1 - Link down on interface 5","hostname":"switch1","tags":["x","alert"],
                "details":{"program":"snmptt","trapname":"linkDown","trapseverity":"Normal","trappayload":"Link down on interface 5"}}"#,
        );
        check_unchanged(
            &SNMPTT,
            r#"{"summary":"linkDown \"Status Events\" x","details":{"program":"snmptt"}}"#,
        );
    }
}
