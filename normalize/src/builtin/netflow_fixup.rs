//! netflowFixup: NetFlow events have their type.
//!
//! In: events with the word `netflow`. Out: `type`. Never: other changes.

use model::event::Event;

use crate::plugin::{Builtin, Context, Outcome, PluginError};

/// The row of the table.
pub(super) const NETFLOW_FIXUP: Builtin =
    Builtin { name: "netflowFixup", registration: &["netflow"], priority: 5, run };

fn run(event: &mut Event, _: &mut Context<'_>) -> Result<Outcome, PluginError> {
    if event.member_str("type") == Some("netflow") {
        return Ok(Outcome::Unchanged);
    }
    event.set_member("type", "netflow")?;
    Ok(Outcome::Changed)
}
