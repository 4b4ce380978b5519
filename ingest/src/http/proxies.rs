//! Who the client is, where a proxy stands between: the PROXY protocol and `X-Forwarded-For`.
//!
//! In: what a connection begins with, the headers of a request; the proxies that are believed. Out: the client's
//! address. Never: belief in what anybody else says.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use axum::http::HeaderMap;
use ipnet::IpNet;
use model::config::{ProxiesConfig, ProxyProtocol};
use tokio::io::{AsyncRead, AsyncReadExt};

/// What the second version begins with.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Longest line of the first version, with its end.
const LINE_BYTES_MAX: usize = 107;
/// Longest header of the second version behind its first 16 bytes; what proxies add seldom has a tenth of it.
const REST_BYTES_MAX: usize = 4096;
/// Most addresses that are looked at in `X-Forwarded-For`.
const HOPS_MAX: usize = 32;

/// The proxies that are believed.
#[derive(Clone, Debug)]
pub(super) struct Proxies {
    networks: Vec<IpNet>,
    by: ProxyProtocol,
}

/// Why a connection from a proxy is refused.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProxyError {
    #[error("the connection ended within the PROXY header: {0}")]
    Ended(#[from] std::io::Error),
    #[error("the connection does not begin with a PROXY header: {0}")]
    Malformed(&'static str),
}

impl Proxies {
    pub(super) fn new(config: &ProxiesConfig) -> Proxies {
        Proxies { networks: config.networks().0, by: config.by }
    }

    /// Whether connections from this address begin with a PROXY header.
    pub(super) fn speaks_proxy(&self, peer: IpAddr) -> bool {
        self.by == ProxyProtocol::Proxy && self.has(peer)
    }

    /// The client of a request: the last address in `X-Forwarded-For` that is none of the proxies, as each of them has
    /// added the one it was asked by.
    pub(super) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        if self.by != ProxyProtocol::ForwardedFor || !self.has(peer) {
            return peer;
        }
        let mut client = peer;
        let lines = headers.get_all("x-forwarded-for").iter().rev();
        let hops = lines.flat_map(|line| line.as_bytes().rsplit(|b| *b == b','));
        for hop in hops.take(HOPS_MAX) {
            let Some(address) = std::str::from_utf8(hop).ok().and_then(|hop| address(hop.trim())) else {
                break;
            };
            client = address;
            if !self.has(address) {
                break;
            }
        }
        client
    }

    fn has(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.networks.iter().any(|network| network.contains(&address))
    }
}

/// An address, perhaps with a port or in brackets.
fn address(text: &str) -> Option<IpAddr> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(address);
    }
    if let Ok(socket) = text.parse::<std::net::SocketAddr>() {
        return Some(socket.ip());
    }
    text.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
}

/// Reads a PROXY header, and nothing behind it. `None` where the proxy speaks for itself, as for a health check.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<Option<IpAddr>, ProxyError> {
    // The shortest header has 15 bytes.
    let mut head = [0_u8; 16];
    let (first, last) = head.split_at_mut(SIGNATURE.len());
    stream.read_exact(first).await?;
    if *first == SIGNATURE {
        stream.read_exact(last).await?;
        let mut rest = vec![0_u8; rest_bytes(&head)?];
        stream.read_exact(&mut rest).await?;
        return version_2(&head, &rest);
    }
    if !first.starts_with(b"PROXY ") {
        return Err(ProxyError::Malformed("neither version 1 nor 2"));
    }
    let mut line = first.to_vec();
    while !line.ends_with(b"\r\n") {
        if line.len() >= LINE_BYTES_MAX {
            return Err(ProxyError::Malformed("the line is longer than 107 bytes"));
        }
        line.push(stream.read_u8().await?);
    }
    version_1(&line)
}

