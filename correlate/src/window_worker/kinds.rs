//! Kinds of correlation other than counts of events, and correlations of
//! correlations, through both stages over a log in memory.

use model::ids::EventId;
use model::time::Timestamp;
use model::topic::Topic;

use super::harness::{Correlator, START, config};
use crate::test_rules::rules;
use crate::window::histories::Random;

const RULES: &str = "
title: Failed
name: failed
logsource: {product: mozdef}
detection: {s: {outcome: failed}, condition: s}
---
title: Ok
name: ok
logsource: {product: mozdef}
detection: {s: {outcome: ok}, condition: s}
---
title: Many
name: many
correlation: {type: event_count, rules: [failed], group-by: [ip], timespan: 1m, condition: {gte: 3}}
---
title: Success after many failures
correlation: {type: temporal_ordered, rules: [many, ok], group-by: [ip], timespan: 10m}
---
title: Users
correlation: {type: value_count, rules: [failed], group-by: [ip], timespan: 1m, condition: {field: user, gte: 3}}
---
title: Bytes
correlation: {type: value_sum, rules: [ok], group-by: [ip], timespan: 1m, condition: {field: bytes, gt: 1000}}
";

/// Seconds after the start, address, outcome and the rest.
type Told = (i64, &'static str, &'static str, &'static str);

fn put(correlator: &mut Correlator, number: usize, told: &Told) {
    let (seconds, ip, outcome, rest) = told;
    let received = START + seconds * 1000;
    let time = Timestamp::from_millis(received);
    let json = format!(r#"{{"utctimestamp":"{time}","ip":"{ip}","outcome":"{outcome}",{rest}}}"#);
    let id = EventId::from_position("log", "mozdef.raw", 0, number as u64, 0);
    let partition = (number % 2) as u32;
    correlator.put_event(partition, received, id, json);
}

/// Title, address and count of the last revision of each alert, whatever happens to the stages meanwhile.
#[track_caller]
fn check(events: &[Told], expected: &[(&str, &str, u64)]) {
    for seed in 0..40 {
        let mut random = Random::new(seed);
        let mut correlator = Correlator::new(rules(RULES), config(), 2, 3);
        for (number, told) in events.iter().enumerate() {
            put(&mut correlator, number, told);
            for _ in 0..random.range(0, 9) {
                correlator.shake(&mut random);
            }
        }
        correlator.matches.abort();
        correlator.windows.abort();
        correlator.settle();
        for partition in 0..2 {
            correlator.put_heartbeat(partition, START + 3_600_000);
        }
        correlator.settle();
        let alerts = correlator.alerts();
        assert!(alerts.values().all(|alert| alert.closed), "seed {seed}: {alerts:?}");
        let mut got: Vec<(&str, String, u64)> = alerts
            .values()
            .map(|alert| {
                let ip = alert.group.get("ip").and_then(|ip| ip.as_str()).unwrap_or_default();
                (alert.rule.title.as_str(), ip.to_owned(), alert.count)
            })
            .collect();
        got.sort();
        let expected: Vec<(&str, String, u64)> =
            expected.iter().map(|(title, ip, count)| (*title, (*ip).to_owned(), *count)).collect();
        assert_eq!(got, expected, "seed {seed}");
        assert_eq!(correlator.memory.all(Topic::Late).count(), 0, "seed {seed}");
        assert_eq!(correlator.memory.all(Topic::Dead).count(), 0, "seed {seed}");
    }
}

#[test]
fn an_alert_of_one_correlation_is_an_event_of_another_exactly_once() {
    let failures: Vec<Told> = (0..4).map(|n| (n, "192.0.2.1", "failed", r#""n":1"#)).collect();
    let success: Told = (100, "192.0.2.1", "ok", r#""bytes":1"#);
    let other: Told = (100, "192.0.2.2", "ok", r#""bytes":1"#);
    check(&[failures.clone(), vec![success]].concat(), &[("Success after many failures", "192.0.2.1", 2)]);
    check(&[failures.clone(), vec![other]].concat(), &[]);
    check(&[vec![(0, "192.0.2.1", "ok", r#""bytes":1"#)], failures].concat(), &[]);
}

#[test]
fn values_and_numbers_go_through_the_log() {
    let failed = |n: i64, user: &'static str| (n, "192.0.2.1", "failed", user);
    let users = [failed(0, r#""user":"a""#), failed(50, r#""user":"b""#), failed(55, r#""user":["c"]"#)];
    check(&users, &[("Users", "192.0.2.1", 3)]);
    let fewer = [failed(0, r#""user":"a""#), failed(50, r#""user":"b""#), failed(55, r#""x":1"#)];
    check(&fewer, &[]);
    let ok = |n: i64, bytes: &'static str| (n, "192.0.2.1", "ok", bytes);
    check(&[ok(0, r#""bytes":600"#), ok(1, r#""bytes":"400.5""#)], &[("Bytes", "192.0.2.1", 2)]);
    check(&[ok(0, r#""bytes":600"#), ok(1, r#""bytes":400"#), ok(2, r#""bytes":true"#)], &[]);
}
