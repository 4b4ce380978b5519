//! Both stages of the correlator over a log in memory, against the oracle:
//! random batches, aborts, crashes, partitions and repeated watermarks.
//!
//! `MOZDEF_FUZZ_CASES` sets how many histories, `MOZDEF_FUZZ_SEED` where they
//! begin; a failure prints its seed.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use model::alert::Alert;
use model::config::CorrelateConfig;
use model::headers;
use model::ids::EventId;
use model::topic::Topic;
use stream::record::{Headers, NewRecord};

use super::harness::{Correlator, START, brute_force, config, event_json, only, rule_with};
use crate::test_rules::rules;
use crate::window::histories::{Random, condition};
use crate::window::oracle;
use crate::window::{Mark, Spec};

/// What the oracle compares: group, first event, last event, count.
type Compared = (String, String, String, u64);

fn compared<'a>(alerts: impl IntoIterator<Item = &'a Alert>) -> Vec<Compared> {
    let one = |alert: &Alert| {
        let group = serde_json::Value::from(alert.group.clone()).to_string();
        (group, alert.first_event.id.clone(), alert.last_event.id.clone(), alert.count)
    };
    let mut all = alerts.into_iter().filter(|alert| alert.merged_into.is_none()).map(one).collect::<Vec<_>>();
    all.sort();
    all
}

fn rule_text(random: &mut Random) -> String {
    let timespan_s = random.range(3, 8);
    let c = condition(random);
    let bounds = [("gt", c.gt), ("gte", c.gte), ("lt", c.lt), ("lte", c.lte), ("eq", c.eq), ("neq", c.neq)];
    let bounds = bounds.iter().filter_map(|(word, n)| Some(format!("{word}: {}", (*n)?))).collect::<Vec<_>>();
    rule_with(&bounds.join(", "), timespan_s)
}

/// Events of one history by group, none of which is late.
fn run_history(seed: u64) {
    let mut random = Random::new(seed);
    let (events, matches) = (random.range(1, 4) as u32, random.range(1, 4) as u32);
    let text = rule_text(&mut random);
    let mut correlator = Correlator::new(rules(&text), config(), events, matches);
    let rule = correlator.rules.load().correlations[0].clone();
    let mut expected = BTreeMap::<String, Vec<Mark>>::new();
    let mut clock = START;
    for number in 0..random.range(5, 60) {
        clock += random.range(0, 2_500);
        let partition = random.range(0, i64::from(events) - 1) as u32;
        let received = clock - random.range(0, 2_000);
        let own = if random.chance(85) { received + random.range(-3_000, 3_000) } else { received - 90_000 };
        let ip = format!("192.0.2.{}", random.range(1, 2));
        let outcome = if random.chance(85) { "failed" } else { "ok" };
        let id = EventId::from_position("log", "mozdef.raw", partition, number as u64, 0);
        correlator.put_event(partition, received, id, event_json(own, &ip, outcome));
        if outcome == "failed" {
            let believed = (received - 3_000..=received + 3_000).contains(&own);
            let time = if believed { own } else { received };
            let group = serde_json::json!({ "ip": ip }).to_string();
            expected.entry(group).or_default().push(Mark { time, id });
        }
        if random.chance(40) {
            (0..events).for_each(|partition| correlator.put_heartbeat(partition, clock - 1));
        }
        for _ in 0..random.range(0, 12) {
            correlator.shake(&mut random);
        }
    }
    (0..events).for_each(|partition| correlator.put_heartbeat(partition, clock + 100_000));
    correlator.matches.abort();
    correlator.windows.abort();
    correlator.settle();

    let expected = expected.iter().flat_map(|(group, marks)| {
        oracle::alerts(&Spec::new(&rule, 0, 10_000), 10, marks)
            .into_iter()
            .map(|alert| (group.clone(), alert.first.id.to_string(), alert.last.id.to_string(), alert.count))
    });
    let mut expected = expected.collect::<Vec<_>>();
    expected.sort();
    let alerts = correlator.alerts();
    assert!(alerts.values().all(|alert| alert.closed), "seed {seed}");
    assert_eq!(compared(alerts.values()), expected, "seed {seed}");
    assert_eq!(correlator.memory.all(Topic::Late).count(), 0, "seed {seed}");
    assert_eq!(correlator.memory.all(Topic::Dead).count(), 0, "seed {seed}");
    for alert in alerts.values() {
        let samples = alert.events.iter().filter(|event| event.documentsource.is_object()).count() as u64;
        assert_eq!(samples, alert.count.min(rule.info.samples as u64), "seed {seed}: {alert:?}");
        assert_eq!(alert.origins.len() as u64, alert.count, "seed {seed}");
    }
    // Nothing is left but the watermarks and the rule.
    let left = correlator.memory.changelog.values().flat_map(BTreeMap::keys);
    assert!(
        left.clone().all(|key| matches!(key.first(), Some(0 | 3))),
        "seed {seed}: {:?}",
        left.collect::<Vec<_>>()
    );
}

