//! lower_keys: keys at every depth in lower case, for sources that mix them.
//!
//! In: CloudTrail, Suricata and GuardDuty events. Out: the same with lower-case keys;
//! where two become equal the later stays. Never: changed values.

use model::event::{Event, Visit};

use crate::plugin::{Builtin, Context, Outcome, PluginError};

/// The row of the table.
pub(super) const LOWER_KEYS: Builtin =
    Builtin { name: "lower_keys", registration: &["cloudtrail", "suricata", "guardduty"], priority: 4, run };

fn run(event: &mut Event, _: &mut Context<'_>) -> Result<Outcome, PluginError> {
    let mut mixed = false;
    event.visit(&mut |visit| {
        if let Visit::Key(key) = visit {
            mixed |= key.chars().any(|c| c.is_ascii_uppercase() || (!c.is_ascii() && c.is_uppercase()));
        }
    });
    if !mixed {
        return Ok(Outcome::Unchanged);
    }
    event.lower_keys();
    Ok(Outcome::Changed)
}
