//! ttl_auditd: marks audit noise as short-lived. `auditdFixup` drops the same events
//! right after; this one stays for chains without it.
//!
//! In: auditd events. Out: `_ttl`. Never: marks on other events.

use model::event::Event;

use super::audit_noise::is_noise;
use crate::plugin::{Builtin, Context, Outcome, PluginError};

/// The row of the table.
pub(super) const TTL_AUDITD: Builtin =
    Builtin { name: "ttl_auditd", registration: &["auditd", "command"], priority: 1, run };

fn run(event: &mut Event, _: &mut Context<'_>) -> Result<Outcome, PluginError> {
    if !is_noise(event) {
        return Ok(Outcome::Unchanged);
    }
    event.set_member("_ttl", "3d")?;
    Ok(Outcome::Changed)
}
