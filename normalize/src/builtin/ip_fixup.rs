//! ipFixup: addresses under the many names that shippers use become
//! `details.{source,destination}ipaddress`, split by version.
//!
//! In: events that name an address. Out: `*ipaddress` (IPv4 only, since that field of
//! the index was one; IPv6 leaves `0.0.0.0` and a note in `errors`), `*ipv4address`,
//! `*ipv6address`, and for names `details.source` or `details.destination`.
//! Never: look-ups.

use model::event::{EditError, Event, New, Path};

use super::address::{ipv4_loose, ipv6};
use super::details::{detail, detail_path, detail_str, details};
use crate::plugin::{Builtin, Context, Outcome, PluginError};

/// The row of the table.
pub(super) const IP_FIXUP: Builtin = Builtin {
    name: "ipFixup",
    registration: &[
        "sourceipaddress",
        "destinationipaddress",
        "src",
        "dst",
        "srcip",
        "dstip",
        "http_x_forwarded_for",
    ],
    priority: 15,
    run,
};

/// The names of one end of a connection.
struct End {
    address: &'static str,
    v4: &'static str,
    v6: &'static str,
    name: &'static str,
    moved: &'static str,
}

const SOURCE: End = End {
    address: "sourceipaddress",
    v4: "sourceipv4address",
    v6: "sourceipv6address",
    name: "source",
    moved: "plugin: ipFixUp.py error: sourceipaddress is ipv6, moved",
};

const DESTINATION: End = End {
    address: "destinationipaddress",
    v4: "destinationipv4address",
    v6: "destinationipv6address",
    name: "destination",
    moved: "plugin: ipFixUp.py error: destinationipaddress is ipv6, moved",
};

/// What a text is.
enum Kind {
    V4,
    V6,
    Other,
}

fn kind(text: &str) -> Kind {
    if ipv4_loose(text).is_some() {
        Kind::V4
    } else if ipv6(text).is_some() {
        Kind::V6
    } else {
        Kind::Other
    }
}

fn run(event: &mut Event, _: &mut Context<'_>) -> Result<Outcome, PluginError> {
    let Some(details) = details(event) else { return Ok(Outcome::Unchanged) };
    let mut named = Named::default();
    for (key, _) in details.iter() {
        named.note(key);
    }
    let mut changed = false;
    if named.forwarded {
        changed |= from_forwarded(event)?;
    }
    // The header may have set the source.
    if named.source || changed {
        changed |= existing(event, &SOURCE)?;
    }
    if named.destination {
        changed |= existing(event, &DESTINATION)?;
    }
    if named.other {
        for (key, end) in
            [("src", &SOURCE), ("srcip", &SOURCE), ("dst", &DESTINATION), ("dstip", &DESTINATION)]
        {
            changed |= from_other(event, key, end)?;
        }
    }
    if named.cluster {
        changed |= from_cluster(event)?;
    }
    Ok(if changed { Outcome::Changed } else { Outcome::Unchanged })
}

/// Which of the names an event has; found in one pass, as most events have one or two.
#[derive(Default)]
struct Named {
    forwarded: bool,
    source: bool,
    destination: bool,
    other: bool,
    cluster: bool,
}

impl Named {
    fn note(&mut self, key: &str) {
        match key {
            "http_x_forwarded_for" => self.forwarded = true,
            "sourceipaddress" => self.source = true,
            "destinationipaddress" => self.destination = true,
            "src" | "srcip" | "dst" | "dstip" => self.other = true,
            "cluster_client_ip" => self.cluster = true,
            _ => {}
        }
    }
}

/// The first hop of the header, which anybody can forge: only where nothing better is known.
fn from_forwarded(event: &mut Event) -> Result<bool, EditError> {
    let first = detail_str(event, "http_x_forwarded_for").and_then(|hops| hops.split(',').next());
    let Some(first) = first.map(|hop| hop.trim().to_owned()) else { return Ok(false) };
    match kind(&first) {
        Kind::V4 => Ok(set_absent(event, SOURCE.address, &first)? | set_absent(event, SOURCE.v4, &first)?),
        Kind::V6 => set_absent(event, SOURCE.v6, &first),
        Kind::Other => Ok(false),
    }
}

