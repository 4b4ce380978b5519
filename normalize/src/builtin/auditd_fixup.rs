//! auditdFixup: events of auditd get plain values, the host's name, and their type; noise goes no further.
//!
//! In: auditd and audisp-json events. Out: `type` `auditd`, `category`, `hostname`,
//! unset ids as -1. Never: a lost value.

use model::event::{EditError, Event, Path};

use super::audit_noise::is_noise;
use super::details::{Move, detail_path, detail_str, details};
use crate::plugin::{Builtin, Context, Outcome, PluginError};

/// The row of the table.
pub(super) const AUDITD_FIXUP: Builtin =
    Builtin { name: "auditdFixup", registration: &["auditd", "audisp-json"], priority: 2, run };

/// What the kernel writes for an id that was never set.
const UNSET: &str = "4294967295";

fn run(event: &mut Event, _: &mut Context<'_>) -> Result<Outcome, PluginError> {
    if is_noise(event) {
        return Ok(Outcome::Dropped);
    }
    unset_ids(event)?;
    if detail_str(event, "gid").is_some_and(|gid| gid.contains(',')) {
        Move::new("gid", "gidstring").apply(event)?;
    }
    event.rename(&detail_path("dhost"), &Path::from_keys(["hostname"]))?;
    if event.member("category").is_none() {
        event.set_member("category", "auditd")?;
    }
    event.set_member("type", "auditd")?;
    Ok(Outcome::Changed)
}

fn unset_ids(event: &mut Event) -> Result<(), EditError> {
    let members = details(event).into_iter().flat_map(|details| details.iter());
    let unset: Vec<String> = members
        .filter(|(key, value)| match value.as_str() {
            Some("(null)") => key.contains("id"),
            Some(UNSET) => matches!(*key, "auid" | "ses"),
            _ => false,
        })
        .map(|(key, _)| key.to_owned())
        .collect();
    unset.iter().try_for_each(|key| event.set_in("details", key, "-1"))
}

#[cfg(test)]
mod tests {
    use super::AUDITD_FIXUP;
    use crate::builtin::testing::check;

    #[test]
    fn unset_ids_become_minus_one() {
        check(
            &AUDITD_FIXUP,
            r#"{"category":"execve","details":{"auid":"(null)","ses":"(null)","uid":"4294967295","name":"(null)"}}"#,
            r#"{"category":"execve","type":"auditd","details":{"auid":"-1","ses":"(null)","uid":"4294967295","name":"(null)"}}"#,
        );
    }
}