#[test]
fn alerts_equal_the_oracle_whatever_happens_to_the_stages() {
    let number = |variable: &str, default| {
        std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let first = number("MOZDEF_FUZZ_SEED", 1_u64);
    for seed in first..first + number("MOZDEF_FUZZ_CASES", 800) {
        run_history(seed);
    }
}

#[test]
fn an_alert_fires_at_the_threshold_is_revised_and_closes() {
    let mut correlator = Correlator::new(rules(&rule_with("gte: 3", 120)), config(), 1, 1);
    brute_force(&mut correlator, 2);
    correlator.settle();
    assert!(correlator.alerts().is_empty());
    brute_force(&mut correlator, 5);
    correlator.settle();
    let open = only(&correlator);
    assert_eq!((open.count, open.revision, open.closed), (5, 3, false));
    assert_eq!(open.summary, "5 by 192.0.2.7");
    correlator.put_heartbeat(0, START + 1_000_000);
    correlator.settle();
    let closed = only(&correlator);
    assert_eq!((closed.count, closed.revision, closed.closed), (5, 4, true));
    assert_eq!(closed.utctimestamp, open.utctimestamp);
}

#[test]
fn revisions_wait_for_their_time() {
    let throttled = CorrelateConfig { revise_ms: 5_000, ..config() };
    let mut correlator = Correlator::new(rules(&rule_with("gte: 2", 120)), throttled, 1, 1);
    brute_force(&mut correlator, 9);
    correlator.settle();
    assert_eq!(only(&correlator).revision, 1);
    correlator.crash_windows();
    correlator.now += 5_000;
    correlator.settle();
    let revised = only(&correlator);
    assert_eq!((revised.revision, revised.count, revised.closed), (2, 9, false));
}

#[test]
fn what_is_late_is_kept_with_its_lag() {
    let mut correlator = Correlator::new(rules(&rule_with("gte: 1", 10)), config(), 1, 1);
    correlator.put_heartbeat(0, START + 60_000);
    correlator.settle();
    brute_force(&mut correlator, 1);
    correlator.settle();
    assert!(correlator.alerts().is_empty());
    let late = correlator.memory.all(Topic::Late).next().unwrap();
    assert_eq!(late.headers.get_str(headers::REASON), Some("late"));
    assert_eq!(late.headers.get_str(headers::DETAIL), Some("55000 ms below the watermark"));
    assert_eq!(late.headers.get_str(headers::RULE), Some("11111111-1111-4111-8111-111111111111"));
    assert!(late.value.starts_with(b"{\"utctimestamp\""));
}

#[test]
fn a_partition_never_heard_of_holds_time() {
    let mut correlator = Correlator::new(rules(&rule_with("gte: 1", 10)), config(), 2, 2);
    brute_force(&mut correlator, 1);
    correlator.put_heartbeat(0, START + 1_000_000);
    correlator.settle();
    assert!(!only(&correlator).closed);
    correlator.put_heartbeat(1, START + 1_000_000);
    correlator.settle();
    assert!(only(&correlator).closed);
}

#[test]
fn a_change_of_text_keeps_the_groups_and_one_of_matching_closes_them() {
    let mut correlator = Correlator::new(rules(&rule_with("gte: 3", 120)), config(), 1, 1);
    brute_force(&mut correlator, 2);
    correlator.settle();
    let text = rule_with("gte: 3", 120).replace("by {{ group }}", "from {{ group }}");
    correlator.rules.store(Arc::new(rules(&text)));
    brute_force(&mut correlator, 4);
    correlator.settle();
    assert_eq!(only(&correlator).summary, "4 from 192.0.2.7");
    assert!(!only(&correlator).closed);
    correlator.rules.store(Arc::new(rules(&rule_with("gte: 5", 120))));
    correlator.settle();
    let closed = only(&correlator);
    assert_eq!((closed.closed, closed.count, closed.summary.as_str()), (true, 4, "4 from 192.0.2.7"));
}

#[test]
fn a_rule_that_is_gone_after_a_restart_closes_with_its_own_words() {
    let mut correlator = Correlator::new(rules(&rule_with("gte: 3", 120)), config(), 1, 1);
    brute_force(&mut correlator, 4);
    correlator.settle();
    correlator.rules.store(Arc::new(rules(&rule_with("gte: 5", 120))));
    correlator.crash_windows();
    // An abort right after the end was put out: it is put out again.
    correlator.windows.tick(0, correlator.time());
    correlator.windows.abort();
    correlator.settle();
    let closed = only(&correlator);
    assert_eq!((closed.closed, closed.count, closed.summary.as_str()), (true, 4, "4 by 192.0.2.7"));
    assert_eq!(closed.events.len(), 4);
    let left = correlator.memory.changelog.values().flat_map(BTreeMap::keys).collect::<Vec<_>>();
    assert!(left.iter().all(|key| key.first() == Some(&0)), "{left:?}");
}

#[test]
fn matches_of_another_generation_are_dropped() {
    let mut correlator = Correlator::new(rules(&rule_with("gte: 1", 120)), config(), 1, 1);
    brute_force(&mut correlator, 1);
    let now = correlator.time();
    assert!(correlator.matches.read(0, 9, &correlator.memory, now));
    correlator.matches.commit(&mut correlator.memory, now);
    correlator.rules.store(Arc::new(rules(&rule_with("gte: 2", 120))));
    correlator.settle();
    assert!(correlator.alerts().is_empty());
    assert_eq!(correlator.memory.all(Topic::Dead).count(), 0);
}

#[test]
fn what_cannot_be_read_goes_to_dead_and_the_rest_goes_on() {
    let mut correlator = Correlator::new(rules(&rule_with("gte: 1", 120)), config(), 1, 1);
    let bad = |topic, key: &'static [u8], value: &'static [u8]| NewRecord {
        topic,
        partition: Some(0),
        key: Bytes::from_static(key),
        value: Bytes::from_static(value),
        headers: Headers::new().with(headers::RECEIVED, START.to_string()),
    };
    correlator.memory.append(bad(Topic::Events, b"00000000000000000000000000000001", b"{broken"));
    correlator.memory.append(bad(Topic::Events, b"not an id", b"{}"));
    correlator.memory.append(bad(Topic::Matches, b"\xff", b""));
    correlator.memory.append(bad(Topic::Matches, b"\x00\x00", b"nothing"));
    brute_force(&mut correlator, 1);
    correlator.settle();
    assert_eq!(only(&correlator).count, 1);
    let reasons = correlator.memory.all(Topic::Dead).map(|dead| {
        let header = |name| dead.headers.get_str(name).unwrap_or_default().to_owned();
        (header(headers::STAGE), header(headers::REASON))
    });
    let expected =
        ["match", "match", "window", "window"].map(|s| (s.to_owned(), "malformed_record".to_owned()));
    assert_eq!(reasons.collect::<Vec<_>>(), expected);
}
