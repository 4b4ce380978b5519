//! What must hold when everything is at rest. Each finding names the promise.
//!
//! In: the log, the index, the shippers' ledger. Out: findings. Never: a look
//! at how it came to be.

use std::collections::{BTreeMap, BTreeSet};

use model::headers;
use model::topic::Topic;
use serde_json::Value;
use stream::invariants::{I1, I2, I3, I4, I6, Invariant};
use stream::record::{NewRecord, Record};

use crate::oracle;
use crate::shippers::Ledger;
use crate::world::World;

/// What was found.
pub type Findings = Vec<String>;

fn find(findings: &mut Findings, invariant: &Invariant, what: impl FnOnce() -> String) {
    findings.push(format!("{} {}\n    {}", invariant.id, invariant.text, what()));
}

/// Looks at everything.
pub fn check(world: &World, ledger: &Ledger) -> Findings {
    let mut findings = Vec::new();
    let raw = world.cluster.records(Topic::Raw);
    let events = world.cluster.records(Topic::Events);
    let dead = world.cluster.records(Topic::Dead);
    acked_is_there(&raw, ledger, &mut findings);
    events_are_those_of_raw(&raw, &events, &mut findings);
    let events: Vec<Record> =
        events.into_iter().filter(|event| event.headers.get(headers::KIND).is_none()).collect();
    matches_are_those_of_events(world, &events, &mut findings);
    let documents = world.index.documents();
    index_holds_events(&events, &dead, &documents, &mut findings);
    alerts_are_right(world, &events, &documents, &mut findings);
    nothing_is_left(world, &mut findings);
    findings
}

fn number(value: &[u8]) -> Option<u64> {
    serde_json::from_slice::<Value>(value).ok()?.pointer("/details/n")?.as_u64()
}

/// I1, first half: what was acknowledged is in the log.
fn acked_is_there(raw: &[Record], ledger: &Ledger, findings: &mut Findings) {
    let there: BTreeSet<u64> = raw.iter().filter_map(|record| number(&record.value)).collect();
    for lost in ledger.acked.iter().filter(|number| !there.contains(number)) {
        find(findings, &I1, || format!("event {lost} was acknowledged, and is not in {}", Topic::Raw));
    }
}

/// I1, I3, I6: each raw record has one event, in order.
fn events_are_those_of_raw(raw: &[Record], events: &[Record], findings: &mut Findings) {
    let expected = oracle::normalized(raw);
    let show = |origin: &str, value: &[u8]| format!("{origin} {}", String::from_utf8_lossy(value));
    let partitions: BTreeSet<u32> = raw.iter().map(|record| record.partition).collect();
    for partition in partitions {
        let expected: Vec<String> = expected
            .iter()
            .filter(|event| event.topic == Topic::Events && event.partition == Some(partition))
            .map(|event| show(event.headers.get_str(headers::ORIGIN).unwrap_or_default(), &event.value))
            .collect();
        let got: Vec<String> = events
            .iter()
            .filter(|event| event.partition == partition && event.headers.get(headers::KIND).is_none())
            .map(|event| show(event.headers.get_str(headers::ORIGIN).unwrap_or_default(), &event.value))
            .collect();
        if expected != got {
            let invariant = if got.len() > expected.len() { &I3 } else { &I6 };
            find(findings, invariant, || {
                format!(
                    "partition {partition} of {} differs:\n{}",
                    Topic::Events,
                    difference(&expected, &got)
                )
            });
        }
    }
}

fn difference(expected: &[String], got: &[String]) -> String {
    let at = expected.iter().zip(got).take_while(|(a, b)| a == b).count();
    let line = |list: &[String]| list.get(at).cloned().unwrap_or_else(|| "nothing".to_owned());
    format!(
        "    expected {} records, got {}; number {at}:\n      expected {}\n      got      {}",
        expected.len(),
        got.len(),
        line(expected),
        line(got)
    )
}

/// I3: each event has its matches once.
fn matches_are_those_of_events(world: &World, events: &[Record], findings: &mut Findings) {
    let expected = oracle::matches(events);
    let is_match = |record: &Record| record.headers.get(headers::KIND).is_none();
    let matches = world.cluster.records(Topic::Matches).into_iter().filter(is_match);
    let mut got: Vec<_> = matches.map(|record| (record.key.to_vec(), record.value.to_vec())).collect();
    got.sort();
    if expected != got {
        find(findings, &I3, || format!("{} matches, {} expected", got.len(), expected.len()));
    }
}

/// I1, I2, I3: each id is in the index once, with contents that were sent under it; other contents are dead.
fn index_holds_events(
    events: &[Record],
    dead: &[Record],
    documents: &BTreeMap<(String, String), Value>,
    findings: &mut Findings,
) {
    let mut by_id: BTreeMap<String, Vec<&Record>> = BTreeMap::new();
    for event in events {
        by_id.entry(String::from_utf8_lossy(&event.key).into_owned()).or_default().push(event);
    }
    let stored: Vec<(&String, &Value)> = documents
        .iter()
        .filter(|((index, _), _)| index.starts_with("events-"))
        .map(|((_, id), document)| (id, document))
        .collect();
    if stored.len() != by_id.len() {
        find(findings, &I3, || format!("{} documents for {} ids", stored.len(), by_id.len()));
    }
    let mut conflicts: BTreeMap<&str, usize> = BTreeMap::new();
    for letter in dead {
        let origin = letter.headers.get_str(headers::ORIGIN).unwrap_or_default();
        *conflicts.entry(origin).or_default() += 1;
        if letter.headers.get_str(headers::REASON) != Some("id_conflict") {
            find(findings, &I1, || format!("{origin} is dead: {:?}", letter.headers));
        }
    }
    for (id, versions) in by_id {
        let Some((_, document)) = stored.iter().find(|(stored, _)| **stored == id) else {
            find(findings, &I1, || format!("event {id} is not in the index"));
            continue;
        };
        let digest = |event: &Value| event["mozdef"]["digest"].clone();
        let mut is_known = false;
        for event in versions {
            let sent: Value = serde_json::from_slice(&event.value).unwrap();
            let origin = event.headers.get_str(headers::ORIGIN).unwrap_or_default();
            let letters = conflicts.get(origin).copied().unwrap_or(0);
            let is_same = digest(&sent) == digest(document);
            is_known |= is_same && is_stored_as(&sent, document);
            if letters != usize::from(!is_same) {
                find(findings, &I1, || format!("{origin} of event {id} has {letters} letters"));
            }
        }
        if !is_known {
            find(findings, &I2, || format!("event {id} is stored as {document}"));
        }
    }
}

