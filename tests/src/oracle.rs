//! What must be in the index after a load, whatever happened on the way: each acknowledged event once with its
//! own contents, and the alerts that a naive count of the events gives.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, ensure};
use model::time::Timestamp;
use serde_json::Value;

use crate::index::Index;
use crate::load::{Kind, Sent};

/// Length of the window of the rule `ssh_bruteforce`, in milliseconds.
const WINDOW_MS: i64 = 120_000;
/// Its least count.
const COUNT: usize = 10;
/// The fields that are looked at.
const FIELDS: &[&str] = &["details.ledger", "details.sourceipaddress", "utctimestamp", "summary"];

/// What is compared of an alert: class, group, first event, last event, count.
pub type AlertView = (String, String, String, String, u64);

/// Every event of the index, when each acknowledged one is there once, or dead (`dead`: its number), with its own contents.
///
/// # Errors
/// What is lost, doubled or wrong.
pub async fn each_once(
    index: &Index,
    acked: &BTreeMap<u64, Sent>,
    dead: &BTreeSet<u64>,
) -> anyhow::Result<Vec<Value>> {
    let count = index.count("events*").await?;
    let expected = acked.len().saturating_sub(dead.len()) as u64;
    ensure!(
        count == expected,
        "{count} events are indexed of {} acknowledged, {} dead",
        acked.len(),
        dead.len()
    );
    let events = index.documents("events*", "details.ledger", FIELDS).await?;
    let mut seen: BTreeMap<u64, u32> = BTreeMap::new();
    for event in &events {
        let number = text(event, "/_source/details/ledger").strip_prefix('n').and_then(|n| n.parse().ok());
        let number: u64 = number.with_context(|| format!("an event that was not sent: {event}"))?;
        *seen.entry(number).or_default() += 1;
        let sent = acked.get(&number).with_context(|| format!("an event that was not sent: {event}"))?;
        ensure!(text(event, "/_source/summary") == sent.summary, "{event} is not {sent:?}");
        let time = Timestamp::parse_rfc3339(text(event, "/_source/utctimestamp"));
        ensure!(time.map(Timestamp::millis) == Some(sent.time.millis()), "{event} is not {sent:?}");
    }
    let lost: Vec<&u64> = acked.keys().filter(|n| !seen.contains_key(n) && !dead.contains(n)).collect();
    ensure!(
        lost.is_empty(),
        "{} of {} acknowledged are lost, such as {:?}",
        lost.len(),
        acked.len(),
        lost.first()
    );
    let doubled: Vec<_> = seen.iter().filter(|(_, count)| **count != 1).collect();
    ensure!(doubled.is_empty(), "doubled: {doubled:?}");
    Ok(events)
}

/// The alerts that these events must have given, counted naively: runs of times at which an address had ten or more
/// failed logins within two minutes, and each stop of CloudTrail's logging.
pub fn expected_alerts(events: &[Value]) -> Vec<AlertView> {
    let mut groups: BTreeMap<&str, Vec<(i64, &str)>> = BTreeMap::new();
    let mut found = Vec::new();
    for event in events {
        let (id, summary) = (text(event, "/_id"), text(event, "/_source/summary"));
        if summary.starts_with("Failed password") {
            let time = Timestamp::parse_rfc3339(text(event, "/_source/utctimestamp"));
            let address = text(event, "/_source/details/sourceipaddress");
            groups.entry(address).or_default().push((time.map_or(0, Timestamp::millis), id));
        } else if summary.contains("performed StopLogging") {
            let alert = ("cloudtrail_logging_disabled", "", id, id, 1);
            found.push((
                alert.0.to_owned(),
                alert.1.to_owned(),
                alert.2.to_owned(),
                alert.3.to_owned(),
                alert.4,
            ));
        }
    }
    for (group, mut entries) in groups {
        entries.sort_unstable();
        for (first, last, count) in episodes(&entries) {
            found.push(("ssh_bruteforce".to_owned(), group.to_owned(), first, last, count));
        }
    }
    found.sort();
    found
}

