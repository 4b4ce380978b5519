//! What single logs of Zeek need beyond defaults: values that move, bounds, addresses in text.
//!
//! In: an event whose `details` is a line of that log, ends named. Out: the same, reshaped.
//! Never: a failure on values of another type than Zeek writes; they stay as they are.

use std::sync::LazyLock;

use model::event::{EditError, Event, New, Path};

use crate::builtin::address::{ipv4_loose, ipv6};
use crate::builtin::details::{Move, cut_at, detail, detail_path, detail_str, has_detail};
use crate::builtin::epoch;

/// Characters of a URI that are kept.
const URI_CHARACTERS_MAX: usize = 1024;

/// Addresses that are taken from the text of a notice.
const INDICATORS_MAX: usize = 100;

pub(super) fn none(_: &mut Event) -> Result<(), EditError> {
    Ok(())
}

fn apply(event: &mut Event, moves: &[Move]) -> Result<(), EditError> {
    for part in moves {
        part.apply(event)?;
    }
    Ok(())
}

pub(super) fn conn(event: &mut Event) -> Result<(), EditError> {
    static MOVES: LazyLock<[Move; 2]> = LazyLock::new(|| {
        [Move::new("orig_ip_bytes", "originipbytes"), Move::new("resp_ip_bytes", "responseipbytes")]
    });
    apply(event, &*MOVES)
}

pub(super) fn http(event: &mut Event) -> Result<(), EditError> {
    static URI: LazyLock<Path> = LazyLock::new(|| detail_path("uri"));
    cut_at(event, &URI, URI_CHARACTERS_MAX)?;
    Ok(())
}

/// The receiver is the source of the download, as MozDef sees it.
pub(super) fn files(event: &mut Event) -> Result<(), EditError> {
    for (hosts, end) in [("rx_hosts", "sourceipaddress"), ("tx_hosts", "destinationipaddress")] {
        let first = detail(event, hosts)
            .and_then(|hosts| hosts.as_array()?.iter().next()?.as_str())
            .map(str::to_owned);
        if let Some(first) = first {
            event.set_in("details", end, &first)?;
        }
    }
    Ok(())
}

pub(super) fn smtp(event: &mut Event) -> Result<(), EditError> {
    static MOVES: LazyLock<[Move; 1]> = LazyLock::new(|| [Move::new("tls", "tls_encrypted")]);
    apply(event, &*MOVES)
}

pub(super) fn intel(event: &mut Event) -> Result<(), EditError> {
    static MOVES: LazyLock<[Move; 3]> = LazyLock::new(|| {
        [("seen.node", "seennode"), ("seen.where", "seenwhere"), ("seen.indicator_type", "seenindicatortype")]
            .map(|(from, to)| Move::new(from, to))
    });
    static INDICATOR: LazyLock<Move> = LazyLock::new(|| Move::new("seen.indicator", "seenindicator"));
    if !INDICATOR.apply(event)? {
        event.set_in("details", "seenindicator", "")?;
    }
    apply(event, &*MOVES)
}

pub(super) fn known_services(event: &mut Event) -> Result<(), EditError> {
    let named = detail(event, "service")
        .is_some_and(|service| !service.is_null() && service.as_array().is_none_or(|list| !list.is_empty()));
    if named {
        return Ok(());
    }
    event.set_in("details", "service", New::EmptyArray)?;
    event.push(&detail_path("service"), "Unknown")
}

pub(super) fn software(event: &mut Event) -> Result<(), EditError> {
    static MOVES: LazyLock<[Move; 5]> = LazyLock::new(|| {
        ["major", "minor", "minor2", "minor3", "addl"]
            .map(|part| Move::into("parsed_version", &format!("version.{part}"), part))
    });
    apply(event, &*MOVES)
}

pub(super) fn ntlm(event: &mut Event) -> Result<(), EditError> {
    static MOVES: LazyLock<[Move; 3]> =
        LazyLock::new(|| ["domainname", "hostname", "username"].map(|part| Move::into("ntlm", part, part)));
    for part in &*MOVES {
        if !part.apply(event)? {
            event.set(part.to(), "unknown")?;
        }
    }
    Ok(())
}

pub(super) fn smb_files(event: &mut Event) -> Result<(), EditError> {
    static MOVES: LazyLock<[Move; 4]> = LazyLock::new(|| {
        ["accessed", "changed", "created", "modified"]
            .map(|part| Move::into("smbtimes", &format!("times.{part}"), part))
    });
    for part in &*MOVES {
        if part.apply(event)? {
            to_iso(event, part.to())?;
        }
    }
    Ok(())
}

