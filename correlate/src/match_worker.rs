//! The match stage: events to matches of windowed rules, and to alerts of
//! rules that need no window.
//!
//! In: `mozdef.events`, heartbeats among them. Out: `mozdef.matches` (matches,
//! and once a second the watermarks of all partitions owned here, to every
//! partition), `mozdef.alerts`, `mozdef.dead`. Never: state beyond the highest
//! receipt seen of each partition.
//!
//! A watermark promises that every match of what was received before is
//! already in the log, or goes with it: of the partition that is ticked what
//! is put out counts, of the others only what is committed.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use model::config::CorrelateConfig;
use model::error::Reason;
use model::event::{Event, Limits};
use model::headers;
use model::ids::EventId;
use model::metrics::{Drop, Stage, metrics};
use model::time::Timestamp;
use model::wire_format;
use serde_json::Map;
use stream::dead;
use stream::record::{NewRecord, Record};
use stream::worker::Worker;

use crate::alert_document::{self, Documents, single_id, single_revision};
use crate::alert_metrics::AlertCounts;
use crate::event_time::Bounds;
use crate::hits::{self, Fed, FedGroup};
use crate::match_record::{self, Match};
use crate::ruleset::{RuleSet, Scratch};
use crate::window::tops::Values;
use crate::window::{Mark, Sample};

/// Least time between two watermark records, in milliseconds. The tick comes each second, roughly.
const WATERMARK_MS: i64 = 900;

/// The match stage of one process.
pub struct MatchWorker {
    rules: Arc<ArcSwap<RuleSet>>,
    bounds: Bounds,
    disorder_ms: i64,
    matches_partitions: u32,
    partitions: BTreeMap<u32, Partition>,
    written: Written,
    documents: Documents,
    event: Event,
    scratch: Scratch,
    hits: Vec<usize>,
}

/// What is known of one events partition.
#[derive(Default)]
struct Partition {
    /// Highest receipt, in milliseconds, with what is not committed.
    highest: Option<i64>,
    highest_committed: Option<i64>,
    counts: Counts,
}

/// The last watermark record.
#[derive(Default)]
struct Written {
    at: Option<i64>,
    map: BTreeMap<u32, i64>,
}

/// What is counted when it is committed.
#[derive(Default)]
struct Counts {
    finished: u64,
    backfill: u64,
    dead: u64,
    clock_suspect: u64,
    detections: u64,
    correlations: u64,
    groups_missing: u64,
    groups_left_out: u64,
    alerts: AlertCounts,
}

/// Why an events record cannot be judged.
#[derive(Debug, thiserror::Error)]
enum Malformed {
    #[error("no header {} with a time in milliseconds", headers::RECEIVED)]
    Received,
    #[error("neither key nor header {} is an event id of 32 hex digits", headers::EVENT_ID)]
    Id,
    #[error("the value is no event: {0}")]
    Event(#[from] model::event::ParseError),
}

impl MatchWorker {
    /// A worker over the rules in force; `matches_partitions`: of `mozdef.matches`.
    pub fn new(
        rules: Arc<ArcSwap<RuleSet>>,
        config: &CorrelateConfig,
        matches_partitions: u32,
    ) -> MatchWorker {
        MatchWorker {
            rules,
            bounds: Bounds::new(config),
            disorder_ms: i64::try_from(config.disorder_ms).unwrap_or(i64::MAX),
            matches_partitions,
            partitions: BTreeMap::new(),
            written: Written::default(),
            documents: Documents::default(),
            event: Event::new(),
            scratch: Scratch::default(),
            hits: Vec::new(),
        }
    }

    /// Judges one event. What is put out before an error stays; errors come first.
    fn judge(
        &mut self,
        rules: &RuleSet,
        counts: &mut Counts,
        record: &Record,
        now: i64,
        out: &mut Vec<NewRecord>,
    ) -> Result<(), Malformed> {
        let received = received(record).ok_or(Malformed::Received)?;
        let id = event_id(record).ok_or(Malformed::Id)?;
        if record.headers.get_str(headers::BACKFILL) == Some("1") {
            counts.backfill = counts.backfill.saturating_add(1);
            return Ok(());
        }
        self.event.parse(wire_format::payload(&record.value), &Limits::MAX)?;
        counts.finished = counts.finished.saturating_add(1);
        let time = self.bounds.live(&self.event, received);
        counts.clock_suspect = counts.clock_suspect.saturating_add(u64::from(time.suspect));
        rules.evaluate(&self.event, &mut self.scratch, &mut self.hits);
        if !self.hits.is_empty() {
            let mark = Mark { time: time.millis, id };
            let sample = Arc::new(sample(record, received));
            self.alert(rules, counts, mark, &sample, now, out);
            self.put_matches(rules, counts, mark, &sample, out);
        }
        Ok(())
    }

