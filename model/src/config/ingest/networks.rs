//! Networks that may send, as the configuration names them.

use std::net::IpAddr;

use ipnet::IpNet;

/// A network, or a single address.
pub fn parse(text: &str) -> Option<IpNet> {
    let text = text.trim();
    text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn networks_and_addresses() {
        let shown = |text| parse(text).map(|network| network.to_string());
        assert_eq!(shown("10.0.0.0/8").as_deref(), Some("10.0.0.0/8"));
        assert_eq!(shown(" 192.0.2.7 ").as_deref(), Some("192.0.2.7/32"));
        assert_eq!(shown("2001:db8::/32").as_deref(), Some("2001:db8::/32"));
        assert_eq!((shown("10.0.0.0/33"), shown("everybody"), shown("")), (None, None, None));
    }
}