/// An instant as number becomes its ISO form; what is none stays.
fn to_iso(event: &mut Event, path: &Path) -> Result<(), EditError> {
    match event.get(path).and_then(epoch::instant) {
        Some(at) => event.set(path, &at.to_string()),
        None => Ok(()),
    }
}

pub(super) fn x509(event: &mut Event) -> Result<(), EditError> {
    static MOVES: LazyLock<[Move; 13]> = LazyLock::new(|| {
        [
            ("basic_constraints.ca", "basic_constraints_ca"),
            ("basic_constraints.path_len", "basic_constraints_path_len"),
            ("certificate.exponent", "exponent"),
            ("certificate.issuer", "issuer"),
            ("certificate.key_alg", "key_alg"),
            ("certificate.key_length", "key_length"),
            ("certificate.key_type", "key_type"),
            ("certificate.not_valid_after", "not_valid_after"),
            ("certificate.not_valid_before", "not_valid_before"),
            ("certificate.sig_alg", "sig_alg"),
            ("certificate.subject", "subject"),
            ("certificate.version", "version"),
            ("certificate.serial", "serial"),
        ]
        .map(|(from, to)| Move::into("certificate", from, to))
    });
    static TIMES: LazyLock<[Path; 2]> = LazyLock::new(|| {
        ["not_valid_after", "not_valid_before"].map(|key| Path::from_keys(["details", "certificate", key]))
    });
    static SERIAL: LazyLock<Path> = LazyLock::new(|| Path::from_keys(["details", "certificate", "serial"]));
    apply(event, &*MOVES)?;
    for time in &*TIMES {
        to_iso(event, time)?;
    }
    if event.get(&SERIAL).is_none() {
        event.set(&SERIAL, "0")?;
    }
    Ok(())
}

pub(super) fn snmp(event: &mut Event) -> Result<(), EditError> {
    let count = |key| detail(event, key).and_then(|value| value.as_i64()).unwrap_or(0);
    let sum = count("get_bulk_requests").saturating_add(count("get_requests"));
    event.set_in("details", "getreqestssum", &sum.to_string())
}

/// `src` and `dst` are better than the connection's ends, which may be those of a proxy;
/// indicators are what an analyst may look up.
pub(super) fn notice(event: &mut Event) -> Result<(), EditError> {
    static INDICATORS: LazyLock<Path> = LazyLock::new(|| detail_path("indicators"));
    event.set(&INDICATORS, New::EmptyArray)?;
    if !has_detail(event, "sub") {
        event.set_in("details", "sub", "")?;
    }
    if detail_str(event, "actions") == Some("Notice::ACTION_LOG") {
        let addresses = detail_str(event, "sub").map(addresses_in).unwrap_or_default();
        for address in addresses {
            event.push(&INDICATORS, &address)?;
        }
    }
    if let Some(source) = detail_str(event, "src").map(str::to_owned) {
        if name_end(event, &source, "sourceipaddress", "sourceipv4address", "sourceipv6address")? {
            event.push(&INDICATORS, &source)?;
        }
        event.remove(&detail_path("src"));
    }
    if let Some(destination) = detail_str(event, "dst").map(str::to_owned) {
        name_end(
            event,
            &destination,
            "destinationipaddress",
            "destinationipv4address",
            "destinationipv6address",
        )?;
        event.remove(&detail_path("dst"));
    }
    Ok(())
}

/// False when the text is no address.
fn name_end(event: &mut Event, text: &str, end: &str, v4: &str, v6: &str) -> Result<bool, EditError> {
    if ipv4_loose(text).is_some() {
        event.set_in("details", end, text)?;
        event.set_in("details", v4, text)?;
    } else if ipv6(text).is_some() {
        event.set_in("details", v6, text)?;
    } else {
        return Ok(false);
    }
    Ok(true)
}

/// IPv4 addresses anywhere in a text.
fn addresses_in(text: &str) -> Vec<String> {
    let words = text.split(|c: char| !c.is_ascii_digit() && c != '.').map(|word| word.trim_matches('.'));
    words
        .filter(|word| word.parse::<std::net::Ipv4Addr>().is_ok())
        .take(INDICATORS_MAX)
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::addresses_in;

    #[test]
    fn addresses_in_the_text_of_a_notice() {
        assert_eq!(
            addresses_in("Sampled servers:  10.30.252.148, 10.30.252.150. v1.2.3"),
            ["10.30.252.148", "10.30.252.150"]
        );
        assert_eq!(addresses_in(""), Vec::<String>::new());
    }
}
