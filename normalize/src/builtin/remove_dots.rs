//! remove_dots: keys that start or end with a dot lose all their dots, because the index refuses them.
//!
//! In: CloudTrail events. Out: the same with other keys. Never: changed values.

use model::event::Event;

use crate::plugin::{Builtin, Context, Outcome, PluginError};

/// The row of the table.
pub(super) const REMOVE_DOTS: Builtin =
    Builtin { name: "remove_dots", registration: &["cloudtrail"], priority: 5, run };

fn run(event: &mut Event, _: &mut Context<'_>) -> Result<Outcome, PluginError> {
    let mut changed = false;
    event.map_keys(|key| {
        let dotted = key.starts_with('.') || key.ends_with('.');
        changed |= dotted;
        dotted.then(|| key.replace('.', ""))
    });
    Ok(if changed { Outcome::Changed } else { Outcome::Unchanged })
}

#[cfg(test)]
mod tests {
    use super::REMOVE_DOTS;
    use crate::builtin::testing::{check, check_unchanged};

    #[test]
    fn only_keys_that_start_or_end_with_a_dot_change() {
        check(&REMOVE_DOTS, r#"{".a.b":[{"c.":1,"d.e":2}],"..":3}"#, r#"{"ab":[{"c":1,"d.e":2}],"":3}"#);
        check_unchanged(&REMOVE_DOTS, r#"{"a.b":{"c":".d."}}"#);
    }
}
