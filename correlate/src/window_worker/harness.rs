//! Both stages over a log in memory, for tests: commits, aborts, crashes.
//!
//! In: events, rules, faults. Out: alerts. Never: anything that a log would
//! not do.

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
use crate::window::histories::Random;

pub(crate) const START: i64 = 1_700_000_000_000;

/// Topics as lists of records; the changelog as the newest record of each key.
#[derive(Default)]
pub(crate) struct Memory {
    pub(crate) topics: BTreeMap<(Topic, u32), Vec<Record>>,
    pub(crate) partitions: BTreeMap<Topic, u32>,
    pub(crate) changelog: BTreeMap<u32, BTreeMap<Bytes, Record>>,
}

impl Memory {
    pub(crate) fn append(&mut self, new: NewRecord) {
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

    pub(crate) fn records(&self, topic: Topic, partition: u32) -> &[Record] {
        self.topics.get(&(topic, partition)).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn all(&self, topic: Topic) -> impl Iterator<Item = &Record> {
        self.topics.iter().filter(move |((t, _), _)| *t == topic).flat_map(|(_, records)| records)
    }

    pub(crate) fn restored(&self, partition: u32) -> Vec<Record> {
        self.changelog.get(&partition).map(|keys| keys.values().cloned().collect()).unwrap_or_default()
    }
}

/// A worker with its place in its topic, run as the driver of the log runs it.
pub(crate) struct Stage {
    pub(crate) input: Topic,
    pub(crate) partitions: u32,
    pub(crate) worker: Box<dyn Worker>,
    pub(crate) committed: Vec<usize>,
    pub(crate) next: Vec<usize>,
    pub(crate) outputs: Vec<NewRecord>,
    pub(crate) touched: BTreeSet<u32>,
}

impl Stage {
    pub(crate) fn new(input: Topic, partitions: u32, worker: Box<dyn Worker>) -> Stage {
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

    pub(crate) fn start(&mut self, worker: Box<dyn Worker>, memory: &Memory, now: Timestamp) {
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
    pub(crate) fn read(&mut self, partition: u32, most: usize, memory: &Memory, now: Timestamp) -> bool {
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

    pub(crate) fn tick(&mut self, partition: u32, now: Timestamp) {
        self.worker.tick(partition, now, None, &mut self.outputs);
        self.touched.insert(partition);
    }

    pub(crate) fn commit(&mut self, memory: &mut Memory, now: Timestamp) {
        self.outputs.drain(..).for_each(|record| memory.append(record));
        self.committed.clone_from(&self.next);
        for partition in std::mem::take(&mut self.touched) {
            self.worker.committed(partition, now);
        }
    }

    pub(crate) fn abort(&mut self) {
        self.outputs.clear();
        self.next.clone_from(&self.committed);
        for partition in std::mem::take(&mut self.touched) {
            self.worker.aborted(partition);
        }
    }
}

/// A correlator of two stages and its log.
pub(crate) struct Correlator {
    pub(crate) memory: Memory,
    pub(crate) rules: Arc<ArcSwap<RuleSet>>,
    pub(crate) config: CorrelateConfig,
    pub(crate) events_partitions: u32,
    pub(crate) matches_partitions: u32,
    pub(crate) matches: Stage,
    pub(crate) windows: Stage,
    pub(crate) now: i64,
}

impl Correlator {
    pub(crate) fn new(set: RuleSet, config: CorrelateConfig, events: u32, matches: u32) -> Correlator {
        let rules = Arc::new(ArcSwap::from_pointee(set));
        let partitions = BTreeMap::from([(Topic::Events, events), (Topic::Matches, matches)]);
        let memory = Memory { partitions, ..Memory::default() };
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

    pub(crate) fn time(&self) -> Timestamp {
        Timestamp::from_millis(self.now)
    }

    pub(crate) fn crash_matches(&mut self) {
        let worker = MatchWorker::new(Arc::clone(&self.rules), &self.config, self.matches_partitions);
        self.matches.start(Box::new(worker), &self.memory, self.time());
    }

    pub(crate) fn crash_windows(&mut self) {
        let worker = WindowWorker::new(Arc::clone(&self.rules), &self.config, self.events_partitions);
        self.windows.start(Box::new(worker), &self.memory, self.time());
    }

    pub(crate) fn put_event(&mut self, partition: u32, received: i64, id: EventId, json: String) {
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

    pub(crate) fn put_heartbeat(&mut self, partition: u32, received: i64) {
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
    pub(crate) fn settle(&mut self) {
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
    pub(crate) fn shake(&mut self, random: &mut Random) {
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
    pub(crate) fn alerts(&self) -> BTreeMap<Bytes, Alert> {
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

pub(crate) fn rule_with(condition: &str, timespan_s: i64) -> String {
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

pub(crate) fn config() -> CorrelateConfig {
    CorrelateConfig {
        disorder_ms: 2_000,
        lateness_ms: 3_000,
        skew_ms: 3_000,
        revise_ms: 0,
        lateness_ms_by_source: BTreeMap::new(),
        ..CorrelateConfig::default()
    }
}

pub(crate) fn event_json(time: i64, ip: &str, outcome: &str) -> String {
    let time = Timestamp::from_millis(time);
    format!(r#"{{"utctimestamp":"{time}","ip":"{ip}","outcome":"{outcome}"}}"#)
}

/// Ten failed logins, five seconds apart, of one address in one partition.
pub(crate) fn brute_force(correlator: &mut Correlator, count: i64) {
    for number in 0..count {
        let id = EventId::from_position("log", "mozdef.raw", 0, number as u64, 0);
        let received = START + number * 5_000;
        correlator.put_event(0, received, id, event_json(received, "192.0.2.7", "failed"));
    }
}

pub(crate) fn only(correlator: &Correlator) -> Alert {
    let alerts = correlator.alerts();
    assert_eq!(alerts.len(), 1, "{alerts:?}");
    alerts.into_values().next().unwrap()
}