fn version_1(line: &[u8]) -> Result<Option<IpAddr>, ProxyError> {
    let malformed = ProxyError::Malformed;
    let line = line.strip_suffix(b"\r\n").and_then(|line| std::str::from_utf8(line).ok());
    let mut words = line.ok_or(malformed("no line of text"))?.split(' ');
    if words.next() != Some("PROXY") {
        return Err(malformed("the line does not begin with PROXY"));
    }
    let family = words.next().unwrap_or_default();
    if family == "UNKNOWN" {
        return Ok(None);
    }
    let (Some(source), Some(destination), Some(from), Some(to), None) =
        (words.next(), words.next(), words.next(), words.next(), words.next())
    else {
        return Err(malformed("expected two addresses and two ports"));
    };
    let both = (source.parse::<IpAddr>(), destination.parse::<IpAddr>());
    let (Ok(source), Ok(destination)) = both else { return Err(malformed("an address cannot be read")) };
    if from.parse::<u16>().is_err() || to.parse::<u16>().is_err() {
        return Err(malformed("a port cannot be read"));
    }
    let fits = match family {
        "TCP4" => source.is_ipv4() && destination.is_ipv4(),
        "TCP6" => source.is_ipv6() && destination.is_ipv6(),
        _ => return Err(malformed("expected TCP4, TCP6 or UNKNOWN")),
    };
    if fits { Ok(Some(source)) } else { Err(malformed("the addresses are of another family")) }
}

/// Bytes behind the first 16.
fn rest_bytes(head: &[u8; 16]) -> Result<usize, ProxyError> {
    let [.., high, low] = *head;
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > REST_BYTES_MAX {
        return Err(ProxyError::Malformed("the header is longer than 4096 bytes"));
    }
    Ok(length)
}

