//! dropMessage: health checks of a load balancer go no further.
//!
//! In: events with `details.http_user_agent`. Out: a drop, counted under this name.
//! MozDef meant the same, but looked at a type that no event had by then.
//! Never: changes.

use model::event::Event;

use super::details::detail_str;
use crate::plugin::{Builtin, Context, Outcome, PluginError};

/// The row of the table.
pub(super) const DROP_MESSAGE: Builtin =
    Builtin { name: "dropMessage", registration: &["ELB-HealthChecker/1.0"], priority: 1, run };

fn run(event: &mut Event, _: &mut Context<'_>) -> Result<Outcome, PluginError> {
    let is_check = detail_str(event, "http_user_agent") == Some("ELB-HealthChecker/1.0");
    Ok(if is_check { Outcome::Dropped } else { Outcome::Unchanged })
}

#[cfg(test)]
mod tests {
    use super::DROP_MESSAGE;
    use crate::builtin::testing::{check_unchanged, outcome_of};
    use crate::plugin::Outcome;

    #[test]
    fn only_the_health_checker_is_dropped() {
        assert_eq!(
            outcome_of(&DROP_MESSAGE, r#"{"details":{"http_user_agent":"ELB-HealthChecker/1.0"}}"#),
            Outcome::Dropped
        );
        check_unchanged(
            &DROP_MESSAGE,
            r#"{"details":{"http_user_agent":"curl/8"},"summary":"ELB-HealthChecker/1.0"}"#,
        );
    }
}
