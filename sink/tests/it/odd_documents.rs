//! Documents that the mapping does not take, and indices that take none.

use std::time::Duration;

use opensearch::http::Method;
use opensearch::http::headers::HeaderMap;
use serde_json::{Value, json};
use stream::delivery::Outcome;

use crate::world::{RECEIVED_MS, World, event, found, over_both, real};

over_both!(a_value_that_does_not_fit_moves);

#[tokio::test(flavor = "multi_thread")]
async fn a_shut_index_is_waited_for() {
    // The embedded index has no blocks.
    if let Some(world) = real().await {
        shut_and_opened(world).await;
    }
}

/// What becomes of the details.
enum Moved {
    /// They stay.
    Nothing,
    /// The value of this key moves.
    Value(&'static str),
    /// The value of this key moves, or all details: not every index names the key.
    Perhaps(&'static str),
}
use Moved::{Nothing, Perhaps, Value as Key};

fn odd() -> Vec<(Value, Moved)> {
    let deep = (0..30).fold(json!("x"), |inner, _| json!({"d": inner}));
    vec![
        (json!({"sourceipaddress": "not an address"}), Key("sourceipaddress")),
        (json!({"sourceipaddress": {"a": 1}}), Key("sourceipaddress")),
        (json!({"success": "maybe"}), Key("success")),
        (json!({"sourceipgeopoint": "nonsense"}), Key("sourceipgeopoint")),
        (json!({"text": "t", "object": {"a": 1}}), Nothing),
        (json!({"text": {"a": 1}}), Key("text")),
        (json!({"object": "t"}), Key("object")),
        (json!({"object": [{"a": 2}, "t"]}), Key("object")),
        (json!({"mixed": [1, {"x": 1}]}), Key("mixed")),
        (json!({"a..b": 1}), Perhaps("a..b")),
        (json!({".begin": 1}), Perhaps(".begin")),
        (json!({"": 1}), Perhaps("")),
        (json!({"deep": deep}), Perhaps("deep")),
        (json!({"long": "x".repeat(40_000)}), Nothing),
        (json!({"large": 1e300, "larger": u64::MAX}), Nothing),
        (json!({"number": 1}), Nothing),
        (json!({"number": "text"}), Nothing),
        (json!({"none": null, "empty": [], "empties": {}}), Nothing),
    ]
}

async fn a_value_that_does_not_fit_moves(world: World) {
    for (number, (details, _)) in odd().into_iter().enumerate() {
        let record = event(&format!("e{number}"), RECEIVED_MS, "odd", details.clone());
        assert_eq!(world.events.deliver(&[record]).await, [Outcome::Done], "{details:.500}");
    }
    let all = found(&world.search, "summary:odd", odd().len() as u64).await;
    for (number, (details, expected)) in odd().into_iter().enumerate() {
        let hit = all.hits.iter().find(|hit| hit.id == format!("e{number}")).unwrap();
        let moved = &hit.source["unmapped"]["details"];
        let holds = |key: &str| moved.as_object().is_some_and(|moved| moved.contains_key(key));
        let is_as_expected = match expected {
            Nothing => moved.is_null() && hit.source["details"] == details,
            Key(key) => holds(key) && hit.source["details"].get(key).is_none(),
            Perhaps(key) => holds(key) || moved.as_str().is_some_and(|all| all.contains(key)),
        };
        assert!(is_as_expected, "{details:.500}: {:.1000}", hit.source.to_string());
    }
}

async fn shut_and_opened(world: World) {
    let first = event("a", RECEIVED_MS, "first", json!({}));
    assert_eq!(world.events.deliver(&[first]).await, [Outcome::Done]);
    let block = async |name: &str, on: bool| {
        let body = json!({(name): on}).to_string();
        let path = "/events-20240610/_settings";
        let mut headers = HeaderMap::new();
        headers.insert("content-type", "application/json".parse().unwrap());
        let sent = world.client.send(Method::Put, path, headers, None::<&()>, Some(body), None);
        let status = sent.await.unwrap().status_code().as_u16();
        assert_eq!(status, 200, "{name}");
    };
    for (number, name) in ["index.blocks.write", "index.blocks.read_only_allow_delete"].iter().enumerate() {
        block(name, true).await;
        let records = [event(&format!("b{number}"), RECEIVED_MS, "second", json!({}))];
        let deliver = world.events.deliver(&records);
        let unblock = async {
            let mut why = world.readiness.get();
            while why.is_ok() {
                tokio::time::sleep(Duration::from_millis(20)).await;
                why = world.readiness.get();
            }
            let why = why.unwrap_err();
            assert!(why.starts_with("event sink: ") && why.contains("block"), "{why}");
            block(name, false).await;
        };
        let (outcomes, ()) = tokio::join!(deliver, unblock);
        assert_eq!(outcomes, [Outcome::Done], "{name}");
        assert_eq!(world.readiness.get(), Ok(()));
    }
}