fn version_2(head: &[u8; 16], rest: &[u8]) -> Result<Option<IpAddr>, ProxyError> {
    let [.., command, family, _, _] = *head;
    match command {
        0x20 => return Ok(None),
        0x21 => {}
        _ => return Err(ProxyError::Malformed("expected version 2, LOCAL or PROXY")),
    }
    let short = ProxyError::Malformed("the addresses are cut off");
    match family >> 4 {
        // Both addresses and both ports must be there.
        1 => match rest.first_chunk::<12>() {
            Some(&[a, b, c, d, ..]) => Ok(Some(IpAddr::V4(Ipv4Addr::new(a, b, c, d)))),
            None => Err(short),
        },
        2 if rest.len() >= 36 => match rest.first_chunk::<16>() {
            Some(source) => Ok(Some(IpAddr::V6(Ipv6Addr::from(*source)))),
            None => Err(short),
        },
        2 => Err(short),
        // Unix sockets, and what a later version may bring.
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use axum::http::{HeaderMap, HeaderValue};
    use futures_util::FutureExt;
    use model::config::{ProxiesConfig, ProxyProtocol};
    use proptest::prelude::*;

    use super::{Proxies, SIGNATURE, read};

    fn run(bytes: &[u8]) -> Result<(Option<IpAddr>, Vec<u8>), String> {
        let mut rest = bytes;
        let client = read(&mut rest).now_or_never().unwrap().map_err(|error| error.to_string())?;
        Ok((client, rest.to_vec()))
    }

    #[track_caller]
    fn check(bytes: &[u8], client: Option<&str>) {
        let whole = [bytes, b"GET / HTTP"].concat();
        let (got, rest) = run(&whole).unwrap();
        assert_eq!(got, client.map(|client| client.parse().unwrap()));
        assert_eq!(rest, b"GET / HTTP");
        for cut in 0..bytes.len() {
            assert!(run(&bytes[..cut]).is_err(), "cut at {cut}");
        }
    }

    fn second(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[command, family], &length, rest].concat()
    }

    #[test]
    fn both_versions_name_the_client() {
        check(b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n", Some("192.0.2.7"));
        check(b"PROXY TCP6 2001:db8::7 2001:db8::1 1 2\r\n", Some("2001:db8::7"));
        check(b"PROXY UNKNOWN\r\n", None);
        check(b"PROXY UNKNOWN ffff::1 anything\r\n", None);
        check(&second(0x21, 0x11, &[192, 0, 2, 7, 1, 2, 3, 4, 0, 1, 0, 2]), Some("192.0.2.7"));
        let mut six = [0_u8; 40];
        six[15] = 1;
        check(&second(0x21, 0x21, &six), Some("::1"));
        check(&second(0x20, 0x00, &[]), None);
        check(&second(0x21, 0x31, &[0; 216]), None);
    }

    #[test]
    fn anything_else_is_refused() {
        for (bytes, words) in [
            (&b"GET / HTTP/1.1\r\n\r\n"[..], "neither"),
            (b"PROXY TCP4 192.0.2.7 198.51.100.1 56324\r\n", "two addresses"),
            (b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 99999\r\n", "port"),
            (b"PROXY TCP4 ::1 ::1 1 2\r\n", "family"),
            (b"PROXY TCP5 192.0.2.7 192.0.2.8 1 2\r\n", "expected TCP4"),
            (&[&b"PROXY "[..], &[b'x'; 200]].concat(), "107"),
            (&second(0x31, 0x11, &[0; 12]), "version 2"),
            (&second(0x21, 0x11, &[0; 11]), "cut off"),
            (&second(0x21, 0x21, &[0; 35]), "cut off"),
            (&second(0x21, 0x11, &[0; 5000]), "4096"),
        ] {
            let error = run(bytes).unwrap_err();
            assert!(error.contains(words), "{error} lacks {words}");
        }
    }

    fn proxies(by: ProxyProtocol) -> Proxies {
        Proxies::new(&ProxiesConfig { addresses: vec!["10.0.0.0/8".into(), "::1".into()], by })
    }

    #[test]
    fn forwarded_addresses_are_believed_from_the_last_as_far_as_they_are_proxies() {
        let proxies = proxies(ProxyProtocol::ForwardedFor);
        let client = |peer: &str, lines: &[&str]| {
            let lines = lines.iter().map(|line| ("x-forwarded-for", HeaderValue::from_str(line).unwrap()));
            let headers: HeaderMap = lines.map(|(name, value)| (name.parse().unwrap(), value)).collect();
            proxies.client(peer.parse().unwrap(), &headers).to_string()
        };
        assert_eq!(client("10.0.0.1", &["192.0.2.7"]), "192.0.2.7");
        assert_eq!(client("10.0.0.1", &["6.6.6.6, 192.0.2.7, 10.9.9.9"]), "192.0.2.7");
        assert_eq!(client("::ffff:10.0.0.1", &["192.0.2.7:5555"]), "192.0.2.7");
        assert_eq!(client("::1", &["[2001:db8::7]:5", "[::1]"]), "2001:db8::7");
        assert_eq!(client("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(client("10.0.0.1", &["192.0.2.7, unknown, 10.0.0.2"]), "10.0.0.2");
        assert_eq!(client("203.0.113.5", &["192.0.2.7"]), "203.0.113.5");
    }

    #[test]
    fn each_way_is_believed_only_where_it_is_configured() {
        let peer = "10.0.0.1".parse().unwrap();
        let headers =
            HeaderMap::from_iter([("x-forwarded-for".parse().unwrap(), HeaderValue::from_static("1.2.3.4"))]);
        assert!(!proxies(ProxyProtocol::ForwardedFor).speaks_proxy(peer));
        let proxy = proxies(ProxyProtocol::Proxy);
        assert!(proxy.speaks_proxy(peer) && !proxy.speaks_proxy("11.0.0.1".parse().unwrap()));
        assert_eq!(proxy.client(peer, &headers), peer);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 100_000, ..ProptestConfig::default() })]

        #[test]
        fn no_bytes_break_the_reader(
            start in prop_oneof![Just(SIGNATURE.to_vec()), Just(b"PROXY TCP4 ".to_vec()), Just(vec![])],
            rest in proptest::collection::vec(any::<u8>(), 0..64),
        ) {
            let bytes = [start, rest].concat();
            if let Ok((_, left)) = run(&bytes) {
                prop_assert!(bytes.ends_with(&left) && left.len() + 15 <= bytes.len());
            }
        }
    }
}
