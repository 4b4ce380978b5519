//! The table of native plugins: one file each, one row each.

mod address;
mod bro_fixup;
mod cloudtrail;
mod cloudtrail_record;
mod details;
mod envelope;
mod epoch;
mod eve;
mod geoip;
mod ip_fixup;
mod lower_keys;
mod pam;
mod parse_sshd;
mod parse_su;
mod python_text;
mod remove_dots;
mod squid_fixup;
mod sshd_find_ip;
mod sudo;
mod suricata_eve;
mod suricata_fixup;
#[cfg(test)]
pub(crate) mod testing;
mod zeek;
mod zeek_json;

use crate::plugin::Builtin;

/// Every native plugin. The chain sorts by priority and name.
pub const ALL: &[Builtin] = &[
    bro_fixup::BRO_FIXUP,
    cloudtrail::CLOUDTRAIL,
    cloudtrail_record::CLOUDTRAIL_RECORD,
    geoip::GEOIP,
    ip_fixup::IP_FIXUP,
    lower_keys::LOWER_KEYS,
    parse_sshd::PARSE_SSHD,
    parse_su::PARSE_SU,
    remove_dots::REMOVE_DOTS,
    squid_fixup::SQUID_FIXUP,
    sshd_find_ip::SSHD_FIND_IP,
    sudo::SUDO,
    suricata_eve::SURICATA_EVE,
    suricata_fixup::SURICATA_FIXUP,
    zeek_json::ZEEK_JSON,
];

#[cfg(test)]
mod tests {
    use super::ALL;

    #[test]
    fn names_and_registrations_are_sound() {
        let mut names: Vec<_> = ALL.iter().map(|plugin| plugin.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ALL.len(), "a name stands twice");
        for plugin in ALL {
            assert!(
                !plugin.registration.is_empty() && plugin.registration.iter().all(|word| !word.is_empty()),
                "{}",
                plugin.name
            );
            assert!(plugin.priority >= 1, "{}", plugin.name);
        }
    }
}
