//! Random histories of one log against a naive model: vectors of records.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use model::time::Timestamp;
use model::topic::{Cleanup, Topic};
use proptest::prelude::*;

use super::{PLENTY, all, open, options, record};
use crate::invariants::{LG_2, LG_3, LG_7, LG_8};
use crate::local::{LocalLog, LocalOptions, compact};
use crate::log::{FetchLimits, Log, Polled, Transaction};
use crate::record::NewRecord;

const TOPICS: [Topic; 3] = [Topic::Raw, Topic::Windows, Topic::Alerts];

#[derive(Clone, Debug)]
enum Act {
    /// (topic, partition, key, bytes of the value)
    Produce(Vec<(usize, u32, u8, usize)>),
    /// Consume up to so many records of raw, put one output for each into alerts.
    Hop(usize),
    Restart,
    Fetch(usize, u32, u64, usize, usize),
    Compact(usize, u32),
    Pass(i64),
    Upkeep,
}

fn act() -> impl Strategy<Value = Act> {
    let size = prop_oneof![8 => 0..200_usize, 1 => 1000..200_000_usize];
    let one = (0..3_usize, 0..2_u32, 0..6_u8, size);
    prop_oneof![
        8 => prop::collection::vec(one, 1..40).prop_map(Act::Produce),
        4 => (1..30_usize).prop_map(Act::Hop),
        1 => Just(Act::Restart),
        4 => (0..3_usize, 0..2_u32, 0..200_u64, 1..50_usize, 1..100_000_usize)
            .prop_map(|(t, p, from, records, bytes)| Act::Fetch(t, p, from, records, bytes)),
        2 => (1..3_usize, 0..2_u32).prop_map(|(t, p)| Act::Compact(t, p)),
        2 => (0..40_i64).prop_map(|minutes| Act::Pass(minutes * 60_000)),
        1 => Just(Act::Upkeep),
    ]
}

/// Offset, key, value, time.
type Kept = (u64, Bytes, Bytes, Timestamp);

/// What the log must hold.
#[derive(Default)]
struct Model {
    kept: BTreeMap<(Topic, u32), Vec<Kept>>,
    ends: BTreeMap<(Topic, u32), u64>,
    committed: BTreeMap<u32, u64>,
}

impl Model {
    fn append(&mut self, records: &[NewRecord], now: Timestamp) {
        for record in records {
            let place = (record.topic, record.partition.unwrap());
            let end = self.ends.entry(place).or_default();
            self.kept.entry(place).or_default().push((*end, record.key.clone(), record.value.clone(), now));
            *end += 1;
        }
    }
}

struct Run {
    folder: tempfile::TempDir,
    options: LocalOptions,
    log: Arc<LocalLog>,
    model: Model,
}

impl Run {
    async fn start() -> Run {
        let folder = tempfile::tempdir().unwrap();
        let options = options(folder.path());
        Run { log: open(options.clone()).await, folder, options, model: Model::default() }
    }

    async fn act(&mut self, act: Act) {
        let now = self.options.clock.now();
        match act {
            Act::Produce(parts) => {
                let made = |(t, p, key, size): (usize, u32, u8, usize)| {
                    let key = if key == 0 { String::new() } else { format!("k{key}") };
                    record(TOPICS[t], p, &key, vec![b'v'; size])
                };
                let records: Vec<NewRecord> = parts.into_iter().map(made).collect();
                let positions = self.log.produce(records.clone()).await.unwrap();
                for (position, record) in positions.iter().zip(&records) {
                    let end = self.model.ends.get(&(record.topic, position.partition)).copied().unwrap_or(0);
                    assert!(position.offset >= end, "{}", LG_8.text);
                }
                self.model.append(&records, now);
            }
            Act::Hop(count) => self.hop(count, now).await,
            Act::Restart => {
                self.log.close().await;
                self.log = open(self.options.clone()).await;
            }
            Act::Fetch(t, p, from, records_max, bytes_max) => {
                self.fetch(TOPICS[t], p, from, records_max, bytes_max).await
            }
            Act::Compact(t, p) => {
                let shard = self.log.core.shards.get(TOPICS[t], p).unwrap();
                compact::compact(&self.log.core.store().unwrap(), TOPICS[t], p, shard, now).unwrap();
            }
            Act::Pass(millis) => self.options.clock.set(now.plus_millis(millis)),
            Act::Upkeep => self.log.upkeep().await.unwrap(),
        }
    }

