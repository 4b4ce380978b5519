//! sshdFindIP: the first address in the summary is the source, where nothing better was found.
//!
//! In: events of sshd and fail2ban without `details.sourceipaddress`. Out: that field.
//! Never: an address that is part of a longer word.

use model::event::Event;

use super::address::is_ipv4_or_network;
use super::details::detail;
use crate::plugin::{Builtin, Context, Outcome, PluginError};

/// The row of the table.
pub(super) const SSHD_FIND_IP: Builtin =
    Builtin { name: "sshdFindIP", registration: &["sshd", "sshd-session", "fail2ban"], priority: 5, run };

fn run(event: &mut Event, _: &mut Context<'_>) -> Result<Outcome, PluginError> {
    if detail(event, "sourceipaddress").is_some() {
        return Ok(Outcome::Unchanged);
    }
    let Some(address) = event.member_str("summary").and_then(parse).map(str::to_owned) else {
        return Ok(Outcome::Unchanged);
    };
    event.set_in("details", "sourceipaddress", &address)?;
    Ok(Outcome::Changed)
}

/// The first word that is an IPv4 address or network, without quotes and commas around it.
fn parse(line: &str) -> Option<&str> {
    line.split_whitespace()
        .map(|word| word.trim_matches([',', '"', '\'']))
        .find(|word| is_ipv4_or_network(word))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn the_first_address_is_found() {
        for (line, expected) in [
            ("Ban 8.8.4.4", Some("8.8.4.4")),
            ("from '10.0.0.1', then 10.0.0.2", Some("10.0.0.1")),
            ("net \"10.0.0.0/24\" banned", Some("10.0.0.0/24")),
            ("version 1.2.3 on 10.1 or 10.0.0.1: no", None),
            ("", None),
        ] {
            assert_eq!(parse(line), expected, "{line}");
        }
    }
}
