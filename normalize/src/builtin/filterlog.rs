//! filterlog: lines of the packet filter of pfSense and OPNsense, which are CSV.
//!
//! In: events of `filterlog` whose summary is such a line. Out: rule, interface, action,
//! `details.ip`, both ends, ports for TCP and UDP. Never: a failure on other layouts; what
//! could be read until then stays.

use model::event::{EditError, Event, Path};

use crate::plugin::{Builtin, Context, Outcome, PluginError};

/// The row of the table.
pub(super) const FILTERLOG: Builtin =
    Builtin { name: "filterlog", registration: &["filterlog"], priority: 10, run };

/// What every line begins with.
const HEAD: [&str; 9] = [
    "rulenumber",
    "subrulenumber",
    "anchor",
    "trackor",
    "interface",
    "reason",
    "action",
    "direction",
    "ipversion",
];

/// Under `ip`, of version 4, up to the addresses.
const IPV4: [&str; 9] =
    ["tos", "ecn", "ttl", "id", "offset", "flags", "protocolid", "protocoltext", "length"];

/// The same of version 6.
const IPV6: [&str; 6] = ["class", "flowlabel", "hoplimit", "protocoltext", "protocolid", "length"];

/// After the addresses, for TCP and UDP.
const PORTS: [&str; 3] = ["sourceport", "destinationport", "datalength"];

/// Under `tcp`, after the ports.
const TCP: [&str; 6] = ["flags", "seq", "ack", "window", "urg", "options"];

fn run(event: &mut Event, _: &mut Context<'_>) -> Result<Outcome, PluginError> {
    let line = event.member_str("summary").filter(|line| line.matches(',').count() >= HEAD.len());
    let Some(line) = line.map(|line| line.trim().to_owned()) else { return Ok(Outcome::Unchanged) };
    let mut values = line.split(',');
    let mut taken = |names: &[&'static str]| -> Vec<(&'static str, &str)> {
        names.iter().copied().zip(values.by_ref().take(names.len())).collect()
    };
    write(event, &[], &taken(&HEAD))?;
    let version: i64 = match line.split(',').nth(8) {
        Some("4") => 4,
        Some("6") => 6,
        _ => return Ok(Outcome::Changed),
    };
    event.set(&Path::from_keys(["details", "ip", "version"]), version)?;
    let ip = taken(if version == 4 { &IPV4 } else { &IPV6 });
    write(event, &["ip"], &ip)?;
    write(event, &[], &taken(&["sourceipaddress", "destinationipaddress"]))?;
    let protocol = ip.iter().find(|(name, _)| *name == "protocoltext").map_or("", |(_, text)| text);
    if matches!(protocol.to_ascii_lowercase().as_str(), "tcp" | "udp") {
        write(event, &[], &taken(&PORTS))?;
    }
    if protocol.eq_ignore_ascii_case("tcp") {
        write(event, &["tcp"], &taken(&TCP))?;
    }
    Ok(Outcome::Changed)
}

/// Writes values under `details`, or under an object in it.
fn write(event: &mut Event, object: &[&str], values: &[(&str, &str)]) -> Result<(), EditError> {
    for (name, value) in values {
        let keys = ["details"].iter().chain(object).chain([name]);
        event.set(&Path::from_keys(keys.copied()), *value)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::FILTERLOG;
    use crate::builtin::testing::{check, check_unchanged, run_with};

    #[test]
    fn tcp_over_version_6() {
        check(
            &FILTERLOG,
            r#"{"summary":"5,,,1,em0,match,pass,out,6,0x00,0x0,64,TCP,6,40,2001:db8::1,2001:db8::2,50000,443,0,S,1,,65535,,mss"}"#,
            r#"{"summary":"5,,,1,em0,match,pass,out,6,0x00,0x0,64,TCP,6,40,2001:db8::1,2001:db8::2,50000,443,0,S,1,,65535,,mss",
                "details":{"rulenumber":"5","subrulenumber":"","anchor":"","trackor":"1","interface":"em0","reason":"match","action":"pass","direction":"out","ipversion":"6",
                "ip":{"version":6,"class":"0x00","flowlabel":"0x0","hoplimit":"64","protocoltext":"TCP","protocolid":"6","length":"40"},
                "sourceipaddress":"2001:db8::1","destinationipaddress":"2001:db8::2","sourceport":"50000","destinationport":"443","datalength":"0",
                "tcp":{"flags":"S","seq":"1","ack":"","window":"65535","urg":"","options":"mss"}}}"#,
        );
    }

    #[test]
    fn odd_layouts_keep_what_was_read() {
        let out = run_with(&FILTERLOG, r#"{"summary":"5,,,1,em0,match,pass,out,4,0x0"}"#, None).to_json();
        assert!(out.contains(r#""ip":{"version":4,"tos":"0x0"}"#), "{out}");
        let out = run_with(&FILTERLOG, r#"{"summary":"a,b,c,d,e,f,g,h,i,j"}"#, None).to_json();
        assert!(out.contains(r#""ipversion":"i""#), "{out}");
        check_unchanged(&FILTERLOG, r#"{"summary":"a, b, c"}"#);
    }
}