/// Whether a stored document is what was sent, or that with its address moved.
fn is_stored_as(sent: &Value, stored: &Value) -> bool {
    if stored.get("unmapped").is_none() {
        return sent == stored;
    }
    let moved = sent["details"]["sourceipaddress"] == stored["unmapped"]["details"]["sourceipaddress"];
    let bare = |event: &Value| {
        let mut event = event.clone();
        event.as_object_mut().unwrap().remove("unmapped");
        event["mozdef"].as_object_mut().unwrap().remove("errors");
        event["details"].as_object_mut().unwrap().remove("sourceipaddress");
        event
    };
    moved && bare(sent) == bare(stored)
}

/// I4: the alerts are those of a naive computation, each revision once, the last one in the index.
fn alerts_are_right(
    world: &World,
    events: &[Record],
    documents: &BTreeMap<(String, String), Value>,
    findings: &mut Findings,
) {
    let mut last: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for record in world.cluster.records(Topic::Alerts) {
        let alert: Value = serde_json::from_slice(&record.value).unwrap();
        let id = String::from_utf8_lossy(&record.key).into_owned();
        let revision = alert["revision"].as_u64().unwrap_or(0);
        let seen = last.entry(id.clone()).or_default();
        let before = seen.last().map_or(0, |before| before["revision"].as_u64().unwrap_or(0));
        let is_single = alert["group"].as_object().is_some_and(serde_json::Map::is_empty);
        if !is_single
            && (revision != before + 1 || seen.last().is_some_and(|before| before["closed"] == true))
        {
            find(findings, &I4, || format!("alert {id}: revision {revision} after {before}"));
        }
        if !is_single {
            seen.clear();
        }
        seen.push(alert);
    }
    let mut got: Vec<oracle::View> = Vec::new();
    for (id, newest) in &last {
        let Some(alert) = newest.last() else { continue };
        if alert["closed"] != true {
            find(findings, &I4, || format!("alert {id} is open"));
        }
        if alert.get("merged_into").is_none_or(Value::is_null) {
            got.push(oracle::view(alert));
        }
        let stored: Vec<&Value> = documents
            .iter()
            .filter(|((index, document), _)| index.starts_with("alerts-") && document == id)
            .map(|(_, document)| document)
            .collect();
        if stored.len() != 1 || !newest.contains(stored[0]) {
            find(findings, &I4, || format!("alert {id} is {alert}, and in the index {stored:?}"));
        }
    }
    got.sort();
    let expected = oracle::alerts(events);
    if got != expected {
        let missing: Vec<_> = expected.iter().filter(|alert| !got.contains(alert)).collect();
        let surplus: Vec<_> = got.iter().filter(|alert| !expected.contains(alert)).collect();
        find(findings, &I4, || {
            format!(
                "{} alerts, {} expected; missing {missing:?}; too many {surplus:?}",
                got.len(),
                expected.len()
            )
        });
    }
    singles_are_there_once(world, events, findings);
}

/// I3: an alert of one event is there once for each record of that event.
fn singles_are_there_once(world: &World, events: &[Record], findings: &mut Findings) {
    let is_root = |event: &&Record| {
        let event: Value = serde_json::from_slice(&event.value).unwrap();
        event["details"]["user"] == "root"
    };
    let expected = events.iter().filter(is_root).count();
    let is_single = |alert: &Record| {
        let alert: Value = serde_json::from_slice(&alert.value).unwrap();
        alert["group"].as_object().is_some_and(serde_json::Map::is_empty)
    };
    let got = world.cluster.records(Topic::Alerts).iter().filter(|alert| is_single(alert)).count();
    if got != expected {
        find(findings, &I3, || format!("{got} alerts of single events, {expected} expected"));
    }
}

/// Groups and their events that the changelog still holds.
pub(crate) fn groups_left(world: &World) -> usize {
    let mut newest: BTreeMap<(u32, Vec<u8>), NewRecord> = BTreeMap::new();
    for record in world.cluster.records(Topic::Windows) {
        let Record { topic, partition, key, value, headers, .. } = record;
        newest.insert(
            (partition, key.to_vec()),
            NewRecord { topic, partition: Some(partition), key, value, headers },
        );
    }
    // Watermarks and rules stay; groups and their events go.
    let left =
        newest.iter().filter(|((_, key), record)| !record.value.is_empty() && !matches!(key[0], 0 | 3));
    left.count()
}

/// No event is late, no group is left in the changelog.
fn nothing_is_left(world: &World, findings: &mut Findings) {
    let late = world.cluster.records(Topic::Late).len();
    if late > 0 {
        find(findings, &I4, || format!("{late} events are late"));
    }
    let left = groups_left(world);
    if left > 0 {
        find(findings, &I4, || format!("{left} groups or events are left in {}", Topic::Windows));
    }
}
