//! The table of native plugins: one file each, one row each.

mod address;
mod audit_noise;
mod auditd_fixup;
mod auditd_line;
mod bro_fixup;
mod cloudtrail;
mod cloudtrail_record;
mod compliance_items;
mod custom_doc_type;
mod details;
mod drop_message;
mod envelope;
mod epoch;
mod eve;
mod filterlog;
mod geoip;
pub(crate) mod github_fields;
mod github_webhooks;
mod google_fixup;
mod guard_duty;
mod guard_duty_fields;
mod ip_fixup;
mod large_strings;
mod ldap_fixup;
mod lower_keys;
mod md5;
mod mozilla_location;
mod nagios_hostname;
mod netflow_fixup;
mod observium;
mod pam;
mod parse_sshd;
mod parse_su;
mod python_text;
mod rebuilt;
mod remove_dots;
mod rt_flow;
mod snmptt;
mod squid_fixup;
mod sshd_find_ip;
mod stackdriver;
mod stackdriver_audit;
mod stackdriver_syslog;
mod sudo;
mod suricata_eve;
mod suricata_fixup;
#[cfg(test)]
pub(crate) mod testing;
mod ttl_auditd;
mod vulnerability;
mod windows;
mod zeek;
mod zeek_json;
mod zoom_fixup;

use crate::plugin::Builtin;

/// Every native plugin. The chain sorts by priority and name.
pub const ALL: &[Builtin] = &[
    auditd_fixup::AUDITD_FIXUP,
    auditd_line::AUDITD_LINE,
    bro_fixup::BRO_FIXUP,
    cloudtrail::CLOUDTRAIL,
    cloudtrail_record::CLOUDTRAIL_RECORD,
    compliance_items::COMPLIANCE_ITEMS,
    custom_doc_type::CUSTOM_DOC_TYPE,
    drop_message::DROP_MESSAGE,
    filterlog::FILTERLOG,
    geoip::GEOIP,
    github_webhooks::GITHUB_WEBHOOKS,
    google_fixup::GOOGLE_FIXUP,
    guard_duty::GUARD_DUTY,
    ip_fixup::IP_FIXUP,
    large_strings::LARGE_STRINGS,
    ldap_fixup::LDAP_FIXUP,
    lower_keys::LOWER_KEYS,
    mozilla_location::MOZILLA_LOCATION,
    nagios_hostname::NAGIOS_HOSTNAME,
    netflow_fixup::NETFLOW_FIXUP,
    observium::OBSERVIUM,
    parse_sshd::PARSE_SSHD,
    parse_su::PARSE_SU,
    remove_dots::REMOVE_DOTS,
    rt_flow::RT_FLOW,
    snmptt::SNMPTT,
    squid_fixup::SQUID_FIXUP,
    sshd_find_ip::SSHD_FIND_IP,
    stackdriver::STACKDRIVER,
    stackdriver_audit::STACKDRIVER_AUDIT,
    stackdriver_audit::STACKDRIVER_GCE_ACTIVITY,
    stackdriver_syslog::STACKDRIVER_SYSLOG,
    sudo::SUDO,
    suricata_eve::SURICATA_EVE,
    suricata_fixup::SURICATA_FIXUP,
    ttl_auditd::TTL_AUDITD,
    vulnerability::VULNERABILITY,
    windows::WINDOWS_EVENT,
    zeek_json::ZEEK_JSON,
    zoom_fixup::ZOOM_FIXUP,
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
