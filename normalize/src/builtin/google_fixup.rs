//! googleFixup: activities of Google's Reports API have their type, and an etag without quotes.
//!
//! In: events whose `details.kind` names an activity. Out: `type`, `details.etag`. Never: other changes.

use model::event::Event;

use super::details::detail_str;
use crate::plugin::{Builtin, Context, Outcome, PluginError};

/// The row of the table.
pub(super) const GOOGLE_FIXUP: Builtin =
    Builtin { name: "googleFixup", registration: &["google"], priority: 5, run };

fn run(event: &mut Event, _: &mut Context<'_>) -> Result<Outcome, PluginError> {
    if !detail_str(event, "kind").is_some_and(|kind| kind.contains("activity")) {
        return Ok(Outcome::Unchanged);
    }
    event.set_member("type", "google")?;
    if let Some(etag) = detail_str(event, "etag").map(|etag| etag.replace('"', "")) {
        event.set_in("details", "etag", &etag)?;
    }
    Ok(Outcome::Changed)
}

#[cfg(test)]
mod tests {
    use super::GOOGLE_FIXUP;
    use crate::builtin::testing::check;

    #[test]
    fn an_activity_is_typed() {
        check(
            &GOOGLE_FIXUP,
            r#"{"category":"google","details":{"kind":"admin#reports#activity","etag":"\"x\""}}"#,
            r#"{"category":"google","type":"google","details":{"kind":"admin#reports#activity","etag":"x"}}"#,
        );
    }
}
