//! nagioshostname: the state of a host that Nagios watches is one document, its newest.
//!
//! In: events with `details.nagios_hostname`. Out: the document's id. Never: changes to the event.

use model::event::Event;

use super::details::detail;
use super::md5;
use super::python_text::push_plain;
use crate::plugin::{Builtin, Context, Outcome, PluginError};

/// The row of the table.
pub(super) const NAGIOS_HOSTNAME: Builtin =
    Builtin { name: "nagioshostname", registration: &["nagios_hostname"], priority: 5, run };

fn run(event: &mut Event, context: &mut Context<'_>) -> Result<Outcome, PluginError> {
    let Some(host) = detail(event, "nagios_hostname").filter(|host| !host.is_null()) else {
        return Ok(Outcome::Unchanged);
    };
    let mut name = "nagiosstatus".to_owned();
    push_plain(&mut name, host);
    context.metadata.id = Some(md5::hex(&name));
    Ok(Outcome::Changed)
}

#[cfg(test)]
mod tests {
    use super::NAGIOS_HOSTNAME;
    use crate::builtin::testing::{check_unchanged, metadata_of};

    #[test]
    fn a_host_has_one_document() {
        let metadata = metadata_of(&NAGIOS_HOSTNAME, r#"{"details":{"nagios_hostname":"host1"}}"#);
        assert_eq!(metadata.id.as_deref(), Some("2ade765ba963c0ff5832fd84d9b8a274"));
        assert_eq!(metadata.index, None);
        check_unchanged(&NAGIOS_HOSTNAME, r#"{"details":{"x":"nagios_hostname"}}"#);
    }
}
