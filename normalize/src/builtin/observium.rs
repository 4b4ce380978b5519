//! observium: alerts of the network monitor Observium.
//!
//! In: lines of the program `Observium`: `<type>: [<host>] [<kind>] [<entity>] <text>`.
//! Out: `details.alert_*`, `details.entity*`, `hostname`, the tag `alert`. Never: changes to other lines.

use model::event::Event;

use super::details::{Fields, line_of};
use crate::plugin::{Builtin, Context, Outcome, PluginError};

/// The row of the table.
pub(super) const OBSERVIUM: Builtin =
    Builtin { name: "observium", registration: &["observium"], priority: 5, run };

fn run(event: &mut Event, _: &mut Context<'_>) -> Result<Outcome, PluginError> {
    let line = line_of(event, &["Observium"]);
    let Some((fields, host)) = line.as_deref().and_then(parse) else { return Ok(Outcome::Unchanged) };
    fields.write_as_alert_of(event, host)?;
    Ok(Outcome::Changed)
}

fn parse(line: &str) -> Option<(Fields<'_>, &str)> {
    let (kind, rest) = line.split_once(": [")?;
    let (host, rest) = rest.split_once("] [")?;
    let (entity_type, rest) = rest.split_once("] [")?;
    let (entity, text) = rest.split_once("] ")?;
    let fields = Fields::new().text("alert_type", kind).text("entity_type", entity_type);
    Some((fields.text("entity", entity).text("alert_message", text), host))
}

#[cfg(test)]
mod tests {
    use super::OBSERVIUM;
    use crate::builtin::testing::check_unchanged;

    #[test]
    fn other_lines_are_left_alone() {
        for summary in ["", "ALERT", "ALERT: [h]", "ALERT: [h] [k] [e", "ALERT: h k e t"] {
            check_unchanged(&OBSERVIUM, &format!(r#"{{"processname":"Observium","summary":"{summary}"}}"#));
        }
    }
}
