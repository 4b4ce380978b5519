//! What must come out, computed naively from what is in `mozdef.raw`.
//!
//! In: raw records. Out: the events, matches and alerts that they stand for.
//! Never: a fault, a commit, or anything of the window engine.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

use arc_swap::ArcSwap;
use correlate::load::{Role, SourceFile, files};
use correlate::ruleset::RuleSet;
use correlate::shipped;
use model::config::{CorrelateConfig, NormalizeConfig};
use model::headers;
use model::time::Timestamp;
use model::topic::Topic;
use normalize::worker::NormalizerWorker;
use serde_json::Value;
use stream::record::{NewRecord, Record};
use stream::worker::Worker;

/// Length of the windows, in milliseconds.
pub const TIMESPAN_MS: i64 = 4_000;

/// The rules of the simulation: one that alerts at once, one by a threshold, one that only time decides.
const RULES: &str = "
title: Failed login
name: failed
logsource: {product: mozdef}
detection: {s: {details.outcome: failed}, condition: s}
---
title: Three or more
id: 11111111-1111-4111-8111-111111111111
correlation:
  type: event_count
  rules: [failed]
  group-by: [details.group]
  timespan: 4s
  condition: {gte: 3}
mozdef: {summary: '{{ count }} by {{ group }}'}
---
title: Two, no more and no less
id: 22222222-2222-4222-8222-222222222222
correlation:
  type: event_count
  rules: [failed]
  group-by: [details.group]
  timespan: 4s
  condition: {eq: 2}
mozdef: {summary: '{{ count }} by {{ group }}'}
---
title: Root
id: 33333333-3333-4333-8333-333333333333
logsource: {product: mozdef}
detection: {s: {details.user: root}, condition: s}
mozdef: {summary: 'root on {{ event.hostname }}'}
";

/// Whether a group of so many fires.
type Fires = fn(usize) -> bool;

/// Rule and what it asks of the number of events in a window.
const WINDOWED: [(&str, Fires); 2] = [
    ("11111111-1111-4111-8111-111111111111", |count| count >= 3),
    ("22222222-2222-4222-8222-222222222222", |count| count == 2),
];
/// The rule that alerts at once.
const SINGLE: &str = "33333333-3333-4333-8333-333333333333";

/// The rules in force, compiled once.
pub fn rules() -> Arc<ArcSwap<RuleSet>> {
    static SET: LazyLock<Arc<ArcSwap<RuleSet>>> = LazyLock::new(|| {
        let mut texts = shipped::files(|role| role != Role::Rules);
        texts.push(SourceFile { name: "simulation.yaml".into(), role: Role::Rules, text: RULES.into() });
        let loaded = files(&texts, Vec::new());
        assert!(loaded.report.errors.is_empty(), "{:?}", loaded.report.errors);
        Arc::new(ArcSwap::from_pointee(loaded.set))
    });
    SET.clone()
}

/// How the normalizer of the simulation is made.
pub fn normalizer() -> NormalizerWorker {
    let config = NormalizeConfig { hostname: "simulation".to_owned(), ..NormalizeConfig::default() };
    NormalizerWorker::new(&config, "simulated").unwrap()
}

/// How time is judged. Larger than whatever the simulation can delay an event by: none is late.
pub fn correlation(revise_ms: u64) -> CorrelateConfig {
    CorrelateConfig {
        disorder_ms: 6_000,
        lateness_ms: 3_000,
        skew_ms: 3_000,
        revise_ms,
        lateness_ms_by_source: BTreeMap::new(),
        ..CorrelateConfig::default()
    }
}

/// What the normalizer must make of raw records: outputs by partition, in order.
pub fn normalized(raw: &[Record]) -> Vec<NewRecord> {
    let mut worker = normalizer();
    let mut out = Vec::new();
    for record in raw {
        worker.process(record.partition, std::slice::from_ref(record), Timestamp::EPOCH, &mut out);
    }
    out
}

/// What an alert is compared by: rule, group, first event, last event, count.
pub type View = (String, String, String, String, u64);

/// An event, as the windows see it.
struct Seen {
    id: String,
    time: i64,
    value: Value,
}

