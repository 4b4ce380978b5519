//! Addresses in the text of events: what counts as one, and which are public.
//!
//! In: text from outside. Out: `std::net` addresses. Never: name look-ups.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// IPv4 as `inet_aton` reads it, as MozDef did: one to four parts, each
/// decimal, octal (`0…`) or hexadecimal (`0x…`), the last one filling the rest.
pub(super) fn ipv4_loose(text: &str) -> Option<Ipv4Addr> {
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    if text.len() > 45 || !text.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let (mut value, mut parts) = (0_u32, 0_u32);
    let mut rest = text.split('.').peekable();
    while let Some(part) = rest.next() {
        let number = aton_part(part)?;
        parts += 1;
        // The last part fills what is left: 32 bits of `1`, 24 of `1.x`, and so on.
        let bits = if rest.peek().is_some() { 8 } else { 32_u32.checked_sub(8 * (parts - 1))? };
        if parts > 4 || (bits < 32 && number >> bits != 0) {
            return None;
        }
        value = if bits == 32 { number } else { (value << bits) | number };
    }
    Some(Ipv4Addr::from(value))
}

fn aton_part(part: &str) -> Option<u32> {
    let (digits, radix) = match part.strip_prefix("0x").or_else(|| part.strip_prefix("0X")) {
        Some(hexadecimal) => (hexadecimal, 16),
        None if part.len() > 1 && part.starts_with('0') => (part, 8),
        None => (part, 10),
    };
    if digits.starts_with('+') {
        return None;
    }
    u32::from_str_radix(digits, radix).ok()
}

/// IPv6 in its usual forms.
pub(super) fn ipv6(text: &str) -> Option<Ipv6Addr> {
    text.parse().ok()
}

/// Whether the text is an address, written in full.
pub(super) fn is_address(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok()
}

/// Whether the text is an IPv4 address or network with all four parts.
pub(super) fn is_ipv4_or_network(text: &str) -> bool {
    match text.split_once('/') {
        None => text.parse::<Ipv4Addr>().is_ok(),
        Some((address, mask)) => {
            let bits = !mask.is_empty()
                && mask.bytes().all(|c| c.is_ascii_digit())
                && mask.parse().is_ok_and(|bits: u8| bits <= 32);
            address.parse::<Ipv4Addr>().is_ok() && (bits || mask.parse::<Ipv4Addr>().is_ok())
        }
    }
}

/// The address of a text; of a network the first one.
pub(super) fn address_of(text: &str) -> Option<IpAddr> {
    let address = match text.split_once('/') {
        Some((address, bits)) if bits.parse().is_ok_and(|bits: u8| bits <= 128) => address,
        Some(_) => return None,
        None => text,
    };
    ipv4_loose(address).map(IpAddr::V4).or_else(|| ipv6(address).map(IpAddr::V6))
}

/// Whether an address may belong to somebody on the Internet: not private,
/// loopback, link-local, multicast, documentation or reserved.
pub(super) fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            let special =
                matches!((a, b, c), (0 | 224.., ..) | (100, 64..=127, _) | (192, 0, 0) | (198, 18 | 19, _));
            !(special || v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_documentation())
        }
        IpAddr::V6(v6) => {
            let [first, second, ..] = v6.segments();
            // 2000::/3 is all that has been given out; 2001:db8::/32 is documentation.
            first & 0xe000 == 0x2000 && (first, second) != (0x2001, 0xdb8)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{address_of, ipv4_loose, is_ipv4_or_network, is_public};

    #[track_caller]
    fn loose(text: &str, expected: Option<&str>) {
        assert_eq!(ipv4_loose(text).map(|a| a.to_string()).as_deref(), expected, "{text}");
    }

    #[test]
    fn loose_addresses_are_those_of_inet_aton() {
        loose("1.2.3.4", Some("1.2.3.4"));
        loose("10.1", Some("10.0.0.1"));
        loose("10.1.2", Some("10.1.0.2"));
        loose("1", Some("0.0.0.1"));
        loose("4294967295", Some("255.255.255.255"));
        loose("0x7f.1", Some("127.0.0.1"));
        loose("010.1.1.1", Some("8.1.1.1"));
        for bad in [
            "",
            ".",
            "1.",
            "256.1.1.1",
            "1.2.3.256",
            "1.2.3.4.5",
            "4294967296",
            "-1",
            "+1",
            "1.+2",
            "0x",
            "08",
            "a",
            "1.2.3.4 ",
            "1.16777216",
        ] {
            loose(bad, None);
        }
    }

    #[test]
    fn networks_are_full_ones() {
        for good in ["1.2.3.4", "10.0.0.0/8", "10.0.0.0/255.0.0.0"] {
            assert!(is_ipv4_or_network(good), "{good}");
        }
        for bad in ["10.1", "1", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/+8", "::1", "a.b.c.d", "1.2.3.4/8/8"] {
            assert!(!is_ipv4_or_network(bad), "{bad}");
        }
    }

    #[test]
    fn public_addresses() {
        for (text, public) in [
            ("8.8.8.8", true),
            ("10.0.0.1", false),
            ("172.31.0.1", false),
            ("172.32.0.1", true),
            ("127.1", false),
            ("0.0.0.0", false),
            ("100.64.0.1", false),
            ("100.128.0.1", true),
            ("169.254.1.1", false),
            ("198.18.0.1", false),
            ("224.0.0.1", false),
            ("255.255.255.255", false),
            ("192.0.2.1", false),
            ("8.8.8.0/24", true),
            ("2001:4860::1", true),
            ("2001:db8::1", false),
            ("::1", false),
            ("fe80::1", false),
            ("fc00::1", false),
            ("::ffff:10.0.0.1", false),
            ("::ffff:8.8.8.8", true),
        ] {
            assert_eq!(address_of(text).map(is_public), Some(public), "{text}");
        }
        assert_eq!(address_of("8.8.8.0/x"), None);
        assert_eq!(address_of("host.example.com"), None);
    }
}
