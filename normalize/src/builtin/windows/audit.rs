//! Names that Sysmon gives, for events of Windows' own audit that say the same; digests and addresses by themselves.
//!
//! In: the fields of an event. Out: more fields. Never: a field changed that the event has.
//!
//! | event | becomes |
//! |---|---|
//! | Security 4688, 4689 | `image`, `parentimage`, `user`, `logonid`, `integritylevel` |
//! | Security 4657 | `targetobject`, `details`, `eventtype`, `image`, `user` |
//! | Security 5156 | `image`, `sourceip`, `destinationip`, `destinationport`, `initiated` |
//! | any with `hashes` | `md5`, `sha1`, `sha256`, `imphash` |
//! | any with an address | `sourceipaddress`, `destinationipaddress`, as MozDef calls them |

use super::data::Fields;
use crate::builtin::address::is_address;

/// Adds what follows from the fields that are there.
pub(super) fn add_names(fields: &mut Fields<'_>) {
    if fields.text("channel").as_deref() == Some("Security") {
        match fields.text("eventid").as_deref() {
            Some("4688") => {
                fields.add_alias("image", "newprocessname");
                fields.add_alias("parentimage", "parentprocessname");
                add_user(fields);
                add_integrity(fields);
            }
            Some("4689") => {
                fields.add_alias("image", "processname");
                add_user(fields);
            }
            Some("4657") => {
                fields.add_alias("image", "processname");
                add_user(fields);
                add_registry(fields);
            }
            Some("5156") => add_connection(fields),
            _ => {}
        }
    }
    add_hashes(fields);
    for (name, of) in [
        ("sourceipaddress", "sourceip"),
        ("sourceipaddress", "ipaddress"),
        ("destinationipaddress", "destinationip"),
    ] {
        if fields.text(of).is_some_and(|text| is_address(&text)) {
            fields.add_alias(name, of);
        }
    }
}

/// `DOMAIN\name` of the new process's own account where it has one, else of its creator's.
fn add_user(fields: &mut Fields<'_>) {
    for who in ["target", "subject"] {
        let Some(name) = fields.text(&format!("{who}username")) else { continue };
        let user = match fields.text(&format!("{who}domainname")) {
            Some(domain) => format!("{domain}\\{name}"),
            None => name,
        };
        fields.add_made("user", user);
        fields.add_alias("logonid", &format!("{who}logonid"));
    }
}

/// The word for a mandatory label.
fn add_integrity(fields: &mut Fields<'_>) {
    let word = match fields.text("mandatorylabel").as_deref() {
        Some("S-1-16-0") => "Untrusted",
        Some("S-1-16-4096") => "Low",
        Some("S-1-16-8192" | "S-1-16-8448") => "Medium",
        Some("S-1-16-12288") => "High",
        Some("S-1-16-16384") => "System",
        _ => return,
    };
    fields.add_made("integritylevel", word.to_owned());
}

/// A change of a registry value, in Sysmon's words.
fn add_registry(fields: &mut Fields<'_>) {
    let Some(key) = fields.text("objectname") else { return };
    let object = match fields.text("objectvaluename") {
        Some(value) => format!("{}\\{value}", hive(&key)),
        None => hive(&key),
    };
    fields.add_made("targetobject", object);
    let deleted = fields.text("operationtype").as_deref() == Some("%%1906");
    fields.add_made("eventtype", if deleted { "DeleteValue" } else { "SetValue" }.to_owned());
    if let Some(written) = fields.text("newvalue").filter(|_| !deleted) {
        let kind = fields.text("newvaluetype").unwrap_or_default();
        fields.add_made("details", registry_value(&kind, written));
    }
}

/// `\REGISTRY\MACHINE\…` as `HKLM\…`.
fn hive(key: &str) -> String {
    let below = |prefix: &str| {
        let (start, rest) = key.split_at_checked(prefix.len())?;
        start.eq_ignore_ascii_case(prefix).then_some(rest)
    };
    let named = match (below(r"\REGISTRY\MACHINE\"), below(r"\REGISTRY\USER\")) {
        (Some(rest), _) => format!(r"HKLM\{rest}"),
        (_, Some(rest)) => format!(r"HKU\{rest}"),
        _ => key.to_owned(),
    };
    ["ControlSet001", "ControlSet002"]
        .into_iter()
        .fold(named, |text, set| text.replace(&format!("\\{set}\\"), r"\CurrentControlSet\"))
}

/// A value as Sysmon shows it.
fn registry_value(kind: &str, written: String) -> String {
    let number = match written.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => written.parse::<u64>().ok(),
    };
    match (kind, number) {
        ("%%1876" | "%%1877", Some(number)) => format!("DWORD (0x{number:08x})"),
        ("%%1883", Some(number)) => {
            format!("QWORD (0x{:08x}-0x{:08x})", number >> 32, number & 0xffff_ffff)
        }
        ("%%1875", _) => "Binary Data".to_owned(),
        _ => written,
    }
}

/// A connection that the firewall let through.
fn add_connection(fields: &mut Fields<'_>) {
    fields.add_alias("image", "application");
    fields.add_alias("sourceip", "sourceaddress");
    fields.add_alias("destinationip", "destaddress");
    fields.add_alias("destinationport", "destport");
    let outbound = match fields.text("direction").as_deref() {
        Some("%%14593") => "true",
        Some("%%14592") => "false",
        _ => return,
    };
    fields.add_made("initiated", outbound.to_owned());
}

/// `MD5=…,IMPHASH=…` as fields of their own.
fn add_hashes(fields: &mut Fields<'_>) {
    let Some(hashes) = fields.text("hashes") else { return };
    for (kind, digest) in hashes.split(',').filter_map(|hash| hash.trim().split_once('=')) {
        let kind = kind.to_ascii_lowercase();
        if matches!(kind.as_str(), "md5" | "sha1" | "sha256" | "imphash") && !digest.is_empty() {
            fields.add_made(&kind, digest.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{hive, registry_value};

    #[test]
    fn the_registry_is_named_as_sysmon_names_it() {
        assert_eq!(
            hive(r"\REGISTRY\MACHINE\SYSTEM\ControlSet001\Control\Lsa"),
            r"HKLM\SYSTEM\CurrentControlSet\Control\Lsa"
        );
        assert_eq!(hive(r"\registry\user\S-1-5-18\Software"), r"HKU\S-1-5-18\Software");
        assert_eq!(hive("é"), "é");
        assert_eq!(registry_value("%%1876", "1".to_owned()), "DWORD (0x00000001)");
        assert_eq!(registry_value("%%1883", "0x100000002".to_owned()), "QWORD (0x00000001-0x00000002)");
        assert_eq!(registry_value("%%1873", "1".to_owned()), "1");
        assert_eq!(registry_value("%%1875", "-".to_owned()), "Binary Data");
    }
}
