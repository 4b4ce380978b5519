//! ldap_fixup: who acted on an LDAP server, out of the actor's name.
//!
//! In: events of LDAP-Humanizer and others with the word `ldap`. Out: `source`,
//! `details.{email, username}` (null without a mail address), `tls_encrypted`. Never: a guess.

use model::event::Event;

use super::details::{Fields, Move, detail_str};
use crate::plugin::{Builtin, Context, Outcome, PluginError};

/// The row of the table.
pub(super) const LDAP_FIXUP: Builtin =
    Builtin { name: "ldap_fixup", registration: &["LDAP-Humanizer", "ldap"], priority: 5, run };

fn run(event: &mut Event, _: &mut Context<'_>) -> Result<Outcome, PluginError> {
    if event.member_str("category") == Some("ldap") {
        Move::new("tls", "tls_encrypted").apply(event)?;
    }
    if event.member("source").is_none() {
        event.set_member("source", "ldap")?;
    }
    let actor = detail_str(event, "actor").unwrap_or_default().to_owned();
    let email = mail(&actor);
    Fields::new()
        .or_null("email", email)
        .or_null("username", email.and_then(|email| email.split('@').next()))
        .write_to(event)?;
    Ok(Outcome::Changed)
}

/// The value of `mail=` among parts such as `o=com,mail=a@b.c,dc=x`; a part with two `=` is none.
fn mail(actor: &str) -> Option<&str> {
    let parts = actor.split([',', ' ']);
    parts.filter_map(|part| part.strip_prefix("mail=")).find(|mail| !mail.is_empty() && !mail.contains('='))
}
