//! Events and alerts through the official client into an index, and back.

use model::config::SinkConfig;
use model::error::Reason;
use model::time::Timestamp;
use serde_json::json;
use stream::delivery::Outcome;

use crate::world::{DAY_MS, RECEIVED_MS, World, alert, event, found, over_both};

over_both!(
    events_are_searchable_under_their_ids_and_a_second_delivery_changes_nothing,
    the_same_id_with_another_event_is_a_conflict,
    what_a_plugin_names_is_kept_in_its_newest_state,
    the_newest_revision_of_an_alert_stays,
    aliases_are_where_mozdefs_users_look_for_them
);

async fn events_are_searchable_under_their_ids_and_a_second_delivery_changes_nothing(world: World) {
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

async fn the_same_id_with_another_event_is_a_conflict(world: World) {
    world.events.deliver(&[event("a1", RECEIVED_MS, "first", json!({}))]).await;
    let outcomes = world.events.deliver(&[event("a1", RECEIVED_MS, "second", json!({}))]).await;
    let [Outcome::Dead { reason: Reason::IdConflict, detail }] = &outcomes[..] else {
        panic!("{outcomes:?}")
    };
    assert_eq!(detail, "events-20240610/a1 holds another document");
    assert_eq!(found(&world.search, "*", 1).await.hits[0].source["summary"], "first");
}

async fn what_a_plugin_names_is_kept_in_its_newest_state(world: World) {
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

async fn the_newest_revision_of_an_alert_stays(world: World) {
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

async fn aliases_are_where_mozdefs_users_look_for_them(world: World) {
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
