//! Which addresses may send, and how many connections each may have.
//!
//! In: the configuration, addresses of senders. Out: yes or no. Never: names; nobody is looked up.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ipnet::IpNet;
use model::config::networks;

use super::SyslogError;

/// Networks that may send; all where none are named.
#[derive(Debug)]
pub(super) struct Networks(Vec<IpNet>);

impl Networks {
    pub(super) fn read(name: &str, allow: &[String]) -> Result<Networks, SyslogError> {
        let read = |network: &String| {
            networks::parse(network)
                .ok_or_else(|| SyslogError::Network { name: name.to_owned(), network: network.clone() })
        };
        allow.iter().map(read).collect::<Result<_, _>>().map(Networks)
    }

    pub(super) fn contain(&self, address: IpAddr) -> bool {
        self.0.is_empty() || self.0.iter().any(|network| network.contains(&address))
    }
}

/// Connections that are open.
#[derive(Debug)]
pub(super) struct Places {
    all_max: u32,
    each_max: u32,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    all: u32,
    each: HashMap<IpAddr, u32>,
}

/// The place of an open connection; given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    address: IpAddr,
}

impl Places {
    pub(super) fn new(all_max: u32, each_max: u32) -> Arc<Places> {
        Arc::new(Places { all_max, each_max, open: Mutex::default() })
    }

    /// A place for one more connection of this address, where there is one.
    pub(super) fn take(self: &Arc<Places>, address: IpAddr) -> Option<Place> {
        let mut open = self.lock();
        let each = open.each.get(&address).copied().unwrap_or_default();
        if open.all >= self.all_max || each >= self.each_max {
            return None;
        }
        open.all += 1;
        open.each.insert(address, each + 1);
        Some(Place { places: Arc::clone(self), address })
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.places.lock();
        open.all = open.all.saturating_sub(1);
        match open.each.get_mut(&self.address) {
            Some(each) if *each > 1 => *each -= 1,
            _ => {
                open.each.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::{Networks, Places};

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn networks_say_who_may_send() {
        let some = Networks::read("x", &["10.0.0.0/8".to_owned(), "::1".to_owned()]).unwrap();
        assert!(some.contain(address("10.9.8.7")) && some.contain(address("::1")));
        assert!(!some.contain(address("11.0.0.1")) && !some.contain(address("::2")));
        assert!(Networks::read("x", &[]).unwrap().contain(address("8.8.8.8")));
        assert!(Networks::read("x", &["ten".to_owned()]).is_err());
    }

    #[test]
    fn places_are_bounded_and_come_back() {
        let places = Places::new(3, 2);
        let (a, b) = (address("10.0.0.1"), address("10.0.0.2"));
        let first = places.take(a).unwrap();
        let _second = places.take(a).unwrap();
        assert!(places.take(a).is_none());
        let _third = places.take(b).unwrap();
        assert!(places.take(b).is_none());
        drop(first);
        assert!(places.take(b).is_some());
        assert!(places.take(a).is_some());
    }
}