fn set_absent(event: &mut Event, key: &str, text: &str) -> Result<bool, EditError> {
    if detail(event, key).is_some() {
        return Ok(false);
    }
    event.set_in("details", key, text)?;
    Ok(true)
}

/// Sorts an address that the event has by version, or out when it is none.
fn existing(event: &mut Event, end: &End) -> Result<bool, EditError> {
    let Some(value) = detail(event, end.address).filter(|value| !value.is_null()) else { return Ok(false) };
    let Some(text) = value.as_str().map(str::to_owned) else {
        event.copy(&detail_path(end.address), &detail_path(end.name))?;
        event.set_in("details", end.address, New::Null)?;
        return Ok(true);
    };
    match kind(&text) {
        Kind::V4 => event.set_in("details", end.v4, &text)?,
        Kind::V6 => {
            event.set_in("details", end.v6, &text)?;
            event.set_in("details", end.address, "0.0.0.0")?;
            event.push(&Path::from_keys(["errors"]), end.moved)?;
        }
        Kind::Other => {
            event.set_in("details", end.name, &text)?;
            event.set_in("details", end.address, New::Null)?;
        }
    }
    Ok(true)
}

fn from_other(event: &mut Event, key: &str, end: &End) -> Result<bool, EditError> {
    let Some(text) = detail_str(event, key).map(str::to_owned) else { return Ok(false) };
    match kind(&text) {
        Kind::V4 => {
            event.set_in("details", end.address, &text)?;
            event.set_in("details", end.v4, &text)?;
        }
        Kind::V6 => event.set_in("details", end.v6, &text)?,
        Kind::Other => return Ok(false),
    }
    Ok(true)
}

/// The client as our own proxies saw it: better than all others.
fn from_cluster(event: &mut Event) -> Result<bool, EditError> {
    let Some(text) =
        detail_str(event, "cluster_client_ip").filter(|text| ipv4_loose(text).is_some()).map(str::to_owned)
    else {
        return Ok(false);
    };
    event.set_in("details", SOURCE.address, &text)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::IP_FIXUP;
    use crate::builtin::testing::{check, check_unchanged};

    #[test]
    fn addresses_are_sorted_by_version() {
        check(
            &IP_FIXUP,
            r#"{"details":{"destinationipaddress":"2001:db8::1"}}"#,
            r#"{"details":{"destinationipaddress":"0.0.0.0","destinationipv6address":"2001:db8::1"},"errors":["plugin: ipFixUp.py error: destinationipaddress is ipv6, moved"]}"#,
        );
        check(
            &IP_FIXUP,
            r#"{"details":{"sourceipaddress":5}}"#,
            r#"{"details":{"sourceipaddress":null,"source":5}}"#,
        );
        check(
            &IP_FIXUP,
            r#"{"details":{"src":"1.1.1.1","srcip":"2.2.2.2"}}"#,
            r#"{"details":{"src":"1.1.1.1","srcip":"2.2.2.2","sourceipaddress":"2.2.2.2","sourceipv4address":"2.2.2.2"}}"#,
        );
        check(
            &IP_FIXUP,
            r#"{"details":{"srcip":"::1"}}"#,
            r#"{"details":{"srcip":"::1","sourceipv6address":"::1"}}"#,
        );
    }

    #[test]
    fn events_without_addresses_are_left_alone() {
        for event in [
            r#"{}"#,
            r#"{"details":null}"#,
            r#"{"details":{"sourceipaddress":null}}"#,
            r#"{"details":{"src":"eth0","dst":7}}"#,
            r#"{"details":{"http_x_forwarded_for":"unknown"}}"#,
            r#"{"details":{"cluster_client_ip":"-"}}"#,
        ] {
            check_unchanged(&IP_FIXUP, event);
        }
    }
}