    /// Rules without a window alert at once.
    fn alert(
        &mut self,
        rules: &RuleSet,
        counts: &mut Counts,
        mark: Mark,
        sample: &Arc<Sample>,
        now: i64,
        out: &mut Vec<NewRecord>,
    ) {
        for info in hits::alerting(rules, &self.hits) {
            let revision = single_revision(mark, Arc::clone(sample), now);
            let alert = self.documents.alert(info, Map::new(), &revision, None);
            counts.detections = counts.detections.saturating_add(1);
            counts.alerts.unknown(self.documents.take_unknown());
            counts.alerts.fired(&alert.severity, Some(sample.received));
            match alert_document::record(single_id(info, mark.id), &alert) {
                Ok(record) => out.push(record),
                Err(error) => tracing::error!(rule = info.id, %error, "an alert cannot be written as JSON"),
            }
        }
    }

    /// One match for each group of each windowed rule that the event feeds.
    fn put_matches(
        &mut self,
        rules: &RuleSet,
        counts: &mut Counts,
        mark: Mark,
        sample: &Arc<Sample>,
        out: &mut Vec<NewRecord>,
    ) {
        for Fed { rule, groups, fact, left_out, .. } in hits::fed(rules, &self.hits, &self.event) {
            counts.groups_left_out = counts.groups_left_out.saturating_add(left_out);
            counts.groups_missing = counts.groups_missing.saturating_add(u64::from(groups.is_empty()));
            let prefix = match_record::rule_prefix(&rule.info);
            let sample = hits::counted(sample, rule, &self.event);
            let mut previous: Option<(Vec<u16>, Bytes)> = None;
            for FedGroup { key, members } in groups {
                counts.correlations = counts.correlations.saturating_add(1);
                // The groups of a list have one and the same value, which may be large.
                let value = match previous.take().filter(|(same, _)| *same == members) {
                    Some((_, value)) => value,
                    None => {
                        let rules = members.clone();
                        match_record::encode(&Match { mark, rules, fact, sample: Arc::clone(&sample) })
                    }
                };
                out.push(match_record::record(match_record::key(&prefix, &key), value.clone()));
                previous = Some((members, value));
            }
        }
    }

    /// The watermarks that hold once the outputs of `ticked` so far are committed.
    fn watermarks(&self, ticked: u32) -> BTreeMap<u32, i64> {
        let known = |(number, partition): (&u32, &Partition)| {
            let highest = if *number == ticked { partition.highest } else { partition.highest_committed };
            Some((*number, highest?.saturating_sub(self.disorder_ms)))
        };
        self.partitions.iter().filter_map(known).collect()
    }
}

impl Worker for MatchWorker {
    fn assigned(&mut self, partition: u32, _restored: Vec<Record>, _now: Timestamp) {
        self.partitions.insert(partition, Partition::default());
    }

    fn process(&mut self, partition: u32, records: &[Record], now: Timestamp, out: &mut Vec<NewRecord>) {
        // One set for the whole batch; another may come into force between two batches.
        let rules = self.rules.load_full();
        let Some(mut state) = self.partitions.remove(&partition) else { return };
        for record in records {
            state.highest = state.highest.max(received(record));
            if record.headers.get(headers::KIND).is_some() {
                continue;
            }
            if let Err(malformed) = self.judge(&rules, &mut state.counts, record, now.millis(), out) {
                state.counts.dead = state.counts.dead.saturating_add(1);
                out.push(dead::letter(record, Stage::Match, Reason::MalformedRecord, &malformed.to_string()));
            }
        }
        self.partitions.insert(partition, state);
    }

    fn tick(&mut self, partition: u32, now: Timestamp, _at_end: Option<Timestamp>, out: &mut Vec<NewRecord>) {
        let now = now.millis();
        let soon = self.written.at.is_some_and(|at| (0..WATERMARK_MS).contains(&now.saturating_sub(at)));
        let map = self.watermarks(partition);
        if soon || map.is_empty() || map == self.written.map {
            return;
        }
        let value = match_record::encode_watermarks(&map);
        out.extend((0..self.matches_partitions).map(|to| match_record::watermark_record(to, &value)));
        self.written = Written { at: Some(now), map };
    }

