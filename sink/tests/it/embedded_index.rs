//! Events and alerts through the official client into the embedded index, and back.

use std::sync::Arc;

use bytes::Bytes;
use model::config::SinkConfig;
use model::error::Reason;
use model::time::{Clock, Timestamp};
use model::topic::Topic;
use serde_json::json;
use sink::search::Searcher;
use stream::delivery::{Delivery, Outcome};
use stream::record::{Headers, Record};

/// 2024-06-10T06:13:20Z.
const RECEIVED_MS: i64 = 1_718_000_000_000;
const DAY_MS: i64 = 86_400_000;

struct World {
    events: Arc<dyn Delivery>,
    alerts: Arc<dyn Delivery>,
    search: Searcher,
    readiness: sink::Readiness,
    index: sink::index::Index,
    _folder: tempfile::TempDir,
}

async fn start() -> World {
    let folder = tempfile::tempdir().unwrap();
    let options = embedded::EmbeddedOptions {
        folder: folder.path().to_owned(),
        writer_mib: 32,
        refresh_ms: 50,
        clock: Clock::System,
    };
    let index = tokio::task::spawn_blocking(|| embedded::open(options)).await.unwrap().unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(embedded::serve(index, listener, std::future::pending::<()>()));
    let parts = sink::start(&SinkConfig::default(), &url).await.unwrap();
    let [(_, _, events), (_, _, alerts)] = <[_; 2]>::try_from(parts.deliveries).ok().unwrap();
    let index = sink::index::Index::new(&url, None, None).unwrap();
    World { events, alerts, search: parts.search, readiness: parts.readiness, index, _folder: folder }
}

