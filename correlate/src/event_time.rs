//! The time of an event, for windows (`utctimestamp` or the receipt).
//!
//! In: an event and when it was received. Out: milliseconds. Never: a wrong
//! clock's word; live, an own time too far from the receipt does not count.

use std::collections::BTreeMap;

use model::config::CorrelateConfig;
use model::event::Event;
use model::time::Timestamp;

/// How far an event's own time may be from its receipt.
#[derive(Clone, Debug)]
pub struct Bounds {
    lateness_ms: i64,
    lateness_ms_by_source: BTreeMap<String, i64>,
    skew_ms: i64,
}

/// The time that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventTime {
    /// In milliseconds since 1970.
    pub millis: i64,
    /// The own time was there but not believed.
    pub suspect: bool,
}

impl Bounds {
    /// As configured.
    pub fn new(config: &CorrelateConfig) -> Bounds {
        let by_source = config.lateness_ms_by_source.iter();
        Bounds {
            lateness_ms: millis(config.lateness_ms),
            lateness_ms_by_source: by_source.map(|(source, &ms)| (source.clone(), millis(ms))).collect(),
            skew_ms: millis(config.skew_ms),
        }
    }

    /// Lateness of events of a `source`, in milliseconds.
    pub fn lateness_ms(&self, source: Option<&str>) -> i64 {
        source.and_then(|source| self.lateness_ms_by_source.get(source)).copied().unwrap_or(self.lateness_ms)
    }

    /// The largest lateness of a rule's sources, in milliseconds; the default where none are known.
    pub fn largest_lateness_ms(&self, sources: &[String]) -> i64 {
        sources.iter().map(|source| self.lateness_ms(Some(source))).max().unwrap_or(self.lateness_ms)
    }

    /// The time of a live event, received at `received` milliseconds.
    pub fn live(&self, event: &Event, received: i64) -> EventTime {
        let Some(own) = event.member_str("utctimestamp").and_then(Timestamp::parse_rfc3339) else {
            return EventTime { millis: received, suspect: event.member("utctimestamp").is_some() };
        };
        let oldest = received.saturating_sub(self.lateness_ms(event.member_str("source")));
        let newest = received.saturating_add(self.skew_ms);
        if (oldest..=newest).contains(&own.millis()) {
            EventTime { millis: own.millis(), suspect: false }
        } else {
            EventTime { millis: received, suspect: true }
        }
    }
}

fn millis(configured: u64) -> i64 {
    i64::try_from(configured).unwrap_or(i64::MAX)
}

/// The event's own time in milliseconds, for history: the first of its three times that can be read, else 1970.
pub fn own(event: &Event) -> i64 {
    let times = ["utctimestamp", "timestamp", "receivedtimestamp"].into_iter();
    let read = |name| event.member_str(name).and_then(Timestamp::parse_rfc3339);
    times.filter_map(read).map(Timestamp::millis).next().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use model::config::CorrelateConfig;
    use model::event::Event;

    use super::{Bounds, EventTime, own};

    /// 2024-06-10T06:00:00Z.
    const RECEIVED: i64 = 1_717_999_200_000;

    #[track_caller]
    fn check(json: &str, millis: i64, suspect: bool) {
        let bounds = Bounds::new(&CorrelateConfig::default());
        let got = bounds.live(&Event::from_json(json).unwrap(), RECEIVED);
        assert_eq!(got, EventTime { millis, suspect }, "{json}");
    }

    #[test]
    fn an_own_time_counts_within_lateness_and_skew() {
        check(r#"{"utctimestamp":"2024-06-10T05:59:00Z"}"#, RECEIVED - 60_000, false);
        check(r#"{"utctimestamp":"2024-06-10T05:58:00Z"}"#, RECEIVED - 120_000, false);
        check(r#"{"utctimestamp":"2024-06-10T05:57:59.999Z"}"#, RECEIVED, true);
        check(r#"{"utctimestamp":"2024-06-10T06:05:00+00:00"}"#, RECEIVED + 300_000, false);
        check(r#"{"utctimestamp":"2024-06-10T06:05:00.001Z"}"#, RECEIVED, true);
        check(
            r#"{"source":"cloudtrail","utctimestamp":"2024-06-10T05:40:00Z"}"#,
            RECEIVED - 1_200_000,
            false,
        );
    }

    #[test]
    fn without_a_readable_time_the_receipt_counts() {
        check("{}", RECEIVED, false);
        check(r#"{"utctimestamp":"yesterday"}"#, RECEIVED, true);
        check(r#"{"utctimestamp":7}"#, RECEIVED, true);
    }

    #[test]
    fn history_goes_by_its_own_times() {
        let own = |json: &str| own(&Event::from_json(json).unwrap());
        assert_eq!(
            own(r#"{"utctimestamp":"1970-01-01T00:00:01Z","timestamp":"1970-01-01T00:00:02Z"}"#),
            1000
        );
        assert_eq!(own(r#"{"utctimestamp":"x","timestamp":"1970-01-01T00:00:02Z"}"#), 2000);
        assert_eq!(own("{}"), 0);
    }

    #[test]
    fn a_rule_waits_for_the_latest_of_its_sources() {
        let bounds = Bounds::new(&CorrelateConfig::default());
        assert_eq!(bounds.largest_lateness_ms(&[]), 120_000);
        assert_eq!(bounds.largest_lateness_ms(&["syslog".to_owned(), "cloudtrail".to_owned()]), 1_200_000);
    }
}
