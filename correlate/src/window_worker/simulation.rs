//! Both stages of the correlator over a log in memory, against the oracle:
//! random batches, aborts, crashes, partitions and repeated watermarks.
//!
//! `MOZDEF_FUZZ_CASES` sets how many histories, `MOZDEF_FUZZ_SEED` where they
//! begin; a failure prints its seed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use model::alert::Alert;
use model::config::CorrelateConfig;
use model::headers;
use model::ids::EventId;
use model::time::Timestamp;
use model::topic::Topic;
use stream::record::{Headers, NewRecord, Record, partition_of};
use stream::worker::Worker;

use super::WindowWorker;
use crate::match_worker::MatchWorker;
use crate::ruleset::RuleSet;
use crate::test_rules::rules;
use crate::window::Mark;
use crate::window::histories::{Random, condition};
use crate::window::oracle;

const START: i64 = 1_700_000_000_000;

/// Topics as lists of records; the changelog as the newest record of each key.
#[derive(Default)]
struct Memory {
    topics: BTreeMap<(Topic, u32), Vec<Record>>,
    partitions: BTreeMap<Topic, u32>,
    changelog: BTreeMap<u32, BTreeMap<Bytes, Record>>,
}

impl Memory {
    fn append(&mut self, new: NewRecord) {
        let count = self.partitions.get(&new.topic).copied().unwrap_or(1);
        let partition = new.partition.unwrap_or_else(|| partition_of(&new.key, count));
        let list = self.topics.entry((new.topic, partition)).or_default();
        let record = Record {
            topic: new.topic,
            partition,
            offset: list.len() as u64,
            appended: Timestamp::EPOCH,
            key: new.key,
            value: new.value,
            headers: new.headers,
        };
        if new.topic == Topic::Windows {
            let keys = self.changelog.entry(partition).or_default();
            if record.value.is_empty() {
                keys.remove(&record.key);
            } else {
                keys.insert(record.key.clone(), record);
            }
        } else {
            list.push(record);
        }
    }

    fn records(&self, topic: Topic, partition: u32) -> &[Record] {
        self.topics.get(&(topic, partition)).map_or(&[], Vec::as_slice)
    }

    fn all(&self, topic: Topic) -> impl Iterator<Item = &Record> {
        self.topics.iter().filter(move |((t, _), _)| *t == topic).flat_map(|(_, records)| records)
    }

    fn restored(&self, partition: u32) -> Vec<Record> {
        self.changelog.get(&partition).map(|keys| keys.values().cloned().collect()).unwrap_or_default()
    }
}

/// A worker with its place in its topic, run as the driver of the log runs it.
struct Stage {
    input: Topic,
    partitions: u32,
    worker: Box<dyn Worker>,
    committed: Vec<usize>,
    next: Vec<usize>,
    outputs: Vec<NewRecord>,
    touched: BTreeSet<u32>,
}

impl Stage {
    fn new(input: Topic, partitions: u32, worker: Box<dyn Worker>) -> Stage {
        let zero = vec![0; partitions as usize];
        Stage {
            input,
            partitions,
            worker,
            committed: zero.clone(),
            next: zero,
            outputs: Vec::new(),
            touched: BTreeSet::new(),
        }
    }

    fn start(&mut self, worker: Box<dyn Worker>, memory: &Memory, now: Timestamp) {
        self.worker = worker;
        self.next.clone_from(&self.committed);
        self.outputs.clear();
        self.touched.clear();
        for partition in 0..self.partitions {
            let restored = if self.input == Topic::Matches { memory.restored(partition) } else { Vec::new() };
            self.worker.assigned(partition, restored, now);
        }
    }

    /// One batch of one partition; false when there is nothing to read.
    fn read(&mut self, partition: u32, most: usize, memory: &Memory, now: Timestamp) -> bool {
        let from = self.next[partition as usize];
        let records = memory.records(self.input, partition);
        let batch = &records[from..records.len().min(from + most)];
        if batch.is_empty() {
            return false;
        }
        self.worker.process(partition, batch, now, &mut self.outputs);
        self.next[partition as usize] += batch.len();
        self.touched.insert(partition);
        true
    }

    fn tick(&mut self, partition: u32, now: Timestamp) {
        self.worker.tick(partition, now, None, &mut self.outputs);
        self.touched.insert(partition);
    }

    fn commit(&mut self, memory: &mut Memory, now: Timestamp) {
        self.outputs.drain(..).for_each(|record| memory.append(record));
        self.committed.clone_from(&self.next);
        for partition in std::mem::take(&mut self.touched) {
            self.worker.committed(partition, now);
        }
    }

    fn abort(&mut self) {
        self.outputs.clear();
        self.next.clone_from(&self.committed);
        for partition in std::mem::take(&mut self.touched) {
            self.worker.aborted(partition);
        }
    }
}

/// A correlator of two stages and its log.
struct Correlator {
    memory: Memory,
    rules: Arc<ArcSwap<RuleSet>>,
    config: CorrelateConfig,
    events_partitions: u32,
    matches_partitions: u32,
    matches: Stage,
    windows: Stage,
    now: i64,
}

impl Correlator {
    fn new(set: RuleSet, config: CorrelateConfig, events: u32, matches: u32) -> Correlator {
        let rules = Arc::new(ArcSwap::from_pointee(set));
        let mut memory = Memory::default();
        memory.partitions = BTreeMap::from([(Topic::Events, events), (Topic::Matches, matches)]);
        let first = Box::new(MatchWorker::new(Arc::clone(&rules), &config, matches));
        let second = Box::new(WindowWorker::new(Arc::clone(&rules), &config, events));
        let mut correlator = Correlator {
            memory,
            config,
            events_partitions: events,
            matches_partitions: matches,
            matches: Stage::new(Topic::Events, events, first),
            windows: Stage::new(Topic::Matches, matches, second),
            rules,
            now: START,
        };
        correlator.crash_matches();
        correlator.crash_windows();
        correlator
    }

