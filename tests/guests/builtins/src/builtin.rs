//! The built-ins that are compiled both ways, and what they share.

use crate::plugin::Builtin;

#[path = "../../../../normalize/src/builtin/address.rs"]
mod address;
#[path = "../../../../normalize/src/builtin/details.rs"]
mod details;
#[path = "../../../../normalize/src/builtin/pam.rs"]
mod pam;

#[path = "../../../../normalize/src/builtin/large_strings.rs"]
mod large_strings;
#[path = "../../../../normalize/src/builtin/netflow_fixup.rs"]
mod netflow_fixup;
#[path = "../../../../normalize/src/builtin/observium.rs"]
mod observium;
#[path = "../../../../normalize/src/builtin/parse_sshd.rs"]
mod parse_sshd;
#[path = "../../../../normalize/src/builtin/parse_su.rs"]
mod parse_su;
#[path = "../../../../normalize/src/builtin/rt_flow.rs"]
mod rt_flow;
#[path = "../../../../normalize/src/builtin/snmptt.rs"]
mod snmptt;

#[cfg(feature = "large_strings")]
pub(super) const CHOSEN: Builtin = large_strings::LARGE_STRINGS;
#[cfg(feature = "netflowFixup")]
pub(super) const CHOSEN: Builtin = netflow_fixup::NETFLOW_FIXUP;
#[cfg(feature = "observium")]
pub(super) const CHOSEN: Builtin = observium::OBSERVIUM;
#[cfg(feature = "parse_sshd")]
pub(super) const CHOSEN: Builtin = parse_sshd::PARSE_SSHD;
#[cfg(feature = "parse_su")]
pub(super) const CHOSEN: Builtin = parse_su::PARSE_SU;
#[cfg(feature = "rt_flow")]
pub(super) const CHOSEN: Builtin = rt_flow::RT_FLOW;
#[cfg(feature = "snmptt")]
pub(super) const CHOSEN: Builtin = snmptt::SNMPTT;