fn seen(event: &Record, config: &CorrelateConfig) -> Seen {
    let value: Value = serde_json::from_slice(&event.value).unwrap();
    let received: i64 = event.headers.get_str(headers::RECEIVED).unwrap().parse().unwrap();
    let own = value["utctimestamp"].as_str().and_then(Timestamp::parse_rfc3339).map(Timestamp::millis);
    let believed = received - config.lateness_ms as i64..=received + config.skew_ms as i64;
    let time = own.filter(|own| believed.contains(own)).unwrap_or(received);
    Seen { id: String::from_utf8_lossy(&event.key).into_owned(), time, value }
}

/// The alerts that events stand for, sorted.
pub fn alerts(events: &[Record]) -> Vec<View> {
    let config = correlation(0);
    let mut groups: BTreeMap<String, BTreeSet<(i64, String)>> = BTreeMap::new();
    let mut found = BTreeSet::new();
    for event in events.iter().filter(|event| event.headers.get(headers::KIND).is_none()) {
        let event = seen(event, &config);
        if event.value["details"]["user"] == "root" {
            let view = (SINGLE.to_owned(), "{}".to_owned(), event.id.clone(), event.id.clone(), 1);
            found.insert(view);
        }
        if event.value["details"]["outcome"] == "failed" {
            let group = event.value["details"]["group"].as_str().unwrap().to_owned();
            groups.entry(group).or_default().insert((event.time, event.id));
        }
    }
    for (rule, holds) in WINDOWED {
        for (group, entries) in &groups {
            for (first, last, count) in episodes(entries, holds) {
                let group = serde_json::json!({"details.group": group}).to_string();
                found.insert((rule.to_owned(), group, first, last, count));
            }
        }
    }
    found.into_iter().collect()
}

/// Episodes of one group: first event, last event and how many.
fn episodes(entries: &BTreeSet<(i64, String)>, holds: fn(usize) -> bool) -> Vec<(String, String, u64)> {
    let window = |end: i64| entries.iter().filter(move |(time, _)| end - TIMESPAN_MS < *time && *time <= end);
    let ids = |end: i64| window(end).map(|(_, id)| id).collect::<BTreeSet<_>>().len();
    let times: BTreeSet<i64> = entries.iter().map(|(time, _)| *time).collect();
    let mut runs: Vec<Vec<i64>> = Vec::new();
    for hot in times.into_iter().filter(|time| holds(ids(*time))) {
        match runs.last_mut().filter(|run| run.last().is_some_and(|last| hot - last < TIMESPAN_MS)) {
            Some(run) => run.push(hot),
            None => runs.push(vec![hot]),
        }
    }
    let episode = |run: Vec<i64>| {
        let events: BTreeSet<&(i64, String)> = run.into_iter().flat_map(window).collect();
        let (first, last) = (events.first().unwrap(), events.last().unwrap());
        (first.1.clone(), last.1.clone(), events.len() as u64)
    };
    runs.into_iter().map(episode).collect()
}

/// An alert document in the form that is compared.
pub fn view(alert: &Value) -> View {
    let part = |pointer: &str| alert.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    (
        part("/rule/id"),
        alert["group"].to_string(),
        part("/first_event/id"),
        part("/last_event/id"),
        alert["count"].as_u64().unwrap_or(0),
    )
}

/// The matches that events stand for, as key and value, sorted.
pub fn matches(events: &[Record]) -> Vec<(Vec<u8>, Vec<u8>)> {
    use correlate::match_worker::MatchWorker;
    let mut worker = MatchWorker::new(rules(), &correlation(0), 1);
    let mut out = Vec::new();
    let partitions: BTreeSet<u32> = events.iter().map(|event| event.partition).collect();
    partitions.into_iter().for_each(|partition| worker.assigned(partition, Vec::new(), Timestamp::EPOCH));
    for event in events {
        worker.process(event.partition, std::slice::from_ref(event), Timestamp::EPOCH, &mut out);
    }
    let matches = out.into_iter().filter(|record| record.topic == Topic::Matches);
    let mut matches: Vec<_> = matches.map(|record| (record.key.to_vec(), record.value.to_vec())).collect();
    matches.sort();
    matches
}