/// Episodes of one group: first event, last event and how many; `entries` are sorted.
fn episodes(entries: &[(i64, &str)]) -> Vec<(String, String, u64)> {
    let window = |u: i64| entries.iter().filter(move |(t, _)| u - WINDOW_MS < *t && *t <= u);
    let mut times: Vec<i64> = entries.iter().map(|(t, _)| *t).collect();
    times.dedup();
    let mut runs: Vec<(i64, i64)> = Vec::new();
    for u in times.into_iter().filter(|u| window(*u).count() >= COUNT) {
        match runs.last_mut() {
            Some((_, last)) if u - *last < WINDOW_MS => *last = u,
            _ => runs.push((u, u)),
        }
    }
    // Hot times of a run are closer than a window, so that their windows have no gap between them.
    let views = runs.into_iter().filter_map(|(first_hot, last_hot)| {
        let inside = |(t, _): &&(i64, &str)| first_hot - WINDOW_MS < *t && *t <= last_hot;
        let events: Vec<_> = entries.iter().filter(inside).collect();
        Some((events.first()?.1.to_owned(), events.last()?.1.to_owned(), events.len() as u64))
    });
    views.collect()
}

/// The alerts of the index in the same form, without those that went into another.
///
/// # Errors
/// The index does not answer.
pub async fn indexed_alerts(index: &Index) -> anyhow::Result<Vec<AlertView>> {
    let fields = ["classname", "merged_into", "group", "first_event", "last_event", "count"];
    let mut found = Vec::new();
    for hit in index.documents("alerts*", "utctimestamp", &fields).await? {
        if hit.pointer("/_source/merged_into").is_none_or(Value::is_null) {
            found.push((
                text(&hit, "/_source/classname").to_owned(),
                text(&hit, "/_source/group/details.sourceipaddress").to_owned(),
                text(&hit, "/_source/first_event/id").to_owned(),
                text(&hit, "/_source/last_event/id").to_owned(),
                hit.pointer("/_source/count").and_then(Value::as_u64).unwrap_or(0),
            ));
        }
    }
    found.sort();
    Ok(found)
}

/// That the index has these alerts, each once.
///
/// # Errors
/// How they differ.
pub async fn alerts_equal(index: &Index, expected: &[AlertView]) -> anyhow::Result<()> {
    let got = indexed_alerts(index).await?;
    let missing: Vec<_> = expected.iter().filter(|alert| !got.contains(alert)).take(5).collect();
    let surplus: Vec<_> = got.iter().filter(|alert| !expected.contains(alert)).take(5).collect();
    ensure!(
        got == expected,
        "{} alerts, {} expected; missing {missing:?}; too many {surplus:?}",
        got.len(),
        expected.len()
    );
    Ok(())
}

/// How many alerts of each class.
pub fn by_class(alerts: &[AlertView]) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for alert in alerts {
        *counts.entry(alert.0.as_str()).or_default() += 1;
    }
    counts
}

/// How many of the events are of a kind that alerts at once.
pub fn attacks(acked: &BTreeMap<u64, Sent>) -> usize {
    acked.values().filter(|sent| sent.kind == Kind::Attack).count()
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::episodes;

    #[track_caller]
    fn check(times: &[i64], expected: &[(usize, usize, u64)]) {
        let ids: Vec<String> = (0..times.len()).map(|n| format!("{n}")).collect();
        let entries: Vec<_> = times.iter().zip(&ids).map(|(t, id)| (*t, id.as_str())).collect();
        let expected: Vec<_> = expected
            .iter()
            .map(|(first, last, count)| (format!("{first}"), format!("{last}"), *count))
            .collect();
        assert_eq!(episodes(&entries), expected, "{times:?}");
    }

    #[test]
    fn episodes_begin_at_ten_and_end_with_a_gap() {
        check(&[0; 9], &[]);
        check(&[0; 10], &[(0, 9, 10)]);
        check(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 120_000], &[]);
        check(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 119_999], &[(0, 9, 10)]);
        let mut two = vec![0; 10];
        two.extend([120_000; 10]);
        check(&two, &[(0, 9, 10), (10, 19, 10)]);
        let mut one = vec![0; 10];
        one.extend([119_999; 10]);
        check(&one, &[(0, 19, 20)]);
    }
}