    fn time(&self) -> Timestamp {
        Timestamp::from_millis(self.now)
    }

    fn crash_matches(&mut self) {
        let worker = MatchWorker::new(Arc::clone(&self.rules), &self.config, self.matches_partitions);
        self.matches.start(Box::new(worker), &self.memory, self.time());
    }

    fn crash_windows(&mut self) {
        let worker = WindowWorker::new(Arc::clone(&self.rules), &self.config, self.events_partitions);
        self.windows.start(Box::new(worker), &self.memory, self.time());
    }

    fn put_event(&mut self, partition: u32, received: i64, id: EventId, json: String) {
        let headers = Headers::new()
            .with(headers::RECEIVED, received.to_string())
            .with(headers::ORIGIN, format!("mozdef.raw/{partition}/{id}"));
        let key = Bytes::from(id.to_string());
        let value = Bytes::from(json);
        self.memory.append(NewRecord {
            topic: Topic::Events,
            partition: Some(partition),
            key,
            value,
            headers,
        });
    }

    fn put_heartbeat(&mut self, partition: u32, received: i64) {
        let headers = Headers::new()
            .with(headers::KIND, headers::KIND_HEARTBEAT)
            .with(headers::RECEIVED, received.to_string());
        let (key, value) = (Bytes::new(), Bytes::new());
        self.memory.append(NewRecord {
            topic: Topic::Events,
            partition: Some(partition),
            key,
            value,
            headers,
        });
    }

    /// Reads everything and ticks, without faults.
    fn settle(&mut self) {
        for _ in 0..3 {
            self.now += 1_000;
            let now = self.time();
            for partition in 0..self.events_partitions {
                while self.matches.read(partition, 7, &self.memory, now) {}
            }
            self.matches.commit(&mut self.memory, now);
            (0..self.events_partitions).for_each(|partition| self.matches.tick(partition, now));
            self.matches.commit(&mut self.memory, now);
            for partition in 0..self.matches_partitions {
                while self.windows.read(partition, 7, &self.memory, now) {}
                self.windows.tick(partition, now);
            }
            self.windows.commit(&mut self.memory, now);
        }
    }

    /// One random thing that a stage does or suffers.
    fn shake(&mut self, random: &mut Random) {
        self.now += random.range(0, 700);
        let now = self.time();
        let first = random.chance(50);
        let (stage, count) = if first {
            (&mut self.matches, self.events_partitions)
        } else {
            (&mut self.windows, self.matches_partitions)
        };
        let partition = random.range(0, i64::from(count) - 1) as u32;
        match random.range(0, 11) {
            0..=5 => drop(stage.read(partition, random.range(1, 12) as usize, &self.memory, now)),
            6 | 7 => stage.tick(partition, now),
            8 | 9 => stage.commit(&mut self.memory, now),
            10 => stage.abort(),
            _ if first => self.crash_matches(),
            _ => self.crash_windows(),
        }
    }

    /// The last revision of each alert; revisions must count up by one.
    fn alerts(&self) -> BTreeMap<Bytes, Alert> {
        let mut alerts = BTreeMap::<Bytes, Alert>::new();
        for record in self.memory.all(Topic::Alerts) {
            let alert: Alert = serde_json::from_slice(&record.value).unwrap();
            let before = alerts.get(&record.key);
            assert_eq!(alert.revision, before.map_or(0, |before| before.revision) + 1, "{alert:?}");
            assert!(before.is_none_or(|before| !before.closed), "{alert:?}");
            alerts.insert(record.key.clone(), alert);
        }
        alerts
    }
}

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

fn rule_with(condition: &str, timespan_s: i64) -> String {
    format!(
        "
title: Failed login
name: failed
logsource: {{product: mozdef}}
detection: {{s: {{outcome: failed}}, condition: s}}
---
title: Failures
id: 11111111-1111-4111-8111-111111111111
correlation:
  type: event_count
  rules: [failed]
  group-by: [ip]
  timespan: {timespan_s}s
  condition: {{{condition}}}
mozdef:
  summary: '{{{{ count }}}} by {{{{ group }}}}'
"
    )
}

fn config() -> CorrelateConfig {
    CorrelateConfig {
        disorder_ms: 2_000,
        lateness_ms: 3_000,
        skew_ms: 3_000,
        revise_ms: 0,
        lateness_ms_by_source: BTreeMap::new(),
        ..CorrelateConfig::default()
    }
}

fn event_json(time: i64, ip: &str, outcome: &str) -> String {
    let time = Timestamp::from_millis(time);
    format!(r#"{{"utctimestamp":"{time}","ip":"{ip}","outcome":"{outcome}"}}"#)
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
        oracle::alerts(rule.timespan_ms, &rule.condition, 10, marks)
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
    for seed in first..first + number("MOZDEF_FUZZ_CASES", 400) {
        run_history(seed);
    }
}

/// Ten failed logins, five seconds apart, of one address in one partition.
fn brute_force(correlator: &mut Correlator, count: i64) {
    for number in 0..count {
        let id = EventId::from_position("log", "mozdef.raw", 0, number as u64, 0);
        let received = START + number * 5_000;
        correlator.put_event(0, received, id, event_json(received, "192.0.2.7", "failed"));
    }
}

fn only(correlator: &Correlator) -> Alert {
    let alerts = correlator.alerts();
    assert_eq!(alerts.len(), 1, "{alerts:?}");
    alerts.into_values().next().unwrap()
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