fn record(topic: Topic, key: &str, value: &serde_json::Value, headers: &[(&'static str, String)]) -> Record {
    let headers = headers.iter().fold(Headers::new(), |all, (name, value)| all.with(*name, value.clone()));
    let (partition, offset, appended) = (0, 0, Timestamp::EPOCH);
    let (key, value) = (Bytes::from(key.to_owned()), Bytes::from(value.to_string()));
    Record { topic, partition, offset, appended, key, value, headers }
}

fn event(id: &str, received_ms: i64, summary: &str, details: serde_json::Value) -> Record {
    let time = Timestamp::from_millis(received_ms).to_string();
    let event = json!({
        "receivedtimestamp": time, "utctimestamp": time, "timestamp": time, "mozdefhostname": "h", "type": "event",
        "category": "test", "hostname": "web1", "processid": "1", "processname": "p", "severity": "INFO",
        "source": "s", "summary": summary, "tags": ["a"], "details": details, "mozdef": {"plugins": []},
    });
    record(Topic::Events, id, &event, &[("received", received_ms.to_string())])
}

fn alert(id: &str, revision: u64, summary: &str) -> Record {
    let alert =
        json!({"utctimestamp": "2024-06-10T06:13:20+00:00", "summary": summary, "revision": revision});
    record(Topic::Alerts, id, &alert, &[("revision", revision.to_string())])
}

/// Asks until as many are found: a document is searchable only after a refresh.
async fn found(search: &Searcher, query: &str, total: u64) -> sink::search::Found {
    for _ in 0..200 {
        let found = search.events(query, None, None, 100).await.unwrap();
        if found.total == total {
            return found;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("{query}: {:?}, expected {total}", search.events(query, None, None, 100).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_searchable_under_their_ids_and_a_second_delivery_changes_nothing() {
    let world = start().await;
    assert_eq!(world.search.events("*", None, None, 10).await.unwrap().total, 0);
    let records = [
        event(
            "a1",
            RECEIVED_MS,
            "Failed password for root",
            json!({"sourceipaddress": "192.0.2.7", "port": 22}),
        ),
        event("b2", RECEIVED_MS + 1000, "disk full", json!({"sourceipaddress": "not an address", "n": 1})),
        event("c3", RECEIVED_MS + DAY_MS, "tomorrow", json!({"n": "text"})),
    ];
    for _ in 0..2 {
        assert_eq!(world.events.deliver(&records).await, [Outcome::Done, Outcome::Done, Outcome::Done]);
    }
    let all = found(&world.search, "*", 3).await;
    let ids: Vec<_> = all.hits.iter().map(|hit| (hit.index.as_str(), hit.id.as_str())).collect();
    assert_eq!(ids, [("events-20240611", "c3"), ("events-20240610", "b2"), ("events-20240610", "a1")]);
    let odd = found(&world.search, "summary:disk", 1).await;
    assert_eq!(odd.hits[0].source["unmapped"]["details"]["sourceipaddress"], "\"not an address\"");
    assert_eq!(odd.hits[0].source["details"], json!({"n": 1}));
    found(&world.search, "details.sourceipaddress:[192.0.2.0 TO 192.0.2.255]", 1).await;
    let to = Timestamp::from_millis(RECEIVED_MS + 500);
    assert_eq!(world.search.events("*", None, Some(to), 10).await.unwrap().hits[0].id, "a1");
    assert_eq!(world.readiness.get(), Ok(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_id_with_another_event_is_a_conflict() {
    let world = start().await;
    world.events.deliver(&[event("a1", RECEIVED_MS, "first", json!({}))]).await;
    let outcomes = world.events.deliver(&[event("a1", RECEIVED_MS, "second", json!({}))]).await;
    let [Outcome::Dead { reason: Reason::IdConflict, detail }] = &outcomes[..] else {
        panic!("{outcomes:?}")
    };
    assert_eq!(detail, "events-20240610/a1 holds another document");
    assert_eq!(found(&world.search, "*", 1).await.hits[0].source["summary"], "first");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_plugin_names_is_kept_in_its_newest_state() {
    let world = start().await;
    let named = |received: i64, summary: &str| {
        let mut record = event("x", received, summary, json!({}));
        record.headers.push("document-id", "latest");
        record
    };
    for (received, summary) in [(RECEIVED_MS, "one"), (RECEIVED_MS + 5, "two"), (RECEIVED_MS, "one")] {
        assert_eq!(world.events.deliver(&[named(received, summary)]).await, [Outcome::Done]);
    }
    assert_eq!(found(&world.search, "summary:two", 1).await.total, 1);
    assert_eq!(found(&world.search, "*", 1).await.hits[0].id, "latest");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_revision_of_an_alert_stays() {
    let world = start().await;
    let records =
        [alert("a", 1, "begun"), alert("a", 3, "grown"), alert("a", 2, "late"), alert("b", 1, "other")];
    assert_eq!(world.alerts.deliver(&records).await, vec![Outcome::Done; 4]);
    assert_eq!(world.alerts.deliver(&records[..1]).await, [Outcome::Done]);
    let mut alerts = world.search.alerts(10).await.unwrap();
    while alerts.total < 2 || !alerts.hits.iter().any(|hit| hit.source["summary"] == "grown") {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        alerts = world.search.alerts(10).await.unwrap();
    }
    let mut shown: Vec<_> = alerts.hits.iter().map(|hit| (hit.id.as_str(), &hit.source["summary"])).collect();
    shown.sort_by_key(|(id, _)| *id);
    assert_eq!(shown, [("a", &json!("grown")), ("b", &json!("other"))]);
    assert_eq!(alerts.hits[0].index, "alerts-202406");
}

#[tokio::test(flavor = "multi_thread")]
async fn aliases_are_where_mozdefs_users_look_for_them() {
    let world = start().await;
    for day in [0, 1, 9] {
        let id = format!("e{day}");
        let record = event(&id, RECEIVED_MS + day * DAY_MS, "s", json!({}));
        assert_eq!(world.events.deliver(&[record]).await, [Outcome::Done]);
    }
    for (alias, indices) in [
        ("events", vec!["events-20240610", "events-20240611", "events-20240619"]),
        ("events-previous", vec!["events-20240611"]),
        ("events-weekly", vec!["events-20240619"]),
    ] {
        assert_eq!(world.index.indices_of(alias).await.unwrap(), indices, "{alias}");
    }
}

#[tokio::test]
async fn an_index_that_is_away_is_named_in_the_answer() {
    let parts = sink::start(&SinkConfig::default(), "http://127.0.0.1:1").await.unwrap();
    let error = parts.search.events("*", None, None, 1).await.unwrap_err().to_string();
    assert!(error.starts_with("index at http://127.0.0.1:1 is not reachable: "), "{error}");
    let error = parts.search.events("*", None, None, 10_001).await.unwrap_err().to_string();
    assert!(error.starts_with("size: 10001 is more than 10000"), "{error}");
}