    fn committed(&mut self, partition: u32, now: Timestamp) {
        let Some(state) = self.partitions.get_mut(&partition) else { return };
        state.highest_committed = state.highest;
        std::mem::take(&mut state.counts).report(now);
    }

    fn aborted(&mut self, partition: u32) {
        // The record may not have been written; writing it again does no harm.
        self.written = Written::default();
        let Some(state) = self.partitions.get_mut(&partition) else { return };
        state.highest = state.highest_committed;
        state.counts = Counts::default();
    }

    fn revoked(&mut self, partition: u32) {
        self.partitions.remove(&partition);
    }
}

impl Counts {
    fn report(self, now: Timestamp) {
        let m = metrics();
        m.finished(Stage::Match, self.finished);
        m.dropped(Stage::Match, Drop::Backfill, self.backfill);
        m.dead(Stage::Match, Reason::MalformedRecord, self.dead);
        m.clock_suspect.inc_by(self.clock_suspect);
        m.rule_matches.with_label_values(&["detection"]).inc_by(self.detections);
        m.rule_matches.with_label_values(&["correlation"]).inc_by(self.correlations);
        m.groups_skipped.with_label_values(&["missing_field"]).inc_by(self.groups_missing);
        m.groups_skipped.with_label_values(&["too_many"]).inc_by(self.groups_left_out);
        self.alerts.report(now);
    }
}

fn received(record: &Record) -> Option<i64> {
    record.headers.get_str(headers::RECEIVED)?.parse().ok()
}

fn event_id(record: &Record) -> Option<EventId> {
    let text = match record.headers.get_str(headers::EVENT_ID) {
        Some(text) => text,
        None => std::str::from_utf8(&record.key).ok()?,
    };
    EventId::parse(text)
}

fn sample(record: &Record, received: i64) -> Sample {
    let header = |name| record.headers.get_str(name).map(Box::from);
    Sample {
        received,
        index: header(headers::INDEX),
        document_id: header(headers::DOCUMENT_ID),
        origin: header(headers::ORIGIN).unwrap_or_default(),
        body: wire_format::payload(&record.value).into(),
        values: Values::default(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use arc_swap::ArcSwap;
    use bytes::Bytes;
    use model::alert::Alert;
    use model::config::CorrelateConfig;
    use model::headers;
    use model::time::Timestamp;
    use model::topic::Topic;
    use stream::record::{Headers, NewRecord, Record};
    use stream::worker::Worker;

    use super::{MatchWorker, Written};
    use crate::match_record::{decode, decode_watermarks};
    use crate::test_rules::rules;

    const RECEIVED: i64 = 1_717_999_200_000;

    const RULES: &str = "
title: Failed
name: failed
logsource: {product: mozdef}
detection: {s: {outcome: failed}, condition: s}
---
title: Many
correlation: {type: event_count, rules: [failed], group-by: [ip], timespan: 1m, condition: {gte: 3}}
---
title: Root
logsource: {product: mozdef}
detection: {s: {user: root}, condition: s}
mozdef: {summary: 'root on {{ event.host }}'}
";

    fn worker(partitions: u32) -> MatchWorker {
        let rules = Arc::new(ArcSwap::from_pointee(rules(RULES)));
        let mut worker = MatchWorker::new(rules, &CorrelateConfig::default(), 2);
        (0..partitions).for_each(|partition| worker.assigned(partition, Vec::new(), now(0)));
        worker
    }

    fn now(ms: i64) -> Timestamp {
        Timestamp::from_millis(RECEIVED + ms)
    }

    fn record(json: &str, headers: Headers) -> Record {
        Record {
            topic: Topic::Events,
            partition: 0,
            offset: 0,
            appended: Timestamp::EPOCH,
            key: Bytes::from_static(b"000102030405060708090a0b0c0d0e0f"),
            value: Bytes::from(json.to_owned()),
            headers,
        }
    }

    fn event(json: &str) -> Record {
        record(json, Headers::new().with(headers::RECEIVED, RECEIVED.to_string()).with(headers::ORIGIN, "o"))
    }

    fn heartbeat(ms: i64) -> Record {
        let headers = Headers::new().with(headers::KIND, headers::KIND_HEARTBEAT);
        record("", headers.with(headers::RECEIVED, (RECEIVED + ms).to_string()))
    }

    fn process(records: &[Record]) -> (MatchWorker, Vec<NewRecord>) {
        let (mut worker, mut out) = (worker(1), Vec::new());
        worker.process(0, records, now(5), &mut out);
        (worker, out)
    }

    #[test]
    fn a_windowed_rule_gets_one_match_for_each_group() {
        let json = r#"{"outcome":"failed","ip":["192.0.2.1","192.0.2.2"]}"#;
        let (worker, out) = process(&[event(json), event(r#"{"outcome":"failed"}"#), event("{}")]);
        assert_eq!(out.len(), 2);
        assert!(out.iter().all(|record| record.topic == Topic::Matches && record.partition.is_none()));
        assert_ne!(out[0].key, out[1].key);
        let found = decode(&out[0].value).unwrap();
        assert_eq!((found.mark.time, found.rules), (RECEIVED, vec![0]));
        assert_eq!((&*found.sample.body, &*found.sample.origin), (json.as_bytes(), "o"));
        let counts = &worker.partitions[&0].counts;
        assert_eq!((counts.finished, counts.correlations, counts.groups_missing), (3, 2, 1));
    }

    #[test]
    fn a_rule_without_window_alerts_at_once() {
        let (worker, out) = process(&[event(r#"{"user":"root","host":"web1"}"#)]);
        let alert: Alert = serde_json::from_slice(&out[0].value).unwrap();
        assert_eq!((out.len(), alert.summary.as_str(), alert.closed), (1, "root on web1", true));
        assert_eq!(alert.events[0].documentid, "000102030405060708090a0b0c0d0e0f");
        assert_eq!(alert.first_event.time, "2024-06-10T06:00:00+00:00");
        assert_eq!(worker.partitions[&0].counts.detections, 1);
    }

    #[test]
    fn backfill_takes_no_part() {
        let marked = event(r#"{"user":"root","outcome":"failed","ip":"a"}"#);
        let marked = Record { headers: marked.headers.clone().with(headers::BACKFILL, "1"), ..marked };
        let (worker, out) = process(&[marked]);
        let counts = &worker.partitions[&0].counts;
        assert_eq!((out.len(), counts.backfill, counts.finished), (0, 1, 0));
    }

    #[test]
    fn what_is_malformed_goes_to_dead() {
        let no_receipt = record("{}", Headers::new());
        let no_id = Record { key: Bytes::from_static(b"x"), ..event("{}") };
        let (worker, out) = process(&[no_receipt, no_id, event("["), event("")]);
        let details = out.iter().map(|record| record.headers.get_str(headers::DETAIL).unwrap_or_default());
        let starts = ["no header received", "neither key", "the value is no event", "the value is no event"];
        assert!(details.zip(starts).all(|(detail, start)| detail.starts_with(start)));
        assert!(out.iter().all(|record| record.topic == Topic::Dead) && out.len() == 4);
        assert_eq!(worker.partitions[&0].counts.dead, 4);
    }

    #[test]
    fn each_matches_partition_hears_the_watermarks_once_a_second() {
        let (mut worker, mut out) = (worker(2), Vec::new());
        worker.process(0, &[heartbeat(40_000), heartbeat(10_000)], now(0), &mut out);
        worker.process(1, &[heartbeat(50_000)], now(0), &mut out);
        assert!(out.is_empty());
        let map = |out: &[NewRecord]| decode_watermarks(&out[0].value).unwrap();
        // Of the other partition only what is committed counts.
        worker.tick(0, now(0), None, &mut out);
        assert_eq!(map(&out), BTreeMap::from([(0, RECEIVED + 10_000)]));
        assert_eq!(out.iter().map(|record| record.partition).collect::<Vec<_>>(), [Some(0), Some(1)]);
        out.clear();
        worker.committed(1, now(0));
        worker.tick(1, now(500), None, &mut out);
        assert!(out.is_empty(), "too soon");
        worker.tick(0, now(1000), None, &mut out);
        assert_eq!(map(&out), BTreeMap::from([(0, RECEIVED + 10_000), (1, RECEIVED + 20_000)]));
        out.clear();
        worker.tick(0, now(2000), None, &mut out);
        assert!(out.is_empty(), "nothing new");
        worker.aborted(0);
        assert!(matches!(worker.written, Written { at: None, .. }));
        worker.tick(1, now(2000), None, &mut out);
        assert_eq!(map(&out), BTreeMap::from([(1, RECEIVED + 20_000)]), "what was aborted does not count");
    }
}