    async fn hop(&mut self, records_max: usize, now: Timestamp) {
        let mut consumer = self.log.subscribe("hop", Topic::Raw).await.unwrap();
        assert!(matches!(consumer.poll(Duration::ZERO, PLENTY).await.unwrap(), Polled::Assigned(_)));
        let limits = FetchLimits { records_max, ..PLENTY };
        let Polled::Records(p, read) = consumer.poll(Duration::ZERO, limits).await.unwrap() else { return };
        let next = read.last().unwrap().offset + 1;
        let outputs: Vec<NewRecord> =
            read.iter().map(|r| record(Topic::Alerts, p, "hop", r.value.clone())).collect();
        consumer.commit(Transaction { outputs: outputs.clone(), offsets: vec![(p, next)] }).await.unwrap();
        self.model.append(&outputs, now);
        let before = self.model.committed.insert(p, next).unwrap_or(0);
        assert!(read[0].offset >= before, "{}", LG_2.text);
    }

    async fn fetch(&self, topic: Topic, p: u32, from: u64, records_max: usize, bytes_max: usize) {
        let read =
            self.log.fetch(topic, p, from, FetchLimits { records_max, bytes_max }).await.unwrap().records;
        let whole = all(&self.log, topic, p).await;
        let wanted: Vec<_> = whole.into_iter().filter(|record| record.offset >= from).collect();
        assert_eq!(read, wanted[..read.len()]);
        assert!(read.len() <= records_max && (wanted.is_empty() || !read.is_empty()));
        let bytes: usize = read.iter().map(crate::record::Record::size).sum();
        assert!(read.len() <= 1 || bytes <= bytes_max);
        let is_cut = read.len() < records_max && read.len() < wanted.len();
        assert!(
            !is_cut
                || bytes + wanted[read.len()].size() > bytes_max.min(bytes + wanted[read.len()].size() - 1)
        );
    }

    /// Everything that must be there is there, and nothing else.
    async fn check(&self) {
        let now = self.options.clock.now();
        for (&(topic, p), kept) in &self.model.kept {
            let found = all(&self.log, topic, p).await;
            let extent = self.log.extent(topic, p).await.unwrap();
            assert_eq!(extent.end, self.model.ends[&(topic, p)], "{}", LG_8.text);
            assert!(found.is_sorted_by(|a, b| a.offset < b.offset), "{}", LG_3.text);
            let mut found_at: BTreeMap<u64, _> = BTreeMap::new();
            for record in &found {
                let (_, key, value, time) = &kept[record.offset as usize];
                assert_eq!((&record.key, &record.value, &record.appended), (key, value, time));
                found_at.insert(record.offset, ());
            }
            for (index, (offset, key, value, time)) in kept.iter().enumerate() {
                let is_newest =
                    key.is_empty() || kept[index + 1..].iter().all(|(_, later, _, _)| later != key);
                let is_old_tombstone = value.is_empty() && *time < now.plus_millis(-3_600_000);
                let is_expired = *time < now.plus_millis(-3_600_000);
                let may_go = match topic.cleanup() {
                    Cleanup::Time => is_expired,
                    Cleanup::Compact => !is_newest || is_old_tombstone,
                    Cleanup::CompactTime => !is_newest || is_old_tombstone || is_expired,
                };
                assert!(may_go || found_at.contains_key(offset), "{} {topic}/{p}/{offset}", LG_7.text);
            }
        }
        for (p, next) in &self.model.committed {
            let start = self.log.extent(Topic::Raw, *p).await.unwrap().start;
            assert_eq!(self.log.committed("hop", Topic::Raw, *p).await.unwrap(), start.max(*next));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, max_shrink_iters: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_log_agrees_with_vectors(acts in prop::collection::vec(act(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut run = Run::start().await;
            for act in acts {
                run.act(act).await;
            }
            run.check().await;
            run.act(Act::Restart).await;
            run.check().await;
            assert!(run.folder.path().exists());
        });
    }
}
